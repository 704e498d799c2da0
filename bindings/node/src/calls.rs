//! The requests of a store that return their response, in the call or on the pool.

use libkv::{Code, Db, Error, LeaseTimeToLive, Request, Response, Result};
use napi::bindgen_prelude::Buffer;
use napi_derive::napi;

use crate::auth;
use crate::job::{JobPromise, on_pool};
use crate::snapshot_file;
use crate::state::{State, guarded, with_state};
use crate::wire::{Call, Writer};

/// Reads the key in the scratch memory at a revision; 0 and below: the current one.
#[napi(catch_unwind)]
pub fn get(db: u32, len: u32, revision: f64) -> napi::Result<f64> {
    with_state(|state| {
        state.response(|state, writer| {
            let kv = state
                .handles
                .get::<Db>(db)?
                .get_at(state.scratch.request(len)?, revision as i64)?;
            writer.found(kv.as_ref());
            Ok(())
        })
    })
}

/// Reads the value of the key in the scratch memory, and writes it over the key if it fits. Returns
/// the value's length, -1 if there is no such key, or -2 minus the length of an error.
#[napi(catch_unwind)]
pub fn get_into(db: u32, len: u32) -> napi::Result<f64> {
    with_state(|state| match guarded(|| value_over_key(state, db, len)) {
        Ok(Some(len)) => len as f64,
        Ok(None) => -1.0,
        Err(error) => -2.0 - state.response(|_, _| Err(error)),
    })
}

fn value_over_key(state: &mut State, db: u32, len: u32) -> Result<Option<usize>> {
    let db = state.handles.get::<Db>(db)?.clone();
    let request = state.scratch.request(len)?;
    let mut key = [0; libkv::KEY_BYTES_MAX];
    match key.get_mut(..request.len()) {
        Some(key) => {
            key.copy_from_slice(request);
            db.get_into(key, state.scratch.memory())
        }
        None => {
            let key = request.to_vec();
            db.get_into(key, state.scratch.memory())
        }
    }
}

/// Takes a response that was longer than the scratch memory.
#[napi(catch_unwind)]
pub fn take() -> napi::Result<Buffer> {
    with_state(|state| std::mem::take(&mut state.large).into())
}

fn perform(db: &Db, call: Call, writer: &mut Writer) -> Result<()> {
    match call {
        Call::Get(revision, key) => writer.found(db.get_at(key, revision)?.as_ref()),
        Call::Request(request) => writer.response(&run(db, request)?),
        Call::History(limit, key) => writer.events(&db.history(key, limit)?, true),
        Call::Status => writer.status(&db.status()?),
        Call::Check => writer.check(&db.check()?),
        Call::Snapshot(revision) => writer.just(db.snapshot_at(revision)?.revision()),
        Call::LeaseKeepAlive(id) => writer.lease_keep_alive(&db.lease_keep_alive(id)?),
        Call::LeaseTimeToLive(id, keys) => {
            writer.lease_time_to_live(&db.lease_time_to_live(LeaseTimeToLive::new(id).keys(keys))?)
        }
        Call::LeaseList => writer.leases(&db.lease_list()?),
        Call::RevisionAt(time) => writer.just(db.revision_at(time)?),
        Call::AlarmList => writer.alarms(&db.alarm_list()?),
        Call::AlarmActivate(kind, member) => writer.alarms(&db.alarm_activate(kind, member)?),
        Call::AlarmDisarm(member, kind) => writer.alarms(&db.alarm_disarm(member, kind)?),
        Call::HashKv(revision) => writer.hash_kv(&db.hash_kv(revision)?),
        Call::MemberList => writer.members(&db.member_list()?),
        Call::MemberAdd(urls, learner) => writer.members(&[db.member_add(urls, learner)?]),
        Call::MemberRemove(id) => writer.nothing_after(db.member_remove(id))?,
        Call::MemberUpdate(id, urls) => writer.nothing_after(db.member_update(id, urls))?,
        Call::MemberPromote(id) => writer.nothing_after(db.member_promote(id))?,
        Call::MoveLeader(id) => writer.nothing_after(db.move_leader(id))?,
        Call::SnapshotSave(path) => writer.just(snapshot_file::save(db, &path)?),
        Call::Auth(request) => auth::run(db, request, writer)?,
    }
    Ok(())
}

fn run(db: &Db, request: Request) -> Result<Response> {
    Ok(match request {
        Request::Range(range) => Response::Range(db.range(range)?),
        Request::Put(put) => Response::Put(db.put(put)?),
        Request::Delete(delete) => Response::Delete(db.delete(delete)?),
        Request::Txn(txn) => Response::Txn(db.txn(txn)?),
        Request::Compact(compact) => Response::Compact(db.compact(compact)?),
        Request::LeaseGrant(grant) => Response::LeaseGrant(db.lease_grant(grant)?),
        Request::LeaseRevoke(revoke) => Response::LeaseRevoke(db.lease_revoke(revoke.id)?),
        Request::Alarm(alarm) => Response::Alarm(db.alarm(alarm)?),
        Request::Auth(auth) => db.engine().call(Request::Auth(auth), None)?,
        _ => {
            return Err(Error::new(
                Code::Internal,
                "the package does not have this request",
            ));
        }
    })
}

/// Any request of a store, in the call.
#[napi(catch_unwind)]
pub fn call(db: u32, len: u32, large: Option<Buffer>) -> napi::Result<f64> {
    with_state(|state| {
        state.response(|state, writer| {
            let call = state.request(len, &large)?.call()?;
            perform(state.handles.get::<Db>(db)?, call, writer)
        })
    })
}

/// Any request of a store, on the pool.
#[napi(catch_unwind)]
pub fn call_later(db: u32, len: u32, large: Option<Buffer>) -> napi::Result<JobPromise> {
    with_state(|state| {
        let arguments = guarded(|| {
            Ok((
                state.handles.get::<Db>(db)?.clone(),
                state.request(len, &large)?.call()?,
            ))
        });
        on_pool(move |writer| {
            let (db, call) = arguments?;
            perform(&db, call, writer)
        })
    })
}
