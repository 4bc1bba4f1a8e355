//! The engine for everyone who is not a session: HTTP requests, tasks of the server's.

use std::any::Any;
use std::sync::Arc;

use fanfare_model::{
    AnonymisedAddress, AppId, BodyKind, ChannelKey, ChannelName, ClientId, ClientIdRule, ConnectionId,
    Durability, Epoch, ErrorInfo, PresenceEvent, Record, Timestamp, error,
};
use fanfare_store::{Direction, Entry, Put, Query, Scope, StoreError};
use parking_lot::Mutex;

use crate::directory::Directory;
use crate::ids::WorkerId;
use crate::mail::{Mail, MembersTo, Origin, Reply, TailSnapshot};
use crate::owner::{Occupancy, Published};
use crate::session::Draft;
use crate::shared::{Counters, Shared, add};
use crate::telemetry::{FoldTopic, Telemetry};

/// A cheap handle. Every answer comes by a [`Reply`], called once, from a worker's thread.
#[derive(Clone)]
pub struct Engine {
    pub(crate) shared: Arc<Shared>,
}

#[derive(Clone, Debug)]
pub struct ChannelStatus {
    pub name: ChannelName,
    pub active: bool,
    pub occupancy: Occupancy,
}

/// A live connection that someone proved to hold.
#[derive(Clone, Debug)]
pub struct Identified {
    pub connection: ConnectionId,
    pub clients: ClientIdRule,
}

/// A range of a channel's records, in the order asked for.
#[derive(Clone, Debug)]
pub struct History {
    pub epoch: Epoch,
    pub records: Vec<Arc<Record>>,
    /// Whether the range has more than was asked for.
    pub more: bool,
}

impl Engine {
    pub fn directory(&self) -> &Directory {
        &self.shared.directory
    }

    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    pub fn store_health(&self) -> Result<(), StoreError> {
        self.shared.store.health()
    }

    pub fn publish(&self, channel: ChannelKey, draft: Draft, reply: Reply<Result<Published, ErrorInfo>>) {
        let origin = Origin::Reply(reply);
        self.to_owner(channel, |channel| Mail::Publish { channel, draft: Box::new(draft), origin });
    }

    pub fn presence(
        &self,
        channel: ChannelKey,
        events: Vec<PresenceEvent>,
        reply: Reply<Result<Published, ErrorInfo>>,
    ) {
        let origin = Origin::Reply(reply);
        self.to_owner(channel, |channel| Mail::Presence { channel, events, origin });
    }

    pub fn members(&self, channel: ChannelKey, reply: Reply<Vec<Arc<PresenceEvent>>>) {
        self.to_owner(channel, |channel| Mail::Members { channel, to: MembersTo::Reply(reply) });
    }

    pub fn status(&self, channel: ChannelKey, reply: Reply<ChannelStatus>) {
        self.to_owner(channel, |channel| Mail::Status { channel, reply });
    }

    /// The active channels of an app, of all owners, in no order.
    pub fn channels(&self, app: AppId, prefix: &str, reply: Reply<Vec<ChannelStatus>>) {
        let gather = Gather::new(self.shared.mailboxes.len(), reply);
        for worker in self.workers() {
            let reply = gather.clone().part(|all: &mut Vec<_>, part| all.extend(part));
            self.shared.post(worker, Mail::Channels { app: app.clone(), prefix: prefix.into(), reply });
        }
    }

    /// From the store where the channel's rule stores everything, else from the tail.
    pub fn history(&self, channel: ChannelKey, query: Query, reply: Reply<Result<History, ErrorInfo>>) {
        let Some(app) = self.shared.directory.app(&channel.app) else {
            return reply(Err(error::not_found("the app does not exist any more")));
        };
        if app.rules.of(&channel.name).durability != Durability::Persist {
            return self.to_owner(channel, |channel| Mail::Tail {
                channel,
                reply: Box::new(move |tail| reply(Ok(from_tail(tail, &query)))),
            });
        }
        let shared = self.shared.clone();
        (self.shared.blocking)(Box::new(move || {
            let more = Query { limit: query.limit + 1, ..query };
            let read = shared.store.read(&channel, &more).map(|mut records| {
                let more = records.len() > query.limit;
                records.truncate(query.limit);
                History { epoch: shared.store.epoch(), records, more }
            });
            reply(read.map_err(|failure| {
                tracing::error!(%failure, "history could not be read");
                error::unavailable("history cannot be read now, please retry")
            }));
        }));
    }

    /// Keeps something beside the logs. Answered when it is durable.
    pub fn keep(&self, entry: Entry, reply: Reply<Result<(), ErrorInfo>>) {
        let shared = self.shared.clone();
        let done = Box::new(move |outcome: Result<(), StoreError>| {
            reply(outcome.map_err(|failure| {
                add(&shared.counters.store_failures, 1);
                tracing::error!(%failure, "an entry could not be stored");
                error::unavailable("it could not be stored, please retry")
            }));
        });
        self.shared.store.put(Put { entry, done });
    }

    /// Who holds the app's connection, if `secret` proves it.
    pub fn identify(
        &self,
        app: &AppId,
        worker: WorkerId,
        connection: ConnectionId,
        secret: &str,
        reply: Reply<Option<Identified>>,
    ) {
        if usize::from(worker.0) >= self.shared.mailboxes.len() {
            return reply(None);
        }
        self.shared
            .post(worker, Mail::Identify { app: app.clone(), connection, secret: secret.into(), reply });
    }

    /// Tells every session of the app.
    pub fn notice(&self, app: &AppId, notice: Arc<dyn Any + Send + Sync>) {
        for worker in self.workers() {
            self.shared.post(worker, Mail::Notice { app: app.clone(), notice: notice.clone() });
        }
    }

    /// What was counted of the app between two times, up to this moment.
    pub fn telemetry(&self, app: AppId, since: Timestamp, until: Timestamp, reply: Reply<Telemetry>) {
        let shared = self.shared.clone();
        let read: Reply<()> = Box::new(move |()| reply(shared.telemeter.read(&app, since, until)));
        let gather = Gather::new(self.shared.mailboxes.len(), read);
        for worker in self.workers() {
            self.shared.post(worker, Mail::Telemetry { reply: gather.clone().part(|(), ()| {}) });
        }
    }

    /// A request published so many bytes, and came from there.
    pub fn published_from(&self, app: &AppId, network: AnonymisedAddress, bytes: u64, now: Timestamp) {
        self.shared.telemeter.published_from(app, network, bytes, now);
    }

    /// How channels are named in telemetry. To be said once, before anything is counted: a second word
    /// changes nothing.
    pub fn fold_topics(&self, fold: FoldTopic) {
        self.shared.telemeter.fold_topics(fold);
    }

    /// The directory was replaced: rules, limits and keys may differ now.
    pub fn reconfigured(&self) {
        for worker in self.workers() {
            self.shared.post(worker, Mail::Reconfigured);
        }
    }

    /// Every session says goodbye, so that its client comes back to another process.
    pub fn drain(&self) {
        for worker in self.workers() {
            self.shared.post(worker, Mail::Drain);
        }
    }

    /// Removes one client's messages, an app's or a channel's records, from memory and from the store.
    pub fn erase(&self, scope: Scope, reply: Reply<Result<u64, ErrorInfo>>) {
        let (app, channel, client): (AppId, Option<ChannelKey>, Option<ClientId>) = match &scope {
            Scope::App(app) => (app.clone(), None, None),
            Scope::Channel(key) => (key.app.clone(), Some(key.clone()), None),
            Scope::Client { app, client } => (app.clone(), None, Some(client.clone())),
        };
        let shared = self.shared.clone();
        let then_the_store: Reply<u64> = Box::new(move |in_memory| {
            if let Scope::App(app) = &scope {
                shared.telemeter.erase(app);
            }
            let work = shared.clone();
            (shared.blocking)(Box::new(move || {
                let erased = work.store.erase(&scope).map(|e| in_memory + e.records + e.messages);
                reply(erased.map_err(|failure| error::unavailable(failure.to_string())));
            }));
        });
        let gather = Gather::new(self.shared.mailboxes.len(), then_the_store);
        for worker in self.workers() {
            let reply = gather.clone().part(|all: &mut u64, part| *all += part);
            let (app, channel, client) = (app.clone(), channel.clone(), client.clone());
            self.shared.post(worker, Mail::Erase { app, channel, client, reply });
        }
    }

    fn workers(&self) -> impl Iterator<Item = WorkerId> + use<> {
        self.shared.workers()
    }

    fn to_owner(&self, channel: ChannelKey, mail: impl FnOnce(ChannelKey) -> Mail) {
        self.shared.post(self.shared.owner_of(&channel), mail(channel));
    }
}

fn from_tail(tail: TailSnapshot, query: &Query) -> History {
    let wanted = |r: &&Arc<Record>| {
        r.kind() == query.kind
            && r.kind() != BodyKind::Unknown
            && r.stamp >= query.from
            && r.stamp <= query.to.min(tail.position)
    };
    let matching = tail.records.iter().filter(wanted);
    let mut records: Vec<_> = match query.direction {
        Direction::Forwards => matching.take(query.limit + 1).cloned().collect(),
        Direction::Backwards => matching.rev().take(query.limit + 1).cloned().collect(),
    };
    let more = records.len() > query.limit;
    records.truncate(query.limit);
    History { epoch: tail.epoch, records, more }
}

/// Collects one answer from every worker into one.
struct Gather<T> {
    state: Mutex<Option<(usize, T, Reply<T>)>>,
}

impl<T: Default + Send + 'static> Gather<T> {
    fn new(parts: usize, reply: Reply<T>) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(Some((parts, T::default(), reply))) })
    }

    fn part(self: Arc<Self>, add: impl FnOnce(&mut T, T) + Send + 'static) -> Reply<T> {
        Box::new(move |part| {
            let mut state = self.state.lock();
            if let Some((missing, all, _)) = state.as_mut() {
                add(all, part);
                *missing -= 1;
                if *missing > 0 {
                    return;
                }
            }
            let done = state.take();
            drop(state);
            if let Some((_, all, reply)) = done {
                reply(all);
            }
        })
    }
}
