//! The service Watch: many watches on one stream, contract 10.
//!
//! A stream is a [`Session`], which the connection polls when the client has room for more: nothing is
//! queued for a client that does not read. A watch of it is a libkv [`Watcher`](libkv::Watcher), which is
//! only a position in the log; when something happens to it, it marks itself in the session's [`marks`]
//! and wakes it. So 10,000 quiet watches cost their memory and no time, and however slow a client is, no
//! event is dropped for want of room.

mod follow;
mod marks;
mod session;

use std::sync::Arc;

use futures_core::Stream;
use tonic::{Request, Response, Status, Streaming};

pub(crate) use self::session::Session;
use super::{Answered, Store};
use crate::pb::etcdserverpb as pb;
use crate::pb::etcdserverpb::watch_server;

/// Follows keys for clients.
pub(crate) struct WatchService(pub Arc<Store>);

impl WatchService {
    /// The answers to a client's requests, wherever those come from. The end of the requests does not end
    /// the answers (contract 10.15).
    pub fn follow<R>(&self, requests: R) -> Session<R>
    where
        R: Stream<Item = Result<pb::WatchRequest, Status>> + Unpin,
    {
        Session::new(self.0.clone(), requests)
    }
}

#[tonic::async_trait]
impl watch_server::Watch for WatchService {
    type WatchStream = Session<Streaming<pb::WatchRequest>>;

    async fn watch(
        &self,
        request: Request<Streaming<pb::WatchRequest>>,
    ) -> Answered<Self::WatchStream> {
        Ok(Response::new(self.follow(request.into_inner())))
    }
}
