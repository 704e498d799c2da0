//! What all services share: the store, who they are, the limits, the sign that the server closes, and
//! what is counted for `/metrics`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use libkv::{Answer, Db, Limits, Request, Revision};
use tokio::sync::{oneshot, watch};
use tonic::Status;

use super::how::{Level, Log};
use crate::convert::{Identity, refusal};
use crate::pb::METHODS;

/// The store, and everything that the services need beside it.
pub(crate) struct Store {
    pub db: Db,
    pub identity: Identity,
    /// The one member's name.
    pub name: String,
    /// Where clients reach it, as `MemberList` says.
    pub client_urls: Vec<String>,
    /// The server's own limits, if they are not those of the handle.
    pub limits: Option<Limits>,
    /// The largest message that is taken; also where fragments of watch answers are cut.
    pub message_bytes_max: usize,
    /// How often a quiet watch that asked for it is told of progress.
    pub progress_notify_interval_ms: u64,
    /// When the server began.
    pub started: Instant,
    pub counters: Counters,
    pub watched: Watched,
    pub log: Option<Log>,
    /// True once the server closes.
    pub closing: watch::Sender<bool>,
}

impl Store {
    /// Runs a request: reads at once on this thread, writes with the next group. Whoever drops this
    /// takes the request back, unless a group has it already.
    pub async fn call(&self, request: impl Into<Request>) -> Result<Answer, Status> {
        let request = request.into();
        self.check(&request)?;
        let (tell, told) = oneshot::channel();
        let submitted = self.db.submit(request, move |answer| {
            let _ = tell.send(answer);
        });
        let mut given_up = Withdraw(Some(submitted));
        let answer = told.await.map_err(|_| stopped());
        given_up.0 = None;
        answer?.map_err(refusal)
    }

    /// Refuses what is beyond the server's own limits.
    pub fn check(&self, request: &Request) -> Result<(), Status> {
        self.limits.map_or(Ok(()), |limits| limits.check(request)).map_err(refusal)
    }

    /// Runs what may read much on a thread that may take its time, so that the other requests of its
    /// connection go on.
    pub async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Db) -> libkv::Result<T> + Send + 'static,
    ) -> Result<T, Status> {
        let store = self.clone();
        match tokio::task::spawn_blocking(move || read(&store.db)).await {
            Ok(answer) => answer.map_err(refusal),
            Err(ended) if ended.is_panic() => std::panic::resume_unwind(ended.into_panic()),
            Err(_) => Err(stopped()),
        }
    }

    /// The store's revision now, for the headers of answers that have none of their own.
    pub fn revision(&self) -> Result<Revision, Status> {
        Ok(self.db.snapshot().map_err(refusal)?.revision())
    }

    /// Ends once the server closes: streams that never end on their own wait for it, and then answer
    /// [`stopped`].
    pub fn closed(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut closing = self.closing.subscribe();
        async move {
            // an error says that the store itself is gone, and with it the server
            let _ = closing.wait_for(|closing| *closing).await;
        }
    }

    /// Looks, once a second at most while requests come, whether the store's files are still there, and says
    /// once that they are not: what is written is acknowledged as ever, and will be lost.
    pub fn look(&self) {
        let second = self.started.elapsed().as_secs() + 1;
        let Watched { looked, removed } = &self.watched;
        if looked.load(Ordering::Relaxed) == second || looked.swap(second, Ordering::Relaxed) == second {
            return;
        }
        let gone = self.db.status().is_ok_and(|status| status.alarms.iter().any(|alarm| alarm == "REMOVED"));
        if gone && !removed.swap(true, Ordering::Relaxed) {
            self.say(Level::Error, || {
                "the store's files were removed: what is written is lost when the last process closes it".into()
            });
        }
    }

    /// Says one line, if anybody listens.
    pub fn say(&self, level: Level, line: impl FnOnce() -> String) {
        if let Some(log) = &self.log {
            log(level, &line());
        }
    }
}

#[cfg(test)]
impl Store {
    /// One that nobody serves.
    pub fn for_tests(db: Db, closing: watch::Sender<bool>) -> Store {
        Store {
            db,
            identity: Identity::default(),
            name: String::new(),
            client_urls: Vec::new(),
            limits: None,
            message_bytes_max: 0,
            progress_notify_interval_ms: 0,
            started: Instant::now(),
            counters: Counters::default(),
            watched: Watched::default(),
            log: None,
            closing,
        }
    }
}

/// What a stream ends with when the server closes.
pub(crate) fn stopped() -> Status {
    Status::unavailable("etcdserver: server stopped")
}

/// Takes a request back when its caller is gone.
struct Withdraw(Option<libkv::Submitted>);

impl Drop for Withdraw {
    fn drop(&mut self) {
        if let Some(submitted) = self.0.take() {
            submitted.cancel();
        }
    }
}

/// When [`Store::look`] did so last.
#[derive(Default)]
pub(crate) struct Watched {
    /// In which second of the server's, from 1.
    looked: AtomicU64,
    /// The files were gone.
    removed: AtomicBool,
}

/// What the server counts.
pub(crate) struct Counters {
    /// For each line of [`METHODS`].
    pub methods: Vec<MethodCounters>,
    /// Bytes of messages that clients sent and were sent.
    pub received_bytes: AtomicU64,
    pub sent_bytes: AtomicU64,
    /// Connections that are open.
    pub connections: AtomicI64,
    /// Bytes of large messages that are kept in memory.
    pub held_bytes: AtomicUsize,
    /// Requests and streams under way.
    pub requests: AtomicI64,
}

/// Requests of one method.
#[derive(Default)]
pub(crate) struct MethodCounters {
    pub started: AtomicU64,
    /// By gRPC's code, 0 to 16.
    pub handled: [AtomicU64; 17],
}

impl Default for Counters {
    fn default() -> Counters {
        Counters {
            methods: METHODS.iter().map(|_| MethodCounters::default()).collect(),
            received_bytes: AtomicU64::new(0),
            sent_bytes: AtomicU64::new(0),
            held_bytes: AtomicUsize::new(0),
            connections: AtomicI64::new(0),
            requests: AtomicI64::new(0),
        }
    }
}

/// Counts one up until it is dropped.
pub(crate) struct Counted<'c>(&'c AtomicI64);

impl<'c> Counted<'c> {
    pub fn new(counter: &'c AtomicI64) -> Counted<'c> {
        counter.fetch_add(1, Ordering::Relaxed);
        Counted(counter)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
