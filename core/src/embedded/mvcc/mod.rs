//! What the requests mean, given a transaction: it never opens, commits, waits or spawns.
//!
//! [`read`] answers from the present and the past, [`history`] follows one key's chain, [`write`]
//! makes revisions, [`txn`] compares and runs lists of operations, [`compact`] promises and sweeps,
//! [`lease`] takes keys with their leases, [`time`] tells which revision was when, [`alarm`] says
//! what must not be written, [`side`] keeps records beside the keys.

pub(crate) mod alarm;
pub(crate) mod compact;
pub(crate) mod history;
pub(crate) mod lease;
pub(crate) mod read;
pub(crate) mod side;
pub(crate) mod time;
pub(crate) mod txn;
pub(crate) mod write;

use crate::embedded::codec::{self, NOT_COMPACTED, Rev, meta};
use crate::embedded::lmdb::{Tree, Txn};
use crate::error::{Code, Error, Result};
use crate::etcd_text;
use crate::model::Revision;
use crate::request::KEY_BYTES_MAX;

/// The current revision: of the last event, of the compaction, or of the last gap, else 1.
pub(crate) fn current_revision(txn: &Txn) -> Result<Revision> {
    Ok(revisions(txn)?.0)
}

/// The current revision, and the compacted one.
pub(crate) fn revisions(txn: &Txn) -> Result<(Revision, Revision)> {
    let last = match txn.cursor(Tree::Log)?.last()? {
        Some((key, _)) => Rev::from_key(key)?.main,
        None => 1,
    };
    let base = meta_number(txn, meta::BASE_REV)?.unwrap_or(1);
    let compacted = compacted_revision(txn)?;
    Ok((last.max(base).max(compacted).max(1), compacted))
}

/// The revision below which reads fail; -1 before the first compaction.
pub(crate) fn compacted_revision(txn: &Txn) -> Result<Revision> {
    Ok(meta_number(txn, meta::COMPACT_REV)?.unwrap_or(NOT_COMPACTED))
}

fn meta_number(txn: &Txn, name: &[u8]) -> Result<Option<i64>> {
    txn.get(Tree::Meta, name)?
        .map(|bytes| codec::number(name, bytes))
        .transpose()
}

/// Where a request reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// The present.
    Now,
    /// The past, at a revision that may be read.
    Past(Revision),
}

/// Whether `revision` (0 and below: now) may be read when the store stands at `current`.
pub(crate) fn readable(txn: &Txn, revision: Revision, current: Revision) -> Result<At> {
    if revision <= 0 {
        return Ok(At::Now);
    }
    if revision > current {
        return Err(future(revision, current));
    }
    let compacted = compacted_revision(txn)?;
    if revision < compacted {
        return Err(compacted_error(revision, compacted));
    }
    Ok(if revision == current {
        At::Now
    } else {
        At::Past(revision)
    })
}

pub(crate) fn future(revision: Revision, current: Revision) -> Error {
    Error::etcd(Code::FutureRevision, etcd_text::FUTURE_REVISION)
        .with_detail(format_args!(
            "revision {revision}; the current one is {current}"
        ))
        .with_revision(current)
}

pub(crate) fn compacted_error(revision: Revision, compacted: Revision) -> Error {
    Error::etcd(Code::Compacted, etcd_text::COMPACTED)
        .with_detail(format_args!(
            "revision {revision}; compacted up to {compacted}"
        ))
        .with_revision(compacted)
}

/// A bound of a range as LMDB can take it. No key in a tree is longer than [`KEY_BYTES_MAX`], so a
/// longer bound stands just above its own first bytes, and below everything else that is.
pub(crate) fn bound(key: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    match key.get(..KEY_BYTES_MAX) {
        Some(cut) if key.len() > KEY_BYTES_MAX => [cut, &[0]].concat().into(),
        _ => key.into(),
    }
}
