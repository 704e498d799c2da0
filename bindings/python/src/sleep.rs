//! How a thread sleeps until something of the library wakes it, without the interpreter: a signal whose
//! handler raises ends the sleep, and nothing is asked in between.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use libkv::{Code, Error};
use pyo3::prelude::*;

use crate::error::raise;
use crate::guard::detached;

/// A sleep, from which its wakers wake. A pair of sockets, since a signal interrupts a read from one. It is made
/// anew for each wait: one kept for a thread would be shared with the children that the thread forks.
pub struct Sleep {
    rouse: Arc<Rouse>,
    woken: UnixStream,
}

struct Rouse(UnixStream);

impl Wake for Rouse {
    fn wake(self: Arc<Self>) {
        // a full socket has woken it already
        let _ = (&self.0).write(&[1]);
    }
}

impl Sleep {
    pub fn new() -> PyResult<Sleep> {
        let (rouse, woken) = UnixStream::pair()?;
        rouse.set_nonblocking(true)?;
        Ok(Sleep {
            rouse: Arc::new(Rouse(rouse)),
            woken,
        })
    }

    /// What ends it; once is enough, also before it has begun.
    pub fn waker(&self) -> Waker {
        Waker::from(self.rouse.clone())
    }

    /// Sleeps until it is woken, perhaps for nothing, or the time has come. A signal's handler runs meanwhile;
    /// what it raises comes through.
    pub fn until(&self, py: Python<'_>, until: Option<Instant>) -> PyResult<()> {
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
        // the system counts in microseconds, and takes none for ever
        self.woken
            .set_read_timeout(left.map(|left| left.max(Duration::from_micros(1))))?;
        (&self.woken).read(&mut [0; 64]).map(drop)
    }
}
