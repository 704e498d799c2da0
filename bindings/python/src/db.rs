//! The handle of a store.

use std::path::{Path, PathBuf};

use libkv::{
    Code, Compact, Error, KeyRange, LeaseRevoke, LeaseTimeToLive, PairRef, Request, Response,
};
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::claim::{AsyncClaim, Claim, Election, Lock};
use crate::convert::{Dict, Given, Keys, alarm_kind, bytes, each_option, flag, int};
use crate::error::raise;
use crate::follow::Watcher;
#[cfg(feature = "etcd")]
use crate::guard::elsewhere;
use crate::guard::{ask, call, detached, guard, not_pickled};
use crate::handle::Handle;
use crate::lease::{self, Lease};
use crate::options::unsigned;
use crate::pairs::Packed;
use crate::request;
use crate::request_options::{delete_docs, put_docs, range_docs, watch_docs};
use crate::response::{
    CheckReport, CompactResponse, DeleteResponse, IntoPython, KeyValue, LeaseGrantResponse,
    LeaseKeepAliveResponse, LeaseRevokeResponse, LeaseTimeToLiveResponse, PutResponse,
    RangeResponse, Status, TxnResponse, list, pair_of,
};
use crate::scan::{DiffScan, EventScan, Scan};
use crate::snapshot::Snapshot;
use crate::transact::{self, Transaction};
use crate::{options, submit};

/// Values up to this size go from the store to the caller's buffer without an allocation.
const ON_STACK_BYTES: usize = 1_024;

macro_rules! pick {
    ($kind:ident) => {
        |response| {
            if let Response::$kind(response) = response {
                Some(response)
            } else {
                None
            }
        }
    };
}

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
}

/// A cluster is dialled on another thread, so that Ctrl-C ends the wait.
#[cfg(feature = "etcd")]
fn open(py: Python<'_>, path: &Path, options: libkv::Options) -> PyResult<libkv::Db> {
    if !path.to_str().is_some_and(libkv_etcd::is_cluster) {
        return detached(py, || libkv_etcd::open(path, options));
    }
    let address = path.to_owned();
    elsewhere(py, move || libkv_etcd::open(address, options))
}

/// A cluster's address is refused with `unsupported`.
#[cfg(not(feature = "etcd"))]
fn open(py: Python<'_>, path: &Path, options: libkv::Options) -> PyResult<libkv::Db> {
    detached(py, || libkv::Db::open(path, options))
}

/// One key at a revision (0: now). Holds the interpreter: a read of one key waits for nobody and takes
/// less time than to give the interpreter away.
#[inline]
pub fn get<'py>(
    db: &libkv::Db,
    key: &Bound<'py, PyAny>,
    revision: i64,
) -> PyResult<Option<Py<KeyValue>>> {
    let py = key.py();
    let name = bytes("key", key)?;
    let found = match db.is_remote() {
        true => remote_get(py, db, &name, revision)?,
        false if revision == 0 => db.get(&name).map_err(raise)?,
        false => db.get_at(&name, revision).map_err(raise)?,
    };
    let Some(kv) = found else { return Ok(None) };
    let key = match key.cast::<PyBytes>() {
        Ok(key) => key.clone().unbind(),
        Err(_) => PyBytes::new(py, &kv.key).unbind(),
    };
    pair_of(py, key, PairRef::from(&kv)).map(Some)
}

/// One key of a cluster, as a request: without the interpreter, and Ctrl-C ends the wait.
#[cold]
fn remote_get(
    py: Python<'_>,
    db: &libkv::Db,
    key: &[u8],
    revision: i64,
) -> PyResult<Option<libkv::KeyValue>> {
    match call(py, db, libkv::Range::new(key).revision(revision.max(0)))? {
        Response::Range(response) => Ok(response.kvs.into_iter().next()),
        _ => Err(wrong_response()),
    }
}

/// The pairs of a range, read without the interpreter.
pub fn range(py: Python<'_>, db: &libkv::Db, request: libkv::Range) -> PyResult<Py<RangeResponse>> {
    if db.is_remote() {
        return write(py, db, request, pick!(Range));
    }
    let (response, packed) = detached(py, || {
        let mut packed = Packed::default();
        let response = db.range_each(&request, |pair| packed.push(pair))?;
        Ok((response, packed))
    })?;
    crate::response::range(py, &response, packed)
}

/// Reads the only keyword of get().
pub fn revision(call: &str, options: Option<&Dict<'_>>) -> PyResult<i64> {
    let mut revision = 0;
    each_option(call, options, &["revision"], |name, given| {
        revision = int(name, given)?;
        Ok(())
    })?;
    Ok(revision)
}

fn keys(call: &str, key: Given<'_>, options: Option<&Dict<'_>>) -> PyResult<KeyRange> {
    let mut keys = Keys::new(key.0);
    each_option(call, options, &["prefix", "start", "end"], |name, given| {
        keys.take(name, given);
        Ok(())
    })?;
    Ok(keys.range(call)?.unwrap_or_else(KeyRange::all))
}

/// The answer as the class that it must have.
fn answered<T: IntoPython>(
    py: Python<'_>,
    response: Response,
    pick: fn(Response) -> Option<T>,
) -> PyResult<Py<T::Class>> {
    pick(response).ok_or_else(wrong_response)?.into_python(py)
}

fn wrong_response() -> PyErr {
    raise(Error::new(
        Code::Internal,
        "the engine returned the response of another kind of request",
    ))
}

fn write<T: IntoPython>(
    py: Python<'_>,
    db: &libkv::Db,
    request: impl Into<Request>,
    pick: fn(Response) -> Option<T>,
) -> PyResult<Py<T::Class>> {
    answered(py, call(py, db, request)?, pick)
}

/// A txn that is run like any write; shared with transact().
pub fn run_txn(py: Python<'_>, db: &libkv::Db, txn: libkv::Txn) -> PyResult<libkv::TxnResponse> {
    let pick: fn(Response) -> Option<libkv::TxnResponse> = pick!(Txn);
    let response = call(py, db, txn)?;
    pick(response).ok_or_else(wrong_response)
}

#[pymethods]
impl Db {
    /// Writes one key; the store's revision rises by 1.
    ///
    /// key and value are bytes, any contiguous buffer, or str (as UTF-8). A Put may stand in place of all.
    ///
    #[doc = put_docs!()]
    ///
    /// Waits for the writer's lock and the disk, without the interpreter. Raises
    /// InvalidArgumentError, TooLargeError, KeyNotFoundError (ignore_… on a missing key),
    /// LeaseNotFoundError, ReadOnlyError, BusyError, FullError, IoError: nothing is written then. Only
    /// after UnknownOutcomeError may it be.
    #[pyo3(
        signature = (key, value=Given::default(), **options),
        // generated from bindings/vocabulary/vocabulary.toml: put
        text_signature = "($self, key, value=b'', *, lease=0, prev_kv=False, ignore_value=False, ignore_lease=False, durability=None)"
        // end of generated
    )]
    fn put(
        &self,
        py: Python<'_>,
        key: &Bound<'_, PyAny>,
        value: Given<'_>,
        options: Option<&Dict<'_>>,
    ) -> PyResult<Py<PutResponse>> {
        guard(|| write(py, &self.db, request::put(key, value, options)?, pick!(Put)))
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
        guard(|| get(&self.db, key, revision("get", options)?))
    }

    /// The value of one key into a writable buffer of bytes; the length of the value, or None if there
    /// is no such key. If the buffer is too small nothing is copied, and the length needed is answered.
    fn get_into(
        &self,
        key: &Bound<'_, PyAny>,
        buffer: &Bound<'_, PyAny>,
    ) -> PyResult<Option<usize>> {
        guard(|| {
            let room = PyBuffer::<u8>::get(buffer).map_err(|_| {
                crate::convert::wrong_type("buffer", "a writable buffer of bytes", buffer)
            })?;
            get_into(&self.db, &bytes("key", key)?, &room, buffer)
        })
    }

    /// The pairs of a range at one revision, in one answer: iterate it, or read its kvs.
    ///
    /// Which keys: key for one, or prefix=, or start= and end= (end is outside; without it, from start
    /// on); nothing for all. A Range may stand in place of all.
    ///
    #[doc = range_docs!()]
    ///
    /// Raises InvalidArgumentError, CompactedError, FutureRevisionError. Everything is held in memory:
    /// scan() walks a large range.
    #[pyo3(
        signature = (key=Given::default(), **options),
        // generated from bindings/vocabulary/vocabulary.toml: range
        text_signature = "($self, key=..., *, prefix=..., start=..., end=..., revision=0, limit=0, sort_order='none', sort_target='key', keys_only=False, count_only=False, min_mod_revision=0, max_mod_revision=0, min_create_revision=0, max_create_revision=0, serializable=False)"
        // end of generated
    )]
    fn range(
        &self,
        py: Python<'_>,
        key: Given<'_>,
        options: Option<&Dict<'_>>,
    ) -> PyResult<Py<RangeResponse>> {
        guard(|| range(py, &self.db, request::range("range", key, options)?))
    }

    /// An iterator over the pairs of a range by key, all at one revision. It reads page by page, holds
    /// no transaction between steps, and never counts. Arguments as range().
    ///
    /// Raises InvalidArgumentError for count_only and for sorting by anything but the ascending key; a
    /// step raises CompactedError if a compaction has passed the scan's revision.
    #[pyo3(
        signature = (key=Given::default(), **options),
        // generated from bindings/vocabulary/vocabulary.toml: range
        text_signature = "($self, key=..., *, prefix=..., start=..., end=..., revision=0, limit=0, sort_order='none', sort_target='key', keys_only=False, count_only=False, min_mod_revision=0, max_mod_revision=0, min_create_revision=0, max_create_revision=0, serializable=False)"
        // end of generated
    )]
    fn scan(&self, key: Given<'_>, options: Option<&Dict<'_>>) -> PyResult<Scan> {
        guard(|| {
            let request = request::range("scan", key, options)?;
            Ok(Scan::new(&self.db, self.db.scan(request).map_err(raise)?))
        })
    }

    /// Deletes one key, or those of prefix=, or of start= and end=; prefix="" deletes all. The revision
    /// rises by 1 if there was any. A Delete may stand in place of all.
    ///
    #[doc = delete_docs!()]
    ///
    /// Waits and raises as put().
    #[pyo3(
        signature = (key=Given::default(), **options),
        // generated from bindings/vocabulary/vocabulary.toml: delete
        text_signature = "($self, key=..., *, prefix=..., start=..., end=..., prev_kv=False, durability=None)"
        // end of generated
    )]
    fn delete(
        &self,
        py: Python<'_>,
        key: Given<'_>,
        options: Option<&Dict<'_>>,
    ) -> PyResult<Py<DeleteResponse>> {
        guard(|| write(py, &self.db, request::delete(key, options)?, pick!(Delete)))
    }

    /// Compares, then runs one of two lists of operations in one revision, or nothing at all.
    ///
    /// compare is an iterable of Compare; success and failure of Put, Range, Delete and Txn. A Txn may
    /// stand in place of all. Waits and raises as put(), and DuplicateKeyError, TooManyOpsError,
    /// CompactedError, FutureRevisionError.
    #[pyo3(
        signature = (txn=Given::default(), **options),
        text_signature = "($self, txn=..., *, compare=(), success=(), failure=(), durability=None)"
    )]
    fn txn(
        &self,
        py: Python<'_>,
        txn: Given<'_>,
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
    ) -> PyResult<Py<CompactResponse>> {
        guard(|| write(py, &self.db, compaction(revision, options)?, pick!(Compact)))
    }

    /// A view of one revision; 0 is the current one. It holds no resource, and no compaction back: once
    /// one has passed it, its calls raise CompactedError. Raises CompactedError, FutureRevisionError.
    #[pyo3(signature = (revision=None), text_signature = "($self, revision=0)")]
    fn snapshot(&self, py: Python<'_>, revision: Option<&Bound<'_, PyAny>>) -> PyResult<Snapshot> {
        guard(|| {
            let revision = revision.map_or(Ok(0), |revision| int("revision", revision))?;
            Ok(Snapshot::new(
                &self.db,
                ask(py, &self.db, move |db| db.snapshot_at(revision))?,
            ))
        })
    }

    /// As snapshot(revision).
    fn snapshot_at(&self, py: Python<'_>, revision: &Bound<'_, PyAny>) -> PyResult<Snapshot> {
        guard(|| {
            let revision = int("revision", revision)?;
            Ok(Snapshot::new(
                &self.db,
                ask(py, &self.db, move |db| db.snapshot_at(revision))?,
            ))
        })
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
            let mut limit = 0;
            each_option("history", options, &["limit"], |name, given| {
                limit = int(name, given)?;
                Ok(())
            })?;
            crate::response::list(py, ask(py, &self.db, move |db| db.history(&key, limit))?)
        })
    }

    /// An iterator over the events with after < revision <= upto (0: the current one), in the order
    /// they happened, of a key, prefix=, start= and end=, or all. prev_kv is not filled.
    ///
    /// A step raises CompactedError if after lies below the compacted revision, FutureRevisionError if
    /// upto has not been written.
    #[pyo3(
        signature = (after, upto=None, key=Given::default(), **options),
        text_signature = "($self, after, upto=0, key=..., *, prefix=..., start=..., end=...)"
    )]
    fn events(
        &self,
        after: &Bound<'_, PyAny>,
        upto: Option<&Bound<'_, PyAny>>,
        key: Given<'_>,
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
        signature = (a, b=None, key=Given::default(), **options),
        text_signature = "($self, a, b=0, key=..., *, prefix=..., start=..., end=...)"
    )]
    fn diff(
        &self,
        py: Python<'_>,
        a: &Bound<'_, PyAny>,
        b: Option<&Bound<'_, PyAny>>,
        key: Given<'_>,
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
            let time = crate::convert::time("time", time)?;
            ask(py, &self.db, move |db| db.revision_at(time))
        })
    }

    /// Follows the events of a key, prefix=, start= and end=, or of all, by whichever process they are written: a
    /// Watcher, which is an iterator of WatchBatch.
    ///
    #[doc = watch_docs!()]
    ///
    /// Raises InvalidArgumentError (a range that ends at or before its beginning), CompactedError (start_revision
    /// lies below the compacted revision, which the exception carries).
    #[pyo3(
        signature = (key=Given::default(), **options),
        // generated from bindings/vocabulary/vocabulary.toml: watch
        text_signature = "($self, key=..., *, prefix=..., start=..., end=..., start_revision=0, prev_kv=False, no_put=False, no_delete=False, progress=False)"
        // end of generated
    )]
    fn watch(
        &self,
        py: Python<'_>,
        key: Given<'_>,
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
    ) -> PyResult<Py<LeaseGrantResponse>> {
        guard(|| {
            write(
                py,
                &self.db,
                lease::grant(ttl_seconds, options)?,
                pick!(LeaseGrant),
            )
        })
    }

    /// Revokes a lease: its keys are deleted in one revision, by ascending key. Raises LeaseNotFoundError, and as
    /// put().
    fn lease_revoke(
        &self,
        py: Python<'_>,
        id: &Bound<'_, PyAny>,
    ) -> PyResult<Py<LeaseRevokeResponse>> {
        guard(|| {
            write(
                py,
                &self.db,
                LeaseRevoke { id: int("id", id)? },
                pick!(LeaseRevoke),
            )
        })
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
            let (id, mut keys) = (int("id", id)?, false);
            each_option("lease_time_to_live", options, &["keys"], |name, given| {
                keys = flag(name, given)?;
                Ok(())
            })?;
            ask(py, &self.db, move |db| {
                db.lease_time_to_live(LeaseTimeToLive::new(id).keys(keys))
            })?
            .into_python(py)
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
            let grant = lease::kept_grant(ttl_seconds, options)?;
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
            let (kind, mut member) = (alarm_kind("kind", kind)?, 0);
            each_option("alarm_activate", options, &["member"], |name, given| {
                member = unsigned(name, given)?;
                Ok(())
            })?;
            list(py, detached(py, || self.db.alarm_activate(kind, member))?)
        })
    }

    /// Ends alarms: those of this member (0: of every member) and of this kind (None: of every kind). Answers those
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
                        _ => {
                            kind = if given.is_none() {
                                None
                            } else {
                                Some(alarm_kind(name, given)?)
                            }
                        }
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

    /// Asks for the lease of lease(), for libkv.aio: the future is woken when the answer is there.
    #[pyo3(signature = (ttl_seconds, responses, future, **options))]
    fn _ask_lease(
        slf: &Bound<'_, Self>,
        ttl_seconds: &Bound<'_, PyAny>,
        responses: &Bound<'_, submit::Answers>,
        future: &Bound<'_, PyAny>,
        options: Option<&Dict<'_>>,
    ) -> PyResult<submit::Asked> {
        guard(|| {
            let grant = lease::kept_grant(ttl_seconds, options)?;
            Ok(responses.get().ask(&slf.get().db, grant.into(), future))
        })
    }

    /// As _submit, for lease_grant().
    #[pyo3(signature = (ttl_seconds, responses, future, **options))]
    fn _submit_grant(
        slf: &Bound<'_, Self>,
        ttl_seconds: &Bound<'_, PyAny>,
        responses: &Bound<'_, submit::Answers>,
        future: &Bound<'_, PyAny>,
        options: Option<&Dict<'_>>,
    ) -> PyResult<submit::Submitted> {
        guard(|| {
            let grant = lease::grant(ttl_seconds, options)?;
            Ok(responses.get().submit(&slf.get().db, grant.into(), future))
        })
    }

    /// As _submit, for lease_revoke().
    fn _submit_revoke(
        slf: &Bound<'_, Self>,
        id: &Bound<'_, PyAny>,
        responses: &Bound<'_, submit::Answers>,
        future: &Bound<'_, PyAny>,
    ) -> PyResult<submit::Submitted> {
        guard(|| {
            let revoke = LeaseRevoke { id: int("id", id)? };
            Ok(responses.get().submit(&slf.get().db, revoke.into(), future))
        })
    }

    /// Hands a write over without waiting, for libkv.aio: the answer goes to the future.
    fn _submit(
        slf: &Bound<'_, Self>,
        request: &Bound<'_, PyAny>,
        responses: &Bound<'_, submit::Answers>,
        future: &Bound<'_, PyAny>,
    ) -> PyResult<submit::Submitted> {
        guard(|| {
            Ok(responses
                .get()
                .submit(&slf.get().db, request::request(request)?, future))
        })
    }

    /// As _submit, for compact().
    fn _submit_compact(
        slf: &Bound<'_, Self>,
        revision: &Bound<'_, PyAny>,
        physical: &Bound<'_, PyAny>,
        responses: &Bound<'_, submit::Answers>,
        future: &Bound<'_, PyAny>,
    ) -> PyResult<submit::Submitted> {
        guard(|| {
            let compact = Compact {
                revision: int("revision", revision)?,
                physical: flag("physical", physical)?,
            };
            Ok(responses
                .get()
                .submit(&slf.get().db, compact.into(), future))
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

fn compaction(revision: &Bound<'_, PyAny>, options: Option<&Dict<'_>>) -> PyResult<Compact> {
    let mut compact = Compact::new(int("revision", revision)?);
    each_option("compact", options, &["physical"], |name, given| {
        compact.physical = flag(name, given)?;
        Ok(())
    })?;
    Ok(compact)
}

fn get_into(
    db: &libkv::Db,
    key: &[u8],
    room: &PyBuffer<u8>,
    buffer: &Bound<'_, PyAny>,
) -> PyResult<Option<usize>> {
    if room.readonly() {
        return Err(PyTypeError::new_err(
            "buffer must be writable (a bytearray, or a memoryview of one)",
        ));
    }
    let remote = db
        .is_remote()
        .then(|| remote_get(buffer.py(), db, key, 0))
        .transpose()?;
    // the cells are this thread's alone while it holds the interpreter: there is no free-threaded
    // build of this module (abi3), and nothing runs Python code while they are written
    #[allow(deprecated)]
    let cells = room
        .as_mut_slice(buffer.py())
        .ok_or_else(|| PyValueError::new_err("buffer must be contiguous"))?;
    let copy = |value: &[u8]| {
        if let Some(place) = cells.get(..value.len()) {
            place
                .iter()
                .zip(value)
                .for_each(|(cell, byte)| cell.set(*byte));
        }
        value.len()
    };
    if let Some(found) = remote {
        return Ok(found.map(|kv| copy(&kv.value)));
    }
    let mut small = [0; ON_STACK_BYTES];
    match db.get_into(key, &mut small).map_err(raise)? {
        Some(len) if len > small.len() => Ok(db.get(key).map_err(raise)?.map(|kv| copy(&kv.value))),
        found => Ok(found.map(|len| copy(&small[..len]))),
    }
}
