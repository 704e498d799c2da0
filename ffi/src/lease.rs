//! Leases: the single calls, and the handle that keeps one alive.
#![allow(unsafe_code)]

use libkv::{Lease, LeaseGrant, LeaseTimeToLive, LeaseTimeToLiveResponse};

use crate::db::KvDb;
use crate::error::KvError;
use crate::guard::{free, guard, guard_value};
use crate::handle::kinds;
use crate::pointers::require_output;
use crate::types::*;

/// The remaining time of a lease; see kv_lease_time_to_live.
pub struct KvTimeToLiveResponse;

/// A list of lease ids; see kv_lease_list.
pub struct KvLeaseIds;

/// A lease that is renewed automatically while this handle and this process live.
pub struct KvLease;

kinds! {
    KvTimeToLiveResponse = LeaseTimeToLiveResponse, b"kv_ttl\0\0", "kv_time_to_live_response";
    KvLeaseIds = Vec<i64>, b"kv_ids\0\0", "kv_lease_ids";
    KvLease = Lease, b"kv_lease", "kv_lease";
}

/// Grants a lease of ttl_seconds (raised to the handle's lease_ttl_min_seconds) with this id. With
/// id 0 the store chooses a positive id. Attach keys with kv_put_options.lease; they are deleted
/// with the lease. This lease is not renewed automatically: kv_lease_open grants one that is.
///
/// Owner: no ownership changes; *granted_id and *granted_ttl_seconds are the granted values.
/// Threads: any.
/// Errors: KV_LEASE_EXISTS, KV_INVALID_ARGUMENT (a TTL over 9,000,000,000 s), and those of kv_put.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_lease_grant(
    db: *const KvDb,
    ttl_seconds: i64,
    id: i64,
    granted_id: *mut i64,
    granted_ttl_seconds: *mut i64,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        let granted = c
            .arg(db)?
            .0
            .lease_grant(LeaseGrant::new(ttl_seconds).id(id))?;
        c.put(granted_id, granted.id);
        c.put(granted_ttl_seconds, granted.ttl_seconds);
        Ok(())
    })
}

/// Revokes a lease. Its keys are deleted in one revision, in ascending key order. *revision is the
/// store's revision afterwards; it is unchanged if the lease had no keys.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: KV_LEASE_NOT_FOUND, and those of kv_put.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_lease_revoke(
    db: *const KvDb,
    id: i64,
    revision: *mut i64,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        c.put(revision, c.arg(db)?.0.lease_revoke(id)?.revision);
        Ok(())
    })
}

/// Renews a lease once, to its full TTL. It takes no lock and writes nothing to disk. *ttl_seconds
/// is that TTL, or 0 if the lease does not exist or has expired, which is not an error.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: KV_INVALID_ARGUMENT, KV_READ_ONLY, KV_CLOSED, KV_FORKED, KV_IO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_lease_keep_alive(
    db: *const KvDb,
    id: i64,
    ttl_seconds: *mut i64,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        c.put(ttl_seconds, c.arg(db)?.0.lease_keep_alive(id)?.ttl_seconds);
        Ok(())
    })
}

/// Returns the remaining time of a lease and, with keys KV_YES, its attached keys. A lease that
/// does not exist is not an error: kv_time_to_live_response_seconds is -1.
///
/// Owner: *out is owned by the caller, to free with kv_time_to_live_response_free.
/// Threads: any.
/// Errors: KV_INVALID_ARGUMENT, KV_CLOSED, KV_FORKED, KV_CORRUPT, KV_IO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_lease_time_to_live(
    db: *const KvDb,
    id: i64,
    keys: i32,
    out: *mut *mut KvTimeToLiveResponse,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        require_output(out, "out")?;
        let keys = flag_in(keys, "keys")?.unwrap_or(false);
        c.give::<KvTimeToLiveResponse>(
            out,
            c.arg(db)?
                .0
                .lease_time_to_live(LeaseTimeToLive::new(id).keys(keys))?,
        );
        Ok(())
    })
}

/// The remaining time in whole seconds, rounded down; -1 if the lease does not exist, and for NULL.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_time_to_live_response_seconds(
    result: *const KvTimeToLiveResponse,
) -> i64 {
    guard_value!(-1, |c| Some(c.arg(result).ok()?.ttl_seconds))
}

/// The granted TTL in seconds; 0 if the lease does not exist, and for NULL.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_time_to_live_response_granted_seconds(
    result: *const KvTimeToLiveResponse,
) -> i64 {
    guard_value!(0, |c| Some(c.arg(result).ok()?.granted_ttl_seconds))
}

/// The number of attached keys, if they were requested; 0 for NULL.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_time_to_live_response_len(
    result: *const KvTimeToLiveResponse,
) -> usize {
    guard_value!(0, |c| Some(c.arg(result).ok()?.keys.len()))
}

/// The attached key at index, in ascending order; no bytes beyond the last.
///
/// Owner: the result; the key is valid until it is freed.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_time_to_live_response_key(
    result: *const KvTimeToLiveResponse,
    index: usize,
) -> KvBytes {
    guard_value!(NO_BYTES, |c| Some(bytes_out(
        c.arg(result).ok()?.keys.get(index)?
    )))
}

/// Frees the result of kv_lease_time_to_live.
///
/// Owner: frees it; NULL is allowed.
/// Threads: the last use of it.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_time_to_live_response_free(result: *mut KvTimeToLiveResponse) {
    free!(result)
}

/// Returns the ids of all leases, sorted by expiry time.
///
/// Owner: *out is owned by the caller, to free with kv_lease_ids_free.
/// Threads: any.
/// Errors: KV_INVALID_ARGUMENT, KV_CLOSED, KV_FORKED, KV_CORRUPT, KV_IO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_lease_list(
    db: *const KvDb,
    out: *mut *mut KvLeaseIds,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        require_output(out, "out")?;
        c.give::<KvLeaseIds>(out, c.arg(db)?.0.lease_list()?);
        Ok(())
    })
}

/// The number of leases; 0 for NULL.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_lease_ids_len(ids: *const KvLeaseIds) -> usize {
    guard_value!(0, |c| Some(c.arg(ids).ok()?.len()))
}

/// The id at index, sorted by expiry time; 0, which is no lease, beyond the last.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_lease_ids_at(ids: *const KvLeaseIds, index: usize) -> i64 {
    guard_value!(0, |c| c.arg(ids).ok()?.get(index).copied())
}

/// Frees the result of kv_lease_list.
///
/// Owner: frees it; NULL is allowed.
/// Threads: the last use of it.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_lease_ids_free(ids: *mut KvLeaseIds) {
    free!(ids)
}

/// Grants a lease of ttl_seconds that is renewed automatically, and revoked when its handle is
/// closed or freed. With end_with_process KV_YES it also ends within 500 ms after this process
/// ends; otherwise it then ends with its TTL.
///
/// Owner: *out is owned by the caller, to free before or after the database.
/// Threads: any.
/// Errors: those of kv_lease_grant.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_lease_open(
    db: *const KvDb,
    ttl_seconds: i64,
    end_with_process: i32,
    out: *mut *mut KvLease,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        require_output(out, "out")?;
        let end_with_process = flag_in(end_with_process, "end_with_process")?.unwrap_or(false);
        c.give::<KvLease>(
            out,
            c.arg(db)?
                .0
                .lease(LeaseGrant::new(ttl_seconds).end_with_process(end_with_process))?,
        );
        Ok(())
    })
}

/// The id of a lease, for kv_put_options.lease; 0 for NULL.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_lease_id(lease: *const KvLease) -> i64 {
    guard_value!(0, |c| Some(c.arg(lease).ok()?.id()))
}

/// The granted TTL in seconds; 0 for NULL.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_lease_ttl_seconds(lease: *const KvLease) -> i64 {
    guard_value!(0, |c| Some(c.arg(lease).ok()?.ttl_seconds()))
}

/// The whole seconds until the lease would expire without further renewal; 0 if it no longer
/// exists.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: KV_INVALID_ARGUMENT, KV_CLOSED, KV_FORKED, KV_CORRUPT, KV_IO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_lease_remaining(
    lease: *const KvLease,
    seconds: *mut i64,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        require_output(seconds, "seconds")?;
        c.put(seconds, c.arg(lease)?.remaining()?);
        Ok(())
    })
}

/// KV_YES if the lease is known to have ended although this handle was not closed: it expired (the
/// process was stopped for longer than the TTL) or was revoked elsewhere. Otherwise KV_NO.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_lease_lost(lease: *const KvLease) -> i32 {
    guard_value!(KV_NO, |c| Some(flag_out(c.arg(lease).ok()?.lost())))
}

/// Stops renewing a lease and revokes it, which deletes its keys. Closing a second time, or closing
/// a lost lease, is allowed. The handle must still be freed; kv_lease_free alone revokes too, but
/// does not wait.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: those of kv_lease_revoke except KV_LEASE_NOT_FOUND. The lease then ends with its TTL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_lease_close(lease: *const KvLease, error: *mut *mut KvError) -> KvCode {
    guard!(error, |c| c.arg(lease)?.close())
}

/// Frees a lease's handle. A lease that is not closed is revoked soon after.
///
/// Owner: frees it; NULL is allowed.
/// Threads: the last use of it.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_lease_free(lease: *mut KvLease) {
    free!(lease)
}
