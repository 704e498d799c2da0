//! Watchers, and the leaders of an election. They need no thread: JavaScript takes the items a page
//! at a time, and if there are none, the mailbox notifies it when there are.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};
use std::time::Duration;

use libkv::{Db, Leaders, Result, WaitLimit, WatchBatch, Watcher};
use napi::bindgen_prelude::Buffer;
use napi_derive::napi;

use crate::handles::Handle;
use crate::job::{JobPromise, handle_on_pool, on_pool};
use crate::mailbox::{Mail, Mailbox};
use crate::state::{guarded, with_state};
use crate::sync::lock;
use crate::wire::Writer;

/// A page ends with the batch that reaches one of these limits.
const PAGE_EVENTS: usize = 1_024;
const PAGE_BYTES: usize = 256 << 10;

enum Source {
    Watcher(Watcher),
    Leaders(Mutex<Leaders>),
}

/// A watcher or an election's leaders, and the promise that waits for the next item.
pub struct Subscription {
    source: Source,
    wait: Mutex<Option<Arc<Notifier>>>,
}

/// Resolves one promise, once, when there may be an item.
struct Notifier {
    mailbox: Arc<Mailbox>,
    id: u32,
    /// It has notified, or must not notify any more.
    done: AtomicBool,
}

impl Wake for Notifier {
    fn wake(self: Arc<Self>) {
        if !self.done.swap(true, Ordering::AcqRel) {
            self.mailbox.post(self.id, Ok(Mail::Signal));
        }
    }
}

impl Handle for Subscription {
    fn name() -> &'static str {
        "watcher"
    }
}

impl Subscription {
    fn new(source: Source) -> Subscription {
        Subscription {
            source,
            wait: Mutex::default(),
        }
    }

    /// Follows an election.
    pub fn leaders(leaders: Leaders) -> Subscription {
        Subscription::new(Source::Leaders(Mutex::new(leaders)))
    }

    fn with_watcher<T>(&self, work: impl FnOnce(&Watcher) -> T) -> T {
        match &self.source {
            Source::Watcher(watcher) => work(watcher),
            Source::Leaders(leaders) => work(lock(leaders).watcher()),
        }
    }

    /// Writes the items that are there, at most `limit` batches. A request to a cluster ends with
    /// `wait_limit`.
    fn page(&self, limit: usize, wait_limit: WaitLimit, writer: &mut Writer) -> Result<()> {
        match &self.source {
            Source::Watcher(watcher) => {
                let (batches, last) = batches(watcher, limit)?;
                writer.batches(&batches, last);
            }
            Source::Leaders(leaders) => {
                let leader = lock(leaders).try_next_unless(wait_limit, &|| false)?;
                writer.pairs_page(leader.as_slice(), leader.is_none());
            }
        }
        Ok(())
    }

    /// Resolves the promise `id` when there may be an item.
    fn wait(&self, mailbox: &Arc<Mailbox>, id: u32) {
        let notifier = Arc::new(Notifier {
            mailbox: mailbox.clone(),
            id,
            done: AtomicBool::new(false),
        });
        *lock(&self.wait) = Some(notifier.clone());
        self.with_watcher(|watcher| watcher.set_waker(Some(Waker::from(notifier))));
    }

    /// Cancels the notification; false if it was sent already.
    fn cancel_wait(&self) -> bool {
        let notifier = lock(&self.wait).take();
        self.with_watcher(|watcher| watcher.set_waker(None));
        notifier.is_none_or(|notifier| !notifier.done.swap(true, Ordering::AcqRel))
    }
}

/// The next batches of a watcher, and whether there are no more for now.
fn batches(watcher: &Watcher, limit: usize) -> Result<(Vec<WatchBatch>, bool)> {
    let mut page = Vec::new();
    let (mut events, mut bytes) = (0, 0);
    while page.len() < limit && events < PAGE_EVENTS && bytes < PAGE_BYTES {
        match watcher.try_next() {
            Ok(Some(batch)) => {
                events += batch.events.len();
                bytes += batch
                    .events
                    .iter()
                    .map(|event| event.kv.key.len() + event.kv.value.len())
                    .sum::<usize>();
                page.push(batch);
            }
            Ok(None) => return Ok((page, true)),
            Err(error) if page.is_empty() => return Err(error),
            // the next call returns the error again, after these batches
            Err(_) => break,
        }
    }
    Ok((page, false))
}

/// Begins to watch a range. The response is the number of the watcher.
#[napi(catch_unwind)]
pub fn watch(db: u32, len: u32, large: Option<Buffer>) -> napi::Result<f64> {
    with_state(|state| {
        state.response(|state, writer| {
            let watch = state.request(len, &large)?.watch()?;
            let source = Source::Watcher(state.handles.get::<Db>(db)?.watch(watch)?);
            writer.just(state.handles.add(Subscription::new(source)).into());
            Ok(())
        })
    })
}

/// As [`watch`], on the pool.
#[napi(catch_unwind)]
pub fn watch_later(db: u32, len: u32, large: Option<Buffer>) -> napi::Result<JobPromise> {
    with_state(|state| {
        let arguments = guarded(|| {
            Ok((
                state.handles.get::<Db>(db)?.clone(),
                state.request(len, &large)?.watch()?,
            ))
        });
        handle_on_pool(move || {
            let (db, watch) = arguments?;
            Ok(Subscription::new(Source::Watcher(db.watch(watch)?)))
        })
    })
}

/// The items that are there, in the call: at most `limit` batches.
#[napi(catch_unwind)]
pub fn subscription_page(subscription: u32, limit: u32) -> napi::Result<f64> {
    with_state(|state| {
        state.response(|state, writer| {
            state.handles.share::<Subscription>(subscription)?.page(
                limit as usize,
                WaitLimit::new(None),
                writer,
            )
        })
    })
}

/// The items that are there, on the pool, because a search through many revisions may be needed. A
/// request to a cluster ends after `left_ms`; negative: no limit.
#[napi(catch_unwind)]
pub fn subscription_page_later(subscription: u32, left_ms: f64) -> napi::Result<JobPromise> {
    with_state(|state| {
        let subscription = guarded(|| state.handles.share::<Subscription>(subscription));
        let wait_limit =
            WaitLimit::new((left_ms >= 0.0).then(|| Duration::from_millis(left_ms as u64)));
        on_pool(move |writer| subscription?.page(usize::MAX, wait_limit, writer))
    })
}

/// Resolves the promise `id` when there may be an item; at once if there is one now.
#[napi(catch_unwind)]
pub fn subscription_wait(subscription: u32, id: u32) -> napi::Result<()> {
    with_state(|state| {
        let arguments = guarded(|| {
            state
                .handles
                .share::<Subscription>(subscription)?
                .wait(&state.mailbox, id);
            Ok(())
        });
        debug_assert!(arguments.is_ok(), "lib/watch.js has the number");
    })
}

/// Cancels that; false if the promise was resolved already.
#[napi(catch_unwind)]
pub fn subscription_cancel_wait(subscription: u32) -> napi::Result<bool> {
    with_state(|state| {
        guarded(|| {
            Ok(state
                .handles
                .share::<Subscription>(subscription)?
                .cancel_wait())
        })
        .unwrap_or(true)
    })
}

/// The revision to start from after the last batch that was delivered.
#[napi(catch_unwind)]
pub fn subscription_resume(subscription: u32) -> napi::Result<f64> {
    with_state(|state| {
        state.response(|state, writer| {
            writer.just(
                state
                    .handles
                    .share::<Subscription>(subscription)?
                    .with_watcher(Watcher::resume_revision),
            );
            Ok(())
        })
    })
}
