//! MESSAGE.

use fanfare_engine::{Command, Draft, Outputs};
use fanfare_model::error::{self, ErrorInfo};
use fanfare_model::{ChannelKey, Message, Operation};

use super::AblySession;
use super::acks::Outcome;
use super::ids::{only_create, record_id};
use super::names::parse_name;
use crate::auth::resolve_message_client_id;
use crate::wire::{self, ProtocolMessage, Publish, flag};

impl AblySession {
    pub(super) fn message(&mut self, mut frame: ProtocolMessage<'_>, out: &mut Outputs) {
        let Some(serial) = self.new_serial(&frame, out) else { return };
        let publish = std::mem::replace(&mut frame.messages, Ok(Publish::default()));
        let items = publish.as_ref().map_or(1, |p| p.messages.len());
        if let Err(refusal) = self.take_rate(items, out.now.mono) {
            return self.refuse(serial, refusal, out);
        }
        match self.draft(&frame, publish, serial) {
            Ok((_, draft)) if draft.messages.is_empty() => self.settle(serial, Outcome::Accepted, out),
            Ok((channel, draft)) => {
                if let Err(refusal) = self.admit(&channel, draft.messages.len(), out) {
                    return self.refuse(serial, refusal, out);
                }
                out.push(Command::Publish { channel, draft: Box::new(draft), token: serial as u64 });
            }
            Err(refusal) => self.refuse(serial, refusal, out),
        }
    }

    /// Holds a publish against the rate that the client's token allows, if it names one.
    fn admit(&mut self, channel: &ChannelKey, messages: usize, out: &Outputs) -> Result<(), ErrorInfo> {
        match self.identity.publish_rate(channel.name.as_str()) {
            Some(rate) => {
                self.rates.get_or_insert_default().take(&channel.name, rate, messages, out.now.mono)
            }
            None => Ok(()),
        }
    }

    fn draft(
        &self,
        frame: &ProtocolMessage<'_>,
        publish: Result<Publish, ErrorInfo>,
        serial: i64,
    ) -> Result<(ChannelKey, Draft), ErrorInfo> {
        let key = self.target(frame, Operation::Publish, flag::PUBLISH)?;
        let Publish { mut messages, mutation, .. } = publish?;
        only_create(mutation)?;
        self.stamp(&key, &mut messages)?;
        let connection = self.connection.clone();
        let chosen = record_id(&messages)?;
        let idempotent = chosen.is_some();
        let id = chosen.unwrap_or_else(|| self.own_id(serial));
        let ephemeral = is_ephemeral(frame, &messages)?;
        Ok((key, Draft { id, idempotent, connection_id: connection, messages, uncounted: 0, ephemeral }))
    }

    /// What a frame's items are called when their publisher calls them nothing.
    pub(super) fn own_id(&self, serial: i64) -> Box<str> {
        let connection = self.connection.as_ref().map_or("", |c| c.as_str());
        format!("{connection}:{serial}").into()
    }

    /// The channel that a frame is for, if the client may do that there. A channel need not be attached; if it is, the
    /// modes that the client asked for count. (Which of them it has is the capability's to say, at any time anew.)
    pub(super) fn target(
        &self,
        frame: &ProtocolMessage<'_>,
        operation: Operation,
        mode: u32,
    ) -> Result<ChannelKey, ErrorInfo> {
        let requested = frame.channel.as_deref().unwrap_or("");
        let attached = self.channel(requested);
        let key = match attached {
            Some(channel) => channel.key.clone(),
            None => ChannelKey { app: self.app.clone(), name: parse_name(requested)?.0 },
        };
        if frame.param("_forceNack") == Some("true") {
            return Err(error::forced_nack(""));
        }
        self.check_rule(&key.name)?;
        if !self.identity.capability.allows(key.name.as_str(), operation) {
            return Err(error::not_permitted(format!("{} on this channel", operation.as_str())));
        }
        if key.name.is_meta() {
            return Err(error::not_permitted(
                "only the server speaks on a metachannel, and nobody is present there",
            ));
        }
        if attached.is_some_and(|channel| channel.wanted & mode == 0) {
            return Err(error::mode_missing(operation.as_str()));
        }
        Ok(key)
    }

    fn stamp(&self, key: &ChannelKey, messages: &mut [Message]) -> Result<(), ErrorInfo> {
        let identified = self.needs_identity(&key.name);
        let claim = self.identity.user_claim(key.name.as_str());
        for message in messages {
            let explicit = message.client_id.as_ref().map(|c| c.as_str());
            message.client_id = resolve_message_client_id(&self.identity, explicit)?;
            if claim.is_some() {
                message.extras = wire::with_user_claim(message.extras.take(), claim);
            }
            if identified && message.client_id.is_none() {
                return Err(error::needs_identified(""));
            }
        }
        Ok(())
    }
}

/// All messages of a publish, or none.
fn is_ephemeral(frame: &ProtocolMessage<'_>, messages: &[Message]) -> Result<bool, ErrorInfo> {
    if frame.param("ephemeral") == Some("true") {
        return Ok(true);
    }
    let ephemeral = messages.iter().filter(|m| wire::is_ephemeral(m)).count();
    if ephemeral > 0 && ephemeral < messages.len() {
        return Err(error::invalid_extras("either all messages of a publish are ephemeral, or none"));
    }
    Ok(ephemeral > 0)
}
