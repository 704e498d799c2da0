//! Reading through a transaction, and read transactions with their pool.
//!
//! The slices that a read returns borrow the transaction. A write needs the transaction mutably, so
//! the compiler ensures that no slice is used across a write.
#![allow(unsafe_code)]

use std::mem;
use std::ops::Deref;
use std::ptr;
use std::slice;
use std::time::{Duration, Instant};

use lmdb::{RoTransaction, Transaction};
use lmdb_sys as ffi;

use super::env::Env;
use super::error::error;
use super::tree::Tree;
use crate::error::Result;

/// What both kinds of transactions have for reading.
pub(crate) struct Txn<'e> {
    pub(super) raw: *mut ffi::MDB_txn,
    pub(super) env: &'e Env,
    /// Whether pages are in the map. (A write transaction has copies.)
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

/// SAFETY: the value must come from LMDB and stay valid for 't.
pub(super) unsafe fn bytes<'t>(val: &ffi::MDB_val) -> &'t [u8] {
    if val.mv_size == 0 {
        return &[];
    }
    // SAFETY: guaranteed by the caller.
    unsafe { slice::from_raw_parts(val.mv_data.cast::<u8>(), val.mv_size) }
}

impl<'e> Txn<'e> {
    /// The value of a key, or none. The key must be 1 to 511 bytes.
    #[inline]
    pub fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<&[u8]>> {
        let (mut key, mut data) = (val(key), empty_val());
        // SAFETY: the transaction is live, the tree belongs to its environment, and what LMDB
        // returns stays valid until the next write, which needs the transaction mutably.
        unsafe {
            match ffi::mdb_get(self.raw, self.env.dbi(tree), &mut key, &mut data) {
                0 => Ok(Some(bytes(&data))),
                ffi::MDB_NOTFOUND => Ok(None),
                rc => Err(error(rc, "get")),
            }
        }
    }

    /// The number of entries of a tree.
    pub fn entries(&self, tree: Tree) -> Result<u64> {
        Ok(self.stat(tree)?.ms_entries as u64)
    }

    /// The number of pages of a tree.
    pub fn tree_pages(&self, tree: Tree) -> Result<u64> {
        let stat = self.stat(tree)?;
        Ok((stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages) as u64)
    }

    /// An upper bound for the pages of all trees, in a write transaction that has written nothing:
    /// the pages of the file.
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

    /// LMDB's number of the commit that this transaction reads, or that it will make.
    pub fn id(&self) -> u64 {
        // SAFETY: the transaction is live.
        unsafe { ffi::mdb_txn_id(self.raw) as u64 }
    }
}

/// A read transaction. When it is dropped it is parked for the next reader. It must not outlive the
/// call that began it: LMDB reuses no page that was freed after its commit.
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

impl Env {
    /// A read transaction on the newest commit: a parked one renewed, or a new one.
    pub fn read(&self) -> Result<ReadTxn<'_>> {
        if let Some(parked) = self.unpark() {
            let txn = parked
                .renew()
                .map_err(|e| error(e.to_err_code(), "read transaction"))?;
            return Ok(ReadTxn::new(self, txn));
        }
        self.begin_read(Instant::now() + Duration::from_secs(1))
    }

    #[cold]
    fn begin_read(&self, deadline: Instant) -> Result<ReadTxn<'_>> {
        loop {
            match self.lmdb().begin_ro_txn() {
                // SAFETY: the transaction is dropped or parked before the environment closes:
                // ReadTxn borrows the environment, which empties its pool before it closes.
                Ok(txn) => return Ok(ReadTxn::new(self, unsafe { extend(txn) })),
                Err(lmdb::Error::ReadersFull) => {
                    while self.unpark().is_some() {}
                    let checked = self.reader_check();
                    if Instant::now() >= deadline {
                        return Err(checked.err().unwrap_or_else(|| self.readers_full()));
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(e) => return Err(error(e.to_err_code(), "read transaction")),
            }
        }
    }
}

/// SAFETY: the transaction must end before its environment closes.
unsafe fn extend(txn: RoTransaction<'_>) -> RoTransaction<'static> {
    // SAFETY: only the lifetime changes.
    unsafe { mem::transmute(txn) }
}
