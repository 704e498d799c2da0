//! The memory of the lease slots, after the first page of the guard file. `lease/slots.rs` uses it.

use std::sync::atomic::Ordering;

use super::Guard;
use super::layout::{HEAD_BYTES, MAPPED_BYTES, Page, Slot, SlotWords, slots_in};
use crate::embedded::codec::LEASES_MAX;
use crate::embedded::os;
use crate::error::{Code, Error, Result};

/// The file grows by a multiple of this.
const GROWTH_BYTES: u64 = 64 << 10;

impl Guard {
    /// The facts about all slots.
    pub(in crate::embedded) fn slot_words(&self) -> Option<&SlotWords> {
        self.shared().map(|shared| &shared.leases)
    }

    /// Every slot.
    pub(in crate::embedded) fn slots(&self) -> &[Slot] {
        self.page.as_ref().map_or(&[], Page::slots)
    }

    /// Lengthens the file until it has a slot of this number. The caller holds the write lock, or
    /// "opening" as the first process.
    ///
    /// # Errors
    ///
    /// `full` beyond the size of the map, and on a full disk.
    pub(in crate::embedded) fn grow_slots(&self, index: u64) -> Result<()> {
        let Some(words) = self.slot_words() else {
            return Ok(());
        };
        if index >= LEASES_MAX {
            let path = self.path.display();
            let message = format!("{path}: a store can have at most {LEASES_MAX} leases");
            return Err(Error::new(Code::Full, message));
        }
        let bytes = HEAD_BYTES as u64 + (index + 1) * size_of::<Slot>() as u64;
        let bytes = bytes
            .next_multiple_of(GROWTH_BYTES)
            .min(MAPPED_BYTES as u64);
        self.io(os::allocate(self.file.fd(), bytes))?;
        words.slots.fetch_max(slots_in(bytes), Ordering::AcqRel);
        Ok(())
    }
}
