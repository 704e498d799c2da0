//! Watchers against the model: what each receives, in which order, and when it learns that a
//! compaction has overtaken it. And how little many of them cost.
//!
//! The seed is printed; `SEED=` repeats it, `HISTORIES=` sets how many.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Wake, Waker};

use libkv::*;
use libkv_conformance::driver::{Rust, Settled, settled};
use libkv_conformance::model::{Model, Watching};
use libkv_conformance::script;
use libkv_test_support::deadline::{deadline, deadline_times};
use libkv_test_support::dice::Dice;
use libkv_test_support::{seed, setting};

const HISTORIES: u64 = 60;
const STEPS: u64 = 220;
const KEYS: [&str; 7] = ["a", "b", "c", "aa", "ab", "\\ff", "\\00"];

/// How a watcher begins, drawn in turn so that each way meets each other way.
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
            // taken as \0
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

/// What was seen of a watcher last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Seen {
    /// It has not been read, and had nothing to look through when it was made.
    Nothing,
    /// It has not been read, and begins in the past.
    NothingOfPast,
    Batch,
    Idle,
}

/// Whether it must learn that a compaction has passed it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Overtaken {
    No,
    /// Depends on what has been read ahead, and on how far the process had looked.
    Perhaps,
    Yes,
}

struct Follower {
    name: String,
    watch: Watch,
    watcher: Watcher,
    model: Watching,
    seen: Seen,
    overtaken: Overtaken,
    /// The compacted revisions that what it delivers next may have been read under.
    compacted: Vec<Revision>,
    /// It is read once in this number of steps; 0 is not before the end.
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
        // two are hot
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
            // the same key twice in a revision
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
            self.model.watching(&watch),
        );
        let (revision, compacted) = self.model.revisions();
        match (is, should) {
            (Ok(watcher), Ok(model)) => {
                let every = [1, 3, 20, 100, 0][self.dice.below(5) as usize];
                let past = watch.start_revision != 0 && watch.start_revision <= revision;
                let seen = if past {
                    Seen::NothingOfPast
                } else {
                    Seen::Nothing
                };
                let name = format!(
                    "watcher {} ({watch:?}, made at {revision}, {compacted})",
                    self.made
                );
                self.made += 1;
                let compacted = vec![compacted];
                let overtaken = Overtaken::No;
                self.followers.push(Follower {
                    name,
                    watch,
                    watcher,
                    model,
                    seen,
                    overtaken,
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

    /// Waits until this process has looked at everything that was written.
    fn settle(&mut self) {
        // one that begins later would be idle at once
        let last = self.model.revisions().0;
        let probe = self
            .engine
            .db()
            .watch(Watch::new("probe").start_revision(last))
            .expect("a watcher");
        let settled = settled(self.engine.db(), &probe).expect("it goes on");
        assert!(
            matches!(settled, Settled::Idle(_)),
            "no step writes this key"
        );
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
            let verdict = match follower.seen {
                // nothing can have been read ahead
                Seen::Nothing | Seen::NothingOfPast | Seen::Idle if misses => Overtaken::Yes,
                Seen::Nothing | Seen::Idle if looked => Overtaken::No,
                _ => Overtaken::Perhaps,
            };
            follower.overtaken = follower.overtaken.max(verdict);
        }
    }

    /// Reads one batch; true if there may be more.
    fn read(&mut self, at: usize) -> bool {
        let result = settled(self.engine.db(), &self.followers[at].watcher);
        let (revision, compacted) = self.model.revisions();
        let model = &self.model;
        let follower = &mut self.followers[at];
        let name = &follower.name;
        let what = match result {
            Ok(Settled::Batch(batch)) => {
                assert!(
                    follower.overtaken < Overtaken::Yes,
                    "{name} has missed something, and delivers {batch:?}"
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
                follower.seen = Seen::Batch;
                match follower.overtaken {
                    Overtaken::Perhaps => "read ahead of a compaction",
                    _ if batch.events.iter().any(|event| event.prev_kv.is_some()) => {
                        "batch with a pair before"
                    }
                    _ => "batch",
                }
            }
            Ok(Settled::Idle(resume)) => {
                assert!(
                    follower.overtaken < Overtaken::Yes,
                    "{name} has missed something, and is idle"
                );
                let pending = model.pending(&follower.model);
                assert!(
                    pending.is_none(),
                    "{name} is idle and should deliver {pending:?}"
                );
                let start = follower.watch.start_revision;
                assert_eq!(resume, (revision + 1).max(start), "{name}: where to go on");
                // one that begins later is idle however far this process has looked
                if follower.model.position() <= revision {
                    (follower.seen, follower.overtaken) = (Seen::Idle, Overtaken::No);
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
                    follower.overtaken > Overtaken::No,
                    "{name} was not overtaken: {error}"
                );
                let again = follower.watcher.try_next().expect_err("it is at its end");
                assert_eq!(
                    (again.code(), again.revision()),
                    (error.code(), error.revision()),
                    "{name}"
                );
                let what = match follower.overtaken {
                    Overtaken::Yes => "overtaken, and told so",
                    _ => "perhaps overtaken, and told so",
                };
                self.followers.swap_remove(at);
                self.reach(what);
                return false;
            }
        };
        self.reach(what);
        !what.starts_with("idle")
    }

    /// Ends a watcher and makes one that goes on where it says.
    fn resume(&mut self, at: usize) {
        let (revision, compacted) = self.model.revisions();
        let follower = self.followers.swap_remove(at);
        let resume = follower.watcher.resume_revision();
        let first = self
            .model
            .pending(&follower.model)
            .map_or(revision + 1, |batch| batch.revision);
        let upto = first.max(follower.model.position());
        if follower.overtaken == Overtaken::No {
            assert!(
                (follower.model.position()..=upto).contains(&resume),
                "{}: goes on from {resume}",
                follower.name
            );
        }
        follower.watcher.cancel();
        assert_eq!(
            follower
                .watcher
                .try_next()
                .expect_err("it is cancelled")
                .code(),
            Code::Cancelled
        );
        let watch = follower.watch.start_revision(resume);
        let name = format!("{}, resumed from {resume}", follower.name);
        match (
            self.engine.db().watch(watch.clone()),
            self.model.watching(&watch),
        ) {
            (Ok(watcher), Ok(model)) => {
                let seen = Seen::NothingOfPast;
                let compacted = vec![compacted];
                let overtaken = Overtaken::No;
                self.followers.push(Follower {
                    name,
                    watch,
                    watcher,
                    model,
                    seen,
                    overtaken,
                    compacted,
                    ..follower
                });
                self.reach("resumed");
            }
            (Err(is), Err(should)) => {
                assert_eq!(is.code(), should.code(), "{name}");
                assert!(
                    follower.overtaken > Overtaken::No,
                    "{name}: nothing was lost before"
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
                self.make(Kind::number(kinds.next().expect("it has no end")))
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
fn watch_delivers_what_the_model_says() {
    let seed = seed();
    let histories = setting("HISTORIES").unwrap_or(HISTORIES);
    let _deadline = deadline_times(1 + histories / HISTORIES);
    println!("HISTORIES={histories}");
    let mut drawn = BTreeSet::new();
    let mut reached: BTreeMap<&str, u64> = BTreeMap::new();
    // from anywhere, then each in turn
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
        // those that were not read till now too
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
    assert_eq!(drawn.len() as u64, KINDS, "every kind of watcher was made");
    for what in [
        "batch",
        "batch with a pair before",
        "idle",
        "overtaken, and told so",
        "perhaps overtaken, and told so",
        "refused as compacted",
        "resumed",
        "dropped unread",
    ] {
        assert!(
            reached.get(what).is_some_and(|times| *times >= 10),
            "hardly reached: {what} ({reached:?})"
        );
    }
}

/// Counts how often it is woken.
#[derive(Default)]
struct Counter(AtomicU64);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Of 10,000 watchers only those that an event concerns are woken by it.
#[test]
fn watch_by_ten_thousand_wakes_those_that_match() {
    let _deadline = deadline();
    const MANY: u64 = 10_000;
    let db = Db::open(":memory:", Options::new()).expect("a store in memory");
    let woken: Vec<Arc<Counter>> = (0..MANY).map(|_| Arc::default()).collect();
    let watchers: Vec<Watcher> = (0..MANY)
        .map(|n| {
            // half of them single keys, half of them ranges that lie one in the other
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
            match settled(&db, watcher).expect("it goes on") {
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
        .expect("it starts");
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

/// An idle watcher takes less than 1 KiB, and one that never reads does not grow with what is
/// written: measured as a process's private memory.
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
    println!("{idle} bytes a watcher, {unread} bytes more a watcher that is 2,000 events behind");
    assert!(idle < 1_024, "an idle watcher takes {idle} bytes");
    assert!(
        unread < 1_024,
        "a watcher that is not read grows by {unread} bytes"
    );
}

/// Progress is reported after the watcher's own interval, and an event starts the interval again.
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
    assert_eq!(watcher.try_next().expect("it goes on"), None);
    clock.advance(1);
    assert_eq!(watcher.try_next().expect("it goes on"), progress(1));
    db.put(Put::new("k", "v")).expect("put");
    clock.advance(400);
    assert_eq!(
        watcher
            .try_next()
            .expect("it goes on")
            .map(|batch| batch.events.len()),
        Some(1)
    );
    clock.advance(400);
    assert_eq!(watcher.try_next().expect("it goes on"), None);
    clock.advance(100);
    assert_eq!(watcher.try_next().expect("it goes on"), progress(2));
    assert_eq!(
        slow.try_next()
            .expect("it goes on")
            .map(|batch| batch.events.len()),
        Some(1)
    );
    clock.advance(600_000);
    assert_eq!(slow.try_next().expect("it goes on"), progress(2));
}

/// A watcher is caught up once it has handed out everything, not before, and with the store's
/// revision.
#[test]
fn watch_caught_up_is_the_last_complete_revision() {
    let _deadline = deadline();
    let db = Db::open(":memory:", Options::new()).expect("a store in memory");
    let watcher = db.watch(Watch::new("k")).expect("a watcher");
    assert_eq!(watcher.caught_up(), Some(1));
    for _ in 0..3 {
        db.put(Put::new("other", "v")).expect("put");
        // at once, whether the thread that matches events has run or not
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
                .expect("it goes on")
                .map(|batch| batch.revision),
            Some(revision)
        );
    }
    assert_eq!(watcher.caught_up(), Some(6));
    let past = db
        .watch(Watch::new("k").start_revision(5))
        .expect("a watcher");
    assert_eq!(past.caught_up(), None);
    // the second of two revisions that are read together is not taken yet
    assert!(past.try_next().expect("it goes on").is_some());
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

/// Who shares a thread looks through a long past a piece at a time, and is called again until it is
/// done.
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
            "it is woken for each piece"
        );
        match watcher.try_next_briefly().expect("it goes on") {
            Some(batch) => break batch,
            None => assert!(pieces < 1_000),
        }
    };
    println!("{} events in {pieces} pieces", TXNS * 100);
    assert!(pieces > 2);
    assert_eq!(batch.revision, TXNS as Revision + 2);
    assert_eq!(watcher.try_next_briefly().expect("it goes on"), None);
    assert_eq!(woken.0.load(Ordering::SeqCst), pieces);
}
