use super::*;

#[test]
fn parameters() {
    let parse = |query: &str| ConnectParams::parse(form_urlencoded::parse(query.as_bytes()));
    let p =
        parse("v=1.2&format=msgpack&echo=false&heartbeats=false&heartbeatInterval=1&remainPresentFor=5&x=y");
    assert_eq!((p.version, p.format, p.echo, p.heartbeats), (Some(1), Format::Msgpack, false, false));
    assert_eq!(p.idle_interval, Some(Duration::from_secs(5)));
    assert_eq!(p.remain_present_for, Some(Duration::from_secs(1)));
    let p = parse("v=6");
    assert_eq!(
        (p.version, p.format, p.echo, p.heartbeats, p.resume),
        (Some(6), Format::Json, true, true, None)
    );
    assert_eq!(parse("heartbeatInterval=x").idle_interval, None);
    assert_eq!(parse("recover=nonsense").resume, Some(Resume::Malformed));
    let key = "AAAAAAAAAAAA!1z-BBBBBBBBBBBBBBBBBBBBBB";
    let Some(Resume::Key(parsed)) = parse(&format!("resume={key}")).resume else { panic!() };
    assert_eq!((parsed.worker, parsed.connection.as_str()), (WorkerId(71), "AAAAAAAAAAAA"));
}

#[test]
fn connection_keys_that_are_none() {
    let s = "BBBBBBBBBBBBBBBBBBBBBB";
    for bad in [
        "",
        "_____!ablyjs_test_fake-key____",
        "ably-python-fake-key",
        &format!("AAAAAAAAAAAA!-{s}"),
        &format!("AAAAAAAAAAAA!zzzz-{s}"),
        &format!("AAAAAAAAAAA!1-{s}"),
        &format!("AAAAAAAAAAAA!A-{s}"),
        &format!("AAAAAAAAAAAA!1-{s}x"),
    ] {
        assert_eq!(ConnectionKey::parse(bad), None, "{bad}");
    }
}

#[test]
fn a_connection_begins() {
    let frames = World::new().open(FULL).heard();
    assert_eq!(frames[0]["identify"], "AQEBAQEBAQEB");
    let connected = &frames[1];
    assert_eq!((connected["action"].as_i64(), &connected["connectionId"]), (Some(4), &json!("AQEBAQEBAQEB")));
    let details = &connected["connectionDetails"];
    assert_eq!(details["connectionKey"], "AQEBAQEBAQEB!3-AgICAgICAgICAgICAgICAg");
    assert_eq!(details["clientId"], "*");
    assert_eq!(details["maxIdleInterval"], 15_000);
    assert_eq!(details["connectionStateTtl"], 120_000);
    assert_eq!(details["siteCode"], "site");
    assert_eq!(connected.get("error"), None);
    assert!(ConnectionKey::parse(details["connectionKey"].as_str().unwrap()).is_some());
}

#[test]
fn refusals_are_said_after_the_upgrade() {
    let world = World::new();
    for (query, code) in [
        ("key=app.full:the-secret-of-all-keys", 40017),
        ("v=1&key=app.full:the-secret-of-all-keys", 40017),
        ("v=5", 40101),
        ("v=5&key=app.full:wrong", 40101),
        ("v=5&key=this.is:wrong", 40101),
        ("v=5&access_token=nonsense", 40101),
    ] {
        let frames = world.open(query).heard();
        assert_eq!(errors(&frames), [(9, code)], "{query}");
        assert_eq!(frames[0].get("channel"), None);
        assert_eq!(frames[1..], [json!({"close": 1000}), json!("end")]);
    }
}

#[test]
fn the_clients_own_name() {
    let world = World::new();
    let named = |more: &str| {
        let frames = world.open(&format!("{FULL}{more}")).heard();
        frames[1]["connectionDetails"]["clientId"].clone()
    };
    assert_eq!(named("&clientId=me"), "me");
    assert_eq!(named("&clientId=*"), "*", "ably-python means: anyone");
    let with = |claims: Value, more: &str| {
        let token = token("full", 3600, claims);
        world.open(&format!("v=5&access_token={token}{more}")).heard()
    };
    assert_eq!(with(json!({}), "")[1]["connectionDetails"].get("clientId"), None);
    assert_eq!(errors(&with(json!({}), "&clientId=x")), [(9, 40102)]);
    assert_eq!(errors(&with(json!({"x-ably-clientId": "a"}), "&clientId=b")), [(9, 40102)]);
    let any = with(json!({"x-ably-clientId": "*"}), "&clientId=b");
    assert_eq!(any[1]["connectionDetails"]["clientId"], "b");
}

#[test]
fn a_malformed_key_is_said_and_a_new_connection_made() {
    let frames = World::new().open(&format!("{FULL}&recover=_____!ablyjs_test_fake-key____")).heard();
    assert_eq!(errors(&frames), [(4, 80018)]);
    assert_eq!(frames[1]["error"]["statusCode"], 400);
}

#[test]
fn a_format_is_for_answers() {
    let world = World::new();
    let mut client = world.client("&format=msgpack");
    let answer = client.says(json!({"action": 0, "id": "p"}));
    assert_eq!(answer, [json!({"action": 0, "id": "p"})]);
    client.session.on_text("{\"action\":0}", &mut client.out);
    assert!(matches!(client.out.take()[..], [Command::Binary(_)]));
    client.session.on_binary(b"{\"action\":0}", &mut client.out);
    assert!(matches!(client.out.take()[..], [Command::Binary(_)]), "JSON in a binary frame");
}

#[test]
fn pings_and_signs_of_life() {
    let world = World::new();
    let mut client = world.client("");
    assert_eq!(client.says(json!({"action": 0, "id": "x"})), [json!({"action": 0, "id": "x"})]);
    assert_eq!(client.says(json!({"action": 99})), Vec::<Value>::new());
    assert!(client.waits(Duration::from_secs(14)).is_empty());
    assert_eq!(client.waits(Duration::from_secs(1)), [json!({"action": 0})]);
    assert_eq!(client.waits(Duration::from_secs(15)), [json!({"action": 0})]);
    assert_eq!(world.client("&heartbeats=false").wake, None);
}

#[test]
fn malformed_frames_are_answered_until_there_are_too_many() {
    let mut client = World::new().client("");
    for _ in 1..BAD_FRAMES_MAX {
        client.session.on_text("nonsense", &mut client.out);
        assert_eq!(errors(&client.heard()), [(9, 40000)]);
    }
    client.session.on_text("[]", &mut client.out);
    assert_eq!(client.heard()[1], json!({"close": 1008}));
}

#[test]
fn goodbyes() {
    let world = World::new();
    let closed = [json!("leave all"), json!({"action": 8}), json!({"close": 1000}), json!("end")];
    assert_eq!(world.client("").says(json!({"action": 7})), closed);

    let mut client = world.client("");
    assert_eq!(client.says(json!({"action": 5})), [json!({"close": 1000})]);
    assert_eq!(client.waits(Duration::from_secs(14)), Vec::<Value>::new());
    assert_eq!(client.waits(Duration::from_secs(1)), [json!("leave all")]);
    assert_eq!(client.waits(Duration::from_secs(105)), [json!("end")]);

    let mut client = world.client("&remainPresentFor=30000");
    client.session.on_transport_lost(&mut client.out);
    assert_eq!(client.heard(), Vec::<Value>::new());
    assert_eq!(client.waits(Duration::from_secs(29)), Vec::<Value>::new());
    assert_eq!(client.waits(Duration::from_secs(1)), [json!("leave all")]);
}

#[test]
fn the_server_goes_away() {
    let mut client = World::new().client("");
    let frames = client.told(Event::Drain);
    assert_eq!(errors(&frames), [(6, 80003)]);
    assert_eq!((&frames[0]["error"]["statusCode"], &frames[1]), (&json!(400), &json!({"close": 1001})));
}

#[test]
fn a_session_is_small() {
    let session = std::mem::size_of::<AblySession>();
    let channel = std::mem::size_of::<Channel>();
    assert!(session + 2 * channel <= 1_024, "{session} and {channel} bytes");
}
