//! The guard file: the state of an open store that processes share, apart from the data.
//!
//! Every process that has the store open maps the file and holds locks on bytes of it. The file is
//! never removed. Two things in it must survive the last process: the mark of a failed sync, and
//! the deadlines of leases, as long as they belong to this boot and these files. The process that
//! opens the store first initialises the rest.
//!
//! | file | job |
//! |---|---|
//! | `layout` | the bytes of the file, and its map |
//! | `presence` | locks on bytes: which processes have the store open |
//! | `identity` | the store and boot that the file belongs to; initialisation |
//! | `robust_mutex` | a mutex in shared memory that survives its holder |
//! | `writer_lock` | the write lock |
//! | `signal` | the commit signal: wakes the threads of all processes that wait for a commit |
//! | `lease_slots` | the memory of the lease slots |

pub(crate) mod identity;
pub(crate) mod layout;
mod lease_slots;
mod presence;
mod robust_mutex;
mod signal;
pub(crate) mod writer_lock;

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use self::layout::{HEAD_BYTES, Layout, MAGIC, Page};
use super::os::{self, LockFile, failed};
use crate::error::Result;

/// The guard of an open store.
pub(crate) struct Guard {
    file: LockFile,
    /// None on a read-only medium, where nothing is written and no process may write.
    page: Option<Page>,
    path: PathBuf,
    /// The bytes that this process has locked.
    held: Vec<u64>,
    /// LMDB's lock file, open from before LMDB opens it until after LMDB has closed it: closing any
    /// descriptor of it in between would drop LMDB's own lock of this process.
    lock_file: Option<fs::File>,
    generation: u64,
}

impl Guard {
    /// Opens the guard file, and creates it with `mode` if it does not exist.
    pub fn open(path: &Path, mode: u32) -> Result<Guard> {
        let file = fs::File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(mode)
            .custom_flags(libc::O_CLOEXEC | libc::O_NOFOLLOW)
            .open(path)
            .map_err(|e| failed(path, e))?;
        Ok(Guard::new(path, file))
    }

    /// Opens the guard file of a store on a read-only medium.
    pub fn open_read_only(path: &Path) -> Result<Guard> {
        let file = fs::File::open(path).map_err(|e| failed(path, e))?;
        Ok(Guard::new(path, file))
    }

    fn new(path: &Path, file: fs::File) -> Guard {
        Guard {
            file: LockFile::new(file),
            page: None,
            path: path.to_owned(),
            held: Vec::new(),
            lock_file: None,
            generation: os::fork_generation(),
        }
    }

    fn io<T>(&self, result: io::Result<T>) -> Result<T> {
        result.map_err(|e| failed(&self.path, e))
    }

    /// Device and inode of the open file.
    pub fn file_id(&self) -> Result<(u64, u64)> {
        let (device, inode, _) = self.io(os::file_id(self.file.fd()))?;
        Ok((device, inode))
    }

    /// Whether the file is not a guard file and only has its name. A guard file is empty, or has at
    /// least its whole first page, which begins with the magic number or is not initialised.
    pub fn is_foreign(&self) -> Result<bool> {
        let (_, _, bytes) = self.io(os::file_id(self.file.fd()))?;
        let mut word = [0; 8];
        if bytes >= HEAD_BYTES as u64 {
            self.io(fs::File::open(&self.path).and_then(|mut file| file.read_exact(&mut word)))?;
        }
        Ok((1..HEAD_BYTES as u64).contains(&bytes)
            || ![0, MAGIC].contains(&u64::from_le_bytes(word)))
    }

    /// Whether a store was here when the page was last written: the page has a store id.
    pub fn has_store_id(&self) -> Result<bool> {
        let mut page = [0; 32];
        let read = fs::File::open(&self.path).and_then(|mut file| file.read_exact(&mut page));
        match read {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            read => self
                .io(read)
                .map(|()| page[..8] == MAGIC.to_le_bytes() && page[16..] != [0; 16]),
        }
    }

    /// Allocates and maps the page. The caller holds "opening".
    pub fn map(&mut self) -> Result<()> {
        let (_, _, bytes) = self.io(os::file_id(self.file.fd()))?;
        if bytes < HEAD_BYTES as u64 {
            self.io(os::allocate(self.file.fd(), HEAD_BYTES as u64))?;
        }
        self.page = Some(self.io(Page::map(&self.path))?);
        Ok(())
    }

    /// Whether the guard is mapped, so that state can be shared.
    pub fn has_page(&self) -> bool {
        self.page.is_some()
    }

    fn shared(&self) -> Option<&Layout> {
        self.page.as_ref().map(Page::layout)
    }

    /// The id of this boot, if it can be read.
    pub fn boot_id(&self) -> Option<[u8; 16]> {
        os::process().boot
    }

    /// Whether a sync has failed, so that no process may write.
    pub fn is_poisoned(&self) -> bool {
        self.shared()
            .is_some_and(|shared| shared.poisoned.load(Ordering::Acquire) != 0)
    }

    /// Records that a sync has failed.
    pub fn poison(&self) {
        if let Some(shared) = self.shared() {
            shared.poisoned.store(1, Ordering::Release);
        }
    }

    /// Removes the mark of a failed sync after a successful one. No other process is present.
    pub fn clear_poison(&self) {
        if let Some(shared) = self.shared() {
            shared.poisoned.store(0, Ordering::Release);
        }
    }

    /// Records LMDB's number of the last commit.
    pub fn set_txn_id(&self, id: u64) {
        if let Some(shared) = self.shared() {
            shared.txn_id.store(id, Ordering::Release);
        }
    }

    /// The recorded number of the last commit.
    pub fn txn_id(&self) -> u64 {
        self.shared()
            .map_or(0, |shared| shared.txn_id.load(Ordering::Acquire))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // closing is not enough: a child spawned meanwhile may share the open file description
        if self.generation == os::fork_generation() {
            self.unlock_all();
        }
    }
}
