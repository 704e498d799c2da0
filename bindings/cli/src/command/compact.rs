//! `compact`: forgetting history.

use libkv::{Code, Db, Status};
use serde::Serialize;

use crate::command::Context;
use crate::failure::{Failure, Result};
use crate::selection::{At, parse_at};
use crate::target::Access;

const HELP: &str = "\
Reads below REVISION answer `compacted` from then on; what is there now stays. `kv status` shows
from which revision on the history is kept. A time or an age that reaches no further than what is
forgotten already is no failure.

Examples:
  kv compact 1000
  kv compact 720h                             keep thirty days
  kv compact 1000 --physical                  return when the space can be used again";

/// `kv compact`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = HELP)]
pub struct Compact {
    /// The oldest revision to keep: a number, a time, or an age
    #[arg(value_parser = parse_at)]
    revision: At,
    /// Return after the space was reclaimed
    #[arg(long)]
    physical: bool,
}

#[derive(Serialize)]
struct Compacted {
    revision: i64,
    compacted_revision: i64,
}

impl Compact {
    /// Runs the command.
    pub fn run(self, context: &mut Context) -> Result<()> {
        let db = context.open(Access::Write)?;
        let (done, words) = match self.compact(&db) {
            Ok(done) => (done, "compacted revision"),
            // a timer that forgets what is older than a month is no failure in a month without a write
            Err(Failure::Db(error))
                if error.code() == Code::Compacted && matches!(self.revision, At::Time(_)) =>
            {
                let Status {
                    revision,
                    compacted_revision,
                    ..
                } = db.status()?;
                (
                    Compacted {
                        revision,
                        // it is compacted: the request was refused for that
                        compacted_revision: compacted_revision.unwrap_or(0),
                    },
                    "nothing to forget: compacted up to revision",
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

    fn compact(&self, db: &Db) -> Result<Compacted> {
        let compacted_revision = self.revision.revision(db)?;
        let revision = db
            .compact(libkv::Compact::new(compacted_revision).physical(self.physical))?
            .revision;
        Ok(Compacted {
            revision,
            compacted_revision,
        })
    }
}
