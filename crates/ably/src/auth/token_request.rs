//! `requestToken`: a signed request, or a key, for a token of ours.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use fanfare_model::error::{self, ErrorInfo};
use fanfare_model::{Capability, KeyName, Now, Timestamp};
use fanfare_store::Entry;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::credentials::{LENIENT, Presented};
use super::durable::spent;
use super::identity::{ClientIdRule, granted};
use super::opaque::{self, Claims};
use super::secret::is_mac;
use super::{AppLookup, Authenticator, Credentials, Found, Issuer, Method, Transport, find, nobody};

/// What a token lives when the request does not say.
const TTL_DEFAULT: Duration = Duration::from_secs(3600);
const NONCE_BYTES_MAX: usize = 256;
/// Longest capability that a token carries: it is sent with every request, and must leave room in one.
const CAPABILITY_BYTES_MAX: usize = 8 * 1024;

/// A request as it was sent. Numbers keep the text that was signed.
#[derive(Clone)]
pub struct TokenRequest {
    key_name: Option<String>,
    ttl: Option<String>,
    capability: Option<String>,
    client_id: Option<String>,
    timestamp: Option<String>,
    nonce: Option<String>,
    mac: Option<String>,
}

/// A token and what is said of it to the client.
#[derive(Clone, Debug)]
pub struct TokenDetails {
    pub token: SecretString,
    pub key: KeyName,
    pub issued: Timestamp,
    pub expires: Timestamp,
    /// Canonical JSON.
    pub capability: String,
    pub client: ClientIdRule,
    /// To be durable before the token is handed out: the same request must not serve again.
    pub spent: Option<Entry>,
}

impl TokenDetails {
    /// The answer's body.
    pub fn to_value(&self) -> Value {
        let mut body = json!({
            "token": self.token.expose_secret(),
            "keyName": self.key.to_string(),
            "issued": self.issued.0,
            "expires": self.expires.0,
            "capability": self.capability,
        });
        if let Some(client) = self.client.as_wire() {
            body["clientId"] = client.into();
        }
        body
    }
}

impl TokenRequest {
    /// From JSON, from msgpack, or from a form, whose values are all strings. What it does not know it passes
    /// over.
    pub fn parse(body: &Value) -> Result<Self, ErrorInfo> {
        let Value::Object(fields) = body else {
            return Err(error::bad_request("a token request is an object"));
        };
        let text = |name: &str| match fields.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(error::bad_request(format!("{name} is not a string"))),
        };
        let number = |name: &str| match fields.get(name) {
            Some(Value::Number(n)) => Ok(Some(signed_text(n))),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            _ => text(name),
        };
        let request = Self {
            key_name: text("keyName")?,
            ttl: number("ttl")?,
            capability: text("capability")?.filter(|c| !c.is_empty()),
            client_id: text("clientId")?,
            timestamp: number("timestamp")?,
            nonce: text("nonce")?,
            mac: text("mac")?,
        };
        request.check_lines()?;
        Ok(request)
    }

    /// What is signed is the values with line breaks between them, so a value with a line break in it could be
    /// read as two: a client id that a client chose for itself, as another client id and a capability. When
    /// only the capability may have them, there is one reading.
    fn check_lines(&self) -> Result<(), ErrorInfo> {
        let Self { ttl, client_id, timestamp, nonce, .. } = self;
        let broken = |field: &&Option<String>| field.as_ref().is_some_and(|text| text.contains('\n'));
        match [ttl, client_id, timestamp, nonce].iter().any(broken) {
            true => Err(error::bad_request("a token request has a line break in a value")),
            false => Ok(()),
        }
    }

    fn ttl(&self, max: Duration) -> Result<Duration, ErrorInfo> {
        let Some(text) = &self.ttl else { return Ok(TTL_DEFAULT.min(max)) };
        match text.parse::<i64>() {
            Ok(ms) if ms > 0 && ms as u128 <= max.as_millis() => Ok(Duration::from_millis(ms as u64)),
            Ok(ms) if ms > 0 => {
                Err(error::invalid_parameter(format!("ttl is {} ms at most", max.as_millis())))
            }
            Ok(_) => Err(error::invalid_parameter("ttl is more than 0")),
            Err(_) => Err(error::invalid_parameter("ttl is a number of milliseconds")),
        }
    }

    fn timestamp(&self) -> Result<Option<Timestamp>, ErrorInfo> {
        let Some(text) = &self.timestamp else { return Ok(None) };
        let parsed = text.parse().map(|ms| Some(Timestamp(ms)));
        parsed.map_err(|_| error::invalid_parameter("timestamp is a number of milliseconds"))
    }

    /// What the MAC is made of: the values as sent, a line each.
    fn signed(&self, key: &KeyName) -> String {
        let line = |value: &Option<String>| value.clone().unwrap_or_default();
        let lines = [
            key.to_string(),
            line(&self.ttl),
            line(&self.capability),
            line(&self.client_id),
            line(&self.timestamp),
            line(&self.nonce),
        ];
        lines.map(|line| line + "\n").concat()
    }
}

/// As a client writes it into what it signs: whole numbers without a fraction, though a format may have
/// carried them as floating point.
fn signed_text(n: &serde_json::Number) -> String {
    match n.as_f64() {
        Some(float) if n.is_f64() && float.fract() == 0.0 && float.abs() < 1e15 => format!("{float:.0}"),
        _ => n.to_string(),
    }
}

impl Authenticator {
    /// Issues a token. `key_name` is the path's; `credentials` are the request's, and count only when the body
    /// is not signed.
    pub fn request_token(
        &self,
        apps: &dyn AppLookup,
        key_name: &str,
        body: &Value,
        credentials: &Credentials,
        transport: Transport,
        now: Now,
    ) -> Result<TokenDetails, ErrorInfo> {
        let request = TokenRequest::parse(body)?;
        if request.key_name.as_deref().is_some_and(|name| name != key_name) {
            return Err(error::bad_request("keyName is not the one in the path"));
        }
        let key = KeyName::parse(key_name).map_err(|_| error::invalid_credentials("no such key"))?;
        let (issuer, spent) = match &request.mac {
            Some(mac) => self.verify_signed(apps, &key, &request, mac, now)?,
            None => self.verify_with_key(apps, &key, &request, credentials, transport, now)?,
        };
        Ok(TokenDetails { spent, ..issue(&issuer, &request, now.wall)? })
    }

    fn verify_signed(
        &self,
        apps: &dyn AppLookup,
        key: &KeyName,
        request: &TokenRequest,
        mac: &str,
        now: Now,
    ) -> Result<(Issuer, Option<Entry>), ErrorInfo> {
        let wrong = || error::invalid_credentials("the mac is wrong");
        let mac = LENIENT.decode(mac).map_err(|_| wrong())?;
        let signed = request.signed(key);
        let issuer = match find(apps, key) {
            Found::Issuer(issuer) => issuer,
            missing => {
                let _ = std::hint::black_box(is_mac(&nobody(), signed.as_bytes(), &mac));
                return Err(match missing {
                    Found::NoKey => error::unknown_key(""),
                    _ => error::invalid_credentials("no such key"),
                });
            }
        };
        if !is_mac(&issuer.key.secret, signed.as_bytes(), &mac) {
            return Err(wrong());
        }
        let issuer = issuer.usable()?;
        let missing = |what| error::bad_request(format!("a signed token request has a {what}"));
        let timestamp = request.timestamp()?.ok_or_else(|| missing("timestamp"))?;
        let nonce = request.nonce.as_deref().filter(|n| !n.is_empty()).ok_or_else(|| missing("nonce"))?;
        let spent = self.spend_nonce(key, nonce, timestamp, now)?;
        Ok((issuer, Some(spent)))
    }

    fn verify_with_key(
        &self,
        apps: &dyn AppLookup,
        key: &KeyName,
        request: &TokenRequest,
        credentials: &Credentials,
        transport: Transport,
        now: Now,
    ) -> Result<(Issuer, Option<Entry>), ErrorInfo> {
        if matches!(credentials.presented, Presented::Token(_)) {
            return Err(error::needs_basic("or a signed token request"));
        }
        let identity = self.authenticate(apps, credentials, transport, now)?;
        if !matches!(identity.method, Method::Basic) || identity.key != *key {
            return Err(error::key_mismatch(""));
        }
        // Optional here, but what is there is held to.
        let timestamp = request.timestamp()?;
        let nonce = request.nonce.as_deref().filter(|n| !n.is_empty());
        let spend = |nonce| self.spend_nonce(key, nonce, timestamp.unwrap_or(now.wall), now);
        let spent = nonce.map(spend).transpose()?;
        let issuer_key = identity.app.keys.get(&key.key).cloned();
        let issuer_key = issuer_key.ok_or_else(|| error::unknown_key(""))?;
        Ok((Issuer { app: identity.app, key: issuer_key }, spent))
    }

    fn spend_nonce(
        &self,
        key: &KeyName,
        nonce: &str,
        stamped: Timestamp,
        now: Now,
    ) -> Result<Entry, ErrorInfo> {
        if nonce.len() > NONCE_BYTES_MAX {
            return Err(error::bad_request(format!("a nonce may have {NONCE_BYTES_MAX} bytes at most")));
        }
        // A nonce counts together with the timestamp: some SDKs send a literal of the app's choice.
        let hash = self.nonces.lock().spend(key, &format!("{}:{nonce}", stamped.0), stamped, now)?;
        Ok(spent(&key.app, &hash, now.wall))
    }
}

fn issue(issuer: &Issuer, request: &TokenRequest, issued: Timestamp) -> Result<TokenDetails, ErrorInfo> {
    let ttl = request.ttl(issuer.token_ttl_max())?;
    let client = ClientIdRule::of_token(request.client_id.as_deref())?;
    let requested = request.capability.as_deref().map(Capability::parse).transpose()?.map(Arc::new);
    let allowed = granted(issuer, requested.as_ref())?.to_json();
    let carried = requested.map(|_| allowed.clone());
    if carried.as_ref().is_some_and(|json| json.len() > CAPABILITY_BYTES_MAX) {
        let why = format!("a token's capability may have {CAPABILITY_BYTES_MAX} bytes at most");
        return Err(error::bad_request(why));
    }
    let key = issuer.name();
    let claims = Claims { issued, ttl, capability: carried, client: client.clone(), revocation_key: None };
    Ok(TokenDetails {
        token: opaque::issue(&key, &issuer.key.secret, &claims),
        key,
        issued,
        expires: issued + ttl,
        capability: allowed,
        client,
        spent: None,
    })
}
