//! etcd's protocol, both ways: a libkv store served to any etcd client ([`serve`]), and an etcd
//! cluster as a libkv store ([`open`]).
//!
//! ```no_run
//! use libkv::{Options, Put};
//!
//! // or a cluster: `etcd://host1:2379,host2:2379`
//! let db = libkv_etcd::open("store", Options::new())?;
//! db.put(Put::new("greeting", "hello"))?;
//!
//! // any etcd client can connect until the server is dropped
//! let server = libkv_etcd::serve(&db, "127.0.0.1:0")?;
//! println!("etcdctl --endpoints {} get greeting", server.address());
//! # Ok::<(), libkv::Error>(())
//! ```
//!
//! # A cluster as a store
//!
//! [`open`] returns the same [`libkv::Db`] for a cluster as for a store, and the same program runs
//! on both. The differences:
//!
//! - **Every call waits for the network**, reads too. [`libkv::Db::is_remote`] is true;
//!   [`libkv::Db::submit`] also submits reads. Submitted requests run concurrently on a cluster: a
//!   program that needs an order waits for each response, or puts the requests into one txn.
//! - **Endpoints.** One is used at a time, over one connection, with all calls, watches and
//!   keep-alives on it; the first one is chosen at random. When it fails, or has lost its leader,
//!   another one is used: reads are sent again, for the time of `request_timeout_ms`. A write is
//!   sent again only if no server can have received it; otherwise the call returns
//!   `unknown_outcome`, whose message explains how to find out. If no endpoint can be reached for
//!   `connect_timeout_ms`, the call returns `unavailable`, which names each endpoint with its
//!   reason.
//! - **`keep_alive_ms`** is the time without received data after which a connection is probed;
//!   after the same time without a response it is closed. etcd ends connections that probe more
//!   often than its `--grpc-keepalive-min-time`, 5 s.
//! - **Limits** are the cluster's: 1.5 MiB for a write, 128 operations for a txn, usually TTLs of
//!   at least 2 s. Txns are nested at most 45 deep. A cluster always writes to disk before it
//!   responds; the durability of a request is ignored.
//! - **Watches** are one stream each. A watch uses about 15 kB here, and a stream in the cluster.
//!   Watches continue over lost connections, with the first revision that they have not received.
//!   [`libkv::Watcher::resume_revision`] rises with delivered events, and otherwise only with the
//!   cluster's progress reports (every ten minutes by default). A compaction in between, even if it
//!   concerns no matching event, can end a watcher with `compacted` when its connection is lost. A
//!   watcher that is not read holds at most 4 MiB and one revision.
//! - **Leases** have etcd's accuracy, about a second; `end_with_process` has no effect beyond the
//!   TTL. A lease that a handle keeps alive is renewed at a third of its TTL, over lost connections
//!   too. It is lost when the cluster reports so, or when its TTL has passed without a response.
//! - **The past.** `diff` reads both revisions. `events` and `history` are read from watches: each
//!   page begins one, which takes a cluster about a tenth of a second. If the end cannot be
//!   determined from the keys that still exist, all keys are watched for the rest, which needs the
//!   right to read them. `revision_at`, `check` and records beside the keys are `unsupported`.
//! - **`status`** has the revision, compacted revision, keys, leases, sizes and alarms. Numbers
//!   about files and readers are `None`. `store_id` is the cluster's id followed by that of the member
//!   that responded.
//! - **Closing** a handle revokes the leases that it kept alive, without waiting for the response.
//! - **Threads.** All clusters of a process share two, which end with the last cluster. Completions
//!   run on them, and may call libkv. A handle from before a `fork` returns `forked` in the child.

mod address;
mod bolt;
mod client;
mod convert;
#[doc(hidden)]
pub mod fuzz;
mod grpc_code;
mod open;
#[doc(hidden)]
pub mod pb;
mod permission;
mod problems;
mod schema;
mod server;
mod snapshot;
mod sync;

pub use open::{is_cluster, open};
pub use server::{Level, Listener, Serve, Server, listen, serve};
pub use snapshot::{Restore, Restored, Saved, save as save_snapshot};
