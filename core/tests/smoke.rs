//! smoke

use std::thread;
use std::time::Duration;

use libkv::*;

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn smoke() {
    let clock = Clock::new(1_700_000_000_000);
    let db = Db::open(":memory:", Options::new().clock(clock.clone())).expect("a store");
    let watcher = db.watch(Watch::new(KeyRange::all()).prev_kv(true)).expect("watching");
    db.put(Put::new("a", "1")).unwrap();
    let batch = watcher.next(PATIENCE).unwrap().unwrap();
    assert_eq!((batch.revision, batch.events.len()), (2, 1));
    let lease = db.lease_grant(10, 0).unwrap();
    db.put(Put::new("b", "1").lease(lease.id)).unwrap();
    db.put(Put::new("a", "2").lease(lease.id)).unwrap();
    assert_eq!(db.lease_time_to_live(lease.id, true).unwrap().keys, [b"a", b"b"]);
    clock.advance(9_000);
    assert_eq!(db.lease_time_to_live(lease.id, true).unwrap().ttl_seconds, 1);
    assert_eq!(db.lease_keep_alive(lease.id).unwrap().ttl_seconds, 10);
    clock.advance(9_000);
    assert_eq!(db.status().unwrap().revision, 4);
    clock.advance(1_000);
    assert_eq!(db.status().unwrap().revision, 5);
    assert_eq!(db.get("a").unwrap(), None);
    assert_eq!(db.lease_list().unwrap(), []);
    for revision in [3, 4, 5] {
        let batch = watcher.next(PATIENCE).unwrap().unwrap();
        assert_eq!(batch.revision, revision);
        println!("{batch:?}");
    }
    let canceller = watcher.canceller();
    let other = thread::spawn(move || {
        thread::sleep(Duration::from_millis(50));
        canceller.cancel()
    });
    assert_eq!(watcher.next(PATIENCE).unwrap_err().code(), Code::Cancelled);
    other.join().unwrap();
    let mut lock = db.lock("l", 5).unwrap();
    lock.acquire(None).unwrap();
    assert!(lock.is_held() && lock.revision() == 6);
    let mut second = db.lock("l", 5).unwrap();
    assert!(!second.try_acquire().unwrap());
    let err = second.acquire(Duration::from_millis(20)).unwrap_err();
    println!("{err}");
    let waiting = thread::spawn(move || {
        second.acquire(PATIENCE).unwrap();
        second.revision()
    });
    thread::sleep(Duration::from_millis(50));
    clock.advance(60_000);
    assert!(lock.is_held());
    lock.release().unwrap();
    println!("second {}", waiting.join().unwrap());
    assert_eq!(db.check().unwrap().problems, []);
    let mut e = db.election("e", 5).unwrap();
    e.campaign("me", None).unwrap();
    e.proclaim("me2").unwrap();
    assert_eq!(e.leader().unwrap().unwrap().value, "me2");
    let mut leaders = e.observe().unwrap();
    assert_eq!(leaders.next(PATIENCE).unwrap().unwrap().value, "me2");
    e.proclaim("me3").unwrap();
    assert_eq!(leaders.next(PATIENCE).unwrap().unwrap().value, "me3");
    e.resign().unwrap();
    db.close();
}
