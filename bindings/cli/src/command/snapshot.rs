//! `snapshot`: snapshot files that etcd can restore.

use std::path::PathBuf;

use clap::Subcommand;
use serde::Serialize;

use crate::command::Context;
use crate::command::transfer::spinner;
use crate::failure::Result;
use crate::output::{count, size};
use crate::target::Access;

const HELP: &str = "\
Writes a store to a snapshot file, which `etcdutl snapshot restore` turns into a member of a real
etcd cluster and `kv restore` into a store: all kept revisions, deletions, leases with the time that
they have left, and the compacted revision, all as of one moment. Other processes can write to the
store meanwhile. The file is complete or not there. Only its owner can read it (mode 600).

Examples:
  kv snapshot save backup.db
  etcdutl snapshot restore backup.db --data-dir default.etcd
  kv restore backup.db ./other-store

Exit status: 3 if the file exists.";

/// `kv snapshot`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = HELP)]
pub struct Snapshot {
    #[command(subcommand)]
    command: SnapshotCommand,
}

#[derive(Subcommand, Clone, Debug)]
enum SnapshotCommand {
    /// Write a store to a file
    #[command(after_help = HELP)]
    Save {
        /// The file
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

#[derive(Serialize)]
struct SavedJson {
    revision: i64,
    events: u64,
    leases: u64,
    bytes: u64,
}

impl Snapshot {
    /// Runs the command.
    pub fn run(self, context: &mut Context) -> Result<()> {
        match self.command {
            SnapshotCommand::Save { file } => {
                let db = context.open(Access::Read)?;
                let spinner = spinner("saving");
                let saved = libkv_etcd::save_snapshot(&db, &file);
                spinner.finish_and_clear();
                let saved = saved?;
                let out = &mut context.out;
                if out.json {
                    return out.json(&SavedJson {
                        revision: saved.revision,
                        events: saved.events,
                        leases: saved.leases,
                        bytes: saved.bytes,
                    });
                }
                let (events, bytes) = (count(saved.events, "event"), size(saved.bytes));
                out.line(format!(
                    "{events} up to revision {}, {bytes}",
                    saved.revision
                ))
            }
        }
    }
}
