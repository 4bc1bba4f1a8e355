//! The engine's journals, looked through before the engine opens them.
//!
//! The engine cuts a journal off at the first thing that it cannot read, whatever follows. That is right
//! for a torn tail (the one batch that was being written when the power went, never acknowledged), and
//! wrong for a bit that flipped in the middle: records that were acknowledged would go without a word.
//! We sync each batch before we write the next. So: when a whole batch follows the damage, the damage
//! was acknowledged, and the store is not opened; when none does, it is the tail, and is cut off here,
//! because the engine refuses some torn tails that are harmless.
//!
//! What cannot be told from a torn tail is damage to the very last batch.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

/// The engine's marks, of its format 3: `fjall::journal::entry`.
mod tag {
    pub(super) const START: u8 = 1;
    pub(super) const ITEM: u8 = 2;
    pub(super) const END: u8 = 3;
    pub(super) const CLEAR: u8 = 4;
}
const MAGIC: &[u8] = b"FJL\x03";
/// Mark, count of items, sequence number.
const START_BYTES: usize = 1 + 4 + 8;
/// Mark, checksum, magic.
const END_BYTES: usize = 1 + 8 + MAGIC.len();
/// Mark, kind, compression, keyspace, and the lengths of key, value and stored value.
const ITEM_BYTES: usize = 1 + 1 + 1 + 8 + 2 + 4 + 4;
const CLEAR_BYTES: usize = 1 + 8;

pub(super) enum Problem {
    Io(io::Error),
    /// Acknowledged batches follow the damage.
    Damaged {
        journal: PathBuf,
        at: usize,
    },
}

impl From<io::Error> for Problem {
    fn from(e: io::Error) -> Self {
        Self::Io(e)
    }
}

/// Looks through the journals of the engine's directory, and cuts torn tails off.
pub(super) fn check(log: &Path) -> Result<(), Problem> {
    let entries = match fs::read_dir(log) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e.into()),
    };
    let paths = entries.map(|e| e.map(|e| e.path())).collect::<Result<Vec<_>, _>>()?;
    for path in paths.into_iter().filter(|p| p.extension().is_some_and(|e| e == "jnl")) {
        let bytes = fs::read(&path)?;
        let good = batches(&bytes);
        let rest = &bytes[good..];
        if is_zero(rest) {
            continue;
        }
        if batch_later(rest) {
            return Err(Problem::Damaged { journal: path, at: good });
        }
        let file = OpenOptions::new().write(true).open(&path)?;
        file.set_len(good as u64)?;
        file.sync_all()?;
        File::open(log)?.sync_all()?;
    }
    Ok(())
}

/// Journals are preallocated: what is not written yet is zeros.
fn is_zero(bytes: &[u8]) -> bool {
    const ZEROS: [u8; 4096] = [0; 4096];
    bytes.chunks(ZEROS.len()).all(|chunk| *chunk == ZEROS[..chunk.len()])
}

/// How many bytes of whole batches there are at the beginning.
fn batches(bytes: &[u8]) -> usize {
    let mut good = 0;
    while let Some(length) = batch(&bytes[good..]) {
        good += length;
    }
    good
}

/// Whether a whole batch begins behind some batch's end.
fn batch_later(bytes: &[u8]) -> bool {
    let ends = bytes.windows(MAGIC.len()).enumerate().filter(|(_, w)| *w == MAGIC);
    ends.map(|(at, _)| at + MAGIC.len()).any(|end| batch(&bytes[end..]).is_some())
}

/// The length of the whole, unharmed batch that the bytes begin with.
fn batch(bytes: &[u8]) -> Option<usize> {
    let start = bytes.get(..START_BYTES).filter(|b| b[0] == tag::START)?;
    let items = u32::from_le_bytes(start[1..5].try_into().ok()?);
    let mut hash = Xxh3::new();
    let mut at = START_BYTES;
    for _ in 0..items {
        let length = item(&bytes[at..])?;
        hash.update(bytes.get(at..at + length)?);
        at += length;
    }
    let end = bytes.get(at..at + END_BYTES).filter(|b| b[0] == tag::END && b.ends_with(MAGIC))?;
    let sum = u64::from_le_bytes(end[1..9].try_into().ok()?);
    (hash.digest() == sum).then_some(at + END_BYTES)
}

/// The length of the item that the bytes begin with; it may be more than there are.
fn item(bytes: &[u8]) -> Option<usize> {
    match *bytes.first()? {
        tag::CLEAR => Some(CLEAR_BYTES),
        tag::ITEM => {
            let head = bytes.get(..ITEM_BYTES)?;
            let key = u16::from_le_bytes(head[11..13].try_into().ok()?);
            let stored = u32::from_le_bytes(head[17..21].try_into().ok()?);
            Some(ITEM_BYTES + usize::from(key) + stored as usize)
        }
        _ => None,
    }
}
