//! The write transaction.
//!
//! A write needs the transaction mutably, so the compiler ensures that no slice that a read has
//! returned is used across it.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::mem;
use std::ops::Deref;
use std::ptr;
use std::slice;

use lmdb::{RwTransaction, Transaction};
use lmdb_sys as ffi;

use super::env::Env;
use super::error::error;
use super::tree::Tree;
use super::txn::{Txn, bytes, empty_val, val};
use crate::error::Result;

/// A write transaction, with a cursor on each tree that it has written to. Dropped without a commit
/// it changes nothing.
pub(crate) struct WriteTxn<'e> {
    txn: Txn<'e>,
    cursors: [*mut ffi::MDB_cursor; Tree::NAMES.len()],
    /// Some until the end. LMDB binds it to this thread.
    inner: Option<RwTransaction<'e>>,
    _one_thread: PhantomData<*mut ()>,
}

impl<'e> Deref for WriteTxn<'e> {
    type Target = Txn<'e>;

    fn deref(&self) -> &Txn<'e> {
        &self.txn
    }
}

impl<'e> WriteTxn<'e> {
    pub(super) fn new(env: &'e Env, inner: RwTransaction<'e>) -> WriteTxn<'e> {
        WriteTxn {
            txn: Txn {
                raw: inner.txn(),
                env,
                mapped: false,
            },
            cursors: [ptr::null_mut(); Tree::NAMES.len()],
            inner: Some(inner),
            _one_thread: PhantomData,
        }
    }

    fn open_cursor(&mut self, tree: Tree) -> Result<*mut ffi::MDB_cursor> {
        let slot = &mut self.cursors[tree as usize];
        if slot.is_null() {
            // SAFETY: the transaction is live and the pointer is to our own variable.
            match unsafe { ffi::mdb_cursor_open(self.txn.raw, self.txn.env.dbi(tree), slot) } {
                0 => {}
                rc => return Err(error(rc, "cursor")),
            }
        }
        Ok(*slot)
    }

    fn put_raw(
        &mut self,
        tree: Tree,
        key: &[u8],
        data: &mut ffi::MDB_val,
        flags: u32,
    ) -> Result<bool> {
        let cursor = self.open_cursor(tree)?;
        let mut key = val(key);
        // SAFETY: the cursor is open on this live transaction; key and data point to memory that
        // the caller borrows for the call.
        match unsafe { ffi::mdb_cursor_put(cursor, &mut key, data, flags) } {
            0 => Ok(true),
            ffi::MDB_KEYEXIST => Ok(false),
            rc => Err(error(rc, "write")),
        }
    }

    /// Reserves `len` bytes for a new key and returns them, to be filled. If the key exists,
    /// nothing is written and its value is returned as the error.
    pub fn insert(
        &mut self,
        tree: Tree,
        key: &[u8],
        len: usize,
    ) -> Result<std::result::Result<&mut [u8], &[u8]>> {
        let mut data = ffi::MDB_val {
            mv_size: len,
            mv_data: ptr::null_mut(),
        };
        let inserted = self.put_raw(
            tree,
            key,
            &mut data,
            ffi::MDB_NOOVERWRITE | ffi::MDB_RESERVE,
        )?;
        if !inserted {
            // SAFETY: LMDB has returned the existing entry. It stays until the next write, which
            // needs the transaction mutably; the slice has borrowed it.
            return Ok(Err(unsafe { bytes(&data) }));
        }
        // SAFETY: LMDB has returned the place of the new entry, which stays as above.
        Ok(Ok(unsafe { place(&data) }))
    }

    /// Reserves `len` bytes for a key, which may exist, and returns them, to be filled.
    pub fn reserve(&mut self, tree: Tree, key: &[u8], len: usize) -> Result<&mut [u8]> {
        let mut data = ffi::MDB_val {
            mv_size: len,
            mv_data: ptr::null_mut(),
        };
        self.put_raw(tree, key, &mut data, ffi::MDB_RESERVE)?;
        // SAFETY: as in `insert`.
        Ok(unsafe { place(&data) })
    }

    /// Reserves `len` bytes for a key above every other key; none if it is not above them.
    pub fn append(&mut self, tree: Tree, key: &[u8], len: usize) -> Result<Option<&mut [u8]>> {
        let mut data = ffi::MDB_val {
            mv_size: len,
            mv_data: ptr::null_mut(),
        };
        let appended = self.put_raw(tree, key, &mut data, ffi::MDB_APPEND | ffi::MDB_RESERVE)?;
        // SAFETY: as in `insert`.
        Ok(appended.then(|| unsafe { place(&data) }))
    }

    /// Writes a key, which may exist.
    pub fn put(&mut self, tree: Tree, key: &[u8], value: &[u8]) -> Result<()> {
        let mut data = val(value);
        self.put_raw(tree, key, &mut data, 0)?;
        Ok(())
    }

    /// Deletes a key; returns whether it existed.
    pub fn delete(&mut self, tree: Tree, key: &[u8]) -> Result<bool> {
        let cursor = self.open_cursor(tree)?;
        let mut key = val(key);
        // SAFETY: the cursor is open on this live transaction. (Its position spares the descent for
        // a key of the same page.)
        unsafe {
            match ffi::mdb_cursor_get(cursor, &mut key, &mut empty_val(), ffi::MDB_SET) {
                0 => {}
                ffi::MDB_NOTFOUND => return Ok(false),
                rc => return Err(error(rc, "delete")),
            }
            match ffi::mdb_cursor_del(cursor, 0) {
                0 => Ok(true),
                rc => Err(error(rc, "delete")),
            }
        }
    }

    /// Commits; `lazy` leaves the meta page in the page cache. After an error nothing is written,
    /// unless the write of the meta page failed ([`Env::is_broken`]): then the commit may exist.
    pub fn commit(mut self, lazy: bool) -> Result<()> {
        self.close_cursors();
        self.txn.env.set_lazy(lazy)?;
        match self.inner.take() {
            Some(inner) => inner.commit().map_err(|e| error(e.to_err_code(), "commit")),
            None => Ok(()),
        }
    }

    fn close_cursors(&mut self) {
        for cursor in self.cursors.iter_mut().filter(|cursor| !cursor.is_null()) {
            // SAFETY: the cursor was opened in this live transaction and is not used again.
            unsafe { ffi::mdb_cursor_close(*cursor) };
            *cursor = ptr::null_mut();
        }
    }
}

impl Drop for WriteTxn<'_> {
    fn drop(&mut self) {
        self.close_cursors();
        drop(self.inner.take());
        self.free_spilled();
    }
}

/// The first fields of a transaction in LMDB 0.9.24. No environment opens with another version.
#[repr(C)]
struct TxnFields {
    parent: *mut ffi::MDB_txn,
    child: *mut ffi::MDB_txn,
    next_pgno: usize,
    txnid: usize,
    env: *mut ffi::MDB_env,
    free_pgs: *mut usize,
    loose_pgs: *mut libc::c_void,
    loose_count: libc::c_int,
    /// Points to the second word of the list; the first is its capacity.
    spill_pgs: *mut usize,
}

impl WriteTxn<'_> {
    /// Frees the list of pages that the ended transaction has spilled. LMDB 0.9.24 frees the list
    /// of nested transactions only (ITS#9155): a transaction of 60,000 puts leaked 220 kB.
    fn free_spilled(&self) {
        let fields = self.txn.raw.cast::<TxnFields>();
        // SAFETY: an environment has one write transaction, allocated once and kept until it
        // closes. No other code uses it now: it has ended, and the next cannot begin, since this
        // thread holds the write lock. The list came from malloc, nothing else points to it, and
        // the next transaction begins without one.
        unsafe {
            if (*fields).env != self.txn.env.raw() {
                return;
            }
            let list = mem::replace(&mut (*fields).spill_pgs, ptr::null_mut());
            if !list.is_null() {
                libc::free(list.sub(1).cast());
            }
        }
    }
}

/// SAFETY: the value must be memory that LMDB has reserved, and nothing else may borrow it.
unsafe fn place<'t>(val: &ffi::MDB_val) -> &'t mut [u8] {
    if val.mv_size == 0 {
        return &mut [];
    }
    // SAFETY: guaranteed by the caller.
    unsafe { slice::from_raw_parts_mut(val.mv_data.cast::<u8>(), val.mv_size) }
}

impl Env {
    /// A write transaction. The caller holds the write lock.
    pub fn write(&self) -> Result<WriteTxn<'_>> {
        let txn = self
            .lmdb()
            .begin_rw_txn()
            .map_err(|e| error(e.to_err_code(), "write transaction"))?;
        Ok(WriteTxn::new(self, txn))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::embedded::opening;
    use crate::options::Options;

    /// Whether the write transaction of the environment has a list of spilled pages.
    fn has_spilled(raw: *mut ffi::MDB_txn) -> bool {
        // SAFETY: the environment is open, and only this thread writes.
        !unsafe { (*raw.cast::<TxnFields>()).spill_pgs }.is_null()
    }

    #[test]
    fn large_transaction_leaves_no_list_of_spilled_pages() {
        let store = opening::open(Path::new(":memory:"), &Options::new()).expect("a store");
        let _held = store
            .guard()
            .lock_writer(None, None)
            .expect("the write lock");
        for committed in [true, false] {
            let mut txn = store.env().write().expect("a transaction");
            let raw = txn.raw;
            assert!(!has_spilled(raw));
            // a page each, and more pages than the list of dirty pages holds
            for n in 0..9_000u32 {
                txn.put(Tree::Side, &n.to_be_bytes(), &[0; 3_000])
                    .expect("put");
            }
            assert!(has_spilled(raw), "the transaction is too small to spill");
            match committed {
                true => txn.commit(true).expect("committed"),
                false => drop(txn),
            }
            assert!(!has_spilled(raw), "committed: {committed}");
        }
    }
}
