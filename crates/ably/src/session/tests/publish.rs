use super::*;

fn publish(serial: i64, channel: &str, messages: Value) -> Value {
    json!({"action": 15, "channel": channel, "msgSerial": serial, "messages": messages})
}

#[test]
fn what_is_recorded() {
    let world = World::new();
    let cid = "AQEBAQEBAQEB";
    for (messages, id, idempotent) in [
        (json!([{"name": "a"}]), format!("{cid}:0"), false),
        (json!([{"id": "x"}]), "x".into(), true),
        (json!([{"id": "x:0"}]), "x".into(), true),
        (json!([{"id": "x:5"}]), "x:5".into(), true),
        (json!([{"id": "a:b:0"}, {"id": "a:b:1"}]), "a:b".into(), true),
    ] {
        let world = World::new();
        let done = world.client("").says(publish(0, "a", messages.clone()));
        assert_eq!((&done[0]["publish"], &done[0]["id"]), (&json!("a"), &json!(id)), "{messages}");
        assert_eq!(done[0]["idempotent"], idempotent);
        assert_eq!(done[0]["token"], 0);
    }
    for messages in [
        json!([{"id": "x:0"}, {"id": "y:1"}]),
        json!([{"id": "x:0"}, {}]),
        json!([{"id": "x:1"}, {"id": "x:0"}]),
        json!([{"id": ""}]),
    ] {
        let mut client = world.client("");
        client.says(publish(0, "a", messages.clone()));
        assert_eq!(errors(&client.flushed()), [(2, 40031)], "{messages}");
    }
}

#[test]
fn what_has_no_serial_is_refused_and_not_taken_for_the_first() {
    let mut client = World::new().client("");
    for serial in [json!(null), json!(-1)] {
        for action in [14, 15] {
            let frames =
                client.says(json!({"action": action, "channel": "a", "msgSerial": serial, "messages": [{}]}));
            assert_eq!(errors(&frames), [(9, 40000)], "{action} {serial}");
        }
    }
    assert_eq!(client.says(publish(0, "a", json!([{}])))[0]["token"], 0, "the connection lives");
}

#[test]
fn refusals() {
    let world = World::new();
    let key = |id: &str| format!("v=5&key=app.{id}:the-secret-of-all-keys");
    let mut with_params = publish(0, "a", json!([{}]));
    with_params["params"] = json!({"_forceNack": "true"});
    let table = [
        ("full", publish(0, "", json!([{}])), 40010),
        ("full", publish(0, ":a", json!([{}])), 40010),
        ("full", publish(0, "[meta]log", json!([{}])), 40160),
        ("narrow", publish(0, "read", json!([{}])), 40160),
        ("full", with_params, 40099),
        ("full", publish(0, "a", json!([{"data": 5}])), 40013),
        ("full", publish(0, "a", json!([{"name": 5}])), 40016),
        ("full", publish(0, "a", json!([{"extras": 5}])), 40032),
        ("full", publish(0, "a", json!([{"clientId": "*"}])), 40012),
        ("full", publish(0, "a", json!([{"action": 1, "serial": "x"}])), 93002),
        ("full", publish(0, "a", json!([{"action": 3}])), 40000),
        ("full", publish(0, "safe:a", json!([{}])), 40311),
        ("full", publish(0, "known:a", json!([{}])), 40161),
        ("full", publish(0, "a", json!([{"extras": {"ephemeral": true}}, {}])), 40032),
        ("full", json!({"action": 21, "channel": "a", "msgSerial": 0}), 93002),
        ("full", json!({"action": 19, "channel": "a", "msgSerial": 0}), 40000),
    ];
    for (id, frame, code) in table {
        let mut client = world.open(&key(id));
        client.heard();
        assert_eq!(client.says(frame.clone()), [json!("flush")], "{frame}");
        let frames = client.flushed();
        assert_eq!(errors(&frames), [(2, code)], "{frame}");
        assert_eq!((&frames[0]["msgSerial"], &frames[0]["count"]), (&json!(0), &json!(1)));
    }
}

#[test]
fn modes_of_an_attached_channel_count() {
    let mut client = World::new().client("");
    client.attaches("a", json!({"params": {"modes": "subscribe"}}));
    client.says(publish(0, "a", json!([{}])));
    assert_eq!(errors(&client.flushed()), [(2, 40165)]);
    assert_eq!(client.says(publish(1, "b", json!([{}])))[0]["publish"], "b", "not attached at all");
}

#[test]
fn who_said_it() {
    let world = World::new();
    let open = |query: &str| {
        let mut client = world.open(query);
        client.heard();
        client
    };
    let named = token("full", 3600, json!({"x-ably-clientId": "me"}));
    let mut client = open(&format!("v=5&access_token={named}"));
    let done = client.says(publish(0, "a", json!([{}, {"clientId": "me"}])));
    assert_eq!(done[0]["clients"], json!(["me", "me"]));
    client.says(publish(1, "a", json!([{"clientId": "you"}])));
    client.published(0, 2);
    assert_eq!(errors(&client.flushed()), [(2, 40012)]);
    let nobody = token("full", 3600, json!({}));
    let mut client = open(&format!("v=5&access_token={nobody}"));
    client.says(publish(0, "a", json!([{"clientId": "you"}])));
    assert_eq!(errors(&client.flushed()), [(2, 40012)]);
    let done = world.client("").says(publish(0, "a", json!([{}, {"clientId": "you"}])));
    assert_eq!(done[0]["clients"], json!([null, "you"]));
}

#[test]
fn ephemeral() {
    let world = World::new();
    let done = world.client("").says(publish(0, "a", json!([{"extras": {"ephemeral": true}}])));
    assert_eq!(done[0]["ephemeral"], true);
    let mut frame = publish(0, "a", json!([{}]));
    frame["params"] = json!({"ephemeral": "true"});
    assert_eq!(world.client("").says(frame)[0]["ephemeral"], true);
}
