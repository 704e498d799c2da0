//! bbolt's file format, which etcd's snapshots have: a reader and a writer.
//!
//! A file is a row of pages of one size. Pages 0 and 1 hold a [`Meta`] each; the valid one with the
//! higher transaction id counts. It names the root of a B+ tree whose values are buckets, and each
//! bucket is a B+ tree of its own. A page with an overflow of `n` takes `n` more pages. All numbers
//! are little endian.
//!
//! | part | bytes |
//! |---|---|
//! | page header | id u64, flags u16, element count u16, overflow u32 |
//! | branch element | position u32, key length u32, child page u64 |
//! | leaf element | flags u32 (1: the value is a bucket), position u32, key length u32, value length u32 |
//! | meta | magic u32, version u32, page size u32, flags u32, root page u64, sequence u64, free-list page u64, first unused page u64, transaction id u64, FNV-1a 64 of all before |
//! | bucket | root page u64, sequence u64; root 0: the bucket is the page that follows |
//!
//! A position counts from the start of its element to its key. The value follows the key.

mod reader;
mod writer;

pub use reader::{Bucket, Database, Source};
pub use writer::Writer;

const MAGIC: u32 = 0xED0C_DAED;
const VERSION: u32 = 2;
/// The free-list page of a file that stores no free list.
const NO_FREE_LIST: u64 = u64::MAX;

const HEADER_BYTES: usize = 16;
const ELEMENT_BYTES: usize = 16;
const BUCKET_BYTES: usize = 16;
/// A meta without its checksum.
const META_BYTES: usize = 56;
const PAGE_BYTES_MIN: u32 = 1024;
const PAGE_BYTES_MAX: u32 = 64 << 10;
/// No key of a bbolt file is longer.
const KEY_BYTES_MAX: usize = 32_768;

const BRANCH: u16 = 1;
const LEAF: u16 = 2;
const META: u16 = 4;
const FREE_LIST: u16 = 16;

/// The flag of a leaf element whose value is a bucket.
const IS_BUCKET: u32 = 1;

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_le_bytes(bytes.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(8)?)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

/// FNV-1a, 64 bits: the checksum of a meta.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |sum, &byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    })
}

/// The header of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PageHeader {
    id: u64,
    flags: u16,
    count: u16,
    overflow: u32,
}

impl PageHeader {
    fn decode(bytes: &[u8]) -> Option<PageHeader> {
        Some(PageHeader {
            id: u64_at(bytes, 0)?,
            flags: u16_at(bytes, 8)?,
            count: u16_at(bytes, 10)?,
            overflow: u32_at(bytes, 12)?,
        })
    }

    fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&self.id.to_le_bytes());
        bytes[8..10].copy_from_slice(&self.flags.to_le_bytes());
        bytes[10..12].copy_from_slice(&self.count.to_le_bytes());
        bytes[12..].copy_from_slice(&self.overflow.to_le_bytes());
        bytes
    }
}

/// The state of the whole file, as of one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Meta {
    page_bytes: u32,
    root: u64,
    free_list: u64,
    /// The first page that was never used.
    high_water: u64,
    txn: u64,
}

impl Meta {
    /// The meta in the bytes after a page header; `None` if it is damaged or not a meta.
    fn decode(bytes: &[u8]) -> Option<Meta> {
        let body = bytes.get(..META_BYTES)?;
        let page_bytes = u32_at(body, 8)?;
        let is_valid = u32_at(body, 0)? == MAGIC
            && u32_at(body, 4)? == VERSION
            && u64_at(bytes, META_BYTES)? == checksum(body)
            && page_bytes.is_power_of_two()
            && (PAGE_BYTES_MIN..=PAGE_BYTES_MAX).contains(&page_bytes);
        is_valid.then_some(Meta {
            page_bytes,
            root: u64_at(body, 16)?,
            free_list: u64_at(body, 32)?,
            high_water: u64_at(body, 40)?,
            txn: u64_at(body, 48)?,
        })
    }

    fn encode(&self) -> [u8; META_BYTES + 8] {
        let mut bytes = [0; META_BYTES + 8];
        bytes[..4].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[4..8].copy_from_slice(&VERSION.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.page_bytes.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.root.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.free_list.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.high_water.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.txn.to_le_bytes());
        let sum = checksum(&bytes[..META_BYTES]);
        bytes[META_BYTES..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests;
