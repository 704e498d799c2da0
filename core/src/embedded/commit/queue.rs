//! The queue of writers: the waiting requests, who leads, and how a request leaves the queue.
//!
//! A request is QUEUED, then TAKEN by a leader and DONE. Or it is GONE, because it was withdrawn or
//! its deadline passed first. One compare-and-swap decides, so a request that has timed out never
//! runs.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use crossbeam::sync::Unparker;

use super::terms::Terms;
use crate::completion::Completion;
use crate::embedded::mvcc::conditions::Conditions;
use crate::engine::HistoryPart;
use crate::error::{Code, Error, Result};
use crate::mutex::lock;
use crate::request::{Durability, Request, Response};
use crate::validate::request_bytes;

const QUEUED: u8 = 0;
const TAKEN: u8 = 1;
const DONE: u8 = 2;
const GONE: u8 = 3;

/// What a leader does for a member of its group.
#[derive(Debug)]
pub(crate) enum Work {
    /// A user's request, validated.
    Request(Request),
    /// Writes a part of another store's history.
    Load(HistoryPart),
    /// Sets the store's quota; 0 is none.
    MaxBytes(u64),
    /// One step of the sweep. Its outcome is whether it was the last.
    Sweep,
    /// Revokes some of the leases that have expired. Its outcome is whether those were all.
    ExpireLeases,
}

impl<R: Into<Request>> From<R> for Work {
    fn from(request: R) -> Work {
        Work::Request(request.into())
    }
}

impl Work {
    /// Whether this is a compaction whose caller waits for the space.
    pub fn is_physical_compaction(&self) -> bool {
        matches!(self, Work::Request(Request::Compact(compact)) if compact.physical)
    }
}

/// The result of [`Work`].
#[derive(Debug)]
pub(crate) enum Outcome {
    Response(Response),
    /// Of maintenance: whether this step was the last.
    Step(bool),
}

impl Outcome {
    /// The response to a request.
    pub fn response(self) -> Result<Response> {
        match self {
            Outcome::Response(response) => Ok(response),
            Outcome::Step(_) => Err(Error::new(
                Code::Internal,
                "a request returned a step of maintenance",
            )),
        }
    }
}

/// What receives the outcome.
pub(super) enum Waiter {
    /// A parked thread.
    Thread(Unparker),
    /// No thread: the completion is called.
    Completion(Mutex<Option<Completion>>),
}

/// A request in the queue. It is on the heap, because its caller can leave it.
pub(super) struct Pending {
    pub work: Work,
    pub durability: Durability,
    pub deadline: Option<Instant>,
    pub conditions: Conditions,
    pub waiter: Waiter,
    state: AtomicU8,
    /// Its thread was made leader.
    appointed: AtomicBool,
    outcome: Mutex<Option<Result<Outcome>>>,
}

impl Pending {
    pub fn new(work: Work, terms: &Terms, waiter: Waiter) -> Arc<Pending> {
        Arc::new(Pending {
            work,
            durability: terms.durability,
            deadline: terms.deadline(),
            conditions: terms.conditions,
            waiter,
            state: AtomicU8::new(QUEUED),
            appointed: AtomicBool::new(false),
            outcome: Mutex::new(None),
        })
    }

    /// Its size, as counted for its group.
    pub fn bytes(&self) -> u64 {
        match &self.work {
            Work::Request(request) => request_bytes(request),
            Work::Sweep | Work::ExpireLeases | Work::MaxBytes(_) | Work::Load(_) => 0,
        }
    }

    fn leave_queue(&self, to: u8) -> bool {
        self.state
            .compare_exchange(QUEUED, to, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// For a leader: takes it out of the queue. True: the leader must finish it.
    pub fn take(&self) -> bool {
        self.leave_queue(TAKEN)
    }

    /// For its own caller: takes it out of the queue. False: a leader has it.
    pub fn give_up(&self) -> bool {
        self.leave_queue(GONE)
    }

    /// Same as [`give_up`](Pending::give_up), for a request without a thread: its completion is
    /// dropped.
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

    fn has_thread(&self) -> bool {
        matches!(self.waiter, Waiter::Thread(_))
    }

    /// Stores the outcome and wakes the waiting thread. A completion is returned instead, for the
    /// leader to run later.
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

    /// The outcome, once it is known.
    pub fn outcome(&self) -> Option<Result<Outcome>> {
        match self.state.load(Ordering::Acquire) {
            DONE => lock(&self.outcome).take(),
            _ => None,
        }
    }

    /// True for a compaction whose caller does not wait for the space: the worker must sweep after
    /// it.
    pub fn needs_worker_sweep(&self) -> bool {
        match &self.work {
            Work::Request(Request::Compact(compact)) => !(compact.physical && self.has_thread()),
            _ => false,
        }
    }
}

/// What leads after a leader.
pub(super) enum Successor {
    /// Nothing: the queue is empty.
    None,
    /// A waiting thread, which was appointed and woken.
    Thread,
    /// The worker, because only completions wait. The caller orders it.
    Worker,
}

/// Who leads.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Leadership {
    #[default]
    Vacant,
    /// The worker, once it is free. It may be busy with something that needs a leader (a completion
    /// that writes, a step of the sweep), so the first thread that comes leads instead.
    Ordered,
    /// A thread, which leads or was appointed.
    Taken,
}

/// The queue.
#[derive(Default)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    /// Notified when as many requests wait as the leader requires.
    arrival: Condvar,
}

#[derive(Default)]
struct Inner {
    waiting: VecDeque<Arc<Pending>>,
    leadership: Leadership,
    /// The leader sleeps until this many requests wait; 0 if it does not sleep.
    wakes_at: usize,
}

impl Queue {
    /// Joins the queue. True: the caller must provide a leader, itself if it waits with a thread,
    /// the worker if not.
    pub fn join(&self, pending: Arc<Pending>) -> bool {
        let mut inner = lock(&self.inner);
        let by_thread = pending.has_thread();
        inner.waiting.push_back(pending);
        self.wake_leader(&mut inner);
        match (inner.leadership, by_thread) {
            (Leadership::Vacant | Leadership::Ordered, true) => {
                inner.leadership = Leadership::Taken;
            }
            (Leadership::Vacant, false) => inner.leadership = Leadership::Ordered,
            _ => return false,
        }
        true
    }

    /// Joins with several requests without a thread, at one moment. True: the worker must lead.
    pub fn join_all(&self, pendings: Vec<Arc<Pending>>) -> bool {
        let mut inner = lock(&self.inner);
        inner.waiting.extend(pendings);
        self.wake_leader(&mut inner);
        let must_order = inner.leadership == Leadership::Vacant && !inner.waiting.is_empty();
        if must_order {
            inner.leadership = Leadership::Ordered;
        }
        must_order
    }

    /// For the worker, which was ordered to lead: whether it still must.
    pub fn begin_as_worker(&self) -> bool {
        let mut inner = lock(&self.inner);
        let must = inner.leadership == Leadership::Ordered;
        if must {
            inner.leadership = Leadership::Taken;
        }
        must
    }

    fn wake_leader(&self, inner: &mut Inner) {
        if inner.wakes_at > 0 && inner.waiting.len() >= inner.wakes_at {
            inner.wakes_at = 0;
            self.arrival.notify_one();
        }
    }

    /// For a leader that has taken all waiting requests, `have` of `expected`: sleeps until more
    /// wait. It wakes up once half of the rest have come, to sleep less often. False: none came in
    /// time, or none is missing.
    pub fn wait_for(&self, expected: usize, have: usize, until: Instant) -> bool {
        let mut inner = lock(&self.inner);
        inner.wakes_at = expected.saturating_sub(have).div_ceil(2);
        while inner.wakes_at > 0 {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                inner.wakes_at = 0;
            } else {
                inner = self
                    .arrival
                    .wait_timeout(inner, left)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0;
            }
        }
        !inner.waiting.is_empty()
    }

    /// Takes the oldest request that was not withdrawn.
    pub fn take_next(&self) -> Option<Arc<Pending>> {
        let mut inner = lock(&self.inner);
        while let Some(pending) = inner.waiting.pop_front() {
            if pending.take() {
                return Some(pending);
            }
        }
        None
    }

    /// Takes out the requests without a thread whose deadline has passed.
    pub fn take_timed_out(&self, now: Instant) -> Vec<Arc<Pending>> {
        let mut timed_out = Vec::new();
        lock(&self.inner).waiting.retain(|pending| {
            let late = !pending.has_thread() && pending.deadline.is_some_and(|at| at <= now);
            if late && pending.take() {
                timed_out.push(pending.clone());
            }
            !late
        });
        timed_out
    }

    /// Whether a waiting request needs only a lazy commit.
    pub fn has_lazy(&self) -> bool {
        let lazy = |pending: &Arc<Pending>| {
            pending.durability == Durability::Lazy && matches!(pending.work, Work::Request(_))
        };
        lock(&self.inner).waiting.iter().any(lazy)
    }

    /// How many requests wait. It may include some that were withdrawn.
    pub fn len(&self) -> usize {
        lock(&self.inner).waiting.len()
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        lock(&self.inner).waiting.is_empty()
    }

    /// The deadlines of the requests without a thread.
    fn deadlines_without_thread<T>(
        &self,
        look: impl FnOnce(&mut dyn Iterator<Item = Option<Instant>>) -> T,
    ) -> T {
        let inner = lock(&self.inner);
        let without_thread = |pending: &&Arc<Pending>| pending.is_queued() && !pending.has_thread();
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
    pub fn has_timed_out(&self, now: Instant) -> bool {
        self.deadlines_without_thread(|deadlines| {
            deadlines.flatten().any(|deadline| deadline <= now)
        })
    }

    /// Whether the worker need not lead: one of these deadlines has passed, or there are none.
    pub fn is_worker_idle(&self, now: Instant) -> bool {
        self.deadlines_without_thread(|deadlines| {
            deadlines.next().is_none_or(|first| {
                first
                    .into_iter()
                    .chain(deadlines.flatten())
                    .any(|deadline| deadline <= now)
            })
        })
    }

    /// Hands leadership on: to the oldest request with a thread; if there is none to the worker; if
    /// the queue is empty to nothing.
    pub fn pass_leadership(&self) -> Successor {
        let mut inner = lock(&self.inner);
        inner.waiting.retain(|pending| pending.is_queued());
        for pending in &inner.waiting {
            if let Waiter::Thread(thread) = &pending.waiter {
                // under the lock: a thread that gives up at this moment checks it under the lock
                // too
                pending.appointed.store(true, Ordering::Release);
                thread.unpark();
                return Successor::Thread;
            }
        }
        if inner.waiting.is_empty() {
            inner.leadership = Leadership::Vacant;
            Successor::None
        } else {
            inner.leadership = Leadership::Ordered;
            Successor::Worker
        }
    }

    /// Whether this request, which has given up, was made leader just before.
    pub fn was_appointed(&self, pending: &Pending) -> bool {
        let _inner = lock(&self.inner);
        pending.is_appointed()
    }
}
