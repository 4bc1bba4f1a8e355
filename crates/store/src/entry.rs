//! What is kept beside the logs: small values by key, each with an end. What must survive a restart and
//! is no message stands here, such as what was revoked.

use bytes::Bytes;
use fanfare_model::{AppId, Timestamp};

use crate::Appended;

/// Keeps the keys of one purpose from those of another. Whoever uses an area chose its number once and
/// for all: it is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Area(pub u8);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub app: AppId,
    pub area: Area,
    pub key: Box<[u8]>,
    pub value: Bytes,
    /// From this moment on it is gone. The app's erasure takes it earlier, a client's does not.
    pub expires_at: Timestamp,
}

/// One entry, on its way to be durable.
pub struct Put {
    pub entry: Entry,
    pub done: Appended,
}

/// An area's entries as they were found.
#[derive(Debug, Default)]
pub struct Entries {
    pub found: Vec<Entry>,
    /// Entries whose bytes are not what was written. What they said is lost.
    pub unreadable: u64,
}
