//! `auth`: turns authentication on and off.

use clap::Subcommand;
use libkv::AuthStatus;
use serde::Serialize;

use crate::command::Context;
use crate::failure::Result;
use crate::target::Access;

const HELP: &str = "\
While authentication is on, `kv serve` checks every call of a client: it needs a user (`--user`)
with a role that permits it. A process that opens the directory needs no user: the permissions of
the files decide. Turning it on needs the user root with the role root, as in etcd.

Examples:
  kv user add root && kv user grant-role root root
  kv auth enable
  kv auth status
  kv -s etcd://host:2379 --user root auth disable";

/// `kv auth`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = HELP, subcommand_required = true, arg_required_else_help = true)]
pub struct Auth {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Clone, Copy, Debug)]
enum What {
    /// Turn authentication on
    Enable,
    /// Turn authentication off
    Disable,
    /// Show whether it is on
    Status,
}

#[derive(Serialize)]
struct StatusJson {
    enabled: bool,
    auth_revision: u64,
    revision: i64,
}

impl Auth {
    /// Runs the command.
    pub fn run(self, context: &mut Context) -> Result<()> {
        match self.what {
            What::Enable => {
                let revision = context.open(Access::Write)?.auth_enable()?;
                context.out.changed(revision, "Authentication Enabled")
            }
            What::Disable => {
                let revision = context.open(Access::Write)?.auth_disable()?;
                context.out.changed(revision, "Authentication Disabled")
            }
            What::Status => {
                let AuthStatus {
                    enabled,
                    auth_revision,
                    revision,
                } = context.open(Access::Read)?.auth_status()?;
                let out = &mut context.out;
                if out.json {
                    return out.json(&StatusJson {
                        enabled,
                        auth_revision,
                        revision,
                    });
                }
                out.line(format!("Authentication Status: {enabled}"))?;
                out.line(format!("AuthRevision: {auth_revision}"))
            }
        }
    }
}
