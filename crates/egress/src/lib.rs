//! Everything that leaves the server by rule: webhooks, queues, and the keys of other people's token
//! issuers.
//!
//! Place in the house: `server` makes one [`Egress`] from its configuration and hands what it makes to
//! the adapters. It has a thread of its own: a slow destination slows nothing but itself.
//!
//! Invariants: `send` never waits; every queue is bounded, and what it does not take is counted and
//! logged; order is kept for each destination; no payload and no secret is ever logged or written; a
//! URL is never logged, because both may stand in it; nothing connects to an address that the guard
//! has not passed.

#![forbid(unsafe_code)]

mod client;
mod guard;
mod hex;
mod jwks;
mod line;
mod sigv4;
mod sqs;
mod webhook;

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use fanfare_model::Now;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use client::Client;
use guard::Guard;
use line::{Line, Sink};

pub use guard::{Denied, GuardConfig, Lookup, system_lookup};
pub use jwks::{Jwk, Jwks, JwksConfig, JwksError};
pub use line::{Dropped, QueueLimits, Retry};
pub use sqs::{Sqs, SqsConfig};
pub use webhook::{Webhook, WebhookConfig};

/// Reads the clocks.
pub type Clock = Arc<dyn Fn() -> Now + Send + Sync>;

#[derive(Clone)]
pub struct EgressConfig {
    pub guard: GuardConfig,
    pub clock: Clock,
    pub lookup: Lookup,
    pub timeouts: Timeouts,
}

#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    pub connect: Duration,
    /// Of a whole request, its answer included.
    pub request: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), request: Duration::from_secs(10) }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    #[error("the thread for outgoing requests could not start: {0}")]
    Thread(#[from] io::Error),
    #[error("TLS for outgoing requests could not be set up: {0}")]
    Tls(String),
}

/// Over all destinations of a kind.
#[derive(Default)]
pub struct Counters {
    pub delivered: AtomicU64,
    /// Tries that failed and were followed by another.
    pub retried: AtomicU64,
    /// Given up: refused, or after the last try.
    pub failed: AtomicU64,
    /// Not taken by a full or closed queue, or left over at the end.
    pub dropped: AtomicU64,
}

pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

/// What all destinations share.
pub(crate) struct Shared {
    pub(crate) client: Client,
    pub(crate) clock: Clock,
    lines: Mutex<Vec<Arc<Line>>>,
    webhooks: Arc<Counters>,
    queues: Arc<Counters>,
}

pub struct Egress {
    shared: Arc<Shared>,
    runtime: Handle,
    stop: oneshot::Sender<Duration>,
    thread: JoinHandle<()>,
}

impl Egress {
    pub fn start(config: EgressConfig) -> Result<Self, EgressError> {
        let guard = Arc::new(Guard::new(config.guard, config.lookup));
        let shared = Arc::new(Shared {
            client: Client::new(guard, config.timeouts).map_err(EgressError::Tls)?,
            clock: config.clock,
            lines: Mutex::default(),
            webhooks: Arc::default(),
            queues: Arc::default(),
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let lines = shared.clone();
        let thread = std::thread::Builder::new().name("egress".into()).spawn(move || {
            runtime.block_on(async {
                // Without a word (the handle was dropped) nothing is waited for.
                let timeout = stopped.await.unwrap_or_default();
                let _ = tokio::time::timeout(timeout, lines.drain()).await;
            });
            // Tasks end with the runtime: what they were sending is counted among what is left.
            drop(runtime);
            lines.give_up();
        })?;
        Ok(Self { shared, runtime: handle, stop, thread })
    }

    pub fn webhook(&self, config: WebhookConfig) -> Result<Webhook, Denied> {
        let (name, limits, retry) = (config.name.clone(), config.queue, config.retry);
        let post = webhook::Post::new(config, &self.shared)?;
        Ok(Webhook { line: self.line(name, limits, retry, &self.shared.webhooks, post) })
    }

    pub fn sqs(&self, config: SqsConfig) -> Result<Sqs, Denied> {
        let (name, limits, retry) = (config.name.clone(), config.queue, config.retry);
        let send = sqs::SendMessage::new(config, &self.shared)?;
        Ok(Sqs { line: self.line(name, limits, retry, &self.shared.queues, send) })
    }

    pub fn jwks(&self, config: JwksConfig) -> Result<Jwks, Denied> {
        Jwks::new(config, self.shared.clone(), self.runtime.clone())
    }

    fn line(
        &self,
        name: Box<str>,
        limits: QueueLimits,
        retry: Retry,
        counters: &Arc<Counters>,
        sink: impl Sink,
    ) -> line::Sender {
        let line = Arc::new(Line::new(name, limits, counters.clone()));
        {
            let mut lines = self.shared.lines.lock();
            lines.retain(|line| !line.is_over());
            lines.push(line.clone());
        }
        self.runtime.spawn(line::pump(line.clone(), sink, retry));
        line::Sender(line)
    }

    pub fn webhook_counters(&self) -> &Arc<Counters> {
        &self.shared.webhooks
    }

    pub fn queue_counters(&self) -> &Arc<Counters> {
        &self.shared.queues
    }

    /// Appends rows in OpenMetrics' text format. No label ever names an app or a destination.
    pub fn metrics(&self, out: &mut String) {
        write_rows(&self.shared.webhooks, &self.shared.queues, out);
    }

    /// The same, for whoever outlives this handle.
    pub fn measure(&self) -> Box<dyn Fn(&mut String) + Send + Sync> {
        let (webhooks, queues) = (self.shared.webhooks.clone(), self.shared.queues.clone());
        Box::new(move |out| write_rows(&webhooks, &queues, out))
    }

    /// Takes nothing more, and tries what is queued until `timeout`; what is left then is dropped,
    /// counted and logged. Returns when the thread has ended.
    pub fn close(self, timeout: Duration) {
        let _ = self.stop.send(timeout);
        let _ = self.thread.join();
    }
}

fn write_rows(webhooks: &Counters, queues: &Counters, out: &mut String) {
    type Row = (&'static str, &'static str, fn(&Counters) -> &AtomicU64);
    const ROWS: [Row; 4] = [
        ("delivered", "Deliveries that a destination took.", |c| &c.delivered),
        ("retried", "Tries that failed and were followed by another.", |c| &c.retried),
        ("failed", "Deliveries given up: refused, or after the last try.", |c| &c.failed),
        ("dropped", "Deliveries that a full or closed queue did not take.", |c| &c.dropped),
    ];
    for (name, help, counter) in ROWS {
        let name = format!("fanfare_egress_{name}");
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} counter");
        for (kind, counters) in [("webhook", webhooks), ("queue", queues)] {
            let value = counter(counters).load(Ordering::Relaxed);
            let _ = writeln!(out, "{name}_total{{kind=\"{kind}\"}} {value}");
        }
    }
}

impl Shared {
    async fn drain(&self) {
        let lines = self.lines.lock().clone();
        lines.iter().for_each(|line| line.close());
        for line in lines {
            line.over().await;
        }
    }

    fn give_up(&self) {
        for line in self.lines.lock().drain(..) {
            line.give_up();
        }
    }
}
