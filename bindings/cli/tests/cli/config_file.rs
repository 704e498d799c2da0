//! `kv serve --config-file`: etcd's configuration file in YAML.

use std::process::Command;

use rustix::process::Signal;

use crate::support::{Place, Running};

/// The keys and values of the sample file of etcd 3.4 to 3.7, apart from a free port and fewer
/// texts in between.
const SAMPLE: &str = "
# Human-readable name for this member.
name: 'default'
data-dir:
wal-dir:
snapshot-count: 10000
heartbeat-interval: 100
election-timeout: 1000
quota-backend-bytes: 0
listen-peer-urls: http://localhost:2380
listen-client-urls: http://127.0.0.1:0
max-snapshots: 5
max-wals: 5
cors:
initial-advertise-peer-urls: http://localhost:2380
advertise-client-urls: http://localhost:2379
discovery:
discovery-fallback: 'proxy'
discovery-proxy:
discovery-srv:
initial-cluster:
initial-cluster-token: 'etcd-cluster'
initial-cluster-state: 'new'
strict-reconfig-check: false
enable-pprof: true
proxy: 'off'
proxy-failure-wait: 5000
proxy-refresh-interval: 30000
proxy-dial-timeout: 1000
proxy-write-timeout: 5000
proxy-read-timeout: 0

client-transport-security:
  # Path to the client server TLS cert file.
  cert-file:
  key-file:
  client-cert-auth: false
  trusted-ca-file:
  auto-tls: false

peer-transport-security:
  cert-file:
  key-file:
  client-cert-auth: false
  trusted-ca-file:
  auto-tls: false

self-signed-cert-validity: 1
log-level: debug
logger: zap
log-outputs: [stderr]
force-new-cluster: false
auto-compaction-mode: periodic
auto-compaction-retention: \"1\"
cipher-suites: [
  TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
  TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
]
tls-min-version: 'TLS1.2'
tls-max-version: 'TLS1.3'
";

fn write(place: &Place, text: &str) {
    std::fs::write(place.path("etcd.yml"), text).expect("written");
}

/// Starts a server. Returns it, its address and the lines of its log until it is ready.
fn serve(command: Command) -> (Running, String, String) {
    let mut running = Running::new(command);
    let mut printed = String::new();
    loop {
        let line = running.err_line();
        assert!(!line.is_empty(), "the server ended: {printed}");
        if let Some((_, rest)) = line.split_once("ready to serve client requests on ") {
            let address = rest.split([',', ' ']).next().expect("an address").into();
            return (running, address, printed);
        }
        printed += &line;
        printed += "\n";
    }
}

#[test]
fn server_has_the_settings_of_its_file() {
    let place = Place::new();
    write(
        &place,
        "name: from-file
data-dir: data
listen-client-urls: http://127.0.0.1:0
max-request-bytes: 2000
grpc-keepalive-interval: 600000000000
log-level: info
snapshot-count: 5
no-such-key: 1
",
    );
    let mut by_flag = place.command(["serve", "--config-file", "etcd.yml"]);
    by_flag
        .args(["--name=from-flag", "--wal-dir=x"])
        .env("ETCD_DATA_DIR", "other")
        .env("ETCD_CONFIG_FILE", "missing.yml");
    let mut by_variable = place.command(["serve"]);
    by_variable.env("ETCD_CONFIG_FILE", "etcd.yml");
    let useless = "these have no effect: \
        --name, --wal-dir, ETCD_CONFIG_FILE, ETCD_DATA_DIR";
    for (command, others) in [(by_flag, useless), (by_variable, "")] {
        let (running, address, log) = serve(command);
        for line in [
            "the configuration is etcd.yml",
            "etcd.yml: snapshot-count has no effect: the store has no log",
            "etcd.yml: no-such-key has no effect: etcd's configuration has no such key",
            others,
        ] {
            assert!(log.contains(line), "{line}: {log}");
        }
        assert_eq!(log.contains("these have no effect"), !others.is_empty());
        let member = place.kv(&format!("-s {address} member list --json"));
        assert_eq!(member.json().remove(0)["name"], "from-file");
        place.kv(&format!("-s {address} put a 1")).ok();
        let large = "x".repeat(3_000);
        let ran = place.kv(&format!("-s {address} put a {large}"));
        assert!(ran.refused(2).contains("too_large"), "{ran:?}");
        assert_eq!(running.end_by(Signal::TERM).status, 0);
    }
    assert_eq!(place.kv("-s data get a").ok(), "a\n1\n");
    assert!(!place.path("other").exists());
}

#[test]
fn sample_file_of_etcd_is_accepted() {
    let place = Place::new();
    write(&place, SAMPLE);
    let mut command = place.command(["serve", "--config-file=etcd.yml"]);
    command.env_remove("KV_STORE");
    let (running, address, log) = serve(command);
    assert!(log.contains("etcd.yml: max-wals has no effect"), "{log}");
    assert!(!log.contains("no such key"), "{log}");
    place.kv(&format!("-s {address} put a 1")).ok();
    assert_eq!(running.end_by(Signal::TERM).status, 0);
    assert!(place.path("default.etcd").is_dir());
}

#[test]
fn file_that_cannot_be_used_is_refused_with_file_and_key() {
    let place = Place::new();
    let refused = |message: &str| {
        let ran = place.kv("serve --config-file etcd.yml");
        let error = ran.refused(2);
        assert!(error.contains("etcd.yml: "), "{message}: {error}");
        assert!(error.contains(message), "{message}: {error}");
    };
    refused("No such file");
    for (text, message) in [
        ("name: [", "this is not YAML: "),
        ("- name", "expected keys with values"),
        ("max-txn-ops: \"5\"", "max-txn-ops: expected a whole number"),
        (
            "auto-compaction-retention: 1",
            "auto-compaction-retention: expected text",
        ),
        (
            "grpc-keepalive-timeout: 20s",
            "grpc-keepalive-timeout: expected a whole number of nano",
        ),
        ("log-outputs: stderr", "log-outputs: expected a list"),
        ("wal-dir: wal", "wal-dir is refused: a store has one"),
        (
            "client-transport-security: {auto-tls: true}",
            "client-transport-security.auto-tls=true is refused: the server does not create",
        ),
        ("logger: capnslog", "logger=capnslog is refused: "),
        (
            "metrics: loud",
            "invalid value 'loud' for '--metrics <LEVEL>'",
        ),
    ] {
        write(&place, text);
        refused(message);
    }
    std::fs::write(place.path("etcd.yml"), b"name: \xff").expect("written");
    refused("UTF-8");
    let directory = place.kv("serve --config-file .");
    assert!(directory.refused(2).contains("--config-file: .: "));
    assert!(!place.path("store").exists() && !place.path("default.etcd").exists());
}
