//! Snapshots of etcd: files with the whole history of a store.
#![allow(unsafe_code)]

use std::ffi::c_char;
use std::path::{Path, PathBuf};

use libkv::{Db, Result, Revision};

use crate::db::KvDb;
use crate::error::KvError;
use crate::guard::guard;
use crate::handle::invalid;
use crate::pointers::Caller;
use crate::types::*;

/// What the feature `etcd` brings.
#[cfg(feature = "etcd")]
mod net {
    use super::*;

    pub fn save(db: &Db, path: &Path) -> Result<Revision> {
        Ok(libkv_etcd::save_snapshot(db, path)?.revision)
    }

    pub fn restore(snapshot: &Path, store: &Path, skip_hash_check: bool) -> Result<Revision> {
        let restore = libkv_etcd::Restore::new(snapshot).skip_hash_check(skip_hash_check);
        Ok(restore.run(store)?.revision)
    }
}

/// A library without etcd's formats.
#[cfg(not(feature = "etcd"))]
mod net {
    use super::*;

    fn unsupported() -> libkv::Error {
        let message =
            "this libkv was built without the feature etcd: it cannot read or write snapshots";
        libkv::Error::new(libkv::Code::Unsupported, message)
    }

    pub fn save(_: &Db, _: &Path) -> Result<Revision> {
        Err(unsupported())
    }

    pub fn restore(_: &Path, _: &Path, _: bool) -> Result<Revision> {
        Err(unsupported())
    }
}

fn path(c: &Caller, text: *const c_char, name: &str) -> Result<PathBuf> {
    c.path(text)
        .ok_or_else(|| invalid(format!("{name} is NULL")))
}

/// Writes a snapshot of a store to a new file, which etcd and kv_restore can read: all events that
/// are kept, the leases with the time that they have left, and the compacted revision, as of one
/// moment. The file is complete, or not there. Writers are not blocked. *revision is the revision of
/// the snapshot.
///
/// Owner: no ownership changes; path is borrowed for the call.
/// Threads: any.
/// Errors: KV_EXISTS (the file), KV_NOT_FOUND and KV_PERMISSION_DENIED (its directory),
/// KV_UNSUPPORTED (a cluster, or a library built without the feature etcd), KV_INVALID_ARGUMENT,
/// KV_CLOSED, KV_FORKED, KV_FULL, KV_CORRUPT, KV_IO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_snapshot_save(
    db: *const KvDb,
    path: *const c_char,
    revision: *mut i64,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        let saved = net::save(&c.arg(db)?.0, &self::path(c, path, "path")?)?;
        c.put(revision, saved);
        Ok(())
    })
}

/// Makes a store in the directory store from a snapshot: one of kv_snapshot_save, or one of etcd 3.4
/// or later. The directory must not exist, or be empty. With skip_hash_check KV_YES the file need not
/// end with its SHA-256, as a copy of etcd's `member/snap/db`. The store is complete, or not there.
/// *revision is its revision.
///
/// Owner: no ownership changes; snapshot and store are borrowed for the call.
/// Threads: any.
/// Errors: KV_NOT_FOUND and KV_PERMISSION_DENIED (the file), KV_EXISTS (the store), KV_CORRUPT (the
/// file is damaged or no snapshot), KV_UNSUPPORTED (a library built without the feature etcd),
/// KV_INVALID_ARGUMENT, KV_FULL, KV_IO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_restore(
    snapshot: *const c_char,
    store: *const c_char,
    skip_hash_check: i32,
    revision: *mut i64,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        let skip = flag_in(skip_hash_check, "skip_hash_check")?.unwrap_or(false);
        let (snapshot, store) = (path(c, snapshot, "snapshot")?, path(c, store, "store")?);
        c.put(revision, net::restore(&snapshot, &store, skip)?);
        Ok(())
    })
}
