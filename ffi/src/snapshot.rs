//! Views of one revision.
#![allow(unsafe_code)]

use libkv::Snapshot;

use crate::db::KvDb;
use crate::error::KvError;
use crate::guard::{free, guard, guard_value};
use crate::handle::kinds;
use crate::options::KvRangeOptions;
use crate::pointers::require_output;
use crate::range::{KvRangeResponse, KvScan, RangeContents, ScanContents};
use crate::requests::range_request;
use crate::types::*;

/// A view of the store at one revision. It is a number, not a transaction.
pub struct KvSnapshot;

kinds! { KvSnapshot = Snapshot, b"kv_snap\0", "kv_snapshot"; }

/// Opens a view of a revision (0 or negative: the current one). It holds no transaction and does
/// not delay compaction: after a compaction passed it, its calls return KV_COMPACTED.
///
/// Owner: *out is owned by the caller, to free before or after the database.
/// Threads: any.
/// Errors: KV_COMPACTED, KV_FUTURE_REVISION, KV_CLOSED, KV_FORKED, KV_IO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_snapshot_open(
    db: *const KvDb,
    revision: i64,
    out: *mut *mut KvSnapshot,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        require_output(out, "out")?;
        c.give::<KvSnapshot>(out, c.arg(db)?.0.snapshot_at(revision)?);
        Ok(())
    })
}

/// The revision of a view; 0 for NULL.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_snapshot_revision(snapshot: *const KvSnapshot) -> i64 {
    guard_value!(0, |c| Some(c.arg(snapshot).ok()?.revision()))
}

/// Reads one key at the view's revision; *out is NULL if the key did not exist.
///
/// Owner: *out is owned by the caller, to free with kv_key_value_free.
/// Threads: any.
/// Errors: KV_INVALID_ARGUMENT, KV_COMPACTED, KV_CLOSED, KV_FORKED, KV_CORRUPT, KV_IO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_snapshot_get(
    snapshot: *const KvSnapshot,
    key: KvBytes,
    out: *mut *mut KvKeyValue,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        require_output(out, "out")?;
        let found = c.arg(snapshot)?.get(c.bytes(key, "the key")?)?;
        c.put(out, found.map_or(std::ptr::null_mut(), owned));
        Ok(())
    })
}

/// Reads the pairs of a range at the view's revision.
///
/// Owner: *out is owned by the caller; the range and options are not kept.
/// Threads: any.
/// Errors: those of kv_range; KV_INVALID_ARGUMENT also if the options name another revision.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_snapshot_range(
    snapshot: *const KvSnapshot,
    range: KvKeyRange,
    options: *const KvRangeOptions,
    out: *mut *mut KvRangeResponse,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        require_output(out, "out")?;
        let result = c.arg(snapshot)?.range(range_request(c, range, options)?)?;
        c.give::<KvRangeResponse>(out, RangeContents::new(result));
        Ok(())
    })
}

/// Begins a scan of a range at the view's revision.
///
/// Owner: *out is owned by the caller, to free before or after the view and the database.
/// Threads: any.
/// Errors: those of kv_scan_open; KV_INVALID_ARGUMENT also if the options name another revision.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_snapshot_scan(
    snapshot: *const KvSnapshot,
    range: KvKeyRange,
    options: *const KvRangeOptions,
    out: *mut *mut KvScan,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        require_output(out, "out")?;
        let scan = c.arg(snapshot)?.scan(range_request(c, range, options)?)?;
        c.give::<KvScan>(out, ScanContents { scan, last: None });
        Ok(())
    })
}

/// Frees a view.
///
/// Owner: frees it; NULL is allowed.
/// Threads: the last use of it.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_snapshot_free(snapshot: *mut KvSnapshot) {
    free!(snapshot)
}
