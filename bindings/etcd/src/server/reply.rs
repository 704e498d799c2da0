//! Bodies of requests and replies, with their counters and limits, error texts in etcd's words,
//! deadlines, and handlers that panic.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Sleep, sleep};
use tonic::{Code, Status};

use super::auth::Caller;
use super::counters::{MethodCounters, add};
use super::options::Level;
use super::store::Store;
use crate::schema::{RPCS, Rpc};

/// Bytes in the whole server of requests that are incomplete or wait for a commit, and of responses
/// that wait for slow readers. A request beyond it is refused, unless no other request holds bytes.
pub(super) const HELD_BYTES_MAX: usize = 512 << 20;
/// Smaller messages are not counted: the number of requests limits them.
const HELD_BYTES_MIN: usize = 16 << 10;
/// The head of each message of gRPC: whether it is compressed, and its length.
const MESSAGE_HEAD_BYTES: usize = 5;

/// The result of a unary call.
pub(crate) type ServiceResult<T> = Result<tonic::Response<T>, Status>;

/// Who a call comes from.
pub(crate) fn caller<T>(request: &tonic::Request<T>) -> &Caller {
    request
        .extensions()
        .get::<Arc<Call>>()
        .map_or(&Caller::Nobody, |call| &call.caller)
}

/// Added to the extensions of a large response, with its approximate size in bytes.
#[derive(Clone, Copy)]
pub(crate) enum LargeResponse {
    /// The call only read, so its response may still be refused.
    Read(usize),
    /// The call has committed a write, so its response must be sent.
    Write(usize),
}

impl LargeResponse {
    pub fn bytes(self) -> usize {
        let (LargeResponse::Read(bytes) | LargeResponse::Write(bytes)) = self;
        bytes
    }
}

/// A request or stream from its beginning to the end of its reply.
pub(crate) struct Call {
    store: Arc<Store>,
    /// Its index in [`RPCS`].
    method: usize,
    caller: Caller,
    /// gRPC's code of the reply.
    code: AtomicU8,
    held: AtomicUsize,
    /// When it began, if durations are counted.
    began: Option<Instant>,
}

impl Call {
    pub fn new(store: Arc<Store>, method: usize, caller: Caller) -> Call {
        store.counters.requests.fetch_add(1, Relaxed);
        store.check_files();
        // a client that leaves before the end of the reply has cancelled the call
        let began = store.counters.is_extensive.then(Instant::now);
        Call {
            store,
            method,
            caller,
            code: AtomicU8::new(Code::Cancelled as u8),
            held: AtomicUsize::new(0),
            began,
        }
    }

    /// Counts bytes in memory. Returns false if they exceed the limit and other calls hold some
    /// too.
    pub(super) fn count(&self, bytes: usize) -> bool {
        let before = self.store.counters.held_bytes.fetch_add(bytes, Relaxed);
        let mine = self.held.fetch_add(bytes, Relaxed);
        before <= mine || before.saturating_add(bytes) <= HELD_BYTES_MAX
    }

    /// Counts bytes, or refuses them.
    fn hold(&self, bytes: usize) -> Result<(), Status> {
        match self.count(bytes) {
            true => Ok(()),
            false => Err(Status::resource_exhausted("etcdserver: too many requests")),
        }
    }

    /// Refuses a call that may need memory later, while none is left.
    pub fn ensure_room(&self) -> Result<(), Status> {
        self.hold(0)
    }

    fn release(&self) {
        let held = self.held.swap(0, Relaxed);
        if held > 0 {
            self.store.counters.held_bytes.fetch_sub(held, Relaxed);
        }
    }

    fn counters(&self) -> &MethodCounters {
        &self.store.counters.methods[self.method]
    }

    fn set_code(&self, code: Code) {
        self.code.store(code as u8, Relaxed);
    }

    /// The status after a panic. The panic hook has already received its message.
    fn panicked(&self) -> Status {
        let Rpc { service, name, .. } = &RPCS[self.method];
        self.store
            .log(Level::Error, || format!("{service}/{name} panicked"));
        Status::internal("etcdserver: internal error")
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.release();
        let counters = &self.store.counters;
        counters.requests.fetch_sub(1, Relaxed);
        let code = usize::from(self.code.load(Relaxed)).min(16);
        let counters = &counters.methods[self.method];
        add(&counters.handled[code]);
        if code == 0 && !RPCS[self.method].server_streaming {
            add(&counters.sent);
        }
        if let Some(began) = self.began {
            counters
                .handling
                .observe(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX));
        }
    }
}

/// The source of a request's body.
pub(super) enum BodySource {
    /// A client of gRPC.
    Connection(Incoming),
    /// The JSON gateway.
    Gateway(tonic::body::Body),
}

/// The counted body of a request.
pub(super) struct RequestBody {
    body: BodySource,
    call: Arc<Call>,
    /// Whether messages are read one by one, so that only the last can be held.
    is_stream: bool,
    /// Bytes since the last complete message.
    pending: usize,
    messages: Messages,
}

impl RequestBody {
    pub fn new(body: BodySource, call: Arc<Call>) -> RequestBody {
        let is_stream = RPCS[call.method].client_streaming;
        if !is_stream {
            add(&call.counters().received);
        }
        RequestBody {
            body,
            call,
            is_stream,
            pending: 0,
            messages: Messages::default(),
        }
    }

    fn received(&mut self, data: &Bytes) -> Result<(), Status> {
        self.call
            .store
            .counters
            .received_bytes
            .fetch_add(data.len() as u64, Relaxed);
        self.pending += data.len();
        if self.is_stream {
            self.follow(data);
        }
        if self.pending > HELD_BYTES_MIN {
            self.call.hold(std::mem::take(&mut self.pending))?;
        }
        Ok(())
    }

    /// Tracks the messages of a stream: the bytes of complete messages are not held any more.
    fn follow(&mut self, data: &[u8]) {
        let (ended, rest) = self.messages.follow(data);
        if ended > 0 {
            self.call.counters().received.fetch_add(ended, Relaxed);
            self.pending = rest;
            self.call.release();
        }
    }
}

/// The position of the received bytes in the messages of a stream.
#[derive(Default)]
struct Messages {
    /// Bytes of the current message that are still to come.
    missing: usize,
    /// The received part of the head, within the head of a message.
    head: ([u8; MESSAGE_HEAD_BYTES], usize),
}

impl Messages {
    /// Takes the next bytes. Returns how many messages end in them, and how many bytes come after
    /// the last end.
    fn follow(&mut self, mut data: &[u8]) -> (u64, usize) {
        let (mut ended, mut rest) = (0, data.len());
        while !data.is_empty() {
            if self.missing == 0 {
                let (head, have) = &mut self.head;
                let taken = data.len().min(MESSAGE_HEAD_BYTES - *have);
                head[*have..*have + taken].copy_from_slice(&data[..taken]);
                *have += taken;
                data = &data[taken..];
                if *have < MESSAGE_HEAD_BYTES {
                    break;
                }
                let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
                (self.missing, *have) = (length as usize, 0);
            }
            let taken = data.len().min(self.missing);
            self.missing -= taken;
            data = &data[taken..];
            if self.missing == 0 {
                (ended, rest) = (ended + 1, data.len());
            }
        }
        (ended, rest)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(match &mut self.body {
            BodySource::Connection(body) => {
                Pin::new(body)
                    .poll_frame(cx)
                    .map_err(|error| Status::from_error(Box::new(error)))
            }
            BodySource::Gateway(body) => Pin::new(body).poll_frame(cx),
        });
        if let Some(data) = frame
            .as_ref()
            .and_then(|frame| frame.as_ref().ok()?.data_ref())
        {
            self.received(data)?;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.body {
            BodySource::Connection(body) => body.is_end_stream(),
            BodySource::Gateway(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            BodySource::Connection(body) => body.size_hint(),
            BodySource::Gateway(body) => body.size_hint(),
        }
    }
}

/// Completes when the client stops waiting.
pub(super) type Deadline = Option<Pin<Box<Sleep>>>;

/// Reads the header `grpc-timeout`.
///
/// # Errors
///
/// `Internal`, as in grpc-go, for a header that cannot be read.
pub(super) fn deadline(headers: &HeaderMap) -> Result<Deadline, Status> {
    let Some(value) = headers.get("grpc-timeout") else {
        return Ok(None);
    };
    match timeout(value.as_bytes()) {
        Some(time) => Ok(Some(Box::pin(sleep(time)))),
        None => Err(Status::internal(format!(
            "malformed grpc-timeout: {value:?}"
        ))),
    }
}

/// Up to eight digits and a unit.
fn timeout(text: &[u8]) -> Option<Duration> {
    let (unit, digits) = text.split_last()?;
    if digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(number * 3600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

fn deadline_exceeded() -> Status {
    Status::deadline_exceeded("context deadline exceeded")
}

type GrpcFuture =
    Pin<Box<dyn Future<Output = Result<Response<tonic::body::Body>, Infallible>> + Send>>;

type HttpFuture = Pin<Box<dyn Future<Output = Response<tonic::body::Body>> + Send>>;

/// The future of a reply.
pub(super) struct ReplyFuture(ReplyState);

enum ReplyState {
    Grpc {
        future: GrpcFuture,
        call: Arc<Call>,
        deadline: Deadline,
    },
    Http {
        future: HttpFuture,
        on_panic: fn() -> Response<tonic::body::Body>,
    },
    Refused(Option<Response<Reply>>),
}

impl ReplyFuture {
    pub fn grpc(future: GrpcFuture, call: Arc<Call>, deadline: Deadline) -> ReplyFuture {
        ReplyFuture(ReplyState::Grpc {
            future,
            call,
            deadline,
        })
    }

    /// A response that is not gRPC; `on_panic` makes the response if the future panics.
    pub fn http(future: HttpFuture, on_panic: fn() -> Response<tonic::body::Body>) -> ReplyFuture {
        ReplyFuture(ReplyState::Http { future, on_panic })
    }

    pub fn refused(status: Status, call: Option<Arc<Call>>) -> ReplyFuture {
        if let Some(call) = call {
            call.set_code(status.code());
        }
        ReplyFuture(ReplyState::Refused(Some(status.into_http())))
    }
}

impl Future for ReplyFuture {
    type Output = Result<Response<Reply>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            ReplyState::Grpc {
                future,
                call,
                deadline,
            } => {
                let response = match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
                    Ok(Poll::Ready(Ok(response))) => response,
                    Ok(Poll::Pending) => {
                        ready!(poll_deadline(deadline, cx));
                        deadline_exceeded().into_http()
                    }
                    Err(_) => call.panicked().into_http(),
                };
                Poll::Ready(Ok(finish(response, call, deadline)))
            }
            ReplyState::Http { future, on_panic } => {
                let response = match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
                    Ok(response) => ready!(response),
                    Err(_) => on_panic(),
                };
                Poll::Ready(Ok(response.map(|body| Reply {
                    body,
                    ..Reply::default()
                })))
            }
            ReplyState::Refused(response) => match response.take() {
                Some(response) => Poll::Ready(Ok(response)),
                None => Poll::Pending,
            },
        }
    }
}

fn poll_deadline(deadline: &mut Deadline, cx: &mut Context<'_>) -> Poll<()> {
    match deadline {
        Some(sleep) => sleep.as_mut().poll(cx),
        None => Poll::Pending,
    }
}

/// The reply of a service: a refusal in etcd's words, or a counted body.
fn finish(
    mut response: Response<tonic::body::Body>,
    call: &Arc<Call>,
    deadline: &mut Deadline,
) -> Response<Reply> {
    if let Some(status) = response.extensions_mut().remove::<Status>() {
        let status = in_etcd_words(status, &call.store);
        call.set_code(status.code());
        return status.into_http();
    }
    match response.extensions_mut().remove::<LargeResponse>() {
        Some(LargeResponse::Read(bytes)) => {
            if let Err(refused) = call.hold(bytes) {
                call.set_code(refused.code());
                return refused.into_http();
            }
        }
        Some(LargeResponse::Write(bytes)) => {
            call.count(bytes);
        }
        None => {}
    }
    let (call, deadline) = (Some(call.clone()), deadline.take());
    response.map(|body| Reply {
        body,
        call,
        deadline,
        ..Reply::default()
    })
}

/// The counted body of a reply.
#[derive(Default)]
pub(super) struct Reply {
    body: tonic::body::Body,
    /// `None` for a response that is not gRPC.
    call: Option<Arc<Call>>,
    deadline: Deadline,
    ended: bool,
    messages: Messages,
}

impl Reply {
    /// Ends a stream with a refusal.
    fn end(&mut self, status: Status) -> Frame<Bytes> {
        self.ended = true;
        self.body = tonic::body::Body::empty();
        if let Some(call) = &self.call {
            call.set_code(status.code());
        }
        let mut trailers = HeaderMap::new();
        if status.add_header(&mut trailers).is_err() {
            trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("13"));
        }
        Frame::trailers(trailers)
    }

    /// Counts a frame, and converts the status at the end of a stream to etcd's words.
    fn count_frame(&mut self, frame: Frame<Bytes>) -> Frame<Bytes> {
        let Some(call) = &self.call else { return frame };
        if let Some(data) = frame.data_ref() {
            call.store
                .counters
                .sent_bytes
                .fetch_add(data.len() as u64, Relaxed);
            if RPCS[call.method].server_streaming {
                call.counters()
                    .sent
                    .fetch_add(self.messages.follow(data).0, Relaxed);
            }
            return frame;
        }
        let status = frame.trailers_ref().and_then(Status::from_header_map);
        match status.filter(|status| status.code() != Code::Ok) {
            Some(status) => {
                let status = in_etcd_words(status, &call.store);
                self.end(status)
            }
            None => {
                call.set_code(Code::Ok);
                frame
            }
        }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let me = &mut *self;
        if me.ended {
            return Poll::Ready(None);
        }
        match catch_unwind(AssertUnwindSafe(|| Pin::new(&mut me.body).poll_frame(cx))) {
            Ok(Poll::Ready(Some(Ok(frame)))) => Poll::Ready(Some(Ok(me.count_frame(frame)))),
            Ok(Poll::Pending) => {
                ready!(poll_deadline(&mut me.deadline, cx));
                Poll::Ready(Some(Ok(me.end(deadline_exceeded()))))
            }
            Ok(other) => other,
            Err(_) => {
                let status = me.call.as_ref().map_or_else(
                    || Status::internal("internal error"),
                    |call| call.panicked(),
                );
                Poll::Ready(Some(Ok(me.end(status))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Converts tonic's text for a message that could not be read or sent to that of etcd's server;
/// other statuses are not changed.
fn in_etcd_words(status: Status, store: &Store) -> Status {
    let text = status.message();
    let most = store.message_bytes_max;
    let again = |code, text: String| Status::with_metadata(code, text, status.metadata().clone());
    if let Some(rest) = text.strip_prefix("Error, decoded message length too large: found ") {
        let found = rest.split(' ').next().unwrap_or_default();
        return again(
            Code::ResourceExhausted,
            format!("grpc: received message larger than max ({found} vs. {most})"),
        );
    }
    // a write may be committed by then, so the code must not mean that nothing was done
    if text.starts_with("Cannot return body with more than 4GB") {
        return again(
            Code::Unknown,
            "etcdserver: the response is larger than 4 GiB and cannot be sent".into(),
        );
    }
    if text.starts_with("Error decompressing: size limit") {
        let text = format!("grpc: received message after decompression larger than max {most}");
        return again(Code::ResourceExhausted, text);
    }
    if let Some(why) = text.strip_prefix("Error decompressing: ") {
        return again(
            Code::Internal,
            format!("grpc: failed to decompress the received message: {why}"),
        );
    }
    if let Some(why) = text.strip_prefix("failed to decode Protobuf message: ") {
        return again(
            Code::Internal,
            format!("grpc: error unmarshalling request: {}", shortened(why)),
        );
    }
    status
}

/// The reason why a message could not be read, without the names of the messages that enclose it,
/// of which there may be a hundred.
fn shortened(why: &str) -> String {
    const DEPTH: &str = "recursion limit reached";
    let (first, last) = match (why.split_once(": "), why.rsplit_once(": ")) {
        (Some((first, rest)), Some((_, last))) if rest != last => (first, last),
        _ => return why.into(),
    };
    match last {
        // prost has no name for this limit
        DEPTH => format!(
            "{first}: ...: {DEPTH}: messages are nested at most 100 deep, and so txns at most 49 deep"
        ),
        last => format!("{first}: ...: {last}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_parsed_as_in_grpc() {
        for (text, time) in [
            ("1H", Duration::from_secs(3600)),
            ("2M", Duration::from_secs(120)),
            ("99999999S", Duration::from_secs(99_999_999)),
            ("5m", Duration::from_millis(5)),
            ("6u", Duration::from_micros(6)),
            ("7n", Duration::from_nanos(7)),
        ] {
            assert_eq!(timeout(text.as_bytes()), Some(time), "{text}");
        }
        for text in ["", "S", "1", "1s", "-1S", "+1S", "123456789S", "1.5S"] {
            assert_eq!(timeout(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn messages_are_counted_in_any_pieces() {
        let stream = [
            &[0, 0, 0, 0, 0][..],
            &[0, 0, 0, 0, 2, 7, 7],
            &[1, 0, 0, 1, 0],
            &[9; 256],
            &[0, 0, 0],
        ]
        .concat();
        for piece in 1..=stream.len() {
            let (mut messages, mut ended, mut pending) = (Messages::default(), 0, 0);
            for data in stream.chunks(piece) {
                let (more, rest) = messages.follow(data);
                ended += more;
                pending = if more > 0 { rest } else { pending + rest };
            }
            assert_eq!((ended, pending), (3, 3), "in pieces of {piece}");
        }
    }

    fn call() -> Arc<Call> {
        let db = libkv::Db::open(":memory:", libkv::Options::new()).expect("a store in memory");
        let (closing, _) = tokio::sync::watch::channel(false);
        Arc::new(Call::new(
            Arc::new(Store::for_tests(db, closing)),
            0,
            Caller::Nobody,
        ))
    }

    #[test]
    fn memory_for_large_messages_is_limited() {
        let first = call();
        first.hold(2 * HELD_BYTES_MAX).expect("it is alone");
        let second = Call::new(first.store.clone(), 0, Caller::Nobody);
        let status = second.hold(1).expect_err("there is no room");
        assert_eq!(
            (status.code(), status.message()),
            (Code::ResourceExhausted, "etcdserver: too many requests")
        );
        first.release();
        drop(second);
        let third = Call::new(first.store.clone(), 0, Caller::Nobody);
        third.hold(1).expect("there is room again");
        first.hold(HELD_BYTES_MAX - 1).expect("up to the end of it");
        assert!(third.hold(1).is_err());
        drop(third);
        let store = first.store.clone();
        drop(first);
        assert_eq!(store.counters.held_bytes.load(Relaxed), 0);
    }

    #[test]
    fn panic_becomes_a_status() {
        let call = call();
        let future: GrpcFuture = Box::pin(async { panic!("a handler's") });
        let mut reply = ReplyFuture::grpc(future, call.clone(), None);
        let mut context = Context::from_waker(std::task::Waker::noop());
        let Poll::Ready(Ok(response)) = Pin::new(&mut reply).poll(&mut context) else {
            panic!("the reply is ready")
        };
        let status = Status::from_header_map(response.headers()).expect("a refusal");
        assert_eq!(
            (status.code(), status.message()),
            (Code::Internal, "etcdserver: internal error")
        );
        let store = call.store.clone();
        drop((reply, response, call));
        assert_eq!(
            store.counters.methods[0].handled[Code::Internal as usize].load(Relaxed),
            1
        );
        assert_eq!(store.counters.requests.load(Relaxed), 0);
    }
}
