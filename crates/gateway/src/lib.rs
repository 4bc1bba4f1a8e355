//! Sockets: listeners, TLS, HTTP, the WebSocket upgrade, and each connection's reader and writer.
//!
//! Place in the house: it drives one engine worker on each core and only moves bytes. Protocols are
//! given to it as [`Protocols`]; it knows neither their words nor the store.
//!
//! Invariants: a connection lives on one thread; an idle connection holds no buffer; every queue is
//! bounded; never logs a query string, because credentials may stand in it; a client's address is
//! anonymised before anything else sees it, and never logged.

#![forbid(unsafe_code)]

mod admission;
mod body;
mod clock;
mod connection;
mod core;
mod framing;
mod http;
mod metrics;
mod origin;
mod refusal;
mod stream;

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use fanfare_engine::{Directory, Engine, EngineConfig, Session, WakeWorker, Worker, WorkerId};
use fanfare_model::{AnonymisedAddress, CountryCode, Epoch, Now};
use fanfare_store::Backend;
use tokio::sync::{Notify, watch};

use admission::Admission;
use refusal::Answers;

pub use admission::Refused;
pub use clock::Clock;
pub use origin::{Countries, TrustedProxies};
pub use refusal::RefusalAnswer;

/// Appends rows in OpenMetrics' text format.
pub type MoreMetrics = Box<dyn Fn(&mut String) + Send + Sync>;

/// Asked at each accept, so that a reloaded certificate is used at once.
pub type TlsSource = Arc<dyn Fn() -> Arc<rustls::ServerConfig> + Send + Sync>;

pub struct Listener {
    pub socket: TcpListener,
    pub tls: Option<TlsSource>,
}

/// A WebSocket handshake, as far as protocols need it.
pub struct UpgradeRequest<'a> {
    pub path: &'a str,
    pub query: &'a str,
    pub headers: &'a ::http::HeaderMap,
    pub secure: bool,
    /// The client's network.
    pub address: AnonymisedAddress,
    pub country: Option<CountryCode>,
    pub worker: WorkerId,
    pub now: Now,
}

/// What becomes of a handshake.
pub enum Accepted {
    Session(Box<dyn Session>),
    /// There is no upgrade. For protocols whose clients read it; where SDKs cannot, the refusal is the session's to
    /// say, after the upgrade.
    Refused(Box<::http::Response<String>>),
    /// It cannot be said yet: ask again when this has resolved.
    Later(Pin<Box<dyn Future<Output = ()> + Send>>),
}

/// Makes the session of a new WebSocket connection.
pub trait Accept: Send + Sync {
    fn accept(&self, request: &UpgradeRequest<'_>) -> Accepted;
}

pub struct Protocols {
    pub websocket: Arc<dyn Accept>,
    /// Everything that is not an upgrade, on plain listeners and on TLS listeners. Each request has an
    /// [`AnonymisedAddress`] among its extensions.
    pub http: axum::Router,
    pub http_secure: axum::Router,
}

#[derive(Clone, Copy, Debug)]
pub struct TransportLimits {
    /// A WebSocket message, inflated. Close code 1009 past it.
    pub frame_bytes_max: usize,
    /// Bytes queued for one connection.
    pub outbox_bytes_max: usize,
    /// Connections of the whole process, each of which is a file. 503 past it.
    pub connections_max: u32,
    /// Connections of one address (of one /64 of IPv6). 429 past it.
    ///
    /// The default is wide: a company, a mobile network or a proxy in front of the server is one address,
    /// and so is a load generator with 15,000 connections.
    pub connections_per_address_max: u32,
    /// Of these, how many may be before the end of their first request's head at the same time. 429 past
    /// it. An honest handshake takes milliseconds, so this is thousands a second even so.
    pub handshakes_per_address_max: u32,
    /// TLS handshake, and the head of an HTTP request.
    pub handshake_timeout: Duration,
    /// The whole body of an HTTP request.
    pub body_timeout: Duration,
    /// A connection that was silent for so long is asked for a pong.
    pub ping_after: Duration,
    /// A connection that was silent for so long is taken for dead.
    pub dead_after: Duration,
    /// Control frames a peer may send between two looks at its connection (5 s).
    pub control_frames_max: u32,
}

impl Default for TransportLimits {
    fn default() -> Self {
        Self {
            frame_bytes_max: 524_288,
            outbox_bytes_max: 1024 * 1024,
            connections_max: 1_000_000,
            connections_per_address_max: 20_000,
            handshakes_per_address_max: 2_000,
            handshake_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            ping_after: Duration::from_secs(10),
            dead_after: Duration::from_secs(25),
            control_frames_max: 1_000,
        }
    }
}

pub struct GatewayConfig {
    pub workers: usize,
    pub listeners: Vec<Listener>,
    pub metrics: Option<TcpListener>,
    pub directory: Arc<Directory>,
    pub store: Arc<dyn Backend>,
    pub memory_epoch: Epoch,
    pub compression: bool,
    pub limits: TransportLimits,
    pub trusted_proxies: TrustedProxies,
    pub countries: Option<Countries>,
    pub clock: Clock,
    /// What one is told for whom there is no room, on plain listeners.
    pub refusals: fn(Refused) -> RefusalAnswer,
}

/// What all workers of the gateway share.
struct Setup {
    websocket: Arc<dyn Accept>,
    http: axum::Router,
    http_secure: axum::Router,
    engine: Engine,
    clock: Clock,
    compression: bool,
    limits: TransportLimits,
    trusted_proxies: TrustedProxies,
    countries: ArcSwapOption<Countries>,
    more_metrics: OnceLock<MoreMetrics>,
    admission: Arc<Admission>,
    refusals: Answers,
    draining: AtomicBool,
}

pub struct Gateway {
    setup: Arc<Setup>,
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
    addresses: Vec<SocketAddr>,
}

impl Gateway {
    /// Starts the workers; connections are accepted when this returns.
    pub fn start(
        config: GatewayConfig,
        protocols: impl FnOnce(&Engine, &Clock) -> Protocols,
    ) -> io::Result<Self> {
        let clock = config.clock;
        let notifies: Vec<_> = (0..config.workers.max(1)).map(|_| Arc::new(Notify::new())).collect();
        let wake = notifies.iter().cloned().map(|n| Box::new(move || n.notify_one()) as WakeWorker).collect();
        let blocking = core::blocking_pool()?;
        let (engine, seeds) = Worker::all(EngineConfig {
            directory: config.directory,
            store: config.store,
            blocking,
            memory_epoch: config.memory_epoch,
            wake,
        });
        let Protocols { websocket, http, http_secure } = protocols(&engine, &clock);
        let setup = Arc::new(Setup {
            websocket,
            http,
            http_secure,
            engine,
            clock,
            compression: config.compression,
            limits: config.limits,
            trusted_proxies: config.trusted_proxies,
            countries: ArcSwapOption::from(config.countries.map(Arc::new)),
            more_metrics: OnceLock::new(),
            admission: Admission::new(&config.limits),
            refusals: Answers::new(config.refusals),
            draining: AtomicBool::new(false),
        });
        let addresses = config.listeners.iter().map(|l| l.socket.local_addr()).collect::<io::Result<_>>()?;
        let (stop, stopped) = watch::channel(false);
        let mut metrics = config.metrics;
        let mut threads = Vec::new();
        for (seed, notify) in seeds.into_iter().zip(notifies) {
            // Every worker accepts from the same queue; the kernel wakes who is idle.
            let listeners = config
                .listeners
                .iter()
                .map(|l| Ok(Listener { socket: l.socket.try_clone()?, tls: l.tls.clone() }))
                .collect::<io::Result<Vec<_>>>()?;
            let (setup, stopped, metrics) = (setup.clone(), stopped.clone(), metrics.take());
            let name = format!("worker-{}", seed.id().0);
            let thread = std::thread::Builder::new()
                .name(name)
                .spawn(move || core::run(seed, setup, listeners, metrics, notify, stopped))?;
            threads.push(thread);
        }
        Ok(Self { setup, stop, threads, addresses })
    }

    pub fn engine(&self) -> &Engine {
        &self.setup.engine
    }

    pub fn clock(&self) -> &Clock {
        &self.setup.clock
    }

    /// What others count, under `/metrics` after the gateway's own. To be said once.
    pub fn also_measure(&self, rows: MoreMetrics) {
        let _ = self.setup.more_metrics.set(rows);
    }

    /// Uses a newer country database from now on.
    pub fn replace_countries(&self, countries: Option<Countries>) {
        self.setup.countries.store(countries.map(Arc::new));
    }

    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Stops accepting, tells every client to come back elsewhere, waits until what is queued has
    /// left (or `timeout`), and stops the workers.
    pub fn drain(self, timeout: Duration) {
        self.setup.draining.store(true, Ordering::Relaxed);
        self.setup.engine.drain();
        let started = std::time::Instant::now();
        while metrics::transports_open() > 0 && started.elapsed() < timeout {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.stop.send(true);
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}
