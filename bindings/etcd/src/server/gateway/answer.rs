//! What gRPC answered, as etcd's gateway says it in JSON over HTTP.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use hyper::body::Body as _;
use serde_json::json;
use tonic::{Code, Status};

use super::schema::Message;
use super::{wire, write};

/// The messages of a call's answer, as JSON, and then how it ended.
pub struct Answer {
    body: Body,
    received: BytesMut,
    message: &'static Message,
    /// How it ended, once that is known.
    end: Option<Status>,
}

impl Answer {
    pub fn new(response: Response, message: &'static Message) -> Answer {
        let (head, body) = response.into_parts();
        // a call that fails at once says so where its headers are
        Answer { body, received: BytesMut::new(), message, end: Status::from_header_map(&head.headers) }
    }

    /// The next message, or how it ended.
    pub async fn next(&mut self, before: &'static str, after: &'static str) -> Result<Vec<u8>, Status> {
        std::future::poll_fn(|context| self.poll_message(context, before, after)).await
    }

    fn poll_message(&mut self, context: &mut Context<'_>, before: &str, after: &str) -> Poll<Result<Vec<u8>, Status>> {
        loop {
            if let Some(wire) = wire::take_message(&mut self.received) {
                let mut json = before.as_bytes().to_vec();
                let written = write::message(self.message, &wire, &mut json);
                json.extend_from_slice(after.as_bytes());
                let unreadable = || Status::internal(format!("an unreadable {}", self.message.name));
                return Poll::Ready(written.map(|()| json).ok_or_else(unreadable));
            }
            if let Some(end) = self.end.take() {
                return Poll::Ready(Err(end));
            }
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.received.extend_from_slice(&data),
                    Err(frame) => self.end = frame.trailers_ref().and_then(Status::from_header_map),
                },
                Some(Err(error)) => self.end = Some(Status::unavailable(error.to_string())),
                None => self.end = Some(Status::unavailable("etcdserver: server stopped")),
            }
        }
    }
}

/// The answer of a call that has one message.
pub async fn unary(mut answer: Answer) -> Response {
    match answer.next("", "").await {
        Ok(json) => ok(Body::from(json)),
        Err(status) => refused(&status),
    }
}

/// The answer of a call with many: a line each, sent when it comes. It begins with the first one, for
/// what fails before that has a status of HTTP.
pub async fn stream(mut answer: Answer) -> Response {
    match answer.next(BEFORE, AFTER).await {
        Ok(first) => ok(Body::from_stream(Lines { first: Some(first), answer, over: false })),
        Err(status) if status.code() == Code::Ok => ok(Body::empty()),
        Err(status) => refused(&status),
    }
}

const BEFORE: &str = "{\"result\":";
const AFTER: &str = "}\n";

struct Lines {
    first: Option<Vec<u8>>,
    answer: Answer,
    over: bool,
}

impl Stream for Lines {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first.into())));
        }
        if self.over {
            return Poll::Ready(None);
        }
        let line = ready!(self.answer.poll_message(context, BEFORE, AFTER));
        self.over = line.is_err();
        Poll::Ready(match line {
            Ok(line) => Some(Ok(line.into())),
            Err(status) if status.code() == Code::Ok => None,
            Err(status) => Some(Ok(broken_off(&status).into())),
        })
    }
}

fn ok(body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert("grpc-metadata-content-type", HeaderValue::from_static("application/grpc"));
    response
}

/// A refusal: `{"error":T,"code":N,"message":T}`, in this order.
pub fn refused(status: &Status) -> Response {
    let text = json!(status.message());
    let body = format!("{{\"error\":{text},\"code\":{},\"message\":{text}}}", status.code() as i32);
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = http_status(status.code());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
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
        Code::InvalidArgument | Code::OutOfRange | Code::FailedPrecondition => StatusCode::BAD_REQUEST,
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
pub fn text(status: StatusCode, text: &'static str) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    plain(response.headers_mut());
    response
}

/// The headers of a text that is no page.
pub fn plain(headers: &mut HeaderMap) {
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}
