//! A worker as the owner of channels: it orders, stores and commits what is published on them.

mod appends;
mod attach;
mod channel;
mod dedup;
mod lifecycle;
mod members;
mod publish;
mod tail;
mod watch;

use std::sync::Arc;

use fanfare_model::{ChannelKey, Epoch, ErrorInfo, Now, Stamp, error};
use fanfare_store::StoreError;

use crate::handle::ChannelStatus;
use crate::ids::WorkerId;
use crate::mail::{Mail, MembersTo, TailSnapshot};
use crate::map::Map;
use crate::session::Roles;
use crate::shared::{self, Shared};
use crate::watch::Watches;

use appends::Appends;
pub(crate) use attach::Fetched;
use channel::Channel;
pub(crate) use channel::hears;

/// Where a publish was committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    pub epoch: Epoch,
    pub stamp: Stamp,
    /// Messages in the record.
    pub count: u32,
}

/// Who is on a channel, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Occupancy {
    pub connections: u32,
    pub publishers: u32,
    pub subscribers: u32,
    pub presence_connections: u32,
    pub presence_members: u32,
    pub presence_subscribers: u32,
}

impl Occupancy {
    fn count(&mut self, roles: Roles, by: i32) {
        let add = |counter: &mut u32, applies: bool| {
            if applies {
                *counter = counter.saturating_add_signed(by);
            }
        };
        add(&mut self.connections, true);
        add(&mut self.publishers, roles.publisher);
        add(&mut self.subscribers, roles.subscriber);
        add(&mut self.presence_connections, roles.presence);
        add(&mut self.presence_subscribers, roles.presence_subscriber);
    }
}

pub(crate) struct Owner {
    me: WorkerId,
    shared: Arc<Shared>,
    now: Now,
    channels: Map<ChannelKey, Channel>,
    /// Channels with something staged, in the order of their first publish of the turn.
    dirty: Vec<ChannelKey>,
    occupancy_dirty: Vec<ChannelKey>,
    /// What the turn gives to the store.
    appends: Appends,
    /// No channel that was forgotten gave out a stamp after this one: the clock may be set back, and a
    /// channel that comes again must not repeat them.
    floor: Stamp,
    watches: Watches,
    /// Messages made for watchers, for their ids.
    narrated: u64,
    /// Mail to this worker itself, in order.
    pub(crate) local: Vec<Mail>,
}

impl Owner {
    pub(crate) fn new(me: WorkerId, shared: Arc<Shared>) -> Self {
        Self {
            me,
            shared,
            now: Now::default(),
            channels: Map::default(),
            dirty: Vec::new(),
            occupancy_dirty: Vec::new(),
            appends: Appends::default(),
            floor: Stamp(0),
            watches: Watches::default(),
            narrated: 0,
            local: Vec::new(),
        }
    }

    pub(crate) fn set_now(&mut self, now: Now) {
        self.now = now;
    }

    /// Mail for an owner; returns what is not.
    pub(crate) fn receive(&mut self, mail: Mail) -> Option<Mail> {
        match mail {
            Mail::Publish { channel, draft, origin } => self.publish(channel, draft, origin),
            Mail::Presence { channel, events, origin } => self.presence(channel, events, origin),
            Mail::Leave { channel, connection } => self.leave(channel, connection),
            Mail::Attach(attach) => self.attach(attach),
            Mail::AttachFetched { attach, fetched } => self.attach_fetched(attach, fetched),
            Mail::Detach { channel, from, roles, audience } => self.detach(&channel, from, roles, audience),
            Mail::Members { channel, to } => self.members(channel, to),
            Mail::Status { channel, reply } => reply(self.status(&channel)),
            Mail::Tail { channel, reply } => reply(self.tail(&channel)),
            Mail::Loaded { channel, loaded } => self.loaded(&channel, loaded),
            Mail::Appended(results) => {
                results.into_iter().for_each(|(channel, result)| self.appended(&channel, result));
            }
            Mail::Erase { app, channel, client, reply } => {
                reply(self.erase(&app, channel.as_ref(), client.as_ref()))
            }
            Mail::Watch { channel, narrator } => self.watch(channel, narrator),
            Mail::Channels { app, prefix, reply } => reply(self.list(&app, &prefix)),
            other => return Some(other),
        }
        None
    }

    /// Ends a turn: what was published in it is committed, or handed to the store.
    pub(crate) fn turn(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for key in dirty.drain(..) {
            self.commit(&key);
        }
        if self.dirty.is_empty() {
            self.dirty = dirty;
        }
        self.appends.send(&self.shared, self.me);
        self.tell_occupancy();
    }

    /// Whether something waits for the end of a turn.
    pub(crate) fn has_staged(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// The channel, made if need be. `None` when its app is gone.
    fn channel(&mut self, key: &ChannelKey) -> Option<&mut Channel> {
        if !self.channels.contains_key(key) {
            let app = self.shared.directory.app(&key.app)?;
            self.open(key.clone(), app);
        }
        if self.channels.get(key).is_some_and(|channel| channel.unloaded) {
            self.load_again(key);
        }
        self.channels.get_mut(key)
    }

    fn post(&mut self, to: WorkerId, mail: Mail) {
        if to == self.me {
            self.local.push(mail);
        } else {
            self.shared.post(to, mail);
        }
    }

    fn unavailable(&self, failure: &StoreError) -> ErrorInfo {
        shared::add(&self.shared.counters.store_failures, 1);
        tracing::error!(%failure, "the store refused");
        match failure {
            StoreError::Unavailable(_) => error::unavailable("messages cannot be stored now, please retry"),
            StoreError::Corrupt(_) => error::internal("stored messages of this channel are damaged"),
        }
    }

    fn members(&mut self, channel: ChannelKey, to: MembersTo) {
        match self.channels.get_mut(&channel) {
            Some(Channel { waiting: Some(waiting), .. }) => waiting.push(Mail::Members { channel, to }),
            known => {
                let members = known.map(|c| c.members.all()).unwrap_or_default();
                match to {
                    MembersTo::Reply(reply) => reply(members),
                    MembersTo::Session { to, attachment } => {
                        self.post(to.worker, Mail::MembersAre { to, attachment, members });
                    }
                }
            }
        }
    }

    fn status(&self, key: &ChannelKey) -> ChannelStatus {
        let channel = self.channels.get(key);
        ChannelStatus {
            name: key.name.clone(),
            active: channel.is_some_and(Channel::is_active),
            occupancy: channel.map(|c| c.occupancy).unwrap_or_default(),
        }
    }

    fn list(&self, app: &fanfare_model::AppId, prefix: &str) -> Vec<ChannelStatus> {
        let matching = self
            .channels
            .values()
            .filter(|c| c.key.app == *app && c.key.name.as_str().starts_with(prefix) && c.is_active());
        matching.map(|c| self.status(&c.key)).collect()
    }

    fn tail(&self, key: &ChannelKey) -> TailSnapshot {
        match self.channels.get(key) {
            Some(channel) => TailSnapshot {
                epoch: channel.epoch.clone(),
                records: channel.tail.all().cloned().collect(),
                position: channel.committed,
            },
            None => TailSnapshot {
                epoch: self.shared.memory_epoch.clone(),
                records: Vec::new(),
                position: Stamp::at(self.now.wall),
            },
        }
    }
}
