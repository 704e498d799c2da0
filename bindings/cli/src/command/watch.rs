//! `watch`: follows changes.

use std::ffi::OsString;
use std::io::Write;
use std::process::{Command, Stdio};

use data_encoding::BASE64;
use libkv::{Code, Event, EventKind, WatchBatch};
use serde::Serialize;

use crate::command::Context;
use crate::failure::{Failure, Result};
use crate::json::EventJson;
use crate::output::{Ink, Out, note};
use crate::selection::{At, Scope, parse_at};
use crate::signal::Interrupt;
use crate::target::Access;

const HELP: &str = "\
Prints PUT or DELETE, the key and the value of each event on separate lines, like etcdctl; with
--json, one document on each line. Ctrl-C ends the watch.

COMMAND runs once for each event; one ends before the next starts. Its standard input is the new
value. Its environment has KV_WATCH_REVISION, KV_WATCH_EVENT_TYPE (PUT or DELETE) and
KV_WATCH_KEY_BASE64, and also KV_WATCH_KEY and KV_WATCH_VALUE, unless they contain a zero byte or
are longer than 64 KiB.

Examples:
  kv watch greeting
  kv watch --prefix config/
  kv watch --prefix config/ --rev 100         start at revision 100
  kv watch --prefix config/ -- systemctl reload web
  kv watch --json --prefix '' | jq -r .key

Exit status: 130 after Ctrl-C; 3 if events were compacted before they were read.";

/// The longest value in the environment of a command. Linux allows 128 KiB.
const ENVIRONMENT_BYTES_MAX: usize = 64 << 10;

/// `kv watch`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = HELP)]
pub struct Watch {
    #[command(flatten)]
    scope: Scope,
    /// Start at this revision (17), time, or age (10m)
    #[arg(long, visible_aliases = ["rev", "at"], value_name = "REVISION", value_parser = parse_at)]
    start_revision: Option<At>,
    /// Also show the pair before each event
    #[arg(long)]
    prev_kv: bool,
    /// Only deletions
    #[arg(long)]
    no_put: bool,
    /// Only puts
    #[arg(long, conflicts_with = "no_put")]
    no_delete: bool,
    /// Show progress notifications
    #[arg(long)]
    progress_notify: bool,
    /// Stop after this number of events
    #[arg(long, value_name = "N")]
    events: Option<u64>,
    /// The command to run for each event
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// A progress notification in JSON.
#[derive(Serialize)]
struct ProgressJson {
    revision: i64,
    r#type: &'static str,
}

impl Watch {
    /// Runs the command.
    pub fn run(self, context: &mut Context) -> Result<()> {
        let range = self.scope.range(context.global.notation)?;
        let db = context.open(Access::Read)?;
        let start = match self.start_revision {
            None => 0,
            Some(At::Revision(revision)) => revision,
            Some(at) => at.revision(&db)? + 1,
        };
        let watch = libkv::Watch::new(range)
            .start_revision(start)
            .prev_kv(self.prev_kv)
            .no_put(self.no_put)
            .no_delete(self.no_delete)
            .progress(self.progress_notify);
        let watcher = db.watch(watch)?;
        let canceller = watcher.canceller();
        let interrupt = Interrupt::new(move |_| canceller.cancel())?;
        let mut left = self.events.unwrap_or(u64::MAX);
        while left > 0 {
            match watcher.next(None) {
                Ok(Some(batch)) => self.take(batch, &mut left, &mut context.out)?,
                Ok(None) => {}
                Err(error) if error.code() == Code::Cancelled => break,
                Err(error) => return Err(error.into()),
            }
            interrupt.check()?;
        }
        interrupt.check()
    }

    fn take(&self, batch: WatchBatch, left: &mut u64, out: &mut Out) -> Result<()> {
        if batch.events.is_empty() {
            match out.json {
                true => out.json(&ProgressJson {
                    revision: batch.revision,
                    r#type: "progress",
                })?,
                false => out.line(format!("progress notify: {}", batch.revision))?,
            }
        }
        for event in batch
            .events
            .iter()
            .take(usize::try_from(*left).unwrap_or(usize::MAX))
        {
            *left -= 1;
            match self.command.is_empty() {
                true => show(out, event)?,
                false => {
                    // earlier output comes before the output of the command
                    out.flush()?;
                    self.exec(event)?;
                }
            }
        }
        out.flush()
    }

    /// Runs the command for an event and waits until it exits. A failure is only reported.
    fn exec(&self, event: &Event) -> Result<()> {
        let (program, arguments) = self.command.split_first().expect("there is a command");
        let kv = &event.kv;
        let put = event.kind == EventKind::Put;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env("KV_WATCH_REVISION", kv.mod_revision.to_string())
            .env("KV_WATCH_EVENT_TYPE", if put { "PUT" } else { "DELETE" })
            .env("KV_WATCH_KEY_BASE64", BASE64.encode(&kv.key))
            .stdin(Stdio::piped());
        for (name, bytes) in [("KV_WATCH_KEY", &kv.key), ("KV_WATCH_VALUE", &kv.value)] {
            match bytes.contains(&0) || bytes.len() > ENVIRONMENT_BYTES_MAX {
                true => command.env_remove(name),
                false => command.env(name, os(bytes)),
            };
        }
        let mut child = command
            .spawn()
            .map_err(Failure::io(program.to_string_lossy()))?;
        if let Some(mut stdin) = child.stdin.take() {
            // the command may exit without reading its input
            let _ = stdin.write_all(&kv.value);
        }
        let status = child
            .wait()
            .map_err(Failure::io(program.to_string_lossy()))?;
        if !status.success() {
            note(format!(
                "{}: {status} (revision {})",
                program.to_string_lossy(),
                kv.mod_revision
            ));
        }
        Ok(())
    }
}

fn os(bytes: &[u8]) -> &std::ffi::OsStr {
    std::os::unix::ffi::OsStrExt::from_bytes(bytes)
}

fn show(out: &mut Out, event: &Event) -> Result<()> {
    if out.json {
        return out.json(&EventJson::from(event));
    }
    let put = event.kind == EventKind::Put;
    let (ink, word) = if put {
        (Ink::Plus, "PUT")
    } else {
        (Ink::Minus, "DELETE")
    };
    out.ink(ink, word)?;
    out.line("")?;
    if let Some(before) = &event.prev_kv {
        out.pair_lines(before)?;
    }
    out.key_line(&event.kv.key)?;
    // etcdctl shows an empty line for the value of a deletion
    out.value_line(&event.kv.value)
}
