//! The end of a submitted request: its completion, the withdrawal before it, and what runs after a
//! group of them.

use std::cell::RefCell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::Result;
use crate::request::Response;

/// Called once with the result of a submitted request.
///
/// It runs on the thread that committed the group, after the write lock is released. It must not
/// block; it may call libkv.
pub type Completion = Box<dyn FnOnce(Result<Response>) + Send>;

type After = Box<dyn FnOnce()>;

thread_local! {
    /// Callbacks that wait for the end of the group whose completions this thread runs.
    static AFTER_GROUP: RefCell<Option<Vec<After>>> = const { RefCell::new(None) };
}

/// Called from a completion: runs `then` after the last completion of its group, on the same
/// thread. Called from elsewhere: runs `then` at once. For callers that collect results and pass
/// them on together.
pub fn after_group(then: impl FnOnce() + 'static) {
    let mut then: Option<After> = Some(Box::new(then));
    // a thread that is ending may have lost its own already: then there is no group either
    let _ = AFTER_GROUP.try_with(|group| {
        if let Some(waiting) = &mut *group.borrow_mut() {
            waiting.extend(then.take());
        }
    });
    if let Some(then) = then {
        then();
    }
}

/// Runs the completions of a group, then the callbacks of [`after_group`]. A panic in one of them
/// ends neither the leader nor the group.
pub(crate) fn complete_group(
    completions: impl IntoIterator<Item = (Completion, Result<Response>)>,
) {
    // a completion may call libkv and lead another group, which is a part of this one then
    let outermost = AFTER_GROUP.try_with(|group| match &mut *group.borrow_mut() {
        Some(_) => false,
        group => group.replace(Vec::new()).is_none(),
    });
    for (completion, response) in completions {
        let _ = catch_unwind(AssertUnwindSafe(|| completion(response)));
    }
    if outermost == Ok(true) {
        for then in AFTER_GROUP.take().into_iter().flatten() {
            let _ = catch_unwind(AssertUnwindSafe(then));
        }
    }
}

/// A request that was submitted with [`Db::submit`](crate::Db::submit) and may be withdrawn.
/// Dropping this value has no effect.
pub struct Submission {
    withdraw: Option<Box<dyn FnOnce() -> bool + Send>>,
}

impl Submission {
    /// A request that can be withdrawn: `withdraw` returns whether it was in time.
    pub fn new(withdraw: impl FnOnce() -> bool + Send + 'static) -> Submission {
        Submission {
            withdraw: Some(Box::new(withdraw)),
        }
    }

    /// A request that has finished or can no longer be withdrawn.
    pub fn finished() -> Submission {
        Submission { withdraw: None }
    }

    /// Withdraws the request. True: it never runs and its completion is never called. False: a
    /// writer has begun it, and the completion gets the result.
    pub fn cancel(self) -> bool {
        self.withdraw.is_some_and(|withdraw| withdraw())
    }
}

impl fmt::Debug for Submission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.withdraw.is_some() {
            "Submission"
        } else {
            "Submission (finished)"
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::error::{Code, Error};

    #[test]
    fn after_group_runs_once_after_the_last_completion() {
        let order = Arc::new(Mutex::new(Vec::new()));
        let record = |what: &'static str| {
            let order = order.clone();
            move || order.lock().expect("no panic").push(what)
        };
        let completion = |own: &'static str,
                          then: &'static str,
                          panics: bool|
         -> (Completion, Result<Response>) {
            let (own, then) = (record(own), record(then));
            let run = move |_| {
                own();
                after_group(then);
                assert!(!panics, "a completion that panics");
            };
            (Box::new(run), Err(Error::new(Code::Busy, "")))
        };
        complete_group([
            completion("a", "after a", true),
            completion("b", "after b", false),
        ]);
        after_group(record("at once"));
        assert_eq!(
            *order.lock().expect("no panic"),
            ["a", "b", "after a", "after b", "at once"]
        );
    }
}
