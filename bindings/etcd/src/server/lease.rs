//! The service Lease.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use libkv::{KeyRange, LeaseGrant, LeaseId, LeaseRevoke, LeaseTimeToLive};
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

use super::auth::Caller;
use super::reply::{ServiceResult, caller};
use super::store::Store;
use super::store::stopped;
use crate::convert::{self, refusal};
use crate::pb::etcdserverpb::{self as pb, lease_server};

/// Grants, revocations, keep-alives and the remaining time of a lease.
pub(crate) struct Lease(pub Arc<Store>);

#[tonic::async_trait]
impl lease_server::Lease for Lease {
    async fn lease_grant(
        &self,
        request: Request<pb::LeaseGrantRequest>,
    ) -> ServiceResult<pb::LeaseGrantResponse> {
        let caller = caller(&request).clone();
        let pb::LeaseGrantRequest { ttl, id } = request.into_inner();
        let grant = LeaseGrant::new(ttl).id(id);
        let libkv::Response::LeaseGrant(granted) = self.0.call(&caller, grant).await? else {
            return Err(convert::wrong_response());
        };
        let header = self.0.identity.header(granted.revision);
        Ok(Response::new(pb::LeaseGrantResponse {
            header,
            id: granted.id,
            ttl: granted.ttl_seconds,
            error: String::new(),
        }))
    }

    async fn lease_revoke(
        &self,
        request: Request<pb::LeaseRevokeRequest>,
    ) -> ServiceResult<pb::LeaseRevokeResponse> {
        let id = request.get_ref().id;
        let revoke = LeaseRevoke { id };
        let libkv::Response::LeaseRevoke(revoked) = self.0.call(caller(&request), revoke).await?
        else {
            return Err(convert::wrong_response());
        };
        Ok(Response::new(pb::LeaseRevokeResponse {
            header: self.0.identity.header(revoked.revision),
        }))
    }

    type LeaseKeepAliveStream = KeepAlives;

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<pb::LeaseKeepAliveRequest>>,
    ) -> ServiceResult<Self::LeaseKeepAliveStream> {
        let closed = Box::pin(self.0.closed());
        Ok(Response::new(KeepAlives {
            store: self.0.clone(),
            caller: caller(&request).clone(),
            requests: request.into_inner(),
            closed,
        }))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<pb::LeaseTimeToLiveRequest>,
    ) -> ServiceResult<pb::LeaseTimeToLiveResponse> {
        let rights = self.0.guard.rights(caller(&request))?;
        rights.any_user()?;
        let pb::LeaseTimeToLiveRequest { id, keys } = request.into_inner();
        // read first: a client that resumes from this revision misses no change of the keys
        let header = self.0.identity.header(self.0.revision()?);
        let left = self
            .0
            .db
            .lease_time_to_live(LeaseTimeToLive::new(id).keys(keys))
            .map_err(refusal)?;
        left.keys
            .iter()
            .try_for_each(|key| rights.read(&KeyRange::key(key.to_vec())))?;
        Ok(Response::new(pb::LeaseTimeToLiveResponse {
            header,
            id,
            ttl: left.ttl_seconds,
            granted_ttl: left.granted_ttl_seconds,
            keys: left.keys.into_iter().map(Into::into).collect(),
        }))
    }

    async fn lease_leases(
        &self,
        request: Request<pb::LeaseLeasesRequest>,
    ) -> ServiceResult<pb::LeaseLeasesResponse> {
        let rights = self.0.guard.rights(caller(&request))?;
        rights.any_user()?;
        let header = self.0.identity.header(self.0.revision()?);
        let leases = self.0.db.lease_list().map_err(refusal)?;
        Ok(Response::new(pb::LeaseLeasesResponse {
            header,
            // a lease with keys that the caller may not read is not shown
            leases: leases
                .into_iter()
                .filter(|id| rights.read_lease(&self.0.db, *id).is_ok())
                .map(|id| pb::LeaseStatus { id })
                .collect(),
        }))
    }
}

/// Renews a lease once: the response of a stream to one request, with TTL 0 if there is no such
/// lease.
fn keep_alive(
    store: &Store,
    caller: &Caller,
    id: LeaseId,
) -> Result<pb::LeaseKeepAliveResponse, Status> {
    let rights = store.guard.rights(caller)?;
    rights.any_user()?;
    rights.write_lease(&store.db, id)?;
    // read first: after the renewal nothing may fail
    let header = store.identity.header(store.revision()?);
    let kept = store.db.lease_keep_alive(id).map_err(refusal)?;
    Ok(pb::LeaseKeepAliveResponse {
        header,
        id,
        ttl: kept.ttl_seconds,
    })
}

/// One response for each request, in order. It ends when the client ends its requests, or with the
/// server.
pub(crate) struct KeepAlives {
    store: Arc<Store>,
    caller: Caller,
    requests: Streaming<pb::LeaseKeepAliveRequest>,
    closed: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Stream for KeepAlives {
    type Item = Result<pb::LeaseKeepAliveResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.closed.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err(stopped())));
        }
        let request = ready!(Pin::new(&mut self.requests).poll_next(cx));
        let counters = &self.store.counters;
        Poll::Ready(request.map(|request| {
            keep_alive(&self.store, &self.caller, request?.id)
                .inspect(|kept| counters.renewed(kept.ttl))
        }))
    }
}
