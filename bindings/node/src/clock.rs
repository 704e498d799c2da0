//! Manual clocks, for tests.

use libkv::Clock;
use napi_derive::napi;

use crate::job::{JobPromise, on_pool};
use crate::state::{guarded, with_state};

/// Creates a manual clock.
#[napi(catch_unwind)]
pub fn clock(unix_ms: f64) -> napi::Result<u32> {
    with_state(|state| state.handles.add(Clock::new(unix_ms as i64)))
}

/// The time of a clock, in milliseconds since 1970.
#[napi(catch_unwind)]
pub fn clock_now(clock: u32) -> napi::Result<f64> {
    with_state(|state| {
        state.response(|state, writer| {
            writer.just(state.handles.get::<Clock>(clock)?.unix_ms());
            Ok(())
        })
    })
}

/// Moves a clock forward, on the pool. Resolves when everything that became due is done.
#[napi(catch_unwind)]
pub fn clock_advance_later(clock: u32, ms: f64) -> napi::Result<JobPromise> {
    with_state(|state| {
        let clock = guarded(|| state.handles.share::<Clock>(clock));
        on_pool(move |writer| {
            clock?.advance(ms as i64);
            writer.nothing();
            Ok(())
        })
    })
}

/// Moves a clock forward, in the call.
#[napi(catch_unwind)]
pub fn clock_advance(clock: u32, ms: f64) -> napi::Result<f64> {
    with_state(|state| {
        state.response(|state, writer| {
            state.handles.get::<Clock>(clock)?.advance(ms as i64);
            writer.nothing();
            Ok(())
        })
    })
}
