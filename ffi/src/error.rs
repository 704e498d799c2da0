//! Errors, handed to the caller: no global and no thread-local slot.
#![allow(unsafe_code)]

use std::ffi::{CString, c_char};

use libkv::{Code, Error};

use crate::guard::{borrow, free, guard_value, kinds, put_known};
use crate::types::{KV_NO, KV_OK, KvBytes, KvCode, bytes_out};

/// An error: a code, a message, and for some codes the revision, lease or key concerned.
pub struct KvError;

/// The contents of a `kv_error`.
pub(crate) struct Handed {
    error: Error,
    message: CString,
}

impl Handed {
    pub fn new(error: Error) -> Handed {
        let text: Vec<u8> = error.message().bytes().filter(|byte| *byte != 0).collect();
        Handed {
            message: CString::new(text).unwrap_or_default(),
            error,
        }
    }
}

kinds! { KvError = Handed, b"kv_error", "kv_error"; }

/// The code of an error; KV_OK for NULL.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_error_code(error: *const KvError) -> KvCode {
    // SAFETY: an error of this library, or NULL.
    guard_value(KV_OK, || unsafe {
        Some(borrow(error).ok()?.error.code().number())
    })
}

/// The message of an error as UTF-8 with a terminating zero. It names the key, revision or path.
/// Empty for NULL.
///
/// Owner: the error; the text is valid until it is freed.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_error_message(error: *const KvError) -> *const c_char {
    // SAFETY: an error of this library, or NULL.
    guard_value(c"".as_ptr(), || unsafe {
        Some(borrow(error).ok()?.message.as_ptr())
    })
}

/// The revision of an error: the compacted one for KV_COMPACTED, the current one for
/// KV_FUTURE_REVISION. KV_YES and *out, or KV_NO if the error has none.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_error_revision(error: *const KvError, out: *mut i64) -> i32 {
    // SAFETY: an error of this library, or NULL; the output is NULL or takes the number.
    guard_value(KV_NO, || unsafe {
        Some(put_known(out, borrow(error).ok()?.error.revision()))
    })
}

/// The lease of an error: KV_LEASE_NOT_FOUND, KV_LEASE_EXISTS, KV_LEASE_LOST. KV_YES and *out, or
/// KV_NO if the error has none.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_error_lease(error: *const KvError, out: *mut i64) -> i32 {
    // SAFETY: an error of this library, or NULL; the output is NULL or takes the number.
    guard_value(KV_NO, || unsafe {
        Some(put_known(out, borrow(error).ok()?.error.lease()))
    })
}

/// The key of an error: KV_KEY_NOT_FOUND, KV_DUPLICATE_KEY, and requests that are refused for one
/// of their keys. KV_YES and *out, or KV_NO if the error has none.
///
/// Owner: the error; the key is valid until it is freed.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_error_key(error: *const KvError, out: *mut KvBytes) -> i32 {
    // SAFETY: an error of this library, or NULL; the output is NULL or takes the bytes.
    guard_value(KV_NO, || unsafe {
        Some(put_known(
            out,
            borrow(error).ok()?.error.key().map(bytes_out),
        ))
    })
}

/// Frees an error.
///
/// Owner: frees the error; NULL is allowed.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_error_free(error: *mut KvError) {
    // SAFETY: an error of this library, or NULL, and the last use of it.
    unsafe { free(error) }
}

/// The stable name of a code, for example "compacted"; "ok" for KV_OK, "unknown" for other numbers.
///
/// Owner: the library; the text is valid until the program ends.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub extern "C" fn kv_strerror(code: KvCode) -> *const c_char {
    const NAMES: [&std::ffi::CStr; 32] = [
        c"ok",
        c"invalid_argument",
        c"key_not_found",
        c"duplicate_key",
        c"too_many_ops",
        c"too_large",
        c"compacted",
        c"future_revision",
        c"lease_not_found",
        c"lease_exists",
        c"lease_lost",
        c"conflict",
        c"cancelled",
        c"timeout",
        c"closed",
        c"forked",
        c"busy",
        c"full",
        c"read_only",
        c"io",
        c"corrupt",
        c"incompatible",
        c"not_a_store",
        c"not_found",
        c"exists",
        c"unsupported",
        c"unavailable",
        c"unauthenticated",
        c"permission_denied",
        c"failed_precondition",
        c"internal",
        c"unknown_outcome",
    ];
    const _: () = assert!(NAMES.len() == Code::ALL.len() + 1);
    guard_value(c"unknown".as_ptr(), || {
        Some(NAMES.get(usize::try_from(code).ok()?)?.as_ptr())
    })
}
