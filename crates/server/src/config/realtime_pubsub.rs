//! `[apps.realtime_pubsub]`.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use fanfare_model::Limits;
use fanfare_realtime_pubsub::AppSettings;
use fanfare_realtime_pubsub::token::{Algorithm, Material, VerificationKey};
use serde::{Deserialize, Serialize};

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
    connections_per_subject_max: Option<usize>,
}

#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct KeySection {
    /// A shared secret, used as it stands here, or a public key in PEM.
    #[serde(skip_serializing)]
    key: Option<String>,
    /// A file that holds it and nothing else.
    key_file: Option<PathBuf>,
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
    pub(super) fn settings(&self, limits: &Limits) -> anyhow::Result<AppSettings> {
        let most = limits.message_bytes_max;
        let payload_bytes_max = self.payload_bytes_max.unwrap_or(most);
        if payload_bytes_max > most {
            bail!(
                "payload_bytes_max is more than the app's limits.message_bytes_max ({most}): raise that, too"
            );
        }
        let admin_key = self.admin_key.as_ref().map(|key| key.key().context("in admin_key"));
        Ok(AppSettings {
            client_key: self.client_key.key().context("in client_key")?,
            admin_key: admin_key.transpose()?,
            inbound_ack: self.inbound_ack.unwrap_or(true),
            presence: self.presence.unwrap_or(true),
            payload_bytes_max,
            connections_per_subject_max: self
                .connections_per_subject_max
                .unwrap_or(CONNECTIONS_PER_SUBJECT_MAX),
        })
    }
}

impl KeySection {
    fn key(&self) -> anyhow::Result<VerificationKey> {
        let text = match (&self.key, &self.key_file) {
            (Some(key), None) => key.clone(),
            (None, Some(path)) => std::fs::read_to_string(path)
                .with_context(|| format!("the key cannot be read from {}", path.display()))?
                .trim()
                .to_owned(),
            _ => bail!("either key or key_file is needed"),
        };
        let material = Material::from_text(&text).map_err(anyhow::Error::msg)?;
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
