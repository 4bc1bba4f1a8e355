//! The last two minutes of a channel, in memory: what resume, rewind and short history read.

use std::collections::VecDeque;
use std::sync::Arc;

use fanfare_model::{Limits, Now, Record, Stamp};

/// Fixed cost of a record in memory, beside the user's bytes: a round figure, measured.
const RECORD_OVERHEAD_BYTES: usize = 256;

pub(crate) struct Tail {
    records: VecDeque<Arc<Record>>,
    bytes: usize,
    /// Everything after this stamp is in `records`. What is at or before it may be gone.
    complete_after: Stamp,
    /// The newest record that had to go before its time, because there were too many.
    cut: Stamp,
}

impl Tail {
    pub(crate) fn new(complete_after: Stamp) -> Self {
        Self { records: VecDeque::new(), bytes: 0, complete_after, cut: Stamp(0) }
    }

    pub(crate) fn complete_after(&self) -> Stamp {
        self.complete_after
    }

    /// The newest record that had to go before its time; of those that are old anyway nobody asks.
    pub(crate) fn cut(&self) -> Stamp {
        self.cut
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub(crate) fn push(&mut self, record: Arc<Record>) {
        self.bytes += cost(&record);
        self.records.push_back(record);
    }

    /// Lets go of what is older than the limits allow.
    pub(crate) fn trim(&mut self, limits: &Limits, now: Now) {
        let oldest = Stamp::at(now.wall.saturating_sub(limits.tail_age_max));
        while let Some(first) = self.records.front() {
            let full = self.records.len() > limits.tail_records_max || self.bytes > limits.tail_bytes_max;
            if !full && first.stamp >= oldest {
                break;
            }
            if first.stamp >= oldest {
                self.cut = first.stamp;
            }
            self.drop_first();
        }
        if self.records.is_empty() && self.records.capacity() > 64 {
            self.records = VecDeque::new();
        }
    }

    /// Lets go of everything: the channel keeps no tail.
    pub(crate) fn clear(&mut self, through: Stamp) {
        self.records.clear();
        self.bytes = 0;
        self.complete_after = self.complete_after.max(through);
    }

    fn drop_first(&mut self) {
        if let Some(first) = self.records.pop_front() {
            self.bytes -= cost(&first);
            self.complete_after = first.stamp;
        }
    }

    pub(crate) fn after(&self, stamp: Stamp) -> impl DoubleEndedIterator<Item = &Arc<Record>> {
        let start = self.records.partition_point(|r| r.stamp <= stamp);
        self.records.range(start..)
    }

    pub(crate) fn all(&self) -> impl DoubleEndedIterator<Item = &Arc<Record>> {
        self.records.iter()
    }

    /// Replaces records by what `edit` makes of them; `None` takes a record out. Returns how many
    /// were touched.
    pub(crate) fn edit(&mut self, mut edit: impl FnMut(&Arc<Record>) -> Edit) -> u64 {
        let mut touched = 0;
        let old = std::mem::take(&mut self.records);
        self.bytes = 0;
        for record in old {
            match edit(&record) {
                Edit::Keep => self.push(record),
                Edit::Remove => touched += 1,
                Edit::Replace(new) => {
                    touched += 1;
                    self.push(Arc::new(new));
                }
            }
        }
        touched
    }
}

pub(crate) enum Edit {
    Keep,
    Remove,
    Replace(Record),
}

fn cost(record: &Record) -> usize {
    record.size() + RECORD_OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use fanfare_model::{Body, Message, Timestamp};
    use std::time::Duration;

    fn record(stamp: u64) -> Arc<Record> {
        Arc::new(Record {
            stamp: Stamp(stamp),
            timestamp: Timestamp(0),
            id: "i".into(),
            connection_id: None,
            body: Body::Messages(vec![Message::default()]),
            ephemeral: false,
        })
    }

    #[test]
    fn trimming_moves_the_mark_up_to_what_went() {
        let mut tail = Tail::new(Stamp(0));
        for ms in 1..=10u64 {
            tail.push(record(ms * 1000));
        }
        let limits = Limits { tail_age_max: Duration::from_millis(5), ..Limits::default() };
        tail.trim(&limits, Now { wall: Timestamp(10), mono: Duration::ZERO });
        assert_eq!(tail.complete_after(), Stamp(4000), "5 ms before 10 is still in");
        assert_eq!(tail.all().count(), 6);
        assert_eq!(tail.after(Stamp(7000)).count(), 3);
        let limits = Limits { tail_records_max: 2, ..Limits::default() };
        tail.trim(&limits, Now { wall: Timestamp(10), mono: Duration::ZERO });
        assert_eq!((tail.complete_after(), tail.all().count()), (Stamp(8000), 2));
        let limits = Limits { tail_bytes_max: RECORD_OVERHEAD_BYTES, ..Limits::default() };
        tail.trim(&limits, Now { wall: Timestamp(10), mono: Duration::ZERO });
        assert_eq!((tail.complete_after(), tail.all().count()), (Stamp(9000), 1));
    }
}
