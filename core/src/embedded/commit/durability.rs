//! What a power cut may take, and how no revision is ever given twice after it.
//!
//! A lazy commit leaves LMDB's meta page to the page cache. So the first one under a boot is
//! preceded by a synced commit that writes that boot's id into `meta.lazy_boot`. Whoever finds
//! another boot's id there must think that acknowledged lazy commits are gone: it first writes,
//! synced, a gap of revisions, so that what readers elsewhere have seen is never seen anew with
//! other contents.

use crate::embedded::codec::{GAP, meta};
use crate::embedded::lmdb::{Env, Tree};
use crate::embedded::mvcc::current_revision;
use crate::error::Result;

/// The id of a boot of the machine; none when it cannot be read, which is no boot's.
pub(super) type BootId = Option<[u8; 16]>;

/// Writes the gap if the store was last written lazily under another boot. The writer's lock is
/// held.
pub(super) fn close_gap(env: &Env, boot: BootId) -> Result<()> {
    let must = {
        let read = env.read()?;
        let lazy_boot = read.get(Tree::Meta, meta::LAZY_BOOT)?;
        lazy_boot.is_some_and(|then| boot.is_none_or(|now| then != now))
    };
    if !must {
        return Ok(());
    }
    let mut txn = env.write()?;
    let current = current_revision(&txn)?;
    let end = current + GAP;
    let name = [meta::GAP, &current.to_be_bytes()[..]].concat();
    txn.put(Tree::Meta, &name, &end.to_le_bytes())?;
    txn.put(Tree::Meta, meta::BASE_REV, &end.to_le_bytes())?;
    txn.delete(Tree::Meta, meta::LAZY_BOOT)?;
    txn.commit(false)
}

/// Notes, synced, that lazy commits follow under this boot. The writer's lock is held.
pub(super) fn announce_lazy(env: &Env, boot: BootId) -> Result<()> {
    // an unknown boot is noted as one that no boot equals
    let boot = boot.unwrap_or_default();
    let noted = env.read()?.get(Tree::Meta, meta::LAZY_BOOT)? == Some(&boot);
    if noted {
        return Ok(());
    }
    let mut txn = env.write()?;
    txn.put(Tree::Meta, meta::LAZY_BOOT, &boot)?;
    txn.commit(false)
}

/// Takes the note back, for the last process to close the store: after a sync that succeeded there
/// is nothing left to lose. The writer's lock is held.
pub(crate) fn withdraw_lazy(env: &Env, boot: BootId) -> Result<()> {
    let Some(boot) = boot else { return Ok(()) };
    let noted = env.read()?.get(Tree::Meta, meta::LAZY_BOOT)? == Some(&boot);
    if !noted {
        return Ok(());
    }
    env.sync()?;
    let mut txn = env.write()?;
    txn.delete(Tree::Meta, meta::LAZY_BOOT)?;
    txn.commit(false)
}
