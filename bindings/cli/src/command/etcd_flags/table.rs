//! The table of etcd's flags: the effect of every flag of etcd 3.4 to 3.7. A key of etcd's
//! configuration file is a flag too, so the table is also the one of keys.

use self::Effect::{Gone, Honoured, Ignored, Only, Refused};

/// The effect of a flag, and the reason if it is not honoured.
#[derive(Clone, Copy)]
pub enum Effect {
    /// It is an argument of `kv serve`.
    Honoured,
    /// It has no effect. A line in the log names it.
    Ignored(&'static str),
    /// It has no effect with this value, which is the behaviour of this server. Other values are
    /// refused.
    Only(&'static str, &'static str),
    /// Like [`Only`], for a flag that etcd 3.7 no longer has. Its variable and its key in a file
    /// have no effect, like in etcd.
    Gone(&'static str, &'static str),
    /// It is refused.
    Refused(&'static str),
}

/// The type of a value in a configuration file. On a command line every value is text, and a
/// switch is `true` without a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Text,
    /// `true` or `false`.
    Switch,
    /// A whole number from 0.
    Number,
    /// A whole number, which may be negative.
    Integer,
    /// Nanoseconds in a file, `10m` on a command line.
    Duration,
    /// A list of texts in a file, separated by commas on a command line.
    List,
}

/// A row of the table. The variable of a flag is `ETCD_` and the name in capitals, with `_` for
/// `-`. Both are also accepted with `experimental-` before the name, because etcd 3.6 and 3.7
/// removed that word from many flags.
pub struct Flag {
    pub name: &'static str,
    pub kind: Kind,
    pub effect: Effect,
}

const fn value(name: &'static str, effect: Effect) -> Flag {
    Flag {
        name,
        kind: Kind::Text,
        effect,
    }
}

const fn switch(name: &'static str, effect: Effect) -> Flag {
    Flag {
        name,
        kind: Kind::Switch,
        effect,
    }
}

const fn number(name: &'static str, effect: Effect) -> Flag {
    Flag {
        name,
        kind: Kind::Number,
        effect,
    }
}

const fn integer(name: &'static str, effect: Effect) -> Flag {
    Flag {
        name,
        kind: Kind::Integer,
        effect,
    }
}

const fn duration(name: &'static str, effect: Effect) -> Flag {
    Flag {
        name,
        kind: Kind::Duration,
        effect,
    }
}

const fn list(name: &'static str, effect: Effect) -> Flag {
    Flag {
        name,
        kind: Kind::List,
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

pub const FLAGS: &[Flag] = &[
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
    number("snapshot-count", Ignored(NO_LOG_FILES)),
    number("snapshot-catchup-entries", Ignored(NO_LOG_FILES)),
    number("max-snapshots", Ignored(NO_LOG_FILES)),
    number("max-wals", Ignored(NO_LOG_FILES)),
    number("heartbeat-interval", Ignored(ONE_MEMBER)),
    number("election-timeout", Ignored(ONE_MEMBER)),
    switch("initial-election-tick-advance", Ignored(ONE_MEMBER)),
    integer("max-learners", Ignored(ONE_MEMBER)),
    integer("quota-backend-bytes", Honoured),
    value("backend-bbolt-freelist-type", Ignored(ONE_FILE)),
    duration("backend-batch-interval", Ignored(ONE_FILE)),
    integer("backend-batch-limit", Ignored(ONE_FILE)),
    number("max-txn-ops", Honoured),
    number("max-request-bytes", Honoured),
    number("max-concurrent-streams", Honoured),
    switch("enable-grpc-gateway", Honoured),
    duration(
        "grpc-keepalive-min-time",
        Ignored("clients may probe a connection at any rate"),
    ),
    duration("grpc-keepalive-interval", Honoured),
    duration("grpc-keepalive-timeout", Honoured),
    switch(
        "socket-reuse-port",
        Only("false", "an address has one server at a time"),
    ),
    switch("socket-reuse-address", Ignored("it is always set")),
    duration("raft-read-timeout", Ignored(NO_PEERS)),
    duration("raft-write-timeout", Ignored(NO_PEERS)),
    value("config-file", Honoured),
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
    value("discovery-fallback", Ignored(NO_DISCOVERY)),
    list("discovery-endpoints", Refused(NO_DISCOVERY)),
    value("discovery-token", Refused(NO_DISCOVERY)),
    duration("discovery-dial-timeout", Refused(NO_DISCOVERY)),
    duration("discovery-request-timeout", Refused(NO_DISCOVERY)),
    duration("discovery-keepalive-time", Refused(NO_DISCOVERY)),
    duration("discovery-keepalive-timeout", Refused(NO_DISCOVERY)),
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
    number("proxy-failure-wait", Ignored(NO_PROXY)),
    number("proxy-refresh-interval", Ignored(NO_PROXY)),
    number("proxy-dial-timeout", Ignored(NO_PROXY)),
    number("proxy-write-timeout", Ignored(NO_PROXY)),
    number("proxy-read-timeout", Ignored(NO_PROXY)),
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
    list("client-cert-allowed-hostname", Refused(CLIENTS)),
    switch("auto-tls", Only("false", CERTIFICATES)),
    number("self-signed-cert-validity", Ignored(CERTIFICATES)),
    value("peer-cert-file", Ignored(NO_PEERS)),
    value("peer-key-file", Ignored(NO_PEERS)),
    value("peer-client-cert-file", Ignored(NO_PEERS)),
    value("peer-client-key-file", Ignored(NO_PEERS)),
    switch("peer-client-cert-auth", Ignored(NO_PEERS)),
    value("peer-trusted-ca-file", Ignored(NO_PEERS)),
    list("peer-cert-allowed-cn", Ignored(NO_PEERS)),
    list("peer-cert-allowed-hostname", Ignored(NO_PEERS)),
    switch("peer-auto-tls", Ignored(NO_PEERS)),
    value("peer-crl-file", Ignored(NO_PEERS)),
    switch("peer-skip-client-san-verification", Ignored(NO_PEERS)),
    list("cipher-suites", Honoured),
    value("tls-min-version", Honoured),
    value("tls-max-version", Honoured),
    value("cors", Honoured),
    value("host-whitelist", Honoured),
    value("auth-token", Honoured),
    number("auth-token-ttl", Honoured),
    number("bcrypt-cost", Honoured),
    // the log and metrics
    value("log-level", Honoured),
    value("log-format", Honoured),
    list("log-outputs", Honoured),
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
    integer("distributed-tracing-sampling-rate", Ignored(NO_TRACES)),
    duration(
        "warning-apply-duration",
        Ignored("slow requests are not logged"),
    ),
    duration(
        "warning-unary-request-duration",
        Ignored("slow requests are not logged"),
    ),
    duration("watch-progress-notify-interval", Honoured),
    // features
    value("feature-gates", Honoured),
    switch(
        "initial-corrupt-check",
        Ignored("there is no other member to compare with; `kv check` verifies a store"),
    ),
    duration(
        "corrupt-check-time",
        Ignored("there is no other member to compare with"),
    ),
    switch(
        "compact-hash-check-enabled",
        Ignored("there is no other member to compare with"),
    ),
    duration(
        "compact-hash-check-time",
        Ignored("there is no other member to compare with"),
    ),
    switch("enable-lease-checkpoint", Ignored(LEASES)),
    switch("enable-lease-checkpoint-persist", Ignored(LEASES)),
    integer("compaction-batch-limit", Ignored(ONE_FILE)),
    duration("compaction-sleep-interval", Ignored(ONE_FILE)),
    duration("downgrade-check-time", Ignored(ONE_MEMBER)),
    switch(
        "memory-mlock",
        Ignored("the pages of the store are in the page cache of the system"),
    ),
    switch("txn-mode-write-with-shared-buffer", Ignored(ONE_FILE)),
    number(
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

/// Settings of a configuration file that are not flags.
const ONLY_IN_FILES: &[Flag] = &[
    list("allowed-cn", Refused(CLIENTS)),
    switch(
        "skip-client-san-verification",
        Ignored("the address of a client is not compared with its certificate"),
    ),
];

/// A section of a configuration file. Each of its keys is a row of the table with another name.
pub struct Section {
    pub name: &'static str,
    /// The keys, each with the name of its row.
    pub keys: &'static [(&'static str, &'static str)],
    /// The reason for which any other key of the section is refused. Without a reason such a key is
    /// unknown and has no effect.
    pub others_refused: Option<&'static str>,
}

pub const SECTIONS: &[Section] = &[
    Section {
        name: "client-transport-security",
        keys: &[
            ("cert-file", "cert-file"),
            ("key-file", "key-file"),
            ("client-cert-file", "client-cert-file"),
            ("client-key-file", "client-key-file"),
            ("client-cert-auth", "client-cert-auth"),
            ("trusted-ca-file", "trusted-ca-file"),
            ("auto-tls", "auto-tls"),
            ("allowed-cn", "allowed-cn"),
            ("allowed-hostname", "client-cert-allowed-hostname"),
            (
                "skip-client-san-verification",
                "skip-client-san-verification",
            ),
        ],
        others_refused: None,
    },
    Section {
        name: "peer-transport-security",
        keys: &[
            ("cert-file", "peer-cert-file"),
            ("key-file", "peer-key-file"),
            ("client-cert-file", "peer-client-cert-file"),
            ("client-key-file", "peer-client-key-file"),
            ("client-cert-auth", "peer-client-cert-auth"),
            ("trusted-ca-file", "peer-trusted-ca-file"),
            ("auto-tls", "peer-auto-tls"),
            ("allowed-cn", "peer-cert-allowed-cn"),
            ("allowed-hostname", "peer-cert-allowed-hostname"),
            (
                "skip-client-san-verification",
                "peer-skip-client-san-verification",
            ),
        ],
        others_refused: None,
    },
    Section {
        name: "socket-options",
        keys: &[
            ("reuse-port", "socket-reuse-port"),
            ("reuse-address", "socket-reuse-address"),
        ],
        others_refused: None,
    },
    Section {
        name: "discovery-config",
        keys: &[],
        others_refused: Some(NO_DISCOVERY),
    },
];

/// The row of a flag.
pub fn find(name: &str) -> Option<&'static Flag> {
    let find = |name: &str| FLAGS.iter().find(|flag| flag.name == name);
    find(name).or_else(|| find(name.strip_prefix("experimental-")?))
}

/// The row of a key in a section.
pub fn find_in(section: &Section, key: &str) -> Option<&'static Flag> {
    let (_, name) = section.keys.iter().find(|(known, _)| *known == key)?;
    FLAGS
        .iter()
        .chain(ONLY_IN_FILES)
        .find(|flag| flag.name == *name)
}

/// The section that has this flag. Such a flag is not a key of the file itself.
pub fn section_of(flag: &Flag) -> Option<(&'static str, &'static str)> {
    SECTIONS.iter().find_map(|section| {
        let (key, _) = section.keys.iter().find(|(_, name)| *name == flag.name)?;
        Some((section.name, *key))
    })
}
