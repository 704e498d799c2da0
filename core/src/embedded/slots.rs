//! Where leases keep their deadlines: slots in the guard file, which every process maps.
//!
//! A slot is given out and taken back under the writer's lock. It belongs to a lease if the lease
//! of its id, in the store, names it; anything else in it is left over and may be overwritten. A
//! keep-alive needs no lock and no flush: it swaps the deadline it has seen for a later one. Whoever
//! revokes swaps it for [`DEAD`] first, so that of the two only one succeeds.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use super::guard::Guard;
pub(crate) use super::guard::layout::NO_DEADLINE;
use super::guard::layout::Slot;
use super::os;
use crate::error::Result;
use crate::model::LeaseId;

/// The deadline of a lease that is being revoked.
pub(crate) const DEAD: u64 = 0;

/// A program image that a lease ends with, by its number: see [`ProcessInfo::image`](os::ProcessInfo::image).
/// Pid and start time outlive an `exec`, so they are no owner.
pub(crate) type Owner = u64;

/// This process, as an owner.
pub(crate) fn this_process() -> Owner {
    os::process().image
}

/// What stands in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub id: LeaseId,
    /// Nanoseconds on the store's clock, or [`DEAD`].
    pub deadline: u64,
    pub owner: Option<Owner>,
}

impl Slot {
    fn place(&self) -> Place {
        let owner = self.owner.load(Ordering::Acquire);
        Place {
            id: self.id.load(Ordering::Acquire) as LeaseId,
            deadline: self.deadline.load(Ordering::Acquire),
            owner: (owner != 0).then_some(owner),
        }
    }
}

impl Guard {
    fn slot(&self, index: u32) -> Option<&Slot> {
        self.slots().get(index as usize)
    }

    /// What stands in a slot, if there is one of this number.
    pub fn place(&self, index: u32) -> Option<Place> {
        self.slot(index).map(Slot::place)
    }

    /// Every slot that has something in it, with its number.
    pub fn places(&self) -> impl Iterator<Item = (u32, Place)> {
        let places = self
            .slots()
            .iter()
            .enumerate()
            .map(|(index, slot)| (index as u32, slot.place()));
        places.filter(|(_, place)| place.id != 0)
    }

    /// The first slot that is free: empty, or not `taken` by the lease whose id stands in it. Under
    /// the writer's lock.
    pub fn free_slot(&self, mut taken: impl FnMut(u32, LeaseId) -> Result<bool>) -> Result<u32> {
        let Some(words) = self.slot_words() else {
            return Ok(0);
        };
        let mut index = words.hint.load(Ordering::Acquire) as u32;
        loop {
            let Some(place) = self.place(index) else {
                self.grow_slots(index.into())?;
                return Ok(index);
            };
            if place.id == 0 || !taken(index, place.id)? {
                return Ok(index);
            }
            index += 1;
        }
    }

    /// Lengthens the file until there is a slot of this number.
    pub fn ensure_slot(&self, index: u32) -> Result<()> {
        if self.slot(index).is_some() {
            Ok(())
        } else {
            self.grow_slots(index.into())
        }
    }

    /// Gives a slot to a lease: the deadline first, then whose it is. Under the writer's lock.
    pub fn fill_slot(&self, index: u32, place: Place) {
        let (Some(slot), Some(words)) = (self.slot(index), self.slot_words()) else {
            return;
        };
        let owner = place.owner.unwrap_or(0);
        slot.id.store(0, Ordering::Release);
        slot.deadline.store(place.deadline, Ordering::Release);
        slot.owner.store(owner, Ordering::Release);
        slot.id.store(place.id as u64, Ordering::Release);
        words.hint.fetch_max(u64::from(index) + 1, Ordering::AcqRel);
        words
            .next_deadline
            .fetch_min(place.deadline, Ordering::AcqRel);
        if owner != 0 {
            words.owned.fetch_add(1, Ordering::AcqRel);
            words.owner_changes.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Takes a slot back. Under the writer's lock, when no lease names it any more.
    pub fn clear_slot(&self, index: u32) {
        let (Some(slot), Some(words)) = (self.slot(index), self.slot_words()) else {
            return;
        };
        slot.id.store(0, Ordering::Release);
        words.freed.fetch_add(1, Ordering::AcqRel);
        words.hint.fetch_min(index.into(), Ordering::AcqRel);
        if slot.owner.swap(0, Ordering::AcqRel) != 0 {
            // a survey may have counted anew meanwhile: never below 0
            let _ = words
                .owned
                .fetch_update(Ordering::AcqRel, Ordering::Acquire, |owned| {
                    owned.checked_sub(1)
                });
            words.owner_changes.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Swaps a deadline that was seen for another; false if it is not that one any more.
    pub fn swap_deadline(&self, index: u32, seen: u64, new: u64) -> bool {
        let swap = |slot: &Slot| {
            slot.deadline
                .compare_exchange(seen, new, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
        };
        self.slot(index).is_some_and(swap)
    }

    /// No lease has an earlier deadline; 0 is "look now", [`NO_DEADLINE`] none.
    #[inline]
    pub fn next_deadline(&self) -> u64 {
        self.slot_words().map_or(NO_DEADLINE, |words| {
            words.next_deadline.load(Ordering::Acquire)
        })
    }

    /// Says what a look through all slots found. Under the writer's lock.
    pub fn set_survey(&self, next_deadline: u64, owned: u64) {
        let Some(words) = self.slot_words() else {
            return;
        };
        words.next_deadline.store(next_deadline, Ordering::Release);
        words.owned.store(owned, Ordering::Release);
    }

    /// Has the next grant look for a free slot from the first on.
    pub fn look_from_first(&self) {
        if let Some(words) = self.slot_words() {
            words.hint.store(0, Ordering::Release);
        }
    }

    /// Has whoever checks the bound next look at all leases.
    pub fn look_now(&self) {
        if let Some(words) = self.slot_words() {
            words.next_deadline.store(0, Ordering::Release);
        }
    }

    /// How often a lease with an owner came or went, and how many there are.
    pub fn owners(&self) -> (u64, u64) {
        self.slot_words().map_or((0, 0), |words| {
            (
                words.owner_changes.load(Ordering::Acquire),
                words.owned.load(Ordering::Acquire),
            )
        })
    }

    /// How often a slot was taken back.
    pub fn freed(&self) -> u64 {
        self.slot_words()
            .map_or(0, |words| words.freed.load(Ordering::Acquire))
    }

    /// The processes that leases end with, each once: to ask for one takes as long as a commit does.
    pub fn distinct_owners(&self) -> HashSet<Owner> {
        self.places().filter_map(|(_, place)| place.owner).collect()
    }

    /// Those of them that are gone.
    pub fn gone_owners(&self) -> HashSet<Owner> {
        self.distinct_owners()
            .into_iter()
            .filter(|owner| self.owner_is_gone(*owner))
            .collect()
    }

    /// Whether the process is gone that a lease ends with.
    pub fn owner_is_gone(&self, owner: Owner) -> bool {
        self.is_image_gone(owner)
    }
}
