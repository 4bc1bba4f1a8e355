//! One connection of the generator: bytes in, frames out, and the few steps until it is attached.
//!
//! A client never waits: [`crate::swarm`] calls it when its socket is ready.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr},
    time::Instant,
};

use anyhow::{Context, Result, bail};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{
    frame::{self, Header},
    wire::{self, Control, Format, action},
};

/// How a client connects and what it attaches to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spec {
    pub(crate) attach: Option<String>,
    /// The loopback address to connect from: one address has only 28,000 ports.
    pub(crate) source: Option<Ipv4Addr>,
    /// SO_RCVBUF in bytes. None leaves it to the kernel, which spends nothing on idle connections.
    pub(crate) receive_buffer: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Upgrading,
    /// Waits for CONNECTED.
    Connecting,
    /// Waits for ATTACHED.
    Attaching,
    Ready,
    Closed,
}

/// Where a client's frames go once it is ready.
pub(crate) trait Receiver {
    /// A text or binary frame. `now_ns` was read right after the bytes were.
    fn frame(&mut self, client: usize, frame: &[u8], now_ns: u64);

    /// The connection ended without this side asking for it.
    fn closed(&mut self, client: usize, reason: String);
}

pub(crate) struct Client {
    stream: Socket,
    format: Format,
    attach: Option<String>,
    phase: Phase,
    /// An unfinished frame, kept until the rest of it comes. Empty, and without an allocation, when idle.
    partial: Vec<u8>,
    /// Bytes that the socket has not taken yet.
    pub(crate) out: Vec<u8>,
}

/// What reading from a socket brought.
pub(crate) enum Progress {
    Open,
    /// The phase became Ready.
    BecameReady,
    Ended(String),
}

impl Client {
    /// Starts to connect; the upgrade request waits in `out`.
    pub(crate) fn open(target: SocketAddr, request: &[u8], format: Format, spec: Spec) -> Result<Client> {
        let stream =
            Socket::new(Domain::for_address(target), Type::STREAM.nonblocking(), Some(Protocol::TCP))
                .context("no socket: is the limit of open files too low?")?;
        stream.set_tcp_nodelay(true)?;
        if let Some(bytes) = spec.receive_buffer {
            stream.set_recv_buffer_size(bytes)?;
        }
        if let Some(source) = spec.source {
            stream.bind(&SocketAddr::from((source, 0)).into())?;
        }
        match stream.connect(&target.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
            Err(error) => return Err(error).with_context(|| format!("cannot connect to {target}")),
        }
        Ok(Client {
            stream,
            format,
            attach: spec.attach,
            phase: Phase::Upgrading,
            partial: Vec::new(),
            out: request.to_vec(),
        })
    }

    pub(crate) fn socket(&self) -> &Socket {
        &self.stream
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    pub(crate) fn mark_closed(&mut self) {
        self.phase = Phase::Closed;
    }

    /// Writes what waits. True when all of it is gone.
    pub(crate) fn flush(&mut self) -> io::Result<bool> {
        let mut sent = 0;
        while sent < self.out.len() {
            match (&self.stream).write(&self.out[sent..]) {
                Ok(written) => sent += written,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        if sent == self.out.len() {
            self.out.clear();
        } else {
            self.out.drain(..sent);
        }
        Ok(self.out.is_empty())
    }

    /// One read into the shared buffer, and every whole frame in it. One read and not until the socket is empty:
    /// so the buffer's size is also each client's fair turn.
    pub(crate) fn read<R: Receiver>(
        &mut self,
        id: usize,
        buffer: &mut Vec<u8>,
        clock: Instant,
        receiver: &mut R,
    ) -> Progress {
        let kept = self.partial.len();
        if kept * 2 > buffer.len() {
            buffer.resize(kept * 4, 0);
        }
        buffer[..kept].copy_from_slice(&self.partial);
        let read = match (&self.stream).read(&mut buffer[kept..]) {
            Ok(0) => return Progress::Ended("the server closed the connection".to_owned()),
            Ok(read) => read,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return Progress::Open;
            }
            Err(error) => return Progress::Ended(error.to_string()),
        };
        let now_ns = clock.elapsed().as_nanos() as u64;
        let was_ready = self.phase == Phase::Ready;
        let bytes = &buffer[..kept + read];
        match self.take(id, bytes, now_ns, receiver) {
            Ok(used) => {
                self.partial.clear();
                self.partial.extend_from_slice(&bytes[used..]);
                if self.phase == Phase::Ready && !was_ready { Progress::BecameReady } else { Progress::Open }
            }
            Err(error) => Progress::Ended(format!("{error:#}")),
        }
    }

    /// Handles the whole frames in `bytes`; gives how many bytes they were.
    fn take<R: Receiver>(&mut self, id: usize, bytes: &[u8], now_ns: u64, receiver: &mut R) -> Result<usize> {
        let mut used = 0;
        if self.phase == Phase::Upgrading {
            let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else { return Ok(0) };
            if !bytes.starts_with(b"HTTP/1.1 101") {
                let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
                bail!("the upgrade was refused: {}", String::from_utf8_lossy(line));
            }
            used = end + 4;
            self.phase = Phase::Connecting;
        }
        while let Some(header) = Header::read(&bytes[used..])? {
            let Some(payload) = bytes.get(used + header.header_len..used + header.frame_len()) else { break };
            match header.opcode {
                frame::TEXT | frame::BINARY if self.phase == Phase::Ready => {
                    receiver.frame(id, payload, now_ns);
                }
                frame::TEXT | frame::BINARY => self.step(payload)?,
                frame::PING => frame::push_masked(&mut self.out, frame::PONG, payload),
                frame::PONG => {}
                frame::CLOSE => bail!("the server sent a close frame{}", frame::close_reason(payload)),
                other => bail!("a frame with opcode {other}"),
            }
            used += header.frame_len();
        }
        Ok(used)
    }

    /// CONNECTED, then ATTACHED.
    #[cold]
    fn step(&mut self, payload: &[u8]) -> Result<()> {
        let Some(control) = Control::read(self.format, payload) else {
            bail!("a frame that is no protocol message: {}", String::from_utf8_lossy(payload));
        };
        match (self.phase, control.action) {
            (_, action::HEARTBEAT) => {}
            (Phase::Connecting, action::CONNECTED) if control.error.is_none() => match self.attach.take() {
                Some(channel) => {
                    wire::push_attach(&mut self.out, self.format, &channel);
                    self.phase = Phase::Attaching;
                }
                None => self.phase = Phase::Ready,
            },
            (Phase::Attaching, action::ATTACHED) => self.phase = Phase::Ready,
            (phase, _) => bail!("while {phase:?}: {}", control.describe()),
        }
        Ok(())
    }
}
