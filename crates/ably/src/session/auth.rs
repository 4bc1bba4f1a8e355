//! Who the client is, as it changes while the connection lives: new tokens, revocations, changed apps.

use std::any::Any;

use fanfare_engine::Outputs;
use fanfare_model::error::{self, ErrorInfo};

use super::timers::mono_at;
use super::{AblySession, Phase, close};
use crate::auth::{ClientIdRule, Credentials, Identity, Method, Revocation, Transport};
use crate::wire;

impl AblySession {
    /// AUTH: a new credential on the live connection.
    pub(super) fn auth(&mut self, token: Option<&str>, out: &mut Outputs) {
        match self.successor(token, out) {
            Ok(identity) => {
                self.identity = identity;
                self.adopt_expiry(out.now);
                self.judge_channels(out);
                self.connected(None, out);
            }
            Err(refusal) => self.fail(&refusal, out),
        }
    }

    fn successor(&self, token: Option<&str>, out: &Outputs) -> Result<Identity, ErrorInfo> {
        let token = token.ok_or_else(|| error::unauthorized_no_auth("AUTH has no accessToken"))?;
        let own = self.identity.client.client_id().map(|c| c.as_str());
        let credentials = Credentials::token(token, own)?;
        let host = &self.host;
        let transport = Transport { secure: self.secure, basic_over_plain: host.basic_over_plain };
        let next = host.authenticator.authenticate(&*host.apps, &credentials, transport, out.now)?;
        // Who came with a key and may be anyone gives up something by any token: nothing is lost that counts.
        let gives_up = matches!(self.identity.method, Method::Basic)
            && self.identity.client == ClientIdRule::Any
            && self.identity.app.id == next.app.id;
        if !gives_up {
            self.identity.check_successor(&next)?;
        }
        Ok(next)
    }

    /// What the adapter told all sessions of the app: `Vec<Revocation>`.
    pub(super) fn notice(&mut self, notice: &(dyn Any + Send + Sync), out: &mut Outputs) {
        let Some(revocations) = notice.downcast_ref::<Vec<Revocation>>() else { return };
        if !matches!(self.phase, Phase::Open | Phase::Claiming(_)) {
            return;
        }
        let matching = revocations.iter().filter(|r| r.matches(&self.identity));
        let Some(applies_at) = matching.map(|r| r.applies_at).min() else { return };
        if applies_at <= out.now.wall {
            return self.disconnect(&error::token_revoked(""), close::NORMAL, out);
        }
        let at = mono_at(applies_at, out.now);
        self.timers.revocation = Some(self.timers.revocation.map_or(at, |known| known.min(at)));
        if self.is_open() {
            self.send(out, wire::auth);
        }
    }

    /// Whether the credential would still be accepted, and what it allows now.
    pub(super) fn recheck(&mut self, out: &mut Outputs) {
        if matches!(self.phase, Phase::Over | Phase::Opening(_)) {
            return;
        }
        let host = &self.host;
        match host.authenticator.refresh(&self.identity, &*host.apps, out.now) {
            Ok(identity) => {
                self.identity = identity;
                if self.is_open() {
                    self.judge_channels(out);
                }
            }
            // Without a transport nothing can be done with it. Whoever comes for the state shows a credential then.
            Err(_) if matches!(self.phase, Phase::Lost | Phase::Orphaned(_)) => {}
            Err(refusal) if refusal.is_token_error() => self.disconnect(&refusal, close::NORMAL, out),
            Err(refusal) => self.fail(&refusal, out),
        }
    }

    /// The server goes away, and its clients are to look for another.
    pub(super) fn drain(&mut self, out: &mut Outputs) {
        if matches!(self.phase, Phase::Open | Phase::Claiming(_)) {
            // Not a 50x: those send SDKs to fallback hosts, and the next server is at this address.
            let why = ErrorInfo { status: 400, ..error::connection_dropped("the server is going away") };
            self.disconnect(&why, close::GOING_AWAY, out);
        }
    }
}
