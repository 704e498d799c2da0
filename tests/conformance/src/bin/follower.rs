//! The follower in Rust: `follower follow STORE HOW FILE`; and what it follows: `follower write
//! STORE NAME UPTO`.

use std::io::Write;

use libkv::*;
use libkv_conformance::follow::{End, resume_file, say};

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

/// Writes on where `NAME/last` says that it was killed, until this number of revisions is written.
/// Each has three events, now and then one of them a deletion.
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
        db.txn(txn).expect("it is written");
    }
}

/// Follows the store and says of each batch what [`say`] makes of it, in a file: on from the last
/// line of that file, if it was killed. Ends with the key `end`.
fn follow(store: &str, how: &str, file: &str) {
    let db = open(store);
    let (mut out, from) = resume_file(file);
    let watch = End::watch(how).start_revision(from);
    let watcher = db.watch(watch).expect("a watcher");
    let mut deliver = |batch: WatchBatch| {
        out.write_all(say(&batch).as_bytes()).expect("written");
        batch.events.iter().any(|event| event.kv.key == "end")
    };
    match how {
        // each way of waiting
        "iterator" => drop(
            watcher
                .map(|batch| batch.expect("a batch"))
                .find(|batch| deliver(batch.clone())),
        ),
        _ => {
            while !watcher
                .next(None)
                .expect("it goes on")
                .is_some_and(&mut deliver)
            {}
        }
    }
}
