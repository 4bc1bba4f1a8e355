//! Who is on a channel, and that nobody stays who is gone.

use fanfare_model::{Limits, PresenceAction};

use super::harness::*;
use crate::AttachmentId;
use crate::session::{Audience, Command, Since};

const ENTER: PresenceAction = PresenceAction::Enter;
const UPDATE: PresenceAction = PresenceAction::Update;
const LEAVE: PresenceAction = PresenceAction::Leave;

#[test]
fn members_enter_update_and_leave() {
    for namespace in ["tail", "keep"] {
        let mut w = World::new();
        let channel = w.channel(namespace, 1);
        let [a, b, own] = [w.open(0, "a"), w.open(1, "b"), w.open(0, "own")];
        w.attach(&b, &channel, Since::Now);
        w.run(&own, attach(1, &channel, Audience { presence: false, ..EVERYTHING }, Since::Now));
        w.presence(&a, &channel, (UPDATE, "ann=1"));
        w.presence(&a, &channel, (UPDATE, "ann=2"));
        w.presence(&own, &channel, (ENTER, "own"));
        w.run(&b, Command::Members(AttachmentId(1)));
        assert!(b.take().contains(&Said::Members(vec!["a.ann=2".into(), "own.own=".into()])));
        w.attach(&b, &channel, Since::Now);
        assert_eq!(b.attached().members, ["a.ann=2", "own.own="]);
        assert_eq!(w.occupancy(&channel).presence_members, 2);
        w.presence(&a, &channel, (LEAVE, "ann"));
        w.presence(&a, &channel, (LEAVE, "ann"));
        w.presence(&a, &channel, (LEAVE, "nobody"));
        assert_eq!(b.heard(), ["-a.ann=2"], "a leave is told once, with what the member last said");
        assert_eq!(own.heard(), ["+own.own="], "its own presence, and nobody else's");
        assert!(a.answer().expect("an answer").is_ok());
        assert_eq!(w.members(&channel), ["own.own="]);
    }
}

#[test]
fn the_limit_of_members_refuses_who_comes_and_not_who_is_there() {
    let mut w = World::with(Limits { presence_members_max: 2, ..Limits::default() });
    let channel = w.channel("tail", 0);
    let a = w.open(1, "a");
    for (event, code) in [
        ((ENTER, "x"), None),
        ((ENTER, "y"), None),
        ((ENTER, "z"), Some(91003)),
        ((UPDATE, "x=1"), None),
        ((LEAVE, "y"), None),
        ((ENTER, "z"), None),
    ] {
        w.presence(&a, &channel, event);
        assert_eq!(a.answer().expect("an answer").err(), code, "{event:?}");
    }
    assert_eq!(w.members(&channel), ["a.x=1", "a.z="]);
}

#[test]
fn a_session_that_ends_leaves_no_ghost() {
    for namespace in ["none", "tail", "last", "keep"] {
        for owner in [0, 1] {
            let mut w = World::new();
            let channel = w.channel(namespace, owner);
            let [a, b] = [w.open(0, "a"), w.open(1, "b")];
            w.attach(&b, &channel, Since::Now);
            w.presence(&a, &channel, (ENTER, "ann"));
            w.lose(&a);
            w.wait(5);
            assert_eq!(
                w.members(&channel).len(),
                1,
                "who lost its transport is there until its session ends"
            );
            // What it said last is still on its way when it ends.
            let command = presence(&a, &channel, (UPDATE, "other"));
            w.tell(&a, command);
            w.tell(&a, Command::End);
            w.settle();
            assert_eq!(w.members(&channel).len(), 0, "{namespace}");
            let heard = b.heard();
            assert_eq!(heard[..2], ["+a.ann=", "+a.other="]);
            assert!(["-a.ann=,-a.other="].contains(&&*heard[2]), "{heard:?}");
            w.run(&b, Command::End);
            w.wait(300);
            assert_eq!(w.channels(), 0);
        }
    }
}

#[test]
fn leave_takes_one_channel_and_leave_all_takes_the_rest() {
    let mut w = World::new();
    let channels = [w.channel("a", 0), w.channel("b", 1), w.channel("c", 1)];
    let a = w.open(0, "a");
    for channel in &channels {
        w.presence(&a, channel, (ENTER, "ann"));
    }
    w.run(&a, Command::Leave { channel: channels[1].clone() });
    let mut left = || channels.iter().map(|c| w.members(c).len()).collect::<Vec<_>>();
    assert_eq!(left(), [1, 0, 1]);
    w.run(&a, Command::LeaveAll);
    let left: Vec<_> = channels.iter().map(|c| w.members(c).len()).collect();
    assert_eq!(left, [0, 0, 0]);
}

/// The table of members and what subscribers were told must not part when the store fails.
#[test]
fn subscribers_and_the_table_agree_when_presence_could_not_be_stored() {
    let mut w = World::new();
    let channel = w.channel("keep", 1);
    let [a, b] = [w.open(0, "a"), w.open(1, "b")];
    w.attach(&b, &channel, Since::Now);
    w.presence(&a, &channel, (ENTER, "ann"));
    assert_eq!(b.heard(), ["+a.ann="]);
    w.store.fail_appends(true);
    w.presence(&a, &channel, (ENTER, "bob"));
    assert_eq!(a.answer(), Some(Err(50003)));
    assert_eq!((b.heard(), w.members(&channel).len()), (vec!["+a.bob=".into()], 2));
    w.run(&a, Command::End);
    assert_eq!((b.heard(), w.members(&channel).len()), (vec!["-a.ann=,-a.bob=".into()], 0));
}
