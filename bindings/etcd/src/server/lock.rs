//! The service Lock, contract 12.

use std::sync::Arc;

use libkv::Delete;
use tonic::{Request, Status};

use super::line::{Place, another_kind, lease_or_new, refused, unknown};
use super::reply::ServiceResult;
use super::store::Store;
use crate::pb::v3lockpb as pb;
use crate::pb::v3lockpb::lock_server;

/// Locks by name. A lock is its key: it is held until that is deleted, by its client or with its lease.
pub(crate) struct LockService(pub Arc<Store>);

impl LockService {
    async fn acquire(&self, request: pb::LockRequest) -> Result<pb::LockResponse, Status> {
        let lease = lease_or_new(&self.0, request.lease).await?;
        let mut place = Place::take(&self.0, &request.name, lease, b"").await?;
        let Some(revision) = place.wait().await? else {
            return Err(refused("mutex: session is expired"));
        };
        place.keep();
        let key = std::mem::take(&mut place.key).into();
        Ok(pb::LockResponse {
            header: self.0.identity.header(revision),
            key,
        })
    }
}

#[tonic::async_trait]
impl lock_server::Lock for LockService {
    async fn lock(&self, request: Request<pb::LockRequest>) -> ServiceResult<pb::LockResponse> {
        self.acquire(request.into_inner())
            .await
            .map(tonic::Response::new)
            .map_err(unknown)
    }

    async fn unlock(
        &self,
        request: Request<pb::UnlockRequest>,
    ) -> ServiceResult<pb::UnlockResponse> {
        let delete = Delete::new(Vec::from(request.into_inner().key));
        let libkv::Response::Delete(deleted) = self.0.call(delete).await.map_err(unknown)? else {
            return Err(another_kind());
        };
        Ok(tonic::Response::new(pb::UnlockResponse {
            header: self.0.identity.header(deleted.revision),
        }))
    }
}
