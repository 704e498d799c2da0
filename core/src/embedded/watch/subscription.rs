//! The filter and the position of one watcher.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

use crate::embedded::lmdb::Env;
use crate::embedded::mvcc::history;
use crate::embedded::os::EventFd;
use crate::error::{Code, Error, Result};
use crate::model::{Event, Revision};
use crate::mutex::lock;
use crate::request::Watch;

/// Revisions noted with a watcher. Beyond them it must scan the log.
pub(super) const HITS_MAX: usize = 16;
/// A watcher with `progress` reports it after this time without an event, unless it has its own.
const PROGRESS_MS: u64 = 600 * 1_000;

/// The time without an event after which a watcher reports progress.
pub(super) fn progress_ms(watch: &Watch) -> u64 {
    if watch.progress_interval_ms == 0 {
        PROGRESS_MS
    } else {
        watch.progress_interval_ms
    }
}

/// One watcher of a hub.
pub(crate) struct Subscription {
    pub(super) id: u64,
    /// The handle that it was made from.
    pub(super) handle: u64,
    pub(super) watch: Watch,
    pub(super) position: Mutex<Position>,
    ended: AtomicBool,
}

#[derive(Default)]
pub(super) struct Position {
    pub next: Revision,
    pub scan_upto: Revision,
    pub hits: VecDeque<Revision>,
    /// There was no room for a hit: matches after the last hit are not known.
    pub more: bool,
    pub end: Option<Error>,
    pub waker: Option<Waker>,
    pub fd: Option<EventFd>,
    /// When it last delivered something, or was made.
    pub delivered_ns: u64,
    pub progress_due: bool,
    /// The last page had more than one event: some may not have been taken.
    pub has_page: bool,
}

/// What a watcher must do next.
pub(super) enum Task {
    Scan(Revision, Revision),
    Hit(Revision),
    /// The caller must get the hub's position.
    CatchUp,
    Progress,
    Nothing,
}

impl Position {
    pub fn task(&self) -> Task {
        match self.hits.front() {
            _ if self.next <= self.scan_upto => Task::Scan(self.next, self.scan_upto),
            Some(&hit) => Task::Hit(hit),
            None if self.more => Task::CatchUp,
            None if self.progress_due => Task::Progress,
            None => Task::Nothing,
        }
    }

    pub fn is_pending(&self) -> bool {
        self.end.is_some() || self.has_page || !matches!(self.task(), Task::Nothing)
    }

    /// Signals that there is something to read. Returns the waker to call once no lock is held.
    pub fn announce(&self) -> Option<Waker> {
        if let Some(fd) = &self.fd {
            fd.signal();
        }
        self.waker.clone()
    }

    /// Makes the descriptor unreadable if there is nothing to read.
    pub fn settle(&self) {
        if let Some(fd) = self.fd.as_ref().filter(|_| !self.is_pending()) {
            fd.clear();
        }
    }
}

impl Subscription {
    pub(super) fn new(id: u64, handle: u64, watch: Watch, position: Position) -> Subscription {
        Subscription {
            id,
            handle,
            watch,
            position: Mutex::new(position),
            ended: AtomicBool::new(false),
        }
    }

    /// Notes that this revision matches. Returns the waker to call.
    pub fn hit(&self, revision: Revision, deleted: bool) -> Option<Waker> {
        let unwanted = if deleted {
            self.watch.no_delete
        } else {
            self.watch.no_put
        };
        if unwanted {
            return None;
        }
        let mut position = lock(&self.position);
        if revision < position.next || position.more || position.hits.back() == Some(&revision) {
            return None;
        }
        match position.hits.len() < HITS_MAX {
            true => position.hits.push_back(revision),
            false => position.more = true,
        }
        position.announce()
    }

    /// All that it has not read must be scanned. Up to `matched` every match was noted. Returns the
    /// waker to call.
    pub fn require_scan(&self, matched: Revision, upto: Revision) -> Option<Waker> {
        let mut position = lock(&self.position);
        let no_hits = position
            .hits
            .front()
            .map_or(!position.more, |hit| *hit > matched);
        if no_hits && position.next > position.scan_upto {
            position.next = position.next.max(matched + 1);
        }
        position.hits.clear();
        (position.more, position.scan_upto) = (false, upto);
        position.announce()
    }

    /// Notes that a progress report is due, if it is. Returns the waker to call.
    pub fn note_progress(&self, now_ns: u64) -> Option<Waker> {
        let mut position = lock(&self.position);
        let interval_ns = progress_ms(&self.watch).saturating_mul(1_000_000);
        if position.progress_due || now_ns.saturating_sub(position.delivered_ns) < interval_ns {
            return None;
        }
        position.progress_due = true;
        position.announce()
    }

    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    pub fn end(&self, error: Error) {
        let waker = {
            let mut position = lock(&self.position);
            if position.end.is_some() {
                return;
            }
            position.end = Some(error);
            self.ended.store(true, Ordering::Release);
            position.announce()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Calls the waker if there is something to read.
    pub fn notify_pending(&self) {
        let waker = {
            let position = lock(&self.position);
            position.is_pending().then(|| position.announce()).flatten()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Reads a part of a stretch of the log, and moves the position.
    pub fn read(
        &self,
        env: &Env,
        from: Revision,
        upto: Revision,
        now_ns: u64,
    ) -> Result<Vec<Event>> {
        let read = env
            .read()
            .and_then(|txn| history::watched(&txn, &self.watch, from, upto));
        let mut position = lock(&self.position);
        match read {
            Ok((events, seen_upto)) => {
                position.next = position.next.max(seen_upto + 1);
                if position.hits.front().is_some_and(|hit| *hit <= seen_upto) {
                    position.hits.pop_front();
                }
                position.has_page = events.len() > 1;
                if !events.is_empty() {
                    (position.delivered_ns, position.progress_due) = (now_ns, false);
                }
                position.settle();
                Ok(events)
            }
            // `busy` passes: no reader slot was free; every other error is final
            Err(error) => {
                if error.code() != Code::Busy {
                    position.end = Some(error.clone());
                    self.ended.store(true, Ordering::Release);
                }
                Err(error)
            }
        }
    }
}
