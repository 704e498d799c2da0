//! etcd's protocol, both ways: a libkv store served to any etcd client ([`serve`]), and an etcd cluster
//! as a libkv store ([`open`]).
//!
//! ```no_run
//! use libkv::{Options, Put};
//!
//! // a directory today, `etcd://host1:2379,host2:2379` tomorrow
//! let db = libkv_etcd::open("store", Options::new())?;
//! db.put(Put::new("greeting", "hello"))?;
//!
//! // any etcd client can talk to it while this lives
//! let server = libkv_etcd::serve(&db, "127.0.0.1:0")?;
//! println!("etcdctl --endpoints {} get greeting", server.address());
//! # Ok::<(), libkv::Error>(())
//! ```
//!
//! # A cluster as a store
//!
//! [`open`] answers the same [`libkv::Db`] for a cluster as for a store, and the same program runs on either. What
//! differs:
//!
//! - **Every call waits for the network**, reads too. [`libkv::Db::is_remote`] says so; [`libkv::Db::submit`] hands
//!   reads over as well. Requests that are handed over without waiting run side by side on a cluster: whoever needs
//!   an order waits for the answer, or puts them into one txn.
//! - **Endpoints.** One is spoken to at a time, over one connection, with all calls, watches and keep-alives on it;
//!   which is first is left to chance. When it fails, or has lost its leader, another one is: reads are asked
//!   again, for the time of `request_timeout_ms`. A write is sent again only if no server can have seen it;
//!   else the answer is `unknown_outcome`, whose message says how to find out. When no endpoint can be reached for
//!   `connect_timeout_ms`, the answer is `unavailable`, which names each of them with its reason.
//! - **`keep_alive_ms`** is how soon a connection on which nothing comes is probed; after as long again it is given
//!   up. etcd ends connections that probe more often than its `--grpc-keepalive-min-time`, 5 s.
//! - **Limits** are the cluster's: 1.5 MiB for a write, 128 operations for a txn, TTLs of at least 2 s as a rule. Txns
//!   stand in one another 45 deep at most. A cluster always writes to disk before it answers; the
//!   durability that a request asks for is not looked at.
//! - **Watches** are one stream each; one takes about 15 kB here, and what a stream costs the cluster. They outlive every lost connection, and
//!   go on with the first revision that they have not had. [`libkv::Watcher::resume_revision`] rises with what is
//!   delivered, and otherwise with the cluster's signs of progress only (every ten minutes as a rule): what is
//!   compacted in between, though nothing of it matched, can end a watcher with `compacted` when its connection
//!   is lost. A watcher that is not read holds 4 MiB and one revision at most.
//! - **Leases** have etcd's accuracy, about a second; one that ends with its process ends by its TTL here. A lease that
//!   a handle keeps is renewed at a third of its TTL, over lost connections too, and is lost when the
//!   cluster says so or its TTL has passed without an answer.
//! - **The past.** `diff` reads both revisions. `changes` and `history` are read from watches: each page begins one,
//!   which takes a cluster about a tenth of a second. Where the end cannot be known from the keys that are still
//!   there, all keys are watched for the rest, which needs the right to read them. `revision_at`, `check` and
//!   records beside the keys are `unsupported`.
//! - **`status`** has the revision, compacted revision, keys, leases, sizes and alarms; whatever is of a file is 0 or
//!   empty. `store_id` is the cluster's id and that of the member that answered.
//! - **Closing** a handle revokes the leases that it kept without waiting for the answer.
//! - **Threads.** All clusters of a process share two, which end with the last of them. Completions run on them, and
//!   may call libkv. A handle from before a `fork` answers `forked` in the child.

mod address;
mod client;
mod convert;
#[doc(hidden)]
pub mod fuzz;
mod grpc_code;
mod open;
#[doc(hidden)]
pub mod pb;
mod problems;
mod server;

pub use open::{is_cluster, open};
pub use server::{Level, Listener, Serve, Server, listen, serve};
