//! How many connections a subject holds, and how often it and its app come: clients that are refused after the
//! handshake dial again at once, some of them without a pause.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use fanfare_model::AppId;
use parking_lot::Mutex;

use crate::refusal::Refusal;

/// Handshakes of each subject, and of the whole app. HTTP status 429 past them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HandshakeRates {
    pub subject: Rate,
    pub app: Rate,
}

/// So many at once, and so many a second in the long run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    pub burst: f64,
    pub per_second: f64,
}

impl Default for HandshakeRates {
    fn default() -> Self {
        Self {
            subject: Rate { burst: 60.0, per_second: 5.0 },
            app: Rate { burst: 20_000.0, per_second: 2_000.0 },
        }
    }
}

/// Entries that are looked through for ones that say nothing any more, when there are twice as many as at the last
/// look.
const SWEEP_MIN: usize = 1_024;

/// Shared by all sessions; an entry goes when its subject has no connection and has been quiet.
#[derive(Default)]
pub struct Seats {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    apps: HashMap<AppId, Bucket>,
    subjects: HashMap<(AppId, Box<str>), Subject>,
    sweep_at: usize,
}

struct Subject {
    open: usize,
    bucket: Bucket,
}

/// A leaking bucket: full means too many.
struct Bucket {
    rate: Rate,
    level: f64,
    at: Duration,
}

impl Bucket {
    fn new(rate: Rate, at: Duration) -> Self {
        Self { rate, level: 0.0, at }
    }

    fn leak(&mut self, now: Duration) {
        let elapsed = now.saturating_sub(self.at).as_secs_f64();
        self.level = (self.level - elapsed * self.rate.per_second).max(0.0);
        self.at = now;
    }

    /// Takes one, or says how long until there is one again.
    fn take(&mut self, rate: Rate, now: Duration) -> Result<(), Duration> {
        self.leak(now);
        // The configuration may have changed.
        self.rate = rate;
        if self.level + 1.0 > rate.burst {
            return Err(Duration::from_secs_f64((self.level + 1.0 - rate.burst) / rate.per_second));
        }
        self.level += 1.0;
        Ok(())
    }
}

/// A connection's, given back when it is dropped.
pub(crate) struct Seat {
    state: Arc<Mutex<State>>,
    key: (AppId, Box<str>),
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(subject) = self.state.lock().subjects.get_mut(&self.key) {
            subject.open -= 1;
        }
    }
}

impl Seats {
    /// For one more handshake of the app.
    pub(crate) fn come(&self, app: &AppId, rate: Rate, now: Duration) -> Result<(), Refusal> {
        let mut state = self.state.lock();
        let bucket = state.apps.entry(app.clone()).or_insert_with(|| Bucket::new(rate, now));
        bucket.take(rate, now).map_err(|wait| Refusal::too_many("too many handshakes of this app", wait))
    }

    /// For one more connection of the subject.
    pub(crate) fn sit(
        &self,
        app: &AppId,
        subject: &str,
        most: usize,
        rate: Rate,
        now: Duration,
    ) -> Result<Seat, Refusal> {
        let mut state = self.state.lock();
        state.sweep(now);
        let key = (app.clone(), Box::from(subject));
        let known = state
            .subjects
            .entry(key.clone())
            .or_insert_with(|| Subject { open: 0, bucket: Bucket::new(rate, now) });
        let too_many = |wait| Refusal::too_many("too many handshakes with this subject", wait);
        known.bucket.take(rate, now).map_err(too_many)?;
        if known.open >= most {
            let message = format!("this subject has {most} connections, and no more are allowed");
            return Err(Refusal::too_many(message, Duration::from_secs(1)));
        }
        known.open += 1;
        Ok(Seat { state: self.state.clone(), key })
    }
}

impl State {
    fn sweep(&mut self, now: Duration) {
        if self.subjects.len() < self.sweep_at.max(SWEEP_MIN) {
            return;
        }
        self.subjects.retain(|_, subject| {
            subject.bucket.leak(now);
            subject.open > 0 || subject.bucket.level > 0.0
        });
        self.sweep_at = self.subjects.len() * 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBJECT: Rate = Rate { burst: 3.0, per_second: 1.0 };
    const APP: Rate = Rate { burst: 5.0, per_second: 2.0 };

    fn app() -> AppId {
        AppId::parse("app").unwrap()
    }

    #[test]
    fn connections_of_a_subject() {
        let (seats, rate) = (Seats::default(), HandshakeRates::default().subject);
        let first = seats.sit(&app(), "a", 2, rate, Duration::ZERO).unwrap();
        let _second = seats.sit(&app(), "a", 2, rate, Duration::ZERO).unwrap();
        assert_eq!(seats.sit(&app(), "a", 2, rate, Duration::ZERO).err().unwrap().status, 429);
        assert!(seats.sit(&app(), "b", 2, rate, Duration::ZERO).is_ok());
        drop(first);
        assert!(seats.sit(&app(), "a", 2, rate, Duration::ZERO).is_ok());
    }

    #[test]
    fn handshakes_of_a_subject_and_of_an_app() {
        let seats = Seats::default();
        for _ in 0..3 {
            assert!(seats.sit(&app(), "a", 9, SUBJECT, Duration::ZERO).is_ok());
        }
        let refusal = seats.sit(&app(), "a", 9, SUBJECT, Duration::ZERO).err().unwrap();
        assert_eq!(refusal.retry_after, Some(Duration::from_secs(1)));
        assert!(seats.sit(&app(), "a", 9, SUBJECT, Duration::from_secs(1)).is_ok());
        for _ in 0..5 {
            assert!(seats.come(&app(), APP, Duration::ZERO).is_ok());
        }
        assert_eq!(
            seats.come(&app(), APP, Duration::ZERO).err().unwrap().retry_after,
            Some(Duration::from_millis(500))
        );
        assert!(seats.come(&app(), APP, Duration::from_millis(500)).is_ok());
    }

    #[test]
    fn subjects_that_are_gone_are_forgotten() {
        let seats = Seats::default();
        let kept = seats.sit(&app(), "kept", 1, SUBJECT, Duration::ZERO).unwrap();
        let come = |from: usize, at| {
            for i in from..from + SWEEP_MIN + 1 {
                drop(seats.sit(&app(), &i.to_string(), 1, SUBJECT, at));
            }
        };
        come(0, Duration::ZERO);
        come(SWEEP_MIN + 1, Duration::from_secs(9));
        let state = seats.state.lock();
        assert!(state.subjects.len() <= SWEEP_MIN + 2, "{}", state.subjects.len());
        assert!(state.subjects.contains_key(&(app(), "kept".into())));
        drop(state);
        drop(kept);
    }
}
