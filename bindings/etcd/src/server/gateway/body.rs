//! Bodies of requests: how much of them may be held, and messages that follow each other in one.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use tonic::Status;

use super::read;
use super::schema::Message;
use super::wire;
use crate::server::reply::HELD_BYTES_MAX;
use crate::server::store::Store;

/// JSON of a message is longer than the message: base64 by a third, a small put in a txn by some more.
const JSON_PER_BYTE: usize = 4;

/// A part of a body that has come, counted with all that the server holds in memory.
struct Held {
    bytes: Vec<u8>,
    store: Arc<Store>,
}

impl Held {
    fn new(store: &Arc<Store>) -> Held {
        Held {
            bytes: Vec::new(),
            store: store.clone(),
        }
    }

    fn push(&mut self, chunk: &[u8]) -> Result<(), Status> {
        let (bytes, max) = (self.bytes.len() + chunk.len(), self.store.message_bytes_max);
        if bytes > max.saturating_mul(JSON_PER_BYTE) {
            let text = format!("grpc: received message larger than max ({bytes} vs. {max})");
            return Err(Status::resource_exhausted(text));
        }
        let before = self
            .store
            .counters
            .held_bytes
            .fetch_add(chunk.len(), Ordering::Relaxed);
        self.bytes.extend_from_slice(chunk);
        match before + chunk.len() > HELD_BYTES_MAX {
            true => Err(Status::resource_exhausted("etcdserver: too many requests")),
            false => Ok(()),
        }
    }

    /// Forgets the first bytes.
    fn forget(&mut self, bytes: usize) {
        self.bytes.drain(..bytes);
        self.store
            .counters
            .held_bytes
            .fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.store
            .counters
            .held_bytes
            .fetch_sub(self.bytes.len(), Ordering::Relaxed);
    }
}

/// Reads a body to its end: one message.
///
/// # Errors
///
/// It is larger than it may be, or no message.
pub async fn whole(
    mut body: Incoming,
    message: &'static Message,
    store: &Arc<Store>,
) -> Result<Vec<u8>, Status> {
    let mut held = Held::new(store);
    while let Some(frame) = body.frame().await {
        if let Ok(chunk) = frame
            .map_err(|error| Status::invalid_argument(broken(&error)))?
            .into_data()
        {
            held.push(&chunk)?;
        }
    }
    read::message(message, &held.bytes).map_err(Status::invalid_argument)
}

/// Has the code of a body that is no JSON, as with etcd.
fn broken(error: &hyper::Error) -> String {
    format!("the request broke off: {error}")
}

/// The messages that follow each other in a body, as gRPC's frames, each as soon as it has come whole.
pub struct Messages {
    body: Incoming,
    message: &'static Message,
    held: Held,
    /// Where the next value begins in what is held.
    start: usize,
    value: Value,
    /// There is no more to come.
    over: bool,
}

impl Messages {
    pub fn new(body: Incoming, message: &'static Message, store: &Arc<Store>) -> Messages {
        let value = Value::default();
        Messages {
            body,
            message,
            held: Held::new(store),
            start: 0,
            value,
            over: false,
        }
    }

    /// The next value of those that have come, if one is whole.
    fn take(&mut self) -> Option<Result<Bytes, Status>> {
        let rest = &self.held.bytes[self.start..];
        let end = match self.value.end(rest) {
            Some(end) => end,
            // a value that the end of the body cuts short is for the reader to complain of
            None if self.over && !rest.trim_ascii().is_empty() => rest.len(),
            None => return None,
        };
        let message = read::message(self.message, &rest[..end]);
        self.start += end;
        self.value = Value::default();
        Some(
            message
                .map(|message| wire::frame(&message))
                .map_err(Status::invalid_argument),
        )
    }

    fn push(&mut self, chunk: &[u8]) -> Result<(), Status> {
        self.held.forget(std::mem::take(&mut self.start));
        self.held.push(chunk)
    }
}

impl Stream for Messages {
    type Item = Result<Bytes, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(message) = self.take() {
                return Poll::Ready(Some(message));
            }
            if self.over {
                return Poll::Ready(None);
            }
            let pushed = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => frame.into_data().map_or(Ok(()), |chunk| self.push(&chunk)),
                Some(Err(error)) => Err(Status::invalid_argument(broken(&error))),
                None => {
                    self.over = true;
                    Ok(())
                }
            };
            if let Err(refusal) = pushed {
                self.over = true;
                self.start = self.held.bytes.len();
                return Poll::Ready(Some(Err(refusal)));
            }
        }
    }
}

/// Finds the end of a JSON value, which may come in pieces. It is no judge of it: whatever is between
/// brackets that close is a value.
#[derive(Default)]
struct Value {
    looked_at: usize,
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl Value {
    /// The end of the value at the front; none if more must come. `bytes` begins as it did the last time.
    fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        while let Some(&byte) = bytes.get(self.looked_at) {
            self.looked_at += 1;
            if self.in_string {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' if self.depth == 0 => return Some(self.looked_at),
                    b'"' => self.in_string = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                b'"' => self.in_string = true,
                _ => {}
            }
            // the reader refuses by its first byte what is no object
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => {}
                _ if self.depth == 0 && !self.in_string => return Some(self.looked_at),
                _ => {}
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where values end, given byte by byte.
    fn ends(text: &str) -> Vec<&str> {
        let (mut found, mut start, mut value) = (Vec::new(), 0, Value::default());
        for upto in 0..=text.len() {
            while let Some(end) = value.end(&text.as_bytes()[start..upto]) {
                found.push(&text[start..start + end]);
                start += end;
                value = Value::default();
            }
        }
        found
    }

    #[test]
    fn values_end_where_their_brackets_close() {
        assert_eq!(
            ends("{}{\"a\":[1,{}]}\n {\"}\":\"\\\"}\"} "),
            ["{}", "{\"a\":[1,{}]}", "\n {\"}\":\"\\\"}\"}"]
        );
        assert_eq!(ends("{\"a\":"), Vec::<&str>::new());
    }

    #[test]
    fn what_is_no_object_ends_at_once() {
        assert_eq!(ends("x{}"), ["x", "{}"]);
        assert_eq!(ends("}"), ["}"]);
    }
}
