//! A view of one revision.

use std::sync::atomic::{AtomicBool, Ordering};

use libkv::{Code, Error};
use pyo3::prelude::*;

use crate::convert::{Dict, Given};
use crate::error::raise;
use crate::guard::{ask, guard, not_pickled};
use crate::handle::Handle;
use crate::request;
use crate::response::{IntoPython, KeyValue, RangeResponse};
use crate::scan::Scan;

/// The store as it was at one revision; made by snapshot(). A context manager.
///
/// It is a number, not a transaction: it holds nothing, and does not hold a compaction back. Once one
/// has passed its revision, every call raises CompactedError.
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
    /// The revision that this is a view of.
    #[getter]
    fn revision(&self) -> i64 {
        self.snapshot.revision()
    }

    /// One key as it was, or None.
    fn get(&self, key: &Bound<'_, PyAny>) -> PyResult<Option<Py<KeyValue>>> {
        guard(|| crate::db::get(&self.db, key, self.view()?.revision()))
    }

    /// The pairs of a range as they were. Arguments as Db.range(); another revision raises
    /// InvalidArgumentError.
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
        guard(|| {
            let (view, request) = (self.view()?.clone(), request::range("range", key, options)?);
            ask(py, &self.db, move |_| view.range(request))?.into_python(py)
        })
    }

    /// An iterator over the pairs of a range as they were. Arguments as Db.scan().
    #[pyo3(
        signature = (key=Given::default(), **options),
        // generated from bindings/vocabulary/vocabulary.toml: range
        text_signature = "($self, key=..., *, prefix=..., start=..., end=..., revision=0, limit=0, sort_order='none', sort_target='key', keys_only=False, count_only=False, min_mod_revision=0, max_mod_revision=0, min_create_revision=0, max_create_revision=0, serializable=False)"
        // end of generated
    )]
    fn scan(&self, key: Given<'_>, options: Option<&Dict<'_>>) -> PyResult<Scan> {
        guard(|| {
            let request = request::range("scan", key, options)?;
            Ok(Scan::new(
                &self.db,
                self.view()?.scan(request).map_err(raise)?,
            ))
        })
    }

    /// Ends the view; later calls raise ClosedError. It holds nothing, so this may be left out.
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
            "take another where it is needed: its revision is a number",
        ))
    }
}
