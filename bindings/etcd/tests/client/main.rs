//! A cluster's handle, driven against real etcd members and against a server of ours.

mod calls;
mod deadline;
mod failure;
mod proxy;
mod security;

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use libkv::{Db, Options};
use libkv_test_support::etcd::{self, Etcd};

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// The program `etcd`; none, and a line that says so, if it cannot be had.
fn etcd() -> Option<PathBuf> {
    static PROGRAM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match PROGRAM.get_or_init(etcd::program) {
        Ok(program) => Some(program.clone()),
        Err(why) => {
            println!("not run: against a real etcd ({why})");
            None
        }
    }
}

/// A handle on all members.
fn open(etcd: &Etcd) -> Db {
    libkv_etcd::open(etcd.url(), Options::new()).expect("the cluster opens")
}

/// Whether a member responds, with a leader.
fn is_well(url: &str) -> bool {
    let options = Options::new()
        .connect_timeout_ms(1_000)
        .request_timeout_ms(1_000);
    libkv_etcd::open(url, options).is_ok_and(|db| db.get("\0").is_ok())
}

/// Waits until something holds.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(
            begun.elapsed() < PATIENCE,
            "{what}: not within {PATIENCE:?}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// An empty folder of this name under `target/tmp`.
fn scratch(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("client-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).expect("a folder");
    path
}

/// A seed of its own for each run, said so that it can be repeated with `LIBKV_SEED`.
fn seed() -> u64 {
    let given = std::env::var("LIBKV_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let clock = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("it is after 1970");
    let seed = given.unwrap_or(clock.as_nanos() as u64);
    println!("LIBKV_SEED={seed}");
    seed
}

/// Numbers that a seed repeats.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}
