//! Where an attachment begins: the seam to live, what continuity is told, and rewinds.

use std::time::Duration;

use fanfare_model::{ChannelKey, Epoch, Limits, Serial, Stamp};

use super::harness::*;
use crate::session::{Audience, Command, Continuity, Rewind, Since};

fn serial(epoch: &str, stamp: u64) -> Since {
    Since::Serial(Serial { stamp: Stamp(stamp), epoch: Epoch::parse(epoch).unwrap() })
}

/// Publishes 0..n, one each 10 ms, and returns their stamps. The channel has a life before them.
fn filled(w: &mut World, channel: &ChannelKey, n: u32) -> Vec<u64> {
    let [publisher, listener] = [w.open(0, "p"), w.open(1, "l")];
    w.attach(&listener, channel, Since::Now);
    for i in 0..n {
        w.pass(Duration::from_millis(10));
        w.publish(&publisher, channel, &i.to_string());
    }
    let frames = listener.frames();
    w.run(&listener, Command::End);
    w.run(&publisher, Command::End);
    assert_eq!(frames.len(), n as usize);
    frames.into_iter().map(|(stamp, _)| stamp).collect()
}

fn began(w: &mut World, channel: &ChannelKey, since: Since) -> Began {
    let peer = w.open(0, "x");
    w.attach(&peer, channel, since);
    let began = peer.attached();
    w.run(&peer, Command::End);
    began
}

#[test]
fn an_attach_at_any_seam_gets_backlog_and_live_without_gap_or_duplicate() {
    for (namespace, owner) in [("tail", 0), ("tail", 1), ("keep", 0), ("keep", 1)] {
        // After how many publishes the attach is asked for, and after how many more a turn ends.
        for (before, turn) in (0..8).flat_map(|b| (0..8).map(move |t| (b, t))) {
            let mut w = World::new();
            let channel = w.channel(namespace, owner);
            let [publisher, joiner] = [w.open(0, "p"), w.open(1, "j")];
            let stamps = filled(&mut w, &channel, 2);
            for n in 0..8 {
                if n == before {
                    let since = serial(if namespace == "keep" { "stored" } else { "memory" }, stamps[0]);
                    w.tell(&joiner, attach(1, &channel, EVERYTHING, since));
                }
                let command = publish(&publisher, &channel, &format!("n{n}"), false);
                w.tell(&publisher, command);
                if n == turn {
                    w.turn(0);
                    w.turn(1);
                }
            }
            w.settle();
            let began = joiner.attached();
            assert_eq!(began.continuity, Continuity::Kept);
            let mut got: Vec<String> = began.payloads().iter().map(|p| (*p).to_owned()).collect();
            got.extend(joiner.heard());
            assert_eq!(got, ["1", "n0", "n1", "n2", "n3", "n4", "n5", "n6", "n7"], "{before} {turn}");
        }
    }
}

#[test]
fn continuity_is_told_truthfully_on_both_sides_of_the_number_of_records() {
    let mut w = World::with(Limits { tail_records_max: 5, ..Limits::default() });
    let channel = w.channel("tail", 1);
    let stamps = filled(&mut w, &channel, 10);
    let oldest_known = began(&mut w, &channel, serial("memory", stamps[4]));
    assert_eq!(oldest_known.continuity, Continuity::Kept);
    assert_eq!(oldest_known.payloads(), ["5", "6", "7", "8", "9"]);
    let older = began(&mut w, &channel, serial("memory", stamps[4] - 1));
    assert_eq!((older.continuity, older.backlog.len()), (Continuity::Lost, 0));
    let newest = began(&mut w, &channel, serial("memory", stamps[9]));
    assert_eq!((newest.continuity, newest.backlog.len()), (Continuity::Kept, 0));
    for (epoch, stamp) in [("memory", stamps[9] + 1), ("another", stamps[9]), ("stored", stamps[9])] {
        let refused = began(&mut w, &channel, serial(epoch, stamp));
        assert_eq!((refused.continuity, refused.backlog.len()), (Continuity::Lost, 0), "{epoch} {stamp}");
    }
    assert_eq!(began(&mut w, &channel, Since::Unknown).continuity, Continuity::Lost);
    assert_eq!(began(&mut w, &channel, Since::Now).continuity, Continuity::Fresh);
}

#[test]
fn continuity_is_told_truthfully_on_both_sides_of_the_age_and_of_the_bytes() {
    let mut w = World::with(Limits { tail_age_max: Duration::from_millis(3000), ..Limits::default() });
    let channel = w.channel("tail", 0);
    let stamps = filled(&mut w, &channel, 10);
    w.wait(2);
    assert_eq!(began(&mut w, &channel, serial("memory", stamps[0])).payloads().len(), 9);
    w.pass(Duration::from_millis(950));
    w.wait(1);
    // At 3950 ms after the last nothing is kept: only who has all of it has missed nothing.
    let all = began(&mut w, &channel, serial("memory", stamps[9]));
    assert_eq!((all.continuity, all.backlog.len()), (Continuity::Kept, 0));
    assert_eq!(began(&mut w, &channel, serial("memory", stamps[8])).continuity, Continuity::Lost);

    // Each record costs 256 bytes and its one byte of data.
    let mut w = World::with(Limits { tail_bytes_max: 3 * 257, ..Limits::default() });
    let channel = w.channel("tail", 0);
    let stamps = filled(&mut w, &channel, 10);
    assert_eq!(began(&mut w, &channel, serial("memory", stamps[6])).payloads(), ["7", "8", "9"]);
    assert_eq!(began(&mut w, &channel, serial("memory", stamps[5])).continuity, Continuity::Lost);
}

#[test]
fn a_channel_without_a_tail_keeps_continuity_only_for_who_missed_nothing() {
    let mut w = World::new();
    let channel = w.channel("none", 0);
    let stamps = filled(&mut w, &channel, 3);
    assert_eq!(began(&mut w, &channel, serial("memory", stamps[2])).continuity, Continuity::Kept);
    assert_eq!(began(&mut w, &channel, serial("memory", stamps[1])).continuity, Continuity::Lost);
}

#[test]
fn a_channel_that_was_forgotten_does_not_claim_its_earlier_life() {
    let mut w = World::new();
    let channel = w.channel("tail", 0);
    let stamps = filled(&mut w, &channel, 3);
    w.wait(250);
    assert_eq!(w.channels(), 0);
    assert_eq!(began(&mut w, &channel, serial("memory", stamps[2])).continuity, Continuity::Lost);
}

#[test]
fn a_loaded_channel_keeps_continuity_over_a_restart_within_its_limits() {
    for (records_max, kept_from) in [(100, 0), (10, 0), (9, 0), (8, 1), (4, 5)] {
        let limits = Limits { tail_records_max: records_max, ..Limits::default() };
        let mut w = World::with(Limits::default());
        let key = w.channel("keep", 0);
        let stamps = filled(&mut w, &key, 10);
        w.pass(Duration::from_secs(5));
        let mut after = World::over(w.store.clone(), limits, w.now.wall);
        let began_at = |after: &mut World, i: usize| began(after, &key, serial("stored", stamps[i]));
        let kept = began_at(&mut after, kept_from);
        assert_eq!(kept.continuity, Continuity::Kept, "{records_max}");
        assert_eq!(kept.backlog.len(), 9 - kept_from, "{records_max}");
        assert_eq!(kept.backlog.last().map(|(s, _)| *s), Some(stamps[9]));
        if kept_from > 0 {
            assert_eq!(began_at(&mut after, kept_from - 1).continuity, Continuity::Lost, "{records_max}");
        }
    }
    let mut w = World::new();
    let key = w.channel("keep", 0);
    let stamps = filled(&mut w, &key, 3);
    w.pass(Duration::from_secs(121));
    let mut after = World::over(w.store.clone(), Limits::default(), w.now.wall);
    assert_eq!(began(&mut after, &key, serial("stored", stamps[0])).continuity, Continuity::Lost);
}

#[test]
fn a_rewind_by_count_may_begin_inside_an_array() {
    for namespace in ["tail", "keep"] {
        let mut w = World::new();
        let channel = w.channel(namespace, 1);
        let p = w.open(0, "p");
        for payload in ["a", "b,c,d", "e"] {
            w.publish(&p, &channel, payload);
        }
        let cases: [(usize, &[&str], usize); 6] = [
            (1, &["e"], 0),
            (2, &["b,c,d", "e"], 2),
            (3, &["b,c,d", "e"], 1),
            (4, &["b,c,d", "e"], 0),
            (5, &["a", "b,c,d", "e"], 0),
            (9, &["a", "b,c,d", "e"], 0),
        ];
        for (n, records, skip) in cases {
            let at = began(&mut w, &channel, Since::Rewind(Rewind::Count(n)));
            assert_eq!((at.payloads(), at.skip), (records.to_vec(), skip), "{n} of {namespace}");
            assert_eq!(at.continuity, Continuity::Fresh);
        }
    }
}

#[test]
fn a_rewind_by_time_says_when_it_was_cut() {
    let mut w = World::with(Limits { rewind_messages_max: 9, ..Limits::default() });
    let channel = w.channel("tail", 1);
    filled(&mut w, &channel, 10);
    let mut rewound = |ms, limit| {
        let age = Duration::from_millis(ms);
        let at = began(&mut w, &channel, Since::Rewind(Rewind::Time { age, limit }));
        (at.continuity, at.payloads().join(""))
    };
    assert_eq!(rewound(20, 100), (Continuity::Fresh, "789".into()));
    assert_eq!(rewound(80, 100), (Continuity::Fresh, "123456789".into()));
    assert_eq!(rewound(60_000, 10), (Continuity::Truncated, "123456789".into()));
    // What the client itself did not want is not missing.
    assert_eq!(rewound(60_000, 9), (Continuity::Fresh, "123456789".into()));
    assert_eq!(rewound(60_000, 8), (Continuity::Fresh, "23456789".into()));
}

#[test]
fn a_rewind_by_count_says_when_it_was_cut() {
    for namespace in ["tail", "keep"] {
        for tail in [3, 100] {
            let limits = Limits { rewind_messages_max: 4, tail_records_max: tail, ..Limits::default() };
            let mut w = World::with(limits);
            let channel = w.channel(namespace, 1);
            filled(&mut w, &channel, 4);
            let rewound = |w: &mut World, n| {
                let at = began(w, &channel, Since::Rewind(Rewind::Count(n)));
                (at.continuity, at.payloads().concat())
            };
            let case = format!("{namespace} {tail}");
            let (fresh, cut) = (Continuity::Fresh, Continuity::Truncated);
            if namespace == "tail" && tail == 3 {
                // The tail had to let one go that is asked for.
                assert_eq!(rewound(&mut w, 3), (fresh, "123".into()), "{case}");
                assert_eq!(rewound(&mut w, 4), (cut, "123".into()), "{case}");
                continue;
            }
            assert_eq!(rewound(&mut w, 4), (fresh, "0123".into()), "{case}");
            assert_eq!(rewound(&mut w, 900), (fresh, "0123".into()), "there is no more: {case}");
            filled(&mut w, &channel, 1);
            assert_eq!(rewound(&mut w, 4), (fresh, "1230".into()), "{case}");
            assert_eq!(rewound(&mut w, 5), (cut, "1230".into()), "{case}");
        }
    }
}

#[test]
fn a_rewind_reaches_into_the_store_and_meets_the_tail() {
    let mut w = World::with(Limits { tail_records_max: 3, rewind_messages_max: 7, ..Limits::default() });
    let channel = w.channel("keep", 1);
    filled(&mut w, &channel, 10);
    let at = began(&mut w, &channel, Since::Rewind(Rewind::Count(7)));
    assert_eq!(at.payloads().concat(), "3456789");
    for (limit, expected) in [(5, (Continuity::Fresh, "56789")), (8, (Continuity::Truncated, "3456789"))] {
        let rewind = Rewind::Time { age: Duration::from_secs(60), limit };
        let at = began(&mut w, &channel, Since::Rewind(rewind));
        assert_eq!((at.continuity, &*at.payloads().concat()), expected);
    }

    // What is committed while the store is read is in the backlog, and not live as well.
    let [p, x] = [w.open(0, "p"), w.open(0, "x")];
    w.hold_jobs = true;
    w.attach(&x, &channel, Since::Rewind(Rewind::Count(5)));
    w.publish(&p, &channel, "A");
    w.job();
    w.publish(&p, &channel, "B");
    assert_eq!(x.attached().payloads().concat(), "6789A");
    assert_eq!(x.heard(), ["B"]);

    let mut after = World::over(w.store.clone(), Limits::default(), w.now.wall);
    after.wait(3600);
    let at = began(&mut after, &channel, Since::Rewind(Rewind::Count(3)));
    assert_eq!(at.payloads().concat(), "9AB");
}

#[test]
fn the_last_message_of_a_channel_that_keeps_one_outlives_the_tail() {
    let mut w = World::new();
    let channel = w.channel("last", 0);
    filled(&mut w, &channel, 3);
    assert_eq!(began(&mut w, &channel, Since::Rewind(Rewind::Count(2))).payloads(), ["1", "2"]);
    w.wait(300);
    assert_eq!(w.channels(), 0);
    assert_eq!(began(&mut w, &channel, Since::Rewind(Rewind::Count(2))).payloads(), ["2"]);
}

#[test]
fn a_rewind_is_filtered_for_the_audience() {
    for namespace in ["tail", "keep"] {
        let mut w = World::new();
        let channel = w.channel(namespace, 1);
        let [p, x] = [w.open(0, "p"), w.open(1, "x")];
        w.publish(&p, &channel, "theirs");
        w.publish(&x, &channel, "mine");
        let rewind = || Since::Rewind(Rewind::Count(10));
        w.run(&x, attach(1, &channel, Audience { messages: false, ..EVERYTHING }, rewind()));
        assert!(x.attached().backlog.is_empty(), "who may not hear messages is given none");
        w.run(&x, attach(1, &channel, Audience { echo: false, ..EVERYTHING }, rewind()));
        assert_eq!(x.attached().payloads(), ["theirs"]);
    }
}
