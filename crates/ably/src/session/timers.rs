//! All that a session waits for, on the engine's one timer.

use std::time::Duration;

use fanfare_engine::{Command, Outputs};
use fanfare_model::{Now, Timestamp, error};

use super::acks::Acks;
use super::{AblySession, Phase, close};
use crate::wire;

/// How long before its token's end a client is asked for a new one.
const PROMPT_BEFORE: Duration = Duration::from_secs(30);
/// A token with less life left is not worth a prompt: its bearer means to let it expire.
const PROMPT_LIFE_MIN: Duration = Duration::from_millis(5_500);
/// A client is not asked earlier than this after a token came: short-lived ones would be renewed without a pause.
const PROMPT_PAUSE: Duration = Duration::from_secs(5);
/// A client that has heard nothing of a publish for so long has given its transport up: it would have asked again.
const RESULTS_AGE: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(super) struct Timers {
    armed: Option<Duration>,
    pub(super) heartbeat: Option<Duration>,
    prompt: Option<Duration>,
    expiry: Option<Duration>,
    /// When a revocation comes into force.
    pub(super) revocation: Option<Duration>,
    /// When results up to this msgSerial are old.
    results: Option<(Duration, i64)>,
    leave: Option<Duration>,
    end: Option<Duration>,
}

impl Timers {
    fn next(&self) -> Option<Duration> {
        let results = self.results.map(|(at, _)| at);
        let all = [self.heartbeat, self.prompt, self.expiry, self.revocation, results, self.leave, self.end];
        all.into_iter().flatten().min()
    }

    pub(super) fn rearm(&mut self, out: &mut Outputs) {
        if let Some(next) = self.next()
            && self.armed != Some(next)
        {
            self.armed = Some(next);
            out.wake_at(next);
        }
    }

    /// Of a session without a transport, only its end is left to wait for.
    pub(super) fn lost(&mut self, leave: Duration, end: Duration) {
        *self = Self { armed: self.armed, leave: Some(leave), end: Some(end), ..Self::default() };
    }

    pub(super) fn keep_results(&mut self, acks: &Acks, now: Duration) {
        if self.results.is_none() {
            self.results = acks.last_result().map(|serial| (now + RESULTS_AGE, serial));
        }
    }
}

fn due(timer: &mut Option<Duration>, now: Duration) -> bool {
    timer.take_if(|at| *at <= now).is_some()
}

/// A wall time as the clock that is never set will show it.
pub(super) fn mono_at(wall: Timestamp, now: Now) -> Duration {
    now.mono + (wall - now.wall)
}

impl AblySession {
    pub(super) fn adopt_expiry(&mut self, now: Now) {
        let expires = self.identity.expires();
        self.timers.expiry = expires.map(|at| mono_at(at, now));
        self.timers.prompt =
            expires.map(|at| at - now.wall).filter(|life| *life > PROMPT_LIFE_MIN).map(|life| {
                let pause = PROMPT_PAUSE.min(life / 2);
                now.mono + life.saturating_sub(PROMPT_BEFORE).max(pause)
            });
    }

    pub(super) fn timer(&mut self, out: &mut Outputs) {
        let now = out.now.mono;
        self.timers.armed = None;
        if due(&mut self.timers.leave, now) && self.claims.is_empty() {
            out.push(Command::LeaveAll);
        }
        if due(&mut self.timers.end, now) {
            self.phase = Phase::Over;
            self.timers = Timers::default();
            out.push(Command::End);
        }
        if due(&mut self.timers.expiry, now) && matches!(self.phase, Phase::Open | Phase::Claiming(_)) {
            return self.disconnect(&error::token_expired(""), close::NORMAL, out);
        }
        if due(&mut self.timers.revocation, now) {
            self.recheck(out);
        }
        if !self.is_open() {
            return;
        }
        if due(&mut self.timers.heartbeat, now) {
            self.send(out, |buf, format| wire::heartbeat(buf, format, None));
            self.timers.heartbeat = Some(now + self.idle_interval());
        }
        if due(&mut self.timers.prompt, now) {
            self.send(out, wire::auth);
        }
        if let Some((_, serial)) = self.timers.results.take_if(|(at, _)| *at <= now) {
            self.acks.forget_results_through(serial);
            self.timers.keep_results(&self.acks, now);
        }
    }
}
