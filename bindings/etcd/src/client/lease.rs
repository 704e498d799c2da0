//! Leases that are kept alive: one stream for all of a handle's, opened again when it is lost.
//!
//! Each lease is renewed when a third of its TTL has gone. One whose renewal is not answered by the time of the
//! next one makes the stream move to another endpoint, so that an endpoint that has fallen silent costs no lease.
//! A lease is lost when the cluster says so, or when its TTL has passed since the last renewal that was answered.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use libkv::engine::KeepAlive;
use libkv::{LeaseId, LeaseKeepAliveResponse, Result};
use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Status, Streaming};

use super::call::{Call, Effect};
use super::cluster::{Cluster, PAUSE, PAUSE_MAX, after, lock};
use super::link::{Failure, Link, failure};
use crate::pb::etcdserverpb as pb;

const PATH: &str = "/etcdserverpb.Lease/LeaseKeepAlive";
/// Grants whose TTL is remembered, for who keeps them alive next.
const GRANTED_MAX: usize = 64;
/// A TTL that nobody has told yet is taken for this short, until the first renewal says what it is.
const TTL_UNKNOWN: Duration = Duration::from_secs(3);

/// What a lost lease's handle wants run.
pub(crate) type Lost = Box<dyn FnOnce() + Send>;

/// The leases that a handle keeps alive.
pub(crate) struct Leases {
    cluster: Arc<Cluster>,
    kept: Mutex<HashMap<u64, Kept>>,
    last: AtomicU64,
    task: Mutex<Option<AbortHandle>>,
    /// There is a new one.
    changed: Notify,
    granted: Mutex<VecDeque<(LeaseId, Duration)>>,
}

struct Kept {
    id: LeaseId,
    /// None until it is known.
    ttl: Option<Duration>,
    renew_at: Instant,
    /// When a renewal was sent that is not answered yet.
    sent_at: Option<Instant>,
    /// When it is gone unless a renewal is answered; None while its TTL is not known.
    gone_at: Option<Instant>,
    lost: Lost,
}

impl Kept {
    fn interval(&self) -> Duration {
        self.ttl.unwrap_or(TTL_UNKNOWN) / 3
    }
}

impl Leases {
    pub fn new(cluster: Arc<Cluster>) -> Leases {
        Leases {
            cluster,
            kept: Mutex::default(),
            last: AtomicU64::new(0),
            task: Mutex::default(),
            changed: Notify::new(),
            granted: Mutex::default(),
        }
    }

    /// Remembers the TTL of a grant.
    pub fn granted(&self, id: LeaseId, ttl_seconds: i64) {
        let mut granted = lock(&self.granted);
        granted.push_back((id, seconds(ttl_seconds)));
        if granted.len() > GRANTED_MAX {
            granted.pop_front();
        }
    }

    /// Keeps nothing alive any more; answers what it kept, the first first.
    pub fn let_go(&self) -> Vec<LeaseId> {
        if let Some(task) = lock(&self.task).take() {
            task.abort();
        }
        let mut gone: Vec<(u64, Kept)> = lock(&self.kept).drain().collect();
        gone.sort_unstable_by_key(|(number, _)| *number);
        gone.into_iter().map(|(_, kept)| kept.id).collect()
    }

    /// When there is something to be done next.
    fn next_at(&self) -> Option<Instant> {
        let kept = lock(&self.kept);
        kept.values()
            .map(|kept| {
                kept.gone_at
                    .map_or(kept.renew_at, |gone_at| kept.renew_at.min(gone_at))
            })
            .min()
    }

    /// Takes out what is gone by now, and tells its owners.
    fn bury(&self) {
        let now = Instant::now();
        self.lose(|kept| kept.gone_at.is_some_and(|gone_at| gone_at <= now));
    }

    /// Notifies the owners of a lease that was revoked while it was renewed automatically.
    pub fn revoked(&self, id: LeaseId) {
        self.lose(|kept| kept.id == id);
    }

    fn lose(&self, which: impl Fn(&Kept) -> bool) {
        let lost: Vec<Kept> = {
            let mut kept = lock(&self.kept);
            let numbers: Vec<u64> = kept
                .iter()
                .filter(|(_, kept)| which(kept))
                .map(|(number, _)| *number)
                .collect();
            numbers
                .into_iter()
                .filter_map(|number| kept.remove(&number))
                .collect()
        };
        for kept in lost {
            // somebody else's code, which must not end the others' keeping
            let _ = catch_unwind(AssertUnwindSafe(kept.lost));
        }
    }

    /// What is to be renewed now, or everything; an error if an earlier renewal has had no answer.
    fn due(&self, all: bool) -> std::result::Result<Vec<LeaseId>, ()> {
        let now = Instant::now();
        let mut due = Vec::new();
        for kept in lock(&self.kept)
            .values_mut()
            .filter(|kept| all || kept.renew_at <= now)
        {
            if kept.sent_at.is_some() && !all {
                return Err(());
            }
            kept.sent_at = Some(now);
            kept.renew_at = now + kept.interval();
            due.push(kept.id);
        }
        due.sort_unstable();
        due.dedup();
        Ok(due)
    }

    /// What was asked over a connection that has failed is due again at once.
    fn ask_again(&self) {
        let now = Instant::now();
        for kept in lock(&self.kept)
            .values_mut()
            .filter(|kept| kept.sent_at.is_some())
        {
            kept.renew_at = now;
        }
    }

    fn answered(&self, response: &pb::LeaseKeepAliveResponse) {
        if response.ttl <= 0 {
            return self.lose(|kept| kept.id == response.id);
        }
        for kept in lock(&self.kept)
            .values_mut()
            .filter(|kept| kept.id == response.id)
        {
            let ttl = seconds(response.ttl);
            let sent_at = kept.sent_at.take().unwrap_or_else(Instant::now);
            kept.ttl = Some(ttl);
            kept.renew_at = sent_at + kept.interval();
            kept.gone_at = Some(sent_at + ttl);
        }
    }
}

fn seconds(ttl_seconds: i64) -> Duration {
    // a century is for ever
    Duration::from_secs(
        u64::try_from(ttl_seconds)
            .unwrap_or(0)
            .clamp(1, 36_500 * 86_400),
    )
}

/// Keeps a lease alive until what this answers is dropped. It waits for nothing: whether there is such a lease is
/// found out by its first renewal, at once.
pub(crate) fn keep(leases: &Arc<Leases>, id: LeaseId, lost: Lost) -> Box<dyn KeepAlive> {
    let now = Instant::now();
    let ttl = lock(&leases.granted)
        .iter()
        .rev()
        .find(|(granted, _)| *granted == id)
        .map(|(_, ttl)| *ttl);
    let kept = Kept {
        id,
        ttl,
        renew_at: now,
        sent_at: None,
        gone_at: ttl.map(|ttl| now + ttl),
        lost,
    };
    let number = leases.last.fetch_add(1, Ordering::Relaxed);
    lock(&leases.kept).insert(number, kept);
    let mut task = lock(&leases.task);
    match &*task {
        Some(_) => leases.changed.notify_one(),
        None => {
            *task = Some(
                leases
                    .cluster
                    .runtime
                    .spawn(keep_all(Arc::downgrade(leases)))
                    .abort_handle(),
            )
        }
    }
    Box::new(Keeper {
        leases: Arc::downgrade(leases),
        number,
    })
}

/// A lease is kept alive while this lives.
struct Keeper {
    leases: Weak<Leases>,
    number: u64,
}

impl KeepAlive for Keeper {}

impl Drop for Keeper {
    fn drop(&mut self) {
        // in a forked child the lock may be held by a thread that is not there
        if let Some(leases) = self
            .leases
            .upgrade()
            .filter(|leases| leases.cluster.is_ours())
        {
            let gone = lock(&leases.kept).remove(&self.number);
            drop(gone);
        }
    }
}

/// The task that renews, from the first lease on until the handle is closed.
async fn keep_all(leases: Weak<Leases>) {
    let mut pause = PAUSE;
    while let Some(leases) = leases.upgrade() {
        let cluster = &leases.cluster;
        let Some(next_at) = leases.next_at() else {
            leases.changed.notified().await;
            continue;
        };
        // what is not due yet needs no connection yet
        if next_at > Instant::now() {
            let _ = timeout_at(next_at, leases.changed.notified()).await;
        }
        leases.bury();
        if leases.next_at().is_none_or(|at| at > Instant::now()) {
            continue;
        }
        match cluster.link(after(cluster.connect_timeout)).await {
            Ok(link) => {
                if renew_over(&leases, &link).await {
                    pause = PAUSE;
                }
                leases.ask_again();
            }
            Err(_) => leases.bury(),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Renews over one connection until that fails, or there is nothing left to renew; whether there was any answer.
async fn renew_over(leases: &Leases, link: &Link) -> bool {
    let cluster = &leases.cluster;
    let (send, requests) = mpsc::unbounded_channel();
    let ask = |due: Vec<LeaseId>| {
        for id in due {
            // nobody takes it once the stream has ended, which is noticed below
            let _ = send.send(pb::LeaseKeepAliveRequest { id });
        }
    };
    // the server answers nothing at all before the first request
    ask(leases.due(true).unwrap_or_default());
    let token = cluster.token();
    let opening = link.streaming(PATH, UnboundedReceiverStream::new(requests), &token);
    let patience = cluster.connect_timeout.min(
        lock(&leases.kept)
            .values()
            .map(Kept::interval)
            .min()
            .unwrap_or_default(),
    );
    let mut responses: Streaming<pb::LeaseKeepAliveResponse> =
        match timeout(patience, opening).await {
            Ok(Ok(responses)) => responses,
            Ok(Err(status)) => {
                recover(cluster, link, &token, &status).await;
                return false;
            }
            Err(_) => {
                cluster.leave(link);
                return false;
            }
        };
    let mut any = false;
    loop {
        let Some(next_at) = leases.next_at() else {
            return any;
        };
        tokio::select! {
            response = responses.message() => match response {
                Ok(Some(response)) => {
                    leases.answered(&response);
                    any = true;
                }
                Ok(None) => {
                    cluster.leave(link);
                    return any;
                }
                Err(status) => {
                    recover(cluster, link, &token, &status).await;
                    return any;
                }
            },
            () = sleep_until(next_at) => {
                leases.bury();
                match leases.due(false) {
                    Ok(due) => ask(due),
                    Err(()) => {
                        cluster.leave(link);
                        return any;
                    }
                }
            }
            () = leases.changed.notified() => {}
        }
    }
}

/// After a refusal: a new token if that may help, else another endpoint.
async fn recover(cluster: &Arc<Cluster>, link: &Link, token: &super::link::Token, status: &Status) {
    if failure(status) == Failure::Refused && cluster.is_stale(status) {
        let _ = timeout(cluster.connect_timeout, cluster.renew(link, token)).await;
    } else {
        cluster.leave(link);
    }
}

/// Renews a lease once.
pub(crate) async fn keep_alive(
    cluster: &Arc<Cluster>,
    id: LeaseId,
) -> Result<LeaseKeepAliveResponse> {
    let response: pb::LeaseKeepAliveResponse =
        Call::new(cluster.clone(), Effect::Reads, Arc::default())
            .run(PATH, pb::LeaseKeepAliveRequest { id })
            .await?;
    Ok(LeaseKeepAliveResponse {
        id: response.id,
        ttl_seconds: response.ttl,
    })
}
