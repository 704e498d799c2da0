//! A store as a cluster of one member, which cannot be changed.

use crate::error::{Code, Error, Result};
use crate::etcd_text;
use crate::member::{Member, ids_of_store};
use crate::model::Revision;

/// How a store becomes a cluster. A server sends this to a client that adds a member.
const UNCHANGEABLE: &str = "a libkv store has one member, which cannot be changed; to move \
    it to an etcd cluster, save it with `kv snapshot save` and restore that file for each member with \
    `etcdutl snapshot restore`";

/// Refuses a change of the members.
pub(super) fn unchangeable() -> Error {
    Error::new(Code::Unsupported, UNCHANGEABLE)
}

/// The one member. Its name and URLs belong to a server, which may not exist.
pub(super) fn list(store_id: &str) -> Result<Vec<Member>> {
    Ok(vec![Member {
        id: id(store_id)?,
        ..Member::default()
    }])
}

/// Refuses every other leader than the one member.
pub(super) fn move_leader(store_id: &str, to: u64) -> Result<()> {
    if to != id(store_id)? {
        return Err(Error::etcd(
            Code::FailedPrecondition,
            etcd_text::BAD_TRANSFEREE,
        ));
    }
    Ok(())
}

/// Refuses a negative revision.
pub(super) fn check_hash_revision(revision: Revision) -> Result<()> {
    if revision < 0 {
        return Err(Error::new(
            Code::InvalidArgument,
            format!("the revision is {revision}; 0 is the current one"),
        ));
    }
    Ok(())
}

fn id(store_id: &str) -> Result<u64> {
    let ids = ids_of_store(store_id);
    ids.map(|(_, member)| member).ok_or_else(|| {
        Error::new(
            Code::Internal,
            format!("the id of the store is {store_id:?}"),
        )
    })
}
