//! Webhooks over real sockets.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use fanfare_egress::{Denied, Dropped, Egress, QueueLimits, Retry, Webhook, WebhookConfig};
use secrecy::SecretString;
use support::*;

const SECRET: &str = "webhook-secret-canary";

fn webhook(egress: &Egress, url: &str, queue: QueueLimits) -> Webhook {
    let config = WebhookConfig {
        name: "shop".into(),
        url: SecretString::from(url),
        secret: SecretString::from(SECRET),
        queue,
        retry: Retry { tries: 3, backoff: Duration::from_millis(5) },
    };
    egress.webhook(config).unwrap()
}

fn assert_signed(request: &Request) {
    let signature = &request.headers["x-realtime-signature"];
    let (time, mac) = signature.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
    assert_eq!(time.parse(), Ok(WALL / 1_000));
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let mac: Vec<u8> =
        (0..mac.len() / 2).map(|i| u8::from_str_radix(&mac[2 * i..2 * i + 2], 16).unwrap()).collect();
    hmac::verify(&key, &[time.as_bytes(), b".", &request.body].concat(), &mac).expect("our signature");
}

#[test]
fn deliveries_are_signed_and_keep_their_order() {
    let double = Double::start(|_| status("204 No Content"));
    let egress = local();
    let hook = webhook(&egress, &double.url("/hook?token=x"), QueueLimits::default());
    for i in 0..50 {
        hook.send(format!("{{\"n\":{i}}}").into()).unwrap();
    }
    let mut ids = std::collections::HashSet::new();
    for i in 0..50 {
        let request = double.next();
        assert_eq!(request.line, "POST /hook?token=x HTTP/1.1");
        assert_eq!(request.text(), format!("{{\"n\":{i}}}"));
        assert_eq!(request.headers["content-type"], "application/json");
        assert_signed(&request);
        assert!(ids.insert(request.headers["x-realtime-delivery"].clone()), "an id twice");
    }
    egress.close(PATIENCE);
    assert_eq!(double.connections(), 1, "the connection is kept");
}

#[test]
fn a_delivery_is_tried_again_under_the_same_id_and_the_next_one_waits() {
    let tries = AtomicUsize::new(0);
    let double = Double::start(move |_| match tries.fetch_add(1, Ordering::SeqCst) {
        0 => status("500 Oh"),
        1 => None,
        _ => status("200 OK"),
    });
    let egress = local();
    let hook = webhook(&egress, &double.url("/"), QueueLimits::default());
    hook.send("1".into()).unwrap();
    hook.send("2".into()).unwrap();
    let requests: Vec<_> = (0..4).map(|_| double.next()).collect();
    assert_eq!(requests.iter().map(Request::text).collect::<Vec<_>>(), ["1", "1", "1", "2"]);
    let id = |i: usize| &requests[i].headers["x-realtime-delivery"];
    assert!(id(0) == id(1) && id(1) == id(2) && id(2) != id(3));
    eventually("both are taken", || counts(egress.webhook_counters()) == [2, 2, 0, 0]);
}

#[test]
fn what_is_given_up_is_counted_and_does_not_stop_the_rest() {
    for (answer, tries) in [
        ("500 Oh", 3),
        ("503 Later", 3),
        ("429 Slow", 3),
        ("408 Late", 3),
        ("400 No", 1),
        ("410 Gone", 1),
        ("301 Away", 1),
    ] {
        let double = Double::start(move |request| match request.text() {
            "last" => status("200 OK"),
            _ => status(answer),
        });
        let egress = local();
        let hook = webhook(&egress, &double.url("/"), QueueLimits::default());
        hook.send("first".into()).unwrap();
        hook.send("last".into()).unwrap();
        for _ in 0..tries {
            assert_eq!(double.next().text(), "first", "{answer}");
        }
        assert_eq!(double.next().text(), "last", "{answer}");
        let expected = [1, tries - 1, 1, 0];
        eventually(answer, || counts(egress.webhook_counters()) == expected);
        let mut metrics = String::new();
        egress.metrics(&mut metrics);
        assert!(metrics.contains("fanfare_egress_failed_total{kind=\"webhook\"} 1\n"), "{metrics}");
    }
}

#[test]
fn an_answer_counts_by_its_status_however_long_it_is() {
    for (answer, expected) in [("200 OK", [1, 0, 0, 0]), ("500 Oh", [0, 2, 1, 0])] {
        let double = Double::start(move |_| Some((answer, String::new(), "x".repeat(1_000_000))));
        let egress = local();
        webhook(&egress, &double.url("/"), QueueLimits::default()).send("1".into()).unwrap();
        eventually(answer, || counts(egress.webhook_counters()) == expected);
    }
}

#[test]
fn a_redirect_is_not_followed() {
    let elsewhere = Double::start(|_| status("200 OK"));
    let location = format!("location: {}\r\n", elsewhere.url("/"));
    for code in ["301 Moved", "307 Temporarily", "308 Permanently"] {
        let location = location.clone();
        let double = Double::start(move |_| Some((code, location.clone(), String::new())));
        let egress = local();
        webhook(&egress, &double.url("/"), QueueLimits::default()).send("1".into()).unwrap();
        eventually("given up", || counts(egress.webhook_counters()) == [0, 0, 1, 0]);
    }
    assert_eq!(elsewhere.connections(), 0);
}

/// A destination that answers when it is told to.
fn stalled() -> (Double, Arc<AtomicBool>) {
    let go = Arc::new(AtomicBool::new(false));
    let wait = go.clone();
    let double = Double::start(move |_| {
        let started = Instant::now();
        while !wait.load(Ordering::SeqCst) && started.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(2));
        }
        status("200 OK")
    });
    (double, go)
}

#[test]
fn a_full_queue_drops_what_comes_and_says_so_without_a_secret() {
    let logs = Logs::read();
    let (double, go) = stalled();
    let egress = local();
    let few = QueueLimits { deliveries_max: 3, bytes_max: 1_000 };
    let hook = webhook(&egress, &double.url("/path-canary?token=url-canary"), few);
    let started = Instant::now();
    for i in 0..10 {
        let body = format!("payload-canary-{i}");
        assert_eq!(hook.send(body.into()), if i < 3 { Ok(()) } else { Err(Dropped) }, "{i}");
    }
    assert!(started.elapsed() < Duration::from_secs(1), "nobody waits");
    assert_eq!(counts(egress.webhook_counters())[3], 7);
    let mut metrics = String::new();
    egress.metrics(&mut metrics);
    assert!(metrics.contains("fanfare_egress_dropped_total{kind=\"webhook\"} 7\n"), "{metrics}");
    go.store(true, Ordering::SeqCst);
    for i in 0..3 {
        assert_eq!(double.next().text(), format!("payload-canary-{i}"));
    }
    eventually("room again", || counts(egress.webhook_counters())[0] == 3);
    assert_eq!(hook.send(vec![b'x'; 1_001].into()), Err(Dropped), "more bytes than the queue has");
    hook.send(vec![b'x'; 1_000].into()).unwrap();
    // A destination that is not there, for the reasons that get logged.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{nobody}/path-canary?token=url-canary");
    webhook(&egress, &url, few).send("payload-canary".into()).unwrap();
    eventually("given up", || counts(egress.webhook_counters())[2] == 1);
    egress.close(PATIENCE);
    let logs = logs.text();
    assert!(
        logs.contains("takes no more") && logs.contains("dropped=8") && logs.contains("given up"),
        "{logs}"
    );
    assert!(!logs.contains("canary"), "{logs}");
}

#[test]
fn one_that_is_slow_slows_no_other() {
    let (slow, go) = stalled();
    let quick = Double::start(|_| status("200 OK"));
    let egress = local();
    let [to_slow, to_quick] =
        [&slow, &quick].map(|double| webhook(&egress, &double.url("/"), QueueLimits::default()));
    to_slow.send("1".into()).unwrap();
    slow.next();
    for i in 0..100 {
        to_quick.send(i.to_string().into()).unwrap();
        assert_eq!(quick.next().text(), i.to_string());
    }
    go.store(true, Ordering::SeqCst);
}

#[test]
fn closing_sends_what_is_queued() {
    let (double, go) = stalled();
    let egress = local();
    let hook = webhook(&egress, &double.url("/"), QueueLimits::default());
    for i in 0..20 {
        hook.send(i.to_string().into()).unwrap();
    }
    // The handle goes first: that loses nothing either.
    drop(hook);
    let (closed, is_closed) = channel();
    std::thread::spawn(move || {
        egress.close(PATIENCE);
        closed.send(()).unwrap();
    });
    assert!(is_closed.recv_timeout(Duration::from_millis(100)).is_err(), "it waits");
    go.store(true, Ordering::SeqCst);
    is_closed.recv_timeout(PATIENCE).unwrap();
    let got: Vec<_> = double.requests.try_iter().map(|r| r.text().to_owned()).collect();
    assert_eq!(got, (0..20).map(|i| i.to_string()).collect::<Vec<_>>());
}

#[test]
fn closing_waits_no_longer_than_it_may_and_counts_what_is_left() {
    let (double, go) = stalled();
    let egress = local();
    let hook = webhook(&egress, &double.url("/"), QueueLimits::default());
    for _ in 0..5 {
        hook.send("1".into()).unwrap();
    }
    double.next();
    let counters = egress.webhook_counters().clone();
    let started = Instant::now();
    egress.close(Duration::from_millis(100));
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    assert_eq!(counts(&counters), [0, 0, 0, 5]);
    assert_eq!(hook.send("6".into()), Err(Dropped));
    assert_eq!(counts(&counters), [0, 0, 0, 6]);
    go.store(true, Ordering::SeqCst);
}

#[test]
fn urls_that_are_wrong_are_refused_when_they_are_configured() {
    let egress = egress(&[], names(&[]).0, Time::default().clock());
    for (url, refusal) in [
        ("", Denied::NotAUrl),
        ("hooks.example.com", Denied::NotAUrl),
        ("http://", Denied::NotAUrl),
        ("ftp://example.com/", Denied::Scheme),
        ("file:///etc/passwd", Denied::Scheme),
        ("gopher://example.com:80/", Denied::Scheme),
        ("http://user@example.com/", Denied::Credentials),
        ("http://user:password@example.com/", Denied::Credentials),
        ("http://example.com:22/", Denied::Port(22)),
        ("https://example.com:6379/", Denied::Port(6379)),
        ("http://127.0.0.1/", Denied::Address),
    ] {
        let config = WebhookConfig {
            name: "shop".into(),
            url: SecretString::from(url),
            secret: SecretString::from(SECRET),
            queue: QueueLimits::default(),
            retry: Retry::default(),
        };
        assert_eq!(egress.webhook(config).err(), Some(refusal), "{url}");
    }
}
