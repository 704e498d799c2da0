//! The only code that touches LMDB: the environment, its transactions, cursors, and the pages
//! themselves (read by pread, for files that LMDB must not open).
//!
//! It knows trees by name and bytes; what keys mean is above. The `unsafe` of the engine's storage
//! is all here: what leaves this module is borrowed from a transaction and checked by the compiler.

mod cursor;
mod env;
pub(crate) mod pages;
mod txn;

pub(crate) use cursor::Cursor;
pub(crate) use env::{Env, EnvOptions, MAP_BYTES, free_own_readers, lay, version};
pub(crate) use txn::{ReadTxn, Txn, WriteTxn};

use std::io;

use lmdb_sys as ffi;

use crate::error::{Code, Error};

/// The trees of a store, all made at its creation; `core/DESIGN.md` draws their entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tree {
    /// The present: one entry for each key that exists.
    Live,
    /// Every event that some readable revision needs.
    Log,
    /// Keys that are deleted, until compaction.
    Dead,
    /// Leases, and the keys on them.
    Lease,
    Lkey,
    /// What the store says of itself.
    Meta,
    /// Small records that raise no revision: the time index, alarms, whatever [`Side`](crate::Side) writes.
    Side,
    /// Keys over 480 bytes (a later version's work).
    Part,
    Live2,
    Dead2,
}

impl Tree {
    pub const ALL: [Tree; 10] = {
        use Tree::*;
        [Live, Log, Dead, Lease, Lkey, Meta, Side, Part, Live2, Dead2]
    };

    /// As LMDB knows them, in the order of [`Tree::ALL`].
    pub const NAMES: [&'static str; 10] = [
        "live", "log", "dead", "lease", "lkey", "meta", "side", "part", "live2", "dead2",
    ];
}

/// An LMDB error in our words. `doing` says what was tried.
pub(crate) fn error(rc: libc::c_int, doing: &str) -> Error {
    let code = match rc {
        ffi::MDB_MAP_FULL | ffi::MDB_TXN_FULL => Code::Full,
        libc::ENOSPC | libc::EDQUOT => Code::Full,
        libc::EACCES | libc::EPERM => Code::PermissionDenied,
        libc::EROFS => Code::ReadOnly,
        ffi::MDB_READERS_FULL => Code::Busy,
        ffi::MDB_CORRUPTED | ffi::MDB_PAGE_NOTFOUND => Code::Corrupt,
        ffi::MDB_VERSION_MISMATCH => Code::Incompatible,
        ffi::MDB_INVALID => Code::NotAStore,
        _ => Code::Io,
    };
    let text = if rc > 0 {
        io::Error::from_raw_os_error(rc).to_string()
    } else {
        text_of(rc).to_string()
    };
    Error::new(code, format!("{doing}: {text}"))
}

/// LMDB's own codes, in words that say what to do.
fn text_of(rc: libc::c_int) -> &'static str {
    match rc {
        ffi::MDB_MAP_FULL => "the map is full",
        ffi::MDB_TXN_FULL => "the transaction is too large",
        ffi::MDB_READERS_FULL => "all slots for readers are taken (option max_readers)",
        ffi::MDB_CORRUPTED | ffi::MDB_PAGE_NOTFOUND => "the file is damaged",
        ffi::MDB_PANIC => {
            "an earlier write of the meta page failed; close the store and open it again"
        }
        ffi::MDB_VERSION_MISMATCH => "the file is of another LMDB version",
        ffi::MDB_INVALID => "the file is no LMDB file",
        ffi::MDB_MAP_RESIZED => "the file has grown beyond the map",
        ffi::MDB_BAD_TXN => "the transaction cannot go on",
        _ => "LMDB reported an error",
    }
}
