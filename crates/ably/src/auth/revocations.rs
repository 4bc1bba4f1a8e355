//! The revocations in force: a bounded registry that forgets what concerns no living token.

use std::collections::HashMap;
use std::time::Duration;

use fanfare_model::error::{self, ErrorInfo};
use fanfare_model::{KeyName, Timestamp};
use parking_lot::RwLock;

use super::{Identity, Revocation, Target};

/// Revocations of one key. They last about an hour, so this is one in each fifth of a second.
const PER_KEY_MAX: usize = 20_000;
/// Of these by channel: each is compared with the capability of each credential.
const CHANNELS_PER_KEY_MAX: usize = 1_000;
/// Of all keys together.
const TOTAL_MAX: usize = 1_000_000;
/// How often an addition looks for revocations to forget. When there is no room it always does.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// Full means that a revocation is refused, and the caller told: never that an older one is forgotten.
#[derive(Debug, Default)]
pub struct Revocations {
    inner: RwLock<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    keys: HashMap<KeyName, OfKey>,
    total: usize,
    swept: Timestamp,
}

/// A target has several when they overlap in part: an early one in force, a wider one in its margin.
#[derive(Debug, Default)]
struct OfKey {
    named: HashMap<Target, Vec<Revocation>>,
    channels: Vec<Revocation>,
    len: usize,
}

impl Revocations {
    pub fn add(&self, revocation: Revocation, now: Timestamp) -> Result<(), ErrorInfo> {
        let mut inner = self.inner.write();
        if now - inner.swept >= SWEEP_EVERY || !inner.has_room(&revocation) {
            inner.sweep(now);
        }
        if !inner.has_room(&revocation) {
            return Err(error::unavailable("too many revocations in the last hour"));
        }
        inner.put(revocation);
        Ok(())
    }

    /// What another process or node stored. What is past its time is passed over.
    pub fn restore(
        &self,
        stored: impl IntoIterator<Item = Revocation>,
        now: Timestamp,
    ) -> Result<(), ErrorInfo> {
        stored.into_iter().filter(|r| r.moot_at() > now).try_for_each(|r| self.add(r, now))
    }

    /// All that are not past their time: for storing.
    pub fn all(&self, now: Timestamp) -> Vec<Revocation> {
        let inner = self.inner.read();
        let all = inner.keys.values().flat_map(OfKey::iter);
        all.filter(|r| r.moot_at() > now).cloned().collect()
    }

    /// When the first revocation that concerns the identity comes, or came, into force.
    pub fn applies_at(&self, identity: &Identity) -> Option<Timestamp> {
        let token = identity.token()?;
        let inner = self.inner.read();
        let of_key = inner.keys.get(&identity.key)?;
        let clients = [&token.client, &identity.client].into_iter().filter_map(|rule| rule.client_id());
        let clients = clients.map(|id| Target::ClientId(id.as_str().into()));
        let names = clients.chain(token.revocation_key.clone().map(Target::RevocationKey));
        let named = names.filter_map(|target| of_key.named.get(&target)).flatten();
        named.chain(&of_key.channels).filter(|r| r.matches(identity)).map(|r| r.applies_at).min()
    }

    /// The same, when it is in force.
    pub(super) fn applying(&self, identity: &Identity, now: Timestamp) -> Option<Timestamp> {
        self.applies_at(identity).filter(|at| *at <= now)
    }
}

impl Inner {
    fn has_room(&self, revocation: &Revocation) -> bool {
        let Some(of_key) = self.keys.get(&revocation.key) else { return self.total < TOTAL_MAX };
        let room_for_kind = match revocation.target {
            Target::Channel(_) => of_key.channels.len() < CHANNELS_PER_KEY_MAX,
            Target::ClientId(_) | Target::RevocationKey(_) => true,
        };
        room_for_kind && of_key.len < PER_KEY_MAX && self.total < TOTAL_MAX
    }

    fn put(&mut self, revocation: Revocation) {
        let of_key = self.keys.entry(revocation.key.clone()).or_default();
        let list = match &revocation.target {
            Target::Channel(_) => &mut of_key.channels,
            target => of_key.named.entry(target.clone()).or_default(),
        };
        let covers = |a: &Revocation, b: &Revocation| {
            a.target == b.target && a.issued_before >= b.issued_before && a.applies_at <= b.applies_at
        };
        if list.iter().any(|there| covers(there, &revocation)) {
            return;
        }
        let before = list.len();
        list.retain(|there| !covers(&revocation, there));
        list.push(revocation);
        let (gone, come) = (before + 1 - list.len(), 1);
        of_key.len = of_key.len + come - gone;
        self.total = self.total + come - gone;
    }

    fn sweep(&mut self, now: Timestamp) {
        self.swept = now;
        self.keys.retain(|_, of_key| {
            of_key.channels.retain(|r| r.moot_at() > now);
            of_key.named.retain(|_, list| {
                list.retain(|r| r.moot_at() > now);
                !list.is_empty()
            });
            of_key.len = of_key.iter().count();
            of_key.len > 0
        });
        self.total = self.keys.values().map(|of_key| of_key.len).sum();
    }
}

impl OfKey {
    fn iter(&self) -> impl Iterator<Item = &Revocation> {
        self.named.values().flatten().chain(&self.channels)
    }
}
