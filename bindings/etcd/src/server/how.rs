//! How a store is served: what `serve` may be told.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// How often a quiet watch hears of progress: 10 minutes, as etcd.
const PROGRESS_NOTIFY_INTERVAL_MS: u64 = 600_000;
/// etcd's smallest.
const PROGRESS_NOTIFY_INTERVAL_MS_MIN: u64 = 100;

/// Whom to tell what happens.
pub(crate) type Log = Arc<dyn Fn(Level, &str) + Send + Sync>;

/// How important a line of the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Single connections and requests.
    Debug,
    /// What the server does: begins, ends.
    Info,
    /// What somebody may want to look at.
    Warn,
    /// What failed.
    Error,
}

/// How a store is served. An address alone becomes one with [`From`]; the rest is set by methods.
///
/// An address is `host:port` or `http://host:port` (port 0 takes a free one), `https://host:port` (needs
/// [`Serve::cert_file`] and [`Serve::key_file`]), `unix:///path` or `unix:path`.
#[derive(Clone)]
pub struct Serve {
    pub(super) listen: Vec<String>,
    pub(super) advertise: Vec<String>,
    pub(super) name: String,
    pub(super) cert_file: Option<PathBuf>,
    pub(super) key_file: Option<PathBuf>,
    pub(super) trusted_ca_file: Option<PathBuf>,
    pub(super) client_cert_auth: bool,
    pub(super) max_request_bytes: Option<u64>,
    pub(super) max_txn_ops: Option<usize>,
    pub(super) progress_notify_interval_ms: u64,
    pub(super) refresh_leases: bool,
    pub(super) log: Option<Log>,
}

impl Serve {
    /// At this address, with etcd's defaults, and with the limits of the [`Db`](libkv::Db) that is served.
    pub fn new(address: impl Into<String>) -> Serve {
        Serve {
            listen: vec![address.into()],
            advertise: Vec::new(),
            name: "default".into(),
            cert_file: None,
            key_file: None,
            trusted_ca_file: None,
            client_cert_auth: false,
            max_request_bytes: None,
            max_txn_ops: None,
            progress_notify_interval_ms: PROGRESS_NOTIFY_INTERVAL_MS,
            refresh_leases: false,
            log: None,
        }
    }

    /// At one more address.
    pub fn listen(mut self, address: impl Into<String>) -> Serve {
        self.listen.push(address.into());
        self
    }

    /// Names a URL by which clients reach this server, for the list of members; without any, the
    /// addresses that it listens on.
    pub fn advertise(mut self, url: impl Into<String>) -> Serve {
        self.advertise.push(url.into());
        self
    }

    /// The one member's name; `default` if not set.
    pub fn name(mut self, name: impl Into<String>) -> Serve {
        self.name = name.into();
        self
    }

    /// The certificate chain for `https://` addresses: a file of PEM blocks, the server's own first. This
    /// and the other two files are read anew when they change, for the connections that come then.
    pub fn cert_file(mut self, path: impl Into<PathBuf>) -> Serve {
        self.cert_file = Some(path.into());
        self
    }

    /// The certificate's private key, in PEM.
    pub fn key_file(mut self, path: impl Into<PathBuf>) -> Serve {
        self.key_file = Some(path.into());
        self
    }

    /// The authorities, in PEM, that clients' certificates must come from. As with etcd, to name them is
    /// to ask every client for a certificate.
    pub fn trusted_ca_file(mut self, path: impl Into<PathBuf>) -> Serve {
        self.trusted_ca_file = Some(path.into());
        self
    }

    /// Whether clients must show a certificate; needs [`Serve::trusted_ca_file`].
    pub fn client_cert_auth(mut self, required: bool) -> Serve {
        self.client_cert_auth = required;
        self
    }

    /// The largest write that clients may send, in bytes, counted as the [`Db`](libkv::Db) counts: the limit of
    /// the `Db` if not set. A limit above that one has no effect on a write. A message may be 512 KiB larger.
    pub fn max_request_bytes(mut self, bytes: u64) -> Serve {
        self.max_request_bytes = Some(bytes);
        self
    }

    /// How many operations each list of a client's txn may have: the limit of the [`Db`](libkv::Db) if not set. A
    /// limit above that one has no effect.
    pub fn max_txn_ops(mut self, ops: usize) -> Serve {
        self.max_txn_ops = Some(ops);
        self
    }

    /// How often a quiet watch that asked for it hears of progress, in milliseconds: 10 minutes if not
    /// set, 100 at least.
    pub fn progress_notify_interval_ms(mut self, ms: u64) -> Serve {
        self.progress_notify_interval_ms = ms.max(PROGRESS_NOTIFY_INTERVAL_MS_MIN);
        self
    }

    /// Whether every lease gets its full TTL again before the first client comes, as when etcd starts:
    /// for a server that its clients' keep-alives could not reach while it was away.
    pub fn refresh_leases(mut self, refresh: bool) -> Serve {
        self.refresh_leases = refresh;
        self
    }

    /// Whom to tell what happens, one line for each event. It is called from the server's threads and
    /// must not block. Without it the server is silent.
    pub fn log(mut self, log: impl Fn(Level, &str) + Send + Sync + 'static) -> Serve {
        self.log = Some(Arc::new(log));
        self
    }
}

impl fmt::Debug for Serve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serve").field("listen", &self.listen).field("name", &self.name).finish_non_exhaustive()
    }
}

impl From<&str> for Serve {
    fn from(address: &str) -> Serve {
        Serve::new(address)
    }
}

impl From<String> for Serve {
    fn from(address: String) -> Serve {
        Serve::new(address)
    }
}
