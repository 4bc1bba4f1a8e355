//! Where a record stands in its channel, and how a client names that place.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::Timestamp;

/// Counters per millisecond; a channel that is faster borrows from the next millisecond.
const COUNTERS_PER_MS: u64 = 1000;

/// The place of a record in its channel's order: a hybrid logical clock (milliseconds and a
/// counter) in one integer. Strictly increasing within a channel, whatever the machine's clock does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp(pub u64);

impl Stamp {
    /// The first stamp of a millisecond: a bound for "since that time".
    pub fn at(t: Timestamp) -> Self {
        Self((t.0.max(0) as u64).saturating_mul(COUNTERS_PER_MS))
    }

    /// The stamp that follows `self` at wall time `t`: the clock's when it has moved on, else one more.
    #[must_use]
    pub fn next(self, t: Timestamp) -> Self {
        Self(Self::at(t).0.max(self.0 + 1))
    }

    pub fn millis(self) -> u64 {
        self.0 / COUNTERS_PER_MS
    }

    pub fn counter(self) -> u64 {
        self.0 % COUNTERS_PER_MS
    }
}

/// Names one unbroken life of a channel's log. A stamp means nothing without its epoch: when the
/// epoch differs, what lies between two stamps is unknown, and recovery is refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(Arc<str>);

impl Epoch {
    /// `s` is alphanumeric, made by us from random bytes; anything else could break serials apart.
    pub fn parse(s: &str) -> Option<Self> {
        (!s.is_empty()
            && s.len() <= 32
            && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'))
        .then(|| Self(s.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A stamp with its epoch, as text: `01726585978590-001@abcdefghij`. Sorts as its stamp does within
/// an epoch (14 digits of milliseconds, 3 of counter).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serial {
    pub stamp: Stamp,
    pub epoch: Epoch,
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:014}-{:03}@{}", self.stamp.millis(), self.stamp.counter(), self.epoch.as_str())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidSerial;

impl FromStr for Serial {
    type Err = InvalidSerial;

    /// Also takes a message's serial (`…@epoch:000`): the index after the epoch is ignored.
    fn from_str(s: &str) -> Result<Self, InvalidSerial> {
        let (stamp, rest) = s.split_once('@').ok_or(InvalidSerial)?;
        let (millis, counter) = stamp.split_once('-').ok_or(InvalidSerial)?;
        let digits = |t: &str, len: usize| t.len() == len && t.bytes().all(|b| b.is_ascii_digit());
        if !digits(millis, 14) || !digits(counter, 3) {
            return Err(InvalidSerial);
        }
        let number = |t: &str| t.parse::<u64>().map_err(|_| InvalidSerial);
        let stamp = Stamp(number(millis)? * COUNTERS_PER_MS + number(counter)?);
        let epoch = rest.split(':').next().and_then(Epoch::parse).ok_or(InvalidSerial)?;
        Ok(Self { stamp, epoch })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_follows_the_clock_and_never_goes_back() {
        let t = Timestamp(1_726_585_978_590);
        let a = Stamp::default().next(t);
        assert_eq!((a.millis(), a.counter()), (1_726_585_978_590, 0));
        let b = a.next(t);
        assert_eq!((b.millis(), b.counter()), (1_726_585_978_590, 1));
        let back = b.next(Timestamp(5));
        assert_eq!(back, Stamp(b.0 + 1));
        let mut s = a;
        for _ in 0..1000 {
            s = s.next(t);
        }
        assert_eq!((s.millis(), s.counter()), (1_726_585_978_591, 0), "borrows from the next millisecond");
    }

    #[test]
    fn serials_round_trip_and_refuse_nonsense() {
        let text = "01726585978590-001@abcdefghij";
        let serial: Serial = text.parse().unwrap();
        assert_eq!(serial.to_string(), text);
        assert_eq!(format!("{text}:007").parse::<Serial>().unwrap(), serial);
        for bad in ["", "@", "1-1@a", "0172658597859x-001@a", "01726585978590-001@", "01726585978590-001@a b"]
        {
            assert!(bad.parse::<Serial>().is_err(), "{bad:?}");
        }
    }
}
