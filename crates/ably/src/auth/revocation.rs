//! `revokeTokens`: which tokens of a key are not good any more.

use std::fmt;
use std::time::Duration;

use fanfare_model::error::{self, ErrorInfo};
use fanfare_model::{KeyName, Now, Timestamp};
use serde_json::{Value, json};

use super::{AppLookup, Authenticator, Identity, Issuer, Method, REVOCABLE_TTL_MAX};

/// Most targets of one request.
const TARGETS_MAX: usize = 100;
/// Longest target, in bytes.
const TARGET_BYTES_MAX: usize = 2_200;
/// What a client has for a new token, when the request grants it a margin. A little more than the 30 s that
/// are promised: whoever measures from before its own request shall find no less.
const REAUTH_MARGIN: Duration = Duration::from_millis(30_500);

/// What tokens are told apart by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    ClientId(Box<str>),
    RevocationKey(Box<str>),
    /// Tokens whose own capability has something to say of this channel, or names this resource.
    Channel(Box<str>),
}

impl Target {
    /// `type:value`.
    pub fn parse(text: &str) -> Result<Self, ErrorInfo> {
        if text.len() > TARGET_BYTES_MAX {
            return Err(error::bad_request(format!("a target may have {TARGET_BYTES_MAX} bytes at most")));
        }
        match text.split_once(':') {
            Some((_, "")) | None => Err(error::bad_request("a target is a type, ':' and a value")),
            Some(("clientId", value)) => Ok(Self::ClientId(value.into())),
            Some(("revocationKey", value)) => Ok(Self::RevocationKey(value.into())),
            Some(("channel", value)) => Ok(Self::Channel(value.into())),
            Some(_) => Err(error::bad_request("a target's type is clientId, revocationKey or channel")),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientId(value) => write!(f, "clientId:{value}"),
            Self::RevocationKey(value) => write!(f, "revocationKey:{value}"),
            Self::Channel(value) => write!(f, "channel:{value}"),
        }
    }
}

/// From `applies_at` on, no token of the key that matches the target and was issued by then is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    pub key: KeyName,
    pub target: Target,
    pub issued_before: Timestamp,
    /// When live connections are cut. Until then they are asked to get a new token.
    pub applies_at: Timestamp,
}

impl Revocation {
    /// Whether it concerns this client, be it already in force or not.
    pub fn matches(&self, identity: &Identity) -> bool {
        let Some(token) = identity.token() else { return false };
        if identity.key != self.key || token.issued > self.issued_before {
            return false;
        }
        match &self.target {
            Target::ClientId(id) => {
                let is = |rule: &super::ClientIdRule| rule.client_id().is_some_and(|c| c.as_str() == &**id);
                is(&token.client) || is(&identity.client)
            }
            Target::RevocationKey(key) => token.revocation_key.as_ref() == Some(key),
            // A token without a capability of its own has its key's: the identity's is the right one to ask.
            Target::Channel(channel) => !identity.capability.operations(channel).is_empty(),
        }
    }

    /// When no token is left that it could concern.
    pub(super) fn moot_at(&self) -> Timestamp {
        // A JWT may say that it was issued a little ahead of time, and live a little longer.
        let last = self.issued_before + REVOCABLE_TTL_MAX + 2 * super::CLOCK_LEEWAY;
        last.max(self.applies_at)
    }

    /// For keeping over a restart, and for telling other nodes.
    pub fn to_json(&self) -> String {
        let Self { key, target, issued_before, applies_at } = self;
        json!({
            "key": key.to_string(),
            "target": target.to_string(),
            "issuedBefore": issued_before.0,
            "appliesAt": applies_at.0,
        })
        .to_string()
    }

    pub fn from_json(text: &str) -> Result<Self, ErrorInfo> {
        let broken = || error::bad_request("not a stored revocation");
        let stored: Value = serde_json::from_str(text).map_err(|_| broken())?;
        let field = |name: &str| stored[name].as_str().ok_or_else(broken);
        let time = |name: &str| stored[name].as_i64().map(Timestamp).ok_or_else(broken);
        Ok(Self {
            key: KeyName::parse(field("key")?)?,
            target: Target::parse(field("target")?)?,
            issued_before: time("issuedBefore")?,
            applies_at: time("appliesAt")?,
        })
    }
}

/// What became of each target, in the request's order.
#[derive(Clone, Debug)]
pub struct RevocationOutcome {
    pub results: Vec<(String, Result<Revocation, ErrorInfo>)>,
}

impl RevocationOutcome {
    /// What is revoked now: to be stored, sent to other nodes, and held against live connections.
    pub fn revocations(&self) -> impl Iterator<Item = &Revocation> {
        self.results.iter().filter_map(|(_, result)| result.as_ref().ok())
    }

    /// The answer's body. `error` makes an error's object, with whatever the REST side puts into one.
    pub fn to_value(&self, error: impl Fn(&ErrorInfo) -> Value) -> Value {
        let result = |(target, result): &(String, Result<Revocation, ErrorInfo>)| match result {
            Ok(r) => {
                json!({"target": target, "issuedBefore": r.issued_before.0, "appliesAt": r.applies_at.0})
            }
            Err(e) => json!({"target": target, "error": error(e)}),
        };
        let successes = self.revocations().count();
        json!({
            "successCount": successes,
            "failureCount": self.results.len() - successes,
            "results": self.results.iter().map(result).collect::<Vec<_>>(),
        })
    }
}

impl Authenticator {
    /// Revokes tokens of the key in the path, on behalf of `identity`, which must be that key.
    pub fn revoke_tokens(
        &self,
        apps: &dyn AppLookup,
        key_name: &str,
        body: &Value,
        identity: &Identity,
        now: Now,
    ) -> Result<RevocationOutcome, ErrorInfo> {
        if !matches!(identity.method, Method::Basic) {
            return Err(error::needs_basic(""));
        }
        if identity.key.to_string() != key_name {
            return Err(error::key_mismatch(""));
        }
        let super::Found::Issuer(Issuer { key, .. }) = super::find(apps, &identity.key) else {
            return Err(error::key_revoked(""));
        };
        if !key.revocable_tokens {
            return Err(error::not_revocable(""));
        }
        let Request { targets, issued_before, applies_at } = Request::parse(body, now.wall)?;
        let revoke = |text: &str| {
            let target = Target::parse(text)?;
            let revocation = Revocation { key: identity.key.clone(), target, issued_before, applies_at };
            self.revocations.add(revocation.clone(), now.wall)?;
            Ok(revocation)
        };
        let results = targets.into_iter().map(|text| {
            let result = revoke(&text);
            (text, result)
        });
        Ok(RevocationOutcome { results: results.collect() })
    }
}

struct Request {
    targets: Vec<String>,
    issued_before: Timestamp,
    applies_at: Timestamp,
}

impl Request {
    fn parse(body: &Value, now: Timestamp) -> Result<Self, ErrorInfo> {
        let targets = body["targets"].as_array().ok_or_else(|| error::bad_request("targets is an array"))?;
        if targets.is_empty() || targets.len() > TARGETS_MAX {
            return Err(error::bad_request(format!("targets has 1 to {TARGETS_MAX} elements")));
        }
        let targets = targets.iter().map(|t| t.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>();
        let targets = targets.ok_or_else(|| error::bad_request("a target is a string"))?;
        let issued_before = match &body["issuedBefore"] {
            Value::Null => now,
            // A number may have come as floating point, by way of msgpack.
            given => given
                .as_f64()
                .map(|ms| Timestamp(ms as i64))
                .ok_or_else(|| error::invalid_parameter("issuedBefore is a number of milliseconds"))?,
        };
        if issued_before > now || now - issued_before > REVOCABLE_TTL_MAX {
            return Err(error::invalid_parameter("issuedBefore is in the last hour"));
        }
        let applies_at = match &body["allowReauthMargin"] {
            Value::Null | Value::Bool(false) => now,
            Value::Bool(true) => now + REAUTH_MARGIN,
            _ => return Err(error::invalid_parameter("allowReauthMargin is true or false")),
        };
        Ok(Self { targets, issued_before, applies_at })
    }
}
