//! `requestToken`.

use super::super::nonce::NonceCache;
use super::*;

fn nothing() -> Credentials {
    Credentials::parse(AuthHeaders::default(), [("v", "3")]).unwrap()
}

fn request(world: &World, key: &str, body: &Value) -> Result<TokenDetails, ErrorInfo> {
    authenticator().request_token(world, key, body, &nothing(), PLAIN, now())
}

#[test]
fn answers() {
    let world = World::new();
    let details = request(&world, "app.full", &signed_request("app.full", json!({}))).unwrap();
    let mut body = details.to_value();
    let literal = body.as_object_mut().unwrap().remove("token").unwrap();
    assert_eq!(
        body,
        json!({"keyName": "app.full", "issued": T, "expires": T + 3_600_000, "capability": r#"{"*":["*"]}"#}),
        "and no clientId"
    );
    let literal = literal.as_str().unwrap();
    assert!(literal.len() < 120, "{} bytes", literal.len());
    assert_eq!(with_token(&world, literal).unwrap().client, ClientIdRule::Anonymous);
    for (fields, pointer, expected) in [
        (json!({"ttl": 123}), "/expires", json!(T + 123)),
        (json!({"ttl": "123"}), "/expires", json!(T + 123)),
        (json!({"ttl": 100_000}), "/expires", json!(T + 100_000)),
        (json!({"ttl": 86_400_000}), "/expires", json!(T + 86_400_000)),
        (json!({"ttl": ""}), "/expires", json!(T + 3_600_000)),
        (json!({"clientId": "test client id"}), "/clientId", json!("test client id")),
        (json!({"clientId": "*"}), "/clientId", json!("*")),
        (
            json!({"capability": r#"{"onlythischannel":["subscribe"]}"#}),
            "/capability",
            json!(r#"{"onlythischannel":["subscribe"]}"#),
        ),
        (json!({"capability": ""}), "/capability", json!(r#"{"*":["*"]}"#)),
        // Signed as sent, answered in canonical form.
        (
            json!({"capability": "{ \"b\":[\"subscribe\",\"publish\"],\n\"a\":[\"*\"] }"}),
            "/capability",
            json!(r#"{"a":["*"],"b":["publish","subscribe"]}"#),
        ),
        (json!({"timestamp": T.to_string()}), "/issued", json!(T)),
        (json!({"keyName": "app.full", "unknown": {"a": 1}}), "/keyName", json!("app.full")),
    ] {
        let body =
            request(&world, "app.full", &signed_request("app.full", fields.clone())).unwrap().to_value();
        assert_eq!(body.pointer(pointer), Some(&expected), "{fields}");
    }
    let narrow = request(&world, "app.narrow", &signed_request("app.narrow", json!({}))).unwrap();
    assert_eq!(narrow.capability, r#"{"log":["subscribe"],"room:*":["publish","subscribe"]}"#);
}

/// Msgpack may carry whole numbers as floating point; the client signed their digits.
#[test]
fn numbers_are_read_as_they_were_signed() {
    let world = World::new();
    let mut body = signed_request("app.full", json!({"ttl": 5000}));
    body["ttl"] = json!(5000.0);
    body["timestamp"] = json!(T as f64);
    assert_eq!(request(&world, "app.full", &body).unwrap().expires, Timestamp(T + 5000));
}

#[test]
fn refusals() {
    let world = World::new();
    for (key, fields, expected) in [
        ("app.full", json!({"ttl": -1}), (40003, 400)),
        ("app.full", json!({"ttl": 0}), (40003, 400)),
        ("app.full", json!({"ttl": "notanumber"}), (40003, 400)),
        ("app.full", json!({"ttl": 1.5}), (40003, 400)),
        ("app.full", json!({"ttl": "99999999999999999999"}), (40003, 400)),
        ("app.full", json!({"ttl": 365i64 * 24 * 3_600_000}), (40003, 400)),
        ("app.full", json!({"ttl": 86_400_001}), (40003, 400)),
        ("app.revocable", json!({"ttl": 3_600_000}), (0, 0)),
        ("app.revocable", json!({"ttl": 3_600_001}), (40003, 400)),
        ("app.full", json!({"ttl": {"a": 1}}), (40000, 400)),
        ("app.full", json!({"timestamp": T - 30 * 60 * 1000}), (40104, 401)),
        ("app.full", json!({"timestamp": T - 120_000}), (0, 0)),
        ("app.full", json!({"timestamp": T - 120_001}), (40104, 401)),
        ("app.full", json!({"timestamp": T + 120_000}), (0, 0)),
        ("app.full", json!({"timestamp": T + 120_001}), (40104, 401)),
        ("app.full", json!({"timestamp": i64::MAX}), (40104, 401)),
        ("app.full", json!({"timestamp": "x"}), (40003, 400)),
        ("app.full", json!({"timestamp": null}), (40000, 400)),
        ("app.full", json!({"nonce": null}), (40000, 400)),
        ("app.full", json!({"nonce": ""}), (40000, 400)),
        ("app.full", json!({"nonce": "x".repeat(257)}), (40000, 400)),
        ("app.full", json!({"clientId": ""}), (40012, 400)),
        ("app.full", json!({"clientId": "x".repeat(1025)}), (40012, 400)),
        ("app.full", json!({"capability": "nonsense"}), (40000, 400)),
        ("app.full", json!({"capability": r#"{"channel0":["publish_"]}"#}), (40000, 400)),
        ("app.full", json!({"capability": r#"{"channel0":["*","publish"]}"#}), (40000, 400)),
        ("app.full", json!({"capability": r#"{"channel0":[]}"#}), (40000, 400)),
        ("app.full", json!({"capability": {"a": ["publish"]}}), (40000, 400)),
        (
            "app.full",
            json!({"capability": format!(r#"{{"{}":["publish"],"{}":["publish"],"{}":["publish"],"{}":["publish"],"{}":["publish"]}}"#, "a".repeat(2000), "b".repeat(2000), "c".repeat(2000), "d".repeat(2000), "e".repeat(2000))}),
            (40000, 400),
        ),
        ("app.narrow", json!({"capability": r#"{"elsewhere":["publish"]}"#}), (40160, 401)),
        ("app.narrow", json!({"capability": r#"{"log":["publish"]}"#}), (40160, 401)),
        ("app.off", json!({}), (40131, 401)),
        ("app.nosuch", json!({}), (40400, 401)),
        ("nosuch.full", json!({}), (40101, 401)),
    ] {
        let got = request(&world, key, &signed_request(key, fields.clone()));
        assert_eq!(refusal(got), expected, "{key} {fields}");
    }
    for body in [json!([]), json!("x"), Value::Null] {
        assert_eq!(refusal(request(&world, "app.full", &body)), (40000, 400));
    }
    assert_eq!(refusal(request(&world, "nonsense", &json!({"mac": "AAAA"}))), (40101, 401));
    let mut other = signed_request("app.full", json!({}));
    assert_eq!(refusal(request(&world, "app.narrow", &other)), (40000, 400), "another key in the path");
    other["keyName"] = Value::Null;
    assert_eq!(refusal(request(&world, "app.narrow", &other)), (40101, 401), "the path's is in the mac");
}

/// A6, forgery: nothing that was signed can be changed.
#[test]
fn macs() {
    let world = World::new();
    let fields = json!({"ttl": 1000, "clientId": "x", "capability": r#"{"a":["publish"]}"#});
    let good = signed_request("app.full", fields);
    for (name, value) in [
        ("ttl", json!(1001)),
        ("ttl", Value::Null),
        ("ttl", json!("01000")),
        ("clientId", json!("y")),
        ("clientId", Value::Null),
        ("capability", json!(r#"{"a": ["publish"]}"#)),
        ("capability", json!(r#"{"*":["*"]}"#)),
        ("capability", Value::Null),
        ("timestamp", json!(T + 1)),
        ("nonce", json!("another nonce")),
        ("mac", json!("12345")),
        ("mac", json!("")),
        ("mac", json!("%")),
        ("mac", json!(STANDARD.encode([0; 32]))),
    ] {
        let mut forged = good.clone();
        forged[name] = value;
        assert_eq!(refusal(request(&world, "app.full", &forged)), (40101, 401), "{name}");
    }
    assert!(request(&world, "app.full", &good).is_ok());
}

/// A client that may choose its own client id, and has it signed by the app's server, must not get another
/// client id and a capability by choosing one with line breaks.
#[test]
fn signed_values_cannot_be_moved_over_line_breaks() {
    let world = World::new();
    let wicked = "{\"*\":[\"*\"]}\nadmin";
    let signed = signed_request("app.full", json!({"ttl": 1000, "clientId": wicked}));
    let mut moved = signed.clone();
    moved["ttl"] = json!("1000\n");
    moved["capability"] = json!("{\"*\":[\"*\"]}");
    moved["clientId"] = json!("admin");
    for body in [signed, moved] {
        assert_eq!(refusal(request(&world, "app.full", &body)), (40000, 400));
    }
}

#[test]
fn unsigned_requests_need_the_key() {
    let world = World::new();
    let auth = authenticator();
    let attempt = |credentials: &Credentials, transport, body: &Value| {
        auth.request_token(&world, "app.narrow", body, credentials, transport, now())
    };
    let key = |id: &str| Credentials::key(&format!("app.{id}:{SECRET}"), None).unwrap();
    let bare = json!({});
    assert!(attempt(&key("narrow"), TLS, &bare).is_ok());
    assert!(
        attempt(&key("narrow"), TLS, &json!({"keyName": "app.narrow", "timestamp": T, "ttl": 1})).is_ok()
    );
    let token = Credentials::token(&jwt("app.narrow", json!({})), None).unwrap();
    for (credentials, transport, expected) in [
        (nothing(), TLS, (40101, 401)),
        (token, TLS, (40162, 401)),
        (key("full"), TLS, (40133, 401)),
        (key("off"), TLS, (40131, 401)),
        (key("narrow"), PLAIN, (40103, 401)),
        (Credentials::key("app.narrow:wrong", None).unwrap(), TLS, (40101, 401)),
    ] {
        assert_eq!(refusal(attempt(&credentials, transport, &bare)), expected);
    }
    let stale = json!({"timestamp": T - 600_000, "nonce": "n"});
    assert_eq!(refusal(attempt(&key("narrow"), TLS, &stale)), (40104, 401));
    // A signed request counts by itself, whatever key comes along: SDKs send both.
    let signed = signed_request("app.narrow", json!({}));
    assert!(attempt(&key("full"), TLS, &signed).is_ok());
    assert!(attempt(&key("off"), PLAIN, &signed_request("app.narrow", json!({"nonce": "2"}))).is_ok());
}

/// A6, replay.
#[test]
fn nonces_are_good_once() {
    let world = World::new();
    let auth = authenticator();
    let attempt = |body: &Value, now| auth.request_token(&world, "app.full", body, &nothing(), TLS, now);
    let mut accepted = 0;
    let ahead = signed_request("app.full", json!({"timestamp": T + 120_000}));
    for ms in (0..300_000).step_by(30) {
        match attempt(&ahead, at(ms)) {
            Ok(_) => accepted += 1,
            Err(e) => assert!([40104, 40105].contains(&e.code), "{e}"),
        }
    }
    assert_eq!(accepted, 1, "of 10,000");
    // Known to the key, not to the app: two keys may choose the same.
    let other = signed_request("app.narrow", json!({"timestamp": T + 120_000}));
    assert!(auth.request_token(&world, "app.narrow", &other, &nothing(), TLS, now()).is_ok());
    // A refused mac spends nothing.
    let fresh = signed_request("app.full", json!({"nonce": "fresh"}));
    let mut forged = fresh.clone();
    forged["mac"] = json!("AAAA");
    assert_eq!(refusal(attempt(&forged, now())), (40101, 401));
    assert!(attempt(&fresh, now()).is_ok());
}

#[test]
fn the_cache_is_bounded_and_forgets() {
    let key = |name: &str| KeyName::parse(name).unwrap();
    let mut cache = NonceCache::with_limits(Timestamp(T - 1_000), 5, 3);
    let stamp = Timestamp(T);
    for n in 0..3 {
        cache.spend(&key("a.k"), &n.to_string(), stamp, now()).unwrap();
    }
    assert_eq!(refusal(cache.spend(&key("a.k"), "0", stamp, now())), (40105, 401));
    assert_eq!(refusal(cache.spend(&key("a.k"), "3", stamp, now())), (50003, 503), "the app's share");
    cache.spend(&key("b.k"), "0", stamp, now()).unwrap();
    cache.spend(&key("b.k"), "1", stamp, now()).unwrap();
    assert_eq!(refusal(cache.spend(&key("c.k"), "0", stamp, now())), (50003, 503), "all apps'");
    let later = at(240_001);
    cache.spend(&key("c.k"), "0", later.wall, later).unwrap();
    assert_eq!(cache.len(), 1);
    // The wall clock is set back, and the old request is current again: it is remembered all the same.
    let back = Now { wall: stamp, mono: at(239_000).mono };
    let mut cache = NonceCache::new(Timestamp(T - 1_000));
    cache.spend(&key("a.k"), "0", stamp, now()).unwrap();
    assert_eq!(refusal(cache.spend(&key("a.k"), "0", stamp, back)), (40105, 401));
    let before = Timestamp(T - 1_001);
    assert_eq!(refusal(cache.spend(&key("a.k"), "1", before, now())), (40104, 401), "from before the start");
}
