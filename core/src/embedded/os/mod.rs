//! What the operating system does for a store: locks, space, clocks, waking, forks. This module
//! does not depend on stores.
//!
//! System calls go through `rustix`, which has them without `unsafe`. The exceptions use `libc`:
//! locks on bytes by open file description, signal masks, the allocator, and handlers of forks.
//!
//! | file | contents |
//! |---|---|
//! | `failure` | the error of a call on a file, with the missing permission |
//! | `file` | files: identity, allocation of blocks, their file system, shared maps |
//! | `file_lock` | locks on single bytes of a file |
//! | `process` | the process: boot, namespaces, start time; settings of the whole process |
//! | `clock` | the time since boot |
//! | `wake` | waking threads: futexes and event descriptors |
//! | `fork` | counting forks, and what a forked child must not share |

mod clock;
mod failure;
mod file;
mod file_lock;
mod fork;
mod process;
mod wake;

pub(crate) use clock::{boottime_ms, boottime_ns};
pub(crate) use failure::failed;
pub(crate) use file::{
    allocate, file_id, is_full, is_network_fs, is_removed, map_shared, set_close_on_exec, sync_dir,
};
pub(crate) use file_lock::{
    LockKind, bytes_locked_by_others, locked_by_other, process_lock_holder, try_lock, unlock,
};
pub(crate) use fork::{LockFile, PerGeneration, count_forks, fork_generation};
pub(crate) use process::{
    block_sigpipe, is_current, process, process_start, random, return_large_memory,
};
pub(crate) use wake::{EventFd, futex_wait, futex_wake_all};
