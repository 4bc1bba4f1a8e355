//! Acknowledgements: in the order of msgSerials, and the same again for what is sent again.

use std::collections::VecDeque;

use fanfare_engine::Published;
use fanfare_model::ErrorInfo;

use crate::wire::{self, Format, Receipt};

/// Results that are remembered: as many as a client may have unacknowledged.
const RESULTS_MAX: usize = 1_024;
/// Serials of messages in one ACK; past it another one begins.
const SERIALS_PER_ACK_MAX: usize = 4_096;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// There is nothing to tell of it.
    Accepted,
    Published(Published),
    Refused(Box<ErrorInfo>),
}

impl From<Result<Published, ErrorInfo>> for Outcome {
    fn from(result: Result<Published, ErrorInfo>) -> Self {
        match result {
            Ok(published) if published.count == 0 => Self::Accepted,
            Ok(published) => Self::Published(published),
            Err(refusal) => Self::Refused(Box::new(refusal)),
        }
    }
}

pub(super) type Settled = (i64, Outcome);

struct Slot {
    serial: i64,
    outcome: Option<Outcome>,
    /// It was answered before, and is remembered already.
    again: bool,
}

pub(super) struct Acks {
    last_seen: i64,
    /// Not answered yet, in the order of arrival.
    pending: VecDeque<Slot>,
    /// Answered, with rising serials.
    results: VecDeque<Settled>,
}

impl Default for Acks {
    fn default() -> Self {
        Self { last_seen: -1, pending: VecDeque::new(), results: VecDeque::new() }
    }
}

impl Acks {
    /// As they were on the connection's earlier transport, with nothing pending.
    pub(super) fn carried(last_seen: i64, results: VecDeque<Settled>) -> Self {
        Self { last_seen, pending: VecDeque::new(), results }
    }

    pub(super) fn carry(&mut self) -> (i64, VecDeque<Settled>) {
        (self.last_seen, std::mem::take(&mut self.results))
    }

    /// Whether this serial is new, and so to be worked on. Of one that is not, the answer is repeated; what it was
    /// may be forgotten, but not that it was.
    pub(super) fn receive(&mut self, serial: i64) -> bool {
        if serial > self.last_seen {
            self.last_seen = serial;
            self.pending.push_back(Slot { serial, outcome: None, again: false });
            return true;
        }
        if self.pending.iter().all(|slot| slot.serial != serial) {
            let known = self.results.binary_search_by_key(&serial, |(serial, _)| *serial);
            let outcome = known.map_or(Outcome::Accepted, |at| self.results[at].1.clone());
            self.pending.push_back(Slot { serial, outcome: Some(outcome), again: true });
        }
        false
    }

    pub(super) fn settle(&mut self, serial: i64, outcome: Outcome) {
        if let Some(slot) = self.pending.iter_mut().find(|slot| slot.serial == serial) {
            slot.outcome = Some(outcome);
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.pending.front().is_some_and(|slot| slot.outcome.is_some())
    }

    /// Whether everything was answered.
    pub(super) fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }

    /// What can be answered now. It is remembered, too.
    pub(super) fn take_ready(&mut self) -> Vec<Settled> {
        let mut ready = Vec::new();
        while self.is_ready() {
            let Some(Slot { serial, outcome: Some(outcome), again }) = self.pending.pop_front() else {
                break;
            };
            if !again {
                if self.results.len() == RESULTS_MAX {
                    self.results.pop_front();
                }
                self.results.push_back((serial, outcome.clone()));
            }
            ready.push((serial, outcome));
        }
        if self.pending.is_empty() && self.pending.capacity() > 64 {
            self.pending = VecDeque::new();
        }
        ready
    }

    pub(super) fn last_result(&self) -> Option<i64> {
        self.results.back().map(|(serial, _)| *serial)
    }

    pub(super) fn forget_results_through(&mut self, serial: i64) {
        while self.results.front().is_some_and(|(s, _)| *s <= serial) {
            self.results.pop_front();
        }
        if self.results.is_empty() {
            self.results = VecDeque::new();
        }
    }
}

/// One ACK for each run of successes, one NACK for each refusal.
pub(super) fn write(settled: &[Settled], mut frame: impl FnMut(&mut dyn FnMut(&mut Vec<u8>, Format))) {
    let mut rest = settled;
    while let Some(((first, outcome), after)) = rest.split_first() {
        if let Outcome::Refused(refusal) = outcome {
            frame(&mut |buf, format| wire::nack(buf, format, *first, 1, refusal));
            rest = after;
            continue;
        }
        let mut receipts = Vec::new();
        let mut serials = 0;
        for (serial, outcome) in rest {
            let follows = *serial == first + receipts.len() as i64;
            let receipt = match outcome {
                _ if !follows || serials >= SERIALS_PER_ACK_MAX => break,
                Outcome::Refused(_) => break,
                Outcome::Accepted => Receipt::Accepted,
                Outcome::Published(p) => {
                    serials += p.count as usize;
                    Receipt::Messages { stamp: p.stamp, epoch: &p.epoch, count: p.count as usize }
                }
            };
            receipts.push(receipt);
        }
        frame(&mut |buf, format| wire::ack(buf, format, *first, &receipts));
        rest = &rest[receipts.len()..];
    }
}
