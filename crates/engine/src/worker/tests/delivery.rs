//! Order, echo, idempotency, slow outboxes, and publishes in flight.

use std::sync::Arc;

use fanfare_model::{ChannelKey, Limits};

use super::harness::*;
use crate::session::{Audience, Command, Since};
use crate::worker::Flow;
use crate::{AttachmentId, WorkerId};

fn numbers(of: impl Iterator<Item = u32>) -> Vec<String> {
    of.map(|n| n.to_string()).collect()
}

#[test]
fn everyone_on_both_workers_hears_everything_in_one_order() {
    for namespace in ["none", "tail", "last", "keep"] {
        for owner in [0, 1] {
            let mut w = World::new();
            let channel = w.channel(namespace, owner);
            let peers = [w.open(0, "a"), w.open(0, "b"), w.open(1, "c"), w.open(1, "d")];
            for peer in &peers {
                w.attach(peer, &channel, Since::Now);
            }
            for n in 0..40u32 {
                let peer = &peers[n as usize % 4];
                let command = publish(peer, &channel, &n.to_string(), false);
                w.tell(peer, command);
                if n % 7 == 0 {
                    w.turn(n as usize % 2);
                }
            }
            w.settle();
            let first = peers[0].frames();
            assert!(first.windows(2).all(|two| two[0].0 < two[1].0), "{namespace}: {first:?}");
            let mut all: Vec<u32> = first.iter().map(|(_, n)| n.parse().unwrap()).collect();
            all.sort_unstable();
            assert_eq!(all, (0..40).collect::<Vec<_>>());
            for peer in &peers[1..] {
                assert_eq!(peer.frames(), first, "{namespace}, owned by {owner}");
            }
        }
    }
}

#[test]
fn echo_is_off_for_the_publisher_alone_and_silent_audiences_hear_nothing() {
    let mut w = World::new();
    let channel = w.channel("tail", 1);
    let quiet = Audience { echo: false, ..EVERYTHING };
    let [a, b, deaf] = [w.open(0, "a"), w.open(0, "b"), w.open(1, "deaf")];
    w.run(&a, attach(1, &channel, quiet, Since::Now));
    w.run(&b, attach(1, &channel, quiet, Since::Now));
    w.run(&deaf, attach(1, &channel, Audience::default(), Since::Now));
    for payload in ["1", "2", "3"] {
        let command = publish(if payload == "2" { &b } else { &a }, &channel, payload, false);
        w.tell(&a, command);
    }
    w.settle();
    assert_eq!((a.heard(), b.heard()), (vec!["2".into()], vec!["1".into(), "3".into()]));
    assert!(deaf.heard().is_empty());
}

#[test]
fn an_idempotent_publish_is_delivered_once_and_answered_each_time() {
    for namespace in ["tail", "keep"] {
        let mut w = World::new();
        let channel = w.channel(namespace, 0);
        let [a, b] = [w.open(0, "a"), w.open(1, "b")];
        w.attach(&b, &channel, Since::Now);
        let command = publish(&a, &channel, "same", true);
        w.run(&a, command);
        let first = a.answer().expect("an answer");
        let command = publish(&b, &channel, "same", true);
        w.run(&b, command);
        assert!(first.is_ok());
        assert_eq!(b.answer(), Some(first), "{namespace}");
        assert_eq!(b.heard(), ["same"]);
        w.wait(121);
        let command = publish(&b, &channel, "same", true);
        w.run(&b, command);
        assert_eq!(b.heard(), ["same"], "an id is remembered for two minutes, not longer");
    }
}

#[test]
fn a_full_outbox_drops_says_so_once_and_goes_on_in_order() {
    for owner in [0, 1] {
        let mut w = World::new();
        let channel = w.channel("tail", owner);
        let [publisher, slow, fast] = [w.open(1, "p"), w.open_with(0, "s", 80), w.open(0, "f")];
        for peer in [&slow, &fast] {
            w.attach(peer, &channel, Since::Now);
            peer.take();
        }
        slow.outbox.stalled.set(true);
        for n in 0..20 {
            w.publish(&publisher, &channel, &n.to_string());
        }
        let all = fast.frames();
        assert_eq!(all.len(), 20);
        let got = slow.frames();
        assert!(!got.is_empty() && got.len() < 20 && all.starts_with(&got), "{got:?}");
        w.drain(&slow);
        w.drain(&slow);
        w.settle();
        let said = slow.take();
        let [Said::Gap { attachment: 1, serial }] = &said[..] else { panic!("one gap: {said:?}") };
        assert_eq!(serial.stamp.0, all[19].0);
        for n in 20..22 {
            w.publish(&publisher, &channel, &n.to_string());
        }
        assert_eq!(slow.heard(), ["20", "21"]);
        let counters = w.engine.counters();
        assert_eq!(counters.gaps.load(std::sync::atomic::Ordering::Relaxed), 1);
        let dropped = counters.dropped.load(std::sync::atomic::Ordering::Relaxed);
        assert_eq!(dropped as usize, 20 - got.len());
    }
}

#[test]
fn reading_stops_at_the_limit_of_publishes_in_flight_and_goes_on_below_it() {
    let mut w = World::with(Limits { publishes_in_flight_max: 4, ..Limits::default() });
    let channel = w.channel("keep", 1);
    let a = w.open(0, "a");
    w.publish(&a, &channel, "first");
    w.store.hold(true);
    let mut flows = Vec::new();
    for n in 0..4 {
        let command = publish(&a, &channel, &n.to_string(), false);
        flows.push(w.tell(&a, command));
        w.settle();
    }
    assert_eq!(flows, [Flow::Read, Flow::Read, Flow::Read, Flow::Pause]);
    assert_eq!(a.outbox.resumed.get(), 0);
    w.store.release(true);
    w.settle();
    assert_eq!(a.outbox.resumed.get(), 0, "three are still in flight, in one batch");
    w.store.release(true);
    w.settle();
    assert_eq!(a.outbox.resumed.get(), 1);
}

/// Live deliveries come after the attachment's beginning also when the same round of mail fans the
/// channel out early, because somebody else joins or leaves it.
#[test]
fn nothing_live_comes_before_the_answer_to_the_attach() {
    for leaves in [false, true] {
        let mut w = World::new();
        let channel = w.channel("tail", 0);
        let [publisher, early, a, b] = [w.open(0, "p"), w.open(1, "e"), w.open(1, "a"), w.open(1, "b")];
        w.attach(&early, &channel, Since::Now);
        if leaves {
            // On the notice, which is in the mail before the answer to the attach, it detaches.
            early.log.todo.borrow_mut().push(Command::Detach(AttachmentId(1)));
            w.engine.notice(&app_id(), Arc::new(()));
        }
        w.tell(&a, attach(1, &channel, EVERYTHING, Since::Now));
        w.turn(0);
        let command = publish(&publisher, &channel, "1", false);
        w.tell(&publisher, command);
        w.turn(0);
        w.tell(&b, attach(1, &channel, EVERYTHING, Since::Now));
        w.turn(0);
        w.settle();
        let said: Vec<Said> = a.take().into_iter().filter(|said| *said != Said::Other).collect();
        assert!(matches!(&said[..], [Said::Attached(_), Said::Frame { .. }]), "{said:?}");
    }
}

#[test]
fn what_a_session_publishes_at_the_end_of_a_turn_goes_out_without_another_event() {
    let mut w = World::new();
    let channel = w.channel("tail", 0);
    let a = w.open(0, "a");
    w.attach(&a, &channel, Since::Now);
    let command = publish(&a, &channel, "1", false);
    a.log.on_flush.borrow_mut().push(command);
    w.run(&a, Command::WantFlush);
    assert_eq!(a.heard(), ["1"]);
}

#[test]
fn two_attachments_of_a_session_to_one_channel_end_together() {
    let mut w = World::new();
    let channel: ChannelKey = w.channel("tail", 0);
    let a = w.open(0, "a");
    for attachment in [1, 2] {
        // The same label, and so the same group of the hub.
        let Command::Attach(mut command) = attach(1, &channel, EVERYTHING, Since::Now) else {
            unreachable!()
        };
        command.attachment = AttachmentId(attachment);
        w.run(&a, Command::Attach(command));
    }
    w.publish(&a, &channel, "1");
    assert_eq!(a.heard(), numbers([1, 1].into_iter()));
    w.run(&a, Command::End);
    assert_eq!(w.occupancy(&channel).connections, 0);
    assert_eq!(w.workers[0].id(), WorkerId(0));
    assert_eq!(w.workers[0].session_count(), 0);
}
