//! A minimal client of etcd's protocol: one HTTP/2 connection on one thread, messages encoded by
//! hand. So the measured time is that of the server.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::{self, SendRequest};
use h2::{RecvStream, SendStream};
use http::Request;
use tokio::net::TcpStream;

/// The flow-control window: larger than any response here, so that the server never waits for this
/// client.
const WINDOW_BYTES: u32 = 64 << 20;

/// A connection.
#[derive(Clone)]
pub struct Client {
    send: SendRequest<Bytes>,
    base: Arc<str>,
}

impl Client {
    /// Connects. A task of the current runtime drives the connection.
    pub async fn connect(port: u16) -> std::io::Result<Client> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        let (send, connection) = client::Builder::new()
            .initial_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .handshake(stream)
            .await
            .map_err(std::io::Error::other)?;
        tokio::spawn(async move {
            // requests that wait for a response get the error
            let _ = connection.await;
        });
        Ok(Client {
            send,
            base: format!("http://127.0.0.1:{port}").into(),
        })
    }

    /// Begins a request. `last` if no more messages follow.
    async fn begin(
        &self,
        method: &str,
        message: Bytes,
        last: bool,
    ) -> (client::ResponseFuture, SendStream<Bytes>) {
        let request = Request::post(format!("{}/etcdserverpb.{method}", self.base))
            .header("te", "trailers")
            .header("content-type", "application/grpc")
            .body(())
            .expect("a request");
        let mut send = self
            .send
            .clone()
            .ready()
            .await
            .expect("the connection is open");
        let (response, mut stream) = send
            .send_request(request, false)
            .expect("the connection is open");
        stream
            .send_data(frame(&message), last)
            .expect("the stream is open");
        (response, stream)
    }

    /// Sends a request and returns the message of its response.
    pub async fn call(&self, method: &str, message: Bytes) -> Bytes {
        let (response, _stream) = self.begin(method, message, true).await;
        let response = response.await.expect("a response");
        let status = |headers: &http::HeaderMap| {
            if let Some(status) = headers.get("grpc-status").filter(|status| *status != "0") {
                panic!(
                    "{method}: gRPC status {status:?}: {:?}",
                    headers.get("grpc-message")
                );
            }
        };
        status(response.headers());
        let mut body = Messages::new(response.into_body());
        let message = body.next().await.expect("a message");
        // the trailers come after the end of the data
        assert!(body.next().await.is_none(), "{method}: two messages");
        status(
            &body
                .stream
                .trailers()
                .await
                .expect("trailers")
                .unwrap_or_default(),
        );
        message
    }

    /// Sends `total` requests, `at_once` at a time.
    pub async fn many<F>(&self, method: &'static str, total: u64, at_once: u64, message: F)
    where
        F: Fn(u64) -> Bytes + Send + Sync + 'static,
    {
        let message = Arc::new(message);
        let mut requests = tokio::task::JoinSet::new();
        for worker in 0..at_once {
            let (client, message) = (self.clone(), message.clone());
            requests.spawn(async move {
                for number in (worker..total).step_by(at_once as usize) {
                    client.call(method, message(number)).await;
                }
            });
        }
        while let Some(done) = requests.join_next().await {
            done.expect("a response");
        }
    }

    /// A stream of watches on this key, `watches` of them, all created.
    pub async fn watch(&self, key: &[u8], watches: usize) -> Watching {
        let create = field(1, &field(1, key));
        let (response, mut stream) = self.begin("Watch/Watch", create.clone(), false).await;
        for _ in 1..watches {
            stream
                .send_data(frame(&create), false)
                .expect("the stream is open");
        }
        let response = response.await.expect("a response");
        let mut watching = Watching {
            messages: Messages::new(response.into_body()),
            _stream: stream,
        };
        for _ in 0..watches {
            let message = watching
                .messages
                .next()
                .await
                .expect("a response to the creation");
            assert!(fields(&message).contains(&(3, Some(1))), "not created");
        }
        watching
    }
}

/// Watches on one stream.
pub struct Watching {
    messages: Messages,
    /// Keeps the client's side of the stream open.
    _stream: SendStream<Bytes>,
}

impl Watching {
    /// Waits until `count` events have come.
    pub async fn events(&mut self, count: usize) {
        let mut seen = 0;
        while seen < count {
            let message = self.messages.next().await.expect("the watch is open");
            seen += fields(&message)
                .iter()
                .filter(|(number, _)| *number == 11)
                .count();
        }
        assert_eq!(seen, count, "too many events");
    }
}

/// The messages of a response.
struct Messages {
    stream: RecvStream,
    bytes: BytesMut,
}

impl Messages {
    fn new(stream: RecvStream) -> Messages {
        Messages {
            stream,
            bytes: BytesMut::new(),
        }
    }

    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(head) = self.bytes.get(1..5) {
                let length = head
                    .iter()
                    .fold(0, |length, &byte| length << 8 | usize::from(byte));
                if self.bytes.len() >= 5 + length {
                    return Some(self.bytes.split_to(5 + length).freeze().slice(5..));
                }
            }
            let chunk = self.stream.data().await?.expect("the stream is open");
            self.stream
                .flow_control()
                .release_capacity(chunk.len())
                .expect("capacity of received data");
            self.bytes.extend_from_slice(&chunk);
        }
    }
}

/// A message with gRPC's prefix.
fn frame(message: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(5 + message.len());
    out.put_u8(0);
    out.put_u32(message.len() as u32);
    out.put_slice(message);
    out.freeze()
}

fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// A field of bytes, or of a message.
pub fn field(number: u64, bytes: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(bytes.len() + 4);
    varint(&mut out, number << 3 | 2);
    varint(&mut out, bytes.len() as u64);
    out.extend_from_slice(bytes);
    out.into()
}

/// The fields of a message: their numbers, and the values of those that are integers.
fn fields(message: &[u8]) -> Vec<(u64, Option<u64>)> {
    let mut rest = message;
    let mut read = |skip: u64| -> Option<u64> {
        rest = &rest[skip as usize..];
        let length = rest.iter().position(|byte| byte & 0x80 == 0)? + 1;
        let (number, after) = rest.split_at(length);
        rest = after;
        Some(
            number
                .iter()
                .rev()
                .fold(0, |value, &byte| value << 7 | u64::from(byte & 0x7f)),
        )
    };
    let mut found = Vec::new();
    let mut skip = 0;
    while let Some(tag) = read(skip) {
        let value = read(0).expect("a whole message");
        let is_number = match tag & 7 {
            0 => true,
            2 => false,
            kind => panic!("a field of kind {kind}"),
        };
        skip = if is_number { 0 } else { value };
        found.push((tag >> 3, is_number.then_some(value)));
    }
    found
}

/// Connects as soon as the server listens, and makes the first put.
pub async fn first_put(port: u16) -> Client {
    loop {
        if let Ok(client) = Client::connect(port).await {
            client
                .call(
                    "KV/Put",
                    [field(1, b"first"), field(2, b"put")].concat().into(),
                )
                .await;
            return client;
        }
        tokio::time::sleep(std::time::Duration::from_micros(500)).await;
    }
}

/// The sizes in `/proc/PID/status` by name, in bytes: `RssAnon` and others.
pub fn memory(pid: u32) -> HashMap<String, u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = |line: &str| {
        let (name, rest) = line.split_once(':')?;
        let kilobytes: u64 = rest.trim().strip_suffix(" kB")?.trim().parse().ok()?;
        Some((name.to_string(), kilobytes * 1024))
    };
    text.lines().filter_map(line).collect()
}
