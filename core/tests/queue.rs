//! The queue of writers: every request is completed while leadership changes and the worker sweeps.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use libkv::*;
use libkv_test_support::deadline::deadline;

/// Longer than any machine needs. The timeouts of the store are shorter, so a request without a
/// leader fails with its own error first.
const WAIT_LIMIT: Duration = Duration::from_secs(120);

/// The worker sweeps after a compaction in steps, and leads for requests without a thread. In a
/// former version leadership was lost if it was passed to the worker while it waited for its next
/// step. Then no thread led, and every writer of the process got `busy` until the sweep timed out.
#[test]
fn queue_is_led_while_the_worker_sweeps() {
    let _deadline = deadline();
    let db = Db::open(":memory:", Options::new()).expect("a store");
    for round in 0..40 {
        let revision = fill(&db);
        db.compact(revision).expect("compacted");
        let (responses, received) = mpsc::channel();
        let writers: Vec<_> = (0..2)
            .map(|writer| {
                let (db, responses) = (db.clone(), responses.clone());
                thread::spawn(move || {
                    for n in 0..4_000 {
                        let responses = responses.clone();
                        let put = Put::new(format!("{writer}/{n}"), "v");
                        db.submit(put, move |response| {
                            responses
                                .send(response.map(drop))
                                .expect("the test receives")
                        });
                    }
                })
            })
            .collect();
        writers
            .into_iter()
            .for_each(|writer| writer.join().expect("submitted"));
        for n in 0..8_000 {
            let response = received
                .recv_timeout(WAIT_LIMIT)
                .unwrap_or_else(|e| panic!("round {round}, response {n}: {e}"));
            response.unwrap_or_else(|e| panic!("round {round}, response {n}: {e}"));
        }
    }
}

/// A completion may call libkv, even on the worker. Its requests must not wait for the worker.
#[test]
fn completion_may_wait_for_its_own_write() {
    let _deadline = deadline();
    let db = Db::open(":memory:", Options::new()).expect("a store");
    let (responses, received) = mpsc::channel();
    for n in 0..5_000 {
        let (own, responses) = (db.clone(), responses.clone());
        db.submit(Put::new(format!("{n}"), "submitted"), move |response| {
            let second = response.and_then(|_| own.put(Put::new("own", format!("{n}"))));
            responses.send(second.map(drop)).expect("the test receives");
        });
    }
    for n in 0..5_000 {
        let response = received
            .recv_timeout(WAIT_LIMIT)
            .unwrap_or_else(|e| panic!("response {n}: {e}"));
        response.unwrap_or_else(|e| panic!("response {n}: {e}"));
    }
}

/// Writes enough events for a sweep of several steps.
fn fill(db: &Db) -> Revision {
    let mut revision = 0;
    for _ in 0..6 {
        let puts = (0..3_000).map(|n| Put::new(format!("fill/{n}"), "x"));
        let txn = Txn::new().and_then_all(puts);
        revision = db.txn(txn).expect("filled").revision;
    }
    revision
}
