//! A lock between processes.
#![allow(unsafe_code)]

use std::sync::{Mutex, MutexGuard, TryLockError};

use libkv::{Db, Lock, Result};

use crate::db::KvDb;
use crate::error::KvError;
use crate::guard::{free, guard, guard_value};
use crate::handle::{invalid, kinds};
use crate::pointers::require_output;
use crate::types::*;

/// A lock with at most one holder among all threads and processes that use the store.
pub struct KvLock;

/// A value that one thread uses at a time; a second thread is refused.
pub(crate) struct UseLock<T> {
    pub db: Db,
    value: Mutex<T>,
}

impl<T> UseLock<T> {
    pub fn new(db: Db, value: T) -> UseLock<T> {
        UseLock {
            db,
            value: Mutex::new(value),
        }
    }

    pub fn enter(&self) -> Result<MutexGuard<'_, T>> {
        match self.value.try_lock() {
            Ok(value) => Ok(value),
            Err(TryLockError::Poisoned(value)) => Ok(value.into_inner()),
            Err(TryLockError::WouldBlock) => {
                // in a forked child the other thread does not exist: `forked` comes first
                self.db.get_into([0], &mut [])?;
                Err(invalid(
                    "the handle is used by another thread: one uses it at a time",
                ))
            }
        }
    }

    /// For accessors. `None` while another thread uses the value.
    pub fn peek<A>(&self, read: impl FnOnce(&T) -> A) -> Option<A> {
        match self.value.try_lock() {
            Ok(value) => Some(read(&value)),
            Err(TryLockError::Poisoned(value)) => Some(read(&value.into_inner())),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

kinds! { KvLock = UseLock<Lock>, b"kv_lock\0", "kv_lock"; }

/// Opens a lock; it is not acquired yet. The keys are those of etcd's lock service: NAME/LEASE,
/// with the lease in hexadecimal.
///
/// Waiters acquire the lock in the order in which they came. It is released by kv_lock_release, and
/// within 500 ms after its process ends. A holder that is stopped for longer than ttl_seconds loses
/// the lock without noticing: fence the protected resource with kv_lock_revision.
///
/// Owner: *out is owned by the caller, to free before or after the database; name is not kept.
/// Threads: any.
/// Errors: KV_INVALID_ARGUMENT (an empty name), KV_CLOSED, KV_FORKED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_lock_open(
    db: *const KvDb,
    name: KvBytes,
    ttl_seconds: i64,
    out: *mut *mut KvLock,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        require_output(out, "out")?;
        let db = &c.arg(db)?.0;
        let lock = db.lock(c.bytes(name, "the name")?, ttl_seconds)?;
        c.give::<KvLock>(out, UseLock::new(db.clone(), lock));
        Ok(())
    })
}

/// Waits until the lock is acquired, up to timeout_ms milliseconds, KV_NO_WAIT or KV_FOREVER (the
/// default, 0). Does nothing if it is already held.
///
/// Owner: no ownership changes.
/// Threads: one at a time; a second concurrent call returns KV_INVALID_ARGUMENT. To contend, two
/// threads open a lock each.
/// Errors: KV_TIMEOUT, which names the holder's key; KV_LEASE_LOST; KV_INVALID_ARGUMENT (also for a
/// TTL over 9,000,000,000 s), and those of kv_put. After an error it is in no queue.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_lock_acquire(
    lock: *mut KvLock,
    timeout_ms: i64,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        c.arg(lock)?.enter()?.acquire(timeout_in(timeout_ms)?)
    })
}

/// Acquires the lock if it is free and has no waiters. *held is KV_YES if it is held now, otherwise
/// KV_NO.
///
/// Owner: no ownership changes.
/// Threads: one at a time.
/// Errors: those of kv_lock_acquire except KV_TIMEOUT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_lock_try_acquire(
    lock: *mut KvLock,
    held: *mut i32,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        require_output(held, "held")?;
        c.put(held, flag_out(c.arg(lock)?.enter()?.try_acquire()?));
        Ok(())
    })
}

/// Releases the lock for the next waiter; does nothing if it is not held. The handle can acquire it
/// again.
///
/// Owner: no ownership changes.
/// Threads: one at a time.
/// Errors: those of kv_lease_revoke except KV_LEASE_NOT_FOUND; the lock then ends with its TTL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_lock_release(lock: *mut KvLock, error: *mut *mut KvError) -> KvCode {
    guard!(error, |c| c.arg(lock)?.enter()?.release())
}

/// KV_YES if it is held, otherwise KV_NO. KV_NO also once its lease is known to be lost.
///
/// Owner: no ownership changes.
/// Threads: one at a time.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_lock_is_held(lock: *const KvLock) -> i32 {
    guard_value!(KV_NO, |c| Some(flag_out(
        c.arg(lock).ok()?.peek(Lock::is_held)?
    )))
}

/// Its key in the store while it is held; otherwise no bytes.
///
/// Owner: the lock; the key is valid until the next call that acquires, releases or frees it.
/// Threads: one at a time.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_lock_key(lock: *const KvLock) -> KvBytes {
    guard_value!(NO_BYTES, |c| c
        .arg(lock)
        .ok()?
        .peek(|lock| bytes_out(lock.key())))
}

/// The fencing revision: the revision at which its key was created. It increases from holder to
/// holder, so the protected resource can refuse a lower one than it has seen. 0, which is no
/// revision, before the lock is acquired, after it is released, and for NULL.
///
/// Owner: no ownership changes.
/// Threads: one at a time.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_lock_revision(lock: *const KvLock) -> i64 {
    guard_value!(0, |c| c.arg(lock).ok()?.peek(Lock::revision)?)
}

/// Frees the handle; a held lock is released soon after.
///
/// Owner: frees it; NULL is allowed.
/// Threads: the last use of it.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_lock_free(lock: *mut KvLock) {
    free!(lock)
}
