//! `compact`: forgetting history.

use serde::Serialize;

use crate::command::Context;
use crate::failure::Result;
use crate::selection::{At, parse_at};
use crate::target::Access;

const HELP: &str = "\
Reads below REVISION answer `compacted` from then on; what is there now stays. `kv status` shows from which
revision on the history is kept.

Examples:
  kv compact 1000
  kv compact 720h                             keep thirty days
  kv compact 1000 --physical                  return when the space can be used again";

/// `kv compact`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = HELP)]
pub struct Compact {
    /// The oldest revision that stays readable: its number, a time, or how long ago
    #[arg(value_parser = parse_at)]
    revision: At,
    /// Return only when the space has been reclaimed
    #[arg(long)]
    physical: bool,
}

#[derive(Serialize)]
struct Compacted {
    revision: i64,
    compacted_revision: i64,
}

impl Compact {
    /// Does it.
    pub fn run(self, context: &mut Context) -> Result<()> {
        let db = context.open(Access::Write)?;
        let compacted_revision = self.revision.revision(&db)?;
        let revision = db.compact(compacted_revision, self.physical)?.revision;
        match context.out.json {
            true => context.out.json(&Compacted { revision, compacted_revision }),
            false => context.out.line(format!("compacted revision {compacted_revision}")),
        }
    }
}
