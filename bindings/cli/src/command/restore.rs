//! `restore`: a new store from a snapshot of etcd.

use std::path::PathBuf;

use libkv::{Code, Error};
use libkv_etcd::Restore as SnapshotRestore;
use serde::Serialize;

use crate::command::Context;
use crate::command::transfer::spinner;
use crate::failure::Result;
use crate::output::count;

const HELP: &str = "\
Makes a store from a snapshot that etcd 3.4 to 3.7 or `kv snapshot save` wrote: all kept revisions
with their keys, versions and leases, deletions, and the compacted revision. A lease gets the time
that it had left, or its full TTL if the snapshot does not have it.

The snapshot is verified first, by its SHA-256 and by its structure. The store is filled beside its
place and renamed at the end: it is there as a whole or not at all. Users, roles and passwords
are restored, and authentication is on if it was. `revision_at` works only for times after the
restore.

Examples:
  kv restore backup.db ./store
  kv -s ./store history greeting              read it as before
  kv serve ./store                            or serve it to etcd's clients
  kv restore member/snap/db ./store --skip-hash-check

Exit status: 3 if the store exists; 8 if the snapshot is damaged.";

/// `kv restore`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = HELP)]
pub struct Restore {
    /// The snapshot
    #[arg(value_name = "SNAPSHOT")]
    snapshot: PathBuf,
    /// The directory of the new store [default: that of -s or KV_STORE]
    #[arg(value_name = "STORE")]
    directory: Option<PathBuf>,
    /// Accept a file without its SHA-256, such as a copy of member/snap/db
    #[arg(long)]
    skip_hash_check: bool,
}

#[derive(Serialize)]
struct RestoredJson {
    revision: i64,
    compacted_revision: Option<i64>,
    events: u64,
    leases: u64,
    users: u64,
    roles: u64,
    auth_enabled: bool,
}

impl Restore {
    /// Runs the command.
    pub fn run(self, context: &mut Context) -> Result<()> {
        let directory = match self.directory {
            Some(directory) => directory,
            None => PathBuf::from(context.global.target.name()?),
        };
        if directory.to_str().is_some_and(libkv_etcd::is_cluster) {
            let message = "a snapshot is restored into a directory, not into a cluster";
            return Err(Error::new(Code::Unsupported, message).into());
        }
        let spinner = spinner("restoring");
        let restored = SnapshotRestore::new(&self.snapshot)
            .skip_hash_check(self.skip_hash_check)
            .run(&directory);
        spinner.finish_and_clear();
        let restored = restored?;
        let out = &mut context.out;
        if out.json {
            return out.json(&RestoredJson {
                revision: restored.revision,
                compacted_revision: restored.compacted_revision,
                events: restored.events,
                leases: restored.leases,
                users: restored.users,
                roles: restored.roles,
                auth_enabled: restored.auth_enabled,
            });
        }
        let (events, leases) = (
            count(restored.events, "event"),
            count(restored.leases, "lease"),
        );
        let revision = restored.revision;
        out.line(format!("{events} and {leases} up to revision {revision}"))?;
        if restored.users > 0 || restored.roles > 0 {
            let (users, roles) = (count(restored.users, "user"), count(restored.roles, "role"));
            let state = if restored.auth_enabled { "on" } else { "off" };
            out.line(format!("{users} and {roles}; authentication is {state}"))?;
        }
        Ok(())
    }
}
