//! Export and import: every field is kept, damage is found, an interrupted transfer can continue.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;

use libkv::{Db, KeyRange, KeyValue, Options, Put, Range};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Place, Running, feed};

/// A store with text, bytes, an empty value, a lease and some history.
fn store() -> Place {
    let place = Place::new();
    for line in [
        "put a 1",
        "put a 2",
        "put gone x",
        "del gone",
        "lease grant 600 --id 1f",
        "put leased x --lease 1f",
    ] {
        place.kv(line).ok();
    }
    place
        .args([
            OsStr::new("put"),
            OsStr::from_bytes(b"\xff\x01"),
            OsStr::from_bytes(b"\x80\n"),
        ])
        .ok();
    place.args(["put", "empty", ""]).ok();
    place.args(["put", "text", "\"quotes\"\n\tü\u{2028}"]).ok();
    place
}

/// The parts of each pair that an export and an import keep: key, value, lease.
fn pairs(place: &Place, store: &str) -> Vec<(Vec<u8>, Vec<u8>, i64)> {
    let db = Db::open(place.path(store), Options::new().create(false)).expect("a store");
    let kept = |kv: KeyValue| (kv.key.to_vec(), kv.value.to_vec(), kv.lease);
    db.range(Range::new(KeyRange::all()))
        .expect("it can be read")
        .kvs
        .into_iter()
        .map(kept)
        .collect()
}

#[test]
fn export_and_import_keep_every_pair() {
    let place = store();
    assert_eq!(
        place.kv("export file").ok(),
        "5 pairs of revision 9 in file\n"
    );
    let lines: Vec<Value> = std::fs::read_to_string(place.path("file"))
        .expect("text")
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let status = &place.kv("status --json").json()[0];
    assert_eq!(
        (&lines[0]["kv_export"], &lines[0]["revision"]),
        (&json!(1), &json!(9))
    );
    assert_eq!(
        (&lines[0]["store_id"], &lines[0]["compacted_revision"]),
        (&status["store_id"], &json!(-1))
    );
    assert_eq!(
        (
            &lines[1]["key"],
            &lines[1]["mod_revision"],
            &lines[1]["version"]
        ),
        (&json!("a"), &json!(3), &json!(2))
    );
    assert_eq!(
        (&lines[3]["lease_id"], &lines[3]["granted_ttl_seconds"]),
        (&json!("000000000000001f"), &json!(600))
    );
    assert_eq!(
        (&lines[7]["end"], &lines[7]["count"]),
        (&json!(true), &json!(5))
    );

    let printed = place.kv("-s other import file").ok();
    assert_eq!(
        printed,
        "5 pairs written, 1 lease granted with their full time to live\n"
    );
    assert_eq!(pairs(&place, "other"), pairs(&place, "store"));
    assert_eq!(
        place.kv("-s other import file").ok(),
        "0 pairs written, 5 unchanged\n"
    );
    assert!(
        place
            .kv("-s other lease timetolive 1f --keys")
            .ok()
            .contains("([leased])"),
        "the lease still exists after the import"
    );
    // through a pipe, filtered, without leases
    let export = place.kv("export").out;
    assert_eq!(export, place.kv("export -").out);
    let done = feed(
        place.command([
            "-s",
            "third",
            "import",
            "-",
            "--prefix",
            "le",
            "--no-leases",
            "--json",
        ]),
        &export,
    )
    .json();
    assert_eq!(
        (&done[0]["written"], &done[0]["leases_granted"]),
        (&json!(1), &json!(0))
    );
    assert_eq!(
        pairs(&place, "third"),
        [(b"leased".to_vec(), b"x".to_vec(), 0)]
    );
}

#[test]
fn export_is_of_one_revision_and_range() {
    let place = store();
    let lines = |line: &str| place.kv(line).ok().lines().count();
    assert_eq!(lines("export - a"), 3);
    assert_eq!(lines("export - e --prefix"), 3);
    assert_eq!(lines("export --at 2"), 3);
    assert!(place.kv("export --at 2").ok().contains("\"value\":\"1\""));
    assert!(place.kv("export --at 99").refused(3).contains("future"));
}

#[test]
fn export_does_not_overwrite_a_file_by_default() {
    let place = store();
    place.kv("export file").ok();
    assert!(place.kv("export file").refused(3).contains("--force"));
    place.kv("put more 1").ok();
    assert!(place.kv("export file --force").ok().starts_with("6 pairs"));
    assert!(
        place
            .kv("export /no/such/folder/file")
            .refused(4)
            .contains("/no/such/folder")
    );
    assert_eq!(
        place.kv("export file2 --json").json(),
        [json!({"file": "file2", "pairs": 6, "revision": 10})]
    );
}

#[test]
fn import_names_the_damaged_line_and_writes_nothing() {
    let place = store();
    let whole = place.kv("export").out;
    let altered = String::from_utf8(whole.clone())
        .expect("text")
        .replace("\"value\":\"2\"", "\"value\":\"3\"");
    let cut = &whole[..whole.len() - 30];
    let lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
    let lost = [&lines[..3], &lines[4..]].concat().concat();
    let foreign = b"{\"key\":\"a\",\"value\":\"1\"}\n";
    for (name, bytes, line) in [
        ("altered", altered.as_bytes(), 2),
        ("cut", cut, 8),
        ("lost", &lost, 4),
        ("foreign", foreign, 1),
        ("empty", b"", 1),
    ] {
        std::fs::write(place.path(name), bytes).expect("a file");
        let ran = place.kv(&format!("-s target-{name} import {name}"));
        let printed = ran.refused(8);
        assert!(
            printed.contains(&format!("{name}: line {line}: "))
                && printed.contains("nothing was written"),
            "{printed}"
        );
        assert!(!place.path(&format!("target-{name}")).exists());
    }
    // a pipe can be read only once: the pairs before the damage are written
    let ran = feed(place.command(["-s", "target", "import", "-"]), &lost);
    assert!(
        ran.refused(8).contains("line 4: ") && ran.err.contains("2 pairs written"),
        "{ran:?}"
    );
    assert_eq!(place.kv("-s target range --keys-only").ok(), "a\nempty\n");
    // a file that another program wrote
    assert_eq!(
        place.kv("-s hand import foreign --no-verify").ok(),
        "1 pair written\n"
    );
}

#[test]
fn import_keeps_refuses_or_overwrites_other_values() {
    let place = store();
    place.kv("export file").ok();
    place.kv("put a other").ok();
    let revision = |place: &Place| place.kv("status --json").json()[0]["revision"].clone();
    let before = revision(&place);
    let printed = place.kv("import file --dry-run --overwrite").ok();
    assert_eq!(
        printed,
        "0 pairs would be written, 1 would be overwritten, 4 unchanged\n"
    );
    assert!(
        place
            .kv("import file")
            .refused(3)
            .contains("a exists with another value")
    );
    assert_eq!(
        place.kv("import file --if-absent").ok(),
        "0 pairs written, 4 unchanged, 1 skipped, with other values\n"
    );
    assert_eq!(revision(&place), before);
    assert_eq!(
        place.kv("import file --overwrite").ok(),
        "0 pairs written, 1 overwritten, 4 unchanged\n"
    );
    assert_eq!(place.kv("get a --print-value-only").ok(), "2\n");
    assert!(
        place
            .kv("import file --if-absent --overwrite")
            .refused(2)
            .contains("--overwrite")
    );
}

#[test]
fn import_dry_run_writes_nothing() {
    let place = store();
    place.kv("export file").ok();
    Db::open(place.path("empty"), Options::new()).expect("a store");
    let done = place.kv("-s empty import file --dry-run --json").json();
    assert_eq!(
        (
            &done[0]["written"],
            &done[0]["leases_granted"],
            &done[0]["dry_run"]
        ),
        (&json!(5), &json!(1), &json!(true))
    );
    assert_eq!(pairs(&place, "empty"), []);
    assert_eq!(place.kv("-s empty lease list").ok(), "found 0 leases\n");
    place.kv("-s none import file --dry-run").refused(4);
}

#[test]
fn import_drops_a_lease_that_does_not_exist() {
    let place = store();
    place.kv("lease revoke 1f").ok();
    place.kv("export file --at 6").ok();
    let printed = place.kv("-s other import file").ok();
    assert_eq!(
        printed,
        "2 pairs written, 1 without their lease, which no longer exists\n"
    );
    assert_eq!(
        pairs(&place, "other")[1],
        (b"leased".to_vec(), b"x".to_vec(), 0)
    );
}

#[test]
fn export_that_was_interrupted_continues_to_the_same_bytes() {
    let place = store();
    place.kv("export file").ok();
    let whole = std::fs::read(place.path("file")).expect("it is there");
    assert!(
        place.kv("export file --resume").ok().is_empty(),
        "the export is already complete"
    );
    place.kv("put later x").ok();
    let header = whole
        .iter()
        .position(|byte| *byte == b'\n')
        .expect("a line")
        + 1;
    for length in (header..whole.len()).step_by(7).chain([whole.len() - 1]) {
        std::fs::write(place.path("file"), &whole[..length]).expect("a file");
        place.kv("export file --resume").ok();
        assert_eq!(
            std::fs::read(place.path("file")).expect("it is there"),
            whole,
            "cut to {length} bytes"
        );
    }
    std::fs::write(place.path("file"), &whole[..header - 1]).expect("a file");
    assert!(
        place
            .kv("export file --resume")
            .refused(8)
            .contains("cannot be continued")
    );
    std::fs::write(place.path("file"), &whole[..header]).expect("a file");
    assert!(
        place
            .kv("export file a --resume")
            .refused(2)
            .contains("another range")
    );
    place.kv("-s other put a 1").ok();
    assert!(
        place
            .kv("-s other export file --resume")
            .refused(2)
            .contains("is an export of the store")
    );
    place.kv("compact 10").ok();
    assert!(
        place
            .kv("export file --resume")
            .refused(3)
            .contains("compacted")
    );
}

#[test]
fn import_that_was_killed_can_be_repeated() {
    let place = Place::new();
    let db = Db::open(place.path("store"), Options::new()).expect("a store");
    let many = (0..2_000).map(|n| Put::new(format!("key{n:04}"), format!("value{n}")));
    db.txn(libkv::Txn::new().and_then_all(many)).expect("room");
    place.kv("export file").ok();
    let file = std::fs::read(place.path("file")).expect("it is there");
    let mut command = place.command(["-s", "other", "import", "-"]);
    command.stdin(Stdio::piped());
    let mut running = Running::new(command);
    // the import gets half of the file and waits for the rest
    let mut stdin = running.child.stdin.take().expect("it is piped");
    stdin.write_all(&file[..file.len() / 2]).expect("it reads");
    let count = || {
        place
            .kv("-s other range --count-only")
            .text()
            .trim()
            .parse()
            .unwrap_or(0)
    };
    while count() < 512 {}
    assert_eq!(running.end_by(Signal::KILL).status, 137);
    let there = count();
    assert!((512..1_100).contains(&there), "{there}");
    let printed = place.kv("-s other import file").ok();
    assert_eq!(
        printed,
        format!("{} pairs written, {there} unchanged\n", 2_000 - there)
    );
    assert_eq!(pairs(&place, "other"), pairs(&place, "store"));
    // no pair was written twice
    let versions = place.kv("-s other range -l").ok();
    assert!(
        versions
            .lines()
            .all(|line| line.split('\t').nth(2) == Some("1"))
    );
}

#[test]
fn export_that_fails_to_start_keeps_the_file() {
    let place = store();
    place.kv("export file").ok();
    let whole = std::fs::read(place.path("file")).expect("it is there");
    place.kv("export file --force --at 99").refused(3);
    place.args(["export", "file", "--force", ""]).refused(2);
    assert_eq!(
        std::fs::read(place.path("file")).expect("it is there"),
        whole
    );
    place.kv("export none --at 99").refused(3);
    assert!(!place.path("none").exists());
}

/// Only its owner may read the files of a store. The same holds for an export.
#[test]
fn export_file_is_readable_by_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let place = store();
    let file = place.path("file");
    let mode = || {
        std::fs::metadata(&file)
            .expect("it is there")
            .permissions()
            .mode()
            & 0o777
    };
    let open_to_all =
        || std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).expect("changed");
    place.kv("export file").ok();
    assert_eq!(mode(), 0o600);
    open_to_all();
    place.kv("export file --force").ok();
    assert_eq!(mode(), 0o600, "a file that was replaced");
    open_to_all();
    let whole = std::fs::read(&file).expect("it is there");
    std::fs::write(&file, &whole[..whole.len() - 1]).expect("cut");
    place.kv("export file --resume").ok();
    assert_eq!(mode(), 0o600, "a file that was finished");
}

#[test]
fn export_file_with_trailing_data_is_not_complete() {
    let place = store();
    place.kv("export file").ok();
    assert_eq!(
        place.kv("export file --resume --json").json(),
        [json!({"file": "file", "pairs": 5, "revision": 9})],
        "the export is already complete"
    );
    let whole = std::fs::read(place.path("file")).expect("it is there");
    let twice = [&whole[..], &whole[..]].concat();
    std::fs::write(place.path("file"), &twice).expect("a file");
    let ran = place.kv("export file --resume");
    assert!(
        ran.refused(8)
            .contains("file: line 9: there is data after the last line"),
        "{ran:?}"
    );
    assert_eq!(
        std::fs::read(place.path("file")).expect("it is there"),
        twice,
        "the file is unchanged"
    );
}
