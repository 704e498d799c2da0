//! # libkv: etcd's data model as a library
//!
//! A store is a directory. Every write gets a revision. Any past revision can be read until it is
//! compacted. Transactions compare and swap many keys. Watchers follow every change. Keys expire
//! with their lease. Several processes can open one store and watch each other's writes.
//!
//! ```
//! use libkv::{Db, Options, Put, Range, KeyRange};
//!
//! let db = Db::open(":memory:", Options::new())?;
//! let first = db.put(Put::new("greeting", "hello"))?.revision;
//! db.put(Put::new("greeting", "goodbye"))?;
//!
//! assert_eq!(db.get("greeting")?.unwrap().value, "goodbye");
//! assert_eq!(db.get_at("greeting", first)?.unwrap().value, "hello");
//! assert_eq!(db.range(Range::new(KeyRange::all()))?.count, 1);
//! # Ok::<(), libkv::Error>(())
//! ```
//!
//! Where to look: [`Db`] has every call. [`Put`], [`Range`], [`Delete`], [`Txn`] and [`Watch`] are
//! the requests: plain values with their options as methods. [`Watcher`], [`Lease`], [`Lock`] and
//! [`Election`] are handles. [`Error`] has a stable [`Code`]. [`Options`] sets how a store is
//! opened. `core/DESIGN.md` describes the files byte by byte. [`engine`] is the interface of other
//! kinds of stores.
//!
//! Options, requests, responses and reports may get fields in a minor version. Build them with
//! their constructors and methods, assign their fields, and match them with `..`. Keys, pairs,
//! events, differences, alarms and the operations of a txn are complete, most of them because they
//! are messages of etcd: their structs and enums can be written and matched in full.
//!
//! Features: `stream` implements `Stream` for [`Watcher`] and [`Leaders`]; `serde` implements
//! `Serialize` and `Deserialize` for keys, events, differences, responses and the status. No
//! feature is on by default.

#[cfg(not(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64")))]
compile_error!(
    "libkv runs on 64-bit Linux with glibc: it shares robust mutexes and file locks between processes"
);

mod auth;
mod code;
mod completion;
mod db;
mod embedded;
pub mod engine;
mod error;
#[doc(hidden)]
pub mod etcd_text;
mod member;
mod model;
mod mutex;
mod options;
mod password;
mod recipe;
mod request;
#[doc(hidden)]
pub mod support;
mod validate;

pub use auth::{
    AUTH_NAME_BYTES_MAX, Auth, AuthData, AuthResponse, AuthStamp, AuthStatus, PASSWORD_BYTES_MAX,
    Password, Permission, PermissionType, Role, User, UserAdd,
};
pub use bytes::Bytes;
pub use db::Db;
pub use error::{Code, Error, Result};
pub use member::{HashKvResponse, Member};
pub use model::{
    Difference, Event, EventKind, KeyRange, KeyValue, LeaseId, PairRef, Revision, Version,
};
pub use options::{AutoCompaction, Clock, LimitsPreset, Options, Secret};
pub use recipe::{
    Canceller, DiffScan, Election, EventScan, Leaders, Lease, Lock, Retries, Scan, Snapshot,
    TRANSACT_RETRIES, Transaction, WaitLimit, Watcher,
};
pub use request::*;
