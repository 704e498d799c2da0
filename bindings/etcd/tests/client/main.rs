//! The client of a cluster, tested on real members of etcd and on our server.

mod calls;
mod deadline;
mod failure;
mod proxy;
mod security;

use std::path::PathBuf;
use std::sync::OnceLock;

use libkv::{Db, Options};
use libkv_test_support::etcd::{self, Etcd};

/// The program `etcd`. If it is not available, prints a line `not run: …` and returns `None`.
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

/// Whether a member responds and has a leader.
fn is_well(url: &str) -> bool {
    let options = Options::new()
        .connect_timeout_ms(1_000)
        .request_timeout_ms(1_000);
    libkv_etcd::open(url, options).is_ok_and(|db| db.get("\0").is_ok())
}

/// An empty folder of this name under `target/tmp`.
fn scratch(name: &str) -> PathBuf {
    let path = libkv_test_support::scratch(name);
    std::fs::create_dir_all(&path).expect("a folder");
    path
}
