//! What one thread of JavaScript has: its scratch memory, its handles, its mailbox.
//!
//! Handles are numbers to JavaScript and mean nothing in another thread. A number is given out again
//! only after `release`, which JavaScript calls once nothing there can name it any more.

use std::cell::RefCell;
use std::collections::HashMap;
use std::mem::{self, ManuallyDrop};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use libkv::engine::Submission;
use libkv::{Clock, Code, Db, Error, Result};
use napi::bindgen_prelude::ObjectRef;

use crate::claim::Standing;
use crate::follow::Following;
use crate::lease::Kept;
use crate::mailbox::Mailbox;
use crate::scratch::Scratch;
use crate::server::net;
use crate::transact::Attempt;
use crate::walk::Pages;
use crate::wire::Writer;

/// What stands behind a number.
pub enum Handle {
    /// A store.
    Db(Db),
    /// A scan, or events or differences on their way.
    Pages(Arc<Mutex<Pages>>),
    /// A transaction with an async body.
    Attempt(Arc<Mutex<Attempt>>),
    /// A clock in hand.
    Clock(Clock),
    /// A watcher, or the leaders of an election.
    Following(Arc<Following>),
    /// A lease that keeps itself alive.
    Lease(Arc<Kept>),
    /// A lock or an election.
    Standing(Arc<Standing>),
    /// A store that is served.
    Server(net::Server),
}

/// Everything of one thread.
pub struct State {
    /// Where requests and answers stand.
    pub scratch: Scratch,
    /// Where writes gather until they are submitted together.
    pub outbox: Scratch,
    /// An answer that did not fit there, until it is fetched.
    pub large: Vec<u8>,
    /// Where answers are put together; kept for its room.
    writer: Writer,
    handles: Vec<Option<Handle>>,
    free: Vec<u32>,
    /// Where the answers of submitted writes arrive.
    pub mailbox: Arc<Mailbox>,
    /// Promises wait for the mailbox.
    pub held: bool,
    /// Writes that an abort signal may take back.
    pub withdrawals: HashMap<u32, Submission>,
    /// What the JavaScript of this thread shares, however often it is loaded.
    pub shared: ObjectRef<false>,
}

/// Where the state of a thread stands.
struct Place(RefCell<Option<State>>);

impl Drop for Place {
    /// `process.exit` ends a thread without the end of its environment. JavaScript is gone by then,
    /// so its references are left alone; idle stores are closed all the same.
    fn drop(&mut self) {
        if let Some(state) = self.0.take() {
            let mut state = ManuallyDrop::new(state);
            let handles = mem::take(&mut state.handles);
            match state.held {
                true => mem::forget(handles),
                // a panic here would end the process by a signal
                false => drop(catch_unwind(AssertUnwindSafe(|| end_idle(handles)))),
            }
        }
    }
}

thread_local! {
    static STATE: Place = const { Place(RefCell::new(None)) };
}

/// Answers longer than this give their room back.
const ROOM_KEPT_BYTES: usize = 1 << 20;

impl State {
    /// Nothing opened yet.
    pub fn new(
        scratch: Scratch,
        outbox: Scratch,
        mailbox: Arc<Mailbox>,
        shared: ObjectRef<false>,
    ) -> State {
        State {
            scratch,
            outbox,
            large: Vec::new(),
            writer: Writer::default(),
            handles: Vec::new(),
            free: Vec::new(),
            mailbox,
            held: false,
            withdrawals: HashMap::new(),
            shared,
        }
    }

    /// A number for this.
    pub fn add(&mut self, handle: Handle) -> u32 {
        match self.free.pop() {
            Some(number) => {
                self.handles[number as usize] = Some(handle);
                number
            }
            None => {
                self.handles.push(Some(handle));
                (self.handles.len() - 1) as u32
            }
        }
    }

    /// Gives the number back, and what stood behind it.
    pub fn remove(&mut self, number: u32) -> Option<Handle> {
        let handle = self.handles.get_mut(number as usize)?.take()?;
        self.free.push(number);
        Some(handle)
    }

    fn handle(&self, number: u32) -> Option<&Handle> {
        self.handles.get(number as usize)?.as_ref()
    }

    /// The store with this number.
    pub fn db(&self, number: u32) -> Result<&Db> {
        match self.handle(number) {
            Some(Handle::Db(db)) => Ok(db),
            _ => Err(stale("store")),
        }
    }

    /// The pages with this number.
    pub fn pages(&self, number: u32) -> Result<Arc<Mutex<Pages>>> {
        match self.handle(number) {
            Some(Handle::Pages(pages)) => Ok(pages.clone()),
            _ => Err(stale("scan")),
        }
    }

    /// The transaction with this number.
    pub fn attempt(&self, number: u32) -> Result<Arc<Mutex<Attempt>>> {
        match self.handle(number) {
            Some(Handle::Attempt(attempt)) => Ok(attempt.clone()),
            _ => Err(stale("transaction")),
        }
    }

    /// The clock with this number.
    pub fn clock(&self, number: u32) -> Result<Clock> {
        match self.handle(number) {
            Some(Handle::Clock(clock)) => Ok(clock.clone()),
            _ => Err(stale("clock")),
        }
    }

    /// The watcher, or leaders, with this number.
    pub fn following(&self, number: u32) -> Result<Arc<Following>> {
        match self.handle(number) {
            Some(Handle::Following(following)) => Ok(following.clone()),
            _ => Err(stale("watcher")),
        }
    }

    /// The lease with this number.
    pub fn lease(&self, number: u32) -> Result<Arc<Kept>> {
        match self.handle(number) {
            Some(Handle::Lease(lease)) => Ok(lease.clone()),
            _ => Err(stale("lease")),
        }
    }

    /// The lock or election with this number.
    pub fn standing(&self, number: u32) -> Result<Arc<Standing>> {
        match self.handle(number) {
            Some(Handle::Standing(standing)) => Ok(standing.clone()),
            _ => Err(stale("lock")),
        }
    }

    /// Lets `work` write an answer, and leaves it, or its error, where JavaScript finds it. Answers
    /// its length; if that is more than the scratch memory has, it is in `large`.
    pub fn response(&mut self, work: impl FnOnce(&mut State, &mut Writer) -> Result<()>) -> f64 {
        let mut writer = mem::take(&mut self.writer);
        writer.bytes.clear();
        writer.write(|writer| guarded(|| work(self, writer)));
        let len = writer.bytes.len();
        if !self.scratch.response(&writer.bytes) {
            self.large = mem::take(&mut writer.bytes);
        }
        if len <= ROOM_KEPT_BYTES {
            self.writer = writer;
        }
        len as f64
    }

    /// Ends everything when the thread's environment ends. With writes under way this must not
    /// wait, since the writer's lock may be far: they are finished behind the thread's back, or end
    /// with the process as if it had been killed, which harms no store.
    fn end(self) {
        let handles = self.handles;
        match self.held {
            true => drop(
                thread::Builder::new()
                    .name("libkv-end".into())
                    .spawn(move || close_all(&handles)),
            ),
            false => end_idle(handles),
        }
    }
}

/// For what may be done to leases that a thread leaves behind; what is not revoked has its TTL.
const FAREWELL: Duration = Duration::from_millis(200);

/// Ends what nobody waits for. Closing a store is quick then, unless leases are to be revoked and
/// another process has the writer's lock, or a server's clients are in the middle of something: that long
/// the end of a thread does not wait.
fn end_idle(handles: Vec<Option<Handle>>) {
    if !handles.iter().flatten().any(|handle| {
        matches!(
            handle,
            Handle::Lease(_) | Handle::Standing(_) | Handle::Server(_)
        )
    }) {
        return close_all(&handles);
    }
    let (done, wait) = mpsc::channel();
    let closing = thread::Builder::new()
        .name("libkv-end".into())
        .spawn(move || {
            close_all(&handles);
            drop(handles);
            let _ = done.send(());
        });
    if closing.is_ok() {
        let _ = wait.recv_timeout(FAREWELL);
    }
}

fn close_all(handles: &[Option<Handle>]) {
    for handle in handles.iter().flatten() {
        if let Handle::Db(db) = handle {
            db.close();
        }
    }
}

/// Runs with the thread's state; before `attach` and after the environment's end there is none.
pub fn with_state<T>(work: impl FnOnce(&mut State) -> T) -> napi::Result<T> {
    let ending = || {
        Err(napi::Error::from_reason(
            "libkv: this thread's environment is ending",
        ))
    };
    // what is dropped with the thread may come back here while the state itself is being dropped
    let worked = STATE.try_with(|place| match &mut *place.0.borrow_mut() {
        Some(state) => Ok(work(state)),
        None => ending(),
    });
    worked.unwrap_or_else(|_| ending())
}

/// Makes this the thread's state.
pub fn set(state: State) {
    STATE.with(|place| place.0.replace(Some(state)));
}

/// Whether this thread has one.
pub fn is_set() -> bool {
    STATE
        .try_with(|place| place.0.borrow().is_some())
        .unwrap_or(false)
}

/// For the end of the environment.
pub fn end() {
    let state = STATE.try_with(|place| place.0.take());
    if let Ok(Some(state)) = state {
        state.end();
    }
}

/// Runs `work`; a panic in it is the error `internal`, as in every language.
pub fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| text.to_string());
        let text = text
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_default();
        Err(Error::new(
            Code::Internal,
            format!("libkv panicked: {text}"),
        ))
    })
}

fn stale(what: &str) -> Error {
    Error::new(
        Code::Closed,
        format!("there is no such {what} in this thread"),
    )
}
