//! What the store's word means: nothing is acknowledged or delivered before it.

use std::time::Duration;

use super::harness::*;
use crate::session::{Continuity, Since};

#[test]
fn nothing_is_acknowledged_or_delivered_before_the_store_says_so() {
    let mut w = World::new();
    let channel = w.channel("keep", 1);
    let [a, b] = [w.open(0, "a"), w.open(1, "b")];
    w.attach(&b, &channel, Since::Now);
    w.store.hold(true);
    for payload in ["1", "2", "3"] {
        w.publish(&a, &channel, payload);
    }
    w.wait(10);
    assert_eq!((a.answer(), b.heard()), (None, vec![]));
    w.attach(&a, &channel, Since::Now);
    assert!(w.history(&channel).is_empty());
    w.store.release(true);
    w.settle();
    assert!(a.answer().expect("an answer").is_ok());
    assert_eq!((a.heard().concat(), b.heard().concat()), ("1".into(), "1".into()));
    assert_eq!(w.store.held(), 1, "what came meanwhile is one batch");
    w.store.release(true);
    w.settle();
    assert_eq!((a.heard().concat(), b.heard().concat()), ("23".into(), "23".into()));
    assert_eq!(w.history(&channel).len(), 3);
}

#[test]
fn what_the_store_refuses_is_refused_and_not_delivered() {
    for namespace in ["keep", "last"] {
        let mut w = World::new();
        let channel = w.channel(namespace, 0);
        let [a, b] = [w.open(0, "a"), w.open(1, "b")];
        w.attach(&b, &channel, Since::Now);
        let began = b.attached();
        w.store.hold(true);
        w.publish(&a, &channel, "1");
        w.publish(&a, &channel, "2");
        w.store.release(false);
        w.settle();
        assert_eq!(a.answer(), Some(Err(50003)), "{namespace}");
        w.store.release(true);
        w.settle();
        assert!(a.answer().expect("an answer").is_ok());
        assert_eq!(b.heard(), ["2"]);
        w.attach(&a, &channel, Since::Serial(began.serial));
        assert_eq!(
            (a.attached().continuity, a.attached().payloads().concat()),
            (Continuity::Kept, "2".into())
        );
    }
}

#[test]
fn a_repeat_waits_for_the_first_and_shares_its_fate() {
    let mut w = World::new();
    let channel = w.channel("keep", 0);
    let [a, b] = [w.open(0, "a"), w.open(1, "b")];
    w.attach(&b, &channel, Since::Now);
    for works in [false, true] {
        w.store.hold(true);
        for peer in [&a, &b] {
            let command = publish(peer, &channel, "same", true);
            w.run(peer, command);
        }
        assert_eq!((a.answer(), b.answer(), w.store.held()), (None, None, 1));
        w.store.release(works);
        w.settle();
        let answer = a.answer().expect("an answer");
        assert_eq!(answer.is_ok(), works);
        assert_eq!(b.answer(), Some(answer));
        assert_eq!(b.heard().len(), usize::from(works));
    }
    assert_eq!(w.history(&channel).len(), 1);
}

#[test]
fn an_id_is_known_after_a_restart() {
    let mut w = World::new();
    let channel = w.channel("keep", 0);
    let a = w.open(0, "a");
    let command = publish(&a, &channel, "same", true);
    w.run(&a, command);
    let first = a.answer();
    let mut after = World::over(w.store.clone(), fanfare_model::Limits::default(), w.now.wall);
    after.pass(Duration::from_secs(1));
    let b = after.open(1, "b");
    let command = publish(&b, &channel, "same", true);
    after.run(&b, command);
    assert_eq!(b.answer(), first);
    assert_eq!(after.history(&channel).len(), 1);
}

#[test]
fn a_store_that_takes_longer_than_ids_are_remembered_leaves_no_channel_behind() {
    let mut w = World::new();
    let channel = w.channel("keep", 0);
    let a = w.open(0, "a");
    w.publish(&a, &channel, "0");
    w.store.hold(true);
    let command = publish(&a, &channel, "1", true);
    w.run(&a, command);
    w.wait(125);
    w.store.hold(false);
    w.store.release(true);
    w.settle();
    assert!(a.answer().expect("an answer").is_ok());
    w.wait(400);
    assert_eq!(w.channels(), 0);
}

#[test]
fn a_channel_that_cannot_be_loaded_refuses_and_tries_again() {
    let mut w = World::new();
    let channel = w.channel("keep", 0);
    let [a, b] = [w.open(0, "a"), w.open(1, "b")];
    w.store.fail_reads(true);
    w.publish(&a, &channel, "1");
    assert_eq!(a.answer(), Some(Err(50003)));
    w.attach(&b, &channel, Since::Now);
    assert_eq!(b.take(), [Said::Refused { attachment: 1, code: 50003 }]);
    assert_eq!(w.channels(), 0);
    w.store.fail_reads(false);
    w.attach(&b, &channel, Since::Now);
    w.publish(&a, &channel, "1");
    assert_eq!(b.heard(), ["1"]);
}
