//! A view of one revision.

use crate::db::Db;
use crate::error::{Code, Error, Result};
use crate::model::{KeyValue, Revision};
use crate::recipe::Scan;
use crate::request::{Range, RangeResult};

/// The store as it was at one revision; made by [`Db::snapshot`](crate::Db::snapshot).
///
/// It is a number, not a transaction: it holds nothing, and does not hold a compaction back. Once
/// one has passed its revision, every call answers `compacted`.
#[derive(Clone, Debug)]
pub struct Snapshot {
    db: Db,
    revision: Revision,
}

impl Snapshot {
    pub(crate) fn new(db: Db, revision: Revision) -> Snapshot {
        Snapshot { db, revision }
    }

    /// The revision that this is a view of.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// One key as it was, or none.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<KeyValue>> {
        self.db.get_at(key, self.revision)
    }

    /// The pairs of a range as they were.
    ///
    /// # Errors
    ///
    /// `invalid_argument` if the request names a revision of its own.
    pub fn range(&self, range: Range) -> Result<RangeResult> {
        self.db.range(self.at_revision(range)?)
    }

    /// The pairs of a range as they were, one after the other.
    ///
    /// # Errors
    ///
    /// As [`Snapshot::range`] and [`Db::scan`](crate::Db::scan).
    pub fn scan(&self, range: Range) -> Result<Scan> {
        self.db.scan(self.at_revision(range)?)
    }

    fn at_revision(&self, range: Range) -> Result<Range> {
        if range.revision != 0 && range.revision != self.revision {
            let message = format!("revision {} asked of a snapshot of revision {}", range.revision, self.revision);
            return Err(Error::new(Code::InvalidArgument, message).with_revision(self.revision));
        }
        Ok(range.revision(self.revision))
    }
}
