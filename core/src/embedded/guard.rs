//! The guard file: what the processes that have a store open share besides the store.
//!
//! It is mapped by each of them and never unlinked. Little in it must survive: `poisoned`, and the
//! deadlines of leases as long as they speak of this boot and these files. When nobody is present
//! the first opener lays the rest anew.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | magic |
//! | 8 | 4 | layout number; this and the lock bytes keep their places for ever |
//! | 12 | 4 | ABI: word size, size of the mutex, C library |
//! | 16 | 16 | store id |
//! | 32, 40 | 8, 8 | inodes of `data.mdb` and `lock.mdb` |
//! | 48, 56 | 8, 8 | inodes of the pid and time namespaces |
//! | 64 | 16 | boot id; zeroes equal nothing |
//! | 80 | 8 | LMDB's number of the last commit |
//! | 88, 96 | 4, 8 | pid of who holds "opening", and its start time |
//! | 104, 112, 120 | 4, 8, 8 | pid of who holds the writer's lock, its start time, and since when (ms since boot) |
//! | 128 | 4 | waiter word: somebody waits for the writer's lock |
//! | 132 | 4 | bell: bit 0 somebody sleeps, the rest counts |
//! | 136 | 4 | poisoned |
//! | 140 | 4 | kind of clock: 0 the system's, 1 in hand |
//! | 144 | 8 | lower bound of the next lease deadline; 0 look now, all ones none |
//! | 152, 160 | 8, 8 | lease slots that there are, and the first that may be free |
//! | 168, 176 | 8, 8 | how often a lease with an owner came or went, and how many there are |
//! | 184 | 8 | how often a lease slot was taken back |
//! | 192 | 64 | the writer's mutex |
//! | 256 | | backup pins (a later version's) |
//! | 4,096 | 32 each | lease slots: id, deadline (ns), the number of the owner's program image |
//!
//! Locks are on bytes of the file, by open file description: 0 "opening" (exclusive), 1 "present"
//! (shared; exclusive with a clock in hand), 2 "reading" (shared, of a read-only medium), 16 + pid
//! (exclusive, one for each process), 2^62 + image (exclusive, one for each program image, so that an
//! `exec` ends what the program before it owned).
#![allow(unsafe_code)]

use std::fs;
use std::io::{self, Read};
use std::marker::PhantomData;
use std::mem::{self, MaybeUninit};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::os::{self, LockFile, LockKind, SharedPage, failed};
use crate::engine::Interrupt;
use crate::error::{Code, Error, Result};

const MAGIC: u64 = u64::from_le_bytes(*b"libkv gd");
const LAYOUT: u32 = 3;
/// Word size, size of the mutex, and 1 for glibc.
const ABI: u32 =
    (size_of::<usize>() as u32) << 24 | (size_of::<libc::pthread_mutex_t>() as u32) << 8 | 1;
/// What is allocated at least: everything but the lease slots.
pub(crate) const GUARD_BYTES: usize = 4_096;
/// What is mapped: the file grows under it, a step at a time, and nothing beyond its end is touched.
const MAPPED_BYTES: usize = 64 << 20;
const GROWTH_BYTES: u64 = 64 << 10;
/// The bound of all deadlines when no lease has one.
pub(crate) const NO_DEADLINE: u64 = u64::MAX;
/// As many leases a store can have.
pub(crate) const SLOTS_MAX: u64 = ((MAPPED_BYTES - GUARD_BYTES) / size_of::<Slot>()) as u64;

const OPENING: u64 = 0;
const PRESENT: u64 = 1;
const READING: u64 = 2;
const PIDS: u64 = 16;
/// Pids are below this on Linux.
const PID_MAX: u64 = 1 << 22;
const IMAGES: u64 = 1 << 62;

/// A waiter raises its word anew so often: a holder may have cleared it for somebody else.
pub(crate) const WAIT_PERIOD: Duration = Duration::from_millis(100);
/// A holder that saw a waiter gives way at most so long.
const GIVE_WAY_MAX: Duration = Duration::from_millis(1);

#[repr(C)]
struct Layout {
    magic: AtomicU64,
    layout: AtomicU32,
    abi: AtomicU32,
    store_id: [AtomicU64; 2],
    data_inode: AtomicU64,
    lock_inode: AtomicU64,
    pid_namespace: AtomicU64,
    time_namespace: AtomicU64,
    boot: [AtomicU64; 2],
    txn_id: AtomicU64,
    opening_pid: AtomicU32,
    _pad0: u32,
    opening_start: AtomicU64,
    writer_pid: AtomicU32,
    _pad1: u32,
    writer_start: AtomicU64,
    writer_since_ms: AtomicU64,
    waiter: AtomicU32,
    bell: AtomicU32,
    poisoned: AtomicU32,
    clock_in_hand: AtomicU32,
    leases: SlotWords,
    mutex: MutexPlace,
}

/// What is known of all lease slots.
#[repr(C)]
pub(super) struct SlotWords {
    /// No lease has an earlier deadline; 0 is "look now".
    pub next_deadline: AtomicU64,
    /// How many there are.
    pub slots: AtomicU64,
    /// None before it is free.
    pub hint: AtomicU64,
    /// How often a lease with an owner came or went.
    pub owner_changes: AtomicU64,
    /// How many leases have one.
    pub owned: AtomicU64,
    /// How often a slot was taken back.
    pub freed: AtomicU64,
}

/// Where a lease's deadline is kept.
#[repr(C)]
pub(crate) struct Slot {
    /// Whose it is, or 0. Only a guess: the slot is free unless the lease of this id names it.
    pub id: AtomicU64,
    /// Nanoseconds on the store's clock; [`DEAD`](super::slots::DEAD) once it is being revoked.
    pub deadline: AtomicU64,
    /// The program image that the lease ends with; 0 is none.
    pub owner: AtomicU64,
    _pad: u64,
}

#[repr(C, align(64))]
struct MutexPlace(std::cell::UnsafeCell<libc::pthread_mutex_t>);

const _: () = {
    assert!(mem::offset_of!(Layout, txn_id) == 80);
    assert!(mem::offset_of!(Layout, writer_pid) == 104);
    assert!(mem::offset_of!(Layout, waiter) == 128);
    assert!(mem::offset_of!(Layout, leases) == 144);
    assert!(mem::offset_of!(Layout, mutex) == 192);
    assert!(size_of::<Layout>() == 256 && size_of::<Slot>() == 32);
};

/// The guard of an open store.
pub(crate) struct Guard {
    file: LockFile,
    /// None on a read-only medium, where nothing is written and nobody may write.
    page: Option<SharedPage>,
    path: PathBuf,
    boot: Option<[u8; 16]>,
    /// What to give back at the end: this process's own byte, and which of the others.
    held: Vec<u64>,
    /// LMDB's lock file, open from before LMDB opens it until after LMDB closed it: closing any
    /// descriptor of it in between would drop LMDB's own lock of this process.
    lock_file: Option<fs::File>,
    generation: u64,
}

/// What the files of a store are to each other, as the guard remembers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub store_id: [u8; 16],
    pub data_inode: u64,
    pub lock_inode: u64,
}

fn words(id: &[u8; 16]) -> [u64; 2] {
    let (a, b) = id.split_at(8);
    [a, b].map(|half| u64::from_le_bytes(half.try_into().expect("8 bytes")))
}

impl Guard {
    /// Opens the guard, and makes it with `mode` if it is not there.
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

    /// Opens the guard of a store on a read-only medium.
    pub fn open_read_only(path: &Path) -> Result<Guard> {
        let file = fs::File::open(path).map_err(|e| failed(path, e))?;
        Ok(Guard::new(path, file))
    }

    fn new(path: &Path, file: fs::File) -> Guard {
        Guard {
            file: LockFile::new(file),
            page: None,
            path: path.to_owned(),
            boot: os::place().boot,
            held: Vec::new(),
            lock_file: None,
            generation: os::fork_generation(),
        }
    }

    fn io<T>(&self, result: io::Result<T>) -> Result<T> {
        result.map_err(|e| failed(&self.path, e))
    }

    /// Device and inode of the file that is open.
    pub fn file_id(&self) -> Result<(u64, u64)> {
        let (device, inode, _) = self.io(os::file_id(self.file.fd()))?;
        Ok((device, inode))
    }

    /// Whether the file is one of somebody else's that only has the guard's name: ours is empty, or
    /// has its whole page, which begins with our word or has not been laid yet.
    pub fn is_foreign(&self) -> Result<bool> {
        let (_, _, bytes) = self.io(os::file_id(self.file.fd()))?;
        let mut word = [0; 8];
        if bytes >= GUARD_BYTES as u64 {
            self.io(fs::File::open(&self.path).and_then(|mut file| file.read_exact(&mut word)))?;
        }
        Ok((1..GUARD_BYTES as u64).contains(&bytes)
            || ![0, MAGIC].contains(&u64::from_le_bytes(word)))
    }

    /// Whether a store was here when the page was written last: it names its id.
    pub fn remembers_store(&self) -> Result<bool> {
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
        if bytes < GUARD_BYTES as u64 {
            self.io(os::allocate(self.file.fd(), GUARD_BYTES as u64))?;
        }
        self.page = Some(self.io(SharedPage::map(&self.path, MAPPED_BYTES))?);
        Ok(())
    }

    fn shared(&self) -> Option<&Layout> {
        // SAFETY: the page has GUARD_BYTES bytes, more than the layout, and is aligned to a page;
        // every field is atomic or reached through the mutex calls alone.
        self.page
            .as_ref()
            .map(|page| unsafe { &*page.as_ptr().cast::<Layout>() })
    }

    fn take(&mut self, byte: u64, kind: LockKind) -> Result<bool> {
        let got = self.io(os::try_lock(self.file.fd(), byte, kind))?;
        if got && !self.held.contains(&byte) {
            self.held.push(byte);
        }
        Ok(got)
    }

    /// Takes "opening", which covers every opening and closing; answers whether it could be had.
    pub fn try_opening(&mut self) -> Result<bool> {
        self.take(OPENING, LockKind::Exclusive)
    }

    /// Notes who holds "opening".
    pub fn note_opening(&self) {
        if let Some(shared) = self.shared() {
            shared
                .opening_start
                .store(os::place().start, Ordering::Relaxed);
            shared
                .opening_pid
                .store(std::process::id(), Ordering::Release);
        }
    }

    /// Gives "opening" back when what must happen under it has, and shares the guard.
    pub fn end_opening_after<T>(mut self, last: impl FnOnce(Arc<Guard>) -> T) -> Result<T> {
        self.held.retain(|held| *held != OPENING);
        let guard = Arc::new(self);
        let result = last(guard.clone());
        os::unlock(guard.file.fd(), OPENING);
        Ok(result)
    }

    /// Whether there is anything to write to.
    pub fn has_page(&self) -> bool {
        self.page.is_some()
    }

    /// Takes the bytes of this process and of its program image. False means that another copy of the
    /// library in this process has the store open.
    pub fn try_own_bytes(&mut self) -> Result<bool> {
        Ok(
            self.take(PIDS + u64::from(std::process::id()), LockKind::Exclusive)?
                && self.take(IMAGES + os::place().image, LockKind::Exclusive)?,
        )
    }

    /// Becomes present; alone, if a clock is in hand.
    pub fn try_present(&mut self, alone: bool) -> Result<bool> {
        self.take(
            PRESENT,
            if alone {
                LockKind::Exclusive
            } else {
                LockKind::Shared
            },
        )
    }

    /// Holds writers off, on a read-only medium.
    pub fn try_reading(&mut self) -> Result<bool> {
        self.take(READING, LockKind::Shared)
    }

    /// Whether somebody reads this as a read-only medium.
    pub fn is_read_elsewhere(&self) -> Result<bool> {
        Ok(self
            .io(os::locked_by_other(
                self.file.fd(),
                READING,
                1,
                LockKind::Exclusive,
            ))?
            .is_some())
    }

    /// Whether another process is present.
    pub fn is_shared(&self) -> Result<bool> {
        Ok(self
            .io(os::locked_by_other(
                self.file.fd(),
                PRESENT,
                1,
                LockKind::Exclusive,
            ))?
            .is_some())
    }

    /// The processes that have their own byte locked, without this one.
    pub fn pids(&self) -> Result<Vec<u32>> {
        let bytes = self.io(os::bytes_locked_by_others(
            self.file.fd(),
            PIDS,
            PIDS + PID_MAX,
        ))?;
        let own = std::process::id();
        Ok(bytes
            .into_iter()
            .map(|byte| (byte - PIDS) as u32)
            .filter(|&pid| pid != own)
            .collect())
    }

    /// Keeps LMDB's lock file open, to ask who holds it. LMDB has not opened it yet.
    pub fn keep_lock_file(&mut self, file: fs::File) {
        self.lock_file = Some(file);
    }

    /// A process that is present and lives, but without its lock in LMDB's lock file: any opening
    /// and closing of that file drops it. LMDB takes it for dead, and two writers would follow.
    pub fn lost_lock(&self) -> Result<Option<u32>> {
        let Some(file) = &self.lock_file else {
            return Ok(None);
        };
        for pid in self.pids()? {
            let holder = self.io(os::process_lock_holder(file.as_fd(), pid.into()))?;
            if holder.is_none() && os::process_start(pid) != 0 {
                return Ok(Some(pid));
            }
        }
        Ok(None)
    }

    /// Gives everything back that has been locked, for another try.
    pub fn give_all(&mut self) {
        for byte in mem::take(&mut self.held) {
            os::unlock(self.file.fd(), byte);
        }
    }

    /// Lays the page anew, as the first of this store's openers. What must survive stays, as long
    /// as it speaks of this boot and these files: the mark of a failed sync, and deadlines.
    pub fn lay(&self, identity: &Identity, clock_in_hand: bool) -> Result<Laid> {
        let Some(shared) = self.shared() else {
            return Ok(Laid::default());
        };
        let ours = shared.magic.load(Ordering::Acquire) == MAGIC
            && (1..=LAYOUT).contains(&shared.layout.load(Ordering::Acquire))
            && self.same_boot(shared)
            && shared.data_inode.load(Ordering::Acquire) == identity.data_inode;
        let laid = Laid {
            poisoned: ours && shared.poisoned.load(Ordering::Acquire) != 0,
            deadlines: ours
                && shared.layout.load(Ordering::Acquire) == LAYOUT
                && shared
                    .store_id
                    .iter()
                    .zip(words(&identity.store_id))
                    .all(|(a, b)| a.load(Ordering::Relaxed) == b)
                && self.same_time(shared)
                && shared.clock_in_hand.load(Ordering::Relaxed) == u32::from(clock_in_hand),
        };
        shared.magic.store(0, Ordering::Release);
        shared
            .poisoned
            .store(laid.poisoned.into(), Ordering::Release);
        for (place, word) in shared
            .boot
            .iter()
            .zip(words(&self.boot.unwrap_or_default()))
        {
            place.store(word, Ordering::Relaxed);
        }
        shared.abi.store(ABI, Ordering::Relaxed);
        shared
            .pid_namespace
            .store(os::place().pid_namespace, Ordering::Relaxed);
        shared
            .time_namespace
            .store(os::place().time_namespace, Ordering::Relaxed);
        for number in [&shared.writer_pid, &shared.waiter, &shared.bell] {
            number.store(0, Ordering::Relaxed);
        }
        shared
            .clock_in_hand
            .store(clock_in_hand.into(), Ordering::Relaxed);
        let (_, _, bytes) = self.io(os::file_id(self.file.fd()))?;
        shared
            .leases
            .slots
            .store(slots_in(bytes), Ordering::Release);
        let words = &shared.leases;
        for number in [
            &words.hint,
            &words.owner_changes,
            &words.owned,
            &words.freed,
        ] {
            number.store(0, Ordering::Relaxed);
        }
        shared
            .leases
            .next_deadline
            .store(NO_DEADLINE, Ordering::Release);
        self.init_mutex(shared)?;
        self.identify(identity);
        shared.layout.store(LAYOUT, Ordering::Release);
        shared.magic.store(MAGIC, Ordering::Release);
        Ok(laid)
    }

    /// Notes which files belong together.
    pub fn identify(&self, identity: &Identity) {
        let Some(shared) = self.shared() else { return };
        for (place, word) in shared.store_id.iter().zip(words(&identity.store_id)) {
            place.store(word, Ordering::Relaxed);
        }
        shared
            .data_inode
            .store(identity.data_inode, Ordering::Release);
        shared
            .lock_inode
            .store(identity.lock_inode, Ordering::Release);
    }

    /// What cannot be read equals nothing.
    fn same_time(&self, shared: &Layout) -> bool {
        let mine = os::place().time_namespace;
        mine != 0 && shared.time_namespace.load(Ordering::Relaxed) == mine
    }

    fn same_boot(&self, shared: &Layout) -> bool {
        let theirs = [&shared.boot[0], &shared.boot[1]].map(|word| word.load(Ordering::Relaxed));
        self.boot.is_some_and(|boot| words(&boot) == theirs)
    }

    /// Why this process may not join those who are present; none if it may.
    pub fn refusal(&self, identity: &Identity, pids: &[u32]) -> Option<Error> {
        let shared = self.shared()?;
        let who = pids
            .iter()
            .map(u32::to_string)
            .collect::<Vec<_>>()
            .join(", ");
        let path = self.path.parent().unwrap_or(&self.path).display();
        let (layout, abi) = (
            shared.layout.load(Ordering::Acquire),
            shared.abi.load(Ordering::Acquire),
        );
        if shared.magic.load(Ordering::Acquire) != MAGIC {
            return Some(busy(format!(
                "process {who} is initialising {path}, or its guard file was overwritten while open"
            )));
        }
        if (layout, abi) != (LAYOUT, ABI) {
            let message = format!(
                "{path} is open in process {who} with a guard of layout {layout} and ABI {abi:#x}; this library has layout {LAYOUT} and ABI {ABI:#x}"
            );
            return Some(Error::new(Code::Incompatible, message));
        }
        // what cannot be read equals nothing
        let pids_here = os::place().pid_namespace;
        if !self.same_boot(shared)
            || pids_here == 0
            || shared.pid_namespace.load(Ordering::Relaxed) != pids_here
            || !self.same_time(shared)
        {
            return Some(busy(format!(
                "{path} is open in another container; use kv serve"
            )));
        }
        let inodes = (
            shared.data_inode.load(Ordering::Acquire),
            shared.lock_inode.load(Ordering::Acquire),
        );
        if inodes != (identity.data_inode, identity.lock_inode) {
            return Some(busy(format!(
                "a file of {path} was replaced while process {who} has the store open: close it there first"
            )));
        }
        None
    }

    /// Who holds "opening", by its note.
    pub fn opening_holder(&self) -> Option<u32> {
        let shared = self.shared()?;
        let pid = shared.opening_pid.load(Ordering::Acquire);
        (pid != 0 && os::process_start(pid) == shared.opening_start.load(Ordering::Relaxed))
            .then_some(pid)
    }

    fn init_mutex(&self, shared: &Layout) -> Result<()> {
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: the attributes are initialised before they are used; nobody else is present, so
        // nobody uses the mutex, and its place is inside our map.
        let rc = unsafe {
            libc::pthread_mutexattr_init(attributes.as_mut_ptr());
            libc::pthread_mutexattr_setpshared(
                attributes.as_mut_ptr(),
                libc::PTHREAD_PROCESS_SHARED,
            );
            libc::pthread_mutexattr_setrobust(attributes.as_mut_ptr(), libc::PTHREAD_MUTEX_ROBUST);
            let place = shared.mutex.0.get();
            std::ptr::write_bytes(place, 0, 1);
            let rc = libc::pthread_mutex_init(place, attributes.as_ptr());
            libc::pthread_mutexattr_destroy(attributes.as_mut_ptr());
            rc
        };
        self.io(if rc == 0 {
            Ok(())
        } else {
            Err(io::Error::from_raw_os_error(rc))
        })
    }

    /// The id of this boot, if it can be read.
    pub fn boot_id(&self) -> Option<[u8; 16]> {
        self.boot
    }

    /// Whether a sync has failed and nobody may write.
    pub fn is_poisoned(&self) -> bool {
        self.shared()
            .is_some_and(|shared| shared.poisoned.load(Ordering::Acquire) != 0)
    }

    /// Marks that a sync has failed.
    pub fn poison(&self) {
        if let Some(shared) = self.shared() {
            shared.poisoned.store(1, Ordering::Release);
        }
    }

    /// Takes the mark back after a sync that succeeded, as the only one present.
    pub fn heal(&self) {
        if let Some(shared) = self.shared() {
            shared.poisoned.store(0, Ordering::Release);
        }
    }

    /// Notes LMDB's number of the last commit.
    pub fn set_txn_id(&self, id: u64) {
        if let Some(shared) = self.shared() {
            shared.txn_id.store(id, Ordering::Release);
        }
    }

    /// LMDB's number of the last commit that was noted.
    pub fn txn_id(&self) -> u64 {
        self.shared()
            .map_or(0, |shared| shared.txn_id.load(Ordering::Acquire))
    }

    /// The bell as it stands, for [`Guard::wait_bell`]: taken before the store is looked at.
    pub fn bell(&self) -> u32 {
        self.shared()
            .map_or(0, |shared| shared.bell.load(Ordering::SeqCst))
    }

    /// Sleeps until the bell rings, at most so long; not at all if it has rung since `seen` was
    /// taken.
    pub fn wait_bell(&self, seen: u32, most: Duration) {
        let Some(shared) = self.shared() else {
            return thread::sleep(most);
        };
        let asleep = seen | 1;
        if shared
            .bell
            .compare_exchange(seen, asleep, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
        {
            os::futex_wait(&shared.bell, asleep, most);
        }
    }

    /// Tells every process that there is something new: the counter goes up and bit 0 is taken in
    /// one step, and if it was set somebody sleeps. (A flag cleared after the counter loses them.)
    pub fn ring(&self) {
        let Some(shared) = self.shared() else { return };
        let before = shared
            .bell
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |word| {
                Some((word & !1).wrapping_add(2))
            })
            .unwrap_or(0);
        if before & 1 != 0 {
            os::futex_wake_all(&shared.bell);
        }
    }
}

/// What outlived the last who had the store open.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Laid {
    /// A sync has failed, and none has succeeded since.
    pub poisoned: bool,
    /// The deadlines speak of this boot, this clock and these files.
    pub deadlines: bool,
}

fn slots_in(bytes: u64) -> u64 {
    (bytes.saturating_sub(GUARD_BYTES as u64) / size_of::<Slot>() as u64).min(SLOTS_MAX)
}

/// The memory of the lease slots; what is done with them stands in `slots.rs`.
impl Guard {
    pub(super) fn words(&self) -> Option<&SlotWords> {
        self.shared().map(|shared| &shared.leases)
    }

    /// Every slot that there is.
    pub(super) fn slots(&self) -> &[Slot] {
        let (Some(page), Some(words)) = (&self.page, self.words()) else {
            return &[];
        };
        let count = words.slots.load(Ordering::Acquire).min(SLOTS_MAX) as usize;
        // SAFETY: so many slots lie in the map behind the first page, and the file has their
        // blocks: the number is raised only after it has been lengthened. All fields are atomic.
        unsafe { std::slice::from_raw_parts(page.as_ptr().add(GUARD_BYTES).cast(), count) }
    }

    /// Lengthens the file until there is a slot of this number. Under the writer's lock, or
    /// "opening" as the first opener.
    ///
    /// # Errors
    ///
    /// `full` beyond what the map has room for, and on a full disk.
    pub(super) fn grow_slots(&self, index: u64) -> Result<()> {
        let Some(words) = self.words() else {
            return Ok(());
        };
        if index >= SLOTS_MAX {
            let message = format!("{}: no more than {SLOTS_MAX} leases", self.path.display());
            return Err(Error::new(Code::Full, message));
        }
        let bytes = GUARD_BYTES as u64 + (index + 1) * size_of::<Slot>() as u64;
        let bytes = bytes
            .next_multiple_of(GROWTH_BYTES)
            .min(MAPPED_BYTES as u64);
        self.io(os::allocate(self.file.fd(), bytes))?;
        words.slots.fetch_max(slots_in(bytes), Ordering::AcqRel);
        Ok(())
    }

    /// Whether a program image is gone: its byte is free. The own lock is not in this process's way, so
    /// the own image is compared by number.
    pub(super) fn is_gone(&self, image: u64) -> bool {
        let held = || {
            os::locked_by_other(
                self.file.fd(),
                IMAGES.saturating_add(image),
                1,
                LockKind::Exclusive,
            )
        };
        // what cannot be known is not acted upon
        image != os::place().image && matches!(held(), Ok(None))
    }
}

fn busy(message: String) -> Error {
    Error::new(Code::Busy, message)
}

/// The writer's lock, held by this thread.
pub(crate) struct WriterLock<'g> {
    shared: &'g Layout,
    _one_thread: PhantomData<*mut ()>,
}

impl Drop for WriterLock<'_> {
    fn drop(&mut self) {
        self.shared.writer_pid.store(0, Ordering::Release);
        // SAFETY: this thread has locked it, and the map outlives the lock's borrow of the guard.
        unsafe { libc::pthread_mutex_unlock(self.shared.mutex.0.get()) };
    }
}

/// The writer's lock.
impl Guard {
    /// Takes the writer's lock; none waits for ever. A holder that died leaves it to the next.
    ///
    /// # Errors
    ///
    /// `busy`, naming the holder, once the deadline has passed; `cancelled` once `interrupted`,
    /// which is asked before each wait of at most [`WAIT_PERIOD`], says so.
    pub fn lock_writer(
        &self,
        deadline: Option<Instant>,
        interrupted: Option<Interrupt>,
    ) -> Result<WriterLock<'_>> {
        let Some(shared) = self.shared() else {
            return Err(Error::new(
                Code::ReadOnly,
                format!("{} is on a read-only medium", self.path.display()),
            ));
        };
        let mutex = shared.mutex.0.get();
        // SAFETY: the mutex was initialised by the first opener and lies in our map.
        let mut rc = unsafe { libc::pthread_mutex_trylock(mutex) };
        while matches!(rc, libc::EBUSY | libc::ETIMEDOUT) {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return Err(self.writer_busy());
            }
            if interrupted.is_some_and(|interrupted| interrupted()) {
                let message = "the request was withdrawn while it waited for the write lock; nothing was written";
                return Err(Error::new(Code::Cancelled, message));
            }
            shared.waiter.store(1, Ordering::Release);
            let until = monotonic_in(left.map_or(WAIT_PERIOD, |left| left.min(WAIT_PERIOD)));
            // SAFETY: as above; the time is ours.
            rc = unsafe { pthread_mutex_clocklock(mutex, libc::CLOCK_MONOTONIC, &until) };
        }
        if rc == libc::EOWNERDEAD {
            // LMDB undoes what the dead holder had begun; of ours only what is told about leases may
            // be half done: they are looked through again
            shared.leases.next_deadline.store(0, Ordering::Release);
            shared.leases.hint.store(0, Ordering::Release);
            // SAFETY: this thread has just locked it.
            rc = unsafe { libc::pthread_mutex_consistent(mutex) };
        }
        if rc != 0 {
            return Err(
                failed(&self.path, io::Error::from_raw_os_error(rc)).context("the write lock")
            );
        }
        shared
            .writer_since_ms
            .store(os::boottime_ms(), Ordering::Relaxed);
        shared
            .writer_pid
            .store(std::process::id(), Ordering::Release);
        Ok(WriterLock {
            shared,
            _one_thread: PhantomData,
        })
    }

    fn writer_busy(&self) -> Error {
        let path = self.path.parent().unwrap_or(&self.path).display();
        match self.writer_holder() {
            Some((pid, held_ms)) => busy(format!(
                "the write lock of {path} is held by process {pid}, since {held_ms} ms"
            )),
            None => busy(format!(
                "timed out waiting for the write lock of {path}: many writers wait for it"
            )),
        }
    }

    /// Who holds the writer's lock, and for how many milliseconds.
    pub fn writer_holder(&self) -> Option<(u32, u64)> {
        let shared = self.shared()?;
        let pid = shared.writer_pid.load(Ordering::Acquire);
        let since = shared.writer_since_ms.load(Ordering::Relaxed);
        (pid != 0).then(|| (pid, os::boottime_ms().saturating_sub(since)))
    }

    /// After unlocking: if another process waits for the lock, lets it have it before this one
    /// locks again, for a moment at most.
    pub fn give_way(&self) {
        let Some(shared) = self.shared() else { return };
        if shared.waiter.load(Ordering::Relaxed) == 0
            || shared.waiter.swap(0, Ordering::AcqRel) == 0
        {
            return;
        }
        let until = Instant::now() + GIVE_WAY_MAX;
        while shared.writer_pid.load(Ordering::Acquire) == 0 && Instant::now() < until {
            thread::yield_now();
        }
    }
}

// glibc has it since 2.30; `pthread_mutex_timedlock` takes the wall clock, which may be set back.
unsafe extern "C" {
    fn pthread_mutex_clocklock(
        mutex: *mut libc::pthread_mutex_t,
        clock: libc::clockid_t,
        until: *const libc::timespec,
    ) -> libc::c_int;
}

fn monotonic_in(wait: Duration) -> libc::timespec {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the structure is ours.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    let nanos = time.tv_nsec as u64 + u64::from(wait.subsec_nanos());
    time.tv_sec += wait.as_secs() as i64 + (nanos / 1_000_000_000) as i64;
    time.tv_nsec = (nanos % 1_000_000_000) as i64;
    time
}

impl Drop for Guard {
    fn drop(&mut self) {
        // never by closing alone: a child that was spawned meanwhile may have the description too
        if self.generation == os::fork_generation() {
            self.give_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;
    use crate::embedded::opening::open;
    use crate::options::Options;

    const CHILD: &str = "LIBKV_TEST_GUARD";
    /// The wall clock is read an hour ahead of what the kernel compares with, as if it were set back at once.
    const CLOCK: &str = "#define _GNU_SOURCE
#include <time.h>
#include <unistd.h>
#include <sys/syscall.h>
int clock_gettime(clockid_t clock, struct timespec *time) {
    long rc = syscall(SYS_clock_gettime, clock, time);
    if (clock == CLOCK_REALTIME) time->tv_sec += 3600;
    return (int)rc;
}
";

    /// A thread holds the lock; another is refused in its time.
    fn is_refused_in_time(path: &str) {
        let store = open(Path::new(path), &Options::new()).expect("opened");
        let _held = store
            .guard()
            .lock_writer(None, None)
            .expect("nobody has it");
        let refused = || {
            let deadline = Instant::now() + Duration::from_millis(300);
            store
                .guard()
                .lock_writer(Some(deadline), None)
                .err()
                .map(|error| error.code())
        };
        assert_eq!(
            thread::scope(|scope| scope.spawn(refused).join()).expect("no panic"),
            Some(Code::Busy)
        );
    }

    #[test]
    fn writer_lock_wait_ends_although_the_wall_clock_is_set_back() {
        if let Ok(path) = std::env::var(CHILD) {
            return is_refused_in_time(&path);
        }
        let folder = std::env::temp_dir().join(format!("libkv-guard-{}", std::process::id()));
        fs::create_dir(&folder).expect("a folder");
        let (source, library) = (folder.join("clock.c"), folder.join("clock.so"));
        fs::write(&source, CLOCK).expect("written");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .args([&library, &source])
            .status();
        assert!(built.expect("cc, which LMDB needs too").success());
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args([
                "--exact",
                "embedded::guard::tests::writer_lock_wait_ends_although_the_wall_clock_is_set_back",
            ])
            .env(CHILD, folder.join("store"))
            .env("LD_PRELOAD", &library)
            .stdout(Stdio::null())
            .spawn()
            .expect("started");
        let until = Instant::now() + Duration::from_secs(60);
        let ended = loop {
            match child.try_wait().expect("waited") {
                None if Instant::now() < until => thread::sleep(Duration::from_millis(5)),
                ended => break ended,
            }
        };
        let _ = child.kill();
        assert!(ended.expect("it waits for an hour").success());
        fs::remove_dir_all(folder).expect("removed");
    }
}
