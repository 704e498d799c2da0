//! Reads a data file with pread, without LMDB: what kind of file it is, before LMDB may map it.
//!
//! The file may have any contents, so every number is checked before it is used, and no walk is
//! longer than a tree can be deep.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use super::page_layout::{
    FLAG_BRANCH, FLAG_LEAF, FLAGS_AT, HEADER_BYTES, LOWER_AT, NODE_BIG, NODE_BYTES, NODE_FLAGS_AT,
    NODE_KEY_SIZE_AT, NODE_TREE, PAGE_BYTES,
};
use crate::embedded::os::failed;
use crate::error::Result;

const LMDB_MAGIC: u32 = 0xBEEF_C0DE;
const BBOLT_MAGIC: u32 = 0xED0C_DAED;
/// A tree of LMDB is never deeper.
const DEPTH_MAX: usize = 32;
/// The tree `meta` never has more pages. In a damaged file the pages may form a circle.
const META_PAGES_MAX: usize = 4_096;
const NO_PAGE: u64 = u64::MAX;

/// What kind of file a data file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DataFile {
    /// There is no file.
    Absent,
    /// A file without bytes.
    Empty,
    /// A store, with the small entries of its `meta`.
    Store(Vec<(Vec<u8>, Vec<u8>)>),
    /// An LMDB file without the trees of a store.
    PlainLmdb,
    /// A bbolt file, the format of etcd.
    Bbolt,
    /// An LMDB file with pages of this size.
    OtherPageSize(u32),
    /// Anything else.
    Foreign,
}

impl DataFile {
    /// Looks at the file at `path`.
    ///
    /// # Errors
    ///
    /// `permission_denied`, `io`: it could not be read.
    pub fn inspect(path: &Path) -> Result<DataFile> {
        // without O_NONBLOCK the open of a pipe would block
        let file = match File::options()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)
        {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(DataFile::Absent),
            Err(e) => return Err(failed(path, e)),
        };
        kind_of(&file).map_err(|e| failed(path, e))
    }

    /// The value of one entry of a store's `meta`.
    pub fn meta(&self, name: &[u8]) -> Option<&[u8]> {
        match self {
            DataFile::Store(meta) => meta
                .iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.as_slice()),
            _ => None,
        }
    }
}

fn kind_of(file: &File) -> io::Result<DataFile> {
    if !file.metadata()?.is_file() {
        return Ok(DataFile::Foreign);
    }
    let mut head = [0; 64];
    let got = read_at(file, 0, &mut head)?;
    if got == 0 {
        return Ok(DataFile::Empty);
    }
    if u32_at(&head, 16) == Some(BBOLT_MAGIC) {
        return Ok(DataFile::Bbolt);
    }
    if got < head.len() || u32_at(&head, 16) != Some(LMDB_MAGIC) {
        return Ok(DataFile::Foreign);
    }
    let page_bytes = u32_at(&head, HEADER_BYTES + 24).unwrap_or(0);
    if page_bytes as usize != PAGE_BYTES {
        return Ok(DataFile::OtherPageSize(page_bytes));
    }
    let Some(root) = newest_main_root(file)? else {
        return Ok(DataFile::PlainLmdb);
    };
    let Some(tree) = entry(file, root, b"meta", NODE_TREE)? else {
        return Ok(DataFile::PlainLmdb);
    };
    // the record of a tree: pad 4 bytes, flags 2, depth 2; branch pages, leaf pages, overflow
    // pages, entries and root, 8 each
    let Some(meta_root) = u64_at(&tree, 40) else {
        return Ok(DataFile::PlainLmdb);
    };
    let mut entries = Vec::new();
    let mut pages = META_PAGES_MAX;
    collect(file, meta_root, DEPTH_MAX, &mut pages, &mut entries)?;
    match entries.iter().any(|(key, _)| key == b"format") {
        true => Ok(DataFile::Store(entries)),
        false => Ok(DataFile::PlainLmdb),
    }
}

/// The root of the main tree, from the newer of the two meta pages, if it is complete.
fn newest_main_root(file: &File) -> io::Result<Option<u64>> {
    let mut best: Option<(u64, u64)> = None;
    for number in 0..2 {
        let Some(page) = read_page(file, number)? else {
            continue;
        };
        if u32_at(&page, 16) != Some(LMDB_MAGIC) {
            continue;
        }
        // after the header: magic 4 bytes, version 4, address 8, map size 8; two records of trees,
        // 48 each; last page 8, transaction 8
        let (Some(root), Some(txn)) = (
            u64_at(&page, HEADER_BYTES + 24 + 48 + 40),
            u64_at(&page, HEADER_BYTES + 24 + 96 + 8),
        ) else {
            continue;
        };
        if best.is_none_or(|(newest, _)| txn >= newest) {
            best = Some((txn, root));
        }
    }
    Ok(best.map(|(_, root)| root).filter(|&root| root != NO_PAGE))
}

/// The value of one key in the tree at `root`. `flags` are those of its node.
fn entry(file: &File, root: u64, key: &[u8], flags: u16) -> io::Result<Option<Vec<u8>>> {
    let mut number = root;
    for _ in 0..DEPTH_MAX {
        let Some(page) = read_page(file, number)? else {
            return Ok(None);
        };
        let nodes = nodes(&page);
        match u16_at(&page, FLAGS_AT) {
            Some(FLAG_LEAF) => {
                let found = nodes
                    .iter()
                    .find(|node| node.key == key && node.flags == flags);
                return Ok(found.and_then(|node| node.value).map(<[u8]>::to_vec));
            }
            Some(FLAG_BRANCH) => {
                // the first key of a branch page counts as lower than every key
                let at = nodes
                    .iter()
                    .skip(1)
                    .take_while(|node| node.key <= key)
                    .count();
                match nodes.get(at) {
                    Some(node) => number = node.child,
                    None => return Ok(None),
                }
            }
            _ => return Ok(None),
        }
    }
    Ok(None)
}

/// Adds every small entry of the tree at `root`. `pages` is how many pages may still be read.
fn collect(
    file: &File,
    root: u64,
    depth: usize,
    pages: &mut usize,
    into: &mut Vec<(Vec<u8>, Vec<u8>)>,
) -> io::Result<()> {
    let Some(left) = pages.checked_sub(1) else {
        return Ok(());
    };
    *pages = left;
    let Some(page) = read_page(file, root)? else {
        return Ok(());
    };
    for node in nodes(&page) {
        match (u16_at(&page, FLAGS_AT), node.value) {
            (Some(FLAG_LEAF), Some(value)) if node.flags & NODE_BIG == 0 => {
                into.push((node.key.to_vec(), value.to_vec()));
            }
            (Some(FLAG_BRANCH), _) if depth > 0 => {
                collect(file, node.child, depth - 1, pages, into)?
            }
            _ => {}
        }
    }
    Ok(())
}

struct Node<'p> {
    key: &'p [u8],
    flags: u16,
    /// In a leaf: the value, if it is in the page.
    value: Option<&'p [u8]>,
    /// In a branch: the page below.
    child: u64,
}

/// The nodes of a page that are completely inside it.
fn nodes(page: &[u8]) -> Vec<Node<'_>> {
    let lower = usize::from(u16_at(page, LOWER_AT).unwrap_or(0)).min(page.len());
    (HEADER_BYTES..lower.saturating_sub(1))
        .step_by(2)
        .filter_map(|slot| node(page, slot))
        .collect()
}

fn node(page: &[u8], slot: usize) -> Option<Node<'_>> {
    let at = usize::from(u16_at(page, slot)?);
    let (low, high, flags) = (
        u16_at(page, at)?,
        u16_at(page, at + 2)?,
        u16_at(page, at + NODE_FLAGS_AT)?,
    );
    let key_end = at + NODE_BYTES + usize::from(u16_at(page, at + NODE_KEY_SIZE_AT)?);
    let size = usize::from(low) | usize::from(high) << 16;
    Some(Node {
        key: page.get(at + NODE_BYTES..key_end)?,
        flags,
        value: page.get(key_end..key_end + size),
        child: u64::from(low) | u64::from(high) << 16 | u64::from(flags) << 32,
    })
}

fn read_page(file: &File, number: u64) -> io::Result<Option<Vec<u8>>> {
    let Some(at) = number
        .checked_mul(PAGE_BYTES as u64)
        .filter(|&at| at < i64::MAX as u64)
    else {
        return Ok(None);
    };
    let mut page = vec![0; PAGE_BYTES];
    let got = read_at(file, at, &mut page)?;
    Ok((got == PAGE_BYTES).then_some(page))
}

/// Reads until the buffer is full or the file ends; returns the number of bytes.
fn read_at(file: &File, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match file.read_at(&mut buffer[got..], at + got as u64) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(got)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}
