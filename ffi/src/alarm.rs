//! Alarms: those that are active, to be raised and to be ended.
#![allow(unsafe_code)]

use libkv::{AlarmKind, AlarmMember, Result};

use crate::db::KvDb;
use crate::error::KvError;
use crate::guard::{borrow, free, give_out, guard, guard_value, invalid, kinds, wanted};
use crate::types::*;

/// Alarms; see kv_alarm_list.
pub struct KvAlarms;

/// The quota is used up: what takes room answers KV_FULL, what makes room goes on.
pub const KV_ALARM_NOSPACE: i32 = 1;
/// The data is not to be trusted: every write answers KV_CORRUPT.
pub const KV_ALARM_CORRUPT: i32 = 2;

/// An alarm that is active, or was until now.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct KvAlarm {
    /// The member that it names. A store names itself by the second half of its store id.
    pub member: u64,
    /// KV_ALARM_….
    pub kind: i32,
}

kinds! {
    KvAlarms = Vec<KvAlarm>, b"kv_alarm", "kv_alarms";
}

fn view(alarm: &AlarmMember) -> KvAlarm {
    let kind = match alarm.kind {
        AlarmKind::NoSpace => KV_ALARM_NOSPACE,
        AlarmKind::Corrupt => KV_ALARM_CORRUPT,
    };
    KvAlarm { member: alarm.member, kind }
}

fn views(alarms: Vec<AlarmMember>) -> Vec<KvAlarm> {
    alarms.iter().map(view).collect()
}

fn kind_in(kind: i32) -> Result<AlarmKind> {
    match kind {
        KV_ALARM_NOSPACE => Ok(AlarmKind::NoSpace),
        KV_ALARM_CORRUPT => Ok(AlarmKind::Corrupt),
        other => Err(invalid(format!("{other} is no KV_ALARM"))),
    }
}

/// The alarms that are active, by kind and member. One that is active stays until it is disarmed, also
/// over a restart, and every process that writes obeys it.
///
/// Owner: *out is the caller's, to free with kv_alarms_free.
/// Threads: any.
/// Errors: KV_INVALID_ARGUMENT, KV_CLOSED, KV_FORKED, KV_CORRUPT, KV_IO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_alarm_list(db: *const KvDb, out: *mut *mut KvAlarms, error: *mut *mut KvError) -> KvCode {
    // SAFETY: pointers as the header asks for.
    unsafe {
        guard(error, || {
            wanted(out, "out")?;
            give_out::<KvAlarms>(out, views(borrow(db)?.0.alarm_list()?));
            Ok(())
        })
    }
}

/// Raises an alarm of this kind, KV_ALARM_…, in the name of any member; 0 will do. Programs seldom do
/// so: KV_ALARM_NOSPACE comes by itself where kv_options.limits is KV_LIMITS_ETCD.
///
/// Owner: nothing changes hands.
/// Threads: any.
/// Errors: KV_INVALID_ARGUMENT, and as kv_put, but for KV_FULL of the quota.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_alarm_activate(
    db: *const KvDb,
    kind: i32,
    member: u64,
    error: *mut *mut KvError,
) -> KvCode {
    // SAFETY: pointers as the header asks for.
    unsafe {
        guard(error, || {
            borrow(db)?.0.alarm_activate(kind_in(kind)?, member)?;
            Ok(())
        })
    }
}

/// Ends alarms: those of this member (0: of every member) and of this kind (0: of every kind). *out, if
/// wanted, are those that were active. Make room first: KV_ALARM_NOSPACE comes back with the next put
/// else.
///
/// Owner: *out is the caller's, to free with kv_alarms_free.
/// Threads: any.
/// Errors: as kv_alarm_activate.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_alarm_disarm(
    db: *const KvDb,
    member: u64,
    kind: i32,
    out: *mut *mut KvAlarms,
    error: *mut *mut KvError,
) -> KvCode {
    // SAFETY: pointers as the header asks for.
    unsafe {
        guard(error, || {
            let kind = if kind == 0 { None } else { Some(kind_in(kind)?) };
            let ended = borrow(db)?.0.alarm_disarm(member, kind)?;
            if !out.is_null() {
                give_out::<KvAlarms>(out, views(ended));
            }
            Ok(())
        })
    }
}

/// How many alarms there are; 0 for NULL.
///
/// Owner: nothing changes hands.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_alarms_len(alarms: *const KvAlarms) -> usize {
    // SAFETY: pointers as the header asks for.
    guard_value(0, || unsafe { Some(borrow(alarms).ok()?.len()) })
}

/// Alarm number index; NULL beyond the last.
///
/// Owner: the alarms; it lives until they are freed.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_alarms_at(alarms: *const KvAlarms, index: usize) -> *const KvAlarm {
    // SAFETY: pointers as the header asks for.
    guard_value(std::ptr::null(), || unsafe { borrow(alarms).ok()?.get(index).map(std::ptr::from_ref) })
}

/// Frees alarms.
///
/// Owner: takes them; NULL is fine.
/// Threads: the last use of them.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_alarms_free(alarms: *mut KvAlarms) {
    // SAFETY: pointers as the header asks for.
    unsafe { free(alarms) }
}
