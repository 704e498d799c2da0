//! One group: what a leader applies in one transaction, commits once, and answers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Shared;
use super::pace::Plan;
use super::queue::{Outcome, Pending, Work};
use crate::embedded::mvcc::{compact, time, write::Writer};
use crate::embedded::os;
use crate::error::{Code, Error, Result};
use crate::request::Request;

/// A group takes no more requests, bytes or time.
const GROUP_REQUESTS: usize = 4_096;
const GROUP_BYTES: u64 = 4 << 20;
const GROUP_TIME: Duration = Duration::from_millis(5);
/// Events that one step of the sweep looks at.
const SWEEP_EVENTS: usize = 4_000;
/// Leases that one step of an expiry revokes.
const EXPIRE_LEASES: usize = 1_000;

/// The members of a group, each with what came of it.
pub(super) type Finished = Vec<(Arc<Pending>, Result<Outcome>)>;

/// Takes requests from the queue until it is empty or the group is full, and commits them. The
/// writer's lock is held. `in_turns` where the pace may ask for turns: requests that threads wait for
/// come one by one and fall into turns by themselves, others come in lumps.
pub(super) fn run(shared: &Shared, in_turns: bool) -> Finished {
    let mut members = Vec::new();
    // a panic would leave the members waiting for ever; the transaction is dropped by it
    match catch_unwind(AssertUnwindSafe(|| {
        run_members(shared, in_turns, &mut members)
    })) {
        Ok(outcomes) => members.into_iter().zip(outcomes).collect(),
        Err(panic) => {
            let error = Error::new(
                Code::Internal,
                format!("a write was given up: {}", panic_text(&*panic)),
            );
            members
                .into_iter()
                .map(|member| (member, Err(error.clone())))
                .collect()
        }
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("panic")
}

fn run_members(
    shared: &Shared,
    in_turns: bool,
    members: &mut Vec<Arc<Pending>>,
) -> Vec<Result<Outcome>> {
    match try_group(shared, in_turns, members) {
        Ok(outcomes) => outcomes,
        Err(Failed::Alone) => members.iter().map(|member| alone(shared, member)).collect(),
        Err(Failed::All(error)) => {
            if members.is_empty() {
                members.extend(shared.queue.take_next());
            }
            members.iter().map(|_| Err(error.clone())).collect()
        }
    }
}

/// Why a group as such came to nothing.
enum Failed {
    /// Something in it did: each member runs once more in a transaction of its own.
    Alone,
    /// Each member would fail in the same way, or must not run again.
    All(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Failed {
        Failed::All(error)
    }
}

fn try_group(
    shared: &Shared,
    in_turns: bool,
    members: &mut Vec<Arc<Pending>>,
) -> std::result::Result<Vec<Result<Outcome>>, Failed> {
    shared.before_write()?;
    let mut writer = shared.writer()?;
    let (mut outcomes, mut bytes) = (Vec::new(), 0);
    let began = Instant::now();
    let plan = shared.pace.plan(began);
    let most = match plan {
        Plan::Turns(most) if in_turns => most.min(GROUP_REQUESTS),
        _ => GROUP_REQUESTS,
    };
    while members.len() < most
        && bytes < GROUP_BYTES
        && (members.len() < 8 || began.elapsed() < GROUP_TIME)
    {
        let Some(member) = shared.queue.take_next() else {
            // what has come is applied already, while others are on their way
            match plan {
                Plan::Together(expected, until)
                    if shared.queue.wait_for(expected, members.len(), until) =>
                {
                    continue;
                }
                _ => break,
            }
        };
        bytes += member.bytes();
        members.push(member.clone());
        outcomes.push(apply(shared, &mut writer, &member));
        if writer.is_torn() {
            return Err(Failed::Alone);
        }
    }
    if let Plan::Together(expected, _) = plan {
        shared
            .pace
            .waited(Instant::now(), members.len() >= expected);
    }
    if !writer.has_written() {
        return Ok(outcomes);
    }
    let lazy = shared.is_lazy(members);
    match commit(shared, writer, lazy) {
        Ok(took) => {
            let flushed = !lazy && !shared.unsynced;
            shared
                .pace
                .note(members.len(), shared.queue.len(), flushed.then_some(took));
            Ok(outcomes)
        }
        Err(error) if error.code() == Code::Full && members.len() > 1 => Err(Failed::Alone),
        Err(error) => Err(Failed::All(error)),
    }
}

/// One member in a transaction of its own.
fn alone(shared: &Shared, member: &Arc<Pending>) -> Result<Outcome> {
    let mut writer = shared.writer()?;
    let outcome = apply(shared, &mut writer, member);
    // a refusal may have raised an alarm
    if writer.has_written() && !writer.is_torn() {
        commit(shared, writer, shared.is_lazy(std::slice::from_ref(member)))?;
    }
    outcome
}

fn apply(shared: &Shared, writer: &mut Writer, member: &Pending) -> Result<Outcome> {
    let work = &member.work;
    if matches!(work, Work::Expire | Work::Request(Request::LeaseGrant(_))) {
        writer.set_time(shared.now_ns());
    }
    match work {
        Work::Request(request) => writer
            .apply(request, member.raises_alarm)
            .map(Outcome::Response),
        Work::MaxBytes(most) => writer.set_max_bytes(*most).map(|()| Outcome::Step(true)),
        Work::Sweep => writer.sweep(SWEEP_EVENTS).map(Outcome::Step),
        Work::Expire => writer.expire(EXPIRE_LEASES).map(Outcome::Step),
    }
}

fn commit(shared: &Shared, mut writer: Writer, lazy: bool) -> Result<Duration> {
    let minute = time::minute(shared.clock.unix_ms());
    let note =
        minute > shared.noted_minute.load(Ordering::Relaxed) && writer.note_minute(minute)?;
    let (txn, slots) = writer.into_parts();
    let began = Instant::now();
    txn.commit(lazy)
        .map_err(|error| failed_commit(shared, error))?;
    let took = began.elapsed();
    shared.times.add(took);
    slots.committed();
    if note {
        shared.noted_minute.store(minute, Ordering::Relaxed);
    }
    // asked for, as a transaction that changed no page (a sweep with nothing left) leaves no commit
    if let Ok(id) = shared.env.last_txn() {
        shared.guard.set_txn_id(id);
    }
    Ok(took)
}

/// After a failed commit what the kernel still holds must not be trusted: a sync that succeeds
/// clears it, else the store takes no more writes until everybody has left it.
fn failed_commit(shared: &Shared, error: Error) -> Error {
    let path = shared.env.path().display();
    if shared.env.is_broken() {
        shared.guard.poison();
        let message = format!(
            "the commit's last page could not be written ({}): the write may or may not be there; close {path}, open it again and read the key",
            error.message()
        );
        return Error::new(Code::UnknownOutcome, message).with_source(error);
    }
    if error.code() == Code::Full {
        return error.context(path);
    }
    if shared.env.sync().is_err() {
        shared.guard.poison();
    } else if error.code() == Code::Io && os::is_full(shared.env.path()) {
        return Error::new(Code::Full, format!("{path}: the disk is full"))
            .with_detail(error.message())
            .with_source(error);
    }
    error.context(path)
}

impl Writer<'_> {
    /// One step of the sweep behind a promised compaction; whether it was the last.
    fn sweep(&mut self, events_max: usize) -> Result<bool> {
        self.maintain(|txn| compact::sweep_step(txn, events_max))
    }
}
