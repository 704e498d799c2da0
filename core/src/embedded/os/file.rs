//! Files: their identity, the allocation of blocks, their file system, shared maps.

use std::fs;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::{FallocateFlags, fallocate, fstat, statfs, statvfs};
use rustix::io::{FdFlags, fcntl_setfd, retry_on_intr};

/// Device, inode and length of an open file.
pub(crate) fn file_id(fd: BorrowedFd) -> io::Result<(u64, u64, u64)> {
    let stat = fstat(fd)?;
    Ok((stat.st_dev, stat.st_ino, stat.st_size as u64))
}

/// Whether an open file has no name any more: it ends with its last descriptor.
pub(crate) fn is_removed(fd: BorrowedFd) -> bool {
    fstat(fd).is_ok_and(|stat| stat.st_nlink == 0)
}

/// Gives a file at least this many bytes, with their blocks: a full disk is an error here, but a
/// signal at the first use of a mapped page. (The C library would emulate the call with writes.)
pub(crate) fn allocate(fd: BorrowedFd, bytes: u64) -> io::Result<()> {
    Ok(retry_on_intr(|| {
        fallocate(fd, FallocateFlags::empty(), 0, bytes)
    })?)
}

/// Closes a descriptor in programs that this one starts.
pub(crate) fn set_close_on_exec(fd: BorrowedFd) -> io::Result<()> {
    Ok(fcntl_setfd(fd, FdFlags::CLOEXEC)?)
}

/// Whether a path is on a file system whose locks and maps other machines may share.
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
    Ok(NETWORK.contains(&statfs(path)?.f_type))
}

/// Whether the file system of a path is almost full. If a write fits only in part, the error is an
/// I/O error; this distinguishes it from a broken disk.
pub(crate) fn is_full(path: &Path) -> bool {
    const LEFT_BYTES: u64 = 64 << 10;
    statvfs(path).is_ok_and(|stat| stat.f_bavail.saturating_mul(stat.f_frsize) < LEFT_BYTES)
}

/// Flushes a directory, so that the names in it survive a power cut.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.sync_all()
}

/// Maps the first bytes of a file, shared with every process that maps it. The file is opened once
/// more and closed: a child that inherits the map must not keep the locks of the first descriptor.
pub(crate) fn map_shared(path: &Path, bytes: usize) -> io::Result<MmapRaw> {
    let file = fs::File::options().read(true).write(true).open(path)?;
    MmapOptions::new().len(bytes).map_raw(&file)
}
