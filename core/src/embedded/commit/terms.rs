//! The conditions of a write, in addition to its request.

use std::time::{Duration, Instant};

use crate::embedded::mvcc::conditions::Conditions;
use crate::engine::Interrupt;
use crate::request::Durability;

/// The conditions of a write.
#[derive(Clone, Copy)]
pub(crate) struct Terms<'a> {
    pub durability: Durability,
    /// The longest wait for a leader; `None`: no limit.
    pub timeout: Option<Duration>,
    /// Called from time to time while the request waits; true withdraws it.
    pub interrupt: Option<Interrupt<'a>>,
    pub conditions: Conditions,
}

impl Terms<'_> {
    /// Terms that cannot be interrupted and raise no alarm: those of the engine's own writes.
    pub fn own(durability: Durability, timeout: Option<Duration>) -> Terms<'static> {
        Terms {
            durability,
            timeout,
            interrupt: None,
            conditions: Conditions::default(),
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.timeout
            .and_then(|timeout| Instant::now().checked_add(timeout))
    }
}
