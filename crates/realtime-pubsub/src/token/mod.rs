//! Tokens: JWTs that an app's issuer signed, for clients with the app's client key and for back ends with its admin
//! key. Permissions are those of the moment at which the token is shown; nothing is looked at later.

mod algorithm;
mod claims;
mod jwks;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fanfare_model::{ClientId, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::object::Object;
use crate::permission::Permissions;
use algorithm::is_mac;
pub use algorithm::{Algorithm, Family, PublicKey};
pub use jwks::{Fetched, KeySource, Lookup, SignatureKey};

/// Longest token.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// How far an issuer's clock may be ahead. The end of a token's life has no leeway.
const CLOCK_LEEWAY: Duration = Duration::from_secs(60);

/// What tokens of one kind are verified with.
#[derive(Debug)]
pub struct VerificationKey {
    material: Material,
    /// Never empty, and all of the material's kind.
    algorithms: Vec<Algorithm>,
    /// Empty: the issuer is not looked at.
    issuers: Vec<Box<str>>,
}

pub enum Material {
    Secret(SecretString),
    Public(PublicKey),
    /// Those that an issuer publishes.
    Published(Arc<dyn KeySource>),
}

impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret(_) => f.write_str("Secret(…)"),
            Self::Public(key) => key.fmt(f),
            Self::Published(_) => f.write_str("Published(…)"),
        }
    }
}

impl Material {
    /// A shared secret, or a public key in PEM: the text tells.
    pub fn from_text(text: &str) -> Result<Self, &'static str> {
        if text.contains("-----BEGIN ") {
            return PublicKey::from_pem(text).map(Self::Public);
        }
        if text.is_empty() {
            return Err("the key is empty");
        }
        Ok(Self::Secret(SecretString::from(text.to_owned())))
    }

    fn fits(&self, algorithm: Algorithm) -> bool {
        match self {
            Self::Secret(_) => algorithm.family() == Family::Secret,
            Self::Public(key) => algorithm.family() == key.family(),
            Self::Published(_) => algorithm.family() != Family::Secret,
        }
    }
}

impl VerificationKey {
    /// Refuses algorithms that the key is not for: above all a secret's algorithm for a public key, which everyone has.
    pub fn new(
        material: Material,
        algorithms: Vec<Algorithm>,
        issuers: Vec<Box<str>>,
    ) -> Result<Self, String> {
        if algorithms.is_empty() {
            return Err("the key lists no algorithms, for example [\"HS256\"]".to_owned());
        }
        if let Some(wrong) = algorithms.iter().find(|algorithm| !material.fits(**algorithm)) {
            return Err(format!("the algorithm {} is not for this kind of key", wrong.name()));
        }
        Ok(Self { material, algorithms, issuers })
    }
}

/// Who bears a token, and what it allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    pub subject: Option<ClientId>,
    pub permissions: Permissions,
}

/// Why a token is not accepted.
#[derive(Debug)]
pub enum Unverified {
    /// In words for its bearer.
    Refused(String),
    /// The key that is named was not fetched yet: to be asked again then.
    Wait(Waiting),
}

/// A fetch of keys to wait for.
pub struct Waiting(pub Fetched);

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waiting")
    }
}

fn refused<T>(why: impl Into<String>) -> Result<T, Unverified> {
    Err(Unverified::Refused(why.into()))
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Extensions that a reader must understand. There is none that we do.
    crit: Option<IgnoredAny>,
}

/// Verifies a token and reads what it grants.
pub fn verify(key: &VerificationKey, token: &str, now: Timestamp) -> Result<Grant, Unverified> {
    if token.is_empty() {
        return refused("there is no token");
    }
    if token.len() > TOKEN_BYTES_MAX {
        return refused("the token is longer than 16384 bytes");
    }
    let malformed = "the token is not a JWT: header.payload.signature";
    let Some((signed, signature)) = token.rsplit_once('.') else { return refused(malformed) };
    let Some((header, payload)) = signed.split_once('.') else { return refused(malformed) };
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part);
    let (Ok(header), Ok(payload), Ok(signature)) = (decode(header), decode(payload), decode(signature))
    else {
        return refused(malformed);
    };
    let Ok(Object(header)) = serde_json::from_slice::<Object<Header>>(&header) else {
        return refused("the token's header is not one of a JWT");
    };
    if header.crit.is_some() {
        return refused("the token's header has critical extensions, and none is understood");
    }
    // The token's word is compared with the list, never obeyed.
    let listed = Algorithm::parse(&header.alg).filter(|algorithm| key.algorithms.contains(algorithm));
    let Some(algorithm) = listed else {
        let names: Vec<_> = key.algorithms.iter().map(|algorithm| algorithm.name()).collect();
        return refused(format!("the token's algorithm is not among those of the key: {}", names.join(", ")));
    };
    let genuine = match &key.material {
        Material::Secret(secret) => is_mac(algorithm, secret, signed.as_bytes(), &signature),
        Material::Public(public) => public.verifies(algorithm, signed.as_bytes(), &signature),
        Material::Published(keys) => match keys.find(header.kid.as_deref()) {
            Lookup::Key(public) => public.verifies(algorithm, signed.as_bytes(), &signature),
            Lookup::Wait(fetch) => return Err(Unverified::Wait(Waiting(fetch))),
            Lookup::Absent(why) => return refused(why),
        },
    };
    if !genuine {
        return refused("the token's signature is not of the app's key");
    }
    claims::read(&payload, &key.issuers, now).or_else(refused)
}

/// A token that a key of this secret with HS256 accepts: for development and tests.
pub fn sign(secret: &SecretString, claims: &serde_json::Value) -> String {
    let encode = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = serde_json::json!({ "alg": "HS256", "typ": "JWT" });
    let signed = format!("{}.{}", encode(&header), encode(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes())))
}
