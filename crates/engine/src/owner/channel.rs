//! One channel in the hands of its owner: its order, its tail, its members, and who listens where.

use std::sync::Arc;
use std::time::Duration;

use fanfare_model::{
    App, Body, BodyKind, ChannelKey, ConnectionId, Durability, Epoch, Now, PresenceEvent, Record, Stamp,
};
use smallvec::SmallVec;

use super::attach::{Fetch, Fetched};
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
    /// Attachments that watch the life of the app, and whether the workers know of them.
    pub(super) watchers: u32,
    pub(super) watched: bool,
    /// Whether watchers count the channel among the active ones.
    pub(super) told_active: bool,
    /// Mail that came before the store had answered; `None` once it has.
    pub(super) waiting: Option<Vec<Mail>>,
    /// The store's answer was a failure: of the channel only its attachments are known.
    pub(super) unloaded: bool,
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
    /// Stamps are given out after `floor`.
    pub(super) fn new(key: ChannelKey, app: Arc<App>, epoch: Epoch, floor: Stamp, now: Now) -> Self {
        let rule = app.rules.of(&key.name);
        let (durability, retention) = (rule.durability, rule.retention);
        let start = Stamp::at(now.wall).max(floor);
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
            watchers: 0,
            watched: false,
            told_active: false,
            waiting: durability.is_durable().then(Vec::new),
            unloaded: false,
            used_at: now.mono,
            dirty: false,
            traffic: Traffic::default(),
        }
    }

    /// What the store had. Called once, before anything is published.
    pub(super) fn load(&mut self, head: Option<Stamp>, recent: Vec<Arc<Record>>, now: Now) {
        // What the retention took was in the log once, and may have been the tail's.
        let since = Stamp::at(now.wall.saturating_sub(self.app.limits.tail_age_max.min(self.retention)));
        self.last = self.last.max(head.unwrap_or_default()).max(Stamp::at(now.wall));
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

    /// Returns whether the channel has to be committed at the turn's end, and nobody knew.
    pub(super) fn stage(&mut self, record: Record, origin: Origin, idempotent: bool, now: Now) -> bool {
        self.used_at = now.mono;
        self.staged.push(Staged { record: Arc::new(record), origin, idempotent });
        !std::mem::replace(&mut self.dirty, true)
    }

    /// The last stamp given out.
    pub(super) fn last_stamp(&self) -> Stamp {
        self.last
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
        if audience.watches {
            self.watchers = self.watchers.saturating_add_signed(by);
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
                None => Ok(self.rewound(*rewind, None, (audience, me), now)),
            },
        }
    }

    /// Whether the store has messages that the rewind wants and the tail does not have.
    fn fetch_for(&self, rewind: Rewind, now: Now) -> Option<Fetch> {
        if !self.durability.is_durable() {
            return None;
        }
        let kept_since = Stamp::at(now.wall.saturating_sub(self.retention));
        // One more than the most shows whether something was cut off.
        let most = self.app.limits.rewind_messages_max.saturating_add(1);
        let (from, limit) = match rewind {
            Rewind::Count(n) if self.messages_in_tail() < n.min(most) => (kept_since, n),
            Rewind::Time { age, limit } => {
                let from = Stamp::at(now.wall.saturating_sub(age));
                if from >= self.tail.complete_after() {
                    return None;
                }
                (from.max(kept_since), limit)
            }
            Rewind::Count(_) => return None,
        };
        Some(Fetch { from, to: self.committed, limit: limit.min(most) })
    }

    fn messages_in_tail(&self) -> usize {
        self.tail.all().map(|r| message_count(r)).sum()
    }

    /// The messages that a rewind asks for, from what was fetched and the tail.
    pub(super) fn rewound(
        &self,
        rewind: Rewind,
        fetched: Option<&Fetched>,
        (audience, me): (Audience, Option<&ConnectionId>),
        now: Now,
    ) -> (Continuity, Backlog) {
        let (from, asked) = match rewind {
            Rewind::Count(n) => (Stamp(0), n),
            Rewind::Time { age, limit } => (Stamp::at(now.wall.saturating_sub(age)), limit),
        };
        let limit = asked.min(self.app.limits.rewind_messages_max);
        // So much may have been committed since the read that the tail begins only after a hole.
        let whole = fetched.filter(|f| self.tail.complete_after() <= f.through);
        let missing = match fetched {
            Some(_) => whole.is_none(),
            None => {
                let kept_since = Stamp::at(now.wall.saturating_sub(self.app.limits.tail_age_max));
                !self.durability.is_durable() && self.tail.cut() >= from.max(kept_since)
            }
        };
        let first_in_tail = self.tail.all().next().map_or(Stamp(u64::MAX), |r| r.stamp);
        let older = whole.iter().flat_map(|f| &f.records).filter(|r| r.stamp < first_in_tail);
        let mut wanted: Vec<_> = older
            .chain(self.tail.all())
            .filter(|r| r.kind() == BodyKind::Messages && r.stamp >= from && r.stamp <= self.committed)
            .filter(|r| hears(audience, me, r))
            .cloned()
            .collect();
        let total: usize = wanted.iter().map(|r| message_count(r)).sum();
        let mut skip = total.saturating_sub(limit);
        // A limit that the client chose itself is no loss.
        let truncated = skip > 0 && limit < asked || missing && total < limit;
        let left_out = wanted.iter().take_while(|r| {
            let count = message_count(r);
            let all_of_it = skip >= count;
            skip -= if all_of_it { count } else { 0 };
            all_of_it
        });
        let left_out = left_out.count();
        wanted.drain(..left_out);
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
