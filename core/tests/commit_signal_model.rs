//! The commit signal: every interleaving of two writers and two waiters.
//!
//! A model of `raise_signal` and `wait_for_signal` (core/src/embedded/guard/signal.rs) and of the
//! loop around them (`run` in core/src/embedded/background.rs), one atomic step at a time. No
//! waiter may sleep without limit before it has read the last commit. A writer may die between any
//! two steps; then the slow timer must wake the waiters. To prove its value, the model must find
//! the fault of each wrong design.

use std::collections::HashSet;

/// Commits of each writer. (3 commits give ten times as many states and the same results.)
const COMMITS: u8 = 2;
const WRITERS: usize = 2;
const WAITERS: usize = 2;

/// The design: the real one, or one with a fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Design {
    Real,
    /// The counter is incremented in one step, and the flag is cleared in the next.
    FlagAfterCounter,
    /// The flag is cleared in one step, and the counter is incremented in the next.
    FlagBeforeCounter,
    /// A waiter loads the word after it has read the store.
    LooksFirst,
    /// A waiter sets the flag without comparing the word.
    BlindFlag,
    /// Only one of the sleepers is woken.
    WakesOne,
    /// The counter is not incremented.
    NoCounter,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Writer {
    /// Before one of its commits.
    Commit,
    Ring,
    /// In the middle of `raise_signal`, with the word before it.
    Between(u8),
    /// Before it wakes the sleepers.
    Wake,
    Done,
    Dead,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Waiter {
    /// Before it loads the word.
    Load,
    /// Before it reads the store, with the word that it has loaded.
    Look(u8),
    /// After it has read the store, before it sets the flag and sleeps.
    Raise(u8),
    /// Before it enters the kernel, which compares the word with this.
    Enter(u8),
    Asleep,
    /// Pauses for a moment without setting the flag.
    Rest,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct State {
    word: u8,
    revision: u8,
    writers: [(Writer, u8); WRITERS],
    /// The state of each waiter, the last revision that it read, and whether it was woken since its
    /// last pause.
    waiters: [(Waiter, u8, bool); WAITERS],
    deaths: u8,
}

impl State {
    fn first() -> State {
        State {
            word: 0,
            revision: 0,
            writers: [(Writer::Commit, COMMITS); WRITERS],
            waiters: [(Waiter::Load, 0, false); WAITERS],
            deaths: 0,
        }
    }

    fn wake(&mut self, design: Design) {
        for waiter in self
            .waiters
            .iter_mut()
            .filter(|waiter| waiter.0 == Waiter::Asleep)
        {
            waiter.0 = Waiter::Load;
            waiter.2 = true;
            if design == Design::WakesOne {
                return;
            }
        }
    }

    /// The state after a writer's next step.
    fn write(&self, at: usize, design: Design) -> Option<State> {
        let mut next = self.clone();
        let (writer, left) = self.writers[at];
        let count = |word: u8| {
            if design == Design::NoCounter {
                word
            } else {
                word.wrapping_add(2)
            }
        };
        let after_raise = |before: u8| {
            if before & 1 != 0 {
                Writer::Wake
            } else {
                after_wake(left)
            }
        };
        next.writers[at].0 = match writer {
            Writer::Commit => {
                next.revision += 1;
                next.writers[at].1 = left - 1;
                Writer::Ring
            }
            Writer::Ring => match design {
                Design::FlagAfterCounter => {
                    next.word = count(self.word);
                    Writer::Between(self.word)
                }
                Design::FlagBeforeCounter => {
                    next.word = self.word & !1;
                    Writer::Between(self.word)
                }
                _ => {
                    next.word = count(self.word & !1);
                    after_raise(self.word)
                }
            },
            Writer::Between(before) => {
                next.word = if design == Design::FlagAfterCounter {
                    self.word & !1
                } else {
                    count(self.word)
                };
                after_raise(before)
            }
            Writer::Wake => {
                next.wake(design);
                after_wake(left)
            }
            Writer::Done | Writer::Dead => return None,
        };
        Some(next)
    }

    /// The state after a waiter's next step; `None` while it sleeps.
    fn wait(&self, at: usize, design: Design) -> Option<State> {
        let mut next = self.clone();
        let (waiter, seen, raised) = self.waiters[at];
        next.waiters[at].0 = match waiter {
            Waiter::Load if design == Design::LooksFirst => {
                next.waiters[at].1 = self.revision;
                Waiter::Look(0)
            }
            Waiter::Load => Waiter::Look(self.word),
            Waiter::Look(_) if design == Design::LooksFirst => Waiter::Raise(self.word),
            Waiter::Look(word) => {
                next.waiters[at].1 = self.revision;
                // woken without a new revision: it pauses, and is not woken meanwhile
                match raised && seen == self.revision {
                    true => {
                        next.waiters[at].2 = false;
                        Waiter::Rest
                    }
                    false => Waiter::Raise(word),
                }
            }
            Waiter::Raise(word) if self.word == word || design == Design::BlindFlag => {
                next.word = self.word | 1;
                Waiter::Enter(next.word)
            }
            Waiter::Raise(word) => {
                next.waiters[at].2 = self.word & !1 != word & !1;
                Waiter::Load
            }
            Waiter::Enter(expected) if self.word == expected => Waiter::Asleep,
            Waiter::Enter(_) => {
                next.waiters[at].2 = true;
                Waiter::Load
            }
            Waiter::Rest => Waiter::Load,
            Waiter::Asleep => return None,
        };
        Some(next)
    }

    /// Every state after one step of any writer or waiter, or after the death of a writer.
    fn steps(&self, design: Design, may_die: bool) -> Vec<State> {
        let mut steps: Vec<State> = (0..WRITERS)
            .filter_map(|at| self.write(at, design))
            .collect();
        steps.extend((0..WAITERS).filter_map(|at| self.wait(at, design)));
        for at in 0..WRITERS {
            let writes = !matches!(self.writers[at].0, Writer::Done | Writer::Dead);
            if may_die && self.deaths == 0 && writes {
                let mut next = self.clone();
                next.writers[at].0 = Writer::Dead;
                next.deaths = 1;
                steps.push(next);
            }
        }
        steps
    }

    /// Whether a waiter has not read the last commit.
    fn behind(&self) -> bool {
        self.waiters.iter().any(|waiter| waiter.1 != self.revision)
    }

    /// The slow timer wakes every waiter.
    fn tick(&self) -> State {
        let mut next = self.clone();
        next.waiters
            .iter_mut()
            .filter(|waiter| waiter.0 == Waiter::Asleep)
            .for_each(|waiter| waiter.0 = Waiter::Load);
        next
    }
}

fn after_wake(left: u8) -> Writer {
    if left > 0 {
        Writer::Commit
    } else {
        Writer::Done
    }
}

/// The result of a search.
#[derive(Default, Debug)]
struct SearchResult {
    states: usize,
    /// States in which no step is possible.
    ends: usize,
    /// Of these, the states in which a waiter has not read the last commit: with all writers alive,
    /// and with a dead one.
    lost: usize,
    lost_by_a_death: usize,
}

/// Explores every state that can be reached from these, until `enough` is true for an end.
fn explore(
    from: Vec<State>,
    design: Design,
    may_die: bool,
    mut end: impl FnMut(&State) -> bool,
) -> usize {
    let mut known: HashSet<State> = from.iter().cloned().collect();
    let mut open = from;
    while let Some(state) = open.pop() {
        let steps = state.steps(design, may_die);
        if steps.is_empty() && end(&state) {
            break;
        }
        open.extend(steps.into_iter().filter(|step| known.insert(step.clone())));
    }
    known.len()
}

fn search(design: Design, may_die: bool) -> SearchResult {
    let mut found = SearchResult::default();
    let mut behind = Vec::new();
    found.states = explore(vec![State::first()], design, may_die, |state| {
        found.ends += 1;
        if state.behind() {
            match state.deaths {
                0 => found.lost += 1,
                _ => found.lost_by_a_death += 1,
            }
            behind.push(state.tick());
        }
        design != Design::Real && found.lost > 0
    });
    // after a tick of the slow timer every waiter has read the last commit
    explore(behind, design, may_die, |state| {
        assert!(
            !state.behind() || design != Design::Real,
            "the slow timer does not help: {state:?}"
        );
        false
    });
    found
}

#[test]
fn commit_signal_wakes_every_waiter() {
    let found = search(Design::Real, false);
    println!("{found:?}");
    assert!(found.states > 100_000 && found.ends > 0, "{found:?}");
    assert_eq!(found.lost, 0, "{found:?}");
}

#[test]
fn commit_signal_of_a_dead_writer_is_replaced_by_the_timer() {
    let found = search(Design::Real, true);
    println!("{found:?}");
    assert_eq!(found.lost, 0, "{found:?}");
    assert!(
        found.lost_by_a_death > 0,
        "there are states after a death: {found:?}"
    );
}

#[test]
fn commit_signal_model_finds_wrong_designs() {
    for design in [
        Design::FlagAfterCounter,
        Design::FlagBeforeCounter,
        Design::LooksFirst,
        Design::BlindFlag,
        Design::WakesOne,
        Design::NoCounter,
    ] {
        let found = search(design, false);
        println!("{design:?}: {found:?}");
        assert!(found.lost > 0, "no fault found in {design:?}: {found:?}");
    }
}
