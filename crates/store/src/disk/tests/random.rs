//! Random operations on disk and in memory give the same answers.

use std::time::Duration;

use fanfare_model::{BodyKind, ChannelKey, Record};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::contract::{after, client, key, messages, presence, query, start};
use crate::{Direction, Keep, Scope};

#[derive(Clone, Debug)]
enum Op {
    /// Records as (kind, who), and the retention in hours.
    Append {
        channel: usize,
        records: Vec<(u8, usize)>,
        keep_last: bool,
        retention_h: u64,
    },
    Read {
        channel: usize,
        kind: u8,
        from: u64,
        span: u64,
        backwards: bool,
        limit: usize,
    },
    Expire {
        hours: u64,
    },
    Erase {
        scope: u8,
        channel: usize,
        who: usize,
    },
    Reopen,
}

const WHO: [&str; 3] = ["ann", "bob", "annie"];
const CHANNELS: [(&str, &str); 4] = [("a", "x"), ("a", "x:y"), ("ab", "x"), ("a", "xy")];
/// Records come this far apart, so that they spread over buckets.
const STEP_MS: u64 = 600_000;

fn op() -> impl Strategy<Value = Op> {
    let append = (0..4_usize, vec((0..4_u8, 0..3_usize), 1..4), prop::bool::weighted(0.25), 1..40_u64)
        .prop_map(|(channel, records, keep_last, retention_h)| Op::Append {
            channel,
            records,
            keep_last,
            retention_h,
        });
    let read = (0..4_usize, 0..3_u8, 0..60_u64, 0..60_u64, any::<bool>(), 0..8_usize).prop_map(
        |(channel, kind, from, span, backwards, limit)| Op::Read {
            channel,
            kind,
            from,
            span,
            backwards,
            limit,
        },
    );
    let erase =
        (0..3_u8, 0..4_usize, 0..3_usize).prop_map(|(scope, channel, who)| Op::Erase { scope, channel, who });
    prop_oneof![
        20 => append,
        20 => read,
        2 => (0..50_u64).prop_map(|hours| Op::Expire { hours }),
        2 => erase,
        1 => Just(Op::Reopen),
    ]
}

fn record(n: u64, kind: u8, who: usize) -> Arc<Record> {
    let n = n * STEP_MS;
    match kind {
        0 => presence(n, WHO[who]),
        1 => messages(n, &[WHO[who]]),
        2 => messages(n, &[WHO[who], "bob"]),
        _ => Arc::new(Record { ephemeral: true, ..(*messages(n, &[WHO[who]])).clone() }),
    }
}

fn channel(i: usize) -> ChannelKey {
    key(CHANNELS[i].0, CHANNELS[i].1)
}

fn kind(kind: u8) -> BodyKind {
    [BodyKind::Messages, BodyKind::Presence, BodyKind::Unknown][usize::from(kind)]
}

fn scope(scope: u8, channel: ChannelKey, who: usize) -> Scope {
    match scope {
        0 => Scope::App(channel.app),
        1 => Scope::Channel(channel),
        _ => Scope::Client { app: channel.app, client: client(WHO[who]) },
    }
}

fn check(ops: Vec<Op>) -> Result<(), TestCaseError> {
    let memory = Memory::new(Epoch::parse("m").unwrap());
    let mut on_disk = OnDisk::new();
    let mut clock = 0;
    for op in ops {
        let disk = on_disk.backend();
        match op {
            Op::Append { channel: at, records, keep_last, retention_h } => {
                let records: Vec<_> = records
                    .into_iter()
                    .map(|(kind, who)| {
                        clock += 1;
                        record(clock, kind, who)
                    })
                    .collect();
                let keep = if keep_last { Keep::Last } else { Keep::All };
                for b in [&*disk, &memory as &dyn Backend] {
                    let retention = Duration::from_secs(retention_h * 3600);
                    start(b, &channel(at), records.clone(), keep, retention).recv().unwrap().unwrap();
                }
            }
            Op::Read { channel: at, kind: k, from, span, backwards, limit } => {
                let direction = if backwards { Direction::Backwards } else { Direction::Forwards };
                let q = query(from * STEP_MS, (from + span) * STEP_MS, direction, limit);
                let q = Query { kind: kind(k), ..q };
                let (on_disk, in_memory) = (disk.read(&channel(at), &q), memory.read(&channel(at), &q));
                prop_assert_eq!(on_disk.unwrap(), in_memory.unwrap(), "{:?}", q);
            }
            Op::Expire { hours } => {
                let now = after(Duration::from_secs(hours * 3600));
                disk.expire(now).unwrap();
                memory.expire(now).unwrap();
                // What is appended from now on must not have expired before: memory would keep it.
                clock = clock.max(hours * 3_600_000 / STEP_MS);
            }
            Op::Erase { scope: s, channel: at, who } => {
                let scope = scope(s, channel(at), who);
                prop_assert_eq!(disk.erase(&scope).unwrap(), memory.erase(&scope).unwrap(), "{:?}", scope);
            }
            Op::Reopen => {
                drop(disk);
                on_disk.reopen();
            }
        }
        let disk = on_disk.backend();
        for at in 0..CHANNELS.len() {
            prop_assert_eq!(disk.head(&channel(at)).unwrap(), memory.head(&channel(at)).unwrap());
        }
    }
    Ok(())
}

/// `PROPTEST_CASES` makes it longer.
#[test]
fn disk_and_memory_agree() {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(12);
    let config =
        ProptestConfig { cases, max_shrink_iters: 100, failure_persistence: None, ..Default::default() };
    proptest!(config, |(ops in vec(op(), 1..60))| check(ops)?);
}
