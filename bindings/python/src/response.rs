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
    /// The answer to a put.
    PutResponse from libkv::PutResponse {
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
    DeleteResponse from libkv::DeleteResponse {
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
    TxnResponse from libkv::TxnResponse {
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
    CompactResponse from libkv::CompactResponse {
        /// The store's revision: compacting does not change it.
        revision: i64,
    }
}

value! {
    /// One change of one key.
    Event from libkv::Event {
        /// "put" or "delete".
        r#type = kind: Py<PyString>,
        /// For a put the new pair; for a delete only key and mod_revision (of the deletion) are set.
        kv: Py<KeyValue>,
        /// The pair before the revision of this event, where it was asked for and is kept; else None.
        prev_kv: Option<Py<KeyValue>>,
    }
}

value! {
    /// What a watcher delivers at a time: all matching events of one revision. Iterating it, and `len`, are those
    /// of `events`.
    WatchBatch from libkv::WatchBatch {
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
    LeaseGrantResponse from libkv::LeaseGrantResponse {
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
    LeaseRevokeResponse from libkv::LeaseRevokeResponse {
        /// The store's revision afterwards; unchanged if the lease had no keys.
        revision: i64,
    }
}

value! {
    /// The answer to a keep-alive.
    LeaseKeepAliveResponse from libkv::LeaseKeepAliveResponse {
        /// The id of the lease.
        id: i64,
        /// The TTL that it has again, or 0: there is no such lease, or it has expired.
        ttl_seconds: i64,
    }
}

value! {
    /// What is left of a lease.
    LeaseTimeToLiveResponse from libkv::LeaseTimeToLiveResponse {
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
    /// What a store says of itself.
    Status from libkv::Status {
        /// The current revision.
        revision: i64,
        /// The compacted revision; -1 if nothing was ever compacted, or where a cluster's user may not read all keys.
        compacted_revision: i64,
        /// How many keys exist now; 0 as well where a cluster's user may not read them all.
        keys: u64,
        /// Bytes that the store's files take on the disk.
        bytes_on_disk: u64,
        /// Bytes of pages that hold data; the rest will be used again.
        bytes_in_use: u64,
        /// Read transactions under way or parked, in all processes.
        readers: u32,
        /// Watchers of this process.
        watchers: u64,
        /// Leases.
        leases: u64,
        /// The version of the format on disk.
        format_version: u32,
        /// The LMDB in this process, as "0.9.24".
        lmdb_version: String,
        /// 32 hexadecimal digits that tell this store from every other.
        store_id: String,
        /// What an acknowledged write of this handle means: "sync", "lazy" or "none".
        durability: Option<Py<PyString>>,
        /// The quota on bytes_in_use; 0 is none.
        max_bytes: u64,
        /// Alarms that are active, a list of str in etcd's words ("memberID:<id> alarm:NOSPACE "); "POISONED" after a
        /// failed sync; "REMOVED" where the store's files were removed while it was open: what is written is lost then
        /// when the last process closes it. Empty is well.
        alarms: Py<PyList>,
        /// The process that holds the writer's lock now, or 0.
        writer_pid: u32,
        /// For how long it has held it, in milliseconds.
        writer_held_ms: u64,
        /// How many commits the oldest read transaction under way lies behind, or 0: what it pins
        /// cannot be used again.
        oldest_reader: u64,
    }
}

value! {
    /// An alarm that is active, or was until now.
    AlarmMember from libkv::AlarmMember {
        /// The member that it names; a store names itself by the second half of its store id.
        member: u64,
        /// "nospace" (the quota is used up: what takes room raises FullError) or "corrupt" (the data is not to be
        /// trusted: every write raises CorruptError).
        kind: Py<PyString>,
    }
}

value! {
    /// One thing that check() found wrong.
    Problem from libkv::Problem {
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
    CheckReport from libkv::CheckReport {
        /// Keys that exist now.
        keys: u64,
        /// Events in the log.
        events: u64,
        /// What is wrong, a list of Problem; empty is well.
        problems: Py<PyList>,
    }
}

/// An answer to a range whose pairs came apart from it.
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
            // no call of this face asks for it
            Response::Side(_) => py.None(),
        })
    }
}
