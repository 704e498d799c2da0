//! Leases: the single calls, and the handle that keeps one alive.
#![allow(unsafe_code)]

use libkv::{Lease, LeaseTimeToLive};

use crate::db::KvDb;
use crate::error::KvError;
use crate::guard::{borrow, free, give_out, guard, guard_value, kinds, put_out, wanted};
use crate::types::*;

/// What is left of a lease; see kv_lease_time_to_live.
pub struct KvTimeToLive;

/// The ids of all leases; see kv_lease_list.
pub struct KvLeaseIds;

/// A lease that keeps itself alive as long as this handle, and this process, live.
pub struct KvLease;

kinds! {
    KvTimeToLive = LeaseTimeToLive, b"kv_ttl\0\0", "kv_time_to_live";
    KvLeaseIds = Vec<i64>, b"kv_ids\0\0", "kv_lease_ids";
    KvLease = Lease, b"kv_lease", "kv_lease";
}

/// Grants a lease of ttl_seconds (raised to the handle's lease_ttl_min_seconds) with this id, or, for
/// 0, with a positive one that the store chooses. Keys are put on it with kv_put_options.lease, and
/// go with it. Nobody keeps it alive: kv_lease_open makes one that keeps itself.
///
/// Owner: nothing changes hands; *granted_id and *granted_ttl_seconds are what it got.
/// Threads: any.
/// Errors: KV_LEASE_EXISTS, KV_INVALID_ARGUMENT (a TTL over 9,000,000,000 s), and as kv_put.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_lease_grant(
    db: *const KvDb,
    ttl_seconds: i64,
    id: i64,
    granted_id: *mut i64,
    granted_ttl_seconds: *mut i64,
    error: *mut *mut KvError,
) -> KvCode {
    // SAFETY: pointers as the header asks for.
    unsafe {
        guard(error, || {
            let granted = borrow(db)?.0.lease_grant(ttl_seconds, id)?;
            put_out(granted_id, granted.id);
            put_out(granted_ttl_seconds, granted.ttl_seconds);
            Ok(())
        })
    }
}

/// Revokes a lease: its keys are deleted in one revision, by ascending key. *revision is the store's
/// afterwards, unchanged if the lease had no keys.
///
/// Owner: nothing changes hands.
/// Threads: any.
/// Errors: KV_LEASE_NOT_FOUND, and as kv_put.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_lease_revoke(
    db: *const KvDb,
    id: i64,
    revision: *mut i64,
    error: *mut *mut KvError,
) -> KvCode {
    // SAFETY: pointers as the header asks for.
    unsafe {
        guard(error, || {
            put_out(revision, borrow(db)?.0.lease_revoke(id)?.revision);
            Ok(())
        })
    }
}

/// Gives a lease its full TTL again, once. It takes no lock and writes nothing to the disk.
/// *ttl_seconds is that TTL, or 0, which is no error, if there is no such lease or it has expired.
///
/// Owner: nothing changes hands.
/// Threads: any.
/// Errors: KV_INVALID_ARGUMENT, KV_READ_ONLY, KV_CLOSED, KV_FORKED, KV_IO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_lease_keep_alive(
    db: *const KvDb,
    id: i64,
    ttl_seconds: *mut i64,
    error: *mut *mut KvError,
) -> KvCode {
    // SAFETY: pointers as the header asks for.
    unsafe {
        guard(error, || {
            put_out(ttl_seconds, borrow(db)?.0.lease_keep_alive(id)?.ttl_seconds);
            Ok(())
        })
    }
}

/// What is left of a lease and, with keys KV_YES, which keys hang on it. A lease that is not there is
/// no error: kv_time_to_live_seconds is -1.
///
/// Owner: *out is the caller's, to free with kv_time_to_live_free.
/// Threads: any.
/// Errors: KV_INVALID_ARGUMENT, KV_CLOSED, KV_FORKED, KV_CORRUPT, KV_IO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_lease_time_to_live(
    db: *const KvDb,
    id: i64,
    keys: i32,
    out: *mut *mut KvTimeToLive,
    error: *mut *mut KvError,
) -> KvCode {
    // SAFETY: pointers as the header asks for.
    unsafe {
        guard(error, || {
            wanted(out, "out")?;
            let keys = flag_in(keys, "keys")?.unwrap_or(false);
            give_out::<KvTimeToLive>(out, borrow(db)?.0.lease_time_to_live(id, keys)?);
            Ok(())
        })
    }
}

/// Whole seconds that a lease has left, rounded down; -1 if there is no such lease, and for NULL.
///
/// Owner: nothing changes hands.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_time_to_live_seconds(result: *const KvTimeToLive) -> i64 {
    // SAFETY: pointers as the header asks for.
    guard_value(-1, || unsafe { Some(borrow(result).ok()?.ttl_seconds) })
}

/// The TTL that a lease was granted, in seconds; 0 if there is no such lease, and for NULL.
///
/// Owner: nothing changes hands.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_time_to_live_granted_seconds(result: *const KvTimeToLive) -> i64 {
    // SAFETY: pointers as the header asks for.
    guard_value(0, || unsafe { Some(borrow(result).ok()?.granted_ttl_seconds) })
}

/// How many keys hang on a lease, if they were asked for; 0 for NULL.
///
/// Owner: nothing changes hands.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_time_to_live_len(result: *const KvTimeToLive) -> usize {
    // SAFETY: pointers as the header asks for.
    guard_value(0, || unsafe { Some(borrow(result).ok()?.keys.len()) })
}

/// The key number index, ascending, that hangs on a lease; no bytes beyond the last.
///
/// Owner: the result; the key lives until it is freed.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_time_to_live_key(result: *const KvTimeToLive, index: usize) -> KvBytes {
    // SAFETY: pointers as the header asks for.
    guard_value(NO_BYTES, || unsafe { Some(bytes_out(borrow(result).ok()?.keys.get(index)?)) })
}

/// Frees what kv_lease_time_to_live answered.
///
/// Owner: takes it; NULL is fine.
/// Threads: the last use of it.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_time_to_live_free(result: *mut KvTimeToLive) {
    // SAFETY: pointers as the header asks for.
    unsafe { free(result) }
}

/// The ids of all leases, the next to expire first.
///
/// Owner: *out is the caller's, to free with kv_lease_ids_free.
/// Threads: any.
/// Errors: KV_INVALID_ARGUMENT, KV_CLOSED, KV_FORKED, KV_CORRUPT, KV_IO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_lease_list(db: *const KvDb, out: *mut *mut KvLeaseIds, error: *mut *mut KvError) -> KvCode {
    // SAFETY: pointers as the header asks for.
    unsafe {
        guard(error, || {
            wanted(out, "out")?;
            give_out::<KvLeaseIds>(out, borrow(db)?.0.lease_list()?);
            Ok(())
        })
    }
}

/// How many leases there were; 0 for NULL.
///
/// Owner: nothing changes hands.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_lease_ids_len(ids: *const KvLeaseIds) -> usize {
    // SAFETY: pointers as the header asks for.
    guard_value(0, || unsafe { Some(borrow(ids).ok()?.len()) })
}

/// The id number index, the next to expire first; 0, which is no lease, beyond the last.
///
/// Owner: nothing changes hands.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_lease_ids_at(ids: *const KvLeaseIds, index: usize) -> i64 {
    // SAFETY: pointers as the header asks for.
    guard_value(0, || unsafe { borrow(ids).ok()?.get(index).copied() })
}

/// Frees what kv_lease_list answered.
///
/// Owner: takes it; NULL is fine.
/// Threads: the last use of it.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_lease_ids_free(ids: *mut KvLeaseIds) {
    // SAFETY: pointers as the header asks for.
    unsafe { free(ids) }
}

/// A lease of ttl_seconds that keeps itself alive and is revoked when its handle is closed or freed.
/// With end_with_process KV_YES it also ends within 500 ms of this process's death; else by its TTL.
///
/// Owner: *out is the caller's, to free before or after the database.
/// Threads: any.
/// Errors: as kv_lease_grant.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_lease_open(
    db: *const KvDb,
    ttl_seconds: i64,
    end_with_process: i32,
    out: *mut *mut KvLease,
    error: *mut *mut KvError,
) -> KvCode {
    // SAFETY: pointers as the header asks for.
    unsafe {
        guard(error, || {
            wanted(out, "out")?;
            let end_with_process = flag_in(end_with_process, "end_with_process")?.unwrap_or(false);
            give_out::<KvLease>(out, borrow(db)?.0.lease(ttl_seconds, end_with_process)?);
            Ok(())
        })
    }
}

/// The id of a lease, for kv_put_options.lease; 0 for NULL.
///
/// Owner: nothing changes hands.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_lease_id(lease: *const KvLease) -> i64 {
    // SAFETY: pointers as the header asks for.
    guard_value(0, || unsafe { Some(borrow(lease).ok()?.id()) })
}

/// The TTL that a lease was granted, in seconds; 0 for NULL.
///
/// Owner: nothing changes hands.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_lease_ttl_seconds(lease: *const KvLease) -> i64 {
    // SAFETY: pointers as the header asks for.
    guard_value(0, || unsafe { Some(borrow(lease).ok()?.ttl_seconds()) })
}

/// Whole seconds that a lease would live on if its process died now; 0 if it is gone.
///
/// Owner: nothing changes hands.
/// Threads: any.
/// Errors: KV_INVALID_ARGUMENT, KV_CLOSED, KV_FORKED, KV_CORRUPT, KV_IO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_lease_remaining(
    lease: *const KvLease,
    seconds: *mut i64,
    error: *mut *mut KvError,
) -> KvCode {
    // SAFETY: pointers as the header asks for.
    unsafe {
        guard(error, || {
            wanted(seconds, "seconds")?;
            put_out(seconds, borrow(lease)?.remaining()?);
            Ok(())
        })
    }
}

/// Whether a lease is known to be gone though nobody closed this handle: KV_YES or KV_NO. It expired
/// (the process was stopped for longer than its TTL), or somebody revoked it.
///
/// Owner: nothing changes hands.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_lease_lost(lease: *const KvLease) -> i32 {
    // SAFETY: pointers as the header asks for.
    guard_value(KV_NO, || unsafe { Some(flag_out(borrow(lease).ok()?.lost())) })
}

/// Stops keeping a lease alive and revokes it: its keys go. Closing twice is fine, and so is closing
/// a lease that is lost. It is still to be freed; kv_lease_free alone revokes it too, but does not
/// wait for that.
///
/// Owner: nothing changes hands.
/// Threads: any.
/// Errors: as kv_lease_revoke, but for KV_LEASE_NOT_FOUND. The lease then ends with its TTL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_lease_close(lease: *const KvLease, error: *mut *mut KvError) -> KvCode {
    // SAFETY: pointers as the header asks for.
    unsafe { guard(error, || borrow(lease)?.close()) }
}

/// Frees a lease's handle; unless it was closed, the lease is revoked soon after.
///
/// Owner: takes it; NULL is fine.
/// Threads: the last use of it.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_lease_free(lease: *mut KvLease) {
    // SAFETY: pointers as the header asks for.
    unsafe { free(lease) }
}
