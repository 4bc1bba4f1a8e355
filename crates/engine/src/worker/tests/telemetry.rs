//! What is counted on the way of real publishes, over both workers.

use std::time::Duration;

use fanfare_model::{PresenceAction, Timestamp};
use fanfare_store::Scope;

use super::harness::*;
use crate::session::{Audience, Command, Since};
use crate::{Telemetry, Topic};

const DAY: Duration = Duration::from_secs(86_400);

impl World {
    fn telemetry(&mut self) -> Telemetry {
        let (since, until) = (self.now.wall.saturating_sub(DAY), self.now.wall + DAY);
        self.asked(|w, reply| w.engine.telemetry(app_id(), since, until, reply))
    }
}

#[test]
fn messages_are_counted_by_how_they_came_and_to_how_many_they_went() {
    for owner in [0, 1] {
        let mut w = World::new();
        let channel = w.channel("tail", owner);
        let [a, b, p] = [w.open(0, "a"), w.open(1, "b"), w.open(0, "p")];
        w.attach(&a, &channel, Since::Now);
        w.attach(&b, &channel, Since::Now);
        w.publish(&p, &channel, "1,22,333");
        let by_request = draft(&fanfare_model::ConnectionId::new("rest"), "4444", false);
        let answer = w.asked(|w, reply| w.engine.publish(channel.clone(), by_request, reply));
        assert!(answer.is_ok());
        w.presence(&a, &channel, (PresenceAction::Enter, "ann=hello"));
        w.run(&p, Command::Inbound { messages: 2, bytes: 50 });
        let telemetry = w.telemetry();
        let total = telemetry.total;
        assert_eq!((total.published_by_connections, total.published_by_requests, total.inbound), (3, 1, 2));
        assert_eq!((total.bytes_in, total.delivered, total.bytes_out), (6 + 4 + 50, 8, 20));
        let topic = Topic {
            name: channel.name.as_str().into(),
            messages: 4,
            bytes: 10,
            subscribers_peak: 2,
            missed_max: 0,
        };
        assert_eq!(telemetry.topics, [topic]);
        assert_eq!(w.telemetry().total.delivered, 8, "asking again counts nothing twice");
    }
}

#[test]
fn what_is_refused_repeated_or_not_heard_is_not_counted() {
    let mut w = World::new();
    let (channel, stored) = (w.channel("tail", 0), w.channel("keep", 1));
    let [a, p] = [w.open(0, "a"), w.open(1, "p")];
    w.run(&p, attach(1, &channel, Audience { echo: false, ..EVERYTHING }, Since::Now));
    w.attach(&a, &channel, Since::Now);
    for _ in 0..3 {
        let command = publish(&p, &channel, "once", true);
        w.run(&p, command);
    }
    w.store.fail_appends(true);
    w.publish(&p, &stored, "lost");
    let total = w.telemetry().total;
    assert_eq!((total.published_by_connections, total.delivered, total.bytes_out), (1, 1, 4));
}

#[test]
fn a_connection_counts_from_its_id_to_the_end_of_its_transport() {
    let mut w = World::new();
    let log = std::rc::Rc::new(Log::new("a"));
    log.country.set("PT".parse().ok());
    let a = w.open_as(0, log, usize::MAX);
    let [b, c] = [w.open(1, "b"), w.open(1, "c")];
    w.run(&b, Command::Identify(fanfare_model::ConnectionId::new("b2")));
    assert_eq!(w.telemetry().connections_now, 3);
    w.lose(&a);
    w.run(&a, Command::End);
    w.run(&b, Command::Close { code: 1000, reason: "" });
    w.lose(&b);
    let telemetry = w.telemetry();
    let total = &telemetry.total;
    assert_eq!((total.connections_opened, total.connections_closed, total.connections_peak), (3, 2, 3));
    assert_eq!(telemetry.connections_now, 1);
    assert_eq!(telemetry.countries, [(None, 2), ("PT".parse().ok(), 1)]);
    w.run(&c, Command::End);
    assert_eq!(w.telemetry().connections_now, 0);
}

#[test]
fn counts_fall_into_the_minute_in_which_they_were_gathered() {
    let mut w = World::new();
    let channel = w.channel("none", 0);
    let p = w.open(1, "p");
    for _ in 0..2 {
        w.publish(&p, &channel, "x");
        w.wait(60);
    }
    // The clock is set back by an hour, and time goes on.
    w.now.wall = w.now.wall.saturating_sub(Duration::from_secs(3_600));
    w.publish(&p, &channel, "x");
    w.wait(1);
    let (since, until) = (w.now.wall.saturating_sub(Duration::from_secs(60)), Timestamp(i64::MAX));
    let telemetry = w.asked(|w, reply| w.engine.telemetry(app_id(), since, until, reply));
    assert_eq!(telemetry.total.published_by_connections, 3, "{:?}", telemetry.buckets);
    assert!(telemetry.buckets.iter().all(|b| b.start <= w.now.wall + Duration::from_secs(60)));
}

#[test]
fn erasing_an_app_erases_its_counts() {
    let mut w = World::new();
    let channel = w.channel("none", 1);
    let p = w.open(0, "p");
    w.publish(&p, &channel, "told");
    w.wait(1);
    w.publish(&p, &channel, "not told yet");
    let erased = w.asked(|w, reply| w.engine.erase(Scope::App(app_id()), reply));
    assert!(erased.is_ok());
    let telemetry = w.telemetry();
    assert_eq!((telemetry.total.published_by_connections, telemetry.topics.len()), (0, 0));
    assert_eq!(telemetry.connections_now, 1);
}
