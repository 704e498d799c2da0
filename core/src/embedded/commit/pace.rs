//! Pace: how many requests a group takes, and how long it waits for those that it expects.
//!
//! Many who each ask again once they are answered can be served in two ways. All of them share every
//! commit, and none is under way while they are on their way; or two halves take turns, each on its way
//! while the other is committed, and pay for two flushes where the others pay for one. The first is
//! better where a flush takes longer than the way, the second where it does not.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::queue::lock;

/// How long a group waits at most for requests that it expects, and which part of a commit.
const WAIT_MAX: Duration = Duration::from_millis(2);
const COMMIT_PARTS: u32 = 4;
/// Who takes turns forgets a part of the way with every group, and so looks again now and then.
const WAY_PARTS: u32 = 256;
/// With every group so many of those who have not been seen again are forgotten.
const IN_FLIGHT_PARTS: usize = 64;

/// What was seen of the groups of an environment.
#[derive(Default)]
pub(super) struct Pace {
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    last: Option<Last>,
    /// What those who were answered take to ask again, as far as it is known.
    way: Duration,
}

/// The last group.
#[derive(Clone, Copy)]
struct Last {
    ended: Instant,
    /// How many had come meanwhile.
    come: usize,
    /// How many seem to be at it: who is on the way at the end of a group was at it before.
    in_flight: usize,
    /// What a commit takes: the shorter of the last two, and the last.
    commit: Duration,
    commit_once: Duration,
}

/// How a group is put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// Of whoever waits.
    All,
    /// Of so many at most: the others are the next.
    Turns(usize),
    /// Of so many, for whom it waits until then.
    Together(usize, Instant),
}

impl Pace {
    /// A group of so many has ended, and so many had come meanwhile. `commit` is none if it flushed
    /// nothing: then there is nothing to share.
    pub fn note(&self, members: usize, come: usize, commit: Option<Duration>) {
        let mut seen = lock(&self.seen);
        let (known, before) = seen.last.map_or((0, Duration::MAX), |last| {
            (last.in_flight, last.commit_once)
        });
        let known = known - known.div_ceil(IN_FLIGHT_PARTS);
        seen.last = commit.map(|once| Last {
            ended: Instant::now(),
            come,
            in_flight: known.max(members + come),
            commit: once.min(before),
            commit_once: once,
        });
    }

    /// For a group that begins now. Who is alone waits for nobody, and neither does who comes after a
    /// pause; who is left alone by a crowd may wait in vain a few times, and then no more.
    pub fn plan(&self, now: Instant) -> Plan {
        let mut seen = lock(&self.seen);
        let Some(last) = seen.last else {
            return Plan::All;
        };
        let since = now.saturating_duration_since(last.ended);
        if last.in_flight < 2 || since > last.commit * 2 {
            return Plan::All;
        }
        if last.come == 0 {
            seen.way = seen.way.max(since);
        }
        if seen.way * 2 > last.commit {
            let forgotten = seen.way / WAY_PARTS;
            seen.way -= forgotten;
            return Plan::Turns(last.in_flight.div_ceil(2));
        }
        Plan::Together(
            last.in_flight,
            now + (last.commit / COMMIT_PARTS).min(WAIT_MAX),
        )
    }

    /// What came of a plan to go together: whether all have come, and it is over now.
    pub fn waited(&self, now: Instant, all: bool) {
        let mut seen = lock(&self.seen);
        let since = seen.last.map_or(Duration::ZERO, |last| {
            now.saturating_duration_since(last.ended)
        });
        seen.way = if all { since } else { since.max(seen.way * 2) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: Duration = Duration::from_micros(1);
    const MS: Duration = Duration::from_millis(1);

    fn plan(pace: &Pace, later: Duration) -> Plan {
        let ended = lock(&pace.seen)
            .last
            .map_or_else(Instant::now, |last| last.ended);
        pace.plan(ended + later)
    }

    /// Which plan it is, and for the last how long it waits.
    fn wait(pace: &Pace, later: Duration) -> Option<Duration> {
        let ended = lock(&pace.seen).last?.ended;
        match plan(pace, later) {
            Plan::Together(_, until) => Some(until - ended - later),
            _ => None,
        }
    }

    #[test]
    fn who_is_alone_or_comes_after_a_pause_or_flushes_nothing_waits_for_nobody() {
        let pace = Pace::default();
        assert_eq!(plan(&pace, US), Plan::All, "nothing was seen yet");
        pace.note(1, 0, Some(8 * MS));
        assert_eq!(plan(&pace, US), Plan::All, "one alone");
        pace.note(64, 0, Some(8 * MS));
        assert_ne!(plan(&pace, US), Plan::All);
        assert_eq!(plan(&pace, 17 * MS), Plan::All, "a pause was between them");
        pace.note(64, 0, None);
        assert_eq!(plan(&pace, US), Plan::All, "a commit that flushed nothing");
    }

    #[test]
    fn where_a_flush_is_dear_all_go_together_and_never_wait_long() {
        let pace = Pace::default();
        pace.note(30, 34, Some(4 * MS));
        assert!(matches!(plan(&pace, US), Plan::Together(64, _)));
        assert_eq!(wait(&pace, US), Some(MS), "a quarter of a commit");
        pace.note(64, 0, None);
        pace.note(64, 0, Some(100 * MS));
        assert_eq!(wait(&pace, US), Some(WAIT_MAX));
        pace.note(64, 0, Some(4 * MS));
        pace.note(64, 0, Some(100 * MS));
        assert_eq!(wait(&pace, US), Some(MS), "one slow commit says nothing");
    }

    #[test]
    fn where_the_way_is_long_halves_take_turns() {
        let pace = Pace::default();
        pace.note(64, 0, Some(2 * MS));
        assert_eq!(
            plan(&pace, 3 * MS / 2),
            Plan::Turns(32),
            "all were on their way for longer than half a commit"
        );
        pace.note(32, 31, Some(MS));
        assert_eq!(plan(&pace, US), Plan::Turns(32));
        pace.note(10, 10, Some(MS));
        assert_eq!(
            plan(&pace, US),
            Plan::Turns(31),
            "the others are on their way"
        );
        for _ in 0..200 {
            pace.note(10, 10, Some(MS));
        }
        assert_eq!(plan(&pace, US), Plan::Turns(10), "they are gone");
        let turns = (0..)
            .take_while(|_| matches!(plan(&pace, US), Plan::Turns(_)))
            .count();
        assert!(
            (100..1000).contains(&turns),
            "after a while it looks again: {turns}"
        );
    }

    #[test]
    fn who_waited_in_vain_takes_turns_soon() {
        let pace = Pace::default();
        let mut waits = 0;
        loop {
            pace.note(32, 32, Some(8 * MS));
            match plan(&pace, US) {
                Plan::Together(64, until) => pace.waited(until, false),
                Plan::Turns(32) => break,
                other => panic!("{other:?}"),
            }
            waits += 1;
        }
        assert_eq!(
            waits, 2,
            "2 ms were too short, and 4 ms are half of a commit"
        );
        let ended = lock(&pace.seen)
            .last
            .map(|last| last.ended)
            .expect("a group");
        pace.waited(ended + MS, true);
        assert!(
            matches!(plan(&pace, US), Plan::Together(64, _)),
            "it was worth it"
        );
    }
}
