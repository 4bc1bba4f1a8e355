//! The world of a test, and the peers in it.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fanfare_model::{
    App, AppId, ChannelKey, ChannelName, ClientIdRule, ConnectionId, CountryCode, Durability, Epoch, Limits,
    Now, PresenceAction, Rule, Rules, Serial, Stamp, Timestamp,
};
use fanfare_store::{Direction, Query};
use parking_lot::Mutex;

pub(super) use super::requests::*;
use super::slow_store::SlowStore;
use crate::encode::{Outbox, Pushed};
use crate::session::{ClaimId, Command, Continuity, Event, Outputs, Session, Since};
use crate::shared::WakeWorker;
use crate::worker::{Flow, Worker};
use crate::{Directory, Engine, EngineConfig, History, Occupancy, Published, SessionId, WorkerId};

pub(super) const START: i64 = 1_700_000_000_000;
/// The retention of the namespace `brief`: shorter than a tail's age.
pub(super) const BRIEF: Duration = Duration::from_secs(30);

type Job = Box<dyn FnOnce() + Send>;

pub(super) struct World {
    pub(super) engine: Engine,
    pub(super) workers: Vec<Worker>,
    pub(super) store: Arc<SlowStore>,
    pub(super) now: Now,
    /// Work for the blocking pool waits until [`World::job`].
    pub(super) hold_jobs: bool,
    jobs: Arc<Mutex<VecDeque<Job>>>,
    woken: Arc<[AtomicBool; 2]>,
}

pub(super) fn app_id() -> AppId {
    AppId::parse("app").expect("a good name")
}

pub(super) fn app(limits: Limits) -> App {
    let rule = |durability| Rule { durability, ..Rule::default() };
    let namespaces = [
        ("none".to_owned(), rule(Durability::None)),
        ("last".to_owned(), rule(Durability::PersistLast)),
        ("keep".to_owned(), rule(Durability::Persist)),
        ("brief".to_owned(), Rule { retention: BRIEF, ..rule(Durability::Persist) }),
    ];
    let rules = Rules { default: Rule::default(), namespaces: HashMap::from(namespaces) };
    App { id: app_id(), enabled: true, tls_only: false, keys: HashMap::new(), rules, limits }
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(Limits::default())
    }

    pub(super) fn with(limits: Limits) -> Self {
        Self::over(Arc::new(SlowStore::new()), limits, Timestamp(START))
    }

    /// Another process over the same store.
    pub(super) fn over(store: Arc<SlowStore>, limits: Limits, wall: Timestamp) -> Self {
        let jobs: Arc<Mutex<VecDeque<Job>>> = Arc::default();
        let woken: Arc<[AtomicBool; 2]> = Arc::default();
        let wake = |i: usize| -> WakeWorker {
            let woken = woken.clone();
            Box::new(move || woken[i].store(true, Ordering::Relaxed))
        };
        let queue = jobs.clone();
        let (engine, seeds) = Worker::all(EngineConfig {
            directory: Arc::new(Directory::new([app(limits)])),
            store: store.clone(),
            blocking: Box::new(move |job| queue.lock().push_back(job)),
            memory_epoch: Epoch::parse("memory").expect("a good name"),
            wake: vec![wake(0), wake(1)],
        });
        let workers = seeds.into_iter().map(|seed| seed.grow()).collect();
        let now = Now { wall, mono: Duration::from_secs(1) };
        Self { engine, workers, store, now, hold_jobs: false, jobs, woken }
    }

    /// A channel of the namespace that the worker owns.
    pub(super) fn channel(&self, namespace: &str, owner: u16) -> ChannelKey {
        let named = |i: u32| ChannelKey {
            app: app_id(),
            name: ChannelName::parse(&format!("{namespace}:{i}")).expect("a good name"),
        };
        (0..).map(named).find(|key| self.engine.shared.owner_of(key) == WorkerId(owner)).expect("endless")
    }

    /// A channel that the server itself writes to.
    pub(super) fn meta_channel(&self, owner: u16) -> ChannelKey {
        self.channel("[meta]watch", owner)
    }

    pub(super) fn open(&mut self, worker: usize, connection: &str) -> Peer {
        self.open_with(worker, connection, usize::MAX)
    }

    pub(super) fn open_with(&mut self, worker: usize, connection: &str, outbox_bytes: usize) -> Peer {
        self.open_as(worker, Rc::new(Log::new(connection)), outbox_bytes)
    }

    pub(super) fn open_as(&mut self, worker: usize, log: Rc<Log>, outbox_bytes: usize) -> Peer {
        let outbox = Rc::new(FakeOutbox {
            log: log.clone(),
            queued: Cell::new(0),
            limit: outbox_bytes,
            stalled: Cell::new(false),
            refused: Cell::new(false),
            resumed: Cell::new(0),
            gone: Cell::new(false),
        });
        let connection = Some(log.connection.borrow().clone());
        let session = FakeSession { log: log.clone(), app: app_id(), connection };
        let id = self.workers[worker].open(Box::new(session), outbox.clone(), Rc::new(Plain), self.now);
        Peer { worker, id, log, outbox }
    }

    /// The session is given a command, and no turn ends.
    pub(super) fn tell(&mut self, peer: &Peer, command: Command) -> Flow {
        peer.log.todo.borrow_mut().push(command);
        self.workers[peer.worker].text(peer.id, "go", self.now)
    }

    /// As [`World::tell`], until all is quiet.
    pub(super) fn run(&mut self, peer: &Peer, command: Command) {
        self.tell(peer, command);
        self.settle();
    }

    pub(super) fn attach(&mut self, peer: &Peer, channel: &ChannelKey, since: Since) {
        self.run(peer, attach(1, channel, EVERYTHING, since));
    }

    pub(super) fn publish(&mut self, peer: &Peer, channel: &ChannelKey, payload: &str) {
        let command = publish(peer, channel, payload, false);
        self.run(peer, command);
    }

    pub(super) fn presence(&mut self, peer: &Peer, channel: &ChannelKey, event: (PresenceAction, &str)) {
        let command = presence(peer, channel, event);
        self.run(peer, command);
    }

    pub(super) fn lose(&mut self, peer: &Peer) {
        self.workers[peer.worker].transport_lost(peer.id, self.now);
        peer.outbox.gone.set(true);
    }

    pub(super) fn drain(&mut self, peer: &Peer) {
        peer.outbox.stalled.set(false);
        peer.outbox.queued.set(0);
        if peer.outbox.refused.take() {
            self.workers[peer.worker].drained(peer.id, self.now);
        }
    }

    /// Turns both workers while something wakes them, and does the blocking work.
    pub(super) fn settle(&mut self) {
        let mut more = [true, true];
        for _ in 0..10_000 {
            let worked = !self.hold_jobs && self.job();
            for (i, more) in more.iter_mut().enumerate() {
                if self.woken[i].swap(false, Ordering::Relaxed) || *more {
                    *more = self.workers[i].turn(self.now);
                }
            }
            let woken = self.woken.iter().any(|w| w.load(Ordering::Relaxed));
            let works = !self.hold_jobs && !self.jobs.lock().is_empty();
            if !worked && !works && !woken && more == [false, false] {
                return;
            }
        }
        panic!("the workers do not come to rest");
    }

    pub(super) fn turn(&mut self, worker: usize) {
        self.woken[worker].store(false, Ordering::Relaxed);
        while self.workers[worker].turn(self.now) {}
    }

    pub(super) fn job(&mut self) -> bool {
        let job = self.jobs.lock().pop_front();
        job.map(|job| job()).is_some()
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now = Now { wall: self.now.wall + time, mono: self.now.mono + time };
    }

    pub(super) fn wait(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.pass(Duration::from_secs(1));
            let now = self.now;
            self.workers.iter_mut().for_each(|w| w.tick(now));
            self.settle();
        }
    }

    pub(super) fn occupancy(&mut self, channel: &ChannelKey) -> Occupancy {
        let held = std::mem::take(&mut self.hold_jobs);
        let occupancy = self.asked(|w, reply| w.engine.status(channel.clone(), reply)).occupancy;
        self.hold_jobs = held;
        occupancy
    }

    pub(super) fn members(&mut self, channel: &ChannelKey) -> Vec<String> {
        let members = self.asked(|w, reply| w.engine.members(channel.clone(), reply));
        members.iter().map(|e| member(e)).collect()
    }

    pub(super) fn history(&mut self, channel: &ChannelKey) -> Vec<(u64, String)> {
        let query = Query {
            kind: fanfare_model::BodyKind::Messages,
            from: Stamp(0),
            to: Stamp(u64::MAX),
            direction: Direction::Forwards,
            limit: 1_000_000,
        };
        let history: Result<History, _> =
            self.asked(|w, reply| w.engine.history(channel.clone(), query, reply));
        history.expect("readable").records.iter().map(|r| (r.stamp.0, payload(r))).collect()
    }

    pub(super) fn asked<T: Send + 'static>(&mut self, ask: impl FnOnce(&Self, crate::Reply<T>)) -> T {
        let answer: Arc<Mutex<Option<T>>> = Arc::default();
        let put = answer.clone();
        ask(self, Box::new(move |value| *put.lock() = Some(value)));
        self.settle();
        answer.lock().take().expect("an answer")
    }

    pub(super) fn now_stamp(&self) -> Stamp {
        Stamp::at(self.now.wall)
    }

    pub(super) fn channels(&self) -> u64 {
        self.engine.counters().channels.load(Ordering::Relaxed)
    }
}

pub(super) struct Peer {
    pub(super) worker: usize,
    pub(super) id: SessionId,
    pub(super) log: Rc<Log>,
    pub(super) outbox: Rc<FakeOutbox>,
}

impl Peer {
    /// Takes out the deliveries: stamps and payloads in order.
    pub(super) fn frames(&self) -> Vec<(u64, String)> {
        let entries = self.log.entries.take();
        let frame = |said: Said| match said {
            Said::Frame { stamp, payload, .. } => Some((stamp, payload)),
            _ => None,
        };
        entries.into_iter().filter_map(frame).collect()
    }

    /// Takes out everything, and gives the payloads of deliveries.
    pub(super) fn heard(&self) -> Vec<String> {
        self.frames().into_iter().map(|(_, payload)| payload).collect()
    }

    pub(super) fn take(&self) -> Vec<Said> {
        self.log.entries.take()
    }

    pub(super) fn attached(&self) -> Began {
        let is = |said: &Said| if let Said::Attached(began) = said { Some(began.clone()) } else { None };
        self.log.entries.borrow().iter().rev().find_map(is).expect("an answer to attach")
    }

    /// Takes out the last answer to a publish.
    pub(super) fn answer(&self) -> Option<Result<Published, u32>> {
        let is = |said: &Said| {
            if let Said::Published { result, .. } = said { Some(result.clone()) } else { None }
        };
        let mut entries = self.log.entries.borrow_mut();
        let answer = entries.iter().rev().find_map(is);
        entries.retain(|said| !matches!(said, Said::Published { .. }));
        answer
    }
}

/// What a peer got, in order.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Said {
    Frame {
        label: String,
        stamp: u64,
        payload: String,
    },
    Attached(Began),
    Refused {
        attachment: u32,
        code: u32,
    },
    Published {
        token: u64,
        result: Result<Published, u32>,
    },
    Gap {
        attachment: u32,
        serial: Serial,
    },
    Occupancy(Occupancy),
    Members(Vec<String>),
    ClaimRequested(ClaimId),
    Claimed(Option<String>),
    /// Written by the test: from here on nothing may be delivered.
    Silence {
        attachment: Option<u32>,
    },
    Other,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Began {
    pub(super) attachment: u32,
    pub(super) connection: String,
    pub(super) serial: Serial,
    pub(super) continuity: Continuity,
    pub(super) backlog: Vec<(u64, String)>,
    pub(super) skip: usize,
    pub(super) members: Vec<String>,
}

impl Began {
    pub(super) fn payloads(&self) -> Vec<&str> {
        self.backlog.iter().map(|(_, payload)| &**payload).collect()
    }
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum OnClaim {
    Give,
    Refuse,
    Later,
}

pub(super) struct Log {
    pub(super) connection: RefCell<ConnectionId>,
    pub(super) entries: RefCell<Vec<Said>>,
    pub(super) todo: RefCell<Vec<Command>>,
    pub(super) on_flush: RefCell<Vec<Command>>,
    pub(super) on_claim: Cell<OnClaim>,
    pub(super) next_token: Cell<u64>,
    /// A claim is not answered yet.
    pub(super) claiming: Cell<bool>,
    pub(super) country: Cell<Option<CountryCode>>,
}

impl Log {
    pub(super) fn new(connection: &str) -> Self {
        Self {
            connection: RefCell::new(ConnectionId::new(connection)),
            entries: RefCell::default(),
            todo: RefCell::default(),
            on_flush: RefCell::default(),
            on_claim: Cell::new(OnClaim::Give),
            next_token: Cell::new(0),
            claiming: Cell::new(false),
            country: Cell::new(None),
        }
    }

    pub(super) fn say(&self, said: Said) {
        self.entries.borrow_mut().push(said);
    }
}

struct FakeSession {
    log: Rc<Log>,
    app: AppId,
    connection: Option<ConnectionId>,
}

impl Session for FakeSession {
    fn on_open(&mut self, out: &mut Outputs) {
        out.commands.extend(self.connection.clone().map(Command::Identify));
    }

    fn on_text(&mut self, _: &str, out: &mut Outputs) {
        out.commands.append(&mut self.log.todo.borrow_mut());
    }

    fn on_binary(&mut self, _: &[u8], _: &mut Outputs) {}

    fn on_event(&mut self, event: Event, out: &mut Outputs) {
        let said = match event {
            Event::Attached(at) => Said::Attached(Began {
                attachment: at.attachment.0,
                connection: self.connection.as_ref().map_or_else(String::new, ToString::to_string),
                serial: Serial { stamp: at.position, epoch: at.epoch },
                continuity: at.continuity,
                backlog: at.backlog.iter().map(|r| (r.stamp.0, payload(r))).collect(),
                skip: at.skip,
                members: at.members.iter().map(|e| member(e)).collect(),
            }),
            Event::AttachRefused { attachment, error } => {
                Said::Refused { attachment: attachment.0, code: error.code }
            }
            Event::Published { token, result } => {
                Said::Published { token, result: result.map_err(|error| error.code) }
            }
            Event::Gap { attachment, serial } => Said::Gap { attachment: attachment.0, serial },
            Event::Occupancy { occupancy, .. } => Said::Occupancy(occupancy),
            Event::Members { members, .. } => Said::Members(members.iter().map(|e| member(e)).collect()),
            Event::ClaimRequested { claim, .. } => {
                let state = self.connection.as_ref().map(|c| Box::new(c.to_string()) as Box<_>);
                match self.log.on_claim.get() {
                    OnClaim::Give => out.push(Command::Answer { claim, state }),
                    OnClaim::Refuse => out.push(Command::Answer { claim, state: None }),
                    OnClaim::Later => {}
                }
                Said::ClaimRequested(claim)
            }
            Event::Claimed(state) => {
                let state = state.and_then(|s| s.downcast::<String>().ok()).map(|s| *s);
                if let Some(connection) = &state {
                    let connection = ConnectionId::new(connection);
                    *self.log.connection.borrow_mut() = connection.clone();
                    self.connection = Some(connection.clone());
                    out.push(Command::Identify(connection));
                }
                self.log.claiming.set(false);
                Said::Claimed(state)
            }
            Event::Notice(_) => {
                out.commands.append(&mut self.log.todo.borrow_mut());
                Said::Other
            }
            Event::Reconfigured | Event::Drain => Said::Other,
        };
        self.log.say(said);
    }

    fn on_timer(&mut self, _: &mut Outputs) {}

    fn on_flush(&mut self, out: &mut Outputs) {
        out.commands.append(&mut self.log.on_flush.borrow_mut());
    }

    fn on_transport_lost(&mut self, _: &mut Outputs) {}

    fn app(&self) -> &AppId {
        &self.app
    }

    fn connection_id(&self) -> Option<&ConnectionId> {
        self.connection.as_ref()
    }

    fn country(&self) -> Option<CountryCode> {
        self.log.country.get()
    }

    fn prove(&self, secret: &str) -> Option<ClientIdRule> {
        (secret == "secret").then_some(ClientIdRule::Any)
    }
}

/// Takes so many bytes of deliveries between two flushes, and flushes nothing while it is stalled.
pub(super) struct FakeOutbox {
    log: Rc<Log>,
    queued: Cell<usize>,
    limit: usize,
    pub(super) stalled: Cell<bool>,
    pub(super) refused: Cell<bool>,
    pub(super) resumed: Cell<u32>,
    pub(super) gone: Cell<bool>,
}

impl Outbox for FakeOutbox {
    fn push(&self, framed: Bytes) -> Pushed {
        assert!(!self.gone.get(), "a delivery for a transport that is gone");
        if self.queued.get() + framed.len() > self.limit {
            self.refused.set(true);
            return Pushed::Full;
        }
        let first = self.queued.replace(self.queued.get() + framed.len()) == 0;
        let text = std::str::from_utf8(&framed).expect("text");
        for frame in text.split_terminator(';') {
            let (label, rest) = frame.split_once('/').expect("a label");
            let (stamp, payload) = rest.split_once(':').expect("a stamp");
            let stamp = stamp.parse().expect("a number");
            self.log.say(Said::Frame { label: label.into(), stamp, payload: payload.into() });
        }
        if first { Pushed::First } else { Pushed::Queued }
    }

    fn answer(&self, _: Bytes) -> Pushed {
        Pushed::Queued
    }

    fn flush(&self) {
        if !self.stalled.get() {
            self.queued.set(0);
        }
    }

    fn close(&self, _: u16, _: &str) {
        self.gone.set(true);
    }

    fn resume_reading(&self) {
        self.resumed.set(self.resumed.get() + 1);
    }
}
