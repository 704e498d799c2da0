//! Leases and time: what is kept alive, and when somebody must look for what is not. (I6)
//!
//! It deletes nothing itself: it orders an expiry from the writer, whichever process's writer comes
//! first to it, and that takes place under the writer's lock.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::commit::{Committer, Terms};
use super::guard::Guard;
use super::lmdb::Env;
use super::mvcc::lease;
use super::os;
use super::slots::{DEAD, Owner, this_process};
use crate::engine::KeepAlive;
use crate::error::{Code, Error, Result};
use crate::model::LeaseId;
use crate::request::{Durability, LeaseKeepAliveResponse, LeaseTimeToLiveResponse};

const NS: u64 = 1_000_000_000;
/// The processes that leases of others end with are asked for so often.
const OWNERS_NS: u64 = 400_000_000;
/// An expiry that came to nothing is ordered again after so long.
const AGAIN_NS: u64 = 500_000_000;
/// For whoever waits for an expiry: a clock that is advanced.
const EXPIRY_TIMEOUT: Duration = Duration::from_secs(60);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a lost lease's handle wants run.
pub(crate) type Lost = Box<dyn FnOnce() + Send>;

/// The leases of one store, as this process sees them.
pub(crate) struct Leases {
    env: Arc<Env>,
    guard: Arc<Guard>,
    commit: Committer,
    kept: Mutex<HashMap<u64, Kept>>,
    last_kept: AtomicU64,
    times: Mutex<Times>,
    /// The count of slots taken back at which `kept` was looked through last; 0 is never.
    freed: AtomicU64,
    /// The fork generation that it was made in.
    generation: u64,
}

/// A lease that a handle of this process keeps alive.
struct Kept {
    id: LeaseId,
    slot: u32,
    /// The handle that it was made from.
    handle: u64,
    ttl_seconds: i64,
    renew_ns: u64,
    lost: Lost,
}

impl Kept {
    fn renew_after(&mut self, now_ns: u64) {
        self.renew_ns = now_ns.saturating_add(
            u64::try_from(self.ttl_seconds)
                .unwrap_or(0)
                .saturating_mul(NS / 3),
        );
    }
}

/// When something was done last.
#[derive(Default)]
struct Times {
    ordered_ns: Option<u64>,
    asked_owners_ns: u64,
    /// The count of changes that `foreign` was counted at.
    owner_changes: u64,
    /// The other processes that leases end with.
    foreign: HashSet<Owner>,
}

impl Leases {
    pub fn new(env: Arc<Env>, guard: Arc<Guard>, commit: Committer) -> Arc<Leases> {
        Arc::new(Leases {
            env,
            guard,
            commit,
            kept: Mutex::default(),
            last_kept: AtomicU64::new(0),
            times: Mutex::default(),
            freed: AtomicU64::new(0),
            generation: os::fork_generation(),
        })
    }

    /// Gives a lease its full TTL again; 0 seconds if it is gone.
    pub fn keep_alive(&self, id: LeaseId) -> Result<LeaseKeepAliveResponse> {
        self.renew(id, false, 0)
    }

    /// `late`: also if its deadline has passed, as long as nobody has revoked it for that. Its TTL
    /// begins `ahead_ns` from now.
    fn renew(&self, id: LeaseId, late: bool, ahead_ns: u64) -> Result<LeaseKeepAliveResponse> {
        let entry = lease::find(&*self.env.read()?, id)?;
        let now_ns = self.commit.now_ns();
        let ttl_seconds = entry.map_or(0, |entry| {
            loop {
                let Some(place) = self.guard.place(entry.slot).filter(|place| place.id == id)
                else {
                    break 0;
                };
                if place.deadline == DEAD || (place.deadline <= now_ns && !late) {
                    break 0;
                }
                if self.guard.swap_deadline(
                    entry.slot,
                    place.deadline,
                    lease::deadline(now_ns.saturating_add(ahead_ns), entry.ttl_seconds),
                ) {
                    break entry.ttl_seconds;
                }
            }
        });
        Ok(LeaseKeepAliveResponse { id, ttl_seconds })
    }

    /// What is left of a lease.
    pub fn time_to_live(&self, id: LeaseId, keys: bool) -> Result<LeaseTimeToLiveResponse> {
        let txn = self.env.read()?;
        let Some(entry) = lease::find(&txn, id)? else {
            return Ok(LeaseTimeToLiveResponse {
                id,
                ttl_seconds: -1,
                ..LeaseTimeToLiveResponse::default()
            });
        };
        let left_ns = match self.guard.place(entry.slot).filter(|place| place.id == id) {
            Some(place) => place.deadline.saturating_sub(self.commit.now_ns()),
            // on a read-only medium time stands still
            None => lease::deadline(0, entry.ttl_seconds),
        };
        let keys = if keys {
            lease::keys(&txn, id, &[], usize::MAX)?
        } else {
            Vec::new()
        };
        let ttl_seconds = (left_ns / NS) as i64;
        Ok(LeaseTimeToLiveResponse {
            id,
            ttl_seconds,
            granted_ttl_seconds: entry.ttl_seconds,
            keys,
        })
    }

    /// The ids of all leases, the next to expire first.
    pub fn list(&self) -> Result<Vec<LeaseId>> {
        let leases = lease::all(&*self.env.read()?)?;
        let deadline = |slot| self.guard.place(slot).map_or(DEAD, |place| place.deadline);
        let mut by_time: Vec<(u64, LeaseId)> = leases
            .iter()
            .map(|(id, entry)| (deadline(entry.slot), *id))
            .collect();
        by_time.sort_unstable();
        Ok(by_time.into_iter().map(|(_, id)| id).collect())
    }

    /// Keeps a lease alive until what this answers is dropped.
    pub fn keep(
        self: &Arc<Self>,
        handle: u64,
        id: LeaseId,
        lost: Lost,
    ) -> Result<Box<dyn KeepAlive>> {
        let not_found = || {
            Error::new(
                Code::LeaseNotFound,
                format!("requested lease not found (lease {id})"),
            )
        };
        let slot = lease::find(&*self.env.read()?, id)?
            .ok_or_else(not_found)?
            .slot;
        let ttl_seconds = self.keep_alive(id)?.ttl_seconds;
        if ttl_seconds == 0 {
            return Err(not_found());
        }
        let mut kept = Kept {
            id,
            slot,
            handle,
            ttl_seconds,
            renew_ns: 0,
            lost,
        };
        kept.renew_after(self.commit.now_ns());
        let number = self.last_kept.fetch_add(1, Ordering::Relaxed);
        lock(&self.kept).insert(number, kept);
        // it may have been revoked before it was entered here
        self.freed.store(0, Ordering::Release);
        // so that whoever waits for the next thing to do learns of this one
        self.guard.ring();
        Ok(Box::new(Keeper {
            leases: Arc::downgrade(self),
            number,
        }))
    }

    /// Keeps nothing alive any more for this handle; answers what it kept, the first first.
    pub fn let_go(&self, handle: u64) -> Vec<LeaseId> {
        let gone: Vec<Kept> = {
            let mut kept = lock(&self.kept);
            let mut theirs: Vec<u64> = kept
                .iter()
                .filter(|(_, kept)| kept.handle == handle)
                .map(|(at, _)| *at)
                .collect();
            theirs.sort_unstable();
            theirs
                .into_iter()
                .filter_map(|at| kept.remove(&at))
                .collect()
        };
        // what they wanted to be told is somebody else's code: dropped outside the lock
        gone.into_iter().map(|kept| kept.id).collect()
    }

    /// Takes out leases that a process has revoked or that have expired: their slots are free or in other use.
    fn take_gone(&self) -> Vec<Lost> {
        let freed = self.guard.freed();
        if self.freed.swap(freed, Ordering::AcqRel) == freed {
            return Vec::new();
        }
        let mut kept = lock(&self.kept);
        let is_gone = |kept: &Kept| {
            self.guard
                .place(kept.slot)
                .is_none_or(|place| place.id != kept.id)
        };
        let gone: Vec<u64> = kept
            .iter()
            .filter(|(_, kept)| is_gone(kept))
            .map(|(at, _)| *at)
            .collect();
        gone.into_iter()
            .filter_map(|at| kept.remove(&at))
            .map(|gone| gone.lost)
            .collect()
    }

    /// Renews what is due, or all; answers what was lost, to be told once no lock is held.
    fn renew_kept(&self, now_ns: u64, all: bool) -> Vec<Lost> {
        let mut lost = Vec::new();
        let mut kept = lock(&self.kept);
        let due: Vec<u64> = kept
            .iter()
            .filter(|(_, kept)| all || kept.renew_ns <= now_ns)
            .map(|(at, _)| *at)
            .collect();
        for at in due {
            let Some(one) = kept.get_mut(&at) else {
                continue;
            };
            match self.renew(one.id, all, 0) {
                Ok(LeaseKeepAliveResponse { ttl_seconds: 0, .. }) => {
                    lost.extend(kept.remove(&at).map(|gone| gone.lost))
                }
                Ok(_) => one.renew_after(now_ns),
                // no reader's slot, say: soon again
                Err(_) => one.renew_ns = now_ns.saturating_add(AGAIN_NS),
            }
        }
        lost
    }

    /// Does what is due now; answers what was lost, and for how long nothing will be due.
    pub fn work(&self, may_write: bool) -> (Vec<Lost>, Duration) {
        let now_ns = self.commit.now_ns();
        let mut lost = self.take_gone();
        lost.extend(self.renew_kept(now_ns, false));
        let mut next_ns = lock(&self.kept)
            .values()
            .map(|kept| kept.renew_ns)
            .min()
            .unwrap_or(u64::MAX);
        if may_write {
            let mut times = lock(&self.times);
            let owner_gone = self.ask_owners(&mut times, now_ns, &mut next_ns);
            let bound = self.guard.next_deadline();
            let due = owner_gone || bound <= now_ns;
            let again_ns = times
                .ordered_ns
                .map_or(0, |ordered| ordered.saturating_add(AGAIN_NS));
            if due && again_ns <= now_ns {
                times.ordered_ns = Some(now_ns);
                self.commit.expire_leases_soon();
            }
            next_ns = next_ns.min(if due {
                now_ns.saturating_add(AGAIN_NS)
            } else {
                bound
            });
            if !due {
                times.ordered_ns = None;
            }
        }
        (lost, Duration::from_nanos(next_ns.saturating_sub(now_ns)))
    }

    /// Whether a process is gone that a lease ends with; asked now and then, while there are such
    /// leases of others.
    fn ask_owners(&self, times: &mut Times, now_ns: u64, next_ns: &mut u64) -> bool {
        let (changes, owned) = self.guard.owners();
        if owned == 0 {
            return false;
        }
        if times.owner_changes != changes {
            times.foreign = self.guard.distinct_owners();
            times.foreign.remove(&this_process());
            times.owner_changes = changes;
        }
        if times.foreign.is_empty() {
            return false;
        }
        let mut gone = false;
        if times.asked_owners_ns.saturating_add(OWNERS_NS) <= now_ns {
            times.asked_owners_ns = now_ns;
            gone = times
                .foreign
                .iter()
                .any(|owner| self.guard.owner_is_gone(*owner));
        }
        *next_ns = (*next_ns).min(times.asked_owners_ns.saturating_add(OWNERS_NS));
        gone
    }

    /// Whether somebody must look for leases that are past their deadline.
    #[inline]
    pub fn is_due(&self) -> bool {
        let bound = self.guard.next_deadline();
        bound != super::slots::NO_DEADLINE && bound <= self.commit.now_ns()
    }

    /// For a clock in hand that is about to be moved: what handles keep alive must not look expired to
    /// anybody before [`Leases::catch_up`] has come to it.
    pub fn keep_beyond(&self, forward_ms: i64) {
        let ahead_ns = u64::try_from(forward_ms)
            .unwrap_or(0)
            .saturating_mul(1_000_000);
        for kept in lock(&self.kept).values() {
            // one that is gone is told so by what comes next
            let _ = self.renew(kept.id, true, ahead_ns);
        }
    }

    /// For a clock in hand that has been moved: what handles keep alive is renewed, as if it had
    /// been all the time, the rest expires.
    pub fn catch_up(&self) -> Vec<Lost> {
        let lost = self.renew_kept(self.commit.now_ns(), true);
        if self.guard.next_deadline() <= self.commit.now_ns() {
            let terms = Terms::own(Durability::Sync, Some(EXPIRY_TIMEOUT));
            // a store that cannot expire now does so when it can
            let _ = self.commit.expire_leases(terms);
        }
        lost
    }
}

/// A lease is kept alive while this lives.
struct Keeper {
    leases: Weak<Leases>,
    number: u64,
}

impl KeepAlive for Keeper {}

impl Drop for Keeper {
    fn drop(&mut self) {
        // in a forked child the lock may be held by a thread that is not there
        let ours = |leases: &Arc<Leases>| leases.generation == os::fork_generation();
        if let Some(leases) = self.leases.upgrade().filter(ours) {
            let gone = lock(&leases.kept).remove(&self.number);
            drop(gone);
        }
    }
}

/// As the first who opens the store: sees that each lease has its slot, with the deadline that it
/// had if those outlived (`kept`), else with its full TTL.
pub(crate) fn settle(env: &Env, guard: &Guard, kept: bool, now_ns: u64) -> Result<()> {
    let txn = env.read()?;
    // a data file older than the last commit noted was brought back from elsewhere
    let kept = kept && txn.id() >= guard.txn_id();
    let (mut next, mut owned) = (super::slots::NO_DEADLINE, 0);
    // a damaged one is for `check` to name: who cannot open the store cannot ask it
    for (id, entry) in lease::whole(&txn)? {
        guard.ensure_slot(entry.slot)?;
        let own = guard.place(entry.slot).filter(|place| place.id == id);
        let mut place = own.unwrap_or(super::slots::Place {
            id,
            deadline: DEAD,
            owner: None,
        });
        if !kept || own.is_none() {
            place.deadline = lease::deadline(now_ns, entry.ttl_seconds);
            guard.fill_slot(entry.slot, place);
        }
        next = next.min(place.deadline);
        owned += u64::from(place.owner.is_some());
    }
    guard.set_survey(next, owned);
    // filled in the order of ids, not of slots: which are free below the last one is not known
    guard.look_from_first();
    Ok(())
}

/// As anybody who opens the store: if a process has died that a lease ends with, whoever can is to
/// look for it. Nobody may have been there to ask.
pub(crate) fn notice_owners(guard: &Guard) {
    let (_, owned) = guard.owners();
    if owned > 0 && !guard.gone_owners().is_empty() {
        guard.look_now();
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::db::Db;
    use crate::embedded::commit::Outcome;
    use crate::embedded::lmdb::Tree;
    use crate::embedded::opening;
    use crate::options::Options;
    use crate::request::{LeaseGrant, LeaseRevoke, Put, Response};

    /// A handle learned of it when it renewed the lease next, after a third of its TTL.
    #[test]
    fn a_kept_lease_that_is_revoked_or_has_expired_is_lost_at_once() {
        let store = opening::open(Path::new(":memory:"), &Options::new()).expect("a store");
        store.allow_writes().expect("allowed");
        store.background().start().expect("a thread");
        let (terms, leases) = (
            Terms::own(Durability::None, None),
            store.background().leases(),
        );
        for expires in [false, true] {
            let grant = LeaseGrant {
                ttl_seconds: 600,
                id: 0,
                end_with_process: false,
            };
            let Ok(Outcome::Response(Response::LeaseGrant(granted))) =
                store.commit().run(grant, terms)
            else {
                panic!("granted")
            };
            let (lost, is_lost) = std::sync::mpsc::channel();
            let _kept = leases
                .keep(
                    1,
                    granted.id,
                    Box::new(move || lost.send(()).expect("the test waits")),
                )
                .expect("kept");
            if expires {
                let place = store.guard().place(0).expect("its slot");
                assert!(store.guard().swap_deadline(0, place.deadline, 1));
                store.guard().look_now();
                store.guard().ring();
            } else {
                store
                    .commit()
                    .run(LeaseRevoke { id: granted.id }, terms)
                    .expect("revoked");
            }
            is_lost
                .recv_timeout(Duration::from_secs(60))
                .expect("told long before the lease is renewed");
        }
    }

    /// A store with a damaged lease still opens: what is whole can be read, and `check` says what is not.
    #[test]
    fn a_damaged_lease_keeps_nobody_out() {
        let path = std::env::temp_dir().join(format!("libkv-lease-{}", std::process::id()));
        // no entry, and an entry with a slot that no guard has
        for entry in [&[0xff; 3][..], &[0xff; 12]] {
            let options = Options::new();
            let store = opening::open(&path, &options).expect("made");
            {
                let _held = store
                    .guard()
                    .lock_writer(None, None)
                    .expect("the writer's lock");
                let mut txn = store.env().write().expect("a transaction");
                txn.put(Tree::Lease, &[0, 0, 0, 0, 0, 0, 0, 7], entry)
                    .expect("damaged");
                txn.commit(false).expect("committed");
            }
            drop(store);
            let db = Db::open(&path, options).expect("opened");
            db.put(Put::new("k", "v")).expect("put");
            assert_eq!(
                db.check()
                    .expect("checked")
                    .problems
                    .first()
                    .map(|problem| problem.invariant),
                Some("I8")
            );
            drop(db);
            std::fs::remove_dir_all(&path).expect("removed");
        }
    }
}
