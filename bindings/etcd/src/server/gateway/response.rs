//! HTTP responses of the gateway, and gRPC replies converted to them.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use hyper::body::{Body as _, Frame, SizeHint};
use serde_json::json;
use tonic::body::Body;
use tonic::{Code, Status};

use super::{wire, write};
use crate::schema::Message;
use crate::server::reply::Reply;

/// The reply to a gRPC call: its messages as JSON, then its status.
pub struct GrpcReply {
    body: Reply,
    received: BytesMut,
    message: &'static Message,
    /// The status, once it is known.
    end: Option<Status>,
}

impl GrpcReply {
    pub fn new(response: Response<Reply>, message: &'static Message) -> GrpcReply {
        let (head, body) = response.into_parts();
        // a call that fails at once has its status in the headers
        GrpcReply {
            body,
            received: BytesMut::new(),
            message,
            end: Status::from_header_map(&head.headers),
        }
    }

    /// The next message, or the status at the end.
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
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
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

/// The response to a call that returns one message.
pub async fn unary(mut reply: GrpcReply) -> Response<Body> {
    let message = reply.next("", "").await;
    // only the status at the end shows success
    let end = if message.is_ok() {
        reply.next("", "").await.err()
    } else {
        None
    };
    match (message, end) {
        (Ok(json), Some(end)) if end.code() == Code::Ok => ok(Body::new(JsonBody {
            json: json.into(),
            _reply: reply.body,
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

/// The size of the pieces that a connection gets. It would take the whole body at once, and hold it
/// uncounted until its client has read it.
const PIECE_BYTES: usize = 64 << 10;

/// The body of a response that has one message.
struct JsonBody {
    /// The part that has not been sent yet.
    json: Bytes,
    /// Kept until the body is read, however slowly: it counts the bytes in memory.
    _reply: Reply,
}

impl hyper::body::Body for JsonBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = self.json.len().min(PIECE_BYTES);
        // copied, so that a last piece that waits for its reader does not keep all the memory
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

/// The response to a call that returns many messages: one line each, sent when the message arrives.
/// It begins with the first message, so that an earlier failure has an HTTP status.
pub async fn stream(mut reply: GrpcReply) -> Response<Body> {
    match reply.next(BEFORE, AFTER).await {
        Ok(first) => ok(Body::new(JsonLines {
            first: Some(first),
            reply,
            ended: false,
        })),
        Err(status) if status.code() == Code::Ok => json_body(StatusCode::OK, Body::empty()),
        Err(status) => refused(&status),
    }
}

const BEFORE: &str = "{\"result\":";
const AFTER: &str = "}\n";

/// The body of a response that has many messages.
struct JsonLines {
    first: Option<Vec<u8>>,
    reply: GrpcReply,
    ended: bool,
}

impl hyper::body::Body for JsonLines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let line = match self.first.take() {
            Some(first) => Ok(first),
            None if self.ended => return Poll::Ready(None),
            None => ready!(self.reply.poll_message(context, BEFORE, AFTER)),
        };
        self.ended = line.is_err();
        Poll::Ready(match line {
            Ok(line) => Some(Ok(Frame::data(line.into()))),
            Err(status) if status.code() == Code::Ok => None,
            Err(status) => Some(Ok(Frame::data(error_line(&status).into()))),
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

/// A response with a JSON body.
pub fn json_body(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

/// The last line of a stream that ended with an error.
fn error_line(status: &Status) -> String {
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

/// A text response, as Go's server writes it for an error.
pub fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(full(text));
    *response.status_mut() = status;
    plain(response.headers_mut());
    response
}

/// The headers of a text response.
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

/// A body whose bytes are all known.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Body::new(http_body_util::Full::new(bytes.into()))
}
