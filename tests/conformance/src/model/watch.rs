//! Watchers as they should be: a filter over everything that ever happened, and a position in it.

use std::collections::BTreeMap;

use libkv::*;

use super::state::Watching;
use super::{Model, When, event, inside, refuse};
use crate::script::{self, Step};

/// A watcher that asked for it reports after this number of seconds without a batch.
const PROGRESS: i64 = 600;

/// Events by their revision.
type Batches = BTreeMap<Revision, Vec<Event>>;

fn compacted<T>() -> Result<T> {
    refuse(
        Code::Compacted,
        "mvcc: required revision has been compacted",
    )
}

impl Model {
    /// A watcher that begins now.
    ///
    /// # Errors
    ///
    /// As a store: `compacted`, `invalid_argument`.
    pub fn watching(&self, watch: &Watch) -> Result<Watching> {
        let mut watch = watch.clone();
        if watch.range.key.is_empty() {
            watch.range.key = vec![0];
        }
        let end = watch.range.range_end.as_slice();
        if !end.is_empty() && end != [0] && end <= watch.range.key.as_slice() {
            return refuse(Code::InvalidArgument, "mvcc: watcher range is empty");
        }
        let next = if watch.start_revision == 0 {
            self.revision + 1
        } else {
            watch.start_revision
        };
        if next < 0 || next < self.compacted {
            return compacted();
        }
        Ok(Watching {
            watch,
            next,
            ended: None,
            delivered: self.leases.now,
            report: false,
        })
    }

    /// What a watch has to deliver from a revision on, by revision, if so much is compacted.
    fn deliverable(&self, watch: &Watch, from: Revision, compacted: Revision) -> Batches {
        let mut found = BTreeMap::new();
        for (key, versions) in self
            .keys
            .iter()
            .filter(|(key, _)| inside(&watch.range, key))
        {
            for version in versions
                .iter()
                .filter(|version| version.main >= from.max(compacted))
            {
                let dropped = if version.pair.is_some() {
                    watch.no_put
                } else {
                    watch.no_delete
                };
                if dropped {
                    continue;
                }
                let mut event = event(key, version);
                if watch.prev_kv && version.main > compacted {
                    let before = self.at(key, When::At(version.main - 1));
                    event.prev_kv = before.map(|(main, pair)| super::kv(key, main, pair));
                }
                found.insert((version.main, version.sub), event);
            }
        }
        let mut batches = Batches::new();
        for ((main, _), event) in found {
            batches.entry(main).or_default().push(event);
        }
        batches
    }

    /// The first batch that a watcher has not had, or none.
    pub fn pending(&self, watching: &Watching) -> Option<WatchBatch> {
        self.pending_at(watching, self.compacted)
    }

    /// The same, as it was when no more than this was compacted.
    pub fn pending_at(&self, watching: &Watching, compacted: Revision) -> Option<WatchBatch> {
        let first = self
            .deliverable(&watching.watch, watching.next, compacted)
            .into_iter()
            .next();
        first.map(|(revision, events)| WatchBatch::new(revision, events))
    }

    /// Takes a watcher's next batch, or returns why it has ended.
    ///
    /// # Errors
    ///
    /// The reason of its end.
    pub fn take_batch(&self, watching: &mut Watching) -> Result<Option<WatchBatch>> {
        if let Some(error) = &watching.ended {
            return Err(error.clone());
        }
        let batch = match self.pending(watching) {
            Some(batch) => {
                watching.next = batch.revision + 1;
                batch
            }
            None if watching.report => WatchBatch::new(self.revision, Vec::new()),
            None => {
                watching.next = watching.next.max(self.revision + 1);
                return Ok(None);
            }
        };
        (watching.delivered, watching.report) = (self.leases.now, false);
        Ok(Some(batch))
    }

    /// Before a compaction to `revision`: those that have not read what goes are at their end.
    pub(super) fn overtake_watchers(&mut self, revision: Revision) {
        let mut watchers = std::mem::take(&mut self.watchers);
        for watching in watchers.values_mut() {
            if watching.ended.is_none()
                && self
                    .pending(watching)
                    .is_some_and(|batch| batch.revision < revision)
            {
                watching.ended = compacted::<()>().err();
                self.reach("watcher overtaken by a compaction");
            }
            watching.next = watching.next.max(revision);
        }
        self.watchers = watchers;
    }

    pub(super) fn remind_watchers(&mut self) {
        let now = self.leases.now;
        for watching in self
            .watchers
            .values_mut()
            .filter(|watching| watching.watch.progress)
        {
            watching.report |= now - watching.delivered >= PROGRESS;
        }
    }

    pub(super) fn watch(&mut self, step: &Step) -> Result<String> {
        if let Step::Watch(name, watch) = step {
            self.watchers.remove(name);
            let watching = self.watching(watch)?;
            self.watchers.insert(name.clone(), watching);
            return Ok(format!("watching {name}"));
        }
        let (Step::Next(name) | Step::Idle(name) | Step::Resume(name) | Step::Cancel(name)) = step
        else {
            unreachable!("{step:?} is about no watcher")
        };
        let Some(mut watching) = self.watchers.remove(name) else {
            return Ok(format!("no watcher {name}"));
        };
        if let Step::Cancel(_) = step {
            watching
                .ended
                .get_or_insert(Error::new(Code::Cancelled, "the watcher was cancelled"));
            self.watchers.insert(name.clone(), watching);
            return Ok("cancelled".into());
        }
        let taken = self.take_batch(&mut watching);
        let next = watching.next;
        self.watchers.insert(name.clone(), watching);
        Ok(match (taken?, step) {
            (Some(batch), _) => script::batch(&batch),
            (None, Step::Next(_)) => "nothing".into(),
            (None, Step::Resume(_)) => format!("resume {next}"),
            (None, _) => "idle".into(),
        })
    }
}
