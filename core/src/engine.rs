//! What a store must be able to do: the border between what is said and who does it.

use std::cell::RefCell;
use std::os::fd::RawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;
use std::vec;

use crate::error::{Code, Error, Result};
use crate::model::{Change, Event, KeyRange, KeyValue, LeaseId, Revision, Version};
use crate::request::{
    Answer, Changes, CheckReport, CommitTimes, LeaseKeepAlive, LeaseTimeToLive, Range, RangeResult, Request, Status,
    Watch,
};

/// Runs once with the answer of a submitted request.
///
/// It runs on the thread that led the group, after the writer's lock is released. It must not
/// block; it may call libkv.
pub type Completion = Box<dyn FnOnce(Result<Answer>) + Send>;

type After = Box<dyn FnOnce()>;

thread_local! {
    /// What waits for the end of the group whose completions this thread runs.
    static AFTER_GROUP: RefCell<Option<Vec<After>>> = const { RefCell::new(None) };
}

/// From a completion: runs `then` once the last completion of its group has run, on the same thread.
/// From anywhere else: at once. For whoever gathers answers and passes them on together.
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

/// Runs the completions of a group, and then what they left for [`after_group`]. One that panics
/// ends neither its leader nor the group.
pub(crate) fn complete_group(completions: impl IntoIterator<Item = (Completion, Result<Answer>)>) {
    // a completion may call libkv and lead another group, which is a part of this one then
    let outermost = AFTER_GROUP.try_with(|group| match &mut *group.borrow_mut() {
        Some(_) => false,
        group => group.replace(Vec::new()).is_none(),
    });
    for (completion, answer) in completions {
        let _ = catch_unwind(AssertUnwindSafe(|| completion(answer)));
    }
    if outermost == Ok(true) {
        for then in AFTER_GROUP.take().into_iter().flatten() {
            let _ = catch_unwind(AssertUnwindSafe(then));
        }
    }
}

/// A request that was handed over by [`Engine::submit`], for whoever may change their mind. To drop
/// it changes nothing.
pub struct Submitted {
    withdraw: Option<Box<dyn FnOnce() -> bool + Send>>,
}

impl Submitted {
    /// What can be withdrawn: `withdraw` answers whether it was in time.
    pub fn new(withdraw: impl FnOnce() -> bool + Send + 'static) -> Submitted {
        Submitted { withdraw: Some(Box::new(withdraw)) }
    }

    /// What is answered already, or on its way beyond recall.
    pub fn gone() -> Submitted {
        Submitted { withdraw: None }
    }

    /// Takes the request back. True: it will never run, and its completion never be called. False:
    /// a writer had begun it, and the completion gets its answer.
    pub fn cancel(self) -> bool {
        self.withdraw.is_some_and(|withdraw| withdraw())
    }
}

impl std::fmt::Debug for Submitted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.withdraw.is_some() { "Submitted" } else { "Submitted (gone)" })
    }
}

/// Asked while a request waits for its turn, ten times a second; true takes the request back.
pub type Interrupted<'a> = &'a dyn Fn() -> bool;

/// A stretch of a range read without counting; see [`Engine::page`].
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Page {
    /// The pairs, by key.
    pub kvs: Vec<KeyValue>,
    /// The store's revision when it was read.
    pub revision: Revision,
    /// The key to go on from, or none when the range is at its end.
    pub next: Option<Vec<u8>>,
}

/// A pair where it lies, for whoever copies it at once; see [`Engine::range_each`].
#[derive(Clone, Copy, Debug)]
pub struct PairRef<'p> {
    /// The key.
    pub key: &'p [u8],
    /// The value; empty when only keys were asked for.
    pub value: &'p [u8],
    /// As in [`KeyValue`].
    pub create_revision: Revision,
    /// As in [`KeyValue`].
    pub mod_revision: Revision,
    /// As in [`KeyValue`].
    pub version: Version,
    /// As in [`KeyValue`].
    pub lease: LeaseId,
}

impl<'p> From<&'p KeyValue> for PairRef<'p> {
    fn from(kv: &'p KeyValue) -> PairRef<'p> {
        let KeyValue { ref key, ref value, create_revision, mod_revision, version, lease } = *kv;
        PairRef { key, value, create_revision, mod_revision, version, lease }
    }
}

/// A stretch of the log; see [`Engine::changes`].
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ChangesPage {
    /// The events, in order, whole revisions.
    pub events: Vec<Event>,
    /// The last revision looked at: go on after it, until it is the `upto` asked for.
    pub upto: Revision,
}

/// A stretch of a comparison; see [`Engine::diff`].
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct DiffPage {
    /// The keys that differ, by key.
    pub changes: Vec<Change>,
    /// The key to go on from, or none when the range is at its end.
    pub next: Option<Vec<u8>>,
}

/// A store, whoever keeps it: the engine in this process, or a cluster.
///
/// Requests are validated by the engine before they touch anything. All methods may be called from
/// any thread.
pub trait Engine: Send + Sync {
    /// Runs a request and waits for its answer, of the same kind.
    fn call(&self, request: Request) -> Result<Answer>;

    /// As [`Engine::call`]; while the request waits for its turn, `interrupted` is asked. Once it is
    /// true the request is taken back, with `cancelled`. A write that has begun is waited for in this process;
    /// over a network the wait ends all the same, with `unknown_outcome`.
    fn call_unless(&self, request: Request, interrupted: Interrupted) -> Result<Answer> {
        let _ = interrupted;
        self.call(request)
    }

    /// The same store, for calls that must end by `deadline`: each that has no answer by then fails with
    /// `timeout`, or with `unknown_outcome` if it is a write that was sent. None: only calls over a network
    /// can be limited so.
    fn until(self: Arc<Self>, deadline: Instant) -> Option<Arc<dyn Engine>> {
        let _ = deadline;
        None
    }

    /// Runs a request without waiting; `completion` gets the answer, also if it is a refusal.
    fn submit(&self, request: Request, completion: Completion) -> Submitted;

    /// Runs requests without waiting, as [`Engine::submit`] each of them; those that must queue are
    /// queued together, so that one group can take them all.
    fn submit_all(&self, requests: Vec<(Request, Completion)>) -> Vec<Submitted> {
        requests.into_iter().map(|(request, completion)| self.submit(request, completion)).collect()
    }

    /// One key at a revision; 0 is now.
    fn get(&self, key: &[u8], revision: Revision) -> Result<Option<KeyValue>> {
        let answer = range(self, Range::new(key).revision(revision))?;
        Ok(answer.kvs.into_iter().next())
    }

    /// A range whose pairs go to `each`, one by one, and are left out of the answer: for languages that
    /// keep pairs in a form of their own. It must not call the engine.
    fn range_each(&self, request: &Range, each: &mut dyn FnMut(PairRef)) -> Result<RangeResult> {
        let mut answer = range(self, request.clone())?;
        std::mem::take(&mut answer.kvs).iter().for_each(|kv| each(kv.into()));
        Ok(answer)
    }

    /// The value of one key, now, into `buffer`; answers its length. If the buffer is too small
    /// nothing is copied.
    fn get_into(&self, key: &[u8], buffer: &mut [u8]) -> Result<Option<usize>> {
        Ok(self.get(key, 0)?.map(|kv| {
            if let Some(place) = buffer.get_mut(..kv.value.len()) {
                place.copy_from_slice(&kv.value);
            }
            kv.value.len()
        }))
    }

    /// The current revision.
    fn revision(&self) -> Result<Revision> {
        Ok(range(self, Range::new([0].as_slice()).count_only(true))?.revision)
    }

    /// Up to `request.limit` pairs of a range by key, and where to go on; nothing is counted.
    fn page(&self, request: &Range) -> Result<Page> {
        let answer = range(self, request.clone())?;
        let next = answer.kvs.last().filter(|_| answer.more).map(|kv| [&kv.key[..], &[0]].concat());
        Ok(Page { kvs: answer.kvs, revision: answer.revision, next })
    }

    /// The events of one key, newest first, at most `limit` (0 and below: all that are kept).
    fn history(&self, _key: &[u8], _limit: i64) -> Result<Vec<Event>> {
        Err(unsupported("history"))
    }

    /// The first events of `request`, whole revisions; the caller goes on after
    /// [`ChangesPage::upto`].
    fn changes(&self, _request: &Changes) -> Result<ChangesPage> {
        Err(unsupported("changes"))
    }

    /// The first keys of `range` that differ between the revisions `before` and `after`.
    fn diff(&self, _before: Revision, _after: Revision, _range: &KeyRange) -> Result<DiffPage> {
        Err(unsupported("diff"))
    }

    /// The last revision written by the end of the minute of this time (milliseconds since 1970).
    fn revision_at(&self, _unix_ms: i64) -> Result<Revision> {
        Err(unsupported("revision_at"))
    }

    /// Follows a range.
    fn watch(&self, _request: Watch) -> Result<Arc<dyn WatchStream>> {
        Err(unsupported("watch"))
    }

    /// Gives a lease its full TTL again, once.
    fn lease_keep_alive(&self, _id: LeaseId) -> Result<LeaseKeepAlive> {
        Err(unsupported("lease_keep_alive"))
    }

    /// What is left of a lease, and its keys if they are asked for.
    fn lease_time_to_live(&self, _id: LeaseId, _keys: bool) -> Result<LeaseTimeToLive> {
        Err(unsupported("lease_time_to_live"))
    }

    /// The ids of all leases, the next to expire first.
    fn lease_list(&self) -> Result<Vec<LeaseId>> {
        Err(unsupported("lease_list"))
    }

    /// Keeps a lease alive until what this answers is dropped, or the handle is closed. `lost` runs
    /// once, on a thread of the engine, if the lease is gone before that.
    fn lease_keep(&self, _id: LeaseId, _lost: Box<dyn FnOnce() + Send>) -> Result<Box<dyn Keeping>> {
        Err(unsupported("lease"))
    }

    /// What the store says of itself.
    fn status(&self) -> Result<Status> {
        Err(unsupported("status"))
    }

    /// How long commits took; see [`crate::Db::commit_times`].
    fn commit_times(&self) -> Result<CommitTimes> {
        Err(unsupported("commit_times"))
    }

    /// Verifies every invariant.
    fn check(&self) -> Result<CheckReport> {
        Err(unsupported("check"))
    }

    /// Whether answers come over a network, reads too: then whoever must not wait submits those as well.
    fn is_remote(&self) -> bool {
        false
    }

    /// Refuses if this handle is closed or from before a fork; else nothing.
    fn ensure_open(&self) -> Result<()>;

    /// Ends this handle: every later call on it, and on what was made from it, answers `closed`.
    /// Closing twice is fine.
    fn close(&self);
}

/// Keeps a lease alive until it is dropped; see [`Engine::lease_keep`].
pub trait Keeping: Send + Sync {}

/// Some of what a watcher delivers; see [`WatchStream::next_page`].
#[derive(Clone, Debug, Default)]
pub struct WatchPage {
    /// The events of whole revisions, in order.
    pub events: vec::IntoIter<Event>,
    /// Without events: a sign of progress up to this revision, or 0 for none.
    pub progress: Revision,
}

/// What a [`Watcher`](crate::Watcher) is made of: whoever follows the store for it. All methods may
/// be called from any thread.
pub trait WatchStream: Send + Sync {
    /// The next events, some whole revisions at a time; empty if there are none for now. Never waits.
    ///
    /// # Errors
    ///
    /// `compacted`, `cancelled` and `closed` are its end.
    fn next_page(&self) -> Result<WatchPage>;

    /// As [`next_page`](WatchStream::next_page), for tasks that share a thread: looks at no more than a
    /// stretch of the log. Where that had nothing and was not all, the waker is called at once.
    fn next_page_briefly(&self) -> Result<WatchPage> {
        self.next_page()
    }

    /// The store's revision now, if all that matches up to it has been handed out; none if something has
    /// not, if it begins in the future, or if that cannot be known. Never waits.
    fn caught_up(&self) -> Option<Revision> {
        None
    }

    /// Whether it has been ended: then what was handed out before counts no more, and
    /// [`next_page`](WatchStream::next_page) says why.
    fn is_over(&self) -> bool;

    /// Whom to wake when [`next_page`](WatchStream::next_page) may have something, now or later.
    fn set_waker(&self, waker: Option<Waker>);

    /// A descriptor that polls as readable while `next_page` may have something, or while the last
    /// page may not have been taken whole. It belongs to the
    /// stream: whoever polls it neither reads nor closes it.
    fn fd(&self) -> Result<RawFd>;

    /// Ends it with this error, unless it has ended; who waits is woken.
    fn end(&self, error: Error);

    /// The revision to start from the next time, after all that was handed out.
    fn resume_revision(&self) -> Revision;
}

fn unsupported(what: &str) -> Error {
    Error::new(Code::Unsupported, format!("this engine has no {what}"))
}

fn range<E: Engine + ?Sized>(engine: &E, request: Range) -> Result<RangeResult> {
    match engine.call(request.into())? {
        Answer::Range(answer) => Ok(answer),
        other => Err(wrong_answer(&other)),
    }
}

pub(crate) fn wrong_answer(answer: &Answer) -> Error {
    Error::new(Code::Internal, format!("the engine answered another kind of request: {answer:?}"))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn what_waits_for_the_group_runs_once_after_its_last_completion() {
        let order = Arc::new(Mutex::new(Vec::new()));
        let say = |what: &'static str| {
            let order = order.clone();
            move || order.lock().expect("no panic").push(what)
        };
        let completion = |own: &'static str, then: &'static str, panics: bool| -> (Completion, Result<Answer>) {
            let (own, then) = (say(own), say(then));
            let run = move |_| {
                own();
                after_group(then);
                assert!(!panics, "a completion that panics");
            };
            (Box::new(run), Err(Error::new(Code::Busy, "")))
        };
        complete_group([completion("a", "after a", true), completion("b", "after b", false)]);
        after_group(say("at once"));
        assert_eq!(*order.lock().expect("no panic"), ["a", "b", "after a", "after b", "at once"]);
    }
}
