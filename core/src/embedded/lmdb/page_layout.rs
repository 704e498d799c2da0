//! The format of a page of LMDB 0.9.24, as far as libkv reads pages itself. The version is checked
//! when an environment opens.
//!
//! A page begins with: number 8 bytes, pad 2, flags 2, lower 2, upper 2. Then follow the offsets of
//! its nodes, 2 bytes each, up to `lower`. A node is: size 4 bytes, flags 2, key size 2, key,
//! value.

/// The page size of every store. LMDB takes the system's; systems with another one are refused.
pub(crate) const PAGE_BYTES: usize = 4096;

/// Bytes before the offsets of the nodes.
pub(super) const HEADER_BYTES: usize = 16;
/// Where the flags of a page are.
pub(super) const FLAGS_AT: usize = 10;
/// Where the end of the offsets is.
pub(super) const LOWER_AT: usize = 12;
/// A branch page: its nodes lead to pages below.
pub(super) const FLAG_BRANCH: u16 = 0x01;
/// A leaf page: its nodes are entries.
pub(super) const FLAG_LEAF: u16 = 0x02;

/// Bytes of a node before its key.
pub(super) const NODE_BYTES: usize = 8;
/// Where the flags of a node are.
pub(super) const NODE_FLAGS_AT: usize = 4;
/// Where the size of a node's key is.
pub(super) const NODE_KEY_SIZE_AT: usize = 6;
/// The value of the node is in pages of its own.
pub(super) const NODE_BIG: u16 = 0x01;
/// The value of the node is the record of a tree.
pub(super) const NODE_TREE: u16 = 0x02;
