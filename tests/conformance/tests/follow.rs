//! Writers and watchers in several processes, in Rust, C, Python and Node, are killed at random
//! and started again. Each watcher continues from its last revision and gets every event exactly
//! once.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use libkv::*;
use libkv_conformance::follow::{Follow, line_of};
use libkv_conformance::programs;
use libkv_test_support::deadline::deadline;
use libkv_test_support::dice::Dice;
use libkv_test_support::{scratch, seed};

/// The number of revisions of each writer; each has three events.
const REVISIONS: u64 = 40_000;
const WRITERS: [&str; 3] = ["a", "b", "c"];
/// The language of each watcher, and what it follows or how it waits.
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
fn watchers_in_killed_processes_get_every_event_once() {
    let _deadline = deadline();
    let seed = seed();
    let mut dice = Dice(seed);
    let (store, dir) = (scratch("store"), scratch("received"));
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
    let built = built_watchers();
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
        Err(why) => panic!("{why}, but it was built before"),
    };
    let mut writers = WRITERS.map(write);
    let mut watchers: Vec<Child> = built.iter().map(|who| follow(*who)).collect();
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
            watchers[at] = follow(built[at]);
            *kills.entry("watcher").or_default() += 1;
        } else if running.contains(&at) {
            kill(&mut writers[at]);
            writers[at] = write(WRITERS[at]);
            *kills.entry("writer").or_default() += 1;
        }
    }
    db.put(Put::new("end", "")).expect("put");
    for (who, mut watcher) in built.iter().zip(watchers) {
        let status = watcher.wait().expect("it ends");
        assert!(
            status.success(),
            "SEED={seed}: the watcher {who:?} ended with {status}"
        );
    }
    let mut received = 0;
    for who in built {
        received += compare(
            &db,
            who,
            &fs::read_to_string(file(who)).expect("the follower's file"),
            seed,
        );
    }
    println!(
        "{kills:?}, {received} events received, revision {}",
        db.status().expect("status").revision
    );
    let events = db.check().expect("check").events;
    assert!(events >= 100_000, "only {events} events");
    assert!(
        kills.values().all(|times: &i32| *times >= 5),
        "too few processes were killed: {kills:?}"
    );
    drop(db);
    fs::remove_dir_all(store).expect("removed");
    fs::remove_dir_all(dir).expect("removed");
}

/// The watchers whose languages are built.
fn built_watchers() -> Vec<(&'static str, &'static str)> {
    let is_built = |(language, _): &(&str, &str)| match programs::follower(language) {
        Err(why) if *language != "rust" => {
            println!("not run: the watcher in {language} ({why})");
            false
        }
        _ => true,
    };
    WATCHERS.into_iter().filter(is_built).collect()
}

fn kill(child: &mut Child) {
    assert!(
        child
            .try_wait()
            .expect("wait")
            .is_none_or(|status| status.success()),
        "the process failed before it was killed"
    );
    let _ = child.kill();
    child.wait().expect("ended");
}

/// Compares the file of a watcher with the store's own list of events.
fn compare(db: &Db, who: (&str, &str), lines: &str, seed: u64) -> usize {
    let watch = Follow::watch(who.1);
    let mut batch = WatchBatch::default();
    let mut should: Vec<String> = Vec::new();
    let mut count = 0;
    for event in db.events(0, 0, watch.range) {
        let event = event.expect("an event");
        if watch.no_delete && event.kind == EventKind::Delete {
            continue;
        }
        if event.kv.mod_revision != batch.revision {
            should.extend((!batch.events.is_empty()).then(|| line_of(&batch)));
            batch = WatchBatch::new(event.kv.mod_revision, Vec::new());
        }
        count += 1;
        batch.events.push(event);
    }
    should.push(line_of(&batch));
    for (at, (is, should)) in lines.lines().zip(&should).enumerate() {
        assert_eq!(is, should.trim_end(), "SEED={seed}: batch {at} of {who:?}");
    }
    assert_eq!(
        lines.lines().count(),
        should.len(),
        "SEED={seed}: batches of {who:?}"
    );
    count
}
