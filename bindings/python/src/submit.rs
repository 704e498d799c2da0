//! Writes that an event loop awaits: their answers come back in groups, one wake-up for each.
//!
//! No thread of the library ever touches Python. A completion puts its answer into a queue; the first
//! of a group also writes a byte to a socket that the loop watches (`add_reader`), and the loop's
//! thread then takes the whole queue. So there is no lock of the interpreter to wait for in the
//! writer's path, and nothing to go wrong while the interpreter ends.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use libkv::{Answer, Request, Result};
use pyo3::intern;
use pyo3::prelude::*;

use crate::answer::IntoPython;
use crate::error::raise;
use crate::guard::guard;

/// What the library's threads and the loop share.
struct Queue {
    answers: Mutex<Vec<(u64, Result<Answer>)>>,
    wake: UnixStream,
}

impl Queue {
    fn push(&self, id: u64, answer: Result<Answer>) {
        let first = {
            let mut answers = lock(&self.answers);
            answers.push((id, answer));
            answers.len() == 1
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

/// The futures that wait for writes, by number.
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
    /// Shared with each `Submitted`, which forgets its future when it withdraws the write.
    waiting: Arc<Mutex<Waiting>>,
}

impl Answers {
    /// Hands a write over; the answer goes to `future`.
    pub fn submit(&self, db: &libkv::Db, request: Request, future: &Bound<'_, PyAny>) -> PyResult<Submitted> {
        let id = {
            let mut waiting = lock(&self.waiting);
            waiting.last += 1;
            let id = waiting.last;
            waiting.futures.insert(id, future.clone().unbind());
            id
        };
        let queue = self.queue.clone();
        let submitted = db.submit(request, move |answer| queue.push(id, answer));
        Ok(Submitted { inner: Mutex::new(Some(submitted)), waiting: self.waiting.clone(), id })
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
            let queue = Arc::new(Queue { answers: Mutex::default(), wake });
            Ok(Answers { queue, woken, waiting: Arc::default() })
        })
    }

    /// What the loop watches.
    fn fileno(&self) -> i32 {
        self.woken.as_raw_fd()
    }

    /// Called by the loop when there is something to read: resolves every future whose answer is here.
    fn resolve(&self, py: Python<'_>) -> PyResult<()> {
        guard(|| {
            // before the queue is taken: what comes later wakes again
            let _ = (&self.woken).read(&mut [0; 16]);
            let answers = std::mem::take(&mut *lock(&self.queue.answers));
            let mut resolved = Ok(());
            for (id, answer) in answers {
                let future = lock(&self.waiting).futures.remove(&id);
                if let Some(future) = future {
                    // what one raises is told once all have their answer
                    resolved = resolved.and(resolve(future.bind(py), answer));
                }
            }
            resolved
        })
    }
}

fn resolve(future: &Bound<'_, PyAny>, answer: Result<Answer>) -> PyResult<()> {
    let py = future.py();
    if future.call_method0(intern!(py, "done"))?.is_truthy()? {
        return Ok(());
    }
    match answer.map_err(raise).and_then(|answer| answer.into_python(py)) {
        Ok(answer) => future.call_method1(intern!(py, "set_result"), (answer,))?,
        Err(error) => future.call_method1(intern!(py, "set_exception"), (error,))?,
    };
    Ok(())
}

/// A write that was handed over, for libkv.aio.
#[pyclass(frozen, name = "_Submitted", module = "libkv._libkv")]
pub struct Submitted {
    inner: Mutex<Option<libkv::Submitted>>,
    waiting: Arc<Mutex<Waiting>>,
    id: u64,
}

#[pymethods]
impl Submitted {
    /// Takes the write back; False if a writer had begun it, or it is done.
    fn cancel(&self) -> PyResult<bool> {
        guard(|| {
            let submitted = lock(&self.inner).take();
            let withdrawn = submitted.is_some_and(libkv::Submitted::cancel);
            if withdrawn {
                let future = lock(&self.waiting).futures.remove(&self.id);
                drop(future);
            }
            Ok(withdrawn)
        })
    }
}
