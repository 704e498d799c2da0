//! The program `kv`: a libkv store, or an etcd cluster, from the shell.
//!
//! `cli.rs` defines the command line, `command/` has one file for each command, `exit_status.rs` has
//! the exit statuses. The commands share: which store (`target.rs`), which keys (`selection.rs`),
//! how bytes are written (`notation.rs`), the documents of `--json` (`json.rs`).

mod cli;
mod command;
mod duration;
mod exit_status;
mod failure;
mod json;
mod notation;
mod options;
mod output;
mod selection;
mod signal;
mod target;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::CommandFactory;

use crate::cli::{Cli, Command};
use crate::command::Context;
use crate::command::etcd_flags::{self, CommandLine};
use crate::failure::Result;
use crate::output::note;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if arguments.len() <= 1 {
        // the reader may have closed the pipe
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
    let CommandLine {
        arguments,
        notes,
        config_file,
    } = etcd_flags::prepare(arguments, std::env::vars_os(), &Cli::command())?;
    let matches = match Cli::command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        // help and version are not failures: clap writes them, and chooses the status
        Err(error) => {
            if let Some(file) = config_file.filter(|_| error.use_stderr()) {
                let file = file.to_string_lossy();
                note(format!(
                    "{file}: this error is about a key of the file or about an argument:"
                ));
            }
            error.exit()
        }
    };
    let mut cli = Cli::read(&matches)?;
    if let Command::Serve(serve) = &mut cli.command {
        serve.notes = notes;
    }
    let mut context = Context::new(cli::PROGRAM, cli.global, None);
    cli.command.run_and_flush(&mut context)
}
