//! libkv for C: the same store through `include/kv.h`, which is generated from here.
//!
//! One file per noun of the header. A comment over a function is its section of the manual and has
//! four parts: what it does, Owner, Threads, Errors.
//!
//! The feature `etcd`, which `make` turns on, brings clusters to `kv_open` and `kv_serve`. Without it there is no
//! network code in the libraries, and both answer `unsupported`: the header is the same.

mod admin;
mod alarm;
mod db;
mod election;
mod error;
mod guard;
mod history;
mod lease;
mod lock;
mod range;
mod server;
mod snapshot;
mod transact;
mod txn;
mod types;
mod watch;
