//! Tokens of ours.

use fanfare_model::{ClientId, Operation};
use proptest::prelude::*;

use super::super::opaque::{self, Claims};
use super::*;

fn claims() -> Claims {
    Claims {
        issued: Timestamp(T),
        ttl: Duration::from_secs(3600),
        capability: Some(r#"{"room:1":["subscribe"]}"#.to_owned()),
        client: ClientIdRule::Only(ClientId::parse("someone@example.com").unwrap()),
        revocation_key: Some("group".to_owned()),
    }
}

fn issue(key: &str, secret: &str, claims: &Claims) -> String {
    opaque::issue(&KeyName::parse(key).unwrap(), &secret.into(), claims).expose_secret().to_owned()
}

#[test]
fn round_trip() {
    let world = World::new();
    let literal = issue("app.full", SECRET, &claims());
    assert!(literal.starts_with("app.") && literal.len() < 200, "{} bytes", literal.len());
    assert!(literal.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)), "fit for a URL");
    assert_ne!(literal, issue("app.full", SECRET, &claims()), "each token is another");
    let identity = with_token(&world, &literal).unwrap();
    assert_eq!(identity.key.to_string(), "app.full");
    assert_eq!(identity.expires(), Some(Timestamp(T + 3_600_000)));
    assert_eq!(identity.client.as_wire(), Some("someone@example.com"));
    assert_eq!(identity.capability.to_json(), r#"{"room:1":["subscribe"]}"#);
    let token = identity.token().unwrap();
    assert_eq!((token.kind, token.issued), (TokenKind::Opaque, Timestamp(T)));
    assert_eq!(token.revocation_key.as_deref(), Some("group"));
    let bare = Claims { capability: None, revocation_key: None, client: ClientIdRule::Any, ..claims() };
    let identity = with_token(&world, &issue("app.narrow", SECRET, &bare)).unwrap();
    assert_eq!(identity.capability, world.0["app"].keys["narrow"].capability);
}

#[test]
fn refusals() {
    let mut world = World::new();
    let good = issue("app.full", SECRET, &claims());
    let body = good.strip_prefix("app.").unwrap();
    let ended = Claims { issued: Timestamp(T - 3_600_000), ..claims() };
    for (literal, expected) in [
        (good.clone(), (0, 0)),
        // What SDKs' tests assert of such strings.
        ("Sdnurv_some_invalid_token_nkds9r7".to_owned(), (40101, 401)),
        ("invalid-token".to_owned(), (40101, 401)),
        ("invalid token".to_owned(), (40101, 401)),
        ("app.invalid.token.will.cause.failure".to_owned(), (40005, 400)),
        ("".to_owned(), (40101, 401)),
        (".".to_owned(), (40101, 401)),
        ("app.".to_owned(), (40005, 400)),
        ("app.AQ".to_owned(), (40005, 400)),
        (format!("{good}="), (40005, 400)),
        ("x".repeat(CREDENTIAL_BYTES_MAX), (40101, 401)),
        ("nosuchapp.AQ".to_owned(), (40400, 404)),
        (format!("nosuchapp.{body}"), (40400, 404)),
        // The other app has a key with the same name and the same secret: its name is in the seal.
        (format!("other.{body}"), (40143, 401)),
        (issue("app.nosuch", SECRET, &claims()), (40143, 401)),
        (issue("app.full", "another secret", &claims()), (40143, 401)),
        (issue("app.off", SECRET, &claims()), (40131, 401)),
        (issue("app.full", SECRET, &ended), (40142, 401)),
        (
            issue("app.narrow", SECRET, &Claims { capability: Some(r#"{"x":["*"]}"#.into()), ..claims() }),
            (40160, 401),
        ),
    ] {
        assert_eq!(refusal(with_token(&world, &literal)), expected, "{literal}");
    }
    for (ms, expected) in [(3_599_999, (0, 0)), (3_600_000, (40142, 401))] {
        assert_eq!(refusal(with_token_at(&world, &good, None, at(ms))), expected, "no leeway at the end");
    }
    world.change_key("full", |key| {
        key.capability = Arc::new(Capability::parse(r#"{"*":["history"]}"#).unwrap())
    });
    assert_eq!(refusal(with_token(&world, &good)), (40160, 401), "the key's capability as it is now");
    world.change("app", |app| app.enabled = false);
    assert_eq!(refusal(with_token(&world, &good)), (40301, 403));
}

#[test]
fn tokens_of_a_key_that_became_revocable_live_an_hour() {
    let mut world = World::new();
    let day = Claims { ttl: Duration::from_secs(24 * 3600), ..claims() };
    let literal = issue("app.full", SECRET, &day);
    assert!(with_token_at(&world, &literal, None, at(3_600_000)).is_ok());
    world.change_key("full", |key| key.revocable_tokens = true);
    assert_eq!(with_token(&world, &literal).unwrap().expires(), Some(Timestamp(T + 3_600_000)));
    assert_eq!(refusal(with_token_at(&world, &literal, None, at(3_600_000))), (40142, 401));
}

/// No bit of a token can be changed, and no part of it left out.
#[test]
fn forgeries() {
    let world = World::new();
    let good = issue("app.narrow", SECRET, &claims());
    let bytes = URL_SAFE_NO_PAD.decode(good.split_once('.').unwrap().1).unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut forged = bytes.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        assert!(with_token(&world, &format!("app.{}", b64(&forged))).is_err(), "bit {bit}");
    }
    for length in 0..bytes.len() {
        assert!(with_token(&world, &format!("app.{}", b64(&bytes[..length]))).is_err(), "{length} bytes");
    }
    assert!(with_token(&world, &format!("app.{}", b64([&bytes[..], &[0]].concat()))).is_err());
}

proptest! {
    #[test]
    fn any_text_is_refused_in_peace(text in ".{0,200}", bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let world = World::new();
        let header = b64(r#"{"alg":"HS256","kid":"app.full"}"#);
        for literal in [
            text.clone(),
            format!("app.{text}"),
            format!("app.{}", b64(&bytes)),
            format!("ey{text}.{text}.{text}"),
            format!("{header}.{}.{}", b64(&bytes), b64(&text)),
        ] {
            prop_assert!(with_token(&world, &literal).is_err(), "{}", literal);
        }
    }

    #[test]
    fn claims_survive(ttl in 1u64..86_400_000, client in ".{1,300}", revocation in ".{1,300}") {
        let world = World::new();
        let client = ClientId::parse(&client).map_or(ClientIdRule::Any, ClientIdRule::Only);
        let given = Claims { ttl: Duration::from_millis(ttl), client, revocation_key: Some(revocation), ..claims() };
        let identity = with_token(&world, &issue("app.full", SECRET, &given)).unwrap();
        let token = identity.token().unwrap();
        prop_assert_eq!(token.expires - token.issued, given.ttl);
        prop_assert_eq!(&token.client, &given.client);
        prop_assert_eq!(token.revocation_key.as_deref(), given.revocation_key.as_deref());
        prop_assert!(identity.capability.allows("room:1", Operation::Subscribe));
    }
}
