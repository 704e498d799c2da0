//! A lease that is kept alive.

use std::sync::{Arc, Mutex};
use std::thread;

use libkv::{Code, Error, LeaseRevoke, Response};
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};

use crate::convert::wrong_type;
use crate::error::{has_code, raise};
use crate::guard::{detached, guard, lock, not_pickled};
use crate::handle::Handle;
use crate::interrupt::{call, read_store};
use crate::mailbox::{Mailbox, PendingResponse};
use crate::watch::Wait;

/// A lease that is kept alive while this handle and this process exist; created by Db.lease(). A
/// context manager that closes it.
///
/// Attach keys to it by its id. Closing it revokes it and deletes its keys. It is lost if it
/// expires (the process was stopped for longer than its TTL) or another process revokes it.
#[pyclass(frozen, module = "libkv")]
pub struct Lease {
    lease: libkv::Lease,
    callbacks: Arc<Callbacks>,
    db: Handle,
}

/// The callbacks of a lost lease. They are kept here, where the garbage collector finds them, and
/// not in the library, because a function often refers to the lease itself.
#[derive(Default)]
struct Callbacks(Mutex<Vec<Py<PyAny>>>);

impl Callbacks {
    fn take(&self) -> Vec<Py<PyAny>> {
        std::mem::take(&mut *lock(&self.0))
    }

    /// Calls them on a new thread, because threads of the library never wait for the interpreter.
    fn call(self: Arc<Self>) {
        let call = move || {
            // if the interpreter has ended, there is nothing to call
            Python::try_attach(|py| {
                for callback in self.take() {
                    if let Err(error) = callback.call0(py) {
                        error.write_unraisable(py, Some(callback.bind(py)));
                    }
                }
            });
        };
        // without a thread the callbacks cannot run
        let _ = thread::Builder::new().name("libkv lost".into()).spawn(call);
    }
}

impl Lease {
    /// Keeps alive a lease that was just granted.
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

/// The result of a revocation. It is a success if the lease does not exist any more.
pub fn unless_gone<T>(py: Python<'_>, revoked: PyResult<T>) -> PyResult<()> {
    match revoked {
        Err(error) if !has_code(py, &error, Code::LeaseNotFound) => Err(error),
        _ => Ok(()),
    }
}

#[pymethods]
impl Lease {
    /// Its id, to attach keys to it.
    #[getter]
    fn id(&self) -> i64 {
        self.lease.id()
    }

    /// The granted TTL in seconds.
    #[getter]
    fn ttl_seconds(&self) -> i64 {
        self.lease.ttl_seconds()
    }

    /// The remaining seconds of its TTL, rounded down; 0 if it does not exist any more.
    #[getter]
    fn remaining(&self, py: Python<'_>) -> PyResult<i64> {
        guard(|| {
            let id = self.lease.id();
            let left = read_store(py, &self.db, move |db| db.lease_time_to_live(id))?;
            Ok(left.ttl_seconds.max(0))
        })
    }

    /// Whether it is known to be lost; False after close().
    #[getter]
    fn lost(&self) -> bool {
        self.lease.lost()
    }

    /// Calls callback() when the lease is lost, or soon if it is lost already; never after the
    /// handle is closed. The loss is noticed at the next keep-alive, after at most a third of the
    /// TTL. callback runs on a new thread; its exception goes to sys.unraisablehook.
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

    /// Stops keeping it alive and revokes it, which deletes its keys. No effect on a lease that is
    /// closed or lost. Waits and raises as Db.lease_revoke(); after an error the lease expires
    /// after its TTL.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        guard(|| match self.stop(py)? {
            true => {
                let revoke = LeaseRevoke::new(self.lease.id());
                unless_gone(py, call(py, &self.db, revoke))
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

    /// Stops keeping it alive, for libkv.aio; returns whether it has to be revoked.
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
        // another thread that changes the list holds it only for a moment
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
    /// Whether it must be revoked: not after it was stopped, and not in a closed store.
    fn stop(&self, py: Python<'_>) -> PyResult<bool> {
        self.__clear__();
        match self.db.is_closed() {
            true => Ok(false),
            false => detached(py, || Ok(self.lease.stop())),
        }
    }
}
