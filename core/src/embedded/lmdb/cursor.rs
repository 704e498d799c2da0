//! A cursor that borrows its transaction, and counting by whole pages.
#![allow(unsafe_code)]

use std::ptr;

use lmdb_sys as ffi;

use super::error::error;
use super::page_layout::{
    FLAG_LEAF, FLAGS_AT, HEADER_BYTES, LOWER_AT, NODE_BYTES, NODE_KEY_SIZE_AT, PAGE_BYTES,
};
use super::tree::Tree;
use super::txn::{Txn, bytes, empty_val, val};
use crate::error::Result;

/// An entry: key and value, borrowed from the transaction.
pub(crate) type Entry<'t> = (&'t [u8], &'t [u8]);

/// A position in a tree. The entries that it returns live as long as its borrow of the transaction;
/// meanwhile nothing can be written.
pub(crate) struct Cursor<'t> {
    raw: *mut ffi::MDB_cursor,
    txn: &'t Txn<'t>,
}

impl<'t> Cursor<'t> {
    fn open(txn: &'t Txn<'_>, tree: Tree) -> Result<Cursor<'t>> {
        let mut raw = ptr::null_mut();
        // SAFETY: the transaction is live and the pointer is to our own variable.
        match unsafe { ffi::mdb_cursor_open(txn.raw, txn.env.dbi(tree), &mut raw) } {
            0 => Ok(Cursor { raw, txn }),
            rc => Err(error(rc, "cursor")),
        }
    }

    fn step(&mut self, key: &[u8], op: ffi::MDB_cursor_op) -> Result<Option<Entry<'t>>> {
        let (mut key, mut data) = (val(key), empty_val());
        // SAFETY: the cursor is open on a transaction that is live for 't and not written to while
        // it is borrowed, so what LMDB returns stays valid for 't.
        unsafe {
            match ffi::mdb_cursor_get(self.raw, &mut key, &mut data, op) {
                0 => Ok(Some((bytes(&key), bytes(&data)))),
                ffi::MDB_NOTFOUND => Ok(None),
                rc => Err(error(rc, "read")),
            }
        }
    }

    /// The first entry at or above `key`; an empty key means the first of all.
    pub fn seek(&mut self, key: &[u8]) -> Result<Option<Entry<'t>>> {
        match key.is_empty() {
            true => self.step(&[], ffi::MDB_FIRST),
            false => self.step(key, ffi::MDB_SET_RANGE),
        }
    }

    /// The next entry.
    #[inline]
    pub fn next(&mut self) -> Result<Option<Entry<'t>>> {
        self.step(&[], ffi::MDB_NEXT)
    }

    /// The last entry of the tree.
    pub fn last(&mut self) -> Result<Option<Entry<'t>>> {
        self.step(&[], ffi::MDB_LAST)
    }

    /// The number of entries with `start` <= key, and key < `end` if there is an end.
    pub fn count(&mut self, start: &[u8], end: Option<&[u8]>) -> Result<u64> {
        let inside = |key: &[u8]| end.is_none_or(|end| key < end);
        let mut entry = self.seek(start)?;
        let mut count = 0;
        while let Some((key, _)) = entry.filter(|(key, _)| inside(key)) {
            // a whole page in one step, if its last key is inside too
            let page = if self.txn.mapped {
                self.rest_of_page(key)
            } else {
                None
            };
            if let Some((left, last)) = page.filter(|(_, last)| inside(last)) {
                count += left;
                self.step(last, ffi::MDB_SET_RANGE)?;
                entry = self.next()?;
                continue;
            }
            count += 1;
            entry = self.next()?;
        }
        Ok(count)
    }

    /// The number of entries in the leaf page of `key` from `key` on, and the last key of the page.
    ///
    /// `key` must be the key that this cursor has just returned from the map. Every number is
    /// checked against the page before it is used. The count is correct without this; it is only
    /// slower.
    fn rest_of_page(&self, key: &'t [u8]) -> Option<(u64, &'t [u8])> {
        let address = key.as_ptr() as usize;
        let offset = address % PAGE_BYTES;
        // SAFETY: the key is in the map of a read transaction. The map consists of whole pages that
        // are aligned to their size (the page size is checked when the store is opened), and the
        // page does not change for 't.
        let page: &'t [u8] =
            unsafe { std::slice::from_raw_parts((address - offset) as *const u8, PAGE_BYTES) };
        let number = |at: usize| u16::from_le_bytes([page[at], page[at + 1]]);
        let lower = number(LOWER_AT) as usize;
        if number(FLAGS_AT) != FLAG_LEAF
            || !(HEADER_BYTES + 2..=PAGE_BYTES).contains(&lower)
            || !lower.is_multiple_of(2)
        {
            return None;
        }
        let node = offset.checked_sub(NODE_BYTES)?;
        // most often the first: a count continues from page to page
        let at = (HEADER_BYTES..lower)
            .step_by(2)
            .position(|at| number(at) as usize == node)?;
        let entries = (lower - HEADER_BYTES) / 2;
        let last = number(HEADER_BYTES + 2 * (entries - 1)) as usize;
        let key_bytes = page
            .get(last + NODE_KEY_SIZE_AT..last + NODE_BYTES)
            .map(|b| u16::from_le_bytes([b[0], b[1]]))?;
        let last_key = page.get(last + NODE_BYTES..last + NODE_BYTES + key_bytes as usize)?;
        Some(((entries - at) as u64, last_key))
    }
}

impl Txn<'_> {
    /// A cursor on a tree, before the first entry.
    pub fn cursor(&self, tree: Tree) -> Result<Cursor<'_>> {
        Cursor::open(self, tree)
    }
}

impl Drop for Cursor<'_> {
    fn drop(&mut self) {
        // SAFETY: it was opened on a transaction that outlives it, and is not used again.
        unsafe { ffi::mdb_cursor_close(self.raw) };
    }
}
