//! The limits of requests.
//!
//! | limit | default | preset `etcd` | refused with |
//! |---|---|---|---|
//! | keys and values of one write ([`MAX_REQUEST_BYTES`]) | 64 MiB | 1.5 MiB, encoded as etcd does | `too_large` |
//! | operations per list of a txn ([`MAX_TXN_OPS`]) | 100,000 | 128, and etcd's rule for nesting | `too_many_ops` |
//! | bytes of one key ([`KEY_BYTES_MAX`]) | 480 | 480 | `too_large` |
//! | smallest TTL of a lease ([`LEASE_TTL_MIN_SECONDS`]) | 1 s | 2 s | raised to it |
//! | largest TTL of a lease ([`LEASE_TTL_MAX_SECONDS`]) | 9,000,000,000 s | the same | `invalid_argument` |

/// The default limit for the keys and values of one request, summed.
pub const MAX_REQUEST_BYTES: u64 = 64 << 20;
/// The same with the preset `etcd`: bytes of the request as etcd encodes it.
pub const ETCD_MAX_REQUEST_BYTES: u64 = 1_572_864;
/// The default limit for the operations in each list of a txn.
pub const MAX_TXN_OPS: usize = 100_000;
/// The same with the preset `etcd`.
pub const ETCD_MAX_TXN_OPS: usize = 128;
/// The longest key that this version can store, in bytes.
pub const KEY_BYTES_MAX: usize = 480;
/// The default minimum TTL: smaller TTLs are raised to it.
pub const LEASE_TTL_MIN_SECONDS: i64 = 1;
/// The same with the preset `etcd`.
pub const ETCD_LEASE_TTL_MIN_SECONDS: i64 = 2;
/// Larger TTLs are refused, as by etcd.
pub const LEASE_TTL_MAX_SECONDS: i64 = 9_000_000_000;
/// The maximum depth of nested txns; beyond it `too_many_ops`. etcd's own rule ends at 129.
pub const TXN_DEPTH_MAX: usize = 200;
