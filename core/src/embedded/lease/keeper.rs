//! The leases of a store in this process: keep-alive, renewal for handles, and the search
//! for leases that are due.
//!
//! Nothing is deleted here: an expiry is ordered from the writer of this process. If other
//! processes order the same expiry, the first one that gets the write lock does it.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::entries;
use super::slot::{DEAD, LeaseSlots, NO_DEADLINE, NS, Owner, deadline};
use crate::embedded::commit::{Committer, Terms};
use crate::embedded::guard::Guard;
use crate::embedded::lmdb::Env;
use crate::embedded::os;
use crate::engine::KeepAlive;
use crate::error::Result;
use crate::model::LeaseId;
use crate::request::{Durability, LeaseKeepAliveResponse, LeaseTimeToLiveResponse};

/// The interval between checks whether the owners of leases are alive.
const OWNERS_NS: u64 = 400_000_000;
/// An expiry without effect is ordered again after this time.
const AGAIN_NS: u64 = 500_000_000;
/// How long the advance of a manual clock waits for an expiry.
const EXPIRY_TIMEOUT: Duration = Duration::from_secs(60);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Called once when a kept lease has ended.
pub(crate) type LossCallback = Box<dyn FnOnce() + Send>;

/// The leases of one store.
pub(crate) struct Leases {
    env: Arc<Env>,
    guard: Arc<Guard>,
    commit: Committer,
    kept: Mutex<HashMap<u64, KeptLease>>,
    last_kept: AtomicU64,
    times: Mutex<Times>,
    /// The count of cleared slots when `kept` was last checked; 0: check it.
    cleared: AtomicU64,
    /// The fork generation in which this was created.
    generation: u64,
}

/// A lease that a handle of this process keeps alive.
struct KeptLease {
    id: LeaseId,
    slot: u32,
    /// The handle through which it is kept.
    handle: u64,
    ttl_seconds: i64,
    renew_ns: u64,
    lost: LossCallback,
}

impl KeptLease {
    /// Sets the next renewal: after a third of the TTL.
    fn renew_after(&mut self, now_ns: u64) {
        self.renew_ns = now_ns.saturating_add(
            u64::try_from(self.ttl_seconds)
                .unwrap_or(0)
                .saturating_mul(NS / 3),
        );
    }
}

/// When the periodic work was last done.
#[derive(Default)]
struct Times {
    ordered_ns: Option<u64>,
    checked_owners_ns: u64,
    /// The count of owner changes when `foreign` was read.
    owner_changes: u64,
    /// The owners of leases, without this process.
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
            cleared: AtomicU64::new(0),
            generation: os::fork_generation(),
        })
    }

    /// Gives a lease its full TTL again. A TTL of 0 seconds in the response means that it has
    /// ended.
    pub fn keep_alive(&self, id: LeaseId) -> Result<LeaseKeepAliveResponse> {
        self.renew(id, false, 0)
    }

    /// Renews a lease. `late`: also after its deadline, if it is not revoked yet. Its TTL begins
    /// `ahead_ns` from now.
    fn renew(&self, id: LeaseId, late: bool, ahead_ns: u64) -> Result<LeaseKeepAliveResponse> {
        let entry = entries::find(&*self.env.read()?, id)?;
        let now_ns = self.commit.now_ns();
        let ttl_seconds = entry.map_or(0, |entry| {
            let new = deadline(now_ns.saturating_add(ahead_ns), entry.ttl_seconds);
            loop {
                let Some(slot) = self.guard.slot(entry.slot).filter(|slot| slot.id == id) else {
                    break 0;
                };
                if slot.deadline == DEAD || (slot.deadline <= now_ns && !late) {
                    break 0;
                }
                if self.guard.swap_deadline(entry.slot, slot.deadline, new) {
                    break entry.ttl_seconds;
                }
            }
        });
        Ok(LeaseKeepAliveResponse { id, ttl_seconds })
    }

    /// The remaining time of a lease.
    /// The seconds that a lease has left; 0 if its deadline is not known.
    pub fn remaining_seconds(&self, id: LeaseId, slot: u32) -> i64 {
        let slot = self.guard.slot(slot).filter(|slot| slot.id == id);
        let deadline = slot.map_or(0, |slot| slot.deadline);
        (deadline.saturating_sub(self.commit.now_ns()) / NS) as i64
    }

    pub fn time_to_live(&self, id: LeaseId, keys: bool) -> Result<LeaseTimeToLiveResponse> {
        let txn = self.env.read()?;
        let Some(entry) = entries::find(&txn, id)? else {
            return Ok(LeaseTimeToLiveResponse {
                id,
                ttl_seconds: -1,
                ..LeaseTimeToLiveResponse::default()
            });
        };
        let left_ns = match self.guard.slot(entry.slot).filter(|slot| slot.id == id) {
            Some(slot) => slot.deadline.saturating_sub(self.commit.now_ns()),
            // on a read-only medium there are no deadlines
            None => deadline(0, entry.ttl_seconds),
        };
        let keys = if keys {
            entries::keys(&txn, id, &[], usize::MAX)?
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
        let leases = entries::all(&*self.env.read()?)?;
        let deadline = |slot| self.guard.slot(slot).map_or(DEAD, |slot| slot.deadline);
        let mut by_time: Vec<(u64, LeaseId)> = leases
            .iter()
            .map(|(id, entry)| (deadline(entry.slot), *id))
            .collect();
        by_time.sort_unstable();
        Ok(by_time.into_iter().map(|(_, id)| id).collect())
    }

    /// Keeps a lease alive until the result is dropped. `lost` is called if the lease ends before.
    pub fn keep(
        self: &Arc<Self>,
        handle: u64,
        id: LeaseId,
        lost: LossCallback,
    ) -> Result<Box<dyn KeepAlive>> {
        let slot = entries::find(&*self.env.read()?, id)?
            .ok_or_else(|| entries::not_found(id))?
            .slot;
        let ttl_seconds = self.keep_alive(id)?.ttl_seconds;
        if ttl_seconds == 0 {
            return Err(entries::not_found(id));
        }
        let mut kept = KeptLease {
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
        // it may have been revoked before it was added
        self.cleared.store(0, Ordering::Release);
        // the background thread must take the time of the next renewal into account
        self.guard.raise_signal();
        Ok(Box::new(Renewal {
            leases: Arc::downgrade(self),
            number,
        }))
    }

    /// Stops keeping the leases of this handle, and returns them in the order in which they were
    /// added.
    pub fn stop_keeping(&self, handle: u64) -> Vec<LeaseId> {
        let gone: Vec<KeptLease> = {
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
        // the callbacks are code of the user: they are dropped outside the lock
        gone.into_iter().map(|kept| kept.id).collect()
    }

    /// Removes leases that have ended, by a revoke or an expiry: their slots are free or used by
    /// others.
    fn take_ended(&self) -> Vec<LossCallback> {
        let cleared = self.guard.cleared_slots();
        if self.cleared.swap(cleared, Ordering::AcqRel) == cleared {
            return Vec::new();
        }
        let mut kept = lock(&self.kept);
        let has_ended = |kept: &KeptLease| {
            self.guard
                .slot(kept.slot)
                .is_none_or(|slot| slot.id != kept.id)
        };
        let gone: Vec<u64> = kept
            .iter()
            .filter(|(_, kept)| has_ended(kept))
            .map(|(at, _)| *at)
            .collect();
        gone.into_iter()
            .filter_map(|at| kept.remove(&at))
            .map(|gone| gone.lost)
            .collect()
    }

    /// Renews the leases that are due for it, or all. Returns the callbacks of those that have
    /// ended, to be called without a lock.
    fn renew_kept(&self, now_ns: u64, all: bool) -> Vec<LossCallback> {
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
                // for example no free slot for a reader: try again soon
                Err(_) => one.renew_ns = now_ns.saturating_add(AGAIN_NS),
            }
        }
        lost
    }

    /// Does what is due now. Returns the callbacks of leases that have ended, and the time until
    /// something is due again.
    pub fn work(&self, may_write: bool) -> (Vec<LossCallback>, Duration) {
        let now_ns = self.commit.now_ns();
        let mut lost = self.take_ended();
        lost.extend(self.renew_kept(now_ns, false));
        let mut next_ns = lock(&self.kept)
            .values()
            .map(|kept| kept.renew_ns)
            .min()
            .unwrap_or(u64::MAX);
        if may_write {
            let mut times = lock(&self.times);
            let owner_gone = self.is_owner_gone(&mut times, now_ns, &mut next_ns);
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

    /// Whether an owner of a lease has ended; checked from time to time while other processes own
    /// leases.
    fn is_owner_gone(&self, times: &mut Times, now_ns: u64, next_ns: &mut u64) -> bool {
        let (changes, owned) = self.guard.owner_counts();
        if owned == 0 {
            return false;
        }
        if times.owner_changes != changes {
            times.foreign = self.guard.owners();
            times.foreign.remove(&self.guard.own_image());
            times.owner_changes = changes;
        }
        if times.foreign.is_empty() {
            return false;
        }
        let mut gone = false;
        if times.checked_owners_ns.saturating_add(OWNERS_NS) <= now_ns {
            times.checked_owners_ns = now_ns;
            gone = times
                .foreign
                .iter()
                .any(|owner| self.guard.is_image_gone(*owner));
        }
        *next_ns = (*next_ns).min(times.checked_owners_ns.saturating_add(OWNERS_NS));
        gone
    }

    /// Whether a lease may be past its deadline.
    #[inline]
    pub fn is_due(&self) -> bool {
        let bound = self.guard.next_deadline();
        bound != NO_DEADLINE && bound <= self.commit.now_ns()
    }

    /// Before a manual clock is moved: renews the kept leases beyond the new time, so that no
    /// thread considers them expired before [`Leases::catch_up`] has renewed them.
    pub fn renew_beyond(&self, forward_ms: i64) {
        let ahead_ns = u64::try_from(forward_ms)
            .unwrap_or(0)
            .saturating_mul(1_000_000);
        for kept in lock(&self.kept).values() {
            // one that has ended is reported by the next renewal
            let _ = self.renew(kept.id, true, ahead_ns);
        }
    }

    /// After a manual clock was moved: renews the kept leases, as if they had been renewed all the
    /// time. The others expire.
    pub fn catch_up(&self) -> Vec<LossCallback> {
        let lost = self.renew_kept(self.commit.now_ns(), true);
        if self.guard.next_deadline() <= self.commit.now_ns() {
            let terms = Terms::own(Durability::Sync, Some(EXPIRY_TIMEOUT));
            // after an error, the background thread orders the expiry again
            let _ = self.commit.expire_leases(terms);
        }
        lost
    }
}

/// Renews a lease until it is dropped.
struct Renewal {
    leases: Weak<Leases>,
    number: u64,
}

impl KeepAlive for Renewal {}

impl Drop for Renewal {
    fn drop(&mut self) {
        // in a forked child the lock may be held by a thread that does not exist there
        let ours = |leases: &Arc<Leases>| leases.generation == os::fork_generation();
        if let Some(leases) = self.leases.upgrade().filter(ours) {
            let gone = lock(&leases.kept).remove(&self.number);
            drop(gone);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::embedded::commit::Outcome;
    use crate::embedded::opening;
    use crate::options::Options;
    use crate::request::{LeaseGrant, LeaseRevoke, Response};

    /// Earlier a handle noticed it at its next renewal, after a third of the TTL.
    #[test]
    fn kept_lease_that_ends_is_reported_at_once() {
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
                let slot = store.guard().slot(0).expect("its slot");
                assert!(store.guard().swap_deadline(0, slot.deadline, 1));
                store.guard().look_at_all_slots();
                store.guard().raise_signal();
            } else {
                store
                    .commit()
                    .run(LeaseRevoke { id: granted.id }, terms)
                    .expect("revoked");
            }
            is_lost
                .recv_timeout(Duration::from_secs(60))
                .expect("reported long before the next renewal");
        }
    }
}
