//! Carrying out what a session wants.

use std::cmp::Reverse;

use bytes::Bytes;

use super::Worker;
use super::sessions::{Asked, Attachment};
use crate::encode::{Content, FrameKind};
use crate::ids::SessionId;
use crate::mail::{AttachMail, Mail, MembersTo, Origin};
use crate::session::{Attach, Audience, Command, Event, Outputs, Roles, Session};

impl Worker {
    /// Calls the session, then carries out what it wants. Sessions are never called from here again:
    /// what concerns them waits as an event.
    pub(super) fn run(&mut self, id: SessionId, call: impl FnOnce(&mut dyn Session, &mut Outputs)) {
        let Some(entry) = self.sessions.get_mut(id.slot as usize) else { return };
        if entry.generation != id.generation {
            return;
        }
        call(&mut *entry.session, &mut self.outputs);
        let mut commands = std::mem::take(&mut self.outputs.commands);
        for command in commands.drain(..) {
            self.execute(id, command);
        }
        self.outputs.commands = commands;
    }

    fn execute(&mut self, id: SessionId, command: Command) {
        match command {
            Command::Text(payload) => self.answer(id, &payload, FrameKind::Text),
            Command::Binary(payload) => self.answer(id, &payload, FrameKind::Binary),
            Command::Attach(attach) => self.attach(id, *attach),
            Command::Detach(attachment) => self.detach(id, attachment),
            Command::Publish { channel, draft, token } => {
                let origin = self.asked(id, token);
                let mail = Mail::Publish { channel: channel.clone(), draft, origin };
                self.post_owner(&channel, mail);
            }
            Command::Presence { channel, events, token } => {
                let origin = self.asked(id, token);
                if let Some(entry) = self.entry(id)
                    && !entry.present_on.contains(&channel)
                {
                    entry.present_on.push(channel.clone());
                }
                let mail = Mail::Presence { channel: channel.clone(), events, origin };
                self.post_owner(&channel, mail);
            }
            Command::Leave { channel } => {
                let Some(entry) = self.entry(id) else { return };
                entry.present_on.retain(|c| *c != channel);
                if let Some(connection) = entry.session.connection_id().cloned() {
                    self.leave(vec![channel], &connection);
                }
            }
            Command::LeaveAll => {
                let Some(entry) = self.entry(id) else { return };
                let channels = std::mem::take(&mut entry.present_on);
                if let Some(connection) = entry.session.connection_id().cloned() {
                    self.leave(channels, &connection);
                }
            }
            other => self.execute_rare(id, other),
        }
    }

    fn execute_rare(&mut self, id: SessionId, command: Command) {
        match command {
            Command::Members(attachment) => {
                let to = self.reference(id);
                let Some(entry) = self.entry(id) else { return };
                let Some(attached) = entry.attachments.iter().find(|a| a.id == attachment) else { return };
                let channel = attached.channel.clone();
                let to = MembersTo::Session { to, attachment };
                self.post_owner(&channel.clone(), Mail::Members { channel, to });
            }
            Command::Claim { worker, connection, claim } => {
                if usize::from(worker.0) >= self.shared.mailboxes.len() {
                    return self.events.push_back((id, Event::Claimed(None)));
                }
                let mail = Mail::Claim { from: self.reference(id), connection, request: claim };
                if worker == self.me {
                    self.owner.local.push(mail);
                } else {
                    self.shared.post(worker, mail);
                }
            }
            Command::Answer { claim, state } => self.claim_answer(id, claim, state),
            Command::Identify(connection) => {
                let Some(entry) = self.entry(id) else { return };
                let inherited = std::mem::take(&mut entry.inherited);
                let before = entry.identified.replace(connection.clone());
                if let Some(before) = before.filter(|before| self.connections.get(before) == Some(&id)) {
                    self.connections.remove(&before);
                }
                self.connections.insert(connection, id);
                self.count_in(id);
                if !inherited {
                    self.connection_opened(id);
                }
            }
            Command::Inbound { messages, bytes } => {
                let Some(entry) = self.sessions.get(id.slot as usize) else { return };
                self.hub.meters.of(entry.session.app()).inbound(messages, bytes);
            }
            Command::WakeAt(at) => {
                let Some(entry) = self.entry(id) else { return };
                if entry.wake_at != Some(at) {
                    entry.wake_at = Some(at);
                    self.timers.push(Reverse((at, id.slot, id.generation)));
                }
            }
            Command::WantFlush => {
                if let Some(entry) = self.entry(id)
                    && !std::mem::replace(&mut entry.wants_flush, true)
                {
                    self.want_flush.push(id);
                }
            }
            Command::Close { code, reason } => {
                let Some(outbox) = self.entry(id).and_then(|e| e.outbox.take()) else { return };
                outbox.close(code, reason);
                self.fanned_out.to_flush.push(outbox);
                self.detach_all(id);
                self.count_out(id);
            }
            Command::End => self.end(id),
            _ => debug_assert!(false, "carried out above"),
        }
    }

    fn asked(&mut self, id: SessionId, token: u64) -> Origin {
        if let Some(entry) = self.entry(id) {
            entry.in_flight += 1;
        }
        Origin::Session { from: self.reference(id), token }
    }

    fn answer(&mut self, id: SessionId, payload: &[u8], kind: FrameKind) {
        let Some(entry) = self.entry(id) else { return };
        let Some(outbox) = entry.outbox.clone() else { return };
        let mut out = Vec::with_capacity(payload.len() + 16);
        let mark = entry.framing.begin(&mut out);
        out.extend_from_slice(payload);
        entry.framing.end(&mut out, mark, kind, Content::Answer);
        let pushed = outbox.answer(Bytes::from(out));
        self.pushed(&outbox, pushed);
    }

    fn attach(&mut self, id: SessionId, attach: Attach) {
        let audience = Audience { watches: attach.narrator.is_some(), ..attach.audience };
        let from = self.reference(id);
        let Some(entry) = self.entry(id) else { return };
        if entry.outbox.is_none() {
            return;
        }
        entry.next_nonce += 1;
        let nonce = entry.next_nonce;
        let connection = entry.session.connection_id().cloned();
        let asked = Asked { nonce, encoder: attach.encoder, roles: attach.roles, audience };
        let before = match entry.attachments.iter_mut().find(|a| a.id == attach.attachment) {
            Some(known) => {
                let before = counted(known);
                known.asked = Some(asked);
                Some(before)
            }
            None => {
                entry.attachments.push(Attachment {
                    id: attach.attachment,
                    channel: attach.channel.clone(),
                    roles: attach.roles,
                    audience,
                    place: None,
                    asked: Some(asked),
                });
                None
            }
        };
        let mail = AttachMail {
            from,
            connection,
            attachment: attach.attachment,
            nonce,
            channel: attach.channel.clone(),
            audience,
            roles: attach.roles,
            before,
            since: attach.since,
            narrator: attach.narrator,
        };
        self.post_owner(&attach.channel, Mail::Attach(Box::new(mail)));
    }
}

/// What the owner counts, or will count when the mail before this one arrives.
fn counted(attachment: &Attachment) -> (Roles, Audience) {
    match &attachment.asked {
        Some(asked) => (asked.roles, asked.audience),
        None => (attachment.roles, attachment.audience),
    }
}
