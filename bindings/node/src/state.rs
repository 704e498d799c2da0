//! The state of one thread of JavaScript: scratch memory, objects, mailbox.

use std::cell::RefCell;
use std::collections::HashMap;
use std::mem::{self, ManuallyDrop};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use libkv::engine::Submission;
use libkv::{Code, Error, Result};
use napi::bindgen_prelude::{Buffer, ObjectRef};

use crate::handles::Handles;
use crate::mailbox::Mailbox;
use crate::scratch::Scratch;
use crate::wire::{Reader, Writer};

/// Everything of one thread.
pub struct State {
    /// The memory of requests and responses.
    pub scratch: Scratch,
    /// The memory in which writes are collected until they are submitted together.
    pub outbox: Scratch,
    /// A response that did not fit into `scratch`, until JavaScript takes it.
    pub large: Vec<u8>,
    /// The buffer in which responses are encoded; kept for its capacity.
    writer: Writer,
    /// The objects that JavaScript names by numbers.
    pub handles: Handles,
    /// Receives the responses of submitted writes.
    pub mailbox: Arc<Mailbox>,
    /// Whether promises wait for the mailbox.
    pub held: bool,
    /// Writes that an abort signal may cancel, by the number of their promise.
    pub cancellable: HashMap<u32, Submission>,
    /// What the JavaScript of this thread shares, however often it is loaded.
    pub shared: ObjectRef<false>,
}

/// The thread's state; none before `attach` and after the end of the environment.
struct ThreadState(RefCell<Option<State>>);

impl Drop for ThreadState {
    /// `process.exit` ends a thread without the end of its environment. JavaScript no longer runs
    /// then, so its references are not released; idle stores are closed.
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
    static STATE: ThreadState = const { ThreadState(RefCell::new(None)) };
}

/// A longer response does not keep its capacity for the next one.
const WRITER_BYTES_KEPT: usize = 1 << 20;

impl State {
    /// A state without objects.
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
            handles: Handles::default(),
            mailbox,
            held: false,
            cancellable: HashMap::new(),
            shared,
        }
    }

    /// The request: in the scratch memory, or in a buffer of its own if it did not fit.
    pub fn request<'s>(&'s self, len: u32, large: &'s Option<Buffer>) -> Result<Reader<'s>> {
        Ok(Reader::new(match large {
            Some(large) => large,
            None => self.scratch.request(len)?,
        }))
    }

    /// Lets `work` write a response, and stores it, or the error, in the scratch memory. Returns
    /// its length; a response longer than the scratch memory is in `large`.
    pub fn response(&mut self, work: impl FnOnce(&mut State, &mut Writer) -> Result<()>) -> f64 {
        let mut writer = mem::take(&mut self.writer);
        writer.bytes.clear();
        writer.write(|writer| guarded(|| work(self, writer)));
        let len = writer.bytes.len();
        if !self.scratch.response(&writer.bytes) {
            self.large = mem::take(&mut writer.bytes);
        }
        if len <= WRITER_BYTES_KEPT {
            self.writer = writer;
        }
        len as f64
    }

    /// Ends everything when the thread's environment ends. With writes under way this must not
    /// wait, because the write lock may not be free for long. These writes are then finished on
    /// another thread, or end with the process as if it had been killed, which harms no store.
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

/// The longest wait for revocations of a thread's leases. A lease that is not revoked in this time
/// expires by its TTL.
const END_WAIT: Duration = Duration::from_millis(200);

/// Ends objects for which no promise waits. Closing a store is quick then, with two exceptions:
/// leases have to be revoked and another process has the write lock, or requests of a server's
/// clients are under way. In these cases the thread waits at most [`END_WAIT`].
fn end_idle(handles: Handles) {
    if !handles.iter().any(|object| object.has_clients()) {
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
        let _ = wait.recv_timeout(END_WAIT);
    }
}

fn close_all(handles: &Handles) {
    for object in handles.iter() {
        object.close();
    }
}

/// Runs `work` with the thread's state; fails before `attach` and after the environment's end.
pub fn with_state<T>(work: impl FnOnce(&mut State) -> T) -> napi::Result<T> {
    let ending = || {
        Err(napi::Error::from_reason(
            "libkv: this thread's environment is ending",
        ))
    };
    // objects that are dropped with the thread may call this while the state itself is being
    // dropped
    let worked = STATE.try_with(|thread| match &mut *thread.0.borrow_mut() {
        Some(state) => Ok(work(state)),
        None => ending(),
    });
    worked.unwrap_or_else(|_| ending())
}

/// Makes this the thread's state.
pub fn set(state: State) {
    STATE.with(|thread| thread.0.replace(Some(state)));
}

/// Whether this thread has a state.
pub fn is_set() -> bool {
    STATE
        .try_with(|thread| thread.0.borrow().is_some())
        .unwrap_or(false)
}

/// Ends the thread's state, at the end of the environment.
pub fn end() {
    let state = STATE.try_with(|thread| thread.0.take());
    if let Ok(Some(state)) = state {
        state.end();
    }
}

/// Runs `work`; a panic in it becomes the error `internal`, as in every language.
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
