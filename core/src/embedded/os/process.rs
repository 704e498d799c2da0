//! The process: where it runs, and settings of the whole process or thread.
#![allow(unsafe_code)]

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::mem;
use std::os::unix::fs::MetadataExt;
use std::os::unix::thread::JoinHandleExt;
use std::ptr;
use std::sync::OnceLock;
use std::thread::JoinHandle;

use super::clock::boottime_ns;
use super::fork::PerGeneration;

/// Where a process runs. This does not change, so it is read once.
pub(crate) struct ProcessInfo {
    /// The id of this boot of the machine; none if it cannot be read.
    pub boot: Option<[u8; 16]>,
    /// The inodes of its namespaces; 0 if they cannot be read.
    pub pid_namespace: u64,
    pub time_namespace: u64,
    /// See [`process_start`].
    pub start: u64,
    /// The number of this program image, from 1 to 2^61: random, and new after each start, fork and
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

/// A random number. A forked child has the same state of the generator as its parent; pid and time
/// make the difference.
pub(crate) fn random() -> u64 {
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

/// When a process started, in clock ticks since boot; 0 if it has ended or cannot be read.
pub(crate) fn process_start(pid: u32) -> u64 {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return 0;
    };
    // the name, in brackets, may contain blanks: the start time is the 20th word after it
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    rest.split_whitespace()
        .nth(19)
        .and_then(|word| word.parse().ok())
        .unwrap_or(0)
}

/// Blocks SIGPIPE in this thread: a write to a closed connection returns EPIPE then, and does not
/// end the process. Programs in C have the signal enabled, and only they may change that.
pub(crate) fn block_sigpipe() {
    // SAFETY: the set is ours and is filled before it is used; the mask is that of this thread.
    unsafe {
        let mut set: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGPIPE);
        libc::pthread_sigmask(libc::SIG_BLOCK, &set, ptr::null_mut());
    }
}

/// Makes the allocator request memory of one mebibyte and more from the system piece by piece, and
/// return it as soon as it is freed. By default glibc raises this limit with every large piece that
/// is freed, and takes the next from its heap, which shrinks only at its end.
pub(crate) fn return_large_memory() {
    // other C libraries do not do this
    #[cfg(target_env = "gnu")]
    // SAFETY: the call sets a number of the allocator, under its lock.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 20);
    }
}

/// Whether a thread is the calling one. `thread::current` would allocate memory that a thread which
/// Rust has not started keeps until the process ends.
pub(crate) fn is_current<T>(thread: &JoinHandle<T>) -> bool {
    // SAFETY: the call has no precondition.
    thread.as_pthread_t() == unsafe { libc::pthread_self() }
}

#[cfg(test)]
mod tests {
    use super::super::clock::boottime_ms;
    use super::*;

    #[test]
    fn boot_id_start_time_and_clock_can_be_read() {
        assert_eq!(boot_id(), boot_id());
        assert_ne!(process_start(std::process::id()), 0);
        assert_eq!(process_start(u32::MAX), 0);
        assert!(boottime_ms() > 0);
    }
}
