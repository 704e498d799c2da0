//! One connection to one endpoint. It reports of a request that failed whether the server can have
//! received it.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use http::uri::PathAndQuery;
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::metadata::AsciiMetadataValue;
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;

use super::address::{Endpoint, PORT, host_and_port};
use super::tls::{self, Tls};
use crate::address::Location;
use crate::sync::lock;

/// Bytes of a stream that may be in transit: watches and large ranges.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
/// The same for a connection. No stream is left unread for long, so this need not be their sum.
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// How endpoints are dialled.
pub(crate) struct Dialer {
    pub tls: Option<Tls>,
    /// After this time without received data a connection with requests in progress is probed, and
    /// closed after the same time without a response.
    pub keep_alive: Option<Duration>,
}

/// A connection; clones share it. It ends with its last clone and its last stream.
#[derive(Clone)]
pub(crate) struct Link(Arc<Connection>);

struct Connection {
    sender: SendRequest<Body>,
    origin: Uri,
    /// The index of its endpoint.
    endpoint: usize,
    name: String,
    /// Why it ended, once it has.
    fault: Arc<Mutex<Option<String>>>,
    /// Whether the server's responses to progress requests keep their place among events, once it
    /// is known.
    orders_progress: OnceLock<bool>,
}

impl Dialer {
    /// Connects; the error is the reason as a text. The caller limits the time, and must prove by a
    /// call that a server responds.
    pub async fn dial(&self, number: usize, endpoint: &Endpoint) -> Result<Link, String> {
        match endpoint.location() {
            Location::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(|e| io_reason(&e))?;
                self.connect_tls(number, endpoint, "localhost", "localhost", stream)
                    .await
            }
            Location::Tcp(host, port) => {
                let origin = host_and_port(host, *port);
                let stream = connect(host, port.unwrap_or(PORT)).await?;
                self.connect_tls(number, endpoint, host, &origin, stream)
                    .await
            }
        }
    }

    /// Begins TLS, if the endpoint has it, with a server of this name.
    async fn connect_tls<S>(
        &self,
        number: usize,
        endpoint: &Endpoint,
        name: &str,
        origin: &str,
        stream: S,
    ) -> Result<Link, String>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        if !endpoint.has_tls() {
            return self.start_http2(number, endpoint, origin, stream).await;
        }
        let tls = self.tls.as_ref().ok_or("TLS was not prepared")?;
        let name = match &tls.server_name {
            Some(name) => name.clone(),
            None => tls::name(name).map_err(|e| e.message().to_string())?,
        };
        let handshake = TlsConnector::from(tls.config.clone()).connect(name, stream);
        let stream = handshake.await.map_err(|e| tls::reason(&e))?;
        self.start_http2(number, endpoint, origin, stream).await
    }

    /// Begins HTTP/2.
    async fn start_http2<S>(
        &self,
        number: usize,
        endpoint: &Endpoint,
        host: &str,
        stream: S,
    ) -> Result<Link, String>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
        if let Some(keep_alive) = self.keep_alive {
            // not while idle: etcd ends connections that do so
            builder
                .keep_alive_interval(keep_alive)
                .keep_alive_timeout(keep_alive)
                .keep_alive_while_idle(false);
        }
        let (sender, connection) = builder
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|e| transport_reason(&e))?;
        let fault = Arc::new(Mutex::new(None));
        let why = fault.clone();
        tokio::spawn(async move {
            let ended = connection.await;
            let reason = ended.map_or_else(
                |e| transport_reason(&e),
                |()| "it closed the connection".into(),
            );
            *lock(&why) = Some(reason);
        });
        let scheme = if endpoint.has_tls() { "https" } else { "http" };
        let origin = format!("{scheme}://{host}")
            .parse::<Uri>()
            .map_err(|e| e.to_string())?;
        let (name, orders_progress) = (endpoint.to_string(), OnceLock::new());
        Ok(Link(Arc::new(Connection {
            sender,
            origin,
            endpoint: number,
            name,
            fault,
            orders_progress,
        })))
    }
}

async fn connect(host: &str, port: u16) -> Result<TcpStream, String> {
    let addresses = tokio::net::lookup_host((host, port))
        .await
        .map_err(|e| format!("its name cannot be resolved: {e}"))?;
    let mut reason = "its name has no address".to_string();
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // requests are small and each has a caller that waits
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => reason = io_reason(&error),
        }
    }
    Err(reason)
}

fn io_reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".into(),
        io::ErrorKind::TimedOut => "timed out".into(),
        io::ErrorKind::NotFound => "no such socket".into(),
        _ => error.to_string(),
    }
}

/// An error of HTTP/2 with its sources.
fn transport_reason(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let more = inner.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = inner.source();
    }
    tls::reason_in(&text).unwrap_or(text)
}

impl Link {
    pub fn same(&self, other: &Link) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The index of its endpoint.
    pub fn endpoint(&self) -> usize {
        self.0.endpoint
    }

    /// Its endpoint, for messages.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Whether the server's responses to progress requests keep their place, once it is known.
    pub fn orders_progress(&self) -> &OnceLock<bool> {
        &self.0.orders_progress
    }

    pub fn is_closed(&self) -> bool {
        self.0.sender.is_closed()
    }

    /// Why a call failed, for messages: the server's text, or why the connection ended.
    pub fn reason(&self, status: &Status) -> String {
        let fault = lock(&self.0.fault);
        match (failure(status), &*fault, status.source()) {
            (Failure::Refused, ..) => status.message().to_string(),
            (_, Some(fault), _) => fault.clone(),
            (_, None, Some(source)) => transport_reason(source),
            (_, None, None) => status.message().to_string(),
        }
    }

    fn grpc(&self) -> Grpc<GrpcChannel> {
        // responses may have any size that was requested
        Grpc::with_origin(GrpcChannel(self.0.sender.clone()), self.0.origin.clone())
            .max_decoding_message_size(usize::MAX)
    }

    /// Sends one message and receives one.
    pub async fn unary<A, B>(
        &self,
        path: &'static str,
        message: A,
        token: &Token,
    ) -> Result<B, Status>
    where
        A: Message + 'static,
        B: Message + Default + 'static,
    {
        let codec = ProstCodec::<A, B>::new();
        let request = token.on(Request::new(message));
        Ok(self
            .grpc()
            .unary(request, PathAndQuery::from_static(path), codec)
            .await?
            .into_inner())
    }

    /// Sends and receives streams of messages. The server may wait for the first message before it
    /// responds at all, so that message must come before this returns. The metadata requires a
    /// leader: the server ends the stream when it has lost its leader.
    pub async fn streaming<A, B, S>(
        &self,
        path: &'static str,
        messages: S,
        token: &Token,
    ) -> Result<Streaming<B>, Status>
    where
        A: Message + 'static,
        B: Message + Default + 'static,
        S: tokio_stream::Stream<Item = A> + Send + 'static,
    {
        let codec = ProstCodec::<A, B>::new();
        let mut request = token.on(Request::new(messages));
        request
            .metadata_mut()
            .insert("hasleader", AsciiMetadataValue::from_static("true"));
        Ok(self
            .grpc()
            .streaming(request, PathAndQuery::from_static(path), codec)
            .await?
            .into_inner())
    }
}

/// The token that a server issued for a name and a password, if there is one.
#[derive(Clone, Default)]
pub(crate) struct Token {
    pub value: Option<AsciiMetadataValue>,
    /// Increases with each new token.
    pub number: u64,
}

impl Token {
    fn on<T>(&self, mut request: Request<T>) -> Request<T> {
        if let Some(value) = &self.value {
            request.metadata_mut().insert("token", value.clone());
        }
        request
    }
}

/// The connection in the form that tonic takes.
struct GrpcChannel(SendRequest<Body>);

impl tower::Service<http::Request<Body>> for GrpcChannel {
    type Response = http::Response<Incoming>;
    type Error = RequestError;
    type Future =
        Pin<Box<dyn Future<Output = Result<http::Response<Incoming>, RequestError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), RequestError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let sent = self.0.try_send_request(request);
        Box::pin(async move {
            sent.await.map_err(|failed| {
                let unsent = failed.message().is_some() || is_refused(failed.error());
                RequestError {
                    unsent,
                    error: failed.into_error(),
                }
            })
        })
    }
}

/// Whether the server reports that it has not processed the request: it refused the stream, or
/// ended the connection with a lower number as the last stream that it took.
fn is_refused(error: &hyper::Error) -> bool {
    let error = error
        .source()
        .and_then(|source| source.downcast_ref::<h2::Error>());
    error.is_some_and(|error| {
        error.is_remote()
            && ((error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM))
                || (error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR)))
    })
}

/// A request without a response.
#[derive(Debug)]
struct RequestError {
    unsent: bool,
    error: hyper::Error,
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl StdError for RequestError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.error)
    }
}

/// What a failed status means for the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The server has not received it.
    Unsent,
    /// The connection, or the stream, ended without a response.
    Cut,
    /// The server refused it.
    Refused,
}

pub(crate) fn failure(status: &Status) -> Failure {
    match status.source() {
        Some(source)
            if source
                .downcast_ref::<RequestError>()
                .is_some_and(|failed| failed.unsent) =>
        {
            Failure::Unsent
        }
        Some(_) => Failure::Cut,
        // no server sends this text: tonic does
        None if status.code() == Code::Internal
            && status.message() == "Missing response message." =>
        {
            Failure::Cut
        }
        None if status.code() == Code::Unknown
            && status.message().starts_with("protocol error: missing grpc") =>
        {
            Failure::Cut
        }
        None if status.code() == Code::Unimplemented
            && status.message().starts_with("Content is compressed") =>
        {
            Failure::Cut
        }
        None => Failure::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A status that tonic makes of a response which it cannot read is not the server's.
    #[test]
    fn failure_made_by_tonic_is_no_refusal() {
        for (code, text) in [
            (Code::Internal, "Missing response message."),
            (Code::Unknown, "protocol error: missing grpc-status"),
            (
                Code::Unimplemented,
                "Content is compressed with `br` which isn't supported",
            ),
        ] {
            assert_eq!(failure(&Status::new(code, text)), Failure::Cut, "{text}");
        }
        for (code, text) in [
            (Code::Unimplemented, "unknown service etcdserverpb.KV"),
            (Code::Internal, "panicked"),
        ] {
            assert_eq!(
                failure(&Status::new(code, text)),
                Failure::Refused,
                "{text}"
            );
        }
    }
}
