//! The time limit of a wait that consists of several requests.

use std::time::{Duration, Instant};

use crate::db::Db;
use crate::error::Code;

/// The time limit of the requests after the time is over: they delete what the wait has created.
const GRACE: Duration = Duration::from_millis(500);

/// The time limit of a wait: it also limits each request of the wait. A time of 0 is for callers
/// that do not wait for others: then only the request timeout limits the requests.
#[derive(Clone, Copy, Debug)]
pub struct WaitLimit {
    timeout: Option<Duration>,
    until: Option<Instant>,
}

impl WaitLimit {
    /// A limit that begins now; `None`: no limit.
    pub fn new(timeout: Option<Duration>) -> WaitLimit {
        WaitLimit {
            timeout,
            until: timeout.and_then(|timeout| Instant::now().checked_add(timeout)),
        }
    }

    /// The time at the beginning; 0 if there is no limit.
    pub fn timeout(&self) -> Duration {
        self.timeout.unwrap_or_default()
    }

    /// When it is over; `None` if there is no limit.
    pub fn until(&self) -> Option<Instant> {
        self.until
    }

    /// The remaining time; `None` if there is no limit.
    pub fn left(&self) -> Option<Duration> {
        self.until
            .map(|until| until.saturating_duration_since(Instant::now()))
    }

    /// Whether it is over.
    pub fn is_over(&self) -> bool {
        self.left().is_some_and(|left| left.is_zero())
    }

    /// The store, for requests during the wait.
    pub fn limit(&self, db: &Db) -> Db {
        db.until(self.until.filter(|_| !self.timeout().is_zero()))
    }

    /// The store, for requests after the time is over: it has half a second for all of them.
    pub fn grace(db: &Db) -> Db {
        db.until(Instant::now() + GRACE)
    }

    /// Whether an error with this code means only that the time is over.
    pub fn has_ended(&self, code: Code) -> bool {
        let unanswered = matches!(
            code,
            Code::Timeout | Code::Unavailable | Code::UnknownOutcome
        );
        unanswered && !self.timeout().is_zero() && self.is_over()
    }
}
