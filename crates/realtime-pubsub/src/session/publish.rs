//! What goes out from a client: messages to topics and to the app's back end, and that it came and went.

use fanfare_engine::{Command, Draft, Outputs, Token};
use fanfare_model::{ChannelName, ErrorInfo, Message};
use serde_json::value::RawValue;

use super::{TopicSession, UNASKED};
use crate::close::{self, Close};
use crate::inbound::InboundMessage;
use crate::permission::Action;
use crate::topic;
use crate::wire::{self, Extras, Said, TYPE_AND_ID_BYTES_MAX};

#[derive(Clone, Copy)]
pub(super) enum Change {
    Connected,
    Disconnected,
}

impl Change {
    fn payload(self) -> &'static str {
        match self {
            Self::Connected => r#"{"code":0,"status":"connected"}"#,
            Self::Disconnected => r#"{"code":-1,"status":"disconnected"}"#,
        }
    }
}

impl TopicSession {
    pub(super) fn publish(&mut self, name: &str, said: &Said<'_>, out: &mut Outputs) -> Result<(), Close> {
        let topic = topic::parse(name).map_err(close::bad_topic)?;
        if topic::is_servers(name, &said.message_type) {
            return Err(close::RESERVED);
        }
        if !self.permissions.allow(Action::Publish(name)) {
            return Err(close::PUBLISHING_FORBIDDEN);
        }
        self.check_rule(&topic)?;
        self.check_size(said)?;
        self.say(topic, said, out);
        Ok(())
    }

    /// To whoever serves the app: those on the inbound topic, and its configured back ends.
    pub(super) fn send_inbound(&mut self, said: &Said<'_>, out: &mut Outputs) -> Result<(), Close> {
        if topic::is_servers(topic::INBOUND, &said.message_type) {
            return Err(close::RESERVED);
        }
        self.check_size(said)?;
        let topic = topic::parse(topic::INBOUND).map_err(close::bad_topic)?;
        self.say(topic, said, out);
        // Its bytes are counted with the topic's.
        out.push(Command::Inbound { messages: 1, bytes: 0 });
        if self.host.inbound.wants(&self.app.id, false) {
            let payload = said.payload.map_or("null", RawValue::get);
            self.deliver(&said.message_type, payload, said.id, false, out);
        }
        Ok(())
    }

    fn check_size(&self, said: &Said<'_>) -> Result<(), Close> {
        let size = said.payload.map_or(0, |payload| payload.get().len());
        let beside = said.message_type.len() + said.id.map_or(0, |id| id.get().len());
        if size > self.settings.payload_bytes_max {
            return Err(close::TOO_LARGE);
        }
        if beside > TYPE_AND_ID_BYTES_MAX { Err(close::TYPE_OR_ID_TOO_LARGE) } else { Ok(()) }
    }

    fn say(&mut self, topic: ChannelName, said: &Said<'_>, out: &mut Outputs) {
        let token = self.next_number();
        if let Some(id) = said.id.filter(|_| self.settings.inbound_ack) {
            self.acks.push_back((token, id.to_owned()));
        }
        let mut message = wire::message(&said.message_type, said.payload);
        let extras = Extras { id: said.id, compress: said.compress, permissions: None };
        self.record(topic, &mut message, extras, token, out);
    }

    fn record(
        &mut self,
        topic: ChannelName,
        message: &mut Message,
        extras: Extras<'_>,
        token: Token,
        out: &mut Outputs,
    ) {
        let to_the_back_end = topic.as_str() == topic::INBOUND;
        let permissions = to_the_back_end.then_some(&*self.permissions_json);
        message.extras = Extras { permissions, ..extras }.to_model();
        message.client_id.clone_from(&self.subject);
        let number = if token == UNASKED { self.next_number() } else { token };
        let draft = Draft {
            id: format!("{}:{number}", self.connection).into(),
            idempotent: false,
            connection_id: Some(self.connection.clone()),
            uncounted: wire::uncounted(message),
            messages: vec![std::mem::take(message)],
            ephemeral: false,
        };
        out.push(Command::Publish { channel: self.channel(topic), draft: Box::new(draft), token });
    }

    fn deliver(&self, kind: &str, payload: &str, id: Option<&RawValue>, presence: bool, out: &Outputs) {
        let message = InboundMessage {
            connection: self.connection.clone(),
            subject: self.shown_subject().into(),
            permissions: self.permissions_json.get().into(),
            message_type: kind.into(),
            payload: payload.into(),
            id: id.map(|id| id.get().into()),
            timestamp: out.now.wall,
            presence,
        };
        self.host.inbound.deliver(&self.app.id, message);
    }

    /// Tells those on the inbound topic who came or went.
    pub(super) fn announce(&mut self, change: Change, out: &mut Outputs) {
        if !self.settings.presence {
            return;
        }
        let payload = serde_json::from_str::<&RawValue>(change.payload()).ok();
        let mut message = wire::message(topic::PRESENCE, payload);
        if let Ok(topic) = topic::parse(topic::INBOUND) {
            self.record(topic, &mut message, Extras::default(), UNASKED, out);
        }
        if self.host.inbound.wants(&self.app.id, true) {
            self.deliver(topic::PRESENCE, change.payload(), None, true, out);
        }
    }

    /// The engine's answer. What is accepted is acknowledged; what is not ends the connection.
    pub(super) fn published(&mut self, token: Token, refused: Option<ErrorInfo>, out: &mut Outputs) {
        if token == UNASKED {
            return;
        }
        if let Some(error) = refused {
            return self.close(close::refused(&error), out);
        }
        if let Some(at) = self.acks.iter().position(|(known, _)| *known == token)
            && let Some((_, id)) = self.acks.remove(at)
        {
            out.push(Command::Text(wire::ack(&id)));
        }
    }
}
