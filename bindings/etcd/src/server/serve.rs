//! What a program sees of the server: `serve`, and [`Server`], what then runs.

use std::fmt;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use libkv::engine::Limits;
use libkv::support::fork_generation;
use libkv::{Code, Db, Error, Result};
use tokio::runtime::{EnterGuard, Runtime};
use tokio::sync::watch;

use super::access::{Access, Port};
use super::counters::Counters;
use super::how::{Level, Serve, environment_log};
use super::listen::{Address, Listening};
use super::router::Router;
use super::store::{Store, Watched};
use super::tls::{self, Tls};
use crate::convert::Identity;

/// A message may be larger than the request in it, as etcd allows.
const MESSAGE_OVERHEAD_BYTES: u64 = 512 * 1024;
/// How long [`Server::close`] waits for requests under way.
const DRAIN: Duration = Duration::from_secs(2);

/// A server, ready for clients; it ends when this is closed or dropped. The store stays open.
#[derive(Debug)]
pub struct Server {
    addresses: Vec<String>,
    metrics_addresses: Vec<String>,
    /// Of the process whose threads it runs on.
    generation: u64,
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    threads: Threads,
    closing: watch::Sender<bool>,
    /// Disconnected once the last listener and connection have ended.
    ended: Receiver<()>,
}

impl Server {
    /// The first address that it listens on, as clients take it: `http://127.0.0.1:41234`,
    /// `https://…`, `unix:///path`.
    pub fn address(&self) -> &str {
        &self.addresses[0]
    }

    /// All of them, in the order they were given.
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// The addresses that have metrics and health only ([`Serve::listen_metrics`]), in the order they were
    /// given.
    pub fn metrics_addresses(&self) -> &[String] {
        &self.metrics_addresses
    }

    /// Ends it: nobody is let in any more, streams end with `Unavailable`, requests under way get
    /// their answers unless they take longer than two seconds. When this returns the addresses are
    /// free again and the server's threads are gone. From any thread; closing twice is fine. In a
    /// forked child, which has none of the threads, it does nothing.
    pub fn close(&self) {
        if fork_generation() != self.generation {
            // the lock, and those within the runtime, may be held by threads that are not here
            return std::mem::forget(
                self.running
                    .try_lock()
                    .ok()
                    .and_then(|mut running| running.take()),
            );
        }
        // the lock is held until the end, so that a second closer too returns when all is over
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Running {
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
        // on a thread of its own, since a runtime must not be waited for within another
        let runtime = Mutex::new(threads.0.take());
        let take = || {
            runtime
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take()
        };
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

/// Serves a store to etcd's clients; ready when this returns. It runs on threads of its own, whether or
/// not the caller is within an async runtime.
///
/// # Errors
///
/// `invalid_argument` for an address or a certificate that cannot be read, `busy` for an address in
/// use, `permission_denied` and `io` if it cannot be listened on, `closed` for a closed store,
/// `unsupported` for a cluster, which serves itself.
pub fn serve(db: &Db, how: impl Into<Serve>) -> Result<Server> {
    listen(how)?.serve(db)
}

/// Takes the addresses before there is a store, so that none is made which could not be served. Clients
/// that come meanwhile wait.
///
/// # Errors
///
/// Those of [`serve`] that are not about the store.
pub fn listen(how: impl Into<Serve>) -> Result<Listener> {
    let mut how = how.into();
    if how.log.is_none() {
        how.log = environment_log()?;
    }
    // refused before anything is done; `Listener::serve` makes it again
    Access::new(&how)?;
    let given = how.listen.iter().map(|address| (address, false));
    let given = given.chain(how.listen_metrics.iter().map(|address| (address, true)));
    let addresses: Vec<_> = given
        .map(|(address, pages_only)| Ok((Address::parse(address)?, pages_only)))
        .collect::<Result<_>>()?;
    let tls = addresses
        .iter()
        .any(|(address, _)| address.is_tls())
        .then(|| Tls::new(&how))
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
        let open = |(address, pages_only)| Ok((Listening::new(address)?, pages_only));
        addresses.into_iter().map(open).collect::<Result<_>>()?
    };
    Ok(Listener {
        how,
        tls,
        listening,
        threads,
    })
}

/// Addresses that are taken, for a store that is not there yet. Dropped, they are free again.
pub struct Listener {
    how: Serve,
    tls: Option<Arc<Tls>>,
    /// Each with whether it has metrics and health only.
    listening: Vec<(Listening, bool)>,
    threads: Threads,
}

impl Listener {
    /// Serves this store there; ready when this returns.
    ///
    /// # Errors
    ///
    /// `closed` for a closed store, `unsupported` for a cluster, which serves itself.
    pub fn serve(self, db: &Db) -> Result<Server> {
        let Listener {
            how,
            tls,
            listening,
            threads,
        } = self;
        let Some(of_handle) = Limits::of(db) else {
            let message = "a cluster cannot be served: its clients can reach it themselves";
            return Err(Error::new(Code::Unsupported, message));
        };
        let limits = Limits {
            max_request_bytes: how.max_request_bytes.unwrap_or(of_handle.max_request_bytes),
            max_txn_ops: how.max_txn_ops.unwrap_or(of_handle.max_txn_ops),
            ..of_handle
        };
        let status = db.status()?;
        if how.refresh_leases {
            for id in db.lease_list()? {
                db.lease_keep_alive(id)?;
            }
        }
        let unused = tls::unused(&how);
        let access = Access::new(&how)?;
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
        let is_advertised = !how.advertise.is_empty();
        let client_urls = match is_advertised {
            true => how.advertise,
            false => of(false).map(Listening::reachable_url).collect(),
        };
        let store = Arc::new(Store {
            db: db.clone(),
            identity: identity(&status.store_id)?,
            name: how.name,
            peer_urls: how.peer_urls,
            client_urls,
            // the handle checks its own anyway
            limits: (limits != of_handle).then_some(limits),
            message_bytes_max: usize::try_from(
                limits
                    .max_request_bytes
                    .saturating_add(MESSAGE_OVERHEAD_BYTES),
            )
            .unwrap_or(usize::MAX),
            progress_notify_interval_ms: how.progress_notify_interval_ms,
            gateway: how.gateway,
            connections: how.connections,
            started: Instant::now(),
            counters: Counters {
                is_extensive: how.extensive_metrics,
                ..Counters::default()
            },
            watched: Watched::default(),
            access,
            log: how.log,
            closing: closing.clone(),
        });
        let router = Router::new(&store);
        let (going, ended) = channel();
        let within = threads.enter();
        for (listening, pages_only) in listening {
            let what = if pages_only { "metrics" } else { "clients" };
            store.say(Level::Info, || {
                format!("serving {what} on {}", listening.url())
            });
            if !pages_only && !is_advertised && listening.is_wildcard() {
                let (url, reachable) = (listening.url(), listening.reachable_url());
                store.say(Level::Warn, || {
                    format!("{url} is all addresses of this machine: clients that ask for the members get {reachable}, unless a URL to advertise is given")
                });
            }
            let tls = if listening.is_tls() {
                tls.clone()
            } else {
                None
            };
            if let (None, Some(unused)) = (&tls, unused) {
                store.say(Level::Warn, || format!("{} {unused}", listening.url()));
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
            running: Mutex::new(Some(Running {
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

/// The server's threads. Dropped, they end without being waited for: the caller may be within a runtime of
/// its own, where waiting is a panic.
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

/// Cluster and member are named after the store, so that they are the same wherever it is served.
fn identity(store_id: &str) -> Result<Identity> {
    let half =
        |digits: Option<&str>| digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
    match (half(store_id.get(..16)), half(store_id.get(16..))) {
        (Some(cluster_id), Some(member_id)) => Ok(Identity {
            cluster_id,
            member_id,
        }),
        _ => Err(Error::new(
            Code::Internal,
            format!("the store's id is {store_id:?}"),
        )),
    }
}
