//! What gRPC answered, as etcd's gateway says it in JSON over HTTP.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use hyper::body::{Body as _, Frame, SizeHint};
use serde_json::json;
use tonic::body::Body;
use tonic::{Code, Status};

use super::schema::Message;
use super::{wire, write};
use crate::server::reply::Reply;

/// The messages of a call's answer, as JSON, and then how it ended.
pub struct Answer {
    reply: Reply,
    received: BytesMut,
    message: &'static Message,
    /// How it ended, once that is known.
    end: Option<Status>,
}

impl Answer {
    pub fn new(response: Response<Reply>, message: &'static Message) -> Answer {
        let (head, reply) = response.into_parts();
        // a call that fails at once says so where its headers are
        Answer {
            reply,
            received: BytesMut::new(),
            message,
            end: Status::from_header_map(&head.headers),
        }
    }

    /// The next message, or how it ended.
    pub async fn next(
        &mut self,
        before: &'static str,
        after: &'static str,
    ) -> Result<Vec<u8>, Status> {
        std::future::poll_fn(|context| self.poll_message(context, before, after)).await
    }

    fn poll_message(
        &mut self,
        context: &mut Context<'_>,
        before: &str,
        after: &str,
    ) -> Poll<Result<Vec<u8>, Status>> {
        loop {
            if let Some(wire) = wire::take_message(&mut self.received) {
                let mut json = before.as_bytes().to_vec();
                let written = write::message(self.message, &wire, &mut json);
                json.extend_from_slice(after.as_bytes());
                let unreadable =
                    || Status::internal(format!("an unreadable {}", self.message.name));
                return Poll::Ready(written.map(|()| json).ok_or_else(unreadable));
            }
            if let Some(end) = self.end.take() {
                return Poll::Ready(Err(end));
            }
            match ready!(Pin::new(&mut self.reply).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.received.extend_from_slice(&data),
                    Err(frame) => self.end = frame.trailers_ref().and_then(Status::from_header_map),
                },
                Some(Err(status)) => self.end = Some(status),
                None => self.end = Some(Status::unavailable("etcdserver: server stopped")),
            }
        }
    }
}

/// The answer of a call that has one message.
pub async fn unary(mut answer: Answer) -> Response<Body> {
    let message = answer.next("", "").await;
    // only its end says that all went well
    let end = if message.is_ok() {
        answer.next("", "").await.err()
    } else {
        None
    };
    match (message, end) {
        (Ok(json), Some(end)) if end.code() == Code::Ok => ok(Body::new(Whole {
            json: json.into(),
            _reply: answer.reply,
        })),
        (Ok(_), end) => {
            refused(&end.unwrap_or_else(|| Status::internal("two responses to one request")))
        }
        (Err(status), _) if status.code() == Code::Ok => {
            refused(&Status::internal("no response to a request"))
        }
        (Err(status), _) => refused(&status),
    }
}

/// What a connection is given at a time. It would take all there is at once, and hold it uncounted until its
/// client has read it.
const PIECE_BYTES: usize = 64 << 10;

/// The body of an answer that has one message.
struct Whole {
    /// What has not been sent yet.
    json: Bytes,
    /// Kept while this is read, however slowly: it counts what is held in memory.
    _reply: Reply,
}

impl hyper::body::Body for Whole {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = self.json.len().min(PIECE_BYTES);
        // copied, so that a last piece that waits for its reader does not keep the memory of all
        let piece = Bytes::copy_from_slice(&self.json.split_to(bytes));
        Poll::Ready(
            Some(piece)
                .filter(|piece| !piece.is_empty())
                .map(|piece| Ok(Frame::data(piece))),
        )
    }

    fn is_end_stream(&self) -> bool {
        self.json.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.json.len() as u64)
    }
}

/// The answer of a call with many: a line each, sent when it comes. It begins with the first one, for
/// what fails before that has a status of HTTP.
pub async fn stream(mut answer: Answer) -> Response<Body> {
    match answer.next(BEFORE, AFTER).await {
        Ok(first) => ok(Body::new(Lines {
            first: Some(first),
            answer,
            over: false,
        })),
        Err(status) if status.code() == Code::Ok => json_body(StatusCode::OK, Body::empty()),
        Err(status) => refused(&status),
    }
}

const BEFORE: &str = "{\"result\":";
const AFTER: &str = "}\n";

/// The body of an answer that has many.
struct Lines {
    first: Option<Vec<u8>>,
    answer: Answer,
    over: bool,
}

impl hyper::body::Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let line = match self.first.take() {
            Some(first) => Ok(first),
            None if self.over => return Poll::Ready(None),
            None => ready!(self.answer.poll_message(context, BEFORE, AFTER)),
        };
        self.over = line.is_err();
        Poll::Ready(match line {
            Ok(line) => Some(Ok(Frame::data(line.into()))),
            Err(status) if status.code() == Code::Ok => None,
            Err(status) => Some(Ok(Frame::data(broken_off(&status).into()))),
        })
    }
}

fn ok(body: Body) -> Response<Body> {
    let mut response = json_body(StatusCode::OK, body);
    response.headers_mut().insert(
        "grpc-metadata-content-type",
        HeaderValue::from_static("application/grpc"),
    );
    response
}

/// A refusal: `{"error":T,"code":N,"message":T}`, in this order.
pub fn refused(status: &Status) -> Response<Body> {
    let text = json!(status.message());
    let body = format!(
        "{{\"error\":{text},\"code\":{},\"message\":{text}}}",
        status.code() as i32
    );
    json_body(http_status(status.code()), full(body))
}

/// An answer of JSON.
pub fn json_body(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

/// The last line of a stream that did not end well.
fn broken_off(status: &Status) -> String {
    let http = http_status(status.code());
    format!(
        "{{\"error\":{{\"grpc_code\":{},\"http_code\":{},\"message\":{},\"http_status\":{}}}}}\n",
        status.code() as i32,
        http.as_u16(),
        json!(status.message()),
        json!(http.canonical_reason().unwrap_or_default())
    )
}

fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::InvalidArgument | Code::OutOfRange | Code::FailedPrecondition => {
            StatusCode::BAD_REQUEST
        }
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::Cancelled => StatusCode::REQUEST_TIMEOUT,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// A text, as Go's server writes one with an error.
pub fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(full(text));
    *response.status_mut() = status;
    plain(response.headers_mut());
    response
}

/// The headers of a text that is no page.
pub fn plain(headers: &mut HeaderMap) {
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
}

/// A body that is there already.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Body::new(http_body_util::Full::new(bytes.into()))
}
