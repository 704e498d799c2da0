//! An etcd cluster as an engine: the calls of [`Db`] that a cluster supports, over gRPC.
//!
//! [`cluster`] selects the endpoint, [`link`] is a connection to one, [`call`] decides what is sent
//! again; [`request`], [`watch`], [`lease`], [`history`] and [`members`] are the operations.

mod address;
mod auth;
mod call;
mod cluster;
mod history;
mod lease;
mod link;
mod members;
mod request;
mod revision;
mod runtime;
mod tls;
mod watch;
mod watch_rpc;

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use libkv::engine::{
    Completion, DiffPage, Engine, EventsPage, Interrupt, KeepAlive, Submission, WatchCompletion,
    WatchStream,
};
use libkv::*;
use tokio::time::timeout_at;

use self::call::{Call, Ticket, timed_out, withdrawn};
use self::cluster::{Cluster, after, closed};
use self::lease::Leases;
use self::runtime::Runtime;
use self::watch::Watchers;
use crate::pb::etcdserverpb as pb;
use crate::problems;

/// The interval at which `interrupt` is called.
const INTERRUPT_POLL: Duration = Duration::from_millis(100);

/// Opens a cluster. An endpoint has responded when this returns.
pub(crate) fn connect(address: &str, options: Options) -> Result<Db> {
    let cluster = Arc::new(Cluster::new(address, &options)?);
    let leases = Arc::new(Leases::new(cluster.clone()));
    let handle = Handle {
        cluster: cluster.clone(),
        leases,
        watchers: Arc::default(),
    };
    let engine = ClusterEngine {
        handle: Some(Arc::new(handle)),
        until: None,
    };
    engine.wait(async move {
        cluster
            .try_link(after(cluster.connect_timeout))
            .await
            .map(|_| ())
    })?;
    Ok(Db::from_engine(Arc::new(engine)))
}

/// The engine.
struct ClusterEngine {
    /// `Some` until it is dropped. Engines with different deadlines share it.
    handle: Option<Arc<Handle>>,
    /// The deadline of all its calls.
    until: Option<Instant>,
}

/// A handle on a cluster, with its leases and watchers. It closes when its last engine is dropped.
struct Handle {
    cluster: Arc<Cluster>,
    leases: Arc<Leases>,
    watchers: Arc<Watchers>,
}

impl ClusterEngine {
    fn handle(&self) -> &Handle {
        self.handle.as_ref().expect("it is not dropped yet")
    }

    fn cluster(&self) -> &Arc<Cluster> {
        &self.handle().cluster
    }

    /// Runs a request, until its end or this engine's deadline.
    fn run(
        &self,
        request: Request,
        ticket: Arc<Ticket>,
    ) -> impl Future<Output = Result<Response>> + Send + use<> {
        let (handle, until) = (RequestContext::of(self.handle()), self.until);
        async move {
            match until {
                None => handle.run(request, ticket).await,
                Some(until) => handle.run_until(request, ticket, until).await,
            }
        }
    }

    /// Runs a task and waits for it.
    fn wait<T: Send + 'static>(
        &self,
        task: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        self.cluster().ensure_open()?;
        let receiver = self.start(task);
        Runtime::wait(|| receiver.recv()).unwrap_or_else(|_| Err(task_ended()))
    }

    /// Runs a task that writes nothing, and waits for it until this engine's deadline.
    fn read<T: Send + 'static>(
        &self,
        task: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        self.wait(within(self.until, task))
    }

    fn start<T: Send + 'static>(
        &self,
        task: impl Future<Output = Result<T>> + Send + 'static,
    ) -> ResultReceiver<T> {
        let (sender, receiver) = sync_channel(1);
        self.cluster().runtime.spawn(async move {
            let _ = sender.send(task.await);
        });
        receiver
    }

    fn stream(
        &self,
        request: Watch,
    ) -> impl Future<Output = Result<watch::ClusterWatch>> + Send + use<> {
        let (cluster, watchers) = (self.cluster().clone(), self.handle().watchers.clone());
        watch::ClusterWatch::new(cluster, watchers, request)
    }

    /// A change of the members.
    fn change(&self) -> members::Change {
        members::Change {
            cluster: self.cluster().clone(),
            until: self.until,
        }
    }

    fn read_call<A, B>(&self, path: &'static str, message: A) -> Result<B>
    where
        A: prost::Message + Clone + 'static,
        B: prost::Message + Default + 'static,
    {
        let call = Call::read(self.cluster());
        self.read(call.run(path, message))
    }
}

/// The parts of a handle that a request in progress needs. The handle may be dropped meanwhile.
#[derive(Clone)]
struct RequestContext {
    cluster: Arc<Cluster>,
    leases: Arc<Leases>,
}

impl RequestContext {
    fn of(handle: &Handle) -> RequestContext {
        RequestContext {
            cluster: handle.cluster.clone(),
            leases: handle.leases.clone(),
        }
    }

    /// Runs a request. The TTL of a grant is remembered for its automatic renewal. A lease that is
    /// renewed automatically and revoked here is lost at once, not at its next renewal.
    async fn run(self, request: Request, ticket: Arc<Ticket>) -> Result<Response> {
        let revoked = match &request {
            Request::LeaseRevoke(revoke) => Some(revoke.id),
            _ => None,
        };
        let response = request::run(self.cluster, request, ticket).await?;
        match (&response, revoked) {
            (Response::LeaseGrant(grant), _) => self.leases.granted(grant.id, grant.ttl_seconds),
            (_, Some(id)) => self.leases.revoked(id),
            _ => {}
        }
        Ok(response)
    }

    /// Runs a request with a deadline. A write that was sent by then continues without its caller,
    /// because it may be done. A lease that is granted too late is revoked.
    async fn run_until(
        self,
        request: Request,
        ticket: Arc<Ticket>,
        until: Instant,
    ) -> Result<Response> {
        let effect = request::effect(&request);
        if !effect.writes() {
            return timeout_at(until.into(), self.run(request, ticket))
                .await
                .unwrap_or_else(|_| Err(timed_out()));
        }
        let runtime = self.cluster.runtime.clone();
        let mut task = runtime.spawn(self.clone().run(request, ticket.clone()));
        if let Ok(done) = timeout_at(until.into(), &mut task).await {
            return done.unwrap_or_else(|_| Err(task_ended()));
        }
        if ticket.expire() {
            return Err(timed_out());
        }
        runtime.spawn(async move {
            if let Ok(response) = task.await {
                self.revoke_unclaimed(response);
            }
        });
        Err(effect.unknown("no response within the time limit"))
    }

    /// Revokes a lease whose caller does not wait any more.
    fn revoke_unclaimed(self, response: Result<Response>) {
        if let Ok(Response::LeaseGrant(granted)) = response {
            request::revoke(&self.cluster, granted.id);
        }
    }
}

type ResultReceiver<T> = mpsc::Receiver<Result<T>>;

fn task_ended() -> Error {
    Error::new(
        Code::Internal,
        "the task of a request ended without a response",
    )
}

/// Ends a task that writes nothing at this deadline.
async fn within<T>(until: Option<Instant>, task: impl Future<Output = Result<T>>) -> Result<T> {
    match until {
        None => task.await,
        Some(until) => timeout_at(until.into(), task)
            .await
            .unwrap_or_else(|_| Err(timed_out())),
    }
}

impl Engine for ClusterEngine {
    fn until(self: Arc<Self>, deadline: Instant) -> Option<Arc<dyn Engine>> {
        let until = Some(self.until.map_or(deadline, |until| until.min(deadline)));
        Some(Arc::new(ClusterEngine {
            handle: self.handle.clone(),
            until,
        }))
    }

    fn call(&self, request: Request, interrupt: Option<Interrupt>) -> Result<Response> {
        let Some(interrupted) = interrupt else {
            return self.wait(self.run(request, Arc::default()));
        };
        self.cluster().ensure_open()?;
        let (ticket, effect) = (Arc::new(Ticket::default()), request::effect(&request));
        let (task, started) = (
            self.run(request, ticket.clone()),
            RequestContext::of(self.handle()),
        );
        let (sender, receiver) = sync_channel(1);
        self.cluster().runtime.spawn(async move {
            if let Err(unclaimed) = sender.send(task.await) {
                started.revoke_unclaimed(unclaimed.0);
            }
        });
        Runtime::wait(|| {
            loop {
                match receiver.recv_timeout(INTERRUPT_POLL) {
                    Ok(response) => return response,
                    Err(RecvTimeoutError::Disconnected) => return Err(task_ended()),
                    Err(RecvTimeoutError::Timeout) if !interrupted() => {}
                    Err(RecvTimeoutError::Timeout) if ticket.withdraw() => return Err(withdrawn()),
                    Err(RecvTimeoutError::Timeout) => {
                        return Err(effect.unknown("interrupted before the response came"));
                    }
                }
            }
        })
    }

    fn submit(&self, request: Request, completion: Completion) -> Submission {
        if let Err(error) = self.cluster().ensure_open() {
            completion(Err(error));
            return Submission::finished();
        }
        let ticket = Arc::new(Ticket::default());
        let (task, shared) = (self.run(request, ticket.clone()), ticket.clone());
        let task = self.cluster().runtime.spawn(async move {
            let response = task.await;
            if shared.hand_over() {
                // a completion that panics does not end other tasks
                let _ = catch_unwind(AssertUnwindSafe(|| completion(response)));
            }
        });
        let task = task.abort_handle();
        Submission::new(move || {
            let taken = ticket.withdraw();
            if taken {
                task.abort();
            }
            taken
        })
    }

    fn revision(&self) -> Result<Revision> {
        let cluster = self.cluster().clone();
        self.read(async move { revision::current_revision(&cluster).await })
    }

    fn history(&self, key: &[u8], limit: i64) -> Result<Vec<Event>> {
        self.read(history::history(
            self.cluster().clone(),
            key.to_vec(),
            limit,
        ))
    }

    fn events(&self, request: &Events) -> Result<EventsPage> {
        self.read(history::events(self.cluster().clone(), request.clone()))
    }

    fn diff(&self, before: Revision, after: Revision, range: &KeyRange) -> Result<DiffPage> {
        self.read(history::diff(
            self.cluster().clone(),
            before,
            after,
            range.clone(),
        ))
    }

    fn revision_at(&self, _: i64) -> Result<Revision> {
        Err(unsupported(
            "revision_at",
            "it keeps no record of when a revision was written",
        ))
    }

    fn watch(&self, request: Watch) -> Result<Arc<dyn WatchStream>> {
        let stream = self.read(self.stream(request))?;
        Ok(Arc::new(stream))
    }

    fn submit_watch(&self, request: Watch, created: WatchCompletion) {
        if let Err(error) = self.cluster().ensure_open() {
            return created(Err(error));
        }
        let stream = within(self.until, self.stream(request));
        self.cluster().runtime.spawn(async move {
            let stream = stream.await;
            created(stream.map(|stream| Arc::new(stream) as Arc<dyn WatchStream>));
        });
    }

    fn lease_keep_alive(&self, id: LeaseId) -> Result<LeaseKeepAliveResponse> {
        let cluster = self.cluster().clone();
        self.read(async move { lease::keep_alive(&cluster, id).await })
    }

    fn lease_time_to_live(&self, lease: LeaseTimeToLive) -> Result<LeaseTimeToLiveResponse> {
        let message = pb::LeaseTimeToLiveRequest {
            id: lease.id,
            keys: lease.keys,
        };
        let response: pb::LeaseTimeToLiveResponse =
            self.read_call("/etcdserverpb.Lease/LeaseTimeToLive", message)?;
        let mut left = LeaseTimeToLiveResponse::default();
        left.id = response.id;
        left.ttl_seconds = response.ttl;
        left.granted_ttl_seconds = response.granted_ttl;
        left.keys = response.keys.into_iter().map(Into::into).collect();
        left.keys.sort_unstable();
        Ok(left)
    }

    fn lease_list(&self) -> Result<Vec<LeaseId>> {
        let response: pb::LeaseLeasesResponse =
            self.read_call("/etcdserverpb.Lease/LeaseLeases", pb::LeaseLeasesRequest {})?;
        Ok(response.leases.into_iter().map(|lease| lease.id).collect())
    }

    fn lease_keep(
        &self,
        id: LeaseId,
        lost: Box<dyn FnOnce() + Send>,
    ) -> Result<Box<dyn KeepAlive>> {
        self.cluster().ensure_open()?;
        Ok(lease::keep(&self.handle().leases, id, lost))
    }

    fn status(&self) -> Result<Status> {
        let response: pb::StatusResponse =
            self.read_call("/etcdserverpb.Maintenance/Status", pb::StatusRequest {})?;
        let header = response.header.unwrap_or_default();
        // a user may not have the right to read all keys
        let keys = match self.call(Range::new(KeyRange::all()).count_only(true).into(), None) {
            Ok(Response::Range(range)) => u64::try_from(range.count).ok(),
            Err(error) if error.code() != Code::PermissionDenied => return Err(error),
            _ => None,
        };
        let cluster = self.cluster().clone();
        let compacted =
            self.read(async move { revision::compacted_revision(&cluster, &[0]).await });
        let number = |n: i64| u64::try_from(n).unwrap_or(0);
        let mut status = problems::errors_in(&response.errors);
        status.revision = header.revision;
        // etcd does not report whether revision 1 was compacted
        status.compacted_revision = compacted.ok().filter(|revision| *revision > 0);
        status.keys = keys;
        status.bytes_on_disk = number(response.db_size);
        status.bytes_in_use = number(response.db_size_in_use);
        status.watchers = self.handle().watchers.len() as u64;
        status.leases = self.lease_list().ok().map(|leases| leases.len() as u64);
        status.store_id = format!("{:016x}{:016x}", header.cluster_id, header.member_id);
        status.durability = Some(Durability::Sync);
        status.max_bytes = u64::try_from(response.db_size_quota)
            .ok()
            .filter(|bytes| *bytes != 0);
        Ok(status)
    }

    fn hash_kv(&self, revision: Revision) -> Result<HashKvResponse> {
        self.read(members::hash_kv(self.cluster().clone(), revision))
    }

    fn member_list(&self) -> Result<Vec<Member>> {
        self.read(members::list(self.cluster().clone()))
    }

    fn member_add(&self, peer_urls: Vec<String>, learner: bool) -> Result<Member> {
        self.wait(self.change().add(peer_urls, learner))
    }

    fn member_remove(&self, id: u64) -> Result<()> {
        self.wait(self.change().remove(id))
    }

    fn member_update(&self, id: u64, peer_urls: Vec<String>) -> Result<()> {
        self.wait(self.change().update(id, peer_urls))
    }

    fn member_promote(&self, id: u64) -> Result<()> {
        self.wait(self.change().promote(id))
    }

    fn move_leader(&self, id: u64) -> Result<()> {
        self.wait(self.change().move_leader(id))
    }

    fn check(&self) -> Result<CheckReport> {
        Err(unsupported("check", "its files belong to its members"))
    }

    fn is_remote(&self) -> bool {
        true
    }

    fn ensure_open(&self) -> Result<()> {
        self.cluster().ensure_open()
    }

    fn close(&self) {
        self.handle().close();
    }
}

impl Handle {
    fn close(&self) {
        if !self.cluster.is_ours() || !self.cluster.set_closed() {
            return;
        }
        self.watchers.end(&closed());
        // leases of this handle end now; a lease that cannot be revoked in time ends with its TTL
        self.leases
            .release_all()
            .into_iter()
            .for_each(|id| request::revoke(&self.cluster, id));
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.close();
    }
}

impl Drop for ClusterEngine {
    fn drop(&mut self) {
        if let Some(handle) = self
            .handle
            .take()
            .filter(|handle| !handle.cluster.is_ours())
        {
            // a thread of the parent may hold a lock within it
            std::mem::forget(handle);
        }
    }
}

fn unsupported(what: &str, why: &str) -> Error {
    Error::new(
        Code::Unsupported,
        format!("a cluster does not support {what}: {why}"),
    )
}
