//! A watcher is a filter and a position in the log. (I5)
//!
//! Nothing queues events for it. The [`Hub`] of a store goes through each new revision once, finds
//! by its index whose filters match, and notes the revision with those watchers: a few numbers, and
//! beyond [`HITS_MAX`] of them just that there are more. A watcher that is read takes what it must
//! from the log itself: at the revisions noted, or, where it began in the past or has fallen
//! behind, all of a stretch.
//!
//! For each watcher, in this order: revisions below `next` are done with; those up to `scan_upto`
//! must be looked through; then come the `hits`, up to where the hub is, or, with `more`, up to the
//! last of them. An example: made at revision 10 to start at 4, `next` is 4 and `scan_upto` 10. The
//! hub notes 13. It reads 4 to 10, then 13, and is done with everything up to where the hub is.
//!
//! Locks are taken from the hub's to the watchers', never the other way round.

mod index;

use std::collections::{HashMap, VecDeque};
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;
use std::time::Duration;

use super::codec::Rev;
use super::lmdb::{Env, Txn};
use super::mvcc::{self, compact, compacted_error, history};
use super::os::{self, EventFd};
use crate::engine::{WatchPage, WatchStream};
use crate::error::{Code, Error, Result};
use crate::model::{Event, Revision};
use crate::request::Watch;

/// Revisions noted with a watcher before it must look through the log itself.
const HITS_MAX: usize = 16;
/// Events that the hub goes through before it lets others at its lock.
const STEP_EVENTS: usize = 10_000;
/// A watcher that asked for it hears of progress after so long without an event, unless it says otherwise.
const PROGRESS_MS: u64 = 600 * 1_000;

/// After how long without an event it hears of progress.
fn progress_ms(watch: &Watch) -> u64 {
    if watch.progress_interval_ms == 0 {
        PROGRESS_MS
    } else {
        watch.progress_interval_ms
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Everything that follows one store in this process.
#[derive(Default)]
pub(crate) struct Hub {
    inner: Mutex<Inner>,
    count: AtomicUsize,
    /// How many of them want to hear of progress.
    progress: AtomicUsize,
    /// The shortest time after which one of those does, or did; 0 while there are none.
    progress_ms: AtomicU64,
}

#[derive(Default)]
struct Inner {
    /// Every revision up to this has been matched against the index.
    upto: Revision,
    watchers: HashMap<u64, Arc<Watched>>,
    last_id: u64,
    index: index::Index,
}

impl Inner {
    /// Matches what comes after `upto` against the index, some of it; answers up to where.
    fn match_events(
        &mut self,
        txn: &Txn,
        current: Revision,
        wakers: &mut Vec<Waker>,
    ) -> Result<Revision> {
        let Inner {
            upto,
            watchers,
            index,
            ..
        } = self;
        history::each_event(
            txn,
            *upto,
            current,
            STEP_EVENTS,
            |revision, key, deleted| {
                index.find(key, |id| {
                    if let Some(watched) = watchers.get(&id) {
                        wakers.extend(watched.hit(revision, deleted));
                    }
                });
            },
        )
    }
}

/// One watcher, as the hub knows it.
pub(crate) struct Watched {
    id: u64,
    /// The handle that it was made from.
    handle: u64,
    watch: Watch,
    place: Mutex<Place>,
    over: AtomicBool,
}

#[derive(Default)]
struct Place {
    next: Revision,
    scan_upto: Revision,
    hits: VecDeque<Revision>,
    /// There was no room for a hit: behind the last of them nothing is known.
    more: bool,
    end: Option<Error>,
    waker: Option<Waker>,
    fd: Option<EventFd>,
    /// When it last delivered, or was made.
    delivered_ns: u64,
    progress_due: bool,
    /// More than one event was handed out with the last page: some may not have been taken.
    has_page: bool,
}

/// What a watcher must do next.
enum Todo {
    Scan(Revision, Revision),
    Hit(Revision),
    /// Ask the hub how far it is.
    CatchUp,
    Progress,
    Nothing,
}

impl Place {
    fn todo(&self) -> Todo {
        match self.hits.front() {
            _ if self.next <= self.scan_upto => Todo::Scan(self.next, self.scan_upto),
            Some(&hit) => Todo::Hit(hit),
            None if self.more => Todo::CatchUp,
            None if self.progress_due => Todo::Progress,
            None => Todo::Nothing,
        }
    }

    fn is_pending(&self) -> bool {
        self.end.is_some() || self.has_page || !matches!(self.todo(), Todo::Nothing)
    }

    /// Says that there is something; whom to wake, once no lock is held.
    fn announce(&self) -> Option<Waker> {
        if let Some(fd) = &self.fd {
            fd.signal();
        }
        self.waker.clone()
    }

    /// Makes the descriptor unreadable if there is nothing.
    fn settle(&self) {
        if let Some(fd) = self.fd.as_ref().filter(|_| !self.is_pending()) {
            fd.clear();
        }
    }
}

/// How far a step went, of how far it could.
struct Looked {
    upto: Revision,
    current: Revision,
}

/// Numbers that tell handles apart.
pub(crate) fn new_handle() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed)
}

impl Hub {
    /// How many watchers there are.
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Makes a watcher. The caller has validated the request.
    ///
    /// # Errors
    ///
    /// `compacted` if it would start below the compacted revision.
    pub fn add(&self, env: &Env, handle: u64, watch: Watch, now_ns: u64) -> Result<Arc<Watched>> {
        let mut inner = lock(&self.inner);
        let txn = env.read()?;
        let (current, compacted) = (
            mvcc::current_revision(&txn)?,
            mvcc::compacted_revision(&txn)?,
        );
        drop(txn);
        let next = if watch.start_revision == 0 {
            current + 1
        } else {
            watch.start_revision
        };
        if next < compacted || next < 0 {
            return Err(compacted_error(next, compacted.max(0)));
        }
        if inner.watchers.is_empty() {
            inner.upto = current;
        }
        inner.last_id += 1;
        let id = inner.last_id;
        let place = Place {
            next,
            scan_upto: inner.upto,
            delivered_ns: now_ns,
            ..Place::default()
        };
        inner.index.add(id, &watch.range);
        self.count.fetch_add(1, Ordering::Relaxed);
        if watch.progress {
            let shortest = match self.progress.fetch_add(1, Ordering::Relaxed) {
                0 => progress_ms(&watch),
                _ => progress_ms(&watch).min(self.progress_ms.load(Ordering::Relaxed)),
            };
            self.progress_ms.store(shortest, Ordering::Relaxed);
        }
        let watched = Arc::new(Watched {
            id,
            handle,
            watch,
            place: Mutex::new(place),
            over: AtomicBool::new(false),
        });
        inner.watchers.insert(id, watched.clone());
        Ok(watched)
    }

    /// Forgets a watcher.
    fn remove(&self, watched: &Watched) {
        let mut inner = lock(&self.inner);
        if inner.watchers.remove(&watched.id).is_some() {
            inner.index.remove(watched.id, &watched.watch.range);
            self.count.fetch_sub(1, Ordering::Relaxed);
            if watched.watch.progress && self.progress.fetch_sub(1, Ordering::Relaxed) == 1 {
                self.progress_ms.store(0, Ordering::Relaxed);
            }
        }
    }

    /// How often [`Hub::progress`] must be called; none if nobody wants it.
    pub fn progress_every(&self) -> Option<Duration> {
        let shortest = self.progress_ms.load(Ordering::Relaxed);
        (shortest != 0).then(|| Duration::from_millis(shortest))
    }

    /// Ends the watchers of a handle, or all.
    pub fn end(&self, handle: Option<u64>, error: &Error) {
        let theirs = |watched: &&Arc<Watched>| handle.is_none_or(|handle| watched.handle == handle);
        let ended: Vec<_> = lock(&self.inner)
            .watchers
            .values()
            .filter(theirs)
            .cloned()
            .collect();
        for watched in ended {
            self.remove(&watched);
            watched.end(error.clone());
        }
    }

    /// Goes through what was written up to now, and no further: writers may be faster than this.
    /// Returns whom to wake, once no lock is held. What fails (no reader's slot, say) is tried again
    /// the next time.
    pub fn follow(&self, env: &Env) -> Vec<Waker> {
        let (mut wakers, mut until) = (Vec::new(), None);
        while let Ok(Some(followed)) = self.follow_step(env, &mut wakers) {
            if followed.upto >= *until.get_or_insert(followed.current) {
                break;
            }
        }
        wakers
    }

    /// As [`Hub::follow`], but one step; and whether there is more.
    pub fn follow_briefly(&self, env: &Env) -> (Vec<Waker>, bool) {
        let mut wakers = Vec::new();
        let followed = self.follow_step(env, &mut wakers);
        (
            wakers,
            matches!(followed, Ok(Some(followed)) if followed.upto < followed.current),
        )
    }

    /// Goes through some of it; none if there is nothing.
    fn follow_step(&self, env: &Env, wakers: &mut Vec<Waker>) -> Result<Option<Looked>> {
        let mut inner = lock(&self.inner);
        let inner = &mut *inner;
        if inner.watchers.is_empty() {
            return Ok(None);
        }
        let txn = env.read()?;
        let current = mvcc::current_revision(&txn)?;
        if current <= inner.upto {
            return Ok(None);
        }
        // none of them if this process was stopped for long, or an event is damaged
        let next = Rev::new(inner.upto + 1, 0);
        let gone = mvcc::compacted_revision(&txn)? > next.main && compact::swept(&txn)? > next;
        let matched = (!gone)
            .then(|| inner.match_events(&txn, current, wakers).ok())
            .flatten();
        if matched.is_none() {
            // each watcher finds out what it has missed
            let behind = |watched: &Arc<Watched>| watched.fall_behind(inner.upto, current);
            wakers.extend(inner.watchers.values().filter_map(behind));
        }
        inner.upto = matched.unwrap_or(current);
        Ok(Some(Looked {
            upto: inner.upto,
            current,
        }))
    }

    /// Reminds those who have heard nothing for long that they may report progress; whom to wake.
    pub fn progress(&self, now_ns: u64) -> Vec<Waker> {
        if self.progress.load(Ordering::Relaxed) == 0 {
            return Vec::new();
        }
        let inner = lock(&self.inner);
        inner
            .watchers
            .values()
            .filter(|watched| watched.watch.progress)
            .filter_map(|w| w.remind(now_ns))
            .collect()
    }

    /// For a watcher that has read all its hits but not all that matched: what lies between must be
    /// looked through, and from now on is noted again.
    fn catch_up(&self, watched: &Watched) {
        let inner = lock(&self.inner);
        let mut place = lock(&watched.place);
        place.scan_upto = inner.upto;
        place.more = false;
    }

    fn resume_revision(&self, watched: &Watched) -> Revision {
        let inner = lock(&self.inner);
        let place = lock(&watched.place);
        match place.todo() {
            Todo::Hit(hit) => hit,
            Todo::Scan(..) | Todo::CatchUp => place.next,
            Todo::Progress | Todo::Nothing => place.next.max(inner.upto + 1),
        }
    }

    /// Up to where all was matched, if this watcher has nothing to deliver and has begun.
    fn caught_up(&self, watched: &Watched) -> Option<Revision> {
        let inner = lock(&self.inner);
        let place = lock(&watched.place);
        let idle = place.end.is_none() && matches!(place.todo(), Todo::Progress | Todo::Nothing);
        (idle && place.next <= inner.upto + 1).then_some(inner.upto)
    }

    /// The report of a watcher that has nothing to deliver, none if it has by now.
    fn report(&self, watched: &Watched, now_ns: u64) -> Option<Revision> {
        let inner = lock(&self.inner);
        let mut place = lock(&watched.place);
        if !matches!(place.todo(), Todo::Progress) {
            return None;
        }
        (place.delivered_ns, place.progress_due) = (now_ns, false);
        place.settle();
        Some(inner.upto)
    }
}

impl Watched {
    /// Notes that this revision matches; whom to wake.
    fn hit(&self, revision: Revision, deleted: bool) -> Option<Waker> {
        if if deleted {
            self.watch.no_delete
        } else {
            self.watch.no_put
        } {
            return None;
        }
        let mut place = lock(&self.place);
        if revision < place.next || place.more || place.hits.back() == Some(&revision) {
            return None;
        }
        match place.hits.len() < HITS_MAX {
            true => place.hits.push_back(revision),
            false => place.more = true,
        }
        place.announce()
    }

    /// All that it has not read must be looked through; up to `seen` it has been told of everything.
    fn fall_behind(&self, seen: Revision, upto: Revision) -> Option<Waker> {
        let mut place = lock(&self.place);
        let nothing = place.hits.front().map_or(!place.more, |hit| *hit > seen);
        if nothing && place.next > place.scan_upto {
            place.next = place.next.max(seen + 1);
        }
        place.hits.clear();
        (place.more, place.scan_upto) = (false, upto);
        place.announce()
    }

    fn remind(&self, now_ns: u64) -> Option<Waker> {
        let mut place = lock(&self.place);
        let interval_ns = progress_ms(&self.watch).saturating_mul(1_000_000);
        if place.progress_due || now_ns.saturating_sub(place.delivered_ns) < interval_ns {
            return None;
        }
        place.progress_due = true;
        place.announce()
    }

    fn end(&self, error: Error) {
        let waker = {
            let mut place = lock(&self.place);
            if place.end.is_some() {
                return;
            }
            place.end = Some(error);
            self.over.store(true, Ordering::Release);
            place.announce()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// `now` is only asked for where progress is to be reported: it costs as much as the rest. With
    /// `briefly` it gives up after one stretch of the log in which nothing was found.
    fn next_page(
        &self,
        hub: &Hub,
        env: &Env,
        now: impl Fn() -> u64,
        briefly: bool,
    ) -> Result<WatchPage> {
        let now_ns = if self.watch.progress { now() } else { 0 };
        loop {
            let todo = {
                let mut place = lock(&self.place);
                place.has_page = false;
                if let Some(error) = &place.end {
                    return Err(error.clone());
                }
                place.settle();
                place.todo()
            };
            let (from, upto) = match todo {
                Todo::Nothing => return Ok(WatchPage::default()),
                Todo::Progress => match hub.report(self, now_ns) {
                    None => continue,
                    Some(progress) => {
                        return Ok(WatchPage {
                            progress,
                            ..WatchPage::default()
                        });
                    }
                },
                Todo::CatchUp => {
                    hub.catch_up(self);
                    continue;
                }
                Todo::Scan(from, upto) => (from, upto),
                Todo::Hit(hit) => (hit, hit),
            };
            let events = self.read(env, from, upto, now_ns)?;
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

    /// Wakes who reads if there is more to do.
    fn remind_of_pending(&self) {
        let waker = {
            let place = lock(&self.place);
            place.is_pending().then(|| place.announce()).flatten()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Reads some of a stretch of the log, and moves on.
    fn read(&self, env: &Env, from: Revision, upto: Revision, now_ns: u64) -> Result<Vec<Event>> {
        let read = env
            .read()
            .and_then(|txn| history::watched(&txn, &self.watch, from, upto));
        let mut place = lock(&self.place);
        match read {
            Ok((events, seen_upto)) => {
                place.next = place.next.max(seen_upto + 1);
                if place.hits.front().is_some_and(|hit| *hit <= seen_upto) {
                    place.hits.pop_front();
                }
                place.has_page = events.len() > 1;
                if !events.is_empty() {
                    (place.delivered_ns, place.progress_due) = (now_ns, false);
                }
                place.settle();
                Ok(events)
            }
            // busy for want of a reader's slot passes; what is gone stays gone
            Err(error) => {
                if error.code() != Code::Busy {
                    place.end = Some(error.clone());
                    self.over.store(true, Ordering::Release);
                }
                Err(error)
            }
        }
    }
}

/// What a watcher needs of the store that it follows.
pub(crate) trait Followed: Send + Sync {
    fn env(&self) -> &Env;
    fn hub(&self) -> &Hub;
    fn now_ns(&self) -> u64;
}

/// A watcher as its owner has it.
pub(crate) struct Stream<S: Followed> {
    store: Weak<S>,
    watched: Arc<Watched>,
    generation: u64,
}

impl<S: Followed> Stream<S> {
    pub fn new(store: Weak<S>, watched: Arc<Watched>) -> Stream<S> {
        Stream {
            store,
            watched,
            generation: os::fork_generation(),
        }
    }

    /// A lock of the parent's may be held by a thread that the child does not have.
    fn ours(&self) -> bool {
        self.generation == os::fork_generation()
    }

    fn page(&self, briefly: bool) -> Result<WatchPage> {
        match self.store.upgrade() {
            Some(store) => {
                self.watched
                    .next_page(store.hub(), store.env(), || store.now_ns(), briefly)
            }
            None => Err(Error::new(Code::Closed, "the store's handle is closed")),
        }
    }
}

impl<S: Followed> WatchStream for Stream<S> {
    fn next_page(&self) -> Result<WatchPage> {
        self.page(false)
    }

    fn next_page_briefly(&self) -> Result<WatchPage> {
        self.page(true)
    }

    fn remind(&self) {
        if self.ours() {
            self.watched.remind_of_pending();
        }
    }

    fn caught_up(&self) -> Option<Revision> {
        let store = self.store.upgrade().filter(|_| self.ours())?;
        // what was written just now may not have been looked at
        store
            .hub()
            .follow(store.env())
            .into_iter()
            .for_each(Waker::wake);
        store.hub().caught_up(&self.watched)
    }

    fn is_over(&self) -> bool {
        self.watched.over.load(Ordering::Acquire) || !self.ours()
    }

    fn set_waker(&self, waker: Option<Waker>) {
        let mut place = lock(&self.watched.place);
        // dropped outside the lock, as it is somebody else's code
        let _before = std::mem::replace(&mut place.waker, waker);
        let at_once = place.waker.clone().filter(|_| place.is_pending());
        drop(place);
        if let Some(waker) = at_once {
            waker.wake();
        }
    }

    fn fd(&self) -> Result<RawFd> {
        let mut place = lock(&self.watched.place);
        if place.fd.is_none() {
            let made = EventFd::new();
            let fd = made.map_err(|e| {
                Error::new(Code::Io, format!("a descriptor for a watcher: {e}")).with_source(e)
            })?;
            place.fd = Some(fd);
            if place.is_pending() {
                place.announce();
            }
        }
        Ok(place.fd.as_ref().map_or(-1, EventFd::fd))
    }

    fn end(&self, error: Error) {
        if !self.ours() {
            return;
        }
        if let Some(store) = self.store.upgrade() {
            store.hub().remove(&self.watched);
        }
        self.watched.end(error);
    }

    fn resume_revision(&self) -> Revision {
        match self.store.upgrade().filter(|_| self.ours()) {
            Some(store) => store.hub().resume_revision(&self.watched),
            None => self.watched.place.try_lock().map_or(0, |place| place.next),
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
    use crate::embedded::{Embedded, opening};
    use crate::options::Options;
    use crate::recipe::Watcher;
    use crate::request::{Durability, Op, Put, Txn};

    /// An event that cannot be read is no reason to leave everybody waiting: who watches learns of it,
    /// also through the leaders of an election, once.
    #[test]
    fn a_damaged_event_ends_whoever_would_wait_for_ever() {
        let patience = Duration::from_secs(20);
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
        let response = watcher.next(patience).map(|batch| batch.is_some());
        assert_eq!(response.map_err(|error| error.code()), Err(Code::Corrupt));
        let seen: Vec<_> = leaders
            .take(3)
            .map(|leader| leader.map(drop).map_err(|error| error.code()))
            .collect();
        assert_eq!(seen, [Err(Code::Corrupt)]);
        // who comes later has nothing to do with it
        let later = db.watch(Watch::new("k")).expect("a watcher");
        assert_eq!(later.resume_revision(), current + 2);
    }

    /// The thread that follows has other duties: a step is bounded and returns whether there is more.
    #[test]
    fn following_briefly_is_one_step_and_following_ends_at_the_present() {
        let store = opening::open(Path::new(":memory:"), &Options::new()).expect("a store");
        let hub = Hub::default();
        let _watched = hub
            .add(store.env(), 0, Watch::new("k"), 0)
            .expect("a watcher");
        let terms = Terms::own(Durability::None, None);
        for _ in 0..3 {
            let puts = (0..STEP_EVENTS).map(|n| Op::Put(Put::new(n.to_string(), "v")));
            let txn = Txn {
                success: puts.collect(),
                ..Txn::new()
            };
            store.commit().call(txn.into(), terms).expect("written");
        }
        let steps: Vec<_> = (0..4).map(|_| hub.follow_briefly(store.env()).1).collect();
        assert_eq!(steps, [true, true, false, false]);
        store
            .commit()
            .call(Put::new("k", "v").into(), terms)
            .expect("written");
        hub.follow(store.env());
        assert_eq!(lock(&hub.inner).upto, 5);
    }

    /// What a waker may do: ask where to go on, and read.
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
    fn waker_called_by_try_next_briefly_may_use_the_watcher() {
        let store = opening::open(Path::new(":memory:"), &Options::new()).expect("a store");
        let db = Db::from_engine(Arc::new(
            Embedded::new(store, &Options::new()).expect("a handle"),
        ));
        // more than a brief read looks through
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
        // from here on the waker does something: it was called at once, as there is something to look through
        reader.0.set(Arc::downgrade(&watcher)).expect("once");
        thread::spawn(move || watcher.try_next_briefly().map(|batch| batch.is_none()));
        let resume = is_woken
            .recv_timeout(Duration::from_secs(20))
            .expect("no deadlock")
            .expect("read");
        assert!((2..=4).contains(&resume), "{resume}");
    }
}
