//! Following a range: watchers, and the batches that they deliver.
#![allow(unsafe_code)]

use libkv::{Event, WatchBatch, Watcher};

use crate::db::KvDb;
use crate::error::KvError;
use crate::guard::{free, guard, guard_value};
use crate::handle::kinds;
use crate::options::KvWatchOptions;
use crate::pointers::require_output;
use crate::requests::watch_request;
use crate::types::*;

/// Follows the events of a range, whichever process writes them.
pub struct KvWatcher;

/// All matching events of one revision.
pub struct KvWatchBatch;

/// What a `kv_watch_batch` holds: the events, and the views of them and of their prev_kvs.
pub(crate) struct BatchContents {
    revision: i64,
    views: Vec<KvEvent>,
    _prev_kvs: Vec<Option<KvKeyValue>>,
    _events: Vec<Event>,
}

impl BatchContents {
    fn new(batch: WatchBatch) -> BatchContents {
        let prev_kvs: Vec<Option<KvKeyValue>> = batch
            .events
            .iter()
            .map(|event| event.prev_kv.as_ref().map(view))
            .collect();
        let pointers = prev_kvs
            .iter()
            .map(|kv| kv.as_ref().map_or(std::ptr::null(), std::ptr::from_ref));
        let with_prev_kv = |(event, prev_kv)| KvEvent {
            prev_kv,
            ..event_view(event)
        };
        let views = batch
            .events
            .iter()
            .zip(pointers)
            .map(with_prev_kv)
            .collect();
        BatchContents {
            revision: batch.revision,
            views,
            _prev_kvs: prev_kvs,
            _events: batch.events,
        }
    }
}

kinds! {
    KvWatcher = Watcher, b"kv_watch", "kv_watcher";
    KvWatchBatch = BatchContents, b"kv_batch", "kv_watch_batch";
}

/// Creates a watcher: follows the events of a range. A watcher stores a filter and a position. An
/// unread watcher delays nothing, costs writers nothing, and continues from its position.
///
/// Owner: *out is owned by the caller, to free before or after the database; range and options are
/// not kept.
/// Threads: any.
/// Errors: KV_INVALID_ARGUMENT (the range is empty, invalid options), KV_COMPACTED (start_revision
/// is negative or below the compacted revision, which the error contains), KV_CLOSED, KV_FORKED,
/// KV_IO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_watch(
    db: *const KvDb,
    range: KvKeyRange,
    options: *const KvWatchOptions,
    out: *mut *mut KvWatcher,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        require_output(out, "out")?;
        let watcher = c.arg(db)?.0.watch(watch_request(c, range, options)?)?;
        c.give::<KvWatcher>(out, watcher);
        Ok(())
    })
}

/// Returns the next batch: one complete revision, without gaps or repetitions. It waits up to
/// timeout_ms milliseconds, KV_NO_WAIT or KV_FOREVER (the default, 0); *out is NULL if the time
/// passed.
///
/// Owner: *out is owned by the caller, to free with kv_watch_batch_free, before or after the
/// watcher.
/// Threads: one at a time; a second concurrent call returns KV_INVALID_ARGUMENT. kv_watcher_cancel
/// and kv_close of the database end the wait at once, from any thread.
/// Errors: KV_COMPACTED (a compaction passed unread events; the error's revision is the first that
/// a new watcher can start from), KV_CANCELLED, KV_CLOSED: the watcher has ended and returns the
/// same error again. KV_INVALID_ARGUMENT (another thread reads, invalid timeout_ms), KV_FORKED,
/// KV_BUSY, KV_CORRUPT, KV_IO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_watcher_next(
    watcher: *mut KvWatcher,
    timeout_ms: i64,
    out: *mut *mut KvWatchBatch,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        require_output(out, "out")?;
        match c.arg(watcher)?.next(timeout_in(timeout_ms)?)? {
            Some(batch) => c.give::<KvWatchBatch>(out, BatchContents::new(batch)),
            None => c.put(out, std::ptr::null_mut()),
        }
        Ok(())
    })
}

/// A descriptor for poll, select and epoll. It is readable (POLLIN) while kv_watcher_next with
/// KV_NO_WAIT may have a batch, or an error that ends the watcher. Then call kv_watcher_next until
/// it returns NULL.
///
/// Owner: the watcher; do not read or close it. It is closed when the watcher is freed.
/// Threads: any.
/// Errors: KV_INVALID_ARGUMENT, KV_CLOSED, KV_FORKED, KV_IO (no descriptor is available).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_watcher_fd(
    watcher: *const KvWatcher,
    fd: *mut i32,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        require_output(fd, "fd")?;
        c.put(fd, c.arg(watcher)?.fd()?);
        Ok(())
    })
}

/// Ends a watcher: a thread that waits in it gets KV_CANCELLED, as does every later call. It must
/// still be freed.
///
/// Owner: no ownership changes; NULL is allowed.
/// Threads: any, also while another thread waits in it.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_watcher_cancel(watcher: *const KvWatcher) {
    guard_value!((), |c| {
        c.arg(watcher).ok()?.cancel();
        Some(())
    });
}

/// The start_revision of a new watcher that continues without a gap or a repetition: after the last
/// returned batch, or later if nothing has matched since. 0 for NULL.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_watcher_resume_revision(watcher: *const KvWatcher) -> i64 {
    guard_value!(0, |c| Some(c.arg(watcher).ok()?.resume_revision()))
}

/// Ends and frees a watcher.
///
/// Owner: frees it; NULL is allowed.
/// Threads: the last use of it; no thread may wait in it.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_watcher_free(watcher: *mut KvWatcher) {
    free!(watcher)
}

/// The revision of a batch's events; for a batch without events, the last revision that was
/// examined. 0 for NULL.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_watch_batch_revision(batch: *const KvWatchBatch) -> i64 {
    guard_value!(0, |c| Some(c.arg(batch).ok()?.revision))
}

/// The number of events in a batch; 0 for a progress notification, and for NULL.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_watch_batch_len(batch: *const KvWatchBatch) -> usize {
    guard_value!(0, |c| Some(c.arg(batch).ok()?.views.len()))
}

/// The event at index, in order; NULL beyond the last.
///
/// Owner: the batch; the event is valid until it is freed.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_watch_batch_at(
    batch: *const KvWatchBatch,
    index: usize,
) -> *const KvEvent {
    guard_value!(std::ptr::null(), |c| c
        .arg(batch)
        .ok()?
        .views
        .get(index)
        .map(std::ptr::from_ref))
}

/// Frees a batch with its events.
///
/// Owner: frees it; NULL is allowed.
/// Threads: the last use of it.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_watch_batch_free(batch: *mut KvWatchBatch) {
    free!(batch)
}
