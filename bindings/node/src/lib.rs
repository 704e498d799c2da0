//! libkv for Node: the native part.
//!
//! The functions take small numbers: an object's number, the length of the request in the scratch
//! memory. They return the length of the response that is there now. `lib/` makes classes, promises
//! and errors of them; nothing here is public. Panics are caught twice: in the work itself, where
//! they become the error `internal`, and at the border.
//!
//! | file | has |
//! |---|---|
//! | `state` | the state of a thread: `scratch` memory, `handles` (objects by number), `mailbox` |
//! | `wire` | requests and responses as bytes, as in `lib/wire.js` |
//! | `job` | work on Node's pool of threads |
//! | `submit` | writes through the group queue, and their responses |
//! | `calls` | the other requests of a store, in the call or on the pool |
//! | `auth` | users, roles and permissions |
//! | `store`, `pages`, `watch`, `transact`, `lease`, `claim`, `clock`, `server` | an object each |
//! | `snapshot_file` | snapshots of etcd |
#![allow(
    clippy::missing_errors_doc,
    reason = "lib/ calls these functions; index.d.ts documents the errors"
)]
// in a build for tests the macros register nothing, so that these functions have no callers
#![cfg_attr(test, allow(dead_code))]

mod auth;
mod calls;
mod claim;
mod clock;
mod handles;
mod job;
mod lease;
mod mailbox;
mod numbers;
mod pages;
mod request_options;
mod scratch;
mod server;
mod snapshot_file;
mod state;
mod store;
mod submit;
mod sync;
mod transact;
mod watch;
mod wire;

use std::sync::Arc;

use napi::bindgen_prelude::*;
use napi_derive::napi;

use crate::job::{JobPromise, on_pool};
use crate::mailbox::Mailbox;
use crate::scratch::Scratch;
use crate::state::{State, with_state};

/// Connects this thread. `shared` has the scratch memory and the function that settles promises. If
/// the thread is connected already, because a test runner loads the module again, this returns the
/// object that it shares and does not keep `shared`.
#[napi(catch_unwind)]
pub fn attach(env: Env, shared: Object<'_>) -> napi::Result<Object<'_>> {
    if state::is_set() {
        return with_state(|state| state.shared.get_value(&env))?
            .map(|shared| Object::from_raw(env.raw(), shared.raw()));
    }
    let scratch = Scratch::new(shared.get_named_property("scratch")?);
    let outbox = Scratch::new(shared.get_named_property("outbox")?);
    let settle: Function<'_, (), ()> = shared.get_named_property("settle")?;
    let wake = settle
        .build_threadsafe_function::<()>()
        .weak::<true>()
        .build()?;
    let mailbox = Arc::new(Mailbox::new(wake));
    state::set(State::new(scratch, outbox, mailbox, shared.create_ref()?));
    let _ = env.add_env_cleanup_hook((), |()| state::end())?;
    Ok(shared)
}

/// Sets whether promises wait for the mailbox, for which the process stays alive.
#[napi(catch_unwind)]
pub fn hold(env: Env, hold: bool) -> napi::Result<()> {
    with_state(|state| {
        state.held = hold;
        state.mailbox.hold(&env, hold)
    })?
}

/// Frees a number. An object whose end may wait is dropped on the pool.
#[napi(catch_unwind)]
pub fn release(number: u32) -> napi::Result<Option<JobPromise>> {
    let object = with_state(|state| state.handles.remove(number))?;
    Ok(object
        .filter(|object| object.drop_may_wait())
        .map(|object| {
            on_pool(move |writer| {
                drop(object);
                writer.nothing();
                Ok(())
            })
        }))
}
