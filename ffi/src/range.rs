//! Ranges in one response, and scans in steps.
#![allow(unsafe_code)]

use libkv::{KeyValue, RangeResponse, Scan};

use crate::db::KvDb;
use crate::error::KvError;
use crate::guard::{free, guard, guard_value};
use crate::handle::kinds;
use crate::options::KvRangeOptions;
use crate::pointers::require_output;
use crate::requests::range_request;
use crate::types::*;

/// The response of a range.
pub struct KvRangeResponse;

/// A range that is read step by step, at one revision.
pub struct KvScan;

/// What a `kv_range_response` holds.
pub(crate) struct RangeContents {
    pub result: RangeResponse,
    pub kvs: Pairs,
}

impl RangeContents {
    pub fn new(mut result: RangeResponse) -> RangeContents {
        let kvs = Pairs::new(std::mem::take(&mut result.kvs));
        RangeContents { result, kvs }
    }
}

/// The contents of a `kv_scan`: the scan, and the pair that it returned last.
pub(crate) struct ScanContents {
    pub scan: Scan,
    pub last: Option<(KeyValue, KvKeyValue)>,
}

kinds! {
    KvRangeResponse = RangeContents, b"kv_range", "kv_range_response";
    KvScan = ScanContents, b"kv_scan\0", "kv_scan";
}

/// Reads the pairs of a range at one revision, in one response.
///
/// Owner: *out is owned by the caller; the range and options are not kept.
/// Threads: any; a read never waits for a writer.
/// Errors: KV_INVALID_ARGUMENT (empty key, unknown sort), KV_COMPACTED, KV_FUTURE_REVISION,
/// KV_CLOSED, KV_FORKED, KV_CORRUPT, KV_IO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_range(
    db: *const KvDb,
    range: KvKeyRange,
    options: *const KvRangeOptions,
    out: *mut *mut KvRangeResponse,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        require_output(out, "out")?;
        let result = c.arg(db)?.0.range(range_request(c, range, options)?)?;
        c.give::<KvRangeResponse>(out, RangeContents::new(result));
        Ok(())
    })
}

/// The store's current revision when the range was read, also if an older one was requested; 0 for
/// NULL.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_range_response_revision(result: *const KvRangeResponse) -> i64 {
    guard_value!(0, |c| Some(c.arg(result).ok()?.result.revision))
}

/// The number of keys in the range at that revision, regardless of limit and filters; 0 for NULL.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_range_response_count(result: *const KvRangeResponse) -> i64 {
    guard_value!(0, |c| Some(c.arg(result).ok()?.result.count))
}

/// KV_YES if the limit omitted pairs, otherwise KV_NO.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_range_response_more(result: *const KvRangeResponse) -> i32 {
    guard_value!(KV_NO, |c| Some(if c.arg(result).ok()?.result.more {
        KV_YES
    } else {
        KV_NO
    }))
}

/// The number of returned pairs; 0 for NULL.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_range_response_len(result: *const KvRangeResponse) -> usize {
    guard_value!(0, |c| Some(c.arg(result).ok()?.kvs.len()))
}

/// The pair at index; NULL beyond the last.
///
/// Owner: the result; the pair is valid until it is freed.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_range_response_at(
    result: *const KvRangeResponse,
    index: usize,
) -> *const KvKeyValue {
    guard_value!(std::ptr::null(), |c| c.arg(result).ok()?.kvs.at(index))
}

/// Frees the result of a range.
///
/// Owner: frees it; NULL is allowed.
/// Threads: the last use of it.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_range_response_free(result: *mut KvRangeResponse) {
    free!(result)
}

/// Begins a scan: the pairs of a range in key order, step by step, all at one revision. It holds no
/// transaction between steps, does not count, and does not delay compaction.
///
/// Owner: *out is owned by the caller, to free before or after the database; range and options are
/// not kept.
/// Threads: any.
/// Errors: KV_INVALID_ARGUMENT (also for a sort order other than ascending by key, and for
/// count_only).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_scan_open(
    db: *const KvDb,
    range: KvKeyRange,
    options: *const KvRangeOptions,
    out: *mut *mut KvScan,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        require_output(out, "out")?;
        let scan = c.arg(db)?.0.scan(range_request(c, range, options)?)?;
        c.give::<KvScan>(out, ScanContents { scan, last: None });
        Ok(())
    })
}

/// Returns the next pair of a scan; *out is NULL at the end.
///
/// Owner: the scan; the pair is valid until the next step or until the scan is freed.
/// Threads: one at a time.
/// Errors: KV_COMPACTED (a compaction passed the scan's revision), KV_CLOSED, KV_FORKED,
/// KV_CORRUPT, KV_IO. After an error the scan has ended.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_scan_next(
    scan: *mut KvScan,
    out: *mut *const KvKeyValue,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        require_output(out, "out")?;
        let scanned = c.arg_mut(scan)?;
        scanned.last = scanned.scan.next().transpose()?.map(|kv| {
            let view = view(&kv);
            (kv, view)
        });
        c.put(
            out,
            scanned
                .last
                .as_ref()
                .map_or(std::ptr::null(), |(_, view)| std::ptr::from_ref(view)),
        );
        Ok(())
    })
}

/// The revision that a scan reads; 0 before the first step of a scan of the current revision, and
/// for NULL.
///
/// Owner: no ownership changes.
/// Threads: one at a time.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_scan_revision(scan: *const KvScan) -> i64 {
    guard_value!(0, |c| Some(c.arg(scan).ok()?.scan.revision()))
}

/// Frees a scan.
///
/// Owner: frees it; NULL is allowed.
/// Threads: the last use of it.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_scan_free(scan: *mut KvScan) {
    free!(scan)
}
