//! `import`: reads an export into a store or a cluster.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use libkv::{
    Code, Compare, CompareResult, Db, Error, KeyValue, Lease, LeaseGrant, LeaseId, OpResponse, Put,
    Range, Txn,
};
use serde::Serialize;

use crate::command::Context;
use crate::command::transfer::{Line, Reader, Unit, Verify, bar, spinner};
use crate::failure::{Failure, Result};
use crate::notation::escape;
use crate::output::count;
use crate::selection::is_dash;
use crate::target::Access;

const HELP: &str = "\
Verifies the complete file first and writes nothing if a line is damaged. Standard input is
verified line by line while it is written. Pairs are written in txns of at most 128; a txn is
retried if one of its keys changes meanwhile. Pairs that exist with the same value and lease are
skipped, so an interrupted import can be run again.

A pair keeps its value and its lease. If the target does not have the lease, it is granted with
its full time to live. Revisions and versions are those of the target.

Examples:
  kv -s ./new-store import backup.jsonl
  kv -s etcd://host:2379 import backup.jsonl --dry-run
  kv import backup.jsonl --prefix users/ --overwrite
  kv -s ./a export - | kv -s ./b import -     copy one store to another
  kv import by-hand.jsonl --no-verify         lines with \"key\" and \"value\" only

Exit status: 3 if a key exists with another value (without --if-absent and --overwrite);
8 if the file is damaged.";

/// The maximum number of operations in a txn: etcd's limit.
const BATCH_PAIRS_MAX: usize = 128;
/// The maximum number of bytes in a txn. etcd accepts 1.5 MiB.
const BATCH_BYTES_MAX: usize = 1 << 20;
/// How often a batch is retried because other clients changed its keys.
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

/// The result of an import.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Counts {
    dry_run: bool,
    /// Pairs that did not exist.
    written: u64,
    /// Pairs that existed with another value.
    overwritten: u64,
    /// Pairs that existed already.
    same: u64,
    /// Pairs that were skipped because their keys have other values.
    left: u64,
    leases_granted: u64,
    /// Pairs that were written without their lease, which no longer exists.
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
        let verify = match self.no_verify {
            true => Verify::PairsOnly,
            false => Verify::Export,
        };
        let stdin = is_dash(self.file.as_os_str());
        let shown = if stdin {
            "standard input".to_string()
        } else {
            self.file.display().to_string()
        };
        if !stdin {
            check(&self.file, verify, &shown)?;
        }
        let access = if self.dry_run {
            Access::Read
        } else {
            Access::Create
        };
        let mut work = Work {
            db: context.open(access)?,
            options: &self,
            prefix: prefix.unwrap_or_default(),
            counts: Counts {
                dry_run: self.dry_run,
                ..Counts::default()
            },
            batch: Vec::new(),
            batch_bytes: 0,
            leases: HashMap::new(),
            granted: Vec::new(),
        };
        let imported = if stdin {
            let spinner = spinner("pairs");
            work.all(Reader::new(io::stdin().lock(), verify), &spinner, &shown)
        } else {
            let file = open(&self.file, &shown)?;
            let bar = bar(
                file.metadata().map_or(0, |metadata| metadata.len()),
                Unit::Bytes,
            );
            work.all(
                Reader::new(
                    BufReader::with_capacity(1 << 20, bar.wrap_read(file)),
                    verify,
                ),
                &bar,
                &shown,
            )
        };
        let counts = work.finish();
        imported?;
        match context.out.json {
            true => context.out.json(&counts),
            false => context.out.line(counts.text()),
        }
    }
}

fn open(path: &Path, shown: &str) -> Result<File> {
    File::open(path).map_err(Failure::io(shown))
}

/// Reads the complete file. An invalid line is an error.
fn check(path: &Path, verify: Verify, shown: &str) -> Result<()> {
    let file = open(path, shown)?;
    let bar = bar(
        file.metadata().map_or(0, |metadata| metadata.len()),
        Unit::Bytes,
    );
    let mut reader = Reader::new(
        BufReader::with_capacity(1 << 20, bar.wrap_read(file)),
        verify,
    );
    loop {
        match reader.next_line() {
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(problem) => {
                return Err(Failure::Damaged(format!(
                    "{shown}: {problem}; nothing was written"
                )));
            }
        }
    }
    bar.finish_and_clear();
    Ok(())
}

impl Counts {
    fn text(&self) -> String {
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
        part(self.same, "unchanged");
        part(self.left, "skipped, with other values");
        part(
            self.without_lease,
            "without their lease, which no longer exists",
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

/// A running import.
struct Work<'a> {
    db: Db,
    options: &'a Import,
    prefix: Vec<u8>,
    counts: Counts,
    batch: Vec<KeyValue>,
    batch_bytes: usize,
    /// Whether the target has a lease, for the leases that were looked up.
    leases: HashMap<LeaseId, bool>,
    /// Leases that this import granted. They are renewed until it ends.
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
                Err(problem) => {
                    // earlier lines are valid, and a pipe cannot be read again
                    self.write_batch()?;
                    let written = self.counts.text();
                    return Err(Failure::Damaged(format!(
                        "{shown}: {problem}; before it: {written}"
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

    /// Grants a lease of the file, unless the target has one with this id.
    fn lease(&mut self, id: LeaseId, ttl_seconds: i64) -> Result<()> {
        if self.options.no_leases {
            return Ok(());
        }
        if !self.has_lease(id)? {
            self.counts.leases_granted += 1;
            if !self.options.dry_run {
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
        if kv.lease != 0 && (self.options.no_leases || !self.has_lease(kv.lease)?) {
            self.counts.without_lease += u64::from(!self.options.no_leases);
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
        // lines of other programs may repeat a key: the last one counts
        let mut seen = HashSet::new();
        batch.reverse();
        batch.retain(|kv| seen.insert(kv.key.clone()));
        batch.reverse();
        for _ in 0..RETRIES_MAX {
            if self
                .try_batch(&batch)
                .map_err(|failure| self.locate(failure, &batch))?
            {
                return Ok(());
            }
        }
        let message = format!(
            "other clients keep changing keys near {}",
            escape(&batch[0].key)
        );
        Err(Error::new(Code::Conflict, message).into())
    }

    /// Writes the pairs that the target does not have. False if another client changed one of the
    /// keys.
    fn try_batch(&mut self, batch: &[KeyValue]) -> Result<bool> {
        let found = self.look_up(batch)?;
        let mut counts = self.counts;
        let mut txn = Txn::new();
        for (kv, found) in batch.iter().zip(&found) {
            match found {
                Some(found) if found.value == kv.value && found.lease == kv.lease => {
                    counts.same += 1;
                    continue;
                }
                Some(_) if self.options.if_absent => {
                    counts.left += 1;
                    continue;
                }
                Some(found) if !self.options.overwrite => return Err(self.differs(found)),
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
        let written = txn.success.is_empty() || self.options.dry_run || self.db.txn(txn)?.succeeded;
        if written {
            self.counts = counts;
        }
        Ok(written)
    }

    /// Adds the position and the counts to an error.
    fn locate(&self, failure: Failure, batch: &[KeyValue]) -> Failure {
        match failure {
            // `differs` has added them
            Failure::Db(error) if error.code() != Code::Exists => {
                let (first, counts) = (escape(&batch[0].key), self.counts.text());
                let at = format!("pairs from {first} on (so far {counts})");
                error.context(at).into()
            }
            failure => failure,
        }
    }

    /// The pairs of the target with the keys of a batch.
    fn look_up(&self, batch: &[KeyValue]) -> Result<Vec<Option<KeyValue>>> {
        let reads = batch.iter().map(|kv| Range::new(&kv.key[..]));
        let response = self.db.txn(Txn::new().and_then_all(reads))?;
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
            "{} exists with another value or lease (revision {}): --if-absent skips such keys, \
             --overwrite overwrites them; so far {}",
            escape(&found.key),
            found.mod_revision,
            self.counts.text()
        );
        Error::new(Code::Exists, message).into()
    }

    /// Stops renewing the leases; from now on that is the task of other programs.
    fn finish(self) -> Counts {
        for lease in &self.granted {
            lease.stop();
        }
        self.counts
    }
}
