//! A publish/subscribe run: who connects, when a publisher may publish, and what a stretch of time brought.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::Result;

use crate::{
    client::Spec,
    desk::{Desk, Publisher},
    histogram::Histogram,
    limits,
    observe::Observed,
    payload::{self, MAX_ROUTE, STAMP_LEN, Stamp},
    report::Report,
    swarm::Swarm,
    wire::{Format, PublishForm},
};

/// How long nothing may arrive before what is missing counts as lost.
const DRAIN_PATIENCE: Duration = Duration::from_secs(3);

/// After everything has arrived: time for duplicates to show themselves.
const AFTERMATH: Duration = Duration::from_millis(100);

/// How long filling the queues of stalled subscribers may take.
const OVERFLOW_PATIENCE: Duration = Duration::from_secs(60);

/// Room for a subscriber's backlog; the kernel's own start would throttle the first seconds.
const RECEIVE_BUFFER: usize = 4 << 20;

/// A subscriber that will stall gets little room, so that the server has to decide soon.
const STALLED_RECEIVE_BUFFER: usize = 16 << 10;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// As fast as acknowledgements and the slowest subscriber allow.
    Full {
        /// Unacknowledged publishes for each publisher.
        window: u64,
        /// How far a channel's slowest subscriber may be behind.
        lag: u64,
        /// A publisher waits until it may send this many, and sends them in one write.
        burst: u64,
    },
    /// On a fixed schedule, whatever the server does.
    Rate { per_second: u64 },
}

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) target: SocketAddr,
    /// Where clients connect to, credentials included.
    pub(crate) path: String,
    pub(crate) format: Format,
    /// Channels are named `prefix-0`, `prefix-1` and so on.
    pub(crate) prefix: String,
    pub(crate) channels: usize,
    pub(crate) per_channel: usize,
    pub(crate) publishers: usize,
    /// Every publisher goes round all channels; else publisher p stays on channel p.
    pub(crate) roam: bool,
    pub(crate) payload: usize,
    pub(crate) pace: Pace,
    /// Every n-th subscriber is one that will stall.
    pub(crate) stall_every: Option<usize>,
    pub(crate) observed: Option<Observed>,
    /// Poll without sleeping: takes the generator's own wake-up out of latencies, and out of what a send costs
    /// the server (on one machine the sender pays for waking the receiver; over a network it does not).
    pub(crate) spin: bool,
}

/// What a stretch of time brought.
pub(crate) struct Stretch {
    pub(crate) elapsed: Duration,
    pub(crate) deliveries: u64,
    pub(crate) acked: u64,
    /// The server's CPU time, and this process's.
    pub(crate) cpu: Option<Duration>,
    pub(crate) own_cpu: Duration,
    /// How long other processes kept the two from their cores.
    pub(crate) disturbed: Duration,
    pub(crate) latency: Histogram,
    pub(crate) ack_latency: Histogram,
}

pub(crate) struct Traffic {
    plan: Plan,
    pub(crate) swarm: Swarm,
    pub(crate) desk: Desk,
    forms: Vec<PublishForm>,
    /// Each publisher's next channel.
    cursor: Vec<usize>,
    /// Published on each channel, and by each publisher on each channel (a publisher's side by side).
    published: Vec<u64>,
    seqs: Vec<u64>,
    /// How far the slowest subscriber of each channel was when that was last worked out.
    floor: Vec<u64>,
    /// Rate: when the schedule began, how many have left, and the worst delay of one.
    started_ns: u64,
    scheduled: u64,
    pub(crate) worst_lateness_ns: u64,
    body: Vec<u8>,
    text: Vec<u8>,
}

impl Traffic {
    /// Connects and attaches everyone. Publishers come first: client p is publisher p.
    pub(crate) fn open(plan: Plan) -> Result<Traffic> {
        anyhow::ensure!(plan.payload >= STAMP_LEN, "a payload needs at least {STAMP_LEN} bytes");
        anyhow::ensure!(
            plan.channels < MAX_ROUTE && plan.publishers < MAX_ROUTE,
            "at most {MAX_ROUTE} of each"
        );
        let subscribers = plan.channels * plan.per_channel;
        limits::allow_files(plan.publishers + subscribers + 100)?;
        let mut swarm = Swarm::new(plan.target, &plan.path, plan.format)?;
        let mut desk = Desk::new(plan.format, plan.payload, plan.publishers, plan.channels, plan.per_channel);
        if plan.format.acks_by_channel() && plan.roam {
            desk.publishers.fill(Publisher::acked_by_channel(plan.channels));
        }
        let stalls =
            |subscriber: usize| plan.stall_every.is_some_and(|every| subscriber.is_multiple_of(every));
        if plan.stall_every.is_some() {
            desk.stalled = (0..subscribers).map(|s| stalls(s).then(Default::default)).collect();
        }
        let publishers = (0..plan.publishers).map(|_| Spec::default());
        let subscribers = (0..subscribers).map(|subscriber| Spec {
            attach: Some(format!("{}-{}", plan.prefix, subscriber / plan.per_channel)),
            source: plan.target.ip().is_loopback().then(|| loopback(subscriber)),
            receive_buffer: Some(if stalls(subscriber) { STALLED_RECEIVE_BUFFER } else { RECEIVE_BUFFER }),
        });
        swarm.establish(publishers.chain(subscribers), 64)?;
        let channel = |at| format!("{}-{at}", plan.prefix);
        Ok(Traffic {
            forms: (0..plan.channels).map(|at| PublishForm::new(plan.format, &channel(at))).collect(),
            // Apart from each other, or all publishers would meet on one channel and batch there.
            cursor: (0..plan.publishers).map(|p| p * plan.channels / plan.publishers).collect(),
            published: vec![0; plan.channels],
            seqs: vec![0; plan.channels * plan.publishers],
            floor: vec![0; plan.channels],
            started_ns: swarm.now_ns(),
            scheduled: 0,
            worst_lateness_ns: 0,
            body: Vec::new(),
            text: Vec::new(),
            plan,
            swarm,
            desk,
        })
    }

    /// Publishes for a while. Latencies of this stretch only.
    pub(crate) fn run(&mut self, length: Duration) -> Result<Stretch> {
        // Millions a second are only made with one channel: there every 16th says enough.
        let is_flood = self.plan.channels == 1 && matches!(self.plan.pace, Pace::Full { .. });
        self.desk.sample = Some(if is_flood { 15 } else { 0 });
        self.desk.latency = Histogram::new();
        self.desk.ack_latency = Histogram::new();
        let own = Observed::new(std::process::id());
        let (cpu, own_cpu) = (self.cpu()?, own.cpu()?);
        let (deliveries, acked) = (self.desk.ledger.deliveries(), self.acked());
        let start_ns = self.swarm.now_ns();
        let end_ns = start_ns + length.as_nanos() as u64;
        let mut now_ns = start_ns;
        while now_ns < end_ns {
            let wait = self.publish(now_ns)?.min(Duration::from_nanos(end_ns - now_ns));
            let wait = if self.plan.spin { Duration::ZERO } else { wait };
            self.swarm.turn(Some(wait), &mut self.desk)?;
            now_ns = self.swarm.now_ns();
        }
        let own_end = own.cpu()?;
        let mut disturbed = Observed::waited(&own_cpu, &own_end);
        let mut spent = None;
        if let (Some(from), Some(to)) = (cpu, self.cpu()?) {
            spent = Some(Observed::spent(&from, &to));
            disturbed += Observed::waited(&from, &to);
        }
        self.desk.sample = None;
        Ok(Stretch {
            elapsed: Duration::from_nanos(now_ns - start_ns),
            deliveries: self.desk.ledger.deliveries() - deliveries,
            acked: self.acked() - acked,
            cpu: spent,
            disturbed,
            own_cpu: Observed::spent(&own_cpu, &own_end),
            latency: self.desk.latency.clone(),
            ack_latency: self.desk.ack_latency.clone(),
        })
    }

    /// Waits until everything published has arrived and been acknowledged, or nothing comes any more, and
    /// counts what never came.
    pub(crate) fn finish(&mut self) -> Result<()> {
        let mut last = self.swarm.now_ns();
        let mut seen = (0, 0);
        while !self.is_complete() && self.swarm.now_ns() - last < DRAIN_PATIENCE.as_nanos() as u64 {
            self.swarm.turn(Some(Duration::from_millis(20)), &mut self.desk)?;
            let now = (self.desk.ledger.deliveries(), self.acked());
            if now != seen {
                seen = now;
                last = self.swarm.now_ns();
            }
        }
        let end = self.swarm.now_ns() + AFTERMATH.as_nanos() as u64;
        while self.swarm.now_ns() < end {
            self.swarm.turn(Some(Duration::from_millis(20)), &mut self.desk)?;
        }
        let channels = self.plan.channels;
        let seqs = &self.seqs;
        self.desk.close(|publisher, channel| seqs[publisher * channels + channel]);
        let unacked: u64 = self.desk.publishers.iter().map(|publisher| publisher.in_flight()).sum();
        if unacked > 0 {
            self.desk.ledger.faults.errors += unacked;
            self.desk.notes.push(format!("{unacked} publishes were never acknowledged"));
        }
        Ok(())
    }

    /// Publishes at full speed, unmeasured, until every subscriber has been sent this many bytes more of data.
    pub(crate) fn overflow(&mut self, bytes: u64) -> Result<()> {
        let paced = self.plan.pace;
        let wanted = self.published[0] + bytes / self.plan.payload as u64;
        self.set_pace(Pace::Full { window: 64, lag: 64, burst: 8 });
        let give_up = self.swarm.now_ns() + OVERFLOW_PATIENCE.as_nanos() as u64;
        let mut now_ns = self.swarm.now_ns();
        while self.published[0] < wanted && now_ns < give_up {
            let wait = self.publish(now_ns)?;
            self.swarm.turn(Some(wait), &mut self.desk)?;
            now_ns = self.swarm.now_ns();
        }
        self.set_pace(paced);
        Ok(())
    }

    /// Another pace from now on; a schedule begins anew.
    fn set_pace(&mut self, pace: Pace) {
        self.plan.pace = pace;
        self.started_ns = self.swarm.now_ns();
        self.scheduled = 0;
    }

    /// Every subscriber that is to stall, stops or goes on reading.
    pub(crate) fn set_stalled(&mut self, stalled: bool) -> Result<()> {
        for subscriber in 0..self.desk.ledger.subscribers() {
            if self.desk.is_stalled(subscriber) {
                let client = self.plan.publishers + subscriber;
                if stalled { self.swarm.stall(client)? } else { self.swarm.resume(client)? }
            }
        }
        Ok(())
    }

    /// Faults and their words into the report.
    pub(crate) fn account(&mut self, report: &mut Report) {
        report.faults = self.desk.ledger.faults;
        report.notes.append(&mut self.desk.notes);
    }

    fn cpu(&self) -> Result<Option<crate::observe::CpuMark>> {
        self.plan.observed.map(|observed| observed.cpu()).transpose()
    }

    fn acked(&self) -> u64 {
        self.desk.publishers.iter().map(|publisher| publisher.acked).sum()
    }

    fn is_complete(&self) -> bool {
        let ledger = &self.desk.ledger;
        let arrived = |s: usize| ledger.progress(s) >= self.published[s / self.plan.per_channel];
        self.desk.publishers.iter().all(|publisher| publisher.in_flight() == 0)
            && (0..ledger.subscribers()).all(|s| arrived(s) || self.desk.has_ended(s))
    }

    /// Publishes what may be published now; gives how long to wait at most for the next one.
    fn publish(&mut self, now_ns: u64) -> Result<Duration> {
        match self.plan.pace {
            Pace::Full { window, lag, burst } => {
                for publisher in 0..self.plan.publishers {
                    let state = &self.desk.publishers[publisher];
                    let room = window.saturating_sub(state.in_flight());
                    if room >= burst && self.swarm.clients[publisher].out.is_empty() {
                        self.burst(publisher, room, lag, burst, now_ns)?;
                    }
                }
                Ok(Duration::from_millis(50))
            }
            Pace::Rate { per_second } => {
                let start = self.started_ns;
                let due =
                    |count: u64| start + (u128::from(count) * 1_000_000_000 / u128::from(per_second)) as u64;
                let mut next = due(self.scheduled);
                while next <= now_ns {
                    self.worst_lateness_ns = self.worst_lateness_ns.max(now_ns - next);
                    let publisher = (self.scheduled % self.plan.publishers as u64) as usize;
                    self.push(publisher, now_ns);
                    self.swarm.flush(publisher)?;
                    self.scheduled += 1;
                    next = due(self.scheduled);
                }
                Ok(Duration::from_nanos(next - now_ns))
            }
        }
    }

    /// Up to `room` messages of one publisher, as far as its channels' subscribers keep up, in one write.
    fn burst(&mut self, publisher: usize, room: u64, lag: u64, burst: u64, now_ns: u64) -> Result<()> {
        // With one channel all of the burst goes there, so it must have room for all.
        let needed = if self.plan.channels == 1 { burst } else { 1 };
        let mut pushed = 0;
        while pushed < room {
            let needed = if pushed == 0 { needed } else { 1 };
            if !self.has_room(self.cursor[publisher], lag, needed) {
                break;
            }
            self.push(publisher, now_ns);
            pushed += 1;
        }
        if pushed > 0 { self.swarm.flush(publisher) } else { Ok(()) }
    }

    /// Whether a channel may get `needed` more messages before its slowest subscriber is `lag` behind.
    fn has_room(&mut self, channel: usize, lag: u64, needed: u64) -> bool {
        let ahead = self.published[channel] + needed;
        if ahead > self.floor[channel] + lag {
            let first = channel * self.plan.per_channel;
            let slowest = (first..first + self.plan.per_channel)
                .filter(|subscriber| !self.desk.is_stalled(*subscriber))
                .map(|subscriber| self.desk.ledger.progress(subscriber))
                .min();
            self.floor[channel] = slowest.unwrap_or(self.published[channel]);
        }
        ahead <= self.floor[channel] + lag
    }

    /// Queues one message on the publisher's next channel.
    fn push(&mut self, publisher: usize, now_ns: u64) {
        let channel = self.cursor[publisher];
        if self.plan.roam {
            self.cursor[publisher] = (channel + 1) % self.plan.channels;
        }
        let seq = &mut self.seqs[publisher * self.plan.channels + channel];
        let stamp = Stamp { publisher, channel, seq: *seq, sent_ns: now_ns };
        *seq += 1;
        self.published[channel] += 1;
        self.text.clear();
        payload::write(&mut self.text, stamp, self.plan.payload);
        let state = &mut self.desk.publishers[publisher];
        let out = &mut self.swarm.clients[publisher].out;
        self.forms[channel].push(out, &mut self.body, state.sent, &self.text);
        state.sent += 1;
        state.sent_ns = now_ns;
    }
}

/// Connections spread over several loopback addresses: each has its own 28,000 ports.
pub(crate) fn loopback(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, 2 + (index % 8) as u8)
}
