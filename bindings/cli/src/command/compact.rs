//! `compact`: removes history.

use libkv::{Code, Db, Status};
use serde::Serialize;

use crate::command::Context;
use crate::failure::{Failure, Result};
use crate::selection::{At, parse_at};
use crate::target::Access;

const HELP: &str = "\
Removes the history below REVISION: reads of older revisions then return `compacted`. The current
pairs are kept. `kv status` shows the oldest revision that can be read. If REVISION is a time or an
age, and the store is already compacted beyond it, the command does nothing and succeeds.

Examples:
  kv compact 1000
  kv compact 720h                             keep thirty days
  kv compact 1000 --physical                  return after the space is reusable";

/// `kv compact`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = HELP)]
pub struct Compact {
    /// The oldest revision to keep: a number, a time, or an age
    #[arg(value_parser = parse_at)]
    revision: At,
    /// Return after the space is reusable
    #[arg(long)]
    physical: bool,
}

#[derive(Serialize)]
struct CompactJson {
    revision: i64,
    compacted_revision: i64,
}

impl Compact {
    /// Runs the command.
    pub fn run(self, context: &mut Context) -> Result<()> {
        let db = context.open(Access::Write)?;
        let (done, words) = match self.compact(&db) {
            Ok(done) => (done, "compacted revision"),
            // a timer that keeps one month must not fail after a month without a write
            Err(Failure::Db(error))
                if error.code() == Code::Compacted && matches!(self.revision, At::Time(_)) =>
            {
                let Status {
                    revision,
                    compacted_revision,
                    ..
                } = db.status()?;
                (
                    CompactJson {
                        revision,
                        // present: the request was refused because of it
                        compacted_revision: compacted_revision.unwrap_or(0),
                    },
                    "nothing to remove: compacted up to revision",
                )
            }
            Err(failure) => return Err(failure),
        };
        match context.out.json {
            true => context.out.json(&done),
            false => context
                .out
                .line(format!("{words} {}", done.compacted_revision)),
        }
    }

    fn compact(&self, db: &Db) -> Result<CompactJson> {
        let compacted_revision = self.revision.revision(db)?;
        let revision = db
            .compact(libkv::Compact::new(compacted_revision).physical(self.physical))?
            .revision;
        Ok(CompactJson {
            revision,
            compacted_revision,
        })
    }
}
