//! The one driver of claims: it waits for a name without a thread of its own.
//!
//! It runs on the completions of submitted requests and on the wakers of watchers, on whichever
//! thread they run. [`ClaimWait`](crate::support::ClaimWait) is for callers that block.
//!
//! The steps: revoke the lease of a former claim; with `only_if_free`, read the holder; grant the
//! lease; create the key; read the key before it; watch that key until it is deleted; read again.
//! The end, unless the name is held: revoke the lease (delete the key of a caller's lease), and
//! after the time limit read the holder for the message.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Wake, Waker};

use crate::db::Db;
use crate::engine::{Submission, wrong_response};
use crate::error::{Code, Error, Result};
use crate::model::{KeyRange, KeyValue, Revision};
use crate::mutex::lock;
use crate::recipe::claim::{Claim, ClaimKey, ClaimRequest, LeaseChoice, holder_request};
use crate::recipe::lease::{Lease, lost};
use crate::recipe::wait_limit::WaitLimit;
use crate::recipe::watcher::Watcher;
use crate::request::*;

/// Called once with the result of a [`ClaimRequest`]; `None` if the name was to be taken only if it
/// is free, and is not. It may run on a thread of libkv and must not block; it may call libkv.
pub type ClaimCompletion = Box<dyn FnOnce(Result<Option<Claim>>) + Send>;

/// A claim in progress. Dropping it cancels it without waiting: the completion is called at once,
/// and the key and the lease are deleted soon after.
pub struct ClaimDriver {
    db: Db,
    shared: Arc<Shared>,
}

impl fmt::Debug for ClaimDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClaimDriver")
    }
}

impl ClaimDriver {
    /// Starts a request. `completion` may be called before this returns.
    pub fn start(
        request: ClaimRequest,
        completion: impl FnOnce(Result<Option<Claim>>) + Send + 'static,
    ) -> ClaimDriver {
        let db = request.db.clone();
        let shared = Arc::new_cyclic(|shared| Shared {
            state: Mutex::new(State {
                machine: Some(StateMachine::new(
                    request,
                    Box::new(completion),
                    Weak::clone(shared),
                )),
                events: VecDeque::new(),
                has_ended: false,
            }),
        });
        shared.advance(Event::Start);
        ClaimDriver { db, shared }
    }

    /// The time limit is over: the claim fails with `timeout` where it would have to wait. The
    /// completion is called after the key and the lease are deleted.
    pub fn time_out(&self) {
        self.shared.advance(Event::TimeOut);
    }

    /// Ends the claim with `cancelled`. The completion is called after the key and the lease are
    /// deleted.
    pub fn cancel(&self) {
        self.shared.advance(Event::Cancel);
    }
}

impl Drop for ClaimDriver {
    fn drop(&mut self) {
        // in a forked child another thread of the parent may hold the lock
        let forked = |error: Error| error.code() == Code::Forked;
        if !self.db.engine().ensure_open().is_err_and(forked) {
            self.shared.advance(Event::Drop);
        }
    }
}

/// What completions, wakers and the handle share.
struct Shared {
    state: Mutex<State>,
}

struct State {
    /// `None` while a thread runs it. That thread also handles the events that come meanwhile.
    machine: Option<StateMachine>,
    events: VecDeque<Event>,
    /// Nothing happens any more.
    has_ended: bool,
}

enum Event {
    Start,
    /// The response to the request in flight.
    Response(Result<Response>),
    /// A watcher was created, or refused.
    Watcher(Result<Watcher>),
    /// A watcher may have events.
    Wake,
    LeaseLost,
    TimeOut,
    Cancel,
    Drop,
}

impl Shared {
    /// Handles an event. No lock is held meanwhile, so that the machine may call anything.
    fn advance(&self, event: Event) {
        let mut state = lock(&self.state);
        if state.has_ended {
            // dropped without the lock: it may call back
            drop(state);
            return drop(event);
        }
        state.events.push_back(event);
        let Some(mut machine) = state.machine.take() else {
            return;
        };
        while let Some(event) = state.events.pop_front() {
            drop(state);
            machine.handle(event);
            if let Some(result) = machine.result.take() {
                return self.finish(machine, result);
            }
            state = lock(&self.state);
        }
        state.machine = Some(machine);
    }

    /// Drops the machine and its handle of the store, then calls the completion.
    fn finish(&self, mut machine: StateMachine, result: Result<Option<Claim>>) {
        let mut state = lock(&self.state);
        state.has_ended = true;
        let events = std::mem::take(&mut state.events);
        drop(state);
        let completion = machine.completion.take();
        drop((events, machine));
        complete(completion, result);
    }
}

/// A panic in a completion must not end the thread of libkv that calls it.
fn complete(completion: Option<ClaimCompletion>, result: Result<Option<Claim>>) {
    if let Some(completion) = completion {
        let _ = catch_unwind(AssertUnwindSafe(|| completion(result)));
    }
}

/// A waker keeps nothing alive: a driver that was dropped is not woken.
struct DriverWaker(Weak<Shared>);

impl Wake for DriverWaker {
    fn wake(self: Arc<Self>) {
        if let Some(shared) = self.0.upgrade() {
            shared.advance(Event::Wake);
        }
    }
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The revocation of the former lease.
    Former,
    /// The holder, with `only_if_free`.
    Free,
    Grant,
    Enter,
    /// The value of a key that exists already.
    Proclaim,
    /// The keys of this claim and of the one before it.
    Look,
    /// The creation of the watchers.
    Watch,
    /// The deletion of a watched key.
    Wait,
    /// The deletion of everything that this claim created.
    Leave,
    /// The holder, for the message of a timeout.
    Holder,
}

/// Why a claim ends without the name.
enum Failure {
    NotFree,
    TimeOut,
    Error(Error),
}

struct StateMachine {
    request: ClaimRequest,
    /// The store, for requests within the time limit.
    limited: Db,
    /// The store, for requests after the end of the claim.
    grace: Db,
    completion: Option<ClaimCompletion>,
    shared: Weak<Shared>,
    step: Step,
    /// The request in flight; `None` if an attempt to withdraw it has failed.
    submission: Option<Submission>,
    is_in_flight: bool,
    /// The key, once the lease is known.
    key: ClaimKey,
    /// The revision of the store when the key was created or found.
    entered_at: Revision,
    /// The granted lease, while it must be revoked.
    granted: Option<LeaseRevoke>,
    lease: Option<Lease>,
    /// What must still be watched.
    watches: Vec<Watch>,
    watchers: Vec<Watcher>,
    /// Whether another claimant held the name at first.
    has_waited: bool,
    /// Whether the time limit is over.
    is_over: bool,
    /// Set as soon as it is known that the claim ends without the name.
    failure: Option<Failure>,
    /// Set at the end.
    result: Option<Result<Option<Claim>>>,
}

impl StateMachine {
    fn new(
        request: ClaimRequest,
        completion: ClaimCompletion,
        shared: Weak<Shared>,
    ) -> StateMachine {
        StateMachine {
            limited: request.wait_limit.limit(&request.db),
            grace: request.db.clone(),
            request,
            completion: Some(completion),
            shared,
            step: Step::Former,
            submission: None,
            is_in_flight: false,
            key: ClaimKey::default(),
            entered_at: 0,
            granted: None,
            lease: None,
            watches: Vec::new(),
            watchers: Vec::new(),
            has_waited: false,
            is_over: false,
            failure: None,
            result: None,
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Start => self.start(),
            Event::Response(response) => self.respond(response),
            Event::Watcher(watcher) if self.step == Step::Watch => self.add_watcher(watcher),
            Event::Wake if self.step == Step::Wait => self.wake(),
            Event::LeaseLost if self.step == Step::Wait => self.fail(lost(self.key.lease_id)),
            Event::TimeOut => self.time_out(),
            Event::Cancel => self.end(Failure::Error(cancelled())),
            Event::Drop => self.abandon(),
            Event::Watcher(_) | Event::Wake | Event::LeaseLost => {}
        }
    }

    fn start(&mut self) {
        match self.request.former.take() {
            Some(former) => self.submit(Step::Former, former),
            None => self.begin(),
        }
    }

    fn begin(&mut self) {
        match self.request.only_if_free {
            true => self.submit(Step::Free, holder_request(&self.request.prefix())),
            false => self.grant(),
        }
    }

    fn grant(&mut self) {
        match self.request.lease {
            LeaseChoice::Grant { ttl_seconds } => {
                self.submit(
                    Step::Grant,
                    LeaseGrant {
                        ttl_seconds,
                        id: 0,
                        end_with_process: true,
                    },
                );
            }
            LeaseChoice::Given(id) => {
                self.key = ClaimKey::new(&self.request.prefix(), id);
                self.enter();
            }
        }
    }

    fn respond(&mut self, response: Result<Response>) {
        (self.is_in_flight, self.submission) = (false, None);
        let done = match (self.step, response) {
            (Step::Leave, response) => return self.left(revoked(response)),
            (Step::Holder, response) => {
                let error = self.request.timeout_with(response.and_then(pair));
                return self.finish(Err(error));
            }
            (Step::Former, response) => revoked(response).map(|()| self.begin()),
            (Step::Free, Ok(response)) => pair(response).map(|holder| match holder {
                Some(_) => self.end(Failure::NotFree),
                None => self.grant(),
            }),
            (Step::Grant, Ok(Response::LeaseGrant(granted))) => self.granted(granted),
            (Step::Enter, Ok(Response::Txn(response))) => self.entered(response),
            (Step::Proclaim, Ok(Response::Txn(response))) if response.succeeded => {
                self.look();
                Ok(())
            }
            (Step::Proclaim, Ok(Response::Txn(_))) => Err(lost(self.key.lease_id)),
            (Step::Look, Ok(Response::Txn(response))) => self.evaluate(&response),
            (_, Ok(response)) => Err(wrong_response(&response)),
            (_, Err(error)) => Err(error),
        };
        if let Err(error) = done {
            self.fail(error);
        }
    }

    fn granted(&mut self, granted: LeaseGrantResponse) -> Result<()> {
        let LeaseGrantResponse {
            id, ttl_seconds, ..
        } = granted;
        self.granted = Some(LeaseRevoke { id });
        self.key = ClaimKey::new(&self.request.prefix(), id);
        let lease = Lease::adopt(self.request.db.clone(), id, ttl_seconds)?;
        let shared = self.shared.clone();
        lease.on_lost(move || {
            if let Some(shared) = shared.upgrade() {
                shared.advance(Event::LeaseLost);
            }
        });
        self.lease = Some(lease);
        self.enter();
        Ok(())
    }

    /// Creates the key, unless it exists.
    fn enter(&mut self) {
        let key = &self.key.key[..];
        let value = self.request.value.clone().unwrap_or_default();
        let txn = Txn::new()
            .when(Compare::create_revision(key, CompareResult::Equal, 0))
            .and_then(Put::new(key, value).lease(self.key.lease_id))
            .or_else(Range::new(key));
        self.submit(Step::Enter, txn);
    }

    fn entered(&mut self, response: TxnResponse) -> Result<()> {
        self.entered_at = response.revision;
        self.key.revision = response.revision;
        self.key.is_new = response.succeeded;
        if !response.succeeded {
            let found = match response.responses.into_iter().next() {
                Some(OpResponse::Range(range)) => range.kvs.into_iter().next(),
                _ => None,
            };
            let found = found.ok_or_else(|| lost(self.key.lease_id))?;
            self.key.revision = found.create_revision;
            let wanted = self.request.value.as_ref();
            if let Some(value) = wanted.filter(|value| found.value != value[..]) {
                let proclamation = self.key.proclamation(value.clone());
                self.submit(Step::Proclaim, proclamation);
                return Ok(());
            }
        }
        self.look();
        Ok(())
    }

    /// Reads the key of this claim, and the one before it.
    fn look(&mut self) {
        self.watchers.clear();
        let before = Range::new(KeyRange::prefix(self.request.prefix()))
            .create_revisions(0, self.key.revision - 1)
            .sort(SortTarget::Create, SortOrder::Descend)
            .limit(1);
        let txn = Txn::new()
            .and_then(Range::new(&self.key.key[..]))
            .and_then(before);
        self.submit(Step::Look, txn);
    }

    fn evaluate(&mut self, response: &TxnResponse) -> Result<()> {
        let [OpResponse::Range(own), OpResponse::Range(before)] = &response.responses[..] else {
            return Err(Error::new(
                Code::Internal,
                "a txn of two ranges has other responses",
            ));
        };
        let own = own.kvs.first().map(|kv| kv.create_revision);
        if own != Some(self.key.revision) {
            return Err(lost(self.key.lease_id));
        }
        match before.kvs.first() {
            _ if self.failure.is_some() => self.leave(),
            None => self.hold(response.revision),
            Some(_) if self.request.only_if_free => self.end(Failure::NotFree),
            Some(_) if self.is_over() => self.end(Failure::TimeOut),
            Some(before) => self.watch(&before.key, response.revision),
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.is_over || self.request.wait_limit.is_over()
    }

    /// Watches the key before its own, and its own if no lease reports the loss of it.
    fn watch(&mut self, before: &[u8], seen: Revision) {
        let deletion = |key: &[u8]| Watch::new(key).start_revision(seen + 1).no_put(true);
        self.has_waited = true;
        self.watches = vec![deletion(before)];
        if self.lease.is_none() {
            self.watches.push(deletion(&self.key.key));
        }
        self.add_next_watcher();
    }

    fn add_next_watcher(&mut self) {
        let Some(watch) = self.watches.pop() else {
            return self.wait();
        };
        self.step = Step::Watch;
        if let Some(shared) = self.shared.upgrade() {
            let created = move |watcher| shared.advance(Event::Watcher(watcher));
            Watcher::submit(&self.limited, watch, created);
        }
    }

    fn add_watcher(&mut self, watcher: Result<Watcher>) {
        match watcher {
            Ok(watcher) => {
                self.watchers.push(watcher);
                self.add_next_watcher();
            }
            // the key may be deleted, and its history compacted
            Err(error) if error.code() == Code::Compacted => self.look(),
            Err(error) => self.fail(error),
        }
    }

    fn wait(&mut self) {
        self.step = Step::Wait;
        // the lease may have been lost before, and this was not the step to notice it
        if self.lease.as_ref().is_some_and(Lease::lost) {
            return self.fail(lost(self.key.lease_id));
        }
        if self.is_over() {
            return self.end(Failure::TimeOut);
        }
        let waker = Waker::from(Arc::new(DriverWaker(self.shared.clone())));
        for watcher in &self.watchers {
            // this wakes at once if there is something
            watcher.set_waker(Some(waker.clone()));
        }
    }

    fn wake(&mut self) {
        let news = self.watchers.iter().find_map(|watcher| {
            // `None`: woken without a reason; the waker is called again
            watcher.try_next_briefly().transpose()
        });
        match news {
            None => {}
            Some(Err(error)) if !matches!(error.code(), Code::Compacted | Code::Cancelled) => {
                self.fail(error);
            }
            Some(_) => self.look(),
        }
    }

    fn hold(&mut self, revision: Revision) {
        let held_since = match self.has_waited {
            true => revision,
            false => self.entered_at,
        };
        let (db, lease) = (self.request.db.clone(), self.lease.take());
        self.granted = None;
        let claim = Claim::new(db, std::mem::take(&mut self.key), held_since, lease);
        self.finish(Ok(Some(claim)));
    }

    fn time_out(&mut self) {
        if self.failure.is_some() {
            return;
        }
        self.is_over = true;
        // a request that has begun is finished, and may bring the name
        if !self.is_in_flight || self.withdraw() {
            self.end(Failure::TimeOut);
        }
    }

    /// Withdraws the request in flight; false if its response comes.
    fn withdraw(&mut self) -> bool {
        let withdrawn = self.submission.take().is_some_and(Submission::cancel);
        self.is_in_flight &= !withdrawn;
        withdrawn
    }

    fn fail(&mut self, error: Error) {
        match self.failure {
            Some(_) => self.leave(),
            None if self.request.wait_limit.has_ended(error.code()) => self.end(Failure::TimeOut),
            None => self.end(Failure::Error(error)),
        }
    }

    /// Ends without the name. A request that has begun is awaited first: it may create something.
    fn end(&mut self, failure: Failure) {
        if self.failure.is_some() {
            return;
        }
        self.failure = Some(failure);
        self.watchers.clear();
        if !self.is_in_flight || self.withdraw() {
            self.leave();
        }
    }

    /// Ends for a caller that does not wait for the end.
    fn abandon(&mut self) {
        self.end(match self.is_over {
            true => Failure::TimeOut,
            false => Failure::Error(cancelled()),
        });
        let error = match &self.failure {
            Some(Failure::TimeOut) => self.request.timeout(),
            Some(Failure::Error(error)) => error.clone(),
            _ => cancelled(),
        };
        complete(self.completion.take(), Err(error));
    }

    /// Deletes what this claim has created.
    fn leave(&mut self) {
        self.watchers.clear();
        self.grace = WaitLimit::grace(&self.request.db);
        if let Some(lease) = self.lease.take() {
            lease.stop();
        }
        let departure = match self.granted.take() {
            Some(revoke) => Some(Request::from(revoke)),
            None => self.key.is_new.then(|| self.key.deletion().into()),
        };
        match departure {
            Some(request) => self.submit_to(&self.grace.clone(), Step::Leave, request),
            None => self.left(Ok(())),
        }
    }

    fn left(&mut self, left: Result<()>) {
        match self.failure.take() {
            Some(Failure::Error(error)) => self.finish(Err(error)),
            Some(Failure::TimeOut) => match left {
                Err(error) if !self.request.wait_limit.has_ended(error.code()) => {
                    self.finish(Err(error));
                }
                _ if self.completion.is_some() => {
                    let request = holder_request(&self.request.prefix());
                    self.failure = Some(Failure::TimeOut);
                    self.submit_to(&self.grace.clone(), Step::Holder, request.into());
                }
                // no receiver waits for the message
                _ => self.finish(Ok(None)),
            },
            Some(Failure::NotFree) | None => self.finish(left.map(|()| None)),
        }
    }

    fn finish(&mut self, result: Result<Option<Claim>>) {
        self.result = Some(result);
    }

    /// Submits a request of a claim that continues.
    fn submit(&mut self, step: Step, request: impl Into<Request>) {
        match self.failure {
            Some(_) => self.leave(),
            None => self.submit_to(&self.limited.clone(), step, request.into()),
        }
    }

    fn submit_to(&mut self, db: &Db, step: Step, request: Request) {
        let Some(shared) = self.shared.upgrade() else {
            return;
        };
        (self.step, self.is_in_flight) = (step, true);
        let submission = db.submit(request, move |response| {
            shared.advance(Event::Response(response));
        });
        self.submission = Some(submission);
    }
}

fn cancelled() -> Error {
    Error::new(Code::Cancelled, "the wait for the name was cancelled")
}

/// It is no error if the lease that was to be revoked does not exist.
fn revoked(response: Result<Response>) -> Result<()> {
    match response {
        Err(error) if error.code() != Code::LeaseNotFound => Err(error),
        _ => Ok(()),
    }
}

/// The pair of a response that has at most one.
fn pair(response: Response) -> Result<Option<KeyValue>> {
    match response {
        Response::Range(response) => Ok(response.kvs.into_iter().next()),
        other => Err(wrong_response(&other)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;
    use crate::options::Options;
    use crate::recipe::claim_wait::claim_blocking;

    /// A claim may wait behind thousands, one after the other.
    #[test]
    fn claim_that_waited_behind_many_has_one_callback_at_its_lease() {
        let db = Db::open(":memory:", Options::new()).expect("a store");
        let request = || ClaimRequest::new(&db, "name", 60);
        let before: Vec<_> = (0..10).map(|_| claim_later(request())).collect();
        let last = claim_later(request());
        for (driver, claim) in before {
            let claim = claim
                .recv_timeout(Duration::from_secs(20))
                .expect("in time");
            drop((claim, driver));
        }
        let (_driver, claim) = last;
        let claim = claim
            .recv_timeout(Duration::from_secs(20))
            .expect("in time");
        let claim = claim.expect("held").expect("held");
        assert_eq!(claim.lease().map(Lease::callbacks), Some(1));
    }

    type Claimed = std::sync::mpsc::Receiver<Result<Option<Claim>>>;

    /// Starts a claim, and returns once its key exists.
    fn claim_later(request: ClaimRequest) -> (ClaimDriver, Claimed) {
        let keys = Range::new(KeyRange::prefix(request.prefix())).count_only(true);
        let db = request.db.clone();
        let count = || db.range(keys.clone()).expect("range").count;
        let (before, (done, claimed)) = (count(), channel());
        let driver = ClaimDriver::start(request, move |result| drop(done.send(result)));
        while count() == before {
            std::thread::yield_now();
        }
        (driver, claimed)
    }

    #[test]
    fn claim_with_only_if_free_creates_nothing_while_another_holds_the_name() {
        let db = Db::open(":memory:", Options::new()).expect("a store");
        let request = || ClaimRequest::new(&db, "name", 60).only_if_free();
        let held = claim_blocking(request(), |_| {}).expect("no error");
        let revision = db.snapshot().expect("a snapshot").revision();
        assert!(
            claim_blocking(request(), |_| {})
                .expect("no error")
                .is_none()
        );
        assert_eq!(db.snapshot().expect("a snapshot").revision(), revision);
        drop(held);
    }
}
