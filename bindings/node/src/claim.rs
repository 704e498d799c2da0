//! Locks and elections: the driver of claims in core, with a promise for the result of each wait.
//!
//! A thousand claims that wait need no thread. The driver is never called under the lock of a
//! [`ClaimHandle`]: it may complete before it returns.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use libkv::support::{Claim, ClaimDriver, Claimant};
use libkv::{Code, Db, Error, LeaseRevoke, Response, Result, WaitLimit};
use napi::bindgen_prelude::Buffer;
use napi_derive::napi;

use crate::handles::Handle;
use crate::job::{JobPromise, handle_on_pool, on_pool};
use crate::lease::revocation;
use crate::mailbox::{Mail, Mailbox};
use crate::state::{State, guarded, with_state};
use crate::sync::lock;
use crate::watch::Subscription;

/// A lock or an election.
pub struct ClaimHandle {
    db: Db,
    name: Vec<u8>,
    ttl_seconds: i64,
    state: Mutex<ClaimState>,
}

impl Handle for ClaimHandle {
    fn name() -> &'static str {
        "lock"
    }

    fn has_clients(&self) -> bool {
        true
    }
}

struct ClaimState {
    claimant: Claimant,
    wait: Option<Wait>,
}

/// A wait for the name.
struct Wait {
    promise: Promise,
    /// `None` while it starts.
    driver: Option<Arc<ClaimDriver>>,
    /// Set by a release or an abort: if the name is acquired after that, it is released.
    is_cancelled: bool,
    /// The promises of releases, which are settled after the wait has ended.
    releases: Vec<Promise>,
}

/// A promise of JavaScript.
struct Promise {
    mailbox: Arc<Mailbox>,
    id: u32,
}

impl Promise {
    fn settle(self, result: Result<bool>) {
        self.mailbox.post(self.id, result.map(Mail::Flag));
    }
}

impl ClaimHandle {
    /// Claims the name and waits for it. The promise is true if it is held then, and false if it was
    /// to be taken only if it is free, and is not.
    fn acquire(
        self: &Arc<Self>,
        promise: Promise,
        value: Vec<u8>,
        wait_limit: WaitLimit,
        only_if_free: bool,
    ) {
        let id = promise.id;
        let request = {
            let mut state = lock(&self.state);
            if state.wait.is_some() {
                let message = "the lock or election is waited for already: one waits at a time";
                return promise.settle(Err(Error::new(Code::InvalidArgument, message)));
            }
            if state.claimant.is_held() {
                return promise.settle(Ok(true));
            }
            state.wait = Some(Wait {
                promise,
                driver: None,
                is_cancelled: false,
                releases: Vec::new(),
            });
            let request = state.claimant.request(value, wait_limit);
            match only_if_free {
                true => request.only_if_free(),
                false => request,
            }
        };
        // the handle ends the driver, so the driver does not keep the handle
        let this = Arc::downgrade(self);
        let driver = ClaimDriver::start(request, move |claim| {
            if let Some(this) = this.upgrade() {
                this.finish(claim);
            }
        });
        let driver = Arc::new(driver);
        if let Some(wait) = &mut lock(&self.state).wait
            && wait.promise.id == id
        {
            wait.driver = Some(driver.clone());
        }
    }

    /// The end of a wait.
    fn finish(&self, result: Result<Option<Claim>>) {
        let mut state = lock(&self.state);
        let Some(wait) = state.wait.take() else {
            return;
        };
        let (result, unwanted) = match result {
            Ok(Some(claim)) if wait.is_cancelled => (Err(cancelled()), Some(claim)),
            Ok(Some(claim)) => {
                state.claimant.hold(claim);
                (Ok(true), None)
            }
            result => (result.map(|_| false), None),
        };
        drop(state);
        wait.promise.settle(result);
        // without a release a drop gives the claim up
        let releases = wait.releases;
        let revoke = unwanted
            .filter(|_| !releases.is_empty())
            .and_then(Claim::leave);
        for promise in releases {
            self.revoke(revoke, promise);
        }
    }

    /// Gives the name up, or ends the wait for it, which then gets `cancelled`.
    fn release(&self, promise: Promise) {
        let mut state = lock(&self.state);
        if let Some(wait) = &mut state.wait {
            wait.is_cancelled = true;
            wait.releases.push(promise);
            let driver = wait.driver.clone();
            drop(state);
            return cancel(driver);
        }
        let revoke = state.claimant.leave();
        drop(state);
        self.revoke(revoke, promise);
    }

    fn revoke(&self, revoke: Option<LeaseRevoke>, promise: Promise) {
        match revoke {
            Some(revoke) => drop(self.db.submit(revoke, move |response| {
                promise.settle(revocation(response).map(|()| false));
            })),
            None if self.db.is_closed() => {
                let error = Error::new(Code::Closed, "the store's handle is closed");
                promise.settle(Err(error));
            }
            None => promise.settle(Ok(false)),
        }
    }

    /// The driver of the wait whose promise this is.
    fn driver(&self, id: u32, is_cancelled: bool) -> Option<Arc<ClaimDriver>> {
        let mut state = lock(&self.state);
        let wait = state.wait.as_mut().filter(|wait| wait.promise.id == id)?;
        wait.is_cancelled |= is_cancelled;
        wait.driver.clone()
    }

    fn proclaim(&self, value: Vec<u8>, promise: Promise) -> Result<()> {
        let (txn, lost) = {
            let state = lock(&self.state);
            (state.claimant.proclamation(value)?, state.claimant.lost())
        };
        drop(self.db.submit(txn, move |response| {
            promise.settle(response.and_then(|response| match response {
                Response::Txn(txn) if txn.succeeded => Ok(true),
                _ => Err(lost),
            }))
        }));
        Ok(())
    }

    fn observe(&self) -> Result<Subscription> {
        let election = self.db.election(self.name.as_slice(), self.ttl_seconds)?;
        Ok(Subscription::leaders(election.observe()?))
    }
}

fn cancel(driver: Option<Arc<ClaimDriver>>) {
    if let Some(driver) = driver {
        driver.cancel();
    }
}

fn cancelled() -> Error {
    Error::new(Code::Cancelled, "the wait for the name was cancelled")
}

/// Creates a lock or an election by the name in the scratch memory; no request is made.
#[napi(catch_unwind)]
pub fn claim(db: u32, ttl_seconds: f64, len: u32, large: Option<Buffer>) -> napi::Result<f64> {
    with_state(|state| {
        state.response(|state, writer| {
            let name = state.request(len, &large)?.bytes()?;
            let (db, ttl_seconds) = (state.handles.get::<Db>(db)?.clone(), ttl_seconds as i64);
            let claimant = Claimant::new(&db, name.as_slice(), ttl_seconds)?;
            let handle = ClaimHandle {
                db,
                name,
                ttl_seconds,
                state: Mutex::new(ClaimState {
                    claimant,
                    wait: None,
                }),
            };
            writer.just(state.handles.add(handle).into());
            Ok(())
        })
    })
}

/// Does `work` for the promise `id`, which is rejected with the error if there is one.
fn for_promise(
    claim: u32,
    id: u32,
    work: impl FnOnce(&State, Arc<ClaimHandle>, Promise) -> Result<()>,
) -> napi::Result<()> {
    with_state(|state| {
        let mailbox = state.mailbox.clone();
        let promise = Promise {
            mailbox: mailbox.clone(),
            id,
        };
        let handle = || state.handles.share::<ClaimHandle>(claim);
        if let Err(error) = guarded(|| work(state, handle()?, promise)) {
            mailbox.post(id, Err::<Mail, _>(error));
        }
    })
}

/// Below 0: no limit.
fn wait_limit(timeout_ms: f64) -> WaitLimit {
    WaitLimit::new((timeout_ms >= 0.0).then(|| Duration::from_millis(timeout_ms as u64)))
}

/// Acquires a lock, for the promise `id`.
#[napi(catch_unwind)]
pub fn claim_acquire(claim: u32, id: u32, timeout_ms: f64, only_if_free: bool) -> napi::Result<()> {
    for_promise(claim, id, |_, handle, promise| {
        handle.acquire(promise, Vec::new(), wait_limit(timeout_ms), only_if_free);
        Ok(())
    })
}

/// Campaigns with the value in the scratch memory, for the promise `id`.
#[napi(catch_unwind)]
pub fn claim_campaign(
    claim: u32,
    id: u32,
    timeout_ms: f64,
    len: u32,
    large: Option<Buffer>,
) -> napi::Result<()> {
    for_promise(claim, id, |state, handle, promise| {
        let value = state.request(len, &large)?.bytes()?;
        handle.acquire(promise, value, wait_limit(timeout_ms), false);
        Ok(())
    })
}

/// Ends the wait of the promise `id` with `timeout`, unless it gets the name without waiting.
#[napi(catch_unwind)]
pub fn claim_time_out(claim: u32, id: u32) -> napi::Result<()> {
    end_wait(claim, id, false)
}

/// Ends the wait of the promise `id` with `cancelled`.
#[napi(catch_unwind)]
pub fn claim_cancel(claim: u32, id: u32) -> napi::Result<()> {
    end_wait(claim, id, true)
}

fn end_wait(claim: u32, id: u32, is_cancelled: bool) -> napi::Result<()> {
    let driver = with_state(|state| {
        let handle = state.handles.share::<ClaimHandle>(claim).ok()?;
        handle.driver(id, is_cancelled)
    })?;
    match driver {
        Some(driver) if is_cancelled => driver.cancel(),
        Some(driver) => driver.time_out(),
        None => {}
    }
    Ok(())
}

/// Gives the name up, or ends the wait for it; for the promise `id`.
#[napi(catch_unwind)]
pub fn claim_release(claim: u32, id: u32) -> napi::Result<()> {
    for_promise(claim, id, |_, handle, promise| {
        handle.release(promise);
        Ok(())
    })
}

/// Proclaims the value in the scratch memory, for the promise `id`.
#[napi(catch_unwind)]
pub fn claim_proclaim(claim: u32, id: u32, len: u32, large: Option<Buffer>) -> napi::Result<()> {
    for_promise(claim, id, |state, handle, promise| {
        handle.proclaim(state.request(len, &large)?.bytes()?, promise)
    })
}

/// Whether the name is held, its key and its revision.
#[napi(catch_unwind)]
pub fn claim_state(claim: u32) -> napi::Result<f64> {
    with_state(|state| {
        state.response(|state, writer| {
            let handle = state.handles.share::<ClaimHandle>(claim)?;
            let claimant = &lock(&handle.state).claimant;
            writer.claim(claimant.is_held(), claimant.key(), claimant.revision());
            Ok(())
        })
    })
}

/// Reads the holder's pair on the pool.
#[napi(catch_unwind)]
pub fn claim_leader_later(claim: u32) -> napi::Result<JobPromise> {
    with_state(|state| {
        let handle = guarded(|| state.handles.share::<ClaimHandle>(claim));
        on_pool(move |writer| {
            let handle = handle?;
            let request = lock(&handle.state).claimant.holder_request();
            writer.found(handle.db.range(request)?.kvs.first());
            Ok(())
        })
    })
}

/// Follows an election; the response is the number of the subscription.
#[napi(catch_unwind)]
pub fn claim_observe(claim: u32) -> napi::Result<f64> {
    with_state(|state| {
        state.response(|state, writer| {
            let leaders = state.handles.share::<ClaimHandle>(claim)?.observe()?;
            writer.just(state.handles.add(leaders).into());
            Ok(())
        })
    })
}

/// The same, on the pool.
#[napi(catch_unwind)]
pub fn claim_observe_later(claim: u32) -> napi::Result<JobPromise> {
    with_state(|state| {
        let handle = guarded(|| state.handles.share::<ClaimHandle>(claim));
        handle_on_pool(move || handle?.observe())
    })
}
