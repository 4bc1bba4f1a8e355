//! A day's busiest topics, or publishers' networks, in bounded memory.
//!
//! Up to twice as many names as are kept are counted exactly. When there are more, the lesser half is
//! let go, and the most that any of them could have had is remembered: a name that appears later may
//! have been among them, and says so by that much. A name that stays is exact.

use std::collections::HashMap;

use super::{Topic, Traffic};

/// Names of one app and day that are sure to be kept; twice as many are while there is room.
pub(super) const NAMES_KEPT: usize = 256;

#[derive(Default)]
pub(super) struct Ranking {
    entries: HashMap<Box<str>, Entry>,
    /// The most messages that a name that was let go can have had.
    missed_max: u64,
}

#[derive(Clone, Copy, Default)]
struct Entry {
    messages: u64,
    bytes: u64,
    subscribers_peak: u32,
    missed_max: u64,
}

impl Entry {
    /// No name had more than this.
    fn at_most(&self) -> u64 {
        self.messages + self.missed_max
    }
}

impl Ranking {
    pub(super) fn add(&mut self, name: &str, traffic: &Traffic) {
        let entry = match self.entries.get_mut(name) {
            Some(entry) => entry,
            // Who only listens makes nothing busy.
            None if traffic.messages() == 0 => return,
            None => {
                self.make_room();
                let entry = Entry { missed_max: self.missed_max, ..Entry::default() };
                self.entries.entry(name.into()).or_insert(entry)
            }
        };
        entry.messages += traffic.messages();
        entry.bytes += traffic.bytes;
        entry.subscribers_peak = entry.subscribers_peak.max(traffic.subscribers_peak);
    }

    fn make_room(&mut self) {
        if self.entries.len() < 2 * NAMES_KEPT {
            return;
        }
        let mut all: Vec<_> = self.entries.drain().collect();
        all.select_nth_unstable_by_key(NAMES_KEPT, |(_, entry)| std::cmp::Reverse(entry.at_most()));
        // The first of the lesser half is the largest of it.
        self.missed_max = self.missed_max.max(all[NAMES_KEPT].1.at_most());
        all.truncate(NAMES_KEPT);
        self.entries.extend(all);
    }
}

/// The names of some days as one list, the busiest first.
pub(super) fn merged<'a>(days: impl Iterator<Item = &'a Ranking>) -> Vec<Topic> {
    let mut all: HashMap<&str, Entry> = HashMap::new();
    for (name, entry) in days.flat_map(|day| &day.entries) {
        let sum = all.entry(name).or_default();
        sum.messages += entry.messages;
        sum.bytes += entry.bytes;
        sum.subscribers_peak = sum.subscribers_peak.max(entry.subscribers_peak);
        sum.missed_max += entry.missed_max;
    }
    let mut topics: Vec<_> = all
        .into_iter()
        .map(|(name, entry)| Topic {
            name: name.into(),
            messages: entry.messages,
            bytes: entry.bytes,
            subscribers_peak: entry.subscribers_peak,
            missed_max: entry.missed_max,
        })
        .collect();
    topics.sort_by(|a, b| b.messages.cmp(&a.messages).then_with(|| a.name.cmp(&b.name)));
    topics
}
