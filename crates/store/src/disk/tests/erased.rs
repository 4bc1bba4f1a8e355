//! What is erased is in no file any more.

use std::fs;
use std::path::Path;
use std::time::Duration;

use fanfare_model::{Body, Message, Record};

use super::*;
use crate::contract::{DAY, after, append, client, key, message, messages, start, text};
use crate::{Keep, Scope};

/// Sixty-four characters that compression can only copy, made anew for each use.
fn canary() -> String {
    let mut random = [0; 48];
    getrandom::fill(&mut random).unwrap();
    random.iter().map(|b| char::from(b'!' + b % 90)).filter(|c| *c != '\\').collect()
}

/// How many files have any sixteen bytes of the canary in a row: a compressor may cut it up.
fn files_with(dir: &Path, canary: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, canary));
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        // Preallocated journals are mostly zeros.
        let end = bytes.iter().rposition(|b| *b != 0).map_or(0, |i| i + 1);
        let is_there = |part: &[u8]| bytes[..end].windows(part.len()).any(|w| w == part);
        if canary.as_bytes().chunks_exact(16).any(is_there) {
            found.push(path.display().to_string());
        }
    }
    found
}

fn with_canary(n: u64, who: &str, canary: &str) -> Arc<Record> {
    let mut record = (*text(n)).clone();
    let filler: Message = message(Some("bob"), "of somebody else");
    record.body = Body::Messages(vec![message(Some(who), canary), filler]);
    Arc::new(record)
}

fn is_gone(erase: impl Fn(&dyn Backend) -> Vec<Arc<Record>>, flushed_before: bool) {
    let mut subject = OnDisk::new();
    let canary = canary();
    let (channel, last) = (key("a", "x"), key("a", "last"));
    {
        let b = subject.backend();
        append(&*b, &channel, (1..50).map(text).collect());
        append(&*b, &channel, vec![with_canary(50, "ann", &canary)]);
        append(&*b, &key("other", "x"), vec![messages(1, &["ann"])]);
        // Overwritten: no erasure can find it by reading.
        for n in 1..3 {
            let record = if n == 1 { with_canary(n, "ann", &canary) } else { messages(n, &["bob"]) };
            start(&*b, &last, vec![record], Keep::Last, DAY).recv().unwrap().unwrap();
        }
        if flushed_before {
            // Another subject's erasure: now the canary is in a table.
            b.erase(&Scope::Client { app: key("z", "z").app, client: client("z") }).unwrap();
            append(&*b, &channel, vec![text(51)]);
        }
    }
    assert!(!files_with(subject.dir.path(), &canary).is_empty(), "the search can find it");
    let left = erase(&*subject.backend());
    for _ in 0..2 {
        assert_eq!(files_with(subject.dir.path(), &canary), Vec::<String>::new());
        let read =
            crate::contract::read_all(&*subject.backend(), &channel, fanfare_model::BodyKind::Messages);
        assert_eq!(read, left);
        subject.reopen();
    }
}

#[test]
fn an_erased_client_is_in_no_file() {
    for flushed_before in [false, true] {
        let erase = |b: &dyn Backend| {
            let scope = Scope::Client { app: key("a", "x").app, client: client("ann") };
            assert_eq!(b.erase(&scope).unwrap().messages, if flushed_before { 51 } else { 50 });
            let mut left = (*with_canary(50, "ann", "")).clone();
            let mut other = message(Some("bob"), "of somebody else");
            other.id = Some("c:50:1".into());
            left.body = Body::Messages(vec![other]);
            vec![Arc::new(left)]
        };
        is_gone(erase, flushed_before);
    }
}

#[test]
fn an_erased_channel_and_app_are_in_no_file() {
    let erase_channel = |b: &dyn Backend| {
        b.erase(&Scope::Channel(key("a", "x"))).unwrap();
        Vec::new()
    };
    is_gone(erase_channel, false);
    let erase_app = |b: &dyn Backend| {
        b.erase(&Scope::App(key("a", "x").app)).unwrap();
        Vec::new()
    };
    is_gone(erase_app, true);
}

#[test]
fn what_expired_is_in_no_file_after_its_bucket_ended() {
    let expire = |b: &dyn Backend| {
        b.expire(after(DAY + Duration::from_secs(3 * 3600 + 1))).unwrap();
        Vec::new()
    };
    is_gone(expire, false);
    is_gone(expire, true);
}

/// Erasing while others publish: theirs stay, and the erasure ends.
#[test]
fn erasure_under_load() {
    let subject = OnDisk::new();
    let b = subject.backend();
    let canary = canary();
    append(&*b, &key("a", "x"), vec![with_canary(1, "ann", &canary)]);
    let stop = std::sync::atomic::AtomicBool::new(false);
    let published = std::thread::scope(|scope| {
        let publisher = scope.spawn(|| {
            let mut n = 1;
            while !stop.load(Ordering::Acquire) {
                n += 1;
                append(&*b, &key("a", "y"), vec![messages(n, &["bob"])]);
            }
            n
        });
        for _ in 0..3 {
            b.erase(&Scope::Client { app: key("a", "x").app, client: client("ann") }).unwrap();
        }
        stop.store(true, Ordering::Release);
        publisher.join().unwrap()
    });
    assert_eq!(files_with(subject.dir.path(), &canary), Vec::<String>::new());
    let read = crate::contract::read_all(&*b, &key("a", "y"), fanfare_model::BodyKind::Messages);
    assert_eq!(read.len() as u64, published - 1);
}
