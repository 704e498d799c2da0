//! Errors, which the caller owns: no global and no thread-local slot.
#![allow(unsafe_code)]

use std::ffi::{CString, c_char};

use libkv::Error;

use crate::codes::{KV_OK, KvCode, code_name};
use crate::guard::{free, guard_value, value};
use crate::handle::kinds;
use crate::types::{KV_NO, KvBytes, bytes_out};

/// An error: a code, a message, and for some codes the revision, lease or key concerned.
pub struct KvError;

/// The contents of a `kv_error`.
pub(crate) struct ErrorContents {
    error: Error,
    message: CString,
}

impl From<Error> for ErrorContents {
    fn from(error: Error) -> ErrorContents {
        let text: Vec<u8> = error.message().bytes().filter(|byte| *byte != 0).collect();
        ErrorContents {
            message: CString::new(text).unwrap_or_default(),
            error,
        }
    }
}

kinds! { KvError = ErrorContents, b"kv_error", "kv_error"; }

/// The code of an error; KV_OK for NULL.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_error_code(error: *const KvError) -> KvCode {
    guard_value!(KV_OK, |c| Some(c.arg(error).ok()?.error.code().number()))
}

/// The message of an error as UTF-8 with a terminating zero. It names the key, revision or path.
/// Empty for NULL.
///
/// Owner: the error; the text is valid until it is freed.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_error_message(error: *const KvError) -> *const c_char {
    guard_value!(c"".as_ptr(), |c| Some(c.arg(error).ok()?.message.as_ptr()))
}

/// The revision of an error: the compacted one for KV_COMPACTED, the current one for
/// KV_FUTURE_REVISION. KV_YES and *out, or KV_NO if the error has none.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_error_revision(error: *const KvError, out: *mut i64) -> i32 {
    guard_value!(KV_NO, |c| Some(
        c.put_known(out, c.arg(error).ok()?.error.revision())
    ))
}

/// The lease of an error: KV_LEASE_NOT_FOUND, KV_LEASE_EXISTS, KV_LEASE_LOST. KV_YES and *out, or
/// KV_NO if the error has none.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_error_lease(error: *const KvError, out: *mut i64) -> i32 {
    guard_value!(KV_NO, |c| Some(
        c.put_known(out, c.arg(error).ok()?.error.lease())
    ))
}

/// The key of an error: KV_KEY_NOT_FOUND, KV_DUPLICATE_KEY, and requests that are refused for one
/// of their keys. KV_YES and *out, or KV_NO if the error has none.
///
/// Owner: the error; the key is valid until it is freed.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_error_key(error: *const KvError, out: *mut KvBytes) -> i32 {
    guard_value!(KV_NO, |c| Some(
        c.put_known(out, c.arg(error).ok()?.error.key().map(bytes_out),)
    ))
}

/// Frees an error.
///
/// Owner: frees the error; NULL is allowed.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_error_free(error: *mut KvError) {
    free!(error)
}

/// The stable name of a code, for example "compacted"; "ok" for KV_OK, "unknown" for other numbers.
///
/// Owner: the library; the text is valid until the program ends.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub extern "C" fn kv_strerror(code: KvCode) -> *const c_char {
    value(c"unknown".as_ptr(), || Some(code_name(code)?.as_ptr()))
}
