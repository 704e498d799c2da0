//! `del`: deletes keys.

use crate::command::Context;
use crate::failure::Result;
use crate::json::DeleteResponseJson;
use crate::notation::Notation;
use crate::selection::Selection;
use crate::target::Access;

const HELP: &str = "\
Prints the number of deleted keys, which may be 0. Deleted pairs stay in the history until it is
compacted.

Examples:
  kv del greeting
  kv del --prefix users/
  kv del users/1 users/5 --prev-kv            show the deleted pairs";

/// `kv del`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = HELP)]
pub struct Del {
    #[command(flatten)]
    selection: Selection,
    /// Show the deleted pairs
    #[arg(long)]
    prev_kv: bool,
    /// Accepted for compatibility with etcdctl; it has no effect
    #[arg(long, hide = true)]
    range: bool,
}

impl Del {
    /// Runs the command.
    pub fn run(self, context: &mut Context) -> Result<()> {
        let request = self.into_request(context.global.notation)?;
        let response = context.open(Access::Write)?.delete(request)?;
        let out = &mut context.out;
        if out.json {
            return out.json(&DeleteResponseJson::from(&response));
        }
        out.line(response.deleted.to_string())?;
        response
            .prev_kvs
            .iter()
            .try_for_each(|kv| out.pair_lines(kv))
    }

    /// The request.
    pub fn into_request(self, notation: Notation) -> Result<libkv::Delete> {
        Ok(libkv::Delete::new(self.selection.range(notation)?).prev_kv(self.prev_kv))
    }
}
