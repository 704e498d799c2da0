//! Responses, and signals of watchers and leases, for one thread of JavaScript.
//!
//! The thread that commits a group posts its responses here and wakes the loop after the last. So a
//! group costs one wake-up, not one for each promise. A post while the loop is already woken costs
//! none.

use std::mem;
use std::sync::{Arc, Mutex};

use libkv::{LeaseId, Response, Result};
use napi::Status;
use napi::bindgen_prelude::Env;
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};

use crate::handles::Handle;
use crate::sync::lock;

/// Wakes the loop. Does not keep it alive unless it is held, and passes no error to JavaScript.
pub type Wake = ThreadsafeFunction<(), (), (), Status, false, true>;

/// The result of a promise.
pub enum Mail {
    /// The response to a submitted request.
    Response(Response),
    /// A lease that is kept alive.
    Lease {
        id: LeaseId,
        ttl_seconds: i64,
        object: Arc<dyn Handle>,
    },
    /// True or false.
    Flag(bool),
    /// No value: the event that the promise waits for has happened.
    Signal,
}

impl From<Response> for Mail {
    fn from(response: Response) -> Mail {
        Mail::Response(response)
    }
}

/// The number of a promise, and its result.
pub type Settlement = (u32, Result<Mail>);

#[derive(Default)]
struct Queue {
    settlements: Vec<Settlement>,
    /// The loop is woken, or will be at the end of a group.
    wake_ordered: bool,
}

/// The mailbox of one thread.
pub struct Mailbox {
    queue: Mutex<Queue>,
    wake: Mutex<Wake>,
}

impl Mailbox {
    /// Wakes the loop with this.
    pub fn new(wake: Wake) -> Mailbox {
        Mailbox {
            queue: Mutex::default(),
            wake: Mutex::new(wake),
        }
    }

    /// Posts a result, from any thread. After the JavaScript thread has ended it has no effect.
    pub fn post(self: &Arc<Self>, id: u32, mail: Result<impl Into<Mail>>) {
        let wake_ordered = {
            let mut queue = lock(&self.queue);
            queue.settlements.push((id, mail.map(Into::into)));
            mem::replace(&mut queue.wake_ordered, true)
        };
        if !wake_ordered {
            let mailbox = self.clone();
            libkv::support::after_group(move || mailbox.wake());
        }
    }

    fn wake(&self) {
        let wake = lock(&self.wake);
        wake.call((), ThreadsafeFunctionCallMode::NonBlocking);
    }

    /// Takes all results.
    pub fn take(&self) -> Vec<Settlement> {
        let mut queue = lock(&self.queue);
        queue.wake_ordered = false;
        mem::take(&mut queue.settlements)
    }

    /// Sets whether the process stays alive for promises that are not settled.
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
