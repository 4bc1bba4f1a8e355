//! Channel rules: what a namespace's channels do.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ChannelName;

/// How long a record lives, and what an acknowledgement promises. See `docs/durability.md`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// Stored nowhere; acknowledged when accepted for fan-out. No resume, no history.
    None,
    /// Two minutes in memory.
    #[default]
    Tail,
    /// The last record on disk, for the retention; the tail in memory.
    PersistLast,
    /// Every record on disk, for the retention; acknowledged when synced.
    Persist,
}

impl Durability {
    pub fn is_durable(self) -> bool {
        matches!(self, Self::PersistLast | Self::Persist)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub durability: Durability,
    /// How long a durable record is kept.
    pub retention: Duration,
    /// Only identified clients (with a clientId) may use the channels.
    pub identified: bool,
    /// Only TLS connections may use the channels.
    pub tls_only: bool,
    /// Accepted and reported for SDKs' provisioning; nothing depends on it yet.
    pub push_enabled: bool,
    /// As `push_enabled`.
    pub mutable_messages: bool,
}

/// What Ably's packages keep history for when a rule says `persisted` and nothing more.
pub const RETENTION_DEFAULT: Duration = Duration::from_secs(72 * 3600);

impl Default for Rule {
    fn default() -> Self {
        Self {
            durability: Durability::Tail,
            retention: RETENTION_DEFAULT,
            identified: false,
            tls_only: false,
            push_enabled: false,
            mutable_messages: false,
        }
    }
}

/// An app's rules: one for each namespace that has one, and a default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    pub default: Rule,
    pub namespaces: HashMap<String, Rule>,
}

impl Rules {
    pub fn of(&self, channel: &ChannelName) -> &Rule {
        self.namespaces.get(channel.namespace()).unwrap_or(&self.default)
    }
}
