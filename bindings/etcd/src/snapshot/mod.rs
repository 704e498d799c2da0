//! etcd's snapshot files: restores a store from a file and saves a store to a file, with all
//! revisions, tombstones, leases and the compacted revision.
//!
//! A snapshot is a bbolt file followed by its SHA-256. `etcdctl snapshot save` and the rpc
//! `Snapshot` write such files; `etcdutl snapshot restore` reads them. Files of etcd 3.4 to 3.7 can
//! be restored. Saved files can be restored by etcd 3.5 and later.

mod format;
mod hash;
mod restore;
mod save;

pub(crate) use hash::hash;
pub use restore::{Restore, Restored};
pub(crate) use save::write_unnamed;
pub use save::{Saved, save};
