//! Answers, and news of watchers and leases, on their way to one thread of JavaScript.
//!
//! Whoever led a group leaves its answers here, one after the other, and wakes the loop after the
//! last: a group costs one wake-up, not one for each promise. What is left while the loop has not come
//! yet costs none.

use std::mem;
use std::sync::{Arc, Mutex};

use libkv::{LeaseId, Response, Result};
use napi::Status;
use napi::bindgen_prelude::Env;
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};

use crate::handles::Handle;
use crate::sync::lock;

/// Wakes the loop. Does not keep it alive unless it is held, and hands no error to JavaScript.
pub type Wake = ThreadsafeFunction<(), (), (), Status, false, true>;

/// What comes for whoever waits in JavaScript.
pub enum Mail {
    /// The answer to a submitted request.
    Response(Response),
    /// A lease that keeps itself alive.
    Lease {
        id: LeaseId,
        ttl_seconds: i64,
        object: Arc<dyn Handle>,
    },
    /// Yes or no.
    Flag(bool),
    /// That it is time.
    Word,
}

impl From<Response> for Mail {
    fn from(response: Response) -> Mail {
        Mail::Response(response)
    }
}

/// What came, for the promise with this number.
pub type Settled = (u32, Result<Mail>);

#[derive(Default)]
struct Settling {
    responses: Vec<Settled>,
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
        Mailbox {
            settling: Mutex::default(),
            wake: Mutex::new(wake),
        }
    }

    /// Leaves what came; from any thread. Once its thread of JavaScript has ended, nobody hears it.
    pub fn post(self: &Arc<Self>, id: u32, mail: Result<impl Into<Mail>>) {
        let ordered = {
            let mut settling = lock(&self.settling);
            settling.responses.push((id, mail.map(Into::into)));
            mem::replace(&mut settling.ordered, true)
        };
        if !ordered {
            let mailbox = self.clone();
            libkv::support::after_group(move || mailbox.wake());
        }
    }

    fn wake(&self) {
        let wake = lock(&self.wake);
        wake.call((), ThreadsafeFunctionCallMode::NonBlocking);
    }

    /// Takes all that is there.
    pub fn take(&self) -> Vec<Settled> {
        let mut settling = lock(&self.settling);
        settling.ordered = false;
        mem::take(&mut settling.responses)
    }

    /// Whether the process stays alive for what has not been answered.
    pub fn hold(&self, env: &Env, hold: bool) -> napi::Result<()> {
        let mut wake = lock(&self.wake);
        // Deprecated in favour of clones, which cannot change whether the loop stays alive.
        #[allow(deprecated)]
        if hold {
            wake.refer(env)
        } else {
            wake.unref(env)
        }
    }
}
