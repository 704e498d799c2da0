//! The counters of a server, for `/metrics`: calls, messages, operations and current activity.

use std::array;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use libkv::{OpResponse, Response};

use crate::schema::RPCS;

/// A request that takes longer is slow, as in etcd.
const SLOW: Duration = Duration::from_millis(100);

/// The bounds of call durations, in microseconds: the default bounds of Prometheus' own libraries.
const HANDLING_US: [u64; 11] = [
    5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000,
];

/// All counters of a server.
pub(crate) struct Counters {
    /// One for each line of [`RPCS`].
    pub methods: Vec<MethodCounters>,
    /// Whether the duration of each call is kept.
    pub is_extensive: bool,
    /// Bytes of messages that clients sent and received.
    pub received_bytes: AtomicU64,
    pub sent_bytes: AtomicU64,
    /// Connections that are open.
    pub connections: AtomicI64,
    /// Bytes of large messages that are kept in memory.
    pub held_bytes: AtomicUsize,
    /// Requests and streams in progress.
    pub requests: AtomicI64,
    /// Ranges within txns. The other ranges are counted as calls.
    pub ranges_in_txns: AtomicU64,
    /// Puts and deletions, also those within txns.
    pub puts: AtomicU64,
    pub deletes: AtomicU64,
    /// Requests that took longer than 100 ms in the store.
    pub slow: AtomicU64,
    pub leases_granted: AtomicU64,
    pub leases_revoked: AtomicU64,
    pub leases_renewed: AtomicU64,
    /// The TTLs of granted leases, in seconds.
    pub ttls: Histogram<24>,
}

/// The counters of one method.
pub(crate) struct MethodCounters {
    pub started: AtomicU64,
    /// By gRPC's code, 0 to 16.
    pub handled: [AtomicU64; 17],
    /// Messages.
    pub received: AtomicU64,
    pub sent: AtomicU64,
    /// How long calls took, in microseconds.
    pub handling: Histogram<11>,
}

impl Default for MethodCounters {
    fn default() -> MethodCounters {
        MethodCounters {
            started: AtomicU64::new(0),
            handled: array::from_fn(|_| AtomicU64::new(0)),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            handling: Histogram::new(HANDLING_US),
        }
    }
}

impl Default for Counters {
    fn default() -> Counters {
        Counters {
            methods: RPCS.iter().map(|_| MethodCounters::default()).collect(),
            is_extensive: false,
            received_bytes: AtomicU64::new(0),
            sent_bytes: AtomicU64::new(0),
            held_bytes: AtomicUsize::new(0),
            connections: AtomicI64::new(0),
            requests: AtomicI64::new(0),
            ranges_in_txns: AtomicU64::new(0),
            puts: AtomicU64::new(0),
            deletes: AtomicU64::new(0),
            slow: AtomicU64::new(0),
            leases_granted: AtomicU64::new(0),
            leases_revoked: AtomicU64::new(0),
            leases_renewed: AtomicU64::new(0),
            ttls: Histogram::new(array::from_fn(|bucket| 1 << bucket)),
        }
    }
}

impl Counters {
    /// Counts the operation that a response belongs to.
    pub fn count(&self, response: &Response) {
        match response {
            Response::Put(_) => add(&self.puts),
            Response::Delete(_) => add(&self.deletes),
            Response::Txn(txn) => self.count_ops(&txn.responses),
            Response::LeaseGrant(granted) => {
                add(&self.leases_granted);
                self.ttls.observe(granted.ttl_seconds.unsigned_abs());
            }
            Response::LeaseRevoke(_) => add(&self.leases_revoked),
            _ => {}
        }
    }

    /// Counts the operations of a txn.
    pub fn count_ops(&self, ops: &[OpResponse]) {
        for op in ops {
            match op {
                OpResponse::Range(_) => add(&self.ranges_in_txns),
                OpResponse::Put(_) => add(&self.puts),
                OpResponse::Delete(_) => add(&self.deletes),
                OpResponse::Txn(txn) => self.count_ops(&txn.responses),
            }
        }
    }

    /// Counts a renewal of a lease. A lease that does not exist has no time left and is not
    /// counted.
    pub fn renewed(&self, ttl_seconds: i64) {
        if ttl_seconds > 0 {
            add(&self.leases_renewed);
        }
    }

    /// Counts a request that took this long in the store, if that is slow.
    pub fn applied(&self, took: Duration) {
        if took > SLOW {
            add(&self.slow);
        }
    }
}

/// Adds one to a counter.
pub(crate) fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

/// How many values were at most as large as each bound.
pub(crate) struct Histogram<const N: usize> {
    bounds: [u64; N],
    /// Values above the previous bound and up to this one.
    buckets: [AtomicU64; N],
    above: AtomicU64,
    sum: AtomicU64,
}

impl<const N: usize> Histogram<N> {
    pub fn new(bounds: [u64; N]) -> Histogram<N> {
        Histogram {
            bounds,
            buckets: array::from_fn(|_| AtomicU64::new(0)),
            above: AtomicU64::new(0),
            sum: AtomicU64::new(0),
        }
    }

    pub fn observe(&self, value: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        add(self.buckets.get(bucket).unwrap_or(&self.above));
        self.sum.fetch_add(value, Relaxed);
    }

    /// Each bound with the number of values up to it, then the number and the sum of all values.
    pub fn read(&self) -> (Vec<(u64, u64)>, u64, u64) {
        let mut count = 0;
        let up_to = |(bound, bucket): (&u64, &AtomicU64)| {
            count += bucket.load(Relaxed);
            (*bound, count)
        };
        let buckets = self.bounds.iter().zip(&self.buckets).map(up_to).collect();
        (
            buckets,
            count + self.above.load(Relaxed),
            self.sum.load(Relaxed),
        )
    }
}

/// Adds one to a counter until it is dropped.
pub(crate) struct CountGuard<'c>(&'c AtomicI64);

impl<'c> CountGuard<'c> {
    pub fn new(counter: &'c AtomicI64) -> CountGuard<'c> {
        counter.fetch_add(1, Relaxed);
        CountGuard(counter)
    }
}

impl Drop for CountGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histogram_counts_up_to_each_bound() {
        let histogram = Histogram::new([1, 2, 4]);
        for value in [0, 1, 2, 3, 4, 5, 100] {
            histogram.observe(value);
        }
        assert_eq!(histogram.read(), (vec![(1, 2), (2, 3), (4, 5)], 7, 115));
    }
}
