//! What a power cut may take, and why no revision is given twice after it.
//!
//! A lazy commit leaves LMDB's meta page in the page cache. Before the first lazy commit of a boot,
//! a synced commit writes the boot's id into `meta.lazy_boot`. A writer that finds the id of
//! another boot there must assume that acknowledged lazy commits are lost. It first writes, synced,
//! a gap of revisions: a revision that a reader has seen must not come back with other contents.

use crate::embedded::codec::{GAP, meta};
use crate::embedded::lmdb::{Env, Tree};
use crate::embedded::mvcc::current_revision;
use crate::error::Result;

/// The id of a boot of the machine; `None` if it cannot be read.
pub(super) type BootId = Option<[u8; 16]>;

/// Writes the gap if the last lazy commits were made under another boot. The caller holds the write
/// lock.
pub(super) fn write_gap_after_reboot(env: &Env, boot: BootId) -> Result<()> {
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

/// Notes, synced, that lazy commits follow under this boot. The caller holds the write lock.
pub(super) fn record_lazy_boot(env: &Env, boot: BootId) -> Result<()> {
    // an unknown boot is noted with an id that no boot has
    let boot = boot.unwrap_or_default();
    let noted = env.read()?.get(Tree::Meta, meta::LAZY_BOOT)? == Some(&boot);
    if noted {
        return Ok(());
    }
    let mut txn = env.write()?;
    txn.put(Tree::Meta, meta::LAZY_BOOT, &boot)?;
    txn.commit(false)
}

/// Removes the note, for the last process that closes the store: after a successful sync a power
/// cut can take nothing. The caller holds the write lock.
pub(crate) fn remove_lazy_boot(env: &Env, boot: BootId) -> Result<()> {
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
