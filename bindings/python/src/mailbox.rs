//! What an event loop awaits, writes and wake-ups: their answers come back in groups, one wake-up for each.
//!
//! No thread of the library ever touches Python. A completion puts its answer into a queue; the first
//! of a group also writes a byte to a socket that the loop watches (`add_reader`), and the loop's
//! thread then takes the whole queue. So there is no lock of the interpreter to wait for in the
//! writer's path, and nothing to go wrong while the interpreter ends.

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

/// What a future gets.
enum Mail {
    /// The answer to a write, or its exception.
    Response(Result<Response>),
    /// None: there is something to look at.
    Signal,
}

/// What the library's threads and the loop share.
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
            // never full: one byte stands for all until the loop has taken the queue
            let _ = (&self.wake).write(&[1]);
        }
    }
}

/// The futures that wait, by number.
#[derive(Default)]
struct PendingFutures {
    last: u64,
    futures: HashMap<u64, Py<PyAny>>,
}

/// The answers that one event loop waits for, for libkv.aio. Only the loop's thread uses it.
#[pyclass(frozen, name = "_Mailbox", module = "libkv._libkv")]
pub struct Mailbox {
    queue: Arc<Queue>,
    woken: UnixStream,
    /// Shared with each `PendingFuture`, which can be forgotten.
    waiting: Arc<Mutex<PendingFutures>>,
}

/// A future among those of a loop.
#[derive(Clone)]
pub struct PendingFuture {
    id: u64,
    queue: Arc<Queue>,
    waiting: Arc<Mutex<PendingFutures>>,
}

impl PendingFuture {
    /// Resolves the future once, whoever wakes it and however often.
    pub fn waker(&self) -> Waker {
        Waker::from(Arc::new(FutureWaker {
            id: self.id,
            queue: self.queue.clone(),
            done: AtomicBool::new(false),
        }))
    }

    /// The future is mail nothing from now on.
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
    /// A pending for a future.
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

    /// Hands a write over; the answer goes to `future`.
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

    /// Hands a write over whose answer stays with what this answers; `future` is woken when it is there.
    pub fn ask(&self, db: &Handle, request: Request, future: &Bound<'_, PyAny>) -> PendingResponse {
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

    /// What the loop watches.
    fn fileno(&self) -> i32 {
        self.woken.as_raw_fd()
    }

    /// Called by the loop when there is something to read: resolves every future that was mail something.
    fn resolve(&self, py: Python<'_>) -> PyResult<()> {
        guard(|| {
            // before the queue is taken: what comes later wakes again
            let _ = (&self.woken).read(&mut [0; 16]);
            let mail = std::mem::take(&mut *lock(&self.queue.mail));
            let mut resolved = Ok(());
            for (id, item) in mail {
                let future = lock(&self.waiting).futures.remove(&id);
                if let Some(future) = future {
                    // what one raises is mail once all have their answer
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

/// A write that was handed over, for libkv.aio.
#[pyclass(frozen, name = "_Submission", module = "libkv._libkv")]
pub struct Submission {
    inner: Mutex<Option<libkv::engine::Submission>>,
    pending: PendingFuture,
}

#[pymethods]
impl Submission {
    /// Takes the write back; False if a writer had begun it, or it is done.
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

/// What a lease, a lock or an election has asked of the store, for libkv.aio.
#[pyclass(frozen, name = "_PendingResponse", module = "libkv._libkv")]
pub struct PendingResponse {
    submitted: Submission,
    response: Arc<Mutex<Option<Result<Response>>>>,
    db: Handle,
}

impl PendingResponse {
    /// The answer, once.
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
    /// Takes it back; False if a writer had begun it, or it is done.
    fn cancel(&self) -> PyResult<bool> {
        self.submitted.cancel()
    }

    /// When the answer came too late to be of use: a lease that was granted is given back.
    fn abandon(&self) -> PyResult<()> {
        guard(|| {
            if let Some(Ok(Response::LeaseGrant(granted))) = self.take() {
                self.db.submit(LeaseRevoke { id: granted.id }, |_| {});
            }
            Ok(())
        })
    }
}
