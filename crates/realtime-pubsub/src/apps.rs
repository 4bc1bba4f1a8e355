//! The apps that speak this protocol. What they share with other protocols (rules, limits) is the engine's to know;
//! here is only what is this protocol's own.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use fanfare_model::AppId;

use crate::seats::HandshakeRates;
use crate::token::VerificationKey;

/// Of one app.
#[derive(Debug)]
pub struct AppSettings {
    /// For tokens of WebSocket clients.
    pub client_key: VerificationKey,
    /// For tokens of back ends, over HTTP. Without one the app has no HTTP API.
    pub admin_key: Option<VerificationKey>,
    /// Whether clients are told that what they sent was accepted.
    pub inbound_ack: bool,
    /// Whether those on `secure/inbound` hear who connects and disconnects.
    pub presence: bool,
    /// A message's payload. Close code 1009 past it.
    pub payload_bytes_max: usize,
    /// Connections with one subject at a time. HTTP status 429 past it.
    pub connections_per_subject_max: usize,
    pub handshakes: HandshakeRates,
}

/// One immutable snapshot, replaced as a whole when the configuration is.
#[derive(Debug, Default)]
pub struct Apps {
    settings: ArcSwap<HashMap<AppId, Arc<AppSettings>>>,
}

impl Apps {
    pub fn app(&self, id: &AppId) -> Option<Arc<AppSettings>> {
        self.settings.load().get(id).cloned()
    }

    pub fn replace(&self, apps: impl IntoIterator<Item = (AppId, AppSettings)>) {
        let apps = apps.into_iter().map(|(id, settings)| (id, Arc::new(settings)));
        self.settings.store(Arc::new(apps.collect()));
    }
}
