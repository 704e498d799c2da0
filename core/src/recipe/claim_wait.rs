//! A claim with a thread that waits for it.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::time::{Duration, Instant};

use crossbeam::sync::Parker;

use crate::error::{Error, Result};
use crate::mutex::lock;
use crate::recipe::claim::{Claim, ClaimRequest};
use crate::recipe::claim_driver::ClaimDriver;
use crate::recipe::wait_limit::WaitLimit;
use crate::recipe::watcher::unparking;

/// How long a wait may last after its time limit. The requests of the driver end before that, with
/// a message; only a write of this process can take longer.
const END_LIMIT: Duration = Duration::from_millis(600);

/// A claim in progress that one thread waits for. Dropping it cancels the claim without waiting.
pub struct ClaimWait {
    driver: ClaimDriver,
    wait_limit: WaitLimit,
    slot: Arc<Slot>,
}

impl fmt::Debug for ClaimWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClaimWait")
    }
}

/// What the driver, the waiting thread and the cancellers share.
struct Slot {
    result: Mutex<Option<Result<Option<Claim>>>>,
    is_cancelled: AtomicBool,
    waker: Waker,
}

/// Cancels a [`ClaimWait`] from another thread.
#[derive(Clone)]
pub struct ClaimCanceller(Arc<Slot>);

impl fmt::Debug for ClaimCanceller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClaimCanceller")
    }
}

impl ClaimCanceller {
    /// Ends the wait with `cancelled`, within 600 ms.
    pub fn cancel(&self) {
        self.0.is_cancelled.store(true, Ordering::Release);
        self.0.waker.wake_by_ref();
    }
}

impl ClaimWait {
    /// Starts a request. `waker` ends the sleep of the thread that calls [`ClaimWait::wait`].
    pub fn start(request: ClaimRequest, waker: Waker) -> ClaimWait {
        let slot = Arc::new(Slot {
            result: Mutex::new(None),
            is_cancelled: AtomicBool::new(false),
            waker,
        });
        let (wait_limit, place) = (request.wait_limit, slot.clone());
        let driver = ClaimDriver::start(request, move |result| {
            *lock(&place.result) = Some(result);
            place.waker.wake_by_ref();
        });
        ClaimWait {
            driver,
            wait_limit,
            slot,
        }
    }

    /// For another thread that may cancel it.
    pub fn canceller(&self) -> ClaimCanceller {
        ClaimCanceller(self.slot.clone())
    }

    /// Waits for the result. `sleep` returns when the waker is called, or at the given time; it may
    /// return early. If it fails the claim is cancelled.
    ///
    /// After the time limit, and after a cancellation, it waits at most 600 ms more until the key and
    /// the lease are deleted.
    ///
    /// # Errors
    ///
    /// That of `sleep`, which cancels the claim; inside it, the error of the claim.
    pub fn wait<E>(
        self,
        mut sleep: impl FnMut(Option<Instant>) -> std::result::Result<(), E>,
    ) -> std::result::Result<Result<Option<Claim>>, E> {
        let ClaimWait {
            driver,
            wait_limit,
            slot,
        } = self;
        // a time of 0 limits no request: the driver ends it where it would wait for another claimant
        let mut until = wait_limit
            .until()
            .filter(|_| !wait_limit.timeout().is_zero());
        let (mut driver, mut is_ending) = (Some(driver), false);
        loop {
            let result = lock(&slot.result).take();
            if let Some(result) = result {
                return Ok(result);
            }
            let is_over = until.is_some_and(|until| until <= Instant::now());
            let is_cancelled = slot.is_cancelled.load(Ordering::Acquire);
            match &driver {
                Some(running) if !is_ending && (is_over || is_cancelled) => {
                    match is_cancelled {
                        true => running.cancel(),
                        false => running.time_out(),
                    }
                    (is_ending, until) = (true, Some(Instant::now() + END_LIMIT));
                    continue;
                }
                Some(_) if is_over => {
                    (driver, until) = (None, None);
                    continue;
                }
                _ => sleep(until)?,
            }
        }
    }
}

/// Runs a request and waits for its result on this thread. `before` is called before the wait.
///
/// # Errors
///
/// Those of [`Lock::acquire`](crate::Lock::acquire).
pub fn claim_blocking(
    request: ClaimRequest,
    before: impl FnOnce(ClaimCanceller),
) -> Result<Option<Claim>> {
    let parker = Parker::new();
    let wait = ClaimWait::start(request, unparking(&parker));
    before(wait.canceller());
    let sleep = |until| {
        match until {
            Some(until) => parker.park_deadline(until),
            None => parker.park(),
        }
        Ok::<(), Error>(())
    };
    wait.wait(sleep)?
}
