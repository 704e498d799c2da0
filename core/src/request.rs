//! Requests and responses: plain values, run alone or inside a [`Txn`].
//!
//! | limit | default | preset `etcd` | refused with |
//! |---|---|---|---|
//! | keys and values of one write ([`MAX_REQUEST_BYTES`]) | 64 MiB | 1.5 MiB, encoded as etcd does | `too_large` |
//! | operations per list of a txn ([`MAX_TXN_OPS`]) | 100,000 | 128, and etcd's rule for nesting | `too_many_ops` |
//! | bytes of one key ([`KEY_BYTES_MAX`]) | 480 | 480 | `too_large` |
//! | smallest TTL of a lease ([`LEASE_TTL_MIN_SECONDS`]) | 1 s | 2 s | raised to it |
//! | largest TTL of a lease ([`LEASE_TTL_MAX_SECONDS`]) | 9,000,000,000 s | the same | `invalid_argument` |

use crate::model::{Event, KeyRange, KeyValue, LeaseId, Revision, Version};

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

/// How durable an acknowledged write is.
///
/// Levels may be added in a minor version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Durability {
    /// No flush. Chosen for the whole store at its creation. A power cut may destroy the store; a
    /// killed process loses nothing.
    None,
    /// A power cut may lose the last commits but never damages the store.
    Lazy,
    /// An acknowledged write is on disk: two flushes for each commit.
    Sync,
}

impl Durability {
    /// The name in other languages: `none`, `lazy`, `sync`.
    pub fn name(self) -> &'static str {
        match self {
            Durability::None => "none",
            Durability::Lazy => "lazy",
            Durability::Sync => "sync",
        }
    }
}

/// Writes one key. etcd's `PutRequest`.
///
/// Build it with [`Put::new`] and its methods; fields may be added in a minor version.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[must_use = "a request does nothing until it is run"]
#[non_exhaustive]
pub struct Put {
    /// The key, 1 to [`KEY_BYTES_MAX`] bytes.
    pub key: Vec<u8>,
    /// The value; empty is a value. Must be empty with `ignore_value`.
    pub value: Vec<u8>,
    /// The lease to attach the key to; 0 detaches it. Must be 0 with `ignore_lease`.
    pub lease: LeaseId,
    /// Return the previous pair.
    pub prev_kv: bool,
    /// Keep the current value; the key must exist.
    pub ignore_value: bool,
    /// Keep the current lease; the key must exist.
    pub ignore_lease: bool,
    /// The durability of this write; `None` uses the handle's. No effect inside a txn.
    pub durability: Option<Durability>,
}

impl Put {
    /// Writes `value` under `key`, with no lease.
    pub fn new(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Put {
        Put {
            key: key.into(),
            value: value.into(),
            ..Put::default()
        }
    }

    /// Attaches the key to this lease.
    pub fn lease(mut self, lease: LeaseId) -> Put {
        self.lease = lease;
        self
    }

    /// Returns the previous pair.
    pub fn prev_kv(mut self, prev_kv: bool) -> Put {
        self.prev_kv = prev_kv;
        self
    }

    /// Keeps the current value of the key.
    pub fn ignore_value(mut self, ignore_value: bool) -> Put {
        self.ignore_value = ignore_value;
        self
    }

    /// Keeps the current lease of the key.
    pub fn ignore_lease(mut self, ignore_lease: bool) -> Put {
        self.ignore_lease = ignore_lease;
        self
    }

    /// Uses this durability instead of the handle's.
    pub fn durability(mut self, durability: impl Into<Option<Durability>>) -> Put {
        self.durability = durability.into();
        self
    }
}

/// The response to a [`Put`].
///
/// Fields may be added in a minor version.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct PutResponse {
    /// The store's revision after the put.
    pub revision: Revision,
    /// The previous pair, if it was requested and the key existed.
    pub prev_kv: Option<KeyValue>,
}

/// The sort order of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum SortOrder {
    /// Ascending on the target, which is the key by default.
    #[default]
    None,
    /// Smallest first.
    Ascend,
    /// Largest first; equal elements in ascending key order.
    Descend,
}

/// The field that a range is sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum SortTarget {
    /// The key, bytewise.
    #[default]
    Key,
    /// The version.
    Version,
    /// The create revision.
    Create,
    /// The mod revision.
    Mod,
    /// The value, bytewise.
    Value,
}

/// Reads the pairs of a range at one revision. etcd's `RangeRequest`.
///
/// Build it with [`Range::new`] and its methods; fields may be added in a minor version.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[must_use = "a request does nothing until it is run"]
#[non_exhaustive]
pub struct Range {
    /// The keys.
    pub range: KeyRange,
    /// The revision to read; 0 or negative: the current one.
    pub revision: Revision,
    /// The maximum number of pairs, after filters and sorting; 0 or negative: all.
    pub limit: i64,
    /// The sort order.
    pub sort_order: SortOrder,
    /// The field to sort by.
    pub sort_target: SortTarget,
    /// Omit the values.
    pub keys_only: bool,
    /// Return only the count. Limit and filters have no effect.
    pub count_only: bool,
    /// Only pairs with `mod_revision` >= this; 0 is off.
    pub min_mod_revision: Revision,
    /// Only pairs with `mod_revision` <= this; 0 is off, a negative number drops all.
    pub max_mod_revision: Revision,
    /// Only pairs with `create_revision` >= this; 0 is off.
    pub min_create_revision: Revision,
    /// Only pairs with `create_revision` <= this; 0 is off, a negative number drops all.
    pub max_create_revision: Revision,
    /// For clusters: a member may return data that is stale.
    pub serializable: bool,
}

impl Range {
    /// All current pairs of the range, in key order.
    pub fn new(range: impl Into<KeyRange>) -> Range {
        Range {
            range: range.into(),
            ..Range::default()
        }
    }

    /// Reads at this revision.
    pub fn revision(mut self, revision: Revision) -> Range {
        self.revision = revision;
        self
    }

    /// Sets the maximum number of pairs.
    pub fn limit(mut self, limit: i64) -> Range {
        self.limit = limit;
        self
    }

    /// Sorts by `target` in this order.
    pub fn sort(mut self, target: SortTarget, order: SortOrder) -> Range {
        self.sort_target = target;
        self.sort_order = order;
        self
    }

    /// Omits the values.
    pub fn keys_only(mut self, keys_only: bool) -> Range {
        self.keys_only = keys_only;
        self
    }

    /// Returns only the count.
    pub fn count_only(mut self, count_only: bool) -> Range {
        self.count_only = count_only;
        self
    }

    /// Only pairs with a `mod_revision` between these, both included; 0 is off.
    pub fn mod_revisions(mut self, min: Revision, max: Revision) -> Range {
        self.min_mod_revision = min;
        self.max_mod_revision = max;
        self
    }

    /// Only pairs with a `create_revision` between these, both included; 0 is off.
    pub fn create_revisions(mut self, min: Revision, max: Revision) -> Range {
        self.min_create_revision = min;
        self.max_create_revision = max;
        self
    }

    /// Allows a cluster's member to return stale data.
    pub fn serializable(mut self, serializable: bool) -> Range {
        self.serializable = serializable;
        self
    }
}

/// The response to a [`Range`].
///
/// Fields may be added in a minor version.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct RangeResponse {
    /// The store's current revision when the range was read, also if an older one was requested.
    pub revision: Revision,
    /// The pairs.
    pub kvs: Vec<KeyValue>,
    /// The number of keys in the range at that revision, regardless of limit and filters.
    pub count: i64,
    /// Whether the limit omitted pairs.
    pub more: bool,
}

/// Deletes the keys of a range. etcd's `DeleteRangeRequest`.
///
/// Build it with [`Delete::new`] and its methods; fields may be added in a minor version.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[must_use = "a request does nothing until it is run"]
#[non_exhaustive]
pub struct Delete {
    /// The keys.
    pub range: KeyRange,
    /// Return the deleted pairs.
    pub prev_kv: bool,
    /// The durability of this write; `None` uses the handle's. No effect inside a txn.
    pub durability: Option<Durability>,
}

impl Delete {
    /// Deletes the keys of the range.
    pub fn new(range: impl Into<KeyRange>) -> Delete {
        Delete {
            range: range.into(),
            ..Delete::default()
        }
    }

    /// Returns the deleted pairs.
    pub fn prev_kv(mut self, prev_kv: bool) -> Delete {
        self.prev_kv = prev_kv;
        self
    }

    /// Uses this durability instead of the handle's.
    pub fn durability(mut self, durability: impl Into<Option<Durability>>) -> Delete {
        self.durability = durability.into();
        self
    }
}

/// The response to a [`Delete`].
///
/// Fields may be added in a minor version.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct DeleteResponse {
    /// The store's revision afterwards; unchanged if nothing was deleted.
    pub revision: Revision,
    /// The number of deleted keys.
    pub deleted: i64,
    /// The deleted pairs in key order, if they were requested.
    pub prev_kvs: Vec<KeyValue>,
}

/// The comparison operator of a [`Compare`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CompareResult {
    /// `==`
    Equal,
    /// `>`
    Greater,
    /// `<`
    Less,
    /// `!=`
    NotEqual,
}

/// The field that a [`Compare`] reads and the value to compare it with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Operand {
    /// The version; a missing key has 0.
    Version(Version),
    /// The create revision; a missing key has 0.
    CreateRevision(Revision),
    /// The mod revision; a missing key has 0.
    ModRevision(Revision),
    /// The value; on a missing key every comparison is false, `!=` too.
    Value(Vec<u8>),
    /// The lease; a missing key has 0.
    Lease(LeaseId),
}

/// A condition of a [`Txn`] on a key, or on every key of a range.
///
/// Build it with [`Compare::version`] and the like, or [`Compare::new`]; fields may be added in a
/// minor version.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[must_use = "a condition does nothing until it is added to a txn"]
#[non_exhaustive]
pub struct Compare {
    /// The key, or the range in which every key must satisfy the condition.
    pub range: KeyRange,
    /// The comparison operator.
    pub result: CompareResult,
    /// The field to compare and the value to compare it with.
    pub operand: Operand,
}

impl Compare {
    /// Compares the field that `operand` names with its value.
    pub fn new(range: impl Into<KeyRange>, result: CompareResult, operand: Operand) -> Compare {
        Compare {
            range: range.into(),
            result,
            operand,
        }
    }

    /// Compares the key's version with `version`; a missing key has version 0.
    pub fn version(range: impl Into<KeyRange>, result: CompareResult, version: Version) -> Compare {
        Compare::new(range, result, Operand::Version(version))
    }

    /// Compares the key's `create_revision` with `revision`.
    pub fn create_revision(
        range: impl Into<KeyRange>,
        result: CompareResult,
        revision: Revision,
    ) -> Compare {
        Compare::new(range, result, Operand::CreateRevision(revision))
    }

    /// Compares the key's `mod_revision` with `revision`.
    pub fn mod_revision(
        range: impl Into<KeyRange>,
        result: CompareResult,
        revision: Revision,
    ) -> Compare {
        Compare::new(range, result, Operand::ModRevision(revision))
    }

    /// Compares the key's value with `value`, bytewise; false for a missing key.
    pub fn value(
        range: impl Into<KeyRange>,
        result: CompareResult,
        value: impl Into<Vec<u8>>,
    ) -> Compare {
        Compare::new(range, result, Operand::Value(value.into()))
    }

    /// Compares the key's lease with `lease`.
    pub fn lease(range: impl Into<KeyRange>, result: CompareResult, lease: LeaseId) -> Compare {
        Compare::new(range, result, Operand::Lease(lease))
    }
}

/// One operation of a [`Txn`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// A read; it sees the effects of earlier operations of the txn.
    Range(Range),
    /// A put.
    Put(Put),
    /// A deletion.
    Delete(Delete),
    /// A nested txn. Its compares are evaluated before anything runs, like all others.
    Txn(Txn),
}

macro_rules! into_op {
    ($($type:ident),*) => { $(
        impl From<$type> for Op {
            fn from(request: $type) -> Op {
                Op::$type(request)
            }
        }
    )* };
}

into_op!(Range, Put, Delete, Txn);

/// Evaluates compares, then runs one of two lists of operations, all in one revision. etcd's
/// `TxnRequest`.
///
/// Build it with [`Txn::new`] and its methods; fields may be added in a minor version.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[must_use = "a request does nothing until it is run"]
#[non_exhaustive]
pub struct Txn {
    /// The conditions. All must hold; an empty list holds.
    pub compare: Vec<Compare>,
    /// The operations that run if all conditions hold.
    pub success: Vec<Op>,
    /// The operations that run if a condition does not hold.
    pub failure: Vec<Op>,
    /// The durability of this write; `None` uses the handle's. No effect in a nested txn.
    pub durability: Option<Durability>,
}

impl Txn {
    /// An empty txn.
    pub fn new() -> Txn {
        Txn::default()
    }

    /// Adds a condition.
    pub fn when(mut self, compare: Compare) -> Txn {
        self.compare.push(compare);
        self
    }

    /// Adds conditions.
    pub fn when_all(mut self, compares: impl IntoIterator<Item = Compare>) -> Txn {
        self.compare.extend(compares);
        self
    }

    /// Adds an operation for the case that all conditions hold.
    pub fn and_then(mut self, op: impl Into<Op>) -> Txn {
        self.success.push(op.into());
        self
    }

    /// Adds operations for the case that all conditions hold.
    ///
    /// ```
    /// use libkv::{Db, Options, Put, Txn};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// let puts = (0..10).map(|n| Put::new(format!("key/{n}"), "x"));
    /// assert_eq!(db.txn(Txn::new().and_then_all(puts))?.responses.len(), 10);
    /// # Ok::<(), libkv::Error>(())
    /// ```
    pub fn and_then_all<O: Into<Op>>(mut self, ops: impl IntoIterator<Item = O>) -> Txn {
        self.success.extend(ops.into_iter().map(Into::into));
        self
    }

    /// Adds an operation for the case that a condition does not hold.
    pub fn or_else(mut self, op: impl Into<Op>) -> Txn {
        self.failure.push(op.into());
        self
    }

    /// Adds operations for the case that a condition does not hold.
    pub fn or_else_all<O: Into<Op>>(mut self, ops: impl IntoIterator<Item = O>) -> Txn {
        self.failure.extend(ops.into_iter().map(Into::into));
        self
    }

    /// Uses this durability instead of the handle's.
    pub fn durability(mut self, durability: impl Into<Option<Durability>>) -> Txn {
        self.durability = durability.into();
        self
    }

    /// Whether neither branch can write. Such a txn needs no write lock.
    pub fn is_read_only(&self) -> bool {
        self.success
            .iter()
            .chain(&self.failure)
            .all(|op| matches!(op, Op::Range(_)))
    }
}

/// The response to one operation of a [`Txn`].
///
/// `revision` inside it is the store's revision at that point. For a put it is the new revision of
/// the txn. For a range or delete it is the new one if an earlier operation wrote something,
/// otherwise the old one. For a nested txn it is 0, as in etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum OpResponse {
    /// The response to [`Op::Range`].
    Range(RangeResponse),
    /// The response to [`Op::Put`].
    Put(PutResponse),
    /// The response to [`Op::Delete`].
    Delete(DeleteResponse),
    /// The response to [`Op::Txn`].
    Txn(TxnResponse),
}

/// The response to a [`Txn`].
///
/// Fields may be added in a minor version.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct TxnResponse {
    /// Whether the conditions held, which selects the list that ran.
    pub succeeded: bool,
    /// The store's revision afterwards.
    pub revision: Revision,
    /// The responses of the operations that ran, in order.
    pub responses: Vec<OpResponse>,
}

/// Removes history below a revision. etcd's `CompactionRequest`.
///
/// Build it with [`Compact::new`] and its methods; fields may be added in a minor version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[must_use = "a request does nothing until it is run"]
#[non_exhaustive]
pub struct Compact {
    /// The oldest revision that stays readable.
    pub revision: Revision,
    /// Return after the space was reclaimed.
    pub physical: bool,
}

impl Compact {
    /// Compacts to `revision`.
    pub fn new(revision: Revision) -> Compact {
        Compact {
            revision,
            physical: false,
        }
    }

    /// Returns after the space was reclaimed.
    pub fn physical(mut self, physical: bool) -> Compact {
        self.physical = physical;
        self
    }
}

impl From<Revision> for Compact {
    fn from(revision: Revision) -> Compact {
        Compact::new(revision)
    }
}

/// The response to a [`Compact`].
///
/// Fields may be added in a minor version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct CompactResponse {
    /// The store's revision: compacting does not change it.
    pub revision: Revision,
}

/// Any request.
///
/// Kinds may be added in a minor version.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a request does nothing until it is run"]
#[non_exhaustive]
pub enum Request {
    /// A read.
    Range(Range),
    /// A put.
    Put(Put),
    /// A deletion.
    Delete(Delete),
    /// A txn.
    Txn(Txn),
    /// A compaction.
    Compact(Compact),
    /// Grants a lease.
    LeaseGrant(LeaseGrant),
    /// Revokes a lease.
    LeaseRevoke(LeaseRevoke),
    /// Lists, activates or disarms alarms.
    Alarm(Alarm),
    /// Records beside the keys.
    Side(Side),
}

/// The response to a [`Request`], of the same kind.
///
/// Kinds may be added in a minor version.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Response {
    /// The response to [`Request::Range`].
    Range(RangeResponse),
    /// The response to [`Request::Put`].
    Put(PutResponse),
    /// The response to [`Request::Delete`].
    Delete(DeleteResponse),
    /// The response to [`Request::Txn`].
    Txn(TxnResponse),
    /// The response to [`Request::Compact`].
    Compact(CompactResponse),
    /// The response to [`Request::LeaseGrant`].
    LeaseGrant(LeaseGrantResponse),
    /// The response to [`Request::LeaseRevoke`].
    LeaseRevoke(LeaseRevokeResponse),
    /// The response to [`Request::Alarm`].
    Alarm(AlarmResponse),
    /// The response to [`Request::Side`].
    Side(SideResponse),
}

macro_rules! into_request {
    ($($type:ident),*) => { $(
        impl From<$type> for Request {
            fn from(request: $type) -> Request {
                Request::$type(request)
            }
        }
    )* };
}

into_request!(
    Range,
    Put,
    Delete,
    Txn,
    Compact,
    LeaseGrant,
    LeaseRevoke,
    Alarm,
    Side
);

/// Grants a lease. Keys can be attached to it and are deleted with it. etcd's `LeaseGrantRequest`.
///
/// Build it with [`LeaseGrant::new`] and its methods; fields may be added in a minor version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[must_use = "a request does nothing until it is run"]
#[non_exhaustive]
pub struct LeaseGrant {
    /// The time to live in seconds without a keep-alive. Smaller values are raised to the handle's
    /// `lease_ttl_min_seconds`. At most [`LEASE_TTL_MAX_SECONDS`].
    pub ttl_seconds: i64,
    /// The id; with 0 the store chooses a positive one.
    pub id: LeaseId,
    /// The lease also ends within 500 ms after this process ends.
    pub end_with_process: bool,
}

impl LeaseGrant {
    /// Grants a lease of `ttl_seconds`, with an id that the store chooses.
    pub fn new(ttl_seconds: i64) -> LeaseGrant {
        LeaseGrant {
            ttl_seconds,
            ..LeaseGrant::default()
        }
    }

    /// Asks for this id; 0: the store chooses one.
    pub fn id(mut self, id: LeaseId) -> LeaseGrant {
        self.id = id;
        self
    }

    /// Ends the lease also within 500 ms after this process ends.
    pub fn end_with_process(mut self, end_with_process: bool) -> LeaseGrant {
        self.end_with_process = end_with_process;
        self
    }
}

impl From<i64> for LeaseGrant {
    fn from(ttl_seconds: i64) -> LeaseGrant {
        LeaseGrant::new(ttl_seconds)
    }
}

/// Revokes a lease. Its keys are deleted in one revision. etcd's `LeaseRevokeRequest`.
///
/// Build it with [`LeaseRevoke::new`]; fields may be added in a minor version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[must_use = "a request does nothing until it is run"]
#[non_exhaustive]
pub struct LeaseRevoke {
    /// The id of the lease.
    pub id: LeaseId,
}

impl LeaseRevoke {
    /// Revokes the lease `id`.
    pub fn new(id: LeaseId) -> LeaseRevoke {
        LeaseRevoke { id }
    }
}

impl From<LeaseId> for LeaseRevoke {
    fn from(id: LeaseId) -> LeaseRevoke {
        LeaseRevoke::new(id)
    }
}

/// The response to a [`LeaseGrant`].
///
/// Fields may be added in a minor version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct LeaseGrantResponse {
    /// The store's revision: granting does not change it.
    pub revision: Revision,
    /// The id of the lease.
    pub id: LeaseId,
    /// The granted TTL.
    pub ttl_seconds: i64,
}

/// The response to a [`LeaseRevoke`].
///
/// Fields may be added in a minor version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct LeaseRevokeResponse {
    /// The store's revision afterwards; unchanged if the lease had no keys.
    pub revision: Revision,
}

/// The response of [`crate::Db::lease_keep_alive`].
///
/// Fields may be added in a minor version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct LeaseKeepAliveResponse {
    /// The id of the lease.
    pub id: LeaseId,
    /// The TTL after the renewal; 0 if the lease does not exist or has expired.
    pub ttl_seconds: i64,
}

/// Reads the remaining time of a lease. etcd's `LeaseTimeToLiveRequest`.
///
/// Build it with [`LeaseTimeToLive::new`] and its methods; fields may be added in a minor version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[must_use = "a request does nothing until it is run"]
#[non_exhaustive]
pub struct LeaseTimeToLive {
    /// The id of the lease.
    pub id: LeaseId,
    /// Also return the attached keys.
    pub keys: bool,
}

impl LeaseTimeToLive {
    /// Reads the remaining time of the lease `id`.
    pub fn new(id: LeaseId) -> LeaseTimeToLive {
        LeaseTimeToLive { id, keys: false }
    }

    /// Also returns the attached keys.
    pub fn keys(mut self, keys: bool) -> LeaseTimeToLive {
        self.keys = keys;
        self
    }
}

impl From<LeaseId> for LeaseTimeToLive {
    fn from(id: LeaseId) -> LeaseTimeToLive {
        LeaseTimeToLive::new(id)
    }
}

/// The response to a [`LeaseTimeToLive`].
///
/// Fields may be added in a minor version.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct LeaseTimeToLiveResponse {
    /// The id of the lease.
    pub id: LeaseId,
    /// The remaining time in whole seconds, rounded down; -1 if the lease does not exist.
    pub ttl_seconds: i64,
    /// The granted TTL; 0 if the lease does not exist.
    pub granted_ttl_seconds: i64,
    /// The attached keys in ascending order, if they were requested.
    pub keys: Vec<Vec<u8>>,
}

/// The type of an alarm. etcd's `AlarmType` without NONE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum AlarmKind {
    /// The quota is used up. Requests that need space (puts, grants, txns with a put) return
    /// `full`; deletions, revocations and compactions still work.
    NoSpace,
    /// The data may be damaged. Every write returns `corrupt`.
    Corrupt,
}

impl AlarmKind {
    /// Both types, in the order of their numbers.
    pub const ALL: [AlarmKind; 2] = [AlarmKind::NoSpace, AlarmKind::Corrupt];

    /// etcd's name: `NOSPACE`, `CORRUPT`.
    pub fn name(self) -> &'static str {
        match self {
            AlarmKind::NoSpace => "NOSPACE",
            AlarmKind::Corrupt => "CORRUPT",
        }
    }
}

impl std::fmt::Display for AlarmKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The action of an [`Alarm`] request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum AlarmAction {
    /// Lists the active alarms.
    #[default]
    Get,
    /// Activates an alarm.
    Activate,
    /// Disarms an alarm.
    Deactivate,
}

/// Lists, activates or disarms alarms. An active alarm stays active until it is disarmed, also
/// after a restart. It applies to every process that writes, whichever member it names. etcd's
/// `AlarmRequest`.
///
/// Build it with [`Alarm::new`] and its methods; fields may be added in a minor version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[must_use = "a request does nothing until it is run"]
#[non_exhaustive]
pub struct Alarm {
    /// The action.
    pub action: AlarmAction,
    /// The member id, as given, including 0. No effect with [`AlarmAction::Get`].
    pub member: u64,
    /// The alarm type. `None` selects all types for [`AlarmAction::Get`]; for other actions it
    /// makes the request do nothing.
    pub kind: Option<AlarmKind>,
}

impl Alarm {
    /// Does `action`, for member 0 and no alarm type.
    pub fn new(action: AlarmAction) -> Alarm {
        Alarm {
            action,
            ..Alarm::default()
        }
    }

    /// Sets the member id.
    pub fn member(mut self, member: u64) -> Alarm {
        self.member = member;
        self
    }

    /// Sets the alarm type.
    pub fn kind(mut self, kind: impl Into<Option<AlarmKind>>) -> Alarm {
        self.kind = kind.into();
        self
    }
}

/// An alarm that is active, or that was just disarmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct AlarmMember {
    /// The member id.
    pub member: u64,
    /// The alarm type.
    pub kind: AlarmKind,
}

/// The response to an [`Alarm`].
///
/// Fields may be added in a minor version.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct AlarmResponse {
    /// The store's revision: alarms do not change it.
    pub revision: Revision,
    /// The requested alarms, sorted by kind and member; or the alarm that was activated (also if it
    /// was active already) or disarmed; or empty.
    pub alarms: Vec<AlarmMember>,
}

/// Small records beside the keys, by name. They have no revision and no events. libkv stores here
/// what must be consistent with the data: alarms, users, the progress of a mirror. Programs should
/// use keys.
///
/// Names are 1 to [`KEY_BYTES_MAX`] bytes. Names that begin with `time/` or `alarm/` are reserved
/// for the engine and can only be read.
///
/// Kinds may be added in a minor version.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a request does nothing until it is run"]
#[non_exhaustive]
pub enum Side {
    /// Reads one record.
    Get {
        /// The name.
        name: Vec<u8>,
    },
    /// Reads the records whose names begin with a prefix, in name order.
    Scan {
        /// The prefix; empty: all records.
        prefix: Vec<u8>,
        /// Only names above this one, for paging; empty: from the start.
        after: Vec<u8>,
        /// The maximum number of records; 0: all.
        limit: usize,
    },
    /// Writes records, all or none, if other records are unchanged.
    Put {
        /// Names with their expected values; `None`: no such record.
        unchanged: Vec<(Vec<u8>, Option<Vec<u8>>)>,
        /// Names with their new values; `None` deletes the record.
        records: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    },
}

/// The response to a [`Side`].
///
/// Fields may be added in a minor version.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct SideResponse {
    /// The store's revision: records beside the keys do not change it.
    pub revision: Revision,
    /// The records that were read: name and value. Missing records are omitted.
    pub records: Vec<(Vec<u8>, Vec<u8>)>,
    /// For a [`Side::Put`]: whether all expected values matched, so that the records were written.
    pub written: bool,
}

/// Follows the events of a range; see [`crate::Db::watch`]. etcd's `WatchCreateRequest`.
///
/// Build it with [`Watch::new`] and its methods; fields may be added in a minor version.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[must_use = "a request does nothing until it is run"]
#[non_exhaustive]
pub struct Watch {
    /// The keys. An empty key is taken as `\0`, as in etcd.
    pub range: KeyRange,
    /// The first revision to deliver; 0: only events after this call. It may be in the future.
    pub start_revision: Revision,
    /// Return with each event the pair before the event's revision.
    pub prev_kv: bool,
    /// Omit puts.
    pub no_put: bool,
    /// Omit deletions.
    pub no_delete: bool,
    /// After an interval without an event, deliver a batch without events whose revision shows the
    /// progress.
    pub progress: bool,
    /// The interval in milliseconds; 0: ten minutes. It is checked once a second, or as often as
    /// the shortest interval requires. A cluster uses its own interval.
    pub progress_interval_ms: u64,
}

impl Watch {
    /// All events of the range after this call.
    pub fn new(range: impl Into<KeyRange>) -> Watch {
        Watch {
            range: range.into(),
            ..Watch::default()
        }
    }

    /// Starts at this revision.
    pub fn start_revision(mut self, revision: Revision) -> Watch {
        self.start_revision = revision;
        self
    }

    /// Returns with each event the pair before it.
    pub fn prev_kv(mut self, prev_kv: bool) -> Watch {
        self.prev_kv = prev_kv;
        self
    }

    /// Omits puts.
    pub fn no_put(mut self, no_put: bool) -> Watch {
        self.no_put = no_put;
        self
    }

    /// Omits deletions.
    pub fn no_delete(mut self, no_delete: bool) -> Watch {
        self.no_delete = no_delete;
        self
    }

    /// Delivers progress notifications while nothing happens.
    pub fn progress(mut self, progress: bool) -> Watch {
        self.progress = progress;
        self
    }

    /// Sets the interval of the progress notifications.
    pub fn progress_interval_ms(mut self, interval_ms: u64) -> Watch {
        self.progress_interval_ms = interval_ms;
        self
    }
}

/// All matching events of one revision.
///
/// Fields may be added in a minor version.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct WatchBatch {
    /// The revision of the events; without events, the last revision that was examined.
    pub revision: Revision,
    /// The events, in order. Empty for a progress notification.
    pub events: Vec<Event>,
}

impl WatchBatch {
    /// The events of one revision.
    pub fn new(revision: Revision, events: Vec<Event>) -> WatchBatch {
        WatchBatch { revision, events }
    }
}

/// Requests the events of a range between two revisions; see [`crate::Db::events`].
///
/// Build it with [`Events::new`] and its methods; fields may be added in a minor version.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[must_use = "a request does nothing until it is run"]
#[non_exhaustive]
pub struct Events {
    /// Only events after this revision, which must not be below the compacted one.
    pub after: Revision,
    /// Only events up to this revision, included; 0 or negative: the current one.
    pub upto: Revision,
    /// The keys.
    pub range: KeyRange,
}

impl Events {
    /// All events of the range up to the current revision; [`Events::after`] is needed if the
    /// store was compacted.
    pub fn new(range: impl Into<KeyRange>) -> Events {
        Events {
            range: range.into(),
            ..Events::default()
        }
    }

    /// Only events after this revision.
    pub fn after(mut self, after: Revision) -> Events {
        self.after = after;
        self
    }

    /// Only events up to this revision, included; 0 or negative: the current one.
    pub fn upto(mut self, upto: Revision) -> Events {
        self.upto = upto;
        self
    }
}

/// The status of a store; see [`crate::Db::status`].
///
/// `None` is a number that does not exist or cannot be known: a cluster does not show its files and
/// its readers, and its user may not be allowed to read all keys.
///
/// Fields may be added in a minor version.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Status {
    /// The current revision.
    pub revision: Revision,
    /// The compacted revision; `None` if the store was never compacted.
    pub compacted_revision: Option<Revision>,
    /// The number of keys.
    pub keys: Option<u64>,
    /// Bytes that the store's files use on disk.
    pub bytes_on_disk: u64,
    /// Bytes of pages that hold data. The other pages are reused.
    pub bytes_in_use: u64,
    /// Read transactions that are active or kept for reuse, in all processes.
    pub readers: Option<u32>,
    /// Watchers of this process.
    pub watchers: u64,
    /// The number of leases.
    pub leases: Option<u64>,
    /// The version of the format on disk.
    pub format_version: Option<u32>,
    /// The version of LMDB in this process, for example `0.9.24`.
    pub lmdb_version: Option<String>,
    /// The unique id of this store: 32 hexadecimal digits.
    pub store_id: String,
    /// The durability of this handle's writes.
    pub durability: Option<Durability>,
    /// The quota for [`bytes_in_use`](Status::bytes_in_use); `None` if there is no quota.
    pub max_bytes: Option<u64>,
    /// The active alarms, sorted by kind and member; see [`crate::Db::alarm_list`].
    pub alarms: Vec<AlarmMember>,
    /// A sync failed: the store accepts no more writes until every process has closed it.
    pub poisoned: bool,
    /// The store's files were removed while it is open. Data written since is lost when the last
    /// process closes the store.
    pub removed: bool,
    /// The pid of the process that holds the write lock; `None` if no process holds it.
    pub writer_pid: Option<u32>,
    /// How long it has held the write lock, in milliseconds.
    pub writer_held_ms: Option<u64>,
    /// By how many commits the oldest active read transaction is behind; `None` if there is none.
    /// Its pages cannot be reused.
    pub oldest_reader: Option<u64>,
}

/// How long the commits of this process took in one store since it was opened, from the first page
/// written to the last flush. See [`crate::Db::commit_times`].
///
/// Fields may be added in a minor version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct CommitTimes {
    /// The number of commits that took at most 1 ms, more than that and at most 2 ms, at most 4 ms,
    /// and so on to 8,192 ms.
    pub within: [u64; CommitTimes::BUCKETS],
    /// The number of all commits.
    pub count: u64,
    /// The total time of all commits, in microseconds.
    pub total_us: u64,
}

impl CommitTimes {
    /// The number of buckets: from 1 ms, doubled each time.
    pub const BUCKETS: usize = 14;
}

/// One problem that [`crate::Db::check`] found.
///
/// Fields may be added in a minor version.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Problem {
    /// The violated invariant, as numbered in `core/DESIGN.md`: `I2`, …
    pub invariant: &'static str,
    /// The key concerned; empty if there is none.
    pub key: Vec<u8>,
    /// The revision concerned; `None` if there is none.
    pub revision: Option<Revision>,
    /// A description of the problem.
    pub message: String,
}

impl Problem {
    /// A problem without a key and a revision.
    pub fn new(invariant: &'static str, message: impl Into<String>) -> Problem {
        Problem {
            invariant,
            key: Vec::new(),
            revision: None,
            message: message.into(),
        }
    }
}

/// The result of [`crate::Db::check`].
///
/// Fields may be added in a minor version.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct CheckReport {
    /// The number of keys.
    pub keys: u64,
    /// The number of events in the log.
    pub events: u64,
    /// The problems; empty if the store is sound.
    pub problems: Vec<Problem>,
}
