//! [`Db`]: one method for each request, over any [`Engine`].

use std::fmt;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::engine::{Completion, Engine, Interrupted, PairRef, Submitted, wrong_answer};
use crate::error::{Code, Error, Result};
use crate::model::{Event, KeyRange, KeyValue, LeaseId, Revision};
use crate::recipe::{ChangeScan, Election, EventScan, Lease, Lock, Scan, Snapshot, Transaction, Watcher, transact};
use crate::request::*;

/// A store, open: a cheap clone of a shared handle, usable from any thread.
///
/// The store closes with its last clone, or with [`Db::close`] for all of them at once; scans and
/// snapshots made from it answer `closed` from then on.
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
        match $self.engine.call(Request::$kind($request))? {
            Answer::$kind(answer) => Ok(answer),
            other => Err(wrong_answer(&other)),
        }
    };
}

impl Db {
    /// A handle over an engine of any kind.
    pub fn from_engine(engine: Arc<dyn Engine>) -> Db {
        Db { engine }
    }

    pub(crate) fn engine(&self) -> &dyn Engine {
        &*self.engine
    }

    /// The same store, for calls that must end by `deadline` (none: no limit), beside the limits that it has. It is
    /// for short use: whatever is asked through it later fails.
    ///
    /// Over a network a call without an answer by then fails with `timeout`, or with `unknown_outcome` if it is a write
    /// that was sent. A store in this process is not limited so: its writes have `busy_timeout`.
    pub fn until(&self, deadline: impl Into<Option<Instant>>) -> Db {
        let limited = deadline.into().and_then(|deadline| self.engine.clone().until(deadline));
        limited.map_or_else(|| self.clone(), Db::from_engine)
    }

    /// Writes one key; the store's revision rises by 1.
    ///
    /// # Errors
    ///
    /// `invalid_argument` (empty key, a value with `ignore_value`, a lease with `ignore_lease`),
    /// `too_large`, `key_not_found` (`ignore_…` on a missing key), `lease_not_found`,
    /// `read_only`, `busy`, `full`, `io`. After any of them nothing is written; only after
    /// `unknown_outcome` may it be.
    pub fn put(&self, put: Put) -> Result<PutResult> {
        call!(self, Put, put)
    }

    /// One key as it is now, or none. Costs one descent of one tree, whatever the history.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<KeyValue>> {
        self.engine.get(nonempty(key.as_ref())?, 0)
    }

    /// One key as it was at `revision` (0 and below: now), or none.
    ///
    /// Costs at most 2·⌈log2 n⌉ + 2 reads for a key with n versions.
    ///
    /// # Errors
    ///
    /// `compacted`, `future_revision`; both carry the revision to know.
    pub fn get_at(&self, key: impl AsRef<[u8]>, revision: Revision) -> Result<Option<KeyValue>> {
        self.engine.get(nonempty(key.as_ref())?, revision.max(0))
    }

    /// The value of one key into `buffer`: answers its length, or none if there is no such key.
    /// If the buffer is too small nothing is copied and the length needed is answered. Allocates
    /// nothing.
    pub fn get_into(&self, key: impl AsRef<[u8]>, buffer: &mut [u8]) -> Result<Option<usize>> {
        self.engine.get_into(nonempty(key.as_ref())?, buffer)
    }

    /// The pairs of a range at one revision, in one answer.
    ///
    /// # Errors
    ///
    /// `invalid_argument` (empty key), `compacted`, `future_revision`.
    pub fn range(&self, range: Range) -> Result<RangeResult> {
        call!(self, Range, range)
    }

    /// As [`Db::range`], for languages that keep pairs in a form of their own: `each` gets every pair
    /// where it lies, and the answer has none. It must be quick and not call libkv, since a read
    /// transaction is open meanwhile. If this fails, some pairs may have come.
    ///
    /// # Errors
    ///
    /// As [`Db::range`].
    pub fn range_each(&self, range: &Range, mut each: impl FnMut(PairRef)) -> Result<RangeResult> {
        self.engine.range_each(range, &mut each)
    }

    /// The pairs of a range, one after the other, all at the revision of the first page. Holds
    /// nothing between steps and never counts.
    ///
    /// # Errors
    ///
    /// `invalid_argument` for sorting by anything but the ascending key, and for `count_only`.
    /// A step answers `compacted` if a compaction has passed the scan's revision.
    pub fn scan(&self, range: Range) -> Result<Scan> {
        Scan::new(self.clone(), range)
    }

    /// Deletes the keys of a range; the revision rises by 1 if there was any.
    ///
    /// # Errors
    ///
    /// As [`Db::put`].
    pub fn delete(&self, delete: Delete) -> Result<DeleteResult> {
        call!(self, Delete, delete)
    }

    /// Compares, then runs one of two lists of operations in one revision, or nothing at all.
    ///
    /// # Errors
    ///
    /// As [`Db::put`], and `duplicate_key`, `too_many_ops`, `compacted`, `future_revision`.
    pub fn txn(&self, txn: Txn) -> Result<TxnResult> {
        call!(self, Txn, txn)
    }

    /// Runs `body` until what it read is still true when what it wrote is committed, all in one
    /// revision. Between tries it waits a short random time that grows; after `max_retries` (none:
    /// never) it gives up with `conflict`. [`TRANSACT_RETRIES`](crate::TRANSACT_RETRIES) is the
    /// usual number. An error from `body` ends it and nothing is written.
    pub fn transact<T>(
        &self,
        max_retries: impl Into<Option<u32>>,
        body: impl FnMut(&mut Transaction) -> Result<T>,
    ) -> Result<T> {
        transact(self, max_retries.into(), body)
    }

    /// One try of what [`Db::transact`] does, for callers whose body cannot be a closure, as in a
    /// language with async functions: read and write through it, run [`Transaction::txn`], and if
    /// that did not succeed begin again after [`Retries::after`](crate::Retries::after).
    pub fn transaction(&self) -> Transaction {
        Transaction::new(self.clone())
    }

    /// Forgets history below `revision`: reads below it answer `compacted` from then on. With
    /// `physical` answers only once the space can be used again, else that happens in the
    /// background.
    ///
    /// # Errors
    ///
    /// `compacted` (`revision` is not above the compacted one), `future_revision`. With `physical` also
    /// what a write is refused with while it waits for the space: the compaction stands then, and the
    /// message says so.
    pub fn compact(&self, revision: Revision, physical: bool) -> Result<CompactResult> {
        call!(self, Compact, Compact { revision, physical })
    }

    /// Any request, from a thread that must not wait in peace: while the request waits for its
    /// turn, `interrupted` is asked ten times a second, and once it is true the request is taken
    /// back.
    ///
    /// # Errors
    ///
    /// `cancelled` if it was taken back: nothing was written. `unknown_outcome` if it is a write that was sent to a
    /// cluster.
    pub fn call_unless(&self, request: impl Into<Request>, interrupted: Interrupted) -> Result<Answer> {
        self.engine.call_unless(request.into(), interrupted)
    }

    /// Hands a request over without waiting. `completion` runs once with its answer, on the thread
    /// that led its group and after the writer's lock is released; it must not block and may call
    /// libkv. A refusal comes through it too, perhaps before this returns. [`Submitted::cancel`] takes
    /// back what no writer has begun.
    pub fn submit(
        &self,
        request: impl Into<Request>,
        completion: impl FnOnce(Result<Answer>) + Send + 'static,
    ) -> Submitted {
        self.engine.submit(request.into(), Box::new(completion))
    }

    /// Hands several requests over without waiting, in their order, as [`Db::submit`] each of them. Those that
    /// come together share a commit, whoever else is in a hurry.
    pub fn submit_all(&self, requests: Vec<(Request, Completion)>) -> Vec<Submitted> {
        self.engine.submit_all(requests)
    }

    /// A view of the current revision. It holds no resource and no compaction back: once a
    /// compaction has passed it, it answers `compacted`.
    pub fn snapshot(&self) -> Result<Snapshot> {
        Ok(Snapshot::new(self.clone(), self.engine.revision()?))
    }

    /// A view of this revision; 0 and below: the current one.
    ///
    /// # Errors
    ///
    /// `compacted`, `future_revision`.
    pub fn snapshot_at(&self, revision: Revision) -> Result<Snapshot> {
        if revision <= 0 {
            return self.snapshot();
        }
        self.engine.get(&[0], revision)?;
        Ok(Snapshot::new(self.clone(), revision))
    }

    /// The events of one key, newest first, tombstones too; at most `limit`, 0 and below for all
    /// that are kept.
    pub fn history(&self, key: impl AsRef<[u8]>, limit: i64) -> Result<Vec<Event>> {
        self.engine.history(nonempty(key.as_ref())?, limit)
    }

    /// The events of a range with `after` < revision <= `upto` (0 and below: the current one), in
    /// the order they happened. Holds nothing between steps; `prev_kv` is not filled.
    ///
    /// # Errors
    ///
    /// A step answers `compacted` if `after` lies below the compacted revision, `future_revision`
    /// if `upto` has not been written.
    pub fn changes(&self, after: Revision, upto: Revision, range: impl Into<KeyRange>) -> EventScan {
        EventScan::new(self.clone(), Changes { after, upto, range: range.into() })
    }

    /// The keys of a range that differ between revision `a` and revision `b` (0 and below: the
    /// current one), by key. A key that was put again with the same value differs: its
    /// `mod_revision` does.
    ///
    /// # Errors
    ///
    /// `compacted`, `future_revision`, also from a later step.
    pub fn diff(&self, a: Revision, b: Revision, range: impl Into<KeyRange>) -> Result<ChangeScan> {
        ChangeScan::new(self.clone(), a, b, range.into())
    }

    /// The last revision that was written by the end of the minute of this time: what a key held then
    /// is [`Db::get_at`] of it. Costs one look at an index that has an entry for each minute in
    /// which something was written.
    ///
    /// # Errors
    ///
    /// `compacted` if that revision cannot be read any more.
    pub fn revision_at(&self, time: SystemTime) -> Result<Revision> {
        let unix_ms = match time.duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            Err(_) => 0,
        };
        self.engine.revision_at(unix_ms)
    }

    /// Follows the events of a range, by whichever process they are written.
    ///
    /// # Errors
    ///
    /// `invalid_argument` (a range that ends at or before its beginning), `compacted`
    /// (`start_revision` lies below the compacted revision, which the error carries, or is
    /// negative).
    pub fn watch(&self, watch: Watch) -> Result<Watcher> {
        Watcher::new(self.clone(), watch)
    }

    /// Grants a lease of `ttl_seconds` (raised to the handle's minimum) with this id, or with one that
    /// the store chooses for 0. Nobody keeps it alive; see [`Db::lease`] for one that does.
    ///
    /// # Errors
    ///
    /// `lease_exists`, `invalid_argument` (a TTL over 9,000,000,000 s), and as [`Db::put`].
    pub fn lease_grant(&self, ttl_seconds: i64, id: LeaseId) -> Result<LeaseGrant> {
        self.grant(Grant { ttl_seconds, id, end_with_process: false })
    }

    pub(crate) fn grant(&self, grant: Grant) -> Result<LeaseGrant> {
        call!(self, LeaseGrant, grant)
    }

    /// Revokes a lease: its keys are deleted in one revision, by ascending key.
    ///
    /// # Errors
    ///
    /// `lease_not_found`, and as [`Db::put`].
    pub fn lease_revoke(&self, id: LeaseId) -> Result<LeaseRevoke> {
        call!(self, LeaseRevoke, Revoke { id })
    }

    /// Gives a lease its full TTL again, once. It takes no lock and writes nothing to the disk.
    /// Answers TTL 0, and no error, if there is no such lease or it has expired.
    ///
    /// # Errors
    ///
    /// `read_only`.
    pub fn lease_keep_alive(&self, id: LeaseId) -> Result<LeaseKeepAlive> {
        self.engine.lease_keep_alive(id)
    }

    /// What is left of a lease, and, with `keys`, which keys hang on it. Answers TTL -1, and no
    /// error, if there is no such lease.
    pub fn lease_time_to_live(&self, id: LeaseId, keys: bool) -> Result<LeaseTimeToLive> {
        self.engine.lease_time_to_live(id, keys)
    }

    /// The ids of all leases, the next to expire first.
    pub fn lease_list(&self) -> Result<Vec<LeaseId>> {
        self.engine.lease_list()
    }

    /// A lease of `ttl_seconds` that keeps itself alive and is revoked when its handle is closed or
    /// dropped. With `end_with_process` it also ends within 500 ms of this process's death; else by
    /// its TTL.
    ///
    /// # Errors
    ///
    /// As [`Db::lease_grant`].
    pub fn lease(&self, ttl_seconds: i64, end_with_process: bool) -> Result<Lease> {
        Lease::new(self, ttl_seconds, end_with_process)
    }

    /// A lock by this name, not yet acquired. Once it is, and its process lives but does not keep its
    /// lease alive, it is freed after `ttl_seconds`.
    ///
    /// # Errors
    ///
    /// `invalid_argument` for an empty name.
    pub fn lock(&self, name: impl Into<Vec<u8>>, ttl_seconds: i64) -> Result<Lock> {
        Lock::new(self.clone(), name.into(), ttl_seconds)
    }

    /// An election by this name; nobody campaigns yet. `ttl_seconds` as for [`Db::lock`].
    ///
    /// # Errors
    ///
    /// `invalid_argument` for an empty name.
    pub fn election(&self, name: impl Into<Vec<u8>>, ttl_seconds: i64) -> Result<Election> {
        Election::new(self.clone(), name.into(), ttl_seconds)
    }

    /// Reads, raises or ends alarms; see [`Alarm`]. [`Db::alarm_list`] and [`Db::alarm_disarm`] are what
    /// is needed in most cases.
    ///
    /// # Errors
    ///
    /// `read_only`, `busy`, `io`, unless alarms are only read.
    pub fn alarm(&self, alarm: Alarm) -> Result<AlarmResult> {
        call!(self, Alarm, alarm)
    }

    /// The alarms that are active, by kind and member.
    pub fn alarm_list(&self) -> Result<Vec<AlarmMember>> {
        Ok(self.alarm(Alarm::default())?.alarms)
    }

    /// Ends alarms: those of this member (0: of every member) and of this kind (none: of every kind).
    /// Answers those that were active. Make room first: NOSPACE comes back with the next put else.
    ///
    /// # Errors
    ///
    /// As [`Db::alarm`].
    pub fn alarm_disarm(&self, member: u64, kind: Option<AlarmKind>) -> Result<Vec<AlarmMember>> {
        let meant =
            |alarm: &AlarmMember| (member == 0 || alarm.member == member) && kind.is_none_or(|k| k == alarm.kind);
        let mut ended = Vec::new();
        for alarm in self.alarm_list()?.into_iter().filter(meant) {
            let AlarmMember { member, kind } = alarm;
            let answer = self.alarm(Alarm { action: AlarmAction::Deactivate, member, kind: Some(kind) })?;
            ended.extend(answer.alarms);
        }
        Ok(ended)
    }

    /// Raises an alarm: every writer of the store obeys it until it is ended. Programs seldom do so;
    /// NOSPACE comes by itself (option `limits`), and tests ask for it here.
    ///
    /// # Errors
    ///
    /// As [`Db::alarm`].
    pub fn alarm_activate(&self, kind: AlarmKind, member: u64) -> Result<Vec<AlarmMember>> {
        Ok(self.alarm(Alarm { action: AlarmAction::Activate, member, kind: Some(kind) })?.alarms)
    }

    /// Reads or writes records beside the keys; see [`Side`].
    ///
    /// # Errors
    ///
    /// `invalid_argument` (an empty name, one of the engine's own to be written), `too_large`, and, when it
    /// writes, as [`Db::alarm`].
    pub fn side(&self, side: Side) -> Result<SideResult> {
        call!(self, Side, side)
    }

    /// What the store says of itself.
    pub fn status(&self) -> Result<Status> {
        self.engine.status()
    }

    /// How long the commits of this process took in this store, all its handles together. What other
    /// processes committed only they know.
    ///
    /// # Errors
    ///
    /// `unsupported` for a cluster.
    pub fn commit_times(&self) -> Result<CommitTimes> {
        self.engine.commit_times()
    }

    /// Reads the whole store and verifies every invariant of the design. Takes the time of reading
    /// everything; writers go on meanwhile.
    pub fn check(&self) -> Result<CheckReport> {
        self.engine.check()
    }

    /// Whether this is a cluster: its reads go over the network too, so that whoever must not wait hands them
    /// over with [`Db::submit`] as well.
    pub fn is_remote(&self) -> bool {
        self.engine.is_remote()
    }

    /// Whether this handle, or a clone of it, was closed (or was opened before a fork).
    pub fn is_closed(&self) -> bool {
        self.engine.ensure_open().is_err()
    }

    /// Closes this handle and all its clones: every later call answers `closed`. Calls under way
    /// in other threads end as they would have.
    pub fn close(&self) {
        self.engine.close();
    }
}

fn nonempty(key: &[u8]) -> Result<&[u8]> {
    match key.is_empty() {
        true => Err(Error::new(Code::InvalidArgument, "key is not provided")),
        false => Ok(key),
    }
}
