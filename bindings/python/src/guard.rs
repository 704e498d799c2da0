//! The border: no panic crosses it, nothing waits while it holds the interpreter, and Ctrl-C ends
//! a wait.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;

use libkv::engine::Interrupt;
use libkv::{Code, Error, Request, Response, Result};
use pyo3::exceptions::{PyImportError, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;

use crate::error::raise;
use crate::sleep::Sleep;

/// Every call from Python goes through here: a panic becomes `InternalError`.
///
/// pyo3 by itself would raise a `PanicException`, which `except Exception` does not catch.
#[inline]
pub fn guard<T>(work: impl FnOnce() -> PyResult<T>) -> PyResult<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(raise(panicked(panic))))
}

fn panicked(panic: Box<dyn Any + Send>) -> Error {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_string());
    let text = text
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic".into());
    Error::new(
        Code::Internal,
        format!("libkv has a defect, please report it: {text}"),
    )
}

/// Does what may wait, without the interpreter.
///
/// A daemon thread that comes back while the interpreter is ending stays in pyo3 for good, before
/// Python 3.14 too, where the interpreter by itself would unwind it through our frames.
pub fn detached<T: Send>(py: Python<'_>, work: impl FnOnce() -> Result<T> + Send) -> PyResult<T> {
    py.detach(work).map_err(raise)
}

/// What asks the store itself, without the interpreter. For the main thread, where handlers of signals run, a cluster
/// is asked on a thread of its own: a handler that raises ends the wait, and what comes after that is dropped.
pub fn ask<T: Send + 'static>(
    py: Python<'_>,
    db: &libkv::Db,
    work: impl FnOnce(&libkv::Db) -> Result<T> + Send + 'static,
) -> PyResult<T> {
    if !db.is_remote() || !is_main_thread(py)? {
        return detached(py, || work(db));
    }
    let db = db.clone();
    elsewhere(py, move || work(&db))
}

fn is_main_thread(py: Python<'_>) -> PyResult<bool> {
    let threading = py.import(intern!(py, "threading"))?;
    let main = threading.call_method0(intern!(py, "main_thread"))?;
    Ok(threading
        .call_method0(intern!(py, "current_thread"))?
        .is(&main))
}

/// Does what may wait for the network on another thread; a signal whose handler raises ends the wait.
pub fn elsewhere<T: Send + 'static>(
    py: Python<'_>,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> PyResult<T> {
    let sleep = Sleep::new()?;
    let response = Arc::new(Mutex::new(None));
    // weak: what nobody waits for any more is dropped where it came
    let (place, waker) = (Arc::downgrade(&response), sleep.waker());
    let run = move || {
        let done =
            catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(panicked(panic)));
        if let Some(response) = place.upgrade() {
            *response.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
        }
        waker.wake();
    };
    thread::Builder::new().name("libkv ask".into()).spawn(run)?;
    loop {
        if let Some(response) = response
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        {
            return response.map_err(raise);
        }
        sleep.until(py, None)?;
    }
}

/// Refuses a second interpreter of this process: pyo3 keeps classes once for a process, and an object of
/// one interpreter must not be seen by another.
pub fn refuse_other_interpreters(py: Python<'_>) -> PyResult<()> {
    static FIRST: OnceLock<usize> = OnceLock::new();
    // each interpreter has a module sys of its own
    let own = py.import("sys")?.as_ptr() as usize;
    match *FIRST.get_or_init(|| own) == own {
        true => Ok(()),
        false => Err(PyImportError::new_err(
            "libkv works in one interpreter of a process, not in sub-interpreters too",
        )),
    }
}

/// A write: waits for its turn without the interpreter; a signal whose handler raises ends the wait.
///
/// If the handler raised too late to take the write back, its exception comes all the same, caused
/// by an `UnknownOutcomeError` that says what became of the write.
pub fn call(py: Python<'_>, db: &libkv::Db, request: impl Into<Request>) -> PyResult<Response> {
    let request = request.into();
    let (response, signal) =
        unless_signalled(py, |interrupted| db.call_unless(request, interrupted));
    match signal {
        None => response,
        Some(signal) => {
            if let Err(cause) = taken_back(py, response) {
                signal.set_cause(py, Some(cause));
            }
            Err(signal)
        }
    }
}

/// Does what waits, without the interpreter, and can be interrupted: with what a signal's handler has raised meanwhile.
pub fn unless_signalled<T: Send>(
    py: Python<'_>,
    work: impl FnOnce(Interrupt) -> Result<T> + Send,
) -> (PyResult<T>, Option<PyErr>) {
    let raised = Mutex::new(None);
    let response = detached(py, || work(&|| signalled(&raised)));
    (
        response,
        raised.into_inner().unwrap_or_else(PoisonError::into_inner),
    )
}

fn signalled(raised: &Mutex<Option<PyErr>>) -> bool {
    let signal = Python::try_attach(|py| py.check_signals().err()).flatten();
    let came = signal.is_some();
    if came {
        *raised.lock().unwrap_or_else(PoisonError::into_inner) = signal;
    }
    came
}

/// Nothing if the request was taken back; else what to say of it.
fn taken_back(py: Python<'_>, response: PyResult<Response>) -> std::result::Result<(), PyErr> {
    match response {
        Ok(_) => {
            let message = "interrupted after the commit began: the write is done";
            Err(raise(Error::new(Code::UnknownOutcome, message)))
        }
        Err(error) if crate::error::has_code(py, &error, Code::Cancelled) => Ok(()),
        Err(error) => Err(error),
    }
}

/// What a handle answers to pickle and copy.
pub fn not_pickled(what: &str, why: &str) -> PyErr {
    PyTypeError::new_err(format!("{what} cannot be pickled or copied: {why}"))
}
