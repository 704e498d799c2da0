//! The responses of the store, as Python values.

use libkv::{OpResponse, Response};
use pyo3::IntoPyObjectExt;
use pyo3::basic::CompareOp;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyIterator, PyList, PyString, PyTuple, PyType};

use crate::guard::guard;
use crate::key_value::KeyValue;
use crate::key_values::{KeyValues, PairBuffer};
use crate::value::{IntoPython, list, value};

value! {
    /// The response to a put.
    PutResponse from libkv::PutResponse {
        /// The store's revision after the put.
        revision: i64,
        /// The previous pair, if it was requested and the key existed; otherwise None.
        prev_kv: Option<Py<KeyValue>>,
    }
}

value! {
    /// The response to a range. Its iterator and `len` are those of `kvs`.
    RangeResponse {
        /// The store's current revision at the time of the read, also if an older one was
        /// requested.
        revision: i64,
        /// The pairs, a sequence of KeyValue.
        kvs: Py<KeyValues>,
        /// The number of keys in the range at that revision; limit and filters have no effect on
        /// it.
        count: i64,
        /// Whether there are more pairs than the limit.
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
    /// The response to a deletion.
    DeleteResponse from libkv::DeleteResponse {
        /// The store's revision after the deletion; unchanged if nothing was deleted.
        revision: i64,
        /// The number of deleted keys.
        deleted: i64,
        /// The deleted pairs by key, if they were requested: a list of KeyValue.
        prev_kvs: Py<PyList>,
    }
}

value! {
    /// The response to a txn. It has no truth value: use `succeeded`.
    TxnResponse from libkv::TxnResponse {
        /// Whether all conditions were true, which decides the list that ran.
        succeeded: bool,
        /// The store's revision after the txn.
        revision: i64,
        /// The responses of the operations that ran, in their order: a list of RangeResponse,
        /// PutResponse, DeleteResponse, TxnResponse.
        responses: Py<PyList>,
    }

    fn __bool__(&self) -> PyResult<bool> {
        Err(pyo3::exceptions::PyTypeError::new_err("a TxnResponse has no truth value: use its attribute succeeded"))
    }
}

value! {
    /// The response to a compaction.
    CompactResponse from libkv::CompactResponse {
        /// The store's revision; a compaction does not change it.
        revision: i64,
    }
}

value! {
    /// One change of one key.
    Event from libkv::Event {
        /// "put" or "delete".
        r#type = kind: Py<PyString>,
        /// The new pair of a put. For a deletion only key and mod_revision (of the deletion) are
        /// set.
        kv: Py<KeyValue>,
        /// The previous pair, if it was requested and is not compacted; otherwise None.
        prev_kv: Option<Py<KeyValue>>,
    }
}

value! {
    /// All events of one revision that match a watcher. Its iterator and `len` are those of
    /// `events`.
    WatchBatch from libkv::WatchBatch {
        /// The revision of the events; without events, the last one that was searched.
        revision: i64,
        /// The events in order, a list of Event; empty in a progress batch.
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
    /// The response to a grant of a lease.
    LeaseGrantResponse from libkv::LeaseGrantResponse {
        /// The store's revision; a grant does not change it.
        revision: i64,
        /// The id of the lease.
        id: i64,
        /// The granted TTL in seconds.
        ttl_seconds: i64,
    }
}

value! {
    /// The response to a revocation of a lease.
    LeaseRevokeResponse from libkv::LeaseRevokeResponse {
        /// The store's revision after the revocation; unchanged if the lease had no keys.
        revision: i64,
    }
}

value! {
    /// The response to a renewal of a lease.
    LeaseKeepAliveResponse from libkv::LeaseKeepAliveResponse {
        /// The id of the lease.
        id: i64,
        /// The renewed TTL in seconds, or 0 if the lease does not exist or has expired.
        ttl_seconds: i64,
    }
}

value! {
    /// The remaining TTL of a lease.
    LeaseTimeToLiveResponse from libkv::LeaseTimeToLiveResponse {
        /// The id of the lease.
        id: i64,
        /// The remaining seconds, rounded down; -1 if there is no such lease.
        ttl_seconds: i64,
        /// The granted TTL in seconds; 0 if there is no such lease.
        granted_ttl_seconds: i64,
        /// The attached keys, ascending, if they were requested: a list of bytes.
        keys: Py<PyList>,
    }
}

value! {
    /// How one key differs between two revisions.
    Difference from libkv::Difference {
        /// The key, as bytes.
        key: Py<PyBytes>,
        /// The pair at the first revision, or None.
        before: Option<Py<KeyValue>>,
        /// The pair at the second revision, or None.
        after: Option<Py<KeyValue>>,
    }
}

value! {
    /// The status of a store.
    Status from libkv::Status {
        /// The current revision.
        revision: i64,
        /// The compacted revision; None if the store was never compacted.
        compacted_revision: Option<i64>,
        /// The number of keys.
        keys: Option<u64>,
        /// Size of the store's files on disk, in bytes.
        bytes_on_disk: u64,
        /// Size of the pages with data, in bytes; the other pages are used again.
        bytes_in_use: u64,
        /// Read transactions, active or cached, in all processes.
        readers: Option<u32>,
        /// The number of watchers of this process.
        watchers: u64,
        /// The number of leases.
        leases: Option<u64>,
        /// The version of the format on disk.
        format_version: Option<u32>,
        /// The version of LMDB in this process, for example "0.9.24".
        lmdb_version: Option<String>,
        /// 32 hexadecimal digits that identify this store.
        store_id: String,
        /// The durability of this handle's writes: "sync", "lazy" or "none".
        durability: Option<Py<PyString>>,
        /// The quota for bytes_in_use; None if there is no quota.
        max_bytes: Option<u64>,
        /// The active alarms, a list of AlarmMember sorted by kind and member.
        alarms: Py<PyList>,
        /// True after a failed sync: the store accepts no more writes until every process has
        /// closed it.
        poisoned: bool,
        /// True if the store's files were removed while it is open. Data written since is lost when
        /// the last process closes the store.
        removed: bool,
        /// The pid of the process that holds the write lock; None if no process holds it.
        writer_pid: Option<u32>,
        /// How long it has held the write lock, in milliseconds.
        writer_held_ms: Option<u64>,
        /// By how many commits the oldest active read transaction is behind; None if there is none.
        /// Its pages cannot be reused.
        oldest_reader: Option<u64>,
    }
}

value! {
    /// An alarm.
    AlarmMember from libkv::AlarmMember {
        /// Its member; the member of a store is the second half of its store id.
        member: u64,
        /// "nospace" (the quota is used up: writes that need space raise FullError) or "corrupt"
        /// (the data may be damaged: every write raises CorruptError).
        kind: Py<PyString>,
    }
}

value! {
    /// A violated invariant that check() found.
    Problem from libkv::Problem {
        /// The invariant, as numbered in core/DESIGN.md: "I2", …
        invariant: String,
        /// The key, or empty, as bytes.
        key: Py<PyBytes>,
        /// The revision, or 0.
        revision: i64,
        /// A description.
        message: String,
    }
}

value! {
    /// The report of check().
    CheckReport from libkv::CheckReport {
        /// The number of keys.
        keys: u64,
        /// The number of events in the log.
        events: u64,
        /// A list of Problem; empty if the store is consistent.
        problems: Py<PyList>,
    }
}

/// A response to a range whose pairs are in a buffer.
pub fn range(
    py: Python<'_>,
    response: &libkv::RangeResponse,
    pairs: PairBuffer,
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
            kvs: Py::new(py, KeyValues::new(pairs))?,
            count,
            more,
        },
    )
}

impl IntoPython for libkv::RangeResponse {
    type Class = RangeResponse;

    fn into_python(mut self, py: Python<'_>) -> PyResult<Py<RangeResponse>> {
        let pairs = std::mem::take(&mut self.kvs).into_iter().collect();
        range(py, &self, pairs)
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
            // its calls read the response themselves; this package has no request Side
            Response::Auth(_) | Response::Side(_) => py.None(),
        })
    }
}
