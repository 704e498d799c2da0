//! Leases that keep themselves alive.

use std::sync::Arc;

use libkv::{Answer, Code, Db, Error, Grant, Lease, Result, Revoke};
use napi_derive::napi;

use crate::mailbox::Mail;
use crate::state::{guarded, with_state};

/// Grants a lease through the group queue and keeps it alive from then on; for the promise `id`.
#[napi(catch_unwind)]
pub fn lease(db: u32, id: u32, ttl_seconds: f64, end_with_process: bool) -> napi::Result<()> {
    with_state(|state| match state.db(db) {
        Ok(db) => {
            let (mailbox, keeper) = (state.mailbox.clone(), db.clone());
            let grant = Grant { ttl_seconds: ttl_seconds as i64, id: 0, end_with_process };
            let granted = move |answer| mailbox.post(id, guarded(|| adopted(keeper, answer)).map(Mail::Lease));
            drop(db.submit(grant, granted));
        }
        Err(error) => state.mailbox.post(id, Err::<Mail, _>(error)),
    })
}

fn adopted(db: Db, answer: Result<Answer>) -> Result<Lease> {
    match answer? {
        Answer::LeaseGrant(granted) => Lease::adopt(db, granted.id, granted.ttl_seconds),
        _ => Err(Error::new(Code::Internal, "a grant was answered as something else")),
    }
}

/// What came of a revocation: that somebody else was faster is as good.
pub fn revoked(answer: Result<Answer>) -> Result<()> {
    match answer {
        Err(error) if error.code() != Code::LeaseNotFound => Err(error),
        _ => Ok(()),
    }
}

/// Stops keeping a lease alive and revokes it, for the promise `id`.
#[napi(catch_unwind)]
pub fn lease_close(db: u32, lease: u32, id: u32) -> napi::Result<()> {
    with_state(|state| {
        let mailbox = state.mailbox.clone();
        match guarded(|| Ok((state.db(db)?.clone(), state.lease(lease)?))) {
            Ok((db, lease)) if lease.stop() => {
                let done = move |answer| mailbox.post(id, revoked(answer).map(|()| Mail::Word));
                drop(db.submit(Revoke { id: lease.id() }, done));
            }
            Ok(_) => mailbox.post(id, Ok(Mail::Word)),
            Err(error) => mailbox.post(id, Err::<Mail, _>(error)),
        }
    })
}

/// Whether a lease is known to be gone.
#[napi(catch_unwind)]
pub fn lease_lost(lease: u32) -> napi::Result<bool> {
    with_state(|state| guarded(|| Ok(state.lease(lease)?.lost())).unwrap_or(false))
}

/// Says the word `id` when a lease is lost; at once, if it is.
#[napi(catch_unwind)]
pub fn lease_on_lost(lease: u32, id: u32) -> napi::Result<()> {
    with_state(|state| {
        let mailbox = Arc::clone(&state.mailbox);
        if let Ok(lease) = guarded(|| state.lease(lease)) {
            lease.on_lost(move || mailbox.post(id, Ok(Mail::Word)));
        }
    })
}
