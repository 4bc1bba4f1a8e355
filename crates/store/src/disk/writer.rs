//! The one thread that writes: group commit.
//!
//! It takes all that waits, for however many channels, writes it as one atomic batch, syncs once, and
//! only then calls every `done`. What arrives meanwhile is the next batch.
//!
//! A write or sync that failed is final: what the disk holds then is unknown (the kernel may have
//! dropped the page and will report success the next time), so nothing is tried again, nothing more is
//! taken, and the process has to stop. The next opening reads what is really there.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread;

use fanfare_model::Record;
use fjall::{Keyspace, OwnedWriteBatch, PersistMode};

use super::buckets::{BUCKETS_MAX, BucketId, NoBucket};
use super::queue::{Rewrite, Rewrites, Work, Write};
use super::{Shared, SyncPolicy, keys};
use crate::{Append, Entry, Keep, StoreError};

pub(super) fn start(shared: Arc<Shared>) -> std::io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().name("store-writer".into()).spawn(move || {
        let guard = FailWhenPanicking(&shared);
        while let Some(work) = shared.queue.take() {
            match work {
                Work::Writes(writes) => commit(&shared, writes),
                Work::Rewrites(rewrites) => rewrite(&shared, rewrites),
            }
        }
        drop(guard);
    })
}

/// A `done` that panics takes the writer with it. Then nothing may wait for ever.
struct FailWhenPanicking<'a>(&'a Shared);

impl Drop for FailWhenPanicking<'_> {
    fn drop(&mut self) {
        if !thread::panicking() {
            return;
        }
        let failure = self.0.fail("the writer panicked");
        self.0.queue.close();
        while let Some(work) = self.0.queue.take() {
            match work {
                Work::Writes(writes) => writes.into_iter().for_each(|w| w.done()(Err(failure.clone()))),
                Work::Rewrites(rewrites) => drop(rewrites.done.send(Err(failure.clone()))),
            }
        }
    }
}

fn commit(shared: &Shared, writes: Vec<Write>) {
    let outcome = shared.fault().map_or_else(|| shared.space.check(&shared.db), Err);
    if let Err(refusal) = outcome {
        return writes.into_iter().for_each(|w| w.done()(Err(refusal.clone())));
    }
    let mut batch = new_batch(shared);
    let mut staging = Staging { shared, batch: &mut batch, last: HashMap::new(), entries: HashMap::new() };
    let staged: Vec<_> = writes.into_iter().map(|w| (staging.stage(&w), w.done())).collect();
    staging.finish();
    let written = match shared.fault() {
        Some(failure) => Err(failure),
        None => batch.commit().map_err(|e| shared.fail(&format!("writing failed: {e}"))),
    };
    for (staged, done) in staged {
        done(staged.and_then(|()| written.clone()));
    }
}

fn new_batch(shared: &Shared) -> OwnedWriteBatch {
    shared.db.batch().durability(match shared.sync {
        SyncPolicy::Always => Some(PersistMode::SyncData),
        SyncPolicy::Never => None,
    })
}

/// A batch that is being put together.
struct Staging<'a> {
    shared: &'a Shared,
    batch: &'a mut OwnedWriteBatch,
    /// Last records by channel: of several in one batch only the newest is written.
    last: HashMap<Vec<u8>, Vec<u8>>,
    /// Entries by key, likewise.
    entries: HashMap<Vec<u8>, Vec<u8>>,
}

impl Staging<'_> {
    fn stage(&mut self, write: &Write) -> Result<(), StoreError> {
        match write {
            Write::Append(append) => self.append(append),
            Write::Put(put) => {
                self.put(&put.entry);
                Ok(())
            }
        }
    }

    fn put(&mut self, entry: &Entry) {
        let key = keys::entry(&entry.app, entry.area, &entry.key);
        let value = keys::seal_entry(&key, entry.expires_at, &entry.value);
        self.entries.insert(key, value);
    }

    fn append(&mut self, append: &Append) -> Result<(), StoreError> {
        let channel = keys::channel(&append.channel);
        if append.keep == Keep::Last {
            if let Some(record) = append.kept().next() {
                let expires_at = append.expires_at(record);
                let value = keys::seal_last(&channel, expires_at, record.stamp, Some(record));
                self.last.insert(channel, value);
            }
            return Ok(());
        }
        let mut bucket: Option<(BucketId, Keyspace)> = None;
        // All or nothing: find room for every record before any is in the batch.
        let mut entries = Vec::with_capacity(append.records.len());
        for record in append.kept() {
            let id = BucketId::of(append.expires_at(record), append.retention);
            let keyspace = match &bucket {
                Some((same, keyspace)) if *same == id => keyspace.clone(),
                _ => self.bucket(id)?,
            };
            bucket = Some((id, keyspace.clone()));
            entries.push(Self::entry(keyspace, channel.clone(), append, record));
        }
        for (keyspace, key, value) in entries {
            self.batch.insert(&keyspace, key, value);
        }
        Ok(())
    }

    fn entry(
        keyspace: Keyspace,
        channel: Vec<u8>,
        append: &Append,
        record: &Record,
    ) -> (Keyspace, Vec<u8>, Vec<u8>) {
        let key = keys::log(channel, record.kind(), record.stamp);
        let value = keys::seal(&key, append.expires_at(record), record);
        (keyspace, key, value)
    }

    fn bucket(&self, id: BucketId) -> Result<Keyspace, StoreError> {
        self.shared.buckets.for_write(id).map_err(|e| match e {
            NoBucket::TooMany => {
                StoreError::Unavailable(format!("its records spread over {BUCKETS_MAX} time buckets"))
            }
            NoBucket::Failed(e) => self.shared.fail(&format!("a time bucket could not be made: {e}")),
        })
    }

    fn finish(self) {
        for (key, value) in self.last {
            self.batch.insert(&self.shared.last, key, value);
        }
        for (key, value) in self.entries {
            self.batch.insert(&self.shared.entries, key, value);
        }
    }
}

/// Erasure and sweeping, between two batches: so a comparison with what is there cannot be overtaken.
fn rewrite(shared: &Shared, rewrites: Rewrites) {
    let outcome = shared.fault().map_or_else(|| apply(shared, rewrites.changes), Err);
    // Who asked may have gone; what was asked for is done all the same.
    let _ = rewrites.done.send(outcome);
}

fn apply(shared: &Shared, changes: Vec<Rewrite>) -> Result<usize, StoreError> {
    let mut batch = new_batch(shared);
    let mut count = 0;
    for change in changes {
        let there = change.keyspace.get(&change.key).map_err(super::damaged)?;
        if there.is_none_or(|there| there != change.expected) {
            continue;
        }
        count += 1;
        match change.value {
            Some(value) => batch.insert(&change.keyspace, change.key, value),
            None => batch.remove(&change.keyspace, change.key),
        }
    }
    batch.commit().map_err(|e| shared.fail(&format!("erasing failed: {e}")))?;
    Ok(count)
}
