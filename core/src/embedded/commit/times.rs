//! How long commits took. Only counted: the engine itself does not use it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::request::CommitTimes;

/// Counters of one environment. A commit costs two readings of the clock and three additions.
#[derive(Default)]
pub(super) struct Times {
    within: [AtomicU64; CommitTimes::BUCKETS],
    count: AtomicU64,
    total_us: AtomicU64,
}

impl Times {
    pub fn add(&self, took: Duration) {
        // the first bound of 1, 2, 4, … ms that it does not exceed
        let ms = u64::try_from(took.as_nanos().div_ceil(1_000_000))
            .unwrap_or(u64::MAX)
            .max(1);
        let bucket = (u64::BITS - (ms - 1).leading_zeros()) as usize;
        if let Some(within) = self.within.get(bucket) {
            within.fetch_add(1, Ordering::Relaxed);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        self.total_us.fetch_add(
            u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            Ordering::Relaxed,
        );
    }

    pub fn read(&self) -> CommitTimes {
        CommitTimes {
            within: self
                .within
                .each_ref()
                .map(|within| within.load(Ordering::Relaxed)),
            count: self.count.load(Ordering::Relaxed),
            total_us: self.total_us.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commit_is_counted_within_the_first_bound_that_holds_it() {
        let times = Times::default();
        for (us, bucket) in [
            (0, 0),
            (1_000, 0),
            (1_001, 1),
            (2_000, 1),
            (2_001, 2),
            (4_000, 2),
            (8_192_000, 13),
        ] {
            let before = times.read();
            times.add(Duration::from_micros(us));
            let now = times.read();
            assert_eq!(now.within[bucket], before.within[bucket] + 1, "{us} µs");
        }
        times.add(Duration::from_secs(9));
        let CommitTimes {
            within,
            count,
            total_us,
        } = times.read();
        assert_eq!(
            (within.iter().sum::<u64>(), count),
            (7, 8),
            "a time over every bound is only in the count"
        );
        assert_eq!(
            total_us,
            1_000 + 1_001 + 2_000 + 2_001 + 4_000 + 8_192_000 + 9_000_000
        );
    }
}
