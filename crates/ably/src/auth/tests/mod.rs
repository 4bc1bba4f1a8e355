//! One fixture for all: two apps, `app` with the keys that each rule needs, and `other`.

mod authenticate;
mod credentials;
mod jwt;
mod opaque;
mod request_token;
mod revoke;

use std::collections::HashMap;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use fanfare_model::{Capability, KeyId, Limits, Rules};
use serde_json::{Value, json};

use super::*;

pub(super) const SECRET: &str = "the-secret-of-the-first-key";
pub(super) const T: i64 = 1_800_000_000_000;
const TLS: Transport = Transport { secure: true, basic_over_plain: BasicOverPlain::Refused };
const PLAIN: Transport = Transport { secure: false, basic_over_plain: BasicOverPlain::Refused };
const PLAIN_ALLOWED: Transport = Transport { secure: false, basic_over_plain: BasicOverPlain::Allowed };

#[derive(Clone)]
struct World(HashMap<AppId, Arc<App>>);

impl AppLookup for World {
    fn app(&self, id: &AppId) -> Option<Arc<App>> {
        self.0.get(id).cloned()
    }
}

impl World {
    /// Keys of `app`: `full`, `narrow` (a few channels), `revocable`, `off`. Of `other`: `full`, same secret.
    fn new() -> Self {
        let full = || Capability::parse(r#"{"*":["*"]}"#).unwrap();
        let narrow = Capability::parse(r#"{"room:*":["publish","subscribe"],"log":["subscribe"]}"#).unwrap();
        let keys = |keys: Vec<Key>| keys.into_iter().map(|k| (k.id.clone(), Arc::new(k))).collect();
        let app = keys(vec![
            key("full", full()),
            key("narrow", narrow),
            Key { revocable_tokens: true, ..key("revocable", full()) },
            Key { enabled: false, ..key("off", full()) },
        ]);
        let other = keys(vec![key("full", full())]);
        let apps = [("app", app), ("other", other)].map(|(id, keys)| {
            let id = AppId::parse(id).unwrap();
            let (rules, limits) = (Rules::default(), Limits::default());
            (id.clone(), Arc::new(App { id, enabled: true, tls_only: false, keys, rules, limits }))
        });
        Self(apps.into())
    }

    fn change(&mut self, app: &str, edit: impl FnOnce(&mut App)) {
        let slot = self.0.get_mut(app).unwrap();
        let old = &**slot;
        let mut app = App {
            id: old.id.clone(),
            enabled: old.enabled,
            tls_only: old.tls_only,
            keys: old.keys.clone(),
            rules: old.rules.clone(),
            limits: old.limits.clone(),
        };
        edit(&mut app);
        *slot = Arc::new(app);
    }

    fn change_key(&mut self, id: &str, edit: impl FnOnce(&mut Key)) {
        self.change("app", |app| {
            let old = &app.keys[id];
            let mut key =
                Key { revocable_tokens: old.revocable_tokens, ..key(id, (*old.capability).clone()) };
            edit(&mut key);
            app.keys.insert(key.id.clone(), Arc::new(key));
        });
    }
}

fn key(id: &str, capability: Capability) -> Key {
    Key {
        id: KeyId::parse(id).unwrap(),
        secret: SECRET.into(),
        capability: Arc::new(capability),
        revocable_tokens: false,
        enabled: true,
    }
}

fn now() -> Now {
    at(0)
}

/// So many milliseconds after the usual time, on both clocks.
fn at(ms: i64) -> Now {
    Now { wall: Timestamp(T + ms), mono: Duration::from_millis((10_000_000 + ms).unsigned_abs()) }
}

fn authenticator() -> Authenticator {
    Authenticator::new(Timestamp(T - 600_000))
}

fn with_token(world: &World, literal: &str) -> Result<Identity, ErrorInfo> {
    with_token_at(world, literal, None, now())
}

fn with_token_at(
    world: &World,
    literal: &str,
    client: Option<&str>,
    now: Now,
) -> Result<Identity, ErrorInfo> {
    authenticator().authenticate(world, &Credentials::token(literal, client)?, TLS, now)
}

fn with_key(world: &World, key: &str) -> Result<Identity, ErrorInfo> {
    authenticator().authenticate(world, &Credentials::key(key, None)?, TLS, now())
}

fn basic(world: &World, id: &str) -> Identity {
    with_key(world, &format!("app.{id}:{SECRET}")).unwrap()
}

fn mac(secret: &str, message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), message).as_ref().to_vec()
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A JWT from the texts of its parts, whatever they are.
fn jwt_of(header: &str, claims: &str, secret: &str) -> String {
    let signed = format!("{}.{}", b64(header), b64(claims));
    format!("{signed}.{}", b64(mac(secret, signed.as_bytes())))
}

/// A good JWT of a key of `app`, with the claims changed: a null takes one away.
fn jwt(key: &str, changes: Value) -> String {
    let mut claims = json!({"iat": T / 1000, "exp": T / 1000 + 3600});
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    jwt_of(&json!({"alg": "HS256", "typ": "JWT", "kid": key}).to_string(), &claims.to_string(), SECRET)
}

/// A signed token request, as an SDK makes it.
fn signed_request(key: &str, fields: Value) -> Value {
    let mut body = json!({"keyName": key, "timestamp": T, "nonce": "1234567890123456"});
    for (name, value) in fields.as_object().unwrap() {
        body[name] = value.clone();
    }
    let text = |name: &str| match &body[name] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let lines = ["keyName", "ttl", "capability", "clientId", "timestamp", "nonce"].map(|f| text(f) + "\n");
    body["mac"] = STANDARD.encode(mac(SECRET, lines.concat().as_bytes())).into();
    body
}

/// Issues a token by a signed request, with a nonce of its own.
fn token(auth: &Authenticator, world: &World, key: &str, mut fields: Value) -> TokenDetails {
    fields["nonce"] = format!("{:?}", random::bytes::<16>()).into();
    let body = signed_request(key, fields);
    let nothing = Credentials::parse(AuthHeaders::default(), [("", ""); 0]).unwrap();
    auth.request_token(world, key, &body, &nothing, PLAIN, now()).unwrap()
}

fn refusal<T>(result: Result<T, ErrorInfo>) -> (u32, u16) {
    result.err().map_or((0, 0), |e| (e.code, e.status))
}
