//! Development mode: an app and a key that are there at once, and stay the same for a data directory.

use std::collections::HashMap;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use aws_lc_rs::{hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fanfare_model::{App, AppId, Capability, Durability, Key, KeyId, Limits, Rule, Rules, Timestamp};
use fanfare_realtime_pubsub::token::{Algorithm, Material, VerificationKey, sign};
use fanfare_realtime_pubsub::{AppSettings, HandshakeRates};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::config::CONNECTIONS_PER_SUBJECT_MAX;

const FILE: &str = "dev.json";

/// Tokens of development live so long; a new start makes new ones.
const TOKEN_LIFE_SECONDS: i64 = 30 * 86_400;

/// Whom a token of Realtime Pub/Sub is for.
#[derive(Clone, Copy)]
pub(crate) enum Bearer {
    Client,
    Admin,
}

impl Bearer {
    fn label(self) -> &'static str {
        match self {
            Self::Client => "realtime-pubsub client key",
            Self::Admin => "realtime-pubsub admin key",
        }
    }

    fn permissions(self) -> &'static [&'static str] {
        match self {
            Self::Client => &["realtime:publisher:write:topic:*", "realtime:subscriber:read:topic:*"],
            Self::Admin => &[
                "realtime:publisher:write:topic:*",
                "realtime:admin:manage:connections",
                "realtime:admin:manage:subscribers",
                "realtime:admin:manage:application",
            ],
        }
    }
}

/// What the data directory remembers of development mode.
#[derive(Deserialize, Serialize)]
pub(crate) struct DevApp {
    pub(crate) app_id: String,
    key_id: String,
    secret: String,
}

impl DevApp {
    pub(crate) fn open(data: &Path) -> anyhow::Result<Self> {
        let path = data.join(FILE);
        if path.exists() {
            let text = std::fs::read_to_string(&path)?;
            return serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()));
        }
        let dev = Self { app_id: random(6)?, key_id: random(6)?, secret: random(32)? };
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(serde_json::to_string_pretty(&dev)?.as_bytes())?;
        file.sync_all()?;
        Ok(dev)
    }

    pub(crate) fn key(&self) -> String {
        format!("{}.{}:{}", self.app_id, self.key_id, self.secret)
    }

    /// What tokens of Realtime Pub/Sub are signed with: made from the one secret that is kept.
    pub(crate) fn signing_key(&self, of: Bearer) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.secret.as_bytes());
        STANDARD.encode(hmac::sign(&key, of.label().as_bytes()))
    }

    /// A token that allows everything that its bearer can be allowed.
    pub(crate) fn token(&self, of: Bearer, now: Timestamp) -> String {
        let expires = now.0 / 1000 + TOKEN_LIFE_SECONDS;
        let claims = json!({ "permissions": of.permissions(), "exp": expires });
        sign(&SecretString::from(self.signing_key(of)), &claims)
    }

    pub(crate) fn realtime_pubsub(&self, limits: &Limits) -> anyhow::Result<(AppId, AppSettings)> {
        let key = |of: Bearer| {
            let material = Material::Secret(SecretString::from(self.signing_key(of)));
            let key = VerificationKey::new(material, vec![Algorithm::Hs256], Vec::new());
            key.map_err(anyhow::Error::msg)
        };
        let settings = AppSettings {
            client_key: key(Bearer::Client)?,
            admin_key: Some(key(Bearer::Admin)?),
            inbound_ack: true,
            presence: true,
            payload_bytes_max: limits.message_bytes_max,
            connections_per_subject_max: CONNECTIONS_PER_SUBJECT_MAX,
            handshakes: HandshakeRates::default(),
        };
        Ok((AppId::parse(&self.app_id)?, settings))
    }

    pub(crate) fn app(&self, limits: Limits) -> anyhow::Result<App> {
        let key_id = KeyId::parse(&self.key_id)?;
        let key = Key {
            id: key_id.clone(),
            secret: SecretString::from(self.secret.clone()),
            capability: Arc::new(Capability::everything()),
            revocable_tokens: true,
            enabled: true,
        };
        let rule = |rule: Rule, name: &str| (name.to_owned(), rule);
        Ok(App {
            id: AppId::parse(&self.app_id)?,
            enabled: true,
            tls_only: false,
            keys: HashMap::from([(key_id, Arc::new(key))]),
            rules: Rules {
                default: Rule::default(),
                namespaces: HashMap::from([
                    rule(Rule { durability: Durability::Persist, ..Rule::default() }, "persisted"),
                    rule(Rule { mutable_messages: true, ..Rule::default() }, "mutable"),
                    rule(Rule { push_enabled: true, ..Rule::default() }, "pushenabled"),
                ]),
            },
            limits,
        })
    }
}

/// Letters and digits, safe in a key, a URL and a shell.
pub(crate) fn random(len: usize) -> anyhow::Result<String> {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut bytes = vec![0; len];
    rand::fill(&mut bytes).context("the system has no randomness")?;
    Ok(bytes.iter().map(|b| char::from(ALPHABET[usize::from(b % 32)])).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_directory_has_the_same_key() {
        let dir = tempfile::tempdir().unwrap();
        let first = DevApp::open(dir.path()).unwrap();
        assert_eq!(DevApp::open(dir.path()).unwrap().key(), first.key());
        let other = tempfile::tempdir().unwrap();
        assert_ne!(DevApp::open(other.path()).unwrap().key(), first.key());
        assert!(first.app(Limits::default()).unwrap().rules.namespaces.contains_key("persisted"));
    }
}
