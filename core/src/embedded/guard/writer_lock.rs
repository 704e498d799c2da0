//! The write lock: at most one thread of all processes writes to the store.

use std::marker::PhantomData;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use super::Guard;
use super::layout::Layout;
use super::robust_mutex::Attempt;
use crate::embedded::os::{self, failed};
use crate::engine::Interrupt;
use crate::error::{Code, Error, Result};

/// A waiting thread sets its mark again after this time: a holder may have cleared it for another.
pub(crate) const WAIT_PERIOD: Duration = Duration::from_millis(100);
/// The longest time that a holder yields to a waiting thread.
const YIELD_MAX: Duration = Duration::from_millis(1);

/// The write lock, held by this thread.
pub(crate) struct WriterLock<'g> {
    shared: &'g Layout,
    _one_thread: PhantomData<*mut ()>,
}

impl Drop for WriterLock<'_> {
    fn drop(&mut self) {
        self.shared.writer_pid.store(0, Ordering::Release);
        self.shared.mutex.unlock();
    }
}

impl Guard {
    /// Takes the write lock; without a deadline it waits without limit. If the holder has ended,
    /// the next caller gets the lock.
    ///
    /// # Errors
    ///
    /// `busy`, with the holder, once the deadline has passed; `cancelled` once `interrupted`
    /// returns true, which is called before each wait of at most [`WAIT_PERIOD`].
    pub fn lock_writer(
        &self,
        deadline: Option<Instant>,
        interrupted: Option<Interrupt>,
    ) -> Result<WriterLock<'_>> {
        let Some(shared) = self.shared() else {
            return Err(Error::new(
                Code::ReadOnly,
                format!("{} is on a read-only medium", self.path.display()),
            ));
        };
        let in_words = |e| failed(&self.path, e).context("the write lock");
        let mut attempt = shared.mutex.try_lock().map_err(in_words)?;
        while attempt == Attempt::Busy {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return Err(self.writer_busy());
            }
            if interrupted.is_some_and(|interrupted| interrupted()) {
                let message = "the request was withdrawn while it waited for the write lock; \
                               nothing was written";
                return Err(Error::new(Code::Cancelled, message));
            }
            shared.waiter.store(1, Ordering::Release);
            let wait = left.map_or(WAIT_PERIOD, |left| left.min(WAIT_PERIOD));
            attempt = shared.mutex.lock_within(wait).map_err(in_words)?;
        }
        if attempt == Attempt::OwnerDied {
            // LMDB undoes what the dead holder had begun. Of our state only the facts about lease
            // slots may be incomplete: the next search goes through every slot
            shared.leases.next_deadline.store(0, Ordering::Release);
            shared.leases.hint.store(0, Ordering::Release);
        }
        shared
            .writer_since_ms
            .store(os::boottime_ms(), Ordering::Relaxed);
        shared
            .writer_pid
            .store(std::process::id(), Ordering::Release);
        Ok(WriterLock {
            shared,
            _one_thread: PhantomData,
        })
    }

    fn writer_busy(&self) -> Error {
        let path = self.path.parent().unwrap_or(&self.path).display();
        let holder = match self.writer_holder() {
            Some((pid, held_ms)) => format!("held by process {pid} for {held_ms} ms"),
            None => "many writers are waiting for it".to_string(),
        };
        let message = format!("timed out waiting for the write lock of {path} ({holder})");
        Error::new(Code::Busy, message)
    }

    /// The process that holds the write lock, and for how many milliseconds.
    pub fn writer_holder(&self) -> Option<(u32, u64)> {
        let shared = self.shared()?;
        let pid = shared.writer_pid.load(Ordering::Acquire);
        let since = shared.writer_since_ms.load(Ordering::Relaxed);
        (pid != 0).then(|| (pid, os::boottime_ms().saturating_sub(since)))
    }

    /// After unlocking: if another thread waits for the lock, leaves it the time to take it before
    /// this thread locks again, at most for a millisecond.
    pub fn yield_to_waiter(&self) {
        let Some(shared) = self.shared() else { return };
        if shared.waiter.load(Ordering::Relaxed) == 0
            || shared.waiter.swap(0, Ordering::AcqRel) == 0
        {
            return;
        }
        let until = Instant::now() + YIELD_MAX;
        while shared.writer_pid.load(Ordering::Acquire) == 0 && Instant::now() < until {
            thread::yield_now();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::process::{Command, Stdio};

    use super::*;
    use crate::embedded::opening::open;
    use crate::options::Options;

    const CHILD: &str = "LIBKV_TEST_GUARD";
    /// Reads the wall clock one hour ahead of the kernel's, as if it were set back right after.
    const CLOCK: &str = "#define _GNU_SOURCE
#include <time.h>
#include <unistd.h>
#include <sys/syscall.h>
int clock_gettime(clockid_t clock, struct timespec *time) {
    long rc = syscall(SYS_clock_gettime, clock, time);
    if (clock == CLOCK_REALTIME) time->tv_sec += 3600;
    return (int)rc;
}
";

    /// One thread holds the lock; another is refused at its deadline.
    fn check_refusal_at_deadline(path: &str) {
        let store = open(Path::new(path), &Options::new()).expect("opened");
        let _held = store.guard().lock_writer(None, None).expect("it is free");
        let refused = || {
            let deadline = Instant::now() + Duration::from_millis(300);
            store
                .guard()
                .lock_writer(Some(deadline), None)
                .err()
                .map(|error| error.code())
        };
        assert_eq!(
            thread::scope(|scope| scope.spawn(refused).join()).expect("no panic"),
            Some(Code::Busy)
        );
    }

    #[test]
    fn writer_lock_wait_ends_when_the_wall_clock_is_set_back() {
        if let Ok(path) = std::env::var(CHILD) {
            return check_refusal_at_deadline(&path);
        }
        let folder = std::env::temp_dir().join(format!("libkv-guard-{}", std::process::id()));
        fs::create_dir(&folder).expect("a folder");
        let (source, library) = (folder.join("clock.c"), folder.join("clock.so"));
        fs::write(&source, CLOCK).expect("written");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .args([&library, &source])
            .status();
        assert!(built.expect("cc, which LMDB needs too").success());
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args([
                "--exact",
                concat!(
                    "embedded::guard::writer_lock::tests::",
                    "writer_lock_wait_ends_when_the_wall_clock_is_set_back"
                ),
            ])
            .env(CHILD, folder.join("store"))
            .env("LD_PRELOAD", &library)
            .stdout(Stdio::null())
            .spawn()
            .expect("started");
        let until = Instant::now() + Duration::from_secs(60);
        let ended = loop {
            match child.try_wait().expect("waited") {
                None if Instant::now() < until => thread::sleep(Duration::from_millis(5)),
                ended => break ended,
            }
        };
        let _ = child.kill();
        assert!(ended.expect("the wait ended within a minute").success());
        fs::remove_dir_all(folder).expect("removed");
    }
}
