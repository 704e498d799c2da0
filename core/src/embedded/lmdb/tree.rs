//! The trees of a store.

/// A tree. All are created with the store; `core/DESIGN.md` describes their entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tree {
    /// The current keys: one entry for each key that exists.
    Live,
    /// Every event that a readable revision needs.
    Log,
    /// Deleted keys, until compaction.
    Dead,
    /// The leases.
    Lease,
    /// The keys attached to each lease.
    Lkey,
    /// Metadata of the store.
    Meta,
    /// Small records without a revision: the time index, alarms, and the records of
    /// [`Side`](crate::Side) requests.
    Side,
    /// Reserved for keys over 480 bytes.
    Part,
    Live2,
    Dead2,
}

impl Tree {
    pub const ALL: [Tree; 10] = {
        use Tree::*;
        [Live, Log, Dead, Lease, Lkey, Meta, Side, Part, Live2, Dead2]
    };

    /// The names in LMDB, in the order of [`Tree::ALL`].
    pub const NAMES: [&'static str; 10] = [
        "live", "log", "dead", "lease", "lkey", "meta", "side", "part", "live2", "dead2",
    ];
}
