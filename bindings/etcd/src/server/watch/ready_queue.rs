//! The watches of a stream that have something to send, in the order in which they became ready.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};

use crate::sync::lock;

/// The ready watches of a stream, and the task to wake when another one becomes ready.
#[derive(Default)]
pub(super) struct ReadyQueue(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    ids: VecDeque<i64>,
    task: Option<Waker>,
}

impl ReadyQueue {
    /// The id of the watch that became ready first. If there is none, `task` is woken when there
    /// is.
    pub fn pop(&self, task: &Waker) -> Option<i64> {
        let mut inner = lock(&self.0);
        let id = inner.ids.pop_front();
        if id.is_none()
            && !inner
                .task
                .as_ref()
                .is_some_and(|before| before.will_wake(task))
        {
            inner.task = Some(task.clone());
        }
        id
    }
}

/// Adds one watch to the queue; it is the waker of that watch's watcher.
pub(super) struct ReadySignal {
    id: i64,
    is_queued: AtomicBool,
    queue: Arc<ReadyQueue>,
}

impl ReadySignal {
    pub fn new(id: i64, queue: &Arc<ReadyQueue>) -> Arc<ReadySignal> {
        Arc::new(ReadySignal {
            id,
            is_queued: AtomicBool::new(false),
            queue: queue.clone(),
        })
    }

    /// Called before the watch is read: what happens later sets the signal again.
    pub fn clear(&self) {
        self.is_queued.store(false, Ordering::SeqCst);
    }

    /// Adds the watch to the end of the queue, unless it is in it.
    pub fn set(&self) {
        if self.is_queued.swap(true, Ordering::SeqCst) {
            return;
        }
        let task = {
            let mut inner = lock(&self.queue.0);
            inner.ids.push_back(self.id);
            inner.task.take()
        };
        if let Some(task) = task {
            task.wake();
        }
    }
}

impl Wake for ReadySignal {
    fn wake(self: Arc<Self>) {
        self.set();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.set();
    }
}
