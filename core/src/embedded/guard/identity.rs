//! Which store, boot and machine a guard file belongs to: initialisation by the first process that
//! opens the store, and the refusal of a process that must not join the others.

use std::sync::atomic::Ordering;

use super::Guard;
use super::layout::{ABI, LAYOUT, Layout, MAGIC, NO_DEADLINE, SlotWords, slots_in, words};
use crate::embedded::os;
use crate::error::{Code, Error, Result};

/// The store id, and the inodes of the files of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub store_id: [u8; 16],
    pub data_inode: u64,
    pub lock_inode: u64,
}

/// What an earlier process left in the guard file that is still valid.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct KeptState {
    /// A sync has failed, and none has succeeded since.
    pub poisoned: bool,
    /// The deadlines are of this boot, this clock and these files.
    pub deadlines: bool,
}

impl Guard {
    /// Initialises the page, as the only process that is present, and returns what it kept: the
    /// mark of a failed sync, and deadlines, if they are of this boot and these files.
    pub fn initialise(&self, identity: &Identity, manual_clock: bool) -> Result<KeptState> {
        let Some(shared) = self.shared() else {
            return Ok(KeptState::default());
        };
        let kept_state = kept_state(shared, identity, manual_clock);
        shared.magic.store(0, Ordering::Release);
        shared
            .poisoned
            .store(kept_state.poisoned.into(), Ordering::Release);
        let boot = words(&os::process().boot.unwrap_or_default());
        for (field, word) in shared.boot.iter().zip(boot) {
            field.store(word, Ordering::Relaxed);
        }
        shared.abi.store(ABI, Ordering::Relaxed);
        shared
            .pid_namespace
            .store(os::process().pid_namespace, Ordering::Relaxed);
        shared
            .time_namespace
            .store(os::process().time_namespace, Ordering::Relaxed);
        for field in [&shared.writer_pid, &shared.waiter, &shared.signal] {
            field.store(0, Ordering::Relaxed);
        }
        shared
            .manual_clock
            .store(manual_clock.into(), Ordering::Relaxed);
        let (_, _, bytes) = self.io(os::file_id(self.file.fd()))?;
        initialise_slot_words(&shared.leases, slots_in(bytes));
        self.io(shared.mutex.initialise())?;
        self.identify(identity);
        shared.layout.store(LAYOUT, Ordering::Release);
        shared.magic.store(MAGIC, Ordering::Release);
        Ok(kept_state)
    }

    /// Records which files belong together.
    pub fn identify(&self, identity: &Identity) {
        let Some(shared) = self.shared() else { return };
        for (field, word) in shared.store_id.iter().zip(words(&identity.store_id)) {
            field.store(word, Ordering::Relaxed);
        }
        shared
            .data_inode
            .store(identity.data_inode, Ordering::Release);
        shared
            .lock_inode
            .store(identity.lock_inode, Ordering::Release);
    }

    /// Why this process may not join the processes `pids`, which have the store open; none if it
    /// may.
    pub fn refusal(&self, identity: &Identity, pids: &[u32]) -> Option<Error> {
        let shared = self.shared()?;
        let who = pids
            .iter()
            .map(u32::to_string)
            .collect::<Vec<_>>()
            .join(", ");
        let path = self.path.parent().unwrap_or(&self.path).display();
        let busy = |message: String| Some(Error::new(Code::Busy, message));
        let (layout, abi) = (
            shared.layout.load(Ordering::Acquire),
            shared.abi.load(Ordering::Acquire),
        );
        if shared.magic.load(Ordering::Acquire) != MAGIC {
            return busy(format!(
                "process {who} is initialising {path}, or its guard file was overwritten while open"
            ));
        }
        if (layout, abi) != (LAYOUT, ABI) {
            let message = format!(
                "{path} is open in process {who} with a guard of layout {layout} and ABI {abi:#x}; \
                 this library has layout {LAYOUT} and ABI {ABI:#x}"
            );
            return Some(Error::new(Code::Incompatible, message));
        }
        let pid_namespace = os::process().pid_namespace;
        if !is_same_boot(shared)
            || pid_namespace == 0
            || shared.pid_namespace.load(Ordering::Relaxed) != pid_namespace
            || !is_same_time_namespace(shared)
        {
            return busy(format!("{path} is open in another container; use kv serve"));
        }
        let inodes = (
            shared.data_inode.load(Ordering::Acquire),
            shared.lock_inode.load(Ordering::Acquire),
        );
        if inodes != (identity.data_inode, identity.lock_inode) {
            return busy(format!(
                "a file of {path} was replaced while process {who} has the store open: \
                 close it there first"
            ));
        }
        None
    }
}

fn kept_state(shared: &Layout, identity: &Identity, manual_clock: bool) -> KeptState {
    let layout = shared.layout.load(Ordering::Acquire);
    let ours = shared.magic.load(Ordering::Acquire) == MAGIC
        && (1..=LAYOUT).contains(&layout)
        && is_same_boot(shared)
        && shared.data_inode.load(Ordering::Acquire) == identity.data_inode;
    let store_id = shared
        .store_id
        .each_ref()
        .map(|word| word.load(Ordering::Relaxed));
    KeptState {
        poisoned: ours && shared.poisoned.load(Ordering::Acquire) != 0,
        deadlines: ours
            && layout == LAYOUT
            && store_id == words(&identity.store_id)
            && is_same_time_namespace(shared)
            && shared.manual_clock.load(Ordering::Relaxed) == u32::from(manual_clock),
    }
}

fn initialise_slot_words(words: &SlotWords, slots: u64) {
    words.slots.store(slots, Ordering::Release);
    for field in [
        &words.hint,
        &words.owner_changes,
        &words.owned,
        &words.freed,
    ] {
        field.store(0, Ordering::Relaxed);
    }
    words.next_deadline.store(NO_DEADLINE, Ordering::Release);
}

/// A time namespace that cannot be read equals no other.
fn is_same_time_namespace(shared: &Layout) -> bool {
    let own = os::process().time_namespace;
    own != 0 && shared.time_namespace.load(Ordering::Relaxed) == own
}

/// A boot id that cannot be read equals no other.
fn is_same_boot(shared: &Layout) -> bool {
    let recorded = shared
        .boot
        .each_ref()
        .map(|word| word.load(Ordering::Relaxed));
    os::process()
        .boot
        .is_some_and(|boot| words(&boot) == recorded)
}
