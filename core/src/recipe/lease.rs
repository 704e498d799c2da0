//! A lease that keeps itself alive.

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

/// A lease that keeps itself alive as long as this handle, and this process, live; made by
/// [`Db::lease`](crate::Db::lease).
///
/// Put keys on it by its [`id`](Lease::id). Closing or dropping the handle revokes it: its keys go.
/// If it expires all the same (the process was stopped for longer than its TTL) or somebody revokes
/// it, it is [`lost`](Lease::lost).
#[must_use = "dropping a lease revokes it"]
pub struct Lease {
    db: Db,
    id: LeaseId,
    ttl_seconds: i64,
    /// None once closed.
    keeping: Mutex<Option<Box<dyn KeepAlive>>>,
    fate: Arc<Mutex<Fate>>,
}

/// What becomes of a lease, and who wants to know.
#[derive(Default)]
struct Fate {
    lost: bool,
    tell: Vec<Box<dyn FnOnce() + Send>>,
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
        let fate = Arc::new(Mutex::new(Fate::default()));
        let told = fate.clone();
        let lost = move || {
            let mut fate = lock(&told);
            fate.lost = true;
            let tell = std::mem::take(&mut fate.tell);
            drop(fate);
            tell.into_iter().for_each(|tell| tell());
        };
        let keeping = db.engine().lease_keep(id, Box::new(lost))?;
        Ok(Lease {
            db,
            id,
            ttl_seconds,
            keeping: Mutex::new(Some(keeping)),
            fate,
        })
    }

    /// Its id, to put keys on it.
    pub fn id(&self) -> LeaseId {
        self.id
    }

    /// The TTL that it was granted.
    pub fn ttl_seconds(&self) -> i64 {
        self.ttl_seconds
    }

    /// Whole seconds that it would live on if its process died now; 0 if it is gone.
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

    /// Whether it is known to be gone, although this handle was not closed. In a store that becomes known as
    /// soon as the lease is revoked or has expired, whichever process did that; on a cluster when the lease is
    /// renewed next, after a third of its TTL at most.
    pub fn lost(&self) -> bool {
        lock(&self.fate).lost
    }

    /// Runs `tell` when the lease is lost, or now if it is; never once the handle is closed. It runs
    /// on a thread of libkv and must not block.
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
    pub fn on_lost(&self, tell: impl FnOnce() + Send + 'static) {
        let mut fate = lock(&self.fate);
        match fate.lost {
            true => {
                drop(fate);
                tell();
            }
            false => fate.tell.push(Box::new(tell)),
        }
    }

    /// Stops keeping it alive and revokes it: its keys go. Closing twice is fine, and so is closing
    /// a lease that is lost.
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
    /// As [`Db::lease_revoke`](crate::Db::lease_revoke), but for `lease_not_found`. The lease then
    /// ends with its TTL.
    pub fn close(&self) -> Result<()> {
        if !self.stop() {
            return Ok(());
        }
        match self.db.lease_revoke(self.id) {
            Err(error) if error.code() != Code::LeaseNotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Stops keeping it alive, for callers that revoke it themselves; false if that was done before.
    pub fn stop(&self) -> bool {
        let stopped = lock(&self.keeping).take().is_some();
        if stopped {
            // dropped outside the lock, as it is somebody else's code
            let forgotten = std::mem::take(&mut lock(&self.fate).tell);
            drop(forgotten);
        }
        stopped
    }

    /// The number of callbacks that wait for its loss.
    #[cfg(test)]
    pub(super) fn callbacks(&self) -> usize {
        lock(&self.fate).tell.len()
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
