//! The border to Python: no panic crosses it, and no thread waits while it holds the interpreter.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use libkv::{Code, Error, Result};
use pyo3::exceptions::{PyImportError, PyTypeError};
use pyo3::prelude::*;

use crate::error::raise;

/// Every call from Python goes through here: a panic becomes `InternalError`.
///
/// pyo3 by itself would raise a `PanicException`, which `except Exception` does not catch.
#[inline]
pub fn guard<T>(work: impl FnOnce() -> PyResult<T>) -> PyResult<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(raise(panicked(panic))))
}

/// The error for a panic.
pub fn panicked(panic: Box<dyn Any + Send>) -> Error {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_string());
    let text = text
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic".into());
    Error::new(
        Code::Internal,
        format!("libkv has a defect, please report it: {text}"),
    )
}

/// Runs work that may wait, without the interpreter.
///
/// A daemon thread that returns while the interpreter is ending stays in pyo3 until the process
/// ends. Before Python 3.14 the interpreter alone would unwind it through our frames.
pub fn detached<T: Send>(py: Python<'_>, work: impl FnOnce() -> Result<T> + Send) -> PyResult<T> {
    py.detach(work).map_err(raise)
}

/// Refuses a second interpreter of this process: pyo3 keeps one copy of each class for a process,
/// and an object of one interpreter must not reach another.
pub fn refuse_other_interpreters(py: Python<'_>) -> PyResult<()> {
    static FIRST: OnceLock<usize> = OnceLock::new();
    // each interpreter has its own module sys
    let own = py.import("sys")?.as_ptr() as usize;
    match *FIRST.get_or_init(|| own) == own {
        true => Ok(()),
        false => Err(PyImportError::new_err(
            "libkv works in one interpreter of a process, not in sub-interpreters too",
        )),
    }
}

/// Locks the mutex. A panic under the lock was already raised as `InternalError`; the value that it
/// left is still sound.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The exception of pickle and copy for an object that belongs to this process.
pub fn not_pickled(what: &str, why: &str) -> PyErr {
    PyTypeError::new_err(format!("{what} cannot be pickled or copied: {why}"))
}
