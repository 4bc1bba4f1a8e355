//! All connections of a run on one epoll: opening them with bounded concurrency, and a turn of the loop.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::{fd::OwnedFd, time::Timespec};

use crate::{
    client::{Client, Phase, Progress, Receiver, Spec},
    wire::{self, Format},
};

/// Room for one read. Larger saves system calls, smaller stays in the core's cache: measured best at this.
const READ_BUFFER: usize = 256 * 1024;

/// Readiness events taken in one turn.
const EVENTS: usize = 1024;

/// How long nothing may happen while connections open.
const OPEN_PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Swarm {
    target: SocketAddr,
    request: Vec<u8>,
    format: Format,
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    pub(crate) clients: Vec<Client>,
    /// Read by every client in turn; nothing stays in it.
    buffer: Vec<u8>,
    clock: Instant,
    /// Clients that are open and not yet ready.
    opening: usize,
}

/// Drops what arrives while connections open: nothing is published yet.
pub(crate) struct Nobody;

impl Receiver for Nobody {
    fn frame(&mut self, _: usize, _: &[u8], _: u64) {}
    fn closed(&mut self, _: usize, _: String) {}
}

impl Swarm {
    pub(crate) fn new(target: SocketAddr, path: &str, format: Format) -> Result<Swarm> {
        Ok(Swarm {
            target,
            request: wire::upgrade_request(&target.to_string(), path),
            format,
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            events: Vec::with_capacity(EVENTS),
            clients: Vec::new(),
            buffer: vec![0; READ_BUFFER],
            clock: Instant::now(),
            opening: 0,
        })
    }

    /// Nanoseconds since the swarm was made: the clock of every payload.
    pub(crate) fn now_ns(&self) -> u64 {
        self.clock.elapsed().as_nanos() as u64
    }

    /// Opens a connection for each spec and returns when all are ready, with at most `concurrency` under way.
    pub(crate) fn establish(
        &mut self,
        specs: impl IntoIterator<Item = Spec>,
        concurrency: usize,
    ) -> Result<()> {
        let mut specs = specs.into_iter();
        let mut exhausted = false;
        let mut last_progress = Instant::now();
        while !exhausted || self.opening > 0 {
            while !exhausted && self.opening < concurrency {
                match specs.next() {
                    Some(spec) => self.open(spec)?,
                    None => exhausted = true,
                }
            }
            if self.turn(Some(Duration::from_millis(100)), &mut Nobody)? > 0 {
                last_progress = Instant::now();
            } else if last_progress.elapsed() > OPEN_PATIENCE {
                bail!("{} connections neither became ready nor failed", self.opening);
            }
        }
        Ok(())
    }

    /// Waits for readiness and serves every ready client once. Gives how many there were.
    pub(crate) fn turn<R: Receiver>(&mut self, timeout: Option<Duration>, receiver: &mut R) -> Result<usize> {
        let timeout = timeout
            .map(|wait| Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) });
        self.events.clear();
        let spare = rustix::buffer::spare_capacity(&mut self.events);
        match epoll::wait(&self.epoll, spare, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("epoll_wait"),
        }
        for at in 0..self.events.len() {
            let event = self.events[at];
            let (id, flags) = (event.data.u64() as usize, event.flags);
            self.serve(id, flags, receiver)?;
        }
        Ok(self.events.len())
    }

    /// Sends what waits in a client's `out`; the rest follows when the socket has room.
    pub(crate) fn flush(&mut self, id: usize) -> Result<()> {
        let done = self.clients[id].flush().context("cannot write to the server")?;
        if !done {
            self.watch(id, EventFlags::IN | EventFlags::OUT)?;
        }
        Ok(())
    }

    /// Stops reading from a client, as an application does that hangs.
    pub(crate) fn stall(&mut self, id: usize) -> Result<()> {
        self.watch(id, EventFlags::empty())
    }

    pub(crate) fn resume(&mut self, id: usize) -> Result<()> {
        self.watch(id, EventFlags::IN)
    }

    fn open(&mut self, spec: Spec) -> Result<()> {
        let mut client = Client::open(self.target, &self.request, self.format, spec)?;
        // On loopback the connection is there at once: the request leaves without a turn of the loop.
        let done = client.flush().context("cannot write to the server")?;
        let flags = if done { EventFlags::IN } else { EventFlags::IN | EventFlags::OUT };
        epoll::add(&self.epoll, client.socket(), EventData::new_u64(self.clients.len() as u64), flags)?;
        self.clients.push(client);
        self.opening += 1;
        Ok(())
    }

    fn serve<R: Receiver>(&mut self, id: usize, flags: EventFlags, receiver: &mut R) -> Result<()> {
        let client = &mut self.clients[id];
        if client.phase() == Phase::Closed {
            return Ok(());
        }
        let mut progress = Progress::Open;
        if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            progress = client.read(id, &mut self.buffer, self.clock, receiver);
        }
        let wants_write = flags.contains(EventFlags::OUT) || !client.out.is_empty();
        if wants_write && !matches!(progress, Progress::Ended(_)) {
            match client.flush() {
                Ok(done) if done == flags.contains(EventFlags::OUT) => {
                    let also = if done { EventFlags::empty() } else { EventFlags::OUT };
                    self.watch(id, EventFlags::IN | also)?;
                }
                Ok(_) => {}
                Err(error) => progress = Progress::Ended(error.to_string()),
            }
        }
        match progress {
            Progress::Open => {}
            Progress::BecameReady => self.opening -= 1,
            Progress::Ended(reason) => self.end(id, reason, receiver)?,
        }
        Ok(())
    }

    /// A connection that ends before it is ready ends the run: the server refuses what the run needs.
    #[cold]
    fn end<R: Receiver>(&mut self, id: usize, reason: String, receiver: &mut R) -> Result<()> {
        let client = &mut self.clients[id];
        let phase = client.phase();
        if phase != Phase::Ready {
            bail!("connection {id} failed while {phase:?}: {reason}");
        }
        client.mark_closed();
        epoll::delete(&self.epoll, client.socket())?;
        receiver.closed(id, reason);
        Ok(())
    }

    fn watch(&mut self, id: usize, flags: EventFlags) -> Result<()> {
        let client = &self.clients[id];
        if client.phase() != Phase::Closed {
            epoll::modify(&self.epoll, client.socket(), EventData::new_u64(id as u64), flags)?;
        }
        Ok(())
    }
}
