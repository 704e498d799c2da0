//! Snapshots of etcd: files with the whole history of a store.

use std::path::{Path, PathBuf};

use libkv::{Db, Result, Revision};
use napi::bindgen_prelude::Buffer;
use napi_derive::napi;

use crate::job::{JobPromise, on_pool};
use crate::state::{guarded, with_state};

/// What the feature `etcd` brings.
#[cfg(feature = "etcd")]
mod net {
    use super::*;

    pub fn save(db: &Db, path: &Path) -> Result<Revision> {
        Ok(libkv_etcd::save_snapshot(db, path)?.revision)
    }

    pub fn restore(snapshot: PathBuf, store: &Path, skip_hash_check: bool) -> Result<Revision> {
        let restore = libkv_etcd::Restore::new(snapshot).skip_hash_check(skip_hash_check);
        Ok(restore.run(store)?.revision)
    }
}

/// An addon without etcd's formats.
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

    pub fn restore(_: PathBuf, _: &Path, _: bool) -> Result<Revision> {
        Err(unsupported())
    }
}

pub use net::save;

/// Makes a store from a snapshot, on the pool. The response is its revision.
#[napi(catch_unwind)]
pub fn restore_later(len: u32, large: Option<Buffer>) -> napi::Result<JobPromise> {
    with_state(|state| {
        let arguments = guarded(|| {
            let mut reader = state.request(len, &large)?;
            Ok((reader.path()?, reader.path()?, reader.u8()? != 0))
        });
        on_pool(move |writer| {
            let (snapshot, store, skip_hash_check) = arguments?;
            writer.just(net::restore(snapshot, &store, skip_hash_check)?);
            Ok(())
        })
    })
}
