//! The hash of a snapshot, as etcd computes that of its database for the rpc Hash.

use libkv::{Db, Result};

use super::format::{bucket, meta};
use super::save::write_unnamed;
use crate::bolt::Database;

/// The entries of the bucket `meta` that the hash leaves out: members differ in them.
const LEFT_OUT: [&[u8]; 3] = [meta::CONSISTENT_INDEX, meta::TERM, b"storageVersion"];

/// The CRC-32C over each bucket of a snapshot of this store: its name, then each key and value.
///
/// # Errors
///
/// Those of [`save`](super::save()).
pub(crate) fn hash(db: &Db) -> Result<u32> {
    let (file, bytes) = write_unnamed(db)?;
    let database = Database::open(file, bytes)?;
    let mut hash = 0;
    for (name, entries) in database.buckets()? {
        hash = crc32c::crc32c_append(hash, &name);
        let mut entries = database.entries(&entries)?;
        while let Some((key, value)) = entries.next()? {
            if name != bucket::META.as_bytes() || !LEFT_OUT.contains(&key) {
                hash = crc32c::crc32c_append(hash, key);
                hash = crc32c::crc32c_append(hash, value);
            }
        }
    }
    Ok(hash)
}
