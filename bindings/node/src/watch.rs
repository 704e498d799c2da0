//! Watchers, and the leaders of an election: what is followed without a thread. JavaScript takes what
//! is there a page at a time, and once there is nothing it waits for word in the mailbox.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};
use std::time::Duration;

use libkv::{Db, Leaders, Patience, Result, WatchBatch, Watcher};
use napi::bindgen_prelude::Buffer;
use napi_derive::napi;

use crate::handles::Handle;
use crate::job::{JobPromise, handle_on_pool, on_pool};
use crate::mailbox::{Mail, Mailbox};
use crate::state::{guarded, with_state};
use crate::sync::lock;
use crate::wire::Writer;

/// A page ends with the batch that brings it here.
const PAGE_EVENTS: usize = 1_024;
const PAGE_BYTES: usize = 256 << 10;
/// So many batches at once are read on the loop: a watcher that has been woken knows where they are.
const INLINE_BATCHES: usize = 16;

enum Source {
    Watcher(Watcher),
    Leaders(Mutex<Leaders>),
}

/// What is followed, and who waits for it.
pub struct Subscription {
    source: Source,
    wait: Mutex<Option<Arc<Word>>>,
}

/// Tells JavaScript once that it is time to look again.
struct Word {
    mailbox: Arc<Mailbox>,
    id: u32,
    /// It is said, or shall not be said any more.
    said: AtomicBool,
}

impl Wake for Word {
    fn wake(self: Arc<Self>) {
        if !self.said.swap(true, Ordering::AcqRel) {
            self.mailbox.post(self.id, Ok(Mail::Word));
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

    /// Writes what is there, at most so many batches; what must be asked of a cluster for that ends with the time.
    fn page(&self, most: usize, patience: Patience, writer: &mut Writer) -> Result<()> {
        match &self.source {
            Source::Watcher(watcher) => {
                let (batches, last) = batches(watcher, most)?;
                writer.batches(&batches, last);
            }
            Source::Leaders(leaders) => {
                let leader = lock(leaders).try_next_unless(patience, &|| false)?;
                writer.pairs_page(leader.as_slice(), leader.is_none());
            }
        }
        Ok(())
    }

    /// Says the word `id` when there may be something.
    fn wait(&self, mailbox: &Arc<Mailbox>, id: u32) {
        let word = Arc::new(Word {
            mailbox: mailbox.clone(),
            id,
            said: AtomicBool::new(false),
        });
        *lock(&self.wait) = Some(word.clone());
        self.with_watcher(|watcher| watcher.set_waker(Some(Waker::from(word))));
    }

    /// Does not say it; false if it is on its way.
    fn hush(&self) -> bool {
        let word = lock(&self.wait).take();
        self.with_watcher(|watcher| watcher.set_waker(None));
        word.is_none_or(|word| !word.said.swap(true, Ordering::AcqRel))
    }
}

/// The next batches of a watcher, and whether there is nothing more for now.
fn batches(watcher: &Watcher, most: usize) -> Result<(Vec<WatchBatch>, bool)> {
    let mut page = Vec::new();
    let (mut events, mut bytes) = (0, 0);
    while page.len() < most && events < PAGE_EVENTS && bytes < PAGE_BYTES {
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
            // it is answered again, after what came before it
            Err(_) => break,
        }
    }
    Ok((page, false))
}

/// Follows a range; the answer is a number to ask pages of.
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

/// The same, on the pool.
#[napi(catch_unwind)]
pub fn watch_later(db: u32, len: u32, large: Option<Buffer>) -> napi::Result<JobPromise> {
    with_state(|state| {
        let asked = guarded(|| {
            Ok((
                state.handles.get::<Db>(db)?.clone(),
                state.request(len, &large)?.watch()?,
            ))
        });
        handle_on_pool(move || {
            let (db, watch) = asked?;
            Ok(Subscription::new(Source::Watcher(db.watch(watch)?)))
        })
    })
}

/// What is there, before it returns: few batches.
#[napi(catch_unwind)]
pub fn follow_page(following: u32, one: bool) -> napi::Result<f64> {
    let most = if one { 1 } else { INLINE_BATCHES };
    with_state(|state| {
        state.response(|state, writer| {
            state
                .handles
                .share::<Subscription>(following)?
                .page(most, Patience::new(None), writer)
        })
    })
}

/// What is there, on the pool: there may be much to look through. What must be asked of a cluster has so much time, no
/// limit below 0.
#[napi(catch_unwind)]
pub fn follow_page_later(following: u32, left_ms: f64) -> napi::Result<JobPromise> {
    with_state(|state| {
        let following = guarded(|| state.handles.share::<Subscription>(following));
        let patience =
            Patience::new((left_ms >= 0.0).then(|| Duration::from_millis(left_ms as u64)));
        on_pool(move |writer| following?.page(usize::MAX, patience, writer))
    })
}

/// Says the word `id` when there may be something; at once, if so.
#[napi(catch_unwind)]
pub fn follow_wait(following: u32, id: u32) -> napi::Result<()> {
    with_state(|state| {
        let asked = guarded(|| {
            state
                .handles
                .share::<Subscription>(following)?
                .wait(&state.mailbox, id);
            Ok(())
        });
        debug_assert!(asked.is_ok(), "lib/follow.js has the number");
    })
}

/// Takes that back; false if the word is on its way.
#[napi(catch_unwind)]
pub fn follow_hush(following: u32) -> napi::Result<bool> {
    with_state(|state| {
        guarded(|| Ok(state.handles.share::<Subscription>(following)?.hush())).unwrap_or(true)
    })
}

/// From where to go on.
#[napi(catch_unwind)]
pub fn follow_resume(following: u32) -> napi::Result<f64> {
    with_state(|state| {
        state.response(|state, writer| {
            writer.just(
                state
                    .handles
                    .share::<Subscription>(following)?
                    .with_watcher(Watcher::resume_revision),
            );
            Ok(())
        })
    })
}
