//! LMDB's table of readers, in its lock file: which processes read which commit.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;

use lmdb_sys as ffi;

use super::env::Env;
use super::error::error;
use crate::error::{Code, Error, Result};

/// The readers of all processes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Readers {
    pub last_txn: u64,
    /// The transaction that each reader in the table reads.
    pub reader_txns: Vec<u64>,
    /// The number of slots that parked readers use.
    pub readers_idle: u32,
}

impl Env {
    /// Every reader in the table, and the last commit.
    pub fn readers(&self) -> Result<Readers> {
        let (parked, reading): (Vec<_>, Vec<_>) = self
            .reader_lines()
            .into_iter()
            .partition(|line| line.1.is_none());
        Ok(Readers {
            last_txn: self.last_txn()?,
            reader_txns: reading.into_iter().filter_map(|line| line.1).collect(),
            readers_idle: parked.len() as u32,
        })
    }

    /// The error of a read that found no free slot.
    pub(super) fn readers_full(&self) -> Error {
        let (slots, pids) = (self.max_readers(), self.reader_pids());
        let message = format!(
            "all {slots} slots for readers are taken, by processes {pids} (option max_readers)"
        );
        Error::new(Code::Busy, message)
    }

    /// Frees the slots of readers whose process has ended.
    ///
    /// # Errors
    ///
    /// `busy` if a live process has lost its lock on the lock file: LMDB would consider it dead and
    /// reuse the pages that it reads.
    pub fn reader_check(&self) -> Result<u32> {
        if let Some(pid) = self.lost_lock()? {
            let path = self.path().display();
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

    /// The table as (pid, transaction or none if parked).
    fn reader_lines(&self) -> Vec<(u64, Option<u64>)> {
        unsafe extern "C" fn collect(
            line: *const libc::c_char,
            ctx: *mut libc::c_void,
        ) -> libc::c_int {
            // SAFETY: LMDB passes the pointer that it was given, which is a vector, and a C string.
            let (lines, line) = unsafe { (&mut *ctx.cast::<Vec<String>>(), CStr::from_ptr(line)) };
            lines.push(line.to_string_lossy().into_owned());
            0
        }
        let mut lines: Vec<String> = Vec::new();
        // SAFETY: LMDB calls the callback only before it returns, with our vector.
        unsafe { ffi::mdb_reader_list(self.raw(), Some(collect), (&raw mut lines).cast()) };
        // a row is "pid thread txn", with a dash as txn if parked; headings do not begin with a
        // number
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
}

/// Where the slots begin in LMDB's lock file: after its two mutexes, each with its header in cache
/// lines of its own.
const READERS: u64 = {
    let mutex = size_of::<libc::pthread_mutex_t>();
    ((8 + mutex + 12).next_multiple_of(64) + mutex.next_multiple_of(64)) as u64
};
/// A slot: number of the transaction (8 bytes), pid (4 bytes), thread.
const READER_BYTES: usize = 64;

/// Frees the slots with the pid of this process. No environment of this process may have the file
/// open: then such slots are from before an `exec`, and LMDB would consider them used.
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
