//! Keys that an issuer publishes. What tokens say is tested from outside, with every algorithm.

use std::sync::Mutex;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

use super::*;

const NOW: Timestamp = Timestamp(1_700_000_000_000);

/// An issuer that publishes some keys, once it has been asked.
struct Issuer {
    keys: Vec<Value>,
    asked: Mutex<usize>,
}

impl KeySource for Issuer {
    fn find(&self, id: Option<&str>) -> Lookup {
        let mut asked = self.asked.lock().unwrap();
        *asked += 1;
        if *asked == 1 {
            return Lookup::Wait(Box::pin(std::future::ready(())));
        }
        let named = |key: &&Value| id.is_none_or(|id| key["kid"] == id);
        match self.keys.iter().find(named).and_then(SignatureKey::from_jwk) {
            Some(key) => Lookup::Key(key),
            None => Lookup::Absent("the issuer has no such key"),
        }
    }
}

struct World {
    p256: EcdsaKeyPair,
    ed: Ed25519KeyPair,
}

fn base64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl World {
    fn new() -> Self {
        Self {
            p256: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            ed: Ed25519KeyPair::generate().unwrap(),
        }
    }

    fn ec_jwk(&self, kid: &str) -> Value {
        let point = self.p256.public_key().as_ref();
        json!({ "kty": "EC", "crv": "P-256", "kid": kid, "use": "sig", "x": base64(&point[1..33]), "y": base64(&point[33..]) })
    }

    fn ed_jwk(&self, kid: &str) -> Value {
        json!({ "kty": "OKP", "crv": "Ed25519", "kid": kid, "alg": "EdDSA", "x": base64(self.ed.public_key().as_ref()) })
    }

    fn token(&self, algorithm: &str, kid: Option<&str>) -> String {
        let header = json!({ "alg": algorithm, "kid": kid });
        let claims = json!({ "exp": 1_700_000_100, "sub": "someone", "permissions": [] });
        let signed =
            format!("{}.{}", base64(header.to_string().as_bytes()), base64(claims.to_string().as_bytes()));
        let signature = match algorithm {
            "ES256" => self.p256.sign(&SystemRandom::new(), signed.as_bytes()).unwrap().as_ref().to_vec(),
            _ => self.ed.sign(signed.as_bytes()).as_ref().to_vec(),
        };
        format!("{signed}.{}", base64(&signature))
    }
}

fn published(keys: Vec<Value>, algorithms: &[Algorithm]) -> VerificationKey {
    let issuer = Issuer { keys, asked: Mutex::new(0) };
    VerificationKey::new(Material::Published(Arc::new(issuer)), algorithms.to_vec(), Vec::new()).unwrap()
}

/// What the second try says; the first one has to wait for the issuer.
fn second_try(key: &VerificationKey, token: &str) -> Result<Grant, String> {
    assert!(matches!(verify(key, token, NOW), Err(Unverified::Wait(_))));
    verify(key, token, NOW).map_err(|why| match why {
        Unverified::Refused(why) => why,
        Unverified::Wait(_) => panic!("waits again"),
    })
}

#[test]
fn keys_are_chosen_by_their_id() {
    let world = World::new();
    let keys = || vec![world.ec_jwk("a"), world.ed_jwk("b")];
    let both = [Algorithm::Es256, Algorithm::EdDsa];
    for (algorithm, kid, accepted) in [
        ("ES256", Some("a"), true),
        ("EdDSA", Some("b"), true),
        ("ES256", Some("b"), false),
        ("EdDSA", Some("a"), false),
        ("ES256", Some("c"), false),
        ("ES256", None, true),
    ] {
        let got = second_try(&published(keys(), &both), &world.token(algorithm, kid));
        assert_eq!(got.is_ok(), accepted, "{algorithm} {kid:?}: {got:?}");
    }
}

#[test]
fn what_the_issuer_says_of_a_key_narrows_what_the_app_lists() {
    let world = World::new();
    let with = |name: &str, value: &str| {
        let mut jwk = world.ec_jwk("a");
        jwk[name] = json!(value);
        second_try(&published(vec![jwk], &[Algorithm::Es256]), &world.token("ES256", Some("a"))).is_ok()
    };
    assert!(with("alg", "ES256"));
    assert!(!with("alg", "ES384"));
    assert!(!with("alg", "none"));
    assert!(!with("use", "enc"));
    assert!(!with("x", "AAAA"));
    assert!(!with("crv", "P-384"));
    assert!(!with("kty", "oct"));
}

#[test]
fn an_algorithm_that_is_not_listed_asks_nobody() {
    let world = World::new();
    let key = published(vec![world.ec_jwk("a")], &[Algorithm::EdDsa]);
    assert!(matches!(verify(&key, &world.token("ES256", Some("a")), NOW), Err(Unverified::Refused(_))));
}

#[test]
fn keys_and_algorithms_must_belong_together() {
    let secret = || Material::from_text("secret").unwrap();
    assert!(VerificationKey::new(secret(), vec![], vec![]).is_err());
    assert!(VerificationKey::new(secret(), vec![Algorithm::Rs256], vec![]).is_err());
    assert!(VerificationKey::new(secret(), vec![Algorithm::Hs256, Algorithm::Hs512], vec![]).is_ok());
    let issuer = || Material::Published(Arc::new(Issuer { keys: Vec::new(), asked: Mutex::new(0) }));
    assert!(VerificationKey::new(issuer(), vec![Algorithm::Hs256], vec![]).is_err());
    assert!(Material::from_text("").is_err());
    for pem in [
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
        "-----BEGIN x",
        "-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----",
    ] {
        assert!(Material::from_text(pem).is_err(), "{pem}");
    }
}

#[test]
fn nothing_secret_is_shown() {
    let key = VerificationKey::new(Material::from_text("canary").unwrap(), vec![Algorithm::Hs256], vec![]);
    assert!(!format!("{key:?}").contains("canary"));
}
