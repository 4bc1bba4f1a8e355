//! A connection that may not be. It says why, in a form that SDKs can read, and is over.

use fanfare_engine::{Command, Event, Outputs, Session};
use fanfare_model::error::ErrorInfo;
use fanfare_model::{AppId, ClientIdRule, ConnectionId};

use super::{close, send};
use crate::wire::{self, Format};

pub(super) struct RefusedSession {
    format: Format,
    refusal: ErrorInfo,
    /// Nobody's: who is refused has no app.
    app: AppId,
}

impl RefusedSession {
    pub(super) fn new(format: Format, refusal: ErrorInfo) -> Self {
        Self { format, refusal, app: AppId::parse("_").expect("a plain token") }
    }
}

impl Session for RefusedSession {
    fn on_open(&mut self, out: &mut Outputs) {
        send(self.format, out, |buf, format| wire::error(buf, format, None, &self.refusal));
        out.push(Command::Close { code: close::NORMAL, reason: "" });
        out.push(Command::End);
    }

    fn on_text(&mut self, _: &str, _: &mut Outputs) {}
    fn on_binary(&mut self, _: &[u8], _: &mut Outputs) {}
    fn on_event(&mut self, _: Event, _: &mut Outputs) {}
    fn on_timer(&mut self, _: &mut Outputs) {}
    fn on_flush(&mut self, _: &mut Outputs) {}

    fn on_transport_lost(&mut self, out: &mut Outputs) {
        out.push(Command::End);
    }

    fn app(&self) -> &AppId {
        &self.app
    }

    fn connection_id(&self) -> Option<&ConnectionId> {
        None
    }

    fn prove(&self, _: &str) -> Option<ClientIdRule> {
        None
    }
}
