//! libkv for C: the same store through `include/kv.h`, which is generated from this crate.
//!
//! One file per noun of the header. The order of the modules below is the order of the header: the
//! most used functions come first. The comment over a function is its section of the manual. It has
//! four parts: what the function does, Owner, Threads, Errors.
//!
//! An entry point is one of the macros of `guard`, which catch panics and give its body a `Caller`.
//! The methods of `Caller` (`pointers`) are the only way to follow pointers of C. `codes`,
//! `constants` and `options` are generated, see bindings/vocabulary.
//!
//! The feature `etcd`, which `make` enables, adds clusters to `kv_open`, and `kv_serve`. Without it
//! the libraries contain no network code and both return `unsupported`; the header is the same.

// blank lines keep rustfmt from sorting the modules

mod codes;

mod types;

mod constants;

mod options;

mod db;

mod error;

mod range;

mod snapshot;

mod txn;

mod transact;

mod watch;

mod lease;

mod lock;

mod election;

mod history;

mod server;

mod clock;

mod admin;

mod alarm;

mod member;

mod auth;
mod backup;

mod guard;

mod handle;

mod pointers;

mod requests;
