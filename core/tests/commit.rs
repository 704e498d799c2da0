//! Calls in completions, and requests that are queued when the store is closed. No test waits for a
//! fixed time: each wait ends with a response, and has a limit in case of a failure.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use libkv::{Code, Compact, Db, Delete, KeyRange, Options, Put, Txn, Watch};
use libkv_test_support::deadline::deadline;
use libkv_test_support::scratch;

/// Longer than any response takes, shorter than a wait for a lock that is never released.
const WAIT_LIMIT: Duration = Duration::from_secs(20);

fn long_busy_timeout() -> Options {
    Options::new().busy_timeout_ms(60_000)
}

fn response<T>(responses: &Receiver<T>, what: &str) -> T {
    responses
        .recv_timeout(WAIT_LIMIT)
        .unwrap_or_else(|_| panic!("{what} has no response"))
}

#[test]
fn completion_may_write_while_requests_are_queued() {
    let _deadline = deadline();
    let db = Db::open(":memory:", long_busy_timeout()).expect("a new store");
    let (done, responses) = channel();
    let inner = db.clone();
    db.submit(Put::new("first", "1"), move |first| {
        first.expect("written");
        // the put inside a completion runs on the thread that would lead for it
        let queued = done.clone();
        inner.submit(Put::new("queued", "2"), move |response| {
            queued.send(response.map(drop)).expect("the test receives")
        });
        done.send(inner.put(Put::new("waited for", "3")).map(drop))
            .expect("the test receives");
    });
    for what in ["one write of a completion", "the other"] {
        response(&responses, what).expect("written");
    }
    assert_eq!(db.status().expect("status").keys, Some(3));
}

/// A group has at most 4 MiB, so each of these puts is a group of one.
fn large(key: &str) -> Put {
    Put::new(key, vec![7; 5 << 20])
}

#[test]
fn completion_may_write_on_a_thread_that_waits_for_its_own_turn() {
    let _deadline = deadline();
    let db = Db::open(":memory:", long_busy_timeout()).expect("a new store");
    let (done, responses) = channel();
    let (held, resume) = (channel(), channel());
    // the worker leads this request and stays in its completion until the requests below are queued
    db.submit(large("first"), move |_| {
        held.0.send(()).expect("the test receives");
        resume.1.recv_timeout(WAIT_LIMIT).expect("notified");
    });
    response(&held.1, "the first request");
    for key in ["a", "b", "c"] {
        let (done, inner) = (done.clone(), db.clone());
        db.submit(large(key), move |response| {
            let written = response.and_then(|_| inner.put(Put::new(format!("of {key}"), "x")));
            done.send(written.map(drop)).expect("the test receives");
        });
    }
    let waits = db.clone();
    let thread = std::thread::spawn(move || waits.put(Put::new("own", "x")).map(drop));
    let written = thread.join().expect("no panic");
    resume.0.send(()).expect("the completion receives");
    written.expect("written");
    for _ in 0..3 {
        response(&responses, "a completion's write").expect("written");
    }
    assert_eq!(db.status().expect("status").keys, Some(8));
}

#[test]
fn submit_during_a_sweep_has_a_response() {
    let _deadline = deadline();
    let db = Db::open(":memory:", long_busy_timeout()).expect("a new store");
    for _ in 0..10 {
        let puts = (0..20_000).map(|n| Put::new(format!("{n}"), "x"));
        db.txn(Txn::new().and_then_all(puts)).expect("written");
    }
    let (done, responses) = channel();
    let (swept, is_swept) = channel();
    db.submit(Compact::new(11).physical(true), move |response| {
        swept.send(response.map(drop)).expect("the test receives");
    });
    let mut under_way = 0;
    while is_swept.try_recv().map_or(true, |swept| swept.is_err()) {
        let done = done.clone();
        db.submit(Put::new("beside", "x"), move |response| {
            done.send(response.map(drop)).expect("the test receives")
        });
        under_way += 1;
        while under_way > 32 || (under_way > 0 && responses.try_recv().is_ok()) {
            if under_way > 32 {
                response(&responses, "a write beside a sweep").expect("written");
            }
            under_way -= 1;
        }
    }
    for _ in 0..under_way {
        response(&responses, "a write beside a sweep").expect("written");
    }
    db.put(Put::new("after", "x")).expect("written");
}

/// Writes whose completions submit the next one, until this is dropped.
struct Chain(Arc<AtomicBool>);

impl Chain {
    fn of(db: &Db) -> Chain {
        fn next(db: Db, ended: Arc<AtomicBool>) {
            let then = db.clone();
            db.submit(Put::new("chain", "x"), move |response| {
                if response.is_ok() && !ended.load(Ordering::Relaxed) {
                    next(then, ended);
                }
            });
        }
        let chain = Chain(Arc::default());
        (0..4).for_each(|_| next(db.clone(), chain.0.clone()));
        chain
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn chain_of_completions_does_not_delay_expiry() {
    let _deadline = deadline();
    let db = Db::open(":memory:", long_busy_timeout()).expect("a new store");
    let _chain = Chain::of(&db);
    let watcher = db
        .watch(Watch::new("leased").no_put(true))
        .expect("a watcher");
    let lease = db.lease_grant(1).expect("granted").id;
    db.put(Put::new("leased", "x").lease(lease))
        .expect("written");
    let gone = watcher
        .next(WAIT_LIMIT)
        .expect("followed")
        .expect("the lease does not expire");
    assert_eq!(gone.events.len(), 1);
}

#[test]
fn chain_of_completions_does_not_delay_a_physical_compaction() {
    let _deadline = deadline();
    let db = Db::open(":memory:", long_busy_timeout()).expect("a new store");
    let _chain = Chain::of(&db);
    let revision = db.put(Put::new("k", "x")).expect("written").revision;
    let (done, responses) = channel();
    db.submit(Compact::new(revision).physical(true), move |response| {
        drop(done.send(response.map(drop)))
    });
    response(&responses, "the compaction").expect("compacted and swept");
}

#[test]
fn close_completes_everything_queued_and_leaves_no_files() {
    let _deadline = deadline();
    let store = scratch("closing");
    let (count, most) = (Arc::new(AtomicUsize::new(0)), 10_000);
    let db = Db::open(&store, long_busy_timeout()).expect("a new store");
    for number in 0..most {
        let count = count.clone();
        db.submit(Put::new(format!("{number}"), "x"), move |response| {
            response.expect("written");
            count.fetch_add(1, Ordering::SeqCst);
        });
    }
    drop(db);
    assert_eq!(
        count.load(Ordering::SeqCst),
        most,
        "each request has one response before the store is closed"
    );
    let db = Db::open(&store, Options::new()).expect("no file of it is still open");
    assert_eq!(db.status().expect("status").keys, Some(most as u64));
    drop(db);
    std::fs::remove_dir_all(store).expect("removed");
}

#[test]
fn close_right_after_a_compaction_leaves_no_files() {
    let _deadline = deadline();
    let store = scratch("compacting");
    for round in 0..20 {
        let db =
            Db::open(&store, long_busy_timeout()).expect("no file of the last round is still open");
        let revision = db.put(Put::new("k", "x")).expect("written").revision;
        let (done, responses) = channel();
        db.submit(
            Compact::new(revision).physical(round % 2 == 0),
            move |response| {
                done.send(response.map(drop)).expect("the test receives");
            },
        );
        drop(db);
        match response(&responses, "the compaction") {
            Ok(()) => {}
            Err(error) => assert_eq!(error.code(), Code::Closed, "{error}"),
        }
    }
    std::fs::remove_dir_all(store).expect("removed");
}

#[test]
fn completion_may_drop_the_last_handle() {
    let _deadline = deadline();
    let store = scratch("last");
    for _ in 0..20 {
        let db =
            Db::open(&store, long_busy_timeout()).expect("no file of the last round is still open");
        let (done, responses) = channel();
        let last = Arc::new(Mutex::new(None));
        let inner = last.clone();
        let (may_drop, resume) = channel();
        db.submit(Put::new("k", "x"), move |response| {
            response.expect("written");
            resume.recv_timeout(WAIT_LIMIT).expect("notified");
            drop(inner.lock().expect("no panic").take());
            done.send(()).expect("the test receives");
        });
        let queued = Arc::new(AtomicUsize::new(0));
        for key in ["a", "b", "c"] {
            let queued = queued.clone();
            db.submit(large(key), move |_| {
                queued.fetch_add(1, Ordering::SeqCst);
            });
        }
        *last.lock().expect("no panic") = Some(db);
        may_drop.send(()).expect("the completion receives");
        response(&responses, "the first request");
        // opening waits until the other handle is closed, so every response has been sent
        let db = Db::open(&store, long_busy_timeout()).expect("the store opens again");
        assert_eq!(
            queued.load(Ordering::SeqCst),
            3,
            "every queued request has a response"
        );
        db.delete(Delete::new(KeyRange::all())).expect("deleted");
    }
    std::fs::remove_dir_all(store).expect("removed");
}

#[test]
fn submit_all_is_one_group() {
    let _deadline = deadline();
    let db = Db::open(":memory:", long_busy_timeout()).expect("a new store");
    let (done, responses) = channel();
    let ended = Arc::new(AtomicUsize::new(0));
    let (group_done, group_ends) = channel();
    let completion = |name: String| -> libkv::engine::Completion {
        let (done, ended, group_done) = (done.clone(), ended.clone(), group_done.clone());
        Box::new(move |response| {
            let groups_before = ended.load(Ordering::Acquire);
            let revision = response.map(|response| match response {
                libkv::Response::Put(put) => put.revision,
                other => panic!("{name}: {other:?}"),
            });
            // the first completion of a group counts the group
            libkv::support::after_group(move || {
                let _ = ended.compare_exchange(
                    groups_before,
                    groups_before + 1,
                    Ordering::AcqRel,
                    Ordering::Acquire,
                );
                group_done.send(()).expect("the test receives");
            });
            done.send((name, revision)).expect("the test receives");
        })
    };
    let requests = (0..100).map(|n| {
        // every tenth request is refused before it is queued
        let key = if n % 10 == 0 {
            String::new()
        } else {
            format!("k{n}")
        };
        (Put::new(key, "v").into(), completion(n.to_string()))
    });
    let submitted = db.submit_all(requests.collect());
    assert_eq!(submitted.len(), 100);
    let mut revisions = Vec::new();
    for _ in 0..100 {
        match response(&responses, "one of them") {
            (name, Ok(revision)) => {
                revisions.push((name.parse::<i64>().expect("a number"), revision))
            }
            (name, Err(error)) => {
                assert!(
                    name.ends_with('0') && error.code() == Code::InvalidArgument,
                    "{name}: {error}"
                )
            }
        }
    }
    let wanted: Vec<i64> = (0..100).filter(|n| n % 10 != 0).collect();
    assert_eq!(
        revisions,
        wanted
            .iter()
            .zip(2..)
            .map(|(&n, revision)| (n, revision))
            .collect::<Vec<_>>()
    );
    (0..100).for_each(|_| response(&group_ends, "the end of a group"));
    // each refused request is a "group" of its own; the ninety writes are one more group
    assert_eq!(ended.load(Ordering::Acquire), 10 + 1);
    db.close();
}
