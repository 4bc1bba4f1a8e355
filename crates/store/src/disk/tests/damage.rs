//! Torn tails and flipped bits: a clean prefix or a precise refusal, and never a wrong byte.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use fanfare_model::{BodyKind, Record};

use super::*;
use crate::contract::{append, key, read_all, text};
use crate::{Direction, Scope};

const RECORDS: u64 = 40;

/// A store of single appends, closed; its journal's path and content without the zeros at its end.
fn filled() -> (tempfile::TempDir, PathBuf, Vec<u8>) {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::open(options(dir.path())).unwrap();
    (1..=RECORDS).for_each(|n| append(&disk, &key("a", "x"), vec![text(n)]));
    drop(disk);
    let journal = journal(dir.path());
    let mut bytes = fs::read(&journal).unwrap();
    bytes.truncate(bytes.iter().rposition(|b| *b != 0).unwrap() + 1);
    (dir, journal, bytes)
}

fn journal(dir: &Path) -> PathBuf {
    let mut journals: Vec<_> = fs::read_dir(dir.join("log")).unwrap().map(|e| e.unwrap().path()).collect();
    journals.retain(|p| p.extension().is_some_and(|e| e == "jnl"));
    assert_eq!(journals.len(), 1);
    journals.remove(0)
}

fn write(path: &Path, bytes: &[u8], zeros: u64) {
    let mut file = OpenOptions::new().write(true).truncate(true).open(path).unwrap();
    file.write_all(bytes).unwrap();
    file.set_len(bytes.len() as u64 + zeros).unwrap();
}

/// How many records are left; they must be the first ones.
fn prefix_left(dir: &Path) -> Result<u64, OpenError> {
    let disk = Disk::open(options(dir))?;
    let records = read_all(&disk, &key("a", "x"), BodyKind::Messages);
    let expected: Vec<_> = (1..=records.len() as u64).map(text).collect();
    assert_eq!(records, expected, "not a prefix");
    // And it goes on from there.
    let next = records.len() as u64 + 1;
    append(&disk, &key("a", "x"), vec![text(next)]);
    assert_eq!(read_all(&disk, &key("a", "x"), BodyKind::Messages).len() as u64, next);
    Ok(next - 1)
}

#[test]
fn a_torn_tail_leaves_a_prefix() {
    let (dir, journal, bytes) = filled();
    let (mut opened, mut least) = (0, RECORDS);
    // Every offset of the last record, some of those before.
    let last = bytes.len() - bytes.len() / RECORDS as usize;
    for zeros in [0, 4096] {
        for cut in (last - 600..bytes.len()).filter(|cut| *cut >= last || cut % 61 == 0) {
            write(&journal, &bytes[..cut], zeros);
            match prefix_left(dir.path()) {
                Ok(left) => {
                    opened += 1;
                    least = least.min(left);
                    assert!(cut < last || left >= RECORDS - 2, "more than the tail went at {cut}: {left}");
                }
                Err(e) => panic!("a torn tail must not stop it, at {cut}: {e}"),
            }
        }
    }
    eprintln!("{opened} torn tails, {least} records left at least");
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[derive(Debug, Default)]
struct Outcomes {
    not_opened: u32,
    not_read: u32,
    whole: u32,
    silently_short: u32,
    panicked: u32,
}

/// Opens and reads a damaged store.
fn look(dir: &Path, outcomes: &mut Outcomes) {
    let disk = match std::panic::catch_unwind(|| Disk::open(options(dir))) {
        Err(_) => return outcomes.panicked += 1,
        Ok(Err(_)) => return outcomes.not_opened += 1,
        Ok(Ok(disk)) => disk,
    };
    let all = Query {
        kind: BodyKind::Messages,
        from: Stamp(0),
        to: Stamp(u64::MAX),
        direction: Direction::Forwards,
        limit: usize::MAX,
    };
    let channel = key("a", "x");
    let read = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| disk.read(&channel, &all)));
    let records: Vec<Arc<Record>> = match read {
        Err(_) => return outcomes.panicked += 1,
        Ok(Err(_)) => return outcomes.not_read += 1,
        Ok(Ok(records)) => records,
    };
    let expected: Vec<_> = (1..=RECORDS).map(text).collect();
    assert!(records.iter().all(|r| expected.contains(r)), "wrong bytes were served");
    if records == expected {
        outcomes.whole += 1;
    } else {
        // The last batch cannot be told from a torn tail.
        assert_eq!(records, expected[..RECORDS as usize - 1]);
        outcomes.silently_short += 1;
    }
}

/// Flips bits of every file, one at a time, at places that differ from run to run of the loop only.
fn flips(dir: &Path, per_file: usize, only: impl Fn(&Path) -> bool) -> Outcomes {
    let mut outcomes = Outcomes::default();
    let originals: Vec<_> = files(dir).into_iter().map(|path| (fs::read(&path).unwrap(), path)).collect();
    for (bytes, path) in originals.iter().filter(|(_, path)| only(path)) {
        let end = bytes.iter().rposition(|b| *b != 0).map_or(0, |i| i + 1);
        for i in 0..per_file.min(end) {
            let at = (i * 7919 + i * end / per_file) % end;
            let mut flipped = bytes[..end].to_vec();
            flipped[at] ^= 1 << (i % 8);
            write(path, &flipped, (bytes.len() - end) as u64);
            look(dir, &mut outcomes);
            restore(dir, &originals);
        }
    }
    outcomes
}

fn restore(dir: &Path, originals: &[(Vec<u8>, PathBuf)]) {
    for path in files(dir) {
        if !originals.iter().any(|(_, p)| *p == path) {
            fs::remove_file(path).unwrap();
        }
    }
    for (bytes, path) in originals {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let end = bytes.iter().rposition(|b| *b != 0).map_or(0, |i| i + 1);
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).open(path).unwrap();
        file.write_all(&bytes[..end]).unwrap();
        file.set_len(bytes.len() as u64).unwrap();
    }
}

fn per_file() -> usize {
    std::env::var("FANFARE_FLIPS").ok().and_then(|n| n.parse().ok()).unwrap_or(2)
}

#[test]
fn flipped_bits_in_a_journal() {
    let (dir, journal, _) = filled();
    let outcomes = flips(dir.path(), per_file() * 10, |path| path == journal);
    eprintln!("journal: {outcomes:?}");
    assert_eq!(outcomes.panicked, 0);
}

#[test]
fn flipped_bits_in_tables() {
    let (dir, _, _) = filled();
    let disk = Disk::open(options(dir.path())).unwrap();
    // Flushes and compacts all.
    disk.erase(&Scope::Channel(key("z", "z"))).unwrap();
    drop(disk);
    let outcomes = flips(dir.path(), per_file(), |path| path.extension().is_none_or(|e| e != "jnl"));
    eprintln!("tables: {outcomes:?}");
    assert_eq!((outcomes.panicked, outcomes.silently_short), (0, 0));
}
