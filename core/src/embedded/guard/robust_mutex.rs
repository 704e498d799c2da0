//! A mutex of the C library in shared memory. If its holder ends without an unlock, the next caller
//! gets it.
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The mutex, as it is in the guard file.
#[repr(C, align(64))]
pub(super) struct RobustMutex(UnsafeCell<libc::pthread_mutex_t>);

/// The result of an attempt to lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    Locked,
    /// Locked; the previous holder ended while it held the lock.
    OwnerDied,
    /// Another thread has it.
    Busy,
}

// glibc has it since 2.30; `pthread_mutex_timedlock` takes the wall clock, which may be set back.
unsafe extern "C" {
    fn pthread_mutex_clocklock(
        mutex: *mut libc::pthread_mutex_t,
        clock: libc::clockid_t,
        until: *const libc::timespec,
    ) -> libc::c_int;
}

impl RobustMutex {
    /// Initialises the mutex. No other process has the store open, so none uses it.
    pub fn initialise(&self) -> io::Result<()> {
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: the attributes are initialised before they are used. No process uses the mutex,
        // and its place is inside our map.
        let rc = unsafe {
            libc::pthread_mutexattr_init(attributes.as_mut_ptr());
            libc::pthread_mutexattr_setpshared(
                attributes.as_mut_ptr(),
                libc::PTHREAD_PROCESS_SHARED,
            );
            libc::pthread_mutexattr_setrobust(attributes.as_mut_ptr(), libc::PTHREAD_MUTEX_ROBUST);
            let place = self.0.get();
            ptr::write_bytes(place, 0, 1);
            let rc = libc::pthread_mutex_init(place, attributes.as_ptr());
            libc::pthread_mutexattr_destroy(attributes.as_mut_ptr());
            rc
        };
        match rc {
            0 => Ok(()),
            rc => Err(io::Error::from_raw_os_error(rc)),
        }
    }

    /// Locks if the mutex is free.
    pub fn try_lock(&self) -> io::Result<Attempt> {
        // SAFETY: the first process that opened the store has initialised the mutex in our map.
        self.attempt(unsafe { libc::pthread_mutex_trylock(self.0.get()) })
    }

    /// Waits for the lock, at most for `wait`.
    pub fn lock_within(&self, wait: Duration) -> io::Result<Attempt> {
        let until = monotonic_in(wait);
        // SAFETY: as above; the time is ours.
        self.attempt(unsafe {
            pthread_mutex_clocklock(self.0.get(), libc::CLOCK_MONOTONIC, &until)
        })
    }

    fn attempt(&self, rc: libc::c_int) -> io::Result<Attempt> {
        match rc {
            0 => Ok(Attempt::Locked),
            libc::EBUSY | libc::ETIMEDOUT => Ok(Attempt::Busy),
            libc::EOWNERDEAD => {
                // SAFETY: this thread has just locked it.
                match unsafe { libc::pthread_mutex_consistent(self.0.get()) } {
                    0 => Ok(Attempt::OwnerDied),
                    rc => Err(io::Error::from_raw_os_error(rc)),
                }
            }
            rc => Err(io::Error::from_raw_os_error(rc)),
        }
    }

    /// Unlocks the mutex, which this thread has locked.
    pub fn unlock(&self) {
        // SAFETY: this thread has locked it; another thread would get an error and change nothing,
        // since a robust mutex checks its owner.
        unsafe { libc::pthread_mutex_unlock(self.0.get()) };
    }
}

fn monotonic_in(wait: Duration) -> libc::timespec {
    let now = clock_gettime(ClockId::Monotonic);
    let nanos = now.tv_nsec as u64 + u64::from(wait.subsec_nanos());
    libc::timespec {
        tv_sec: now.tv_sec + wait.as_secs() as i64 + (nanos / 1_000_000_000) as i64,
        tv_nsec: (nanos % 1_000_000_000) as i64,
    }
}
