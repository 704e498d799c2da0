//! What the operating system must do: locks, space, clocks, forks. It knows no store.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::fs;
use std::io;
use std::mem::{self, ManuallyDrop};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::sync::{Once, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::error::{Code, Error};

/// The error of a call on a file. Without the right to it, the error says which right is missing.
pub(crate) fn failed(path: &Path, e: io::Error) -> Error {
    let code = match e.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => Code::PermissionDenied,
        Some(libc::EROFS) => Code::ReadOnly,
        Some(libc::ENOSPC | libc::EDQUOT) => Code::Full,
        Some(libc::ENOENT) => Code::NotFound,
        Some(libc::ENOTDIR) => Code::NotAStore,
        _ => Code::Io,
    };
    let missing = if code == Code::PermissionDenied {
        missing_right(path)
    } else {
        None
    };
    let missing = missing.map_or(String::new(), |right| format!(": no right to {right}"));
    Error::new(code, format!("{}: {e}{missing}", path.display())).with_source(e)
}

/// The first right to a file that this process lacks, in words; none if it has all.
fn missing_right(path: &Path) -> Option<String> {
    let parents: Vec<&Path> = path
        .ancestors()
        .skip(1)
        .filter(|dir| !dir.as_os_str().is_empty())
        .collect();
    if let Some(dir) = parents.iter().rev().find(|dir| may_not(dir, libc::X_OK)) {
        return Some(format!("search {}", dir.display()));
    }
    let folder = parents.first().copied().unwrap_or(Path::new("."));
    match () {
        () if may_not(path, libc::R_OK) => Some("read it".into()),
        () if may_not(path, libc::W_OK) => Some("write it".into()),
        () if may_not(folder, libc::W_OK) => {
            Some(format!("write the directory {}", folder.display()))
        }
        () => None,
    }
}

/// Whether this process lacks a right to a path that exists.
fn may_not(path: &Path, right: libc::c_int) -> bool {
    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else {
        return false;
    };
    // SAFETY: the path ends with a zero byte.
    let response =
        check(unsafe { libc::faccessat(libc::AT_FDCWD, path.as_ptr(), right, libc::AT_EACCESS) });
    response.is_err_and(|e| {
        matches!(
            e.raw_os_error(),
            Some(libc::EACCES | libc::EPERM | libc::EROFS)
        )
    })
}

fn check(rc: libc::c_int) -> io::Result<libc::c_int> {
    if rc == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(rc)
    }
}

/// Keeps SIGPIPE away from this thread for good: writing to a connection that is gone answers EPIPE then,
/// and does not end the process. Programs in C have the signal on, and it is theirs to decide.
pub(crate) fn block_sigpipe() {
    // SAFETY: the set is ours and is filled before it is used; a mask belongs to the calling thread alone.
    unsafe {
        let mut set: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGPIPE);
        libc::pthread_sigmask(libc::SIG_BLOCK, &set, ptr::null_mut());
    }
}

/// Has the allocator take memory of a mebibyte and more from the system by the piece, and give it back as
/// soon as it is freed. By itself it learns from every large piece to take the next from its heap, which
/// goes back only from its end.
pub(crate) fn return_large_memory() {
    // the C library of others has no such habit
    #[cfg(target_env = "gnu")]
    // SAFETY: sets a number of the allocator's, under its own lock.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 20);
    }
}

/// How a byte of a file is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LockKind {
    Shared,
    Exclusive,
}

fn flock(kind: libc::c_int, start: u64, len: u64) -> libc::flock {
    // SAFETY: every field is a number, for which zero is a value.
    let mut lock: libc::flock = unsafe { mem::zeroed() };
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock.l_start = start as libc::off_t;
    lock.l_len = len as libc::off_t;
    lock
}

/// Locks a byte by open file description, without waiting; answers whether it could be had.
pub(crate) fn try_lock(fd: BorrowedFd, byte: u64, kind: LockKind) -> io::Result<bool> {
    let kind = if kind == LockKind::Shared {
        libc::F_RDLCK
    } else {
        libc::F_WRLCK
    };
    let lock = flock(kind, byte, 1);
    // SAFETY: the descriptor is open and the structure is ours.
    match check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_OFD_SETLK, &lock) }) {
        Ok(_) => Ok(true),
        Err(e) if matches!(e.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Gives a byte back.
pub(crate) fn unlock(fd: BorrowedFd, byte: u64) {
    let lock = flock(libc::F_UNLCK, byte, 1);
    // SAFETY: the descriptor is open and the structure is ours. Giving a lock back cannot fail in a
    // way that anything could be done about.
    unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_OFD_SETLK, &lock) };
}

/// The first byte of an interval that another description holds in the way of `kind`.
pub(crate) fn locked_by_other(
    fd: BorrowedFd,
    start: u64,
    len: u64,
    kind: LockKind,
) -> io::Result<Option<(u64, u64)>> {
    let kind = if kind == LockKind::Shared {
        libc::F_RDLCK
    } else {
        libc::F_WRLCK
    };
    let mut lock = flock(kind, start, len);
    // SAFETY: the descriptor is open and the structure is ours.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_OFD_GETLK, &mut lock) })?;
    Ok((i32::from(lock.l_type) != libc::F_UNLCK)
        .then_some((lock.l_start as u64, lock.l_len as u64)))
}

/// Every byte of an interval that another description holds exclusively or shared.
pub(crate) fn bytes_locked_by_others(fd: BorrowedFd, start: u64, end: u64) -> io::Result<Vec<u64>> {
    let mut bytes = Vec::new();
    let mut todo = vec![(start, end)];
    while let Some((from, to)) = todo.pop() {
        if from >= to {
            continue;
        }
        let Some((at, len)) = locked_by_other(fd, from, to - from, LockKind::Exclusive)? else {
            continue;
        };
        let (first, last) = (at.max(from), if len == 0 { to } else { (at + len).min(to) });
        bytes.extend(first..last);
        // the kernel names any one lock in the way, not the lowest
        todo.push((from, first));
        todo.push((last, to));
    }
    bytes.sort_unstable();
    Ok(bytes)
}

/// The process that holds a byte of a file by a lock of the other kind, that of processes.
pub(crate) fn process_lock_holder(fd: BorrowedFd, byte: u64) -> io::Result<Option<u32>> {
    let mut lock = flock(libc::F_WRLCK, byte, 1);
    // SAFETY: the descriptor is open and the structure is ours.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETLK, &mut lock) })?;
    Ok((i32::from(lock.l_type) != libc::F_UNLCK).then_some(lock.l_pid as u32))
}

/// Device, inode and length of an open file.
pub(crate) fn file_id(fd: BorrowedFd) -> io::Result<(u64, u64, u64)> {
    let stat = stat(fd)?;
    Ok((stat.st_dev, stat.st_ino, stat.st_size as u64))
}

/// Whether an open file has no name any more: it is gone with the last descriptor.
pub(crate) fn is_removed(fd: BorrowedFd) -> bool {
    stat(fd).is_ok_and(|stat| stat.st_nlink == 0)
}

fn stat(fd: BorrowedFd) -> io::Result<libc::stat> {
    let mut stat = mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the descriptor is open, and the structure is ours and filled when the call succeeds.
    unsafe {
        check(libc::fstat(fd.as_raw_fd(), stat.as_mut_ptr()))?;
        Ok(stat.assume_init())
    }
}

/// Gives a file at least so many bytes, with their blocks: a full disk is noticed here and not by
/// a signal at the first use of a mapped page. Not the C library's emulation, which writes.
pub(crate) fn allocate(fd: BorrowedFd, bytes: u64) -> io::Result<()> {
    loop {
        // SAFETY: the descriptor is open.
        match check(unsafe { libc::fallocate(fd.as_raw_fd(), 0, 0, bytes as libc::off_t) }) {
            Ok(_) => return Ok(()),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// Whether a path lies on a file system whose locks and maps other machines may share.
pub(crate) fn is_network_fs(path: &Path) -> io::Result<bool> {
    const NETWORK: [i64; 10] = [
        0x6969,      // nfs
        0x517B,      // smb
        0xFF53_4D42, // cifs
        0xFE53_4D42, // smb2
        0x0102_1997, // 9p
        0x00C3_6400, // ceph
        0x5346_414F, // afs
        0x7375_7245, // coda
        0x0BD0_0BD0, // lustre
        0x7461_636F, // ocfs2
    ];
    let path = CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)?;
    // SAFETY: every field is a number, for which zero is a value.
    let mut stat: libc::statfs = unsafe { mem::zeroed() };
    // SAFETY: the path ends with a zero byte and the structure is ours.
    check(unsafe { libc::statfs(path.as_ptr(), &mut stat) })?;
    Ok(NETWORK.contains(&stat.f_type))
}

/// Whether the file system of a path has hardly a byte left. A write that the disk had room for only
/// in part is reported as an I/O error, which this tells from a broken disk.
pub(crate) fn is_full(path: &Path) -> bool {
    const LEFT_BYTES: u64 = 64 << 10;
    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else {
        return false;
    };
    // SAFETY: every field is a number, for which zero is a value.
    let mut stat: libc::statvfs = unsafe { mem::zeroed() };
    // SAFETY: the path ends with a zero byte and the structure is ours.
    let answered = check(unsafe { libc::statvfs(path.as_ptr(), &mut stat) }).is_ok();
    answered && stat.f_bavail.saturating_mul(stat.f_frsize) < LEFT_BYTES
}

/// Where a process runs. It stays the same while the process lives, so it is read once.
pub(crate) struct ProcessInfo {
    /// The id of this boot of the machine; none if it cannot be read.
    pub boot: Option<[u8; 16]>,
    /// The inodes of its namespaces; 0 if they cannot be read.
    pub pid_namespace: u64,
    pub time_namespace: u64,
    /// See [`process_start`].
    pub start: u64,
    /// The number of this program image, from 1 to 2^61. It is random, and new after each start, fork and
    /// `exec`.
    pub image: u64,
}

/// Where this process runs.
pub(crate) fn process() -> &'static ProcessInfo {
    static INFO: PerGeneration<OnceLock<ProcessInfo>> = PerGeneration::new();
    let namespace =
        |kind| fs::metadata(format!("/proc/self/ns/{kind}")).map_or(0, |meta| meta.ino());
    INFO.get().get_or_init(|| ProcessInfo {
        boot: boot_id(),
        pid_namespace: namespace("pid"),
        time_namespace: namespace("time"),
        start: process_start(std::process::id()),
        image: (random() >> 3) + 1,
    })
}

/// A random number. A forked child has its parent's state of the generator: pid and time make the
/// difference.
pub(crate) fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one((std::process::id(), boottime_ns()))
}

fn boot_id() -> Option<[u8; 16]> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let mut id = [0; 16];
    for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    (digits.len() == 32).then_some(id)
}

/// When a process started, in clock ticks since boot; 0 if it is gone or cannot be read.
pub(crate) fn process_start(pid: u32) -> u64 {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return 0;
    };
    // the name, in brackets, may have blanks: the start time is the 20th word behind it
    let behind = stat.rsplit_once(')').map_or("", |(_, behind)| behind);
    behind
        .split_whitespace()
        .nth(19)
        .and_then(|word| word.parse().ok())
        .unwrap_or(0)
}

/// Milliseconds since boot, sleep included; the same in every process.
pub(crate) fn boottime_ms() -> u64 {
    boottime_ns() / 1_000_000
}

/// Nanoseconds since boot, sleep included; the same in every process.
pub(crate) fn boottime_ns() -> u64 {
    // SAFETY: the structure is ours.
    unsafe {
        let mut time: libc::timespec = mem::zeroed();
        libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut time);
        time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
    }
}

/// Sleeps while this word is `expected`, at most so long, until somebody wakes it.
pub(crate) fn futex_wait(word: &AtomicU32, expected: u32, most: Duration) {
    let time = libc::timespec {
        tv_sec: most.as_secs() as libc::time_t,
        tv_nsec: most.subsec_nanos().into(),
    };
    // SAFETY: the word is live and the time is ours; a wake-up without a reason is no harm.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT,
            expected,
            &raw const time,
        )
    };
}

/// A descriptor that polls as readable while it is signalled.
#[derive(Debug)]
pub(crate) struct EventFd(OwnedFd);

impl EventFd {
    /// A new one, not signalled; closed in programs that this one starts.
    pub fn new() -> io::Result<EventFd> {
        // SAFETY: no pointers; what comes is a new descriptor that nobody else owns.
        unsafe {
            Ok(EventFd(OwnedFd::from_raw_fd(check(libc::eventfd(
                0,
                libc::EFD_CLOEXEC | libc::EFD_NONBLOCK,
            ))?)))
        }
    }

    /// Its number.
    pub fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Makes it readable.
    pub fn signal(&self) {
        let one = 1u64;
        // SAFETY: eight bytes of ours; a counter at its end stays readable, which is all that matters.
        unsafe { libc::write(self.fd(), (&raw const one).cast(), 8) };
    }

    /// Makes it unreadable.
    pub fn clear(&self) {
        let mut count = 0u64;
        // SAFETY: eight bytes of ours; there is nothing to read if it was not signalled.
        unsafe { libc::read(self.fd(), (&raw mut count).cast(), 8) };
    }
}

/// Whether a thread is the calling one. `thread::current` would allocate what a thread that Rust has not
/// started keeps until the process ends.
pub(crate) fn is_current<T>(thread: &JoinHandle<T>) -> bool {
    use std::os::unix::thread::JoinHandleExt;
    // SAFETY: the call has no precondition.
    thread.as_pthread_t() == unsafe { libc::pthread_self() }
}

/// Wakes everybody who waits on this word, in all processes that map it.
pub(crate) fn futex_wake_all(word: &AtomicU32) {
    // SAFETY: the word is live; waking has no other precondition.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, i32::MAX) };
}

/// Flushes a directory, so that the names in it outlive a power cut.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.sync_all()
}

/// A page of a file that all its users see.
pub(crate) struct SharedPage {
    data: *mut u8,
    bytes: usize,
}

// SAFETY: a map may be used from any thread; what is in it is atomic or has a lock of its own.
unsafe impl Send for SharedPage {}
// SAFETY: as above.
unsafe impl Sync for SharedPage {}

impl SharedPage {
    /// Maps the first bytes of a file, through a second opening that is closed at once: a child
    /// that inherits the map must not keep the locks of the first alive.
    pub fn map(path: &Path, bytes: usize) -> io::Result<SharedPage> {
        let file = fs::File::options().read(true).write(true).open(path)?;
        // SAFETY: the file has these bytes (its caller has allocated them), and the map is ours.
        let data = unsafe {
            libc::mmap(
                ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        if data == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(SharedPage {
            data: data.cast(),
            bytes,
        })
    }

    /// Where it lies.
    pub fn as_ptr(&self) -> *mut u8 {
        self.data
    }
}

impl Drop for SharedPage {
    fn drop(&mut self) {
        // SAFETY: it was mapped here with this length and is not used again.
        unsafe { libc::munmap(self.data.cast(), self.bytes) };
    }
}

static FORKS: AtomicU64 = AtomicU64::new(0);

/// How many forks lie between this process and the one that first opened a store. A handle from
/// another generation is the parent's. No system call.
#[inline]
pub(crate) fn fork_generation() -> u64 {
    FORKS.load(Ordering::Relaxed)
}

/// Something that each generation of forks has of its own: a child must not touch its parent's,
/// whose lock a thread may have held that the child does not have.
pub(crate) struct PerGeneration<T: 'static> {
    newest: AtomicPtr<(u64, T)>,
}

impl<T: Default + Sync> PerGeneration<T> {
    pub const fn new() -> PerGeneration<T> {
        PerGeneration {
            newest: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// This generation's; made on first use. Earlier ones are leaked.
    pub fn get(&self) -> &T {
        let generation = fork_generation();
        loop {
            let newest = self.newest.load(Ordering::Acquire);
            // SAFETY: what is stored here is leaked, so every pointer is good for ever.
            let found = unsafe { newest.as_ref() };
            if let Some((_, value)) = found.filter(|(number, _)| *number == generation) {
                return value;
            }
            let mine = Box::into_raw(Box::new((generation, T::default())));
            if self
                .newest
                .compare_exchange(newest, mine, Ordering::AcqRel, Ordering::Relaxed)
                .is_err()
            {
                // SAFETY: nobody else has seen it.
                drop(unsafe { Box::from_raw(mine) });
            }
        }
    }
}

/// A place in the list of descriptors that a forked child must close: they share their locks with
/// the parent's. Places are never freed, so that the child can walk them without a lock.
struct Listed {
    fd: AtomicI32,
    next: *const Listed,
}

static LIST: AtomicPtr<Listed> = AtomicPtr::new(ptr::null_mut());

extern "C" fn in_child() {
    FORKS.fetch_add(1, Ordering::Relaxed);
    let mut at = LIST.load(Ordering::Acquire).cast_const();
    // SAFETY: places are leaked, so every pointer in the list is good for ever; closing a
    // descriptor is allowed here.
    while let Some(place) = unsafe { at.as_ref() } {
        let fd = place.fd.swap(-1, Ordering::AcqRel);
        if fd >= 0 {
            // SAFETY: its owner in this process is from before the fork and never uses it again.
            unsafe { libc::close(fd) };
        }
        at = place.next;
    }
}

/// Has forks counted from now on.
pub(crate) fn count_forks() {
    static HANDLER: Once = Once::new();
    // SAFETY: the handler calls only what a child may call, and never goes away.
    HANDLER.call_once(|| unsafe {
        libc::pthread_atfork(None, None, Some(in_child));
    });
}

/// A descriptor whose locks a child must not share: listed before its first lock.
pub(crate) struct LockFile {
    fd: ManuallyDrop<OwnedFd>,
    place: &'static AtomicI32,
    generation: u64,
}

impl LockFile {
    /// Takes a file over.
    pub fn new(file: fs::File) -> LockFile {
        count_forks();
        let fd = OwnedFd::from(file);
        LockFile {
            place: list(fd.as_raw_fd()),
            fd: ManuallyDrop::new(fd),
            generation: fork_generation(),
        }
    }

    /// The descriptor.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn list(fd: RawFd) -> &'static AtomicI32 {
    let mut at = LIST.load(Ordering::Acquire).cast_const();
    // SAFETY: places are leaked, so every pointer in the list is good for ever.
    while let Some(place) = unsafe { at.as_ref() } {
        if place
            .fd
            .compare_exchange(-1, fd, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
        {
            return &place.fd;
        }
        at = place.next;
    }
    let place = Box::leak(Box::new(Listed {
        fd: AtomicI32::new(fd),
        next: ptr::null(),
    }));
    loop {
        let head = LIST.load(Ordering::Acquire);
        place.next = head;
        if LIST
            .compare_exchange(head, place, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
        {
            return &place.fd;
        }
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        // in a child the handler has closed it already, and what has its number now is somebody else's
        if self.generation == fork_generation() {
            self.place.store(-1, Ordering::Release);
            // SAFETY: it is not used again.
            unsafe { ManuallyDrop::drop(&mut self.fd) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_of_two_descriptions_meet() {
        let path = std::env::temp_dir().join(format!("libkv-os-{}", std::process::id()));
        let open = || {
            fs::File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .unwrap()
        };
        let (a, b) = (open(), open());
        assert!(try_lock(a.as_fd(), 3, LockKind::Exclusive).unwrap());
        assert!(!try_lock(b.as_fd(), 3, LockKind::Shared).unwrap());
        assert!(try_lock(a.as_fd(), 20, LockKind::Exclusive).unwrap());
        assert_eq!(
            bytes_locked_by_others(b.as_fd(), 0, 1 << 30).unwrap(),
            [3, 20]
        );
        assert_eq!(bytes_locked_by_others(a.as_fd(), 0, 1 << 30).unwrap(), []);
        unlock(a.as_fd(), 3);
        assert!(try_lock(b.as_fd(), 3, LockKind::Shared).unwrap());
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_boot_and_a_process_have_their_marks() {
        assert_eq!(boot_id(), boot_id());
        assert_ne!(process_start(std::process::id()), 0);
        assert_eq!(process_start(u32::MAX), 0);
        assert!(boottime_ms() > 0);
    }
}
