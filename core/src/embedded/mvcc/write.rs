//! Put, range and delete on a writer: the changes to `live`, `dead`, `log` and `lkey`.

use super::pairs::{Item, Pairs};
use super::walk::{Walk, item};
use super::writer::Writer;
use super::{At, chain, read, readable};
use crate::embedded::codec::{self, Header, Rev};
use crate::embedded::lmdb::{Tree, Txn as StoreTxn};
use crate::error::{Code, Error, Result, show};
use crate::etcd_text;
use crate::model::{KeyValue, LeaseId};
use crate::request::{Delete, DeleteResponse, Put, PutResponse, Range, RangeResponse};

/// The number of keys of one step of a deletion, which are in memory at a time.
const DELETE_KEYS: usize = 1_000;

impl Writer<'_> {
    /// Reads a range. `at` is the position if the revision of the request was checked before.
    pub(super) fn range(&self, request: &Range, at: Option<At>) -> Result<RangeResponse> {
        let at = match at {
            Some(at) => at,
            None => readable(&self.txn, request.revision, self.current)?,
        };
        // the current keys include what this request has written
        let at = if at == At::Now && request.revision > 0 && self.sub > 0 {
            At::Past(self.current)
        } else {
            at
        };
        let response = read::range(&self.txn, request, at)?;
        Ok(RangeResponse {
            revision: self.revision(),
            ..response
        })
    }

    /// Writes a pair to `live` and `log`. Most puts need one descent into `live`: space is reserved
    /// as for a new key, and if the key exists LMDB returns the old entry instead. Reserved space
    /// is filled before any other write.
    pub(super) fn put(&mut self, put: &Put) -> Result<PutResponse> {
        let prev = self.prev_pair(put)?;
        let key = put.key.as_slice();
        let (value, lease) = match &prev {
            Some(prev) => (
                if put.ignore_value {
                    &prev.value
                } else {
                    put.value.as_slice()
                },
                if put.ignore_lease {
                    prev.lease
                } else {
                    put.lease
                },
            ),
            None => (put.value.as_slice(), put.lease),
        };
        let rev = Rev::new(self.current + 1, self.sub);
        let in_log = value.len() > self.inline_bytes_max;
        let inline: &[u8] = if in_log { &[] } else { value };
        let mut header = Header {
            rev,
            in_log,
            lease,
            create: rev.main,
            version: 1,
            ..Header::default()
        };
        let fresh = header.encode_entry();
        self.wrote = true;
        let old = match self
            .txn
            .insert(Tree::Live, key, fresh.len() + inline.len())?
        {
            Ok(place) => {
                fill(place, &fresh, inline);
                None
            }
            Err(old) => Some(codec::live(key, old)?.0),
        };
        self.continue_chain(&mut header, old, key, inline)?;
        self.move_lease(key, old.map_or(0, |old| old.lease), lease)?;
        self.append(&header, key, value)?;
        Ok(PutResponse {
            revision: self.revision(),
            prev_kv: prev.filter(|_| put.prev_kv),
        })
    }

    /// The current pair, if the options of the put need it.
    fn prev_pair(&self, put: &Put) -> Result<Option<KeyValue>> {
        let prev = match kept_item(&self.txn, put)? {
            None if put.prev_kv => item(&self.txn, &put.key, At::Now)?,
            prev => prev,
        };
        prev.map(|item| item.pair(&self.txn)).transpose()
    }

    /// For a key that exists (`old`) or existed: links its new header to its chain, and writes the
    /// entry in `live` with that header.
    fn continue_chain(
        &mut self,
        header: &mut Header,
        old: Option<Header>,
        key: &[u8],
        inline: &[u8],
    ) -> Result<()> {
        let before = match old {
            Some(old) => {
                header.create = old.create;
                header.version = old.version + 1;
                old
            }
            None if self.dead_entries == 0 => return Ok(()),
            None => match self.take_tombstone(key)? {
                Some(tombstone) => tombstone,
                None => return Ok(()),
            },
        };
        header.link = Some(chain::link_after(&self.txn, &before, self.compacted)?);
        let entry = header.encode_entry();
        let len = entry.len() + inline.len();
        fill(self.txn.reserve(Tree::Live, key, len)?, &entry, inline);
        Ok(())
    }

    /// Removes a key from `dead`, and returns its tombstone, which continues its chain.
    fn take_tombstone(&mut self, key: &[u8]) -> Result<Option<Header>> {
        let Some(bytes) = self.txn.get(Tree::Dead, key)? else {
            return Ok(None);
        };
        let header = codec::dead(key, bytes)?;
        self.txn.delete(Tree::Dead, key)?;
        self.dead_entries -= 1;
        Ok(Some(header))
    }

    /// Appends an event to `log`.
    pub(super) fn append(&mut self, header: &Header, key: &[u8], value: &[u8]) -> Result<()> {
        let event = header.encode_event();
        let len = codec::event_bytes(&event, key, value);
        match self.txn.append(Tree::Log, &header.rev.to_key(), len)? {
            Some(place) => codec::write_event(header.rev, &event, key, value, place),
            None => {
                return Err(codec::damaged(
                    "log",
                    &header.rev.to_key(),
                    "later events exist",
                ));
            }
        }
        self.sub = self.sub.checked_add(1).ok_or_else(|| {
            Error::etcd(Code::TooManyOps, etcd_text::TOO_MANY_OPS)
                .with_detail("2^32 changes in one revision")
        })?;
        Ok(())
    }

    pub(super) fn delete(&mut self, delete: &Delete) -> Result<DeleteResponse> {
        let mut range = delete.range.clone();
        let (mut deleted, mut prev_kvs) = (0, Pairs::new());
        loop {
            let mut found = Vec::new();
            let mut walk = Walk::new(&self.txn, &range, At::Now)?;
            while let Some(item) = walk.next()? {
                found.push((item.key.to_vec(), item.header));
                if delete.prev_kv {
                    prev_kvs.push(item.key, item.value(&self.txn)?, &item.header);
                }
                if found.len() == DELETE_KEYS {
                    break;
                }
            }
            drop(walk);
            for (key, header) in &found {
                self.delete_key(key, header)?;
            }
            deleted += found.len() as i64;
            match found.pop() {
                Some((last, _)) if found.len() + 1 == DELETE_KEYS && !range.is_single() => {
                    range.key = last
                }
                _ => break,
            }
        }
        Ok(DeleteResponse {
            revision: self.revision(),
            deleted,
            prev_kvs: prev_kvs.finish(),
        })
    }

    /// Moves a key from `live` to `dead`, and appends a tombstone to `log`.
    pub(super) fn delete_key(&mut self, key: &[u8], before: &Header) -> Result<()> {
        let link = chain::link_after(&self.txn, before, self.compacted)?;
        let rev = Rev::new(self.current + 1, self.sub);
        let header = Header {
            rev,
            tombstone: true,
            link: Some(link),
            ..Header::default()
        };
        self.wrote = true;
        self.txn.delete(Tree::Live, key)?;
        let entry = header.encode_entry();
        fill(self.txn.reserve(Tree::Dead, key, entry.len())?, &entry, &[]);
        self.dead_entries += 1;
        self.move_lease(key, before.lease, 0)?;
        self.append(&header, key, &[])
    }

    /// Moves a key from one lease to another; 0 is no lease.
    pub(super) fn move_lease(&mut self, key: &[u8], from: LeaseId, to: LeaseId) -> Result<()> {
        if from == to {
            return Ok(());
        }
        if from != 0 {
            self.txn.delete(Tree::Lkey, &codec::leased_key(from, key))?;
        }
        if to != 0 {
            self.txn.put(Tree::Lkey, &codec::leased_key(to, key), &[])?;
        }
        Ok(())
    }
}

fn fill(place: &mut [u8], header: &[u8], value: &[u8]) {
    place[..header.len()].copy_from_slice(header);
    place[header.len()..].copy_from_slice(value);
}

/// The current item of a put with `ignore_value` or `ignore_lease`, whose key must exist. `None`
/// for other puts.
pub(super) fn kept_item<'t>(store: &'t StoreTxn<'_>, put: &'t Put) -> Result<Option<Item<'t>>> {
    let option = match (put.ignore_value, put.ignore_lease) {
        (true, _) => "ignore_value",
        (false, true) => "ignore_lease",
        (false, false) => return Ok(None),
    };
    let found = item(store, &put.key, At::Now)?;
    found.map(Some).ok_or_else(|| {
        Error::etcd(Code::KeyNotFound, etcd_text::KEY_NOT_FOUND)
            .with_detail(format_args!("put of {} with {option}", show(&put.key)))
            .with_key(&*put.key)
    })
}
