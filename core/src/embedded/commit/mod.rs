//! Group commit: the first writer to come leads, takes the writer's lock, applies everybody's
//! requests in one transaction, commits once and hands the answers out.
//!
//! After a commit the leader unlocks, wakes the members of its group, hands leadership to the
//! oldest request that waits with a thread (else to the worker), rings the bell, and runs
//! completions. One worker thread, started on first use, leads for requests without a thread and
//! sweeps behind compactions.

mod durability;
mod group;
mod pace;
mod queue;
mod times;

pub(crate) use durability::withdraw_lazy;

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam::sync::{Parker, Unparker};

use self::group::Finished;
use self::pace::Pace;
use self::queue::{Next, Outcome, Pending, Queue, Waiter, Work, lock, with_parker};
use self::times::Times;
use crate::embedded::guard::{Guard, WAIT_PERIOD};
use crate::embedded::lmdb::Env;
use crate::embedded::mvcc::{compact, write::Writer};
use crate::embedded::os;
use crate::engine::{Completion, Interrupted, Submitted, complete_group};
use crate::error::{Code, Error, Result};
use crate::options::Clock;
use crate::request::{CommitTimes, Durability, Request, Response};

/// A sweep that was left is looked for at the first write, every so many groups, and after one that
/// found the lock held or the disk full.
const LEFTOVER_GROUPS: u64 = 1_024;
/// The worker waits so long for the lock before it lets the next order look for leases that are due.
const EXPIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// The worker waits so long for the lock before those who wait for the sweep get an error.
const SWEEP_TIMEOUT: Duration = Duration::from_secs(60);

/// How a handle wants its writes.
#[derive(Clone, Copy)]
pub(crate) struct Terms<'a> {
    pub durability: Durability,
    /// How long to wait before a leader has it; none is for ever.
    pub timeout: Option<Duration>,
    /// Asked now and then while it waits; true takes it back.
    pub interrupted: Option<Interrupted<'a>>,
    /// A request beyond the quota raises NOSPACE.
    pub raises_alarm: bool,
}

impl Terms<'_> {
    /// For what nobody's handle asks for.
    pub fn own(durability: Durability, timeout: Option<Duration>) -> Terms<'static> {
        Terms {
            durability,
            timeout,
            interrupted: None,
            raises_alarm: false,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.timeout
            .and_then(|timeout| Instant::now().checked_add(timeout))
    }
}

/// Requests to be queued at one moment.
#[derive(Default)]
pub(crate) struct Together(Vec<Arc<Pending>>);

/// The writing side of one environment. Clones are the same.
#[derive(Clone)]
pub(crate) struct Committer {
    shared: Arc<Shared>,
}

/// What leaders share, the worker among them.
struct Shared {
    env: Arc<Env>,
    guard: Arc<Guard>,
    queue: Queue,
    /// The store's durability is `none`: nothing is ever flushed.
    unsynced: bool,
    /// This environment has looked for a gap to close.
    gap_closed: AtomicBool,
    /// This environment has seen its boot noted in `meta`.
    lazy_announced: AtomicBool,
    /// What time it is for leases and for the time index.
    clock: Clock,
    /// The time index has this minute.
    noted_minute: AtomicI64,
    groups: AtomicU64,
    pace: Pace,
    times: Times,
    worker: Mutex<Option<Worker>>,
    /// Whoever waits for the end of the sweep, without a thread.
    swept: Mutex<Vec<(Completion, Result<Response>)>>,
}

struct Worker {
    orders: Arc<Orders>,
    unparker: Unparker,
    /// None once it has been told to stop: what it leaves to be done it still does itself.
    thread: Option<JoinHandle<()>>,
}

/// What a leader leaves for when it leads no longer: a completion that writes needs a leader.
#[derive(Default)]
struct Later {
    completions: Vec<(Completion, Result<Outcome>)>,
    sweep: bool,
}

/// What the worker has been told to do.
#[derive(Default)]
struct Orders {
    lead: AtomicBool,
    sweep: AtomicBool,
    /// What waited beyond its deadline is to be answered.
    expire: AtomicBool,
    /// Leases that are due are to be revoked.
    leases: AtomicBool,
    stop: AtomicBool,
}

impl Orders {
    /// Whether this was ordered, and not to end since; it is not ordered any more.
    fn is_due(&self, order: &AtomicBool) -> bool {
        !self.stop.load(Ordering::Acquire) && order.swap(false, Ordering::AcqRel)
    }
}

impl Committer {
    /// `unsynced`: the store's durability is `none`.
    pub fn new(env: Arc<Env>, guard: Arc<Guard>, unsynced: bool, clock: Clock) -> Committer {
        Committer {
            shared: Arc::new(Shared {
                env,
                guard,
                queue: Queue::default(),
                unsynced,
                gap_closed: AtomicBool::new(false),
                lazy_announced: AtomicBool::new(false),
                clock,
                noted_minute: AtomicI64::new(-1),
                groups: AtomicU64::new(0),
                pace: Pace::default(),
                times: Times::default(),
                worker: Mutex::new(None),
                swept: Mutex::default(),
            }),
        }
    }

    /// Runs a request, which is valid, and waits for its answer.
    pub fn call(&self, request: Request, terms: Terms) -> Result<Response> {
        let physical = matches!(&request, Request::Compact(compact) if compact.physical);
        let panicked = Cell::new(None);
        let asked = || {
            terms
                .interrupted
                .is_some_and(|interrupted| asks(interrupted, &panicked))
        };
        let terms = Terms {
            interrupted: terms.interrupted.and(Some(&asked)),
            ..terms
        };
        let response = self
            .shared
            .wait_for(Work::Request(request), terms)
            .and_then(|response| match physical {
                true => self.shared.sweep_for_caller(terms).map(|()| response),
                false => Ok(response),
            });
        if let Some(panic) = panicked.take() {
            std::panic::resume_unwind(panic);
        }
        response.and_then(response_of)
    }

    /// Runs a request, which is valid, without waiting.
    pub fn submit(&self, request: Request, terms: Terms, completion: Completion) -> Submitted {
        let mut together = Together::default();
        let submitted = self.add(&mut together, request, terms, completion);
        self.submit_together(together);
        submitted
    }

    /// Adds a request, which is valid, to those that are submitted together.
    pub fn add(
        &self,
        together: &mut Together,
        request: Request,
        terms: Terms,
        completion: Completion,
    ) -> Submitted {
        let physical = matches!(&request, Request::Compact(compact) if compact.physical);
        let completion = if physical {
            self.after_sweep(completion)
        } else {
            completion
        };
        let waiter = Waiter::Completion(Mutex::new(Some(completion)));
        let pending = Pending::new(Work::Request(request), &terms, waiter);
        together.0.push(pending.clone());
        Submitted::new(move || pending.withdraw())
    }

    /// Queues them at one moment, so that whoever leads finds them all.
    pub fn submit_together(&self, together: Together) {
        if self.shared.queue.join_all(together.0) {
            self.shared.order(|orders| &orders.lead);
        }
    }

    /// Gives the store this quota; 0 is none.
    pub fn set_max_bytes(&self, max_bytes: u64, terms: Terms) -> Result<()> {
        self.shared
            .wait_for(Work::MaxBytes(max_bytes), terms)
            .map(drop)
    }

    /// Revokes every lease that is due, and waits for it.
    pub fn expire(&self, terms: Terms) -> Result<()> {
        self.shared.expire_leases(terms)
    }

    /// Has the worker revoke every lease that is due, soon. What fails is tried again when it is
    /// asked for again.
    pub fn expire_soon(&self) {
        self.shared.order(|orders| &orders.leases);
    }

    /// How long the commits of this process took.
    pub fn times(&self) -> CommitTimes {
        self.shared.times.read()
    }

    /// Nanoseconds on the store's clock, of which the deadlines of leases are a matter.
    pub fn now_ns(&self) -> u64 {
        self.shared.now_ns()
    }

    /// A completion that is called only when the sweep, which such a compaction orders, is over.
    fn after_sweep(&self, completion: Completion) -> Completion {
        let shared = Arc::downgrade(&self.shared);
        Box::new(move |response| match (shared.upgrade(), &response) {
            (Some(shared), Ok(_)) => {
                lock(&shared.swept).push((completion, response));
                shared.order(|orders| &orders.sweep);
            }
            _ => completion(response),
        })
    }

    /// Ends the worker, once it has led what is queued. Called when the last handle is gone, and so
    /// nothing can be queued any more. A completion may have dropped that on the worker itself, which
    /// is then answered, for another thread to wait for.
    pub fn stop(&self) -> Option<JoinHandle<()>> {
        let thread = lock(&self.shared.worker).as_mut().and_then(|worker| {
            worker.orders.stop.store(true, Ordering::Release);
            worker.unparker.unpark();
            worker.thread.take()
        })?;
        if os::is_current(&thread) {
            return Some(thread);
        }
        let _ = thread.join();
        None
    }
}

/// Nanoseconds on a store's clock: since boot, or since 1970 if it is in hand.
pub(crate) fn now_ns(clock: &Clock) -> u64 {
    match clock.is_in_hand() {
        true => u64::try_from(clock.unix_ms())
            .unwrap_or(0)
            .saturating_mul(1_000_000),
        false => os::boottime_ns(),
    }
}

/// Asks whether to go on waiting. A panic of whoever is asked must not leave the queue without its
/// leader: the request is taken back first.
fn asks(interrupted: Interrupted, panicked: &Cell<Option<Box<dyn Any + Send>>>) -> bool {
    catch_unwind(AssertUnwindSafe(interrupted)).unwrap_or_else(|panic| {
        panicked.set(Some(panic));
        true
    })
}

/// The error of a compaction that was made, but whose caller wanted to wait for the space. Its code must
/// not say that nothing was written.
fn swept_in_part(error: Error) -> Error {
    let message = "the compaction is done, but its space is not reusable yet; that continues in the background";
    match error.code() {
        Code::Cancelled | Code::Closed => error.context(message),
        _ => Error::new(
            Code::UnknownOutcome,
            format!("{message}: {}", error.message()),
        )
        .with_source(error),
    }
}

fn cancelled() -> Error {
    Error::new(
        Code::Cancelled,
        "the request was withdrawn while it waited for its turn; nothing was written",
    )
}

fn response_of(outcome: Outcome) -> Result<Response> {
    match outcome {
        Outcome::Response(response) => Ok(response),
        Outcome::Step(_) => Err(Error::new(
            Code::Internal,
            "a request returned a step of the sweep",
        )),
    }
}

/// Waiting and leading.
impl Shared {
    fn wait_for(self: &Arc<Self>, work: Work, terms: Terms) -> Result<Outcome> {
        with_parker(|parker| {
            let waiter = Waiter::Thread(parker.unparker().clone());
            let own = Pending::new(work, &terms, waiter);
            if self.queue.join(own.clone()) {
                self.lead_for(&own, terms.interrupted)?;
            }
            self.wait(parker, &own, terms.interrupted)
        })
    }

    fn wait(
        self: &Arc<Self>,
        parker: &Parker,
        own: &Pending,
        interrupted: Option<Interrupted>,
    ) -> Result<Outcome> {
        loop {
            if let Some(outcome) = own.outcome() {
                return outcome;
            }
            if own.is_queued() && own.is_appointed() {
                self.lead_for(own, interrupted)?;
                continue;
            }
            if !own.is_queued() {
                parker.park();
                continue;
            }
            let now = Instant::now();
            let late = own.deadline.is_some_and(|deadline| deadline <= now);
            let unwanted = !late && interrupted.is_some_and(|interrupted| interrupted());
            if (late || unwanted) && own.give_up() {
                if self.queue.was_appointed(own) {
                    self.hand_on();
                }
                return Err(if late { self.busy() } else { cancelled() });
            }
            let look_again = interrupted.and_then(|_| now.checked_add(WAIT_PERIOD));
            match own.deadline.into_iter().chain(look_again).min() {
                Some(until) => parker.park_deadline(until),
                None => parker.park(),
            }
        }
    }

    /// Leads until the own request is answered, then hands on. If the lock cannot be had in time
    /// the own request is given up.
    fn lead_for(self: &Arc<Self>, own: &Pending, interrupted: Option<Interrupted>) -> Result<()> {
        let mut later = Later::default();
        let led = self.lead_groups(own, interrupted, &mut later);
        self.after_leading(later);
        led
    }

    fn lead_groups(
        self: &Arc<Self>,
        own: &Pending,
        interrupted: Option<Interrupted>,
        later: &mut Later,
    ) -> Result<()> {
        let asked = || {
            self.expire_elsewhere();
            interrupted.is_some_and(|interrupted| interrupted())
        };
        while own.is_queued() {
            self.guard.give_way();
            match self.guard.lock_writer(own.deadline, Some(&asked)) {
                Ok(held) => {
                    let finished = group::run(self, false);
                    drop(held);
                    self.finish(finished, !own.is_queued(), later);
                }
                Err(error) => {
                    own.give_up();
                    self.hand_on();
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// After a group: members are woken first, then leadership goes on, then the bell.
    fn finish(self: &Arc<Self>, finished: Finished, hand_on: bool, later: &mut Later) {
        let succeeded = finished.iter().any(|(_, outcome)| outcome.is_ok());
        later.sweep |= finished
            .iter()
            .any(|(member, outcome)| leaves_sweep(member, outcome));
        later.completions.extend(
            finished
                .into_iter()
                .filter_map(|(member, outcome)| member.finish(outcome)),
        );
        if hand_on {
            self.hand_on();
        }
        if succeeded {
            self.guard.ring();
        }
        later.sweep |= self.has_leftover();
    }

    /// Runs completions, which may do anything but block, when this thread leads no longer.
    fn after_leading(self: &Arc<Self>, later: Later) {
        if later.sweep {
            self.order(|orders| &orders.sweep);
        }
        complete(later.completions);
    }

    fn hand_on(self: &Arc<Self>) {
        if let Next::Worker = self.queue.hand_on() {
            self.order(|orders| &orders.lead);
        }
    }

    /// The refusal of a request whose time ran out in this process's own queue.
    fn busy(&self) -> Error {
        let holder = match self.guard.writer_holder() {
            Some((pid, held_ms)) => format!("process {pid} has held it for {held_ms} ms"),
            None => "many writers are waiting for it".to_string(),
        };
        let path = self.env.path().display();
        Error::new(
            Code::Busy,
            format!("timed out waiting for the write lock of {path}: {holder}"),
        )
    }
}

/// Before and after a group's transaction; the writer's lock is held.
impl Shared {
    fn writer(&self) -> Result<Writer<'_>> {
        Writer::new(self.env.write()?, &self.guard)
    }

    fn now_ns(&self) -> u64 {
        now_ns(&self.clock)
    }

    fn before_write(&self) -> Result<()> {
        if self.guard.is_poisoned() {
            let path = self.env.path().display();
            let message = format!(
                "{path} accepts no writes because a sync failed: the contents of the disk are unknown until every process has closed it and one opens it again"
            );
            return Err(Error::new(Code::ReadOnly, message));
        }
        if !self.unsynced && !self.gap_closed.load(Ordering::Acquire) {
            durability::close_gap(&self.env, self.guard.boot_id())?;
            self.gap_closed.store(true, Ordering::Release);
        }
        if !self.unsynced && !self.lazy_announced.load(Ordering::Acquire) && self.queue.has_lazy() {
            durability::announce_lazy(&self.env, self.guard.boot_id())?;
            self.lazy_announced.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Whether a group of these members may leave its meta page to the page cache: one that must
    /// be on the disk takes the others along, and so does a boot that was not noted in time. A
    /// sweep gives out no revision, so it needs no note.
    fn is_lazy(&self, members: &[Arc<Pending>]) -> bool {
        let noted = self.lazy_announced.load(Ordering::Acquire);
        let may = |member: &Arc<Pending>| match member.work {
            Work::Request(_) => noted && member.durability == Durability::Lazy,
            Work::Sweep => true,
            // gives revisions, of which none may be given twice
            Work::Expire => false,
            Work::MaxBytes(_) => member.durability == Durability::Lazy,
        };
        !self.unsynced && members.iter().all(may)
    }

    /// Whether a sweep was left behind, perhaps by another process; looked at now and then, and
    /// with it whether dead readers keep the file growing.
    fn has_leftover(&self) -> bool {
        if !self
            .groups
            .fetch_add(1, Ordering::Relaxed)
            .is_multiple_of(LEFTOVER_GROUPS)
        {
            return false;
        }
        // a refusal names a process that whoever opens the store hears of
        let _ = self.env.reader_check();
        self.env
            .read()
            .and_then(|txn| compact::has_leftover(&txn))
            .unwrap_or(false)
    }
}

/// Whether somebody must sweep behind this member: a compaction whose caller does not.
fn leaves_sweep(member: &Pending, outcome: &Result<Outcome>) -> bool {
    let Work::Request(Request::Compact(compact)) = &member.work else {
        return false;
    };
    let waits = matches!(member.waiter, Waiter::Thread(_));
    outcome.is_ok() && !(compact.physical && waits)
}

fn complete(completions: Vec<(Completion, Result<Outcome>)>) {
    complete_group(
        completions
            .into_iter()
            .map(|(completion, outcome)| (completion, outcome.and_then(response_of))),
    );
}

/// The worker.
impl Shared {
    /// Tells the worker to do something, and starts it if there is none yet.
    fn order(self: &Arc<Self>, what: impl Fn(&Orders) -> &AtomicBool) {
        let mut worker = lock(&self.worker);
        if worker.is_none() {
            match self.start_worker() {
                Ok(started) => *worker = Some(started),
                // no thread to be had: this one does it, a little late for its caller
                Err(orders) => {
                    drop(worker);
                    what(&orders).store(true, Ordering::Release);
                    self.carry_out(&orders);
                    return;
                }
            }
        }
        if let Some(worker) = worker.as_ref() {
            what(&worker.orders).store(true, Ordering::Release);
            worker.unparker.unpark();
        }
    }

    fn start_worker(self: &Arc<Self>) -> std::result::Result<Worker, Arc<Orders>> {
        let orders = Arc::new(Orders::default());
        let parker = Parker::new();
        let unparker = parker.unparker().clone();
        let (shared, its_orders) = (self.clone(), orders.clone());
        let thread = thread::Builder::new()
            .name("libkv-writer".into())
            .spawn(move || {
                while !its_orders.stop.load(Ordering::Acquire) {
                    shared.carry_out(&its_orders);
                    parker.park();
                }
                shared.carry_out(&its_orders);
                shared.sweep_for_completions(&its_orders);
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

    /// Does what was ordered until nothing is. Each order has its turn in every round: a completion
    /// that writes orders the next lead at once, and must keep no other order waiting.
    fn carry_out(self: &Arc<Self>, orders: &Orders) {
        loop {
            let lead = orders.lead.swap(false, Ordering::AcqRel);
            if lead {
                self.lead_for_completions();
            }
            let expire = orders.expire.swap(false, Ordering::AcqRel);
            if expire {
                self.expire();
            }
            let leases = orders.is_due(&orders.leases);
            if leases {
                self.expire_leases_in_time(orders);
            }
            let sweep = orders.is_due(&orders.sweep);
            if sweep {
                self.sweep_for_completions(orders);
            }
            if !(lead || expire || leases || sweep) {
                return;
            }
        }
    }

    /// Leads one group for requests that no thread waits for, unless one that waits has come and
    /// does, then hands on.
    fn lead_for_completions(self: &Arc<Self>) {
        if !self.queue.begin_as_worker() {
            return;
        }
        self.guard.give_way();
        // a request that joins meanwhile may have less time than those before it, or all are taken back
        let in_vain = || self.queue.is_worker_in_vain(Instant::now());
        match self
            .guard
            .lock_writer(self.queue.first_deadline(), Some(&in_vain))
        {
            Ok(held) => {
                let mut later = Later::default();
                let finished = group::run(self, true);
                drop(held);
                self.finish(finished, true, &mut later);
                self.after_leading(later);
            }
            Err(error) => {
                let in_time = !matches!(error.code(), Code::Busy | Code::Cancelled);
                let refused = if in_time {
                    self.queue.take_next()
                } else {
                    None
                };
                self.hand_on();
                let completions = refused
                    .and_then(|pending| pending.finish(Err(error)))
                    .into_iter()
                    .collect();
                self.after_leading(Later {
                    completions,
                    sweep: false,
                });
                self.expire();
            }
        }
    }

    /// Answers what waited beyond its deadline with no thread to notice.
    fn expire(self: &Arc<Self>) {
        let expired = self.queue.take_expired(Instant::now());
        let refused = |pending: Arc<Pending>| pending.finish(Err(self.busy()));
        let completions = expired.into_iter().filter_map(refused).collect();
        self.after_leading(Later {
            completions,
            sweep: false,
        });
    }

    /// Has the worker do so, for a leader that waits for the lock.
    fn expire_elsewhere(self: &Arc<Self>) {
        if self.queue.has_expired(Instant::now()) {
            self.order(|orders| &orders.expire);
        }
    }

    /// Sweeps until there is nothing left to sweep, giving way to others between the steps. What is
    /// left after an error is the worker's.
    fn sweep_for_caller(self: &Arc<Self>, terms: Terms) -> Result<()> {
        // a step that a power cut takes back is only done again
        let terms = Terms {
            durability: Durability::Lazy,
            ..terms
        };
        loop {
            match self.wait_for(Work::Sweep, terms) {
                Ok(Outcome::Step(true)) => return Ok(()),
                Ok(_) => {}
                Err(error) => {
                    self.order(|orders| &orders.sweep);
                    return Err(swept_in_part(error));
                }
            }
        }
    }

    /// Revokes until nothing is due, giving way to others between the steps.
    fn expire_leases(self: &Arc<Self>, terms: Terms) -> Result<()> {
        while !matches!(self.wait_for(Work::Expire, terms)?, Outcome::Step(true)) {}
        Ok(())
    }

    /// For the worker; what could not be had in time is ordered again by whoever looks at the time.
    fn expire_leases_in_time(self: &Arc<Self>, orders: &Orders) {
        let unwanted = || self.is_worker_wanted(orders);
        let timeout = Some(EXPIRE_TIMEOUT);
        let terms = Terms {
            interrupted: Some(&unwanted),
            ..Terms::own(Durability::Sync, timeout)
        };
        let _ = self.expire_leases(terms);
    }

    /// Whether the worker has something better to do than to wait for the lock on its own account: to
    /// end, or to answer what waited beyond its deadline, for which there is nobody else.
    fn is_worker_wanted(&self, orders: &Orders) -> bool {
        orders.stop.load(Ordering::Acquire) || self.queue.has_expired(Instant::now())
    }

    /// The sweep that nobody's thread waits for, and whoever does without one. A sweep that fails
    /// or is stopped goes on later; its compaction is promised all the same.
    fn sweep_for_completions(self: &Arc<Self>, orders: &Orders) {
        let waiting = std::mem::take(&mut *lock(&self.swept));
        let swept = self.sweep_unless_stopped(orders);
        complete_group(
            waiting
                .into_iter()
                .map(|(completion, response)| (completion, swept.clone().and(response))),
        );
    }

    fn sweep_unless_stopped(self: &Arc<Self>, orders: &Orders) -> Result<()> {
        let unwanted = || self.is_worker_wanted(orders);
        let timeout = Some(SWEEP_TIMEOUT);
        let terms = Terms {
            interrupted: Some(&unwanted),
            ..Terms::own(Durability::Lazy, timeout)
        };
        while !orders.stop.load(Ordering::Acquire) {
            self.expire();
            if orders.is_due(&orders.leases) {
                self.expire_leases_in_time(orders);
            }
            match self.wait_for(Work::Sweep, terms) {
                Ok(Outcome::Step(true)) => return Ok(()),
                Err(error) if error.code() == Code::Cancelled => {}
                Err(error) => {
                    if matches!(error.code(), Code::Busy | Code::Full) {
                        // it may pass: the next group looks for what was left
                        self.groups.store(0, Ordering::Relaxed);
                    }
                    return Err(swept_in_part(error));
                }
                Ok(_) => {}
            }
        }
        let path = self.env.path().display();
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

    use libkv_test_support::deadline::until;

    use super::*;
    use crate::embedded::opening;
    use crate::options::Options;
    use crate::request::{Compact, Put};

    /// Somebody else may hold the lock for long, and a sweep is finished by any later writer.
    #[test]
    fn closing_does_not_wait_for_the_lock_that_a_sweep_needs() {
        let limit = SWEEP_TIMEOUT / 2;
        let store = opening::open(Path::new(":memory:"), &Options::new()).expect("a store");
        let terms = Terms::own(Durability::None, None);
        store
            .commit()
            .call(Put::new("k", "v").into(), terms)
            .expect("put");
        let (promised, is_promised) = channel();
        let (held, is_held) = channel();
        // the worker sweeps after this completion, in which it waits until the lock is held
        let completion = Box::new(move |response: Result<Response>| {
            promised.send(response.map(drop)).expect("the test listens");
            is_held.recv_timeout(limit).expect("told");
        });
        store
            .commit()
            .submit(Compact::new(2).into(), terms, completion);
        is_promised
            .recv_timeout(limit)
            .expect("answered")
            .expect("promised");
        let lock = store
            .guard()
            .lock_writer(None, None)
            .expect("nobody holds it");
        held.send(()).expect("the worker listens");
        until("the worker waits for the lock", || {
            !store.commit().shared.queue.is_empty()
        });
        let (stopped, is_stopped) = channel();
        thread::scope(|scope| {
            scope.spawn(|| stopped.send(store.commit().stop().is_none()));
            let response = is_stopped.recv_timeout(limit);
            drop(lock);
            assert_eq!(response, Ok(true), "it waits for the lock");
        });
    }

    /// The sweep that the caller could not wait for goes on, also without another write.
    #[test]
    fn physical_compaction_that_times_out_leaves_the_sweep_to_the_worker() {
        let limit = Instant::now() + SWEEP_TIMEOUT / 2;
        let store = opening::open(Path::new(":memory:"), &Options::new()).expect("a store");
        let terms = Terms::own(Durability::None, None);
        store
            .commit()
            .call(Put::new("k", "v").into(), terms)
            .expect("put");
        let lock = store.guard().lock_writer(None, None).expect("it is free");
        let mut txn = store.env().write().expect("a transaction");
        compact::promise(&mut txn, &Compact::new(2), 2, -1).expect("promised");
        txn.commit(true).expect("committed");
        thread::scope(|scope| {
            let shared = &store.commit().shared;
            let swept = scope.spawn(move || {
                let terms = Terms::own(Durability::None, Some(Duration::from_millis(20)));
                shared.sweep_for_caller(terms).map_err(|error| error.code())
            });
            assert_eq!(swept.join().expect("no panic"), Err(Code::UnknownOutcome));
        });
        drop(lock);
        while compact::has_leftover(&store.env().read().expect("a reader")).expect("read") {
            assert!(Instant::now() < limit, "the sweep does not go on");
            thread::yield_now();
        }
    }

    /// The worker waits for the lock on its own account too, to sweep and to revoke leases. What was
    /// submitted meanwhile is answered when its own time is over, not when the worker's is.
    #[test]
    fn a_submitted_request_is_refused_in_its_time_while_the_worker_waits_for_the_lock() {
        let store = opening::open(Path::new(":memory:"), &Options::new()).expect("a store");
        let terms = Terms::own(Durability::None, None);
        store
            .commit()
            .call(Put::new("k", "v").into(), terms)
            .expect("put");
        let _lock = store
            .guard()
            .lock_writer(None, None)
            .expect("nobody holds it");
        let orders: [fn(&Orders) -> &AtomicBool; 2] =
            [|orders| &orders.leases, |orders| &orders.sweep];
        for order in orders {
            store.commit().shared.order(order);
            until("the worker waits for the lock", || {
                !store.commit().shared.queue.is_empty()
            });
            let (answered, is_answered) = channel();
            let terms = Terms {
                timeout: Some(Duration::from_millis(20)),
                ..terms
            };
            let completion =
                Box::new(move |response: Result<Response>| drop(answered.send(response.map(drop))));
            store
                .commit()
                .submit(Put::new("k", "w").into(), terms, completion);
            let response = is_answered
                .recv_timeout(EXPIRE_TIMEOUT / 2)
                .expect("answered before the worker gives up");
            assert_eq!(response.map_err(|error| error.code()), Err(Code::Busy));
        }
    }
}
