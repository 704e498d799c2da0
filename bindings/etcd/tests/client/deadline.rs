//! A caller's time limit holds on a cluster that does not respond: no request outlives it.
//!
//! The limits of the handle itself are set to an hour here, so that no test can depend on them.

use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use libkv::*;

use crate::proxy::Proxy;
use libkv_test_support::deadline::{WAIT_LIMIT, deadline, until};

const LONG_MS: u64 = 3_600_000;
const SHORT: Duration = Duration::from_millis(300);

/// Our server, and a handle that reaches it through a proxy.
struct Cluster {
    store: Db,
    server: libkv_etcd::Server,
    proxy: Proxy,
    db: Db,
}

impl Cluster {
    fn new() -> Cluster {
        let options = Options::new().limits(LimitsPreset::Etcd);
        let store = Db::open(":memory:", options).expect("a store in memory");
        let server = libkv_etcd::serve(&store, "127.0.0.1:0").expect("a server");
        let port = server
            .address()
            .rsplit(':')
            .next()
            .and_then(|port| port.parse().ok())
            .expect("host and port");
        let proxy = Proxy::start(port);
        // no keep-alive probe ends a silent connection either
        let no_keep_alive = Options::new()
            .request_timeout_ms(LONG_MS)
            .keep_alive_ms(u64::MAX);
        let db = libkv_etcd::open(proxy.url(), no_keep_alive.connect_timeout_ms(LONG_MS))
            .expect("a cluster");
        Cluster {
            store,
            server,
            proxy,
            db,
        }
    }

    /// From now on the cluster does not respond. With `cut` the connection in use is closed, so
    /// that the client must first make a new one.
    fn fall_silent(&self, cut: bool) {
        self.proxy.set_silent(true);
        if cut {
            self.proxy.cut();
            // a read notices that the connection is lost; a write could still be sent over it
            let error = self
                .db
                .until(Instant::now() + SHORT)
                .get("a")
                .expect_err("silence");
            assert_eq!(error.code(), Code::Timeout, "{error}");
        }
    }
}

/// Runs `work` and returns its result. Panics if that takes longer than a test may wait.
fn in_time<T: Send + 'static>(what: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = channel();
    thread::spawn(move || drop(sender.send(work())));
    receiver
        .recv_timeout(WAIT_LIMIT)
        .unwrap_or_else(|_| panic!("{what}: not within {WAIT_LIMIT:?}"))
}

#[test]
fn lock_timeout_limits_each_request() {
    let _deadline = deadline();
    for cut in [false, true] {
        let cluster = Cluster::new();
        let mut lock = cluster.db.lock("free", 60).expect("a lock");
        cluster.fall_silent(cut);
        let error = in_time("acquire", move || lock.acquire(SHORT).expect_err("silence"));
        assert_eq!(error.code(), Code::Timeout, "{error}");
        assert!(
            error
                .message()
                .starts_with("free was not acquired within 300 ms (no response"),
            "{error}"
        );
    }
}

#[test]
fn lock_timeout_ends_a_wait_on_a_silent_cluster() {
    let _deadline = deadline();
    let cluster = Cluster::new();
    let mut holder = cluster.store.lock("held", 60).expect("a lock");
    holder.acquire(None).expect("the lock is free");
    let mut lock = cluster.db.lock("held", 60).expect("a lock");
    let waiting = thread::spawn(move || {
        lock.acquire(Duration::from_secs(2))
            .map_err(|error| error.code())
    });
    let in_line = || {
        cluster
            .store
            .range(Range::new(KeyRange::prefix("held/")))
            .expect("range")
            .count
    };
    until("the second key is in the queue", || in_line() == 2);
    cluster.fall_silent(false);
    let ended = in_time("acquire", move || waiting.join().expect("no panic"));
    assert_eq!(ended, Err(Code::Timeout));
}

#[test]
fn lock_timeout_leaves_the_queue_of_a_cluster_that_responds() {
    let _deadline = deadline();
    let cluster = Cluster::new();
    let mut holder = cluster.store.lock("held", 60).expect("a lock");
    holder.acquire(None).expect("the lock is free");
    let mut lock = cluster.db.lock("held", 60).expect("a lock");
    let error = lock.acquire(SHORT).expect_err("the lock is held");
    let held = format!(
        "held was not acquired within 300 ms; {} has it",
        holder.key().escape_ascii()
    );
    assert_eq!(
        (error.code(), error.message()),
        (Code::Timeout, held.as_str())
    );
    assert_eq!(
        cluster
            .store
            .range(Range::new(KeyRange::prefix("held/")))
            .expect("range")
            .count,
        1
    );
}

#[test]
fn lock_timeout_of_zero_takes_a_free_lock() {
    let _deadline = deadline();
    let cluster = Cluster::new();
    let mut lock = cluster.db.lock("free", 60).expect("a lock");
    lock.acquire(Duration::ZERO).expect("the lock is free");
    assert!(
        !cluster
            .db
            .lock("free", 60)
            .expect("a lock")
            .try_acquire()
            .expect("the cluster responds")
    );
}

#[test]
fn campaign_timeout_limits_each_request() {
    let _deadline = deadline();
    for cut in [false, true] {
        let cluster = Cluster::new();
        let mut election = cluster.db.election("e", 60).expect("an election");
        cluster.fall_silent(cut);
        let error = in_time("campaign", move || {
            election.campaign("me", SHORT).expect_err("silence")
        });
        assert_eq!(error.code(), Code::Timeout, "{error}");
    }
}

#[test]
fn leaders_timeout_limits_the_read_of_the_leader() {
    let _deadline = deadline();
    let cluster = Cluster::new();
    let mut leader = cluster.store.election("e", 60).expect("an election");
    leader.campaign("me", None).expect("no other candidate");
    let mut leaders = cluster
        .db
        .election("e", 60)
        .expect("an election")
        .observe()
        .expect("a watcher");
    cluster.fall_silent(false);
    let mut leaders = in_time("next", move || {
        assert_eq!(
            leaders
                .next(SHORT)
                .expect("having no leader is not an error"),
            None
        );
        leaders
    });
    cluster.proxy.set_silent(false);
    cluster.proxy.cut();
    let kv = in_time("next", move || {
        leaders
            .next(WAIT_LIMIT)
            .expect("the leader that was missed")
    });
    assert_eq!(kv.map(|kv| kv.value), Some("me".into()));
}

#[test]
fn deadline_of_a_call_is_timeout_or_unknown_outcome() {
    let _deadline = deadline();
    let cluster = Cluster::new();
    let limited = |cluster: &Cluster| cluster.db.until(Instant::now() + SHORT);
    let db = limited(&cluster);
    db.put(Put::new("a", "1")).expect("the cluster responds");
    drop(db);
    assert!(
        !cluster.db.is_closed(),
        "dropping a handle with a deadline leaves the others open"
    );
    cluster.fall_silent(false);
    let code = |what, work: fn(&Db) -> Result<()>| {
        let db = limited(&cluster);
        in_time(what, move || work(&db).expect_err("silence").code())
    };
    assert_eq!(code("get", |db| db.get("a").map(drop)), Code::Timeout);
    assert_eq!(
        code("watch", |db| db.watch(Watch::new("a")).map(drop)),
        Code::Timeout
    );
    assert_eq!(
        code("history", |db| db.history("a", 0).map(drop)),
        Code::Timeout
    );
    assert_eq!(code("status", |db| db.status().map(drop)), Code::Timeout);
    assert_eq!(
        code("keep alive", |db| db.lease_keep_alive(1).map(drop)),
        Code::Timeout
    );
    assert_eq!(
        code("put", |db| db.put(Put::new("a", "2")).map(drop)),
        Code::UnknownOutcome
    );
    assert_eq!(
        code("grant", |db| db.lease_grant(60).map(drop)),
        Code::UnknownOutcome
    );
    assert_eq!(
        code("revoke", |db| db.lease_revoke(1).map(drop)),
        Code::UnknownOutcome
    );
    let (sender, receiver) = channel();
    let _submitted = limited(&cluster).submit(Put::new("a", "3"), move |response| {
        drop(sender.send(response.map(drop)))
    });
    let response = receiver
        .recv_timeout(WAIT_LIMIT)
        .expect("the completion runs");
    assert_eq!(response.expect_err("silence").code(), Code::UnknownOutcome);
    // a write that cannot be sent has no unknown outcome
    cluster.fall_silent(true);
    assert_eq!(
        code("put", |db| db.put(Put::new("a", "4")).map(drop)),
        Code::Timeout
    );
    let (sender, receiver) = channel();
    let _submitted = limited(&cluster).submit(Put::new("a", "5"), move |response| {
        drop(sender.send(response.map(drop)))
    });
    let response = receiver
        .recv_timeout(WAIT_LIMIT)
        .expect("the completion runs");
    assert_eq!(response.expect_err("silence").code(), Code::Timeout);
}

#[test]
fn write_that_was_sent_can_be_interrupted() {
    let _deadline = deadline();
    let cluster = Cluster::new();
    cluster.fall_silent(false);
    let db = cluster.db.clone();
    let error = in_time("put", move || {
        db.call_unless(Put::new("a", "1"), &|| true)
            .expect_err("silence")
    });
    assert_eq!(error.code(), Code::UnknownOutcome, "{error}");
    assert!(
        error
            .message()
            .contains("interrupted before the response came"),
        "{error}"
    );
}

/// A lease that is granted after its caller stopped waiting is revoked at once, not only after its
/// TTL.
#[test]
fn lease_that_is_granted_too_late_is_revoked() {
    let _deadline = deadline();
    let cluster = Cluster::new();
    for limited in [true, false] {
        cluster.proxy.set_holds_responses(true);
        let db = cluster.db.clone();
        let code = in_time("grant", move || {
            let grant = LeaseGrant::new(3_600);
            let granted = match limited {
                true => db
                    .until(Instant::now() + SHORT)
                    .lease_grant(3_600)
                    .map(drop),
                false => db.call_unless(grant, &|| true).map(drop),
            };
            granted.expect_err("the response is held back").code()
        });
        assert_eq!(code, Code::UnknownOutcome);
        until("the lease is granted", || {
            cluster.store.lease_list().expect("leases").len() == 1
        });
        cluster.proxy.set_holds_responses(false);
        until("the lease is revoked", || {
            cluster.store.lease_list().expect("leases").is_empty()
        });
    }
    cluster.server.close();
}
