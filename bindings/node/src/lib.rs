//! libkv for Node: the native part.
//!
//! Free functions over small numbers: a handle, the length of the request in the scratch memory, and
//! back comes the length of the answer that stands there now. `lib/` makes classes, promises and
//! errors of them; nothing here is public. Each function catches panics twice: in the work itself,
//! where it becomes the error `internal`, and at the border.

// the macros register nothing in a build for tests, of which there are none
#![cfg_attr(test, allow(dead_code))]

mod claim;
mod clock;
mod follow;
mod job;
mod lease;
mod mailbox;
mod numbers;
mod open;
mod request_options;
mod scratch;
mod server;
mod state;
mod transact;
mod walk;
mod wire;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use libkv::{Code, Compact, Db, Error, LeaseGrant, LeaseTimeToLive, Request, Response, Result};
use napi::bindgen_prelude::*;
use napi_derive::napi;

use crate::job::{Later, later};
use crate::mailbox::{Mail, Mailbox};
use crate::scratch::Scratch;
use crate::state::{Handle, State, guarded, with_state};
use crate::wire::{Call, Reader, Writer};

/// The request: in the scratch memory, or in a buffer of its own if it did not fit.
pub(crate) fn request<'s>(
    state: &'s State,
    len: u32,
    large: &'s Option<Buffer>,
) -> Result<Reader<'s>> {
    Ok(Reader::new(match large {
        Some(large) => large,
        None => state.scratch.request(len)?,
    }))
}

/// Connects this thread. `shared` has the scratch memory and the function that settles promises; if
/// the thread is connected already, as when a test runner loads the module again, what it shares is
/// answered instead and `shared` is not kept.
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

/// One key, whose bytes stand in the scratch memory, at a revision; 0 and below: now.
#[napi(catch_unwind)]
pub fn get(db: u32, len: u32, revision: f64) -> napi::Result<f64> {
    with_state(|state| {
        state.response(|state, writer| {
            let kv = state
                .db(db)?
                .get_at(state.scratch.request(len)?, revision as i64)?;
            writer.found(kv.as_ref());
            Ok(())
        })
    })
}

/// The value of the key in the scratch memory, written over it if it fits: its length, -1 if there
/// is no such key, and an error as -2 less its length.
#[napi(catch_unwind)]
pub fn get_into(db: u32, len: u32) -> napi::Result<f64> {
    with_state(|state| match guarded(|| value_over_key(state, db, len)) {
        Ok(Some(len)) => len as f64,
        Ok(None) => -1.0,
        Err(error) => -2.0 - state.response(|_, _| Err(error)),
    })
}

fn value_over_key(state: &mut State, db: u32, len: u32) -> Result<Option<usize>> {
    let db = state.db(db)?.clone();
    let request = state.scratch.request(len)?;
    let mut key = [0; libkv::KEY_BYTES_MAX];
    match key.get_mut(..request.len()) {
        Some(key) => {
            key.copy_from_slice(request);
            db.get_into(key, state.scratch.room())
        }
        None => {
            let key = request.to_vec();
            db.get_into(key, state.scratch.room())
        }
    }
}

/// Fetches an answer that was longer than the scratch memory.
#[napi(catch_unwind)]
pub fn take() -> napi::Result<Buffer> {
    with_state(|state| std::mem::take(&mut state.large).into())
}

fn perform(db: &Db, call: Call, writer: &mut Writer) -> Result<()> {
    match call {
        Call::Get(revision, key) => writer.found(db.get_at(key, revision)?.as_ref()),
        Call::Request(request) => writer.response(&requested(db, request)?),
        Call::History(limit, key) => writer.events(&db.history(key, limit)?, true),
        Call::Status => writer.status(&db.status()?),
        Call::Check => writer.check(&db.check()?),
        Call::Snapshot(revision) => writer.just(db.snapshot_at(revision)?.revision()),
        Call::LeaseKeepAlive(id) => writer.kept_alive(&db.lease_keep_alive(id)?),
        Call::LeaseTimeToLive(id, keys) => {
            writer.time_to_live(&db.lease_time_to_live(LeaseTimeToLive::new(id).keys(keys))?)
        }
        Call::LeaseList => writer.leases(&db.lease_list()?),
        Call::RevisionAt(time) => writer.just(db.revision_at(time)?),
        Call::AlarmList => writer.alarms(&db.alarm_list()?),
        Call::AlarmActivate(kind, member) => writer.alarms(&db.alarm_activate(kind, member)?),
        Call::AlarmDisarm(member, kind) => writer.alarms(&db.alarm_disarm(member, kind)?),
    }
    Ok(())
}

fn requested(db: &Db, request: Request) -> Result<Response> {
    Ok(match request {
        Request::Range(range) => Response::Range(db.range(range)?),
        Request::Put(put) => Response::Put(db.put(put)?),
        Request::Delete(delete) => Response::Delete(db.delete(delete)?),
        Request::Txn(txn) => Response::Txn(db.txn(txn)?),
        Request::Compact(compact) => Response::Compact(
            db.compact(Compact::new(compact.revision).physical(compact.physical))?,
        ),
        Request::LeaseGrant(grant) => {
            Response::LeaseGrant(db.lease_grant(LeaseGrant::new(grant.ttl_seconds).id(grant.id))?)
        }
        Request::LeaseRevoke(revoke) => Response::LeaseRevoke(db.lease_revoke(revoke.id)?),
        Request::Alarm(alarm) => Response::Alarm(db.alarm(alarm)?),
        Request::Side(side) => Response::Side(db.side(side)?),
    })
}

/// Any call, answered before this returns.
#[napi(catch_unwind)]
pub fn call(db: u32, len: u32, large: Option<Buffer>) -> napi::Result<f64> {
    with_state(|state| {
        state.response(|state, writer| {
            let call = request(state, len, &large)?.call()?;
            perform(state.db(db)?, call, writer)
        })
    })
}

/// Any call, on the pool.
#[napi(catch_unwind)]
pub fn call_later(db: u32, len: u32, large: Option<Buffer>) -> napi::Result<Later> {
    with_state(|state| {
        let asked = guarded(|| Ok((state.db(db)?.clone(), request(state, len, &large)?.call()?)));
        later(move |writer| {
            let (db, call) = asked?;
            perform(&db, call, writer)
        })
    })
}

/// A write on its way to the queue.
struct Write {
    id: u32,
    withdrawable: bool,
    db: u32,
    request: Request,
}

/// The writes in the outbox, in their order, through the group queue: of each the number of its
/// promise, its length, its store, whether it can be taken back, and itself. Those of one store are
/// queued at one moment, so that they share a commit.
#[napi(catch_unwind)]
pub fn submit_all(len: u32) -> napi::Result<()> {
    with_state(|state| {
        let mut writes = outbox(state, len).into_iter().peekable();
        while let Some(first) = writes.next() {
            let db = first.db;
            let mut together = vec![first];
            together.extend(std::iter::from_fn(|| writes.next_if(|next| next.db == db)));
            submit_together(state, together);
        }
    })
}

fn outbox(state: &State, len: u32) -> Vec<Write> {
    let mut writes = Vec::new();
    let read = guarded(|| {
        let mut outbox = Reader::new(state.outbox.request(len)?);
        while let Some((id, db, withdrawable, mut write)) = outbox.addressed()? {
            match write_request(&mut write) {
                Ok(request) => writes.push(Write {
                    id,
                    withdrawable,
                    db,
                    request,
                }),
                Err(error) => state.mailbox.post(id, Err::<Response, _>(error)),
            }
        }
        Ok(())
    });
    debug_assert!(read.is_ok(), "lib/wire.js wrote the outbox");
    writes
}

/// A write that is too large for the outbox.
#[napi(catch_unwind)]
pub fn submit(db: u32, id: u32, withdrawable: bool, write: Buffer) -> napi::Result<()> {
    with_state(|state| match write_request(&mut Reader::new(&write)) {
        Ok(request) => submit_together(
            state,
            vec![Write {
                id,
                withdrawable,
                db,
                request,
            }],
        ),
        Err(error) => state.mailbox.post(id, Err::<Response, _>(error)),
    })
}

fn write_request(write: &mut Reader) -> Result<Request> {
    guarded(|| match write.call()? {
        Call::Request(request) => Ok(request),
        _ => Err(Error::new(
            Code::Internal,
            "what was submitted is no request",
        )),
    })
}

/// Submits writes to the store of the first, which is that of all.
fn submit_together(state: &mut State, writes: Vec<Write>) {
    let promises: Vec<_> = writes
        .iter()
        .map(|write| (write.id, write.withdrawable))
        .collect();
    let db = writes.first().map_or(u32::MAX, |first| first.db);
    let db = state.db(db).cloned();
    submit_to(
        state,
        db,
        promises,
        writes.into_iter().map(|write| write.request).collect(),
    );
}

/// Submits requests for these promises; `true` with a promise says that it can be taken back.
pub(crate) fn submit_to(
    state: &mut State,
    db: Result<Db>,
    promises: Vec<(u32, bool)>,
    requests: Vec<Request>,
) {
    let submitted = db.and_then(|db| {
        let completion = |id| -> libkv::Completion {
            let mailbox = state.mailbox.clone();
            Box::new(move |response| mailbox.post(id, response))
        };
        let requests = requests.into_iter().zip(&promises);
        let requests = requests
            .map(|(request, &(id, _))| (request, completion(id)))
            .collect();
        guarded(|| Ok(db.submit_all(requests)))
    });
    match submitted {
        Ok(submitted) => {
            let withdrawals = promises
                .into_iter()
                .zip(submitted)
                .filter(|((_, withdrawable), _)| *withdrawable);
            state
                .withdrawals
                .extend(withdrawals.map(|((id, _), submitted)| (id, submitted)));
        }
        Err(error) => promises
            .iter()
            .for_each(|&(id, _)| state.mailbox.post(id, Err::<Response, _>(error.clone()))),
    }
}

/// Takes a write back; whether it was in time. If so its promise is never settled from here.
#[napi(catch_unwind)]
pub fn withdraw(id: u32) -> napi::Result<bool> {
    with_state(|state| {
        state
            .withdrawals
            .remove(&id)
            .is_some_and(|submitted| submitted.cancel())
    })
}

/// The answers that have arrived: for each the number of its promise, its length, and itself.
#[napi(catch_unwind)]
pub fn drain() -> napi::Result<f64> {
    with_state(|state| {
        state.response(|state, writer| {
            for (id, mail) in state.mailbox.take() {
                state.withdrawals.remove(&id);
                writer.addressed(id, |writer| {
                    match mail? {
                        Mail::Response(response) => writer.response(&response),
                        Mail::Flag(yes) => writer.just(yes.into()),
                        Mail::Word => writer.nothing(),
                        Mail::Lease(kept) => {
                            let (id, ttl_seconds) = (kept.lease.id(), kept.lease.ttl_seconds());
                            writer.lease(state.add(Handle::Lease(Arc::new(kept))), id, ttl_seconds);
                        }
                    }
                    Ok(())
                });
            }
            Ok(())
        })
    })
}

/// Whether promises wait for the mailbox, and so the process must stay.
#[napi(catch_unwind)]
pub fn hold(env: Env, hold: bool) -> napi::Result<()> {
    with_state(|state| {
        state.held = hold;
        state.mailbox.hold(&env, hold)
    })?
}

/// Closes a store before it returns; its number stays, and answers `closed`.
#[napi(catch_unwind)]
pub fn close(db: u32) -> napi::Result<f64> {
    with_state(|state| {
        state.response(|state, writer| {
            state.db(db)?.close();
            writer.nothing();
            Ok(())
        })
    })
}

/// Closes a store on the pool: the last handle waits for what is under way.
#[napi(catch_unwind)]
pub fn close_later(db: u32) -> napi::Result<Later> {
    with_state(|state| {
        let db = guarded(|| Ok(state.db(db)?.clone()));
        later(move |writer| {
            db?.close();
            writer.nothing();
            Ok(())
        })
    })
}

/// Gives a number back. A store or a server goes on the pool: closing may wait.
#[napi(catch_unwind)]
pub fn release(handle: u32) -> napi::Result<Option<Later>> {
    let handle = with_state(|state| state.remove(handle))?;
    Ok(handle
        .filter(|handle| matches!(handle, Handle::Db(_) | Handle::Server(_)))
        .map(|waits| {
            later(move |writer| {
                drop(waits);
                writer.nothing();
                Ok(())
            })
        }))
}

/// A panic while it was held has been answered as `internal`; what it left is still sound to use.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
