//! `history`, `events` and `diff`: read past revisions.

use std::ffi::OsString;

use libkv::{Difference, KeyValue};

use crate::command::Context;
use crate::failure::Result;
use crate::json::DifferenceJson;
use crate::output::{Ink, Out};
use crate::selection::{At, AtOption, Scope, parse_at};
use crate::target::Access;

const HISTORY_HELP: &str = "\
Prints one line for each event: revision, PUT or DELETE, key, value. Compacted events are not
listed.

Examples:
  kv history greeting
  kv history greeting --limit 5
  kv history greeting --at 100                events up to revision 100
  kv history greeting --json | jq .kv.value";

const EVENTS_HELP: &str = "\
Prints one line for each event, in order: revision, PUT or DELETE, key, value.

Examples:
  kv events --after 100                      events after revision 100
  kv events --after 1h                       events of the last hour
  kv events --after 100 --upto 200 --prefix users/";

const DIFF_HELP: &str = "\
Lines with - show the pair at A, lines with + the pair at B. A key that was put again with the
same value is listed too, because its mod revision differs.

Examples:
  kv diff 100 200
  kv diff 100 0                               0 is now
  kv diff 24h 0 --prefix users/ --json        the last day

Exit status: 0, with or without differences.";

/// `kv history`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = HISTORY_HELP)]
pub struct History {
    /// The key
    key: OsString,
    /// The maximum number of events
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    limit: i64,
    #[command(flatten)]
    at: AtOption,
}

impl History {
    /// Runs the command.
    pub fn run(self, context: &mut Context) -> Result<()> {
        let key = context.global.notation.parse(&self.key)?;
        let db = context.open(Access::Read)?;
        let upto = match self.at.revision(&db)? {
            0 => i64::MAX,
            revision => {
                // returns `compacted` or `future_revision`, like other reads
                db.get_at(&key, revision)?;
                revision
            }
        };
        let limit = if upto == i64::MAX { self.limit } else { 0 };
        let events = db
            .history(&key, limit)?
            .into_iter()
            .filter(|event| event.kv.mod_revision <= upto);
        let most = if self.limit > 0 {
            self.limit as usize
        } else {
            usize::MAX
        };
        events
            .take(most)
            .try_for_each(|event| context.out.event_line(&event))
    }
}

/// `kv events`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = EVENTS_HELP)]
pub struct Events {
    #[command(flatten)]
    scope: Scope,
    /// Only events after this revision or time (default: all that are kept)
    #[arg(long, value_name = "REVISION", value_parser = parse_at)]
    after: Option<At>,
    /// Only events up to this revision or time (default: now)
    #[arg(long, visible_aliases = ["at", "rev"], value_name = "REVISION", value_parser = parse_at)]
    upto: Option<At>,
    /// The maximum number of events
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

impl Events {
    /// Runs the command.
    pub fn run(self, context: &mut Context) -> Result<()> {
        let range = self.scope.range(context.global.notation)?;
        let db = context.open(Access::Read)?;
        let upto = self.upto.map_or(Ok(0), |at| at.revision(&db))?;
        let after = match self.after {
            Some(at) => at.revision(&db)?,
            None => db.status()?.compacted_revision.unwrap_or(0),
        };
        for event in db
            .events(after, upto, range)
            .take(self.limit.unwrap_or(usize::MAX))
        {
            context.out.event_line(&event?)?;
        }
        Ok(())
    }
}

/// `kv diff`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = DIFF_HELP)]
pub struct Diff {
    /// The first revision, or time
    #[arg(value_name = "A", value_parser = parse_at)]
    before: At,
    /// The second revision, or time; 0 is now
    #[arg(value_name = "B", value_parser = parse_at)]
    after: At,
    #[command(flatten)]
    scope: Scope,
}

impl Diff {
    /// Runs the command.
    pub fn run(self, context: &mut Context) -> Result<()> {
        let range = self.scope.range(context.global.notation)?;
        let db = context.open(Access::Read)?;
        for change in db.diff(self.before.revision(&db)?, self.after.revision(&db)?, range)? {
            show(&mut context.out, &change?)?;
        }
        Ok(())
    }
}

fn show(out: &mut Out, change: &Difference) -> Result<()> {
    if out.json {
        return out.json(&DifferenceJson::from(change));
    }
    let mut side = |sign: &str, ink: Ink, kv: &Option<KeyValue>| -> Result<()> {
        let Some(kv) = kv else { return Ok(()) };
        out.ink(ink, format!("{sign} {}\t", kv.mod_revision))?;
        out.key_inline(&kv.key)?;
        out.bytes(b"\t")?;
        out.value_inline(&kv.value)?;
        out.bytes(b"\n")
    };
    side("-", Ink::Minus, &change.before)?;
    side("+", Ink::Plus, &change.after)
}
