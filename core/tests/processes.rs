//! Several processes on one store: exact counts, kills, a stopped lock holder, concurrent creation,
//! memory, idle processes.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use libkv::engine::Submission;
use libkv::{Code, Compact, Db, Durability, KeyRange, LeaseGrant, Options, Put, Range};
use libkv_test_support::deadline::{WAIT_LIMIT, deadline, deadline_times, until};
use libkv_test_support::dice::Dice;
use libkv_test_support::{scratch, seed, setting};

fn worker(args: &[&str], store: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_worker"));
    command
        .arg(args[0])
        .arg(store)
        .args(&args[1..])
        .stdin(Stdio::null());
    command
}

fn output(child: Child) -> String {
    let done = child.wait_with_output().expect("the worker ends");
    assert!(
        done.status.success(),
        "{}: {}",
        done.status,
        String::from_utf8_lossy(&done.stderr)
    );
    String::from_utf8_lossy(&done.stdout).trim().to_string()
}

fn signal(name: &str, child: &Child) {
    let done = Command::new("kill")
        .args([&format!("-{name}"), &child.id().to_string()])
        .status();
    assert!(done.is_ok_and(|status| status.success()), "kill -{name}");
}

#[test]
fn transact_counts_exactly_in_two_processes() {
    let _deadline = deadline();
    let store = scratch("count");
    let start = || {
        worker(&["count", "n", "4", "1000"], &store)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the worker starts")
    };
    let children = [start(), start()];
    let worst = children.map(|child| output(child).parse::<u64>().expect("a number of retries"));
    println!(
        "worst number of retries: {}",
        worst.iter().max().expect("two of them")
    );
    let db = Db::open(&store, Options::new()).expect("the store opens");
    let kv = db.get("n").expect("get").expect("the counter");
    assert_eq!(kv.value, "8000");
    assert_eq!((kv.version, kv.mod_revision), (8_000, 8_001));
    fs::remove_dir_all(store).expect("removed");
}

/// A worker that was stopped while it held the write lock of a store.
struct StoppedHolder {
    child: Child,
    store: PathBuf,
}

impl StoppedHolder {
    fn new(name: &str) -> StoppedHolder {
        let store = scratch(name);
        let mut child = worker(&["hold"], &store)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the worker starts");
        let mut ready = String::new();
        BufReader::new(child.stdout.take().expect("piped"))
            .read_line(&mut ready)
            .expect("a line when it is ready");
        let holder = StoppedHolder { child, store };
        let db = holder.open(300);
        until("the worker is stopped while it holds the lock", || {
            signal("STOP", &holder.child);
            // the stop takes effect a little later, so the state is read when the worker is stopped
            until("the worker stops", || stopped(&holder.child));
            let holds = db.status().expect("status").writer_pid == Some(holder.child.id());
            if !holds {
                signal("CONT", &holder.child);
            }
            holds
        });
        holder
    }

    /// A handle whose requests wait this long for the lock.
    fn open(&self, busy_timeout_ms: u64) -> Db {
        let options = Options::new().busy_timeout_ms(busy_timeout_ms);
        Db::open(&self.store, options).expect("the store opens")
    }

    /// Whether this refusal has the pid of the worker.
    fn is_named_by(&self, error: &libkv::Error) -> bool {
        error.code() == Code::Busy
            && error
                .message()
                .contains(&format!("process {}", self.child.id()))
    }

    /// Continues the worker: it writes, and yields the lock to others between two writes.
    fn resume(&self) {
        signal("CONT", &self.child);
    }

    fn kill(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
    }
}

impl Drop for StoppedHolder {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.store);
    }
}

/// Submits a put whose response goes to a channel.
fn submit(db: &Db, value: &str) -> (Submission, Receiver<libkv::Result<libkv::Response>>) {
    let (responses, response) = channel();
    let pending = db.submit(Put::new("submitted", value), move |response| {
        // a test that has failed no longer receives
        let _ = responses.send(response);
    });
    (pending, response)
}

#[test]
fn write_times_out_with_the_name_of_the_stopped_holder() {
    let _deadline = deadline();
    let holder = StoppedHolder::new("stopped");
    let db = holder.open(300);
    let began = Instant::now();
    let error = db.put(Put::new("a", "b")).expect_err("the lock is held");
    assert!(holder.is_named_by(&error), "{error}");
    assert!(
        began.elapsed() >= Duration::from_millis(300),
        "the call ended before its timeout"
    );
}

#[test]
fn write_that_waits_for_the_lock_ends_when_it_is_interrupted() {
    let _deadline = deadline();
    let holder = StoppedHolder::new("interrupted");
    let db = holder.open(60_000);
    let calls = std::cell::Cell::new(0);
    let interrupted = || calls.replace(calls.get() + 1) >= 2;
    let error = db
        .call_unless(Put::new("a", "withdrawn"), &interrupted)
        .expect_err("interrupted");
    assert_eq!((error.code(), calls.get()), (Code::Cancelled, 3), "{error}");
}

#[test]
fn write_whose_interruption_check_panics_leaves_the_queue() {
    let _deadline = deadline();
    let holder = StoppedHolder::new("panicked");
    let db = holder.open(60_000);
    let call = std::panic::AssertUnwindSafe(|| {
        db.call_unless(Put::new("a", "abandoned"), &|| panic!("interrupt"))
    });
    assert!(std::panic::catch_unwind(call).is_err());
    holder.resume();
    db.put(Put::new("a", "b")).expect("the next write");
    let history = db.history("a", 0).expect("history");
    assert_eq!(
        history.len(),
        1,
        "the abandoned write was not withdrawn: {history:?}"
    );
}

#[test]
fn read_does_not_wait_for_the_lock() {
    let _deadline = deadline();
    let holder = StoppedHolder::new("read");
    holder
        .open(300)
        .range(Range::new(KeyRange::all()).limit(5))
        .expect("a read");
}

#[test]
fn submitted_write_that_waits_can_be_cancelled() {
    let _deadline = deadline();
    let holder = StoppedHolder::new("cancelled");
    let db = holder.open(60_000);
    let (cancelled, no_response) = submit(&db, "cancelled");
    let (kept, response) = submit(&db, "kept");
    assert!(cancelled.cancel(), "not begun");
    holder.resume();
    response
        .recv_timeout(WAIT_LIMIT)
        .expect("a response")
        .expect("written");
    assert!(!kept.cancel(), "already done");
    let history = db.history("submitted", 0).expect("history");
    let values: Vec<_> = history.iter().map(|event| &event.kv.value[..]).collect();
    assert_eq!(values, [b"kept"]);
    assert!(
        no_response.try_recv().is_err(),
        "the cancelled request has no response"
    );
}

/// Each request has its own timeout, even behind one that waits longer for the lock: here the
/// worker.
#[test]
fn submitted_write_times_out_behind_one_that_waits_longer() {
    let _deadline = deadline();
    let holder = StoppedHolder::new("submitted");
    let (long_timeout, short_timeout) = (holder.open(60_000), holder.open(300));
    let (_waits, _) = submit(&long_timeout, "long");
    let (_, response) = submit(&short_timeout, "short");
    let error = response
        .recv_timeout(WAIT_LIMIT)
        .expect("a response in time")
        .expect_err("the lock is held");
    assert!(holder.is_named_by(&error), "{error}");
    // closing waits for requests that have begun
    holder.resume();
}

/// As above, behind a thread that waits for the lock.
#[test]
fn submitted_write_times_out_behind_a_thread_that_waits_longer() {
    let _deadline = deadline();
    let holder = StoppedHolder::new("led");
    let (long_timeout, short_timeout) = (holder.open(60_000), holder.open(300));
    std::thread::scope(|scope| {
        let (waits, is_led) = channel();
        let waiting = scope.spawn(move || {
            let interrupted = || {
                let _ = waits.send(());
                false
            };
            long_timeout
                .call_unless(Put::new("led", "x"), &interrupted)
                .map(drop)
        });
        is_led
            .recv_timeout(WAIT_LIMIT)
            .expect("a thread waits for the lock");
        let (_, response) = submit(&short_timeout, "short");
        let error = response
            .recv_timeout(WAIT_LIMIT)
            .expect("a response in time")
            .expect_err("the lock is held");
        assert_eq!(error.code(), Code::Busy, "{error}");
        holder.resume();
        waiting.join().expect("no panic").expect("written");
    });
}

/// The holder is killed inside a transaction or between two.
#[test]
fn write_succeeds_after_the_holder_is_killed() {
    let _deadline = deadline();
    let mut holder = StoppedHolder::new("killed");
    let db = holder.open(60_000);
    holder.resume();
    db.put(Put::new("a", "b"))
        .expect("the holder yields the lock");
    holder.kill();
    db.put(Put::new("a", "c")).expect("the next write");
    assert_eq!(db.check().expect("check").problems, []);
}

#[test]
fn submitted_physical_compaction_has_its_response_after_the_sweep() {
    let _deadline = deadline();
    let mut holder = StoppedHolder::new("compacted");
    let db = holder.open(60_000);
    holder.resume();
    for number in 0..20 {
        db.put(Put::new("a", number.to_string())).expect("put");
    }
    holder.kill();
    let revision = db.status().expect("status").revision;
    let (responses, response) = channel();
    db.submit(Compact::new(revision).physical(true), move |response| {
        let _ = responses.send(response);
    });
    response
        .recv_timeout(WAIT_LIMIT)
        .expect("a response")
        .expect("compacted");
    let report = db.check().expect("check");
    assert_eq!(
        (report.events, report.problems),
        (report.keys, vec![]),
        "one event of each key remains"
    );
}

fn stopped(child: &Child) -> bool {
    let stat =
        fs::read_to_string(format!("/proc/{}/stat", child.id())).expect("the process exists");
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| rest.starts_with('T'))
}

/// A writer, and the file of its acknowledged writes.
struct Writer {
    child: Child,
    name: String,
    acks: PathBuf,
}

impl Writer {
    fn start(store: &Path, dir: &Path, number: u64) -> Writer {
        let name = format!("w{number}");
        let acks = dir.join(&name);
        let file = fs::File::create(&acks).expect("a file for acknowledgements");
        let child = worker(&["write", &name], store)
            .stdout(file)
            .spawn()
            .expect("the worker starts");
        Writer { child, name, acks }
    }

    /// Kills the writer. Returns revision, key and number of each acknowledged write.
    fn kill(mut self) -> Vec<(i64, String, u64)> {
        assert!(
            self.child.try_wait().expect("wait").is_none(),
            "{} ended by itself",
            self.name
        );
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
        let text = fs::read_to_string(&self.acks).expect("the acknowledgements");
        // the last line may be incomplete
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(parse_ack).collect()
    }
}

fn parse_ack(line: &str) -> (i64, String, u64) {
    let mut words = line.split(' ');
    let mut word = || words.next().expect("three words");
    (
        word().parse().expect("a revision"),
        word().to_string(),
        word().parse().expect("a number"),
    )
}

#[test]
fn kill_9_loses_nothing_acknowledged() {
    let rounds = setting("KILLS").unwrap_or(200);
    let _deadline = deadline_times(1 + rounds / 200);
    let seed = seed();
    println!("KILLS={rounds}");
    let mut dice = Dice(seed);
    let (store, dir) = (scratch("kill"), scratch("kill-acks"));
    fs::create_dir_all(&dir).expect("a folder for acknowledgements");
    let mut writers: Vec<Writer> = (0..3)
        .map(|number| Writer::start(&store, &dir, number))
        .collect();
    let mut seen: HashMap<i64, String> = HashMap::new();
    let mut acknowledged = 0;
    for round in 0..rounds {
        std::thread::sleep(Duration::from_micros(500 + dice.below(25_000)));
        let victim = dice.below(writers.len() as u64) as usize;
        let acks =
            std::mem::replace(&mut writers[victim], Writer::start(&store, &dir, 3 + round)).kill();
        let db = Db::open(&store, Options::new().busy_timeout_ms(60_000))
            .expect("the store opens after a kill");
        acknowledged += verify(&db, &acks, &mut seen, seed);
        assert_eq!(
            db.check().expect("check").problems,
            [],
            "SEED={seed} round {round}"
        );
    }
    let rest: Vec<_> = writers.into_iter().map(Writer::kill).collect();
    let db = Db::open(&store, Options::new()).expect("the store opens at the end");
    acknowledged += rest
        .iter()
        .map(|acks| verify(&db, acks, &mut seen, seed))
        .sum::<usize>();
    assert_eq!(db.check().expect("check").problems, [], "SEED={seed}");
    println!(
        "{rounds} kills, {acknowledged} acknowledged writes, revision {}",
        db.status().expect("status").revision
    );
    assert!(
        acknowledged as u64 > rounds,
        "too few writes: {acknowledged}"
    );
    drop(db);
    fs::remove_dir_all(store).expect("removed");
    fs::remove_dir_all(dir).expect("removed");
}

fn verify(
    db: &Db,
    acks: &[(i64, String, u64)],
    seen: &mut HashMap<i64, String>,
    seed: u64,
) -> usize {
    for (revision, key, number) in acks {
        let kv = db.get_at(key, *revision).expect("get_at");
        let kv = kv.unwrap_or_else(|| panic!("SEED={seed}: {key} of revision {revision} is lost"));
        assert_eq!(kv.mod_revision, *revision, "SEED={seed}: {key}");
        let value = std::str::from_utf8(&kv.value).expect("text");
        assert_eq!(
            value.split('-').next(),
            Some(number.to_string().as_str()),
            "SEED={seed}: {key} at {revision}"
        );
        let before = seen.insert(*revision, key.clone());
        assert_eq!(
            before, None,
            "SEED={seed}: revision {revision} was assigned twice"
        );
    }
    acks.len()
}

#[test]
fn create_by_many_processes_makes_one_store() {
    let _deadline = deadline();
    for _ in 0..5 {
        let store = scratch("creators");
        let start = || {
            worker(&["create"], &store)
                .stdout(Stdio::piped())
                .spawn()
                .expect("the worker starts")
        };
        let children: Vec<Child> = (0..6).map(|_| start()).collect();
        let mut revisions: Vec<i64> = children
            .into_iter()
            .map(|child| output(child).parse().expect("a revision"))
            .collect();
        revisions.sort_unstable();
        assert_eq!(revisions, [2, 3, 4, 5, 6, 7]);
        fs::remove_dir_all(store).expect("removed");
    }
}

#[test]
fn create_that_is_killed_leaves_no_store_or_a_complete_one() {
    let _deadline = deadline();
    let seed = seed();
    let mut dice = Dice(seed);
    for _ in 0..40 {
        let store = scratch("creator");
        let mut child = worker(&["create"], &store)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("started");
        std::thread::sleep(Duration::from_micros(dice.below(6_000)));
        child.kill().expect("killed");
        child.wait().expect("gone");
        let db = Db::open(&store, Options::new()).expect("the store opens");
        db.put(Put::new("a", "b")).expect("written");
        assert_eq!(db.check().expect("check").problems, []);
        drop(db);
        fs::remove_dir_all(store).expect("removed");
    }
}

#[test]
fn memory_of_a_process_is_bounded() {
    let _deadline = deadline();
    let store = scratch("memory");
    let mut command = worker(&["memory"], &store);
    // the allocator returns freed memory to the system, so that the rest is memory of the library
    command
        .env("MALLOC_MMAP_THRESHOLD_", "65536")
        .stdout(Stdio::piped());
    let child = command.spawn().expect("the worker starts");
    let kb: Vec<u64> = output(child)
        .lines()
        .map(|line| line.parse().expect("kB"))
        .collect();
    println!(
        "private memory: {} kB after 300,000 keys, {} kB after a transaction of 200 MB",
        kb[0], kb[1]
    );
    assert!(
        kb[0] < 16 << 10,
        "over 16 MiB with groups below 1,000 requests: {} kB",
        kb[0]
    );
    assert!(kb[1] < 64 << 10, "a huge transaction leaves {} kB", kb[1]);
    fs::remove_dir_all(store).expect("removed");
}

#[test]
fn copied_store_opens() {
    let _deadline = deadline();
    let (store, copy) = (scratch("copied"), scratch("copy"));
    let db = Db::open(&store, Options::new().durability(Durability::Lazy)).expect("a new store");
    let revision = db.put(Put::new("a", "1")).expect("put").revision;
    db.put(Put::new("a", "2")).expect("put");
    drop(db);
    // a copy of all files, a moved store, and a copy of only the data file
    for names in [&["data.mdb", "lock.mdb", "guard"][..], &["data.mdb"]] {
        let _ = fs::remove_dir_all(&copy);
        fs::create_dir(&copy).expect("a folder");
        for name in names {
            fs::copy(store.join(name), copy.join(name)).expect("copied");
        }
        let moved = scratch("moved");
        fs::rename(&copy, &moved).expect("moved");
        let db = Db::open(&moved, Options::new()).expect("a copy opens");
        assert_eq!(
            db.get_at("a", revision)
                .expect("get_at")
                .expect("it is there")
                .value,
            "1"
        );
        assert_eq!(
            db.put(Put::new("a", "3")).expect("put").revision,
            revision + 2
        );
        drop(db);
        fs::remove_dir_all(moved).expect("removed");
    }
    let db = Db::open(&store, Options::new()).expect("the original opens");
    assert_eq!(db.get("a").expect("get").expect("it is there").value, "2");
    drop(db);
    fs::remove_dir_all(store).expect("removed");
}

/// The number of system calls by name, between two marks that the worker writes.
fn calls_between(trace: &str, from: &str, upto: &str) -> HashMap<String, usize> {
    let mut calls = HashMap::new();
    let lines = trace
        .lines()
        .skip_while(|line| !line.contains(from))
        .skip(1);
    for line in lines.take_while(|line| !line.contains(upto)) {
        // `pid name(…`, or `pid <... name resumed>` for a call that was counted already
        let call = line
            .split_once(' ')
            .map_or("", |(_, call)| call.trim_start());
        if let Some((name, _)) = call.split_once('(').filter(|_| !call.starts_with('<')) {
            *calls.entry(name.to_string()).or_default() += 1;
        }
    }
    calls
}

/// The calls of an idle process with 100 watchers during this time, and the number of whole
/// seconds. `None` if processes cannot be traced here.
fn idle_calls(store: &Path, wait: Duration) -> Option<(HashMap<String, usize>, usize)> {
    if !Command::new("strace")
        .args(["-o", "/dev/null", "true"])
        .status()
        .is_ok_and(|status| status.success())
    {
        println!("not run: an idle process with 100 watchers (no strace, or it may not trace)");
        return None;
    }
    let trace = store.with_extension("trace");
    let mut command = Command::new("strace");
    command
        .args(["-f", "-o"])
        .arg(&trace)
        .arg(env!("CARGO_BIN_EXE_worker"))
        .arg("idle")
        .arg(store);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("strace starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped"));
    let mut line = String::new();
    lines.read_line(&mut line).expect("a line of the worker");
    assert_eq!(line, "ready\n");
    let began = Instant::now();
    std::thread::sleep(wait);
    let seconds = began.elapsed().as_secs() as usize;
    drop(child.stdin.take());
    assert!(child.wait().expect("it ends").success());
    let calls = calls_between(
        &fs::read_to_string(&trace).expect("the trace"),
        "\"ready",
        "\"over",
    );
    println!("in {seconds} s: {calls:?}");
    fs::remove_file(trace).expect("removed");
    Some((calls, seconds))
}

#[test]
fn idle_process_with_watchers_makes_only_the_calls_of_its_timers() {
    let _deadline = deadline();
    let store = scratch("idle");
    let Some((calls, seconds)) = idle_calls(&store, Duration::from_secs(10)) else {
        return;
    };
    let futex = calls.get("futex").copied().unwrap_or(0);
    let others: Vec<_> = calls
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "futex" | "read"))
        .collect();
    assert!(others.is_empty(), "an idle process calls {others:?}");
    // one wait in each second, and the worker reads its input
    assert!(
        futex > 0 && futex <= seconds + 3,
        "{futex} futex calls in {seconds} s"
    );
    assert!(calls.get("read").copied().unwrap_or(0) <= 2, "{calls:?}");
    fs::remove_dir_all(store).expect("removed");
}

/// Each owner process is checked at an interval, once for all its leases. In a former version a
/// process with thousands of locks cost every other process and the writer as many calls.
#[test]
fn owner_process_is_looked_up_once_for_all_its_leases() {
    let _deadline = deadline();
    let store = scratch("owners");
    let db =
        Db::open(&store, Options::new().durability(Durability::None)).expect("the store opens");
    let leases: Vec<_> = (0..100)
        .map(|_| {
            db.lease(LeaseGrant::new(60).end_with_process(true))
                .expect("a lease")
        })
        .collect();
    let Some((calls, seconds)) = idle_calls(&store, Duration::from_secs(3)) else {
        return;
    };
    let checks = calls.get("fcntl").copied().unwrap_or(0);
    // every 400 ms
    assert!(
        checks > 0 && checks <= 3 * (seconds + 1),
        "{checks} checks in {seconds} s"
    );
    drop(leases);
    drop(db);
    fs::remove_dir_all(store).expect("removed");
}
