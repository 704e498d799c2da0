//! One group: what a leader applies in one transaction and commits once.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use super::durability;
use super::group_delay::{GroupDelay, Plan};
use super::queue::{Outcome, Pending, Queue, Work};
use super::times::Times;
use crate::embedded::guard::Guard;
use crate::embedded::lmdb::Env;
use crate::embedded::mvcc::writer::Writer;
use crate::embedded::mvcc::{compact, time};
use crate::embedded::os;
use crate::error::{Code, Error, Result};
use crate::options::Clock;
use crate::request::{Durability, Request};

/// A group takes no more requests, bytes or time than these.
const GROUP_REQUESTS: usize = 4_096;
const GROUP_BYTES: u64 = 4 << 20;
const GROUP_TIME: Duration = Duration::from_millis(5);
/// The first requests of a group are applied without a look at the clock.
const GROUP_UNTIMED_REQUESTS: usize = 8;
/// Events that one step of the sweep examines.
const SWEEP_EVENTS: usize = 4_000;
/// Leases that one step of the expiry revokes.
const EXPIRE_LEASES: usize = 1_000;

/// The members of a group, each with its outcome.
pub(super) type Outcomes = Vec<(Arc<Pending>, Result<Outcome>)>;

/// The queue of an environment, and what a group of its requests needs.
pub(super) struct GroupCommit {
    pub env: Arc<Env>,
    pub guard: Arc<Guard>,
    pub queue: Queue,
    pub times: Times,
    /// The clock of leases and of the time index.
    pub clock: Clock,
    /// The store's durability is `none`: nothing is ever flushed.
    unsynced: bool,
    /// This environment has looked for a gap to close.
    gap_closed: AtomicBool,
    /// `meta` holds the id of this boot.
    lazy_announced: AtomicBool,
    /// The last minute in the time index.
    noted_minute: AtomicI64,
    delay: GroupDelay,
}

/// Why a group has failed.
enum GroupFailure {
    /// One member failed: each runs again, in a transaction of its own.
    Member,
    /// Each member would fail in the same way, or must not run again.
    All(Error),
}

impl From<Error> for GroupFailure {
    fn from(error: Error) -> GroupFailure {
        GroupFailure::All(error)
    }
}

/// Where the members of a group come from.
pub(super) enum Members {
    /// From the queue, until it is empty or the group is full. `in_turns`: the group may be limited
    /// so that two halves of the clients take turns. Requests of waiting threads come one by one
    /// and take turns without it; submitted requests come in batches.
    Queue { in_turns: bool },
    /// This one only, after its group has failed.
    One(Arc<Pending>),
}

/// A group that is being applied.
struct Group {
    plan: Plan,
    requests_max: usize,
    bytes: u64,
    began: Instant,
    /// The only member of a group that is not from the queue, until it is taken.
    one: Option<Arc<Pending>>,
    is_from_queue: bool,
}

impl GroupCommit {
    pub fn new(env: Arc<Env>, guard: Arc<Guard>, unsynced: bool, clock: Clock) -> GroupCommit {
        GroupCommit {
            env,
            guard,
            queue: Queue::default(),
            times: Times::default(),
            clock,
            unsynced,
            gap_closed: AtomicBool::new(false),
            lazy_announced: AtomicBool::new(false),
            noted_minute: AtomicI64::new(-1),
            delay: GroupDelay::default(),
        }
    }

    /// Applies the requests of a group in one transaction and commits them. The caller holds the
    /// write lock.
    pub fn run(&self, source: Members) -> Outcomes {
        let one = match &source {
            Members::One(member) => Some(member.clone()),
            Members::Queue { .. } => None,
        };
        let mut members = Vec::new();
        // a panic must not leave members without an outcome; it drops the transaction
        let result = catch_unwind(AssertUnwindSafe(|| {
            self.before_write()?;
            let mut writer = Writer::new(self.env.write()?, &*self.guard)?;
            let mut group = self.begin_group(source);
            let mut outcomes = Vec::new();
            while let Some(member) = self.next_member(&mut group, members.len()) {
                members.push(member.clone());
                if needs_time(&member.work) {
                    writer.set_time(self.clock_ns());
                }
                outcomes.push(match &member.work {
                    Work::Request(request) => writer
                        .apply(request, member.conditions)
                        .map(Outcome::Response),
                    work => maintain(&mut writer, work).map(Outcome::Step),
                });
                if writer.has_partial_write() {
                    return match group.is_from_queue {
                        true => Err(GroupFailure::Member),
                        false => Ok(outcomes),
                    };
                }
            }
            self.end_group(&group, writer, &members)?;
            Ok(outcomes)
        }));
        if members.is_empty() {
            members.extend(one);
        }
        match result {
            Ok(Ok(outcomes)) => members.into_iter().zip(outcomes).collect(),
            Ok(Err(GroupFailure::Member)) => members
                .into_iter()
                .flat_map(|member| self.run(Members::One(member)))
                .collect(),
            Ok(Err(GroupFailure::All(error))) => {
                if members.is_empty() {
                    members.extend(self.queue.take_next());
                }
                fail_all(members, &error)
            }
            Err(panic) => fail_all(members, &panic_error(&*panic)),
        }
    }

    fn begin_group(&self, source: Members) -> Group {
        let began = Instant::now();
        let (plan, requests_max, one) = match source {
            Members::Queue { in_turns } => match self.delay.plan(began) {
                plan @ Plan::TakeTurns(max) if in_turns => (plan, max.min(GROUP_REQUESTS), None),
                plan => (plan, GROUP_REQUESTS, None),
            },
            Members::One(member) => (Plan::TakeAll, 1, Some(member)),
        };
        Group {
            plan,
            requests_max,
            bytes: 0,
            began,
            is_from_queue: one.is_none(),
            one,
        }
    }

    /// The next request of a group that has `have` members; `None` if the group is complete.
    fn next_member(&self, group: &mut Group, have: usize) -> Option<Arc<Pending>> {
        loop {
            let has_time = have < GROUP_UNTIMED_REQUESTS || group.began.elapsed() < GROUP_TIME;
            if have >= group.requests_max || group.bytes >= GROUP_BYTES || !has_time {
                return None;
            }
            if let Some(member) = group.one.take().or_else(|| self.queue.take_next()) {
                group.bytes += member.bytes();
                return Some(member);
            }
            // all that have come are applied: wait for those that are expected
            match group.plan {
                Plan::WaitFor(expected, until) if self.queue.wait_for(expected, have, until) => {}
                _ => return None,
            }
        }
    }

    fn end_group(
        &self,
        group: &Group,
        writer: Writer,
        members: &[Arc<Pending>],
    ) -> std::result::Result<(), GroupFailure> {
        if let Plan::WaitFor(expected, _) = group.plan {
            self.delay
                .record_wait(Instant::now(), members.len() >= expected);
        }
        if !writer.has_written() {
            return Ok(());
        }
        let lazy = self.is_lazy(members);
        match self.commit(writer, lazy) {
            Ok(took) if group.is_from_queue => {
                let flushed = !lazy && !self.unsynced;
                self.delay
                    .record_group(members.len(), self.queue.len(), flushed.then_some(took));
                Ok(())
            }
            Ok(_) => Ok(()),
            Err(error) if error.code() == Code::Full && members.len() > 1 => {
                Err(GroupFailure::Member)
            }
            Err(error) => Err(GroupFailure::All(error)),
        }
    }

    fn commit(&self, mut writer: Writer, lazy: bool) -> Result<Duration> {
        let minute = time::minute(self.clock.unix_ms());
        let note =
            minute > self.noted_minute.load(Ordering::Relaxed) && writer.note_minute(minute)?;
        let (txn, slots) = writer.into_parts();
        let began = Instant::now();
        txn.commit(lazy)
            .map_err(|error| self.failed_commit(error))?;
        let took = began.elapsed();
        self.times.add(took);
        slots.committed();
        if note {
            self.noted_minute.store(minute, Ordering::Relaxed);
        }
        // read back: a transaction that changed no page (a sweep with nothing left) has no id
        if let Ok(id) = self.env.last_txn() {
            self.guard.set_txn_id(id);
        }
        Ok(took)
    }

    /// After a failed commit the pages in the kernel cannot be trusted. A sync that succeeds makes
    /// them valid again. If it fails too the store accepts no more writes until every process has
    /// left it.
    fn failed_commit(&self, error: Error) -> Error {
        let path = self.env.path().display();
        if self.env.is_broken() {
            self.guard.poison();
            let message = format!(
                "the commit's last page could not be written ({}): the write may or may not be there; close {path}, open it again and read the key",
                error.message()
            );
            return Error::new(Code::UnknownOutcome, message).with_source(error);
        }
        if error.code() == Code::Full {
            return error.context(path);
        }
        if self.env.sync().is_err() {
            self.guard.poison();
        } else if error.code() == Code::Io && os::is_full(self.env.path()) {
            return Error::new(Code::Full, format!("{path}: the disk is full"))
                .with_detail(error.message())
                .with_source(error);
        }
        error.context(path)
    }

    /// Nanoseconds on the store's clock; see [`now_ns`].
    pub fn clock_ns(&self) -> u64 {
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
            durability::write_gap_after_reboot(&self.env, self.guard.boot_id())?;
            self.gap_closed.store(true, Ordering::Release);
        }
        if !self.unsynced && !self.lazy_announced.load(Ordering::Acquire) && self.queue.has_lazy() {
            durability::record_lazy_boot(&self.env, self.guard.boot_id())?;
            self.lazy_announced.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Whether a group of these members may leave its meta page in the page cache. One member that
    /// needs a flush makes the whole group flush, and so does a boot id that was not noted in time.
    /// A sweep makes no revision, so it does not need the boot id.
    fn is_lazy(&self, members: &[Arc<Pending>]) -> bool {
        let noted = self.lazy_announced.load(Ordering::Acquire);
        let may = |member: &Arc<Pending>| match member.work {
            Work::Request(_) => noted && member.durability == Durability::Lazy,
            Work::Sweep => true,
            // makes revisions, which must not be given twice
            Work::ExpireLeases => false,
            Work::MaxBytes(_) | Work::Load(_) => member.durability == Durability::Lazy,
        };
        !self.unsynced && members.iter().all(may)
    }
}

/// Nanoseconds on a store's clock: since boot, or since 1970 for a manual clock.
pub(crate) fn now_ns(clock: &Clock) -> u64 {
    match clock.is_manual() {
        true => u64::try_from(clock.unix_ms())
            .unwrap_or(0)
            .saturating_mul(1_000_000),
        false => os::boottime_ns(),
    }
}

/// Whether the deadline of a lease is computed or compared.
fn needs_time(work: &Work) -> bool {
    matches!(
        work,
        Work::ExpireLeases | Work::Load(_) | Work::Request(Request::LeaseGrant(_))
    )
}

/// Runs one step of maintenance. Returns whether it was the last.
fn maintain(writer: &mut Writer, work: &Work) -> Result<bool> {
    match work {
        Work::Load(part) => writer.load(part).map(|()| true),
        Work::MaxBytes(max) => writer.set_max_bytes(*max).map(|()| true),
        Work::Sweep => writer.maintain(|txn| compact::sweep_step(txn, SWEEP_EVENTS)),
        Work::ExpireLeases => writer.expire(EXPIRE_LEASES),
        Work::Request(_) => Err(Error::new(Code::Internal, "a request is not maintenance")),
    }
}

fn fail_all(members: Vec<Arc<Pending>>, error: &Error) -> Outcomes {
    members
        .into_iter()
        .map(|member| (member, Err(error.clone())))
        .collect()
}

fn panic_error(panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("panic");
    Error::new(Code::Internal, format!("a write was given up: {text}"))
}
