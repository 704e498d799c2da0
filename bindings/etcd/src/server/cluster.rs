//! The service Cluster: the list of one member; changes are refused.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::reply::ServiceResult;
use super::store::Store;
use crate::pb::etcdserverpb::{self as pb, cluster_server};

/// The list of the one member.
pub(crate) struct Cluster(pub Arc<Store>);

fn unsupported() -> Status {
    Status::unimplemented("etcdserver: a libkv store has one member, which cannot be changed")
}

#[tonic::async_trait]
impl cluster_server::Cluster for Cluster {
    async fn member_list(
        &self,
        _: Request<pb::MemberListRequest>,
    ) -> ServiceResult<pb::MemberListResponse> {
        let Store {
            identity,
            name,
            peer_urls,
            client_urls,
            ..
        } = &*self.0;
        let member = pb::Member {
            id: identity.member_id,
            name: name.clone(),
            peer_ur_ls: peer_urls.clone(),
            client_ur_ls: client_urls.clone(),
            is_learner: false,
        };
        Ok(Response::new(pb::MemberListResponse {
            header: identity.header(0),
            members: vec![member],
        }))
    }

    async fn member_add(
        &self,
        _: Request<pb::MemberAddRequest>,
    ) -> ServiceResult<pb::MemberAddResponse> {
        Err(unsupported())
    }

    async fn member_remove(
        &self,
        _: Request<pb::MemberRemoveRequest>,
    ) -> ServiceResult<pb::MemberRemoveResponse> {
        Err(unsupported())
    }

    async fn member_update(
        &self,
        _: Request<pb::MemberUpdateRequest>,
    ) -> ServiceResult<pb::MemberUpdateResponse> {
        Err(unsupported())
    }

    async fn member_promote(
        &self,
        _: Request<pb::MemberPromoteRequest>,
    ) -> ServiceResult<pb::MemberPromoteResponse> {
        Err(unsupported())
    }
}
