//! Ranges, puts, deletions, txns and compactions.

use bytes::Bytes;
use libkv_etcd::pb::etcdserverpb as pb;
use libkv_test_support::deadline::deadline;
use tonic::Code;

use crate::support::{Served, refused, run};
use crate::{op, put, range, revision};

#[test]
fn kv_responses_with_headers() {
    let _deadline = deadline();
    run(async {
        let served = Served::new().await;
        let mut kv = served.kv();
        let empty = kv.range(range("a")).await.expect("1.1").into_inner();
        let header = empty.header.expect("a header");
        assert_eq!((header.revision, header.raft_term), (1, 2));
        let id = served.db.status().expect("open").store_id;
        assert_eq!(
            format!("{:016x}{:016x}", header.cluster_id, header.member_id),
            id,
            "the ids are the parts of the store's id"
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
                again.prev_kv.expect("the previous pair").value
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
fn kv_refusals_have_etcds_texts() {
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
        let bad_sort = |key: &str| {
            op(pb::request_op::Request::RequestRange(pb::RangeRequest {
                sort_order: 7,
                ..range(key)
            }))
        };
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
            (
                vec![bad_sort("k"), none.clone()],
                vec![],
                "etcdserver: invalid sort option",
            ),
            (
                vec![no_key.clone(), bad_sort("k")],
                vec![],
                "etcdserver: key is not provided",
            ),
            (
                vec![bad_sort("")],
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
        assert_eq!(served.db.status().expect("open").revision, 1);
    });
}
