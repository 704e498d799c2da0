//! What the worker thread is ordered to do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crossbeam::sync::Unparker;

/// The orders of a worker.
#[derive(Default)]
pub(super) struct Orders {
    /// Lead for the requests without a thread.
    pub lead: AtomicBool,
    /// Sweep behind a compaction.
    pub sweep: AtomicBool,
    /// Refuse the requests without a thread whose deadline has passed.
    pub time_out_requests: AtomicBool,
    /// Revoke the leases that have expired.
    pub expire_leases: AtomicBool,
    pub stop: AtomicBool,
}

impl Orders {
    pub fn must_stop(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Withdraws an order; whether it was given and the worker need not stop.
    pub fn take(&self, order: &AtomicBool) -> bool {
        !self.must_stop() && order.swap(false, Ordering::AcqRel)
    }
}

/// A worker thread that was started.
pub(super) struct Worker {
    pub orders: Arc<Orders>,
    pub unparker: Unparker,
    /// `None` once it was ordered to stop.
    pub thread: Option<JoinHandle<()>>,
}

impl Worker {
    pub fn order(&self, which: impl Fn(&Orders) -> &AtomicBool) {
        which(&self.orders).store(true, Ordering::Release);
        self.unparker.unpark();
    }
}
