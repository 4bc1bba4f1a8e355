//! JWTs: claims, times, and the tricks that have worked elsewhere.

use fanfare_model::Operation;

use super::*;

const HEADER: &str = r#"{"alg":"HS256","typ":"JWT","kid":"app.full"}"#;

fn good_claims() -> String {
    json!({"iat": T / 1000, "exp": T / 1000 + 60}).to_string()
}

#[test]
fn claims() {
    let world = World::new();
    let identity = with_token(&world, &jwt("app.full", json!({}))).unwrap();
    assert_eq!(identity.capability, world.0["app"].keys["full"].capability, "no capability: the key's");
    assert_eq!(identity.client, ClientIdRule::Anonymous);
    let token = identity.token().unwrap();
    assert_eq!(
        (token.kind, token.issued, token.expires),
        (TokenKind::Jwt, Timestamp(T), Timestamp(T + 3_600_000))
    );
    assert!(!format!("{:?}", token.id).is_empty());

    let literal = jwt(
        "app.narrow",
        json!({
            "x-ably-capability": r#"{"*":["publish"]}"#,
            "x-ably-clientId": "x",
            "x-ably-revocation-key": "group",
            "ably.channel.*": "everywhere",
            "ably.channel.room:*": "in rooms",
            "ably.channel.room:1": "in room 1",
            "ably.channel.room:2": {"not": "a string"},
            "ably.limits.publish.perAttachment.maxRate.*": 10,
            "ably.limits.publish.perAttachment.maxRate.room:*": 0.1,
            "sub": "someone", "aud": ["a"], "jti": 7,
        }),
    );
    let identity = with_token(&world, &literal).unwrap();
    assert_eq!(identity.capability.to_json(), r#"{"room:*":["publish"]}"#, "of both token and key");
    assert_eq!(identity.client.as_wire(), Some("x"));
    let token = identity.token().unwrap();
    assert_eq!(token.revocation_key.as_deref(), Some("group"));
    let said = ["a", "room:1", "room:2", "[meta]a"].map(|c| identity.user_claim(c));
    assert_eq!(said, [Some("everywhere"), Some("in room 1"), Some("in rooms"), None]);
    assert_eq!(["a", "room:1"].map(|c| token.claims.publish_rate(c)), [Some(10.0), Some(0.1)]);

    let object = jwt("app.full", json!({"x-ably-capability": {"a": ["publish"]}}));
    assert!(with_token(&world, &object).unwrap().capability.allows("a", Operation::Publish));
    for (claims, expected) in [
        (json!({"x-ably-capability": "nonsense"}), (40144, 401)),
        (json!({"x-ably-capability": r#"{"a":["publish_"]}"#}), (40144, 401)),
        (json!({"x-ably-capability": r#"{"a":[]}"#}), (40144, 401)),
        (json!({"x-ably-capability": 7}), (40144, 401)),
        (json!({"x-ably-clientId": ""}), (40012, 400)),
        (json!({"x-ably-clientId": 7}), (40144, 401)),
        (json!({"x-ably-clientId": "x".repeat(2000)}), (40012, 400)),
        (json!({"x-ably-revocation-key": "x".repeat(2000)}), (40144, 401)),
        (json!({"ably.channel.[x": "a"}), (40144, 401)),
        (json!({"ably.limits.publish.perAttachment.maxRate.*": "10"}), (40144, 401)),
        (json!({"ably.limits.publish.perAttachment.maxRate.*": -1}), (40144, 401)),
    ] {
        assert_eq!(refusal(with_token(&world, &jwt("app.full", claims.clone()))), expected, "{claims}");
    }
    let nothing_left = jwt("app.narrow", json!({"x-ably-capability": r#"{"x":["*"]}"#}));
    assert_eq!(refusal(with_token(&world, &nothing_left)), (40160, 401));
}

#[test]
fn times() {
    const HOUR: i64 = 3600;
    let world = World::new();
    let t = T / 1000;
    for (key, claims, expected) in [
        ("full", json!({"exp": null}), (40144, 401)),
        ("full", json!({"iat": null}), (40144, 401)),
        ("full", json!({"exp": (t + 60).to_string()}), (40144, 401)),
        ("full", json!({"exp": t + 1}), (0, 0)),
        ("full", json!({"exp": t as f64 + 0.5}), (0, 0)),
        ("full", json!({"exp": t}), (40142, 401)),
        // Asserted by an SDK's test: issued 70 s ago, expired 5 s ago.
        ("full", json!({"iat": t - 70, "exp": t - 5}), (40142, 401)),
        ("full", json!({"exp": -1}), (40144, 401)),
        ("full", json!({"exp": T}), (40144, 401)),
        ("full", json!({"exp": 1e300}), (40144, 401)),
        ("full", json!({"exp": u64::MAX}), (40144, 401)),
        ("full", json!({"iat": t + 60}), (0, 0)),
        ("full", json!({"iat": t + 61}), (40144, 401)),
        ("full", json!({"nbf": t + 60}), (0, 0)),
        ("full", json!({"nbf": t + 61}), (40144, 401)),
        ("full", json!({"nbf": t - 60}), (0, 0)),
        ("full", json!({"nbf": "x"}), (40144, 401)),
        ("full", json!({"exp": t + 24 * HOUR}), (0, 0)),
        ("full", json!({"iat": t - 30, "exp": t + 24 * HOUR}), (0, 0)),
        ("full", json!({"exp": t + 24 * HOUR + 61}), (40144, 401)),
        ("revocable", json!({"exp": t + HOUR}), (0, 0)),
        ("revocable", json!({"exp": t + 2 * HOUR}), (40144, 401)),
        ("revocable", json!({"iat": t - HOUR, "exp": t + HOUR}), (40144, 401)),
    ] {
        let literal = jwt(&format!("app.{key}"), claims.clone());
        assert_eq!(refusal(with_token(&world, &literal)), expected, "{key} {claims}");
    }
    // A1: good up to the last millisecond, and then no more.
    let literal = jwt("app.full", json!({"exp": t + 60}));
    assert!(with_token_at(&world, &literal, None, at(59_999)).is_ok());
    assert_eq!(refusal(with_token_at(&world, &literal, None, at(60_000))), (40142, 401));
}

#[test]
fn issuers() {
    let mut world = World::new();
    let wrong = with_token(&world, &jwt_of(HEADER, &good_claims(), "invalid")).unwrap_err();
    assert_eq!((wrong.code, wrong.status), (40144, 401));
    for phrase in ["signature verification failed", "invalid JWT format"] {
        assert!(wrong.message.contains(phrase), "SDKs' tests look for '{phrase}'");
    }
    for (key, expected) in [
        ("invalid.invalid", (40400, 404)),
        ("app.nosuch", (40143, 401)),
        ("app.off", (40131, 401)),
        ("other.full", (0, 0)),
    ] {
        assert_eq!(refusal(with_token(&world, &jwt(key, json!({})))), expected, "{key}");
    }
    world.change("app", |app| app.enabled = false);
    assert_eq!(refusal(with_token(&world, &jwt("app.full", json!({})))), (40301, 403));
    assert_eq!(refusal(with_token(&world, &jwt_of(HEADER, &good_claims(), "x"))), (40144, 401));
}

/// Each is signed with HS256 and the right secret: it is the header itself that must be refused.
const HEADERS: &[&str] = &[
    r#"{"alg":"none","kid":"app.full"}"#,
    r#"{"alg":"None","kid":"app.full"}"#,
    r#"{"alg":"nOnE","kid":"app.full"}"#,
    r#"{"alg":"","kid":"app.full"}"#,
    r#"{"kid":"app.full"}"#,
    r#"{"alg":null,"kid":"app.full"}"#,
    r#"{"alg":["HS256"],"kid":"app.full"}"#,
    r#"{"alg":"hs256","kid":"app.full"}"#,
    r#"{"alg":"HS256 ","kid":"app.full"}"#,
    r#"{"alg":"HS384","kid":"app.full"}"#,
    r#"{"alg":"HS512","kid":"app.full"}"#,
    r#"{"alg":"RS256","kid":"app.full"}"#,
    r#"{"alg":"ES256","kid":"app.full"}"#,
    r#"{"alg":"EdDSA","kid":"app.full"}"#,
    r#"{"alg":"none","alg":"HS256","kid":"app.full"}"#,
    r#"{"alg":"HS256","alg":"none","kid":"app.full"}"#,
    r#"{"alg":"HS256","kid":"other.full","kid":"app.full"}"#,
    r#"{"alg":"HS256"}"#,
    r#"{"alg":"HS256","kid":""}"#,
    r#"{"alg":"HS256","kid":"app"}"#,
    r#"{"alg":"HS256","kid":"app.full.x"}"#,
    r#"{"alg":"HS256","kid":"app.full/../../etc/passwd"}"#,
    r#"{"alg":"HS256","kid":"../../dev/null"}"#,
    r#"{"alg":"HS256","kid":"app.full' OR '1'='1"}"#,
    r#"{"alg":"HS256","kid":"app.full\u0000"}"#,
    r#"{"alg":"HS256","kid":["app.full"]}"#,
    r#"{"alg":"HS256","kid":"app.full","crit":["b64"],"b64":false}"#,
    r#"{"alg":"HS256","kid":"app.full","crit":[]}"#,
    r#"{"alg":"HS256","kid":"nosuch.full","jwk":{"kty":"oct","k":"AA"},"jku":"https://evil.example"}"#,
    "[]",
    "null",
    "",
];

/// A7. Each of these has been accepted by some library once.
#[test]
fn tricks() {
    let world = World::new();
    let signed = |header: &str| jwt_of(header, &good_claims(), SECRET);
    let with_claims = |claims: &str| jwt_of(HEADER, claims, SECRET);
    let parts =
        |header: &str, claims: &str, signature: &str| format!("{}.{}.{signature}", b64(header), b64(claims));
    let good = signed(HEADER);
    assert!(with_token(&world, &good).is_ok());
    let (body, signature) = good.rsplit_once('.').unwrap();
    let mac_of_nothing = b64(mac("", body.as_bytes()));
    let padded = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let last = signature.chars().last().unwrap();
    // Two bits of the last character are not part of the signature: strict decoding wants them zero.
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let twin = alphabet.chars().nth(alphabet.find(last).unwrap() ^ 1).unwrap();
    let mut list: Vec<String> = HEADERS.iter().map(|header| signed(header)).collect();
    list.extend([
        parts(r#"{"alg":"none","kid":"app.full"}"#, &good_claims(), ""),
        parts(HEADER, &good_claims(), ""),
        parts(HEADER, &good_claims(), &mac_of_nothing),
        parts(HEADER, &good_claims(), &b64([0; 32])),
        parts(HEADER, &good_claims(), &b64(&padded[..16])),
        format!("{good}="),
        format!("{good}AA"),
        format!("{good}."),
        format!("{good}.{signature}"),
        format!(" {good}"),
        format!("{good}\n"),
        format!("{body}.{}{twin}", &signature[..signature.len() - 1]),
        format!("{body}.{}", signature.replace(['-', '_'], "+") + "!"),
        with_claims(r#"{"iat":1800000000,"exp":1800000060,"exp":1800003600}"#),
        with_claims(r#"{"iat":1800000000,"exp":1800000060,"x-ably-clientId":"a","x-ably-clientId":"b"}"#),
        with_claims(r#"{"iat":1800000000,"exp":1800000060,"sub":"a","sub":"b"}"#),
        with_claims(r#"{"iat":1800000000,"exp":1800000060} {}"#),
        with_claims("[]"),
        with_claims(""),
        with_claims(&"[".repeat(9_000)),
        with_claims(&format!(
            r#"{{"iat":1800000000,"exp":1800000060,"a":{}1{}}}"#,
            "[".repeat(4000),
            "]".repeat(4000)
        )),
        with_claims(&format!(r#"{{"iat":1800000000,"exp":1800000060,"pad":"{}"}}"#, "x".repeat(14_000))),
    ]);
    for literal in list {
        let shown = &literal[..literal.len().min(120)];
        let refused = Credentials::token(&literal, None)
            .and_then(|credentials| authenticator().authenticate(&world, &credentials, TLS, now()));
        assert!(refused.is_err(), "accepted {shown}");
    }
}

#[test]
fn embedded() {
    let world = World::new();
    let auth = authenticator();
    let t = T / 1000;
    let ours = token(&auth, &world, "app.full", json!({"clientId": "x"}));
    let ours = ours.token.expose_secret();
    let theirs = jwt("app.narrow", json!({"x-ably-clientId": "x"}));
    let claim = |inner: &str, exp: i64| {
        let claims = json!({"iat": t, "exp": exp, "x-ably-token": inner, "x-ably-clientId": "mallory"});
        jwt_of(r#"{"alg":"HS256","typ":"JWT"}"#, &claims.to_string(), "a secret of the app's own")
    };
    let header = |inner: &str, parts: &str| {
        let header = json!({"alg": "dir", "enc": "A128GCM", "x-ably-token": inner});
        format!("{}.{parts}", b64(header.to_string()))
    };
    for inner in [ours, &*theirs] {
        for (outer, expires) in [
            (claim(inner, t + 60), T + 60_000),
            // Made a second after the inner one, for the same hour: the inner one's end counts.
            (claim(inner, t + 3601), T + 3_600_000),
            (header(inner, "a.b.c.d"), T + 3_600_000),
            (header(inner, "e30.c2ln"), T + 3_600_000),
        ] {
            let identity = with_token(&world, &outer).unwrap();
            assert_eq!(identity.client.as_wire(), Some("x"), "nothing of the outer token counts");
            assert_eq!(identity.expires(), Some(Timestamp(expires)));
        }
    }
    for (outer, expected) in [
        (claim(ours, t), (40142, 401)),
        (claim(ours, t + 2 * 3600), (40144, 401)),
        (claim(&jwt_of(HEADER, &good_claims(), "wrong"), t + 60), (40144, 401)),
        (claim("nonsense", t + 60), (40101, 401)),
        (claim(&claim(ours, t + 60), t + 60), (40144, 401)),
        (header(&header(ours, "a.b.c.d"), "a.b.c.d"), (40144, 401)),
        (format!("{}.a.b.c.d", b64(r#"{"alg":"dir"}"#)), (40144, 401)),
        (jwt_of(r#"{"alg":"none"}"#, &json!({"x-ably-token": ours}).to_string(), ""), (40144, 401)),
    ] {
        assert_eq!(refusal(with_token(&world, &outer)), expected);
    }
}
