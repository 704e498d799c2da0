//! The reference: LMDB's own C calls, one named tree, the same flags as a store.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::path::Path;
use std::ptr;

use lmdb_sys as ffi;

/// How the reference is opened.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// Never flush.
    None,
    /// Two flushes a commit.
    Full,
}

/// A raw environment with one tree, and a read transaction to be renewed.
pub struct Raw {
    env: *mut ffi::MDB_env,
    dbi: ffi::MDB_dbi,
    reader: *mut ffi::MDB_txn,
}

// SAFETY: an environment opened with MDB_NOTLS may be used from any thread; the one reader is
// only used through `&mut self`.
unsafe impl Send for Raw {}
// SAFETY: as above. Shared references only begin write transactions, which LMDB serialises.
unsafe impl std::marker::Sync for Raw {}

fn must(rc: libc::c_int) {
    assert_eq!(rc, 0, "LMDB returned {rc}");
}

fn val(bytes: &[u8]) -> ffi::MDB_val {
    ffi::MDB_val {
        mv_size: bytes.len(),
        mv_data: bytes.as_ptr().cast_mut().cast(),
    }
}

/// SAFETY: `val` must come from LMDB and be used before the transaction ends.
unsafe fn bytes<'t>(val: &ffi::MDB_val) -> &'t [u8] {
    // SAFETY: required of the caller, see above.
    unsafe { std::slice::from_raw_parts(val.mv_data.cast(), val.mv_size) }
}

/// Makes the C library keep freed memory. Otherwise it returns large blocks to the system and
/// requests them again for the next result. The size from which it does so changes with every
/// large block, so the speed of the same code would depend on what ran before, by a factor of two.
pub fn keep_freed_memory() {
    // SAFETY: no other thread exists yet; the calls take two numbers.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 30);
        libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
    }
}

impl Raw {
    /// Opens the environment in `dir`. Creates it if it does not exist.
    pub fn open(dir: &Path, sync: Sync) -> Raw {
        std::fs::create_dir_all(dir).expect("the scratch folder is writable");
        let path =
            CString::new(dir.as_os_str().as_encoded_bytes()).expect("a path without a zero byte");
        let flags = ffi::MDB_NOTLS
            | if sync == Sync::None {
                ffi::MDB_NOSYNC
            } else {
                0
            };
        let mut raw = Raw {
            env: ptr::null_mut(),
            dbi: 0,
            reader: ptr::null_mut(),
        };
        // SAFETY: the calls are in the order that LMDB requires; the pointers are to fields of
        // `raw`.
        unsafe {
            must(ffi::mdb_env_create(&mut raw.env));
            must(ffi::mdb_env_set_mapsize(raw.env, 1 << 35));
            must(ffi::mdb_env_set_maxdbs(raw.env, 4));
            must(ffi::mdb_env_set_maxreaders(raw.env, 1024));
            must(ffi::mdb_env_open(raw.env, path.as_ptr(), flags, 0o600));
            let mut txn = ptr::null_mut();
            must(ffi::mdb_txn_begin(raw.env, ptr::null_mut(), 0, &mut txn));
            must(ffi::mdb_dbi_open(
                txn,
                c"tree".as_ptr(),
                ffi::MDB_CREATE,
                &mut raw.dbi,
            ));
            must(ffi::mdb_txn_commit(txn));
            must(ffi::mdb_txn_begin(
                raw.env,
                ptr::null_mut(),
                ffi::MDB_RDONLY,
                &mut raw.reader,
            ));
            ffi::mdb_txn_reset(raw.reader);
        }
        raw
    }

    /// One write transaction with everything that `each` puts.
    pub fn write(&self, keys: impl Iterator<Item = [u8; 16]>, value: &[u8]) {
        // SAFETY: the transaction begins and ends here; keys and values outlive each call.
        unsafe {
            let mut txn = ptr::null_mut();
            must(ffi::mdb_txn_begin(self.env, ptr::null_mut(), 0, &mut txn));
            for key in keys {
                must(ffi::mdb_put(
                    txn,
                    self.dbi,
                    &mut val(&key),
                    &mut val(value),
                    0,
                ));
            }
            must(ffi::mdb_txn_commit(txn));
        }
    }

    /// One write transaction that deletes these keys.
    pub fn delete(&self, keys: impl Iterator<Item = [u8; 16]>) {
        // SAFETY: as in `write`.
        unsafe {
            let mut txn = ptr::null_mut();
            must(ffi::mdb_txn_begin(self.env, ptr::null_mut(), 0, &mut txn));
            for key in keys {
                must(ffi::mdb_del(txn, self.dbi, &mut val(&key), ptr::null_mut()));
            }
            must(ffi::mdb_txn_commit(txn));
        }
    }

    /// A get in a new snapshot. Copies the value.
    pub fn get_into(&mut self, key: &[u8], buffer: &mut [u8]) -> Option<usize> {
        // SAFETY: the reader is renewed before the copy of the value and reset after it.
        unsafe {
            must(ffi::mdb_txn_renew(self.reader));
            let mut data = val(&[]);
            let found = ffi::mdb_get(self.reader, self.dbi, &mut val(key), &mut data) == 0;
            let len = found.then(|| {
                let value = bytes(&data);
                buffer[..value.len()].copy_from_slice(value);
                value.len()
            });
            ffi::mdb_txn_reset(self.reader);
            len
        }
    }

    /// Walks from `start` over up to `most` pairs.
    pub fn walk(&mut self, start: &[u8], most: usize, mut each: impl FnMut(&[u8], &[u8])) -> usize {
        // SAFETY: the cursor and the slices are used only within the renewed transaction.
        unsafe {
            must(ffi::mdb_txn_renew(self.reader));
            let mut cursor = ptr::null_mut();
            must(ffi::mdb_cursor_open(self.reader, self.dbi, &mut cursor));
            let (mut key, mut data) = (val(start), val(&[]));
            let mut rc = ffi::mdb_cursor_get(cursor, &mut key, &mut data, ffi::MDB_SET_RANGE);
            let mut seen = 0;
            while rc == 0 && seen < most {
                each(bytes(&key), bytes(&data));
                seen += 1;
                rc = ffi::mdb_cursor_get(cursor, &mut key, &mut data, ffi::MDB_NEXT);
            }
            ffi::mdb_cursor_close(cursor);
            ffi::mdb_txn_reset(self.reader);
            seen
        }
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // SAFETY: this is the last use of both.
        unsafe {
            ffi::mdb_txn_abort(self.reader);
            ffi::mdb_env_close(self.env);
        }
    }
}
