//! The claims that mean something here: `sub`, `permissions` or `scope`, `exp`, `nbf`, `iss`.

use fanfare_model::{ClientId, Timestamp};
use serde::Deserialize;
use serde_json::Value;

use super::{CLOCK_LEEWAY, Grant};
use crate::object::Object;
use crate::permission::Permissions;
use crate::topic::{self, SUBJECT_BYTES_MAX};

/// Seconds beyond the year 5000 are a mistake: milliseconds, most likely.
const SECONDS_MAX: f64 = 1e11;

/// A claim that is there twice is an error of the reader: of two, an intermediary may have checked the other.
#[derive(Deserialize)]
struct Claims {
    sub: Option<Value>,
    permissions: Option<Value>,
    scope: Option<Value>,
    exp: Option<Value>,
    nbf: Option<Value>,
    iss: Option<Value>,
}

pub(super) fn read(payload: &[u8], issuers: &[Box<str>], now: Timestamp) -> Result<Grant, String> {
    let Object(claims) = serde_json::from_slice::<Object<Claims>>(payload)
        .map_err(|_| "the token's payload is not a JSON object with each claim once")?;
    let expires = claims.exp.as_ref().ok_or("the token has no exp")?;
    if time(expires, "exp")? <= now {
        return Err("the token has expired".to_owned());
    }
    if let Some(not_before) = &claims.nbf
        && time(not_before, "nbf")? > now + CLOCK_LEEWAY
    {
        return Err("the token is not valid yet (nbf)".to_owned());
    }
    if !issuers.is_empty() {
        let issuer = claims.iss.as_ref().and_then(Value::as_str).ok_or("the token has no iss")?;
        if !issuers.iter().any(|known| **known == *issuer) {
            return Err("the token's issuer is not among those of the key".to_owned());
        }
    }
    Ok(Grant { subject: subject(claims.sub)?, permissions: permissions(claims.permissions, claims.scope)? })
}

fn time(value: &Value, name: &str) -> Result<Timestamp, String> {
    let seconds = value.as_f64().filter(|seconds| (0.0..SECONDS_MAX).contains(seconds));
    let seconds = seconds.ok_or_else(|| format!("the token's {name} is not a time in seconds"))?;
    Ok(Timestamp((seconds * 1000.0).floor() as i64))
}

fn subject(claim: Option<Value>) -> Result<Option<ClientId>, String> {
    match claim {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => {
            if text.len() > SUBJECT_BYTES_MAX || text.chars().any(|c| c.is_control() || c == '*') {
                return Err(format!(
                    "the token's sub has more than {SUBJECT_BYTES_MAX} bytes, or control characters or '*' in it"
                ));
            }
            if topic::is_taken(&text) {
                return Err(
                    "the token's sub would have the private topic of a connection, or of acknowledgements"
                        .to_owned(),
                );
            }
            ClientId::parse(&text).map(Some).map_err(|refusal| refusal.message.into_owned())
        }
        Some(_) => Err("the token's sub is not a string".to_owned()),
    }
}

/// The array, or else the scope. An empty array is an answer, too.
fn permissions(array: Option<Value>, scope: Option<Value>) -> Result<Permissions, String> {
    match (array, scope) {
        (Some(Value::Array(values)), _) => {
            let texts: Option<Vec<&str>> = values.iter().map(Value::as_str).collect();
            Ok(Permissions::parse(texts.ok_or("the token's permissions are not all strings")?))
        }
        (None | Some(Value::Null), Some(Value::String(scope))) => Ok(Permissions::parse(scope.split(' '))),
        (None | Some(Value::Null), None | Some(Value::Null)) => Ok(Permissions::default()),
        (None | Some(Value::Null), Some(_)) => Err("the token's scope is not a string".to_owned()),
        (Some(_), _) => Err("the token's permissions are not an array".to_owned()),
    }
}
