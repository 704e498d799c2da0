//! The environment: one data file, mapped once in this process, with its pool of parked readers.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::fs;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use crossbeam::queue::ArrayQueue;
use lmdb::{
    DatabaseFlags, Environment, EnvironmentFlags, InactiveTransaction, RoTransaction, Transaction,
};
use lmdb_sys as ffi;

use super::{ReadTxn, Tree, WriteTxn, error};
use crate::embedded::guard::Guard;
use crate::embedded::os;
use crate::error::{Code, Error, Result};

/// The map without a quota: address space only, no memory.
pub(crate) const MAP_BYTES: usize = 1 << 40;
/// Below this a refused map is an error: no store of any use would fit.
const MAP_BYTES_MIN: usize = 1 << 30;
/// Readers parked at most; fewer when slots are scarce.
const PARKED_MAX: usize = 4;
/// The LMDB that the file and our page parser rely on.
const LMDB_VERSION: (i32, i32, i32) = (0, 9, 24);

/// How an environment is opened.
#[derive(Clone, Debug)]
pub(crate) struct EnvOptions {
    /// Write transactions are refused.
    pub read_only: bool,
    /// No lock file: for a read-only medium, and for a file that nobody else can know yet.
    pub no_lock: bool,
    /// No flush ever (durability `none`).
    pub no_sync: bool,
    /// Slots for readers, if this opener lays the lock file.
    pub max_readers: u32,
    /// Address space for the map; halved until the system grants it.
    pub map_bytes: usize,
    /// Permissions of files that are made.
    pub mode: u32,
}

/// What the environment says of itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Info {
    pub last_txn: u64,
    /// The transaction that each reader in the table reads, over all processes.
    pub reader_txns: Vec<u64>,
    /// Slots taken by readers that are parked.
    pub readers_idle: u32,
}

/// An open environment. Dropping it closes the file; every transaction borrows it.
pub(crate) struct Env {
    parked: ManuallyDrop<ArrayQueue<InactiveTransaction<'static>>>,
    env: ManuallyDrop<Environment>,
    trees: [ffi::MDB_dbi; Tree::NAMES.len()],
    max_readers: u32,
    path: PathBuf,
    /// Who knows which processes are present; held weakly, for it closes after this.
    guard: OnceLock<Weak<Guard>>,
}

// SAFETY: LMDB environments may be used from any thread; the parked transactions are bound to no
// thread because the environment is opened with MDB_NOTLS.
unsafe impl Send for Env {}
// SAFETY: as above; the pool is a concurrent queue and everything else is read-only after open.
unsafe impl Sync for Env {}

impl Env {
    /// Opens `dir`/data.mdb. The file must exist and be a store of ours: see
    /// [`pages::inspect`](super::pages::inspect).
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
            guard: OnceLock::new(),
        })
    }

    pub(super) fn dbi(&self, tree: Tree) -> ffi::MDB_dbi {
        self.trees[tree as usize]
    }

    pub(super) fn raw(&self) -> *mut ffi::MDB_env {
        self.env.env()
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the data file was removed, and what is written is lost with the last process that has it open.
    pub fn is_removed(&self) -> bool {
        data_fd(&self.env).is_ok_and(os::is_removed)
    }

    /// Says who knows which processes are present, for [`Env::reader_check`].
    pub fn set_guard(&self, guard: &Arc<Guard>) {
        let _ = self.guard.set(Arc::downgrade(guard));
    }

    /// A read transaction on the newest commit: a parked one renewed, else a new one.
    pub fn read(&self) -> Result<ReadTxn<'_>> {
        if let Some(parked) = self.parked.pop() {
            let txn = parked
                .renew()
                .map_err(|e| error(e.to_err_code(), "read transaction"))?;
            return Ok(ReadTxn::new(self, txn));
        }
        self.begin_read(Instant::now() + Duration::from_secs(1))
    }

    #[cold]
    fn begin_read(&self, deadline: Instant) -> Result<ReadTxn<'_>> {
        loop {
            match self.env.begin_ro_txn() {
                // SAFETY: the transaction is dropped or parked before the environment: ReadTxn
                // borrows it, and Env::drop empties the pool first.
                Ok(txn) => return Ok(ReadTxn::new(self, unsafe { extend(txn) })),
                Err(lmdb::Error::ReadersFull) => {
                    while self.parked.pop().is_some() {}
                    let checked = self.reader_check();
                    if Instant::now() >= deadline {
                        return Err(checked.err().unwrap_or_else(|| self.readers_full()));
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(e) => return Err(error(e.to_err_code(), "read transaction")),
            }
        }
    }

    fn readers_full(&self) -> Error {
        let (slots, pids) = (self.max_readers, self.reader_pids());
        let message = format!(
            "all {slots} slots for readers are taken, by processes {pids} (option max_readers)"
        );
        Error::new(Code::Busy, message)
    }

    pub(super) fn park(&self, txn: RoTransaction<'static>) {
        // a full pool hands the transaction back, and dropping it frees its slot
        let _ = self.parked.push(txn.reset());
    }

    /// A write transaction. The caller holds the writer's lock.
    pub fn write(&self) -> Result<WriteTxn<'_>> {
        let txn = self
            .env
            .begin_rw_txn()
            .map_err(|e| error(e.to_err_code(), "write transaction"))?;
        Ok(WriteTxn::new(self, txn))
    }

    /// Whether the next commit leaves its meta page to the page cache. LMDB keeps that for the
    /// whole environment; the caller has a write transaction open, so nobody else commits.
    pub(super) fn set_lazy(&self, lazy: bool) -> Result<()> {
        // SAFETY: the flag is one that may change while the environment is open, and only the one
        // thread with a write transaction reads or changes it.
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

    /// Frees the slots of readers whose process is gone.
    ///
    /// # Errors
    ///
    /// `busy` if a process that lives has lost its lock: LMDB would take it for dead, and the pages
    /// that it reads for free.
    pub fn reader_check(&self) -> Result<u32> {
        if let Some(pid) = self
            .guard
            .get()
            .and_then(Weak::upgrade)
            .map_or(Ok(None), |guard| guard.lost_lock())?
        {
            let path = self.path.display();
            return Err(Error::new(
                Code::Busy,
                format!("{path}: process {pid} lost its lock; restart it"),
            ));
        }
        let mut dead = 0;
        // SAFETY: the environment is open and the pointer is to our own integer.
        let rc = unsafe { ffi::mdb_reader_check(self.raw(), &mut dead) };
        if rc == 0 {
            Ok(dead as u32)
        } else {
            Err(error(rc, "reader check"))
        }
    }

    fn reader_pids(&self) -> String {
        let mut pids: Vec<u64> = self.reader_lines().iter().map(|line| line.0).collect();
        pids.dedup();
        pids.truncate(8);
        pids.iter()
            .map(u64::to_string)
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// The reader table as (pid, transaction or none when parked).
    fn reader_lines(&self) -> Vec<(u64, Option<u64>)> {
        unsafe extern "C" fn collect(
            line: *const libc::c_char,
            ctx: *mut libc::c_void,
        ) -> libc::c_int {
            // SAFETY: LMDB hands us the pointer that we gave it, and a C string.
            let (lines, line) = unsafe { (&mut *ctx.cast::<Vec<String>>(), CStr::from_ptr(line)) };
            lines.push(line.to_string_lossy().into_owned());
            0
        }
        let mut lines: Vec<String> = Vec::new();
        // SAFETY: the callback is called before this returns only, with our vector.
        unsafe { ffi::mdb_reader_list(self.raw(), Some(collect), (&raw mut lines).cast()) };
        // a row is "pid thread txn", the txn a dash when parked; headings have no number first
        lines
            .iter()
            .flat_map(|text| text.lines())
            .filter_map(|line| {
                let mut words = line.split_whitespace();
                let pid = words.next()?.parse().ok()?;
                Some((pid, words.nth(1)?.parse().ok()))
            })
            .collect()
    }

    /// LMDB's number of the last commit that is in the file.
    pub fn last_txn(&self) -> Result<u64> {
        let info = self
            .env
            .info()
            .map_err(|e| error(e.to_err_code(), "status"))?;
        Ok(info.last_txnid() as u64)
    }

    /// How many pages the file has up to the last that any commit used.
    pub(super) fn pages(&self) -> Result<u64> {
        let info = self
            .env
            .info()
            .map_err(|e| error(e.to_err_code(), "status"))?;
        Ok(info.last_pgno() as u64 + 1)
    }

    /// Sizes and readers.
    pub fn info(&self) -> Result<Info> {
        let (parked, reading): (Vec<_>, Vec<_>) = self
            .reader_lines()
            .into_iter()
            .partition(|line| line.1.is_none());
        Ok(Info {
            last_txn: self.last_txn()?,
            reader_txns: reading.into_iter().filter_map(|line| line.1).collect(),
            readers_idle: parked.len() as u32,
        })
    }

    /// Whether LMDB refuses everything since a write of the meta page failed.
    pub fn is_broken(&self) -> bool {
        matches!(self.env.begin_ro_txn(), Err(lmdb::Error::Panic))
    }
}

impl Drop for Env {
    fn drop(&mut self) {
        // SAFETY: neither is used again; the parked transactions go before their environment.
        unsafe {
            ManuallyDrop::drop(&mut self.parked);
            ManuallyDrop::drop(&mut self.env);
        }
    }
}

/// SAFETY: the caller sees that the transaction ends before the environment.
unsafe fn extend(txn: RoTransaction<'_>) -> RoTransaction<'static> {
    // SAFETY: only the lifetime changes.
    unsafe { std::mem::transmute(txn) }
}

/// Maps as much address space as the system grants, from the wish downwards.
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
    // SAFETY: the environment is open and the pointer is to our own integer; the descriptor lives
    // as long as the environment.
    unsafe {
        match ffi::mdb_env_get_fd(env.env(), &mut fd) {
            0 => Ok(BorrowedFd::borrow_raw(fd)),
            rc => Err(error(rc, "descriptor")),
        }
    }
}

/// LMDB opens its data file without it: a spawned child would keep a writable descriptor.
fn close_on_exec(env: &Environment) -> Result<()> {
    let fd = data_fd(env)?.as_raw_fd();
    // SAFETY: the descriptor is open.
    match unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } {
        -1 => Err(Error::new(Code::Io, "close-on-exec refused")
            .with_source(std::io::Error::last_os_error())),
        _ => Ok(()),
    }
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
        "this program brought LMDB {}, libkv needs its own 0.9.24: another crate or library in it replaces liblmdb",
        version()
    );
    Err(Error::new(Code::Incompatible, message))
}

/// Where the slots for readers begin in LMDB's lock file: behind its two mutexes, each with its header in
/// cache lines of its own.
const READERS: u64 = {
    let mutex = size_of::<libc::pthread_mutex_t>();
    ((8 + mutex + 12).next_multiple_of(64) + mutex.next_multiple_of(64)) as u64
};
/// A slot: the transaction's number (8 bytes), the pid (4 bytes), the thread.
const READER_BYTES: usize = 64;

/// Frees the slots for readers with this process's pid. No environment of this process may have the file
/// open: then they are from before an `exec`, and LMDB itself takes them for slots in use.
pub(crate) fn free_own_readers(lock_file: &fs::File) -> io::Result<()> {
    let pid = std::process::id().to_le_bytes();
    let mut table = vec![0; lock_file.metadata()?.len().saturating_sub(READERS) as usize];
    lock_file.read_exact_at(&mut table, READERS)?;
    for (number, slot) in table.chunks_exact(READER_BYTES).enumerate() {
        if slot[8..12] == pid {
            lock_file.write_all_at(&[0; 4], READERS + (number * READER_BYTES + 8) as u64)?;
        }
    }
    Ok(())
}

/// Makes a complete data file at `file`, which must not exist: all trees, and `meta` with these
/// entries; flushed, if `sync`, and closed. Nobody else may know the name yet.
pub(crate) fn lay(file: &Path, mode: u32, sync: bool, meta: &[(&[u8], Vec<u8>)]) -> Result<()> {
    check_version()?;
    let mut flags =
        EnvironmentFlags::NO_TLS | EnvironmentFlags::NO_SUB_DIR | EnvironmentFlags::NO_LOCK;
    flags.set(EnvironmentFlags::NO_SYNC, !sync);
    // what is written is small, and the trees need no page
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
        // SAFETY: this transaction is the only one: nobody else knows the file.
        let tree = unsafe { txn.create_db(Some(name), DatabaseFlags::empty()) }.map_err(failed)?;
        if name == "meta" {
            for (key, value) in meta {
                txn.put(tree, key, value, lmdb::WriteFlags::empty())
                    .map_err(failed)?;
            }
        }
    }
    txn.commit().map_err(failed)?;
    if sync {
        env.sync(true).map_err(failed)
    } else {
        Ok(())
    }
}
