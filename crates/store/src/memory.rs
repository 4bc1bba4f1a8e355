//! The reference model: what every other backend must answer. Simple before fast; keeps nothing over
//! a restart, so each opening is a new epoch.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fanfare_model::{BodyKind, ChannelKey, Epoch, Record, Stamp, Timestamp};

use crate::{
    Append, Area, Backend, Direction, Entries, Entry as Kept, Erased, Head, Keep, Put, Query, Scope,
    StoreError, without_client,
};

pub struct Memory {
    epoch: Epoch,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    logs: HashMap<ChannelKey, BTreeMap<Stamp, Entry>>,
    entries: Vec<Kept>,
    closed: bool,
}

struct Entry {
    record: Arc<Record>,
    /// From this moment on the record is gone.
    expires_at: Timestamp,
}

impl Memory {
    pub fn new(epoch: Epoch) -> Self {
        Self { epoch, state: Mutex::default() }
    }

    /// A caller's panic in `done` must not take the other callers down: the state is whole between
    /// any two statements under the lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn append(&mut self, append: &Append) -> Result<(), StoreError> {
        if self.closed {
            return Err(StoreError::Unavailable("it is closed".into()));
        }
        for record in append.kept() {
            let log = self.logs.entry(append.channel.clone()).or_default();
            if append.keep == Keep::Last {
                log.retain(|stamp, e| *stamp > record.stamp || e.record.kind() != BodyKind::Messages);
            }
            let expires_at = append.expires_at(record);
            log.insert(record.stamp, Entry { record: record.clone(), expires_at });
        }
        Ok(())
    }

    fn put(&mut self, entry: Kept) -> Result<(), StoreError> {
        if self.closed {
            return Err(StoreError::Unavailable("it is closed".into()));
        }
        self.entries.retain(|e| (&e.app, e.area, &e.key) != (&entry.app, entry.area, &entry.key));
        self.entries.push(entry);
        Ok(())
    }

    fn erase(&mut self, scope: &Scope) -> Erased {
        let mut erased = Erased::default();
        if let Scope::App(app) = scope {
            self.entries.retain(|e| e.app != *app);
        }
        self.logs.retain(|channel, log| {
            match scope {
                Scope::App(app) if *app == channel.app => drop_all(log, &mut erased),
                Scope::Channel(c) if c == channel => drop_all(log, &mut erased),
                Scope::Client { app, client } if *app == channel.app => log.retain(|_, entry| {
                    let Some(rest) = without_client(&entry.record, client) else { return true };
                    erased.add(&rest);
                    match rest.record {
                        Some(record) => entry.record = Arc::new(record),
                        None => return false,
                    }
                    true
                }),
                _ => {}
            }
            !log.is_empty()
        });
        erased
    }
}

fn drop_all(log: &mut BTreeMap<Stamp, Entry>, erased: &mut Erased) {
    for entry in std::mem::take(log).into_values() {
        erased.records += 1;
        erased.messages += crate::messages_in(&entry.record);
    }
}

impl Backend for Memory {
    fn epoch(&self) -> Epoch {
        self.epoch.clone()
    }

    fn append(&self, append: Append) {
        let outcome = self.state().append(&append);
        // Outside the lock: `done` may read or append again.
        (append.done)(outcome);
    }

    fn read(&self, channel: &ChannelKey, query: &Query) -> Result<Vec<Arc<Record>>, StoreError> {
        let state = self.state();
        let Some(log) = state.logs.get(channel).filter(|_| query.from <= query.to) else {
            return Ok(Vec::new());
        };
        let range = log.range(query.from..=query.to).map(|(_, e)| &e.record);
        let of_kind = |r: &&Arc<Record>| r.kind() == query.kind;
        Ok(match query.direction {
            Direction::Forwards => range.filter(of_kind).take(query.limit).cloned().collect(),
            Direction::Backwards => range.rev().filter(of_kind).take(query.limit).cloned().collect(),
        })
    }

    fn head(&self, channel: &ChannelKey) -> Result<Option<Head>, StoreError> {
        let state = self.state();
        let last = state.logs.get(channel).and_then(|log| log.keys().next_back());
        Ok(last.map(|last| Head { last: *last }))
    }

    fn put(&self, put: Put) {
        let outcome = self.state().put(put.entry);
        (put.done)(outcome);
    }

    fn entries(&self, area: Area) -> Result<Entries, StoreError> {
        let found = self.state().entries.iter().filter(|e| e.area == area).cloned().collect();
        Ok(Entries { found, unreadable: 0 })
    }

    fn expire(&self, now: Timestamp) -> Result<u64, StoreError> {
        let mut gone = 0;
        self.state().entries.retain(|e| e.expires_at > now);
        self.state().logs.retain(|_, log| {
            let before = log.len();
            log.retain(|_, e| e.expires_at > now);
            gone += (before - log.len()) as u64;
            !log.is_empty()
        });
        Ok(gone)
    }

    fn erase(&self, scope: &Scope) -> Result<Erased, StoreError> {
        Ok(self.state().erase(scope))
    }

    fn health(&self) -> Result<(), StoreError> {
        if self.state().closed { Err(StoreError::Unavailable("it is closed".into())) } else { Ok(()) }
    }

    fn close(&self) {
        self.state().closed = true;
    }
}
