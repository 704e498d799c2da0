//! Txns: built in steps, run any number of times; the result is a tree.
#![allow(unsafe_code)]

use libkv::{Code, Compare, Error, Op, OpResponse, Operand, TXN_DEPTH_MAX, Txn, TxnResponse};

use crate::db::{DeleteContents, KvDb, KvDeleteResponse, KvPutResponse, PutContents};
use crate::error::KvError;
use crate::guard::{free, guard, guard_value, value};
use crate::handle::{Kind, Part, give, invalid, kinds};
use crate::options::{KvDeleteOptions, KvPutOptions, KvRangeOptions};
use crate::pointers::Caller;
use crate::range::{KvRangeResponse, RangeContents};
use crate::requests::{delete_request, put_request, range_request};
use crate::types::*;

/// A txn: compares, and a list of operations for each outcome.
pub struct KvTxn;

/// The response of a txn.
pub struct KvTxnResponse;

/// What a `kv_txn_response` holds: each response as a handle of its own kind.
pub(crate) struct TxnContents {
    succeeded: bool,
    revision: i64,
    responses: Vec<Response>,
}

enum Response {
    Range(Part<KvRangeResponse>),
    Put(Part<KvPutResponse>),
    Delete(Part<KvDeleteResponse>),
    Txn(Part<KvTxnResponse>),
}

impl TxnContents {
    fn new(result: TxnResponse) -> TxnContents {
        let responses = result.responses.into_iter().map(|response| match response {
            OpResponse::Range(result) => Response::Range(Part::new(RangeContents::new(result))),
            OpResponse::Put(result) => Response::Put(Part::new(PutContents::new(result))),
            OpResponse::Delete(result) => Response::Delete(Part::new(DeleteContents::new(result))),
            OpResponse::Txn(result) => Response::Txn(Part::new(TxnContents::new(result))),
        });
        TxnContents {
            succeeded: result.succeeded,
            revision: result.revision,
            responses: responses.collect(),
        }
    }
}

kinds! {
    KvTxn = Txn, b"kv_txn\0\0", "kv_txn";
    KvTxnResponse = TxnContents, b"kv_txn_r", "kv_txn_response";
}

/// Creates an empty txn; NULL only if out of memory.
///
/// Owner: owned by the caller, to free with kv_txn_free.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub extern "C" fn kv_txn_new() -> *mut KvTxn {
    value(std::ptr::null_mut(), || Some(give(Txn::new())))
}

/// Adds a compare: `target result operand` must hold for the key, or for every key of the range.
/// The operand is `number`, or `value` for KV_TARGET_VALUE. For a missing key the numbers are 0,
/// and no compare of its value holds.
///
/// Owner: range and value are not kept.
/// Threads: one at a time.
/// Errors: KV_INVALID_ARGUMENT (unknown target or result); the txn is unchanged.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_txn_compare(
    txn: *mut KvTxn,
    range: KvKeyRange,
    target: i32,
    result: i32,
    number: i64,
    value: KvBytes,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        let txn = c.arg_mut(txn)?;
        let operand = match target {
            KV_TARGET_VERSION => Operand::Version(number),
            KV_TARGET_CREATE_REVISION => Operand::CreateRevision(number),
            KV_TARGET_MOD_REVISION => Operand::ModRevision(number),
            KV_TARGET_VALUE => Operand::Value(c.bytes(value, "the value")?.to_vec()),
            KV_TARGET_LEASE => Operand::Lease(number),
            other => return Err(invalid(format!("{other} is no KV_TARGET_…"))),
        };
        let result = compare_result(result)
            .ok_or_else(|| invalid(format!("{result} is no comparison (KV_EQUAL, …)")))?;
        txn.compare
            .push(Compare::new(c.range(range)?, result, operand));
        Ok(())
    })
}

fn add(txn: &mut Txn, branch: i32, op: impl Into<Op>) -> libkv::Result<()> {
    match branch {
        KV_SUCCESS => txn.success.push(op.into()),
        KV_FAILURE => txn.failure.push(op.into()),
        other => {
            return Err(invalid(format!(
                "{other} is no list of a txn (KV_SUCCESS, KV_FAILURE)"
            )));
        }
    }
    Ok(())
}

/// Adds a put to a list (KV_SUCCESS, KV_FAILURE). Its arguments are checked when the txn runs.
///
/// Owner: key, value and options are not kept.
/// Threads: one at a time.
/// Errors: KV_INVALID_ARGUMENT; the txn is unchanged.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_txn_put(
    txn: *mut KvTxn,
    branch: i32,
    key: KvBytes,
    value: KvBytes,
    options: *const KvPutOptions,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        add(
            c.arg_mut(txn)?,
            branch,
            put_request(c, key, value, options)?,
        )
    })
}

/// Adds a range to a list.
///
/// Owner: range and options are not kept.
/// Threads: one at a time.
/// Errors: KV_INVALID_ARGUMENT; the txn is unchanged.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_txn_range(
    txn: *mut KvTxn,
    branch: i32,
    range: KvKeyRange,
    options: *const KvRangeOptions,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        add(c.arg_mut(txn)?, branch, range_request(c, range, options)?)
    })
}

/// Adds a deletion to a list.
///
/// Owner: range and options are not kept.
/// Threads: one at a time.
/// Errors: KV_INVALID_ARGUMENT; the txn is unchanged.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_txn_delete(
    txn: *mut KvTxn,
    branch: i32,
    range: KvKeyRange,
    options: *const KvDeleteOptions,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        add(c.arg_mut(txn)?, branch, delete_request(c, range, options)?)
    })
}

/// Adds a copy of another txn to a list.
///
/// Owner: the caller still owns nested.
/// Threads: one at a time.
/// Errors: KV_INVALID_ARGUMENT, KV_TOO_MANY_OPS (nested deeper than any store allows); the txn is
/// unchanged.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_txn_txn(
    txn: *mut KvTxn,
    branch: i32,
    nested: *const KvTxn,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        let nested = c.arg(nested)?;
        // one txn more would be nested in it: a deeper one could not even be freed on a small stack
        if depth(nested) >= TXN_DEPTH_MAX {
            let message = format!(
                "too many operations in txn request (txns nested deeper than {TXN_DEPTH_MAX})"
            );
            return Err(Error::new(Code::TooManyOps, message));
        }
        let nested = nested.clone();
        add(c.arg_mut(txn)?, branch, nested)
    })
}

/// The depth of nested txns in this one; 0 if there are none.
fn depth(txn: &Txn) -> usize {
    let nested = txn.success.iter().chain(&txn.failure).map(|op| match op {
        Op::Txn(nested) => 1 + depth(nested),
        _ => 0,
    });
    nested.max().unwrap_or(0)
}

/// Sets the durability of a txn's commit: KV_DURABILITY_SYNC or KV_DURABILITY_LAZY; 0 uses the
/// handle's.
///
/// Owner: no ownership changes.
/// Threads: one at a time.
/// Errors: KV_INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_txn_durability(
    txn: *mut KvTxn,
    durability: i32,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        c.arg_mut(txn)?.durability = durability_in(durability)?;
        Ok(())
    })
}

/// Evaluates the compares, then runs one of the two lists in one revision, or nothing at all. The
/// txn can run again. (The name is kv_txn_run because kv_txn is the type.)
///
/// Owner: *out, if not NULL, is owned by the caller; the caller still owns txn.
/// Threads: any.
/// Errors: those of kv_put, and KV_DUPLICATE_KEY, KV_TOO_MANY_OPS, KV_COMPACTED,
/// KV_FUTURE_REVISION.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_txn_run(
    db: *const KvDb,
    txn: *const KvTxn,
    out: *mut *mut KvTxnResponse,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        let result = c.arg(db)?.0.txn(c.arg(txn)?.clone())?;
        c.give::<KvTxnResponse>(out, TxnContents::new(result));
        Ok(())
    })
}

/// Frees a txn.
///
/// Owner: frees it; NULL is allowed.
/// Threads: the last use of it.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_txn_free(txn: *mut KvTxn) {
    free!(txn)
}

/// KV_YES if the compares held, otherwise KV_NO.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_txn_response_succeeded(result: *const KvTxnResponse) -> i32 {
    guard_value!(KV_NO, |c| Some(if c.arg(result).ok()?.succeeded {
        KV_YES
    } else {
        KV_NO
    }))
}

/// The store's revision after a txn; 0 for a nested one, as in etcd.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_txn_response_revision(result: *const KvTxnResponse) -> i64 {
    guard_value!(0, |c| Some(c.arg(result).ok()?.revision))
}

/// The number of responses: one for each operation that ran.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_txn_response_len(result: *const KvTxnResponse) -> usize {
    guard_value!(0, |c| Some(c.arg(result).ok()?.responses.len()))
}

/// The kind of the response at index: KV_OP_…; -1 beyond the last.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_txn_response_kind(result: *const KvTxnResponse, index: usize) -> i32 {
    guard_value!(-1, |c| Some(
        match c.arg(result).ok()?.responses.get(index)? {
            Response::Range(_) => KV_OP_RANGE,
            Response::Put(_) => KV_OP_PUT,
            Response::Delete(_) => KV_OP_DELETE,
            Response::Txn(_) => KV_OP_TXN,
        }
    ))
}

/// The part of a response tree at index, if it is of the kind.
fn response<K: Kind>(
    c: &Caller,
    result: *const KvTxnResponse,
    index: usize,
    of_kind: impl Fn(&Response) -> Option<&Part<K>>,
) -> Option<*const K> {
    let part = of_kind(c.arg(result).ok()?.responses.get(index)?)?;
    Some(part.pointer().cast_const())
}

/// The response at index if it is of a range, otherwise NULL.
///
/// Owner: the txn's result; never freed separately.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_txn_response_range(
    result: *const KvTxnResponse,
    index: usize,
) -> *const KvRangeResponse {
    guard_value!(std::ptr::null(), |c| response(
        c,
        result,
        index,
        |r| match r {
            Response::Range(part) => Some(part),
            _ => None,
        }
    ))
}

/// The response at index if it is of a put, otherwise NULL.
///
/// Owner: the txn's result; never freed separately.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_txn_response_put(
    result: *const KvTxnResponse,
    index: usize,
) -> *const KvPutResponse {
    guard_value!(std::ptr::null(), |c| response(
        c,
        result,
        index,
        |r| match r {
            Response::Put(part) => Some(part),
            _ => None,
        }
    ))
}

/// The response at index if it is of a deletion, otherwise NULL.
///
/// Owner: the txn's result; never freed separately.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_txn_response_delete(
    result: *const KvTxnResponse,
    index: usize,
) -> *const KvDeleteResponse {
    guard_value!(std::ptr::null(), |c| response(
        c,
        result,
        index,
        |r| match r {
            Response::Delete(part) => Some(part),
            _ => None,
        }
    ))
}

/// The response at index if it is of a nested txn, otherwise NULL.
///
/// Owner: the outer txn's result; never freed separately.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_txn_response_txn(
    result: *const KvTxnResponse,
    index: usize,
) -> *const KvTxnResponse {
    guard_value!(std::ptr::null(), |c| response(
        c,
        result,
        index,
        |r| match r {
            Response::Txn(part) => Some(part),
            _ => None,
        }
    ))
}

/// Frees the result of a txn with all its responses.
///
/// Owner: frees it; NULL is allowed.
/// Threads: the last use of it.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_txn_response_free(result: *mut KvTxnResponse) {
    free!(result)
}
