//! The lease slots in the guard file, which every process maps.
//!
//! A slot is given to a lease and cleared under the write lock. It belongs to a lease if the entry
//! of that lease in the store names it; any other contents are left over and may be overwritten. A
//! keep-alive needs no lock and no flush: it replaces the deadline that it has read by a later one.
//! A revoke first replaces it by [`DEAD`](super::slot::DEAD), so that only one of the two succeeds.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use super::slot::{LeaseSlot, LeaseSlots, NO_DEADLINE, Owner};
use crate::embedded::guard::Guard;
use crate::embedded::guard::layout::Slot;
use crate::embedded::os;
use crate::error::Result;
use crate::model::LeaseId;

fn contents(slot: &Slot) -> LeaseSlot {
    let owner = slot.owner.load(Ordering::Acquire);
    LeaseSlot {
        id: slot.id.load(Ordering::Acquire) as LeaseId,
        deadline: slot.deadline.load(Ordering::Acquire),
        owner: (owner != 0).then_some(owner),
    }
}

impl LeaseSlots for Guard {
    fn slot(&self, index: u32) -> Option<LeaseSlot> {
        self.slots().get(index as usize).map(contents)
    }

    fn used(&self) -> Box<dyn Iterator<Item = (u32, LeaseSlot)> + '_> {
        let slots = self.slots().iter().map(contents);
        let numbered = slots
            .enumerate()
            .map(|(index, slot)| (index as u32, slot))
            .filter(|(_, slot)| slot.id != 0);
        Box::new(numbered)
    }

    fn free_slot(&self, taken: &mut dyn FnMut(u32, LeaseId) -> Result<bool>) -> Result<u32> {
        let Some(words) = self.slot_words() else {
            return Ok(0);
        };
        let mut index = words.hint.load(Ordering::Acquire) as u32;
        loop {
            let Some(slot) = self.slot(index) else {
                self.grow_slots(index.into())?;
                return Ok(index);
            };
            if slot.id == 0 || !taken(index, slot.id)? {
                return Ok(index);
            }
            index += 1;
        }
    }

    fn fill(&self, index: u32, contents: LeaseSlot) {
        let (Some(slot), Some(words)) = (self.slots().get(index as usize), self.slot_words())
        else {
            return;
        };
        let owner = contents.owner.unwrap_or(0);
        // the deadline first, then the lease that it belongs to
        slot.id.store(0, Ordering::Release);
        slot.deadline.store(contents.deadline, Ordering::Release);
        slot.owner.store(owner, Ordering::Release);
        slot.id.store(contents.id as u64, Ordering::Release);
        words.hint.fetch_max(u64::from(index) + 1, Ordering::AcqRel);
        words
            .next_deadline
            .fetch_min(contents.deadline, Ordering::AcqRel);
        if owner != 0 {
            words.owned.fetch_add(1, Ordering::AcqRel);
            words.owner_changes.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn clear(&self, index: u32) {
        let (Some(slot), Some(words)) = (self.slots().get(index as usize), self.slot_words())
        else {
            return;
        };
        slot.id.store(0, Ordering::Release);
        words.freed.fetch_add(1, Ordering::AcqRel);
        words.hint.fetch_min(index.into(), Ordering::AcqRel);
        if slot.owner.swap(0, Ordering::AcqRel) != 0 {
            // the summary may have been counted again meanwhile: never below 0
            let _ = words
                .owned
                .fetch_update(Ordering::AcqRel, Ordering::Acquire, |owned| {
                    owned.checked_sub(1)
                });
            words.owner_changes.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn swap_deadline(&self, index: u32, seen: u64, new: u64) -> bool {
        self.slots().get(index as usize).is_some_and(|slot| {
            slot.deadline
                .compare_exchange(seen, new, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
        })
    }

    fn set_summary(&self, next_deadline: u64, owned: u64) {
        let Some(words) = self.slot_words() else {
            return;
        };
        words.next_deadline.store(next_deadline, Ordering::Release);
        words.owned.store(owned, Ordering::Release);
    }

    fn own_image(&self) -> Owner {
        os::process().image
    }

    fn gone_owners(&self) -> HashSet<Owner> {
        let mut owners = self.owners();
        owners.retain(|owner| self.is_image_gone(*owner));
        owners
    }
}

/// What the background thread and an opening read of the slots.
impl Guard {
    /// Lengthens the file until it has a slot of this number.
    pub fn ensure_slot(&self, index: u32) -> Result<()> {
        match self.slot(index) {
            Some(_) => Ok(()),
            None => self.grow_slots(index.into()),
        }
    }

    /// No lease has an earlier deadline. 0: every slot must be looked at; [`NO_DEADLINE`]: no lease
    /// has a deadline.
    #[inline]
    pub fn next_deadline(&self) -> u64 {
        self.slot_words().map_or(NO_DEADLINE, |words| {
            words.next_deadline.load(Ordering::Acquire)
        })
    }

    /// Makes the next check of the deadlines look at every slot.
    pub fn look_at_all_slots(&self) {
        if let Some(words) = self.slot_words() {
            words.next_deadline.store(0, Ordering::Release);
        }
    }

    /// Makes the next grant look for a free slot from the first one on.
    pub fn search_from_first_slot(&self) {
        if let Some(words) = self.slot_words() {
            words.hint.store(0, Ordering::Release);
        }
    }

    /// How often a lease with an owner was granted or ended, and the number of such leases.
    pub fn owner_counts(&self) -> (u64, u64) {
        self.slot_words().map_or((0, 0), |words| {
            (
                words.owner_changes.load(Ordering::Acquire),
                words.owned.load(Ordering::Acquire),
            )
        })
    }

    /// How often a slot was cleared.
    pub fn cleared_slots(&self) -> u64 {
        self.slot_words()
            .map_or(0, |words| words.freed.load(Ordering::Acquire))
    }

    /// The owners of all leases, each once: to check one takes as long as a commit.
    pub fn owners(&self) -> HashSet<Owner> {
        self.used().filter_map(|(_, slot)| slot.owner).collect()
    }
}
