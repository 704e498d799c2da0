//! Bodies of requests: the limit on bytes in memory, and several messages in one body.

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
use super::wire;
use crate::schema::Message;
use crate::server::reply::HELD_BYTES_MAX;
use crate::server::store::Store;

/// JSON of a message is longer than the message: base64 by a third, a small put in a txn by more.
const JSON_PER_BYTE: usize = 4;

/// The received part of a body, counted with all bytes that the server holds in memory.
struct HeldBytes {
    bytes: Vec<u8>,
    store: Arc<Store>,
}

impl HeldBytes {
    fn new(store: &Arc<Store>) -> HeldBytes {
        HeldBytes {
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

    /// Drops the first bytes.
    fn drop_front(&mut self, bytes: usize) {
        self.bytes.drain(..bytes);
        self.store
            .counters
            .held_bytes
            .fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        self.store
            .counters
            .held_bytes
            .fetch_sub(self.bytes.len(), Ordering::Relaxed);
    }
}

/// Reads a body with one message to its end.
///
/// # Errors
///
/// The body is too large, or is not a message.
pub async fn whole(
    mut body: Incoming,
    message: &'static Message,
    store: &Arc<Store>,
) -> Result<Vec<u8>, Status> {
    let mut held = HeldBytes::new(store);
    while let Some(frame) = body.frame().await {
        if let Ok(chunk) = frame
            .map_err(|error| Status::invalid_argument(broken_off(&error)))?
            .into_data()
        {
            held.push(&chunk)?;
        }
    }
    read::message(message, &held.bytes).map_err(Status::invalid_argument)
}

/// The text of a body that broke off. Its code is that of a body that is not JSON, as in etcd.
fn broken_off(error: &hyper::Error) -> String {
    format!("the request ended early: {error}")
}

/// The messages of a body as gRPC frames, each as soon as it is complete.
pub struct JsonMessages {
    body: Incoming,
    message: &'static Message,
    held: HeldBytes,
    /// The start of the next value in the held bytes.
    start: usize,
    value: ValueScanner,
    /// The body has ended.
    ended: bool,
}

impl JsonMessages {
    pub fn new(body: Incoming, message: &'static Message, store: &Arc<Store>) -> JsonMessages {
        let value = ValueScanner::default();
        JsonMessages {
            body,
            message,
            held: HeldBytes::new(store),
            start: 0,
            value,
            ended: false,
        }
    }

    /// The next value that is complete, if there is one.
    fn next_value(&mut self) -> Option<Result<Bytes, Status>> {
        let rest = &self.held.bytes[self.start..];
        let end = match self.value.end(rest) {
            Some(end) => end,
            // a value that the end of the body cuts short is an error of the reader
            None if self.ended && !rest.trim_ascii().is_empty() => rest.len(),
            None => return None,
        };
        let message = read::message(self.message, &rest[..end]);
        self.start += end;
        self.value = ValueScanner::default();
        Some(
            message
                .map(|message| wire::frame(&message))
                .map_err(Status::invalid_argument),
        )
    }

    fn push(&mut self, chunk: &[u8]) -> Result<(), Status> {
        self.held.drop_front(std::mem::take(&mut self.start));
        self.held.push(chunk)
    }
}

impl Stream for JsonMessages {
    type Item = Result<Bytes, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(message) = self.next_value() {
                return Poll::Ready(Some(message));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            let pushed = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => frame.into_data().map_or(Ok(()), |chunk| self.push(&chunk)),
                Some(Err(error)) => Err(Status::invalid_argument(broken_off(&error))),
                None => {
                    self.ended = true;
                    Ok(())
                }
            };
            if let Err(refusal) = pushed {
                self.ended = true;
                self.start = self.held.bytes.len();
                return Poll::Ready(Some(Err(refusal)));
            }
        }
    }
}

/// Finds the end of a JSON value, which may arrive in pieces. It does not validate: any text
/// between matching brackets is a value.
#[derive(Default)]
struct ValueScanner {
    looked_at: usize,
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl ValueScanner {
    /// The end of the value at the start of `bytes`; `None` if it is incomplete. `bytes` must begin
    /// with the bytes of the previous call.
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
            // the reader refuses a value that is not an object by its first byte
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

    /// The values that are found if the text arrives byte by byte.
    fn ends(text: &str) -> Vec<&str> {
        let (mut found, mut start, mut value) = (Vec::new(), 0, ValueScanner::default());
        for upto in 0..=text.len() {
            while let Some(end) = value.end(&text.as_bytes()[start..upto]) {
                found.push(&text[start..start + end]);
                start += end;
                value = ValueScanner::default();
            }
        }
        found
    }

    #[test]
    fn value_ends_where_its_brackets_close() {
        assert_eq!(
            ends("{}{\"a\":[1,{}]}\n {\"}\":\"\\\"}\"} "),
            ["{}", "{\"a\":[1,{}]}", "\n {\"}\":\"\\\"}\"}"]
        );
        assert_eq!(ends("{\"a\":"), Vec::<&str>::new());
    }

    #[test]
    fn value_that_is_no_object_ends_at_once() {
        assert_eq!(ends("x{}"), ["x", "{}"]);
        assert_eq!(ends("}"), ["}"]);
    }
}
