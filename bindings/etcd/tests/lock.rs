//! The services Lock and Election, contract 12, on our server and on a real etcd 3.5.1.

mod wire;

use libkv::Options;
use libkv_etcd::Serve;
use libkv_etcd::pb::etcdserverpb::RangeRequest;
use libkv_etcd::pb::etcdserverpb::lease_client::LeaseClient;
use libkv_etcd::pb::etcdserverpb::{LeaseRevokeRequest, LeaseTimeToLiveRequest};
use libkv_etcd::pb::v3electionpb::election_client::ElectionClient;
use libkv_etcd::pb::v3electionpb::*;
use libkv_etcd::pb::v3lockpb::lock_client::LockClient;
use libkv_etcd::pb::v3lockpb::{LockRequest, UnlockRequest};
use tokio::task::JoinHandle;
use tonic::transport::Channel;
use tonic::{Code, Status};

use self::wire::*;
use libkv_test_support::deadline::deadline;

/// Two clients of one server, each with its own connection.
struct Clients {
    one: Channel,
    two: Channel,
    url: String,
    ours: bool,
}

async fn lock(channel: &Channel, name: &str, lease: i64) -> Result<(i64, String), Status> {
    let response = LockClient::new(channel.clone())
        .lock(LockRequest {
            name: b(name),
            lease,
        })
        .await?
        .into_inner();
    let key = String::from_utf8(response.key.to_vec()).expect("text");
    Ok((response.header.expect("a header").revision, key))
}

async fn unlock(channel: &Channel, key: &str) -> Result<(), Status> {
    LockClient::new(channel.clone())
        .unlock(UnlockRequest { key: b(key) })
        .await
        .map(drop)
}

async fn revoke(channel: &Channel, id: i64) {
    LeaseClient::new(channel.clone())
        .lease_revoke(LeaseRevokeRequest { id })
        .await
        .expect("revoke");
}

/// Waits until `many` keys are in the queue of a name.
async fn queue_has(channel: &Channel, name: &str, many: i64) {
    let mut kv = Kv::new(channel);
    let range = RangeRequest {
        key: b(&format!("{name}/")),
        range_end: b(&format!("{name}0")),
        ..Default::default()
    };
    let waited = async {
        while kv
            .0
            .range(range.clone())
            .await
            .expect("range")
            .into_inner()
            .count
            != many
        {
            tokio::task::yield_now().await;
        }
    };
    soon(&format!("{many} keys in the queue of {name}"), waited).await;
}

/// Starts a call that waits. Returns when the queue has `many` keys.
async fn begin<T: Send + 'static>(
    channel: &Channel,
    name: &str,
    many: i64,
    what: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<T> {
    let task = tokio::spawn(what);
    queue_has(channel, name, many).await;
    task
}

async fn ended<T>(what: &str, task: JoinHandle<T>) -> T {
    soon(what, task).await.expect("no panic")
}

fn refused<T: std::fmt::Debug>(response: Result<T, Status>) -> (Code, String) {
    let status = response.expect_err("it is refused");
    (status.code(), status.message().to_string())
}

fn unknown(text: &str) -> (Code, String) {
    (Code::Unknown, text.to_string())
}

async fn lock_passes_to_the_next_waiter(clients: &Clients) {
    let (one, two) = (
        grant(&clients.one, 0x51, 60).await,
        grant(&clients.two, 0x52, 60).await,
    );
    let (revision, key) = lock(&clients.one, "l1", one).await.expect("free");
    assert_eq!(key, "l1/51");
    assert_eq!(
        Kv::new(&clients.one)
            .get(&key)
            .await
            .map(|kv| (kv.create_revision, kv.lease)),
        Some((revision, one))
    );
    // the holder acquires it again
    assert_eq!(
        lock(&clients.one, "l1", one)
            .await
            .expect("held by this lease")
            .1,
        key
    );
    let channel = clients.two.clone();
    let second = begin(&clients.two, "l1", 2, async move {
        lock(&channel, "l1", two).await
    })
    .await;
    // a third client cancels its request, and its key is deleted
    let three = grant(&clients.one, 0x53, 60).await;
    let channel = clients.one.clone();
    let third = begin(&clients.one, "l1", 3, async move {
        lock(&channel, "l1", three).await
    })
    .await;
    third.abort();
    queue_has(&clients.one, "l1", 2).await;
    assert!(!second.is_finished());
    unlock(&clients.one, &key).await.expect("unlock");
    let (_, key) = ended("the second client acquires", second)
        .await
        .expect("free");
    assert_eq!(key, "l1/52");
    unlock(&clients.two, &key).await.expect("unlock");
    unlock(&clients.two, &key)
        .await
        .expect("unlocking a free lock");
    for lease in [one, two, three] {
        revoke(&clients.one, lease).await;
    }
}

async fn lock_is_free_after_its_holders_lease_is_revoked(clients: &Clients) {
    let (one, two) = (
        grant(&clients.one, 0x54, 60).await,
        grant(&clients.two, 0x55, 60).await,
    );
    lock(&clients.one, "l2", one).await.expect("free");
    let channel = clients.two.clone();
    let second = begin(&clients.two, "l2", 2, async move {
        lock(&channel, "l2", two).await
    })
    .await;
    revoke(&clients.two, one).await;
    assert_eq!(
        ended("the second client acquires", second)
            .await
            .expect("free")
            .1,
        "l2/55"
    );
    revoke(&clients.two, two).await;
}

/// The key of a waiting client is deleted when its connection is cut.
async fn lock_queue_drops_a_client_that_disconnects(clients: &Clients) {
    let (one, two) = (
        grant(&clients.one, 0x56, 60).await,
        grant(&clients.one, 0x57, 60).await,
    );
    lock(&clients.one, "l3", one).await.expect("free");
    let runtime = runtime();
    let url = clients.url.clone();
    runtime.spawn(async move { lock(&connect(&url).await, "l3", two).await });
    queue_has(&clients.one, "l3", 2).await;
    runtime.shutdown_background();
    queue_has(&clients.one, "l3", 1).await;
    assert!(Kv::new(&clients.one).get("l3/56").await.is_some());
    revoke(&clients.one, one).await;
    revoke(&clients.one, two).await;
}

async fn lock_request_fails_when_its_lease_is_revoked(clients: &Clients) {
    let (one, two) = (
        grant(&clients.one, 0x58, 60).await,
        grant(&clients.two, 0x59, 60).await,
    );
    let (_, key) = lock(&clients.one, "l4", one).await.expect("free");
    let channel = clients.two.clone();
    let second = begin(&clients.two, "l4", 2, async move {
        lock(&channel, "l4", two).await
    })
    .await;
    revoke(&clients.one, two).await;
    if !clients.ours {
        // etcd checks the lease only when the lock is free
        unlock(&clients.one, &key).await.expect("unlock");
    }
    assert_eq!(
        refused(ended("a response", second).await),
        unknown("mutex: session is expired")
    );
    revoke(&clients.one, one).await;
}

async fn lock_refusals(clients: &Clients) {
    assert_eq!(
        refused(lock(&clients.one, "l5", 999).await),
        unknown("etcdserver: requested lease not found")
    );
    assert_eq!(
        refused(unlock(&clients.one, "").await),
        unknown("etcdserver: key is not provided")
    );
    // a request without a lease gets one of a minute
    let (_, key) = lock(&clients.one, "l5", 0).await.expect("free");
    let id = Kv::new(&clients.one)
        .get(&key)
        .await
        .expect("its key")
        .lease;
    assert_eq!(key, format!("l5/{id:x}"));
    let request = LeaseTimeToLiveRequest { id, keys: false };
    let lease = LeaseClient::new(clients.one.clone())
        .lease_time_to_live(request)
        .await
        .expect("a lease")
        .into_inner();
    assert_eq!(lease.granted_ttl, 60);
    revoke(&clients.one, id).await;
    // any int64 is a valid lease, and an empty name is valid
    let id = grant(&clients.one, -0x1f, 60).await;
    assert_eq!(lock(&clients.one, "", id).await.expect("free").1, "/-1f");
    revoke(&clients.one, id).await;
}

async fn campaign(
    channel: &Channel,
    name: &str,
    lease: i64,
    value: &str,
) -> Result<LeaderKey, Status> {
    let request = CampaignRequest {
        name: b(name),
        lease,
        value: b(value),
    };
    let response = ElectionClient::new(channel.clone())
        .campaign(request)
        .await?
        .into_inner();
    Ok(response.leader.expect("a leader"))
}

async fn proclaim(
    channel: &Channel,
    leader: Option<LeaderKey>,
    value: &str,
) -> Result<i64, Status> {
    let request = ProclaimRequest {
        leader,
        value: b(value),
    };
    let response = ElectionClient::new(channel.clone())
        .proclaim(request)
        .await?;
    Ok(response.into_inner().header.expect("a header").revision)
}

async fn resign(channel: &Channel, leader: Option<LeaderKey>) -> Result<(), Status> {
    ElectionClient::new(channel.clone())
        .resign(ResignRequest { leader })
        .await
        .map(drop)
}

/// Key and value of the leader.
async fn leader(channel: &Channel, name: &str) -> Result<(String, String), Status> {
    let response = ElectionClient::new(channel.clone())
        .leader(LeaderRequest { name: b(name) })
        .await?
        .into_inner();
    assert!(response.header.expect("a header").revision > 0);
    Ok(pair(response.kv))
}

fn pair(kv: Option<libkv_etcd::pb::mvccpb::KeyValue>) -> (String, String) {
    let kv = kv.expect("a pair");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&kv.key), text(&kv.value))
}

async fn election_leaders_follow_in_order(clients: &Clients) {
    let (one, two) = (
        grant(&clients.one, 0x61, 60).await,
        grant(&clients.two, 0x62, 60).await,
    );
    assert_eq!(
        refused(leader(&clients.one, "e1").await),
        unknown("election: no leader")
    );
    let mut observer = ElectionClient::new(clients.two.clone());
    let mut observed = {
        // etcd sends no headers before there is a leader
        let observing =
            tokio::spawn(async move { observer.observe(LeaderRequest { name: b("e1") }).await });
        let first = campaign(&clients.one, "e1", one, "a").await.expect("free");
        let put = Kv::new(&clients.one).get("e1/61").await.expect("its key");
        assert_eq!(
            (&first.name[..], &first.key[..], first.lease),
            (&b"e1"[..], &b"e1/61"[..], one)
        );
        assert_eq!(first.rev, put.create_revision);
        let channel = clients.two.clone();
        let second = begin(&clients.two, "e1", 2, async move {
            campaign(&channel, "e1", two, "b").await
        })
        .await;
        let mut observed = ended("a stream", observing)
            .await
            .expect("a stream")
            .into_inner();
        let mut next = async || {
            let response = soon("a leader", observed.message())
                .await
                .expect("no error")
                .expect("a response");
            (
                pair(response.kv),
                response.header.expect("a header").revision,
            )
        };
        assert_eq!(next().await.0, ("e1/61".into(), "a".into()));
        let revision = proclaim(&clients.one, Some(first.clone()), "a2")
            .await
            .expect("elected");
        assert_eq!(next().await, (("e1/61".into(), "a2".into()), revision));
        assert_eq!(
            leader(&clients.two, "e1").await.expect("a leader"),
            ("e1/61".into(), "a2".into())
        );
        resign(&clients.one, Some(first.clone()))
            .await
            .expect("resign");
        let second = ended("the second client acquires", second)
            .await
            .expect("elected");
        assert_eq!(next().await.0, ("e1/62".into(), "b".into()));
        // the former leader cannot proclaim; its resignation has no effect
        assert_eq!(
            refused(proclaim(&clients.one, Some(first.clone()), "c").await),
            unknown("election: not leader")
        );
        resign(&clients.one, Some(first)).await.expect("resign");
        assert_eq!(
            leader(&clients.two, "e1").await.expect("a leader").0,
            "e1/62"
        );
        // the leader campaigns again with another value: the value is proclaimed
        let again = campaign(&clients.two, "e1", two, "b2")
            .await
            .expect("elected");
        assert_eq!((again.rev, again.key), (second.rev, second.key));
        assert_eq!(next().await.0, ("e1/62".into(), "b2".into()));
        revoke(&clients.two, two).await;
        observed
    };
    // a new leader after a time without one
    let third = campaign(&clients.one, "e1", one, "d").await.expect("free");
    let response = soon("a leader", observed.message())
        .await
        .expect("no error")
        .expect("a response");
    assert_eq!(pair(response.kv), ("e1/61".into(), "d".into()));
    resign(&clients.one, Some(third)).await.expect("resign");
    revoke(&clients.one, one).await;
}

async fn observe_sends_the_current_leader_first(clients: &Clients) {
    let one = grant(&clients.one, 0x65, 60).await;
    campaign(&clients.one, "e3", one, "a")
        .await
        .expect("no other candidate");
    let request = LeaderRequest { name: b("e3") };
    let mut observer = ElectionClient::new(clients.two.clone());
    let opened = soon("a stream", observer.observe(request)).await;
    let mut observed = opened.expect("a stream").into_inner();
    let first = soon("the current leader", observed.message())
        .await
        .expect("no error")
        .expect("a response");
    assert_eq!(pair(first.kv), ("e3/65".into(), "a".into()));
    revoke(&clients.one, one).await;
}

async fn election_refusals(clients: &Clients) {
    let no_leader = unknown("\"leader\" field must be provided");
    assert_eq!(refused(proclaim(&clients.one, None, "v").await), no_leader);
    assert_eq!(refused(resign(&clients.one, None).await), no_leader);
    let no_lease = unknown("etcdserver: requested lease not found");
    assert_eq!(
        refused(campaign(&clients.one, "e2", 999, "v").await),
        no_lease
    );
    let empty = Some(LeaderKey::default());
    let no_key = unknown("etcdserver: key is not provided");
    assert_eq!(
        refused(proclaim(&clients.one, empty.clone(), "v").await),
        no_key
    );
    assert_eq!(refused(resign(&clients.one, empty).await), no_key);
    // a campaign that is cancelled, and one whose lease is revoked
    let (one, two) = (
        grant(&clients.one, 0x63, 60).await,
        grant(&clients.two, 0x64, 60).await,
    );
    let first = campaign(&clients.one, "e2", one, "a").await.expect("free");
    let channel = clients.two.clone();
    let second = begin(&clients.two, "e2", 2, async move {
        campaign(&channel, "e2", two, "b").await
    })
    .await;
    second.abort();
    queue_has(&clients.two, "e2", 1).await;
    if clients.ours {
        // etcd returns success here
        let channel = clients.two.clone();
        let second = begin(&clients.two, "e2", 2, async move {
            campaign(&channel, "e2", two, "b").await
        })
        .await;
        revoke(&clients.one, two).await;
        assert_eq!(
            refused(ended("a response", second).await),
            unknown("election: not leader")
        );
    }
    resign(&clients.one, Some(first)).await.expect("resign");
    revoke(&clients.one, one).await;
}

async fn all(clients: &Clients) {
    lock_passes_to_the_next_waiter(clients).await;
    lock_is_free_after_its_holders_lease_is_revoked(clients).await;
    lock_queue_drops_a_client_that_disconnects(clients).await;
    lock_request_fails_when_its_lease_is_revoked(clients).await;
    lock_refusals(clients).await;
    election_leaders_follow_in_order(clients).await;
    observe_sends_the_current_leader_first(clients).await;
    election_refusals(clients).await;
}

#[test]
fn locks_and_elections_on_our_server() {
    let _deadline = deadline();
    let (db, server) = serve(Options::new(), Serve::new("127.0.0.1:0"));
    let url = server.address().to_string();
    runtime().block_on(async {
        all(&Clients {
            one: connect(&url).await,
            two: connect(&url).await,
            url,
            ours: true,
        })
        .await;
    });
    // after the clients disconnected, the watchers of their requests must be closed
    let gone = || db.status().expect("status").watchers == 0;
    let until = std::time::Instant::now() + WAIT_LIMIT;
    while !gone() && std::time::Instant::now() < until {
        std::thread::yield_now();
    }
    assert!(
        gone(),
        "{} watchers remain",
        db.status().expect("status").watchers
    );
}

#[test]
fn locks_and_elections_on_a_real_etcd() {
    let _deadline = deadline();
    let Some(etcd) = real_etcd("locks") else {
        return;
    };
    runtime().block_on(async {
        let url = etcd.url();
        let (one, two) = (connect(&url).await, connect(&url).await);
        let ours = false;
        all(&Clients {
            one,
            two,
            url,
            ours,
        })
        .await;
    });
}

/// A request that waits when the server closes gets an error, and its key is deleted.
#[test]
fn lock_that_waits_ends_when_the_server_closes() {
    let _deadline = deadline();
    let (db, server) = serve(Options::new(), Serve::new("127.0.0.1:0"));
    runtime().block_on(async {
        let channel = connect(server.address()).await;
        lock(&channel, "l", 0).await.expect("free");
        let other = channel.clone();
        let second = begin(&channel, "l", 2, async move { lock(&other, "l", 0).await }).await;
        server.close();
        let response = refused(ended("a response", second).await);
        assert_eq!(
            response,
            (Code::Unavailable, "etcdserver: server stopped".to_string())
        );
        // the put is queued after the deletion of the key
        db.put(libkv::Put::new("k", "v")).expect("put");
        let count = db
            .range(libkv::Range::new(libkv::KeyRange::prefix("l/")).count_only(true))
            .expect("range")
            .count;
        assert_eq!(count, 1);
    });
}
