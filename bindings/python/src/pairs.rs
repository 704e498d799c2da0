//! The pairs of an answer, as a sequence that makes its items when they are asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3::IntoPyObjectExt;
use pyo3::basic::CompareOp;
use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyList, PySlice};

use crate::answer::made;
use crate::convert::wrong_type;
use crate::guard::{guard, not_pickled};

/// Pairs that an iteration makes at a time: so few that they stay in the processor's cache.
const CHUNK: usize = 64;

static CHAIN: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// The pairs of an answer: a sequence of KeyValue, which cannot be changed.
///
/// A pair becomes an object when it is asked for (twice, then two equal ones), so that a large answer
/// is small until it is used, and making it does not keep other threads out of the interpreter. It is
/// equal to a list of the same pairs; list(kvs) makes one.
#[pyclass(frozen, sequence, module = "libkv")]
pub struct KeyValues(Arc<Vec<libkv::KeyValue>>);

impl KeyValues {
    pub fn new(kvs: Vec<libkv::KeyValue>) -> KeyValues {
        KeyValues(Arc::new(kvs))
    }
}

fn list<'py>(py: Python<'py>, kvs: &[libkv::KeyValue]) -> PyResult<Bound<'py, PyList>> {
    let made = kvs.iter().map(|kv| made(py, kv)).collect::<PyResult<Vec<_>>>()?;
    PyList::new(py, made)
}

#[pymethods]
impl KeyValues {
    /// How many there are.
    pub fn __len__(&self) -> usize {
        self.0.len()
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        guard(|| {
            // chained in C: an item of a chunk costs what an item of a list does
            let chain = CHAIN.get_or_try_init(py, || {
                py.import("itertools")?.getattr("chain")?.getattr("from_iterable").map(Bound::unbind)
            })?;
            chain.bind(py).call1((Chunks { kvs: self.0.clone(), at: AtomicUsize::new(0) },))
        })
    }

    fn __getitem__<'py>(&self, index: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = index.py();
        guard(|| {
            if let Ok(slice) = index.cast::<PySlice>() {
                return list(py, &self.0)?.as_any().get_item(slice);
            }
            let at: isize = index.extract().map_err(|_| wrong_type("an index", "an int or a slice", index))?;
            let at = if at < 0 { at + self.0.len() as isize } else { at };
            match usize::try_from(at).ok().and_then(|at| self.0.get(at)) {
                Some(kv) => Ok(made(py, kv)?.into_bound(py).into_any()),
                None => Err(PyIndexError::new_err("index out of range")),
            }
        })
    }

    fn __richcmp__<'py>(&self, other: &Bound<'py, PyAny>, op: CompareOp) -> PyResult<Bound<'py, PyAny>> {
        let py = other.py();
        let same = |equal: bool| (equal == matches!(op, CompareOp::Eq)).into_bound_py_any(py);
        guard(|| match (op, other.cast::<KeyValues>(), other.cast::<PyList>()) {
            (CompareOp::Eq | CompareOp::Ne, Ok(other), _) => same(self.0 == other.get().0),
            (CompareOp::Eq | CompareOp::Ne, _, Ok(other)) => same(list(py, &self.0)?.eq(other)?),
            _ => Ok(py.NotImplemented().into_bound(py)),
        })
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        guard(|| Ok(list(py, &self.0)?.repr()?.to_string()))
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(not_pickled("KeyValues", "take what you need of each"))
    }
}

/// Lists of the next few pairs.
#[pyclass(frozen, module = "libkv._libkv")]
struct Chunks {
    kvs: Arc<Vec<libkv::KeyValue>>,
    at: AtomicUsize,
}

#[pymethods]
impl Chunks {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyList>>> {
        guard(|| {
            let at = self.at.fetch_add(CHUNK, Ordering::AcqRel);
            let rest = self.kvs.get(at..).unwrap_or_default();
            let chunk = &rest[..rest.len().min(CHUNK)];
            if chunk.is_empty() {
                return Ok(None);
            }
            list(py, chunk).map(Some)
        })
    }
}
