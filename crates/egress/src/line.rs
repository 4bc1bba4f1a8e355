//! A destination's queue, and the task that empties it: one delivery after the other, so that order is
//! kept, each tried a few times.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::hex::hex;
use crate::{Counters, add};

/// What waits for one destination, in memory. What comes when it is full is dropped, not what waits:
/// order stays whole up to the gap.
#[derive(Clone, Copy, Debug)]
pub struct QueueLimits {
    pub deliveries_max: usize,
    pub bytes_max: usize,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self { deliveries_max: 1_000, bytes_max: 8 * 1024 * 1024 }
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Retry {
    /// In all, the first one included.
    pub tries: u32,
    /// Before the second try; four times as long before each further one.
    pub backoff: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { tries: 3, backoff: Duration::from_secs(1) }
    }
}

const BACKOFF_FACTOR: u32 = 4;

/// The queue was full, or its destination is closed. It was counted and logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the destination's queue takes no more")]
pub struct Dropped;

/// One body on its way, under an id that all its tries have.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) id: Box<str>,
    pub(crate) body: Bytes,
}

/// What became of a try.
pub(crate) enum Outcome {
    Taken,
    /// Worth another try.
    Failed(String),
    /// Another try would end the same way.
    Refused(String),
}

/// Where deliveries go. Reasons never quote a payload or a URL.
pub(crate) trait Sink: Send + Sync + 'static {
    fn attempt(&self, delivery: &Delivery) -> impl Future<Output = Outcome> + Send;
}

pub(crate) struct Line {
    /// The operator's, for logs.
    name: Box<str>,
    limits: QueueLimits,
    state: Mutex<State>,
    changed: Notify,
    over: Notify,
    counters: Arc<Counters>,
    /// Dropped since the queue last took something: told in one line when it does again.
    dropped_in_row: AtomicU64,
}

#[derive(Default)]
struct State {
    /// The first one is being sent; it stays until it has been.
    waiting: VecDeque<Delivery>,
    bytes: usize,
    closed: bool,
    over: bool,
}

impl Line {
    pub(crate) fn new(name: Box<str>, limits: QueueLimits, counters: Arc<Counters>) -> Self {
        Self {
            name,
            limits,
            state: Mutex::default(),
            changed: Notify::new(),
            over: Notify::new(),
            counters,
            dropped_in_row: AtomicU64::new(0),
        }
    }

    fn push(&self, body: Bytes) -> Result<(), Dropped> {
        let taken = {
            let mut state = self.state.lock();
            let fits = state.waiting.len() < self.limits.deliveries_max
                && state.bytes + body.len() <= self.limits.bytes_max;
            if fits && !state.closed {
                state.bytes += body.len();
                state.waiting.push_back(Delivery { id: delivery_id(), body });
                true
            } else {
                false
            }
        };
        if !taken {
            add(&self.counters.dropped, 1);
            if self.dropped_in_row.fetch_add(1, Ordering::Relaxed) == 0 {
                tracing::warn!(destination = %self.name, "the destination takes no more: deliveries are dropped");
            }
            return Err(Dropped);
        }
        let dropped = self.dropped_in_row.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            tracing::warn!(destination = %self.name, dropped, "the destination takes deliveries again");
        }
        self.changed.notify_one();
        Ok(())
    }

    async fn next(&self) -> Option<Delivery> {
        loop {
            {
                let mut state = self.state.lock();
                if let Some(first) = state.waiting.front() {
                    return Some(first.clone());
                }
                if state.closed {
                    state.over = true;
                    self.over.notify_one();
                    return None;
                }
            }
            self.changed.notified().await;
        }
    }

    fn done(&self) {
        let mut state = self.state.lock();
        if let Some(first) = state.waiting.pop_front() {
            state.bytes -= first.body.len();
        }
    }

    /// Takes nothing more; what waits is still sent.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_one();
    }

    pub(crate) fn is_over(&self) -> bool {
        self.state.lock().over
    }

    /// Waits until a closed line has sent everything.
    pub(crate) async fn over(&self) {
        while !self.is_over() {
            self.over.notified().await;
        }
    }

    /// Drops what is left: there is no time for it.
    pub(crate) fn give_up(&self) {
        let left = {
            let mut state = self.state.lock();
            (state.closed, state.over, state.bytes) = (true, true, 0);
            std::mem::take(&mut state.waiting).len() as u64
        };
        if left > 0 {
            add(&self.counters.dropped, left);
            tracing::warn!(destination = %self.name, dropped = left, "deliveries were left over at the end, and dropped");
        }
    }
}

/// The only one who fills a line. When it goes, what waits is still sent.
pub(crate) struct Sender(pub(crate) Arc<Line>);

impl Sender {
    pub(crate) fn send(&self, body: Bytes) -> Result<(), Dropped> {
        self.0.push(body)
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.0.close();
    }
}

pub(crate) async fn pump(line: Arc<Line>, sink: impl Sink, retry: Retry) {
    while let Some(delivery) = line.next().await {
        deliver(&line, &sink, &retry, &delivery).await;
        line.done();
    }
}

async fn deliver(line: &Line, sink: &impl Sink, retry: &Retry, delivery: &Delivery) {
    let mut backoff = retry.backoff;
    for tries in 1.. {
        let reason = match sink.attempt(delivery).await {
            Outcome::Taken => return add(&line.counters.delivered, 1),
            Outcome::Failed(reason) if tries < retry.tries => {
                add(&line.counters.retried, 1);
                tracing::debug!(destination = %line.name, delivery = %delivery.id, tries, %reason, "to be tried again");
                tokio::time::sleep(backoff).await;
                backoff = backoff.saturating_mul(BACKOFF_FACTOR);
                continue;
            }
            Outcome::Failed(reason) | Outcome::Refused(reason) => reason,
        };
        add(&line.counters.failed, 1);
        tracing::warn!(destination = %line.name, delivery = %delivery.id, tries, %reason, "a delivery was given up");
        return;
    }
}

/// Nobody needs to guess it, everybody needs another one.
fn delivery_id() -> Box<str> {
    let mut bytes = [0; 16];
    // Without randomness ids repeat, and deliveries still go out.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    hex(&bytes).into()
}
