//! The rows of the benchmark, and their common parts.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Duration;

use libkv::{Compact, Db, Durability, KeyRange, Options, Put, Range, Txn};

use crate::raw::{Raw, Sync};
use crate::report::{Row, time};

pub const ROUNDS: usize = 7;
pub const VALUE: [u8; 100] = [b'v'; 100];

/// The key of a number: 16 bytes in hashed order.
pub fn key(number: u64) -> [u8; 16] {
    let mut x = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^= x >> 31;
    let mut key = [0; 16];
    key[..8].copy_from_slice(&x.to_be_bytes());
    key[8..].copy_from_slice(&number.to_be_bytes());
    key
}

/// Pseudo-random numbers, the same in each run.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

pub struct Bench {
    pub dir: PathBuf,
    pub scale: u64,
    only: Vec<String>,
}

pub fn load(db: &Db, keys: u64, value: &[u8]) {
    let mut number = 0;
    while number < keys {
        let upto = (number + 10_000).min(keys);
        let puts = (number..upto).map(|n| Put::new(key(n).as_slice(), value));
        db.txn(Txn::new().and_then_all(puts))
            .expect("a txn of puts");
        number = upto;
    }
}

pub fn load_raw(raw: &Raw, keys: u64, value: &[u8]) {
    for from in (0..keys).step_by(10_000) {
        raw.write((from..(from + 10_000).min(keys)).map(key), value);
    }
}

impl Bench {
    pub fn new() -> Bench {
        let target = std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| PathBuf::from("target"), PathBuf::from);
        let dir = target.join("bench");
        let bench = Bench {
            dir,
            scale: std::env::var("BENCH_SCALE")
                .ok()
                .and_then(|s| s.parse().ok())
                .unwrap_or(1)
                .max(1),
            only: std::env::args().skip(1).collect(),
        };
        bench.clean();
        std::fs::create_dir_all(bench.dir.join("stores")).expect("the scratch folder is writable");
        bench
    }

    pub fn clean(&self) {
        let _ = std::fs::remove_dir_all(self.dir.join("stores"));
    }

    pub fn selects(&self, names: &[&str]) -> bool {
        self.only.is_empty()
            || names
                .iter()
                .any(|name| self.only.iter().any(|only| name.starts_with(only)))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join("stores").join(name)
    }

    pub fn pair(&self, name: &str, durability: Durability) -> (Db, Raw) {
        let db = Db::open(
            self.path(&format!("{name}.kv")),
            Options::new().durability(durability),
        )
        .expect("open");
        let sync = if durability == Durability::None {
            Sync::None
        } else {
            Sync::Full
        };
        (db, Raw::open(&self.path(&format!("{name}.raw")), sync))
    }

    pub fn reads(&self, rows: &mut Vec<Row>) {
        const KEYS: u64 = 1_000_000;
        if !self.selects(&[
            "get_random",
            "get_hot",
            "get_owned",
            "range_100",
            "range_100k",
            "count_prefix",
        ]) {
            return;
        }
        let (db, mut raw) = self.pair("reads", Durability::None);
        load(&db, KEYS, &VALUE);
        load_raw(&raw, KEYS, &VALUE);
        for (name, keys, reach) in [("get_random", KEYS, 1.25), ("get_hot", 10_000, 1.35)] {
            let n = 200_000 * self.scale;
            let (mut ours, mut theirs) = (Random(1), Random(1));
            let mut buffer = [0; 128];
            let mut their_buffer = [0; 128];
            let row = Row::new(name, "mdb_get in a renewed transaction", reach, n, 100);
            rows.push(row.rounds(
                ROUNDS,
                || {
                    time(|| {
                        for _ in 0..n {
                            let len = db
                                .get_into(key(ours.below(keys)), &mut buffer)
                                .expect("get_into");
                            assert_eq!(black_box(len), Some(100));
                        }
                    })
                },
                || {
                    time(|| {
                        for _ in 0..n {
                            let len = raw.get_into(&key(theirs.below(keys)), &mut their_buffer);
                            assert_eq!(black_box(len), Some(100));
                        }
                    })
                },
            ));
        }
        self.ranges(rows, &db, &mut raw);
    }

    pub fn ranges(&self, rows: &mut Vec<Row>, db: &Db, raw: &mut Raw) {
        const KEYS: usize = 1_000_000;
        let mut sorted: Vec<[u8; 16]> = (0..KEYS as u64).map(key).collect();
        sorted.sort_unstable();
        for (name, pairs, times) in [("range_100", 100, 2_000), ("range_100k", 100_000, 4)] {
            let times = times * self.scale;
            let (mut ours, mut theirs) = (Random(2), Random(2));
            let row = Row::new(
                name,
                "cursor, pairs copied into Vecs",
                1.6,
                times * pairs as u64,
                100,
            )
            .note("per pair; both drop their results");
            rows.push(row.rounds(
                ROUNDS,
                || {
                    time(|| {
                        for _ in 0..times {
                            let at = ours.below((KEYS - pairs) as u64 - 1) as usize;
                            let range = KeyRange::between(
                                sorted[at].as_slice(),
                                sorted[at + pairs].as_slice(),
                            );
                            let response = db.range(Range::new(range)).expect("range");
                            assert_eq!(black_box(response).kvs.len(), pairs);
                        }
                    })
                },
                || {
                    time(|| {
                        for _ in 0..times {
                            let at = theirs.below((KEYS - pairs) as u64 - 1) as usize;
                            let mut copied: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
                            raw.walk(&sorted[at], pairs, |key, value| {
                                copied.push((key.to_vec(), value.to_vec()))
                            });
                            assert_eq!(black_box(copied).len(), pairs);
                        }
                    })
                },
            ));
        }
        let times = 3 * self.scale;
        let row = Row::new(
            "count_prefix",
            "counting with a cursor",
            0.6,
            times * KEYS as u64,
            100,
        )
        .note("per key");
        rows.push(row.rounds(
            ROUNDS,
            || {
                time(|| {
                    for _ in 0..times {
                        // every key, as an interval: the whole store would be a single read of the
                        // tree
                        let range = KeyRange::between([0, 0].as_slice(), [0xff; 17].as_slice());
                        let count = db
                            .range(Range::new(range).count_only(true))
                            .expect("count")
                            .count;
                        assert_eq!(count as usize, KEYS);
                    }
                })
            },
            || {
                time(|| {
                    for _ in 0..times {
                        assert_eq!(raw.walk(&[0], usize::MAX, |_, _| ()), KEYS);
                    }
                })
            },
        ));
    }

    pub fn writes(&self, rows: &mut Vec<Row>) {
        const KEYS: u64 = 100_000;
        if self.selects(&["put_1_none", "put_100_none"]) {
            let (db, raw) = self.pair("none", Durability::None);
            load(&db, KEYS, &VALUE);
            load_raw(&raw, KEYS, &VALUE);
            for (name, group, reach) in [("put_1_none", 1, 1.6), ("put_100_none", 100, 1.35)] {
                let n = 10_000 * self.scale * if group == 1 { 1 } else { 4 };
                let (mut ours, mut theirs) = (Random(3), Random(3));
                let row = Row::new(name, "mdb_put, commits of the same size", reach, n, 100);
                rows.push(row.rounds(
                    ROUNDS,
                    || {
                        time(|| {
                            (0..n / group).for_each(|_| {
                                put_group(&db, (0..group as usize).map(|_| key(ours.below(KEYS))))
                            })
                        })
                    },
                    || {
                        time(|| {
                            (0..n / group).for_each(|_| {
                                raw.write((0..group).map(|_| key(theirs.below(KEYS))), &VALUE)
                            })
                        })
                    },
                ));
            }
        }
        if self.selects(&["put_1_sync", "put_64_sync"]) {
            let (db, raw) = self.pair("sync", Durability::Sync);
            load(&db, KEYS, &VALUE);
            load_raw(&raw, KEYS, &VALUE);
            for (name, threads, reach) in [("put_1_sync", 1, 1.3), ("put_64_sync", 64, 0.1)] {
                let each = if threads == 1 { 100 } else { 10 } * self.scale;
                let row = Row::new(
                    name,
                    "mdb_put, a durable commit each",
                    reach,
                    each * threads,
                    100,
                );
                rows.push(row.rounds(
                    ROUNDS,
                    || {
                        on_threads(threads, |thread| {
                            let mut random = Random(thread);
                            for _ in 0..each {
                                db.put(Put::new(key(random.below(KEYS)).as_slice(), VALUE))
                                    .expect("put");
                            }
                        })
                    },
                    || {
                        on_threads(threads, |thread| {
                            let mut random = Random(thread);
                            (0..each).for_each(|_| {
                                raw.write(std::iter::once(key(random.below(KEYS))), &VALUE)
                            });
                        })
                    },
                ));
            }
        }
    }

    pub fn history(&self, rows: &mut Vec<Row>) {
        if self.selects(&["get_behind_1000"]) {
            const KEYS: u64 = 200;
            let (db, mut raw) = self.pair("behind", Durability::None);
            load_raw(&raw, KEYS, &VALUE);
            for _ in 0..1_001 {
                load(&db, KEYS, &VALUE);
            }
            let first = db
                .get(key(0))
                .expect("get")
                .expect("the key exists")
                .create_revision;
            let n = 20_000 * self.scale;
            let (mut ours, mut theirs) = (Random(4), Random(4));
            let mut buffer = [0; 128];
            let row = Row::new(
                "get_behind_1000",
                "a hot mdb_get of the current value",
                60.0,
                n,
                100,
            );
            rows.push(row.rounds(
                ROUNDS,
                || {
                    time(|| {
                        for _ in 0..n {
                            let kv = db.get_at(key(ours.below(KEYS)), first).expect("get_at");
                            assert_eq!(black_box(kv).map(|kv| kv.version), Some(1));
                        }
                    })
                },
                || {
                    time(|| {
                        for _ in 0..n {
                            assert_eq!(
                                black_box(raw.get_into(&key(theirs.below(KEYS)), &mut buffer)),
                                Some(100)
                            );
                        }
                    })
                },
            ));
        }
        for (name, live) in [("compact_event", 50_000), ("compact_event_10x", 500_000)] {
            if self.selects(&[name]) {
                self.compaction(rows, name, live);
            }
        }
    }

    /// Each round overwrites random keys, then compacts. The reference deletes the same number of
    /// keys.
    pub fn compaction(&self, rows: &mut Vec<Row>, name: &'static str, live: u64) {
        let n = 50_000 * self.scale;
        let (db, raw) = self.pair(name, Durability::None);
        load(&db, live, &VALUE);
        load_raw(&raw, live, &VALUE);
        let (mut ours, mut theirs) = (Random(5), Random(5));
        let row = Row::new(
            name,
            "mdb_del of the same number, 4,000 a commit",
            0.9,
            n,
            100,
        )
        .note(format!(
            "{live} live keys; the writes between are not timed on either side"
        ));
        rows.push(row.rounds(
            ROUNDS,
            || {
                for _ in 0..n / 100 {
                    put_group(&db, (0..100).map(|_| key(ours.below(live))));
                }
                let current = db.status().expect("status").revision;
                time(|| {
                    assert_eq!(
                        db.compact(Compact::new(current).physical(true))
                            .expect("compact")
                            .revision,
                        current
                    )
                })
            },
            || {
                let victims: Vec<_> = (0..n)
                    .map(|n| key(live + n * 7 + theirs.below(7)))
                    .collect();
                raw.write(victims.iter().copied(), &VALUE);
                time(|| {
                    victims
                        .chunks(4_000)
                        .for_each(|chunk| raw.delete(chunk.iter().copied()))
                })
            },
        ));
    }

    pub fn opening(&self, rows: &mut Vec<Row>) {
        for (name, keys) in [("open_1m", 1_000_000), ("open_10k", 10_000)] {
            if !self.selects(&[name]) {
                continue;
            }
            let (db, raw) = self.pair(name, Durability::None);
            load(&db, keys, &VALUE);
            load_raw(&raw, keys, &VALUE);
            drop((db, raw));
            let row = Row::new(name, "raw open to first get", 2.0, 1, 100)
                .note(format!("{keys} keys; an open reads only what a get needs"));
            let mut buffer = [0; 128];
            let mut their_buffer = [0; 128];
            rows.push(row.rounds(
                4 * ROUNDS,
                || {
                    let mut opened = None;
                    let took = time(|| {
                        let db = Db::open(self.path(&format!("{name}.kv")), Options::new())
                            .expect("open");
                        assert_eq!(
                            db.get_into(key(7), &mut buffer).expect("get_into"),
                            Some(100)
                        );
                        opened = Some(db);
                    });
                    drop(opened);
                    took
                },
                || {
                    let mut opened = None;
                    let took = time(|| {
                        let mut raw = Raw::open(&self.path(&format!("{name}.raw")), Sync::None);
                        assert_eq!(raw.get_into(&key(7), &mut their_buffer), Some(100));
                        opened = Some(raw);
                    });
                    drop(opened);
                    took
                },
            ));
        }
    }

    pub fn sizes(&self, rows: &mut Vec<Row>) {
        for (name, keys, value, reach) in [
            ("file_small", 200_000, 100, 2.1),
            ("file_4k", 20_000, 4096, 1.05),
        ] {
            if !self.selects(&[name]) {
                continue;
            }
            let (db, raw) = self.pair(name, Durability::None);
            load(&db, keys, &vec![7; value]);
            load_raw(&raw, keys, &vec![7; value]);
            drop((db, raw));
            let size = |ending: &str| {
                let file = self.path(&format!("{name}.{ending}")).join("data.mdb");
                std::fs::metadata(file).expect("the data file").len()
            };
            let row =
                Row::new(name, "raw, the same pairs", reach, keys, value).note("bytes, not ns");
            rows.push(row.sizes(size("kv"), size("raw")));
        }
    }

    pub fn c_face(&self, rows: &mut Vec<Row>) {
        const KEYS: u64 = 10_000;
        if !self.selects(&["c_get"]) {
            return;
        }
        let library = self
            .dir
            .parent()
            .unwrap_or(Path::new("target"))
            .join("release/libkv.so");
        for name in ["c_get.kv", "c_get.c"] {
            let db = Db::open(self.path(name), Options::new().durability(Durability::None))
                .expect("open");
            load(&db, KEYS, &VALUE);
        }
        let Some(c) = crate::capi::C::open(&library, &self.path("c_get.c")) else {
            println!(
                "c_get NOT RUN: {} does not exist (make builds it)",
                library.display()
            );
            return;
        };
        let db = Db::open(self.path("c_get.kv"), Options::new()).expect("open");
        let n = 200_000 * self.scale;
        let (mut ours, mut theirs) = (Random(6), Random(6));
        let (mut buffer, mut their_buffer) = ([0; 128], [0; 128]);
        let row = Row::new("c_get", "get_into in Rust", 1.1, n, 100);
        rows.push(row.rounds(
            ROUNDS,
            || {
                time(|| {
                    (0..n).for_each(|_| {
                        assert_eq!(c.get_into(&key(ours.below(KEYS)), &mut buffer), 100)
                    })
                })
            },
            || {
                time(|| {
                    for _ in 0..n {
                        let len = db
                            .get_into(key(theirs.below(KEYS)), &mut their_buffer)
                            .expect("get_into");
                        assert_eq!(len, Some(100));
                    }
                })
            },
        ));
    }
}

impl Bench {
    /// Python and Node, compared with an LMDB binding of each language. `make bench` installs them.
    pub fn other_languages(&self, rows: &mut Vec<Row>) {
        let target = self.dir.parent().unwrap_or(Path::new("target"));
        let python = target.join("venv/bin/python").display().to_string();
        let lmdb_js = target
            .join("bench-peers/node_modules/lmdb")
            .display()
            .to_string();
        let lmdb_js =
            std::path::absolute(&lmdb_js).map_or(lmdb_js, |path| path.display().to_string());
        let peers: [(&[&str], &[&str], &[&str]); 2] = [
            (
                &["py_get", "py_range"],
                &[&python, "tests/bench/peers/bench.py"],
                &[],
            ),
            (
                &["node_get", "node_range", "node_put"],
                &["node", "tests/bench/peers/bench.js"],
                &[&lmdb_js],
            ),
        ];
        for (names, words, after) in peers {
            if !self.selects(names) {
                continue;
            }
            match crate::peers::rows(words, after, &self.dir.join("stores"), ROUNDS, self.scale) {
                Ok(measured) => rows.extend(measured),
                Err(why) => println!("{} NOT RUN: {why}", names.join(", ")),
            }
        }
    }
}

/// Puts all keys in one commit, as a user would: with a single put, or with a txn of puts. A txn
/// refuses repeated keys, so they are left out.
pub fn put_group(db: &Db, keys: impl ExactSizeIterator<Item = [u8; 16]>) {
    if keys.len() == 1 {
        for key in keys {
            db.put(Put::new(key.as_slice(), VALUE)).expect("put");
        }
        return;
    }
    let mut keys: Vec<_> = keys.collect();
    keys.sort_unstable();
    keys.dedup();
    let puts = keys.into_iter().map(|key| Put::new(key.as_slice(), VALUE));
    db.txn(Txn::new().and_then_all(puts))
        .expect("a txn of puts");
}

pub fn on_threads(threads: u64, work: impl Fn(u64) + std::marker::Sync) -> Duration {
    time(|| {
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let work = &work;
                scope.spawn(move || work(thread));
            }
        });
    })
}
