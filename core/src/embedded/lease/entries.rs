//! The entries of leases: tree `lease` has the TTL and the slot of each lease, tree `lkey` its
//! keys.

use crate::embedded::codec::{self, LeaseEntry};
use crate::embedded::lmdb::{Tree, Txn};
use crate::error::{Code, Error, Result};
use crate::etcd_text;
use crate::model::LeaseId;

/// The entry of a lease, if it exists.
pub(crate) fn find(txn: &Txn, id: LeaseId) -> Result<Option<LeaseEntry>> {
    let key = codec::lease_key(id);
    txn.get(Tree::Lease, &key)?
        .map(|bytes| LeaseEntry::decode(&key, bytes))
        .transpose()
}

/// The slot that a lease names. A damaged entry names none: `check` reports it, and it must not
/// keep other leases from expiring.
pub(crate) fn slot_of(txn: &Txn, id: LeaseId) -> Result<Option<u32>> {
    match find(txn, id) {
        Err(error) if error.code() == Code::Corrupt => Ok(None),
        found => Ok(found?.map(|entry| entry.slot)),
    }
}

/// Every lease.
pub(crate) fn all(txn: &Txn) -> Result<Vec<(LeaseId, LeaseEntry)>> {
    decode_all(txn)?.into_iter().collect()
}

/// Every lease whose entry is not damaged.
pub(crate) fn undamaged(txn: &Txn) -> Result<Vec<(LeaseId, LeaseEntry)>> {
    Ok(decode_all(txn)?.into_iter().flatten().collect())
}

fn decode_all(txn: &Txn) -> Result<Vec<Result<(LeaseId, LeaseEntry)>>> {
    let mut leases = Vec::new();
    let mut cursor = txn.cursor(Tree::Lease)?;
    let mut entry = cursor.seek(&[])?;
    while let Some((key, bytes)) = entry {
        leases.push(codec::lease_id(key).and_then(|id| Ok((id, LeaseEntry::decode(key, bytes)?))));
        entry = cursor.next()?;
    }
    Ok(leases)
}

/// The keys attached to a lease, in ascending order: at most `most`, from the key `from` on.
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

/// The error for a lease that does not exist.
pub(crate) fn not_found(id: LeaseId) -> Error {
    Error::etcd(Code::LeaseNotFound, etcd_text::LEASE_NOT_FOUND)
        .with_detail(format_args!("lease {id}"))
        .with_lease(id)
}

/// Refuses a lease that does not exist; 0 is no lease.
pub(crate) fn check(txn: &Txn, id: LeaseId) -> Result<()> {
    if id == 0 || find(txn, id)?.is_some() {
        Ok(())
    } else {
        Err(not_found(id))
    }
}
