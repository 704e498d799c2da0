//! The service Watch: many watches on one stream, contract 10.
//!
//! A stream is a [`Session`], which the connection polls when the client has room for more: nothing
//! is queued for a client that does not read. Each of its watches is a libkv
//! [`Watcher`](libkv::Watcher), which is only a position in the log. When a watch has something to
//! send, it adds itself to the session's [`ready_queue`] and wakes the session. So 10,000 quiet
//! watches use memory but no CPU time, and no event is dropped because a client is slow.

mod active_watch;
mod ready_queue;
mod session;

use std::sync::Arc;

use futures_core::Stream;
use tonic::{Request, Response, Status, Streaming};

pub(crate) use self::session::Session;
use super::auth::Caller;
use super::reply::{ServiceResult, caller};
use super::store::Store;
use crate::pb::etcdserverpb as pb;
use crate::pb::etcdserverpb::watch_server;

/// Serves watches to clients.
pub(crate) struct WatchService(pub Arc<Store>);

impl WatchService {
    /// The responses to a client's requests, from any source. The end of the requests does not end
    /// the responses (contract 10.15).
    pub fn session<R>(&self, caller: Caller, requests: R) -> Session<R>
    where
        R: Stream<Item = Result<pb::WatchRequest, Status>> + Unpin,
    {
        Session::new(self.0.clone(), caller, requests)
    }
}

#[tonic::async_trait]
impl watch_server::Watch for WatchService {
    type WatchStream = Session<Streaming<pb::WatchRequest>>;

    async fn watch(
        &self,
        request: Request<Streaming<pb::WatchRequest>>,
    ) -> ServiceResult<Self::WatchStream> {
        let caller = caller(&request).clone();
        Ok(Response::new(self.session(caller, request.into_inner())))
    }
}
