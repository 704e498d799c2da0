//! The entries of `meta` that are read before a store is opened.

use super::codec::{self, meta};
use super::lmdb::data_file::DataFile;

/// The facts about a store that are fixed when it is created or opened.
#[derive(Clone, Copy)]
pub(crate) struct StoreMeta {
    /// The durability is `none`.
    pub unsynced: bool,
    /// Features that this library can read but not write.
    pub ro_compat: u64,
    pub id: [u8; 16],
}

impl StoreMeta {
    pub fn of(file: &DataFile) -> StoreMeta {
        let id = file.meta(meta::STORE_ID).and_then(|id| id.try_into().ok());
        StoreMeta {
            unsynced: file.meta(meta::DURABILITY) == Some(&[0]),
            ro_compat: bits(file, meta::RO_COMPAT) & !codec::RO_COMPAT_KNOWN,
            id: id.unwrap_or_default(),
        }
    }
}

/// Feature bits in `meta`; absent is 0.
pub(super) fn bits(file: &DataFile, name: &[u8]) -> u64 {
    file.meta(name)
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(0, u64::from_le_bytes)
}
