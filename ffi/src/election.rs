//! An election between processes.
#![allow(unsafe_code)]

use libkv::{Election, Leaders};

use crate::db::KvDb;
use crate::error::KvError;
use crate::guard::{free, guard, guard_value};
use crate::handle::kinds;
use crate::lock::UseLock;
use crate::pointers::require_output;
use crate::types::*;

/// An election: one leader among all candidates for a name.
pub struct KvElection;

/// A stream of the leaders of an election.
pub struct KvLeaders;

/// What a `kv_election` holds.
pub(crate) struct Candidate {
    own: UseLock<Election>,
    /// Never campaigns: for reading the leader while `own` campaigns.
    observer: Election,
}

kinds! {
    KvElection = Candidate, b"kv_elect", "kv_election";
    KvLeaders = UseLock<Leaders>, b"kv_leads", "kv_leaders";
}

/// Opens an election; it does not campaign yet. The keys are those of etcd's election service:
/// NAME/LEASE, with the lease in hexadecimal and the proclaimed value as value.
///
/// The leader is the candidate whose key was created first. If the leader resigns, or its process
/// ends (noticed within 500 ms), the next candidate leads. A leader that is stopped for longer than
/// ttl_seconds may believe for a moment that it still leads: kv_election_proclaim then fails; fence
/// other writes with kv_election_revision.
///
/// Owner: *out is owned by the caller, to free before or after the database; name is not kept.
/// Threads: any.
/// Errors: KV_INVALID_ARGUMENT (an empty name), KV_CLOSED, KV_FORKED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_election_open(
    db: *const KvDb,
    name: KvBytes,
    ttl_seconds: i64,
    out: *mut *mut KvElection,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        require_output(out, "out")?;
        let (db, name) = (&c.arg(db)?.0, c.bytes(name, "the name")?);
        let own = UseLock::new(db.clone(), db.election(name, ttl_seconds)?);
        let observer = db.election(name, ttl_seconds)?;
        c.give::<KvElection>(out, Candidate { own, observer });
        Ok(())
    })
}

/// Waits until this candidate leads, up to timeout_ms milliseconds, KV_NO_WAIT or KV_FOREVER (the
/// default, 0), and proclaims value. If it leads already it only proclaims.
///
/// Owner: value is not kept.
/// Threads: one at a time; a second concurrent call returns KV_INVALID_ARGUMENT.
/// Errors: KV_TIMEOUT, which names the leader's key; KV_LEASE_LOST; KV_INVALID_ARGUMENT (also for a
/// TTL over 9,000,000,000 s), and those of kv_put. After an error it is no candidate.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_election_campaign(
    election: *mut KvElection,
    value: KvBytes,
    timeout_ms: i64,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        let value = c.bytes(value, "the value")?;
        c.arg(election)?
            .own
            .enter()?
            .campaign(value, timeout_in(timeout_ms)?)
    })
}

/// Changes the value of the leader.
///
/// Owner: value is not kept.
/// Threads: one at a time.
/// Errors: KV_FAILED_PRECONDITION (it does not lead), KV_LEASE_LOST (it lost the leadership), and
/// those of kv_put.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_election_proclaim(
    election: *mut KvElection,
    value: KvBytes,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        let value = c.bytes(value, "the value")?;
        c.arg(election)?.own.enter()?.proclaim(value)
    })
}

/// Reads the leader's pair; *out is NULL if there is no leader. The leader may be in another
/// process.
///
/// Owner: *out is owned by the caller, to free with kv_key_value_free.
/// Threads: any, also while another thread campaigns.
/// Errors: KV_INVALID_ARGUMENT, KV_CLOSED, KV_FORKED, KV_CORRUPT, KV_IO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_election_leader(
    election: *const KvElection,
    out: *mut *mut KvKeyValue,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        require_output(out, "out")?;
        let leader = c.arg(election)?.observer.leader()?;
        c.put(out, leader.map_or(std::ptr::null_mut(), owned));
        Ok(())
    })
}

/// Follows an election: delivers the current leader, then each new leader and each new value.
///
/// Owner: *out is owned by the caller, to free before or after the election and the database.
/// Threads: any, also while another thread campaigns.
/// Errors: those of kv_watch.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_election_observe(
    election: *const KvElection,
    out: *mut *mut KvLeaders,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        require_output(out, "out")?;
        let candidate = c.arg(election)?;
        c.give::<KvLeaders>(
            out,
            UseLock::new(candidate.own.db.clone(), candidate.observer.observe()?),
        );
        Ok(())
    })
}

/// Resigns, or withdraws the candidature; does nothing if it is no candidate. It can campaign
/// again.
///
/// Owner: no ownership changes.
/// Threads: one at a time.
/// Errors: those of kv_lock_release.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_election_resign(
    election: *mut KvElection,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| c.arg(election)?.own.enter()?.resign())
}

/// KV_YES if it leads, otherwise KV_NO. KV_NO also once its lease is known to be lost.
///
/// Owner: no ownership changes.
/// Threads: one at a time.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_election_is_leader(election: *const KvElection) -> i32 {
    guard_value!(KV_NO, |c| Some(flag_out(
        c.arg(election).ok()?.own.peek(Election::is_leader)?,
    )))
}

/// Its key in the store while it leads; otherwise no bytes.
///
/// Owner: the election; the key is valid until the next call that campaigns, resigns or frees it.
/// Threads: one at a time.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_election_key(election: *const KvElection) -> KvBytes {
    guard_value!(NO_BYTES, |c| c
        .arg(election)
        .ok()?
        .own
        .peek(|own| bytes_out(own.key())))
}

/// The revision at which its key was created, for fencing as with kv_lock_revision; 0, which is no
/// revision, before it leads, after it resigns, and for NULL.
///
/// Owner: no ownership changes.
/// Threads: one at a time.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_election_revision(election: *const KvElection) -> i64 {
    guard_value!(0, |c| c.arg(election).ok()?.own.peek(Election::revision)?)
}

/// Frees the handle; a candidate or leader resigns soon after.
///
/// Owner: frees it; NULL is allowed.
/// Threads: the last use of it.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_election_free(election: *mut KvElection) {
    free!(election)
}

/// Returns the next leader's pair, or the same leader's pair with a new value. It waits up to
/// timeout_ms milliseconds, KV_NO_WAIT or KV_FOREVER (the default, 0); *out is NULL if the time
/// passed. If changes come faster than they are read only the last one is returned.
///
/// Owner: *out is owned by the caller, to free with kv_key_value_free.
/// Threads: one at a time; a second concurrent call returns KV_INVALID_ARGUMENT. kv_close of the
/// database ends the wait at once.
/// Errors: KV_INVALID_ARGUMENT, KV_CLOSED, KV_FORKED, KV_CORRUPT, KV_IO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_leaders_next(
    leaders: *mut KvLeaders,
    timeout_ms: i64,
    out: *mut *mut KvKeyValue,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        require_output(out, "out")?;
        let mut leaders = c.arg(leaders)?.enter()?;
        let next = Leaders::next(&mut leaders, timeout_in(timeout_ms)?)?;
        c.put(out, next.map_or(std::ptr::null_mut(), owned));
        Ok(())
    })
}

/// Frees the leaders.
///
/// Owner: frees them; NULL is allowed.
/// Threads: the last use of them.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_leaders_free(leaders: *mut KvLeaders) {
    free!(leaders)
}
