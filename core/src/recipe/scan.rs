//! Iterators that read page by page at one revision and hold nothing in between.

use std::vec;

use crate::db::Db;
use crate::error::{Code, Error, Result};
use crate::model::{Difference, Event, KeyRange, KeyValue, Revision};
use crate::request::{Events, Range, SortOrder, SortTarget};
use crate::validate::check_range;

/// The number of pairs of the first page. Each later page doubles it, up to [`PAGE_PAIRS_MAX`].
const PAGE_PAIRS_FIRST: i64 = 64;
const PAGE_PAIRS_MAX: i64 = 1_024;

impl Db {
    /// Iterates over the pairs of a range in key order, all at the revision of the first page. A
    /// scan holds no transaction between steps and does not count.
    ///
    /// ```
    /// use libkv::{Db, KeyRange, Options, Put, Range};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// db.put(Put::new("a", "1"))?;
    /// db.put(Put::new("b", "2"))?;
    /// for kv in db.scan(Range::new(KeyRange::all()))? {
    ///     let kv = kv?;
    ///     println!("{:?} = {:?}", kv.key, kv.value);
    /// }
    /// # Ok::<(), libkv::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `invalid_argument` for another sort order than ascending by key, and for `count_only`. A
    /// step returns `compacted` if a compaction passed the scan's revision.
    pub fn scan(&self, range: Range) -> Result<Scan> {
        Scan::new(self.clone(), range)
    }

    /// Iterates over the events of a range with `after` < revision <= `upto` (0 or negative: the
    /// current one), in order. It holds no transaction between steps; `prev_kv` is not set.
    ///
    /// ```
    /// use libkv::{Db, KeyRange, Options, Put};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// let first = db.put(Put::new("a", "1"))?.revision;
    /// db.put(Put::new("b", "2"))?;
    /// assert_eq!(db.events(first, 0, KeyRange::all()).count(), 1);
    /// # Ok::<(), libkv::Error>(())
    /// ```
    ///
    /// A step returns `compacted` if `after` is below the compacted revision, and `future_revision`
    /// if `upto` is above the current revision.
    pub fn events(&self, after: Revision, upto: Revision, range: impl Into<KeyRange>) -> EventScan {
        EventScan::new(
            self.clone(),
            Events {
                after,
                upto,
                range: range.into(),
            },
        )
    }

    /// Iterates over the keys of a range that differ between revision `a` and revision `b` (0 or
    /// negative: the current one), in key order. A key that was put again with the same value
    /// differs, because its `mod_revision` differs.
    ///
    /// ```
    /// use libkv::{Db, KeyRange, Options, Put};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// let first = db.put(Put::new("a", "1"))?.revision;
    /// db.put(Put::new("a", "2"))?;
    /// let change = db.diff(first, 0, KeyRange::all())?.next().unwrap()?;
    /// assert_eq!(change.before.unwrap().value, "1");
    /// assert_eq!(change.after.unwrap().value, "2");
    /// # Ok::<(), libkv::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `compacted`, `future_revision`, also from a later step.
    pub fn diff(&self, a: Revision, b: Revision, range: impl Into<KeyRange>) -> Result<DiffScan> {
        DiffScan::new(self.clone(), a, b, range.into())
    }
}

/// Iterates over the pairs of a range in key order, all at one revision; made by
/// [`Db::scan`](crate::Db::scan).
///
/// After an error the scan has ended.
#[derive(Debug)]
#[must_use = "a scan reads nothing until it is iterated"]
pub struct Scan {
    db: Db,
    range: Range,
    /// Pairs that the caller's limit still allows.
    left: i64,
    page_pairs: i64,
    page: vec::IntoIter<KeyValue>,
    done: bool,
}

impl Scan {
    pub(crate) fn new(db: Db, range: Range) -> Result<Scan> {
        if range.sort_target != SortTarget::Key || range.sort_order == SortOrder::Descend {
            let message = "a scan is in ascending key order";
            return Err(
                Error::new(Code::InvalidArgument, message).with_detail("sort with range instead")
            );
        }
        if range.count_only {
            return Err(Error::new(Code::InvalidArgument, "a scan does not count")
                .with_detail("use range with count_only"));
        }
        check_range(&range.range)?;
        let left = if range.limit > 0 {
            range.limit
        } else {
            i64::MAX
        };
        Ok(Scan {
            db,
            range,
            left,
            page_pairs: PAGE_PAIRS_FIRST,
            page: Vec::new().into_iter(),
            done: false,
        })
    }

    /// The revision of the scan; 0 before the first step of a scan of the current revision.
    ///
    /// ```
    /// use libkv::{Db, KeyRange, Options, Put, Range};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// let revision = db.put(Put::new("a", "1"))?.revision;
    /// let mut scan = db.scan(Range::new(KeyRange::all()))?;
    /// scan.next();
    /// assert_eq!(scan.revision(), revision);
    /// # Ok::<(), libkv::Error>(())
    /// ```
    pub fn revision(&self) -> Revision {
        self.range.revision.max(0)
    }

    fn fill(&mut self) -> Result<()> {
        while self.page.as_slice().is_empty() && !self.done {
            self.range.limit = self.page_pairs.min(self.left);
            self.page_pairs = (self.page_pairs * 2).min(PAGE_PAIRS_MAX);
            let page = self.db.engine().page(&self.range)?;
            if self.range.revision <= 0 {
                self.range.revision = page.revision;
            }
            self.left -= page.kvs.len() as i64;
            self.done = self.left == 0 || page.next.is_none();
            if let Some(next) = page.next {
                self.range.range.key = next;
            }
            self.page = page.kvs.into_iter();
        }
        Ok(())
    }
}

impl Iterator for Scan {
    type Item = Result<KeyValue>;

    fn next(&mut self) -> Option<Result<KeyValue>> {
        // also if pairs are left: closing ends everything that was made from the handle
        if let Err(error) = self.db.engine().ensure_open().and_then(|()| self.fill()) {
            self.done = true;
            self.page = Vec::new().into_iter();
            return Some(Err(error));
        }
        self.page.next().map(Ok)
    }
}

/// Iterates over the events of a range between two revisions; made by
/// [`Db::events`](crate::Db::events).
///
/// After an error the scan has ended.
#[derive(Debug)]
#[must_use = "a scan reads nothing until it is iterated"]
pub struct EventScan {
    db: Db,
    request: Events,
    page: vec::IntoIter<Event>,
    done: bool,
}

impl EventScan {
    pub(crate) fn new(db: Db, request: Events) -> EventScan {
        EventScan {
            db,
            request,
            page: Vec::new().into_iter(),
            done: false,
        }
    }

    fn fill(&mut self) -> Result<()> {
        while self.page.as_slice().is_empty() && !self.done {
            if self.request.upto <= 0 {
                self.request.upto = self.db.engine().revision()?;
            }
            let page = self.db.engine().events(&self.request)?;
            self.done = page.upto >= self.request.upto;
            self.request.after = page.upto;
            self.page = page.events.into_iter();
        }
        Ok(())
    }
}

impl Iterator for EventScan {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Result<Event>> {
        if let Err(error) = self.db.engine().ensure_open().and_then(|()| self.fill()) {
            self.done = true;
            self.page = Vec::new().into_iter();
            return Some(Err(error));
        }
        self.page.next().map(Ok)
    }
}

/// Iterates over the keys that differ between two revisions; made by [`Db::diff`](crate::Db::diff).
///
/// After an error the scan has ended.
#[derive(Debug)]
#[must_use = "a scan reads nothing until it is iterated"]
pub struct DiffScan {
    db: Db,
    before: Revision,
    after: Revision,
    range: KeyRange,
    page: vec::IntoIter<Difference>,
    done: bool,
}

impl DiffScan {
    pub(crate) fn new(
        db: Db,
        before: Revision,
        after: Revision,
        range: KeyRange,
    ) -> Result<DiffScan> {
        check_range(&range)?;
        let now = if before <= 0 || after <= 0 {
            db.engine().revision()?
        } else {
            0
        };
        let at = |revision: Revision| if revision <= 0 { now } else { revision };
        let mut scan = DiffScan {
            db,
            before: at(before),
            after: at(after),
            range,
            page: Vec::new().into_iter(),
            done: false,
        };
        scan.fill()?;
        Ok(scan)
    }

    fn fill(&mut self) -> Result<()> {
        while self.page.as_slice().is_empty() && !self.done {
            let page = self
                .db
                .engine()
                .diff(self.before, self.after, &self.range)?;
            match page.next {
                Some(next) => self.range.key = next,
                None => self.done = true,
            }
            self.page = page.differences.into_iter();
        }
        Ok(())
    }
}

impl Iterator for DiffScan {
    type Item = Result<Difference>;

    fn next(&mut self) -> Option<Result<Difference>> {
        if let Err(error) = self.db.engine().ensure_open().and_then(|()| self.fill()) {
            self.done = true;
            self.page = Vec::new().into_iter();
            return Some(Err(error));
        }
        self.page.next().map(Ok)
    }
}
