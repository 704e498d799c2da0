//! Opening a store: from its address to an open environment, or to a refusal with its reason.
//!
//! | file | contents |
//! |---|---|
//! | `address` | from an address to a path |
//! | `target` | the directory, and the checks whether a store may be opened or created there |
//! | `create` | creating the files |
//! | `attempt` | one opening: locks, checks and environment, until it succeeds or fails |
//! | `memory` | `:memory:` |

mod address;
mod attempt;
mod create;
mod memory;
mod target;

use std::path::Path;
use std::sync::Arc;

use self::address::local_path;
use self::attempt::Opening;
use self::memory::open_memory;
use super::store::Store;
use crate::error::{Code, Error, Result};
use crate::options::{AutoCompaction, Options};

/// The largest `max_readers`. Each slot needs 64 bytes in LMDB's lock file.
const MAX_READERS_MAX: u32 = 1 << 20;

/// Opens the store at `target`: a path, a `file:` URL or `:memory:`.
pub(crate) fn open(target: &Path, options: &Options) -> Result<Arc<Store>> {
    if let Some(name) = options.cluster_option() {
        // without network code, the address of a cluster is refused for that reason
        if target.as_os_str() != ":memory:" {
            local_path(target)?;
        }
        return refused(format!(
            "option {name} applies to clusters only, and this is a store"
        ));
    }
    check_options(options)?;
    if target.as_os_str() == ":memory:" {
        return open_memory(options);
    }
    Opening::new(local_path(target)?, options).run()
}

fn refused<T>(message: impl Into<String>) -> Result<T> {
    Err(Error::new(Code::InvalidArgument, message))
}

fn check_options(options: &Options) -> Result<()> {
    if let Some(AutoCompaction::Revisions(0) | AutoCompaction::Seconds(0)) = options.auto_compaction
    {
        return refused(
            "option auto_compaction must be greater than 0; omit it to keep the whole history",
        );
    }
    match options.max_readers {
        Some(0) => return refused("option max_readers must be greater than 0"),
        Some(slots) if slots > MAX_READERS_MAX => {
            return refused(format!(
                "option max_readers is {slots}; the maximum is {MAX_READERS_MAX}"
            ));
        }
        _ => {}
    }
    if let Some(mode) = options.mode.filter(|mode| mode & !0o777 != 0) {
        return refused(format!(
            "option mode is {mode:o}; it must be the permissions of files, at most 777"
        ));
    }
    Ok(())
}
