//! How fast one connection may publish: so many items a second, with a second's worth at once.

use std::num::NonZeroU32;
use std::time::Duration;

use fanfare_model::error::{self, ErrorInfo};

/// What may be published at once is what a second allows.
const BURST: Duration = Duration::from_secs(1);

/// Says until when the time of what was published is used up: one number, whatever the rate.
#[derive(Debug, Default)]
pub(super) struct Rate {
    used_until: Duration,
}

impl Rate {
    /// Takes `items` or refuses them. More than a burst at once is taken when nothing was published
    /// lately, and paid for by a longer pause: it could never pass otherwise.
    pub(super) fn take(
        &mut self,
        items: usize,
        per_second: Option<NonZeroU32>,
        now: Duration,
    ) -> Result<(), ErrorInfo> {
        let Some(per_second) = per_second else { return Ok(()) };
        let items = u32::try_from(items).unwrap_or(u32::MAX);
        let cost = Duration::from_secs(1) * items / per_second.get();
        let from = self.used_until.max(now);
        if from > now && from + cost > now + BURST {
            return Err(error::publish_rate_exceeded(format!(
                "{per_second} messages a second are allowed; please retry"
            )));
        }
        self.used_until = from + cost;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_second_at_once_and_then_as_time_goes_by() {
        let (mut rate, ten) = (Rate::default(), NonZeroU32::new(10));
        for i in 0..10 {
            assert!(rate.take(1, ten, ms(5_000)).is_ok(), "{i}");
        }
        assert_eq!(rate.take(1, ten, ms(5_000)).unwrap_err().code, 42911);
        assert_eq!(rate.take(1, ten, ms(5_099)).unwrap_err().code, 42911);
        assert!(rate.take(1, ten, ms(5_100)).is_ok());
        assert!(rate.take(1, ten, ms(5_100)).is_err());
        assert!(rate.take(10, ten, ms(60_000)).is_ok(), "a pause gives a second's worth, not more");
        assert!(rate.take(1, ten, ms(60_000)).is_err());
    }

    #[test]
    fn a_large_array_passes_and_is_paid_for() {
        let (mut rate, ten) = (Rate::default(), NonZeroU32::new(10));
        assert!(rate.take(100, ten, ms(0)).is_ok());
        assert!(rate.take(1, ten, ms(8_900)).is_err());
        assert!(rate.take(1, ten, ms(9_100)).is_ok());
    }

    #[test]
    fn no_limit_is_no_limit_and_nothing_overflows() {
        let mut rate = Rate::default();
        for _ in 0..1_000 {
            assert!(rate.take(usize::MAX, None, ms(0)).is_ok());
        }
        assert!(rate.take(usize::MAX, NonZeroU32::new(1), ms(0)).is_ok());
        assert!(rate.take(usize::MAX, NonZeroU32::new(1), ms(0)).is_err());
    }
}
