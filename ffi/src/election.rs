//! An election between processes.
#![allow(unsafe_code)]

use libkv::{Election, Leaders};

use crate::db::KvDb;
use crate::error::KvError;
use crate::guard::{borrow, free, give_out, guard, guard_value, kinds, put_out, wanted};
use crate::lock::Alone;
use crate::types::*;

/// An election of one leader among all who campaign for a name.
pub struct KvElection;

/// The leaders of an election, one after the other.
pub struct KvLeaders;

/// What a `kv_election` holds.
pub(crate) struct Candidate {
    own: Alone<Election>,
    /// Stands nowhere: for looking at the others while `own` campaigns.
    onlooker: Election,
}

kinds! {
    KvElection = Candidate, b"kv_elect", "kv_election";
    KvLeaders = Alone<Leaders>, b"kv_leads", "kv_leaders";
}

/// An election by this name; nobody campaigns yet. Its keys are laid out as etcd's own election service
/// does: NAME/LEASE, the lease in hexadecimal, with what is proclaimed as the value.
///
/// Of all keys of the name the one that was put first is the leader's. A leader that resigns, or whose
/// process dies (noticed within 500 ms), is followed by the next who campaigned. One that is stopped
/// for longer than ttl_seconds may wake up and believe for a moment that it still leads:
/// kv_election_proclaim is refused then, other writes are fenced by kv_election_revision.
///
/// Owner: *out is the caller's, to free before or after the database; name is not kept.
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
    // SAFETY: pointers as the header asks for.
    unsafe {
        guard(error, || {
            wanted(out, "out")?;
            let (db, name) = (&borrow(db)?.0, bytes_in(name, "the name")?);
            let own = Alone::new(db.clone(), db.election(name, ttl_seconds)?);
            let onlooker = db.election(name, ttl_seconds)?;
            give_out::<KvElection>(out, Candidate { own, onlooker });
            Ok(())
        })
    }
}

/// Waits until it leads, up to timeout_ms milliseconds, KV_NO_WAIT or KV_FOREVER (the default, 0), and
/// proclaims value as its own; one that leads already proclaims only.
///
/// Owner: value is not kept.
/// Threads: one at a time; a second one is refused.
/// Errors: KV_TIMEOUT, naming the leader's key; KV_LEASE_LOST; KV_INVALID_ARGUMENT (a TTL over
/// 9,000,000,000 s too), and as kv_put. After any of them it does not stand.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_election_campaign(
    election: *mut KvElection,
    value: KvBytes,
    timeout_ms: i64,
    error: *mut *mut KvError,
) -> KvCode {
    // SAFETY: pointers as the header asks for.
    unsafe {
        guard(error, || {
            let value = bytes_in(value, "the value")?;
            borrow(election)?.own.enter()?.campaign(value, timeout_in(timeout_ms)?)
        })
    }
}

/// Changes the value that the leader is known by.
///
/// Owner: value is not kept.
/// Threads: one at a time.
/// Errors: KV_FAILED_PRECONDITION (it does not lead), KV_LEASE_LOST (it does no longer), and as kv_put.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_election_proclaim(
    election: *mut KvElection,
    value: KvBytes,
    error: *mut *mut KvError,
) -> KvCode {
    // SAFETY: pointers as the header asks for.
    unsafe {
        guard(error, || {
            let value = bytes_in(value, "the value")?;
            borrow(election)?.own.enter()?.proclaim(value)
        })
    }
}

/// The leader's pair; *out is NULL if there is none. It may be another process's.
///
/// Owner: *out is the caller's, to free with kv_key_value_free.
/// Threads: any, also while another one campaigns.
/// Errors: KV_INVALID_ARGUMENT, KV_CLOSED, KV_FORKED, KV_CORRUPT, KV_IO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_election_leader(
    election: *const KvElection,
    out: *mut *mut KvKeyValue,
    error: *mut *mut KvError,
) -> KvCode {
    // SAFETY: pointers as the header asks for.
    unsafe {
        guard(error, || {
            wanted(out, "out")?;
            let leader = borrow(election)?.onlooker.leader()?;
            put_out(out, leader.map_or(std::ptr::null_mut(), owned));
            Ok(())
        })
    }
}

/// Follows an election: each leader from the present one on, and each value that one proclaims.
///
/// Owner: *out is the caller's, to free before or after the election and the database.
/// Threads: any, also while another one campaigns.
/// Errors: as kv_watch.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_election_observe(
    election: *const KvElection,
    out: *mut *mut KvLeaders,
    error: *mut *mut KvError,
) -> KvCode {
    // SAFETY: pointers as the header asks for.
    unsafe {
        guard(error, || {
            wanted(out, "out")?;
            let candidate = borrow(election)?;
            give_out::<KvLeaders>(out, Alone::new(candidate.own.db.clone(), candidate.onlooker.observe()?));
            Ok(())
        })
    }
}

/// Steps down, or out of the line; does nothing if it stands nowhere. It can campaign again.
///
/// Owner: nothing changes hands.
/// Threads: one at a time.
/// Errors: as kv_lock_release.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_election_resign(election: *mut KvElection, error: *mut *mut KvError) -> KvCode {
    // SAFETY: pointers as the header asks for.
    unsafe { guard(error, || borrow(election)?.own.enter()?.resign()) }
}

/// Whether it leads, as far as is known here: KV_YES or KV_NO. KV_NO once its lease is known to be
/// lost.
///
/// Owner: nothing changes hands.
/// Threads: one at a time.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_election_is_leader(election: *const KvElection) -> i32 {
    // SAFETY: pointers as the header asks for.
    guard_value(KV_NO, || unsafe { Some(flag_out(borrow(election).ok()?.own.peek(Election::is_leader)?)) })
}

/// Its key in the store while it leads; else no bytes.
///
/// Owner: the election; the key lives until the next call that campaigns, resigns or frees it.
/// Threads: one at a time.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_election_key(election: *const KvElection) -> KvBytes {
    // SAFETY: pointers as the header asks for.
    guard_value(NO_BYTES, || unsafe { borrow(election).ok()?.own.peek(|own| bytes_out(own.key())) })
}

/// The revision that created its key, which fences as kv_lock_revision does; 0 while it does not lead.
///
/// Owner: nothing changes hands.
/// Threads: one at a time.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_election_revision(election: *const KvElection) -> i64 {
    // SAFETY: pointers as the header asks for.
    guard_value(0, || unsafe { borrow(election).ok()?.own.peek(Election::revision) })
}

/// Frees the handle; if it stands, it resigns soon after.
///
/// Owner: takes it; NULL is fine.
/// Threads: the last use of it.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_election_free(election: *mut KvElection) {
    // SAFETY: pointers as the header asks for.
    unsafe { free(election) }
}

/// The next leader's pair, or the same one's with a new value. It waits for it up to timeout_ms
/// milliseconds, KV_NO_WAIT or KV_FOREVER (the default, 0); *out is NULL if that time has passed without
/// one. Of changes that come faster than they are read only the last is answered.
///
/// Owner: *out is the caller's, to free with kv_key_value_free.
/// Threads: one at a time; a second one is refused. kv_close of the database ends the waiting at once.
/// Errors: KV_INVALID_ARGUMENT, KV_CLOSED, KV_FORKED, KV_CORRUPT, KV_IO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_leaders_next(
    leaders: *mut KvLeaders,
    timeout_ms: i64,
    out: *mut *mut KvKeyValue,
    error: *mut *mut KvError,
) -> KvCode {
    // SAFETY: pointers as the header asks for.
    unsafe {
        guard(error, || {
            wanted(out, "out")?;
            let mut leaders = borrow(leaders)?.enter()?;
            let next = Leaders::next(&mut leaders, timeout_in(timeout_ms)?)?;
            put_out(out, next.map_or(std::ptr::null_mut(), owned));
            Ok(())
        })
    }
}

/// Frees the leaders.
///
/// Owner: takes them; NULL is fine.
/// Threads: the last use of them.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_leaders_free(leaders: *mut KvLeaders) {
    // SAFETY: pointers as the header asks for.
    unsafe { free(leaders) }
}
