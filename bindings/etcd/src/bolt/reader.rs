//! Reads a bbolt file that may be damaged or malicious: every position, length and page number is
//! checked, no page is visited twice, and memory is bounded by one path of pages.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use libkv::{Code, Error, Result};

use super::format::*;

/// The greatest depth of a tree. Each branch has at least two children, so no file can reach it.
const DEPTH_MAX: usize = 64;
/// The greatest size of a page with its overflow.
const PAGE_TOTAL_BYTES_MAX: u64 = 1 << 31;

/// Bytes that can be read at any position.
pub trait Source {
    /// Fills `buffer` from `at`.
    ///
    /// # Errors
    ///
    /// Those of the medium; `UnexpectedEof` beyond the end.
    fn read_exact_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()>;
}

impl Source for File {
    fn read_exact_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, buffer, at)
    }
}

impl Source for &[u8] {
    fn read_exact_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        let start = usize::try_from(at).unwrap_or(usize::MAX);
        let bytes = start
            .checked_add(buffer.len())
            .and_then(|end| self.get(start..end))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }
}

fn damaged(message: impl std::fmt::Display) -> Error {
    Error::new(Code::Corrupt, format!("damaged bbolt file: {message}"))
}

/// An open file. It is never changed.
#[derive(Debug)]
pub struct Database<S> {
    source: S,
    pub(super) meta: Meta,
}

/// A bucket: its tree, or its only page.
#[derive(Clone, Debug)]
pub struct Bucket(Root);

#[derive(Clone, Debug)]
enum Root {
    Page(u64),
    /// A page inside the value of a leaf element.
    Inline(Vec<u8>),
}

impl<S: Source> Database<S> {
    /// Opens the database in the first `len` bytes of `source`. It reads the two meta pages.
    ///
    /// # Errors
    ///
    /// `corrupt` if neither meta page is valid, or if the file is shorter than the valid one
    /// requires.
    pub fn open(source: S, len: u64) -> Result<Database<S>> {
        let meta = newest_meta(&source, len)?;
        let needed = meta.high_water.checked_mul(u64::from(meta.page_bytes));
        if needed.is_none_or(|needed| needed > len) {
            return Err(damaged(format_args!(
                "it has {len} bytes, but its meta page counts {} pages of {} bytes",
                meta.high_water, meta.page_bytes
            )));
        }
        Ok(Database { source, meta })
    }

    /// The total size of the pages in bytes. Bytes that follow are not part of the database.
    pub fn bytes(&self) -> u64 {
        self.meta.high_water * u64::from(self.meta.page_bytes)
    }

    /// All buckets, by name.
    ///
    /// # Errors
    ///
    /// `corrupt`, `io`.
    pub fn buckets(&self) -> Result<Vec<(Vec<u8>, Bucket)>> {
        let mut root = self.walk(Root::Page(self.meta.root), IS_BUCKET)?;
        let mut buckets = Vec::new();
        while let Some((name, value)) = root.next()? {
            buckets.push((name.to_vec(), Bucket::decode(value)?));
        }
        Ok(buckets)
    }

    /// The entries of a bucket, by key.
    ///
    /// # Errors
    ///
    /// `corrupt`, `io`.
    pub fn entries(&self, bucket: &Bucket) -> Result<Entries<'_, S>> {
        self.walk(bucket.0.clone(), 0)
    }

    /// Reads every page that can be reached and checks what etcd's own restore checks: each page is
    /// reached once and is not listed as free, and every key is in its place.
    ///
    /// # Errors
    ///
    /// `corrupt`, `io`.
    pub fn verify(&self) -> Result<()> {
        let mut seen = PageSet::new(self.meta.high_water)?;
        seen.insert(0)?;
        seen.insert(1)?;
        self.read_free_list(&mut seen)?;
        let mut buckets = Vec::new();
        seen = self.verify_tree(Root::Page(self.meta.root), IS_BUCKET, seen, &mut |value| {
            buckets.push(Bucket::decode(value)?);
            Ok(())
        })?;
        for bucket in buckets {
            seen = self.verify_tree(bucket.0, 0, seen, &mut |_| Ok(()))?;
        }
        Ok(())
    }

    fn verify_tree(
        &self,
        root: Root,
        flags: u32,
        seen: PageSet,
        each: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<PageSet> {
        let mut entries = self.walk(root, flags)?;
        entries.seen = seen;
        while let Some((_, value)) = entries.next()? {
            each(value)?;
        }
        Ok(entries.seen)
    }

    /// Marks the free pages, and the page that lists them.
    fn read_free_list(&self, seen: &mut PageSet) -> Result<()> {
        let id = self.meta.free_list;
        if id == NO_FREE_LIST {
            return Ok(());
        }
        let (header, page) = self.page(id)?;
        if header.flags != FREE_LIST {
            return Err(damaged(format_args!("page {id} is not a free list")));
        }
        for at in id..=id + u64::from(header.overflow) {
            seen.insert(at)?;
        }
        let (count, start) = match header.count {
            // the count does not fit its field: it is the first number of the list
            u16::MAX => (u64_at(&page, HEADER_BYTES), HEADER_BYTES + 8),
            count => (Some(count.into()), HEADER_BYTES),
        };
        let ids = page.get(start..).unwrap_or_default().chunks_exact(8);
        let count = count.and_then(|count| usize::try_from(count).ok());
        let Some(count) = count.filter(|&count| count <= ids.len()) else {
            return Err(damaged(format_args!("the free list at page {id} is cut")));
        };
        ids.take(count)
            .try_for_each(|free| seen.insert(u64_at(free, 0).unwrap_or(u64::MAX)))
    }

    /// `flags`: those that each leaf element of the tree has.
    fn walk(&self, root: Root, flags: u32) -> Result<Entries<'_, S>> {
        let (root, path) = match root {
            Root::Page(id) => (Some(id), Vec::new()),
            Root::Inline(page) => (None, vec![Node::decode(0, page, Span::default())?]),
        };
        Ok(Entries {
            database: self,
            flags,
            root,
            path,
            last: None,
            seen: PageSet::default(),
        })
    }

    /// A page with its overflow.
    fn page(&self, id: u64) -> Result<(PageHeader, Vec<u8>)> {
        let page_bytes = u64::from(self.meta.page_bytes);
        let at = id.checked_mul(page_bytes);
        let Some(at) = at.filter(|_| (2..self.meta.high_water).contains(&id)) else {
            return Err(damaged(format_args!(
                "page {id} is named, but not in the file"
            )));
        };
        let mut header = [0; HEADER_BYTES];
        self.read(&mut header, at)?;
        let header = PageHeader::decode(&header).ok_or_else(|| damaged("a page is cut"))?;
        let bytes = page_bytes * (u64::from(header.overflow) + 1);
        let is_inside = at + bytes <= self.bytes() && bytes <= PAGE_TOTAL_BYTES_MAX;
        if header.id != id || !is_inside {
            return Err(damaged(format_args!("the header of page {id} is damaged")));
        }
        let mut page = Vec::new();
        let len = usize::try_from(bytes).map_err(|_| damaged("a page is too large"))?;
        page.try_reserve_exact(len).map_err(|_| {
            damaged(format_args!(
                "page {id} of {len} bytes does not fit in memory"
            ))
        })?;
        page.resize(len, 0);
        self.read(&mut page, at)?;
        Ok((header, page))
    }

    fn read(&self, buffer: &mut [u8], at: u64) -> Result<()> {
        let read = self.source.read_exact_at(buffer, at);
        read.map_err(|error| {
            let code = match error.kind() {
                io::ErrorKind::UnexpectedEof => Code::Corrupt,
                _ => Code::Io,
            };
            Error::new(code, format!("reading a bbolt file at byte {at}: {error}"))
                .with_source(error)
        })
    }
}

/// The valid meta with the higher transaction id. The second meta is on page 1, so its position is
/// the page size, which the first meta has. If the first meta is damaged, every page size is tried.
fn newest_meta<S: Source>(source: &S, len: u64) -> Result<Meta> {
    let at = |start: u64| {
        let mut page = [0; HEADER_BYTES + META_BYTES + 8];
        source.read_exact_at(&mut page, start).ok()?;
        let header = PageHeader::decode(&page)?;
        Meta::decode(page.get(HEADER_BYTES..)?).filter(|_| header.flags == META)
    };
    let first = at(0);
    let sizes = match first {
        Some(meta) => meta.page_bytes..=meta.page_bytes,
        None => PAGE_BYTES_MIN..=PAGE_BYTES_MAX,
    };
    let second = std::iter::successors(Some(*sizes.start()), |size| size.checked_mul(2))
        .take_while(|size| sizes.contains(size))
        .find_map(|size| at(size.into()).filter(|meta| meta.page_bytes == size));
    let newest = [first, second]
        .into_iter()
        .flatten()
        .max_by_key(|meta| meta.txn);
    newest.ok_or_else(|| {
        Error::new(
            Code::Corrupt,
            format!("not a bbolt file, or both of its meta pages are damaged ({len} bytes)"),
        )
    })
}

impl Bucket {
    fn decode(value: &[u8]) -> Result<Bucket> {
        let root = u64_at(value, 0).filter(|_| value.len() >= BUCKET_BYTES);
        match root.ok_or_else(|| damaged("a bucket is cut"))? {
            0 => Ok(Bucket(Root::Inline(value[BUCKET_BYTES..].to_vec()))),
            id => Ok(Bucket(Root::Page(id))),
        }
    }
}

/// The keys that a page may hold: `start` or above, and below `end`.
#[derive(Clone, Debug, Default)]
struct Span {
    start: Vec<u8>,
    end: Option<Vec<u8>>,
}

impl Span {
    fn contains(&self, key: &[u8]) -> bool {
        self.start.as_slice() <= key && self.end.as_deref().is_none_or(|end| key < end)
    }
}

/// A page on the path from the root to an entry.
#[derive(Debug)]
struct Node {
    id: u64,
    page: Vec<u8>,
    is_leaf: bool,
    count: usize,
    /// The element that is read next.
    next: usize,
    span: Span,
}

/// An element of a page.
struct Element<'p> {
    key: &'p [u8],
    /// The flags and the value of an element of a leaf.
    flags: u32,
    value: &'p [u8],
    /// The child page of an element of a branch.
    child: u64,
}

impl Node {
    fn decode(id: u64, page: Vec<u8>, span: Span) -> Result<Node> {
        let header = PageHeader::decode(&page);
        let Some(header) = header.filter(|header| matches!(header.flags, BRANCH | LEAF)) else {
            return Err(damaged(format_args!("page {id} is not a part of a tree")));
        };
        let is_leaf = header.flags == LEAF;
        if !is_leaf && header.count == 0 {
            return Err(damaged(format_args!(
                "page {id} is a branch without children"
            )));
        }
        Ok(Node {
            id,
            page,
            is_leaf,
            count: header.count.into(),
            next: 0,
            span,
        })
    }

    fn element(&self, index: usize) -> Result<Element<'_>> {
        let cut = || {
            damaged(format_args!(
                "element {index} of page {} is damaged",
                self.id
            ))
        };
        let at = HEADER_BYTES + index * ELEMENT_BYTES;
        let number = |offset: usize| u32_at(&self.page, at + offset).ok_or_else(cut);
        let bytes = |start: usize, len: u32| {
            let end = start.checked_add(usize::try_from(len).ok()?)?;
            self.page.get(start..end)
        };
        let (flags, position, key_len, value_len) = match self.is_leaf {
            true => (number(0)?, number(4)?, number(8)?, number(12)?),
            false => (0, number(0)?, number(4)?, 0),
        };
        let start = at.checked_add(position as usize).ok_or_else(cut)?;
        let key = bytes(start, key_len).ok_or_else(cut)?;
        let value = bytes(start + key.len(), value_len).ok_or_else(cut)?;
        let child = match self.is_leaf {
            true => 0,
            false => u64_at(&self.page, at + 8).ok_or_else(cut)?,
        };
        if key.len() > KEY_BYTES_MAX || start < HEADER_BYTES + self.count * ELEMENT_BYTES {
            return Err(cut());
        }
        Ok(Element {
            key,
            flags,
            value,
            child,
        })
    }
}

/// A walk over the entries of a tree, by key.
#[derive(Debug)]
pub struct Entries<'d, S> {
    database: &'d Database<S>,
    /// The flags that each leaf element must have.
    flags: u32,
    /// The root, until it is read.
    root: Option<u64>,
    path: Vec<Node>,
    /// The key of the last entry.
    last: Option<Vec<u8>>,
    /// The pages that were reached. Empty: it is not checked that each page is reached once.
    seen: PageSet,
}

impl<S: Source> Entries<'_, S> {
    /// The next key and its value; `None` at the end. After an error the walk is at its end.
    ///
    /// # Errors
    ///
    /// `corrupt`, `io`.
    pub fn next(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        match self.advance() {
            Ok(false) => Ok(None),
            Ok(true) => {
                let leaf = self
                    .path
                    .last()
                    .ok_or_else(|| damaged("a leaf is missing"))?;
                let element = leaf.element(leaf.next - 1)?;
                Ok(Some((element.key, element.value)))
            }
            Err(error) => {
                self.root = None;
                self.path.clear();
                Err(error)
            }
        }
    }

    /// Moves to the next entry. Then the entry is the element before `next` of the last node of the
    /// path.
    fn advance(&mut self) -> Result<bool> {
        if let Some(root) = self.root.take() {
            self.descend(root, Span::default())?;
        }
        while let Some(node) = self.path.last_mut() {
            if node.next == node.count {
                self.path.pop();
                continue;
            }
            node.next += 1;
            let node = &*node;
            let element = node.element(node.next - 1)?;
            if !node.span.contains(element.key) {
                let id = node.id;
                return Err(damaged(format_args!("page {id} has keys of another page")));
            }
            if node.is_leaf {
                return self.accept_entry().map(|()| true);
            }
            let end = match node.next < node.count {
                true => Some(node.element(node.next)?.key.to_vec()),
                false => node.span.end.clone(),
            };
            let span = Span {
                start: element.key.to_vec(),
                end,
            };
            let child = element.child;
            self.descend(child, span)?;
        }
        Ok(false)
    }

    /// Checks an entry of a leaf: its kind, and that its key is above the last one.
    fn accept_entry(&mut self) -> Result<()> {
        let Some(node) = self.path.last() else {
            return Ok(());
        };
        let element = node.element(node.next - 1)?;
        if element.flags != self.flags {
            let id = node.id;
            return Err(damaged(format_args!(
                "page {id} has an entry of unknown kind"
            )));
        }
        match &mut self.last {
            Some(last) if last.as_slice() >= element.key => Err(damaged(format_args!(
                "the keys of page {} are not in order",
                node.id
            ))),
            Some(last) => {
                last.clear();
                last.extend_from_slice(element.key);
                Ok(())
            }
            None => {
                self.last = Some(element.key.to_vec());
                Ok(())
            }
        }
    }

    fn descend(&mut self, id: u64, span: Span) -> Result<()> {
        if self.path.len() == DEPTH_MAX {
            return Err(damaged("a tree is too deep"));
        }
        let (header, page) = self.database.page(id)?;
        for reached in id..=id + u64::from(header.overflow) {
            self.seen.insert(reached)?;
        }
        self.path.push(Node::decode(id, page, span)?);
        Ok(())
    }
}

/// A set of page numbers, one bit each. The default has no bits and accepts everything.
#[derive(Debug, Default)]
struct PageSet {
    bits: Vec<u64>,
    pages: u64,
}

impl PageSet {
    fn new(pages: u64) -> Result<PageSet> {
        let words = usize::try_from(pages.div_ceil(64)).map_err(|_| damaged("too many pages"))?;
        let mut bits = Vec::new();
        bits.try_reserve_exact(words)
            .map_err(|_| damaged(format_args!("{pages} pages do not fit in memory")))?;
        bits.resize(words, 0);
        Ok(PageSet { bits, pages })
    }

    fn insert(&mut self, page: u64) -> Result<()> {
        if self.bits.is_empty() {
            return Ok(());
        }
        let word = usize::try_from(page / 64).ok();
        let Some(word) = word
            .filter(|_| page < self.pages)
            .and_then(|word| self.bits.get_mut(word))
        else {
            return Err(damaged(format_args!(
                "page {page} is named, but not in the file"
            )));
        };
        let bit = 1 << (page % 64);
        if *word & bit != 0 {
            return Err(damaged(format_args!("page {page} is used twice")));
        }
        *word |= bit;
        Ok(())
    }
}
