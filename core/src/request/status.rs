//! Status and checks of a store.

use super::alarm::AlarmMember;
use super::durability::Durability;
use crate::model::Revision;

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
