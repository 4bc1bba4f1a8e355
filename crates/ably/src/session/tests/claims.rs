//! On a real engine, since only that can say who claims from whom.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use fanfare_engine::{Content, EngineConfig, FrameKind, Framing, Outbox, Pushed, SessionId, Worker};
use fanfare_store::Memory;

use super::*;

#[derive(Default)]
struct Out {
    frames: RefCell<Vec<Value>>,
    closed: RefCell<Option<u16>>,
}

impl Outbox for Out {
    fn push(&self, framed: Bytes) -> Pushed {
        self.answer(framed)
    }
    fn answer(&self, framed: Bytes) -> Pushed {
        self.frames.borrow_mut().push(serde_json::from_slice(&framed).unwrap());
        Pushed::Queued
    }
    fn flush(&self) {}
    fn close(&self, code: u16, _: &str) {
        *self.closed.borrow_mut() = Some(code);
    }
    fn resume_reading(&self) {}
}

struct Bare;

impl Framing for Bare {
    fn class(&self) -> u8 {
        0
    }
    fn begin(&self, out: &mut Vec<u8>) -> usize {
        out.len()
    }
    fn end(&self, _: &mut Vec<u8>, _: usize, _: FrameKind, _: Content) {}
}

struct Server {
    world: World,
    workers: Vec<Worker>,
    now: Now,
}

struct Peer {
    worker: usize,
    id: SessionId,
    out: Rc<Out>,
}

impl Server {
    fn new() -> Self {
        let world = World::new();
        let config = EngineConfig {
            directory: world.directory.clone(),
            store: Arc::new(Memory::new(epoch())),
            blocking: Box::new(|work| work()),
            memory_epoch: epoch(),
            wake: vec![Box::new(|| {}), Box::new(|| {})],
        };
        let (_, seeds) = Worker::all(config);
        Self { world, workers: seeds.into_iter().map(|seed| seed.grow()).collect(), now: now() }
    }

    fn open(&mut self, worker: usize, query: &str) -> Peer {
        let session = self.world.accept(query, self.now, worker as u16);
        let out = Rc::new(Out::default());
        let id = self.workers[worker].open(session, out.clone(), Rc::new(Bare), self.now);
        self.run();
        Peer { worker, id, out }
    }

    fn says(&mut self, peer: &Peer, frame: Value) -> Vec<Value> {
        self.workers[peer.worker].text(peer.id, &frame.to_string(), self.now);
        self.run();
        peer.heard()
    }

    fn run(&mut self) {
        for _ in 0..8 {
            for worker in &mut self.workers {
                worker.turn(self.now);
            }
        }
    }

    fn waits(&mut self, by: Duration) {
        for _ in 0..by.as_secs() {
            self.now.mono += Duration::from_secs(1);
            self.now.wall = self.now.wall + Duration::from_secs(1);
            self.workers.iter_mut().for_each(|worker| worker.tick(self.now));
            self.run();
        }
    }
}

impl Peer {
    fn heard(&self) -> Vec<Value> {
        self.out.frames.take()
    }

    fn connected(&self) -> (String, String, Value) {
        let frames = self.heard();
        let c = &frames[0];
        let text = |v: &Value| v.as_str().unwrap().to_owned();
        (text(&c["connectionId"]), text(&c["connectionDetails"]["connectionKey"]), c["error"]["code"].clone())
    }
}

fn publish(serial: i64) -> Value {
    json!({"action": 15, "channel": "a", "msgSerial": serial, "messages": [{"data": "x"}]})
}

#[test]
fn a_connection_is_resumed_with_its_results() {
    let mut server = Server::new();
    let first = server.open(0, FULL);
    let (id, key, _) = first.connected();
    let acks = server.says(&first, publish(0));
    assert_eq!(acks[0]["action"], 1);
    server.workers[0].transport_lost(first.id, server.now);

    let second = server.open(1, &format!("{FULL}&resume={key}"));
    let (same, new_key, error) = second.connected();
    assert_eq!((&same, &error), (&id, &Value::Null));
    assert_ne!(key, new_key);
    assert_eq!(server.workers[0].session_count(), 0);
    assert_eq!(server.says(&second, publish(0)), acks, "the same answer again");
    assert_ne!(server.says(&second, publish(1))[0]["res"], acks[0]["res"]);

    let third = server.open(0, &format!("{FULL}&recover={key}"));
    let (other, _, error) = third.connected();
    assert_ne!(other, id);
    assert_eq!(error, 80008, "a key is good for once");
}

#[test]
fn an_open_transport_is_superseded() {
    let mut server = Server::new();
    let first = server.open(0, FULL);
    let (id, key, _) = first.connected();
    let second = server.open(0, &format!("{FULL}&recover={key}"));
    assert_eq!(second.connected().0, id);
    assert_eq!(errors(&first.heard()), [(6, 80016)]);
    assert_eq!(*first.out.closed.borrow(), Some(1000));
}

#[test]
fn others_may_not_have_it() {
    let mut server = Server::new();
    let named = |client: &str| {
        format!("v=5&access_token={}", token("full", 3600, json!({"x-ably-clientId": client})))
    };
    let first = server.open(0, &named("me"));
    let (id, key, _) = first.connected();
    let (head, _) = key.split_at(key.len() - 4);
    for query in [
        format!("{}&resume={key}", named("you")),
        format!("{}&resume={head}AAAA", named("me")),
        format!("{}&resume={}", named("me"), key.replacen("!0-", "!7-", 1)),
    ] {
        let (other, _, error) = server.open(1, &query).connected();
        assert!(other != id && error == 80008, "{query}");
    }
    assert!(first.heard().is_empty(), "and the holder notices nothing");
    assert_eq!(server.open(1, &format!("{}&resume={key}", named("me"))).connected().0, id);
}

#[test]
fn members_stay_over_a_resume_and_leave_without_one() {
    let mut server = Server::new();
    let me = format!("{FULL}&clientId=me");
    let watcher = server.open(0, FULL);
    server.says(&watcher, json!({"action": 10, "channel": "a"}));
    let first = server.open(0, &me);
    let (_, key, _) = first.connected();
    server.says(&first, json!({"action": 10, "channel": "a"}));
    server.says(&first, json!({"action": 14, "channel": "a", "msgSerial": 0, "presence": [{"action": 2}]}));
    watcher.heard();
    let presence = |frames: Vec<Value>| -> Vec<i64> {
        let events = frames
            .iter()
            .filter(|f| f["action"] == 14)
            .flat_map(|f| f["presence"].as_array().unwrap().clone());
        events.map(|e| e["action"].as_i64().unwrap()).collect()
    };
    server.workers[0].transport_lost(first.id, server.now);
    server.waits(Duration::from_secs(5));
    let second = server.open(1, &format!("{me}&resume={key}"));
    second.heard();
    server.waits(Duration::from_secs(20));
    assert!(presence(watcher.heard()).is_empty());
    second.heard();
    let attached = server.says(&second, json!({"action": 10, "channel": "a"}));
    assert_eq!(attached[1]["presence"][0]["clientId"], "me", "{attached:?}");
    server.workers[1].transport_lost(second.id, server.now);
    server.waits(Duration::from_secs(14));
    assert!(presence(watcher.heard()).is_empty());
    server.waits(Duration::from_secs(2));
    assert_eq!(presence(watcher.heard()), [3]);
}

#[test]
fn what_was_missed_comes_after_the_resume() {
    let mut server = Server::new();
    let first = server.open(0, FULL);
    let (_, key, _) = first.connected();
    let attached = server.says(&first, json!({"action": 10, "channel": "a"}));
    let serial = attached[0]["channelSerial"].clone();
    server.workers[0].transport_lost(first.id, server.now);
    let other = server.open(1, FULL);
    server.says(&other, publish(0));
    let second = server.open(1, &format!("{FULL}&resume={key}"));
    second.heard();
    let frames = server.says(&second, json!({"action": 10, "channel": "a", "channelSerial": serial}));
    let flags = frames[0]["flags"].as_u64().unwrap() as u32;
    assert_eq!(flags & 7, crate::wire::flag::RESUMED | crate::wire::flag::HAS_BACKLOG);
    assert_eq!(frames[1]["messages"][0]["data"], "x");
    assert_eq!(server.says(&other, publish(1)).len(), 1);
    assert_eq!(second.heard()[0]["action"], 15, "and live ones follow");
}
