//! The same commands on a cluster: our own server, reached by its address.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};

use rustix::process::Signal;
use serde_json::json;

use libkv_test_support::{etcd, etcdctl};

use crate::support::{Place, Serving};

/// A server in a folder of its own. `kv` runs a command with the server's address.
struct Cluster {
    place: Place,
    serving: Serving,
}

impl Cluster {
    fn start() -> Cluster {
        let place = Place::new();
        let serving = Serving::start(&place, &place.path("store"), &[]);
        Cluster { place, serving }
    }

    fn kv(&self, line: &str) -> crate::support::Ran {
        self.place
            .kv(&format!("{line} -s {}", self.serving.address))
    }
}

#[test]
fn cluster_commands_work_as_on_a_store() {
    let cluster = Cluster::start();
    assert_eq!(cluster.kv("put a 1").ok(), "OK\n");
    assert_eq!(cluster.kv("put a 2 --prev-kv").ok(), "OK\na\n1\n");
    assert_eq!(cluster.kv("get a --at 2").ok(), "a\n1\n");
    assert_eq!(cluster.kv("get missing").refused(1), "");
    assert_eq!(cluster.kv("range -l").ok(), "3\t2\t2\t-\ta\t2\n");
    assert_eq!(
        cluster.kv("lease grant 600 --id 1f").ok(),
        "lease 000000000000001f granted with TTL(600s)\n"
    );
    assert_eq!(cluster.kv("put l x --lease 1f").ok(), "OK\n");
    assert!(
        cluster
            .kv("lease timetolive 1f --keys")
            .ok()
            .contains("([l])")
    );
    assert_eq!(cluster.kv("lock job true").status, 0);
    assert_eq!(cluster.kv("watch --rev 2 --events 1").ok(), "PUT\na\n1\n");
    assert_eq!(cluster.kv("del l").ok(), "1\n");
    assert_eq!(cluster.kv("compact 3").ok(), "compacted revision 3\n");
    assert!(cluster.kv("get a --at 2").refused(3).contains("compacted"));
    assert!(cluster.kv("status --json").json()[0]["revision"].as_i64() > Some(3));
    assert_eq!(cluster.kv("alarm list").ok(), "");
    let endpoints = cluster.serving.address.trim_start_matches("http://");
    assert_eq!(
        cluster
            .place
            .kv(&format!("--endpoints {endpoints} get a --print-value-only"))
            .ok(),
        "2\n"
    );
}

#[test]
fn cluster_refusals_are_worded_as_on_a_store() {
    let cluster = Cluster::start();
    for line in ["put a 1", "put a 2", "compact 2"] {
        cluster.kv(line).ok();
    }
    for line in [
        "get a --at 9",
        "compact 9",
        "get a --at 1",
        "compact 1",
        "put b 1 --lease 1f",
    ] {
        let (here, there) = (cluster.place.kv(line), cluster.kv(line));
        assert_eq!(here.refused(3), there.refused(3), "{line}");
    }
}

#[test]
fn cluster_names_what_it_does_not_support() {
    let cluster = Cluster::start();
    assert!(cluster.kv("check").refused(10).contains("unsupported"));
    assert!(
        cluster
            .kv("get a --at 10m")
            .refused(10)
            .contains("unsupported")
    );
    assert!(
        cluster
            .kv("get a --busy-timeout 1s")
            .refused(2)
            .contains("--busy-timeout")
    );
    assert!(
        cluster
            .kv("serve")
            .refused(2)
            .contains("connect to it directly")
    );
}

#[test]
fn transfer_from_a_store_to_a_cluster_and_back() {
    let cluster = Cluster::start();
    let place = &cluster.place;
    place.kv(r"-s here put --escaped key\xff value\x00").ok();
    place.kv("-s here lease grant 600 --id 1f").ok();
    place.kv("-s here put leased x --lease 1f").ok();
    for n in 0..300 {
        place.kv(&format!("-s here put many{n} {n}")).ok();
    }
    place.kv("-s here export file").ok();
    assert!(
        cluster
            .kv("import file")
            .ok()
            .starts_with("302 pairs written, 1 lease granted")
    );
    assert_eq!(
        cluster.kv("import file").ok(),
        "0 pairs written, 302 unchanged\n"
    );
    cluster.kv("export back").ok();
    assert!(
        place
            .kv("-s there import back")
            .ok()
            .starts_with("302 pairs written")
    );
    assert_eq!(
        place.kv("-s there range").ok(),
        place.kv("-s here range").ok()
    );
    let lease = &place.kv("-s there get leased --json").json()[0]["lease"];
    assert_eq!(*lease, json!("000000000000001f"));
}

#[test]
fn endpoint_that_does_not_respond_is_named() {
    let place = Place::new();
    let ran = place.kv("-s etcd://127.0.0.1:1,127.0.0.1:2 --dial-timeout 200ms get a");
    let printed = ran.refused(4);
    assert!(
        printed.contains("unavailable")
            && printed.contains("127.0.0.1:1")
            && printed.contains("127.0.0.1:2"),
        "{printed}"
    );
}

#[test]
fn watch_of_a_cluster_ends_with_ctrl_c() {
    let cluster = Cluster::start();
    cluster.kv("put a 1").ok();
    let mut watching = cluster
        .place
        .start(&format!("-s {} watch a --rev 2", cluster.serving.address));
    assert_eq!(
        [watching.line(), watching.line(), watching.line()],
        ["PUT", "a", "1"]
    );
    assert_eq!(watching.end_by(Signal::INT).status, 130);
}

#[test]
fn import_that_a_cluster_refuses_names_its_position() {
    let cluster = Cluster::start();
    let place = &cluster.place;
    place.kv("-s here put a 1").ok();
    std::fs::write(place.path("value"), vec![b'x'; 2_000_000]).expect("a file");
    place.kv("-s here put large --file value").ok();
    place.kv("-s here export file").ok();
    let ran = cluster.kv("import file");
    let printed = ran.refused(2);
    assert!(
        printed.contains("too_large")
            && printed.contains("large on")
            && printed.contains("1 pair written"),
        "{printed}"
    );
}

#[test]
fn elect_ends_when_the_cluster_is_gone() {
    let cluster = Cluster::start();
    let mut leader = cluster.place.start(&format!(
        "-s {} --dial-timeout 100ms elect job me --ttl 2",
        cluster.serving.address
    ));
    assert!(leader.line().starts_with("job/"));
    cluster.serving.running.signal(Signal::KILL);
    let ended = leader.end();
    assert!(ended.refused(3).contains("lease_lost"), "{ended:?}");
}

#[test]
fn lease_is_kept_alive_over_a_restart_of_its_cluster() {
    let place = Place::new();
    let address = format!("unix://{}", place.path("socket").display());
    let serve = || {
        Serving::start(
            &place,
            &place.path("store"),
            &["--listen-client-urls", &address],
        )
    };
    let serving = serve();
    place
        .kv(&format!("-s {address} lease grant 12 --id 1f"))
        .ok();
    // a renewal is sent after each third of the TTL: the third one falls into the pause
    let mut keeping = place.start(&format!(
        "-s {address} --dial-timeout 100ms lease keep-alive 1f"
    ));
    assert_eq!(
        keeping.line(),
        "lease 000000000000001f keepalived with TTL(12)"
    );
    assert_eq!(serving.running.end_by(Signal::TERM).status, 0);
    assert!(keeping.err_line().contains("unavailable"), "reported once");
    let _serving = serve();
    assert_eq!(
        keeping.line(),
        "lease 000000000000001f keepalived with TTL(12)"
    );
    assert_eq!(keeping.end_by(Signal::INT).err, "");
}

/// A TCP proxy in front of a server, which can stop forwarding calls.
struct Gate {
    address: String,
    stopped: Arc<AtomicBool>,
    /// The number of calls that it forwards, besides the first call of each connection.
    passes: Arc<AtomicUsize>,
    /// Receives a message for each call that was not forwarded.
    blocked_calls: Receiver<()>,
}

impl Gate {
    fn before(server: &str) -> Gate {
        let server = server.trim_start_matches("http://").to_string();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("it is bound"));
        let stopped = Arc::new(AtomicBool::new(false));
        let passes = Arc::new(AtomicUsize::new(usize::MAX));
        let (blocked, blocked_calls) = mpsc::channel();
        let gate = Gate {
            address,
            stopped: stopped.clone(),
            passes: passes.clone(),
            blocked_calls,
        };
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(mut client), Ok(mut server)) = (client, TcpStream::connect(&server)) else {
                    return;
                };
                let (Ok(mut responses), Ok(mut back)) = (server.try_clone(), client.try_clone())
                else {
                    return;
                };
                std::thread::spawn(move || std::io::copy(&mut responses, &mut back));
                let (blocked, stopped, passes) = (blocked.clone(), stopped.clone(), passes.clone());
                std::thread::spawn(move || {
                    let mut bytes = [0; 16 << 10];
                    while let Ok(length @ 1..) = client.read(&mut bytes) {
                        let one_less = |passes: usize| passes.checked_sub(1);
                        if has_headers(&bytes[..length])
                            && passes
                                .fetch_update(Ordering::AcqRel, Ordering::Acquire, one_less)
                                .is_err()
                        {
                            stopped.store(true, Ordering::Release);
                        }
                        if !stopped.load(Ordering::Acquire) {
                            let _ = server.write_all(&bytes[..length]);
                        } else if has_headers(&bytes[..length]) {
                            let _ = blocked.send(());
                        }
                    }
                });
            }
        });
        gate
    }
}

/// Whether one of these frames begins a call.
fn has_headers(mut frames: &[u8]) -> bool {
    const HEAD_BYTES: usize = 9;
    while let [a, b, c, kind, ..] = *frames {
        if kind == 1 {
            return true;
        }
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        frames = frames.get(HEAD_BYTES + length..).unwrap_or_default();
    }
    false
}

/// A former version ignored Ctrl-C while the cluster did not respond. It ended when the request
/// timed out, with the exit status of an unreachable cluster.
#[test]
fn keep_alive_without_a_response_ends_with_ctrl_c() {
    let cluster = Cluster::start();
    cluster.kv("lease grant 6 --id 1f").ok();
    let gate = Gate::before(&cluster.serving.address);
    let mut keeping = cluster
        .place
        .start(&format!("-s {} lease keep-alive 1f", gate.address));
    assert_eq!(
        keeping.line(),
        "lease 000000000000001f keepalived with TTL(6)"
    );
    gate.stopped.store(true, Ordering::Release);
    gate.blocked_calls.recv().expect("the proxy runs");
    let ended = keeping.end_by(Signal::INT);
    assert_eq!((ended.status, ended.err.as_str()), (130, ""));
}

/// A lock and an election on a cluster that stops responding after a number of calls.
#[test]
fn lock_and_elect_end_in_time_on_a_silent_cluster() {
    let cluster = Cluster::start();
    let gate_after = |calls| {
        let gate = Gate::before(&cluster.serving.address);
        gate.passes.store(calls, Ordering::Release);
        gate
    };
    // only the timeout of the command itself ends these
    for command in [
        "lock deploy --timeout 300ms true",
        "elect deploy me --timeout 300ms",
    ] {
        for calls in [0, 1, 2] {
            let gate = gate_after(calls);
            let limits = "--dial-timeout 10m --command-timeout 10m";
            let ended = cluster
                .place
                .kv(&format!("-s {} {limits} {command}", gate.address));
            let refused = ended.refused(6);
            assert!(
                refused.contains("deploy was not acquired within 300 ms"),
                "{refused}"
            );
        }
    }
    for (command, calls) in [
        ("lock deploy true", 1),
        ("elect deploy me", 1),
        ("elect deploy --listen", 1),
    ] {
        println!("{command} after {calls} calls");
        let gate = gate_after(calls);
        let waiting = cluster
            .place
            .start(&format!("-s {} {command}", gate.address));
        gate.blocked_calls
            .recv_timeout(std::time::Duration::from_secs(20))
            .expect("a call that is not forwarded");
        let ended = waiting.end_by(Signal::INT);
        assert_eq!(
            (ended.status, ended.err.as_str()),
            (130, ""),
            "{command} after {calls} calls"
        );
    }
}

/// A former version showed `keys 0` to a user who may read only a part of the keys.
#[test]
fn status_hides_the_number_of_keys_from_users_without_rights() {
    let (program, etcdctl) = match (etcd::program(), etcdctl::v35()) {
        (Ok(program), Ok(etcdctl)) => (program, etcdctl),
        (Err(why), _) | (_, Err(why)) => {
            return println!("not run: kv status as a user with few rights ({why})");
        }
    };
    let (place, etcd) = (Place::new(), etcd::Etcd::start(&program, "status"));
    let etcdctl = |line: &str| {
        let done = Command::new(&etcdctl)
            .args(["--endpoints", &etcd.url()])
            .args(line.split_whitespace())
            .output();
        let done = done.expect("etcdctl runs");
        assert!(done.status.success(), "{line}: {done:?}");
    };
    for line in [
        "put begun 1",
        "user add root:secret",
        "user grant-role root root",
        "role add part",
        "role grant-permission part readwrite part/ part0",
        "user add reader:secret",
        "user grant-role reader part",
        "auth enable",
    ] {
        etcdctl(line);
    }
    let status = |user: &str, more: &str| {
        place.kv(&format!(
            "-s {} --user {user}:secret status {more}",
            etcd.url()
        ))
    };
    assert!(status("root", "").ok().contains("keys        1\n"));
    let printed = status("reader", "").ok();
    assert!(
        printed.contains("keys        unknown: this user may not read all keys\n"),
        "{printed}"
    );
    assert!(
        printed.contains("revision    2\n"),
        "the compacted revision is unknown too: {printed}"
    );
    assert_eq!(status("root", "--json").json()[0]["keys"], json!(1));
    assert_eq!(status("reader", "--json").json()[0]["keys"], json!(null));
}
