//! The memory store behind a gate: appends can be held back, failed, and completed later.

use std::collections::VecDeque;
use std::sync::Arc;

use fanfare_model::{ChannelKey, Epoch, Record, Timestamp};
use fanfare_store::{Append, Area, Backend, Entries, Erased, Head, Memory, Put, Query, Scope, StoreError};
use parking_lot::Mutex;

pub(super) struct SlowStore {
    memory: Memory,
    gate: Mutex<Gate>,
}

#[derive(Default)]
struct Gate {
    hold: bool,
    fail_appends: bool,
    fail_reads: bool,
    held: VecDeque<Append>,
}

impl SlowStore {
    pub(super) fn new() -> Self {
        Self { memory: Memory::new(Epoch::parse("stored").expect("a good name")), gate: Mutex::default() }
    }

    pub(super) fn hold(&self, hold: bool) {
        self.gate.lock().hold = hold;
    }

    pub(super) fn fail_appends(&self, fail: bool) {
        self.gate.lock().fail_appends = fail;
    }

    pub(super) fn fail_reads(&self, fail: bool) {
        self.gate.lock().fail_reads = fail;
    }

    pub(super) fn held(&self) -> usize {
        self.gate.lock().held.len()
    }

    /// Completes the oldest append that is held back.
    pub(super) fn release(&self, works: bool) -> bool {
        let Some(append) = self.gate.lock().held.pop_front() else { return false };
        self.finish(append, works);
        true
    }

    fn finish(&self, append: Append, works: bool) {
        if works {
            self.memory.append(append);
        } else {
            (append.done)(Err(StoreError::Unavailable("the test says so".into())));
        }
    }

    fn readable(&self) -> Result<(), StoreError> {
        if self.gate.lock().fail_reads {
            return Err(StoreError::Unavailable("the test says so".into()));
        }
        Ok(())
    }
}

impl Backend for SlowStore {
    fn epoch(&self) -> Epoch {
        self.memory.epoch()
    }

    fn append(&self, append: Append) {
        let works = {
            let mut gate = self.gate.lock();
            if gate.hold || !gate.held.is_empty() {
                return gate.held.push_back(append);
            }
            !gate.fail_appends
        };
        self.finish(append, works);
    }

    fn read(&self, channel: &ChannelKey, query: &Query) -> Result<Vec<Arc<Record>>, StoreError> {
        self.readable()?;
        self.memory.read(channel, query)
    }

    fn head(&self, channel: &ChannelKey) -> Result<Option<Head>, StoreError> {
        self.readable()?;
        self.memory.head(channel)
    }

    fn put(&self, put: Put) {
        self.memory.put(put);
    }

    fn entries(&self, area: Area) -> Result<Entries, StoreError> {
        self.memory.entries(area)
    }

    fn expire(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.memory.expire(now)
    }

    fn erase(&self, scope: &Scope) -> Result<Erased, StoreError> {
        self.memory.erase(scope)
    }

    fn health(&self) -> Result<(), StoreError> {
        self.memory.health()
    }

    fn close(&self) {
        self.memory.close();
    }
}
