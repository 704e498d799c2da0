// Generated, do not edit: change bindings/vocabulary/vocabulary.toml and run `cargo vocabulary`.

//! The stable codes of errors.

/// The kind of an error, with a number that never changes.
///
/// The number is C's `kv_code`. The name (see [`Code::name`]) is the same in every
/// language. 0 means success and is not a `Code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
#[repr(i32)]
pub enum Code {
    /// An empty key, an invalid option, a value with `ignore_value`, and the like.
    InvalidArgument = 1,
    /// `ignore_value` or `ignore_lease` on a missing key.
    KeyNotFound = 2,
    /// A txn would write one key twice.
    DuplicateKey = 3,
    /// A txn's list is longer than `max_txn_ops`.
    TooManyOps = 4,
    /// The request is larger than `max_request_bytes`, or a key longer than a store can hold.
    TooLarge = 5,
    /// The revision has been compacted; the error's revision is the compacted revision.
    Compacted = 6,
    /// The revision has not been written; the error's revision is the current revision.
    FutureRevision = 7,
    /// No such lease.
    LeaseNotFound = 8,
    /// The lease id is in use.
    LeaseExists = 9,
    /// A lease, lock or election handle lost its lease.
    LeaseLost = 10,
    /// A transaction with retries gave up after its last retry.
    Conflict = 11,
    /// The caller withdrew the request before it began, or ended the wait.
    Cancelled = 12,
    /// The timeout passed before the request began, or before the wait ended.
    Timeout = 13,
    /// The handle, or the parent it was made from, is closed.
    Closed = 14,
    /// The handle was opened before fork(); open the store again in the child.
    Forked = 15,
    /// The write lock is held, or exclusive use is not possible; the message names the holder.
    Busy = 16,
    /// The quota or the disk is full; nothing was written.
    Full = 17,
    /// The handle or the medium is read-only, or the store is poisoned by a failed sync.
    ReadOnly = 18,
    /// The operating system reported an error.
    Io = 19,
    /// The store's bytes are damaged.
    Corrupt = 20,
    /// A newer format, another page size or ABI, an unexpected LMDB.
    Incompatible = 21,
    /// The path is a file or a directory that is not a store.
    NotAStore = 22,
    /// There is no store at that path.
    NotFound = 23,
    /// The store exists already.
    Exists = 24,
    /// Not possible with this engine or build.
    Unsupported = 25,
    /// No endpoint of the cluster is reachable; the message names each with its reason.
    Unavailable = 26,
    /// The token, the user or the password is missing or invalid.
    Unauthenticated = 27,
    /// Refused by file permissions or by auth.
    PermissionDenied = 28,
    /// Not the leader; a user or role is missing or exists; another refusal of a cluster.
    FailedPrecondition = 29,
    /// A defect of libkv; never expected.
    Internal = 30,
    /// The write may or may not have happened; the message explains how to find out.
    UnknownOutcome = 31,
}

impl Code {
    /// All codes, in the order of their numbers.
    pub const ALL: &'static [Code] = &[
        Code::InvalidArgument,
        Code::KeyNotFound,
        Code::DuplicateKey,
        Code::TooManyOps,
        Code::TooLarge,
        Code::Compacted,
        Code::FutureRevision,
        Code::LeaseNotFound,
        Code::LeaseExists,
        Code::LeaseLost,
        Code::Conflict,
        Code::Cancelled,
        Code::Timeout,
        Code::Closed,
        Code::Forked,
        Code::Busy,
        Code::Full,
        Code::ReadOnly,
        Code::Io,
        Code::Corrupt,
        Code::Incompatible,
        Code::NotAStore,
        Code::NotFound,
        Code::Exists,
        Code::Unsupported,
        Code::Unavailable,
        Code::Unauthenticated,
        Code::PermissionDenied,
        Code::FailedPrecondition,
        Code::Internal,
        Code::UnknownOutcome,
    ];

    /// The stable name: `invalid_argument`, `compacted`, …
    pub fn name(self) -> &'static str {
        match self {
            Code::InvalidArgument => "invalid_argument",
            Code::KeyNotFound => "key_not_found",
            Code::DuplicateKey => "duplicate_key",
            Code::TooManyOps => "too_many_ops",
            Code::TooLarge => "too_large",
            Code::Compacted => "compacted",
            Code::FutureRevision => "future_revision",
            Code::LeaseNotFound => "lease_not_found",
            Code::LeaseExists => "lease_exists",
            Code::LeaseLost => "lease_lost",
            Code::Conflict => "conflict",
            Code::Cancelled => "cancelled",
            Code::Timeout => "timeout",
            Code::Closed => "closed",
            Code::Forked => "forked",
            Code::Busy => "busy",
            Code::Full => "full",
            Code::ReadOnly => "read_only",
            Code::Io => "io",
            Code::Corrupt => "corrupt",
            Code::Incompatible => "incompatible",
            Code::NotAStore => "not_a_store",
            Code::NotFound => "not_found",
            Code::Exists => "exists",
            Code::Unsupported => "unsupported",
            Code::Unavailable => "unavailable",
            Code::Unauthenticated => "unauthenticated",
            Code::PermissionDenied => "permission_denied",
            Code::FailedPrecondition => "failed_precondition",
            Code::Internal => "internal",
            Code::UnknownOutcome => "unknown_outcome",
        }
    }
}
