//! Leases that are kept alive: one stream for all leases of a handle, opened again when it is lost.
//!
//! Each lease is renewed when a third of its TTL has passed. If a renewal has no response by the
//! time of the next one, the stream moves to another endpoint, so that no lease is lost because an
//! endpoint does not respond. A lease is lost when the cluster reports so, or when its TTL has
//! passed since the last renewal with a response.

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
use super::cluster::{Cluster, PAUSE, PAUSE_MAX, after};
use super::link::{Failure, Link, failure};
use crate::pb::etcdserverpb as pb;
use crate::sync::lock;

const PATH: &str = "/etcdserverpb.Lease/LeaseKeepAlive";
/// Grants whose TTL is remembered, for a program that keeps the lease alive next.
const GRANTED_MAX: usize = 64;
/// The assumed TTL of a lease until its first renewal reports the real one.
const TTL_UNKNOWN: Duration = Duration::from_secs(3);

/// Called when a lease is lost.
pub(crate) type LostCallback = Box<dyn FnOnce() + Send>;

/// The leases that a handle keeps alive.
pub(crate) struct Leases {
    cluster: Arc<Cluster>,
    kept: Mutex<HashMap<u64, KeptLease>>,
    last: AtomicU64,
    task: Mutex<Option<AbortHandle>>,
    /// Notified when a lease is added.
    changed: Notify,
    granted: Mutex<VecDeque<(LeaseId, Duration)>>,
}

struct KeptLease {
    id: LeaseId,
    /// `None` until it is known.
    ttl: Option<Duration>,
    renew_at: Instant,
    /// When a renewal was sent that has no response yet.
    sent_at: Option<Instant>,
    /// When the lease is lost unless a renewal has a response; `None` while its TTL is not known.
    lost_at: Option<Instant>,
    lost: LostCallback,
}

impl KeptLease {
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

    /// Stores the TTL of a grant.
    pub fn granted(&self, id: LeaseId, ttl_seconds: i64) {
        let mut granted = lock(&self.granted);
        granted.push_back((id, seconds(ttl_seconds)));
        if granted.len() > GRANTED_MAX {
            granted.pop_front();
        }
    }

    /// Stops keeping leases alive. Returns their ids, in the order in which they were added.
    pub fn release_all(&self) -> Vec<LeaseId> {
        if let Some(task) = lock(&self.task).take() {
            task.abort();
        }
        let mut gone: Vec<(u64, KeptLease)> = lock(&self.kept).drain().collect();
        gone.sort_unstable_by_key(|(number, _)| *number);
        gone.into_iter().map(|(_, kept)| kept.id).collect()
    }

    /// The time of the next renewal or expiry.
    fn next_at(&self) -> Option<Instant> {
        let kept = lock(&self.kept);
        kept.values()
            .map(|kept| {
                kept.lost_at
                    .map_or(kept.renew_at, |lost_at| kept.renew_at.min(lost_at))
            })
            .min()
    }

    /// Removes the leases whose TTL has passed, and notifies their owners.
    fn remove_expired(&self) {
        let now = Instant::now();
        self.remove_lost(|kept| kept.lost_at.is_some_and(|lost_at| lost_at <= now));
    }

    /// Notifies the owners of a lease that was revoked while it was renewed automatically.
    pub fn revoked(&self, id: LeaseId) {
        self.remove_lost(|kept| kept.id == id);
    }

    fn remove_lost(&self, which: impl Fn(&KeptLease) -> bool) {
        let lost: Vec<KeptLease> = {
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
            // a callback that panics must not end the renewal of other leases
            let _ = catch_unwind(AssertUnwindSafe(kept.lost));
        }
    }

    /// The leases to renew now; an error if an earlier renewal of one has had no response.
    fn due(&self) -> std::result::Result<Vec<LeaseId>, ()> {
        let now = Instant::now();
        let is_late = |kept: &KeptLease| kept.renew_at <= now && kept.sent_at.is_some();
        let any_late = lock(&self.kept).values().any(is_late);
        match any_late {
            true => Err(()),
            false => Ok(self.begin_renewals(|kept| kept.renew_at <= now)),
        }
    }

    /// Notes that these leases are renewed now, and returns their ids.
    fn begin_renewals(&self, which: impl Fn(&KeptLease) -> bool) -> Vec<LeaseId> {
        let now = Instant::now();
        let mut ids = Vec::new();
        for kept in lock(&self.kept).values_mut().filter(|kept| which(kept)) {
            kept.sent_at = Some(now);
            kept.renew_at = now + kept.interval();
            ids.push(kept.id);
        }
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// Renewals that were sent over a connection that has failed are due again at once.
    fn renew_again(&self) {
        let now = Instant::now();
        for kept in lock(&self.kept)
            .values_mut()
            .filter(|kept| kept.sent_at.is_some())
        {
            kept.renew_at = now;
        }
    }

    fn record_renewal(&self, response: &pb::LeaseKeepAliveResponse) {
        if response.ttl <= 0 {
            return self.remove_lost(|kept| kept.id == response.id);
        }
        for kept in lock(&self.kept)
            .values_mut()
            .filter(|kept| kept.id == response.id)
        {
            let ttl = seconds(response.ttl);
            let sent_at = kept.sent_at.take().unwrap_or_else(Instant::now);
            kept.ttl = Some(ttl);
            kept.renew_at = sent_at + kept.interval();
            kept.lost_at = Some(sent_at + ttl);
        }
    }
}

fn seconds(ttl_seconds: i64) -> Duration {
    // a century is long enough
    Duration::from_secs(
        u64::try_from(ttl_seconds)
            .unwrap_or(0)
            .clamp(1, 36_500 * 86_400),
    )
}

/// Keeps a lease alive until the returned value is dropped. It does not wait: the first renewal,
/// which is sent at once, shows whether the lease exists.
pub(crate) fn keep(leases: &Arc<Leases>, id: LeaseId, lost: LostCallback) -> Box<dyn KeepAlive> {
    let now = Instant::now();
    let ttl = lock(&leases.granted)
        .iter()
        .rev()
        .find(|(granted, _)| *granted == id)
        .map(|(_, ttl)| *ttl);
    let kept = KeptLease {
        id,
        ttl,
        renew_at: now,
        sent_at: None,
        lost_at: ttl.map(|ttl| now + ttl),
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
                    .spawn(renew_all(Arc::downgrade(leases)))
                    .abort_handle(),
            )
        }
    }
    Box::new(LeaseKeeper {
        leases: Arc::downgrade(leases),
        number,
    })
}

/// Keeps a lease alive until it is dropped.
struct LeaseKeeper {
    leases: Weak<Leases>,
    number: u64,
}

impl KeepAlive for LeaseKeeper {}

impl Drop for LeaseKeeper {
    fn drop(&mut self) {
        // in a forked child, a thread of the parent may hold the lock
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

/// The task that renews, from the first lease until the handle is closed.
async fn renew_all(leases: Weak<Leases>) {
    let mut pause = PAUSE;
    while let Some(leases) = leases.upgrade() {
        let cluster = &leases.cluster;
        let Some(next_at) = leases.next_at() else {
            leases.changed.notified().await;
            continue;
        };
        // no connection is needed before a renewal is due
        if next_at > Instant::now() {
            let _ = timeout_at(next_at, leases.changed.notified()).await;
        }
        leases.remove_expired();
        if leases.next_at().is_none_or(|at| at > Instant::now()) {
            continue;
        }
        match cluster.link(after(cluster.connect_timeout)).await {
            Ok(link) => {
                if renew_over(&leases, &link).await {
                    pause = PAUSE;
                }
                leases.renew_again();
            }
            Err(_) => leases.remove_expired(),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Renews over one connection until that fails, or no lease is left. Returns whether there was a
/// response.
async fn renew_over(leases: &Leases, link: &Link) -> bool {
    let cluster = &leases.cluster;
    let (send, requests) = mpsc::unbounded_channel();
    let renew = |due: Vec<LeaseId>| {
        for id in due {
            // the stream may have ended, which is noticed below
            let _ = send.send(pb::LeaseKeepAliveRequest { id });
        }
    };
    // the server sends nothing before the first request
    renew(leases.begin_renewals(|_| true));
    let token = cluster.token();
    let opening = link.streaming(PATH, UnboundedReceiverStream::new(requests), &token);
    let time_limit = cluster.connect_timeout.min(
        lock(&leases.kept)
            .values()
            .map(KeptLease::interval)
            .min()
            .unwrap_or_default(),
    );
    let mut responses: Streaming<pb::LeaseKeepAliveResponse> =
        match timeout(time_limit, opening).await {
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
                    leases.record_renewal(&response);
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
                leases.remove_expired();
                match leases.due() {
                    Ok(due) => renew(due),
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

/// After a refusal: gets a new token if that may help, otherwise leaves the endpoint.
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
    let mut kept = LeaseKeepAliveResponse::default();
    kept.id = response.id;
    kept.ttl_seconds = response.ttl;
    Ok(kept)
}
