//! Snapshots: from a real etcd to a store, and from a store to a real etcd, with the whole history,
//! and with users and roles.

mod damaged;
mod users;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use libkv::*;
use libkv_etcd::{Restore, Serve, save_snapshot};
use libkv_test_support::deadline::deadline;
use libkv_test_support::dice::Dice;
use libkv_test_support::etcd::Etcd;
use libkv_test_support::served::Served;
use libkv_test_support::{fetch, scratch, seed};

use crate::users::{ROOT, add_users, as_root, assert_logins, users};

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

impl Release {
    /// Starts an etcd whose passwords are hashed fast.
    fn start(&self, name: &str, flags: &[&str]) -> Etcd {
        let flags = [&["--bcrypt-cost", "4"], flags].concat();
        Etcd::start_with(&self.etcd, name, 1, &flags)
    }

    /// Runs etcdctl as the user `root`.
    fn etcdctl(&self, url: &str, words: &[&str]) -> String {
        let user = format!("{}:{}", ROOT.0, ROOT.1);
        let flags = ["--endpoints", url, "--user", &user];
        run(&self.etcdctl, &[&flags, words].concat())
    }

    /// HashKV, as etcdctl prints it.
    fn hash(&self, url: &str) -> String {
        let json = self.etcdctl(url, &["endpoint", "hashkv", "-w", "json"]);
        let hash = json
            .split("\"hash\":")
            .nth(1)
            .and_then(|rest| rest.split(',').next());
        hash.expect("a hash").to_string()
    }

    /// Restores a snapshot with etcdutl, into the new directory `data`, and starts an etcd on it.
    fn restore(&self, snapshot: &str, data: &str, name: &str) -> Etcd {
        let peer = "http://127.0.0.1:1";
        let (cluster, from_data) = (format!("m0={peer}"), ["--data-dir", data]);
        let mut words = vec!["snapshot", "restore", snapshot, "--name", "m0"];
        words.extend(from_data);
        words.extend(["--initial-cluster", &cluster]);
        words.extend(["--initial-advertise-peer-urls", peer]);
        run(&self.etcdutl, &words);
        self.start(name, &from_data)
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
fn snapshot_round_trip_keeps_the_whole_history_and_the_users() {
    let _deadline = deadline();
    let mut dice = Dice(seed());
    for (number, release) in releases().into_iter().enumerate() {
        let dir = scratch(&format!("snapshot-{number}"));
        fs::create_dir_all(&dir).expect("a directory");
        let path = |name: &str| dir.join(name).to_str().expect("text").to_string();

        // from a real etcd to a store
        let first = release.start(&format!("snapshot-{number}"), &[]);
        let etcd = libkv_etcd::open(first.url(), Options::new()).expect("opened");
        let compacted = write_history(&etcd, &mut dice);
        let expected = add_users(&etcd);
        let etcd = as_root(&first.url());
        assert_eq!(users(&etcd), expected);
        let file = path("etcd.db");
        release.etcdctl(&first.url(), &["snapshot", "save", &file]);
        let restored = Restore::new(&file).run(path("store")).expect("restored");
        assert_eq!(
            (restored.compacted_revision, restored.leases),
            (Some(compacted), 3)
        );
        assert_eq!(
            (restored.users, restored.roles, restored.auth_enabled),
            (4, 3, true)
        );
        let store = Db::open(path("store"), Options::new()).expect("opened");
        assert_same(&etcd, &store, compacted);
        assert_eq!(users(&store), expected);
        let report = store.check().expect("checked");
        assert_eq!(report.problems, vec![]);
        let served = libkv_etcd::serve(&store, Serve::new("127.0.0.1:0")).expect("served");
        assert_logins(served.address());
        drop(served);

        // and from the store to another etcd
        let file = path("store.db");
        let saved = save_snapshot(&store, &file).expect("saved");
        assert_eq!((saved.revision, saved.leases), (restored.revision, 3));
        assert_eq!((saved.users, saved.roles), (4, 3));
        let status = run(
            &release.etcdutl,
            &["snapshot", "status", &file, "-w", "json"],
        );
        assert!(
            status.contains(&format!("\"revision\":{}", saved.revision)),
            "{status}"
        );
        let second = release.restore(&file, &path("data"), &format!("restored-{number}"));
        let again = as_root(&second.url());
        assert_same(&etcd, &again, compacted);
        assert_eq!(users(&again), expected);
        for etcd in [&first, &second] {
            assert_logins(&etcd.url());
        }
        let hash = |etcd: &Etcd| release.hash(&etcd.url());
        assert_eq!(hash(&first), hash(&second), "HashKV");
        // both continue with the same revisions
        let next = |db: &Db| db.put(Put::new("next", "x")).expect("written").revision;
        assert_eq!(next(&store), next(&again));
        for db in [&store, &again] {
            db.role_add("next").expect("a role");
        }
        assert_eq!(users(&store), users(&again));
    }
}

#[test]
fn snapshot_of_a_server_is_restored_by_etcd_and_kv() {
    let _deadline = deadline();
    let mut dice = Dice(seed());
    let dir = scratch("snapshot-served");
    fs::create_dir_all(&dir).expect("a directory");
    let how = Serve::new("127.0.0.1:0").bcrypt_cost(4);
    let served = Served::with("snapshot", Options::new().limits(LimitsPreset::Etcd), how);
    let compacted = write_history(&served.db, &mut dice);
    // through the server, which hashes the passwords with its cost
    let expected = add_users(&libkv_etcd::open(served.url(), Options::new()).expect("opened"));
    assert_eq!(users(&served.db), expected);
    for (number, release) in releases().into_iter().enumerate() {
        let path = |name: &str| {
            let path = dir.join(format!("{name}-{number}"));
            path.to_str().expect("text").to_string()
        };
        let file = path("snapshot");
        release.etcdctl(&served.url(), &["snapshot", "save", &file]);
        // both readers verify the hash of the received parts
        run(&release.etcdutl, &["snapshot", "status", &file]);
        Restore::new(&file).run(path("store")).expect("restored");
        let store = Db::open(path("store"), Options::new()).expect("opened");
        assert_same(&served.db, &store, compacted);
        assert_eq!(users(&store), expected);

        let etcd = release.restore(&file, &path("data"), &format!("served-{number}"));
        assert_logins(&etcd.url());
        let cluster = as_root(&etcd.url());
        assert_same(&served.db, &cluster, compacted);
        assert_eq!(users(&cluster), expected);
        assert_eq!(
            release.hash(&served.url()),
            release.hash(&etcd.url()),
            "HashKV"
        );
    }
}
