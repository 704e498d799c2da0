//! The background thread of a store. It waits for the commit signal, which every commit of every
//! process gives, and for the next time at which something is due.
//!
//! It starts when something in this process first needs it: a watcher, a lease, automatic
//! compaction. It wakes watchers, and has the worker do what is due; it never writes itself. When
//! it is idle it checks once a second, because a writer may have been killed between its commit and
//! the signal.
//!
//! What it wakes is the caller's code, which may drop the last handle of the store. So the thread
//! holds no reference to the store meanwhile.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::task::Waker;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::commit::{Committer, Terms};
use super::guard::Guard;
use super::lease::keeper::{Leases, LossCallback};
use super::lmdb::Env;
use super::mvcc::{self, time};
use super::os;
use super::watch::Hub;
use crate::error::{Code, Error, Result};
use crate::model::Revision;
use crate::mutex::lock;
use crate::options::{AutoCompaction, Clock};
use crate::request::{Compact, Durability};

/// The longest time between two checks.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// The pause after a commit signal that no watcher needed. Until it waits for the next signal,
/// writers need not wake it.
const PAUSE: Duration = Duration::from_millis(1);

/// What the background thread works on, and the thread if it was started.
pub(crate) struct Background {
    env: Arc<Env>,
    guard: Arc<Guard>,
    commit: Committer,
    hub: Arc<Hub>,
    leases: Arc<Leases>,
    clock: Clock,
    auto_compaction: Option<AutoCompaction>,
    /// A handle of this process may write.
    may_write: AtomicBool,
    stop: AtomicBool,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// The minute in which history was last compacted by age.
    compacted_minute: AtomicI64,
}

/// The callbacks to run once no reference to the store is held.
#[derive(Default)]
struct Callbacks {
    wakers: Vec<Waker>,
    lost: Vec<LossCallback>,
}

impl Callbacks {
    /// A panic in one of them does not end the thread.
    fn run(self) {
        for waker in self.wakers {
            let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
        }
        for lost in self.lost {
            let _ = catch_unwind(AssertUnwindSafe(lost));
        }
    }

    fn is_empty(&self) -> bool {
        self.wakers.is_empty() && self.lost.is_empty()
    }
}

impl Background {
    pub fn new(
        env: Arc<Env>,
        guard: Arc<Guard>,
        commit: Committer,
        clock: Clock,
        auto_compaction: Option<AutoCompaction>,
    ) -> Arc<Background> {
        Arc::new(Background {
            leases: Leases::new(env.clone(), guard.clone(), commit.clone()),
            env,
            guard,
            commit,
            hub: Arc::default(),
            clock,
            auto_compaction,
            may_write: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            thread: Mutex::new(None),
            compacted_minute: AtomicI64::new(-1),
        })
    }

    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    pub fn leases(&self) -> &Arc<Leases> {
        &self.leases
    }

    /// A handle that may write was opened: from now on history may have to be compacted.
    pub fn allow_writes(self: &Arc<Self>) -> Result<()> {
        self.may_write.store(true, Ordering::Release);
        if self.auto_compaction.is_some() {
            self.start()
        } else {
            Ok(())
        }
    }

    /// Examines what was written, before a compaction: a watcher whose keys were not written since
    /// must not end with `compacted`.
    pub fn examine_writes(&self) {
        if self.hub.len() > 0 {
            let wakers = self.hub.examine(&self.env);
            Callbacks {
                wakers,
                lost: Vec::new(),
            }
            .run();
        }
    }

    /// Starts the thread unless it was started.
    pub fn start(self: &Arc<Self>) -> Result<()> {
        let mut started = lock(&self.thread);
        if started.is_some() || self.stop.load(Ordering::Acquire) {
            return Ok(());
        }
        let background = Arc::downgrade(self);
        let thread = thread::Builder::new()
            .name("libkv-backgrnd".into())
            .spawn(move || run(&background));
        let no_thread = |e| {
            Error::new(Code::Io, format!("no thread for watchers and leases: {e}")).with_source(e)
        };
        *started = Some(thread.map_err(no_thread)?);
        Ok(())
    }

    /// Ends the thread, and waits for its end unless it is the calling thread.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread.filter(|thread| !os::is_current(thread)) {
            self.guard.raise_signal();
            let _ = thread.join();
        }
    }

    /// Does what is due now. Returns the callbacks to run, and the time until something is due
    /// again.
    fn tick(&self, check: bool) -> (Callbacks, Duration) {
        // one step: writers may be faster than this, and leases must not wait for them
        let (mut wakers, behind) = self.hub.examine_briefly(&self.env);
        let (lost, wait) = self.leases.work(self.may_write.load(Ordering::Acquire));
        let wait = if behind { Duration::ZERO } else { wait };
        // a manual clock is handled by `catch_up`
        if check && !self.clock.is_manual() {
            wakers.extend(self.hub.note_progress(self.commit.now_ns()));
            if let Ok(Some(compact)) = self.auto_compact() {
                let terms = Terms::own(Durability::Sync, Some(CHECK_INTERVAL));
                self.commit.submit(compact, terms, Box::new(|_| {}));
            }
        }
        (Callbacks { wakers, lost }, wait.min(CHECK_INTERVAL))
    }

    /// The compaction that is due by the option `auto_compaction`.
    fn auto_compact(&self) -> Result<Option<Compact>> {
        let Some(rule) = self
            .auto_compaction
            .filter(|_| self.may_write.load(Ordering::Acquire))
        else {
            return Ok(None);
        };
        let txn = self.env.read()?;
        let compacted = mvcc::compacted_revision(&txn)?.max(0);
        let revision = match rule {
            AutoCompaction::Revisions(keep) => {
                let keep = Revision::try_from(keep).unwrap_or(Revision::MAX);
                let revision = mvcc::current_revision(&txn)?.saturating_sub(keep);
                if revision - compacted > keep / 10 {
                    revision
                } else {
                    compacted
                }
            }
            AutoCompaction::Seconds(keep) => {
                let now_ms = self.clock.unix_ms();
                if self
                    .compacted_minute
                    .swap(time::minute(now_ms), Ordering::AcqRel)
                    == time::minute(now_ms)
                {
                    return Ok(None);
                }
                let keep_ms = i64::try_from(keep)
                    .unwrap_or(i64::MAX)
                    .saturating_mul(1_000);
                // the index holds the ends of minutes: all of the minute before is old enough
                match time::revision_at(&txn, now_ms.saturating_sub(keep_ms).saturating_sub(60_000))
                {
                    Err(error) if error.code() == Code::Compacted => compacted,
                    revision => revision?,
                }
            }
        };
        Ok((revision > compacted).then_some(Compact {
            revision,
            physical: false,
        }))
    }

    /// For a manual clock that was advanced: does what is due now, and waits for it.
    pub fn catch_up(&self) {
        let lost = self.leases.catch_up();
        if let Ok(Some(compact)) = self.auto_compact() {
            let terms = Terms::own(Durability::Sync, None);
            let compact = Compact {
                physical: true,
                ..compact
            };
            // it fails only if another process has compacted meanwhile, or the store is full
            let _ = self.commit.run(compact, terms);
        }
        let mut wakers = self.hub.examine(&self.env);
        wakers.extend(self.hub.note_progress(self.commit.now_ns()));
        Callbacks { wakers, lost }.run();
    }
}

/// The thread.
fn run(background: &Weak<Background>) {
    let upgrade = || {
        background
            .upgrade()
            .filter(|running| !running.stop.load(Ordering::Acquire))
    };
    let mut check_at = Instant::now();
    let mut signalled = false;
    loop {
        let Some(running) = upgrade() else { return };
        let seen = running.guard.signal();
        let check = check_at <= Instant::now();
        if check {
            let interval = running.hub.progress_interval().unwrap_or(CHECK_INTERVAL);
            check_at = Instant::now() + interval.min(CHECK_INTERVAL);
        }
        let (callbacks, wait) = running.tick(check);
        let idle = callbacks.is_empty();
        drop(running);
        callbacks.run();
        if idle && signalled {
            // a signal that comes now is seen after the pause
            thread::sleep(PAUSE);
            signalled = false;
            continue;
        }
        let Some(running) = upgrade() else { return };
        running.guard.wait_for_signal(
            seen,
            wait.min(check_at.saturating_duration_since(Instant::now())),
        );
        signalled = running.guard.signal() & !1 != seen & !1;
    }
}
