//! Presence: who is on a channel, and the events by which that changes.

use crate::{ClientId, ConnectionId, Data, RawValue, Timestamp};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PresenceAction {
    Enter,
    Update,
    Leave,
}

/// A member is a client on a connection: the same client on two connections is two members.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemberKey {
    pub connection_id: ConnectionId,
    pub client_id: ClientId,
}

/// One change of one member, and (the last one) the member's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresenceEvent {
    pub action: PresenceAction,
    /// `connectionId:msgSerial:index` for what a connection said itself. A leave that the server made
    /// has another prefix, by which clients tell them apart.
    pub id: Box<str>,
    pub member: MemberKey,
    pub data: Data,
    pub encoding: Option<Box<str>>,
    pub extras: Option<RawValue>,
    pub timestamp: Timestamp,
}

impl PresenceEvent {
    pub fn size(&self) -> usize {
        self.member.client_id.as_str().len() + self.data.len() + self.extras.as_ref().map_or(0, RawValue::len)
    }
}
