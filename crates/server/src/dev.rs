//! Development mode: an app and a key that are there at once, and stay the same for a data directory.

use std::collections::HashMap;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use aws_lc_rs::rand;
use fanfare_model::{App, AppId, Capability, Durability, Key, KeyId, Limits, Rule, Rules};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

const FILE: &str = "dev.json";

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
