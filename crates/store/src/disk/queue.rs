//! What waits for the writer. Bounded; a full queue refuses at once, because who appends must not wait.

use std::collections::VecDeque;
use std::sync::mpsc::SyncSender;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use fjall::{Keyspace, Slice};

use crate::{Append, Appended, Put, StoreError};

/// Records that may wait.
pub(super) const QUEUE_RECORDS_MAX: usize = 65_536;
/// Bytes that may wait, as [`cost`] counts them.
pub(super) const QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Records of one batch: one sync. Bounds how long the first of them waits for the last.
pub(super) const BATCH_RECORDS_MAX: usize = 8_192;
/// Bytes of one batch. It is in memory twice while it is written.
pub(super) const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Rewrites that may wait. Each of the few callers of `erase` and `expire` waits for its own.
const REWRITES_MAX: usize = 64;
/// What a record costs beside the user's bytes.
const RECORD_OVERHEAD_BYTES: usize = 128;

/// A change to what is stored already.
pub(super) struct Rewrite {
    pub(super) keyspace: Keyspace,
    pub(super) key: Slice,
    /// Changes nothing when something else is there by now.
    pub(super) expected: Slice,
    /// `None` removes.
    pub(super) value: Option<Vec<u8>>,
}

/// Comes after the appends that were queued before it. Its answer says how many were carried out.
pub(super) struct Rewrites {
    pub(super) changes: Vec<Rewrite>,
    pub(super) done: SyncSender<Result<usize, StoreError>>,
}

/// What becomes durable with others of its kind, in one batch.
pub(super) enum Write {
    Append(Append),
    Put(Put),
}

impl Write {
    fn cost(&self) -> usize {
        match self {
            Self::Append(append) => {
                append.records.iter().map(|r| r.size() + r.id.len() + RECORD_OVERHEAD_BYTES).sum()
            }
            Self::Put(put) => put.entry.key.len() + put.entry.value.len() + RECORD_OVERHEAD_BYTES,
        }
    }

    fn records(&self) -> usize {
        match self {
            Self::Append(append) => append.records.len(),
            Self::Put(_) => 1,
        }
    }

    pub(super) fn done(self) -> Appended {
        match self {
            Self::Append(append) => append.done,
            Self::Put(put) => put.done,
        }
    }
}

enum Waiting {
    Write(Write, usize),
    Rewrites(Rewrites),
}

/// What the writer does next.
pub(super) enum Work {
    Writes(Vec<Write>),
    Rewrites(Rewrites),
}

#[derive(Default)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    more: Condvar,
}

#[derive(Default)]
struct Inner {
    waiting: VecDeque<Waiting>,
    records: usize,
    bytes: usize,
    rewrites: usize,
    closed: bool,
}

impl Inner {
    fn push(&mut self, write: Write) -> Result<(), (Write, &'static str)> {
        let bytes = write.cost();
        let records = write.records();
        if self.closed {
            return Err((write, "it is closed"));
        }
        // One alone is always taken, however large: it could never be otherwise.
        let full = self.records + records > QUEUE_RECORDS_MAX || self.bytes + bytes > QUEUE_BYTES_MAX;
        if full && self.records > 0 {
            return Err((write, "its queue is full"));
        }
        self.records += records;
        self.bytes += bytes;
        self.waiting.push_back(Waiting::Write(write, bytes));
        Ok(())
    }
}

impl Queue {
    /// Nothing of ours panics under the lock, and every state under it is whole.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives those back that cannot be queued, with the reason. The writer is woken when all are there:
    /// woken by the first, it would sync that one alone.
    pub(super) fn push(&self, writes: impl IntoIterator<Item = Write>) -> Vec<(Write, &'static str)> {
        let mut inner = self.lock();
        let refused = writes.into_iter().filter_map(|write| inner.push(write).err()).collect();
        drop(inner);
        self.more.notify_one();
        refused
    }

    pub(super) fn push_rewrites(&self, rewrites: Rewrites) -> Result<(), &'static str> {
        let mut inner = self.lock();
        if inner.closed {
            return Err("it is closed");
        }
        if inner.rewrites == REWRITES_MAX {
            return Err("too many erasures wait");
        }
        inner.rewrites += 1;
        inner.waiting.push_back(Waiting::Rewrites(rewrites));
        drop(inner);
        self.more.notify_one();
        Ok(())
    }

    /// Waits for work. `None` when the queue is closed and empty.
    pub(super) fn take(&self) -> Option<Work> {
        let mut inner = self.lock();
        while inner.waiting.is_empty() {
            if inner.closed {
                return None;
            }
            inner = self.more.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        let (mut writes, mut records, mut bytes) = (Vec::new(), 0, 0);
        while let Some(next) = inner.waiting.pop_front() {
            match next {
                Waiting::Write(write, cost) => {
                    records += write.records();
                    bytes += cost;
                    let too_many = records > BATCH_RECORDS_MAX || bytes > BATCH_BYTES_MAX;
                    if too_many && !writes.is_empty() {
                        inner.waiting.push_front(Waiting::Write(write, cost));
                        break;
                    }
                    inner.records -= write.records();
                    inner.bytes -= cost;
                    writes.push(write);
                }
                Waiting::Rewrites(rewrites) if writes.is_empty() => {
                    inner.rewrites -= 1;
                    return Some(Work::Rewrites(rewrites));
                }
                rewrites => {
                    inner.waiting.push_front(rewrites);
                    break;
                }
            }
        }
        Some(Work::Writes(writes))
    }

    /// Takes no more; what waits is still done.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.more.notify_all();
    }
}
