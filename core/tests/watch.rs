//! Watchers compared with the model: the batches of each, their order, and the end with
//! `compacted`. Also the cost of 10,000 watchers.
//!
//! The seed is printed. `SEED=` repeats a run, `HISTORIES=` sets the number of histories.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Wake, Waker};

use libkv::*;
use libkv_conformance::driver::{Rust, Settled, settled};
use libkv_conformance::model::{Model, WatchModel};
use libkv_conformance::script;
use libkv_test_support::deadline::{deadline, deadline_times};
use libkv_test_support::dice::Dice;
use libkv_test_support::{seed, setting};

const HISTORIES: u64 = 60;
const STEPS: u64 = 220;
const KEYS: [&str; 7] = ["a", "b", "c", "aa", "ab", "\\ff", "\\00"];

/// How a watcher is created. All combinations are used in turn.
#[derive(Clone, Copy)]
struct Kind {
    range: u64,
    start: u64,
    filter: u64,
    prev_kv: bool,
}

const RANGES: u64 = 6;
const STARTS: u64 = 6;
const KINDS: u64 = RANGES * STARTS * 4 * 2;

impl Kind {
    fn number(n: u64) -> Kind {
        let (range, n) = (n % RANGES, n / RANGES);
        let (start, n) = (n % STARTS, n / STARTS);
        Kind {
            range,
            start,
            filter: n % 4,
            prev_kv: n / 4 % 2 == 1,
        }
    }

    fn watch(self, dice: &mut Dice, model: &Model) -> Watch {
        let (revision, compacted) = model.revisions();
        let range = match self.range {
            0 => KeyRange::key(["a", "b", "aa"][dice.below(3) as usize]),
            1 => KeyRange::between("a", "b"),
            2 => KeyRange::from_key("ab"),
            3 => KeyRange::all(),
            4 => KeyRange::prefix("a"),
            // an empty key means \0
            _ => KeyRange::key(""),
        };
        let below =
            |dice: &mut Dice, most: Revision| 1 + dice.below(most.max(1) as u64) as Revision;
        let start = match self.start {
            0 => 0,
            1 => compacted.max(1) + dice.below((revision - compacted).max(1) as u64) as Revision,
            2 => compacted.max(1),
            3 => compacted - below(dice, 3),
            4 => revision + below(dice, 8),
            _ => revision,
        };
        Watch::new(range)
            .start_revision(start)
            .prev_kv(self.prev_kv)
            .no_put(self.filter & 1 != 0)
            .no_delete(self.filter & 2 != 0)
    }
}

/// The last result of reading a watcher.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum LastRead {
    /// It was not read yet, and started at the current revision.
    Nothing,
    /// It was not read yet, and started in the past.
    NothingOfPast,
    Batch,
    Idle,
}

/// Whether the watcher must end with `compacted`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum MustEnd {
    No,
    /// Depends on what the process has read ahead.
    Perhaps,
    Yes,
}

struct Follower {
    name: String,
    watch: Watch,
    watcher: Watcher,
    model: WatchModel,
    seen: LastRead,
    must_end: MustEnd,
    /// The possible compacted revisions at the time when the next batch was read.
    compacted: Vec<Revision>,
    /// It is read once in this number of steps; 0: only at the end.
    every: u64,
}

struct Run {
    engine: Rust,
    model: Model,
    dice: Dice,
    followers: Vec<Follower>,
    made: u64,
    reached: BTreeMap<&'static str, u64>,
}

impl Run {
    fn reach(&mut self, what: &'static str) {
        *self.reached.entry(what).or_default() += 1;
    }

    fn both(&mut self, line: &str) -> bool {
        let step = script::parse(line).expect("a step");
        let (is, should) = (self.engine.run(&step), self.model.run(&step));
        assert_eq!(is, should, "{line}");
        !is.starts_with("error")
    }

    fn key(&mut self) -> &'static str {
        // two keys are used often
        let most = if self.dice.one_in(2) {
            2
        } else {
            KEYS.len() as u64
        };
        KEYS[self.dice.below(most) as usize]
    }

    fn write(&mut self) {
        let (key, other, value) = (self.key(), self.key(), self.dice.below(1_000));
        let line = match self.dice.below(12) {
            0..5 => format!("put {key} v{value}"),
            5 => format!("put {key} *{}", 1_000 + value * 5),
            6 => format!("put {key} v{value} lease=1"),
            7 => format!("delete {key}"),
            8 => format!("delete {key},{other}"),
            // two events of a key in one revision
            9 => {
                format!(
                    "txn then txn then put {key} {value} ; else end ; txn then delete {key} ; else end ; else end"
                )
            }
            10 if key != other => {
                format!("txn then put {key} t{value} ; put {other} t{value} ; else end")
            }
            10 => format!("txn then put {key} t{value} ; else end"),
            _ => {
                self.both("lease_revoke 1");
                "lease_grant 60 id=1".into()
            }
        };
        self.both(&line);
    }

    fn make(&mut self, kind: Kind) {
        let watch = kind.watch(&mut self.dice, &self.model);
        let (is, should) = (
            self.engine.db().watch(watch.clone()),
            self.model.watcher(&watch),
        );
        let (revision, compacted) = self.model.revisions();
        match (is, should) {
            (Ok(watcher), Ok(model)) => {
                let every = [1, 3, 20, 100, 0][self.dice.below(5) as usize];
                let past = watch.start_revision != 0 && watch.start_revision <= revision;
                let seen = if past {
                    LastRead::NothingOfPast
                } else {
                    LastRead::Nothing
                };
                let name = format!(
                    "watcher {} ({watch:?}, created at {revision}, {compacted})",
                    self.made
                );
                self.made += 1;
                let compacted = vec![compacted];
                let must_end = MustEnd::No;
                self.followers.push(Follower {
                    name,
                    watch,
                    watcher,
                    model,
                    seen,
                    must_end,
                    compacted,
                    every,
                });
            }
            (Err(is), Err(should)) => {
                assert_eq!(
                    (is.code(), is.revision()),
                    (should.code(), Some(compacted.max(0))),
                    "{watch:?}"
                );
                self.reach("refused as compacted");
            }
            (is, should) => {
                panic!("{watch:?} at {revision}, {compacted}: {is:?}, should be {should:?}")
            }
        }
    }

    /// Waits until this process has examined every event.
    fn settle(&mut self) {
        // a watcher that starts later would be idle at once
        let last = self.model.revisions().0;
        let probe = self
            .engine
            .db()
            .watch(Watch::new("probe").start_revision(last))
            .expect("a watcher");
        let settled = settled(self.engine.db(), &probe).expect("the watcher continues");
        assert!(matches!(settled, Settled::Idle(_)), "no events of this key");
    }

    fn compact(&mut self) {
        let (revision, compacted) = self.model.revisions();
        let to = compacted.max(0)
            + self.dice.below((revision - compacted.max(0) + 1) as u64) as Revision;
        let looked = self.dice.one_in(2);
        if looked {
            self.settle();
        }
        let would_miss = |follower: &Follower| {
            self.model
                .pending_at(&follower.model, compacted)
                .is_some_and(|batch| batch.revision < to)
        };
        let before: Vec<_> = self.followers.iter().map(would_miss).collect();
        let physical = if self.dice.one_in(2) { " physical" } else { "" };
        if !self.both(&format!("compact {to}{physical}")) {
            return;
        }
        for (follower, misses) in self.followers.iter_mut().zip(before) {
            follower.compacted.push(to);
            let must_end = match follower.seen {
                // no event can have been read ahead
                LastRead::Nothing | LastRead::NothingOfPast | LastRead::Idle if misses => {
                    MustEnd::Yes
                }
                LastRead::Nothing | LastRead::Idle if looked => MustEnd::No,
                _ => MustEnd::Perhaps,
            };
            follower.must_end = follower.must_end.max(must_end);
        }
    }

    /// Reads one batch. Returns true if there may be more.
    fn read(&mut self, at: usize) -> bool {
        let result = settled(self.engine.db(), &self.followers[at].watcher);
        let (revision, compacted) = self.model.revisions();
        let model = &self.model;
        let follower = &mut self.followers[at];
        let name = &follower.name;
        let what = match result {
            Ok(Settled::Batch(batch)) => {
                assert!(
                    follower.must_end < MustEnd::Yes,
                    "{name} delivers {batch:?} instead of compacted"
                );
                let should: Vec<_> = follower
                    .compacted
                    .iter()
                    .map(|at| model.pending_at(&follower.model, *at))
                    .collect();
                let fits = should.iter().flatten().any(|should| *should == batch);
                assert!(
                    fits,
                    "{name}\n  delivers  {batch:?}\n  should be {should:?}"
                );
                follower.model.move_to(batch.revision + 1);
                follower.seen = LastRead::Batch;
                match follower.must_end {
                    MustEnd::Perhaps => "read ahead of a compaction",
                    _ if batch.events.iter().any(|event| event.prev_kv.is_some()) => {
                        "batch with a previous pair"
                    }
                    _ => "batch",
                }
            }
            Ok(Settled::Idle(resume)) => {
                assert!(
                    follower.must_end < MustEnd::Yes,
                    "{name} is idle instead of compacted"
                );
                let pending = model.pending(&follower.model);
                assert!(
                    pending.is_none(),
                    "{name} is idle and should deliver {pending:?}"
                );
                let start = follower.watch.start_revision;
                assert_eq!(
                    resume,
                    (revision + 1).max(start),
                    "{name}: the revision to resume from"
                );
                // a watcher that starts later is idle, however far this process has read
                if follower.model.position() <= revision {
                    (follower.seen, follower.must_end) = (LastRead::Idle, MustEnd::No);
                    follower.compacted = vec![compacted];
                }
                follower.model.move_to(revision + 1);
                "idle"
            }
            Ok(Settled::Never) => panic!("{name} neither delivers nor is idle"),
            Err(error) => {
                assert_eq!(
                    (error.code(), error.revision()),
                    (Code::Compacted, Some(compacted)),
                    "{name}: {error}"
                );
                assert!(
                    follower.must_end > MustEnd::No,
                    "{name} must not end: {error}"
                );
                let again = follower.watcher.try_next().expect_err("ended");
                assert_eq!(
                    (again.code(), again.revision()),
                    (error.code(), error.revision()),
                    "{name}"
                );
                let what = match follower.must_end {
                    MustEnd::Yes => "compacted, as required",
                    _ => "compacted, as allowed",
                };
                self.followers.swap_remove(at);
                self.reach(what);
                return false;
            }
        };
        self.reach(what);
        !what.starts_with("idle")
    }

    /// Ends a watcher and creates one that resumes at its resume revision.
    fn resume(&mut self, at: usize) {
        let (revision, compacted) = self.model.revisions();
        let follower = self.followers.swap_remove(at);
        let resume = follower.watcher.resume_revision();
        let first = self
            .model
            .pending(&follower.model)
            .map_or(revision + 1, |batch| batch.revision);
        let upto = first.max(follower.model.position());
        if follower.must_end == MustEnd::No {
            assert!(
                (follower.model.position()..=upto).contains(&resume),
                "{}: resumes from {resume}",
                follower.name
            );
        }
        follower.watcher.cancel();
        assert_eq!(
            follower.watcher.try_next().expect_err("cancelled").code(),
            Code::Cancelled
        );
        let watch = follower.watch.start_revision(resume);
        let name = format!("{}, resumed from {resume}", follower.name);
        match (
            self.engine.db().watch(watch.clone()),
            self.model.watcher(&watch),
        ) {
            (Ok(watcher), Ok(model)) => {
                let seen = LastRead::NothingOfPast;
                let compacted = vec![compacted];
                let must_end = MustEnd::No;
                self.followers.push(Follower {
                    name,
                    watch,
                    watcher,
                    model,
                    seen,
                    must_end,
                    compacted,
                    ..follower
                });
                self.reach("resumed");
            }
            (Err(is), Err(should)) => {
                assert_eq!(is.code(), should.code(), "{name}");
                assert!(
                    follower.must_end > MustEnd::No,
                    "{name}: the watcher had not missed a revision"
                );
                self.reach("too late to resume");
            }
            (is, should) => panic!("{name}: {is:?}, should be {should:?}"),
        }
    }

    fn step(&mut self, step: u64, kinds: &mut impl Iterator<Item = u64>) {
        match self.dice.below(40) {
            0..24 => self.write(),
            24..34 if self.followers.len() < 60 => {
                self.make(Kind::number(kinds.next().expect("endless")))
            }
            34 if step > 20 => self.compact(),
            35 if !self.followers.is_empty() => {
                let at = self.dice.below(self.followers.len() as u64) as usize;
                self.resume(at);
            }
            36 if !self.followers.is_empty() => {
                let at = self.dice.below(self.followers.len() as u64) as usize;
                self.followers.swap_remove(at);
                self.reach("dropped unread");
            }
            _ => {}
        }
        for at in (0..self.followers.len()).rev() {
            let every = self.followers[at].every;
            if every != 0 && self.dice.one_in(every) {
                self.read(at);
            }
        }
    }
}

#[test]
fn watch_delivers_the_batches_of_the_model() {
    let seed = seed();
    let histories = setting("HISTORIES").unwrap_or(HISTORIES);
    let _deadline = deadline_times(1 + histories / HISTORIES);
    println!("HISTORIES={histories}");
    let mut drawn = BTreeSet::new();
    let mut reached: BTreeMap<&str, u64> = BTreeMap::new();
    // start with a random kind, then use each in turn
    let mut next_kind = Dice(seed).below(KINDS);
    let mut kinds = std::iter::from_fn(|| {
        next_kind = (next_kind + 1) % KINDS;
        drawn.insert(next_kind);
        Some(next_kind)
    });
    for history in 0..histories {
        let engine = Rust::open(":memory:", Options::new()).expect("a store in memory");
        let dice = Dice(seed.wrapping_add(history << 32));
        let (model, followers, made) = (Model::new(false), Vec::new(), 0);
        let mut run = Run {
            engine,
            model,
            dice,
            followers,
            made,
            reached: BTreeMap::new(),
        };
        run.both("lease_grant 60 id=1");
        for step in 0..STEPS {
            run.step(step, &mut kinds);
        }
        // read every watcher to its end
        while let Some(at) = run.followers.len().checked_sub(1) {
            while at < run.followers.len() && run.read(at) {}
            run.followers.truncate(at);
        }
        run.both("check");
        for (what, times) in run.reached {
            *reached.entry(what).or_default() += times;
        }
    }
    println!("{reached:?}");
    if histories < HISTORIES {
        return;
    }
    assert_eq!(
        drawn.len() as u64,
        KINDS,
        "every kind of watcher was created"
    );
    for what in [
        "batch",
        "batch with a previous pair",
        "idle",
        "compacted, as required",
        "compacted, as allowed",
        "refused as compacted",
        "resumed",
        "dropped unread",
    ] {
        assert!(
            reached.get(what).is_some_and(|times| *times >= 10),
            "reached too rarely: {what} ({reached:?})"
        );
    }
}

/// Counts its wake-ups.
#[derive(Default)]
struct Counter(AtomicU64);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Of 10,000 watchers an event wakes only those that match.
#[test]
fn watch_by_ten_thousand_wakes_those_that_match() {
    let _deadline = deadline();
    const MANY: u64 = 10_000;
    let db = Db::open(":memory:", Options::new()).expect("a store in memory");
    let woken: Vec<Arc<Counter>> = (0..MANY).map(|_| Arc::default()).collect();
    let watchers: Vec<Watcher> = (0..MANY)
        .map(|n| {
            // half watch single keys, half watch nested ranges
            let range = match n % 2 {
                0 => KeyRange::key(format!("k{n:05}")),
                _ => KeyRange::between(format!("r{n:05}"), "s"),
            };
            db.watch(Watch::new(range)).expect("a watcher")
        })
        .collect();
    for (watcher, woken) in watchers.iter().zip(&woken) {
        watcher.set_waker(Some(Waker::from(woken.clone())));
    }
    assert_eq!(db.status().expect("status").watchers, MANY);
    db.put(Put::new("k00042", "1")).expect("put");
    db.put(Put::new("r00007", "1")).expect("put");
    for (at, watcher) in watchers.iter().enumerate() {
        // 1, 3, 5 and 7 begin at or before r00007
        let expected = if at == 42 || (at % 2 == 1 && at <= 7) {
            1
        } else {
            0
        };
        let mut batches = 0;
        loop {
            match settled(&db, watcher).expect("the watcher continues") {
                Settled::Batch(_) => batches += 1,
                Settled::Idle(_) => break,
                Settled::Never => panic!("watcher {at} neither delivers nor is idle"),
            }
        }
        assert_eq!(batches, expected, "batches of watcher {at}");
        assert_eq!(
            woken[at].0.load(Ordering::SeqCst),
            expected,
            "watcher {at} was woken"
        );
    }
}

/// Runs a worker and returns its lines.
fn worker(args: &[&str], name: &str) -> Vec<String> {
    let store = PathBuf::from(std::env!("CARGO_TARGET_TMPDIR"))
        .join(format!("{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&store);
    let mut command = Command::new(std::env!("CARGO_BIN_EXE_worker"));
    let done = command
        .arg(args[0])
        .arg(&store)
        .args(&args[1..])
        .stdin(Stdio::null())
        .output()
        .expect("started");
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    let _ = std::fs::remove_dir_all(&store);
    String::from_utf8_lossy(&done.stdout)
        .lines()
        .map(str::to_string)
        .collect()
}

/// An idle watcher needs less than 1 KiB, and an unread watcher does not grow with the number of
/// events. Measured as private memory of a process.
#[test]
fn watch_by_ten_thousand_takes_little_memory() {
    let _deadline = deadline();
    let lines = worker(&["watchers"], "watchers");
    let numbers: Vec<u64> = lines
        .iter()
        .map(|line| line.parse().expect("a number of bytes"))
        .collect();
    let [idle, unread] = numbers[..] else {
        panic!("two numbers: {lines:?}")
    };
    println!(
        "{idle} bytes for each watcher, {unread} bytes more for one that is 2,000 events behind"
    );
    assert!(idle < 1_024, "an idle watcher needs {idle} bytes");
    assert!(unread < 1_024, "an unread watcher grows by {unread} bytes");
}

/// Progress is reported after the interval of each watcher; an event restarts the interval.
#[test]
fn watch_progress_has_an_interval_per_watcher() {
    let _deadline = deadline();
    let clock = Clock::new(1_000_000);
    let db = Db::open(":memory:", Options::new().clock(clock.clone())).expect("a store in memory");
    let watcher = db
        .watch(Watch::new("k").progress(true).progress_interval_ms(500))
        .expect("a watcher");
    let slow = db.watch(Watch::new("k").progress(true)).expect("a watcher");
    let progress = |revision| Some(WatchBatch::new(revision, Vec::new()));
    clock.advance(499);
    assert_eq!(watcher.try_next().expect("the watcher continues"), None);
    clock.advance(1);
    assert_eq!(
        watcher.try_next().expect("the watcher continues"),
        progress(1)
    );
    db.put(Put::new("k", "v")).expect("put");
    clock.advance(400);
    assert_eq!(
        watcher
            .try_next()
            .expect("the watcher continues")
            .map(|batch| batch.events.len()),
        Some(1)
    );
    clock.advance(400);
    assert_eq!(watcher.try_next().expect("the watcher continues"), None);
    clock.advance(100);
    assert_eq!(
        watcher.try_next().expect("the watcher continues"),
        progress(2)
    );
    assert_eq!(
        slow.try_next()
            .expect("the watcher continues")
            .map(|batch| batch.events.len()),
        Some(1)
    );
    clock.advance(600_000);
    assert_eq!(slow.try_next().expect("the watcher continues"), progress(2));
}

/// A watcher is caught up, at the store's revision, once it has delivered every event.
#[test]
fn watch_caught_up_is_the_last_complete_revision() {
    let _deadline = deadline();
    let db = Db::open(":memory:", Options::new()).expect("a store in memory");
    let watcher = db.watch(Watch::new("k")).expect("a watcher");
    assert_eq!(watcher.caught_up(), Some(1));
    for _ in 0..3 {
        db.put(Put::new("other", "v")).expect("put");
        // at once, even if the background thread has not matched the events yet
        assert_eq!(
            watcher.caught_up(),
            Some(db.status().expect("status").revision)
        );
    }
    db.txn(
        Txn::new()
            .and_then(Put::new("k", "1"))
            .and_then(Put::new("other", "1")),
    )
    .expect("txn");
    db.put(Put::new("k", "2")).expect("put");
    for revision in [5, 6] {
        assert_eq!(watcher.caught_up(), None);
        assert_eq!(
            watcher
                .try_next()
                .expect("the watcher continues")
                .map(|batch| batch.revision),
            Some(revision)
        );
    }
    assert_eq!(watcher.caught_up(), Some(6));
    let past = db
        .watch(Watch::new("k").start_revision(5))
        .expect("a watcher");
    assert_eq!(past.caught_up(), None);
    // two revisions were read together; the second was not delivered yet
    assert!(past.try_next().expect("the watcher continues").is_some());
    assert_eq!(past.caught_up(), None);
    let future = db
        .watch(Watch::new("k").start_revision(8))
        .expect("a watcher");
    assert_eq!(future.caught_up(), None);
    db.put(Put::new("other", "v")).expect("put");
    assert_eq!(future.caught_up(), Some(7));
    future.close();
    assert_eq!(future.caught_up(), None);
}

/// For callers that share a thread, a watcher scans a long past one piece at a time, and its waker
/// is called after each piece.
#[test]
fn watch_reads_a_long_past_in_pieces() {
    let _deadline = deadline();
    const TXNS: u64 = 700;
    let db = Db::open(":memory:", Options::new()).expect("a store in memory");
    for n in 0..TXNS {
        let txn = (0..100).fold(Txn::new(), |txn, at| {
            txn.and_then(Put::new(format!("o{at}"), format!("{n}")))
        });
        db.txn(txn).expect("txn");
    }
    db.put(Put::new("k", "v")).expect("put");
    let watcher = db
        .watch(Watch::new("k").start_revision(1))
        .expect("a watcher");
    let woken: Arc<Counter> = Arc::default();
    watcher.set_waker(Some(Waker::from(woken.clone())));
    let mut pieces = 0;
    let batch = loop {
        pieces += 1;
        assert_eq!(
            woken.0.load(Ordering::SeqCst),
            pieces,
            "a wake-up for each piece"
        );
        match watcher.try_next_briefly().expect("the watcher continues") {
            Some(batch) => break batch,
            None => assert!(pieces < 1_000),
        }
    };
    println!("{} events in {pieces} pieces", TXNS * 100);
    assert!(pieces > 2);
    assert_eq!(batch.revision, TXNS as Revision + 2);
    assert_eq!(
        watcher.try_next_briefly().expect("the watcher continues"),
        None
    );
    assert_eq!(woken.0.load(Ordering::SeqCst), pieces);
}
