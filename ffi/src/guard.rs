//! The border itself: pointers that C hands over, panics that must not cross, errors handed back.
//!
//! Every pointer cast of the crate is here and in `types.rs`. A handle is a box that begins with a
//! magic word of its kind; the opaque type that C sees is never made.
#![allow(unsafe_code)]

use std::panic::{AssertUnwindSafe, catch_unwind};

use libkv::{Code, Error, Result};

use crate::error::KvError;
use crate::types::KvCode;

/// An opaque type of the header, and what stands behind its pointers.
pub(crate) trait Kind {
    /// What the handle holds.
    type Value;
    /// The word that it begins with.
    const MAGIC: u64;
    /// The name in the header.
    const NAME: &'static str;
}

#[repr(C)]
struct Handle<V> {
    magic: u64,
    value: V,
}

/// Binds opaque types to what is behind them.
macro_rules! kinds {
    ($( $kind:ty = $value:ty, $magic:literal, $name:literal; )*) => { $(
        impl $crate::guard::Kind for $kind {
            type Value = $value;
            const MAGIC: u64 = u64::from_be_bytes(*$magic);
            const NAME: &'static str = $name;
        }
    )* };
}
pub(crate) use kinds;

pub(crate) fn invalid(message: impl Into<String>) -> Error {
    Error::new(Code::InvalidArgument, message)
}

/// A handle over this value, for C to free.
pub(crate) fn give<K: Kind>(value: K::Value) -> *mut K {
    Box::into_raw(Box::new(Handle {
        magic: K::MAGIC,
        value,
    }))
    .cast()
}

/// SAFETY: the pointer must be NULL or point to eight readable bytes.
unsafe fn checked<K: Kind>(pointer: *const K) -> Result<*mut Handle<K::Value>> {
    let handle = pointer.cast_mut().cast::<Handle<K::Value>>();
    // SAFETY: said above; the word is read as bytes are, whatever the alignment.
    match !handle.is_null() && unsafe { handle.cast::<u64>().read_unaligned() } == K::MAGIC {
        true => Ok(handle),
        false => Err(no_handle(handle.is_null(), K::NAME)),
    }
}

/// Once for all kinds: what is refused is rare.
#[cold]
fn no_handle(is_null: bool, name: &str) -> Error {
    invalid(if is_null {
        format!("the pointer to a {name} is NULL")
    } else {
        format!("the pointer is to no {name}")
    })
}

/// What a handle holds.
///
/// SAFETY: the pointer must be NULL, a live handle of any kind, or point to eight readable bytes.
pub(crate) unsafe fn borrow<'a, K: Kind>(pointer: *const K) -> Result<&'a K::Value> {
    // SAFETY: said above; a handle with the right word was made by `give` and is not yet freed.
    unsafe { Ok(&(*checked(pointer)?).value) }
}

/// What a handle that one thread uses at a time holds.
///
/// SAFETY: as `borrow`, and no other thread uses it now.
pub(crate) unsafe fn borrow_mut<'a, K: Kind>(pointer: *mut K) -> Result<&'a mut K::Value> {
    // SAFETY: said above.
    unsafe { Ok(&mut (*checked(pointer)?).value) }
}

/// Frees a handle; NULL and another kind's pointer are left alone.
///
/// SAFETY: as `borrow`, and the handle is not used again.
pub(crate) unsafe fn free<K: Kind>(pointer: *mut K) {
    // SAFETY: said above.
    if let Ok(handle) = unsafe { checked(pointer) } {
        // SAFETY: it was made by `give`, from a box of this type. The word is wiped so that a
        // second free, though never allowed, most often does nothing.
        let handle = unsafe {
            (*handle).magic = 0;
            Box::from_raw(handle)
        };
        // dropping may close a store; no panic of it may cross
        let _ = catch_unwind(AssertUnwindSafe(|| drop(handle)));
    }
}

/// Writes an output, unless it is not wanted.
///
/// SAFETY: the pointer must be NULL or take a T.
pub(crate) unsafe fn put_out<T>(out: *mut T, value: T) {
    if !out.is_null() {
        // SAFETY: said above.
        unsafe { out.write(value) };
    }
}

/// Writes an output that may be absent, unless it is not wanted. KV_YES if there is one.
///
/// SAFETY: the pointer must be NULL or take a T.
pub(crate) unsafe fn put_known<T>(out: *mut T, value: Option<T>) -> i32 {
    let Some(value) = value else {
        return crate::types::KV_NO;
    };
    // SAFETY: said above.
    unsafe { put_out(out, value) };
    crate::types::KV_YES
}

/// Hands a new handle over, or frees it again if it is not wanted.
///
/// SAFETY: the pointer must be NULL or take a pointer.
pub(crate) unsafe fn give_out<K: Kind>(out: *mut *mut K, value: K::Value) {
    if !out.is_null() {
        // SAFETY: said above.
        unsafe { out.write(give(value)) };
    }
}

/// Refuses an output pointer that a call makes no sense without.
pub(crate) fn wanted<T>(out: *mut T, name: &str) -> Result<()> {
    if out.is_null() {
        Err(no_output(name))
    } else {
        Ok(())
    }
}

#[cold]
fn no_output(name: &str) -> Error {
    invalid(format!("the output pointer {name} is NULL"))
}

/// The body of every call that can fail: no panic crosses, and the error is handed over.
///
/// The default panic hook prints to standard error before a panic is caught. A library that
/// replaced the program's hook would reach into what is not its own, so it stays; a panic is a
/// defect of libkv and never expected.
///
/// SAFETY: `error` must be NULL or take a pointer.
pub(crate) unsafe fn guard(error: *mut *mut KvError, body: impl FnOnce() -> Result<()>) -> KvCode {
    let mut body = Some(body);
    // SAFETY: said above.
    unsafe { guard_dyn(error, &mut || body.take().map_or(Ok(()), |body| body())) }
}

/// What is the same for all calls, once: there are over a hundred.
///
/// SAFETY: as `guard`.
#[inline(never)]
unsafe fn guard_dyn(error: *mut *mut KvError, body: &mut dyn FnMut() -> Result<()>) -> KvCode {
    let failed = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => return crate::types::KV_OK,
        Ok(Err(failed)) => failed,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("without a message");
            Error::new(Code::Internal, format!("libkv panicked: {text}"))
        }
    };
    let code = failed.code().number();
    // SAFETY: said above.
    unsafe { give_out::<KvError>(error, crate::error::Handed::new(failed)) };
    code
}

/// The body of a call that cannot fail: whatever happens, an answer.
pub(crate) fn guard_value<T>(otherwise: T, body: impl FnOnce() -> Option<T>) -> T {
    let (mut body, mut value) = (Some(body), None);
    guard_value_dyn(&mut || value = body.take().and_then(|body| body()));
    value.unwrap_or(otherwise)
}

#[inline(never)]
fn guard_value_dyn(body: &mut dyn FnMut()) {
    let _ = catch_unwind(AssertUnwindSafe(body));
}
