//! Pointers that C passes in, as values of Rust.
//!
//! The header describes what each pointer must be. Each method of [`Caller`] names the part of it
//! on which it relies, so that no entry point needs a reason of its own.
#![allow(unsafe_code)]

use std::ffi::{CStr, OsStr, c_char, c_void};
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::ptr;

use libkv::{KeyRange, Result};

use crate::codes::KvCode;
use crate::handle::{Kind, borrow, borrow_mut, free, give, invalid};
use crate::types::{
    KV_NO, KV_RANGE_ALL, KV_RANGE_BETWEEN, KV_RANGE_FROM_KEY, KV_RANGE_KEY, KV_RANGE_PREFIX,
    KV_YES, KvBytes, KvKeyRange, KvKeyValue, OptionStruct, free_owned,
};

/// The caller of an entry point, which passes pointers as the header requires. Borrowed values are
/// valid only during the call.
pub(crate) struct Caller(());

impl Caller {
    /// SAFETY: during the life of the value, only pointers of one call of an entry point may be
    /// given to its methods, and they must be as the header requires.
    pub unsafe fn new() -> Caller {
        Caller(())
    }

    /// The contents of a handle.
    pub fn arg<K: Kind>(&self, pointer: *const K) -> Result<&K::Value> {
        // SAFETY: handles are NULL, or live for the whole call.
        unsafe { borrow(pointer) }
    }

    /// The contents of a handle that one thread uses at a time.
    #[allow(clippy::mut_from_ref)]
    pub fn arg_mut<K: Kind>(&self, pointer: *mut K) -> Result<&mut K::Value> {
        // SAFETY: as `arg`, and "Threads: one at a time". No entry point borrows one handle twice.
        unsafe { borrow_mut(pointer) }
    }

    /// Frees a handle.
    pub fn free<K: Kind>(&self, pointer: *mut K) {
        // SAFETY: handles are NULL or live, and this is the last use.
        unsafe { free(pointer) }
    }

    /// Frees a pair of `owned`.
    pub fn free_pair(&self, pair: *mut KvKeyValue) {
        // SAFETY: pairs are NULL, a view, or of `owned`, and this is the last use.
        unsafe { free_owned(pair) }
    }

    /// Writes an output, unless the pointer is NULL.
    pub fn put<T>(&self, out: *mut T, value: T) {
        if !out.is_null() {
            // SAFETY: output pointers are NULL or writable.
            unsafe { out.write(value) };
        }
    }

    /// Writes an output that may be absent, unless the pointer is NULL. KV_YES if there is one.
    pub fn put_known<T>(&self, out: *mut T, value: Option<T>) -> i32 {
        let Some(value) = value else { return KV_NO };
        self.put(out, value);
        KV_YES
    }

    /// Returns a new handle in `out`, or drops the value if `out` is NULL.
    pub fn give<K: Kind>(&self, out: *mut *mut K, value: K::Value) {
        if !out.is_null() {
            // SAFETY: output pointers are NULL or writable.
            unsafe { out.write(give(value)) };
        }
    }

    /// Bytes that are borrowed for the call.
    pub fn bytes(&self, bytes: KvBytes, name: &str) -> Result<&[u8]> {
        let KvBytes { data, len } = bytes;
        match readable(data, len, name)? {
            0 => Ok(&[]),
            // SAFETY: `len` bytes at `data` are readable during the call.
            len => Ok(unsafe { std::slice::from_raw_parts(data, len) }),
        }
    }

    /// A buffer to write to.
    #[allow(clippy::mut_from_ref)]
    pub fn buffer(&self, data: *mut u8, len: usize, name: &str) -> Result<&mut [u8]> {
        match readable(data, len, name)? {
            0 => Ok(&mut []),
            // SAFETY: only this call uses the `len` bytes at `data`.
            len => Ok(unsafe { std::slice::from_raw_parts_mut(data, len) }),
        }
    }

    /// A set of keys.
    pub fn range(&self, range: KvKeyRange) -> Result<KeyRange> {
        let key = self.bytes(range.key, "the key")?;
        let end = self.bytes(range.end, "the end of the range")?;
        Ok(match range.kind {
            KV_RANGE_KEY => KeyRange::key(key),
            KV_RANGE_PREFIX => KeyRange::prefix(key),
            KV_RANGE_BETWEEN => KeyRange::between(key, end),
            KV_RANGE_FROM_KEY => KeyRange::from_key(key),
            KV_RANGE_ALL => KeyRange::all(),
            other => return Err(invalid(format!("{other} is no KV_RANGE_… kind"))),
        })
    }

    /// A text that must be given.
    pub fn text(&self, text: *const c_char, name: &str) -> Result<&CStr> {
        match self.text_or_null(text) {
            Some(text) => Ok(text),
            None => Err(invalid(format!("{name} is NULL"))),
        }
    }

    /// A path that may be NULL.
    pub fn path(&self, text: *const c_char) -> Option<PathBuf> {
        let text = self.text_or_null(text)?;
        Some(PathBuf::from(OsStr::from_bytes(text.to_bytes())))
    }

    /// A text in UTF-8 that may be NULL.
    pub fn word(&self, text: *const c_char, name: &str) -> Result<Option<String>> {
        let text = self.text_or_null(text).map(CStr::to_str).transpose();
        match text {
            Ok(text) => Ok(text.map(str::to_string)),
            Err(_) => Err(invalid(format!("option {name} is not UTF-8"))),
        }
    }

    /// Texts in UTF-8 that must be given.
    pub fn words(
        &self,
        texts: *const *const c_char,
        len: usize,
        name: &str,
    ) -> Result<Vec<String>> {
        readable(texts.cast(), len, name)?;
        if len > isize::MAX as usize / size_of::<*const c_char>() {
            return Err(invalid(format!("{name} has an absurd length of {len}")));
        }
        let texts = match len {
            0 => &[],
            // SAFETY: `len` pointers at `texts` are readable during the call.
            len => unsafe { std::slice::from_raw_parts(texts, len) },
        };
        let word = |text: &*const c_char| match self.text(*text, name)?.to_str() {
            Ok(text) => Ok(text.to_string()),
            Err(_) => Err(invalid(format!("{name} is not UTF-8"))),
        };
        texts.iter().map(word).collect()
    }

    fn text_or_null(&self, text: *const c_char) -> Option<&CStr> {
        // SAFETY: texts are NULL or end with a zero byte.
        (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) })
    }

    /// Bytes that are a text in UTF-8.
    pub fn utf8(&self, bytes: KvBytes, name: &str) -> Result<&str> {
        std::str::from_utf8(self.bytes(bytes, name)?)
            .map_err(|error| invalid(format!("{name} is not UTF-8: {error}")))
    }

    /// Options of the caller's version of the header. Members that the caller does not have are
    /// zero; members that are not known here must be zero.
    pub fn options<T: OptionStruct>(&self, options: *const T) -> Result<T> {
        const SIZE_MAX: usize = 4_096;
        let mut ours = MaybeUninit::<T>::zeroed();
        if options.is_null() {
            // SAFETY: zeroes are a value of the type, as its trait requires.
            return Ok(unsafe { ours.assume_init() });
        }
        // SAFETY: option structs are NULL or begin with their size.
        let size = unsafe { options.cast::<usize>().read_unaligned() };
        if !(size_of::<usize>()..=SIZE_MAX).contains(&size) {
            return Err(invalid(format!(
                "{}.size is {size}: begin with its KV_…_INIT",
                T::NAME
            )));
        }
        let known = size.min(size_of::<T>());
        // SAFETY: the struct has the size that it names; the rest of ours is zero.
        unsafe {
            ptr::copy_nonoverlapping(options.cast::<u8>(), ours.as_mut_ptr().cast::<u8>(), known);
            let beyond = std::slice::from_raw_parts(options.cast::<u8>().add(known), size - known);
            if beyond.iter().any(|byte| *byte != 0) {
                return Err(invalid(format!(
                    "{} has members that are unknown to this library",
                    T::NAME
                )));
            }
            Ok(ours.assume_init())
        }
    }

    /// Calls the program's function with a handle and the payload that it passed.
    pub fn callback<K: Kind>(
        &self,
        function: unsafe extern "C" fn(*mut K, *mut c_void) -> KvCode,
        handle: *mut K,
        payload: *mut c_void,
    ) -> KvCode {
        // SAFETY: the function takes these arguments, and no exception leaves it.
        unsafe { function(handle, payload) }
    }

    /// The value that a callback may use while it runs.
    #[allow(clippy::mut_from_ref)]
    pub fn borrowed<T>(&self, pointer: &BorrowedPtr<T>) -> &mut T {
        // SAFETY: the handle that holds the pointer is valid only during the callback (see its
        // header comment), and one thread uses it at a time.
        unsafe { &mut *pointer.0 }
    }
}

/// A value that a handle of a callback refers to without owning it.
pub(crate) struct BorrowedPtr<T>(*mut T);

impl<T> BorrowedPtr<T> {
    pub fn new(value: &mut T) -> BorrowedPtr<T> {
        BorrowedPtr(value)
    }
}

/// The length of a buffer whose pointer and length agree.
fn readable(data: *const u8, len: usize, name: &str) -> Result<usize> {
    if len > 0 && data.is_null() {
        return Err(invalid(format!("{name} is NULL but has {len} bytes")));
    }
    if len > isize::MAX as usize {
        return Err(invalid(format!(
            "{name} has an invalid length of {len} bytes"
        )));
    }
    Ok(len)
}

/// Refuses a null pointer for an output that is required.
pub(crate) fn require_output<T>(out: *mut T, name: &str) -> Result<()> {
    if out.is_null() {
        Err(invalid(format!("the output pointer {name} is NULL")))
    } else {
        Ok(())
    }
}
