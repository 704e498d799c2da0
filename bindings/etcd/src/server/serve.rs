//! The public interface of the server: `serve`, and [`Server`], which it returns.

use std::fmt;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use libkv::engine::Limits;
use libkv::support::{BCRYPT_COST, BCRYPT_COSTS, fork_generation, ids_of_store};
use libkv::{Code, Db, Error, Result};
use tokio::runtime::{EnterGuard, Runtime};
use tokio::sync::watch;

use super::allowlist::Allowlist;
use super::auth::{Guard, TokenSpec};
use super::counters::Counters;
use super::listen::{ListenAddress, ListenSocket};
use super::options::{Level, Serve, environment_log};
use super::port::Port;
use super::router::Router;
use super::store::{FileCheck, Store};
use super::tls::{self, Tls};
use crate::convert::Identity;
use crate::sync::lock;

/// A message may be larger than the request in it, as in etcd.
const MESSAGE_OVERHEAD_BYTES: u64 = 512 * 1024;
/// How long [`Server::close`] waits for requests in progress.
const DRAIN: Duration = Duration::from_secs(2);

/// A running server. It ends when this is closed or dropped. The store stays open.
#[derive(Debug)]
pub struct Server {
    addresses: Vec<String>,
    metrics_addresses: Vec<String>,
    /// Identifies the process whose threads it runs on.
    generation: u64,
    running: Mutex<Option<RunningServer>>,
}

#[derive(Debug)]
struct RunningServer {
    threads: Threads,
    closing: watch::Sender<bool>,
    /// Disconnected once the last listener and connection have ended.
    ended: Receiver<()>,
}

impl Server {
    /// The first address that it listens on, in the form that clients take:
    /// `http://127.0.0.1:41234`, `https://…`, `unix:///path`.
    pub fn address(&self) -> &str {
        &self.addresses[0]
    }

    /// All addresses, in the order in which they were given.
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// The addresses that serve metrics and health only ([`Serve::listen_metrics`]), in the order
    /// in which they were given.
    pub fn metrics_addresses(&self) -> &[String] {
        &self.metrics_addresses
    }

    /// Ends the server. It accepts no more connections, streams end with `Unavailable`, and
    /// requests in progress get their responses unless they take longer than two seconds. When this
    /// returns, the addresses are free again and the server's threads have ended. It may be called
    /// from any thread, and more than once. In a forked child, which has none of the threads, it
    /// does nothing.
    pub fn close(&self) {
        if fork_generation() != self.generation {
            // the lock, and the locks within the runtime, may be held by threads that this process
            // does not have
            return std::mem::forget(
                self.running
                    .try_lock()
                    .ok()
                    .and_then(|mut running| running.take()),
            );
        }
        // the lock is held until the end, so that a second call also returns after the server has
        // ended
        let mut running = lock(&self.running);
        let Some(RunningServer {
            mut threads,
            closing,
            ended,
        }) = running.take()
        else {
            return;
        };
        closing.send_replace(true);
        drop(closing);
        let _ = ended.recv_timeout(DRAIN);
        // on a separate thread, because a runtime must not be waited for within another one
        let runtime = Mutex::new(threads.0.take());
        let take = || lock(&runtime).take();
        std::thread::scope(|scope| {
            let end = std::thread::Builder::new().name("kv-serve-end".into());
            let ending = end.spawn_scoped(scope, || {
                take().map(|runtime| runtime.shutdown_timeout(DRAIN))
            });
            match ending {
                Ok(ending) => drop(ending.join()),
                Err(_) => take().into_iter().for_each(Runtime::shutdown_background),
            }
        });
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.close();
    }
}

/// Serves a store to etcd's clients. The server is ready when this returns. It runs on its own
/// threads, whether or not the caller is within an async runtime.
///
/// # Errors
///
/// `invalid_argument` for an address or a certificate that cannot be read, `busy` for an address in
/// use, `permission_denied` and `io` if it cannot listen, `closed` for a closed store,
/// `unsupported` for a cluster.
pub fn serve(db: &Db, options: impl Into<Serve>) -> Result<Server> {
    listen(options)?.serve(db)
}

/// Begins to listen before a store is opened, so that no store is created that could not be served.
/// Clients that connect meanwhile wait.
///
/// # Errors
///
/// Those of [`serve`] that are not about the store.
pub fn listen(options: impl Into<Serve>) -> Result<Listener> {
    let mut options = options.into();
    if options.log.is_none() {
        options.log = environment_log()?;
    }
    // checked before anything is done; `Listener::serve` makes it again
    Allowlist::new(&options)?;
    TokenSpec::parse(&options.auth_token)?;
    let given = options.listen.iter().map(|address| (address, false));
    let given = given.chain(options.listen_metrics.iter().map(|address| (address, true)));
    let addresses: Vec<_> = given
        .map(|(address, pages_only)| Ok((ListenAddress::parse(address)?, pages_only)))
        .collect::<Result<_>>()?;
    let tls = addresses
        .iter()
        .any(|(address, _)| address.is_tls())
        .then(|| Tls::new(&options))
        .transpose()?
        .map(Arc::new);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("kv-serve")
        .on_thread_start(libkv::support::block_sigpipe)
        .enable_all()
        .build()
        .map_err(|error| {
            Error::new(
                Code::Io,
                format!("the server's threads cannot be started: {error}"),
            )
        })?;
    let threads = Threads(Some(runtime));
    let listening = {
        let _within = threads.enter();
        let open = |(address, pages_only)| Ok((ListenSocket::new(address)?, pages_only));
        addresses.into_iter().map(open).collect::<Result<_>>()?
    };
    Ok(Listener {
        options,
        tls,
        listening,
        threads,
    })
}

/// Addresses that are in use, for a store that is not open yet. If dropped, they are free again.
pub struct Listener {
    options: Serve,
    tls: Option<Arc<Tls>>,
    /// Each with whether it serves metrics and health only.
    listening: Vec<(ListenSocket, bool)>,
    threads: Threads,
}

impl Listener {
    /// Serves this store at the addresses. The server is ready when this returns.
    ///
    /// # Errors
    ///
    /// `closed` for a closed store, `unsupported` for a cluster.
    pub fn serve(self, db: &Db) -> Result<Server> {
        let Listener {
            options,
            tls,
            listening,
            threads,
        } = self;
        let Some(of_handle) = Limits::of(db) else {
            let message = "a cluster cannot be served: clients can connect to it directly";
            return Err(Error::new(Code::Unsupported, message));
        };
        let mut limits = of_handle;
        limits.max_request_bytes = options
            .max_request_bytes
            .unwrap_or(limits.max_request_bytes);
        limits.max_txn_ops = options.max_txn_ops.unwrap_or(limits.max_txn_ops);
        let status = db.status()?;
        if options.refresh_leases {
            for id in db.lease_list()? {
                db.lease_keep_alive(id)?;
            }
        }
        let unused = tls::unused(&options);
        let allowlist = Allowlist::new(&options)?;
        let (token_spec, unknown_options) = TokenSpec::parse(&options.auth_token)?;
        let bcrypt_cost = match BCRYPT_COSTS.contains(&options.bcrypt_cost) {
            true => options.bcrypt_cost,
            false => BCRYPT_COST,
        };
        let token_ttl = Duration::from_secs(options.auth_token_ttl_seconds);
        let guard = Guard::new(db.clone(), token_spec, token_ttl, bcrypt_cost)?;
        let of = |pages_only: bool| {
            listening
                .iter()
                .filter(move |(_, is)| *is == pages_only)
                .map(|(at, _)| at)
        };
        let urls = |pages_only| {
            of(pages_only)
                .map(|listening| listening.url().to_string())
                .collect::<Vec<_>>()
        };
        let (addresses, metrics_addresses) = (urls(false), urls(true));
        let (closing, _) = watch::channel(false);
        let is_advertised = !options.advertise.is_empty();
        let client_urls = match is_advertised {
            true => options.advertise,
            false => of(false).map(ListenSocket::reachable_url).collect(),
        };
        let store = Arc::new(Store {
            db: db.clone(),
            identity: identity(&status.store_id)?,
            name: options.name,
            peer_urls: Mutex::new(options.peer_urls),
            client_urls,
            // the handle always checks its own limits
            limits: (limits != of_handle).then_some(limits),
            message_bytes_max: usize::try_from(
                limits
                    .max_request_bytes
                    .saturating_add(MESSAGE_OVERHEAD_BYTES),
            )
            .unwrap_or(usize::MAX),
            progress_notify_interval_ms: options.progress_notify_interval_ms,
            gateway: options.gateway,
            connections: options.connections,
            started: Instant::now(),
            counters: Counters {
                is_extensive: options.extensive_metrics,
                ..Counters::default()
            },
            file_check: FileCheck::default(),
            allowlist,
            guard,
            log: options.log,
            closing: closing.clone(),
        });
        for option in unknown_options {
            store.log(Level::Warn, || {
                format!("the option {option} of auth_token is unknown and has no effect")
            });
        }
        if bcrypt_cost != options.bcrypt_cost {
            store.log(Level::Warn, || {
                format!(
                    "bcrypt_cost {} is not from {} to {}: {bcrypt_cost} is used",
                    options.bcrypt_cost,
                    BCRYPT_COSTS.start(),
                    BCRYPT_COSTS.end()
                )
            });
        }
        let router = Router::new(&store);
        let (going, ended) = channel();
        let within = threads.enter();
        for (listening, pages_only) in listening {
            let what = if pages_only { "metrics" } else { "clients" };
            store.log(Level::Info, || {
                format!("serving {what} on {}", listening.url())
            });
            if !pages_only && !is_advertised && listening.is_wildcard() {
                let (url, reachable) = (listening.url(), listening.reachable_url());
                store.log(Level::Warn, || {
                    format!("{url} listens on all addresses of this machine: the list of members has {reachable}, \
                         unless a URL to advertise is given")
                });
            }
            let tls = if listening.is_tls() {
                tls.clone()
            } else {
                None
            };
            if let (None, Some(unused)) = (&tls, unused) {
                store.log(Level::Warn, || format!("{} {unused}", listening.url()));
            }
            let router = router.at(Port {
                encrypted: tls.is_some(),
                pages_only,
            });
            tokio::spawn(listening.accept(store.clone(), router, tls, going.clone()));
        }
        drop(within);
        Ok(Server {
            addresses,
            metrics_addresses,
            generation: fork_generation(),
            running: Mutex::new(Some(RunningServer {
                threads,
                closing,
                ended,
            })),
        })
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let urls = self.listening.iter().map(|(listening, _)| listening.url());
        f.debug_list().entries(urls).finish()
    }
}

/// The server's threads. When dropped, they end without being waited for: the caller may be within
/// a runtime of its own, where waiting panics.
#[derive(Debug)]
struct Threads(Option<Runtime>);

impl Threads {
    fn enter(&self) -> Option<EnterGuard<'_>> {
        self.0.as_ref().map(Runtime::enter)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.0
            .take()
            .into_iter()
            .for_each(Runtime::shutdown_background);
    }
}

/// The ids of cluster and member come from the store's id, so that they do not depend on the
/// server.
fn identity(store_id: &str) -> Result<Identity> {
    match ids_of_store(store_id) {
        Some((cluster_id, member_id)) => Ok(Identity {
            cluster_id,
            member_id,
        }),
        None => Err(Error::new(
            Code::Internal,
            format!("the store's id is {store_id:?}"),
        )),
    }
}
