// Generated, do not edit: change bindings/vocabulary/vocabulary.toml and run `cargo vocabulary`.

//! The error codes of the header and their names.

use std::ffi::CStr;

/// The return value of every call: KV_OK or an error code. The numbers never change.
pub type KvCode = i32;

/// Success.
pub const KV_OK: KvCode = 0;
/// An empty key, an invalid option, a value with ignore_value, and the like.
pub const KV_INVALID_ARGUMENT: KvCode = 1;
/// ignore_value or ignore_lease on a missing key.
pub const KV_KEY_NOT_FOUND: KvCode = 2;
/// A txn would write one key twice.
pub const KV_DUPLICATE_KEY: KvCode = 3;
/// A txn's list is longer than max_txn_ops.
pub const KV_TOO_MANY_OPS: KvCode = 4;
/// The request is larger than max_request_bytes, or a key longer than a store can hold.
pub const KV_TOO_LARGE: KvCode = 5;
/// The revision has been compacted; the error's revision is the compacted revision.
pub const KV_COMPACTED: KvCode = 6;
/// The revision has not been written; the error's revision is the current revision.
pub const KV_FUTURE_REVISION: KvCode = 7;
/// No such lease.
pub const KV_LEASE_NOT_FOUND: KvCode = 8;
/// The lease id is in use.
pub const KV_LEASE_EXISTS: KvCode = 9;
/// A lease, lock or election handle lost its lease.
pub const KV_LEASE_LOST: KvCode = 10;
/// A transaction with retries gave up after its last retry.
pub const KV_CONFLICT: KvCode = 11;
/// The caller withdrew the request before it began, or ended the wait.
pub const KV_CANCELLED: KvCode = 12;
/// The timeout passed before the request began, or before the wait ended.
pub const KV_TIMEOUT: KvCode = 13;
/// The handle, or the parent it was made from, is closed.
pub const KV_CLOSED: KvCode = 14;
/// The handle was opened before fork(); open the store again in the child.
pub const KV_FORKED: KvCode = 15;
/// The write lock is held, or exclusive use is not possible; the message names the holder.
pub const KV_BUSY: KvCode = 16;
/// The quota or the disk is full; nothing was written.
pub const KV_FULL: KvCode = 17;
/// The handle or the medium is read-only, or the store is poisoned by a failed sync.
pub const KV_READ_ONLY: KvCode = 18;
/// The operating system reported an error.
pub const KV_IO: KvCode = 19;
/// The store's bytes are damaged.
pub const KV_CORRUPT: KvCode = 20;
/// A newer format, another page size or ABI, an unexpected LMDB.
pub const KV_INCOMPATIBLE: KvCode = 21;
/// The path is a file or a directory that is not a store.
pub const KV_NOT_A_STORE: KvCode = 22;
/// There is no store at that path.
pub const KV_NOT_FOUND: KvCode = 23;
/// The store exists already.
pub const KV_EXISTS: KvCode = 24;
/// Not possible with this engine or build.
pub const KV_UNSUPPORTED: KvCode = 25;
/// No endpoint of the cluster is reachable; the message names each with its reason.
pub const KV_UNAVAILABLE: KvCode = 26;
/// The token, the user or the password is missing or invalid.
pub const KV_UNAUTHENTICATED: KvCode = 27;
/// Refused by file permissions or by auth.
pub const KV_PERMISSION_DENIED: KvCode = 28;
/// Not the leader; a user or role is missing or exists; another refusal of a cluster.
pub const KV_FAILED_PRECONDITION: KvCode = 29;
/// A defect of libkv; never expected.
pub const KV_INTERNAL: KvCode = 30;
/// The write may or may not have happened; the message explains how to find out.
pub const KV_UNKNOWN_OUTCOME: KvCode = 31;

/// The name of a code; `None` for other numbers.
pub(crate) fn code_name(code: KvCode) -> Option<&'static CStr> {
    Some(match code {
        KV_OK => c"ok",
        KV_INVALID_ARGUMENT => c"invalid_argument",
        KV_KEY_NOT_FOUND => c"key_not_found",
        KV_DUPLICATE_KEY => c"duplicate_key",
        KV_TOO_MANY_OPS => c"too_many_ops",
        KV_TOO_LARGE => c"too_large",
        KV_COMPACTED => c"compacted",
        KV_FUTURE_REVISION => c"future_revision",
        KV_LEASE_NOT_FOUND => c"lease_not_found",
        KV_LEASE_EXISTS => c"lease_exists",
        KV_LEASE_LOST => c"lease_lost",
        KV_CONFLICT => c"conflict",
        KV_CANCELLED => c"cancelled",
        KV_TIMEOUT => c"timeout",
        KV_CLOSED => c"closed",
        KV_FORKED => c"forked",
        KV_BUSY => c"busy",
        KV_FULL => c"full",
        KV_READ_ONLY => c"read_only",
        KV_IO => c"io",
        KV_CORRUPT => c"corrupt",
        KV_INCOMPATIBLE => c"incompatible",
        KV_NOT_A_STORE => c"not_a_store",
        KV_NOT_FOUND => c"not_found",
        KV_EXISTS => c"exists",
        KV_UNSUPPORTED => c"unsupported",
        KV_UNAVAILABLE => c"unavailable",
        KV_UNAUTHENTICATED => c"unauthenticated",
        KV_PERMISSION_DENIED => c"permission_denied",
        KV_FAILED_PRECONDITION => c"failed_precondition",
        KV_INTERNAL => c"internal",
        KV_UNKNOWN_OUTCOME => c"unknown_outcome",
        _ => return None,
    })
}
