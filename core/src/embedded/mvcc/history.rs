//! One key's chain of events, and the events of a stretch of time.
//!
//! An event points to its key's event before it (`prev`) and to an older one (`jump`), as far back
//! as the digits of its depth in skew-binary say. So a read of the past of a key with n versions takes
//! at most 2·⌈log2 n⌉ + 2 steps. A worked example: key a put at revisions 2 to 9 has the depths 0 to 7.
//! Depth 7 jumps to depth 0, depth 6 to 3, depth 3 to 0, the others to the one before. A read at
//! revision 4 (depth 2) starts at depth 7 in `live`: its jump (revision 2) is not above 4, so it
//! takes prev, depth 6; that one jumps to depth 3, revision 5, still above 4; depth 3 jumps to
//! revision 2, too far; its prev is revision 4, the answer.

use std::collections::VecDeque;

use super::read::{Item, Pairs, Walk};
use super::{At, compacted_error, compacted_revision, current_revision, future, readable};
use crate::embedded::codec::{self, Header, Link, LogEvent, Rev};
use crate::embedded::lmdb::{Tree, Txn};
use crate::error::Result;
use crate::model::{Difference, Event, EventKind, KeyRange, KeyValue, Revision};
use crate::request::{Events, KEY_BYTES_MAX, Watch};

/// A page of events or changes stops at so many (with what is made of them they stay in a core's own
/// cache), at so many bytes, or after looking at so many.
const PAGE_EVENTS: usize = 256;
const PAGE_BYTES: usize = 1 << 20;
const PAGE_LOOKED: usize = 20_000;

/// The pair of an entry of `live` or `dead` as it was at `revision`, which is readable.
#[inline]
pub(crate) fn item_at<'t>(
    txn: &'t Txn<'_>,
    entry: Item<'t>,
    revision: Revision,
) -> Result<Option<Item<'t>>> {
    if entry.header.rev.main <= revision {
        return Ok((!entry.header.tombstone).then_some(entry));
    }
    Ok(
        event_before(txn, entry.header, revision, &mut 0)?.map(|event| Item {
            key: entry.key,
            ..event.into()
        }),
    )
}

/// The last event at or before `revision` in the chain of `header`, which is later; none if it is
/// a tombstone or was never there. `steps` counts the records read.
fn event_before<'t>(
    txn: &'t Txn<'_>,
    mut header: Header,
    revision: Revision,
    steps: &mut u32,
) -> Result<Option<LogEvent<'t>>> {
    while let Some(link) = header.link {
        let rev = if link.jump.main > revision {
            link.jump
        } else {
            link.prev
        };
        *steps += 1;
        let event = event_at(txn, rev)?;
        if rev.main <= revision {
            // a swept record was no longer the newest of any readable revision
            return Ok(event.filter(|event| !event.header.tombstone));
        }
        match event {
            Some(event) => header = event.header,
            None => {
                return Err(codec::damaged(
                    "log",
                    &rev.to_key(),
                    "an event that a chain needs is gone",
                ));
            }
        }
    }
    Ok(None)
}

fn event_at<'t>(txn: &'t Txn<'_>, rev: Rev) -> Result<Option<LogEvent<'t>>> {
    match txn.get(Tree::Log, &rev.to_key())? {
        Some(bytes) => codec::event(rev, bytes).map(Some),
        None => Ok(None),
    }
}

/// How an event that comes right after `before` is linked.
pub(crate) fn link_after(txn: &Txn, before: &Header, compacted: Revision) -> Result<Link> {
    let depth = before.link.map_or(0, |link| link.depth);
    let jump = match before.link {
        // nobody enters records at or below the compaction, and they may be gone
        Some(link) if link.jump.main <= compacted && lowest_digit_is_two(depth) => link.jump,
        Some(link) if lowest_digit_is_two(depth) => match event_at(txn, link.jump)? {
            Some(event) => event.header.link.map_or(link.jump, |link| link.jump),
            None => {
                return Err(codec::damaged(
                    "log",
                    &link.jump.to_key(),
                    "an event that a chain needs is gone",
                ));
            }
        },
        _ => before.rev,
    };
    Ok(Link {
        depth: depth + 1,
        prev: before.rev,
        jump,
    })
}

/// Whether the lowest digit of a number that is not 0, in skew-binary (weights 1, 3, 7, 15, …), is
/// 2: then the jumps of the last two events have the same length, and the next one spans both.
fn lowest_digit_is_two(mut number: u64) -> bool {
    let mut last = 0;
    while number > 0 {
        // the greatest weight that fits: one below a power of two
        let weight = (u64::MAX >> 1) >> (number.saturating_add(1).leading_zeros());
        if number == weight {
            return weight == last;
        }
        number -= weight;
        last = weight;
    }
    false
}

/// The newest event of a key, tombstones too.
fn newest(txn: &Txn, key: &[u8]) -> Result<Option<Header>> {
    if key.len() > KEY_BYTES_MAX {
        return Ok(None);
    }
    if let Some(bytes) = txn.get(Tree::Live, key)? {
        return Ok(Some(codec::live(key, bytes)?.0));
    }
    txn.get(Tree::Dead, key)?
        .map(|bytes| codec::dead(key, bytes))
        .transpose()
}

/// The events of one key, newest first: all from the compacted revision on, and if that has none
/// the one before it that is still to be seen at it.
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
        let kv = super::read::pair(event.key, event.value, &event.header);
        events.push(Event {
            kind: kind(&event.header),
            kv,
            prev_kv: None,
        });
        // events of the compacted revision stay together; what is before them may be swept
        let prev = event.header.link.map(|link| link.prev);
        next = prev.filter(|prev| rev.main > compacted || prev.main == compacted);
    }
    Ok(events)
}

fn kind(header: &Header) -> EventKind {
    if header.tombstone {
        EventKind::Delete
    } else {
        EventKind::Put
    }
}

/// The first events of `request`, and the revision up to which it has been looked at.
pub(crate) fn events(txn: &Txn, request: &Events) -> Result<(Vec<Event>, Revision)> {
    let current = current_revision(txn)?;
    let upto = if request.upto > 0 {
        request.upto
    } else {
        current
    };
    if upto > current {
        return Err(future(upto, current));
    }
    let (after, compacted) = (request.after.max(0), compacted_revision(txn)?);
    if after < compacted {
        return Err(compacted_error(after, compacted));
    }
    let mut events = Vec::new();
    let wanted = |event: &LogEvent| request.range.contains(event.key);
    let seen_upto = stretch(
        txn,
        after,
        upto,
        wanted,
        |_| Ok(None),
        |event| events.push(event),
    )?;
    Ok((events, seen_upto))
}

/// What a watch delivers of the revisions from `from` on, up to and with `upto`: the events of the
/// first whole revisions of them, and the revision up to which it has been looked at.
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
    let seen_upto = stretch(txn, from.saturating_sub(1), upto, wanted, before, |event| {
        events.push(event)
    })?;
    Ok((events, seen_upto))
}

/// The pair of an event's key as it was before the event's revision; none if there was none, or if
/// that revision cannot be read any more.
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
            let pair = || super::read::pair(before.key, before.value, &before.header);
            return Ok((!before.header.tombstone).then(pair));
        }
        link = before.header.link;
    }
    Ok(None)
}

/// Hands out the `wanted` events after one revision up to another, as many whole revisions as fit a
/// page; answers the revision up to which it has been looked at.
fn stretch(
    txn: &Txn,
    after: Revision,
    upto: Revision,
    wanted: impl Fn(&LogEvent) -> bool,
    before: impl Fn(&LogEvent) -> Result<Option<KeyValue>>,
    mut each: impl FnMut(Event),
) -> Result<Revision> {
    let mut cursor = txn.cursor(Tree::Log)?;
    let (mut pairs, mut kinds, mut bytes, mut looked) = (Pairs::new(), Vec::new(), 0, 0);
    // seldom asked for, so kept apart: by the number of the event
    let mut before_them: VecDeque<(usize, KeyValue)> = VecDeque::new();
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
                before_them.push_back((kinds.len(), kv));
            }
            kinds.push(kind(&event.header));
        }
        entry = cursor.next()?;
    }
    let mut at = 0;
    pairs.finish_each(|kv| {
        let has_before = before_them.front().is_some_and(|(of, _)| *of == at);
        let prev_kv = if has_before {
            before_them.pop_front().map(|(_, kv)| kv)
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

/// Each event after one revision up to another, as long as `each` wants more after a whole
/// revision: its revision, its key, and whether it is a deletion. Answers the last revision that
/// was looked through.
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

/// The first keys of a range that differ between two revisions, and the key to go on from.
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::embedded::commit::Terms;
    use crate::embedded::opening::open;
    use crate::embedded::store::Store;
    use crate::options::Options;
    use crate::request::{Compact, Delete, Durability, Put, Request};

    fn run(store: &Store, request: impl Into<Request>) {
        store
            .commit()
            .run(request, Terms::own(Durability::None, None))
            .unwrap();
    }

    /// Steps of a read at `revision` of a key that stands in `live`, and the revision it finds.
    fn steps_back(txn: &Txn, key: &[u8], revision: Revision) -> (u32, Option<Revision>) {
        let header = newest(txn, key).unwrap().unwrap();
        let mut steps = 0;
        let found = event_before(txn, header, revision, &mut steps).unwrap();
        (steps, found.map(|event| event.header.rev.main))
    }

    /// At most 2·⌈log2 n⌉ + 2 steps for a key with n versions, counted, not timed.
    fn promised(versions: i64) -> u32 {
        2 * ((versions as f64).log2().ceil() as u32) + 2
    }

    #[test]
    fn the_digits_decide_as_in_the_worked_example() {
        let twos: Vec<u64> = (1..=14)
            .filter(|&depth| lowest_digit_is_two(depth))
            .collect();
        // 2 = 1+1, 5 = 3+1+1, 6 = 3+3, 9 = 7+1+1, 12 = 7+3+1+1, 13 = 7+3+3, 14 = 7+7
        assert_eq!(twos, [2, 5, 6, 9, 12, 13, 14]);
        assert!(!lowest_digit_is_two(u64::MAX) && !lowest_digit_is_two(u64::MAX >> 1));
    }

    #[test]
    fn reading_a_thousand_versions_back_takes_the_promised_steps() {
        let store = open(Path::new(":memory:"), &Options::new()).unwrap();
        for version in 0..1_100 {
            run(&store, Put::new("k", version.to_string()));
        }
        let (current, mut worst) = (1_101, 0);
        for back in 1..1_100 {
            let (steps, found) = steps_back(&store.env().read().unwrap(), b"k", current - back);
            assert_eq!(found, Some(current - back));
            assert!(
                steps <= promised(1_100),
                "{steps} steps for {back} versions back"
            );
            worst = worst.max(steps);
        }
        assert!(
            worst > 10,
            "the walk must be counted: at most {worst} steps"
        );
    }

    #[test]
    fn the_promise_holds_over_deletions_and_after_a_compaction() {
        let store = open(Path::new(":memory:"), &Options::new()).unwrap();
        for version in 0..600 {
            match version % 7 {
                6 => run(&store, Delete::new("k")),
                _ => run(&store, Put::new("k", version.to_string())),
            }
        }
        run(&store, Compact::new(300).physical(true));
        for version in 0..600 {
            run(&store, Put::new("k", version.to_string()));
        }
        let txn = store.env().read().unwrap();
        for revision in 300..1_200 {
            let (steps, found) = steps_back(&txn, b"k", revision);
            let deleted = revision <= 601 && (revision - 2) % 7 == 6;
            assert_eq!(found, (!deleted).then_some(revision), "at {revision}");
            assert!(steps <= promised(1_200), "{steps} steps at {revision}");
        }
    }
}
