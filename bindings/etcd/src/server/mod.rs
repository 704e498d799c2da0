//! A store served to any etcd client: [`serve`].
//!
//! `serve.rs` is what a program sees: how to serve, and the server that runs. `listen.rs` accepts
//! connections, `tls.rs` encrypts them, `router.rs` takes each request to its service and keeps the
//! limits that hold for all, `store.rs` is what the services share; then one file for each service.
//!
//! Reads run where they are asked, writes join the store's group commit through `Db::submit`, so that
//! a request in flight costs no thread.

mod kv;
mod listen;
mod reply;
mod router;
mod serve;
mod store;
mod tls;

pub(crate) use kv::Kv;
pub use serve::{Level, Serve, Server, serve};
pub(crate) use store::Store;

/// What a service answers a unary request.
pub(crate) type Answered<T> = Result<tonic::Response<T>, tonic::Status>;
