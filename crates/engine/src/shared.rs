//! What all workers of a process share. Nothing in here is locked while a message passes, but a
//! mailbox for the moment of a push.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fanfare_model::{ChannelKey, Epoch};
use fanfare_store::Backend;

use crate::directory::Directory;
use crate::ids::WorkerId;
use crate::mail::{Mail, Mailbox};
use crate::telemetry::Telemeter;

/// Runs work that may block (reads of the disk), off the workers.
pub type Blocking = Box<dyn Fn(Box<dyn FnOnce() + Send>) + Send + Sync>;

/// Wakes a worker whose mailbox was empty.
pub type WakeWorker = Box<dyn Fn() + Send + Sync>;

pub struct EngineConfig {
    pub directory: Arc<Directory>,
    pub store: Arc<dyn Backend>,
    pub blocking: Blocking,
    /// The life of what is only in memory: new with every start of the process.
    pub memory_epoch: Epoch,
    /// One for each worker.
    pub wake: Vec<WakeWorker>,
}

pub(crate) struct Shared {
    pub(crate) directory: Arc<Directory>,
    pub(crate) store: Arc<dyn Backend>,
    pub(crate) blocking: Blocking,
    pub(crate) memory_epoch: Epoch,
    pub(crate) mailboxes: Vec<Mailbox>,
    pub(crate) counters: Counters,
    pub(crate) telemeter: Telemeter,
    /// Keyed at random, so that nobody can choose names that all fall to one owner.
    hasher: RandomState,
}

impl Shared {
    pub(crate) fn new(config: EngineConfig) -> Self {
        Self {
            directory: config.directory,
            store: config.store,
            blocking: config.blocking,
            memory_epoch: config.memory_epoch,
            mailboxes: config.wake.into_iter().map(Mailbox::new).collect(),
            counters: Counters::default(),
            telemeter: Telemeter::default(),
            hasher: RandomState::new(),
        }
    }

    pub(crate) fn owner_of(&self, channel: &ChannelKey) -> WorkerId {
        if self.mailboxes.len() == 1 {
            return WorkerId(0);
        }
        WorkerId((self.hasher.hash_one(channel) % self.mailboxes.len() as u64) as u16)
    }

    pub(crate) fn workers(&self) -> impl Iterator<Item = WorkerId> + use<> {
        (0..self.mailboxes.len()).map(|i| WorkerId(i as u16))
    }

    pub(crate) fn post(&self, worker: WorkerId, mail: Mail) {
        self.mailboxes[usize::from(worker.0)].push(mail);
    }
}

/// What the engine counts, over the whole process. Written once a turn or batch, never per delivery.
#[derive(Default)]
pub struct Counters {
    pub published: AtomicU64,
    pub published_bytes: AtomicU64,
    pub delivered: AtomicU64,
    /// Deliveries that a full outbox refused; each gap is announced to its client.
    pub dropped: AtomicU64,
    pub gaps: AtomicU64,
    pub sessions_opened: AtomicU64,
    pub sessions_ended: AtomicU64,
    pub channels: AtomicU64,
    pub store_failures: AtomicU64,
}

pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

pub(crate) fn subtract(counter: &AtomicU64, n: u64) {
    counter.fetch_sub(n, Ordering::Relaxed);
}
