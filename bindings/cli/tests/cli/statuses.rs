//! Exit statuses, closed pipes, output that cannot be written.

use std::fs::OpenOptions;
use std::io::BufRead;

use libkv::{Clock, Code, Db, Options, Put};

use crate::support::{Place, Running};

#[test]
fn exit_status_of_each_kind_of_failure() {
    let place = Place::new();
    place.kv("put a 1").ok();
    let kinds = [
        (1, "get missing"),
        (1, "lease timetolive 77"),
        (1, "elect missing --leader"),
        (2, "get"),
        (2, "nonsense"),
        (2, "get a --limit x"),
        (2, "get a --prefix --from-key"),
        (2, "get a --at -1"),
        (2, "watch b a"),
        (2, "lease grant 99999999999"),
        (3, "get a --at 99"),
        (3, "compact 99"),
        (3, "lease revoke 77"),
        (3, "put a --lease 77"),
        (4, "-s missing get a"),
        (4, "-s missing del a"),
        (4, "-s missing watch a"),
        (4, "-s etcd://127.0.0.1:1 --dial-timeout 100ms get a"),
        (4, "import missing.jsonl"),
        (2, "serve etcd://x"),
    ];
    for (status, line) in kinds {
        let ran = place.kv(line);
        let printed = ran.refused(status);
        assert_eq!(status == 1, printed.is_empty(), "{line}: {printed}");
    }
    std::fs::write(place.path("file"), "no store").expect("a file");
    assert!(place.kv("-s file get a").refused(4).contains("not_a_store"));
    assert!(
        !place.path("missing").exists(),
        "reading does not create a store"
    );
}

#[test]
fn busy_names_the_process_that_holds_the_store() {
    let place = Place::new();
    let clock = Clock::new(1_000_000);
    let db = Db::open(place.path("store"), Options::new().clock(clock)).expect("a store");
    let printed = place.kv("get a --busy-timeout 0");
    assert!(printed.refused(6).contains("busy"), "{printed:?}");
    drop(db);
    assert_eq!(place.kv("get a").refused(1), "");
}

#[test]
fn closed_output_ends_a_command_without_a_message() {
    let place = Place::new();
    let db = Db::open(place.path("store"), Options::new()).expect("a store");
    for n in 0..40 {
        db.put(Put::new(format!("key{n:02}"), vec![b'x'; 16 << 10]))
            .expect("room");
    }
    for line in [
        "range",
        "range --json",
        "export",
        "events",
        "get --prefix key",
        "history key00 --json",
    ] {
        let mut running = place.start(line);
        let mut first = String::new();
        running.out.read_line(&mut first).expect("a line");
        assert!(!first.is_empty(), "{line}");
        let Running { child, out, err } = &mut running;
        // closes the pipe, as `head` does
        drop(std::mem::replace(
            out,
            std::io::BufReader::new(spare(child)),
        ));
        let mut printed = String::new();
        std::io::Read::read_to_string(err, &mut printed).expect("text");
        let status = crate::support::code(child.wait().expect("it ends"));
        assert!(
            status == 141 || (status == 0 && line.starts_with("history")),
            "{line}: {status}"
        );
        assert_eq!(printed, "", "{line}");
    }
}

/// A replacement for the pipe: the output of a program that prints nothing.
fn spare(_: &std::process::Child) -> std::process::ChildStdout {
    let mut child = std::process::Command::new("true")
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("true");
    let out = child.stdout.take().expect("it is piped");
    child.wait().expect("it ends");
    out
}

#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let place = Place::new();
    place.kv("put a 1").ok();
    for line in ["get a", "range --json", "export", "status"] {
        let full = OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .expect("a device that is always full");
        let ran = place
            .command(line.split(' '))
            .stdout(full)
            .output()
            .expect("kv runs");
        assert_eq!(ran.status.code(), Some(7), "{line}");
        assert!(
            String::from_utf8_lossy(&ran.stderr).contains("the output"),
            "{line}"
        );
    }
}

#[test]
fn error_codes_are_in_the_message() {
    let place = Place::new();
    place.kv("put a 1").ok();
    assert!(
        place
            .kv("get a --at 9")
            .err
            .contains(Code::FutureRevision.name())
    );
}

#[test]
fn damaged_store_has_its_problems_listed() {
    use lmdb::{Cursor, Transaction};

    let place = Place::new();
    for line in ["put a 1", "put b 2", "put c 3"] {
        place.kv(line).ok();
    }
    {
        // a program that uses LMDB directly deletes an event of the log
        let mut builder = lmdb::Environment::new();
        let env = builder
            .set_max_dbs(16)
            .open(&place.path("store"))
            .expect("LMDB's files");
        let log = env.open_db(Some("log")).expect("the tree log");
        let keys_of_leases = env.open_db(Some("lkey")).expect("the tree lkey");
        let mut txn = env.begin_rw_txn().expect("no other writer");
        let first = txn
            .open_ro_cursor(log)
            .expect("the entry exists")
            .iter()
            .nth(1)
            .expect("an event")
            .expect("the entry exists");
        let key = first.0.to_vec();
        txn.del(log, &key, None).expect("the entry exists");
        // and lists a key of no lease
        let flags = lmdb::WriteFlags::empty();
        txn.put(keys_of_leases, b"x", b"", flags).expect("room");
        txn.commit().expect("room");
    }
    let ran = place.kv("check");
    assert_eq!((ran.status, ran.err.as_str()), (1, ""), "{ran:?}");
    let printed = ran.text();
    let last = printed.lines().last().expect("a line");
    assert!(
        printed
            .lines()
            .next()
            .is_some_and(|line| line.starts_with('I'))
            && last.contains("problem"),
        "{printed}"
    );
    let problems = &serde_json::from_slice::<serde_json::Value>(&place.kv("check --json").out)
        .expect("JSON")["problems"];
    assert!(
        problems[0]["invariant"]
            .as_str()
            .is_some_and(|name| name.starts_with('I')),
        "{problems}"
    );
    let without_revision = |problem: &serde_json::Value| {
        problem["key"] == "x" && problem.get("revision") == Some(&serde_json::Value::Null)
    };
    let problems = problems.as_array().expect("a list");
    assert!(problems.iter().any(without_revision), "{problems:?}");
    assert!(printed.contains("I8\tx\t-\t"), "{printed}");
}
