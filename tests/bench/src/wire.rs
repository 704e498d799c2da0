//! The lightest client of etcd's protocol: one HTTP/2 connection on one thread, messages written by
//! hand, so that the server is what is measured.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::{self, SendRequest};
use h2::{RecvStream, SendStream};
use http::Request;
use tokio::net::TcpStream;

/// What the server may send ahead: more than any answer here, so that it never waits for us.
const WINDOW_BYTES: u32 = 64 << 20;

/// A connection.
#[derive(Clone)]
pub struct Client {
    send: SendRequest<Bytes>,
    base: Arc<str>,
}

impl Client {
    /// Connects; within a runtime, which keeps the connection going.
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
            // how it ended is seen by whoever waits for an answer
            let _ = connection.await;
        });
        Ok(Client {
            send,
            base: format!("http://127.0.0.1:{port}").into(),
        })
    }

    /// Begins a request; `last` if nothing more is said.
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
            .expect("the connection stands");
        let (response, mut stream) = send
            .send_request(request, false)
            .expect("the connection stands");
        stream
            .send_data(frame(&message), last)
            .expect("the stream stands");
        (response, stream)
    }

    /// Asks, and answers the message that comes.
    pub async fn call(&self, method: &str, message: Bytes) -> Bytes {
        let (response, _stream) = self.begin(method, message, true).await;
        let response = response.await.expect("an answer");
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

    /// Asks `total` times, `at_once` at a time.
    pub async fn many<F>(&self, method: &'static str, total: u64, at_once: u64, message: F)
    where
        F: Fn(u64) -> Bytes + Send + Sync + 'static,
    {
        let message = Arc::new(message);
        let mut going = tokio::task::JoinSet::new();
        for worker in 0..at_once {
            let (client, message) = (self.clone(), message.clone());
            going.spawn(async move {
                for number in (worker..total).step_by(at_once as usize) {
                    client.call(method, message(number)).await;
                }
            });
        }
        while let Some(done) = going.join_next().await {
            done.expect("it was answered");
        }
    }

    /// A stream of watches on this key, `watches` of them, all created.
    pub async fn watch(&self, key: &[u8], watches: usize) -> Watching {
        let create = field(1, &field(1, key));
        let (response, mut stream) = self.begin("Watch/Watch", create.clone(), false).await;
        for _ in 1..watches {
            stream
                .send_data(frame(&create), false)
                .expect("the stream stands");
        }
        let response = response.await.expect("an answer");
        let mut watching = Watching {
            messages: Messages::new(response.into_body()),
            _stream: stream,
        };
        for _ in 0..watches {
            let message = watching.messages.next().await.expect("it is created");
            assert!(fields(&message).contains(&(3, Some(1))), "not created");
        }
        watching
    }
}

/// Watches on one stream.
pub struct Watching {
    messages: Messages,
    /// As long as this lives more could be said.
    _stream: SendStream<Bytes>,
}

impl Watching {
    /// Waits until `count` events have come.
    pub async fn events(&mut self, count: usize) {
        let mut seen = 0;
        while seen < count {
            let message = self.messages.next().await.expect("the watch stands");
            seen += fields(&message)
                .iter()
                .filter(|(number, _)| *number == 11)
                .count();
        }
        assert_eq!(seen, count, "too many events");
    }
}

/// The messages of an answer, cut at their lengths.
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
            let chunk = self.stream.data().await?.expect("the stream stands");
            self.stream
                .flow_control()
                .release_capacity(chunk.len())
                .expect("what came");
            self.bytes.extend_from_slice(&chunk);
        }
    }
}

/// A message as gRPC sends it.
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

/// The fields of a message: their places and, of a number, its value.
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

/// What a server's first answer takes: connects as soon as it listens, and puts.
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

/// Figures of a process that the system keeps, by name, in bytes: `RssAnon` and others.
pub fn memory(pid: u32) -> HashMap<String, u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = |line: &str| {
        let (name, rest) = line.split_once(':')?;
        let kilobytes: u64 = rest.trim().strip_suffix(" kB")?.trim().parse().ok()?;
        Some((name.to_string(), kilobytes * 1024))
    };
    text.lines().filter_map(line).collect()
}
