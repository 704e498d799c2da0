//! Compares libkv with raw LMDB, in alternating rounds of one process, and `kv serve` with etcd:
//! `make bench`.
//!
//! `BENCH_SCALE=10` runs ten times the operations. Arguments are names: only these rows run. Prints
//! a table with the spread of the rounds and writes `target/bench/results.json`. The figure to
//! quote is the median ratio of all rounds, because absolute times depend on the machine.

mod bench;
mod capi;
mod follow;
mod peers;
mod raw;
mod report;
mod serve;
mod wire;

use std::path::Path;

use self::bench::Bench;

fn main() {
    let words: Vec<String> = std::env::args().collect();
    if let [_, flag, how, store, number] = words.as_slice()
        && flag == "--follow"
    {
        return follow::other_process(how, Path::new(store), number.parse().expect("a number"));
    }
    raw::keep_freed_memory();
    let bench = Bench::new();
    let mut rows = Vec::new();
    println!("{}", report::heading());
    bench.reads(&mut rows);
    bench.writes(&mut rows);
    bench.history(&mut rows);
    bench.opening(&mut rows);
    bench.sizes(&mut rows);
    bench.following(&mut rows);
    bench.c_face(&mut rows);
    bench.serving(&mut rows);
    bench.other_languages(&mut rows);
    let file = bench.dir.join("results.json");
    std::fs::write(&file, report::json(&rows)).expect("the file of results is writable");
    println!("written: {}", file.display());
    bench.clean();
}
