//! Finding keys: one key, or every key of a range, at the current or at a past revision.
//!
//! The current revision is in `live`. A past one is in `live` and `dead`, merged by key; a key that
//! changed since is followed back along its [`chain`].

use std::borrow::Cow;

use super::chain;
use super::pairs::Item;
use super::{At, bound};
use crate::embedded::codec;
use crate::embedded::lmdb::{Cursor, Tree, Txn};
use crate::error::Result;
use crate::model::KeyRange;
use crate::request::KEY_BYTES_MAX;

/// The pair of a key, if the key exists.
#[inline]
pub(crate) fn item<'t>(txn: &'t Txn<'_>, key: &'t [u8], at: At) -> Result<Option<Item<'t>>> {
    if key.len() > KEY_BYTES_MAX || key.is_empty() {
        return Ok(None);
    }
    match at {
        At::Now => live_item(txn, key),
        At::Past(revision) => match live_item(txn, key)? {
            Some(item) => chain::item_at(txn, item, revision),
            None => match txn.get(Tree::Dead, key)? {
                Some(bytes) => {
                    let header = codec::dead(key, bytes)?;
                    chain::item_at(
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
        Some(bytes) => live_entry(key, bytes).map(Some),
        None => Ok(None),
    }
}

/// The pair of an entry of `live`.
#[inline]
pub(super) fn live_entry<'t>(key: &'t [u8], bytes: &'t [u8]) -> Result<Item<'t>> {
    let (header, value) = codec::live(key, bytes)?;
    Ok(Item { key, header, value })
}

/// Goes through the keys of `live`, merged with those of `dead` if a past revision is read.
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

    /// The next entry of either tree, unchanged: one from `dead` is a tombstone.
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
        live_entry(key, bytes).map(Some)
    }

    /// The next pair that exists at the revision of the walk.
    #[inline]
    pub fn next(&mut self) -> Result<Option<Item<'t>>> {
        let At::Past(revision) = self.at else {
            return self.next_entry();
        };
        while let Some(entry) = self.next_entry()? {
            if let Some(item) = chain::item_at(self.txn, entry, revision)? {
                return Ok(Some(item));
            }
        }
        Ok(None)
    }

    /// The number of remaining pairs, including `here`, which the walk has just returned.
    pub fn count_from(&mut self, here: &Item) -> Result<i64> {
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
