//! From the return codes of LMDB to errors of this crate.

use std::io;

use lmdb_sys as ffi;

use crate::error::{Code, Error};

/// The error for a return code of LMDB. `doing` names the operation.
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

/// The text for LMDB's own codes: what is wrong, and what to do.
fn text_of(rc: libc::c_int) -> &'static str {
    match rc {
        ffi::MDB_MAP_FULL => "the map is full",
        ffi::MDB_TXN_FULL => "the transaction is too large",
        ffi::MDB_READERS_FULL => "all slots for readers are taken (option max_readers)",
        ffi::MDB_CORRUPTED | ffi::MDB_PAGE_NOTFOUND => "the file is damaged",
        ffi::MDB_PANIC => {
            "an earlier write of the meta page failed; close the store and open it again"
        }
        ffi::MDB_VERSION_MISMATCH => "the file has the format of another LMDB version",
        ffi::MDB_INVALID => "the file is not an LMDB file",
        ffi::MDB_MAP_RESIZED => "the file has grown beyond the map",
        ffi::MDB_BAD_TXN => "the transaction cannot continue",
        _ => "LMDB reported an error",
    }
}
