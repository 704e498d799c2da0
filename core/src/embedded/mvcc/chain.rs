//! The chain of a key: from an event back to earlier events of the same key.
//!
//! An event has links to the previous event of its key (`prev`) and to an older one (`jump`). The
//! digits of its depth in skew-binary determine how far `jump` goes back, so a read of a past
//! revision of a key with n versions reads at most 2·⌈log2 n⌉ + 2 records. An example: key a was
//! put at revisions 2 to 9, which have the depths 0 to 7. Depth 7 jumps to depth 0, depth 6 to 3,
//! depth 3 to 0, the others to the one before. A read at revision 4 (depth 2) begins at depth 7 in
//! `live`. Its jump (revision 2) is not above 4, so the read follows prev to depth 6. That jumps to
//! depth 3 (revision 5), which is above 4. Depth 3 jumps to revision 2, too far; its prev is
//! revision 4.

use super::pairs::Item;
use crate::embedded::codec::{self, Header, Link, LogEvent, Rev};
use crate::embedded::lmdb::{Tree, Txn};
use crate::error::Result;
use crate::model::Revision;
use crate::request::KEY_BYTES_MAX;

/// The pair of an entry of `live` or `dead` at `revision`, which can be read.
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

/// The last event at or before `revision` in the chain of `header`, which is later. None if that
/// event is a tombstone or does not exist. `steps` counts the records read.
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
            // a swept event is not the newest of its key at any readable revision
            return Ok(event.filter(|event| !event.header.tombstone));
        }
        match event {
            Some(event) => header = event.header,
            None => {
                return Err(codec::damaged(
                    "log",
                    &rev.to_key(),
                    "an event that a chain needs is missing",
                ));
            }
        }
    }
    Ok(None)
}

/// The event of `rev`, if it was not swept.
pub(super) fn event_at<'t>(txn: &'t Txn<'_>, rev: Rev) -> Result<Option<LogEvent<'t>>> {
    match txn.get(Tree::Log, &rev.to_key())? {
        Some(bytes) => codec::event(rev, bytes).map(Some),
        None => Ok(None),
    }
}

/// The links of an event that follows `before`.
pub(crate) fn link_after(txn: &Txn, before: &Header, compacted: Revision) -> Result<Link> {
    let depth = before.link.map_or(0, |link| link.depth);
    let jump = match before.link {
        // no read follows links to events at or below the compacted revision; they may be swept
        Some(link) if link.jump.main <= compacted && lowest_digit_is_two(depth) => link.jump,
        Some(link) if lowest_digit_is_two(depth) => match event_at(txn, link.jump)? {
            Some(event) => event.header.link.map_or(link.jump, |link| link.jump),
            None => {
                return Err(codec::damaged(
                    "log",
                    &link.jump.to_key(),
                    "an event that a chain needs is missing",
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

/// Whether the lowest digit other than 0 of a number in skew-binary (weights 1, 3, 7, 15, …) is 2.
/// Then the jumps of the last two events have the same length, and the next jump spans both.
fn lowest_digit_is_two(mut number: u64) -> bool {
    let mut last = 0;
    while number > 0 {
        // the largest weight that fits: a power of two minus 1
        let weight = (u64::MAX >> 1) >> (number.saturating_add(1).leading_zeros());
        if number == weight {
            return weight == last;
        }
        number -= weight;
        last = weight;
    }
    false
}

/// The newest event of a key, which may be a tombstone.
pub(super) fn newest(txn: &Txn, key: &[u8]) -> Result<Option<Header>> {
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

    /// The steps of a read at `revision` of a key in `live`, and the revision of the event found.
    fn steps_back(txn: &Txn, key: &[u8], revision: Revision) -> (u32, Option<Revision>) {
        let header = newest(txn, key).unwrap().unwrap();
        let mut steps = 0;
        let found = event_before(txn, header, revision, &mut steps).unwrap();
        (steps, found.map(|event| event.header.rev.main))
    }

    /// The largest number of steps for a key with n versions.
    fn steps_max(versions: i64) -> u32 {
        2 * ((versions as f64).log2().ceil() as u32) + 2
    }

    #[test]
    fn skew_binary_digits_of_the_example() {
        let twos: Vec<u64> = (1..=14)
            .filter(|&depth| lowest_digit_is_two(depth))
            .collect();
        // 2 = 1+1, 5 = 3+1+1, 6 = 3+3, 9 = 7+1+1, 12 = 7+3+1+1, 13 = 7+3+3, 14 = 7+7
        assert_eq!(twos, [2, 5, 6, 9, 12, 13, 14]);
        assert!(!lowest_digit_is_two(u64::MAX) && !lowest_digit_is_two(u64::MAX >> 1));
    }

    #[test]
    fn chain_of_1100_versions_is_read_in_logarithmic_steps() {
        let store = open(Path::new(":memory:"), &Options::new()).unwrap();
        for version in 0..1_100 {
            run(&store, Put::new("k", version.to_string()));
        }
        let (current, mut worst) = (1_101, 0);
        for back in 1..1_100 {
            let (steps, found) = steps_back(&store.env().read().unwrap(), b"k", current - back);
            assert_eq!(found, Some(current - back));
            assert!(
                steps <= steps_max(1_100),
                "{steps} steps for {back} versions back"
            );
            worst = worst.max(steps);
        }
        assert!(worst > 10, "the steps are not counted: at most {worst}");
    }

    #[test]
    fn chain_with_deletions_and_a_compaction_is_read_in_logarithmic_steps() {
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
            assert!(steps <= steps_max(1_200), "{steps} steps at {revision}");
        }
    }
}
