//! The past: events of one key, events of a stretch of time, differences of two revisions.
#![allow(unsafe_code)]

use std::time::{Duration, UNIX_EPOCH};

use libkv::{Code, Db, DiffScan, Difference, Error, Event, EventScan};

use crate::db::KvDb;
use crate::error::KvError;
use crate::guard::{free, guard};
use crate::handle::kinds;
use crate::pointers::require_output;
use crate::types::*;

/// A list of events that is read step by step.
pub struct KvEvents;

/// The keys that differ between two revisions, read step by step.
pub struct KvDiff;

/// The contents of a `kv_events`: the source of the events, and the one returned last.
pub(crate) struct EventSteps {
    source: EventSource,
    last: Option<(Event, KvEvent)>,
}

enum EventSource {
    History(Db, std::vec::IntoIter<Event>),
    Events(EventScan),
}

/// What a `kv_diff` holds.
pub(crate) struct DiffSteps {
    scan: DiffScan,
    last: Option<Box<DifferenceViews>>,
}

/// A change, the views of its pairs, and the view of it that points to these: boxed, so that all
/// stay where they are.
struct DifferenceViews {
    change: Difference,
    before: Option<KvKeyValue>,
    after: Option<KvKeyValue>,
    view: KvDifference,
}

kinds! {
    KvEvents = EventSteps, b"kv_event", "kv_events";
    KvDiff = DiffSteps, b"kv_diff\0", "kv_diff";
}

/// Returns the events of one key, newest first, including deletions: at most limit, or all that are
/// kept if limit is 0 or negative.
///
/// Owner: *out is owned by the caller, to free before or after the database; key is not kept.
/// Threads: any.
/// Errors: KV_INVALID_ARGUMENT (empty key), KV_CLOSED, KV_FORKED, KV_CORRUPT, KV_IO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_history(
    db: *const KvDb,
    key: KvBytes,
    limit: i64,
    out: *mut *mut KvEvents,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        require_output(out, "out")?;
        let db = c.arg(db)?.0.clone();
        let events = db.history(c.bytes(key, "the key")?, limit)?.into_iter();
        c.give::<KvEvents>(
            out,
            EventSteps {
                source: EventSource::History(db, events),
                last: None,
            },
        );
        Ok(())
    })
}

/// Returns the events of a range with after < revision <= upto (0 or negative: the current one), in
/// order. It holds no transaction between steps.
///
/// Owner: *out is owned by the caller, to free before or after the database; range is not kept.
/// Threads: any.
/// Errors: KV_INVALID_ARGUMENT; kv_events_next returns the others.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_events_open(
    db: *const KvDb,
    after: i64,
    upto: i64,
    range: KvKeyRange,
    out: *mut *mut KvEvents,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        require_output(out, "out")?;
        let scan = c.arg(db)?.0.events(after, upto, c.range(range)?);
        c.give::<KvEvents>(
            out,
            EventSteps {
                source: EventSource::Events(scan),
                last: None,
            },
        );
        Ok(())
    })
}

/// Returns the next event; *out is NULL at the end.
///
/// Owner: events; what *out points to is valid until the next step or until events are freed.
/// Threads: one at a time.
/// Errors: KV_COMPACTED (after is below the compacted revision), KV_FUTURE_REVISION,
/// KV_INVALID_ARGUMENT (empty key), KV_CLOSED, KV_FORKED, KV_CORRUPT, KV_IO. After an error there
/// are no more events.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_events_next(
    events: *mut KvEvents,
    out: *mut *const KvEvent,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        require_output(out, "out")?;
        let steps = c.arg_mut(events)?;
        let next = match &mut steps.source {
            EventSource::History(db, _) if db.is_closed() => {
                // closed, or from before a fork: any call returns which
                let closed = || Error::new(Code::Closed, "the store's handle is closed");
                return Err(db.snapshot().err().unwrap_or_else(closed));
            }
            EventSource::History(_, events) => events.next(),
            EventSource::Events(scan) => scan.next().transpose()?,
        };
        steps.last = next.map(|event| {
            let view = event_view(&event);
            (event, view)
        });
        c.put(
            out,
            steps
                .last
                .as_ref()
                .map_or(std::ptr::null(), |(_, view)| std::ptr::from_ref(view)),
        );
        Ok(())
    })
}

/// Frees events.
///
/// Owner: frees them; NULL is allowed.
/// Threads: the last use of them.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_events_free(events: *mut KvEvents) {
    free!(events)
}

/// Returns the keys of a range that differ between revision a and revision b (0 or negative: the
/// current one), in key order.
///
/// Owner: *out is owned by the caller, to free before or after the database; range is not kept.
/// Threads: any.
/// Errors: KV_INVALID_ARGUMENT, KV_COMPACTED, KV_FUTURE_REVISION, KV_CLOSED, KV_FORKED, KV_CORRUPT,
/// KV_IO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_diff_open(
    db: *const KvDb,
    a: i64,
    b: i64,
    range: KvKeyRange,
    out: *mut *mut KvDiff,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        require_output(out, "out")?;
        let scan = c.arg(db)?.0.diff(a, b, c.range(range)?)?;
        c.give::<KvDiff>(out, DiffSteps { scan, last: None });
        Ok(())
    })
}

/// Returns the next difference; *out is NULL at the end.
///
/// Owner: diff; what *out points to is valid until the next step or until diff is freed.
/// Threads: one at a time.
/// Errors: those of kv_diff_open. After an error it has ended.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_diff_next(
    diff: *mut KvDiff,
    out: *mut *const KvDifference,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        require_output(out, "out")?;
        let steps = c.arg_mut(diff)?;
        steps.last = steps.scan.next().transpose()?.map(change_view);
        c.put(
            out,
            steps
                .last
                .as_ref()
                .map_or(std::ptr::null(), |last| std::ptr::from_ref(&last.view)),
        );
        Ok(())
    })
}

fn change_view(change: Difference) -> Box<DifferenceViews> {
    let (before, after) = (
        change.before.as_ref().map(view),
        change.after.as_ref().map(view),
    );
    let none = KvDifference {
        key: bytes_out(&[]),
        before: std::ptr::null(),
        after: std::ptr::null(),
    };
    let mut last = Box::new(DifferenceViews {
        change,
        before,
        after,
        view: none,
    });
    last.view = KvDifference {
        key: bytes_out(&last.change.key),
        before: last
            .before
            .as_ref()
            .map_or(std::ptr::null(), std::ptr::from_ref),
        after: last
            .after
            .as_ref()
            .map_or(std::ptr::null(), std::ptr::from_ref),
    };
    last
}

/// Frees a diff.
///
/// Owner: frees it; NULL is allowed.
/// Threads: the last use of it.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_diff_free(diff: *mut KvDiff) {
    free!(diff)
}

/// Returns the last revision that was written by the end of the minute of a time in milliseconds
/// since 1970. kv_get at *revision shows what a key held then. It costs one lookup in an index of
/// minutes.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: KV_COMPACTED (that revision is compacted), KV_CLOSED, KV_FORKED, KV_CORRUPT, KV_IO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_revision_at(
    db: *const KvDb,
    unix_ms: i64,
    revision: *mut i64,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        require_output(revision, "revision")?;
        let time = UNIX_EPOCH + Duration::from_millis(u64::try_from(unix_ms).unwrap_or(0));
        c.put(revision, c.arg(db)?.0.revision_at(time)?);
        Ok(())
    })
}
