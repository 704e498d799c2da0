//! The parts of a bbolt file that have a fixed form: constants, page headers and metas.

pub(super) const MAGIC: u32 = 0xED0C_DAED;
pub(super) const VERSION: u32 = 2;
/// The free-list page of a file that stores no free list.
pub(super) const NO_FREE_LIST: u64 = u64::MAX;

pub(super) const HEADER_BYTES: usize = 16;
pub(super) const ELEMENT_BYTES: usize = 16;
pub(super) const BUCKET_BYTES: usize = 16;
/// A meta without its checksum.
pub(super) const META_BYTES: usize = 56;
pub(super) const PAGE_BYTES_MIN: u32 = 1024;
pub(super) const PAGE_BYTES_MAX: u32 = 64 << 10;
/// The greatest length of a key in a bbolt file.
pub(super) const KEY_BYTES_MAX: usize = 32_768;

pub(super) const BRANCH: u16 = 1;
pub(super) const LEAF: u16 = 2;
pub(super) const META: u16 = 4;
pub(super) const FREE_LIST: u16 = 16;

/// The flag of a leaf element whose value is a bucket.
pub(super) const IS_BUCKET: u32 = 1;

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_le_bytes(bytes.try_into().ok()?))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(8)?)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

/// FNV-1a, 64 bits: the checksum of a meta.
pub(super) fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |sum, &byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    })
}

/// The header of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PageHeader {
    pub id: u64,
    pub flags: u16,
    pub count: u16,
    pub overflow: u32,
}

impl PageHeader {
    pub fn decode(bytes: &[u8]) -> Option<PageHeader> {
        Some(PageHeader {
            id: u64_at(bytes, 0)?,
            flags: u16_at(bytes, 8)?,
            count: u16_at(bytes, 10)?,
            overflow: u32_at(bytes, 12)?,
        })
    }

    pub fn encode(&self) -> [u8; HEADER_BYTES] {
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
pub(super) struct Meta {
    pub page_bytes: u32,
    pub root: u64,
    pub free_list: u64,
    /// The first page that was never used.
    pub high_water: u64,
    pub txn: u64,
}

impl Meta {
    /// The meta in the bytes after a page header; `None` if it is damaged or not a meta.
    pub fn decode(bytes: &[u8]) -> Option<Meta> {
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

    pub fn encode(&self) -> [u8; META_BYTES + 8] {
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
