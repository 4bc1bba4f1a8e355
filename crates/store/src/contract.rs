//! What every backend does, as a suite. A new backend is right when this passes, and when random
//! operations on it and on [`crate::Memory`] give the same answers.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use fanfare_model::{
    AppId, Body, BodyKind, ChannelKey, ChannelName, ClientId, ConnectionId, Data, MemberKey, Message,
    PresenceAction, PresenceEvent, Record, Stamp, Timestamp,
};

use crate::{Append, Backend, Direction, Erased, Head, Keep, Query, Scope, StoreError};

mod entries;
mod erasure;

/// A backend under test, fresh and empty.
pub trait Subject {
    fn backend(&self) -> Arc<dyn Backend>;
    /// Closes it and opens it anew; no case holds the old one then. `false` when it keeps nothing over that, and was left as it is.
    fn reopen(&mut self) -> bool;
}

type Case = (&'static str, fn(&mut dyn Subject));

const CASES: &[Case] = &[
    ("a channel without a log", nothing_there),
    ("order, ranges, directions, limits", ranges),
    ("kinds do not mix", kinds),
    ("apps and channels do not mix", isolation),
    ("ephemeral records are not kept", ephemeral),
    ("only the last message", keep_last),
    ("from all to the last and back", keep_changes),
    ("retention, both sides of its limit", retention),
    ("retention is fixed at the append", retention_changes),
    ("erase an app", erasure::app),
    ("erase a channel", erasure::channel),
    ("erase a client", erasure::client),
    ("erase a client's last message", erasure::client_last),
    ("entries", entries::by_area),
    ("an entry takes the place of another", entries::replaced),
    ("entries end", entries::ends),
    ("entries are erased with their app", entries::erased),
    ("entries and records at once", entries::concurrent),
    ("concurrent appends", concurrent),
    ("order of one channel's appends", appends_in_order),
    ("reopening keeps all", reopening),
    ("closing finishes what is queued", closing),
];

/// Runs every case on a backend of its own. Panics in the first that fails.
pub fn run<S: Subject>(mut make: impl FnMut() -> S) {
    for (name, case) in CASES {
        let mut subject = make();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| case(&mut subject)));
        assert!(outcome.is_ok(), "the contract's case {name:?} failed, see above");
        subject.backend().close();
    }
}

// === What the cases are made of. ===

pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);
/// An hour on the clock; the cases' time begins here.
pub(crate) const START_MS: i64 = 1_726_585_200_000;

pub(crate) fn key(app: &str, name: &str) -> ChannelKey {
    let (app, name) = (AppId::parse(app), ChannelName::parse(name));
    ChannelKey { app: app.expect("a good app id"), name: name.expect("a good channel name") }
}

pub(crate) fn client(id: &str) -> ClientId {
    ClientId::parse(id).expect("a good client id")
}

/// The stamp of the n-th millisecond of the cases' time.
pub(crate) fn stamp(n: u64) -> Stamp {
    Stamp(Stamp::at(Timestamp(START_MS)).0 + n * 1000)
}

pub(crate) fn after(d: Duration) -> Timestamp {
    Timestamp(START_MS) + d
}

pub(crate) fn message(from: Option<&str>, data: impl Into<Box<str>>) -> Message {
    Message { client_id: from.map(client), data: Data::Text(data.into()), ..Message::default() }
}

fn record_of(n: u64, body: Body) -> Arc<Record> {
    let stamp = stamp(n);
    let timestamp = Timestamp(stamp.millis() as i64);
    let connection_id = Some(ConnectionId::new("c"));
    Arc::new(Record { stamp, timestamp, id: format!("c:{n}").into(), connection_id, body, ephemeral: false })
}

pub(crate) fn messages(n: u64, from: &[&str]) -> Arc<Record> {
    let messages = from.iter().enumerate().map(|(i, from)| message(Some(from), format!("{n}/{i}")));
    record_of(n, Body::Messages(messages.collect()))
}

pub(crate) fn text(n: u64) -> Arc<Record> {
    messages(n, &["ann"])
}

pub(crate) fn presence(n: u64, who: &str) -> Arc<Record> {
    let event = PresenceEvent {
        action: PresenceAction::Enter,
        id: format!("c:{n}:0").into(),
        member: MemberKey { connection_id: ConnectionId::new("c"), client_id: client(who) },
        data: Data::None,
        encoding: None,
        extras: None,
        timestamp: Timestamp(START_MS + n as i64),
    };
    record_of(n, Body::Presence(vec![event]))
}

/// Starts an append. The answer comes by the channel, and its sender is gone after that.
pub(crate) fn start(
    backend: &dyn Backend,
    channel_key: &ChannelKey,
    records: Vec<Arc<Record>>,
    keep: Keep,
    retention: Duration,
) -> Receiver<Result<(), StoreError>> {
    let (tell, told) = channel();
    let done = Box::new(move |outcome| {
        let _ = tell.send(outcome);
    });
    backend.append(Append { channel: channel_key.clone(), records, keep, retention, done });
    told
}

pub(crate) fn append(backend: &dyn Backend, channel: &ChannelKey, records: Vec<Arc<Record>>) {
    let told = start(backend, channel, records, Keep::All, DAY);
    told.recv().expect("done is called").expect("the append succeeds");
    assert!(told.recv().is_err(), "done is called once");
}

fn append_with(backend: &dyn Backend, channel: &ChannelKey, record: Arc<Record>, keep: Keep, kept: Duration) {
    start(backend, channel, vec![record], keep, kept).recv().expect("done is called").expect("it succeeds");
}

pub(crate) fn query(from: u64, to: u64, direction: Direction, limit: usize) -> Query {
    Query { kind: BodyKind::Messages, from: stamp(from), to: stamp(to), direction, limit }
}

pub(crate) fn read_all(backend: &dyn Backend, channel: &ChannelKey, kind: BodyKind) -> Vec<Arc<Record>> {
    let all = Query {
        kind,
        from: Stamp(0),
        to: Stamp(u64::MAX),
        direction: Direction::Forwards,
        limit: usize::MAX,
    };
    backend.read(channel, &all).expect("reading succeeds")
}

/// The channel's messages are exactly these.
#[track_caller]
fn holds(backend: &dyn Backend, channel: &ChannelKey, expected: &[Arc<Record>]) {
    assert_eq!(read_all(backend, channel, BodyKind::Messages), expected);
}

// === The cases. ===

fn nothing_there(subject: &mut dyn Subject) {
    let b = subject.backend();
    let channel = key("app", "none");
    holds(&*b, &channel, &[]);
    assert_eq!(b.head(&channel).expect("a head"), None);
    assert_eq!(b.erase(&Scope::Channel(channel)).expect("erasing nothing"), Erased::default());
    b.health().expect("a fresh backend is well");
    assert_eq!(b.fault(), None);
}

fn ranges(subject: &mut dyn Subject) {
    let b = subject.backend();
    let channel = key("app", "c");
    let records: Vec<_> = (1..=10).map(text).collect();
    append(&*b, &channel, records[..4].to_vec());
    append(&*b, &channel, records[4..].to_vec());
    let check = |q: Query, expected: &[u64]| {
        let got = b.read(&channel, &q).expect("reading succeeds");
        let expected: Vec<_> = expected.iter().map(|n| records[*n as usize - 1].clone()).collect();
        assert_eq!(got, expected, "{q:?}");
    };
    use Direction::{Backwards, Forwards};
    check(query(3, 6, Forwards, 100), &[3, 4, 5, 6]);
    check(query(3, 6, Backwards, 100), &[6, 5, 4, 3]);
    check(query(3, 6, Forwards, 2), &[3, 4]);
    check(query(3, 6, Backwards, 2), &[6, 5]);
    check(query(5, 5, Forwards, 1), &[5]);
    check(query(0, 100, Backwards, 3), &[10, 9, 8]);
    check(query(11, 100, Forwards, 3), &[]);
    check(query(6, 3, Forwards, 3), &[]);
    check(query(6, 3, Backwards, 3), &[]);
    check(query(0, 100, Forwards, 0), &[]);
    let between =
        Query { from: Stamp(stamp(3).0 + 1), to: Stamp(stamp(5).0 - 1), ..query(0, 0, Forwards, 9) };
    check(between, &[4]);
    assert_eq!(b.head(&channel).expect("a head"), Some(Head { last: stamp(10) }));
}

fn kinds(subject: &mut dyn Subject) {
    let b = subject.backend();
    let channel = key("app", "c");
    let unknown =
        |n: u64, kind| record_of(n, Body::Unknown { kind, bytes: bytes::Bytes::from(n.to_string()) });
    let all = [text(1), presence(2, "ann"), unknown(3, 9), text(4), unknown(5, 200), presence(6, "bob")];
    append(&*b, &channel, all.to_vec());
    let of = |kind| read_all(&*b, &channel, kind);
    assert_eq!(of(BodyKind::Messages), [all[0].clone(), all[3].clone()]);
    assert_eq!(of(BodyKind::Presence), [all[1].clone(), all[5].clone()]);
    assert_eq!(of(BodyKind::Unknown), [all[2].clone(), all[4].clone()]);
    assert_eq!(b.head(&channel).expect("a head"), Some(Head { last: stamp(6) }), "of any kind");
    let newest = Query { kind: BodyKind::Presence, ..query(0, 100, Direction::Backwards, 1) };
    assert_eq!(b.read(&channel, &newest).expect("reading succeeds"), [all[5].clone()]);
}

/// Names with separators, names that are each other's prefixes, apps likewise. A channel name has no
/// NUL, but characters next to it.
fn isolation(subject: &mut dyn Subject) {
    let b = subject.backend();
    let apps = ["a", "ab", "a-", "a_", "A", "b"];
    let names = ["a", "a:", "a:b", "a/b", "a.b", "ab", "a\u{1}", "a\u{ff}", "[meta]a", "ü", "\u{1}"];
    let channels: Vec<_> = apps.iter().flat_map(|app| names.map(|name| key(app, name))).collect();
    for (i, channel) in channels.iter().enumerate() {
        append(&*b, channel, vec![text(i as u64 + 1)]);
    }
    for (i, channel) in channels.iter().enumerate() {
        let n = i as u64 + 1;
        holds(&*b, channel, &[text(n)]);
        assert_eq!(b.head(channel).expect("a head"), Some(Head { last: stamp(n) }), "{channel:?}");
    }
    assert_eq!(b.erase(&Scope::App(channels[0].app.clone())).expect("erased").records, names.len() as u64);
    for (i, channel) in channels.iter().enumerate() {
        let left = (i >= names.len()).then(|| text(i as u64 + 1));
        holds(&*b, channel, left.as_slice());
    }
}

fn ephemeral(subject: &mut dyn Subject) {
    let b = subject.backend();
    let channel = key("app", "c");
    let passing = |n| Arc::new(Record { ephemeral: true, ..(*text(n)).clone() });
    append(&*b, &channel, vec![passing(1), text(2), passing(3)]);
    append(&*b, &channel, vec![passing(4)]);
    holds(&*b, &channel, &[text(2)]);
    let last = key("app", "last");
    start(&*b, &last, vec![text(1), passing(2)], Keep::Last, DAY).recv().expect("done").expect("kept");
    holds(&*b, &last, &[text(1)]);
}

fn keep_last(subject: &mut dyn Subject) {
    let b = subject.backend();
    let channel = key("app", "c");
    for n in 1..=3 {
        append_with(&*b, &channel, text(n), Keep::Last, DAY);
        holds(&*b, &channel, &[text(n)]);
    }
    let told = start(&*b, &channel, vec![text(4), text(5), presence(6, "ann")], Keep::Last, DAY);
    told.recv().expect("done is called").expect("it succeeds");
    holds(&*b, &channel, &[text(5)]);
    assert_eq!(read_all(&*b, &channel, BodyKind::Presence), []);
    assert_eq!(b.head(&channel).expect("a head"), Some(Head { last: stamp(5) }));
    for direction in [Direction::Forwards, Direction::Backwards] {
        for (from, to, limit, there) in
            [(5, 5, 9, true), (6, 9, 9, false), (1, 4, 9, false), (1, 9, 0, false)]
        {
            let got = b.read(&channel, &query(from, to, direction, limit)).expect("reading succeeds");
            assert_eq!(!got.is_empty(), there, "{from} to {to}, limit {limit}");
        }
    }
    drop(b);
    if subject.reopen() {
        holds(&*subject.backend(), &channel, &[text(5)]);
    }
}

/// A rule may change under a channel.
fn keep_changes(subject: &mut dyn Subject) {
    let b = subject.backend();
    let channel = key("app", "c");
    append(&*b, &channel, vec![text(1), presence(2, "ann"), text(3)]);
    append_with(&*b, &channel, text(4), Keep::Last, Duration::from_secs(3600));
    holds(&*b, &channel, &[text(4)]);
    assert_eq!(read_all(&*b, &channel, BodyKind::Presence).len(), 1, "only messages have a last one");
    append(&*b, &channel, vec![text(5)]);
    holds(&*b, &channel, &[text(4), text(5)]);
    let newest = b.read(&channel, &query(0, 9, Direction::Backwards, 9)).expect("reading succeeds");
    assert_eq!(newest, [text(5), text(4)]);
    b.expire(after(Duration::from_secs(2 * 3600))).expect("expired");
    holds(&*b, &channel, &[text(5)]);
    b.expire(after(Duration::from_secs(4 * 3600))).expect("expired");
    holds(&*b, &channel, &[text(5)]);
    drop(b);
    if subject.reopen() {
        holds(&*subject.backend(), &channel, &[text(5)]);
    }
}

fn retention(subject: &mut dyn Subject) {
    let b = subject.backend();
    let kept = [3600, 7200, 24 * 3600, 72 * 3600, 365 * 24 * 3600].map(Duration::from_secs);
    let channels: Vec<_> = (0..kept.len()).map(|i| key("app", &format!("c{i}"))).collect();
    for (channel, kept) in channels.iter().zip(kept) {
        for keep in [Keep::All, Keep::Last] {
            let channel = ChannelKey { app: channel.app.clone(), name: named(channel, keep) };
            append_with(&*b, &channel, text(0), keep, kept);
        }
    }
    for (channel, kept) in channels.iter().zip(kept) {
        for (now, there) in [(kept - Duration::from_millis(1), true), (kept, false)] {
            b.expire(after(now)).expect("expired");
            for keep in [Keep::All, Keep::Last] {
                let channel = ChannelKey { app: channel.app.clone(), name: named(channel, keep) };
                let is_there = !read_all(&*b, &channel, BodyKind::Messages).is_empty();
                assert_eq!(is_there, there, "{kept:?} at {now:?}, {keep:?}");
                assert_eq!(b.head(&channel).expect("a head").is_some(), there);
            }
        }
    }
}

fn named(channel: &ChannelKey, keep: Keep) -> ChannelName {
    ChannelName::parse(&format!("{}:{keep:?}", channel.name)).expect("a good name")
}

fn retention_changes(subject: &mut dyn Subject) {
    let b = subject.backend();
    let channel = key("app", "c");
    let hours = |h: u64| Duration::from_secs(h * 3600);
    append_with(&*b, &channel, text(1), Keep::All, hours(72));
    append_with(&*b, &channel, text(2), Keep::All, hours(2));
    append_with(&*b, &channel, text(3), Keep::All, hours(24));
    holds(&*b, &channel, &[text(1), text(2), text(3)]);
    b.expire(after(hours(3))).expect("expired");
    holds(&*b, &channel, &[text(1), text(3)]);
    drop(b);
    if subject.reopen() {
        holds(&*subject.backend(), &channel, &[text(1), text(3)]);
    }
    let b = subject.backend();
    b.expire(after(hours(25))).expect("expired");
    b.expire(after(hours(1))).expect("a clock that went back brings nothing back");
    holds(&*b, &channel, &[text(1)]);
}

fn concurrent(subject: &mut dyn Subject) {
    const THREADS: usize = 8;
    const APPENDS: u64 = 100;
    let b = subject.backend();
    let channels: Vec<_> = (0..THREADS).map(|i| key("app", &format!("c{i}"))).collect();
    std::thread::scope(|scope| {
        for channel in &channels {
            let b = &b;
            scope.spawn(move || {
                let told: Vec<_> =
                    (1..=APPENDS).map(|n| start(&**b, channel, vec![text(n)], Keep::All, DAY)).collect();
                for told in told {
                    told.recv().expect("done is called").expect("the append succeeds");
                    assert!(told.recv().is_err(), "done is called once");
                }
            });
        }
    });
    let expected: Vec<_> = (1..=APPENDS).map(text).collect();
    channels.iter().for_each(|c| holds(&*b, c, &expected));
}

/// When the last is done, all before it are to be seen.
fn appends_in_order(subject: &mut dyn Subject) {
    let b = subject.backend();
    let channel = key("app", "c");
    let (tell, told) = std::sync::mpsc::channel();
    for n in 1..=500 {
        let tell = tell.clone();
        let done = Box::new(move |outcome: Result<(), StoreError>| {
            outcome.expect("the append succeeds");
            let _ = tell.send(n);
        });
        b.append(Append {
            channel: channel.clone(),
            records: vec![text(n)],
            keep: Keep::All,
            retention: DAY,
            done,
        });
    }
    drop(tell);
    assert_eq!(told.iter().collect::<Vec<_>>(), (1..=500).collect::<Vec<_>>());
    holds(&*b, &channel, &(1..=500).map(text).collect::<Vec<_>>());
}

fn reopening(subject: &mut dyn Subject) {
    let channels = [key("app", "a"), key("other", "a")];
    let epoch = subject.backend().epoch();
    for (i, channel) in channels.iter().enumerate() {
        append(&*subject.backend(), channel, vec![text(i as u64 + 1), presence(9, "ann")]);
    }
    for _ in 0..3 {
        if !subject.reopen() {
            return;
        }
        let b = subject.backend();
        assert_eq!(b.epoch(), epoch, "nothing was lost");
        for (i, channel) in channels.iter().enumerate() {
            holds(&*b, channel, &[text(i as u64 + 1)]);
            assert_eq!(read_all(&*b, channel, BodyKind::Presence).len(), 1);
            assert_eq!(b.head(channel).expect("a head"), Some(Head { last: stamp(9) }));
        }
    }
}

fn closing(subject: &mut dyn Subject) {
    let b = subject.backend();
    let channel = key("app", "c");
    let told: Vec<_> = (1..=200).map(|n| start(&*b, &channel, vec![text(n)], Keep::All, DAY)).collect();
    b.close();
    for told in told {
        told.try_recv().expect("done was called before close returned").expect("it was finished");
    }
    let after_close = start(&*b, &channel, vec![text(201)], Keep::All, DAY);
    let refused = after_close.recv().expect("done is called");
    assert!(matches!(refused, Err(StoreError::Unavailable(_))));
    assert!(b.health().is_err());
    b.close();
    drop(b);
    if subject.reopen() {
        holds(&*subject.backend(), &channel, &(1..=200).map(text).collect::<Vec<_>>());
    }
}
