//! The members of a cluster, and the hash that its members compare.

use crate::model::Revision;

/// A member of a cluster; see [`crate::Db::member_list`].
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Member {
    /// Its id.
    pub id: u64,
    /// Its name; empty until it has started, and for a store.
    pub name: String,
    /// The URLs at which the other members reach it.
    pub peer_urls: Vec<String>,
    /// The URLs at which clients reach it; empty until it has started.
    pub client_urls: Vec<String>,
    /// Whether it is a learner: it receives every write and has no vote.
    pub is_learner: bool,
}

/// The response to [`crate::Db::hash_kv`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct HashKvResponse {
    /// The current revision.
    pub revision: Revision,
    /// The hash.
    pub hash: u32,
    /// The compacted revision that the hash depends on; -1 if nothing was compacted.
    pub compact_revision: Revision,
    /// The revision up to which the events were hashed; 0 if the server does not report it (etcd
    /// before 3.6).
    pub hash_revision: Revision,
}

/// The ids of the cluster and of the one member that a store shows to etcd's clients: the halves of
/// its id.
pub fn ids_of_store(store_id: &str) -> Option<(u64, u64)> {
    let half = |digits: &str| u64::from_str_radix(digits, 16).ok();
    let (cluster, member) = store_id.split_at_checked(16)?;
    Some((half(cluster)?, half(member)?))
}
