//! The contract's cases of what is kept beside the logs.

use std::sync::mpsc::channel;
use std::time::Duration;

use bytes::Bytes;
use fanfare_model::AppId;

use super::{Subject, after, append, client, holds, key, text};
use crate::{Area, Backend, Entry, Put, Scope};

fn entry(app: &str, area: u8, key: &[u8], value: &str, hours: u64) -> Entry {
    Entry {
        app: AppId::parse(app).expect("a good app id"),
        area: Area(area),
        key: key.into(),
        value: Bytes::copy_from_slice(value.as_bytes()),
        expires_at: after(Duration::from_secs(hours * 3600)),
    }
}

fn put(b: &dyn Backend, entry: Entry) {
    let (tell, told) = channel();
    b.put(Put { entry, done: Box::new(move |outcome| drop(tell.send(outcome))) });
    told.recv().expect("done is called").expect("the entry is kept");
    assert!(told.recv().is_err(), "done is called once");
}

#[track_caller]
fn has(b: &dyn Backend, area: u8, expected: &[&Entry]) {
    let entries = b.entries(Area(area)).expect("reading succeeds");
    assert_eq!(entries.unreadable, 0);
    let sorted = |mut all: Vec<Entry>| {
        all.sort_by_key(|e| (e.app.as_str().to_owned(), e.key.clone()));
        all
    };
    assert_eq!(sorted(entries.found), sorted(expected.iter().copied().cloned().collect()));
}

pub(super) fn by_area(subject: &mut dyn Subject) {
    let b = subject.backend();
    let all = [
        entry("a", 1, b"k", "of a", 1),
        entry("ab", 1, b"k", "of ab", 1),
        entry("a", 1, b"k\0x", "a longer key", 1),
        entry("a", 1, b"", "no key", 1),
        entry("a", 2, b"k", "of the other area", 1),
        entry("a", 0, b"k", "", 1),
    ];
    for e in &all {
        put(&*b, e.clone());
    }
    drop(b);
    for _ in 0..2 {
        let b = subject.backend();
        has(&*b, 1, &[&all[0], &all[1], &all[2], &all[3]]);
        has(&*b, 2, &[&all[4]]);
        has(&*b, 0, &[&all[5]]);
        has(&*b, 3, &[]);
        holds(&*b, &key("a", "k"), &[]);
        drop(b);
        if !subject.reopen() {
            return;
        }
    }
}

pub(super) fn replaced(subject: &mut dyn Subject) {
    let b = subject.backend();
    let versions: Vec<_> = (0..20).map(|n| entry("a", 1, b"k", &n.to_string(), 1 + n)).collect();
    let (tell, told) = channel();
    // Several in one batch: the last one counts.
    for version in &versions {
        let tell = tell.clone();
        b.put(Put { entry: version.clone(), done: Box::new(move |o| drop(tell.send(o))) });
    }
    for _ in &versions {
        told.recv().expect("done is called").expect("the entry is kept");
    }
    has(&*b, 1, &[versions.last().expect("some")]);
    put(&*b, versions[3].clone());
    has(&*b, 1, &[&versions[3]]);
}

pub(super) fn ends(subject: &mut dyn Subject) {
    let b = subject.backend();
    let (short, long) = (entry("a", 1, b"short", "s", 1), entry("a", 1, b"long", "l", 3));
    put(&*b, short.clone());
    put(&*b, long.clone());
    b.expire(after(Duration::from_secs(3600) - Duration::from_millis(1))).expect("expired");
    has(&*b, 1, &[&short, &long]);
    b.expire(after(Duration::from_secs(3600))).expect("expired");
    has(&*b, 1, &[&long]);
    drop(b);
    if subject.reopen() {
        has(&*subject.backend(), 1, &[&long]);
    }
    let b = subject.backend();
    b.expire(after(Duration::from_secs(1))).expect("a clock that went back brings nothing back");
    has(&*b, 1, &[&long]);
    b.expire(after(Duration::from_secs(3 * 3600))).expect("expired");
    has(&*b, 1, &[]);
}

pub(super) fn erased(subject: &mut dyn Subject) {
    let b = subject.backend();
    let (mine, other) = (entry("a", 1, b"k", "mine", 1), entry("ab", 1, b"k", "other", 1));
    put(&*b, mine.clone());
    put(&*b, other.clone());
    let app = AppId::parse("a").expect("good");
    b.erase(&Scope::Client { app: app.clone(), client: client("ann") }).expect("erased");
    b.erase(&Scope::Channel(key("a", "k"))).expect("erased");
    has(&*b, 1, &[&mine, &other]);
    b.erase(&Scope::App(app)).expect("erased");
    drop(b);
    for _ in 0..2 {
        has(&*subject.backend(), 1, &[&other]);
        if !subject.reopen() {
            return;
        }
    }
}

pub(super) fn concurrent(subject: &mut dyn Subject) {
    let b = subject.backend();
    let channel = key("a", "c");
    let records: Vec<_> = (1..=50).map(text).collect();
    let entries: Vec<_> = (0..50_u8).map(|n| entry("a", 1, &[n], "v", 1)).collect();
    std::thread::scope(|scope| {
        let b = &b;
        scope.spawn(|| records.iter().for_each(|record| append(&**b, &channel, vec![record.clone()])));
        scope.spawn(|| entries.iter().for_each(|e| put(&**b, e.clone())));
    });
    holds(&*b, &channel, &records);
    has(&*b, 1, &entries.iter().collect::<Vec<_>>());
    b.close();
    let (tell, told) = std::sync::mpsc::channel();
    b.put(Put { entry: entries[0].clone(), done: Box::new(move |o| drop(tell.send(o))) });
    assert!(told.recv().expect("done is called").is_err(), "closed");
}
