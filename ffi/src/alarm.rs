//! Alarms: those that are active, to be raised and to be ended.
#![allow(unsafe_code)]

use libkv::{AlarmKind, AlarmMember, Result};

use crate::db::KvDb;
use crate::error::KvError;
use crate::guard::{free, guard, guard_value};
use crate::handle::{invalid, kinds};
use crate::pointers::require_output;
use crate::types::*;

/// A list of alarms; see kv_alarm_list.
pub struct KvAlarms;

/// An alarm that is active, or that was just disarmed.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct KvAlarm {
    /// The member id. A store's own member id is the second half of its store id.
    pub member: u64,
    /// KV_ALARM_….
    pub kind: i32,
}

kinds! {
    KvAlarms = Vec<KvAlarm>, b"kv_alarm", "kv_alarms";
}

pub(crate) fn alarm_view(alarm: &AlarmMember) -> KvAlarm {
    KvAlarm {
        member: alarm.member,
        kind: alarm_kind_number(alarm.kind),
    }
}

fn views(alarms: Vec<AlarmMember>) -> Vec<KvAlarm> {
    alarms.iter().map(alarm_view).collect()
}

fn kind_in(number: i32) -> Result<AlarmKind> {
    alarm_kind(number).ok_or_else(|| invalid(format!("{number} is no KV_ALARM")))
}

/// Lists the active alarms, sorted by kind and member. An alarm stays active until it is disarmed,
/// also after a restart. It applies to every process that writes.
///
/// Owner: *out is owned by the caller, to free with kv_alarms_free.
/// Threads: any.
/// Errors: KV_INVALID_ARGUMENT, KV_CLOSED, KV_FORKED, KV_CORRUPT, KV_IO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_alarm_list(
    db: *const KvDb,
    out: *mut *mut KvAlarms,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        require_output(out, "out")?;
        c.give::<KvAlarms>(out, views(c.arg(db)?.0.alarm_list()?));
        Ok(())
    })
}

/// Raises an alarm of a kind, KV_ALARM_…, for any member id; 0 is the store's own. Programs rarely
/// need it: KV_ALARM_NOSPACE is raised automatically if kv_options.limits is KV_LIMITS_ETCD.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: KV_INVALID_ARGUMENT, and those of kv_put except KV_FULL for the quota.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_alarm_activate(
    db: *const KvDb,
    kind: i32,
    member: u64,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        c.arg(db)?.0.alarm_activate(kind_in(kind)?, member)?;
        Ok(())
    })
}

/// Disarms the alarms of a member (0: every member) and of a kind (0: every kind). *out, if not
/// NULL, receives those that were active. Free space first: otherwise the next put raises
/// KV_ALARM_NOSPACE again.
///
/// Owner: *out is owned by the caller, to free with kv_alarms_free.
/// Threads: any.
/// Errors: those of kv_alarm_activate.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_alarm_disarm(
    db: *const KvDb,
    member: u64,
    kind: i32,
    out: *mut *mut KvAlarms,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        let kind = if kind == 0 {
            None
        } else {
            Some(kind_in(kind)?)
        };
        let ended = c.arg(db)?.0.alarm_disarm(member, kind)?;
        if !out.is_null() {
            c.give::<KvAlarms>(out, views(ended));
        }
        Ok(())
    })
}

/// The number of alarms; 0 for NULL.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_alarms_len(alarms: *const KvAlarms) -> usize {
    guard_value!(0, |c| Some(c.arg(alarms).ok()?.len()))
}

/// The alarm at index; NULL beyond the last.
///
/// Owner: the alarms; it is valid until they are freed.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_alarms_at(alarms: *const KvAlarms, index: usize) -> *const KvAlarm {
    guard_value!(std::ptr::null(), |c| c
        .arg(alarms)
        .ok()?
        .get(index)
        .map(std::ptr::from_ref))
}

/// Frees alarms.
///
/// Owner: frees them; NULL is allowed.
/// Threads: the last use of them.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_alarms_free(alarms: *mut KvAlarms) {
    free!(alarms)
}
