//! Handles that are used by a second thread, or after their store was closed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::task::Wake;
use std::thread;
use std::time::Duration;

use libkv::*;
use libkv_test_support::deadline::deadline;

fn store() -> Db {
    Db::open(":memory:", Options::new()).expect("a store")
}

fn code<T: std::fmt::Debug>(response: Result<T>) -> Code {
    response.expect_err("refused").code()
}

#[test]
fn watcher_refuses_a_second_reader() {
    let _deadline = deadline();
    let db = store();
    let watcher = Arc::new(db.watch(Watch::new(KeyRange::all())).unwrap());
    let first = watcher.clone();
    let waiting = thread::spawn(move || {
        loop {
            match first.next(None) {
                Err(error) if error.code() == Code::InvalidArgument => continue,
                response => return response,
            }
        }
    });
    // returns nothing until the other thread waits
    let refused = loop {
        match watcher.next(Duration::ZERO) {
            Ok(None) => thread::yield_now(),
            response => break response,
        }
    };
    assert_eq!(code(refused), Code::InvalidArgument);
    assert_eq!(code(watcher.try_next()), Code::InvalidArgument);
    db.put(Put::new("a", "1")).unwrap();
    assert_eq!(waiting.join().unwrap().unwrap().unwrap().revision, 2);
    assert_eq!(watcher.next(Duration::ZERO).unwrap(), None);
}

/// A store in memory has no durability. A program that sets one must still work on it.
#[test]
fn memory_accepts_every_durability() {
    let _deadline = deadline();
    let all = [Durability::Sync, Durability::Lazy, Durability::None];
    for handle in all {
        let db = Db::open(":memory:", Options::new().durability(handle)).unwrap();
        assert_eq!(db.status().unwrap().durability, Some(handle));
        for write in all {
            db.put(Put::new("a", "1").durability(write)).unwrap();
            db.txn(Txn::new().and_then(Put::new("a", "2")).durability(write))
                .unwrap();
            assert_eq!(
                db.delete(Delete::new("a").durability(write))
                    .unwrap()
                    .deleted,
                1
            );
        }
        let lease = db.lease_grant(60).unwrap().id;
        db.lease_revoke(lease).unwrap();
        assert_eq!(db.check().unwrap().problems, []);
    }
    // the default is the durability of a store in memory
    assert_eq!(store().status().unwrap().durability, Some(Durability::None));
}

/// Other users cannot read the files of a store, unless the option `mode` allows it.
#[test]
fn files_of_a_store_have_the_permissions_of_its_mode() {
    let _deadline = deadline();
    use std::os::unix::fs::PermissionsExt;
    let path = std::env::temp_dir().join(format!("libkv-mode-{}", std::process::id()));
    let mode =
        |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for (options, files, folder) in [
        (Options::new(), 0o600, 0o700),
        (Options::new().mode(0o640), 0o640, 0o750),
    ] {
        let db = Db::open(&path, options).unwrap();
        db.put(Put::new("a", "1")).unwrap();
        assert_eq!(mode(&path), folder);
        let names = std::fs::read_dir(&path)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let modes: Vec<_> = names.map(|file| (mode(&file), file)).collect();
        assert_eq!(modes.len(), 3, "data.mdb, lock.mdb, guard: {modes:?}");
        assert!(modes.iter().all(|(mode, _)| *mode == files), "{modes:?}");
        drop(db);
        std::fs::remove_dir_all(&path).unwrap();
    }
}

/// The durability `none` of a store on disk cannot be changed later.
#[test]
fn durability_none_of_a_directory_is_not_changed() {
    let _deadline = deadline();
    let path = std::env::temp_dir().join(format!("libkv-durability-{}", std::process::id()));
    let db = Db::open(&path, Options::new().durability(Durability::None)).unwrap();
    assert_eq!(
        code(db.put(Put::new("a", "1").durability(Durability::Sync))),
        Code::InvalidArgument
    );
    assert_eq!(
        code(Db::open(&path, Options::new().durability(Durability::Lazy))),
        Code::InvalidArgument
    );
    drop(db);
    std::fs::remove_dir_all(path).unwrap();
}

#[test]
fn claims_are_not_held_after_close() {
    let _deadline = deadline();
    let db = store();
    let mut lock = db.lock("l", 60).unwrap();
    let mut idle = db.lock("i", 60).unwrap();
    let mut election = db.election("e", 60).unwrap();
    assert_eq!((lock.revision(), election.revision()), (None, None));
    lock.acquire(None).unwrap();
    election.campaign("me", None).unwrap();
    assert!(lock.is_held() && election.is_leader());
    assert_eq!((lock.revision(), election.revision()), (Some(2), Some(3)));
    db.close();
    assert!(!lock.is_held() && !election.is_leader());
    // a write that compares with it is refused, and does not panic
    assert_eq!((lock.revision(), election.revision()), (Some(2), Some(3)));
    assert_eq!(code(election.proclaim("still me")), Code::Closed);
    assert_eq!(code(election.campaign("me", None)), Code::Closed);
    assert_eq!(code(lock.try_acquire()), Code::Closed);
    assert_eq!(code(lock.acquire(None)), Code::Closed);
    for lock in [&mut lock, &mut idle] {
        assert_eq!(code(lock.release()), Code::Closed);
    }
    assert_eq!(code(election.resign()), Code::Closed);
    assert_eq!((lock.revision(), election.revision()), (None, None));
}

#[test]
fn close_revokes_the_leases_that_the_handle_kept() {
    let _deadline = deadline();
    let path = std::env::temp_dir().join(format!("libkv-let-go-{}", std::process::id()));
    let other = Db::open(&path, Options::new()).unwrap();
    let db = Db::open(&path, Options::new()).unwrap();
    let lease = db.lease(600).unwrap();
    let mut lock = db.lock("l", 600).unwrap();
    lock.acquire(None).unwrap();
    db.put(Put::new("a", "1").lease(lease.id())).unwrap();
    let watcher = other
        .watch(Watch::new(KeyRange::all()).no_put(true))
        .unwrap();
    let keys = [&b"a"[..], lock.key()].map(<[u8]>::to_vec);
    db.close();
    for _ in 0..2 {
        let batch = watcher
            .next(Duration::from_secs(20))
            .unwrap()
            .expect("a deletion");
        assert!(keys.iter().any(|key| batch.events[0].kv.key == key[..]));
    }
    assert_eq!(other.lease_list().unwrap(), [0; 0]);
    other.close();
    std::fs::remove_dir_all(path).unwrap();
}

/// A waker that stores that it was called.
#[derive(Default)]
struct FlagWaker(AtomicBool);

impl Wake for FlagWaker {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn waker_registered_after_close_is_woken_at_once() {
    let _deadline = deadline();
    let ends: [fn(&Db, &Watcher); 3] = [
        |_, watcher| watcher.cancel(),
        |_, watcher| watcher.close(),
        |db, _| db.close(),
    ];
    for (at, end) in ends.into_iter().enumerate() {
        let db = store();
        let watcher = db.watch(Watch::new(KeyRange::all())).unwrap();
        end(&db, &watcher);
        let woken = Arc::new(FlagWaker::default());
        watcher.set_waker(Some(woken.clone().into()));
        assert!(woken.0.load(Ordering::SeqCst), "end {at}");
    }
}

#[test]
fn leaders_that_were_closed_unread_return_closed() {
    let _deadline = deadline();
    let db = store();
    let mut election = db.election("name", 60).unwrap();
    election.campaign("me", None).unwrap();
    let mut leaders = election.observe().unwrap();
    leaders.close();
    assert_eq!(code(leaders.try_next()), Code::Closed);
}

/// A former version ended watchers of other keys with `compacted` if a process compacted at once
/// after its writes, before the watchers had received them.
#[test]
fn compaction_right_after_a_write_does_not_end_watchers_of_other_keys() {
    let _deadline = deadline();
    let db = store();
    for _ in 0..300 {
        let watcher = db.watch(Watch::new("other")).unwrap();
        let mut revision = 0;
        for _ in 0..3 {
            revision = db.put(Put::new("a", "1")).unwrap().revision;
        }
        db.compact(Compact::new(revision).physical(true)).unwrap();
        let last = db.put(Put::new("other", "1")).unwrap().revision;
        assert_eq!(
            watcher
                .next(Duration::from_secs(20))
                .unwrap()
                .expect("a batch")
                .revision,
            last
        );
    }
}

/// A former version did not report that the directory of an open store was removed. It acknowledged
/// writes to files that cannot be opened again.
#[test]
fn status_reports_that_the_files_were_removed() {
    let _deadline = deadline();
    let path = std::env::temp_dir().join(format!("libkv-removed-{}", std::process::id()));
    let removed = |db: &Db| db.status().unwrap().removed;
    for file in ["data.mdb", ""] {
        let db = Db::open(&path, Options::new()).unwrap();
        db.put(Put::new("a", "1")).unwrap();
        assert!(!removed(&db));
        // the files are renamed on some file systems
        let elsewhere = path.with_extension("elsewhere");
        std::fs::rename(&path, &elsewhere).unwrap();
        assert!(!removed(&db));
        std::fs::rename(&elsewhere, &path).unwrap();
        match file {
            "" => std::fs::remove_dir_all(&path).unwrap(),
            file => std::fs::remove_file(path.join(file)).unwrap(),
        }
        assert!(removed(&db));
        db.close();
        let _ = std::fs::remove_dir_all(&path);
    }
    assert!(!removed(&store()), "a store in memory has no files");
}

#[test]
fn leaders_look_up_the_leader_again_after_a_read_that_failed() {
    let _deadline = deadline();
    const WAIT_LIMIT: Duration = Duration::from_secs(30);
    const SLOTS: u32 = 4;
    let db = Db::open(":memory:", Options::new().max_readers(SLOTS)).unwrap();
    let mut election = db.election("e", 60).unwrap();
    election.campaign("me", None).unwrap();
    let mut leaders = election.observe().unwrap();
    // each reader slot is in use until its sender is dropped
    let (reading, begun) = mpsc::channel();
    let readers: Vec<_> = (0..SLOTS)
        .map(|_| {
            let (db, reading, (release, released)) =
                (db.clone(), reading.clone(), mpsc::channel::<()>());
            let each = move |_: PairRef| {
                reading.send(()).unwrap();
                let _ = released.recv();
            };
            let read = move || {
                db.range_each(&Range::new(KeyRange::prefix("e/")), each)
                    .map(|response| response.count)
            };
            (release, thread::spawn(read))
        })
        .collect();
    for _ in 0..SLOTS {
        begun.recv_timeout(WAIT_LIMIT).unwrap();
    }
    assert_eq!(code(leaders.try_next()), Code::Busy);
    for (release, reader) in readers {
        drop(release);
        assert_eq!(reader.join().unwrap().unwrap(), 1);
    }
    assert_eq!(
        leaders
            .next(WAIT_LIMIT)
            .unwrap()
            .expect("the current leader")
            .value,
        "me"
    );
}

/// Proclamations may arrive faster than the caller reads them.
#[test]
fn leaders_next_ends_at_its_time_limit_while_batches_are_left() {
    let _deadline = deadline();
    let db = store();
    let mut election = db.election("e", 60).unwrap();
    election.campaign("me", None).unwrap();
    let mut leaders = election.observe().unwrap();
    assert_eq!(
        leaders
            .try_next()
            .unwrap()
            .expect("the current leader")
            .value,
        "me"
    );
    for candidate in ["e/x", "e/y", "e/z"] {
        db.put(Put::new(candidate, "")).unwrap();
    }
    assert_eq!(
        leaders.watcher().caught_up(),
        None,
        "this call reads the log to its end"
    );
    assert_eq!(leaders.try_next().unwrap(), None);
    assert!(
        leaders.watcher().try_next().unwrap().is_some(),
        "the call read every batch before it checked its time limit"
    );
}
