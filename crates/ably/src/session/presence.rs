//! PRESENCE.

use fanfare_engine::{Command, Outputs};
use fanfare_model::error::{self, ErrorInfo};
use fanfare_model::{ChannelKey, ConnectionId, MemberKey, Operation, PresenceEvent, Timestamp};

use super::AblySession;
use super::acks::Outcome;
use crate::auth::resolve_message_client_id;
use crate::wire::{PresenceInput, ProtocolMessage, flag, with_user_claim};

impl AblySession {
    pub(super) fn presence(&mut self, mut frame: ProtocolMessage<'_>, out: &mut Outputs) {
        let Some(serial) = self.new_serial(&frame, out) else { return };
        let inputs = std::mem::replace(&mut frame.presence, Ok(Vec::new()));
        if let Err(refusal) = self.take_rate(inputs.as_ref().map_or(1, Vec::len), out.now.mono) {
            return self.refuse(serial, refusal, out);
        }
        match self.events(&frame, inputs, serial, out.now.wall) {
            Ok((_, events)) if events.is_empty() => self.settle(serial, Outcome::Accepted, out),
            Ok((channel, events)) => {
                out.push(Command::Presence { channel, events, token: serial as u64 });
            }
            Err(refusal) => self.refuse(serial, refusal, out),
        }
    }

    fn events(
        &self,
        frame: &ProtocolMessage<'_>,
        inputs: Result<Vec<PresenceInput>, ErrorInfo>,
        serial: i64,
        now: Timestamp,
    ) -> Result<(ChannelKey, Vec<PresenceEvent>), ErrorInfo> {
        let key = self.target(frame, Operation::Presence, flag::PRESENCE)?;
        let inputs = inputs?;
        let connection = self.connection.as_ref().ok_or_else(|| error::presence_not_attached(""))?;
        if self.channel(frame.channel.as_deref().unwrap_or("")).is_none() {
            return Err(error::presence_not_attached(""));
        }
        let base = self.own_id(serial);
        let claim = self.identity.user_claim(key.name.as_str());
        let events = inputs.into_iter().enumerate().map(|(index, input)| {
            let id = input.id.clone().unwrap_or_else(|| format!("{base}:{index}").into());
            let mut event = self.event(input, id, connection, now)?;
            if claim.is_some() {
                event.extras = with_user_claim(event.extras.take(), claim);
            }
            Ok(event)
        });
        let events = events.collect::<Result<_, ErrorInfo>>()?;
        Ok((key, events))
    }

    fn event(
        &self,
        input: PresenceInput,
        id: Box<str>,
        connection: &ConnectionId,
        now: Timestamp,
    ) -> Result<PresenceEvent, ErrorInfo> {
        let explicit = input.client_id.as_ref().map(|c| c.as_str());
        let client_id = resolve_message_client_id(&self.identity, explicit)?
            .ok_or_else(|| error::presence_needs_client_id(""))?;
        Ok(PresenceEvent {
            action: input.action,
            id,
            member: MemberKey { connection_id: connection.clone(), client_id },
            data: input.data,
            encoding: input.encoding,
            extras: input.extras,
            timestamp: now,
        })
    }
}
