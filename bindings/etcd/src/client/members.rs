//! The members of a cluster, and the hash that they compare. The changes take the deadline of their
//! caller: one that was sent by then may be made without it.

use std::sync::Arc;
use std::time::Instant;

use libkv::{Code, Error, HashKvResponse, Member, Result, Revision};
use prost::Message;
use tokio::time::timeout_at;

use super::call::{Call, Effect, Ticket, timed_out};
use super::cluster::{Cluster, after};
use super::request::explain;
use crate::convert;
use crate::pb::etcdserverpb as pb;

/// etcd's refusal by a member that does not lead.
const NOT_LEADER: &str = "not leader";

/// A change to be made: its cluster, and the deadline of the caller.
#[derive(Clone)]
pub(crate) struct Change {
    pub cluster: Arc<Cluster>,
    pub until: Option<Instant>,
}

pub(crate) async fn list(cluster: Arc<Cluster>) -> Result<Vec<Member>> {
    let message = pb::MemberListRequest { linearizable: true };
    let call = Call::read(&cluster);
    let response: pb::MemberListResponse = call
        .run("/etcdserverpb.Cluster/MemberList", message)
        .await?;
    Ok(response.members.into_iter().map(member_in).collect())
}

impl Change {
    pub async fn add(self, peer_urls: Vec<String>, learner: bool) -> Result<Member> {
        let message = pb::MemberAddRequest {
            peer_ur_ls: peer_urls,
            is_learner: learner,
        };
        let find_out = "member_list has a member with these URLs if it was added";
        let response: pb::MemberAddResponse = self
            .send("/etcdserverpb.Cluster/MemberAdd", message, find_out)
            .await?;
        let added = response.member.map(member_in);
        added.ok_or_else(|| {
            let message = "the member was added, but the response does not name it";
            Error::new(Code::UnknownOutcome, message)
        })
    }

    pub async fn remove(self, id: u64) -> Result<()> {
        let message = pb::MemberRemoveRequest { id };
        let find_out = "member_list has the member unless it was removed";
        let sent = self.send("/etcdserverpb.Cluster/MemberRemove", message, find_out);
        let _: pb::MemberRemoveResponse = sent.await?;
        Ok(())
    }

    pub async fn update(self, id: u64, peer_urls: Vec<String>) -> Result<()> {
        let message = pb::MemberUpdateRequest {
            id,
            peer_ur_ls: peer_urls,
        };
        let find_out = "member_list shows the URLs of the member";
        let sent = self.send("/etcdserverpb.Cluster/MemberUpdate", message, find_out);
        let _: pb::MemberUpdateResponse = sent.await?;
        Ok(())
    }

    pub async fn promote(self, id: u64) -> Result<()> {
        let message = pb::MemberPromoteRequest { id };
        let find_out = "member_list shows whether the member is a learner";
        let sent = self.send("/etcdserverpb.Cluster/MemberPromote", message, find_out);
        let _: pb::MemberPromoteResponse = sent.await?;
        Ok(())
    }

    /// Only the leader can do this, so a refusal of another member is followed by an attempt at the
    /// next endpoint.
    pub async fn move_leader(self, id: u64) -> Result<()> {
        let mut attempts = self.cluster.endpoint_count();
        loop {
            let message = pb::MoveLeaderRequest { target_id: id };
            let find_out = "Move it again: to the leader itself it has no effect";
            let sent = self.send("/etcdserverpb.Maintenance/MoveLeader", message, find_out);
            let moved: Result<pb::MoveLeaderResponse> = sent.await;
            match moved {
                Err(error) if is_not_leader(&error) && attempts > 1 => {
                    let wait = after(self.cluster.connect_timeout);
                    let link = self.cluster.link(wait).await?;
                    self.cluster.leave(&link);
                }
                Err(error) if is_not_leader(&error) => {
                    return Err(error.with_detail("no endpoint of this handle is the leader's"));
                }
                moved => return moved.map(drop),
            }
            attempts -= 1;
        }
    }

    /// Sends a change, which is not repeated if it may have been made.
    async fn send<A, B>(&self, path: &'static str, message: A, find_out: &str) -> Result<B>
    where
        A: Message + Clone + 'static,
        B: Message + Default + 'static,
    {
        let effect = Effect::Writes(find_out.into());
        let ticket = Arc::new(Ticket::default());
        let call = Call::new(self.cluster.clone(), effect.clone(), ticket.clone());
        let task = call.run(path, message);
        let response = match self.until {
            None => task.await,
            Some(until) => match timeout_at(until.into(), task).await {
                Ok(response) => response,
                Err(_) if ticket.expire() => Err(timed_out()),
                Err(_) => Err(effect.unknown("no response within the time limit")),
            },
        };
        match response {
            // a response came, whatever it contains
            Err(error) if error.code() == Code::Internal => Err(effect.unknown(error.message())),
            response => response,
        }
    }
}

fn is_not_leader(error: &Error) -> bool {
    error.code() == Code::FailedPrecondition && error.message() == NOT_LEADER
}

pub(crate) async fn hash_kv(cluster: Arc<Cluster>, revision: Revision) -> Result<HashKvResponse> {
    if revision < 0 {
        let message = format!("the revision is {revision}; 0 is the current one");
        return Err(Error::new(Code::InvalidArgument, message));
    }
    let call = Call::read(&cluster);
    let message = pb::HashKvRequest { revision };
    let response = call.run("/etcdserverpb.Maintenance/HashKV", message).await;
    let response: pb::HashKvResponse = match response {
        Err(error) => return Err(explain(&cluster, error, None, revision, 0).await),
        Ok(response) => response,
    };
    let mut hashed = HashKvResponse::default();
    hashed.revision = convert::revision_in(&response.header);
    hashed.hash = response.hash;
    hashed.compact_revision = response.compact_revision;
    // etcd before 3.6 does not report it
    hashed.hash_revision = [response.hash_revision, revision, hashed.revision]
        .into_iter()
        .find(|revision| *revision != 0)
        .unwrap_or_default();
    Ok(hashed)
}

fn member_in(member: pb::Member) -> Member {
    let mut out = Member::default();
    out.id = member.id;
    out.name = member.name;
    out.peer_urls = member.peer_ur_ls;
    out.client_urls = member.client_ur_ls;
    out.is_learner = member.is_learner;
    out
}
