//! An app and its keys, as the message path sees them: an immutable snapshot.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use secrecy::SecretString;

use crate::error::{self, ErrorInfo};
use crate::{AppId, Capability, KeyId, Limits, Rules};

#[derive(Debug)]
pub struct App {
    pub id: AppId,
    /// Refuses everything when false.
    pub enabled: bool,
    /// Refuses connections without TLS.
    pub tls_only: bool,
    pub keys: HashMap<KeyId, Arc<Key>>,
    pub rules: Rules,
    pub limits: Limits,
}

/// An API key. The secret must be readable: token requests and JWTs are MACs made with it.
pub struct Key {
    pub id: KeyId,
    pub secret: SecretString,
    pub capability: Arc<Capability>,
    /// Tokens made by this key can be revoked, and live an hour at most.
    pub revocable_tokens: bool,
    pub enabled: bool,
}

impl fmt::Debug for Key {
    /// Without the secret, whatever happens to `SecretString`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("id", &self.id).field("enabled", &self.enabled).finish_non_exhaustive()
    }
}

/// `appId.keyId`: public, the name by which tokens say who issued them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyName {
    pub app: AppId,
    pub key: KeyId,
}

impl KeyName {
    pub fn parse(s: &str) -> Result<Self, ErrorInfo> {
        let (app, key) = s.split_once('.').ok_or_else(|| error::invalid_credential("the key name"))?;
        Ok(Self { app: AppId::parse(app)?, key: KeyId::parse(key)? })
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.app, self.key)
    }
}

/// Whom a credential may speak as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientIdRule {
    /// Anyone: each message may name another client.
    Any,
    Only(crate::ClientId),
    /// Nobody: messages have no client id.
    Anonymous,
}
