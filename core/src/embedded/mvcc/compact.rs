//! Compaction: one commit promises, from which on reads below fail; then steps sweep the log.
//!
//! The sweep goes through the log from where it was left to the promised revision C. Each event
//! there deletes the event before it in its chain, which no readable revision needs: at C or later
//! this one, or a later one, is the answer. A tombstone below C goes itself, and its key from
//! `dead` if that still names it. A tombstone exactly at C stays until the next sweep, which
//! therefore begins at C again.

use super::{compacted_error, future};
use crate::embedded::codec::{self, Rev, meta};
use crate::embedded::lmdb::{Tree, Txn, WriteTxn};
use crate::error::Result;
use crate::model::Revision;
use crate::request::{Compact, CompactResult};

/// The end of a finished sweep to C is (C, `u32::MAX`).
fn finished(compacted: Revision) -> Rev {
    Rev::new(compacted, u32::MAX)
}

/// Promises a compaction, or refuses it.
pub(crate) fn promise(
    txn: &mut WriteTxn,
    compact: &Compact,
    current: Revision,
    compacted: Revision,
) -> Result<CompactResult> {
    if compact.revision <= compacted {
        return Err(compacted_error(compact.revision, compacted));
    }
    if compact.revision > current {
        return Err(future(compact.revision, current));
    }
    if swept(txn)? == finished(compacted) {
        // several tombstones may stand at the old revision: they may go now
        set_swept(txn, Rev::new(compacted.max(0), 0))?;
    }
    txn.put(Tree::Meta, meta::COMPACT_REV, &compact.revision.to_le_bytes())?;
    drop_gaps(txn, compact.revision)?;
    Ok(CompactResult { revision: current })
}

/// How far the log has been swept.
pub(crate) fn swept(txn: &Txn) -> Result<Rev> {
    match txn.get(Tree::Meta, meta::COMPACT_DONE)? {
        Some(bytes) => Rev::from_key(bytes),
        None => Ok(Rev::default()),
    }
}

fn set_swept(txn: &mut WriteTxn, rev: Rev) -> Result<()> {
    txn.put(Tree::Meta, meta::COMPACT_DONE, &rev.to_key())
}

/// Gaps that end at or below a compaction explain nothing any more.
fn drop_gaps(txn: &mut WriteTxn, compacted: Revision) -> Result<()> {
    for (name, end) in gaps(txn)? {
        if end <= compacted {
            txn.delete(Tree::Meta, &name)?;
        }
    }
    Ok(())
}

/// The gaps on record: the name of each in `meta`, and its last revision.
pub(crate) fn gaps(txn: &Txn) -> Result<Vec<(Vec<u8>, Revision)>> {
    let mut gaps = Vec::new();
    let mut cursor = txn.cursor(Tree::Meta)?;
    let mut entry = cursor.seek(meta::GAP)?;
    while let Some((name, bytes)) = entry.filter(|(name, _)| name.starts_with(meta::GAP)) {
        gaps.push((name.to_vec(), codec::number(name, bytes)?));
        entry = cursor.next()?;
    }
    Ok(gaps)
}

/// Whether a promised compaction has not been swept to its end.
pub(crate) fn has_leftover(txn: &Txn) -> Result<bool> {
    let compacted = super::compacted_revision(txn)?;
    Ok(compacted > 0 && swept(txn)? < finished(compacted))
}

/// One step of the sweep: up to `events_max` events. Answers whether the sweep is at its end.
pub(crate) fn sweep_step(txn: &mut WriteTxn, events_max: usize) -> Result<bool> {
    let compacted = super::compacted_revision(txn)?;
    let from = swept(txn)?;
    if compacted <= 0 || from >= finished(compacted) {
        return Ok(true);
    }
    super::time::forget(txn, compacted)?;
    let events = events_from(txn, from, compacted, events_max)?;
    let done = events.len() < events_max;
    let mut reached = finished(compacted);
    if let Some(last) = events.last().filter(|_| !done) {
        reached = Rev::new(last.rev.main, last.rev.sub.saturating_add(1));
    }
    // in the order of the log, where one page has many of them; all in one transaction
    let mut gone: Vec<Rev> = events.iter().flat_map(|event| event.superseded(compacted)).collect();
    gone.sort_unstable();
    for rev in gone {
        txn.delete(Tree::Log, &rev.to_key())?;
    }
    for event in &events {
        unbury(txn, event, compacted)?;
    }
    set_swept(txn, reached)?;
    Ok(done)
}

/// What the sweep must know of an event.
struct Swept {
    rev: Rev,
    prev: Option<Rev>,
    /// Of a tombstone, the key.
    buried: Option<Vec<u8>>,
}

fn events_from(txn: &Txn, from: Rev, compacted: Revision, events_max: usize) -> Result<Vec<Swept>> {
    let mut events = Vec::new();
    let mut cursor = txn.cursor(Tree::Log)?;
    let mut entry = cursor.seek(&from.to_key())?;
    while let Some((key, record)) = entry.filter(|_| events.len() < events_max) {
        let rev = Rev::from_key(key)?;
        if rev.main > compacted {
            break;
        }
        let event = codec::event(rev, record)?;
        let buried = event.header.tombstone.then(|| event.key.to_vec());
        events.push(Swept { rev, prev: event.header.link.map(|link| link.prev), buried });
        entry = cursor.next()?;
    }
    Ok(events)
}

impl Swept {
    /// What nothing can read any more: the event before this one, and a tombstone below the
    /// compacted revision itself.
    fn superseded(&self, compacted: Revision) -> impl Iterator<Item = Rev> {
        let own = (self.buried.is_some() && self.rev.main < compacted).then_some(self.rev);
        self.prev.into_iter().chain(own)
    }
}

/// Forgets the key of a tombstone that is gone, unless it was buried again since.
fn unbury(txn: &mut WriteTxn, event: &Swept, compacted: Revision) -> Result<()> {
    let Some(key) = event.buried.as_ref().filter(|_| event.rev.main < compacted) else { return Ok(()) };
    let names_it = match txn.get(Tree::Dead, key)? {
        Some(bytes) => codec::dead(key, bytes)?.rev == event.rev,
        None => false,
    };
    if names_it {
        txn.delete(Tree::Dead, key)?;
    }
    Ok(())
}
