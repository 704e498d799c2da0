//! A lease that keeps itself alive.

use std::sync::{Arc, Mutex};
use std::thread;

use libkv::{Code, Error, LeaseRevoke, Response};
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};

use crate::convert::wrong_type;
use crate::error::{has_code, raise};
use crate::guard::{detached, guard, lock, not_pickled};
use crate::handle::Handle;
use crate::interrupt::{ask, call};
use crate::mailbox::{Mailbox, PendingResponse};
use crate::watch::Wait;

/// A lease that keeps itself alive as long as this handle, and this process, live; made by Db.lease(). A context
/// manager that closes it.
///
/// Put keys on it by its id. Closing it revokes it: its keys go. If it expires all the same (the process was stopped
/// for longer than its TTL), or somebody revokes it, it is lost.
#[pyclass(frozen, module = "libkv")]
pub struct Lease {
    lease: libkv::Lease,
    callbacks: Arc<Callbacks>,
    db: Handle,
}

/// Whom to call when it is lost. They stand here, where the garbage collector sees them, and not with the library,
/// since what a function refers to is often the lease itself.
#[derive(Default)]
struct Callbacks(Mutex<Vec<Py<PyAny>>>);

impl Callbacks {
    fn take(&self) -> Vec<Py<PyAny>> {
        std::mem::take(&mut *lock(&self.0))
    }

    /// Calls them on a thread of their own: those of the library never wait for the interpreter.
    fn call(self: Arc<Self>) {
        let call = move || {
            // none: the interpreter is gone, and with it whoever wanted to know
            Python::try_attach(|py| {
                for callback in self.take() {
                    if let Err(error) = callback.call0(py) {
                        error.write_unraisable(py, Some(callback.bind(py)));
                    }
                }
            });
        };
        // without a thread to be had, nobody can be told
        let _ = thread::Builder::new().name("libkv lost".into()).spawn(call);
    }
}

impl Lease {
    /// Takes over a lease that was granted just now.
    pub fn adopt(db: &Handle, granted: libkv::LeaseGrantResponse) -> PyResult<Lease> {
        let lease =
            libkv::Lease::adopt((**db).clone(), granted.id, granted.ttl_seconds).map_err(raise)?;
        Ok(Lease {
            lease,
            callbacks: Arc::default(),
            db: db.clone(),
        })
    }
}

/// Nothing is wrong if the lease that was to be revoked is gone.
pub fn unless_gone<T>(py: Python<'_>, revoked: PyResult<T>) -> PyResult<()> {
    match revoked {
        Err(error) if !has_code(py, &error, Code::LeaseNotFound) => Err(error),
        _ => Ok(()),
    }
}

#[pymethods]
impl Lease {
    /// Its id, to put keys on it.
    #[getter]
    fn id(&self) -> i64 {
        self.lease.id()
    }

    /// The TTL that it was granted.
    #[getter]
    fn ttl_seconds(&self) -> i64 {
        self.lease.ttl_seconds()
    }

    /// Whole seconds that it would live on if its process died now; 0 if it is gone.
    #[getter]
    fn remaining(&self, py: Python<'_>) -> PyResult<i64> {
        guard(|| {
            let id = self.lease.id();
            let left = ask(py, &self.db, move |db| db.lease_time_to_live(id))?;
            Ok(left.ttl_seconds.max(0))
        })
    }

    /// Whether it is known to be gone, though nobody closed this handle.
    #[getter]
    fn lost(&self) -> bool {
        self.lease.lost()
    }

    /// Calls callback() when the lease is lost, or soon if it is; never once the handle is closed. That it is lost
    /// shows at the next keep-alive, after a third of the TTL at most. It runs on a thread of its own; what it
    /// raises goes to sys.unraisablehook.
    fn on_lost(&self, callback: &Bound<'_, PyAny>) -> PyResult<()> {
        guard(|| {
            if !callback.is_callable() {
                return Err(wrong_type(
                    "callback",
                    "a function without arguments",
                    callback,
                ));
            }
            lock(&self.callbacks.0).push(callback.clone().unbind());
            let callbacks = Arc::downgrade(&self.callbacks);
            self.lease.on_lost(move || {
                if let Some(callbacks) = callbacks.upgrade() {
                    callbacks.call();
                }
            });
            Ok(())
        })
    }

    /// Stops keeping it alive and revokes it: its keys go. Closing twice is fine, and so is closing a lease that is
    /// lost. Waits and raises as Db.lease_revoke(); after an error the lease ends with its TTL.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        guard(|| match self.stop(py)? {
            true => {
                let id = self.lease.id();
                unless_gone(py, call(py, &self.db, LeaseRevoke { id }))
            }
            false => Ok(()),
        })
    }

    /// The lease of a response to Db._submit_lease(), for libkv.aio.
    #[staticmethod]
    fn _adopt(pending: &Bound<'_, PendingResponse>) -> PyResult<Lease> {
        guard(|| {
            let pending = pending.get();
            match pending.take() {
                Some(Ok(Response::LeaseGrant(granted))) => Lease::adopt(pending.db(), granted),
                Some(Err(error)) => Err(raise(error)),
                _ => Err(raise(Error::new(Code::Internal, "a lease without a grant"))),
            }
        })
    }

    /// Stops keeping it alive, for libkv.aio; whether it is to be revoked.
    fn _stop(&self, py: Python<'_>) -> PyResult<bool> {
        guard(|| self.stop(py))
    }

    /// Resolves the future when the lease is lost, for libkv.aio.
    fn _on_lost(&self, mailbox: &Bound<'_, Mailbox>, future: &Bound<'_, PyAny>) -> PyResult<Wait> {
        guard(|| {
            let place = mailbox.get().register(future);
            let waker = place.waker();
            self.lease.on_lost(move || waker.wake());
            Ok(Wait::new(place))
        })
    }

    fn __enter__(slf: PyRef<'_, Self>) -> PyResult<PyRef<'_, Self>> {
        slf.db.ensure_open()?;
        Ok(slf)
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyAny>) -> PyResult<()> {
        self.close(py)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // held for a moment only, and then by whoever changes the list
        let Ok(callbacks) = self.callbacks.0.try_lock() else {
            return Ok(());
        };
        callbacks
            .iter()
            .try_for_each(|callback| visit.call(callback))
    }

    fn __clear__(&self) {
        let callbacks = self.callbacks.take();
        drop(callbacks);
    }

    fn __repr__(&self) -> String {
        let lost = if self.lease.lost() { ", lost" } else { "" };
        format!(
            "<libkv.Lease {}, ttl {} s{lost}>",
            self.lease.id(),
            self.lease.ttl_seconds()
        )
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(not_pickled(
            "a Lease",
            "its id is a number, but it is kept alive here",
        ))
    }
}

impl Lease {
    /// Whether it is to be revoked: not if that was done before, nor by a closed store.
    fn stop(&self, py: Python<'_>) -> PyResult<bool> {
        self.__clear__();
        match self.db.is_closed() {
            true => Ok(false),
            false => detached(py, || Ok(self.lease.stop())),
        }
    }
}
