//! Watchers of a cluster: each a stream of its own over the shared connection, opened again where it ended,
//! from the first revision that it has not had.
//!
//! A watcher that nobody reads holds [`QUEUE_BYTES`] at most: then its stream is left unread for a moment, and
//! closed if that does not help; once it has been read it goes on from where it was. What a compaction has taken
//! meanwhile ends it with `compacted`, as for every watcher.
//!
//! A watcher of quiet keys must not ask for revisions of long ago when its connection is lost: they may be compacted
//! although it has missed nothing. So each watch has signs of progress at the server's own interval (ten minutes by
//! default), and after half a minute without a message the watcher requests one. The response to that counts where it
//! keeps its place among events: in etcd from 3.4.31 and 3.5.13 on. Older servers get no such request.

use std::collections::{HashMap, VecDeque};
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::time::Duration;

use libkv::engine::{WatchPage, WatchStream};
use libkv::{Code, Error, Event, Result, Revision, Watch};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Status, Streaming};

use super::cluster::{Cluster, PAUSE, PAUSE_MAX, after, closed, lock};
use super::link::{Failure, Link, Token, failure};
use super::request::{compacted_error, compacted_revision, is_compacted};
use crate::convert;
use crate::pb::etcdserverpb as pb;
use crate::pb::etcdserverpb::watch_request::RequestUnion;

/// What is read ahead for one watcher; a single revision may be larger.
const QUEUE_BYTES: usize = 4 << 20;
/// What an event takes beside its bytes.
const EVENT_BYTES: usize = 128;
/// How long a stream is left unread before it is closed.
const STALL: Duration = Duration::from_secs(1);

/// Opens a stream with one watch on it.
pub(crate) async fn open(
    link: &Link,
    create: pb::WatchCreateRequest,
    token: &Token,
) -> std::result::Result<Streaming<pb::WatchResponse>, Status> {
    // the stream stays open on this side as long as it is listened to
    open_and_ask(link, create, token, tokio_stream::pending()).await
}

/// The same, with requests that follow. The stream is open on this side as long as `requests` is.
async fn open_and_ask(
    link: &Link,
    create: pb::WatchCreateRequest,
    token: &Token,
    requests: impl tokio_stream::Stream<Item = RequestUnion> + Send + 'static,
) -> std::result::Result<Streaming<pb::WatchResponse>, Status> {
    let all = tokio_stream::once(RequestUnion::CreateRequest(create)).chain(requests);
    let all = all.map(|union| pb::WatchRequest {
        request_union: Some(union),
    });
    link.streaming("/etcdserverpb.Watch/Watch", all, token)
        .await
}

/// Whether responses of this version to progress requests keep their place among events.
fn orders_progress(version: &str) -> bool {
    let mut numbers = version
        .split(['.', '-', '+'])
        .map(|part| part.parse::<u32>().ok());
    let mut next = || numbers.next().flatten().unwrap_or(0);
    match (next(), next(), next()) {
        (3, 4, patch) => patch >= 31,
        (3, 5, patch) => patch >= 13,
        (major, minor, _) => (major, minor) >= (3, 6),
    }
}

/// Puts fragments together again: events come out as whole revisions.
#[derive(Default)]
pub(crate) struct Assembler {
    partial: Vec<Event>,
}

impl Assembler {
    /// What is whole with this message.
    pub fn take(&mut self, message: pb::WatchResponse) -> Vec<Event> {
        self.partial
            .extend(message.events.into_iter().map(convert::event_in));
        if !message.fragment {
            return std::mem::take(&mut self.partial);
        }
        // the last revision may go on in the next piece
        let last = self.partial.last().map_or(0, |event| event.kv.mod_revision);
        let whole = self
            .partial
            .partition_point(|event| event.kv.mod_revision < last);
        let rest = self.partial.split_off(whole);
        std::mem::replace(&mut self.partial, rest)
    }
}

/// Why the server ended a watch, from its words: `rpc error: code = X desc = Y` for what auth refuses.
pub(crate) fn cancel_status(reason: &str) -> Status {
    use tonic::Code as Wire;
    let known = reason
        .strip_prefix("rpc error: code = ")
        .and_then(|rest| rest.split_once(" desc = "));
    let (code, text) = match known {
        Some(("PermissionDenied", text)) => (Wire::PermissionDenied, text),
        Some(("Unauthenticated", text)) => (Wire::Unauthenticated, text),
        Some(("InvalidArgument", text)) => (Wire::InvalidArgument, text),
        Some((_, text)) => (Wire::Unavailable, text),
        None if reason == "mvcc: watcher range is empty" => (Wire::InvalidArgument, reason),
        None => (Wire::Unavailable, reason),
    };
    Status::new(code, text)
}

/// All watchers of a handle.
#[derive(Default)]
pub(crate) struct Watchers {
    all: Mutex<HashMap<u64, Arc<Shared>>>,
    last: AtomicU64,
}

impl Watchers {
    pub fn len(&self) -> usize {
        lock(&self.all).len()
    }

    /// Ends them all.
    pub fn end(&self, error: &Error) {
        let all: Vec<_> = lock(&self.all).drain().collect();
        all.into_iter()
            .for_each(|(_, shared)| shared.end(error.clone()));
    }
}

/// What a watcher's owner and its task share.
struct Shared {
    state: Mutex<State>,
    over: AtomicBool,
    /// Somebody has taken what was queued.
    drained: Notify,
}

#[derive(Default)]
struct State {
    /// Whole revisions that nobody has taken yet.
    queue: VecDeque<Event>,
    queue_bytes: usize,
    /// The revision to ask for after all that was queued; 0 until it is known.
    next: Revision,
    /// A sign of progress to be handed out, or 0.
    progress: Revision,
    /// More than one event was handed out with the last page: some may not have been taken.
    has_page: bool,
    /// Why the last stream was refused or lost, and at which endpoint: for who waits for the first one.
    trouble: Option<String>,
    /// The end that comes after what is queued.
    last: Option<Error>,
    end: Option<Error>,
    waker: Option<Waker>,
    bell: Option<Bell>,
    task: Option<AbortHandle>,
}

/// A descriptor that can be polled.
struct Bell {
    ring: UnixStream,
    ear: UnixStream,
    rung: bool,
}

impl Bell {
    fn new() -> std::io::Result<Bell> {
        let (ring, ear) = UnixStream::pair()?;
        Ok(Bell {
            ring,
            ear,
            rung: false,
        })
    }

    fn set(&mut self, rung: bool) {
        // one byte at most is ever on its way, so that neither side waits
        let done = match (self.rung, rung) {
            (false, true) => self.ring.write_all(&[1]),
            (true, false) => self.ear.read_exact(&mut [0]),
            _ => return,
        };
        if done.is_ok() {
            self.rung = rung;
        }
    }
}

impl State {
    fn is_pending(&self) -> bool {
        self.end.is_some()
            || self.last.is_some()
            || self.has_page
            || !self.queue.is_empty()
            || self.progress != 0
    }

    /// Sets the bell as it must be.
    fn settle(&mut self) {
        let pending = self.is_pending();
        if let Some(bell) = &mut self.bell {
            bell.set(pending);
        }
    }
}

impl Shared {
    /// Changes something, and wakes who waits if there is something for them now.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = lock(&self.state);
        change(&mut state);
        state.settle();
        let waker = state.waker.clone().filter(|_| state.is_pending());
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn end(&self, error: Error) {
        let mut task = None;
        self.change(|state| {
            if state.end.is_none() {
                self.over.store(true, Ordering::Release);
                state.end = Some(error);
            }
            state.queue.clear();
            task = state.task.take();
        });
        if let Some(task) = task {
            task.abort();
        }
    }

    fn is_full(&self) -> bool {
        lock(&self.state).queue_bytes >= QUEUE_BYTES
    }

    async fn until_drained(&self) {
        while self.is_full() {
            self.drained.notified().await;
        }
    }
}

/// A watcher as its owner has it.
pub(crate) struct Stream {
    cluster: Arc<Cluster>,
    watchers: Arc<Watchers>,
    shared: Arc<Shared>,
    number: u64,
}

impl Stream {
    /// Makes one; returns once the cluster has made it, and knows where it begins.
    ///
    /// # Errors
    ///
    /// `compacted`, `invalid_argument`, `permission_denied`, `unavailable`, `timeout`.
    pub async fn new(
        cluster: Arc<Cluster>,
        watchers: Arc<Watchers>,
        watch: Watch,
    ) -> Result<Stream> {
        if watch.start_revision < 0 {
            let compacted = compacted_revision(&cluster, &watch.range.key).await?;
            return Err(compacted_error(watch.start_revision, compacted));
        }
        let state = State {
            next: watch.start_revision,
            ..State::default()
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            over: AtomicBool::new(false),
            drained: Notify::new(),
        });
        let number = watchers.last.fetch_add(1, Ordering::Relaxed);
        lock(&watchers.all).insert(number, shared.clone());
        let (tell, told) = oneshot::channel();
        let stream = Stream {
            cluster: cluster.clone(),
            watchers,
            shared: shared.clone(),
            number,
        };
        let follower = Follower {
            cluster: cluster.clone(),
            shared: shared.clone(),
            wants_progress: watch.progress,
            request: convert::watch_out_request(watch),
            made: Some(tell),
            renewed: false,
            pause: PAUSE,
            assembler: Assembler::default(),
        };
        let task = cluster.runtime.spawn(follower.follow());
        lock(&shared.state).task = Some(task.abort_handle());
        // closed in between: nobody else would end it
        cluster.ensure_open()?;
        match timeout(cluster.request_timeout, told).await {
            Ok(Ok(made)) => made.map(|()| stream),
            Ok(Err(_)) => Err(lock(&shared.state).end.clone().unwrap_or_else(closed)),
            Err(_) => {
                let ms = cluster.request_timeout.as_millis();
                let why = lock(&shared.state)
                    .trouble
                    .take()
                    .unwrap_or_else(|| "no endpoint was reachable".into());
                Err(Error::new(
                    Code::Timeout,
                    format!("the watch was not made within {ms} ms ({why})"),
                ))
            }
        }
    }
}

impl WatchStream for Stream {
    fn next_page(&self) -> Result<WatchPage> {
        let mut state = lock(&self.shared.state);
        state.has_page = false;
        let mut page = WatchPage::default();
        if state.end.is_none() && !state.queue.is_empty() {
            let events = Vec::from(std::mem::take(&mut state.queue));
            state.queue_bytes = 0;
            state.has_page = events.len() > 1;
            page.events = events.into_iter();
            self.shared.drained.notify_one();
        } else if state.end.is_none() && state.last.is_none() {
            page.progress = std::mem::take(&mut state.progress);
        } else if let Some(last) = state.last.take()
            && state.end.is_none()
        {
            state.end = Some(last);
            self.shared.over.store(true, Ordering::Release);
        }
        state.settle();
        state.end.clone().map_or(Ok(page), Err)
    }

    fn is_over(&self) -> bool {
        self.shared.over.load(Ordering::Acquire) || !self.cluster.is_ours()
    }

    fn set_waker(&self, waker: Option<Waker>) {
        // dropped outside the lock, as it is somebody else's code
        let mut before = waker;
        self.shared
            .change(|state| std::mem::swap(&mut state.waker, &mut before));
    }

    fn fd(&self) -> Result<RawFd> {
        let mut state = lock(&self.shared.state);
        if state.bell.is_none() {
            let bell = Bell::new().map_err(|e| {
                Error::new(Code::Io, format!("a descriptor for a watcher: {e}")).with_source(e)
            })?;
            state.bell = Some(bell);
            state.settle();
        }
        Ok(state.bell.as_ref().map_or(-1, |bell| bell.ear.as_raw_fd()))
    }

    fn end(&self, error: Error) {
        if self.cluster.is_ours() {
            lock(&self.watchers.all).remove(&self.number);
            self.shared.end(error);
        }
    }

    fn resume_revision(&self) -> Revision {
        let of = |state: &State| {
            state
                .queue
                .front()
                .map_or(state.next, |event| event.kv.mod_revision)
        };
        match self.cluster.is_ours() {
            true => of(&lock(&self.shared.state)),
            false => self.shared.state.try_lock().map_or(0, |state| of(&state)),
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.end(Error::new(Code::Closed, "the watcher is closed"));
    }
}

/// The task of one watcher.
struct Follower {
    cluster: Arc<Cluster>,
    shared: Arc<Shared>,
    request: pb::WatchCreateRequest,
    wants_progress: bool,
    /// Told once the watch is made, or why it cannot be.
    made: Option<oneshot::Sender<Result<()>>>,
    /// A new token was asked for, and nothing has come since.
    renewed: bool,
    pause: Duration,
    assembler: Assembler,
}

/// What a stream came to.
enum Came {
    /// It is to be opened again, at another endpoint if this one is not well.
    Ended { leave: bool },
    /// The token is to be renewed first.
    Stale,
    /// The watcher is at its end.
    Over(Error),
}

impl Follower {
    async fn follow(mut self) {
        loop {
            let error = match self.cluster.link(after(self.cluster.connect_timeout)).await {
                Ok(link) => match self.listen(&link).await {
                    Ok(()) => continue,
                    Err(error) => error,
                },
                // one that follows already waits for as long as it takes
                Err(error) if self.made.is_none() && error.code() == Code::Unavailable => {
                    self.rest().await;
                    continue;
                }
                Err(error) => error,
            };
            match self.made.take() {
                Some(made) => drop(made.send(Err(error))),
                None => self.shared.change(|state| state.last = Some(error)),
            }
            return;
        }
    }

    async fn rest(&mut self) {
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }

    /// One stream, from its beginning to its end; an error is the watcher's end.
    async fn listen(&mut self, link: &Link) -> Result<()> {
        let token = self.cluster.token();
        match self.stream(link, &token).await {
            Came::Over(error) => return Err(error),
            Came::Stale if self.renewed => {
                return Err(Error::new(
                    Code::PermissionDenied,
                    "permission denied (also with a new token)",
                ));
            }
            Came::Stale => {
                self.renewed = true;
                let renewing = timeout(
                    self.cluster.connect_timeout,
                    self.cluster.renew(link, &token),
                )
                .await;
                if let Ok(Err(error)) = renewing
                    && matches!(error.code(), Code::Unauthenticated | Code::PermissionDenied)
                {
                    return Err(error);
                }
            }
            Came::Ended { leave } => {
                if leave {
                    self.cluster.leave(link);
                }
                self.rest().await;
            }
        }
        Ok(())
    }

    async fn stream(&mut self, link: &Link, token: &Token) -> Came {
        self.assembler = Assembler::default();
        let create = pb::WatchCreateRequest {
            start_revision: lock(&self.shared.state).next,
            progress_notify: true,
            fragment: true,
            ..self.request.clone()
        };
        let asked_from = create.start_revision;
        // it ends with this function, and the stream with it
        let (ask, asked) = mpsc::unbounded_channel();
        let opening = open_and_ask(link, create, token, UnboundedReceiverStream::new(asked));
        // what is there answers at once
        let Ok(opened) = timeout(self.cluster.connect_timeout, opening).await else {
            lock(&self.shared.state).trouble = Some(format!("{}: silent", link.name()));
            return Came::Ended { leave: true };
        };
        let mut stream = match opened {
            Ok(stream) => stream,
            Err(status) => return self.refused(link, &status),
        };
        loop {
            let message = match timeout(self.cluster.progress_interval, stream.message()).await {
                Ok(Ok(Some(message))) => message,
                Ok(Ok(None)) => return Came::Ended { leave: true },
                Ok(Err(status)) => return self.refused(link, &status),
                Err(_) => {
                    if self.orders_progress(link, token).await {
                        // a stream that has ended is noticed above
                        let _ =
                            ask.send(RequestUnion::ProgressRequest(pb::WatchProgressRequest {}));
                    }
                    continue;
                }
            };
            if let Some(came) = self.take(link, message, asked_from).await {
                return came;
            }
            if self.shared.is_full() && timeout(STALL, self.shared.until_drained()).await.is_err() {
                drop(stream);
                self.shared.until_drained().await;
                return Came::Ended { leave: false };
            }
        }
    }

    /// Whether progress may be asked for; false also while that is not known.
    async fn orders_progress(&self, link: &Link, token: &Token) -> bool {
        let known = link.orders_progress();
        if let Some(orders) = known.get() {
            return *orders;
        }
        let asked = link.unary(
            "/etcdserverpb.Maintenance/Status",
            pb::StatusRequest {},
            token,
        );
        match timeout(self.cluster.connect_timeout, asked).await {
            Ok(Ok(pb::StatusResponse { version, .. })) => {
                *known.get_or_init(|| orders_progress(&version))
            }
            _ => false,
        }
    }

    async fn take(
        &mut self,
        link: &Link,
        message: pb::WatchResponse,
        asked_from: Revision,
    ) -> Option<Came> {
        let revision = convert::revision_in(&message.header);
        if message.canceled {
            if message.compact_revision > 0 {
                return Some(Came::Over(compacted_error(
                    asked_from,
                    message.compact_revision,
                )));
            }
            return Some(self.refused(link, &cancel_status(&message.cancel_reason)));
        }
        if message.created {
            self.created(revision, asked_from).await;
            return None;
        }
        if message.events.is_empty() && !message.fragment {
            // an id of -1 marks the response to a request, which is only made where it overtakes no event
            if revision > 0 {
                self.progress(revision);
            }
            return None;
        }
        let events = self.assembler.take(message);
        self.queue(events);
        None
    }

    async fn created(&mut self, revision: Revision, asked_from: Revision) {
        (self.pause, self.renewed) = (PAUSE, false);
        if asked_from == 0 {
            // so that it begins there also if the connection is lost before the first event
            self.shared
                .change(|state| state.next = state.next.max(revision + 1));
        }
        if self.made.is_none() {
            return;
        }
        // what is too old is said in a second message, which may take a moment: wait for it if it must come
        let may_be_old = asked_from > 0 && asked_from <= revision;
        if may_be_old
            && is_compacted(&self.cluster, &self.request.key, asked_from)
                .await
                .unwrap_or(false)
        {
            return;
        }
        if let Some(made) = self.made.take() {
            let _ = made.send(Ok(()));
        }
    }

    fn progress(&self, revision: Revision) {
        self.shared.change(|state| {
            if revision >= state.next {
                state.next = revision + 1;
            }
            if self.wants_progress && state.queue.is_empty() {
                state.progress = revision;
            }
        });
    }

    fn queue(&self, events: Vec<Event>) {
        self.shared.change(|state| {
            for event in events {
                let at = event.kv.mod_revision;
                // a member that lags behind may not know yet that these were delivered
                if at < state.next {
                    continue;
                }
                let prev = event
                    .prev_kv
                    .as_ref()
                    .map_or(0, |kv| kv.key.len() + kv.value.len());
                state.queue_bytes += EVENT_BYTES + event.kv.key.len() + event.kv.value.len() + prev;
                state.queue.push_back(event);
            }
            if let Some(last) = state.queue.back() {
                state.next = state.next.max(last.kv.mod_revision + 1);
                state.progress = 0;
            }
        });
    }

    /// What becomes of the watcher after a refusal.
    fn refused(&self, link: &Link, status: &Status) -> Came {
        use tonic::Code as Wire;
        lock(&self.shared.state).trouble =
            Some(format!("{}: {}", link.name(), link.reason(status)));
        if failure(status) != Failure::Refused {
            return Came::Ended { leave: true };
        }
        let denied =
            status.code() == Wire::PermissionDenied && self.cluster.has_login() && !self.renewed;
        // etcd 3.5.1 says of a bad token that permission is denied
        if self.cluster.is_stale(status) || denied {
            return Came::Stale;
        }
        match status.code() {
            Wire::Unavailable
            | Wire::Unknown
            | Wire::Internal
            | Wire::Cancelled
            | Wire::Aborted => Came::Ended { leave: true },
            Wire::ResourceExhausted | Wire::DeadlineExceeded => Came::Ended { leave: false },
            _ => Came::Over(convert::error_in(status, None)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::mvccpb;

    fn message(revisions: &[i64], fragment: bool) -> pb::WatchResponse {
        let event = |revision: &i64| {
            let kv = mvccpb::KeyValue {
                mod_revision: *revision,
                ..Default::default()
            };
            mvccpb::Event {
                kv: Some(kv),
                ..Default::default()
            }
        };
        pb::WatchResponse {
            events: revisions.iter().map(event).collect(),
            fragment,
            ..Default::default()
        }
    }

    #[test]
    fn fragments_become_whole_revisions() {
        let mut assembler = Assembler::default();
        let mut take = |revisions: &[i64], fragment| -> Vec<i64> {
            let events = assembler.take(message(revisions, fragment));
            events.iter().map(|event| event.kv.mod_revision).collect()
        };
        assert_eq!(take(&[5, 6], false), [5, 6]);
        assert_eq!(take(&[7, 8, 8], true), [7]);
        assert!(take(&[8], true).is_empty());
        assert_eq!(take(&[9], true), [8, 8, 8]);
        assert_eq!(take(&[9, 10], false), [9, 9, 10]);
        assert!(take(&[11], true).is_empty());
        assert_eq!(take(&[], false), [11]);
    }

    #[test]
    fn progress_is_requested_where_the_response_overtakes_no_event() {
        for version in [
            "3.4.31",
            "3.4.40",
            "3.5.13",
            "3.5.21",
            "3.6.0",
            "3.6.0-rc.1",
            "3.7.1",
            "4.0.0",
        ] {
            assert!(orders_progress(version), "{version}");
        }
        for version in [
            "", "3", "3.3.27", "3.4.30", "3.5.0", "3.5.1", "3.5.12", "2.3.8", "unknown",
        ] {
            assert!(!orders_progress(version), "{version}");
        }
    }

    #[test]
    fn a_bell_rings_until_it_is_silenced() {
        let mut bell = Bell::new().expect("two sockets");
        bell.ear.set_nonblocking(true).expect("a setting");
        for rung in [false, true, true, false, false, true, false] {
            bell.set(rung);
            let mut ear = &bell.ear;
            let heard = ear.read(&mut [0]).is_ok();
            assert_eq!(heard, rung);
            if heard {
                (&bell.ring).write_all(&[1]).expect("a byte");
            }
        }
    }
}
