//! Mirror: the target gets every event exactly once, whichever process is killed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use libkv::{Db, Delete, EventKind, KeyRange, Op, Options, Put, Range, Txn};
use libkv_test_support::deadline::until;
use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Place, Running, Serving};

/// A mirror between two stores of a place, each of which may be served.
struct Mirrored {
    place: Place,
    source: Db,
    target: Db,
    from: End,
    to: End,
}

/// An end of a mirror.
struct End {
    store: &'static str,
    serving: Option<Serving>,
}

impl End {
    fn new(place: &Place, store: &'static str, served: bool) -> End {
        let serving = served.then(|| Serving::start(place, &place.path(store), &[]));
        End { store, serving }
    }

    fn name(&self) -> &str {
        match &self.serving {
            Some(serving) => &serving.address,
            None => self.store,
        }
    }

    /// Kills the server, if there is one, and starts it again at the same address.
    fn kill_and_start(&mut self, place: &Place) {
        let Some(serving) = self.serving.take() else {
            return;
        };
        let flag = format!("--listen-client-urls={}", serving.address);
        serving.running.end_by(Signal::KILL);
        self.serving = Some(Serving::start(place, &place.path(self.store), &[&flag]));
    }
}

impl Mirrored {
    fn new(source_served: bool, target_served: bool) -> Mirrored {
        let place = Place::new();
        let open = |store| Db::open(place.path(store), Options::new()).expect("a store");
        let (source, target) = (open("source"), open("target"));
        let from = End::new(&place, "source", source_served);
        let to = End::new(&place, "target", target_served);
        Mirrored {
            place,
            source,
            target,
            from,
            to,
        }
    }

    fn line(&self, options: &str) -> String {
        format!("mirror {} {} {options}", self.from.name(), self.to.name())
    }

    /// Starts the mirror of the keys `k/`.
    fn start(&self, options: &str) -> Running {
        self.place
            .start(&self.line(&format!("--prefix k/ {options}")))
    }

    /// Waits until the target has the keys of the source.
    fn wait(&self) {
        until("the target is equal to the source", || {
            values(&self.target) == values(&self.source)
        });
    }

    /// Waits until the target has the number of events of the source.
    fn wait_for_all(&self) {
        let events = |db: &Db| db.events(0, 0, KeyRange::prefix("k/")).count();
        let all = events(&self.source);
        until("the target has all events", || events(&self.target) >= all);
    }

    fn assert_same_events(&self) {
        assert_eq!(history(&self.target), history(&self.source));
    }
}

/// The mirrored keys with their values.
fn values(db: &Db) -> Vec<(Vec<u8>, Vec<u8>)> {
    let all = db.range(Range::new(KeyRange::prefix("k/"))).expect("read");
    all.kvs
        .iter()
        .map(|kv| (kv.key.to_vec(), kv.value.to_vec()))
        .collect()
}

/// An event of a mirrored key: kind, value, version.
type MirroredEvent = (EventKind, Vec<u8>, i64);

/// The events of each mirrored key.
fn history(db: &Db) -> BTreeMap<Vec<u8>, Vec<MirroredEvent>> {
    let mut keys = BTreeMap::<_, Vec<_>>::new();
    for event in db.events(0, 0, KeyRange::prefix("k/")) {
        let event = event.expect("an event");
        let kv = event.kv;
        keys.entry(kv.key.to_vec())
            .or_default()
            .push((event.kind, kv.value.to_vec(), kv.version));
    }
    keys
}

fn put(db: &Db, key: &str, value: &str) {
    db.put(Put::new(key, value)).expect("put");
}

fn delete(db: &Db, key: &str) {
    db.delete(Delete::new(key)).expect("deleted");
}

/// The cursor of the keys `k/` in a store.
fn cursor(db: &Db) -> Value {
    let kv = db.get("\0kv/mirror/k/").expect("read").expect("a cursor");
    serde_json::from_slice(&kv.value).expect("JSON")
}

#[test]
fn mirror_copies_and_follows() {
    for (from, to) in [(false, false), (false, true), (true, false)] {
        let mirrored = Mirrored::new(from, to);
        put(&mirrored.source, "k/before", "1");
        put(&mirrored.source, "elsewhere", "1");
        put(&mirrored.target, "own", "1");
        let mut running = mirrored.start("");
        assert_eq!(running.line(), "copied revision 3: 1 pair written");
        put(&mirrored.source, "k/a", "1");
        put(&mirrored.source, "k/a", "2");
        put(&mirrored.source, "elsewhere", "2");
        delete(&mirrored.source, "k/before");
        let several = ["k/x", "k/y", "k/a"].map(|key| Put::new(key, "together"));
        mirrored
            .source
            .txn(Txn::new().and_then_all(several))
            .expect("room");
        mirrored.wait();
        mirrored.assert_same_events();
        assert_eq!(running.end_by(Signal::INT).status, 130);
        let cursor = cursor(&mirrored.target);
        assert_eq!(cursor["revision"], 8, "{cursor}");
        // after `own`: the cursor, the copy, its end, and one txn for each of four revisions
        let revision = mirrored.target.status().expect("status").revision;
        assert_eq!(revision, 2 + 3 + 4);
        let own = mirrored.target.get("own").expect("read");
        assert_eq!(own.expect("it stays").value, "1");
        assert_eq!(mirrored.target.get("elsewhere").expect("read"), None);
    }
}

#[test]
fn mirror_replaces_the_prefix_and_starts_at_a_revision() {
    let place = Place::new();
    for line in ["put k/a 1", "put k/b 2", "put k/c 3"] {
        place.kv(line).ok();
    }
    let list = |store: &str| place.kv(&format!("-s {store} range a z")).text();
    let short = place.start(
        r"mirror store short --prefix k/ --no-dest-prefix --escaped --cursor-key \x00kv/mirror/a",
    );
    let other = place.start("mirror store other --prefix k/ --dest-prefix kk/ --rev 3");
    until("the copy", || list("short") == "a\t1\nb\t2\nc\t3\n");
    until("the events from 3 on", || {
        list("other") == "kk/b\t2\nkk/c\t3\n"
    });
    assert_eq!(short.end_by(Signal::TERM).status, 143);
    assert_eq!(other.end_by(Signal::TERM).status, 143);
    let printed = place.kv(r"-s short get --escaped \x00kv/mirror/a").ok();
    assert!(printed.contains("kv_mirror"), "{printed}");
    place.kv("compact 3").ok();
    let ran = place.kv("mirror store third --prefix k/ --rev 2");
    assert!(ran.refused(3).contains("compacted"), "{ran:?}");
}

/// How far the writer is ahead of the mirror at most.
const AHEAD_MAX: i64 = 200;

/// Writes until it is stopped: puts, deletions and txns of up to ten keys.
fn write_until(db: &Db, target: &Db, stop: &AtomicBool, seed: u64) {
    let mut random = seed;
    let mut next = |below: u64| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    let mut number = 0;
    while !stop.load(Ordering::Acquire) {
        number += 1;
        let ahead = |db: &Db| {
            let revision = db.status().expect("status").revision;
            revision - cursor(target)["revision"].as_i64().expect("a number")
        };
        until("the mirror catches up", || {
            stop.load(Ordering::Acquire) || ahead(db) < AHEAD_MAX
        });
        let first = next(20);
        let ops = (0..1 + next(10)).map(|n| -> Op {
            let key = format!("k/{}", (first + n) % 20);
            match next(4) {
                0 => Delete::new(key).into(),
                _ => Put::new(key, format!("{number}")).into(),
            }
        });
        db.txn(Txn::new().and_then_all(ops)).expect("room");
        if next(8) == 0 {
            put(db, "elsewhere", "x");
        }
    }
}

/// Kills the mirror in five rounds, and the servers of both ends, while another process writes.
fn resume_in_rounds(source_served: bool, target_served: bool) {
    let mut mirrored = Mirrored::new(source_served, target_served);
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let stop = AtomicBool::new(false);
    let options = "--max-txn-ops 4";
    let mut running = mirrored.start(options);
    // the copy, of no keys, is done: all keys come from events
    running.line();
    let (source, target) = (mirrored.source.clone(), mirrored.target.clone());
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| write_until(&source, &target, &stop, seed));
        for round in 0..5 {
            let before = cursor(&mirrored.target)["revision"].as_i64();
            until("the mirror applies events", || {
                cursor(&mirrored.target)["revision"].as_i64() > before.map(|n| n + 20)
            });
            if round == 2 {
                mirrored.from.kill_and_start(&mirrored.place);
                mirrored.to.kill_and_start(&mirrored.place);
                continue;
            }
            running.signal(Signal::KILL);
            running.child.wait().expect("it ends");
            running = mirrored.start(options);
        }
        stop.store(true, Ordering::Release);
        writer.join().expect("no panic");
    });
    mirrored.wait_for_all();
    mirrored.assert_same_events();
    assert_eq!(running.end_by(Signal::INT).status, 130);
}

#[test]
fn mirror_that_is_killed_applies_each_event_once_between_stores() {
    resume_in_rounds(false, false);
}

#[test]
fn mirror_that_is_killed_applies_each_event_once_to_a_server() {
    resume_in_rounds(false, true);
}

#[test]
fn mirror_that_is_killed_applies_each_event_once_from_a_server() {
    resume_in_rounds(true, false);
}

#[test]
fn mirror_splits_a_revision() {
    let mirrored = Mirrored::new(false, true);
    let mut running = mirrored.start("--max-txn-ops 10");
    running.line();
    let before = mirrored.target.status().expect("status").revision;
    let many = (0..500).map(|n| Put::new(format!("k/{n:03}"), "x"));
    mirrored
        .source
        .txn(Txn::new().and_then_all(many))
        .expect("room");
    mirrored.wait();
    mirrored.assert_same_events();
    until("the cursor", || {
        cursor(&mirrored.target).get("part").is_none()
    });
    let after = mirrored.target.status().expect("status").revision;
    // nine events and the cursor in each txn
    assert_eq!(after - before, 56);
    assert_eq!(running.end_by(Signal::INT).status, 130);
}

#[test]
fn mirror_synchronises_after_a_compaction() {
    let mirrored = Mirrored::new(false, false);
    for key in ["k/a", "k/b", "k/c"] {
        put(&mirrored.source, key, "1");
    }
    let mut running = mirrored.start("");
    running.line();
    assert_eq!(running.end_by(Signal::TERM).status, 143);
    delete(&mirrored.source, "k/a");
    put(&mirrored.source, "k/b", "2");
    put(&mirrored.source, "k/d", "1");
    let revision = mirrored.source.status().expect("status").revision;
    mirrored.source.compact(revision).expect("compacted");
    put(&mirrored.target, "own", "1");
    let mut running = mirrored.start("--json");
    let note = running.err_line();
    assert!(note.contains("has compacted revisions after 4"), "{note}");
    let copied: Value = serde_json::from_str(&running.line()).expect("JSON");
    assert_eq!(
        copied,
        serde_json::json!({"type": "copied", "revision": revision, "written": 1,
            "overwritten": 1, "same": 1, "without_lease": 0, "deleted": 1})
    );
    put(&mirrored.source, "k/c", "2");
    mirrored.wait();
    let own = mirrored.target.get("own").expect("read");
    assert_eq!(own.expect("it stays").value, "1");
    assert_eq!(running.end_by(Signal::INT).status, 130);
}

#[test]
fn mirror_refuses_the_cursor_of_another_source() {
    let mirrored = Mirrored::new(false, false);
    put(&mirrored.source, "k/a", "1");
    let mut running = mirrored.start("");
    running.line();
    running.end_by(Signal::TERM);
    mirrored.place.kv("-s third put k/a other").ok();
    let before = mirrored.target.status().expect("status").revision;
    for line in [
        "mirror third target --prefix k/",
        "mirror source target --prefix x/ --dest-prefix k/",
    ] {
        let ran = mirrored.place.kv(line);
        let message = ran.refused(3);
        assert!(
            message.contains("TARGET has a cursor, and so data, of the store")
                && message.contains(r"delete the key \x00kv/mirror/k/"),
            "{message}"
        );
    }
    mirrored.place.kv("-s target put mine x").ok();
    let ran = mirrored
        .place
        .kv("mirror source target --prefix k/ --cursor-key mine");
    assert!(ran.refused(3).contains("mine of TARGET is not a cursor"));
    let after = mirrored.target.status().expect("status").revision;
    assert_eq!(after, before + 1, "only `mine` was written");
}

#[test]
fn mirror_stops_when_another_one_takes_over() {
    let mirrored = Mirrored::new(false, true);
    let mut first = mirrored.start("");
    first.line();
    let writer = cursor(&mirrored.target)["writer"].clone();
    let second = mirrored.start("");
    until("the second mirror", || {
        cursor(&mirrored.target)["writer"] != writer
    });
    put(&mirrored.source, "k/a", "1");
    let ran = first.end();
    assert!(
        ran.refused(3)
            .contains("another writer has changed the cursor"),
        "{ran:?}"
    );
    mirrored.wait();
    mirrored.assert_same_events();
    assert_eq!(second.end_by(Signal::TERM).status, 143);
}

#[test]
fn mirror_shows_its_progress() {
    let mirrored = Mirrored::new(false, false);
    let mut running = mirrored.start("--json --progress-interval 20ms");
    let mut line = || serde_json::from_str::<Value>(&running.line()).expect("JSON");
    while line()["type"] != "copied" {}
    put(&mirrored.source, "k/a", "1");
    put(&mirrored.source, "elsewhere", "1");
    let reached = loop {
        let line = line();
        if line["events"] == 1 && line["source_revision"] == 3 {
            break line;
        }
    };
    // the revision of other keys is passed some seconds later
    let revision = reached["revision"].as_i64().expect("a number");
    assert!((2..=3).contains(&revision), "{reached}");
    assert_eq!(reached["behind"], 3 - revision, "{reached}");
    assert_eq!(running.end_by(Signal::INT).status, 130);
    let mut running = mirrored.start("--progress-interval 20ms");
    assert_eq!(
        running.line(),
        "0 events, revision 2, SOURCE is 1 revision ahead"
    );
    assert_eq!(running.end_by(Signal::INT).status, 130);
}

#[test]
fn mirror_refuses_to_read_what_it_writes() {
    let place = Place::new();
    place.kv("put a/1 x").ok();
    for line in [
        "mirror store store",
        "mirror store ./store --prefix a --dest-prefix a/b",
        "mirror store store --prefix a --dest-prefix b --cursor-key a",
    ] {
        let ran = place.kv(line);
        assert!(ran.refused(2).contains("read what it writes"), "{ran:?}");
    }
    let ran = place.kv("mirror store b --dest-prefix b/ --cursor-key b/c");
    assert!(ran.refused(2).contains("--cursor-key"), "{ran:?}");
    let ran = place.kv("mirror store b --max-txn-ops 1");
    assert!(ran.refused(2).contains("--max-txn-ops"), "{ran:?}");
    let running = place.start("mirror store store --prefix a/ --dest-prefix b/");
    until("the copy within the store", || {
        place.kv("get b/1 --print-value-only").text() == "x\n"
    });
    assert_eq!(running.end_by(Signal::TERM).status, 143);
}
