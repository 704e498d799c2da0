//! Leases that keep themselves alive.

use std::sync::Arc;

use libkv::{Code, Db, Error, Lease, LeaseGrant, LeaseRevoke, Response, Result};
use napi_derive::napi;

use crate::handles::{Handle, downcast};
use crate::mailbox::Mail;
use crate::state::{guarded, with_state};

/// Grants a lease through the group queue and keeps it alive from then on; for the promise `id`.
#[napi(catch_unwind)]
pub fn lease(db: u32, id: u32, ttl_seconds: f64, end_with_process: bool) -> napi::Result<()> {
    with_state(|state| match state.handles.get::<Db>(db) {
        Ok(db) => {
            let (mailbox, keeper) = (state.mailbox.clone(), db.clone());
            let grant = LeaseGrant {
                ttl_seconds: ttl_seconds as i64,
                id: 0,
                end_with_process,
            };
            let granted = move |response| {
                mailbox.post(
                    id,
                    guarded(|| adopted(keeper, response)).map(KeptLease::into_mail),
                )
            };
            drop(db.submit(grant, granted));
        }
        Err(error) => state.mailbox.post(id, Err::<Mail, _>(error)),
    })
}

/// A lease and its store.
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

    /// Stops keeping it alive and revokes it; `done` is told.
    fn end(&self, done: impl FnOnce(Result<()>) + Send + 'static) {
        match self.lease.stop() {
            true => drop(self.db.submit(
                LeaseRevoke {
                    id: self.lease.id(),
                },
                move |response| done(revoked(response)),
            )),
            false => done(Ok(())),
        }
    }
}

fn adopted(db: Db, response: Result<Response>) -> Result<KeptLease> {
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

/// What came of a revocation: that somebody else was faster is as good.
pub fn revoked(response: Result<Response>) -> Result<()> {
    match response {
        Err(error) if error.code() != Code::LeaseNotFound => Err(error),
        _ => Ok(()),
    }
}

/// Stops keeping a lease alive and revokes it, for the promise `id`.
#[napi(catch_unwind)]
pub fn lease_close(lease: u32, id: u32) -> napi::Result<()> {
    with_state(|state| {
        let mailbox = state.mailbox.clone();
        match state.handles.share::<KeptLease>(lease) {
            Ok(kept) => kept.end(move |done| mailbox.post(id, done.map(|()| Mail::Word))),
            Err(error) => mailbox.post(id, Err::<Mail, _>(error)),
        }
    })
}

/// As [`lease_close`], for nobody; gives its number back too. Whether it was lost, and so a word that
/// was asked for comes all the same.
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

/// Whether a lease is known to be gone.
#[napi(catch_unwind)]
pub fn lease_lost(lease: u32) -> napi::Result<bool> {
    with_state(|state| {
        guarded(|| Ok(state.handles.share::<KeptLease>(lease)?.lease.lost())).unwrap_or(false)
    })
}

/// Says the word `id` when a lease is lost; at once, if it is.
#[napi(catch_unwind)]
pub fn lease_on_lost(lease: u32, id: u32) -> napi::Result<()> {
    with_state(|state| {
        let mailbox = Arc::clone(&state.mailbox);
        if let Ok(kept) = state.handles.share::<KeptLease>(lease) {
            kept.lease.on_lost(move || mailbox.post(id, Ok(Mail::Word)));
        }
    })
}
