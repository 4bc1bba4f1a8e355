//! A channel's life in memory: opened on first use, loaded, tended, forgotten when idle.

use std::sync::Arc;
use std::time::Duration;

use fanfare_model::{App, AppId, BodyKind, ChannelKey, ClientId, Durability, Record, Stamp};
use fanfare_store::{Direction, Query, StoreError};

use super::Owner;
use super::channel::Channel;
use super::publish::without_client;
use super::tail::Edit;
use crate::ids::WorkerId;
use crate::mail::{Loaded, Mail};
use crate::session::{Audience, Roles};
use crate::shared;
use crate::telemetry::{ChannelTraffic, Traffic};

/// Occupancy is told at most this often; the newest numbers always arrive.
const OCCUPANCY_INTERVAL: Duration = Duration::from_millis(200);

impl Owner {
    pub(super) fn open(&mut self, key: ChannelKey, app: Arc<App>) {
        let durable = app.rules.of(&key.name).durability.is_durable();
        let epoch = if durable { self.shared.store.epoch() } else { self.shared.memory_epoch.clone() };
        let channel = Channel::new(key.clone(), app, epoch, self.floor, self.now);
        if durable {
            self.load(&channel);
        }
        shared::add(&self.shared.counters.channels, 1);
        self.channels.insert(key, channel);
    }

    pub(super) fn load_again(&mut self, key: &ChannelKey) {
        if let Some(channel) = self.channels.get_mut(key) {
            channel.unloaded = false;
            channel.waiting = Some(Vec::new());
        }
        if let Some(channel) = self.channels.get(key) {
            self.load(channel);
        }
    }

    /// Asks the store, off the worker, for the channel's end and its last two minutes.
    fn load(&self, channel: &Channel) {
        let since = Stamp::at(self.now.wall.saturating_sub(channel.app.limits.tail_age_max));
        // One more than the tail takes, so that the tail is trimmed where the read was cut.
        let limit = channel.app.limits.tail_records_max.saturating_add(1);
        let (shared, me, key) = (self.shared.clone(), self.me, channel.key.clone());
        (self.shared.blocking)(Box::new(move || {
            let read = |kind| {
                let direction = Direction::Backwards;
                shared.store.read(&key, &Query { kind, from: since, to: Stamp(u64::MAX), direction, limit })
            };
            let loaded = (|| {
                let head = shared.store.head(&key)?.map(|h| h.last);
                let mut recent = read(BodyKind::Messages)?;
                recent.extend(read(BodyKind::Presence)?);
                recent.sort_by_key(|r| r.stamp);
                Ok(Loaded { head, recent })
            })();
            shared.post(me, Mail::Loaded { channel: key, loaded });
        }));
    }

    pub(super) fn loaded(&mut self, key: &ChannelKey, loaded: Result<Loaded, StoreError>) {
        let now = self.now;
        let Some(channel) = self.channels.get_mut(key) else { return };
        let waiting = channel.waiting.take().unwrap_or_default();
        match loaded {
            Ok(Loaded { head, recent }) => {
                channel.load(head, recent, now);
                for mail in waiting {
                    self.receive(mail);
                }
            }
            Err(failure) => {
                // Without its head the channel could give out a stamp twice: it stays closed, and the
                // next use tries again.
                channel.unloaded = true;
                let refusal = self.unavailable(&failure);
                for mail in waiting {
                    self.refuse_mail(mail, &refusal);
                }
                self.forget_unloaded(key);
            }
        }
    }

    fn refuse_mail(&mut self, mail: Mail, refusal: &fanfare_model::ErrorInfo) {
        match mail {
            Mail::Publish { origin, .. } | Mail::Presence { origin, .. } => {
                self.answer(origin, Err(refusal.clone()));
            }
            Mail::Attach(attach) => self.refuse_counted(&attach, refusal.clone()),
            other => {
                self.receive(other);
            }
        }
    }

    /// Of a channel that could not be loaded there is nothing to keep once nobody counts on it.
    fn forget_unloaded(&mut self, key: &ChannelKey) {
        if self.channels.get(key).is_some_and(|c| c.unloaded && c.interest.is_empty()) {
            self.channels.remove(key);
            shared::subtract(&self.shared.counters.channels, 1);
        }
    }

    pub(super) fn detach(&mut self, key: &ChannelKey, from: WorkerId, roles: Roles, audience: Audience) {
        let Some(channel) = self.channels.get_mut(key) else { return };
        if let Some(waiting) = &mut channel.waiting {
            return waiting.push(Mail::Detach { channel: key.clone(), from, roles, audience });
        }
        channel.used_at = self.now.mono;
        channel.remove_interest(from);
        channel.count(roles, audience, -1);
        self.watchers_changed(key, None);
        self.activity_changed(key);
        self.occupancy_changed(key);
        self.forget_unloaded(key);
    }

    pub(super) fn members_changed(&mut self, key: &ChannelKey) {
        if let Some(channel) = self.channels.get_mut(key) {
            channel.occupancy.presence_members = channel.members.len() as u32;
        }
        self.activity_changed(key);
        self.occupancy_changed(key);
    }

    pub(super) fn occupancy_changed(&mut self, key: &ChannelKey) {
        let watched = self.channels.get(key).is_some_and(|c| c.occupancy_watchers > 0);
        if watched && !self.occupancy_dirty.contains(key) {
            self.occupancy_dirty.push(key.clone());
        }
    }

    /// Tells watchers the new numbers, unless they were told a moment ago: then later.
    pub(super) fn tell_occupancy(&mut self) {
        let now = self.now.mono;
        for key in std::mem::take(&mut self.occupancy_dirty) {
            let Some(channel) = self.channels.get_mut(&key) else { continue };
            if channel.occupancy_told_at.is_some_and(|at| now.saturating_sub(at) < OCCUPANCY_INTERVAL) {
                self.occupancy_dirty.push(key);
                continue;
            }
            channel.occupancy_told_at = Some(now);
            let (occupancy, interest) = (channel.occupancy, channel.interest.clone());
            for (worker, _) in interest {
                self.post(worker, Mail::OccupancyChanged { channel: key.clone(), occupancy });
            }
        }
    }

    /// From time to time: tails and ids grow old, idle channels are forgotten.
    pub(crate) fn tend(&mut self) {
        let now = self.now;
        self.tell_occupancy();
        let before = self.channels.len();
        for channel in self.channels.values_mut() {
            let limits = &channel.app.limits;
            channel.tail.trim(limits, now);
            channel.dedup.forget_before(now.wall.saturating_sub(limits.idempotency_age_max));
        }
        self.tell_activity();
        let floor = &mut self.floor;
        self.channels.retain(|_, channel| {
            let idle = channel.is_idle(now);
            if idle {
                *floor = (*floor).max(channel.last_stamp());
            }
            !idle
        });
        shared::subtract(&self.shared.counters.channels, (before - self.channels.len()) as u64);
    }

    /// What was counted on the channels since it was asked for last.
    pub(crate) fn take_traffic(&mut self) -> ChannelTraffic {
        let counted = |c: &mut Channel| Some((c.key.clone(), c.traffic.take(c.occupancy.subscribers)?));
        self.channels.values_mut().filter_map(counted).collect()
    }

    /// Rules and limits may have changed. A channel whose durability changes begins a new life with
    /// its next use, once nothing is on its way in it.
    pub(crate) fn reconfigured(&mut self) {
        for channel in self.channels.values_mut() {
            if let Some(app) = self.shared.directory.app(&channel.key.app) {
                let rule = app.rules.of(&channel.key.name);
                if rule.durability.is_durable() == channel.durability.is_durable() {
                    channel.durability = rule.durability;
                }
                channel.retention = rule.retention;
                channel.app = app;
            }
        }
    }

    /// Removes an app's, a channel's or a client's records from the tails of this owner.
    pub(super) fn erase(&mut self, app: &AppId, only: Option<&ChannelKey>, client: Option<&ClientId>) -> u64 {
        let mut erased = 0;
        for channel in self.channels.values_mut() {
            if channel.key.app != *app || only.is_some_and(|key| *key != channel.key) {
                continue;
            }
            erased += channel.tail.edit(|record| match client {
                None => Edit::Remove,
                Some(client) => edit_out(record, client),
            });
            if only.is_none() && client.is_none() {
                channel.traffic = Traffic::default();
            }
            if let Some(client) = client {
                erased += channel.members.forget(client.as_str());
            }
            if channel.durability == Durability::None {
                channel.tail.clear(channel.committed);
            }
        }
        erased
    }
}

fn edit_out(record: &Arc<Record>, client: &ClientId) -> Edit {
    match without_client(record, client) {
        None => Edit::Remove,
        Some(left) if left == **record => Edit::Keep,
        Some(left) => Edit::Replace(left),
    }
}
