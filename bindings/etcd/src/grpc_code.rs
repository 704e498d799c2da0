// Generated, do not edit: change bindings/vocabulary/vocabulary.toml and run `cargo vocabulary`.

//! The gRPC status of each error, and the error code of each status.

use libkv::{Code, etcd_text};
use tonic::Code as Status;

/// The status that a server returns for an error with this code and this text of etcd.
pub fn status_of(code: Code, text: Option<&str>) -> Status {
    match (code, text) {
        (Code::Unauthenticated, Some(etcd_text::AUTH_FAILED)) => Status::InvalidArgument,
        (Code::FailedPrecondition, Some(etcd_text::AUTH_REVISION_OLD)) => Status::InvalidArgument,
        (Code::InvalidArgument, Some(etcd_text::LEASE_TTL_TOO_LARGE)) => Status::OutOfRange,
        (Code::Busy, Some(etcd_text::TOO_MANY_REQUESTS)) => Status::ResourceExhausted,
        (Code::Unauthenticated, Some(etcd_text::USER_NAME_EMPTY)) => Status::InvalidArgument,
        (Code::InvalidArgument, _) => Status::InvalidArgument,
        (Code::KeyNotFound, _) => Status::InvalidArgument,
        (Code::DuplicateKey, _) => Status::InvalidArgument,
        (Code::TooManyOps, _) => Status::InvalidArgument,
        (Code::TooLarge, _) => Status::InvalidArgument,
        (Code::Compacted, _) => Status::OutOfRange,
        (Code::FutureRevision, _) => Status::OutOfRange,
        (Code::LeaseNotFound, _) => Status::NotFound,
        (Code::LeaseExists, _) => Status::FailedPrecondition,
        (Code::LeaseLost, _) => Status::FailedPrecondition,
        (Code::Conflict, _) => Status::Aborted,
        (Code::Cancelled, _) => Status::Cancelled,
        (Code::Timeout, _) => Status::DeadlineExceeded,
        (Code::Closed, _) => Status::Unavailable,
        (Code::Forked, _) => Status::Internal,
        (Code::Busy, _) => Status::Unavailable,
        (Code::Full, _) => Status::ResourceExhausted,
        (Code::ReadOnly, _) => Status::FailedPrecondition,
        (Code::Io, _) => Status::Internal,
        (Code::Corrupt, _) => Status::DataLoss,
        (Code::Incompatible, _) => Status::FailedPrecondition,
        (Code::NotAStore, _) => Status::FailedPrecondition,
        (Code::NotFound, _) => Status::NotFound,
        (Code::Exists, _) => Status::FailedPrecondition,
        (Code::Unsupported, _) => Status::Unimplemented,
        (Code::Unavailable, _) => Status::Unavailable,
        (Code::Unauthenticated, _) => Status::Unauthenticated,
        (Code::PermissionDenied, _) => Status::PermissionDenied,
        (Code::FailedPrecondition, _) => Status::FailedPrecondition,
        (Code::Internal, _) => Status::Internal,
        (Code::UnknownOutcome, _) => Status::Unknown,
        _ => Status::Unknown,
    }
}

/// The code of a refusal with this text of etcd, without its prefix; `None` if etcd has no
/// such text with this status.
pub fn code_of_text(status: Status, text: &str) -> Option<Code> {
    Some(match (status, text) {
        (Status::InvalidArgument, etcd_text::AUTH_FAILED) => Code::Unauthenticated,
        (Status::FailedPrecondition, etcd_text::AUTH_NOT_ENABLED) => Code::FailedPrecondition,
        (Status::InvalidArgument, etcd_text::AUTH_REVISION_OLD) => Code::FailedPrecondition,
        (Status::FailedPrecondition, etcd_text::BAD_TRANSFEREE) => Code::FailedPrecondition,
        (Status::OutOfRange, etcd_text::COMPACTED) => Code::Compacted,
        (Status::DataLoss, etcd_text::CORRUPT) => Code::Corrupt,
        (Status::InvalidArgument, etcd_text::DUPLICATE_KEY) => Code::DuplicateKey,
        (Status::OutOfRange, etcd_text::FUTURE_REVISION) => Code::FutureRevision,
        (Status::InvalidArgument, etcd_text::INVALID_AUTH_MANAGEMENT) => Code::InvalidArgument,
        (Status::InvalidArgument, etcd_text::KEY_NOT_FOUND) => Code::KeyNotFound,
        (Status::InvalidArgument, etcd_text::KEY_NOT_PROVIDED) => Code::InvalidArgument,
        (Status::FailedPrecondition, etcd_text::LEASE_EXISTS) => Code::LeaseExists,
        (Status::NotFound, etcd_text::LEASE_NOT_FOUND) => Code::LeaseNotFound,
        (Status::InvalidArgument, etcd_text::LEASE_PROVIDED) => Code::InvalidArgument,
        (Status::OutOfRange, etcd_text::LEASE_TTL_TOO_LARGE) => Code::InvalidArgument,
        (Status::FailedPrecondition, etcd_text::NOT_LEADER) => Code::FailedPrecondition,
        (Status::ResourceExhausted, etcd_text::NO_SPACE) => Code::Full,
        (Status::FailedPrecondition, etcd_text::PERMISSION_NOT_GRANTED) => Code::FailedPrecondition,
        (Status::InvalidArgument, etcd_text::REQUEST_TOO_LARGE) => Code::TooLarge,
        (Status::FailedPrecondition, etcd_text::ROLE_EXISTS) => Code::FailedPrecondition,
        (Status::InvalidArgument, etcd_text::ROLE_NAME_EMPTY) => Code::InvalidArgument,
        (Status::FailedPrecondition, etcd_text::ROLE_NOT_FOUND) => Code::FailedPrecondition,
        (Status::FailedPrecondition, etcd_text::ROLE_NOT_GRANTED) => Code::FailedPrecondition,
        (Status::FailedPrecondition, etcd_text::ROOT_ROLE_MISSING) => Code::FailedPrecondition,
        (Status::FailedPrecondition, etcd_text::ROOT_USER_MISSING) => Code::FailedPrecondition,
        (Status::InvalidArgument, etcd_text::SORT_OPTION_INVALID) => Code::InvalidArgument,
        (Status::InvalidArgument, etcd_text::TOO_MANY_OPS) => Code::TooManyOps,
        (Status::ResourceExhausted, etcd_text::TOO_MANY_REQUESTS) => Code::Busy,
        (Status::FailedPrecondition, etcd_text::USER_EXISTS) => Code::FailedPrecondition,
        (Status::InvalidArgument, etcd_text::USER_NAME_EMPTY) => Code::Unauthenticated,
        (Status::FailedPrecondition, etcd_text::USER_NOT_FOUND) => Code::FailedPrecondition,
        (Status::InvalidArgument, etcd_text::VALUE_PROVIDED) => Code::InvalidArgument,
        (Status::InvalidArgument, etcd_text::WATCH_RANGE_EMPTY) => Code::InvalidArgument,
        _ => return None,
    })
}

/// The code of a refusal with this status and a text that is not known.
pub fn code_of(status: Status) -> Code {
    match status {
        Status::Ok => Code::Internal,
        Status::Cancelled => Code::Cancelled,
        Status::Unknown => Code::Internal,
        Status::InvalidArgument => Code::InvalidArgument,
        Status::DeadlineExceeded => Code::Timeout,
        Status::NotFound => Code::NotFound,
        Status::AlreadyExists => Code::FailedPrecondition,
        Status::PermissionDenied => Code::PermissionDenied,
        Status::ResourceExhausted => Code::Full,
        Status::FailedPrecondition => Code::FailedPrecondition,
        Status::Aborted => Code::Conflict,
        Status::OutOfRange => Code::InvalidArgument,
        Status::Unimplemented => Code::Unsupported,
        Status::Internal => Code::Internal,
        Status::Unavailable => Code::Unavailable,
        Status::DataLoss => Code::Corrupt,
        Status::Unauthenticated => Code::Unauthenticated,
    }
}

/// Whether a write that is refused with this status was certainly not done.
pub fn is_definite(status: Status) -> bool {
    matches!(
        status,
        Status::InvalidArgument
            | Status::NotFound
            | Status::AlreadyExists
            | Status::PermissionDenied
            | Status::FailedPrecondition
            | Status::OutOfRange
            | Status::Unimplemented
            | Status::DataLoss
            | Status::Unauthenticated
    )
}
