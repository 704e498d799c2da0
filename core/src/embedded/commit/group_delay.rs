//! How many requests a group takes, and how long it waits for more.
//!
//! Take many clients that each send the next request when they get a response. There are two ways
//! to serve them. Together: all share every commit, and no commit runs while their next requests
//! are on their round trip. Or in turns: one half is on its round trip while the other is
//! committed, which costs two flushes instead of one. Together is better if a flush takes longer
//! than the round trip, in turns if not.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::mutex::lock;

/// The longest wait of a group for the requests that it expects, and its share of a commit.
const WAIT_MAX: Duration = Duration::from_millis(2);
const COMMIT_PARTS: u32 = 4;
/// While clients take turns the round trip is not measured. Each group reduces it by this share, so
/// that it is measured again after a while.
const ROUND_TRIP_PARTS: u32 = 256;
/// Each group removes this share of the clients that did not come back.
const CLIENT_PARTS: usize = 64;

/// What was observed of the groups of an environment.
#[derive(Default)]
pub(super) struct GroupDelay {
    observed: Mutex<Observations>,
}

#[derive(Default)]
struct Observations {
    last: Option<LastGroup>,
    /// The time from a response to the next request of its client, as far as it is known.
    round_trip: Duration,
}

#[derive(Clone, Copy)]
struct LastGroup {
    ended: Instant,
    /// Requests that came while it was committed.
    arrivals: usize,
    /// The estimated number of active clients. One that is on its round trip at the end of a group
    /// was seen before.
    clients: usize,
    /// The time of a commit: the shorter of the last two, and the last.
    commit: Duration,
    last_commit: Duration,
}

/// How the next group is put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// It takes all requests that wait.
    TakeAll,
    /// It takes at most this many: the others are the next group.
    TakeTurns(usize),
    /// It expects this many, and waits for them until then.
    WaitFor(usize, Instant),
}

impl GroupDelay {
    /// Records a group: its members, and the requests that came meanwhile. `commit` is `None` if
    /// nothing was flushed: then there is nothing to share.
    pub fn record_group(&self, members: usize, arrivals: usize, commit: Option<Duration>) {
        let mut observed = lock(&self.observed);
        let (known, before) = observed
            .last
            .map_or((0, Duration::MAX), |last| (last.clients, last.last_commit));
        let known = known - known.div_ceil(CLIENT_PARTS);
        observed.last = commit.map(|took| LastGroup {
            ended: Instant::now(),
            arrivals,
            clients: known.max(members + arrivals),
            commit: took.min(before),
            last_commit: took,
        });
    }

    /// The plan of a group that begins now. It never waits if only one client is active, or after
    /// an idle period. After other clients have stopped, the remaining one may wait a few more
    /// times, until the estimate has decayed.
    pub fn plan(&self, now: Instant) -> Plan {
        let mut observed = lock(&self.observed);
        let Some(last) = observed.last else {
            return Plan::TakeAll;
        };
        let since = now.saturating_duration_since(last.ended);
        if last.clients < 2 || since > last.commit * 2 {
            return Plan::TakeAll;
        }
        if last.arrivals == 0 {
            observed.round_trip = observed.round_trip.max(since);
        }
        if observed.round_trip * 2 > last.commit {
            let share = observed.round_trip / ROUND_TRIP_PARTS;
            observed.round_trip -= share;
            return Plan::TakeTurns(last.clients.div_ceil(2));
        }
        Plan::WaitFor(
            last.clients,
            now + (last.commit / COMMIT_PARTS).min(WAIT_MAX),
        )
    }

    /// Records the end of a [`Plan::WaitFor`]: whether all that were expected have come by now.
    pub fn record_wait(&self, now: Instant, all: bool) {
        let mut observed = lock(&self.observed);
        let since = observed.last.map_or(Duration::ZERO, |last| {
            now.saturating_duration_since(last.ended)
        });
        observed.round_trip = if all {
            since
        } else {
            since.max(observed.round_trip * 2)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: Duration = Duration::from_micros(1);
    const MS: Duration = Duration::from_millis(1);

    fn plan(delay: &GroupDelay, later: Duration) -> Plan {
        let ended = lock(&delay.observed)
            .last
            .map_or_else(Instant::now, |last| last.ended);
        delay.plan(ended + later)
    }

    /// How long the group waits for others; `None` if it does not.
    fn wait(delay: &GroupDelay, later: Duration) -> Option<Duration> {
        let ended = lock(&delay.observed).last?.ended;
        match plan(delay, later) {
            Plan::WaitFor(_, until) => Some(until - ended - later),
            _ => None,
        }
    }

    #[test]
    fn group_does_not_wait_for_one_client_or_after_a_pause_or_without_a_flush() {
        let delay = GroupDelay::default();
        assert_eq!(plan(&delay, US), Plan::TakeAll, "nothing was observed yet");
        delay.record_group(1, 0, Some(8 * MS));
        assert_eq!(plan(&delay, US), Plan::TakeAll, "one client");
        delay.record_group(64, 0, Some(8 * MS));
        assert_ne!(plan(&delay, US), Plan::TakeAll);
        assert_eq!(plan(&delay, 17 * MS), Plan::TakeAll, "after a pause");
        delay.record_group(64, 0, None);
        assert_eq!(
            plan(&delay, US),
            Plan::TakeAll,
            "a commit that flushed nothing"
        );
    }

    #[test]
    fn group_waits_for_all_clients_if_a_flush_is_slow() {
        let delay = GroupDelay::default();
        delay.record_group(30, 34, Some(4 * MS));
        assert!(matches!(plan(&delay, US), Plan::WaitFor(64, _)));
        assert_eq!(wait(&delay, US), Some(MS), "a quarter of a commit");
        delay.record_group(64, 0, None);
        delay.record_group(64, 0, Some(100 * MS));
        assert_eq!(wait(&delay, US), Some(WAIT_MAX));
        delay.record_group(64, 0, Some(4 * MS));
        delay.record_group(64, 0, Some(100 * MS));
        assert_eq!(
            wait(&delay, US),
            Some(MS),
            "one slow commit changes nothing"
        );
    }

    #[test]
    fn clients_take_turns_if_the_way_is_long() {
        let delay = GroupDelay::default();
        delay.record_group(64, 0, Some(2 * MS));
        assert_eq!(
            plan(&delay, 3 * MS / 2),
            Plan::TakeTurns(32),
            "the round trip is longer than half a commit"
        );
        delay.record_group(32, 31, Some(MS));
        assert_eq!(plan(&delay, US), Plan::TakeTurns(32));
        delay.record_group(10, 10, Some(MS));
        assert_eq!(
            plan(&delay, US),
            Plan::TakeTurns(31),
            "the others are on their round trip"
        );
        for _ in 0..200 {
            delay.record_group(10, 10, Some(MS));
        }
        assert_eq!(
            plan(&delay, US),
            Plan::TakeTurns(10),
            "the other clients have stopped"
        );
        let turns = (0..)
            .take_while(|_| matches!(plan(&delay, US), Plan::TakeTurns(_)))
            .count();
        assert!(
            (100..1000).contains(&turns),
            "after a while the way is measured again: {turns}"
        );
    }

    #[test]
    fn clients_take_turns_after_waits_that_timed_out() {
        let delay = GroupDelay::default();
        let mut waits = 0;
        loop {
            delay.record_group(32, 32, Some(8 * MS));
            match plan(&delay, US) {
                Plan::WaitFor(64, until) => delay.record_wait(until, false),
                Plan::TakeTurns(32) => break,
                other => panic!("{other:?}"),
            }
            waits += 1;
        }
        assert_eq!(
            waits, 2,
            "2 ms were too short, and 4 ms are half of a commit"
        );
        let ended = lock(&delay.observed)
            .last
            .map(|last| last.ended)
            .expect("a group");
        delay.record_wait(ended + MS, true);
        assert!(
            matches!(plan(&delay, US), Plan::WaitFor(64, _)),
            "all have come in time"
        );
    }
}
