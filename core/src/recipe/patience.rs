//! How long a caller waits, over all that has to be asked meanwhile.

use std::time::{Duration, Instant};

use crate::db::Db;
use crate::error::Code;

/// What is asked after the time is over, so that a place in a line is left in good order, gets this long.
const GRACE: Duration = Duration::from_millis(500);

/// The time that a caller gives to a wait: it limits each request of the wait, not only the pauses between
/// them. A time of 0 is for callers that do not want to wait for others: what has to be asked has no limit but the
/// request time-out then.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    timeout: Option<Duration>,
    until: Option<Instant>,
}

impl Patience {
    /// From now on; none: no limit.
    pub fn new(timeout: Option<Duration>) -> Patience {
        Patience {
            timeout,
            until: timeout.and_then(|timeout| Instant::now().checked_add(timeout)),
        }
    }

    /// The time that was given; 0 if there is no limit.
    pub fn timeout(&self) -> Duration {
        self.timeout.unwrap_or_default()
    }

    /// When it is over; none if there is no limit.
    pub fn until(&self) -> Option<Instant> {
        self.until
    }

    /// What is left of it; none if there is no limit.
    pub fn left(&self) -> Option<Duration> {
        self.until
            .map(|until| until.saturating_duration_since(Instant::now()))
    }

    /// Whether it is over.
    pub fn is_over(&self) -> bool {
        self.left().is_some_and(|left| left.is_zero())
    }

    /// The store to ask during the wait.
    pub fn limit(&self, db: &Db) -> Db {
        db.until(self.until.filter(|_| !self.timeout().is_zero()))
    }

    /// The store to ask once the time is over: it has half a second for everything.
    pub fn grace(db: &Db) -> Db {
        db.until(Instant::now() + GRACE)
    }

    /// Whether an error with this code means no more than that the time is over.
    pub fn has_ended(&self, code: Code) -> bool {
        let unanswered = matches!(
            code,
            Code::Timeout | Code::Unavailable | Code::UnknownOutcome
        );
        unanswered && !self.timeout().is_zero() && self.is_over()
    }
}
