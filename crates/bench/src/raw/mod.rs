//! The raw baseline: one thread, one epoll, and the same bytes on the wire as a real server's.
//!
//! For each turn of the loop it gathers everything that the publishers sent, builds every frame once, and does
//! one write for each subscriber. It checks no key, keeps no history and no order beyond arrival: what a real
//! server does besides is what the ratio to it shows. Never a server for anyone.

use std::{
    collections::HashMap,
    net::{SocketAddr, TcpListener},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use clap::Args;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::{fd::OwnedFd, net::SocketFlags, time::Timespec};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{limits, report, wire::Format};

mod peer;
mod sabotage;
mod splice;
mod topics;

use peer::Peer;
use sabotage::Sabotage;
use splice::{Inbound, Publish, Serial};

pub use sabotage::Break;

/// The epoll token of the listener.
const LISTENER: u64 = u64::MAX;
const EVENTS: usize = 1024;
const READ_BUFFER: usize = 256 * 1024;
/// Room in the kernel for what a turn writes to a subscriber; accepted sockets inherit it. Not more, or the
/// kernel would hide for long that a subscriber has stalled.
const SEND_BUFFER: usize = 256 << 10;
/// Open files: the idle scenario's connections and more.
const FILES: usize = 20_000;

#[derive(Args, Clone, Debug)]
pub struct RawArgs {
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Print the address as one line of JSON once it accepts connections.
    #[arg(long)]
    pub json: bool,
    /// Break what is sent, to see that the generator notices.
    #[arg(long = "break", value_enum, hide = true)]
    pub fault: Option<Break>,
}

/// Listens and serves until the process ends.
pub(crate) fn run(args: &RawArgs) -> Result<()> {
    limits::allow_files(FILES)?;
    let mut server = Server::bind(args.listen, args.fault)?;
    let url = format!("ws://{}", server.address()?);
    if args.json {
        let line = serde_json::json!({
            "url": url, "key": "bench.bench:bench", "appId": "bench", "clientToken": "bench", "server": "raw",
        });
        report::line(&line.to_string());
    } else {
        report::line(&format!("raw baseline on {url}"));
    }
    server.serve(&AtomicBool::new(false))
}

struct Channel {
    name: Vec<u8>,
    /// Subscribers, and the frames of this turn, for each format.
    subscribers: [Vec<usize>; Format::ALL.len()],
    frames: [Vec<u8>; Format::ALL.len()],
    sabotage: Sabotage,
}

pub struct Server {
    listener: TcpListener,
    epoll: OwnedFd,
    peers: Vec<Option<Peer>>,
    free: Vec<usize>,
    rooms: Rooms,
    buffer: Vec<u8>,
}

/// What publishes change: apart from the peers, so that a peer's bytes can be read while it changes.
struct Rooms {
    channels: Vec<Channel>,
    by_name: HashMap<Vec<u8>, usize>,
    /// Channels with frames, and peers with an ACK, to send at the end of this turn.
    dirty: Vec<usize>,
    to_ack: Vec<usize>,
    serial: Serial,
    now_ms: u64,
    fault: Option<Break>,
    body: Vec<u8>,
}

impl Server {
    pub fn bind(address: SocketAddr, fault: Option<Break>) -> Result<Server> {
        let socket =
            Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        // Accepted sockets inherit both on Linux: no system call for each.
        socket.set_tcp_nodelay(true)?;
        socket.set_send_buffer_size(SEND_BUFFER)?;
        socket.bind(&address.into()).with_context(|| format!("cannot listen on {address}"))?;
        socket.listen(4096)?;
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &socket, EventData::new_u64(LISTENER), EventFlags::IN)?;
        Ok(Server {
            listener: socket.into(),
            epoll,
            peers: Vec::new(),
            free: Vec::new(),
            rooms: Rooms {
                channels: Vec::new(),
                by_name: HashMap::new(),
                dirty: Vec::new(),
                to_ack: Vec::new(),
                serial: Serial::at(0),
                now_ms: 0,
                fault,
                body: Vec::new(),
            },
            buffer: vec![0; READ_BUFFER],
        })
    }

    pub fn address(&self) -> Result<SocketAddr> {
        Ok(self.listener.local_addr()?)
    }

    /// Serves until `stop` is set.
    pub fn serve(&mut self, stop: &AtomicBool) -> Result<()> {
        let mut events: Vec<epoll::Event> = Vec::with_capacity(EVENTS);
        let patience = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        while !stop.load(Ordering::Relaxed) {
            events.clear();
            let spare = rustix::buffer::spare_capacity(&mut events);
            match epoll::wait(&self.epoll, spare, Some(&patience)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error).context("epoll_wait"),
            }
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
            self.rooms.now_ms = now.as_millis() as u64;
            for event in &events {
                let (token, flags) = (event.data.u64(), event.flags);
                if token == LISTENER {
                    self.accept()?;
                } else {
                    self.serve_peer(token as usize, flags)?;
                }
            }
            self.fan_out()?;
        }
        Ok(())
    }

    fn accept(&mut self) -> Result<()> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        loop {
            let socket = match rustix::net::accept_with(&self.listener, flags) {
                Ok(socket) => socket,
                Err(rustix::io::Errno::AGAIN) => return Ok(()),
                Err(rustix::io::Errno::CONNABORTED | rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error).context("accept"),
            };
            let id = self.free.pop().unwrap_or_else(|| {
                self.peers.push(None);
                self.peers.len() - 1
            });
            epoll::add(&self.epoll, &socket, EventData::new_u64(id as u64), EventFlags::IN)?;
            self.peers[id] = Some(Peer::new(id, socket.into()));
        }
    }

    fn serve_peer(&mut self, id: usize, flags: EventFlags) -> Result<()> {
        let Some(peer) = self.peers[id].as_mut() else { return Ok(()) };
        let mut alive = true;
        if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            alive = peer.read(&mut self.buffer, &mut self.rooms);
        }
        if alive && (flags.contains(EventFlags::OUT) || !peer.is_drained()) {
            alive = peer.flush(&self.rooms.channels, self.rooms.serial);
        }
        self.settle(id, alive)
    }

    /// The end of a turn: one write for each subscriber of each channel that got something, then the ACKs.
    fn fan_out(&mut self) -> Result<()> {
        for channel in std::mem::take(&mut self.rooms.dirty) {
            for format in 0..Format::ALL.len() {
                let frames = std::mem::take(&mut self.rooms.channels[channel].frames[format]);
                let subscribers = std::mem::take(&mut self.rooms.channels[channel].subscribers[format]);
                for id in &subscribers {
                    if let Some(peer) = self.peers[*id].as_mut() {
                        let alive = peer.send(&frames);
                        if !alive || peer.needs_watching() {
                            self.settle(*id, alive)?;
                        }
                    }
                }
                let channel = &mut self.rooms.channels[channel];
                channel.subscribers[format] = subscribers;
                channel.frames[format] = frames;
                channel.frames[format].clear();
            }
        }
        for id in std::mem::take(&mut self.rooms.to_ack) {
            if let Some(peer) = self.peers[id].as_mut() {
                let alive = peer.send_ack(&mut self.rooms.body);
                self.settle(id, alive)?;
            }
        }
        Ok(())
    }

    /// Forgets a peer that has gone; watches for room in the socket of one that has bytes waiting.
    fn settle(&mut self, id: usize, alive: bool) -> Result<()> {
        let Some(peer) = self.peers[id].as_mut() else { return Ok(()) };
        if alive {
            if peer.needs_watching() || peer.is_needlessly_watched() {
                let flags = peer.change_watch();
                epoll::modify(&self.epoll, peer.socket(), EventData::new_u64(id as u64), flags)?;
            }
            return Ok(());
        }
        for channel in peer.channels() {
            for subscribers in &mut self.rooms.channels[*channel].subscribers {
                subscribers.retain(|subscriber| *subscriber != id);
            }
        }
        // Dropping the socket closes it, which takes it off the epoll.
        self.peers[id] = None;
        self.free.push(id);
        Ok(())
    }
}

impl Rooms {
    fn channel(&mut self, name: &[u8]) -> usize {
        if let Some(known) = self.by_name.get(name) {
            return *known;
        }
        self.channels.push(Channel {
            name: name.to_vec(),
            subscribers: Default::default(),
            frames: Default::default(),
            sabotage: Sabotage::new(self.fault),
        });
        self.by_name.insert(name.to_vec(), self.channels.len() - 1);
        self.channels.len() - 1
    }

    fn attach(&mut self, peer: usize, format: Format, name: &[u8]) -> usize {
        let channel = self.channel(name);
        let subscribers = &mut self.channels[channel].subscribers[format as usize];
        if !subscribers.contains(&peer) {
            subscribers.push(peer);
        }
        channel
    }

    /// Builds the frames of a publish into its channel's turn; gives the serial for the ACK.
    fn publish(&mut self, inbound: Inbound<'_>, connection: &[u8]) -> [u8; Serial::LEN] {
        self.serial = self.serial.next(self.now_ms);
        let serial = self.serial.text();
        let channel_at = self.channel(inbound.channel);
        let channel = &mut self.channels[channel_at];
        if channel.frames.iter().all(Vec::is_empty) {
            self.dirty.push(channel_at);
        }
        let publish = Publish { inbound, connection, serial, now_ms: self.now_ms };
        for format in Format::ALL {
            if !channel.subscribers[format as usize].is_empty() {
                let frames = &mut channel.frames[format as usize];
                let start = frames.len();
                publish.push(format, frames, &mut self.body);
                channel.sabotage.spoil(frames, start);
            }
        }
        serial
    }
}
