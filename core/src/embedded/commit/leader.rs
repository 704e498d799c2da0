//! A thread with a request: it leads a group, or waits until a leader has run its request.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering;
use std::time::Instant;

use crossbeam::sync::Parker;

use super::committer::Committer;
use super::group::{Members, Outcomes};
use super::queue::{Outcome, Pending, Successor, Waiter, Work};
use super::terms::Terms;
use crate::completion::{Completion, complete_group};
use crate::embedded::guard::writer_lock::WAIT_PERIOD;
use crate::embedded::mvcc::compact;
use crate::engine::Interrupt;
use crate::error::{Code, Error, Result};
use crate::request::Durability;

/// A leader looks for an unfinished sweep before its first group, then once in this many groups.
const LEFTOVER_GROUPS: u64 = 1_024;

/// What a leader does after it has given up leadership: a completion may write, and needs a leader
/// then.
#[derive(Default)]
pub(super) struct FollowUp {
    pub completions: Vec<(Completion, Result<Outcome>)>,
    pub sweep: bool,
}

/// The parker of this thread, taken from it and given back at the end.
struct ThreadParker(Option<Parker>);

thread_local! {
    static PARKER: Cell<Option<Parker>> = const { Cell::new(None) };
}

impl ThreadParker {
    /// A thread that is ending may have lost its parker, and a completion that writes finds it in
    /// use: both get a new one.
    fn take() -> ThreadParker {
        let parker = PARKER.try_with(Cell::take).ok().flatten();
        ThreadParker(Some(parker.unwrap_or_default()))
    }

    fn get(&self) -> &Parker {
        self.0.as_ref().expect("only dropping takes it")
    }
}

impl Drop for ThreadParker {
    fn drop(&mut self) {
        let _ = PARKER.try_with(|own| own.set(self.0.take()));
    }
}

impl Committer {
    /// Runs a valid request, or maintenance, and waits for its outcome. A physical compaction also
    /// waits for the space.
    pub fn run(&self, work: impl Into<Work>, terms: Terms) -> Result<Outcome> {
        let panicked = Cell::new(None);
        let interrupt = || {
            terms
                .interrupt
                .is_some_and(|interrupt| interrupts(interrupt, &panicked))
        };
        let terms = Terms {
            interrupt: terms.interrupt.and(Some(&interrupt)),
            ..terms
        };
        let parker = ThreadParker::take();
        let waiter = Waiter::Thread(parker.get().unparker().clone());
        let own = Pending::new(work.into(), &terms, waiter);
        let led = match self.0.group.queue.join(own.clone()) {
            true => self.lead(&own, terms.interrupt),
            false => Ok(()),
        };
        let mut outcome = led.and_then(|()| self.wait(parker.get(), &own, terms.interrupt));
        drop(parker);
        if outcome.is_ok() && own.work.is_physical_compaction() {
            outcome = self.sweep_for_caller(terms).and(outcome);
        }
        if let Some(panic) = panicked.take() {
            resume_unwind(panic);
        }
        outcome
    }

    fn wait(
        &self,
        parker: &Parker,
        own: &Pending,
        interrupt: Option<Interrupt>,
    ) -> Result<Outcome> {
        loop {
            if let Some(outcome) = own.outcome() {
                return outcome;
            }
            if !own.is_queued() {
                parker.park();
                continue;
            }
            if own.is_appointed() {
                self.lead(own, interrupt)?;
                continue;
            }
            let now = Instant::now();
            let late = own.deadline.is_some_and(|deadline| deadline <= now);
            let unwanted = !late && interrupt.is_some_and(|interrupt| interrupt());
            if (late || unwanted) && own.give_up() {
                if self.0.group.queue.was_appointed(own) {
                    self.pass_leadership();
                }
                return Err(if late { self.busy() } else { cancelled() });
            }
            let check_again = interrupt.and_then(|_| now.checked_add(WAIT_PERIOD));
            match own.deadline.into_iter().chain(check_again).min() {
                Some(until) => parker.park_deadline(until),
                None => parker.park(),
            }
        }
    }

    /// Leads group after group until the own request has an outcome, then passes leadership on. If
    /// the write lock is not available in time the own request is given up.
    fn lead(&self, own: &Pending, interrupt: Option<Interrupt>) -> Result<()> {
        let mut follow_up = FollowUp::default();
        let mut result = Ok(());
        let interrupt = || {
            self.order_time_outs();
            interrupt.is_some_and(|interrupt| interrupt())
        };
        while own.is_queued() && result.is_ok() {
            let guard = &self.0.group.guard;
            guard.yield_to_waiter();
            result = match guard.lock_writer(own.deadline, Some(&interrupt)) {
                Ok(held) => {
                    let outcomes = self.0.group.run(Members::Queue { in_turns: false });
                    drop(held);
                    self.finish(outcomes, !own.is_queued(), &mut follow_up);
                    Ok(())
                }
                Err(error) => {
                    own.give_up();
                    self.pass_leadership();
                    Err(error)
                }
            };
        }
        self.follow_up(follow_up);
        result
    }

    /// After a group: first its members are woken, then leadership is passed on, then the commit
    /// signal is given.
    pub(super) fn finish(
        &self,
        outcomes: Outcomes,
        pass_leadership: bool,
        follow_up: &mut FollowUp,
    ) {
        let succeeded = outcomes.iter().any(|(_, outcome)| outcome.is_ok());
        follow_up.sweep |= outcomes
            .iter()
            .any(|(member, outcome)| outcome.is_ok() && member.needs_worker_sweep());
        follow_up.completions.extend(
            outcomes
                .into_iter()
                .filter_map(|(member, outcome)| member.finish(outcome)),
        );
        if pass_leadership {
            self.pass_leadership();
        }
        if succeeded {
            self.0.group.guard.raise_signal();
        }
        follow_up.sweep |= self.has_leftover();
    }

    /// Runs completions. They may do anything but block, because this thread leads no longer.
    pub(super) fn follow_up(&self, follow_up: FollowUp) {
        if follow_up.sweep {
            self.order(|orders| &orders.sweep);
        }
        complete_group(
            follow_up
                .completions
                .into_iter()
                .map(|(completion, outcome)| (completion, outcome.and_then(Outcome::response))),
        );
    }

    pub(super) fn pass_leadership(&self) {
        if let Successor::Worker = self.0.group.queue.pass_leadership() {
            self.order(|orders| &orders.lead);
        }
    }

    /// The error of a request that timed out in this process's own queue.
    pub(super) fn busy(&self) -> Error {
        let holder = match self.0.group.guard.writer_holder() {
            Some((pid, held_ms)) => format!("process {pid} has held it for {held_ms} ms"),
            None => "many writers are waiting for it".to_string(),
        };
        let path = self.0.group.env.path().display();
        Error::new(
            Code::Busy,
            format!("timed out waiting for the write lock of {path}: {holder}"),
        )
    }

    /// Whether a sweep is unfinished, perhaps that of another process. From time to time only,
    /// together with the check for dead readers, which make the file grow.
    fn has_leftover(&self) -> bool {
        if !self
            .0
            .groups
            .fetch_add(1, Ordering::Relaxed)
            .is_multiple_of(LEFTOVER_GROUPS)
        {
            return false;
        }
        let env = &self.0.group.env;
        // if it is refused, an open of the store reports the process that is the reason
        let _ = env.reader_check();
        env.read()
            .and_then(|txn| compact::has_leftover(&txn))
            .unwrap_or(false)
    }

    /// Makes the next group look for an unfinished sweep.
    pub(super) fn look_for_leftover(&self) {
        self.0.groups.store(0, Ordering::Relaxed);
    }

    /// Sweeps to the end. Other requests have their turn between the steps. After an error the
    /// worker continues.
    pub(super) fn sweep_for_caller(&self, terms: Terms) -> Result<()> {
        // a step that a power cut takes back is only done again
        let terms = Terms {
            durability: Durability::Lazy,
            ..terms
        };
        loop {
            match self.run(Work::Sweep, terms) {
                Ok(Outcome::Step(true)) => return Ok(()),
                Ok(_) => {}
                Err(error) => {
                    self.order(|orders| &orders.sweep);
                    return Err(sweep_error(error));
                }
            }
        }
    }
}

/// Calls `interrupt`. If it panics the request is withdrawn first: the queue must not lose its
/// leader.
fn interrupts(interrupt: Interrupt, panicked: &Cell<Option<Box<dyn Any + Send>>>) -> bool {
    catch_unwind(AssertUnwindSafe(interrupt)).unwrap_or_else(|panic| {
        panicked.set(Some(panic));
        true
    })
}

/// The error of a compaction that was made, but whose caller could not wait for the space. Its code
/// must not mean that nothing was written.
pub(super) fn sweep_error(error: Error) -> Error {
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
