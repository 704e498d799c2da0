//! The bodies of calls: no panic leaves the library, and errors are returned to the caller.
#![allow(unsafe_code)]

use std::panic::{AssertUnwindSafe, catch_unwind};

use libkv::{Code, Error, Result};

use crate::codes::{KV_OK, KvCode};
use crate::handle::Kind;
use crate::pointers::Caller;

/// The body of an entry point that can fail.
macro_rules! guard {
    ($error:expr, |$c:ident| $body:expr) => {{
        let body = |$c: &$crate::pointers::Caller| -> libkv::Result<()> { $body };
        // SAFETY: the caller of an entry point passes pointers as the header requires.
        unsafe { $crate::guard::run($error, body) }
    }};
}
pub(crate) use guard;

/// The body of an entry point that cannot fail, with the value that it returns if there is none.
macro_rules! guard_value {
    ($otherwise:expr, |$c:ident| $body:expr) => {{
        let body = |$c: &$crate::pointers::Caller| -> Option<_> { $body };
        // SAFETY: the caller of an entry point passes pointers as the header requires.
        let caller = unsafe { $crate::pointers::Caller::new() };
        $crate::guard::value($otherwise, || body(&caller))
    }};
}
pub(crate) use guard_value;

/// The whole body of an entry point that frees a handle.
macro_rules! free {
    ($pointer:expr) => {
        $crate::guard::guard_value!((), |c| {
            c.free($pointer);
            Some(())
        })
    };
}
pub(crate) use free;

/// Runs the body of a call: no panic leaves it, and its error is returned through `error`.
///
/// The default panic hook prints to standard error before a panic is caught. A library must not
/// replace the program's hook, so it stays; a panic is a defect of libkv and never expected.
///
/// SAFETY: `error` and the pointers that the body follows must be as the header requires.
pub(crate) unsafe fn run<K: Kind>(
    error: *mut *mut K,
    body: impl FnOnce(&Caller) -> Result<()>,
) -> KvCode
where
    K::Value: From<Error>,
{
    // SAFETY: the caller guarantees it.
    let caller = unsafe { Caller::new() };
    let mut body = Some(|| body(&caller));
    match outcome(&mut || body.take().map_or(Ok(()), |body| body())) {
        Ok(()) => KV_OK,
        Err(failure) => {
            let code = failure.code().number();
            caller.give(error, failure.into());
            code
        }
    }
}

/// What is the same for all calls, once: there are over a hundred.
#[inline(never)]
fn outcome(body: &mut dyn FnMut() -> Result<()>) -> Result<()> {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("without a message");
        Err(Error::new(
            Code::Internal,
            format!("libkv panicked: {text}"),
        ))
    })
}

/// Runs the body of a call that cannot fail; `otherwise` if it has no value or panics.
pub(crate) fn value<T>(otherwise: T, body: impl FnOnce() -> Option<T>) -> T {
    let (mut body, mut value) = (Some(body), None);
    value_dyn(&mut || value = body.take().and_then(|body| body()));
    value.unwrap_or(otherwise)
}

#[inline(never)]
fn value_dyn(body: &mut dyn FnMut()) {
    let _ = catch_unwind(AssertUnwindSafe(body));
}
