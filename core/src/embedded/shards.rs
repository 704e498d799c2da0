//! A value behind several locks. Each thread reads it through one of them, so that readers on
//! several processors rarely share a cache line.
//!
//! crossbeam's `ShardedLock` does the same, but keeps a table of threads until the process ends,
//! and valgrind reports it as possibly lost.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use crossbeam::utils::CachePadded;

const SHARDS: usize = 8;

/// A value that can be taken out once.
pub(super) struct Shards<T>([CachePadded<RwLock<Option<T>>>; SHARDS]);

impl<T: Clone> Shards<T> {
    pub fn new(value: T) -> Shards<T> {
        Shards([(); SHARDS].map(|()| CachePadded::new(RwLock::new(Some(value.clone())))))
    }

    /// The value, which is not taken before the guard is dropped; none after it was taken.
    #[inline]
    pub fn read(&self) -> RwLockReadGuard<'_, Option<T>> {
        self.0[own_shard()]
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the value, after the last reader has finished.
    pub fn take(&self) -> Option<T> {
        let take = |shard: &CachePadded<RwLock<Option<T>>>| {
            shard.write().unwrap_or_else(PoisonError::into_inner).take()
        };
        self.0.iter().map(take).fold(None, Option::or)
    }
}

/// The number of this thread's shard.
#[inline]
fn own_shard() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static SHARD: Cell<usize> = const { Cell::new(SHARDS) };
    }
    let shard = SHARD.get();
    if shard < SHARDS {
        return shard;
    }
    let shard = THREADS.fetch_add(1, Ordering::Relaxed) % SHARDS;
    SHARD.set(shard);
    shard
}
