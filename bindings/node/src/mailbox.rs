//! Answers on their way to the promises of one thread of JavaScript.
//!
//! Whoever led a group leaves its answers here, one after the other; the first to find nothing
//! ordered wakes the loop, and the loop takes all that is there. So a group costs one wake-up, not
//! one for each promise.

use std::mem;
use std::sync::{Mutex, PoisonError};

use libkv::{Answer, Result};
use napi::Status;
use napi::bindgen_prelude::Env;
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};

/// Wakes the loop. Does not keep it alive unless it is held, and hands no error to JavaScript.
pub type Wake = ThreadsafeFunction<(), (), (), Status, false, true>;

/// What came of a submitted write, for the promise with this number.
pub type Settled = (u32, Result<Answer>);

/// The answers of one thread.
pub struct Mailbox {
    settled: Mutex<Vec<Settled>>,
    wake: Mutex<Wake>,
}

impl Mailbox {
    /// Wakes the loop with this.
    pub fn new(wake: Wake) -> Mailbox {
        Mailbox { settled: Mutex::default(), wake: Mutex::new(wake) }
    }

    /// Leaves an answer; from any thread. Once its thread of JavaScript has ended, nobody hears it.
    pub fn post(&self, id: u32, answer: Result<Answer>) {
        let first = {
            let mut settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
            settled.push((id, answer));
            settled.len() == 1
        };
        if first {
            let wake = self.wake.lock().unwrap_or_else(PoisonError::into_inner);
            wake.call((), ThreadsafeFunctionCallMode::NonBlocking);
        }
    }

    /// Takes all that is there.
    pub fn take(&self) -> Vec<Settled> {
        mem::take(&mut *self.settled.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the process stays alive for what has not been answered.
    pub fn hold(&self, env: &Env, hold: bool) -> napi::Result<()> {
        let mut wake = self.wake.lock().unwrap_or_else(PoisonError::into_inner);
        // Deprecated in favour of clones, which cannot change whether the loop stays alive.
        #[allow(deprecated)]
        if hold { wake.refer(env) } else { wake.unref(env) }
    }
}
