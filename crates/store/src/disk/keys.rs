//! How a record lies in the key-value store.
//!
//! ```text
//! channel = app NUL name NUL            neither has a NUL in it, so no channel is another's prefix
//! log     : channel kind:u8 stamp:u64be -> seal expires:i64 record
//! last    : channel                     -> seal expires:i64 stamp:u64 [record]
//! entries : app NUL area:u8 key         -> seal expires:i64 value
//! ```
//!
//! The seal is a hash over the key and the rest of the value. The engine below has checksums of its
//! own for blocks and batches; the seal catches what those cannot: a whole, valid block in the wrong
//! place, and bytes that changed before the engine first hashed them.

use std::ops::RangeInclusive;

use fanfare_model::{AppId, BodyKind, ChannelKey, Record, Stamp, Timestamp, record_codec};
use xxhash_rust::xxh3::Xxh3;

use crate::{Area, StoreError};

const SEAL: usize = 8;
const EXPIRES: usize = 8;
const STAMP: usize = 8;
/// What a log key has after the channel.
const LOG_TAIL: usize = 1 + STAMP;

/// The kind is in the key so that reading messages does not walk over presence, which may be most of
/// a channel. All kinds that this version does not know share one; the next kind gets its own.
fn kind_byte(kind: BodyKind) -> u8 {
    match kind {
        BodyKind::Messages => 1,
        BodyKind::Presence => 2,
        BodyKind::Unknown => 255,
    }
}

pub(super) const KINDS: [BodyKind; 3] = [BodyKind::Messages, BodyKind::Presence, BodyKind::Unknown];

pub(super) fn app(app: &AppId) -> Vec<u8> {
    let mut key = Vec::with_capacity(app.as_str().len() + 1);
    key.extend_from_slice(app.as_str().as_bytes());
    key.push(0);
    key
}

pub(super) fn channel(channel: &ChannelKey) -> Vec<u8> {
    let name = channel.name.as_str().as_bytes();
    debug_assert!(!name.contains(&0), "ChannelName::parse refuses NUL");
    let mut key = Vec::with_capacity(channel.app.as_str().len() + name.len() + 2 + LOG_TAIL);
    key.extend_from_slice(channel.app.as_str().as_bytes());
    key.push(0);
    key.extend_from_slice(name);
    key.push(0);
    key
}

pub(super) fn entry(of: &AppId, area: Area, key: &[u8]) -> Vec<u8> {
    let mut whole = app(of);
    whole.push(area.0);
    whole.extend_from_slice(key);
    whole
}

/// An entry's key taken apart again.
pub(super) fn parse_entry(key: &[u8]) -> Option<(AppId, Area, &[u8])> {
    let end = key.iter().position(|b| *b == 0)?;
    let app = AppId::parse(std::str::from_utf8(&key[..end]).ok()?).ok()?;
    let (area, rest) = key[end + 1..].split_first()?;
    Some((app, Area(*area), rest))
}

pub(super) fn log(mut channel: Vec<u8>, kind: BodyKind, stamp: Stamp) -> Vec<u8> {
    channel.push(kind_byte(kind));
    channel.extend_from_slice(&stamp.0.to_be_bytes());
    channel
}

pub(super) fn log_range(channel: &[u8], kind: BodyKind, from: Stamp, to: Stamp) -> RangeInclusive<Vec<u8>> {
    log(channel.to_vec(), kind, from)..=log(channel.to_vec(), kind, to)
}

/// A log key taken apart again.
pub(super) struct LogKey<'a> {
    pub(super) channel: &'a [u8],
    pub(super) stamp: Stamp,
    pub(super) is_messages: bool,
}

pub(super) fn parse_log(key: &[u8]) -> Option<LogKey<'_>> {
    let (channel, tail) = key.split_at_checked(key.len().checked_sub(LOG_TAIL)?)?;
    let stamp = u64::from_be_bytes(tail[1..].try_into().ok()?);
    Some(LogKey { channel, stamp: Stamp(stamp), is_messages: tail[0] == kind_byte(BodyKind::Messages) })
}

fn hash(key: &[u8], rest: &[u8]) -> [u8; SEAL] {
    let mut hash = Xxh3::new();
    hash.update(key);
    hash.update(rest);
    hash.digest().to_le_bytes()
}

/// A log value: its key is what it is sealed to.
pub(super) fn seal(key: &[u8], expires_at: Timestamp, record: &Record) -> Vec<u8> {
    let mut value = vec![0; SEAL];
    value.extend_from_slice(&expires_at.0.to_le_bytes());
    record_codec::encode(record, &mut value);
    let seal = hash(key, &value[SEAL..]);
    value[..SEAL].copy_from_slice(&seal);
    value
}

/// A value of `last`. Without a record it only says that no older message of the channel is read.
pub(super) fn seal_last(key: &[u8], expires_at: Timestamp, floor: Stamp, record: Option<&Record>) -> Vec<u8> {
    let mut value = vec![0; SEAL];
    value.extend_from_slice(&expires_at.0.to_le_bytes());
    value.extend_from_slice(&floor.0.to_le_bytes());
    if let Some(record) = record {
        record_codec::encode(record, &mut value);
    }
    let seal = hash(key, &value[SEAL..]);
    value[..SEAL].copy_from_slice(&seal);
    value
}

pub(super) fn seal_entry(key: &[u8], expires_at: Timestamp, value: &[u8]) -> Vec<u8> {
    let mut sealed = vec![0; SEAL];
    sealed.extend_from_slice(&expires_at.0.to_le_bytes());
    sealed.extend_from_slice(value);
    let seal = hash(key, &sealed[SEAL..]);
    sealed[..SEAL].copy_from_slice(&seal);
    sealed
}

/// A value whose seal was right.
pub(super) struct Opened<'a> {
    pub(super) expires_at: Timestamp,
    rest: &'a [u8],
}

pub(super) fn open<'a>(key: &[u8], value: &'a [u8]) -> Result<Opened<'a>, StoreError> {
    let bad = || StoreError::Corrupt(format!("a record's checksum is wrong, at {}", describe(key)));
    let (seal, rest) = value.split_first_chunk::<SEAL>().ok_or_else(bad)?;
    if hash(key, rest) != *seal {
        return Err(bad());
    }
    let (expires, rest) = rest.split_first_chunk::<EXPIRES>().ok_or_else(bad)?;
    Ok(Opened { expires_at: Timestamp(i64::from_le_bytes(*expires)), rest })
}

impl Opened<'_> {
    /// An entry's value.
    pub(super) fn bytes(&self) -> &[u8] {
        self.rest
    }

    pub(super) fn record(&self, key: &[u8]) -> Result<Record, StoreError> {
        decode(key, self.rest)
    }

    /// The floor, and the record if it is still there.
    pub(super) fn last(&self, key: &[u8]) -> Result<(Stamp, Option<Record>), StoreError> {
        let (floor, record) = self.rest.split_first_chunk::<STAMP>().ok_or_else(|| {
            StoreError::Corrupt(format!("a last record is too short, at {}", describe(key)))
        })?;
        let record = if record.is_empty() { None } else { Some(decode(key, record)?) };
        Ok((Stamp(u64::from_le_bytes(*floor)), record))
    }
}

fn decode(key: &[u8], bytes: &[u8]) -> Result<Record, StoreError> {
    record_codec::decode(bytes).map_err(|e| StoreError::Corrupt(format!("{e}, at {}", describe(key))))
}

/// Names the app and the place. Not the channel: channel names may be personal, and errors are logged.
fn describe(key: &[u8]) -> String {
    let app = key.split(|b| *b == 0).next().unwrap_or_default();
    match parse_log(key) {
        Some(LogKey { stamp, .. }) => format!("app {}, stamp {}", app.escape_ascii(), stamp.0),
        None => format!("app {}", app.escape_ascii()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fanfare_model::ChannelName;

    #[test]
    fn no_channel_is_another_ones_prefix_and_stamps_sort() {
        let key = |app: &str, name: &str| {
            channel(&ChannelKey { app: AppId::parse(app).unwrap(), name: ChannelName::parse(name).unwrap() })
        };
        let keys = [key("a", "b"), key("a", "b:c"), key("a-b", "c"), key("a", "bb"), key("ab", "b")];
        for (i, a) in keys.iter().enumerate() {
            for (j, b) in keys.iter().enumerate() {
                assert!(i == j || !a.starts_with(b));
            }
        }
        let at = |s| log(key("a", "b"), BodyKind::Messages, Stamp(s));
        assert!(at(1) < at(2) && at(255) < at(256) && at(u64::MAX - 1) < at(u64::MAX));
        let parsed = at(77);
        let parsed = parse_log(&parsed).unwrap();
        assert_eq!((parsed.stamp, parsed.is_messages, parsed.channel), (Stamp(77), true, &key("a", "b")[..]));
    }

    #[test]
    fn a_value_opens_only_at_its_own_key_and_unchanged() {
        let record = Record {
            stamp: Stamp(1),
            timestamp: Timestamp(0),
            id: "r".into(),
            connection_id: None,
            body: fanfare_model::Body::Messages(vec![]),
            ephemeral: false,
        };
        let value = seal(b"key", Timestamp(5), &record);
        assert_eq!(open(b"key", &value).unwrap().record(b"key").unwrap(), record);
        assert!(open(b"other", &value).is_err());
        for at in 0..value.len() {
            let mut value = value.clone();
            value[at] ^= 1;
            assert!(open(b"key", &value).is_err(), "byte {at}");
        }
    }
}
