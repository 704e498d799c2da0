//! etcd_client HOST PORT: tests the unmodified crate `etcd-client`.

use std::fmt::Debug;
use std::time::Duration;

use etcd_client::*;

/// Counts checks and prints those that fail.
#[derive(Default)]
struct Checks {
    passed: u32,
    failed: u32,
}

impl Checks {
    fn check<T: PartialEq<U> + Debug, U: Debug>(&mut self, name: &str, got: T, should: U) {
        if got == should {
            self.passed += 1;
        } else {
            self.failed += 1;
            println!("FAILED {name}: {got:?} should be {should:?}");
        }
    }
}

/// Keys and values of a response, as text.
fn pairs(kvs: &[KeyValue]) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
    kvs.iter()
        .map(|kv| (text(kv.key()), text(kv.value())))
        .collect()
}

fn pair(key: &str, value: &str) -> (String, String) {
    (key.to_string(), value.to_string())
}

async fn key_values(client: &mut Client, checks: &mut Checks) -> Result<(), Error> {
    checks.check(
        "get of a missing key",
        client.get("never", None).await?.kvs().len(),
        0,
    );
    let first = client.put("k/a", "1", None).await?;
    checks.check(
        "put",
        first.header().map(|header| header.revision()),
        Some(2),
    );
    let again = client
        .put("k/a", "2", Some(PutOptions::new().with_prev_key()))
        .await?;
    checks.check(
        "put, prev_kv",
        again
            .prev_key()
            .map(|kv| (kv.value().to_vec(), kv.mod_revision())),
        Some((b"1".to_vec(), 2)),
    );
    client.put("k/b", vec![0, 255, b'\n'], None).await?;
    client.put("k/c", "", None).await?;
    let got = client.get("k/a", None).await?;
    let kv = &got.kvs()[0];
    checks.check(
        "get",
        (
            kv.value(),
            kv.create_revision(),
            kv.mod_revision(),
            kv.version(),
            kv.lease(),
        ),
        (&b"2"[..], 2, 3, 2, 0),
    );
    let past = client
        .get("k/a", Some(GetOptions::new().with_revision(2)))
        .await?;
    checks.check("get, in the past", pairs(past.kvs()), [pair("k/a", "1")]);
    let options = GetOptions::new()
        .with_prefix()
        .with_sort(SortTarget::Mod, SortOrder::Descend)
        .with_limit(2);
    let some = client.get("k/", Some(options)).await?;
    checks.check(
        "a prefix, sorted and limited",
        pairs(some.kvs()),
        [pair("k/c", ""), pair("k/b", "\\x00\\xff\\n")],
    );
    checks.check("more and count", (some.more(), some.count()), (true, 3));
    let keys = client
        .get("k/", Some(GetOptions::new().with_prefix().with_keys_only()))
        .await?;
    checks.check(
        "keys_only",
        pairs(keys.kvs()),
        [pair("k/a", ""), pair("k/b", ""), pair("k/c", "")],
    );
    let from = client
        .get(
            "k/b",
            Some(GetOptions::new().with_from_key().with_count_only()),
        )
        .await?;
    checks.check(
        "count_only from a key on",
        (from.count(), from.kvs().len()),
        (2, 0),
    );
    let gone = client
        .delete(
            "k/",
            Some(DeleteOptions::new().with_prefix().with_prev_key()),
        )
        .await?;
    checks.check(
        "delete, prev_kv",
        (gone.deleted(), gone.prev_kvs().len()),
        (3, 3),
    );
    let future = client
        .get("k/a", Some(GetOptions::new().with_revision(1_000_000)))
        .await;
    let text = future
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default();
    checks.check(
        "a future revision",
        text.contains("required revision is a future revision"),
        true,
    );
    Ok(())
}

async fn transactions(client: &mut Client, checks: &mut Checks) -> Result<(), Error> {
    client.put("t/a", "1", None).await?;
    let txn = Txn::new()
        .when([
            Compare::value("t/a", CompareOp::Equal, "1"),
            Compare::create_revision("t/b", CompareOp::Equal, 0),
        ])
        .and_then([
            TxnOp::put("t/b", "then", None),
            TxnOp::get("t/b", None),
            TxnOp::txn(
                Txn::new()
                    .when([Compare::version("t/b", CompareOp::Greater, 0)])
                    .and_then([TxnOp::delete("t/a", None)]),
            ),
        ])
        .or_else([TxnOp::get("t/a", None)]);
    let response = client.txn(txn.clone()).await?;
    checks.check("txn, then", response.succeeded(), true);
    match &response.op_responses()[..] {
        [
            TxnOpResponse::Put(_),
            TxnOpResponse::Get(get),
            TxnOpResponse::Txn(nested),
        ] => {
            checks.check(
                "a get after a put of the same key",
                pairs(get.kvs()),
                [pair("t/b", "then")],
            );
            checks.check(
                "compares of a nested txn use the state before the txn",
                nested.succeeded(),
                false,
            );
        }
        other => checks.check(
            "the responses of a txn",
            format!("{other:?}"),
            "put, get and txn",
        ),
    }
    let response = client.txn(txn).await?;
    checks.check(
        "txn, else",
        (response.succeeded(), response.op_responses().len()),
        (false, 1),
    );
    let twice = Txn::new().and_then([TxnOp::put("x", "1", None), TxnOp::put("x", "2", None)]);
    let text = client
        .txn(twice)
        .await
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default();
    checks.check(
        "the same key twice",
        text.contains("duplicate key given in txn request"),
        true,
    );
    Ok(())
}

/// The next events of a stream, as text. The response to a creation has none.
async fn events(stream: &mut WatchStream) -> Result<Vec<(EventType, (String, String))>, Error> {
    let Some(response) = stream.message().await? else {
        return Ok(Vec::new());
    };
    Ok(response
        .events()
        .iter()
        .filter_map(|event| Some((event.event_type(), pairs(&[event.kv()?.clone()]).remove(0))))
        .collect())
}

async fn watches(client: &mut Client, checks: &mut Checks) -> Result<(), Error> {
    let before = client
        .put("w/before", "0", None)
        .await?
        .header()
        .map_or(0, |header| header.revision());
    let options = WatchOptions::new()
        .with_prefix()
        .with_start_revision(before)
        .with_prev_key()
        .with_watch_id(7);
    let mut stream = client.watch("w/", Some(options)).await?;
    let created = stream
        .message()
        .await?
        .ok_or(Error::WatchError("the stream ended".into()))?;
    checks.check(
        "created",
        (created.created(), created.watch_id()),
        (true, 7),
    );
    client.put("w/a", "1", None).await?;
    client.delete("w/a", None).await?;
    let mut seen = Vec::new();
    while seen.len() < 3 {
        seen.extend(events(&mut stream).await?);
    }
    let should = [
        (EventType::Put, pair("w/before", "0")),
        (EventType::Put, pair("w/a", "1")),
        (EventType::Delete, pair("w/a", "")),
    ];
    checks.check("events from a revision", seen, should);
    stream.request_progress().await?;
    let progress = stream.message().await?;
    checks.check(
        "progress",
        progress.map(|response| (response.events().len(), response.canceled())),
        Some((0, false)),
    );
    stream.cancel(7).await?;
    let cancelled = stream.message().await?;
    checks.check(
        "cancelled",
        cancelled.map(|response| (response.watch_id(), response.canceled())),
        Some((7, true)),
    );
    client.compact(before + 1, None).await?;
    stream
        .watch("w/a", Some(WatchOptions::new().with_start_revision(2)))
        .await?;
    let mut compacted = 0;
    while let Some(response) = stream.message().await? {
        if response.canceled() {
            compacted = response.compact_revision();
            break;
        }
    }
    checks.check("a watch of the compacted past", compacted, before + 1);
    Ok(())
}

async fn leases(client: &mut Client, checks: &mut Checks) -> Result<(), Error> {
    let lease = client
        .lease_grant(60, Some(LeaseGrantOptions::new().with_id(0x1234)))
        .await?;
    checks.check("grant", (lease.id(), lease.ttl()), (0x1234, 60));
    client
        .put("l/a", "1", Some(PutOptions::new().with_lease(0x1234)))
        .await?;
    let left = client
        .lease_time_to_live(0x1234, Some(LeaseTimeToLiveOptions::new().with_keys()))
        .await?;
    checks.check(
        "the keys of the lease",
        (left.granted_ttl(), left.keys()),
        (60, &[b"l/a".to_vec()][..]),
    );
    let (mut keeper, mut responses) = client.lease_keep_alive(0x1234).await?;
    keeper.keep_alive().await?;
    checks.check(
        "keep alive",
        responses
            .message()
            .await?
            .map(|response| (response.id(), response.ttl())),
        Some((0x1234, 60)),
    );
    checks.check(
        "all leases",
        client
            .leases()
            .await?
            .leases()
            .iter()
            .map(|lease| lease.id())
            .collect::<Vec<_>>(),
        [0x1234],
    );
    client.lease_revoke(0x1234).await?;
    checks.check(
        "revoked with its keys",
        client.get("l/a", None).await?.count(),
        0,
    );
    let mut stream = client.watch("l/short", None).await?;
    let short = client.lease_grant(1, None).await?;
    client
        .put(
            "l/short",
            "1",
            Some(PutOptions::new().with_lease(short.id())),
        )
        .await?;
    let mut seen = Vec::new();
    while seen.len() < 2 {
        seen.extend(events(&mut stream).await?.into_iter().map(|(kind, _)| kind));
    }
    checks.check(
        "the lease expires",
        seen,
        [EventType::Put, EventType::Delete],
    );
    Ok(())
}

async fn locks_and_maintenance(client: &mut Client, checks: &mut Checks) -> Result<(), Error> {
    let lock = client.lock("lock", None).await?;
    checks.check("a lock", lock.key().starts_with(b"lock/"), true);
    client.unlock(lock.key()).await?;
    let lease = client.lease_grant(60, None).await?.id();
    let leader = client
        .campaign("election", "me", lease)
        .await?
        .leader()
        .cloned()
        .unwrap_or_default();
    checks.check(
        "elected",
        (leader.name(), leader.lease()),
        (&b"election"[..], lease),
    );
    client
        .proclaim(
            "still me",
            Some(ProclaimOptions::new().with_leader(leader.clone())),
        )
        .await?;
    let found = client.leader("election").await?;
    checks.check(
        "the leader's value",
        found.kv().map(|kv| kv.value().to_vec()),
        Some(b"still me".to_vec()),
    );
    client
        .resign(Some(ResignOptions::new().with_leader(leader)))
        .await?;
    checks.check("no leader", client.leader("election").await.is_err(), true);
    let status = client.status().await?;
    checks.check(
        "status",
        (
            ["3.5.1", "3.7.3"].contains(&status.version()),
            status.db_size() > 0,
        ),
        (true, true),
    );
    let members = client.member_list().await?;
    checks.check(
        "members",
        members
            .members()
            .iter()
            .map(|member| member.id())
            .collect::<Vec<_>>(),
        [status.leader()],
    );
    let alarms = client
        .alarm(AlarmAction::Get, AlarmType::None, None)
        .await?;
    checks.check("alarms", alarms.alarms().len(), 0);
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let options = ConnectOptions::new().with_timeout(Duration::from_secs(20));
    let mut client = Client::connect([words.join(":")], Some(options)).await?;
    let mut checks = Checks::default();
    key_values(&mut client, &mut checks).await?;
    transactions(&mut client, &mut checks).await?;
    watches(&mut client, &mut checks).await?;
    leases(&mut client, &mut checks).await?;
    locks_and_maintenance(&mut client, &mut checks).await?;
    println!(
        "etcd-client: {} passed, {} failed",
        checks.passed, checks.failed
    );
    std::process::exit(i32::from(checks.failed > 0));
}
