//! A store served to any etcd client: [`serve`].
//!
//! `options.rs` and `serve.rs` are the public interface: the options, and the running server.
//! `listen.rs` accepts connections, `tls.rs` encrypts them, `http2_authority.rs` repairs a header
//! that Go clients send. `router.rs` passes each request to the gRPC services (`services.rs`, with
//! the limits that apply to all) or to the JSON gateway, which calls the same services. For requests
//! that are not gRPC `allowlist.rs` checks origin and host. `store.rs` is the state that the
//! services share, with `counters.rs`, which `metrics.rs` formats, and `claim.rs`, the common part
//! of locks and elections. The other files are one service each.
//!
//! Reads run at once on the thread of the connection. Writes join the store's group commit through
//! `Db::submit`, so that a request in progress needs no thread.

mod allowlist;
mod auth;
mod claim;
mod cluster;
mod counters;
mod election;
mod gateway;
mod health;
mod http2_authority;
mod kv;
mod lease;
mod listen;
mod lock;
mod maintenance;
mod metrics;
mod options;
mod peer_urls;
mod port;
mod reply;
mod router;
mod serve;
mod services;
mod store;
mod tls;
mod watch;

pub(crate) use auth::compare_rights;
pub(crate) use gateway::read_and_write_back;
pub use options::{Level, Serve};
pub use serve::{Listener, Server, listen, serve};
