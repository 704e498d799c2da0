//! The time index: which revision was the current one at the end of each minute.
//!
//! The first commit of a minute later than every minute on record leaves one: the last revision
//! before it. So the revision at the end of minute m is that of the first record of a later minute,
//! and the current one if there is none. A clock set back leaves no record. An example: revisions 2
//! and 3 in minute 10, revision 4 in minute 12 leave 10 → 1 and 12 → 3. At minute 9 the store was at
//! 1, at minutes 10 and 11 at 3, from minute 12 on at 4.

use super::{compacted_error, compacted_revision, current_revision};
use crate::embedded::codec::{self, TIME};
use crate::embedded::lmdb::{Tree, Txn, WriteTxn};
use crate::error::Result;
use crate::model::Revision;

/// Above every name of the index.
const END: &[u8] = b"time0";

/// The minute of a time in milliseconds since 1970.
pub(crate) fn minute(unix_ms: i64) -> i64 {
    unix_ms.div_euclid(60_000).max(0)
}

/// Notes that the revisions after `before` began in this minute, unless it or a later one has been
/// noted.
pub(super) fn note(txn: &mut WriteTxn, minute: i64, before: Revision) -> Result<()> {
    let name = codec::minute_name(minute);
    let noted = txn
        .cursor(Tree::Side)?
        .seek(&name)?
        .is_some_and(|(name, _)| name < END);
    if noted {
        Ok(())
    } else {
        txn.put(Tree::Side, &name, &before.to_le_bytes())
    }
}

/// The last revision written by the end of the minute of this time.
///
/// # Errors
///
/// `compacted` if that revision can no longer be read.
pub(crate) fn revision_at(txn: &Txn, unix_ms: i64) -> Result<Revision> {
    let later = codec::minute_name(minute(unix_ms).saturating_add(1));
    let found = txn
        .cursor(Tree::Side)?
        .seek(&later)?
        .filter(|(name, _)| *name < END);
    let revision = match found {
        Some((name, bytes)) => codec::number(name, bytes)?,
        None => current_revision(txn)?,
    };
    let compacted = compacted_revision(txn)?;
    if revision < compacted {
        Err(compacted_error(revision, compacted))
    } else {
        Ok(revision)
    }
}

/// Forgets minutes whose revisions are compacted, but the last of them: it says of what came before
/// it that it is gone.
pub(super) fn forget(txn: &mut WriteTxn, compacted: Revision) -> Result<()> {
    let mut gone: Vec<Vec<u8>> = Vec::new();
    {
        let mut cursor = txn.cursor(Tree::Side)?;
        let mut entry = cursor.seek(TIME)?;
        while let Some((name, bytes)) = entry.filter(|(name, _)| *name < END) {
            // a damaged record is for `check` to report; it must not stop the sweep
            if codec::number(name, bytes).is_ok_and(|revision| revision >= compacted) {
                break;
            }
            gone.push(name.to_vec());
            entry = cursor.next()?;
        }
    }
    gone.pop();
    gone.iter()
        .try_for_each(|name| txn.delete(Tree::Side, name).map(drop))
}
