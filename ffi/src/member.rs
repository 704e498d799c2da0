//! The members of a cluster, and the hash that they compare.
#![allow(unsafe_code)]

use std::ffi::{CString, c_char};

use libkv::Member;

use crate::db::KvDb;
use crate::error::KvError;
use crate::guard::{free, guard, guard_value};
use crate::handle::kinds;
use crate::pointers::require_output;
use crate::types::*;

/// A list of members; see kv_member_list.
pub struct KvMembers;

/// A member of a cluster.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct KvMember {
    /// Its id.
    pub id: u64,
    /// Its name; "" until it has started, and for a store.
    pub name: *const c_char,
    /// The URLs at which the other members reach it.
    pub peer_urls: *const *const c_char,
    /// Their number.
    pub peer_urls_len: usize,
    /// The URLs at which clients reach it.
    pub client_urls: *const *const c_char,
    /// Their number; 0 until it has started.
    pub client_urls_len: usize,
    /// KV_YES for a learner: it receives every write and has no vote. Otherwise KV_NO.
    pub is_learner: i32,
}

/// The contents of a `kv_members`.
pub(crate) struct MembersContents {
    members: Vec<KvMember>,
    /// What the members point to.
    _lists: Vec<Vec<*const c_char>>,
    _texts: Vec<CString>,
}

kinds! {
    KvMembers = MembersContents, b"kv_membr", "kv_members";
}

impl MembersContents {
    fn new(members: &[Member]) -> MembersContents {
        let (mut views, mut lists, mut texts) = (Vec::new(), Vec::new(), Vec::new());
        for member in members {
            let mut text = |text: &str| {
                let text = CString::new(text.replace('\0', "?")).unwrap_or_default();
                let pointer = text.as_ptr();
                texts.push(text);
                pointer
            };
            let name = text(&member.name);
            let [peer, client] = [&member.peer_urls, &member.client_urls]
                .map(|urls| urls.iter().map(|url| text(url)).collect::<Vec<_>>());
            views.push(KvMember {
                id: member.id,
                name,
                peer_urls: peer.as_ptr(),
                peer_urls_len: peer.len(),
                client_urls: client.as_ptr(),
                client_urls_len: client.len(),
                is_learner: flag_out(member.is_learner),
            });
            lists.extend([peer, client]);
        }
        MembersContents {
            members: views,
            _lists: lists,
            _texts: texts,
        }
    }
}

/// The hash of all events up to a revision (0: the current one), as etcd computes it: two stores or
/// members with the same history and the same compacted revision have the same hash. It reads all of
/// the history; writers are not blocked. A cluster's hash is that of the member that responds.
///
/// *hash is the hash, *compact_revision the compacted revision that it depends on (-1 if nothing was
/// compacted), *hash_revision the revision up to which events were hashed.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: KV_COMPACTED, KV_FUTURE_REVISION, KV_INVALID_ARGUMENT (a negative revision), KV_CLOSED,
/// KV_FORKED, KV_CORRUPT, KV_IO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_hash_kv(
    db: *const KvDb,
    revision: i64,
    hash: *mut u32,
    compact_revision: *mut i64,
    hash_revision: *mut i64,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        let hashed = c.arg(db)?.0.hash_kv(revision)?;
        c.put(hash, hashed.hash);
        c.put(compact_revision, hashed.compact_revision);
        c.put(hash_revision, hashed.hash_revision);
        Ok(())
    })
}

/// Lists the members of the cluster. A store is one member without name and URLs, with the id that
/// its server shows.
///
/// Owner: *out is owned by the caller, to free with kv_members_free.
/// Threads: any.
/// Errors: KV_INVALID_ARGUMENT, KV_CLOSED, KV_FORKED, and those of a cluster.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_member_list(
    db: *const KvDb,
    out: *mut *mut KvMembers,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        require_output(out, "out")?;
        c.give::<KvMembers>(out, MembersContents::new(&c.arg(db)?.0.member_list()?));
        Ok(())
    })
}

/// Adds a member to the cluster; *id is its id. Its process is started afterwards. With learner
/// KV_YES it has no vote until kv_member_promote. Otherwise it counts for the quorum at once: in a
/// cluster of one, writes wait until it has started.
///
/// Owner: no ownership changes; the URLs, peer_urls_len of them, are borrowed for the call.
/// Threads: any.
/// Errors: KV_UNSUPPORTED for a store (the message explains how to move to a cluster),
/// KV_INVALID_ARGUMENT (URLs that cannot be read), KV_FAILED_PRECONDITION (URLs of another member, a
/// learner too many, members that are not healthy), KV_UNKNOWN_OUTCOME, KV_CLOSED, KV_FORKED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_member_add(
    db: *const KvDb,
    peer_urls: *const *const c_char,
    peer_urls_len: usize,
    learner: i32,
    id: *mut u64,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        let db = c.arg(db)?;
        let urls = c.words(peer_urls, peer_urls_len, "peer_urls")?;
        let learner = flag_in(learner, "learner")?.unwrap_or(false);
        let added = db.0.member_add(urls, learner)?;
        c.put(id, added.id);
        Ok(())
    })
}

/// Removes a member from the cluster.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: KV_UNSUPPORTED for a store. KV_NOT_FOUND (the member), KV_FAILED_PRECONDITION (too few
/// members would be left), KV_UNKNOWN_OUTCOME, KV_CLOSED, KV_FORKED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_member_remove(
    db: *const KvDb,
    id: u64,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| c.arg(db)?.0.member_remove(id))
}

/// Replaces the peer URLs of a member.
///
/// Owner: no ownership changes; the URLs, peer_urls_len of them, are borrowed for the call.
/// Threads: any.
/// Errors: those of kv_member_add, and KV_NOT_FOUND (the member).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_member_update(
    db: *const KvDb,
    id: u64,
    peer_urls: *const *const c_char,
    peer_urls_len: usize,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        let db = c.arg(db)?;
        let urls = c.words(peer_urls, peer_urls_len, "peer_urls")?;
        db.0.member_update(id, urls)
    })
}

/// Gives a learner its vote.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: KV_UNSUPPORTED for a store. KV_NOT_FOUND (the member), KV_FAILED_PRECONDITION (it is no
/// learner, or it has not yet received what was written), KV_UNKNOWN_OUTCOME, KV_CLOSED, KV_FORKED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_member_promote(
    db: *const KvDb,
    id: u64,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| c.arg(db)?.0.member_promote(id))
}

/// Makes a member the leader of its cluster. For a store, its own id has no effect.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: KV_FAILED_PRECONDITION (no such member, a learner), KV_UNKNOWN_OUTCOME, KV_CLOSED,
/// KV_FORKED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_move_leader(
    db: *const KvDb,
    id: u64,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| c.arg(db)?.0.move_leader(id))
}

/// The number of members; 0 for NULL.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_members_len(members: *const KvMembers) -> usize {
    guard_value!(0, |c| Some(c.arg(members).ok()?.members.len()))
}

/// The member at index; NULL beyond the last.
///
/// Owner: the members; it is valid until they are freed.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_members_at(members: *const KvMembers, index: usize) -> *const KvMember {
    guard_value!(std::ptr::null(), |c| {
        let contents = c.arg(members).ok()?;
        contents.members.get(index).map(std::ptr::from_ref)
    })
}

/// Frees members.
///
/// Owner: frees them; NULL is allowed.
/// Threads: the last use of them.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_members_free(members: *mut KvMembers) {
    free!(members)
}
