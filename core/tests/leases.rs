//! Leases in real time and over several processes: deadlines that survive every process, a killed
//! process that was expiring leases, a reboot, and leases that end with their process.
//!
//! The tests wait for TTLs to pass; they do not assert an upper limit.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use libkv::*;
use libkv_test_support::deadline::{WAIT_LIMIT, deadline, until};
use libkv_test_support::dice::Dice;
use libkv_test_support::{scratch, seed};

/// The positions in `guard` of the boot id and of the lease slots. A slot has 32 bytes: id,
/// deadline, image of the owner.
const BOOT: u64 = 64;
const SLOTS: u64 = 4_096;
const DEAD: u64 = 0;

fn open(store: &Path) -> Db {
    Db::open(
        store,
        Options::new()
            .durability(Durability::None)
            .busy_timeout_ms(60_000),
    )
    .expect("the store opens")
}

/// A worker whose output is read by line.
struct Worker {
    child: Child,
    lines: BufReader<ChildStdout>,
    input: Option<ChildStdin>,
}

impl Worker {
    fn start(store: &Path, args: &[&str]) -> Worker {
        let mut command = Command::new(env!("CARGO_BIN_EXE_worker"));
        command
            .arg(args[0])
            .arg(store)
            .args(&args[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().expect("the worker starts");
        let (lines, input) = (
            BufReader::new(child.stdout.take().expect("piped")),
            child.stdin.take(),
        );
        Worker {
            child,
            lines,
            input,
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        let read = self.lines.read_line(&mut line).expect("a line");
        assert!(read > 0, "the worker ended: {:?}", self.child.wait());
        line.trim_end().to_string()
    }

    fn ready(store: &Path, args: &[&str]) -> Worker {
        let mut worker = Worker::start(store, args);
        assert_eq!(worker.line(), "ready");
        worker
    }

    fn kill(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("gone");
    }

    fn signal(&self, name: &str) {
        let done = Command::new("kill")
            .args([&format!("-{name}"), &self.child.id().to_string()])
            .status();
        assert!(done.is_ok_and(|status| status.success()), "kill -{name}");
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn guard(store: &Path) -> fs::File {
    fs::File::options()
        .read(true)
        .write(true)
        .open(store.join("guard"))
        .expect("the guard")
}

/// The id and the deadline in a slot.
fn slot(store: &Path, number: u64) -> (LeaseId, u64) {
    let mut bytes = [0; 16];
    guard(store)
        .read_exact_at(&mut bytes, SLOTS + 32 * number)
        .expect("a slot");
    let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
    (word(0) as LeaseId, word(8))
}

fn set_deadline(store: &Path, number: u64, deadline: u64) {
    guard(store)
        .write_all_at(&deadline.to_le_bytes(), SLOTS + 32 * number + 8)
        .expect("written");
}

fn next(watcher: &Watcher) -> WatchBatch {
    watcher
        .next(WAIT_LIMIT)
        .expect("the watcher continues")
        .expect("a batch")
}

fn keys(batch: &WatchBatch) -> Vec<&[u8]> {
    batch.events.iter().map(|event| &event.kv.key[..]).collect()
}

#[test]
fn lease_is_kept_by_its_process_and_expires_in_another() {
    let _deadline = deadline();
    let store = scratch("kept");
    let db = open(&store);
    let watcher = db.watch(Watch::new("kept")).expect("a watcher");
    let mut keeper = Worker::ready(&store, &["keep"]);
    let put = next(&watcher);
    assert_eq!(
        (keys(&put), put.events[0].kind),
        (vec![&b"kept"[..]], EventKind::Put)
    );
    // after three times its TTL the lease exists
    let nothing = watcher
        .next(Duration::from_secs(3))
        .expect("the watcher continues");
    assert_eq!(nothing, None, "a lease that is kept alive does not expire");
    // the stopped process cannot keep it alive: this process revokes it
    keeper.signal("STOP");
    let gone = next(&watcher);
    assert_eq!(
        (gone.revision, keys(&gone), gone.events[0].kind),
        (3, vec![&b"kept"[..]], EventKind::Delete)
    );
    keeper.signal("CONT");
    assert_eq!(keeper.line(), "lost");
    assert_eq!(
        (
            db.status().expect("status").revision,
            db.lease_list().expect("leases")
        ),
        (3, vec![])
    );
    drop((watcher, db));
    fs::remove_dir_all(store).expect("removed");
}

#[test]
fn keep_alive_near_the_deadline_succeeds_or_is_too_late() {
    let _deadline = deadline();
    let store = scratch("edge");
    let db = open(&store);
    let seed = seed();
    // this process revokes expired leases
    let watcher = db.watch(Watch::new(KeyRange::all())).expect("a watcher");
    let output = Worker::start(&store, &["keep-alive", &seed.to_string()]).line();
    println!("kept and too late: {output}");
    let numbers: Vec<u64> = output
        .split(' ')
        .map(|word| word.parse().expect("a number"))
        .collect();
    assert_eq!(numbers.iter().sum::<u64>(), 80, "SEED={seed}: {output}");
    // each key was deleted once
    let deletions = db
        .events(0, 0, KeyRange::all())
        .filter(|event| event.as_ref().expect("an event").kind == EventKind::Delete);
    assert_eq!(deletions.count(), 80, "SEED={seed}");
    assert_eq!(
        db.status().expect("status").revision,
        161,
        "SEED={seed}: one revision for each"
    );
    drop((watcher, db));
    fs::remove_dir_all(store).expect("removed");
}

#[test]
fn expiry_in_processes_that_are_killed_happens_once() {
    let _deadline = deadline();
    const MANY: i64 = 300;
    let (store, seed) = (scratch("expirers"), seed());
    let mut dice = Dice(seed);
    let db = open(&store);
    for id in 1..=MANY {
        db.lease_grant(LeaseGrant::new(1 + id % 4).id(id))
            .expect("a lease");
        db.txn(
            Txn::new()
                .and_then(Put::new(format!("{id}/b"), "1").lease(id))
                .and_then(Put::new(format!("{id}/a"), "1").lease(id)),
        )
        .expect("a txn");
    }
    let before = db.status().expect("status").revision;
    db.close();
    // only the killed processes have the store open
    let mut expirers = [0; 3].map(|_| Worker::ready(&store, &["expire"]));
    let end = Instant::now() + Duration::from_secs(4);
    let mut kills = 0;
    while Instant::now() < end {
        std::thread::sleep(Duration::from_millis(dice.below(60)));
        let victim = dice.below(3) as usize;
        expirers[victim].kill();
        expirers[victim] = Worker::ready(&store, &["expire"]);
        kills += 1;
    }
    let db = open(&store);
    until("every lease has ended", || {
        db.lease_list().expect("leases").is_empty()
    });
    let mut revisions = Vec::new();
    let deletions: Vec<Event> = db
        .events(before, 0, KeyRange::all())
        .collect::<Result<_>>()
        .expect("changes");
    for pair in deletions.chunks(2) {
        let [a, b] = pair else {
            panic!("SEED={seed}: an odd number of deletions")
        };
        let id = a.kv.key.strip_suffix(b"/a").expect("in ascending order");
        assert_eq!(
            (b.kv.key.strip_suffix(b"/b"), b.kv.mod_revision),
            (Some(id), a.kv.mod_revision),
            "SEED={seed}"
        );
        revisions.push(a.kv.mod_revision);
    }
    println!("{kills} kills");
    let should: Vec<Revision> = (before + 1..=before + MANY).collect();
    assert_eq!(
        revisions, should,
        "SEED={seed}: each lease ends in its own revision"
    );
    assert_eq!(
        db.status().expect("status").revision,
        before + MANY,
        "SEED={seed}"
    );
    assert_eq!(db.check().expect("check").problems, []);
    drop(db);
    fs::remove_dir_all(store).expect("removed");
}

#[test]
fn lease_deadline_survives_every_process() {
    let _deadline = deadline();
    let store = scratch("restart");
    let db = open(&store);
    db.lease_grant(LeaseGrant::new(1_000).id(7))
        .expect("a lease");
    db.lease_grant(LeaseGrant::new(1).id(8)).expect("a lease");
    db.put(Put::new("long", "1").lease(7)).expect("put");
    db.put(Put::new("short", "1").lease(8)).expect("put");
    let long = slot(&store, 0);
    assert_eq!((long.0, slot(&store, 1).0), (7, 8));
    db.close();
    // the deadline of one lease passes while no process has the store open
    std::thread::sleep(Duration::from_millis(1_200));
    let db = open(&store);
    assert_eq!(
        slot(&store, 0),
        long,
        "the deadline is unchanged, to the nanosecond"
    );
    // this process makes only calls: it has no watcher and no lease
    until("the other lease has expired", || {
        db.get("short").expect("get").is_none()
    });
    assert_eq!(db.lease_list().expect("leases"), [7]);
    assert_eq!(db.status().expect("status").revision, 4);
    assert!(db.get("long").expect("get").is_some());
    drop(db);
    fs::remove_dir_all(store).expect("removed");
}

#[test]
fn lease_marked_as_dying_by_a_dead_process_has_expired() {
    let _deadline = deadline();
    let store = scratch("dead");
    let db = open(&store);
    db.lease_grant(LeaseGrant::new(1_000).id(7))
        .expect("a lease");
    db.put(Put::new("a", "1").lease(7)).expect("put");
    db.close();
    set_deadline(&store, 0, DEAD);
    let db = open(&store);
    until("the lease has expired", || {
        db.get("a").expect("get").is_none()
    });
    assert_eq!(
        (
            db.lease_list().expect("leases"),
            db.status().expect("status").revision
        ),
        (vec![], 3)
    );
    assert_eq!(db.lease_keep_alive(7).expect("a keep-alive").ttl_seconds, 0);
    drop(db);
    fs::remove_dir_all(store).expect("removed");
}

#[test]
fn lease_has_its_full_ttl_after_a_reboot() {
    let _deadline = deadline();
    let store = scratch("reboot");
    let db = open(&store);
    db.lease_grant(LeaseGrant::new(1_000).id(7))
        .expect("a lease");
    db.put(Put::new("a", "1").lease(7)).expect("put");
    let (_, deadline) = slot(&store, 0);
    db.close();
    // a deadline of another boot, which would be long past
    set_deadline(&store, 0, 5);
    guard(&store)
        .write_all_at(&[0x5a; 16], BOOT)
        .expect("written");
    let db = open(&store);
    assert!(
        slot(&store, 0).1 > deadline,
        "a new deadline, later than the first"
    );
    let left = db
        .lease_time_to_live(LeaseTimeToLive::new(7).keys(true))
        .expect("the remaining time");
    assert!(left.ttl_seconds > 900 && left.keys == [b"a"], "{left:?}");
    db.close();
    // without a reboot the same lease has expired
    set_deadline(&store, 0, 5);
    let db = open(&store);
    until("the lease has expired", || {
        db.get("a").expect("get").is_none()
    });
    drop(db);
    // a slot with another id does not belong to this lease
    let db = open(&store);
    db.lease_grant(LeaseGrant::new(1_000).id(9))
        .expect("a lease");
    db.put(Put::new("b", "1").lease(9)).expect("put");
    db.close();
    guard(&store)
        .write_all_at(&77_i64.to_le_bytes(), SLOTS)
        .expect("written");
    set_deadline(&store, 0, 5);
    let db = open(&store);
    assert!(
        db.lease_time_to_live(9)
            .expect("the remaining time")
            .ttl_seconds
            > 900
    );
    assert!(db.get("b").expect("get").is_some());
    // a store that was moved without its guard opens too
    db.close();
    fs::remove_file(store.join("guard")).expect("removed");
    let db = open(&store);
    assert!(
        db.lease_time_to_live(9)
            .expect("the remaining time")
            .ttl_seconds
            > 900
    );
    drop(db);
    fs::remove_dir_all(store).expect("removed");
}

/// Free slots stay free after a reboot. In a former version the first process to open the store
/// counted all slots below the last one as used, and the guard grew with every reboot.
#[test]
fn lease_slots_are_free_after_a_reboot() {
    let _deadline = deadline();
    let store = scratch("slots");
    let db = open(&store);
    for id in 1..=3 {
        db.lease_grant(LeaseGrant::new(1_000).id(id))
            .expect("a lease");
    }
    db.lease_revoke(1).expect("revoked");
    db.close();
    guard(&store)
        .write_all_at(&[0x5a; 16], BOOT)
        .expect("written");
    let db = open(&store);
    db.lease_grant(LeaseGrant::new(1_000).id(9))
        .expect("a lease");
    assert_eq!([0, 1, 2].map(|number| slot(&store, number).0), [9, 2, 3]);
    drop(db);
    fs::remove_dir_all(store).expect("removed");
}

#[test]
fn lease_ends_with_its_process() {
    let _deadline = deadline();
    let store = scratch("owner");
    let db = open(&store);
    let watcher = db
        .watch(Watch::new(KeyRange::all()).no_put(true))
        .expect("a watcher");
    let mut owners = [0; 2].map(|_| Worker::ready(&store, &["own"]));
    // the keys are attached to the second lease now; the first has none
    let [first, second] = &mut owners;
    let revision = db.status().expect("status").revision;
    first.kill();
    until("the first lease has ended", || {
        db.lease_list().expect("leases").len() == 1
    });
    assert_eq!(
        db.status().expect("status").revision,
        revision,
        "no key was deleted"
    );
    assert!(watcher.try_next().expect("the watcher continues").is_none());
    second.kill();
    let gone = next(&watcher);
    assert_eq!(
        (gone.revision, keys(&gone)),
        (revision + 1, vec![&b"own/a"[..], b"own/b"])
    );
    assert_eq!(db.lease_list().expect("leases"), [0; 0]);
    drop((watcher, db));
    // no process has the store open: the next one ends the lease
    let mut owner = Worker::ready(&store, &["own"]);
    owner.kill();
    let db = open(&store);
    until("the keys are deleted", || {
        db.get("own/a").expect("get").is_none()
    });
    assert_eq!(
        (
            db.lease_list().expect("leases"),
            db.status().expect("status").revision
        ),
        (vec![], revision + 4)
    );
    drop(db);
    fs::remove_dir_all(store).expect("removed");
}

/// Pid and start time stay the same at an `exec`. In a former version the new program waited for
/// the lock of the old one until the TTL was over, and counted as the owner of its leases.
#[test]
fn lease_and_lock_of_a_program_end_at_exec() {
    let _deadline = deadline();
    for watched in [true, false] {
        let store = scratch("exec");
        open(&store).close();
        // without another process the new program itself finds that the owner has ended
        let watching = watched.then(|| {
            let db = open(&store);
            let watcher = db
                .watch(Watch::new("own/a").no_put(true))
                .expect("a watcher");
            (db, watcher)
        });
        let mut worker = Worker::ready(&store, &["exec"]);
        let pid = worker.child.id();
        writeln!(worker.input.as_mut().expect("piped")).expect("written");
        assert_eq!(
            worker.line(),
            format!("locked by {pid}"),
            "watched: {watched}"
        );
        if let Some((_, watcher)) = &watching {
            assert_eq!(keys(&next(watcher)), [b"own/a"]);
        }
        let db = open(&store);
        until("the lease of the first program has ended", || {
            db.get("own/a").expect("get").is_none()
        });
        assert_eq!(
            db.lease_list().expect("leases").len(),
            1,
            "only the lease of the new program's lock remains"
        );
        drop((watching, worker, db));
        fs::remove_dir_all(store).expect("removed");
    }
}

/// LMDB identifies readers by pid. In a former version the reader slots of the program before an
/// `exec` counted as those of the new program and were never freed.
#[test]
fn reader_slots_are_free_after_exec() {
    let _deadline = deadline();
    let store = scratch("exec-readers");
    let db = Db::open(&store, Options::new().max_readers(4)).expect("a new store");
    let mut worker = Worker::ready(&store, &["exec-reading", "8"]);
    writeln!(worker.input.as_mut().expect("piped")).expect("written");
    assert!(worker.child.wait().expect("ended").success());
    drop(db);
    fs::remove_dir_all(store).expect("removed");
}

#[test]
fn lock_is_handed_over_between_processes() {
    let _deadline = deadline();
    const HANDOVERS: usize = 500;
    let (store, seed) = (scratch("lock"), seed());
    let mut dice = Dice(seed);
    let file = scratch("lock-file");
    let path = file.display().to_string();
    let db = open(&store);
    let start = || Worker::start(&store, &["lock", &path]);
    let mut holders = [start(), start()];
    let mut kills = 0;
    let read = || fs::read_to_string(&file).unwrap_or_default();
    let end = Instant::now() + Duration::from_secs(240);
    loop {
        std::thread::sleep(Duration::from_millis(100 + dice.below(200)));
        if handovers(&read()) >= HANDOVERS && kills >= 8 {
            break;
        }
        assert!(
            Instant::now() < end,
            "SEED={seed}: only {} handovers",
            handovers(&read())
        );
        let victim = dice.below(2) as usize;
        holders[victim].kill();
        holders[victim] = start();
        kills += 1;
    }
    fs::write(format!("{path}.stop"), "").expect("written");
    for holder in &mut holders {
        assert!(holder.child.wait().expect("ended").success(), "SEED={seed}");
    }
    let output = read();
    println!("{} handovers, {kills} kills", handovers(&output));
    never_two(&output, seed);
    let fenced = db.get("fenced").expect("get").expect("the key exists");
    let history = db.history("fenced", 0).expect("history");
    let numbers = history.iter().map(|event| {
        std::str::from_utf8(&event.kv.value)
            .expect("text")
            .parse::<i64>()
            .expect("a number")
    });
    assert!(
        numbers
            .collect::<Vec<_>>()
            .is_sorted_by(|later, earlier| later > earlier),
        "SEED={seed}: {fenced:?}"
    );
    // the last killed process may have waited for the lock: its key is deleted soon after
    until("no process waits for the lock", || {
        db.range(Range::new(KeyRange::prefix("name/")))
            .expect("range")
            .count
            == 0
    });
    drop(db);
    for path in [path.clone(), format!("{path}.stop")] {
        fs::remove_file(path).expect("removed");
    }
    fs::remove_dir_all(store).expect("removed");
}

fn words(line: &str) -> (&str, &str, i64) {
    let mut words = line.split(' ');
    let mut word = || words.next().unwrap_or_default();
    (word(), word(), word().parse().unwrap_or(0))
}

/// How often the lock passed from one process to another.
fn handovers(output: &str) -> usize {
    let pids: Vec<&str> = output
        .lines()
        .map(words)
        .filter(|(what, ..)| *what == "enter")
        .map(|(_, pid, _)| pid)
        .collect();
    pids.windows(2).filter(|pair| pair[0] != pair[1]).count()
}

/// Asserts that each holder has a higher revision than all before it, and that no earlier holder
/// writes after it. Holders without a `leave` were killed.
fn never_two(output: &str, seed: u64) {
    let (mut holder, mut highest) = (None, 0);
    for (at, line) in output.lines().enumerate() {
        match words(line) {
            ("enter", pid, revision) => {
                assert!(
                    revision > highest,
                    "SEED={seed}: line {at}: {line} after revision {highest}"
                );
                (holder, highest) = (Some(pid), revision);
            }
            ("leave", pid, revision) => {
                assert_eq!(
                    (holder, highest),
                    (Some(pid), revision),
                    "SEED={seed}: line {at}: {line}: two holders"
                );
                holder = None;
            }
            _ => panic!("SEED={seed}: line {at}: {line}"),
        }
    }
}

#[test]
fn lock_fences_a_holder_that_was_stopped() {
    let _deadline = deadline();
    let store = scratch("fenced");
    let db = open(&store);
    let mut holder = Worker::start(&store, &["hold-lock"]);
    let revision: Revision = holder.line().parse().expect("a revision");
    let mut lock = db.lock("name", 60).expect("a lock");
    assert!(!lock.try_acquire().expect("a response"), "the lock is held");
    assert_eq!(lock.revision(), None);
    let error = lock
        .acquire(Duration::from_millis(50))
        .expect_err("the lock is held");
    assert_eq!(error.code(), Code::Timeout, "{error}");
    // longer than the TTL of the stopped holder
    holder.signal("STOP");
    lock.acquire(WAIT_LIMIT)
        .expect("the lease of the stopped holder has expired");
    assert!(
        lock.revision() > Some(revision),
        "{:?} fences {revision}",
        lock.revision()
    );
    holder.signal("CONT");
    writeln!(holder.input.as_mut().expect("piped")).expect("written");
    assert_eq!(
        holder.line(),
        "false",
        "the write of the former holder is refused"
    );
    assert!(lock.is_held() && db.get("fenced").expect("get").is_none());
    lock.release().expect("released");
    assert_eq!(lock.revision(), None);
    drop((lock, db));
    fs::remove_dir_all(store).expect("removed");
}

/// A deadline is valid if the data file is not older than the last recorded commit. So a commit
/// that wrote no page must not be recorded.
#[test]
fn lease_deadline_survives_a_commit_without_pages() {
    let _deadline = deadline();
    let store = scratch("empty");
    let db = open(&store);
    db.lease_grant(LeaseGrant::new(1_000).id(7))
        .expect("a lease");
    let long = slot(&store, 0);
    db.close();
    for round in 0..100 {
        let db = open(&store);
        assert_eq!(slot(&store, 0), long, "round {round}");
        db.put(Put::new("a", round.to_string())).expect("put");
        let revision = db
            .put(Put::new("a", round.to_string()))
            .expect("put")
            .revision;
        // both compactions order a sweep, and the later one often finds nothing to remove
        db.compact(revision - 1).expect("compaction");
        db.compact(Compact::new(revision).physical(true))
            .expect("compaction");
        std::thread::sleep(Duration::from_millis(5));
        db.close();
    }
    fs::remove_dir_all(store).expect("removed");
}

/// When `advance` returns, due leases have expired, even if other threads write at that time. A
/// lease that is granted then has its full TTL.
#[test]
fn clock_advance_returns_after_what_is_due() {
    let _deadline = deadline();
    let clock = Clock::new(1_000_000_000_000);
    let db = Db::open(":memory:", Options::new().clock(clock.clone())).expect("a store in memory");
    // with a watcher the background thread also looks for due leases
    let watcher = db.watch(Watch::new("busy")).expect("a watcher");
    let over = AtomicBool::new(false);
    let busy = || {
        while !over.load(Ordering::Relaxed) {
            let revision = db.put(Put::new("busy", "1")).expect("put").revision;
            if revision % 10 == 0 {
                // this is refused if the other thread was faster
                let _ = db.compact(revision - 5);
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(busy);
        scope.spawn(busy);
        // also after a panic
        let _over = SetOnDrop(&over);
        for round in 0..3_000 {
            db.lease_grant(LeaseGrant::new(5).id(7)).expect("a lease");
            let left = db
                .lease_time_to_live(7)
                .expect("the remaining time")
                .ttl_seconds;
            assert_eq!(left, 5, "round {round}: the remaining time of a new lease");
            db.put(Put::new("a", "1").lease(7)).expect("put");
            clock.advance(5_000);
            assert_eq!(
                db.get("a").expect("get"),
                None,
                "round {round}: the key of an expired lease"
            );
            assert_eq!(db.lease_list().expect("leases"), [0; 0], "round {round}");
        }
    });
    drop(watcher);
    assert_eq!(db.check().expect("check").problems, []);
}

/// A lease with a handle is alive at every moment of an advance, even while another store with the
/// same clock still expires its leases. In a former version a check at that moment found it
/// expired.
#[test]
fn lease_that_is_kept_survives_clock_advance() {
    let _deadline = deadline();
    let clock = Clock::new(1_000_000_000_000);
    let open =
        || Db::open(":memory:", Options::new().clock(clock.clone())).expect("a store in memory");
    let (first, second) = (open(), open());
    let lease = second.lease(5).expect("a lease");
    second
        .put(Put::new("a", "1").lease(lease.id()))
        .expect("put");
    let lost = first.lease(5).expect("a lease that will be lost");
    let (seen, looked) = std::sync::mpsc::channel();
    let (db, id) = (second.clone(), lease.id());
    lost.on_lost(move || drop(seen.send(db.lease_keep_alive(id))));
    first.lease_revoke(lost.id()).expect("revoked");
    clock.advance(60_000);
    let kept = looked
        .recv_timeout(WAIT_LIMIT)
        .expect("notified")
        .expect("kept alive");
    assert_eq!(kept.ttl_seconds, 5);
    assert!(!lease.lost());
    assert_eq!(lease.remaining().expect("the remaining time"), 5);
    assert_eq!(
        second.get("a").expect("get").expect("its key").value,
        b"1"[..]
    );
}

/// Dropping the callback of a lease runs code of the caller, which may use the lease. In a former
/// version this caused a deadlock.
#[test]
fn lease_callback_may_use_its_lease_when_dropped() {
    let _deadline = deadline();
    struct LeaseUser(std::sync::Weak<Lease>);
    impl Drop for LeaseUser {
        fn drop(&mut self) {
            assert!(self.0.upgrade().is_none_or(|lease| !lease.lost()));
        }
    }
    let db = Db::open(":memory:", Options::new()).expect("a store in memory");
    let lease = std::sync::Arc::new(db.lease(60).expect("a lease"));
    let user = LeaseUser(std::sync::Arc::downgrade(&lease));
    lease.on_lost(move || drop(user));
    let (closed, is_closed) = std::sync::mpsc::channel();
    std::thread::spawn(move || closed.send(lease.close()));
    is_closed
        .recv_timeout(WAIT_LIMIT)
        .expect("no deadlock")
        .expect("closed");
}

/// Sets a flag when it is dropped.
struct SetOnDrop<'f>(&'f AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
