//! `:memory:`: a new store in memory that leaves no files.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::attempt::Opening;
use crate::embedded::os::{self, failed};
use crate::embedded::store::Store;
use crate::error::{Code, Error, Result};
use crate::options::Options;
use crate::request::Durability;

/// Opens a new store in a private directory in shared memory, which is removed once it is open.
pub(super) fn open_memory(options: &Options) -> Result<Arc<Store>> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let impossible = match options {
        Options {
            read_only: Some(true),
            ..
        } => Some("read_only"),
        Options {
            create: Some(false),
            ..
        } => Some("create false"),
        _ => None,
    };
    if let Some(option) = impossible {
        return Err(Error::new(
            Code::InvalidArgument,
            format!(":memory: is always a new store; option {option} is not possible"),
        ));
    }
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!(
        "libkv-{}-{:x}-{number}",
        std::process::id(),
        os::process().image
    );
    let options = Options {
        durability: Some(Durability::None),
        ..options.clone()
    };
    let mut failure = None;
    for parent in [PathBuf::from("/dev/shm"), std::env::temp_dir()] {
        let path = parent.join(&name);
        let made = fs::DirBuilder::new().mode(0o700).create(&path);
        if let Err(e) = made {
            failure = Some(failed(&path, e));
            continue;
        }
        let mut opening = Opening::new(path.clone(), &options);
        opening.settings.in_memory = true;
        let result = opening.run();
        let _ = fs::remove_dir_all(&path);
        return result;
    }
    Err(failure
        .unwrap_or_else(|| Error::new(Code::Io, "no directory is available for a store in memory")))
}
