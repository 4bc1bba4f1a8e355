//! Ids that publishers chose, remembered for two minutes: a second publish of an id is answered with
//! the first one's result.

use std::collections::VecDeque;

use fanfare_model::Timestamp;

use crate::mail::Origin;
use crate::map::Map;
use crate::owner::Published;

/// More ids than this in the window and the oldest are forgotten early. At 100 bytes an id, about
/// 10 MB for the busiest channel.
const IDS_MAX: usize = 100_000;

#[derive(Default)]
pub(crate) struct Dedup {
    known: Map<Box<str>, Seen>,
    order: VecDeque<(Timestamp, Box<str>)>,
}

enum Seen {
    /// Accepted, not committed yet; these wait for the same answer.
    Pending(Vec<Origin>),
    Committed(Published),
}

pub(crate) enum Verdict {
    New(Origin),
    Repeat(Origin, Published),
    /// The first one is still on its way; the origin is kept and answered with it.
    Wait,
}

impl Dedup {
    pub(crate) fn check(&mut self, id: &str, origin: Origin, now: Timestamp) -> Verdict {
        match self.known.get_mut(id) {
            Some(Seen::Committed(published)) => Verdict::Repeat(origin, published.clone()),
            Some(Seen::Pending(waiting)) => {
                waiting.push(origin);
                Verdict::Wait
            }
            None => {
                self.known.insert(id.into(), Seen::Pending(Vec::new()));
                self.order.push_back((now, id.into()));
                if self.order.len() > IDS_MAX {
                    self.forget_first();
                }
                Verdict::New(origin)
            }
        }
    }

    /// The record of this id is committed; returns who else waited for it.
    pub(crate) fn committed(&mut self, id: &str, published: Published) -> Vec<Origin> {
        match self.known.get_mut(id) {
            Some(seen) => match std::mem::replace(seen, Seen::Committed(published)) {
                Seen::Pending(waiting) => waiting,
                Seen::Committed(_) => Vec::new(),
            },
            None => Vec::new(),
        }
    }

    /// The record of this id was not stored, so the id is free again.
    pub(crate) fn failed(&mut self, id: &str) -> Vec<Origin> {
        self.order.retain(|(_, known)| &**known != id);
        match self.known.remove(id) {
            Some(Seen::Pending(waiting)) => waiting,
            _ => Vec::new(),
        }
    }

    /// From the log, after a restart.
    pub(crate) fn remember(&mut self, id: &str, published: Published, at: Timestamp) {
        if self.known.insert(id.into(), Seen::Committed(published)).is_none() {
            self.order.push_back((at, id.into()));
        }
    }

    pub(crate) fn forget_before(&mut self, oldest: Timestamp) {
        // One that is on its way is looked at again when it is committed.
        while self.order.front().is_some_and(|(at, id)| *at < oldest && !self.is_pending(id)) {
            self.forget_first();
        }
        if self.order.is_empty() && self.known.capacity() > 64 {
            *self = Self::default();
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    fn is_pending(&self, id: &str) -> bool {
        matches!(self.known.get(id), Some(Seen::Pending(_)))
    }

    /// The oldest goes, unless it is on its way: then it keeps its place in the memory until it is not.
    fn forget_first(&mut self) {
        if let Some((at, id)) = self.order.pop_front() {
            if self.is_pending(&id) {
                self.order.push_back((at, id));
            } else {
                self.known.remove(&id);
            }
        }
    }
}
