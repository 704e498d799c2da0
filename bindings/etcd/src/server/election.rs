//! The service Election, contract 12.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use libkv::support::{claim_prefix, holder_request};
use libkv::{
    Code, Compare, CompareResult, Delete, Error, EventKind, KeyRange, KeyValue, Put, Revision, Txn,
    Watch, WatchBatch, Watcher,
};
use tonic::{Request, Response, Status};

use super::auth::Caller;
use super::claim::{claim, lease_or_new, refused, request_for, unknown};
use super::reply::{ServiceResult, caller};
use super::store::{Store, stopped};
use crate::convert::{kv_out, refusal, wrong_response};
use crate::pb::etcdserverpb::ResponseHeader;
use crate::pb::v3electionpb as pb;
use crate::pb::v3electionpb::election_server;

/// Elections by name. The leader has the key that was created first; the key's value is what it
/// proclaims.
pub(crate) struct ElectionService(pub Arc<Store>);

/// Batches without a new leader that are read before other tasks run.
const STEPS: usize = 16;
/// etcd's text for a caller that does not lead, or no longer leads.
const NOT_LEADER: &str = "election: not leader";

fn leader_of(given: Option<pb::LeaderKey>) -> Result<pb::LeaderKey, Status> {
    given.ok_or_else(|| refused("\"leader\" field must be provided"))
}

impl ElectionService {
    async fn run_campaign(
        &self,
        caller: &Caller,
        request: pb::CampaignRequest,
    ) -> Result<pb::CampaignResponse, Status> {
        let lease = lease_or_new(&self.0, caller, request.lease).await?;
        let claim_request =
            request_for(&self.0, caller, &request.name, lease)?.value(request.value);
        let claim = claim(&self.0, claim_request, NOT_LEADER).await?;
        let leader = pb::LeaderKey {
            name: request.name,
            key: claim.key().to_vec().into(),
            rev: claim.revision(),
            lease,
        };
        Ok(pb::CampaignResponse {
            header: self.0.identity.header(claim.held_since()),
            leader: Some(leader),
        })
    }

    /// Puts the value of a leader, if its key is still the one that was created then.
    async fn put(
        &self,
        caller: &Caller,
        key: &[u8],
        created: Revision,
        lease: i64,
        value: &[u8],
    ) -> Result<Option<ResponseHeader>, Status> {
        let put = Txn::new()
            .when(Compare::create_revision(key, CompareResult::Equal, created))
            .and_then(Put::new(key, value).lease(lease));
        match self.0.call(caller, put).await? {
            libkv::Response::Txn(response) if response.succeeded => {
                Ok(self.0.identity.header(response.revision))
            }
            libkv::Response::Txn(_) => Err(refused(NOT_LEADER)),
            _ => Err(wrong_response()),
        }
    }

    async fn run_proclaim(
        &self,
        caller: &Caller,
        request: pb::ProclaimRequest,
    ) -> Result<pb::ProclaimResponse, Status> {
        let leader = leader_of(request.leader)?;
        let lease = lease_or_new(&self.0, caller, leader.lease).await?;
        let header = self
            .put(caller, &leader.key, leader.rev, lease, &request.value)
            .await?;
        Ok(pb::ProclaimResponse { header })
    }

    async fn read_leader(
        &self,
        caller: &Caller,
        request: pb::LeaderRequest,
    ) -> Result<pb::LeaderResponse, Status> {
        let prefix = claim_prefix(&request.name);
        let all_claims = KeyRange::prefix(&prefix[..]);
        self.0.guard.rights(caller)?.read(&all_claims)?;
        let libkv::Response::Range(found) = self.0.call(caller, holder_request(&prefix)).await?
        else {
            return Err(wrong_response());
        };
        let header = self.0.identity.header(found.revision);
        let kv = found
            .kvs
            .into_iter()
            .next()
            .ok_or_else(|| refused("election: no leader"))?;
        Ok(pb::LeaderResponse {
            header,
            kv: Some(kv_out(kv)),
        })
    }

    async fn run_resign(
        &self,
        caller: &Caller,
        request: pb::ResignRequest,
    ) -> Result<pb::ResignResponse, Status> {
        let leader = leader_of(request.leader)?;
        let delete = Txn::new()
            .when(Compare::create_revision(
                &leader.key[..],
                CompareResult::Equal,
                leader.rev,
            ))
            .and_then(Delete::new(&leader.key[..]));
        // a client that does not lead any more succeeds too
        match self.0.call(caller, delete).await? {
            libkv::Response::Txn(response) => Ok(pb::ResignResponse {
                header: self.0.identity.header(response.revision),
            }),
            _ => Err(wrong_response()),
        }
    }
}

#[tonic::async_trait]
impl election_server::Election for ElectionService {
    type ObserveStream = Leaders;

    async fn campaign(
        &self,
        request: Request<pb::CampaignRequest>,
    ) -> ServiceResult<pb::CampaignResponse> {
        self.run_campaign(&caller(&request).clone(), request.into_inner())
            .await
            .map(Response::new)
            .map_err(unknown)
    }

    async fn proclaim(
        &self,
        request: Request<pb::ProclaimRequest>,
    ) -> ServiceResult<pb::ProclaimResponse> {
        self.run_proclaim(&caller(&request).clone(), request.into_inner())
            .await
            .map(Response::new)
            .map_err(unknown)
    }

    async fn leader(
        &self,
        request: Request<pb::LeaderRequest>,
    ) -> ServiceResult<pb::LeaderResponse> {
        self.read_leader(&caller(&request).clone(), request.into_inner())
            .await
            .map(Response::new)
            .map_err(unknown)
    }

    /// Without the right to read all claims the stream is empty, as in etcd.
    async fn observe(&self, request: Request<pb::LeaderRequest>) -> ServiceResult<Leaders> {
        let prefix = claim_prefix(&request.get_ref().name);
        let all_claims = KeyRange::prefix(&prefix[..]);
        let rights = self.0.guard.rights(caller(&request));
        let mut leaders = Leaders::new(self.0.clone(), prefix);
        leaders.ended = rights.and_then(|rights| rights.read(&all_claims)).is_err();
        Ok(Response::new(leaders))
    }

    async fn resign(
        &self,
        request: Request<pb::ResignRequest>,
    ) -> ServiceResult<pb::ResignResponse> {
        self.run_resign(&caller(&request).clone(), request.into_inner())
            .await
            .map(Response::new)
            .map_err(unknown)
    }
}

/// Each leader of an election, from the current one on, with each value that it proclaims.
pub(crate) struct Leaders {
    store: Arc<Store>,
    prefix: Vec<u8>,
    closed: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// `None` when it must be made again.
    watcher: Option<Watcher>,
    /// Whether the leader must be looked up: at first, and after the end of each.
    look: bool,
    /// The leader's key.
    leader: Option<bytes::Bytes>,
    /// Changes up to this revision are known.
    known_upto: Revision,
    /// The mod_revision of the last response.
    last: Revision,
    responses: VecDeque<pb::LeaderResponse>,
    ended: bool,
}

impl Leaders {
    fn new(store: Arc<Store>, prefix: Vec<u8>) -> Leaders {
        Leaders {
            closed: Box::pin(store.closed()),
            store,
            prefix,
            watcher: None,
            look: true,
            leader: None,
            known_upto: 0,
            last: 0,
            responses: VecDeque::new(),
            ended: false,
        }
    }

    fn response(&mut self, revision: Revision, kv: KeyValue) {
        self.leader = Some(kv.key.clone());
        if std::mem::replace(&mut self.last, kv.mod_revision) != kv.mod_revision {
            let header = self.store.identity.header(revision);
            self.responses.push_back(pb::LeaderResponse {
                header,
                kv: Some(kv_out(kv)),
            });
        }
    }

    fn look_up(&mut self) -> Result<(), Error> {
        let found = self.store.db.range(holder_request(&self.prefix))?;
        (self.known_upto, self.look, self.leader) = (found.revision, false, None);
        if let Some(kv) = found.kvs.into_iter().next() {
            self.response(found.revision, kv);
        }
        Ok(())
    }

    fn take(&mut self, batch: WatchBatch) {
        if batch.revision <= self.known_upto {
            return;
        }
        for event in batch.events {
            let concerns = self
                .leader
                .as_ref()
                .is_none_or(|leader| *leader == event.kv.key);
            match event.kind {
                EventKind::Put if concerns => self.response(batch.revision, event.kv),
                EventKind::Delete if concerns && self.leader.is_some() => {
                    self.look = true;
                    return;
                }
                _ => {}
            }
        }
    }

    /// Makes the watcher and looks the leader up, if that is needed.
    fn prepare(&mut self) -> Result<(), Error> {
        if self.look {
            self.look_up()?;
        }
        if self.watcher.is_none() {
            let watch =
                Watch::new(KeyRange::prefix(&self.prefix[..])).start_revision(self.known_upto + 1);
            self.watcher = Some(self.store.db.watch(watch)?);
        }
        Ok(())
    }

    fn poll_watcher(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let overtaken = |error: &Error| error.code() == Code::Compacted;
        let outcome = match (self.prepare(), &mut self.watcher) {
            // the leader that was found is sent before the watcher is waited for
            (Ok(()), _) if !self.responses.is_empty() => Ok(()),
            (Ok(()), Some(watcher)) => match ready!(Pin::new(watcher).poll_next(context)) {
                Some(batch) => batch.map(|batch| self.take(batch)),
                None => Err(Error::new(Code::Closed, "the store's handle is closed")),
            },
            (prepared, _) => prepared,
        };
        Poll::Ready(match outcome {
            // missed leaders are over: the current one counts
            Err(error) if overtaken(&error) => {
                (self.watcher, self.look) = (None, true);
                Ok(())
            }
            outcome => outcome,
        })
    }
}

impl Stream for Leaders {
    type Item = Result<pb::LeaderResponse, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let leaders = self.get_mut();
        if leaders.ended {
            return Poll::Ready(None);
        }
        if leaders.closed.as_mut().poll(context).is_ready() {
            leaders.ended = true;
            return Poll::Ready(Some(Err(stopped())));
        }
        for _ in 0..STEPS {
            if let Some(response) = leaders.responses.pop_front() {
                return Poll::Ready(Some(Ok(response)));
            }
            if let Err(error) = ready!(leaders.poll_watcher(context)) {
                leaders.ended = true;
                return Poll::Ready(Some(Err(unknown(refusal(error)))));
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}
