//! `Watcher` and `Leaders`. One reader at a time: a thread that waits, or a task of an event loop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::time::Duration;

use libkv::{Code, Error, WaitLimit};
use pyo3::prelude::*;

use crate::convert::seconds;
use crate::error::{has_code, raise};
use crate::guard::{detached, guard, lock, not_pickled};
use crate::handle::Handle;
use crate::interrupt::unless_signalled;
use crate::key_value::KeyValue;
use crate::mailbox::{Mailbox, PendingFuture};
use crate::parker::Parker;
use crate::response::WatchBatch;
use crate::value::IntoField;

/// A source of items that wakes its reader when there is one.
pub trait Source: Send + Sync + 'static {
    type Item: Send;

    /// The next item if there is one now. A request to a cluster ends with `wait_limit`.
    fn try_next(&self, py: Python<'_>, wait_limit: WaitLimit) -> PyResult<Option<Self::Item>>;

    /// Sets the waker for the next item; it is called at once if there is one.
    fn set_waker(&self, waker: Option<Waker>);
}

impl Source for libkv::Watcher {
    type Item = libkv::WatchBatch;

    fn try_next(&self, py: Python<'_>, _: WaitLimit) -> PyResult<Option<libkv::WatchBatch>> {
        detached(py, || libkv::Watcher::try_next(self))
    }

    fn set_waker(&self, waker: Option<Waker>) {
        libkv::Watcher::set_waker(self, waker);
    }
}

/// A thread that holds this lock does not wait for the interpreter.
impl Source for Mutex<libkv::Leaders> {
    type Item = libkv::KeyValue;

    fn try_next(&self, py: Python<'_>, wait_limit: WaitLimit) -> PyResult<Option<libkv::KeyValue>> {
        let (found, signal) = unless_signalled(py, |interrupted| {
            lock(self).try_next_unless(wait_limit, interrupted)
        });
        signal.map_or(found, Err)
    }

    fn set_waker(&self, waker: Option<Waker>) {
        lock(self).watcher().set_waker(waker);
    }
}

/// A source and its reader.
pub struct Subscription<S: Source> {
    pub source: S,
    /// A thread or task waits for the next item, or takes it.
    is_read: AtomicBool,
    db: Handle,
}

/// The exclusive right to read. Dropping it removes the waker.
struct ReadLock<'a, S: Source>(&'a Subscription<S>);

impl<S: Source> Drop for ReadLock<'_, S> {
    fn drop(&mut self) {
        self.0.end_read();
    }
}

impl<S: Source> Subscription<S> {
    pub fn new(db: &Handle, source: S) -> Arc<Subscription<S>> {
        Arc::new(Subscription {
            source,
            is_read: AtomicBool::new(false),
            db: db.clone(),
        })
    }

    fn begin_read(&self) -> PyResult<()> {
        // first: in a forked child the reader does not exist, so that it would never finish
        self.db.ensure_open()?;
        match self.is_read.swap(true, Ordering::Acquire) {
            false => Ok(()),
            true => Err(raise(Error::new(
                Code::InvalidArgument,
                "another thread or task is reading: only one at a time may read",
            ))),
        }
    }

    fn end_read(&self) {
        if !self.db.is_closed() {
            self.source.set_waker(None);
        }
        self.is_read.store(false, Ordering::Release);
    }

    fn read_lock(&self) -> PyResult<ReadLock<'_, S>> {
        self.begin_read().map(|()| ReadLock(self))
    }

    /// The next item; none after the timeout (none: no limit).
    pub fn next(&self, py: Python<'_>, timeout: Option<Duration>) -> PyResult<Option<S::Item>> {
        let wait_limit = WaitLimit::new(timeout);
        let _reading = self.read_lock()?;
        let mut parker = None;
        loop {
            let found = self.source.try_next(py, wait_limit)?;
            if found.is_some() || wait_limit.is_over() {
                return Ok(found);
            }
            let parker = match &parker {
                Some(parker) => parker,
                None => &*parker.insert(Parker::new()?),
            };
            self.source.set_waker(Some(parker.waker()));
            parker.park(py, wait_limit.until())?;
        }
    }

    /// The next item if there is one now.
    pub fn try_next(&self, py: Python<'_>) -> PyResult<Option<S::Item>> {
        let _reading = self.read_lock()?;
        self.source
            .try_next(py, WaitLimit::new(Some(Duration::ZERO)))
    }

    /// A step of the iterator: it ends after cancel or close; under a closed store it is an error.
    fn step(&self, py: Python<'_>) -> PyResult<Option<S::Item>> {
        match self.next(py, None) {
            Err(error) if !self.db.is_closed() && is_end(py, &error) => Ok(None),
            item => item,
        }
    }

    /// Resolves a future of a loop when there may be an item.
    fn wait(self: &Arc<Self>, mailbox: &Mailbox, future: &Bound<'_, PyAny>) -> PyResult<Wait> {
        self.begin_read()?;
        let pending = mailbox.register(future);
        self.source.set_waker(Some(pending.waker()));
        let following = self.clone();
        let end = move || following.end_read();
        Ok(Wait {
            pending,
            end: Mutex::new(Some(Box::new(end))),
        })
    }
}

fn is_end(py: Python<'_>, error: &PyErr) -> bool {
    has_code(py, error, Code::Cancelled) || has_code(py, error, Code::Closed)
}

/// The wait of a future, for libkv.aio.
#[pyclass(frozen, name = "_Wait", module = "libkv._libkv")]
pub struct Wait {
    pending: PendingFuture,
    end: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Wait {
    /// A wait whose end needs no other action.
    pub fn new(pending: PendingFuture) -> Wait {
        Wait {
            pending,
            end: Mutex::default(),
        }
    }
}

#[pymethods]
impl Wait {
    /// Ends the wait; the future is not resolved any more.
    fn end(&self) {
        let end = lock(&self.end).take();
        if let Some(end) = end {
            end();
        }
        self.pending.forget();
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.end();
    }
}

/// Declares a class over a subscription, with the methods that all such classes have.
macro_rules! stream {
    ($(#[$doc:meta])* $name:ident, $source:ty, $item:ty; $( $methods:tt )*) => {
        $(#[$doc])*
        #[pyclass(frozen, module = "libkv")]
        pub struct $name(Arc<Subscription<$source>>);

        #[pymethods]
        impl $name {
            $( $methods )*

            /// Resolves the future when there may be an item, for libkv.aio.
            fn _wait(
                &self,
                mailbox: &Bound<'_, Mailbox>,
                future: &Bound<'_, PyAny>,
            ) -> PyResult<Wait> {
                guard(|| self.0.wait(mailbox.get(), future))
            }

            fn __iter__(slf: Py<Self>) -> Py<Self> {
                slf
            }

            fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<$item>>> {
                guard(|| self.0.step(py)?.into_field(py))
            }

            fn __enter__(slf: PyRef<'_, Self>) -> PyResult<PyRef<'_, Self>> {
                slf.0.db.ensure_open()?;
                Ok(slf)
            }

            #[pyo3(signature = (*_exception))]
            fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyAny>) -> PyResult<()> {
                self.close(py)
            }
        }
    };
}

impl Watcher {
    pub fn new(db: &Handle, watcher: libkv::Watcher) -> Watcher {
        Watcher(Subscription::new(db, watcher))
    }
}

stream! {
    /// Watches a range; created by Db.watch(). An iterator of WatchBatch, and a context manager
    /// that closes it.
    ///
    /// Each batch is one complete revision; none is missing and none is delivered twice. A watcher
    /// that is not read delays no compaction and costs writers nothing. If a compaction passes its
    /// position, it raises CompactedError, whose revision is the first that a new watcher may start
    /// from.
    ///
    /// One thread at a time may read; another one gets InvalidArgumentError. Any thread may call
    /// cancel() and close(), which end an iteration. After the store is closed it raises
    /// ClosedError.
    Watcher, libkv::Watcher, WatchBatch;

    /// Returns the next WatchBatch; None after timeout (seconds; None: no limit). Waits without the
    /// interpreter; Ctrl-C ends the wait and loses no batch.
    ///
    /// Raises CompactedError, CancelledError, ClosedError, ForkedError, InvalidArgumentError
    /// (another thread is reading).
    #[pyo3(signature = (timeout=None))]
    fn next(
        &self,
        py: Python<'_>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Option<Py<WatchBatch>>> {
        guard(|| self.0.next(py, seconds("timeout", timeout)?)?.into_field(py))
    }

    /// Returns the next WatchBatch if there is one now, otherwise None. Does not wait. Raises as
    /// next().
    fn try_next(&self, py: Python<'_>) -> PyResult<Option<Py<WatchBatch>>> {
        guard(|| self.0.try_next(py)?.into_field(py))
    }

    /// Cancels it, from any thread: a waiting call and every later one raises CancelledError.
    fn cancel(&self, py: Python<'_>) -> PyResult<()> {
        guard(|| {
            detached(py, || {
                self.0.source.cancel();
                Ok(())
            })
        })
    }

    /// Closes it, from any thread: every later call raises ClosedError. A second close has no
    /// effect.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        guard(|| {
            detached(py, || {
                self.0.source.close();
                Ok(())
            })
        })
    }

    /// The start_revision of a watcher that continues this one without missing or repeating a
    /// revision.
    #[getter]
    fn resume_revision(&self) -> i64 {
        self.0.source.resume_revision()
    }

    /// Returns a file descriptor that is readable while try_next() may return a batch. The watcher
    /// owns it: poll it, but do not read or close it.
    fn fileno(&self) -> PyResult<i32> {
        guard(|| self.0.source.fd().map_err(raise))
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
            "create another where it is needed, at its resume_revision",
        ))
    }
}

impl Leaders {
    pub fn new(db: &Handle, leaders: libkv::Leaders) -> Leaders {
        Leaders(Subscription::new(db, Mutex::new(leaders)))
    }
}

stream! {
    /// The leaders of an election, one after the other; created by Election.observe(). An iterator
    /// of KeyValue, and a context manager that closes it. One thread at a time may read, as with a
    /// Watcher.
    Leaders, Mutex<libkv::Leaders>, KeyValue;

    /// Returns the next leader's KeyValue; None after timeout (seconds; None: no limit). If changes
    /// come faster than they are read, only the last is returned. Waits and raises as
    /// Watcher.next(), except CompactedError.
    #[pyo3(signature = (timeout=None))]
    fn next(
        &self,
        py: Python<'_>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Option<Py<KeyValue>>> {
        guard(|| self.0.next(py, seconds("timeout", timeout)?)?.into_field(py))
    }

    /// Returns the next leader's KeyValue if there is one now, otherwise None. Does not wait.
    fn try_next(&self, py: Python<'_>) -> PyResult<Option<Py<KeyValue>>> {
        guard(|| self.0.try_next(py)?.into_field(py))
    }

    /// Closes it, from any thread: every later call raises ClosedError. A second close has no
    /// effect.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        guard(|| {
            // in a forked child a lock of another thread is never released
            if self.0.db.is_closed() {
                return Ok(());
            }
            detached(py, || {
                lock(&self.0.source).close();
                Ok(())
            })
        })
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
