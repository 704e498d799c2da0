//! Answers on their way to the promises of one thread of JavaScript.
//!
//! Whoever led a group leaves its answers here, one after the other, and wakes the loop after the
//! last: a group costs one wake-up, not one for each promise.

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use libkv::{Answer, Result};
use napi::Status;
use napi::bindgen_prelude::Env;
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};

/// Wakes the loop. Does not keep it alive unless it is held, and hands no error to JavaScript.
pub type Wake = ThreadsafeFunction<(), (), (), Status, false, true>;

/// What came of a submitted write, for the promise with this number.
pub type Settled = (u32, Result<Answer>);

#[derive(Default)]
struct Settling {
    answers: Vec<Settled>,
    /// The loop is woken, or will be at the end of a group.
    ordered: bool,
}

/// The answers of one thread.
pub struct Mailbox {
    settling: Mutex<Settling>,
    wake: Mutex<Wake>,
}

impl Mailbox {
    /// Wakes the loop with this.
    pub fn new(wake: Wake) -> Mailbox {
        Mailbox { settling: Mutex::default(), wake: Mutex::new(wake) }
    }

    /// Leaves an answer; from any thread. Once its thread of JavaScript has ended, nobody hears it.
    pub fn post(self: &Arc<Self>, id: u32, answer: Result<Answer>) {
        let ordered = {
            let mut settling = self.settling.lock().unwrap_or_else(PoisonError::into_inner);
            settling.answers.push((id, answer));
            mem::replace(&mut settling.ordered, true)
        };
        if !ordered {
            let mailbox = self.clone();
            libkv::after_group(move || mailbox.wake());
        }
    }

    fn wake(&self) {
        let wake = self.wake.lock().unwrap_or_else(PoisonError::into_inner);
        wake.call((), ThreadsafeFunctionCallMode::NonBlocking);
    }

    /// Takes all that is there.
    pub fn take(&self) -> Vec<Settled> {
        let mut settling = self.settling.lock().unwrap_or_else(PoisonError::into_inner);
        settling.ordered = false;
        mem::take(&mut settling.answers)
    }

    /// Whether the process stays alive for what has not been answered.
    pub fn hold(&self, env: &Env, hold: bool) -> napi::Result<()> {
        let mut wake = self.wake.lock().unwrap_or_else(PoisonError::into_inner);
        // Deprecated in favour of clones, which cannot change whether the loop stays alive.
        #[allow(deprecated)]
        if hold { wake.refer(env) } else { wake.unref(env) }
    }
}
