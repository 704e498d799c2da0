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
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

use libkv::{Code, Error, LeaseRevoke, Request, Response, Result};
use pyo3::intern;
use pyo3::prelude::*;

use crate::error::raise;
use crate::guard::guard;
use crate::handle::Handle;
use crate::lease::Lease;
use crate::response::IntoPython;

/// What a future gets.
enum Told {
    /// The answer to a write, or its exception.
    Response(Result<Response>),
    /// None: there is something to look at.
    Woken,
}

/// What the library's threads and the loop share.
struct Queue {
    told: Mutex<Vec<(u64, Told)>>,
    wake: UnixStream,
}

impl Queue {
    fn push(&self, id: u64, what: Told) {
        let first = {
            let mut told = lock(&self.told);
            told.push((id, what));
            told.len() == 1
        };
        if first {
            // never full: one byte stands for all until the loop has taken the queue
            let _ = (&self.wake).write(&[1]);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The futures that wait, by number.
#[derive(Default)]
struct Waiting {
    last: u64,
    futures: HashMap<u64, Py<PyAny>>,
}

/// The answers that one event loop waits for, for libkv.aio. Only the loop's thread uses it.
#[pyclass(frozen, name = "_Answers", module = "libkv._libkv")]
pub struct Answers {
    queue: Arc<Queue>,
    woken: UnixStream,
    /// Shared with each `Place`, which can be forgotten.
    waiting: Arc<Mutex<Waiting>>,
}

/// A future among those of a loop.
#[derive(Clone)]
pub struct Place {
    id: u64,
    queue: Arc<Queue>,
    waiting: Arc<Mutex<Waiting>>,
}

impl Place {
    /// Resolves the future once, whoever wakes it and however often.
    pub fn waker(&self) -> Waker {
        Waker::from(Arc::new(Rouse {
            id: self.id,
            queue: self.queue.clone(),
            done: AtomicBool::new(false),
        }))
    }

    /// The future is told nothing from now on.
    pub fn forget(&self) {
        let future = lock(&self.waiting).futures.remove(&self.id);
        drop(future);
    }
}

struct Rouse {
    id: u64,
    queue: Arc<Queue>,
    done: AtomicBool,
}

impl Wake for Rouse {
    fn wake(self: Arc<Self>) {
        if !self.done.swap(true, Ordering::AcqRel) {
            self.queue.push(self.id, Told::Woken);
        }
    }
}

impl Answers {
    /// A place for a future.
    pub fn place(&self, future: &Bound<'_, PyAny>) -> Place {
        let mut waiting = lock(&self.waiting);
        waiting.last += 1;
        let id = waiting.last;
        waiting.futures.insert(id, future.clone().unbind());
        Place {
            id,
            queue: self.queue.clone(),
            waiting: self.waiting.clone(),
        }
    }

    /// Hands a write over; the answer goes to `future`.
    pub fn submit(&self, db: &libkv::Db, request: Request, future: &Bound<'_, PyAny>) -> Submitted {
        let place = self.place(future);
        let (id, queue) = (place.id, place.queue.clone());
        let submitted = db.submit(request, move |response| {
            queue.push(id, Told::Response(response))
        });
        Submitted {
            inner: Mutex::new(Some(submitted)),
            place,
        }
    }

    /// Hands a write over whose answer stays with what this answers; `future` is woken when it is there.
    pub fn ask(&self, db: &Handle, request: Request, future: &Bound<'_, PyAny>) -> Asked {
        let (place, response) = (self.place(future), Arc::new(Mutex::new(None)));
        let (id, queue, slot) = (place.id, place.queue.clone(), response.clone());
        let submitted = db.submit(request, move |response| {
            *lock(&slot) = Some(response);
            queue.push(id, Told::Woken);
        });
        let submitted = Submitted {
            inner: Mutex::new(Some(submitted)),
            place,
        };
        Asked {
            submitted,
            response,
            db: db.clone(),
        }
    }
}

#[pymethods]
impl Answers {
    #[new]
    fn new() -> PyResult<Answers> {
        guard(|| {
            let (wake, woken) = UnixStream::pair()?;
            wake.set_nonblocking(true)?;
            woken.set_nonblocking(true)?;
            let queue = Arc::new(Queue {
                told: Mutex::default(),
                wake,
            });
            Ok(Answers {
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

    /// Called by the loop when there is something to read: resolves every future that was told something.
    fn resolve(&self, py: Python<'_>) -> PyResult<()> {
        guard(|| {
            // before the queue is taken: what comes later wakes again
            let _ = (&self.woken).read(&mut [0; 16]);
            let told = std::mem::take(&mut *lock(&self.queue.told));
            let mut resolved = Ok(());
            for (id, what) in told {
                let future = lock(&self.waiting).futures.remove(&id);
                if let Some(future) = future {
                    // what one raises is told once all have their answer
                    resolved = resolved.and(resolve(future.bind(py), what));
                }
            }
            resolved
        })
    }
}

fn resolve(future: &Bound<'_, PyAny>, what: Told) -> PyResult<()> {
    let py = future.py();
    if future.call_method0(intern!(py, "done"))?.is_truthy()? {
        return Ok(());
    }
    let response = match what {
        Told::Response(response) => response
            .map_err(raise)
            .and_then(|response| response.into_python(py)),
        Told::Woken => Ok(py.None()),
    };
    match response {
        Ok(response) => future.call_method1(intern!(py, "set_result"), (response,))?,
        Err(error) => future.call_method1(intern!(py, "set_exception"), (error,))?,
    };
    Ok(())
}

/// A write that was handed over, for libkv.aio.
#[pyclass(frozen, name = "_Submitted", module = "libkv._libkv")]
pub struct Submitted {
    inner: Mutex<Option<libkv::engine::Submission>>,
    place: Place,
}

#[pymethods]
impl Submitted {
    /// Takes the write back; False if a writer had begun it, or it is done.
    fn cancel(&self) -> PyResult<bool> {
        guard(|| {
            let submitted = lock(&self.inner).take();
            let withdrawn = submitted.is_some_and(libkv::engine::Submission::cancel);
            if withdrawn {
                self.place.forget();
            }
            Ok(withdrawn)
        })
    }
}

/// What a lease, a lock or an election has asked of the store, for libkv.aio.
#[pyclass(frozen, name = "_Asked", module = "libkv._libkv")]
pub struct Asked {
    submitted: Submitted,
    response: Arc<Mutex<Option<Result<Response>>>>,
    db: Handle,
}

impl Asked {
    /// The answer, once.
    pub fn take(&self) -> Option<Result<Response>> {
        lock(&self.response).take()
    }
}

#[pymethods]
impl Asked {
    /// Takes it back; False if a writer had begun it, or it is done.
    fn cancel(&self) -> PyResult<bool> {
        self.submitted.cancel()
    }

    /// The lease that was granted.
    fn lease(&self) -> PyResult<Lease> {
        guard(|| match self.take() {
            Some(Ok(Response::LeaseGrant(granted))) => Lease::adopt(&self.db, granted),
            Some(Err(error)) => Err(raise(error)),
            _ => Err(raise(Error::new(Code::Internal, "a lease without a grant"))),
        })
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
