//! What all services share: the store, who they are, the limits, the sign that the server closes, and
//! what is counted for `/metrics`.

use std::cell::LazyCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use libkv::engine::Limits;
use libkv::{Db, Request, Response, Revision};
use tokio::sync::{oneshot, watch};
use tonic::Status;

use super::access::Access;
use super::counters::Counters;
use super::how::{Connections, Level, Log};
use crate::convert::{Identity, refusal};

/// The target of the server's events of `tracing`.
const LOG_TARGET: &str = "libkv_etcd::server";

/// The store, and everything that the services need beside it.
pub(crate) struct Store {
    pub db: Db,
    pub identity: Identity,
    /// The one member's name.
    pub name: String,
    /// Its peer URLs and where clients reach it, as `MemberList` shows them.
    pub peer_urls: Vec<String>,
    pub client_urls: Vec<String>,
    /// The server's own limits, if they are not those of the handle.
    pub limits: Option<Limits>,
    /// The largest message that is taken; also where fragments of watch answers are cut.
    pub message_bytes_max: usize,
    /// How often a quiet watch that asked for it is told of progress.
    pub progress_notify_interval_ms: u64,
    /// Whether there is the JSON gateway.
    pub gateway: bool,
    pub connections: Connections,
    /// When the server began.
    pub started: Instant,
    pub counters: Counters,
    pub watched: Watched,
    /// Who may use the HTTP side.
    pub access: Access,
    pub log: Option<Log>,
    /// True once the server closes.
    pub closing: watch::Sender<bool>,
}

impl Store {
    /// Runs a request: reads at once on this thread, writes with the next group. Whoever drops this
    /// takes the request back, unless a group has it already.
    pub async fn call(&self, request: impl Into<Request>) -> Result<Response, Status> {
        let request = request.into();
        self.check(&request)?;
        let (tell, told) = oneshot::channel();
        let begun = Instant::now();
        let submitted = self.db.submit(request, move |response| {
            let _ = tell.send(response);
        });
        let mut given_up = Withdraw(Some(submitted));
        let response = told.await.map_err(|_| stopped());
        given_up.0 = None;
        let response = response?.map_err(refusal)?;
        self.counters.count(&response);
        // a physical compaction waits for its sweep, which is no sign of a slow disk
        if !matches!(response, Response::Compact(_)) {
            self.counters.applied(begun.elapsed());
        }
        Ok(response)
    }

    /// Refuses what is beyond the server's own limits.
    pub fn check(&self, request: &Request) -> Result<(), Status> {
        self.limits
            .map_or(Ok(()), |limits| limits.check(request))
            .map_err(refusal)
    }

    /// Runs what may read much on a thread that may take its time, so that the other requests of its
    /// connection go on.
    pub async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Db) -> libkv::Result<T> + Send + 'static,
    ) -> Result<T, Status> {
        let (store, begun) = (self.clone(), Instant::now());
        match tokio::task::spawn_blocking(move || read(&store.db)).await {
            Ok(response) => {
                self.counters.applied(begun.elapsed());
                response.map_err(refusal)
            }
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
        if looked.load(Ordering::Relaxed) == second
            || looked.swap(second, Ordering::Relaxed) == second
        {
            return;
        }
        let gone = self.db.status().is_ok_and(|status| status.removed);
        if gone && !removed.swap(true, Ordering::Relaxed) {
            self.say(Level::Error, || {
                "the store's files were removed: what is written is lost when the last process closes it".into()
            });
        }
    }

    /// Writes one line to the log: an event of `tracing`, and a call of the function that was given.
    pub fn say(&self, level: Level, line: impl FnOnce() -> String) {
        let line = LazyCell::new(line);
        match level {
            Level::Debug => tracing::debug!(target: LOG_TARGET, "{}", *line),
            Level::Info => tracing::info!(target: LOG_TARGET, "{}", *line),
            Level::Warn => tracing::warn!(target: LOG_TARGET, "{}", *line),
            Level::Error => tracing::error!(target: LOG_TARGET, "{}", *line),
        }
        if let Some(log) = &self.log {
            log(level, &line);
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
            peer_urls: Vec::new(),
            client_urls: Vec::new(),
            limits: None,
            message_bytes_max: 0,
            progress_notify_interval_ms: 0,
            gateway: true,
            connections: Connections::default(),
            started: Instant::now(),
            counters: Counters::default(),
            watched: Watched::default(),
            access: Access::default(),
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
struct Withdraw(Option<libkv::engine::Submission>);

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
