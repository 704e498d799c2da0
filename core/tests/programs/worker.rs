//! A program for tests with several processes: `worker MODE STORE …`.

use std::fs;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use libkv::*;

// a program of this package cannot use its dev-dependencies
#[allow(dead_code, reason = "this program uses a part")]
#[path = "../../../tests/support/src/dice.rs"]
mod dice;
use dice::Dice;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let word = |at: usize| args.get(at).map_or("", String::as_str);
    let (mode, store) = (word(1), word(2));
    match mode {
        "count" => count(
            store,
            word(3),
            word(4).parse().expect("threads"),
            word(5).parse().expect("times"),
        ),
        "write" => write(store, word(3)),
        "hold" => hold(store),
        "memory" => memory(store),
        "create" => create(store),
        "format" => format(store),
        "try" => attempt(store, Options::new().busy_timeout_ms(200)),
        "try-reading" => attempt(store, Options::new().busy_timeout_ms(200).read_only(true)),
        "stay" => stay(store, false),
        "fill" => fill(store),
        "stay-lazy" => {
            let lazy = Put::new("lazy", "1").durability(Durability::Lazy);
            let db = open(store);
            db.put(lazy).expect("put");
            stay(store, false);
            drop(db);
        }
        "lose-lock" => stay(store, true),
        "watchers" => watchers(store),
        "keep" => keep(store),
        "keep-alive" => keep_alive(store, word(3).parse().expect("a seed")),
        "expire" => expire(store),
        "own" => own(store),
        "exec" => exec_as_owner(store),
        "exec-locked" => exec_locked(store),
        "exec-reading" => exec_reading(store, word(3).parse().expect("how often")),
        "lock" => lock(store, word(3)),
        "hold-lock" => hold_lock(store),
        "idle" => idle(store),
        other => panic!("unknown mode {other}"),
    }
}

fn open(store: &str) -> Db {
    Db::open(store, Options::new().busy_timeout_ms(60_000)).expect("the store opens")
}

fn print(line: String) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .expect("the test reads the output");
}

/// Threads increment one key. The last line is the highest number of retries.
fn count(store: &str, key: &str, threads: u64, times: u64) {
    let (db, worst) = (open(store), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                for _ in 0..times {
                    let mut tries = 0;
                    db.transact(None, |t| {
                        tries += 1;
                        let number = t
                            .get(key)?
                            .map_or(0, |kv| text(&kv.value).parse::<u64>().expect("a number"));
                        t.put(Put::new(key, (number + 1).to_string()))
                    })
                    .expect("no limit of retries");
                    worst.fetch_max(tries - 1, Ordering::Relaxed);
                }
            });
        }
    });
    print(worst.into_inner().to_string());
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

/// Writes until it is killed. Prints revision, key and value of each acknowledged write.
fn write(store: &str, name: &str) {
    let db = open(store);
    for number in 0u64.. {
        let key = format!("{name}/{}", number % 20);
        // sometimes a value that is stored only in the log, and a txn
        let value = if number % 7 == 0 {
            format!("{number}-{}", "y".repeat(3_000))
        } else {
            number.to_string()
        };
        let put = Put::new(key.as_str(), value.as_str());
        let revision = match number % 5 {
            0 => db
                .txn(
                    Txn::new()
                        .and_then(put)
                        .and_then(Put::new(format!("{name}/last"), number.to_string())),
                )
                .map(|r| r.revision),
            _ => db.put(put).map(|r| r.revision),
        };
        match revision {
            Ok(revision) => print(format!("{revision} {key} {number}")),
            Err(error) => panic!("{name}: {error}"),
        }
    }
}

/// Holds the write lock most of the time.
fn hold(store: &str) {
    let db = open(store);
    print("ready".into());
    loop {
        let puts = (0..2_000).map(|n| Put::new(format!("hold/{n}"), "x".repeat(500)));
        db.txn(Txn::new().and_then_all(puts))
            .expect("a txn of puts");
    }
}

/// Creates a store, or opens it if another process has created it.
fn create(store: &str) {
    let db = open(store);
    let revision = db
        .put(Put::new(format!("by/{}", std::process::id()), "1"))
        .expect("a put")
        .revision;
    print(format!("{revision}"));
}

/// Private memory in kB, without mapped files. (Pages of the store that the kernel has not written
/// yet count as dirty in a map, but they belong to the page cache.)
fn private_kb() -> u64 {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").expect("smaps_rollup");
    let line = rollup
        .lines()
        .find(|line| line.starts_with("Anonymous:"))
        .expect("Anonymous");
    line.split_whitespace()
        .nth(1)
        .and_then(|kb| kb.parse().ok())
        .expect("a number of kB")
}

/// Prints private kB after 300,000 keys in groups of 900, ranges and a compaction; then after one
/// transaction of 200 MB.
fn memory(store: &str) {
    let db = Db::open(store, Options::new().durability(Durability::None)).expect("the store opens");
    for group in 0..334u64 {
        let puts = (0..900).map(|n| {
            Put::new(
                format!("{:06}", (group * 900 + n) * 7_919 % 300_600),
                "v".repeat(100),
            )
        });
        db.txn(Txn::new().and_then_all(puts))
            .expect("a txn of puts");
    }
    for start in 0..50 {
        let range = KeyRange::from_key(format!("{:06}", start * 6_000));
        assert_eq!(
            db.range(Range::new(range).limit(1_000))
                .expect("a range")
                .kvs
                .len()
                .min(600),
            600
        );
    }
    let current = db.status().expect("status").revision;
    db.compact(Compact::new(current).physical(true))
        .expect("compaction");
    print(private_kb().to_string());
    let puts = (0..2_000).map(|n| Put::new(format!("big/{n}"), "b".repeat(100_000)));
    let txn = Txn::new().and_then_all(puts);
    let (done, wait) = std::sync::mpsc::channel();
    let options = Options::new().max_request_bytes(1 << 30);
    let big = Db::open(store, options).expect("another handle");
    big.submit(txn, move |response| {
        done.send(response.is_ok()).expect("the test receives")
    });
    assert!(
        wait.recv().expect("a response"),
        "the large transaction succeeds"
    );
    print(private_kb().to_string());
}

/// Prints the private memory of an idle watcher in bytes, and the additional memory of one that is
/// 2,000 events behind. Asserts that those return `compacted`.
fn watchers(store: &str) {
    const MANY: u64 = 10_000;
    let db = Db::open(store, Options::new().durability(Durability::None)).expect("the store opens");
    let follow = |n: u64| {
        let range = match n % 4 {
            0 => KeyRange::key("hot"),
            1 => KeyRange::key(format!("cold/{n}")),
            2 => KeyRange::prefix(format!("cold/{n}/")),
            _ => KeyRange::prefix("ho"),
        };
        db.watch(Watch::new(range)).expect("a watcher")
    };
    // the first watchers start the thread and the pool, so they are not measured
    let first: Vec<Watcher> = (0..4).map(follow).collect();
    for number in 0..100 {
        db.put(Put::new("hot", number.to_string())).expect("put");
    }
    let before = private_kb();
    let many: Vec<Watcher> = (0..MANY).map(follow).collect();
    let idle = private_kb();
    print((idle.saturating_sub(before) * 1_024 / MANY).to_string());
    for number in 0..2_000 {
        db.put(Put::new("hot", number.to_string())).expect("put");
    }
    // the first watchers are read: then the process has examined every event
    let last = db.status().expect("status").revision;
    while first[0]
        .next(None)
        .expect("the watcher continues")
        .is_some_and(|batch| batch.revision < last)
    {}
    print((private_kb().saturating_sub(idle) * 1_024 / MANY).to_string());
    db.compact(Compact::new(last).physical(true))
        .expect("compaction");
    for (n, watcher) in many.iter().enumerate() {
        match watcher.try_next() {
            Ok(None) => assert!(
                matches!(n % 4, 1 | 2),
                "watcher {n} returned nothing instead of compacted"
            ),
            Ok(Some(batch)) => panic!("watcher {n} delivers {batch:?}"),
            Err(error) => assert_eq!(
                (error.code(), error.revision(), n % 4 % 3),
                (Code::Compacted, Some(last), 0)
            ),
        }
    }
}

/// Keeps a lease of a second alive by its handle, with the key `kept`, until that is lost.
fn keep(store: &str) {
    let db = open(store);
    let lease = db.lease(1).expect("a lease");
    db.put(Put::new("kept", "1").lease(lease.id()))
        .expect("put");
    let (lost, losses) = std::sync::mpsc::channel();
    lease.on_lost(move || lost.send(()).expect("the worker receives"));
    print("ready".into());
    losses.recv().expect("the callback runs");
    assert!(lease.lost() && lease.remaining().expect("the remaining time") == 0);
    lease.close().expect("closing a lost lease succeeds");
    print("lost".into());
}

/// Keeps leases of a second alive just in time or just too late, while another process revokes
/// expired ones. After a successful keep-alive the key must exist, after a failed one it must not.
fn keep_alive(store: &str, seed: u64) {
    const TTL: Duration = Duration::from_secs(1);
    let (db, mut dice) = (open(store), Dice(seed));
    let (mut kept, mut late) = (0, 0);
    for round in 0..4 {
        let ids: Vec<LeaseId> = (1..=20).collect();
        let began = Instant::now();
        // their deadlines are 5 ms apart
        for id in &ids {
            db.lease_grant(LeaseGrant::new(1).id(*id)).expect("a lease");
            db.put(Put::new(format!("lease/{id}"), "1").lease(*id))
                .expect("put");
            std::thread::sleep(Duration::from_millis(5));
        }
        let edge = TTL + Duration::from_millis(20 + dice.below(60));
        std::thread::sleep(edge.saturating_sub(began.elapsed()));
        for id in ids {
            let key = format!("lease/{id}");
            let begun = Instant::now();
            if db.lease_keep_alive(id).expect("a keep-alive").ttl_seconds == 0 {
                // the other process revokes it within half a second, or a little later
                let until = Instant::now() + Duration::from_secs(20);
                while db.get(&key).expect("get").is_some() {
                    assert!(
                        Instant::now() < until,
                        "round {round}: lease {id} has expired and was not revoked"
                    );
                    std::thread::sleep(Duration::from_millis(5));
                }
                late += 1;
                continue;
            }
            let there = db.get(&key).expect("get").is_some();
            // only if this process was not stopped for long between
            assert!(
                there || begun.elapsed() > TTL / 2,
                "round {round}: lease {id} was kept alive and its key is deleted"
            );
            match db.lease_revoke(id) {
                Ok(_) => kept += 1,
                Err(error) => assert!(
                    begun.elapsed() > TTL / 2,
                    "round {round}: lease {id}: {error}"
                ),
            }
        }
    }
    print(format!("{kept} {late}"));
}

/// Revokes expired leases until it is killed.
fn expire(store: &str) {
    let db = open(store);
    let watcher = db.watch(Watch::new("nothing")).expect("a watcher");
    print("ready".into());
    let _ = watcher.next(None);
}

/// Holds a long lease that ends with this process, with two keys.
fn own(store: &str) {
    let db = open(store);
    let lease = db
        .lease(LeaseGrant::new(600).end_with_process(true))
        .expect("a lease");
    for key in ["own/b", "own/a"] {
        db.put(Put::new(key, "1").lease(lease.id())).expect("put");
    }
    print("ready".into());
    std::thread::sleep(Duration::from_secs(600));
}

/// Replaces the program of this process by itself with other arguments.
fn exec(args: &[&str]) -> ! {
    use std::os::unix::process::CommandExt;
    let failed = std::process::Command::new(std::env::current_exe().expect("this program"))
        .args(args)
        .exec();
    panic!("exec: {failed}");
}

/// Holds a lock, and a long lease that ends with this process, with a key. After a line of input it
/// replaces itself by [`exec_locked`].
fn exec_as_owner(store: &str) {
    let db = open(store);
    let lease = db
        .lease(LeaseGrant::new(600).end_with_process(true))
        .expect("a lease");
    db.put(Put::new("own/a", "1").lease(lease.id()))
        .expect("put");
    let mut lock = db.lock("name", 600).expect("a lock");
    lock.acquire(None).expect("the lock is free");
    print("ready".into());
    let _ = std::io::stdin().read_line(&mut String::new());
    exec(&["exec-locked", store]);
}

/// Acquires the lock of the program before the exec, and stays until its input ends.
fn exec_locked(store: &str) {
    let db = open(store);
    let mut lock = db.lock("name", 600).expect("a lock");
    lock.acquire(Duration::from_secs(20))
        .expect("the lock of the former program is free");
    print(format!("locked by {}", std::process::id()));
    let _ = std::io::stdin().read_line(&mut String::new());
}

/// Reads and replaces itself by the same program, this number of times.
fn exec_reading(store: &str, times: u32) {
    let db = open(store);
    db.get("a").expect("a free reader slot");
    if times > 0 {
        exec(&["exec-reading", store, &(times - 1).to_string()]);
    }
    print("ready".into());
    let _ = std::io::stdin().read_line(&mut String::new());
}

/// In a loop: acquires a lock, writes to a file that it holds the lock and then that it releases
/// it, and releases it. Ends when a file `stop` exists beside the other.
fn lock(store: &str, file: &str) {
    let db = open(store);
    let mut log = fs::File::options()
        .append(true)
        .create(true)
        .open(file)
        .expect("the file");
    let mut lock = db.lock("name", 60).expect("a lock");
    let stop = format!("{file}.stop");
    while !fs::exists(&stop).expect("the folder exists") {
        lock.acquire(None).expect("acquired");
        let (pid, revision) = (
            std::process::id(),
            lock.revision().expect("the lock is held"),
        );
        // one write for the whole line: this process may be killed between two
        let mut record = |what| {
            log.write_all(format!("{what} {pid} {revision}\n").as_bytes())
                .expect("written")
        };
        record("enter");
        // a write that must fail for a former holder is a txn with a compare
        let mine = Compare::create_revision(lock.key(), CompareResult::Equal, revision);
        let fenced = Txn::new()
            .when(mine)
            .and_then(Put::new("fenced", revision.to_string()));
        assert!(
            db.txn(fenced).expect("a txn").succeeded,
            "it holds the lock"
        );
        record("leave");
        lock.release().expect("released");
    }
}

/// Holds a lock of a second, waits for a line of input, and prints whether a fenced write succeeds.
fn hold_lock(store: &str) {
    let db = open(store);
    let mut lock = db.lock("name", 1).expect("a lock");
    lock.acquire(None).expect("the lock is free");
    let revision = lock.revision().expect("the lock is held");
    print(revision.to_string());
    let _ = std::io::stdin().read_line(&mut String::new());
    let mine = Compare::create_revision(lock.key(), CompareResult::Equal, revision);
    let fenced = Txn::new().when(mine).and_then(Put::new("fenced", "stale"));
    print(db.txn(fenced).expect("a txn").succeeded.to_string());
}

/// Has 100 watchers and is idle until its input ends.
fn idle(store: &str) {
    let db = open(store);
    let watchers: Vec<Watcher> = (0..100)
        .map(|n| {
            db.watch(Watch::new(KeyRange::prefix(format!("{n}/"))))
                .expect("a watcher")
        })
        .collect();
    // the background thread is idle once it has delivered this event
    db.put(Put::new("0/a", "1")).expect("put");
    assert!(
        watchers[0]
            .next(None)
            .expect("the watcher continues")
            .is_some()
    );
    std::thread::sleep(Duration::from_millis(200));
    print("ready".into());
    let _ = std::io::stdin().read_line(&mut String::new());
    print("over".into());
}

/// Creates the small store for `core/tests/format`. The store of a released version is never
/// created again: later versions must open the original.
fn format(store: &str) {
    let db = open(store);
    for number in 0..12 {
        db.put(Put::new("often", format!("value-{number}")))
            .expect("put");
    }
    db.put(Put::new("big", "x".repeat(1_500))).expect("put");
    db.put(Put::new("gone", "1")).expect("put");
    db.txn(
        Txn::new()
            .and_then(Put::new([0, 0xff].as_slice(), "bytes"))
            .and_then(Put::new("in-a-txn", "2")),
    )
    .expect("txn");
    db.delete(Delete::new("gone")).expect("delete");
    db.compact(Compact::new(8).physical(true))
        .expect("compaction");
    db.put(Put::new("gone", "back")).expect("put");
    db.delete(Delete::new("in-a-txn")).expect("delete");
    db.close();
}

/// Opens, reads and writes. Prints the result: `ok`, or the code and the message.
fn attempt(store: &str, options: Options) {
    let tried = Db::open(store, options).and_then(|db| {
        db.get("a")?;
        db.put(Put::new("a", "b"))
    });
    print(match tried {
        Ok(_) => "ok".into(),
        Err(error) => format!("{} {}", error.code(), error.message()),
    });
}

/// Keeps the store open until its input ends. With `lose_lock` it first opens and closes
/// `lock.mdb`, as a copy inside a program would, which drops LMDB's locks.
fn stay(store: &str, lose_lock: bool) {
    let db = open(store);
    if lose_lock {
        drop(std::fs::File::open(std::path::Path::new(store).join("lock.mdb")).expect("lock.mdb"));
    }
    print("ready".into());
    let _ = std::io::stdin().read_line(&mut String::new());
    drop(db);
}

/// Writes until a write is refused. Prints the number of acknowledged writes, how many of them
/// exist before and after the store is opened again, and the error of the refused ones.
fn fill(store: &str) {
    let mut acknowledged = 0;
    let there = |db: &Db, most: u64| {
        (0..most)
            .filter(|n| {
                db.get(n.to_string())
                    .expect("get")
                    .is_some_and(|kv| kv.value.len() as u64 == n % 9_000)
            })
            .count()
    };
    let result = Db::open(store, Options::new()).and_then(|db| {
        let mut refused = Ok(());
        for n in 0..10_000u64 {
            match db.put(Put::new(n.to_string(), vec![b'x'; (n % 9_000) as usize])) {
                Ok(_) => acknowledged += 1,
                Err(error) => {
                    refused = Err(error);
                    break;
                }
            }
        }
        print(format!(
            "{acknowledged} acknowledged, {} there",
            there(&db, acknowledged)
        ));
        refused
    });
    let result = result.map_or_else(
        |error| format!("{} {}", error.code(), error.message()),
        |()| "ok".into(),
    );
    print(result);
    match Db::open(store, Options::new()) {
        Ok(db) => print(format!(
            "{} after opening again, {} problems",
            there(&db, acknowledged),
            db.check().expect("check").problems.len()
        )),
        Err(error) => print(format!("{} {}", error.code(), error.message())),
    }
}
