// Generated, do not edit: change bindings/vocabulary/vocabulary.toml and run `cargo vocabulary`.

//! The exit statuses of `kv`.

use libkv::Code;

/// The exit statuses, for the help of the program and its manual.
pub const EXIT_STATUS: &str = "\
Exit status:
  0   success
  1   the result is negative: the key is absent, the compares of a txn did not hold, a check found
      problems, the lock is held, the lease does not exist
  2   the command line or the request is not valid: invalid_argument, duplicate_key, too_many_ops,
      too_large
  3   refused because of the contents of the store: key_not_found, compacted, future_revision,
      lease_not_found, lease_exists, lease_lost, conflict, exists, failed_precondition
  4   no store or cluster available: closed, forked, incompatible, not_a_store, not_found,
      unavailable
  5   not allowed: read_only, unauthenticated, permission_denied
  6   timed out or withdrawn: cancelled, timeout, busy
  7   the quota or the disk is full: full
  8   damaged or failing, also an export that fails its checks: io, corrupt, internal
  9   the write may or may not have happened: unknown_outcome
  10  not possible with this kind of store: unsupported
  130 ended by Ctrl-C (other signals: 128 plus their number; 141: the reader of the output closed
      it)";

/// The exit status for an error with this code.
pub fn status_of(code: Code) -> u8 {
    match code {
        Code::InvalidArgument | Code::DuplicateKey | Code::TooManyOps | Code::TooLarge => 2,
        Code::KeyNotFound
        | Code::Compacted
        | Code::FutureRevision
        | Code::LeaseNotFound
        | Code::LeaseExists
        | Code::LeaseLost
        | Code::Conflict
        | Code::Exists
        | Code::FailedPrecondition => 3,
        Code::Closed
        | Code::Forked
        | Code::Incompatible
        | Code::NotAStore
        | Code::NotFound
        | Code::Unavailable => 4,
        Code::ReadOnly | Code::Unauthenticated | Code::PermissionDenied => 5,
        Code::Cancelled | Code::Timeout | Code::Busy => 6,
        Code::Full => 7,
        Code::Io | Code::Corrupt | Code::Internal => 8,
        Code::UnknownOutcome => 9,
        Code::Unsupported => 10,
        _ => 8,
    }
}
