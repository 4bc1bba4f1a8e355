//! A record: one entry of a channel's log.

use crate::{ConnectionId, Message, PresenceEvent, Stamp, Timestamp};

/// One accepted publish, whole: its messages are stored, delivered and acknowledged together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The record's place in its channel.
    pub stamp: Stamp,
    pub timestamp: Timestamp,
    /// Unique in the channel. The id of message *i* is `id:i`, unless it has one of its own.
    pub id: Box<str>,
    /// The connection that published, or on whose behalf it was published over HTTP.
    pub connection_id: Option<ConnectionId>,
    pub body: Body,
    /// Delivered to those who are there now, and kept nowhere.
    pub ephemeral: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    Messages(Vec<Message>),
    Presence(Vec<PresenceEvent>),
    /// A kind that a newer version wrote. Kept and passed over.
    Unknown {
        kind: u8,
        bytes: bytes::Bytes,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BodyKind {
    Messages,
    Presence,
    Unknown,
}

impl Record {
    pub fn kind(&self) -> BodyKind {
        match self.body {
            Body::Messages(_) => BodyKind::Messages,
            Body::Presence(_) => BodyKind::Presence,
            Body::Unknown { .. } => BodyKind::Unknown,
        }
    }

    /// The user's bytes in it, as limits count them.
    pub fn size(&self) -> usize {
        match &self.body {
            Body::Messages(m) => m.iter().map(Message::size).sum(),
            Body::Presence(p) => p.iter().map(PresenceEvent::size).sum(),
            Body::Unknown { bytes, .. } => bytes.len(),
        }
    }
}
