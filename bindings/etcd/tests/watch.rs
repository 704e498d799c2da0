//! The service Watch by the rows of contract 10, on our server and on a real etcd 3.5.1.

mod wire;

use std::sync::mpsc;

use libkv::{Clock, Code, Options, Put, Range};
use libkv_etcd::Serve;
use libkv_etcd::pb::etcdserverpb::watch_create_request::FilterType;
use libkv_etcd::pb::etcdserverpb::watch_request::RequestUnion;
use libkv_etcd::pb::etcdserverpb::*;
use libkv_etcd::pb::mvccpb::event::EventType;
use tonic::transport::Channel;

use self::wire::*;
use libkv_test_support::deadline::deadline;

/// The server under test. `tests/deviations.md` lists the differences.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Target {
    Libkv,
    Etcd,
}

fn at(response: &WatchResponse) -> i64 {
    response.header.as_ref().expect("a header").revision
}

/// Key, value or `-` for a deletion, and revision of each event.
fn events_of(response: &WatchResponse) -> Vec<(String, String, i64)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let events = response.events.iter().map(|event| {
        let kv = event.kv.as_ref().expect("a pair");
        let value = if event.r#type() == EventType::Delete {
            "-".to_string()
        } else {
            text(&kv.value)
        };
        (text(&kv.key), value, kv.mod_revision)
    });
    events.collect()
}

fn event(key: &str, value: &str, revision: i64) -> (String, String, i64) {
    (key.into(), value.into(), revision)
}

async fn row_1_created_at_the_current_revision(channel: &Channel) {
    let mut kv = Kv::new(channel);
    let revision = kv.put("r1", "v").await;
    let mut watches = Watches::open(channel).await;
    let created = watches.create(watch("r1", "")).await;
    assert_eq!(
        (created.watch_id, created.canceled, at(&created)),
        (0, false, revision)
    );
    let header = created.header.expect("a header");
    assert!(header.cluster_id != 0 && header.member_id != 0 && header.raft_term > 0);
}

async fn row_2_ids(channel: &Channel) {
    let mut watches = Watches::open(channel).await;
    let mut next = async |id: i64| {
        let created = watches
            .create(WatchCreateRequest {
                watch_id: id,
                ..watch("r2", "")
            })
            .await;
        (created.watch_id, created.canceled, created.cancel_reason)
    };
    let fine = |id| (id, false, String::new());
    let in_use = (
        -1,
        true,
        "mvcc: duplicate watch ID provided on the WatchStream".to_string(),
    );
    assert_eq!(next(0).await, fine(0));
    assert_eq!(next(2).await, fine(2));
    assert_eq!(next(0).await, fine(1));
    assert_eq!(next(0).await, fine(3));
    assert_eq!(next(-7).await, fine(-7));
    assert_eq!(next(-7).await, in_use);
    assert_eq!(next(2).await, in_use);
    watches.cancel(2);
    let canceled = watches.next().await;
    assert_eq!((canceled.watch_id, canceled.canceled), (2, true));
    let again = watches
        .create(WatchCreateRequest {
            watch_id: 2,
            ..watch("r2", "")
        })
        .await;
    assert_eq!((again.watch_id, again.canceled), (2, false));
}

async fn row_3_where_it_starts(channel: &Channel, target: Target) {
    let mut kv = Kv::new(channel);
    let first = kv.put("r3", "1").await;
    kv.put("r3", "2").await;
    let mut watches = Watches::open(channel).await;
    watches
        .create(WatchCreateRequest {
            watch_id: 1,
            ..watch("r3", "")
        })
        .await;
    watches
        .create(WatchCreateRequest {
            watch_id: 2,
            start_revision: first + 1,
            ..watch("r3", "")
        })
        .await;
    let past = watches.next().await;
    assert_eq!(
        (past.watch_id, events_of(&past)),
        (2, vec![event("r3", "2", first + 1)])
    );
    assert_eq!(at(&past), first + 1);
    watches.cancel(2);
    assert!(watches.next().await.canceled);
    let third = kv.put("r3", "3").await;
    let now = watches.next().await;
    assert_eq!(
        (now.watch_id, events_of(&now)),
        (1, vec![event("r3", "3", third)])
    );
    watches.cancel(1);
    assert!(watches.next().await.canceled);
    // a start two revisions ahead: earlier events are never delivered
    let future = watches
        .create(WatchCreateRequest {
            start_revision: third + 2,
            ..watch("r3", "")
        })
        .await;
    assert!(!future.canceled);
    kv.put("r3", "4").await;
    kv.put("r3", "5").await;
    assert_eq!(
        events_of(&watches.next().await),
        vec![event("r3", "5", third + 2)]
    );
    let negative = watches
        .create(WatchCreateRequest {
            start_revision: -1,
            ..watch("r3", "")
        })
        .await;
    match target {
        Target::Etcd => assert!(!negative.canceled),
        Target::Libkv => {
            assert_eq!((negative.watch_id, negative.canceled), (-1, true));
            assert_eq!(
                negative.cancel_reason,
                "etcdserver: mvcc: required revision has been compacted"
            );
            assert_eq!(negative.compact_revision, 0);
        }
    }
}

async fn row_4_backward_ranges(channel: &Channel) {
    let mut watches = Watches::open(channel).await;
    for (key, end) in [("b", "a"), ("b", "b")] {
        let refused = watches.create(watch(key, end)).await;
        assert_eq!((refused.watch_id, refused.canceled), (-1, true));
        assert_eq!(refused.cancel_reason, "mvcc: watcher range is empty");
    }
    // all keys from b on; an empty key is the first possible key
    assert_eq!(watches.create(watch("b", "\0")).await.watch_id, 0);
    assert_eq!(watches.create(watch("", "")).await.watch_id, 1);
}

async fn row_5_cancel(channel: &Channel) {
    let mut watches = Watches::open(channel).await;
    assert_eq!(watches.create(watch("r5", "")).await.watch_id, 0);
    watches.cancel(9);
    watches.cancel(0);
    watches.cancel(0);
    let revision = Kv::new(channel).revision().await;
    let canceled = watches.next().await;
    assert_eq!(
        (canceled.watch_id, canceled.canceled, canceled.created),
        (0, true, false)
    );
    assert_eq!(
        (canceled.cancel_reason.as_str(), canceled.compact_revision),
        ("", 0)
    );
    assert_eq!(at(&canceled), revision);
    // no other response was sent
    assert_eq!(watches.create(watch("r5", "")).await.watch_id, 1);
}

async fn row_6_what_events_have(channel: &Channel) {
    let mut kv = Kv::new(channel);
    let mut watches = Watches::open(channel).await;
    watches.create(watch("r6", "")).await;
    let lease = grant(channel, 0, 60).await;
    let put = kv
        .put_with(PutRequest {
            key: "r6".into(),
            value: "v".into(),
            lease,
            ..Default::default()
        })
        .await;
    let response = watches.next().await;
    assert_eq!((at(&response), response.events.len()), (put, 1));
    let pair = response.events[0].kv.clone().expect("a pair");
    assert_eq!((&pair.key[..], &pair.value[..]), (&b"r6"[..], &b"v"[..]));
    assert_eq!(
        (
            pair.create_revision,
            pair.mod_revision,
            pair.version,
            pair.lease
        ),
        (put, put, 1, lease)
    );
    let deleted = kv.delete("r6", "").await;
    let response = watches.next().await;
    assert_eq!(at(&response), deleted);
    let pair = response.events[0].kv.clone().expect("a pair");
    assert_eq!(
        (&pair.key[..], pair.value.len(), pair.mod_revision),
        (&b"r6"[..], 0, deleted)
    );
    assert_eq!((pair.create_revision, pair.version, pair.lease), (0, 0, 0));
    assert!(response.events[0].prev_kv.is_none());
}

async fn rows_7_and_8_whole_revisions_in_order(channel: &Channel) {
    let mut kv = Kv::new(channel);
    let mut watches = Watches::open(channel).await;
    watches.create(watch("r7", "r8")).await;
    let puts = kv
        .txn(vec![
            put_op("r7c", "1"),
            put_op("r7a", "1"),
            put_op("r7b", "1"),
        ])
        .await;
    let twice = kv
        .txn(vec![
            nested(vec![put_op("r7d", "1")]),
            nested(vec![delete_op("r7d")]),
        ])
        .await;
    let deleted = kv.delete("r7", "r8").await;
    let expected = [
        vec![
            event("r7c", "1", puts),
            event("r7a", "1", puts),
            event("r7b", "1", puts),
        ],
        vec![event("r7d", "1", twice), event("r7d", "-", twice)],
        vec![
            event("r7a", "-", deleted),
            event("r7b", "-", deleted),
            event("r7c", "-", deleted),
        ],
    ];
    for expected in &expected {
        let response = watches.next().await;
        assert_eq!(
            (&events_of(&response), at(&response)),
            (expected, expected[0].2)
        );
    }
    // past events in the same order, in any number of responses
    watches
        .create(WatchCreateRequest {
            watch_id: 9,
            start_revision: puts,
            ..watch("r7", "r8")
        })
        .await;
    let past = watches.events(9, 8).await;
    let response = WatchResponse {
        events: past,
        ..Default::default()
    };
    assert_eq!(events_of(&response), expected.concat());
}

async fn row_9_filters(channel: &Channel) {
    let mut kv = Kv::new(channel);
    let mut watches = Watches::open(channel).await;
    let filtered = |id, filters: &[FilterType]| {
        let filters = filters.iter().map(|filter| *filter as i32).collect();
        WatchCreateRequest {
            watch_id: id,
            filters,
            ..watch("r9", "s")
        }
    };
    watches.create(filtered(1, &[FilterType::Noput])).await;
    watches.create(filtered(2, &[FilterType::Nodelete])).await;
    watches
        .create(filtered(3, &[FilterType::Noput, FilterType::Nodelete]))
        .await;
    let put = kv.put("r9", "v").await;
    let deleted = kv.delete("r9", "").await;
    let both = kv
        .txn(vec![
            nested(vec![put_op("r9", "1")]),
            nested(vec![delete_op("r9")]),
        ])
        .await;
    let mut seen = Vec::new();
    for _ in 0..4 {
        let response = watches.next().await;
        seen.push((response.watch_id, events_of(&response)));
    }
    seen.sort();
    let expected = [
        (1, vec![event("r9", "-", deleted)]),
        (1, vec![event("r9", "-", both)]),
        (2, vec![event("r9", "1", both)]),
        (2, vec![event("r9", "v", put)]),
    ];
    assert_eq!(seen, expected);
    watches.cancel(3);
    let canceled = watches.next().await;
    assert_eq!((canceled.watch_id, canceled.canceled), (3, true));
}

async fn row_10_compacted(channel: &Channel) {
    let mut kv = Kv::new(channel);
    let first = kv.put("r10", "1").await;
    kv.put("r10", "2").await;
    let third = kv.put("r10", "3").await;
    kv.compact(third).await;
    let mut watches = Watches::open(channel).await;
    let created = watches
        .create(WatchCreateRequest {
            start_revision: first,
            ..watch("r10", "")
        })
        .await;
    assert_eq!(
        (created.watch_id, created.canceled, at(&created)),
        (0, false, third)
    );
    let canceled = watches.next().await;
    assert_eq!(
        (canceled.watch_id, canceled.created, canceled.canceled),
        (0, false, true)
    );
    assert_eq!(
        (
            canceled.compact_revision,
            at(&canceled),
            canceled.cancel_reason.as_str()
        ),
        (third, 0, "")
    );
    let header = canceled.header.expect("a header");
    assert!(header.cluster_id != 0 && header.raft_term > 0);
    // the id stays in use until the watch is cancelled
    let again = watches.create(watch("r10", "")).await;
    assert_eq!(again.watch_id, 1);
    watches.cancel(0);
    let canceled = watches.next().await;
    assert_eq!(
        (
            canceled.watch_id,
            canceled.canceled,
            canceled.compact_revision
        ),
        (0, true, 0)
    );
    assert_eq!(at(&canceled), third);
    // a watch from the compacted revision gets the events that are kept there
    watches
        .create(WatchCreateRequest {
            watch_id: 7,
            start_revision: third,
            ..watch("r10", "")
        })
        .await;
    let response = watches.next().await;
    assert_eq!(
        (response.watch_id, events_of(&response)),
        (7, vec![event("r10", "3", third)])
    );
}

async fn row_11_prev_kv(channel: &Channel) {
    let mut kv = Kv::new(channel);
    let mut watches = Watches::open(channel).await;
    watches
        .create(WatchCreateRequest {
            prev_kv: true,
            ..watch("r11", "")
        })
        .await;
    kv.put("r11", "1").await;
    assert!(watches.next().await.events[0].prev_kv.is_none());
    let before = |response: &WatchResponse| -> Vec<Option<Vec<u8>>> {
        response
            .events
            .iter()
            .map(|event| event.prev_kv.as_ref().map(|kv| kv.value.to_vec()))
            .collect()
    };
    kv.txn(vec![
        nested(vec![put_op("r11", "2")]),
        nested(vec![delete_op("r11")]),
    ])
    .await;
    assert_eq!(
        before(&watches.next().await),
        [Some(b"1".to_vec()), Some(b"1".to_vec())]
    );
    let created = kv.put("r11", "3").await;
    assert_eq!(before(&watches.next().await), [None]);
    let changed = kv.put("r11", "4").await;
    assert_eq!(before(&watches.next().await), [Some(b"3".to_vec())]);
    // it is absent if the previous revision was compacted
    kv.compact(changed).await;
    watches
        .create(WatchCreateRequest {
            watch_id: 5,
            start_revision: changed,
            prev_kv: true,
            ..watch("r11", "")
        })
        .await;
    let past = watches.next().await;
    assert_eq!(
        (events_of(&past), before(&past)),
        (vec![event("r11", "4", changed)], vec![None])
    );
    assert_eq!(changed, created + 1);
}

async fn row_12_progress_on_request(channel: &Channel) {
    let mut kv = Kv::new(channel);
    let mut watches = Watches::open(channel).await;
    let current = kv.put("r12", "0").await;
    // without a watch
    watches.progress();
    let progress = watches.next().await;
    assert_eq!((progress.watch_id, at(&progress)), (-1, current));
    watches.create(watch("r12", "")).await;
    watches.create(watch("other", "")).await;
    let revision = kv.put("r12", "1").await;
    assert_eq!(at(&watches.next().await), revision);
    let revision = kv.put("elsewhere", "1").await;
    watches.progress();
    let progress = watches.next().await;
    assert_eq!(
        (progress.watch_id, progress.events.len(), at(&progress)),
        (-1, 0, revision)
    );
    assert!(!progress.created && !progress.canceled);
    // a watch that starts in the future does not delay the report
    watches
        .create(WatchCreateRequest {
            start_revision: revision + 1_000,
            ..watch("r12", "")
        })
        .await;
    watches.progress();
    let progress = watches.next().await;
    assert_eq!((progress.watch_id, at(&progress)), (-1, revision));
}

async fn row_13_progress_when_idle(channel: &Channel) {
    let mut kv = Kv::new(channel);
    let mut watches = Watches::open(channel).await;
    watches
        .create(WatchCreateRequest {
            watch_id: 1,
            ..watch("r13", "")
        })
        .await;
    watches
        .create(WatchCreateRequest {
            watch_id: 2,
            progress_notify: true,
            ..watch("r13", "")
        })
        .await;
    let revision = kv.put("elsewhere", "1").await;
    let mut seen = Vec::new();
    while seen.last() != Some(&revision) || seen.len() < 3 {
        let progress = watches.next().await;
        assert_eq!((progress.watch_id, progress.events.len()), (2, 0));
        seen.push(at(&progress));
    }
    // some reports may have been sent before the put
    assert!(
        seen.iter().all(|at| [revision - 1, revision].contains(at)) && seen.is_sorted(),
        "{seen:?}"
    );
}

async fn row_14_fragments(channel: &Channel) {
    let mut kv = Kv::new(channel);
    let value = "v".repeat(700 << 10);
    for key in ["r14a", "r14b", "r14c", "r14d"] {
        kv.put(key, &value).await;
    }
    let mut watches = Watches::open(channel).await;
    let whole = WatchCreateRequest {
        watch_id: 1,
        prev_kv: true,
        ..watch("r14", "r15")
    };
    watches.create(whole.clone()).await;
    let revision = kv.delete("r14", "r15").await;
    let response = watches.next().await;
    assert_eq!((response.events.len(), response.fragment), (4, false));
    // 2 MiB each: two events of 700 KiB fit, three do not
    watches
        .create(WatchCreateRequest {
            watch_id: 2,
            fragment: true,
            start_revision: revision,
            ..whole.clone()
        })
        .await;
    let mut keys = Vec::new();
    let mut pieces = Vec::new();
    while pieces.last() != Some(&(2, false)) {
        let piece = watches.next().await;
        assert_eq!((piece.watch_id, at(&piece)), (2, revision));
        pieces.push((piece.events.len(), piece.fragment));
        keys.extend(events_of(&piece));
        assert!(pieces.len() <= 2, "{pieces:?}");
    }
    assert_eq!(pieces, [(2, true), (2, false)]);
    assert_eq!(
        keys,
        ["r14a", "r14b", "r14c", "r14d"].map(|key| event(key, "-", revision))
    );
    // without fragments a revision of the past is one response too
    watches
        .create(WatchCreateRequest {
            watch_id: 3,
            start_revision: revision,
            ..whole
        })
        .await;
    let response = watches.next().await;
    assert_eq!(
        (response.watch_id, response.events.len(), response.fragment),
        (3, 4, false)
    );
}

async fn row_14_history_is_one_response_in_fragments(channel: &Channel) {
    let mut kv = Kv::new(channel);
    let value = "v".repeat(700 << 10);
    let first = kv.put("r14e0", &value).await;
    for number in 1..10 {
        kv.put(&format!("r14e{number}"), &value).await;
    }
    let mut watches = Watches::open(channel).await;
    let whole = WatchCreateRequest {
        watch_id: 1,
        fragment: true,
        start_revision: first,
        ..watch("r14e", "r14f")
    };
    watches.send(RequestUnion::CreateRequest(whole.clone()));
    watches.send(RequestUnion::CreateRequest(WatchCreateRequest {
        watch_id: 2,
        ..whole
    }));
    let (mut open, mut events, mut responses) = (None, 0, Vec::new());
    while responses.len() < 2 {
        let piece = watches.next().await;
        if let Some(watch_id) = open {
            assert_eq!(
                (piece.watch_id, piece.created),
                (watch_id, false),
                "no other response between fragments"
            );
        }
        if piece.created {
            continue;
        }
        events += piece.events.len();
        open = piece.fragment.then_some(piece.watch_id);
        if open.is_none() {
            responses.push((piece.watch_id, std::mem::take(&mut events)));
        }
    }
    responses.sort_unstable();
    assert_eq!(responses, [(1, 10), (2, 10)]);
}

async fn row_15_half_closed(channel: &Channel) {
    let mut kv = Kv::new(channel);
    let mut watches = Watches::open(channel).await;
    watches.create(watch("r15", "")).await;
    watches.requests = None;
    for value in ["1", "2"] {
        let revision = kv.put("r15", value).await;
        assert_eq!(
            events_of(&watches.next().await),
            vec![event("r15", value, revision)]
        );
    }
}

async fn every_row(channel: &Channel, target: Target) {
    row_1_created_at_the_current_revision(channel).await;
    row_2_ids(channel).await;
    row_3_where_it_starts(channel, target).await;
    row_4_backward_ranges(channel).await;
    row_5_cancel(channel).await;
    row_6_what_events_have(channel).await;
    rows_7_and_8_whole_revisions_in_order(channel).await;
    row_9_filters(channel).await;
    row_10_compacted(channel).await;
    row_11_prev_kv(channel).await;
    row_12_progress_on_request(channel).await;
    row_13_progress_when_idle(channel).await;
    row_14_fragments(channel).await;
    row_14_history_is_one_response_in_fragments(channel).await;
    row_15_half_closed(channel).await;
}

#[test]
fn contract_rows_on_our_server() {
    let _deadline = deadline();
    let (_db, server) = serve(
        Options::new(),
        Serve::new("127.0.0.1:0").progress_notify_interval_ms(200),
    );
    runtime().block_on(async { every_row(&connect(server.address()).await, Target::Libkv).await });
}

#[test]
fn contract_rows_on_a_real_etcd() {
    let _deadline = deadline();
    if let Some(etcd) = real_etcd("watch-rows") {
        runtime().block_on(async { every_row(&connect(&etcd.url()).await, Target::Etcd).await });
    }
}

/// Contract 10.13 to the millisecond: progress is sent after an interval without events. Each event
/// restarts the interval.
#[test]
fn progress_follows_the_clock_of_the_store() {
    let _deadline = deadline();
    let clock = Clock::new(1_000_000);
    let options = Options::new().clock(clock.clone());
    let (_db, server) = serve(
        options,
        Serve::new("127.0.0.1:0").progress_notify_interval_ms(5_000),
    );
    runtime().block_on(async {
        let channel = connect(server.address()).await;
        let mut watches = Watches::open(&channel).await;
        watches
            .create(WatchCreateRequest {
                watch_id: 7,
                progress_notify: true,
                ..watch("k", "")
            })
            .await;
        clock.advance(5_000);
        let progress = watches.next().await;
        assert_eq!(
            (progress.watch_id, at(&progress), progress.events.len()),
            (7, 1, 0)
        );
        clock.advance(4_000);
        Kv::new(&channel).put("k", "v").await;
        assert_eq!(events_of(&watches.next().await), vec![event("k", "v", 2)]);
        clock.advance(4_999);
        // the response to this request comes next, so no report was sent before
        watches.progress();
        assert_eq!(watches.next().await.watch_id, -1);
        clock.advance(1);
        let progress = watches.next().await;
        assert_eq!((progress.watch_id, at(&progress)), (7, 2));
    });
}

#[test]
fn progress_is_reported_after_a_failed_read() {
    let _deadline = deadline();
    const SLOTS: u32 = 4;
    let (db, server) = serve(Options::new().max_readers(SLOTS), Serve::new("127.0.0.1:0"));
    db.put(Put::new("k", "v")).expect("a put");
    runtime().block_on(async {
        let mut watches = Watches::open(&connect(server.address()).await).await;
        let (reading, begun) = mpsc::channel();
        let readers: Vec<_> = (0..SLOTS)
            .map(|_| {
                let (db, reading, (release, released)) =
                    (db.clone(), reading.clone(), mpsc::channel::<()>());
                let read = move || {
                    let each = |_: libkv::PairRef| {
                        reading.send(()).expect("the test waits");
                        // the sender is dropped to release the slot: an error is expected
                        let _ = released.recv();
                    };
                    db.range_each(&Range::new("k"), each).expect("a range")
                };
                (release, std::thread::spawn(read))
            })
            .collect();
        for _ in 0..SLOTS {
            begun
                .recv_timeout(WAIT_LIMIT)
                .expect("a slot for each reader");
        }
        watches.progress();
        // each attempt waits a second for a slot: the server's attempt, which began with the first,
        // has then failed too
        for _ in 0..2 {
            assert_eq!(
                db.snapshot().expect_err("no slot is free").code(),
                Code::Busy
            );
        }
        for (release, reader) in readers {
            drop(release);
            assert_eq!(reader.join().expect("no panic").count, 1);
        }
        let progress = watches.next().await;
        assert_eq!(
            (progress.watch_id, at(&progress), progress.events.len()),
            (-1, 2, 0)
        );
    });
}

/// A watch is cancelled with a reason when its store is closed. A stream ends with an error when
/// its server is closed.
#[test]
fn watch_ends_for_each_reason() {
    let _deadline = deadline();
    let (db, server) = serve(Options::new(), Serve::new("127.0.0.1:0"));
    runtime().block_on(async {
        let channel = connect(server.address()).await;
        let mut watches = Watches::open(&channel).await;
        watches.create(watch("k", "")).await;
        db.close();
        let canceled = watches.next().await;
        assert_eq!(
            (
                canceled.watch_id,
                canceled.canceled,
                canceled.compact_revision
            ),
            (0, true, 0)
        );
        assert!(canceled.cancel_reason.contains("closed"), "{canceled:?}");
        server.close();
        let end = soon("the end of the stream", watches.responses.message())
            .await
            .expect_err("the stream ended");
        assert_eq!(
            (end.code(), end.message()),
            (tonic::Code::Unavailable, "etcdserver: server stopped")
        );
    });
}
