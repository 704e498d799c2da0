//! Waking threads: futexes, also between processes, and descriptors for poll loops.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use rustix::thread::futex;
use rustix::time::Timespec;

/// Sleeps while this word is `expected`, at most for `most`, until it is woken. A wake-up without a
/// reason is possible.
pub(crate) fn futex_wait(word: &AtomicU32, expected: u32, most: Duration) {
    let time = Timespec {
        tv_sec: most.as_secs() as i64,
        tv_nsec: most.subsec_nanos().into(),
    };
    let _ = futex::wait(word, futex::Flags::empty(), expected, Some(&time));
}

/// Wakes every thread that sleeps on this word, in all processes that map it.
pub(crate) fn futex_wake_all(word: &AtomicU32) {
    let _ = futex::wake(word, futex::Flags::empty(), i32::MAX as u32);
}

/// A descriptor that polls as readable while it is signalled.
#[derive(Debug)]
pub(crate) struct EventFd(OwnedFd);

impl EventFd {
    /// A new descriptor, not signalled. It is closed in programs that this one starts.
    pub fn new() -> io::Result<EventFd> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(EventFd(eventfd(0, flags)?))
    }

    /// Its number.
    pub fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Makes it readable.
    pub fn signal(&self) {
        #[expect(clippy::host_endian_bytes)] // the kernel reads a number of this machine
        let one = 1u64.to_ne_bytes();
        // a counter at its limit stays readable, which is enough
        let _ = rustix::io::write(&self.0, &one);
    }

    /// Makes it unreadable.
    pub fn clear(&self) {
        // if it was not signalled there is nothing to read
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }
}
