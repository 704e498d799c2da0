//! Leases that are kept alive.

use std::sync::Arc;

use libkv::{Code, Db, Error, Lease, LeaseGrant, LeaseRevoke, Response, Result};
use napi_derive::napi;

use crate::handles::{Handle, downcast};
use crate::mailbox::Mail;
use crate::state::{guarded, with_state};

/// Grants a lease through the group queue and keeps it alive from then on. The promise `id` gets
/// it.
#[napi(catch_unwind)]
pub fn lease(db: u32, id: u32, ttl_seconds: f64, end_with_process: bool) -> napi::Result<()> {
    with_state(|state| match state.handles.get::<Db>(db) {
        Ok(db) => {
            let (mailbox, keeper) = (state.mailbox.clone(), db.clone());
            let grant = LeaseGrant::new(ttl_seconds as i64).end_with_process(end_with_process);
            let granted = move |response| {
                mailbox.post(
                    id,
                    guarded(|| adopt(keeper, response)).map(KeptLease::into_mail),
                )
            };
            drop(db.submit(grant, granted));
        }
        Err(error) => state.mailbox.post(id, Err::<Mail, _>(error)),
    })
}

/// A lease that is kept alive, and its store.
pub struct KeptLease {
    db: Db,
    pub lease: Lease,
}

impl Handle for KeptLease {
    fn name() -> &'static str {
        "lease"
    }

    fn has_clients(&self) -> bool {
        true
    }
}

impl KeptLease {
    fn into_mail(self) -> Mail {
        Mail::Lease {
            id: self.lease.id(),
            ttl_seconds: self.lease.ttl_seconds(),
            object: Arc::new(self),
        }
    }

    /// Stops keeping it alive and revokes it; `done` gets the result.
    fn end(&self, done: impl FnOnce(Result<()>) + Send + 'static) {
        match self.lease.stop() {
            true => drop(
                self.db
                    .submit(LeaseRevoke::new(self.lease.id()), move |response| {
                        done(revocation(response))
                    }),
            ),
            false => done(Ok(())),
        }
    }
}

fn adopt(db: Db, response: Result<Response>) -> Result<KeptLease> {
    match response? {
        Response::LeaseGrant(granted) => Ok(KeptLease {
            lease: Lease::adopt(db.clone(), granted.id, granted.ttl_seconds)?,
            db,
        }),
        _ => Err(Error::new(
            Code::Internal,
            "a grant returned another kind of response",
        )),
    }
}

/// The result of a revocation. It is a success if the lease does not exist any more.
pub fn revocation(response: Result<Response>) -> Result<()> {
    match response {
        Err(error) if error.code() != Code::LeaseNotFound => Err(error),
        _ => Ok(()),
    }
}

/// Stops keeping a lease alive and revokes it. Resolves the promise `id`.
#[napi(catch_unwind)]
pub fn lease_close(lease: u32, id: u32) -> napi::Result<()> {
    with_state(|state| {
        let mailbox = state.mailbox.clone();
        match state.handles.share::<KeptLease>(lease) {
            Ok(kept) => kept.end(move |done| mailbox.post(id, done.map(|()| Mail::Signal))),
            Err(error) => mailbox.post(id, Err::<Mail, _>(error)),
        }
    })
}

/// As [`lease_close`], without a promise; frees the number too. Returns whether the lease was lost,
/// in which case a promise of [`lease_on_lost`] is still resolved.
#[napi(catch_unwind)]
pub fn lease_drop(lease: u32) -> napi::Result<bool> {
    with_state(
        |state| match state.handles.remove(lease).and_then(downcast::<KeptLease>) {
            Some(kept) => {
                kept.end(|_| {});
                kept.lease.lost()
            }
            None => false,
        },
    )
}

/// Whether a lease is known to be lost.
#[napi(catch_unwind)]
pub fn lease_lost(lease: u32) -> napi::Result<bool> {
    with_state(|state| {
        guarded(|| Ok(state.handles.share::<KeptLease>(lease)?.lease.lost())).unwrap_or(false)
    })
}

/// Resolves the promise `id` when a lease is lost; at once if it is.
#[napi(catch_unwind)]
pub fn lease_on_lost(lease: u32, id: u32) -> napi::Result<()> {
    with_state(|state| {
        let mailbox = Arc::clone(&state.mailbox);
        if let Ok(kept) = state.handles.share::<KeptLease>(lease) {
            kept.lease
                .on_lost(move || mailbox.post(id, Ok(Mail::Signal)));
        }
    })
}
