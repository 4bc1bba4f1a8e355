use super::*;
use crate::wire::flag;

const DEFAULT: u32 = flag::MODES_DEFAULT;

#[test]
fn names_and_what_is_attached() {
    let world = World::new();
    for (name, channel, since) in [
        ("a", "a", "now"),
        ("[?rewind=1]a", "a", "Count(1)"),
        ("[meta]log", "[meta]log", "now"),
        ("[meta?rewind=2]log", "[meta]log", "Count(2)"),
    ] {
        let asked = world.client("").says(json!({"action": 10, "channel": name}));
        assert_eq!((&asked[0]["channel"], &asked[0]["since"]), (&json!(channel), &json!(since)), "{name}");
    }
    for (name, code) in [
        ("", 40010),
        (":hell", 40010),
        ("::", 40010),
        (" a", 40010),
        ("[x]a", 40010),
        ("[filter=bmFtZQ==]a", 40000),
    ] {
        let frames = world.client("").says(json!({"action": 10, "channel": name}));
        assert_eq!(errors(&frames), [(9, code)], "{name}");
        assert_eq!(frames[0]["channel"], name);
    }
    assert_eq!(world.client("").says(json!({"action": 10}))[0]["channel"], "");
}

#[test]
fn the_answer_names_modes_and_params() {
    let world = World::new();
    for (more, flags, params) in [
        (json!({}), DEFAULT, json!(null)),
        (json!({"flags": flag::SUBSCRIBE}), flag::SUBSCRIBE, json!(null)),
        (json!({"params": {"delta": "vcdiff", "x": "y"}}), DEFAULT, json!({"delta": "vcdiff"})),
        (
            json!({"flags": flag::PUBLISH, "params": {"modes": "presence,subscribe"}}),
            flag::PRESENCE | flag::SUBSCRIBE,
            json!({"modes": "presence,subscribe"}),
        ),
        (
            json!({"params": {"rewind": "15s", "echo": "false", "occupancy": "metrics"}}),
            DEFAULT,
            json!({"rewind": "15s", "echo": "false", "occupancy": "metrics"}),
        ),
        (json!({"params": {"echo": "x", "occupancy": "y"}}), DEFAULT, json!(null)),
    ] {
        let frames = world.client("").attaches("[?x=y]a", more.clone());
        let a = &frames[0];
        assert_eq!((&a["action"], &a["channel"]), (&json!(11), &json!("[?x=y]a")));
        assert_eq!(a["channelSerial"], "01800000000000-000@epoch");
        assert_eq!((&a["flags"], &a["params"]), (&json!(flags), &params), "{more}");
    }
}

#[test]
fn capabilities_bound_modes() {
    let world = World::new();
    let narrow = "v=5&key=app.narrow:the-secret-of-all-keys";
    let attach = |channel: &str, flags: u32| {
        let mut client = world.open(narrow);
        client.heard();
        let asked = client.says(json!({"action": 10, "channel": channel, "flags": flags}));
        (errors(&asked), asked[0]["hears"].clone())
    };
    assert_eq!(attach("read", 0), (vec![], json!([true, true, true, false])));
    assert_eq!(attach("write", 0), (vec![], json!([false, false, true, false])));
    for (channel, flags) in [("read", flag::PUBLISH), ("hist", 0), ("other", 0), ("[meta]x", 0)] {
        assert_eq!(attach(channel, flags).0, [(9, 40160)], "{channel}");
    }
    let frames = world.client("").attaches("[meta]log", json!({}));
    assert_eq!(frames[0]["flags"], flag::SUBSCRIBE);
}

#[test]
fn rules() {
    let world = World::new();
    let token = token("full", 3600, json!({}));
    let mut anonymous = world.open(&format!("v=5&access_token={token}"));
    anonymous.heard();
    assert_eq!(errors(&anonymous.says(json!({"action": 10, "channel": "known:a"}))), [(9, 40161)]);
    assert_eq!(errors(&anonymous.says(json!({"action": 10, "channel": "safe:a"}))), [(9, 40311)]);
    let mut named = world.client("&clientId=me");
    assert_eq!(errors(&named.says(json!({"action": 10, "channel": "known:a"}))), []);
}

#[test]
fn where_deliveries_begin() {
    let world = World::new();
    let since = |client: &mut Client, more: Value| {
        let mut frame = json!({"action": 10, "channel": "a"});
        frame.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let asked = client.says(frame);
        (asked[0]["since"].as_str().unwrap_or_default().to_owned(), errors(&asked))
    };
    let rewind = |text: &str| json!({"params": {"rewind": text}});
    let serial = "01726585978590-001@abc";
    for (more, expected) in [
        (rewind("5"), "Count(5)"),
        (rewind("500"), "Count(500)"),
        (rewind("2m"), "Time { age: 120s, limit: 18446744073709551615 }"),
        (json!({"params": {"rewind": "9", "rewindLimit": "7"}}), "Count(7)"),
        (json!({"params": {"rewind": "10s", "rewindLimit": "7"}}), "Time { age: 10s, limit: 7 }"),
        (json!({"channelSerial": serial}), serial),
        (json!({"channelSerial": serial, "params": {"rewind": "1"}}), serial),
        (json!({"channelSerial": "junk"}), "unknown"),
        (json!({"flags": flag::ATTACH_RESUME, "params": {"rewind": "1"}}), "now"),
    ] {
        assert_eq!(since(&mut world.client(""), more.clone()), (expected.to_owned(), vec![]), "{more}");
    }
    for bad in ["x", "", "-1", "1h", "s", "99999999999"] {
        assert_eq!(since(&mut world.client(""), rewind(bad)).1, [(9, 40000)], "{bad}");
    }
    let mut client = world.client("");
    client.attaches("a", json!({}));
    assert_eq!(since(&mut client, rewind("1")).0, "now", "no rewind when it is attached already");
    client.says(json!({"action": 12, "channel": "a"}));
    assert_eq!(since(&mut client, rewind("1")).0, "Count(1)");
}

#[test]
fn how_it_began() {
    let mut client = World::new().client("");
    for (continuity, backlog, members, bits, code) in [
        (Continuity::Fresh, 0, 0, 0, None),
        (Continuity::Kept, 0, 0, flag::RESUMED, None),
        (Continuity::Kept, 2, 0, flag::RESUMED | flag::HAS_BACKLOG, None),
        (Continuity::Lost, 0, 1, flag::HAS_PRESENCE, Some(90003)),
        (Continuity::Truncated, 1, 0, flag::HAS_BACKLOG, Some(90004)),
    ] {
        let asked = client.says(json!({"action": 10, "channel": "a"}));
        let backlog = (0..backlog).map(|n| record(&n.to_string())).collect();
        let members = (0..members).map(|n| Arc::new(member("c", n))).collect();
        let id = asked[0]["attach"].as_u64().unwrap() as u32;
        let frames =
            client.told(Event::Attached(Box::new(Attached { continuity, backlog, members, ..attached(id) })));
        assert_eq!(frames[0]["flags"], DEFAULT | bits);
        assert_eq!(frames[0]["error"]["code"].as_i64(), code);
        let actions: Vec<_> = frames[1..].iter().map(|f| f["action"].as_i64().unwrap()).collect();
        let expected = match bits & !flag::RESUMED {
            0 => vec![],
            flag::HAS_PRESENCE => vec![16],
            _ => vec![15; frames.len() - 1],
        };
        assert_eq!(actions, expected);
    }
}

#[test]
fn members_come_in_pages() {
    let mut client = World::new().client("");
    let asked = client.says(json!({"action": 10, "channel": "a"}));
    let members = (0..250).map(|n| Arc::new(member("c", n))).collect();
    let id = asked[0]["attach"].as_u64().unwrap() as u32;
    let frames = client.told(Event::Attached(Box::new(Attached { members, ..attached(id) })));
    let pages: Vec<_> = frames[1..]
        .iter()
        .map(|f| {
            let serial = f["channelSerial"].as_str().unwrap();
            (serial.split_once(':').unwrap().1.to_owned(), f["presence"].as_array().unwrap().len())
        })
        .collect();
    assert_eq!(pages, [("100".into(), 100), ("200".into(), 100), (String::new(), 50)]);
    assert_eq!(frames[1]["presence"][0]["action"], 1);
}

#[test]
fn detach_refusal_and_the_limit() {
    let world = World::new();
    let mut client = world.client("");
    client.attaches("a", json!({}));
    let detached = json!({"action": 13, "channel": "a"});
    assert_eq!(
        client.says(json!({"action": 12, "channel": "a"})),
        [json!({"detach": 1}), json!({"leave": "a"}), detached.clone()]
    );
    assert_eq!(client.says(json!({"action": 12, "channel": "a"})), [detached]);
    let asked = client.says(json!({"action": 10, "channel": "b"}));
    let attachment = AttachmentId(asked[0]["attach"].as_u64().unwrap() as u32);
    let frames = client.told(Event::AttachRefused { attachment, error: refused(40400) });
    assert_eq!(errors(&frames), [(9, 40400)]);
    for n in 0..3 {
        client.attaches(&format!("c{n}"), json!({}));
    }
    assert_eq!(errors(&client.says(json!({"action": 10, "channel": "d"}))), [(9, 90010)]);
    assert_eq!(client.attaches("c1", json!({}))[0]["action"], 11, "again is not one more");
}

#[test]
fn two_names_of_one_channel() {
    let mut client = World::new().client("");
    client.attaches("a", json!({}));
    client.attaches("[?rewind=1]a", json!({}));
    let frames = client.says(json!({"action": 12, "channel": "[?rewind=1]a"}));
    assert!(!frames.contains(&json!({"leave": "a"})), "{frames:?}");
}

#[test]
fn gaps_and_occupancy() {
    let mut client = World::new().client("&echo=false");
    let asked =
        client.says(json!({"action": 10, "channel": "a", "params": {"occupancy": "metrics.publishers"}}));
    assert_eq!(asked[0]["hears"], json!([true, true, false, true]));
    client.told(Event::Attached(Box::new(attached(1))));
    let serial = "01726585978590-001@abc".parse().unwrap();
    let frames = client.told(Event::Gap { attachment: AttachmentId(1), serial });
    assert_eq!(errors(&frames), [(11, 90003)]);
    assert_eq!(frames[0]["flags"], DEFAULT | flag::HAS_PRESENCE);
    assert_eq!(frames[0]["channelSerial"], "01726585978590-001@abc");
    assert_eq!(frames[1], json!({"members": 1}));
    assert_eq!(client.told(Event::Members { attachment: AttachmentId(1), members: vec![] })[0]["action"], 16);
    let occupancy = fanfare_engine::Occupancy { publishers: 4, ..Default::default() };
    let serial = Some("01726585978590-002@abc".parse().unwrap());
    let frames = client.told(Event::Occupancy { attachment: AttachmentId(1), occupancy, serial });
    assert_eq!(
        frames[0]["channelSerial"], "01726585978590-002@abc",
        "ably-python forgets its own without one"
    );
    assert_eq!(frames[0]["messages"][0]["name"], "[meta]occupancy");
    assert_eq!(frames[0]["messages"][0]["data"], r#"{"metrics":{"publishers":4}}"#);
}
