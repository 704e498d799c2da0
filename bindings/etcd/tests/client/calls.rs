//! Every call of a handle: the same program on a store in memory, on a real etcd and on a server of
//! ours, which must say the same.

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
use libkv_test_support::deadline::{PATIENCE, deadline, until};
use libkv_test_support::etcd::Etcd;

/// What a program saw, line by line.
#[derive(Default)]
struct Seen(Vec<String>);

impl Seen {
    fn say(&mut self, what: impl Debug) {
        self.0.push(format!("{what:?}"));
    }

    fn error<T: Debug>(&mut self, response: Result<T>) {
        let error = response.expect_err("it is refused");
        self.say((error.code(), error.summary(), error.revision()));
        self.say((error.etcd_text(), error.lease(), error.key()));
    }
}

fn tour(db: &Db) -> Seen {
    let mut seen = Seen::default();
    reads_and_writes(db, &mut seen).expect("no call fails");
    watching(db, &mut seen).expect("no call fails");
    leases(db, &mut seen).expect("no call fails");
    the_past(db, &mut seen).expect("no call fails");
    seen
}

fn reads_and_writes(db: &Db, seen: &mut Seen) -> Result<()> {
    seen.say(db.put(Put::new("a", "1"))?);
    seen.say(db.put(Put::new("a", "2").prev_kv(true))?);
    for n in 0..250 {
        db.put(Put::new(format!("many/{n:03}"), n.to_string()))?;
    }
    seen.say(db.get("a")?);
    seen.say(db.get_at("a", 2)?);
    seen.say(db.get("none")?);
    let mut buffer = [0; 3];
    seen.say((db.get_into("a", &mut buffer)?, buffer));
    seen.say(db.get_into("many/200", &mut [])?);
    let many = Range::new(KeyRange::prefix("many/"));
    seen.say(
        db.range(
            many.clone()
                .limit(2)
                .sort(SortTarget::Mod, SortOrder::Descend),
        )?,
    );
    let mut pairs = 0;
    seen.say((db.range_each(&many, |_| pairs += 1)?, pairs));
    let scanned: Vec<KeyValue> = db.scan(many.clone())?.collect::<Result<_>>()?;
    seen.say((scanned.len(), scanned.last().map(|kv| kv.key.clone())));
    let snapshot = db.snapshot()?;
    db.put(Put::new("a", "3"))?;
    seen.say((snapshot.get("a")?, snapshot.revision()));
    seen.say(db.snapshot_at(2)?.get("a")?);
    seen.say(
        db.delete(Delete::new(KeyRange::prefix("many/01")).prev_kv(true))?
            .deleted,
    );
    let equal = Compare::value("a", CompareResult::Equal, "3");
    seen.say(
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
    seen.say(counted);
    seen.error(db.put(Put::new("", "")));
    seen.error(db.put(Put::new("none", "").ignore_value(true)));
    seen.error(db.put(Put::new("a", "").lease(77)));
    seen.error(db.get_at("a", 9_999));
    seen.error(
        db.txn(
            Txn::new()
                .and_then(Put::new("d", ""))
                .and_then(Put::new("d", "")),
        ),
    );
    seen.say(db.call_unless(Range::new("b"), &|| false)?);
    let (tell, told) = channel();
    let submitted: Vec<Submission> = (0..40)
        .map(|n| {
            let (tell, db) = (tell.clone(), db.clone());
            // it calls libkv, and waits for the answer
            db.clone()
                .submit(Put::new(format!("s/{n:02}"), ""), move |response| {
                    let read = db.get(format!("s/{n:02}"));
                    let _ = tell.send((n, response.is_ok(), read.is_ok_and(|kv| kv.is_some())));
                })
        })
        .collect();
    let mut told: Vec<_> = (0..40)
        .map(|_| told.recv_timeout(PATIENCE).expect("each is completed"))
        .collect();
    told.sort_unstable();
    seen.say(told);
    seen.say(
        submitted
            .into_iter()
            .map(Submission::cancel)
            .collect::<Vec<_>>(),
    );
    let (tell, told) = channel();
    let again = tell.clone();
    db.submit_all(vec![
        (
            Put::new("together", "1").into(),
            Box::new(move |response| sent(tell.send(response.is_ok()))),
        ),
        (
            Range::new("").into(),
            Box::new(move |response| sent(again.send(response.is_err()))),
        ),
    ]);
    seen.say((told.recv_timeout(PATIENCE), told.recv_timeout(PATIENCE)));
    Ok(())
}

fn watching(db: &Db, seen: &mut Seen) -> Result<()> {
    let start = db.snapshot()?.revision();
    let live = db.watch(Watch::new(KeyRange::prefix("w/")).prev_kv(true))?;
    seen.say(live.resume_revision() - start);
    db.put(Put::new("w/1", "1"))?;
    db.txn(
        Txn::new()
            .and_then(Put::new("w/1", "2"))
            .and_then(Put::new("w/2", "1")),
    )?;
    db.delete(Delete::new(KeyRange::prefix("w/")))?;
    for _ in 0..3 {
        let batch = live.next(PATIENCE)?.expect("it happened");
        seen.say(
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
    seen.say((live.try_next()?, live.resume_revision() - start));
    // descriptor and waker
    let fd = live.fd()?;
    seen.say((fd >= 0, poll(fd)));
    db.put(Put::new("w/3", "1"))?;
    until("the descriptor is readable", || poll(fd));
    seen.say(live.next(PATIENCE)?.map(|batch| batch.events.len()));
    seen.say((live.try_next()?, poll(fd)));
    let mut stream = db.watch(Watch::new("w/4").start_revision(start + 1).no_delete(true))?;
    let writer = db.clone();
    let thread = std::thread::spawn(move || writer.put(Put::new("w/4", "1")));
    let item = block_on(poll_fn(|cx| {
        futures_core::Stream::poll_next(Pin::new(&mut stream), cx)
    }));
    seen.say(item.transpose()?.map(|batch| batch.events.len()));
    thread.join().expect("no panic")?;
    // the ends
    seen.error(db.watch(Watch::new(KeyRange::between("b", "a"))));
    let cancelled = db.watch(Watch::new("w/5"))?;
    cancelled.canceller().cancel();
    seen.error(cancelled.next(PATIENCE));
    let closed = db.watch(Watch::new("w/5"))?;
    closed.close();
    seen.error(closed.next(PATIENCE));
    Ok(())
}

/// Whether a descriptor is readable.
#[expect(
    deprecated,
    reason = "what must be used instead is unsafe, and the watcher outlives this"
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

fn leases(db: &Db, seen: &mut Seen) -> Result<()> {
    seen.say(db.lease_grant(LeaseGrant::new(60).id(5))?);
    seen.error(db.lease_grant(LeaseGrant::new(60).id(5)));
    seen.say(db.lease_keep_alive(5)?);
    seen.say(db.lease_keep_alive(6)?);
    db.put(Put::new("l/2", "").lease(5))?;
    db.put(Put::new("l/1", "").lease(5))?;
    let left = db.lease_time_to_live(LeaseTimeToLive::new(5).keys(true))?;
    seen.say((left.granted_ttl_seconds, left.ttl_seconds > 50, left.keys));
    seen.say(db.lease_time_to_live(LeaseTimeToLive::new(6).keys(true))?);
    seen.say(db.lease_list()?);
    seen.say(db.lease_revoke(5)?);
    seen.error(db.lease_revoke(5));
    let lease = db.lease(LeaseGrant::new(2).end_with_process(true))?;
    db.put(Put::new("l/3", "").lease(lease.id()))?;
    // it outlives its TTL twice, and is gone when it is closed
    std::thread::sleep(Duration::from_millis(4_500));
    seen.say((
        lease.ttl_seconds(),
        lease.lost(),
        db.get("l/3")?.is_some(),
        lease.remaining()? > 0,
    ));
    lease.close()?;
    seen.say(db.get("l/3")?);
    // its next renewal is far away, so that only the revocation can notify
    let lost = db.lease(600)?;
    let (tell, told) = channel();
    lost.on_lost(move || sent(tell.send(())));
    db.lease_revoke(lost.id())?;
    seen.say((told.recv_timeout(PATIENCE), lost.lost()));
    let (mut lock, mut other) = (db.lock("lock", 5)?, db.lock("lock", 5)?);
    lock.acquire(PATIENCE)?;
    seen.say(other.try_acquire()?);
    seen.say(
        other
            .acquire(Duration::from_millis(100))
            .map_err(|error| error.code()),
    );
    let revision = lock.revision();
    let waiting = std::thread::spawn(move || other.acquire(PATIENCE).map(|()| other.revision()));
    lock.release()?;
    seen.say(waiting.join().expect("no panic")? > revision);
    let mut election = db.election("election", 5)?;
    election.campaign("me", PATIENCE)?;
    election.proclaim("still me")?;
    seen.say(election.leader()?.map(|kv| kv.value));
    election.resign()?;
    seen.say(election.leader()?);
    Ok(())
}

fn the_past(db: &Db, seen: &mut Seen) -> Result<()> {
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
    seen.say(changes.iter().map(shape).collect::<Vec<_>>());
    let some: Vec<Event> = db
        .events(from + 1, upto - 2, KeyRange::prefix("p/"))
        .collect::<Result<_>>()?;
    seen.say(some.iter().map(shape).collect::<Vec<_>>());
    seen.say(db.events(upto, 0, KeyRange::all()).count());
    for key in ["p/1", "p/2", "p/3", "p/4"] {
        seen.say(db.history(key, 0)?.iter().map(shape).collect::<Vec<_>>());
    }
    seen.say(db.history("p/1", 2)?.len());
    for (a, b) in [(from, upto), (upto, from), (from + 2, from + 5)] {
        seen.say(
            db.diff(a, b, KeyRange::prefix("p/"))?
                .collect::<Result<Vec<_>>>()?,
        );
    }
    seen.say(db.diff(2, upto, KeyRange::all())?.count());
    seen.error(
        db.events(from, upto + 9, KeyRange::all())
            .collect::<Result<Vec<_>>>(),
    );
    seen.error(db.diff(from, upto + 9, KeyRange::all()));
    // what a compaction leaves
    seen.say(db.compact(Compact::new(from + 5).physical(true))?);
    seen.error(db.compact(from + 5));
    seen.error(db.compact(upto + 9));
    seen.error(db.get_at("p/1", from + 4));
    seen.error(db.watch(Watch::new("p/1").start_revision(from + 4)));
    seen.error(db.watch(Watch::new("p/1").start_revision(-1)));
    seen.error(
        db.events(from + 4, 0, KeyRange::all())
            .collect::<Result<Vec<_>>>(),
    );
    seen.error(db.txn(Txn::new().and_then(Range::new("p/1").revision(from + 4))));
    for key in ["p/1", "p/2", "a"] {
        seen.say(db.history(key, 0)?.iter().map(shape).collect::<Vec<_>>());
    }
    let rest: Vec<Event> = db
        .events(from + 5, 0, KeyRange::all())
        .collect::<Result<_>>()?;
    seen.say(rest.iter().map(shape).collect::<Vec<_>>());
    let status = db.status()?;
    seen.say((
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

/// A test that has failed listens no more.
fn sent<T>(told: std::result::Result<(), std::sync::mpsc::SendError<T>>) {
    let _ = told;
}

/// Both say the same, line by line.
fn agree(is: Seen, should: Seen) {
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
    db.txn(deep(45)).expect("as deep as may be");
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
            .next(PATIENCE)
            .map(drop)
            .map_err(|error| error.code())
    });
    waiting.wait();
    db.close();
    db.close();
    assert_eq!(thread.join().expect("no panic"), Err(Code::Closed));
    assert_eq!(
        watcher.next(PATIENCE).map_err(|error| error.code()),
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
    let (tell, told) = channel();
    assert!(
        !db.submit(Range::new("a"), move |response| sent(
            tell.send(response.is_err())
        ))
        .cancel()
    );
    assert_eq!(told.recv_timeout(PATIENCE), Ok(true));
    // what it kept alive is given back
    until("the lease is revoked", || {
        store.lease_list().is_ok_and(|leases| leases.is_empty())
    });
    drop((watcher, lease, db));
}

/// Programs in async code call a handle as well: it must not matter which runtime they have.
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
                    .next(PATIENCE)
                    .expect("an event")
                    .is_some()
            );
        });
    }
}

/// A watcher that nobody reads holds little, and misses nothing when it is read at last.
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
            // one that is slow has its pauses, others are not held up by it
            assert_eq!(
                slow.next(PATIENCE)
                    .expect("an event")
                    .map(|batch| batch.revision),
                Some(first + n / 10 - 1)
            );
            assert!(db.get("k").expect("get").is_some());
        }
    }
    // longer than a stream is left unread
    std::thread::sleep(Duration::from_millis(1_500));
    for (watcher, from) in [(late, 0), (slow, 9)] {
        for n in from..EVENTS {
            let batch = watcher
                .next(PATIENCE)
                .expect("an event")
                .expect("not too late");
            assert_eq!((batch.revision, batch.events.len()), (first + n, 1));
        }
    }
}
