//! The cluster of one handle: selects the endpoint, and replaces one that fails.
//!
//! Everything goes to one endpoint, over one connection, until that fails. The first one is chosen
//! at random, so that many clients spread over a cluster. Endpoints are dialled in a race: each has
//! a short head start over the next, so that one that does not respond delays nothing.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use libkv::support::fork_generation;
use libkv::{Code, Error, Options, Result, Secret};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};
use tonic::Status;

use super::address::{self, Endpoint};
use super::link::{Dialer, Failure, Link, Token, failure};
use super::runtime::Runtime;
use super::tls::Tls;
use crate::convert;
use crate::pb::etcdserverpb as pb;
use crate::sync::lock;

const CONNECT_TIMEOUT_MS: u64 = 5_000;
const REQUEST_TIMEOUT_MS: u64 = 30_000;
const KEEP_ALIVE_MS: u64 = 10_000;
/// Half a minute by default.
const PROGRESS_KEEP_ALIVES: u32 = 3;
/// The head start of an endpoint over the next one in a race.
const HEAD_START: Duration = Duration::from_millis(250);
/// The pause between two rounds of dialling, at first; it doubles up to `PAUSE_MAX`.
pub(crate) const PAUSE: Duration = Duration::from_millis(25);
pub(crate) const PAUSE_MAX: Duration = Duration::from_millis(500);

/// Now and this much time; `u64::MAX` milliseconds mean no limit.
pub(crate) fn after(time: Duration) -> Instant {
    const FOREVER: Duration = Duration::from_secs(30 * 365 * 86_400);
    Instant::now() + time.min(FOREVER)
}

/// The state that everything made from one handle shares.
pub(crate) struct Cluster {
    pub runtime: Arc<Runtime>,
    endpoints: Arc<Vec<Endpoint>>,
    dialer: Arc<Dialer>,
    pub connect_timeout: Duration,
    pub request_timeout: Duration,
    /// After this time without a message a watcher requests its progress.
    pub progress_interval: Duration,
    login: Option<(String, Secret)>,
    token: Mutex<Token>,
    /// Held while a new token is requested.
    renewing: tokio::sync::Mutex<()>,
    link: Mutex<Option<Link>>,
    /// The endpoint that is dialled first.
    next: AtomicUsize,
    dialing: tokio::sync::Mutex<Option<FailedDialling>>,
    closed: AtomicBool,
    generation: u64,
}

/// The last round of dialling, if it failed.
struct FailedDialling {
    at: Instant,
    error: Error,
}

/// Why one endpoint could not be used.
enum DialError {
    /// The reason as a text.
    Unreachable(String),
    /// It refuses the user, and so will the others.
    Refused(Error),
}

impl Cluster {
    /// Reads address and options; nothing is dialled yet.
    pub fn new(address: &str, options: &Options) -> Result<Cluster> {
        if let Some(option) = options.store_option() {
            let message = format!(
                "option {option} belongs to a store in this process, but {address} is a cluster"
            );
            return Err(Error::new(Code::InvalidArgument, message));
        }
        let tls_wanted = [&options.tls_ca, &options.tls_cert, &options.tls_key]
            .iter()
            .any(|file| file.is_some())
            || options.tls_server_name.is_some();
        let endpoints = address::parse(address, tls_wanted)?;
        let tls = endpoints
            .iter()
            .any(Endpoint::has_tls)
            .then(|| Tls::new(options))
            .transpose()?;
        let login = match (&options.user, &options.password) {
            (Some(user), Some(password)) => Some((user.clone(), password.clone())),
            (None, None) => None,
            (Some(_), None) => {
                return Err(Error::new(
                    Code::InvalidArgument,
                    "option user needs option password",
                ));
            }
            (None, Some(_)) => {
                return Err(Error::new(
                    Code::InvalidArgument,
                    "option password needs option user",
                ));
            }
        };
        let time = |name, given: Option<u64>, usual| match given.unwrap_or(usual) {
            0 => Err(Error::new(
                Code::InvalidArgument,
                format!("{name} must be greater than 0"),
            )),
            ms => Ok(Duration::from_millis(ms)),
        };
        let keep_alive = time("keep_alive_ms", options.keep_alive_ms, KEEP_ALIVE_MS)?;
        let keep_alive = (options.keep_alive_ms != Some(u64::MAX)).then_some(keep_alive);
        let progress_interval =
            keep_alive.unwrap_or(Duration::from_millis(KEEP_ALIVE_MS)) * PROGRESS_KEEP_ALIVES;
        let next = AtomicUsize::new(RandomState::new().hash_one(0) as usize % endpoints.len());
        Ok(Cluster {
            runtime: Runtime::get()?,
            endpoints: Arc::new(endpoints),
            dialer: Arc::new(Dialer { tls, keep_alive }),
            connect_timeout: time(
                "connect_timeout_ms",
                options.connect_timeout_ms,
                CONNECT_TIMEOUT_MS,
            )?,
            request_timeout: time(
                "request_timeout_ms",
                options.request_timeout_ms,
                REQUEST_TIMEOUT_MS,
            )?,
            progress_interval,
            login,
            token: Mutex::default(),
            renewing: tokio::sync::Mutex::default(),
            link: Mutex::default(),
            next,
            dialing: tokio::sync::Mutex::default(),
            closed: AtomicBool::new(false),
            generation: fork_generation(),
        })
    }

    /// Returns an error if the handle is closed or from before a fork.
    pub fn ensure_open(&self) -> Result<()> {
        if !self.is_ours() {
            return Err(Error::new(
                Code::Forked,
                "this handle was opened before fork(): open the cluster again in the child",
            ));
        }
        match self.closed.load(Ordering::Acquire) {
            true => Err(closed()),
            false => Ok(()),
        }
    }

    /// Whether this process opened it; otherwise no lock of it may be touched.
    pub fn is_ours(&self) -> bool {
        self.generation == fork_generation()
    }

    /// Closes it; false if it was closed before.
    pub fn set_closed(&self) -> bool {
        !self.closed.swap(true, Ordering::AcqRel)
    }

    /// The connection in use, if it is alive.
    fn current(&self) -> Option<Link> {
        let link = lock(&self.link).clone()?;
        match link.is_closed() {
            false => Some(link),
            true => {
                self.leave(&link);
                None
            }
        }
    }

    /// Stops using this connection: the next request goes to another endpoint if there is one.
    /// Requests and streams in progress continue.
    pub fn leave(&self, link: &Link) {
        let mut current = lock(&self.link);
        if current.as_ref().is_some_and(|current| current.same(link)) {
            *current = None;
            self.next.store(
                (link.endpoint() + 1) % self.endpoints.len(),
                Ordering::Relaxed,
            );
        }
    }

    /// A connection; dials for at most the connect timeout if there is none.
    ///
    /// # Errors
    ///
    /// `unavailable`, naming each endpoint with its reason; `unauthenticated`.
    pub async fn link(&self, until: Instant) -> Result<Link> {
        let until = until.min(after(self.connect_timeout));
        let mut pause = PAUSE;
        loop {
            match self.try_link(until).await {
                Err(error)
                    if error.code() == Code::Unavailable && Instant::now() + pause < until =>
                {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
                response => return response,
            }
        }
    }

    /// A connection, after at most one round of dialling.
    pub async fn try_link(&self, until: Instant) -> Result<Link> {
        if let Some(link) = self.current() {
            return Ok(link);
        }
        let begun = Instant::now();
        let late = |_| self.unreachable(&vec![None; self.endpoints.len()]);
        let mut failed = timeout_at(until, self.dialing.lock()).await.map_err(late)?;
        // a caller that waited for another caller's round uses its result
        if let Some(link) = self.current() {
            return Ok(link);
        }
        if let Some(failed) = failed.as_ref().filter(|failed| failed.at >= begun) {
            return Err(failed.error.clone());
        }
        match self.race(until).await {
            Ok(link) => {
                *lock(&self.link) = Some(link.clone());
                *failed = None;
                Ok(link)
            }
            Err(error) => {
                *failed = Some(FailedDialling {
                    at: Instant::now(),
                    error: error.clone(),
                });
                Err(error)
            }
        }
    }

    /// Dials all endpoints, one after the other with a head start each; the first that responds
    /// wins.
    async fn race(&self, until: Instant) -> Result<Link> {
        let count = self.endpoints.len();
        let first = self.next.load(Ordering::Relaxed);
        let until = until.min(after(self.connect_timeout));
        let mut reasons: Vec<Option<String>> = vec![None; count];
        let mut runners = JoinSet::new();
        let mut begun = 0;
        let mut next_start = Instant::now();
        loop {
            if begun < count && (next_start <= Instant::now() || runners.is_empty()) {
                let number = (first + begun) % count;
                runners.spawn(dial(
                    self.dialer.clone(),
                    self.endpoints.clone(),
                    number,
                    self.login.clone(),
                ));
                begun += 1;
                next_start = Instant::now() + HEAD_START;
            }
            tokio::select! {
                done = runners.join_next() => match done {
                    Some(Ok((_, Ok((link, token))))) => {
                        self.set_token(token);
                        self.next.store(link.endpoint(), Ordering::Relaxed);
                        return Ok(link);
                    }
                    Some(Ok((_, Err(DialError::Refused(error))))) => return Err(error),
                    Some(Ok((number, Err(DialError::Unreachable(reason))))) => {
                        reasons[number] = Some(reason);
                        next_start = Instant::now();
                    }
                    Some(Err(panicked)) => return Err(Error::new(Code::Internal, panicked.to_string())),
                    None => break,
                },
                () = sleep_until(next_start), if begun < count => {}
                () = sleep_until(until) => break,
            }
            if begun == count && runners.is_empty() {
                break;
            }
        }
        Err(self.unreachable(&reasons))
    }

    fn unreachable(&self, reasons: &[Option<String>]) -> Error {
        let late = format!("timed out after {} ms", self.connect_timeout.as_millis());
        let each: Vec<String> = self
            .endpoints
            .iter()
            .zip(reasons)
            .map(|(endpoint, reason)| format!("{endpoint}: {}", reason.as_ref().unwrap_or(&late)))
            .collect();
        Error::new(
            Code::Unavailable,
            format!("no endpoint is reachable ({})", each.join("; ")),
        )
    }

    /// The token for the next request.
    pub fn token(&self) -> Token {
        lock(&self.token).clone()
    }

    fn set_token(&self, value: Option<tonic::metadata::AsciiMetadataValue>) -> Token {
        let mut token = lock(&self.token);
        *token = Token {
            value,
            number: token.number + 1,
        };
        token.clone()
    }

    /// Whether a new token may help after this refusal.
    pub fn is_stale(&self, status: &Status) -> bool {
        let stale = [
            "invalid auth token",
            "revision of auth store is old",
            "user name is empty",
        ];
        self.login.is_some() && stale.iter().any(|text| status.message().ends_with(text))
    }

    /// Logs in again, unless another task has done so since `seen`.
    pub async fn renew(&self, link: &Link, seen: &Token) -> Result<()> {
        let Some(login) = &self.login else {
            return Ok(());
        };
        let _renewing = self.renewing.lock().await;
        if self.token().number == seen.number {
            let token = log_in(link, login)
                .await
                .map_err(|status| convert::error_in(&status, None))?;
            self.set_token(token);
        }
        Ok(())
    }

    /// The number of endpoints that were given.
    pub fn endpoint_count(&self) -> usize {
        self.endpoints.len()
    }

    /// Whether there is a user to log in.
    pub fn has_login(&self) -> bool {
        self.login.is_some()
    }
}

pub(crate) fn closed() -> Error {
    Error::new(Code::Closed, "the cluster's handle is closed")
}

type DialResult =
    std::result::Result<(Link, Option<tonic::metadata::AsciiMetadataValue>), DialError>;

/// Dials one endpoint, and makes a call.
async fn dial(
    dialer: Arc<Dialer>,
    endpoints: Arc<Vec<Endpoint>>,
    number: usize,
    login: Option<(String, Secret)>,
) -> (usize, DialResult) {
    let work = async {
        let link = dialer
            .dial(number, &endpoints[number])
            .await
            .map_err(DialError::Unreachable)?;
        let response = match &login {
            Some(login) => log_in(&link, login).await,
            None => {
                let no_token = Token::default();
                let status = link.unary(
                    "/etcdserverpb.Maintenance/Status",
                    pb::StatusRequest {},
                    &no_token,
                );
                status.await.map(|_: pb::StatusResponse| None)
            }
        };
        match response {
            Ok(token) => Ok((link, token)),
            Err(status) => match failure(&status) {
                // any response shows that the server supports the protocol
                Failure::Refused if login.is_none() && is_etcd(&status) => Ok((link, None)),
                Failure::Refused
                    if login.is_some() && status.code() != tonic::Code::Unavailable =>
                {
                    let error = convert::error_in(&status, None);
                    Err(DialError::Refused(Error::new(
                        error.code(),
                        format!("{} ({})", error.message(), link.name()),
                    )))
                }
                // a server with TLS sends nothing to a client without
                Failure::Cut | Failure::Unsent if endpoints[number].is_plain() => {
                    Err(DialError::Unreachable(format!(
                        "{} (it may require TLS: https)",
                        link.reason(&status)
                    )))
                }
                _ => Err(DialError::Unreachable(link.reason(&status))),
            },
        }
    };
    (number, work.await)
}

/// Whether this was refused by a server of etcd's protocol, or by another HTTP/2 server.
fn is_etcd(status: &Status) -> bool {
    !status.message().starts_with("grpc-status header missing")
}

/// A token for a name and a password; `None` if the server needs none.
async fn log_in(
    link: &Link,
    (name, password): &(String, Secret),
) -> std::result::Result<Option<tonic::metadata::AsciiMetadataValue>, Status> {
    let request = pb::AuthenticateRequest {
        name: name.clone(),
        password: password.reveal().to_string(),
    };
    let response: std::result::Result<pb::AuthenticateResponse, Status> = link
        .unary(
            "/etcdserverpb.Auth/Authenticate",
            request,
            &Token::default(),
        )
        .await;
    match response {
        Ok(response) => Ok(response.token.parse().ok()),
        // as in etcd's own client: the user is ignored
        Err(status) if status.message().ends_with("authentication is not enabled") => Ok(None),
        Err(status) => Err(status),
    }
}
