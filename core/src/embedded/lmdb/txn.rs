//! Transactions, and what is read and written through them.
//!
//! Slices answered by a read borrow the transaction. A write needs it mutably, so the compiler
//! sees to it that no slice is held across one.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ops::Deref;
use std::{mem, ptr, slice};

use lmdb::{RoTransaction, RwTransaction, Transaction};
use lmdb_sys as ffi;

use super::{Cursor, Env, Tree, error};
use crate::error::Result;

/// What reading needs, of either kind of transaction.
pub(crate) struct Txn<'e> {
    pub(super) raw: *mut ffi::MDB_txn,
    pub(super) env: &'e Env,
    /// Whether pages are those of the map (a write transaction has copies of its own).
    pub(super) mapped: bool,
}

pub(super) fn val(bytes: &[u8]) -> ffi::MDB_val {
    ffi::MDB_val {
        mv_size: bytes.len(),
        mv_data: bytes.as_ptr().cast_mut().cast(),
    }
}

pub(super) fn empty_val() -> ffi::MDB_val {
    ffi::MDB_val {
        mv_size: 0,
        mv_data: ptr::null_mut(),
    }
}

/// SAFETY: the value must come from LMDB and stay where it is for 't.
pub(super) unsafe fn bytes<'t>(val: &ffi::MDB_val) -> &'t [u8] {
    if val.mv_size == 0 {
        return &[];
    }
    // SAFETY: said above.
    unsafe { slice::from_raw_parts(val.mv_data.cast::<u8>(), val.mv_size) }
}

impl<'e> Txn<'e> {
    /// The value of a key, or none. The key must be 1 to 511 bytes.
    #[inline]
    pub fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<&[u8]>> {
        let (mut key, mut data) = (val(key), empty_val());
        // SAFETY: the transaction is live, the tree belongs to its environment, and what LMDB
        // answers stays until the next write, which needs the transaction mutably.
        unsafe {
            match ffi::mdb_get(self.raw, self.env.dbi(tree), &mut key, &mut data) {
                0 => Ok(Some(bytes(&data))),
                ffi::MDB_NOTFOUND => Ok(None),
                rc => Err(error(rc, "get")),
            }
        }
    }

    /// A cursor on a tree, at no entry yet.
    pub fn cursor(&self, tree: Tree) -> Result<Cursor<'_>> {
        Cursor::open(self, tree)
    }

    /// How many entries a tree has.
    pub fn entries(&self, tree: Tree) -> Result<u64> {
        Ok(self.stat(tree)?.ms_entries as u64)
    }

    /// How many pages a tree has.
    pub fn tree_pages(&self, tree: Tree) -> Result<u64> {
        let stat = self.stat(tree)?;
        Ok((stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages) as u64)
    }

    /// How many pages all trees may have at most, for a write transaction that has written nothing yet:
    /// those of the file.
    pub fn pages_at_most(&self) -> Result<u64> {
        self.env.pages()
    }

    fn stat(&self, tree: Tree) -> Result<ffi::MDB_stat> {
        let mut stat = ffi::MDB_stat {
            ms_psize: 0,
            ms_depth: 0,
            ms_branch_pages: 0,
            ms_leaf_pages: 0,
            ms_overflow_pages: 0,
            ms_entries: 0,
        };
        // SAFETY: the transaction is live and the pointer is to our own structure.
        match unsafe { ffi::mdb_stat(self.raw, self.env.dbi(tree), &mut stat) } {
            0 => Ok(stat),
            rc => Err(error(rc, "stat")),
        }
    }

    /// LMDB's number of the commit that this reads, or that this will be.
    pub fn id(&self) -> u64 {
        // SAFETY: the transaction is live.
        unsafe { ffi::mdb_txn_id(self.raw) as u64 }
    }
}

/// A read transaction; when dropped it is parked for the next reader. Never kept while a user
/// thinks: it holds every later commit's old pages.
pub(crate) struct ReadTxn<'e> {
    txn: Txn<'e>,
    /// Some until dropped.
    inner: Option<RoTransaction<'static>>,
}

impl<'e> ReadTxn<'e> {
    pub(super) fn new(env: &'e Env, inner: RoTransaction<'static>) -> ReadTxn<'e> {
        ReadTxn {
            txn: Txn {
                raw: inner.txn(),
                env,
                mapped: true,
            },
            inner: Some(inner),
        }
    }
}

impl<'e> Deref for ReadTxn<'e> {
    type Target = Txn<'e>;

    fn deref(&self) -> &Txn<'e> {
        &self.txn
    }
}

impl Drop for ReadTxn<'_> {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.take() {
            self.txn.env.park(inner);
        }
    }
}

/// A write transaction, with a cursor on each tree it has written, open until its end. Dropped
/// without a commit it leaves nothing behind.
pub(crate) struct WriteTxn<'e> {
    txn: Txn<'e>,
    cursors: [*mut ffi::MDB_cursor; Tree::NAMES.len()],
    /// Some until the end. LMDB binds it to this thread, and the raw pointers keep it there.
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
            // SAFETY: the transaction is live and the pointer is to our own place.
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
        // SAFETY: the cursor is open on this live transaction; key and data point to what the
        // caller lends for the call.
        match unsafe { ffi::mdb_cursor_put(cursor, &mut key, data, flags) } {
            0 => Ok(true),
            ffi::MDB_KEYEXIST => Ok(false),
            rc => Err(error(rc, "write")),
        }
    }

    /// Reserves `len` bytes for a new key and answers the place to fill; if the key exists,
    /// nothing is written and what it has is answered instead.
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
            // SAFETY: LMDB has answered the entry that is there; it stays until the next write,
            // which needs the transaction mutably, which the slice has borrowed.
            return Ok(Err(unsafe { bytes(&data) }));
        }
        // SAFETY: LMDB has answered the place of the new entry, which stays as above.
        Ok(Ok(unsafe { place(&data) }))
    }

    /// Reserves `len` bytes for a key, there or not, and answers the place to fill.
    pub fn reserve(&mut self, tree: Tree, key: &[u8], len: usize) -> Result<&mut [u8]> {
        let mut data = ffi::MDB_val {
            mv_size: len,
            mv_data: ptr::null_mut(),
        };
        self.put_raw(tree, key, &mut data, ffi::MDB_RESERVE)?;
        // SAFETY: as in `insert`.
        Ok(unsafe { place(&data) })
    }

    /// Reserves `len` bytes for a key above every other; none if it is not.
    pub fn append(&mut self, tree: Tree, key: &[u8], len: usize) -> Result<Option<&mut [u8]>> {
        let mut data = ffi::MDB_val {
            mv_size: len,
            mv_data: ptr::null_mut(),
        };
        let appended = self.put_raw(tree, key, &mut data, ffi::MDB_APPEND | ffi::MDB_RESERVE)?;
        // SAFETY: as in `insert`.
        Ok(appended.then(|| unsafe { place(&data) }))
    }

    /// Writes a key, there or not.
    pub fn put(&mut self, tree: Tree, key: &[u8], value: &[u8]) -> Result<()> {
        let mut data = val(value);
        self.put_raw(tree, key, &mut data, 0)?;
        Ok(())
    }

    /// Deletes a key; answers whether it was there.
    pub fn delete(&mut self, tree: Tree, key: &[u8]) -> Result<bool> {
        let cursor = self.open_cursor(tree)?;
        let mut key = val(key);
        // SAFETY: the cursor is open on this live transaction; where the last call left it spares
        // the way down for a key of the same page.
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

    /// Commits; `lazy` leaves the meta page to the page cache. On an error nothing is written, or
    /// if the meta page failed perhaps all of it ([`Env::is_broken`] tells).
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
            // SAFETY: it was opened in this transaction, which is still live, and is not used again.
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

/// The first fields of a transaction, as the source of LMDB 0.9.24 has them. No environment opens
/// with another version.
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
    /// Points behind its first word, which is its capacity.
    spill_pgs: *mut usize,
}

impl WriteTxn<'_> {
    /// Frees the list of pages that the transaction, which has ended, had to spill. LMDB 0.9.24 frees
    /// that of a nested transaction only (ITS#9155): 220 kB were lost with 60,000 puts.
    fn free_spilled(&self) {
        let fields = self.txn.raw.cast::<TxnFields>();
        // SAFETY: an environment has one write transaction, allocated once and kept until it closes.
        // No other code uses it now: it has ended, and the next cannot begin, since this thread holds the
        // writer's lock. Its list came from malloc, nothing else points to it, and the next
        // transaction begins without one.
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

/// SAFETY: the value must be a place that LMDB has reserved, and nothing else may borrow it.
unsafe fn place<'t>(val: &ffi::MDB_val) -> &'t mut [u8] {
    if val.mv_size == 0 {
        return &mut [];
    }
    // SAFETY: said above.
    unsafe { slice::from_raw_parts_mut(val.mv_data.cast::<u8>(), val.mv_size) }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::embedded::opening;
    use crate::options::Options;

    /// Whether the environment's one write transaction has a list of spilled pages.
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
            .expect("the writer's lock");
        for committed in [true, false] {
            let mut txn = store.env().write().expect("a transaction");
            let raw = txn.raw;
            assert!(!has_spilled(raw));
            // a page each, and more than the list of dirty pages holds
            for n in 0..9_000u32 {
                txn.put(Tree::Side, &n.to_be_bytes(), &[0; 3_000])
                    .expect("put");
            }
            assert!(has_spilled(raw), "it is not large enough");
            match committed {
                true => txn.commit(true).expect("committed"),
                false => drop(txn),
            }
            assert!(!has_spilled(raw), "committed: {committed}");
        }
    }
}
