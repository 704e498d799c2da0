//! The time index: which revision was current at the end of each minute.
//!
//! The first commit in a minute that is later than every recorded minute adds a record: the last
//! revision before it. So the revision at the end of minute m is that of the first record of a
//! later minute, or the current one if there is none. A clock that was set back adds no record. An
//! example: revisions 2 and 3 in minute 10 and revision 4 in minute 12 add 10 → 1 and 12 → 3. The
//! store was at revision 1 in minute 9, at 3 in minutes 10 and 11, and at 4 from minute 12 on.

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

/// Records that the revisions after `before` began in this minute, unless this minute or a later
/// one is recorded.
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

/// The last revision that was written by the end of the minute of this time.
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

/// Removes minutes with compacted revisions, except the last of them: a search for an earlier time
/// finds it, and returns `compacted`.
pub(super) fn remove_compacted_minutes(txn: &mut WriteTxn, compacted: Revision) -> Result<()> {
    let mut removed: Vec<Vec<u8>> = Vec::new();
    {
        let mut cursor = txn.cursor(Tree::Side)?;
        let mut entry = cursor.seek(TIME)?;
        while let Some((name, bytes)) = entry.filter(|(name, _)| *name < END) {
            // a damaged record is reported by `check`; it must not stop the sweep
            if codec::number(name, bytes).is_ok_and(|revision| revision >= compacted) {
                break;
            }
            removed.push(name.to_vec());
            entry = cursor.next()?;
        }
    }
    removed.pop();
    removed
        .iter()
        .try_for_each(|name| txn.delete(Tree::Side, name).map(drop))
}
