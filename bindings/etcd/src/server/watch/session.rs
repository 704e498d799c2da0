//! One stream of the service Watch: reads requests and makes responses.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use libkv::{Code, Error, KeyRange, Revision};
use tokio::time::{Sleep, sleep};
use tonic::Status;

use super::active_watch::{ActiveWatch, CheckedRange, WatchOutput};
use super::ready_queue::{ReadyQueue, ReadySignal};
use crate::convert::{refusal, watch_in};
use crate::pb::etcdserverpb as pb;
use crate::pb::etcdserverpb::watch_request::RequestUnion;
use crate::server::auth::{Caller, CallerRights};
use crate::server::store::Store;
use crate::server::store::stopped;

/// The id in responses that concern no watch, or all.
const NO_ID: i64 = -1;
/// The largest message to a client that requested fragments: etcd's default for requests, which is
/// less than clients accept. A handle with larger requests must not make larger fragments.
const FRAGMENT_BYTES_MAX: usize = 2 << 20;
/// Requests and watches that are handled without a response before other tasks get their turn.
const STEPS: usize = 16;
/// The pause before another attempt if the store has no free reader slot.
const RETRY: Duration = Duration::from_millis(20);

/// The responses of one stream, made when they are polled.
pub(crate) struct Session<R> {
    store: Arc<Store>,
    caller: Caller,
    /// `None` after the client's last request.
    requests: Option<R>,
    closed: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// By id; `None` for a watch that has ended, whose id is in use until it is cancelled (contract
    /// 10.10).
    watches: HashMap<i64, Option<ActiveWatch>>,
    next_id: i64,
    ready_queue: Arc<ReadyQueue>,
    responses: VecDeque<pb::WatchResponse>,
    /// The watch whose last fragment announced more. etcd's client loses messages that come in
    /// between.
    unfinished: Option<i64>,
    /// The client has requested progress.
    progress_requested: bool,
    /// When progress is checked again after the store could not be read.
    retry: Option<Pin<Box<Sleep>>>,
    ended: bool,
}

impl<R: Stream<Item = Result<pb::WatchRequest, Status>> + Unpin> Session<R> {
    pub(super) fn new(store: Arc<Store>, caller: Caller, requests: R) -> Session<R> {
        Session {
            closed: Box::pin(store.closed()),
            store,
            caller,
            requests: Some(requests),
            watches: HashMap::new(),
            next_id: 0,
            ready_queue: Arc::default(),
            responses: VecDeque::new(),
            unfinished: None,
            progress_requested: false,
            retry: None,
            ended: false,
        }
    }

    /// Handles the next request, if there is one.
    fn poll_request(&mut self, context: &mut Context<'_>) -> Result<bool, Status> {
        if self.unfinished.is_some() {
            return Ok(false);
        }
        let Some(requests) = &mut self.requests else {
            return Ok(false);
        };
        match Pin::new(requests).poll_next(context) {
            Poll::Pending => return Ok(false),
            Poll::Ready(None) => self.requests = None,
            Poll::Ready(Some(request)) => match request?.request_union {
                Some(RequestUnion::CreateRequest(create)) => self.create(create),
                Some(RequestUnion::CancelRequest(cancel)) => self.cancel(cancel.watch_id),
                Some(RequestUnion::ProgressRequest(_)) => self.progress_requested = true,
                // as in etcd: this does not end the watches of the stream
                None => {}
            },
        }
        Ok(true)
    }

    /// An empty response at the store's revision; 0 if the store cannot be read.
    fn response(&self, watch_id: i64) -> pb::WatchResponse {
        self.response_at(watch_id, self.store.revision().unwrap_or(0))
    }

    fn response_at(&self, watch_id: i64, revision: Revision) -> pb::WatchResponse {
        pb::WatchResponse {
            header: self.store.identity.header(revision),
            watch_id,
            ..Default::default()
        }
    }

    fn create(&mut self, create: pb::WatchCreateRequest) {
        let (requested_id, fragment) = (create.watch_id, create.fragment);
        let mut watch = watch_in(create);
        watch.progress_interval_ms = self.store.progress_notify_interval_ms;
        let from_now = watch.start_revision == 0;
        if watch.start_revision < 0 {
            return self.refuse("etcdserver: mvcc: required revision has been compacted");
        }
        let range = watch.range.clone();
        let rights = match self.rights(&range) {
            Ok(rights) => rights,
            Err(status) => return self.refuse(&refusal_text(&status)),
        };
        let watcher = match self.store.db.watch(watch) {
            Err(error) if error.code() == Code::InvalidArgument => {
                return self.refuse(error.etcd_text().unwrap_or(error.message()));
            }
            Err(error) if error.code() != Code::Compacted => {
                return self.refuse(refusal(error).message());
            }
            watcher => watcher,
        };
        let Some(id) = self.new_id(requested_id) else {
            return self.refuse("mvcc: duplicate watch ID provided on the WatchStream");
        };
        let mut revision = self.store.revision().unwrap_or(0);
        if let (true, Ok(watcher)) = (from_now, &watcher) {
            // a client may resume from it after a lost connection: later writes are still to come
            revision = watcher.resume_revision() - 1;
        }
        self.responses.push_back(pb::WatchResponse {
            created: true,
            ..self.response_at(id, revision)
        });
        let watch = watcher.map(|watcher| {
            ActiveWatch::new(
                watcher,
                ReadySignal::new(id, &self.ready_queue),
                fragment,
                revision,
                CheckedRange { range, rights },
            )
        });
        match watch {
            Ok(watch) => drop(self.watches.insert(id, Some(watch))),
            Err(error) => self.end(id, &error),
        }
    }

    /// The caller's rights, if they suffice to watch this range.
    fn rights(&self, range: &KeyRange) -> Result<CallerRights, Status> {
        let rights = self.store.guard.rights(&self.caller)?;
        rights.read(range)?;
        Ok(rights)
    }

    /// Ends a watch whose caller has lost the right to it. etcd lets it continue.
    fn end_denied(&mut self, id: i64, status: &Status) {
        self.watches.insert(id, None);
        self.responses.push_back(pb::WatchResponse {
            canceled: true,
            cancel_reason: refusal_text(status),
            ..self.response(id)
        });
    }

    /// Responds to a creation that fails.
    fn refuse(&mut self, reason: &str) {
        let refused = pb::WatchResponse {
            created: true,
            canceled: true,
            ..self.response(NO_ID)
        };
        self.responses.push_back(pb::WatchResponse {
            cancel_reason: reason.into(),
            ..refused
        });
    }

    /// The id of a new watch; `None` if it is in use.
    fn new_id(&mut self, requested: i64) -> Option<i64> {
        if requested != 0 {
            return (!self.watches.contains_key(&requested)).then_some(requested);
        }
        while self.watches.contains_key(&self.next_id) {
            self.next_id += 1;
        }
        self.next_id += 1;
        Some(self.next_id - 1)
    }

    fn cancel(&mut self, id: i64) {
        if self.watches.remove(&id).is_some() {
            self.responses.push_back(pb::WatchResponse {
                canceled: true,
                ..self.response(id)
            });
        }
    }

    /// Ends a watch with a reason. Its id stays in use.
    fn end(&mut self, id: i64, error: &Error) {
        self.watches.insert(id, None);
        self.responses.push_back(match error.code() {
            Code::Compacted => pb::WatchResponse {
                canceled: true,
                compact_revision: error.revision().unwrap_or(0),
                ..self.response_at(id, 0)
            },
            _ => {
                let cancel_reason = refusal(error.clone()).message().to_string();
                pb::WatchResponse {
                    canceled: true,
                    cancel_reason,
                    ..self.response(id)
                }
            }
        });
    }

    /// Handles the watch whose response is unfinished or that became ready first, if there is one.
    fn run_next_watch(&mut self, context: &mut Context<'_>) -> bool {
        let Some(id) = self
            .unfinished
            .take()
            .or_else(|| self.ready_queue.pop(context.waker()))
        else {
            return false;
        };
        // the watch may have been cancelled meanwhile
        let Entry::Occupied(mut entry) = self.watches.entry(id) else {
            return true;
        };
        let Some(watch) = entry.get_mut() else {
            return true;
        };
        watch.signal.clear();
        if let Err(status) = watch.check(&self.store, &self.caller) {
            self.end_denied(id, &status);
            return true;
        }
        match watch.take(&self.store) {
            Ok(WatchOutput::Nothing) => return true,
            Ok(WatchOutput::Events {
                revision,
                events,
                more,
            }) => {
                self.unfinished = more.then_some(id);
                let header = self.store.identity.header(revision);
                let response = pb::WatchResponse {
                    header,
                    watch_id: id,
                    fragment: more,
                    ..Default::default()
                };
                let bytes_max = self.store.message_bytes_max.min(FRAGMENT_BYTES_MAX);
                self.responses
                    .extend(watch.responses(response, events, bytes_max));
            }
            Ok(WatchOutput::Progress(revision)) => {
                let header = self.store.identity.header(revision);
                self.responses.push_back(pb::WatchResponse {
                    header,
                    watch_id: id,
                    ..Default::default()
                });
            }
            Err(error) if error.code() == Code::Busy => {
                let signal = watch.signal.clone();
                tokio::spawn(async move {
                    sleep(RETRY).await;
                    signal.set();
                });
                return true;
            }
            Err(error) => {
                self.end(id, &error);
                return true;
            }
        }
        // there may be more, which comes after the other watches
        watch.signal.set();
        true
    }

    /// Responds to a request for progress once no watch has events up to the store's revision.
    /// Watches that have events are in the queue, and this is called again after them. If the store
    /// could not be read the queue may be empty, so this is tried again after [`RETRY`].
    fn report_progress(&mut self, context: &mut Context<'_>) -> bool {
        if !self.progress_requested {
            return false;
        }
        if let Ok(revision) = self.store.revision()
            && self
                .watches
                .values()
                .flatten()
                .all(|watch| watch.is_caught_up(revision))
        {
            (self.progress_requested, self.retry) = (false, None);
            self.responses.push_back(self.response_at(NO_ID, revision));
            return true;
        }
        let retry = self.retry.get_or_insert_with(|| Box::pin(sleep(RETRY)));
        let again = retry.as_mut().poll(context).is_ready();
        if again {
            self.retry = None;
        }
        again
    }
}

/// The text for a status in the response of a watch, as Go writes it.
fn refusal_text(status: &Status) -> String {
    format!(
        "rpc error: code = {:?} desc = {}",
        status.code(),
        status.message()
    )
}

impl<R: Stream<Item = Result<pb::WatchRequest, Status>> + Unpin> Stream for Session<R> {
    type Item = Result<pb::WatchResponse, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let session = self.get_mut();
        if session.ended {
            return Poll::Ready(None);
        }
        if session.closed.as_mut().poll(context).is_ready() {
            session.ended = true;
            return Poll::Ready(Some(Err(stopped())));
        }
        for _ in 0..STEPS {
            if let Some(response) = session.responses.pop_front() {
                return Poll::Ready(Some(Ok(response)));
            }
            let has_request = match session.poll_request(context) {
                Ok(has_request) => has_request,
                Err(status) => {
                    session.ended = true;
                    return Poll::Ready(Some(Err(status)));
                }
            };
            let watch = session.run_next_watch(context);
            // on each round: a busy watch must not delay the progress of a stream that is caught up
            let reported = session.report_progress(context);
            if !has_request && !watch && !reported {
                return Poll::Pending;
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}
