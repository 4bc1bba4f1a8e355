//! How fast a token lets its bearer publish, where its issuer said so: `ably.limits.publish.perAttachment.maxRate`.

use std::collections::HashMap;
use std::time::Duration;

use fanfare_model::ChannelName;
use fanfare_model::error::{self, ErrorInfo};

/// Channels whose use is remembered. A channel that could take its whole burst again needs no memory; of others
/// no more than this are used at once.
const CHANNELS_MAX: usize = 1_024;

/// A bucket for each channel: it holds a second's messages (one at least), and fills at the rate.
#[derive(Default)]
pub(super) struct Rates {
    buckets: HashMap<ChannelName, Bucket>,
}

struct Bucket {
    left: f64,
    at: Duration,
    rate: f64,
}

impl Bucket {
    fn full(rate: f64, now: Duration) -> Self {
        Self { left: Self::capacity(rate), at: now, rate }
    }

    fn capacity(rate: f64) -> f64 {
        if rate > 0.0 { rate.max(1.0) } else { 0.0 }
    }

    fn level(&self, now: Duration) -> f64 {
        let since = now.saturating_sub(self.at).as_secs_f64();
        (self.left + since * self.rate).min(Self::capacity(self.rate))
    }
}

impl Rates {
    /// Takes `count` messages out of the channel's bucket, or refuses all of them.
    pub(super) fn take(
        &mut self,
        channel: &ChannelName,
        rate: f64,
        count: usize,
        now: Duration,
    ) -> Result<(), ErrorInfo> {
        if self.buckets.len() >= CHANNELS_MAX && !self.buckets.contains_key(channel) {
            self.buckets.retain(|_, b| b.level(now) < Bucket::capacity(b.rate));
            if self.buckets.len() >= CHANNELS_MAX {
                return Err(error::publish_rate_exceeded("on too many channels at once"));
            }
        }
        let bucket = self.buckets.entry(channel.clone()).or_insert_with(|| Bucket::full(rate, now));
        // A new token may have brought another rate.
        let left = bucket.level(now).min(Bucket::capacity(rate));
        let wanted = count as f64;
        let allowed = left >= wanted;
        *bucket = Bucket { left: if allowed { left - wanted } else { left }, at: now, rate };
        if allowed {
            return Ok(());
        }
        Err(error::publish_rate_exceeded(format!(
            "the token allows {rate} messages a second on this channel"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets() {
        let channel = |name: &str| ChannelName::parse(name).unwrap();
        let (a, b) = (channel("a"), channel("b"));
        let at = Duration::from_millis;
        let mut rates = Rates::default();
        for _ in 0..5 {
            rates.take(&a, 5.0, 1, at(0)).unwrap();
        }
        assert_eq!(rates.take(&a, 5.0, 1, at(100)).unwrap_err().code, 42911);
        rates.take(&a, 5.0, 1, at(200)).unwrap();
        assert!(rates.take(&a, 5.0, 2, at(500)).is_err(), "all of a publish or nothing");
        rates.take(&a, 5.0, 1, at(500)).unwrap();
        rates.take(&b, 5.0, 5, at(500)).unwrap();
        rates.take(&a, 5.0, 5, at(9_000)).unwrap();
        assert!(rates.take(&a, 5.0, 1, at(9_000)).is_err(), "unused time is not saved up");
        // Less than one a second, and none at all.
        rates.take(&a, 0.1, 1, at(20_000)).unwrap();
        assert!(rates.take(&a, 0.1, 1, at(29_000)).is_err());
        rates.take(&a, 0.1, 1, at(30_100)).unwrap();
        assert!(rates.take(&b, 0.0, 1, at(90_000)).is_err());
    }

    #[test]
    fn memory_is_bounded() {
        let mut rates = Rates::default();
        let take = |rates: &mut Rates, i: usize, now| {
            rates.take(&ChannelName::parse(&format!("c{i}")).unwrap(), 0.01, 1, now)
        };
        for i in 0..CHANNELS_MAX {
            take(&mut rates, i, Duration::ZERO).unwrap();
        }
        assert_eq!(take(&mut rates, CHANNELS_MAX, Duration::from_secs(99)).unwrap_err().code, 42911);
        take(&mut rates, CHANNELS_MAX, Duration::from_secs(101)).unwrap();
        assert_eq!(rates.buckets.len(), 1);
    }
}
