//! Reading a range.

use crate::model::{KeyRange, KeyValue, Revision};

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
