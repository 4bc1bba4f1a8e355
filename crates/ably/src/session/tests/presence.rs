use super::*;

fn presence(serial: i64, channel: &str, events: Value) -> Value {
    json!({"action": 14, "channel": channel, "msgSerial": serial, "presence": events})
}

#[test]
fn what_is_said() {
    let mut client = World::new().client("&clientId=me");
    client.attaches("a", json!({}));
    let done =
        client.says(presence(0, "a", json!([{"action": 2}, {"action": 4}, {"action": 3, "id": "old:1:0"}])));
    let events = json!(["Enter me AQEBAQEBAQEB:0:0", "Update me AQEBAQEBAQEB:0:1", "Leave me old:1:0"]);
    assert_eq!((&done[0]["presence"], &done[0]["events"]), (&json!("a"), &events));
    client.published(0, 0);
    let frames = client.flushed();
    assert_eq!(
        (&frames[0]["action"], &frames[0]["count"], frames[0].get("res")),
        (&json!(1), &json!(1), None)
    );
}

#[test]
fn refusals() {
    let world = World::new();
    let any = FULL.to_owned();
    let nobody = format!("v=5&access_token={}", token("full", 3600, json!({})));
    let me = format!("{FULL}&clientId=me");
    let narrow = format!(
        "v=5&access_token={}",
        token("full", 3600, json!({"x-ably-capability": r#"{"a":["subscribe"]}"#, "x-ably-clientId": "me"}))
    );
    let enter = || presence(0, "a", json!([{"action": 2}]));
    for (query, modes, frame, code) in [
        (&any, "presence", enter(), 91000),
        (&nobody, "presence", enter(), 91000),
        (&nobody, "presence", presence(0, "a", json!([{"action": 2, "clientId": "x"}])), 40012),
        (&me, "presence", presence(0, "a", json!([{"action": 2, "clientId": "x"}])), 40012),
        (&me, "presence", presence(0, "a", json!([{"action": 9}])), 40000),
        (&me, "subscribe", enter(), 40165),
        (&narrow, "subscribe", enter(), 40160),
        (&me, "presence", presence(0, "b", json!([{"action": 2}])), 91001),
        (&me, "presence", presence(0, "[meta]log", json!([{"action": 2}])), 40160),
        (&me, "presence", presence(0, "::", json!([{"action": 2}])), 40010),
    ] {
        let mut client = world.open(query);
        client.heard();
        client.attaches("a", json!({"params": {"modes": modes}}));
        client.says(frame.clone());
        assert_eq!(errors(&client.flushed()), [(2, code)], "{query} {frame}");
    }
    let mut client = world.client("");
    client.attaches("a", json!({}));
    let done = client.says(presence(0, "a", json!([{"action": 2, "clientId": "x"}])));
    assert_eq!(
        done[0]["events"],
        json!([format!("Enter x {}:0:0", client.session.connection_id().unwrap())])
    );
}

#[test]
fn a_client_may_ask_for_a_sync() {
    let mut client = World::new().client("");
    client.attaches("a", json!({}));
    assert_eq!(client.says(json!({"action": 16, "channel": "a"})), [json!({"members": 1})]);
    assert!(client.says(json!({"action": 16, "channel": "b"})).is_empty());
    let members = vec![Arc::new(member("c", 1))];
    let frames = client.told(Event::Members { attachment: AttachmentId(1), members });
    assert_eq!(frames[0]["presence"][0]["clientId"], "c1");
    assert_eq!(frames[0]["presence"][0]["id"], "other:1:0");
}
