//! What follows a store: `Watcher` and `Leaders`. One reads at a time: a thread that waits, or a task of an
//! event loop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use libkv::{Code, Error, Patience};
use pyo3::prelude::*;

use crate::convert::seconds;
use crate::error::{has_code, raise};
use crate::guard::{detached, guard, not_pickled, unless_signalled};
use crate::handle::Handle;
use crate::response::{IntoPython, KeyValue, WatchBatch};
use crate::sleep::Sleep;
use crate::submit::{Answers, Place};

/// Something that has items now and then, and wakes whoever waits for one.
pub trait Source: Send + Sync + 'static {
    type Item: Send;

    /// The next item if there is one now; what must be asked of a cluster for that ends with the time.
    fn try_next(&self, py: Python<'_>, patience: Patience) -> PyResult<Option<Self::Item>>;

    /// Whom to wake when there may be one; at once if there is.
    fn set_waker(&self, waker: Option<Waker>);
}

impl Source for libkv::Watcher {
    type Item = libkv::WatchBatch;

    fn try_next(&self, py: Python<'_>, _: Patience) -> PyResult<Option<libkv::WatchBatch>> {
        detached(py, || libkv::Watcher::try_next(self))
    }

    fn set_waker(&self, waker: Option<Waker>) {
        libkv::Watcher::set_waker(self, waker);
    }
}

/// Whoever holds this lock does not need the interpreter before it is given back.
impl Source for Mutex<libkv::Leaders> {
    type Item = libkv::KeyValue;

    fn try_next(&self, py: Python<'_>, patience: Patience) -> PyResult<Option<libkv::KeyValue>> {
        let (found, signal) = unless_signalled(py, |interrupted| {
            lock(self).try_next_unless(patience, interrupted)
        });
        signal.map_or(found, Err)
    }

    fn set_waker(&self, waker: Option<Waker>) {
        lock(self).watcher().set_waker(waker);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A source with whoever reads it.
pub struct Following<S: Source> {
    pub source: S,
    /// Somebody waits for the next item, or takes it.
    reading: AtomicBool,
    db: Handle,
}

/// The right to read, until it is dropped: nobody is woken any more then.
struct Turn<'a, S: Source>(&'a Following<S>);

impl<S: Source> Drop for Turn<'_, S> {
    fn drop(&mut self) {
        self.0.end_turn();
    }
}

impl<S: Source> Following<S> {
    pub fn new(db: &Handle, source: S) -> Arc<Following<S>> {
        Arc::new(Following {
            source,
            reading: AtomicBool::new(false),
            db: db.clone(),
        })
    }

    fn begin_turn(&self) -> PyResult<()> {
        // asked first: in a forked child whoever reads is not there to finish
        self.db.ensure_open()?;
        match self.reading.swap(true, Ordering::Acquire) {
            false => Ok(()),
            true => Err(raise(Error::new(
                Code::InvalidArgument,
                "it is being read by another thread or task: one reads at a time",
            ))),
        }
    }

    fn end_turn(&self) {
        if !self.db.is_closed() {
            self.source.set_waker(None);
        }
        self.reading.store(false, Ordering::Release);
    }

    fn turn(&self) -> PyResult<Turn<'_, S>> {
        self.begin_turn().map(|()| Turn(self))
    }

    /// The next item; none if the time (none: for ever) has passed without one.
    pub fn next(&self, py: Python<'_>, timeout: Option<Duration>) -> PyResult<Option<S::Item>> {
        let patience = Patience::new(timeout);
        let _turn = self.turn()?;
        let mut sleep = None;
        loop {
            let found = self.source.try_next(py, patience)?;
            if found.is_some() || patience.is_over() {
                return Ok(found);
            }
            let sleep = match &sleep {
                Some(sleep) => sleep,
                None => &*sleep.insert(Sleep::new()?),
            };
            self.source.set_waker(Some(sleep.waker()));
            sleep.until(py, patience.until())?;
        }
    }

    /// The next item if there is one now.
    pub fn try_next(&self, py: Python<'_>) -> PyResult<Option<S::Item>> {
        let _turn = self.turn()?;
        self.source
            .try_next(py, Patience::new(Some(Duration::ZERO)))
    }

    /// As an iterator: what was cancelled or closed by itself is at its end, under a closed store it is an error.
    fn step(&self, py: Python<'_>) -> PyResult<Option<S::Item>> {
        match self.next(py, None) {
            Err(error) if !self.db.is_closed() && is_end(py, &error) => Ok(None),
            item => item,
        }
    }

    /// Resolves a future of a loop once there may be something.
    fn wait(self: &Arc<Self>, responses: &Answers, future: &Bound<'_, PyAny>) -> PyResult<Wait> {
        self.begin_turn()?;
        let place = responses.place(future);
        self.source.set_waker(Some(place.waker()));
        let following = self.clone();
        let end = move || following.end_turn();
        Ok(Wait {
            place,
            end: Mutex::new(Some(Box::new(end))),
        })
    }
}

fn is_end(py: Python<'_>, error: &PyErr) -> bool {
    has_code(py, error, Code::Cancelled) || has_code(py, error, Code::Closed)
}

/// A future that waits to be woken, for libkv.aio.
#[pyclass(frozen, name = "_Wait", module = "libkv._libkv")]
pub struct Wait {
    place: Place,
    end: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Wait {
    /// For what needs nothing done in the end.
    pub fn new(place: Place) -> Wait {
        Wait {
            place,
            end: Mutex::default(),
        }
    }
}

#[pymethods]
impl Wait {
    /// Waits no longer: the future is forgotten.
    fn end(&self) {
        let end = lock(&self.end).take();
        if let Some(end) = end {
            end();
        }
        self.place.forget();
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.end();
    }
}

/// Follows a range; made by Db.watch(). An iterator of WatchBatch, and a context manager that closes it.
///
/// Each batch is one whole revision, none is left out and none comes twice. A watcher that is not read holds
/// nothing back and costs writers nothing. Once a compaction has passed what it has not read it raises
/// CompactedError, whose revision is the first that a new watcher may start from.
///
/// One thread reads at a time: a second one gets InvalidArgumentError. cancel() and close() may be called from
/// any; either ends an iteration. Under a store that is closed it raises ClosedError.
#[pyclass(frozen, module = "libkv")]
pub struct Watcher(Arc<Following<libkv::Watcher>>);

impl Watcher {
    pub fn new(db: &Handle, watcher: libkv::Watcher) -> Watcher {
        Watcher(Following::new(db, watcher))
    }
}

#[pymethods]
impl Watcher {
    /// The next batch; None if timeout (seconds; None: for ever) has passed without one. Waits without the
    /// interpreter; Ctrl-C ends the wait and loses nothing.
    ///
    /// Raises CompactedError, CancelledError, ClosedError, ForkedError, InvalidArgumentError (another thread reads).
    #[pyo3(signature = (timeout=None))]
    fn next(
        &self,
        py: Python<'_>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Option<Py<WatchBatch>>> {
        guard(|| {
            self.0
                .next(py, seconds("timeout", timeout)?)?
                .map(|batch| batch.into_python(py))
                .transpose()
        })
    }

    /// The next batch if there is one now, else None. Never waits. Raises as next().
    fn try_next(&self, py: Python<'_>) -> PyResult<Option<Py<WatchBatch>>> {
        guard(|| {
            self.0
                .try_next(py)?
                .map(|batch| batch.into_python(py))
                .transpose()
        })
    }

    /// Ends it, from any thread: who waits in it gets CancelledError, as does every later call.
    fn cancel(&self, py: Python<'_>) -> PyResult<()> {
        guard(|| {
            detached(py, || {
                self.0.source.cancel();
                Ok(())
            })
        })
    }

    /// Ends it, from any thread: every later call raises ClosedError. Closing twice is fine.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        guard(|| {
            detached(py, || {
                self.0.source.close();
                Ok(())
            })
        })
    }

    /// The revision to start from the next time, to miss nothing and see nothing twice: after the last batch that
    /// was handed out, or further if nothing has matched since.
    #[getter]
    fn resume_revision(&self) -> i64 {
        self.0.source.resume_revision()
    }

    /// A descriptor that polls as readable while try_next() may have something. It belongs to the watcher: poll it,
    /// but do not read or close it.
    fn fileno(&self) -> PyResult<i32> {
        guard(|| self.0.source.fd().map_err(raise))
    }

    /// Resolves the future once there may be something, for libkv.aio.
    fn _wait(&self, responses: &Bound<'_, Answers>, future: &Bound<'_, PyAny>) -> PyResult<Wait> {
        guard(|| self.0.wait(responses.get(), future))
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<WatchBatch>>> {
        guard(|| {
            self.0
                .step(py)?
                .map(|batch| batch.into_python(py))
                .transpose()
        })
    }

    fn __enter__(slf: PyRef<'_, Self>) -> PyResult<PyRef<'_, Self>> {
        slf.0.db.ensure_open()?;
        Ok(slf)
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyAny>) -> PyResult<()> {
        self.close(py)
    }

    fn __repr__(&self) -> String {
        format!(
            "<libkv.Watcher from revision {}>",
            self.0.source.resume_revision()
        )
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(not_pickled(
            "a Watcher",
            "begin another where it is needed, at its resume_revision",
        ))
    }
}

/// The leaders of an election, one after the other; made by Election.observe(). An iterator of KeyValue, and a
/// context manager that closes it. One thread reads at a time, as with a Watcher.
#[pyclass(frozen, module = "libkv")]
pub struct Leaders(Arc<Following<Mutex<libkv::Leaders>>>);

impl Leaders {
    pub fn new(db: &Handle, leaders: libkv::Leaders) -> Leaders {
        Leaders(Following::new(db, Mutex::new(leaders)))
    }
}

#[pymethods]
impl Leaders {
    /// The next leader's pair; None if timeout (seconds; None: for ever) has passed without one. Of changes that
    /// come faster than they are read only the last is answered. Waits and raises as Watcher.next(), but for
    /// CompactedError.
    #[pyo3(signature = (timeout=None))]
    fn next(
        &self,
        py: Python<'_>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Option<Py<KeyValue>>> {
        guard(|| {
            self.0
                .next(py, seconds("timeout", timeout)?)?
                .map(|kv| kv.into_python(py))
                .transpose()
        })
    }

    /// The next leader's pair if there is one now, else None. Never waits.
    fn try_next(&self, py: Python<'_>) -> PyResult<Option<Py<KeyValue>>> {
        guard(|| {
            self.0
                .try_next(py)?
                .map(|kv| kv.into_python(py))
                .transpose()
        })
    }

    /// Ends it, from any thread: every later call raises ClosedError. Closing twice is fine.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        guard(|| {
            // in a forked child another thread's lock would never open
            if self.0.db.is_closed() {
                return Ok(());
            }
            detached(py, || {
                lock(&self.0.source).close();
                Ok(())
            })
        })
    }

    /// Resolves the future once there may be something, for libkv.aio.
    fn _wait(&self, responses: &Bound<'_, Answers>, future: &Bound<'_, PyAny>) -> PyResult<Wait> {
        guard(|| self.0.wait(responses.get(), future))
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<KeyValue>>> {
        guard(|| self.0.step(py)?.map(|kv| kv.into_python(py)).transpose())
    }

    fn __enter__(slf: PyRef<'_, Self>) -> PyResult<PyRef<'_, Self>> {
        slf.0.db.ensure_open()?;
        Ok(slf)
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyAny>) -> PyResult<()> {
        self.close(py)
    }

    fn __repr__(&self) -> &'static str {
        "<libkv.Leaders>"
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(not_pickled(
            "Leaders",
            "call observe() again where it is needed",
        ))
    }
}
