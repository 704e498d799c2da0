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

mod client;
mod convert;
#[doc(hidden)]
pub mod fuzz;
mod open;
#[doc(hidden)]
pub mod pb;
mod server;

pub use open::{is_cluster, open};
pub use server::{Level, Serve, Server, serve};
