//! Time as a value. Nothing below the gateway reads a clock: it is handed a [`Now`].

use std::ops::{Add, Sub};
use std::time::Duration;

/// Milliseconds since the Unix epoch: what clients see. May jump when the machine's clock is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    pub fn saturating_sub(self, d: Duration) -> Self {
        Self(self.0.saturating_sub(d.as_millis() as i64))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, d: Duration) -> Self {
        Self(self.0.saturating_add(d.as_millis() as i64))
    }
}

impl Sub for Timestamp {
    type Output = Duration;
    /// Zero when `earlier` is later: a clock that went back makes nothing negative.
    fn sub(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0).max(0) as u64)
    }
}

/// One reading of both clocks, taken once per turn and passed down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// For timestamps and serials.
    pub wall: Timestamp,
    /// Since the process started; never goes back. For timeouts and deadlines.
    pub mono: Duration,
}
