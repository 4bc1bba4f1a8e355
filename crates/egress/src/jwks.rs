//! The public keys of somebody else's token issuer, by URL.
//!
//! Kept for a while, then asked for anew; a key that is not there is looked for once, and then not
//! again before a pause. While the issuer does not answer, the keys that are known are used on.

mod cache;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use tokio::runtime::Handle;

use crate::Shared;
use crate::guard::Denied;
use cache::{Cache, Found};

/// Who may wait for one answer of the issuer.
const WAITERS_MAX: usize = 1_024;

pub struct JwksConfig {
    /// In logs; the app's id, say.
    pub name: Box<str>,
    pub url: SecretString,
    /// How long keys are used without asking again.
    pub keep: Duration,
    /// The least time between two questions, whatever tokens name.
    pub cool_down: Duration,
}

impl JwksConfig {
    /// With the usual times.
    pub fn new(name: &str, url: &str) -> Self {
        Self {
            name: name.into(),
            url: SecretString::from(url),
            keep: Duration::from_secs(600),
            cool_down: Duration::from_secs(30),
        }
    }
}

/// A public key that may verify signatures, as the issuer wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jwk {
    pub kid: Option<Box<str>>,
    /// The only algorithm for which the issuer means it, if it says.
    pub alg: Option<Box<str>>,
    /// All of it, members and parameters.
    pub json: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwksError {
    #[error("the issuer has no key with that id")]
    UnknownKey,
    #[error("the issuer's keys cannot be had now")]
    Unavailable,
}

type Answer = Box<dyn FnOnce(Result<Arc<Jwk>, JwksError>) + Send>;

/// A cheap handle on one issuer's keys.
#[derive(Clone)]
pub struct Jwks {
    inner: Arc<Inner>,
}

struct Inner {
    name: Box<str>,
    url: Url,
    state: Mutex<State>,
    shared: Arc<Shared>,
    runtime: Handle,
}

struct State {
    cache: Cache,
    /// The issuer is being asked; these wait for it, with the key that each wants.
    asking: Option<Vec<(Option<Box<str>>, Answer)>>,
}

impl Jwks {
    pub(crate) fn new(config: JwksConfig, shared: Arc<Shared>, runtime: Handle) -> Result<Self, Denied> {
        let url = shared.client.admit(config.url.expose_secret())?;
        let state = State { cache: Cache::new(config.keep, config.cool_down), asking: None };
        let inner = Inner { name: config.name, url, state: Mutex::new(state), shared, runtime };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The key that is known and fresh, at once and without a question to anyone.
    pub fn known(&self, kid: Option<&str>) -> Option<Arc<Jwk>> {
        match self.inner.state.lock().cache.find(kid, self.inner.now()) {
            Found::Key(key) => Some(key),
            Found::Ask | Found::Nothing(_) => None,
        }
    }

    /// The key by its id, or the only one there is. `answer` is called once: at once where that can be,
    /// else from the egress thread. When the server is closing it may be dropped uncalled.
    pub fn find(&self, kid: Option<&str>, answer: impl FnOnce(Result<Arc<Jwk>, JwksError>) + Send + 'static) {
        let mut state = self.inner.state.lock();
        let found = match state.cache.find(kid, self.inner.now()) {
            Found::Key(key) => Ok(key),
            Found::Nothing(error) if state.asking.is_none() => Err(error),
            Found::Ask | Found::Nothing(_) => {
                let waiter = (kid.map(Box::from), Box::new(answer) as Answer);
                match &mut state.asking {
                    Some(waiting) if waiting.len() >= WAITERS_MAX => {
                        drop(state);
                        return waiter.1(Err(JwksError::Unavailable));
                    }
                    Some(waiting) => waiting.push(waiter),
                    None => {
                        state.asking = Some(vec![waiter]);
                        state.cache.asked(self.inner.now());
                        self.inner.runtime.spawn(self.inner.clone().ask());
                    }
                }
                return;
            }
        };
        drop(state);
        answer(found);
    }
}

impl Inner {
    fn now(&self) -> Duration {
        (self.shared.clock)().mono
    }

    async fn ask(self: Arc<Self>) {
        let keys = self.fetch().await;
        let mut state = self.state.lock();
        match keys {
            Ok(keys) => state.cache.answered(keys, self.now()),
            Err(reason) => tracing::warn!(issuer = %self.name, %reason, "an issuer's keys could not be had"),
        }
        let waiting = state.asking.take().unwrap_or_default();
        let answers: Vec<_> =
            waiting.into_iter().map(|(kid, answer)| (state.cache.settle(kid.as_deref()), answer)).collect();
        drop(state);
        for (found, answer) in answers {
            answer(found);
        }
    }

    async fn fetch(&self) -> Result<Vec<Arc<Jwk>>, String> {
        let answer = self.shared.client.get(&self.url).await.map_err(|failure| failure.to_string())?;
        if !answer.status.is_success() {
            return Err(format!("the issuer answered {}", answer.status.as_u16()));
        }
        cache::parse(&answer.body)
            .ok_or_else(|| "the answer is no JSON object with a list of keys".to_owned())
    }
}
