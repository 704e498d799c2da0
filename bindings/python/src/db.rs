//! The handle of a store.

use std::path::{Path, PathBuf};

use libkv::{Code, Error, KeyRange, LeaseRevoke, LeaseTimeToLive, Response};
use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::calls::{self, run, run_txn, wrong_response};
use crate::claim::{AsyncClaim, Claim, Election, Lock};
use crate::convert::{
    Dict, KeyArgs, OptionalArg, alarm_kind, bytes, each_option, flag, int, only_option, time,
    wrong_type,
};
use crate::error::raise;
use crate::guard::{detached, guard, not_pickled};
use crate::handle::Handle;
#[cfg(feature = "etcd")]
use crate::interrupt::on_other_thread;
use crate::interrupt::{ask, call};
use crate::key_value::KeyValue;
use crate::lease::Lease;
use crate::mailbox::{Mailbox, PendingResponse, Submission};
use crate::options::{self, unsigned};
use crate::request;
use crate::response::{
    CheckReport, LeaseKeepAliveResponse, LeaseTimeToLiveResponse, Status, TxnResponse,
};
use crate::scan::{DiffScan, EventScan, Scan};
use crate::snapshot::Snapshot;
use crate::transact::{self, Transaction};
use crate::value::{IntoPython, list};
use crate::watch::Watcher;

/// A store, open. Made by open(); usable from any thread; a context manager that closes it.
///
/// Closing it closes everything made from it (scans, snapshots, watchers, leases, locks, elections): every later
/// call raises ClosedError.
/// After a fork() the child gets ForkedError: it opens the store anew.
#[pyclass(frozen, module = "libkv")]
pub struct Db {
    path: PathBuf,
    db: Handle,
}

impl Db {
    pub fn open(
        py: Python<'_>,
        target: &Bound<'_, PyAny>,
        given: Option<&Dict<'_>>,
    ) -> PyResult<Db> {
        let (path, options) = (options::target(target)?, options::options(given)?);
        let db = open(py, &path, options)?;
        Ok(Db {
            path,
            db: Handle::new(db),
        })
    }

    /// The store's handle.
    pub fn handle(&self) -> &Handle {
        &self.db
    }

    fn snapshot_of(&self, py: Python<'_>, revision: i64) -> PyResult<Snapshot> {
        let snapshot = ask(py, &self.db, move |db| db.snapshot_at(revision))?;
        Ok(Snapshot::new(&self.db, snapshot))
    }
}

/// A cluster is dialled on another thread, so that Ctrl-C ends the wait.
#[cfg(feature = "etcd")]
fn open(py: Python<'_>, path: &Path, options: libkv::Options) -> PyResult<libkv::Db> {
    if !path.to_str().is_some_and(libkv_etcd::is_cluster) {
        return detached(py, || libkv_etcd::open(path, options));
    }
    let address = path.to_owned();
    on_other_thread(py, move || libkv_etcd::open(address, options))
}

/// A cluster's address is refused with `unsupported`.
#[cfg(not(feature = "etcd"))]
fn open(py: Python<'_>, path: &Path, options: libkv::Options) -> PyResult<libkv::Db> {
    detached(py, || libkv::Db::open(path, options))
}

fn keys(call: &str, key: OptionalArg<'_>, options: Option<&Dict<'_>>) -> PyResult<KeyRange> {
    let mut keys = KeyArgs::new(key.0);
    each_option(call, options, &["prefix", "start", "end"], |name, given| {
        keys.take(name, given);
        Ok(())
    })?;
    Ok(keys.range(call)?.unwrap_or_else(KeyRange::all))
}

#[pymethods]
impl Db {
    /// Writes one key; the store's revision rises by 1.
    ///
    /// key and value are bytes, any contiguous buffer, or str (as UTF-8). lease hangs the key on that
    /// lease; prev_kv asks for the pair as it was before; ignore_value and ignore_lease keep what the
    /// key has; durability ("sync", "lazy") overrides the handle's. A Put may stand in place of all.
    ///
    /// Waits for the writer's lock and the disk, without the interpreter. Raises
    /// InvalidArgumentError, TooLargeError, KeyNotFoundError (ignore_… on a missing key),
    /// LeaseNotFoundError, ReadOnlyError, BusyError, FullError, IoError: nothing is written then. Only
    /// after UnknownOutcomeError may it be.
    #[pyo3(
        signature = (key, value=OptionalArg::default(), **options),
        text_signature = "($self, key, value=b'', *, lease=0, prev_kv=False, ignore_value=False, ignore_lease=False, durability=None)"
    )]
    fn put(
        &self,
        py: Python<'_>,
        key: &Bound<'_, PyAny>,
        value: OptionalArg<'_>,
        options: Option<&Dict<'_>>,
    ) -> PyResult<Py<PyAny>> {
        guard(|| run(py, &self.db, request::put(key, value, options)?))
    }

    /// One key as it is now, or at a revision; None if it is not there. About a microsecond.
    ///
    /// Raises CompactedError and FutureRevisionError, which carry the revision to know.
    #[pyo3(signature = (key, **options), text_signature = "($self, key, *, revision=0)")]
    fn get(
        &self,
        key: &Bound<'_, PyAny>,
        options: Option<&Dict<'_>>,
    ) -> PyResult<Option<Py<KeyValue>>> {
        guard(|| {
            let revision = only_option("get", options, "revision", int)?;
            calls::get(&self.db, key, revision.unwrap_or(0))
        })
    }

    /// The value of one key into a writable buffer of bytes; the length of the value, or None if there
    /// is no such key. If the buffer is too small nothing is copied, and the length needed is answered.
    fn get_into(
        &self,
        key: &Bound<'_, PyAny>,
        buffer: &Bound<'_, PyAny>,
    ) -> PyResult<Option<usize>> {
        guard(|| {
            let cells = PyBuffer::<u8>::get(buffer)
                .map_err(|_| wrong_type("buffer", "a writable buffer of bytes", buffer))?;
            calls::get_into(&self.db, &bytes("key", key)?, &cells, buffer.py())
        })
    }

    /// The pairs of a range at one revision, in one answer: iterate it, or read its kvs.
    ///
    /// Which keys: key for one, or prefix=, or start= and end= (end is outside; without it, from start
    /// on); nothing for all. revision=0 is now. limit cuts, after the filters min_… and max_… and the
    /// sorting: sort_order "none", "ascend", "descend"; sort_target "key", "version", "create", "mod",
    /// "value". keys_only leaves the values empty, count_only all pairs. serializable matters on a
    /// cluster only. A Range may stand in place of all.
    ///
    /// Raises InvalidArgumentError, CompactedError, FutureRevisionError. Everything is held in memory:
    /// scan() walks a large range.
    #[pyo3(
        signature = (key=OptionalArg::default(), **options),
        text_signature = "($self, key=..., *, prefix=..., start=..., end=..., revision=0, limit=0, sort_order='none', sort_target='key', keys_only=False, count_only=False, min_mod_revision=0, max_mod_revision=0, min_create_revision=0, max_create_revision=0, serializable=False)"
    )]
    fn range(
        &self,
        py: Python<'_>,
        key: OptionalArg<'_>,
        options: Option<&Dict<'_>>,
    ) -> PyResult<Py<PyAny>> {
        guard(|| calls::range(py, &self.db, request::range("range", key, options)?))
    }

    /// An iterator over the pairs of a range by key, all at one revision. It reads page by page, holds
    /// no transaction between steps, and never counts. Arguments as range().
    ///
    /// Raises InvalidArgumentError for count_only and for sorting by anything but the ascending key; a
    /// step raises CompactedError if a compaction has passed the scan's revision.
    #[pyo3(
        signature = (key=OptionalArg::default(), **options),
        text_signature = "($self, key=..., *, prefix=..., start=..., end=..., revision=0, limit=0, sort_order='none', sort_target='key', keys_only=False, count_only=False, min_mod_revision=0, max_mod_revision=0, min_create_revision=0, max_create_revision=0, serializable=False)"
    )]
    fn scan(&self, key: OptionalArg<'_>, options: Option<&Dict<'_>>) -> PyResult<Scan> {
        guard(|| {
            let request = request::range("scan", key, options)?;
            Ok(Scan::new(&self.db, self.db.scan(request).map_err(raise)?))
        })
    }

    /// Deletes one key, or those of prefix=, or of start= and end=; prefix="" deletes all. The revision
    /// rises by 1 if there was any. prev_kv asks for the pairs that went. A Delete may stand in place
    /// of all. Waits and raises as put().
    #[pyo3(
        signature = (key=OptionalArg::default(), **options),
        text_signature = "($self, key=..., *, prefix=..., start=..., end=..., prev_kv=False, durability=None)"
    )]
    fn delete(
        &self,
        py: Python<'_>,
        key: OptionalArg<'_>,
        options: Option<&Dict<'_>>,
    ) -> PyResult<Py<PyAny>> {
        guard(|| run(py, &self.db, request::delete(key, options)?))
    }

    /// Compares, then runs one of two lists of operations in one revision, or nothing at all.
    ///
    /// compare is an iterable of Compare; success and failure of Put, Range, Delete and Txn. A Txn may
    /// stand in place of all. Waits and raises as put(), and DuplicateKeyError, TooManyOpsError,
    /// CompactedError, FutureRevisionError.
    #[pyo3(
        signature = (txn=OptionalArg::default(), **options),
        text_signature = "($self, txn=..., *, compare=(), success=(), failure=(), durability=None)"
    )]
    fn txn(
        &self,
        py: Python<'_>,
        txn: OptionalArg<'_>,
        options: Option<&Dict<'_>>,
    ) -> PyResult<Py<TxnResponse>> {
        guard(|| run_txn(py, &self.db, request::txn(txn, options)?)?.into_python(py))
    }

    /// Runs fn(t) until what it read is still true when what it wrote is committed, all in one
    /// revision; what fn returned.
    ///
    /// t is a Transaction: get, range, put, delete. fn may run several times, so it must not do what
    /// cannot be done twice. Between tries there is a short random wait that grows; after max_retries
    /// (None: never) it raises ConflictError. An exception of fn ends it, and nothing is written.
    #[pyo3(signature = (r#fn, **options), text_signature = "($self, fn, *, max_retries=64)")]
    fn transact<'py>(
        &self,
        r#fn: &Bound<'py, PyAny>,
        options: Option<&Dict<'_>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        guard(|| transact::transact(&self.db, r#fn, transact::max_retries(options)?))
    }

    /// Forgets history below a revision: reads below it raise CompactedError from then on. With
    /// physical it returns only once the space can be used again, else that happens in the background.
    ///
    /// Raises CompactedError (not above the compacted revision), FutureRevisionError, and as put().
    #[pyo3(signature = (revision, **options), text_signature = "($self, revision, *, physical=False)")]
    fn compact(
        &self,
        py: Python<'_>,
        revision: &Bound<'_, PyAny>,
        options: Option<&Dict<'_>>,
    ) -> PyResult<Py<PyAny>> {
        guard(|| run(py, &self.db, request::compact(revision, options)?))
    }

    /// A view of one revision; 0 is the current one. It holds no resource, and no compaction back: once
    /// one has passed it, its calls raise CompactedError. Raises CompactedError, FutureRevisionError.
    #[pyo3(signature = (revision=None), text_signature = "($self, revision=0)")]
    fn snapshot(&self, py: Python<'_>, revision: Option<&Bound<'_, PyAny>>) -> PyResult<Snapshot> {
        guard(|| {
            let revision = revision.map_or(Ok(0), |revision| int("revision", revision))?;
            self.snapshot_of(py, revision)
        })
    }

    /// As snapshot(revision).
    fn snapshot_at(&self, py: Python<'_>, revision: &Bound<'_, PyAny>) -> PyResult<Snapshot> {
        guard(|| self.snapshot_of(py, int("revision", revision)?))
    }

    /// The events of one key, newest first, deletions too: a list of Event, at most limit (0: all that
    /// are kept).
    #[pyo3(signature = (key, **options), text_signature = "($self, key, *, limit=0)")]
    fn history(
        &self,
        py: Python<'_>,
        key: &Bound<'_, PyAny>,
        options: Option<&Dict<'_>>,
    ) -> PyResult<Py<PyList>> {
        guard(|| {
            let key = bytes("key", key)?.into_owned();
            let limit = only_option("history", options, "limit", int)?.unwrap_or(0);
            list(py, ask(py, &self.db, move |db| db.history(&key, limit))?)
        })
    }

    /// An iterator over the events with after < revision <= upto (0: the current one), in the order
    /// they happened, of a key, prefix=, start= and end=, or all. prev_kv is not filled.
    ///
    /// A step raises CompactedError if after lies below the compacted revision, FutureRevisionError if
    /// upto has not been written.
    #[pyo3(
        signature = (after, upto=None, key=OptionalArg::default(), **options),
        text_signature = "($self, after, upto=0, key=..., *, prefix=..., start=..., end=...)"
    )]
    fn events(
        &self,
        after: &Bound<'_, PyAny>,
        upto: Option<&Bound<'_, PyAny>>,
        key: OptionalArg<'_>,
        options: Option<&Dict<'_>>,
    ) -> PyResult<EventScan> {
        guard(|| {
            let (after, upto) = (
                int("after", after)?,
                upto.map_or(Ok(0), |upto| int("upto", upto))?,
            );
            Ok(EventScan::new(
                &self.db,
                self.db.events(after, upto, keys("events", key, options)?),
            ))
        })
    }

    /// An iterator over the keys that differ between revision a and revision b (0: the current one), by
    /// key: Change. A key that was put again with the same value differs: its mod_revision does.
    ///
    /// Raises CompactedError, FutureRevisionError, also from a later step.
    #[pyo3(
        signature = (a, b=None, key=OptionalArg::default(), **options),
        text_signature = "($self, a, b=0, key=..., *, prefix=..., start=..., end=...)"
    )]
    fn diff(
        &self,
        py: Python<'_>,
        a: &Bound<'_, PyAny>,
        b: Option<&Bound<'_, PyAny>>,
        key: OptionalArg<'_>,
        options: Option<&Dict<'_>>,
    ) -> PyResult<DiffScan> {
        guard(|| {
            let (a, b) = (int("a", a)?, b.map_or(Ok(0), |b| int("b", b))?);
            let range = keys("diff", key, options)?;
            Ok(DiffScan::new(
                &self.db,
                ask(py, &self.db, move |db| db.diff(a, b, range))?,
            ))
        })
    }

    /// The last revision that was written by the end of the minute of this time: what a key held then is
    /// get(key, revision=...) of it. time is a datetime (one without a time zone is local time, as for
    /// datetime.timestamp()) or a number of seconds since 1970.
    ///
    /// Raises CompactedError if that revision cannot be read any more.
    fn revision_at(&self, py: Python<'_>, time: &Bound<'_, PyAny>) -> PyResult<i64> {
        guard(|| {
            let time = self::time("time", time)?;
            ask(py, &self.db, move |db| db.revision_at(time))
        })
    }

    /// Follows the events of a key, prefix=, start= and end=, or of all, by whichever process they are written: a
    /// Watcher, which is an iterator of WatchBatch.
    ///
    /// start_revision is the first revision to deliver: one that is kept, or that is still to come; 0 is whatever is
    /// written from now on. prev_kv asks for the pair before each event; no_put and no_delete leave those out;
    /// progress asks for a batch without events, which says how far all is seen, after ten minutes without one.
    ///
    /// Raises InvalidArgumentError (a range that ends at or before its beginning), CompactedError (start_revision
    /// lies below the compacted revision, which the exception carries).
    #[pyo3(
        signature = (key=OptionalArg::default(), **options),
        text_signature = "($self, key=..., *, prefix=..., start=..., end=..., start_revision=0, prev_kv=False, no_put=False, no_delete=False, progress=False)"
    )]
    fn watch(
        &self,
        py: Python<'_>,
        key: OptionalArg<'_>,
        options: Option<&Dict<'_>>,
    ) -> PyResult<Watcher> {
        guard(|| {
            let watch = request::watch(key, options)?;
            Ok(Watcher::new(
                &self.db,
                ask(py, &self.db, move |db| db.watch(watch))?,
            ))
        })
    }

    /// Grants a lease of ttl_seconds (raised to lease_ttl_min_seconds) with this id, or with one that the store
    /// chooses for 0. Nobody keeps it alive; see lease() for one that does.
    ///
    /// Raises LeaseExistsError, InvalidArgumentError (a TTL over 9,000,000,000 s), and as put().
    #[pyo3(signature = (ttl_seconds, **options), text_signature = "($self, ttl_seconds, *, id=0)")]
    fn lease_grant(
        &self,
        py: Python<'_>,
        ttl_seconds: &Bound<'_, PyAny>,
        options: Option<&Dict<'_>>,
    ) -> PyResult<Py<PyAny>> {
        guard(|| run(py, &self.db, request::lease_grant(ttl_seconds, options)?))
    }

    /// Revokes a lease: its keys are deleted in one revision, by ascending key. Raises LeaseNotFoundError, and as
    /// put().
    fn lease_revoke(&self, py: Python<'_>, id: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        guard(|| run(py, &self.db, LeaseRevoke { id: int("id", id)? }))
    }

    /// Gives a lease its full TTL again, once. It takes no lock and writes nothing to the disk. The answer's
    /// ttl_seconds is 0 if there is no such lease, or it has expired. Raises ReadOnlyError.
    fn lease_keep_alive(
        &self,
        py: Python<'_>,
        id: &Bound<'_, PyAny>,
    ) -> PyResult<Py<LeaseKeepAliveResponse>> {
        guard(|| {
            let id = int("id", id)?;
            ask(py, &self.db, move |db| db.lease_keep_alive(id))?.into_python(py)
        })
    }

    /// What is left of a lease, and, with keys, which keys hang on it. The answer's ttl_seconds is -1 if there is no
    /// such lease.
    #[pyo3(signature = (id, **options), text_signature = "($self, id, *, keys=False)")]
    fn lease_time_to_live(
        &self,
        py: Python<'_>,
        id: &Bound<'_, PyAny>,
        options: Option<&Dict<'_>>,
    ) -> PyResult<Py<LeaseTimeToLiveResponse>> {
        guard(|| {
            let id = int("id", id)?;
            let keys = only_option("lease_time_to_live", options, "keys", flag)?.unwrap_or(false);
            let request = LeaseTimeToLive::new(id).keys(keys);
            ask(py, &self.db, move |db| db.lease_time_to_live(request))?.into_python(py)
        })
    }

    /// The ids of all leases, the next to expire first.
    fn lease_list(&self, py: Python<'_>) -> PyResult<Vec<i64>> {
        guard(|| ask(py, &self.db, libkv::Db::lease_list))
    }

    /// A lease of ttl_seconds that keeps itself alive, and is revoked when its handle is closed or collected. With
    /// end_with_process it also ends within 500 ms of this process's death; else by its TTL. Raises as lease_grant().
    #[pyo3(signature = (ttl_seconds, **options), text_signature = "($self, ttl_seconds, *, end_with_process=False)")]
    fn lease(
        &self,
        py: Python<'_>,
        ttl_seconds: &Bound<'_, PyAny>,
        options: Option<&Dict<'_>>,
    ) -> PyResult<Lease> {
        guard(|| {
            let grant = request::lease(ttl_seconds, options)?;
            match call(py, &self.db, grant)? {
                Response::LeaseGrant(granted) => Lease::adopt(&self.db, granted),
                _ => Err(wrong_response()),
            }
        })
    }

    /// A lock by this name (bytes, a buffer or str), not yet acquired. Once it is, and its process lives but does not
    /// keep its lease alive, it is freed after ttl_seconds. Raises InvalidArgumentError for an empty name.
    fn lock(&self, name: &Bound<'_, PyAny>, ttl_seconds: &Bound<'_, PyAny>) -> PyResult<Lock> {
        guard(|| Claim::new(&self.db, name, ttl_seconds).map(Lock::new))
    }

    /// An election by this name; nobody campaigns yet. Arguments and exceptions as lock().
    fn election(
        &self,
        name: &Bound<'_, PyAny>,
        ttl_seconds: &Bound<'_, PyAny>,
    ) -> PyResult<Election> {
        guard(|| Claim::new(&self.db, name, ttl_seconds).map(Election::new))
    }

    /// The alarms that are active, a list of AlarmMember by kind and member. One that is active stays until it is
    /// disarmed, also over a restart, and every process that writes obeys it.
    fn alarm_list(&self, py: Python<'_>) -> PyResult<Py<PyList>> {
        guard(|| list(py, detached(py, || self.db.alarm_list())?))
    }

    /// Raises an alarm of this kind, "nospace" or "corrupt", in the name of any member, and answers it in a list.
    /// Programs seldom do so: "nospace" comes by itself where the store was opened with limits="etcd".
    #[pyo3(signature = (kind, **options), text_signature = "($self, kind, *, member=0)")]
    fn alarm_activate(
        &self,
        py: Python<'_>,
        kind: &Bound<'_, PyAny>,
        options: Option<&Dict<'_>>,
    ) -> PyResult<Py<PyList>> {
        guard(|| {
            let kind = alarm_kind("kind", kind)?;
            let member = only_option("alarm_activate", options, "member", unsigned)?.unwrap_or(0);
            list(py, detached(py, || self.db.alarm_activate(kind, member))?)
        })
    }

    /// Ends alarms: those of this member (0: of every member) and of this kind (None: of every kind). Mailbox those
    /// that were active, a list of AlarmMember. Make room first: "nospace" comes back with the next put else.
    #[pyo3(signature = (**options), text_signature = "($self, *, member=0, kind=None)")]
    fn alarm_disarm(&self, py: Python<'_>, options: Option<&Dict<'_>>) -> PyResult<Py<PyList>> {
        guard(|| {
            let (mut member, mut kind) = (0, None);
            each_option(
                "alarm_disarm",
                options,
                &["member", "kind"],
                |name, given| {
                    match name {
                        "member" => member = unsigned(name, given)?,
                        _ if given.is_none() => kind = None,
                        _ => kind = Some(alarm_kind(name, given)?),
                    }
                    Ok(())
                },
            )?;
            list(py, detached(py, || self.db.alarm_disarm(member, kind))?)
        })
    }

    /// What the store says of itself: revisions, sizes, who holds the lock, what pins space.
    fn status(&self, py: Python<'_>) -> PyResult<Py<Status>> {
        guard(|| ask(py, &self.db, libkv::Db::status)?.into_python(py))
    }

    /// Reads the whole store and verifies every invariant. Takes the time of reading everything;
    /// writers go on meanwhile. The report's problems are empty if all is well.
    fn check(&self, py: Python<'_>) -> PyResult<Py<CheckReport>> {
        guard(|| ask(py, &self.db, libkv::Db::check)?.into_python(py))
    }

    /// Closes the store: every later call, also on what was made from it, raises ClosedError. Calls
    /// under way in other threads end as they would have. Closing twice is fine.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        guard(|| {
            detached(py, || {
                self.db.close();
                Ok(())
            })
        })
    }

    /// Whether the store was closed, or opened before a fork().
    #[getter]
    fn closed(&self) -> bool {
        self.db.is_closed()
    }

    /// Whether it is a cluster, whose reads wait too, for libkv.aio.
    #[getter]
    fn _is_remote(&self) -> bool {
        self.db.is_remote()
    }

    /// Begins one try of a transaction, for libkv.aio.
    fn _transaction(&self) -> Transaction {
        Transaction::new(&self.db)
    }

    /// A place in the line for a name, for libkv.aio.
    fn _claim(
        &self,
        name: &Bound<'_, PyAny>,
        ttl_seconds: &Bound<'_, PyAny>,
    ) -> PyResult<AsyncClaim> {
        guard(|| Claim::new(&self.db, name, ttl_seconds).map(AsyncClaim::new))
    }

    /// Submits a write for libkv.aio, without waiting. The future gets the response.
    fn _submit(
        &self,
        request: &Bound<'_, PyAny>,
        mailbox: &Bound<'_, Mailbox>,
        future: &Bound<'_, PyAny>,
    ) -> PyResult<Submission> {
        guard(|| {
            let request = request::request(request)?;
            Ok(mailbox.get().submit(&self.db, request, future))
        })
    }

    /// Submits the request of lease() for libkv.aio. The future is woken when the response is there.
    #[pyo3(signature = (ttl_seconds, mailbox, future, **options))]
    fn _submit_lease(
        &self,
        ttl_seconds: &Bound<'_, PyAny>,
        mailbox: &Bound<'_, Mailbox>,
        future: &Bound<'_, PyAny>,
        options: Option<&Dict<'_>>,
    ) -> PyResult<PendingResponse> {
        guard(|| {
            let grant = request::lease(ttl_seconds, options)?;
            Ok(mailbox.get().ask(&self.db, grant.into(), future))
        })
    }

    fn __enter__(slf: PyRef<'_, Self>) -> PyResult<PyRef<'_, Self>> {
        match slf.db.is_closed() {
            true => Err(raise(Error::new(
                Code::Closed,
                "the store's handle is closed",
            ))),
            false => Ok(slf),
        }
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyAny>) -> PyResult<()> {
        self.close(py)
    }

    fn __repr__(&self) -> String {
        let closed = if self.db.is_closed() { ", closed" } else { "" };
        format!("<libkv.Db {:?}{closed}>", self.path)
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(not_pickled(
            "a Db",
            "open the store again where it is needed, with the same path",
        ))
    }
}
