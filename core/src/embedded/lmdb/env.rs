//! The environment: one data file, mapped once in this process, with a pool of parked read
//! transactions.
#![allow(unsafe_code)]

use std::mem::ManuallyDrop;
use std::os::fd::{BorrowedFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crossbeam::queue::ArrayQueue;
use lmdb::{
    DatabaseFlags, Environment, EnvironmentFlags, InactiveTransaction, RoTransaction, Transaction,
};
use lmdb_sys as ffi;

use super::error::error;
use super::tree::Tree;
use crate::embedded::os;
use crate::error::{Code, Error, Result};

/// The map without a quota: address space only, no memory.
pub(crate) const MAP_BYTES: usize = 1 << 40;
/// If the system refuses a map of this size, opening fails: the store could hold too little.
const MAP_BYTES_MIN: usize = 1 << 30;
/// The largest number of parked readers; fewer if slots are scarce.
const PARKED_MAX: usize = 4;
/// The version of LMDB that the file format and `page_layout` belong to.
const LMDB_VERSION: (i32, i32, i32) = (0, 9, 24);

/// How an environment is opened.
#[derive(Clone, Debug)]
pub(crate) struct EnvOptions {
    /// Write transactions are refused.
    pub read_only: bool,
    /// No lock file: for a read-only medium, and for a file that no other process can have opened.
    pub no_lock: bool,
    /// Commits flush nothing (durability `none`).
    pub no_sync: bool,
    /// The number of slots for readers, if this process creates the lock file.
    pub max_readers: u32,
    /// Address space for the map, halved until the system grants it.
    pub map_bytes: usize,
    /// Permissions of created files.
    pub mode: u32,
}

/// Returns a process that is alive but has lost its lock on LMDB's lock file, if there is one.
pub(crate) type LostLock = Box<dyn Fn() -> Result<Option<u32>> + Send + Sync>;

/// An open environment. Dropping it closes the file; every transaction borrows it.
pub(crate) struct Env {
    parked: ManuallyDrop<ArrayQueue<InactiveTransaction<'static>>>,
    env: ManuallyDrop<Environment>,
    trees: [ffi::MDB_dbi; Tree::NAMES.len()],
    max_readers: u32,
    path: PathBuf,
    /// See [`Env::set_lost_lock`].
    lost_lock: OnceLock<LostLock>,
}

// SAFETY: LMDB environments may be used from any thread. The parked transactions do not belong to a
// thread because the environment is opened with MDB_NOTLS.
unsafe impl Send for Env {}
// SAFETY: as above. The pool and the hook may be shared; everything else is read-only after the
// open.
unsafe impl Sync for Env {}

impl Env {
    /// Opens `dir`/data.mdb. The file must exist and be a store: see
    /// [`DataFile::inspect`](super::data_file::DataFile::inspect).
    pub fn open(dir: &Path, options: &EnvOptions) -> Result<Env> {
        check_version()?;
        let mut flags = EnvironmentFlags::NO_TLS;
        flags.set(EnvironmentFlags::READ_ONLY, options.read_only);
        flags.set(EnvironmentFlags::NO_LOCK, options.no_lock);
        flags.set(EnvironmentFlags::NO_SYNC, options.no_sync);
        let env = open_mapped(dir, options, flags)?;
        close_on_exec(&env)?;
        let mut trees = [0; Tree::NAMES.len()];
        for (name, dbi) in Tree::NAMES.iter().zip(&mut trees) {
            let opened = env
                .open_db(Some(name))
                .map_err(|e| error(e.to_err_code(), &format!("tree {name}")))?;
            *dbi = opened.dbi();
        }
        let parked = ArrayQueue::new(PARKED_MAX);
        let mut max_readers = 0;
        // SAFETY: the environment is open and the pointer is to our own integer.
        unsafe { ffi::mdb_env_get_maxreaders(env.env(), &mut max_readers) };
        Ok(Env {
            parked: ManuallyDrop::new(parked),
            env: ManuallyDrop::new(env),
            trees,
            max_readers,
            path: dir.to_owned(),
            lost_lock: OnceLock::new(),
        })
    }

    pub(super) fn dbi(&self, tree: Tree) -> ffi::MDB_dbi {
        self.trees[tree as usize]
    }

    pub(super) fn raw(&self) -> *mut ffi::MDB_env {
        self.env.env()
    }

    /// The environment of the crate `lmdb`.
    pub(super) fn lmdb(&self) -> &Environment {
        &self.env
    }

    /// The number of slots for readers.
    pub(super) fn max_readers(&self) -> u32 {
        self.max_readers
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the data file was removed: what is written is lost when the last process closes it.
    pub fn is_removed(&self) -> bool {
        data_fd(&self.env).is_ok_and(os::is_removed)
    }

    /// Sets the function that [`Env::reader_check`] calls first. LMDB checks only pids and locks;
    /// the function checks which processes are alive.
    pub fn set_lost_lock(&self, lost_lock: LostLock) {
        let _ = self.lost_lock.set(lost_lock);
    }

    /// A live process without its lock; none if the function is not set.
    pub(super) fn lost_lock(&self) -> Result<Option<u32>> {
        self.lost_lock.get().map_or(Ok(None), |find| find())
    }

    pub(super) fn park(&self, txn: RoTransaction<'static>) {
        // a full pool returns the transaction, and dropping it frees its slot
        let _ = self.parked.push(txn.reset());
    }

    pub(super) fn unpark(&self) -> Option<InactiveTransaction<'static>> {
        self.parked.pop()
    }

    /// Sets whether the next commit leaves its meta page in the page cache. LMDB keeps this for the
    /// whole environment. The caller has a write transaction open, so no other thread commits.
    pub(super) fn set_lazy(&self, lazy: bool) -> Result<()> {
        // SAFETY: this flag may change while the environment is open, and only the thread with the
        // write transaction reads or changes it.
        match unsafe { ffi::mdb_env_set_flags(self.raw(), ffi::MDB_NOMETASYNC, lazy.into()) } {
            0 => Ok(()),
            rc => Err(error(rc, "durability")),
        }
    }

    /// Flushes everything that was committed.
    pub fn sync(&self) -> Result<()> {
        self.env
            .sync(true)
            .map_err(|e| error(e.to_err_code(), "sync"))
    }

    /// LMDB's number of the last commit that is in the file.
    pub fn last_txn(&self) -> Result<u64> {
        let info = self
            .env
            .info()
            .map_err(|e| error(e.to_err_code(), "status"))?;
        Ok(info.last_txnid() as u64)
    }

    /// The number of pages of the file, up to the last page that a commit has used.
    pub(super) fn pages(&self) -> Result<u64> {
        let info = self
            .env
            .info()
            .map_err(|e| error(e.to_err_code(), "status"))?;
        Ok(info.last_pgno() as u64 + 1)
    }

    /// Whether LMDB refuses every call because a write of the meta page failed.
    pub fn is_broken(&self) -> bool {
        matches!(self.env.begin_ro_txn(), Err(lmdb::Error::Panic))
    }
}

impl Drop for Env {
    fn drop(&mut self) {
        // SAFETY: neither is used again. The parked transactions end before their environment.
        unsafe {
            ManuallyDrop::drop(&mut self.parked);
            ManuallyDrop::drop(&mut self.env);
        }
    }
}

/// Opens the environment with the map size of the options, or as much as the system grants.
fn open_mapped(path: &Path, options: &EnvOptions, flags: EnvironmentFlags) -> Result<Environment> {
    let mut map_bytes = options.map_bytes;
    loop {
        let opened = Environment::new()
            .set_flags(flags)
            .set_max_dbs(Tree::NAMES.len() as u32 + 2)
            .set_max_readers(options.max_readers)
            .set_map_size(map_bytes)
            .open_with_permissions(path, options.mode);
        match opened {
            Ok(env) => return Ok(env),
            Err(lmdb::Error::Other(libc::ENOMEM | libc::EINVAL)) if map_bytes > MAP_BYTES_MIN => {
                map_bytes /= 2
            }
            Err(e) => return Err(error(e.to_err_code(), &path.display().to_string())),
        }
    }
}

/// The descriptor of the data file.
fn data_fd(env: &Environment) -> Result<BorrowedFd<'_>> {
    let mut fd: RawFd = -1;
    // SAFETY: the environment is open and the pointer is to our own integer. The descriptor stays
    // open as long as the environment.
    unsafe {
        match ffi::mdb_env_get_fd(env.env(), &mut fd) {
            0 => Ok(BorrowedFd::borrow_raw(fd)),
            rc => Err(error(rc, "descriptor")),
        }
    }
}

/// Sets close-on-exec, which LMDB does not: a spawned child would keep a writable descriptor.
fn close_on_exec(env: &Environment) -> Result<()> {
    os::set_close_on_exec(data_fd(env)?)
        .map_err(|e| Error::new(Code::Io, "setting close-on-exec failed").with_source(e))
}

/// The LMDB in this process, as `0.9.24`.
pub(crate) fn version() -> String {
    let (major, minor, patch) = version_numbers();
    format!("{major}.{minor}.{patch}")
}

fn version_numbers() -> (i32, i32, i32) {
    let (mut major, mut minor, mut patch) = (0, 0, 0);
    // SAFETY: the pointers are to our own integers.
    unsafe { ffi::mdb_version(&mut major, &mut minor, &mut patch) };
    (major, minor, patch)
}

fn check_version() -> Result<()> {
    if version_numbers() == LMDB_VERSION {
        return Ok(());
    }
    let message = format!(
        "this program has LMDB {} but libkv needs its own LMDB 0.9.24: another crate or library of \
         the program replaces liblmdb",
        version()
    );
    Err(Error::new(Code::Incompatible, message))
}

/// Creates a complete data file at `file`, which must not exist: all trees, and `meta` with these
/// entries. The file is flushed, unless `unsynced`, and closed. No other process may use the name
/// yet.
pub(crate) fn create_data_file(
    file: &Path,
    mode: u32,
    unsynced: bool,
    meta: &[(&[u8], Vec<u8>)],
) -> Result<()> {
    check_version()?;
    let mut flags =
        EnvironmentFlags::NO_TLS | EnvironmentFlags::NO_SUB_DIR | EnvironmentFlags::NO_LOCK;
    flags.set(EnvironmentFlags::NO_SYNC, unsynced);
    // the entries are small, and empty trees need no page
    let options = EnvOptions {
        read_only: false,
        no_lock: true,
        no_sync: false,
        max_readers: 1,
        map_bytes: 1 << 20,
        mode,
    };
    let env = open_mapped(file, &options, flags)?;
    close_on_exec(&env)?;
    let failed = |e: lmdb::Error| error(e.to_err_code(), &file.display().to_string());
    let mut txn = env.begin_rw_txn().map_err(failed)?;
    for name in Tree::NAMES {
        // SAFETY: this transaction is the only one, since no other process has opened the file.
        let tree = unsafe { txn.create_db(Some(name), DatabaseFlags::empty()) }.map_err(failed)?;
        if name == "meta" {
            for (key, value) in meta {
                txn.put(tree, key, value, lmdb::WriteFlags::empty())
                    .map_err(failed)?;
            }
        }
    }
    txn.commit().map_err(failed)?;
    match unsynced {
        true => Ok(()),
        false => env.sync(true).map_err(failed),
    }
}
