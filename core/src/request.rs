//! Requests and their answers: plain values, built once, run alone or inside a [`Txn`].
//!
//! | limit | default | preset `etcd` | refused with |
//! |---|---|---|---|
//! | keys and values of one write ([`MAX_REQUEST_BYTES`]) | 64 MiB | 1.5 MiB, encoded as etcd does | `too_large` |
//! | operations per list of a txn ([`MAX_TXN_OPS`]) | 100,000 | 128, and etcd's rule for nesting | `too_many_ops` |
//! | bytes of one key ([`KEY_BYTES_MAX`]) | 480 | 480 | `too_large` |
//! | smallest TTL of a lease ([`LEASE_TTL_MIN_SECONDS`]) | 1 s | 2 s | raised to it |
//! | largest TTL of a lease ([`LEASE_TTL_MAX_SECONDS`]) | 9,000,000,000 s | the same | `invalid_argument` |

use crate::model::{Event, KeyRange, KeyValue, LeaseId, Revision, Version};

/// Keys and values of one request, summed, unless the options say otherwise.
pub const MAX_REQUEST_BYTES: u64 = 64 << 20;
/// The same for the preset `etcd`: bytes of the request as etcd encodes it.
pub const ETCD_MAX_REQUEST_BYTES: u64 = 1_572_864;
/// Operations in each list of a txn, unless the options say otherwise.
pub const MAX_TXN_OPS: usize = 100_000;
/// The same for the preset `etcd`.
pub const ETCD_MAX_TXN_OPS: usize = 128;
/// The longest key that this version can store.
pub const KEY_BYTES_MAX: usize = 480;
/// Smaller TTLs are raised to this.
pub const LEASE_TTL_MIN_SECONDS: i64 = 1;
/// The same for the preset `etcd`.
pub const ETCD_LEASE_TTL_MIN_SECONDS: i64 = 2;
/// Larger TTLs are refused, as by etcd.
pub const LEASE_TTL_MAX_SECONDS: i64 = 9_000_000_000;
/// How deep txns may stand in one another; beyond it `too_many_ops`. etcd's rule ends at 129.
pub const TXN_DEPTH_MAX: usize = 200;

/// How safe an acknowledged write is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Durability {
    /// Only for a whole store, chosen at its creation: a power cut may destroy the store; a killed
    /// process loses nothing.
    None,
    /// A power cut loses at most the last commits and never corrupts.
    Lazy,
    /// Acknowledged means on disk: two flushes for each commit.
    Sync,
}

/// Writes one key. etcd's `PutRequest`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Put {
    /// The key, 1 to [`KEY_BYTES_MAX`] bytes.
    pub key: Vec<u8>,
    /// The value; empty is a value. Must be empty with `ignore_value`.
    pub value: Vec<u8>,
    /// The lease that the key shall hang on; 0 detaches it. Must be 0 with `ignore_lease`.
    pub lease: LeaseId,
    /// Answer the pair as it was before.
    pub prev_kv: bool,
    /// Keep the value that the key has; the key must exist.
    pub ignore_value: bool,
    /// Keep the lease that the key has; the key must exist.
    pub ignore_lease: bool,
    /// How safe this write must be; none takes the handle's. Without effect inside a txn.
    pub durability: Option<Durability>,
}

impl Put {
    /// Writes `value` under `key`, with no lease.
    pub fn new(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Put {
        Put { key: key.into(), value: value.into(), ..Put::default() }
    }

    /// Hangs the key on this lease.
    pub fn lease(mut self, lease: LeaseId) -> Put {
        self.lease = lease;
        self
    }

    /// Answers the pair as it was before.
    pub fn prev_kv(mut self, prev_kv: bool) -> Put {
        self.prev_kv = prev_kv;
        self
    }

    /// Keeps the value that the key has.
    pub fn ignore_value(mut self, ignore_value: bool) -> Put {
        self.ignore_value = ignore_value;
        self
    }

    /// Keeps the lease that the key has.
    pub fn ignore_lease(mut self, ignore_lease: bool) -> Put {
        self.ignore_lease = ignore_lease;
        self
    }

    /// Asks for this durability instead of the handle's.
    pub fn durability(mut self, durability: Durability) -> Put {
        self.durability = Some(durability);
        self
    }
}

/// The answer to a [`Put`].
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct PutResult {
    /// The store's revision after the put.
    pub revision: Revision,
    /// The pair as it was before, if it was asked for and the key existed.
    pub prev_kv: Option<KeyValue>,
}

/// In which order a range comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum SortOrder {
    /// By key, ascending, if the target is the key; else ascending on the target.
    #[default]
    None,
    /// Smallest first.
    Ascend,
    /// Largest first; equal ones still by key, ascending.
    Descend,
}

/// What a range is sorted by.
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
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Range {
    /// Which keys.
    pub range: KeyRange,
    /// At which revision; 0 and below: now.
    pub revision: Revision,
    /// At most so many pairs, after filters and sorting; 0 and below: all.
    pub limit: i64,
    /// In which order.
    pub sort_order: SortOrder,
    /// Sorted by what.
    pub sort_target: SortTarget,
    /// Leave the values empty.
    pub keys_only: bool,
    /// Only count: no pairs; limit and filters have no effect.
    pub count_only: bool,
    /// Only pairs last put at this revision or later; 0 is off.
    pub min_mod_revision: Revision,
    /// Only pairs last put at this revision or earlier; 0 is off, a negative one drops all.
    pub max_mod_revision: Revision,
    /// Only pairs created at this revision or later; 0 is off.
    pub min_create_revision: Revision,
    /// Only pairs created at this revision or earlier; 0 is off, a negative one drops all.
    pub max_create_revision: Revision,
    /// Only of meaning on a cluster: the answer may come from a member that lags behind.
    pub serializable: bool,
}

impl Range {
    /// Every pair of the range, now, by key.
    pub fn new(range: impl Into<KeyRange>) -> Range {
        Range { range: range.into(), ..Range::default() }
    }

    /// Reads at this revision.
    pub fn revision(mut self, revision: Revision) -> Range {
        self.revision = revision;
        self
    }

    /// Answers at most so many pairs.
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

    /// Leaves the values empty.
    pub fn keys_only(mut self, keys_only: bool) -> Range {
        self.keys_only = keys_only;
        self
    }

    /// Only counts.
    pub fn count_only(mut self, count_only: bool) -> Range {
        self.count_only = count_only;
        self
    }

    /// Only pairs last put between these revisions, both included; 0 is off.
    pub fn mod_revisions(mut self, min: Revision, max: Revision) -> Range {
        self.min_mod_revision = min;
        self.max_mod_revision = max;
        self
    }

    /// Only pairs created between these revisions, both included; 0 is off.
    pub fn create_revisions(mut self, min: Revision, max: Revision) -> Range {
        self.min_create_revision = min;
        self.max_create_revision = max;
        self
    }

    /// Lets a member that lags behind answer, on a cluster.
    pub fn serializable(mut self, serializable: bool) -> Range {
        self.serializable = serializable;
        self
    }
}

/// The answer to a [`Range`].
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RangeResult {
    /// The store's revision when it was read, also when an older one was asked for.
    pub revision: Revision,
    /// The pairs.
    pub kvs: Vec<KeyValue>,
    /// How many keys the range has at that revision, whatever the limit and the filters.
    pub count: i64,
    /// Whether the limit cut anything off.
    pub more: bool,
}

/// Deletes the keys of a range. etcd's `DeleteRangeRequest`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Delete {
    /// Which keys.
    pub range: KeyRange,
    /// Answer the pairs that went.
    pub prev_kv: bool,
    /// How safe this write must be; none takes the handle's. Without effect inside a txn.
    pub durability: Option<Durability>,
}

impl Delete {
    /// Deletes the keys of the range.
    pub fn new(range: impl Into<KeyRange>) -> Delete {
        Delete { range: range.into(), ..Delete::default() }
    }

    /// Answers the pairs that went.
    pub fn prev_kv(mut self, prev_kv: bool) -> Delete {
        self.prev_kv = prev_kv;
        self
    }

    /// Asks for this durability instead of the handle's.
    pub fn durability(mut self, durability: Durability) -> Delete {
        self.durability = Some(durability);
        self
    }
}

/// The answer to a [`Delete`].
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct DeleteResult {
    /// The store's revision afterwards; unchanged if nothing was deleted.
    pub revision: Revision,
    /// How many keys went.
    pub deleted: i64,
    /// The pairs that went, by key, if they were asked for.
    pub prev_kvs: Vec<KeyValue>,
}

/// How a [`Compare`] holds what it finds against its operand.
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

/// What a [`Compare`] looks at, with what it is held against.
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
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Compare {
    /// The key, or the range whose every key must fulfil the condition.
    pub range: KeyRange,
    /// How.
    pub result: CompareResult,
    /// What against what.
    pub operand: Operand,
}

impl Compare {
    /// The key's version (0: there is no such key) against `version`.
    pub fn version(range: impl Into<KeyRange>, result: CompareResult, version: Version) -> Compare {
        Compare { range: range.into(), result, operand: Operand::Version(version) }
    }

    /// The revision that created the key against `revision`.
    pub fn create_revision(range: impl Into<KeyRange>, result: CompareResult, revision: Revision) -> Compare {
        Compare { range: range.into(), result, operand: Operand::CreateRevision(revision) }
    }

    /// The revision that put the key last against `revision`.
    pub fn mod_revision(range: impl Into<KeyRange>, result: CompareResult, revision: Revision) -> Compare {
        Compare { range: range.into(), result, operand: Operand::ModRevision(revision) }
    }

    /// The key's value against `value`, bytewise; false on a missing key.
    pub fn value(range: impl Into<KeyRange>, result: CompareResult, value: impl Into<Vec<u8>>) -> Compare {
        Compare { range: range.into(), result, operand: Operand::Value(value.into()) }
    }

    /// The key's lease against `lease`.
    pub fn lease(range: impl Into<KeyRange>, result: CompareResult, lease: LeaseId) -> Compare {
        Compare { range: range.into(), result, operand: Operand::Lease(lease) }
    }
}

/// One operation of a [`Txn`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// A read; it sees what earlier operations of the txn did.
    Range(Range),
    /// A put.
    Put(Put),
    /// A deletion.
    Delete(Delete),
    /// A txn inside the txn; its compares are evaluated before anything runs, like all others.
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

/// Compares, then runs one of two lists of operations, all in one revision. etcd's `TxnRequest`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Txn {
    /// The conditions; all must hold, none is success.
    pub compare: Vec<Compare>,
    /// What runs if they hold.
    pub success: Vec<Op>,
    /// What runs if one does not.
    pub failure: Vec<Op>,
    /// How safe this write must be; none takes the handle's. Without effect in a nested txn.
    pub durability: Option<Durability>,
}

impl Txn {
    /// A txn without conditions or operations.
    pub fn new() -> Txn {
        Txn::default()
    }

    /// Adds a condition.
    pub fn when(mut self, compare: Compare) -> Txn {
        self.compare.push(compare);
        self
    }

    /// Adds an operation for the case that all conditions hold.
    pub fn and_then(mut self, op: impl Into<Op>) -> Txn {
        self.success.push(op.into());
        self
    }

    /// Adds an operation for the case that a condition does not hold.
    pub fn or_else(mut self, op: impl Into<Op>) -> Txn {
        self.failure.push(op.into());
        self
    }

    /// Asks for this durability instead of the handle's.
    pub fn durability(mut self, durability: Durability) -> Txn {
        self.durability = Some(durability);
        self
    }

    /// Whether no branch, taken or not, can write: such a txn needs no writer's lock.
    pub fn is_read_only(&self) -> bool {
        self.success.iter().chain(&self.failure).all(|op| matches!(op, Op::Range(_)))
    }
}

/// The answer to one operation of a [`Txn`].
///
/// Inside it `revision` is that of the store at that point: for a put the txn's new revision, for
/// ranges and deletes the new one once something was written before them, else the old one; for a
/// nested txn 0, as in etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpResult {
    /// Of [`Op::Range`].
    Range(RangeResult),
    /// Of [`Op::Put`].
    Put(PutResult),
    /// Of [`Op::Delete`].
    Delete(DeleteResult),
    /// Of [`Op::Txn`].
    Txn(TxnResult),
}

/// The answer to a [`Txn`].
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct TxnResult {
    /// Whether the conditions held, and so which list ran.
    pub succeeded: bool,
    /// The store's revision afterwards.
    pub revision: Revision,
    /// The answers of the operations that ran, in their order.
    pub responses: Vec<OpResult>,
}

/// Forgets history below a revision. etcd's `CompactionRequest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Compact {
    /// The oldest revision that stays readable.
    pub revision: Revision,
    /// Answer only when the space has been reclaimed.
    pub physical: bool,
}

impl Compact {
    /// Forgets what lies below `revision`.
    pub fn new(revision: Revision) -> Compact {
        Compact { revision, physical: false }
    }

    /// Answers only when the space has been reclaimed.
    pub fn physical(mut self, physical: bool) -> Compact {
        self.physical = physical;
        self
    }
}

/// The answer to a [`Compact`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct CompactResult {
    /// The store's revision: compacting does not change it.
    pub revision: Revision,
}

/// Any request, as an engine takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// A lease to be granted.
    LeaseGrant(Grant),
    /// A lease to be revoked.
    LeaseRevoke(Revoke),
    /// Alarms to be read, raised or ended.
    Alarm(Alarm),
    /// Records beside the keys.
    Side(Side),
}

/// Any answer; of the same kind as its [`Request`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To [`Request::Range`].
    Range(RangeResult),
    /// To [`Request::Put`].
    Put(PutResult),
    /// To [`Request::Delete`].
    Delete(DeleteResult),
    /// To [`Request::Txn`].
    Txn(TxnResult),
    /// To [`Request::Compact`].
    Compact(CompactResult),
    /// To [`Request::LeaseGrant`].
    LeaseGrant(LeaseGrant),
    /// To [`Request::LeaseRevoke`].
    LeaseRevoke(LeaseRevoke),
    /// To [`Request::Alarm`].
    Alarm(AlarmResult),
    /// To [`Request::Side`].
    Side(SideResult),
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

into_request!(Range, Put, Delete, Txn, Compact, Alarm, Side);

impl From<Grant> for Request {
    fn from(grant: Grant) -> Request {
        Request::LeaseGrant(grant)
    }
}

impl From<Revoke> for Request {
    fn from(revoke: Revoke) -> Request {
        Request::LeaseRevoke(revoke)
    }
}

/// Grants a lease: keys can be put on it, and go with it. etcd's `LeaseGrantRequest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Grant {
    /// For how many seconds it lives without a keep-alive; smaller ones are raised to the handle's
    /// `lease_ttl_min_seconds`. At most [`LEASE_TTL_MAX_SECONDS`].
    pub ttl_seconds: i64,
    /// Its id; 0 lets the store choose a positive one.
    pub id: LeaseId,
    /// It ends within 500 ms of this process's death, whatever is left of it.
    pub end_with_process: bool,
}

/// Revokes a lease: its keys go in one revision. etcd's `LeaseRevokeRequest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Revoke {
    /// Which.
    pub id: LeaseId,
}

/// The answer to a [`Grant`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct LeaseGrant {
    /// The store's revision: granting does not change it.
    pub revision: Revision,
    /// The id of the lease.
    pub id: LeaseId,
    /// The TTL that it got.
    pub ttl_seconds: i64,
}

/// The answer to a [`Revoke`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct LeaseRevoke {
    /// The store's revision afterwards; unchanged if the lease had no keys.
    pub revision: Revision,
}

/// The answer to [`crate::Db::lease_keep_alive`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct LeaseKeepAlive {
    /// The id of the lease.
    pub id: LeaseId,
    /// The TTL that it has again, or 0: there is no such lease, or it has expired.
    pub ttl_seconds: i64,
}

/// The answer to [`crate::Db::lease_time_to_live`].
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct LeaseTimeToLive {
    /// The id of the lease.
    pub id: LeaseId,
    /// Whole seconds that are left, rounded down; -1 if there is no such lease.
    pub ttl_seconds: i64,
    /// The TTL that it was granted; 0 if there is no such lease.
    pub granted_ttl_seconds: i64,
    /// The keys on it, ascending, if they were asked for.
    pub keys: Vec<Vec<u8>>,
}

/// What an alarm says of a store. etcd's `AlarmType` without NONE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AlarmKind {
    /// The quota is used up: whatever takes room (puts, grants, txns with a put) is answered with `full`;
    /// what makes room (deletions, revocations, compactions) goes on.
    NoSpace,
    /// The data is not to be trusted: every write is answered with `corrupt`.
    Corrupt,
}

impl AlarmKind {
    /// Both, in the order of their numbers.
    pub const ALL: [AlarmKind; 2] = [AlarmKind::NoSpace, AlarmKind::Corrupt];

    /// etcd's name for it: `NOSPACE`, `CORRUPT`.
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

/// What an [`Alarm`] request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum AlarmAction {
    /// Answers the alarms that are active.
    #[default]
    Get,
    /// Raises one.
    Activate,
    /// Ends one.
    Deactivate,
}

/// Reads, raises or ends alarms. An active alarm stays until it is ended, also over a restart, and
/// every process that writes obeys it, whichever member it names. etcd's `AlarmRequest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Alarm {
    /// What to do.
    pub action: AlarmAction,
    /// The member that it is about, as given, 0 too; without effect on [`AlarmAction::Get`].
    pub member: u64,
    /// Which. None: with [`AlarmAction::Get`] all, else none is, and nothing is done.
    pub kind: Option<AlarmKind>,
}

/// An alarm that is active, or was until now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AlarmMember {
    /// The member that it names.
    pub member: u64,
    /// What it says.
    pub kind: AlarmKind,
}

impl std::fmt::Display for AlarmMember {
    /// As etcd writes it in the answer of its `Status`: `memberID:<id> alarm:NOSPACE `, the member left
    /// out if it is 0, a space behind.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.member != 0 {
            write!(f, "memberID:{} ", self.member)?;
        }
        write!(f, "alarm:{} ", self.kind)
    }
}

/// The answer to an [`Alarm`].
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct AlarmResult {
    /// The store's revision: alarms do not change it.
    pub revision: Revision,
    /// Those asked for, by kind and member; or the one that was raised (also if it was already) or
    /// ended. Empty if nothing was.
    pub alarms: Vec<AlarmMember>,
}

/// Small records beside the keys, by name, that raise no revision and that no watcher sees: where the parts
/// of libkv keep what must be one with the data (alarms, users, how far a mirror has come). Programs
/// keep theirs in keys.
///
/// Names are 1 to [`KEY_BYTES_MAX`] bytes. Those below `time/` and `alarm/` are the engine's own, and
/// can only be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Side {
    /// Reads one record.
    Get {
        /// Its name.
        name: Vec<u8>,
    },
    /// Reads the records whose names begin so, by name.
    Scan {
        /// How they begin; empty is all.
        prefix: Vec<u8>,
        /// Only names above this one: the last of the page before; empty from the start.
        after: Vec<u8>,
        /// At most so many; 0 is all.
        limit: usize,
    },
    /// Writes some records, all or none, if others are still what they were.
    Put {
        /// Names with what must stand there; none: there must be no such record.
        unchanged: Vec<(Vec<u8>, Option<Vec<u8>>)>,
        /// Names with what shall stand there; none deletes the record.
        records: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    },
}

/// The answer to a [`Side`].
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct SideResult {
    /// The store's revision: records beside the keys do not change it.
    pub revision: Revision,
    /// The records read, each with its name; without one if there is none.
    pub records: Vec<(Vec<u8>, Vec<u8>)>,
    /// Of a [`Side::Put`]: whether everything was unchanged, and so it was written.
    pub written: bool,
}

/// Follows the events of a range; see [`crate::Db::watch`]. etcd's `WatchCreateRequest`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Watch {
    /// Which keys. An empty key is taken as `\0`, as etcd does.
    pub range: KeyRange,
    /// The first revision to deliver; 0: whatever is written from now on. It may lie in the future.
    pub start_revision: Revision,
    /// With each event, the pair as it was before the event's revision.
    pub prev_kv: bool,
    /// Leave puts out.
    pub no_put: bool,
    /// Leave deletions out.
    pub no_delete: bool,
    /// After some time without an event, a batch without events that says how far all is seen.
    pub progress: bool,
    /// That time in milliseconds; 0: ten minutes. It is looked at once a second, or as often as the shortest
    /// such time asks for. A cluster has a time of its own.
    pub progress_interval_ms: u64,
}

impl Watch {
    /// Every event of the range from now on.
    pub fn new(range: impl Into<KeyRange>) -> Watch {
        Watch { range: range.into(), ..Watch::default() }
    }

    /// Begins with this revision.
    pub fn start_revision(mut self, revision: Revision) -> Watch {
        self.start_revision = revision;
        self
    }

    /// Answers with each event the pair before it.
    pub fn prev_kv(mut self, prev_kv: bool) -> Watch {
        self.prev_kv = prev_kv;
        self
    }

    /// Leaves puts out.
    pub fn no_put(mut self, no_put: bool) -> Watch {
        self.no_put = no_put;
        self
    }

    /// Leaves deletions out.
    pub fn no_delete(mut self, no_delete: bool) -> Watch {
        self.no_delete = no_delete;
        self
    }

    /// Says now and then how far all is seen, though nothing happens.
    pub fn progress(mut self, progress: bool) -> Watch {
        self.progress = progress;
        self
    }

    /// Says so after this many milliseconds.
    pub fn progress_interval_ms(mut self, interval_ms: u64) -> Watch {
        self.progress_interval_ms = interval_ms;
        self
    }
}

/// What a watcher delivers at a time: all matching events of one revision.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct WatchBatch {
    /// The revision of the events; without events, the last one that has been looked at.
    pub revision: Revision,
    /// The events, in the order they happened in. Empty for a sign of progress.
    pub events: Vec<Event>,
}

/// Asks for the events of some keys between two revisions; see [`crate::Db::changes`].
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Changes {
    /// Events later than this revision; at least the compacted one.
    pub after: Revision,
    /// Up to and with this revision; 0 and below: the current one.
    pub upto: Revision,
    /// Of these keys.
    pub range: KeyRange,
}

/// What a store says of itself; see [`crate::Db::status`].
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Status {
    /// The current revision.
    pub revision: Revision,
    /// The compacted revision; -1 if nothing was ever compacted, or where a cluster's user may not read all keys.
    pub compacted_revision: Revision,
    /// How many keys exist now; 0 as well where a cluster's user may not read them all.
    pub keys: u64,
    /// Bytes that the store's files take on the disk.
    pub bytes_on_disk: u64,
    /// Bytes of pages that hold data; the rest will be used again.
    pub bytes_in_use: u64,
    /// Read transactions under way or parked, in all processes.
    pub readers: u32,
    /// Watchers of this process.
    pub watchers: u64,
    /// Leases that are granted.
    pub leases: u64,
    /// The version of the format on disk.
    pub format_version: u32,
    /// The LMDB in this process, as `0.9.24`.
    pub lmdb_version: String,
    /// 32 hexadecimal digits that tell this store from every other.
    pub store_id: String,
    /// What an acknowledged write of this handle means.
    pub durability: Option<Durability>,
    /// The quota on [`bytes_in_use`](Status::bytes_in_use); 0 is none.
    pub max_bytes: u64,
    /// Alarms that are active, in etcd's words: `memberID:<id> alarm:NOSPACE ` (see [`AlarmMember`]), and
    /// `POISONED` after a failed sync, and `REMOVED` where the store's files were removed while it was open:
    /// what is written is lost then when the last process closes it. Empty is well.
    pub alarms: Vec<String>,
    /// The process that holds the writer's lock now, or 0.
    pub writer_pid: u32,
    /// For how long it has held it, in milliseconds.
    pub writer_held_ms: u64,
    /// How many commits the oldest read transaction under way lies behind, or 0: what it pins
    /// cannot be used again.
    pub oldest_reader: u64,
}

/// How long the commits of this process took in one store, since it opened it: from the first page written to the
/// last flush. See [`crate::Db::commit_times`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct CommitTimes {
    /// How many took at most 1 ms, how many more than that and at most 2, at most 4, and so on to 8,192.
    pub within: [u64; CommitTimes::BUCKETS],
    /// How many there were, those that took longer too.
    pub count: u64,
    /// What all took together, in microseconds.
    pub total_us: u64,
}

impl CommitTimes {
    /// From 1 ms, doubled each time.
    pub const BUCKETS: usize = 14;
}

/// One thing that [`crate::Db::check`] found wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The invariant that is broken, as numbered in `core/DESIGN.md`: `I2`, …
    pub invariant: &'static str,
    /// The key, if one is meant.
    pub key: Vec<u8>,
    /// The revision, or 0.
    pub revision: Revision,
    /// What is wrong, in words.
    pub message: String,
}

/// The answer of [`crate::Db::check`].
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct CheckReport {
    /// Keys that exist now.
    pub keys: u64,
    /// Events in the log.
    pub events: u64,
    /// What is wrong; empty is well.
    pub problems: Vec<Problem>,
}
