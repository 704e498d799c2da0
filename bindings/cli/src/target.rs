//! The store or cluster of a command, and how to reach it.

use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use libkv::{Code, Db, Error, Options};

use crate::duration::parse_duration_ms;
use crate::failure::{Failure, Result};
use crate::notation;
use crate::selection::is_dash;
use crate::signal::Interrupt;

/// The options for the store or cluster, which every command has.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "Store or cluster")]
pub struct Target {
    /// A store's directory, or a cluster's address: etcd://host:2379,host:2379, http://…,
    /// https://…, unix:PATH [env: KV_STORE]
    #[arg(short, long, global = true, value_name = "STORE")]
    pub store: Option<OsString>,
    /// The endpoints of a cluster, as etcdctl takes them: host:2379,host:2379
    #[arg(long, global = true, value_name = "HOSTS", conflicts_with = "store")]
    pub endpoints: Option<String>,
    /// The certificate authority of the servers (PEM; - is standard input)
    #[arg(long, global = true, value_name = "FILE")]
    pub cacert: Option<PathBuf>,
    /// The client certificate (PEM); needs --key
    #[arg(long, global = true, value_name = "FILE", requires = "tls_key")]
    pub cert: Option<PathBuf>,
    /// The key of --cert (PEM)
    #[arg(
        id = "tls_key",
        long = "key",
        global = true,
        value_name = "FILE",
        requires = "cert"
    )]
    pub key: Option<PathBuf>,
    /// The name in the servers' certificates [default: the endpoint's host]
    #[arg(long, global = true, value_name = "NAME")]
    pub tls_server_name: Option<String>,
    /// The user: name or name:password; prompts for a missing password
    #[arg(long, global = true, value_name = "NAME[:PASSWORD]")]
    pub user: Option<String>,
    /// The password of --user [env: KV_PASSWORD, which other users of the machine cannot see]
    #[arg(long, global = true, value_name = "TEXT", requires = "user")]
    pub password: Option<String>,
    /// The timeout of connecting to a cluster (5s)
    #[arg(long, global = true, value_name = "TIME", value_parser = parse_duration_ms)]
    pub dial_timeout: Option<u64>,
    /// The timeout of a request to a cluster (30s)
    #[arg(long, global = true, value_name = "TIME", value_parser = parse_duration_ms)]
    pub command_timeout: Option<u64>,
    /// The timeout of waiting for the write lock of a store (5s)
    #[arg(long, global = true, value_name = "TIME", value_parser = parse_duration_ms)]
    pub busy_timeout: Option<u64>,
}

/// What a command does with a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It reads an existing store.
    Read,
    /// It writes to an existing store.
    Write,
    /// It writes; the store is created if needed.
    Create,
}

impl Target {
    /// Whether the command line names a store or cluster.
    pub fn is_named(&self) -> bool {
        self.store.is_some() || self.endpoints.is_some()
    }

    /// The name, from an option or from KV_STORE.
    pub fn name(&self) -> Result<OsString> {
        if let Some(endpoints) = &self.endpoints {
            let scheme = if self.cacert.is_some() || self.cert.is_some() {
                "https://"
            } else {
                "etcd://"
            };
            return Ok(if endpoints.contains("://") {
                endpoints.into()
            } else {
                format!("{scheme}{endpoints}").into()
            });
        }
        let named = self
            .store
            .clone()
            .or_else(|| std::env::var_os("KV_STORE").filter(|name| !name.is_empty()));
        named.ok_or_else(|| {
            Failure::usage(
                "which store? Use -s STORE with a directory or the address of a cluster, or \
                 `export KV_STORE=STORE` for all commands of this shell",
            )
        })
    }

    /// These options for one of two stores. Where only one of the two is a cluster, the options for
    /// clusters are for that one, and the options for stores are for the other.
    pub fn end(&self, name: &OsStr, other: &OsStr) -> Target {
        let mut end = match is_cluster(other) && !is_cluster(name) {
            true => Target {
                busy_timeout: self.busy_timeout,
                ..Target::default()
            },
            false => self.clone(),
        };
        if is_cluster(name) && !is_cluster(other) {
            end.busy_timeout = None;
        }
        end.store = Some(name.into());
        end
    }

    /// Opens it. `limit_ms` limits the time to reach a cluster; `None` and 0: no limit.
    pub fn open(&self, access: Access, limit_ms: Option<u64>) -> Result<Db> {
        let name = self.name()?;
        if is_cluster(&name) {
            return Ok(libkv_etcd::open(&name, self.cluster_options(limit_ms)?)?);
        }
        let options = self.store_options(&name, access)?;
        Ok(libkv_etcd::open(store_in(Path::new(&name)), options)?)
    }

    fn store_options(&self, name: &OsString, access: Access) -> Result<Options> {
        let given = [
            ("--cacert", self.cacert.is_some()),
            ("--cert", self.cert.is_some()),
            ("--tls-server-name", self.tls_server_name.is_some()),
            ("--user", self.user.is_some()),
            ("--dial-timeout", self.dial_timeout.is_some()),
            ("--command-timeout", self.command_timeout.is_some()),
        ];
        let shown = name.to_string_lossy();
        if let Some((option, _)) = given.iter().find(|(_, given)| *given) {
            return Err(Failure::usage(format!(
                "{option} is for clusters, but {shown} is the directory of a store"
            )));
        }
        if looks_like_endpoint(&shown) && !Path::new(name).exists() {
            let message = format!("{shown} is read as a path; write etcd://{shown} for a cluster");
            return Err(Failure::usage(message));
        }
        let mut options = Options::new();
        options.busy_timeout_ms = self.busy_timeout;
        // a store in memory is always new
        let memory = name == ":memory:";
        Ok(match access {
            Access::Read if !memory => options.read_only(true),
            Access::Write if !memory => options.create(false),
            _ => options,
        })
    }

    fn cluster_options(&self, limit_ms: Option<u64>) -> Result<Options> {
        if self.busy_timeout.is_some() {
            return Err(Failure::usage(
                "--busy-timeout is for stores; use --command-timeout for a cluster",
            ));
        }
        let (user, password) = self.login()?;
        let connect_timeouts = [self.dial_timeout, limit_ms.filter(|ms| *ms > 0)];
        let mut options = Options::new();
        options.tls_ca = self.cacert.as_deref().map(file_or_stdin);
        options.tls_cert = self.cert.as_deref().map(file_or_stdin);
        options.tls_key = self.key.as_deref().map(file_or_stdin);
        options.tls_server_name = self.tls_server_name.clone();
        options.user = user;
        options.password = password.map(Into::into);
        options.connect_timeout_ms = connect_timeouts.into_iter().flatten().min();
        options.request_timeout_ms = self.command_timeout;
        Ok(options)
    }

    fn login(&self) -> Result<(Option<String>, Option<String>)> {
        let Some(user) = &self.user else {
            return Ok((None, None));
        };
        if let Some(password) = &self.password {
            return Ok((Some(user.clone()), Some(password.clone())));
        }
        if let Some((name, password)) = user.split_once(':') {
            return Ok((Some(name.into()), Some(password.into())));
        }
        let password = match std::env::var("KV_PASSWORD") {
            Ok(password) => password,
            Err(_) => ask_password(user)?,
        };
        Ok((Some(user.clone()), Some(password)))
    }
}

/// Whether a name is the address of a cluster.
pub fn is_cluster(name: &OsStr) -> bool {
    name.to_str().is_some_and(libkv_etcd::is_cluster)
}

/// The data file of a store.
const DATA: &str = "data.mdb";
/// The folder of the store in a directory that has other files.
const FOLDER: &str = "kv";
/// The folder of etcd's own data.
const ETCD_FOLDER: &str = "member";

/// The directory of the store in a data directory: the data directory, or its folder `kv`.
fn store_in(directory: &Path) -> PathBuf {
    let folder = directory.join(FOLDER);
    match !directory.join(DATA).exists() && folder.join(DATA).exists() {
        true => folder,
        false => directory.to_path_buf(),
    }
}

/// Opens the store of a data directory, which is created with its parents if needed. If it has
/// other files (`lost+found`, a socket, a log), the store is the folder `kv` in it.
///
/// # Errors
///
/// Those of [`libkv_etcd::open`]; `not_a_store` for a directory with etcd's own data.
pub fn open_data_dir(directory: &Path, options: &Options) -> Result<(Db, PathBuf)> {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::DirBuilderExt;

    let store = store_in(directory);
    let is_path = !directory.as_os_str().as_bytes().starts_with(b"file:");
    let parent = store
        .parent()
        .filter(|parent| is_path && !parent.as_os_str().is_empty() && !parent.exists());
    if let Some(parent) = parent {
        let made = std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(parent);
        made.map_err(Failure::io(parent.display()))?;
    }
    let refused = match libkv_etcd::open(&store, options.clone()) {
        Err(error) if error.code() == Code::NotAStore && store == directory => error,
        opened => return Ok((opened?, store)),
    };
    // only a directory without a data file can have the folder
    if !directory.is_dir() || directory.join(DATA).exists() {
        return Err(refused.into());
    }
    if directory.join(ETCD_FOLDER).exists() {
        let message = format!(
            "{} has the data of an etcd server ({ETCD_FOLDER}), which kv cannot read: copy the keys with \
             `kv export` from that server and `kv import`",
            directory.display()
        );
        return Err(Error::new(Code::NotAStore, message).into());
    }
    let folder = directory.join(FOLDER);
    Ok((libkv_etcd::open(&folder, options.clone())?, folder))
}

/// The path of a file, or of standard input for `-`.
fn file_or_stdin(path: &Path) -> PathBuf {
    if is_dash(path.as_os_str()) {
        "/dev/stdin".into()
    } else {
        path.into()
    }
}

/// Whether a name looks like `host:port`: as a path it is valid, but probably a mistake.
fn looks_like_endpoint(name: &str) -> bool {
    !name.contains('/')
        && name.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
        })
}

/// Prompts for the password of a login.
fn ask_password(user: &str) -> Result<String> {
    let user = notation::message(user);
    if !io::stdin().is_terminal() {
        let message =
            format!("no password for {user}: --user {user}:PASSWORD, --password, or KV_PASSWORD");
        return Err(Failure::usage(message));
    }
    prompt(&format!("Password for {user}: "))
}

/// Prompts twice for a new password of a user.
pub fn ask_new_password(user: &str) -> Result<String> {
    let user = notation::message(user);
    if !io::stdin().is_terminal() {
        return Err(Failure::usage(format!(
            "no password for {user}: NAME:PASSWORD, or --interactive=false to read it from \
             standard input"
        )));
    }
    let password = prompt(&format!("Password of {user}: "))?;
    let again = prompt(&format!("Type password of {user} again for confirmation: "))?;
    match password == again {
        true => Ok(password),
        false => Err(Failure::usage("the two passwords differ")),
    }
}

/// Reads a line from the terminal, without echo.
fn prompt(text: &str) -> Result<String> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

    let stdin = io::stdin();
    let before =
        tcgetattr(&stdin).map_err(|error| Failure::Io("the terminal".into(), error.into()))?;
    let mut hidden = before.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    let restore = move || {
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &before);
    };
    let restores = restore.clone();
    // Ctrl-C must restore the echo before it ends the program
    let interrupt = Interrupt::new(move |signal| {
        restores();
        let _ = signal_hook::low_level::emulate_default_handler(signal);
    })?;
    let _ = tcsetattr(&stdin, OptionalActions::Flush, &hidden);
    let _ = write!(io::stderr(), "{text}");
    let mut line = String::new();
    let read = stdin.read_line(&mut line);
    restore();
    drop(interrupt);
    let _ = writeln!(io::stderr());
    read.map_err(Failure::io("the terminal"))?;
    Ok(line.trim_end_matches(['\n', '\r']).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_and_port_is_not_taken_for_a_directory() {
        assert!(looks_like_endpoint("127.0.0.1:2379") && looks_like_endpoint("[::1]:2379"));
        for path in ["store", "./a:1", ":memory:", "a:b", "a:", ":1"] {
            assert!(!looks_like_endpoint(path), "{path}");
        }
    }
}
