//! The one thread of a store that waits: for the bell, which every commit of every process rings,
//! and for the next moment at which something is due.
//!
//! It starts when something in this process needs it first: a watcher, a lease, automatic
//! compaction. It wakes watchers, and orders what is due from the writer; it never writes itself.
//! Idle, it looks once a second, in case a writer died between its commit and the bell.
//!
//! What it wakes is other people's code, and may drop the last handle of the store. So it holds
//! nothing of the store meanwhile.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
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
use crate::options::{AutoCompaction, Clock};
use crate::request::{Compact, Durability};

/// It looks at least so often.
const SLOW: Duration = Duration::from_secs(1);
/// After a ring that was of no interest to anybody it does not ask for the next at once: while it
/// does not, writers have nobody to wake.
const REST: Duration = Duration::from_millis(1);

/// What the thread does, and whether there is one.
pub(crate) struct Pulse {
    env: Arc<Env>,
    guard: Arc<Guard>,
    commit: Committer,
    hub: Arc<Hub>,
    leases: Arc<Leases>,
    clock: Clock,
    auto_compaction: Option<AutoCompaction>,
    /// Some handle of this process may write.
    may_write: AtomicBool,
    stop: AtomicBool,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// The minute in which history was last cut by age.
    cut_minute: AtomicI64,
}

/// Whom to tell, once nothing of the store is held.
#[derive(Default)]
struct Told {
    wakers: Vec<Waker>,
    lost: Vec<LossCallback>,
}

impl Told {
    /// Somebody else's code that panics ends nothing of ours.
    fn tell(self) {
        for waker in self.wakers {
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| waker.wake()));
        }
        for lost in self.lost {
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(lost));
        }
    }

    fn is_empty(&self) -> bool {
        self.wakers.is_empty() && self.lost.is_empty()
    }
}

impl Pulse {
    pub fn new(
        env: Arc<Env>,
        guard: Arc<Guard>,
        commit: Committer,
        clock: Clock,
        auto_compaction: Option<AutoCompaction>,
    ) -> Arc<Pulse> {
        Arc::new(Pulse {
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
            cut_minute: AtomicI64::new(-1),
        })
    }

    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    pub fn leases(&self) -> &Arc<Leases> {
        &self.leases
    }

    /// A handle that may write was opened; history may have to be cut from now on.
    pub fn allow_writes(self: &Arc<Self>) -> Result<()> {
        self.may_write.store(true, Ordering::Release);
        if self.auto_compaction.is_some() {
            self.start()
        } else {
            Ok(())
        }
    }

    /// Goes through what was written at once, for a compaction that would pass it: who watches other
    /// keys than those written since loses nothing by it.
    pub fn follow(&self) {
        if self.hub.len() > 0 {
            let wakers = self.hub.follow(&self.env);
            Told {
                wakers,
                lost: Vec::new(),
            }
            .tell();
        }
    }

    /// Starts the thread unless it is there.
    pub fn start(self: &Arc<Self>) -> Result<()> {
        let mut started = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if started.is_some() || self.stop.load(Ordering::Acquire) {
            return Ok(());
        }
        let pulse = Arc::downgrade(self);
        let thread = thread::Builder::new()
            .name("libkv-pulse".into())
            .spawn(move || run(&pulse));
        let no_thread = |e| {
            Error::new(Code::Io, format!("no thread for watchers and leases: {e}")).with_source(e)
        };
        *started = Some(thread.map_err(no_thread)?);
        Ok(())
    }

    /// Ends the thread, and waits for its end unless this is it.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread.filter(|thread| !os::is_current(thread)) {
            self.guard.raise_signal();
            let _ = thread.join();
        }
    }

    /// Everything that is to be done now; answers for how long nothing will be due.
    fn beat(&self, slow: bool) -> (Told, Duration) {
        // a step at a time: writers may be faster, and leases must not wait for them
        let (mut wakers, behind) = self.hub.follow_briefly(&self.env);
        let (lost, wait) = self.leases.work(self.may_write.load(Ordering::Acquire));
        let wait = if behind { Duration::ZERO } else { wait };
        // with a clock in hand, time is what it is advanced by: see `catch_up`
        if slow && !self.clock.is_in_hand() {
            wakers.extend(self.hub.progress(self.commit.now_ns()));
            if let Ok(Some(compact)) = self.auto_compact() {
                let terms = Terms::own(Durability::Sync, Some(SLOW));
                self.commit.submit(compact.into(), terms, Box::new(|_| {}));
            }
        }
        (Told { wakers, lost }, wait.min(SLOW))
    }

    /// The compaction that is due by the store's own rule.
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
                if self.cut_minute.swap(time::minute(now_ms), Ordering::AcqRel)
                    == time::minute(now_ms)
                {
                    return Ok(None);
                }
                let keep_ms = i64::try_from(keep)
                    .unwrap_or(i64::MAX)
                    .saturating_mul(1_000);
                // the index knows the ends of minutes: the minute before is old enough as a whole
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

    /// For a clock in hand that has been moved: does what has become due with it, and waits for it.
    pub fn catch_up(&self) {
        let lost = self.leases.catch_up();
        if let Ok(Some(compact)) = self.auto_compact() {
            let terms = Terms::own(Durability::Sync, None);
            let compact = Compact {
                physical: true,
                ..compact
            };
            // refused only if somebody else has compacted as far meanwhile, or the store is full
            let _ = self.commit.call(compact.into(), terms);
        }
        let mut wakers = self.hub.follow(&self.env);
        wakers.extend(self.hub.progress(self.commit.now_ns()));
        Told { wakers, lost }.tell();
    }
}

/// The thread.
fn run(pulse: &Weak<Pulse>) {
    let mut slow_at = Instant::now();
    let mut rang = false;
    loop {
        let Some(alive) = pulse
            .upgrade()
            .filter(|alive| !alive.stop.load(Ordering::Acquire))
        else {
            return;
        };
        let seen = alive.guard.signal();
        let slow = slow_at <= Instant::now();
        if slow {
            slow_at = Instant::now() + alive.hub.progress_every().unwrap_or(SLOW).min(SLOW);
        }
        let (told, wait) = alive.beat(slow);
        let idle = told.is_empty();
        drop(alive);
        told.tell();
        if idle && rang {
            // the bell stays unarmed: whatever rings now is seen after the rest
            thread::sleep(REST);
            rang = false;
            continue;
        }
        let Some(alive) = pulse
            .upgrade()
            .filter(|alive| !alive.stop.load(Ordering::Acquire))
        else {
            return;
        };
        alive.guard.wait_for_signal(
            seen,
            wait.min(slow_at.saturating_duration_since(Instant::now())),
        );
        rang = alive.guard.signal() & !1 != seen & !1;
    }
}
