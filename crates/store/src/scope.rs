//! Erasure: whose records, and what is left of a record when one client's part is taken out.

use fanfare_model::{AppId, Body, ChannelKey, ClientId, Record};

/// Whose records to remove.
#[derive(Clone, Debug)]
pub enum Scope {
    App(AppId),
    Channel(ChannelKey),
    /// In every channel of the app, what this client published: its messages out of each record, the
    /// record when nothing else is in it. Other clients' messages stay as they are read.
    Client {
        app: AppId,
        client: ClientId,
    },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// Records that are gone.
    pub records: u64,
    /// Messages and presence events that are gone, those in the records included.
    pub messages: u64,
}

impl Erased {
    pub fn add(&mut self, remainder: &Remainder) {
        self.records += u64::from(remainder.record.is_none());
        self.messages += remainder.removed;
    }
}

/// What is left of a record without one client.
#[derive(Debug)]
pub struct Remainder {
    /// `None` when nothing of anybody else's was in it.
    pub record: Option<Record>,
    /// Messages and presence events taken out.
    pub removed: u64,
}

/// The record without what `client` published. `None` when it has no part in it. A body of an unknown
/// kind cannot be looked into, and stays: the version that knows the kind must erase it.
pub fn without_client(record: &Record, client: &ClientId) -> Option<Remainder> {
    let (body, removed, left) = match &record.body {
        Body::Messages(messages) => {
            let mut kept = Vec::new();
            for (i, message) in
                messages.iter().enumerate().filter(|(_, m)| m.client_id.as_ref() != Some(client))
            {
                let mut message = message.clone();
                // Its id was its place in the record; a neighbour's removal must not change it.
                if kept.len() != i && message.id.is_none() {
                    message.id = Some(format!("{}:{i}", record.id).into());
                }
                kept.push(message);
            }
            let left = kept.len();
            (Body::Messages(kept), messages.len() - left, left)
        }
        Body::Presence(events) => {
            let kept: Vec<_> = events.iter().filter(|e| e.member.client_id != *client).cloned().collect();
            let left = kept.len();
            (Body::Presence(kept), events.len() - left, left)
        }
        Body::Unknown { .. } => return None,
    };
    let removed = (removed > 0).then_some(removed as u64)?;
    let record = (left > 0).then(|| Record {
        stamp: record.stamp,
        timestamp: record.timestamp,
        id: record.id.clone(),
        connection_id: record.connection_id.clone(),
        body,
        ephemeral: record.ephemeral,
    });
    Some(Remainder { record, removed })
}

/// Messages or presence events in a record; none in one whose kind is unknown.
pub fn messages_in(record: &Record) -> u64 {
    match &record.body {
        Body::Messages(messages) => messages.len() as u64,
        Body::Presence(events) => events.len() as u64,
        Body::Unknown { .. } => 0,
    }
}
