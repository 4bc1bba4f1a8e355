//! `[apps.realtime_pubsub]`.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use fanfare_model::Limits;
use fanfare_realtime_pubsub::token::{Algorithm, Material, VerificationKey};
use fanfare_realtime_pubsub::{AppSettings, HandshakeRates, Rate};
use serde::{Deserialize, Serialize};

use crate::outgoing::{BackendConfig, Outgoing, Target};

/// Connections with one subject, when nothing else is said.
pub(crate) const CONNECTIONS_PER_SUBJECT_MAX: usize = 16;

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RealtimePubSubSection {
    /// Verifies the tokens of WebSocket clients.
    client_key: KeySection,
    /// Verifies the tokens of back ends. Without it the app has no HTTP API.
    admin_key: Option<KeySection>,
    /// Acknowledge what clients publish and send. On by default.
    inbound_ack: Option<bool>,
    /// Say on `secure/inbound` who connects and disconnects. On by default.
    presence: Option<bool>,
    /// Of one message; as much as `limits.message_bytes_max` by default, and at most.
    payload_bytes_max: Option<usize>,
    connections_per_subject_max: Option<NonZeroUsize>,
    /// Handshakes in the long run, and how many of them may come at once.
    handshakes_per_second: Option<NonZeroU32>,
    handshakes_burst: Option<NonZeroU32>,
    handshakes_per_subject_per_second: Option<NonZeroU32>,
    handshakes_per_subject_burst: Option<NonZeroU32>,
    /// Back ends that are sent what clients send.
    #[serde(default)]
    webhooks: Vec<WebhookSection>,
    #[serde(default)]
    queues: Vec<QueueSection>,
}

#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct WebhookSection {
    /// May have a secret in it, and so is not printed.
    #[serde(skip_serializing)]
    url: String,
    /// Signs what is sent.
    #[serde(skip_serializing)]
    secret: Option<String>,
    secret_file: Option<PathBuf>,
    /// Also say who connects and disconnects.
    #[serde(default)]
    presence: bool,
}

/// A queue that speaks Amazon SQS's JSON protocol.
#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct QueueSection {
    queue_url: String,
    region: String,
    /// Amazon's own for the region when left out.
    endpoint: Option<String>,
    access_key_id: String,
    #[serde(skip_serializing)]
    secret_access_key: Option<String>,
    secret_access_key_file: Option<PathBuf>,
    #[serde(skip_serializing)]
    session_token: Option<String>,
    #[serde(default)]
    presence: bool,
}

impl std::fmt::Debug for WebhookSection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebhookSection").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for QueueSection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QueueSection").field("queue_url", &self.queue_url).finish_non_exhaustive()
    }
}

#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct KeySection {
    /// A shared secret, used as it stands here, or a public key in PEM.
    #[serde(skip_serializing)]
    key: Option<String>,
    /// A file that holds it and nothing else.
    key_file: Option<PathBuf>,
    /// Where the issuer publishes its keys.
    jwks_uri: Option<String>,
    algorithms: Vec<String>,
    /// Who may have issued a token; anyone when left out.
    #[serde(default)]
    issuer: Vec<String>,
}

impl std::fmt::Debug for KeySection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeySection").field("algorithms", &self.algorithms).finish_non_exhaustive()
    }
}

impl RealtimePubSubSection {
    pub(super) fn settings(
        &self,
        app: &str,
        limits: &Limits,
        outgoing: &Outgoing,
    ) -> anyhow::Result<AppSettings> {
        let most = limits.message_bytes_max;
        let payload_bytes_max = self.payload_bytes_max.unwrap_or(most);
        if payload_bytes_max > most {
            bail!(
                "payload_bytes_max is more than the app's limits.message_bytes_max ({most}): raise that, too"
            );
        }
        let admin_key = self.admin_key.as_ref().map(|key| key.key(app, outgoing).context("in admin_key"));
        Ok(AppSettings {
            client_key: self.client_key.key(app, outgoing).context("in client_key")?,
            admin_key: admin_key.transpose()?,
            inbound_ack: self.inbound_ack.unwrap_or(true),
            presence: self.presence.unwrap_or(true),
            payload_bytes_max,
            connections_per_subject_max: self
                .connections_per_subject_max
                .map_or(CONNECTIONS_PER_SUBJECT_MAX, NonZeroUsize::get),
            handshakes: self.handshakes(),
        })
    }

    fn handshakes(&self) -> HandshakeRates {
        let rate = |base: Rate, burst: Option<NonZeroU32>, per_second: Option<NonZeroU32>| Rate {
            burst: burst.map_or(base.burst, |burst| f64::from(burst.get())),
            per_second: per_second.map_or(base.per_second, |rate| f64::from(rate.get())),
        };
        let HandshakeRates { subject, app } = HandshakeRates::default();
        HandshakeRates {
            subject: rate(subject, self.handshakes_per_subject_burst, self.handshakes_per_subject_per_second),
            app: rate(app, self.handshakes_burst, self.handshakes_per_second),
        }
    }
}

impl RealtimePubSubSection {
    pub(super) fn backends(&self) -> anyhow::Result<Vec<BackendConfig>> {
        let webhooks = self.webhooks.iter().map(|hook| {
            let secret = secret(hook.secret.as_ref(), hook.secret_file.as_ref(), "secret")?;
            let target = Target::Webhook { url: hook.url.clone(), secret };
            Ok(BackendConfig { target, presence: hook.presence })
        });
        let queues = self.queues.iter().map(|queue| {
            let (key, file) = (queue.secret_access_key.as_ref(), queue.secret_access_key_file.as_ref());
            let target = Target::Queue {
                endpoint: queue.endpoint.clone(),
                region: queue.region.clone(),
                queue_url: queue.queue_url.clone(),
                access_key_id: queue.access_key_id.clone(),
                secret_access_key: secret(key, file, "secret_access_key")?,
                session_token: queue.session_token.clone(),
            };
            Ok(BackendConfig { target, presence: queue.presence })
        });
        webhooks.chain(queues).collect()
    }
}

/// From the file itself or from one of its own.
fn secret(text: Option<&String>, file: Option<&PathBuf>, name: &str) -> anyhow::Result<String> {
    let secret = match (text, file) {
        (Some(text), None) => text.clone(),
        (None, Some(path)) => std::fs::read_to_string(path)
            .with_context(|| format!("{name} cannot be read from {}", path.display()))?
            .trim()
            .to_owned(),
        _ => bail!("either {name} or {name}_file is needed"),
    };
    if secret.is_empty() {
        bail!("{name} is empty");
    }
    Ok(secret)
}

impl KeySection {
    fn key(&self, app: &str, outgoing: &Outgoing) -> anyhow::Result<VerificationKey> {
        let material = match &self.jwks_uri {
            Some(uri) if self.key.is_none() && self.key_file.is_none() => {
                Material::Published(outgoing.issuer(app, uri).context("in jwks_uri")?)
            }
            Some(_) => bail!("of key, key_file and jwks_uri one is needed, not several"),
            None => {
                let text = secret(self.key.as_ref(), self.key_file.as_ref(), "key");
                let text = text.context("key, key_file or jwks_uri is needed")?;
                Material::from_text(&text).map_err(anyhow::Error::msg)?
            }
        };
        let algorithm = |name: &String| {
            let known: Vec<_> = Algorithm::ALL.iter().map(|(_, name)| *name).collect();
            Algorithm::parse(name)
                .with_context(|| format!("the algorithm {name} is none of {}", known.join(", ")))
        };
        let algorithms = self.algorithms.iter().map(algorithm).collect::<anyhow::Result<_>>()?;
        let issuers = self.issuer.iter().map(|issuer| issuer.as_str().into()).collect();
        VerificationKey::new(material, algorithms, issuers).map_err(anyhow::Error::msg)
    }
}

#[cfg(test)]
mod tests {
    use fanfare_model::Durability;

    use super::*;
    use crate::config::Config;

    const KEY: &str = "[apps.realtime_pubsub.client_key]\nkey = \"canary\"\nalgorithms = [\"HS256\"]\n";

    fn check(text: &str) -> anyhow::Result<()> {
        let config: Config = toml::from_str(text)?;
        Outgoing::start(&config, fanfare_gateway::Clock::start())?.check(&config)
    }

    #[test]
    fn an_app_with_this_protocol_alone_keeps_nothing() {
        let level = |before: &str| {
            let config: Config = toml::from_str(&format!("[[apps]]\nid = \"a\"\n{before}{KEY}")).unwrap();
            config.apps().unwrap()[0].rules.default.durability
        };
        assert_eq!(level(""), Durability::None);
        assert_eq!(level("[[apps.keys]]\nid = \"k\"\nsecret = \"s\"\n"), Durability::Tail);
        assert_eq!(level("[apps.default_rule]\ndurability = \"persist\"\n"), Durability::Persist);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let of = |section: &str| format!("[[apps]]\nid = \"a\"\n[apps.realtime_pubsub]\n{section}");
        let key = |fields: &str| of(&format!("[apps.realtime_pubsub.client_key]\n{fields}"));
        let hook = |url: &str| {
            of(&format!("{KEY}[[apps.realtime_pubsub.webhooks]]\nurl = \"{url}\"\nsecret = \"s\""))
        };
        for (text, named) in [
            (of(""), "client_key"),
            (of(&format!("admin = 1\n{KEY}")), "admin"),
            (of(&format!("connections_per_subject_max = 0\n{KEY}")), "connections_per_subject_max"),
            (of(&format!("handshakes_burst = 0\n{KEY}")), "handshakes_burst"),
            (of(&format!("payload_bytes_max = 65537\n{KEY}")), "message_bytes_max"),
            (key("algorithms = [\"HS256\"]"), "key_file"),
            (key("key = \"s\"\nalgorithms = []"), "HS256"),
            (key("key = \"s\"\nalgorithms = [\"none\"]"), "EdDSA"),
            (key("key = \"s\"\nalgorithms = [\"RS256\"]"), "RS256"),
            (key("key = \"-----BEGIN PRIVATE KEY-----\"\nalgorithms = [\"RS256\"]"), "BEGIN PUBLIC KEY"),
            (key("key = \"s\"\njwks_uri = \"https://a.example/\"\nalgorithms = [\"RS256\"]"), "several"),
            (key("jwks_uri = \"https://a.example/\"\nalgorithms = [\"HS256\"]"), "HS256"),
            (key("jwks_uri = \"http://127.0.0.1/\"\nalgorithms = [\"RS256\"]"), "private"),
            (key("jwks_uri = \"ftp://a.example/\"\nalgorithms = [\"RS256\"]"), "https"),
            (hook("http://10.0.0.1/"), "private"),
            (hook("nowhere"), "URL"),
            (format!("[egress]\nallow = [\"10.0.0.0/99\"]\n{}", of(KEY)), "egress.allow"),
        ] {
            let failure = format!("{:#}", check(&text).unwrap_err());
            assert!(failure.contains(named), "{failure} should name {named}");
        }
        assert!(check(&hook("https://hooks.example/")).is_ok());
    }

    #[test]
    fn a_printed_configuration_has_no_secret() {
        let text = format!(
            "[[apps]]\nid = \"a\"\n{KEY}[[apps.realtime_pubsub.webhooks]]\nurl = \"https://a.example/canary\"\nsecret = \"canary\"\n\
             [[apps.realtime_pubsub.queues]]\nqueue_url = \"q\"\nregion = \"r\"\naccess_key_id = \"id\"\nsecret_access_key = \"canary\"\nsession_token = \"canary\""
        );
        let config: Config = toml::from_str(&text).unwrap();
        let printed = toml::to_string_pretty(&config).unwrap();
        assert!(!printed.contains("canary") && !format!("{config:?}").contains("canary"), "{printed}");
    }
}
