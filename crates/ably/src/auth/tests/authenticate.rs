//! Keys, client ids, and what holds for all credentials.

use fanfare_model::{ClientId, Operation};

use super::*;

#[test]
fn keys() {
    let mut world = World::new();
    for (key, expected) in [
        (format!("app.full:{SECRET}"), (0, 0)),
        (format!("app.full:{SECRET}x"), (40101, 401)),
        ("app.full:wrong".to_owned(), (40101, 401)),
        ("app.full:".to_owned(), (40101, 401)),
        // What SDKs' tests assert of keys of apps that are not there.
        ("this.is:wrong".to_owned(), (40101, 401)),
        ("not_an_app.invalid_key_name:invalid_key_value".to_owned(), (40101, 401)),
        ("js9de7r:08sdnuvfasd".to_owned(), (40101, 401)),
        ("app.full".to_owned(), (40101, 401)),
        ("nonsense".to_owned(), (40101, 401)),
        // And of an app that is there.
        ("app.invalidKey:invalidSecret".to_owned(), (40400, 401)),
        (format!("app.off:{SECRET}"), (40131, 401)),
        ("app.off:wrong".to_owned(), (40101, 401)),
    ] {
        assert_eq!(refusal(with_key(&world, &key)), expected, "{key}");
    }
    let identity = basic(&world, "narrow");
    assert_eq!(identity.key.to_string(), "app.narrow");
    assert!(matches!(identity.method, Method::Basic) && identity.expires().is_none());
    assert!(identity.capability.allows("room:1", Operation::Publish));
    assert!(!identity.capability.allows("log", Operation::Publish));

    world.change("app", |app| app.enabled = false);
    assert_eq!(refusal(with_key(&world, &format!("app.full:{SECRET}"))), (40301, 403));
    assert_eq!(refusal(with_key(&world, "app.full:wrong")), (40101, 401), "a stranger is not told");
    let nothing = Credentials::parse(AuthHeaders::default(), [("v", "3")]).unwrap();
    assert!(nothing.is_empty());
    assert_eq!(refusal(authenticator().authenticate(&world, &nothing, TLS, now())), (40101, 401));
}

#[test]
fn transports() {
    let mut world = World::new();
    let token = jwt("app.full", json!({}));
    let attempt = |world: &World, credentials: Credentials, transport| {
        refusal(authenticator().authenticate(world, &credentials, transport, now()))
    };
    let key = || Credentials::key(&format!("app.full:{SECRET}"), None).unwrap();
    let token = || Credentials::token(&token, None).unwrap();
    for (tls_only, transport, for_key, for_token) in [
        (false, TLS, (0, 0), (0, 0)),
        (false, PLAIN, (40103, 401), (0, 0)),
        (false, PLAIN_ALLOWED, (0, 0), (0, 0)),
        (true, TLS, (0, 0), (0, 0)),
        (true, PLAIN, (40103, 401), (40311, 403)),
        (true, PLAIN_ALLOWED, (40103, 401), (40311, 403)),
    ] {
        world.change("app", |app| app.tls_only = tls_only);
        assert_eq!(attempt(&world, key(), transport), for_key, "{tls_only} {transport:?}");
        assert_eq!(attempt(&world, token(), transport), for_token, "{tls_only} {transport:?}");
    }
}

/// The table of client ids: what the credential says, what the client asserts, and what comes out.
#[test]
fn client_ids() {
    const INCOMPATIBLE: Result<&str, u32> = Err(40102);
    const INVALID: Result<&str, u32> = Err(40012);
    const ANONYMOUS: Result<&str, u32> = Ok("");
    let (world, auth) = (World::new(), authenticator());
    let key = format!("app.full:{SECRET}");
    for (in_token, asserted, expected) in [
        (None, None, Ok("*")),
        (None, Some("x"), Ok("x")),
        (None, Some("*"), INVALID),
        (None, Some(""), INVALID),
        (Some(""), None, ANONYMOUS),
        (Some(""), Some("x"), INCOMPATIBLE),
        (Some("x"), None, Ok("x")),
        (Some("x"), Some("x"), Ok("x")),
        (Some("x"), Some("y"), INCOMPATIBLE),
        (Some("x"), Some("*"), INVALID),
        (Some("x"), Some(""), INVALID),
        (Some("*"), None, Ok("*")),
        (Some("*"), Some("x"), Ok("x")),
        (Some("*"), Some("*"), INVALID),
    ] {
        let credentials = match in_token {
            None => vec![Credentials::key(&key, asserted).unwrap()],
            Some(id) => {
                let id = Some(id).filter(|id| !id.is_empty());
                let ours = token(&auth, &world, "app.full", json!({"clientId": id}));
                let jwt = jwt("app.full", json!({"x-ably-clientId": id}));
                [ours.token.expose_secret(), &*jwt].map(|t| Credentials::token(t, asserted).unwrap()).into()
            }
        };
        for credentials in credentials {
            let got = auth.authenticate(&world, &credentials, TLS, now());
            let got = got.as_ref().map(|i| i.client.as_wire().unwrap_or("")).map_err(|e| e.code);
            assert_eq!(got, expected, "{in_token:?} {asserted:?} {credentials:?}");
        }
    }
}

/// A5: nobody speaks under a name that is not his.
#[test]
fn client_ids_of_messages() {
    let world = World::new();
    let identity = |rule: ClientIdRule| Identity { client: rule, ..basic(&world, "full") };
    let only = |id: &str| ClientIdRule::Only(ClientId::parse(id).unwrap());
    for (rule, explicit, expected) in [
        (ClientIdRule::Any, None, Ok(None)),
        (ClientIdRule::Any, Some("x"), Ok(Some("x"))),
        (ClientIdRule::Any, Some("*"), Err(40012)),
        (ClientIdRule::Any, Some(""), Err(40012)),
        (only("x"), None, Ok(Some("x"))),
        (only("x"), Some("x"), Ok(Some("x"))),
        (only("x"), Some("y"), Err(40012)),
        (only("x"), Some("*"), Err(40012)),
        (only("x"), Some(""), Err(40012)),
        (ClientIdRule::Anonymous, None, Ok(None)),
        (ClientIdRule::Anonymous, Some("x"), Err(40012)),
        (ClientIdRule::Anonymous, Some("*"), Err(40012)),
    ] {
        let got = resolve_message_client_id(&identity(rule.clone()), explicit);
        let got = got.as_ref().map(|id| id.as_ref().map(ClientId::as_str)).map_err(|e| e.code);
        assert_eq!(got, expected, "{rule:?} {explicit:?}");
    }
}

#[test]
fn successors() {
    let world = World::new();
    let identity =
        |key: &str, client: Value| with_token(&world, &jwt(key, json!({"x-ably-clientId": client}))).unwrap();
    let old = identity("app.full", json!("x"));
    assert!(old.check_successor(&identity("app.narrow", json!("x"))).is_ok());
    for other in [
        identity("app.full", json!("y")),
        identity("app.full", json!("*")),
        identity("app.full", Value::Null),
        identity("other.full", json!("x")),
    ] {
        assert_eq!(refusal(old.check_successor(&other)), (40102, 401));
    }
}

/// A live connection is held to its app and key as they are, not as they were.
#[test]
fn refresh() {
    let mut world = World::new();
    let auth = authenticator();
    let claims = json!({"x-ably-capability": r#"{"a":["publish","subscribe"]}"#, "x-ably-clientId": "x"});
    let of_token = with_token(&world, &jwt("app.full", claims)).unwrap();
    let of_key = basic(&world, "full");
    let both = [&of_token, &of_key];
    for identity in both {
        let same = auth.refresh(identity, &world, now()).unwrap();
        assert_eq!((same.capability, same.client), (identity.capability.clone(), identity.client.clone()));
    }
    assert_eq!(refusal(auth.refresh(&of_token, &world, at(3_600_000))), (40142, 401));

    world.change_key("full", |key| {
        key.capability = Arc::new(Capability::parse(r#"{"a":["publish"]}"#).unwrap())
    });
    for identity in both {
        let less = auth.refresh(identity, &world, now()).unwrap();
        assert_eq!(less.capability.to_json(), r#"{"a":["publish"]}"#);
        // What was taken away comes back when the key gets it back: the token still has it.
        let again = auth.refresh(&less, &World::new(), now()).unwrap();
        assert_eq!(again.capability, identity.capability);
    }
    world.change_key("full", |key| {
        key.capability = Arc::new(Capability::parse(r#"{"b":["publish"]}"#).unwrap())
    });
    assert_eq!(refusal(auth.refresh(&of_token, &world, now())), (40160, 401));
    world.change_key("full", |key| key.secret = "another".into());
    both.iter().for_each(|identity| assert_eq!(refusal(auth.refresh(identity, &world, now())), (40131, 401)));
    world.change_key("full", |key| key.enabled = false);
    both.iter().for_each(|identity| assert_eq!(refusal(auth.refresh(identity, &world, now())), (40131, 401)));
    world.change("app", |app| drop(app.keys.remove("full")));
    both.iter().for_each(|identity| assert_eq!(refusal(auth.refresh(identity, &world, now())), (40131, 401)));
    world.change("app", |app| app.enabled = false);
    both.iter().for_each(|identity| assert!(auth.refresh(identity, &world, now()).is_err()));
    world.0.remove("app");
    both.iter().for_each(|identity| assert_eq!(refusal(auth.refresh(identity, &world, now())), (40400, 404)));
}

/// A12, roughly: an unknown key takes the time of a known one. The bound is wide, because tests share the
/// machine; what it would catch is the work left out altogether.
#[test]
fn unknown_keys_cost_the_same_work() {
    let world = World::new();
    let fastest = |literal: &str| {
        let auth = authenticator();
        let credentials = Credentials::token(literal, None).unwrap();
        let once = |_| {
            let start = std::time::Instant::now();
            let _ = std::hint::black_box(auth.authenticate(&world, &credentials, TLS, now()));
            start.elapsed()
        };
        (0..2_000).map(once).min().unwrap()
    };
    let genuine = jwt("app.full", json!({}));
    let signed = genuine.rsplit_once('.').unwrap().0;
    let forged = format!("{signed}.{}", b64([0; 32]));
    let unknown = jwt("app.nosuch", json!({}));
    let (known, unknown) = (fastest(&forged), fastest(&unknown));
    assert!(unknown * 3 > known && known * 3 > unknown, "known {known:?}, unknown {unknown:?}");
}
