//! `export`: writes all pairs of one revision to a file of JSON lines.

use std::collections::HashSet;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use libkv::{Code, Db, Error, KeyRange, LeaseId, Range};
use serde::Serialize;

use crate::command::Context;
use crate::command::transfer::{
    Footer, Header, LeaseLine, Line, Reader, Unit, VERSION, Verify, Writer, bar,
};
use crate::failure::{Failure, Result};
use crate::json::Pair;
use crate::notation::lease_text;
use crate::output::{count, note};
use crate::selection::{AtOption, Scope, is_dash};
use crate::target::Access;

const HELP: &str = "\
Writes a header (store, revision), every pair with all fields, every lease that a pair is attached
to, and a last line with the count. All pairs are of one revision; writers are not blocked. Each
line has a checksum (CRC-32C) of everything before it, so `kv import` finds altered lines.
--resume completes an interrupted export, unless its revision has been compacted. Only the owner
can read the file (mode 600), as with the files of a store.

Examples:
  kv export backup.jsonl
  kv export backup.jsonl --resume             after an interruption
  kv export --at 24h - users/ --prefix | gzip >users.gz
  kv -s etcd://host:2379 export cluster.jsonl

Exit status: 3 if the file exists, or if the revision was compacted.";

/// `kv export`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = HELP)]
pub struct Export {
    /// The file; - or no file is standard output
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    scope: Scope,
    #[command(flatten)]
    at: AtOption,
    /// Replace an existing file
    #[arg(long)]
    force: bool,
    /// Continue an interrupted export
    #[arg(long, conflicts_with_all = ["force", "at"])]
    resume: bool,
}

/// The result of an export to a file, in JSON.
#[derive(Serialize)]
struct ExportJson<'a> {
    file: &'a str,
    pairs: u64,
    revision: i64,
}

/// The state of an export.
struct Progress {
    revision: i64,
    pairs: u64,
    sum: u32,
    /// The last key that was written.
    last: Option<Vec<u8>>,
    leases: HashSet<LeaseId>,
}

impl Export {
    /// Runs the command.
    pub fn run(self, context: &mut Context) -> Result<()> {
        let range = self.scope.range(context.global.notation)?;
        let db = context.open(Access::Read)?;
        let path = match &self.file {
            Some(path) if !is_dash(path.as_os_str()) => path,
            _ if self.resume || self.force => {
                return Err(Failure::usage("--resume and --force need a file"));
            }
            _ => return self.to_stdout(&db, range, context),
        };
        let shown = path.display().to_string();
        let (file, progress) = match self.resume {
            true => match resume(path, &db, &range)? {
                (Some(file), progress) => (file, progress),
                (
                    None,
                    Progress {
                        pairs, revision, ..
                    },
                ) => {
                    note(format!("{shown} is a complete export already"));
                    let complete = ExportJson {
                        file: &shown,
                        pairs,
                        revision,
                    };
                    return if context.out.json {
                        context.out.json(&complete)
                    } else {
                        Ok(())
                    };
                }
            },
            false => {
                // a read that fails must not create or truncate the file
                let progress = self.begin(&db, &range)?;
                (create(path, self.force)?, progress)
            }
        };
        let file = BufWriter::with_capacity(1 << 20, file);
        let io = Failure::io(&shown);
        let (file, pairs, revision) = write(file, &db, range, progress, &shown)?;
        file.into_inner()
            .map_err(|error| error.into_error())
            .and_then(|file| file.sync_all())
            .map_err(io)?;
        match context.out.json {
            true => context.out.json(&ExportJson {
                file: &shown,
                pairs,
                revision,
            }),
            false => context.out.line(format!(
                "{} of revision {revision} in {shown}",
                count(pairs, "pair")
            )),
        }
    }

    fn begin(&self, db: &Db, range: &KeyRange) -> Result<Progress> {
        let first = Range::new(range.clone())
            .revision(self.at.revision(db)?)
            .keys_only(true)
            .limit(1);
        let revision = match first.revision {
            0 => db.range(first)?.revision,
            revision => db.range(first).map(|_| revision)?,
        };
        Ok(Progress {
            revision,
            pairs: 0,
            sum: 0,
            last: None,
            leases: HashSet::new(),
        })
    }

    fn to_stdout(&self, db: &Db, range: KeyRange, context: &mut Context) -> Result<()> {
        // earlier output comes first
        context.out.flush()?;
        let progress = self.begin(db, &range)?;
        let stdout = BufWriter::with_capacity(1 << 20, io::stdout());
        let (mut stdout, ..) = write(stdout, db, range, progress, "the output")?;
        stdout.flush().map_err(|error| gone(error, "the output"))
    }
}

/// A broken pipe is not an error: the reader has closed it.
fn gone(error: io::Error, what: &str) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::ClosedPipe,
        _ => Failure::Io(what.into(), error),
    }
}

fn create(path: &Path, force: bool) -> Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).mode(OWNER_ONLY);
    match force {
        true => options.create(true).truncate(true),
        false => options.create_new(true),
    };
    let file = options.open(path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            let message = format!("{} exists already", path.display());
            Error::new(Code::Exists, message)
                .with_detail("--force replaces it, --resume continues it")
                .into()
        }
        _ => Failure::Io(path.display().to_string(), error),
    })?;
    close_to_others(&file).map_err(Failure::io(path.display()))?;
    Ok(file)
}

/// Permissions of a file with data, as those of a store's files.
const OWNER_ONLY: u32 = 0o600;

/// Removes the permissions of other users from an existing file.
fn close_to_others(file: &File) -> io::Result<()> {
    let meta = file.metadata()?;
    let mode = meta.permissions().mode() & 0o777;
    // a device or a pipe stores nothing
    match meta.is_file() && mode & !OWNER_ONLY != 0 {
        true => file.set_permissions(Permissions::from_mode(mode & OWNER_ONLY)),
        false => Ok(()),
    }
}

/// Reads an interrupted export and removes its incomplete end. No file if the export is complete.
fn resume(path: &Path, db: &Db, range: &KeyRange) -> Result<(Option<File>, Progress)> {
    let shown = path.display();
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map_err(Failure::io(&shown))?;
    close_to_others(&file).map_err(Failure::io(&shown))?;
    let mut reader = Reader::new(BufReader::with_capacity(1 << 20, &file), Verify::Export);
    let mut progress = Progress {
        revision: 0,
        pairs: 0,
        sum: 0,
        last: None,
        leases: HashSet::new(),
    };
    let mut header = None;
    loop {
        match reader.next_line() {
            Ok(Some(Line::Header(found))) => header = Some(found),
            Ok(Some(Line::Lease { id, .. })) => drop(progress.leases.insert(id)),
            Ok(Some(Line::Pair(kv))) => progress.last = Some(kv.key.to_vec()),
            Ok(Some(Line::End(_))) => {}
            // an interruption leaves nothing after the last line, so this was not written by an
            // export
            Err(problem) if reader.is_complete() => {
                return Err(Failure::Damaged(format!("{shown}: {problem}")));
            }
            // the interruption was at the first invalid line
            Ok(None) | Err(_) => break,
        }
    }
    let Some(header) = header else {
        return Err(Failure::Damaged(format!(
            "{shown}: it does not begin with the header of an export, so it cannot be continued"
        )));
    };
    let expected = Header {
        kv_export: VERSION,
        store_id: db.status()?.store_id,
        ..header.clone()
    }
    .with_range(range);
    if expected.store_id != header.store_id {
        let message = format!(
            "{shown} is an export of the store {}, and this store is {}",
            header.store_id, expected.store_id
        );
        return Err(Failure::usage(message));
    }
    if expected != header {
        return Err(Failure::usage(format!(
            "{shown} is an export of another range of keys"
        )));
    }
    progress.revision = header.revision;
    progress.pairs = reader.pairs;
    progress.sum = reader.sum;
    if reader.is_complete() {
        return Ok((None, progress));
    }
    let good_bytes = reader.good_bytes;
    file.set_len(good_bytes)
        .and_then(|()| file.seek(SeekFrom::Start(good_bytes)))
        .map_err(Failure::io(&shown))?;
    Ok((Some(file), progress))
}

/// Writes the remaining pairs; returns the number of all pairs and their revision.
fn write<W: Write>(
    to: W,
    db: &Db,
    range: KeyRange,
    from: Progress,
    shown: &str,
) -> Result<(W, u64, i64)> {
    let Progress {
        revision,
        mut pairs,
        sum,
        last,
        mut leases,
    } = from;
    let mut writer = Writer::new(to, sum);
    let io = |error| gone(error, shown);
    if sum == 0 {
        let status = db.status()?;
        let (store_id, compacted_revision) =
            (status.store_id, status.compacted_revision.unwrap_or(-1));
        let header = Header {
            kv_export: VERSION,
            store_id,
            revision,
            compacted_revision,
            ..Header::default()
        };
        writer.line(&header.with_range(&range)).map_err(io)?;
    }
    let total = db
        .range(
            Range::new(range.clone())
                .revision(revision)
                .count_only(true),
        )?
        .count;
    let bar = bar(total as u64, Unit::Pairs).with_position(pairs);
    for kv in pairs_after(db, range, revision, last)? {
        let kv = kv?;
        if kv.lease != 0 && leases.insert(kv.lease) {
            let granted_ttl_seconds = db.lease_time_to_live(kv.lease)?.granted_ttl_seconds;
            // an export of an old revision may have pairs whose leases have ended
            if granted_ttl_seconds > 0 {
                writer
                    .line(&LeaseLine {
                        lease_id: lease_text(kv.lease),
                        granted_ttl_seconds,
                    })
                    .map_err(io)?;
            }
        }
        writer.line(&Pair::from(&kv)).map_err(io)?;
        pairs += 1;
        bar.inc(1);
    }
    writer
        .line(&Footer {
            end: true,
            count: pairs,
        })
        .map_err(io)?;
    bar.finish_and_clear();
    Ok((writer.into_inner(), pairs, revision))
}

type Pairs = Box<dyn Iterator<Item = libkv::Result<libkv::KeyValue>>>;

/// The pairs of a range after the one that was written last.
fn pairs_after(
    db: &Db,
    mut range: KeyRange,
    revision: i64,
    last: Option<Vec<u8>>,
) -> Result<Pairs> {
    if let Some(mut next) = last {
        if range.is_single() {
            return Ok(Box::new(std::iter::empty()));
        }
        next.push(0);
        range.key = next;
    }
    Ok(Box::new(db.scan(Range::new(range).revision(revision))?))
}
