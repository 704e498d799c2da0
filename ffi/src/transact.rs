//! Optimistic transactions with a callback.
#![allow(unsafe_code)]

use std::ffi::c_void;

use libkv::{Error, Result, TRANSACT_RETRIES, Transaction};

use crate::db::KvDb;
use crate::error::KvError;
use crate::guard::guard;
use crate::handle::{Part, invalid, kinds};
use crate::options::{KvPutOptions, KvRangeOptions};
use crate::pointers::{BorrowedPtr, Caller, require_output};
use crate::range::{KvRangeResponse, RangeContents};
use crate::requests::{put_request, range_request};
use crate::types::*;

/// The view of the callback of kv_transact; valid during one call of it.
pub struct KvTransaction;

/// The contents of a `kv_transaction`: borrowed for one call of the callback, and used only there.
pub(crate) struct TransactionContents {
    transaction: BorrowedPtr<Transaction>,
    /// The last refusal that the callback got, to distinguish it from a code of its own.
    refused: Option<Error>,
}

kinds! { KvTransaction = TransactionContents, b"kv_tact\0", "kv_transaction"; }

/// Reads and writes through t. Any return value but KV_OK ends kv_transact with that code, and
/// nothing is written. The callback may run several times: it must have no side effects that cannot
/// be repeated.
pub type KvTransactFn =
    Option<unsafe extern "C" fn(t: *mut KvTransaction, payload: *mut c_void) -> KvCode>;

/// Runs body, then commits its writes in one revision if nothing it read has changed; otherwise
/// runs body again. Between tries it waits a short random time that grows. max_retries 0 is the
/// default, 64; KV_NO_WAIT tries once; KV_FOREVER never gives up.
///
/// Owner: payload is passed to body unchanged; t is owned by the library.
/// Threads: any; body runs on the calling thread.
/// Errors: KV_CONFLICT (all retries used), the code that body returned, and those of kv_txn_run. A
/// C++ exception must not leave body.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_transact(
    db: *const KvDb,
    max_retries: i64,
    body: KvTransactFn,
    payload: *mut c_void,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        let body = body.ok_or_else(|| invalid("body is NULL"))?;
        let retries = match max_retries {
            0 => Some(TRANSACT_RETRIES),
            KV_NO_WAIT => Some(0),
            KV_FOREVER => None,
            retries => Some(
                u32::try_from(retries).map_err(|_| invalid(format!("max_retries is {retries}")))?,
            ),
        };
        c.arg(db)?.0.transact(retries, |transaction| {
            let handle: Part<KvTransaction> = Part::new(TransactionContents {
                transaction: BorrowedPtr::new(transaction),
                refused: None,
            });
            let code = c.callback(body, handle.pointer(), payload);
            let refused = c.arg_mut(handle.pointer())?.refused.take();
            outcome(code, refused)
        })
    })
}

fn outcome(code: KvCode, refused: Option<Error>) -> Result<()> {
    if code == KV_OK {
        return Ok(());
    }
    match (refused, libkv::Code::from_number(code)) {
        (Some(refused), Some(code)) if refused.code() == code => Err(refused),
        (_, Some(code)) => Err(Error::new(code, "the callback of kv_transact ended it")),
        (_, None) => Err(invalid(format!(
            "the callback of kv_transact returned {code}, which is not a kv_code"
        ))),
    }
}

/// Uses the transaction of a callback, and stores a refusal.
fn with<T>(
    c: &Caller,
    t: *mut KvTransaction,
    work: impl FnOnce(&mut Transaction) -> Result<T>,
) -> Result<T> {
    let contents = c.arg_mut(t)?;
    let result = work(c.borrowed(&contents.transaction));
    contents.refused = result.as_ref().err().cloned();
    result
}

/// Reads one key as the transaction sees it, including its own writes; *out is NULL if it does not
/// exist.
///
/// Owner: *out is owned by the caller, to free with kv_key_value_free.
/// Threads: the callback's.
/// Errors: KV_INVALID_ARGUMENT, KV_COMPACTED, KV_CLOSED, KV_IO: return them from the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_transaction_get(
    t: *mut KvTransaction,
    key: KvBytes,
    out: *mut *mut KvKeyValue,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        require_output(out, "out")?;
        let key = c.bytes(key, "the key")?;
        let found = with(c, t, |transaction| transaction.get(key))?;
        c.put(out, found.map_or(std::ptr::null_mut(), owned));
        Ok(())
    })
}

/// Reads the pairs of a range as the transaction sees them; only the options limit and keys_only
/// are allowed.
///
/// Owner: *out is owned by the caller; the range and options are not kept.
/// Threads: the callback's.
/// Errors: those of kv_transaction_get.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_transaction_range(
    t: *mut KvTransaction,
    range: KvKeyRange,
    options: *const KvRangeOptions,
    out: *mut *mut KvRangeResponse,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        require_output(out, "out")?;
        let request = range_request(c, range, options)?;
        let result = with(c, t, |transaction| transaction.range(request))?;
        c.give::<KvRangeResponse>(out, RangeContents::new(result));
        Ok(())
    })
}

/// Writes a key after the callback returned; only the option lease is allowed.
///
/// Owner: key, value and options are not kept.
/// Threads: the callback's.
/// Errors: KV_INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_transaction_put(
    t: *mut KvTransaction,
    key: KvBytes,
    value: KvBytes,
    options: *const KvPutOptions,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        let put = put_request(c, key, value, options)?;
        with(c, t, |transaction| transaction.put(put))
    })
}

/// Deletes the keys of a range after the callback returned; *out is the number of keys that the
/// transaction sees.
///
/// Owner: the range is not kept.
/// Threads: the callback's.
/// Errors: those of kv_transaction_get.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_transaction_delete(
    t: *mut KvTransaction,
    range: KvKeyRange,
    out: *mut i64,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        let range = c.range(range)?;
        c.put(out, with(c, t, |transaction| transaction.delete(range))?);
        Ok(())
    })
}
