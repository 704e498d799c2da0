//! A reader and a writer of bbolt's file format, which etcd's snapshots use.
//!
//! A file consists of pages of equal size. Pages 0 and 1 hold a meta each; the valid meta with the
//! higher transaction id is used. It has the root of a B+ tree whose values are buckets. Each
//! bucket is another B+ tree. A page with an overflow of `n` occupies `n` more pages. All numbers
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

mod format;
mod reader;
mod writer;

pub use reader::{Bucket, Database, Source};
pub use writer::Writer;

#[cfg(test)]
mod tests;
