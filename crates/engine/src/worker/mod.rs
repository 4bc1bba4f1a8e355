//! One core's worker: its sessions, its subscribers, and the channels that it owns. The gateway calls
//! it with what the sockets bring, and calls [`Worker::turn`] once the sockets have nothing more.

mod commands;
mod sessions;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use fanfare_model::{ConnectionId, Now};
use slab::Slab;

use crate::encode::{Framing, Outbox, Pushed};
use crate::handle::Engine;
use crate::hub::{FannedOut, Hub};
use crate::ids::{SessionId, SessionRef, WorkerId};
use crate::mail::Mail;
use crate::map::Map;
use crate::owner::Owner;
use crate::session::{Event, Outputs, Session};
use crate::shared::{self, EngineConfig, Shared};

use sessions::Entry;

/// How often tails, ids and idle channels are looked through.
const TEND_INTERVAL: Duration = Duration::from_secs(1);
/// Rounds of a turn that what it caused may add; the rest waits for the next turn.
const ROUNDS_MAX: usize = 8;

/// Whether the gateway may go on reading from a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    Read,
    /// Too much is in flight: [`Outbox::resume_reading`] says when to go on.
    Pause,
}

pub struct Worker {
    me: WorkerId,
    shared: Arc<Shared>,
    now: Now,
    owner: Owner,
    hub: Hub,
    sessions: Slab<Entry>,
    generation: u32,
    connections: Map<ConnectionId, SessionId>,
    timers: BinaryHeap<Reverse<(Duration, u32, u32)>>,
    tended_at: Duration,
    outputs: Outputs,
    events: VecDeque<(SessionId, Event)>,
    mail: Vec<Mail>,
    fanned_out: FannedOut,
    want_flush: Vec<SessionId>,
    next_claim: u64,
}

impl Worker {
    /// The workers of a process and the handle to them. Each worker then lives on its own thread.
    pub fn all(config: EngineConfig) -> (Engine, Vec<WorkerSeed>) {
        let shared = Arc::new(Shared::new(config));
        let seeds = (0..shared.mailboxes.len())
            .map(|i| WorkerSeed { me: WorkerId(i as u16), shared: shared.clone() })
            .collect();
        (Engine { shared }, seeds)
    }

    pub fn id(&self) -> WorkerId {
        self.me
    }

    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// A transport is open. The session speaks first.
    pub fn open(
        &mut self,
        session: Box<dyn Session>,
        outbox: Rc<dyn Outbox>,
        framing: Rc<dyn Framing>,
        now: Now,
    ) -> SessionId {
        self.set_now(now);
        self.generation = self.generation.wrapping_add(1);
        let limits =
            self.shared.directory.app(session.app()).map(|app| app.limits.clone()).unwrap_or_default();
        let entry = Entry::new(session, outbox, framing, self.generation, limits.publishes_in_flight_max);
        let id = SessionId { slot: self.sessions.insert(entry) as u32, generation: self.generation };
        shared::add(&self.shared.counters.sessions_opened, 1);
        self.run(id, |session, out| session.on_open(out));
        self.settle();
        id
    }

    pub fn text(&mut self, id: SessionId, text: &str, now: Now) -> Flow {
        self.set_now(now);
        self.run(id, |session, out| session.on_text(text, out));
        self.settle();
        self.flow(id)
    }

    pub fn binary(&mut self, id: SessionId, bytes: &[u8], now: Now) -> Flow {
        self.set_now(now);
        self.run(id, |session, out| session.on_binary(bytes, out));
        self.settle();
        self.flow(id)
    }

    /// The transport is gone, or was refused by the gateway. Its session may live on.
    pub fn transport_lost(&mut self, id: SessionId, now: Now) {
        self.set_now(now);
        let Some(entry) = self.entry(id) else { return };
        if entry.outbox.take().is_none() {
            return;
        }
        self.detach_all(id);
        self.count_out(id);
        self.run(id, |session, out| session.on_transport_lost(out));
        self.settle();
    }

    /// A queue that had refused deliveries is empty again: each of its attachments that missed some
    /// is told, and hears again.
    pub fn drained(&mut self, id: SessionId, now: Now) {
        self.set_now(now);
        let Some(entry) = self.entry(id) else { return };
        let places: Vec<_> = entry.attachments.iter().filter_map(|a| Some((a.id, a.place?))).collect();
        for (attachment, place) in places {
            let subscriber = self.hub.subscriber(place);
            if !subscriber.lagging {
                continue;
            }
            subscriber.lagging = false;
            let (epoch, stamp) = self.hub.position(place);
            let serial = fanfare_model::Serial { stamp, epoch };
            self.events.push_back((id, Event::Gap { attachment, serial }));
        }
        self.settle();
    }

    /// Ends a turn: mail is read, what was published is committed and fanned out, sessions say what
    /// they gathered, and every outbox with something new is flushed once. Returns whether there is
    /// more to do at once.
    pub fn turn(&mut self, now: Now) -> bool {
        self.set_now(now);
        let mut more = true;
        for _ in 0..ROUNDS_MAX {
            if !std::mem::take(&mut more) {
                break;
            }
            more = self.round();
        }
        let mut to_flush = std::mem::take(&mut self.fanned_out.to_flush);
        for outbox in to_flush.drain(..) {
            outbox.flush();
        }
        self.fanned_out.to_flush = to_flush;
        self.count();
        more
    }

    fn round(&mut self) -> bool {
        let mut mail = std::mem::take(&mut self.mail);
        self.shared.mailboxes[usize::from(self.me.0)].take(&mut mail);
        let mut busy = !mail.is_empty();
        for mail in mail.drain(..) {
            self.receive(mail);
            self.carry_events();
        }
        self.mail = mail;
        self.settle();
        self.owner.turn();
        busy |= !self.owner.local.is_empty();
        self.settle();
        self.hub.fan_out(&mut self.fanned_out);
        let mut flush = std::mem::take(&mut self.want_flush);
        for id in flush.drain(..) {
            if let Some(entry) = self.entry(id) {
                entry.wants_flush = false;
                self.run(id, |session, out| session.on_flush(out));
            }
        }
        if self.want_flush.is_empty() {
            self.want_flush = flush;
        }
        self.settle();
        busy || self.owner.has_staged()
    }

    /// Does what is due by now. Call it at [`Worker::next_deadline`].
    pub fn tick(&mut self, now: Now) {
        self.set_now(now);
        while let Some(Reverse((at, slot, generation))) = self.timers.peek().copied() {
            if at > now.mono {
                break;
            }
            self.timers.pop();
            let id = SessionId { slot, generation };
            if self.entry(id).is_some_and(|e| e.wake_at == Some(at)) {
                if let Some(entry) = self.entry(id) {
                    entry.wake_at = None;
                }
                self.run(id, |session, out| session.on_timer(out));
                self.settle();
            }
        }
        if now.mono.saturating_sub(self.tended_at) >= TEND_INTERVAL {
            self.tended_at = now.mono;
            self.hand_over_counts();
            let directory = &self.shared.directory;
            self.shared.telemeter.tend(now.wall, |app| directory.app(app).is_some());
            self.owner.tend();
            self.settle();
        }
    }

    pub fn next_deadline(&self) -> Duration {
        let tend = self.tended_at + TEND_INTERVAL;
        self.timers.peek().map_or(tend, |Reverse((at, ..))| tend.min(*at))
    }

    fn set_now(&mut self, now: Now) {
        self.now = now;
        self.outputs.now = now;
        self.owner.set_now(now);
    }

    /// Carries events to sessions and mail to where it belongs, until there is no more.
    fn settle(&mut self) {
        loop {
            self.carry_events();
            if self.owner.local.is_empty() {
                return;
            }
            let mut local = std::mem::take(&mut self.owner.local);
            for mail in local.drain(..) {
                self.receive(mail);
                self.carry_events();
            }
            if self.owner.local.is_empty() {
                self.owner.local = local;
            }
        }
    }

    /// After each mail, not after all of it: a session must hear that it is attached before the next
    /// mail can fan out what is live.
    fn carry_events(&mut self) {
        while let Some((id, event)) = self.events.pop_front() {
            self.run(id, |session, out| session.on_event(event, out));
        }
    }

    fn receive(&mut self, mail: Mail) {
        let Some(mail) = self.owner.receive(mail) else { return };
        match mail {
            Mail::Deliver { channel, epoch, records } => self.hub.stage(&channel, epoch, records),
            Mail::Attached(attached) => self.attached(*attached),
            Mail::Answered { to, token, result } => self.answered(to.session, token, result),
            Mail::OccupancyChanged { channel, occupancy } => {
                for (id, attachment, serial) in self.hub.occupancy_watchers(&channel) {
                    self.events.push_back((id, Event::Occupancy { attachment, occupancy, serial }));
                }
            }
            Mail::MembersAre { to, attachment, members } => {
                self.events.push_back((to.session, Event::Members { attachment, members }));
            }
            Mail::Claim { from, connection, request } => self.claim(from, &connection, request),
            Mail::Claimed { to, connection, state, present_on } => {
                self.claimed(to, connection, state, present_on);
            }
            Mail::Identify { app, connection, secret, reply } => {
                reply(self.identify(&app, &connection, &secret));
            }
            Mail::Notice { app, notice } => {
                self.tell(|session| *session.app() == app, || Event::Notice(notice.clone()));
            }
            Mail::Reconfigured => {
                self.owner.reconfigured();
                self.tell(|_| true, || Event::Reconfigured);
            }
            Mail::Drain => self.tell(|_| true, || Event::Drain),
            Mail::Telemetry { reply } => {
                self.hand_over_counts();
                reply(());
            }
            // Everything else was the owner's.
            _ => debug_assert!(false, "mail for nobody"),
        }
    }

    fn tell(&mut self, whom: impl Fn(&dyn Session) -> bool, event: impl Fn() -> Event) {
        for (slot, entry) in &self.sessions {
            if whom(&*entry.session) {
                let id = SessionId { slot: slot as u32, generation: entry.generation };
                self.events.push_back((id, event()));
            }
        }
    }

    fn entry(&mut self, id: SessionId) -> Option<&mut Entry> {
        self.sessions.get_mut(id.slot as usize).filter(|e| e.generation == id.generation)
    }

    fn flow(&mut self, id: SessionId) -> Flow {
        match self.entry(id) {
            Some(entry) if entry.in_flight >= entry.in_flight_max => {
                entry.paused = true;
                Flow::Pause
            }
            _ => Flow::Read,
        }
    }

    fn reference(&self, session: SessionId) -> SessionRef {
        SessionRef { worker: self.me, session }
    }

    fn pushed(&mut self, outbox: &Rc<dyn Outbox>, pushed: Pushed) {
        if pushed == Pushed::First {
            self.fanned_out.to_flush.push(outbox.clone());
        }
    }

    fn hand_over_counts(&mut self) {
        let traffic = self.owner.take_traffic();
        self.shared.telemeter.add(self.now.wall, &traffic, &mut self.hub.meters);
    }

    fn count(&mut self) {
        let counters = &self.shared.counters;
        shared::add(&counters.delivered, std::mem::take(&mut self.hub.delivered));
        let fell_behind = self.fanned_out.fell_behind.len() as u64;
        if fell_behind > 0 {
            shared::add(&counters.gaps, fell_behind);
            self.fanned_out.fell_behind.clear();
        }
        shared::add(&counters.dropped, std::mem::take(&mut self.hub.dropped) + fell_behind);
    }
}

/// A worker before it has a thread: it can be sent to one.
pub struct WorkerSeed {
    me: WorkerId,
    shared: Arc<Shared>,
}

impl WorkerSeed {
    pub fn id(&self) -> WorkerId {
        self.me
    }

    pub fn grow(self) -> Worker {
        Worker {
            me: self.me,
            owner: Owner::new(self.me, self.shared.clone()),
            shared: self.shared,
            now: Now::default(),
            hub: Hub::default(),
            sessions: Slab::new(),
            generation: 0,
            connections: Map::default(),
            timers: BinaryHeap::new(),
            tended_at: Duration::ZERO,
            outputs: Outputs::new(),
            events: VecDeque::new(),
            mail: Vec::new(),
            fanned_out: FannedOut::default(),
            want_flush: Vec::new(),
            next_claim: 0,
        }
    }
}
