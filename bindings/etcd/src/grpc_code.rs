// Generated, do not edit: change bindings/vocabulary/vocabulary.toml and run `cargo vocabulary`.

//! The gRPC status of each error code.

use libkv::Code;

/// The status that a server returns for this code.
pub fn grpc_code(code: Code) -> tonic::Code {
    match code {
        Code::InvalidArgument => tonic::Code::InvalidArgument,
        Code::KeyNotFound => tonic::Code::InvalidArgument,
        Code::DuplicateKey => tonic::Code::InvalidArgument,
        Code::TooManyOps => tonic::Code::InvalidArgument,
        Code::TooLarge => tonic::Code::InvalidArgument,
        Code::Compacted => tonic::Code::OutOfRange,
        Code::FutureRevision => tonic::Code::OutOfRange,
        Code::LeaseNotFound => tonic::Code::NotFound,
        Code::LeaseExists => tonic::Code::FailedPrecondition,
        Code::LeaseLost => tonic::Code::FailedPrecondition,
        Code::Conflict => tonic::Code::Aborted,
        Code::Cancelled => tonic::Code::Cancelled,
        Code::Timeout => tonic::Code::DeadlineExceeded,
        Code::Closed => tonic::Code::Unavailable,
        Code::Forked => tonic::Code::Internal,
        Code::Busy => tonic::Code::Unavailable,
        Code::Full => tonic::Code::ResourceExhausted,
        Code::ReadOnly => tonic::Code::FailedPrecondition,
        Code::Io => tonic::Code::Internal,
        Code::Corrupt => tonic::Code::DataLoss,
        Code::Incompatible => tonic::Code::FailedPrecondition,
        Code::NotAStore => tonic::Code::FailedPrecondition,
        Code::NotFound => tonic::Code::NotFound,
        Code::Exists => tonic::Code::FailedPrecondition,
        Code::Unsupported => tonic::Code::Unimplemented,
        Code::Unavailable => tonic::Code::Unavailable,
        Code::Unauthenticated => tonic::Code::Unauthenticated,
        Code::PermissionDenied => tonic::Code::PermissionDenied,
        Code::FailedPrecondition => tonic::Code::FailedPrecondition,
        Code::Internal => tonic::Code::Internal,
        Code::UnknownOutcome => tonic::Code::Unknown,
        _ => tonic::Code::Unknown,
    }
}
