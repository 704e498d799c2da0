//! Listening sockets, and how connections are accepted: TCP, Unix sockets, TLS, HTTP/1.1 and HTTP/2
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
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;
use std::{fs, mem};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::Version;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use libkv::{Code, Error, Result};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixSocket, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::auth::PeerName;
use super::counters::CountGuard;
use super::http2_authority::AuthorityRepair;
use super::options::{CONNECTION_WINDOW_BYTES, Level};
use super::router::Router;
use super::store::Store;
use super::tls::Tls;
use crate::address::{self, Location};
use crate::sync::lock;

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

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ListenAddress(address::Address);

impl ListenAddress {
    /// Reads `host:port`, or a form of [`crate::address`] with a port.
    ///
    /// # Errors
    ///
    /// `invalid_argument`, naming the address.
    pub fn parse(text: &str) -> Result<ListenAddress> {
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
            _ => Ok(ListenAddress(address)),
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
    pub fn new(address: ListenAddress) -> Result<ListenSocket> {
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
        let Socket::Tcp(listener) = &self.socket else {
            return false;
        };
        listener
            .local_addr()
            .is_ok_and(|at| at.ip().is_unspecified())
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
                            format!("{}: no connection can be accepted: {error}", self.url)
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
                    "there is a file that is not a socket",
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
    async fn serve(&self, stream: impl ClientSocket, peer: &str, going: Sender<()>) {
        let _counted = CountGuard::new(&self.store.counters.connections);
        let ended = match &self.tls {
            None => self.serve_http(stream, None).await,
            Some(tls) => Box::pin(self.serve_tls(tls, stream)).await,
        };
        if let Err(error) = ended {
            self.store
                .log(Level::Debug, || format!("connection of {peer}: {error}"));
        }
        drop(going);
    }

    async fn serve_tls(&self, tls: &Tls, stream: impl ClientSocket) -> ConnectionResult {
        let handshake = timeout(HANDSHAKE_TIMEOUT, async {
            // a client that sends nothing must not delay those that do
            stream.readable().await?;
            let _permit = self.handshakes.acquire().await;
            let (acceptor, failed) = tls.acceptor();
            if let Some(error) = failed {
                let line = || {
                    format!(
                        "the new certificates cannot be used, the old ones remain in use: {}",
                        error.message()
                    )
                };
                self.store.log(Level::Warn, line);
            }
            acceptor.accept(stream).await
        });
        let stream = tokio::select! {
            handshake = handshake => handshake.map_err(|_| "timed out waiting for the TLS handshake")??,
            () = self.store.closed() => return Ok(()),
        };
        let peer = tls.peer_name(stream.get_ref().1.peer_certificates());
        self.serve_http(stream, peer).await
    }

    /// Serves HTTP/1.1 or HTTP/2, as the first bytes of the connection decide.
    ///
    /// The requests of HTTP/2 are polled by the task of the connection. All requests that one poll
    /// reads are handled together and sent together, without waking another thread.
    async fn serve_http<S>(&self, stream: S, peer: Option<PeerName>) -> ConnectionResult
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let stream = AuthorityRepair::new(stream);
        let version = stream.version();
        let has_request = AtomicBool::new(false);
        let service = service_fn(|mut request: http::Request<Incoming>| {
            has_request.store(true, Ordering::Relaxed);
            if let Some(peer) = &peer {
                request.extensions_mut().insert(peer.clone());
            }
            self.router.call(request)
        });
        let executor = RequestExecutor::default();
        let builder = self.http_builder(executor.clone());
        let mut connection = Box::pin(builder.serve_connection(TokioIo::new(stream), service));
        let mut requests = FuturesUnordered::new();
        let mut first_bytes = Some(Box::pin(sleep(HANDSHAKE_TIMEOUT)));
        let (mut closed, mut closing) = (pin!(self.store.closed()), false);
        poll_fn(|cx| {
            for _ in 0..ROUNDS {
                if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                    return Poll::Ready(ended);
                }
                requests.extend(executor.take());
                let mut any_ready = false;
                while let Poll::Ready(Some(())) = requests.poll_next_unpin(cx) {
                    any_ready = true;
                }
                if !closing && closed.as_mut().poll(cx).is_ready() {
                    // hyper would wait for the head of the first request
                    let is_http2 = version.get() == Some(&Version::HTTP_2);
                    if !is_http2 && !has_request.load(Ordering::Relaxed) {
                        return Poll::Ready(Ok(()));
                    }
                    closing = true;
                    connection.as_mut().graceful_shutdown();
                } else if !any_ready {
                    first_bytes.take_if(|_| version.get().is_some());
                    return match &mut first_bytes {
                        Some(sleep) => sleep
                            .as_mut()
                            .poll(cx)
                            .map(|()| Err("timed out waiting for the first bytes".into())),
                        None => Poll::Pending,
                    };
                }
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await
    }

    fn http_builder(&self, executor: RequestExecutor) -> auto::Builder<RequestExecutor> {
        let settings = self.store.connections;
        let mut builder = auto::Builder::new(executor);
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(settings.keep_alive)
            .keep_alive_timeout(settings.keep_alive_response)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_concurrent_streams(settings.streams_max)
            .auto_date_header(false);
        builder
    }
}

/// A connection of a client.
trait ClientSocket: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Completes when a read would not wait.
    fn readable(&self) -> impl Future<Output = io::Result<()>> + Send;
}

impl ClientSocket for TcpStream {
    fn readable(&self) -> impl Future<Output = io::Result<()>> + Send {
        TcpStream::readable(self)
    }
}

impl ClientSocket for UnixStream {
    fn readable(&self) -> impl Future<Output = io::Result<()>> + Send {
        UnixStream::readable(self)
    }
}

/// Requests that a connection has begun. The connection's task polls them.
#[derive(Clone, Default)]
struct RequestExecutor(Arc<Mutex<Vec<BoxFuture>>>);

type BoxFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

impl RequestExecutor {
    fn take(&self) -> Vec<BoxFuture> {
        mem::take(&mut *lock(&self.0))
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for RequestExecutor {
    fn execute(&self, request: F) {
        lock(&self.0).push(Box::pin(request));
    }
}

/// How a connection ended, for the log.
type ConnectionResult = std::result::Result<(), Box<dyn std::error::Error + Send + Sync>>;

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
                let mut served = pin!(handler.serve_http(server, None));
                let mut ends =
                    async || poll_fn(|cx| Poll::Ready(served.as_mut().poll(cx).is_ready())).await;
                assert!(!ends().await, "it waits for the rest of {sent:?}");
                closing.send_replace(true);
                assert_eq!(ends().await, !is_waited_for, "{sent:?}");
            });
        }
    }
}
