//! An issuer's keys, from an issuer of the test's own.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fanfare_egress::{Denied, Egress, Jwk, Jwks, JwksConfig, JwksError};
use serde_json::json;
use support::*;

const KEEP: u64 = 600;
const COOL_DOWN: u64 = 30;

/// What the issuer answers now.
#[derive(Clone)]
struct Issuer(Arc<Mutex<Reply>>);

impl Issuer {
    fn start(ids: &[&str]) -> (Self, Double) {
        let issuer = Self(Arc::new(Mutex::new(keys(ids))));
        let now = issuer.0.clone();
        let double = Double::start(move |_| now.lock().unwrap().clone());
        (issuer, double)
    }

    fn says(&self, reply: Reply) {
        *self.0.lock().unwrap() = reply;
    }
}

fn keys(ids: &[&str]) -> Reply {
    let keys: Vec<_> = ids.iter().map(|id| json!({"kid": id, "kty": "EC", "alg": "ES256"})).collect();
    Some(("200 OK", String::new(), json!({ "keys": keys }).to_string()))
}

struct World {
    egress: Egress,
    jwks: Jwks,
    time: Time,
    issuer: Issuer,
    double: Double,
}

impl World {
    fn new(ids: &[&str]) -> Self {
        let time = Time::default();
        let egress = egress(&["127.0.0.0/8"], names(&[]).0, time.clock());
        let (issuer, double) = Issuer::start(ids);
        let config = JwksConfig {
            keep: Duration::from_secs(KEEP),
            cool_down: Duration::from_secs(COOL_DOWN),
            ..JwksConfig::new("shop", &double.url("/jwks.json"))
        };
        let jwks = egress.jwks(config).unwrap();
        Self { egress, jwks, time, issuer, double }
    }

    fn find(&self, kid: Option<&str>) -> Result<Arc<Jwk>, JwksError> {
        let (tell, told) = channel();
        self.jwks.find(kid, move |found| tell.send(found).unwrap());
        told.recv_timeout(PATIENCE).expect("an answer")
    }

    fn finds(&self, kid: &str) -> Result<(), JwksError> {
        self.find(Some(kid)).map(|key| assert_eq!(key.kid.as_deref(), Some(kid)))
    }

    /// Questions to the issuer since this was asked last.
    fn asked(&self) -> usize {
        self.double.requests.try_iter().count()
    }
}

#[test]
fn keys_are_had_once_and_used_for_a_while() {
    let w = World::new(&["a", "b"]);
    assert_eq!(w.jwks.known(Some("a")), None, "nobody was asked yet");
    assert_eq!(w.find(Some("a")).unwrap().json["alg"], "ES256");
    for kid in ["b", "a", "b"] {
        assert_eq!(w.finds(kid), Ok(()));
    }
    assert_eq!(w.find(None), Err(JwksError::UnknownKey), "there are two");
    assert!(w.jwks.known(Some("b")).is_some());
    assert_eq!(w.asked(), 1);
    w.time.pass(KEEP);
    assert_eq!(w.jwks.known(Some("b")), None, "no longer fresh");
    w.issuer.says(keys(&["b"]));
    assert_eq!(w.finds("a"), Err(JwksError::UnknownKey), "the issuer took it back");
    assert_eq!(w.find(None).unwrap().kid.as_deref(), Some("b"));
    assert_eq!(w.asked(), 1);
}

#[test]
fn an_unknown_key_is_looked_for_once_and_then_after_a_pause() {
    let w = World::new(&["a"]);
    assert_eq!(w.finds("a"), Ok(()));
    w.issuer.says(keys(&["a", "new"]));
    assert_eq!(w.finds("new"), Err(JwksError::UnknownKey), "asked a moment ago");
    w.time.pass(COOL_DOWN);
    assert_eq!(w.finds("new"), Ok(()), "keys were rotated");
    assert_eq!(w.asked(), 2);
    for i in 0..100 {
        assert_eq!(w.finds(&format!("made up {i}")), Err(JwksError::UnknownKey));
    }
    assert_eq!(w.asked(), 0, "made up keys cost the issuer nothing");
    w.time.pass(COOL_DOWN);
    assert_eq!(w.finds("made up"), Err(JwksError::UnknownKey));
    assert_eq!(w.asked(), 1);
}

#[test]
fn while_the_issuer_is_down_known_keys_are_used_on() {
    let down = [
        status("503 Down"),
        None,
        status("302 Away"),
        Some(("200 OK", String::new(), "<html>".to_owned())),
        Some(("200 OK", String::new(), "x".repeat(300_000))),
        Some(("200 OK", String::new(), r#"{"keys": 7}"#.to_owned())),
    ];
    for reply in down {
        let w = World::new(&["a"]);
        assert_eq!(w.finds("a"), Ok(()));
        w.issuer.says(reply);
        w.time.pass(10 * KEEP);
        assert_eq!(w.finds("a"), Ok(()));
        assert_eq!(w.finds("b"), Err(JwksError::UnknownKey));
        assert_eq!(w.asked(), 2, "and it is left in peace");
        w.issuer.says(keys(&["b"]));
        w.time.pass(COOL_DOWN);
        assert_eq!((w.finds("b"), w.finds("a")), (Ok(()), Err(JwksError::UnknownKey)));
    }
}

#[test]
fn an_issuer_that_never_answered_is_unavailable_and_asked_again_later() {
    let w = World::new(&["a"]);
    w.issuer.says(status("500 Oh"));
    for _ in 0..3 {
        assert_eq!(w.finds("a"), Err(JwksError::Unavailable));
    }
    assert_eq!(w.asked(), 1);
    w.issuer.says(keys(&["a"]));
    w.time.pass(COOL_DOWN);
    assert_eq!(w.finds("a"), Ok(()));
}

#[test]
fn many_who_wait_cost_one_question() {
    let w = World::new(&["a"]);
    let (tell, told) = channel();
    let found = Arc::new(AtomicUsize::new(0));
    for _ in 0..200 {
        let (tell, found) = (tell.clone(), found.clone());
        w.jwks.find(Some("a"), move |key| {
            found.fetch_add(usize::from(key.is_ok()), Ordering::SeqCst);
            tell.send(()).unwrap();
        });
    }
    for _ in 0..200 {
        told.recv_timeout(PATIENCE).unwrap();
    }
    assert_eq!((found.load(Ordering::SeqCst), w.asked()), (200, 1));
    w.egress.close(PATIENCE);
}

#[test]
fn an_issuer_inside_is_not_asked() {
    let egress = egress(&[], names(&[("inside.example", &[&["10.0.0.1"]])]).0, Time::default().clock());
    assert_eq!(egress.jwks(JwksConfig::new("shop", "http://10.0.0.1/keys")).err(), Some(Denied::Address));
    let jwks = egress.jwks(JwksConfig::new("shop", "https://inside.example/keys")).unwrap();
    let (tell, told) = channel();
    jwks.find(None, move |found| tell.send(found).unwrap());
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), Err(JwksError::Unavailable));
}
