//! Events: of one key, of a range of revisions, and the difference between two revisions.

use std::collections::VecDeque;

use super::chain::{event_at, item_at, newest};
use super::pairs::{Pairs, pair};
use super::walk::Walk;
use super::{At, compacted_error, compacted_revision, current_revision, future_error, readable};
use crate::embedded::codec::{self, Header, Link, LogEvent, Rev};
use crate::embedded::lmdb::{Tree, Txn};
use crate::error::Result;
use crate::model::{Difference, Event, EventKind, KeyRange, KeyValue, Revision};
use crate::request::{Events, Watch};

/// A page of events or differences ends at this number of them (which fits, with its copies, into
/// the cache of a processor core), at this number of bytes, or after this number were looked at.
const PAGE_EVENTS: usize = 256;
const PAGE_BYTES: usize = 1 << 20;
const PAGE_LOOKED: usize = 20_000;

/// The events of one key, newest first: all from the compacted revision on. If the key has no event
/// at that revision, also the put before it that is visible there.
pub(crate) fn history(txn: &Txn, key: &[u8], limit: i64) -> Result<Vec<Event>> {
    let most = if limit > 0 {
        limit as usize
    } else {
        usize::MAX
    };
    let compacted = compacted_revision(txn)?;
    let mut events = Vec::new();
    let mut next = newest(txn, key)?.map(|header| header.rev);
    while let Some(rev) = next.filter(|_| events.len() < most) {
        let Some(event) = event_at(txn, rev)? else {
            break;
        };
        if rev.main < compacted && event.header.tombstone {
            break;
        }
        let kv = pair(event.key, event.value, &event.header);
        events.push(Event {
            kind: kind(&event.header),
            kv,
            prev_kv: None,
        });
        // all events of the compacted revision are kept; earlier ones may be swept
        let prev = event.header.link.map(|link| link.prev);
        next = prev.filter(|prev| rev.main > compacted || prev.main == compacted);
    }
    Ok(events)
}

pub(super) fn kind(header: &Header) -> EventKind {
    if header.tombstone {
        EventKind::Delete
    } else {
        EventKind::Put
    }
}

/// The first events of `request`, and the revision up to which the log was read.
pub(crate) fn events(txn: &Txn, request: &Events) -> Result<(Vec<Event>, Revision)> {
    let current = current_revision(txn)?;
    let upto = if request.upto > 0 {
        request.upto
    } else {
        current
    };
    if upto > current {
        return Err(future_error(upto, current));
    }
    let (after, compacted) = (request.after.max(0), compacted_revision(txn)?);
    if after < compacted {
        return Err(compacted_error(after, compacted));
    }
    let mut events = Vec::new();
    let wanted = |event: &LogEvent| request.range.contains(event.key);
    let seen_upto = read_events(
        txn,
        after,
        upto,
        wanted,
        |_| Ok(None),
        |event| events.push(event),
    )?;
    Ok((events, seen_upto))
}

/// What a watch delivers of the revisions `from` to `upto`: the events of the first complete
/// revisions, and the revision up to which the log was read.
pub(crate) fn watched(
    txn: &Txn,
    watch: &Watch,
    from: Revision,
    upto: Revision,
) -> Result<(Vec<Event>, Revision)> {
    let compacted = compacted_revision(txn)?;
    if from < compacted {
        return Err(compacted_error(from, compacted));
    }
    let wanted = |event: &LogEvent| {
        let dropped = if event.header.tombstone {
            watch.no_delete
        } else {
            watch.no_put
        };
        !dropped && watch.range.contains(event.key)
    };
    let before = |event: &LogEvent| {
        if watch.prev_kv {
            before_revision(txn, event, compacted)
        } else {
            Ok(None)
        }
    };
    let mut events = Vec::new();
    let seen_upto = read_events(txn, from.saturating_sub(1), upto, wanted, before, |event| {
        events.push(event)
    })?;
    Ok((events, seen_upto))
}

/// The pair of an event's key before the event's revision. None if the key did not exist, or if
/// that revision can no longer be read.
fn before_revision(txn: &Txn, event: &LogEvent, compacted: Revision) -> Result<Option<KeyValue>> {
    let main = event.header.rev.main;
    if main - 1 < compacted {
        return Ok(None);
    }
    let mut link = event.header.link;
    while let Some(Link { prev, .. }) = link {
        let Some(before) = event_at(txn, prev)? else {
            return Ok(None);
        };
        if prev.main < main {
            let old = || pair(before.key, before.value, &before.header);
            return Ok((!before.header.tombstone).then(old));
        }
        link = before.header.link;
    }
    Ok(None)
}

/// Passes the `wanted` events of the revisions above `after`, up to `upto`, to `each`: as many
/// complete revisions as fit into a page. Returns the revision up to which the log was read.
fn read_events(
    txn: &Txn,
    after: Revision,
    upto: Revision,
    wanted: impl Fn(&LogEvent) -> bool,
    before: impl Fn(&LogEvent) -> Result<Option<KeyValue>>,
    mut each: impl FnMut(Event),
) -> Result<Revision> {
    let mut cursor = txn.cursor(Tree::Log)?;
    let (mut pairs, mut kinds, mut bytes, mut looked) = (Pairs::new(), Vec::new(), 0, 0);
    // by the index of the event; in a list of its own, since few watches need it
    let mut befores: VecDeque<(usize, KeyValue)> = VecDeque::new();
    let mut last = after;
    let mut entry = cursor.seek(&Rev::new(after.saturating_add(1), 0).to_key())?;
    let mut seen_upto = upto.max(after);
    while let Some((key, record)) = entry {
        let rev = Rev::from_key(key)?;
        if rev.main > upto {
            break;
        }
        let full = kinds.len() >= PAGE_EVENTS || bytes >= PAGE_BYTES || looked >= PAGE_LOOKED;
        if full && rev.main > last {
            seen_upto = last;
            break;
        }
        (last, looked) = (rev.main, looked + 1);
        let event = codec::event(rev, record)?;
        if wanted(&event) {
            bytes += event.key.len() + event.value.len();
            pairs.push(event.key, event.value, &event.header);
            if let Some(kv) = before(&event)? {
                befores.push_back((kinds.len(), kv));
            }
            kinds.push(kind(&event.header));
        }
        entry = cursor.next()?;
    }
    let mut at = 0;
    pairs.finish_each(|kv| {
        let has_before = befores.front().is_some_and(|(of, _)| *of == at);
        let prev_kv = if has_before {
            befores.pop_front().map(|(_, kv)| kv)
        } else {
            None
        };
        each(Event {
            kind: kinds[at],
            kv,
            prev_kv,
        });
        at += 1;
    });
    Ok(seen_upto)
}

/// Passes each event of the revisions above `after`, up to `upto`, to `each`: its revision, its
/// key, and whether it is a deletion. Ends after a complete revision, once `most` events were
/// passed. Returns the last revision that was passed.
pub(crate) fn each_event(
    txn: &Txn,
    after: Revision,
    upto: Revision,
    most: usize,
    mut each: impl FnMut(Revision, &[u8], bool),
) -> Result<Revision> {
    let mut cursor = txn.cursor(Tree::Log)?;
    let (mut last, mut looked) = (after, 0);
    let mut entry = cursor.seek(&Rev::new(after.saturating_add(1), 0).to_key())?;
    while let Some((key, record)) = entry {
        let rev = Rev::from_key(key)?;
        if rev.main > upto {
            break;
        }
        if looked >= most && rev.main > last {
            return Ok(last);
        }
        (last, looked) = (rev.main, looked + 1);
        let event = codec::event(rev, record)?;
        each(rev.main, event.key, event.header.tombstone);
        entry = cursor.next()?;
    }
    Ok(upto)
}

/// The first keys of a range that differ between two revisions, and the key from which to continue.
pub(crate) fn diff(
    txn: &Txn,
    before: Revision,
    after: Revision,
    range: &KeyRange,
) -> Result<(Vec<Difference>, Option<Vec<u8>>)> {
    let current = current_revision(txn)?;
    readable(txn, before, current)?;
    readable(txn, after, current)?;
    let older = before.min(after);
    let mut walk = Walk::new(txn, range, At::Past(older))?;
    let (mut differences, mut bytes, mut looked) = (Vec::new(), 0, 0);
    while let Some(entry) = walk.next_entry()? {
        if differences.len() == PAGE_EVENTS || bytes >= PAGE_BYTES || looked == PAGE_LOOKED {
            return Ok((differences, Some(entry.key.to_vec())));
        }
        looked += 1;
        if entry.header.rev.main <= older {
            continue;
        }
        let at = |revision| -> Result<Option<KeyValue>> {
            item_at(txn, entry, revision)?
                .map(|item| item.pair(txn))
                .transpose()
        };
        let (a, b) = (at(before)?, at(after)?);
        if a.as_ref().map(|kv| kv.mod_revision) != b.as_ref().map(|kv| kv.mod_revision) {
            bytes += [&a, &b]
                .into_iter()
                .flatten()
                .map(|kv| kv.key.len() + kv.value.len())
                .sum::<usize>();
            differences.push(Difference {
                key: entry.key.to_vec().into(),
                before: a,
                after: b,
            });
        }
    }
    Ok((differences, None))
}
