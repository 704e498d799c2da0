//! The program `kv`: a libkv store, or an etcd cluster, from the shell.
//!
//! `cli.rs` says what it understands, `command/` has a file for each command, and `exit_status.rs` the exit
//! statuses. What all of them share: where the store is (`target.rs`), which keys (`selection.rs`), how
//! bytes are written (`notation.rs`), what `--json` looks like (`shape.rs`).

mod cli;
mod command;
mod duration;
mod exit_status;
mod failure;
mod notation;
mod output;
mod selection;
mod shape;
mod signal;
mod target;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use crate::cli::{Cli, Command};
use crate::command::Context;
use crate::command::etcd_flags::{self, Prepared};
use crate::failure::{Failure, Result};
use crate::output::note;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if arguments.len() <= 1 {
        // nobody may be there to read it
        let _ = io::stdout().write_all(cli::INTRODUCTION.as_bytes());
        return ExitCode::SUCCESS;
    }
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let message = failure.to_string();
            if !message.is_empty() {
                note(message);
            }
            ExitCode::from(failure.status())
        }
    }
}

fn run(arguments: Vec<OsString>) -> Result<()> {
    let Prepared { arguments, notes } = etcd_flags::prepare(arguments, std::env::vars_os())?;
    let matches = match Cli::command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        // help and version are no errors: clap knows where each goes, and with which status
        Err(error) => error.exit(),
    };
    let mut cli =
        Cli::from_arg_matches(&matches).map_err(|error| Failure::usage(error.to_string()))?;
    if let Command::Serve(serve) = &mut cli.command {
        serve.notes = notes;
    }
    let mut context = Context::new(cli.global, None);
    run_in(&mut context, cli.command)
}

/// Runs a command and gives out what it wrote, also if it failed after that.
pub(crate) fn run_in(context: &mut Context, command: Command) -> Result<()> {
    let done = command.run(context);
    match context.out.flush() {
        // what went wrong first is what counts
        Err(failure) if done.is_ok() => Err(failure),
        _ => done,
    }
}
