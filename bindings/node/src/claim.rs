//! Locks and elections: the core's [`Claim`](libkv::Claim) driven without waiting, so that a thousand
//! who stand in line need no thread.
//!
//! [`go`] takes what came (an answer of the group queue, or that a watcher was woken) on whichever
//! thread it came, steps the claim, and orders what is next. JavaScript hears of it once, when it has
//! the name or will not get it. The claim's lock is never held while the store is called for more than
//! a look: a completion may come back before `submit` returns.

use std::sync::{Arc, Mutex, Weak};
use std::task::{Wake, Waker};
use std::thread;
use std::time::Duration;

use libkv::{
    Claim, ClaimStep, Code, Db, Election, Error, KeyValue, LeaseRevoke, Patience, Request,
    Response, Result, Watch, Watcher,
};
use napi::bindgen_prelude::Buffer;
use napi_derive::napi;

use crate::handles::Handle;
use crate::job::{JobPromise, handle_on_pool, on_pool};
use crate::lease::revocation;
use crate::mailbox::{Mail, Mailbox};
use crate::state::{State, guarded, with_state};
use crate::sync::lock;
use crate::watch::Subscription;

/// A lock or an election: a lock is one that proclaims nothing.
pub struct Standing {
    db: Db,
    name: Vec<u8>,
    ttl_seconds: i64,
    place: Mutex<Place>,
}

impl Handle for Standing {
    fn name() -> &'static str {
        "lock"
    }

    fn has_clients(&self) -> bool {
        true
    }
}

struct Place {
    election: Election,
    /// Counts whenever it leaves the line: what was asked for before that is no longer wanted.
    turn: u64,
    wait: Option<Wait>,
    /// Whoever is just before it in the line is watched.
    watcher: Option<Arc<Watcher>>,
}

/// A promise that waits for the name.
struct Wait {
    ending: Ending,
    patience: Patience,
    /// Its time is over.
    passed: bool,
    /// Without the name it is answered `false`, not refused.
    only_try: bool,
}

/// Whom to tell how it ended.
struct Ending {
    mailbox: Arc<Mailbox>,
    id: u32,
}

impl Ending {
    fn tell(self, outcome: Result<bool>) {
        self.mailbox.post(self.id, outcome.map(Mail::Flag));
    }
}

/// What [`go`] goes on with.
enum Came {
    /// Somebody asks for the name.
    Begun,
    /// The place that it had before is given up, or not.
    Left(Result<Response>),
    /// An answer that the claim asked for.
    Response(Result<Response>),
    /// Who has the name, before it is only tried.
    First(Result<Response>),
    /// Who has the name, now that its time is over.
    Holder(Result<Response>),
    /// Time to look again: what it watched is gone, or its lease.
    Woken,
    /// Time to look again: there was nothing to watch.
    Look,
}

/// What is to be done next, once the lock is free.
enum Next {
    Nothing,
    Run(Request),
    /// Asks who has the name, for what follows.
    Ask(Request, fn(Result<Response>) -> Came),
    Leave(LeaseRevoke),
    Watch(Watch),
    /// A lease came that nobody wants any more.
    Forget(LeaseRevoke),
    /// It is over: the place is given up, and then told. With the flag a failure of that is told.
    End(Option<LeaseRevoke>, Ending, Result<bool>, bool),
}

impl Place {
    fn claim(&mut self) -> &mut Claim {
        self.election.claim()
    }

    /// What follows from what came. A watcher that is done goes to `gone`, to be dropped outside.
    fn next(&mut self, turn: u64, came: Came, gone: &mut Option<Arc<Watcher>>) -> Next {
        if turn != self.turn {
            return match came {
                Came::Response(Ok(Response::LeaseGrant(granted))) => {
                    Next::Forget(LeaseRevoke { id: granted.id })
                }
                _ => Next::Nothing,
            };
        }
        let step = match came {
            Came::Begun => return self.begin(),
            Came::First(response) => return self.begin_after(response),
            Came::Holder(response) => return self.end_after(response),
            Came::Left(response) => revocation(response).and_then(|()| self.claim().step(None)),
            Came::Response(response) => {
                response.and_then(|response| self.claim().step(Some(response)))
            }
            Came::Look => self.claim().step(None),
            Came::Woken => {
                *gone = self.watcher.take();
                if gone.is_none() {
                    return Next::Nothing;
                }
                self.claim().step(None)
            }
        };
        self.follow(step)
    }

    fn begin(&mut self) -> Next {
        if self.claim().is_held() {
            return self.end(Ok(true), false);
        }
        match self.wait.as_ref().is_some_and(|wait| wait.only_try) {
            true => Next::Ask(self.election.leader_request().into(), Came::First),
            false => self.enter(),
        }
    }

    /// It is only tried: somebody who has the name already is answer enough.
    fn begin_after(&mut self, first: Result<Response>) -> Next {
        match first.and_then(pair) {
            Ok(Some(_)) => self.end(Ok(false), false),
            Err(error) => self.end(Err(error), false),
            Ok(None) => self.enter(),
        }
    }

    fn enter(&mut self) -> Next {
        match self.claim().leave() {
            Some(revoke) => Next::Leave(revoke),
            None => {
                let step = self.claim().step(None);
                self.follow(step)
            }
        }
    }

    fn follow(&mut self, step: Result<ClaimStep>) -> Next {
        match step {
            Ok(ClaimStep::Held) => self.end(Ok(true), false),
            Ok(ClaimStep::Run(request)) => Next::Run(request),
            Ok(ClaimStep::Wait(_)) if self.wait.as_ref().is_some_and(|wait| wait.passed) => {
                self.time_out()
            }
            Ok(ClaimStep::Wait(watch)) => Next::Watch(watch),
            Err(error)
                if self
                    .wait
                    .as_ref()
                    .is_some_and(|wait| wait.patience.has_ended(error.code())) =>
            {
                self.time_out()
            }
            Err(error) => self.end(Err(error), false),
        }
    }

    /// It waited in vain: for whom, is asked before that is told.
    fn time_out(&mut self) -> Next {
        match self.wait.as_ref().map(|wait| wait.only_try) {
            None => Next::Nothing,
            Some(true) => self.end(Ok(false), true),
            Some(false) => Next::Ask(self.election.leader_request().into(), Came::Holder),
        }
    }

    fn end_after(&mut self, holder: Result<Response>) -> Next {
        let timeout = self
            .wait
            .as_ref()
            .map(|wait| wait.patience.timeout())
            .unwrap_or_default();
        let error = self
            .claim()
            .timed_out(timeout, holder.and_then(pair).unwrap_or_default());
        self.end(Err(error), true)
    }

    fn end(&mut self, outcome: Result<bool>, strictly: bool) -> Next {
        let Some(wait) = self.wait.take() else {
            return Next::Nothing;
        };
        let revoke = if matches!(outcome, Ok(true)) {
            None
        } else {
            self.leave()
        };
        Next::End(revoke, wait.ending, outcome, strictly)
    }

    fn leave(&mut self) -> Option<LeaseRevoke> {
        self.turn += 1;
        self.claim().leave()
    }
}

/// The only pair of an answer.
fn pair(response: Response) -> Result<Option<KeyValue>> {
    match response {
        Response::Range(response) => Ok(response.kvs.into_iter().next()),
        _ => Err(Error::new(
            Code::Internal,
            "a range returned another kind of response",
        )),
    }
}

/// Goes on with what came.
fn go(standing: &Arc<Standing>, turn: u64, came: Came) {
    let mut gone = None;
    let next = lock(&standing.place).next(turn, came, &mut gone);
    drop(gone);
    act(standing, turn, next);
}

fn act(standing: &Arc<Standing>, turn: u64, next: Next) {
    match next {
        Next::Nothing => {}
        Next::Run(request) => submit(standing, turn, request, Came::Response),
        Next::Ask(request, came) => submit(standing, turn, request, came),
        Next::Leave(revoke) => submit(standing, turn, revoke.into(), Came::Left),
        Next::Watch(watch) if standing.db.is_remote() => {
            // a cluster may let its answer wait, and this may be a thread that must not
            let this = standing.clone();
            let stand = move || stand_behind(&this, turn, watch);
            if let Err(error) = thread::Builder::new()
                .name("libkv line".into())
                .spawn(stand)
            {
                let message = format!("no thread to stand in line with: {error}");
                go(
                    standing,
                    turn,
                    Came::Response(Err(Error::new(Code::Io, message).with_source(error))),
                );
            }
        }
        Next::Watch(watch) => stand_behind(standing, turn, watch),
        Next::Forget(revoke) => drop(standing.db.submit(revoke, |_| {})),
        Next::End(None, ending, outcome, _) => ending.tell(outcome),
        Next::End(Some(revoke), ending, outcome, strictly) => {
            // an outcome that is an error does not wait long for the revocation
            let db = if outcome.is_err() {
                Patience::grace(&standing.db)
            } else {
                standing.db.clone()
            };
            let strictly = strictly && outcome.is_ok();
            let told = move |response| match revocation(response) {
                Err(error) if strictly => ending.tell(Err(error)),
                _ => ending.tell(outcome),
            };
            drop(db.submit(revoke, told));
        }
    }
}

fn submit(
    standing: &Arc<Standing>,
    turn: u64,
    request: Request,
    came: fn(Result<Response>) -> Came,
) {
    let this = standing.clone();
    drop(
        standing
            .limited()
            .submit(request, move |response| go(&this, turn, came(response))),
    );
}

/// Goes on when what it stands behind is gone.
struct Behind {
    standing: Weak<Standing>,
    turn: u64,
}

impl Wake for Behind {
    fn wake(self: Arc<Self>) {
        if let Some(standing) = self.standing.upgrade() {
            go(&standing, self.turn, Came::Woken);
        }
    }
}

fn stand_behind(standing: &Arc<Standing>, turn: u64, watch: Watch) {
    let watcher = match standing.limited().watch(watch) {
        Ok(watcher) => Arc::new(watcher),
        // whoever stood before may be gone, and the memory of it too
        Err(error) if error.code() == Code::Compacted => return go(standing, turn, Came::Look),
        Err(error) => return go(standing, turn, Came::Response(Err(error))),
    };
    let next = {
        let mut place = lock(&standing.place);
        if place.turn != turn {
            return;
        }
        place.claim().wake_when_lost(&watcher);
        match place.wait.as_ref().is_some_and(|wait| wait.passed) {
            true => place.time_out(),
            false => {
                place.watcher = Some(watcher.clone());
                Next::Nothing
            }
        }
    };
    // it is woken at once if the one before has gone meanwhile
    watcher.set_waker(Some(Waker::from(Arc::new(Behind {
        standing: Arc::downgrade(standing),
        turn,
    }))));
    act(standing, turn, next);
}

fn cancelled() -> Error {
    Error::new(Code::Cancelled, "it was given up while it was waited for")
}

impl Standing {
    /// Another handle for the name, which stands nowhere.
    fn onlooker(&self) -> Result<Election> {
        self.db.election(self.name.as_slice(), self.ttl_seconds)
    }

    /// The store, for what must be asked while a promise waits for the name: no request outlives its time.
    fn limited(&self) -> Db {
        match lock(&self.place).wait.as_ref().map(|wait| wait.patience) {
            Some(patience) if patience.is_over() && !patience.timeout().is_zero() => {
                Patience::grace(&self.db)
            }
            Some(patience) => patience.limit(&self.db),
            None => self.db.clone(),
        }
    }

    /// Asks for the name.
    fn begin(self: &Arc<Self>, wait: Wait) {
        let mut place = lock(&self.place);
        if place.wait.is_some() {
            let message = "the lock or election is waited for already: one waits at a time";
            return wait
                .ending
                .tell(Err(Error::new(Code::InvalidArgument, message)));
        }
        place.wait = Some(wait);
        let turn = place.turn;
        drop(place);
        go(self, turn, Came::Begun);
    }

    /// Leaves the line, or frees the name; whoever waits for it gets `cancelled`.
    fn leave(self: &Arc<Self>, ending: Ending) {
        let (revoke, waited, gone) = {
            let mut place = lock(&self.place);
            (place.leave(), place.wait.take(), place.watcher.take())
        };
        drop(gone);
        if let Some(wait) = waited {
            wait.ending.tell(Err(cancelled()));
        }
        let outcome = match revoke.is_none() && self.db.is_closed() {
            true => Err(Error::new(Code::Closed, "the store's handle is closed")),
            false => Ok(false),
        };
        act(self, 0, Next::End(revoke, ending, outcome, true));
    }

    /// The time of the promise `id` is over.
    fn pass(self: &Arc<Self>, id: u32) {
        let (turn, next, gone) = {
            let mut place = lock(&self.place);
            match &mut place.wait {
                Some(wait) if wait.ending.id == id => wait.passed = true,
                _ => return,
            }
            let (turn, gone) = (place.turn, place.watcher.take());
            (
                turn,
                if gone.is_some() {
                    place.time_out()
                } else {
                    Next::Nothing
                },
                gone,
            )
        };
        drop(gone);
        act(self, turn, next);
    }

    fn proclaim(self: &Arc<Self>, value: Vec<u8>, ending: Ending) -> Result<()> {
        let (txn, lost) = {
            let mut place = lock(&self.place);
            if place.wait.is_some() {
                return Err(Error::new(
                    Code::FailedPrecondition,
                    "election: not leader (campaign first)",
                ));
            }
            (place.election.proclamation(value)?, place.claim().lost())
        };
        drop(self.db.submit(txn, move |response| {
            ending.tell(response.and_then(|response| match response {
                Response::Txn(txn) if txn.succeeded => Ok(true),
                _ => Err(lost),
            }))
        }));
        Ok(())
    }
}

/// A lock or an election by the name in the scratch memory; nothing is asked of the store.
#[napi(catch_unwind)]
pub fn claim(db: u32, ttl_seconds: f64, len: u32, large: Option<Buffer>) -> napi::Result<f64> {
    with_state(|state| {
        state.response(|state, writer| {
            let name = state.request(len, &large)?.bytes()?;
            let (db, ttl_seconds) = (state.handles.get::<Db>(db)?.clone(), ttl_seconds as i64);
            let election = db.election(name.as_slice(), ttl_seconds)?;
            let place = Mutex::new(Place {
                election,
                turn: 1,
                wait: None,
                watcher: None,
            });
            writer.just(
                state
                    .handles
                    .add(Standing {
                        db,
                        name,
                        ttl_seconds,
                        place,
                    })
                    .into(),
            );
            Ok(())
        })
    })
}

/// Does `work` for the promise `id`, which gets the error if there is one.
fn ask(
    claim: u32,
    id: u32,
    work: impl FnOnce(&State, Arc<Standing>, Ending) -> Result<()>,
) -> napi::Result<()> {
    with_state(|state| {
        let mailbox = state.mailbox.clone();
        let ending = Ending {
            mailbox: mailbox.clone(),
            id,
        };
        if let Err(error) = guarded(|| work(state, state.handles.share::<Standing>(claim)?, ending))
        {
            mailbox.post(id, Err::<Mail, _>(error));
        }
    })
}

/// Acquires a lock, for the promise `id`: its answer is 1, or 0 where it is only tried. A patience
/// below 0 is endless.
#[napi(catch_unwind)]
pub fn claim_acquire(claim: u32, id: u32, patience_ms: f64, only_try: bool) -> napi::Result<()> {
    ask(claim, id, |_, standing, ending| {
        standing.begin(waiting(ending, patience_ms, only_try));
        Ok(())
    })
}

/// Stands for election with the value in the scratch memory, likewise.
#[napi(catch_unwind)]
pub fn claim_campaign(
    claim: u32,
    id: u32,
    patience_ms: f64,
    len: u32,
    large: Option<Buffer>,
) -> napi::Result<()> {
    ask(claim, id, |state, standing, ending| {
        let value = state.request(len, &large)?.bytes()?;
        {
            let mut place = lock(&standing.place);
            if place.wait.is_none() {
                place.claim().set_value(value);
            }
        }
        standing.begin(waiting(ending, patience_ms, false));
        Ok(())
    })
}

fn waiting(ending: Ending, patience_ms: f64, only_try: bool) -> Wait {
    let patience =
        Patience::new((patience_ms >= 0.0).then(|| Duration::from_millis(patience_ms as u64)));
    Wait {
        ending,
        patience,
        passed: patience_ms == 0.0,
        only_try,
    }
}

/// Says that the time of the promise `id` is over: it leaves the line, and is told.
#[napi(catch_unwind)]
pub fn claim_pass(claim: u32, id: u32) -> napi::Result<()> {
    with_state(|state| {
        if let Ok(standing) = state.handles.share::<Standing>(claim) {
            standing.pass(id);
        }
    })
}

/// Leaves the line, or frees the name, for the promise `id`.
#[napi(catch_unwind)]
pub fn claim_leave(claim: u32, id: u32) -> napi::Result<()> {
    ask(claim, id, |_, standing, ending| {
        standing.leave(ending);
        Ok(())
    })
}

/// Leaves the line if the promise `waiting` stands in it, which gets `cancelled`; false if it does not.
/// The promise `id` is told.
#[napi(catch_unwind)]
pub fn claim_quit(claim: u32, waiting: u32, id: u32) -> napi::Result<bool> {
    with_state(|state| {
        let Ok(standing) = state.handles.share::<Standing>(claim) else {
            return false;
        };
        let waits = lock(&standing.place)
            .wait
            .as_ref()
            .is_some_and(|wait| wait.ending.id == waiting);
        if waits {
            standing.leave(Ending {
                mailbox: state.mailbox.clone(),
                id,
            });
        }
        waits
    })
}

/// Proclaims the value in the scratch memory, for the promise `id`.
#[napi(catch_unwind)]
pub fn claim_proclaim(claim: u32, id: u32, len: u32, large: Option<Buffer>) -> napi::Result<()> {
    ask(claim, id, |state, standing, ending| {
        standing.proclaim(state.request(len, &large)?.bytes()?, ending)
    })
}

/// How it stands: whether it has the name, with which key and revision.
#[napi(catch_unwind)]
pub fn claim_state(claim: u32) -> napi::Result<f64> {
    with_state(|state| {
        state.response(|state, writer| {
            let standing = state.handles.share::<Standing>(claim)?;
            let mut place = lock(&standing.place);
            match place.wait.is_some() {
                true => writer.claim(false, &[], 0),
                false => {
                    let claim = place.claim();
                    writer.claim(claim.is_held(), claim.key(), claim.revision());
                }
            }
            Ok(())
        })
    })
}

/// Whoever has the name, on the pool.
#[napi(catch_unwind)]
pub fn claim_leader_later(claim: u32) -> napi::Result<JobPromise> {
    with_state(|state| {
        let standing = guarded(|| state.handles.share::<Standing>(claim));
        on_pool(move |writer| {
            // whoever waits in line must not wait for this
            let election = standing?.onlooker()?;
            writer.found(election.leader()?.as_ref());
            Ok(())
        })
    })
}

/// Follows an election; the answer is a number to ask pages of.
#[napi(catch_unwind)]
pub fn claim_observe(claim: u32) -> napi::Result<f64> {
    with_state(|state| {
        state.response(|state, writer| {
            let leaders = observed(&*state.handles.share::<Standing>(claim)?)?;
            writer.just(state.handles.add(leaders).into());
            Ok(())
        })
    })
}

/// The same, on the pool.
#[napi(catch_unwind)]
pub fn claim_observe_later(claim: u32) -> napi::Result<JobPromise> {
    with_state(|state| {
        let standing = guarded(|| state.handles.share::<Standing>(claim));
        handle_on_pool(move || observed(&*standing?))
    })
}

fn observed(standing: &Standing) -> Result<Subscription> {
    // whoever waits in line must not wait for this
    Ok(Subscription::leaders(standing.onlooker()?.observe()?))
}
