//! Each service of the server, driven by a plain gRPC client: answers, headers, error texts. The
//! numbers are rows of etcd's behaviour as the project's contract has them.

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use libkv::{Db, LeaseGrant, Options, Put};
use libkv_etcd::pb::etcdserverpb as pb;
use libkv_etcd::pb::etcdserverpb::auth_client::AuthClient;
use libkv_etcd::pb::etcdserverpb::cluster_client::ClusterClient;
use libkv_etcd::pb::health::HealthCheckRequest;
use libkv_etcd::pb::health::health_check_response::ServingStatus;
use libkv_etcd::{Level, Serve, serve};
use libkv_test_support::deadline::deadline;
use support::{Served, connect, refused, run, store};
use tokio_stream::wrappers::ReceiverStream;
use tonic::codec::CompressionEncoding;
use tonic::{Code, Request};

fn put(key: &str, value: &str) -> pb::PutRequest {
    pb::PutRequest {
        key: key.to_string().into(),
        value: value.to_string().into(),
        ..Default::default()
    }
}

fn range(key: &str) -> pb::RangeRequest {
    pb::RangeRequest {
        key: key.to_string().into(),
        ..Default::default()
    }
}

fn all() -> pb::RangeRequest {
    pb::RangeRequest {
        key: Bytes::from_static(b"\0"),
        range_end: Bytes::from_static(b"\0"),
        ..Default::default()
    }
}

fn op(request: pb::request_op::Request) -> pb::RequestOp {
    pb::RequestOp {
        request: Some(request),
    }
}

fn revision(header: &Option<pb::ResponseHeader>) -> i64 {
    header.as_ref().expect("a header").revision
}

#[test]
fn kv_responses_with_headers() {
    let _deadline = deadline();
    run(async {
        let served = Served::new().await;
        let mut kv = served.kv();
        let empty = kv.range(range("a")).await.expect("1.1").into_inner();
        let header = empty.header.expect("a header");
        assert_eq!((header.revision, header.raft_term), (1, 2));
        let id = served.db.status().expect("it is open").store_id;
        assert_eq!(
            format!("{:016x}{:016x}", header.cluster_id, header.member_id),
            id,
            "named after the store"
        );

        assert_eq!(
            revision(
                &kv.put(put("a", "1"))
                    .await
                    .expect("1.1")
                    .into_inner()
                    .header
            ),
            2
        );
        let again = kv
            .put(pb::PutRequest {
                prev_kv: true,
                ..put("a", "2")
            })
            .await
            .expect("4.1")
            .into_inner();
        assert_eq!(
            (
                revision(&again.header),
                again.prev_kv.expect("the former pair").value
            ),
            (3, Bytes::from("1"))
        );
        let past = kv
            .range(pb::RangeRequest {
                revision: 2,
                ..range("a")
            })
            .await
            .expect("3.15")
            .into_inner();
        assert_eq!(
            (revision(&past.header), past.count, &past.kvs[0].value[..]),
            (3, 1, &b"1"[..])
        );

        let txn = pb::TxnRequest {
            compare: vec![],
            success: vec![
                op(pb::request_op::Request::RequestRange(range("a"))),
                op(pb::request_op::Request::RequestPut(put("b", "1"))),
                op(pb::request_op::Request::RequestTxn(
                    pb::TxnRequest::default(),
                )),
            ],
            failure: vec![],
        };
        let txn = kv.txn(txn).await.expect("1.4").into_inner();
        assert_eq!((txn.succeeded, revision(&txn.header)), (true, 4));
        let headers: Vec<_> = txn.responses.iter().map(inner_header).collect();
        let inner = |revision| pb::ResponseHeader {
            revision,
            ..Default::default()
        };
        assert_eq!(headers, [inner(3), inner(4), inner(0)], "1.8, 1.9");

        let gone = kv.delete_range(pb::DeleteRangeRequest {
            key: "b".into(),
            prev_kv: true,
            ..Default::default()
        });
        let gone = gone.await.expect("5.1").into_inner();
        assert_eq!(
            (gone.deleted, gone.prev_kvs.len(), revision(&gone.header)),
            (1, 1, 5)
        );
        let compacted = kv
            .compact(pb::CompactionRequest {
                revision: 4,
                physical: true,
            })
            .await
            .expect("6.7");
        assert_eq!(revision(&compacted.into_inner().header), 5);
    });
}

fn inner_header(op: &pb::ResponseOp) -> pb::ResponseHeader {
    use pb::response_op::Response;
    match op.response.as_ref().expect("a response") {
        Response::ResponseRange(response) => response.header,
        Response::ResponsePut(response) => response.header,
        Response::ResponseDeleteRange(response) => response.header,
        Response::ResponseTxn(response) => response.header,
    }
    .expect("a header")
}

#[test]
fn kv_refuses_in_etcds_words() {
    let _deadline = deadline();
    run(async {
        let served = Served::new().await;
        let mut kv = served.kv();
        kv.put(put("a", "1")).await.expect("a put");
        let bad = Code::InvalidArgument;
        refused(
            kv.range(range("")).await,
            bad,
            "etcdserver: key is not provided",
        );
        refused(
            kv.put(put("", "")).await,
            bad,
            "etcdserver: key is not provided",
        );
        refused(
            kv.delete_range(pb::DeleteRangeRequest::default()).await,
            bad,
            "etcdserver: key is not provided",
        );
        let future = pb::RangeRequest {
            revision: 9,
            ..range("a")
        };
        refused(
            kv.range(future).await,
            Code::OutOfRange,
            "etcdserver: mvcc: required revision is a future revision",
        );
        let sort = pb::RangeRequest {
            sort_order: 7,
            ..range("a")
        };
        refused(kv.range(sort).await, bad, "etcdserver: invalid sort option");
        let value = pb::PutRequest {
            ignore_value: true,
            ..put("a", "2")
        };
        refused(kv.put(value).await, bad, "etcdserver: value is provided");
        let missing = pb::PutRequest {
            ignore_value: true,
            ..put("z", "")
        };
        refused(kv.put(missing).await, bad, "etcdserver: key not found");
        let lease = pb::PutRequest {
            lease: -5,
            ..put("a", "")
        };
        refused(
            kv.put(lease).await,
            Code::NotFound,
            "etcdserver: requested lease not found",
        );
        let large = put("a", &"x".repeat(1_572_864));
        refused(kv.put(large).await, bad, "etcdserver: request is too large");
        let long = put(&"k".repeat(481), "");
        let text = format!(
            "etcdserver: request is too large (key \"{}…\" of 481 bytes: this version stores keys of up to 480)",
            "k".repeat(64)
        );
        refused(kv.put(long).await, bad, &text);
        let twice = op(pb::request_op::Request::RequestPut(put("a", "")));
        let txn = pb::TxnRequest {
            success: vec![twice.clone(), twice.clone()],
            ..Default::default()
        };
        refused(
            kv.txn(txn).await,
            bad,
            "etcdserver: duplicate key given in txn request",
        );
        let txn = pb::TxnRequest {
            success: vec![twice; 129],
            ..Default::default()
        };
        refused(
            kv.txn(txn).await,
            bad,
            "etcdserver: too many operations in txn request",
        );
        let ahead = pb::CompactionRequest {
            revision: 10,
            physical: false,
        };
        refused(
            kv.compact(ahead).await,
            Code::OutOfRange,
            "etcdserver: mvcc: required revision is a future revision",
        );
        kv.compact(pb::CompactionRequest {
            revision: 2,
            physical: false,
        })
        .await
        .expect("6.2");
        let past = pb::RangeRequest {
            revision: 1,
            ..range("a")
        };
        refused(
            kv.range(past).await,
            Code::OutOfRange,
            "etcdserver: mvcc: required revision has been compacted",
        );
    });
}

#[test]
fn empty_operation_of_a_txn_is_refused_in_order() {
    let _deadline = deadline();
    run(async {
        let served = Served::new().await;
        let mut kv = served.kv();
        let none = pb::RequestOp { request: None };
        let no_key = op(pb::request_op::Request::RequestPut(put("", "")));
        let nested = |ops: Vec<pb::RequestOp>| {
            op(pb::request_op::Request::RequestTxn(pb::TxnRequest {
                failure: ops,
                ..Default::default()
            }))
        };
        for (success, failure, text) in [
            (
                vec![none.clone()],
                vec![no_key.clone()],
                "etcdserver: key not found",
            ),
            (
                vec![no_key.clone()],
                vec![none.clone()],
                "etcdserver: key is not provided",
            ),
            (
                vec![nested(vec![none.clone()]), no_key.clone()],
                vec![],
                "etcdserver: key not found",
            ),
            (
                vec![nested(vec![no_key.clone()]), none.clone()],
                vec![],
                "etcdserver: key is not provided",
            ),
        ] {
            refused(
                kv.txn(pb::TxnRequest {
                    compare: vec![],
                    success,
                    failure,
                })
                .await,
                Code::InvalidArgument,
                text,
            );
        }
        let compare = vec![pb::Compare::default()];
        let txn = pb::TxnRequest {
            compare,
            success: vec![none],
            failure: vec![],
        };
        refused(
            kv.txn(txn).await,
            Code::InvalidArgument,
            "etcdserver: key is not provided",
        );
        assert_eq!(served.db.status().expect("it is open").revision, 1);
    });
}

type KvClient = pb::kv_client::KvClient<tonic::transport::Channel>;

/// The rest of a range stream, up to its end.
async fn rest(
    mut stream: tonic::Streaming<pb::RangeStreamResponse>,
) -> Result<Vec<pb::RangeResponse>, tonic::Status> {
    let mut messages = Vec::new();
    while let Some(message) = stream.message().await? {
        messages.push(message.range_response.expect("of a range"));
    }
    Ok(messages)
}

async fn streamed(kv: &mut KvClient, request: pb::RangeRequest) -> Vec<pb::RangeResponse> {
    rest(
        kv.range_stream(request)
            .await
            .expect("a stream")
            .into_inner(),
    )
    .await
    .expect("a stream that ends well")
}

fn sizes(messages: &[pb::RangeResponse]) -> Vec<usize> {
    messages.iter().map(|message| message.kvs.len()).collect()
}

fn keys(messages: &[pb::RangeResponse]) -> Vec<Bytes> {
    messages
        .iter()
        .flat_map(|message| &message.kvs)
        .map(|kv| kv.key.clone())
        .collect()
}

/// Header revision, count and `more` of a stream, which only its last message may have.
fn totals(messages: &[pb::RangeResponse]) -> (i64, i64, bool) {
    let (last, others) = messages.split_last().expect("at least one message");
    assert!(
        others
            .iter()
            .all(|message| message.header.is_none() && message.count == 0 && !message.more)
    );
    (revision(&last.header), last.count, last.more)
}

/// Opens a stream over 200 keys of 200 kB, at revision 201, and reads its first message.
async fn opened_over_large_values(
    served: &Served,
    request: pb::RangeRequest,
) -> (pb::RangeResponse, tonic::Streaming<pb::RangeStreamResponse>) {
    for number in 0..200 {
        served
            .db
            .put(Put::new(format!("{number:04}"), vec![b'x'; 200_000]))
            .expect("a put");
    }
    let mut stream = served
        .kv()
        .range_stream(request)
        .await
        .expect("a stream")
        .into_inner();
    let first = stream
        .message()
        .await
        .expect("it goes on")
        .expect("a message")
        .range_response
        .expect("of a range");
    assert!(
        first.header.is_none() && (1..=10).contains(&first.kvs.len()),
        "{} keys first",
        first.kvs.len()
    );
    (first, stream)
}

#[test]
fn range_stream_header_is_the_opening_revision() {
    let _deadline = deadline();
    run(async {
        for (asked, limit) in [(0, 0), (0, 150), (201, 0), (201, 150)] {
            let served = Served::new().await;
            let request = pb::RangeRequest {
                revision: asked,
                limit,
                ..all()
            };
            let (first, stream) = opened_over_large_values(&served, request).await;
            for number in 0..5 {
                served
                    .kv()
                    .put(put(&format!("{number:04}-later"), ""))
                    .await
                    .expect("a put");
            }
            served
                .kv()
                .delete_range(pb::DeleteRangeRequest {
                    key: "0199".into(),
                    ..Default::default()
                })
                .await
                .expect("5.1");
            let mut messages = vec![first];
            messages.extend(rest(stream).await.expect("a stream that ends well"));
            assert_eq!(
                totals(&messages),
                (201, 200, limit > 0),
                "revision {asked}, limit {limit}"
            );
            let wanted = if limit > 0 { limit as usize } else { 200 };
            let wanted: Vec<_> = (0..wanted)
                .map(|number| Bytes::from(format!("{number:04}")))
                .collect();
            assert_eq!(keys(&messages), wanted, "revision {asked}, limit {limit}");
        }
    });
}

/// A past revision is what is read; the header is the store's.
#[test]
fn range_stream_of_a_past_revision_has_the_stores_revision_in_its_header() {
    let _deadline = deadline();
    run(async {
        let served = Served::new().await;
        for key in ["a", "b", "c"] {
            served.db.put(Put::new(key, "")).expect("a put");
        }
        let messages = streamed(
            &mut served.kv(),
            pb::RangeRequest {
                revision: 3,
                ..all()
            },
        )
        .await;
        assert_eq!(
            (totals(&messages), keys(&messages).len()),
            ((4, 2, false), 2)
        );
        let counted = streamed(
            &mut served.kv(),
            pb::RangeRequest {
                revision: 3,
                count_only: true,
                ..all()
            },
        )
        .await;
        assert_eq!((totals(&counted), keys(&counted).len()), ((4, 2, false), 0));
    });
}

#[test]
fn range_stream_ends_when_its_revision_is_compacted() {
    let _deadline = deadline();
    run(async {
        let served = Served::new().await;
        let (_, stream) = opened_over_large_values(&served, all()).await;
        served.db.put(Put::new("0000", "")).expect("a put");
        served
            .kv()
            .compact(pb::CompactionRequest {
                revision: 202,
                physical: true,
            })
            .await
            .expect("6.2");
        let text = "etcdserver: mvcc: required revision has been compacted";
        refused(rest(stream).await, Code::OutOfRange, text);
    });
}

#[test]
fn range_stream_messages_grow_from_ten_keys() {
    let _deadline = deadline();
    run(async {
        let served = Served::new().await;
        let mut kv = served.kv();
        let empty = streamed(&mut kv, all()).await;
        assert_eq!((sizes(&empty), totals(&empty)), (vec![0], (1, 0, false)));
        for number in 0..300 {
            served
                .db
                .put(Put::new(format!("{number:04}"), "v"))
                .expect("a put");
        }
        let of_many = |limit: i64| pb::RangeRequest { limit, ..all() };
        let of_ten = pb::RangeRequest {
            key: "0000".into(),
            range_end: "0010".into(),
            ..Default::default()
        };
        let of_one = pb::RangeRequest {
            key: "0007".into(),
            ..Default::default()
        };
        let counted = pb::RangeRequest {
            count_only: true,
            limit: 5,
            ..all()
        };
        for (request, messages, count, more) in [
            (of_many(0), vec![10, 20, 40, 80, 150], 300, false),
            (of_many(300), vec![10, 20, 40, 80, 150], 300, false),
            (of_many(-1), vec![10, 20, 40, 80, 150], 300, false),
            (of_many(11), vec![10, 1], 300, true),
            (of_many(10), vec![10], 300, true),
            (
                pb::RangeRequest {
                    limit: 10,
                    ..of_ten.clone()
                },
                vec![10],
                10,
                false,
            ),
            (of_ten, vec![10], 10, false),
            (
                pb::RangeRequest {
                    limit: 1,
                    ..of_one.clone()
                },
                vec![1],
                1,
                false,
            ),
            (of_one, vec![1], 1, false),
            (counted, vec![0], 300, false),
            (
                pb::RangeRequest {
                    keys_only: true,
                    ..of_many(3)
                },
                vec![3],
                300,
                true,
            ),
        ] {
            let what = format!("{request:?}");
            let keys_only = request.keys_only;
            let found = streamed(&mut kv, request).await;
            assert_eq!(
                (sizes(&found), totals(&found)),
                (messages, (301, count, more)),
                "{what}"
            );
            let value = if keys_only { "" } else { "v" };
            assert!(
                found
                    .iter()
                    .flat_map(|message| &message.kvs)
                    .all(|kv| kv.value == value),
                "{what}"
            );
        }
    });
}

#[test]
fn range_stream_messages_end_at_a_size() {
    let _deadline = deadline();
    run(async {
        let served = Served::new().await;
        for number in 0..12 {
            served
                .db
                .put(Put::new(format!("{number:04}"), vec![b'x'; 1_500_000]))
                .expect("a put");
        }
        let messages = streamed(&mut served.kv(), all()).await;
        assert_eq!(
            (sizes(&messages), totals(&messages)),
            (vec![1; 12], (13, 12, false))
        );
    });
}

/// No order is the order of keys, also where it names another target.
#[test]
fn range_stream_without_an_order_ascends_by_its_target() {
    let _deadline = deadline();
    run(async {
        let served = Served::new().await;
        let mut kv = served.kv();
        // the later the key the older, the less often written, and the smaller its value
        for number in (0..50).rev() {
            for _ in number..50 {
                served
                    .db
                    .put(Put::new(
                        format!("{number:04}"),
                        format!("{:04}", 50 - number),
                    ))
                    .expect("a put");
            }
        }
        let by_key: Vec<_> = (0..50)
            .map(|number| Bytes::from(format!("{number:04}")))
            .collect();
        let reversed: Vec<_> = by_key.iter().rev().cloned().collect();
        for (sort_order, sort_target) in [(0, 0), (0, 1), (0, 2), (0, 3), (0, 4), (1, 0)] {
            let request = pb::RangeRequest {
                sort_order,
                sort_target,
                ..all()
            };
            let messages = streamed(&mut kv, request.clone()).await;
            let expected = if sort_target == 0 { &by_key } else { &reversed };
            assert_eq!(
                keys(&messages),
                *expected,
                "order {sort_order}, target {sort_target}"
            );
            assert_eq!(sizes(&messages), [10, 20, 20]);
            let last = messages.last().expect("a message");
            assert_eq!((last.count, last.more), (50, false), "target {sort_target}");
            let some = streamed(
                &mut kv,
                pb::RangeRequest {
                    limit: 3,
                    ..request.clone()
                },
            )
            .await;
            assert_eq!(
                (keys(&some), some[0].count, some[0].more),
                (expected[..3].to_vec(), 50, true)
            );
            let counted = streamed(
                &mut kv,
                pb::RangeRequest {
                    count_only: true,
                    ..request
                },
            )
            .await;
            assert_eq!(
                (keys(&counted).len(), counted[0].count, counted[0].more),
                (0, 50, false)
            );
        }
    });
}

#[test]
fn range_stream_refusals_are_etcds_in_etcds_order() {
    let _deadline = deadline();
    run(async {
        let served = Served::new().await;
        let mut kv = served.kv();
        let empty = pb::RangeRequest {
            sort_order: 9,
            min_mod_revision: 1,
            revision: 9,
            ..range("")
        };
        let unsorted = pb::RangeRequest {
            key: "a".into(),
            ..empty.clone()
        };
        let unknown_target = pb::RangeRequest {
            sort_order: 0,
            sort_target: 9,
            ..unsorted.clone()
        };
        let descending = pb::RangeRequest {
            sort_order: 2,
            ..unsorted.clone()
        };
        let by_value = pb::RangeRequest {
            sort_order: 1,
            sort_target: 4,
            ..unsorted.clone()
        };
        let filtered = pb::RangeRequest {
            sort_order: 1,
            ..unsorted.clone()
        };
        let filtered_below_0 = pb::RangeRequest {
            max_create_revision: -1,
            min_mod_revision: 0,
            ..filtered.clone()
        };
        let future = pb::RangeRequest {
            min_mod_revision: 0,
            ..filtered.clone()
        };
        let (bad, none) = (Code::InvalidArgument, Code::Unimplemented);
        let empty_without_order = pb::RangeRequest {
            sort_order: 2,
            ..empty.clone()
        };
        for (request, code, text) in [
            (empty, bad, "etcdserver: key is not provided"),
            (empty_without_order, bad, "etcdserver: key is not provided"),
            (unsorted, bad, "etcdserver: invalid sort option"),
            (unknown_target, bad, "etcdserver: invalid sort option"),
            (
                descending,
                none,
                "RangeStream does not support custom sort orders",
            ),
            (
                by_value,
                none,
                "RangeStream does not support custom sort orders",
            ),
            (
                filtered,
                none,
                "RangeStream does not support revision filters",
            ),
            (
                filtered_below_0,
                none,
                "RangeStream does not support revision filters",
            ),
            (
                future,
                Code::OutOfRange,
                "etcdserver: mvcc: required revision is a future revision",
            ),
        ] {
            refused(kv.range_stream(request).await.map(drop), code, text);
        }
    });
}

#[test]
fn leases_are_granted_kept_and_revoked() {
    let _deadline = deadline();
    run(async {
        let served = Served::new().await;
        let mut lease = served.lease();
        let granted = lease
            .lease_grant(pb::LeaseGrantRequest { ttl: 100, id: 7 })
            .await
            .expect("7.1")
            .into_inner();
        assert_eq!(
            (granted.id, granted.ttl, revision(&granted.header)),
            (7, 100, 1)
        );
        let own = lease
            .lease_grant(pb::LeaseGrantRequest { ttl: 0, id: 0 })
            .await
            .expect("7.1, 7.2")
            .into_inner();
        assert!(own.id > 0 && own.ttl == 2, "{own:?}");
        let exists = lease
            .lease_grant(pb::LeaseGrantRequest { ttl: 100, id: 7 })
            .await;
        refused(
            exists,
            Code::FailedPrecondition,
            "etcdserver: lease already exists",
        );
        let large = lease
            .lease_grant(pb::LeaseGrantRequest {
                ttl: 9_000_000_001,
                id: 0,
            })
            .await;
        refused(large, Code::OutOfRange, "etcdserver: too large lease TTL");

        served.db.put(Put::new("k", "v").lease(7)).expect("a put");
        let left = lease
            .lease_time_to_live(pb::LeaseTimeToLiveRequest { id: 7, keys: true })
            .await
            .expect("7.5");
        let left = left.into_inner();
        assert_eq!(
            (left.granted_ttl, left.keys, revision(&left.header)),
            (100, vec![Bytes::from("k")], 2)
        );
        assert!((98..=100).contains(&left.ttl), "{}", left.ttl);
        let none = lease
            .lease_time_to_live(pb::LeaseTimeToLiveRequest { id: 8, keys: true })
            .await
            .expect("7.5");
        let none = none.into_inner();
        assert_eq!((none.id, none.ttl, none.granted_ttl), (8, -1, 0));
        let list = lease
            .lease_leases(pb::LeaseLeasesRequest {})
            .await
            .expect("7.6")
            .into_inner();
        assert_eq!(
            list.leases.iter().map(|lease| lease.id).collect::<Vec<_>>(),
            [own.id, 7]
        );

        let (ask, asked) = tokio::sync::mpsc::channel(8);
        for id in [7, 8, 7, 0] {
            ask.send(pb::LeaseKeepAliveRequest { id })
                .await
                .expect("it is open");
        }
        let mut kept = lease
            .lease_keep_alive(ReceiverStream::new(asked))
            .await
            .expect("7.4")
            .into_inner();
        for (id, ttl) in [(7, 100), (8, 0), (7, 100), (0, 0)] {
            let response = kept.message().await.expect("it lives").expect("a response");
            assert_eq!(
                (response.id, response.ttl, revision(&response.header)),
                (id, ttl, 2)
            );
        }
        drop(ask);
        assert!(
            kept.message().await.expect("a clean end").is_none(),
            "7.4: half-close"
        );

        let revoked = lease
            .lease_revoke(pb::LeaseRevokeRequest { id: 7 })
            .await
            .expect("7.3")
            .into_inner();
        assert_eq!(
            (
                revision(&revoked.header),
                served.db.get("k").expect("a get")
            ),
            (3, None)
        );
        let gone = lease.lease_revoke(pb::LeaseRevokeRequest { id: 7 }).await;
        refused(
            gone,
            Code::NotFound,
            "etcdserver: requested lease not found",
        );
    });
}

/// A client that goes on from the header's revision misses no key that the answer left out.
#[test]
fn lease_header_is_not_newer_than_the_keys() {
    let _deadline = deadline();
    run(async {
        let served = Served::new().await;
        served
            .db
            .lease_grant(LeaseGrant::new(100).id(7))
            .expect("a grant");
        // many, so that they take a moment to read
        for txn in 0..100 {
            let puts = (0..100).map(|number| Put::new(format!("{txn}/{number}"), "").lease(7));
            let txn = puts.fold(libkv::Txn::new(), libkv::Txn::and_then);
            served.db.txn(txn).expect("a txn");
        }
        let db = served.db.clone();
        let writer = std::thread::spawn(move || {
            for number in 0..2_000 {
                db.put(Put::new(format!("{number}"), "").lease(7))
                    .expect("a put");
            }
        });
        let mut lease = served.lease();
        while !writer.is_finished() {
            let left = lease
                .lease_time_to_live(pb::LeaseTimeToLiveRequest { id: 7, keys: true })
                .await
                .expect("7.5");
            let left = left.into_inner();
            let (keys, at) = (left.keys.len() as i64, revision(&left.header));
            assert!(keys - 10_000 >= at - 101, "{keys} keys at revision {at}");
        }
        writer.join().expect("no panic");
    });
}

#[test]
fn leases_restart_at_open_with_that_option() {
    let _deadline = deadline();
    let clock = libkv::Clock::new(1_000);
    let db = Db::open(":memory:", Options::new().clock(clock.clone())).expect("a store");
    db.lease_grant(LeaseGrant::new(100).id(1)).expect("a grant");
    clock.advance(60_000);
    let left = || db.lease_time_to_live(1).expect("a lease").ttl_seconds;
    assert_eq!(left(), 40);
    serve(&db, "127.0.0.1:0").expect("it serves").close();
    assert_eq!(left(), 40, "a server in a living program leaves them");
    serve(&db, Serve::new("127.0.0.1:0").refresh_leases(true))
        .expect("it serves")
        .close();
    assert_eq!(left(), 100);
}

#[test]
fn maintenance_status_is_that_of_the_store() {
    let _deadline = deadline();
    run(async {
        let served = Served::new().await;
        served.db.put(Put::new("a", "1")).expect("a put");
        let mut maintenance = served.maintenance();
        let status = maintenance
            .status(pb::StatusRequest {})
            .await
            .expect("a status")
            .into_inner();
        let header = status.header.expect("a header");
        assert_eq!(
            (status.version.as_str(), status.leader, header.revision),
            ("3.7.3", header.member_id, 2)
        );
        assert_eq!(
            (status.storage_version.as_str(), status.db_size_quota),
            ("3.7.0", -1)
        );
        assert_eq!(
            status.downgrade_info,
            Some(pb::DowngradeInfo::default()),
            "it is present"
        );
        assert!(
            status.db_size >= status.db_size_in_use && status.db_size_in_use > 0,
            "{status:?}"
        );
        assert!(
            status.raft_index > 0
                && status.raft_term == 2
                && !status.is_learner
                && status.errors.is_empty()
        );
        let defragmented = maintenance
            .defragment(pb::DefragmentRequest {})
            .await
            .expect("next to nothing is free");
        assert_eq!(defragmented.into_inner().header, None, "1.10");

        let own = pb::MoveLeaderRequest {
            target_id: header.member_id,
        };
        assert_eq!(
            maintenance
                .move_leader(own)
                .await
                .expect("the leader")
                .into_inner()
                .header,
            None,
            "1.10"
        );
        let other = maintenance
            .move_leader(pb::MoveLeaderRequest { target_id: 1 })
            .await;
        refused(
            other,
            Code::FailedPrecondition,
            "etcdserver: bad leader transferee",
        );
        let older = pb::DowngradeRequest {
            action: 0,
            version: "3.6.0".into(),
        };
        assert_eq!(
            maintenance
                .downgrade(older)
                .await
                .expect("one below")
                .into_inner()
                .version,
            "3.7"
        );
        let cancel = pb::DowngradeRequest {
            action: 2,
            version: String::new(),
        };
        assert_eq!(
            maintenance
                .downgrade(cancel)
                .await
                .expect("none is under way")
                .into_inner()
                .version,
            "3.7"
        );
        let unknown = pb::DowngradeRequest {
            action: 9,
            version: String::new(),
        };
        refused(
            maintenance.downgrade(unknown).await,
            Code::Unknown,
            "etcdserver: unknown method",
        );

        let negative = maintenance
            .hash_kv(pb::HashKvRequest { revision: -1 })
            .await;
        refused(
            negative,
            Code::InvalidArgument,
            "etcdserver: the revision is -1; 0 is the current one",
        );
        // the parts of a snapshot, then its hash, whose length shows that the file is complete
        let parts = maintenance.snapshot(pb::SnapshotRequest {}).await;
        let mut parts = parts.expect("a stream").into_inner();
        let (mut lengths, mut remaining) = (Vec::new(), Vec::new());
        while let Some(part) = parts.message().await.expect("a part") {
            lengths.push(part.blob.len());
            remaining.push(part.remaining_bytes);
        }
        assert_eq!(lengths.pop(), Some(32));
        assert!(lengths.iter().all(|&len| len <= 32_768 && len % 4_096 == 0));
        assert!(remaining.is_sorted_by(|before, after| before >= after));
        assert_eq!(remaining.last(), Some(&0));
    });
}

#[test]
fn cluster_has_one_member() {
    let _deadline = deadline();
    run(async {
        let how = Serve::new("127.0.0.1:0")
            .name("alone")
            .advertise("http://example:2379");
        let served = Served::how(how).await;
        let list = served
            .cluster()
            .member_list(pb::MemberListRequest::default())
            .await
            .expect("a list")
            .into_inner();
        let header = list.header.expect("a header");
        assert_eq!((header.revision, list.members.len()), (0, 1), "1.10");
        let member = &list.members[0];
        assert_eq!(
            (member.id, member.name.as_str()),
            (header.member_id, "alone")
        );
        assert_eq!(member.client_ur_ls, ["http://example:2379"]);
    });
}

#[test]
fn member_has_the_peer_urls_that_were_given() {
    let _deadline = deadline();
    run(async {
        let urls = ["http://10.0.0.1:2380", "http://10.0.0.2:2380"];
        let served = Served::how(Serve::new("127.0.0.1:0").peer_urls(urls)).await;
        let list = served
            .cluster()
            .member_list(pb::MemberListRequest::default())
            .await
            .expect("a list")
            .into_inner();
        assert_eq!(list.members[0].peer_ur_ls, urls);
        assert_eq!(list.members[0].client_ur_ls, [served.server.address()]);
    });
}

#[test]
fn wildcard_address_is_not_advertised() {
    let _deadline = deadline();
    run(async {
        for (address, given) in [
            ("0.0.0.0:0", None),
            ("0.0.0.0:0", Some("http://example:2379")),
        ] {
            let lines = Arc::new(Mutex::new(Vec::new()));
            let into = lines.clone();
            let how = Serve::new(address);
            let how = how.log(move |level, line| {
                into.lock()
                    .expect("no panic")
                    .push((level, line.to_string()))
            });
            let server =
                serve(&store(), given.into_iter().fold(how, Serve::advertise)).expect("it serves");
            let port = server
                .address()
                .rsplit(':')
                .next()
                .expect("a port")
                .to_string();
            let mut cluster =
                ClusterClient::new(connect(&format!("http://127.0.0.1:{port}")).await);
            let list = cluster
                .member_list(pb::MemberListRequest::default())
                .await
                .expect("a list")
                .into_inner();
            let [url] = &list.members[0].client_ur_ls[..] else {
                panic!("one URL: {list:?}")
            };
            let warned = lines
                .lock()
                .expect("no panic")
                .iter()
                .any(|(level, line)| *level == Level::Warn && line.contains(url));
            match given {
                Some(given) => assert_eq!((url.as_str(), warned), (given, false)),
                None => {
                    assert!(
                        !url.contains("0.0.0.0") && url.ends_with(&format!(":{port}")),
                        "{url}"
                    );
                    assert!(warned, "{lines:?}");
                    connect(url).await;
                }
            }
        }
    });
}

#[test]
fn authentication_is_off() {
    let _deadline = deadline();
    run(async {
        let served = Served::new().await;
        served.db.put(Put::new("a", "1")).expect("a put");
        let mut auth = AuthClient::new(served.channel.clone());
        let status = auth
            .auth_status(pb::AuthStatusRequest {})
            .await
            .expect("a status")
            .into_inner();
        assert_eq!(
            (
                status.enabled,
                status.auth_revision,
                revision(&status.header)
            ),
            (false, 1, 2)
        );
        let disabled = auth
            .auth_disable(pb::AuthDisableRequest {})
            .await
            .expect("it is off")
            .into_inner();
        assert_eq!(revision(&disabled.header), 2);
        let login = pb::AuthenticateRequest {
            name: "root".into(),
            password: "secret".into(),
        };
        let text = "etcdserver: authentication is not enabled";
        refused(
            auth.authenticate(login).await,
            Code::FailedPrecondition,
            text,
        );
        refused(
            auth.auth_enable(pb::AuthEnableRequest {}).await,
            Code::Unimplemented,
            "etcdserver: authentication is not supported by libkv yet",
        );
    });
}

/// A program with a user and a password in its configuration works on a server without users.
#[test]
fn client_with_a_password_goes_on_where_authentication_is_off() {
    let _deadline = deadline();
    let server = serve(&store(), "127.0.0.1:0").expect("it serves");
    let options = Options::new().user("root").password("secret");
    let db = libkv_etcd::open(server.address(), options).expect("it opens");
    db.put(Put::new("a", "1")).expect("a put");
    assert_eq!(
        db.get("a").expect("a get").expect("it is there").value,
        &b"1"[..]
    );
}

#[test]
fn health_is_reported_by_service_name() {
    let _deadline = deadline();
    run(async {
        let served = Served::new().await;
        let mut health = served.health();
        let ask = |service: &str| HealthCheckRequest {
            service: service.into(),
        };
        let well = health.check(ask("")).await.expect("15.10").into_inner();
        assert_eq!(well.status(), ServingStatus::Serving);
        refused(
            health.check(ask("x")).await,
            Code::NotFound,
            "unknown service",
        );
        let mut watched = health.watch(ask("")).await.expect("a stream").into_inner();
        let first = watched
            .message()
            .await
            .expect("it lives")
            .expect("a response");
        assert_eq!(first.status(), ServingStatus::Serving);
        served.server.close();
        refused(
            watched.message().await,
            Code::Unavailable,
            "etcdserver: server stopped",
        );
    });
}

/// Any method, also one that is not there, with a message of raw bytes.
async fn call(
    served: &Served,
    path: &'static str,
    message: Vec<u8>,
) -> Result<Vec<u8>, tonic::Status> {
    let mut grpc = tonic::client::Grpc::new(served.channel.clone());
    grpc.ready().await.expect("it is open");
    let path = http::uri::PathAndQuery::from_static(path);
    grpc.unary(Request::new(message), path, raw::Codec)
        .await
        .map(tonic::Response::into_inner)
}

/// Messages as they are.
mod raw {
    use bytes::{Buf, BufMut};
    use tonic::Status;
    use tonic::codec::{DecodeBuf, Decoder, EncodeBuf, Encoder};

    #[derive(Default)]
    pub struct Codec;

    impl tonic::codec::Codec for Codec {
        type Encode = Vec<u8>;
        type Decode = Vec<u8>;
        type Encoder = Codec;
        type Decoder = Codec;

        fn encoder(&mut self) -> Codec {
            Codec
        }

        fn decoder(&mut self) -> Codec {
            Codec
        }
    }

    impl Encoder for Codec {
        type Item = Vec<u8>;
        type Error = Status;

        fn encode(&mut self, message: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
            to.put_slice(&message);
            Ok(())
        }
    }

    impl Decoder for Codec {
        type Item = Vec<u8>;
        type Error = Status;

        fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
            let length = from.remaining();
            Ok(Some(from.copy_to_bytes(length).to_vec()))
        }
    }
}

#[test]
fn methods_that_do_not_exist_are_named() {
    let _deadline = deadline();
    run(async {
        let served = Served::new().await;
        for (path, text) in [
            (
                "/etcdserverpb.KV/Nothing",
                "unknown method Nothing for service etcdserverpb.KV",
            ),
            (
                "/etcdserverpb.Nothing/Range",
                "unknown service etcdserverpb.Nothing",
            ),
            (
                "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
                "unknown service grpc.reflection.v1.ServerReflection",
            ),
        ] {
            refused(call(&served, path, vec![]).await, Code::Unimplemented, text);
        }
        let auth = call(&served, "/etcdserverpb.Auth/AuthEnable", vec![]).await;
        refused(
            auth,
            Code::Unimplemented,
            "etcdserver: authentication is not supported by libkv yet",
        );
    });
}

#[test]
fn messages_that_cannot_be_decoded_are_refused() {
    let _deadline = deadline();
    use pb::request_op::Request as Op;
    use prost::Message;
    run(async {
        let served = Served::new().await;
        // field 1 as a varint, which is bytes
        let status = call(&served, "/etcdserverpb.KV/Range", vec![0x08, 0x01])
            .await
            .expect_err("garbage");
        assert_eq!(status.code(), Code::Internal);
        assert!(
            status
                .message()
                .starts_with("grpc: error unmarshalling request: "),
            "{}",
            status.message()
        );
        // each txn is two messages more, within one another
        let mut deep = pb::TxnRequest {
            success: vec![op(Op::RequestPut(put("a", "1")))],
            ..Default::default()
        };
        for _ in 0..49 {
            deep = pb::TxnRequest {
                success: vec![op(Op::RequestTxn(deep))],
                ..Default::default()
            };
        }
        call(&served, "/etcdserverpb.KV/Txn", deep.encode_to_vec())
            .await
            .expect("as deep as it may be");
        deep = pb::TxnRequest {
            success: vec![op(Op::RequestTxn(deep))],
            ..Default::default()
        };
        let text = "grpc: error unmarshalling request: TxnRequest.success: ...: recursion limit reached: \
            messages are nested at most 100 deep, and so txns at most 49 deep";
        refused(served.kv().txn(deep).await, Code::Internal, text);
        let large = call(&served, "/etcdserverpb.KV/Put", vec![0; 2_097_153]).await;
        refused(
            large,
            Code::ResourceExhausted,
            "grpc: received message larger than max (2097153 vs. 2097152)",
        );
        let most = call(&served, "/etcdserverpb.KV/Put", vec![0; 2_097_152])
            .await
            .expect_err("no message");
        assert_eq!(most.code(), Code::Internal, "14: it was read");
        // a client may ask for more
        let how = Serve::new("127.0.0.1:0").max_request_bytes(4 << 20);
        let served = Served::how(how).await;
        let large = call(
            &served,
            "/etcdserverpb.KV/Put",
            vec![0; (4 << 20) + (512 << 10) + 1],
        )
        .await;
        let text = "grpc: received message larger than max (4718593 vs. 4718592)";
        refused(large, Code::ResourceExhausted, text);
    });
}

#[test]
fn limits_are_the_lower_of_handle_and_server() {
    let _deadline = deadline();
    use pb::request_op::Request as Op;
    const MIB: usize = 1 << 20;
    let handle = || {
        Db::open(
            ":memory:",
            Options::new()
                .max_request_bytes(16 * MIB as u64)
                .max_txn_ops(300),
        )
    };
    let txn = |ops: usize| pb::TxnRequest {
        success: (0..ops)
            .map(|n| op(Op::RequestPut(put(&format!("{n:04}"), "v"))))
            .collect(),
        ..Default::default()
    };
    let reads = |ops: usize| pb::TxnRequest {
        success: vec![
            op(Op::RequestRange(pb::RangeRequest {
                key: "a".into(),
                range_end: "b".into(),
                ..Default::default()
            }));
            ops
        ],
        ..Default::default()
    };
    run(async {
        // those of the handle
        let served = Served::of(handle().expect("a store"), "127.0.0.1:0").await;
        served
            .kv()
            .put(put("a", &"x".repeat(15 * MIB)))
            .await
            .expect("as the handle takes it");
        let text = "etcdserver: request is too large";
        refused(
            served.kv().put(put("a", &"x".repeat(16 * MIB))).await,
            Code::InvalidArgument,
            text,
        );
        served
            .kv()
            .txn(txn(300))
            .await
            .expect("as the handle takes it");
        let text = "etcdserver: too many operations in txn request";
        refused(served.kv().txn(txn(301)).await, Code::InvalidArgument, text);
        refused(
            served.kv().txn(reads(301)).await,
            Code::InvalidArgument,
            text,
        );
        // the server's own
        let how = Serve::new("127.0.0.1:0")
            .max_request_bytes(MIB as u64)
            .max_txn_ops(3);
        let served = Served::of(handle().expect("a store"), how).await;
        let revision = served.db.status().expect("a status").revision;
        let large = served.kv().put(put("a", &"x".repeat(MIB))).await;
        refused(
            large,
            Code::InvalidArgument,
            "etcdserver: request is too large",
        );
        refused(served.kv().txn(txn(4)).await, Code::InvalidArgument, text);
        refused(served.kv().txn(reads(4)).await, Code::InvalidArgument, text);
        assert_eq!(
            served.db.status().expect("a status").revision,
            revision,
            "nothing was written"
        );
        served
            .kv()
            .txn(txn(3))
            .await
            .expect("as the server takes it");
        served
            .kv()
            .txn(reads(3))
            .await
            .expect("as the server takes it");
        served
            .db
            .put(Put::new("a", "x".repeat(MIB)))
            .expect("the handle has limits of its own");
        // higher ones than the handle's
        let how = Serve::new("127.0.0.1:0")
            .max_request_bytes(64 * MIB as u64)
            .max_txn_ops(1000);
        let served = Served::of(handle().expect("a store"), how).await;
        let large = served.kv().put(put("a", &"x".repeat(17 * MIB))).await;
        refused(
            large,
            Code::InvalidArgument,
            "etcdserver: request is too large",
        );
        refused(served.kv().txn(txn(301)).await, Code::InvalidArgument, text);
    });
}

#[test]
fn compressed_requests_are_accepted() {
    let _deadline = deadline();
    run(async {
        let served = Served::new().await;
        let mut kv = served.kv().send_compressed(CompressionEncoding::Gzip);
        kv.put(put("a", &"x".repeat(1 << 20))).await.expect("a put");
        assert_eq!(
            served
                .db
                .get("a")
                .expect("a get")
                .expect("it is there")
                .value
                .len(),
            1 << 20
        );
        // small on the wire, large when it is unpacked
        let bomb = kv
            .put(put("a", &"x".repeat(8 << 20)))
            .await
            .expect_err("too large");
        assert_eq!(bomb.code(), Code::ResourceExhausted);
        let text = "grpc: received message after decompression larger than max 2097152";
        assert_eq!(bomb.message(), text);
    });
}

#[test]
fn deadline_of_a_client_is_kept() {
    let _deadline = deadline();
    run(async {
        let served = Served::new().await;
        let mut request = Request::new(HealthCheckRequest::default());
        request.set_timeout(Duration::from_millis(20));
        // the client has no clock of its own here: the header alone ends it
        let mut watched = served
            .health()
            .watch(request)
            .await
            .expect("a stream")
            .into_inner();
        watched
            .message()
            .await
            .expect("it lives")
            .expect("a response");
        let status = watched.message().await.expect_err("too late");
        assert!(
            matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled),
            "{status:?}"
        );
    });
}

#[test]
fn addresses_two_serve_one_store() {
    let _deadline = deadline();
    run(async {
        let directory = tempdir("two");
        let path = directory.join("socket");
        let how = Serve::new("127.0.0.1:0").listen(format!("unix://{}", path.display()));
        let served = Served::how(how).await;
        assert_eq!(served.server.addresses().len(), 2);
        assert_eq!(
            served.server.addresses()[1],
            format!("unix://{}", path.display())
        );
        served.kv().put(put("a", "1")).await.expect("a put");
        let other = connect(&served.server.addresses()[1]).await;
        let got = pb::kv_client::KvClient::new(other)
            .range(range("a"))
            .await
            .expect("a range")
            .into_inner();
        assert_eq!(got.count, 1);
        served.server.close();
        served.server.close();
        assert!(!path.exists(), "the socket's file goes with the server");
        std::fs::remove_dir_all(directory).expect("it is ours");
    });
}

/// A directory of this test's own.
fn tempdir(name: &str) -> std::path::PathBuf {
    let path = std::env::temp_dir().join(format!("libkv-etcd-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&path).expect("a directory");
    path
}

#[test]
fn addresses_that_cannot_be_served_are_named() {
    let _deadline = deadline();
    use libkv::Code;
    let db = store();
    let code_of = |address: &str| {
        let error = serve(&db, address).expect_err(address);
        assert!(
            error
                .message()
                .contains(address.trim_start_matches("http://")),
            "{error}"
        );
        error.code()
    };
    for address in [
        "",
        "localhost",
        "localhost:",
        "host:99999",
        "ftp://a:1",
        ":1",
        "::1:80",
        "unix:",
        "http://a/b:1",
    ] {
        assert_eq!(code_of(address), Code::InvalidArgument, "{address}");
    }
    let first = serve(&db, "127.0.0.1:0").expect("a free port");
    assert_eq!(code_of(first.address()), Code::Busy);
    assert_eq!(
        serve(&db, "https://127.0.0.1:0")
            .expect_err("no certificate")
            .code(),
        Code::InvalidArgument
    );

    let directory = tempdir("bad");
    let file = directory.join("file");
    std::fs::write(&file, "mine").expect("a file");
    let address = format!("unix:{}", file.display());
    assert_eq!(
        serve(&db, address.as_str()).expect_err("a file").code(),
        Code::InvalidArgument
    );
    assert_eq!(std::fs::read(&file).expect("it is still there"), b"mine");
    // a socket that nobody listens on is replaced, one that lives is not
    let socket = directory.join("socket");
    drop(std::os::unix::net::UnixListener::bind(&socket).expect("a socket"));
    let address = format!("unix:{}", socket.display());
    let server = serve(&db, address.as_str()).expect("nobody listens there");
    assert_eq!(
        serve(&db, address.as_str()).expect_err("it lives").code(),
        Code::Busy
    );
    assert!(socket.exists());
    server.close();
    std::fs::remove_dir_all(directory).expect("it is ours");

    db.close();
    assert_eq!(
        serve(&db, "127.0.0.1:0").expect_err("closed").code(),
        Code::Closed
    );
}

#[test]
fn address_in_use_is_named_within_a_runtime() {
    let _deadline = deadline();
    run(async {
        let served = Served::new().await;
        let error = serve(&served.db, served.server.address()).expect_err("it is taken");
        assert_eq!(error.code(), libkv::Code::Busy);
    });
}

#[test]
fn close_ends_streams_and_frees_the_address() {
    let _deadline = deadline();
    run(async {
        let served = Served::new().await;
        let mut lease = served.lease();
        let (_ask, asked) = tokio::sync::mpsc::channel(1);
        let mut kept = lease
            .lease_keep_alive(ReceiverStream::new(asked))
            .await
            .expect("a stream")
            .into_inner();
        // within a runtime, while streams are open
        served.server.close();
        refused(
            kept.message().await,
            Code::Unavailable,
            "etcdserver: server stopped",
        );
        let address = served.server.address().to_string();
        let again = serve(&served.db, address.as_str()).expect("the address is free");
        assert_eq!(again.address(), address);
    });
}

#[test]
fn closed_store_refuses_calls() {
    let _deadline = deadline();
    run(async {
        let served = Served::new().await;
        served.db.close();
        let status = served.kv().put(put("a", "1")).await.expect_err("closed");
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        let status = served.kv().range(range("a")).await.expect_err("closed");
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    });
}

#[test]
fn log_has_a_line_for_each_address() {
    let _deadline = deadline();
    let lines = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let into = lines.clone();
    let how = Serve::new("127.0.0.1:0").log(move |level, line| {
        into.lock()
            .expect("no panic")
            .push((level, line.to_string()))
    });
    let server = serve(&store(), how).expect("it serves");
    let said = lines.lock().expect("no panic").clone();
    assert_eq!(
        said,
        [(
            Level::Info,
            format!("serving clients on {}", server.address())
        )]
    );
}

/// Collects the events of the server.
struct Events(Mutex<Vec<(tracing::Level, String)>>);

impl tracing::Subscriber for Events {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "libkv_etcd::server"
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        struct Message(String);
        impl tracing::field::Visit for Message {
            fn record_debug(&mut self, _: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                self.0 = format!("{value:?}");
            }
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        self.0
            .lock()
            .expect("no panic")
            .push((*event.metadata().level(), message.0));
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn log_lines_are_events_of_tracing() {
    let _deadline = deadline();
    let events = Arc::new(Events(Mutex::new(Vec::new())));
    let server = tracing::subscriber::with_default(events.clone(), || {
        serve(&store(), "127.0.0.1:0").expect("it serves")
    });
    let should = (
        tracing::Level::INFO,
        format!("serving clients on {}", server.address()),
    );
    assert_eq!(*events.0.lock().expect("no panic"), [should]);
}
