//! How a store is opened, and the clock that a test can hold in its hand.

use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::request::Durability;

/// A set of limits to be surprised by now instead of on a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LimitsPreset {
    /// etcd's own: 1.5 MiB a request as etcd encodes it, 128 operations with its nesting rule,
    /// TTLs of at least 2 s.
    Etcd,
}

/// What an automatic compaction keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AutoCompaction {
    /// So many revisions.
    Revisions(u64),
    /// So many seconds of history.
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

/// How a store is opened. What is left unset takes its default.
///
/// Handles on one store in one process share one environment. `read_only`, `durability`,
/// `busy_timeout_ms`, the limits and `lease_ttl_min_seconds` belong to the handle; `max_readers`,
/// `clock`, `auto_compaction`, `allow_network_fs` and `mode` to the environment: a later open that
/// asks for another value answers [`InvalidArgument`](crate::Code::InvalidArgument) with both.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Make the store if there is none (true); false answers `not_found`.
    pub create: Option<bool>,
    /// Writes answer `read_only`, and nothing is created (false).
    pub read_only: Option<bool>,
    /// What an acknowledged write means ([`Durability::Sync`]). [`Durability::None`] is chosen
    /// when the store is made and stays in it.
    pub durability: Option<Durability>,
    /// How long to wait for the writer's lock before `busy` names its holder (5,000 ms). 0 does
    /// not wait; `u64::MAX` waits for ever.
    pub busy_timeout_ms: Option<u64>,
    /// A quota on pages that hold data, in bytes (0: none). It is kept in the store: whoever opens it
    /// with another value changes it, for every process at once; left unset it stays what it is. A
    /// request that might go beyond it (a put counts 256 bytes and its key and value, a grant 64, a
    /// txn the larger of its lists) answers `full`; deletions, revocations, expiry and compactions
    /// always have room, and once they have made some, writes go on. With the preset `etcd` the first
    /// refusal raises the alarm NOSPACE, as etcd does, which stays until it is disarmed.
    pub max_bytes: Option<u64>,
    /// Keys and values of one write, summed (64 MiB); with the preset `etcd` the encoded request.
    pub max_request_bytes: Option<u64>,
    /// Operations in each list of a txn (100,000).
    pub max_txn_ops: Option<usize>,
    /// A preset of limits; those set beside it win.
    pub limits: Option<LimitsPreset>,
    /// Smaller TTLs are raised to it (1 s).
    pub lease_ttl_min_seconds: Option<i64>,
    /// Compaction without being asked (none). While this process has the store open it forgets what
    /// lies further back: by revisions once a tenth more has come together, by age a minute at a
    /// time.
    pub auto_compaction: Option<AutoCompaction>,
    /// Slots for read transactions, over all processes (1,024; at most 1,048,576); the first opener's
    /// counts.
    pub max_readers: Option<u32>,
    /// Permissions of the files that are made (0600; the directory adds x where r stands: 0700).
    pub mode: Option<u32>,
    /// The clock (the system's). A process with a clock in hand holds the store alone.
    pub clock: Option<Clock>,
    /// Open on a network file system all the same (false): its locks may not work.
    pub allow_network_fs: Option<bool>,
    /// Of a cluster: the file (PEM) of the authorities whose servers are trusted; without it those that
    /// the system trusts.
    pub tls_ca: Option<PathBuf>,
    /// Of a cluster: the file (PEM) of this client's certificate. Needs `tls_key`.
    pub tls_cert: Option<PathBuf>,
    /// Of a cluster: the file (PEM) of the key of `tls_cert`.
    pub tls_key: Option<PathBuf>,
    /// Of a cluster: the name that the servers' certificates must have (each endpoint's host).
    pub tls_server_name: Option<String>,
    /// Of a cluster: whom to log in. Needs `password`.
    pub user: Option<String>,
    /// Of a cluster: the password of `user`.
    pub password: Option<Secret>,
    /// Of a cluster: how long to try to reach any endpoint (5,000 ms).
    pub connect_timeout_ms: Option<u64>,
    /// Of a cluster: how long to wait for an answer (30,000 ms).
    pub request_timeout_ms: Option<u64>,
    /// Of a cluster: how long a connection may be silent before it is probed (10,000 ms); `u64::MAX` never
    /// probes. After three times as long without a message a watcher asks how far it has come.
    pub keep_alive_ms: Option<u64>,
}

/// A text that no message and no log shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself.
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
    /// Every option at its default.
    pub fn new() -> Options {
        Options::default()
    }

    /// The first option that is set and that only a cluster has.
    pub fn cluster_option(&self) -> Option<&'static str> {
        first_given!(self: tls_ca tls_cert tls_key tls_server_name user password connect_timeout_ms request_timeout_ms
            keep_alive_ms)
    }

    /// The first option that is set and that only a store in this process has.
    pub fn store_option(&self) -> Option<&'static str> {
        first_given!(self: create read_only durability busy_timeout_ms max_bytes max_request_bytes max_txn_ops limits
            lease_ttl_min_seconds auto_compaction max_readers mode clock allow_network_fs)
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

/// A clock: the system's, or one in the hand of a test.
///
/// It governs lease deadlines, retention by age and progress intervals; never the time-outs of
/// locks and requests. Clones are the same clock.
#[derive(Clone, Debug)]
pub struct Clock {
    /// None is the system's.
    hand: Option<Arc<Hand>>,
}

/// A clock in hand.
#[derive(Debug)]
struct Hand {
    /// Milliseconds since 1970.
    now_ms: AtomicI64,
    /// Who has something to do when it moves.
    followers: Mutex<Vec<Weak<dyn Follower>>>,
}

/// Whoever does something at a time of the store's clock.
pub(crate) trait Follower: Send + Sync + std::fmt::Debug {
    /// The clock is about to be moved by so many milliseconds: what is kept alive gets its time beyond
    /// that, so that nobody finds it expired in between.
    fn prepare(&self, forward_ms: i64);
    /// Does what has become due, and returns when it is done or has failed.
    fn catch_up(&self);
}

impl Clock {
    /// A clock in hand that stands at `unix_ms` milliseconds since 1970 until it is advanced.
    ///
    /// A store opened with it is held by this process alone: others get `busy`, and this open
    /// gets `busy` where others are present.
    pub fn new(unix_ms: i64) -> Clock {
        Clock { hand: Some(Arc::new(Hand { now_ms: AtomicI64::new(unix_ms), followers: Mutex::default() })) }
    }

    /// The system's clock.
    pub fn system() -> Clock {
        Clock { hand: None }
    }

    /// Moves a clock in hand forward by `ms` milliseconds (it never moves back: negative numbers
    /// count as 0), and returns once everything that became due with it has been done, or has
    /// failed, in every store opened with it: leases that expire are gone with their keys. The
    /// system's clock is not moved.
    pub fn advance(&self, ms: i64) {
        let Some(hand) = &self.hand else { return };
        let forward = ms.max(0);
        let followers = hand.followers();
        followers.iter().for_each(|follower| follower.prepare(forward));
        hand.now_ms
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| Some(now.saturating_add(forward)))
            .expect("the update is always some");
        followers.iter().for_each(|follower| follower.catch_up());
    }

    /// Has `follower` do what becomes due when the clock is advanced, as long as it lives.
    pub(crate) fn follow(&self, follower: Weak<dyn Follower>) {
        if let Some(hand) = &self.hand {
            hand.lock().push(follower);
        }
    }

    /// Milliseconds since 1970.
    pub fn unix_ms(&self) -> i64 {
        match &self.hand {
            Some(hand) => hand.now_ms.load(Ordering::Acquire),
            None => SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64),
        }
    }

    /// Whether this is a clock in hand.
    pub fn is_in_hand(&self) -> bool {
        self.hand.is_some()
    }

    /// Whether both are one and the same clock.
    pub fn same(&self, other: &Clock) -> bool {
        match (&self.hand, &other.hand) {
            (None, None) => true,
            (Some(mine), Some(theirs)) => Arc::ptr_eq(mine, theirs),
            _ => false,
        }
    }
}

impl Hand {
    fn lock(&self) -> MutexGuard<'_, Vec<Weak<dyn Follower>>> {
        self.followers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whoever still lives.
    fn followers(&self) -> Vec<Arc<dyn Follower>> {
        let mut followers = self.lock();
        followers.retain(|follower| follower.strong_count() > 0);
        followers.iter().filter_map(Weak::upgrade).collect()
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
        assert_eq!((cluster.store_option(), cluster.cluster_option()), (None, Some("password")));
        assert!(!format!("{cluster:?}").contains("hidden"));
        let store = Options::new().mode(0o600);
        assert_eq!((store.store_option(), store.cluster_option()), (Some("mode"), None));
        assert_eq!((Options::new().store_option(), Options::new().cluster_option()), (None, None));
    }

    #[test]
    fn a_clock_in_hand_moves_forward_only() {
        let clock = Clock::new(1_000);
        let same = clock.clone();
        clock.advance(500);
        clock.advance(-700);
        assert_eq!(same.unix_ms(), 1_500);
        clock.advance(i64::MAX);
        assert_eq!(same.unix_ms(), i64::MAX);
        assert!(clock.same(&same) && !clock.same(&Clock::new(1_000)) && !clock.same(&Clock::system()));
    }
}
