//! The rpc Watch: opens a stream, combines fragments, and reads why a watch ended.

use libkv::Event;
use tokio_stream::StreamExt;
use tonic::{Status, Streaming};

use super::link::{Link, Token};
use crate::convert;
use crate::pb::etcdserverpb as pb;
use crate::pb::etcdserverpb::watch_request::RequestUnion;

/// Opens a stream with one watch on it.
pub(crate) async fn open(
    link: &Link,
    create: pb::WatchCreateRequest,
    token: &Token,
) -> std::result::Result<Streaming<pb::WatchResponse>, Status> {
    // the requests of the stream do not end before its responses are dropped
    open_with_requests(link, create, token, tokio_stream::pending()).await
}

/// The same, with requests that follow. The requests of the stream end when `requests` ends.
pub(crate) async fn open_with_requests(
    link: &Link,
    create: pb::WatchCreateRequest,
    token: &Token,
    requests: impl tokio_stream::Stream<Item = RequestUnion> + Send + 'static,
) -> std::result::Result<Streaming<pb::WatchResponse>, Status> {
    let all = tokio_stream::once(RequestUnion::CreateRequest(create)).chain(requests);
    let all = all.map(|union| pb::WatchRequest {
        request_union: Some(union),
    });
    link.streaming("/etcdserverpb.Watch/Watch", all, token)
        .await
}

/// Combines fragments: it returns events in whole revisions.
#[derive(Default)]
pub(crate) struct Assembler {
    partial: Vec<Event>,
}

impl Assembler {
    /// The revisions that are complete with this message.
    pub fn take(&mut self, message: pb::WatchResponse) -> Vec<Event> {
        self.partial
            .extend(message.events.into_iter().map(convert::event_in));
        if !message.fragment {
            return std::mem::take(&mut self.partial);
        }
        // the last revision may continue in the next piece
        let last = self.partial.last().map_or(0, |event| event.kv.mod_revision);
        let whole = self
            .partial
            .partition_point(|event| event.kv.mod_revision < last);
        let rest = self.partial.split_off(whole);
        std::mem::replace(&mut self.partial, rest)
    }
}

/// The status for a watch that the server ended, from its text: `rpc error: code = X desc = Y` for
/// refusals of auth.
pub(crate) fn cancel_status(reason: &str) -> Status {
    use tonic::Code as Wire;
    let known = reason
        .strip_prefix("rpc error: code = ")
        .and_then(|rest| rest.split_once(" desc = "));
    let (code, text) = match known {
        Some(("PermissionDenied", text)) => (Wire::PermissionDenied, text),
        Some(("Unauthenticated", text)) => (Wire::Unauthenticated, text),
        Some(("InvalidArgument", text)) => (Wire::InvalidArgument, text),
        Some((_, text)) => (Wire::Unavailable, text),
        None if reason == "mvcc: watcher range is empty" => (Wire::InvalidArgument, reason),
        None => (Wire::Unavailable, reason),
    };
    Status::new(code, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::mvccpb;

    fn message(revisions: &[i64], fragment: bool) -> pb::WatchResponse {
        let event = |revision: &i64| {
            let kv = mvccpb::KeyValue {
                mod_revision: *revision,
                ..Default::default()
            };
            mvccpb::Event {
                kv: Some(kv),
                ..Default::default()
            }
        };
        pb::WatchResponse {
            events: revisions.iter().map(event).collect(),
            fragment,
            ..Default::default()
        }
    }

    #[test]
    fn fragments_become_whole_revisions() {
        let mut assembler = Assembler::default();
        let mut take = |revisions: &[i64], fragment| -> Vec<i64> {
            let events = assembler.take(message(revisions, fragment));
            events.iter().map(|event| event.kv.mod_revision).collect()
        };
        assert_eq!(take(&[5, 6], false), [5, 6]);
        assert_eq!(take(&[7, 8, 8], true), [7]);
        assert!(take(&[8], true).is_empty());
        assert_eq!(take(&[9], true), [8, 8, 8]);
        assert_eq!(take(&[9, 10], false), [9, 9, 10]);
        assert!(take(&[11], true).is_empty());
        assert_eq!(take(&[], false), [11]);
    }
}
