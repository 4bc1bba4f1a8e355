//! Time buckets: keyspaces of records that go at about the same time, and are dropped whole.
//!
//! A bucket is chosen by the moment at which a record *expires*, not by when it was written: what a
//! rule said when the record was appended stays true for it when the rule changes, and all rules of
//! similar retention share buckets, however many rules there are. A bucket's width is the largest
//! power of two of hours that is at most an eighth of the retention, and one hour at least. So a
//! channel under one rule lies in 17 buckets at most (retentions under 16 h: one for each hour), and
//! a record's bytes outlive its retention by less than one width.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use fanfare_model::{Stamp, Timestamp};
use fjall::{Database, Keyspace, KeyspaceCreateOptions};

const HOUR_MS: u64 = 3_600_000;
/// The widest bucket: 2^13 hours, not quite a year.
const WIDTH_LOG2_MAX: u8 = 13;
/// Buckets that may exist. Under sane clocks there are at most 17 for each of the 14 widths. A writer
/// whose stamps wander would make more: its appends are refused.
pub(super) const BUCKETS_MAX: usize = 512;
/// A bucket's memtable is written out at this size. Bounds memory, replay after a crash, and what a
/// full disk must still take.
const MEMTABLE_BYTES_MAX: u64 = 16 * 1024 * 1024;
const PREFIX: &str = "log-";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BucketId {
    width_log2: u8,
    /// Hours since the Unix epoch; a multiple of the width. Nothing in the bucket expires later.
    end_h: u64,
}

impl BucketId {
    pub(super) fn of(expires_at: Timestamp, retention: Duration) -> Self {
        let eighth_h = retention.as_secs() / 3600 / 8;
        let width_log2 = eighth_h.checked_ilog2().map_or(0, |log2| (log2 as u8).min(WIDTH_LOG2_MAX));
        let expires_h = (expires_at.0.max(0) as u64).div_ceil(HOUR_MS);
        Self { width_log2, end_h: expires_h.div_ceil(1 << width_log2) << width_log2 }
    }

    fn name(self) -> String {
        format!("{PREFIX}{:02}-{}", self.width_log2, self.end_h)
    }

    fn parse(name: &str) -> Option<Self> {
        let (width_log2, end_h) = name.strip_prefix(PREFIX)?.split_once('-')?;
        Some(Self { width_log2: width_log2.parse().ok()?, end_h: end_h.parse().ok()? })
    }

    fn end(self) -> Timestamp {
        Timestamp(i64::try_from(self.end_h.saturating_mul(HOUR_MS)).unwrap_or(i64::MAX))
    }

    /// Whether a record in it may have a stamp in the range: its retention is 8 to 16 widths (in the
    /// narrowest buckets also less, in the widest also more), and it expires within the last width.
    fn may_hold(self, from: Stamp, to: Stamp) -> bool {
        let hours = |h: u64| h.saturating_mul(HOUR_MS);
        let least = if self.width_log2 == 0 { 0 } else { 8_u64 << self.width_log2 };
        let newest = hours(self.end_h.saturating_sub(least));
        let oldest = match self.width_log2 {
            WIDTH_LOG2_MAX => 0,
            log2 => hours(self.end_h.saturating_sub(17 << log2)),
        };
        oldest <= to.millis() && from.millis() <= newest
    }
}

pub(super) struct Buckets {
    db: Database,
    open: RwLock<BTreeMap<BucketId, Keyspace>>,
}

pub(super) enum NoBucket {
    TooMany,
    Failed(fjall::Error),
}

impl Buckets {
    pub(super) fn open(db: &Database) -> Result<Self, fjall::Error> {
        let mut open = BTreeMap::new();
        for name in db.list_keyspace_names() {
            if let Some(id) = BucketId::parse(&name) {
                open.insert(id, db.keyspace(&name, options)?);
            }
        }
        Ok(Self { db: db.clone(), open: RwLock::new(open) })
    }

    /// The bucket, made when it is not there. Only the writer calls it.
    pub(super) fn for_write(&self, id: BucketId) -> Result<Keyspace, NoBucket> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(keyspace) = open.get(&id) {
            return Ok(keyspace.clone());
        }
        if open.len() >= BUCKETS_MAX {
            return Err(NoBucket::TooMany);
        }
        drop(open);
        let keyspace = self.db.keyspace(&id.name(), options).map_err(NoBucket::Failed)?;
        self.open.write().unwrap_or_else(PoisonError::into_inner).insert(id, keyspace.clone());
        Ok(keyspace)
    }

    /// The buckets in which records of the range may lie.
    pub(super) fn holding(&self, from: Stamp, to: Stamp) -> Vec<Keyspace> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.iter().filter(|(id, _)| id.may_hold(from, to)).map(|(_, k)| k.clone()).collect()
    }

    pub(super) fn all(&self) -> Vec<Keyspace> {
        self.open.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Drops the buckets in which everything has expired. About how many records that were.
    pub(super) fn drop_expired(&self, now: Timestamp) -> Result<Option<u64>, fjall::Error> {
        let expired: Vec<_> = {
            let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
            let ids: Vec<_> = open.keys().filter(|id| id.end() <= now).copied().collect();
            ids.iter().filter_map(|id| open.remove(id)).collect()
        };
        let mut records = None;
        for keyspace in expired {
            *records.get_or_insert(0) += keyspace.approximate_len() as u64;
            self.db.delete_keyspace(keyspace)?;
        }
        Ok(records)
    }
}

pub(super) fn options() -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_H: u64 = 490_000;

    fn bucket(retention_h: u64, age_h: u64) -> BucketId {
        let written = Timestamp(((NOW_H - age_h) * HOUR_MS) as i64 + 1);
        let retention = Duration::from_secs(retention_h * 3600);
        BucketId::of(written + retention, retention)
    }

    #[test]
    fn widths_are_an_eighth_of_the_retention_and_an_hour_at_least() {
        for (retention_h, width_log2) in
            [(0, 0), (1, 0), (8, 0), (15, 0), (16, 1), (24, 1), (72, 3), (8760, 10)]
        {
            assert_eq!(bucket(retention_h, 0).width_log2, width_log2, "{retention_h} h");
        }
        let forever = BucketId::of(Timestamp(i64::MAX), Duration::MAX);
        assert_eq!(BucketId::parse(&forever.name()), Some(forever));
        assert_eq!(forever.end(), Timestamp(i64::MAX));
    }

    #[test]
    fn a_bucket_outlives_its_records_by_less_than_its_width_and_there_are_few() {
        for retention_h in [1, 2, 7, 15, 16, 24, 31, 72, 168, 720, 8760, 50_000] {
            let ids: std::collections::BTreeSet<_> =
                (0..retention_h).map(|age| bucket(retention_h, age)).collect();
            assert!(ids.len() <= 17, "{retention_h} h: {}", ids.len());
            for age_h in 0..retention_h {
                let (id, stamp_ms) = (bucket(retention_h, age_h), (NOW_H - age_h) * HOUR_MS + 1);
                let expires = stamp_ms + retention_h * HOUR_MS;
                let end = id.end().0 as u64;
                assert!(expires <= end && end - expires < HOUR_MS << id.width_log2);
                let stamp = Stamp::at(Timestamp(stamp_ms as i64));
                assert!(id.may_hold(stamp, stamp), "{retention_h} h, {age_h} h old");
            }
        }
    }
}
