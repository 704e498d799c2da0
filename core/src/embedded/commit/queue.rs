//! The writer's queue: who waits, who leads, and how a request leaves it.
//!
//! A request is QUEUED, then TAKEN by a leader and DONE, or GONE because its deadline passed first.
//! Only one compare-and-swap can win it, so a request that is answered with a time-out never runs.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crossbeam::sync::{Parker, Unparker};

use super::Terms;
use crate::completion::Completion;
use crate::error::Result;
use crate::request::{Durability, Request, Response};
use crate::validate::request_bytes;

const QUEUED: u8 = 0;
const TAKEN: u8 = 1;
const DONE: u8 = 2;
const GONE: u8 = 3;

/// What a leader does for somebody.
#[derive(Debug)]
pub(crate) enum Work {
    /// A user's request, validated.
    Request(Request),
    /// The store's quota is to be this.
    MaxBytes(u64),
    /// One step of the sweep; its answer is whether the sweep is at its end.
    Sweep,
    /// Revokes leases that are due, some of them; its answer is whether those were all.
    Expire,
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Outcome {
    Response(Response),
    /// A step of a sweep or of an expiry, whether it was the last; or something done at once.
    Step(bool),
}

/// Who waits for it.
pub(super) enum Waiter {
    /// A thread, parked.
    Thread(Unparker),
    /// Nobody: the completion is called.
    Completion(Mutex<Option<Completion>>),
}

/// A request in the queue. It stands on the heap, since its caller can leave it.
pub(super) struct Pending {
    pub work: Work,
    pub durability: Durability,
    pub deadline: Option<Instant>,
    /// Refused by the quota it raises an alarm.
    pub raises_alarm: bool,
    pub waiter: Waiter,
    state: AtomicU8,
    /// Its thread has been made leader.
    appointed: AtomicBool,
    outcome: Mutex<Option<Result<Outcome>>>,
}

impl Pending {
    pub fn new(work: Work, terms: &Terms, waiter: Waiter) -> Arc<Pending> {
        Arc::new(Pending {
            work,
            durability: terms.durability,
            deadline: terms.deadline(),
            raises_alarm: terms.raises_alarm,
            waiter,
            state: AtomicU8::new(QUEUED),
            appointed: AtomicBool::new(false),
            outcome: Mutex::new(None),
        })
    }

    /// Bytes that its group counts for it.
    pub fn bytes(&self) -> u64 {
        match &self.work {
            Work::Request(request) => request_bytes(request),
            Work::Sweep | Work::Expire | Work::MaxBytes(_) => 0,
        }
    }

    fn leave_queue(&self, to: u8) -> bool {
        self.state
            .compare_exchange(QUEUED, to, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// For a leader: from now on it will be answered.
    pub fn take(&self) -> bool {
        self.leave_queue(TAKEN)
    }

    /// For its own caller: whether it could be taken out before a leader had it.
    pub fn give_up(&self) -> bool {
        self.leave_queue(GONE)
    }

    /// For whoever submitted it: takes it out, and forgets its completion, if no leader has it.
    pub fn withdraw(&self) -> bool {
        let withdrawn = self.give_up();
        if let (true, Waiter::Completion(completion)) = (withdrawn, &self.waiter) {
            drop(lock(completion).take());
        }
        withdrawn
    }

    pub fn is_queued(&self) -> bool {
        self.state.load(Ordering::Acquire) == QUEUED
    }

    pub fn is_appointed(&self) -> bool {
        self.appointed.load(Ordering::Acquire)
    }

    /// Leaves the outcome and wakes the thread that waits; a completion is handed back instead, to
    /// be called when the leader has nothing else to do.
    pub fn finish(&self, outcome: Result<Outcome>) -> Option<(Completion, Result<Outcome>)> {
        match &self.waiter {
            Waiter::Thread(thread) => {
                *lock(&self.outcome) = Some(outcome);
                self.state.store(DONE, Ordering::Release);
                thread.unpark();
                None
            }
            Waiter::Completion(completion) => {
                self.state.store(DONE, Ordering::Release);
                lock(completion)
                    .take()
                    .map(|completion| (completion, outcome))
            }
        }
    }

    /// The outcome, once it is there.
    pub fn outcome(&self) -> Option<Result<Outcome>> {
        match self.state.load(Ordering::Acquire) {
            DONE => lock(&self.outcome).take(),
            _ => None,
        }
    }
}

/// What comes next when a leader is done.
pub(super) enum Next {
    /// Nobody leads and nobody waits.
    Nobody,
    /// A thread that waits has been appointed and woken.
    Appointed,
    /// Only completions wait: the worker must lead.
    Worker,
}

/// Who leads.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Led {
    #[default]
    Nobody,
    /// The worker, once it comes to it. It may be what keeps it that needs a leader (a completion
    /// that writes, a step of the sweep), so the first thread to come leads instead.
    WorkerTold,
    /// A thread does, or has been appointed.
    Somebody,
}

/// The queue.
#[derive(Default)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    /// As many have come as the leader wants to hear of.
    come: Condvar,
}

#[derive(Default)]
struct Inner {
    waiting: VecDeque<Arc<Pending>>,
    led: Led,
    /// The leader sleeps until so many wait; 0 if it does not.
    wakes_at: usize,
}

impl Queue {
    /// Joins the queue. True: the caller must see to it that somebody leads, itself if it waits
    /// with a thread, else the worker.
    pub fn join(&self, pending: Arc<Pending>) -> bool {
        let mut inner = lock(&self.inner);
        let by_thread = matches!(pending.waiter, Waiter::Thread(_));
        inner.waiting.push_back(pending);
        self.wake_leader(&mut inner);
        match (inner.led, by_thread) {
            (Led::Nobody | Led::WorkerTold, true) => inner.led = Led::Somebody,
            (Led::Nobody, false) => inner.led = Led::WorkerTold,
            _ => return false,
        }
        true
    }

    /// Joins with several that no thread waits for, at one moment. True: the worker must lead.
    pub fn join_all(&self, pendings: Vec<Arc<Pending>>) -> bool {
        let mut inner = lock(&self.inner);
        inner.waiting.extend(pendings);
        self.wake_leader(&mut inner);
        let told = inner.led == Led::Nobody && !inner.waiting.is_empty();
        if told {
            inner.led = Led::WorkerTold;
        }
        told
    }

    /// For the worker, which was told to lead: whether it still must.
    pub fn begin_as_worker(&self) -> bool {
        let mut inner = lock(&self.inner);
        let must = inner.led == Led::WorkerTold;
        if must {
            inner.led = Led::Somebody;
        }
        must
    }

    fn wake_leader(&self, inner: &mut Inner) {
        if inner.wakes_at > 0 && inner.waiting.len() >= inner.wakes_at {
            inner.wakes_at = 0;
            self.come.notify_one();
        }
    }

    /// For the leader, who has taken all there were, `have` of `expected`: sleeps until more are there,
    /// half of the rest at once for fewer wake-ups. False: nobody is missing, or nobody came in time.
    pub fn wait_for(&self, expected: usize, have: usize, until: Instant) -> bool {
        let mut inner = lock(&self.inner);
        inner.wakes_at = expected.saturating_sub(have).div_ceil(2);
        while inner.wakes_at > 0 {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                inner.wakes_at = 0;
            } else {
                inner = self
                    .come
                    .wait_timeout(inner, left)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0;
            }
        }
        !inner.waiting.is_empty()
    }

    /// The oldest request that is still wanted, taken.
    pub fn take_next(&self) -> Option<Arc<Pending>> {
        let mut inner = lock(&self.inner);
        while let Some(pending) = inner.waiting.pop_front() {
            if pending.take() {
                return Some(pending);
            }
        }
        None
    }

    /// Takes out what waited beyond its deadline with nobody to notice.
    pub fn take_expired(&self, now: Instant) -> Vec<Arc<Pending>> {
        let mut expired = Vec::new();
        lock(&self.inner).waiting.retain(|pending| {
            let late = matches!(pending.waiter, Waiter::Completion(_))
                && pending.deadline.is_some_and(|at| at <= now);
            if late && pending.take() {
                expired.push(pending.clone());
            }
            !late
        });
        expired
    }

    /// Whether a request waits that asks for no more than a lazy commit.
    pub fn has_lazy(&self) -> bool {
        let lazy = |pending: &Arc<Pending>| {
            pending.durability == Durability::Lazy && matches!(pending.work, Work::Request(_))
        };
        lock(&self.inner).waiting.iter().any(lazy)
    }

    /// How many wait; those that have gone may still be counted.
    pub fn len(&self) -> usize {
        lock(&self.inner).waiting.len()
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        lock(&self.inner).waiting.is_empty()
    }

    /// The deadlines of the requests that no thread waits for.
    fn deadlines_without_thread<T>(
        &self,
        look: impl FnOnce(&mut dyn Iterator<Item = Option<Instant>>) -> T,
    ) -> T {
        let inner = lock(&self.inner);
        let without_thread = |pending: &&Arc<Pending>| {
            pending.is_queued() && matches!(pending.waiter, Waiter::Completion(_))
        };
        look(
            &mut inner
                .waiting
                .iter()
                .filter(without_thread)
                .map(|pending| pending.deadline),
        )
    }

    /// The first of them.
    pub fn first_deadline(&self) -> Option<Instant> {
        self.deadlines_without_thread(|deadlines| deadlines.flatten().min())
    }

    /// Whether one of them has passed.
    pub fn has_expired(&self, now: Instant) -> bool {
        self.deadlines_without_thread(|deadlines| {
            deadlines.flatten().any(|deadline| deadline <= now)
        })
    }

    /// Whether one of them has passed, or there are none: then the worker leads for nobody.
    pub fn is_worker_in_vain(&self, now: Instant) -> bool {
        self.deadlines_without_thread(|deadlines| {
            deadlines.next().is_none_or(|first| {
                first
                    .into_iter()
                    .chain(deadlines.flatten())
                    .any(|deadline| deadline <= now)
            })
        })
    }

    /// Hands leadership on: to the oldest request with a thread, else to the worker, else to nobody.
    pub fn hand_on(&self) -> Next {
        let mut inner = lock(&self.inner);
        inner.waiting.retain(|pending| pending.is_queued());
        for pending in &inner.waiting {
            if let Waiter::Thread(thread) = &pending.waiter {
                // under the lock: whoever gives up meanwhile looks here, under it, too
                pending.appointed.store(true, Ordering::Release);
                thread.unpark();
                return Next::Appointed;
            }
        }
        let next = if inner.waiting.is_empty() {
            Next::Nobody
        } else {
            Next::Worker
        };
        inner.led = if let Next::Nobody = next {
            Led::Nobody
        } else {
            Led::WorkerTold
        };
        next
    }

    /// Whether this request, which has given up, was made leader before it could say so.
    pub fn was_appointed(&self, pending: &Pending) -> bool {
        let _inner = lock(&self.inner);
        pending.is_appointed()
    }
}

/// No code of ours can panic while it holds one of these locks, so poison means nothing.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `wait` with this thread's parker, and its unparker for others.
pub(super) fn with_parker<R>(wait: impl FnOnce(&Parker) -> R) -> R {
    thread_local! {
        static PARKER: Parker = Parker::new();
    }
    let mut wait = Some(wait);
    let mut run = |parker: &Parker| wait.take().map(|wait| wait(parker));
    // a thread that is ending may have lost its own already
    match PARKER.try_with(&mut run) {
        Ok(Some(result)) => result,
        _ => run(&Parker::new()).expect("it has not run yet"),
    }
}
