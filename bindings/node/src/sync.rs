//! Access to a mutex after a panic.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks the mutex. A panic under the lock was already returned as `internal` (see
/// [`guarded`](crate::state::guarded)); the value that it left is still sound.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
