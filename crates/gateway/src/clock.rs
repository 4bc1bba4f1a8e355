//! The one place where clocks are read.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fanfare_model::{Now, Timestamp};

#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
}

impl Clock {
    pub fn start() -> Self {
        Self { started: Instant::now() }
    }

    pub fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { wall: Timestamp(wall.as_millis() as i64), mono: self.started.elapsed() }
    }

    pub(crate) fn at(&self, mono: Duration) -> Instant {
        self.started + mono
    }
}
