//! `kv serve`: etcd's flags, the ready line, signals, and the keys of a store after kill -9.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use libkv::{Db, Options, Put};
use libkv_test_support::certificates::Certificates;
use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Place, Running, Serving};

#[test]
fn serve_is_ready_after_its_ready_line_and_ends_with_sigterm() {
    let place = Place::new();
    for (signal, more) in [
        (Signal::TERM, &[][..]),
        (Signal::INT, &["--log-level", "info"]),
    ] {
        let serving = Serving::start(&place, &place.path("store"), more);
        place.kv(&format!("-s {} put a 1", serving.address)).ok();
        let ended = serving.running.end_by(signal);
        assert_eq!((ended.status, ended.out.len()), (0, 0), "{ended:?}");
        assert_eq!(
            ended.err.is_empty(),
            more.is_empty(),
            "it logs only with --log-level info: {ended:?}"
        );
    }
    assert_eq!(place.kv("get a").ok(), "a\n1\n");
}

#[test]
fn serve_shares_the_store_with_local_programs() {
    let place = Place::new();
    let serving = Serving::start(&place, &place.path("store"), &[]);
    place.kv("put a local").ok();
    let mut watching = place.start(&format!("-s {} watch a --rev 2 --json", serving.address));
    let value =
        |line: String| serde_json::from_str::<Value>(&line).expect("JSON")["kv"]["value"].clone();
    assert_eq!(value(watching.line()), "local");
    place.kv("put a again").ok();
    assert_eq!(value(watching.line()), "again");
    place
        .kv(&format!("-s {} put a remote", serving.address))
        .ok();
    assert_eq!(value(watching.line()), "remote");
    assert_eq!(place.kv("get a --print-value-only").ok(), "remote\n");
    assert_eq!(watching.end_by(Signal::INT).status, 130);
}

#[test]
fn flags_of_etcd_in_every_form() {
    let place = Place::new();
    let socket = format!("unix://{}", place.path("socket").display());
    let urls = format!("http://127.0.0.1:0,{socket}");
    let forms: [Vec<String>; 3] = [
        vec![
            "--data-dir".into(),
            "store".into(),
            "--listen-client-urls".into(),
            urls.clone(),
        ],
        vec![
            "-data-dir=store".into(),
            format!("-listen-client-urls={urls}"),
            "-name".into(),
            "default".into(),
        ],
        vec![
            "store".into(),
            format!("--listen-client-urls={urls}"),
            "--client-cert-auth=false".into(),
        ],
    ];
    let cluster = [
        "--listen-peer-urls=http://localhost:2380",
        "--initial-advertise-peer-urls=http://localhost:2380",
        "--initial-cluster=default=http://localhost:2380",
        "--initial-cluster-token=etcd-cluster-1",
        "--initial-cluster-state=new",
        "--advertise-client-urls=http://localhost:2379",
        "--max-request-bytes=2000000",
        "--max-txn-ops=200",
        "--quota-backend-bytes=-1",
        "--auto-compaction-mode=revision",
        "--auto-compaction-retention=1000",
        "--log-level=info",
    ];
    for form in forms {
        let mut command = place.command(["serve"]);
        command.args(&form).args(cluster);
        let mut running = Running::new(command);
        let mut printed = String::new();
        while !printed.contains("ready to serve client requests") {
            let line = running.err_line();
            assert!(!line.is_empty(), "{form:?}: {printed}");
            printed += &line;
            printed += "\n";
        }
        assert_eq!(printed.matches("has no effect").count(), 4, "{printed}");
        assert!(printed.contains(&socket), "{printed}");
        place.kv(&format!("-s {socket} put a 1")).ok();
        assert_eq!(running.end_by(Signal::TERM).status, 0);
    }
    assert!(!place.path("socket").exists());
}

#[test]
fn variables_are_flags() {
    let place = Place::new();
    let mut command = place.command(["serve"]);
    command
        .env("ETCD_DATA_DIR", "store")
        .env("ETCD_LISTEN_CLIENT_URLS", "http://127.0.0.1:0");
    let mut running = Running::new(command);
    assert!(
        running
            .err_line()
            .contains("ready to serve client requests on http://127.0.0.1:")
    );
    assert_eq!(running.end_by(Signal::TERM).status, 0);
    let mut command = place.command(["serve", "store"]);
    command.env("ETCD_WAL_DIR", "wal");
    assert!(
        Running::new(command)
            .end()
            .refused(2)
            .contains("ETCD_WAL_DIR (--wal-dir) is refused: ")
    );
}

/// As in etcd: start scripts set variables from others that may be empty.
#[test]
fn variable_that_is_empty_is_unset() {
    let place = Place::new();
    let mut command = place.command(["serve", "store"]);
    command.env("ETCD_LISTEN_CLIENT_URLS", "http://127.0.0.1:0");
    for name in [
        "NAME",
        "DATA_DIR",
        "ADVERTISE_CLIENT_URLS",
        "CERT_FILE",
        "CLIENT_CERT_AUTH",
        "MAX_REQUEST_BYTES",
        "QUOTA_BACKEND_BYTES",
        "AUTO_COMPACTION_MODE",
        "AUTO_COMPACTION_RETENTION",
        "LOG_LEVEL",
        "INITIAL_CLUSTER",
        "INITIAL_CLUSTER_STATE",
    ] {
        command.env(format!("ETCD_{name}"), "");
    }
    let mut running = Running::new(command);
    let line = running.err_line();
    assert!(
        line.contains("ready to serve client requests on http://127.0.0.1:"),
        "{line}"
    );
    assert_eq!(running.end_by(Signal::TERM).status, 0);
}

/// systemd's units for etcd have `Type=notify`: systemd kills a service that does not report that
/// it is ready.
#[test]
fn init_daemon_is_notified_when_it_is_ready() {
    let place = Place::new();
    let socket = UnixDatagram::bind(place.path("notify")).expect("a socket");
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a time-out");
    let abstract_name = format!("kv-notify-{}", std::process::id());
    let abstract_address = SocketAddr::from_abstract_name(&abstract_name).expect("a name");
    let hidden = UnixDatagram::bind_addr(&abstract_address).expect("a socket");
    hidden
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a time-out");
    let path = place.path("notify").into_os_string();
    for (socket, name) in [(socket, path), (hidden, format!("@{abstract_name}").into())] {
        let mut command = place.command(["serve", "store", "--listen-client-urls", "unix:serving"]);
        command.env("NOTIFY_SOCKET", name);
        let running = Running::new(command);
        let mut printed = [0; 64];
        let length = socket.recv(&mut printed).expect("the message READY=1");
        assert_eq!(&printed[..length], b"READY=1");
        place
            .kv(&format!(
                "-s unix://{} put a 1",
                place.path("serving").display()
            ))
            .ok();
        assert_eq!(running.end_by(Signal::TERM).status, 0);
    }
    let mut command = place.command(["serve", "store", "--listen-client-urls", "unix:serving"]);
    command.env("NOTIFY_SOCKET", place.path("missing"));
    let mut running = Running::new(command);
    assert!(
        running
            .err_line()
            .contains("ready to serve client requests")
    );
    let line = running.err_line();
    assert!(
        line.contains(" warn ") && line.contains("NOTIFY_SOCKET"),
        "{line}"
    );
    assert_eq!(running.end_by(Signal::TERM).status, 0);
}

#[test]
fn lists_of_urls_are_read_as_etcd_reads_them() {
    let place = Place::new();
    let socket = format!("unix://{}", place.path("socket").display());
    let flag = format!("--listen-client-urls=http://127.0.0.1:0, {socket},{socket}");
    let mut running = Running::new(place.command(["serve", "store", &flag]));
    let line = running.err_line();
    assert!(
        line.ends_with(&format!(", {socket} (store store)")),
        "{line}"
    );
    assert_eq!(running.end_by(Signal::TERM).status, 0);
}

#[test]
fn unix_socket_has_one_notation_for_server_and_client() {
    let place = Place::new();
    certificates(&place);
    let absolute = place.path("abs.sock").display().to_string();
    for (address, file) in [
        ("unix:k.sock", "k.sock"),
        ("unix://k.sock", "k.sock"),
        ("unix://localhost:1", "localhost:1"),
        (&format!("unix://{absolute}"), "abs.sock"),
        (&format!("unix:{absolute}"), "abs.sock"),
    ] {
        let serving = Serving::start(
            &place,
            &place.path("store"),
            &[&format!("--listen-client-urls={address}")],
        );
        assert!(place.path(file).exists(), "{address}");
        assert_eq!(
            serving.address,
            format!("unix://{}", place.path(file).display())
        );
        for client in [
            format!("-s {address}"),
            format!("--endpoints {address}"),
            format!("-s {}", serving.address),
        ] {
            place.kv(&format!("put a {client}")).ok();
        }
        assert_eq!(serving.running.end_by(Signal::TERM).status, 0);
    }
    let flags = [
        "--listen-client-urls=unixs:k.sock",
        "--cert-file=server.pem",
        "--key-file=server-key.pem",
    ];
    let serving = Serving::start(&place, &place.path("store"), &flags);
    place
        .kv("-s unixs:k.sock --cacert ca.pem --tls-server-name 127.0.0.1 put a 1")
        .ok();
    let ca = std::fs::read(place.path("ca.pem")).expect("a file");
    place
        .fed(
            "-s unixs:k.sock --cacert - --tls-server-name 127.0.0.1 put a 1",
            ca,
        )
        .ok();
    place
        .kv("-s unix:k.sock --dial-timeout 1s put a 1")
        .refused(4);
    assert_eq!(serving.running.end_by(Signal::TERM).status, 0);
}

#[test]
fn watch_progress_has_the_interval_of_the_flag() {
    let place = Place::new();
    let flag = "--experimental-watch-progress-notify-interval=100ms";
    let serving = Serving::start(&place, &place.path("store"), &[flag]);
    let host = serving.address.strip_prefix("http://").expect("http");
    let mut stream = std::net::TcpStream::connect(host).expect("it listens");
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a time-out");
    let body = r#"{"create_request":{"key":"aw==","progress_notify":true}}"#;
    let head = format!(
        "POST /v3/watch HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream
        .write_all((head + body).as_bytes())
        .expect("the request is sent");
    let responses: Vec<String> = BufReader::new(stream)
        .lines()
        .map(|line| line.expect("the stream continues"))
        .filter(|line| line.contains("\"result\""))
        .take(3)
        .collect();
    assert!(responses[0].contains("\"created\":true"), "{responses:?}");
    assert!(
        responses[1..]
            .iter()
            .all(|line| !line.contains("created") && !line.contains("watch_id")),
        "{responses:?}"
    );
    assert!(
        place
            .kv("serve store --experimental-watch-progress-notify-interval=5")
            .refused(2)
            .contains("not a duration")
    );
}

#[test]
fn flags_that_are_not_supported_are_refused_by_name() {
    let place = Place::new();
    let cases = [
        ("--wal-dir x", "--wal-dir is refused"),
        ("-discovery=http://x", "--discovery is refused"),
        ("--auth-token jwt", "sign-method"),
        ("--feature-gates=NoSuchFeature=true", "NoSuchFeature"),
        ("--no-such-flag", "--no-such-flag"),
        (
            "--initial-cluster=a=http://x:1,b=http://y:1",
            "several members",
        ),
        ("--initial-cluster=a=http://x:1", "--name"),
        ("--initial-cluster-state=old", "old"),
        ("--listen-peer-urls=nonsense", "--listen-peer-urls"),
        ("--auto-compaction-mode=hourly", "hourly"),
        (
            "--auto-compaction-retention=soon",
            "--auto-compaction-retention",
        ),
        (
            "--auto-compaction-mode=revision --auto-compaction-retention=1h",
            "number of revisions",
        ),
        ("--listen-client-urls=ftp://x:1", "ftp"),
        ("--listen-client-urls=https://127.0.0.1:0", "cert"),
        ("--client-cert-auth=maybe", "true nor false"),
        ("--data-dir=elsewhere", "two stores"),
    ];
    for (flags, word) in cases {
        let ran = place.kv(&format!("serve store {flags}"));
        assert!(ran.refused(2).contains(word), "{flags}: {ran:?}");
        assert!(
            !place.path("store").exists(),
            "{flags}: a store was created"
        );
    }
}

#[test]
fn address_or_store_in_use_is_named() {
    let place = Place::new();
    let serving = Serving::start(&place, &place.path("store"), &[]);
    let ran = place.kv(&format!(
        "serve other --listen-client-urls {}",
        serving.address
    ));
    assert!(ran.refused(6).contains("busy"), "{ran:?}");
    assert!(!place.path("other").exists(), "a store was created");
    let clock = libkv::Clock::new(1);
    let _held = Db::open(place.path("held"), Options::new().clock(clock)).expect("a store");
    let ran = place.kv("serve held --busy-timeout 0 --listen-client-urls http://127.0.0.1:0");
    assert!(ran.refused(6).contains("busy"), "{ran:?}");
}

#[test]
fn limits_are_those_of_etcd_by_default() {
    let place = Place::new();
    std::fs::write(place.path("large"), vec![b'x'; 1_600_000]).expect("a file");
    let serving = Serving::start(&place, &place.path("store"), &[]);
    let ran = place.kv(&format!("-s {} put large --file large", serving.address));
    assert!(ran.refused(2).contains("too_large"), "{ran:?}");
    serving.running.end_by(Signal::TERM);
    let flags = [
        "--max-request-bytes=3000000",
        "--quota-backend-bytes=4000000",
    ];
    let serving = Serving::start(&place, &place.path("store"), &flags);
    let put = |key: &str| place.kv(&format!("-s {} put {key} --file large", serving.address));
    put("one").ok();
    let full = (0..4)
        .map(|n| put(&format!("more{n}")))
        .find(|ran| ran.status != 0)
        .expect("the quota is reached");
    assert!(full.refused(7).contains("full"), "{full:?}");
    assert!(
        place
            .kv(&format!("-s {} alarm list", serving.address))
            .ok()
            .contains("NOSPACE")
    );
    assert_eq!(serving.running.end_by(Signal::TERM).status, 0);
}

#[test]
fn log_lines_can_be_json() {
    let place = Place::new();
    let mut command = place.command([
        "--json",
        "serve",
        "store",
        "--listen-client-urls",
        "http://127.0.0.1:0",
    ]);
    command.arg("--log-level=info");
    let mut running = Running::new(command);
    loop {
        let line: Value = serde_json::from_str(&running.err_line()).expect("JSON");
        assert!(line["ts"].as_str().is_some_and(|ts| ts.ends_with('Z')) && line["level"] == "info");
        if line["msg"]
            .as_str()
            .expect("text")
            .starts_with("ready to serve client requests")
        {
            break;
        }
    }
    assert_eq!(running.end_by(Signal::TERM).status, 0);
}

/// Certificates of an authority, a server and a client, in the folder of the store.
pub fn certificates(place: &Place) {
    Certificates::new(&place.path(""));
}

#[test]
fn tls_with_certificates_on_both_sides() {
    let place = Place::new();
    certificates(&place);
    let flags = [
        "--listen-client-urls=https://127.0.0.1:0",
        "--cert-file=server.pem",
        "--key-file=server-key.pem",
        "--trusted-ca-file=ca.pem",
        "--client-cert-auth",
    ];
    let serving = Serving::start(&place, &place.path("store"), &flags);
    let kv = |options: &str| {
        place.kv(&format!(
            "-s {} --dial-timeout 2s {options}",
            serving.address
        ))
    };
    let shown = "--cert client.pem --key client-key.pem";
    assert_eq!(kv(&format!("--cacert ca.pem {shown} put a 1")).ok(), "OK\n");
    kv("--cacert ca.pem get a").refused(4);
    kv(&format!("{shown} get a")).refused(4);
    kv(&format!(
        "--cacert ca.pem {shown} --tls-server-name other get a"
    ))
    .refused(4);
    assert!(
        kv(&format!("--cacert missing.pem {shown} get a"))
            .err
            .contains("missing.pem")
    );
    assert!(kv("--cert client.pem get a").refused(2).contains("--key"));
    let endpoints = serving.address.trim_start_matches("https://");
    let ran = place.kv(&format!(
        "--endpoints {endpoints} --cacert ca.pem {shown} get a --print-value-only"
    ));
    assert_eq!(ran.ok(), "1\n");
}

#[test]
fn serve_ends_at_once_at_a_second_signal() {
    use std::io::Write;

    let place = Place::new();
    let serving = Serving::start(&place, &place.path("store"), &["--log-level=info"]);
    // the first signal waits for a request that is not complete
    let host = serving.address.trim_start_matches("http://");
    let mut stuck = std::net::TcpStream::connect(host).expect("it listens");
    stuck
        .write_all(b"POST /v3/kv/range HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        .expect("the request is sent");
    let mut running = serving.running;
    running.signal(Signal::TERM);
    while !running.err_line().contains("active requests may finish") {}
    running.signal(Signal::INT);
    let ended = running.end();
    assert!(
        ended
            .refused(130)
            .contains("the server ends without waiting"),
        "{ended:?}"
    );
}

/// A former version did not notice that the directory of its store was removed. It acknowledged
/// writes that were lost when it ended.
#[test]
fn store_removed_under_a_server_is_noticed() {
    let place = Place::new();
    let mut serving = Serving::start(&place, &place.path("store"), &[]);
    let get = |path: &str| {
        let mut stream =
            TcpStream::connect(serving.address.trim_start_matches("http://")).expect("it listens");
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        .expect("the request is sent");
        let mut response = String::new();
        stream.read_to_string(&mut response).expect("text");
        response
    };
    let kv = |line: &str| place.kv(&format!("-s {} {line}", serving.address));
    assert!(get("/health").contains(r#"{"health":"true","reason":""}"#));
    std::fs::remove_dir_all(place.path("store")).expect("removed");
    kv("put a 1").ok();
    let status = kv("status").ok();
    assert!(status.contains("trouble     REMOVED: "), "{status}");
    let health = get("/health");
    assert!(
        health.contains("503") && health.contains(r#"{"health":"false","reason":"ALARM REMOVED"}"#),
        "{health}"
    );
    assert!(get("/metrics").contains(r#"libkv_alarm{alarm="REMOVED",member=""#));
    let line = serving.running.err_line();
    assert!(
        line.contains(" error ") && line.contains("removed"),
        "{line}"
    );
    // it was reported once
    let ended = serving.running.end_by(Signal::TERM);
    assert_eq!((ended.status, ended.err.as_str()), (0, ""));
}

/// Pseudo-random numbers; the seed is printed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

/// A server must not lose an acknowledged write when it is killed. 16 writers put keys; after some
/// hundred acknowledged puts the server gets kill -9. After a restart every acknowledged key must
/// exist. KV_KILL_ROUNDS=50 runs 50 rounds.
#[test]
fn kill_9_of_a_server_loses_no_acknowledged_key() {
    const WRITERS: usize = 16;
    let rounds: usize = std::env::var("KV_KILL_ROUNDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(3);
    let seed = std::env::var("KV_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(std::process::id().into());
    println!("KV_SEED={seed} KV_KILL_ROUNDS={rounds}");
    let mut dice = Dice(seed);
    let place = Place::new();
    let mut all: Vec<(String, String)> = Vec::new();
    for round in 0..rounds {
        let serving = Serving::start(&place, &place.path("store"), &[]);
        let kill_after = 50 + dice.roll(400) as usize;
        let acknowledged = Mutex::new(Vec::new());
        let count = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                let (address, acknowledged, count) = (&serving.address, &acknowledged, &count);
                scope.spawn(move || {
                    let options = Options::new()
                        .connect_timeout_ms(1_000)
                        .request_timeout_ms(2_000);
                    let Ok(db) = libkv_etcd::open(address, options) else {
                        return;
                    };
                    for number in 0.. {
                        let pair = (
                            format!("{round}/{writer}/{number}"),
                            format!("value {number} of {writer}"),
                        );
                        if db.put(Put::new(pair.0.as_str(), pair.1.as_str())).is_err() {
                            break;
                        }
                        acknowledged.lock().expect("no panic").push(pair);
                        count.fetch_add(1, Ordering::Release);
                    }
                });
            }
            while count.load(Ordering::Acquire) < kill_after {
                std::thread::yield_now();
            }
            serving.running.signal(Signal::KILL);
        });
        let acknowledged = acknowledged.into_inner().expect("no panic");
        drop(serving);
        let again = Serving::start(&place, &place.path("store"), &[]);
        let db = libkv_etcd::open(&again.address, Options::new()).expect("the server runs again");
        for (key, value) in &acknowledged {
            let kv = db
                .get(key)
                .expect("it can be read")
                .unwrap_or_else(|| panic!("round {round}: {key} is lost"));
            assert_eq!(kv.value, value.as_bytes(), "round {round}: {key}");
        }
        all.extend(acknowledged);
        drop(db);
        assert_eq!(again.running.end_by(Signal::TERM).status, 0);
    }
    let db = Db::open(place.path("store"), Options::new()).expect("a store");
    assert_eq!(db.check().expect("it can be read").problems, []);
    for (key, value) in &all {
        assert_eq!(
            db.get(key).expect("it can be read").map(|kv| kv.value),
            Some(value.clone().into()),
            "{key}"
        );
    }
}
