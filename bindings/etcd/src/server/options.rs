//! The options of `serve`.

use std::fmt;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How often a quiet watch reports its progress: every 10 minutes, as in etcd.
const PROGRESS_NOTIFY_INTERVAL_MS: u64 = 600_000;
/// How long a token in memory is valid after its last use, as in etcd.
const AUTH_TOKEN_TTL_SECONDS: u64 = 300;

/// etcd's smallest interval.
const PROGRESS_NOTIFY_INTERVAL_MS_MIN: u64 = 100;

/// The most requests that one connection may have in progress. Each may have sent a small frame
/// that is not read yet, and h2 closes a connection with more such frames than one for each 512
/// bytes of its window.
const STREAMS_MAX: u32 = CONNECTION_WINDOW_BYTES / 512;
/// Bytes that a client may send ahead on one connection. With 1 MiB a burst of some 2,000 puts
/// failed.
pub(super) const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;

/// Settings of HTTP/2 connections. The defaults are etcd's, except the number of streams, which
/// etcd does not limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionSettings {
    /// Requests that one connection may have in progress; further ones wait at the client.
    pub streams_max: u32,
    /// A connection that receives nothing for this time is probed.
    pub keep_alive: Option<Duration>,
    /// A connection that does not respond to a probe within this time is closed.
    pub keep_alive_response: Duration,
}

impl Default for ConnectionSettings {
    fn default() -> ConnectionSettings {
        ConnectionSettings {
            streams_max: STREAMS_MAX,
            keep_alive: Some(Duration::from_secs(2 * 60 * 60)),
            keep_alive_response: Duration::from_secs(20),
        }
    }
}

/// Receives the lines of the log.
pub(crate) type Log = Arc<dyn Fn(Level, &str) + Send + Sync>;

/// How important a line of the log is. Levels may be added in a minor version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Level {
    /// Single connections and requests.
    Debug,
    /// Begin and end of the server, and similar events.
    Info,
    /// Conditions that an operator should check.
    Warn,
    /// Failures.
    Error,
}

/// The options of [`serve`](crate::serve). An address alone becomes one with [`From`]; the rest is
/// set by methods.
///
/// An address is `host:port` or `http://host:port` (port 0 takes a free one), `https://host:port`
/// (needs [`Serve::cert_file`] and [`Serve::key_file`]), `unix:///path` or `unix:path`, absolute or
/// relative, or `unixs:path` (with TLS).
#[derive(Clone)]
pub struct Serve {
    pub(super) listen: Vec<String>,
    pub(super) advertise: Vec<String>,
    pub(super) name: String,
    pub(super) cert_file: Option<PathBuf>,
    pub(super) key_file: Option<PathBuf>,
    pub(super) trusted_ca_file: Option<PathBuf>,
    pub(super) client_cert_auth: bool,
    pub(super) tls_min_version: String,
    pub(super) tls_max_version: String,
    pub(super) cipher_suites: Vec<String>,
    pub(super) max_request_bytes: Option<u64>,
    pub(super) max_txn_ops: Option<usize>,
    pub(super) progress_notify_interval_ms: u64,
    pub(super) refresh_leases: bool,
    pub(super) gateway: bool,
    pub(super) connections: ConnectionSettings,
    pub(super) peer_urls: Vec<String>,
    pub(super) cors: Vec<String>,
    pub(super) host_whitelist: Vec<String>,
    pub(super) listen_metrics: Vec<String>,
    pub(super) extensive_metrics: bool,
    pub(super) auth_token: String,
    pub(super) auth_token_ttl_seconds: u64,
    pub(super) bcrypt_cost: u32,
    pub(super) log: Option<Log>,
}

impl Serve {
    /// Serves at this address, with etcd's defaults, and with the limits of the [`Db`](libkv::Db).
    pub fn new(address: impl Into<String>) -> Serve {
        Serve {
            listen: vec![address.into()],
            advertise: Vec::new(),
            name: "default".into(),
            cert_file: None,
            key_file: None,
            trusted_ca_file: None,
            client_cert_auth: false,
            tls_min_version: String::new(),
            tls_max_version: String::new(),
            cipher_suites: Vec::new(),
            max_request_bytes: None,
            max_txn_ops: None,
            progress_notify_interval_ms: PROGRESS_NOTIFY_INTERVAL_MS,
            refresh_leases: false,
            gateway: true,
            connections: ConnectionSettings::default(),
            peer_urls: Vec::new(),
            cors: Vec::new(),
            host_whitelist: Vec::new(),
            listen_metrics: Vec::new(),
            extensive_metrics: false,
            auth_token: "simple".into(),
            auth_token_ttl_seconds: AUTH_TOKEN_TTL_SECONDS,
            bcrypt_cost: libkv::support::BCRYPT_COST,
            log: None,
        }
    }

    /// Adds an address.
    pub fn listen(mut self, address: impl Into<String>) -> Serve {
        self.listen.push(address.into());
        self
    }

    /// Adds a URL that the list of members shows to clients. Without any, the list has the
    /// addresses that the server listens on.
    pub fn advertise(mut self, url: impl Into<String>) -> Serve {
        self.advertise.push(url.into());
        self
    }

    /// The name of the one member; `default` if not set.
    pub fn name(mut self, name: impl Into<String>) -> Serve {
        self.name = name.into();
        self
    }

    /// The certificate chain for `https://` addresses: a file of PEM blocks, the server's own
    /// certificate first. If this file or one of the other two changes, new connections use its new
    /// content.
    pub fn cert_file(mut self, path: impl Into<PathBuf>) -> Serve {
        self.cert_file = Some(path.into());
        self
    }

    /// The certificate's private key, in PEM.
    pub fn key_file(mut self, path: impl Into<PathBuf>) -> Serve {
        self.key_file = Some(path.into());
        self
    }

    /// The authorities, in PEM, that clients' certificates must come from. As in etcd, setting it
    /// requires a certificate of every client.
    pub fn trusted_ca_file(mut self, path: impl Into<PathBuf>) -> Serve {
        self.trusted_ca_file = Some(path.into());
        self
    }

    /// Whether clients must have a certificate; needs [`Serve::trusted_ca_file`].
    pub fn client_cert_auth(mut self, required: bool) -> Serve {
        self.client_cert_auth = required;
        self
    }

    /// The lowest version of TLS, `TLS1.2` or `TLS1.3`: 1.2 if not set.
    pub fn tls_min_version(mut self, version: impl Into<String>) -> Serve {
        self.tls_min_version = version.into();
        self
    }

    /// The highest version of TLS, `TLS1.2` or `TLS1.3`: 1.3 if not set.
    pub fn tls_max_version(mut self, version: impl Into<String>) -> Serve {
        self.tls_max_version = version.into();
        self
    }

    /// The cipher suites of TLS 1.2 that may be used, by the names of IANA and Go
    /// (`TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256`); all safe ones if not set. A suite that is not
    /// available is left out, with a line in the log. Those of TLS 1.3 are always enabled, as in
    /// etcd.
    pub fn cipher_suites(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Serve {
        self.cipher_suites = names.into_iter().map(Into::into).collect();
        self
    }

    /// The largest write that clients may send, in bytes, counted as the [`Db`](libkv::Db) counts:
    /// the limit of the `Db` if not set. A higher limit has no effect on a write. A message may be
    /// 512 KiB larger.
    pub fn max_request_bytes(mut self, bytes: u64) -> Serve {
        self.max_request_bytes = Some(bytes);
        self
    }

    /// How many operations each list of a client's txn may have: the limit of the [`Db`](libkv::Db)
    /// if not set. A higher limit has no effect.
    pub fn max_txn_ops(mut self, ops: usize) -> Serve {
        self.max_txn_ops = Some(ops);
        self
    }

    /// How often a quiet watch that requested it reports its progress, in milliseconds: 10 minutes
    /// if not set, at least 100.
    pub fn progress_notify_interval_ms(mut self, ms: u64) -> Serve {
        self.progress_notify_interval_ms = ms.max(PROGRESS_NOTIFY_INTERVAL_MS_MIN);
        self
    }

    /// Whether every lease gets its full TTL again before the first client connects, as when etcd
    /// starts. Keep-alives of clients could not reach the server while it was down.
    pub fn refresh_leases(mut self, refresh: bool) -> Serve {
        self.refresh_leases = refresh;
        self
    }

    /// Whether the server has the JSON gateway, `/v3/…`: true if not set. Without it, HTTP has
    /// `/version`, `/health` and `/metrics`.
    pub fn gateway(mut self, gateway: bool) -> Serve {
        self.gateway = gateway;
        self
    }

    /// The most requests that one HTTP/2 connection may have in progress: 8,192 if not set, which
    /// is also the maximum. Further ones wait at the client. 0 is the default.
    pub fn max_concurrent_streams(mut self, streams: u32) -> Serve {
        self.connections.streams_max = if streams == 0 {
            STREAMS_MAX
        } else {
            streams.min(STREAMS_MAX)
        };
        self
    }

    /// After how many milliseconds without received data an HTTP/2 connection is probed (2 hours if
    /// not set), and after how many more without a response it is closed (20 seconds). No
    /// connection is probed if one of them is 0.
    pub fn keep_alive_ms(mut self, interval_ms: u64, timeout_ms: u64) -> Serve {
        let is_probed = interval_ms > 0 && timeout_ms > 0;
        self.connections.keep_alive = is_probed.then_some(Duration::from_millis(interval_ms));
        self.connections.keep_alive_response = Duration::from_millis(timeout_ms);
        self
    }

    /// The peer URLs that the list of members shows; none if not set. They have no other effect: a
    /// store has no peers.
    pub fn peer_urls(mut self, urls: impl IntoIterator<Item = impl Into<String>>) -> Serve {
        self.peer_urls = urls.into_iter().map(Into::into).collect();
        self
    }

    /// The origins (`https://example.com`, `*` for all) whose web pages may use the JSON gateway;
    /// none if not set. A request whose header `Origin` names another host is refused with status
    /// 403.
    pub fn cors(mut self, origins: impl IntoIterator<Item = impl Into<String>>) -> Serve {
        self.cors = origins.into_iter().map(Into::into).collect();
        self
    }

    /// The host names, without a port, that the header `Host` of a plain HTTP request may have; all
    /// if not set or if one is `*`. Requests to other hosts are refused with status 421, against
    /// DNS rebinding. gRPC and HTTPS are not checked.
    pub fn host_whitelist(mut self, hosts: impl IntoIterator<Item = impl Into<String>>) -> Serve {
        self.host_whitelist = hosts.into_iter().map(Into::into).collect();
        self
    }

    /// Adds an address that serves only `/metrics`, `/health`, `/livez` and `/readyz`.
    pub fn listen_metrics(mut self, url: impl Into<String>) -> Serve {
        self.listen_metrics.push(url.into());
        self
    }

    /// Whether `/metrics` has the histogram `grpc_server_handling_seconds`, as with etcd's
    /// `--metrics=extensive`.
    pub fn extensive_metrics(mut self, extensive: bool) -> Serve {
        self.extensive_metrics = extensive;
        self
    }

    /// Which tokens users get when they log in: `simple` (the default) keeps random texts in memory;
    /// `jwt,sign-method=RS256,priv-key=FILE,pub-key=FILE,ttl=5m` signs them, so that they outlive a
    /// restart and any server with the key accepts them. Methods: RS, PS and HS with 256, 384 and
    /// 512; ES256, ES384, EdDSA. Empty: no tokens, only client certificates. etcd's `--auth-token`.
    pub fn auth_token(mut self, spec: impl Into<String>) -> Serve {
        self.auth_token = spec.into();
        self
    }

    /// How long a simple token is valid after its last use, in seconds: 300 if not set.
    pub fn auth_token_ttl_seconds(mut self, seconds: u64) -> Serve {
        self.auth_token_ttl_seconds = seconds;
        self
    }

    /// The cost of the hashes of new passwords, 4 to 31: 10 if not set. Each step doubles the time.
    /// Another cost has no effect, with a line in the log, as in etcd.
    pub fn bcrypt_cost(mut self, cost: u32) -> Serve {
        self.bcrypt_cost = cost;
        self
    }

    /// The function that receives the log, one line for each event. It is called from the server's
    /// threads and must not block. The same lines are events of the crate `tracing`, with the
    /// target `libkv_etcd::server`. Without a function the variable `LIBKV_LOG` (`debug`, `info`,
    /// `warn` or `error`) writes the lines from this level on to standard error.
    pub fn log(mut self, log: impl Fn(Level, &str) + Send + Sync + 'static) -> Serve {
        self.log = Some(Arc::new(log));
        self
    }
}

/// The variable whose level (`debug`, `info`, `warn`, `error`) sends the log to standard error.
const LOG_VARIABLE: &str = "LIBKV_LOG";

/// The log of a server without a log function: standard error from the level in [`LOG_VARIABLE`]
/// on. Programs in other languages can use it too.
pub(super) fn environment_log() -> libkv::Result<Option<Log>> {
    let Some(given) = std::env::var_os(LOG_VARIABLE).filter(|given| !given.is_empty()) else {
        return Ok(None);
    };
    let levels = [
        ("debug", Level::Debug),
        ("info", Level::Info),
        ("warn", Level::Warn),
        ("error", Level::Error),
    ];
    let Some((_, least)) = levels
        .into_iter()
        .find(|(name, _)| given.eq_ignore_ascii_case(name))
    else {
        let message =
            format!("{LOG_VARIABLE} is {given:?}, but must be debug, info, warn or error");
        return Err(libkv::Error::new(libkv::Code::InvalidArgument, message));
    };
    Ok(Some(Arc::new(move |level, line| {
        if level >= least {
            let name = levels
                .iter()
                .find(|(_, named)| *named == level)
                .map_or("", |(name, _)| name);
            // without a standard error the line is dropped
            let _ = writeln!(std::io::stderr(), "libkv: {name}: {line}");
        }
    })))
}

impl fmt::Debug for Serve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serve")
            .field("listen", &self.listen)
            .field("name", &self.name)
            .finish_non_exhaustive()
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
