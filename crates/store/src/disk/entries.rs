//! Entries: read at a start, taken out when they are past their end or their app is erased.

use std::time::Duration;

use bytes::Bytes;
use fanfare_model::{AppId, Timestamp};

use super::queue::Rewrite;
use super::{Shared, damaged, keys};
use crate::{Area, Entries, Entry, StoreError};

/// Between two walks over all entries, by the caller's clock.
pub(super) const SWEEP_INTERVAL: Duration = Duration::from_secs(300);
/// Changes that are handed to the writer at once.
const REWRITES_PER_BATCH: usize = 512;

impl Shared {
    pub(super) fn entries_of(&self, area: Area) -> Result<Entries, StoreError> {
        let mut entries = Entries::default();
        for entry in self.entries.iter() {
            let (key, value) = entry.into_inner().map_err(damaged)?;
            let Some((app, of, short)) = keys::parse_entry(&key) else {
                entries.unreadable += 1;
                continue;
            };
            if of != area {
                continue;
            }
            let Ok(opened) = keys::open(&key, &value) else {
                entries.unreadable += 1;
                continue;
            };
            if self.is_expired(opened.expires_at) {
                continue;
            }
            let (value, expires_at) = (Bytes::copy_from_slice(opened.bytes()), opened.expires_at);
            entries.found.push(Entry { app, area, key: short.into(), value, expires_at });
        }
        Ok(entries)
    }

    /// Takes out what is past its end. What cannot be read goes too: nobody could ever use it.
    pub(super) fn sweep_entries(&self, now: Timestamp) -> Result<(), StoreError> {
        self.remove_entries(&[], |expires_at| expires_at.is_none_or(|at| at <= now))
    }

    pub(super) fn erase_entries(&self, app: &AppId) -> Result<(), StoreError> {
        self.remove_entries(&keys::app(app), |_| true)
    }

    fn remove_entries(
        &self,
        prefix: &[u8],
        goes: impl Fn(Option<Timestamp>) -> bool,
    ) -> Result<(), StoreError> {
        let mut changes = Vec::new();
        for entry in self.entries.prefix(prefix) {
            let (key, value) = entry.into_inner().map_err(damaged)?;
            if !goes(keys::open(&key, &value).ok().map(|opened| opened.expires_at)) {
                continue;
            }
            changes.push(Rewrite { keyspace: self.entries.clone(), key, expected: value, value: None });
            if changes.len() == REWRITES_PER_BATCH {
                self.rewrite(std::mem::take(&mut changes))?;
            }
        }
        if !changes.is_empty() {
            self.rewrite(changes)?;
        }
        Ok(())
    }
}
