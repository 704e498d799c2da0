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

/// Two clients, each on a connection of its own, and who is asked.
struct Asked {
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

/// Waits until so many keys stand under a name.
async fn in_line(channel: &Channel, name: &str, many: i64) {
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
    soon(&format!("{many} in line for {name}"), waited).await;
}

/// Starts what waits, and returns once it stands in line.
async fn begin<T: Send + 'static>(
    channel: &Channel,
    name: &str,
    many: i64,
    what: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<T> {
    let task = tokio::spawn(what);
    in_line(channel, name, many).await;
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

async fn a_lock_goes_from_one_to_the_next(asked: &Asked) {
    let (one, two) = (
        grant(&asked.one, 0x51, 60).await,
        grant(&asked.two, 0x52, 60).await,
    );
    let (revision, key) = lock(&asked.one, "l1", one).await.expect("it is free");
    assert_eq!(key, "l1/51");
    assert_eq!(
        Kv::new(&asked.one)
            .get(&key)
            .await
            .map(|kv| (kv.create_revision, kv.lease)),
        Some((revision, one))
    );
    // who has it has it
    assert_eq!(
        lock(&asked.one, "l1", one).await.expect("it is its own").1,
        key
    );
    let channel = asked.two.clone();
    let second = begin(&asked.two, "l1", 2, async move {
        lock(&channel, "l1", two).await
    })
    .await;
    // a third gives up, and leaves nothing behind
    let three = grant(&asked.one, 0x53, 60).await;
    let channel = asked.one.clone();
    let third = begin(&asked.one, "l1", 3, async move {
        lock(&channel, "l1", three).await
    })
    .await;
    third.abort();
    in_line(&asked.one, "l1", 2).await;
    assert!(!second.is_finished());
    unlock(&asked.one, &key).await.expect("unlock");
    let (_, key) = ended("the second's turn", second)
        .await
        .expect("it is free");
    assert_eq!(key, "l1/52");
    unlock(&asked.two, &key).await.expect("unlock");
    unlock(&asked.two, &key)
        .await
        .expect("a lock that nobody has");
    for lease in [one, two, three] {
        revoke(&asked.one, lease).await;
    }
}

async fn a_holder_that_dies_is_followed(asked: &Asked) {
    let (one, two) = (
        grant(&asked.one, 0x54, 60).await,
        grant(&asked.two, 0x55, 60).await,
    );
    lock(&asked.one, "l2", one).await.expect("it is free");
    let channel = asked.two.clone();
    let second = begin(&asked.two, "l2", 2, async move {
        lock(&channel, "l2", two).await
    })
    .await;
    revoke(&asked.two, one).await;
    assert_eq!(
        ended("the second's turn", second)
            .await
            .expect("it is free")
            .1,
        "l2/55"
    );
    revoke(&asked.two, two).await;
}

/// A waiting client whose connection is cut is no longer in line.
async fn a_waiting_client_that_dies_is_forgotten(asked: &Asked) {
    let (one, two) = (
        grant(&asked.one, 0x56, 60).await,
        grant(&asked.one, 0x57, 60).await,
    );
    lock(&asked.one, "l3", one).await.expect("it is free");
    let runtime = runtime();
    let url = asked.url.clone();
    runtime.spawn(async move { lock(&connect(&url).await, "l3", two).await });
    in_line(&asked.one, "l3", 2).await;
    runtime.shutdown_background();
    in_line(&asked.one, "l3", 1).await;
    assert!(Kv::new(&asked.one).get("l3/56").await.is_some());
    revoke(&asked.one, one).await;
    revoke(&asked.one, two).await;
}

async fn a_lease_that_ends_while_it_waits(asked: &Asked) {
    let (one, two) = (
        grant(&asked.one, 0x58, 60).await,
        grant(&asked.two, 0x59, 60).await,
    );
    let (_, key) = lock(&asked.one, "l4", one).await.expect("it is free");
    let channel = asked.two.clone();
    let second = begin(&asked.two, "l4", 2, async move {
        lock(&channel, "l4", two).await
    })
    .await;
    revoke(&asked.one, two).await;
    if !asked.ours {
        // etcd finds out when its turn has come
        unlock(&asked.one, &key).await.expect("unlock");
    }
    assert_eq!(
        refused(ended("an answer", second).await),
        unknown("mutex: session is expired")
    );
    revoke(&asked.one, one).await;
}

async fn what_locks_are_refused_with(asked: &Asked) {
    assert_eq!(
        refused(lock(&asked.one, "l5", 999).await),
        unknown("etcdserver: requested lease not found")
    );
    assert_eq!(
        refused(unlock(&asked.one, "").await),
        unknown("etcdserver: key is not provided")
    );
    // without a lease it gets one of a minute
    let (_, key) = lock(&asked.one, "l5", 0).await.expect("it is free");
    let id = Kv::new(&asked.one).get(&key).await.expect("its key").lease;
    assert_eq!(key, format!("l5/{id:x}"));
    let ask = LeaseTimeToLiveRequest { id, keys: false };
    let lease = LeaseClient::new(asked.one.clone())
        .lease_time_to_live(ask)
        .await
        .expect("a lease")
        .into_inner();
    assert_eq!(lease.granted_ttl, 60);
    revoke(&asked.one, id).await;
    // any int64 is a lease, and an empty name a name
    let id = grant(&asked.one, -0x1f, 60).await;
    assert_eq!(
        lock(&asked.one, "", id).await.expect("it is free").1,
        "/-1f"
    );
    revoke(&asked.one, id).await;
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

async fn leaders_follow_each_other(asked: &Asked) {
    let (one, two) = (
        grant(&asked.one, 0x61, 60).await,
        grant(&asked.two, 0x62, 60).await,
    );
    assert_eq!(
        refused(leader(&asked.one, "e1").await),
        unknown("election: no leader")
    );
    let mut observer = ElectionClient::new(asked.two.clone());
    let mut observed = {
        // etcd sends no headers before there is a leader
        let observing =
            tokio::spawn(async move { observer.observe(LeaderRequest { name: b("e1") }).await });
        let first = campaign(&asked.one, "e1", one, "a")
            .await
            .expect("it is free");
        let put = Kv::new(&asked.one).get("e1/61").await.expect("its key");
        assert_eq!(
            (&first.name[..], &first.key[..], first.lease),
            (&b"e1"[..], &b"e1/61"[..], one)
        );
        assert_eq!(first.rev, put.create_revision);
        let channel = asked.two.clone();
        let second = begin(&asked.two, "e1", 2, async move {
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
                .expect("it goes on")
                .expect("it goes on");
            (
                pair(response.kv),
                response.header.expect("a header").revision,
            )
        };
        assert_eq!(next().await.0, ("e1/61".into(), "a".into()));
        let revision = proclaim(&asked.one, Some(first.clone()), "a2")
            .await
            .expect("it leads");
        assert_eq!(next().await, (("e1/61".into(), "a2".into()), revision));
        assert_eq!(
            leader(&asked.two, "e1").await.expect("a leader"),
            ("e1/61".into(), "a2".into())
        );
        resign(&asked.one, Some(first.clone()))
            .await
            .expect("resign");
        let second = ended("the second's turn", second).await.expect("it leads");
        assert_eq!(next().await.0, ("e1/62".into(), "b".into()));
        // who led before does not lead, and has nothing to resign from
        assert_eq!(
            refused(proclaim(&asked.one, Some(first.clone()), "c").await),
            unknown("election: not leader")
        );
        resign(&asked.one, Some(first)).await.expect("resign");
        assert_eq!(leader(&asked.two, "e1").await.expect("a leader").0, "e1/62");
        // again with another value: it is proclaimed
        let again = campaign(&asked.two, "e1", two, "b2")
            .await
            .expect("it leads");
        assert_eq!((again.rev, again.key), (second.rev, second.key));
        assert_eq!(next().await.0, ("e1/62".into(), "b2".into()));
        revoke(&asked.two, two).await;
        observed
    };
    // after nobody, somebody
    let third = campaign(&asked.one, "e1", one, "d")
        .await
        .expect("it is free");
    let response = soon("a leader", observed.message())
        .await
        .expect("it goes on")
        .expect("it goes on");
    assert_eq!(pair(response.kv), ("e1/61".into(), "d".into()));
    resign(&asked.one, Some(third)).await.expect("resign");
    revoke(&asked.one, one).await;
}

async fn observe_sends_the_present_leader_first(asked: &Asked) {
    let one = grant(&asked.one, 0x65, 60).await;
    campaign(&asked.one, "e3", one, "a")
        .await
        .expect("no other campaigns");
    let request = LeaderRequest { name: b("e3") };
    let mut observer = ElectionClient::new(asked.two.clone());
    let opened = soon("a stream", observer.observe(request)).await;
    let mut observed = opened.expect("a stream").into_inner();
    let first = soon("the present leader", observed.message())
        .await
        .expect("it goes on")
        .expect("it goes on");
    assert_eq!(pair(first.kv), ("e3/65".into(), "a".into()));
    revoke(&asked.one, one).await;
}

async fn what_elections_are_refused_with(asked: &Asked) {
    let no_leader = unknown("\"leader\" field must be provided");
    assert_eq!(refused(proclaim(&asked.one, None, "v").await), no_leader);
    assert_eq!(refused(resign(&asked.one, None).await), no_leader);
    let no_lease = unknown("etcdserver: requested lease not found");
    assert_eq!(
        refused(campaign(&asked.one, "e2", 999, "v").await),
        no_lease
    );
    let empty = Some(LeaderKey::default());
    let no_key = unknown("etcdserver: key is not provided");
    assert_eq!(
        refused(proclaim(&asked.one, empty.clone(), "v").await),
        no_key
    );
    assert_eq!(refused(resign(&asked.one, empty).await), no_key);
    // a campaign that is given up, and one whose lease ends
    let (one, two) = (
        grant(&asked.one, 0x63, 60).await,
        grant(&asked.two, 0x64, 60).await,
    );
    let first = campaign(&asked.one, "e2", one, "a")
        .await
        .expect("it is free");
    let channel = asked.two.clone();
    let second = begin(&asked.two, "e2", 2, async move {
        campaign(&channel, "e2", two, "b").await
    })
    .await;
    second.abort();
    in_line(&asked.two, "e2", 1).await;
    if asked.ours {
        // etcd says that it leads
        let channel = asked.two.clone();
        let second = begin(&asked.two, "e2", 2, async move {
            campaign(&channel, "e2", two, "b").await
        })
        .await;
        revoke(&asked.one, two).await;
        assert_eq!(
            refused(ended("an answer", second).await),
            unknown("election: not leader")
        );
    }
    resign(&asked.one, Some(first)).await.expect("resign");
    revoke(&asked.one, one).await;
}

async fn all(asked: &Asked) {
    a_lock_goes_from_one_to_the_next(asked).await;
    a_holder_that_dies_is_followed(asked).await;
    a_waiting_client_that_dies_is_forgotten(asked).await;
    a_lease_that_ends_while_it_waits(asked).await;
    what_locks_are_refused_with(asked).await;
    leaders_follow_each_other(asked).await;
    observe_sends_the_present_leader_first(asked).await;
    what_elections_are_refused_with(asked).await;
}

#[test]
fn locks_and_elections_on_our_server() {
    let _deadline = deadline();
    let (db, server) = serve(Options::new(), Serve::new("127.0.0.1:0"));
    let url = server.address().to_string();
    runtime().block_on(async {
        all(&Asked {
            one: connect(&url).await,
            two: connect(&url).await,
            url,
            ours: true,
        })
        .await;
    });
    // no client is left, and nothing that any of them waited with
    let gone = || db.status().expect("status").watchers == 0;
    let until = std::time::Instant::now() + PATIENCE;
    while !gone() && std::time::Instant::now() < until {
        std::thread::yield_now();
    }
    assert!(
        gone(),
        "{} watchers are left",
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
        all(&Asked {
            one,
            two,
            url,
            ours,
        })
        .await;
    });
}

/// Who waits when the server closes is told, and does not stay in line.
#[test]
fn lock_that_waits_ends_when_the_server_closes() {
    let _deadline = deadline();
    let (db, server) = serve(Options::new(), Serve::new("127.0.0.1:0"));
    runtime().block_on(async {
        let channel = connect(server.address()).await;
        lock(&channel, "l", 0).await.expect("it is free");
        let other = channel.clone();
        let second = begin(&channel, "l", 2, async move { lock(&other, "l", 0).await }).await;
        server.close();
        let response = refused(ended("an answer", second).await);
        assert_eq!(
            response,
            (Code::Unavailable, "etcdserver: server stopped".to_string())
        );
        // behind the deletion in the queue of writers
        db.put(libkv::Put::new("k", "v")).expect("put");
        let count = db
            .range(libkv::Range::new(libkv::KeyRange::prefix("l/")).count_only(true))
            .expect("range")
            .count;
        assert_eq!(count, 1);
    });
}
