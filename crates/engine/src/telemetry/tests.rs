use super::*;

/// A minute, an hour and a day begin here.
const START: Timestamp = Timestamp(1_699_920_000_000);
const SECOND: Duration = Duration::from_secs(1);

fn app() -> AppId {
    AppId::parse("app").unwrap()
}

fn channel(name: &str) -> ChannelKey {
    ChannelKey { app: app(), name: fanfare_model::ChannelName::parse(name).unwrap() }
}

fn publish(telemeter: &Telemeter, now: Timestamp, name: &str, messages: u64) {
    let traffic = Traffic { by_connections: messages, bytes: 10 * messages, ..Traffic::default() };
    telemeter.add(now, &[(channel(name), traffic)], &mut Meters::default());
}

fn published(telemetry: &Telemetry) -> Vec<(i64, u64)> {
    let offset = |b: &Bucket| (b.start.0 - START.0) / 1000;
    telemetry.buckets.iter().map(|b| (offset(b), b.counts.published_by_connections)).collect()
}

#[test]
fn the_finest_buckets_that_reach_back_are_read() {
    let telemeter = Telemeter::default();
    let now = START + 40 * DAY;
    for ago in [29 * DAY, 30 * HOUR, 50 * MINUTE, Duration::ZERO] {
        publish(&telemeter, now.saturating_sub(ago), "a", 1);
    }
    publish(&telemeter, now, "a", 1);
    for (ago, resolution, count) in [
        (30 * MINUTE, MINUTE, 2),
        (MINUTES_KEPT, MINUTE, 3),
        (MINUTES_KEPT + MINUTE, HOUR, 3),
        (HOURS_KEPT, HOUR, 4),
        (HOURS_KEPT + HOUR, DAY, 4),
        (DAYS_KEPT, DAY, 5),
        (400 * DAY, DAY, 5),
    ] {
        let since = now.saturating_sub(ago);
        let read = telemeter.read(&app(), since, now + SECOND);
        assert_eq!((read.resolution, read.total.published_by_connections), (resolution, count), "{ago:?}");
        assert!(read.from >= now.saturating_sub(DAYS_KEPT) && read.from <= since.max(read.from), "{ago:?}");
    }
    let nobody = AppId::parse("other").unwrap();
    assert_eq!(telemeter.read(&nobody, START, now).total, Counts::default());
}

#[test]
fn what_is_too_old_goes() {
    let telemeter = Telemeter::default();
    publish(&telemeter, START, "old", 1);
    publish(&telemeter, START + DAYS_KEPT, "a", 1);
    telemeter.tend(START + DAYS_KEPT, |_| true);
    let all = |t: &Telemeter| t.read(&app(), Timestamp(0), Timestamp(i64::MAX)).topics.len();
    assert_eq!(all(&telemeter), 2, "just within");
    telemeter.tend(START + DAYS_KEPT + DAY, |_| true);
    assert_eq!(all(&telemeter), 1);
    let counts = telemeter.ledgers.lock().apps[&app()].series.each_ref().map(|s| s.between_all());
    assert_eq!(counts, [0, 1, 1], "a day later no minute is left, of the hours and days the last one");
    telemeter.tend(START + 2 * DAYS_KEPT + DAY, |_| true);
    assert!(telemeter.ledgers.lock().apps.is_empty());
}

#[test]
fn an_app_that_is_gone_leaves_nothing() {
    let telemeter = Telemeter::default();
    publish(&telemeter, START, "a", 1);
    telemeter.opened(&app(), None, START);
    telemeter.erase(&app());
    let read = telemeter.read(&app(), Timestamp(0), START + SECOND);
    assert_eq!((read.connections_now, read.topics.len(), read.buckets.len()), (1, 0, 0));
    telemeter.tend(START, |_| false);
    assert!(telemeter.ledgers.lock().apps.is_empty());
}

#[test]
fn a_clock_that_goes_back_loses_no_count_and_leaves_none_in_the_future() {
    let telemeter = Telemeter::default();
    let italy = "IT".parse().ok();
    publish(&telemeter, START, "a", 1);
    for ahead in [10 * DAY, 10 * DAY + HOUR] {
        publish(&telemeter, START + ahead, "a", 2);
        telemeter.opened(&app(), italy, START + ahead);
    }
    // Back to where it was, a minute later.
    publish(&telemeter, START + MINUTE, "a", 4);
    telemeter.opened(&app(), italy, START + MINUTE);
    let read = telemeter.read(&app(), START, START + 2 * MINUTE);
    assert_eq!(published(&read), [(0, 1), (60, 8)]);
    assert_eq!((read.total.connections_opened, read.total.connections_peak), (3, 3));
    assert_eq!(read.countries, [(italy, 3)]);
    telemeter.tend(START + MINUTE, |_| true);
    let later = telemeter.read(&app(), START + 2 * DAY, START + 20 * DAY);
    assert_eq!((later.buckets.len(), later.topics.len()), (0, 0));
}

#[test]
fn a_worker_that_looked_at_the_clock_a_moment_earlier_moves_nothing() {
    let telemeter = Telemeter::default();
    publish(&telemeter, START + MINUTE, "a", 1);
    publish(&telemeter, (START + MINUTE).saturating_sub(Duration::from_millis(1)), "a", 2);
    let read = telemeter.read(&app(), START, START + 2 * MINUTE);
    assert_eq!(published(&read), [(0, 2), (60, 1)]);
}

#[test]
fn a_clock_that_jumps_ahead_keeps_what_is_young_enough() {
    let telemeter = Telemeter::default();
    publish(&telemeter, START, "a", 1);
    telemeter.tend(START + 10 * DAY, |_| true);
    publish(&telemeter, START + 10 * DAY, "a", 1);
    let read = telemeter.read(&app(), START, START + 11 * DAY);
    assert_eq!(published(&read), [(0, 1), (10 * 86_400, 1)]);
}

#[test]
fn connections_that_are_merely_open_are_in_every_minute() {
    let telemeter = Telemeter::default();
    for _ in 0..3 {
        telemeter.opened(&app(), None, START);
    }
    telemeter.closed(&app(), START);
    for minute in 0..90 {
        telemeter.tend(START + minute * MINUTE, |_| true);
    }
    let last = telemeter.read(&app(), START + 60 * MINUTE, START + 90 * MINUTE);
    assert_eq!((last.resolution, last.buckets.len()), (MINUTE, 30));
    assert_eq!((last.total.connections_peak, last.total.connections_opened), (2, 0));
    let slots = telemeter.ledgers.lock().apps[&app()].series[0].between_all();
    assert_eq!(slots, 61, "no more than the hour and the minute that is now");
}

#[test]
fn few_topics_are_counted_exactly() {
    let telemeter = Telemeter::default();
    for (name, messages) in [("b", 5), ("a", 5), ("c", 7), ("a", 0)] {
        publish(&telemeter, START, name, messages);
    }
    publish(&telemeter, START + DAY, "b", 1);
    let read = telemeter.read(&app(), START, START + DAY + SECOND);
    let names: Vec<_> = read.topics.iter().map(|t| (&*t.name, t.messages, t.bytes, t.missed_max)).collect();
    assert_eq!(names, [("c", 7, 70, 0), ("b", 6, 60, 0), ("a", 5, 50, 0)]);
    assert_eq!(telemeter.read(&app(), START + DAY, START + 2 * DAY).topics.len(), 1);
}

#[test]
fn many_topics_stay_bounded_and_say_what_they_may_have_missed() {
    let telemeter = Telemeter::default();
    let mut truth: HashMap<String, u64> = HashMap::new();
    // Three that matter, in a crowd of those that pass by.
    for i in 0..20_000u64 {
        let name = if i % 10 == 0 { format!("busy:{}", i % 3) } else { format!("lone:{}", i * 7919 % 9001) };
        *truth.entry(name.clone()).or_default() += 1;
        publish(&telemeter, START, &name, 1);
    }
    let topics = telemeter.read(&app(), START, START + SECOND).topics;
    assert!(topics.len() <= 2 * ranking::NAMES_KEPT && topics.len() >= ranking::NAMES_KEPT);
    assert!(topics[..3].iter().all(|t| t.name.starts_with("busy:")), "{:?}", &topics[..4]);
    for topic in &topics {
        let real = truth[&*topic.name];
        assert!(topic.messages <= real && real <= topic.messages + topic.missed_max, "{topic:?}: {real}");
    }
    let missed = topics.iter().map(|t| t.missed_max).max();
    assert!(missed.is_some_and(|m| m > 0 && m <= 20_000 / ranking::NAMES_KEPT as u64 + 1), "{missed:?}");
}

#[test]
fn names_are_folded_by_whoever_knows_how() {
    let telemeter = Telemeter::default();
    telemeter.fold_topics(Arc::new(|key| {
        let name = key.name.as_str();
        Cow::Borrowed(if name.starts_with("priv/") { "priv/*" } else { name })
    }));
    telemeter.fold_topics(Arc::new(|_| "too late".into()));
    for name in ["priv/ann", "priv/bob", "open"] {
        publish(&telemeter, START, name, 1);
    }
    let topics = telemeter.read(&app(), START, START + SECOND).topics;
    let names: Vec<_> = topics.iter().map(|t| (&*t.name, t.messages)).collect();
    assert_eq!(names, [("priv/*", 2), ("open", 1)]);
}

impl Series {
    fn between_all(&self) -> usize {
        self.between(Timestamp(i64::MIN / 2), Timestamp(i64::MAX)).count()
    }
}

#[test]
fn networks_that_published_are_ranked_by_day_and_go_with_it() {
    let telemeter = Telemeter::default();
    let from = |address: &str, now| {
        let network = AnonymisedAddress::of(address.parse().unwrap());
        telemeter.published_from(&app(), network, 10, now);
    };
    from("203.0.113.7", START);
    from("203.0.113.9", START + DAY);
    from("2001:db8:1:2::3", START + DAY);
    let read = |since, until| {
        let publishers = telemeter.read(&app(), since, until).publishers.into_iter();
        publishers.map(|p| (p.network.to_string(), p.messages, p.bytes)).collect::<Vec<_>>()
    };
    let row = |network: &str, messages| (network.to_owned(), messages, messages * 10);
    assert_eq!(read(START, START + DAY), [row("203.0.113.0", 1)]);
    assert_eq!(read(START, START + 2 * DAY), [row("203.0.113.0", 2), row("2001:db8:1::", 1)]);
    telemeter.tend(START + DAYS_KEPT + DAY, |_| true);
    assert_eq!(read(START, START + 2 * DAY), [row("2001:db8:1::", 1), row("203.0.113.0", 1)]);
    telemeter.erase(&app());
    assert!(read(START, START + 2 * DAY).is_empty());
}
