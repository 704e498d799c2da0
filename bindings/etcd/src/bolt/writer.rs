//! Writes a bbolt file from buckets in order of name, each with its entries in order of key.
//!
//! Pages are written one after the other: the leaves of a bucket, then the branches above them.
//! The root of all buckets and the two meta pages come last. Memory holds one page, and the first
//! key of every page of a bucket.

use std::io::{self, Seek, SeekFrom, Write};

use super::format::*;

/// The size of a page, which etcd uses too.
const PAGE_BYTES: usize = 4096;
/// The first page after the two metas.
const FIRST_PAGE: u64 = 2;
/// The transaction ids of the metas; the second one counts.
const TXNS: [u64; 2] = [0, 1];

/// Writes a bbolt file.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    /// The page that is written next.
    next_page: u64,
    buckets: Vec<Entry>,
    /// The bucket that is being written.
    bucket: Option<OpenBucket>,
}

#[derive(Debug)]
struct OpenBucket {
    name: Vec<u8>,
    leaf: Page,
    children: Vec<Child>,
    last: Option<Vec<u8>>,
}

/// A page that was written, for the branch above it.
#[derive(Debug)]
struct Child {
    key: Vec<u8>,
    page: u64,
}

#[derive(Debug)]
struct Entry {
    key: Vec<u8>,
    value: Vec<u8>,
}

fn refused(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

impl<W: Write + Seek> Writer<W> {
    /// Begins a file at the start of `out`.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn new(mut out: W) -> io::Result<Writer<W>> {
        out.seek(SeekFrom::Start(FIRST_PAGE * PAGE_BYTES as u64))?;
        Ok(Writer {
            out,
            next_page: FIRST_PAGE,
            buckets: Vec::new(),
            bucket: None,
        })
    }

    /// Begins a bucket, and ends the one before it.
    ///
    /// # Errors
    ///
    /// Those of `out`; `InvalidInput` if the name is not above the one before.
    pub fn bucket(&mut self, name: &str) -> io::Result<()> {
        self.end_bucket()?;
        let last = self.buckets.last();
        if last.is_some_and(|last| last.key.as_slice() >= name.as_bytes()) {
            return Err(refused("the buckets are not in order"));
        }
        self.bucket = Some(OpenBucket {
            name: name.into(),
            leaf: Page::new(LEAF),
            children: Vec::new(),
            last: None,
        });
        Ok(())
    }

    /// Adds an entry to the bucket.
    ///
    /// # Errors
    ///
    /// Those of `out`; `InvalidInput` without a bucket, for a key that is empty, too long or not
    /// above the one before, and for a value over 2 GiB.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let Some(bucket) = &mut self.bucket else {
            return Err(refused("an entry needs a bucket"));
        };
        if key.is_empty() || key.len() > KEY_BYTES_MAX || value.len() > i32::MAX as usize {
            return Err(refused(
                "a key or a value has a length that bbolt does not allow",
            ));
        }
        if bucket.last.as_deref().is_some_and(|last| last >= key) {
            return Err(refused("the keys of a bucket are not in order"));
        }
        if !bucket.leaf.has_room(key.len() + value.len()) {
            let full = std::mem::replace(&mut bucket.leaf, Page::new(LEAF));
            let child = full.write(&mut self.out, &mut self.next_page)?;
            bucket.children.push(child);
        }
        bucket.leaf.push(key, value, Element::Leaf(0));
        let last = bucket.last.get_or_insert_default();
        last.clear();
        last.extend_from_slice(key);
        Ok(())
    }

    /// Ends the file and returns its length and the destination.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn finish(mut self) -> io::Result<(u64, W)> {
        self.end_bucket()?;
        let buckets = std::mem::take(&mut self.buckets);
        let root = self.tree(
            buckets
                .iter()
                .map(|entry| (&entry.key[..], &entry.value[..])),
        )?;
        for (page, txn) in TXNS.into_iter().enumerate() {
            let meta = Meta {
                page_bytes: PAGE_BYTES as u32,
                root,
                free_list: NO_FREE_LIST,
                high_water: self.next_page,
                txn,
            };
            let header = PageHeader {
                id: page as u64,
                flags: META,
                count: 0,
                overflow: 0,
            };
            let mut bytes = [&header.encode()[..], &meta.encode()].concat();
            bytes.resize(PAGE_BYTES, 0);
            self.out.seek(SeekFrom::Start((page * PAGE_BYTES) as u64))?;
            self.out.write_all(&bytes)?;
        }
        let len = self.next_page * PAGE_BYTES as u64;
        self.out.seek(SeekFrom::Start(len))?;
        self.out.flush()?;
        Ok((len, self.out))
    }

    fn end_bucket(&mut self) -> io::Result<()> {
        let Some(OpenBucket {
            name,
            leaf,
            mut children,
            ..
        }) = self.bucket.take()
        else {
            return Ok(());
        };
        let mut value = vec![0; BUCKET_BYTES];
        if children.is_empty() && leaf.count() == 0 {
            // an empty bucket has no page of its own: root 0, then the page
            value.extend(leaf.encode(0));
            value.truncate(BUCKET_BYTES + HEADER_BYTES);
        } else {
            children.push(leaf.write(&mut self.out, &mut self.next_page)?);
            let root = self.branches(children)?;
            value[..8].copy_from_slice(&root.to_le_bytes());
        }
        self.buckets.push(Entry { key: name, value });
        Ok(())
    }

    /// Writes a small tree of buckets and returns its root.
    fn tree<'e>(&mut self, entries: impl Iterator<Item = (&'e [u8], &'e [u8])>) -> io::Result<u64> {
        let mut leaf = Page::new(LEAF);
        let mut children = Vec::new();
        for (key, value) in entries {
            if !leaf.has_room(key.len() + value.len()) {
                let full = std::mem::replace(&mut leaf, Page::new(LEAF));
                children.push(full.write(&mut self.out, &mut self.next_page)?);
            }
            leaf.push(key, value, Element::Leaf(IS_BUCKET));
        }
        children.push(leaf.write(&mut self.out, &mut self.next_page)?);
        self.branches(children)
    }

    /// Writes the branches above these pages, level by level, and returns the root.
    fn branches(&mut self, mut children: Vec<Child>) -> io::Result<u64> {
        while children.len() > 1 {
            let mut above = Vec::new();
            let mut rest = children.as_slice();
            while !rest.is_empty() {
                let mut page = Page::new(BRANCH);
                let mut taken = 0;
                for child in rest {
                    if !page.has_room(child.key.len()) {
                        break;
                    }
                    page.push(&child.key, &[], Element::Branch(child.page));
                    taken += 1;
                }
                // bbolt requires at least two children: the last branch takes one from the branch
                // before it
                if rest.len() == taken + 1 && taken > 2 {
                    page.pop();
                    taken -= 1;
                }
                above.push(page.write(&mut self.out, &mut self.next_page)?);
                rest = &rest[taken..];
            }
            children = above;
        }
        children
            .pop()
            .map(|root| root.page)
            .ok_or_else(|| refused("a tree without a page"))
    }
}

#[derive(Clone, Copy, Debug)]
enum Element {
    /// An element of a leaf, with its flags.
    Leaf(u32),
    /// An element of a branch, with its child.
    Branch(u64),
}

/// A page that is being filled.
#[derive(Debug)]
struct Page {
    flags: u16,
    elements: Vec<(Element, usize, usize)>,
    data: Vec<u8>,
}

impl Page {
    fn new(flags: u16) -> Page {
        Page {
            flags,
            elements: Vec::new(),
            data: Vec::new(),
        }
    }

    fn count(&self) -> usize {
        self.elements.len()
    }

    fn bytes(&self) -> usize {
        HEADER_BYTES + self.count() * ELEMENT_BYTES + self.data.len()
    }

    /// Whether there is room for an element of this number of bytes. An empty leaf takes an element
    /// of any size; a branch takes at least two elements.
    fn has_room(&self, bytes: usize) -> bool {
        let fewest = if self.flags == LEAF { 1 } else { 2 };
        self.count() < fewest || self.bytes() + ELEMENT_BYTES + bytes <= PAGE_BYTES
    }

    fn push(&mut self, key: &[u8], value: &[u8], element: Element) {
        self.elements.push((element, key.len(), value.len()));
        self.data.extend_from_slice(key);
        self.data.extend_from_slice(value);
    }

    fn pop(&mut self) {
        if let Some((_, key, value)) = self.elements.pop() {
            self.data.truncate(self.data.len() - key - value);
        }
    }

    fn encode(&self, id: u64) -> Vec<u8> {
        let pages = self.bytes().div_ceil(PAGE_BYTES);
        let header = PageHeader {
            id,
            flags: self.flags,
            count: self.count() as u16,
            overflow: (pages - 1) as u32,
        };
        let mut out = Vec::with_capacity(pages * PAGE_BYTES);
        out.extend(header.encode());
        let mut position = self.count() * ELEMENT_BYTES;
        for &(element, key, value) in &self.elements {
            let words = match element {
                Element::Leaf(flags) => [flags, position as u32, key as u32, value as u32],
                Element::Branch(child) => [
                    position as u32,
                    key as u32,
                    child as u32,
                    (child >> 32) as u32,
                ],
            };
            out.extend(words.into_iter().flat_map(u32::to_le_bytes));
            position = position - ELEMENT_BYTES + key + value;
        }
        out.extend_from_slice(&self.data);
        out.resize(pages * PAGE_BYTES, 0);
        out
    }

    fn write(self, out: &mut impl Write, next_page: &mut u64) -> io::Result<Child> {
        let page = *next_page;
        let bytes = self.encode(page);
        out.write_all(&bytes)?;
        *next_page += (bytes.len() / PAGE_BYTES) as u64;
        let first = self.elements.first().map_or(0, |&(_, key, _)| key);
        Ok(Child {
            key: self.data[..first].to_vec(),
            page,
        })
    }
}
