//! Room on the disk. The engine below cannot come back from a full disk (a background write that fails
//! poisons it for good), so it must never see one: appends are refused while less than a reserve is
//! free, and taken again when there is more. Reading and erasure go on.

use std::path::PathBuf;

use fjall::Database;

use crate::StoreError;

/// Free bytes below which appends are refused, when nothing else is configured. Room for what is not
/// in the appends' hands: rewriting by compaction, and the journal filler of an erasure.
pub const FREE_BYTES_MIN: u64 = 512 * 1024 * 1024;

pub(super) struct Space {
    path: PathBuf,
    free_bytes_min: u64,
}

impl Space {
    pub(super) fn new(path: PathBuf, free_bytes_min: u64) -> Self {
        Self { path, free_bytes_min }
    }

    /// Whether an append may be written. What is in memtables will be written once more, and is added.
    pub(super) fn check(&self, db: &Database) -> Result<(), StoreError> {
        self.at_least(self.free_bytes_min.saturating_add(db.write_buffer_size()))
    }

    pub(super) fn at_least(&self, bytes: u64) -> Result<(), StoreError> {
        let stat = rustix::fs::statvfs(&self.path)
            .map_err(|e| StoreError::Unavailable(format!("the disk's free space cannot be read: {e}")))?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        if free >= bytes {
            return Ok(());
        }
        Err(StoreError::Unavailable(format!("the disk is full: {free} bytes are free, and {bytes} must be")))
    }
}
