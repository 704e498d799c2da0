//! `status`: what a store says of itself, and what troubles it, in words.

use libkv::{Code, Db, Durability, KeyRange, Range, Status as Said};
use serde::Serialize;

use crate::command::Context;
use crate::failure::Result;
use crate::notation;
use crate::output::{Ink, Out, size};
use crate::target::Access;

const HELP: &str = "\
Lines under `trouble` say what is wrong and what to do: alarms, a writer that holds its lock for
long, a reader that keeps space from being used again.

Examples:
  kv status
  kv status --json | jq .revision
  kv -s etcd://host:2379 status

Exit status: 0 also if there is trouble; `kv check` verifies the store.";

/// A lock held for longer than this is spoken of.
const HELD_LONG_MS: u64 = 1_000;
/// A reader that lies so many commits behind is spoken of.
const BEHIND_LONG: u64 = 1_000;

/// `kv status`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = HELP)]
pub struct Status {}

/// What `--json` shows.
#[derive(Serialize)]
struct Shape<'a> {
    target: &'a str,
    store_id: &'a str,
    revision: i64,
    compacted_revision: Option<i64>,
    keys: Option<u64>,
    leases: u64,
    bytes_on_disk: u64,
    bytes_in_use: u64,
    max_bytes: u64,
    durability: Option<&'static str>,
    readers: u32,
    watchers: u64,
    oldest_reader: u64,
    writer_pid: u32,
    writer_held_ms: u64,
    format_version: u32,
    lmdb_version: &'a str,
    alarms: Vec<&'a str>,
    trouble: Vec<String>,
}

impl Status {
    /// Runs the command.
    pub fn run(self, context: &mut Context) -> Result<()> {
        let db = context.open(Access::Read)?;
        let said = db.status()?;
        let target = match context.in_shell() && !context.global.target.is_named() {
            true => String::new(),
            false => context.global.target.name()?.to_string_lossy().into_owned(),
        };
        let keys = keys(&db, &said)?;
        let trouble = trouble(&said);
        match context.out.json {
            true => context.out.json(&shape(&target, &said, keys, trouble)),
            false => show(
                &mut context.out,
                &target,
                &said,
                keys,
                &trouble,
                db.is_remote(),
            ),
        }
    }
}

/// How many keys there are; none if a cluster's user may not read them all, of whom its status says 0.
fn keys(db: &Db, said: &Said) -> Result<Option<u64>> {
    if said.keys > 0 || !db.is_remote() {
        return Ok(Some(said.keys));
    }
    match db.range(Range::new(KeyRange::all()).count_only(true)) {
        Ok(response) => Ok(u64::try_from(response.count).ok()),
        Err(error) if error.code() == Code::PermissionDenied => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The compacted revision; none if it is not known, which takes the same right.
fn compacted(said: &Said, keys: Option<u64>) -> Option<i64> {
    Some(said.compacted_revision).filter(|revision| *revision > 0 || keys.is_some())
}

fn shape<'a>(
    target: &'a str,
    said: &'a Said,
    keys: Option<u64>,
    trouble: Vec<String>,
) -> Shape<'a> {
    Shape {
        target,
        store_id: &said.store_id,
        revision: said.revision,
        compacted_revision: compacted(said, keys),
        keys,
        leases: said.leases,
        bytes_on_disk: said.bytes_on_disk,
        bytes_in_use: said.bytes_in_use,
        max_bytes: said.max_bytes,
        durability: said.durability.map(durability),
        readers: said.readers,
        watchers: said.watchers,
        oldest_reader: said.oldest_reader,
        writer_pid: said.writer_pid,
        writer_held_ms: said.writer_held_ms,
        format_version: said.format_version,
        lmdb_version: &said.lmdb_version,
        alarms: said.alarms.iter().map(|alarm| alarm.trim()).collect(),
        trouble,
    }
}

fn durability(durability: Durability) -> &'static str {
    match durability {
        Durability::None => "none",
        Durability::Lazy => "lazy",
        Durability::Sync => "sync",
    }
}

fn show(
    out: &mut Out,
    target: &str,
    said: &Said,
    keys: Option<u64>,
    trouble: &[String],
    remote: bool,
) -> Result<()> {
    let mut row = |name: &str, text: String| -> Result<()> {
        out.ink(Ink::Key, format!("{name:<12}"))?;
        out.line(text)
    };
    if !target.is_empty() {
        row(if remote { "cluster" } else { "store" }, target.into())?;
    }
    row("id", said.store_id.clone())?;
    let kept = match compacted(said, keys) {
        None => String::new(),
        Some(..=0) => " (all of the history is kept)".into(),
        Some(compacted) => format!(" (the history is kept from revision {compacted} on)"),
    };
    row("revision", format!("{}{kept}", said.revision))?;
    row(
        "keys",
        keys.map_or("unknown: this user may not read all keys".into(), |keys| {
            keys.to_string()
        }),
    )?;
    row("leases", said.leases.to_string())?;
    let used = format!("{} in use", size(said.bytes_in_use));
    let quota = if said.max_bytes > 0 {
        format!(", quota {}", size(said.max_bytes))
    } else {
        String::new()
    };
    row(
        "size",
        format!("{} on disk, {used}{quota}", size(said.bytes_on_disk)),
    )?;
    if !remote {
        row("readers", said.readers.to_string())?;
        if let Some(kind) = said.durability {
            row("durability", durability(kind).into())?;
        }
        row(
            "format",
            format!("{}, LMDB {}", said.format_version, said.lmdb_version),
        )?;
    }
    for (index, line) in trouble.iter().enumerate() {
        out.ink(
            Ink::Bad,
            format!("{:<12}", if index == 0 { "trouble" } else { "" }),
        )?;
        // some of it is the cluster's own words
        out.line(notation::message(line))?;
    }
    Ok(())
}

/// What is wrong, and what to do about it.
fn trouble(said: &Said) -> Vec<String> {
    let mut trouble = Vec::new();
    for alarm in &said.alarms {
        trouble.push(match alarm {
            alarm if alarm.contains("NOSPACE") => format!(
                "{}: the quota is used up and puts are refused. Make room (kv compact, kv del) or raise the quota, \
                 then `kv alarm disarm`",
                alarm.trim()
            ),
            alarm if alarm.contains("CORRUPT") => {
                format!("{}: writes are refused; `kv check` shows what is damaged", alarm.trim())
            }
            alarm if alarm.contains("POISONED") => {
                "POISONED: the disk failed to take a commit, and writes are refused until every process has closed \
                 the store and it is opened again"
                    .into()
            }
            alarm if alarm.contains("REMOVED") => {
                "REMOVED: the store's files were deleted, and what is in it is lost when the last process closes it. \
                 Save it meanwhile with `kv export`"
                    .into()
            }
            alarm => alarm.trim().to_string(),
        });
    }
    if said.writer_pid != 0 && said.writer_held_ms >= HELD_LONG_MS {
        let seconds = said.writer_held_ms as f64 / 1_000.0;
        trouble.push(format!(
            "process {} has held the write lock for {seconds:.1} s: other writers wait for it",
            said.writer_pid
        ));
    }
    if said.oldest_reader >= BEHIND_LONG {
        trouble.push(format!(
            "a reader lies {} commits behind: what was freed since cannot be used again, and the file grows. Look for \
             a process that hangs in a read",
            said.oldest_reader
        ));
    }
    if said.max_bytes > 0 && said.alarms.is_empty() && said.bytes_in_use >= said.max_bytes / 10 * 9
    {
        trouble.push(
            "more than nine tenths of the quota are used: compact, delete, or raise it".into(),
        );
    }
    trouble
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_said_in_words() {
        assert!(trouble(&Said::default()).is_empty());
        let said = Said {
            alarms: vec!["memberID:1 alarm:NOSPACE ".into(), "POISONED".into()],
            writer_pid: 77,
            writer_held_ms: 2_500,
            oldest_reader: 5_000,
            ..Said::default()
        };
        let words = trouble(&said);
        for (line, word) in
            words
                .iter()
                .zip(["alarm disarm", "opened again", "process 77", "5000 commits"])
        {
            assert!(line.contains(word), "{line}");
        }
        let nearly = Said {
            max_bytes: 100,
            bytes_in_use: 95,
            ..Said::default()
        };
        assert_eq!(trouble(&nearly).len(), 1);
    }
}
