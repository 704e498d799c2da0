//! The calls about members and snapshot files.

use std::path::{Path, PathBuf};

use libkv::{Result, Revision};
use pyo3::IntoPyObjectExt;
use pyo3::basic::CompareOp;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString, PyTuple, PyType};

use crate::convert::wrong_type;
use crate::guard::guard;
use crate::options::text;
use crate::value::value;

value! {
    /// A member of a cluster.
    Member from libkv::Member {
        /// Its id.
        id: u64,
        /// Its name; empty until it has started, and for a store.
        name: String,
        /// The URLs at which the other members reach it: a list of str.
        peer_urls: Py<PyList>,
        /// The URLs at which clients reach it; empty until it has started.
        client_urls: Py<PyList>,
        /// Whether it is a learner: it receives every write and has no vote.
        is_learner: bool,
    }
}

value! {
    /// The response to hash_kv().
    HashKvResponse from libkv::HashKvResponse {
        /// The store's current revision.
        revision: i64,
        /// The hash.
        hash: u32,
        /// The compacted revision that the hash depends on; -1 if nothing was compacted.
        compact_revision: i64,
        /// The revision up to which the events were hashed.
        hash_revision: i64,
    }
}

/// The URLs of a member: an iterable of str.
pub fn urls(given: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
    let what = "an iterable of str";
    if given.is_instance_of::<PyString>() {
        return Err(wrong_type("peer_urls", what, given));
    }
    let urls = given
        .try_iter()
        .map_err(|_| wrong_type("peer_urls", what, given))?;
    urls.map(|url| text("peer_urls", &url?)).collect()
}

/// What the feature `etcd` brings.
#[cfg(feature = "etcd")]
mod net {
    use super::*;

    pub fn save(db: &libkv::Db, path: &Path) -> Result<Revision> {
        Ok(libkv_etcd::save_snapshot(db, path)?.revision)
    }

    pub fn restore(snapshot: PathBuf, store: &Path, skip_hash_check: bool) -> Result<Revision> {
        let restore = libkv_etcd::Restore::new(snapshot).skip_hash_check(skip_hash_check);
        Ok(restore.run(store)?.revision)
    }
}

/// A module without etcd's formats.
#[cfg(not(feature = "etcd"))]
mod net {
    use super::*;

    fn unsupported() -> libkv::Error {
        let message =
            "this libkv was built without the feature etcd: it cannot read or write snapshots";
        libkv::Error::new(libkv::Code::Unsupported, message)
    }

    pub fn save(_: &libkv::Db, _: &Path) -> Result<Revision> {
        Err(unsupported())
    }

    pub fn restore(_: PathBuf, _: &Path, _: bool) -> Result<Revision> {
        Err(unsupported())
    }
}

pub use net::{restore, save};
