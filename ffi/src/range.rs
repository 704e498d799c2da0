//! Ranges in one answer, and scans in steps.
#![allow(unsafe_code)]

use libkv::{KeyValue, RangeResult, Scan};

use crate::db::KvDb;
use crate::error::KvError;
use crate::guard::{borrow, borrow_mut, free, give_out, guard, guard_value, kinds, put_out, wanted};
use crate::types::*;

/// What a range answered.
pub struct KvRangeResult;

/// A range read in steps, at one revision.
pub struct KvScan;

/// What a `kv_range_result` holds.
pub(crate) struct Ranged {
    pub result: RangeResult,
    pub kvs: Pairs,
}

impl Ranged {
    pub fn new(mut result: RangeResult) -> Ranged {
        let kvs = Pairs::new(std::mem::take(&mut result.kvs));
        Ranged { result, kvs }
    }
}

/// What a `kv_scan` holds: the scan, and the pair that it answered last.
pub(crate) struct Scanned {
    pub scan: Scan,
    pub last: Option<(KeyValue, KvKeyValue)>,
}

kinds! {
    KvRangeResult = Ranged, b"kv_range", "kv_range_result";
    KvScan = Scanned, b"kv_scan\0", "kv_scan";
}

/// The pairs of a range at one revision, in one answer.
///
/// Owner: *out is the caller's; the range and options are not kept.
/// Threads: any; readers wait for nobody.
/// Errors: KV_INVALID_ARGUMENT (empty key, unknown sort), KV_COMPACTED, KV_FUTURE_REVISION, KV_CLOSED,
/// KV_FORKED, KV_CORRUPT, KV_IO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_range(
    db: *const KvDb,
    range: KvKeyRange,
    options: *const KvRangeOptions,
    out: *mut *mut KvRangeResult,
    error: *mut *mut KvError,
) -> KvCode {
    // SAFETY: pointers as the header asks for.
    unsafe {
        guard(error, || {
            wanted(out, "out")?;
            let result = borrow(db)?.0.range(range_request(range, options)?)?;
            give_out::<KvRangeResult>(out, Ranged::new(result));
            Ok(())
        })
    }
}

/// The store's revision when a range was read, also when an older one was asked for; 0 for NULL.
///
/// Owner: nothing changes hands.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_range_result_revision(result: *const KvRangeResult) -> i64 {
    // SAFETY: pointers as the header asks for.
    guard_value(0, || unsafe { Some(borrow(result).ok()?.result.revision) })
}

/// How many keys the range has at that revision, whatever the limit and the filters; 0 for NULL.
///
/// Owner: nothing changes hands.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_range_result_count(result: *const KvRangeResult) -> i64 {
    // SAFETY: pointers as the header asks for.
    guard_value(0, || unsafe { Some(borrow(result).ok()?.result.count) })
}

/// Whether the limit cut anything off: KV_YES or KV_NO.
///
/// Owner: nothing changes hands.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_range_result_more(result: *const KvRangeResult) -> i32 {
    // SAFETY: pointers as the header asks for.
    guard_value(KV_NO, || unsafe { Some(if borrow(result).ok()?.result.more { KV_YES } else { KV_NO }) })
}

/// How many pairs were answered; 0 for NULL.
///
/// Owner: nothing changes hands.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_range_result_len(result: *const KvRangeResult) -> usize {
    // SAFETY: pointers as the header asks for.
    guard_value(0, || unsafe { Some(borrow(result).ok()?.kvs.len()) })
}

/// The pair number index of a range; NULL beyond the last.
///
/// Owner: the result; the pair lives until it is freed.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_range_result_at(result: *const KvRangeResult, index: usize) -> *const KvKeyValue {
    // SAFETY: pointers as the header asks for.
    guard_value(std::ptr::null(), || unsafe { borrow(result).ok()?.kvs.at(index) })
}

/// Frees a range's result.
///
/// Owner: takes it; NULL is fine.
/// Threads: the last use of it.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_range_result_free(result: *mut KvRangeResult) {
    // SAFETY: pointers as the header asks for.
    unsafe { free(result) }
}

/// Begins a scan: the pairs of a range by key, one after the other, all at one revision. It holds
/// nothing between steps, never counts, and keeps no compaction back.
///
/// Owner: *out is the caller's, to free before or after the database; range and options are not kept.
/// Threads: any.
/// Errors: KV_INVALID_ARGUMENT (also for sorting by anything but the ascending key, and count_only).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_scan_open(
    db: *const KvDb,
    range: KvKeyRange,
    options: *const KvRangeOptions,
    out: *mut *mut KvScan,
    error: *mut *mut KvError,
) -> KvCode {
    // SAFETY: pointers as the header asks for.
    unsafe {
        guard(error, || {
            wanted(out, "out")?;
            let scan = borrow(db)?.0.scan(range_request(range, options)?)?;
            give_out::<KvScan>(out, Scanned { scan, last: None });
            Ok(())
        })
    }
}

/// The next pair of a scan; *out is NULL at its end.
///
/// Owner: the scan; the pair lives until the next step or until the scan is freed.
/// Threads: one at a time.
/// Errors: KV_COMPACTED (a compaction has passed the scan's revision), KV_CLOSED, KV_FORKED, KV_CORRUPT,
/// KV_IO. After an error the scan is at its end.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_scan_next(
    scan: *mut KvScan,
    out: *mut *const KvKeyValue,
    error: *mut *mut KvError,
) -> KvCode {
    // SAFETY: pointers as the header asks for.
    unsafe {
        guard(error, || {
            wanted(out, "out")?;
            let scanned = borrow_mut(scan)?;
            scanned.last = scanned.scan.next().transpose()?.map(|kv| {
                let view = view(&kv);
                (kv, view)
            });
            put_out(out, scanned.last.as_ref().map_or(std::ptr::null(), |(_, view)| std::ptr::from_ref(view)));
            Ok(())
        })
    }
}

/// The revision that a scan reads at; 0 before the first step of a scan of "now", and for NULL.
///
/// Owner: nothing changes hands.
/// Threads: one at a time.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_scan_revision(scan: *const KvScan) -> i64 {
    // SAFETY: pointers as the header asks for.
    guard_value(0, || unsafe { Some(borrow(scan).ok()?.scan.revision()) })
}

/// Frees a scan.
///
/// Owner: takes it; NULL is fine.
/// Threads: the last use of it.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_scan_free(scan: *mut KvScan) {
    // SAFETY: pointers as the header asks for.
    unsafe { free(scan) }
}
