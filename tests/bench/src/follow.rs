//! Rows of watching: the cost of replaying a log, the delay of an event to another process, and the
//! cost for a writer of watchers in another process.

use std::hint::black_box;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use libkv::{Db, Durability, KeyRange, Options, Put, Watch};

use crate::bench::{Bench, ROUNDS, Random, VALUE, key, put_group};
use crate::report::{Row, time};

/// Nanoseconds on a clock that all processes share.
fn now_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the structure is a local variable.
    #[allow(unsafe_code)]
    unsafe {
        libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time);
    }
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn open(path: &Path) -> Db {
    Db::open(path, Options::new().durability(Durability::None)).expect("open")
}

/// Another process that watches. It prints a line for each event.
struct Other {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Other {
    fn start(how: &str, store: &Path, number: usize) -> Other {
        let program = std::env::current_exe().expect("this program");
        let mut child = Command::new(program)
            .args(["--follow", how])
            .arg(store)
            .arg(number.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        assert_eq!(line(&mut output), "ready");
        Other { child, output }
    }
}

fn line(output: &mut impl BufRead) -> String {
    let mut line = String::new();
    output
        .read_line(&mut line)
        .expect("a line of the other process");
    line.trim().to_string()
}

impl Drop for Other {
    fn drop(&mut self) {
        // it ends when its input is closed
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// The main function of the other process: `--follow HOW STORE NUMBER`.
pub fn other_process(how: &str, store: &Path, number: usize) {
    let db = open(store);
    match how {
        "watch" => {
            let watcher = db.watch(Watch::new("tick")).expect("watching");
            println!("ready");
            for _ in 0..number {
                let batch = watcher.next(None).expect("a batch");
                println!("{} {}", batch.map_or(0, |batch| batch.revision), now_ns());
            }
        }
        "poll" => {
            let mut last = db.get("tick").expect("get").map_or(0, |kv| kv.mod_revision);
            println!("ready");
            for _ in 0..number {
                let revision = loop {
                    let now = db.get("tick").expect("get").map_or(0, |kv| kv.mod_revision);
                    if now > last {
                        break now;
                    }
                    std::thread::sleep(Duration::from_millis(1));
                };
                last = revision;
                println!("{revision} {}", now_ns());
            }
        }
        _ => {
            let watch = |n: usize| {
                db.watch(Watch::new(KeyRange::key(format!("unused/{n}"))))
                    .expect("watching")
            };
            let watchers: Vec<_> = (0..number).map(watch).collect();
            println!("ready");
            let _ = std::io::stdin().read_line(&mut String::new());
            drop(watchers);
        }
    }
    std::io::stdout().flush().expect("output");
}

impl Bench {
    pub fn following(&self, rows: &mut Vec<Row>) {
        if self.selects(&["watch_replay"]) {
            self.replay(rows);
        }
        if self.selects(&["watch_latency"]) {
            self.latency(rows);
        }
        if self.selects(&["put_watched"]) {
            self.watched(rows);
        }
    }

    fn replay(&self, rows: &mut Vec<Row>) {
        let events = 200_000 * self.scale;
        let (db, mut raw) = self.pair("replay", Durability::None);
        for from in (0..events).step_by(10_000) {
            (from..from + 10_000).for_each(|n| {
                db.put(Put::new(key(n).as_slice(), VALUE)).expect("put");
            });
            raw.write((from..from + 10_000).map(key), &VALUE);
        }
        let row = Row::new(
            "watch_replay",
            "cursor, pairs copied into Vecs",
            1.15,
            events,
            100,
        )
        .note("per event, one a revision; both drop their results");
        rows.push(row.rounds(
            ROUNDS,
            || {
                time(|| {
                    let watcher = db
                        .watch(Watch::new(KeyRange::all()).start_revision(1))
                        .expect("watching");
                    let mut seen = 0;
                    while seen < events {
                        let batch =
                            black_box(watcher.next(None).expect("a batch")).expect("events");
                        seen += batch.events.len() as u64;
                    }
                })
            },
            || {
                time(|| {
                    // dropped a page at a time, as in libkv
                    let mut copied: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
                    raw.walk(&[0], usize::MAX, |key, value| {
                        copied.push((key.to_vec(), value.to_vec()));
                        if copied.len() == 1_000 {
                            black_box(&copied);
                            copied.clear();
                        }
                    });
                })
            },
        ));
    }

    fn latency(&self, rows: &mut Vec<Row>) {
        let n = 500 * self.scale as usize;
        let path = self.path("latency.kv");
        let db = open(&path);
        let mut all: [Vec<u64>; 2] = Default::default();
        let mut row = Row::new(
            "watch_latency",
            "a get each millisecond",
            0.1,
            n as u64,
            100,
        );
        for _ in 0..ROUNDS {
            let mut medians = [0.0; 2];
            for (at, how) in ["watch", "poll"].into_iter().enumerate() {
                let mut other = Other::start(how, &path, n);
                let mut delays: Vec<u64> = (0..n).map(|n| one_delay(&db, &mut other, n)).collect();
                delays.sort_unstable();
                medians[at] = delays[n / 2] as f64;
                all[at].extend(delays);
            }
            row.add(medians[0], medians[1]);
        }
        for delays in &mut all {
            delays.sort_unstable();
        }
        let p99 = |delays: &Vec<u64>| delays[delays.len() * 99 / 100] / 1_000;
        let note = format!(
            "from before the put until the other process has the event; 99th percentile {} µs against {} µs",
            p99(&all[0]),
            p99(&all[1])
        );
        row = row.note(note);
        row.print();
        rows.push(row);
    }

    /// Puts with watchers of other keys in another process, compared with puts without watchers.
    fn watched(&self, rows: &mut Vec<Row>) {
        const KEYS: u64 = 10_000;
        let n = 10_000 * self.scale;
        for number in [1, 100, 10_000] {
            let paths = [
                self.path(&format!("watched-{number}.kv")),
                self.path(&format!("alone-{number}.kv")),
            ];
            let dbs = paths.each_ref().map(|path| open(path));
            let _other = Other::start("stay", &paths[0], number);
            let mut random = [Random(9), Random(9)];
            let mut puts = |which: usize| {
                let (db, random) = (&dbs[which], &mut random[which]);
                time(|| {
                    (0..n).for_each(|_| put_group(db, std::iter::once(key(random.below(KEYS)))))
                })
            };
            let puts = std::cell::RefCell::new(&mut puts);
            let row = Row::new(
                &format!("put_watched_{number}"),
                "a put without watchers",
                1.5,
                n,
                100,
            )
            .note(format!(
                "{number} watchers of other keys in another process; no sync"
            ));
            rows.push(row.rounds(ROUNDS, || (puts.borrow_mut())(0), || (puts.borrow_mut())(1)));
        }
    }
}

/// The time from before a put until the other process has its event. A short varying pause before
/// the put makes it happen at any point of a polling interval.
fn one_delay(db: &Db, other: &mut Other, n: usize) -> u64 {
    std::thread::sleep(Duration::from_micros(200 + (n as u64 * 7_919) % 1_000));
    let began = now_ns();
    let revision = db.put(Put::new("tick", VALUE)).expect("put").revision;
    let output = line(&mut other.output);
    let (seen, at) = output.split_once(' ').expect("a revision and a time");
    assert_eq!(seen, revision.to_string());
    at.parse::<u64>().expect("a time").saturating_sub(began)
}
