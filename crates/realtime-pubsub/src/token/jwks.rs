//! Keys that an issuer publishes (RFC 7517): read here, fetched elsewhere.

use std::future::Future;
use std::pin::Pin;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

use super::algorithm::{Algorithm, Family, Form, PublicKey};

/// Resolves when a fetch has ended, well or badly.
pub type Fetched = Pin<Box<dyn Future<Output = ()> + Send>>;

/// One issuer's keys.
pub trait KeySource: Send + Sync {
    /// The key with that id or, when the token names none, the only one that there is. Must not wait.
    fn find(&self, id: Option<&str>) -> Lookup;
}

/// What became of a question for a key.
pub enum Lookup {
    Key(SignatureKey),
    /// The issuer is being asked: to be found again then.
    Wait(Fetched),
    /// In words for the bearer. Asking again at once would not help.
    Absent(&'static str),
}

/// An issuer's public key.
#[derive(Clone, Debug)]
pub struct SignatureKey {
    /// The only one for which the issuer means it, when that is said.
    algorithm: Option<Algorithm>,
    key: PublicKey,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl SignatureKey {
    /// `None` for a key of another use or kind. Shared secrets do not belong into a public document.
    pub fn from_jwk(jwk: &Value) -> Option<Self> {
        let jwk = Jwk::deserialize(jwk).ok()?;
        if jwk.usage.as_deref().is_some_and(|usage| usage != "sig") {
            return None;
        }
        let algorithm = match jwk.alg.as_deref() {
            None => None,
            Some(name) => Some(Algorithm::parse(name)?),
        };
        let (family, form) = jwk.material()?;
        Some(Self { algorithm, key: PublicKey { family, form } })
    }

    pub(super) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        self.algorithm.is_none_or(|own| own == algorithm) && self.key.verifies(algorithm, message, signature)
    }
}

impl Jwk {
    fn material(&self) -> Option<(Family, Form)> {
        let decode = |part: &Option<String>| URL_SAFE_NO_PAD.decode(part.as_deref()?).ok();
        let point = |size: usize| {
            let (x, y) = (decode(&self.x)?, decode(&self.y)?);
            (x.len() == size && y.len() == size).then(|| Form::Encoded([&[4], &x[..], &y[..]].concat()))
        };
        Some(match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => (Family::Rsa, Form::Rsa { n: decode(&self.n)?, e: decode(&self.e)? }),
            ("EC", Some("P-256")) => (Family::P256, point(32)?),
            ("EC", Some("P-384")) => (Family::P384, point(48)?),
            ("OKP", Some("Ed25519")) => {
                (Family::Ed25519, Form::Encoded(decode(&self.x).filter(|x| x.len() == 32)?))
            }
            _ => return None,
        })
    }
}
