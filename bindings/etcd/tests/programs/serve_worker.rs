//! A server in a process of its own: `serve_worker STORE` prints its address, and ends with its
//! input.

use std::io::Read;

use libkv::{Db, LimitsPreset, Options};

fn main() {
    let store = std::env::args().nth(1).expect("a store");
    let db = Db::open(store, Options::new().limits(LimitsPreset::Etcd)).expect("the store opens");
    let server = libkv_etcd::serve(&db, "127.0.0.1:0").expect("it is served");
    println!("{}", server.address());
    // whoever started it holds the other end
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}
