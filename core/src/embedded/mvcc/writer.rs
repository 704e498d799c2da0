//! The writer: a write transaction, and the state that its requests share.
//!
//! The requests themselves are in [`apply`](super::apply) and the files that it uses.

use super::slot_log::SlotLog;
use super::{Bounds, bounds, time};
use crate::embedded::codec::{self, INLINE_BYTES_MAX, meta};
use crate::embedded::lease::slot::LeaseSlots;
use crate::embedded::lmdb::{Tree, WriteTxn};
use crate::error::Result;
use crate::model::Revision;

/// A write transaction in which each request makes at most one revision.
///
/// A refused request has written nothing, unless [`Writer::has_partial_write`]: then the whole transaction
/// must be dropped and its other requests must run again.
pub(crate) struct Writer<'e> {
    pub(super) txn: WriteTxn<'e>,
    /// The deadlines of leases, and what this transaction has done to them.
    pub(super) slots: SlotLog<'e>,
    /// The time on the store's clock; see [`Writer::set_time`].
    pub(super) now_ns: u64,
    /// The revision before the first request.
    first: Revision,
    /// The revision before the current request.
    pub(super) current: Revision,
    pub(super) compacted: Revision,
    pub(super) inline_bytes_max: usize,
    /// The quota, and the active alarms.
    pub(super) bounds: Bounds,
    pub(super) dead_entries: u64,
    /// The number of events that the current request has written.
    pub(super) sub: u32,
    /// Whether a request has written something.
    pub(super) wrote: bool,
    pub(super) partial_write: bool,
}

impl<'e> Writer<'e> {
    pub fn new(txn: WriteTxn<'e>, slots: &'e dyn LeaseSlots) -> Result<Writer<'e>> {
        let inline_bytes_max = match txn.get(Tree::Meta, meta::INLINE_LIMIT)? {
            Some(bytes) => codec::number(meta::INLINE_LIMIT, bytes)?,
            None => i64::from(INLINE_BYTES_MAX),
        };
        let (current, compacted) = super::revisions(&txn)?;
        Ok(Writer {
            slots: SlotLog::new(slots),
            now_ns: 0,
            first: current,
            current,
            compacted,
            inline_bytes_max: inline_bytes_max.max(0) as usize,
            bounds: bounds(&txn)?,
            dead_entries: txn.entries(Tree::Dead)?,
            txn,
            sub: 0,
            wrote: false,
            partial_write: false,
        })
    }

    /// Sets the time, before a grant of a lease or an expiry. Once for a group is not enough: the
    /// group may have begun a while ago, and a manual clock may have been moved since.
    pub fn set_time(&mut self, now_ns: u64) {
        self.now_ns = now_ns;
    }

    /// Runs `work`, which belongs to no request, in a revision of its own.
    pub(super) fn in_own_revision(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        (self.sub, self.wrote) = (0, true);
        let result = work(self);
        self.partial_write |= result.is_err();
        self.current += Revision::from(result.is_ok() && self.sub > 0);
        self.sub = 0;
        result
    }

    /// Changes the trees without making a revision.
    pub fn maintain<T>(&mut self, work: impl FnOnce(&mut WriteTxn<'e>) -> Result<T>) -> Result<T> {
        self.wrote = true;
        let result = work(&mut self.txn);
        self.partial_write |= result.is_err();
        // the sweep may have removed entries
        self.dead_entries = self.txn.entries(Tree::Dead)?;
        result
    }

    /// Whether a refused request has written something, so that nothing may be committed.
    pub fn has_partial_write(&self) -> bool {
        self.partial_write
    }

    /// Whether there is anything to commit.
    pub fn has_written(&self) -> bool {
        self.wrote
    }

    /// The transaction, to be committed, and the log to be ended with
    /// [`SlotLog::committed`] after that.
    pub fn into_parts(self) -> (WriteTxn<'e>, SlotLog<'e>) {
        (self.txn, self.slots)
    }

    /// Records in the time index that revisions were made in this minute. Returns whether the index
    /// has this minute now.
    pub fn note_minute(&mut self, minute: i64) -> Result<bool> {
        if self.current == self.first {
            return Ok(false);
        }
        time::note(&mut self.txn, minute, self.first)?;
        Ok(true)
    }

    /// Reads the quota and the alarms again, after a change.
    pub(super) fn read_bounds(&mut self) -> Result<()> {
        self.bounds = bounds(&self.txn)?;
        Ok(())
    }

    /// The revision in the response of an operation: the new one once the request has written.
    pub(super) fn revision(&self) -> Revision {
        self.current + Revision::from(self.sub > 0)
    }
}
