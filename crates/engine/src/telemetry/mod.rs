//! What is counted of each app, in memory: connections, messages, bytes, busy topics, countries, networks.
//!
//! Workers count in plain fields of their own and hand the sums over once a second ([`meter`]); here
//! they fall into minutes, hours and days ([`series`]) and into a day's busiest topics ([`ranking`]).
//! Only a connection's begin and end and a request's origin, which are rare, are counted here at once.

mod meter;
mod ranking;
mod series;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use fanfare_model::{AnonymisedAddress, AppId, ChannelKey, CountryCode, Timestamp};
use parking_lot::Mutex;

pub(crate) use meter::{Amount, ChannelTraffic, Meter, Meters, Traffic};
use ranking::Ranking;
use series::{DAY, HOUR, MINUTE, Series, floor};

/// How far back minutes are kept.
pub const MINUTES_KEPT: Duration = Duration::from_secs(60 * 60);
/// How far back hours are kept.
pub const HOURS_KEPT: Duration = Duration::from_secs(48 * 3_600);
/// How far back days, and the topics of each, are kept.
pub const DAYS_KEPT: Duration = Duration::from_secs(30 * 86_400);

/// Channels that one hold of the lock takes in.
const CHANNELS_PER_LOCK: usize = 256;

/// Under which name a channel is counted. Adapters fold names that say who someone is.
pub type FoldTopic = Arc<dyn for<'a> Fn(&'a ChannelKey) -> Cow<'a, str> + Send + Sync>;

/// Sums of a stretch of time. Bytes are the users', without envelopes and headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub connections_opened: u64,
    pub connections_closed: u64,
    /// The most at one time.
    pub connections_peak: u64,
    /// Messages committed that came by a connection.
    pub published_by_connections: u64,
    /// Messages committed that came by a request without a connection.
    pub published_by_requests: u64,
    /// Messages that went to the app's backends and to no channel.
    pub inbound: u64,
    /// Messages queued to subscribers as they were committed; not what rewind, resume and history gave.
    pub delivered: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    pub start: Timestamp,
    pub counts: Counts,
}

/// A topic's share of the messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// As [`FoldTopic`] made it.
    pub name: Box<str>,
    pub messages: u64,
    pub bytes: u64,
    pub subscribers_peak: u32,
    /// So many of its messages at most are missing in `messages`: there were more topics than a day
    /// keeps, and this one was let go for a while.
    pub missed_max: u64,
}

/// A network's share of what requests published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publisher {
    /// An anonymised address, written out.
    pub network: Box<str>,
    pub messages: u64,
    pub bytes: u64,
}

/// What was counted of an app. `from` and `to` are what the buckets really cover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telemetry {
    pub from: Timestamp,
    pub to: Timestamp,
    /// Width of a bucket. A stretch with nothing in it has no bucket.
    pub resolution: Duration,
    pub total: Counts,
    pub buckets: Vec<Bucket>,
    pub connections_now: u64,
    /// Connections opened, by country, the most first; `None` is unknown.
    pub countries: Vec<(Option<CountryCode>, u64)>,
    /// The busiest first. Counted by whole days (UTC), from `topics_from` on.
    pub topics: Vec<Topic>,
    /// The busiest first, and by whole days as topics are.
    pub publishers: Vec<Publisher>,
    pub topics_from: Timestamp,
}

/// All apps' counts.
#[derive(Default)]
pub(crate) struct Telemeter {
    ledgers: Mutex<Ledgers>,
    fold: OnceLock<FoldTopic>,
}

#[derive(Default)]
struct Ledgers {
    apps: HashMap<AppId, Ledger>,
    /// The newest time at which anything was handed in.
    seen: Timestamp,
    /// When old buckets were last let go.
    tended: Timestamp,
}

struct Ledger {
    open: u64,
    /// The finest first. Each counts everything, so nothing has to be rolled up.
    series: [Series; 3],
    /// By the day's start, ascending.
    days: VecDeque<(Timestamp, Busiest)>,
}

/// Of one day.
#[derive(Default)]
struct Busiest {
    topics: Ranking,
    publishers: Ranking,
}

impl Telemeter {
    pub(crate) fn fold_topics(&self, fold: FoldTopic) {
        // The first one stays: names that were folded once must not stand beside names that were not.
        let _ = self.fold.set(fold);
    }

    pub(crate) fn opened(&self, app: &AppId, country: Option<CountryCode>, now: Timestamp) {
        let mut ledgers = self.ledgers.lock();
        let ledger = ledgers.of(app, now);
        ledger.open += 1;
        for slot in ledger.slots(now) {
            slot.counts.connections_opened += 1;
            *slot.countries.entry(country).or_default() += 1;
        }
    }

    pub(crate) fn closed(&self, app: &AppId, now: Timestamp) {
        let mut ledgers = self.ledgers.lock();
        let ledger = ledgers.of(app, now);
        for slot in ledger.slots(now) {
            slot.counts.connections_closed += 1;
        }
        ledger.open = ledger.open.saturating_sub(1);
    }

    /// A request published, and came from there.
    pub(crate) fn published_from(&self, app: &AppId, network: AnonymisedAddress, bytes: u64, now: Timestamp) {
        let traffic = Traffic { by_requests: 1, bytes, ..Traffic::default() };
        let mut ledgers = self.ledgers.lock();
        ledgers.of(app, now).busiest(now).publishers.add(&network.to_string(), &traffic);
    }

    /// What a worker gathered since it was here last.
    pub(crate) fn add(&self, now: Timestamp, traffic: &[(ChannelKey, Traffic)], meters: &mut Meters) {
        for channels in traffic.chunks(CHANNELS_PER_LOCK) {
            let mut ledgers = self.ledgers.lock();
            for (key, traffic) in channels {
                let name = self.fold.get().map_or(Cow::Borrowed(key.name.as_str()), |fold| fold(key));
                ledgers.of(&key.app, now).take_in(now, &name, traffic);
            }
        }
        let gathered = meters.take();
        let mut ledgers = self.ledgers.lock();
        for (app, inbound, delivered) in gathered {
            for slot in ledgers.of(&app, now).slots(now) {
                slot.counts.inbound += inbound.messages;
                slot.counts.bytes_in += inbound.bytes;
                slot.counts.delivered += delivered.messages;
                slot.counts.bytes_out += delivered.bytes;
            }
        }
        ledgers.seen = now;
    }

    /// Once a minute, whoever comes first: what is too old goes, and so does what no app has any more;
    /// connections that are merely open are counted in.
    pub(crate) fn tend(&self, now: Timestamp, exists: impl Fn(&AppId) -> bool) {
        let mut ledgers = self.ledgers.lock();
        if ledgers.tended == floor(now, MINUTE) {
            return;
        }
        ledgers.tended = floor(now, MINUTE);
        ledgers.apps.retain(|app, ledger| {
            ledger.forget_before(now);
            if ledger.open > 0 {
                ledger.slots(now).for_each(drop);
            }
            exists(app) && !ledger.is_empty()
        });
    }

    /// The app's counts are to go; who is connected stays so.
    pub(crate) fn erase(&self, app: &AppId) {
        if let Some(ledger) = self.ledgers.lock().apps.get_mut(app) {
            *ledger = Ledger { open: ledger.open, ..Ledger::new() };
        }
    }

    pub(crate) fn read(&self, app: &AppId, since: Timestamp, until: Timestamp) -> Telemetry {
        let ledgers = self.ledgers.lock();
        match ledgers.apps.get(app) {
            Some(ledger) => ledger.read(since, until, ledgers.seen),
            None => Ledger::new().read(since, until, ledgers.seen),
        }
    }
}

impl Ledgers {
    fn of(&mut self, app: &AppId, now: Timestamp) -> &mut Ledger {
        self.seen = now;
        self.apps.entry(app.clone()).or_insert_with(Ledger::new)
    }
}

impl Ledger {
    fn new() -> Self {
        let series = [(MINUTE, MINUTES_KEPT), (HOUR, HOURS_KEPT), (DAY, DAYS_KEPT)];
        Self { open: 0, series: series.map(|(width, kept)| Series::new(width, kept)), days: VecDeque::new() }
    }

    /// The stretches of time that are now.
    fn slots(&mut self, now: Timestamp) -> impl Iterator<Item = &mut series::Slot> {
        let open = self.open;
        self.series.iter_mut().map(move |series| {
            let slot = series.at(now);
            slot.counts.connections_peak = slot.counts.connections_peak.max(open);
            slot
        })
    }

    fn take_in(&mut self, now: Timestamp, name: &str, traffic: &Traffic) {
        if traffic.messages() > 0 {
            for slot in self.slots(now) {
                slot.counts.published_by_connections += traffic.by_connections;
                slot.counts.published_by_requests += traffic.by_requests;
                slot.counts.bytes_in += traffic.bytes;
            }
        }
        self.busiest(now).topics.add(name, traffic);
    }

    fn busiest(&mut self, now: Timestamp) -> &mut Busiest {
        let day = floor(now, DAY);
        let at = self.days.partition_point(|(start, _)| *start < day);
        if self.days.get(at).is_none_or(|(start, _)| *start != day) {
            self.days.insert(at, (day, Busiest::default()));
        }
        &mut self.days[at].1
    }

    fn forget_before(&mut self, now: Timestamp) {
        for series in &mut self.series {
            series.trim(now);
        }
        let oldest = floor(now.saturating_sub(DAYS_KEPT), DAY);
        let newest = floor(now, DAY) + DAY;
        // Days ahead of a clock that went back are wrong by as much; what was busy then is not kept.
        self.days.retain(|(day, _)| *day >= oldest && *day <= newest);
    }

    fn is_empty(&self) -> bool {
        self.open == 0 && self.days.is_empty() && self.series.iter().all(Series::is_empty)
    }

    /// In the finest buckets that reach back to `since`.
    fn read(&self, since: Timestamp, until: Timestamp, seen: Timestamp) -> Telemetry {
        let [.., coarsest] = &self.series;
        let series = self.series.iter().find(|s| s.oldest(seen) <= since).unwrap_or(coarsest);
        let slots: Vec<_> = series.between(since, until).collect();
        let mut total = Counts::default();
        let mut countries: BTreeMap<Option<CountryCode>, u64> = BTreeMap::new();
        for slot in &slots {
            total.add(&slot.counts);
            for (country, opened) in &slot.countries {
                *countries.entry(*country).or_default() += opened;
            }
        }
        let mut countries: Vec<_> = countries.into_iter().collect();
        countries.sort_by_key(|(_, opened)| std::cmp::Reverse(*opened));
        let days = || {
            let overlap = |day: Timestamp| day + DAY > since && day < until;
            self.days.iter().filter(move |(day, _)| overlap(*day)).map(|(_, busiest)| busiest)
        };
        let publishers = ranking::merged(days().map(|busiest| &busiest.publishers)).into_iter();
        let from = floor(since, series.width()).max(series.oldest(seen));
        Telemetry {
            from,
            to: until.max(from),
            resolution: series.width(),
            total,
            buckets: slots.iter().map(|s| Bucket { start: s.start, counts: s.counts.clone() }).collect(),
            connections_now: self.open,
            countries,
            topics: ranking::merged(days().map(|busiest| &busiest.topics)),
            publishers: publishers
                .map(|Topic { name, messages, bytes, .. }| Publisher { network: name, messages, bytes })
                .collect(),
            topics_from: floor(since, DAY).max(floor(seen.saturating_sub(DAYS_KEPT), DAY)),
        }
    }
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.connections_opened += other.connections_opened;
        self.connections_closed += other.connections_closed;
        self.connections_peak = self.connections_peak.max(other.connections_peak);
        self.published_by_connections += other.published_by_connections;
        self.published_by_requests += other.published_by_requests;
        self.inbound += other.inbound;
        self.delivered += other.delivered;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
    }
}
