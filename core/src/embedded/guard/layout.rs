//! The bytes of the guard file, and its map.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | magic number |
//! | 8 | 4 | number of the layout; this field, the magic number and the lock bytes never move |
//! | 12 | 4 | ABI: word size, size of the mutex, C library |
//! | 16 | 16 | store id |
//! | 32, 40 | 8, 8 | inodes of `data.mdb` and `lock.mdb` |
//! | 48, 56 | 8, 8 | inodes of the pid namespace and the time namespace |
//! | 64 | 16 | boot id; zeros equal no boot |
//! | 80 | 8 | LMDB's number of the last commit |
//! | 88, 96 | 4, 8 | pid and start time of the process that holds "opening" |
//! | 104, 112, 120 | 4, 8, 8 | holder of the write lock: pid, start time, since (ms of uptime) |
//! | 128 | 4 | 1 while another thread or process waits for the write lock |
//! | 132 | 4 | commit signal: bit 0 is set while a thread sleeps, the other bits are a counter |
//! | 136 | 4 | 1 after a failed sync |
//! | 140 | 4 | clock of the store: 0 the system's, 1 a manual one |
//! | 144 | 8 | lower bound of all lease deadlines; 0: look at every slot; all ones: no deadline |
//! | 152, 160 | 8, 8 | number of lease slots, and the first that may be free |
//! | 168, 176 | 8, 8 | count of changes to the leases with an owner, and number of such leases |
//! | 184 | 8 | count of lease slots that were cleared |
//! | 192 | 64 | mutex of the write lock |
//! | 256 | | reserved |
//! | 4,096 | 32 each | lease slots: id, deadline (ns), number of the owner's program image |
#![allow(unsafe_code)]

use std::io;
use std::mem;
use std::path::Path;
use std::slice;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use memmap2::MmapRaw;

use super::robust_mutex::RobustMutex;
use crate::embedded::codec::LEASES_MAX;
use crate::embedded::os;

pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"libkv gd");
pub(super) const LAYOUT: u32 = 3;
/// Word size, size of the mutex, and 1 for glibc.
pub(super) const ABI: u32 =
    (size_of::<usize>() as u32) << 24 | (size_of::<libc::pthread_mutex_t>() as u32) << 8 | 1;
/// Bytes before the lease slots. The file never has fewer.
pub(super) const HEAD_BYTES: usize = 4_096;
/// Bytes of the map. The file grows below it, and nothing beyond the end of the file is touched.
pub(super) const MAPPED_BYTES: usize = HEAD_BYTES + LEASES_MAX as usize * size_of::<Slot>();
/// The bound of all deadlines when no lease has one.
pub(crate) const NO_DEADLINE: u64 = u64::MAX;
/// The fields of the guard file, without the lease slots.
#[repr(C)]
pub(super) struct Layout {
    pub magic: AtomicU64,
    pub layout: AtomicU32,
    pub abi: AtomicU32,
    pub store_id: [AtomicU64; 2],
    pub data_inode: AtomicU64,
    pub lock_inode: AtomicU64,
    pub pid_namespace: AtomicU64,
    pub time_namespace: AtomicU64,
    pub boot: [AtomicU64; 2],
    pub txn_id: AtomicU64,
    pub opening_pid: AtomicU32,
    _pad0: u32,
    pub opening_start: AtomicU64,
    pub writer_pid: AtomicU32,
    _pad1: u32,
    pub writer_start: AtomicU64,
    pub writer_since_ms: AtomicU64,
    pub waiter: AtomicU32,
    pub signal: AtomicU32,
    pub poisoned: AtomicU32,
    pub manual_clock: AtomicU32,
    pub leases: SlotWords,
    pub mutex: RobustMutex,
}

/// Facts about all lease slots.
#[repr(C)]
pub(in crate::embedded) struct SlotWords {
    /// No lease has an earlier deadline; 0 means that every slot must be looked at.
    pub next_deadline: AtomicU64,
    /// The number of slots.
    pub slots: AtomicU64,
    /// No slot before this one is free.
    pub hint: AtomicU64,
    /// How often a lease with an owner was granted or ended.
    pub owner_changes: AtomicU64,
    /// The number of leases with an owner.
    pub owned: AtomicU64,
    /// How often a slot was cleared.
    pub freed: AtomicU64,
}

/// The place of a lease's deadline.
#[repr(C)]
pub(in crate::embedded) struct Slot {
    /// The lease, or 0. Only a hint: the slot is free unless the lease of this id names it.
    pub id: AtomicU64,
    /// Nanoseconds on the store's clock.
    pub deadline: AtomicU64,
    /// The program image that the lease ends with; 0 is none.
    pub owner: AtomicU64,
    _pad: u64,
}

const _: () = {
    assert!(mem::offset_of!(Layout, txn_id) == 80);
    assert!(mem::offset_of!(Layout, writer_pid) == 104);
    assert!(mem::offset_of!(Layout, waiter) == 128);
    assert!(mem::offset_of!(Layout, leases) == 144);
    assert!(mem::offset_of!(Layout, mutex) == 192);
    assert!(size_of::<Layout>() == 256 && size_of::<Slot>() == 32);
    assert!(MAPPED_BYTES == 64 << 20);
};

/// The map of a guard file.
pub(super) struct Page(MmapRaw);

impl Page {
    /// Maps a guard file, which has at least [`HEAD_BYTES`].
    pub fn map(path: &Path) -> io::Result<Page> {
        os::map_shared(path, MAPPED_BYTES).map(Page)
    }

    pub fn layout(&self) -> &Layout {
        // SAFETY: the file has HEAD_BYTES, more than the layout, and the map is aligned to a page.
        // Every field is atomic or is used through the calls for mutexes only.
        unsafe { &*self.0.as_ptr().cast::<Layout>() }
    }

    /// Every lease slot.
    pub fn slots(&self) -> &[Slot] {
        let slots = self.layout().leases.slots.load(Ordering::Acquire);
        let count = slots.min(LEASES_MAX) as usize;
        // SAFETY: the map has room for LEASES_MAX slots, and the file has the blocks of `count`:
        // the number is raised only after the file has grown. All fields are atomic.
        unsafe { slice::from_raw_parts(self.0.as_ptr().add(HEAD_BYTES).cast(), count) }
    }
}

/// The number of lease slots in a guard file of this length.
pub(super) fn slots_in(bytes: u64) -> u64 {
    (bytes.saturating_sub(HEAD_BYTES as u64) / size_of::<Slot>() as u64).min(LEASES_MAX)
}

/// A 16-byte id as two fields.
pub(super) fn words(id: &[u8; 16]) -> [u64; 2] {
    let (a, b) = id.split_at(8);
    [a, b].map(|half| u64::from_le_bytes(half.try_into().expect("8 bytes")))
}
