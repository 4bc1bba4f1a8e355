//! What one turn gives to the store. It goes, and comes back, as one: the store's writer is woken once
//! and syncs all of it together, and its answer wakes the worker once. One by one, on a busy core, each
//! would wake the other side for itself.

use std::sync::Arc;
use std::time::Duration;

use fanfare_model::{ChannelKey, Record};
use fanfare_store::{Append, Keep, StoreError};
use parking_lot::Mutex;

use crate::ids::WorkerId;
use crate::mail::Mail;
use crate::shared::Shared;

#[derive(Default)]
pub(super) struct Appends(Vec<Wanted>);

struct Wanted {
    channel: ChannelKey,
    records: Vec<Arc<Record>>,
    keep: Keep,
    retention: Duration,
}

type Results = Vec<(ChannelKey, Result<(), StoreError>)>;

/// Gathers the answers; the last of them posts all.
struct Answers {
    expected: usize,
    results: Mutex<Results>,
    shared: Arc<Shared>,
    to: WorkerId,
}

impl Answers {
    fn add(&self, channel: ChannelKey, result: Result<(), StoreError>) {
        let mut results = self.results.lock();
        results.push((channel, result));
        if results.len() == self.expected {
            let all = std::mem::take(&mut *results);
            drop(results);
            self.shared.post(self.to, Mail::Appended(all));
        }
    }
}

impl Appends {
    pub(super) fn add(
        &mut self,
        channel: &ChannelKey,
        records: Vec<Arc<Record>>,
        keep: Keep,
        retention: Duration,
    ) {
        self.0.push(Wanted { channel: channel.clone(), records, keep, retention });
    }

    pub(super) fn send(&mut self, shared: &Arc<Shared>, to: WorkerId) {
        if self.0.is_empty() {
            return;
        }
        let expected = self.0.len();
        let results = Mutex::new(Vec::with_capacity(expected));
        let answers = Arc::new(Answers { expected, results, shared: shared.clone(), to });
        let appends = self.0.drain(..).map(|Wanted { channel, records, keep, retention }| {
            let (answers, key) = (answers.clone(), channel.clone());
            let done = Box::new(move |result| answers.add(key, result));
            Append { channel, records, keep, retention, done }
        });
        shared.store.append_all(appends.collect());
    }
}
