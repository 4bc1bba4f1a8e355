//! A store that fails, a burst, a clock that is set back, each at the worst moment.

use std::time::Duration;

use fanfare_model::{Limits, Timestamp};
use fanfare_store::Backend as _;

use super::harness::*;
use crate::session::{Command, Continuity, Rewind, Since};
use crate::{AttachmentId, Occupancy};

#[test]
fn a_detach_that_is_under_way_when_a_load_fails_counts_nobody_else_out() {
    let mut w = World::new();
    let channel = w.channel("keep", 0);
    let [a, b, p] = [w.open(1, "a"), w.open(1, "b"), w.open(0, "p")];
    w.hold_jobs = true;
    w.tell(&a, attach(1, &channel, EVERYTHING, Since::Now));
    w.turn(0);
    w.store.fail_reads(true);
    w.job();
    w.turn(0);
    // The refusal is on its way to worker 1. Its sessions do not know of it yet.
    w.store.fail_reads(false);
    w.hold_jobs = false;
    w.tell(&b, attach(1, &channel, EVERYTHING, Since::Now));
    w.tell(&a, Command::Detach(AttachmentId(1)));
    w.settle();
    assert_eq!(w.occupancy(&channel).connections, 1);
    w.publish(&p, &channel, "1");
    assert_eq!((a.heard().len(), b.heard()), (0, vec!["1".to_owned()]));
    w.run(&b, Command::End);
    assert_eq!(w.occupancy(&channel), Occupancy::default());
    w.wait(300);
    assert_eq!(w.channels(), 0);
}

#[test]
fn a_burst_while_a_rewind_is_fetched_leaves_no_hole_behind_the_client() {
    for (burst, expected) in [
        // The tail of three still meets what was fetched.
        (3, (Continuity::Fresh, "34567")),
        // Between "4" and the tail's first one is gone: only what is whole up to live is given.
        (4, (Continuity::Truncated, "678")),
    ] {
        let mut w = World::with(Limits { tail_records_max: 3, ..Limits::default() });
        let channel = w.channel("keep", 0);
        let [p, x] = [w.open(0, "p"), w.open(1, "x")];
        for n in 0..5 {
            w.publish(&p, &channel, &n.to_string());
        }
        w.hold_jobs = true;
        w.attach(&x, &channel, Since::Rewind(Rewind::Count(5)));
        for n in 5..5 + burst {
            w.publish(&p, &channel, &n.to_string());
        }
        w.job();
        w.settle();
        let at = x.attached();
        assert_eq!((at.continuity, &*at.payloads().concat()), expected);
        w.publish(&p, &channel, "live");
        assert_eq!(x.heard(), ["live"]);
    }
}

#[test]
fn what_a_short_retention_took_is_not_called_continuous() {
    let mut w = World::new();
    let channel = w.channel("brief", 0);
    let [p, x] = [w.open(0, "p"), w.open(1, "x")];
    w.attach(&x, &channel, Since::Now);
    let before = x.attached().serial;
    w.publish(&p, &channel, "gone");
    w.pass(BRIEF + Duration::from_secs(5));
    w.publish(&p, &channel, "kept");
    let after_gone = fanfare_model::Serial { stamp: w.now_stamp(), ..before.clone() };
    w.store.expire(w.now.wall).expect("the store works");
    let mut after = World::over(w.store.clone(), Limits::default(), w.now.wall);
    let y = after.open(0, "y");
    after.attach(&y, &channel, Since::Serial(before));
    assert_eq!((y.attached().continuity, y.attached().backlog.len()), (Continuity::Lost, 0));
    after.attach(&y, &channel, Since::Serial(after_gone));
    assert_eq!(y.attached().continuity, Continuity::Kept, "what is younger than the retention is complete");
}

#[test]
fn a_clock_that_is_set_back_repeats_no_stamp_of_a_channel_that_was_forgotten() {
    let mut w = World::new();
    let channel = w.channel("tail", 0);
    let [p, x] = [w.open(0, "p"), w.open(1, "x")];
    let first = {
        w.attach(&x, &channel, Since::Now);
        w.publish(&p, &channel, "1");
        let first = x.frames()[0].0;
        w.run(&x, Command::Detach(AttachmentId(1)));
        first
    };
    w.wait(300);
    assert_eq!(w.channels(), 0);
    w.now.wall = Timestamp(START - 3_600_000);
    w.attach(&x, &channel, Since::Now);
    w.publish(&p, &channel, "2");
    let second = x.frames().last().expect("a delivery").0;
    assert!(second > first, "{second} after {first}");
}
