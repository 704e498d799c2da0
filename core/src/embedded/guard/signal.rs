//! The commit signal: one word that wakes every thread, in all processes, that waits for a commit.
//!
//! Bit 0 is set while a thread sleeps; the other bits count commits. `core/DESIGN.md` ("Commit
//! signal") explains why no commit is missed.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use super::Guard;
use crate::embedded::os;

impl Guard {
    /// The signal, for [`Guard::wait_for_signal`]. Read it before the store is read.
    pub fn signal(&self) -> u32 {
        self.shared()
            .map_or(0, |shared| shared.signal.load(Ordering::SeqCst))
    }

    /// Sleeps until the signal is raised, at most for `most`. Returns at once if it was raised
    /// since `seen` was read.
    pub fn wait_for_signal(&self, seen: u32, most: Duration) {
        let Some(shared) = self.shared() else {
            return thread::sleep(most);
        };
        let asleep = seen | 1;
        if shared
            .signal
            .compare_exchange(seen, asleep, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
        {
            os::futex_wait(&shared.signal, asleep, most);
        }
    }

    /// Raises the signal: counts up and clears bit 0 in one step, and wakes the sleeping threads if
    /// it was set. (Cleared in a second step, a bit that was set in between would be lost.)
    pub fn raise_signal(&self) {
        let Some(shared) = self.shared() else { return };
        let before = shared
            .signal
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |word| {
                Some((word & !1).wrapping_add(2))
            })
            .unwrap_or(0);
        if before & 1 != 0 {
            os::futex_wake_all(&shared.signal);
        }
    }
}
