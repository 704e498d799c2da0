//! The state that all services share: the store, its identity, the limits, the closing signal and
//! the counters for `/metrics`.

use std::cell::LazyCell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use libkv::engine::Limits;
use libkv::{AuthStamp, Db, Request, Response, Revision};
use tokio::sync::{oneshot, watch};
use tonic::Status;

use super::allowlist::Allowlist;
use super::auth::{Caller, CallerRights, Guard};
use super::counters::Counters;
use super::options::{ConnectionSettings, Level, Log};
use crate::convert::{Identity, refusal};

/// How often a write is tried while users, roles or permissions change.
const RIGHTS_ATTEMPTS: usize = 16;
/// The refusal of a write whose caller's rights were checked before such a change.
const RIGHTS_CHANGED: &str = "etcdserver: revision of auth store is old";

/// The target of the server's events of `tracing`.
const LOG_TARGET: &str = "libkv_etcd::server";

/// The store, and everything else that the services need.
pub(crate) struct Store {
    pub db: Db,
    pub identity: Identity,
    /// The one member's name.
    pub name: String,
    /// Its peer URLs, as `MemberList` shows them and `MemberUpdate` replaces them.
    pub peer_urls: Mutex<Vec<String>>,
    /// Its client URLs, as `MemberList` shows them.
    pub client_urls: Vec<String>,
    /// The server's own limits, if they differ from those of the handle.
    pub limits: Option<Limits>,
    /// The largest message that is accepted, also the size at which watch responses are split.
    pub message_bytes_max: usize,
    /// How often a quiet watch that requested it reports its progress.
    pub progress_notify_interval_ms: u64,
    /// Whether the server has the JSON gateway.
    pub gateway: bool,
    pub connections: ConnectionSettings,
    /// When the server began.
    pub started: Instant,
    pub counters: Counters,
    /// Verifies callers.
    pub guard: Guard,
    pub file_check: FileCheck,
    /// The allowed origins and hosts.
    pub allowlist: Allowlist,
    pub log: Option<Log>,
    /// True once the server closes.
    pub closing: watch::Sender<bool>,
}

impl Store {
    /// Runs a request of a caller: a read at once on this thread, a write with the next group.
    /// Dropping the future cancels the request, unless a group has started to run it.
    pub async fn call(
        &self,
        caller: &Caller,
        request: impl Into<Request>,
    ) -> Result<Response, Status> {
        let request = request.into();
        for _ in 0..RIGHTS_ATTEMPTS {
            let rights = self.rights(caller, &request)?;
            if !rights.are_checked() {
                // refused only if authentication was turned on meanwhile
                return self.run(rights.stamp(), request).await;
            }
            match self.run(rights.stamp(), request.clone()).await {
                Err(status) if status.message() == RIGHTS_CHANGED => {}
                response => return response,
            }
        }
        Err(Status::invalid_argument(RIGHTS_CHANGED))
    }

    /// Checks the caller's right to a read. `None`: authentication is off.
    pub fn permit_read(
        &self,
        caller: &Caller,
        request: impl FnOnce() -> Request,
    ) -> Result<Option<ReadPermit>, Status> {
        let rights = self.guard.rights(caller);
        if rights.as_ref().is_ok_and(|rights| !rights.are_checked()) {
            return Ok(None);
        }
        let request = request();
        self.validate(&request)?;
        let rights = rights?;
        rights.request(&self.db, &request)?;
        Ok(Some(ReadPermit {
            caller: caller.clone(),
            rights,
            request,
        }))
    }

    /// Called after a read: refuses it if the caller's right to it has ended meanwhile.
    pub fn confirm(&self, permit: Option<ReadPermit>) -> Result<(), Status> {
        match permit {
            Some(permit) if self.guard.has_changed(&permit.rights)? => self
                .guard
                .rights(&permit.caller)?
                .request(&self.db, &permit.request),
            _ => Ok(()),
        }
    }

    /// The rights of a caller, if they suffice for this request, whose form is checked first.
    pub fn rights(&self, caller: &Caller, request: &Request) -> Result<CallerRights, Status> {
        let rights = self.guard.rights(caller);
        if !rights.as_ref().is_ok_and(|rights| !rights.are_checked()) {
            self.validate(request)?;
        }
        let rights = rights?;
        rights.request(&self.db, request)?;
        Ok(rights)
    }

    /// Refuses a request whose form is wrong. Its size is checked later, after the caller's rights.
    fn validate(&self, request: &Request) -> Result<(), Status> {
        let limits = self.limits.or_else(|| Limits::of(&self.db));
        match limits.map_or(Ok(()), |limits| limits.check(request)) {
            Err(error) if error.code() != libkv::Code::TooLarge => Err(refusal(error)),
            _ => Ok(()),
        }
    }

    /// Runs a request, unless users, roles or permissions have changed since this stamp.
    async fn run(&self, stamp: AuthStamp, request: Request) -> Result<Response, Status> {
        self.check(&request)?;
        let (sender, receiver) = oneshot::channel();
        let started = Instant::now();
        let completion = Box::new(move |response| {
            let _ = sender.send(response);
        });
        let submitted = self.db.engine().submit_if(stamp, request, completion);
        let mut cancel = CancelOnDrop(Some(submitted));
        let response = receiver.await.map_err(|_| stopped());
        cancel.0 = None;
        let response = response?.map_err(refusal)?;
        self.counters.count(&response);
        // a physical compaction waits for its sweep, which does not indicate a slow disk
        if !matches!(response, Response::Compact(_)) {
            self.counters.applied(started.elapsed());
        }
        Ok(response)
    }

    /// Refuses a request that exceeds the server's own limits.
    pub fn check(&self, request: &Request) -> Result<(), Status> {
        self.limits
            .map_or(Ok(()), |limits| limits.check(request))
            .map_err(refusal)
    }

    /// Runs a read that may be large on a thread that may block, so that the other requests of its
    /// connection continue.
    pub async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Db) -> libkv::Result<T> + Send + 'static,
    ) -> Result<T, Status> {
        let started = Instant::now();
        let response = self.read_all(read).await;
        self.counters.applied(started.elapsed());
        response
    }

    /// As [`read`](Store::read), for what reads the whole store: it is no sign of a slow disk.
    pub async fn read_all<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Db) -> libkv::Result<T> + Send + 'static,
    ) -> Result<T, Status> {
        let store = self.clone();
        match tokio::task::spawn_blocking(move || read(&store.db)).await {
            Ok(response) => response.map_err(refusal),
            Err(ended) if ended.is_panic() => std::panic::resume_unwind(ended.into_panic()),
            Err(_) => Err(stopped()),
        }
    }

    /// The store's revision now, for the headers of responses that have no revision of their own.
    pub fn revision(&self) -> Result<Revision, Status> {
        Ok(self.db.snapshot().map_err(refusal)?.revision())
    }

    /// Completes once the server closes. Streams without an end wait for it, and then return
    /// [`stopped`].
    pub fn closed(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut closing = self.closing.subscribe();
        async move {
            // an error means that the server has ended
            let _ = closing.wait_for(|closing| *closing).await;
        }
    }

    /// Checks, at most once a second while requests come, whether the store's files still exist,
    /// and logs once that they do not: later writes are acknowledged as before, and will be lost.
    pub fn check_files(&self) {
        let second = self.started.elapsed().as_secs() + 1;
        let FileCheck { checked, removed } = &self.file_check;
        if checked.load(Ordering::Relaxed) == second
            || checked.swap(second, Ordering::Relaxed) == second
        {
            return;
        }
        let gone = self.db.status().is_ok_and(|status| status.removed);
        if gone && !removed.swap(true, Ordering::Relaxed) {
            self.log(Level::Error, || {
                "the store's files were removed: all writes are lost when the last process closes it".into()
            });
        }
    }

    /// Writes one line to the log: an event of `tracing`, and a call of the log function.
    pub fn log(&self, level: Level, line: impl FnOnce() -> String) {
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

/// A read that its caller had the right to when it began; see [`Store::confirm`].
pub(crate) struct ReadPermit {
    caller: Caller,
    rights: CallerRights,
    request: Request,
}

#[cfg(test)]
impl Store {
    /// A store that is not served.
    pub fn for_tests(db: Db, closing: watch::Sender<bool>) -> Store {
        Store {
            guard: Guard::for_tests(&db),
            db,
            identity: Identity::default(),
            name: String::new(),
            peer_urls: Mutex::default(),
            client_urls: Vec::new(),
            limits: None,
            message_bytes_max: 0,
            progress_notify_interval_ms: 0,
            gateway: true,
            connections: ConnectionSettings::default(),
            started: Instant::now(),
            counters: Counters::default(),
            file_check: FileCheck::default(),
            allowlist: Allowlist::default(),
            log: None,
            closing,
        }
    }
}

/// The status at the end of a stream when the server closes.
pub(crate) fn stopped() -> Status {
    Status::unavailable("etcdserver: server stopped")
}

/// Cancels a request when its caller is dropped.
struct CancelOnDrop(Option<libkv::engine::Submission>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if let Some(submitted) = self.0.take() {
            submitted.cancel();
        }
    }
}

/// The state of [`Store::check_files`].
#[derive(Default)]
pub(crate) struct FileCheck {
    /// The second of the server's time in which it checked last, from 1.
    checked: AtomicU64,
    /// The files were found to be removed.
    removed: AtomicBool,
}
