//! An etcd cluster as an engine: every call of [`Db`] that a cluster can do, over gRPC.
//!
//! [`cluster`] knows which endpoint is spoken to, [`link`] is a connection to one, [`call`] decides what is tried
//! again; [`request`], [`watch`], [`lease`] and [`past`] are what is said.

mod address;
mod call;
mod cluster;
mod lease;
mod link;
mod past;
mod request;
mod runtime;
mod tls;
mod watch;

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

use self::call::{Call, Ticket, withdrawn};
use self::cluster::{Cluster, after, closed};
use self::lease::Leases;
use self::runtime::Runtime;
use self::watch::Watchers;
use crate::pb::etcdserverpb as pb;
use crate::problems;

/// How often a caller who may change their mind is asked.
const INTERRUPT_POLL: Duration = Duration::from_millis(100);

/// Opens a cluster: an endpoint has answered when this returns.
pub(crate) fn connect(address: &str, options: Options) -> Result<Db> {
    let cluster = Arc::new(Cluster::new(address, &options)?);
    let leases = Arc::new(Leases::new(cluster.clone()));
    let handle = Handle {
        cluster: cluster.clone(),
        leases,
        watchers: Arc::default(),
    };
    let engine = Remote {
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
struct Remote {
    /// Some until it is dropped. Those with different limits share it.
    handle: Option<Arc<Handle>>,
    /// When whatever is asked through it ends.
    until: Option<Instant>,
}

/// A handle on a cluster, and what it keeps going there. It closes when the last engine of it is dropped.
struct Handle {
    cluster: Arc<Cluster>,
    leases: Arc<Leases>,
    watchers: Arc<Watchers>,
}

impl Remote {
    fn handle(&self) -> &Handle {
        self.handle.as_ref().expect("it is not dropped yet")
    }

    fn cluster(&self) -> &Arc<Cluster> {
        &self.handle().cluster
    }

    /// Runs a request, to its end or to this engine's.
    fn run(
        &self,
        request: Request,
        ticket: Arc<Ticket>,
    ) -> impl Future<Output = Result<Response>> + Send + use<> {
        let (handle, until) = (Started::of(self.handle()), self.until);
        async move {
            match until {
                None => handle.run(request, ticket).await,
                Some(until) => handle.run_until(request, ticket, until).await,
            }
        }
    }

    /// Has a task done and waits for it.
    fn wait<T: Send + 'static>(
        &self,
        task: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        self.cluster().ensure_open()?;
        let told = self.start(task);
        Runtime::wait(|| told.recv()).unwrap_or_else(|_| Err(died()))
    }

    /// Has a task done that writes nothing, and waits for it; it ends with this engine's time at the latest.
    fn read<T: Send + 'static>(
        &self,
        task: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        self.wait(within(self.until, task))
    }

    fn start<T: Send + 'static>(
        &self,
        task: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Told<T> {
        let (tell, told) = sync_channel(1);
        self.cluster().runtime.spawn(async move {
            let _ = tell.send(task.await);
        });
        told
    }

    fn stream(&self, request: Watch) -> impl Future<Output = Result<watch::Stream>> + Send + use<> {
        let (cluster, watchers) = (self.cluster().clone(), self.handle().watchers.clone());
        watch::Stream::new(cluster, watchers, request)
    }

    fn ask<A, B>(&self, path: &'static str, message: A) -> Result<B>
    where
        A: prost::Message + Clone + 'static,
        B: prost::Message + Default + 'static,
    {
        let call = Call::read(self.cluster());
        self.read(call.run(path, message))
    }
}

/// What a request under way needs of its handle, which may be dropped meanwhile.
#[derive(Clone)]
struct Started {
    cluster: Arc<Cluster>,
    leases: Arc<Leases>,
}

impl Started {
    fn of(handle: &Handle) -> Started {
        Started {
            cluster: handle.cluster.clone(),
            leases: handle.leases.clone(),
        }
    }

    /// Runs a request. The TTL of a grant is remembered for its automatic renewal; a lease that is renewed
    /// automatically and revoked here is lost at once, not at its next renewal.
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

    /// Runs a request whose caller waits until a certain time. A write that was sent by then goes on without its
    /// caller, since it may be done; a lease that is granted too late is given back.
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
                .unwrap_or_else(|_| Err(late()));
        }
        let runtime = self.cluster.runtime.clone();
        let mut running = runtime.spawn(self.clone().run(request, ticket.clone()));
        if let Ok(done) = timeout_at(until.into(), &mut running).await {
            return done.unwrap_or_else(|_| Err(died()));
        }
        if ticket.expire() {
            return Err(late());
        }
        runtime.spawn(async move {
            if let Ok(response) = running.await {
                self.give_back(response);
            }
        });
        Err(effect.unknown("no response within the time limit"))
    }

    /// Gives back what came for a caller that does not wait any more.
    fn give_back(self, response: Result<Response>) {
        if let Ok(Response::LeaseGrant(granted)) = response {
            request::revoke(&self.cluster, granted.id);
        }
    }
}

type Told<T> = mpsc::Receiver<Result<T>>;

fn died() -> Error {
    Error::new(
        Code::Internal,
        "the task of a request ended without an answer",
    )
}

/// Ends a task that writes nothing at this time.
async fn within<T>(until: Option<Instant>, task: impl Future<Output = Result<T>>) -> Result<T> {
    match until {
        None => task.await,
        Some(until) => timeout_at(until.into(), task)
            .await
            .unwrap_or_else(|_| Err(late())),
    }
}

/// The error of a call without an answer by its caller's deadline.
fn late() -> Error {
    Error::new(
        Code::Timeout,
        "no response from the cluster within the time limit",
    )
}

impl Engine for Remote {
    fn until(self: Arc<Self>, deadline: Instant) -> Option<Arc<dyn Engine>> {
        let until = Some(self.until.map_or(deadline, |until| until.min(deadline)));
        Some(Arc::new(Remote {
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
        let (running, started) = (
            self.run(request, ticket.clone()),
            Started::of(self.handle()),
        );
        let (tell, told) = sync_channel(1);
        self.cluster().runtime.spawn(async move {
            if let Err(unheard) = tell.send(running.await) {
                started.give_back(unheard.0);
            }
        });
        Runtime::wait(|| {
            loop {
                match told.recv_timeout(INTERRUPT_POLL) {
                    Ok(response) => return response,
                    Err(RecvTimeoutError::Disconnected) => return Err(died()),
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
        let (running, shared) = (self.run(request, ticket.clone()), ticket.clone());
        let task = self.cluster().runtime.spawn(async move {
            let response = running.await;
            if shared.response() {
                // one that panics ends nobody but itself
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
        self.read(async move { request::current_revision(&cluster).await })
    }

    fn history(&self, key: &[u8], limit: i64) -> Result<Vec<Event>> {
        self.read(past::history(self.cluster().clone(), key.to_vec(), limit))
    }

    fn events(&self, request: &Events) -> Result<EventsPage> {
        self.read(past::events(self.cluster().clone(), request.clone()))
    }

    fn diff(&self, before: Revision, after: Revision, range: &KeyRange) -> Result<DiffPage> {
        self.read(past::diff(
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
            self.ask("/etcdserverpb.Lease/LeaseTimeToLive", message)?;
        let mut keys: Vec<Vec<u8>> = response.keys.into_iter().map(Into::into).collect();
        keys.sort_unstable();
        Ok(LeaseTimeToLiveResponse {
            id: response.id,
            ttl_seconds: response.ttl,
            granted_ttl_seconds: response.granted_ttl,
            keys,
        })
    }

    fn lease_list(&self) -> Result<Vec<LeaseId>> {
        let response: pb::LeaseLeasesResponse =
            self.ask("/etcdserverpb.Lease/LeaseLeases", pb::LeaseLeasesRequest {})?;
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
            self.ask("/etcdserverpb.Maintenance/Status", pb::StatusRequest {})?;
        let header = response.header.unwrap_or_default();
        // a user may have no right to all keys
        let keys = match self.call(Range::new(KeyRange::all()).count_only(true).into(), None) {
            Ok(Response::Range(range)) => u64::try_from(range.count).ok(),
            Err(error) if error.code() != Code::PermissionDenied => return Err(error),
            _ => None,
        };
        let cluster = self.cluster().clone();
        let compacted = self.read(async move { request::compacted_revision(&cluster, &[0]).await });
        let number = |n: i64| u64::try_from(n).unwrap_or(0);
        Ok(Status {
            revision: header.revision,
            // etcd does not tell whether revision 1 was compacted
            compacted_revision: compacted.ok().filter(|revision| *revision > 0),
            keys,
            bytes_on_disk: number(response.db_size),
            bytes_in_use: number(response.db_size_in_use),
            watchers: self.handle().watchers.len() as u64,
            leases: self.lease_list().ok().map(|leases| leases.len() as u64),
            store_id: format!("{:016x}{:016x}", header.cluster_id, header.member_id),
            durability: Some(Durability::Sync),
            max_bytes: u64::try_from(response.db_size_quota)
                .ok()
                .filter(|bytes| *bytes != 0),
            ..problems::errors_in(&response.errors)
        })
    }

    fn check(&self) -> Result<CheckReport> {
        Err(unsupported("check", "its files are its members' own"))
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
        // a lease's handle closes with this one: what is not revoked in time has its TTL
        self.leases
            .let_go()
            .into_iter()
            .for_each(|id| request::revoke(&self.cluster, id));
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.close();
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        if let Some(handle) = self
            .handle
            .take()
            .filter(|handle| !handle.cluster.is_ours())
        {
            // a lock within may be held by a thread of the parent's
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
