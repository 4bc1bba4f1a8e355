//! Who is present on a channel.

use std::collections::BTreeMap;
use std::sync::Arc;

use fanfare_model::{ConnectionId, ErrorInfo, MemberKey, PresenceAction, PresenceEvent, Timestamp, error};

/// Members in the order of their keys, so that pages of a sync do not shift.
#[derive(Default)]
pub(crate) struct Members {
    members: BTreeMap<MemberKey, Arc<PresenceEvent>>,
}

impl Members {
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(crate) fn all(&self) -> Vec<Arc<PresenceEvent>> {
        self.members.values().cloned().collect()
    }

    /// Applies what a client said, all of it or nothing, and returns what is to be told to others.
    /// An update by someone who is not there is an enter; a leave by someone who is not there is no
    /// event.
    pub(crate) fn apply(
        &mut self,
        events: Vec<PresenceEvent>,
        members_max: usize,
    ) -> Result<Vec<PresenceEvent>, ErrorInfo> {
        let entering = events
            .iter()
            .filter(|e| e.action != PresenceAction::Leave && !self.members.contains_key(&e.member))
            .count();
        if entering > 0 && self.members.len() + entering > members_max {
            return Err(error::too_many_members(format!("this channel takes {members_max}")));
        }
        Ok(events.into_iter().filter_map(|event| self.apply_one(event)).collect())
    }

    fn apply_one(&mut self, mut event: PresenceEvent) -> Option<PresenceEvent> {
        if event.action == PresenceAction::Leave {
            let member = self.members.remove(&event.member)?;
            // A leave that says nothing carries what the member last said.
            if event.data.is_empty() && event.encoding.is_none() {
                event.data = member.data.clone();
                event.encoding = member.encoding.clone();
            }
            return Some(event);
        }
        if !self.members.contains_key(&event.member) {
            event.action = PresenceAction::Enter;
        }
        self.members.insert(event.member.clone(), Arc::new(event.clone()));
        Some(event)
    }

    /// The server's own word that a connection's members are gone.
    pub(crate) fn leave(
        &mut self,
        connection: &ConnectionId,
        id_prefix: &str,
        now: Timestamp,
    ) -> Vec<PresenceEvent> {
        let gone: Vec<MemberKey> =
            self.members.keys().filter(|k| k.connection_id == *connection).cloned().collect();
        gone.into_iter()
            .filter_map(|key| self.members.remove(&key))
            .enumerate()
            .map(|(index, member)| PresenceEvent {
                action: PresenceAction::Leave,
                id: format!("{id_prefix}:0:{index}").into(),
                timestamp: now,
                ..PresenceEvent::clone(&member)
            })
            .collect()
    }

    /// Takes one client out without a word: its data is being erased.
    pub(crate) fn forget(&mut self, client: &str) -> u64 {
        let before = self.members.len();
        self.members.retain(|k, _| k.client_id.as_str() != client);
        (before - self.members.len()) as u64
    }
}
