//! A store served to any etcd client: [`serve`].
//!
//! `how.rs` and `serve.rs` are what a program sees: how to serve, and the server that runs. `listen.rs`
//! accepts connections, `tls.rs` encrypts them, `router.rs` takes each request to the services of gRPC
//! (`services.rs`, with the limits that hold for all) or to the JSON gateway, which calls these in turn;
//! `access.rs` checks origins and hosts of what is no gRPC. `store.rs` is what the services share, with
//! `counters.rs`, which `metrics.rs` shows, and `claim.rs`, the common part of locks and elections; then
//! one file for each service.
//!
//! Reads run where they are asked, writes join the store's group commit through `Db::submit`, so that
//! a request in flight costs no thread.

mod access;
mod auth;
mod authority;
mod claim;
mod cluster;
mod counters;
mod election;
mod gateway;
mod health;
mod how;
mod kv;
mod lease;
mod listen;
mod lock;
mod maintenance;
mod metrics;
mod reply;
mod router;
mod serve;
mod services;
mod store;
mod tls;
mod watch;

pub(crate) use auth::Auth;
pub(crate) use cluster::Cluster;
pub(crate) use election::ElectionService;
pub(crate) use gateway::there_and_back;
pub(crate) use health::Health;
pub use how::{Level, Serve};
pub(crate) use kv::Kv;
pub(crate) use lease::Lease;
pub(crate) use lock::LockService;
pub(crate) use maintenance::Maintenance;
pub use serve::{Listener, Server, listen, serve};
pub(crate) use store::Store;
pub(crate) use watch::WatchService;

/// What a service answers a unary request.
pub(crate) type Answered<T> = Result<tonic::Response<T>, tonic::Status>;
