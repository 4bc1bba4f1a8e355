//! What is known of an issuer's keys, and when to ask again. Time is an argument.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::{Jwk, JwksError};

/// Keys of one issuer; what is beyond is not looked at.
const KEYS_MAX: usize = 100;

pub(super) struct Cache {
    keep: Duration,
    cool_down: Duration,
    keys: Vec<Arc<Jwk>>,
    /// When the keys were had, if ever.
    answered_at: Option<Duration>,
    asked_at: Option<Duration>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Key(Arc<Jwk>),
    /// The issuer must be asked first.
    Ask,
    /// And it was asked a moment ago.
    Nothing(JwksError),
}

impl Cache {
    pub(super) fn new(keep: Duration, cool_down: Duration) -> Self {
        Self { keep, cool_down, keys: Vec::new(), answered_at: None, asked_at: None }
    }

    pub(super) fn find(&self, kid: Option<&str>, now: Duration) -> Found {
        let fresh = self.answered_at.is_some_and(|at| now.saturating_sub(at) < self.keep);
        let rests = self.asked_at.is_some_and(|at| now.saturating_sub(at) < self.cool_down);
        match self.settle(kid) {
            Ok(key) if fresh || rests => Found::Key(key),
            Err(error) if rests => Found::Nothing(error),
            _ => Found::Ask,
        }
    }

    /// What is known, whatever its age: there is nobody else to ask.
    pub(super) fn settle(&self, kid: Option<&str>) -> Result<Arc<Jwk>, JwksError> {
        let found = match kid {
            Some(_) => self.keys.iter().find(|key| key.kid.as_deref() == kid),
            // A token that names no key can only mean the one that there is.
            None => self.keys.first().filter(|_| self.keys.len() == 1),
        };
        match found {
            Some(key) => Ok(key.clone()),
            None if self.answered_at.is_some() => Err(JwksError::UnknownKey),
            None => Err(JwksError::Unavailable),
        }
    }

    pub(super) fn asked(&mut self, now: Duration) {
        self.asked_at = Some(now);
    }

    pub(super) fn answered(&mut self, keys: Vec<Arc<Jwk>>, now: Duration) {
        self.keys = keys;
        self.answered_at = Some(now);
    }
}

/// Keys for signatures. Symmetric ones are left out: a secret that stands under a URL is none, and would
/// let everyone sign who can read it. Those without a meaning to us are left out, too.
pub(super) fn parse(body: &[u8]) -> Option<Vec<Arc<Jwk>>> {
    let Value::Object(mut set) = serde_json::from_slice(body).ok()? else { return None };
    let Value::Array(keys) = set.remove("keys")? else { return None };
    let text = |key: &Value, name| key.get(name).and_then(Value::as_str).map(Box::from);
    let usable = |key: &Value| {
        let kind: Option<Box<str>> = text(key, "kty");
        let purpose: Option<Box<str>> = text(key, "use");
        kind.is_some_and(|kind| &*kind != "oct") && purpose.is_none_or(|purpose| &*purpose == "sig")
    };
    let usable = keys.into_iter().take(KEYS_MAX).filter(usable);
    Some(
        usable.map(|json| Arc::new(Jwk { kid: text(&json, "kid"), alg: text(&json, "alg"), json })).collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const KEEP: Duration = Duration::from_secs(600);
    const REST: Duration = Duration::from_secs(30);

    fn keys(ids: &[&str]) -> Vec<Arc<Jwk>> {
        let keys: Vec<_> = ids.iter().map(|id| json!({"kid": id, "kty": "RSA"})).collect();
        parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
    }

    fn found(cache: &Cache, kid: Option<&str>, at: u64) -> &'static str {
        match cache.find(kid, Duration::from_secs(at)) {
            Found::Key(_) => "key",
            Found::Ask => "ask",
            Found::Nothing(JwksError::UnknownKey) => "unknown",
            Found::Nothing(JwksError::Unavailable) => "unavailable",
        }
    }

    #[test]
    fn when_the_issuer_is_asked() {
        let mut cache = Cache::new(KEEP, REST);
        assert_eq!(found(&cache, Some("a"), 100), "ask");
        cache.asked(Duration::from_secs(100));
        assert_eq!(found(&cache, Some("a"), 101), "unavailable", "it did not answer, and rests");
        assert_eq!(found(&cache, Some("a"), 130), "ask");
        cache.asked(Duration::from_secs(130));
        cache.answered(keys(&["a"]), Duration::from_secs(131));
        for (kid, at, expected) in [
            (Some("a"), 131, "key"),
            (Some("b"), 140, "unknown"),
            (Some("b"), 160, "ask"),
            (None, 140, "key"),
            (Some("a"), 730, "key"),
            (Some("a"), 731, "ask"),
        ] {
            assert_eq!(found(&cache, kid, at), expected, "{kid:?} at {at}");
        }
        // The issuer is down: what is known is used on, and it is asked once in a while.
        cache.asked(Duration::from_secs(731));
        for (at, expected) in [(732, "key"), (760, "key"), (761, "ask")] {
            assert_eq!(found(&cache, Some("a"), at), expected, "at {at}");
        }
        assert!(cache.settle(Some("a")).is_ok());
        // It is back, and the key is not there any more.
        cache.asked(Duration::from_secs(800));
        cache.answered(keys(&["b", "c"]), Duration::from_secs(800));
        assert_eq!((found(&cache, Some("a"), 801), found(&cache, None, 801)), ("unknown", "unknown"));
    }

    #[test]
    fn what_is_a_key() {
        for bad in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[]"#] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
        let set = json!({"keys": [
            {"kty": "oct", "kid": "symmetric", "k": "c2VjcmV0"},
            {"kty": "RSA", "kid": "encrypts", "use": "enc"},
            {"kid": "no kind"},
            7,
            {"kty": "EC", "kid": "signs", "use": "sig", "alg": "ES256", "x": "1"},
            {"kty": "OKP"},
        ]});
        let keys = parse(set.to_string().as_bytes()).unwrap();
        let ids: Vec<_> = keys.iter().map(|key| (key.kid.as_deref(), key.alg.as_deref())).collect();
        assert_eq!(ids, [(Some("signs"), Some("ES256")), (None, None)]);
        assert_eq!(keys[0].json["x"], "1");
        let many: Vec<_> = (0..500).map(|i| json!({"kty": "RSA", "kid": i.to_string()})).collect();
        assert_eq!(parse(json!({ "keys": many }).to_string().as_bytes()).unwrap().len(), KEYS_MAX);
    }
}
