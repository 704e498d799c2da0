//! `serve`: a store for any etcd client, with etcd's own flags.

use std::ffi::OsString;
use std::sync::mpsc;
use std::time::SystemTime;

use clap::ValueEnum;
use libkv::{AutoCompaction, Db, LimitsPreset, Options};
use libkv_etcd::{Level, Serve as How, Server};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::command::{Context, notify};
use crate::duration::parse_go_duration_ms;
use crate::failure::{Failure, Result};
use crate::signal::Interrupt;

const HELP: &str = "\
The flags are etcd's, with one hyphen or two, and ETCD_NAME, ETCD_DATA_DIR, … set them too. Flags
that describe a cluster are taken if they describe this one member, and have no effect; other
flags of etcd are refused with the reason. Local processes can use the store meanwhile, and see
and are seen by the clients.

Once clients can connect it says `ready to serve client requests` on standard error, and then no
more unless something is wrong (--log-level info says more); systemd is told too (Type=notify).
SIGTERM and Ctrl-C let the requests under way end; a second one does not.

Examples:
  kv serve ./my-store
  kv serve ./my-store --listen-client-urls http://0.0.0.0:2379,unix:///run/kv.sock
  kv serve --data-dir=./my-store --listen-client-urls=https://0.0.0.0:2379 \\
      --cert-file=server.pem --key-file=server-key.pem --trusted-ca-file=ca.pem --client-cert-auth
  kv serve ./my-store --auto-compaction-mode=periodic --auto-compaction-retention=24h

Exit status: 0 after SIGTERM or Ctrl-C; 130 or 143 after a second one.";

/// etcd's quota where none is given.
const QUOTA_BYTES: i64 = 2 << 30;

/// What a log line is at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
    Dpanic,
    Panic,
    Fatal,
}

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

/// `kv serve`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = HELP)]
pub struct Serve {
    /// The store's directory; made if there is none
    #[arg(value_name = "STORE")]
    directory: Option<OsString>,
    /// The same, as etcd has it
    #[arg(long, value_name = "STORE", env = "ETCD_DATA_DIR", hide_env_values = true)]
    data_dir: Option<OsString>,
    /// Where clients connect: http://, https:// or unix:// addresses, with commas between
    #[arg(
        long,
        value_name = "URLS",
        env = "ETCD_LISTEN_CLIENT_URLS",
        default_value = "http://localhost:2379",
        value_delimiter = ',',
        hide_env_values = true
    )]
    listen_client_urls: Vec<String>,
    /// What the list of members shows as this one's addresses; else those it listens on
    #[arg(
        long,
        value_name = "URLS",
        env = "ETCD_ADVERTISE_CLIENT_URLS",
        value_delimiter = ',',
        hide_env_values = true
    )]
    advertise_client_urls: Vec<String>,
    /// The member's name
    #[arg(long, value_name = "NAME", env = "ETCD_NAME", default_value = "default", hide_env_values = true)]
    name: String,
    /// The server's certificate (PEM), for https:// addresses
    #[arg(long, value_name = "FILE", env = "ETCD_CERT_FILE", hide_env_values = true)]
    cert_file: Option<OsString>,
    /// The key of the certificate (PEM)
    #[arg(long, value_name = "FILE", env = "ETCD_KEY_FILE", hide_env_values = true)]
    key_file: Option<OsString>,
    /// The authorities that clients' certificates must come from (PEM)
    #[arg(long, value_name = "FILE", env = "ETCD_TRUSTED_CA_FILE", hide_env_values = true)]
    trusted_ca_file: Option<OsString>,
    /// Whether clients must show a certificate
    #[arg(long, value_name = "BOOL", env = "ETCD_CLIENT_CERT_AUTH", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", default_value = "false", hide_env_values = true,
        value_parser = parse_go_bool)]
    client_cert_auth: bool,
    /// The largest request that is taken
    #[arg(long, value_name = "BYTES", env = "ETCD_MAX_REQUEST_BYTES", default_value_t = libkv::ETCD_MAX_REQUEST_BYTES,
        hide_env_values = true)]
    max_request_bytes: u64,
    /// The most operations of a txn
    #[arg(long, value_name = "N", env = "ETCD_MAX_TXN_OPS", default_value_t = libkv::ETCD_MAX_TXN_OPS,
        hide_env_values = true)]
    max_txn_ops: usize,
    /// Beyond so many bytes puts are refused and NOSPACE is raised; 0 is 2 GiB, a negative number is no limit
    #[arg(
        long,
        value_name = "BYTES",
        env = "ETCD_QUOTA_BACKEND_BYTES",
        default_value_t = 0,
        hide_env_values = true,
        allow_negative_numbers = true
    )]
    quota_backend_bytes: i64,
    /// What --auto-compaction-retention counts
    #[arg(
        long,
        value_name = "MODE",
        env = "ETCD_AUTO_COMPACTION_MODE",
        default_value = "periodic",
        hide_env_values = true
    )]
    auto_compaction_mode: CompactionMode,
    /// How much history is kept: periodic, 24h or 24 (hours); revision, a number of them; 0 keeps all
    #[arg(
        long,
        value_name = "HOW-MUCH",
        env = "ETCD_AUTO_COMPACTION_RETENTION",
        default_value = "0",
        hide_env_values = true
    )]
    auto_compaction_retention: String,
    /// How often a quiet watch that asked for it hears of progress; 100ms at least
    #[arg(
        long = "experimental-watch-progress-notify-interval",
        value_name = "TIME",
        env = "ETCD_EXPERIMENTAL_WATCH_PROGRESS_NOTIFY_INTERVAL",
        default_value = "10m",
        hide_env_values = true,
        value_parser = parse_go_duration_ms
    )]
    progress_notify_interval_ms: u64,
    /// What is logged beside the ready line [default: warn]
    #[arg(long, value_name = "LEVEL", env = "ETCD_LOG_LEVEL", hide_env_values = true)]
    log_level: Option<LogLevel>,
    #[command(flatten)]
    member: Member,
}

/// Flags of a cluster, which have no effect here.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Without effect, if they describe this one member")]
struct Member {
    /// Where peers would connect
    #[arg(long, value_name = "URLS", env = "ETCD_LISTEN_PEER_URLS", hide_env_values = true)]
    listen_peer_urls: Option<String>,
    /// What peers would be told
    #[arg(long, value_name = "URLS", env = "ETCD_INITIAL_ADVERTISE_PEER_URLS", hide_env_values = true)]
    initial_advertise_peer_urls: Option<String>,
    /// The members of the cluster: one, with this name
    #[arg(long, value_name = "NAME=URL", env = "ETCD_INITIAL_CLUSTER", hide_env_values = true)]
    initial_cluster: Option<String>,
    /// What tells this cluster from others
    #[arg(long, value_name = "TEXT", env = "ETCD_INITIAL_CLUSTER_TOKEN", hide_env_values = true)]
    initial_cluster_token: Option<String>,
    /// new or existing
    #[arg(long, value_name = "STATE", env = "ETCD_INITIAL_CLUSTER_STATE", hide_env_values = true)]
    initial_cluster_state: Option<ClusterState>,
}

/// As Go reads a boolean flag.
fn parse_go_bool(text: &str) -> std::result::Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("true or false".into()),
    }
}

impl Serve {
    /// Does it.
    pub fn run(self, context: &mut Context) -> Result<()> {
        if context.in_shell() {
            return Err(Failure::usage("serve is for the command line: it would leave this shell no store"));
        }
        let log = Log { level: self.log_level.unwrap_or(LogLevel::Warn), json: context.global.json };
        let directory = self.directory(context)?;
        for flag in self.member.check(&self.name)? {
            log.say(LogLevel::Warn, &format!("{flag} has no effect: this is the one member of its cluster"));
        }
        // answers of megabytes to many who read slowly are not to be kept for ever
        libkv::return_large_memory();
        // signals are caught before anything is begun
        let (tell, told) = mpsc::channel();
        let interrupt = Interrupt::new(move |signal| {
            let _ = tell.send(Event::Signal(signal));
        })?;
        let options = self.options(context)?;
        // the store comes last: where nobody could be served none is made
        let listener = libkv_etcd::listen(self.how(log))?;
        let db = libkv_etcd::open(&directory, options)?;
        let server = listener.serve(&db)?;
        let shown = directory.to_string_lossy();
        log.ready(&format!("ready to serve client requests on {} (store {shown})", server.addresses().join(", ")));
        if let Some(socket) = std::env::var_os("NOTIFY_SOCKET").filter(|socket| !socket.is_empty())
            && let Err(error) = notify::ready(&socket)
        {
            let socket = socket.to_string_lossy();
            log.say(LogLevel::Warn, &format!("the init daemon (NOTIFY_SOCKET={socket}) is not told: {error}"));
        }
        self.wait(&server, &db, &told, log)?;
        drop(interrupt);
        Ok(())
    }

    /// Waits for a signal, and then for the requests under way or for another signal.
    fn wait(&self, server: &Server, db: &Db, told: &mpsc::Receiver<Event>, log: Log) -> Result<()> {
        let Ok(Event::Signal(first)) = told.recv() else { return Ok(()) };
        log.say(LogLevel::Info, &format!("signal {first}: no more requests are taken, those under way may end"));
        std::thread::scope(|scope| {
            let (tell, ended) = mpsc::channel();
            scope.spawn(move || {
                server.close();
                db.close();
                let _ = tell.send(());
            });
            loop {
                if let Ok(Event::Signal(second)) = told.try_recv() {
                    log.say(LogLevel::Warn, &format!("signal {second}: ended without waiting"));
                    std::process::exit(128 + second);
                }
                match ended.recv_timeout(std::time::Duration::from_millis(50)) {
                    Err(mpsc::RecvTimeoutError::Timeout) => {}
                    _ => break,
                }
            }
        });
        log.say(LogLevel::Info, "all requests have ended, and the store is closed");
        Ok(())
    }

    fn directory(&self, context: &Context) -> Result<OsString> {
        let name = match (&self.directory, &self.data_dir) {
            (Some(one), Some(other)) if one != other => {
                let message =
                    format!("two stores are named: {} and {}", one.to_string_lossy(), other.to_string_lossy());
                return Err(Failure::usage(message));
            }
            (Some(name), _) | (None, Some(name)) => name.clone(),
            (None, None) => match context.global.target.name() {
                Ok(name) => name,
                Err(_) => return Err(Failure::usage("which store? kv serve STORE")),
            },
        };
        match name.to_str().is_some_and(libkv_etcd::is_cluster) {
            true => Err(Failure::usage(format!("{} is a cluster, which serves itself", name.to_string_lossy()))),
            false => Ok(name),
        }
    }

    fn options(&self, context: &Context) -> Result<Options> {
        let quota_bytes = match self.quota_backend_bytes {
            0 => QUOTA_BYTES,
            bytes => bytes.max(0),
        };
        let options = Options::new()
            .limits(LimitsPreset::Etcd)
            .max_request_bytes(self.max_request_bytes)
            .max_txn_ops(self.max_txn_ops)
            .max_bytes(quota_bytes as u64);
        let auto_compaction = retention(self.auto_compaction_mode, &self.auto_compaction_retention)
            .map_err(|why| Failure::usage(format!("--auto-compaction-retention: {why}")))?;
        Ok(Options { auto_compaction, busy_timeout_ms: context.global.target.busy_timeout, ..options })
    }

    fn how(&self, log: Log) -> How {
        let listen = urls(&self.listen_client_urls);
        let (first, more) = listen.split_first().expect("clap has a default");
        let mut how = more.iter().copied().fold(How::new(*first), How::listen);
        how = urls(&self.advertise_client_urls).into_iter().fold(how, How::advertise);
        how = how
            .name(&self.name)
            .client_cert_auth(self.client_cert_auth)
            .max_request_bytes(self.max_request_bytes)
            .progress_notify_interval_ms(self.progress_notify_interval_ms)
            .refresh_leases(true)
            .log(move |level, line| {
                let level = match level {
                    Level::Debug => LogLevel::Debug,
                    Level::Info => LogLevel::Info,
                    Level::Warn => LogLevel::Warn,
                    Level::Error => LogLevel::Error,
                };
                log.say(level, line);
            });
        if let Some(path) = &self.cert_file {
            how = how.cert_file(path);
        }
        if let Some(path) = &self.key_file {
            how = how.key_file(path);
        }
        if let Some(path) = &self.trusted_ca_file {
            how = how.trusted_ca_file(path);
        }
        how
    }
}

enum Event {
    Signal(i32),
}

impl Member {
    /// The flags that were given, if they describe the one member of this name.
    fn check(&self, name: &str) -> Result<Vec<&'static str>> {
        for (flag, urls) in [
            ("--listen-peer-urls", &self.listen_peer_urls),
            ("--initial-advertise-peer-urls", &self.initial_advertise_peer_urls),
        ] {
            for url in urls.iter().flat_map(|urls| urls.split(',')).filter(|url| !url.is_empty()) {
                if !["http://", "https://", "unix://", "unixs://"].iter().any(|scheme| url.starts_with(scheme)) {
                    return Err(Failure::usage(format!("{flag}: {url:?} is no URL")));
                }
            }
        }
        if let Some(cluster) = &self.initial_cluster {
            let mut members: Vec<&str> =
                cluster.split(',').map(|member| member.split('=').next().unwrap_or(member).trim()).collect();
            members.dedup();
            match members.as_slice() {
                [one] if *one == name || one.is_empty() => {}
                [one] => {
                    let message =
                        format!("--initial-cluster describes a member {one:?}, but this one's --name is {name:?}");
                    return Err(Failure::usage(message));
                }
                _ => {
                    let message = "--initial-cluster describes several members: kv serve is the one member of its \
                        cluster (real etcd is for more)";
                    return Err(Failure::usage(message));
                }
            }
        }
        let given = [
            ("--listen-peer-urls", self.listen_peer_urls.is_some()),
            ("--initial-advertise-peer-urls", self.initial_advertise_peer_urls.is_some()),
            ("--initial-cluster", self.initial_cluster.is_some()),
            ("--initial-cluster-token", self.initial_cluster_token.is_some()),
            ("--initial-cluster-state", self.initial_cluster_state.is_some()),
        ];
        Ok(given.iter().filter(|(_, given)| *given).map(|(flag, _)| *flag).collect())
    }
}

/// A list of URLs as etcd reads it: without blanks around them, each once.
fn urls(given: &[String]) -> Vec<&str> {
    let mut urls = Vec::new();
    for url in given.iter().map(|url| url.trim()) {
        if !urls.contains(&url) {
            urls.push(url);
        }
    }
    urls
}

/// Reads --auto-compaction-retention as etcd does.
fn retention(mode: CompactionMode, text: &str) -> std::result::Result<Option<AutoCompaction>, String> {
    let number: Option<u64> = text.parse().ok();
    Ok(match (mode, number) {
        (_, Some(0)) => None,
        (CompactionMode::Revision, Some(revisions)) => Some(AutoCompaction::Revisions(revisions)),
        (CompactionMode::Revision, None) => return Err(format!("{text:?} is no number of revisions")),
        (CompactionMode::Periodic, Some(hours)) => {
            Some(AutoCompaction::Seconds(hours.checked_mul(3_600).ok_or("too long")?))
        }
        (CompactionMode::Periodic, None) => match parse_go_duration_ms(text)? {
            0 => None,
            ms => Some(AutoCompaction::Seconds(ms.div_ceil(1_000))),
        },
    })
}

/// One line for each event, on standard error.
#[derive(Clone, Copy)]
struct Log {
    level: LogLevel,
    json: bool,
}

/// A line in JSON, with the fields that etcd's have.
#[derive(Serialize)]
struct LogLine<'a> {
    level: &'a str,
    ts: &'a str,
    msg: &'a str,
}

impl Log {
    fn say(self, level: LogLevel, message: &str) {
        if level as u8 >= self.level as u8 {
            self.write(level, message);
        }
    }

    /// What scripts wait for: said unless only failures are wanted.
    fn ready(self, message: &str) {
        if self.level as u8 <= LogLevel::Warn as u8 {
            self.write(LogLevel::Info, message);
        }
    }

    fn write(self, level: LogLevel, message: &str) {
        use std::io::Write;

        let level = match level {
            LogLevel::Debug => "debug",
            LogLevel::Info => "info",
            LogLevel::Warn => "warn",
            _ => "error",
        };
        let now: OffsetDateTime = SystemTime::now().into();
        let now = now.replace_millisecond(now.millisecond()).unwrap_or(now);
        let ts = now.format(&Rfc3339).unwrap_or_default();
        let line = match self.json {
            true => serde_json::to_string(&LogLine { level, ts: &ts, msg: message }).unwrap_or_default(),
            false => format!("{ts} {level} {message}"),
        };
        // in one write, so that lines of several threads do not mix
        let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
    }
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
        for (mode, text) in [(Revision, "1h"), (Periodic, "x"), (Periodic, ""), (Periodic, "-1"), (Revision, "-1")] {
            assert!(retention(mode, text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_cluster_of_one_is_this_member() {
        let member = |cluster: &str| Member {
            listen_peer_urls: None,
            initial_advertise_peer_urls: None,
            initial_cluster: Some(cluster.into()),
            initial_cluster_token: None,
            initial_cluster_state: None,
        };
        for cluster in ["a=http://localhost:2380", "a=http://x:1,a=http://y:1"] {
            assert!(member(cluster).check("a").is_ok(), "{cluster}");
        }
        for cluster in ["b=http://localhost:2380", "a=http://x:1,b=http://y:1"] {
            assert!(member(cluster).check("a").is_err(), "{cluster}");
        }
    }
}
