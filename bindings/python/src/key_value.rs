//! `KeyValue`: a pair of the store.

use libkv::PairRef;
use pyo3::IntoPyObjectExt;
use pyo3::basic::CompareOp;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple, PyType};

use crate::guard::guard;
use crate::value::{IntoPython, value};

value! {
    /// A key with its value, revisions, version and lease.
    KeyValue, freelist 1_024 {
        /// The key, as bytes.
        key: Py<PyBytes>,
        /// The value, as bytes; empty if only keys were requested.
        value: Py<PyBytes>,
        /// The revision of the put that created the key, after its last deletion.
        create_revision: i64,
        /// The revision of the last put.
        mod_revision: i64,
        /// 1 at creation, one more with each put, 1 again after a deletion.
        version: i64,
        /// The id of the lease that the key is attached to, or 0.
        lease: i64,
    }
}

impl KeyValue {
    /// The same pair, as a value of the library.
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

/// Creates a pair whose key is an object already.
#[inline]
pub fn pair_of(py: Python<'_>, key: Py<PyBytes>, pair: PairRef) -> PyResult<Py<KeyValue>> {
    let value = PyBytes::new(py, pair.value).unbind();
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

/// Creates a pair.
#[inline]
pub fn pair(py: Python<'_>, pair: PairRef) -> PyResult<Py<KeyValue>> {
    pair_of(py, PyBytes::new(py, pair.key).unbind(), pair)
}

impl IntoPython for libkv::KeyValue {
    type Class = KeyValue;

    fn into_python(self, py: Python<'_>) -> PyResult<Py<KeyValue>> {
        pair(py, PairRef::from(&self))
    }
}
