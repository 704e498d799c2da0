//! The calls about the members of a cluster, and the hash that they compare.

use crate::db::Db;
use crate::error::Result;
use crate::member::{HashKvResponse, Member};
use crate::model::Revision;

impl Db {
    /// Returns the hash of all events up to `revision` (0: the current one), as etcd computes it:
    /// two stores or members with the same history and the same compacted revision have the same
    /// hash. It reads all of the history; writers are not blocked. A cluster's hash is that of the
    /// member that responds.
    ///
    /// ```
    /// use libkv::{Db, Options, Put};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// let revision = db.put(Put::new("a", "0"))?.revision;
    /// let hashed = db.hash_kv(revision)?;
    /// assert_eq!((hashed.hash, hashed.compact_revision), (1750265556, -1));
    /// # Ok::<(), libkv::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `future_revision`, `compacted`, `invalid_argument` (a negative revision).
    pub fn hash_kv(&self, revision: Revision) -> Result<HashKvResponse> {
        self.engine().hash_kv(revision)
    }

    /// Returns the members of the cluster. A store is one member without name and URLs, with the id
    /// that its server shows.
    ///
    /// ```
    /// use libkv::{Db, Options};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// let members = db.member_list()?;
    /// assert_eq!(members.len(), 1);
    /// assert!(db.status()?.store_id.ends_with(&format!("{:016x}", members[0].id)));
    /// # Ok::<(), libkv::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Only those that every call may return.
    pub fn member_list(&self) -> Result<Vec<Member>> {
        self.engine().member_list()
    }

    /// Adds a member to the cluster and returns it, with its new id. Its process is started
    /// afterwards. A learner gets a vote with [`Db::member_promote`]. A voter counts for the quorum
    /// at once: in a cluster of one, writes wait until it has started.
    ///
    /// # Errors
    ///
    /// `unsupported` for a store: its message explains how to move to a cluster. `invalid_argument`
    /// (URLs that cannot be read), `failed_precondition` (URLs of another member, a learner too
    /// many, members that are not healthy), `unknown_outcome`.
    pub fn member_add<U: Into<String>>(
        &self,
        peer_urls: impl IntoIterator<Item = U>,
        learner: bool,
    ) -> Result<Member> {
        self.engine().member_add(texts(peer_urls), learner)
    }

    /// Removes a member from the cluster.
    ///
    /// # Errors
    ///
    /// `unsupported` for a store. `not_found` (the member), `failed_precondition` (too few members
    /// would be left), `unknown_outcome`.
    pub fn member_remove(&self, id: u64) -> Result<()> {
        self.engine().member_remove(id)
    }

    /// Replaces the peer URLs of a member.
    ///
    /// # Errors
    ///
    /// Same as [`Db::member_add`], and `not_found` (the member).
    pub fn member_update<U: Into<String>>(
        &self,
        id: u64,
        peer_urls: impl IntoIterator<Item = U>,
    ) -> Result<()> {
        self.engine().member_update(id, texts(peer_urls))
    }

    /// Gives a learner its vote.
    ///
    /// # Errors
    ///
    /// `unsupported` for a store. `not_found` (the member), `failed_precondition` (it is no learner,
    /// or it has not yet received what was written), `unknown_outcome`.
    pub fn member_promote(&self, id: u64) -> Result<()> {
        self.engine().member_promote(id)
    }

    /// Makes a member the leader of its cluster. For a store, its own id has no effect.
    ///
    /// ```
    /// use libkv::{Code, Db, Options};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// let own = db.member_list()?[0].id;
    /// db.move_leader(own)?;
    /// assert_eq!(db.move_leader(0).unwrap_err().code(), Code::FailedPrecondition);
    /// # Ok::<(), libkv::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `failed_precondition` (no such member, a learner), `timeout`, `unavailable`,
    /// `unknown_outcome`.
    pub fn move_leader(&self, id: u64) -> Result<()> {
        self.engine().move_leader(id)
    }
}

fn texts<U: Into<String>>(urls: impl IntoIterator<Item = U>) -> Vec<String> {
    urls.into_iter().map(Into::into).collect()
}
