//! `mirror`: copies the keys of a store or a cluster into another, and follows their changes.

use std::ffi::OsString;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use libkv::{
    Canceller, Code, Db, Delete, Error, Event, EventKind, KeyRange, KeyValue, Op, OpResponse, Put,
    Range, Txn, Watch, WatchBatch, Watcher,
};
use serde::Serialize;

use crate::command::Context;
use crate::command::copy::text;
use crate::command::cursor::{Cursor, Part, PartOfCopy, Position, is_passing, patiently};
use crate::command::replicate::{
    CLUSTER_OPS_MAX, CURSORS, Counts, Ends, KeyMap, Limits, Pages, current_revision, next_key,
    pairs_at, puts_for,
};
use crate::command::transfer::{Unit, bar};
use crate::duration::parse_duration_ms;
use crate::failure::{Failure, Result};
use crate::output::{Out, count, note};
use crate::signal::Interrupt;

const HELP: &str = "\
Copies the present state of SOURCE, as `kv copy` does, and then applies each revision of SOURCE to
TARGET in one txn, until Ctrl-C or SIGTERM. A revision with more events than a txn can have is
split. Keys are mirrored without their leases; when a lease ends, its keys are deleted in TARGET.

Each event is applied exactly once, also if the mirror, SOURCE or TARGET is killed: TARGET has a
cursor, a key that is written in the txn of the data. The next start continues there, and ignores
--rev. The mirror waits for a cluster that cannot be reached. If SOURCE has compacted events that
were not read, the mirror reports this and copies again. Then it also deletes the keys of TARGET
with the prefix that SOURCE does not have. (The first copy deletes nothing.)

The cursor is the key \\x00kv/mirror/ followed by the prefix of TARGET. Keys that begin with
\\x00kv/mirror/ are never mirrored or copied, and no text begins with a zero byte, so the cursor
is none of the mirrored keys. --cursor-key names another key, for a user who may write certain
keys only. It begins with \\x00kv/mirror/, or not with the prefix of TARGET. The cursor has the id
of SOURCE, the prefix, the last revision, and the process that writes it. A second mirror takes it
over, and the first one stops. Delete the cursor to begin again with a copy.

Every 30 seconds the mirror shows the number of applied events, the applied revision, and how many
revisions SOURCE is ahead, including those of other keys.

Examples:
  kv mirror ./store etcd://host:2379
  kv mirror etcd://host:2379 ./copy --prefix config/ --dest-prefix host/config/
  kv mirror ./a ./b --prefix users/ --no-dest-prefix --json
  kv mirror ./a etcd://host:2379 --rev 100    from revision 100 on, without a copy

Exit status: 3 if the cursor is of another source or prefix, or another mirror has taken it over,
or if --rev is compacted; 130 after Ctrl-C.";

/// An unwritten position is written when it is this far ahead, so that a compaction does not
/// overtake a mirror of quiet keys.
const QUIET_REVISIONS: i64 = 1_000;
/// How often a store reports its revision to a watcher of quiet keys. A cluster uses its own time.
const QUIET_INTERVAL_MS: u64 = 5_000;

/// `kv mirror`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = HELP)]
pub struct Mirror {
    #[command(flatten)]
    ends: Ends,
    /// Without a cursor: start with the events of this revision, and copy nothing
    #[arg(long, value_name = "REVISION", default_value_t = 0, hide_default_value = true,
        value_parser = clap::value_parser!(i64).range(0..))]
    rev: i64,
    /// The maximum number of operations in a txn of TARGET
    #[arg(long, value_name = "N", default_value_t = CLUSTER_OPS_MAX as u32,
        value_parser = clap::value_parser!(u32).range(2..))]
    max_txn_ops: u32,
    /// The key of the cursor in TARGET
    #[arg(long, value_name = "KEY")]
    cursor_key: Option<OsString>,
    /// How often to show the progress
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration_ms)]
    progress_interval: u64,
}

/// A line of the progress, in JSON.
#[derive(Serialize)]
struct ProgressJson {
    r#type: &'static str,
    /// Applied events of this run.
    events: u64,
    /// The applied revision of the source.
    revision: i64,
    /// Null if the source cannot be reached.
    source_revision: Option<i64>,
    behind: Option<i64>,
}

/// The line after a copy, in JSON.
#[derive(Serialize)]
struct CopiedJson {
    r#type: &'static str,
    revision: i64,
    #[serde(flatten)]
    counts: Counts,
    deleted: u64,
}

/// Ends the watcher of a mirror at a signal.
type Current = Arc<Mutex<Option<Canceller>>>;

impl Mirror {
    /// Runs the command.
    pub fn run(self, context: &mut Context) -> Result<()> {
        let map = self.ends.key_map(context)?;
        let cursor_key = self.cursor_key(context, &map)?;
        let current = Current::default();
        let cancelled = current.clone();
        let interrupt = Interrupt::new(move |_| {
            let current = cancelled.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(canceller) = &*current {
                canceller.cancel();
            }
        })?;
        let (source, target) = self.ends.open(context)?;
        let id = identity(&source)?;
        if id == identity(&target)? {
            refuse_loop(&map, &cursor_key)?;
        }
        let begin = || first_position(&source, &map.source_range(), self.rev);
        let cursor = Cursor::claim(&target, cursor_key, &id, &map.from, &interrupt, begin)?;
        let interval = Duration::from_millis(self.progress_interval.max(1));
        let mut run = Run {
            source: &source,
            target: &target,
            map: &map,
            limits: Limits {
                // one operation is the cursor
                ops: self.max_txn_ops as usize - 1,
                ..Limits::of(&target)
            },
            seen: cursor.position().revision,
            cursor,
            interrupt,
            current,
            out: &mut context.out,
            events: 0,
            interval,
            report_at: Instant::now() + interval,
        };
        run.run()
    }

    fn cursor_key(&self, context: &Context, map: &KeyMap) -> Result<Vec<u8>> {
        let Some(key) = &self.cursor_key else {
            return Ok([CURSORS, &map.to].concat());
        };
        let key = context.global.notation.parse(key)?;
        if key.is_empty() || (key.starts_with(&map.to) && !key.starts_with(CURSORS)) {
            let message = "--cursor-key must not begin with the prefix of the keys in TARGET";
            return Err(Failure::usage(message));
        }
        Ok(key)
    }
}

/// The id of a store, or of a cluster, of which each member has an id of its own after it. A store
/// has the same id when it is served.
fn identity(db: &Db) -> Result<String> {
    let id = db.status()?.store_id;
    Ok(id.get(..16).unwrap_or(&id).to_string())
}

/// A mirror within one store must not read what it writes.
fn refuse_loop(map: &KeyMap, cursor_key: &[u8]) -> Result<()> {
    let overlap = map.from.starts_with(&map.to) || map.to.starts_with(&map.from);
    let cursor = cursor_key.starts_with(&map.from) && !cursor_key.starts_with(CURSORS);
    match overlap || cursor {
        true => Err(Failure::usage(
            "SOURCE and TARGET are the same store, and the mirror would read what it writes",
        )),
        false => Ok(()),
    }
}

/// Where a mirror without a cursor begins.
fn first_position(source: &Db, range: &KeyRange, rev: i64) -> Result<Position> {
    if rev == 0 {
        return Ok(Position {
            revision: current_revision(source, range)?,
            copy: Some(PartOfCopy::default()),
            ..Position::default()
        });
    }
    // this also refuses a revision that is compacted or in the future
    pairs_at(source, range, (rev - 1).max(1))?;
    Ok(Position {
        revision: rev - 1,
        ..Position::default()
    })
}

/// A running mirror.
struct Run<'a> {
    source: &'a Db,
    target: &'a Db,
    map: &'a KeyMap,
    limits: Limits,
    cursor: Cursor<'a>,
    /// The revision up to which there are no other events than those that were applied.
    seen: i64,
    interrupt: Interrupt,
    current: Current,
    out: &'a mut Out,
    events: u64,
    interval: Duration,
    report_at: Instant,
}

impl Run<'_> {
    fn run(&mut self) -> Result<()> {
        let range = self.map.source_range();
        let now = self.patiently_read(|source| current_revision(source, &range))?;
        if now < self.cursor.position().revision {
            let message = format!(
                "SOURCE is at revision {now}, and TARGET has its revision {}: SOURCE was replaced \
                 by an older copy; delete the cursor to begin with it",
                self.cursor.position().revision
            );
            return Err(Error::new(Code::FailedPrecondition, message).into());
        }
        loop {
            let done = match self.cursor.position().copy.clone() {
                Some(part) => self.copy(part),
                None => self.follow(),
            };
            match done {
                Err(Failure::Db(error)) if error.code() == Code::Compacted => {
                    note(format!(
                        "SOURCE has compacted revisions after {}, which were not mirrored: copying \
                         its present state",
                        self.cursor.position().revision
                    ));
                    self.begin_copy()?;
                }
                done => done?,
            }
        }
    }

    fn patiently_read<T>(&self, read: impl Fn(&Db) -> libkv::Result<T>) -> Result<T> {
        patiently(&self.interrupt, "SOURCE", || read(self.source))
    }

    fn write(&mut self, ops: Vec<Op>, position: Position) -> Result<()> {
        self.cursor.write(ops, position, &self.interrupt)?;
        self.report_in_time()
    }

    /// Begins a copy that makes the target equal to the source, with deletions.
    fn begin_copy(&mut self) -> Result<()> {
        let range = self.map.source_range();
        let position = Position {
            revision: self.patiently_read(|source| current_revision(source, &range))?,
            part: None,
            copy: Some(PartOfCopy {
                deletes: true,
                ..PartOfCopy::default()
            }),
        };
        self.write(Vec::new(), position)
    }

    /// Copies the rest of the revision of the cursor.
    fn copy(&mut self, mut part: PartOfCopy) -> Result<()> {
        let (source, range) = (self.source, self.map.source_range());
        let revision = self.cursor.position().revision;
        let bar = bar(
            self.patiently_read(|source| pairs_at(source, &range, revision))?,
            Unit::Pairs,
        );
        let after = part.after();
        let mut pages = Pages::new(source, range, revision, self.limits, after.as_deref());
        let (mut counts, mut deleted) = (Counts::default(), 0);
        loop {
            let page = patiently(&self.interrupt, "SOURCE", || pages.next())?;
            let Some(last) = page.last() else { break };
            let puts;
            (puts, counts) = self.puts_for(&page, counts)?;
            part = part.up_to(&last.key);
            if !puts.is_empty() {
                self.write(puts, self.copying(&part))?;
            }
            bar.inc(page.len() as u64);
        }
        if part.deletes {
            deleted = self.delete_others(revision, &part)?;
        }
        let position = Position {
            copy: None,
            ..self.cursor.position().clone()
        };
        self.write(Vec::new(), position)?;
        bar.finish_and_clear();
        self.seen = revision;
        self.show_copy(revision, counts, deleted)
    }

    fn copying(&self, part: &PartOfCopy) -> Position {
        Position {
            copy: Some(part.clone()),
            ..self.cursor.position().clone()
        }
    }

    fn puts_for(&self, page: &[KeyValue], counts: Counts) -> Result<(Vec<Op>, Counts)> {
        loop {
            match puts_for(self.target, self.map, page, counts) {
                // wait until it can be read again
                Err(Failure::Db(error)) if is_passing(&error) => {
                    let one = Range::new(self.map.target_range()).limit(1).keys_only(true);
                    patiently(&self.interrupt, "TARGET", || self.target.range(one.clone()))?;
                }
                done => return done,
            }
        }
    }

    /// Deletes the keys of the target that the source does not have at a revision.
    fn delete_others(&mut self, revision: i64, part: &PartOfCopy) -> Result<u64> {
        let (mut deleted, mut range) = (0, self.map.target_range());
        let limit = self.limits.ops.min(CLUSTER_OPS_MAX) as i64;
        loop {
            let page = Range::new(range.clone()).keys_only(true).limit(limit);
            let page = patiently(&self.interrupt, "TARGET", || {
                self.target.range(page.clone())
            })?;
            let Some(last) = page.kvs.last() else {
                return Ok(deleted);
            };
            range.key = next_key(&last.key);
            let deletions = self.deletions(&page.kvs, revision)?;
            deleted += deletions.len() as u64;
            if !deletions.is_empty() {
                self.write(deletions, self.copying(part))?;
            }
        }
    }

    /// The deletions of those keys of the target that the source does not have.
    fn deletions(&self, page: &[KeyValue], revision: i64) -> Result<Vec<Op>> {
        let keys = page.iter().map(|kv| &kv.key[..]);
        // the empty key is not valid, so the source does not have it
        let (keys, mut absent): (Vec<&[u8]>, Vec<&[u8]>) = keys
            .filter(|key| !key.starts_with(CURSORS))
            .partition(|key| !self.map.source_key(key).is_empty());
        let reads = keys.iter().map(|key| {
            Range::new(self.map.source_key(key))
                .revision(revision)
                .count_only(true)
        });
        let reads = Txn::new().and_then_all(reads);
        let found = self.patiently_read(|source| source.txn(reads.clone()))?;
        for (key, found) in keys.into_iter().zip(found.responses) {
            if matches!(found, OpResponse::Range(range) if range.count == 0) {
                absent.push(key);
            }
        }
        Ok(absent
            .into_iter()
            .map(|key| Delete::new(key).into())
            .collect())
    }

    /// Applies events until a signal or an error.
    fn follow(&mut self) -> Result<()> {
        let watch = Watch::new(self.map.source_range())
            .start_revision(self.cursor.position().revision + 1)
            .progress(true)
            .progress_interval_ms(QUIET_INTERVAL_MS);
        let watcher = self.patiently_read(|source| source.watch(watch.clone()))?;
        let canceller = watcher.canceller();
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(canceller);
        loop {
            self.interrupt.check()?;
            self.report_in_time()?;
            match self.next(&watcher) {
                Ok(Some(batch)) => self.apply(batch)?,
                Ok(None) => {}
                // a signal
                Err(error) if error.code() == Code::Cancelled => {}
                // the caller watches again
                Err(error) if is_passing(&error) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn next(&self, watcher: &Watcher) -> libkv::Result<Option<WatchBatch>> {
        watcher.next(self.report_at.saturating_duration_since(Instant::now()))
    }

    /// Applies the events of a revision, except those that the cursor has.
    fn apply(&mut self, batch: WatchBatch) -> Result<()> {
        let WatchBatch {
            revision, events, ..
        } = batch;
        let mut ops = Vec::with_capacity(events.len());
        for event in events {
            if let Some(key) = self.map.target_key(&event.kv.key)? {
                ops.push(operation(key, event));
            }
        }
        if ops.is_empty() {
            return self.pass(revision);
        }
        let mut applied = match self.cursor.position().part {
            Some(part) if part.revision == revision => part.events,
            Some(part) => return Err(other_events(part)),
            None => 0,
        };
        let total = ops.len();
        let mut ops = ops.into_iter().skip(applied).peekable();
        while applied < total {
            let (mut list, mut bytes) = (Vec::new(), 0);
            while let Some((op, _)) =
                ops.next_if(|(_, more)| self.limits.has_room(list.len(), bytes, *more))
            {
                bytes += size(&op);
                list.push(op);
            }
            applied += list.len();
            self.events += list.len() as u64;
            let before = self.cursor.position().clone();
            let position = match applied == total {
                true => Position {
                    revision,
                    part: None,
                    ..before
                },
                false => Position {
                    part: Some(Part {
                        revision,
                        events: applied,
                    }),
                    ..before
                },
            };
            self.write(list, position)?;
        }
        self.seen = revision;
        Ok(())
    }

    /// Passes a revision without events of the mirrored keys.
    fn pass(&mut self, revision: i64) -> Result<()> {
        self.seen = self.seen.max(revision);
        let position = self.cursor.position();
        if position.part.is_some() || self.seen < position.revision + QUIET_REVISIONS {
            return Ok(());
        }
        let position = Position {
            revision: self.seen,
            ..position.clone()
        };
        self.write(Vec::new(), position)
    }

    fn show_copy(&mut self, revision: i64, counts: Counts, deleted: u64) -> Result<()> {
        match self.out.json {
            true => self.out.json(&CopiedJson {
                r#type: "copied",
                revision,
                counts,
                deleted,
            })?,
            false => {
                let deleted = match deleted {
                    0 => String::new(),
                    deleted => format!(", {deleted} deleted"),
                };
                let text = text(counts);
                self.out
                    .line(format!("copied revision {revision}: {text}{deleted}"))?;
            }
        }
        self.out.flush()
    }

    /// Shows the progress if it is time.
    fn report_in_time(&mut self) -> Result<()> {
        let now = Instant::now();
        if now < self.report_at {
            return Ok(());
        }
        self.report_at = now + self.interval;
        let range = self.map.source_range();
        let source_revision = match current_revision(self.source, &range) {
            Ok(revision) => Some(revision),
            Err(error) if is_passing(&error) => None,
            Err(error) => return Err(error.into()),
        };
        let revision = self.seen.max(self.cursor.position().revision);
        let behind = source_revision.map(|source| (source - revision).max(0));
        let events = self.events;
        match (self.out.json, behind) {
            (true, _) => self.out.json(&ProgressJson {
                r#type: "progress",
                events,
                revision,
                source_revision,
                behind,
            })?,
            (false, behind) => {
                let behind = behind.map_or("SOURCE is not available".into(), |behind| {
                    format!("SOURCE is {} ahead", count(behind as u64, "revision"))
                });
                let events = count(events, "event");
                self.out
                    .line(format!("{events}, revision {revision}, {behind}"))?;
            }
        }
        self.out.flush()
    }
}

/// The operation of an event, and its size.
fn operation(key: Vec<u8>, event: Event) -> (Op, usize) {
    let op: Op = match event.kind {
        EventKind::Put => Put::new(key, &event.kv.value[..]).into(),
        EventKind::Delete => Delete::new(key).into(),
    };
    let bytes = size(&op);
    (op, bytes)
}

fn size(op: &Op) -> usize {
    match op {
        Op::Put(put) => put.key.len() + put.value.len(),
        Op::Delete(delete) => delete.range.key.len(),
        _ => 0,
    }
}

fn other_events(part: Part) -> Failure {
    let message = format!(
        "SOURCE has no events at revision {}, of which TARGET has the first {}: it is not the same \
         SOURCE; delete the cursor to begin with it",
        part.revision,
        count(part.events as u64, "event")
    );
    Error::new(Code::FailedPrecondition, message).into()
}
