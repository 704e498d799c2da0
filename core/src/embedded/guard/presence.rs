//! Locks on bytes of the guard file: which processes have the store open.
//!
//! | byte | name | kind | held by |
//! |---|---|---|---|
//! | 0 | opening | exclusive | the process that opens or closes the store now |
//! | 1 | present | shared; exclusive with a manual clock | every process that has the store open |
//! | 2 | reading | shared | every process that has it open on a read-only medium |
//! | 16 + pid | | exclusive | each process, so that the others can find its pid |
//! | 2^62 + image | | exclusive | each program image: its leases end when the byte is free |
//!
//! The locks belong to the open file description. An `exec` closes it, so the leases that the
//! earlier program owned end, although pid and start time stay the same.

use std::fs;
use std::mem;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Guard;
use crate::embedded::os::{self, LockKind};
use crate::error::Result;

const OPENING: u64 = 0;
const PRESENT: u64 = 1;
const READING: u64 = 2;
const PIDS: u64 = 16;
/// Pids on Linux are below this.
const PID_MAX: u64 = 1 << 22;
const IMAGES: u64 = 1 << 62;

impl Guard {
    fn try_lock(&mut self, byte: u64, kind: LockKind) -> Result<bool> {
        let locked = self.io(os::try_lock(self.file.fd(), byte, kind))?;
        if locked && !self.held.contains(&byte) {
            self.held.push(byte);
        }
        Ok(locked)
    }

    fn is_locked_elsewhere(&self, byte: u64) -> Result<bool> {
        let holder = os::locked_by_other(self.file.fd(), byte, 1, LockKind::Exclusive);
        Ok(self.io(holder)?.is_some())
    }

    /// Locks "opening", which is held during every opening and closing. Returns whether it was
    /// free.
    pub fn try_opening(&mut self) -> Result<bool> {
        self.try_lock(OPENING, LockKind::Exclusive)
    }

    /// Records this process as the holder of "opening".
    pub fn record_opening(&self) {
        if let Some(shared) = self.shared() {
            shared
                .opening_start
                .store(os::process().start, Ordering::Relaxed);
            shared
                .opening_pid
                .store(std::process::id(), Ordering::Release);
        }
    }

    /// The recorded holder of "opening", if it is alive.
    pub fn opening_holder(&self) -> Option<u32> {
        let shared = self.shared()?;
        let pid = shared.opening_pid.load(Ordering::Acquire);
        (pid != 0 && os::process_start(pid) == shared.opening_start.load(Ordering::Relaxed))
            .then_some(pid)
    }

    /// Runs `last` with the shared guard, then unlocks "opening".
    pub fn end_opening_after<T>(mut self, last: impl FnOnce(Arc<Guard>) -> T) -> Result<T> {
        self.held.retain(|held| *held != OPENING);
        let guard = Arc::new(self);
        let result = last(guard.clone());
        os::unlock(guard.file.fd(), OPENING);
        Ok(result)
    }

    /// Locks the bytes of this process and of its program image. False means that another copy of
    /// the library in this process has the store open.
    pub fn try_own_bytes(&mut self) -> Result<bool> {
        Ok(
            self.try_lock(PIDS + u64::from(std::process::id()), LockKind::Exclusive)?
                && self.try_lock(IMAGES + os::process().image, LockKind::Exclusive)?,
        )
    }

    /// Locks "present". `exclusive`: no other process may have the store open.
    pub fn try_present(&mut self, exclusive: bool) -> Result<bool> {
        let kind = match exclusive {
            true => LockKind::Exclusive,
            false => LockKind::Shared,
        };
        self.try_lock(PRESENT, kind)
    }

    /// Locks "reading", which keeps writers away from a read-only medium.
    pub fn try_reading(&mut self) -> Result<bool> {
        self.try_lock(READING, LockKind::Shared)
    }

    /// Whether another process reads this store as a read-only medium.
    pub fn is_read_elsewhere(&self) -> Result<bool> {
        self.is_locked_elsewhere(READING)
    }

    /// Whether another process is present.
    pub fn is_shared(&self) -> Result<bool> {
        self.is_locked_elsewhere(PRESENT)
    }

    /// The other processes that have the store open.
    pub fn pids(&self) -> Result<Vec<u32>> {
        let fd = self.file.fd();
        let bytes = self.io(os::bytes_locked_by_others(fd, PIDS, PIDS + PID_MAX))?;
        let own = std::process::id();
        Ok(bytes
            .into_iter()
            .map(|byte| (byte - PIDS) as u32)
            .filter(|&pid| pid != own)
            .collect())
    }

    /// Whether a program image has ended: its byte is free. A process does not see its own locks,
    /// so its own image is compared by number.
    pub fn is_image_gone(&self, image: u64) -> bool {
        let byte = IMAGES.saturating_add(image);
        // an image whose state is unknown counts as alive
        image != os::process().image && matches!(self.is_locked_elsewhere(byte), Ok(false))
    }

    /// Keeps LMDB's lock file open, to find out which processes hold locks on it. LMDB has not
    /// opened it yet.
    pub fn keep_lock_file(&mut self, file: fs::File) {
        self.lock_file = Some(file);
    }

    /// A process that is present and alive, but has lost its lock on LMDB's lock file: opening and
    /// closing that file drops it. LMDB would consider the process dead and reuse pages it reads.
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

    /// Unlocks every byte, before another attempt or at the end.
    pub fn unlock_all(&mut self) {
        for byte in mem::take(&mut self.held) {
            os::unlock(self.file.fd(), byte);
        }
    }
}
