//! What an administrator orders for connections, wherever they live, and the count of those it reached.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fanfare_engine::{Engine, Outputs};
use fanfare_model::{AppId, ConnectionId};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::TopicSession;
use crate::close;
use crate::pattern;
use crate::topic;

#[derive(Debug)]
pub(crate) enum Order {
    /// Everyone's, or one subject's.
    Unsubscribe { patterns: Vec<String>, subject: Option<String> },
    /// All, or one.
    Terminate { connection: Option<ConnectionId> },
}

/// An order on its way. Who asked is told when the last session has let go of it.
pub(crate) struct Orders {
    order: Order,
    count: AtomicUsize,
    done: Mutex<Option<oneshot::Sender<usize>>>,
}

impl Orders {
    /// Gives the order to every session of the app; the answer is how many connections or subscriptions it met.
    pub(crate) fn give(engine: &Engine, app: &AppId, order: Order) -> oneshot::Receiver<usize> {
        let (sender, receiver) = oneshot::channel();
        let orders = Self { order, count: AtomicUsize::new(0), done: Mutex::new(Some(sender)) };
        engine.notice(app, Arc::new(orders));
        receiver
    }
}

impl Drop for Orders {
    fn drop(&mut self) {
        if let Some(done) = self.done.get_mut().take() {
            // Nobody waits when the request was given up meanwhile.
            let _ = done.send(*self.count.get_mut());
        }
    }
}

impl TopicSession {
    pub(super) fn notice(&mut self, notice: &(dyn Any + Send + Sync), out: &mut Outputs) {
        let Some(orders) = notice.downcast_ref::<Orders>() else { return };
        let met = match &orders.order {
            Order::Unsubscribe { patterns, subject } => {
                if subject.as_deref().is_some_and(|subject| subject != self.shown_subject()) {
                    return;
                }
                self.unsubscribe_matching(patterns, out)
            }
            Order::Terminate { connection } => {
                if connection.as_ref().is_some_and(|connection| *connection != self.connection) {
                    return;
                }
                self.close(close::TERMINATED, out);
                1
            }
        };
        orders.count.fetch_add(met, Ordering::Relaxed);
    }

    /// The private topics stay: without them a client would miss its answers.
    fn unsubscribe_matching(&mut self, patterns: &[String], out: &mut Outputs) -> usize {
        let before = self.topics.len();
        for index in (0..before).rev() {
            let name = self.topics[index].topic.as_str();
            if !topic::is_private(name) && patterns.iter().any(|p| pattern::matches(p, name)) {
                self.detach(index, out);
            }
        }
        before - self.topics.len()
    }
}
