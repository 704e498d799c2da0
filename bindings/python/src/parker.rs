//! A thread that waits for the library without the interpreter. A signal whose handler raises an
//! exception ends the wait; there is no polling.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use libkv::{Code, Error};
use pyo3::prelude::*;

use crate::error::raise;
use crate::guard::detached;

/// A place to wait, and the source of its wakers. It is a pair of sockets, because a signal
/// interrupts a read from a socket. Each wait creates its own: a thread's children after a fork
/// would share one that was kept for the thread.
pub struct Parker {
    waker: Arc<ParkerWaker>,
    socket: UnixStream,
}

struct ParkerWaker(UnixStream);

impl Wake for ParkerWaker {
    fn wake(self: Arc<Self>) {
        // if the socket is full, the thread is awake already
        let _ = (&self.0).write(&[1]);
    }
}

impl Parker {
    pub fn new() -> PyResult<Parker> {
        let (waker, socket) = UnixStream::pair()?;
        waker.set_nonblocking(true)?;
        Ok(Parker {
            waker: Arc::new(ParkerWaker(waker)),
            socket,
        })
    }

    /// A waker that ends the wait. A wake before the wait begins ends it at once.
    pub fn waker(&self) -> Waker {
        Waker::from(self.waker.clone())
    }

    /// Waits until a waker is called or the time is reached; may return early. Signal handlers run
    /// meanwhile, and their exception is raised here.
    pub fn park(&self, py: Python<'_>, until: Option<Instant>) -> PyResult<()> {
        loop {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(());
            }
            match detached(py, || Ok(self.read(left)))? {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => py.check_signals()?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => {
                    return Err(raise(
                        Error::new(Code::Io, format!("waiting failed: {error}")).with_source(error),
                    ));
                }
            }
        }
    }

    fn read(&self, left: Option<Duration>) -> std::io::Result<()> {
        // the unit of the system is a microsecond, and 0 means no limit
        self.socket
            .set_read_timeout(left.map(|left| left.max(Duration::from_micros(1))))?;
        (&self.socket).read(&mut [0; 64]).map(drop)
    }
}
