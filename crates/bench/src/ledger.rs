//! Who has received what: the checker of every scenario.
//!
//! For each subscriber and publisher it knows the next sequence number. In order is one comparison; anything
//! else goes to the slow side, which tells a loss from a reordering from a duplicate: a jump ahead opens a
//! hole, a number that fills a hole was late (order), a number that fills none was there before (duplicate),
//! and holes that stay are losses.

use std::collections::BTreeMap;
use std::ops::Range;

/// Everything that must be zero for a run to count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Faults {
    /// Messages that arrived after a later one of the same publisher.
    pub(crate) order: u64,
    pub(crate) duplicates: u64,
    /// Messages that never arrived, counted for each subscriber that missed one.
    pub(crate) losses: u64,
    /// Messages on a channel that the subscriber is not attached to.
    pub(crate) misrouted: u64,
    /// Payloads whose bytes changed.
    pub(crate) corrupt: u64,
    /// NACKs, ERRORs, connections closed by the server, ACKs out of order.
    pub(crate) errors: u64,
    /// A subscriber missed messages and was not told before the next one came.
    pub(crate) silent_gaps: u64,
}

impl Faults {
    pub(crate) fn any(&self) -> bool {
        *self != Self::default()
    }
}

pub(crate) struct Ledger {
    publishers: usize,
    /// The next sequence number for each subscriber and publisher, a subscriber's side by side.
    next: Vec<u64>,
    /// How far each subscriber is, holes included: what flow control waits for, so that a loss is reported
    /// at the end and does not stop the run.
    progress: Vec<u64>,
    deliveries: u64,
    holes: BTreeMap<usize, Vec<Range<u64>>>,
    pub(crate) faults: Faults,
}

/// What a delivery was. A jump names how many messages it passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    InOrder,
    Ahead { missed: u64 },
    Late,
    Duplicate,
}

impl Ledger {
    pub(crate) fn new(subscribers: usize, publishers: usize) -> Self {
        Self {
            publishers,
            next: vec![0; subscribers * publishers],
            progress: vec![0; subscribers],
            deliveries: 0,
            holes: BTreeMap::new(),
            faults: Faults::default(),
        }
    }

    /// Notes a delivery. Order and duplicates are counted here, losses in [`Ledger::close`].
    #[inline]
    pub(crate) fn deliver(&mut self, subscriber: usize, publisher: usize, seq: u64) -> Arrival {
        self.deliveries += 1;
        let slot = subscriber * self.publishers + publisher;
        if self.next[slot] == seq {
            self.next[slot] = seq + 1;
            self.progress[subscriber] += 1;
            return Arrival::InOrder;
        }
        self.out_of_line(slot, subscriber, seq)
    }

    #[cold]
    fn out_of_line(&mut self, slot: usize, subscriber: usize, seq: u64) -> Arrival {
        let next = self.next[slot];
        if seq > next {
            self.holes.entry(slot).or_default().push(next..seq);
            self.next[slot] = seq + 1;
            self.progress[subscriber] += seq + 1 - next;
            return Arrival::Ahead { missed: seq - next };
        }
        let holes = self.holes.entry(slot).or_default();
        let Some(at) = holes.iter().position(|hole| hole.contains(&seq)) else {
            self.faults.duplicates += 1;
            return Arrival::Duplicate;
        };
        let hole = holes.remove(at);
        holes.extend([hole.start..seq, seq + 1..hole.end].into_iter().filter(|part| !part.is_empty()));
        self.faults.order += 1;
        Arrival::Late
    }

    pub(crate) fn subscribers(&self) -> usize {
        self.progress.len()
    }

    pub(crate) fn deliveries(&self) -> u64 {
        self.deliveries
    }

    pub(crate) fn progress(&self, subscriber: usize) -> u64 {
        self.progress[subscriber]
    }

    /// How many messages of a publisher the subscriber missed, given how many were published.
    pub(crate) fn missing(&self, subscriber: usize, publisher: usize, published: u64) -> u64 {
        let slot = subscriber * self.publishers + publisher;
        let holes = self.holes.get(&slot).into_iter().flatten().map(|hole| hole.end - hole.start);
        holes.sum::<u64>() + published.saturating_sub(self.next[slot])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(seqs: &[u64], published: u64) -> (Faults, u64) {
        let mut ledger = Ledger::new(2, 2);
        for seq in seqs {
            ledger.deliver(1, 1, *seq);
        }
        (ledger.faults, ledger.missing(1, 1, published))
    }

    #[test]
    fn each_fault_is_told_from_the_others() {
        assert_eq!(run(&[0, 1, 2], 3), (Faults::default(), 0));
        assert_eq!(run(&[0, 2, 3], 4), (Faults::default(), 1));
        assert_eq!(run(&[0, 1], 5), (Faults::default(), 3));
        assert_eq!(run(&[0, 2, 1, 3], 4), (Faults { order: 1, ..Faults::default() }, 0));
        assert_eq!(run(&[0, 1, 1, 2], 3), (Faults { duplicates: 1, ..Faults::default() }, 0));
        assert_eq!(run(&[0, 5, 3, 3], 6), (Faults { order: 1, duplicates: 1, ..Faults::default() }, 3));
    }

    #[test]
    fn a_loss_does_not_hold_back_progress() {
        let mut ledger = Ledger::new(1, 1);
        assert_eq!(ledger.deliver(0, 0, 0), Arrival::InOrder);
        assert_eq!(ledger.deliver(0, 0, 4), Arrival::Ahead { missed: 3 });
        assert_eq!(ledger.progress(0), 5);
        assert_eq!(ledger.deliveries(), 2);
    }
}
