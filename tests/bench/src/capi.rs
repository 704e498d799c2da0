//! `kv_get_into` of the built `libkv.so`, loaded at run time. This is a second copy of the library,
//! so it needs another store.
#![allow(unsafe_code)]

use std::ffi::{CString, c_void};
use std::path::Path;
use std::ptr;

#[repr(C)]
struct KvBytes {
    data: *const u8,
    len: usize,
}

type Open = unsafe extern "C" fn(
    *const libc::c_char,
    *const c_void,
    *mut *mut c_void,
    *mut *mut c_void,
) -> i32;
type GetInto = unsafe extern "C" fn(
    *const c_void,
    KvBytes,
    *mut u8,
    usize,
    *mut usize,
    *mut *mut c_void,
) -> i32;
type Close = unsafe extern "C" fn(*mut c_void);

/// A store opened through the C library.
pub struct C {
    db: *mut c_void,
    get_into: GetInto,
    close: Close,
}

impl C {
    /// Loads `library` and opens the store. `None` if the library does not exist.
    pub fn open(library: &Path, store: &Path) -> Option<C> {
        let library = CString::new(library.as_os_str().as_encoded_bytes()).ok()?;
        let store = CString::new(store.as_os_str().as_encoded_bytes()).ok()?;
        // SAFETY: the symbols have the types that include/kv.h gives them.
        unsafe {
            let handle = libc::dlopen(library.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL);
            if handle.is_null() {
                return None;
            }
            let symbol = |name: &std::ffi::CStr| libc::dlsym(handle, name.as_ptr());
            let open: Open = std::mem::transmute(symbol(c"kv_open"));
            let get_into: GetInto = std::mem::transmute(symbol(c"kv_get_into"));
            let close: Close = std::mem::transmute(symbol(c"kv_close"));
            let mut db = ptr::null_mut();
            let code = open(store.as_ptr(), ptr::null(), &mut db, ptr::null_mut());
            assert_eq!(code, 0, "kv_open");
            Some(C {
                db,
                get_into,
                close,
            })
        }
    }

    /// Copies the value to `buffer` and returns its length.
    pub fn get_into(&self, key: &[u8], buffer: &mut [u8]) -> usize {
        let mut len = 0;
        // SAFETY: the handle is open; key, buffer and length live for the whole call.
        let code = unsafe {
            let key = KvBytes {
                data: key.as_ptr(),
                len: key.len(),
            };
            (self.get_into)(
                self.db,
                key,
                buffer.as_mut_ptr(),
                buffer.len(),
                &mut len,
                ptr::null_mut(),
            )
        };
        assert_eq!(code, 0, "kv_get_into");
        len
    }
}

impl Drop for C {
    fn drop(&mut self) {
        // SAFETY: this is the last use of the handle.
        unsafe { (self.close)(self.db) };
    }
}
