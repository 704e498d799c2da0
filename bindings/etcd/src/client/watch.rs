//! Watchers of a cluster. Each has its own stream over the shared connection. A stream that ended
//! is opened again, from the first revision that the watcher has not received.
//!
//! A watcher that is not read holds at most [`QUEUE_BYTES`]: then its stream is left unread for a
//! moment, and closed if that does not help. After the owner has read it continues from its
//! position. If a compaction has removed missed events it ends with `compacted`, as every watcher.
//!
//! A watcher of quiet keys must not request old revisions when its connection is lost: they may be
//! compacted although it has missed nothing. So each watch has progress reports at the server's own
//! interval (ten minutes by default), and after half a minute without a message the watcher
//! requests one. The response counts only where it keeps its place among events: in etcd from
//! 3.4.31 and 3.5.13 on. Older servers get no such request.

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
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Status;

use super::cluster::{Cluster, PAUSE, PAUSE_MAX, after, closed};
use super::link::{Failure, Link, Token, failure};
use super::revision::{compacted_error, compacted_revision, is_compacted};
use super::watch_rpc::{Assembler, cancel_status, open_with_requests};
use crate::convert;
use crate::pb::etcdserverpb as pb;
use crate::pb::etcdserverpb::watch_request::RequestUnion;
use crate::sync::lock;

/// Bytes that are read ahead for one watcher; a single revision may be larger.
const QUEUE_BYTES: usize = 4 << 20;
/// The size of an event beside its bytes.
const EVENT_BYTES: usize = 128;
/// How long a stream is left unread before it is closed.
const STALL: Duration = Duration::from_secs(1);

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

/// All watchers of a handle.
#[derive(Default)]
pub(crate) struct Watchers {
    all: Mutex<HashMap<u64, Arc<SharedState>>>,
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

/// The state that a watcher's owner and its task share.
struct SharedState {
    state: Mutex<WatcherState>,
    over: AtomicBool,
    /// Notified when the owner has taken the queued events.
    drained: Notify,
}

#[derive(Default)]
struct WatcherState {
    /// Whole revisions that the owner has not taken yet.
    queue: VecDeque<Event>,
    queue_bytes: usize,
    /// The first revision after all that was queued; 0 until it is known.
    next: Revision,
    /// A progress report for the owner, or 0.
    progress: Revision,
    /// More than one event was returned with the last page: the owner may not have taken all of
    /// them.
    has_page: bool,
    /// Why the last stream was refused or lost, and at which endpoint, for an owner that waits for
    /// the first.
    trouble: Option<String>,
    /// The error that comes after the queued events.
    last: Option<Error>,
    end: Option<Error>,
    waker: Option<Waker>,
    flag: Option<ReadableFlag>,
    task: Option<AbortHandle>,
}

/// A descriptor that can be polled for readability.
struct ReadableFlag {
    writer: UnixStream,
    reader: UnixStream,
    is_set: bool,
}

impl ReadableFlag {
    fn new() -> std::io::Result<ReadableFlag> {
        let (writer, reader) = UnixStream::pair()?;
        Ok(ReadableFlag {
            writer,
            reader,
            is_set: false,
        })
    }

    fn set(&mut self, is_set: bool) {
        // at most one byte is ever in the socket, so that neither side blocks
        let done = match (self.is_set, is_set) {
            (false, true) => self.writer.write_all(&[1]),
            (true, false) => self.reader.read_exact(&mut [0]),
            _ => return,
        };
        if done.is_ok() {
            self.is_set = is_set;
        }
    }
}

impl WatcherState {
    fn is_pending(&self) -> bool {
        self.end.is_some()
            || self.last.is_some()
            || self.has_page
            || !self.queue.is_empty()
            || self.progress != 0
    }

    /// Makes the descriptor readable if something is pending.
    fn update_flag(&mut self) {
        let pending = self.is_pending();
        if let Some(flag) = &mut self.flag {
            flag.set(pending);
        }
    }
}

impl SharedState {
    /// Changes the state, and wakes the owner if something is pending.
    fn change(&self, change: impl FnOnce(&mut WatcherState)) {
        let mut state = lock(&self.state);
        change(&mut state);
        state.update_flag();
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

/// A watcher as its owner uses it.
pub(crate) struct ClusterWatch {
    cluster: Arc<Cluster>,
    watchers: Arc<Watchers>,
    shared: Arc<SharedState>,
    number: u64,
}

impl ClusterWatch {
    /// Creates a watch. Returns once the cluster has created it and its first revision is known.
    ///
    /// # Errors
    ///
    /// `compacted`, `invalid_argument`, `permission_denied`, `unavailable`, `timeout`.
    pub async fn new(
        cluster: Arc<Cluster>,
        watchers: Arc<Watchers>,
        watch: Watch,
    ) -> Result<ClusterWatch> {
        if watch.start_revision < 0 {
            let compacted = compacted_revision(&cluster, &watch.range.key).await?;
            return Err(compacted_error(watch.start_revision, compacted));
        }
        let state = WatcherState {
            next: watch.start_revision,
            ..WatcherState::default()
        };
        let shared = Arc::new(SharedState {
            state: Mutex::new(state),
            over: AtomicBool::new(false),
            drained: Notify::new(),
        });
        let number = watchers.last.fetch_add(1, Ordering::Relaxed);
        lock(&watchers.all).insert(number, shared.clone());
        let (sender, receiver) = oneshot::channel();
        let stream = ClusterWatch {
            cluster: cluster.clone(),
            watchers,
            shared: shared.clone(),
            number,
        };
        let watch_task = WatchTask {
            cluster: cluster.clone(),
            shared: shared.clone(),
            wants_progress: watch.progress,
            request: convert::watch_out_request(watch),
            created: Some(sender),
            renewed: false,
            pause: PAUSE,
            assembler: Assembler::default(),
        };
        let task = cluster.runtime.spawn(watch_task.run());
        lock(&shared.state).task = Some(task.abort_handle());
        // closed in between: no other code would end it
        cluster.ensure_open()?;
        match timeout(cluster.request_timeout, receiver).await {
            Ok(Ok(created)) => created.map(|()| stream),
            Ok(Err(_)) => Err(lock(&shared.state).end.clone().unwrap_or_else(closed)),
            Err(_) => {
                let ms = cluster.request_timeout.as_millis();
                let why = lock(&shared.state)
                    .trouble
                    .take()
                    .unwrap_or_else(|| "no endpoint was reachable".into());
                Err(Error::new(
                    Code::Timeout,
                    format!("the watch was not created within {ms} ms ({why})"),
                ))
            }
        }
    }
}

impl WatchStream for ClusterWatch {
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
        state.update_flag();
        state.end.clone().map_or(Ok(page), Err)
    }

    fn is_over(&self) -> bool {
        self.shared.over.load(Ordering::Acquire) || !self.cluster.is_ours()
    }

    fn set_waker(&self, waker: Option<Waker>) {
        // dropped outside the lock, because it runs code of the caller
        let mut before = waker;
        self.shared
            .change(|state| std::mem::swap(&mut state.waker, &mut before));
    }

    fn fd(&self) -> Result<RawFd> {
        let mut state = lock(&self.shared.state);
        if state.flag.is_none() {
            let flag = ReadableFlag::new().map_err(|e| {
                Error::new(Code::Io, format!("a descriptor for a watcher: {e}")).with_source(e)
            })?;
            state.flag = Some(flag);
            state.update_flag();
        }
        Ok(state
            .flag
            .as_ref()
            .map_or(-1, |flag| flag.reader.as_raw_fd()))
    }

    fn end(&self, error: Error) {
        if self.cluster.is_ours() {
            lock(&self.watchers.all).remove(&self.number);
            self.shared.end(error);
        }
    }

    fn resume_revision(&self) -> Revision {
        let of = |state: &WatcherState| {
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

impl Drop for ClusterWatch {
    fn drop(&mut self) {
        self.end(Error::new(Code::Closed, "the watcher is closed"));
    }
}

/// The task of one watcher.
struct WatchTask {
    cluster: Arc<Cluster>,
    shared: Arc<SharedState>,
    request: pb::WatchCreateRequest,
    wants_progress: bool,
    /// Receives the result once the watch is created, or why it cannot be.
    created: Option<oneshot::Sender<Result<()>>>,
    /// A new token was requested, and no message has come since.
    renewed: bool,
    pause: Duration,
    assembler: Assembler,
}

/// How a stream ended.
enum StreamEnd {
    /// It is to be opened again, at another endpoint if this one is not healthy.
    Reopen { leave: bool },
    /// The token must be renewed first.
    StaleToken,
    /// The watcher has ended.
    WatcherEnd(Error),
}

impl WatchTask {
    async fn run(mut self) {
        loop {
            let error = match self.cluster.link(after(self.cluster.connect_timeout)).await {
                Ok(link) => match self.listen(&link).await {
                    Ok(()) => continue,
                    Err(error) => error,
                },
                // a watcher that was created waits without limit
                Err(error) if self.created.is_none() && error.code() == Code::Unavailable => {
                    self.rest().await;
                    continue;
                }
                Err(error) => error,
            };
            match self.created.take() {
                Some(created) => drop(created.send(Err(error))),
                None => self.shared.change(|state| state.last = Some(error)),
            }
            return;
        }
    }

    async fn rest(&mut self) {
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }

    /// Reads one stream, from its beginning to its end; an error ends the watcher.
    async fn listen(&mut self, link: &Link) -> Result<()> {
        let token = self.cluster.token();
        match self.stream(link, &token).await {
            StreamEnd::WatcherEnd(error) => return Err(error),
            StreamEnd::StaleToken if self.renewed => {
                return Err(Error::new(
                    Code::PermissionDenied,
                    "permission denied (also with a new token)",
                ));
            }
            StreamEnd::StaleToken => {
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
            StreamEnd::Reopen { leave } => {
                if leave {
                    self.cluster.leave(link);
                }
                self.rest().await;
            }
        }
        Ok(())
    }

    async fn stream(&mut self, link: &Link, token: &Token) -> StreamEnd {
        self.assembler = Assembler::default();
        let create = pb::WatchCreateRequest {
            start_revision: lock(&self.shared.state).next,
            progress_notify: true,
            fragment: true,
            ..self.request.clone()
        };
        let requested_start = create.start_revision;
        // the stream ends with this function
        let (request_sender, requests) = mpsc::unbounded_channel();
        let opening =
            open_with_requests(link, create, token, UnboundedReceiverStream::new(requests));
        // a healthy server responds at once
        let Ok(opened) = timeout(self.cluster.connect_timeout, opening).await else {
            lock(&self.shared.state).trouble = Some(format!("{}: silent", link.name()));
            return StreamEnd::Reopen { leave: true };
        };
        let mut stream = match opened {
            Ok(stream) => stream,
            Err(status) => return self.refused(link, &status),
        };
        loop {
            let message = match timeout(self.cluster.progress_interval, stream.message()).await {
                Ok(Ok(Some(message))) => message,
                Ok(Ok(None)) => return StreamEnd::Reopen { leave: true },
                Ok(Err(status)) => return self.refused(link, &status),
                Err(_) => {
                    if self.orders_progress(link, token).await {
                        // a stream that has ended is noticed above
                        let _ = request_sender
                            .send(RequestUnion::ProgressRequest(pb::WatchProgressRequest {}));
                    }
                    continue;
                }
            };
            if let Some(end) = self.take(link, message, requested_start).await {
                return end;
            }
            if self.shared.is_full() && timeout(STALL, self.shared.until_drained()).await.is_err() {
                drop(stream);
                self.shared.until_drained().await;
                return StreamEnd::Reopen { leave: false };
            }
        }
    }

    /// Whether progress may be requested; false also while that is not known.
    async fn orders_progress(&self, link: &Link, token: &Token) -> bool {
        let known = link.orders_progress();
        if let Some(orders) = known.get() {
            return *orders;
        }
        let requests = link.unary(
            "/etcdserverpb.Maintenance/Status",
            pb::StatusRequest {},
            token,
        );
        match timeout(self.cluster.connect_timeout, requests).await {
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
        requested_start: Revision,
    ) -> Option<StreamEnd> {
        let revision = convert::revision_in(&message.header);
        if message.canceled {
            if message.compact_revision > 0 {
                return Some(StreamEnd::WatcherEnd(compacted_error(
                    requested_start,
                    message.compact_revision,
                )));
            }
            return Some(self.refused(link, &cancel_status(&message.cancel_reason)));
        }
        if message.created {
            self.created(revision, requested_start).await;
            return None;
        }
        if message.events.is_empty() && !message.fragment {
            // an id of -1 marks the response to a request, which is sent only to servers that keep
            // its place among events
            if revision > 0 {
                self.progress(revision);
            }
            return None;
        }
        let events = self.assembler.take(message);
        self.queue(events);
        None
    }

    async fn created(&mut self, revision: Revision, requested_start: Revision) {
        (self.pause, self.renewed) = (PAUSE, false);
        if requested_start == 0 {
            // so that it begins there even if the connection is lost before the first event
            self.shared
                .change(|state| state.next = state.next.max(revision + 1));
        }
        if self.created.is_none() {
            return;
        }
        // the refusal of a compacted revision is a second message, which may take a moment: wait
        // for it
        let may_be_old = requested_start > 0 && requested_start <= revision;
        if may_be_old
            && is_compacted(&self.cluster, &self.request.key, requested_start)
                .await
                .unwrap_or(false)
        {
            return;
        }
        if let Some(created) = self.created.take() {
            let _ = created.send(Ok(()));
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
                // a member that lags behind may send events again that were already delivered
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

    /// The end of a stream that was refused.
    fn refused(&self, link: &Link, status: &Status) -> StreamEnd {
        use tonic::Code as Wire;
        lock(&self.shared.state).trouble =
            Some(format!("{}: {}", link.name(), link.reason(status)));
        if failure(status) != Failure::Refused {
            return StreamEnd::Reopen { leave: true };
        }
        let denied =
            status.code() == Wire::PermissionDenied && self.cluster.has_login() && !self.renewed;
        // etcd 3.5.1 refuses a bad token with this code
        if self.cluster.is_stale(status) || denied {
            return StreamEnd::StaleToken;
        }
        match status.code() {
            Wire::Unavailable
            | Wire::Unknown
            | Wire::Internal
            | Wire::Cancelled
            | Wire::Aborted => StreamEnd::Reopen { leave: true },
            Wire::ResourceExhausted | Wire::DeadlineExceeded => StreamEnd::Reopen { leave: false },
            _ => StreamEnd::WatcherEnd(convert::error_in(status, None)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn flag_is_readable_while_it_is_set() {
        let mut flag = ReadableFlag::new().expect("two sockets");
        flag.reader.set_nonblocking(true).expect("a setting");
        for is_set in [false, true, true, false, false, true, false] {
            flag.set(is_set);
            let mut reader = &flag.reader;
            let is_readable = reader.read(&mut [0]).is_ok();
            assert_eq!(is_readable, is_set);
            if is_readable {
                (&flag.writer).write_all(&[1]).expect("a byte");
            }
        }
    }
}
