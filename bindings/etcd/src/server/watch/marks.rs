//! Which watches of a stream have something, in the order in which they got it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

/// The marked watches of a stream, and the task to wake when there is one more.
#[derive(Default)]
pub(super) struct Marks(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    ids: VecDeque<i64>,
    task: Option<Waker>,
}

impl Marks {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The watch that was marked first. If there is none, `task` is woken when there is.
    pub fn next(&self, task: &Waker) -> Option<i64> {
        let mut inner = self.lock();
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

/// Marks one watch; its watcher's waker.
pub(super) struct Mark {
    id: i64,
    marked: AtomicBool,
    marks: Arc<Marks>,
}

impl Mark {
    pub fn new(id: i64, marks: &Arc<Marks>) -> Arc<Mark> {
        Arc::new(Mark {
            id,
            marked: AtomicBool::new(false),
            marks: marks.clone(),
        })
    }

    /// To be called before the watch is looked at: what comes later marks it again.
    pub fn clear(&self) {
        self.marked.store(false, Ordering::SeqCst);
    }

    /// Marks it, behind those that are.
    pub fn set(&self) {
        if self.marked.swap(true, Ordering::SeqCst) {
            return;
        }
        let task = {
            let mut inner = self.marks.lock();
            inner.ids.push_back(self.id);
            inner.task.take()
        };
        if let Some(task) = task {
            task.wake();
        }
    }
}

impl Wake for Mark {
    fn wake(self: Arc<Self>) {
        self.set();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.set();
    }
}
