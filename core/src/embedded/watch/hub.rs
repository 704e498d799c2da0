//! All watchers of a store in this process.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::time::Duration;

use super::index::Index;
use super::subscription::{Position, Subscription, Task, progress_ms};
use crate::embedded::codec::Rev;
use crate::embedded::lmdb::{Env, Txn};
use crate::embedded::mvcc::{self, compact, compacted_error, history};
use crate::error::{Error, Result};
use crate::model::Revision;
use crate::mutex::lock;
use crate::request::Watch;

/// Events that the hub examines before it releases its lock for others.
pub(super) const STEP_EVENTS: usize = 10_000;

/// The watchers of one store.
#[derive(Default)]
pub(crate) struct Hub {
    inner: Mutex<Inner>,
    count: AtomicUsize,
    /// How many of them report progress.
    progress: AtomicUsize,
    /// The shortest interval of a progress report, or one that was the shortest; 0 if there are
    /// none.
    progress_ms: AtomicU64,
}

/// The owner of a hub: what reading a watcher needs.
pub(crate) trait HubOwner: Send + Sync {
    fn env(&self) -> &Env;
    fn hub(&self) -> &Hub;
    fn now_ns(&self) -> u64;
}

#[derive(Default)]
struct Inner {
    /// Every revision up to this was matched against the index.
    upto: Revision,
    subscriptions: HashMap<u64, Arc<Subscription>>,
    last_id: u64,
    index: Index,
}

impl Inner {
    /// Matches a part of the events after `upto` against the index. Returns the last revision
    /// matched.
    fn match_events(
        &mut self,
        txn: &Txn,
        current: Revision,
        wakers: &mut Vec<Waker>,
    ) -> Result<Revision> {
        let Inner {
            upto,
            subscriptions,
            index,
            ..
        } = self;
        history::each_event(
            txn,
            *upto,
            current,
            STEP_EVENTS,
            |revision, key, deleted| {
                index.find(key, |id| {
                    if let Some(subscription) = subscriptions.get(&id) {
                        wakers.extend(subscription.hit(revision, deleted));
                    }
                });
            },
        )
    }
}

/// The end of a step, and the position that it could have reached.
struct Step {
    upto: Revision,
    current: Revision,
}

/// A number that identifies a handle.
pub(crate) fn new_handle() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed)
}

impl Hub {
    /// How many watchers there are.
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Creates a watcher. The caller has validated the request.
    ///
    /// # Errors
    ///
    /// `compacted` if it would start below the compacted revision.
    pub fn add(
        &self,
        env: &Env,
        handle: u64,
        watch: Watch,
        now_ns: u64,
    ) -> Result<Arc<Subscription>> {
        let mut inner = lock(&self.inner);
        let txn = env.read()?;
        let (current, compacted) = (
            mvcc::current_revision(&txn)?,
            mvcc::compacted_revision(&txn)?,
        );
        drop(txn);
        let next = if watch.start_revision == 0 {
            current + 1
        } else {
            watch.start_revision
        };
        if next < compacted || next < 0 {
            return Err(compacted_error(next, compacted.max(0)));
        }
        if inner.subscriptions.is_empty() {
            inner.upto = current;
        }
        inner.last_id += 1;
        let id = inner.last_id;
        let position = Position {
            next,
            scan_upto: inner.upto,
            delivered_ns: now_ns,
            ..Position::default()
        };
        inner.index.add(id, &watch.range);
        self.count.fetch_add(1, Ordering::Relaxed);
        if watch.progress {
            let shortest = match self.progress.fetch_add(1, Ordering::Relaxed) {
                0 => progress_ms(&watch),
                _ => progress_ms(&watch).min(self.progress_ms.load(Ordering::Relaxed)),
            };
            self.progress_ms.store(shortest, Ordering::Relaxed);
        }
        let subscription = Arc::new(Subscription::new(id, handle, watch, position));
        inner.subscriptions.insert(id, subscription.clone());
        Ok(subscription)
    }

    /// Removes a watcher.
    pub fn remove(&self, subscription: &Subscription) {
        let mut inner = lock(&self.inner);
        if inner.subscriptions.remove(&subscription.id).is_some() {
            let watch = &subscription.watch;
            inner.index.remove(subscription.id, &watch.range);
            self.count.fetch_sub(1, Ordering::Relaxed);
            if watch.progress && self.progress.fetch_sub(1, Ordering::Relaxed) == 1 {
                self.progress_ms.store(0, Ordering::Relaxed);
            }
        }
    }

    /// How often [`Hub::note_progress`] must be called; `None` if no watcher reports progress.
    pub fn progress_interval(&self) -> Option<Duration> {
        let shortest = self.progress_ms.load(Ordering::Relaxed);
        (shortest != 0).then(|| Duration::from_millis(shortest))
    }

    /// Ends the watchers of a handle, or all.
    pub fn end(&self, handle: Option<u64>, error: &Error) {
        let theirs = |one: &&Arc<Subscription>| handle.is_none_or(|handle| one.handle == handle);
        let ended: Vec<_> = lock(&self.inner)
            .subscriptions
            .values()
            .filter(theirs)
            .cloned()
            .collect();
        for subscription in ended {
            self.remove(&subscription);
            subscription.end(error.clone());
        }
    }

    /// Examines what was written up to now, and no more: writers may be faster than this. Returns
    /// the wakers to call once no lock is held. An error (for example no free reader slot) ends it;
    /// the next call tries again.
    pub fn examine(&self, env: &Env) -> Vec<Waker> {
        let (mut wakers, mut until) = (Vec::new(), None);
        while let Ok(Some(step)) = self.step(env, &mut wakers) {
            if step.upto >= *until.get_or_insert(step.current) {
                break;
            }
        }
        wakers
    }

    /// Same as [`Hub::examine`], but one step only. Also returns whether there is more.
    pub fn examine_briefly(&self, env: &Env) -> (Vec<Waker>, bool) {
        let mut wakers = Vec::new();
        let step = self.step(env, &mut wakers);
        (
            wakers,
            matches!(step, Ok(Some(step)) if step.upto < step.current),
        )
    }

    /// Examines a part of it; `None` if there is nothing new.
    fn step(&self, env: &Env, wakers: &mut Vec<Waker>) -> Result<Option<Step>> {
        let mut inner = lock(&self.inner);
        let inner = &mut *inner;
        if inner.subscriptions.is_empty() {
            return Ok(None);
        }
        let txn = env.read()?;
        let current = mvcc::current_revision(&txn)?;
        if current <= inner.upto {
            return Ok(None);
        }
        // nothing can be matched if this process was stopped for long, or an event is damaged
        let next = Rev::new(inner.upto + 1, 0);
        let swept = mvcc::compacted_revision(&txn)? > next.main && compact::swept(&txn)? > next;
        let matched = (!swept)
            .then(|| inner.match_events(&txn, current, wakers).ok())
            .flatten();
        if matched.is_none() {
            // each watcher finds out what it has missed
            let behind = |one: &Arc<Subscription>| one.require_scan(inner.upto, current);
            wakers.extend(inner.subscriptions.values().filter_map(behind));
        }
        inner.upto = matched.unwrap_or(current);
        Ok(Some(Step {
            upto: inner.upto,
            current,
        }))
    }

    /// Notes with each watcher whether a progress report is due. Returns the wakers to call.
    pub fn note_progress(&self, now_ns: u64) -> Vec<Waker> {
        if self.progress.load(Ordering::Relaxed) == 0 {
            return Vec::new();
        }
        let inner = lock(&self.inner);
        inner
            .subscriptions
            .values()
            .filter(|one| one.watch.progress)
            .filter_map(|one| one.note_progress(now_ns))
            .collect()
    }

    /// For a watcher that has read all its hits but not all matches: it must scan up to the hub's
    /// position. Later matches are noted again.
    pub fn catch_up(&self, subscription: &Subscription) {
        let inner = lock(&self.inner);
        let mut position = lock(&subscription.position);
        position.scan_upto = inner.upto;
        position.more = false;
    }

    /// The start revision of a new watcher that continues after this one.
    pub fn resume_revision(&self, subscription: &Subscription) -> Revision {
        let inner = lock(&self.inner);
        let position = lock(&subscription.position);
        match position.task() {
            Task::Hit(hit) => hit,
            Task::Scan(..) | Task::CatchUp => position.next,
            Task::Progress | Task::Nothing => position.next.max(inner.upto + 1),
        }
    }

    /// The hub's position, if this watcher has nothing to deliver and does not start in the future.
    pub fn caught_up(&self, subscription: &Subscription) -> Option<Revision> {
        let inner = lock(&self.inner);
        let position = lock(&subscription.position);
        let idle =
            position.end.is_none() && matches!(position.task(), Task::Progress | Task::Nothing);
        (idle && position.next <= inner.upto + 1).then_some(inner.upto)
    }

    /// The progress report of a watcher; `None` if it has something to deliver by now.
    pub fn report(&self, subscription: &Subscription, now_ns: u64) -> Option<Revision> {
        let inner = lock(&self.inner);
        let mut position = lock(&subscription.position);
        if !matches!(position.task(), Task::Progress) {
            return None;
        }
        (position.delivered_ns, position.progress_due) = (now_ns, false);
        position.settle();
        Some(inner.upto)
    }

    #[cfg(test)]
    pub fn upto(&self) -> Revision {
        lock(&self.inner).upto
    }
}
