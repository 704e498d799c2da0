//! A program with a server: `serve_worker STORE` prints its address and ends when its standard
//! input is closed.

use std::io::Read;

use libkv::{Db, LimitsPreset, Options};

fn main() {
    let store = std::env::args().nth(1).expect("a store");
    let db = Db::open(store, Options::new().limits(LimitsPreset::Etcd)).expect("the store opens");
    let server = libkv_etcd::serve(&db, "127.0.0.1:0").expect("a server");
    println!("{}", server.address());
    // the process that started this one holds the other end of the pipe
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}
