//! etcd's snapshot files: a store made from one, and one made from a store, with all revisions,
//! tombstones, leases and the compacted revision.
//!
//! A snapshot is a bbolt file followed by the SHA-256 of it. etcd's `etcdctl snapshot save` and the
//! `Snapshot` rpc write such files; `etcdutl snapshot restore` reads them. Versions 3.4 to 3.7 of
//! etcd are read. What is written can be restored by etcd 3.5 and later.

mod format;
mod hash;
mod restore;
mod save;

pub(crate) use hash::hash;
pub use restore::{Restore, Restored};
pub(crate) use save::write_unnamed;
pub use save::{Saved, save};
