//! The store: channels' logs behind one trait, with its contract suite and its backends.
//!
//! Place in the house: the engine appends and reads; nothing here knows who listens.
//!
//! Invariants: never knows a subscriber; never calls an append done before it is as durable as the
//! backend promises; never retries a failed sync.

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::Duration;

use fanfare_model::{BodyKind, ChannelKey, Epoch, Record, Stamp, Timestamp};

#[cfg(any(test, feature = "contract"))]
pub mod contract;
mod disk;
mod entry;
mod memory;
mod scope;

pub use disk::{CACHE_BYTES, Disk, DiskOptions, FREE_BYTES_MIN, OpenError, SyncPolicy};
pub use entry::{Area, Entries, Entry, Put};
pub use memory::Memory;
pub use scope::{Erased, Remainder, Scope, messages_in, without_client};

/// Why the store could not do it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// Now is not possible, later may be: the disk is full, the queue is full, the store is closing.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// A stored record is not what was written.
    #[error("the store is damaged: {0}")]
    Corrupt(String),
}

/// Called once, from a thread of the backend's, when the append is durable or has failed.
pub type Appended = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// One batch for one channel, in stamp order, all stamps greater than the channel's head.
pub struct Append {
    pub channel: ChannelKey,
    pub records: Vec<Arc<Record>>,
    /// Keep only the newest record (of messages) once this one is durable.
    pub keep: Keep,
    /// How long these records are kept, by their stamps' time.
    pub retention: Duration,
    pub done: Appended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    All,
    /// Of the channel's messages, only the newest record; what was kept before is not read again.
    /// Records of other kinds are acknowledged and not kept.
    Last,
}

impl Append {
    /// Which of the records a backend keeps: none that is ephemeral, and one at most for [`Keep::Last`].
    pub fn kept(&self) -> impl Iterator<Item = &Arc<Record>> {
        let last = self.records.iter().rposition(|r| !r.ephemeral && r.kind() == BodyKind::Messages);
        self.records.iter().enumerate().filter_map(move |(i, record)| {
            let kept = match self.keep {
                Keep::All => !record.ephemeral,
                Keep::Last => last == Some(i),
            };
            kept.then_some(record)
        })
    }

    /// From when on the record is gone. Fixed when it is appended: a rule that changes later changes
    /// what comes later, and a shorter one is applied to what is there by the reader's `Query::from`.
    pub fn expires_at(&self, record: &Record) -> Timestamp {
        Timestamp(i64::try_from(record.stamp.millis()).unwrap_or(i64::MAX)) + self.retention
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Forwards,
    Backwards,
}

/// A range of one channel's log. Bounds are inclusive.
///
/// Reading has no clock. Who must not show what is older than a rule's retention says so with `from`;
/// between two calls of `expire` nothing else hides it.
#[derive(Clone, Debug)]
pub struct Query {
    pub kind: BodyKind,
    pub from: Stamp,
    pub to: Stamp,
    pub direction: Direction,
    /// Records, not messages: at most this many are returned.
    pub limit: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub last: Stamp,
}

/// A backend keeps logs, and entries beside them. All methods may block but `append` and `put`, which
/// never wait: callers on a message path use only those.
pub trait Backend: Send + Sync + 'static {
    /// The life of this backend's logs: the same after a restart that lost nothing.
    fn epoch(&self) -> Epoch;

    /// Queues the batch. Batches of one channel become durable in the order of the calls.
    fn append(&self, append: Append);

    /// Queues several at once, so that none of them begins to become durable before all are there: they
    /// share a sync. Each is accepted, and answered, for itself.
    fn append_all(&self, appends: Vec<Append>) {
        appends.into_iter().for_each(|append| self.append(append));
    }

    /// The channel's records in the range, oldest first or newest first. Sees every append whose
    /// `done` was called.
    fn read(&self, channel: &ChannelKey, query: &Query) -> Result<Vec<Arc<Record>>, StoreError>;

    /// Where the channel's log ends, if it has one.
    fn head(&self, channel: &ChannelKey) -> Result<Option<Head>, StoreError>;

    /// Queues the entry. It takes the place of one with the same app, area and key.
    fn put(&self, put: Put);

    /// All entries of an area, of every app, in no order, but those that have expired by the last
    /// `expire`. Sees every entry whose `done` was called.
    fn entries(&self, area: Area) -> Result<Entries, StoreError>;

    /// Removes what is older than its retention at `now`, for good: a clock that goes back later brings
    /// nothing back. From then on it is not read; its bytes may stay a while longer (on disk until its
    /// time bucket ends: an eighth of the retention, an hour at least). About how many records went
    /// from the backend. Called from time to time, every few minutes, and once after opening.
    fn expire(&self, now: Timestamp) -> Result<u64, StoreError>;

    /// Removes for good, also from indexes and the backend's own journals, as far as `docs` says.
    fn erase(&self, scope: &Scope) -> Result<Erased, StoreError>;

    /// Why appends would be refused now, if they would. May touch the disk: not for a message path.
    fn health(&self) -> Result<(), StoreError>;

    /// What broke for good: a write or a sync failed, and what is stored since the last `done` is
    /// unknown. The process must stop; only opening anew tells what is there. `health` alone says no
    /// more than that appends are refused, which a full disk also brings, and which passes.
    fn fault(&self) -> Option<String> {
        None
    }

    /// Finishes what is queued and closes.
    fn close(&self);
}
