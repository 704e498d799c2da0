//! Calls that wait for the store, without the interpreter. A signal whose handler raises an
//! exception (Ctrl-C) ends the wait.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use libkv::engine::Interrupt;
use libkv::{Code, Error, Request, Response, Result};
use pyo3::intern;
use pyo3::prelude::*;

use crate::error::{has_code, raise};
use crate::guard::{detached, lock, panicked};
use crate::parker::Parker;

/// Reads from the store. In the main thread, where signal handlers run, a request to a cluster runs
/// on another thread. After a handler has raised, its response is dropped.
pub fn read_store<T: Send + 'static>(
    py: Python<'_>,
    db: &libkv::Db,
    work: impl FnOnce(&libkv::Db) -> Result<T> + Send + 'static,
) -> PyResult<T> {
    if !db.is_remote() || !is_main_thread(py)? {
        return detached(py, || work(db));
    }
    let db = db.clone();
    on_other_thread(py, move || work(&db))
}

fn is_main_thread(py: Python<'_>) -> PyResult<bool> {
    let threading = py.import(intern!(py, "threading"))?;
    let main = threading.call_method0(intern!(py, "main_thread"))?;
    Ok(threading
        .call_method0(intern!(py, "current_thread"))?
        .is(&main))
}

/// Runs work that may wait for the network on another thread.
pub fn on_other_thread<T: Send + 'static>(
    py: Python<'_>,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> PyResult<T> {
    let parker = Parker::new()?;
    let response = Arc::new(Mutex::new(None));
    // weak: a response that has no receiver any more is dropped on the thread that made it
    let (receiver, waker) = (Arc::downgrade(&response), parker.waker());
    let run = move || {
        let outcome =
            catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(panicked(panic)));
        if let Some(response) = receiver.upgrade() {
            *lock(&response) = Some(outcome);
        }
        waker.wake();
    };
    thread::Builder::new()
        .name("libkv read".into())
        .spawn(run)?;
    loop {
        if let Some(outcome) = lock(&response).take() {
            return outcome.map_err(raise);
        }
        parker.park(py, None)?;
    }
}

/// Runs a request. If a signal handler raises too late to cancel it, the exception is raised with
/// an `UnknownOutcomeError` as its cause, which describes the outcome of the write.
pub fn call(py: Python<'_>, db: &libkv::Db, request: impl Into<Request>) -> PyResult<Response> {
    let request = request.into();
    let (response, signal) =
        unless_signalled(py, |interrupted| db.call_unless(request, interrupted));
    match signal {
        None => response,
        Some(signal) => {
            signal.set_cause(py, outcome_after_signal(py, response));
            Err(signal)
        }
    }
}

/// Runs work that waits and can be interrupted. Returns its result, and the exception of a signal
/// handler that ran meanwhile.
pub fn unless_signalled<T: Send>(
    py: Python<'_>,
    work: impl FnOnce(Interrupt) -> Result<T> + Send,
) -> (PyResult<T>, Option<PyErr>) {
    let raised = Mutex::new(None);
    let response = detached(py, || work(&|| has_signal(&raised)));
    (
        response,
        raised.into_inner().unwrap_or_else(PoisonError::into_inner),
    )
}

fn has_signal(raised: &Mutex<Option<PyErr>>) -> bool {
    let Some(exception) = Python::try_attach(|py| py.check_signals().err()).flatten() else {
        return false;
    };
    *lock(raised) = Some(exception);
    true
}

/// What happened to a request that a signal interrupted; none if it was cancelled in time.
fn outcome_after_signal(py: Python<'_>, response: PyResult<Response>) -> Option<PyErr> {
    match response {
        Ok(_) => {
            let message = "interrupted after the commit began: the write is done";
            Some(raise(Error::new(Code::UnknownOutcome, message)))
        }
        Err(error) if has_code(py, &error, Code::Cancelled) => None,
        Err(error) => Some(error),
    }
}
