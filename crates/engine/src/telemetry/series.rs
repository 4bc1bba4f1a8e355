//! A row of equal stretches of time, the newest last.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use fanfare_model::{CountryCode, Timestamp};

use super::Counts;

pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const HOUR: Duration = Duration::from_secs(3_600);
pub(super) const DAY: Duration = Duration::from_secs(86_400);

pub(super) struct Series {
    width: Duration,
    kept: Duration,
    /// Ascending, without those in which nothing happened.
    slots: VecDeque<Slot>,
}

pub(super) struct Slot {
    pub(super) start: Timestamp,
    pub(super) counts: Counts,
    /// As many as there are countries, at most.
    pub(super) countries: BTreeMap<Option<CountryCode>, u64>,
}

pub(super) fn floor(time: Timestamp, width: Duration) -> Timestamp {
    let width = width.as_millis() as i64;
    Timestamp(time.0.div_euclid(width) * width)
}

impl Series {
    pub(super) fn new(width: Duration, kept: Duration) -> Self {
        Self { width, kept, slots: VecDeque::new() }
    }

    pub(super) fn width(&self) -> Duration {
        self.width
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The start of the oldest slot that is kept.
    pub(super) fn oldest(&self, now: Timestamp) -> Timestamp {
        floor(now.saturating_sub(self.kept), self.width)
    }

    /// The slot that `now` falls into. When the clock has gone back, what was counted ahead of it is
    /// counted here: nothing is lost, and nothing stays in the future.
    pub(super) fn at(&mut self, now: Timestamp) -> &mut Slot {
        let start = floor(now, self.width);
        let mut ahead = Vec::new();
        // One slot ahead is another worker that looked at the clock a moment later.
        while self.slots.back().is_some_and(|slot| slot.start > start + self.width) {
            ahead.extend(self.slots.pop_back());
        }
        let at = self.slots.partition_point(|slot| slot.start < start);
        if self.slots.get(at).is_none_or(|slot| slot.start != start) {
            let slot = Slot { start, counts: Counts::default(), countries: BTreeMap::new() };
            self.slots.insert(at, slot);
        }
        let slot = &mut self.slots[at];
        for ahead in ahead {
            slot.counts.add(&ahead.counts);
            for (country, opened) in ahead.countries {
                *slot.countries.entry(country).or_default() += opened;
            }
        }
        slot
    }

    pub(super) fn trim(&mut self, now: Timestamp) {
        let oldest = self.oldest(now);
        while self.slots.front().is_some_and(|slot| slot.start < oldest) {
            self.slots.pop_front();
        }
    }

    /// The slots that overlap `since..until`.
    pub(super) fn between(&self, since: Timestamp, until: Timestamp) -> impl Iterator<Item = &Slot> {
        self.slots.iter().filter(move |slot| slot.start + self.width > since && slot.start < until)
    }
}
