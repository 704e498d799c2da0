//! Standing in line for a name: `Lock`, `Election`, and what libkv.aio makes its own of.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use libkv::{ClaimStep, Code, Error, Patience, Request, Response, Watch};
use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use pyo3::types::PyBytes;

use crate::calls::run_txn;
use crate::convert::{bytes, int, seconds};
use crate::error::{has_code, raise};
use crate::guard::{guard, not_pickled};
use crate::handle::Handle;
use crate::interrupt::{ask, call};
use crate::key_value::KeyValue;
use crate::lease::unless_gone;
use crate::mailbox::{Mailbox, PendingResponse, Submission};
use crate::request::Txn;
use crate::value::IntoPython;
use crate::watch::{Leaders, Watcher};

/// A place in the line for a name. An election is one with a value; a lock makes no use of it.
pub struct Claim {
    name: Vec<u8>,
    ttl_seconds: i64,
    /// Held for moments, and never without the interpreter: so it is free in a forked child.
    election: Mutex<libkv::Election>,
    /// Somebody stands in line, or steps out of it, through this.
    busy: AtomicBool,
    db: Handle,
}

/// The right to change it, until it is dropped.
struct Turn<'a>(&'a Claim);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.busy.store(false, Ordering::Release);
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
        let election = Mutex::new(db.election(name.as_slice(), ttl_seconds).map_err(raise)?);
        Ok(Claim {
            name,
            ttl_seconds,
            election,
            busy: AtomicBool::new(false),
            db: db.clone(),
        })
    }

    fn lock(&self, py: Python<'_>) -> MutexGuard<'_, libkv::Election> {
        self.election
            .lock_py_attached(py)
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn begin_turn(&self) -> PyResult<()> {
        self.db.ensure_open()?;
        match self.busy.swap(true, Ordering::Acquire) {
            false => Ok(()),
            true => Err(raise(Error::new(
                Code::InvalidArgument,
                "the handle is in use by another thread or task: each takes one of its own",
            ))),
        }
    }

    fn turn(&self) -> PyResult<Turn<'_>> {
        self.begin_turn().map(|()| Turn(self))
    }

    fn is_held(&self, py: Python<'_>) -> bool {
        self.lock(py).is_leader()
    }

    fn key(&self, py: Python<'_>) -> Py<PyBytes> {
        PyBytes::new(py, self.lock(py).key()).unbind()
    }

    fn revision(&self, py: Python<'_>) -> i64 {
        self.lock(py).revision()
    }

    /// Another handle for the name, which stands nowhere.
    fn onlooker(&self) -> PyResult<libkv::Election> {
        self.db
            .election(self.name.as_slice(), self.ttl_seconds)
            .map_err(raise)
    }

    fn leader(&self, py: Python<'_>) -> PyResult<Option<Py<KeyValue>>> {
        let onlooker = self.onlooker()?;
        ask(py, &self.db, move |_| onlooker.leader())?
            .map(|kv| kv.into_python(py))
            .transpose()
    }

    fn step(&self, py: Python<'_>, response: Option<Response>) -> PyResult<ClaimStep> {
        self.lock(py).claim().step(response).map_err(raise)
    }

    /// A watcher for what it waits for; none if it must look again, since whoever stood before may be gone, and the
    /// memory of it too.
    fn watcher(
        &self,
        py: Python<'_>,
        watch: Watch,
        patience: Patience,
    ) -> PyResult<Option<Watcher>> {
        match ask(py, &patience.limit(&self.db), move |db| db.watch(watch)) {
            Err(error) if has_code(py, &error, Code::Compacted) => Ok(None),
            Err(error) => Err(error),
            Ok(watcher) => {
                self.lock(py).claim().wake_when_lost(&watcher);
                Ok(Some(Watcher::new(&self.db, watcher)))
            }
        }
    }

    fn leave(&self, py: Python<'_>) -> Option<libkv::LeaseRevoke> {
        self.lock(py).claim().leave()
    }

    /// Leaves the line without waiting; what cannot be revoked ends with its TTL.
    fn forget(&self, py: Python<'_>) {
        if let Some(revoke) = self.leave(py) {
            self.db.submit(revoke, |_| {});
        }
    }

    /// Leaves the line; `db` is asked for that.
    fn give_up(&self, py: Python<'_>, db: &libkv::Db) -> PyResult<()> {
        match self.leave(py) {
            Some(revoke) => unless_gone(py, call(py, db, revoke)),
            None => self.db.ensure_open(),
        }
    }

    /// Waits until it has the name; with the time over it leaves the line and answers false.
    fn stand(&self, py: Python<'_>, value: &[u8], timeout: Option<Duration>) -> PyResult<bool> {
        let patience = Patience::new(timeout);
        match self.hold(py, value, patience) {
            Ok(true) => return Ok(true),
            Err(error) if !has_ended(py, patience, &error) => {
                self.forget(py);
                return Err(error);
            }
            _ => {}
        }
        match self.give_up(py, &Patience::grace(&self.db)) {
            Err(error) if !has_ended(py, patience, &error) => Err(error),
            _ => Ok(false),
        }
    }

    fn hold(&self, py: Python<'_>, value: &[u8], patience: Patience) -> PyResult<bool> {
        let db = patience.limit(&self.db);
        self.give_up(py, &db)?;
        self.lock(py).claim().set_value(value);
        let mut response = None;
        loop {
            match self.step(py, response.take())? {
                ClaimStep::Held => return Ok(true),
                ClaimStep::Run(request) => response = Some(call(py, &db, request)?),
                ClaimStep::Wait(_) if patience.is_over() => return Ok(false),
                ClaimStep::Wait(watch) => self.wait(py, watch, patience)?,
            }
        }
    }

    fn wait(&self, py: Python<'_>, watch: Watch, patience: Patience) -> PyResult<()> {
        let Some(watcher) = self.watcher(py, watch, patience)? else {
            return Ok(());
        };
        match watcher.wait_for_one(py, patience.left()) {
            Err(error) if !must_look_again(py, &error) => Err(error),
            _ => Ok(()),
        }
    }

    /// What to say when the time is over.
    fn timed_out(&self, py: Python<'_>, timeout: Option<Duration>) -> PyErr {
        let onlooker = Patience::grace(&self.db)
            .election(self.name.as_slice(), self.ttl_seconds)
            .map_err(raise);
        let holder = onlooker
            .and_then(|onlooker| ask(py, &self.db, move |_| onlooker.leader()))
            .ok()
            .flatten();
        let holder = holder.map_or(String::new(), |kv| {
            format!("; {} has it", kv.key.escape_ascii())
        });
        let (name, ms) = (
            self.name.escape_ascii(),
            timeout.unwrap_or_default().as_millis(),
        );
        raise(Error::new(
            Code::Timeout,
            format!("{name} was not acquired within {ms} ms{holder}"),
        ))
    }
}

/// Whether this exception means no more than that the time is over; one that a signal's handler raised does not.
fn has_ended(py: Python<'_>, patience: Patience, error: &PyErr) -> bool {
    let codes = [Code::Timeout, Code::Unavailable, Code::UnknownOutcome];
    codes
        .into_iter()
        .any(|code| patience.has_ended(code) && has_code(py, error, code))
}

fn must_look_again(py: Python<'_>, error: &PyErr) -> bool {
    has_code(py, error, Code::Compacted) || has_code(py, error, Code::Cancelled)
}

/// A lock that one holds at a time, of all threads and processes that use the store; made by Db.lock(). A context
/// manager that acquires and releases it. Its keys are laid out as etcd's own lock service does.
///
/// What it guarantees: whoever acquires it is the only one whose key is first in the line, in the order in which
/// they came. It is freed when it is released or collected, and within 500 ms of the death of its process.
///
/// What it does not: a holder that is stopped for longer than the TTL loses its lease without noticing while it is
/// stopped, and somebody else gets the lock. A write that must not come from such a former holder names revision,
/// which only grows from holder to holder: let what is protected refuse a lower one than it has seen, or make the
/// write a txn that compares the create_revision of key with it.
///
/// A handle is one place in the line: each thread takes one of its own, a handle that is in use raises
/// InvalidArgumentError.
#[pyclass(frozen, module = "libkv")]
pub struct Lock(Claim);

impl Lock {
    pub fn new(claim: Claim) -> Lock {
        Lock(claim)
    }
}

#[pymethods]
impl Lock {
    /// Waits until it has the lock, timeout seconds at most (None: for ever); does nothing if it has it. Waits without
    /// the interpreter; Ctrl-C ends the wait.
    ///
    /// Raises TimeoutError, which names the holder's key, LeaseLostError, and as Db.put(). After any exception it
    /// stands in no line.
    #[pyo3(signature = (timeout=None))]
    fn acquire(&self, py: Python<'_>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        guard(|| {
            let timeout = seconds("timeout", timeout)?;
            let _turn = self.0.turn()?;
            match self.0.is_held(py) || self.0.stand(py, b"", timeout)? {
                true => Ok(()),
                false => Err(self.0.timed_out(py, timeout)),
            }
        })
    }

    /// Takes the lock if nobody has it or waits for it; whether it has it.
    fn try_acquire(&self, py: Python<'_>) -> PyResult<bool> {
        guard(|| {
            let _turn = self.0.turn()?;
            if self.0.is_held(py) {
                return Ok(true);
            }
            Ok(self.0.leader(py)?.is_none() && self.0.stand(py, b"", Some(Duration::ZERO))?)
        })
    }

    /// Frees the lock; does nothing if it is not held. Raises as Db.lease_revoke(); it is then freed by its TTL.
    fn release(&self, py: Python<'_>) -> PyResult<()> {
        guard(|| {
            let _turn = self.0.turn()?;
            self.0.give_up(py, &self.0.db)
        })
    }

    /// Whether it is held, as far as is known here: False once its lease is known to be lost.
    #[getter]
    fn is_held(&self, py: Python<'_>) -> bool {
        self.0.is_held(py)
    }

    /// Its key in the store while it is held, as bytes; else empty.
    #[getter]
    fn key(&self, py: Python<'_>) -> Py<PyBytes> {
        self.0.key(py)
    }

    /// The revision that created its key, which fences; 0 while it is not held.
    #[getter]
    fn revision(&self, py: Python<'_>) -> i64 {
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
        format!(
            "<libkv.Lock {:?}, {state}>",
            String::from_utf8_lossy(&self.0.name)
        )
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(not_pickled(
            "a Lock",
            "make one by the same name where it is needed",
        ))
    }
}

/// An election of one leader among all who campaign for a name; made by Db.election(). Its keys are laid out as
/// etcd's own election service does. A context manager that resigns.
///
/// What it guarantees: of all keys of the name the one that was put first is the leader's, and its value is what the
/// leader proclaims. A leader that resigns, or whose process dies, is followed by the next who campaigned, in the
/// order in which they came.
///
/// What it does not: a leader that is stopped for longer than the TTL may wake up and believe for a moment that it
/// still leads. proclaim() is refused then; other writes are fenced by revision, as with Lock.
#[pyclass(frozen, module = "libkv")]
pub struct Election(Claim);

impl Election {
    pub fn new(claim: Claim) -> Election {
        Election(claim)
    }
}

#[pymethods]
impl Election {
    /// Waits until it leads, timeout seconds at most (None: for ever), and proclaims value (bytes, a buffer or str)
    /// as its own. Waits as Lock.acquire().
    ///
    /// Raises TimeoutError, LeaseLostError, and as Db.put(). After any exception it does not stand.
    #[pyo3(signature = (value, timeout=None))]
    fn campaign(
        &self,
        py: Python<'_>,
        value: &Bound<'_, PyAny>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        guard(|| {
            let (bytes, timeout) = (bytes("value", value)?, seconds("timeout", timeout)?);
            let _turn = self.0.turn()?;
            if self.0.is_held(py) {
                return self.proclaim(py, value);
            }
            match self.0.stand(py, &bytes, timeout)? {
                true => Ok(()),
                false => Err(self.0.timed_out(py, timeout)),
            }
        })
    }

    /// Changes the value that the leader is known by. Raises FailedPreconditionError if it does not lead,
    /// LeaseLostError if it does no longer, and as Db.put().
    fn proclaim(&self, py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        guard(|| {
            let proclamation = self
                .0
                .lock(py)
                .proclamation(&*bytes("value", value)?)
                .map_err(raise)?;
            match run_txn(py, &self.0.db, proclamation)?.succeeded {
                true => Ok(()),
                false => Err(raise(self.0.lock(py).claim().lost())),
            }
        })
    }

    /// The leader's pair, or None. It may be another process's.
    fn leader(&self, py: Python<'_>) -> PyResult<Option<Py<KeyValue>>> {
        guard(|| self.0.leader(py))
    }

    /// Each leader from the present one on, and each value that one proclaims: an iterator of KeyValue.
    fn observe(&self, py: Python<'_>) -> PyResult<Leaders> {
        guard(|| {
            let onlooker = self.0.onlooker()?;
            Ok(Leaders::new(
                &self.0.db,
                ask(py, &self.0.db, move |_| onlooker.observe())?,
            ))
        })
    }

    /// Steps down, or out of the line; does nothing if it stands nowhere. Raises as Db.lease_revoke().
    fn resign(&self, py: Python<'_>) -> PyResult<()> {
        guard(|| {
            let _turn = self.0.turn()?;
            self.0.give_up(py, &self.0.db)
        })
    }

    /// Whether it leads, as far as is known here: False once its lease is known to be lost.
    #[getter]
    fn is_leader(&self, py: Python<'_>) -> bool {
        self.0.is_held(py)
    }

    /// Its key in the store while it leads, as bytes; else empty.
    #[getter]
    fn key(&self, py: Python<'_>) -> Py<PyBytes> {
        self.0.key(py)
    }

    /// The revision that created its key, which fences; 0 while it does not lead.
    #[getter]
    fn revision(&self, py: Python<'_>) -> i64 {
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
        format!(
            "<libkv.Election {:?}, {state}>",
            String::from_utf8_lossy(&self.0.name)
        )
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(not_pickled(
            "an Election",
            "make one by the same name where it is needed",
        ))
    }
}

/// Whoever stands just before in the line, for libkv.aio.
#[pyclass(frozen, name = "_Before", module = "libkv._libkv")]
pub struct Before(Watch);

/// A place in the line for a name, step by step, for libkv.aio.
#[pyclass(frozen, name = "_Claim", module = "libkv._libkv")]
pub struct Steps(Claim);

impl Steps {
    pub fn new(claim: Claim) -> Steps {
        Steps(claim)
    }
}

#[pymethods]
impl Steps {
    /// Takes the turn, which end() gives back.
    fn begin(&self) -> PyResult<()> {
        guard(|| self.0.begin_turn())
    }

    /// Gives the turn back.
    fn end(&self) {
        drop(Turn(&self.0));
    }

    /// Before the first step: leaves the place that it may still have, and takes a value.
    fn renew(&self, py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        guard(|| {
            let value = bytes("value", value)?;
            self.0.forget(py);
            self.0.lock(py).claim().set_value(&*value);
            Ok(())
        })
    }

    /// Goes on, with what was asked last. What is to be waited for next: _PendingResponse wakes the future, _Before is to be
    /// followed; None: it has the name. Never waits.
    fn step(
        &self,
        py: Python<'_>,
        asked: Option<&Bound<'_, PendingResponse>>,
        mailbox: &Bound<'_, Mailbox>,
        future: &Bound<'_, PyAny>,
    ) -> PyResult<Option<Py<PyAny>>> {
        guard(|| {
            let response = asked
                .and_then(|asked| asked.get().take())
                .transpose()
                .map_err(raise)?;
            Ok(match self.0.step(py, response)? {
                ClaimStep::Held => None,
                ClaimStep::Run(request) => {
                    let asked = mailbox.get().ask(&self.0.db, request, future);
                    Some(Py::new(py, asked)?.into_any())
                }
                ClaimStep::Wait(watch) => Some(Py::new(py, Before(watch))?.into_any()),
            })
        })
    }

    /// A Watcher that has something once the one before is gone, or the lease; None: go on at once. A cluster must
    /// have made it within timeout seconds.
    fn follow(
        &self,
        py: Python<'_>,
        before: &Bound<'_, Before>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Option<Watcher>> {
        guard(|| {
            self.0.watcher(
                py,
                before.get().0.clone(),
                Patience::new(seconds("timeout", timeout)?),
            )
        })
    }

    /// Leaves the line; the revocation resolves the future. None: it stood nowhere.
    fn leave(
        &self,
        py: Python<'_>,
        mailbox: &Bound<'_, Mailbox>,
        future: &Bound<'_, PyAny>,
    ) -> PyResult<Option<Submission>> {
        guard(|| {
            let revoke = self.0.leave(py);
            match revoke {
                Some(revoke) => Ok(Some(mailbox.get().submit(
                    &self.0.db,
                    Request::from(revoke),
                    future,
                ))),
                None => self.0.db.ensure_open().map(|()| None),
            }
        })
    }

    /// Leaves the line without waiting.
    fn forget(&self, py: Python<'_>) -> PyResult<()> {
        guard(|| {
            self.0.forget(py);
            Ok(())
        })
    }

    /// The txn that proclaims a value.
    fn proclamation(&self, py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<Txn> {
        guard(|| {
            self.0
                .lock(py)
                .proclamation(&*bytes("value", value)?)
                .map(Txn)
                .map_err(raise)
        })
    }

    /// The exception of a claim whose place is gone.
    fn lost(&self, py: Python<'_>) -> Py<PyAny> {
        raise(self.0.lock(py).claim().lost())
            .into_value(py)
            .into_any()
    }

    /// The exception of one whose time is over.
    fn timed_out(&self, py: Python<'_>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Py<PyAny>> {
        guard(|| {
            Ok(self
                .0
                .timed_out(py, seconds("timeout", timeout)?)
                .into_value(py)
                .into_any())
        })
    }

    /// See Election.leader().
    fn leader(&self, py: Python<'_>) -> PyResult<Option<Py<KeyValue>>> {
        guard(|| self.0.leader(py))
    }

    /// See Election.observe().
    fn observe(&self, py: Python<'_>) -> PyResult<Leaders> {
        guard(|| {
            let onlooker = self.0.onlooker()?;
            Ok(Leaders::new(
                &self.0.db,
                ask(py, &self.0.db, move |_| onlooker.observe())?,
            ))
        })
    }

    #[getter]
    fn is_held(&self, py: Python<'_>) -> bool {
        self.0.is_held(py)
    }

    #[getter]
    fn key(&self, py: Python<'_>) -> Py<PyBytes> {
        self.0.key(py)
    }

    #[getter]
    fn revision(&self, py: Python<'_>) -> i64 {
        self.0.revision(py)
    }

    fn __repr__(&self) -> String {
        format!("{:?}", String::from_utf8_lossy(&self.0.name))
    }
}
