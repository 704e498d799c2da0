//! The meaning of each request within a transaction. This module uses no clock, no thread and no
//! other process: it does not open, commit, wait or spawn.
//!
//! Reading, from the bottom up:
//!
//! | file | contents |
//! |---|---|
//! | `pairs` | pairs of key and value: in the map, and copied out of it |
//! | `chain` | from an event of a key back to earlier ones |
//! | `walk` | one key, or every key of a range, at a revision |
//! | `read` | ranges: limits, filters, order, counts, pages |
//! | `history` | the events of a key or of a range of revisions; differences |
//! | `hash` | the hash of the history, as etcd computes it |
//!
//! Writing:
//!
//! | file | contents |
//! |---|---|
//! | `writer` | the write transaction, with the state that its requests share |
//! | `slot_log` | what a transaction has done to the deadlines of leases |
//! | `write` | put and delete: the changes to `live`, `dead` and `log` |
//! | `txn` | compares, and lists of operations |
//! | `compact` | compactions, and the sweep after them |
//! | `lease` | granting, revoking and expiring leases |
//! | `alarm` | the quota and alarms: which writes are refused |
//! | `dump` | reading the complete history of a store |
//! | `load` | writing the history of another store into a new one |
//! | `side` | records beside the keys |
//! | `time` | the time index: which revision was current in each minute |
//! | `apply` | running any request on a writer |

pub(crate) mod alarm;
mod apply;
pub(crate) mod auth;
mod chain;
pub(crate) mod compact;
pub(crate) mod conditions;
pub(crate) mod dump;
pub(crate) mod hash;
pub(crate) mod history;
pub(crate) mod lease;
mod load;
pub(crate) mod pairs;
pub(crate) mod read;
pub(crate) mod side;
mod slot_log;
pub(crate) mod time;
pub(crate) mod txn;
pub(crate) mod walk;
mod write;
pub(crate) mod writer;

use crate::embedded::codec::{self, Bounds, NOT_COMPACTED, Rev, meta};
use crate::embedded::lmdb::{Tree, Txn};
use crate::error::{Code, Error, Result};
use crate::etcd_text;
use crate::model::Revision;
use crate::request::KEY_BYTES_MAX;

/// The current revision: the largest of the last event, the compacted revision, the last gap, and
/// 1.
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

/// The quota, and the kinds of active alarms.
pub(crate) fn bounds(txn: &Txn) -> Result<Bounds> {
    txn.get(Tree::Meta, meta::BOUNDS)?
        .map_or(Ok(Bounds::default()), Bounds::decode)
}

fn meta_number(txn: &Txn, name: &[u8]) -> Result<Option<i64>> {
    txn.get(Tree::Meta, name)?
        .map(|bytes| codec::number(name, bytes))
        .transpose()
}

/// The revision that a request reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// The current one.
    Now,
    /// A past one, which can be read.
    Past(Revision),
}

/// The position for reading `revision` (0 and below: the current one).
///
/// # Errors
///
/// `future_revision`, `compacted`.
pub(crate) fn readable(txn: &Txn, revision: Revision, current: Revision) -> Result<At> {
    if revision <= 0 {
        return Ok(At::Now);
    }
    if revision > current {
        return Err(future_error(revision, current));
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

pub(crate) fn future_error(revision: Revision, current: Revision) -> Error {
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

/// A bound of a range, short enough for LMDB. No key in a tree is longer than [`KEY_BYTES_MAX`], so
/// the first bytes of a longer bound and a zero byte are in the same position among the keys.
pub(crate) fn bound(key: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    match key.get(..KEY_BYTES_MAX) {
        Some(cut) if key.len() > KEY_BYTES_MAX => [cut, &[0]].concat().into(),
        _ => key.into(),
    }
}
