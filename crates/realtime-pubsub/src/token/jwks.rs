//! Key sets by URL (RFC 7517): read here, fetched elsewhere.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::algorithm::{Algorithm, Family, Form, PublicKey};

/// Keys of one set that are looked at.
const KEYS_MAX: usize = 64;

/// Resolves when a fetch has ended, well or badly.
pub type Fetched = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where the key sets of issuers come from.
pub trait KeySource: Send + Sync {
    /// What was last fetched from there. It is kept while the issuer is down.
    fn cached(&self, uri: &str) -> Option<Arc<KeySet>>;

    /// Fetches, or joins a fetch that is under way. `None` when one has ended a moment ago: asking again must not
    /// be a way to make this server ask the issuer at every handshake.
    fn refresh(&self, uri: &str) -> Option<Fetched>;
}

/// The keys that an issuer signs with now.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    keys: Vec<SetKey>,
}

#[derive(Clone, Debug)]
struct SetKey {
    id: Option<Box<str>>,
    /// When the set says with which one the key is used.
    algorithm: Option<Algorithm>,
    key: PublicKey,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// Passes over keys that we cannot use, such as those for encryption: sets have them.
    pub fn parse(json: &[u8]) -> Result<Self, &'static str> {
        let document: Document =
            serde_json::from_slice(json).map_err(|_| "a key set is an object with an array of keys")?;
        let jwks = document.keys.into_iter().take(KEYS_MAX);
        let keys = jwks.filter_map(|value| serde_json::from_value::<Jwk>(value).ok()?.usable()).collect();
        Ok(Self { keys })
    }

    /// The keys that may have signed: the one that is named, or all when the token names none.
    pub(super) fn candidates(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &PublicKey> {
        let named = move |key: &&SetKey| id.is_none_or(|id| key.id.as_deref() == Some(id));
        let fits = move |key: &&SetKey| {
            key.algorithm.is_none_or(|own| own == algorithm) && key.key.family == algorithm.family()
        };
        self.keys.iter().filter(named).filter(fits).map(|key| &key.key)
    }

    pub(super) fn has(&self, id: Option<&str>) -> bool {
        match id {
            Some(id) => self.keys.iter().any(|key| key.id.as_deref() == Some(id)),
            None => !self.keys.is_empty(),
        }
    }
}

impl Jwk {
    /// `None` for a key of another use or kind. Shared secrets do not belong into a public document.
    fn usable(self) -> Option<SetKey> {
        if self.usage.as_deref().is_some_and(|usage| usage != "sig") {
            return None;
        }
        let algorithm = match self.alg.as_deref() {
            None => None,
            Some(name) => Some(Algorithm::parse(name)?),
        };
        let decode = |part: &Option<String>| URL_SAFE_NO_PAD.decode(part.as_deref()?).ok();
        let point = |size: usize| {
            let (x, y) = (decode(&self.x)?, decode(&self.y)?);
            (x.len() == size && y.len() == size).then(|| [&[4], &x[..], &y[..]].concat())
        };
        let (family, form) = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => (Family::Rsa, Form::Rsa { n: decode(&self.n)?, e: decode(&self.e)? }),
            ("EC", Some("P-256")) => (Family::P256, Form::Encoded(point(32)?)),
            ("EC", Some("P-384")) => (Family::P384, Form::Encoded(point(48)?)),
            ("OKP", Some("Ed25519")) => {
                (Family::Ed25519, Form::Encoded(decode(&self.x).filter(|x| x.len() == 32)?))
            }
            _ => return None,
        };
        Some(SetKey { id: self.kid.map(Into::into), algorithm, key: PublicKey { family, form } })
    }
}
