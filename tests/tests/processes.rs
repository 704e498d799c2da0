//! Several processes on one store: exact counts, kills, a holder that was stopped, creation by
//! many, and the memory of one.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use libkv::{Code, Db, Durability, KeyRange, LeaseGrant, Options, Put, Range};

fn scratch(name: &str) -> PathBuf {
    let path =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    path
}

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

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

fn env(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn two_processes_with_four_writers_each_count_exactly() {
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
    let kv = db.get("n").expect("get").expect("it was counted up");
    assert_eq!(kv.value, "8000");
    assert_eq!((kv.version, kv.mod_revision), (8_000, 8_001));
    fs::remove_dir_all(store).expect("removed");
}

#[test]
fn a_stopped_holder_is_named_after_the_time_out() {
    let store = scratch("stopped");
    let mut holder = worker(&["hold"], &store)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the worker starts");
    let mut ready = String::new();
    BufReader::new(holder.stdout.take().expect("piped"))
        .read_line(&mut ready)
        .expect("it says so");
    let db = Db::open(&store, Options::new().busy_timeout_ms(300)).expect("the store opens");
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        signal("STOP", &holder);
        // a stop takes effect a little later: only what holds while it is stopped counts
        while !stopped(&holder) {
            std::thread::yield_now();
        }
        if db.status().expect("status").writer_pid == Some(holder.id()) {
            break;
        }
        signal("CONT", &holder);
        assert!(
            Instant::now() < until,
            "it was never stopped while it held the lock"
        );
    }
    let began = Instant::now();
    let error = db.put(Put::new("a", "b")).expect_err("the lock is held");
    assert_eq!(error.code(), Code::Busy);
    assert!(
        error
            .message()
            .contains(&format!("process {}", holder.id())),
        "{error}"
    );
    assert!(
        began.elapsed() >= Duration::from_millis(300),
        "it waited for its time"
    );
    // whoever is interrupted need not wait to the end
    let patient = Db::open(&store, Options::new().busy_timeout_ms(60_000)).expect("another handle");
    let asked = std::cell::Cell::new(0);
    let interrupted = || asked.replace(asked.get() + 1) >= 2;
    let error = patient
        .call_unless(Put::new("a", "taken back"), &interrupted)
        .expect_err("it is interrupted");
    assert_eq!((error.code(), asked.get()), (Code::Cancelled, 3), "{error}");
    // and a panic of whoever is asked is their own, and leaves the queue to others
    let asked = std::panic::AssertUnwindSafe(|| {
        patient.call_unless(Put::new("a", "given up"), &|| panic!("asked"))
    });
    assert!(std::panic::catch_unwind(asked).is_err());
    // readers wait for nobody
    db.range(Range::new(KeyRange::all()).limit(5))
        .expect("reads go on");
    // what was submitted waits too, and can be taken back as long as it does
    let (responses, answered) = std::sync::mpsc::channel();
    let submit = |value: &str| {
        let responses = responses.clone();
        patient.submit(Put::new("submitted", value), move |response| {
            responses.send(response).expect("somebody listens")
        })
    };
    let (withdrawn, kept) = (submit("withdrawn"), submit("kept"));
    assert!(withdrawn.cancel(), "nobody has begun it");
    // each request has its own time, whoever waits before it: the worker, then a thread
    let wait = Duration::from_secs(20);
    let hasty = |responses: std::sync::mpsc::Sender<_>| {
        db.submit(Put::new("hasty", "x"), move |response| {
            responses.send(response).expect("somebody listens")
        });
    };
    hasty(responses.clone());
    let error = answered
        .recv_timeout(wait)
        .expect("answered in its time")
        .expect_err("the lock is held");
    assert!(
        error.code() == Code::Busy
            && error
                .message()
                .contains(&format!("process {}", holder.id())),
        "{error}"
    );
    let leads = patient.clone();
    std::thread::scope(|scope| {
        assert!(kept.cancel(), "nobody has begun it");
        let (asked, is_led) = std::sync::mpsc::channel();
        let waiting = scope.spawn(move || {
            let tell = || {
                let _ = asked.send(());
                false
            };
            leads.call_unless(Put::new("led", "x"), &tell).map(drop)
        });
        is_led
            .recv_timeout(wait)
            .expect("a thread waits for the lock");
        hasty(responses.clone());
        let error = answered
            .recv_timeout(wait)
            .expect("answered in its time")
            .expect_err("the lock is held");
        assert_eq!(error.code(), Code::Busy, "{error}");
        signal("CONT", &holder);
        waiting.join().expect("no panic").expect("written");
    });
    let kept = submit("kept");
    answered
        .recv_timeout(wait)
        .expect("the other is answered")
        .expect("and written");
    assert!(!kept.cancel(), "it is done");
    let history = patient.history("submitted", 0).expect("history");
    assert_eq!(
        history
            .iter()
            .map(|event| &event.kv.value[..])
            .collect::<Vec<_>>(),
        [b"kept"]
    );
    assert!(
        answered.try_recv().is_err(),
        "the withdrawn one is never answered"
    );
    patient
        .put(Put::new("a", "b"))
        .expect("the holder goes on and gives way");
    // killed inside its transaction or between two: the next goes on
    holder.kill().expect("killed");
    holder.wait().expect("gone");
    patient.put(Put::new("a", "c")).expect("the next goes on");
    assert_eq!(patient.check().expect("check").problems, []);
    // a compaction that was submitted as physical is answered once the space can be used again
    let physical = libkv::Compact {
        revision: patient.status().expect("status").revision,
        physical: true,
    };
    patient.submit(physical, move |response| {
        responses.send(response).expect("somebody listens")
    });
    answered
        .recv_timeout(wait)
        .expect("answered")
        .expect("compacted");
    let report = patient.check().expect("check");
    assert_eq!(
        (report.events, report.problems),
        (report.keys, vec![]),
        "one event a key is left"
    );
    drop((db, patient));
    fs::remove_dir_all(store).expect("removed");
}

fn stopped(child: &Child) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).expect("it is there");
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| rest.starts_with('T'))
}

/// A writer, and the file with what it says was acknowledged.
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

    /// Kills it and answers what was acknowledged: revision, key, number.
    fn kill(mut self) -> Vec<(i64, String, u64)> {
        assert!(
            self.child.try_wait().expect("wait").is_none(),
            "{} died by itself",
            self.name
        );
        self.child.kill().expect("killed");
        self.child.wait().expect("gone");
        let text = fs::read_to_string(&self.acks).expect("what it said");
        // the last line may be cut
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
fn kill_9_loses_nothing_that_was_acknowledged() {
    let rounds = env("KILLS").unwrap_or(200);
    let seed = env("SEED").unwrap_or_else(|| {
        std::time::UNIX_EPOCH
            .elapsed()
            .map_or(1, |since| since.as_nanos() as u64)
    });
    println!("SEED={seed} KILLS={rounds}");
    let mut random = Random(seed);
    let (store, dir) = (scratch("kill"), scratch("kill-acks"));
    fs::create_dir_all(&dir).expect("a folder for acknowledgements");
    let mut writers: Vec<Writer> = (0..3)
        .map(|number| Writer::start(&store, &dir, number))
        .collect();
    let mut seen: HashMap<i64, String> = HashMap::new();
    let mut acknowledged = 0;
    for round in 0..rounds {
        std::thread::sleep(Duration::from_micros(500 + random.below(25_000)));
        let victim = random.below(writers.len() as u64) as usize;
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
        "hardly anything was written: {acknowledged}"
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
            "SEED={seed}: revision {revision} was given twice"
        );
    }
    acks.len()
}

#[test]
fn many_creators_make_one_store() {
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
fn a_creator_that_is_killed_leaves_no_store_or_a_whole_one() {
    let seed = env("SEED").unwrap_or_else(|| {
        std::time::UNIX_EPOCH
            .elapsed()
            .map_or(1, |since| since.as_nanos() as u64)
    });
    println!("SEED={seed}");
    let mut random = Random(seed);
    for _ in 0..40 {
        let store = scratch("creator");
        let mut child = worker(&["create"], &store)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        std::thread::sleep(Duration::from_micros(random.below(6_000)));
        child.kill().expect("killed");
        child.wait().expect("gone");
        let db = Db::open(&store, Options::new()).expect("the store opens");
        db.put(Put::new("a", "b")).expect("and takes a write");
        assert_eq!(db.check().expect("check").problems, []);
        drop(db);
        fs::remove_dir_all(store).expect("removed");
    }
}

#[test]
fn private_memory_is_bounded() {
    let store = scratch("memory");
    let mut command = worker(&["memory"], &store);
    // what the worker frees itself goes back to the system, so that what stays is the library's
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
        "over 16 MiB with groups under 1,000 requests: {} kB",
        kb[0]
    );
    assert!(kb[1] < 64 << 10, "a huge transaction leaves {} kB", kb[1]);
    fs::remove_dir_all(store).expect("removed");
}

#[test]
fn a_copied_store_is_a_store() {
    let (store, copy) = (scratch("copied"), scratch("copy"));
    let db = Db::open(&store, Options::new().durability(Durability::Lazy)).expect("a new store");
    let revision = db.put(Put::new("a", "1")).expect("put").revision;
    db.put(Put::new("a", "2")).expect("put");
    drop(db);
    // with all its files, moved, and with the data file alone
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

/// System calls between two marks of a worker's own, by name.
fn calls_between(trace: &str, from: &str, upto: &str) -> HashMap<String, usize> {
    let mut calls = HashMap::new();
    let lines = trace
        .lines()
        .skip_while(|line| !line.contains(from))
        .skip(1);
    for line in lines.take_while(|line| !line.contains(upto)) {
        // `pid name(…`, or `pid <... name resumed>` of one that has been counted
        let call = line
            .split_once(' ')
            .map_or("", |(_, call)| call.trim_start());
        if let Some((name, _)) = call.split_once('(').filter(|_| !call.starts_with('<')) {
            *calls.entry(name.to_string()).or_default() += 1;
        }
    }
    calls
}

/// The calls of an idle process with 100 watchers for so long, and how many whole seconds that was; none
/// where nothing can be traced.
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
    lines.read_line(&mut line).expect("it says so");
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
fn an_idle_process_with_watchers_makes_no_call_but_the_slow_timers() {
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
    // one wait a second; and the worker itself reads its input
    assert!(
        futex > 0 && futex <= seconds + 3,
        "{futex} futex calls in {seconds} s"
    );
    assert!(calls.get("read").copied().unwrap_or(0) <= 2, "{calls:?}");
    fs::remove_dir_all(store).expect("removed");
}

/// While leases end with other processes each of those is asked for now and then, however many leases
/// it has: a process with thousands of locks cost every other one as many calls, and the writer too.
#[test]
fn a_process_is_asked_for_once_and_not_once_for_each_of_its_leases() {
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
    let asked = calls.get("fcntl").copied().unwrap_or(0);
    // 400 ms apart
    assert!(
        asked > 0 && asked <= 3 * (seconds + 1),
        "asked {asked} times in {seconds} s"
    );
    drop(leases);
    drop(db);
    fs::remove_dir_all(store).expect("removed");
}
