//! etcd's flags that `kv serve` does not have: each is refused by name with a word on why, before the
//! command line is read. Start scripts written for etcd meet the reason instead of "unknown option".

use std::ffi::OsString;

use clap::CommandFactory;
use clap::builder::Resettable;

use crate::cli::Cli;
use crate::failure::{Failure, Result};

/// etcd's flags by the reason why they are refused.
const REFUSED: &[(&str, &[&str])] = &[
    (
        "a store has one log and one owner: there are no members to elect a leader among or to replicate to",
        &[
            "heartbeat-interval",
            "election-timeout",
            "initial-election-tick-advance",
            "pre-vote",
            "strict-reconfig-check",
            "force-new-cluster",
            "snapshot-count",
            "max-snapshots",
            "max-wals",
            "discovery",
            "discovery-fallback",
            "discovery-proxy",
            "discovery-srv",
            "discovery-srv-name",
            "experimental-initial-corrupt-check",
            "experimental-corrupt-check-time",
            "experimental-bootstrap-defrag-threshold-megabytes",
            "experimental-memory-mlock",
        ],
    ),
    (
        "there are no peers, and so no connections among them to secure",
        &[
            "peer-cert-file",
            "peer-key-file",
            "peer-client-cert-auth",
            "peer-trusted-ca-file",
            "peer-cert-allowed-cn",
            "peer-cert-allowed-hostname",
            "peer-auto-tls",
            "peer-crl-file",
            "experimental-peer-skip-client-san-verification",
        ],
    ),
    ("everything of a store is in its one directory; there is no separate log", &["wal-dir"]),
    (
        "the store is LMDB's, not bbolt's, and groups its commits by itself",
        &[
            "backend-bbolt-freelist-type",
            "backend-batch-interval",
            "backend-batch-limit",
            "experimental-txn-mode-write-with-shared-buffer",
            "experimental-compaction-batch-limit",
        ],
    ),
    ("to give up safety is chosen when a store is made (durability none), not by who serves it", &["unsafe-no-fsync"]),
    ("only etcd's v3 API is served", &["enable-v2", "v2-deprecation", "experimental-enable-v2v3"]),
    (
        "etcd's v2 proxy is not a part of this server",
        &[
            "proxy",
            "proxy-failure-wait",
            "proxy-refresh-interval",
            "proxy-dial-timeout",
            "proxy-write-timeout",
            "proxy-read-timeout",
        ],
    ),
    (
        "certificates are given as files (--cert-file, --key-file), not made by the server",
        &["auto-tls", "self-signed-cert-validity"],
    ),
    (
        "a client's certificate is verified against --trusted-ca-file and nothing else",
        &["client-crl-file", "client-cert-allowed-hostname"],
    ),
    (
        "the cipher suites are those of TLS 1.2 and 1.3 that are safe today",
        &["cipher-suites", "tls-min-version", "tls-max-version"],
    ),
    ("the JSON gateway answers every origin and host, as etcd does by default", &["cors", "host-whitelist"]),
    (
        "users and roles are not kept by this server yet, so nobody can log in",
        &["auth-token", "auth-token-ttl", "bcrypt-cost"],
    ),
    (
        "the log has one form, lines on standard error; redirect it where it should go",
        &["logger", "log-outputs", "enable-log-rotation", "log-rotation-config-json", "log-format"],
    ),
    (
        "metrics are on the client addresses, under /metrics, in one level of detail",
        &["listen-metrics-urls", "metrics"],
    ),
    ("this server has no profiler", &["enable-pprof"]),
    (
        "this server sends no traces",
        &[
            "experimental-enable-distributed-tracing",
            "experimental-distributed-tracing-address",
            "experimental-distributed-tracing-service-name",
            "experimental-distributed-tracing-instance-id",
            "experimental-warning-apply-duration",
        ],
    ),
    (
        "connections are probed at intervals of the server's own",
        &["grpc-keepalive-min-time", "grpc-keepalive-interval", "grpc-keepalive-timeout"],
    ),
    (
        "sockets are opened with the system's defaults",
        &["socket-reuse-port", "socket-reuse-address", "listen-client-http-urls"],
    ),
    (
        "deadlines of leases are kept in the store and survive a restart by themselves",
        &["experimental-enable-lease-checkpoint", "experimental-enable-lease-checkpoint-persist"],
    ),
    ("flags and ETCD_… variables configure this server; put the flags into the script", &["config-file"]),
];

/// Why a flag of etcd is refused; none if it is not one of those.
fn reason(name: &str) -> Option<&'static str> {
    REFUSED.iter().find(|(_, names)| names.contains(&name)).map(|(why, _)| *why)
}

/// Makes the arguments of `kv serve` readable: etcd's flags with one hyphen get two. Refuses what cannot
/// be had, in the arguments or in ETCD_… variables.
pub fn prepare(arguments: &mut [OsString]) -> Result<()> {
    let root = Cli::command();
    let Some(serve_at) = find_command(arguments, &root).filter(|at| arguments[*at] == "serve") else { return Ok(()) };
    let serve = root.find_subcommand("serve").expect("it is a command");
    let known = |name: &str| reason(name).is_some() || serve.get_arguments().any(|arg| arg.get_long() == Some(name));
    for argument in &mut arguments[serve_at + 1..] {
        let Some(text) = argument.to_str() else { continue };
        if text == "--" {
            break;
        }
        let Some(flag) = text.strip_prefix('-') else { continue };
        let (name, single) = match flag.strip_prefix('-') {
            Some(long) => (long, false),
            None => (flag, true),
        };
        let name = name.split('=').next().unwrap_or(name);
        if let Some(why) = reason(name) {
            return Err(Failure::usage(format!("--{name} is refused: {why}")));
        }
        if single && name.len() > 1 && known(name) {
            *argument = format!("-{text}").into();
        }
    }
    refuse_variables()
}

/// The commands, with empty ETCD_… variables taken for none, as etcd takes them: start scripts set them from
/// others that may be empty.
pub fn without_empty_variables(root: clap::Command) -> clap::Command {
    let is_empty = |name: &std::ffi::OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
    root.mut_subcommand("serve", |serve| {
        serve.mut_args(|arg| match arg.get_env().is_some_and(is_empty) {
            true => arg.env(Resettable::Reset),
            false => arg,
        })
    })
}

fn refuse_variables() -> Result<()> {
    for name in REFUSED.iter().flat_map(|(_, names)| *names) {
        let variable = format!("ETCD_{}", name.to_uppercase().replace('-', "_"));
        if std::env::var_os(&variable).is_some_and(|value| !value.is_empty()) {
            let why = reason(name).expect("it is in the table");
            return Err(Failure::usage(format!("the variable {variable} (--{name}) is refused: {why}")));
        }
    }
    Ok(())
}

/// Where the command's name stands: the first argument that is neither an option nor an option's value.
fn find_command(arguments: &[OsString], root: &clap::Command) -> Option<usize> {
    let takes_value = |option: &str| {
        root.get_arguments().filter(|arg| arg.get_action().takes_values()).any(|arg| {
            arg.get_long().is_some_and(|long| option.strip_prefix("--") == Some(long))
                || arg.get_short().is_some_and(|short| option.strip_prefix('-') == Some(short.to_string().as_str()))
        })
    };
    let mut at = 1;
    while let Some(argument) = arguments.get(at) {
        let text = argument.to_string_lossy();
        match text.starts_with('-') {
            true => at += if takes_value(&text) { 2 } else { 1 },
            false => return Some(at),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(line: &str) -> Result<String> {
        let mut arguments: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        prepare(&mut arguments)?;
        Ok(arguments.iter().map(|argument| argument.to_string_lossy()).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn one_hyphen_is_enough_for_a_flag_of_etcd() {
        let same = ["kv get -name", "kv -s serve get -name", "kv serve -s x --name a", "kv serve -- -name"];
        for line in same {
            assert_eq!(prepared(line).ok().as_deref(), Some(line));
        }
        let line = "kv -s store --color never serve -name=a -listen-client-urls x";
        let expected = "kv -s store --color never serve --name=a --listen-client-urls x";
        assert_eq!(prepared(line).ok().as_deref(), Some(expected));
    }

    #[test]
    fn what_cannot_be_had_is_refused_with_a_reason() {
        for flag in ["--wal-dir=x", "-wal-dir", "--heartbeat-interval", "--peer-cert-file=f"] {
            let said = prepared(&format!("kv serve store {flag} 1")).expect_err(flag).to_string();
            assert!(
                said.contains("is refused: ") && said.contains(flag.trim_matches('-').split('=').next().unwrap_or(""))
            );
        }
        assert!(prepared("kv get --wal-dir").is_ok());
    }
}
