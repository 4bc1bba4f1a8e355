//! Latencies, kept in buckets whose width is under 1 % of their value: recording costs an increment.

/// Buckets for each power of two. 128 keep the error of a percentile below 0.8 %.
const SPLIT_BITS: u32 = 7;
const SPLIT: usize = 1 << SPLIT_BITS;

#[derive(Clone)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self { counts: vec![0; SPLIT * (65 - SPLIT_BITS as usize)], total: 0, max: 0 }
    }

    #[inline]
    pub(crate) fn record(&mut self, value: u64) {
        self.counts[bucket(value)] += 1;
        self.total += 1;
        self.max = self.max.max(value);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.total == 0
    }

    pub(crate) fn max(&self) -> u64 {
        self.max
    }

    /// The smallest value that at least `share` (0 to 1) of the records do not exceed, to the bucket's upper edge.
    pub(crate) fn quantile(&self, share: f64) -> u64 {
        let wanted = ((self.total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return upper_edge(index).min(self.max);
            }
        }
        self.max
    }
}

/// Values below `SPLIT` have a bucket each; above, the leading bit picks the row and the next seven the bucket.
#[inline]
fn bucket(value: u64) -> usize {
    let bits = 64 - value.leading_zeros();
    if bits <= SPLIT_BITS {
        return value as usize;
    }
    let shift = bits - SPLIT_BITS - 1;
    ((shift as usize + 1) << SPLIT_BITS) + ((value >> shift) as usize & (SPLIT - 1))
}

fn upper_edge(index: usize) -> u64 {
    let row = index >> SPLIT_BITS;
    if row == 0 {
        return index as u64;
    }
    let low = ((index & (SPLIT - 1)) + SPLIT) as u64;
    let shift = row as u32 - 1;
    (low << shift) + ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_within_a_percent() {
        let mut histogram = Histogram::new();
        for value in 1..=100_000_u64 {
            histogram.record(value * 1_000);
        }
        for (share, exact) in [(0.5, 50_000_000.0), (0.99, 99_000_000.0), (0.999, 99_900_000.0)] {
            let found = histogram.quantile(share) as f64;
            assert!((found / exact - 1.0).abs() < 0.01, "{share}: {found} against {exact}");
        }
        assert_eq!(histogram.max(), 100_000_000);
    }

    #[test]
    fn every_value_has_a_bucket() {
        for value in [0, 1, 127, 128, 129, 255, 256, u64::from(u32::MAX), u64::MAX] {
            assert!(upper_edge(bucket(value)) >= value);
        }
        let mut histogram = Histogram::new();
        histogram.record(u64::MAX);
        assert_eq!(histogram.quantile(1.0), u64::MAX);
    }
}
