//! Forks: counting them, and what a forked child must not share with its parent.
//!
//! A child must not wait for a lock of its parent: another thread may have held it at the fork, and
//! that thread does not exist in the child. So the lists here are lock-free.
#![allow(unsafe_code)]

use std::fs;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::Once;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU64, Ordering};

static FORKS: AtomicU64 = AtomicU64::new(0);

/// The number of forks since the first process that opened a store. A handle from another
/// generation belongs to a parent process. No system call.
#[inline]
pub(crate) fn fork_generation() -> u64 {
    FORKS.load(Ordering::Relaxed)
}

/// A value that each generation of forks has for itself.
pub(crate) struct PerGeneration<T: 'static> {
    newest: AtomicPtr<(u64, T)>,
}

impl<T: Default + Sync> PerGeneration<T> {
    pub const fn new() -> PerGeneration<T> {
        PerGeneration {
            newest: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// The value of this generation, created on first use. Earlier values are leaked.
    pub fn get(&self) -> &T {
        let generation = fork_generation();
        loop {
            let newest = self.newest.load(Ordering::Acquire);
            // SAFETY: the values are leaked, so every pointer stays valid.
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
                // SAFETY: no other thread has seen it.
                drop(unsafe { Box::from_raw(mine) });
            }
        }
    }
}

/// An entry in the list of descriptors that a forked child must close, because they share their
/// locks with the parent. Entries are never freed, so that the child can read the list without a
/// lock.
struct FdEntry {
    /// -1: free.
    fd: AtomicI32,
    next: *const FdEntry,
}

static LIST: AtomicPtr<FdEntry> = AtomicPtr::new(ptr::null_mut());

extern "C" fn in_child() {
    FORKS.fetch_add(1, Ordering::Relaxed);
    let mut at = LIST.load(Ordering::Acquire).cast_const();
    // SAFETY: entries are leaked, so every pointer in the list stays valid. A child may close
    // descriptors in this handler.
    while let Some(entry) = unsafe { at.as_ref() } {
        let fd = entry.fd.swap(-1, Ordering::AcqRel);
        if fd >= 0 {
            // SAFETY: its owner in this process is from before the fork and does not use it again.
            unsafe { libc::close(fd) };
        }
        at = entry.next;
    }
}

/// Counts forks from now on.
pub(crate) fn count_forks() {
    static HANDLER: Once = Once::new();
    // SAFETY: the handler makes only calls that a forked child may make, and stays loaded.
    HANDLER.call_once(|| unsafe {
        libc::pthread_atfork(None, None, Some(in_child));
    });
}

/// A file whose locks a forked child must not share: the child closes it.
pub(crate) struct LockFile {
    /// Some until dropped.
    fd: Option<OwnedFd>,
    entry: &'static AtomicI32,
    generation: u64,
}

impl LockFile {
    /// Takes over a file, before its first lock.
    pub fn new(file: fs::File) -> LockFile {
        count_forks();
        let fd = OwnedFd::from(file);
        LockFile {
            entry: list(fd.as_raw_fd()),
            fd: Some(fd),
            generation: fork_generation(),
        }
    }

    /// The descriptor.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_ref().expect("some until dropped").as_fd()
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        if self.generation == fork_generation() {
            self.entry.store(-1, Ordering::Release);
        } else {
            // the handler has closed it in this child; its number may belong to another file now
            mem::forget(self.fd.take());
        }
    }
}

/// Enters a descriptor into the list of those that a child closes.
fn list(fd: RawFd) -> &'static AtomicI32 {
    let mut at = LIST.load(Ordering::Acquire).cast_const();
    // SAFETY: entries are leaked, so every pointer in the list stays valid.
    while let Some(entry) = unsafe { at.as_ref() } {
        if entry
            .fd
            .compare_exchange(-1, fd, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
        {
            return &entry.fd;
        }
        at = entry.next;
    }
    let entry = Box::leak(Box::new(FdEntry {
        fd: AtomicI32::new(fd),
        next: ptr::null(),
    }));
    loop {
        let head = LIST.load(Ordering::Acquire);
        entry.next = head;
        if LIST
            .compare_exchange(head, entry, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
        {
            return &entry.fd;
        }
    }
}
