//! A lease that is renewed automatically.

use std::fmt;
use std::sync::{Arc, Mutex};

use crate::db::Db;
use crate::engine::KeepAlive;
use crate::error::{Code, Error, Result};
use crate::model::LeaseId;
use crate::mutex::lock;
use crate::request::{LeaseGrant, LeaseRevoke};

impl Db {
    /// Grants a lease of `ttl_seconds` that is renewed automatically, and revoked when its handle
    /// is closed or dropped. With `end_with_process` it also ends within 500 ms after this process
    /// ends; otherwise it then ends with its TTL.
    ///
    /// ```
    /// use libkv::{Db, LeaseGrant, Options, Put};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// let lease = db.lease(LeaseGrant::new(10).end_with_process(true))?;
    /// db.put(Put::new("worker/1", "ready").lease(lease.id()))?;
    /// drop(lease); // the key is deleted soon after
    /// # Ok::<(), libkv::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Same as [`Db::lease_grant`].
    pub fn lease(&self, grant: impl Into<LeaseGrant>) -> Result<Lease> {
        Lease::new(self, grant.into())
    }
}

/// A lease that is renewed automatically while this handle exists; made by
/// [`Db::lease`](crate::Db::lease).
///
/// Attach keys to it with its [`id`](Lease::id). Closing or dropping the handle revokes the lease,
/// which deletes its keys. If the lease expires before (the process was stopped for longer than the
/// TTL) or is revoked by another caller, it is [`lost`](Lease::lost).
#[must_use = "dropping a lease revokes it"]
pub struct Lease {
    db: Db,
    id: LeaseId,
    ttl_seconds: i64,
    /// `None` once closed.
    keep_alive: Mutex<Option<Box<dyn KeepAlive>>>,
    state: Arc<Mutex<LeaseState>>,
}

/// Whether the lease is lost, and the callbacks to run when it is.
#[derive(Default)]
struct LeaseState {
    lost: bool,
    callbacks: Vec<Box<dyn FnOnce() + Send>>,
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lease({}, ttl {} s)", self.id, self.ttl_seconds)
    }
}

impl Lease {
    pub(crate) fn new(db: &Db, grant: LeaseGrant) -> Result<Lease> {
        let granted = db.lease_grant(grant)?;
        Lease::adopt(db.clone(), granted.id, granted.ttl_seconds)
    }

    /// Takes a lease over that was granted just now, for callers that did not wait for the grant:
    /// from here on it keeps itself alive.
    ///
    /// # Errors
    ///
    /// `closed`, `unsupported`; the lease is then left to its TTL.
    pub fn adopt(db: Db, id: LeaseId, ttl_seconds: i64) -> Result<Lease> {
        let state = Arc::new(Mutex::new(LeaseState::default()));
        let shared_state = state.clone();
        let lost = move || {
            let mut state = lock(&shared_state);
            state.lost = true;
            let callbacks = std::mem::take(&mut state.callbacks);
            drop(state);
            callbacks.into_iter().for_each(|callback| callback());
        };
        let keep_alive = db.engine().lease_keep(id, Box::new(lost))?;
        Ok(Lease {
            db,
            id,
            ttl_seconds,
            keep_alive: Mutex::new(Some(keep_alive)),
            state,
        })
    }

    /// The id of the lease, to attach keys to it.
    pub fn id(&self) -> LeaseId {
        self.id
    }

    /// The granted TTL.
    pub fn ttl_seconds(&self) -> i64 {
        self.ttl_seconds
    }

    /// The remaining time in whole seconds, if it is not renewed again; 0 if the lease has ended.
    ///
    /// ```
    /// use libkv::{Db, Options};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// let lease = db.lease(10)?;
    /// assert!(lease.remaining()? >= 9);
    /// # Ok::<(), libkv::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Only those that every call may return.
    pub fn remaining(&self) -> Result<i64> {
        Ok(self.db.lease_time_to_live(self.id)?.ttl_seconds.max(0))
    }

    /// Whether the lease is known to have ended although this handle was not closed. In a store
    /// this is known as soon as any process has revoked the lease or it has expired. On a cluster
    /// it is known at the next renewal, after at most a third of the TTL.
    pub fn lost(&self) -> bool {
        lock(&self.state).lost
    }

    /// Runs `callback` when the lease is lost, or at once if it is lost already. After the handle
    /// was closed it never runs. It runs on a thread of libkv and must not block.
    ///
    /// ```
    /// use std::sync::mpsc;
    /// use libkv::{Db, Options};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// let lease = db.lease(10)?;
    /// let (sender, receiver) = mpsc::channel();
    /// lease.on_lost(move || sender.send(()).unwrap());
    /// db.lease_revoke(lease.id())?;
    /// receiver.recv().unwrap();
    /// assert!(lease.lost());
    /// # Ok::<(), libkv::Error>(())
    /// ```
    pub fn on_lost(&self, callback: impl FnOnce() + Send + 'static) {
        let mut state = lock(&self.state);
        match state.lost {
            true => {
                drop(state);
                callback();
            }
            false => state.callbacks.push(Box::new(callback)),
        }
    }

    /// Stops the renewal and revokes the lease, which deletes its keys. Closing it again, or
    /// closing a lost lease, has no effect.
    ///
    /// ```
    /// use libkv::{Db, Options, Put};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// let lease = db.lease(10)?;
    /// db.put(Put::new("session/1", "x").lease(lease.id()))?;
    /// lease.close()?;
    /// assert!(db.get("session/1")?.is_none());
    /// # Ok::<(), libkv::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Same as [`Db::lease_revoke`](crate::Db::lease_revoke), except `lease_not_found`. The lease
    /// then ends with its TTL.
    pub fn close(&self) -> Result<()> {
        if !self.stop() {
            return Ok(());
        }
        match self.db.lease_revoke(self.id) {
            Err(error) if error.code() != Code::LeaseNotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Stops the renewal, for callers that revoke the lease themselves. False if it was stopped
    /// before.
    pub fn stop(&self) -> bool {
        let stopped = lock(&self.keep_alive).take().is_some();
        if stopped {
            // the caller's code: dropped after the lock
            let callbacks = std::mem::take(&mut lock(&self.state).callbacks);
            drop(callbacks);
        }
        stopped
    }

    /// The number of callbacks that wait for its loss.
    #[cfg(test)]
    pub(super) fn callbacks(&self) -> usize {
        lock(&self.state).callbacks.len()
    }
}

pub(crate) fn lost(id: LeaseId) -> Error {
    Error::new(
        Code::LeaseLost,
        "the lease was lost: it expired, or was revoked",
    )
    .with_detail(format_args!("lease {id}"))
    .with_lease(id)
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.stop() && self.db.engine().ensure_open().is_ok() {
            // a drop does not wait; what cannot be revoked ends with its TTL
            self.db.submit(LeaseRevoke { id: self.id }, |_| {});
        }
    }
}
