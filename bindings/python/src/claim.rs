//! `Lock`, `Election`, and the part of both that libkv.aio uses.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use libkv::support::{ClaimDriver, ClaimRequest, ClaimWait, Claimant};
use libkv::{Code, Error, Request, WaitLimit};
use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use pyo3::types::PyBytes;

use crate::calls::run_txn;
use crate::convert::{bytes, int, seconds};
use crate::error::raise;
use crate::guard::{guard, not_pickled};
use crate::handle::Handle;
use crate::interrupt::{call, read_store};
use crate::key_value::KeyValue;
use crate::lease::unless_gone;
use crate::mailbox::{Mailbox, PendingFuture, Submission};
use crate::parker::Parker;
use crate::request::Txn;
use crate::value::IntoField;
use crate::watch::Leaders;

/// A name that can be claimed, and the claim while it is held.
pub struct Claim {
    name: Vec<u8>,
    ttl_seconds: i64,
    /// Locked only briefly, and never without the interpreter: so it is free in a forked child.
    claimant: Mutex<Claimant>,
    /// A thread or task claims the name or gives it up.
    is_busy: AtomicBool,
    db: Handle,
}

/// The exclusive right to acquire or release the name, until it is dropped.
struct ExclusiveUse<'a>(&'a Claim);

impl Drop for ExclusiveUse<'_> {
    fn drop(&mut self) {
        self.0.is_busy.store(false, Ordering::Release);
    }
}

impl Claim {
    pub fn new(
        db: &Handle,
        name: &Bound<'_, PyAny>,
        ttl_seconds: &Bound<'_, PyAny>,
    ) -> PyResult<Claim> {
        let (name, ttl_seconds) = (
            bytes("name", name)?.into_owned(),
            int("ttl_seconds", ttl_seconds)?,
        );
        db.ensure_open()?;
        let claimant = Claimant::new(db, name.as_slice(), ttl_seconds).map_err(raise)?;
        Ok(Claim {
            name,
            ttl_seconds,
            claimant: Mutex::new(claimant),
            is_busy: AtomicBool::new(false),
            db: db.clone(),
        })
    }

    fn lock(&self, py: Python<'_>) -> MutexGuard<'_, Claimant> {
        self.claimant
            .lock_py_attached(py)
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn begin_use(&self) -> PyResult<()> {
        self.db.ensure_open()?;
        match self.is_busy.swap(true, Ordering::Acquire) {
            false => Ok(()),
            true => Err(raise(Error::new(
                Code::InvalidArgument,
                "the handle is in use by another thread or task: each needs its own",
            ))),
        }
    }

    fn exclusive_use(&self) -> PyResult<ExclusiveUse<'_>> {
        self.begin_use().map(|()| ExclusiveUse(self))
    }

    fn is_held(&self, py: Python<'_>) -> bool {
        self.lock(py).is_held()
    }

    fn key(&self, py: Python<'_>) -> Py<PyBytes> {
        PyBytes::new(py, self.lock(py).key()).unbind()
    }

    fn revision(&self, py: Python<'_>) -> Option<i64> {
        self.lock(py).revision()
    }

    fn leader(&self, py: Python<'_>) -> PyResult<Option<Py<KeyValue>>> {
        let request = self.lock(py).holder_request();
        let found = read_store(py, &self.db, move |db| db.range(request))?;
        let leader = found.kvs.into_iter().next();
        leader.into_field(py)
    }

    fn observe(&self, py: Python<'_>) -> PyResult<Leaders> {
        let election = self.db.election(self.name.as_slice(), self.ttl_seconds);
        let election = election.map_err(raise)?;
        let leaders = read_store(py, &self.db, move |_| election.observe())?;
        Ok(Leaders::new(&self.db, leaders))
    }

    fn request(&self, py: Python<'_>, value: &[u8], wait_limit: WaitLimit) -> ClaimRequest {
        self.lock(py).request(value, wait_limit)
    }

    /// Claims the name and waits for it; false if it was to be taken only if it is free, and is
    /// not. A signal whose handler raises ends the wait.
    fn acquire(&self, py: Python<'_>, request: ClaimRequest) -> PyResult<bool> {
        let parker = Parker::new()?;
        let wait = ClaimWait::start(request, parker.waker());
        let claim = wait.wait(|until| parker.park(py, until))?;
        Ok(self.hold(py, claim.map_err(raise)?))
    }

    fn hold(&self, py: Python<'_>, claim: Option<libkv::support::Claim>) -> bool {
        let is_held = claim.is_some();
        if let Some(claim) = claim {
            self.lock(py).hold(claim);
        }
        is_held
    }

    /// Gives the name up and waits for that.
    fn release(&self, py: Python<'_>) -> PyResult<()> {
        let revoke = self.lock(py).leave();
        match revoke {
            Some(revoke) => unless_gone(py, call(py, &self.db, revoke)),
            None => self.db.ensure_open(),
        }
    }

    fn shown(&self) -> String {
        format!("{:?}", String::from_utf8_lossy(&self.name))
    }
}

/// A lock between all threads and processes that use the store: one holds it at a time. Made by
/// Db.lock(). A context manager that acquires and releases it. Its keys are those of etcd's lock
/// service.
///
/// Guarantees: waiters acquire the lock in the order in which they came. It is released when it is
/// released or collected, and within 500 ms after its process ends.
///
/// Limits: a holder that is stopped for longer than the TTL loses its lease without noticing, and
/// another process acquires the lock. Fence writes against such a former holder with revision,
/// which increases from holder to holder: the protected resource refuses a lower revision than it
/// has seen, or the write is a txn that compares the create_revision of key with it.
///
/// Each thread needs a Lock of its own: one that is in use raises InvalidArgumentError.
#[pyclass(frozen, module = "libkv")]
pub struct Lock(Claim);

impl Lock {
    pub fn new(claim: Claim) -> Lock {
        Lock(claim)
    }
}

#[pymethods]
impl Lock {
    /// Waits until the lock is acquired, at most timeout seconds (None: no limit). Does nothing if
    /// it is already held. The wait does not hold the interpreter; Ctrl-C ends it.
    ///
    /// Raises TimeoutError, which names the holder's key, LeaseLostError, and those of Db.put().
    /// After an exception it has no key in the store.
    #[pyo3(signature = (timeout=None))]
    fn acquire(&self, py: Python<'_>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        guard(|| {
            let wait_limit = WaitLimit::new(seconds("timeout", timeout)?);
            let _use = self.0.exclusive_use()?;
            if !self.0.is_held(py) {
                self.0.acquire(py, self.0.request(py, b"", wait_limit))?;
            }
            Ok(())
        })
    }

    /// Acquires the lock if it is free and has no waiters. Returns whether it is held now.
    fn try_acquire(&self, py: Python<'_>) -> PyResult<bool> {
        guard(|| {
            let _use = self.0.exclusive_use()?;
            if self.0.is_held(py) {
                return Ok(true);
            }
            let request = self.0.request(py, b"", WaitLimit::new(None));
            self.0.acquire(py, request.only_if_free())
        })
    }

    /// Releases the lock; does nothing if it is not held. Raises those of Db.lease_revoke(); the
    /// lock then ends with its TTL.
    fn release(&self, py: Python<'_>) -> PyResult<()> {
        guard(|| {
            let _use = self.0.exclusive_use()?;
            self.0.release(py)
        })
    }

    /// Whether it is held, as far as is known: False once its lease is known to be lost.
    #[getter]
    fn is_held(&self, py: Python<'_>) -> bool {
        self.0.is_held(py)
    }

    /// Its key in the store while it is held, as bytes; otherwise empty.
    #[getter]
    fn key(&self, py: Python<'_>) -> Py<PyBytes> {
        self.0.key(py)
    }

    /// The revision at which its key was created, for fencing; None before it is acquired
    /// and after it is released.
    #[getter]
    fn revision(&self, py: Python<'_>) -> Option<i64> {
        self.0.revision(py)
    }

    fn __enter__<'py>(slf: PyRef<'py, Self>, py: Python<'py>) -> PyResult<PyRef<'py, Self>> {
        slf.acquire(py, None)?;
        Ok(slf)
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyAny>) -> PyResult<()> {
        self.release(py)
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let state = if self.0.is_held(py) {
            "held"
        } else {
            "not held"
        };
        format!("<libkv.Lock {}, {state}>", self.0.shown())
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(not_pickled(
            "a Lock",
            "make one by the same name where it is needed",
        ))
    }
}

/// An election: one leader among all candidates for a name. Made by Db.election(). Its keys are
/// those of etcd's election service. A context manager that resigns.
///
/// Guarantees: the leader is the candidate whose key was created first. The value of its key is
/// what the leader proclaims. If the leader resigns, or its process ends, the next candidate leads,
/// in the order in which they came.
///
/// Limits: a leader that is stopped for longer than the TTL may believe for a moment that it still
/// leads. proclaim() then fails. Fence other writes with revision, as with Lock.
#[pyclass(frozen, module = "libkv")]
pub struct Election(Claim);

impl Election {
    pub fn new(claim: Claim) -> Election {
        Election(claim)
    }
}

#[pymethods]
impl Election {
    /// Waits until it leads, at most timeout seconds (None: no limit), and proclaims value (bytes,
    /// a buffer or str). Waits as Lock.acquire().
    ///
    /// Raises TimeoutError, LeaseLostError, and those of Db.put(). After an exception it is no
    /// candidate.
    #[pyo3(signature = (value, timeout=None))]
    fn campaign(
        &self,
        py: Python<'_>,
        value: &Bound<'_, PyAny>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        guard(|| {
            let bytes = bytes("value", value)?;
            let wait_limit = WaitLimit::new(seconds("timeout", timeout)?);
            let _use = self.0.exclusive_use()?;
            if self.0.is_held(py) {
                return self.proclaim(py, value);
            }
            self.0.acquire(py, self.0.request(py, &bytes, wait_limit))?;
            Ok(())
        })
    }

    /// Changes the value of the leader. Raises FailedPreconditionError if it does not lead,
    /// LeaseLostError if it lost the leadership, and those of Db.put().
    fn proclaim(&self, py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        guard(|| {
            let value = bytes("value", value)?;
            let proclamation = self.0.lock(py).proclamation(&*value).map_err(raise)?;
            match run_txn(py, &self.0.db, proclamation)?.succeeded {
                true => Ok(()),
                false => Err(raise(self.0.lock(py).lost())),
            }
        })
    }

    /// The leader's pair, or None. The leader may be in another process.
    fn leader(&self, py: Python<'_>) -> PyResult<Option<Py<KeyValue>>> {
        guard(|| self.0.leader(py))
    }

    /// Follows the election: an iterator of KeyValue over the current leader, each new leader and
    /// each new value.
    fn observe(&self, py: Python<'_>) -> PyResult<Leaders> {
        guard(|| self.0.observe(py))
    }

    /// Resigns; does nothing if it does not lead. Raises those of Db.lease_revoke().
    fn resign(&self, py: Python<'_>) -> PyResult<()> {
        guard(|| {
            let _use = self.0.exclusive_use()?;
            self.0.release(py)
        })
    }

    /// Whether it leads, as far as is known: False once its lease is known to be lost.
    #[getter]
    fn is_leader(&self, py: Python<'_>) -> bool {
        self.0.is_held(py)
    }

    /// Its key in the store while it leads, as bytes; otherwise empty.
    #[getter]
    fn key(&self, py: Python<'_>) -> Py<PyBytes> {
        self.0.key(py)
    }

    /// The revision at which its key was created, for fencing; None before it leads and
    /// after it resigns.
    #[getter]
    fn revision(&self, py: Python<'_>) -> Option<i64> {
        self.0.revision(py)
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyAny>) -> PyResult<()> {
        self.resign(py)
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let state = if self.0.is_held(py) {
            "leads"
        } else {
            "does not lead"
        };
        format!("<libkv.Election {}, {state}>", self.0.shown())
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(not_pickled(
            "an Election",
            "make one by the same name where it is needed",
        ))
    }
}

/// A claim in progress of a task.
struct Attempt {
    driver: ClaimDriver,
    result: Arc<Mutex<Option<libkv::Result<Option<libkv::support::Claim>>>>>,
    pending: PendingFuture,
}

/// A claim as libkv.aio uses it: nothing of it waits.
#[pyclass(frozen, name = "_Claim", module = "libkv._libkv")]
pub struct AsyncClaim {
    claim: Claim,
    attempt: Mutex<Option<Attempt>>,
}

impl AsyncClaim {
    pub fn new(claim: Claim) -> AsyncClaim {
        AsyncClaim {
            claim,
            attempt: Mutex::default(),
        }
    }

    fn attempt(&self, py: Python<'_>) -> MutexGuard<'_, Option<Attempt>> {
        self.attempt
            .lock_py_attached(py)
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl AsyncClaim {
    /// Begins an exclusive use of the claim, until end().
    fn begin(&self) -> PyResult<()> {
        guard(|| self.claim.begin_use())
    }

    /// Ends the exclusive use.
    fn end(&self) {
        drop(ExclusiveUse(&self.claim));
    }

    /// Starts to claim the name; finish() has the result once the future is resolved. The caller
    /// calls time_out() after timeout seconds.
    fn start(
        &self,
        py: Python<'_>,
        value: &Bound<'_, PyAny>,
        timeout: Option<&Bound<'_, PyAny>>,
        only_if_free: bool,
        mailbox: &Bound<'_, Mailbox>,
        future: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        guard(|| {
            let value = bytes("value", value)?;
            let wait_limit = WaitLimit::new(seconds("timeout", timeout)?);
            let mut request = self.claim.request(py, &value, wait_limit);
            if only_if_free {
                request = request.only_if_free();
            }
            let (pending, result) = (mailbox.get().register(future), Arc::new(Mutex::new(None)));
            let (waker, slot) = (pending.waker(), result.clone());
            let driver = ClaimDriver::start(request, move |claim| {
                *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(claim);
                waker.wake();
            });
            *self.attempt(py) = Some(Attempt {
                driver,
                result,
                pending,
            });
            Ok(())
        })
    }

    /// The time limit is over. The future is resolved after the key is deleted.
    fn time_out(&self, py: Python<'_>) {
        if let Some(attempt) = &*self.attempt(py) {
            attempt.driver.time_out();
        }
    }

    /// Cancels the attempt without waiting, if there is one. The future is not resolved any more.
    fn cancel(&self, py: Python<'_>) {
        let attempt = self.attempt(py).take();
        if let Some(attempt) = attempt {
            attempt.pending.forget();
        }
    }

    /// The result of the attempt: whether the name is held. Without a result it is cancelled, and
    /// this raises TimeoutError if its time was over.
    fn finish(&self, py: Python<'_>) -> PyResult<bool> {
        guard(|| {
            let Some(Attempt { driver, result, .. }) = self.attempt(py).take() else {
                return Ok(false);
            };
            // this completes it if it has no result yet
            drop(driver);
            let result = result.lock().unwrap_or_else(PoisonError::into_inner).take();
            let claim = result.transpose().map_err(raise)?.flatten();
            Ok(self.claim.hold(py, claim))
        })
    }

    /// Gives the name up; the revocation resolves the future. None: it was not claimed.
    fn leave(
        &self,
        py: Python<'_>,
        mailbox: &Bound<'_, Mailbox>,
        future: &Bound<'_, PyAny>,
    ) -> PyResult<Option<Submission>> {
        guard(|| {
            let revoke = self.claim.lock(py).leave();
            let db = &self.claim.db;
            match revoke.map(Request::from) {
                Some(revoke) => Ok(Some(mailbox.get().submit(db, revoke, future))),
                None => db.ensure_open().map(|()| None),
            }
        })
    }

    /// The txn that proclaims a value.
    fn proclamation(&self, py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<Txn> {
        guard(|| {
            let value = bytes("value", value)?;
            let txn = self.claim.lock(py).proclamation(&*value);
            txn.map(Txn).map_err(raise)
        })
    }

    /// The exception of a claim whose lease is lost.
    fn lost(&self, py: Python<'_>) -> Py<PyAny> {
        let error = self.claim.lock(py).lost();
        raise(error).into_value(py).into_any()
    }

    /// See Election.leader().
    fn leader(&self, py: Python<'_>) -> PyResult<Option<Py<KeyValue>>> {
        guard(|| self.claim.leader(py))
    }

    /// See Election.observe().
    fn observe(&self, py: Python<'_>) -> PyResult<Leaders> {
        guard(|| self.claim.observe(py))
    }

    #[getter]
    fn is_held(&self, py: Python<'_>) -> bool {
        self.claim.is_held(py)
    }

    #[getter]
    fn key(&self, py: Python<'_>) -> Py<PyBytes> {
        self.claim.key(py)
    }

    #[getter]
    fn revision(&self, py: Python<'_>) -> Option<i64> {
        self.claim.revision(py)
    }

    fn __repr__(&self) -> String {
        self.claim.shown()
    }
}
