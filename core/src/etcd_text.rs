// Generated, do not edit: change bindings/vocabulary/vocabulary.toml and run `cargo vocabulary`.

//! The texts that etcd has for its errors, without the prefix `etcdserver: `.
//!
//! etcd's clients compare them word by word, so they are part of the protocol. See
//! [`Error::etcd`](crate::Error::etcd).
#![allow(missing_docs, reason = "the value describes it")]

pub const AUTH_FAILED: &str = "authentication failed, invalid user ID or password";
pub const AUTH_NOT_ENABLED: &str = "authentication is not enabled";
pub const AUTH_REVISION_OLD: &str = "revision of auth store is old";
pub const BAD_TRANSFEREE: &str = "bad leader transferee";
pub const COMPACTED: &str = "mvcc: required revision has been compacted";
pub const CORRUPT: &str = "corrupt cluster";
pub const DUPLICATE_KEY: &str = "duplicate key given in txn request";
pub const FUTURE_REVISION: &str = "mvcc: required revision is a future revision";
pub const INVALID_AUTH_MANAGEMENT: &str = "invalid auth management";
pub const KEY_NOT_FOUND: &str = "key not found";
pub const KEY_NOT_PROVIDED: &str = "key is not provided";
pub const LEASE_EXISTS: &str = "lease already exists";
pub const LEASE_NOT_FOUND: &str = "requested lease not found";
pub const LEASE_PROVIDED: &str = "lease is provided";
pub const LEASE_TTL_TOO_LARGE: &str = "too large lease TTL";
pub const NOT_LEADER: &str = "election: not leader";
pub const NO_SPACE: &str = "mvcc: database space exceeded";
pub const PERMISSION_NOT_GRANTED: &str = "permission is not granted to the role";
pub const REQUEST_TOO_LARGE: &str = "request is too large";
pub const ROLE_EXISTS: &str = "role name already exists";
pub const ROLE_NAME_EMPTY: &str = "role name is empty";
pub const ROLE_NOT_FOUND: &str = "role name not found";
pub const ROLE_NOT_GRANTED: &str = "role is not granted to the user";
pub const ROOT_ROLE_MISSING: &str = "root user does not have root role";
pub const ROOT_USER_MISSING: &str = "root user does not exist";
pub const SORT_OPTION_INVALID: &str = "invalid sort option";
pub const TOO_MANY_OPS: &str = "too many operations in txn request";
pub const TOO_MANY_REQUESTS: &str = "too many requests";
pub const USER_EXISTS: &str = "user name already exists";
pub const USER_NAME_EMPTY: &str = "user name is empty";
pub const USER_NOT_FOUND: &str = "user name not found";
pub const VALUE_PROVIDED: &str = "value is provided";
pub const WATCH_RANGE_EMPTY: &str = "mvcc: watcher range is empty";

const ALL: &[&str] = &[
    AUTH_FAILED,
    AUTH_NOT_ENABLED,
    AUTH_REVISION_OLD,
    BAD_TRANSFEREE,
    COMPACTED,
    CORRUPT,
    DUPLICATE_KEY,
    FUTURE_REVISION,
    INVALID_AUTH_MANAGEMENT,
    KEY_NOT_FOUND,
    KEY_NOT_PROVIDED,
    LEASE_EXISTS,
    LEASE_NOT_FOUND,
    LEASE_PROVIDED,
    LEASE_TTL_TOO_LARGE,
    NOT_LEADER,
    NO_SPACE,
    PERMISSION_NOT_GRANTED,
    REQUEST_TOO_LARGE,
    ROLE_EXISTS,
    ROLE_NAME_EMPTY,
    ROLE_NOT_FOUND,
    ROLE_NOT_GRANTED,
    ROOT_ROLE_MISSING,
    ROOT_USER_MISSING,
    SORT_OPTION_INVALID,
    TOO_MANY_OPS,
    TOO_MANY_REQUESTS,
    USER_EXISTS,
    USER_NAME_EMPTY,
    USER_NOT_FOUND,
    VALUE_PROVIDED,
    WATCH_RANGE_EMPTY,
];

/// The text as a constant of this module, if it is one.
pub fn find(text: &str) -> Option<&'static str> {
    ALL.iter().copied().find(|known| *known == text)
}
