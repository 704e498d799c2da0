//! The interface of group commit to the rest of the engine.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use super::group::GroupCommit;
use super::orders::Worker;
use super::queue::{Outcome, Pending, Waiter, Work};
use super::terms::Terms;
use crate::completion::{Completion, Submission};
use crate::embedded::guard::Guard;
use crate::embedded::lmdb::Env;
use crate::error::Result;
use crate::mutex::lock;
use crate::options::Clock;
use crate::request::{CommitTimes, Request, Response};

/// The writing side of one environment. A clone is the same committer.
///
/// [`Committer::run`] is in `leader`, [`Committer::stop`] in `worker`.
#[derive(Clone)]
pub(crate) struct Committer(pub(super) Arc<State>);

/// What the clones of a committer share.
pub(super) struct State {
    pub group: GroupCommit,
    /// Groups since a sweep was looked for.
    pub groups: AtomicU64,
    pub worker: Mutex<Option<Worker>>,
    /// Compactions that were made, whose completions wait for the end of the sweep.
    pub unswept: Mutex<Vec<(Completion, Result<Response>)>>,
}

/// Requests that are queued at one moment.
#[derive(Default)]
pub(crate) struct Batch(Vec<Arc<Pending>>);

impl Committer {
    /// `unsynced`: the store's durability is `none`.
    pub fn new(env: Arc<Env>, guard: Arc<Guard>, unsynced: bool, clock: Clock) -> Committer {
        Committer(Arc::new(State {
            group: GroupCommit::new(env, guard, unsynced, clock),
            groups: AtomicU64::new(0),
            worker: Mutex::new(None),
            unswept: Mutex::default(),
        }))
    }

    /// Runs a valid request without waiting.
    pub fn submit(
        &self,
        request: impl Into<Request>,
        terms: Terms,
        completion: Completion,
    ) -> Submission {
        let mut batch = Batch::default();
        let submission = self.add(&mut batch, request.into(), terms, completion);
        self.submit_batch(batch);
        submission
    }

    /// Adds a valid request to a batch.
    pub fn add(
        &self,
        batch: &mut Batch,
        request: Request,
        terms: Terms,
        completion: Completion,
    ) -> Submission {
        let work = Work::Request(request);
        let completion = if work.is_physical_compaction() {
            self.after_sweep(completion)
        } else {
            completion
        };
        let waiter = Waiter::Completion(Mutex::new(Some(completion)));
        let pending = Pending::new(work, &terms, waiter);
        batch.0.push(pending.clone());
        Submission::new(move || pending.withdraw())
    }

    /// Queues a batch at one moment, so that one group can contain all of it.
    pub fn submit_batch(&self, batch: Batch) {
        if self.0.group.queue.join_all(batch.0) {
            self.order(|orders| &orders.lead);
        }
    }

    /// Revokes every lease that has expired, and waits for it. Other requests have their turn
    /// between the steps.
    pub fn expire_leases(&self, terms: Terms) -> Result<()> {
        while !matches!(self.run(Work::ExpireLeases, terms)?, Outcome::Step(true)) {}
        Ok(())
    }

    /// Orders the worker to revoke every lease that has expired. If that fails it is tried again
    /// with the next order.
    pub fn expire_leases_soon(&self) {
        self.order(|orders| &orders.expire_leases);
    }

    /// How long the commits of this process took.
    pub fn times(&self) -> CommitTimes {
        self.0.group.times.read()
    }

    /// Nanoseconds on the store's clock, which the deadlines of leases refer to.
    pub fn now_ns(&self) -> u64 {
        self.0.group.clock_ns()
    }

    /// A completion of a physical compaction: it orders the sweep and runs after it.
    fn after_sweep(&self, completion: Completion) -> Completion {
        let state = Arc::downgrade(&self.0);
        Box::new(move |response| match (state.upgrade(), &response) {
            (Some(state), Ok(_)) => {
                lock(&state.unswept).push((completion, response));
                Committer(state).order(|orders| &orders.sweep);
            }
            _ => completion(response),
        })
    }
}
