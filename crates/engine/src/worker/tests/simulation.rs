//! Random sessions on both workers over a store that is slow and fails, and what must hold whatever
//! happens. `SIM_SEED` runs one seed.

mod check;

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use fanfare_model::{ChannelKey, ConnectionId, Limits, PresenceAction, Serial};

use super::harness::*;
use crate::session::{Audience, Command, Since};
use crate::{AttachmentId, Occupancy, WorkerId};

const SEEDS: u64 = 300;
const STEPS: usize = 300;
const CLIENTS: usize = 5;

struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % n
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// One client over all its connections: its log has everything it ever got.
struct Client {
    peer: Peer,
    echo: bool,
    attached: [bool; 4],
    /// What was published by each token: channel, payload, and the connection that said so.
    tokens: HashMap<u64, (usize, String, String)>,
}

struct Simulation {
    w: World,
    random: Random,
    channels: Vec<ChannelKey>,
    clients: Vec<Client>,
    payloads: u32,
}

struct OnPanic(u64);

impl Drop for OnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("SIM_SEED={}", self.0);
        }
    }
}

#[test]
fn random_sessions_over_a_bad_store_keep_every_promise() {
    let one = std::env::var("SIM_SEED").ok().map(|s| s.parse::<u64>().expect("a number"));
    for seed in one.map_or(1..SEEDS + 1, |one| one..one + 1) {
        let _says = OnPanic(seed);
        Simulation::new(seed).run();
    }
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let age = Duration::from_secs(4);
        let limits = Limits {
            tail_age_max: age,
            tail_records_max: 30,
            idempotency_age_max: age,
            presence_members_max: 6,
            ..Limits::default()
        };
        let mut w = World::with(limits);
        w.hold_jobs = true;
        let channels =
            vec![w.channel("tail", 0), w.channel("tail", 1), w.channel("keep", 0), w.channel("keep", 1)];
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let mut clients = Vec::new();
        for i in 0..CLIENTS {
            let peer = w.open_with(random.below(2), &format!("c{i}-0"), 200);
            clients.push(Client {
                peer,
                echo: random.one_in(2),
                attached: [false; 4],
                tokens: HashMap::new(),
            });
        }
        Self { w, random, channels, clients, payloads: 0 }
    }

    fn run(mut self) {
        for step in 0..STEPS {
            self.step(step);
        }
        self.finish();
    }

    fn step(&mut self, step: usize) {
        let i = self.random.below(CLIENTS);
        let ch = self.random.below(4);
        match self.random.below(20) {
            0..=6 => self.publish(i, ch),
            7..=8 => self.attach(i, ch),
            9 => self.detach(i, ch),
            10 => self.clients[i].peer.outbox.stalled.set(true),
            11 => self.w.drain(&self.clients[i].peer),
            12 => self.presence(i, ch),
            13 if self.random.one_in(2) => self.reconnect(i, step),
            14 => {
                let hold = self.random.one_in(3);
                self.w.store.hold(hold);
                let fail = self.random.one_in(4);
                self.w.store.fail_appends(fail);
                let fail = self.random.one_in(6);
                self.w.store.fail_reads(fail);
            }
            15 => {
                let works = !self.random.one_in(4);
                self.w.store.release(works);
            }
            16 => drop(self.w.job()),
            17 => {
                let ms = if self.random.one_in(8) { 6000 } else { self.random.below(60) };
                self.w.pass(Duration::from_millis(ms as u64));
                let now = self.w.now;
                self.w.workers.iter_mut().for_each(|w| w.tick(now));
            }
            _ => {}
        }
        if self.random.one_in(2) {
            let worker = self.random.below(2);
            self.w.turn(worker);
        }
        self.heal();
    }

    /// An outbox that refused and is not stalled any more has drained.
    fn heal(&mut self) {
        for client in &self.clients {
            if client.peer.outbox.refused.get() && !client.peer.outbox.stalled.get() {
                self.w.drain(&client.peer);
            }
        }
    }

    fn publish(&mut self, i: usize, ch: usize) {
        let again = self.payloads > 4 && self.random.one_in(8);
        if !again {
            self.payloads += 1;
        }
        // An id belongs to one channel, so that a repeat is one.
        let n = if again { self.payloads - self.random.below(4) as u32 } else { self.payloads };
        let payload = format!("m{ch}x{n}");
        let client = &mut self.clients[i];
        let connection = client.peer.log.connection.borrow().to_string();
        client.tokens.insert(client.peer.log.next_token.get(), (ch, payload.clone(), connection));
        let command = publish(&client.peer, &self.channels[ch], &payload, true);
        self.w.tell(&client.peer, command);
    }

    fn attach(&mut self, i: usize, ch: usize) {
        let client = &mut self.clients[i];
        if client.peer.log.claiming.get() {
            return;
        }
        let since = match last_seen(&client.peer.log, ch) {
            _ if client.attached[ch] => Since::Now,
            Some(serial) if !self.random.one_in(6) => Since::Serial(serial),
            _ if self.random.one_in(3) => Since::Unknown,
            _ => Since::Now,
        };
        client.attached[ch] = true;
        let audience = Audience { echo: client.echo, ..EVERYTHING };
        self.w.tell(&client.peer, attach(ch as u32, &self.channels[ch], audience, since));
    }

    fn detach(&mut self, i: usize, ch: usize) {
        let client = &mut self.clients[i];
        client.attached[ch] = false;
        self.w.tell(&client.peer, Command::Detach(AttachmentId(ch as u32)));
        client.peer.log.say(Said::Silence { attachment: Some(ch as u32) });
    }

    fn presence(&mut self, i: usize, ch: usize) {
        let action =
            [PresenceAction::Enter, PresenceAction::Update, PresenceAction::Leave][self.random.below(3)];
        let client = &self.clients[i];
        if client.peer.log.claiming.get() {
            return;
        }
        let command =
            presence(&client.peer, &self.channels[ch], (action, ["x=1", "y=2"][self.random.below(2)]));
        self.w.tell(&client.peer, command);
    }

    /// The transport is lost; a new one comes to either worker, and claims or does not.
    fn reconnect(&mut self, i: usize, step: usize) {
        let client = &mut self.clients[i];
        if client.peer.log.claiming.get() {
            return;
        }
        self.w.lose(&client.peer);
        let log: Rc<Log> = client.peer.log.clone();
        log.say(Said::Silence { attachment: None });
        client.attached = [false; 4];
        let claims = self.random.one_in(2);
        if !claims {
            self.w.tell(&client.peer, Command::End);
        }
        let (held_by, connection) = (client.peer.worker, log.connection.borrow().clone());
        *log.connection.borrow_mut() = ConnectionId::new(&format!("c{i}-{}", step + 1));
        client.peer = self.w.open_as(self.random.below(2), log.clone(), 200);
        if claims || self.random.one_in(4) {
            log.claiming.set(true);
            let worker = WorkerId(held_by as u16);
            self.w.tell(&client.peer, Command::Claim { worker, connection, claim: Box::new(()) });
        }
    }

    fn quiet(&mut self) {
        self.w.store.hold(false);
        self.w.store.fail_appends(false);
        self.w.store.fail_reads(false);
        self.w.hold_jobs = false;
        self.w.settle();
        while self.w.store.release(true) {
            self.w.settle();
        }
        for client in &self.clients {
            self.w.drain(&client.peer);
        }
        self.w.settle();
    }

    fn finish(mut self) {
        self.quiet();
        // One more of each, which everyone attached must hear.
        for ch in 0..4 {
            self.publish(0, ch);
        }
        self.quiet();
        let logs: Vec<Vec<Said>> = self.clients.iter().map(|c| c.peer.log.entries.borrow().clone()).collect();
        let known = check::Known::of(&logs, self.clients.iter().map(|c| &c.tokens));
        for (client, log) in self.clients.iter().zip(&logs) {
            for ch in 0..4 {
                let members = self.w.members(&self.channels[ch]);
                check::deliveries(log, ch, client.echo, &known, &members);
            }
        }
        for (ch, channel) in self.channels.iter().enumerate() {
            check::history(&self.w.history(channel), ch, &known, ch >= 2);
        }
        for client in &self.clients {
            self.w.tell(&client.peer, Command::End);
        }
        self.w.settle();
        assert_eq!(self.w.workers.iter().map(|w| w.session_count()).sum::<usize>(), 0, "sessions");
        for channel in &self.channels {
            assert_eq!(self.w.occupancy(channel), Occupancy::default(), "{channel:?}");
            assert_eq!(self.w.members(channel), [""; 0]);
        }
        self.w.wait(12);
        assert_eq!(self.w.channels(), 0);
    }
}

/// Where the client would resume: what it was told last on the channel.
fn last_seen(log: &Log, ch: usize) -> Option<Serial> {
    let entries = log.entries.borrow();
    let mut newer: Option<u64> = None;
    for said in entries.iter().rev() {
        match said {
            Said::Frame { label, stamp, .. } if *label == ch.to_string() => newer = newer.or(Some(*stamp)),
            Said::Attached(Began { attachment, serial, .. }) | Said::Gap { attachment, serial }
                if *attachment as usize == ch =>
            {
                let stamp = newer.map_or(serial.stamp, fanfare_model::Stamp);
                return Some(Serial { stamp, epoch: serial.epoch.clone() });
            }
            _ => {}
        }
    }
    None
}
