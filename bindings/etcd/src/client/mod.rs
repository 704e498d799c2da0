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
use std::time::Duration;

use libkv::*;

use self::call::{Call, Ticket, withdrawn};
use self::cluster::{Cluster, after, closed};
use self::lease::Leases;
use self::runtime::Runtime;
use self::watch::Watchers;
use crate::pb::etcdserverpb as pb;

/// How often a caller who may change their mind is asked.
const INTERRUPT_POLL: Duration = Duration::from_millis(100);

/// Opens a cluster: an endpoint has answered when this returns.
pub(crate) fn connect(address: &str, options: Options) -> Result<Db> {
    let cluster = Arc::new(Cluster::new(address, &options)?);
    let leases = Arc::new(Leases::new(cluster.clone()));
    let handle = Handle { cluster: cluster.clone(), leases, watchers: Arc::default() };
    let engine = Remote { handle: Some(handle) };
    engine.wait(async move { cluster.try_link(after(cluster.connect_timeout)).await.map(|_| ()) })?;
    Ok(Db::from_engine(Arc::new(engine)))
}

/// The engine.
struct Remote {
    /// Some until it is dropped.
    handle: Option<Handle>,
}

/// A handle on a cluster, and what it keeps going there.
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

    /// Runs a request; the TTL of a grant is remembered for who keeps it alive next.
    fn run(&self, request: Request, ticket: Arc<Ticket>) -> impl Future<Output = Result<Answer>> + Send + use<> {
        let (cluster, leases) = (self.cluster().clone(), self.handle().leases.clone());
        async move {
            let answer = request::run(cluster, request, ticket).await?;
            if let Answer::LeaseGrant(grant) = &answer {
                leases.granted(grant.id, grant.ttl_seconds);
            }
            Ok(answer)
        }
    }

    /// Has a task done and waits for it.
    fn wait<T: Send + 'static>(&self, task: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
        self.cluster().ensure_open()?;
        let told = self.start(task);
        Runtime::wait(|| told.recv()).unwrap_or_else(|_| Err(died()))
    }

    fn start<T: Send + 'static>(&self, task: impl Future<Output = Result<T>> + Send + 'static) -> Told<T> {
        let (tell, told) = sync_channel(1);
        self.cluster().runtime.spawn(async move {
            let _ = tell.send(task.await);
        });
        told
    }

    fn ask<A, B>(&self, path: &'static str, message: A) -> Result<B>
    where
        A: prost::Message + Clone + 'static,
        B: prost::Message + Default + 'static,
    {
        let call = Call::read(self.cluster());
        self.wait(call.run(path, message))
    }
}

type Told<T> = mpsc::Receiver<Result<T>>;

fn died() -> Error {
    Error::new(Code::Internal, "the task of a request ended without an answer")
}

impl Engine for Remote {
    fn call(&self, request: Request) -> Result<Answer> {
        self.wait(self.run(request, Arc::default()))
    }

    fn call_unless(&self, request: Request, interrupted: Interrupted) -> Result<Answer> {
        self.cluster().ensure_open()?;
        let ticket = Arc::new(Ticket::default());
        let told = self.start(self.run(request, ticket.clone()));
        Runtime::wait(|| {
            loop {
                match told.recv_timeout(INTERRUPT_POLL) {
                    Ok(answer) => return answer,
                    Err(RecvTimeoutError::Disconnected) => return Err(died()),
                    // a write that was sent is waited for
                    Err(RecvTimeoutError::Timeout) if interrupted() && ticket.withdraw() => return Err(withdrawn()),
                    Err(RecvTimeoutError::Timeout) => {}
                }
            }
        })
    }

    fn submit(&self, request: Request, completion: Completion) -> Submitted {
        if let Err(error) = self.cluster().ensure_open() {
            completion(Err(error));
            return Submitted::gone();
        }
        let ticket = Arc::new(Ticket::default());
        let (running, shared) = (self.run(request, ticket.clone()), ticket.clone());
        let task = self.cluster().runtime.spawn(async move {
            let answer = running.await;
            if shared.commit() {
                // one that panics ends nobody but itself
                let _ = catch_unwind(AssertUnwindSafe(|| completion(answer)));
            }
        });
        let task = task.abort_handle();
        Submitted::new(move || {
            let taken = ticket.withdraw();
            if taken {
                task.abort();
            }
            taken
        })
    }

    fn revision(&self) -> Result<Revision> {
        let cluster = self.cluster().clone();
        self.wait(async move { request::current_revision(&cluster).await })
    }

    fn history(&self, key: &[u8], limit: i64) -> Result<Vec<Event>> {
        self.wait(past::history(self.cluster().clone(), key.to_vec(), limit))
    }

    fn changes(&self, request: &Changes) -> Result<ChangesPage> {
        self.wait(past::changes(self.cluster().clone(), request.clone()))
    }

    fn diff(&self, before: Revision, after: Revision, range: &KeyRange) -> Result<DiffPage> {
        self.wait(past::diff(self.cluster().clone(), before, after, range.clone()))
    }

    fn revision_at(&self, _: i64) -> Result<Revision> {
        Err(unsupported("revision_at", "it keeps no record of when a revision was written"))
    }

    fn watch(&self, request: Watch) -> Result<Arc<dyn WatchStream>> {
        let stream = self.wait(watch::Stream::new(self.cluster().clone(), self.handle().watchers.clone(), request))?;
        Ok(Arc::new(stream))
    }

    fn lease_keep_alive(&self, id: LeaseId) -> Result<LeaseKeepAlive> {
        let cluster = self.cluster().clone();
        self.wait(async move { lease::keep_alive(&cluster, id).await })
    }

    fn lease_time_to_live(&self, id: LeaseId, keys: bool) -> Result<LeaseTimeToLive> {
        let message = pb::LeaseTimeToLiveRequest { id, keys };
        let answer: pb::LeaseTimeToLiveResponse = self.ask("/etcdserverpb.Lease/LeaseTimeToLive", message)?;
        let mut keys: Vec<Vec<u8>> = answer.keys.into_iter().map(Into::into).collect();
        keys.sort_unstable();
        Ok(LeaseTimeToLive { id: answer.id, ttl_seconds: answer.ttl, granted_ttl_seconds: answer.granted_ttl, keys })
    }

    fn lease_list(&self) -> Result<Vec<LeaseId>> {
        let answer: pb::LeaseLeasesResponse = self.ask("/etcdserverpb.Lease/LeaseLeases", pb::LeaseLeasesRequest {})?;
        Ok(answer.leases.into_iter().map(|lease| lease.id).collect())
    }

    fn lease_keep(&self, id: LeaseId, lost: Box<dyn FnOnce() + Send>) -> Result<Box<dyn Keeping>> {
        self.cluster().ensure_open()?;
        Ok(lease::keep(&self.handle().leases, id, lost))
    }

    fn status(&self) -> Result<Status> {
        let answer: pb::StatusResponse = self.ask("/etcdserverpb.Maintenance/Status", pb::StatusRequest {})?;
        let header = answer.header.unwrap_or_default();
        // a user may have no right to all keys
        let keys = match self.call(Range::new(KeyRange::all()).count_only(true).into()) {
            Ok(Answer::Range(range)) => range.count,
            Err(error) if error.code() != Code::PermissionDenied => return Err(error),
            _ => 0,
        };
        let cluster = self.cluster().clone();
        let compacted = self.wait(async move { request::compacted_revision(&cluster, &[0]).await });
        let number = |n: i64| u64::try_from(n).unwrap_or(0);
        Ok(Status {
            revision: header.revision,
            // etcd does not tell whether revision 1 was compacted
            compacted_revision: compacted.ok().filter(|revision| *revision > 0).unwrap_or(-1),
            keys: number(keys),
            bytes_on_disk: number(answer.db_size),
            bytes_in_use: number(answer.db_size_in_use),
            watchers: self.handle().watchers.len() as u64,
            leases: self.lease_list().map_or(0, |leases| leases.len() as u64),
            store_id: format!("{:016x}{:016x}", header.cluster_id, header.member_id),
            durability: Some(Durability::Sync),
            max_bytes: number(answer.db_size_quota),
            alarms: answer.errors,
            ..Status::default()
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
        let Handle { cluster, leases, watchers } = self.handle();
        if !cluster.is_ours() || !cluster.set_closed() {
            return;
        }
        watchers.end(&closed());
        for id in leases.let_go() {
            // the lease's handle closes with this one: what is not revoked in time has its TTL
            let revoke = request::run(cluster.clone(), Revoke { id }.into(), Arc::default());
            cluster.runtime.spawn(revoke);
        }
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.close();
        if let Some(handle) = self.handle.take().filter(|handle| !handle.cluster.is_ours()) {
            // a lock within may be held by a thread of the parent's
            std::mem::forget(handle);
        }
    }
}

fn unsupported(what: &str, why: &str) -> Error {
    Error::new(Code::Unsupported, format!("a cluster cannot answer {what}: {why}"))
}
