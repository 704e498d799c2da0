//! Records beside the keys.

use crate::model::Revision;

/// Small records beside the keys, by name. They have no revision and no events. libkv stores here
/// what must be consistent with the data: alarms, users, the progress of a mirror. Programs should
/// use keys.
///
/// Names are 1 to [`KEY_BYTES_MAX`](crate::KEY_BYTES_MAX) bytes. Names that begin with `time/` or
/// `alarm/` are reserved for the engine and can only be read.
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
