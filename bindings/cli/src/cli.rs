//! What the program understands: its commands and the options that all of them have.

use clap::{Parser, Subcommand};

use crate::command::*;
use crate::exit_status::EXIT_STATUS;
use crate::failure::Result;
use crate::notation::Notation;
use crate::output::Colour;
use crate::target::Target;

/// What `kv` alone says.
pub const INTRODUCTION: &str = "\
kv looks into libkv stores and etcd clusters, and serves a store to etcd's clients.

A store is a directory; the first write makes it. Try:

  export KV_STORE=./my-store       which store (or -s STORE with each command)
  kv put greeting hello            write a key
  kv put greeting goodbye          and again: every write gets a revision
  kv get greeting                  read it
  kv get greeting --at 2           read it as it was at revision 2
  kv history greeting              everything that happened to it
  kv watch --prefix ''             follow every change (in another terminal)

A cluster is named by its address:

  kv -s etcd://host:2379 get greeting

And any etcd client can use a store that is served:

  kv serve ./my-store
  etcdctl get greeting

Next: `kv shell` to look around, `kv --help` for all commands, `kv COMMAND --help`
for examples of one.
";

const AFTER_HELP: &str = "\
Start with `kv` alone, which says what to do first; `kv COMMAND --help` has examples.

With --json a command writes one JSON document, or one a line where there may be many. Bytes
that are UTF-8 are the field `key` or `value`, others `key_base64` or `value_base64`: no byte
is lost. Leases are hexadecimal digits.
";

/// How wide a help is at most: what clap takes where there is no terminal.
const HELP_COLUMNS: usize = 100;

/// A libkv store, or an etcd cluster, from the shell
#[derive(Parser, Debug)]
#[command(
    name = "kv",
    bin_name = "kv",
    version,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = format!("{AFTER_HELP}\n{EXIT_STATUS}"),
    max_term_width = HELP_COLUMNS,
)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// The options that every command has.
#[derive(clap::Args, Clone, Debug)]
pub struct Global {
    #[command(flatten)]
    pub target: Target,
    #[command(flatten)]
    pub notation: Notation,
    /// Output JSON: one document, or one on each line
    #[arg(long, global = true, help_heading = "Output")]
    pub json: bool,
    /// When to use colour; NO_COLOR is respected
    #[arg(
        long,
        global = true,
        help_heading = "Output",
        value_name = "WHEN",
        default_value = "auto"
    )]
    pub color: Colour,
}

macro_rules! commands {
    ($( $(#[$attribute:meta])* $name:ident($arguments:ty) )*) => {
        /// A command.
        #[derive(Subcommand, Debug)]
        pub enum Command {
            $( $(#[$attribute])* $name($arguments), )*
        }

        impl Command {
            /// Runs the command.
            pub fn run(self, context: &mut Context) -> Result<()> {
                match self {
                    $( Command::$name(arguments) => arguments.run(context), )*
                }
            }
        }
    };
}

commands! {
    /// Read a key, or a range of keys
    Get(get::Get)
    /// Write a key
    Put(put::Put)
    /// Delete a key, or a range of keys
    #[command(visible_alias = "delete")]
    Del(del::Del)
    /// List pairs, one on each line
    #[command(visible_alias = "ls")]
    Range(get::List)
    /// Compare, then run one of two lists of operations, all in one revision
    Txn(txn::Txn)
    /// Follow changes as they happen
    Watch(watch::Watch)
    /// List the events of one key, newest first
    History(history::History)
    /// List the events between two revisions, in order
    Events(history::Events)
    /// List the keys that differ between two revisions
    Diff(history::Diff)
    /// Remove history below a revision
    #[command(visible_alias = "compaction")]
    Compact(compact::Compact)
    /// Manage leases
    Lease(lease::Lease)
    /// Hold a lock, optionally while a command runs
    Lock(lock::Lock)
    /// Campaign for leader, or show the leader
    Elect(elect::Elect)
    /// Show status and problems
    Status(status::Status)
    /// Verify the complete store
    Check(check::Check)
    /// List or clear alarms
    Alarm(alarm::Alarm)
    /// Write all pairs to a file of JSON lines
    Export(export::Export)
    /// Read an export into a store or a cluster
    Import(import::Import)
    /// Serve a store to any etcd client
    Serve(Box<serve::Serve>)
    /// Start an interactive shell on one store, with history and completion
    Shell(shell::Shell)
    /// Write the completions for a shell
    Completions(manual::Completions)
    /// The manual page
    Man(manual::Man)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_examples() {
        for command in Cli::command().get_subcommands() {
            let help = command
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            let name = command.get_name();
            assert!(
                help.contains("Examples:") && help.contains(&format!("kv {name}")),
                "{name}"
            );
        }
    }

    /// Where there is no terminal a line has 100 columns: longer ones of a text that was laid by hand are
    /// broken in the middle, and examples no longer stand in their columns.
    #[test]
    fn no_line_of_a_help_is_broken() {
        fn look(command: &clap::Command) {
            for help in [
                command.get_before_help(),
                command.get_after_help(),
                command.get_after_long_help(),
            ] {
                for line in help.map(ToString::to_string).unwrap_or_default().lines() {
                    assert!(
                        line.chars().count() <= HELP_COLUMNS,
                        "{}: {line}",
                        command.get_name()
                    );
                }
            }
            command.get_subcommands().for_each(look);
        }
        look(&Cli::command());
    }
}
