//! Watchers of the model: a filter over all events, and a position in them.

use std::collections::BTreeMap;

use libkv::*;

use super::state::WatchModel;
use super::{Model, ReadAt, event, inside, refuse};
use crate::script::{self, Step};

/// A watcher with `progress` reports after this number of seconds without a batch.
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
    /// A new watcher.
    ///
    /// # Errors
    ///
    /// As a store: `compacted`, `invalid_argument`.
    pub fn watcher(&self, watch: &Watch) -> Result<WatchModel> {
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
        Ok(WatchModel {
            watch,
            next,
            ended: None,
            delivered: self.leases.now,
            report: false,
        })
    }

    /// The batches that a watch must deliver from a revision on, if the store is compacted to
    /// `compacted`.
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
                    let before = self.at(key, ReadAt::Revision(version.main - 1));
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

    /// The first batch that was not delivered to a watcher, or none.
    pub fn pending(&self, watcher: &WatchModel) -> Option<WatchBatch> {
        self.pending_at(watcher, self.compacted)
    }

    /// As [`Model::pending`], for the time when the store was compacted to `compacted`.
    pub fn pending_at(&self, watcher: &WatchModel, compacted: Revision) -> Option<WatchBatch> {
        let first = self
            .deliverable(&watcher.watch, watcher.next, compacted)
            .into_iter()
            .next();
        first.map(|(revision, events)| WatchBatch::new(revision, events))
    }

    /// Takes a watcher's next batch, or returns why it has ended.
    ///
    /// # Errors
    ///
    /// The reason why the watcher ended.
    pub fn take_batch(&self, watcher: &mut WatchModel) -> Result<Option<WatchBatch>> {
        if let Some(error) = &watcher.ended {
            return Err(error.clone());
        }
        let batch = match self.pending(watcher) {
            Some(batch) => {
                watcher.next = batch.revision + 1;
                batch
            }
            None if watcher.report => WatchBatch::new(self.revision, Vec::new()),
            None => {
                watcher.next = watcher.next.max(self.revision + 1);
                return Ok(None);
            }
        };
        (watcher.delivered, watcher.report) = (self.leases.now, false);
        Ok(Some(batch))
    }

    /// Before a compaction to `revision`: ends the watchers that still have a batch below it.
    pub(super) fn end_compacted_watchers(&mut self, revision: Revision) {
        let mut watchers = std::mem::take(&mut self.watchers);
        for watcher in watchers.values_mut() {
            if watcher.ended.is_none()
                && self
                    .pending(watcher)
                    .is_some_and(|batch| batch.revision < revision)
            {
                watcher.ended = compacted::<()>().err();
                self.reach("watcher ended by a compaction");
            }
            watcher.next = watcher.next.max(revision);
        }
        self.watchers = watchers;
    }

    pub(super) fn request_progress_reports(&mut self) {
        let now = self.leases.now;
        for watcher in self
            .watchers
            .values_mut()
            .filter(|watcher| watcher.watch.progress)
        {
            watcher.report |= now - watcher.delivered >= PROGRESS;
        }
    }

    pub(super) fn watch(&mut self, step: &Step) -> Result<String> {
        if let Step::Watch(name, watch) = step {
            self.watchers.remove(name);
            let watcher = self.watcher(watch)?;
            self.watchers.insert(name.clone(), watcher);
            return Ok(format!("watching {name}"));
        }
        let (Step::Next(name) | Step::Idle(name) | Step::Resume(name) | Step::Cancel(name)) = step
        else {
            unreachable!("{step:?} is not a step of a watcher")
        };
        let Some(mut watcher) = self.watchers.remove(name) else {
            return Ok(format!("no watcher {name}"));
        };
        if let Step::Cancel(_) = step {
            watcher
                .ended
                .get_or_insert(Error::new(Code::Cancelled, "the watcher was cancelled"));
            self.watchers.insert(name.clone(), watcher);
            return Ok("cancelled".into());
        }
        let taken = self.take_batch(&mut watcher);
        let next = watcher.next;
        self.watchers.insert(name.clone(), watcher);
        Ok(match (taken?, step) {
            (Some(batch), _) => script::batch(&batch),
            (None, Step::Next(_)) => "nothing".into(),
            (None, Step::Resume(_)) => format!("resume {next}"),
            (None, _) => "idle".into(),
        })
    }
}
