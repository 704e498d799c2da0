//! The meaning of a lease slot, and what a write transaction does with the slots.

use std::collections::HashSet;

pub(crate) use crate::embedded::guard::layout::NO_DEADLINE;
use crate::error::Result;
use crate::model::LeaseId;

/// Nanoseconds in a second.
pub(super) const NS: u64 = 1_000_000_000;

/// The deadline of a lease that is being revoked.
pub(crate) const DEAD: u64 = 0;

/// The program image that a lease ends with, by its number (`ProcessInfo::image` in
/// `os/process.rs`). Pid and start time stay the same at an `exec`, so they cannot identify an
/// owner.
pub(crate) type Owner = u64;

/// The contents of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LeaseSlot {
    /// The lease. Only a hint: the slot is free unless the entry of this lease names it.
    pub id: LeaseId,
    /// Nanoseconds on the store's clock, or [`DEAD`].
    pub deadline: u64,
    pub owner: Option<Owner>,
}

/// The deadline of a lease that is kept alive at `now_ns`.
pub(crate) fn deadline(now_ns: u64, ttl_seconds: i64) -> u64 {
    // below NO_DEADLINE, even for the largest TTL
    now_ns
        .saturating_add(u64::try_from(ttl_seconds).unwrap_or(0).saturating_mul(NS))
        .min(NO_DEADLINE - 1)
}

/// The slots of a store, as a write transaction uses them. Every method but [`LeaseSlots::slot`]
/// and [`LeaseSlots::swap_deadline`] needs the write lock.
pub(crate) trait LeaseSlots {
    /// The contents of a slot, if it exists.
    fn slot(&self, index: u32) -> Option<LeaseSlot>;

    /// Every slot that is not empty, with its number.
    fn used(&self) -> Box<dyn Iterator<Item = (u32, LeaseSlot)> + '_>;

    /// The first free slot: an empty one, or one that is not `taken` by the lease it names.
    ///
    /// # Errors
    ///
    /// `full` if the store has as many leases as slots; those of `taken`.
    fn free_slot(&self, taken: &mut dyn FnMut(u32, LeaseId) -> Result<bool>) -> Result<u32>;

    /// Gives a slot to a lease.
    fn fill(&self, index: u32, contents: LeaseSlot);

    /// Empties a slot. No lease names it any more.
    fn clear(&self, index: u32);

    /// Replaces a deadline, if it is `seen`; returns whether it was.
    fn swap_deadline(&self, index: u32, seen: u64, new: u64) -> bool;

    /// Records the result of a look at all slots: the first deadline, and the number of leases with
    /// an owner.
    fn set_summary(&self, next_deadline: u64, owned: u64);

    /// This process, as an owner.
    fn own_image(&self) -> Owner;

    /// The owners of leases whose program has ended.
    fn gone_owners(&self) -> HashSet<Owner>;
}
