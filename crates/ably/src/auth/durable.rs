//! What must be remembered over a restart: revocations, and the nonces that have been used. Here it
//! becomes entries of the store, and these become it again; storing them is the caller's, before it
//! answers.

use aws_lc_rs::digest;
use bytes::Bytes;
use fanfare_model::error::ErrorInfo;
use fanfare_model::{AppId, Now, Timestamp};
use fanfare_store::{Area, Entries, Entry};
use parking_lot::Mutex;

use super::nonce::{Hash, NonceCache, REMEMBERED};
use super::{Authenticator, Revocation, Revocations};

/// These numbers are on disks.
pub const REVOCATIONS: Area = Area(1);
pub const NONCES: Area = Area(2);

impl Revocation {
    /// The same revocation is the same entry.
    pub fn to_entry(&self) -> Entry {
        let value = self.to_json();
        let digest = digest::digest(&digest::SHA256, value.as_bytes());
        Entry {
            app: self.key.app.clone(),
            area: REVOCATIONS,
            key: digest.as_ref().into(),
            value: Bytes::from(value),
            expires_at: self.moot_at(),
        }
    }

    fn from_entry(entry: &Entry) -> Option<Self> {
        Self::from_json(std::str::from_utf8(&entry.value).ok()?).ok()
    }
}

pub(super) fn spent(app: &AppId, hash: &Hash, now: Timestamp) -> Entry {
    Entry {
        app: app.clone(),
        area: NONCES,
        key: (*hash).into(),
        value: Bytes::new(),
        expires_at: now + REMEMBERED,
    }
}

/// What came back, for the server to tell.
#[derive(Debug)]
pub struct Restored {
    pub authenticator: Authenticator,
    pub revocations: usize,
    /// Revocations that could not be read. Tokens that they concerned are accepted again.
    pub revocations_lost: u64,
    /// Nonces that could not be read. Token requests from before the start are refused therefore.
    pub nonces_lost: u64,
}

impl Authenticator {
    /// As it was when the process before this one ended, however it ended.
    pub fn restore(revocations: &Entries, nonces: &Entries, now: Now) -> Result<Restored, ErrorInfo> {
        let known: Vec<_> = revocations.found.iter().filter_map(Revocation::from_entry).collect();
        let unread = revocations.found.len() - known.len();
        let hashes = nonces.found.iter().map(|e| (e.app.clone(), Hash::try_from(&*e.key)));
        let good: Vec<_> = hashes.filter_map(|(app, hash)| Some((app, hash.ok()?))).collect();
        let nonces_lost = nonces.unreadable + (nonces.found.len() - good.len()) as u64;
        // With all that was used at hand, a request from before the start is as good as another.
        let since = if nonces_lost == 0 { Timestamp(0) } else { now.wall };
        let mut cache = NonceCache::new(since);
        cache.restore(good, now.mono);
        let count = known.len();
        let registry = Revocations::default();
        registry.restore(known, now.wall)?;
        Ok(Restored {
            authenticator: Self { nonces: Mutex::new(cache), revocations: registry },
            revocations: count,
            revocations_lost: revocations.unreadable + unread as u64,
            nonces_lost,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Target;

    fn revocation(client: &str) -> Revocation {
        let key = fanfare_model::KeyName::parse("app.key").unwrap();
        let (issued_before, applies_at) = (Timestamp(1_000_000), Timestamp(1_000_500));
        Revocation { key, target: Target::ClientId(client.into()), issued_before, applies_at }
    }

    fn now() -> Now {
        Now { wall: Timestamp(1_000_600), mono: std::time::Duration::from_secs(1) }
    }

    fn entries(found: Vec<Entry>) -> Entries {
        Entries { found, unreadable: 0 }
    }

    #[test]
    fn revocations_come_back_as_they_were() {
        let all = ["ann", "bob"].map(revocation);
        let stored = entries(all.iter().map(Revocation::to_entry).collect());
        assert_ne!(stored.found[0].key, stored.found[1].key);
        assert_eq!(all[0].to_entry(), all[0].to_entry());
        let restored = Authenticator::restore(&stored, &Entries::default(), now()).unwrap();
        let mut back = restored.authenticator.revocations().all(now().wall);
        back.sort_by_key(|r| r.target.to_string());
        assert_eq!(back, all);
        assert_eq!((restored.revocations, restored.revocations_lost), (2, 0));
    }

    #[test]
    fn a_spent_nonce_stays_spent_and_older_requests_are_as_good_as_new_ones() {
        let key = fanfare_model::KeyName::parse("app.key").unwrap();
        let mut before = NonceCache::new(Timestamp(0));
        let hash = before.spend(&key, "n", now().wall, now()).unwrap();
        let stored = entries(vec![spent(&key.app, &hash, now().wall)]);
        let restored = Authenticator::restore(&Entries::default(), &stored, now()).unwrap();
        let mut nonces = restored.authenticator.nonces.lock();
        assert_eq!(nonces.spend(&key, "n", now().wall, now()).unwrap_err().code, 40105);
        let earlier = Timestamp(now().wall.0 - 60_000);
        assert!(nonces.spend(&key, "other", earlier, now()).is_ok());
    }

    #[test]
    fn when_a_nonce_was_lost_older_requests_are_refused() {
        let key = fanfare_model::KeyName::parse("app.key").unwrap();
        let lost = Entries { found: Vec::new(), unreadable: 1 };
        let restored = Authenticator::restore(&lost, &lost, now()).unwrap();
        assert_eq!((restored.revocations_lost, restored.nonces_lost), (1, 1));
        let mut nonces = restored.authenticator.nonces.lock();
        let earlier = Timestamp(now().wall.0 - 1);
        assert_eq!(nonces.spend(&key, "n", earlier, now()).unwrap_err().code, 40104);
        assert!(nonces.spend(&key, "n", now().wall, now()).is_ok());
    }
}
