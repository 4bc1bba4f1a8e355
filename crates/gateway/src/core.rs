//! One worker's thread: its runtime, its engine worker, and the tasks that drive them.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use fanfare_engine::{Blocking, Framing, Worker, WorkerSeed};
use fanfare_model::Now;
use fanfare_ws::{DeflateParams, Scratch, WindowBits};
use slab::Slab;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::LocalSet;

use crate::admission::{Handshake, Seat};
use crate::connection::Connection;
use crate::framing::WsFraming;
use crate::refusal::Desk;
use crate::stream::{Seated, Stream};
use crate::{Listener, Setup, TlsSource, http, metrics};

/// All connections of a worker read into this one buffer, one after the other.
const READ_BUFFER_BYTES: usize = 64 * 1024;
/// How often silent connections are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);
/// When the process has no file descriptors left, accepting waits so long before it tries again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often that is said.
const ACCEPT_WARN_INTERVAL: Duration = Duration::from_secs(10);
/// Threads for reads of the disk; each read is short.
const BLOCKING_THREADS_MAX: usize = 4;

pub(crate) struct Core {
    pub(crate) setup: Arc<Setup>,
    pub(crate) worker: RefCell<Worker>,
    /// Ends the turn once the tasks that are ready have run.
    pub(crate) turn: Arc<Notify>,
    pub(crate) read_buffer: RefCell<Box<[u8]>>,
    pub(crate) scratch: RefCell<Scratch>,
    pub(crate) connections: RefCell<Slab<Weak<Connection>>>,
    plain: Rc<dyn Framing>,
    deflated: RefCell<HashMap<WindowBits, Rc<dyn Framing>>>,
    timer_changed: Notify,
    timer_at: Cell<Duration>,
}

impl Core {
    pub(crate) fn now(&self) -> Now {
        self.setup.clock.now()
    }

    /// Asks for the end of the turn, and for a look at the timers.
    pub(crate) fn end_turn(&self) {
        self.turn.notify_one();
    }

    pub(crate) fn framing(&self, deflate: Option<DeflateParams>) -> Rc<dyn Framing> {
        match deflate {
            None => self.plain.clone(),
            Some(params) => {
                let mut known = self.deflated.borrow_mut();
                let make = || Rc::new(WsFraming::deflated(params.send_window)) as Rc<dyn Framing>;
                known.entry(params.send_window).or_insert_with(make).clone()
            }
        }
    }
}

/// Threads for work that may block, shared by all workers.
pub(crate) fn blocking_pool() -> io::Result<Blocking> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_name("blocking")
        .build()?;
    Ok(Box::new(move |work| drop(runtime.spawn_blocking(work))))
}

pub(crate) fn run(
    seed: WorkerSeed,
    setup: Arc<Setup>,
    listeners: Vec<Listener>,
    metrics: Option<std::net::TcpListener>,
    turn: Arc<Notify>,
    stopped: watch::Receiver<bool>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(failure) => return tracing::error!(%failure, "a worker could not start"),
    };
    let core = Rc::new(Core {
        setup,
        worker: RefCell::new(seed.grow()),
        turn,
        read_buffer: RefCell::new(vec![0; READ_BUFFER_BYTES].into_boxed_slice()),
        scratch: RefCell::new(Scratch::new()),
        connections: RefCell::new(Slab::new()),
        plain: Rc::new(WsFraming::plain()),
        deflated: RefCell::new(HashMap::new()),
        timer_changed: Notify::new(),
        timer_at: Cell::new(Duration::ZERO),
    });
    let tasks = LocalSet::new();
    // A turn writes to every subscriber: tokio's budget for one task (128 operations) would send the rest
    // away with `Pending` and wake each connection for itself.
    tasks.spawn_local(tokio::task::coop::unconstrained(turns(core.clone())));
    tasks.spawn_local(timers(core.clone()));
    tasks.spawn_local(sweeps(core.clone()));
    for listener in listeners {
        tasks.spawn_local(accept(core.clone(), listener, stopped.clone()));
    }
    if let Some(listener) = metrics {
        tasks.spawn_local(metrics::serve(core.clone(), listener));
    }
    let mut stopped = stopped;
    tasks.block_on(&runtime, async move {
        let _ = stopped.wait_for(|stop| *stop).await;
    });
}

async fn turns(core: Rc<Core>) {
    loop {
        core.turn.notified().await;
        let now = core.now();
        let mut worker = core.worker.borrow_mut();
        if worker.turn(now) {
            core.turn.notify_one();
        }
        if worker.next_deadline() < core.timer_at.get() {
            core.timer_changed.notify_one();
        }
    }
}

async fn timers(core: Rc<Core>) {
    loop {
        let next = core.worker.borrow().next_deadline();
        core.timer_at.set(next);
        let at = tokio::time::Instant::from_std(core.setup.clock.at(next));
        tokio::select! {
            () = tokio::time::sleep_until(at) => {
                core.worker.borrow_mut().tick(core.now());
                core.end_turn();
            }
            () = core.timer_changed.notified() => {}
        }
    }
}

/// Finds connections whose peer is gone without a word.
async fn sweeps(core: Rc<Core>) {
    loop {
        tokio::time::sleep(SWEEP_INTERVAL).await;
        let now = core.now().mono;
        let connections: Vec<_> = core.connections.borrow().iter().filter_map(|(_, c)| c.upgrade()).collect();
        for connection in connections {
            connection.look_after(now, &core.setup.limits);
        }
    }
}

async fn accept(core: Rc<Core>, listener: Listener, mut stopped: watch::Receiver<bool>) {
    let Listener { socket, tls } = listener;
    let socket = match socket.set_nonblocking(true).and_then(|()| TcpListener::from_std(socket)) {
        Ok(socket) => socket,
        Err(failure) => return tracing::error!(%failure, "a listener could not start"),
    };
    let refusals = Desk::default();
    let mut warned: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            _ = stopped.wait_for(|stop| *stop) => return,
        };
        match accepted {
            Ok(_) if core.setup.draining.load(Ordering::Relaxed) => {}
            Ok((stream, peer)) => match core.setup.admission.admit(peer.ip()) {
                Ok(admitted) => {
                    let _ = stream.set_nodelay(true);
                    tokio::task::spawn_local(handshake(
                        core.clone(),
                        stream,
                        peer.ip(),
                        admitted,
                        tls.clone(),
                    ));
                }
                Err(reason) => {
                    metrics::refused(reason);
                    // Before TLS nothing can be said, and a TLS handshake is what a flood would make us pay.
                    if tls.is_none() {
                        refusals.refuse(stream, &core.setup.refusals, reason);
                    }
                }
            },
            // Only that one peer's trouble.
            Err(failure) if failure.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(failure) => {
                metrics::accept_failed();
                if warned.is_none_or(|at| at.elapsed() >= ACCEPT_WARN_INTERVAL) {
                    warned = Some(Instant::now());
                    tracing::warn!(%failure, "accepting failed: raise the limit on open files");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn handshake(
    core: Rc<Core>,
    socket: TcpStream,
    peer: IpAddr,
    (seat, handshake): (Seat, Handshake),
    tls: Option<TlsSource>,
) {
    let stream = match tls {
        None => Stream::Plain(Seated { socket, _seat: seat }),
        Some(source) => {
            let acceptor = tokio_rustls::TlsAcceptor::from(source());
            let limit = core.setup.limits.handshake_timeout;
            match tokio::time::timeout(limit, acceptor.accept(socket)).await {
                Ok(Ok(socket)) => Stream::Tls(Box::new(Seated { socket, _seat: seat })),
                Ok(Err(failure)) => return tracing::debug!(%failure, "TLS handshake failed"),
                Err(_) => return tracing::debug!("TLS handshake took too long"),
            }
        }
    };
    http::serve(core, stream, peer, handshake).await;
}
