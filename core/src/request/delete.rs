//! Deleting a range.

use super::durability::Durability;
use crate::model::{KeyRange, KeyValue, Revision};

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
