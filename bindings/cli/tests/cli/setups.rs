//! `kv serve` starts and works with the command lines and variables of published set-ups for
//! etcd. Only the addresses to listen on are changed: to a free port of this machine.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use crate::serve::certificates;
use crate::support::{Place, Running};

/// A folder in which servers start.
struct Setup {
    place: Place,
}

/// A server that is ready.
struct Ready<'a> {
    place: &'a Place,
    running: Running,
    /// The lines of its log until it was ready.
    log: Vec<String>,
    /// The first address that it listens on.
    address: String,
}

impl Setup {
    fn new() -> Setup {
        Setup {
            place: Place::new(),
        }
    }

    /// `kv serve` with the words of `line`, and with the variables, one `NAME=value` in each line.
    /// DIR is replaced by the path of the folder.
    fn command(&self, line: &str, variables: &str) -> Command {
        let text = |text: &str| text.replace("DIR", &self.place.path("").display().to_string());
        let line = text(line);
        let mut command = self
            .place
            .command(std::iter::once("serve").chain(line.split_whitespace()));
        command.env_remove("KV_STORE");
        for variable in variables
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
        {
            let (name, value) = variable.split_once('=').expect("NAME=value");
            command.env(name, text(value));
        }
        command
    }

    /// Starts the server and waits until it is ready.
    fn start(&self, line: &str, variables: &str) -> Ready<'_> {
        let mut running = Running::new(self.command(line, variables));
        let mut log = Vec::new();
        loop {
            let line = running.err_line();
            assert!(!line.is_empty(), "the server ended: {log:#?}");
            log.push(line.clone());
            if let Some((_, rest)) = line.split_once("ready to serve client requests on ") {
                let address = rest
                    .split([',', ' '])
                    .next()
                    .expect("an address")
                    .to_string();
                return Ready {
                    place: &self.place,
                    running,
                    log,
                    address,
                };
            }
        }
    }

    /// Starts the server, puts and gets a key, and ends the server. Returns its log.
    fn runs(&self, line: &str, variables: &str) -> Vec<String> {
        let ready = self.start(line, variables);
        ready.works("");
        ready.end()
    }
}

impl Ready<'_> {
    /// Puts and gets a key, with these options of `kv`.
    fn works(&self, options: &str) {
        let kv = |line: &str| {
            self.place
                .kv(&format!("-s {} {options} {line}", self.address))
        };
        kv("put a 1").ok();
        assert_eq!(kv("get a --print-value-only").ok(), "1\n");
    }

    fn end(self) -> Vec<String> {
        let ended = self.running.end_by(Signal::TERM);
        assert_eq!(ended.status, 0, "{ended:?}");
        self.log
    }
}

fn http(host: &str, path: &str) -> String {
    request(
        host,
        &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n"),
        "",
    )
}

/// Sends a request and returns the response. `head` is the first line and the headers.
fn request(host: &str, head: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(host).expect("it listens");
    stream
        .set_read_timeout(Some(std::time::Duration::from_secs(20)))
        .expect("a time-out");
    let length = body.len();
    write!(
        stream,
        "{head}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
    .expect("the request is sent");
    let mut response = String::new();
    stream.read_to_string(&mut response).expect("text");
    response
}

/// Asserts that the log has one line about each of these flags, that it has no effect.
fn noted(log: &[String], flags: &[&str]) {
    for flag in flags {
        let lines = log
            .iter()
            .filter(|line| line.contains(flag) && line.contains(" has no effect: "))
            .count();
        assert_eq!(lines, 1, "{flag}: {log:#?}");
    }
}

#[test]
fn milvus() {
    let setup = Setup::new();
    let log = setup.runs(
        "-advertise-client-urls=http://etcd:2379 -listen-client-urls http://127.0.0.1:0 --data-dir DIR/etcd",
        "ETCD_AUTO_COMPACTION_MODE=revision
         ETCD_AUTO_COMPACTION_RETENTION=1000
         ETCD_QUOTA_BACKEND_BYTES=4294967296
         ETCD_SNAPSHOT_COUNT=50000",
    );
    noted(&log, &["ETCD_SNAPSHOT_COUNT (--snapshot-count)"]);
}

#[test]
fn kubeadm_static_pod() {
    const SPELLINGS: [&str; 2] = [
        "--experimental-initial-corrupt-check=true --experimental-watch-progress-notify-interval=5s",
        "--feature-gates=InitialCorruptCheck=true --watch-progress-notify-interval=5s",
    ];
    for spelling in SPELLINGS {
        let setup = Setup::new();
        certificates(&setup.place);
        let ready = setup.start(
            &format!(
                "--advertise-client-urls=https://192.168.0.10:2379 --cert-file=server.pem --client-cert-auth=true
                 --data-dir=DIR/var/lib/etcd {spelling} --initial-advertise-peer-urls=https://192.168.0.10:2380
                 --initial-cluster=node=https://192.168.0.10:2380 --key-file=server-key.pem
                 --listen-client-urls=https://127.0.0.1:0 --listen-metrics-urls=http://127.0.0.1:0
                 --listen-peer-urls=https://192.168.0.10:2380 --name=node --peer-cert-file=/etc/peer.crt
                 --peer-client-cert-auth=true --peer-key-file=/etc/peer.key --peer-trusted-ca-file=/etc/ca.crt
                 --snapshot-count=10000 --trusted-ca-file=ca.pem"
            ),
            "",
        );
        ready.works("--cacert ca.pem --cert client.pem --key client-key.pem");
        noted(
            &ready.log,
            &[
                "--peer-cert-file",
                "--peer-client-cert-auth",
                "--snapshot-count",
                "--initial-cluster ",
            ],
        );
        ready.end();
    }
}

#[test]
fn envtest_of_controller_runtime() {
    let setup = Setup::new();
    let log = setup.runs(
        "--advertise-client-urls=http://127.0.0.1:0 --data-dir=DIR/k8s_test_framework_1
         --listen-client-urls=http://127.0.0.1:0 --listen-peer-urls=http://127.0.0.1:0 --unsafe-no-fsync=true",
        "",
    );
    assert!(
        log.iter().any(|line| line.contains("--unsafe-no-fsync")),
        "{log:#?}"
    );
    let durability = |store: &str| {
        use lmdb::Transaction;

        let env = lmdb::Environment::new()
            .set_max_dbs(16)
            .open(&setup.place.path(store))
            .expect("a store");
        let meta = env.open_db(Some("meta")).expect("its tree");
        let txn = env.begin_ro_txn().expect("a read");
        txn.get(meta, b"durability").expect("an entry").to_vec()
    };
    assert_eq!(durability("k8s_test_framework_1"), [0], "none");
    setup.runs(
        "--data-dir=DIR/kept --listen-client-urls=http://127.0.0.1:0",
        "",
    );
    assert_eq!(durability("kept"), [1]);
}

#[test]
fn image_of_bitnami_and_compose_file_of_apisix() {
    let setup = Setup::new();
    let log = setup.runs(
        "",
        "ETCD_ENABLE_V2=true
         ALLOW_NONE_AUTHENTICATION=yes
         ETCD_ADVERTISE_CLIENT_URLS=http://etcd:2379
         ETCD_LISTEN_CLIENT_URLS=http://127.0.0.1:0
         ETCD_NAME=etcd
         ETCD_DATA_DIR=DIR/bitnami/etcd/data
         ETCD_BASE_DIR=/opt/bitnami/etcd
         ETCD_ON_K8S=no
         ETCD_CLUSTER_DOMAIN=
         ETCD_AUTO_TLS=false
         ETCD_CLIENT_CERT_AUTH=false
         ETCD_LOG_LEVEL=info
         ETCD_TRUSTED_CA_FILE=
         ETCD_INITIAL_CLUSTER_TOKEN=etcd-cluster
         ETCD_INITIAL_CLUSTER_STATE=new",
    );
    noted(
        &log,
        &[
            "ETCD_ENABLE_V2",
            "ETCD_AUTO_TLS",
            "ETCD_INITIAL_CLUSTER_TOKEN",
            "--initial-cluster-state",
        ],
    );
    for unknown in ["ETCD_BASE_DIR", "ETCD_ON_K8S"] {
        let printed = format!("unrecognized environment variable {unknown}");
        assert!(
            log.iter().any(|line| line.contains(&printed)),
            "{unknown}: {log:#?}"
        );
    }
}

#[test]
fn image_of_etcd_in_a_container() {
    let setup = Setup::new();
    let log = setup.runs(
        "--name s1 --data-dir DIR/etcd-data --listen-client-urls http://127.0.0.1:0
         --advertise-client-urls http://0.0.0.0:2379 --listen-peer-urls http://0.0.0.0:2380
         --initial-advertise-peer-urls http://0.0.0.0:2380 --initial-cluster s1=http://0.0.0.0:2380
         --initial-cluster-token tkn --initial-cluster-state new --log-level info --logger zap --log-outputs stderr",
        "ETCD_UNSUPPORTED_ARCH=arm64",
    );
    noted(&log, &["--logger", "--initial-cluster-token"]);
}

#[test]
fn unit_of_debian_with_its_defaults() {
    let setup = Setup::new();
    setup.runs(
        "",
        "ETCD_NAME=node1
         ETCD_DATA_DIR=DIR/var/lib/etcd/default
         ETCD_LISTEN_CLIENT_URLS=http://127.0.0.1:0
         ETCD_ADVERTISE_CLIENT_URLS=http://127.0.0.1:0
         ETCD_HEARTBEAT_INTERVAL=1000
         ETCD_ELECTION_TIMEOUT=5000
         ETCD_STRICT_RECONFIG_CHECK=true
         ETCD_ENABLE_V2=false
         ETCD_MAX_SNAPSHOTS=5
         ETCD_MAX_WALS=5
         ETCD_PROXY=off
         ETCD_DEBUG=false
         ETCD_METRICS=extensive",
    );
}

#[test]
fn test_cluster_of_patroni() {
    let setup = Setup::new();
    setup.runs(
        "--data-dir DIR/etcd --unsafe-no-fsync --heartbeat-interval 5 --election-timeout 50 --pre-vote=false
         -listen-client-urls http://127.0.0.1:0 -advertise-client-urls http://127.0.0.1:0
         --auth-token simple --enable-v2=false --max-concurrent-streams=100 --grpc-keepalive-interval=1h",
        "ETCD_ENABLE_GRPC_GATEWAY=true",
    );
}

#[test]
fn flag_given_twice_counts_as_the_last_one() {
    let setup = Setup::new();
    let log = setup.runs(
        "--listen-client-urls=http://127.0.0.1:1,http://127.0.0.1:2 --name a --name=b --data-dir no
         --listen-client-urls=http://127.0.0.1:0 --data-dir=yes",
        "",
    );
    let last = log.last().expect("ready");
    assert!(
        last.contains(" on http://127.0.0.1:")
            && !last.contains(',')
            && last.ends_with(" (store yes)"),
        "{log:#?}"
    );
    assert!(!setup.place.path("no").exists());
}

#[test]
fn flags_set_members_metrics_origins_and_hosts() {
    let setup = Setup::new();
    let ready = setup.start(
        "--listen-client-urls http://127.0.0.1:0 --listen-metrics-urls http://127.0.0.1:0 --metrics=extensive
         --initial-advertise-peer-urls http://10.0.0.1:2380,http://10.0.0.2:2380 --log-level info
         --cors https://page.example --host-whitelist localhost,127.0.0.1",
        "",
    );
    ready.works("");
    let host = ready.address.strip_prefix("http://").expect("http");
    let of = |line: &String| {
        line.split_once("serving metrics on http://")
            .map(|(_, host)| host.to_string())
    };
    let metrics = ready.log.iter().find_map(of).expect("a line in the log");
    assert!(http(&metrics, "/metrics").contains("grpc_server_handling_seconds_bucket"));
    assert!(http(&metrics, "/health").contains(r#"{"health":"true""#));
    assert!(http(&metrics, "/v3/kv/range").starts_with("HTTP/1.1 404 "));
    let list = |headers: &str| {
        request(
            host,
            &format!("POST /v3/cluster/member/list HTTP/1.1\r\n{headers}"),
            "{}",
        )
    };
    let members = list("Host: localhost\r\nOrigin: https://page.example\r\n");
    assert!(
        members.contains(r#""peerURLs":["http://10.0.0.1:2380","http://10.0.0.2:2380"]"#),
        "{members}"
    );
    let foreign = list("Host: localhost\r\nOrigin: https://other.example\r\n");
    assert!(foreign.starts_with("HTTP/1.1 403 "), "{foreign}");
    let rebound = list("Host: other.example\r\n");
    assert!(rebound.starts_with("HTTP/1.1 421 "), "{rebound}");
    ready.end();
}

#[test]
fn wildcard_address_is_not_advertised() {
    let setup = Setup::new();
    let ready = setup.start("--listen-client-urls http://0.0.0.0:0", "");
    assert!(
        ready
            .log
            .iter()
            .any(|line| line.contains(" warn ") && line.contains("http://0.0.0.0:")),
        "{:#?}",
        ready.log
    );
    let host = ready.address.replace("http://0.0.0.0", "127.0.0.1");
    let members = request(
        &host,
        "POST /v3/cluster/member/list HTTP/1.1\r\nHost: localhost\r\n",
        "{}",
    );
    assert!(
        members.contains("clientURLs") && !members.contains("0.0.0.0"),
        "{members}"
    );
    ready.end();
}

#[test]
fn gateway_is_off_by_flag_or_variable() {
    for (line, variables) in [
        ("--enable-grpc-gateway=false", ""),
        ("", "ETCD_ENABLE_GRPC_GATEWAY=false"),
    ] {
        let setup = Setup::new();
        let ready = setup.start(
            &format!("--listen-client-urls http://127.0.0.1:0 {line}"),
            variables,
        );
        ready.works("");
        let host = ready.address.strip_prefix("http://").expect("http");
        assert!(
            http(host, "/v3/kv/range").starts_with("HTTP/1.1 404 "),
            "{line}{variables}"
        );
        assert!(
            http(host, "/health").starts_with("HTTP/1.1 200 "),
            "{line}{variables}"
        );
        ready.end();
    }
}

#[test]
fn store_without_a_directory_is_named_after_the_member() {
    let setup = Setup::new();
    for (line, directory) in [("", "default.etcd"), ("--name m1", "m1.etcd")] {
        let log = setup.runs(
            &format!("--listen-client-urls http://127.0.0.1:0 {line}"),
            "",
        );
        assert!(
            log[0].ends_with(&format!("(store {directory})")),
            "{log:#?}"
        );
        assert_eq!(
            setup
                .place
                .kv(&format!("-s {directory} get a --print-value-only"))
                .ok(),
            "1\n"
        );
    }
}

/// A data directory may also hold `lost+found` (if it is a volume), a socket or a log.
#[test]
fn store_opens_beside_other_files_in_the_data_directory() {
    let setup = Setup::new();
    let data = setup.place.path("data");
    std::fs::create_dir_all(data.join("lost+found")).expect("a folder");
    let line = "--data-dir data --listen-client-urls unix://data/kv.sock --log-outputs data/etcd.log,stderr";
    for round in ["1", "2"] {
        let ready = setup.start(line, "");
        assert!(
            ready
                .log
                .last()
                .expect("ready")
                .ends_with("(store data/kv)"),
            "{:#?}",
            ready.log
        );
        let kv = |options: &str, rest: &str| setup.place.kv(&format!("{options} {rest}"));
        kv("-s unix:data/kv.sock", &format!("put round {round}")).ok();
        // every command finds the same store in the directory
        assert_eq!(
            kv("-s data", "get round --print-value-only").ok(),
            format!("{round}\n")
        );
        ready.end();
    }
    let log = std::fs::read_to_string(data.join("etcd.log")).expect("a log");
    assert_eq!(
        log.matches("ready to serve client requests").count(),
        2,
        "{log}"
    );
    // a store in the directory itself is still found when other files are added
    setup.place.kv("-s plain put a 1").ok();
    std::fs::write(setup.place.path("plain").join("other"), "").expect("a file");
    let ready = setup.start("plain --listen-client-urls unix:sock", "");
    assert!(ready.log[0].ends_with("(store plain)"), "{:#?}", ready.log);
    assert_eq!(
        setup
            .place
            .kv("-s unix://sock get a --print-value-only")
            .ok(),
        "1\n"
    );
    ready.end();
    // a directory with the data of an etcd server is refused
    std::fs::create_dir_all(setup.place.path("etcds/member/snap")).expect("a folder");
    let refused = setup
        .place
        .kv("serve --data-dir etcds --listen-client-urls unix:sock");
    assert!(
        refused.refused(4).contains("the data of an etcd server"),
        "{refused:?}"
    );
    assert!(!setup.place.path("etcds/kv").exists());
}

#[test]
fn log_has_the_format_and_the_outputs_of_the_flags() {
    let setup = Setup::new();
    let mut command = setup.command(
        "store --listen-client-urls unix:sock --log-format=json --log-outputs=stdout",
        "",
    );
    command.stdin(std::process::Stdio::null());
    let mut running = Running::new(command);
    let line: Value = serde_json::from_str(&running.line()).expect("JSON");
    assert!(
        line["msg"]
            .as_str()
            .expect("text")
            .starts_with("ready to serve"),
        "{line}"
    );
    let ended = running.end_by(Signal::TERM);
    assert_eq!((ended.status, ended.err.as_str()), (0, ""));
    let refused = setup
        .place
        .kv("serve store --listen-client-urls unix:sock --log-outputs no/such/log");
    assert!(
        refused.refused(4).contains("--log-outputs no/such/log"),
        "{refused:?}"
    );
}
