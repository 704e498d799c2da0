//! The time since boot, including suspend. It is the same in every process.

use rustix::time::{ClockId, clock_gettime};

/// Milliseconds since boot.
pub(crate) fn boottime_ms() -> u64 {
    boottime_ns() / 1_000_000
}

/// Nanoseconds since boot.
pub(crate) fn boottime_ns() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
