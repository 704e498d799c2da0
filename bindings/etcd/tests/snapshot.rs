//! Snapshots: from a real etcd to a store, and from a store to a real etcd, with the whole history.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use libkv::*;
use libkv_etcd::{Restore, save_snapshot};
use libkv_test_support::deadline::deadline;
use libkv_test_support::dice::Dice;
use libkv_test_support::etcd::Etcd;
use libkv_test_support::served::Served;
use libkv_test_support::{fetch, scratch, seed};

/// The writes of a history.
const STEPS: u64 = 400;
const KEYS: u64 = 30;
/// A TTL that is longer than any test.
const TTL_SECONDS: i64 = 50_000;

/// The programs of a version of etcd.
struct Release {
    etcd: PathBuf,
    etcdctl: PathBuf,
    etcdutl: PathBuf,
}

impl Release {
    fn of(etcd: PathBuf) -> Release {
        Release {
            etcdctl: etcd.with_file_name("etcdctl"),
            etcdutl: etcd.with_file_name("etcdutl"),
            etcd,
        }
    }
}

/// The versions of etcd that are available here.
fn releases() -> Vec<Release> {
    let programs = [("3.5", fetch::program()), ("3.7", fetch::program37())];
    let mut found = Vec::new();
    for (version, program) in programs {
        match program {
            Ok(program) => found.push(Release::of(program)),
            Err(why) => println!("not run: snapshots of etcd {version} ({why})"),
        }
    }
    found
}

fn run(program: &Path, words: &[&str]) -> String {
    let done = Command::new(program)
        .args(words)
        .env("ETCDCTL_API", "3")
        .output()
        .expect("the program starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, error) = (text(&done.stdout), text(&done.stderr));
    assert!(
        done.status.success(),
        "{} {words:?}: {error}",
        program.display()
    );
    out
}

/// A random history with deletions, txns, leases and a compaction. Returns the compacted revision.
fn write_history(db: &Db, dice: &mut Dice) -> Revision {
    let leases: Vec<LeaseId> = (0..3)
        .map(|_| db.lease_grant(TTL_SECONDS).expect("granted").id)
        .collect();
    let mut compacted = 0;
    for step in 0..STEPS {
        let key = format!("k{}", dice.below(KEYS));
        let value = vec![step as u8; dice.below(3_000) as usize];
        let put = match dice.below(3) {
            0 => Put::new(key.clone(), value).lease(leases[dice.below(3) as usize]),
            _ => Put::new(key.clone(), value),
        };
        match dice.below(10) {
            0..6 => drop(db.put(put).expect("written")),
            6..8 => drop(db.delete(Delete::new(key.as_str())).expect("deleted")),
            _ => {
                let other = format!("t{}", dice.below(KEYS));
                let txn = Txn::new()
                    .and_then(put)
                    .and_then(Put::new(other.as_str(), "txn"))
                    .and_then(Delete::new(KeyRange::prefix("k1")));
                // a key that is put and deleted in one txn is refused
                let _ = db.txn(txn);
            }
        }
        if step == STEPS / 3 {
            compacted = db.range(Range::new("k0")).expect("read").revision;
            db.compact(Compact::new(compacted).physical(true))
                .expect("compacted");
        }
    }
    compacted
}

/// Both have the same pairs at every revision, the same events, and the same leases.
fn assert_same(one: &Db, other: &Db, compacted: Revision) {
    let all = || Range::new(KeyRange::all());
    let current = one.range(all()).expect("read").revision;
    assert_eq!(other.range(all()).expect("read").revision, current);
    for revision in compacted..=current {
        let at = |db: &Db| db.range(all().revision(revision)).expect("readable");
        let (one, other) = (at(one), at(other));
        // values are long: the first pair that differs is enough
        for (a, b) in one.kvs.iter().zip(&other.kvs) {
            let line = |kv: &KeyValue| format!("{kv:?}").replace(&format!("{:?}", kv.value), "…");
            assert!(a == b, "revision {revision}: {} and {}", line(a), line(b));
        }
        assert_eq!((one.revision, one.count), (other.revision, other.count));
    }
    let events = |db: &Db| {
        let events = db.events(compacted, current, KeyRange::all());
        events.collect::<Result<Vec<Event>>>().expect("readable")
    };
    assert_eq!(events(one), events(other));
    let error = other
        .range(all().revision(compacted - 1))
        .expect_err("compacted");
    assert_eq!(
        (error.code(), error.revision()),
        (Code::Compacted, Some(compacted))
    );
    let leases = |db: &Db| {
        let mut ids = db.lease_list().expect("listed");
        ids.sort_unstable();
        let each = ids.into_iter().map(|id| {
            let lease = db
                .lease_time_to_live(LeaseTimeToLive::new(id).keys(true))
                .expect("read");
            assert!(lease.ttl_seconds > TTL_SECONDS - 600, "{lease:?}");
            (id, lease.granted_ttl_seconds, lease.keys)
        });
        each.collect::<Vec<_>>()
    };
    assert_eq!(leases(one), leases(other));
}

#[test]
fn snapshot_round_trip_keeps_the_whole_history() {
    let _deadline = deadline();
    let mut dice = Dice(seed());
    for (number, release) in releases().into_iter().enumerate() {
        let dir = scratch(&format!("snapshot-{number}"));
        fs::create_dir_all(&dir).expect("a directory");
        let path = |name: &str| dir.join(name);
        let text = |path: &Path| path.to_str().expect("text").to_string();

        // from a real etcd to a store
        let first = Etcd::start(&release.etcd, &format!("snapshot-{number}"));
        let etcd = libkv_etcd::open(first.url(), Options::new()).expect("opened");
        let compacted = write_history(&etcd, &mut dice);
        let file = path("etcd.db");
        run(
            &release.etcdctl,
            &[
                "--endpoints",
                &first.url(),
                "snapshot",
                "save",
                &text(&file),
            ],
        );
        let restored = Restore::new(&file).run(path("store")).expect("restored");
        assert_eq!(
            (restored.compacted_revision, restored.leases),
            (Some(compacted), 3)
        );
        let store = Db::open(path("store"), Options::new()).expect("opened");
        assert_same(&etcd, &store, compacted);
        let report = store.check().expect("checked");
        assert_eq!(report.problems, vec![]);

        // and from the store to another etcd
        let file = path("store.db");
        let saved = save_snapshot(&store, &file).expect("saved");
        assert_eq!((saved.revision, saved.leases), (restored.revision, 3));
        let status = run(
            &release.etcdutl,
            &["snapshot", "status", &text(&file), "-w", "json"],
        );
        assert!(
            status.contains(&format!("\"revision\":{}", saved.revision)),
            "{status}"
        );
        let data = path("data");
        run(
            &release.etcdutl,
            &[
                "snapshot",
                "restore",
                &text(&file),
                "--data-dir",
                &text(&data),
                "--name",
                "m0",
                "--initial-cluster",
                "m0=http://127.0.0.1:1",
                "--initial-advertise-peer-urls",
                "http://127.0.0.1:1",
            ],
        );
        let flags = ["--data-dir", &text(&data)];
        let second = Etcd::start_with(&release.etcd, &format!("restored-{number}"), 1, &flags);
        let again = libkv_etcd::open(second.url(), Options::new()).expect("opened");
        assert_same(&etcd, &again, compacted);
        let hash = |etcd: &Etcd| {
            let words = [
                "--endpoints",
                &etcd.url(),
                "endpoint",
                "hashkv",
                "-w",
                "json",
            ];
            let json = run(&release.etcdctl, &words);
            json.split("\"hash\":")
                .nth(1)
                .and_then(|rest| rest.split(',').next())
                .map(String::from)
        };
        assert!(hash(&first).is_some());
        assert_eq!(hash(&first), hash(&second), "HashKV");
        // both continue with the same revision
        let next = |db: &Db| db.put(Put::new("next", "x")).expect("written").revision;
        assert_eq!(next(&store), next(&again));
    }
}

#[test]
fn snapshot_of_a_server_is_restored_by_etcdctl_and_kv() {
    let _deadline = deadline();
    let mut dice = Dice(seed());
    let dir = scratch("snapshot-served");
    fs::create_dir_all(&dir).expect("a directory");
    let served = Served::start("snapshot");
    let compacted = write_history(&served.db, &mut dice);
    for (number, release) in releases().into_iter().enumerate() {
        let file = dir.join(format!("{number}.db"));
        let path = file.to_str().expect("text");
        run(
            &release.etcdctl,
            &["--endpoints", &served.url(), "snapshot", "save", path],
        );
        // both readers verify the hash of the received parts
        run(&release.etcdutl, &["snapshot", "status", path]);
        let store = dir.join(format!("store-{number}"));
        Restore::new(&file).run(&store).expect("restored");
        let store = Db::open(&store, Options::new()).expect("opened");
        assert_same(&served.db, &store, compacted);
    }
}

#[test]
fn snapshot_that_is_cut_or_altered_is_refused_and_leaves_nothing() {
    let dir = scratch("snapshot-damaged");
    fs::create_dir_all(&dir).expect("a directory");
    let db = Db::open(":memory:", Options::new()).expect("a store");
    for number in 0..2_000 {
        db.put(Put::new(format!("k{number:05}"), "a value"))
            .expect("written");
    }
    let file = dir.join("good.db");
    save_snapshot(&db, &file).expect("saved");
    let error = save_snapshot(&db, &file).expect_err("the file exists");
    assert_eq!(error.code(), Code::Exists);
    let good = fs::read(&file).expect("read");
    let store = dir.join("store");
    let refused = |bytes: &[u8], skip: bool, word: &str| {
        let bad = dir.join("bad.db");
        fs::write(&bad, bytes).expect("written");
        let restore = Restore::new(&bad).skip_hash_check(skip);
        let error = restore.run(&store).expect_err("damaged");
        assert_eq!(error.code(), Code::Corrupt, "{error}");
        assert!(error.message().contains(word), "{error}");
        let mut left: Vec<_> = fs::read_dir(&dir)
            .expect("read")
            .flatten()
            .map(|e| e.file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["bad.db", "good.db"]);
    };
    refused(b"", false, "missing hash");
    refused(&good[..good.len() - 32], false, "missing hash");
    refused(&good[512..], false, "expected sha256");
    let mut altered = good.clone();
    altered[20_000] ^= 1;
    refused(&altered, false, "expected sha256");
    refused(&good[..8_192], true, "bbolt file");
    refused(b"hello", true, "not a bbolt file");
    // without its hash the file is readable on request
    fs::write(dir.join("bad.db"), &good[..good.len() - 32]).expect("written");
    let restore = Restore::new(dir.join("bad.db")).skip_hash_check(true);
    assert_eq!(restore.run(&store).expect("restored").events, 2_000);
    let error = restore.run(&store).expect_err("the store exists");
    assert_eq!(error.code(), Code::Exists);
    let error = Restore::new(dir.join("none.db"))
        .run(dir.join("other"))
        .expect_err("no file");
    assert_eq!(error.code(), Code::NotFound);
}
