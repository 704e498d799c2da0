//! A request's way in and out: its body and its answer, counted and held to the limits, with errors in
//! etcd's words, a deadline, and panics caught.

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

use super::counters::{MethodCounters, add};
use super::gateway::schema::CALLS;
use super::how::Level;
use super::store::Store;

/// Bytes of requests that have not come whole, or wait for a commit, and of answers that wait for slow
/// readers, in the whole server. What comes beyond it is refused, unless it is alone.
pub(super) const HELD_BYTES_MAX: usize = 512 << 20;
/// Smaller messages are not counted into it: the number of requests bounds them.
const HELD_BYTES_MIN: usize = 16 << 10;
/// The head of each message of gRPC: whether it is compressed, and its length.
const MESSAGE_HEAD_BYTES: usize = 5;

/// Put into the extensions of an answer that is large: how many bytes, about.
#[derive(Clone, Copy)]
pub(crate) enum Large {
    /// The call only read, so its answer may still be refused.
    Read(usize),
    /// The call has committed a write, so its answer must be sent.
    Written(usize),
}

impl Large {
    pub fn bytes(self) -> usize {
        let (Large::Read(bytes) | Large::Written(bytes)) = self;
        bytes
    }
}

/// A request or stream from its beginning to the end of its answer.
pub(crate) struct Call {
    store: Arc<Store>,
    /// Its place in `METHODS`.
    method: usize,
    /// gRPC's code of the answer.
    code: AtomicU8,
    held: AtomicUsize,
    /// When it began, where that is kept.
    began: Option<Instant>,
}

impl Call {
    pub fn new(store: Arc<Store>, method: usize) -> Call {
        store.counters.requests.fetch_add(1, Relaxed);
        store.look();
        // whoever is gone before an answer has cancelled
        let began = store.counters.is_extensive.then(Instant::now);
        Call {
            store,
            method,
            code: AtomicU8::new(Code::Cancelled as u8),
            held: AtomicUsize::new(0),
            began,
        }
    }

    /// Counts bytes that are kept in memory; false if they are too many, and others hold some too.
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

    fn answered(&self, code: Code) {
        self.code.store(code as u8, Relaxed);
    }

    /// Answers a panic; its message went to the panic hook already.
    fn panicked(&self) -> Status {
        let (service, method) = crate::pb::METHODS[self.method];
        self.store
            .say(Level::Error, || format!("{service}/{method} panicked"));
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
        if code == 0 && !CALLS[self.method].server_streaming {
            add(&counters.sent);
        }
        if let Some(began) = self.began {
            counters
                .handling
                .observe(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX));
        }
    }
}

/// Where the body of a request comes from.
pub(super) enum Source {
    /// A client of gRPC.
    Connection(Incoming),
    /// The JSON gateway.
    Gateway(tonic::body::Body),
}

/// The body of a request.
pub(super) struct Sent {
    body: Source,
    call: Arc<Call>,
    /// Whether messages are taken one by one, so that only the last can be held.
    is_stream: bool,
    /// Bytes since the last whole message.
    pending: usize,
    messages: Messages,
}

impl Sent {
    pub fn new(body: Source, call: Arc<Call>, is_stream: bool) -> Sent {
        if !is_stream {
            add(&call.counters().received);
        }
        Sent {
            body,
            call,
            is_stream,
            pending: 0,
            messages: Messages::default(),
        }
    }

    fn came(&mut self, data: &Bytes) -> Result<(), Status> {
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

    /// Follows the messages of a stream: those that are whole are held no more.
    fn follow(&mut self, data: &[u8]) {
        let (ended, rest) = self.messages.follow(data);
        if ended > 0 {
            self.call.counters().received.fetch_add(ended, Relaxed);
            self.pending = rest;
            self.call.release();
        }
    }
}

/// Where in a message of a stream its bytes are that have come.
#[derive(Default)]
struct Messages {
    /// Bytes of the current message that are still to come.
    missing: usize,
    /// Within the head of a message, what came of it.
    head: ([u8; MESSAGE_HEAD_BYTES], usize),
}

impl Messages {
    /// Takes the bytes that come next; the values are how many messages end in them, and how many bytes come
    /// after the last end.
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

impl Body for Sent {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(match &mut self.body {
            Source::Connection(body) => {
                Pin::new(body)
                    .poll_frame(cx)
                    .map_err(|error| Status::from_error(Box::new(error)))
            }
            Source::Gateway(body) => Pin::new(body).poll_frame(cx),
        });
        if let Some(data) = frame
            .as_ref()
            .and_then(|frame| frame.as_ref().ok()?.data_ref())
        {
            self.came(data)?;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.body {
            Source::Connection(body) => body.is_end_stream(),
            Source::Gateway(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Source::Connection(body) => body.size_hint(),
            Source::Gateway(body) => body.size_hint(),
        }
    }
}

/// When a client stops waiting.
pub(super) type Deadline = Option<Pin<Box<Sleep>>>;

/// What the header `grpc-timeout` asks for.
///
/// # Errors
///
/// `Internal`, as grpc-go answers a header that it cannot read.
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

fn too_late() -> Status {
    Status::deadline_exceeded("context deadline exceeded")
}

type GrpcFuture =
    Pin<Box<dyn Future<Output = Result<Response<tonic::body::Body>, Infallible>> + Send>>;

type HttpFuture = Pin<Box<dyn Future<Output = Response<tonic::body::Body>> + Send>>;

/// An answer that is being made.
pub(super) struct Answering(Kind);

enum Kind {
    Grpc {
        future: GrpcFuture,
        call: Arc<Call>,
        deadline: Deadline,
    },
    Http {
        future: HttpFuture,
        broken: fn() -> Response<tonic::body::Body>,
    },
    Refused(Option<Response<Reply>>),
}

impl Answering {
    pub fn grpc(future: GrpcFuture, call: Arc<Call>, deadline: Deadline) -> Answering {
        Answering(Kind::Grpc {
            future,
            call,
            deadline,
        })
    }

    /// One that is no gRPC; `broken` is the answer where making it panics.
    pub fn http(future: HttpFuture, broken: fn() -> Response<tonic::body::Body>) -> Answering {
        Answering(Kind::Http { future, broken })
    }

    pub fn refused(status: Status, call: Option<Arc<Call>>) -> Answering {
        if let Some(call) = call {
            call.answered(status.code());
        }
        Answering(Kind::Refused(Some(status.into_http())))
    }
}

impl Future for Answering {
    type Output = Result<Response<Reply>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Kind::Grpc {
                future,
                call,
                deadline,
            } => {
                let response = match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
                    Ok(Poll::Ready(Ok(response))) => response,
                    Ok(Poll::Pending) => {
                        ready!(passed(deadline, cx));
                        too_late().into_http()
                    }
                    Err(_) => call.panicked().into_http(),
                };
                Poll::Ready(Ok(finish(response, call, deadline)))
            }
            Kind::Http { future, broken } => {
                let response = match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
                    Ok(response) => ready!(response),
                    Err(_) => broken(),
                };
                Poll::Ready(Ok(response.map(|body| Reply {
                    body,
                    ..Reply::default()
                })))
            }
            Kind::Refused(response) => match response.take() {
                Some(response) => Poll::Ready(Ok(response)),
                None => Poll::Pending,
            },
        }
    }
}

fn passed(deadline: &mut Deadline, cx: &mut Context<'_>) -> Poll<()> {
    match deadline {
        Some(sleep) => sleep.as_mut().poll(cx),
        None => Poll::Pending,
    }
}

/// What goes out once a service has answered: a refusal in etcd's words, or the body under watch.
fn finish(
    mut response: Response<tonic::body::Body>,
    call: &Arc<Call>,
    deadline: &mut Deadline,
) -> Response<Reply> {
    if let Some(status) = response.extensions_mut().remove::<Status>() {
        let status = in_words(status, &call.store);
        call.answered(status.code());
        return status.into_http();
    }
    match response.extensions_mut().remove::<Large>() {
        Some(Large::Read(bytes)) => {
            if let Err(refused) = call.hold(bytes) {
                call.answered(refused.code());
                return refused.into_http();
            }
        }
        Some(Large::Written(bytes)) => {
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

/// The body of an answer.
#[derive(Default)]
pub(super) struct Reply {
    body: tonic::body::Body,
    /// None for what is no gRPC.
    call: Option<Arc<Call>>,
    deadline: Deadline,
    over: bool,
    messages: Messages,
}

impl Reply {
    /// Ends a stream with a refusal.
    fn end(&mut self, status: Status) -> Frame<Bytes> {
        self.over = true;
        self.body = tonic::body::Body::empty();
        if let Some(call) = &self.call {
            call.answered(status.code());
        }
        let mut trailers = HeaderMap::new();
        if status.add_header(&mut trailers).is_err() {
            trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("13"));
        }
        Frame::trailers(trailers)
    }

    /// Counts what goes out, and puts the end of a stream into etcd's words.
    fn pass(&mut self, frame: Frame<Bytes>) -> Frame<Bytes> {
        let Some(call) = &self.call else { return frame };
        if let Some(data) = frame.data_ref() {
            call.store
                .counters
                .sent_bytes
                .fetch_add(data.len() as u64, Relaxed);
            if CALLS[call.method].server_streaming {
                call.counters()
                    .sent
                    .fetch_add(self.messages.follow(data).0, Relaxed);
            }
            return frame;
        }
        let status = frame.trailers_ref().and_then(Status::from_header_map);
        match status.filter(|status| status.code() != Code::Ok) {
            Some(status) => {
                let status = in_words(status, &call.store);
                self.end(status)
            }
            None => {
                call.answered(Code::Ok);
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
        if me.over {
            return Poll::Ready(None);
        }
        match catch_unwind(AssertUnwindSafe(|| Pin::new(&mut me.body).poll_frame(cx))) {
            Ok(Poll::Ready(Some(Ok(frame)))) => Poll::Ready(Some(Ok(me.pass(frame)))),
            Ok(Poll::Pending) => {
                ready!(passed(&mut me.deadline, cx));
                Poll::Ready(Some(Ok(me.end(too_late()))))
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
        self.over || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What tonic says of a message that it could not read or send, as etcd's server says it; everything else
/// as it is.
fn in_words(status: Status, store: &Store) -> Status {
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
    // a write may be committed by then, so the code must not say that nothing was done
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

/// Why a message could not be read, without all the messages that it stands in, of which there may be a
/// hundred.
fn shortened(why: &str) -> String {
    const DEPTH: &str = "recursion limit reached";
    let (first, last) = match (why.split_once(": "), why.rsplit_once(": ")) {
        (Some((first, rest)), Some((_, last))) if rest != last => (first, last),
        _ => return why.into(),
    };
    match last {
        // the limit is prost's own, which has no name for it
        DEPTH => format!(
            "{first}: ...: {DEPTH}: messages stand in one another 100 deep at most, and so txns 49 deep"
        ),
        last => format!("{first}: ...: {last}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_grpc_says() {
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
        Arc::new(Call::new(Arc::new(Store::for_tests(db, closing)), 0))
    }

    #[test]
    fn memory_for_large_messages_has_an_end() {
        let first = call();
        first.hold(2 * HELD_BYTES_MAX).expect("it is alone");
        let second = Call::new(first.store.clone(), 0);
        let status = second.hold(1).expect_err("there is no room");
        assert_eq!(
            (status.code(), status.message()),
            (Code::ResourceExhausted, "etcdserver: too many requests")
        );
        first.release();
        drop(second);
        let third = Call::new(first.store.clone(), 0);
        third.hold(1).expect("there is room again");
        first.hold(HELD_BYTES_MAX - 1).expect("up to the end of it");
        assert!(third.hold(1).is_err());
        drop(third);
        let store = first.store.clone();
        drop(first);
        assert_eq!(store.counters.held_bytes.load(Relaxed), 0);
    }

    #[test]
    fn a_panic_is_an_response() {
        let call = call();
        let future: GrpcFuture = Box::pin(async { panic!("a handler's") });
        let mut answering = Answering::grpc(future, call.clone(), None);
        let mut context = Context::from_waker(std::task::Waker::noop());
        let Poll::Ready(Ok(response)) = Pin::new(&mut answering).poll(&mut context) else {
            panic!("it is answered")
        };
        let status = Status::from_header_map(response.headers()).expect("a refusal");
        assert_eq!(
            (status.code(), status.message()),
            (Code::Internal, "etcdserver: internal error")
        );
        let store = call.store.clone();
        drop((answering, response, call));
        assert_eq!(
            store.counters.methods[0].handled[Code::Internal as usize].load(Relaxed),
            1
        );
        assert_eq!(store.counters.requests.load(Relaxed), 0);
    }
}
