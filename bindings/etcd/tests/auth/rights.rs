//! The rights of every call: a table of calls and callers, compared with a real etcd 3.7.

use std::collections::{BTreeMap, BTreeSet};

use libkv::Options;
use libkv_etcd::Serve;
use libkv_etcd::pb::etcdserverpb::compare::{CompareResult, CompareTarget};
use libkv_etcd::pb::etcdserverpb::request_op::Request as Op;
use libkv_etcd::pb::etcdserverpb::watch_request::RequestUnion;
use libkv_etcd::pb::etcdserverpb::*;
use libkv_etcd::pb::{v3electionpb as election, v3lockpb as lock};
use libkv_test_support::etcd::Etcd;
use libkv_test_support::fetch;
use prost::Message;

use crate::calls::{Client, READ, READWRITE, WRITE, outcome};
use crate::wire::{runtime, serve};

/// A lease with the key `a`, and one with the keys `a2` and `z`, of which only root may use `z`.
const OWN_LEASE: i64 = 77;
const FOREIGN_LEASE: i64 = 78;

/// The callers, by the names of their users. The last three are not users.
const CALLERS: [&str; 8] = [
    "root",
    "both",
    "reader",
    "writer",
    "plain",
    "no token",
    "wrong token",
    "empty token",
];

/// Encodes the request of a caller.
type RequestFor = Box<dyn Fn(&str) -> Vec<u8>>;

/// One call: its name in the table, its path, and its request, which may depend on the caller.
struct Row {
    name: &'static str,
    path: &'static str,
    request: RequestFor,
}

fn row<M: Message + 'static>(
    name: &'static str,
    path: &'static str,
    request: impl Fn(&str) -> M + 'static,
) -> Row {
    Row {
        name,
        path,
        request: Box::new(move |caller| request(caller).encode_to_vec()),
    }
}

fn range(key: &str, range_end: &str) -> RangeRequest {
    RangeRequest {
        key: key.to_string().into(),
        range_end: range_end.to_string().into(),
        ..Default::default()
    }
}

fn put(key: &str) -> PutRequest {
    PutRequest {
        key: key.to_string().into(),
        value: "v".into(),
        ..Default::default()
    }
}

fn delete(key: &str, range_end: &str) -> DeleteRangeRequest {
    DeleteRangeRequest {
        key: key.to_string().into(),
        range_end: range_end.to_string().into(),
        ..Default::default()
    }
}

fn txn(compares: Vec<Compare>, success: Vec<Op>, failure: Vec<Op>) -> TxnRequest {
    let list = |ops: Vec<Op>| {
        ops.into_iter()
            .map(|op| RequestOp { request: Some(op) })
            .collect()
    };
    TxnRequest {
        compare: compares,
        success: list(success),
        failure: list(failure),
    }
}

fn compare(key: &str) -> Compare {
    Compare {
        result: CompareResult::Greater as i32,
        target: CompareTarget::Version as i32,
        key: key.to_string().into(),
        ..Default::default()
    }
}

fn nested(inner: TxnRequest) -> TxnRequest {
    txn(Vec::new(), vec![Op::RequestTxn(inner)], Vec::new())
}

fn watch(key: &str, range_end: &str) -> WatchRequest {
    let create = WatchCreateRequest {
        key: key.to_string().into(),
        range_end: range_end.to_string().into(),
        ..Default::default()
    };
    WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(create)),
    }
}

fn kv_rows() -> Vec<Row> {
    const RANGE: &str = "etcdserverpb.KV/Range";
    const STREAM: &str = "etcdserverpb.KV/RangeStream";
    const PUT: &str = "etcdserverpb.KV/Put";
    const DELETE: &str = "etcdserverpb.KV/DeleteRange";
    const TXN: &str = "etcdserverpb.KV/Txn";
    let with_lease = |id| {
        move |_: &str| PutRequest {
            lease: id,
            ..put("b")
        }
    };
    let with_prev_kv = |key: &'static str| {
        move |_: &str| PutRequest {
            prev_kv: true,
            ..put(key)
        }
    };
    let own = |op: Op| txn(Vec::new(), vec![op], Vec::new());
    vec![
        row("range", RANGE, |_| range("a", "")),
        row("range of all permitted keys", RANGE, |_| range("a", "e")),
        row("range of too many keys", RANGE, |_| range("a", "f")),
        row("range without end", RANGE, |_| range("a", "\0")),
        row("range backward", RANGE, |_| range("d", "c")),
        row("range of no key", RANGE, |_| range("", "")),
        row("range of a future revision", RANGE, |_| RangeRequest {
            revision: 1 << 40,
            ..range("z", "")
        }),
        row("count", RANGE, |_| RangeRequest {
            count_only: true,
            ..range("z", "")
        }),
        row("range stream", STREAM, |_| range("a", "e")),
        row("range stream of too many keys", STREAM, |_| range("a", "f")),
        row("range stream of no key", STREAM, |_| range("", "")),
        row("put", PUT, |_| put("b")),
        row("put of another key", PUT, |_| put("z")),
        row("put of no key", PUT, |_| put("")),
        row("put with prev_kv", PUT, with_prev_kv("b")),
        row("put with its lease", PUT, with_lease(OWN_LEASE)),
        row("put with a foreign lease", PUT, with_lease(FOREIGN_LEASE)),
        row("put with an unknown lease", PUT, with_lease(12_345)),
        row("put that keeps the value", PUT, |_| PutRequest {
            ignore_value: true,
            value: Default::default(),
            ..put("b")
        }),
        row("delete", DELETE, |_| delete("b", "")),
        row("delete of too many keys", DELETE, |_| delete("c", "\0")),
        row("delete with prev_kv", DELETE, |_| DeleteRangeRequest {
            prev_kv: true,
            ..delete("b", "")
        }),
        row("txn without content", TXN, |_| {
            txn(Vec::new(), Vec::new(), Vec::new())
        }),
        row("txn that compares", TXN, |_| {
            txn(vec![compare("a")], Vec::new(), Vec::new())
        }),
        row("txn that compares another key", TXN, |_| {
            txn(vec![compare("z")], Vec::new(), Vec::new())
        }),
        row("txn that puts", TXN, move |_| own(Op::RequestPut(put("b")))),
        row("txn with a put that does not run", TXN, |_| {
            txn(Vec::new(), Vec::new(), vec![Op::RequestPut(put("z"))])
        }),
        row("txn with a put with prev_kv", TXN, move |_| {
            own(Op::RequestPut(PutRequest {
                prev_kv: true,
                ..put("b")
            }))
        }),
        row("txn with a put with a foreign lease", TXN, move |_| {
            own(Op::RequestPut(PutRequest {
                lease: FOREIGN_LEASE,
                ..put("b")
            }))
        }),
        row("nested put", TXN, move |_| {
            nested(own(Op::RequestPut(put("b"))))
        }),
        row("nested put of another key", TXN, move |_| {
            nested(own(Op::RequestPut(put("z"))))
        }),
        row("nested put with a foreign lease", TXN, move |_| {
            nested(own(Op::RequestPut(PutRequest {
                lease: FOREIGN_LEASE,
                ..put("b")
            })))
        }),
        row("nested range", TXN, move |_| {
            nested(own(Op::RequestRange(range("z", ""))))
        }),
        row("nested delete", TXN, move |_| {
            nested(own(Op::RequestDeleteRange(delete("zz", ""))))
        }),
        row("nested compare", TXN, |_| {
            nested(txn(vec![compare("z")], Vec::new(), Vec::new()))
        }),
        row("compact", "etcdserverpb.KV/Compact", |_| {
            CompactionRequest {
                revision: 1 << 40,
                physical: false,
            }
        }),
    ]
}

fn lease_rows() -> Vec<Row> {
    const TIME: &str = "etcdserverpb.Lease/LeaseTimeToLive";
    const ALIVE: &str = "etcdserverpb.Lease/LeaseKeepAlive";
    const REVOKE: &str = "etcdserverpb.Lease/LeaseRevoke";
    let time = |id, keys| move |_: &str| LeaseTimeToLiveRequest { id, keys };
    let alive = |id| move |_: &str| LeaseKeepAliveRequest { id };
    vec![
        row("lease grant", "etcdserverpb.Lease/LeaseGrant", |_| {
            LeaseGrantRequest { ttl: 5_000, id: 0 }
        }),
        row("lease time", TIME, time(FOREIGN_LEASE, false)),
        row("lease time with keys", TIME, time(FOREIGN_LEASE, true)),
        row("lease time with its keys", TIME, time(OWN_LEASE, true)),
        row("keep alive", ALIVE, alive(OWN_LEASE)),
        row("keep alive of a foreign lease", ALIVE, alive(FOREIGN_LEASE)),
        row("keep alive of an unknown lease", ALIVE, alive(12_345)),
        row("lease revoke of an unknown lease", REVOKE, |_| {
            LeaseRevokeRequest { id: 12_345 }
        }),
        row("list of leases", "etcdserverpb.Lease/LeaseLeases", |_| {
            LeaseLeasesRequest {}
        }),
    ]
}

fn claim_rows() -> Vec<Row> {
    let key = |name: &str| format!("{name}/1").into_bytes();
    let leader = move |name: &str| election::LeaderKey {
        name: name.to_string().into(),
        key: key(name).into(),
        rev: 1,
        lease: OWN_LEASE,
    };
    vec![
        row("lock", "v3lockpb.Lock/Lock", |caller| lock::LockRequest {
            name: format!("b-{caller}").into(),
            lease: OWN_LEASE,
        }),
        row("lock of another name", "v3lockpb.Lock/Lock", |caller| {
            lock::LockRequest {
                name: format!("z-{caller}").into(),
                lease: OWN_LEASE,
            }
        }),
        row("unlock", "v3lockpb.Lock/Unlock", |_| lock::UnlockRequest {
            key: "b".into(),
        }),
        row("campaign", "v3electionpb.Election/Campaign", |caller| {
            election::CampaignRequest {
                name: format!("c-{caller}").into(),
                lease: OWN_LEASE,
                value: "v".into(),
            }
        }),
        row("proclaim", "v3electionpb.Election/Proclaim", move |_| {
            election::ProclaimRequest {
                leader: Some(leader("c")),
                value: "w".into(),
            }
        }),
        row("leader", "v3electionpb.Election/Leader", |_| {
            election::LeaderRequest {
                name: "c-missing".into(),
            }
        }),
        row(
            "leader of another name",
            "v3electionpb.Election/Leader",
            |_| election::LeaderRequest { name: "z".into() },
        ),
        row("resign", "v3electionpb.Election/Resign", move |_| {
            election::ResignRequest {
                leader: Some(leader("c")),
            }
        }),
    ]
}

fn admin_rows() -> Vec<Row> {
    const ALARM: &str = "etcdserverpb.Maintenance/Alarm";
    let alarm = |action| {
        move |_: &str| AlarmRequest {
            action,
            ..Default::default()
        }
    };
    vec![
        row("member list", "etcdserverpb.Cluster/MemberList", |_| {
            MemberListRequest { linearizable: true }
        }),
        row("member add", "etcdserverpb.Cluster/MemberAdd", |_| {
            MemberAddRequest {
                peer_ur_ls: vec!["no url".into()],
                is_learner: false,
            }
        }),
        row("member remove", "etcdserverpb.Cluster/MemberRemove", |_| {
            MemberRemoveRequest { id: 1 }
        }),
        row("member update", "etcdserverpb.Cluster/MemberUpdate", |_| {
            MemberUpdateRequest {
                id: 1,
                peer_ur_ls: vec!["http://127.0.0.1:1".into()],
            }
        }),
        row(
            "member promote",
            "etcdserverpb.Cluster/MemberPromote",
            |_| MemberPromoteRequest { id: 1 },
        ),
        row("list of alarms", ALARM, alarm(0)),
        row("end of an alarm", ALARM, alarm(2)),
        row("status", "etcdserverpb.Maintenance/Status", |_| {
            StatusRequest {}
        }),
        row("defragment", "etcdserverpb.Maintenance/Defragment", |_| {
            DefragmentRequest {}
        }),
        row("hash", "etcdserverpb.Maintenance/Hash", |_| HashRequest {}),
        row("hash of keys", "etcdserverpb.Maintenance/HashKV", |_| {
            HashKvRequest { revision: 0 }
        }),
        row("snapshot", "etcdserverpb.Maintenance/Snapshot", |_| {
            SnapshotRequest {}
        }),
        row("move leader", "etcdserverpb.Maintenance/MoveLeader", |_| {
            MoveLeaderRequest { target_id: 1 }
        }),
        row("downgrade", "etcdserverpb.Maintenance/Downgrade", |_| {
            DowngradeRequest {
                action: 0,
                version: "x".into(),
            }
        }),
        row("health", "grpc.health.v1.Health/Check", |_| {}),
    ]
}

fn auth_rows() -> Vec<Row> {
    const USER_GET: &str = "etcdserverpb.Auth/UserGet";
    const ROLE_GET: &str = "etcdserverpb.Auth/RoleGet";
    let user = |name: &'static str| move |_: &str| AuthUserGetRequest { name: name.into() };
    let role = |role: &'static str| move |_: &str| AuthRoleGetRequest { role: role.into() };
    vec![
        row("auth enable", "etcdserverpb.Auth/AuthEnable", |_| {
            AuthEnableRequest {}
        }),
        row("auth status", "etcdserverpb.Auth/AuthStatus", |_| {
            AuthStatusRequest {}
        }),
        row("log in", "etcdserverpb.Auth/Authenticate", |_| {
            AuthenticateRequest {
                name: "reader".into(),
                password: "wrong".into(),
            }
        }),
        row("user add", "etcdserverpb.Auth/UserAdd", |_| {
            AuthUserAddRequest {
                name: "reader".into(),
                ..Default::default()
            }
        }),
        row("user add without name", "etcdserverpb.Auth/UserAdd", |_| {
            AuthUserAddRequest::default()
        }),
        row("user get", USER_GET, user("reader")),
        row("user get of a missing user", USER_GET, user("missing")),
        row("user list", "etcdserverpb.Auth/UserList", |_| {
            AuthUserListRequest {}
        }),
        row("user delete", "etcdserverpb.Auth/UserDelete", |_| {
            AuthUserDeleteRequest {
                name: "root".into(),
            }
        }),
        row(
            "change of a password",
            "etcdserverpb.Auth/UserChangePassword",
            |_| AuthUserChangePasswordRequest {
                name: "missing".into(),
                password: "x".into(),
                ..Default::default()
            },
        ),
        row("grant of a role", "etcdserverpb.Auth/UserGrantRole", |_| {
            AuthUserGrantRoleRequest {
                user: "reader".into(),
                role: "missing".into(),
            }
        }),
        row(
            "revocation of a role",
            "etcdserverpb.Auth/UserRevokeRole",
            |_| AuthUserRevokeRoleRequest {
                name: "root".into(),
                role: "root".into(),
            },
        ),
        row("role add", "etcdserverpb.Auth/RoleAdd", |_| {
            AuthRoleAddRequest {
                name: "reader".into(),
            }
        }),
        row("role get", ROLE_GET, role("reader")),
        row("role get of a missing role", ROLE_GET, role("missing")),
        row("role list", "etcdserverpb.Auth/RoleList", |_| {
            AuthRoleListRequest {}
        }),
        row("role delete", "etcdserverpb.Auth/RoleDelete", |_| {
            AuthRoleDeleteRequest {
                role: "root".into(),
            }
        }),
        row(
            "grant of a permission",
            "etcdserverpb.Auth/RoleGrantPermission",
            |_| AuthRoleGrantPermissionRequest {
                name: "reader".into(),
                perm: None,
            },
        ),
        row(
            "grant of an empty range",
            "etcdserverpb.Auth/RoleGrantPermission",
            |_| AuthRoleGrantPermissionRequest {
                name: "missing".into(),
                perm: Some(crate::calls::permission(READ, "b", "a")),
            },
        ),
        row(
            "revocation of a permission",
            "etcdserverpb.Auth/RoleRevokePermission",
            |_| AuthRoleRevokePermissionRequest {
                role: "reader".into(),
                key: "q".into(),
                range_end: Default::default(),
            },
        ),
    ]
}

/// Watches, whose refusal is a message of the stream.
fn watch_rows() -> Vec<Row> {
    const WATCH: &str = "etcdserverpb.Watch/Watch";
    vec![
        row("watch", WATCH, |_| watch("a", "")),
        row("watch of all permitted keys", WATCH, |_| watch("a", "e")),
        row("watch of too many keys", WATCH, |_| watch("a", "f")),
        row("watch without end", WATCH, |_| watch("a", "\0")),
    ]
}

/// The calls that end what the others need.
fn last_rows() -> Vec<Row> {
    vec![
        row(
            "lease revoke of a foreign lease",
            "etcdserverpb.Lease/LeaseRevoke",
            |_| LeaseRevokeRequest { id: FOREIGN_LEASE },
        ),
        row("auth disable", "etcdserverpb.Auth/AuthDisable", |_| {
            AuthDisableRequest {}
        }),
    ]
}

/// The users, roles, keys and leases of the table. Returns a client for each caller.
async fn prepare(url: &str) -> Vec<(&'static str, Client)> {
    let client = Client::new(url).await;
    for id in [OWN_LEASE, FOREIGN_LEASE] {
        let grant = LeaseGrantRequest { ttl: 5_000, id };
        client.done("etcdserverpb.Lease/LeaseGrant", grant).await;
    }
    for (key, lease) in [
        ("a", OWN_LEASE),
        ("a2", FOREIGN_LEASE),
        ("z", FOREIGN_LEASE),
        ("b", 0),
    ] {
        let put = PutRequest { lease, ..put(key) };
        client.done("etcdserverpb.KV/Put", put).await;
    }
    // two permissions that touch
    client
        .add_role("reader", &[(READ, "a", "c"), (READ, "c", "e")])
        .await;
    client.add_role("writer", &[(WRITE, "a", "e")]).await;
    client.add_role("both", &[(READWRITE, "a", "e")]).await;
    for user in ["reader", "writer", "both"] {
        client.add_user(user, user, &[user]).await;
    }
    client.add_user("plain", "plain", &[]).await;
    client.enable_auth().await;
    let mut callers = Vec::new();
    for caller in CALLERS {
        let token = match caller {
            "no token" => None,
            "wrong token" => Some("wrong".into()),
            "empty token" => Some(String::new()),
            user => Some(client.log_in(user, user).await.expect("a token")),
        };
        callers.push((caller, client.with(token)));
    }
    callers
}

/// Each row and caller with the outcome.
async fn table(url: &str) -> BTreeMap<(&'static str, &'static str), String> {
    let callers = prepare(url).await;
    let mut outcomes = BTreeMap::new();
    let groups = [
        kv_rows(),
        lease_rows(),
        claim_rows(),
        admin_rows(),
        auth_rows(),
    ];
    for row in groups.into_iter().flatten() {
        for (caller, client) in &callers {
            let result = client.raw(row.path, (row.request)(caller)).await;
            outcomes.insert((row.name, *caller), outcome(&result));
        }
    }
    for row in watch_rows() {
        for (caller, client) in &callers {
            let first = client.raw(row.path, (row.request)(caller)).await;
            let first = first.map(|bytes| WatchResponse::decode(&bytes[..]).expect("a response"));
            let text = match &first {
                Ok(first) => format!(
                    "{} {} {} {}",
                    first.watch_id, first.created, first.canceled, first.cancel_reason
                ),
                Err(_) => outcome(&first),
            };
            outcomes.insert((row.name, *caller), text);
        }
    }
    for row in last_rows() {
        // root last: after it nothing is left to refuse
        for (caller, client) in callers.iter().rev() {
            let result = client.raw(row.path, (row.request)(caller)).await;
            outcomes.insert((row.name, *caller), outcome(&result));
        }
    }
    outcomes
}

/// Where ours is meant to differ from etcd 3.7, with the outcome of ours.
fn deviation(name: &str, caller: &str) -> Option<&'static str> {
    match (name, caller) {
        // leases with keys that the caller may not read are left out of the list
        ("list of leases", "both" | "reader" | "writer" | "plain") => Some("OK"),
        _ => None,
    }
}

/// The rpcs of the proto files, as `service/method`.
fn rpcs() -> BTreeSet<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/proto");
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).expect("the proto files") {
        let text = std::fs::read_to_string(entry.expect("a file").path()).expect("text");
        let (mut package, mut service) = ("", "");
        for line in text.lines() {
            let words: Vec<&str> = line
                .split([' ', '(', ';'])
                .filter(|w| !w.is_empty())
                .collect();
            match words.as_slice() {
                ["package", name, ..] => package = name,
                ["service", name, ..] => service = name,
                ["rpc", method, ..] => drop(found.insert(format!("{package}.{service}/{method}"))),
                _ => {}
            }
        }
    }
    assert!(
        found.len() > 40,
        "the proto files have more rpcs: {found:?}"
    );
    found
}

/// Observe ends without a message where there is no right, and waits where there is one.
const NOT_IN_THE_TABLE: [&str; 2] = [
    "v3electionpb.Election/Observe",
    "grpc.health.v1.Health/Watch",
];

#[test]
fn every_rpc_is_in_the_table() {
    let rows = [
        kv_rows(),
        lease_rows(),
        claim_rows(),
        admin_rows(),
        auth_rows(),
        watch_rows(),
        last_rows(),
    ];
    let tested: BTreeSet<&str> = rows.iter().flatten().map(|row| row.path).collect();
    for rpc in rpcs() {
        let is_tested = tested.contains(rpc.as_str());
        assert!(
            is_tested || NOT_IN_THE_TABLE.contains(&rpc.as_str()),
            "{rpc}"
        );
    }
}

#[test]
fn every_caller_of_every_call_is_treated_as_by_etcd() {
    runtime().block_on(async {
        let (_db, server) = serve(Options::new(), Serve::new("127.0.0.1:0").bcrypt_cost(4));
        let ours = table(server.address()).await;
        // what must hold also where no real etcd can be had
        for ((name, caller), outcome) in &ours {
            if *caller == "wrong token" && !matches!(*name, "log in" | "health" | "auth enable") {
                assert!(
                    outcome.contains("invalid auth token")
                        || outcome.starts_with("InvalidArgument")
                        || outcome.starts_with("Unimplemented"),
                    "{name} with a wrong token: {outcome}"
                );
            }
        }
        let program = match fetch::program37() {
            Ok(program) => program,
            Err(why) => return println!("not run: rights of etcd 3.7 ({why})"),
        };
        let etcd = Etcd::start_with(&program, "rights", 1, &["--bcrypt-cost", "4"]);
        let theirs = table(&etcd.url()).await;
        let mut different = Vec::new();
        for ((name, caller), theirs) in &theirs {
            let ours = &ours[&(*name, *caller)];
            let expected = deviation(name, caller).unwrap_or(theirs);
            if ours != expected {
                different.push(format!("{name}, {caller}: {ours}\n    etcd: {theirs}"));
            }
        }
        assert!(different.is_empty(), "\n{}", different.join("\n"));
    });
}
