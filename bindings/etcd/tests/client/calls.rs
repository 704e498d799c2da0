//! Every call of a handle. The same program runs on a store in memory, on a real etcd and on our
//! server, and must have the same results.

use std::fmt::Debug;
use std::future::{Future, poll_fn};
use std::os::fd::RawFd;
use std::pin::Pin;
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use libkv::engine::Submission;
use libkv::*;
use libkv_etcd::Serve;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::{etcd, open, scratch};
use libkv_test_support::deadline::{WAIT_LIMIT, deadline, until};
use libkv_test_support::etcd::Etcd;

/// The results of a program, one per line.
#[derive(Default)]
struct Log(Vec<String>);

impl Log {
    fn add(&mut self, what: impl Debug) {
        self.0.push(format!("{what:?}"));
    }

    fn error<T: Debug>(&mut self, response: Result<T>) {
        let error = response.expect_err("it is refused");
        self.add((error.code(), error.summary(), error.revision()));
        self.add((error.etcd_text(), error.lease(), error.key()));
    }
}

fn tour(db: &Db) -> Log {
    let mut log = Log::default();
    reads_and_writes(db, &mut log).expect("no call fails");
    watching(db, &mut log).expect("no call fails");
    leases(db, &mut log).expect("no call fails");
    the_past(db, &mut log).expect("no call fails");
    log
}

fn reads_and_writes(db: &Db, log: &mut Log) -> Result<()> {
    log.add(db.put(Put::new("a", "1"))?);
    log.add(db.put(Put::new("a", "2").prev_kv(true))?);
    for n in 0..250 {
        db.put(Put::new(format!("many/{n:03}"), n.to_string()))?;
    }
    log.add(db.get("a")?);
    log.add(db.get_at("a", 2)?);
    log.add(db.get("none")?);
    let mut buffer = [0; 3];
    log.add((db.get_into("a", &mut buffer)?, buffer));
    log.add(db.get_into("many/200", &mut [])?);
    let many = Range::new(KeyRange::prefix("many/"));
    log.add(
        db.range(
            many.clone()
                .limit(2)
                .sort(SortTarget::Mod, SortOrder::Descend),
        )?,
    );
    let mut pairs = 0;
    log.add((db.range_each(&many, |_| pairs += 1)?, pairs));
    let scanned: Vec<KeyValue> = db.scan(many.clone())?.collect::<Result<_>>()?;
    log.add((scanned.len(), scanned.last().map(|kv| kv.key.clone())));
    let snapshot = db.snapshot()?;
    db.put(Put::new("a", "3"))?;
    log.add((snapshot.get("a")?, snapshot.revision()));
    log.add(db.snapshot_at(2)?.get("a")?);
    log.add(
        db.delete(Delete::new(KeyRange::prefix("many/01")).prev_kv(true))?
            .deleted,
    );
    let equal = Compare::value("a", CompareResult::Equal, "3");
    log.add(
        db.txn(
            Txn::new()
                .when(equal)
                .and_then(Put::new("b", "1"))
                .and_then(Range::new("a")),
        )?,
    );
    let counted = db.transact(TRANSACT_RETRIES, |t| {
        let count = t.get("count")?.map_or(0, |kv| kv.value.len());
        t.put(Put::new("count", "x".repeat(count + 1)))?;
        Ok(count)
    })?;
    log.add(counted);
    log.error(db.put(Put::new("", "")));
    log.error(db.put(Put::new("none", "").ignore_value(true)));
    log.error(db.put(Put::new("a", "").lease(77)));
    log.error(db.get_at("a", 9_999));
    log.error(
        db.txn(
            Txn::new()
                .and_then(Put::new("d", ""))
                .and_then(Put::new("d", "")),
        ),
    );
    log.add(db.call_unless(Range::new("b"), &|| false)?);
    let (sender, receiver) = channel();
    let submitted: Vec<Submission> = (0..40)
        .map(|n| {
            let (sender, db) = (sender.clone(), db.clone());
            // the completion calls libkv and waits for the response
            db.clone()
                .submit(Put::new(format!("s/{n:02}"), ""), move |response| {
                    let read = db.get(format!("s/{n:02}"));
                    let _ = sender.send((n, response.is_ok(), read.is_ok_and(|kv| kv.is_some())));
                })
        })
        .collect();
    let mut completed: Vec<_> = (0..40)
        .map(|_| {
            receiver
                .recv_timeout(WAIT_LIMIT)
                .expect("each is completed")
        })
        .collect();
    completed.sort_unstable();
    log.add(completed);
    log.add(
        submitted
            .into_iter()
            .map(Submission::cancel)
            .collect::<Vec<_>>(),
    );
    let (sender, receiver) = channel();
    let again = sender.clone();
    db.submit_all(vec![
        (
            Put::new("together", "1").into(),
            Box::new(move |response| sent(sender.send(response.is_ok()))),
        ),
        (
            Range::new("").into(),
            Box::new(move |response| sent(again.send(response.is_err()))),
        ),
    ]);
    log.add((
        receiver.recv_timeout(WAIT_LIMIT),
        receiver.recv_timeout(WAIT_LIMIT),
    ));
    Ok(())
}

fn watching(db: &Db, log: &mut Log) -> Result<()> {
    let start = db.snapshot()?.revision();
    let live = db.watch(Watch::new(KeyRange::prefix("w/")).prev_kv(true))?;
    log.add(live.resume_revision() - start);
    db.put(Put::new("w/1", "1"))?;
    db.txn(
        Txn::new()
            .and_then(Put::new("w/1", "2"))
            .and_then(Put::new("w/2", "1")),
    )?;
    db.delete(Delete::new(KeyRange::prefix("w/")))?;
    for _ in 0..3 {
        let batch = live.next(WAIT_LIMIT)?.expect("an event");
        log.add(
            batch
                .events
                .iter()
                .map(|e| {
                    (
                        e.kind,
                        e.kv.key.clone(),
                        e.prev_kv.clone().map(|kv| kv.value),
                    )
                })
                .collect::<Vec<_>>(),
        );
    }
    log.add((live.try_next()?, live.resume_revision() - start));
    // descriptor and waker
    let fd = live.fd()?;
    log.add((fd >= 0, poll(fd)));
    db.put(Put::new("w/3", "1"))?;
    until("the descriptor is readable", || poll(fd));
    log.add(live.next(WAIT_LIMIT)?.map(|batch| batch.events.len()));
    log.add((live.try_next()?, poll(fd)));
    let mut stream = db.watch(Watch::new("w/4").start_revision(start + 1).no_delete(true))?;
    let writer = db.clone();
    let thread = std::thread::spawn(move || writer.put(Put::new("w/4", "1")));
    let item = block_on(poll_fn(|cx| {
        futures_core::Stream::poll_next(Pin::new(&mut stream), cx)
    }));
    log.add(item.transpose()?.map(|batch| batch.events.len()));
    thread.join().expect("no panic")?;
    // watchers that end
    log.error(db.watch(Watch::new(KeyRange::between("b", "a"))));
    let cancelled = db.watch(Watch::new("w/5"))?;
    cancelled.canceller().cancel();
    log.error(cancelled.next(WAIT_LIMIT));
    let closed = db.watch(Watch::new("w/5"))?;
    closed.close();
    log.error(closed.next(WAIT_LIMIT));
    Ok(())
}

/// Whether a descriptor is readable.
#[expect(
    deprecated,
    reason = "its replacement is unsafe; the watcher outlives this call"
)]
fn poll(fd: RawFd) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let fd = AsyncFd::with_interest(fd, Interest::READABLE)
            .expect("a descriptor that can be polled");
        tokio::time::timeout(Duration::from_millis(20), fd.readable())
            .await
            .is_ok()
    })
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    runtime.block_on(future)
}

fn leases(db: &Db, log: &mut Log) -> Result<()> {
    log.add(db.lease_grant(LeaseGrant::new(60).id(5))?);
    log.error(db.lease_grant(LeaseGrant::new(60).id(5)));
    log.add(db.lease_keep_alive(5)?);
    log.add(db.lease_keep_alive(6)?);
    db.put(Put::new("l/2", "").lease(5))?;
    db.put(Put::new("l/1", "").lease(5))?;
    let left = db.lease_time_to_live(LeaseTimeToLive::new(5).keys(true))?;
    log.add((left.granted_ttl_seconds, left.ttl_seconds > 50, left.keys));
    log.add(db.lease_time_to_live(LeaseTimeToLive::new(6).keys(true))?);
    log.add(db.lease_list()?);
    log.add(db.lease_revoke(5)?);
    log.error(db.lease_revoke(5));
    let lease = db.lease(LeaseGrant::new(2).end_with_process(true))?;
    db.put(Put::new("l/3", "").lease(lease.id()))?;
    // the lease is kept alive for twice its TTL; closing it deletes the key
    std::thread::sleep(Duration::from_millis(4_500));
    log.add((
        lease.ttl_seconds(),
        lease.lost(),
        db.get("l/3")?.is_some(),
        lease.remaining()? > 0,
    ));
    lease.close()?;
    log.add(db.get("l/3")?);
    // the next renewal is far away, so that only the revocation can notify
    let lost = db.lease(600)?;
    let (sender, receiver) = channel();
    lost.on_lost(move || sent(sender.send(())));
    db.lease_revoke(lost.id())?;
    log.add((receiver.recv_timeout(WAIT_LIMIT), lost.lost()));
    let (mut lock, mut other) = (db.lock("lock", 5)?, db.lock("lock", 5)?);
    lock.acquire(WAIT_LIMIT)?;
    log.add(other.try_acquire()?);
    log.add(
        other
            .acquire(Duration::from_millis(100))
            .map_err(|error| error.code()),
    );
    let revision = lock.revision();
    let waiting = std::thread::spawn(move || other.acquire(WAIT_LIMIT).map(|()| other.revision()));
    lock.release()?;
    log.add(waiting.join().expect("no panic")? > revision);
    let mut election = db.election("election", 5)?;
    election.campaign("me", WAIT_LIMIT)?;
    election.proclaim("still me")?;
    log.add(election.leader()?.map(|kv| kv.value));
    election.resign()?;
    log.add(election.leader()?);
    Ok(())
}

fn the_past(db: &Db, log: &mut Log) -> Result<()> {
    let from = db.snapshot()?.revision();
    db.put(Put::new("p/1", "1"))?;
    db.put(Put::new("p/2", "1"))?;
    db.put(Put::new("elsewhere", "1"))?;
    db.delete(Delete::new("p/1"))?;
    db.put(Put::new("p/1", "2"))?;
    db.txn(
        Txn::new()
            .and_then(Put::new("p/3", "1"))
            .and_then(Delete::new("p/2")),
    )?;
    db.delete(Delete::new("p/3"))?;
    let upto = db.put(Put::new("elsewhere", "2"))?.revision;
    let shape = |event: &Event| {
        (
            event.kind,
            event.kv.key.clone(),
            event.kv.value.clone(),
            event.kv.mod_revision,
        )
    };
    let changes: Vec<Event> = db
        .events(from, 0, KeyRange::prefix("p/"))
        .collect::<Result<_>>()?;
    log.add(changes.iter().map(shape).collect::<Vec<_>>());
    let some: Vec<Event> = db
        .events(from + 1, upto - 2, KeyRange::prefix("p/"))
        .collect::<Result<_>>()?;
    log.add(some.iter().map(shape).collect::<Vec<_>>());
    log.add(db.events(upto, 0, KeyRange::all()).count());
    for key in ["p/1", "p/2", "p/3", "p/4"] {
        log.add(db.history(key, 0)?.iter().map(shape).collect::<Vec<_>>());
    }
    log.add(db.history("p/1", 2)?.len());
    for (a, b) in [(from, upto), (upto, from), (from + 2, from + 5)] {
        log.add(
            db.diff(a, b, KeyRange::prefix("p/"))?
                .collect::<Result<Vec<_>>>()?,
        );
    }
    log.add(db.diff(2, upto, KeyRange::all())?.count());
    log.error(
        db.events(from, upto + 9, KeyRange::all())
            .collect::<Result<Vec<_>>>(),
    );
    log.error(db.diff(from, upto + 9, KeyRange::all()));
    // after a compaction
    log.add(db.compact(Compact::new(from + 5).physical(true))?);
    log.error(db.compact(from + 5));
    log.error(db.compact(upto + 9));
    log.error(db.get_at("p/1", from + 4));
    log.error(db.watch(Watch::new("p/1").start_revision(from + 4)));
    log.error(db.watch(Watch::new("p/1").start_revision(-1)));
    log.error(
        db.events(from + 4, 0, KeyRange::all())
            .collect::<Result<Vec<_>>>(),
    );
    log.error(db.txn(Txn::new().and_then(Range::new("p/1").revision(from + 4))));
    for key in ["p/1", "p/2", "a"] {
        log.add(db.history(key, 0)?.iter().map(shape).collect::<Vec<_>>());
    }
    let rest: Vec<Event> = db
        .events(from + 5, 0, KeyRange::all())
        .collect::<Result<_>>()?;
    log.add(rest.iter().map(shape).collect::<Vec<_>>());
    let status = db.status()?;
    log.add((
        status.revision,
        status.compacted_revision,
        status.keys,
        status.leases,
        status.store_id.len(),
    ));
    Ok(())
}

fn in_memory() -> Db {
    Db::open(":memory:", Options::new().limits(LimitsPreset::Etcd)).expect("a store in memory")
}

/// Ignores the error of a send: a test that has failed no longer receives.
fn sent<T>(result: std::result::Result<(), std::sync::mpsc::SendError<T>>) {
    let _ = result;
}

/// Asserts that both results are the same, line by line.
fn agree(is: Log, should: Log) {
    for (at, (is, should)) in is.0.iter().zip(&should.0).enumerate() {
        assert_eq!(is, should, "line {at}");
    }
    assert_eq!(is.0.len(), should.0.len());
}

#[test]
fn calls_on_a_real_etcd() {
    let _deadline = deadline();
    let Some(program) = etcd() else { return };
    let members = Etcd::start(&program, "tour");
    agree(tour(&open(&members)), tour(&in_memory()));
}

#[test]
fn calls_on_our_server() {
    let _deadline = deadline();
    let folder = scratch("tour-served");
    let store = in_memory();
    let address = format!("unix://{}", folder.join("socket").display());
    let server = libkv_etcd::serve(&store, Serve::new("127.0.0.1:0").listen(address.clone()))
        .expect("a server");
    assert_eq!(server.addresses()[1], address);
    let db = libkv_etcd::open(&address, Options::new()).expect("a cluster");
    agree(tour(&db), tour(&in_memory()));
    assert!(db.is_remote() && !store.is_remote());
    assert_eq!(
        db.status().expect("status").store_id,
        store.status().expect("status").store_id
    );
    let _ = std::fs::remove_dir_all(folder);
}

#[test]
fn calls_that_a_cluster_does_not_support() {
    let _deadline = deadline();
    let store = in_memory();
    let server = libkv_etcd::serve(&store, "127.0.0.1:0").expect("a server");
    let db = libkv_etcd::open(server.address(), Options::new()).expect("a cluster");
    let code = |response: Result<()>| response.expect_err("it is refused").code();
    assert_eq!(code(db.check().map(drop)), Code::Unsupported);
    assert_eq!(
        code(db.revision_at(std::time::SystemTime::now()).map(drop)),
        Code::Unsupported
    );
    assert_eq!(
        code(
            db.side(Side::Get {
                name: b"n".to_vec()
            })
            .map(drop)
        ),
        Code::Unsupported
    );
    let deep = |depth: usize| (0..depth).fold(Txn::new(), |inner, _| Txn::new().and_then(inner));
    assert_eq!(code(db.txn(deep(300)).map(drop)), Code::TooManyOps);
    db.txn(deep(45))
        .expect("the greatest depth that is allowed");
}

#[test]
fn close_closes_what_was_made_from_the_handle() {
    let _deadline = deadline();
    let store = in_memory();
    let server = libkv_etcd::serve(&store, "127.0.0.1:0").expect("a server");
    let db = libkv_etcd::open(server.address(), Options::new()).expect("a cluster");
    db.put(Put::new("a", "1")).expect("put");
    let (watcher, mut scan, lease) = (
        db.watch(Watch::new("a")).expect("a watcher"),
        db.scan(Range::new("a")).expect("a scan"),
        db.lease(60).expect("a lease"),
    );
    db.put(Put::new("on lease", "").lease(lease.id()))
        .expect("put");
    let snapshot = db.snapshot().expect("a snapshot");
    let waiting = Arc::new(Barrier::new(2));
    let (begun, inside) = (
        waiting.clone(),
        db.watch(Watch::new("b")).expect("a watcher"),
    );
    let thread = std::thread::spawn(move || {
        begun.wait();
        inside
            .next(WAIT_LIMIT)
            .map(drop)
            .map_err(|error| error.code())
    });
    waiting.wait();
    db.close();
    db.close();
    assert_eq!(thread.join().expect("no panic"), Err(Code::Closed));
    assert_eq!(
        watcher.next(WAIT_LIMIT).map_err(|error| error.code()),
        Err(Code::Closed)
    );
    assert_eq!(
        scan.next().map(|item| item.map_err(|error| error.code())),
        Some(Err(Code::Closed))
    );
    assert_eq!(
        snapshot.get("a").map_err(|error| error.code()),
        Err(Code::Closed)
    );
    assert_eq!(
        db.put(Put::new("a", "2")).map_err(|error| error.code()),
        Err(Code::Closed)
    );
    let (sender, receiver) = channel();
    assert!(
        !db.submit(Range::new("a"), move |response| sent(
            sender.send(response.is_err())
        ))
        .cancel()
    );
    assert_eq!(receiver.recv_timeout(WAIT_LIMIT), Ok(true));
    // closing the handle revokes its leases
    until("the lease is revoked", || {
        store.lease_list().is_ok_and(|leases| leases.is_empty())
    });
    drop((watcher, lease, db));
}

/// Async code may call a handle too, in any kind of runtime.
#[test]
fn calls_from_inside_a_runtime() {
    let _deadline = deadline();
    let store = in_memory();
    let server = libkv_etcd::serve(&store, "127.0.0.1:0").expect("a server");
    for threads in [0, 2] {
        let mut builder = match threads {
            0 => tokio::runtime::Builder::new_current_thread(),
            _ => tokio::runtime::Builder::new_multi_thread(),
        };
        let runtime = builder.enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let db = libkv_etcd::open(server.address(), Options::new()).expect("a cluster");
            db.put(Put::new("a", "1")).expect("put");
            assert!(db.get("a").expect("get").is_some());
            assert!(
                db.watch(Watch::new("a").start_revision(1))
                    .expect("a watcher")
                    .next(WAIT_LIMIT)
                    .expect("an event")
                    .is_some()
            );
        });
    }
}

/// An unread watcher uses little memory, and delivers every event when it is read.
#[test]
fn watcher_that_is_read_late_misses_nothing() {
    let _deadline = deadline();
    let store = in_memory();
    let server = libkv_etcd::serve(&store, "127.0.0.1:0").expect("a server");
    let db = libkv_etcd::open(server.address(), Options::new()).expect("a cluster");
    let (late, slow) = (
        db.watch(Watch::new("k")).expect("a watcher"),
        db.watch(Watch::new("k")).expect("a watcher"),
    );
    let value = vec![b'x'; 256 << 10];
    let first = store.put(Put::new("k", &value[..])).expect("put").revision;
    const EVENTS: i64 = 100;
    for n in 1..EVENTS {
        store.put(Put::new("k", &value[..])).expect("put");
        if n % 10 == 0 {
            // the slow watcher is read between pauses; it does not delay other calls
            assert_eq!(
                slow.next(WAIT_LIMIT)
                    .expect("an event")
                    .map(|batch| batch.revision),
                Some(first + n / 10 - 1)
            );
            assert!(db.get("k").expect("get").is_some());
        }
    }
    // longer than a stream may stay unread
    std::thread::sleep(Duration::from_millis(1_500));
    for (watcher, from) in [(late, 0), (slow, 9)] {
        for n in from..EVENTS {
            let batch = watcher
                .next(WAIT_LIMIT)
                .expect("an event")
                .expect("in time");
            assert_eq!((batch.revision, batch.events.len()), (first + n, 1));
        }
    }
}
