//! Refusals: a full disk, a full queue, a failed write.

use std::sync::mpsc::channel;

use super::*;
use crate::contract::{DAY, START_MS, append, key, read_all, start, text};
use crate::{Keep, Scope};
use fanfare_model::BodyKind;

fn outcome(b: &dyn Backend, n: u64) -> Result<(), StoreError> {
    start(b, &key("a", "x"), vec![text(n)], Keep::All, DAY).recv().unwrap()
}

#[test]
fn a_full_disk_refuses_appends_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    append(&Disk::open(options(dir.path())).unwrap(), &key("a", "x"), vec![text(1)]);
    // As good as full: more than the disk has must be free.
    let full = DiskOptions { free_bytes_min: u64::MAX, ..options(dir.path()) };
    {
        let b = Disk::open(full).unwrap();
        let Err(StoreError::Unavailable(why)) = outcome(&b, 2) else { panic!("it was taken") };
        assert!(why.contains("the disk is full"), "{why}");
        assert!(b.health().is_err());
        assert_eq!(b.fault(), None, "it passes");
        assert_eq!(read_all(&b, &key("a", "x"), BodyKind::Messages), [text(1)]);
        assert_eq!(b.erase(&Scope::Channel(key("a", "x"))).unwrap().records, 1);
        b.expire(Timestamp(START_MS)).unwrap();
    }
    let b = Disk::open(options(dir.path())).unwrap();
    outcome(&b, 3).unwrap();
    b.health().unwrap();
    assert_eq!(read_all(&b, &key("a", "x"), BodyKind::Messages), [text(3)]);
}

/// A real small disk, filled up for real: `FANFARE_SMALL_DISK=/mnt/tmpfs cargo test … -- --ignored`,
/// on a disk of 400 MiB or so that is empty.
#[test]
#[ignore = "needs a small disk"]
fn a_disk_fills_up_and_is_freed() {
    let path =
        PathBuf::from(std::env::var_os("FANFARE_SMALL_DISK").expect("FANFARE_SMALL_DISK names a directory"));
    let options = DiskOptions { free_bytes_min: 200 * 1024 * 1024, ..options(&path.join("data")) };
    let mut acknowledged = 0;
    for round in 0..20 {
        let b = Disk::open(options.clone()).unwrap();
        let before = acknowledged;
        // Another program's file.
        std::fs::write(path.join("hog"), vec![1; 40 * 1024 * 1024]).unwrap();
        while outcome(&b, acknowledged + 1).is_ok() {
            acknowledged += 1;
            if acknowledged % 1000 == 0 && acknowledged - before > 20_000 {
                let left = rustix::fs::statvfs(&path).unwrap();
                let left = (left.f_bavail * left.f_frsize).saturating_sub(190 * 1024 * 1024) as usize;
                std::fs::write(path.join("hog2"), vec![1; left]).unwrap();
            }
        }
        assert!(b.health().is_err() && b.fault().is_none());
        assert_eq!(
            read_all(&b, &key("a", "x"), BodyKind::Messages).len() as u64,
            acknowledged,
            "round {round}"
        );
        std::fs::remove_file(path.join("hog")).unwrap();
        let _ = std::fs::remove_file(path.join("hog2"));
        outcome(&b, acknowledged + 1).expect("it recovers alone");
        acknowledged += 1;
        if round % 5 == 4 {
            b.erase(&Scope::Channel(key("a", "x"))).unwrap();
            acknowledged = 0;
        }
        b.close();
    }
}

#[test]
fn a_full_queue_refuses_at_once_and_every_done_is_called() {
    let subject = OnDisk::new();
    let b = subject.backend();
    // The writer is held in a `done`, so that the queue fills.
    let (held, is_held) = channel();
    let (release, released) = channel::<()>();
    let done = Box::new(move |_| {
        held.send(()).unwrap();
        let _ = released.recv();
    });
    b.append(Append {
        channel: key("a", "h"),
        records: vec![text(1)],
        keep: Keep::All,
        retention: DAY,
        done,
    });
    is_held.recv().unwrap();
    let most = queue::QUEUE_RECORDS_MAX as u64;
    let (tell, told) = channel();
    for n in 1..=most + 10 {
        let tell = tell.clone();
        let done = Box::new(move |outcome: Result<(), StoreError>| {
            let _ = tell.send((n, outcome.is_ok()));
        });
        b.append(Append {
            channel: key("a", "x"),
            records: vec![text(n)],
            keep: Keep::All,
            retention: DAY,
            done,
        });
    }
    let refused: Vec<_> = (0..10).map(|_| told.recv().unwrap()).collect();
    assert!(refused.iter().all(|(n, ok)| *n > most && !ok), "{refused:?}");
    release.send(()).unwrap();
    drop(tell);
    let rest: Vec<_> = told.iter().collect();
    assert_eq!(rest, (1..=most).map(|n| (n, true)).collect::<Vec<_>>());
    assert_eq!(read_all(&*b, &key("a", "x"), BodyKind::Messages).len() as u64, most);
}

#[test]
fn one_append_of_any_size_is_taken_by_an_empty_queue() {
    let subject = OnDisk::new();
    let b = subject.backend();
    let many: Vec<_> = (1..=queue::QUEUE_RECORDS_MAX as u64 + 1).map(text).collect();
    append(&*b, &key("a", "x"), many);
}

#[test]
fn a_done_that_panics_fails_the_store_and_leaves_nobody_waiting() {
    let subject = OnDisk::new();
    let b = subject.backend();
    let done = Box::new(|_| panic!("on purpose"));
    b.append(Append {
        channel: key("a", "x"),
        records: vec![text(1)],
        keep: Keep::All,
        retention: DAY,
        done,
    });
    while b.fault().is_none() {
        std::thread::yield_now();
    }
    assert!(outcome(&*b, 2).is_err());
    assert!(b.health().is_err());
    b.close();
}

#[test]
fn a_failed_store_takes_nothing_more() {
    let subject = OnDisk::new();
    let b = Disk::open(options(&subject.dir.path().join("inner"))).unwrap();
    outcome(&b, 1).unwrap();
    b.shared.fail("a sync failed");
    let Err(StoreError::Unavailable(why)) = outcome(&b, 2) else { panic!("it was taken") };
    assert!(why.contains("must be restarted: a sync failed"), "{why}");
    assert_eq!(b.fault().as_deref(), Some("a sync failed"));
    assert!(b.health().is_err() && b.expire(Timestamp(0)).is_err());
    assert!(b.erase(&Scope::Channel(key("a", "x"))).is_err());
    assert_eq!(read_all(&b, &key("a", "x"), BodyKind::Messages), [text(1)], "reading goes on");
}
