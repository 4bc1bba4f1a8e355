//! Nonces of token requests: each is good once.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use aws_lc_rs::digest;
use fanfare_model::error::{self, ErrorInfo};
use fanfare_model::{AppId, KeyName, Now, Timestamp};

/// How far a token request's timestamp may be from now, before or after.
pub(super) const WINDOW: Duration = Duration::from_secs(120);
/// A request may be used from when its timestamp is `WINDOW` ahead until it is `WINDOW` behind.
pub(super) const REMEMBERED: Duration = Duration::from_secs(240);
/// Nonces in the window of all apps together, of about 100 bytes each.
const NONCES_MAX: usize = 1_000_000;
/// Nonces in the window of one app, so that no app can use up the room of the others.
const NONCES_PER_APP_MAX: usize = 200_000;

pub(super) type Hash = [u8; 16];

/// The nonces that have been used and could still be used again. Full means that no more token requests are
/// taken until some have passed: to forget one would be to let it be replayed.
#[derive(Debug)]
pub struct NonceCache {
    /// Requests with an earlier timestamp may have been used before this cache was there.
    since: Timestamp,
    apps: HashMap<AppId, HashSet<Hash>>,
    /// All nonces by when they may be forgotten, oldest first: time since the start, which never goes back.
    order: VecDeque<(Duration, AppId, Hash)>,
    nonces_max: usize,
    nonces_per_app_max: usize,
}

impl NonceCache {
    pub fn new(since: Timestamp) -> Self {
        Self::with_limits(since, NONCES_MAX, NONCES_PER_APP_MAX)
    }

    pub(super) fn with_limits(since: Timestamp, nonces_max: usize, nonces_per_app_max: usize) -> Self {
        Self { since, apps: HashMap::new(), order: VecDeque::new(), nonces_max, nonces_per_app_max }
    }

    /// Uses a nonce up. Call it only with what a verified request says: strangers must not fill this.
    pub(super) fn spend(
        &mut self,
        key: &KeyName,
        nonce: &str,
        stamped: Timestamp,
        now: Now,
    ) -> Result<Hash, ErrorInfo> {
        self.forget(now.mono);
        let stale = stamped < self.since || stamped.max(now.wall) - stamped.min(now.wall) > WINDOW;
        if stale {
            return Err(error::timestamp_not_current(""));
        }
        let hash = hash(key, nonce);
        let used = self.apps.entry(key.app.clone()).or_default();
        if used.contains(&hash) {
            return Err(error::nonce_replayed(""));
        }
        if self.order.len() >= self.nonces_max || used.len() >= self.nonces_per_app_max {
            return Err(error::unavailable("too many token requests at once"));
        }
        used.insert(hash);
        self.order.push_back((now.mono + REMEMBERED, key.app.clone(), hash));
        Ok(hash)
    }

    /// What an earlier process used up. When in that time it did is not known, so it counts as now.
    pub(super) fn restore(&mut self, spent: impl IntoIterator<Item = (AppId, Hash)>, now: Duration) {
        for (app, hash) in spent {
            self.apps.entry(app.clone()).or_default().insert(hash);
            self.order.push_back((now + REMEMBERED, app, hash));
        }
    }

    fn forget(&mut self, now: Duration) {
        while let Some((_, app, hash)) = self.order.pop_front_if(|(until, _, _)| *until < now) {
            let Some(used) = self.apps.get_mut(&app) else { continue };
            used.remove(&hash);
            if used.is_empty() {
                self.apps.remove(&app);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }
}

/// Of a fixed size whatever the nonce's, and short: a collision only refuses one honest request.
fn hash(key: &KeyName, nonce: &str) -> Hash {
    let digest = digest::digest(&digest::SHA256, format!("{key}\n{nonce}").as_bytes());
    digest.as_ref()[..16].try_into().expect("SHA-256 has 32 bytes")
}
