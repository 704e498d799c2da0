//! ListenSocket sockets, and how connections are accepted: TCP, Unix sockets, TLS, HTTP/1.1 and HTTP/2
//! on one port.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream as BlockingUnixStream;
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use std::{fs, mem};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use libkv::{Code, Error, Result};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, UnixListener, UnixSocket};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::counters::CountGuard;
use super::http2_authority::AuthorityRepair;
use super::options::{CONNECTION_WINDOW_BYTES, Level};
use super::router::Router;
use super::store::Store;
use super::tls::Tls;
use crate::address::{self, Location};

/// Connections that the system queues until they are accepted.
const BACKLOG: u32 = 4096;
/// How long a client may take to show which protocol it uses, TLS included.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// TLS handshakes in progress at a time. Each needs some kilobytes; further ones wait.
const TLS_HANDSHAKES_MAX: usize = 2_048;
/// How long a client of HTTP/1.1 may take to send the head of a request, and stay idle between two.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// The pause after the system refused a connection for lack of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Bytes that a client may send ahead on one stream.
const WINDOW_BYTES: u32 = 1 << 20;

/// How often a connection reads requests and sends responses before other tasks get their turn.
const ROUNDS: usize = 8;

/// The first bytes that a client of HTTP/2 sends.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address(address::Address);

impl Address {
    /// Reads `host:port`, or a form of [`crate::address`] with a port.
    ///
    /// # Errors
    ///
    /// `invalid_argument`, naming the address.
    pub fn parse(text: &str) -> Result<Address> {
        let bad = |why: &str| {
            Error::new(
                Code::InvalidArgument,
                format!("cannot listen on {text:?}: {why}"),
            )
        };
        let tls_of = |scheme: &str| match scheme {
            "" | "http" => Some(false),
            "https" => Some(true),
            _ => None,
        };
        let address = address::parse(text, tls_of).map_err(|why| bad(&why))?;
        match address.location {
            Location::Tcp(_, None) => Err(bad("the port is missing; 0 takes a free one")),
            _ => Ok(Address(address)),
        }
    }

    pub fn is_tls(&self) -> bool {
        self.0.tls
    }
}

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A socket that listens.
pub(super) struct ListenSocket {
    socket: Socket,
    url: String,
    tls: bool,
    /// Removes a Unix socket's file at the end.
    _file: Option<SocketFile>,
}

impl ListenSocket {
    /// Begins to listen. The caller is within a runtime.
    ///
    /// # Errors
    ///
    /// `busy` if another socket listens on the address, `permission_denied`, `io`,
    /// `invalid_argument` (an unknown host, a path too long for a socket, a file that is not a
    /// socket), naming the address.
    pub fn new(address: Address) -> Result<ListenSocket> {
        let address::Address { location, tls } = address.0;
        match location {
            Location::Tcp(host, port) => {
                let port = port.unwrap_or(0);
                let failed = |error: io::Error| failed(&format!("{host}:{port}"), &error);
                let found: Vec<SocketAddr> = (host.as_str(), port)
                    .to_socket_addrs()
                    .map_err(failed)?
                    .collect();
                let mut listener = Err(io::Error::new(
                    ErrorKind::NotFound,
                    "the host has no address",
                ));
                for address in found {
                    listener = listen_tcp(address);
                    if listener.is_ok() {
                        break;
                    }
                }
                let listener = listener.map_err(failed)?;
                let scheme = if tls { "https" } else { "http" };
                let url = format!("{scheme}://{}", listener.local_addr().map_err(failed)?);
                Ok(ListenSocket {
                    socket: Socket::Tcp(listener),
                    url,
                    tls,
                    _file: None,
                })
            }
            Location::Unix(path) => {
                let failed = |error: io::Error| failed(&path.display().to_string(), &error);
                let path = std::path::absolute(&path).map_err(failed)?;
                let listener = listen_unix(&path).map_err(failed)?;
                let file = SocketFile::new(&path).map_err(failed)?;
                let s = if tls { "s" } else { "" };
                let url = format!("unix{s}://{}", path.display());
                Ok(ListenSocket {
                    socket: Socket::Unix(listener),
                    url,
                    tls,
                    _file: Some(file),
                })
            }
        }
    }

    /// The address in the form that clients take.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whether it listens on all addresses of this machine, `0.0.0.0` or `[::]`.
    pub fn is_wildcard(&self) -> bool {
        matches!(&self.socket, Socket::Tcp(listener) if listener.local_addr().is_ok_and(|at| at.ip().is_unspecified()))
    }

    /// The URL that clients on other machines can probably reach: instead of all addresses, that of
    /// the network's default route, as in etcd, or `localhost` if there is none.
    pub fn reachable_url(&self) -> String {
        let (true, Socket::Tcp(listener)) = (self.is_wildcard(), &self.socket) else {
            return self.url.clone();
        };
        let port = listener.local_addr().map_or(0, |at| at.port());
        let scheme = if self.tls { "https" } else { "http" };
        match own_address() {
            Some(ip) => format!("{scheme}://{}", SocketAddr::new(ip, port)),
            None => format!("{scheme}://localhost:{port}"),
        }
    }

    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// Accepts connections until the server closes. `going` is dropped when the last one has ended.
    pub async fn accept(
        self,
        store: Arc<Store>,
        router: Router,
        tls: Option<Arc<Tls>>,
        going: Sender<()>,
    ) {
        let handler = Arc::new(ConnectionHandler {
            store: store.clone(),
            router,
            tls,
            handshakes: Semaphore::new(TLS_HANDSHAKES_MAX),
        });
        let mut closed = pin!(store.closed());
        let mut refused = false;
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut closed => return,
                accepted = self.next(&handler, &going) => accepted,
            };
            match accepted {
                Ok(()) => refused = false,
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    // logged once, and again only after a connection was accepted
                    if !mem::replace(&mut refused, true) {
                        store.log(Level::Error, || {
                            format!("{}: no connection can be let in: {error}", self.url)
                        });
                    }
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Accepts one connection.
    async fn next(&self, handler: &Arc<ConnectionHandler>, going: &Sender<()>) -> io::Result<()> {
        let (handler, going) = (handler.clone(), going.clone());
        match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // if the peer has closed already, the first read fails
                let _ = stream.set_nodelay(true);
                tokio::spawn(async move { handler.serve(stream, &peer.to_string(), going).await });
            }
            Socket::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                tokio::spawn(async move { handler.serve(stream, "a local process", going).await });
            }
        }
        Ok(())
    }
}

/// Whether only one connection failed, which its client closed before it was accepted.
fn is_of_one_connection(error: &io::Error) -> bool {
    use ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted, WouldBlock,
    };
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted | WouldBlock
    )
}

/// This machine's address on its default route. Connecting a UDP socket selects the route and sends
/// nothing; the targets are addresses reserved for documentation.
fn own_address() -> Option<IpAddr> {
    let towards = |from: &str, to: &str| {
        let socket = UdpSocket::bind(from).ok()?;
        socket.connect(to).ok()?;
        Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_unspecified() && !ip.is_loopback())
    };
    towards("0.0.0.0:0", "192.0.2.1:9").or_else(|| towards("[::]:0", "[2001:db8::1]:9"))
}

fn listen_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    // lingering connections of an earlier server do not block the address
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// A socket's file without a listener was left by a server that was killed, and is replaced.
fn listen_unix(path: &Path) -> io::Result<UnixListener> {
    let bind = || {
        let socket = UnixSocket::new_stream()?;
        socket.bind(path)?;
        socket.listen(BACKLOG)
    };
    match bind() {
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            if !fs::symlink_metadata(path)?.file_type().is_socket() {
                return Err(io::Error::new(
                    ErrorKind::InvalidInput,
                    "there is a file that is no socket",
                ));
            }
            match BlockingUnixStream::connect(path) {
                Err(dead) if dead.kind() == ErrorKind::ConnectionRefused => {
                    fs::remove_file(path)?;
                    bind()
                }
                _ => Err(error),
            }
        }
        other => other,
    }
}

fn failed(address: &str, error: &io::Error) -> Error {
    let code = match error.kind() {
        ErrorKind::AddrInUse => Code::Busy,
        ErrorKind::PermissionDenied => Code::PermissionDenied,
        ErrorKind::InvalidInput => Code::InvalidArgument,
        _ => Code::Io,
    };
    Error::new(code, format!("cannot listen on {address}: {error}"))
}

/// A Unix socket's file. It is removed when this is dropped, unless another file has replaced it.
struct SocketFile {
    path: PathBuf,
    place: (u64, u64),
}

impl SocketFile {
    fn new(path: &Path) -> io::Result<SocketFile> {
        let found = fs::symlink_metadata(path)?;
        Ok(SocketFile {
            path: path.to_path_buf(),
            place: (found.dev(), found.ino()),
        })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == self.place)
        {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// What all connections of one listener share.
struct ConnectionHandler {
    store: Arc<Store>,
    router: Router,
    tls: Option<Arc<Tls>>,
    handshakes: Semaphore,
}

impl ConnectionHandler {
    /// Serves one connection, from its first byte to its end.
    async fn serve<S>(&self, stream: S, peer: &str, going: Sender<()>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let _counted = CountGuard::new(&self.store.counters.connections);
        let ended = match &self.tls {
            None => self.detect_http(stream).await,
            Some(tls) => Box::pin(self.encrypted(tls, stream)).await,
        };
        if let Err(error) = ended {
            self.store
                .log(Level::Debug, || format!("connection of {peer}: {error}"));
        }
        drop(going);
    }

    async fn encrypted<S>(&self, tls: &Tls, mut stream: S) -> ConnectionResult
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let handshake = timeout(HANDSHAKE_TIMEOUT, async {
            // a client that sends nothing must not delay those that do
            let mut first = [0];
            if stream.read(&mut first).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            let _place = self.handshakes.acquire().await;
            let (acceptor, failed) = tls.acceptor();
            if let Some(error) = failed {
                let line = || {
                    format!(
                        "the new certificates cannot be used, the old ones stay: {}",
                        error.message()
                    )
                };
                self.store.log(Level::Warn, line);
            }
            acceptor.accept(ReplayedStream::new(stream, &first)).await
        });
        let stream = tokio::select! {
            handshake = handshake => handshake.map_err(|_| "no TLS handshake in time")??,
            () = self.store.closed() => return Ok(()),
        };
        self.detect_http(stream).await
    }

    /// Detects the HTTP version and serves the connection.
    async fn detect_http<S>(&self, mut stream: S) -> ConnectionResult
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut head = [0; PREFACE.len()];
        let mut length = 0;
        let read = timeout(HANDSHAKE_TIMEOUT, async {
            while length < head.len() && head[..length] == PREFACE[..length] {
                match stream.read(&mut head[length..]).await? {
                    0 => break,
                    n => length += n,
                }
            }
            io::Result::Ok(())
        });
        tokio::select! {
            read = read => read.map_err(|_| "nothing came in time")??,
            () = self.store.closed() => return Ok(()),
        }
        if length == 0 {
            return Ok(());
        }
        let is_http2 = head[..length] == PREFACE[..length];
        let stream = ReplayedStream::new(stream, &head[..length]);
        // in boxes: a connection that stays silent must not use the memory of an active one
        match is_http2 {
            true => Box::pin(self.http2(AuthorityRepair::new(stream, PREFACE.len()))).await,
            false => Box::pin(self.http1(stream)).await,
        }
    }

    /// The requests of a connection are polled by the task of the connection. All requests that one
    /// poll reads are handled together and sent together, without waking another thread.
    async fn http2<S>(&self, stream: S) -> ConnectionResult
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let begun = RequestExecutor::default();
        let settings = self.store.connections;
        let connection = http2::Builder::new(begun.clone())
            .timer(TokioTimer::new())
            .keep_alive_interval(settings.keep_alive)
            .keep_alive_timeout(settings.keep_alive_response)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_concurrent_streams(settings.streams_max)
            .auto_date_header(false)
            .serve_connection(TokioIo::new(stream), self.router.clone());
        let mut connection = pin!(connection);
        let mut requests = FuturesUnordered::new();
        let (mut closed, mut closing) = (pin!(self.store.closed()), false);
        poll_fn(|cx| {
            if !closing && closed.as_mut().poll(cx).is_ready() {
                closing = true;
                connection.as_mut().graceful_shutdown();
            }
            for _ in 0..ROUNDS {
                if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                    return Poll::Ready(Ok(ended?));
                }
                requests.extend(begun.take());
                let mut any_ready = false;
                while let Poll::Ready(Some(())) = requests.poll_next_unpin(cx) {
                    any_ready = true;
                }
                if !any_ready {
                    return Poll::Pending;
                }
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await
    }

    async fn http1<S>(&self, stream: S) -> ConnectionResult
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let begun = AtomicBool::new(false);
        let service = service_fn(|request| {
            begun.store(true, Ordering::Relaxed);
            self.router.call(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        tokio::select! {
            // first, so that a request that has arrived is handled
            biased;
            ended = connection.as_mut() => return Ok(ended?),
            () = self.store.closed() => {}
        }
        // hyper closes a connection that is idle between two requests, but waits for the head of
        // the first
        if !begun.load(Ordering::Relaxed) {
            return Ok(());
        }
        connection.as_mut().graceful_shutdown();
        Ok(connection.await?)
    }
}

/// Requests that a connection has begun. The connection's task polls them.
#[derive(Clone, Default)]
struct RequestExecutor(Arc<Mutex<Vec<BoxFuture>>>);

type BoxFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

impl RequestExecutor {
    fn take(&self) -> Vec<BoxFuture> {
        mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for RequestExecutor {
    fn execute(&self, request: F) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Box::pin(request));
    }
}

/// How a connection ended, for the log.
type ConnectionResult = std::result::Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// A stream whose first bytes were read already, and are returned again.
struct ReplayedStream<S> {
    head: [u8; PREFACE.len()],
    /// The part of the head that is still to be read.
    left: std::ops::Range<u8>,
    stream: S,
}

impl<S> ReplayedStream<S> {
    fn new(stream: S, read: &[u8]) -> ReplayedStream<S> {
        let mut head = [0; PREFACE.len()];
        head[..read.len()].copy_from_slice(read);
        ReplayedStream {
            head,
            left: 0..read.len() as u8,
            stream,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ReplayedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let left = &self.head[usize::from(self.left.start)..usize::from(self.left.end)];
        let taken = left.len().min(buf.remaining());
        buf.put_slice(&left[..taken]);
        self.left.start += taken as u8;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ReplayedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;

    /// A client connected and sent only a part of a request. The server's end waited for the rest.
    #[test]
    fn close_waits_only_for_requests_that_have_begun() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let head = "POST /v3/kv/range HTTP/1.1\r\nHost: x\r\nContent-Length: 14\r\n";
        let whole = "GET /version HTTP/1.1\r\nHost: x\r\n\r\n";
        for (sent, is_waited_for) in [
            ("P".into(), false),
            (head.to_string(), false),
            (format!("{head}\r\n{{"), true),
            (whole.to_string(), false),
            (format!("{whole}P"), false),
            (format!("{whole}{head}"), false),
            (format!("{whole}{head}\r\n{{"), true),
        ] {
            let db = libkv::Db::open(":memory:", libkv::Options::new()).expect("a store in memory");
            let (closing, _) = tokio::sync::watch::channel(false);
            let store = Arc::new(Store {
                message_bytes_max: 1 << 10,
                ..Store::for_tests(db, closing.clone())
            });
            let router = Router::new(&store);
            let handler = ConnectionHandler {
                store,
                router,
                tls: None,
                handshakes: Semaphore::new(1),
            };
            runtime.block_on(async {
                let (mut client, server) = duplex(1 << 10);
                client
                    .write_all(sent.as_bytes())
                    .await
                    .expect("it is taken");
                let mut served = pin!(handler.http1(server));
                let mut ends =
                    async || poll_fn(|cx| Poll::Ready(served.as_mut().poll(cx).is_ready())).await;
                assert!(!ends().await, "it waits for the rest of {sent:?}");
                closing.send_replace(true);
                assert_eq!(ends().await, !is_waited_for, "{sent:?}");
            });
        }
    }
}
