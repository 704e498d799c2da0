//! The service Cluster: one member, whose peer URLs can be replaced. It cannot be removed, and no
//! other can be added.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::peer_urls;
use super::reply::ServiceResult;
use super::store::Store;
use crate::convert::{self, refusal};
use crate::pb::etcdserverpb::{self as pb, cluster_server};
use crate::sync::lock;

/// The list of the one member.
pub(crate) struct Cluster(pub Arc<Store>);

impl Cluster {
    fn members(&self) -> Vec<pb::Member> {
        let Store {
            identity,
            name,
            peer_urls,
            client_urls,
            ..
        } = &*self.0;
        vec![pb::Member {
            id: identity.member_id,
            name: name.clone(),
            peer_ur_ls: lock(peer_urls).clone(),
            client_ur_ls: client_urls.clone(),
            is_learner: false,
        }]
    }

    /// Refuses every id but that of the one member.
    fn check_id(&self, id: u64) -> Result<(), Status> {
        if id != self.0.identity.member_id {
            return Err(Status::not_found("etcdserver: member not found"));
        }
        Ok(())
    }
}

fn bad_urls() -> Status {
    Status::invalid_argument("etcdserver: given member URLs are invalid")
}

#[tonic::async_trait]
impl cluster_server::Cluster for Cluster {
    async fn member_list(
        &self,
        _: Request<pb::MemberListRequest>,
    ) -> ServiceResult<pb::MemberListResponse> {
        Ok(Response::new(pb::MemberListResponse {
            header: self.0.identity.header(0),
            members: self.members(),
        }))
    }

    async fn member_add(
        &self,
        request: Request<pb::MemberAddRequest>,
    ) -> ServiceResult<pb::MemberAddResponse> {
        let pb::MemberAddRequest {
            peer_ur_ls,
            is_learner,
        } = request.into_inner();
        let urls = peer_urls::parse(&peer_ur_ls).ok_or_else(bad_urls)?;
        let is_taken = urls.iter().any(|url| lock(&self.0.peer_urls).contains(url));
        if is_taken {
            return Err(Status::failed_precondition(
                "etcdserver: Peer URLs already exists",
            ));
        }
        // a store refuses, and its message explains how to move to a cluster
        match self.0.db.member_add(urls, is_learner) {
            Err(error) => Err(refusal(error)),
            Ok(_) => Err(convert::wrong_response()),
        }
    }

    async fn member_remove(
        &self,
        request: Request<pb::MemberRemoveRequest>,
    ) -> ServiceResult<pb::MemberRemoveResponse> {
        self.check_id(request.into_inner().id)?;
        Err(Status::failed_precondition(
            "etcdserver: re-configuration failed due to not enough started members",
        ))
    }

    /// The URLs last as long as the server: nothing connects to them.
    async fn member_update(
        &self,
        request: Request<pb::MemberUpdateRequest>,
    ) -> ServiceResult<pb::MemberUpdateResponse> {
        let pb::MemberUpdateRequest { id, peer_ur_ls } = request.into_inner();
        self.check_id(id)?;
        *lock(&self.0.peer_urls) = peer_urls::parse(&peer_ur_ls).ok_or_else(bad_urls)?;
        Ok(Response::new(pb::MemberUpdateResponse {
            header: self.0.identity.header(0),
            members: self.members(),
        }))
    }

    async fn member_promote(
        &self,
        request: Request<pb::MemberPromoteRequest>,
    ) -> ServiceResult<pb::MemberPromoteResponse> {
        self.check_id(request.into_inner().id)?;
        Err(Status::failed_precondition(
            "etcdserver: can only promote a learner member",
        ))
    }
}
