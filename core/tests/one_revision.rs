//! Whatever is read, in one call or page by page, is of one revision, while another thread writes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use libkv::*;

/// In every revision: `a/0` to `a/299`, and in odd ones `b/0` to `b/49`; each pair was written in it. So one
/// pair of another revision, one too many and one too few are all seen. Several pages of everything.
const ALWAYS: i64 = 300;
const ODD: i64 = 50;
const ROUNDS: usize = 60;
const LEASE: LeaseId = 1;

fn expected(revision: Revision) -> i64 {
    ALWAYS + revision % 2 * ODD
}

fn write(db: &Db, revision: Revision) {
    let put = |prefix: &'static str| move |n| Op::Put(Put::new(format!("{prefix}/{n}"), "v").lease(LEASE));
    let mut success: Vec<Op> = (0..ALWAYS).map(put("a")).collect();
    match revision % 2 {
        1 => success.extend((0..ODD).map(put("b"))),
        _ => success.push(Op::Delete(Delete::new(KeyRange::prefix("b")))),
    }
    assert_eq!(db.txn(Txn { success, ..Txn::new() }).expect("written").revision, revision);
}

/// Runs `read` many times, each with the last revision that was certainly there, beside a writer.
fn beside_a_writer(read: impl Fn(&Db, Revision)) {
    let db = Db::open(":memory:", Options::new()).expect("a store");
    db.lease_grant(3_600, LEASE).expect("granted");
    let mut revision = 2;
    while revision < 6 {
        write(&db, revision);
        revision += 1;
    }
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let _end = End(&ended);
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                write(&db, revision);
                revision += 1;
            }
        });
        for _ in 0..ROUNDS {
            read(&db, db.status().expect("status").revision);
        }
    });
}

/// The writer ends, also when an assertion fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn all() -> Range {
    Range::new(KeyRange::all())
}

fn whole(what: &str, revision: Revision, kvs: &[KeyValue]) {
    assert_eq!(kvs.len() as i64, expected(revision), "{what} at {revision}");
    assert!(kvs.iter().all(|kv| kv.mod_revision == revision), "{what} at {revision}");
}

#[test]
fn range_has_pairs_count_and_header_of_one_revision() {
    beside_a_writer(|db, _| {
        let range = db.range(all()).expect("read");
        whole("range", range.revision, &range.kvs);
        assert_eq!(range.count, expected(range.revision));
        let limited = db.range(all().limit(10)).expect("read");
        assert!(limited.more && limited.kvs.iter().all(|kv| kv.mod_revision == limited.revision));
        assert_eq!(limited.count, expected(limited.revision));
        let count = db.range(all().count_only(true)).expect("read");
        assert_eq!(count.count, expected(count.revision));
        let sorted = db.range(all().sort(SortTarget::Mod, SortOrder::Descend)).expect("read");
        whole("sorted range", sorted.revision, &sorted.kvs);
        let mut revisions = Vec::new();
        let each = db.range_each(&all(), |pair| revisions.push(pair.mod_revision)).expect("read");
        assert_eq!(revisions, vec![each.revision; expected(each.revision) as usize]);
    });
}

#[test]
fn txn_of_ranges_is_of_one_revision() {
    beside_a_writer(|db, _| {
        let txn = Txn::new().and_then(all()).and_then(all().count_only(true));
        let result = db.txn(txn).expect("read");
        let [OpResult::Range(pairs), OpResult::Range(count)] = &result.responses[..] else { panic!("{result:?}") };
        whole("txn", result.revision, &pairs.kvs);
        assert_eq!(count.count, expected(result.revision));
    });
}

#[test]
fn scan_and_snapshot_stay_at_their_revision() {
    beside_a_writer(|db, _| {
        let mut scan = db.scan(all()).expect("a scan");
        let pairs: Vec<_> = scan.by_ref().collect::<Result<_>>().expect("read");
        whole("scan", scan.revision(), &pairs);
        let snapshot = db.snapshot().expect("a snapshot");
        let pairs: Vec<_> = snapshot.scan(all()).expect("a scan").collect::<Result<_>>().expect("read");
        whole("scan of a snapshot", snapshot.revision(), &pairs);
        whole("range of a snapshot", snapshot.revision(), &snapshot.range(all()).expect("read").kvs);
    });
}

#[test]
fn transaction_reads_at_one_revision() {
    beside_a_writer(|db, _| {
        let mut transaction = db.transaction();
        let first = transaction.range(all()).expect("read");
        let second = transaction.range(all()).expect("read");
        whole("transaction", first.revision, &first.kvs);
        whole("transaction", first.revision, &second.kvs);
    });
}

#[test]
fn history_changes_and_diff_end_at_one_revision() {
    beside_a_writer(|db, seen| {
        let history = db.history("a/0", 0).expect("read");
        let revisions: Vec<_> = history.iter().map(|event| event.kv.mod_revision).collect();
        let newest = *revisions.first().expect("it was written");
        assert_eq!(revisions, (2..=newest).rev().collect::<Vec<_>>());

        let events: Vec<_> = db.changes(seen - 3, 0, KeyRange::all()).collect::<Result<_>>().expect("read");
        let last = events.last().expect("there are some").kv.mod_revision;
        for revision in seen - 2..=last {
            let of_it = events.iter().filter(|event| event.kv.mod_revision == revision).count();
            // the extra keys are put or deleted
            assert_eq!(of_it as i64, ALWAYS + ODD, "changes at {revision} of {last}");
        }

        let changes: Vec<_> = db.diff(seen, 0, KeyRange::all()).expect("a diff").collect::<Result<_>>().expect("read");
        let after: Vec<_> = changes.iter().filter_map(|change| change.after.clone()).collect();
        if let Some(kv) = after.first() {
            whole("diff", kv.mod_revision, &after);
        }
        let before: Vec<_> = changes.iter().filter_map(|change| change.before.clone()).collect();
        assert!(before.is_empty() || before.len() as i64 == expected(seen), "{} at {seen}", before.len());
    });
}

#[test]
fn status_and_the_keys_of_a_lease_are_of_one_revision() {
    beside_a_writer(|db, _| {
        let status = db.status().expect("status");
        assert_eq!(status.keys as i64, expected(status.revision));
        let keys = db.lease_time_to_live(LEASE, true).expect("read").keys.len() as i64;
        assert!([ALWAYS, ALWAYS + ODD].contains(&keys), "{keys} keys");
    });
}
