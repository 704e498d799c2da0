//! The results for the futures of an event loop: responses and signals, in groups, with one wake-up
//! for each group.
//!
//! No thread of the library uses Python. A completion puts its response into a queue. The first of
//! a group also writes a byte to a socket that the loop watches (`add_reader`); then the loop's
//! thread takes the whole queue. So the commit path never waits for the interpreter, also while it
//! ends.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};

use libkv::{LeaseRevoke, Request, Response, Result};
use pyo3::intern;
use pyo3::prelude::*;

use crate::error::raise;
use crate::guard::{guard, lock};
use crate::handle::Handle;
use crate::value::IntoPython;

/// The result of a future.
enum Mail {
    /// The response to a write, or its exception.
    Response(Result<Response>),
    /// No value: the event that the future waits for has happened.
    Signal,
}

/// The results that threads of the library leave for the loop.
struct Queue {
    mail: Mutex<Vec<(u64, Mail)>>,
    wake: UnixStream,
}

impl Queue {
    fn push(&self, id: u64, item: Mail) {
        let first = {
            let mut mail = lock(&self.mail);
            mail.push((id, item));
            mail.len() == 1
        };
        if first {
            // the socket is never full: one byte is enough until the loop takes the queue
            let _ = (&self.wake).write(&[1]);
        }
    }
}

/// The futures by number.
#[derive(Default)]
struct PendingFutures {
    last: u64,
    futures: HashMap<u64, Py<PyAny>>,
}

/// The mailbox of one event loop, for libkv.aio. Only the loop's thread uses it.
#[pyclass(frozen, name = "_Mailbox", module = "libkv._libkv")]
pub struct Mailbox {
    queue: Arc<Queue>,
    woken: UnixStream,
    /// Shared with each `PendingFuture`, which can remove itself.
    waiting: Arc<Mutex<PendingFutures>>,
}

/// A future of a loop.
#[derive(Clone)]
pub struct PendingFuture {
    id: u64,
    queue: Arc<Queue>,
    waiting: Arc<Mutex<PendingFutures>>,
}

impl PendingFuture {
    /// A waker that resolves the future once; later calls have no effect.
    pub fn waker(&self) -> Waker {
        Waker::from(Arc::new(FutureWaker {
            id: self.id,
            queue: self.queue.clone(),
            done: AtomicBool::new(false),
        }))
    }

    /// Removes the future; it is not resolved any more.
    pub fn forget(&self) {
        let future = lock(&self.waiting).futures.remove(&self.id);
        drop(future);
    }
}

struct FutureWaker {
    id: u64,
    queue: Arc<Queue>,
    done: AtomicBool,
}

impl Wake for FutureWaker {
    fn wake(self: Arc<Self>) {
        if !self.done.swap(true, Ordering::AcqRel) {
            self.queue.push(self.id, Mail::Signal);
        }
    }
}

impl Mailbox {
    /// Registers a future.
    pub fn register(&self, future: &Bound<'_, PyAny>) -> PendingFuture {
        let mut waiting = lock(&self.waiting);
        waiting.last += 1;
        let id = waiting.last;
        waiting.futures.insert(id, future.clone().unbind());
        PendingFuture {
            id,
            queue: self.queue.clone(),
            waiting: self.waiting.clone(),
        }
    }

    /// Submits a write; `future` gets the response.
    pub fn submit(
        &self,
        db: &libkv::Db,
        request: Request,
        future: &Bound<'_, PyAny>,
    ) -> Submission {
        let pending = self.register(future);
        let (id, queue) = (pending.id, pending.queue.clone());
        let submitted = db.submit(request, move |response| {
            queue.push(id, Mail::Response(response))
        });
        Submission {
            inner: Mutex::new(Some(submitted)),
            pending,
        }
    }

    /// Submits a write whose response stays in the returned object; `future` is resolved when it is
    /// there.
    pub fn submit_and_keep(
        &self,
        db: &Handle,
        request: Request,
        future: &Bound<'_, PyAny>,
    ) -> PendingResponse {
        let (pending, response) = (self.register(future), Arc::new(Mutex::new(None)));
        let (id, queue, slot) = (pending.id, pending.queue.clone(), response.clone());
        let submitted = db.submit(request, move |response| {
            *lock(&slot) = Some(response);
            queue.push(id, Mail::Signal);
        });
        let submitted = Submission {
            inner: Mutex::new(Some(submitted)),
            pending,
        };
        PendingResponse {
            submitted,
            response,
            db: db.clone(),
        }
    }
}

#[pymethods]
impl Mailbox {
    #[new]
    fn new() -> PyResult<Mailbox> {
        guard(|| {
            let (wake, woken) = UnixStream::pair()?;
            wake.set_nonblocking(true)?;
            woken.set_nonblocking(true)?;
            let queue = Arc::new(Queue {
                mail: Mutex::default(),
                wake,
            });
            Ok(Mailbox {
                queue,
                woken,
                waiting: Arc::default(),
            })
        })
    }

    /// The descriptor for the loop's add_reader().
    fn fileno(&self) -> i32 {
        self.woken.as_raw_fd()
    }

    /// Called by the loop when the descriptor is readable: resolves the futures with results.
    fn resolve(&self, py: Python<'_>) -> PyResult<()> {
        guard(|| {
            // before the queue is taken, so that a later result writes a byte again
            let _ = (&self.woken).read(&mut [0; 16]);
            let mail = std::mem::take(&mut *lock(&self.queue.mail));
            let mut resolved = Ok(());
            for (id, item) in mail {
                let future = lock(&self.waiting).futures.remove(&id);
                if let Some(future) = future {
                    // an exception of one is raised after all are resolved
                    resolved = resolved.and(resolve(future.bind(py), item));
                }
            }
            resolved
        })
    }
}

fn resolve(future: &Bound<'_, PyAny>, item: Mail) -> PyResult<()> {
    let py = future.py();
    if future.call_method0(intern!(py, "done"))?.is_truthy()? {
        return Ok(());
    }
    let response = match item {
        Mail::Response(response) => response
            .map_err(raise)
            .and_then(|response| response.into_python(py)),
        Mail::Signal => Ok(py.None()),
    };
    match response {
        Ok(response) => future.call_method1(intern!(py, "set_result"), (response,))?,
        Err(error) => future.call_method1(intern!(py, "set_exception"), (error,))?,
    };
    Ok(())
}

/// A submitted write, for libkv.aio.
#[pyclass(frozen, name = "_Submission", module = "libkv._libkv")]
pub struct Submission {
    inner: Mutex<Option<libkv::engine::Submission>>,
    pending: PendingFuture,
}

#[pymethods]
impl Submission {
    /// Cancels the write; returns False if a writer has begun it, or it is done.
    fn cancel(&self) -> PyResult<bool> {
        guard(|| {
            let submitted = lock(&self.inner).take();
            let withdrawn = submitted.is_some_and(libkv::engine::Submission::cancel);
            if withdrawn {
                self.pending.forget();
            }
            Ok(withdrawn)
        })
    }
}

/// A submitted request whose response stays here, for libkv.aio.
#[pyclass(frozen, name = "_PendingResponse", module = "libkv._libkv")]
pub struct PendingResponse {
    submitted: Submission,
    response: Arc<Mutex<Option<Result<Response>>>>,
    db: Handle,
}

impl PendingResponse {
    /// Takes the response.
    pub fn take(&self) -> Option<Result<Response>> {
        lock(&self.response).take()
    }

    /// The store.
    pub fn db(&self) -> &Handle {
        &self.db
    }
}

#[pymethods]
impl PendingResponse {
    /// Cancels the request; returns False if a writer has begun it, or it is done.
    fn cancel(&self) -> PyResult<bool> {
        self.submitted.cancel()
    }

    /// Revokes the lease of a response that comes too late.
    fn abandon(&self) -> PyResult<()> {
        guard(|| {
            if let Some(Ok(Response::LeaseGrant(granted))) = self.take() {
                self.db.submit(LeaseRevoke::new(granted.id), |_| {});
            }
            Ok(())
        })
    }
}
