//! Compactions. One commit starts it: from then on reads below the revision fail. Then the sweep
//! removes events from the log, step by step.
//!
//! The sweep goes through the log from where it ended last up to the compacted revision C. Each
//! event there deletes the event before it in its chain, unless that belongs to C itself: at C or
//! later, a read finds this event or a later one. A tombstone below C also deletes itself, and its
//! key from `dead` if that still names the tombstone. All events of C stay, for a watch that starts
//! at C; the next compaction sets the sweep back to C, so that they are removed.

use super::{compacted_error, future_error};
use crate::embedded::codec::{self, Rev, meta};
use crate::embedded::lmdb::{Tree, Txn, WriteTxn};
use crate::error::{Code, Result};
use crate::model::Revision;
use crate::request::{Compact, CompactResponse};

/// The position of a finished sweep to C: (C, `u32::MAX`).
fn finished(compacted: Revision) -> Rev {
    Rev::new(compacted, u32::MAX)
}

/// Records the new compacted revision, or refuses it.
pub(crate) fn start_compaction(
    txn: &mut WriteTxn,
    compact: &Compact,
    current: Revision,
    compacted: Revision,
) -> Result<CompactResponse> {
    if compact.revision <= compacted {
        return Err(compacted_error(compact.revision, compacted));
    }
    if compact.revision > current {
        return Err(future_error(compact.revision, current));
    }
    let kept = Rev::new(compacted.max(0), 0);
    if swept(txn)? > kept {
        // the sweep has kept the events of the old revision; now they are removed
        set_swept(txn, kept)?;
    }
    txn.put(
        Tree::Meta,
        meta::COMPACT_REV,
        &compact.revision.to_le_bytes(),
    )?;
    drop_gaps(txn, compact.revision)?;
    Ok(CompactResponse { revision: current })
}

/// The position of the sweep: all events below it were processed.
pub(crate) fn swept(txn: &Txn) -> Result<Rev> {
    match txn.get(Tree::Meta, meta::COMPACT_DONE)? {
        Some(bytes) => Rev::from_key(bytes),
        None => Ok(Rev::default()),
    }
}

fn set_swept(txn: &mut WriteTxn, rev: Rev) -> Result<()> {
    txn.put(Tree::Meta, meta::COMPACT_DONE, &rev.to_key())
}

/// Removes gaps that end at or below a compaction, where nothing is read any more. If a gap is
/// damaged all stay: `check` reports it, and it must not stop compactions.
fn drop_gaps(txn: &mut WriteTxn, compacted: Revision) -> Result<()> {
    let gaps = match gaps(txn) {
        Err(error) if error.code() == Code::Corrupt => return Ok(()),
        gaps => gaps?,
    };
    for (name, end) in gaps {
        if end <= compacted {
            txn.delete(Tree::Meta, &name)?;
        }
    }
    Ok(())
}

/// The recorded gaps: the name of each in `meta`, and its last revision.
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

/// Whether the sweep of a started compaction is not finished.
pub(crate) fn has_leftover(txn: &Txn) -> Result<bool> {
    let compacted = super::compacted_revision(txn)?;
    Ok(compacted > 0 && (swept(txn)? < finished(compacted) || !is_dead_searched(txn)?))
}

/// One step of the sweep, of up to `events_max` events. Returns whether the sweep is finished.
pub(crate) fn sweep_step(txn: &mut WriteTxn, events_max: usize) -> Result<bool> {
    if !has_leftover(txn)? {
        return Ok(true);
    }
    let (compacted, from) = (super::compacted_revision(txn)?, swept(txn)?);
    if !is_dead_searched(txn)? && !search_dead_step(txn, from, compacted, events_max)? {
        return Ok(false);
    }
    super::time::remove_compacted_minutes(txn, compacted)?;
    let events = events_from(txn, from, compacted, events_max)?;
    let done = events.len() < events_max;
    let mut reached = finished(compacted);
    if let Some(last) = events.last().filter(|_| !done) {
        reached = Rev::new(last.rev.main, last.rev.sub.saturating_add(1));
    }
    // in the order of the log, where many are in the same page
    let mut removed: Vec<Rev> = events
        .iter()
        .flat_map(|event| event.superseded(compacted))
        .collect();
    removed.sort_unstable();
    for rev in removed {
        txn.delete(Tree::Log, &rev.to_key())?;
    }
    for event in &events {
        remove_dead_key(txn, event, compacted)?;
    }
    set_swept(txn, reached)?;
    Ok(done)
}

/// An event, as far as the sweep needs it.
struct SweepEvent {
    rev: Rev,
    prev: Option<Rev>,
    /// The key, if the event is a tombstone.
    deleted_key: Option<Vec<u8>>,
}

fn events_from(
    txn: &Txn,
    from: Rev,
    compacted: Revision,
    events_max: usize,
) -> Result<Vec<SweepEvent>> {
    let mut events = Vec::new();
    let mut cursor = txn.cursor(Tree::Log)?;
    let mut entry = cursor.seek(&from.to_key())?;
    while let Some((key, record)) = entry.filter(|_| events.len() < events_max) {
        let rev = Rev::from_key(key)?;
        if rev.main > compacted {
            break;
        }
        events.push(match codec::event(rev, record) {
            Ok(event) => {
                let deleted_key = event.header.tombstone.then(|| event.key.to_vec());
                SweepEvent {
                    rev,
                    prev: event.header.link.map(|link| link.prev),
                    deleted_key,
                }
            }
            // `check` reports it; it stays, and the sweep continues
            Err(_) => SweepEvent {
                rev,
                prev: None,
                deleted_key: None,
            },
        });
        entry = cursor.next()?;
    }
    Ok(events)
}

impl SweepEvent {
    /// The events that nothing can read any more: the event before this one, and this one if it is
    /// a tombstone. Events of the compacted revision stay, since a watch may start there.
    fn superseded(&self, compacted: Revision) -> impl Iterator<Item = Rev> {
        let own = self.deleted_key.is_some().then_some(self.rev);
        self.prev
            .into_iter()
            .chain(own)
            .filter(move |rev| rev.main < compacted)
    }
}

/// Removes the key of a removed tombstone from `dead`, unless a later tombstone is there.
fn remove_dead_key(txn: &mut WriteTxn, event: &SweepEvent, compacted: Revision) -> Result<()> {
    let Some(key) = event
        .deleted_key
        .as_ref()
        .filter(|_| event.rev.main < compacted)
    else {
        return Ok(());
    };
    let names_it = match txn.get(Tree::Dead, key)? {
        Some(bytes) => codec::dead(key, bytes)?.rev == event.rev,
        None => false,
    };
    if names_it {
        txn.delete(Tree::Dead, key)?;
    }
    Ok(())
}

/// Whether all of `dead` was searched for tombstones that an earlier version left.
fn is_dead_searched(txn: &Txn) -> Result<bool> {
    Ok(txn
        .get(Tree::Meta, meta::DEAD_SWEPT)?
        .is_some_and(<[u8]>::is_empty))
}

/// Removes tombstones that the sweep of an earlier version has left, in up to `entries_max` entries
/// of `dead`. Returns whether all of `dead` was searched.
///
/// In earlier versions a compaction in the middle of a sweep did not set it back, so tombstones of the
/// compacted revision that the sweep had passed stayed. Each of them is the newest event of its
/// key, because a later event deletes the one before it. So `dead` names them all.
fn search_dead_step(
    txn: &mut WriteTxn,
    from: Rev,
    compacted: Revision,
    entries_max: usize,
) -> Result<bool> {
    let start = txn
        .get(Tree::Meta, meta::DEAD_SWEPT)?
        .unwrap_or_default()
        .to_vec();
    let (mut left, mut looked, mut next) = (Vec::new(), 0, Vec::new());
    let mut cursor = txn.cursor(Tree::Dead)?;
    // a store that was never swept has no such tombstones
    let mut entry = if from > Rev::default() {
        cursor.seek(&start)?
    } else {
        None
    };
    while let Some((key, bytes)) = entry {
        if looked == entries_max {
            next = key.to_vec();
            break;
        }
        looked += 1;
        // `check` reports a damaged entry
        match codec::dead(key, bytes) {
            Ok(header) if header.rev < from && header.rev.main < compacted => {
                left.push((key.to_vec(), header.rev))
            }
            _ => {}
        }
        entry = cursor.next()?;
    }
    drop(cursor);
    for (key, rev) in left {
        txn.delete(Tree::Log, &rev.to_key())?;
        txn.delete(Tree::Dead, &key)?;
    }
    txn.put(Tree::Meta, meta::DEAD_SWEPT, &next)?;
    Ok(next.is_empty())
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::sync::Arc;

    use super::*;
    use crate::embedded::check::check;
    use crate::embedded::commit::Terms;
    use crate::embedded::mvcc::{current_revision, history};
    use crate::embedded::opening::open;
    use crate::embedded::store::Store;
    use crate::model::{EventKind, KeyRange};
    use crate::options::Options;
    use crate::request::{Delete, Durability, Op, Put, Request, Txn as TxnRequest, Watch};

    const KEYS: usize = 10;

    fn run(store: &Store, request: impl Into<Request>) {
        store
            .commit()
            .run(request, Terms::own(Durability::Sync, None))
            .expect("written");
    }

    /// Changes the trees as a group does, but without the worker, which would sweep too.
    fn write<T>(store: &Store, work: impl FnOnce(&mut WriteTxn) -> Result<T>) -> T {
        let _held = store
            .guard()
            .lock_writer(None, None)
            .expect("the write lock");
        let mut txn = store.env().write().expect("a transaction");
        let result = work(&mut txn).expect("done");
        txn.commit(false).expect("committed");
        result
    }

    fn compacted_to(store: &Store, revision: Revision) {
        write(store, |txn| {
            let (current, compacted) = crate::embedded::mvcc::revisions(txn)?;
            start_compaction(txn, &Compact::new(revision), current, compacted).map(drop)
        });
    }

    fn step(store: &Store, events_max: usize) -> bool {
        write(store, |txn| sweep_step(txn, events_max))
    }

    fn finish(store: &Store) {
        while !step(store, 3) {}
    }

    /// A store in which all keys are put in revision 2 and deleted in revision 3; then another key
    /// is put five times.
    fn deleted(path: &Path) -> Arc<Store> {
        let store = open(path, &Options::new()).expect("a store");
        let puts = (0..KEYS).map(|n| Op::Put(Put::new(format!("key {n}"), "v")));
        run(
            &store,
            TxnRequest {
                success: puts.collect(),
                ..TxnRequest::new()
            },
        );
        run(&store, Delete::new(KeyRange::prefix("key")));
        for n in 0..5 {
            run(&store, Put::new("other", n.to_string()));
        }
        store
    }

    fn entries(store: &Store) -> (u64, u64) {
        let txn = store.env().read().expect("a reader");
        (
            txn.entries(Tree::Log).expect("log"),
            txn.entries(Tree::Dead).expect("dead"),
        )
    }

    fn problems(store: &Store) -> Vec<String> {
        let report = check(&store.env().read().expect("a reader")).expect("checked");
        report
            .problems
            .iter()
            .map(|problem| format!("{} {}", problem.invariant, problem.message))
            .collect()
    }

    fn scratch(name: &str) -> PathBuf {
        let path =
            std::env::temp_dir().join(format!("libkv-compact-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        path
    }

    #[test]
    fn sweep_interrupted_by_a_compaction_leaves_no_tombstone() {
        // the sweep to 3 takes 10 puts and 10 tombstones, 3 at a time
        for steps in 0..8 {
            let store = deleted(Path::new(":memory:"));
            compacted_to(&store, 3);
            for _ in 0..steps {
                step(&store, 3);
            }
            compacted_to(&store, 4);
            finish(&store);
            assert_eq!(
                (problems(&store), entries(&store)),
                (vec![], (5, 0)),
                "after {steps} steps"
            );
        }
    }

    #[test]
    fn sweep_with_compactions_and_crashes_between_steps_leaves_no_tombstone() {
        let path = scratch("compactions");
        for steps_each in 1..8 {
            let mut store = deleted(&path);
            for revision in 3..=8 {
                compacted_to(&store, revision);
                for _ in 0..steps_each {
                    step(&store, 3);
                }
                assert_eq!(problems(&store), Vec::<String>::new());
                drop(store);
                store = open(&path, &Options::new()).expect("opened again");
            }
            finish(&store);
            assert_eq!(
                (problems(&store), entries(&store)),
                (vec![], (1, 0)),
                "{steps_each} steps each"
            );
            drop(store);
            std::fs::remove_dir_all(&path).expect("removed");
        }
    }

    /// Earlier versions set the sweep back only if it was finished.
    #[test]
    fn sweep_removes_tombstones_that_an_earlier_version_left() {
        for reached in [0, 4, KEYS as u32] {
            let store = deleted(Path::new(":memory:"));
            compacted_to(&store, 3);
            finish(&store);
            write(&store, |txn| {
                set_swept(txn, Rev::new(3, reached))?;
                txn.put(Tree::Meta, meta::COMPACT_REV, &5i64.to_le_bytes())?;
                txn.delete(Tree::Meta, meta::DEAD_SWEPT)
            });
            // later events, which must stay
            run(&store, Put::new("late", "v"));
            run(&store, Delete::new("late"));
            let mut steps = 0;
            while !step(&store, 3) {
                steps += 1;
            }
            assert!(steps >= 3, "{steps} steps of 3 entries for {KEYS}");
            assert_eq!(
                (problems(&store), entries(&store)),
                (vec![], (6, 1)),
                "reached {reached}"
            );
        }
    }

    #[test]
    fn compaction_passes_a_damaged_minute_and_gap() {
        let store = deleted(Path::new(":memory:"));
        write(&store, |txn| {
            txn.put(Tree::Side, &codec::minute_name(1), b"no number")?;
            txn.put(
                Tree::Meta,
                &[meta::GAP, &7i64.to_be_bytes()].concat(),
                b"no number",
            )
        });
        compacted_to(&store, 8);
        finish(&store);
        assert_eq!(entries(&store), (1, 0));
    }

    #[test]
    fn sweep_passes_a_damaged_event() {
        let store = deleted(Path::new(":memory:"));
        write(&store, |txn| {
            txn.put(Tree::Log, &Rev::new(2, 4).to_key(), b"no event")
        });
        compacted_to(&store, 8);
        finish(&store);
        // the last put of the other key is left; the tombstone has deleted the damaged event before
        // it
        assert_eq!((problems(&store), entries(&store)), (vec![], (1, 0)));
    }

    /// A put, then puts and deletions of the same key in one revision.
    fn several(store: &Store) {
        run(store, Put::new("k", "before"));
        let nested = |op: Op| {
            Op::Txn(TxnRequest {
                success: vec![op],
                ..TxnRequest::new()
            })
        };
        let ops = vec![
            nested(Put::new("k", "1").into()),
            nested(Put::new("k", "2").into()),
            nested(Delete::new("k").into()),
            nested(Put::new("k", "3").into()),
            nested(Delete::new("k").into()),
        ];
        run(
            store,
            TxnRequest {
                success: ops,
                ..TxnRequest::new()
            },
        );
    }

    #[test]
    fn compacted_revision_keeps_its_events_until_the_next_compaction() {
        let store = open(Path::new(":memory:"), &Options::new()).expect("a store");
        several(&store);
        let watch = Watch::new("k").prev_kv(true);
        let seen = || {
            let txn = store.env().read().expect("a reader");
            let (events, _) =
                history::watched(&txn, &watch, 3, current_revision(&txn).expect("it"))
                    .expect("read");
            let kinds: Vec<_> = events.iter().map(|event| event.kind).collect();
            let befores = events
                .iter()
                .filter(|event| event.prev_kv.is_some())
                .count();
            (
                kinds,
                befores,
                history::history(&txn, b"k", 0).expect("read").len(),
            )
        };
        use EventKind::{Delete as Del, Put as Set};
        let all = vec![Set, Set, Del, Set, Del];
        assert_eq!(seen(), (all.clone(), 5, 6));
        compacted_to(&store, 3);
        assert_eq!(seen(), (all.clone(), 0, 5), "started");
        finish(&store);
        assert_eq!((seen(), problems(&store)), ((all, 0, 5), vec![]), "swept");
        run(&store, Put::new("k", "after"));
        assert_eq!(seen().0.len(), 6);
        for n in 0..20 {
            run(&store, Put::new("k", n.to_string()));
        }
        assert_eq!(
            problems(&store),
            Vec::<String>::new(),
            "links from later events"
        );
        compacted_to(&store, 4);
        finish(&store);
        assert_eq!(
            (problems(&store), entries(&store)),
            (vec![], (21, 0)),
            "the next compaction removes them"
        );
    }
}
