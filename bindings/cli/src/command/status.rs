//! `status`: the numbers of a store, and its problems.

use libkv::{AlarmKind, AlarmMember, Durability};
use serde::Serialize;

use super::alarm::AlarmJson;
use crate::command::Context;
use crate::failure::Result;
use crate::output::{Ink, Out, size};
use crate::target::Access;

const HELP: &str = "\
The lines of `trouble` show problems and what to do about them: alarms, a process that holds the
write lock for a long time, a reader that prevents pages from being reused.

Examples:
  kv status
  kv status --json | jq .revision
  kv -s etcd://host:2379 status

Exit status: 0 even if there are problems; `kv check` verifies the store.";

/// A write lock that is held for this time is a problem.
const HELD_LONG_MS: u64 = 1_000;
/// A reader that is this number of commits behind is a problem.
const BEHIND_LONG: u64 = 1_000;

/// `kv status`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = HELP)]
pub struct Status {}

/// The output of `--json`. A number that cannot be known is `null`.
#[derive(Serialize)]
struct StatusJson<'a> {
    target: &'a str,
    store_id: &'a str,
    revision: i64,
    compacted_revision: Option<i64>,
    keys: Option<u64>,
    leases: Option<u64>,
    bytes_on_disk: u64,
    bytes_in_use: u64,
    max_bytes: Option<u64>,
    durability: Option<&'static str>,
    readers: Option<u32>,
    watchers: u64,
    oldest_reader: Option<u64>,
    writer_pid: Option<u32>,
    writer_held_ms: Option<u64>,
    format_version: Option<u32>,
    lmdb_version: Option<&'a str>,
    alarms: Vec<AlarmJson>,
    poisoned: bool,
    removed: bool,
    trouble: Vec<String>,
}

impl Status {
    /// Runs the command.
    pub fn run(self, context: &mut Context) -> Result<()> {
        let db = context.open(Access::Read)?;
        let status = db.status()?;
        let target = match context.in_shell() && !context.global.target.is_named() {
            true => String::new(),
            false => context.global.target.name()?.to_string_lossy().into_owned(),
        };
        let trouble = trouble(&status);
        match context.out.json {
            true => context.out.json(&json(&target, &status, trouble)),
            false => show(&mut context.out, &target, &status, &trouble, db.is_remote()),
        }
    }
}

fn json<'a>(target: &'a str, status: &'a libkv::Status, trouble: Vec<String>) -> StatusJson<'a> {
    StatusJson {
        target,
        store_id: &status.store_id,
        revision: status.revision,
        compacted_revision: status.compacted_revision,
        keys: status.keys,
        leases: status.leases,
        bytes_on_disk: status.bytes_on_disk,
        bytes_in_use: status.bytes_in_use,
        max_bytes: status.max_bytes,
        durability: status.durability.map(Durability::name),
        readers: status.readers,
        watchers: status.watchers,
        oldest_reader: status.oldest_reader,
        writer_pid: status.writer_pid,
        writer_held_ms: status.writer_held_ms,
        format_version: status.format_version,
        lmdb_version: status.lmdb_version.as_deref(),
        alarms: status.alarms.iter().map(AlarmJson::from).collect(),
        poisoned: status.poisoned,
        removed: status.removed,
        trouble,
    }
}

fn show(
    out: &mut Out,
    target: &str,
    status: &libkv::Status,
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
    row("id", status.store_id.clone())?;
    let kept = match (status.compacted_revision, status.keys) {
        (Some(compacted), _) => format!(" (the history is kept from revision {compacted} on)"),
        (None, Some(_)) => " (all of the history is kept)".into(),
        (None, None) => String::new(),
    };
    row("revision", format!("{}{kept}", status.revision))?;
    let keys = status.keys.map(|keys| keys.to_string());
    row(
        "keys",
        keys.unwrap_or("unknown: this user may not read all keys".into()),
    )?;
    let leases = status.leases.map(|leases| leases.to_string());
    row("leases", leases.unwrap_or("unknown".into()))?;
    let used = format!("{} in use", size(status.bytes_in_use));
    let quota = match status.max_bytes {
        Some(bytes) => format!(", quota {}", size(bytes)),
        None => String::new(),
    };
    row(
        "size",
        format!("{} on disk, {used}{quota}", size(status.bytes_on_disk)),
    )?;
    if let Some(readers) = status.readers {
        row("readers", readers.to_string())?;
    }
    if let (Some(kind), false) = (status.durability, remote) {
        row("durability", kind.name().into())?;
    }
    if let (Some(format), Some(lmdb)) = (status.format_version, &status.lmdb_version) {
        row("format", format!("{format}, LMDB {lmdb}"))?;
    }
    for (index, line) in trouble.iter().enumerate() {
        let head = if index == 0 { "trouble" } else { "" };
        out.ink(Ink::Bad, format!("{head:<12}"))?;
        out.line(line)?;
    }
    Ok(())
}

/// The problems, and how to solve them.
fn trouble(status: &libkv::Status) -> Vec<String> {
    let mut trouble: Vec<String> = status.alarms.iter().map(alarm_trouble).collect();
    if status.poisoned {
        trouble.push(
            "POISONED: a commit could not be written to the disk. Writes are refused until every \
             process has closed the store"
                .into(),
        );
    }
    if status.removed {
        trouble.push(
            "REMOVED: the store's files were deleted. The data is lost when the last process \
             closes the store: save it now with `kv export`"
                .into(),
        );
    }
    if let (Some(pid), Some(held_ms @ HELD_LONG_MS..)) = (status.writer_pid, status.writer_held_ms)
    {
        let seconds = held_ms as f64 / 1_000.0;
        trouble.push(format!(
            "process {pid} has held the write lock for {seconds:.1} s: other writers wait for it"
        ));
    }
    if let Some(behind @ BEHIND_LONG..) = status.oldest_reader {
        trouble.push(format!(
            "a reader is {behind} commits behind: pages freed since cannot be reused, and the file \
             grows. Look for a process that does not finish a read"
        ));
    }
    if let Some(quota) = status.max_bytes
        && status.alarms.is_empty()
        && status.bytes_in_use >= quota / 10 * 9
    {
        trouble.push("more than 90 % of the quota is used: compact, delete, or raise it".into());
    }
    trouble
}

fn alarm_trouble(alarm: &AlarmMember) -> String {
    let AlarmMember { member, kind } = alarm;
    let what = match kind {
        AlarmKind::NoSpace => {
            "the quota is used up and puts are refused. Free space (kv compact, kv del) or raise \
             the quota, then run `kv alarm disarm`"
        }
        AlarmKind::Corrupt => "writes are refused; `kv check` shows what is damaged",
    };
    format!("memberID:{member} alarm:{kind}: {what}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_names_the_problem_and_the_remedy() {
        assert!(trouble(&libkv::Status::default()).is_empty());
        let mut status = libkv::Status::default();
        status.alarms.push(AlarmMember {
            member: 1,
            kind: AlarmKind::NoSpace,
        });
        (status.poisoned, status.removed) = (true, true);
        (status.writer_pid, status.writer_held_ms) = (Some(77), Some(2_500));
        status.oldest_reader = Some(5_000);
        let lines = trouble(&status);
        let words = [
            "alarm disarm",
            "has closed",
            "kv export",
            "process 77",
            "5000 commits",
        ];
        assert_eq!(lines.len(), words.len());
        for (line, word) in lines.iter().zip(words) {
            assert!(line.contains(word), "{line}");
        }
        let mut nearly_full = libkv::Status::default();
        (nearly_full.max_bytes, nearly_full.bytes_in_use) = (Some(100), 95);
        assert_eq!(trouble(&nearly_full).len(), 1);
    }
}
