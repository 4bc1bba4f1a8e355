//! One channel in the hands of its owner: its order, its tail, its members, and who listens where.

use std::sync::Arc;
use std::time::Duration;

use fanfare_model::{
    App, Body, BodyKind, ChannelKey, ConnectionId, Durability, Epoch, Now, PresenceEvent, Record, Stamp,
};
use smallvec::SmallVec;

use super::attach::Fetch;
use super::dedup::Dedup;
use super::members::Members;
use super::tail::Tail;
use super::{Occupancy, Published};
use crate::ids::WorkerId;
use crate::mail::{Backlog, Mail, Origin};
use crate::session::{Audience, Continuity, Rewind, Roles, Since};
use crate::telemetry::Traffic;

pub(super) struct Channel {
    pub(super) key: ChannelKey,
    /// The app as it was configured when the channel was made, or last reconfigured.
    pub(super) app: Arc<App>,
    pub(super) epoch: Epoch,
    pub(super) durability: Durability,
    pub(super) retention: Duration,
    /// The last stamp given out.
    last: Stamp,
    /// The last stamp that subscribers may have seen.
    pub(super) committed: Stamp,
    pub(super) staged: Vec<Staged>,
    /// What the store is making durable now. What arrives meanwhile is staged: the next batch.
    pub(super) in_flight: Option<Vec<Staged>>,
    pub(super) tail: Tail,
    pub(super) members: Members,
    pub(super) dedup: Dedup,
    /// Attachments on each worker.
    pub(super) interest: SmallVec<[(WorkerId, u32); 2]>,
    pub(super) occupancy: Occupancy,
    pub(super) occupancy_watchers: u32,
    pub(super) occupancy_told_at: Option<Duration>,
    /// Mail that came before the store had answered; `None` once it has.
    pub(super) waiting: Option<Vec<Mail>>,
    pub(super) used_at: Duration,
    pub(super) dirty: bool,
    pub(super) traffic: Traffic,
}

/// Accepted and in order, not committed yet.
pub(super) struct Staged {
    pub(super) record: Arc<Record>,
    pub(super) origin: Origin,
    pub(super) idempotent: bool,
}

impl Channel {
    pub(super) fn new(key: ChannelKey, app: Arc<App>, epoch: Epoch, now: Now) -> Self {
        let rule = app.rules.of(&key.name);
        let (durability, retention) = (rule.durability, rule.retention);
        let start = Stamp::at(now.wall);
        Self {
            key,
            app,
            epoch,
            durability,
            retention,
            last: start,
            committed: start,
            staged: Vec::new(),
            in_flight: None,
            tail: Tail::new(start),
            members: Members::default(),
            dedup: Dedup::default(),
            interest: SmallVec::new(),
            occupancy: Occupancy::default(),
            occupancy_watchers: 0,
            occupancy_told_at: None,
            waiting: durability.is_durable().then(Vec::new),
            used_at: now.mono,
            dirty: false,
            traffic: Traffic::default(),
        }
    }

    /// What the store had. Called once, before anything is published.
    pub(super) fn load(&mut self, head: Option<Stamp>, recent: Vec<Arc<Record>>, now: Now) {
        let since = Stamp::at(now.wall.saturating_sub(self.app.limits.tail_age_max));
        self.last = head.unwrap_or_default().max(Stamp::at(now.wall));
        self.committed = self.last;
        self.tail = Tail::new(match self.durability {
            Durability::Persist => since,
            // Of overwritten records nothing is known.
            _ => self.last,
        });
        for record in recent {
            if let Body::Messages(messages) = &record.body {
                let published = self.published(record.stamp, messages.len());
                self.dedup.remember(&record.id, published, record.timestamp);
            }
            self.tail.push(record);
        }
        self.tail.trim(&self.app.limits, now);
    }

    pub(super) fn next_stamp(&mut self, now: Now) -> Stamp {
        self.last = self.last.next(now.wall);
        self.last
    }

    pub(super) fn published(&self, stamp: Stamp, count: usize) -> Published {
        Published { epoch: self.epoch.clone(), stamp, count: count as u32 }
    }

    pub(super) fn keeps_tail(&self) -> bool {
        self.durability != Durability::None
    }

    /// Whether the channel can be forgotten: nobody is there, and nothing in it could be asked for.
    pub(super) fn is_idle(&self, now: Now) -> bool {
        self.interest.is_empty()
            && self.members.is_empty()
            && self.staged.is_empty()
            && self.in_flight.is_none()
            && self.waiting.is_none()
            && self.tail.is_empty()
            && self.dedup.is_empty()
            && now.mono.saturating_sub(self.used_at) > self.app.limits.tail_age_max
    }

    pub(super) fn is_active(&self) -> bool {
        !self.interest.is_empty() || !self.members.is_empty() || !self.tail.is_empty()
    }

    pub(super) fn add_interest(&mut self, worker: WorkerId) {
        match self.interest.iter_mut().find(|(w, _)| *w == worker) {
            Some((_, count)) => *count += 1,
            None => self.interest.push((worker, 1)),
        }
    }

    pub(super) fn remove_interest(&mut self, worker: WorkerId) {
        if let Some(at) = self.interest.iter().position(|(w, _)| *w == worker) {
            self.interest[at].1 -= 1;
            if self.interest[at].1 == 0 {
                self.interest.swap_remove(at);
            }
        }
    }

    /// Counts an attachment in (`+1`) or out (`-1`).
    pub(super) fn count(&mut self, roles: Roles, audience: Audience, by: i32) {
        self.occupancy.count(roles, by);
        if by > 0 {
            self.traffic.subscribed(self.occupancy.subscribers);
        }
        if audience.occupancy {
            self.occupancy_watchers = self.occupancy_watchers.saturating_add_signed(by);
        }
    }

    /// What is in memory of what the attachment asks for, or what must be fetched first.
    pub(super) fn backlog(
        &self,
        since: &Since,
        audience: Audience,
        me: Option<&ConnectionId>,
        now: Now,
    ) -> Result<(Continuity, Backlog), Fetch> {
        match since {
            Since::Now => Ok((Continuity::Fresh, Backlog::default())),
            Since::Unknown => Ok((Continuity::Lost, Backlog::default())),
            Since::Serial(serial) => {
                let known = serial.epoch == self.epoch
                    && serial.stamp >= self.tail.complete_after()
                    && serial.stamp <= self.committed;
                if !known {
                    return Ok((Continuity::Lost, Backlog::default()));
                }
                let heard = |r: &&Arc<Record>| r.stamp <= self.committed && hears(audience, me, r);
                let records = self.tail.after(serial.stamp).filter(heard).cloned().collect();
                Ok((Continuity::Kept, Backlog { records, skip: 0 }))
            }
            Since::Rewind(rewind) => match self.fetch_for(*rewind, now) {
                Some(fetch) => Err(fetch),
                None => Ok(self.rewound(*rewind, &[], (audience, me), now)),
            },
        }
    }

    /// Whether the store has messages that the rewind wants and the tail does not have.
    fn fetch_for(&self, rewind: Rewind, now: Now) -> Option<Fetch> {
        if !self.durability.is_durable() {
            return None;
        }
        let kept_since = Stamp::at(now.wall.saturating_sub(self.retention));
        let (from, limit) = match rewind {
            Rewind::Count(n) if self.messages_in_tail() < n => (kept_since, n),
            Rewind::Time { age, limit } => {
                let from = Stamp::at(now.wall.saturating_sub(age));
                if from >= self.tail.complete_after() {
                    return None;
                }
                // One more than the limit shows whether the limit cut something off.
                (from.max(kept_since), limit + 1)
            }
            Rewind::Count(_) => return None,
        };
        Some(Fetch { from, to: self.committed, limit })
    }

    fn messages_in_tail(&self) -> usize {
        self.tail.all().map(|r| message_count(r)).sum()
    }

    /// The messages that a rewind asks for, from what was fetched and the tail.
    pub(super) fn rewound(
        &self,
        rewind: Rewind,
        fetched: &[Arc<Record>],
        (audience, me): (Audience, Option<&ConnectionId>),
        now: Now,
    ) -> (Continuity, Backlog) {
        let first_in_tail = self.tail.all().next().map_or(Stamp(u64::MAX), |r| r.stamp);
        let older = fetched.iter().filter(|r| r.stamp < first_in_tail);
        let (from, limit) = match rewind {
            Rewind::Count(n) => (Stamp(0), n),
            Rewind::Time { age, limit } => (Stamp::at(now.wall.saturating_sub(age)), limit),
        };
        let mut wanted: Vec<_> = older
            .chain(self.tail.all())
            .filter(|r| r.kind() == BodyKind::Messages && r.stamp >= from && r.stamp <= self.committed)
            .filter(|r| hears(audience, me, r))
            .cloned()
            .collect();
        let total: usize = wanted.iter().map(|r| message_count(r)).sum();
        let mut skip = total.saturating_sub(limit);
        let truncated = skip > 0 && matches!(rewind, Rewind::Time { .. });
        let whole = wanted.iter().take_while(|r| {
            let count = message_count(r);
            let left_out = skip >= count;
            skip -= if left_out { count } else { 0 };
            left_out
        });
        let whole = whole.count();
        wanted.drain(..whole);
        let continuity = if truncated { Continuity::Truncated } else { Continuity::Fresh };
        (continuity, Backlog { records: wanted, skip })
    }

    /// Stages presence events that have been applied.
    pub(super) fn presence_record(&mut self, events: Vec<PresenceEvent>, now: Now) -> Record {
        let stamp = self.next_stamp(now);
        let id = events.first().map_or("", |e| e.id.rsplit_once(':').map_or(&*e.id, |(base, _)| base));
        Record {
            stamp,
            timestamp: now.wall,
            id: id.into(),
            connection_id: events.first().map(|e| e.member.connection_id.clone()),
            body: Body::Presence(events),
            ephemeral: false,
        }
    }
}

pub(super) fn message_count(record: &Record) -> usize {
    match &record.body {
        Body::Messages(messages) => messages.len(),
        _ => 0,
    }
}

/// Whether an attachment of connection `me` is to be given the record.
pub(crate) fn hears(audience: Audience, me: Option<&ConnectionId>, record: &Record) -> bool {
    let own = me.is_some() && record.connection_id.as_ref() == me;
    match record.kind() {
        BodyKind::Messages => audience.messages && (audience.echo || !own),
        BodyKind::Presence => audience.presence || own,
        BodyKind::Unknown => false,
    }
}
