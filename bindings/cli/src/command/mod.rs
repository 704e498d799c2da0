//! The commands, a file for each, and the context that they run in.

pub mod alarm;
pub mod auth;
pub mod check;
mod claim;
pub mod compact;
pub mod copy;
mod cursor;
pub mod del;
pub mod elect;
pub mod etcd_flags;
pub mod export;
pub mod get;
pub mod history;
pub mod import;
pub mod lease;
pub mod lock;
mod log;
pub mod manual;
pub mod member;
pub mod mirror;
mod notify;
pub mod put;
pub mod replicate;
pub mod restore;
pub mod role;
pub mod serve;
pub mod shell;
pub mod snapshot;
pub mod status;
pub mod transfer;
pub mod txn;
pub mod user;
pub mod watch;

use clap::ArgMatches;
use libkv::Db;

use crate::failure::Result;
use crate::options::Global;
use crate::output::Out;
use crate::target::Access;

/// The program as a whole, for the commands that need it: the shell and the manual. The definition
/// consists of all commands, so the commands cannot import it.
#[derive(Clone, Copy)]
pub struct Program {
    /// The definition of the command line.
    pub definition: fn() -> clap::Command,
    /// Runs a parsed command line, in the context that is made from its options.
    pub run: fn(&ArgMatches, &dyn Fn(Global) -> Context) -> Result<()>,
}

/// The context that a command runs in.
pub struct Context {
    pub global: Global,
    pub out: Out,
    pub program: Program,
    /// The open store of a shell.
    session: Option<Db>,
}

impl Context {
    /// The context of a command with these options. `session` is the store of the shell that runs
    /// the command; the command uses it unless it names another store.
    pub fn new(program: Program, global: Global, session: Option<Db>) -> Context {
        let out = Out::new(global.json, global.color, global.notation);
        Context {
            global,
            out,
            program,
            session,
        }
    }

    /// Opens the store.
    pub fn open(&self, access: Access) -> Result<Db> {
        self.open_within(access, None)
    }

    /// Opens the store. `limit_ms` limits the time to reach a cluster; `None` and 0: no limit.
    pub fn open_within(&self, access: Access, limit_ms: Option<u64>) -> Result<Db> {
        match &self.session {
            Some(db) if !self.global.target.is_named() => Ok(db.clone()),
            _ => self.global.target.open(access, limit_ms),
        }
    }

    /// Whether a shell runs this command.
    pub fn in_shell(&self) -> bool {
        self.session.is_some()
    }
}
