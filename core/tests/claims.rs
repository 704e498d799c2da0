//! The driver of claims: what remains in the store after each kind of end.

use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use libkv::support::{Claim, ClaimDriver, ClaimRequest, claim_blocking};
use libkv::{Code, Db, Delete, KeyRange, Options, Range, Result, WaitLimit};

const WAIT_LIMIT: Duration = Duration::from_secs(20);

type Claimed = Receiver<Result<Option<Claim>>>;

fn start(request: ClaimRequest) -> (ClaimDriver, Claimed) {
    let (done, claimed) = channel();
    let driver = ClaimDriver::start(request, move |result| drop(done.send(result)));
    (driver, claimed)
}

fn result(claimed: &Claimed) -> Result<Option<Claim>> {
    claimed.recv_timeout(WAIT_LIMIT).expect("within 20 s")
}

fn memory() -> Db {
    Db::open(":memory:", Options::new()).expect("a store")
}

fn keys(db: &Db) -> i64 {
    let range = Range::new(KeyRange::prefix("name/")).count_only(true);
    db.range(range).expect("range").count
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + WAIT_LIMIT;
    while !is_so() {
        assert!(Instant::now() < deadline, "not within 20 s: {what}");
        std::thread::yield_now();
    }
}

/// Whether the store has only what the holder created: one key, one lease, no watcher.
fn has_only_the_holder(db: &Db) -> bool {
    let status = db.status().expect("status");
    (keys(db), status.leases, status.watchers) == (1, Some(1), 0)
}

#[test]
fn cancel_at_any_moment_leaves_no_key_and_no_lease() {
    let db = memory();
    let request = || ClaimRequest::new(&db, "name", 60);
    let _held = claim_blocking(request(), |_| {}).expect("the name is free");
    for pause in (0..200).map(|n| Duration::from_micros(n * 2)) {
        let (driver, claimed) = start(request());
        spin(pause);
        driver.cancel();
        let error = result(&claimed).expect_err("cancelled");
        assert_eq!(error.code(), Code::Cancelled);
        assert!(has_only_the_holder(&db), "after {pause:?}");
    }
}

#[test]
fn drop_at_any_moment_completes_at_once_and_leaves_no_key_and_no_lease() {
    let db = memory();
    let request = || ClaimRequest::new(&db, "name", 60);
    let _held = claim_blocking(request(), |_| {}).expect("the name is free");
    for pause in (0..200).map(|n| Duration::from_micros(n * 2)) {
        let (driver, claimed) = start(request());
        spin(pause);
        drop(driver);
        let error = result(&claimed).expect_err("cancelled");
        assert_eq!(error.code(), Code::Cancelled);
    }
    until("everything is deleted", || has_only_the_holder(&db));
}

#[test]
fn time_out_names_the_holder_after_the_key_is_deleted() {
    let db = memory();
    let request = || ClaimRequest::new(&db, "name", 60);
    let held = claim_blocking(request(), |_| {}).expect("the name is free");
    let key = held
        .as_ref()
        .expect("held")
        .key()
        .escape_ascii()
        .to_string();
    for timeout in [0, 1, 5] {
        let wait_limit = WaitLimit::new(Some(Duration::from_millis(timeout)));
        let error =
            claim_blocking(request().wait_limit(wait_limit), |_| {}).expect_err("the name is held");
        assert_eq!(
            (error.code(), error.message()),
            (
                Code::Timeout,
                &*format!("name was not acquired within {timeout} ms; {key} has it")
            )
        );
        assert_eq!(error.key(), held.as_ref().map(Claim::key));
        assert!(has_only_the_holder(&db));
    }
}

#[test]
fn canceller_ends_a_wait_of_another_thread() {
    let db = memory();
    let request = || ClaimRequest::new(&db, "name", 60);
    let _held = claim_blocking(request(), |_| {}).expect("the name is free");
    let (sender, canceller) = channel();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            claim_blocking(request(), |canceller| {
                sender.send(canceller).expect("the test receives")
            })
            .map(drop)
            .map_err(|error| error.code())
        });
        until("the second claim waits", || keys(&db) == 2);
        canceller.recv().expect("a canceller").cancel();
        assert_eq!(waiting.join().expect("no panic"), Err(Code::Cancelled));
    });
    assert!(has_only_the_holder(&db));
}

#[test]
fn lease_of_the_caller_is_kept_and_its_key_is_deleted() {
    let db = memory();
    let (one, two) = (
        db.lease_grant(60).expect("granted").id,
        db.lease_grant(60).expect("granted").id,
    );
    let request = |lease| ClaimRequest::new(&db, "name", 0).lease(lease);
    let held = claim_blocking(request(one), |_| {}).expect("the name is free");
    let held = held.expect("held");
    assert_eq!(held.key(), format!("name/{one:x}").as_bytes());
    assert_eq!(held.held_since(), held.revision());
    let (driver, claimed) = start(request(two));
    until("the second claim waits", || keys(&db) == 2);
    drop(driver);
    assert!(result(&claimed).is_err());
    until("the second key is deleted", || keys(&db) == 1);
    // the key stays if the claim is not dropped
    let mut held = held;
    held.keep();
    drop(held);
    assert_eq!(keys(&db), 1);
    let again = claim_blocking(request(one), |_| {}).expect("held by this lease");
    drop(again);
    db.delete(Delete::new("other")).expect("after the drop");
    assert_eq!(keys(&db), 1, "a key that was found is not deleted");
    let again = claim_blocking(request(two).value("v"), |_| {
        until("the second claim waits", || keys(&db) == 2);
        db.lease_revoke(one).expect("revoked");
    });
    let again = again.expect("the name is free").expect("held");
    assert!(again.held_since() > again.revision());
    drop(again);
    until("the second key is deleted", || keys(&db) == 0);
    assert_eq!(db.lease_list().expect("leases"), [two]);
}

#[test]
fn lease_that_is_revoked_ends_the_wait() {
    let db = memory();
    let given = db.lease_grant(60).expect("granted").id;
    let request = || ClaimRequest::new(&db, "name", 60);
    let _held = claim_blocking(request(), |_| {}).expect("the name is free");
    for request in [request(), request().lease(given)] {
        let (_driver, claimed) = start(request);
        until("the second claim waits", || keys(&db) == 2);
        let last = db
            .range(Range::new(KeyRange::prefix("name/")))
            .expect("range");
        let last = last.kvs.iter().max_by_key(|kv| kv.create_revision);
        db.lease_revoke(last.expect("two").lease).expect("revoked");
        let error = result(&claimed).expect_err("lost");
        assert_eq!(error.code(), Code::LeaseLost);
    }
    assert!(has_only_the_holder(&db));
}

#[test]
fn close_ends_the_wait() {
    let db = memory();
    let request = || ClaimRequest::new(&db, "name", 60);
    let _held = claim_blocking(request(), |_| {}).expect("the name is free");
    let (_driver, claimed) = start(request());
    until("the second claim waits", || keys(&db) == 2);
    db.close();
    let error = result(&claimed).expect_err("closed");
    assert_eq!(error.code(), Code::Closed);
    let error = result(&start(request()).1).expect_err("closed");
    assert_eq!(error.code(), Code::Closed);
}

fn spin(pause: Duration) {
    let until = Instant::now() + pause;
    while Instant::now() < until {
        std::hint::spin_loop();
    }
}
