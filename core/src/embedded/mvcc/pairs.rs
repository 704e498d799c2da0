//! Pairs of key and value: borrowed from the map, or copied out of it.

use bytes::Bytes;

use crate::embedded::codec::{self, Header, LogEvent};
use crate::embedded::lmdb::{Tree, Txn};
use crate::error::Result;
use crate::model::{KeyValue, LeaseId, PairRef, Revision, Version};

/// Pairs that are copied out of the map share allocations (pages) of this size.
const PAGE_BYTES: usize = 64 << 10;
/// A pair in the map.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item<'t> {
    pub key: &'t [u8],
    pub header: Header,
    /// Empty if the value is only in `log`.
    pub(super) value: &'t [u8],
}

impl<'t> Item<'t> {
    /// The value, if necessary from `log`.
    pub fn value(&self, txn: &'t Txn<'_>) -> Result<&'t [u8]> {
        if !self.header.in_log || !self.value.is_empty() {
            return Ok(self.value);
        }
        let rev = self.header.rev;
        match txn.get(Tree::Log, &rev.to_key())? {
            Some(bytes) => Ok(codec::event(rev, bytes)?.value),
            None => Err(codec::damaged(
                "live",
                self.key,
                &format!("its value at revision {} is missing", rev.main),
            )),
        }
    }

    /// A copy.
    pub fn pair(&self, txn: &Txn) -> Result<KeyValue> {
        Ok(pair(self.key, self.value(txn)?, &self.header))
    }
}

impl<'t> From<LogEvent<'t>> for Item<'t> {
    fn from(event: LogEvent<'t>) -> Item<'t> {
        Item {
            key: event.key,
            header: event.header,
            value: event.value,
        }
    }
}

/// A copy of one pair, with an allocation of its own.
pub(crate) fn pair(key: &[u8], value: &[u8], header: &Header) -> KeyValue {
    let mut page = Vec::with_capacity(key.len() + value.len());
    page.extend_from_slice(key);
    page.extend_from_slice(value);
    let page = Bytes::from(page);
    KeyValue {
        key: page.slice(..key.len()),
        value: page.slice(key.len()..),
        create_revision: header.create,
        mod_revision: header.rev.main,
        version: header.version,
        lease: header.lease,
    }
}

/// A pair in a page that still grows. It exists for each pair of a range, so it is small.
struct PagePair {
    create: Revision,
    modified: Revision,
    version: Version,
    lease: LeaseId,
    /// Where its value begins and ends in the page. Its key begins where the pair before ends.
    value_at: u32,
    end: u32,
}

/// Copies of pairs, made page by page.
pub(crate) struct Pairs {
    kvs: Vec<KeyValue>,
    page: Vec<u8>,
    /// The pairs in the page.
    in_page: Vec<PagePair>,
    bytes: usize,
}

impl Pairs {
    pub fn new() -> Pairs {
        Pairs {
            kvs: Vec::new(),
            page: Vec::new(),
            in_page: Vec::new(),
            bytes: 0,
        }
    }

    /// Copies a pair.
    pub fn push(&mut self, key: &[u8], value: &[u8], header: &Header) {
        let bytes = key.len() + value.len();
        if self.page.len() + bytes > self.page.capacity() {
            self.flush();
            // the first page is small, as most responses are
            let page_bytes = if self.kvs.is_empty() {
                PAGE_BYTES / 16
            } else {
                PAGE_BYTES
            };
            self.page.reserve_exact(page_bytes.max(bytes));
        }
        self.page.extend_from_slice(key);
        let value_at = self.page.len();
        self.page.extend_from_slice(value);
        self.in_page.push(PagePair {
            create: header.create,
            modified: header.rev.main,
            version: header.version,
            lease: header.lease,
            value_at: value_at as u32,
            end: self.page.len() as u32,
        });
        self.bytes += bytes;
    }

    /// Passes the pairs of the page to `each`, and begins a new page.
    #[inline]
    fn take_page(&mut self, mut each: impl FnMut(KeyValue)) {
        let page = Bytes::from(std::mem::take(&mut self.page));
        let mut key_at = 0;
        for pair in self.in_page.drain(..) {
            let (value_at, end) = (pair.value_at as usize, pair.end as usize);
            each(KeyValue {
                key: page.slice(key_at..value_at),
                value: page.slice(value_at..end),
                create_revision: pair.create,
                mod_revision: pair.modified,
                version: pair.version,
                lease: pair.lease,
            });
            key_at = end;
        }
    }

    fn flush(&mut self) {
        let mut kvs = std::mem::take(&mut self.kvs);
        kvs.reserve(self.in_page.len());
        self.take_page(|kv| kvs.push(kv));
        self.kvs = kvs;
    }

    /// The number of bytes of all keys and values.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// All pairs.
    pub fn finish(mut self) -> Vec<KeyValue> {
        self.flush();
        self.kvs
    }

    /// Passes every pair to `each`, most of them without a list in between.
    #[inline]
    pub fn finish_each(mut self, mut each: impl FnMut(KeyValue)) {
        std::mem::take(&mut self.kvs)
            .into_iter()
            .for_each(&mut each);
        self.take_page(each);
    }
}

/// The receiver of the pairs of a range.
pub(crate) trait Sink {
    /// The number of pairs received.
    fn len(&self) -> usize;

    /// Receives a pair.
    fn push(&mut self, key: &[u8], value: &[u8], header: &Header);
}

impl Sink for Pairs {
    fn len(&self) -> usize {
        self.kvs.len() + self.in_page.len()
    }

    #[inline]
    fn push(&mut self, key: &[u8], value: &[u8], header: &Header) {
        Pairs::push(self, key, value, header);
    }
}

/// A receiver that passes each pair to a closure.
pub(crate) struct PairCallback<'e> {
    each: &'e mut dyn FnMut(PairRef),
    count: usize,
}

impl<'e> PairCallback<'e> {
    pub fn new(each: &'e mut dyn FnMut(PairRef)) -> PairCallback<'e> {
        PairCallback { each, count: 0 }
    }
}

impl Sink for PairCallback<'_> {
    fn len(&self) -> usize {
        self.count
    }

    #[inline]
    fn push(&mut self, key: &[u8], value: &[u8], header: &Header) {
        self.count += 1;
        let Header {
            rev,
            create,
            version,
            lease,
            ..
        } = *header;
        (self.each)(PairRef {
            key,
            value,
            create_revision: create,
            mod_revision: rev.main,
            version,
            lease,
        });
    }
}
