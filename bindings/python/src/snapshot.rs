//! `Snapshot`: the store at one revision.

use std::sync::atomic::{AtomicBool, Ordering};

use libkv::{Code, Error};
use pyo3::prelude::*;

use crate::calls::get;
use crate::convert::{Dict, OptionalArg};
use crate::error::raise;
use crate::guard::{guard, not_pickled};
use crate::handle::Handle;
use crate::interrupt::read_store;
use crate::key_value::KeyValue;
use crate::request;
use crate::response::RangeResponse;
use crate::scan::Scan;
use crate::value::IntoPython;

/// The store at one revision; created by Db.snapshot(). A context manager.
///
/// It is a number, not a transaction: it holds no resource and delays no compaction. After one
/// above its revision, every call raises CompactedError.
#[pyclass(frozen, module = "libkv")]
pub struct Snapshot {
    snapshot: libkv::Snapshot,
    closed: AtomicBool,
    db: Handle,
}

impl Snapshot {
    pub fn new(db: &Handle, snapshot: libkv::Snapshot) -> Snapshot {
        Snapshot {
            snapshot,
            closed: AtomicBool::new(false),
            db: db.clone(),
        }
    }

    fn view(&self) -> PyResult<&libkv::Snapshot> {
        match self.closed.load(Ordering::Acquire) {
            true => Err(raise(Error::new(Code::Closed, "the snapshot is closed"))),
            false => Ok(&self.snapshot),
        }
    }
}

#[pymethods]
impl Snapshot {
    /// Its revision.
    #[getter]
    fn revision(&self) -> i64 {
        self.snapshot.revision()
    }

    /// Reads one key at this revision: a KeyValue, or None if it does not exist.
    fn get(&self, key: &Bound<'_, PyAny>) -> PyResult<Option<Py<KeyValue>>> {
        guard(|| get(&self.db, key, self.view()?.revision()))
    }

    /// Reads the pairs of a range at this revision. Arguments and result as Db.range(); another
    /// revision raises InvalidArgumentError.
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
    ) -> PyResult<Py<RangeResponse>> {
        guard(|| {
            let (view, request) = (self.view()?.clone(), request::range("range", key, options)?);
            read_store(py, &self.db, move |_| view.range(request))?.into_python(py)
        })
    }

    /// Returns an iterator over the pairs of a range at this revision. Arguments as Db.scan().
    #[pyo3(
        signature = (key=OptionalArg::default(), **options),
        // generated from bindings/vocabulary/vocabulary.toml: range
        text_signature = "($self, key=..., *, prefix=..., start=..., end=..., revision=0, limit=0, sort_order='none', sort_target='key', keys_only=False, count_only=False, min_mod_revision=0, max_mod_revision=0, min_create_revision=0, max_create_revision=0, serializable=False)"
        // end of generated
    )]
    fn scan(&self, key: OptionalArg<'_>, options: Option<&Dict<'_>>) -> PyResult<Scan> {
        guard(|| {
            let request = request::range("scan", key, options)?;
            Ok(Scan::new(
                &self.db,
                self.view()?.scan(request).map_err(raise)?,
            ))
        })
    }

    /// Closes it; later calls raise ClosedError. Not required, because it holds no resource.
    fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    fn __enter__(slf: PyRef<'_, Self>) -> PyResult<PyRef<'_, Self>> {
        slf.view()?;
        Ok(slf)
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, _exception: &Bound<'_, PyAny>) {
        self.close();
    }

    fn __repr__(&self) -> String {
        format!("<libkv.Snapshot of revision {}>", self.snapshot.revision())
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(not_pickled(
            "a Snapshot",
            "create another where it is needed: its revision is a number",
        ))
    }
}
