//! The state of leases, claims and watchers of the model.

use std::collections::BTreeMap;

use libkv::*;

/// All leases, and the time.
#[derive(Clone, Debug, Default)]
pub(super) struct Leases {
    /// Seconds since the start.
    pub(super) now: i64,
    pub(super) by_id: BTreeMap<LeaseId, Lease>,
    /// Places that leases stand in, each in the lowest that was free; it is the order in which those
    /// go that expire at one moment. (The contract gives none.)
    pub(super) places: Vec<Option<LeaseId>>,
    /// The minute that each revision was written in, for those that were.
    pub(super) minutes: BTreeMap<Revision, i64>,
}

#[derive(Clone, Debug)]
pub(super) struct Lease {
    pub(super) granted: i64,
    pub(super) deadline: i64,
    /// A lock or an election keeps it alive.
    pub(super) kept: bool,
}

/// A held claim: a lease with a key attached.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) lease: LeaseId,
    pub(super) key: Vec<u8>,
    pub(super) revision: Revision,
}

/// One watcher.
#[derive(Clone, Debug)]
pub struct Watching {
    pub(super) watch: Watch,
    pub(super) next: Revision,
    pub(super) ended: Option<Error>,
    pub(super) delivered: i64,
    pub(super) report: bool,
}

impl Watching {
    /// Revisions below this one have been delivered or do not concern it.
    pub fn position(&self) -> Revision {
        self.next
    }

    /// Says that everything below `revision` has been delivered or does not concern it.
    pub fn move_to(&mut self, revision: Revision) {
        self.next = self.next.max(revision);
    }
}
