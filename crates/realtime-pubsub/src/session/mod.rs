//! A client's connection: its frames to the engine's commands, and back. There is one transport to a session, nothing
//! is resumed, and the session is over when its transport is.
//!
//! Invariants: the welcome is the first frame; a frame that is refused ends the connection, and nothing after it is
//! looked at; whoever was announced as connected is announced as disconnected, once.

mod frames;
mod open;
mod orders;
mod publish;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use fanfare_engine::{Attach, AttachmentId, Audience, Command, Event, Outputs, Roles, Session, Since, Token};
use fanfare_model::{App, AppId, ChannelKey, ChannelName, ClientId, ClientIdRule, ConnectionId, CountryCode};
use serde_json::value::RawValue;

use crate::apps::AppSettings;
use crate::close::{self, Close};
use crate::permission::Permissions;
use crate::seats::Seat;
use crate::wire::{self, TopicEncoder};

pub use open::{AppLookup, Host, OpenRequest, Opened, Random};
pub(crate) use orders::{Order, Orders};

/// The token of publishes that nobody asks about.
const UNASKED: Token = 0;

pub(crate) struct TopicSession {
    host: Arc<Host>,
    app: Arc<App>,
    settings: Arc<AppSettings>,
    connection: ConnectionId,
    /// `None`: the token names nobody, and the connection's id stands for a name.
    subject: Option<ClientId>,
    permissions: Permissions,
    /// As a JSON array, for the app's back ends.
    permissions_json: Box<RawValue>,
    /// The first frame, until it is said.
    welcome: Option<Vec<u8>>,
    /// In no order. Few enough to look through.
    topics: Vec<Subscription>,
    /// Ids of what was published and is not acknowledged yet, oldest first.
    acks: VecDeque<(Token, Box<RawValue>)>,
    /// Numbers publishes and attachments.
    sequence: u64,
    secure: bool,
    country: Option<CountryCode>,
    /// Counts the connection among its subject's until it is gone.
    _seat: Option<Seat>,
}

struct Subscription {
    topic: ChannelName,
    attachment: AttachmentId,
    /// Given at the start, and not counted by the limit.
    implicit: bool,
}

impl TopicSession {
    /// What the client is called where it is talked about.
    fn shown_subject(&self) -> &str {
        self.subject.as_ref().map_or(self.connection.as_str(), ClientId::as_str)
    }

    fn next_number(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    fn channel(&self, topic: ChannelName) -> ChannelKey {
        ChannelKey { app: self.app.id.clone(), name: topic }
    }

    fn attach(&mut self, topic: ChannelName, implicit: bool, out: &mut Outputs) {
        let attachment = AttachmentId(self.next_number() as u32);
        out.push(Command::Attach(Box::new(Attach {
            attachment,
            channel: self.channel(topic.clone()),
            encoder: Rc::new(TopicEncoder::new(topic.as_str())),
            audience: Audience { messages: true, echo: true, ..Audience::default() },
            roles: Roles { subscriber: true, ..Roles::default() },
            since: Since::Now,
            narrator: None,
        })));
        self.topics.push(Subscription { topic, attachment, implicit });
    }

    fn detach(&mut self, index: usize, out: &mut Outputs) {
        let gone = self.topics.swap_remove(index);
        out.push(Command::Detach(gone.attachment));
    }

    fn close(&mut self, why: Close, out: &mut Outputs) {
        self.announce(publish::Change::Disconnected, out);
        out.push(Command::Close { code: why.code, reason: why.reason });
        out.push(Command::End);
    }

    /// The app may have been suspended, or speak this protocol no more. What a token allows is not looked at again.
    fn reconfigured(&mut self, out: &mut Outputs) {
        let app = self.host.apps.app(&self.app.id).filter(|app| app.enabled);
        match (app, self.host.settings.app(&self.app.id)) {
            (Some(app), Some(settings)) => {
                self.app = app;
                self.settings = settings;
            }
            _ => self.close(close::APP_GONE, out),
        }
    }
}

impl Session for TopicSession {
    fn on_open(&mut self, out: &mut Outputs) {
        if let Some(welcome) = self.welcome.take() {
            out.push(Command::Text(welcome));
        }
        out.push(Command::Identify(self.connection.clone()));
        for topic in self.implicit_topics() {
            self.attach(topic, true, out);
        }
        self.announce(publish::Change::Connected, out);
    }

    fn on_text(&mut self, text: &str, out: &mut Outputs) {
        self.received(wire::decode(text), out);
    }

    /// Text in a binary frame is read as text.
    fn on_binary(&mut self, bytes: &[u8], out: &mut Outputs) {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.received(wire::decode(text), out),
            Err(_) => self.received(Err(wire::Malformed::NotJson), out),
        }
    }

    fn on_event(&mut self, event: Event, out: &mut Outputs) {
        match event {
            Event::Published { token, result } => self.published(token, result.err(), out),
            Event::AttachRefused { error, .. } => self.close(close::refused(&error), out),
            // There is no word for it in the protocol but this.
            Event::Gap { .. } => self.close(close::OVERRUN, out),
            Event::Notice(notice) => self.notice(&*notice, out),
            Event::Reconfigured => self.reconfigured(out),
            Event::Drain => self.close(close::RESTART, out),
            // A connection is not handed on, and the protocol knows neither members nor occupancy.
            Event::ClaimRequested { claim, .. } => out.push(Command::Answer { claim, state: None }),
            Event::Attached(_) | Event::Occupancy { .. } | Event::Members { .. } | Event::Claimed(_) => {}
        }
    }

    fn on_timer(&mut self, _: &mut Outputs) {}

    fn on_flush(&mut self, _: &mut Outputs) {}

    fn on_transport_lost(&mut self, out: &mut Outputs) {
        self.announce(publish::Change::Disconnected, out);
        out.push(Command::End);
    }

    fn app(&self) -> &AppId {
        &self.app.id
    }

    fn connection_id(&self) -> Option<&ConnectionId> {
        Some(&self.connection)
    }

    fn country(&self) -> Option<CountryCode> {
        self.country
    }

    /// There is no secret of a connection in this protocol.
    fn prove(&self, _: &str) -> Option<ClientIdRule> {
        None
    }
}
