//! Interest and its end: whatever an attachment was waiting for when it was given up.

use std::time::Duration;

use super::harness::*;
use crate::session::{Audience, Command, Rewind, Since};
use crate::{AttachmentId, Occupancy};

#[test]
fn occupancy_counts_roles_and_is_told_to_who_watches() {
    let mut w = World::new();
    let channel = w.channel("tail", 1);
    let [a, b] = [w.open(0, "a"), w.open(1, "b")];
    w.run(&a, attach(1, &channel, Audience { occupancy: true, ..EVERYTHING }, Since::Now));
    w.wait(1);
    a.take();
    w.attach(&b, &channel, Since::Now);
    w.wait(1);
    let two = Occupancy {
        connections: 2,
        publishers: 2,
        subscribers: 2,
        presence_connections: 2,
        presence_members: 0,
        presence_subscribers: 2,
    };
    assert_eq!(a.take(), [Said::Occupancy(two)]);
    assert_eq!(w.occupancy(&channel), two);
    w.lose(&b);
    w.run(&a, Command::Detach(AttachmentId(1)));
    assert_eq!(w.occupancy(&channel), Occupancy::default());
}

/// How an attachment is given up while it waits.
#[derive(Clone, Copy, Debug)]
enum Gone {
    Detached,
    Lost,
    Ended,
    Again,
}

#[test]
fn an_attachment_given_up_while_it_waits_leaves_no_interest() {
    for gone in [Gone::Detached, Gone::Lost, Gone::Ended, Gone::Again] {
        for (owner, loaded, fails) in [0, 1]
            .into_iter()
            .flat_map(|o| [(o, false, false), (o, false, true), (o, true, false), (o, true, true)])
        {
            let mut w = World::new();
            let channel = w.channel("keep", owner);
            let [bystander, a, p] = [w.open(0, "by"), w.open(0, "a"), w.open(1, "p")];
            if loaded {
                w.attach(&bystander, &channel, Since::Now);
            }
            w.hold_jobs = true;
            w.attach(&a, &channel, Since::Rewind(Rewind::Count(5)));
            match gone {
                Gone::Detached => w.run(&a, Command::Detach(AttachmentId(1))),
                Gone::Lost => w.lose(&a),
                Gone::Ended => w.run(&a, Command::End),
                Gone::Again => {
                    w.attach(&a, &channel, Since::Rewind(Rewind::Count(6)));
                    w.run(&a, Command::Detach(AttachmentId(1)));
                }
            }
            w.store.fail_reads(fails);
            w.hold_jobs = false;
            w.settle();
            w.store.fail_reads(false);
            let case = format!("{gone:?}, owned by {owner}, loaded {loaded}, fails {fails}");
            assert_eq!(w.occupancy(&channel).connections, u32::from(loaded), "{case}");
            if !loaded {
                w.attach(&bystander, &channel, Since::Now);
            }
            w.publish(&p, &channel, "1");
            assert_eq!(bystander.heard(), ["1"], "{case}");
            assert!(a.heard().is_empty(), "{case}");
            w.run(&bystander, Command::End);
            assert_eq!(w.occupancy(&channel), Occupancy::default(), "{case}");
            w.wait(300);
            assert_eq!(w.channels(), 0, "{case}");
        }
    }
}

#[test]
fn an_attach_that_waits_is_refused_when_the_store_fails_and_counts_for_nothing() {
    let mut w = World::new();
    let channel = w.channel("keep", 0);
    let [bystander, a] = [w.open(1, "by"), w.open(1, "a")];
    w.attach(&bystander, &channel, Since::Now);
    w.store.fail_reads(true);
    w.attach(&a, &channel, Since::Rewind(Rewind::Count(5)));
    assert_eq!(a.take(), [Said::Refused { attachment: 1, code: 50003 }]);
    assert_eq!(w.occupancy(&channel).connections, 1);
    w.publish(&a, &channel, "1");
    assert_eq!((bystander.heard().len(), a.heard().len()), (1, 0));
}

#[test]
fn who_is_attached_stays_so_when_the_store_fails_a_second_attach() {
    let mut w = World::new();
    let channel = w.channel("keep", 0);
    let a = w.open(1, "a");
    w.attach(&a, &channel, Since::Now);
    w.store.fail_reads(true);
    w.attach(&a, &channel, Since::Rewind(Rewind::Count(5)));
    assert!(a.take().contains(&Said::Refused { attachment: 1, code: 50003 }));
    w.publish(&a, &channel, "1");
    assert_eq!(a.heard(), ["1"]);
    assert_eq!(w.occupancy(&channel).connections, 1);
    w.run(&a, Command::Detach(AttachmentId(1)));
    assert_eq!(w.occupancy(&channel), Occupancy::default());
}

#[test]
fn attaching_again_counts_once_and_changes_what_is_heard() {
    let mut w = World::new();
    let channel = w.channel("tail", 0);
    let a = w.open(1, "a");
    for audience in [EVERYTHING, Audience::default(), Audience { echo: false, ..EVERYTHING }] {
        w.run(&a, attach(1, &channel, audience, Since::Now));
        w.pass(Duration::from_millis(5));
    }
    assert_eq!(w.occupancy(&channel).connections, 1);
    w.publish(&a, &channel, "1");
    assert!(a.heard().is_empty());
    w.attach(&a, &channel, Since::Now);
    w.publish(&a, &channel, "2");
    assert_eq!(a.heard(), ["2"]);
}
