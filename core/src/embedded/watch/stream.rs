//! The engine's stream of a watcher, for its owner.

use std::os::fd::RawFd;
use std::sync::{Arc, Weak};
use std::task::Waker;

use super::hub::{Hub, HubOwner};
use super::subscription::{Subscription, Task};
use crate::embedded::lmdb::Env;
use crate::embedded::os::{self, EventFd};
use crate::engine::{WatchPage, WatchStream};
use crate::error::{Code, Error, Result};
use crate::model::Revision;
use crate::mutex::lock;

/// A subscription with its store, which it does not keep open.
pub(crate) struct SubscriptionStream<S: HubOwner> {
    store: Weak<S>,
    subscription: Arc<Subscription>,
    generation: u64,
}

impl<S: HubOwner> SubscriptionStream<S> {
    pub fn new(store: Weak<S>, subscription: Arc<Subscription>) -> SubscriptionStream<S> {
        SubscriptionStream {
            store,
            subscription,
            generation: os::fork_generation(),
        }
    }

    /// Whether this process opened the store. In a forked child a lock may be held by a thread that
    /// does not exist there.
    fn is_ours(&self) -> bool {
        self.generation == os::fork_generation()
    }

    fn page(&self, briefly: bool) -> Result<WatchPage> {
        match self.store.upgrade() {
            Some(store) => {
                let now = || store.now_ns();
                next_page(&self.subscription, store.hub(), store.env(), now, briefly)
            }
            None => Err(Error::new(Code::Closed, "the store's handle is closed")),
        }
    }
}

/// `now` is called only if progress is to be reported: it costs as much as the rest. With `briefly`
/// it returns after one stretch of the log without a match.
fn next_page(
    subscription: &Subscription,
    hub: &Hub,
    env: &Env,
    now: impl Fn() -> u64,
    briefly: bool,
) -> Result<WatchPage> {
    let now_ns = if subscription.watch.progress {
        now()
    } else {
        0
    };
    loop {
        let task = {
            let mut position = lock(&subscription.position);
            position.has_page = false;
            if let Some(error) = &position.end {
                return Err(error.clone());
            }
            position.settle();
            position.task()
        };
        let (from, upto) = match task {
            Task::Nothing => return Ok(WatchPage::default()),
            Task::Progress => match hub.report(subscription, now_ns) {
                None => continue,
                Some(progress) => {
                    return Ok(WatchPage {
                        progress,
                        ..WatchPage::default()
                    });
                }
            },
            Task::CatchUp => {
                hub.catch_up(subscription);
                continue;
            }
            Task::Scan(from, upto) => (from, upto),
            Task::Hit(hit) => (hit, hit),
        };
        let events = subscription.read(env, from, upto, now_ns)?;
        if !events.is_empty() {
            return Ok(WatchPage {
                events: events.into_iter(),
                progress: 0,
            });
        }
        if briefly {
            return Ok(WatchPage::default());
        }
    }
}

impl<S: HubOwner> WatchStream for SubscriptionStream<S> {
    fn next_page(&self) -> Result<WatchPage> {
        self.page(false)
    }

    fn next_page_briefly(&self) -> Result<WatchPage> {
        self.page(true)
    }

    fn notify_pending(&self) {
        if self.is_ours() {
            self.subscription.notify_pending();
        }
    }

    fn caught_up(&self) -> Option<Revision> {
        let store = self.store.upgrade().filter(|_| self.is_ours())?;
        // the hub may not have examined the last writes
        store
            .hub()
            .examine(store.env())
            .into_iter()
            .for_each(Waker::wake);
        store.hub().caught_up(&self.subscription)
    }

    fn is_over(&self) -> bool {
        self.subscription.has_ended() || !self.is_ours()
    }

    fn set_waker(&self, waker: Option<Waker>) {
        let mut position = lock(&self.subscription.position);
        // the caller's code: dropped after the lock
        let _before = std::mem::replace(&mut position.waker, waker);
        let at_once = position.waker.clone().filter(|_| position.is_pending());
        drop(position);
        if let Some(waker) = at_once {
            waker.wake();
        }
    }

    fn fd(&self) -> Result<RawFd> {
        let mut position = lock(&self.subscription.position);
        if position.fd.is_none() {
            let made = EventFd::new();
            let fd = made.map_err(|e| {
                Error::new(Code::Io, format!("a descriptor for a watcher: {e}")).with_source(e)
            })?;
            position.fd = Some(fd);
            if position.is_pending() {
                position.announce();
            }
        }
        Ok(position.fd.as_ref().map_or(-1, EventFd::fd))
    }

    fn end(&self, error: Error) {
        if !self.is_ours() {
            return;
        }
        if let Some(store) = self.store.upgrade() {
            store.hub().remove(&self.subscription);
        }
        self.subscription.end(error);
    }

    fn resume_revision(&self) -> Revision {
        match self.store.upgrade().filter(|_| self.is_ours()) {
            Some(store) => store.hub().resume_revision(&self.subscription),
            None => {
                let position = self.subscription.position.try_lock();
                position.map_or(0, |position| position.next)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::OnceLock;
    use std::sync::mpsc::{Sender, channel};
    use std::task::Wake;
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::db::Db;
    use crate::embedded::codec::Rev;
    use crate::embedded::commit::Terms;
    use crate::embedded::lmdb::Tree;
    use crate::embedded::watch::hub::STEP_EVENTS;
    use crate::embedded::{Embedded, opening};
    use crate::options::Options;
    use crate::recipe::Watcher;
    use crate::request::{Durability, Op, Put, Txn, Watch};

    /// An event that cannot be read must not leave watchers waiting: each gets an error once, and
    /// so do the leaders of an election.
    #[test]
    fn watch_ends_at_a_damaged_event() {
        let wait_limit = Duration::from_secs(20);
        let store = opening::open(Path::new(":memory:"), &Options::new()).expect("a store");
        let db = Db::from_engine(Arc::new(
            Embedded::new(store.clone(), &Options::new()).expect("a handle"),
        ));
        let watcher = db.watch(Watch::new("k")).expect("a watcher");
        let leaders = db
            .election("name", 60)
            .expect("an election")
            .observe()
            .expect("its leaders");
        let current = db.put(Put::new("other", "v")).expect("put").revision;
        {
            let _held = store
                .guard()
                .lock_writer(None, None)
                .expect("the writer's lock");
            let mut txn = store.env().write().expect("a transaction");
            txn.put(Tree::Log, &Rev::new(current + 1, 0).to_key(), b"no event")
                .expect("damaged");
            txn.commit(true).expect("committed");
        }
        store.guard().raise_signal();
        let response = watcher.next(wait_limit).map(|batch| batch.is_some());
        assert_eq!(response.map_err(|error| error.code()), Err(Code::Corrupt));
        let seen: Vec<_> = leaders
            .take(3)
            .map(|leader| leader.map(drop).map_err(|error| error.code()))
            .collect();
        assert_eq!(seen, [Err(Code::Corrupt)]);
        // a later watcher starts after it
        let later = db.watch(Watch::new("k")).expect("a watcher");
        assert_eq!(later.resume_revision(), current + 2);
    }

    /// The background thread has other duties: a step is bounded and returns whether there is more.
    #[test]
    fn hub_examines_one_step_briefly_or_all_up_to_now() {
        let store = opening::open(Path::new(":memory:"), &Options::new()).expect("a store");
        let hub = Hub::default();
        let _subscription = hub
            .add(store.env(), 0, Watch::new("k"), 0)
            .expect("a watcher");
        let terms = Terms::own(Durability::None, None);
        for _ in 0..3 {
            let puts = (0..STEP_EVENTS).map(|n| Op::Put(Put::new(n.to_string(), "v")));
            let txn = Txn {
                success: puts.collect(),
                ..Txn::new()
            };
            store.commit().run(txn, terms).expect("written");
        }
        let steps: Vec<_> = (0..4).map(|_| hub.examine_briefly(store.env()).1).collect();
        assert_eq!(steps, [true, true, false, false]);
        store
            .commit()
            .run(Put::new("k", "v"), terms)
            .expect("written");
        hub.examine(store.env());
        assert_eq!(hub.upto(), 5);
    }

    /// A waker that uses the watcher: it reads the resume revision and the events.
    struct Reader(OnceLock<Weak<Watcher>>, Sender<Result<Revision>>);

    impl Wake for Reader {
        fn wake(self: Arc<Self>) {
            let Some(watcher) = self.0.get().and_then(Weak::upgrade) else {
                return;
            };
            let resume = watcher.resume_revision();
            drop(self.1.send(watcher.try_next().map(|_| resume)));
        }
    }

    #[test]
    fn watch_waker_of_try_next_briefly_may_use_the_watcher() {
        let store = opening::open(Path::new(":memory:"), &Options::new()).expect("a store");
        let db = Db::from_engine(Arc::new(
            Embedded::new(store, &Options::new()).expect("a handle"),
        ));
        // more than a brief read scans
        for _ in 0..3 {
            let puts = (0..10_000).map(|n| Op::Put(Put::new(n.to_string(), "v")));
            db.txn(Txn {
                success: puts.collect(),
                ..Txn::new()
            })
            .expect("written");
        }
        let watcher = Arc::new(
            db.watch(Watch::new("k").start_revision(1))
                .expect("a watcher"),
        );
        let (woken, is_woken) = channel();
        let reader = Arc::new(Reader(OnceLock::new(), woken));
        watcher.set_waker(Some(Waker::from(reader.clone())));
        // the waker was called at once, because there is something to scan; from here on it reads
        reader.0.set(Arc::downgrade(&watcher)).expect("once");
        thread::spawn(move || watcher.try_next_briefly().map(|batch| batch.is_none()));
        let resume = is_woken
            .recv_timeout(Duration::from_secs(20))
            .expect("no deadlock")
            .expect("read");
        assert!((2..=4).contains(&resume), "{resume}");
    }
}
