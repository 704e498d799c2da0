//! What calls answer: frozen values with readable fields, `==` and a `repr`, made of their fields: so pickle and
//! copy make them again.

use libkv::{EventKind, OpResponse, PairRef, Response};
use pyo3::IntoPyObjectExt;
use pyo3::basic::CompareOp;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyIterator, PyList, PyString, PyTuple, PyType};

use crate::convert::{alarm_name, durability_name};
use crate::guard::guard;
use crate::pairs::{KeyValues, Packed};

/// Declares a value: its fields are attributes; it is made, compared, hashed, pickled and shown by them.
///
/// Bytes are made at once, not on demand: pyo3 reads a field that is a Python object without a
/// call, and nothing keeps the page of the store's answer alive. `kept N` reuses the memory of that
/// many objects.
macro_rules! value {
    (
        $(#[$doc:meta])*
        $name:ident $(kept $kept:literal)? { $( $(#[$field_doc:meta])* $field:ident: $type:ty, )* }
        $( $methods:tt )*
    ) => {
        $(#[$doc])*
        #[pyclass(frozen, get_all, $(freelist = $kept,)? module = "libkv")]
        pub struct $name { $( $(#[$field_doc])* pub $field: $type, )* }

        impl $name {
            fn fields<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
                PyTuple::new(py, [$( (&self.$field).into_bound_py_any(py)?, )*])
            }
        }

        #[pymethods]
        impl $name {
            #[new]
            #[allow(clippy::too_many_arguments, reason = "one for each field")]
            fn new($( $field: $type, )*) -> $name {
                $name { $( $field, )* }
            }

            fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyType>, Bound<'py, PyTuple>)> {
                guard(|| Ok((slf.get_type(), slf.get().fields(slf.py())?)))
            }

            #[classattr]
            fn __match_args__(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
                PyTuple::new(py, [$( plain(stringify!($field)), )*])
            }

            fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
                guard(|| shown(stringify!($name), &[$( plain(stringify!($field)), )*], &self.fields(py)?))
            }

            fn __hash__(&self, py: Python<'_>) -> PyResult<isize> {
                guard(|| self.fields(py)?.hash())
            }

            fn __richcmp__<'py>(&self, other: &Bound<'py, PyAny>, op: CompareOp) -> PyResult<Bound<'py, PyAny>> {
                let py = other.py();
                guard(|| match (other.cast::<$name>(), op) {
                    (Ok(other), CompareOp::Eq | CompareOp::Ne) => {
                        self.fields(py)?.rich_compare(other.get().fields(py)?, op)
                    }
                    _ => Ok(py.NotImplemented().into_bound(py)),
                })
            }

            $( $methods )*
        }
    };
}

/// A field by the name that Python knows it by.
fn plain(field: &'static str) -> &'static str {
    field.trim_start_matches("r#")
}

fn shown(name: &str, names: &[&str], fields: &Bound<'_, PyTuple>) -> PyResult<String> {
    let each = names
        .iter()
        .zip(fields.iter())
        .map(|(name, field)| Ok(format!("{name}={}", field.repr()?)));
    Ok(format!(
        "{name}({})",
        each.collect::<PyResult<Vec<_>>>()?.join(", ")
    ))
}

value! {
    /// A key with its value and its place in history.
    KeyValue kept 1_024 {
        /// The key, as bytes.
        key: Py<PyBytes>,
        /// The value, as bytes; empty when only keys were asked for.
        value: Py<PyBytes>,
        /// The revision of the put that created the key, after its last deletion.
        create_revision: i64,
        /// The revision of the last put.
        mod_revision: i64,
        /// 1 at creation, one more with each put, 1 again after a deletion.
        version: i64,
        /// The id of the lease that the key hangs on, or 0.
        lease: i64,
    }
}

value! {
    /// The answer to a put.
    PutResponse {
        /// The store's revision after the put.
        revision: i64,
        /// The pair as it was before, if it was asked for and the key existed; else None.
        prev_kv: Option<Py<KeyValue>>,
    }
}

value! {
    /// The answer to a range: the pairs at one revision. Iterating it, and `len`, are those of `kvs`.
    RangeResponse {
        /// The store's revision when it was read, also when an older one was asked for.
        revision: i64,
        /// The pairs, a sequence of KeyValue.
        kvs: Py<KeyValues>,
        /// How many keys the range has at that revision, whatever the limit and the filters.
        count: i64,
        /// Whether the limit cut anything off.
        more: bool,
    }

    fn __len__(&self) -> usize {
        self.kvs.get().__len__()
    }

    fn __bool__(&self) -> bool {
        self.kvs.get().__len__() > 0
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        guard(|| self.kvs.bind(py).try_iter())
    }

    fn __getitem__<'py>(&self, index: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        guard(|| self.kvs.bind(index.py()).as_any().get_item(index))
    }
}

value! {
    /// The answer to a deletion.
    DeleteResponse {
        /// The store's revision afterwards; unchanged if nothing was deleted.
        revision: i64,
        /// How many keys went.
        deleted: i64,
        /// The pairs that went, by key, if they were asked for: a list of KeyValue.
        prev_kvs: Py<PyList>,
    }
}

value! {
    /// The answer to a txn. It is no truth value by itself: ask `succeeded`.
    TxnResponse {
        /// Whether the conditions held, and so which list ran.
        succeeded: bool,
        /// The store's revision afterwards.
        revision: i64,
        /// The answers of the operations that ran, in their order: RangeResponse, PutResponse,
        /// DeleteResponse, TxnResponse.
        responses: Py<PyList>,
    }

    fn __bool__(&self) -> PyResult<bool> {
        Err(pyo3::exceptions::PyTypeError::new_err("a TxnResponse is no truth value: ask its attribute succeeded"))
    }
}

value! {
    /// The answer to a compaction.
    CompactResponse {
        /// The store's revision: compacting does not change it.
        revision: i64,
    }
}

value! {
    /// One change of one key.
    Event {
        /// "put" or "delete".
        r#type: Py<PyString>,
        /// For a put the new pair; for a delete only key and mod_revision (of the deletion) are set.
        kv: Py<KeyValue>,
        /// The pair before the revision of this event, where it was asked for and is kept; else None.
        prev_kv: Option<Py<KeyValue>>,
    }
}

value! {
    /// What a watcher delivers at a time: all matching events of one revision. Iterating it, and `len`, are those
    /// of `events`.
    WatchBatch {
        /// The revision of the events; without events, the last one that has been looked at.
        revision: i64,
        /// The events in the order they happened in, a list of Event; empty for a sign of progress.
        events: Py<PyList>,
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        self.events.bind(py).len()
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        guard(|| self.events.bind(py).try_iter())
    }

    fn __getitem__<'py>(&self, index: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        guard(|| self.events.bind(index.py()).as_any().get_item(index))
    }
}

value! {
    /// The answer to a grant.
    LeaseGrantResponse {
        /// The store's revision: granting does not change it.
        revision: i64,
        /// The id of the lease.
        id: i64,
        /// The TTL that it got.
        ttl_seconds: i64,
    }
}

value! {
    /// The answer to a revocation.
    LeaseRevokeResponse {
        /// The store's revision afterwards; unchanged if the lease had no keys.
        revision: i64,
    }
}

value! {
    /// The answer to a keep-alive.
    LeaseKeepAliveResponse {
        /// The id of the lease.
        id: i64,
        /// The TTL that it has again, or 0: there is no such lease, or it has expired.
        ttl_seconds: i64,
    }
}

value! {
    /// What is left of a lease.
    LeaseTimeToLiveResponse {
        /// The id of the lease.
        id: i64,
        /// Whole seconds that are left, rounded down; -1 if there is no such lease.
        ttl_seconds: i64,
        /// The TTL that it was granted; 0 if there is no such lease.
        granted_ttl_seconds: i64,
        /// The keys on it, ascending, if they were asked for: a list of bytes.
        keys: Py<PyList>,
    }
}

value! {
    /// How one key differs between two revisions.
    Difference {
        /// The key, as bytes.
        key: Py<PyBytes>,
        /// The pair at the first revision, or None.
        before: Option<Py<KeyValue>>,
        /// The pair at the second revision, or None.
        after: Option<Py<KeyValue>>,
    }
}

value! {
    /// What a store says of itself.
    Status {
        /// The current revision.
        revision: i64,
        /// The compacted revision; None if the store was never compacted.
        compacted_revision: Option<i64>,
        /// The number of keys.
        keys: Option<u64>,
        /// Bytes that the store's files take on the disk.
        bytes_on_disk: u64,
        /// Bytes of pages that hold data; the rest will be used again.
        bytes_in_use: u64,
        /// Read transactions under way or parked, in all processes.
        readers: Option<u32>,
        /// Watchers of this process.
        watchers: u64,
        /// The number of leases.
        leases: Option<u64>,
        /// The version of the format on disk.
        format_version: Option<u32>,
        /// The version of LMDB in this process, for example "0.9.24".
        lmdb_version: Option<String>,
        /// 32 hexadecimal digits that tell this store from every other.
        store_id: String,
        /// What an acknowledged write of this handle means: "sync", "lazy" or "none".
        durability: Option<Py<PyString>>,
        /// The quota for bytes_in_use; None if there is no quota.
        max_bytes: Option<u64>,
        /// The active alarms, a list of AlarmMember sorted by kind and member.
        alarms: Py<PyList>,
        /// True after a failed sync: the store accepts no more writes until every process has closed it.
        poisoned: bool,
        /// True if the store's files were removed while it is open. Data written since is lost when the last process
        /// closes the store.
        removed: bool,
        /// The pid of the process that holds the write lock; None if no process holds it.
        writer_pid: Option<u32>,
        /// How long it has held the write lock, in milliseconds.
        writer_held_ms: Option<u64>,
        /// By how many commits the oldest active read transaction is behind; None if there is none. Its pages cannot
        /// be reused.
        oldest_reader: Option<u64>,
    }
}

value! {
    /// An alarm that is active, or was until now.
    AlarmMember {
        /// The member that it names; a store names itself by the second half of its store id.
        member: u64,
        /// "nospace" (the quota is used up: what takes room raises FullError) or "corrupt" (the data is not to be
        /// trusted: every write raises CorruptError).
        kind: Py<PyString>,
    }
}

value! {
    /// One thing that check() found wrong.
    Problem {
        /// The invariant that is broken, as numbered in core/DESIGN.md: "I2", …
        invariant: String,
        /// The key, if one is meant, as bytes.
        key: Py<PyBytes>,
        /// The revision, or 0.
        revision: i64,
        /// What is wrong, in words.
        message: String,
    }
}

value! {
    /// The answer of check().
    CheckReport {
        /// Keys that exist now.
        keys: u64,
        /// Events in the log.
        events: u64,
        /// What is wrong, a list of Problem; empty is well.
        problems: Py<PyList>,
    }
}

/// A value of the library as Python's.
pub trait IntoPython {
    /// Its class.
    type Class;

    /// Makes it.
    fn into_python(self, py: Python<'_>) -> PyResult<Py<Self::Class>>;
}

fn bytes(py: Python<'_>, bytes: &[u8]) -> Py<PyBytes> {
    PyBytes::new(py, bytes).unbind()
}

/// One of a few words, as the same object each time.
fn word(py: Python<'_>, word: &str) -> Py<PyString> {
    PyString::intern(py, word).unbind()
}

/// A list of values.
pub fn list<T: IntoPython>(py: Python<'_>, items: Vec<T>) -> PyResult<Py<PyList>>
where
    Py<T::Class>: for<'py> IntoPyObject<'py>,
{
    let made = items
        .into_iter()
        .map(|item| item.into_python(py))
        .collect::<PyResult<Vec<_>>>()?;
    PyList::new(py, made).map(Bound::unbind)
}

fn maybe<T: IntoPython>(py: Python<'_>, item: Option<T>) -> PyResult<Option<Py<T::Class>>> {
    item.map(|item| item.into_python(py)).transpose()
}

impl KeyValue {
    /// The same pair, as the store has it.
    pub fn as_pair<'py>(&'py self, py: Python<'py>) -> PairRef<'py> {
        let KeyValue {
            key,
            value,
            create_revision,
            mod_revision,
            version,
            lease,
        } = self;
        let (key, value) = (key.as_bytes(py), value.as_bytes(py));
        PairRef {
            key,
            value,
            create_revision: *create_revision,
            mod_revision: *mod_revision,
            version: *version,
            lease: *lease,
        }
    }
}

/// A pair whose key is an object already.
#[inline]
pub fn pair_of(py: Python<'_>, key: Py<PyBytes>, pair: PairRef) -> PyResult<Py<KeyValue>> {
    let value = bytes(py, pair.value);
    let PairRef {
        create_revision,
        mod_revision,
        version,
        lease,
        ..
    } = pair;
    Py::new(
        py,
        KeyValue {
            key,
            value,
            create_revision,
            mod_revision,
            version,
            lease,
        },
    )
}

/// A pair.
#[inline]
pub fn pair(py: Python<'_>, pair: PairRef) -> PyResult<Py<KeyValue>> {
    pair_of(py, bytes(py, pair.key), pair)
}

impl IntoPython for libkv::KeyValue {
    type Class = KeyValue;

    fn into_python(self, py: Python<'_>) -> PyResult<Py<KeyValue>> {
        pair(py, PairRef::from(&self))
    }
}

/// An answer to a range whose pairs came apart from it.
pub fn range(
    py: Python<'_>,
    response: &libkv::RangeResponse,
    packed: Packed,
) -> PyResult<Py<RangeResponse>> {
    let libkv::RangeResponse {
        revision,
        count,
        more,
        ..
    } = *response;
    Py::new(
        py,
        RangeResponse {
            revision,
            kvs: Py::new(py, KeyValues::new(packed))?,
            count,
            more,
        },
    )
}

impl IntoPython for libkv::PutResponse {
    type Class = PutResponse;

    fn into_python(self, py: Python<'_>) -> PyResult<Py<PutResponse>> {
        Py::new(
            py,
            PutResponse {
                revision: self.revision,
                prev_kv: maybe(py, self.prev_kv)?,
            },
        )
    }
}

impl IntoPython for libkv::RangeResponse {
    type Class = RangeResponse;

    fn into_python(mut self, py: Python<'_>) -> PyResult<Py<RangeResponse>> {
        let packed = std::mem::take(&mut self.kvs).into_iter().collect();
        range(py, &self, packed)
    }
}

impl IntoPython for libkv::DeleteResponse {
    type Class = DeleteResponse;

    fn into_python(self, py: Python<'_>) -> PyResult<Py<DeleteResponse>> {
        let libkv::DeleteResponse {
            revision,
            deleted,
            prev_kvs,
        } = self;
        Py::new(
            py,
            DeleteResponse {
                revision,
                deleted,
                prev_kvs: list(py, prev_kvs)?,
            },
        )
    }
}

impl IntoPython for OpResponse {
    type Class = PyAny;

    fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(match self {
            OpResponse::Range(range) => range.into_python(py)?.into_any(),
            OpResponse::Put(put) => put.into_python(py)?.into_any(),
            OpResponse::Delete(delete) => delete.into_python(py)?.into_any(),
            OpResponse::Txn(txn) => txn.into_python(py)?.into_any(),
        })
    }
}

impl IntoPython for libkv::TxnResponse {
    type Class = TxnResponse;

    fn into_python(self, py: Python<'_>) -> PyResult<Py<TxnResponse>> {
        let libkv::TxnResponse {
            succeeded,
            revision,
            responses,
        } = self;
        Py::new(
            py,
            TxnResponse {
                succeeded,
                revision,
                responses: list(py, responses)?,
            },
        )
    }
}

impl IntoPython for libkv::CompactResponse {
    type Class = CompactResponse;

    fn into_python(self, py: Python<'_>) -> PyResult<Py<CompactResponse>> {
        Py::new(
            py,
            CompactResponse {
                revision: self.revision,
            },
        )
    }
}

impl IntoPython for Response {
    type Class = PyAny;

    fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(match self {
            Response::Range(range) => range.into_python(py)?.into_any(),
            Response::Put(put) => put.into_python(py)?.into_any(),
            Response::Delete(delete) => delete.into_python(py)?.into_any(),
            Response::Txn(txn) => txn.into_python(py)?.into_any(),
            Response::Compact(compact) => compact.into_python(py)?.into_any(),
            Response::LeaseGrant(granted) => granted.into_python(py)?.into_any(),
            Response::LeaseRevoke(revoked) => revoked.into_python(py)?.into_any(),
            Response::Alarm(response) => list(py, response.alarms)?.into_any(),
            // no call of this face asks for it
            Response::Side(_) => py.None(),
        })
    }
}

impl IntoPython for libkv::Event {
    type Class = Event;

    fn into_python(self, py: Python<'_>) -> PyResult<Py<Event>> {
        let r#type = match self.kind {
            EventKind::Put => word(py, "put"),
            EventKind::Delete => word(py, "delete"),
        };
        let (kv, prev_kv) = (self.kv.into_python(py)?, maybe(py, self.prev_kv)?);
        Py::new(
            py,
            Event {
                r#type,
                kv,
                prev_kv,
            },
        )
    }
}

impl IntoPython for libkv::WatchBatch {
    type Class = WatchBatch;

    fn into_python(self, py: Python<'_>) -> PyResult<Py<WatchBatch>> {
        Py::new(
            py,
            WatchBatch {
                revision: self.revision,
                events: list(py, self.events)?,
            },
        )
    }
}

impl IntoPython for libkv::LeaseGrantResponse {
    type Class = LeaseGrantResponse;

    fn into_python(self, py: Python<'_>) -> PyResult<Py<LeaseGrantResponse>> {
        let libkv::LeaseGrantResponse {
            revision,
            id,
            ttl_seconds,
        } = self;
        Py::new(
            py,
            LeaseGrantResponse {
                revision,
                id,
                ttl_seconds,
            },
        )
    }
}

impl IntoPython for libkv::LeaseRevokeResponse {
    type Class = LeaseRevokeResponse;

    fn into_python(self, py: Python<'_>) -> PyResult<Py<LeaseRevokeResponse>> {
        Py::new(
            py,
            LeaseRevokeResponse {
                revision: self.revision,
            },
        )
    }
}

impl IntoPython for libkv::LeaseKeepAliveResponse {
    type Class = LeaseKeepAliveResponse;

    fn into_python(self, py: Python<'_>) -> PyResult<Py<LeaseKeepAliveResponse>> {
        let libkv::LeaseKeepAliveResponse { id, ttl_seconds } = self;
        Py::new(py, LeaseKeepAliveResponse { id, ttl_seconds })
    }
}

impl IntoPython for libkv::LeaseTimeToLiveResponse {
    type Class = LeaseTimeToLiveResponse;

    fn into_python(self, py: Python<'_>) -> PyResult<Py<LeaseTimeToLiveResponse>> {
        let libkv::LeaseTimeToLiveResponse {
            id,
            ttl_seconds,
            granted_ttl_seconds,
            keys,
        } = self;
        let keys = PyList::new(py, keys.iter().map(|key| PyBytes::new(py, key)))?.unbind();
        Py::new(
            py,
            LeaseTimeToLiveResponse {
                id,
                ttl_seconds,
                granted_ttl_seconds,
                keys,
            },
        )
    }
}

impl IntoPython for libkv::Difference {
    type Class = Difference;

    fn into_python(self, py: Python<'_>) -> PyResult<Py<Difference>> {
        let (before, after) = (maybe(py, self.before)?, maybe(py, self.after)?);
        Py::new(
            py,
            Difference {
                key: bytes(py, &self.key),
                before,
                after,
            },
        )
    }
}

impl IntoPython for libkv::Status {
    type Class = Status;

    fn into_python(self, py: Python<'_>) -> PyResult<Py<Status>> {
        let status = Status {
            revision: self.revision,
            compacted_revision: self.compacted_revision,
            keys: self.keys,
            bytes_on_disk: self.bytes_on_disk,
            bytes_in_use: self.bytes_in_use,
            readers: self.readers,
            watchers: self.watchers,
            leases: self.leases,
            format_version: self.format_version,
            lmdb_version: self.lmdb_version,
            store_id: self.store_id,
            durability: self
                .durability
                .map(|durability| word(py, durability_name(durability))),
            max_bytes: self.max_bytes,
            alarms: list(py, self.alarms)?,
            poisoned: self.poisoned,
            removed: self.removed,
            writer_pid: self.writer_pid,
            writer_held_ms: self.writer_held_ms,
            oldest_reader: self.oldest_reader,
        };
        Py::new(py, status)
    }
}

impl IntoPython for libkv::AlarmMember {
    type Class = AlarmMember;

    fn into_python(self, py: Python<'_>) -> PyResult<Py<AlarmMember>> {
        Py::new(
            py,
            AlarmMember {
                member: self.member,
                kind: word(py, alarm_name(self.kind)),
            },
        )
    }
}

impl IntoPython for libkv::Problem {
    type Class = Problem;

    fn into_python(self, py: Python<'_>) -> PyResult<Py<Problem>> {
        let libkv::Problem {
            invariant,
            key,
            revision,
            message,
        } = self;
        Py::new(
            py,
            Problem {
                invariant: invariant.to_string(),
                key: bytes(py, &key),
                revision,
                message,
            },
        )
    }
}

impl IntoPython for libkv::CheckReport {
    type Class = CheckReport;

    fn into_python(self, py: Python<'_>) -> PyResult<Py<CheckReport>> {
        let libkv::CheckReport {
            keys,
            events,
            problems,
        } = self;
        Py::new(
            py,
            CheckReport {
                keys,
                events,
                problems: list(py, problems)?,
            },
        )
    }
}
