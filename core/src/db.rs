//! [`Db`]: one method for each request, for any [`Engine`].
//!
//! Handles and loops on top of the requests (`watch`, `scan`, `lock`, `transact`, …) are in
//! `recipe`: each file there adds its own methods to `Db`.
//! `Db::open` is in `embedded`.

use std::fmt;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::completion::{Completion, Submission};
use crate::engine::{Engine, Interrupt, wrong_response};
use crate::error::Result;
use crate::model::{Event, KeyValue, LeaseId, PairRef, Revision};
use crate::request::*;
use crate::validate::check_key;

/// An open store or cluster. It is a cheap clone of a shared handle, usable from any thread.
///
/// The store closes with its last clone, or with [`Db::close`] for all clones at once. Objects that
/// were made from it then return `closed`.
///
/// Every call may also return `closed`, `forked` (the handle was opened before a fork), `io` and
/// `corrupt`. On a cluster it may also return `unavailable`, `timeout`, `unauthenticated` and
/// `permission_denied`. The sections "Errors" below list the other codes.
#[derive(Clone)]
pub struct Db {
    engine: Arc<dyn Engine>,
}

impl fmt::Debug for Db {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Db")
    }
}

macro_rules! call {
    ($self:ident, $kind:ident, $request:expr) => {
        match $self.engine.call(Request::$kind($request), None)? {
            Response::$kind(response) => Ok(response),
            other => Err(wrong_response(&other)),
        }
    };
}

impl Db {
    /// A handle over an engine of any kind.
    pub fn from_engine(engine: Arc<dyn Engine>) -> Db {
        Db { engine }
    }

    /// The engine below this handle, for code that adds to the methods of `Db`.
    #[doc(hidden)]
    pub fn engine(&self) -> &dyn Engine {
        &*self.engine
    }

    /// The same store, for calls that must end by `deadline` (`None`: no limit), in addition to the
    /// timeouts of the options. It is for short use: calls after `deadline` fail.
    ///
    /// On a cluster, a call without a response by then returns `timeout`, or `unknown_outcome` if
    /// it is a write that was sent. A store in this process has no such limit: its writes have
    /// `busy_timeout_ms`.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use libkv::{Db, Options, Put};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// db.until(Instant::now() + Duration::from_millis(300)).put(Put::new("a", "1"))?;
    /// # Ok::<(), libkv::Error>(())
    /// ```
    #[must_use = "the deadline applies to the returned handle only"]
    pub fn until(&self, deadline: impl Into<Option<Instant>>) -> Db {
        let limited = deadline
            .into()
            .and_then(|deadline| self.engine.clone().until(deadline));
        limited.map_or_else(|| self.clone(), Db::from_engine)
    }

    /// Writes one key. The store's revision increases by 1.
    ///
    /// The cost is one commit, shared with all writers that wait at the same time.
    ///
    /// ```
    /// use libkv::{Db, Options, Put};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// let first = db.put(Put::new("config/colour", "green"))?;
    /// let second = db.put(Put::new("config/colour", "blue").prev_kv(true))?;
    /// assert_eq!(second.revision, first.revision + 1);
    /// assert_eq!(second.prev_kv.unwrap().value, "green");
    /// # Ok::<(), libkv::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `invalid_argument` (empty key, a value with `ignore_value`, a lease with `ignore_lease`),
    /// `too_large`, `key_not_found` (`ignore_…` on a missing key), `lease_not_found`, `read_only`,
    /// `busy`, `full`, `io`: nothing was written. `unknown_outcome`: the write may or may not have
    /// happened.
    pub fn put(&self, put: Put) -> Result<PutResponse> {
        call!(self, Put, put)
    }

    /// Reads the current pair of one key; `None` if the key does not exist.
    ///
    /// The cost is one descent of one tree, independent of the history.
    ///
    /// ```
    /// use libkv::{Db, Options, Put};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// db.put(Put::new("a", "1"))?;
    /// let kv = db.get("a")?.unwrap();
    /// assert_eq!((&kv.value[..], kv.mod_revision, kv.version), (&b"1"[..], 2, 1));
    /// assert!(db.get("b")?.is_none());
    /// # Ok::<(), libkv::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `invalid_argument` (empty key).
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<KeyValue>> {
        self.engine.get(nonempty(key.as_ref())?, 0)
    }

    /// Reads the pair of one key as it was at `revision` (0 or negative: now); `None` if the key
    /// did not exist then.
    ///
    /// The cost is at most 2·⌈log2 n⌉ + 2 reads for a key with n versions.
    ///
    /// ```
    /// use libkv::{Db, Options, Put};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// let first = db.put(Put::new("a", "1"))?.revision;
    /// db.put(Put::new("a", "2"))?;
    /// assert_eq!(db.get_at("a", first)?.unwrap().value, "1");
    /// # Ok::<(), libkv::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `invalid_argument` (empty key), `compacted`, `future_revision`. The error has the compacted
    /// or the current revision ([`Error::revision`](crate::Error::revision)).
    pub fn get_at(&self, key: impl AsRef<[u8]>, revision: Revision) -> Result<Option<KeyValue>> {
        self.engine.get(nonempty(key.as_ref())?, revision.max(0))
    }

    /// Copies the current value of one key into `buffer` without allocating memory. Returns the
    /// length of the value, or `None` if the key does not exist. If the buffer is too small nothing
    /// is copied; the returned length is the required size.
    ///
    /// ```
    /// use libkv::{Db, Options, Put};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// db.put(Put::new("a", "hello"))?;
    /// let mut buffer = [0; 16];
    /// let length = db.get_into("a", &mut buffer)?.unwrap();
    /// assert_eq!(&buffer[..length], b"hello");
    /// # Ok::<(), libkv::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `invalid_argument` (empty key).
    pub fn get_into(&self, key: impl AsRef<[u8]>, buffer: &mut [u8]) -> Result<Option<usize>> {
        self.engine.get_into(nonempty(key.as_ref())?, buffer)
    }

    /// Reads the pairs of a range at one revision, in one response.
    ///
    /// ```
    /// use libkv::{Db, KeyRange, Options, Put, Range};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// for key in ["user/1", "user/2", "zone/1"] {
    ///     db.put(Put::new(key, "x"))?;
    /// }
    /// let users = db.range(Range::new(KeyRange::prefix("user/")).limit(1))?;
    /// assert_eq!((users.kvs.len(), users.count, users.more), (1, 2, true));
    /// # Ok::<(), libkv::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `invalid_argument` (empty key), `compacted`, `future_revision`.
    pub fn range(&self, range: Range) -> Result<RangeResponse> {
        call!(self, Range, range)
    }

    /// Same as [`Db::range`], but passes each pair to `each` without a copy; `kvs` of the result is
    /// empty. `each` must be quick and must not call libkv, because a read transaction is open. If
    /// this fails, `each` may have received some pairs.
    ///
    /// ```
    /// use libkv::{Db, KeyRange, Options, Put, Range};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// db.put(Put::new("a", "hello"))?;
    /// let mut bytes = 0;
    /// db.range_each(&Range::new(KeyRange::all()), |pair| bytes += pair.value.len())?;
    /// assert_eq!(bytes, 5);
    /// # Ok::<(), libkv::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Same as [`Db::range`].
    pub fn range_each(
        &self,
        range: &Range,
        mut each: impl FnMut(PairRef),
    ) -> Result<RangeResponse> {
        self.engine.range_each(range, &mut each)
    }

    /// Deletes the keys of a range. The store's revision increases by 1 if at least one key
    /// existed.
    ///
    /// ```
    /// use libkv::{Db, Delete, KeyRange, Options, Put};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// db.put(Put::new("user/1", "x"))?;
    /// db.put(Put::new("user/2", "x"))?;
    /// assert_eq!(db.delete(Delete::new("user/1"))?.deleted, 1);
    /// assert_eq!(db.delete(Delete::new(KeyRange::prefix("user/")))?.deleted, 1);
    /// # Ok::<(), libkv::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Same as [`Db::put`].
    pub fn delete(&self, delete: Delete) -> Result<DeleteResponse> {
        call!(self, Delete, delete)
    }

    /// Evaluates compares, then runs one of two lists of operations in one revision, or nothing at
    /// all.
    ///
    /// ```
    /// use libkv::{Compare, CompareResult, Db, Options, Put, Txn};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// let create = Txn::new()
    ///     .when(Compare::version("leader", CompareResult::Equal, 0)) // the key does not exist
    ///     .and_then(Put::new("leader", "me"));
    /// assert!(db.txn(create.clone())?.succeeded);
    /// assert!(!db.txn(create)?.succeeded);
    /// # Ok::<(), libkv::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Same as [`Db::put`], and `duplicate_key`, `too_many_ops`, `compacted`, `future_revision`.
    pub fn txn(&self, txn: Txn) -> Result<TxnResponse> {
        call!(self, Txn, txn)
    }

    /// Removes history below `revision`: reads below it return `compacted` from then on. With
    /// `physical` the call returns after the space is reusable; otherwise the space is reclaimed in
    /// the background.
    ///
    /// ```
    /// use libkv::{Code, Compact, Db, Options, Put};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// let first = db.put(Put::new("a", "1"))?.revision;
    /// let second = db.put(Put::new("a", "2"))?.revision;
    /// db.compact(Compact::new(second).physical(true))?;
    /// assert_eq!(db.get_at("a", first).unwrap_err().code(), Code::Compacted);
    /// # Ok::<(), libkv::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `compacted` (`revision` is not above the compacted one), `future_revision`. With `physical`
    /// also `unknown_outcome`, or `closed` if the store was closed, if waiting for the space
    /// failed: the compaction is then in effect, and the space is freed later.
    pub fn compact(&self, compact: impl Into<Compact>) -> Result<CompactResponse> {
        call!(self, Compact, compact.into())
    }

    /// Runs any request. While the request waits for its turn, `interrupt` is called ten times a
    /// second; once it returns true the request is withdrawn.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicBool, Ordering};
    /// use libkv::{Db, Options, Put};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// let interrupted = AtomicBool::new(false); // for example set by a signal handler
    /// db.call_unless(Put::new("a", "1"), &|| interrupted.load(Ordering::Relaxed))?;
    /// # Ok::<(), libkv::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `cancelled` if it was withdrawn: nothing was written. `unknown_outcome` if it is a write
    /// that was sent to a cluster. Otherwise those of the request.
    pub fn call_unless(
        &self,
        request: impl Into<Request>,
        interrupt: Interrupt,
    ) -> Result<Response> {
        self.engine.call(request.into(), Some(interrupt))
    }

    /// Submits a request without waiting. `completion` runs once with the result, on the thread
    /// that committed its group and after the write lock is released. It must not block; it may
    /// call libkv. A refusal also goes to `completion`, perhaps before this returns.
    /// [`Submission::cancel`] withdraws a request that no writer has begun.
    ///
    /// ```
    /// use std::sync::mpsc;
    /// use libkv::{Db, Options, Put};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// let (sender, receiver) = mpsc::channel();
    /// db.submit(Put::new("a", "1"), move |response| sender.send(response.map(drop)).unwrap());
    /// receiver.recv().unwrap()?;
    /// # Ok::<(), libkv::Error>(())
    /// ```
    pub fn submit(
        &self,
        request: impl Into<Request>,
        completion: impl FnOnce(Result<Response>) + Send + 'static,
    ) -> Submission {
        self.engine.submit(request.into(), Box::new(completion))
    }

    /// Submits several requests without waiting, in their order, as [`Db::submit`] does for each.
    /// They share a commit.
    ///
    /// ```
    /// use std::sync::mpsc;
    /// use libkv::engine::Completion;
    /// use libkv::{Db, Options, Put, Request};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// let (sender, receiver) = mpsc::channel();
    /// let requests = (0..3).map(|n| -> (Request, Completion) {
    ///     let sender = sender.clone();
    ///     let completion = Box::new(move |response: libkv::Result<_>| drop(sender.send(response.is_ok())));
    ///     (Put::new(format!("key/{n}"), "x").into(), completion)
    /// });
    /// db.submit_all(requests.collect());
    /// assert!(receiver.iter().take(3).all(|ok| ok));
    /// # Ok::<(), libkv::Error>(())
    /// ```
    pub fn submit_all(&self, requests: Vec<(Request, Completion)>) -> Vec<Submission> {
        self.engine.submit_all(requests)
    }

    /// Returns the events of one key, newest first, including deletions: at most `limit`, or all
    /// that are kept if `limit` is 0 or negative.
    ///
    /// ```
    /// use libkv::{Db, Delete, EventKind, Options, Put};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// db.put(Put::new("a", "1"))?;
    /// db.delete(Delete::new("a"))?;
    /// let kinds: Vec<EventKind> = db.history("a", 0)?.into_iter().map(|event| event.kind).collect();
    /// assert_eq!(kinds, [EventKind::Delete, EventKind::Put]);
    /// # Ok::<(), libkv::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `invalid_argument` (empty key).
    pub fn history(&self, key: impl AsRef<[u8]>, limit: i64) -> Result<Vec<Event>> {
        self.engine.history(nonempty(key.as_ref())?, limit)
    }

    /// Returns the last revision that was written by the end of the minute of `time`.
    /// [`Db::get_at`] at that revision shows what a key held then. The cost is one lookup in an
    /// index with an entry for each minute in which something was written.
    ///
    /// ```
    /// use std::time::SystemTime;
    /// use libkv::{Db, Options, Put};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// let written = db.put(Put::new("a", "1"))?.revision;
    /// assert_eq!(db.revision_at(SystemTime::now())?, written);
    /// # Ok::<(), libkv::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `compacted` if that revision is compacted.
    pub fn revision_at(&self, time: SystemTime) -> Result<Revision> {
        let unix_ms = match time.duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            Err(_) => 0,
        };
        self.engine.revision_at(unix_ms)
    }

    /// Grants a lease of `ttl_seconds` (raised to the handle's minimum) with this id. With id 0 the
    /// store chooses a positive id. The lease is not renewed automatically; see [`Db::lease`] for
    /// one that is.
    ///
    /// ```
    /// use libkv::{Db, Options, Put};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// let lease = db.lease_grant(30)?;
    /// db.put(Put::new("session/1", "x").lease(lease.id))?;
    /// db.lease_revoke(lease.id)?;
    /// assert!(db.get("session/1")?.is_none());
    /// # Ok::<(), libkv::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `lease_exists`, `invalid_argument` (a TTL over 9,000,000,000 s), and those of [`Db::put`].
    pub fn lease_grant(&self, grant: impl Into<LeaseGrant>) -> Result<LeaseGrantResponse> {
        call!(self, LeaseGrant, grant.into())
    }

    /// Revokes a lease. Its keys are deleted in one revision, in ascending key order.
    ///
    /// ```
    /// use libkv::{Code, Db, Options};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// let lease = db.lease_grant(30)?;
    /// db.lease_revoke(lease.id)?;
    /// assert_eq!(db.lease_revoke(lease.id).unwrap_err().code(), Code::LeaseNotFound);
    /// # Ok::<(), libkv::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `lease_not_found`, and those of [`Db::put`].
    pub fn lease_revoke(&self, id: LeaseId) -> Result<LeaseRevokeResponse> {
        call!(self, LeaseRevoke, LeaseRevoke { id })
    }

    /// Renews a lease once, to its full TTL. It takes no lock and writes nothing to disk. The TTL
    /// of the response is 0 if the lease does not exist or has expired, which is not an error.
    ///
    /// ```
    /// use libkv::{Db, Options};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// let lease = db.lease_grant(30)?;
    /// assert_eq!(db.lease_keep_alive(lease.id)?.ttl_seconds, 30);
    /// assert_eq!(db.lease_keep_alive(lease.id + 1)?.ttl_seconds, 0);
    /// # Ok::<(), libkv::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `read_only`.
    pub fn lease_keep_alive(&self, id: LeaseId) -> Result<LeaseKeepAliveResponse> {
        self.engine.lease_keep_alive(id)
    }

    /// Returns the remaining time of a lease and, with `keys`, its attached keys. The TTL is -1 if
    /// the lease does not exist, which is not an error.
    ///
    /// ```
    /// use libkv::{Db, LeaseTimeToLive, Options, Put};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// let lease = db.lease_grant(30)?;
    /// db.put(Put::new("session/1", "x").lease(lease.id))?;
    /// let left = db.lease_time_to_live(LeaseTimeToLive::new(lease.id).keys(true))?;
    /// assert_eq!((left.granted_ttl_seconds, left.keys), (30, vec![b"session/1".to_vec()]));
    /// # Ok::<(), libkv::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Only those that every call may return.
    pub fn lease_time_to_live(
        &self,
        lease: impl Into<LeaseTimeToLive>,
    ) -> Result<LeaseTimeToLiveResponse> {
        self.engine.lease_time_to_live(lease.into())
    }

    /// Returns the ids of all leases, sorted by expiry time.
    ///
    /// ```
    /// use libkv::{Db, Options};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// let (long, short) = (db.lease_grant(60)?.id, db.lease_grant(30)?.id);
    /// assert_eq!(db.lease_list()?, [short, long]);
    /// # Ok::<(), libkv::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Only those that every call may return.
    pub fn lease_list(&self) -> Result<Vec<LeaseId>> {
        self.engine.lease_list()
    }

    /// Lists, activates or disarms alarms; see [`Alarm`]. In most cases [`Db::alarm_list`] and
    /// [`Db::alarm_disarm`] are enough.
    ///
    /// # Errors
    ///
    /// `read_only`, `busy`, `io`, unless alarms are only listed.
    pub fn alarm(&self, alarm: Alarm) -> Result<AlarmResponse> {
        call!(self, Alarm, alarm)
    }

    /// Returns the active alarms, sorted by kind and member.
    ///
    /// ```
    /// use libkv::{AlarmKind, Db, Options};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// db.alarm_activate(AlarmKind::NoSpace, 0)?;
    /// assert_eq!(db.alarm_list()?[0].kind, AlarmKind::NoSpace);
    /// # Ok::<(), libkv::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Only those that every call may return.
    pub fn alarm_list(&self) -> Result<Vec<AlarmMember>> {
        Ok(self.alarm(Alarm::default())?.alarms)
    }

    /// Disarms the alarms of `member` (0: of every member) and of `kind` (`None`: of every kind).
    /// Returns those that were active. Free space first: otherwise the next put raises NOSPACE
    /// again.
    ///
    /// ```
    /// use libkv::{AlarmKind, Db, Options};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// db.alarm_activate(AlarmKind::NoSpace, 0)?;
    /// assert_eq!(db.alarm_disarm(0, None)?.len(), 1);
    /// assert!(db.alarm_list()?.is_empty());
    /// # Ok::<(), libkv::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Same as [`Db::alarm`].
    pub fn alarm_disarm(&self, member: u64, kind: Option<AlarmKind>) -> Result<Vec<AlarmMember>> {
        let meant = |alarm: &AlarmMember| {
            (member == 0 || alarm.member == member) && kind.is_none_or(|k| k == alarm.kind)
        };
        let mut ended = Vec::new();
        for alarm in self.alarm_list()?.into_iter().filter(meant) {
            let AlarmMember { member, kind } = alarm;
            let response = self.alarm(Alarm {
                action: AlarmAction::Deactivate,
                member,
                kind: Some(kind),
            })?;
            ended.extend(response.alarms);
        }
        Ok(ended)
    }

    /// Activates an alarm. It applies to every process that writes, until it is disarmed. Programs
    /// rarely need it: NOSPACE is raised automatically (option `limits`). Tests can use it.
    ///
    /// ```
    /// use libkv::{AlarmKind, Code, Db, Options, Put};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// db.alarm_activate(AlarmKind::NoSpace, 0)?;
    /// assert_eq!(db.put(Put::new("a", "1")).unwrap_err().code(), Code::Full);
    /// # Ok::<(), libkv::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Same as [`Db::alarm`].
    pub fn alarm_activate(&self, kind: AlarmKind, member: u64) -> Result<Vec<AlarmMember>> {
        Ok(self
            .alarm(Alarm {
                action: AlarmAction::Activate,
                member,
                kind: Some(kind),
            })?
            .alarms)
    }

    /// Reads or writes records beside the keys; see [`Side`].
    ///
    /// ```
    /// use libkv::{Db, Options, Side};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// let name = || b"mirror/position".to_vec();
    /// db.side(Side::Put { unchanged: vec![(name(), None)], records: vec![(name(), Some(b"7".to_vec()))] })?;
    /// let response = db.side(Side::Get { name: name() })?;
    /// assert_eq!(response.records, [(name(), b"7".to_vec())]);
    /// # Ok::<(), libkv::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `invalid_argument` (an empty name, or a write to a name that the engine reserves),
    /// `too_large`, and for writes those of [`Db::alarm`].
    pub fn side(&self, side: Side) -> Result<SideResponse> {
        call!(self, Side, side)
    }

    /// Returns the status of the store.
    ///
    /// ```
    /// use libkv::{Db, Options, Put};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// let revision = db.put(Put::new("a", "1"))?.revision;
    /// let status = db.status()?;
    /// assert_eq!(status.revision, revision);
    /// assert!(status.alarms.is_empty());
    /// # Ok::<(), libkv::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Only those that every call may return.
    pub fn status(&self) -> Result<Status> {
        self.engine.status()
    }

    /// Returns how long the commits of this process took in this store, for all its handles
    /// together. It does not include the commits of other processes.
    ///
    /// ```
    /// use libkv::{Db, Options, Put};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// db.put(Put::new("a", "1"))?;
    /// let times = db.commit_times()?;
    /// println!("{} commits, {} µs on average", times.count, times.total_us / times.count.max(1));
    /// # Ok::<(), libkv::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `unsupported` for a cluster.
    pub fn commit_times(&self) -> Result<CommitTimes> {
        self.engine.commit_times()
    }

    /// Reads the complete store and verifies every invariant of `core/DESIGN.md`. It takes as long
    /// as reading all data; writers are not blocked.
    ///
    /// ```
    /// use libkv::{Db, Options, Put};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// db.put(Put::new("a", "1"))?;
    /// assert!(db.check()?.problems.is_empty());
    /// # Ok::<(), libkv::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `corrupt` if the store is too damaged to read on. `unsupported` for a cluster.
    pub fn check(&self) -> Result<CheckReport> {
        self.engine.check()
    }

    /// Whether this is a cluster. Its reads use the network too: a caller that must not block
    /// submits them with [`Db::submit`] as well.
    pub fn is_remote(&self) -> bool {
        self.engine.is_remote()
    }

    /// Whether this handle, or a clone of it, was closed, or was opened before a fork.
    pub fn is_closed(&self) -> bool {
        self.engine.ensure_open().is_err()
    }

    /// Closes this handle and all its clones: later calls return `closed`. Calls in progress in
    /// other threads finish normally.
    ///
    /// ```
    /// use libkv::{Code, Db, Options};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// let clone = db.clone();
    /// db.close();
    /// assert_eq!(clone.get("a").unwrap_err().code(), Code::Closed);
    /// # Ok::<(), libkv::Error>(())
    /// ```
    pub fn close(&self) {
        self.engine.close();
    }
}

fn nonempty(key: &[u8]) -> Result<&[u8]> {
    check_key(key)?;
    Ok(key)
}
