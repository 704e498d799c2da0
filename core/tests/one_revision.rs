//! Every read, in one call or page by page, is of one revision while another thread writes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use libkv::*;
use libkv_test_support::deadline::deadline;

/// Every revision writes all its pairs: `always` keys below `a/`, and in odd revisions `odd` keys
/// below `b/`. So a pair of another revision, an extra pair and a missing pair are all noticed.
struct Store {
    db: Db,
    always: i64,
    odd: i64,
    rounds: usize,
}

const LEASE: LeaseId = 1;

impl Store {
    fn new(always: i64, odd: i64, rounds: usize) -> Store {
        let db = Db::open(":memory:", Options::new()).expect("a store");
        db.lease_grant(LeaseGrant::new(3_600).id(LEASE))
            .expect("granted");
        let store = Store {
            db,
            always,
            odd,
            rounds,
        };
        (2..6).for_each(|revision| store.write(revision));
        store
    }

    /// A store of several pages.
    fn of_pages() -> Store {
        Store::new(300, 50, 60)
    }

    /// A small store, for reads of one call, so that writes are as fast as possible.
    fn fast() -> Store {
        Store::new(3, 2, 4_000)
    }

    fn keys(&self, revision: Revision) -> i64 {
        self.always + revision % 2 * self.odd
    }

    fn write(&self, revision: Revision) {
        let put =
            |prefix: &'static str| move |n| Put::new(format!("{prefix}/{n}"), "v").lease(LEASE);
        let txn = Txn::new().and_then_all((0..self.always).map(put("a")));
        let txn = match revision % 2 {
            1 => txn.and_then_all((0..self.odd).map(put("b"))),
            _ => txn.and_then(Delete::new(KeyRange::prefix("b"))),
        };
        assert_eq!(self.db.txn(txn).expect("written").revision, revision);
    }

    /// Runs `read` many times beside a writer.
    fn beside_a_writer(&self, read: impl Fn(&Db)) {
        let ended = AtomicBool::new(false);
        thread::scope(|scope| {
            let _end = EndOnDrop(&ended);
            scope.spawn(|| {
                let mut revision = 6;
                while !ended.load(Ordering::Relaxed) {
                    self.write(revision);
                    revision += 1;
                }
            });
            (0..self.rounds).for_each(|_| read(&self.db));
        });
    }

    fn assert_whole(&self, what: &str, revision: Revision, kvs: &[KeyValue]) {
        assert_eq!(
            kvs.len() as i64,
            self.keys(revision),
            "{what} at {revision}"
        );
        assert!(
            kvs.iter().all(|kv| kv.mod_revision == revision),
            "{what} at {revision}"
        );
    }
}

/// Ends the writer when it is dropped, also if an assertion fails.
struct EndOnDrop<'a>(&'a AtomicBool);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn all() -> Range {
    Range::new(KeyRange::all())
}

#[test]
fn range_has_pairs_count_and_header_of_one_revision() {
    let _deadline = deadline();
    let store = Store::fast();
    store.beside_a_writer(|db| {
        let range = db.range(all()).expect("read");
        store.assert_whole("range", range.revision, &range.kvs);
        assert_eq!(range.count, store.keys(range.revision));
        let limited = db.range(all().limit(1)).expect("read");
        assert!(
            limited.more
                && limited
                    .kvs
                    .iter()
                    .all(|kv| kv.mod_revision == limited.revision)
        );
        assert_eq!(limited.count, store.keys(limited.revision));
        let count = db.range(all().count_only(true)).expect("read");
        assert_eq!(count.count, store.keys(count.revision));
        let sorted = db
            .range(all().sort(SortTarget::Mod, SortOrder::Descend))
            .expect("read");
        store.assert_whole("sorted range", sorted.revision, &sorted.kvs);
        let mut revisions = Vec::new();
        let each = db
            .range_each(&all(), |pair| revisions.push(pair.mod_revision))
            .expect("read");
        assert_eq!(
            revisions,
            vec![each.revision; store.keys(each.revision) as usize]
        );
    });
}

#[test]
fn txn_of_ranges_is_of_one_revision() {
    let _deadline = deadline();
    let store = Store::fast();
    store.beside_a_writer(|db| {
        let txn = Txn::new().and_then(all()).and_then(all().count_only(true));
        let result = db.txn(txn).expect("read");
        let [OpResponse::Range(pairs), OpResponse::Range(count)] = &result.responses[..] else {
            panic!("{result:?}")
        };
        store.assert_whole("txn", result.revision, &pairs.kvs);
        assert_eq!(count.count, store.keys(result.revision));
    });
}

#[test]
fn status_and_the_keys_of_a_lease_are_of_one_revision() {
    let _deadline = deadline();
    let store = Store::fast();
    store.beside_a_writer(|db| {
        let status = db.status().expect("status");
        assert_eq!(
            status.keys.map(|keys| keys as i64),
            Some(store.keys(status.revision))
        );
        let keys = db
            .lease_time_to_live(LeaseTimeToLive::new(LEASE).keys(true))
            .expect("read")
            .keys
            .len() as i64;
        assert!(
            [store.keys(0), store.keys(1)].contains(&keys),
            "{keys} keys"
        );
    });
}

#[test]
fn scan_and_snapshot_stay_at_their_revision() {
    let _deadline = deadline();
    let store = Store::of_pages();
    store.beside_a_writer(|db| {
        let mut scan = db.scan(all()).expect("a scan");
        let pairs: Vec<_> = scan.by_ref().collect::<Result<_>>().expect("read");
        store.assert_whole("scan", scan.revision(), &pairs);
        let snapshot = db.snapshot().expect("a snapshot");
        let pairs: Vec<_> = snapshot
            .scan(all())
            .expect("a scan")
            .collect::<Result<_>>()
            .expect("read");
        store.assert_whole("scan of a snapshot", snapshot.revision(), &pairs);
        store.assert_whole(
            "range of a snapshot",
            snapshot.revision(),
            &snapshot.range(all()).expect("read").kvs,
        );
    });
}

#[test]
fn transaction_reads_at_one_revision() {
    let _deadline = deadline();
    let store = Store::of_pages();
    store.beside_a_writer(|db| {
        let mut transaction = db.transaction();
        let first = transaction.range(all()).expect("read");
        let second = transaction.range(all()).expect("read");
        store.assert_whole("transaction", first.revision, &first.kvs);
        store.assert_whole("transaction", first.revision, &second.kvs);
    });
}

#[test]
fn history_changes_and_diff_end_at_one_revision() {
    let _deadline = deadline();
    let store = Store::of_pages();
    store.beside_a_writer(|db| {
        let seen = db.status().expect("status").revision;
        let history = db.history("a/0", 0).expect("read");
        let revisions: Vec<_> = history.iter().map(|event| event.kv.mod_revision).collect();
        let newest = *revisions.first().expect("an event");
        assert_eq!(revisions, (2..=newest).rev().collect::<Vec<_>>());

        let mut changes = db.events(seen - 3, 0, KeyRange::all());
        let first = changes.next().expect("an event").expect("read");
        // later writes must not be in the next pages
        let now = db.status().expect("status").revision;
        let rest: Vec<_> = changes.collect::<Result<_>>().expect("read");
        let events: Vec<_> = std::iter::once(first)
            .chain(rest)
            .map(|event| event.kv.mod_revision)
            .collect();
        let last = *events.last().expect("events");
        assert!((seen..=now).contains(&last), "{seen} to {now}: {last}");
        for revision in seen - 2..=last {
            // the extra keys are put or deleted
            let of_it = events.iter().filter(|at| **at == revision).count() as i64;
            assert_eq!(
                of_it,
                store.always + store.odd,
                "changes at {revision} of {last}"
            );
        }

        let changes: Vec<_> = db
            .diff(seen, 0, KeyRange::all())
            .expect("a diff")
            .collect::<Result<_>>()
            .expect("read");
        let after: Vec<_> = changes
            .iter()
            .filter_map(|change| change.after.clone())
            .collect();
        if let Some(kv) = after.first() {
            store.assert_whole("diff", kv.mod_revision, &after);
        }
        let before = changes
            .iter()
            .filter(|change| change.before.is_some())
            .count() as i64;
        assert!(
            [0, store.keys(seen)].contains(&before),
            "{before} at {seen}"
        );
    });
}
