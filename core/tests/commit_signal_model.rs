//! The commit signal: every interleaving of two writers and two waiters.
//!
//! A model of `raise_signal` and `wait_for_signal` (core/src/embedded/guard/signal.rs) and of the
//! loop around them (`run` in core/src/embedded/background.rs), one atomic step at a time. No waiter
//! may sleep without end before it has seen the last commit. A writer may die between any two
//! steps; then the slow timer alone must wake the waiters. The model must find each wrong design,
//! or it proves nothing.

use std::collections::HashSet;

/// Commits of each writer. (With 3 there are ten times as many states, and nothing else is found.)
const COMMITS: u8 = 2;
const WRITERS: usize = 2;
const WAITERS: usize = 2;

/// What is built differently.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Built {
    AsItIs,
    /// The counter goes up in one step, and the flag is taken in the next.
    FlagAfterCounter,
    /// The flag is taken in one step, and the counter goes up in the next.
    FlagBeforeCounter,
    /// A waiter loads the word after it has looked at the store.
    LooksFirst,
    /// A waiter raises the flag without comparing.
    BlindFlag,
    /// Only one of the sleepers is woken.
    WakesOne,
    /// The word is not counted up.
    NoCounter,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Writer {
    /// About to make one of the commits that are left.
    Commit,
    Ring,
    /// A part of `raise_signal` is done; the word before it.
    Between(u8),
    /// A waiter sleeps and is to be woken.
    Wake,
    Done,
    Dead,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Waiter {
    /// About to load the word.
    Load,
    /// About to look at the store; the word that it has seen.
    Look(u8),
    /// Has looked, and found nothing or something: about to raise the flag and to sleep.
    Raise(u8),
    /// About to enter the kernel, which compares the word with this.
    Enter(u8),
    Asleep,
    /// Rests for a moment with the signal not armed.
    Rest,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct State {
    word: u8,
    revision: u8,
    writers: [(Writer, u8); WRITERS],
    /// The revision that each has seen last, and whether it was rung since its last rest.
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

    fn wake(&mut self, built: Built) {
        for waiter in self
            .waiters
            .iter_mut()
            .filter(|waiter| waiter.0 == Waiter::Asleep)
        {
            waiter.0 = Waiter::Load;
            waiter.2 = true;
            if built == Built::WakesOne {
                return;
            }
        }
    }

    /// What a writer's next step leads to.
    fn write(&self, at: usize, built: Built) -> Option<State> {
        let mut next = self.clone();
        let (writer, left) = self.writers[at];
        let count = |word: u8| {
            if built == Built::NoCounter {
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
            Writer::Ring => match built {
                Built::FlagAfterCounter => {
                    next.word = count(self.word);
                    Writer::Between(self.word)
                }
                Built::FlagBeforeCounter => {
                    next.word = self.word & !1;
                    Writer::Between(self.word)
                }
                _ => {
                    next.word = count(self.word & !1);
                    after_raise(self.word)
                }
            },
            Writer::Between(before) => {
                next.word = if built == Built::FlagAfterCounter {
                    self.word & !1
                } else {
                    count(self.word)
                };
                after_raise(before)
            }
            Writer::Wake => {
                next.wake(built);
                after_wake(left)
            }
            Writer::Done | Writer::Dead => return None,
        };
        Some(next)
    }

    /// What a waiter's next step leads to; none while it sleeps.
    fn wait(&self, at: usize, built: Built) -> Option<State> {
        let mut next = self.clone();
        let (waiter, seen, raised) = self.waiters[at];
        next.waiters[at].0 = match waiter {
            Waiter::Load if built == Built::LooksFirst => {
                next.waiters[at].1 = self.revision;
                Waiter::Look(0)
            }
            Waiter::Load => Waiter::Look(self.word),
            Waiter::Look(_) if built == Built::LooksFirst => Waiter::Raise(self.word),
            Waiter::Look(word) => {
                next.waiters[at].1 = self.revision;
                // rung for nothing: it rests, and is not to be woken meanwhile
                match raised && seen == self.revision {
                    true => {
                        next.waiters[at].2 = false;
                        Waiter::Rest
                    }
                    false => Waiter::Raise(word),
                }
            }
            Waiter::Raise(word) if self.word == word || built == Built::BlindFlag => {
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

    /// Every state that one step leads to, a death too.
    fn steps(&self, built: Built, may_die: bool) -> Vec<State> {
        let mut steps: Vec<State> = (0..WRITERS)
            .filter_map(|at| self.write(at, built))
            .collect();
        steps.extend((0..WAITERS).filter_map(|at| self.wait(at, built)));
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

    /// A waiter that has not seen the last commit.
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

/// What the search found.
#[derive(Default, Debug)]
struct Found {
    states: usize,
    /// States in which no step is possible.
    ends: usize,
    /// Of these, where a waiter has not seen the last commit: with all writers alive, and with one
    /// that died.
    lost: usize,
    lost_by_a_death: usize,
}

/// Goes through every state that can be reached from these, until an `end` is enough.
fn explore(
    from: Vec<State>,
    built: Built,
    may_die: bool,
    mut end: impl FnMut(&State) -> bool,
) -> usize {
    let mut known: HashSet<State> = from.iter().cloned().collect();
    let mut open = from;
    while let Some(state) = open.pop() {
        let steps = state.steps(built, may_die);
        if steps.is_empty() && end(&state) {
            break;
        }
        open.extend(steps.into_iter().filter(|step| known.insert(step.clone())));
    }
    known.len()
}

fn search(built: Built, may_die: bool) -> Found {
    let mut found = Found::default();
    let mut behind = Vec::new();
    found.states = explore(vec![State::first()], built, may_die, |state| {
        found.ends += 1;
        if state.behind() {
            match state.deaths {
                0 => found.lost += 1,
                _ => found.lost_by_a_death += 1,
            }
            behind.push(state.tick());
        }
        built != Built::AsItIs && found.lost > 0
    });
    // whatever was lost: after a tick of the slow timer every waiter has seen everything
    explore(behind, built, may_die, |state| {
        assert!(
            !state.behind() || built != Built::AsItIs,
            "the slow timer does not help: {state:?}"
        );
        false
    });
    found
}

#[test]
fn commit_signal_wakes_every_waiter() {
    let found = search(Built::AsItIs, false);
    println!("{found:?}");
    assert!(found.states > 100_000 && found.ends > 0, "{found:?}");
    assert_eq!(found.lost, 0, "{found:?}");
}

#[test]
fn commit_signal_of_a_dead_writer_is_replaced_by_the_timer() {
    let found = search(Built::AsItIs, true);
    println!("{found:?}");
    assert_eq!(found.lost, 0, "{found:?}");
    assert!(
        found.lost_by_a_death > 0,
        "a death is there to be covered: {found:?}"
    );
}

#[test]
fn commit_signal_model_finds_wrong_designs() {
    for built in [
        Built::FlagAfterCounter,
        Built::FlagBeforeCounter,
        Built::LooksFirst,
        Built::BlindFlag,
        Built::WakesOne,
        Built::NoCounter,
    ] {
        let found = search(built, false);
        println!("{built:?}: {found:?}");
        assert!(found.lost > 0, "{built:?} loses nothing: {found:?}");
    }
}
