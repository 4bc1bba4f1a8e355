//! A connection's state handed from a lost session to its successor.

use fanfare_model::{ConnectionId, PresenceAction};

use super::harness::*;
use crate::session::{Command, Since};
use crate::{Identified, WorkerId};

fn claim(worker: u16, connection: &str) -> Command {
    let connection = ConnectionId::new(connection);
    Command::Claim { worker: WorkerId(worker), connection, claim: Box::new(()) }
}

fn claimed(peer: &Peer) -> Option<Option<String>> {
    peer.take().into_iter().find_map(|said| if let Said::Claimed(state) = said { Some(state) } else { None })
}

#[test]
fn state_is_handed_over_once_and_members_survive() {
    for (from, to, owner) in [(0, 1, 0), (0, 1, 1), (1, 0, 0), (0, 0, 0), (0, 0, 1)] {
        let mut w = World::new();
        let channel = w.channel("tail", owner);
        let [old, watcher] = [w.open(from, "old"), w.open(1, "watcher")];
        w.attach(&watcher, &channel, Since::Now);
        w.presence(&old, &channel, (PresenceAction::Enter, "ann"));
        w.lose(&old);
        let [new, late] = [w.open(to, "new"), w.open(to, "late")];
        // The connection is the successor's now, where it is on the same worker.
        new.log.on_claim.set(OnClaim::Refuse);
        w.tell(&new, claim(from as u16, "old"));
        w.tell(&late, claim(from as u16, "old"));
        w.settle();
        let states = [claimed(&new), claimed(&late)];
        assert_eq!(states, [Some(Some("old".into())), Some(None)], "{from} to {to}");
        assert_eq!(w.members(&channel), ["old.ann="]);
        assert_eq!(watcher.heard(), ["+old.ann="], "nobody left");
        let identified = w.asked(|w, reply| {
            w.engine.identify(&app_id(), WorkerId(to as u16), ConnectionId::new("old"), "secret", reply);
        });
        assert!(identified.is_some_and(|i: Identified| i.connection.as_str() == "old"));
        w.run(&new, Command::End);
        assert_eq!(w.members(&channel).len(), 0);
        assert_eq!(watcher.heard(), ["-old.ann="]);
    }
}

#[test]
fn a_claim_is_refused_for_who_is_unknown_and_by_who_refuses() {
    let mut w = World::new();
    let channel = w.channel("tail", 0);
    let [old, new] = [w.open(0, "old"), w.open(1, "new")];
    w.presence(&old, &channel, (PresenceAction::Enter, "ann"));
    for (worker, connection) in [(0, "unknown"), (1, "old"), (7, "old"), (1, "new")] {
        w.run(&new, claim(worker, connection));
        assert_eq!(claimed(&new), Some(None), "{worker} {connection}");
    }
    old.log.on_claim.set(OnClaim::Refuse);
    w.run(&new, claim(0, "old"));
    assert_eq!(claimed(&new), Some(None));
    assert_eq!(w.workers[0].session_count(), 1);
    assert_eq!(w.members(&channel).len(), 1, "the holder goes on");
    // One that waits is answered when the holder ends.
    old.log.on_claim.set(OnClaim::Later);
    w.run(&new, claim(0, "old"));
    assert_eq!(claimed(&new), None);
    w.run(&old, Command::End);
    assert_eq!(claimed(&new), Some(None));
    assert_eq!(w.members(&channel).len(), 0);
}

#[test]
fn a_claim_answered_later_and_a_successor_that_is_gone_by_then() {
    for gone in [false, true] {
        let mut w = World::new();
        let channel = w.channel("tail", 0);
        let [old, new] = [w.open(0, "old"), w.open(1, "new")];
        w.presence(&old, &channel, (PresenceAction::Enter, "ann"));
        old.log.on_claim.set(OnClaim::Later);
        w.run(&new, claim(0, "old"));
        let claim =
            old.take().into_iter().find_map(|s| if let Said::ClaimRequested(c) = s { Some(c) } else { None });
        if gone {
            w.run(&new, Command::End);
        }
        let state = Some(Box::new("old".to_owned()) as Box<_>);
        w.run(&old, Command::Answer { claim: claim.expect("a request"), state });
        assert_eq!(w.members(&channel).len(), usize::from(!gone), "nobody's members leave");
        assert_eq!(claimed(&new).is_none(), gone);
    }
}

#[test]
fn members_entered_before_the_answer_to_a_claim_are_not_forgotten() {
    let mut w = World::new();
    let channel = w.channel("tail", 0);
    let new = w.open(1, "new");
    w.presence(&new, &channel, (PresenceAction::Enter, "ann"));
    w.run(&new, claim(0, "unknown"));
    w.run(&new, Command::End);
    assert_eq!(w.members(&channel).len(), 0);
}
