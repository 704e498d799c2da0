//! The follower in Rust, `follower follow STORE HOW FILE`, and the writer that it follows,
//! `follower write STORE NAME UPTO`.

use std::io::Write;

use libkv::*;
use libkv_conformance::follow::{Follow, line_of, resume_file};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["write", store, name, upto] => write(store, name, upto.parse().expect("a number")),
        ["follow", store, how, file] => follow(store, how, file),
        _ => panic!("follower follow STORE HOW FILE | write STORE NAME UPTO"),
    }
}

fn open(store: &str) -> Db {
    Db::open(store, Options::new().busy_timeout_ms(60_000)).expect("the store opens")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

/// Writes revisions until there are this many. The key `NAME/last` has the number of the last one,
/// so that a killed writer continues. Each revision has three events; some are deletions.
fn write(store: &str, name: &str, upto: u64) {
    let db = open(store);
    let last = format!("{name}/last");
    let from = db
        .get(&last)
        .expect("get")
        .map_or(0, |kv| text(&kv.value).parse::<u64>().expect("a number"));
    for number in from + 1..=upto {
        let key = |n: u64| format!("{name}/{:02}", n % 40);
        let txn = Txn::new().and_then(Put::new(last.as_str(), number.to_string()));
        let txn = txn.and_then(Put::new(key(number), format!("value {number}")));
        let txn = match number % 5 {
            0 => txn.and_then(Delete::new(key(number + 20))),
            _ => txn.and_then(Put::new(key(number + 20), "again")),
        };
        db.txn(txn).expect("written");
    }
}

/// Watches the store and writes [`line_of`] each batch to a file. Continues after the last line of
/// the file, if it was killed. Ends at the key `end`.
fn follow(store: &str, how: &str, file: &str) {
    let db = open(store);
    let (mut out, from) = resume_file(file);
    let watch = Follow::watch(how).start_revision(from);
    let watcher = db.watch(watch).expect("a watcher");
    let mut deliver = |batch: WatchBatch| {
        out.write_all(line_of(&batch).as_bytes()).expect("written");
        batch.events.iter().any(|event| event.kv.key == "end")
    };
    match how {
        // one follower waits with the iterator, the others with `next`
        "iterator" => drop(
            watcher
                .map(|batch| batch.expect("a batch"))
                .find(|batch| deliver(batch.clone())),
        ),
        _ => {
            while !watcher
                .next(None)
                .expect("the watcher continues")
                .is_some_and(&mut deliver)
            {}
        }
    }
}
