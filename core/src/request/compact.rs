//! Compaction.

use crate::model::Revision;

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
