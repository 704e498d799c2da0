//! Reading ranges, at the current and at past revisions.

use std::cmp::Ordering;

use super::At;
use super::pairs::{Item, Pairs, Sink};
use super::walk::{Walk, item, live_entry};
use crate::embedded::codec::{self, Header};
use crate::embedded::lmdb::{Tree, Txn};
use crate::error::Result;
use crate::model::{KeyRange, KeyValue};
use crate::request::{KEY_BYTES_MAX, Range, RangeResponse, SortOrder, SortTarget};

/// A page of a scan ends after this many bytes, or after this many keys were looked at.
const SCAN_BYTES_MAX: usize = 1 << 20;
const SCAN_KEYS_MAX: usize = 10_000;

/// Passes the current value of a key to `with`; none if the key does not exist.
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
    let item = live_entry(key, bytes)?;
    Ok(Some(with(item.value(txn)?)))
}

/// The number of keys in a range.
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

/// The response to a [`Range`], without its `revision`.
pub(crate) fn range(txn: &Txn, request: &Range, at: At) -> Result<RangeResponse> {
    let mut pairs = Pairs::new();
    let response = range_into(txn, request, at, &mut pairs)?;
    Ok(RangeResponse {
        kvs: pairs.finish(),
        ..response
    })
}

/// As [`range`], but the pairs go to `pairs` instead of the response.
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

/// A range in another order than by ascending key. It sorts references into the map and copies only
/// the pairs within the limit.
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
    // stable, so that equal ones stay in ascending order of keys, also if descending (contract
    // 3.12)
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

/// A page of a range by key: up to the limit of the request, a number of bytes, or a number of keys
/// looked at. Returns the pairs, and the key from which to continue.
pub(crate) fn page(txn: &Txn, request: &Range, at: At) -> Result<(Vec<KeyValue>, Option<Vec<u8>>)> {
    let most = limit(request);
    let mut walk = Walk::new(txn, &request.range, at)?;
    let (mut pairs, mut looked) = (Pairs::new(), 0);
    while let Some(item) = walk.next()? {
        if pairs.len() == most || pairs.bytes() >= SCAN_BYTES_MAX || looked == SCAN_KEYS_MAX {
            return Ok((pairs.finish(), Some(item.key.to_vec())));
        }
        looked += 1;
        if matches(request, &item.header) {
            push(txn, request, &item, &mut pairs)?;
        }
    }
    Ok((pairs.finish(), None))
}
