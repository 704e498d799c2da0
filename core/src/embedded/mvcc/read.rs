//! Reading keys and ranges, now and in the past.
//!
//! The present is `live` alone. The past is `live` and `dead` merged by key; a key changed since
//! is followed back along its chain ([`history`](super::history)).

use std::borrow::Cow;
use std::cmp::Ordering;

use bytes::Bytes;

use super::{At, bound, history};
use crate::embedded::codec::{self, Header, LogEvent};
use crate::embedded::lmdb::{Cursor, Tree, Txn};
use crate::error::Result;
use crate::model::{KeyRange, KeyValue, LeaseId, PairRef, Revision, Version};
use crate::request::{KEY_BYTES_MAX, Range, RangeResponse, SortOrder, SortTarget};

/// A page of an answer: pairs copied out of the map share one allocation of this size.
const PAGE_BYTES: usize = 64 << 10;
/// A page of a scan stops at so many bytes, or after looking at so many keys.
const SCAN_BYTES_MAX: usize = 1 << 20;
const SCAN_KEYS_MAX: usize = 10_000;

/// A pair where it lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item<'t> {
    pub key: &'t [u8],
    pub header: Header,
    /// Empty, though there is one, if it must be taken from `log`.
    pub(super) value: &'t [u8],
}

impl<'t> Item<'t> {
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
                &format!("its value at revision {} is gone", rev.main),
            )),
        }
    }

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

/// One pair with one page of its own.
pub(crate) fn pair(key: &[u8], value: &[u8], header: &Header) -> KeyValue {
    let mut page = Vec::with_capacity(key.len() + value.len());
    page.extend_from_slice(key);
    page.extend_from_slice(value);
    place(&page.into(), 0, key.len(), header)
}

fn place(page: &Bytes, start: usize, key_bytes: usize, header: &Header) -> KeyValue {
    KeyValue {
        key: page.slice(start..start + key_bytes),
        value: page.slice(start + key_bytes..),
        create_revision: header.create,
        mod_revision: header.rev.main,
        version: header.version,
        lease: header.lease,
    }
}

/// A pair whose page is still growing. It is made once for each pair of a range, so it is small.
struct Pending {
    create: Revision,
    modified: Revision,
    version: Version,
    lease: LeaseId,
    /// Where its value begins and ends in the page.
    value_at: u32,
    end: u32,
}

/// Pairs being copied out, page by page.
pub(crate) struct Pairs {
    kvs: Vec<KeyValue>,
    page: Vec<u8>,
    /// What stands in the page and is no pair yet.
    pending: Vec<Pending>,
    bytes: usize,
}

impl Pairs {
    pub fn new() -> Pairs {
        Pairs {
            kvs: Vec::new(),
            page: Vec::new(),
            pending: Vec::new(),
            bytes: 0,
        }
    }

    pub fn push(&mut self, key: &[u8], value: &[u8], header: &Header) {
        let bytes = key.len() + value.len();
        if self.page.len() + bytes > self.page.capacity() {
            self.flush();
            // the first page is small: most answers are
            let wish = if self.kvs.is_empty() {
                PAGE_BYTES / 16
            } else {
                PAGE_BYTES
            };
            self.page.reserve_exact(wish.max(bytes));
        }
        self.page.extend_from_slice(key);
        let value_at = self.page.len();
        self.page.extend_from_slice(value);
        self.pending.push(Pending {
            create: header.create,
            modified: header.rev.main,
            version: header.version,
            lease: header.lease,
            value_at: value_at as u32,
            end: self.page.len() as u32,
        });
        self.bytes += bytes;
    }

    /// Makes pairs of what stands in the page, and hands them to `each`.
    #[inline]
    fn take_page(&mut self, mut each: impl FnMut(KeyValue)) {
        let page = Bytes::from(std::mem::take(&mut self.page));
        let mut key_at = 0;
        for pair in self.pending.drain(..) {
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
        kvs.reserve(self.pending.len());
        self.take_page(|kv| kvs.push(kv));
        self.kvs = kvs;
    }

    pub fn finish(mut self) -> Vec<KeyValue> {
        self.flush();
        self.kvs
    }

    /// Hands the pairs out one by one, most of them without a list in between.
    #[inline]
    pub fn finish_each(mut self, mut each: impl FnMut(KeyValue)) {
        std::mem::take(&mut self.kvs)
            .into_iter()
            .for_each(&mut each);
        self.take_page(each);
    }
}

/// Where the pairs of a range go.
pub(crate) trait Sink {
    /// How many have come.
    fn len(&self) -> usize;

    /// Takes one.
    fn push(&mut self, key: &[u8], value: &[u8], header: &Header);
}

impl Sink for Pairs {
    fn len(&self) -> usize {
        self.kvs.len() + self.pending.len()
    }

    #[inline]
    fn push(&mut self, key: &[u8], value: &[u8], header: &Header) {
        Pairs::push(self, key, value, header);
    }
}

/// Hands each pair to a closure.
pub(crate) struct Each<'e> {
    pub each: &'e mut dyn FnMut(PairRef),
    pub count: usize,
}

impl Sink for Each<'_> {
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

/// One key, or none.
#[inline]
pub(crate) fn item<'t>(txn: &'t Txn<'_>, key: &'t [u8], at: At) -> Result<Option<Item<'t>>> {
    if key.len() > KEY_BYTES_MAX || key.is_empty() {
        return Ok(None);
    }
    match at {
        At::Now => live_item(txn, key),
        At::Past(revision) => match live_item(txn, key)? {
            Some(item) => history::item_at(txn, item, revision),
            None => match txn.get(Tree::Dead, key)? {
                Some(bytes) => {
                    let header = codec::dead(key, bytes)?;
                    history::item_at(
                        txn,
                        Item {
                            key,
                            header,
                            value: &[],
                        },
                        revision,
                    )
                }
                None => Ok(None),
            },
        },
    }
}

#[inline]
fn live_item<'t>(txn: &'t Txn<'_>, key: &'t [u8]) -> Result<Option<Item<'t>>> {
    match txn.get(Tree::Live, key)? {
        Some(bytes) => {
            let (header, value) = codec::live(key, bytes)?;
            Ok(Some(Item { key, header, value }))
        }
        None => Ok(None),
    }
}

/// The value of one key, now, handed to `with`; none if there is no such key.
#[inline]
pub(crate) fn with_value<T>(
    txn: &Txn,
    key: &[u8],
    with: impl FnOnce(&[u8]) -> T,
) -> Result<Option<T>> {
    if key.len() > KEY_BYTES_MAX || key.is_empty() {
        return Ok(None);
    }
    let Some(bytes) = txn.get(Tree::Live, key)? else {
        return Ok(None);
    };
    if let Some(value) = codec::inline_value(bytes) {
        return Ok(Some(with(value)));
    }
    let (header, value) = codec::live(key, bytes)?;
    Ok(Some(with(Item { key, header, value }.value(txn)?)))
}

/// Every key of `live`, and of `dead` when the past is asked for, merged by key.
pub(crate) struct Walk<'t> {
    txn: &'t Txn<'t>,
    at: At,
    end: Option<Cow<'t, [u8]>>,
    live: Cursor<'t>,
    live_next: Option<(&'t [u8], &'t [u8])>,
    dead: Option<Cursor<'t>>,
    dead_next: Option<(&'t [u8], &'t [u8])>,
}

impl<'t> Walk<'t> {
    pub fn new(txn: &'t Txn<'_>, range: &'t KeyRange, at: At) -> Result<Walk<'t>> {
        let start = bound(&range.key);
        let end = match range.is_single() {
            true => Some(
                [&range.key[..range.key.len().min(KEY_BYTES_MAX)], &[0]]
                    .concat()
                    .into(),
            ),
            false => range.end().map(bound),
        };
        let mut live = txn.cursor(Tree::Live)?;
        let live_next = live.seek(&start)?;
        let mut dead = None;
        let mut dead_next = None;
        if at != At::Now && txn.entries(Tree::Dead)? > 0 {
            dead_next = dead.insert(txn.cursor(Tree::Dead)?).seek(&start)?;
        }
        Ok(Walk {
            txn,
            at,
            end,
            live,
            live_next,
            dead,
            dead_next,
        })
    }

    /// The next entry of either tree, as it stands there: a tombstone comes from `dead`.
    pub fn next_entry(&mut self) -> Result<Option<Item<'t>>> {
        let end = self.end.as_deref();
        let inside = |entry: &(&[u8], &[u8])| end.is_none_or(|end| entry.0 < end);
        let (live, dead) = (self.live_next.filter(inside), self.dead_next.filter(inside));
        let from_dead = match (live, dead) {
            (Some((live, _)), Some((dead, _))) => dead < live,
            (None, Some(_)) => true,
            (_, None) => false,
        };
        if let (true, Some((key, bytes)), Some(cursor)) = (from_dead, dead, &mut self.dead) {
            self.dead_next = cursor.next()?;
            return Ok(Some(Item {
                key,
                header: codec::dead(key, bytes)?,
                value: &[],
            }));
        }
        let Some((key, bytes)) = live else {
            return Ok(None);
        };
        self.live_next = self.live.next()?;
        let (header, value) = codec::live(key, bytes)?;
        Ok(Some(Item { key, header, value }))
    }

    /// The next pair that is there at the walk's revision.
    #[inline]
    pub fn next(&mut self) -> Result<Option<Item<'t>>> {
        let At::Past(revision) = self.at else {
            return self.next_entry();
        };
        while let Some(entry) = self.next_entry()? {
            if let Some(item) = history::item_at(self.txn, entry, revision)? {
                return Ok(Some(item));
            }
        }
        Ok(None)
    }

    /// How many pairs are left, `here` (which it has just answered) among them.
    fn count_from(&mut self, here: &Item) -> Result<i64> {
        let mut count = 1;
        match self.at {
            At::Now => count = self.live.count(here.key, self.end.as_deref())? as i64,
            At::Past(_) => {
                while self.next()?.is_some() {
                    count += 1;
                }
            }
        }
        Ok(count)
    }
}

/// How many keys a range has.
fn count(txn: &Txn, range: &KeyRange, at: At) -> Result<i64> {
    if range.is_single() {
        return Ok(item(txn, &range.key, at)?.is_some().into());
    }
    if at == At::Now && range.end().is_none() && range.key.as_slice() <= &[0][..] {
        return Ok(txn.entries(Tree::Live)? as i64);
    }
    let mut walk = Walk::new(txn, range, at)?;
    match walk.next()? {
        Some(first) => walk.count_from(&first),
        None => Ok(0),
    }
}

/// The pairs of a range, as [`Range`] asks, with `revision` left 0.
pub(crate) fn range(txn: &Txn, request: &Range, at: At) -> Result<RangeResponse> {
    let mut pairs = Pairs::new();
    let response = range_into(txn, request, at, &mut pairs)?;
    Ok(RangeResponse {
        kvs: pairs.finish(),
        ..response
    })
}

/// As [`range`], with the pairs put into `pairs` and left out of the answer.
pub(crate) fn range_into(
    txn: &Txn,
    request: &Range,
    at: At,
    pairs: &mut impl Sink,
) -> Result<RangeResponse> {
    if request.count_only {
        let count = count(txn, &request.range, at)?;
        return Ok(RangeResponse {
            count,
            ..RangeResponse::default()
        });
    }
    if request.range.is_single() {
        return single(txn, request, at, pairs);
    }
    if request.sort_order == SortOrder::Descend || request.sort_target != SortTarget::Key {
        return sorted(txn, request, at, pairs);
    }
    let most = limit(request);
    let mut walk = Walk::new(txn, &request.range, at)?;
    let (mut count, mut more) = (0, false);
    while let Some(item) = walk.next()? {
        if matches(request, &item.header) {
            if pairs.len() == most {
                more = true;
                count += walk.count_from(&item)?;
                break;
            }
            push(txn, request, &item, pairs)?;
        }
        count += 1;
    }
    Ok(RangeResponse {
        count,
        more,
        ..RangeResponse::default()
    })
}

fn single(txn: &Txn, request: &Range, at: At, pairs: &mut impl Sink) -> Result<RangeResponse> {
    let mut response = RangeResponse::default();
    if let Some(item) = item(txn, &request.range.key, at)? {
        response.count = 1;
        if matches(request, &item.header) {
            push(txn, request, &item, pairs)?;
        }
    }
    Ok(response)
}

/// A range by anything but the ascending key: what is sorted are places in the map, and only what
/// the limit leaves is copied.
fn sorted(txn: &Txn, request: &Range, at: At, pairs: &mut impl Sink) -> Result<RangeResponse> {
    let mut walk = Walk::new(txn, &request.range, at)?;
    let (mut items, mut count) = (Vec::new(), 0);
    while let Some(item) = walk.next()? {
        count += 1;
        if matches(request, &item.header) {
            let value = if request.sort_target == SortTarget::Value {
                item.value(txn)?
            } else {
                &[]
            };
            items.push((item, value));
        }
    }
    // stable, so that equal ones stay in the order of their keys, descending too (contract 3.12)
    items.sort_by(|(a, a_value), (b, b_value)| {
        let order: Ordering = match request.sort_target {
            SortTarget::Key => a.key.cmp(b.key),
            SortTarget::Version => a.header.version.cmp(&b.header.version),
            SortTarget::Create => a.header.create.cmp(&b.header.create),
            SortTarget::Mod => a.header.rev.main.cmp(&b.header.rev.main),
            SortTarget::Value => a_value.cmp(b_value),
        };
        if request.sort_order == SortOrder::Descend {
            order.reverse()
        } else {
            order
        }
    });
    let most = limit(request);
    let more = items.len() > most;
    for (item, _) in items.iter().take(most) {
        push(txn, request, item, pairs)?;
    }
    Ok(RangeResponse {
        count,
        more,
        ..RangeResponse::default()
    })
}

#[inline]
fn push(txn: &Txn, request: &Range, item: &Item, pairs: &mut impl Sink) -> Result<()> {
    let value = if request.keys_only {
        &[]
    } else {
        item.value(txn)?
    };
    pairs.push(item.key, value, &item.header);
    Ok(())
}

fn limit(request: &Range) -> usize {
    if request.limit > 0 {
        request.limit as usize
    } else {
        usize::MAX
    }
}

#[inline]
fn matches(request: &Range, header: &Header) -> bool {
    let inside =
        |revision, min, max| (min == 0 || revision >= min) && (max == 0 || revision <= max);
    inside(
        header.rev.main,
        request.min_mod_revision,
        request.max_mod_revision,
    ) && inside(
        header.create,
        request.min_create_revision,
        request.max_create_revision,
    )
}

/// A stretch of a range by key: up to the request's limit, and no more than a page of bytes or of
/// keys looked at. Answers the pairs, and the key to go on from.
pub(crate) fn page(txn: &Txn, request: &Range, at: At) -> Result<(Vec<KeyValue>, Option<Vec<u8>>)> {
    let most = limit(request);
    let mut walk = Walk::new(txn, &request.range, at)?;
    let (mut pairs, mut looked) = (Pairs::new(), 0);
    while let Some(item) = walk.next()? {
        if pairs.len() == most || pairs.bytes >= SCAN_BYTES_MAX || looked == SCAN_KEYS_MAX {
            return Ok((pairs.finish(), Some(item.key.to_vec())));
        }
        looked += 1;
        if matches(request, &item.header) {
            push(txn, request, &item, &mut pairs)?;
        }
    }
    Ok((pairs.finish(), None))
}
