//! The state of leases, claims and watchers of the model.

use std::collections::BTreeMap;

use libkv::*;

/// All leases, and the time.
#[derive(Clone, Debug, Default)]
pub(super) struct Leases {
    /// Seconds since the start.
    pub(super) now: i64,
    pub(super) by_id: BTreeMap<LeaseId, Lease>,
    /// Slots of leases; a new lease takes the lowest free slot. Leases that expire at the same
    /// moment expire in this order. (The contract defines none.)
    pub(super) places: Vec<Option<LeaseId>>,
    /// The minute in which each revision was written.
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
pub(super) struct HeldClaim {
    pub(super) lease: LeaseId,
    pub(super) key: Vec<u8>,
    pub(super) revision: Revision,
}

/// The state of one watcher.
#[derive(Clone, Debug)]
pub struct WatchModel {
    pub(super) watch: Watch,
    pub(super) next: Revision,
    pub(super) ended: Option<Error>,
    pub(super) delivered: i64,
    pub(super) report: bool,
}

impl WatchModel {
    /// Revisions below this one have been delivered or have no event for the watcher.
    pub fn position(&self) -> Revision {
        self.next
    }

    /// Marks everything below `revision` as delivered or without an event for the watcher.
    pub fn move_to(&mut self, revision: Revision) {
        self.next = self.next.max(revision);
    }
}
