//! etcd's flags and variables for `kv serve`, which are read before clap reads the other arguments.
//! One table has the effect of every flag of etcd 3.4 to 3.7. A flag is written like in Go
//! programs:
//! `-flag`, `--flag`, `--flag=value`, `--flag value`; the last one counts.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use self::Effect::{Gone, Honoured, Ignored, Only, Refused};
use crate::failure::{Failure, Result};

/// The effect of a flag, and the reason if it is not honoured.
#[derive(Clone, Copy)]
enum Effect {
    /// It is an argument of `kv serve`.
    Honoured,
    /// It has no effect. A line in the log names it.
    Ignored(&'static str),
    /// It has no effect with this value, which is the behaviour of this server. Other values are
    /// refused.
    Only(&'static str, &'static str),
    /// Like [`Only`], for a flag that etcd 3.7 no longer has. Its variable has no effect, like in
    /// etcd.
    Gone(&'static str, &'static str),
    /// It is refused.
    Refused(&'static str),
}

/// A row of the table. The variable of a flag is `ETCD_` and the name in capitals, with `_` for
/// `-`. Both are also accepted with `experimental-` before the name, because etcd 3.6 and 3.7
/// removed that word from many flags.
struct Flag {
    name: &'static str,
    /// Whether it is `true` without a value.
    switch: bool,
    effect: Effect,
}

const fn value(name: &'static str, effect: Effect) -> Flag {
    Flag {
        name,
        switch: false,
        effect,
    }
}

const fn switch(name: &'static str, effect: Effect) -> Flag {
    Flag {
        name,
        switch: true,
        effect,
    }
}

const ONE_MEMBER: &str =
    "a store is the only member of its cluster: there is no election and no replication";
const NO_PEERS: &str = "there are no peers";
const NO_DISCOVERY: &str = "a store is the only member of its cluster: there are no others to find";
const ONE_FILE: &str = "the store is one LMDB file, which has no such setting";
const NO_LOG_FILES: &str = "the store has no log and no snapshots beside its data";
const LEASES: &str = "deadlines of leases are kept in the store";
const V3_ONLY: &str = "only etcd's v3 API is served";
const NO_PROXY: &str = "this server is not a proxy";
const NO_TRACES: &str = "this server sends no traces";
const CERTIFICATES: &str =
    "the server does not create certificates: use files (--cert-file, --key-file)";
const CLIENTS: &str = "the certificate of a client is verified against --trusted-ca-file only";
const ROTATION: &str = "the server does not rotate log files: use logrotate or the journal";
const ETCD_2: &str = "it belongs to etcd 2";

const FLAGS: &[Flag] = &[
    // the member
    value("name", Honoured),
    value("data-dir", Honoured),
    value(
        "wal-dir",
        Refused("a store has one directory and no separate log"),
    ),
    value("listen-client-urls", Honoured),
    value("listen-client-http-urls", Honoured),
    value("listen-peer-urls", Honoured),
    value("snapshot-count", Ignored(NO_LOG_FILES)),
    value("snapshot-catchup-entries", Ignored(NO_LOG_FILES)),
    value("max-snapshots", Ignored(NO_LOG_FILES)),
    value("max-wals", Ignored(NO_LOG_FILES)),
    value("heartbeat-interval", Ignored(ONE_MEMBER)),
    value("election-timeout", Ignored(ONE_MEMBER)),
    switch("initial-election-tick-advance", Ignored(ONE_MEMBER)),
    value("max-learners", Ignored(ONE_MEMBER)),
    value("quota-backend-bytes", Honoured),
    value("backend-bbolt-freelist-type", Ignored(ONE_FILE)),
    value("backend-batch-interval", Ignored(ONE_FILE)),
    value("backend-batch-limit", Ignored(ONE_FILE)),
    value("max-txn-ops", Honoured),
    value("max-request-bytes", Honoured),
    value("max-concurrent-streams", Honoured),
    switch("enable-grpc-gateway", Honoured),
    value(
        "grpc-keepalive-min-time",
        Ignored("clients may probe a connection at any rate"),
    ),
    value("grpc-keepalive-interval", Honoured),
    value("grpc-keepalive-timeout", Honoured),
    switch(
        "socket-reuse-port",
        Only("false", "an address has one server at a time"),
    ),
    switch("socket-reuse-address", Ignored("it is always set")),
    value("raft-read-timeout", Ignored(NO_PEERS)),
    value("raft-write-timeout", Ignored(NO_PEERS)),
    value(
        "config-file",
        Refused("this server is configured by flags and ETCD_… variables"),
    ),
    // the cluster
    value("initial-advertise-peer-urls", Honoured),
    value("initial-cluster", Honoured),
    value("initial-cluster-state", Honoured),
    value("initial-cluster-token", Ignored(ONE_MEMBER)),
    value("advertise-client-urls", Honoured),
    value("discovery", Refused(NO_DISCOVERY)),
    value("discovery-srv", Refused(NO_DISCOVERY)),
    value("discovery-srv-name", Refused(NO_DISCOVERY)),
    value("discovery-proxy", Refused(NO_DISCOVERY)),
    value("discovery-fallback", Refused(NO_DISCOVERY)),
    value("discovery-endpoints", Refused(NO_DISCOVERY)),
    value("discovery-token", Refused(NO_DISCOVERY)),
    value("discovery-dial-timeout", Refused(NO_DISCOVERY)),
    value("discovery-request-timeout", Refused(NO_DISCOVERY)),
    value("discovery-keepalive-time", Refused(NO_DISCOVERY)),
    value("discovery-keepalive-timeout", Refused(NO_DISCOVERY)),
    switch("discovery-insecure-transport", Refused(NO_DISCOVERY)),
    switch("discovery-insecure-skip-tls-verify", Refused(NO_DISCOVERY)),
    value("discovery-cert", Refused(NO_DISCOVERY)),
    value("discovery-key", Refused(NO_DISCOVERY)),
    value("discovery-cacert", Refused(NO_DISCOVERY)),
    value("discovery-user", Refused(NO_DISCOVERY)),
    value("discovery-password", Refused(NO_DISCOVERY)),
    switch("strict-reconfig-check", Ignored(ONE_MEMBER)),
    switch("pre-vote", Ignored(ONE_MEMBER)),
    switch("set-member-localaddr", Ignored(NO_PEERS)),
    switch(
        "force-new-cluster",
        Ignored("a store is always the only member of its cluster"),
    ),
    value("auto-compaction-mode", Honoured),
    value("auto-compaction-retention", Honoured),
    switch("enable-v2", Gone("false", V3_ONLY)),
    value("enable-v2v3", Gone("", V3_ONLY)),
    value("v2-deprecation", Ignored(V3_ONLY)),
    value("proxy", Gone("off", NO_PROXY)),
    value("proxy-failure-wait", Ignored(NO_PROXY)),
    value("proxy-refresh-interval", Ignored(NO_PROXY)),
    value("proxy-dial-timeout", Ignored(NO_PROXY)),
    value("proxy-write-timeout", Ignored(NO_PROXY)),
    value("proxy-read-timeout", Ignored(NO_PROXY)),
    // security
    value("cert-file", Honoured),
    value("key-file", Honoured),
    switch("client-cert-auth", Honoured),
    value("trusted-ca-file", Honoured),
    value(
        "client-cert-file",
        Ignored("this server makes no connections"),
    ),
    value(
        "client-key-file",
        Ignored("this server makes no connections"),
    ),
    value("client-crl-file", Refused(CLIENTS)),
    value("client-cert-allowed-hostname", Refused(CLIENTS)),
    switch("auto-tls", Only("false", CERTIFICATES)),
    value("self-signed-cert-validity", Ignored(CERTIFICATES)),
    value("peer-cert-file", Ignored(NO_PEERS)),
    value("peer-key-file", Ignored(NO_PEERS)),
    value("peer-client-cert-file", Ignored(NO_PEERS)),
    value("peer-client-key-file", Ignored(NO_PEERS)),
    switch("peer-client-cert-auth", Ignored(NO_PEERS)),
    value("peer-trusted-ca-file", Ignored(NO_PEERS)),
    value("peer-cert-allowed-cn", Ignored(NO_PEERS)),
    value("peer-cert-allowed-hostname", Ignored(NO_PEERS)),
    switch("peer-auto-tls", Ignored(NO_PEERS)),
    value("peer-crl-file", Ignored(NO_PEERS)),
    switch("peer-skip-client-san-verification", Ignored(NO_PEERS)),
    value("cipher-suites", Honoured),
    value("tls-min-version", Honoured),
    value("tls-max-version", Honoured),
    value("cors", Honoured),
    value("host-whitelist", Honoured),
    value("auth-token", Honoured),
    value("auth-token-ttl", Honoured),
    value("bcrypt-cost", Honoured),
    // the log and metrics
    value("log-level", Honoured),
    value("log-format", Honoured),
    value("log-outputs", Honoured),
    value(
        "logger",
        Only(
            "zap",
            "the log consists of lines of text or of JSON (--log-format)",
        ),
    ),
    value(
        "log-package-levels",
        Ignored("the log has one level (--log-level)"),
    ),
    switch("debug", Ignored("--log-level=debug logs more")),
    switch("disable-log-sampling", Ignored("every line is logged")),
    switch("enable-log-rotation", Only("false", ROTATION)),
    value("log-rotation-config-json", Ignored(ROTATION)),
    value("listen-metrics-urls", Honoured),
    value("metrics", Honoured),
    switch("enable-pprof", Ignored("this server has no profiler")),
    switch("enable-distributed-tracing", Only("false", NO_TRACES)),
    value("distributed-tracing-address", Ignored(NO_TRACES)),
    value("distributed-tracing-service-name", Ignored(NO_TRACES)),
    value("distributed-tracing-instance-id", Ignored(NO_TRACES)),
    value("distributed-tracing-sampling-rate", Ignored(NO_TRACES)),
    value(
        "warning-apply-duration",
        Ignored("slow requests are not logged"),
    ),
    value(
        "warning-unary-request-duration",
        Ignored("slow requests are not logged"),
    ),
    value("watch-progress-notify-interval", Honoured),
    // features
    value("feature-gates", Honoured),
    switch(
        "initial-corrupt-check",
        Ignored("there is no other member to compare with; `kv check` verifies a store"),
    ),
    value(
        "corrupt-check-time",
        Ignored("there is no other member to compare with"),
    ),
    switch(
        "compact-hash-check-enabled",
        Ignored("there is no other member to compare with"),
    ),
    value(
        "compact-hash-check-time",
        Ignored("there is no other member to compare with"),
    ),
    switch("enable-lease-checkpoint", Ignored(LEASES)),
    switch("enable-lease-checkpoint-persist", Ignored(LEASES)),
    value("compaction-batch-limit", Ignored(ONE_FILE)),
    value("compaction-sleep-interval", Ignored(ONE_FILE)),
    value("downgrade-check-time", Ignored(ONE_MEMBER)),
    switch(
        "memory-mlock",
        Ignored("the pages of the store are in the page cache of the system"),
    ),
    switch("txn-mode-write-with-shared-buffer", Ignored(ONE_FILE)),
    value(
        "bootstrap-defrag-threshold-megabytes",
        Ignored("free pages are used again, and the file does not shrink"),
    ),
    switch(
        "stop-grpc-service-on-defrag",
        Ignored("free pages are used again, and the file does not shrink"),
    ),
    switch("unsafe-no-fsync", Honoured),
    // etcd 3.4 and 3.5 accept these without effect
    switch("cluster-active-size", Ignored(ETCD_2)),
    switch("cluster-remove-delay", Ignored(ETCD_2)),
    switch("cluster-sync-interval", Ignored(ETCD_2)),
    switch("config", Ignored(ETCD_2)),
    switch("force", Ignored(ETCD_2)),
    switch("max-result-buffer", Ignored(ETCD_2)),
    switch("max-retry-attempts", Ignored(ETCD_2)),
    switch("peer-heartbeat-interval", Ignored(ETCD_2)),
    switch("peer-election-timeout", Ignored(ETCD_2)),
    switch("retry-interval", Ignored(ETCD_2)),
    switch("snapshot", Ignored(ETCD_2)),
];

fn find(name: &str) -> Option<&'static Flag> {
    let find = |name: &str| FLAGS.iter().find(|flag| flag.name == name);
    find(name).or_else(|| find(name.strip_prefix("experimental-")?))
}

/// The command line of `kv serve` for clap, and lines for the log.
#[derive(Debug, Default)]
pub struct CommandLine {
    pub arguments: Vec<OsString>,
    pub notes: Vec<String>,
}

/// Translates etcd's flags in the arguments of `kv serve`, and ETCD_… variables, for clap: each
/// flag that has an effect once, as `--flag=value`. The arguments of other commands are unchanged.
/// `root` is the definition of the program.
///
/// # Errors
///
/// A flag or variable that is refused, a flag without its value, a bad `true` or `false`.
pub fn prepare(
    mut arguments: Vec<OsString>,
    variables: impl Iterator<Item = (OsString, OsString)>,
    root: &clap::Command,
) -> Result<CommandLine> {
    let Some(serve_at) = find_command(&arguments, root).filter(|at| arguments[*at] == "serve")
    else {
        return Ok(CommandLine {
            arguments,
            notes: Vec::new(),
        });
    };
    let rest = arguments.split_off(serve_at + 1);
    let (mut given, others) = read_line(rest, root)?;
    let mut prepared = CommandLine {
        arguments,
        notes: Vec::new(),
    };
    read_variables(variables, &mut given, &mut prepared.notes)?;
    for given in given.into_values() {
        given.put(&mut prepared)?;
    }
    prepared.arguments.extend(others);
    Ok(prepared)
}

/// A flag with the value that counts.
/// Where a flag was given.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Source {
    Argument,
    Variable,
}

struct GivenFlag {
    flag: &'static Flag,
    /// For messages: `--flag`, or `ETCD_FLAG (--flag)`.
    shown: String,
    source: Source,
    value: OsString,
}

/// The flags that were given, by their names in the table.
type GivenFlags = BTreeMap<&'static str, GivenFlag>;

impl GivenFlag {
    /// Reads Go's notation of a switch. An empty value is the default, like in a variable.
    fn new(
        flag: &'static Flag,
        shown: String,
        source: Source,
        value: OsString,
    ) -> Result<GivenFlag> {
        let value = match value.to_str().filter(|_| flag.switch) {
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => "true".into(),
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => "false".into(),
            Some(other) => {
                return Err(Failure::usage(format!(
                    "{shown}: {other:?} is neither true nor false"
                )));
            }
            None => value,
        };
        Ok(GivenFlag {
            flag,
            shown,
            source,
            value,
        })
    }

    /// Adds the flag to the command line, or a line to the log.
    fn put(self, prepared: &mut CommandLine) -> Result<()> {
        let GivenFlag {
            flag,
            shown,
            source,
            value,
        } = self;
        if value.is_empty() {
            return Ok(());
        }
        let no_effect = |why: &str| format!("{shown} has no effect: {why}");
        let equals = |other: &str| value == other;
        match flag.effect {
            Honoured => {
                let mut argument = OsString::from(format!("--{}=", flag.name));
                argument.push(&value);
                prepared.arguments.push(argument);
            }
            Ignored(why) => prepared.notes.push(no_effect(why)),
            Only(default, why) | Gone(default, why) if equals(default) => {
                prepared.notes.push(no_effect(why))
            }
            Gone(_, why) if source == Source::Variable => prepared.notes.push(no_effect(why)),
            Only(_, why) | Gone(_, why) => {
                return Err(Failure::usage(format!(
                    "{shown}={} is refused: {why}",
                    value.to_string_lossy()
                )));
            }
            Refused(why) => return Err(Failure::usage(format!("{shown} is refused: {why}"))),
        }
        Ok(())
    }
}

/// Splits the arguments after `serve` into etcd's flags and those that clap reads.
fn read_line(rest: Vec<OsString>, root: &clap::Command) -> Result<(GivenFlags, Vec<OsString>)> {
    let (mut given, mut others) = (GivenFlags::new(), Vec::new());
    let mut rest = rest.into_iter();
    while let Some(argument) = rest.next() {
        if argument == "--" {
            others.push(argument);
            others.extend(rest);
            break;
        }
        let Some((name, value)) = split(&argument) else {
            others.push(argument);
            continue;
        };
        match find(&name) {
            Some(flag) => {
                let value = match value {
                    Some(value) => value,
                    None if flag.switch => "true".into(),
                    None => rest
                        .next()
                        .ok_or_else(|| Failure::usage(format!("--{name} needs a value")))?,
                };
                given.insert(
                    flag.name,
                    GivenFlag::new(flag, format!("--{name}"), Source::Argument, value)?,
                );
            }
            None => {
                let more = takes_value(root, &argument.to_string_lossy())
                    .then(|| rest.next())
                    .flatten();
                others.push(argument);
                others.extend(more);
            }
        }
    }
    Ok((given, others))
}

/// The name and the value in `-name`, `--name` or `--name=value`. A single letter is an option of
/// kv.
fn split(argument: &OsStr) -> Option<(String, Option<OsString>)> {
    let bytes = argument.as_bytes().strip_prefix(b"-")?;
    let bytes = bytes.strip_prefix(b"-").unwrap_or(bytes);
    let (name, value) = match bytes.iter().position(|byte| *byte == b'=') {
        Some(at) => (
            &bytes[..at],
            Some(OsString::from_vec(bytes[at + 1..].to_vec())),
        ),
        None => (bytes, None),
    };
    let name = std::str::from_utf8(name)
        .ok()
        .filter(|name| name.len() > 1)?;
    Some((name.to_string(), value))
}

/// Adds the variables of flags that are not on the command line. Like in etcd, an empty variable is
/// ignored and an unknown one is logged.
fn read_variables(
    variables: impl Iterator<Item = (OsString, OsString)>,
    given: &mut GivenFlags,
    notes: &mut Vec<String>,
) -> Result<()> {
    let variables: BTreeMap<OsString, OsString> =
        variables.filter(|(_, value)| !value.is_empty()).collect();
    for (variable, value) in variables {
        let Some(variable) = variable.to_str().filter(|name| name.starts_with("ETCD_")) else {
            continue;
        };
        let name = variable["ETCD_".len()..]
            .to_ascii_lowercase()
            .replace('_', "-");
        let written_in_capitals = !variable.bytes().any(|byte| byte.is_ascii_lowercase());
        match find(&name).filter(|_| written_in_capitals) {
            None => notes.push(format!("unrecognized environment variable {variable}")),
            Some(flag)
                if given
                    .get(flag.name)
                    .is_some_and(|given| given.source == Source::Argument) =>
            {
                notes.push(format!(
                    "{variable} has no effect: --{} is given",
                    flag.name
                ));
            }
            Some(flag) => {
                let shown = format!("{variable} (--{name})");
                given.insert(
                    flag.name,
                    GivenFlag::new(flag, shown, Source::Variable, value)?,
                );
            }
        }
    }
    Ok(())
}

/// The position of the command's name: the first argument that is neither an option nor its value.
fn find_command(arguments: &[OsString], root: &clap::Command) -> Option<usize> {
    let mut at = 1;
    while let Some(argument) = arguments.get(at) {
        let text = argument.to_string_lossy();
        match text.starts_with('-') {
            true => at += if takes_value(root, &text) { 2 } else { 1 },
            false => return Some(at),
        }
    }
    None
}

/// Whether this is a global option whose value is the next argument.
fn takes_value(root: &clap::Command, option: &str) -> bool {
    root.get_arguments()
        .filter(|arg| arg.get_action().takes_values())
        .any(|arg| {
            arg.get_long()
                .is_some_and(|long| option.strip_prefix("--") == Some(long))
                || arg.get_short().is_some_and(|short| {
                    option.strip_prefix('-') == Some(short.to_string().as_str())
                })
        })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    fn prepared(line: &str, variables: &[(&str, &str)]) -> Result<(String, Vec<String>)> {
        let arguments = line.split(' ').map(OsString::from).collect();
        let variables = variables
            .iter()
            .map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let CommandLine { arguments, notes } = prepare(arguments, variables, &Cli::command())?;
        let arguments: Vec<_> = arguments
            .iter()
            .map(|argument| argument.to_string_lossy())
            .collect();
        Ok((arguments.join(" "), notes))
    }

    fn line(line: &str) -> String {
        prepared(line, &[]).expect(line).0
    }

    fn refused(line: &str, variables: &[(&str, &str)]) -> String {
        prepared(line, variables).expect_err(line).to_string()
    }

    #[test]
    fn flags_in_each_notation_of_go() {
        for same in [
            "kv get -name",
            "kv -s serve get -name",
            "kv serve -- -name",
            "kv serve -s x",
            "kv serve --json -",
        ] {
            assert_eq!(line(same), same);
        }
        for (given, read) in [
            ("kv serve x -name a", "kv serve --name=a x"),
            (
                "kv -s store --color never serve -name=a",
                "kv -s store --color never serve --name=a",
            ),
            ("kv serve --name -a", "kv serve --name=-a"),
            (
                "kv serve -client-cert-auth x",
                "kv serve --client-cert-auth=true x",
            ),
            (
                "kv serve --client-cert-auth=T",
                "kv serve --client-cert-auth=true",
            ),
            (
                "kv serve --busy-timeout -name x",
                "kv serve --busy-timeout -name x",
            ),
            (
                "kv serve --experimental-watch-progress-notify-interval=5s",
                "kv serve --watch-progress-notify-interval=5s",
            ),
            ("kv serve --cert-file=", "kv serve"),
            ("kv serve --no-such-flag", "kv serve --no-such-flag"),
        ] {
            assert_eq!(line(given), read, "{given}");
        }
        assert!(refused("kv serve --name", &[]).contains("--name needs a value"));
        assert!(refused("kv serve --pre-vote=maybe", &[]).contains("neither true nor false"));
    }

    #[test]
    fn last_flag_counts_and_a_flag_outweighs_its_variable() {
        assert_eq!(
            line("kv serve --name=a -name b --name c"),
            "kv serve --name=c"
        );
        assert_eq!(
            line("kv serve --enable-v2=true --enable-v2=false"),
            "kv serve"
        );
        assert_eq!(line("kv serve --name=a --name="), "kv serve");
        let both = prepared(
            "kv serve --name=a",
            &[("ETCD_NAME", "b"), ("ETCD_DATA_DIR", "d")],
        )
        .expect("both");
        assert_eq!(both.0, "kv serve --data-dir=d --name=a");
        assert_eq!(both.1, ["ETCD_NAME has no effect: --name is given"]);
        let variables = [
            ("ETCD_EXPERIMENTAL_WATCH_PROGRESS_NOTIFY_INTERVAL", "5s"),
            ("ETCD_CLIENT_CERT_AUTH", "1"),
        ];
        let read = prepared("kv serve", &variables).expect("two").0;
        assert_eq!(
            read,
            "kv serve --client-cert-auth=true --watch-progress-notify-interval=5s"
        );
    }

    #[test]
    fn variables_that_are_unknown_or_empty_do_no_harm() {
        let variables = [
            ("ETCD_VER", "v3.6"),
            ("ETCD_name", "a"),
            ("ETCDCTL_API", "3"),
            ("ETCD_NAME", ""),
            ("ETCD_WAL_DIR", ""),
        ];
        let (read, notes) = prepared("kv serve", &variables).expect("nothing");
        assert_eq!(read, "kv serve");
        assert_eq!(
            notes,
            [
                "unrecognized environment variable ETCD_VER",
                "unrecognized environment variable ETCD_name"
            ]
        );
        let (read, notes) =
            prepared("kv get a", &[("ETCD_WAL_DIR", "x")]).expect("another command");
        assert_eq!((read.as_str(), notes.len()), ("kv get a", 0));
    }

    #[test]
    fn flags_without_a_meaning_for_one_member_are_noted() {
        let (read, notes) = prepared(
            "kv serve --snapshot-count 5 --experimental-initial-corrupt-check -pre-vote x",
            &[],
        )
        .expect("they are taken");
        assert_eq!(read, "kv serve x");
        assert_eq!(notes.len(), 3, "{notes:?}");
        assert!(
            notes
                .iter()
                .any(|note| note.starts_with("--snapshot-count has no effect: ")),
            "{notes:?}"
        );
        assert!(
            notes.iter().any(
                |note| note.starts_with("--experimental-initial-corrupt-check has no effect: ")
            )
        );
        let (_, notes) = prepared(
            "kv serve",
            &[("ETCD_ENABLE_V2", "true"), ("ETCD_SNAPSHOT_COUNT", "5")],
        )
        .expect("taken");
        assert_eq!(
            notes[0],
            "ETCD_ENABLE_V2 (--enable-v2) has no effect: only etcd's v3 API is served"
        );
        assert!(
            notes[1].starts_with("ETCD_SNAPSHOT_COUNT (--snapshot-count) has no effect: "),
            "{notes:?}"
        );
    }

    #[test]
    fn flags_that_cannot_be_honoured_are_refused_with_the_reason() {
        for flags in [
            "--wal-dir=x",
            "-wal-dir x",
            "--enable-v2",
            "--discovery=http://x",
        ] {
            let message = refused(&format!("kv serve store {flags}"), &[]);
            let name = flags
                .trim_matches('-')
                .split(['=', ' '])
                .next()
                .expect("a name");
            assert!(
                message.contains(&format!("--{name}")) && message.contains(" is refused: "),
                "{flags}: {message}"
            );
        }
        let message = refused("kv serve", &[("ETCD_AUTO_TLS", "true")]);
        assert!(
            message.contains("ETCD_AUTO_TLS (--auto-tls)=true is refused: "),
            "{message}"
        );
        let message = refused("kv serve", &[("ETCD_DISCOVERY", "x")]);
        assert!(
            message.contains("ETCD_DISCOVERY (--discovery) is refused: "),
            "{message}"
        );
    }

    #[test]
    fn table_and_arguments_of_serve_agree() {
        let root = Cli::command();
        let serve = root.find_subcommand("serve").expect("it is a command");
        let arguments: Vec<&str> = serve
            .get_arguments()
            .filter_map(|arg| arg.get_long())
            .collect();
        for flag in FLAGS {
            let honoured = matches!(flag.effect, Honoured);
            assert_eq!(arguments.contains(&flag.name), honoured, "{}", flag.name);
            assert_eq!(
                FLAGS.iter().filter(|other| other.name == flag.name).count(),
                1,
                "{}",
                flag.name
            );
        }
        for argument in arguments.into_iter().filter(|name| *name != "help") {
            assert!(find(argument).is_some(), "{argument}");
        }
    }
}
