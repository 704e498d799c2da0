//! Handles: the contents of the opaque types of the header.
//!
//! A handle is a box that begins with a magic word of its kind; the opaque type in C has no
//! value. What a pointer of C means is decided in `pointers.rs`.
#![allow(unsafe_code)]

use std::panic::{AssertUnwindSafe, catch_unwind};

use libkv::{Code, Error, Result};

/// An opaque type of the header, and the type behind its pointers.
pub(crate) trait Kind {
    /// The contents of the handle.
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

/// Binds opaque types to their contents.
macro_rules! kinds {
    ($( $kind:ty = $value:ty, $magic:literal, $name:literal; )*) => { $(
        impl $crate::handle::Kind for $kind {
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
    // SAFETY: the caller guarantees it; the word is read as bytes are, whatever the alignment.
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

/// The contents of a handle.
///
/// SAFETY: the pointer must be NULL, a live handle of any kind, or point to eight readable bytes.
pub(crate) unsafe fn borrow<'a, K: Kind>(pointer: *const K) -> Result<&'a K::Value> {
    // SAFETY: the caller guarantees it; a handle with the right word is of `give` and not freed.
    unsafe { Ok(&(*checked(pointer)?).value) }
}

/// The contents of a handle that one thread uses at a time.
///
/// SAFETY: as `borrow`, and no other thread uses it now.
pub(crate) unsafe fn borrow_mut<'a, K: Kind>(pointer: *mut K) -> Result<&'a mut K::Value> {
    // SAFETY: the caller guarantees it, as in `borrow`.
    unsafe { Ok(&mut (*checked(pointer)?).value) }
}

/// Frees a handle; ignores NULL and a pointer of another kind.
///
/// SAFETY: as `borrow`, and the handle is not used again.
pub(crate) unsafe fn free<K: Kind>(pointer: *mut K) {
    // SAFETY: the caller guarantees it.
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

/// A handle that belongs to another one, and is freed with it.
pub(crate) struct Part<K: Kind>(*mut K);

impl<K: Kind> Part<K> {
    pub fn new(value: K::Value) -> Part<K> {
        Part(give(value))
    }

    pub fn pointer(&self) -> *mut K {
        self.0
    }
}

impl<K: Kind> Drop for Part<K> {
    fn drop(&mut self) {
        // SAFETY: it was made by `give` in `new`, and is freed only here.
        unsafe { free(self.0) }
    }
}
