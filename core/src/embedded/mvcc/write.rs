//! Making revisions: what a put and a deletion do to `live`, `dead` and `log`.

use super::lease::{self, SlotLog};
use super::read::{self, Pairs, Walk};
use super::{At, alarm, compact, history, time, txn};
use crate::embedded::codec::{self, Bounds, Header, INLINE_BYTES_MAX, Rev, meta};
use crate::embedded::guard::Guard;
use crate::embedded::lmdb::{Tree, WriteTxn};
use crate::error::{Code, Error, Result, show};
use crate::etcd_text;
use crate::model::{LeaseId, Revision};
use crate::request::{
    Delete, DeleteResponse, Put, PutResponse, Range, RangeResponse, Request, Response,
};

/// Keys deleted before the next are looked for: what a deletion of everything keeps in memory.
const DELETE_KEYS: usize = 1_000;

/// A write transaction that requests are applied to, one revision each.
///
/// A request that is refused has written nothing, unless [`Writer::is_torn`]: then the whole
/// transaction must be dropped and its other requests run again.
pub(crate) struct Writer<'e> {
    txn: WriteTxn<'e>,
    guard: &'e Guard,
    /// What time it is on the store's clock, for requests that ask; see [`Writer::set_time`].
    now_ns: u64,
    slots: SlotLog<'e>,
    /// The revision before the first request.
    first: Revision,
    /// The revision before the request under way.
    current: Revision,
    compacted: Revision,
    inline_bytes_max: usize,
    bounds: Bounds,
    dead_entries: u64,
    /// Events written by the request under way; the number of the next one.
    sub: u32,
    /// Whether anything was written by any request.
    wrote: bool,
    torn: bool,
}

impl<'e> Writer<'e> {
    pub fn new(txn: WriteTxn<'e>, guard: &'e Guard) -> Result<Writer<'e>> {
        let inline_bytes_max = match txn.get(Tree::Meta, meta::INLINE_LIMIT)? {
            Some(bytes) => codec::number(meta::INLINE_LIMIT, bytes)?,
            None => i64::from(INLINE_BYTES_MAX),
        };
        let (current, compacted) = super::revisions(&txn)?;
        Ok(Writer {
            guard,
            now_ns: 0,
            slots: SlotLog::new(guard),
            first: current,
            current,
            compacted,
            inline_bytes_max: inline_bytes_max.max(0) as usize,
            bounds: alarm::bounds(&txn)?,
            dead_entries: txn.entries(Tree::Dead)?,
            txn,
            sub: 0,
            wrote: false,
            torn: false,
        })
    }

    /// Says what time it is now, before a request that grants or an expiry. Not once for a group: it may
    /// have begun a while ago, a clock in hand may have been moved, and most groups do not ask.
    pub fn set_time(&mut self, now_ns: u64) {
        self.now_ns = now_ns;
    }

    /// Runs one request, validated before, in one revision. `raises_alarm`: refused by the quota, it
    /// leaves an alarm, which is to be committed all the same.
    pub fn apply(&mut self, request: &Request, raises_alarm: bool) -> Result<Response> {
        self.sub = 0;
        self.admit(request, raises_alarm)?;
        let response = self.run(request);
        match &response {
            // LMDB's own errors may leave a transaction that cannot go on
            Err(error) => self.torn |= self.sub > 0 || !is_refusal(error.code()),
            Ok(_) => self.current += Revision::from(self.sub > 0),
        }
        response
    }

    fn run(&mut self, request: &Request) -> Result<Response> {
        Ok(match request {
            Request::Put(put) => {
                lease::check(&self.txn, put.lease)?;
                Response::Put(self.put(put)?)
            }
            Request::Delete(delete) => Response::Delete(self.delete(delete)?),
            Request::Txn(txn) => Response::Txn(txn::run(self, txn)?),
            Request::Compact(compact) => {
                let response =
                    compact::promise(&mut self.txn, compact, self.current, self.compacted)?;
                self.compacted = compact.revision;
                self.wrote = true;
                Response::Compact(response)
            }
            Request::Range(range) => Response::Range(self.range(range, None)?),
            Request::LeaseGrant(grant) => {
                let response = self.grant(grant)?;
                self.wrote = true;
                Response::LeaseGrant(response)
            }
            Request::LeaseRevoke(revoke) => {
                let response = self.revoke(revoke)?;
                self.wrote = true;
                Response::LeaseRevoke(response)
            }
            Request::Alarm(request) => Response::Alarm(self.alarm(request)?),
            Request::Side(request) => Response::Side(self.side(request)?),
        })
    }

    /// Runs `work`, of nobody's request, in one revision of its own.
    pub(super) fn in_own_revision(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        (self.sub, self.wrote) = (0, true);
        let result = work(self);
        self.torn |= result.is_err();
        self.current += Revision::from(result.is_ok() && self.sub > 0);
        self.sub = 0;
        result
    }

    /// Work on the trees that makes no revision.
    pub fn maintain<T>(&mut self, work: impl FnOnce(&mut WriteTxn<'e>) -> Result<T>) -> Result<T> {
        self.wrote = true;
        let result = work(&mut self.txn);
        self.torn |= result.is_err();
        // what was buried may be gone
        self.dead_entries = self.txn.entries(Tree::Dead)?;
        result
    }

    /// Whether a refused request had written something, so that nothing may be committed.
    pub fn is_torn(&self) -> bool {
        self.torn
    }

    /// Whether there is anything to commit.
    pub fn has_written(&self) -> bool {
        self.wrote
    }

    /// The transaction, to commit it, and what must then be done with slots of leases.
    pub fn into_parts(self) -> (WriteTxn<'e>, SlotLog<'e>) {
        (self.txn, self.slots)
    }

    /// Notes in the time index that revisions were given in this minute. Answers whether the index
    /// has this minute now.
    pub fn note_minute(&mut self, minute: i64) -> Result<bool> {
        if self.current == self.first {
            return Ok(false);
        }
        time::note(&mut self.txn, minute, self.first)?;
        Ok(true)
    }

    /// The quota, and what alarms are active.
    pub(super) fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// Takes over what has been written of them.
    pub(super) fn read_bounds(&mut self) -> Result<()> {
        self.bounds = alarm::bounds(&self.txn)?;
        Ok(())
    }

    pub(super) fn guard(&self) -> &'e Guard {
        self.guard
    }

    pub(super) fn now_ns(&self) -> u64 {
        self.now_ns
    }

    pub(super) fn txn_mut(&mut self) -> &mut WriteTxn<'e> {
        &mut self.txn
    }

    pub(super) fn slot_log(&self) -> &SlotLog<'e> {
        &self.slots
    }

    pub(super) fn slot_log_mut(&mut self) -> &mut SlotLog<'e> {
        &mut self.slots
    }

    pub fn txn(&self) -> &WriteTxn<'e> {
        &self.txn
    }

    pub fn current(&self) -> Revision {
        self.current
    }

    pub fn compacted(&self) -> Revision {
        self.compacted
    }

    /// The revision as a response inside a txn names it: the new one once something was written.
    pub fn revision(&self) -> Revision {
        self.current + Revision::from(self.sub > 0)
    }

    /// Reads; `at` is where, if the request's own revision has been judged already.
    pub fn range(&self, request: &Range, at: Option<At>) -> Result<RangeResponse> {
        let at = match at {
            Some(at) => at,
            None => super::readable(&self.txn, request.revision, self.current)?,
        };
        // the present has this request's own writes in it already
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

    pub fn put(&mut self, put: &Put) -> Result<PutResponse> {
        if !(put.prev_kv || put.ignore_value || put.ignore_lease) {
            self.write_pair(&put.key, &put.value, put.lease)?;
            return Ok(PutResponse {
                revision: self.revision(),
                prev_kv: None,
            });
        }
        let old = read::item(&self.txn, &put.key, At::Now)?
            .map(|item| item.pair(&self.txn))
            .transpose()?;
        let (mut value, mut lease) = (put.value.as_slice(), put.lease);
        if put.ignore_value || put.ignore_lease {
            let old = old.as_ref().ok_or_else(|| key_not_found(put))?;
            value = if put.ignore_value { &old.value } else { value };
            lease = if put.ignore_lease { old.lease } else { lease };
        }
        self.write_pair(&put.key, value, lease)?;
        Ok(PutResponse {
            revision: self.revision(),
            prev_kv: old.filter(|_| put.prev_kv),
        })
    }

    /// One descent into `live` for most puts: the place is reserved as for a new key, and if the
    /// key is there its old header comes instead. What is reserved is filled before any other write.
    fn write_pair(&mut self, key: &[u8], value: &[u8], lease: LeaseId) -> Result<()> {
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
        let mut old_lease = 0;
        let mut before = match self
            .txn
            .insert(Tree::Live, key, fresh.len() + inline.len())?
        {
            Ok(place) => {
                fill(place, &fresh, inline);
                None
            }
            Err(old) => Some(codec::live(key, old)?.0),
        };
        if let Some(old) = before {
            header.create = old.create;
            header.version = old.version + 1;
            old_lease = old.lease;
        } else if self.dead_entries > 0 {
            before = self.revive(key)?;
        }
        if let Some(before) = before {
            header.link = Some(history::link_after(&self.txn, &before, self.compacted)?);
            let entry = header.encode_entry();
            fill(
                self.txn
                    .reserve(Tree::Live, key, entry.len() + inline.len())?,
                &entry,
                inline,
            );
        }
        self.move_lease(key, old_lease, lease)?;
        self.append(&header, key, value)
    }

    /// Takes a key out of `dead`, which has its chain.
    fn revive(&mut self, key: &[u8]) -> Result<Option<Header>> {
        let Some(bytes) = self.txn.get(Tree::Dead, key)? else {
            return Ok(None);
        };
        let header = codec::dead(key, bytes)?;
        self.txn.delete(Tree::Dead, key)?;
        self.dead_entries -= 1;
        Ok(Some(header))
    }

    fn append(&mut self, header: &Header, key: &[u8], value: &[u8]) -> Result<()> {
        let event = header.encode_event();
        let len = codec::event_bytes(&event, key, value);
        match self.txn.append(Tree::Log, &header.rev.to_key(), len)? {
            Some(place) => codec::write_event(header.rev, &event, key, value, place),
            None => {
                return Err(codec::damaged(
                    "log",
                    &header.rev.to_key(),
                    "there are later events already",
                ));
            }
        }
        self.sub = self.sub.checked_add(1).ok_or_else(|| {
            Error::etcd(Code::TooManyOps, etcd_text::TOO_MANY_OPS)
                .with_detail("2^32 changes in one revision")
        })?;
        Ok(())
    }

    pub fn delete(&mut self, delete: &Delete) -> Result<DeleteResponse> {
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
                self.bury(key, header)?;
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

    /// Moves a key from `live` to `dead`, with its tombstone on the log.
    pub(super) fn bury(&mut self, key: &[u8], before: &Header) -> Result<()> {
        let link = history::link_after(&self.txn, before, self.compacted)?;
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
}

/// Whether an error speaks of the request, not of the store.
fn is_refusal(code: Code) -> bool {
    use Code::*;
    matches!(
        code,
        InvalidArgument | KeyNotFound | LeaseNotFound | LeaseExists | Compacted | FutureRevision
    )
}

fn fill(place: &mut [u8], header: &[u8], value: &[u8]) {
    place[..header.len()].copy_from_slice(header);
    place[header.len()..].copy_from_slice(value);
}

pub(crate) fn key_not_found(put: &Put) -> Error {
    let option = if put.ignore_value {
        "ignore_value"
    } else {
        "ignore_lease"
    };
    Error::etcd(Code::KeyNotFound, etcd_text::KEY_NOT_FOUND)
        .with_detail(format_args!("put of {} with {option}", show(&put.key)))
        .with_key(&*put.key)
}
