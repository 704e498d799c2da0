//! The commands, a file for each, and what they run in.

pub mod alarm;
pub mod check;
mod claim;
pub mod compact;
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
mod notify;
pub mod put;
pub mod serve;
pub mod shell;
pub mod status;
pub mod transfer;
pub mod txn;
pub mod watch;

use libkv::Db;

use crate::cli::Global;
use crate::failure::Result;
use crate::output::Out;
use crate::target::Access;

/// What a command runs in.
pub struct Context {
    pub global: Global,
    pub out: Out,
    /// The store that is open already, in a shell.
    session: Option<Db>,
}

impl Context {
    /// For a command with these options; `session` is the store that it is for unless it names another.
    pub fn new(global: Global, session: Option<Db>) -> Context {
        let out = Out::new(global.json, global.color, global.notation);
        Context {
            global,
            out,
            session,
        }
    }

    /// The store.
    pub fn open(&self, access: Access) -> Result<Db> {
        self.open_within(access, None)
    }

    /// The store; a cluster must be reached within so many milliseconds (none and 0: no limit of the command).
    pub fn open_within(&self, access: Access, limit_ms: Option<u64>) -> Result<Db> {
        match &self.session {
            Some(db) if !self.global.target.is_named() => Ok(db.clone()),
            _ => self.global.target.open(access, limit_ms),
        }
    }

    /// Whether this is a command of a shell.
    pub fn in_shell(&self) -> bool {
        self.session.is_some()
    }
}
