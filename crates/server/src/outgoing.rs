//! What leaves the server for Realtime Pub/Sub: clients' messages to back ends, and questions for issuers' keys.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use bytes::Bytes;
use fanfare_egress::{
    Egress, EgressConfig, GuardConfig, Jwk, Jwks, JwksConfig, JwksError, QueueLimits, Retry, Sqs, SqsConfig,
    Timeouts, Webhook, WebhookConfig, system_lookup,
};
use fanfare_gateway::{Clock, MoreMetrics};
use fanfare_model::AppId;
use fanfare_realtime_pubsub::inbound::{Inbound, InboundMessage};
use fanfare_realtime_pubsub::token::{KeySource, Lookup, SignatureKey};
use parking_lot::Mutex;
use secrecy::SecretString;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use crate::config::Config;

/// A back end as the operator described it. Equal ones are the same, also after a reload.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct BackendConfig {
    pub(crate) target: Target,
    pub(crate) presence: bool,
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Target {
    Webhook {
        url: String,
        secret: String,
    },
    Queue {
        endpoint: Option<String>,
        region: String,
        queue_url: String,
        access_key_id: String,
        secret_access_key: String,
        session_token: Option<String>,
    },
}

struct Backend {
    config: BackendConfig,
    sender: Sender,
}

enum Sender {
    Webhook(Webhook),
    Queue(Sqs),
}

impl Backend {
    fn send(&self, body: Bytes) {
        // What is not taken was counted and logged there.
        let _ = match &self.sender {
            Sender::Webhook(webhook) => webhook.send(body),
            Sender::Queue(queue) => queue.send(body),
        };
    }
}

pub(crate) struct Outgoing {
    egress: Egress,
    /// By address, so that a reload keeps what was fetched.
    issuers: Mutex<HashMap<String, Jwks>>,
    backends: Arc<Backends>,
}

/// Of each app.
#[derive(Default)]
pub(crate) struct Backends(ArcSwap<HashMap<AppId, Vec<Arc<Backend>>>>);

impl Outgoing {
    pub(crate) fn start(config: &Config, clock: Clock) -> anyhow::Result<Self> {
        let guard = GuardConfig::allowing(&config.egress.allow).map_err(anyhow::Error::msg);
        let egress = Egress::start(EgressConfig {
            guard: guard.context("in egress.allow")?,
            clock: Arc::new(move || clock.now()),
            lookup: system_lookup(),
            timeouts: Timeouts::default(),
        })?;
        Ok(Self { egress, issuers: Mutex::default(), backends: Arc::default() })
    }

    /// Whether everything could be made; it is thrown away again.
    pub(crate) fn check(self, config: &Config) -> anyhow::Result<()> {
        for (app, _, backends) in config.realtime_pubsub(&self)? {
            for backend in backends {
                self.open(&app, backend)?;
            }
        }
        Ok(())
    }

    pub(crate) fn issuer(&self, app: &str, uri: &str) -> anyhow::Result<Arc<dyn KeySource>> {
        let mut issuers = self.issuers.lock();
        let keys = match issuers.get(uri) {
            Some(known) => known.clone(),
            None => {
                let keys = self.egress.jwks(JwksConfig::new(app, uri))?;
                issuers.insert(uri.to_owned(), keys.clone());
                keys
            }
        };
        Ok(Arc::new(Issuer(keys)))
    }

    pub(crate) fn backends(&self) -> Arc<Backends> {
        self.backends.clone()
    }

    /// What was counted, as rows of metrics.
    pub(crate) fn measure(&self) -> MoreMetrics {
        self.egress.measure()
    }

    /// Back ends that stay keep their queue; those that go send what they have.
    pub(crate) fn replace(&self, apps: Vec<(AppId, Vec<BackendConfig>)>) -> anyhow::Result<()> {
        let before = self.backends.0.load();
        let mut after = HashMap::new();
        for (app, configs) in apps.into_iter().filter(|(_, configs)| !configs.is_empty()) {
            let mut known = before.get(&app).cloned().unwrap_or_default();
            let mut backends = Vec::new();
            for config in configs {
                let kept = known.iter().position(|backend| backend.config == config);
                backends.push(match kept {
                    Some(at) => known.swap_remove(at),
                    None => Arc::new(self.open(&app, config)?),
                });
            }
            after.insert(app, backends);
        }
        self.backends.0.store(Arc::new(after));
        Ok(())
    }

    fn open(&self, app: &AppId, config: BackendConfig) -> anyhow::Result<Backend> {
        let (name, queue, retry) = (Box::from(app.as_str()), QueueLimits::default(), Retry::default());
        let sender = match &config.target {
            Target::Webhook { url, secret } => {
                let (url, secret) = (SecretString::from(url.clone()), SecretString::from(secret.clone()));
                let webhook = self.egress.webhook(WebhookConfig { name, url, secret, queue, retry });
                Sender::Webhook(webhook.with_context(|| format!("in a webhook of the app {app}"))?)
            }
            Target::Queue {
                endpoint,
                region,
                queue_url,
                access_key_id,
                secret_access_key,
                session_token,
            } => {
                let sqs = self.egress.sqs(SqsConfig {
                    name,
                    endpoint: endpoint.as_deref().map(Into::into),
                    region: region.as_str().into(),
                    queue_url: queue_url.as_str().into(),
                    access_key_id: access_key_id.as_str().into(),
                    secret_access_key: SecretString::from(secret_access_key.clone()),
                    session_token: session_token.clone().map(SecretString::from),
                    queue,
                    retry,
                });
                Sender::Queue(sqs.with_context(|| format!("in a queue of the app {app}"))?)
            }
        };
        Ok(Backend { config, sender })
    }

    /// Sends what is queued, until `timeout`.
    pub(crate) fn close(self, timeout: Duration) {
        self.backends.0.store(Arc::default());
        self.egress.close(timeout);
    }
}

impl Inbound for Backends {
    fn wants(&self, app: &AppId, presence: bool) -> bool {
        let backends = self.0.load();
        backends.get(app).is_some_and(|all| all.iter().any(|backend| backend.config.presence || !presence))
    }

    fn deliver(&self, app: &AppId, message: InboundMessage) {
        let backends = self.0.load();
        let body = Bytes::from(message.to_json(app));
        let all = backends.get(app).into_iter().flatten();
        for backend in all.filter(|backend| backend.config.presence || !message.presence) {
            backend.send(body.clone());
        }
    }
}

struct Issuer(Jwks);

const UNKNOWN: &str = "the issuer has no key with the token's kid";
const UNAVAILABLE: &str = "the issuer's keys cannot be had now, please retry";

impl KeySource for Issuer {
    fn find(&self, id: Option<&str>) -> Lookup {
        if let Some(jwk) = self.0.known(id) {
            return usable(&jwk);
        }
        let (answer, mut answered) = oneshot::channel();
        self.0.find(id, move |found| drop(answer.send(found)));
        match answered.try_recv() {
            Ok(Ok(jwk)) => usable(&jwk),
            Ok(Err(JwksError::UnknownKey)) => Lookup::Absent(UNKNOWN),
            Ok(Err(JwksError::Unavailable)) | Err(TryRecvError::Closed) => Lookup::Absent(UNAVAILABLE),
            Err(TryRecvError::Empty) => Lookup::Wait(Box::pin(async move { drop(answered.await) })),
        }
    }
}

fn usable(jwk: &Jwk) -> Lookup {
    SignatureKey::from_jwk(&jwk.json).map_or(
        Lookup::Absent("the issuer's key with the token's kid is of a kind that is not known"),
        Lookup::Key,
    )
}
