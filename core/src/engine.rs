//! The interface between [`Db`](crate::Db) and a store. Only an implementation of a store needs it.
//!
//! A [`Db`](crate::Db) is a handle on an [`Engine`]: the store in this process, or a cluster. See
//! [`Db::from_engine`](crate::Db::from_engine).

use std::os::fd::RawFd;
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;
use std::vec;

use crate::auth::{AuthData, AuthStamp};
pub use crate::completion::{Completion, Submission};
use crate::error::{Code, Error, Result};
use crate::model::{Difference, Event, KeyRange, KeyValue, LeaseId, PairRef, Revision};
use crate::request::{
    CheckReport, CommitTimes, Events, LeaseKeepAliveResponse, LeaseTimeToLive,
    LeaseTimeToLiveResponse, Range, RangeResponse, Request, Response, Status, Watch,
};
pub use crate::validate::Limits;

/// Called ten times a second while a request waits for its turn; true withdraws the request.
pub type Interrupt<'a> = &'a dyn Fn() -> bool;

/// Called once with the stream of [`Engine::submit_watch`]. It must not block; it may call libkv.
pub type WatchCompletion = Box<dyn FnOnce(Result<Arc<dyn WatchStream>>) + Send>;

/// A part of a range, read without counting; see [`Engine::page`].
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Page {
    /// The pairs, by key.
    pub kvs: Vec<KeyValue>,
    /// The store's revision at the read.
    pub revision: Revision,
    /// The key to continue from; `None` at the end of the range.
    pub next: Option<Vec<u8>>,
}

/// A part of the log; see [`Engine::events`].
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct EventsPage {
    /// The events, in order, whole revisions.
    pub events: Vec<Event>,
    /// The last revision that was examined. Continue after it until it is the requested `upto`.
    pub upto: Revision,
}

/// A part of a comparison; see [`Engine::diff`].
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct DiffPage {
    /// The differences, in key order.
    pub differences: Vec<Difference>,
    /// The key to continue from; `None` at the end of the range.
    pub next: Option<Vec<u8>>,
}

/// An event of the log with its place in the history; see [`HistoryPart`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    /// The revision of the event.
    pub revision: Revision,
    /// The number of the event in its revision, from 0.
    pub sub: u32,
    /// The event, without `prev_kv`.
    pub event: Event,
}

/// A part of a store's history; see [`Engine::dump`] and [`Engine::load`].
#[derive(Clone, Debug)]
pub enum HistoryPart {
    /// The compacted revision; -1 if the store was never compacted. The first part.
    Compacted(Revision),
    /// A lease, before the first event that names it.
    Lease {
        /// Its id.
        id: LeaseId,
        /// The granted TTL.
        ttl_seconds: i64,
        /// The time that it has left.
        remaining_seconds: i64,
    },
    /// The users and roles, before the first event.
    Auth(AuthData),
    /// The next events. They are loaded in one commit.
    Records(Vec<LogRecord>),
    /// The current revision, which can be above that of the last event. The last part.
    Revision(Revision),
}

/// The interface of a store: the engine in this process, or a cluster.
///
/// The engine validates requests before it reads or writes anything. All methods may be called from
/// any thread.
pub trait Engine: Send + Sync {
    /// Runs a request and waits for its response, which is of the same kind.
    ///
    /// While the request waits for its turn `interrupt` is called; once it returns true the request
    /// is withdrawn with `cancelled`. In this process, a write that has begun is finished. Over a
    /// network the wait ends with `unknown_outcome`.
    ///
    /// # Errors
    ///
    /// Those of the request; `cancelled` or `unknown_outcome` if it was interrupted.
    fn call(&self, request: Request, interrupt: Option<Interrupt>) -> Result<Response>;

    /// The same store, for calls that must end by `deadline`: a call without a response by then
    /// returns `timeout`, or `unknown_outcome` if it is a write that was sent. `None`: only calls
    /// over a network can be limited.
    fn until(self: Arc<Self>, deadline: Instant) -> Option<Arc<dyn Engine>> {
        let _ = deadline;
        None
    }

    /// Submits a request; `completion` gets the result, including a refusal.
    fn submit(&self, request: Request, completion: Completion) -> Submission;

    /// Same as [`Engine::submit`], but a write is refused with `failed_precondition` if users, roles
    /// or permissions were changed since `auth`; see [`Engine::auth_stamp`]. For servers, which
    /// check the rights of a caller before that.
    fn submit_if(&self, auth: AuthStamp, request: Request, completion: Completion) -> Submission {
        let _ = auth;
        self.submit(request, completion)
    }

    /// Returns whether authentication is on, and the revision of users and roles. Cheap: one record
    /// is read.
    ///
    /// # Errors
    ///
    /// `closed`, `corrupt`; `unsupported` for a cluster.
    fn auth_stamp(&self) -> Result<AuthStamp> {
        Err(unsupported("auth_stamp"))
    }

    /// Returns all users and roles, with the hashes of passwords.
    ///
    /// # Errors
    ///
    /// `closed`, `corrupt`; `unsupported` for a cluster.
    fn auth_data(&self) -> Result<AuthData> {
        Err(unsupported("auth_data"))
    }

    /// Submits several requests, as [`Engine::submit`] does for each. They are queued together, so
    /// that one group can contain them all.
    fn submit_all(&self, requests: Vec<(Request, Completion)>) -> Vec<Submission> {
        requests
            .into_iter()
            .map(|(request, completion)| self.submit(request, completion))
            .collect()
    }

    /// Reads one key at a revision; 0 is the current one.
    ///
    /// # Errors
    ///
    /// Same as [`Db::get_at`](crate::Db::get_at).
    fn get(&self, key: &[u8], revision: Revision) -> Result<Option<KeyValue>> {
        let response = range(self, Range::new(key).revision(revision))?;
        Ok(response.kvs.into_iter().next())
    }

    /// Reads a range and passes each pair to `each`; the result contains no pairs. `each` must not
    /// call the engine.
    ///
    /// # Errors
    ///
    /// Same as [`Db::range`](crate::Db::range).
    fn range_each(&self, request: &Range, each: &mut dyn FnMut(PairRef)) -> Result<RangeResponse> {
        let mut response = range(self, request.clone())?;
        std::mem::take(&mut response.kvs)
            .iter()
            .for_each(|kv| each(kv.into()));
        Ok(response)
    }

    /// Copies the current value of one key into `buffer` and returns its length. If the buffer is
    /// too small nothing is copied.
    ///
    /// # Errors
    ///
    /// Same as [`Db::get_into`](crate::Db::get_into).
    fn get_into(&self, key: &[u8], buffer: &mut [u8]) -> Result<Option<usize>> {
        Ok(self.get(key, 0)?.map(|kv| {
            if let Some(place) = buffer.get_mut(..kv.value.len()) {
                place.copy_from_slice(&kv.value);
            }
            kv.value.len()
        }))
    }

    /// Returns the current revision.
    ///
    /// # Errors
    ///
    /// Same as [`Db::snapshot`](crate::Db::snapshot).
    fn revision(&self) -> Result<Revision> {
        Ok(range(self, Range::new([0].as_slice()).count_only(true))?.revision)
    }

    /// Reads up to `request.limit` pairs of a range in key order, without counting, and the key to
    /// continue from.
    ///
    /// # Errors
    ///
    /// Same as [`Db::scan`](crate::Db::scan).
    fn page(&self, request: &Range) -> Result<Page> {
        let response = range(self, request.clone())?;
        let next = response
            .kvs
            .last()
            .filter(|_| response.more)
            .map(|kv| [&kv.key[..], &[0]].concat());
        Ok(Page {
            kvs: response.kvs,
            revision: response.revision,
            next,
        })
    }

    /// Returns the events of one key, newest first, at most `limit` (0 or negative: all that are
    /// kept).
    ///
    /// # Errors
    ///
    /// Same as [`Db::history`](crate::Db::history).
    fn history(&self, _key: &[u8], _limit: i64) -> Result<Vec<Event>> {
        Err(unsupported("history"))
    }

    /// Returns the first events of `request`, complete revisions. The caller continues after
    /// [`EventsPage::upto`].
    ///
    /// # Errors
    ///
    /// `compacted`, `future_revision`, `invalid_argument` (empty key).
    fn events(&self, _request: &Events) -> Result<EventsPage> {
        Err(unsupported("events"))
    }

    /// Passes the complete history of the store to `each`, part by part, as of one moment: the
    /// compacted revision, the leases, the events in order, the current revision. Of the events at
    /// and below the compacted revision it passes those that a read or a watch can still return.
    /// It holds a read transaction meanwhile, so the file can grow if others write.
    ///
    /// # Errors
    ///
    /// That of `each`, which ends it; `corrupt`, `closed`.
    fn dump(&self, _each: &mut dyn FnMut(HistoryPart) -> Result<()>) -> Result<()> {
        Err(unsupported("dump"))
    }

    /// Writes a part of the history of another store into this one, which must be empty at first.
    ///
    /// # Errors
    ///
    /// `corrupt` if the history contradicts itself: nothing of this part is written. `exists` if
    /// this store has a history of its own.
    fn load(&self, _load: HistoryPart) -> Result<()> {
        Err(unsupported("load"))
    }

    /// Returns the first keys of `range` that differ between the revisions `before` and `after`.
    ///
    /// # Errors
    ///
    /// Same as [`Db::diff`](crate::Db::diff).
    fn diff(&self, _before: Revision, _after: Revision, _range: &KeyRange) -> Result<DiffPage> {
        Err(unsupported("diff"))
    }

    /// Returns the last revision that was written by the end of the minute of this time
    /// (milliseconds since 1970).
    ///
    /// # Errors
    ///
    /// Same as [`Db::revision_at`](crate::Db::revision_at).
    fn revision_at(&self, _unix_ms: i64) -> Result<Revision> {
        Err(unsupported("revision_at"))
    }

    /// Creates a watcher's stream.
    ///
    /// # Errors
    ///
    /// Same as [`Db::watch`](crate::Db::watch).
    fn watch(&self, _request: Watch) -> Result<Arc<dyn WatchStream>> {
        Err(unsupported("watch"))
    }

    /// Same as [`Engine::watch`], for callers that must not block: `created` gets the result.
    fn submit_watch(&self, request: Watch, created: WatchCompletion) {
        created(self.watch(request));
    }

    /// Renews a lease once, to its full TTL.
    ///
    /// # Errors
    ///
    /// Same as [`Db::lease_keep_alive`](crate::Db::lease_keep_alive).
    fn lease_keep_alive(&self, _id: LeaseId) -> Result<LeaseKeepAliveResponse> {
        Err(unsupported("lease_keep_alive"))
    }

    /// Returns the remaining time of a lease, and its keys if they are requested.
    ///
    /// # Errors
    ///
    /// Same as [`Db::lease_time_to_live`](crate::Db::lease_time_to_live).
    fn lease_time_to_live(&self, _lease: LeaseTimeToLive) -> Result<LeaseTimeToLiveResponse> {
        Err(unsupported("lease_time_to_live"))
    }

    /// Returns the ids of all leases, sorted by expiry time.
    ///
    /// # Errors
    ///
    /// Same as [`Db::lease_list`](crate::Db::lease_list).
    fn lease_list(&self) -> Result<Vec<LeaseId>> {
        Err(unsupported("lease_list"))
    }

    /// Renews a lease until the returned value is dropped or the handle is closed. `lost` runs
    /// once, on a thread of the engine, if the lease ends before that.
    ///
    /// # Errors
    ///
    /// `lease_not_found`, `read_only`, `unsupported`.
    fn lease_keep(
        &self,
        _id: LeaseId,
        _lost: Box<dyn FnOnce() + Send>,
    ) -> Result<Box<dyn KeepAlive>> {
        Err(unsupported("lease"))
    }

    /// Returns the status of the store.
    ///
    /// # Errors
    ///
    /// Same as [`Db::status`](crate::Db::status).
    fn status(&self) -> Result<Status> {
        Err(unsupported("status"))
    }

    /// Returns how long commits took; see [`crate::Db::commit_times`].
    ///
    /// # Errors
    ///
    /// Same as [`Db::commit_times`](crate::Db::commit_times).
    fn commit_times(&self) -> Result<CommitTimes> {
        Err(unsupported("commit_times"))
    }

    /// Verifies every invariant.
    ///
    /// # Errors
    ///
    /// Same as [`Db::check`](crate::Db::check).
    fn check(&self) -> Result<CheckReport> {
        Err(unsupported("check"))
    }

    /// Whether calls use a network, including reads: then a caller that must not block submits
    /// reads as well.
    fn is_remote(&self) -> bool {
        false
    }

    /// The limits of this handle's requests. `None` for a cluster, whose members check them.
    fn limits(&self) -> Option<Limits> {
        None
    }

    /// Fails if this handle is closed or was opened before a fork.
    ///
    /// # Errors
    ///
    /// `closed`, `forked`.
    fn ensure_open(&self) -> Result<()>;

    /// Closes this handle. Later calls on it, and on objects made from it, return `closed`. A
    /// second call has no effect.
    fn close(&self);
}

/// Renews a lease until it is dropped; see [`Engine::lease_keep`].
pub trait KeepAlive: Send + Sync {}

/// A part of a watcher's events; see [`WatchStream::next_page`].
#[derive(Clone, Debug, Default)]
pub struct WatchPage {
    /// The events of complete revisions, in order.
    pub events: vec::IntoIter<Event>,
    /// Without events: a progress notification up to this revision, or 0 for none.
    pub progress: Revision,
}

/// The source of a [`Watcher`](crate::Watcher). All methods may be called from any thread.
pub trait WatchStream: Send + Sync {
    /// Returns the next events, some complete revisions; empty if there are none at present. Never
    /// waits.
    ///
    /// # Errors
    ///
    /// `compacted`, `cancelled` and `closed` end the stream.
    fn next_page(&self) -> Result<WatchPage>;

    /// Same as [`next_page`](WatchStream::next_page), for tasks that share a thread: it scans at
    /// most a part of the log. An empty page may not be the end: call
    /// [`remind`](WatchStream::remind) then.
    ///
    /// # Errors
    ///
    /// Same as [`next_page`](WatchStream::next_page).
    fn next_page_briefly(&self) -> Result<WatchPage> {
        self.next_page()
    }

    /// Calls the waker if there is more to read now. The caller holds no lock.
    fn remind(&self) {}

    /// The current revision of the store, if all matching events up to it were delivered. `None` if
    /// not, if the stream starts in the future, or if this cannot be known. Never waits.
    fn caught_up(&self) -> Option<Revision> {
        None
    }

    /// Whether the stream has ended: then [`next_page`](WatchStream::next_page) returns the reason,
    /// and pages that were taken before are no longer valid.
    fn is_over(&self) -> bool;

    /// Sets the waker that is called when [`next_page`](WatchStream::next_page) may have something,
    /// now or later.
    fn set_waker(&self, waker: Option<Waker>);

    /// A descriptor that is readable while `next_page` may have something, or while the last page
    /// may not have been taken completely. It belongs to the stream: do not read or close it.
    ///
    /// # Errors
    ///
    /// `io` if no descriptor can be created, `closed`.
    fn fd(&self) -> Result<RawFd>;

    /// Ends the stream with this error, unless it has ended, and wakes a waiting thread.
    fn end(&self, error: Error);

    /// The start revision of a new stream that continues after everything that was delivered.
    fn resume_revision(&self) -> Revision;
}

fn unsupported(what: &str) -> Error {
    Error::new(Code::Unsupported, format!("this engine has no {what}"))
}

fn range<E: Engine + ?Sized>(engine: &E, request: Range) -> Result<RangeResponse> {
    match engine.call(request.into(), None)? {
        Response::Range(response) => Ok(response),
        other => Err(wrong_response(&other)),
    }
}

pub(crate) fn wrong_response(response: &Response) -> Error {
    Error::new(
        Code::Internal,
        format!("the engine returned the response of another kind of request: {response:?}"),
    )
}
