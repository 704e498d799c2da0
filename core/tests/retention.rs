//! Revisions by time, and automatic compaction.

use std::time::{Duration, Instant, SystemTime};

use libkv::*;
use libkv_test_support::deadline::deadline;

const START_MS: i64 = 1_700_000_000_000 - 1_700_000_000_000 % 60_000;
const WAIT_LIMIT: Duration = Duration::from_secs(30);

fn at(clock: &Clock) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(clock.unix_ms() as u64)
}

fn put(db: &Db, times: usize) -> Revision {
    (0..times)
        .map(|n| db.put(Put::new("a", n.to_string())).expect("put").revision)
        .max()
        .expect("at least one put")
}

fn compacted(db: &Db) -> Revision {
    db.status()
        .expect("status")
        .compacted_revision
        .unwrap_or(-1)
}

#[test]
fn revision_at_a_time_of_the_past() {
    let _deadline = deadline();
    let clock = Clock::new(START_MS);
    let db = Db::open(":memory:", Options::new().clock(clock.clone())).expect("a store");
    let before = at(&clock);
    let mut noted = vec![(before - Duration::from_secs(120), 1)];
    for _ in 0..20 {
        noted.push((at(&clock), put(&db, 3)));
        clock.advance(90_000);
    }
    for (time, revision) in &noted {
        assert_eq!(db.revision_at(*time).expect("kept"), *revision, "{time:?}");
    }
    let now = noted.last().expect("some").1;
    assert_eq!(
        db.revision_at(at(&clock) + Duration::from_secs(1 << 40))
            .expect("a future time has the current revision"),
        now
    );
    assert_eq!(
        db.revision_at(SystemTime::UNIX_EPOCH - Duration::from_secs(9))
            .expect("before the first write"),
        1
    );

    let (_, cut) = noted[10];
    db.compact(Compact::new(cut).physical(true))
        .expect("compacted");
    for (time, revision) in &noted {
        match db.revision_at(*time) {
            Ok(response) => assert_eq!((response, *revision >= cut), (*revision, true), "{time:?}"),
            Err(error) => assert_eq!(
                (error.code(), error.revision(), *revision < cut),
                (Code::Compacted, Some(cut), true)
            ),
        }
    }
    assert_eq!(db.check().expect("check").problems, []);
}

#[test]
fn time_index_stays_ordered_when_the_clock_is_set_back() {
    let _deadline = deadline();
    let store = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("back-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&store);
    let later = Clock::new(START_MS + 3_600_000);
    let db = Db::open(&store, Options::new().clock(later.clone())).expect("a store");
    let first = put(&db, 1);
    db.close();
    let earlier = Clock::new(START_MS);
    let db = Db::open(&store, Options::new().clock(earlier.clone())).expect("opened again");
    let second = put(&db, 1);
    // a write with an earlier time than its predecessor counts for the later minute
    assert_eq!(db.revision_at(at(&earlier)).expect("kept"), 1);
    assert_eq!(db.revision_at(at(&later)).expect("kept"), second);
    assert_eq!((first, second), (2, 3));
    assert_eq!(db.check().expect("check").problems, []);
    db.close();
    std::fs::remove_dir_all(store).expect("removed");
}

#[test]
fn auto_compaction_keeps_a_number_of_revisions() {
    let _deadline = deadline();
    let clock = Clock::new(START_MS);
    let options = Options::new()
        .clock(clock.clone())
        .auto_compaction(AutoCompaction::Revisions(100));
    let db = Db::open(":memory:", options).expect("a store");
    let revision = put(&db, 300);
    clock.advance(1);
    assert_eq!(compacted(&db), revision - 100);
    db.get_at("a", revision - 100)
        .expect("the oldest revision that is kept");
    assert_eq!(
        db.get_at("a", revision - 101)
            .expect_err("forgotten")
            .code(),
        Code::Compacted
    );
    let more = put(&db, 10);
    clock.advance(1);
    assert_eq!(
        compacted(&db),
        revision - 100,
        "compaction starts after a tenth more"
    );
    let more = more.max(put(&db, 1));
    clock.advance(1);
    assert_eq!(compacted(&db), more - 100);
    assert_eq!(db.check().expect("check").problems, []);
}

/// Every revision that was current within the retention time can be read. Revisions that are older
/// by a minute or more cannot.
#[test]
fn auto_compaction_keeps_history_of_an_age() {
    let _deadline = deadline();
    const KEEP_MS: i64 = 600_000;
    let clock = Clock::new(START_MS);
    let options = Options::new()
        .clock(clock.clone())
        .auto_compaction(AutoCompaction::Seconds(KEEP_MS as u64 / 1_000));
    let db = Db::open(":memory:", options).expect("a store");
    let mut noted = Vec::new();
    for step in 0..200 {
        noted.push((clock.unix_ms(), put(&db, 1 + step % 4)));
        clock.advance(7_000 + (step as i64 * 3_571) % 50_000);
        let now = clock.unix_ms();
        let oldest = compacted(&db);
        for pair in noted.windows(2) {
            let (_, revision) = pair[0];
            // a revision is current until the next write
            let age_ms = now - pair[1].0;
            if age_ms <= KEEP_MS {
                assert!(
                    revision >= oldest,
                    "step {step}: revision {revision} of {age_ms} ms ago was removed: {oldest}"
                );
            }
            if age_ms > KEEP_MS + 3 * 60_000 {
                assert!(
                    revision < oldest,
                    "step {step}: revision {revision} of {age_ms} ms ago is kept: {oldest}"
                );
            }
        }
    }
    assert_eq!(db.check().expect("check").problems, []);
}

#[test]
fn auto_compaction_with_the_system_clock_frees_space() {
    let _deadline = deadline();
    let options = Options::new().auto_compaction(AutoCompaction::Revisions(10));
    let db = Db::open(":memory:", options).expect("a store");
    let revision = put(&db, 200);
    let until = Instant::now() + WAIT_LIMIT;
    while compacted(&db) < revision - 10 || db.check().expect("check").events > 12 {
        assert!(
            Instant::now() < until,
            "not within {WAIT_LIMIT:?}: {:?}",
            db.status()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(compacted(&db), revision - 10);
    assert_eq!(db.history("a", 0).expect("history").len(), 11);
}

#[test]
fn auto_compaction_refuses_zero_and_a_second_rule() {
    let _deadline = deadline();
    let refused = |options: Options, path: &str| Db::open(path, options).expect_err("refused");
    for rule in [AutoCompaction::Revisions(0), AutoCompaction::Seconds(0)] {
        assert_eq!(
            refused(Options::new().auto_compaction(rule), ":memory:").code(),
            Code::InvalidArgument
        );
    }
    let store = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("rule-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&store);
    let path = store.to_str().expect("text");
    let db = Db::open(
        path,
        Options::new().auto_compaction(AutoCompaction::Seconds(60)),
    )
    .expect("a store");
    let error = refused(
        Options::new().auto_compaction(AutoCompaction::Revisions(5)),
        path,
    );
    assert!(
        error.message().contains("60 s") && error.message().contains("5 revisions"),
        "the message has both: {error}"
    );
    Db::open(path, Options::new()).expect("an open without the option keeps the stored rule");
    db.close();
    std::fs::remove_dir_all(store).expect("removed");
}
