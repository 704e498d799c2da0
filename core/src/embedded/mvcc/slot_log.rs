//! What a transaction has done to the slots of leases, which are outside the store.

use std::mem;

use crate::embedded::lease::slot::{DEAD, LeaseSlots, NO_DEADLINE};
use crate::error::Code;

/// The changes of a transaction to slots. If it is dropped before [`SlotLog::committed`], it undoes
/// them: the slots of granted leases are cleared, and revoked leases get their deadline again.
pub(crate) struct SlotLog<'g> {
    pub slots: &'g dyn LeaseSlots,
    pub granted: Vec<u32>,
    /// The slots of revoked leases, each with the deadline that it had.
    pub revoked: Vec<(u32, u64)>,
    /// All slots were looked at, and every lease that was due has been revoked.
    pub looked_at_all: bool,
}

impl<'g> SlotLog<'g> {
    pub fn new(slots: &'g dyn LeaseSlots) -> SlotLog<'g> {
        SlotLog {
            slots,
            granted: Vec::new(),
            revoked: Vec::new(),
            looked_at_all: false,
        }
    }

    /// Whether the lease of this slot is revoked in this transaction.
    pub fn is_revoked(&self, slot: u32) -> bool {
        self.revoked.iter().any(|(revoked, _)| *revoked == slot)
    }

    /// The revocation of the last lease has failed. If the lease is damaged, it gets no deadline
    /// instead of its own, so that it is not tried again.
    pub fn give_up(&mut self, code: Code) {
        if let Some((_, deadline)) = self.revoked.last_mut().filter(|_| code == Code::Corrupt) {
            *deadline = NO_DEADLINE;
        }
    }

    /// After the commit: clears the slots of revoked leases.
    pub fn committed(mut self) {
        self.granted.clear();
        for (slot, _) in mem::take(&mut self.revoked) {
            self.slots.clear(slot);
        }
    }

    /// Records the first deadline. Only once it is certain that every due lease has ended.
    fn update_summary(&self) {
        let (mut next, mut owned) = (NO_DEADLINE, 0);
        for (_, slot) in self.slots.used() {
            next = next.min(slot.deadline);
            owned += u64::from(slot.owner.is_some());
        }
        self.slots.set_summary(next, owned);
    }
}

impl Drop for SlotLog<'_> {
    fn drop(&mut self) {
        let undone = !(self.revoked.is_empty() && self.granted.is_empty());
        if self.looked_at_all && !undone {
            self.update_summary();
        }
        for &(slot, deadline) in &self.revoked {
            self.slots.swap_deadline(slot, DEAD, deadline);
        }
        for slot in &self.granted {
            self.slots.clear(*slot);
        }
    }
}
