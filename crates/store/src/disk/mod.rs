//! The store on one machine's disk: an LSM engine (fjall) behind one writer thread.
//!
//! Invariants: only the writer thread writes records; an append is done after its sync and not before;
//! a write or sync that failed is never tried again; nothing is served whose seal is wrong.

mod buckets;
mod dir;
mod entries;
mod erase;
mod journal;
mod keys;
mod queue;
mod read;
mod space;
#[cfg(test)]
mod tests;
mod writer;

use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use fanfare_model::{ChannelKey, Epoch, Record, Stamp, Timestamp};
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use crate::{Append, Area, Backend, Entries, Erased, Head, Put, Query, Scope, StoreError};
use buckets::Buckets;
use dir::Dir;
use queue::{Queue, Write};
use space::Space;

pub use dir::OpenError;
pub use space::FREE_BYTES_MIN;

/// Blocks of tables that are kept in memory, when nothing else is configured.
pub const CACHE_BYTES: u64 = 64 * 1024 * 1024;
/// Of `last`, `entries` and `meta`, which are small or overwritten.
const SMALL_MEMTABLE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Threads that flush and compact. Two, so that a long compaction does not hold up a flush.
const BACKGROUND_THREADS: usize = 2;
/// The latest `now` given to `expire`: so that what was gone stays gone after a restart.
const META_EXPIRED: &[u8] = b"expired";
/// There while an erasure has taken records out and not yet purged the files.
const META_ERASING: &[u8] = b"erasing";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyncPolicy {
    /// Synced before it is acknowledged.
    #[default]
    Always,
    /// LOSES ACKNOWLEDGED RECORDS when the process dies, not only when the machine does: the engine's
    /// journal keeps the latest 8 KiB in the process itself until more comes or somebody syncs. Only
    /// there to prove that the crash checkers see such a loss: never offer it to a user.
    Never,
}

#[derive(Clone, Debug)]
pub struct DiskOptions {
    /// Made when it is not there. Nothing else may be kept in it.
    pub path: PathBuf,
    pub sync: SyncPolicy,
    /// Appends are refused while less is free on the path's disk.
    pub free_bytes_min: u64,
    pub cache_bytes: u64,
}

impl DiskOptions {
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            sync: SyncPolicy::Always,
            free_bytes_min: FREE_BYTES_MIN,
            cache_bytes: CACHE_BYTES,
        }
    }
}

pub struct Disk {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// What the writer's thread and the callers' threads share.
struct Shared {
    db: Database,
    buckets: Buckets,
    /// The last record of each channel that keeps only that, and floors.
    last: Keyspace,
    /// What is kept beside the logs.
    entries: Keyspace,
    meta: Keyspace,
    queue: Queue,
    space: Space,
    sync: SyncPolicy,
    expired: AtomicI64,
    /// When `last` was last walked over, and the lock under which erasures and expiries take turns.
    maintenance: Mutex<Maintenance>,
    fault: OnceLock<String>,
    /// Last, so that the directory is let go after everything in it is closed.
    dir: Dir,
}

#[derive(Default)]
struct Maintenance {
    swept: Option<Timestamp>,
    entries_swept: Option<Timestamp>,
}

impl Disk {
    pub fn open(options: DiskOptions) -> Result<Self, OpenError> {
        let dir = Dir::open(&options.path)?;
        journal::check(&dir.log()).map_err(|e| journal_error(&options.path, e))?;
        let shared = open_log(dir, &options)?;
        shared.dir.finish()?;
        let shared = Arc::new(shared);
        let writer =
            writer::start(shared.clone()).map_err(|source| OpenError::Io { path: options.path, source })?;
        Ok(Self { shared, writer: Mutex::new(Some(writer)) })
    }
}

impl Disk {
    fn queue(&self, writes: impl IntoIterator<Item = Write>) {
        for (write, why) in self.shared.queue.push(writes) {
            write.done()(Err(StoreError::Unavailable(why.into())));
        }
    }
}

/// Opens the engine. It panics at some damage, where an error would be right.
fn open_log(dir: Dir, options: &DiskOptions) -> Result<Shared, OpenError> {
    match panic::catch_unwind(AssertUnwindSafe(|| open_engine(dir, options))) {
        Ok(opened) => opened.map_err(|e| open_error(options.path.clone(), e)),
        Err(panic) => {
            let what = panic.downcast_ref::<String>().map(String::as_str);
            let what = what.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("unknown");
            Err(OpenError::Damaged {
                path: options.path.clone(),
                what: format!("opening it panicked: {what}"),
            })
        }
    }
}

fn open_engine(dir: Dir, options: &DiskOptions) -> Result<Shared, fjall::Error> {
    let db = Database::builder(dir.log())
        .cache_size(options.cache_bytes)
        .worker_threads(BACKGROUND_THREADS)
        .manual_journal_persist(true)
        // The writer's time is dearer than the journal's bytes, and a purge counts on its filler's size.
        .journal_compression(CompressionType::None)
        .open()?;
    // Left by a purge that a crash cut short; it would hold its journal for ever.
    if db.keyspace_exists(erase::FILLER) {
        db.delete_keyspace(db.keyspace(erase::FILLER, KeyspaceCreateOptions::default)?)?;
    }
    let small = || KeyspaceCreateOptions::default().max_memtable_size(SMALL_MEMTABLE_BYTES_MAX);
    let last = db.keyspace("last", small)?;
    let entries = db.keyspace("entries", small)?;
    let meta = db.keyspace("meta", small)?;
    let expired = meta.get(META_EXPIRED)?.and_then(|v| v.as_ref().try_into().ok()).map(i64::from_le_bytes);
    Ok(Shared {
        buckets: Buckets::open(&db)?,
        last,
        entries,
        meta,
        queue: Queue::default(),
        space: Space::new(dir.path.clone(), options.free_bytes_min),
        sync: options.sync,
        expired: AtomicI64::new(expired.unwrap_or(i64::MIN)),
        maintenance: Mutex::default(),
        fault: OnceLock::new(),
        db,
        dir,
    })
}

fn journal_error(path: &Path, problem: journal::Problem) -> OpenError {
    match problem {
        journal::Problem::Io(source) => OpenError::Io { path: path.to_owned(), source },
        journal::Problem::Damaged { journal, at } => OpenError::Damaged {
            path: journal,
            what: format!("byte {at} begins a batch that cannot be read, and acknowledged ones follow it"),
        },
    }
}

fn open_error(path: PathBuf, error: fjall::Error) -> OpenError {
    match error {
        fjall::Error::Locked => OpenError::Locked(path),
        fjall::Error::Io(source) => OpenError::Io { path, source },
        other => OpenError::Damaged { path, what: other.to_string() },
    }
}

fn damaged(error: fjall::Error) -> StoreError {
    StoreError::Corrupt(error.to_string())
}

impl Shared {
    /// Records that the store is broken, once, and says so.
    fn fail(&self, why: &str) -> StoreError {
        let why = self.fault.get_or_init(|| why.to_owned());
        StoreError::Unavailable(format!("the store has failed, the process must be restarted: {why}"))
    }

    fn fault(&self) -> Option<StoreError> {
        self.fault.get().map(|why| self.fail(why))
    }

    fn is_expired(&self, expires_at: Timestamp) -> bool {
        expires_at.0 <= self.expired.load(Ordering::Acquire)
    }

    /// Whether `now` is later than any before.
    fn advance_expiry(&self, now: Timestamp) -> bool {
        self.expired.fetch_max(now.0, Ordering::AcqRel) < now.0
    }

    fn maintenance(&self) -> MutexGuard<'_, Maintenance> {
        self.maintenance.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn floor_of(&self, channel: &[u8]) -> Result<Option<Stamp>, StoreError> {
        let Some(value) = self.last.get(channel).map_err(damaged)? else { return Ok(None) };
        Ok(keys::open(channel, &value).and_then(|o| o.last(channel)).ok().map(|(floor, _)| floor))
    }
}

impl Maintenance {
    fn sweep_is_due(&mut self, now: Timestamp, interval: Duration) -> bool {
        is_due(&mut self.swept, now, interval)
    }

    fn entry_sweep_is_due(&mut self, now: Timestamp, interval: Duration) -> bool {
        is_due(&mut self.entries_swept, now, interval)
    }
}

fn is_due(swept: &mut Option<Timestamp>, now: Timestamp, interval: Duration) -> bool {
    let due = swept.is_none_or(|swept| swept + interval <= now);
    if due {
        *swept = Some(now);
    }
    due
}

impl Backend for Disk {
    fn epoch(&self) -> Epoch {
        self.shared.dir.epoch.clone()
    }

    fn append(&self, append: Append) {
        self.queue([Write::Append(append)]);
    }

    fn put(&self, put: Put) {
        self.queue([Write::Put(put)]);
    }

    fn entries(&self, area: Area) -> Result<Entries, StoreError> {
        self.shared.entries_of(area)
    }

    fn append_all(&self, appends: Vec<Append>) {
        self.queue(appends.into_iter().map(Write::Append));
    }

    fn read(&self, channel: &ChannelKey, query: &Query) -> Result<Vec<Arc<Record>>, StoreError> {
        self.shared.read(channel, query)
    }

    fn head(&self, channel: &ChannelKey) -> Result<Option<Head>, StoreError> {
        self.shared.head(channel)
    }

    fn expire(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.shared.expire(now)
    }

    fn erase(&self, scope: &Scope) -> Result<Erased, StoreError> {
        self.shared.erase(scope)
    }

    fn health(&self) -> Result<(), StoreError> {
        if let Some(failure) = self.shared.fault() {
            return Err(failure);
        }
        if self.writer.lock().unwrap_or_else(PoisonError::into_inner).is_none() {
            return Err(StoreError::Unavailable("it is closed".into()));
        }
        // The one way to learn that background work failed: persisting is refused from then on.
        self.shared
            .db
            .persist(PersistMode::Buffer)
            .map_err(|e| self.shared.fail(&format!("background work failed: {e}")))?;
        self.shared.space.check(&self.shared.db)
    }

    fn fault(&self) -> Option<String> {
        self.shared.fault.get().cloned()
    }

    fn close(&self) {
        self.shared.queue.close();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A `done` may close: the writer cannot wait for itself.
        if let Some(writer) = writer.filter(|w| w.thread().id() != thread::current().id()) {
            // It panicked: `fault` says so, and the callers of what waited were told.
            let _ = writer.join();
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.close();
    }
}
