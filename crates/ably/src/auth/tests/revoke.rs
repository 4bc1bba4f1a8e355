//! `revokeTokens`.

use super::*;

fn shown(e: &ErrorInfo) -> Value {
    json!({"code": e.code, "statusCode": e.status})
}

fn revoke(
    auth: &Authenticator,
    world: &World,
    body: Value,
    now: Now,
) -> Result<RevocationOutcome, ErrorInfo> {
    auth.revoke_tokens(world, "app.revocable", &body, &basic(world, "revocable"), now)
}

fn with(auth: &Authenticator, world: &World, literal: &str, now: Now) -> Result<Identity, ErrorInfo> {
    auth.authenticate(world, &Credentials::token(literal, None)?, TLS, now)
}

#[test]
fn answers() {
    let (world, auth) = (World::new(), authenticator());
    let targets = json!({"targets": ["clientId:a", "revocationKey:b", "channel:c:d", "invalidType:abc", "clientId:", "x"]});
    let outcome = revoke(&auth, &world, targets, now()).unwrap();
    let good = |target: &str| json!({"target": target, "issuedBefore": T, "appliesAt": T});
    let bad = |target: &str| json!({"target": target, "error": {"code": 40000, "statusCode": 400}});
    let results = [
        good("clientId:a"),
        good("revocationKey:b"),
        good("channel:c:d"),
        bad("invalidType:abc"),
        bad("clientId:"),
        bad("x"),
    ];
    assert_eq!(outcome.to_value(shown), json!({"successCount": 3, "failureCount": 3, "results": results}));

    let issued_before = T - 20 * 60 * 1000;
    let body = json!({"targets": ["clientId:a"], "issuedBefore": issued_before, "allowReauthMargin": true});
    let outcome = revoke(&auth, &world, body, now()).unwrap();
    let revocation = outcome.revocations().next().unwrap();
    assert_eq!(revocation.issued_before, Timestamp(issued_before));
    assert!(revocation.applies_at > Timestamp(T + 30_000), "asserted by SDKs' tests");
}

#[test]
fn refusals() {
    let (world, auth) = (World::new(), authenticator());
    let many: Vec<_> = (0..101).map(|n| format!("clientId:{n}")).collect();
    for (body, expected) in [
        (json!({}), (40000, 400)),
        (json!([]), (40000, 400)),
        (json!({"targets": []}), (40000, 400)),
        (json!({"targets": "clientId:a"}), (40000, 400)),
        (json!({"targets": [1]}), (40000, 400)),
        (json!({"targets": many[..100]}), (0, 0)),
        (json!({"targets": many}), (40000, 400)),
        (json!({"targets": ["clientId:a"], "issuedBefore": T + 1}), (40003, 400)),
        (json!({"targets": ["clientId:a"], "issuedBefore": T - 3_600_000}), (0, 0)),
        (json!({"targets": ["clientId:a"], "issuedBefore": T - 3_600_001}), (40003, 400)),
        (json!({"targets": ["clientId:a"], "issuedBefore": (T - 5) as f64}), (0, 0)),
        (json!({"targets": ["clientId:a"], "issuedBefore": "now"}), (40003, 400)),
        (json!({"targets": ["clientId:a"], "allowReauthMargin": "yes"}), (40003, 400)),
    ] {
        assert_eq!(refusal(revoke(&auth, &world, body.clone(), now())), expected, "{body}");
    }
    let body = json!({"targets": ["clientId:a"]});
    let attempt =
        |path, identity: &Identity| refusal(auth.revoke_tokens(&world, path, &body, identity, now()));
    let token = with_token(&world, &jwt("app.revocable", json!({}))).unwrap();
    assert_eq!(attempt("app.revocable", &token), (40162, 401));
    assert_eq!(attempt("app.revocable", &basic(&world, "full")), (40133, 401));
    assert_eq!(attempt("other.full", &basic(&world, "full")), (40133, 401));
    assert_eq!(attempt("app.full", &basic(&world, "full")), (40163, 401));
}

/// Which tokens a target means.
#[test]
fn targets() {
    let world = World::new();
    let literal = jwt(
        "app.revocable",
        json!({"x-ably-clientId": "x", "x-ably-revocation-key": "group", "x-ably-capability": r#"{"a:*":["publish"],"log":["history"]}"#}),
    );
    let wildcard = jwt("app.revocable", json!({"x-ably-clientId": "*"}));
    let others_token = jwt("app.full", json!({"x-ably-clientId": "x", "x-ably-revocation-key": "group"}));
    for (target, concerned, wildcard_too) in [
        ("clientId:x", true, false),
        ("clientId:X", false, false),
        ("clientId:group", false, false),
        ("clientId:*", false, false),
        ("revocationKey:group", true, false),
        ("revocationKey:x", false, false),
        ("channel:log", true, true),
        ("channel:a:*", true, true),
        ("channel:a:b", true, true),
        ("channel:b", false, true),
        ("channel:[meta]log", false, false),
    ] {
        let auth = authenticator();
        let live = with(&auth, &world, &literal, now()).unwrap();
        let outcome = revoke(&auth, &world, json!({"targets": [target]}), now()).unwrap();
        let expected = |concerned| if concerned { (40141, 401) } else { (0, 0) };
        assert_eq!(refusal(with(&auth, &world, &literal, now())), expected(concerned), "{target}");
        assert_eq!(refusal(auth.refresh(&live, &world, now())), expected(concerned), "{target}");
        assert_eq!(refusal(with(&auth, &world, &wildcard, now())), expected(wildcard_too), "{target}");
        assert_eq!(
            refusal(with(&auth, &world, &others_token, now())),
            (0, 0),
            "{target}: another key's token"
        );
        let matches = outcome.revocations().next().unwrap().matches(&live);
        assert_eq!(matches, concerned, "{target}");
        assert_eq!(auth.revocations().applies_at(&live), concerned.then_some(Timestamp(T)));
        assert!(
            !outcome.revocations().any(|r| r.matches(&basic(&world, "revocable"))),
            "keys are not tokens"
        );
    }
    // One who may be anyone and has chosen to be x is x.
    let auth = authenticator();
    revoke(&auth, &world, json!({"targets": ["clientId:x"]}), now()).unwrap();
    let as_x = Credentials::token(&wildcard, Some("x")).unwrap();
    assert_eq!(refusal(auth.authenticate(&world, &as_x, TLS, now())), (40141, 401));
}

#[test]
fn times() {
    let (world, auth) = (World::new(), authenticator());
    let literal = |iat: i64| {
        let claims = json!({"iat": iat / 1000, "exp": iat / 1000 + 3600, "x-ably-clientId": "x"});
        jwt("app.revocable", claims)
    };
    let ours = token(&auth, &world, "app.revocable", json!({"clientId": "x"}));
    let ours = ours.token.expose_secret();
    let body = json!({"targets": ["clientId:x"], "issuedBefore": T - 10_000, "allowReauthMargin": true});
    revoke(&auth, &world, body, now()).unwrap();
    let old = literal(T - 10_000);
    let live = with(&auth, &world, &old, at(30_000)).expect("good within the margin");
    assert_eq!(auth.revocations().applies_at(&live), Some(Timestamp(T + 30_500)), "it is told when");
    assert_eq!(refusal(with(&auth, &world, &old, at(30_500))), (40141, 401));
    for newer in [&*literal(T - 9_000), ours] {
        assert!(with(&auth, &world, newer, at(30_500)).is_ok());
    }
    // At once and for later ones: both hold, each for its own.
    revoke(&auth, &world, json!({"targets": ["clientId:x"]}), at(1_000)).unwrap();
    assert_eq!(refusal(with(&auth, &world, ours, at(1_000))), (40141, 401));
    let renewed = literal(T + 2_000);
    assert!(with(&auth, &world, &renewed, at(40_000)).is_ok());
}

#[test]
fn revocations_survive_a_restart_and_end_with_their_tokens() {
    const HOUR: i64 = 3_600_000;
    let (world, auth) = (World::new(), authenticator());
    let body = json!({"targets": ["clientId:x\n\"ü", "revocationKey:k:l", "channel:[meta]a:*"]});
    revoke(&auth, &world, body, now()).unwrap();
    let stored: Vec<String> = auth.revocations().all(now().wall).iter().map(Revocation::to_json).collect();
    assert_eq!(stored.len(), 3);

    let restarted = authenticator();
    let restored = || stored.iter().map(|text| Revocation::from_json(text).unwrap());
    restarted.revocations().restore(restored(), now().wall).unwrap();
    assert_eq!(restarted.revocations().all(now().wall).len(), 3);
    let literal = jwt("app.revocable", json!({"x-ably-revocation-key": "k:l"}));
    assert_eq!(refusal(with(&restarted, &world, &literal, now())), (40141, 401));
    // To the last moment at which a token that it concerns could be alive.
    assert_eq!(restarted.revocations().all(at(HOUR).wall).len(), 3);
    assert_eq!(restarted.revocations().all(at(HOUR + 120_000).wall).len(), 0);
    let late = authenticator();
    late.revocations().restore(restored(), at(HOUR + 120_000).wall).unwrap();
    assert_eq!(late.revocations().all(now().wall).len(), 0);
    for broken in ["", "{}", "[]", r#"{"key":"a","target":"clientId:x","issuedBefore":1,"appliesAt":1}"#] {
        assert!(Revocation::from_json(broken).is_err());
    }
}

#[test]
fn the_registry_is_bounded() {
    let world = World::new();
    let auth = authenticator();
    let registry = auth.revocations();
    let revocation = |target: String, now: Now| Revocation {
        key: KeyName::parse("app.revocable").unwrap(),
        target: Target::parse(&target).unwrap(),
        issued_before: now.wall,
        applies_at: now.wall,
    };
    for n in 0..1_000 {
        registry.add(revocation(format!("channel:{n}"), now()), now().wall).unwrap();
    }
    assert_eq!(refusal(registry.add(revocation("channel:x".into(), now()), now().wall)), (50003, 503));
    let identity = with(&auth, &world, &jwt("app.revocable", json!({})), now());
    assert_eq!(refusal(identity), (40141, 401), "and none was forgotten for another's sake");
    for n in 0..19_000 {
        registry.add(revocation(format!("clientId:{n}"), now()), now().wall).unwrap();
    }
    let refused = revoke(&auth, &world, json!({"targets": ["clientId:more"]}), now()).unwrap();
    assert_eq!(refused.to_value(shown)["results"][0]["error"]["code"], 50003);
    let later = at(4_000_000);
    registry.add(revocation("clientId:more".into(), later), later.wall).unwrap();
    assert_eq!(registry.all(Timestamp(0)).len(), 1, "those past their time made room");
    // The same again takes no room.
    for _ in 0..50_000 {
        registry.add(revocation("clientId:more".into(), later), later.wall).unwrap();
    }
    assert_eq!(registry.all(Timestamp(0)).len(), 1);
}
