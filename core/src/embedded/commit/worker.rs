//! The worker thread: it leads for requests without a thread, refuses those that time out, sweeps,
//! and revokes leases that have expired.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam::sync::Parker;

use super::committer::Committer;
use super::group::Members;
use super::leader::{FollowUp, sweep_error};
use super::orders::{Orders, Worker};
use super::queue::{Outcome, Pending, Work};
use super::terms::Terms;
use crate::completion::complete_group;
use crate::embedded::os;
use crate::error::{Code, Error, Result};
use crate::mutex::lock;
use crate::request::Durability;

/// The worker's longest wait for the write lock, to revoke leases. The next order tries again.
const EXPIRY_TIMEOUT: Duration = Duration::from_secs(5);
/// The worker's longest wait for the write lock, to sweep. Then the waiting completions get an
/// error.
const SWEEP_TIMEOUT: Duration = Duration::from_secs(60);

impl Committer {
    /// Orders the worker to do something, and starts it if there is none.
    pub(super) fn order(&self, which: impl Fn(&Orders) -> &AtomicBool) {
        let mut worker = lock(&self.0.worker);
        if worker.is_none() {
            match self.start_worker() {
                Ok(started) => *worker = Some(started),
                // the thread could not be started: this one does it, which delays its caller a
                // little
                Err(orders) => {
                    drop(worker);
                    which(&orders).store(true, Ordering::Release);
                    self.run_orders(&orders);
                    return;
                }
            }
        }
        if let Some(worker) = worker.as_ref() {
            worker.order(which);
        }
    }

    fn start_worker(&self) -> std::result::Result<Worker, Arc<Orders>> {
        let orders = Arc::new(Orders::default());
        let parker = Parker::new();
        let unparker = parker.unparker().clone();
        let (committer, its_orders) = (self.clone(), orders.clone());
        let thread = thread::Builder::new()
            .name("libkv-writer".into())
            .spawn(move || {
                while !its_orders.must_stop() {
                    committer.run_orders(&its_orders);
                    parker.park();
                }
                committer.run_orders(&its_orders);
                committer.sweep_for_completions(&its_orders);
            });
        match thread {
            Ok(thread) => Ok(Worker {
                orders,
                unparker,
                thread: Some(thread),
            }),
            Err(_) => Err(orders),
        }
    }

    /// Stops the worker, after it has led what is queued. The caller has dropped the last handle,
    /// so nothing can be queued any more. If this is the worker itself, because a completion
    /// dropped the last handle, its thread is returned for another thread to wait for.
    pub fn stop(&self) -> Option<JoinHandle<()>> {
        let thread = lock(&self.0.worker).as_mut().and_then(|worker| {
            worker.order(|orders| &orders.stop);
            worker.thread.take()
        })?;
        if os::is_current(&thread) {
            return Some(thread);
        }
        let _ = thread.join();
        None
    }

    /// Does what was ordered until there is no order left. Each order has its turn in every round:
    /// a completion that writes orders the next lead at once, which must not delay the other
    /// orders.
    fn run_orders(&self, orders: &Orders) {
        loop {
            // these two also after the order to stop: every queued request gets an outcome
            let lead = orders.lead.swap(false, Ordering::AcqRel);
            if lead {
                self.lead_for_completions();
            }
            let time_out_requests = orders.time_out_requests.swap(false, Ordering::AcqRel);
            if time_out_requests {
                self.time_out_requests();
            }
            let expire_leases = orders.take(&orders.expire_leases);
            if expire_leases {
                self.expire_leases_as_worker(orders);
            }
            let sweep = orders.take(&orders.sweep);
            if sweep {
                self.sweep_for_completions(orders);
            }
            if !(lead || time_out_requests || expire_leases || sweep) {
                return;
            }
        }
    }

    /// Leads one group for requests without a thread, then passes leadership on. If a thread leads meanwhile
    /// there is nothing to do.
    fn lead_for_completions(&self) {
        let group = &self.0.group;
        if !group.queue.begin_as_worker() {
            return;
        }
        group.guard.yield_to_waiter();
        // a request that joins meanwhile may have an earlier deadline, or all may be withdrawn
        let idle = || group.queue.is_worker_idle(Instant::now());
        let mut follow_up = FollowUp::default();
        match group
            .guard
            .lock_writer(group.queue.first_deadline(), Some(&idle))
        {
            Ok(held) => {
                let outcomes = group.run(Members::Queue { in_turns: true });
                drop(held);
                self.finish(outcomes, true, &mut follow_up);
                self.follow_up(follow_up);
            }
            Err(error) => {
                let timed_out = matches!(error.code(), Code::Busy | Code::Cancelled);
                let refused = (!timed_out).then(|| group.queue.take_next()).flatten();
                self.pass_leadership();
                follow_up
                    .completions
                    .extend(refused.and_then(|pending| pending.finish(Err(error))));
                self.follow_up(follow_up);
                self.time_out_requests();
            }
        }
    }

    /// Refuses the requests without a thread whose deadline has passed.
    fn time_out_requests(&self) {
        let timed_out = self.0.group.queue.take_timed_out(Instant::now());
        let refused = |pending: Arc<Pending>| pending.finish(Err(self.busy()));
        self.follow_up(FollowUp {
            completions: timed_out.into_iter().filter_map(refused).collect(),
            sweep: false,
        });
    }

    /// Orders the worker to do so, for a leader that waits for the write lock.
    pub(super) fn order_time_outs(&self) {
        if self.0.group.queue.has_timed_out(Instant::now()) {
            self.order(|orders| &orders.time_out_requests);
        }
    }

    fn expire_leases_as_worker(&self, orders: &Orders) {
        let unwanted = || self.is_worker_needed(orders);
        let terms = Terms {
            interrupt: Some(&unwanted),
            ..Terms::own(Durability::Sync, Some(EXPIRY_TIMEOUT))
        };
        // after a failure the background thread orders it again
        let _ = self.expire_leases(terms);
    }

    /// Whether the worker must stop waiting for the write lock of its own maintenance: it was
    /// ordered to stop, or a request without a thread has timed out, which only the worker can
    /// refuse.
    fn is_worker_needed(&self, orders: &Orders) -> bool {
        orders.must_stop() || self.0.group.queue.has_timed_out(Instant::now())
    }

    /// Sweeps, then runs the completions that wait for it. A sweep that fails or is stopped
    /// continues later: its compaction is recorded in the store.
    fn sweep_for_completions(&self, orders: &Orders) {
        let waiting = std::mem::take(&mut *lock(&self.0.unswept));
        let swept = self.sweep_until_stopped(orders);
        complete_group(
            waiting
                .into_iter()
                .map(|(completion, response)| (completion, swept.clone().and(response))),
        );
    }

    fn sweep_until_stopped(&self, orders: &Orders) -> Result<()> {
        let unwanted = || self.is_worker_needed(orders);
        let terms = Terms {
            interrupt: Some(&unwanted),
            ..Terms::own(Durability::Lazy, Some(SWEEP_TIMEOUT))
        };
        while !orders.must_stop() {
            self.time_out_requests();
            if orders.take(&orders.expire_leases) {
                self.expire_leases_as_worker(orders);
            }
            match self.run(Work::Sweep, terms) {
                Ok(Outcome::Step(true)) => return Ok(()),
                Err(error) if error.code() == Code::Cancelled => {}
                Err(error) => {
                    // the condition may pass: the next group tries again
                    if matches!(error.code(), Code::Busy | Code::Full) {
                        self.look_for_leftover();
                    }
                    return Err(sweep_error(error));
                }
                Ok(_) => {}
            }
        }
        let path = self.0.group.env.path().display();
        Err(Error::new(
            Code::Closed,
            format!(
                "{path} was closed before the sweep of a compaction ended; the sweep continues when the store is opened next"
            ),
        ))
    }
}
#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::mpsc::channel;

    use super::*;
    use crate::embedded::mvcc::compact;
    use crate::embedded::opening;
    use crate::options::Options;
    use crate::request::{Compact, Put, Response};

    fn wait_until(what: &str, is_so: impl Fn() -> bool) {
        let limit = Instant::now() + SWEEP_TIMEOUT / 2;
        while !is_so() {
            assert!(Instant::now() < limit, "timed out: {what}");
            thread::yield_now();
        }
    }

    /// Another process may hold the lock for long, and any later writer finishes a sweep.
    #[test]
    fn close_does_not_wait_for_the_lock_that_a_sweep_needs() {
        let limit = SWEEP_TIMEOUT / 2;
        let store = opening::open(Path::new(":memory:"), &Options::new()).expect("a store");
        let terms = Terms::own(Durability::None, None);
        store.commit().run(Put::new("k", "v"), terms).expect("put");
        let (compacted, is_compacted) = channel();
        let (held, is_held) = channel();
        // the worker sweeps after this completion, in which it waits until the lock is held
        let completion = Box::new(move |response: Result<Response>| {
            compacted.send(response.map(drop)).expect("the test waits");
            is_held.recv_timeout(limit).expect("notified");
        });
        store.commit().submit(Compact::new(2), terms, completion);
        is_compacted
            .recv_timeout(limit)
            .expect("a response")
            .expect("compacted");
        let lock = store.guard().lock_writer(None, None).expect("it is free");
        held.send(()).expect("the worker waits");
        wait_until("a request waits", || {
            !store.commit().0.group.queue.is_empty()
        });
        let (stopped, is_stopped) = channel();
        thread::scope(|scope| {
            scope.spawn(|| stopped.send(store.commit().stop().is_none()));
            let response = is_stopped.recv_timeout(limit);
            drop(lock);
            assert_eq!(response, Ok(true), "stop waits for the lock");
        });
    }

    /// The sweep that the caller could not wait for continues, also without another write.
    #[test]
    fn compaction_that_times_out_leaves_the_sweep_to_the_worker() {
        let store = opening::open(Path::new(":memory:"), &Options::new()).expect("a store");
        let terms = Terms::own(Durability::None, None);
        store.commit().run(Put::new("k", "v"), terms).expect("put");
        let lock = store.guard().lock_writer(None, None).expect("it is free");
        let mut txn = store.env().write().expect("a transaction");
        compact::start_compaction(&mut txn, &Compact::new(2), 2, -1).expect("compacted");
        txn.commit(true).expect("committed");
        thread::scope(|scope| {
            let committer = store.commit();
            let swept = scope.spawn(move || {
                let terms = Terms::own(Durability::None, Some(Duration::from_millis(20)));
                committer
                    .sweep_for_caller(terms)
                    .map_err(|error| error.code())
            });
            assert_eq!(swept.join().expect("no panic"), Err(Code::UnknownOutcome));
        });
        drop(lock);
        wait_until("the sweep ends", || {
            !compact::has_leftover(&store.env().read().expect("a reader")).expect("read")
        });
    }

    /// The worker also waits for the lock to sweep and to revoke leases. A request that is
    /// submitted meanwhile times out with its own timeout, not with the worker's.
    #[test]
    fn submit_times_out_while_the_worker_waits_for_the_lock() {
        let store = opening::open(Path::new(":memory:"), &Options::new()).expect("a store");
        let terms = Terms::own(Durability::None, None);
        store.commit().run(Put::new("k", "v"), terms).expect("put");
        let _lock = store.guard().lock_writer(None, None).expect("it is free");
        let orders: [fn(&Orders) -> &AtomicBool; 2] =
            [|orders| &orders.expire_leases, |orders| &orders.sweep];
        for order in orders {
            store.commit().order(order);
            wait_until("the worker waits", || {
                !store.commit().0.group.queue.is_empty()
            });
            let (responded, is_responded) = channel();
            let terms = Terms {
                timeout: Some(Duration::from_millis(20)),
                ..terms
            };
            let completion = Box::new(move |response: Result<Response>| {
                drop(responded.send(response.map(drop)))
            });
            store.commit().submit(Put::new("k", "w"), terms, completion);
            let response = is_responded
                .recv_timeout(EXPIRY_TIMEOUT / 2)
                .expect("a response before the worker gives up");
            assert_eq!(response.map_err(|error| error.code()), Err(Code::Busy));
        }
    }
}
