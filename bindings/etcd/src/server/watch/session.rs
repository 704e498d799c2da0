//! One stream: requests in, answers out.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use libkv::{Code, Error, Revision};
use tokio::time::{Sleep, sleep};
use tonic::Status;

use super::follow::{Followed, Found};
use super::marks::{Mark, Marks};
use crate::convert::{refusal, watch_in};
use crate::pb::etcdserverpb as pb;
use crate::pb::etcdserverpb::watch_request::RequestUnion;
use crate::server::Store;
use crate::server::store::stopped;

/// The id in answers that concern no watch, or all.
const NO_ID: i64 = -1;
/// Largest message of a client that asked for fragments: what etcd takes by default, and less than clients do. A handle
/// with larger requests must not make larger fragments.
const FRAGMENT_BYTES_MAX: usize = 2 << 20;
/// Requests and watches that are looked at without an answer before other tasks get their turn.
const STEPS: usize = 16;
/// A store that has no reader's slot left is asked again after this.
const RETRY: Duration = Duration::from_millis(20);

/// The answers of one stream, made as they are polled for.
pub(crate) struct Session<R> {
    store: Arc<Store>,
    /// None after the client's last.
    requests: Option<R>,
    closed: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// By id; none for one that has ended, whose id is in use until it is cancelled (contract 10.10).
    watches: HashMap<i64, Option<Followed>>,
    next_id: i64,
    marks: Arc<Marks>,
    responses: VecDeque<pb::WatchResponse>,
    /// The watch whose last fragment said that more follows. etcd's client loses what comes in between.
    unfinished: Option<i64>,
    /// The client wants to know how far all is seen.
    progress_asked: bool,
    /// When that is looked at again after the store could not be read.
    retry: Option<Pin<Box<Sleep>>>,
    ended: bool,
}

impl<R: Stream<Item = Result<pb::WatchRequest, Status>> + Unpin> Session<R> {
    pub(super) fn new(store: Arc<Store>, requests: R) -> Session<R> {
        Session {
            closed: Box::pin(store.closed()),
            store,
            requests: Some(requests),
            watches: HashMap::new(),
            next_id: 0,
            marks: Arc::default(),
            responses: VecDeque::new(),
            unfinished: None,
            progress_asked: false,
            retry: None,
            ended: false,
        }
    }

    /// Does what the next request says, if there is one.
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
                Some(RequestUnion::ProgressRequest(_)) => self.progress_asked = true,
                // as etcd: no reason to end what goes on
                None => {}
            },
        }
        Ok(true)
    }

    /// An answer that says nothing yet, at the store's revision; 0 if even that cannot be read any more.
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
        let (asked_id, fragment) = (create.watch_id, create.fragment);
        let mut watch = watch_in(create);
        watch.progress_interval_ms = self.store.progress_notify_interval_ms;
        let from_now = watch.start_revision == 0;
        if watch.start_revision < 0 {
            return self.refuse("etcdserver: mvcc: required revision has been compacted");
        }
        let watcher = match self.store.db.watch(watch) {
            Err(error) if error.code() == Code::InvalidArgument => {
                return self.refuse(error.etcd_text().unwrap_or(error.message()));
            }
            Err(error) if error.code() != Code::Compacted => {
                return self.refuse(refusal(error).message());
            }
            watcher => watcher,
        };
        let Some(id) = self.new_id(asked_id) else {
            return self.refuse("mvcc: duplicate watch ID provided on the WatchStream");
        };
        let mut revision = self.store.revision().unwrap_or(0);
        if let (true, Ok(watcher)) = (from_now, &watcher) {
            // a client may go on from it after a cut: what was written meanwhile is still to come
            revision = watcher.resume_revision() - 1;
        }
        self.responses.push_back(pb::WatchResponse {
            created: true,
            ..self.response_at(id, revision)
        });
        let followed = watcher
            .map(|watcher| Followed::new(watcher, Mark::new(id, &self.marks), fragment, revision));
        match followed {
            Ok(followed) => drop(self.watches.insert(id, Some(followed))),
            Err(error) => self.end(id, &error),
        }
    }

    /// Answers a creation that leaves no watch behind.
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

    /// The id of a new watch; none if it is in use.
    fn new_id(&mut self, asked: i64) -> Option<i64> {
        if asked != 0 {
            return (!self.watches.contains_key(&asked)).then_some(asked);
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

    /// A watch cannot go on: says why, and keeps its id.
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

    /// Looks at the watch whose answer is unfinished or that was marked first, if there is one.
    fn follow_next(&mut self, context: &mut Context<'_>) -> bool {
        let Some(id) = self
            .unfinished
            .take()
            .or_else(|| self.marks.next(context.waker()))
        else {
            return false;
        };
        // it may have been cancelled meanwhile
        let Entry::Occupied(mut entry) = self.watches.entry(id) else {
            return true;
        };
        let Some(followed) = entry.get_mut() else {
            return true;
        };
        followed.mark.clear();
        match followed.take(&self.store) {
            Ok(Found::Nothing) => return true,
            Ok(Found::Events {
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
                    .extend(followed.responses(response, events, bytes_max));
            }
            Ok(Found::Progress(revision)) => {
                let header = self.store.identity.header(revision);
                self.responses.push_back(pb::WatchResponse {
                    header,
                    watch_id: id,
                    ..Default::default()
                });
            }
            Err(error) if error.code() == Code::Busy => {
                let mark = followed.mark.clone();
                tokio::spawn(async move {
                    sleep(RETRY).await;
                    mark.set();
                });
                return true;
            }
            Err(error) => {
                self.end(id, &error);
                return true;
            }
        }
        // there may be more, after what others have
        followed.mark.set();
        true
    }

    /// Answers a request for progress once no watch has anything up to the store's revision. Watches that
    /// have are marked, and this is called again after them. If the store could not be read there may be no
    /// mark, so this is tried again after [`RETRY`].
    fn report_progress(&mut self, context: &mut Context<'_>) -> bool {
        if !self.progress_asked {
            return false;
        }
        if let Ok(revision) = self.store.revision()
            && self
                .watches
                .values()
                .flatten()
                .all(|followed| followed.is_caught_up(revision))
        {
            (self.progress_asked, self.retry) = (false, None);
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
            let asked = match session.poll_request(context) {
                Ok(asked) => asked,
                Err(status) => {
                    session.ended = true;
                    return Poll::Ready(Some(Err(status)));
                }
            };
            let followed = session.follow_next(context);
            // each time: a busy watch must not delay the progress of a stream that is caught up
            let reported = session.report_progress(context);
            if !asked && !followed && !reported {
                return Poll::Pending;
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}
