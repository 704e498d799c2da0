//! The deadlines when a store is opened.

use super::entries;
use super::slot::{DEAD, LeaseSlot, LeaseSlots, NO_DEADLINE, deadline};
use crate::embedded::guard::Guard;
use crate::embedded::lmdb::Env;
use crate::error::Result;

/// Fills the slot of each lease, for the process that opens the store first. `valid`: the deadlines
/// in the slots may be of this boot and these files. A lease without a valid one gets its full TTL.
pub(crate) fn restore_deadlines(env: &Env, guard: &Guard, valid: bool, now_ns: u64) -> Result<()> {
    let txn = env.read()?;
    // a data file older than the last recorded commit was restored from a copy
    let valid = valid && txn.id() >= guard.txn_id();
    let (mut next, mut owned) = (NO_DEADLINE, 0);
    // `check` reports a damaged lease; it must not keep the store from opening
    for (id, entry) in entries::undamaged(&txn)? {
        guard.ensure_slot(entry.slot)?;
        let own = guard.slot(entry.slot).filter(|slot| slot.id == id);
        let mut slot = own.unwrap_or(LeaseSlot {
            id,
            deadline: DEAD,
            owner: None,
        });
        if !valid || own.is_none() {
            slot.deadline = deadline(now_ns, entry.ttl_seconds);
            guard.fill(entry.slot, slot);
        }
        next = next.min(slot.deadline);
        owned += u64::from(slot.owner.is_some());
    }
    guard.set_summary(next, owned);
    // the slots were filled in the order of ids: the first free one is not known
    guard.search_from_first_slot();
    Ok(())
}

/// Requests a look at all slots if the owner of a lease has ended. For every process that opens the
/// store: while none had it open, no process could notice.
pub(crate) fn notice_gone_owners(guard: &Guard) {
    let (_, owned) = guard.owner_counts();
    if owned > 0 && !guard.gone_owners().is_empty() {
        guard.look_at_all_slots();
    }
}

#[cfg(test)]
mod tests {
    use crate::db::Db;
    use crate::embedded::lmdb::Tree;
    use crate::embedded::opening;
    use crate::options::Options;
    use crate::request::Put;

    /// The undamaged part of the store can be read and written, and `check` reports the damage.
    #[test]
    fn store_with_a_damaged_lease_opens() {
        let path = std::env::temp_dir().join(format!("libkv-lease-{}", std::process::id()));
        // no entry, and an entry with a slot that no guard has
        for entry in [&[0xff; 3][..], &[0xff; 12]] {
            let options = Options::new();
            let store = opening::open(&path, &options).expect("created");
            {
                let _held = store
                    .guard()
                    .lock_writer(None, None)
                    .expect("the write lock");
                let mut txn = store.env().write().expect("a transaction");
                txn.put(Tree::Lease, &[0, 0, 0, 0, 0, 0, 0, 7], entry)
                    .expect("damaged");
                txn.commit(false).expect("committed");
            }
            drop(store);
            let db = Db::open(&path, options).expect("opened");
            db.put(Put::new("k", "v")).expect("put");
            assert_eq!(
                db.check()
                    .expect("checked")
                    .problems
                    .first()
                    .map(|problem| problem.invariant),
                Some("I8")
            );
            drop(db);
            std::fs::remove_dir_all(&path).expect("removed");
        }
    }
}
