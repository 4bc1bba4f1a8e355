//! A WebSocket connection: one task that reads, and an outbox that anyone on the thread may fill and
//! flush. What a flush cannot write now, the task writes when the socket takes it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::IoSlice;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf, Bytes};
use fanfare_engine::{Flow, Outbox, Pushed, Session, SessionId};
use fanfare_ws::{
    CloseCode, Config, Decoder, DeflateParams, Event, Opcode, Role, WsError, close_frame, write_frame,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::core::Core;
use crate::stream::Stream;
use crate::{TransportLimits, metrics};

/// Slices in one vectored write.
const SLICES_MAX: usize = 64;
/// Reads of one connection before others have their turn.
const READS_PER_POLL: usize = 4;
/// With more than this queued nothing more is read: answers are bounded by what the peer takes.
const QUEUE_READ_MAX: usize = 256;
/// A queue that grew larger gives its memory back when it is empty.
const QUEUE_KEEP: usize = 8;

pub(crate) struct Connection {
    stream: RefCell<Stream>,
    queue: RefCell<VecDeque<Bytes>>,
    queued_bytes: Cell<usize>,
    queue_bytes_max: usize,
    /// The task's, for what happens outside of it.
    waker: RefCell<Option<Waker>>,
    /// Deliveries were refused since the queue was last empty.
    refused: Cell<bool>,
    /// Too much is in flight: nothing is read.
    paused: Cell<bool>,
    /// Everything queued is written, then the socket is closed.
    closing: Cell<bool>,
    broken: Cell<bool>,
    read_at: Cell<Duration>,
    control_frames: Cell<u32>,
}

/// Starts the connection's task.
pub(crate) fn start(
    core: &Rc<Core>,
    stream: Stream,
    already_read: Bytes,
    session: Box<dyn Session>,
    deflate: Option<DeflateParams>,
) {
    let limits = &core.setup.limits;
    let connection = Rc::new(Connection {
        stream: RefCell::new(stream),
        queue: RefCell::new(VecDeque::new()),
        queued_bytes: Cell::new(0),
        queue_bytes_max: limits.outbox_bytes_max,
        waker: RefCell::new(None),
        refused: Cell::new(false),
        paused: Cell::new(false),
        closing: Cell::new(false),
        broken: Cell::new(false),
        read_at: Cell::new(core.now().mono),
        control_frames: Cell::new(0),
    });
    let config = Config { max_message_bytes: limits.frame_bytes_max, role: Role::Server, deflate };
    let slot = core.connections.borrow_mut().insert(Rc::downgrade(&connection));
    metrics::transport_opened();
    let framing = core.framing(deflate);
    let session = core.worker.borrow_mut().open(session, connection.clone(), framing, core.now());
    core.end_turn();
    let mut task = Task {
        core: core.clone(),
        connection,
        decoder: Decoder::new(&config),
        session,
        slot,
        open: true,
        shut: false,
    };
    if !already_read.is_empty() {
        task.decode(&mut already_read.to_vec());
    }
    // Empty or not, it holds the buffer that HTTP read into: 8 KiB that the task must not keep.
    drop(already_read);
    tokio::task::spawn_local(async move { poll_fn(|cx| task.poll(cx)).await });
}

struct Task {
    core: Rc<Core>,
    connection: Rc<Connection>,
    decoder: Decoder,
    session: SessionId,
    slot: usize,
    /// The session has not been told of the end yet.
    open: bool,
    /// Everything was said; what the peer still sends is read and thrown away, because closing a
    /// socket with unread bytes in it would take back what was written last.
    shut: bool,
}

impl Task {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let connection = self.connection.clone();
        connection.remember(cx.waker());
        connection.flush();
        if connection.queue.borrow().is_empty() {
            if connection.refused.take() {
                self.core.worker.borrow_mut().drained(self.session, self.core.now());
                self.core.end_turn();
            }
            // Told of the gap, the session may have said goodbye just now: then that is written first.
            if connection.closing.get() && connection.queue.borrow().is_empty() {
                self.lost();
                return self.finish(cx);
            }
        } else if connection.queue.borrow().len() > QUEUE_READ_MAX {
            // A peer that asks and does not listen: it is read again when it has taken its answers.
            return Poll::Pending;
        }
        for _ in 0..READS_PER_POLL {
            if connection.broken.get() {
                self.lost();
                return Poll::Ready(());
            }
            if connection.paused.get() || connection.closing.get() {
                return Poll::Pending;
            }
            if self.read(cx).is_pending() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Closes our half, then waits for the peer's; the sweep ends a wait that is too long.
    fn finish(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let core = self.core.clone();
        let mut stream = self.connection.stream.borrow_mut();
        if !self.shut {
            std::task::ready!(Pin::new(&mut *stream).poll_shutdown(cx)).ok();
            self.shut = true;
        }
        let mut buffer = core.read_buffer.borrow_mut();
        for _ in 0..READS_PER_POLL {
            let mut into = ReadBuf::new(&mut buffer);
            let read = std::task::ready!(Pin::new(&mut *stream).poll_read(cx, &mut into));
            if read.is_err() || into.filled().is_empty() || self.connection.broken.get() {
                return Poll::Ready(());
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let core = self.core.clone();
        let mut buffer = core.read_buffer.borrow_mut();
        let mut into = ReadBuf::new(&mut buffer);
        let read = Pin::new(&mut *self.connection.stream.borrow_mut()).poll_read(cx, &mut into);
        match read {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(())) if !into.filled().is_empty() => {
                let filled = into.filled().len();
                self.decode(&mut buffer[..filled]);
            }
            Poll::Ready(_) => self.connection.broken.set(true),
        }
        Poll::Ready(())
    }

    /// Hands every whole message in `bytes` to the session.
    fn decode(&mut self, mut bytes: &mut [u8]) {
        let core = self.core.clone();
        let now = core.now();
        self.connection.read_at.set(now.mono);
        let mut scratch = core.scratch.borrow_mut();
        // Only the latest ping of a read is answered, as RFC 6455 5.5.3 allows: a flood costs nothing.
        let mut ping: Option<Vec<u8>> = None;
        loop {
            let event = match self.decoder.next(&mut bytes, &mut scratch) {
                Ok(Some(event)) => event,
                Ok(None) => break,
                Err(failure) => {
                    self.fail(&failure);
                    break;
                }
            };
            let flow = match event {
                Event::Text(text) => core.worker.borrow_mut().text(self.session, text, now),
                Event::Binary(bytes) => core.worker.borrow_mut().binary(self.session, bytes, now),
                Event::Ping(payload) => {
                    self.connection.control_frames.set(self.connection.control_frames.get() + 1);
                    ping = Some(payload.to_vec());
                    Flow::Read
                }
                Event::Pong(_) => Flow::Read,
                Event::Close { .. } => {
                    self.connection.close(CloseCode::NORMAL.get(), "");
                    break;
                }
            };
            if flow == Flow::Pause {
                self.connection.paused.set(true);
            }
        }
        drop(scratch);
        if let Some(payload) = ping {
            self.connection.pong(&payload);
        }
        core.end_turn();
    }

    fn fail(&self, failure: &WsError) {
        tracing::debug!(%failure, "a WebSocket connection broke the protocol");
        self.connection.close(failure.close_code().get(), &failure.to_string());
    }

    /// Tells the session, once, that its transport is gone.
    fn lost(&mut self) {
        if std::mem::take(&mut self.open) {
            self.core.worker.borrow_mut().transport_lost(self.session, self.core.now());
            self.core.end_turn();
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        metrics::transport_closed();
        self.core.connections.borrow_mut().try_remove(self.slot);
    }
}

impl Connection {
    fn remember(&self, waker: &Waker) {
        let mut known = self.waker.borrow_mut();
        if !known.as_ref().is_some_and(|w| w.will_wake(waker)) {
            *known = Some(waker.clone());
        }
    }

    fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    fn queue(&self, bytes: Bytes) -> Pushed {
        let mut queue = self.queue.borrow_mut();
        let first = queue.is_empty();
        self.queued_bytes.set(self.queued_bytes.get() + bytes.len());
        queue.push_back(bytes);
        if first { Pushed::First } else { Pushed::Queued }
    }

    fn pong(&self, payload: &[u8]) {
        let mut out = Vec::with_capacity(payload.len() + 2);
        write_frame(&mut out, Opcode::Pong, payload);
        self.queue(out.into());
        self.wake();
    }

    /// Asks a silent peer for a sign of life; gives up on a dead one, and on one that floods.
    pub(crate) fn look_after(&self, now: Duration, limits: &TransportLimits) {
        if self.closing.get() {
            self.broken.set(true);
            return self.wake();
        }
        let silent = now.saturating_sub(self.read_at.get());
        if self.control_frames.take() > limits.control_frames_max {
            self.close(CloseCode::POLICY.get(), "too many control frames");
        } else if silent > limits.dead_after && !self.paused.get() {
            self.broken.set(true);
            self.wake();
        } else if silent > limits.ping_after {
            let mut out = Vec::with_capacity(2);
            write_frame(&mut out, Opcode::Ping, b"");
            self.queue(out.into());
            self.wake();
        }
    }

    /// Writes what the socket takes. `Pending` leaves the task's waker with the socket.
    fn write(&self, cx: &mut Context<'_>) {
        let mut queue = self.queue.borrow_mut();
        let mut stream = self.stream.borrow_mut();
        while !queue.is_empty() {
            let mut stream = Pin::new(&mut *stream);
            let written = if queue.len() == 1 {
                stream.poll_write(cx, &queue[0])
            } else {
                let mut slices = [IoSlice::new(&[]); SLICES_MAX];
                let count = queue.len().min(SLICES_MAX);
                for (slice, bytes) in slices.iter_mut().zip(queue.iter()) {
                    *slice = IoSlice::new(bytes);
                }
                stream.as_mut().poll_write_vectored(cx, &slices[..count])
            };
            match written {
                Poll::Pending => return,
                Poll::Ready(Ok(n)) if n > 0 => self.written(&mut queue, n),
                Poll::Ready(_) => {
                    self.broken.set(true);
                    queue.clear();
                    self.queued_bytes.set(0);
                    self.wake();
                    return;
                }
            }
        }
        if queue.capacity() > QUEUE_KEEP {
            *queue = VecDeque::new();
        }
        // TLS keeps records of its own until it is flushed.
        if let Stream::Tls(_) = &*stream {
            let _ = Pin::new(&mut *stream).poll_flush(cx);
        }
        if self.refused.get() || self.closing.get() {
            self.wake();
        }
    }

    fn written(&self, queue: &mut VecDeque<Bytes>, mut n: usize) {
        self.queued_bytes.set(self.queued_bytes.get().saturating_sub(n));
        while let Some(front) = queue.front_mut() {
            if n < front.len() {
                front.advance(n);
                return;
            }
            n -= front.len();
            queue.pop_front();
        }
    }
}

impl Outbox for Connection {
    fn push(&self, framed: Bytes) -> Pushed {
        if self.queued_bytes.get() + framed.len() > self.queue_bytes_max && self.queued_bytes.get() > 0 {
            self.refused.set(true);
            return Pushed::Full;
        }
        self.queue(framed)
    }

    fn answer(&self, framed: Bytes) -> Pushed {
        self.queue(framed)
    }

    fn flush(&self) {
        // Without a waker the task has not run yet; its first poll flushes.
        if let Some(waker) = &*self.waker.borrow()
            && !self.queue.borrow().is_empty()
        {
            self.write(&mut Context::from_waker(waker));
        }
    }

    fn close(&self, code: u16, reason: &str) {
        if self.closing.replace(true) {
            return;
        }
        let mut out = Vec::new();
        close_frame(&mut out, CloseCode::new(code).unwrap_or(CloseCode::NORMAL), reason);
        self.queue(out.into());
        self.wake();
    }

    fn resume_reading(&self) {
        self.paused.set(false);
        self.wake();
    }
}
