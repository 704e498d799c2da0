//! The definition of the command line: all commands, and how they run.

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::command::*;
use crate::exit_status::EXIT_STATUS;
use crate::failure::{Failure, Result};
use crate::options::Global;

/// The output of `kv` without arguments.
pub const INTRODUCTION: &str = "\
kv reads and writes libkv stores and etcd clusters, and serves a store to etcd clients.

A store is a directory. The first write creates it. Try:

  export KV_STORE=./my-store       the store (or use -s STORE with each command)
  kv put greeting hello            write a key
  kv put greeting goodbye          write it again: every write gets a revision
  kv get greeting                  read it
  kv get greeting --at 2           read it at revision 2
  kv history greeting              list its events
  kv watch --prefix ''             follow every change (in another terminal)

The name of a cluster is its address:

  kv -s etcd://host:2379 get greeting

Every etcd client can use a store that `kv serve` serves:

  kv serve ./my-store
  etcdctl get greeting

Next: `kv shell` starts an interactive shell, `kv --help` lists all commands, and
`kv COMMAND --help` has examples.
";

const AFTER_HELP: &str = "\
Start with `kv` without arguments for an introduction. `kv COMMAND --help` has examples.

With --json a command writes one JSON document, or one on each line if there can be several.
Bytes that are UTF-8 are in the field `key` or `value`, other bytes in `key_base64` or
`value_base64`. Leases are hexadecimal digits.
";

/// The maximum width of a help text: clap uses it without a terminal.
const HELP_COLUMNS: usize = 100;

/// Read, write and serve libkv stores and etcd clusters
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

/// This program, for the commands that need all of it.
pub const PROGRAM: Program = Program {
    definition: Cli::command,
    run: |matches, context| {
        let Cli { global, command } = Cli::read(matches)?;
        command.run_and_flush(&mut context(global))
    },
};

impl Cli {
    /// The command line that clap has parsed.
    pub fn read(matches: &ArgMatches) -> Result<Cli> {
        Cli::from_arg_matches(matches).map_err(|error| Failure::usage(error.to_string()))
    }
}

impl Command {
    /// Runs the command and writes out its output, also if the command failed.
    pub fn run_and_flush(self, context: &mut Context) -> Result<()> {
        let done = self.run(context);
        match context.out.flush() {
            // the first failure counts
            Err(failure) if done.is_ok() => Err(failure),
            _ => done,
        }
    }
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
    /// Turn authentication of clients on or off
    Auth(auth::Auth)
    /// Manage users
    User(user::User)
    /// Manage roles and their permissions
    Role(role::Role)
    /// List or change the members of a cluster
    Member(member::Member)
    /// Make a member the leader of its cluster
    MoveLeader(member::MoveLeader)
    /// Print the hash of the history, which members compare
    #[command(visible_alias = "hashkv")]
    HashKv(member::HashKv)
    /// Write all pairs to a file of JSON lines
    Export(export::Export)
    /// Read an export into a store or a cluster
    Import(import::Import)
    /// Copy the present state of a store or a cluster into another
    Copy(copy::Copy)
    /// Copy the keys of a store or a cluster into another, and follow their changes
    Mirror(mirror::Mirror)
    /// Write a store to a snapshot file, which etcd can restore
    Snapshot(snapshot::Snapshot)
    /// Make a store from a snapshot of etcd
    Restore(restore::Restore)
    /// Serve a store to any etcd client
    Serve(Box<serve::Serve>)
    /// Start an interactive shell on one store, with history and completion
    Shell(shell::Shell)
    /// Print the completions for a shell
    Completions(manual::Completions)
    /// Print the manual page
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

    /// clap breaks longer lines where there is no terminal, and the columns of the examples are
    /// lost.
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
