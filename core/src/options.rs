//! How a store is opened, and the manual clock for tests.

use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::request::Durability;

/// A preset of limits. Presets may be added in a minor version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LimitsPreset {
    /// etcd's default limits, so that a program that was developed with a local store does not
    /// exceed them on a cluster: requests of 1.5 MiB as etcd encodes them, 128 operations with
    /// etcd's rule for nesting, TTLs of at least 2 s.
    Etcd,
}

/// The history that automatic compaction keeps. Rules may be added in a minor version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AutoCompaction {
    /// A number of revisions.
    Revisions(u64),
    /// A number of seconds.
    Seconds(u64),
}

impl std::fmt::Display for AutoCompaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            AutoCompaction::Revisions(keep) => write!(f, "{keep} revisions"),
            AutoCompaction::Seconds(keep) => write!(f, "{keep} s"),
        }
    }
}

/// How a store or cluster is opened. An option that is not set has its default.
///
/// Handles on one store in one process share one environment. `read_only`, `durability`,
/// `busy_timeout_ms`, the limits and `lease_ttl_min_seconds` belong to the handle. `max_readers`,
/// `clock`, `auto_compaction`, `allow_network_fs` and `mode` belong to the environment: a later
/// open with another value returns [`InvalidArgument`](crate::Code::InvalidArgument), which names
/// both values.
///
/// Build it with [`Options::new`] and its methods; options may be added in a minor version.
#[derive(Clone, Debug, Default)]
#[must_use = "options do nothing until a store is opened with them"]
#[non_exhaustive]
pub struct Options {
    /// Create the store if it does not exist (default true); false returns `not_found`.
    pub create: Option<bool>,
    /// Writes return `read_only`, and no file is created (default false).
    pub read_only: Option<bool>,
    /// The durability of acknowledged writes (default [`Durability::Sync`]). [`Durability::None`]
    /// is chosen when the store is created and cannot be changed later. A store in memory accepts
    /// every durability: it has no disk to write to.
    pub durability: Option<Durability>,
    /// How long a write waits for the write lock before it returns `busy`, which names the holder
    /// (default 5,000 ms). 0 does not wait; `u64::MAX` waits without limit.
    pub busy_timeout_ms: Option<u64>,
    /// A quota for pages that hold data, in bytes (default 0: none). It is stored in the store and
    /// applies to every process; an open with another value replaces it; an open without this
    /// option keeps it. A request that could exceed it (a put counts 256 bytes plus key and value,
    /// a grant 64, a txn the larger of its lists) returns `full`. Deletions, revocations, expiry
    /// and compactions always work; after they have freed space, writes work again. With the preset
    /// `etcd` the first refusal activates the alarm NOSPACE, as in etcd, which stays active until
    /// it is disarmed.
    pub max_bytes: Option<u64>,
    /// The maximum size of the keys and values of one write, summed (default 64 MiB). With the
    /// preset `etcd` the size of the encoded request.
    pub max_request_bytes: Option<u64>,
    /// The maximum number of operations in each list of a txn (default 100,000).
    pub max_txn_ops: Option<usize>,
    /// A preset of limits. Limits that are set separately take precedence.
    pub limits: Option<LimitsPreset>,
    /// The minimum TTL of a lease; smaller TTLs are raised to it (default 1 s).
    pub lease_ttl_min_seconds: Option<i64>,
    /// Automatic compaction (default none). While this process has the store open, it compacts
    /// history that is older: by revisions, when a tenth more than the number has accumulated; by
    /// age, once a minute.
    pub auto_compaction: Option<AutoCompaction>,
    /// The maximum number of concurrent read transactions, over all processes (default 1,024; at
    /// most 1,048,576). The first process that opens the store sets it.
    pub max_readers: Option<u32>,
    /// The permissions of created files (default 0600). The directory also gets x where it has r:
    /// 0700.
    pub mode: Option<u32>,
    /// The clock (default the system's). A store that is opened with a manual clock cannot be
    /// opened by another process.
    pub clock: Option<Clock>,
    /// Allow a network file system (default false). Its locks may not work.
    pub allow_network_fs: Option<bool>,
    /// For clusters: the file (PEM) of the trusted certificate authorities (default: those that the
    /// system trusts).
    pub tls_ca: Option<PathBuf>,
    /// For clusters: the file (PEM) of this client's certificate. Needs `tls_key`.
    pub tls_cert: Option<PathBuf>,
    /// For clusters: the file (PEM) of the key of `tls_cert`.
    pub tls_key: Option<PathBuf>,
    /// For clusters: the name that the servers' certificates must contain (default: the host of
    /// each endpoint).
    pub tls_server_name: Option<String>,
    /// For clusters: the user name to log in with. Needs `password`.
    pub user: Option<String>,
    /// For clusters: the password of `user`.
    pub password: Option<Secret>,
    /// For clusters: the timeout of connecting to an endpoint (default 5,000 ms).
    pub connect_timeout_ms: Option<u64>,
    /// For clusters: the timeout of a request (default 30,000 ms).
    pub request_timeout_ms: Option<u64>,
    /// For clusters: the idle time after which a connection is probed (default 10,000 ms);
    /// `u64::MAX` never probes. After three times as long without a message a watcher requests its
    /// progress.
    pub keep_alive_ms: Option<u64>,
}

/// A text that does not appear in messages or logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl<T: Into<String>> From<T> for Secret {
    fn from(text: T) -> Secret {
        Secret(text.into())
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

macro_rules! first_given {
    ($options:ident: $($name:ident)*) => {
        [$( (stringify!($name), $options.$name.is_some()) ),*].iter().find(|(_, given)| *given).map(|(name, _)| *name)
    };
}

impl Options {
    /// All options at their defaults.
    pub fn new() -> Options {
        Options::default()
    }

    /// The first option that is set and that only clusters have.
    pub fn cluster_option(&self) -> Option<&'static str> {
        first_given!(self:
            // generated from bindings/vocabulary/vocabulary.toml: cluster options
            tls_ca tls_cert tls_key tls_server_name user password connect_timeout_ms
            request_timeout_ms keep_alive_ms
            // end of generated
        )
    }

    /// The first option that is set and that only stores have.
    pub fn store_option(&self) -> Option<&'static str> {
        first_given!(self:
            // generated from bindings/vocabulary/vocabulary.toml: store options
            create read_only durability busy_timeout_ms max_bytes max_request_bytes max_txn_ops
            limits lease_ttl_min_seconds auto_compaction max_readers mode clock allow_network_fs
            // end of generated
        )
    }
}

macro_rules! setters {
    ($( $(#[$doc:meta])* $name:ident: $type:ty $(=> $into:ident)?, )*) => {
        impl Options {
            $( $(#[$doc])*
            pub fn $name(mut self, $name: $type) -> Options {
                self.$name = Some($name$(.$into())?);
                self
            } )*
        }
    };
}

setters! {
    /// Sets [`Options::create`](field@Options::create).
    create: bool,
    /// Sets [`Options::read_only`](field@Options::read_only).
    read_only: bool,
    /// Sets [`Options::durability`](field@Options::durability).
    durability: Durability,
    /// Sets [`Options::busy_timeout_ms`](field@Options::busy_timeout_ms).
    busy_timeout_ms: u64,
    /// Sets [`Options::max_bytes`](field@Options::max_bytes).
    max_bytes: u64,
    /// Sets [`Options::max_request_bytes`](field@Options::max_request_bytes).
    max_request_bytes: u64,
    /// Sets [`Options::max_txn_ops`](field@Options::max_txn_ops).
    max_txn_ops: usize,
    /// Sets [`Options::limits`](field@Options::limits).
    limits: LimitsPreset,
    /// Sets [`Options::lease_ttl_min_seconds`](field@Options::lease_ttl_min_seconds).
    lease_ttl_min_seconds: i64,
    /// Sets [`Options::auto_compaction`](field@Options::auto_compaction).
    auto_compaction: AutoCompaction,
    /// Sets [`Options::max_readers`](field@Options::max_readers).
    max_readers: u32,
    /// Sets [`Options::mode`](field@Options::mode).
    mode: u32,
    /// Sets [`Options::clock`](field@Options::clock).
    clock: Clock,
    /// Sets [`Options::allow_network_fs`](field@Options::allow_network_fs).
    allow_network_fs: bool,
    /// Sets [`Options::tls_ca`](field@Options::tls_ca).
    tls_ca: impl Into<PathBuf> => into,
    /// Sets [`Options::tls_cert`](field@Options::tls_cert).
    tls_cert: impl Into<PathBuf> => into,
    /// Sets [`Options::tls_key`](field@Options::tls_key).
    tls_key: impl Into<PathBuf> => into,
    /// Sets [`Options::tls_server_name`](field@Options::tls_server_name).
    tls_server_name: impl Into<String> => into,
    /// Sets [`Options::user`](field@Options::user).
    user: impl Into<String> => into,
    /// Sets [`Options::password`](field@Options::password).
    password: impl Into<Secret> => into,
    /// Sets [`Options::connect_timeout_ms`](field@Options::connect_timeout_ms).
    connect_timeout_ms: u64,
    /// Sets [`Options::request_timeout_ms`](field@Options::request_timeout_ms).
    request_timeout_ms: u64,
    /// Sets [`Options::keep_alive_ms`](field@Options::keep_alive_ms).
    keep_alive_ms: u64,
}

/// A clock: the system's, or a manual clock for tests.
///
/// It is used for lease deadlines, retention by age and progress intervals, but not for the
/// timeouts of locks and requests. Clones are the same clock.
#[derive(Clone, Debug)]
pub struct Clock {
    /// `None`: the system's clock.
    manual: Option<Arc<ManualClock>>,
}

/// A manual clock.
#[derive(Debug)]
struct ManualClock {
    /// Milliseconds since 1970.
    now_ms: AtomicI64,
    /// What must be notified when the clock moves.
    listeners: Mutex<Vec<Weak<dyn ClockListener>>>,
}

/// Something that acts at a time of the store's clock.
pub(crate) trait ClockListener: Send + Sync + std::fmt::Debug {
    /// Called before the clock moves forward by this many milliseconds: leases that are renewed
    /// automatically get a later deadline, so that they do not expire in between.
    fn prepare(&self, forward_ms: i64);
    /// Does everything that became due; returns when it is done or has failed.
    fn catch_up(&self);
}

impl Clock {
    /// A manual clock that starts at `unix_ms` milliseconds since 1970 and does not move until it is
    /// advanced.
    ///
    /// A store that is opened with it cannot be opened by another process: others get `busy`, and
    /// this open gets `busy` if another process has the store open.
    pub fn new(unix_ms: i64) -> Clock {
        Clock {
            manual: Some(Arc::new(ManualClock {
                now_ms: AtomicI64::new(unix_ms),
                listeners: Mutex::default(),
            })),
        }
    }

    /// The system's clock.
    pub fn system() -> Clock {
        Clock { manual: None }
    }

    /// Moves a manual clock forward by `ms` milliseconds. Negative numbers count as 0. It returns
    /// after everything that became due has been done, or has failed, in every store opened with
    /// it: leases that expire are deleted with their keys. The system's clock is not moved.
    pub fn advance(&self, ms: i64) {
        let Some(manual) = &self.manual else { return };
        let forward = ms.max(0);
        let listeners = manual.listeners();
        listeners
            .iter()
            .for_each(|listener| listener.prepare(forward));
        manual
            .now_ms
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| {
                Some(now.saturating_add(forward))
            })
            .expect("the update is always some");
        listeners.iter().for_each(|listener| listener.catch_up());
    }

    /// Notifies `listener` when the clock is advanced, while it is alive.
    pub(crate) fn notify(&self, listener: Weak<dyn ClockListener>) {
        if let Some(manual) = &self.manual {
            manual.lock().push(listener);
        }
    }

    /// Milliseconds since 1970.
    pub fn unix_ms(&self) -> i64 {
        match &self.manual {
            Some(manual) => manual.now_ms.load(Ordering::Acquire),
            None => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_millis() as i64),
        }
    }

    /// Whether this is a manual clock.
    pub fn is_manual(&self) -> bool {
        self.manual.is_some()
    }

    /// Whether both are the same clock.
    pub fn same(&self, other: &Clock) -> bool {
        match (&self.manual, &other.manual) {
            (None, None) => true,
            (Some(mine), Some(theirs)) => Arc::ptr_eq(mine, theirs),
            _ => false,
        }
    }
}

impl ManualClock {
    fn lock(&self) -> MutexGuard<'_, Vec<Weak<dyn ClockListener>>> {
        self.listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The listeners that are still alive.
    fn listeners(&self) -> Vec<Arc<dyn ClockListener>> {
        let mut listeners = self.lock();
        listeners.retain(|listener| listener.strong_count() > 0);
        listeners.iter().filter_map(Weak::upgrade).collect()
    }
}

impl Default for Clock {
    fn default() -> Clock {
        Clock::system()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_name_whom_they_belong_to_and_hide_the_password() {
        let cluster = Options::new().keep_alive_ms(1).password("hidden");
        assert_eq!(
            (cluster.store_option(), cluster.cluster_option()),
            (None, Some("password"))
        );
        assert!(!format!("{cluster:?}").contains("hidden"));
        let store = Options::new().mode(0o600);
        assert_eq!(
            (store.store_option(), store.cluster_option()),
            (Some("mode"), None)
        );
        assert_eq!(
            (
                Options::new().store_option(),
                Options::new().cluster_option()
            ),
            (None, None)
        );
    }

    #[test]
    fn clock_moves_forward_only() {
        let clock = Clock::new(1_000);
        let same = clock.clone();
        clock.advance(500);
        clock.advance(-700);
        assert_eq!(same.unix_ms(), 1_500);
        clock.advance(i64::MAX);
        assert_eq!(same.unix_ms(), i64::MAX);
        assert!(
            clock.same(&same) && !clock.same(&Clock::new(1_000)) && !clock.same(&Clock::system())
        );
    }
}
