//! A view of one revision.

use crate::db::Db;
use crate::error::{Code, Error, Result};
use crate::model::{KeyValue, Revision};
use crate::recipe::Scan;
use crate::request::{Range, RangeResponse};

impl Db {
    /// A view of the current revision. It holds no transaction and does not delay compaction: after
    /// a compaction passed it, its reads return `compacted`.
    ///
    /// ```
    /// use libkv::{Db, Options, Put};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// db.put(Put::new("a", "1"))?;
    /// let before = db.snapshot()?;
    /// db.put(Put::new("a", "2"))?;
    /// assert_eq!(before.get("a")?.unwrap().value, "1");
    /// # Ok::<(), libkv::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Only those that every call may return.
    pub fn snapshot(&self) -> Result<Snapshot> {
        Ok(Snapshot::new(self.clone(), self.engine().revision()?))
    }

    /// A view of this revision; 0 or negative: the current one.
    ///
    /// ```
    /// use libkv::{Db, Options, Put};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// let first = db.put(Put::new("a", "1"))?.revision;
    /// db.put(Put::new("a", "2"))?;
    /// assert_eq!(db.snapshot_at(first)?.get("a")?.unwrap().value, "1");
    /// # Ok::<(), libkv::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `compacted`, `future_revision`.
    pub fn snapshot_at(&self, revision: Revision) -> Result<Snapshot> {
        if revision <= 0 {
            return self.snapshot();
        }
        self.engine().get(&[0], revision)?;
        Ok(Snapshot::new(self.clone(), revision))
    }
}

/// A view of the store at one revision; made by [`Db::snapshot`](crate::Db::snapshot).
///
/// It is a number, not a transaction. It holds no resources and does not delay compaction: after a
/// compaction passed its revision, every call returns `compacted`.
#[derive(Clone, Debug)]
#[must_use = "a snapshot does nothing until it is read"]
pub struct Snapshot {
    db: Db,
    revision: Revision,
}

impl Snapshot {
    pub(crate) fn new(db: Db, revision: Revision) -> Snapshot {
        Snapshot { db, revision }
    }

    /// The revision of the view.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Reads one key at the revision; `None` if it did not exist.
    ///
    /// # Errors
    ///
    /// `invalid_argument` (empty key), `compacted`.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<KeyValue>> {
        self.db.get_at(key, self.revision)
    }

    /// Reads the pairs of a range at the revision.
    ///
    /// ```
    /// use libkv::{Db, KeyRange, Options, Put, Range};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// db.put(Put::new("a", "1"))?;
    /// let snapshot = db.snapshot()?;
    /// db.put(Put::new("b", "2"))?;
    /// assert_eq!(snapshot.range(Range::new(KeyRange::all()))?.count, 1);
    /// # Ok::<(), libkv::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `invalid_argument` if the request has a revision of its own.
    pub fn range(&self, range: Range) -> Result<RangeResponse> {
        self.db.range(self.at_revision(range)?)
    }

    /// Iterates over the pairs of a range at the revision.
    ///
    /// ```
    /// use libkv::{Db, KeyRange, Options, Put, Range};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// db.put(Put::new("a", "1"))?;
    /// let snapshot = db.snapshot()?;
    /// db.put(Put::new("b", "2"))?;
    /// assert_eq!(snapshot.scan(Range::new(KeyRange::all()))?.count(), 1);
    /// # Ok::<(), libkv::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Snapshot::range`] and [`Db::scan`](crate::Db::scan).
    pub fn scan(&self, range: Range) -> Result<Scan> {
        self.db.scan(self.at_revision(range)?)
    }

    fn at_revision(&self, range: Range) -> Result<Range> {
        if range.revision != 0 && range.revision != self.revision {
            let message = format!(
                "revision {} requested from a snapshot of revision {}",
                range.revision, self.revision
            );
            return Err(Error::new(Code::InvalidArgument, message).with_revision(self.revision));
        }
        Ok(range.revision(self.revision))
    }
}
