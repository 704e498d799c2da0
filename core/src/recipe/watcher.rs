//! Following a range: batches of events as they are written, by any process.

use std::fmt;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use crossbeam::sync::{Parker, Unparker};

use crate::db::Db;
use crate::engine::{WatchPage, WatchStream};
use crate::error::{Code, Error, Result};
use crate::model::Revision;
use crate::mutex::lock;
use crate::request::{Watch, WatchBatch};

impl Db {
    /// Follows the events of a range, whichever process writes them.
    ///
    /// ```
    /// use libkv::{Db, KeyRange, Options, Put, Watch};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// let mut watcher = db.watch(Watch::new(KeyRange::prefix("config/")))?;
    /// let revision = db.put(Put::new("config/colour", "green"))?.revision;
    /// let batch = watcher.next(None)?.unwrap();
    /// assert_eq!((batch.revision, batch.events.len()), (revision, 1));
    /// # Ok::<(), libkv::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `invalid_argument` (an empty range), `compacted` (`start_revision` is negative, or below the
    /// compacted revision, which is in the error).
    pub fn watch(&self, watch: Watch) -> Result<Watcher> {
        Watcher::new(self.clone(), watch)
    }
}

/// Follows a range; made by [`Db::watch`](crate::Db::watch).
///
/// Each batch is one complete revision, without gaps or repetitions. A watcher stores a filter and
/// a position: an unread watcher delays nothing and costs writers nothing. If a compaction passes
/// an unread revision, the watcher ends with `compacted`; the error's revision is the first that a
/// new watcher may start from.
///
/// One thread reads at a time; [`Watcher::cancel`] and [`Watcher::close`] may be called from any
/// thread. The iterator waits for each batch, returns an error once, and ends. [`Code::Cancelled`]
/// and [`Code::Closed`] end it without an error.
#[must_use = "dropping a watcher ends it"]
pub struct Watcher {
    db: Db,
    stream: Arc<dyn WatchStream>,
    /// Whether a thread waits in it or takes from it.
    reading: AtomicBool,
    /// Events that were read and not taken.
    page: Mutex<WatchPage>,
    ended: bool,
}

/// The exclusive right to read a watcher, until it is dropped.
struct ReadLock<'a>(&'a AtomicBool);

impl Drop for ReadLock<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watcher(from revision {})", self.resume_revision())
    }
}

/// Ends a [`Watcher`] from another thread; made by [`Watcher::canceller`].
#[derive(Clone)]
pub struct Canceller {
    stream: Weak<dyn WatchStream>,
}

impl fmt::Debug for Canceller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Canceller")
    }
}

impl Canceller {
    /// Ends the watcher: a thread that waits in it gets `cancelled`.
    pub fn cancel(&self) {
        if let Some(stream) = self.stream.upgrade() {
            stream.end(cancelled());
        }
    }
}

fn cancelled() -> Error {
    Error::new(Code::Cancelled, "the watcher was cancelled")
}

/// A waker for the thread that parks in `parker`.
pub(super) fn unparking(parker: &Parker) -> Waker {
    Waker::from(Arc::new(Unpark(parker.unparker().clone())))
}

struct Unpark(Unparker);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl Watcher {
    pub(crate) fn new(db: Db, watch: Watch) -> Result<Watcher> {
        let stream = db.engine().watch(watch)?;
        Ok(Watcher::over(db, stream))
    }

    /// As [`Db::watch`], for callers that must not block.
    pub(super) fn submit(
        db: &Db,
        watch: Watch,
        created: impl FnOnce(Result<Watcher>) + Send + 'static,
    ) {
        let own = db.clone();
        let created = move |stream: Result<_>| {
            created(stream.map(|stream| Watcher::over(own, stream)));
        };
        db.engine().submit_watch(watch, Box::new(created));
    }

    fn over(db: Db, stream: Arc<dyn WatchStream>) -> Watcher {
        Watcher {
            db,
            stream,
            reading: AtomicBool::new(false),
            page: Mutex::default(),
            ended: false,
        }
    }

    /// Returns the next batch; `None` if `timeout` (`None`: no limit) passed.
    ///
    /// ```
    /// use std::time::Duration;
    /// use libkv::{Db, Options, Put, Watch};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// let watcher = db.watch(Watch::new("a"))?;
    /// assert!(watcher.next(Duration::from_millis(10))?.is_none());
    /// db.put(Put::new("a", "1"))?;
    /// assert_eq!(watcher.next(None)?.unwrap().events[0].kv.value, "1");
    /// # Ok::<(), libkv::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `compacted` (a compaction passed an unread revision; the error's revision is the first that
    /// can still be followed), `cancelled`, `closed`, `forked`; `invalid_argument` if another
    /// thread reads at the same time.
    pub fn next(&self, timeout: impl Into<Option<Duration>>) -> Result<Option<WatchBatch>> {
        let until = timeout
            .into()
            .and_then(|timeout| Instant::now().checked_add(timeout).map(|at| (timeout, at)));
        let _reading = self.read_lock()?;
        if let Some(batch) = self.take()? {
            return Ok(Some(batch));
        }
        if until.is_some_and(|(timeout, _)| timeout.is_zero()) {
            return Ok(None);
        }
        let parker = Parker::new();
        self.set_waker(Some(unparking(&parker)));
        let response = self.wait(&parker, until.map(|(_, at)| at));
        self.set_waker(None);
        response
    }

    fn wait(&self, parker: &Parker, until: Option<Instant>) -> Result<Option<WatchBatch>> {
        loop {
            if let Some(batch) = self.take()? {
                return Ok(Some(batch));
            }
            match until {
                Some(until) if until <= Instant::now() => return Ok(None),
                Some(until) => parker.park_deadline(until),
                None => parker.park(),
            }
        }
    }

    /// Returns the next batch if there is one. Never waits.
    ///
    /// ```
    /// use libkv::{Db, Options, Watch};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// let watcher = db.watch(Watch::new("a"))?;
    /// assert!(watcher.try_next()?.is_none());
    /// # Ok::<(), libkv::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Same as [`Watcher::next`].
    pub fn try_next(&self) -> Result<Option<WatchBatch>> {
        let _reading = self.read_lock()?;
        self.take()
    }

    /// Two waiting threads would replace each other's waker: the second is refused.
    fn read_lock(&self) -> Result<ReadLock<'_>> {
        if self.stream.is_over() {
            self.db.engine().ensure_open()?;
        }
        match self.reading.swap(true, Ordering::Acquire) {
            false => Ok(ReadLock(&self.reading)),
            true => {
                let message = "the watcher is being read by another thread: one reads at a time";
                Err(Error::new(Code::InvalidArgument, message))
            }
        }
    }

    /// Same as [`Watcher::try_next`], for tasks that share a thread: it scans at most a part of the
    /// log, which takes some milliseconds. If that part had no events and there is more, it returns
    /// `None` and calls the [waker](Watcher::set_waker) at once.
    ///
    /// # Errors
    ///
    /// Same as [`Watcher::next`].
    pub fn try_next_briefly(&self) -> Result<Option<WatchBatch>> {
        let reading = self.read_lock()?;
        let batch = self.take_from(|stream| stream.next_page_briefly())?;
        // the waker is the caller's code and may read this watcher
        drop(reading);
        if batch.is_none() {
            self.stream.notify_pending();
        }
        Ok(batch)
    }

    /// The current revision of the store, if every batch up to it was delivered. `None` if not, if
    /// the watcher starts in the future, or if the store is a cluster. Never waits.
    ///
    /// ```
    /// use libkv::{Db, Options, Put, Watch};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// let watcher = db.watch(Watch::new("a"))?;
    /// let revision = db.put(Put::new("b", "not watched"))?.revision;
    /// assert_eq!(watcher.caught_up(), Some(revision));
    /// # Ok::<(), libkv::Error>(())
    /// ```
    pub fn caught_up(&self) -> Option<Revision> {
        // in a forked child a thread that is not there may hold the page
        let taken = !self.db.is_closed() && self.page().events.as_slice().is_empty();
        taken.then(|| self.stream.caught_up()).flatten()
    }

    fn take(&self) -> Result<Option<WatchBatch>> {
        self.take_from(|stream| stream.next_page())
    }

    fn take_from(
        &self,
        next_page: fn(&dyn WatchStream) -> Result<WatchPage>,
    ) -> Result<Option<WatchBatch>> {
        let mut page = self.page();
        if page.events.as_slice().is_empty() || self.stream.is_over() {
            *page = WatchPage::default();
            self.db.engine().ensure_open()?;
            *page = next_page(&*self.stream)?;
        }
        let Some(first) = page.events.next() else {
            let progress = std::mem::take(&mut page.progress);
            return Ok((progress != 0).then_some(WatchBatch {
                revision: progress,
                events: Vec::new(),
            }));
        };
        let revision = first.kv.mod_revision;
        let more = page
            .events
            .as_slice()
            .iter()
            .take_while(|event| event.kv.mod_revision == revision)
            .count();
        let mut events = Vec::with_capacity(1 + more);
        events.push(first);
        events.extend(page.events.by_ref().take(more));
        Ok(Some(WatchBatch { revision, events }))
    }

    fn page(&self) -> MutexGuard<'_, WatchPage> {
        lock(&self.page)
    }

    /// Sets the waker that is called when [`Watcher::try_next`] may have something. It is called at
    /// once if that is so already, and again each time; it may be called without a reason. It runs
    /// on a thread of libkv and must not block.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::task::{Wake, Waker};
    /// use libkv::{Db, Options, Watch};
    ///
    /// struct Notify;
    /// impl Wake for Notify {
    ///     fn wake(self: Arc<Self>) { /* schedule a call of try_next */ }
    /// }
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// let watcher = db.watch(Watch::new("a"))?;
    /// watcher.set_waker(Some(Waker::from(Arc::new(Notify))));
    /// # Ok::<(), libkv::Error>(())
    /// ```
    pub fn set_waker(&self, waker: Option<Waker>) {
        match (self.db.engine().ensure_open(), waker) {
            (Ok(()), waker) => self.stream.set_waker(waker),
            // the end came first: the watcher will not be woken again
            (Err(_), Some(waker)) => waker.wake(),
            (Err(_), None) => {}
        }
    }

    /// A descriptor that is readable while [`Watcher::try_next`] may have something. It belongs to
    /// the watcher: poll it, but do not read or close it.
    ///
    /// # Errors
    ///
    /// `closed`, `forked`, `io` if no descriptor can be created.
    pub fn fd(&self) -> Result<RawFd> {
        self.db.engine().ensure_open()?;
        self.stream.fd()
    }

    /// Ends the watcher, from any thread: a waiting thread and every later call get `cancelled`.
    ///
    /// ```
    /// use libkv::{Code, Db, Options, Watch};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// let watcher = db.watch(Watch::new("a"))?;
    /// watcher.cancel();
    /// assert_eq!(watcher.next(None).unwrap_err().code(), Code::Cancelled);
    /// # Ok::<(), libkv::Error>(())
    /// ```
    pub fn cancel(&self) {
        self.stream.end(cancelled());
    }

    /// A handle that can [`cancel`](Watcher::cancel) this watcher from elsewhere.
    ///
    /// ```
    /// use std::thread;
    /// use libkv::{Code, Db, Options, Watch};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// let watcher = db.watch(Watch::new("a"))?;
    /// let canceller = watcher.canceller();
    /// let reader = thread::spawn(move || watcher.next(None).map(drop));
    /// canceller.cancel();
    /// assert_eq!(reader.join().unwrap().unwrap_err().code(), Code::Cancelled);
    /// # Ok::<(), libkv::Error>(())
    /// ```
    pub fn canceller(&self) -> Canceller {
        Canceller {
            stream: Arc::downgrade(&self.stream),
        }
    }

    /// Whether the watcher has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.stream.is_over()
    }

    /// Ends the watcher, from any thread: every later call returns `closed`.
    pub fn close(&self) {
        self.stream
            .end(Error::new(Code::Closed, "the watcher is closed"));
    }

    /// The start revision of a new watcher that continues without a gap or a repetition: after the
    /// last returned batch, or later if nothing has matched since.
    ///
    /// ```
    /// use libkv::{Db, Options, Put, Watch};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// let watcher = db.watch(Watch::new("a"))?;
    /// let revision = db.put(Put::new("a", "1"))?.revision;
    /// watcher.next(None)?;
    /// let resumed = db.watch(Watch::new("a").start_revision(watcher.resume_revision()))?;
    /// assert!(resumed.try_next()?.is_none());
    /// assert_eq!(resumed.resume_revision(), revision + 1);
    /// # Ok::<(), libkv::Error>(())
    /// ```
    pub fn resume_revision(&self) -> Revision {
        // in a forked child a thread that is not there may hold it
        let page = if self.db.is_closed() {
            self.page.try_lock().ok()
        } else {
            Some(self.page())
        };
        let first = page
            .as_ref()
            .and_then(|page| page.events.as_slice().first());
        first.map_or_else(
            || self.stream.resume_revision(),
            |event| event.kv.mod_revision,
        )
    }
}

impl Iterator for Watcher {
    type Item = Result<WatchBatch>;

    fn next(&mut self) -> Option<Result<WatchBatch>> {
        if self.ended {
            return None;
        }
        match Watcher::next(self, None) {
            Ok(batch) => batch.map(Ok),
            Err(error) => {
                self.ended = true;
                (!matches!(error.code(), Code::Cancelled | Code::Closed)).then_some(Err(error))
            }
        }
    }
}

/// With the feature `stream`: the same as the iterator, for async code of any kind.
#[cfg(feature = "stream")]
impl futures_core::Stream for Watcher {
    type Item = Result<WatchBatch>;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        use std::task::Poll;
        let watcher = self.get_mut();
        if watcher.ended {
            return Poll::Ready(None);
        }
        watcher.set_waker(Some(context.waker().clone()));
        match watcher.try_next_briefly() {
            Ok(Some(batch)) => Poll::Ready(Some(Ok(batch))),
            Ok(None) => Poll::Pending,
            Err(error) => {
                watcher.ended = true;
                let quiet = matches!(error.code(), Code::Cancelled | Code::Closed);
                Poll::Ready((!quiet).then_some(Err(error)))
            }
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.close();
    }
}
