//! `del`: deleting keys.

use crate::command::Context;
use crate::failure::Result;
use crate::notation::Notation;
use crate::selection::Selection;
use crate::shape::DeleteShape;
use crate::target::Access;

const HELP: &str = "\
Answers how many keys went; that none was there is no error. What is deleted stays in the history
until it is compacted.

Examples:
  kv del greeting
  kv del --prefix users/
  kv del users/1 users/5 --prev-kv            shows what went";

/// `kv del`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = HELP)]
pub struct Del {
    #[command(flatten)]
    selection: Selection,
    /// Show the deleted pairs
    #[arg(long)]
    prev_kv: bool,
    /// As in etcdctl, where it allows a range end: without effect
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
            return out.json(&DeleteShape::from(&response));
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
