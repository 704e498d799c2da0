//! Leases: their entries, their deadlines, and what keeps them alive or ends them. (I6)
//!
//! A lease has an entry in tree `lease` (its TTL and the number of its slot) and one in `lkey` for
//! each key attached to it. Its deadline is in its slot, in the memory of the guard file: a
//! keep-alive changes it without a lock and without a commit.
//!
//! | file | contents |
//! |---|---|
//! | `entries` | the trees `lease` and `lkey`: find a lease, list its keys |
//! | `slot` | the meaning of a slot, and what a writer does with slots |
//! | `slots` | the slots in the guard file: allocation, keep-alive, search for owners that have ended |
//! | `keeper` | the leases of a process: keep-alive, renewal, search for due leases |
//! | `restore` | the deadlines after an opening: kept, or a full TTL for each lease |
//!
//! Elsewhere: `mvcc/lease.rs` grants, revokes and expires leases in a transaction, and
//! `mvcc/slot_log.rs` undoes the changes to slots if its commit fails; `guard/lease_slots.rs` has
//! the memory; `codec.rs` has the bytes of an entry; `recipe/lease.rs` is the handle of a user.
//!
//! The life of a lease: a grant fills a free slot, then commits the entry. A keep-alive swaps the
//! deadline for a later one. The background thread of any process finds a deadline in the past and
//! orders an expiry from its writer. The expiry swaps the deadline for [`DEAD`](slot::DEAD), so
//! that a keep-alive fails from then on, deletes the keys and the entry in one revision, commits,
//! and clears the slot.

pub(crate) mod entries;
pub(crate) mod keeper;
pub(crate) mod restore;
pub(crate) mod slot;
pub(crate) mod slots;
