//! Channels and connections that begin and end, told to who watches, and to nobody else.

use std::sync::Arc;

use fanfare_model::{Data, Message};

use super::harness::*;
use crate::session::{Attach, Command, Since};
use crate::watch::{Lifecycle, Narrator};
use crate::{AttachmentId, WorkerId};

struct Teller;

impl Narrator for Teller {
    fn narrate(&self, event: &Lifecycle) -> Option<Message> {
        let text = match event {
            Lifecycle::ChannelOpened(s) => format!("+{} {}", s.name, s.occupancy.connections),
            Lifecycle::ChannelClosed(s) => format!("-{} {}", s.name, s.occupancy.connections),
            Lifecycle::ConnectionOpened(c) => format!("+{}", c.connection),
            Lifecycle::ConnectionClosed(c) => format!("-{}", c.connection),
        };
        Some(Message { data: Data::Text(text.into()), ..Message::default() })
    }
}

/// Someone on worker 1 who watches on a channel that worker 0 owns.
fn watcher(w: &mut World) -> (Peer, fanfare_model::ChannelKey) {
    let on = w.meta_channel(0);
    let peer = w.open(1, "watcher");
    let Command::Attach(attach) = attach(1, &on, EVERYTHING, Since::Now) else { unreachable!() };
    w.run(&peer, Command::Attach(Box::new(Attach { narrator: Some(Arc::new(Teller)), ..*attach })));
    peer.take();
    (peer, on)
}

#[test]
fn channels_of_all_owners_open_and_close_once() {
    let mut w = World::new();
    let early = w.channel("none", 0);
    let [a, b, c] = [w.open(0, "a"), w.open(1, "b"), w.open(0, "c")];
    w.attach(&c, &early, Since::Now);
    let (watcher, _) = watcher(&mut w);
    for owner in [0, 1] {
        let channel = w.channel("tail", owner);
        let name = channel.name.clone();
        w.attach(&a, &channel, Since::Now);
        assert_eq!(watcher.heard(), [format!("+{name} 1")]);
        w.attach(&b, &channel, Since::Now);
        w.publish(&a, &channel, "x");
        w.run(&a, Command::Detach(AttachmentId(1)));
        w.run(&b, Command::Detach(AttachmentId(1)));
        assert!(watcher.heard().is_empty(), "it has a tail");
        w.wait(130);
        assert_eq!(watcher.heard(), [format!("-{name} 0")]);
        w.wait(200);
        assert!(watcher.heard().is_empty(), "once");
    }
    // What was open before is no news, but its end is; and a durable channel is like any other.
    w.attach(&b, &early, Since::Now);
    assert!(watcher.heard().is_empty());
    w.run(&c, Command::End);
    w.run(&b, Command::Detach(AttachmentId(1)));
    let heard = watcher.heard();
    assert!(heard.contains(&format!("-{} 0", early.name)), "{heard:?}");
    let kept = w.channel("keep", 1);
    w.publish(&b, &kept, "x");
    assert_eq!(watcher.heard(), [format!("+{} 0", kept.name)]);
}

#[test]
fn connections_open_and_close_and_a_resumed_one_does_neither() {
    let mut w = World::new();
    let (watcher, _) = watcher(&mut w);
    let first = w.open(0, "c");
    w.settle();
    assert_eq!(watcher.heard(), ["+c"]);
    w.lose(&first);
    let log = std::rc::Rc::new(Log::new("d"));
    let second = w.open_as(1, log, usize::MAX);
    w.settle();
    // The harness gives every session an id of its own before it claims.
    assert_eq!(watcher.heard(), ["+d"]);
    let claim = Command::Claim {
        worker: WorkerId(0),
        connection: fanfare_model::ConnectionId::new("c"),
        claim: Box::new(()),
    };
    w.run(&second, claim);
    assert!(watcher.heard().is_empty(), "the connection goes on");
    w.run(&second, Command::End);
    assert_eq!(watcher.heard(), ["-c"]);
}

#[test]
fn nothing_is_told_when_the_last_watcher_is_gone() {
    let mut w = World::new();
    let (first, on) = watcher(&mut w);
    let (second, _) = watcher(&mut w);
    let told = |w: &mut World| w.history(&on).len();
    let channel = w.channel("tail", 1);
    let a = w.open(0, "a");
    w.run(&first, Command::End);
    let before = told(&mut w);
    w.attach(&a, &channel, Since::Now);
    assert_eq!(told(&mut w), before + 1, "one is still there");
    second.take();
    w.lose(&second);
    w.settle();
    w.run(&a, Command::Detach(AttachmentId(1)));
    w.attach(&a, &channel, Since::Now);
    w.run(&a, Command::End);
    assert_eq!(told(&mut w), before + 1);
}
