//! Leases: which there are, which keys hang on them, and how they go with their keys.
//!
//! A lease stands in `lease` with its TTL and the number of its slot; each key on it in `lkey`. Its
//! deadline is in the slot, outside the store ([`slots`](crate::embedded::slots)): what a
//! transaction does there is told to a [`SlotLog`], and done or undone when its commit is known.

use super::write::Writer;
use crate::embedded::codec::{self, LeaseEntry, RO_COMPAT_LEASES, meta};
use crate::embedded::guard::Guard;
use crate::embedded::lmdb::{Tree, Txn};
use crate::embedded::slots::{DEAD, NO_DEADLINE, Place, this_process};
use crate::error::{Code, Error, Result};
use crate::etcd_text;
use crate::model::LeaseId;
use crate::request::{AlarmKind, LeaseGrant, LeaseGrantResponse, LeaseRevoke, LeaseRevokeResponse};

const NS: u64 = 1_000_000_000;

/// When a lease ends that is kept alive at `now_ns`.
pub(crate) fn deadline(now_ns: u64, ttl_seconds: i64) -> u64 {
    // below "none", also for the largest TTL
    now_ns
        .saturating_add(u64::try_from(ttl_seconds).unwrap_or(0).saturating_mul(NS))
        .min(NO_DEADLINE - 1)
}

/// A lease, if there is one of this id.
pub(crate) fn find(txn: &Txn, id: LeaseId) -> Result<Option<LeaseEntry>> {
    let key = codec::lease_key(id);
    txn.get(Tree::Lease, &key)?
        .map(|bytes| LeaseEntry::decode(&key, bytes))
        .transpose()
}

/// The slot that a lease names. A damaged lease names none: it must not keep whole ones from their
/// end, and is for `check` to name.
fn slot_of(txn: &Txn, id: LeaseId) -> Result<Option<u32>> {
    match find(txn, id) {
        Err(error) if error.code() == Code::Corrupt => Ok(None),
        found => Ok(found?.map(|entry| entry.slot)),
    }
}

/// Every lease.
pub(crate) fn all(txn: &Txn) -> Result<Vec<(LeaseId, LeaseEntry)>> {
    entries(txn)?.into_iter().collect()
}

/// Every lease that is not damaged.
pub(crate) fn whole(txn: &Txn) -> Result<Vec<(LeaseId, LeaseEntry)>> {
    Ok(entries(txn)?.into_iter().flatten().collect())
}

fn entries(txn: &Txn) -> Result<Vec<Result<(LeaseId, LeaseEntry)>>> {
    let mut leases = Vec::new();
    let mut cursor = txn.cursor(Tree::Lease)?;
    let mut entry = cursor.seek(&[])?;
    while let Some((key, bytes)) = entry {
        leases.push(codec::lease_id(key).and_then(|id| Ok((id, LeaseEntry::decode(key, bytes)?))));
        entry = cursor.next()?;
    }
    Ok(leases)
}

/// The keys on a lease, ascending; at most so many, from a key on.
pub(crate) fn keys(txn: &Txn, id: LeaseId, from: &[u8], most: usize) -> Result<Vec<Vec<u8>>> {
    let mut keys = Vec::new();
    let prefix = codec::lease_key(id);
    let mut cursor = txn.cursor(Tree::Lkey)?;
    let mut entry = cursor.seek(&codec::leased_key(id, from))?;
    while let Some((key, _)) =
        entry.filter(|(key, _)| key.starts_with(&prefix) && keys.len() < most)
    {
        keys.push(key[prefix.len()..].to_vec());
        entry = cursor.next()?;
    }
    Ok(keys)
}

pub(crate) fn not_found(id: LeaseId) -> Error {
    Error::etcd(Code::LeaseNotFound, etcd_text::LEASE_NOT_FOUND)
        .with_detail(format_args!("lease {id}"))
        .with_lease(id)
}

/// Refuses a lease that is not there; 0 is none and fine.
pub(crate) fn check(txn: &Txn, id: LeaseId) -> Result<()> {
    if id == 0 || find(txn, id)?.is_some() {
        Ok(())
    } else {
        Err(not_found(id))
    }
}

/// What a transaction has done to slots. Dropped before its commit is known to be there it undoes
/// that: what was granted gives its slot back, and what was revoked lives.
pub(crate) struct SlotLog<'g> {
    guard: &'g Guard,
    granted: Vec<u32>,
    /// Marked as dead, each with the deadline that it had.
    killed: Vec<(u32, u64)>,
    /// All slots were looked through, and whatever was due has been revoked.
    looked: bool,
}

impl<'g> SlotLog<'g> {
    pub fn new(guard: &'g Guard) -> SlotLog<'g> {
        SlotLog {
            guard,
            granted: Vec::new(),
            killed: Vec::new(),
            looked: false,
        }
    }

    /// The lease killed last cannot be revoked: damaged, it gets no deadline instead of its own.
    fn give_up(&mut self, code: Code) {
        if let Some((_, deadline)) = self.killed.last_mut().filter(|_| code == Code::Corrupt) {
            *deadline = NO_DEADLINE;
        }
    }

    /// After the commit: what was revoked gives its slot back.
    pub fn committed(mut self) {
        self.granted.clear();
        std::mem::take(&mut self.killed)
            .iter()
            .for_each(|(slot, _)| self.guard.clear_slot(*slot));
    }

    /// Says when somebody must look next. Not before it is known that what was due is gone.
    fn survey(&self) {
        let (mut next, mut owned) = (NO_DEADLINE, 0);
        for (_, place) in self.guard.places() {
            next = next.min(place.deadline);
            owned += u64::from(place.owner.is_some());
        }
        self.guard.set_survey(next, owned);
    }
}

impl Drop for SlotLog<'_> {
    fn drop(&mut self) {
        let undone = !(self.killed.is_empty() && self.granted.is_empty());
        if self.looked && !undone {
            self.survey();
        }
        for &(slot, deadline) in &self.killed {
            self.guard.swap_deadline(slot, DEAD, deadline);
        }
        self.granted
            .iter()
            .for_each(|slot| self.guard.clear_slot(*slot));
    }
}

impl Writer<'_> {
    /// Moves a key from the lease it hung on to another; 0 is none.
    pub(super) fn move_lease(&mut self, key: &[u8], from: LeaseId, to: LeaseId) -> Result<()> {
        if from == to {
            return Ok(());
        }
        if from != 0 {
            self.txn_mut()
                .delete(Tree::Lkey, &codec::leased_key(from, key))?;
        }
        if to != 0 {
            self.txn_mut()
                .put(Tree::Lkey, &codec::leased_key(to, key), &[])?;
        }
        Ok(())
    }

    pub(super) fn grant(&mut self, grant: &LeaseGrant) -> Result<LeaseGrantResponse> {
        let id = match grant.id {
            0 => self.new_lease_id()?,
            id if find(self.txn(), id)?.is_some() => {
                return Err(Error::etcd(Code::LeaseExists, etcd_text::LEASE_EXISTS)
                    .with_detail(format_args!("lease {id}"))
                    .with_lease(id));
            }
            id => id,
        };
        let guard = self.guard();
        let slot = guard.free_slot(|slot, holder| {
            let in_use = self
                .slot_log()
                .killed
                .iter()
                .any(|(killed, _)| *killed == slot);
            Ok(in_use || slot_of(self.txn(), holder)? == Some(slot))
        })?;
        let ttl_seconds = grant.ttl_seconds;
        let owner = grant.end_with_process.then(this_process);
        guard.fill_slot(
            slot,
            Place {
                id,
                deadline: deadline(self.now_ns(), ttl_seconds),
                owner,
            },
        );
        self.slot_log_mut().granted.push(slot);
        self.note_feature(RO_COMPAT_LEASES)?;
        self.txn_mut().put(
            Tree::Lease,
            &codec::lease_key(id),
            &LeaseEntry { ttl_seconds, slot }.encode(),
        )?;
        Ok(LeaseGrantResponse {
            revision: self.current(),
            id,
            ttl_seconds,
        })
    }

    /// An id that no lease has.
    fn new_lease_id(&self) -> Result<LeaseId> {
        use std::hash::{BuildHasher, Hasher, RandomState};
        loop {
            let id = (RandomState::new().build_hasher().finish() >> 1) as LeaseId;
            if id != 0 && find(self.txn(), id)?.is_none() {
                return Ok(id);
            }
        }
    }

    /// Tells older libraries that they must not write this store.
    fn note_feature(&mut self, feature: u64) -> Result<()> {
        let bits = self
            .txn()
            .get(Tree::Meta, meta::RO_COMPAT)?
            .and_then(|bits| bits.try_into().ok());
        let bits = bits.map_or(0, u64::from_le_bytes);
        if bits & feature == 0 {
            self.txn_mut()
                .put(Tree::Meta, meta::RO_COMPAT, &(bits | feature).to_le_bytes())?;
        }
        Ok(())
    }

    pub(super) fn revoke(&mut self, revoke: &LeaseRevoke) -> Result<LeaseRevokeResponse> {
        let entry = find(self.txn(), revoke.id)?.ok_or_else(|| not_found(revoke.id))?;
        // a keep-alive that comes now finds the lease dead
        if let Some(place) = self
            .guard()
            .place(entry.slot)
            .filter(|place| place.id == revoke.id)
        {
            let mut seen = place.deadline;
            while !self.guard().swap_deadline(entry.slot, seen, DEAD) {
                seen = self
                    .guard()
                    .place(entry.slot)
                    .map_or(DEAD, |place| place.deadline);
            }
            self.slot_log_mut().killed.push((entry.slot, seen));
        }
        self.revoke_keys(revoke.id)?;
        Ok(LeaseRevokeResponse {
            revision: self.revision(),
        })
    }

    /// Deletes a lease and its keys, in ascending order, in the revision under way.
    fn revoke_keys(&mut self, id: LeaseId) -> Result<()> {
        const STEP: usize = 1_000;
        loop {
            let keys = keys(self.txn(), id, &[], STEP)?;
            for key in &keys {
                let Some(bytes) = self.txn().get(Tree::Live, key)? else {
                    return Err(codec::damaged(
                        "lkey",
                        &codec::leased_key(id, key),
                        "its key does not exist",
                    ));
                };
                let header = codec::live(key, bytes)?.0;
                self.bury(key, &header)?;
            }
            if keys.len() < STEP {
                break;
            }
        }
        self.txn_mut()
            .delete(Tree::Lease, &codec::lease_key(id))
            .map(drop)
    }

    /// Revokes what is past its deadline or has lost its process, each lease in a revision of its
    /// own, at most so many; answers whether that was all. While an alarm forbids to write, nothing is
    /// revoked, and the background thread requests it again. A lease that cannot be revoked because
    /// something of it is damaged fails once; after that it has no deadline, so that others end.
    pub fn expire(&mut self, most: usize) -> Result<bool> {
        if self.bounds().has(AlarmKind::Corrupt) {
            return Ok(true);
        }
        let guard = self.guard();
        let (mut revoked, gone) = (0, guard.gone_owners());
        let is_due = |place: &Place| {
            let gone = place.owner.is_some_and(|owner| gone.contains(&owner));
            place.deadline != NO_DEADLINE && (gone || place.deadline <= self.now_ns())
        };
        for (slot, place) in guard
            .places()
            .filter(|(_, place)| is_due(place))
            .collect::<Vec<_>>()
        {
            if slot_of(self.txn(), place.id)? != Some(slot) {
                if !self
                    .slot_log()
                    .killed
                    .iter()
                    .any(|(killed, _)| *killed == slot)
                {
                    // left over by a process that died before its commit
                    guard.clear_slot(slot);
                }
                continue;
            }
            if revoked == most {
                return Ok(false);
            }
            // one that was kept alive at the last moment has a new deadline, which the survey finds
            if place.deadline == DEAD || guard.swap_deadline(slot, place.deadline, DEAD) {
                self.slot_log_mut().killed.push((slot, place.deadline));
                if let Err(error) = self.in_own_revision(|writer| writer.revoke_keys(place.id)) {
                    self.slot_log_mut().give_up(error.code());
                    return Err(error);
                }
                revoked += 1;
            }
        }
        self.slot_log_mut().looked = true;
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

    /// Neither its own entry nor one of its keys' may keep other leases alive.
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
                    .expect("the writer's lock");
                let mut txn = store.env().write().expect("a transaction");
                damage(&mut txn).expect("damaged");
                txn.commit(false).expect("committed");
            }
            clock.advance(10_000);
            assert_eq!([1, 2, 3].map(is_there), [true, false, false]);
            lease(4);
            clock.advance(10_000);
            assert_eq!([1, 4].map(is_there), [true, false], "after the first time");
        }
    }
}
