//! The texts that etcd has for its errors, without the prefix `etcdserver: `.
//!
//! etcd's clients compare them word by word, so they are part of the protocol. See
//! [`Error::etcd`](crate::Error::etcd).

macro_rules! texts {
    ($( $name:ident $text:literal )*) => {
        $( #[allow(missing_docs)] pub const $name: &str = $text; )*

        const ALL: &[&str] = &[ $( $name, )* ];
    };
}

texts! {
    BAD_TRANSFEREE "bad leader transferee"
    COMPACTED "mvcc: required revision has been compacted"
    CORRUPT "corrupt cluster"
    DUPLICATE_KEY "duplicate key given in txn request"
    FUTURE_REVISION "mvcc: required revision is a future revision"
    KEY_NOT_FOUND "key not found"
    KEY_NOT_PROVIDED "key is not provided"
    LEASE_EXISTS "lease already exists"
    LEASE_NOT_FOUND "requested lease not found"
    LEASE_PROVIDED "lease is provided"
    LEASE_TTL_TOO_LARGE "too large lease TTL"
    NO_SPACE "mvcc: database space exceeded"
    NOT_LEADER "election: not leader"
    REQUEST_TOO_LARGE "request is too large"
    SORT_OPTION_INVALID "invalid sort option"
    TOO_MANY_OPS "too many operations in txn request"
    VALUE_PROVIDED "value is provided"
    WATCH_RANGE_EMPTY "mvcc: watcher range is empty"
}

/// The text as a constant of this module, if it is one.
pub fn find(text: &str) -> Option<&'static str> {
    ALL.iter().copied().find(|known| *known == text)
}
