//! A lock between processes.

use std::time::Duration;

use crate::db::Db;
use crate::error::Result;
use crate::model::Revision;
use crate::recipe::Claim;

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
    /// println!("fencing revision: {}", lock.revision());
    /// lock.release()?;
    /// # Ok::<(), libkv::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `invalid_argument` for an empty name.
    pub fn lock(&self, name: impl Into<Vec<u8>>, ttl_seconds: i64) -> Result<Lock> {
        Lock::new(self.clone(), name.into(), ttl_seconds)
    }
}

/// A lock that one holds at a time, of all threads and processes that use the store; made by
/// [`Db::lock`](crate::Db::lock). Its keys are laid out as etcd's own lock service does.
///
/// **What it guarantees.** Whoever acquires it is the only one whose key is first in the line, in
/// the order in which they came. It is freed when it is released or dropped, and within 500 ms of
/// the death of its process, by any process that uses leases or watchers at that time.
///
/// **What it does not.** A holder that is stopped for longer than the TTL loses its lease without
/// noticing while it is stopped, and somebody else gets the lock. A write that must not come from
/// such a former holder names [`Lock::revision`], which only grows from holder to holder: let what
/// is protected refuse a lower one than it has seen, or make the write a txn that compares the
/// create_revision of [`Lock::key`] with it.
#[derive(Debug)]
pub struct Lock {
    claim: Claim,
}

impl Lock {
    pub(crate) fn new(db: Db, name: Vec<u8>, ttl_seconds: i64) -> Result<Lock> {
        Ok(Lock {
            claim: Claim::new(db, name, ttl_seconds)?,
        })
    }

    /// Waits until it has the lock; does nothing if it has it.
    ///
    /// # Errors
    ///
    /// `timeout` after `timeout` (none: never; 0: at once if another has it), naming the holder's key; on a cluster
    /// that does not respond it comes up to half a second later. `lease_lost`; and as
    /// [`Db::put`](crate::Db::put). After any of them it stands in no line.
    pub fn acquire(&mut self, timeout: impl Into<Option<Duration>>) -> Result<()> {
        if self.claim.is_held() {
            return Ok(());
        }
        self.claim.acquire(timeout.into())
    }

    /// Takes the lock if nobody has it or waits for it; answers whether it has it.
    pub fn try_acquire(&mut self) -> Result<bool> {
        if !self.claim.is_held() && self.claim.holder(self.claim.db())?.is_some() {
            return Ok(false);
        }
        match self.acquire(Duration::ZERO) {
            Ok(()) => Ok(true),
            Err(error) if error.code() == crate::Code::Timeout => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Frees the lock; does nothing if it is not held.
    ///
    /// # Errors
    ///
    /// As [`Db::lease_revoke`](crate::Db::lease_revoke); it is then freed by its TTL.
    pub fn release(&mut self) -> Result<()> {
        self.claim.release()
    }

    /// Whether it is held, as far as is known here: false once its lease is known to be lost.
    pub fn is_held(&self) -> bool {
        self.claim.is_held()
    }

    /// Its key in the store while it is held; else empty.
    pub fn key(&self) -> &[u8] {
        self.claim.key()
    }

    /// The revision that created its key, which fences; 0 while it is not held.
    pub fn revision(&self) -> Revision {
        self.claim.revision()
    }
}
