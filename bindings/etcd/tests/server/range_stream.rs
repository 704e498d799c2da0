//! The rpc RangeStream.

use bytes::Bytes;
use libkv::Put;
use libkv_etcd::pb::etcdserverpb as pb;
use libkv_test_support::deadline::deadline;
use tonic::Code;

use crate::support::{Served, refused, run};
use crate::{all, put, range, revision};

type KvClient = pb::kv_client::KvClient<tonic::transport::Channel>;

/// The rest of a range stream, up to its end.
async fn rest(
    mut stream: tonic::Streaming<pb::RangeStreamResponse>,
) -> Result<Vec<pb::RangeResponse>, tonic::Status> {
    let mut messages = Vec::new();
    while let Some(message) = stream.message().await? {
        messages.push(message.range_response.expect("a response of a range"));
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
    .expect("a complete stream")
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
        .expect("no error")
        .expect("a message")
        .range_response
        .expect("a response of a range");
    assert!(
        first.header.is_none() && (1..=10).contains(&first.kvs.len()),
        "{} keys in the first message",
        first.kvs.len()
    );
    (first, stream)
}

#[test]
fn range_stream_header_is_the_opening_revision() {
    let _deadline = deadline();
    run(async {
        for (revision, limit) in [(0, 0), (0, 150), (201, 0), (201, 150)] {
            let served = Served::new().await;
            let request = pb::RangeRequest {
                revision,
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
            messages.extend(rest(stream).await.expect("a complete stream"));
            assert_eq!(
                totals(&messages),
                (201, 200, limit > 0),
                "revision {revision}, limit {limit}"
            );
            let wanted = if limit > 0 { limit as usize } else { 200 };
            let wanted: Vec<_> = (0..wanted)
                .map(|number| Bytes::from(format!("{number:04}")))
                .collect();
            assert_eq!(
                keys(&messages),
                wanted,
                "revision {revision}, limit {limit}"
            );
        }
    });
}

/// The pairs are those of the past revision. The header has the current revision of the store.
#[test]
fn range_stream_of_a_past_revision_has_the_current_revision_in_its_header() {
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

/// Without an order the result ascends by its target. The default target is the key.
#[test]
fn range_stream_without_an_order_ascends_by_its_target() {
    let _deadline = deadline();
    run(async {
        let served = Served::new().await;
        let mut kv = served.kv();
        // a greater key is older, is written less often, and has a smaller value
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
fn range_stream_refusals_are_checked_in_etcds_order() {
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
