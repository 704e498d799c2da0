//! Processes that follow each other's writes: writers and watchers, in Rust, C, Python and Node,
//! are killed on the way, and each watcher that goes on from its last revision has seen every event
//! once.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use libkv::*;
use libkv_conformance::follow::{End, say};
use libkv_conformance::programs;
use libkv_test_support::deadline::deadline;
use libkv_test_support::dice::Dice;
use libkv_test_support::{scratch, seed};

/// Revisions of each writer; each has three events.
const REVISIONS: u64 = 40_000;
const WRITERS: [&str; 3] = ["a", "b", "c"];
/// Each as it waits, or in which language, and what it follows.
const WATCHERS: [(&str, &str); 6] = [
    ("rust", "all"),
    ("rust", "puts"),
    ("rust", "iterator"),
    ("c", "all"),
    ("python", "all"),
    ("node", "puts"),
];

fn start(args: &[&str], store: &Path) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_follower"));
    command
        .arg(args[0])
        .arg(store)
        .args(&args[1..])
        .stdin(Stdio::null())
        .spawn()
        .expect("the worker starts")
}

#[test]
fn watch_in_killed_processes_sees_every_event_once() {
    let _deadline = deadline();
    let seed = seed();
    let mut dice = Dice(seed);
    let (store, dir) = (scratch("store"), scratch("seen"));
    fs::create_dir_all(&dir).expect("a folder");
    let db = Db::open(
        &store,
        Options::new()
            .durability(Durability::None)
            .busy_timeout_ms(60_000),
    )
    .expect("a store");
    let upto = REVISIONS.to_string();
    let write = |name: &str| start(&["write", name, &upto], &store);
    let file =
        |(language, how): (&str, &str)| dir.join(format!("{language}-{how}")).display().to_string();
    let watchers_there = there();
    let follow = |who: (&str, &str)| match programs::follower(who.0) {
        _ if who.0 == "rust" => start(&["follow", who.1, &file(who)], &store),
        Ok(words) => {
            let mut command = Command::new(&words[0]);
            command
                .args(&words[1..])
                .arg(&store)
                .arg(who.1)
                .arg(file(who));
            command
                .stdin(Stdio::null())
                .spawn()
                .expect("the follower starts")
        }
        Err(why) => panic!("{why}, which was there"),
    };
    let mut writers = WRITERS.map(write);
    let mut watchers: Vec<Child> = watchers_there.iter().map(|who| follow(*who)).collect();
    let mut kills = HashMap::from([("writer", 0), ("watcher", 0)]);
    loop {
        std::thread::sleep(Duration::from_millis(10 + dice.below(60)));
        let mut running: Vec<usize> = Vec::new();
        for (at, writer) in writers.iter_mut().enumerate() {
            match writer.try_wait().expect("wait") {
                None => running.push(at),
                Some(status) => assert!(
                    status.success(),
                    "SEED={seed}: writer {at} ended with {status}"
                ),
            }
        }
        if running.is_empty() {
            break;
        }
        let at = dice.below(watchers.len() as u64) as usize;
        if dice.one_in(2) {
            kill(&mut watchers[at]);
            watchers[at] = follow(watchers_there[at]);
            *kills.entry("watcher").or_default() += 1;
        } else if running.contains(&at) {
            kill(&mut writers[at]);
            writers[at] = write(WRITERS[at]);
            *kills.entry("writer").or_default() += 1;
        }
    }
    db.put(Put::new("end", "")).expect("put");
    for (who, mut watcher) in watchers_there.iter().zip(watchers) {
        let status = watcher.wait().expect("it ends");
        assert!(
            status.success(),
            "SEED={seed}: the watcher {who:?} ended with {status}"
        );
    }
    let mut seen = 0;
    for who in watchers_there {
        seen += compare(
            &db,
            who,
            &fs::read_to_string(file(who)).expect("what it saw"),
            seed,
        );
    }
    println!(
        "{kills:?}, {seen} events seen, revision {}",
        db.status().expect("status").revision
    );
    let events = db.check().expect("check").events;
    assert!(events >= 100_000, "only {events} events");
    assert!(
        kills.values().all(|times: &i32| *times >= 5),
        "hardly any process was killed: {kills:?}"
    );
    drop(db);
    fs::remove_dir_all(store).expect("removed");
    fs::remove_dir_all(dir).expect("removed");
}

/// The watchers whose languages are built.
fn there() -> Vec<(&'static str, &'static str)> {
    let there = |(language, _): &(&str, &str)| match programs::follower(language) {
        Err(why) if *language != "rust" => {
            println!("not run: a watcher in {language} beside the others ({why})");
            false
        }
        _ => true,
    };
    WATCHERS.into_iter().filter(there).collect()
}

fn kill(child: &mut Child) {
    assert!(
        child
            .try_wait()
            .expect("wait")
            .is_none_or(|status| status.success()),
        "it died by itself"
    );
    let _ = child.kill();
    child.wait().expect("gone");
}

/// Holds what a watcher has written down against the store's own list of changes.
fn compare(db: &Db, who: (&str, &str), said: &str, seed: u64) -> usize {
    let watch = End::watch(who.1);
    let mut batch = WatchBatch::default();
    let mut should: Vec<String> = Vec::new();
    let mut count = 0;
    for event in db.events(0, 0, watch.range) {
        let event = event.expect("an event");
        if watch.no_delete && event.kind == EventKind::Delete {
            continue;
        }
        if event.kv.mod_revision != batch.revision {
            should.extend((!batch.events.is_empty()).then(|| say(&batch)));
            batch = WatchBatch::new(event.kv.mod_revision, Vec::new());
        }
        count += 1;
        batch.events.push(event);
    }
    should.push(say(&batch));
    for (at, (is, should)) in said.lines().zip(&should).enumerate() {
        assert_eq!(is, should.trim_end(), "SEED={seed}: batch {at} of {who:?}");
    }
    assert_eq!(
        said.lines().count(),
        should.len(),
        "SEED={seed}: batches of {who:?}"
    );
    count
}
