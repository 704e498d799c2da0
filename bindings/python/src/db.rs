//! The handle of a store.

use std::path::{Path, PathBuf};

use libkv::{Auth, Code, Error, KeyRange, LeaseRevoke, LeaseTimeToLive, Response};
use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::auth::{self, AuthStatus};
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
use crate::interrupt::{call, read_store};
use crate::key_value::KeyValue;
use crate::lease::Lease;
use crate::mailbox::{Mailbox, PendingResponse, Submission};
use crate::member::{self, HashKvResponse, Member};
use crate::options::{self, path, text, unsigned};
use crate::request;
use crate::request_options::{delete_docs, put_docs, range_docs, watch_docs};
use crate::response::{
    CheckReport, LeaseKeepAliveResponse, LeaseTimeToLiveResponse, Status, TxnResponse,
};
use crate::scan::{DiffScan, EventScan, Scan};
use crate::snapshot::Snapshot;
use crate::transact::{self, Transaction};
use crate::value::{IntoPython, list};
use crate::watch::Watcher;

/// An open store, created by open(). All threads can use it. A context manager that closes it.
///
/// After it is closed, every call on it and on the objects created from it (scans, snapshots,
/// watchers, leases, locks, elections) raises ClosedError. After a fork() the child gets
/// ForkedError and has to open the store again.
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
        let snapshot = read_store(py, &self.db, move |db| db.snapshot_at(revision))?;
        Ok(Snapshot::new(&self.db, snapshot))
    }
}

/// Connects to a cluster on another thread, so that Ctrl-C ends the wait.
#[cfg(feature = "etcd")]
fn open(py: Python<'_>, path: &Path, options: libkv::Options) -> PyResult<libkv::Db> {
    if !path.to_str().is_some_and(libkv_etcd::is_cluster) {
        return detached(py, || libkv_etcd::open(path, options));
    }
    let address = path.to_owned();
    on_other_thread(py, move || libkv_etcd::open(address, options))
}

/// Refuses the address of a cluster with `unsupported`.
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
    /// Writes one key and returns a PutResponse. The store's revision rises by 1.
    ///
    /// key and value are bytes, any contiguous buffer, or str (as UTF-8). A Put can replace all
    /// arguments.
    ///
    #[doc = put_docs!()]
    ///
    /// Waits for the write lock and the disk, without the interpreter. Raises InvalidArgumentError,
    /// TooLargeError, KeyNotFoundError (ignore_… on a missing key), LeaseNotFoundError,
    /// ReadOnlyError, BusyError, FullError, IoError; nothing is written then. Only after
    /// UnknownOutcomeError it may be.
    #[pyo3(
        signature = (key, value=OptionalArg::default(), **options),
        // generated from bindings/vocabulary/vocabulary.toml: put
        text_signature = "($self, key, value=b'', *, lease=0, prev_kv=False, ignore_value=False, ignore_lease=False, durability=None)"
        // end of generated
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

    /// Reads one key, now or at a revision: a KeyValue, or None if it does not exist. Takes about a
    /// microsecond.
    ///
    /// Raises CompactedError and FutureRevisionError, which carry the compacted or current
    /// revision.
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

    /// Copies the value of one key into a writable buffer of bytes. Returns the value's length, or
    /// None if the key does not exist. Copies nothing if the buffer is too small.
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

    /// Reads the pairs of a range at one revision. Returns a RangeResponse, which is iterable.
    ///
    /// The range is one key, or prefix=, or start= and end= (exclusive; without it, from start on);
    /// all keys if none is given. A Range can replace all arguments.
    ///
    #[doc = range_docs!()]
    ///
    /// Raises InvalidArgumentError, CompactedError, FutureRevisionError. All pairs are in memory:
    /// use scan() for a large range.
    #[pyo3(
        signature = (key=OptionalArg::default(), **options),
        // generated from bindings/vocabulary/vocabulary.toml: range
        text_signature = "($self, key=..., *, prefix=..., start=..., end=..., revision=0, limit=0, sort_order='none', sort_target='key', keys_only=False, count_only=False, min_mod_revision=0, max_mod_revision=0, min_create_revision=0, max_create_revision=0, serializable=False)"
        // end of generated
    )]
    fn range(
        &self,
        py: Python<'_>,
        key: OptionalArg<'_>,
        options: Option<&Dict<'_>>,
    ) -> PyResult<Py<PyAny>> {
        guard(|| calls::range(py, &self.db, request::range("range", key, options)?))
    }

    /// Returns an iterator of KeyValue over a range, ascending by key, all at one revision. It
    /// reads page by page, holds no transaction between steps, and does not count. Arguments as
    /// range().
    ///
    /// Raises InvalidArgumentError for count_only and for any order but the ascending key. A step
    /// raises CompactedError after a compaction above the scan's revision.
    #[pyo3(
        signature = (key=OptionalArg::default(), **options),
        // generated from bindings/vocabulary/vocabulary.toml: range
        text_signature = "($self, key=..., *, prefix=..., start=..., end=..., revision=0, limit=0, sort_order='none', sort_target='key', keys_only=False, count_only=False, min_mod_revision=0, max_mod_revision=0, min_create_revision=0, max_create_revision=0, serializable=False)"
        // end of generated
    )]
    fn scan(&self, key: OptionalArg<'_>, options: Option<&Dict<'_>>) -> PyResult<Scan> {
        guard(|| {
            let request = request::range("scan", key, options)?;
            Ok(Scan::new(&self.db, self.db.scan(request).map_err(raise)?))
        })
    }

    /// Deletes one key, or the keys of prefix=, or of start= and end=; prefix="" deletes all.
    /// Returns a DeleteResponse. The revision rises by 1 if there were any. A Delete can replace
    /// all arguments.
    ///
    #[doc = delete_docs!()]
    ///
    /// Waits and raises as put().
    #[pyo3(
        signature = (key=OptionalArg::default(), **options),
        // generated from bindings/vocabulary/vocabulary.toml: delete
        text_signature = "($self, key=..., *, prefix=..., start=..., end=..., prev_kv=False, durability=None)"
        // end of generated
    )]
    fn delete(
        &self,
        py: Python<'_>,
        key: OptionalArg<'_>,
        options: Option<&Dict<'_>>,
    ) -> PyResult<Py<PyAny>> {
        guard(|| run(py, &self.db, request::delete(key, options)?))
    }

    /// Compares, then runs one of two lists of operations in one revision. Returns a TxnResponse.
    ///
    /// compare is an iterable of Compare; success and failure are iterables of Put, Range, Delete
    /// and Txn. A Txn can replace all arguments. Waits and raises as put(), and DuplicateKeyError,
    /// TooManyOpsError, CompactedError, FutureRevisionError. After an error no operation has run.
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

    /// Runs fn(t) and commits its writes in one revision, if its reads are still valid; otherwise
    /// it runs fn again. Returns the value of fn.
    ///
    /// t is a Transaction: get, range, put, delete. fn may run several times, so other side effects
    /// must be repeatable. Before each retry it waits for a short random time, which grows. After
    /// max_retries (None: no limit) it raises ConflictError. An exception of fn ends it, and
    /// nothing is written.
    #[pyo3(signature = (r#fn, **options), text_signature = "($self, fn, *, max_retries=64)")]
    fn transact<'py>(
        &self,
        r#fn: &Bound<'py, PyAny>,
        options: Option<&Dict<'_>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        guard(|| transact::transact(&self.db, r#fn, transact::max_retries(options)?))
    }

    /// Deletes the history below a revision: reads below it raise CompactedError from then on. With
    /// physical it returns when the space can be used again; otherwise a background thread frees
    /// it.
    ///
    /// Raises CompactedError (revision is not above the compacted one), FutureRevisionError, and as
    /// put().
    #[pyo3(signature = (revision, **options), text_signature = "($self, revision, *, physical=False)")]
    fn compact(
        &self,
        py: Python<'_>,
        revision: &Bound<'_, PyAny>,
        options: Option<&Dict<'_>>,
    ) -> PyResult<Py<PyAny>> {
        guard(|| run(py, &self.db, request::compact(revision, options)?))
    }

    /// Returns a Snapshot of one revision; 0 is the current one. It holds no resource and delays no
    /// compaction; after one above its revision, its calls raise CompactedError. Raises
    /// CompactedError, FutureRevisionError.
    #[pyo3(signature = (revision=None), text_signature = "($self, revision=0)")]
    fn snapshot(&self, py: Python<'_>, revision: Option<&Bound<'_, PyAny>>) -> PyResult<Snapshot> {
        guard(|| {
            let revision = revision.map_or(Ok(0), |revision| int("revision", revision))?;
            self.snapshot_of(py, revision)
        })
    }

    /// The same as snapshot(revision).
    fn snapshot_at(&self, py: Python<'_>, revision: &Bound<'_, PyAny>) -> PyResult<Snapshot> {
        guard(|| self.snapshot_of(py, int("revision", revision)?))
    }

    /// Returns a list of the Events of one key, newest first, with deletions, at most limit (0: all
    /// that are not compacted).
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
            list(
                py,
                read_store(py, &self.db, move |db| db.history(&key, limit))?,
            )
        })
    }

    /// Returns an iterator of Event with after < revision <= upto (0: the current one), in order,
    /// of a key, prefix=, start= and end=, or all keys. prev_kv is not set.
    ///
    /// A step raises CompactedError if after is below the compacted revision, FutureRevisionError
    /// if upto does not exist yet.
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

    /// Returns an iterator of Difference over the keys that differ between revision a and revision
    /// b (0: the current one), by key. A key that was put again with the same value differs,
    /// because its mod_revision differs.
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
                read_store(py, &self.db, move |db| db.diff(a, b, range))?,
            ))
        })
    }

    /// The last revision that was written by the end of the minute of this time: what a key held
    /// then is get(key, revision=...) of it. time is a datetime (one without a time zone is local
    /// time, as for datetime.timestamp()) or a number of seconds since 1970.
    ///
    /// Raises CompactedError if that revision cannot be read any more.
    fn revision_at(&self, py: Python<'_>, time: &Bound<'_, PyAny>) -> PyResult<i64> {
        guard(|| {
            let time = self::time("time", time)?;
            read_store(py, &self.db, move |db| db.revision_at(time))
        })
    }

    /// Watches the events of a key, prefix=, start= and end=, or all keys, written by any process.
    /// Returns a Watcher, an iterator of WatchBatch.
    ///
    #[doc = watch_docs!()]
    ///
    /// Raises InvalidArgumentError (an empty range), CompactedError (start_revision is below the
    /// compacted revision, which the exception carries).
    #[pyo3(
        signature = (key=OptionalArg::default(), **options),
        // generated from bindings/vocabulary/vocabulary.toml: watch
        text_signature = "($self, key=..., *, prefix=..., start=..., end=..., start_revision=0, prev_kv=False, no_put=False, no_delete=False, progress=False)"
        // end of generated
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
                read_store(py, &self.db, move |db| db.watch(watch))?,
            ))
        })
    }

    /// Grants a lease of ttl_seconds (raised to lease_ttl_min_seconds) with this id; 0: the store
    /// chooses one. Returns a LeaseGrantResponse. The lease is not kept alive; see lease().
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

    /// Revokes a lease: its keys are deleted in one revision, by ascending key. Returns a
    /// LeaseRevokeResponse. Raises LeaseNotFoundError, and as put().
    fn lease_revoke(&self, py: Python<'_>, id: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        guard(|| run(py, &self.db, LeaseRevoke::new(int("id", id)?)))
    }

    /// Renews a lease once. It takes no lock and writes nothing to the disk. ttl_seconds of the
    /// LeaseKeepAliveResponse is 0 if the lease does not exist or has expired. Raises
    /// ReadOnlyError.
    fn lease_keep_alive(
        &self,
        py: Python<'_>,
        id: &Bound<'_, PyAny>,
    ) -> PyResult<Py<LeaseKeepAliveResponse>> {
        guard(|| {
            let id = int("id", id)?;
            read_store(py, &self.db, move |db| db.lease_keep_alive(id))?.into_python(py)
        })
    }

    /// Returns the remaining TTL of a lease in a LeaseTimeToLiveResponse, and with keys the keys
    /// that are attached to it. ttl_seconds is -1 if there is no such lease.
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
            read_store(py, &self.db, move |db| db.lease_time_to_live(request))?.into_python(py)
        })
    }

    /// The ids of all leases, the next to expire first.
    fn lease_list(&self, py: Python<'_>) -> PyResult<Vec<i64>> {
        guard(|| read_store(py, &self.db, libkv::Db::lease_list))
    }

    /// Grants a lease of ttl_seconds and keeps it alive until its handle, a Lease, is closed or
    /// collected, which revokes it. With end_with_process it also ends within 500 ms after this
    /// process has ended; otherwise after its TTL. Raises as lease_grant().
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

    /// Returns a Lock with this name (bytes, a buffer or str), not acquired yet. If its process is
    /// stopped and does not keep its lease alive, the lock is freed after ttl_seconds. Raises
    /// InvalidArgumentError for an empty name.
    fn lock(&self, name: &Bound<'_, PyAny>, ttl_seconds: &Bound<'_, PyAny>) -> PyResult<Lock> {
        guard(|| Claim::new(&self.db, name, ttl_seconds).map(Lock::new))
    }

    /// Returns an Election with this name, without a campaign. Arguments and exceptions as lock().
    fn election(
        &self,
        name: &Bound<'_, PyAny>,
        ttl_seconds: &Bound<'_, PyAny>,
    ) -> PyResult<Election> {
        guard(|| Claim::new(&self.db, name, ttl_seconds).map(Election::new))
    }

    /// Returns a list of the active alarms (AlarmMember), by kind and member. An alarm stays active
    /// until it is disarmed, also over a restart, and is valid for every process that writes.
    fn alarm_list(&self, py: Python<'_>) -> PyResult<Py<PyList>> {
        guard(|| list(py, detached(py, || self.db.alarm_list())?))
    }

    /// Activates an alarm of this kind, "nospace" or "corrupt", of any member, and returns it in a
    /// list. Programs seldom need it: a store opened with limits="etcd" activates "nospace"
    /// automatically.
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

    /// Disarms the alarms of this member (0: of all) and of this kind (None: of all). Returns a
    /// list of those that were active (AlarmMember). Free space first; otherwise the next put
    /// activates "nospace" again.
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

    /// Turns authentication on: a server of this store then checks every call of a client against
    /// users and roles. A process that opens the directory needs no user. No effect if it is on.
    /// Returns the store's revision, which calls about users and roles do not change.
    ///
    /// Raises FailedPreconditionError without a user "root" that has the role "root", and as put().
    fn auth_enable(&self, py: Python<'_>) -> PyResult<i64> {
        guard(|| auth::change(py, &self.db, Auth::Enable))
    }

    /// Turns authentication off. Users and roles are kept. Returns the store's revision.
    fn auth_disable(&self, py: Python<'_>) -> PyResult<i64> {
        guard(|| auth::change(py, &self.db, Auth::Disable))
    }

    /// Returns an AuthStatus: whether authentication is on, and the revision of users and roles.
    fn auth_status(&self, py: Python<'_>) -> PyResult<Py<AuthStatus>> {
        guard(|| read_store(py, &self.db, libkv::Db::auth_status)?.into_python(py))
    }

    /// Creates a user with a password, or with no_password=True one that logs in with a client
    /// certificate only. The name has 1 to 400 bytes, the password at most 72. It is hashed with
    /// bcrypt first, which takes about 50 ms. Returns the store's revision.
    ///
    /// Raises FailedPreconditionError (the user exists), InvalidArgumentError, and as put().
    #[pyo3(
        signature = (name, password=None, **options),
        text_signature = "($self, name, password=None, *, no_password=False)"
    )]
    fn user_add(
        &self,
        py: Python<'_>,
        name: &Bound<'_, PyAny>,
        password: Option<&Bound<'_, PyAny>>,
        options: Option<&Dict<'_>>,
    ) -> PyResult<i64> {
        guard(|| auth::change(py, &self.db, auth::user_add(name, password, options)?))
    }

    /// Returns the names of the roles of a user, sorted. Raises FailedPreconditionError if there is
    /// no such user.
    fn user_get(&self, py: Python<'_>, name: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
        guard(|| Ok(auth::run(py, &self.db, Auth::UserGet(text("name", name)?))?.roles))
    }

    /// Returns the names of all users, sorted.
    fn user_list(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        guard(|| Ok(auth::run(py, &self.db, Auth::UserList)?.users))
    }

    /// Removes a user. Returns the store's revision. Raises FailedPreconditionError if there is no
    /// such user, InvalidArgumentError for "root" while authentication is on, and as put().
    fn user_delete(&self, py: Python<'_>, name: &Bound<'_, PyAny>) -> PyResult<i64> {
        guard(|| auth::change(py, &self.db, Auth::UserDelete(text("name", name)?)))
    }

    /// Changes the password of a user, whose tokens become invalid. Returns the store's revision.
    /// Raises FailedPreconditionError if there is no such user, InvalidArgumentError for a password
    /// over 72 bytes, and as put().
    fn user_change_password(
        &self,
        py: Python<'_>,
        name: &Bound<'_, PyAny>,
        password: &Bound<'_, PyAny>,
    ) -> PyResult<i64> {
        guard(|| {
            let name = text("name", name)?;
            let password = text("password", password)?.into();
            auth::change(py, &self.db, Auth::UserChangePassword { name, password })
        })
    }

    /// Grants a role to a user; no effect if the user has it. The role "root", which permits
    /// everything, need not be created first. Returns the store's revision. Raises
    /// FailedPreconditionError if there is no such user or role, and as put().
    fn user_grant_role(
        &self,
        py: Python<'_>,
        name: &Bound<'_, PyAny>,
        role: &Bound<'_, PyAny>,
    ) -> PyResult<i64> {
        guard(|| {
            let (name, role) = (text("name", name)?, text("role", role)?);
            auth::change(py, &self.db, Auth::UserGrantRole { name, role })
        })
    }

    /// Takes a role from a user. Returns the store's revision. Raises FailedPreconditionError if
    /// there is no such user or it does not have the role, InvalidArgumentError for the role "root"
    /// of "root" while authentication is on, and as put().
    fn user_revoke_role(
        &self,
        py: Python<'_>,
        name: &Bound<'_, PyAny>,
        role: &Bound<'_, PyAny>,
    ) -> PyResult<i64> {
        guard(|| {
            let (name, role) = (text("name", name)?, text("role", role)?);
            auth::change(py, &self.db, Auth::UserRevokeRole { name, role })
        })
    }

    /// Creates a role without permissions. Returns the store's revision. Raises
    /// FailedPreconditionError if it exists, InvalidArgumentError for a name that is empty or over
    /// 400 bytes, and as put().
    fn role_add(&self, py: Python<'_>, role: &Bound<'_, PyAny>) -> PyResult<i64> {
        guard(|| auth::change(py, &self.db, Auth::RoleAdd(text("role", role)?)))
    }

    /// Returns a list of the permissions of a role (Permission), by key. The role "root" always has
    /// one: all keys. Raises FailedPreconditionError if there is no such role.
    fn role_get(&self, py: Python<'_>, role: &Bound<'_, PyAny>) -> PyResult<Py<PyList>> {
        guard(|| {
            let request = Auth::RoleGet(text("role", role)?);
            list(py, auth::run(py, &self.db, request)?.permissions)
        })
    }

    /// Returns the names of all roles, sorted. "root" is one of them only if it was created.
    fn role_list(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        guard(|| Ok(auth::run(py, &self.db, Auth::RoleList)?.roles))
    }

    /// Removes a role, also from every user that has it. Returns the store's revision. Raises
    /// FailedPreconditionError if there is no such role, InvalidArgumentError for "root" while
    /// authentication is on, and as put().
    fn role_delete(&self, py: Python<'_>, role: &Bound<'_, PyAny>) -> PyResult<i64> {
        guard(|| auth::change(py, &self.db, Auth::RoleDelete(text("role", role)?)))
    }

    /// Adds a permission to a role: type is "read", "write" or "readwrite", for one key, or
    /// prefix=, or start= and end=; prefix="" is all keys. A Permission can replace these arguments.
    /// The permission of the role with the same range, if any, is replaced. Returns the store's
    /// revision.
    ///
    /// Raises FailedPreconditionError (no such role), InvalidArgumentError (an empty range), and as
    /// put().
    #[pyo3(
        signature = (role, r#type, key=OptionalArg::default(), **options),
        text_signature = "($self, role, type, key=..., *, prefix=..., start=..., end=...)"
    )]
    fn role_grant_permission(
        &self,
        py: Python<'_>,
        role: &Bound<'_, PyAny>,
        r#type: &Bound<'_, PyAny>,
        key: OptionalArg<'_>,
        options: Option<&Dict<'_>>,
    ) -> PyResult<i64> {
        guard(|| {
            let role = text("role", role)?;
            let permission = auth::permission(r#type, key, options)?;
            auth::change(py, &self.db, Auth::RoleGrantPermission { role, permission })
        })
    }

    /// Removes the permission with exactly this range from a role; a Permission of role_get() can
    /// be passed. Returns the store's revision. Raises FailedPreconditionError if there is no such
    /// role or permission, and as put().
    #[pyo3(
        signature = (role, key=OptionalArg::default(), **options),
        text_signature = "($self, role, key=..., *, prefix=..., start=..., end=...)"
    )]
    fn role_revoke_permission(
        &self,
        py: Python<'_>,
        role: &Bound<'_, PyAny>,
        key: OptionalArg<'_>,
        options: Option<&Dict<'_>>,
    ) -> PyResult<i64> {
        guard(|| {
            let (role, range) = (text("role", role)?, auth::revoked_range(key, options)?);
            auth::change(py, &self.db, Auth::RoleRevokePermission { role, range })
        })
    }

    /// Returns a Status: revisions, sizes, the holder of the write lock, the oldest reader.
    fn status(&self, py: Python<'_>) -> PyResult<Py<Status>> {
        guard(|| read_store(py, &self.db, libkv::Db::status)?.into_python(py))
    }

    /// Reads the whole store and verifies every invariant; writers can continue meanwhile. Takes as
    /// long as reading all data. Returns a CheckReport, whose problems are empty if the store is
    /// consistent.
    fn check(&self, py: Python<'_>) -> PyResult<Py<CheckReport>> {
        guard(|| read_store(py, &self.db, libkv::Db::check)?.into_python(py))
    }

    /// Returns the hash of all events up to a revision (0: the current one) in a HashKvResponse, as
    /// etcd computes it: two stores or members with the same history and the same compacted
    /// revision have the same hash. It reads all of the history; writers can continue. A cluster's
    /// hash is that of the member that responds.
    ///
    /// Raises CompactedError, FutureRevisionError, InvalidArgumentError (a negative revision).
    #[pyo3(signature = (revision=None), text_signature = "($self, revision=0)")]
    fn hash_kv(
        &self,
        py: Python<'_>,
        revision: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<HashKvResponse>> {
        guard(|| {
            let revision = revision.map_or(Ok(0), |revision| int("revision", revision))?;
            read_store(py, &self.db, move |db| db.hash_kv(revision))?.into_python(py)
        })
    }

    /// Returns the members of the cluster, a list of Member. A store is one member without name and
    /// URLs, with the id that its server shows.
    fn member_list(&self, py: Python<'_>) -> PyResult<Py<PyList>> {
        guard(|| list(py, read_store(py, &self.db, libkv::Db::member_list)?))
    }

    /// Adds a member with these URLs (an iterable of str) to the cluster. Returns it, a Member, with
    /// its new id. Its process is started afterwards. A learner has no vote until member_promote().
    /// A voter counts for the quorum at once: in a cluster of one, writes wait until it has started.
    ///
    /// Raises UnsupportedError for a store (the message explains how to move to a cluster),
    /// InvalidArgumentError (URLs that cannot be read), FailedPreconditionError (URLs of another
    /// member, a learner too many, members that are not healthy), UnknownOutcomeError.
    #[pyo3(signature = (peer_urls, **options), text_signature = "($self, peer_urls, *, learner=False)")]
    fn member_add(
        &self,
        py: Python<'_>,
        peer_urls: &Bound<'_, PyAny>,
        options: Option<&Dict<'_>>,
    ) -> PyResult<Py<Member>> {
        guard(|| {
            let urls = member::urls(peer_urls)?;
            let learner = only_option("member_add", options, "learner", flag)?.unwrap_or(false);
            read_store(py, &self.db, move |db| db.member_add(urls, learner))?.into_python(py)
        })
    }

    /// Removes a member from the cluster.
    ///
    /// Raises UnsupportedError for a store, NotFoundError (the member), FailedPreconditionError (too
    /// few members would be left), UnknownOutcomeError.
    fn member_remove(&self, py: Python<'_>, id: &Bound<'_, PyAny>) -> PyResult<()> {
        guard(|| {
            let id = unsigned("id", id)?;
            read_store(py, &self.db, move |db| db.member_remove(id))
        })
    }

    /// Replaces the peer URLs of a member by these (an iterable of str). Raises as member_add(), and
    /// NotFoundError (the member).
    fn member_update(
        &self,
        py: Python<'_>,
        id: &Bound<'_, PyAny>,
        peer_urls: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        guard(|| {
            let (id, urls) = (unsigned("id", id)?, member::urls(peer_urls)?);
            read_store(py, &self.db, move |db| db.member_update(id, urls))
        })
    }

    /// Gives a learner its vote.
    ///
    /// Raises UnsupportedError for a store, NotFoundError (the member), FailedPreconditionError (it
    /// is no learner, or it has not yet received what was written), UnknownOutcomeError.
    fn member_promote(&self, py: Python<'_>, id: &Bound<'_, PyAny>) -> PyResult<()> {
        guard(|| {
            let id = unsigned("id", id)?;
            read_store(py, &self.db, move |db| db.member_promote(id))
        })
    }

    /// Makes a member the leader of its cluster. For a store, its own id has no effect. Raises
    /// FailedPreconditionError (no such member, a learner), UnknownOutcomeError.
    fn move_leader(&self, py: Python<'_>, id: &Bound<'_, PyAny>) -> PyResult<()> {
        guard(|| {
            let id = unsigned("id", id)?;
            read_store(py, &self.db, move |db| db.move_leader(id))
        })
    }

    /// Writes a snapshot of the store to a new file, which etcd and restore() can read: all events
    /// that are kept, the leases and the compacted revision, as of one moment. Returns the revision
    /// of the snapshot. The file is complete or not there; writers can continue meanwhile. path is
    /// str, bytes or any os.PathLike.
    ///
    /// Raises ExistsError (the file), NotFoundError and PermissionDeniedError (its directory),
    /// FullError, IoError, UnsupportedError (a cluster, or a build without the feature etcd).
    fn snapshot_save(&self, py: Python<'_>, path: &Bound<'_, PyAny>) -> PyResult<i64> {
        guard(|| {
            let path = self::path("path", path)?;
            read_store(py, &self.db, move |db| member::save(db, &path))
        })
    }

    /// Closes the store: every later call, also on the objects created from it, raises ClosedError.
    /// Calls of other threads that are under way are completed. A second close has no effect.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        guard(|| {
            detached(py, || {
                self.db.close();
                Ok(())
            })
        })
    }

    /// Whether the store is closed, or was opened before a fork().
    #[getter]
    fn closed(&self) -> bool {
        self.db.is_closed()
    }

    /// Whether it is a cluster, whose reads wait as well, for libkv.aio.
    #[getter]
    fn _is_remote(&self) -> bool {
        self.db.is_remote()
    }

    /// Begins one attempt of a transaction, for libkv.aio.
    fn _transaction(&self) -> Transaction {
        Transaction::new(&self.db)
    }

    /// A claim of a name, for libkv.aio.
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

    /// Submits the request of lease() for libkv.aio. The future is woken when the response is
    /// there.
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
            Ok(mailbox
                .get()
                .submit_and_keep(&self.db, grant.into(), future))
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
