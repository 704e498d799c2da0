//! Locks on single bytes of a file, without waiting.
//!
//! They belong to an open file description. (`rustix` has only locks of whole files that belong to
//! a process.)
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The kind of a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LockKind {
    Shared,
    Exclusive,
}

impl LockKind {
    fn number(self) -> libc::c_int {
        match self {
            LockKind::Shared => libc::F_RDLCK,
            LockKind::Exclusive => libc::F_WRLCK,
        }
    }
}

fn interval(kind: libc::c_int, start: u64, len: u64) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: start as libc::off_t,
        l_len: len as libc::off_t,
        l_pid: 0,
    }
}

fn fcntl(fd: BorrowedFd, command: libc::c_int, lock: &mut libc::flock) -> io::Result<()> {
    // SAFETY: the descriptor is open; the kernel reads and writes nothing but the structure, which
    // is ours.
    match unsafe { libc::fcntl(fd.as_raw_fd(), command, lock) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Locks a byte by open file description. Returns whether it was free.
pub(crate) fn try_lock(fd: BorrowedFd, byte: u64, kind: LockKind) -> io::Result<bool> {
    match fcntl(fd, libc::F_OFD_SETLK, &mut interval(kind.number(), byte, 1)) {
        Ok(()) => Ok(true),
        Err(e) if matches!(e.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Unlocks a byte.
pub(crate) fn unlock(fd: BorrowedFd, byte: u64) {
    // no failure of this call could be handled
    let _ = fcntl(fd, libc::F_OFD_SETLK, &mut interval(libc::F_UNLCK, byte, 1));
}

/// A lock of another description, as first byte and length, that conflicts with a lock of this kind
/// on the interval.
pub(crate) fn locked_by_other(
    fd: BorrowedFd,
    start: u64,
    len: u64,
    kind: LockKind,
) -> io::Result<Option<(u64, u64)>> {
    let mut lock = interval(kind.number(), start, len);
    fcntl(fd, libc::F_OFD_GETLK, &mut lock)?;
    let is_locked = i32::from(lock.l_type) != libc::F_UNLCK;
    Ok(is_locked.then_some((lock.l_start as u64, lock.l_len as u64)))
}

/// Every byte of an interval that another description has locked.
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
        // the kernel returns any conflicting lock, not the lowest
        todo.push((from, first));
        todo.push((last, to));
    }
    bytes.sort_unstable();
    Ok(bytes)
}

/// The process that has locked a byte with a lock of the other kind, which belongs to a process.
pub(crate) fn process_lock_holder(fd: BorrowedFd, byte: u64) -> io::Result<Option<u32>> {
    let mut lock = interval(libc::F_WRLCK, byte, 1);
    fcntl(fd, libc::F_GETLK, &mut lock)?;
    Ok((i32::from(lock.l_type) != libc::F_UNLCK).then_some(lock.l_pid as u32))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn byte_locks_of_two_descriptions_conflict() {
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
        assert_eq!(
            bytes_locked_by_others(a.as_fd(), 0, 1 << 30).unwrap(),
            [0_u64; 0]
        );
        unlock(a.as_fd(), 3);
        assert!(try_lock(b.as_fd(), 3, LockKind::Shared).unwrap());
        fs::remove_file(&path).unwrap();
    }
}
