//! JWTs that an app's own server signed with one of the app's keys.
//!
//! Read by hand, because there is little to it and most of it is ours: one algorithm, a key that is found
//! by a name with rules of its own, claims of our own, and the refusals that a general library leaves out
//! (duplicate members, `crit`, padding). What is left is two base64 texts and one HMAC.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fanfare_model::capability::Resource;
use fanfare_model::error::{self, ErrorInfo, invalid_jwt};
use fanfare_model::{Capability, KeyName, Timestamp};
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::identity::{ClientIdRule, Token, TokenId, TokenKind};
use super::secret::is_mac;
use super::{AppLookup, CLOCK_LEEWAY, ChannelClaims, Found, Issuer, find, nobody};

/// The only algorithm. Named here and nowhere read from a token: the token's `alg` is compared, not obeyed.
const ALGORITHM: &str = "HS256";
/// How base64 of a JSON object starts.
pub(super) const PREFIX: &str = "ey";
/// Longest revocation key, in bytes.
const REVOCATION_KEY_BYTES_MAX: usize = 1_024;

pub(super) fn looks_like_one(literal: &str) -> bool {
    literal.starts_with(PREFIX) && literal.bytes().filter(|&b| b == b'.').count() == 2
}

pub(super) fn read(
    apps: &dyn AppLookup,
    literal: &str,
    now: Timestamp,
) -> Result<(Issuer, Token), ErrorInfo> {
    let malformed = || invalid_jwt("invalid JWT format");
    let (signed, signature) = literal.rsplit_once('.').ok_or_else(malformed)?;
    let (header, payload) = signed.split_once('.').ok_or_else(malformed)?;
    let key = Header::parse(header)?.issuer()?;
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| malformed())?;
    let issuer = match find(apps, &key) {
        Found::Issuer(issuer) => issuer,
        missing => {
            let _ = std::hint::black_box(is_mac(&nobody(), signed.as_bytes(), &signature));
            return Err(match missing {
                Found::NoApp => error::not_found("no app with the id in the token"),
                _ => error::token_unrecognised("no key with the id in the token"),
            });
        }
    };
    if !is_mac(&issuer.key.secret, signed.as_bytes(), &signature) {
        // SDKs' tests look for the one phrase or the other, of the same token.
        return Err(invalid_jwt("signature verification failed (another key's, or invalid JWT format)"));
    }
    let issuer = issuer.usable()?;
    let payload = URL_SAFE_NO_PAD.decode(payload).map_err(|_| malformed())?;
    let claims = Claims::parse(&payload).map_err(invalid_jwt)?;
    let token = claims.into_token(TokenId::of(literal), issuer.token_ttl_max(), now)?;
    Ok((issuer, token))
}

#[derive(Deserialize)]
pub(super) struct Header {
    #[serde(default)]
    pub(super) alg: String,
    kid: Option<String>,
    /// Extensions that a reader must understand. There is none that we do.
    crit: Option<IgnoredAny>,
    #[serde(rename = "x-ably-token")]
    pub(super) ably_token: Option<String>,
}

impl Header {
    pub(super) fn parse(base64: &str) -> Result<Self, ErrorInfo> {
        let json = URL_SAFE_NO_PAD.decode(base64).map_err(|_| invalid_jwt("invalid JWT format"))?;
        serde_json::from_slice(&json).map_err(|e| invalid_jwt(format!("its header: {e}")))
    }

    fn issuer(&self) -> Result<KeyName, ErrorInfo> {
        if self.alg != ALGORITHM {
            return Err(invalid_jwt("the only algorithm is HS256"));
        }
        if self.crit.is_some() {
            return Err(invalid_jwt("its header has critical extensions"));
        }
        let kid = self.kid.as_deref().ok_or_else(|| invalid_jwt("its header has no kid"))?;
        KeyName::parse(kid).map_err(|_| invalid_jwt("its kid is not the name of a key (appId.keyId)"))
    }
}

/// The claims that mean something to us. Times in milliseconds.
#[derive(Default)]
pub(super) struct Claims {
    pub(super) expires: Option<Timestamp>,
    pub(super) ably_token: Option<String>,
    issued: Option<Timestamp>,
    not_before: Option<Timestamp>,
    capability: Option<Arc<Capability>>,
    client_id: Option<String>,
    revocation_key: Option<String>,
    channels: ChannelClaims,
}

impl Claims {
    pub(super) fn parse(json: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(json).map_err(|e| e.to_string())
    }

    fn into_token(self, id: TokenId, ttl_max: Duration, now: Timestamp) -> Result<Token, ErrorInfo> {
        let expires = self.expires.ok_or_else(|| invalid_jwt("it has no exp"))?;
        let issued = self.issued.ok_or_else(|| invalid_jwt("it has no iat"))?;
        if expires <= now {
            return Err(error::token_expired(""));
        }
        if issued > now + CLOCK_LEEWAY || self.not_before.is_some_and(|t| t > now + CLOCK_LEEWAY) {
            return Err(invalid_jwt("it is not valid yet (iat or nbf)"));
        }
        // Issuers put iat a little back, for the sake of servers whose clocks are behind.
        if expires - issued > ttl_max + CLOCK_LEEWAY {
            return Err(invalid_jwt(format!("it may live {} s at most (exp - iat)", ttl_max.as_secs())));
        }
        Ok(Token {
            kind: TokenKind::Jwt,
            id,
            issued,
            expires,
            client: ClientIdRule::of_token(self.client_id.as_deref())?,
            capability: self.capability,
            revocation_key: self.revocation_key.map(Into::into),
            claims: self.channels,
        })
    }

    /// `None`: the claim is not ours.
    fn put(&mut self, name: &str, value: Value) -> Option<Result<(), String>> {
        if let Some(resource) = name.strip_prefix("ably.channel.") {
            // What is not a text could not be passed on as one; others would see a claim that was not made.
            let Value::String(claim) = value else { return None };
            return Some(Resource::parse(resource).map(|r| self.channels.user.push((r, claim.into()))));
        }
        if let Some(resource) = name.strip_prefix("ably.limits.publish.perAttachment.maxRate.") {
            let rate = value.as_f64().filter(|rate| *rate >= 0.0);
            let rate = rate.ok_or_else(|| "a rate is a number".to_owned());
            let pair = rate.and_then(|rate| Ok((Resource::parse(resource)?, rate)));
            return Some(pair.map(|pair| self.channels.publish_rate.push(pair)));
        }
        Some(match name {
            "exp" => time(&value).map(|t| self.expires = Some(t)),
            "iat" => time(&value).map(|t| self.issued = Some(t)),
            "nbf" => time(&value).map(|t| self.not_before = Some(t)),
            "x-ably-capability" => capability(&value).map(|c| self.capability = Some(Arc::new(c))),
            "x-ably-clientId" => text(value).map(|t| self.client_id = Some(t)),
            "x-ably-revocation-key" => text(value).and_then(|t| {
                let fits = t.len() <= REVOCATION_KEY_BYTES_MAX;
                fits.then(|| self.revocation_key = Some(t)).ok_or_else(|| "it is too long".to_owned())
            }),
            "x-ably-token" => text(value).map(|t| self.ably_token = Some(t)),
            _ => return None,
        })
    }
}

fn text(value: Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        _ => Err("it is not a string".to_owned()),
    }
}

/// Seconds since 1970, fractions allowed. Beyond the year 5000 is a mistake: milliseconds, most likely.
fn time(value: &Value) -> Result<Timestamp, String> {
    const SECONDS_MAX: f64 = 1e11;
    let seconds = value.as_f64().filter(|s| (0.0..SECONDS_MAX).contains(s));
    let seconds = seconds.ok_or_else(|| "it is not a time in seconds".to_owned())?;
    Ok(Timestamp((seconds * 1000.0).floor() as i64))
}

/// JSON in a string, as documented; or an object, as some issuers (Ably's own CLI among them) write it.
fn capability(value: &Value) -> Result<Capability, String> {
    let parsed = match value {
        Value::String(json) => Capability::parse(json),
        object => Capability::parse(&object.to_string()),
    };
    parsed.map_err(|e| e.message.into_owned())
}

impl<'de> Deserialize<'de> for Claims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ClaimsVisitor)
    }
}

struct ClaimsVisitor;

impl<'de> Visitor<'de> for ClaimsVisitor {
    type Value = Claims;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of claims")
    }

    /// Refuses a claim that is there twice: of two, an intermediary may have checked the other.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Claims, A::Error> {
        let mut claims = Claims::default();
        let mut seen = std::collections::HashSet::new();
        while let Some((name, value)) = map.next_entry::<String, Value>()? {
            // A null is an absent claim: some issuers write their unset options so.
            if !value.is_null()
                && let Some(Err(why)) = claims.put(&name, value)
            {
                return Err(A::Error::custom(format!("claim {name}: {why}")));
            }
            if let Some(twice) = seen.replace(name) {
                return Err(A::Error::custom(format!("claim {twice} is there twice")));
            }
        }
        Ok(claims)
    }
}
