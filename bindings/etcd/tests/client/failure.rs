//! Failures of endpoints, of connections and of whole clusters.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use libkv::*;

use crate::proxy::Proxy;
use crate::{etcd, is_well, open};
use libkv_test_support::deadline::{WAIT_LIMIT, deadline, until};
use libkv_test_support::dice::Dice;
use libkv_test_support::etcd::Etcd;
use libkv_test_support::seed;

fn in_memory() -> Db {
    Db::open(":memory:", Options::new().limits(LimitsPreset::Etcd)).expect("a store in memory")
}

fn port(server: &libkv_etcd::Server) -> u16 {
    server
        .address()
        .rsplit(':')
        .next()
        .and_then(|port| port.parse().ok())
        .expect("host and port")
}

fn refused(address: &str, options: Options) -> Error {
    libkv_etcd::open(address, options)
        .map(drop)
        .expect_err("the cluster cannot be opened")
}

#[test]
fn endpoints_are_named_with_their_reasons() {
    let _deadline = deadline();
    let gone = TcpListener::bind(("127.0.0.1", 0))
        .expect("a port")
        .local_addr()
        .expect("an address");
    let silent = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let silent_at = silent.local_addr().expect("an address");
    let rude = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let rude_at = rude.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in rude.incoming() {
            let mut stream = stream.expect("a connection");
            std::io::Write::write_all(&mut stream, b"HTTP/1.1 200 OK\r\n\r\n").expect("sent");
            // a connection closed at once would be reported as cut
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        }
    });
    let address =
        format!("etcd://{gone},{silent_at},{rude_at},no-such-host.invalid,unix:///no/such/socket");
    let begun = Instant::now();
    let error = refused(&address, Options::new().connect_timeout_ms(5_000));
    assert_eq!(error.code(), Code::Unavailable);
    let message = error.message();
    println!("{message}");
    for part in [
        format!("http://{gone}: connection refused"),
        format!("http://{silent_at}: timed out after 5000 ms"),
        format!("http://{rude_at}: http2 error"),
        "http://no-such-host.invalid:2379: its name cannot be resolved".into(),
        "unix:///no/such/socket: no such socket".into(),
    ] {
        assert!(message.contains(&part), "{part} in {message}");
    }
    assert!(begun.elapsed() < WAIT_LIMIT);
}

#[test]
fn options_of_the_wrong_kind_are_refused_by_name() {
    let _deadline = deadline();
    for (options, name) in [
        (Options::new().create(true), "create"),
        (Options::new().limits(LimitsPreset::Etcd), "limits"),
        (Options::new().user("u"), "password"),
        (Options::new().password("p"), "user"),
        (Options::new().tls_cert("/c").tls_ca("/ca"), "tls_ca /ca"),
        (Options::new().connect_timeout_ms(0), "connect_timeout_ms"),
    ] {
        let address = if name.starts_with("tls") {
            "https://127.0.0.1:1"
        } else {
            "http://127.0.0.1:1"
        };
        let error = refused(address, options);
        assert_eq!(error.code(), Code::InvalidArgument, "{error}");
        assert!(error.message().contains(name), "{error}");
    }
}

/// If the response of a write is lost, its outcome is unknown, and it is not sent again. A read is
/// sent again.
#[test]
fn response_that_is_lost_is_an_unknown_outcome() {
    let _deadline = deadline();
    let store = in_memory();
    let server = libkv_etcd::serve(&store, "127.0.0.1:0").expect("a server");
    let proxy = Proxy::start(port(&server));
    let db = libkv_etcd::open(proxy.url(), Options::new()).expect("a cluster");
    proxy.set_loses_responses(true);
    for request in [
        Request::from(Put::new("key", "1")),
        Delete::new("none").into(),
        Txn::new().and_then(Put::new("key", "2")).into(),
        Compact::new(2).into(),
        LeaseGrant::new(60).id(7).into(),
        LeaseRevoke::new(7).into(),
    ] {
        // the previous connection was lost: a read proves that there is a new one
        proxy.set_loses_responses(false);
        db.get("key").expect("get");
        proxy.set_loses_responses(true);
        let error = db
            .call_unless(request.clone(), &|| false)
            .expect_err("the response is lost");
        assert_eq!(error.code(), Code::UnknownOutcome, "{request:?}: {error}");
        assert!(
            error
                .message()
                .contains("whether it was written is not known. "),
            "{error}"
        );
    }
    assert_eq!(
        store
            .get("key")
            .expect("get")
            .map(|kv| (kv.version, kv.value)),
        Some((2, "2".into()))
    );
    assert!(store.lease_list().expect("leases").is_empty());
    let reader = db.clone();
    let read = thread::spawn(move || reader.get("key"));
    let before = proxy.accepted();
    until("the read is tried again", || proxy.accepted() > before + 1);
    proxy.set_loses_responses(false);
    assert!(read.join().expect("no panic").expect("get").is_some());
}

/// A request that was never sent is distinguished from one that may have been sent: it is tried
/// again, and it can be cancelled.
#[test]
fn cluster_that_is_unreachable_for_a_while() {
    let _deadline = deadline();
    let store = in_memory();
    let server = libkv_etcd::serve(&store, "127.0.0.1:0").expect("a server");
    let address = server.address().to_string();
    let options = Options::new().connect_timeout_ms(20_000);
    let db = libkv_etcd::open(&address, options).expect("a cluster");
    let impatient =
        libkv_etcd::open(&address, Options::new().connect_timeout_ms(300)).expect("a cluster");
    let watcher = db.watch(Watch::new(KeyRange::all())).expect("a watcher");
    server.close();
    drop(server);
    until("the connection is lost", || {
        impatient
            .put(Put::new("a", "0"))
            .is_err_and(|e| e.code() == Code::Unavailable)
    });
    let before = store.status().expect("status").revision;
    let (sender, receiver) = channel();
    let cancelled = db.submit(Put::new("a", "1"), move |response| {
        drop(sender.send(response.map(drop)))
    });
    let (other_sender, other_receiver) = channel();
    let _waits = db.submit(Put::new("a", "2"), move |response| {
        drop(other_sender.send(response.map(drop)))
    });
    assert!(cancelled.cancel());
    assert_eq!(
        db.call_unless(Put::new("a", "3"), &|| true)
            .expect_err("interrupted")
            .code(),
        Code::Cancelled
    );
    assert_eq!(
        db.call_unless(Range::new("a"), &|| true)
            .expect_err("interrupted")
            .code(),
        Code::Cancelled
    );
    let port = address.strip_prefix("http://").expect("plain");
    let server = libkv_etcd::serve(&store, port).expect("the same port again");
    other_receiver
        .recv_timeout(WAIT_LIMIT)
        .expect("the completion runs")
        .expect("the write succeeded");
    assert!(
        receiver.recv().is_err(),
        "the completion of a cancelled request never runs"
    );
    let kv = store.get("a").expect("get").expect("the key exists");
    assert_eq!((kv.value, kv.mod_revision), ("2".into(), before + 1));
    let mut last = None;
    while last != Some(before + 1) {
        last = watcher
            .next(WAIT_LIMIT)
            .expect("an event")
            .map(|batch| batch.revision);
        assert!(last.is_some_and(|revision| revision <= before + 1));
    }
    drop(server);
}

/// When an endpoint stops responding, requests and watches move to another one.
#[test]
fn endpoint_that_stops_responding_is_left() {
    let _deadline = deadline();
    let Some(program) = etcd() else { return };
    let flags = ["--grpc-keepalive-min-time", "50ms"];
    let members = Etcd::start_unready(&program, "silent", 1, "http", &flags);
    until("etcd responds", || is_well(&members.member_url(0)));
    let proxies = [Proxy::start(members.port(0)), Proxy::start(members.port(0))];
    let address = format!("{},{}", proxies[0].url(), proxies[1].url());
    let options = Options::new().keep_alive_ms(300).request_timeout_ms(8_000);
    let db = libkv_etcd::open(address, options).expect("a cluster");
    let direct = open(&members);
    let watcher = db.watch(Watch::new(KeyRange::all())).expect("a watcher");
    let lease = db.lease(3).expect("a lease");
    for round in 0..4 {
        let used = usize::from(proxies[1].accepted() > proxies[0].accepted());
        let (silent, other) = (&proxies[used], &proxies[1 - used]);
        let before = other.accepted();
        silent.set_silent(true);
        let revision = direct
            .put(Put::new("a", format!("{round}")))
            .expect("put")
            .revision;
        assert!(
            db.get("a")
                .expect("the read is sent again to another endpoint")
                .is_some()
        );
        assert!(other.accepted() > before);
        let batch = watcher
            .next(WAIT_LIMIT)
            .expect("an event")
            .expect("in time");
        assert_eq!(batch.revision, revision);
        silent.set_silent(false);
        silent.cut();
        // the next round takes the endpoint with more connections as the one in use: raise its
        // number
        while other.accepted() <= silent.accepted() {
            let _ = std::net::TcpStream::connect(other.url().trim_start_matches("http://"));
            thread::sleep(Duration::from_millis(10));
        }
        db.put(Put::new("b", "")).expect("put");
        watcher
            .next(WAIT_LIMIT)
            .expect("an event")
            .expect("in time");
    }
    assert!(!lease.lost());
    until("the lease is renewed", || {
        lease.remaining().is_ok_and(|seconds| seconds > 1)
    });
    // no endpoint responds
    proxies.iter().for_each(|proxy| proxy.set_silent(true));
    let short = Options::new()
        .request_timeout_ms(1_000)
        .connect_timeout_ms(500);
    let error = refused(&proxies[0].url(), short);
    assert!(
        error.code() == Code::Unavailable && error.message().contains("timed out"),
        "{error}"
    );
}

#[test]
fn request_without_a_response_times_out() {
    let _deadline = deadline();
    let store = in_memory();
    let server = libkv_etcd::serve(&store, "127.0.0.1:0").expect("a server");
    let proxy = Proxy::start(port(&server));
    let options = Options::new().request_timeout_ms(400);
    let db = libkv_etcd::open(proxy.url(), options).expect("a cluster");
    proxy.set_silent(true);
    assert_eq!(db.get("a").expect_err("silence").code(), Code::Timeout);
    proxy.set_silent(false);
    proxy.cut();
    db.get("a").expect("get");
    proxy.set_silent(true);
    assert_eq!(
        db.put(Put::new("a", "")).expect_err("silence").code(),
        Code::UnknownOutcome
    );
}

/// The event of each revision: its kind and its key.
type Events = BTreeMap<Revision, (EventKind, Vec<u8>)>;

/// Reads events until one of the key `end`. Each revision must come once, and in order. After
/// `ended` is set the next event must come in time.
fn follow(watcher: Watcher, ended: Arc<AtomicBool>, end: Vec<u8>) -> Events {
    let mut seen = Events::new();
    loop {
        let batch = watcher
            .next(WAIT_LIMIT)
            .expect("the watcher survives every failure");
        let Some(batch) = batch else {
            assert!(
                !ended.load(Ordering::SeqCst),
                "the last event does not come"
            );
            continue;
        };
        assert!(
            seen.last_key_value()
                .is_none_or(|(last, _)| *last < batch.revision),
            "revision {} again",
            batch.revision
        );
        let [event] = &batch.events[..] else {
            panic!("one event at revision {}", batch.revision)
        };
        seen.insert(batch.revision, (event.kind, event.kv.key.to_vec()));
        if event.kv.key == end {
            return seen;
        }
    }
}

/// All events after this revision, from the history of the store.
fn record(db: &Db, after: Revision) -> Events {
    let events = db
        .events(after, 0, KeyRange::all())
        .map(|event| event.expect("an event"));
    events
        .map(|event| (event.kv.mod_revision, (event.kind, event.kv.key.to_vec())))
        .collect()
}

/// The member in use, of three, is killed and restarted while a client writes, watches and keeps a
/// lease alive. No acknowledged write is lost, each event comes once, and the lease survives.
#[test]
fn endpoint_in_use_is_killed() {
    let _deadline = deadline();
    let Some(program) = etcd() else { return };
    let seed = seed();
    let mut dice = Dice(seed);
    let mut members = Etcd::start_with(&program, "killed", 3, &[]);
    let db = open(&members);
    let urls: Vec<String> = (0..3).map(|number| members.member_url(number)).collect();
    let member_id = |url: &String| {
        let db = libkv_etcd::open(url, Options::new()).expect("a member");
        db.status().expect("status").store_id
    };
    let ids: Vec<String> = urls.iter().map(member_id).collect();
    let after = db.snapshot().expect("a snapshot").revision();
    let watcher = db.watch(Watch::new(KeyRange::all())).expect("a watcher");
    let lease = db.lease(5).expect("a lease");
    db.put(Put::new("leased", "").lease(lease.id()))
        .expect("put");
    let ended = Arc::new(AtomicBool::new(false));
    let follower = thread::spawn({
        let ended = ended.clone();
        move || follow(watcher, ended, b"end".to_vec())
    });
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let writes_continue = || {
        let before = acknowledged.load(Ordering::SeqCst);
        until("writes continue", || {
            acknowledged.load(Ordering::SeqCst) > before + 20
        });
    };
    let writer = thread::spawn({
        let (db, ended, acknowledged) = (db.clone(), ended.clone(), acknowledged.clone());
        move || write_until(&db, &ended, &acknowledged)
    });
    for round in 0..4 {
        let current = db.status().expect("a member responds").store_id;
        let number = ids.iter().position(|id| *id == current).expect("a member");
        println!("round {round}: member {number} is killed");
        members.kill(number);
        until("another member is in use", || {
            db.status().is_ok_and(|status| status.store_id != current)
        });
        // sometimes the member restarts before another leader is elected
        if dice.below(2) == 0 {
            writes_continue();
        }
        members.restart(number);
        until("the member responds again", || is_well(&urls[number]));
        writes_continue();
    }
    ended.store(true, Ordering::SeqCst);
    let (written, unknown) = writer.join().expect("no panic");
    println!(
        "{} writes acknowledged, {unknown} with an unknown outcome",
        written.len()
    );
    until("the end is written", || db.put(Put::new("end", "")).is_ok());
    let seen = follower.join().expect("no panic");
    let last = *seen.last_key_value().expect("events").0;
    let mut recorded = record(&db, after);
    recorded.retain(|revision, _| *revision <= last);
    assert_eq!(seen, recorded);
    for (key, revision) in written {
        assert_eq!(
            seen.get(&revision),
            Some(&(EventKind::Put, key.into_bytes()))
        );
    }
    assert!(!lease.lost() && db.get("leased").expect("get").is_some());
    lease.close().expect("revoked");
    assert!(db.get("leased").expect("get").is_none());
}

/// Puts keys one after the other. Returns those that were acknowledged, with their revisions, and
/// the number of unknown outcomes.
fn write_until(
    db: &Db,
    ended: &AtomicBool,
    acknowledged: &AtomicUsize,
) -> (Vec<(String, Revision)>, usize) {
    let (mut written, mut unknown) = (Vec::new(), 0);
    for n in 0.. {
        if ended.load(Ordering::SeqCst) {
            break;
        }
        let key = format!("k/{n}");
        match db.put(Put::new(key.as_str(), "v")) {
            Ok(put) => {
                written.push((key, put.revision));
                acknowledged.fetch_add(1, Ordering::SeqCst);
            }
            Err(error) => {
                assert_eq!(error.code(), Code::UnknownOutcome, "{error}");
                unknown += 1;
            }
        }
    }
    (written, unknown)
}

/// Connections are cut at random while watchers run: every revision comes once.
fn cut_at_random(port: u16, direct: &Db) {
    let mut dice = Dice(seed());
    let proxy = Proxy::start(port);
    let db = libkv_etcd::open(proxy.url(), Options::new()).expect("a cluster");
    let after = direct.snapshot().expect("a snapshot").revision();
    let ended = Arc::new(AtomicBool::new(false));
    let followers: Vec<_> = (0..4)
        .map(|_| {
            let (watcher, ended) = (
                db.watch(Watch::new(KeyRange::all())).expect("a watcher"),
                ended.clone(),
            );
            thread::spawn(move || follow(watcher, ended, b"end".to_vec()))
        })
        .collect();
    let writer = thread::spawn({
        let (direct, ended) = (direct.clone(), ended.clone());
        move || write_until(&direct, &ended, &AtomicUsize::new(0))
    });
    // the number of reconnections in this time depends on the machine
    let (mut cuts, limit) = (0, Instant::now() + WAIT_LIMIT);
    while (cuts < 40 || proxy.accepted() <= 10) && Instant::now() < limit {
        thread::sleep(Duration::from_millis(dice.below(120)));
        proxy.cut();
        cuts += 1;
    }
    ended.store(true, Ordering::SeqCst);
    let (written, _) = writer.join().expect("no panic");
    direct.put(Put::new("end", "")).expect("put");
    let recorded = record(direct, after);
    assert_eq!(recorded.len(), written.len() + 1);
    for follower in followers {
        assert_eq!(follower.join().expect("no panic"), recorded);
    }
    assert!(proxy.accepted() > 10, "{} connections", proxy.accepted());
}

#[test]
fn connections_to_a_real_etcd_are_cut() {
    let _deadline = deadline();
    let Some(program) = etcd() else { return };
    let members = Etcd::start(&program, "cut");
    cut_at_random(members.port(0), &open(&members));
}

#[test]
fn connections_to_a_server_of_ours_are_cut() {
    let _deadline = deadline();
    let store = in_memory();
    let server = libkv_etcd::serve(&store, "127.0.0.1:0").expect("a server");
    cut_at_random(port(&server), &store);
}

/// If the position of a disconnected watcher is compacted, the watcher returns `compacted` with
/// the revision.
#[test]
fn watch_that_was_compacted_while_disconnected() {
    let _deadline = deadline();
    let store = in_memory();
    let server = libkv_etcd::serve(&store, "127.0.0.1:0").expect("a server");
    let address = server.address().to_string();
    let db = libkv_etcd::open(&address, Options::new()).expect("a cluster");
    let watcher = db.watch(Watch::new("a")).expect("a watcher");
    server.close();
    drop(server);
    for n in 0..5 {
        store.put(Put::new("a", n.to_string())).expect("put");
    }
    store
        .compact(Compact::new(4).physical(true))
        .expect("compacted");
    let _server = libkv_etcd::serve(&store, address.strip_prefix("http://").expect("plain"))
        .expect("the port again");
    let error = watcher
        .next(WAIT_LIMIT)
        .expect_err("it has missed an event");
    assert_eq!((error.code(), error.revision()), (Code::Compacted, Some(4)));
    let next = db
        .watch(Watch::new("a").start_revision(4))
        .expect("a watcher");
    assert_eq!(
        next.next(WAIT_LIMIT)
            .expect("an event")
            .map(|batch| batch.revision),
        Some(4)
    );
}

/// A watcher of a quiet key continues after a restart although a compaction has passed the revision
/// of its start.
fn quiet_watcher_continues(db: &Db, direct: impl Fn() -> Db, restart: impl FnOnce()) {
    let watcher = db.watch(Watch::new("quiet")).expect("a watcher");
    let store = direct();
    let written = (0..20)
        .map(|n| {
            store
                .put(Put::new("loud", n.to_string()))
                .expect("put")
                .revision
        })
        .max();
    let written = written.expect("some");
    until("the watcher gets a progress report", || {
        assert_eq!(watcher.try_next().expect("no end"), None);
        watcher.resume_revision() > written
    });
    store
        .compact(Compact::new(written).physical(true))
        .expect("compacted");
    drop(store);
    restart();
    let put = direct().put(Put::new("quiet", "1")).expect("put").revision;
    let batch = watcher
        .next(WAIT_LIMIT)
        .expect("no missed event")
        .expect("in time");
    assert_eq!(batch.revision, put);
}

/// The version of the server at this address.
fn version(address: &str) -> String {
    let mut stream = std::net::TcpStream::connect(address).expect("it listens");
    std::io::Write::write_all(
        &mut stream,
        b"GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    )
    .expect("sent");
    let mut response = String::new();
    std::io::Read::read_to_string(&mut stream, &mut response).expect("a response");
    let version = response
        .split("\"etcdserver\":\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    version
        .unwrap_or_else(|| panic!("no version in {response}"))
        .to_string()
}

#[test]
fn watcher_without_events_asks_for_progress() {
    let _deadline = deadline();
    let store = in_memory();
    let server = libkv_etcd::serve(&store, "127.0.0.1:0").expect("a server");
    let address = server
        .address()
        .strip_prefix("http://")
        .expect("plain")
        .to_string();
    let version = version(&address);
    if version == "3.5.1" {
        println!("not run: a server of version {version} gets no progress requests");
        return;
    }
    // it requests progress after a third of this time without a message
    let options = Options::new().keep_alive_ms(300);
    let db = libkv_etcd::open(format!("http://{address}"), options).expect("a cluster");
    let mut again = None;
    quiet_watcher_continues(
        &db,
        || store.clone(),
        || {
            drop(server);
            again = Some(libkv_etcd::serve(&store, address.as_str()).expect("the port again"));
        },
    );
    drop(again);
}

#[test]
fn watcher_of_an_old_etcd_waits_for_its_progress_reports() {
    let _deadline = deadline();
    let Some(program) = etcd() else { return };
    let flags = ["--experimental-watch-progress-notify-interval", "200ms"];
    let mut members = Etcd::start_unready(&program, "quiet", 1, "http", &flags);
    let url = members.member_url(0);
    until("etcd responds", || is_well(&url));
    let open = || libkv_etcd::open(&url, Options::new()).expect("a cluster");
    let db = open();
    quiet_watcher_continues(&db, open, || {
        members.kill(0);
        members.restart(0);
        until("etcd responds again", || is_well(&url));
    });
}

#[test]
fn watch_that_no_endpoint_creates_returns_the_reason() {
    let _deadline = deadline();
    let Some(program) = etcd() else { return };
    let mut members = Etcd::start_with(&program, "leaderless", 3, &[]);
    let url = members.member_url(0);
    // a single member of three has no leader, and refuses every watch for that reason
    members.kill(1);
    members.kill(2);
    let options = Options::new().request_timeout_ms(1_500);
    let mut message = String::new();
    until("the member has no leader", || {
        let db = libkv_etcd::open(&url, options.clone()).expect("the member responds");
        let made = db.watch(Watch::new("a")).map(drop);
        message = made
            .err()
            .map(|error| format!("{} {}", error.code(), error.message()))
            .unwrap_or_default();
        message.starts_with("timeout")
    });
    assert!(
        message.contains(&url) && message.contains("no leader"),
        "{message}"
    );
}
