//! Watches, and the events of a range.

use crate::model::{Event, KeyRange, Revision};

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
