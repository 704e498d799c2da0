//! A lock between processes.

use std::time::Duration;

use crate::db::Db;
use crate::error::Result;
use crate::model::Revision;
use crate::recipe::claimant::Claimant;
use crate::recipe::wait_limit::WaitLimit;

impl Db {
    /// Opens a lock by name. It is not acquired yet. If its holder is alive but does not renew its
    /// lease, the lock is released after `ttl_seconds`.
    ///
    /// ```
    /// use libkv::{Db, Options};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// let mut lock = db.lock("worker", 10)?;
    /// lock.acquire(None)?;
    /// println!("fencing revision: {}", lock.revision().expect("the lock is held"));
    /// lock.release()?;
    /// # Ok::<(), libkv::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `invalid_argument` for an empty name.
    pub fn lock(&self, name: impl Into<Vec<u8>>, ttl_seconds: i64) -> Result<Lock> {
        Ok(Lock {
            claimant: Claimant::new(self, name, ttl_seconds)?,
        })
    }
}

/// A lock between all threads and processes that use the store: one holds it at a time. Made by
/// [`Db::lock`](crate::Db::lock). Its keys are those of etcd's lock service.
///
/// **Guarantees.** The holder is the only one whose key is the first of all waiters' keys. Waiters
/// acquire the lock in the order in which they came. The lock is released when it is released or
/// dropped, and within 500 ms after its process ends, by any process that uses leases or watchers
/// at that time.
///
/// **Limits.** A holder that is stopped for longer than the TTL loses its lease without noticing,
/// and another process acquires the lock. Fence writes against such a former holder with
/// [`Lock::revision`], which increases from holder to holder: the protected resource refuses a
/// lower revision than it has seen, or the write is a txn that compares the create_revision of
/// [`Lock::key`] with it.
#[derive(Debug)]
pub struct Lock {
    claimant: Claimant,
}

impl Lock {
    /// Waits until the lock is acquired. Does nothing if it is already held.
    ///
    /// # Errors
    ///
    /// `timeout` after `timeout` (`None`: no limit; 0: at once if another holds it). The message
    /// names the holder's key. On a cluster that does not respond it comes up to half a second
    /// later. `lease_lost`, and those of [`Db::put`](crate::Db::put). After an error it waits no
    /// longer: it has no key in the store.
    pub fn acquire(&mut self, timeout: impl Into<Option<Duration>>) -> Result<()> {
        if self.claimant.is_held() {
            return Ok(());
        }
        let request = self.claimant.request([], WaitLimit::new(timeout.into()));
        self.claimant.acquire(request).map(drop)
    }

    /// Acquires the lock if it is free and has no waiters. Returns whether it is held now.
    ///
    /// # Errors
    ///
    /// Those of [`Lock::acquire`], except `timeout`.
    pub fn try_acquire(&mut self) -> Result<bool> {
        if self.claimant.is_held() {
            return Ok(true);
        }
        let request = self.claimant.request([], WaitLimit::new(None));
        self.claimant.acquire(request.only_if_free())
    }

    /// Releases the lock for the next waiter. Does nothing if it is not held.
    ///
    /// # Errors
    ///
    /// Those of [`Db::lease_revoke`](crate::Db::lease_revoke); the lock then ends with its TTL.
    pub fn release(&mut self) -> Result<()> {
        self.claimant.release()
    }

    /// Whether it is held, as far as is known: false once its lease is known to be lost.
    pub fn is_held(&self) -> bool {
        self.claimant.is_held()
    }

    /// Its key in the store while it is held; otherwise empty.
    pub fn key(&self) -> &[u8] {
        self.claimant.key()
    }

    /// The revision at which its key was created, for fencing; `None` before it is acquired and
    /// after it is released. A lock that was lost still has it, so that a write that compares with
    /// it is refused.
    pub fn revision(&self) -> Option<Revision> {
        self.claimant.revision()
    }
}
