//! Where the server listens, and how connections come in: TCP, Unix sockets, TLS, HTTP/1.1 and HTTP/2
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

use super::authority::Mended;
use super::counters::Counted;
use super::how::{CONNECTION_WINDOW_BYTES, Level};
use super::router::Router;
use super::store::Store;
use super::tls::Tls;
use crate::address::{self, Place};

/// Connections that the system holds until they are accepted.
const BACKLOG: u32 = 4096;
/// How long a client may take to say which protocol it speaks, TLS included.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// TLS handshakes under way at a time, each of which takes some kilobytes; more of them wait.
const TLS_HANDSHAKES_MAX: usize = 2_048;
/// How long a client of HTTP/1.1 may take for the head of a request, and stay silent between two.
const HEAD: Duration = Duration::from_secs(60);
/// How long nobody is let in after the system refused for want of descriptors or memory.
const BREATH: Duration = Duration::from_millis(100);
/// What a client may send ahead on one stream.
const WINDOW_BYTES: u32 = 1 << 20;

/// How often a connection takes in requests and sends answers before others have their turn.
const ROUNDS: usize = 8;

/// What a client of HTTP/2 says first.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address(address::Address);

impl Address {
    /// Reads `host:port`, or what [`crate::address`] has, with a port.
    ///
    /// # Errors
    ///
    /// `invalid_argument`, naming it.
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
        match address.place {
            Place::Tcp(_, None) => Err(bad("the port is missing; 0 takes a free one")),
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
pub(super) struct Listening {
    socket: Socket,
    url: String,
    tls: bool,
    /// Removes a Unix socket's file at the end.
    _file: Option<SocketFile>,
}

impl Listening {
    /// Listens; within a runtime.
    ///
    /// # Errors
    ///
    /// `busy` if somebody listens there, `permission_denied`, `io`, `invalid_argument` (a host that
    /// nobody knows, a path too long for a socket, a file that is none), naming the address.
    pub fn new(address: Address) -> Result<Listening> {
        let address::Address { place, tls } = address.0;
        match place {
            Place::Tcp(host, port) => {
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
                Ok(Listening {
                    socket: Socket::Tcp(listener),
                    url,
                    tls,
                    _file: None,
                })
            }
            Place::Unix(path) => {
                let failed = |error: io::Error| failed(&path.display().to_string(), &error);
                let path = std::path::absolute(&path).map_err(failed)?;
                let listener = listen_unix(&path).map_err(failed)?;
                let file = SocketFile::new(&path).map_err(failed)?;
                let s = if tls { "s" } else { "" };
                let url = format!("unix{s}://{}", path.display());
                Ok(Listening {
                    socket: Socket::Unix(listener),
                    url,
                    tls,
                    _file: Some(file),
                })
            }
        }
    }

    /// The address as clients take it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whether it is all addresses of this machine, `0.0.0.0` or `[::]`.
    pub fn is_wildcard(&self) -> bool {
        matches!(&self.socket, Socket::Tcp(listener) if listener.local_addr().is_ok_and(|at| at.ip().is_unspecified()))
    }

    /// The URL that clients on other machines are likely to reach: in place of all addresses, that of the
    /// network's default route, as etcd takes it, or `localhost` where there is none.
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

    /// Lets connections in until the server closes. `going` is dropped when the last one has ended.
    pub async fn accept(
        self,
        store: Arc<Store>,
        router: Router,
        tls: Option<Arc<Tls>>,
        going: Sender<()>,
    ) {
        let door = Arc::new(Door {
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
                accepted = self.next(&door, &going) => accepted,
            };
            match accepted {
                Ok(()) => refused = false,
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    // said once, and not again until somebody could be let in
                    if !mem::replace(&mut refused, true) {
                        store.say(Level::Error, || {
                            format!("{}: no connection can be let in: {error}", self.url)
                        });
                    }
                    sleep(BREATH).await;
                }
            }
        }
    }

    /// Lets one connection in.
    async fn next(&self, door: &Arc<Door>, going: &Sender<()>) -> io::Result<()> {
        let (door, going) = (door.clone(), going.clone());
        match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // a peer that is gone already is found out when it is read from
                let _ = stream.set_nodelay(true);
                tokio::spawn(async move { door.enter(stream, &peer.to_string(), going).await });
            }
            Socket::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                tokio::spawn(async move { door.enter(stream, "a local process", going).await });
            }
        }
        Ok(())
    }
}

/// Whether only one connection failed, which was gone before it was accepted.
fn is_of_one_connection(error: &io::Error) -> bool {
    use ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted, WouldBlock,
    };
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted | WouldBlock
    )
}

/// This machine's address on its default route. To connect a UDP socket chooses the route and sends nothing; the
/// targets are addresses for documentation.
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
    // connections of a former server that linger do not keep the address
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// A socket's file that nobody listens on was left by a server that was killed, and is replaced.
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

/// A Unix socket's file, removed when this is dropped unless another has taken its place.
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

/// What all connections of one listener go through.
struct Door {
    store: Arc<Store>,
    router: Router,
    tls: Option<Arc<Tls>>,
    handshakes: Semaphore,
}

impl Door {
    /// One connection, from its first byte to its end.
    async fn enter<S>(&self, stream: S, peer: &str, going: Sender<()>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let _counted = Counted::new(&self.store.counters.connections);
        let ended = match &self.tls {
            None => self.sniff(stream).await,
            Some(tls) => Box::pin(self.encrypted(tls, stream)).await,
        };
        if let Err(error) = ended {
            self.store
                .say(Level::Debug, || format!("connection of {peer}: {error}"));
        }
        drop(going);
    }

    async fn encrypted<S>(&self, tls: &Tls, mut stream: S) -> Ended
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let shaken = timeout(HANDSHAKE, async {
            // whoever stays silent takes no place from those who talk
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
                self.store.say(Level::Warn, line);
            }
            acceptor.accept(Again::new(stream, &first)).await
        });
        let stream = tokio::select! {
            shaken = shaken => shaken.map_err(|_| "no TLS handshake in time")??,
            () = self.store.closed() => return Ok(()),
        };
        self.sniff(stream).await
    }

    /// Finds out which HTTP it is, and serves it.
    async fn sniff<S>(&self, mut stream: S) -> Ended
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut head = [0; PREFACE.len()];
        let mut length = 0;
        let read = timeout(HANDSHAKE, async {
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
        let stream = Again::new(stream, &head[..length]);
        // in boxes, since a connection that stays silent must not take the room of one that speaks
        match is_http2 {
            true => Box::pin(self.http2(Mended::new(stream, PREFACE.len()))).await,
            false => Box::pin(self.http1(stream)).await,
        }
    }

    /// The requests of a connection are a part of its own task: what a poll of it takes in is worked on
    /// together, and goes out together, with no thread woken in between.
    async fn http2<S>(&self, stream: S) -> Ended
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let begun = Begun::default();
        let kept = self.store.connections;
        let connection = http2::Builder::new(begun.clone())
            .timer(TokioTimer::new())
            .keep_alive_interval(kept.keep_alive)
            .keep_alive_timeout(kept.keep_alive_response)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_concurrent_streams(kept.streams_max)
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
                let mut answered = false;
                while let Poll::Ready(Some(())) = requests.poll_next_unpin(cx) {
                    answered = true;
                }
                if !answered {
                    return Poll::Pending;
                }
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await
    }

    async fn http1<S>(&self, stream: S) -> Ended
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
            .header_read_timeout(HEAD)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        tokio::select! {
            // first, so that a request that is there is taken
            biased;
            ended = connection.as_mut() => return Ok(ended?),
            () = self.store.closed() => {}
        }
        // hyper closes what is silent between two requests, but waits for the head of the first one
        if !begun.load(Ordering::Relaxed) {
            return Ok(());
        }
        connection.as_mut().graceful_shutdown();
        Ok(connection.await?)
    }
}

/// Requests that a connection has begun, for its task to go on with.
#[derive(Clone, Default)]
struct Begun(Arc<Mutex<Vec<BoxFuture>>>);

type BoxFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Begun {
    fn take(&self) -> Vec<BoxFuture> {
        mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Begun {
    fn execute(&self, request: F) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Box::pin(request));
    }
}

/// How a connection ended, for the log.
type Ended = std::result::Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// A stream whose first bytes were read already, and are read again.
struct Again<S> {
    head: [u8; PREFACE.len()],
    /// What of the head is still to be read.
    left: std::ops::Range<u8>,
    stream: S,
}

impl<S> Again<S> {
    fn new(stream: S, read: &[u8]) -> Again<S> {
        let mut head = [0; PREFACE.len()];
        head[..read.len()].copy_from_slice(read);
        Again {
            head,
            left: 0..read.len() as u8,
            stream,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Again<S> {
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

impl<S: AsyncWrite + Unpin> AsyncWrite for Again<S> {
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

    /// Somebody connected, sent a part of a request and no more: the server's end waited for the rest.
    #[test]
    fn only_requests_that_have_begun_are_waited_for_at_the_end() {
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
            let door = Door {
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
                let mut served = pin!(door.http1(server));
                let mut ends =
                    async || poll_fn(|cx| Poll::Ready(served.as_mut().poll(cx).is_ready())).await;
                assert!(!ends().await, "it waits for the rest of {sent:?}");
                closing.send_replace(true);
                assert_eq!(ends().await, !is_waited_for, "{sent:?}");
            });
        }
    }
}
