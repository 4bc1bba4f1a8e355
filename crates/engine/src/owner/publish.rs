//! The path of a publish through its channel's owner: accepted, ordered, stored, committed.

use std::sync::Arc;

use fanfare_model::{
    Body, BodyKind, ChannelKey, ClientId, ConnectionId, Durability, ErrorInfo, Message, PresenceEvent,
    Record, error,
};
use fanfare_store::{Keep, StoreError};

use super::channel::{Channel, Staged, message_count};
use super::dedup::Verdict;
use super::{Owner, Published};
use crate::mail::{Mail, Origin};
use crate::session::Draft;
use crate::shared;

impl Owner {
    pub(super) fn publish(&mut self, key: ChannelKey, draft: Box<Draft>, origin: Origin) {
        let now = self.now;
        let channel = match self.channel(&key) {
            None => return self.answer(origin, Err(error::not_found("the app does not exist any more"))),
            Some(Channel { waiting: Some(waiting), .. }) => {
                return waiting.push(Mail::Publish { channel: key, draft, origin });
            }
            Some(channel) => channel,
        };
        if let Err(refusal) = check(&draft, channel) {
            return self.answer(origin, Err(refusal));
        }
        let origin = if draft.idempotent {
            match channel.dedup.check(&draft.id, origin, now.wall) {
                Verdict::New(origin) => origin,
                Verdict::Wait => return,
                Verdict::Repeat(origin, published) => return self.answer(origin, Ok(published)),
            }
        } else {
            origin
        };
        let idempotent = draft.idempotent;
        let record = record(*draft, channel.next_stamp(now), now.wall);
        if channel.stage(record, origin, idempotent, now) {
            self.dirty.push(key);
        }
    }

    pub(super) fn presence(&mut self, key: ChannelKey, events: Vec<PresenceEvent>, origin: Origin) {
        let now = self.now;
        let channel = match self.channel(&key) {
            None => return self.answer(origin, Err(error::not_found("the app does not exist any more"))),
            Some(Channel { waiting: Some(waiting), .. }) => {
                return waiting.push(Mail::Presence { channel: key, events, origin });
            }
            Some(channel) => channel,
        };
        let size: usize = events.iter().map(PresenceEvent::size).sum();
        let limits = &channel.app.limits;
        if size > limits.message_bytes_max {
            let refusal = too_large(size, limits.message_bytes_max);
            return self.answer(origin, Err(refusal));
        }
        match channel.members.apply(events, limits.presence_members_max) {
            Err(refusal) => self.answer(origin, Err(refusal)),
            Ok(told) if told.is_empty() => {
                let nothing_new = channel.published(channel.committed, 0);
                self.answer(origin, Ok(nothing_new));
            }
            Ok(told) => {
                let record = channel.presence_record(told, now);
                self.stage(&key, record, origin, false);
                self.members_changed(&key);
            }
        }
    }

    /// A connection is gone: its members leave by the server's word.
    pub(super) fn leave(&mut self, key: ChannelKey, connection: ConnectionId) {
        let now = self.now;
        let Some(channel) = self.channels.get_mut(&key) else { return };
        if let Some(waiting) = &mut channel.waiting {
            return waiting.push(Mail::Leave { channel: key, connection });
        }
        // Not the connection's own prefix: by that clients tell the server's word from the member's.
        let prefix = format!("left-{}", channel.next_stamp(now).0);
        let told = channel.members.leave(&connection, &prefix, now.wall);
        if !told.is_empty() {
            let record = channel.presence_record(told, now);
            self.stage(&key, record, Origin::Nobody, false);
            self.members_changed(&key);
        }
    }

    fn stage(&mut self, key: &ChannelKey, record: Record, origin: Origin, idempotent: bool) {
        let now = self.now;
        if self.channels.get_mut(key).is_some_and(|channel| channel.stage(record, origin, idempotent, now)) {
            self.dirty.push(key.clone());
        }
    }

    /// Commits what is staged, or hands it to the store when the channel is durable.
    pub(super) fn commit(&mut self, key: &ChannelKey) {
        let Some(channel) = self.channels.get_mut(key) else { return };
        channel.dirty = false;
        if channel.staged.is_empty() || channel.in_flight.is_some() {
            return;
        }
        let staged = std::mem::take(&mut channel.staged);
        let to_store: Vec<_> = match channel.durability {
            Durability::None | Durability::Tail => Vec::new(),
            // The last *message* is what this level keeps.
            Durability::PersistLast => stored(&staged).filter(|r| message_count(r) > 0).collect(),
            Durability::Persist => stored(&staged).collect(),
        };
        if to_store.is_empty() {
            return self.committed(key, staged);
        }
        let keep = if channel.durability == Durability::Persist { Keep::All } else { Keep::Last };
        let retention = channel.retention;
        channel.in_flight = Some(staged);
        self.appends.add(key, to_store, keep, retention);
    }

    pub(super) fn appended(&mut self, key: &ChannelKey, result: Result<(), StoreError>) {
        let Some(batch) = self.channels.get_mut(key).and_then(|c| c.in_flight.take()) else { return };
        match result {
            Ok(()) => self.committed(key, batch),
            Err(failure) => {
                let refusal = self.unavailable(&failure);
                self.not_stored(key, batch, &refusal);
            }
        }
        self.commit(key);
    }

    /// The batch is as durable as the channel's level says: it is answered, and goes out.
    fn committed(&mut self, key: &ChannelKey, batch: Vec<Staged>) {
        let Some(channel) = self.channels.get_mut(key) else { return };
        let mut records = Vec::with_capacity(batch.len());
        let mut answers = Vec::with_capacity(batch.len());
        let mut bytes = 0;
        for staged in batch {
            let record = staged.record;
            let published = channel.published(record.stamp, message_count(&record));
            if staged.idempotent {
                let waited = channel.dedup.committed(&record.id, published.clone());
                answers.extend(waited.into_iter().map(|origin| (origin, published.clone())));
            }
            channel.committed = record.stamp;
            if !record.ephemeral && channel.keeps_tail() {
                channel.tail.push(record.clone());
            }
            bytes += record.size() as u64;
            channel.traffic.published(&record, &staged.origin);
            answers.push((staged.origin, published));
            records.push(record);
        }
        if !channel.keeps_tail() {
            channel.tail.clear(channel.committed);
        }
        channel.tail.trim(&channel.app.limits, self.now);
        let counters = &self.shared.counters;
        shared::add(&counters.published, records.len() as u64);
        shared::add(&counters.published_bytes, bytes);
        self.activity_changed(key);
        self.deliver(key, records);
        for (origin, published) in answers {
            self.answer(origin, Ok(published));
        }
    }

    /// One mail to each worker that has subscribers, whatever the number of records.
    fn deliver(&mut self, key: &ChannelKey, records: Vec<Arc<Record>>) {
        let Some(channel) = self.channels.get(key) else { return };
        let epoch = channel.epoch.clone();
        let interest = channel.interest.clone();
        let mut records = Some(records);
        for (i, (worker, _)) in interest.iter().enumerate() {
            let last = i + 1 == interest.len();
            let records = if last { records.take() } else { records.clone() }.unwrap_or_default();
            self.post(*worker, Mail::Deliver { channel: key.clone(), epoch: epoch.clone(), records });
        }
    }

    /// Messages are refused and go nowhere. Presence has changed who is there, and the next one may
    /// rest on it: so it is told, though its asker learns that it was not stored.
    fn not_stored(&mut self, key: &ChannelKey, batch: Vec<Staged>, refusal: &ErrorInfo) {
        let mut told = Vec::new();
        for mut staged in batch {
            if staged.record.kind() == BodyKind::Presence {
                let origin = std::mem::replace(&mut staged.origin, Origin::Nobody);
                self.answer(origin, Err(refusal.clone()));
                told.push(staged);
                continue;
            }
            if staged.idempotent
                && let Some(channel) = self.channels.get_mut(key)
            {
                for origin in channel.dedup.failed(&staged.record.id) {
                    self.answer(origin, Err(refusal.clone()));
                }
            }
            self.answer(staged.origin, Err(refusal.clone()));
        }
        if !told.is_empty() {
            self.committed(key, told);
        }
    }

    pub(super) fn answer(&mut self, origin: Origin, result: Result<Published, ErrorInfo>) {
        match origin {
            Origin::Session { from, token } => {
                self.post(from.worker, Mail::Answered { to: from, token, result });
            }
            Origin::Reply(reply) => reply(result),
            Origin::Nobody => {}
        }
    }
}

/// The limits that hold whatever the protocol.
fn check(draft: &Draft, channel: &Channel) -> Result<(), ErrorInfo> {
    let limits = &channel.app.limits;
    if draft.messages.len() > limits.messages_per_publish_max {
        let most = limits.messages_per_publish_max;
        return Err(error::too_many_messages(format!("{} of at most {most}", draft.messages.len())));
    }
    let size: usize = draft.messages.iter().map(Message::size).sum();
    let size = size.saturating_sub(draft.uncounted);
    if size > limits.message_bytes_max {
        return Err(too_large(size, limits.message_bytes_max));
    }
    Ok(())
}

fn too_large(size: usize, max: usize) -> ErrorInfo {
    error::message_too_large(format!("{size} bytes, and the limit is {max}"))
}

fn record(draft: Draft, stamp: fanfare_model::Stamp, timestamp: fanfare_model::Timestamp) -> Record {
    Record {
        stamp,
        timestamp,
        id: draft.id,
        connection_id: draft.connection_id,
        body: Body::Messages(draft.messages),
        ephemeral: draft.ephemeral,
    }
}

fn stored(staged: &[Staged]) -> impl Iterator<Item = Arc<Record>> {
    staged.iter().map(|s| s.record.clone()).filter(|r| !r.ephemeral)
}

/// What is left of a record without one client's part; `None` when that is nothing.
pub(super) fn without_client(record: &Record, client: &ClientId) -> Option<Record> {
    let body = match &record.body {
        Body::Messages(messages) => {
            let left: Vec<_> =
                messages.iter().filter(|m| m.client_id.as_ref() != Some(client)).cloned().collect();
            (!left.is_empty()).then_some(Body::Messages(left))?
        }
        Body::Presence(events) => {
            let left: Vec<_> = events.iter().filter(|e| e.member.client_id != *client).cloned().collect();
            (!left.is_empty()).then_some(Body::Presence(left))?
        }
        unknown @ Body::Unknown { .. } => unknown.clone(),
    };
    Some(Record { body, ..record.clone() })
}
