//! Status, check, and the version of the library.
#![allow(unsafe_code)]

use std::ffi::{CString, c_char};

use libkv::{CheckReport, Status};

use crate::alarm::{KvAlarm, alarm_view};
use crate::db::KvDb;
use crate::error::KvError;
use crate::guard::{free, guard, guard_value, value};
use crate::handle::kinds;
use crate::pointers::require_output;
use crate::types::*;

/// The status of a store; see kv_status_get.
pub struct KvStatus;

/// The result of kv_check.
pub struct KvCheckReport;

/// One problem that kv_check found.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct KvProblem {
    /// The invariant of core/DESIGN.md that is broken: "I2", …
    pub invariant: *const c_char,
    /// The key concerned; no bytes if there is none.
    pub key: KvBytes,
    /// The revision concerned; 0, which is no revision, if there is none.
    pub revision: i64,
    /// A description of the problem.
    pub message: *const c_char,
}

/// The contents of a `kv_status`, with texts as C strings.
pub(crate) struct StatusContents {
    status: Status,
    lmdb_version: Option<CString>,
    store_id: CString,
    alarms: Vec<KvAlarm>,
}

/// The contents of a `kv_check_report`.
pub(crate) struct ReportContents {
    report: CheckReport,
    problems: Vec<KvProblem>,
    _texts: Vec<CString>,
}

kinds! {
    KvStatus = StatusContents, b"kv_statu", "kv_status";
    KvCheckReport = ReportContents, b"kv_check", "kv_check_report";
}

fn text(text: &str) -> CString {
    CString::new(text.replace('\0', "?")).unwrap_or_default()
}

/// Reads the status of the store.
///
/// Owner: *out is owned by the caller, to free with kv_status_free.
/// Threads: any.
/// Errors: KV_CLOSED, KV_FORKED, KV_IO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_status_get(
    db: *const KvDb,
    out: *mut *mut KvStatus,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        require_output(out, "out")?;
        let status = c.arg(db)?.0.status()?;
        let view = StatusContents {
            lmdb_version: status.lmdb_version.as_deref().map(text),
            store_id: text(&status.store_id),
            alarms: status.alarms.iter().map(alarm_view).collect(),
            status,
        };
        c.give::<KvStatus>(out, view);
        Ok(())
    })
}

/// The number selected by KV_STATUS_…. KV_YES and *out, or KV_NO if the number does not exist or
/// cannot be known (a cluster does not show its files and its readers, and its user may not be
/// allowed to read all keys), for an unknown name and for NULL.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_status_number(
    status: *const KvStatus,
    name: i32,
    out: *mut i64,
) -> i32 {
    guard_value!(KV_NO, |c| Some(
        c.put_known(out, number(&c.arg(status).ok()?.status, name))
    ))
}

fn number(status: &Status, name: i32) -> Option<i64> {
    let large = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    match name {
        KV_STATUS_REVISION => Some(status.revision),
        KV_STATUS_COMPACTED_REVISION => status.compacted_revision,
        KV_STATUS_KEYS => status.keys.map(large),
        KV_STATUS_BYTES_ON_DISK => Some(large(status.bytes_on_disk)),
        KV_STATUS_BYTES_IN_USE => Some(large(status.bytes_in_use)),
        KV_STATUS_READERS => status.readers.map(i64::from),
        KV_STATUS_WATCHERS => Some(large(status.watchers)),
        KV_STATUS_LEASES => status.leases.map(large),
        KV_STATUS_FORMAT_VERSION => status.format_version.map(i64::from),
        KV_STATUS_DURABILITY => status
            .durability
            .map(|durability| i64::from(durability_number(durability))),
        KV_STATUS_WRITER_PID => status.writer_pid.map(i64::from),
        KV_STATUS_WRITER_HELD_MS => status.writer_held_ms.map(large),
        KV_STATUS_OLDEST_READER => status.oldest_reader.map(large),
        KV_STATUS_MAX_BYTES => status.max_bytes.map(large),
        _ => None,
    }
}

/// The current revision.
pub const KV_STATUS_REVISION: i32 = 1;
/// The compacted revision; absent if the store was never compacted.
pub const KV_STATUS_COMPACTED_REVISION: i32 = 2;
/// The number of keys.
pub const KV_STATUS_KEYS: i32 = 3;
/// Bytes that the store's files use on disk.
pub const KV_STATUS_BYTES_ON_DISK: i32 = 4;
/// Bytes of pages that hold data.
pub const KV_STATUS_BYTES_IN_USE: i32 = 5;
/// Read transactions that are active or kept for reuse, in all processes.
pub const KV_STATUS_READERS: i32 = 6;
/// Watchers of this process.
pub const KV_STATUS_WATCHERS: i32 = 7;
/// The number of leases.
pub const KV_STATUS_LEASES: i32 = 8;
/// The version of the format on disk.
pub const KV_STATUS_FORMAT_VERSION: i32 = 9;
/// KV_DURABILITY_… of this handle.
pub const KV_STATUS_DURABILITY: i32 = 10;
/// The pid of the process that holds the write lock; absent if no process holds it.
pub const KV_STATUS_WRITER_PID: i32 = 11;
/// How long it has held the write lock, in milliseconds.
pub const KV_STATUS_WRITER_HELD_MS: i32 = 12;
/// By how many commits the oldest active reader is behind; absent if there is none.
pub const KV_STATUS_OLDEST_READER: i32 = 13;

/// The version of LMDB in this process, for example "0.9.24".
pub const KV_STATUS_LMDB_VERSION: i32 = 14;
/// The unique id of this store: 32 hexadecimal digits.
pub const KV_STATUS_STORE_ID: i32 = 15;
/// The quota for KV_STATUS_BYTES_IN_USE, in bytes; absent if there is no quota.
pub const KV_STATUS_MAX_BYTES: i32 = 16;

/// The text selected by KV_STATUS_… (lmdb_version, store_id); NULL if it cannot be known, and for
/// other names.
///
/// Owner: the status; the text is valid until it is freed.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_status_text(status: *const KvStatus, name: i32) -> *const c_char {
    guard_value!(std::ptr::null(), |c| {
        let view = c.arg(status).ok()?;
        match name {
            KV_STATUS_LMDB_VERSION => view.lmdb_version.as_ref().map(|text| text.as_ptr()),
            KV_STATUS_STORE_ID => Some(view.store_id.as_ptr()),
            _ => None,
        }
    })
}

/// The number of active alarms; 0 if there is none, and for NULL.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_status_alarms_len(status: *const KvStatus) -> usize {
    guard_value!(0, |c| Some(c.arg(status).ok()?.alarms.len()))
}

/// The active alarm at index, sorted by kind and member; NULL beyond the last.
///
/// Owner: the status; the alarm is valid until it is freed.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_status_alarms_at(
    status: *const KvStatus,
    index: usize,
) -> *const KvAlarm {
    guard_value!(std::ptr::null(), |c| {
        let view = c.arg(status).ok()?;
        view.alarms.get(index).map(std::ptr::from_ref)
    })
}

/// KV_YES after a failed sync: the store accepts no more writes until every process has closed it.
/// Otherwise KV_NO.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_status_poisoned(status: *const KvStatus) -> i32 {
    guard_value!(KV_NO, |c| Some(flag_out(
        c.arg(status).ok()?.status.poisoned
    )))
}

/// KV_YES if the store's files were removed while it is open: data written since is lost when the
/// last process closes the store. Otherwise KV_NO.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_status_removed(status: *const KvStatus) -> i32 {
    guard_value!(KV_NO, |c| Some(flag_out(
        c.arg(status).ok()?.status.removed
    )))
}

/// Frees a status.
///
/// Owner: frees it; NULL is allowed.
/// Threads: the last use of it.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_status_free(status: *mut KvStatus) {
    free!(status)
}

/// Reads the complete store and verifies every invariant of core/DESIGN.md. It takes as long as
/// reading all data; writers are not blocked.
///
/// Owner: *out is owned by the caller, to free with kv_check_report_free.
/// Threads: any.
/// Errors: KV_CLOSED, KV_FORKED, KV_IO, KV_CORRUPT (too damaged to read on).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_check(
    db: *const KvDb,
    out: *mut *mut KvCheckReport,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        require_output(out, "out")?;
        c.give::<KvCheckReport>(out, checked(c.arg(db)?.0.check()?));
        Ok(())
    })
}

fn checked(report: CheckReport) -> ReportContents {
    let mut texts = Vec::new();
    let problems = report.problems.iter().map(|problem| {
        let (invariant, message) = (text(problem.invariant), text(&problem.message));
        let view = KvProblem {
            invariant: invariant.as_ptr(),
            key: bytes_out(&problem.key),
            revision: problem.revision.unwrap_or(0),
            message: message.as_ptr(),
        };
        texts.extend([invariant, message]);
        view
    });
    let problems = problems.collect();
    ReportContents {
        problems,
        report,
        _texts: texts,
    }
}

/// The number of keys that were checked; 0 for NULL.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_check_report_keys(report: *const KvCheckReport) -> u64 {
    guard_value!(0, |c| Some(c.arg(report).ok()?.report.keys))
}

/// The number of events that were checked; 0 for NULL.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_check_report_events(report: *const KvCheckReport) -> u64 {
    guard_value!(0, |c| Some(c.arg(report).ok()?.report.events))
}

/// The number of problems; 0 if the store is sound, and for NULL.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_check_report_len(report: *const KvCheckReport) -> usize {
    guard_value!(0, |c| Some(c.arg(report).ok()?.problems.len()))
}

/// The problem at index; NULL beyond the last.
///
/// Owner: the report; the problem is valid until it is freed.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_check_report_at(
    report: *const KvCheckReport,
    index: usize,
) -> *const KvProblem {
    guard_value!(std::ptr::null(), |c| c
        .arg(report)
        .ok()?
        .problems
        .get(index)
        .map(std::ptr::from_ref))
}

/// Frees a report.
///
/// Owner: frees it; NULL is allowed.
/// Threads: the last use of it.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_check_report_free(report: *mut KvCheckReport) {
    free!(report)
}

/// The ABI number of the loaded library; compare it with KV_ABI_VERSION. Within one number, symbols
/// and structs only grow.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub extern "C" fn kv_abi_version() -> u32 {
    value(0, || Some(KV_ABI_VERSION))
}

/// The version of the loaded library, for example "0.1.0".
///
/// Owner: the library; the text is valid until the program ends.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub extern "C" fn kv_version() -> *const c_char {
    const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    value(c"".as_ptr(), || Some(VERSION.as_ptr().cast()))
}
