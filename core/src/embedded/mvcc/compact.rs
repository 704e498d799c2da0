//! Compaction: one commit promises, from which on reads below fail; then steps sweep the log.
//!
//! The sweep goes through the log from where it was left to the promised revision C. Each event
//! there deletes the event before it in its chain, unless that is of C itself: at C or later this
//! event, or a later one, is the result of a read. A tombstone below C goes itself, and its key from
//! `dead` if that still names it. Everything at C stays, for a watch from C; the next promise sets
//! the sweep back to C for it.

use super::{compacted_error, future_error};
use crate::embedded::codec::{self, Rev, meta};
use crate::embedded::lmdb::{Tree, Txn, WriteTxn};
use crate::error::{Code, Result};
use crate::model::Revision;
use crate::request::{Compact, CompactResponse};

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
) -> Result<CompactResponse> {
    if compact.revision <= compacted {
        return Err(compacted_error(compact.revision, compacted));
    }
    if compact.revision > current {
        return Err(future_error(compact.revision, current));
    }
    let kept = Rev::new(compacted.max(0), 0);
    if swept(txn)? > kept {
        // the sweep has passed events of the old revision that it had to keep: they may go now
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

/// Removes gaps that end at or below a compaction: nothing reads them any more. If a gap is damaged
/// all stay: it is for `check` to report, and must not stop compactions.
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
    Ok(compacted > 0 && (swept(txn)? < finished(compacted) || !healed(txn)?))
}

/// One step of the sweep: up to `events_max` events. Returns whether the sweep is at its end.
pub(crate) fn sweep_step(txn: &mut WriteTxn, events_max: usize) -> Result<bool> {
    if !has_leftover(txn)? {
        return Ok(true);
    }
    let (compacted, from) = (super::compacted_revision(txn)?, swept(txn)?);
    if !healed(txn)? && !heal_step(txn, from, compacted, events_max)? {
        return Ok(false);
    }
    super::time::forget(txn, compacted)?;
    let events = events_from(txn, from, compacted, events_max)?;
    let done = events.len() < events_max;
    let mut reached = finished(compacted);
    if let Some(last) = events.last().filter(|_| !done) {
        reached = Rev::new(last.rev.main, last.rev.sub.saturating_add(1));
    }
    // in the order of the log, where one page has many of them; all in one transaction
    let mut gone: Vec<Rev> = events
        .iter()
        .flat_map(|event| event.superseded(compacted))
        .collect();
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
        events.push(match codec::event(rev, record) {
            Ok(event) => {
                let buried = event.header.tombstone.then(|| event.key.to_vec());
                Swept {
                    rev,
                    prev: event.header.link.map(|link| link.prev),
                    buried,
                }
            }
            // for `check` to name: it stays, and keeps no other from being swept
            Err(_) => Swept {
                rev,
                prev: None,
                buried: None,
            },
        });
        entry = cursor.next()?;
    }
    Ok(events)
}

impl Swept {
    /// What nothing can read any more: the event before this one, and this one if it is a
    /// tombstone. Not if it is of the compacted revision, from which a watch may start.
    fn superseded(&self, compacted: Revision) -> impl Iterator<Item = Rev> {
        let own = self.buried.is_some().then_some(self.rev);
        self.prev
            .into_iter()
            .chain(own)
            .filter(move |rev| rev.main < compacted)
    }
}

/// Forgets the key of a tombstone that is gone, unless it was buried again since.
fn unbury(txn: &mut WriteTxn, event: &Swept, compacted: Revision) -> Result<()> {
    let Some(key) = event.buried.as_ref().filter(|_| event.rev.main < compacted) else {
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

/// Whether the look for tombstones that an earlier version left has gone through all of `dead`.
fn healed(txn: &Txn) -> Result<bool> {
    Ok(txn
        .get(Tree::Meta, meta::DEAD_SWEPT)?
        .is_some_and(<[u8]>::is_empty))
}

/// Removes tombstones that the sweep has passed, up to `entries_max` entries of `dead` at a time.
/// Returns whether it has looked everywhere.
///
/// A promise in the middle of a sweep did not set it back, in earlier versions: tombstones of the
/// compacted revision that it had passed stayed. Each is the newest event of its key, as a later
/// event takes the one before it along. So `dead` names them all.
fn heal_step(
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
    // a store that was never swept has none
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
        // a damaged entry is for `check` to name
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

    /// Work on the trees, as a group does it, but without the worker that would sweep as well.
    fn write<T>(store: &Store, work: impl FnOnce(&mut WriteTxn) -> Result<T>) -> T {
        let _held = store
            .guard()
            .lock_writer(None, None)
            .expect("the writer's lock");
        let mut txn = store.env().write().expect("a transaction");
        let result = work(&mut txn).expect("done");
        txn.commit(false).expect("committed");
        result
    }

    fn promised(store: &Store, revision: Revision) {
        write(store, |txn| {
            let (current, compacted) = crate::embedded::mvcc::revisions(txn)?;
            promise(txn, &Compact::new(revision), current, compacted).map(drop)
        });
    }

    fn step(store: &Store, events_max: usize) -> bool {
        write(store, |txn| sweep_step(txn, events_max))
    }

    fn finish(store: &Store) {
        while !step(store, 3) {}
    }

    /// A store in which all keys are put in revision 2 and deleted in revision 3, and five times after that
    /// another key is put.
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
    fn promise_in_the_middle_of_a_sweep_leaves_no_tombstone() {
        // the sweep to 3 takes 10 puts and 10 tombstones, 3 at a time
        for steps in 0..8 {
            let store = deleted(Path::new(":memory:"));
            promised(&store, 3);
            for _ in 0..steps {
                step(&store, 3);
            }
            promised(&store, 4);
            finish(&store);
            assert_eq!(
                (problems(&store), entries(&store)),
                (vec![], (5, 0)),
                "after {steps} steps"
            );
        }
    }

    #[test]
    fn promise_between_every_two_steps_and_a_crash_there_leave_no_tombstone() {
        let path = scratch("promises");
        for steps_each in 1..8 {
            let mut store = deleted(&path);
            for revision in 3..=8 {
                promised(&store, revision);
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

    /// What earlier versions did: they set the sweep back only if it was at its end.
    #[test]
    fn tombstones_that_an_earlier_version_left_are_swept() {
        for reached in [0, 4, KEYS as u32] {
            let store = deleted(Path::new(":memory:"));
            promised(&store, 3);
            finish(&store);
            write(&store, |txn| {
                set_swept(txn, Rev::new(3, reached))?;
                txn.put(Tree::Meta, meta::COMPACT_REV, &5i64.to_le_bytes())?;
                txn.delete(Tree::Meta, meta::DEAD_SWEPT)
            });
            // alive ones, which must stay
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
    fn damaged_minute_and_gap_do_not_stop_a_compaction() {
        let store = deleted(Path::new(":memory:"));
        write(&store, |txn| {
            txn.put(Tree::Side, &codec::minute_name(1), b"no number")?;
            txn.put(
                Tree::Meta,
                &[meta::GAP, &7i64.to_be_bytes()].concat(),
                b"no number",
            )
        });
        promised(&store, 8);
        finish(&store);
        assert_eq!(entries(&store), (1, 0));
    }

    #[test]
    fn damaged_event_does_not_stop_the_sweep() {
        let store = deleted(Path::new(":memory:"));
        write(&store, |txn| {
            txn.put(Tree::Log, &Rev::new(2, 4).to_key(), b"no event")
        });
        promised(&store, 8);
        finish(&store);
        // the last put of the other key; the damaged event went with the tombstone after it
        assert_eq!((problems(&store), entries(&store)), (vec![], (1, 0)));
    }

    /// Put, put, deleted and put in one revision, and what is there before.
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
    fn events_of_the_compacted_revision_stay_until_the_next_promise() {
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
        promised(&store, 3);
        assert_eq!(seen(), (all.clone(), 0, 5), "promised");
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
        promised(&store, 4);
        finish(&store);
        assert_eq!(
            (problems(&store), entries(&store)),
            (vec![], (21, 0)),
            "the next promise lets them go"
        );
    }
}
