//! The service Lock, contract 12.

use std::sync::Arc;

use libkv::Delete;
use tonic::{Request, Status};

use super::auth::Caller;
use super::claim::{claim, lease_or_new, request_for, unknown};
use super::reply::{ServiceResult, caller};
use super::store::Store;
use crate::convert::wrong_response;
use crate::pb::v3lockpb as pb;
use crate::pb::v3lockpb::lock_server;

/// Locks by name. A lock is its key: it is held until the key is deleted, by its client or with its
/// lease.
pub(crate) struct LockService(pub Arc<Store>);

impl LockService {
    async fn acquire(
        &self,
        caller: &Caller,
        request: pb::LockRequest,
    ) -> Result<pb::LockResponse, Status> {
        let lease = lease_or_new(&self.0, caller, request.lease).await?;
        let request = request_for(&self.0, caller, &request.name, lease)?;
        let claim = claim(&self.0, request, "mutex: session is expired").await?;
        Ok(pb::LockResponse {
            header: self.0.identity.header(claim.held_since()),
            key: claim.key().to_vec().into(),
        })
    }
}

#[tonic::async_trait]
impl lock_server::Lock for LockService {
    async fn lock(&self, request: Request<pb::LockRequest>) -> ServiceResult<pb::LockResponse> {
        self.acquire(&caller(&request).clone(), request.into_inner())
            .await
            .map(tonic::Response::new)
            .map_err(unknown)
    }

    async fn unlock(
        &self,
        request: Request<pb::UnlockRequest>,
    ) -> ServiceResult<pb::UnlockResponse> {
        let caller = caller(&request).clone();
        let delete = Delete::new(Vec::from(request.into_inner().key));
        let libkv::Response::Delete(deleted) =
            self.0.call(&caller, delete).await.map_err(unknown)?
        else {
            return Err(wrong_response());
        };
        Ok(tonic::Response::new(pb::UnlockResponse {
            header: self.0.identity.header(deleted.revision),
        }))
    }
}
