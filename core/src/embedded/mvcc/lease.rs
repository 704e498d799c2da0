//! Granting, revoking and expiring leases in a transaction. [`lease`](crate::embedded::lease) maps
//! everything about leases.

use std::hash::{BuildHasher, Hasher, RandomState};

use super::writer::Writer;
use crate::embedded::codec::{self, LeaseEntry, RO_COMPAT_LEASES, meta};
use crate::embedded::lease::entries::{find, keys, not_found, slot_of};
use crate::embedded::lease::slot::{DEAD, LeaseSlot, NO_DEADLINE, deadline};
use crate::embedded::lmdb::Tree;
use crate::error::{Code, Error, Result};
use crate::etcd_text;
use crate::model::LeaseId;
use crate::request::{AlarmKind, LeaseGrant, LeaseGrantResponse, LeaseRevoke, LeaseRevokeResponse};

/// The number of keys of one step of a revocation, which are in memory at a time.
const REVOKE_KEYS: usize = 1_000;

impl Writer<'_> {
    /// Grants a lease: fills a slot, then writes the entry.
    pub(super) fn grant(&mut self, grant: &LeaseGrant) -> Result<LeaseGrantResponse> {
        let id = match grant.id {
            0 => self.new_lease_id()?,
            id if find(&self.txn, id)?.is_some() => {
                return Err(Error::etcd(Code::LeaseExists, etcd_text::LEASE_EXISTS)
                    .with_detail(format_args!("lease {id}"))
                    .with_lease(id));
            }
            id => id,
        };
        let slots = self.slots.slots;
        let slot = slots.free_slot(&mut |slot, holder| {
            Ok(self.slots.is_revoked(slot) || slot_of(&self.txn, holder)? == Some(slot))
        })?;
        let ttl_seconds = grant.ttl_seconds;
        slots.fill(
            slot,
            LeaseSlot {
                id,
                deadline: deadline(self.now_ns, ttl_seconds),
                owner: grant.end_with_process.then(|| slots.own_image()),
            },
        );
        self.slots.granted.push(slot);
        self.note_feature(RO_COMPAT_LEASES)?;
        self.txn.put(
            Tree::Lease,
            &codec::lease_key(id),
            &LeaseEntry { ttl_seconds, slot }.encode(),
        )?;
        self.wrote = true;
        Ok(LeaseGrantResponse {
            revision: self.current,
            id,
            ttl_seconds,
        })
    }

    /// Grants a lease of another store, with the time that it has left there.
    pub(super) fn load_lease(
        &mut self,
        id: LeaseId,
        ttl_seconds: i64,
        remaining_seconds: i64,
    ) -> Result<()> {
        self.grant(&LeaseGrant::new(ttl_seconds).id(id))?;
        if let Some(slot) = slot_of(&self.txn, id)? {
            let granted = deadline(self.now_ns, ttl_seconds);
            let remaining = deadline(self.now_ns, remaining_seconds);
            self.slots.slots.swap_deadline(slot, granted, remaining);
        }
        Ok(())
    }

    /// A random id that no lease has.
    fn new_lease_id(&self) -> Result<LeaseId> {
        loop {
            let id = (RandomState::new().build_hasher().finish() >> 1) as LeaseId;
            if id != 0 && find(&self.txn, id)?.is_none() {
                return Ok(id);
            }
        }
    }

    /// Records a feature, so that older libraries without it refuse to write to this store.
    fn note_feature(&mut self, feature: u64) -> Result<()> {
        let bits = self
            .txn
            .get(Tree::Meta, meta::RO_COMPAT)?
            .and_then(|bits| bits.try_into().ok());
        let bits = bits.map_or(0, u64::from_le_bytes);
        if bits & feature == 0 {
            self.txn
                .put(Tree::Meta, meta::RO_COMPAT, &(bits | feature).to_le_bytes())?;
        }
        Ok(())
    }

    /// Revokes a lease in the current revision.
    pub(super) fn revoke(&mut self, revoke: &LeaseRevoke) -> Result<LeaseRevokeResponse> {
        let entry = find(&self.txn, revoke.id)?.ok_or_else(|| not_found(revoke.id))?;
        let slots = self.slots.slots;
        let own = |slot: &LeaseSlot| slot.id == revoke.id;
        if let Some(slot) = slots.slot(entry.slot).filter(own) {
            // a keep-alive fails from here on
            let mut seen = slot.deadline;
            while !slots.swap_deadline(entry.slot, seen, DEAD) {
                seen = slots.slot(entry.slot).map_or(DEAD, |slot| slot.deadline);
            }
            self.slots.revoked.push((entry.slot, seen));
        }
        self.revoke_keys(revoke.id)?;
        self.wrote = true;
        Ok(LeaseRevokeResponse {
            revision: self.revision(),
        })
    }

    /// Deletes the keys of a lease, in ascending order, and the lease, in the current revision.
    fn revoke_keys(&mut self, id: LeaseId) -> Result<()> {
        loop {
            let keys = keys(&self.txn, id, &[], REVOKE_KEYS)?;
            for key in &keys {
                let Some(bytes) = self.txn.get(Tree::Live, key)? else {
                    return Err(codec::damaged(
                        "lkey",
                        &codec::leased_key(id, key),
                        "its key does not exist",
                    ));
                };
                let header = codec::live(key, bytes)?.0;
                self.delete_key(key, &header)?;
            }
            if keys.len() < REVOKE_KEYS {
                break;
            }
        }
        self.txn
            .delete(Tree::Lease, &codec::lease_key(id))
            .map(drop)
    }

    /// Revokes leases that are past their deadline or whose owner has ended, each in a revision of
    /// its own, at most `most`. Returns whether those were all. While alarm CORRUPT is active it
    /// revokes nothing, and the background thread requests the expiry again. A damaged lease that
    /// cannot be revoked causes one error; after that it has no deadline, so that other leases
    /// expire.
    pub fn expire(&mut self, most: usize) -> Result<bool> {
        if self.bounds.has(AlarmKind::Corrupt) {
            return Ok(true);
        }
        let slots = self.slots.slots;
        let (mut revoked, gone) = (0, slots.gone_owners());
        let is_due = |slot: &LeaseSlot| {
            let gone = slot.owner.is_some_and(|owner| gone.contains(&owner));
            slot.deadline != NO_DEADLINE && (gone || slot.deadline <= self.now_ns)
        };
        let due: Vec<_> = slots.used().filter(|(_, slot)| is_due(slot)).collect();
        for (index, slot) in due {
            if slot_of(&self.txn, slot.id)? != Some(index) {
                if !self.slots.is_revoked(index) {
                    // left by a process that ended before its commit
                    slots.clear(index);
                }
                continue;
            }
            if revoked == most {
                return Ok(false);
            }
            // a lease that was kept alive meanwhile has a later deadline, which the new summary
            // includes
            if slot.deadline == DEAD || slots.swap_deadline(index, slot.deadline, DEAD) {
                self.slots.revoked.push((index, slot.deadline));
                if let Err(error) = self.in_own_revision(|writer| writer.revoke_keys(slot.id)) {
                    self.slots.give_up(error.code());
                    return Err(error);
                }
                revoked += 1;
            }
        }
        self.slots.looked_at_all = true;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::db::Db;
    use crate::embedded::lmdb::WriteTxn;
    use crate::embedded::{Embedded, opening};
    use crate::options::{Clock, Options};
    use crate::request::Put;

    /// A damaged entry or a damaged key of a lease must not keep other leases alive.
    #[test]
    fn damaged_lease_does_not_stop_the_expiry_of_others() {
        let damages: [fn(&mut WriteTxn) -> Result<()>; 2] = [
            |txn| txn.put(Tree::Lease, &codec::lease_key(1), &[0xff; 3]),
            |txn| txn.put(Tree::Lkey, &codec::leased_key(1, b"no such key"), &[]),
        ];
        for damage in damages {
            let clock = Clock::new(1_000_000_000_000);
            let options = Options::new().clock(clock.clone());
            let store = opening::open(Path::new(":memory:"), &options).expect("a store");
            let db = Db::from_engine(Arc::new(
                Embedded::new(store.clone(), &options).expect("a handle"),
            ));
            let lease = |id: LeaseId| {
                db.lease_grant(crate::LeaseGrant::new(5).id(id))
                    .expect("granted");
                db.put(Put::new(format!("of {id}"), "v").lease(id))
                    .expect("put");
            };
            let is_there = |id: LeaseId| db.get(format!("of {id}")).expect("read").is_some();
            (1..=3).for_each(lease);
            {
                let _held = store
                    .guard()
                    .lock_writer(None, None)
                    .expect("the write lock");
                let mut txn = store.env().write().expect("a transaction");
                damage(&mut txn).expect("damaged");
                txn.commit(false).expect("committed");
            }
            clock.advance(10_000);
            assert_eq!([1, 2, 3].map(is_there), [true, false, false]);
            lease(4);
            clock.advance(10_000);
            assert_eq!(
                [1, 4].map(is_there),
                [true, false],
                "after the damaged lease was tried once"
            );
        }
    }
}
