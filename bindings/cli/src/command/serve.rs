//! `serve`: serves a store to etcd clients, with etcd's flags.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::mpsc;

use clap::ValueEnum;
use libkv::{AutoCompaction, Db, Durability, LimitsPreset, Options};
use libkv_etcd::{Level, Server};

use crate::command::log::{Format, Log, LogLevel};
use crate::command::{Context, notify};
use crate::duration::parse_go_duration_ms;
use crate::failure::{Failure, Result};
use crate::signal::Interrupt;
use crate::target;

const HELP: &str = "\
The flags are those of etcd: `-flag`, `--flag=value` or `--flag value`; the last one counts. The
variables ETCD_NAME, ETCD_DATA_DIR, … set them too. Flags of etcd without a meaning for a single
member have no effect, and a line in the log names them; flags that are not supported are refused
with a reason. --config-file (or ETCD_CONFIG_FILE) is etcd's file in YAML, whose keys are the flags;
etcd's other flags and its variables have no effect then. Without STORE and --data-dir the store
is NAME.etcd, as with etcd. In a directory that has other files, the store is the folder `kv`. Local
processes can use the store at the same time.

When clients can connect, it writes `ready to serve client requests` to standard error, and after
that only warnings (--log-level info logs more). systemd is notified (Type=notify). After SIGTERM
or Ctrl-C the active requests finish; a second signal ends the server at once.

Examples:
  kv serve ./my-store
  kv serve ./my-store --listen-client-urls http://0.0.0.0:2379,unix:///run/kv.sock
  kv serve --data-dir=./my-store --listen-client-urls=https://0.0.0.0:2379 \\
      --cert-file=server.pem --key-file=server-key.pem --trusted-ca-file=ca.pem --client-cert-auth
  kv serve ./my-store --auto-compaction-mode=periodic --auto-compaction-retention=24h
  kv serve --config-file /etc/etcd/etcd.conf.yml

Exit status: 0 after SIGTERM or Ctrl-C; 130 or 143 after a second one.";

/// etcd's default quota.
const QUOTA_BYTES: i64 = 2 << 30;

/// The versions of TLS, by etcd's names.
const TLS_VERSIONS: [&str; 2] = ["TLS1.2", "TLS1.3"];

/// The names that `--feature-gates` accepts. The features have no meaning for a single member.
const FEATURES: &[&str] = &[
    "AllAlpha",
    "AllBeta",
    "CompactHashCheck",
    "FastLeaseKeepAlive",
    "InitialCorruptCheck",
    "LeaseCheckpoint",
    "LeaseCheckpointPersist",
    "SetMemberLocalAddr",
    "StopGRPCServiceOnDefrag",
    "TxnModeWriteWithSharedBuffer",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum CompactionMode {
    Periodic,
    Revision,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ClusterState {
    New,
    Existing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Metrics {
    Basic,
    Extensive,
}

/// `kv serve`. Its flags are those that `etcd_flags/` honours, which passes each at most once.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = HELP)]
pub struct Serve {
    /// The store's directory, created if needed [default: NAME.etcd]
    #[arg(value_name = "STORE")]
    directory: Option<OsString>,
    /// The same as STORE, with etcd's name
    #[arg(long, value_name = "STORE")]
    data_dir: Option<OsString>,
    /// etcd's configuration file (YAML): other flags and ETCD_… variables have no effect
    #[arg(long, value_name = "FILE")]
    config_file: Option<OsString>,
    /// The member's name
    #[arg(long, value_name = "NAME", default_value = "default")]
    name: String,
    #[command(flatten)]
    clients: Clients,
    #[command(flatten)]
    limits: Limits,
    #[command(flatten)]
    logging: Logging,
    #[command(flatten)]
    member: Member,
    /// Lines for the log about flags without effect
    #[arg(skip)]
    pub notes: Vec<String>,
}

/// The options for clients.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Clients")]
struct Clients {
    /// Addresses for clients: http://, https:// or unix://, separated by commas
    #[arg(
        long,
        value_name = "URLS",
        default_value = "http://localhost:2379",
        value_delimiter = ','
    )]
    listen_client_urls: Vec<String>,
    /// More addresses for clients; like the others they serve gRPC and HTTP
    #[arg(long, value_name = "URLS", value_delimiter = ',')]
    listen_client_http_urls: Vec<String>,
    /// Addresses that serve only /metrics and /health
    #[arg(long, value_name = "URLS", value_delimiter = ',')]
    listen_metrics_urls: Vec<String>,
    /// Whether /metrics includes the histograms of gRPC
    #[arg(long, value_name = "LEVEL", default_value = "basic")]
    metrics: Metrics,
    /// The client URLs in the list of members; by default the listen addresses
    #[arg(long, value_name = "URLS", value_delimiter = ',')]
    advertise_client_urls: Vec<String>,
    /// The server's certificate (PEM), for https:// addresses
    #[arg(long, value_name = "FILE")]
    cert_file: Option<OsString>,
    /// The key of the certificate (PEM)
    #[arg(long, value_name = "FILE")]
    key_file: Option<OsString>,
    /// The certificate authorities of client certificates (PEM)
    #[arg(long, value_name = "FILE")]
    trusted_ca_file: Option<OsString>,
    /// Whether clients need a certificate
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", default_value = "false", action = clap::ArgAction::Set)]
    client_cert_auth: bool,
    /// The lowest version of TLS
    #[arg(long, value_name = "VERSION", default_value = "TLS1.2", value_parser = TLS_VERSIONS)]
    tls_min_version: String,
    /// The highest version of TLS
    #[arg(long, value_name = "VERSION", default_value = "TLS1.3", value_parser = TLS_VERSIONS)]
    tls_max_version: String,
    /// The cipher suites of TLS 1.2, separated by commas; by default all safe ones
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    cipher_suites: Vec<String>,
    /// Whether the JSON gateway (/v3/…) is served
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", default_value = "true", action = clap::ArgAction::Set)]
    enable_grpc_gateway: bool,
    /// The origins whose web pages may use the JSON gateway, separated by commas; * is all
    #[arg(long, value_name = "ORIGINS", value_delimiter = ',')]
    cors: Vec<String>,
    /// The host names that a plain HTTP request may use, separated by commas; * or none is all
    #[arg(long, value_name = "HOSTS", value_delimiter = ',')]
    host_whitelist: Vec<String>,
    /// The tokens of users: simple, or jwt,sign-method=M,priv-key=FILE,pub-key=FILE,ttl=5m
    #[arg(long, value_name = "TOKENS", default_value = "simple")]
    auth_token: String,
    /// The time in seconds after which an unused simple token ends
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    auth_token_ttl: u64,
    /// The cost of the hashes of new passwords, 4 to 31
    #[arg(long, value_name = "N", default_value_t = 10)]
    bcrypt_cost: u32,
    /// The maximum number of concurrent requests of a connection
    #[arg(long, value_name = "N")]
    max_concurrent_streams: Option<u32>,
    /// The idle time after which a connection is probed; 0 is never
    #[arg(long, value_name = "TIME", default_value = "2h", value_parser = parse_go_duration_ms)]
    grpc_keepalive_interval: u64,
    /// The time after which a connection without a response to the probe is closed
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = parse_go_duration_ms)]
    grpc_keepalive_timeout: u64,
    /// The interval of progress notifications; at least 100ms
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = parse_go_duration_ms)]
    watch_progress_notify_interval: u64,
}

/// The options for limits and history.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Limits and history")]
struct Limits {
    /// The maximum size of a request
    #[arg(long, value_name = "BYTES", default_value_t = libkv::ETCD_MAX_REQUEST_BYTES)]
    max_request_bytes: u64,
    /// The maximum number of operations of a txn
    #[arg(long, value_name = "N", default_value_t = libkv::ETCD_MAX_TXN_OPS)]
    max_txn_ops: usize,
    /// The quota in bytes; beyond it puts are refused and NOSPACE is raised; 0 is 2 GiB, a negative
    /// number is no quota
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = 0,
        allow_negative_numbers = true
    )]
    quota_backend_bytes: i64,
    /// The unit of --auto-compaction-retention
    #[arg(long, value_name = "MODE", default_value = "periodic")]
    auto_compaction_mode: CompactionMode,
    /// The history to keep: periodic, 24h or 24 (hours); revision, a number; 0 keeps all
    #[arg(long, value_name = "HOW-MUCH", default_value = "0")]
    auto_compaction_retention: String,
    /// Create the store with durability none: a power cut may destroy it
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", default_value = "false", action = clap::ArgAction::Set)]
    unsafe_no_fsync: bool,
}

/// The options of the log.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Log")]
struct Logging {
    /// The log level; the ready line is always logged [default: warn]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<LogLevel>,
    /// console (text) or json (a document on each line)
    /// [default: json with --json, otherwise console]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<Format>,
    /// stderr, stdout or files, separated by commas; default and systemd/journal are standard error
    #[arg(
        long,
        value_name = "OUTPUTS",
        default_value = "default",
        value_delimiter = ','
    )]
    log_outputs: Vec<String>,
}

/// The flags of a cluster. They have no effect, except the peer URLs in the list of members.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "Without effect")]
struct Member {
    /// The peer URLs to listen on (no effect)
    #[arg(long, value_name = "URLS", value_delimiter = ',')]
    listen_peer_urls: Vec<String>,
    /// The peer URLs in the list of members
    #[arg(long, value_name = "URLS", value_delimiter = ',')]
    initial_advertise_peer_urls: Vec<String>,
    /// The members of the cluster: one, with this name
    #[arg(long, value_name = "NAME=URL")]
    initial_cluster: Option<String>,
    /// new or existing
    #[arg(long, value_name = "STATE")]
    initial_cluster_state: Option<ClusterState>,
    /// Features: NAME=true, separated by commas
    #[arg(long, value_name = "FEATURES", value_delimiter = ',')]
    feature_gates: Vec<String>,
}

impl Serve {
    /// Runs the command.
    pub fn run(self, context: &mut Context) -> Result<()> {
        let directory = self.directory(context)?;
        let without_effect = self.member.check(&self.name)?;
        let log = self.logging.log(context.global.json)?;
        if let Some(file) = &self.config_file {
            let file = file.to_string_lossy();
            log.line(LogLevel::Info, &format!("the configuration is {file}"));
        }
        for note in &self.notes {
            log.line(LogLevel::Warn, note);
        }
        for flag in without_effect {
            log.line(
                LogLevel::Warn,
                &format!("{flag} has no effect: this is the only member of its cluster"),
            );
        }
        if self.limits.unsafe_no_fsync {
            log.line(
                LogLevel::Warn,
                "--unsafe-no-fsync: a store that is created now never waits for the disk, also later",
            );
        }
        // large responses to slow clients must not stay in the allocator
        libkv::support::return_large_memory();
        // signals are caught before the server starts
        let (sender, signals) = mpsc::channel();
        let interrupt = Interrupt::new(move |signal| {
            let _ = sender.send(signal);
        })?;
        let options = self.options(context)?;
        // the store comes last: it is not created if an address is not available
        let listener = libkv_etcd::listen(self.serve_options(log.clone()))?;
        let (db, directory) = target::open_data_dir(&directory, &options)?;
        let server = listener.serve(&db)?;
        let shown = directory.display();
        log.ready(&format!(
            "ready to serve client requests on {} (store {shown})",
            server.addresses().join(", ")
        ));
        if let Some(socket) = std::env::var_os("NOTIFY_SOCKET").filter(|socket| !socket.is_empty())
            && let Err(error) = notify::ready(&socket)
        {
            let socket = socket.to_string_lossy();
            log.line(
                LogLevel::Warn,
                &format!("the init daemon (NOTIFY_SOCKET={socket}) was not notified: {error}"),
            );
        }
        self.wait(&server, &db, &signals, &log)?;
        drop(interrupt);
        Ok(())
    }

    /// Waits for a signal, and then until the active requests finish or another signal arrives.
    fn wait(
        &self,
        server: &Server,
        db: &Db,
        signals: &mpsc::Receiver<i32>,
        log: &Log,
    ) -> Result<()> {
        let Ok(first) = signals.recv() else {
            return Ok(());
        };
        log.line(
            LogLevel::Info,
            &format!("signal {first}: new requests are refused, active requests may finish"),
        );
        std::thread::scope(|scope| {
            let (sender, closed) = mpsc::channel();
            scope.spawn(move || {
                server.close();
                db.close();
                let _ = sender.send(());
            });
            loop {
                if let Ok(second) = signals.try_recv() {
                    log.line(
                        LogLevel::Warn,
                        &format!("signal {second}: the server ends without waiting"),
                    );
                    std::process::exit(128 + second);
                }
                match closed.recv_timeout(std::time::Duration::from_millis(50)) {
                    Err(mpsc::RecvTimeoutError::Timeout) => {}
                    _ => break,
                }
            }
        });
        log.line(
            LogLevel::Info,
            "all requests have finished, and the store is closed",
        );
        Ok(())
    }

    fn directory(&self, context: &Context) -> Result<PathBuf> {
        let name = match (&self.directory, &self.data_dir) {
            (Some(one), Some(other)) if one != other => {
                let message = format!(
                    "STORE and --data-dir name two stores: {} and {}",
                    one.to_string_lossy(),
                    other.to_string_lossy()
                );
                return Err(Failure::usage(message));
            }
            (Some(name), _) | (None, Some(name)) => name.clone(),
            (None, None) => match context.global.target.name() {
                Ok(name) => name,
                Err(_) => format!("{}.etcd", self.name).into(),
            },
        };
        match name.to_str().is_some_and(libkv_etcd::is_cluster) {
            true => Err(Failure::usage(format!(
                "{} is a cluster: its clients can connect to it directly",
                name.to_string_lossy()
            ))),
            false => Ok(name.into()),
        }
    }

    fn options(&self, context: &Context) -> Result<Options> {
        let limits = &self.limits;
        let quota_bytes = match limits.quota_backend_bytes {
            0 => QUOTA_BYTES,
            bytes => bytes.max(0),
        };
        let mut options = Options::new()
            .limits(LimitsPreset::Etcd)
            .max_request_bytes(limits.max_request_bytes)
            .max_txn_ops(limits.max_txn_ops)
            .max_bytes(quota_bytes as u64);
        options.auto_compaction = retention(
            limits.auto_compaction_mode,
            &limits.auto_compaction_retention,
        )
        .map_err(|why| Failure::usage(format!("--auto-compaction-retention: {why}")))?;
        options.durability = limits.unsafe_no_fsync.then_some(Durability::None);
        options.busy_timeout_ms = context.global.target.busy_timeout;
        Ok(options)
    }

    fn serve_options(&self, log: Log) -> libkv_etcd::Serve {
        let options = self
            .clients
            .serve_options()
            .name(&self.name)
            .peer_urls(self.member.peer_urls())
            .max_request_bytes(self.limits.max_request_bytes)
            .refresh_leases(true);
        options.log(move |level, line| {
            let level = match level {
                Level::Debug => LogLevel::Debug,
                Level::Info => LogLevel::Info,
                Level::Warn => LogLevel::Warn,
                // a level that this program does not know is not hidden
                _ => LogLevel::Error,
            };
            log.line(level, line);
        })
    }
}

impl Clients {
    fn serve_options(&self) -> libkv_etcd::Serve {
        let listen = urls(
            self.listen_client_urls
                .iter()
                .chain(&self.listen_client_http_urls),
        );
        let (first, more) = listen.split_first().expect("clap has a default");
        let mut options = more
            .iter()
            .copied()
            .fold(libkv_etcd::Serve::new(*first), libkv_etcd::Serve::listen);
        options = urls(&self.advertise_client_urls)
            .into_iter()
            .fold(options, libkv_etcd::Serve::advertise);
        options = urls(&self.listen_metrics_urls)
            .into_iter()
            .fold(options, libkv_etcd::Serve::listen_metrics);
        options = options
            .extensive_metrics(self.metrics == Metrics::Extensive)
            .client_cert_auth(self.client_cert_auth)
            .tls_min_version(&self.tls_min_version)
            .tls_max_version(&self.tls_max_version)
            .cipher_suites(urls(&self.cipher_suites))
            .gateway(self.enable_grpc_gateway)
            .cors(urls(&self.cors))
            .host_whitelist(urls(&self.host_whitelist))
            .auth_token(&self.auth_token)
            .auth_token_ttl_seconds(self.auth_token_ttl)
            .bcrypt_cost(self.bcrypt_cost)
            .keep_alive_ms(self.grpc_keepalive_interval, self.grpc_keepalive_timeout)
            .progress_notify_interval_ms(self.watch_progress_notify_interval);
        if let Some(streams) = self.max_concurrent_streams {
            options = options.max_concurrent_streams(streams);
        }
        if let Some(path) = &self.cert_file {
            options = options.cert_file(path);
        }
        if let Some(path) = &self.key_file {
            options = options.key_file(path);
        }
        if let Some(path) = &self.trusted_ca_file {
            options = options.trusted_ca_file(path);
        }
        options
    }
}

impl Logging {
    fn log(&self, json: bool) -> Result<Log> {
        let format = self
            .log_format
            .unwrap_or(if json { Format::Json } else { Format::Console });
        Log::new(
            self.log_level.unwrap_or(LogLevel::Warn),
            format,
            urls(&self.log_outputs),
        )
    }
}

impl Member {
    /// The peer URLs in the list of members.
    fn peer_urls(&self) -> Vec<&str> {
        match self.initial_advertise_peer_urls.is_empty() {
            true => urls(&self.listen_peer_urls),
            false => urls(&self.initial_advertise_peer_urls),
        }
    }

    /// Refuses flags that describe another cluster; returns the given flags, which have no effect.
    fn check(&self, name: &str) -> Result<Vec<&'static str>> {
        for (flag, given) in [
            ("--listen-peer-urls", &self.listen_peer_urls),
            (
                "--initial-advertise-peer-urls",
                &self.initial_advertise_peer_urls,
            ),
        ] {
            for url in urls(given) {
                if !["http://", "https://", "unix:", "unixs:"]
                    .iter()
                    .any(|scheme| url.starts_with(scheme))
                {
                    return Err(Failure::usage(format!("{flag}: {url:?} is not a URL")));
                }
            }
        }
        for feature in urls(&self.feature_gates) {
            let (name, on) = feature.split_once('=').unwrap_or((feature, ""));
            if !FEATURES.contains(&name)
                || !["true", "false"].contains(&on.to_ascii_lowercase().as_str())
            {
                return Err(Failure::usage(format!(
                    "--feature-gates: {feature:?} is not a feature of etcd (NAME=true)"
                )));
            }
        }
        if let Some(cluster) = &self.initial_cluster {
            let mut members: Vec<&str> = cluster
                .split(',')
                .map(|member| member.split('=').next().unwrap_or(member).trim())
                .collect();
            members.dedup();
            match members.as_slice() {
                [one] if *one == name || one.is_empty() => {}
                [one] => {
                    let message = format!(
                        "--initial-cluster describes a member {one:?}, but --name is {name:?}"
                    );
                    return Err(Failure::usage(message));
                }
                _ => {
                    let message = "--initial-cluster describes several members, but kv serve is the only member of \
                        its cluster (use etcd for more)";
                    return Err(Failure::usage(message));
                }
            }
        }
        let given = [
            ("--listen-peer-urls", !self.listen_peer_urls.is_empty()),
            ("--initial-cluster", self.initial_cluster.is_some()),
            (
                "--initial-cluster-state",
                self.initial_cluster_state.is_some(),
            ),
            ("--feature-gates", !self.feature_gates.is_empty()),
        ];
        Ok(given
            .iter()
            .filter(|(_, given)| *given)
            .map(|(flag, _)| *flag)
            .collect())
    }
}

/// A list as etcd reads it: trimmed, without empty and repeated parts.
fn urls<'a>(given: impl IntoIterator<Item = &'a String>) -> Vec<&'a str> {
    let mut urls = Vec::new();
    for url in given.into_iter().map(|url| url.trim()) {
        if !url.is_empty() && !urls.contains(&url) {
            urls.push(url);
        }
    }
    urls
}

/// Reads --auto-compaction-retention like etcd.
fn retention(
    mode: CompactionMode,
    text: &str,
) -> std::result::Result<Option<AutoCompaction>, String> {
    let number: Option<u64> = text.parse().ok();
    Ok(match (mode, number) {
        (_, Some(0)) => None,
        (CompactionMode::Revision, Some(revisions)) => Some(AutoCompaction::Revisions(revisions)),
        (CompactionMode::Revision, None) => {
            return Err(format!("{text:?} is not a number of revisions"));
        }
        (CompactionMode::Periodic, Some(hours)) => Some(AutoCompaction::Seconds(
            hours.checked_mul(3_600).ok_or("too long")?,
        )),
        (CompactionMode::Periodic, None) => match parse_go_duration_ms(text)? {
            0 => None,
            ms => Some(AutoCompaction::Seconds(ms.div_ceil(1_000))),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retention_as_etcd_reads_it() {
        use CompactionMode::{Periodic, Revision};
        let known = [
            (Periodic, "0", None),
            (Periodic, "10", Some(AutoCompaction::Seconds(36_000))),
            (Periodic, "1h", Some(AutoCompaction::Seconds(3_600))),
            (Periodic, "90s", Some(AutoCompaction::Seconds(90))),
            (Periodic, "0s", None),
            (Periodic, "100ms", Some(AutoCompaction::Seconds(1))),
            (Revision, "1000", Some(AutoCompaction::Revisions(1_000))),
            (Revision, "0", None),
        ];
        for (mode, text, kept) in known {
            assert_eq!(retention(mode, text), Ok(kept), "{text}");
        }
        for (mode, text) in [
            (Revision, "1h"),
            (Periodic, "x"),
            (Periodic, ""),
            (Periodic, "-1"),
            (Revision, "-1"),
        ] {
            assert!(retention(mode, text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_cluster_of_one_is_this_member() {
        let member = |cluster: &str| Member {
            initial_cluster: Some(cluster.into()),
            ..Member::default()
        };
        for cluster in ["a=http://localhost:2380", "a=http://x:1,a=http://y:1"] {
            assert!(member(cluster).check("a").is_ok(), "{cluster}");
        }
        for cluster in ["b=http://localhost:2380", "a=http://x:1,b=http://y:1"] {
            assert!(member(cluster).check("a").is_err(), "{cluster}");
        }
    }

    #[test]
    fn features_are_those_of_etcd() {
        let check = |features: &[&str]| {
            let feature_gates = features.iter().map(|feature| feature.to_string()).collect();
            Member {
                feature_gates,
                ..Member::default()
            }
            .check("a")
        };
        let known = check(&["InitialCorruptCheck=true", " LeaseCheckpoint=False"]).expect("known");
        assert_eq!(known, ["--feature-gates"]);
        for unknown in [
            "NoSuchFeature=true",
            "InitialCorruptCheck",
            "InitialCorruptCheck=yes",
            "=true",
        ] {
            assert!(check(&[unknown]).is_err(), "{unknown}");
        }
    }

    #[test]
    fn peer_urls_are_those_that_are_advertised() {
        let url = |url: &str| vec![url.to_string()];
        let mut member = Member {
            listen_peer_urls: url("http://a:1"),
            ..Member::default()
        };
        assert_eq!(member.peer_urls(), ["http://a:1"]);
        member.initial_advertise_peer_urls = url("http://b:1");
        assert_eq!(member.peer_urls(), ["http://b:1"]);
    }
}
