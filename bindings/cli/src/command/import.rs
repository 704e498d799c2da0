//! `import`: an export read into a store or a cluster.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use libkv::{
    Code, Compare, CompareResult, Db, Error, KeyValue, Lease, LeaseGrant, LeaseId, Op, OpResponse,
    Put, Range, Txn,
};
use serde::Serialize;

use crate::command::Context;
use crate::command::transfer::{Line, Reader, bar, spinner};
use crate::failure::{Failure, Result};
use crate::notation::escape;
use crate::output::count;
use crate::selection::is_dash;
use crate::target::Access;

const HELP: &str = "\
The file is verified first, all of it, and nothing is written if a line is damaged; standard
input, which comes but once, is verified line by line while it is written. Pairs are written in
txns of up to 128, each on condition that its keys are as they were looked at. A pair that is
there already, with the same value and lease, is passed over: so an import that was interrupted is
run again, and goes on where it was.

A pair keeps its value and its lease, which is granted anew with its full time to live if the
target has no such lease. Revisions and versions are the target's own.

Examples:
  kv -s ./new-store import backup.jsonl
  kv -s etcd://host:2379 import backup.jsonl --dry-run
  kv import backup.jsonl --prefix users/ --overwrite
  kv -s ./a export - | kv -s ./b import -     from store to store, or to a cluster and back
  kv import by-hand.jsonl --no-verify         lines with \"key\" and \"value\" by another hand

Exit status: 3 if a key is there with another value (--if-absent and --overwrite say what then);
8 if the file is damaged.";

/// A txn has at most so many operations: etcd's limit.
const BATCH_PAIRS_MAX: usize = 128;
/// And so many bytes: etcd takes 1.5 MiB.
const BATCH_BYTES_MAX: usize = 1 << 20;
/// How often a batch is looked at again that others wrote to meanwhile.
const RETRIES_MAX: u32 = 64;

/// `kv import`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = HELP)]
pub struct Import {
    /// The file; - is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Only the keys that begin with this
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<std::ffi::OsString>,
    /// Skip keys that exist with another value
    #[arg(long, conflicts_with = "overwrite")]
    if_absent: bool,
    /// Overwrite keys that exist with another value
    #[arg(long)]
    overwrite: bool,
    /// Write nothing; show what would be written
    #[arg(long)]
    dry_run: bool,
    /// Do not attach the pairs to leases
    #[arg(long)]
    no_leases: bool,
    /// Accept lines without sums, header and last line
    #[arg(long)]
    no_verify: bool,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Done {
    dry_run: bool,
    /// Pairs that were not there.
    written: u64,
    /// Pairs that were there with another value.
    overwritten: u64,
    /// Pairs that were there already.
    same: u64,
    /// Pairs that were left alone since their keys have other values.
    left: u64,
    leases_granted: u64,
    /// Pairs that came without the lease that they had, since it is gone.
    without_lease: u64,
}

impl Import {
    /// Runs the command.
    pub fn run(self, context: &mut Context) -> Result<()> {
        let prefix = self
            .prefix
            .as_ref()
            .map(|prefix| context.global.notation.parse(prefix))
            .transpose()?;
        let strict = !self.no_verify;
        let stdin = is_dash(self.file.as_os_str());
        let shown = if stdin {
            "standard input".to_string()
        } else {
            self.file.display().to_string()
        };
        if !stdin {
            verify(&self.file, strict, &shown)?;
        }
        let access = if self.dry_run {
            Access::Read
        } else {
            Access::Create
        };
        let mut work = Work {
            db: context.open(access)?,
            how: &self,
            prefix: prefix.unwrap_or_default(),
            done: Done {
                dry_run: self.dry_run,
                ..Done::default()
            },
            batch: Vec::new(),
            batch_bytes: 0,
            leases: HashMap::new(),
            granted: Vec::new(),
        };
        let imported = if stdin {
            let spinner = spinner("pairs");
            work.all(Reader::new(io::stdin().lock(), strict), &spinner, &shown)
        } else {
            let file = open(&self.file, &shown)?;
            let bar = bar(file.metadata().map_or(0, |metadata| metadata.len()), true);
            work.all(
                Reader::new(
                    BufReader::with_capacity(1 << 20, bar.wrap_read(file)),
                    strict,
                ),
                &bar,
                &shown,
            )
        };
        let done = work.finish();
        imported?;
        match context.out.json {
            true => context.out.json(&done),
            false => context.out.line(done.words()),
        }
    }
}

fn open(path: &Path, shown: &str) -> Result<File> {
    File::open(path).map_err(Failure::io(shown))
}

/// Reads a file to its end, and refuses it if a line is not good.
fn verify(path: &Path, strict: bool, shown: &str) -> Result<()> {
    let file = open(path, shown)?;
    let bar = bar(file.metadata().map_or(0, |metadata| metadata.len()), true);
    let mut reader = Reader::new(
        BufReader::with_capacity(1 << 20, bar.wrap_read(file)),
        strict,
    );
    loop {
        match reader.next_line() {
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(wrong) => {
                return Err(Failure::Damaged(format!(
                    "{shown}: {wrong}; nothing was written"
                )));
            }
        }
    }
    bar.finish_and_clear();
    Ok(())
}

impl Done {
    fn words(&self) -> String {
        let mut parts = vec![match self.dry_run {
            true => format!("{} would be written", count(self.written, "pair")),
            false => format!("{} written", count(self.written, "pair")),
        }];
        let mut part = |number: u64, what: &str| {
            if number > 0 {
                parts.push(format!("{number} {what}"));
            }
        };
        part(
            self.overwritten,
            if self.dry_run {
                "would be overwritten"
            } else {
                "overwritten"
            },
        );
        part(self.same, "there already");
        part(self.left, "left alone, with other values");
        part(
            self.without_lease,
            "without the lease they had, which is gone",
        );
        if self.leases_granted > 0 {
            let would = if self.dry_run {
                "would be granted"
            } else {
                "granted with their full time to live"
            };
            parts.push(format!("{} {would}", count(self.leases_granted, "lease")));
        }
        parts.join(", ")
    }
}

/// An import under way.
struct Work<'a> {
    db: Db,
    how: &'a Import,
    prefix: Vec<u8>,
    done: Done,
    batch: Vec<KeyValue>,
    batch_bytes: usize,
    /// Leases that were looked at, and whether the target has them.
    leases: HashMap<LeaseId, bool>,
    /// Leases that were granted here, kept alive as long as this lasts.
    granted: Vec<Lease>,
}

impl Work<'_> {
    fn all(
        &mut self,
        mut reader: Reader<impl BufRead>,
        progress: &ProgressBar,
        shown: &str,
    ) -> Result<()> {
        loop {
            let line = match reader.next_line() {
                Ok(line) => line,
                Err(wrong) => {
                    // what came before is good, and is not read again
                    self.write_batch()?;
                    let written = self.done.words();
                    return Err(Failure::Damaged(format!(
                        "{shown}: {wrong}; before it: {written}"
                    )));
                }
            };
            match line {
                None => break,
                Some(Line::Lease {
                    id,
                    granted_ttl_seconds,
                }) => self.lease(id, granted_ttl_seconds)?,
                Some(Line::Pair(kv)) if kv.key.starts_with(&self.prefix) => self.pair(kv)?,
                Some(_) => {}
            }
            if progress.length().is_none() {
                progress.set_position(reader.pairs);
            }
        }
        self.write_batch()?;
        progress.finish_and_clear();
        Ok(())
    }

    /// A lease of the file: the target gets it if it has none of this id.
    fn lease(&mut self, id: LeaseId, ttl_seconds: i64) -> Result<()> {
        if self.how.no_leases {
            return Ok(());
        }
        if !self.has_lease(id)? {
            self.done.leases_granted += 1;
            if !self.how.dry_run {
                let granted = self.db.lease_grant(LeaseGrant::new(ttl_seconds).id(id))?;
                self.granted
                    .push(Lease::adopt(self.db.clone(), id, granted.ttl_seconds)?);
            }
            self.leases.insert(id, true);
        }
        Ok(())
    }

    fn has_lease(&mut self, id: LeaseId) -> Result<bool> {
        if let Some(&known) = self.leases.get(&id) {
            return Ok(known);
        }
        let has = self.db.lease_time_to_live(id)?.ttl_seconds >= 0;
        self.leases.insert(id, has);
        Ok(has)
    }

    fn pair(&mut self, mut kv: KeyValue) -> Result<()> {
        if kv.lease != 0 && (self.how.no_leases || !self.has_lease(kv.lease)?) {
            self.done.without_lease += u64::from(!self.how.no_leases);
            kv.lease = 0;
        }
        let bytes = kv.key.len() + kv.value.len();
        if self.batch.len() == BATCH_PAIRS_MAX || self.batch_bytes + bytes > BATCH_BYTES_MAX {
            self.write_batch()?;
        }
        self.batch_bytes += bytes;
        self.batch.push(kv);
        Ok(())
    }

    fn write_batch(&mut self) -> Result<()> {
        let mut batch = std::mem::take(&mut self.batch);
        self.batch_bytes = 0;
        if batch.is_empty() {
            return Ok(());
        }
        // a key that comes twice, as it may in lines by other hands: the last one counts
        let mut seen = HashSet::new();
        batch.reverse();
        batch.retain(|kv| seen.insert(kv.key.clone()));
        batch.reverse();
        for _ in 0..RETRIES_MAX {
            if self
                .try_batch(&batch)
                .map_err(|failure| self.at(failure, &batch))?
            {
                return Ok(());
            }
        }
        let message = format!(
            "others write to keys near {} all the time",
            escape(&batch[0].key)
        );
        Err(Error::new(Code::Conflict, message).into())
    }

    /// Writes what the batch has and the target has not; false if others wrote in between.
    fn try_batch(&mut self, batch: &[KeyValue]) -> Result<bool> {
        let there = self.look(batch)?;
        let mut counts = self.done;
        let mut txn = Txn::new();
        for (kv, found) in batch.iter().zip(&there) {
            match found {
                Some(found) if found.value == kv.value && found.lease == kv.lease => {
                    counts.same += 1;
                    continue;
                }
                Some(_) if self.how.if_absent => {
                    counts.left += 1;
                    continue;
                }
                Some(found) if !self.how.overwrite => return Err(self.differs(found)),
                Some(_) => counts.overwritten += 1,
                None => counts.written += 1,
            }
            let revision = found.as_ref().map_or(0, |found| found.mod_revision);
            txn = txn
                .when(Compare::mod_revision(
                    &kv.key[..],
                    CompareResult::Equal,
                    revision,
                ))
                .and_then(Put::new(&kv.key[..], &kv.value[..]).lease(kv.lease));
        }
        let written = txn.success.is_empty() || self.how.dry_run || self.db.txn(txn)?.succeeded;
        if written {
            self.done = counts;
        }
        Ok(written)
    }

    /// Says of a refusal where it was, and what was done before.
    fn at(&self, failure: Failure, batch: &[KeyValue]) -> Failure {
        match failure {
            // this one has said so
            Failure::Db(error) if error.code() != Code::Exists => {
                let (first, done) = (escape(&batch[0].key), self.done.words());
                Error::new(
                    error.code(),
                    format!("{} (pairs from {first} on; so far {done})", error.message()),
                )
                .into()
            }
            failure => failure,
        }
    }

    /// What the target has under the keys of a batch.
    fn look(&self, batch: &[KeyValue]) -> Result<Vec<Option<KeyValue>>> {
        let reads = batch.iter().map(|kv| Op::from(Range::new(&kv.key[..])));
        let response = self.db.txn(Txn {
            success: reads.collect(),
            ..Txn::new()
        })?;
        Ok(response
            .responses
            .into_iter()
            .map(|response| match response {
                OpResponse::Range(range) => range.kvs.into_iter().next(),
                _ => None,
            })
            .collect())
    }

    fn differs(&self, found: &KeyValue) -> Failure {
        let message = format!(
            "{} is there with another value or lease (revision {}): --if-absent leaves such keys, --overwrite \
             overwrites them; so far {}",
            escape(&found.key),
            found.mod_revision,
            self.done.words()
        );
        Error::new(Code::Exists, message).into()
    }

    /// Leaves the leases to whoever keeps them alive from now on.
    fn finish(self) -> Done {
        for lease in &self.granted {
            lease.stop();
        }
        self.done
    }
}
