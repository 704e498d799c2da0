//! Manual clocks, for tests.
#![allow(unsafe_code)]

use libkv::Clock;

use crate::error::KvError;
use crate::guard::{free, guard, value};
use crate::handle::{give, invalid, kinds};
use crate::types::*;

/// A manual clock: only kv_clock_advance moves it.
pub struct KvClock;

kinds! { KvClock = Clock, b"kv_clock", "kv_clock"; }

/// Creates a manual clock that starts at unix_ms milliseconds since 1970; for kv_options.clock. A
/// store opened with it cannot be opened by another process. NULL only if out of memory.
///
/// Owner: owned by the caller, to free with kv_clock_free before or after the stores opened with
/// it.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub extern "C" fn kv_clock_new(unix_ms: i64) -> *mut KvClock {
    value(std::ptr::null_mut(), || Some(give(Clock::new(unix_ms))))
}

/// Moves a clock forward. It returns after everything that became due has been done.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: KV_INVALID_ARGUMENT (ms is negative).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_clock_advance(
    clock: *const KvClock,
    ms: i64,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        let clock = c.arg(clock)?;
        if ms < 0 {
            return Err(invalid(format!("a clock does not go back by {ms} ms")));
        }
        clock.advance(ms);
        Ok(())
    })
}

/// Frees a clock; stores opened with it continue to use it.
///
/// Owner: frees it; NULL is allowed.
/// Threads: the last use of it.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_clock_free(clock: *mut KvClock) {
    free!(clock)
}
