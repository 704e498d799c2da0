//! The threads that all clusters of a process share: two, from the first cluster to the last.

use std::cell::Cell;
use std::future::Future;
use std::sync::{Arc, Mutex, Weak};

use libkv::support::fork_generation;
use libkv::{Code, Error, Result};
use tokio::task::JoinHandle;

use crate::sync::lock;

const THREADS: usize = 2;

thread_local! {
    /// Whether this is a thread of the runtime.
    static OURS: Cell<bool> = const { Cell::new(false) };
}

/// A runtime; it ends with the last cluster that has it.
pub(crate) struct Runtime {
    /// `Some` until it is dropped.
    tokio: Option<tokio::runtime::Runtime>,
    generation: u64,
}

/// One entry for each of several generations of forks: in a child, a thread of the parent may hold
/// the lock of the parent's entry.
static RUNTIMES: [Mutex<Weak<Runtime>>; 8] = [const { Mutex::new(Weak::new()) }; 8];

impl Runtime {
    /// The runtime of this process; started if there is none.
    ///
    /// # Errors
    ///
    /// `io` if the system cannot start a thread.
    pub fn get() -> Result<Arc<Runtime>> {
        let generation = fork_generation();
        let mut entry = lock(&RUNTIMES[generation as usize % RUNTIMES.len()]);
        if let Some(runtime) = entry
            .upgrade()
            .filter(|runtime| runtime.generation == generation)
        {
            return Ok(runtime);
        }
        let tokio = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("libkv-etcd")
            .on_thread_start(|| {
                libkv::support::block_sigpipe();
                OURS.set(true);
            })
            .enable_all()
            .build()
            .map_err(|e| {
                Error::new(Code::Io, format!("threads for a cluster: {e}")).with_source(e)
            })?;
        let runtime = Arc::new(Runtime {
            tokio: Some(tokio),
            generation,
        });
        *entry = Arc::downgrade(&runtime);
        Ok(runtime)
    }

    /// Starts a task.
    pub fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.tokio
            .as_ref()
            .expect("it is not dropped yet")
            .spawn(task)
    }

    /// Waits for a task, on the thread of any caller: of this runtime (a completion that calls
    /// libkv), of another one, or of none.
    pub fn wait<T>(waiting: impl FnOnce() -> T) -> T {
        if OURS.get() {
            tokio::task::block_in_place(waiting)
        } else {
            waiting()
        }
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        let tokio = self.tokio.take();
        if self.generation == fork_generation() {
            // this may be one of its own threads, which cannot wait for itself
            tokio
                .into_iter()
                .for_each(tokio::runtime::Runtime::shutdown_background);
        } else {
            // its threads are the parent's, and they may hold its locks
            std::mem::forget(tokio);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runtime_is_shared_and_ends_with_its_last_user() {
        let (a, b) = (
            Runtime::get().expect("threads"),
            Runtime::get().expect("threads"),
        );
        assert!(Arc::ptr_eq(&a, &b));
        let (sender, receiver) = std::sync::mpsc::channel();
        let inner = a.clone();
        // a task that waits for another one, on a thread of the runtime, and drops the runtime last
        a.spawn(async move {
            let (inner_sender, inner_receiver) = std::sync::mpsc::channel();
            inner.spawn(async move { inner_sender.send(5) });
            let got = Runtime::wait(|| inner_receiver.recv());
            drop(inner);
            sender.send(got)
        });
        drop((a, b));
        assert_eq!(receiver.recv().expect("it ran"), Ok(5));
    }
}
