//! Reads the complete history of a store, for another store or another format.

use super::pairs::pair;
use super::walk::item;
use super::{At, compacted_revision, current_revision, history};
use crate::auth::AuthData;
use crate::embedded::codec::{self, LogEvent, Rev};
use crate::embedded::lease::entries;
use crate::embedded::lmdb::{Tree, Txn};
use crate::engine::{HistoryPart, LogRecord};
use crate::error::Result;
use crate::model::{Event, LeaseId, Revision};

/// The limits of a part: events, and bytes approximately.
const PART_EVENTS: usize = 1_000;
const PART_BYTES: usize = 1 << 20;

/// Passes the history to `each`. `remaining`: the seconds that a lease has left, by its id and the
/// number of its slot.
pub(crate) fn dump(
    txn: &Txn,
    each: &mut dyn FnMut(HistoryPart) -> Result<()>,
    remaining: &dyn Fn(LeaseId, u32) -> i64,
) -> Result<()> {
    let compacted = compacted_revision(txn)?;
    each(HistoryPart::Compacted(compacted))?;
    for (id, entry) in entries::all(txn)? {
        each(HistoryPart::Lease {
            id,
            ttl_seconds: entry.ttl_seconds,
            remaining_seconds: remaining(id, entry.slot),
        })?;
    }
    let auth = super::auth::data(txn)?;
    if auth != AuthData::default() {
        each(HistoryPart::Auth(auth))?;
    }
    let (mut records, mut bytes) = (Vec::new(), 0);
    let mut cursor = txn.cursor(Tree::Log)?;
    let mut entry = cursor.seek(&[])?;
    while let Some((key, record)) = entry {
        let rev = Rev::from_key(key)?;
        let event = codec::event(rev, record)?;
        if is_kept(txn, rev, &event, compacted)? {
            bytes += record.len();
            records.push(LogRecord {
                revision: rev.main,
                sub: rev.sub,
                event: Event {
                    kind: history::kind(&event.header),
                    kv: pair(event.key, event.value, &event.header),
                    prev_kv: None,
                },
            });
        }
        if records.len() == PART_EVENTS || bytes >= PART_BYTES {
            each(HistoryPart::Records(std::mem::take(&mut records)))?;
            bytes = 0;
        }
        entry = cursor.next()?;
    }
    if !records.is_empty() {
        each(HistoryPart::Records(records))?;
    }
    each(HistoryPart::Revision(current_revision(txn)?))
}

/// Whether a read at the compacted revision or later, or a watch from there, can return the event.
fn is_kept(txn: &Txn, rev: Rev, event: &LogEvent, compacted: Revision) -> Result<bool> {
    if rev.main >= compacted {
        return Ok(true);
    }
    if event.header.tombstone {
        return Ok(false);
    }
    let found = item(txn, event.key, At::Past(compacted))?;
    Ok(found.is_some_and(|item| item.header.rev == rev))
}
