//! `put`: writes one key.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Read};
use std::path::PathBuf;

use libkv::LeaseId;

use crate::command::Context;
use crate::failure::{Failure, Result};
use crate::json::PutResponseJson;
use crate::notation::{Notation, parse_lease};
use crate::output::note;
use crate::selection::is_dash;
use crate::target::Access;

const HELP: &str = "\
The first put creates the store's directory. Write -- before a value that begins with a hyphen:
kv put -- key -5

Examples:
  kv put greeting hello
  kv put config - <config.toml                read the value from standard input
  kv put logo.png --file logo.png
  kv put --escaped 'key\\x00' 'line one\\nline two'
  kv put --hex 00ff 0102
  kv put session alive --lease 390da20fb970430f
  kv put greeting --ignore-value --lease 0    keep the value, detach the lease";

/// `kv put`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = HELP)]
pub struct Put {
    /// The key
    key: OsString,
    /// The value; - or no value reads it from standard input
    #[arg(conflicts_with = "file")]
    value: Option<OsString>,
    /// Read the value from this file; - is standard input
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// Attach the key to this lease
    #[arg(long, value_name = "ID", value_parser = parse_lease, default_value = "0", hide_default_value = true)]
    lease: LeaseId,
    /// Show the previous pair
    #[arg(long)]
    prev_kv: bool,
    /// Keep the current value of the key
    #[arg(long, conflicts_with_all = ["value", "file"])]
    ignore_value: bool,
    /// Keep the current lease of the key
    #[arg(long)]
    ignore_lease: bool,
}

impl Put {
    /// Runs the command.
    pub fn run(self, context: &mut Context) -> Result<()> {
        let value = match (&self.value, &self.file) {
            _ if self.ignore_value => Vec::new(),
            (_, Some(path)) if !is_dash(path.as_os_str()) => {
                std::fs::read(path).map_err(Failure::io(path.display()))?
            }
            (Some(value), None) if !is_dash(value) => context.global.notation.parse(value)?,
            _ => read_stdin()?,
        };
        let request = self.request(context.global.notation, value)?;
        let response = context.open(Access::Create)?.put(request)?;
        let out = &mut context.out;
        if out.json {
            return out.json(&PutResponseJson::from(&response));
        }
        out.line("OK")?;
        response
            .prev_kv
            .as_ref()
            .map_or(Ok(()), |kv| out.pair_lines(kv))
    }

    /// The request, for a txn. It has no value from standard input, which has the txn.
    pub fn into_request(self, notation: Notation) -> Result<libkv::Put> {
        let value = match &self.value {
            Some(value) => notation.parse(value)?,
            None if self.ignore_value => Vec::new(),
            None => return Err(Failure::usage("a put in a txn needs its value in the line")),
        };
        self.request(notation, value)
    }

    fn request(&self, notation: Notation, value: Vec<u8>) -> Result<libkv::Put> {
        Ok(libkv::Put::new(notation.parse(&self.key)?, value)
            .lease(self.lease)
            .prev_kv(self.prev_kv)
            .ignore_value(self.ignore_value)
            .ignore_lease(self.ignore_lease))
    }
}

fn read_stdin() -> Result<Vec<u8>> {
    let mut stdin = io::stdin().lock();
    if stdin.is_terminal() {
        note("reading the value from standard input; end with Ctrl-D");
    }
    let mut value = Vec::new();
    stdin
        .read_to_end(&mut value)
        .map_err(Failure::io("standard input"))?;
    Ok(value)
}
