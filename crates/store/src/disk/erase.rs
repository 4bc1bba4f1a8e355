//! Erasure and expiry: what is to go, and then its bytes out of the files.

use std::ffi::OsString;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};
use std::{fs, io};

use fanfare_model::{ClientId, Stamp, Timestamp};
use fjall::{Keyspace, KeyspaceCreateOptions, PersistMode, Slice};

use super::queue::{Rewrite, Rewrites};
use super::{META_ERASING, META_EXPIRED, Shared, damaged, entries, keys};
use crate::{Erased, Remainder, Scope, StoreError, messages_in, without_client};

/// Changes that are handed to the writer at once: a pause in the appends, not a stop.
const REWRITES_PER_BATCH: usize = 512;
/// Past this the engine below rotates its journal at the next flush (it has no call for it).
const JOURNAL_FILL_BYTES: usize = 64_000_000;
/// Holds the filler while a purge goes on.
pub(super) const FILLER: &str = "filler";
const FILL_VALUE_BYTES: usize = 8_000_000;
/// What a purge may need on the disk beside compaction's copies: the filler, and room to breathe.
const PURGE_FREE_BYTES_MIN: u64 = 2 * JOURNAL_FILL_BYTES as u64;
/// How long a purge waits for the engine's background work before it says that it did not finish.
const PURGE_WAIT_MAX: Duration = Duration::from_secs(120);
/// Between two walks over all last records, by the caller's clock.
const LAST_SWEEP_INTERVAL: Duration = Duration::from_secs(3600);
/// The mark's value: tables and journals may still hold what was taken out.
const ERASING: &[u8] = b"1";

impl Shared {
    pub(super) fn erase(&self, scope: &Scope) -> Result<Erased, StoreError> {
        let _one_at_a_time = self.maintenance();
        // All that was queued before is to be seen, and so erased.
        self.rewrite(Vec::new())?;
        // A crash between taking out and purging must not leave bytes that no later erasure looks for.
        let unfinished = self.meta.get(META_ERASING).map_err(damaged)?.is_some();
        self.set_meta(META_ERASING, ERASING)?;
        let mut sweep = Sweep { shared: self, erased: Erased::default(), changes: Vec::new(), unreadable: 0 };
        let mut touched = vec![self.last.clone()];
        for bucket in self.buckets.all() {
            if sweep.log(&bucket, scope)? || unfinished {
                touched.push(bucket);
            }
        }
        sweep.last(scope)?;
        if let Scope::App(app) = scope {
            self.erase_entries(app)?;
            touched.push(self.entries.clone());
        }
        self.purge(&touched)?;
        self.meta_remove(META_ERASING)?;
        match sweep.unreadable {
            0 => Ok(sweep.erased),
            n => Err(StoreError::Corrupt(format!(
                "{n} damaged records could not be looked into; the rest is erased"
            ))),
        }
    }

    pub(super) fn expire(&self, now: Timestamp) -> Result<u64, StoreError> {
        let mut maintenance = self.maintenance();
        if let Some(failure) = self.fault() {
            return Err(failure);
        }
        if self.advance_expiry(now) {
            self.set_meta(META_EXPIRED, &now.0.to_le_bytes())?;
        }
        let dropped =
            self.buckets.drop_expired(now).map_err(|e| self.fail(&format!("expiring failed: {e}")))?;
        let swept =
            if maintenance.sweep_is_due(now, LAST_SWEEP_INTERVAL) { self.sweep_last(now)? } else { 0 };
        // Their bytes leave the tables with the next compaction: none is anybody's message.
        if maintenance.entry_sweep_is_due(now, entries::SWEEP_INTERVAL) {
            self.sweep_entries(now)?;
        }
        let unfinished = self.meta.get(META_ERASING).map_err(damaged)?.is_some();
        if unfinished {
            let mut all = self.buckets.all();
            all.extend([self.last.clone(), self.entries.clone()]);
            self.purge(&all)?;
            self.meta_remove(META_ERASING)?;
        } else if swept > 0 {
            self.purge(std::slice::from_ref(&self.last))?;
        } else if dropped.is_some() {
            // The tables are gone with the bucket; the journal may still hold the same records.
            self.purge(&[])?;
        }
        Ok(dropped.unwrap_or(0) + swept)
    }

    /// Takes expired last records out. A floor stays as long as there is something under it.
    fn sweep_last(&self, now: Timestamp) -> Result<u64, StoreError> {
        let (mut changes, mut swept) = (Vec::new(), 0);
        for entry in self.last.iter() {
            let (key, value) = entry.into_inner().map_err(damaged)?;
            // Damaged: left for whoever reads the channel to be told.
            let Ok(opened) = keys::open(&key, &value) else { continue };
            let Ok((floor, record)) = opened.last(&key) else { continue };
            if record.is_some() && opened.expires_at > now {
                continue;
            }
            let kept_for = Timestamp(i64::MAX);
            let rest = match (self.anything_under(&key, floor)?, record.is_some()) {
                (true, false) => continue,
                (true, true) => Some(keys::seal_last(&key, kept_for, floor, None)),
                (false, _) => None,
            };
            swept += u64::from(record.is_some());
            changes.push(Rewrite { keyspace: self.last.clone(), key, expected: value, value: rest });
            if changes.len() == REWRITES_PER_BATCH {
                self.rewrite(std::mem::take(&mut changes))?;
            }
        }
        self.rewrite(changes)?;
        Ok(swept)
    }

    fn anything_under(&self, channel: &[u8], floor: Stamp) -> Result<bool, StoreError> {
        let range = keys::log_range(channel, fanfare_model::BodyKind::Messages, Stamp(0), floor);
        for bucket in self.buckets.holding(Stamp(0), floor) {
            if let Some(first) = bucket.range(range.clone()).next() {
                first.key().map_err(damaged)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Hands the changes to the writer and waits. None at all is a barrier.
    pub(super) fn rewrite(&self, changes: Vec<Rewrite>) -> Result<usize, StoreError> {
        let (done, wait) = sync_channel(1);
        let unavailable = |why: &str| StoreError::Unavailable(why.into());
        self.queue.push_rewrites(Rewrites { changes, done }).map_err(unavailable)?;
        wait.recv().map_err(|_| unavailable("the writer is gone"))?
    }

    /// Makes sure that nothing which was overwritten, removed or dropped is left in a file.
    ///
    /// Three things keep old bytes: the memtables (which later become tables), the journals, and the
    /// tables of `touched`. So everything is flushed, the journal is made to rotate and the old ones
    /// wait until they are deleted, and the tables are rewritten. The caller's thread does it, so
    /// that the writer's batches go in between.
    fn purge(&self, touched: &[Keyspace]) -> Result<(), StoreError> {
        self.space.at_least(PURGE_FREE_BYTES_MIN)?;
        let failed = |e: fjall::Error| self.fail(&format!("purging failed: {e}"));
        let old = self.journals()?;
        self.fill_journal().map_err(failed)?;
        let deadline = Instant::now() + PURGE_WAIT_MAX;
        loop {
            self.flush_all(deadline)?;
            if self.journals()?.iter().all(|journal| !old.contains(journal)) {
                break;
            }
            self.pause(deadline)?;
        }
        for keyspace in touched {
            keyspace.major_compact().map_err(failed)?;
        }
        // Replaced tables are deleted at a rotation, once no reader has them open.
        self.set_meta(b"purged", &[])?;
        self.flush_all(deadline)
    }

    /// What is really there, whatever the engine believes.
    fn journals(&self) -> Result<Vec<OsString>, StoreError> {
        let read = || -> io::Result<Vec<OsString>> {
            let names = fs::read_dir(self.dir.log())?.map(|entry| Ok(entry?.file_name()));
            names.filter(|n| n.as_ref().map_or(true, |n| n.as_encoded_bytes().ends_with(b".jnl"))).collect()
        };
        read().map_err(|e| StoreError::Unavailable(format!("the journals cannot be listed: {e}")))
    }

    fn fill_journal(&self) -> Result<(), fjall::Error> {
        // Its memtable must not be flushed: it would write the filler once more.
        let options = || KeyspaceCreateOptions::default().max_memtable_size(u64::MAX);
        let filler = self.db.keyspace(FILLER, options)?;
        let value = Slice::from(vec![0; FILL_VALUE_BYTES]);
        for i in 0..=(JOURNAL_FILL_BYTES / FILL_VALUE_BYTES) as u8 {
            // Synced like every batch: `journal::check` counts on it.
            let mut batch = self.db.batch().durability(Some(PersistMode::SyncData));
            batch.insert(&filler, [i], value.clone());
            batch.commit()?;
        }
        self.db.delete_keyspace(filler)
    }

    /// Writes all memtables out. The first flush rotates the journal if it is full enough.
    fn flush_all(&self, deadline: Instant) -> Result<(), StoreError> {
        self.set_meta(b"purging", &[])?;
        let mut all = self.buckets.all();
        all.extend([self.last.clone(), self.entries.clone(), self.meta.clone()]);
        for keyspace in &all {
            keyspace.rotate_memtable().map_err(|e| self.fail(&format!("flushing failed: {e}")))?;
        }
        while all.iter().any(|k| k.sealed_memtable_count() > 0) {
            self.pause(deadline)?;
        }
        Ok(())
    }

    fn pause(&self, deadline: Instant) -> Result<(), StoreError> {
        if let Some(failure) = self.fault() {
            return Err(failure);
        }
        if Instant::now() > deadline {
            return Err(StoreError::Unavailable(
                "old bytes could not be purged from the files in time; they will be at the next expiry"
                    .into(),
            ));
        }
        std::thread::sleep(Duration::from_millis(5));
        Ok(())
    }

    fn set_meta(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let mut batch = self.db.batch().durability(Some(PersistMode::SyncData));
        batch.insert(&self.meta, key, value);
        batch.commit().map_err(|e| self.fail(&format!("writing failed: {e}")))
    }

    fn meta_remove(&self, key: &[u8]) -> Result<(), StoreError> {
        let mut batch = self.db.batch().durability(Some(PersistMode::SyncData));
        batch.remove(&self.meta, key);
        batch.commit().map_err(|e| self.fail(&format!("writing failed: {e}")))
    }
}

/// One erasure's walk over everything of its app.
struct Sweep<'a> {
    shared: &'a Shared,
    erased: Erased,
    changes: Vec<Rewrite>,
    unreadable: u64,
}

/// What the scope wants of an entry.
enum Fate {
    Stays,
    /// Goes, or is replaced. The remainder is counted when the entry was visible.
    Changes(Remainder),
    Unreadable,
}

impl Sweep<'_> {
    /// Takes out of a bucket what is in the scope. Whether there was anything.
    fn log(&mut self, bucket: &Keyspace, scope: &Scope) -> Result<bool, StoreError> {
        let mut any = false;
        let mut floor = (Vec::new(), None);
        for entry in bucket.prefix(prefix(scope)) {
            let (key, value) = entry.into_inner().map_err(damaged)?;
            let Some(at) = keys::parse_log(&key) else { continue };
            if floor.0 != at.channel {
                floor = (at.channel.to_vec(), self.shared.floor_of(at.channel)?);
            }
            let hidden = at.is_messages && floor.1.is_some_and(|floor| at.stamp <= floor);
            let opened = keys::open(&key, &value);
            let expired = opened.as_ref().is_ok_and(|o| self.shared.is_expired(o.expires_at));
            let fate = fate(scope, opened.as_ref().ok().and_then(|o| o.record(&key).ok()).as_ref());
            let remainder = match fate {
                Fate::Stays => continue,
                Fate::Unreadable => {
                    self.unreadable += 1;
                    continue;
                }
                Fate::Changes(remainder) => remainder,
            };
            if !hidden && !expired {
                self.erased.add(&remainder);
            }
            let value_left = match (&remainder.record, &opened) {
                (Some(record), Ok(opened)) => Some(keys::seal(&key, opened.expires_at, record)),
                _ => None,
            };
            any = true;
            self.change(Rewrite { keyspace: bucket.clone(), key, expected: value, value: value_left })?;
        }
        self.flush()?;
        Ok(any)
    }

    fn last(&mut self, scope: &Scope) -> Result<(), StoreError> {
        let last = self.shared.last.clone();
        for entry in last.prefix(prefix(scope)) {
            let (key, value) = entry.into_inner().map_err(damaged)?;
            let opened = keys::open(&key, &value).and_then(|o| Ok((o.expires_at, o.last(&key)?)));
            let whole = !matches!(scope, Scope::Client { .. });
            let value_left = match &opened {
                // A bare floor goes with its app or channel, and holds nobody's data.
                Ok((_, (_, None))) if whole => None,
                Ok((_, (_, None))) => continue,
                Ok((expires_at, (floor, Some(record)))) => {
                    let Fate::Changes(remainder) = fate(scope, Some(record)) else { continue };
                    if !self.shared.is_expired(*expires_at) {
                        self.erased.add(&remainder);
                    }
                    let left = keys::seal_last(&key, *expires_at, *floor, remainder.record.as_ref());
                    (!whole).then_some(left)
                }
                Err(_) if whole => None,
                Err(_) => {
                    self.unreadable += 1;
                    continue;
                }
            };
            self.change(Rewrite { keyspace: last.clone(), key, expected: value, value: value_left })?;
        }
        self.flush()
    }

    fn change(&mut self, change: Rewrite) -> Result<(), StoreError> {
        self.changes.push(change);
        if self.changes.len() == REWRITES_PER_BATCH { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        if !self.changes.is_empty() {
            self.shared.rewrite(std::mem::take(&mut self.changes))?;
        }
        Ok(())
    }
}

/// The keys that a scope may concern: a whole app's, or one channel's.
fn prefix(scope: &Scope) -> Vec<u8> {
    match scope {
        Scope::App(app) | Scope::Client { app, .. } => keys::app(app),
        Scope::Channel(channel) => keys::channel(channel),
    }
}

fn fate(scope: &Scope, record: Option<&fanfare_model::Record>) -> Fate {
    let all = |removed| Fate::Changes(Remainder { record: None, removed });
    match (scope, record) {
        (Scope::App(_) | Scope::Channel(_), record) => all(record.map_or(0, messages_in)),
        (Scope::Client { client, .. }, Some(record)) => of_client(record, client),
        (Scope::Client { .. }, None) => Fate::Unreadable,
    }
}

fn of_client(record: &fanfare_model::Record, client: &ClientId) -> Fate {
    without_client(record, client).map_or(Fate::Stays, Fate::Changes)
}
