//! The feature `serde`: round trips through JSON.

use std::fmt::Debug;
use std::time::Duration;

use libkv::{Db, Delete, Event, KeyRange, Options, Put, Range, Status, TxnResponse, Watch};
use serde::Serialize;
use serde::de::DeserializeOwned;

fn round_trip<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let json = serde_json::to_string(value).expect("serialised");
    let back: T = serde_json::from_str(&json).expect("deserialised");
    assert_eq!(&back, value, "{json}");
}

#[test]
fn serde_round_trip_of_responses_events_and_status() {
    let db = Db::open(":memory:", Options::new()).expect("a store");
    let watcher = db.watch(Watch::new("a")).expect("a watcher");
    let first = db.put(Put::new("a", vec![0, 255])).expect("put");
    round_trip(&first);
    let txn = libkv::Txn::new()
        .and_then(Put::new("a", "2").prev_kv(true))
        .and_then(Range::new("a"))
        .or_else(Delete::new("a"));
    round_trip::<TxnResponse>(&db.txn(txn).expect("a txn"));
    let batch = watcher
        .next(Duration::from_secs(20))
        .expect("watched")
        .expect("a batch");
    round_trip::<Event>(&batch.events[0]);
    round_trip(&batch);
    let mut differences = db.diff(first.revision, 0, KeyRange::all()).expect("a diff");
    round_trip(&differences.next().expect("one").expect("read"));
    round_trip(&db.lease_grant(30).expect("a lease"));
    round_trip::<Status>(&db.status().expect("a status"));
    round_trip(&db.commit_times().expect("times"));
    round_trip(&db.hash_kv(0).expect("a hash"));
    round_trip(&db.member_list().expect("members"));
}
