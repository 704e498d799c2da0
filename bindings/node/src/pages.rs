//! Scans, events and differences, a page at a time: bounded in pairs and in bytes, so that a page
//! holds neither the loop nor memory for long.

use std::sync::Mutex;

use libkv::{Db, DiffScan, Difference, Event, EventScan, KeyValue, Result, Scan};

use napi::bindgen_prelude::Buffer;
use napi_derive::napi;

use crate::handles::Handle;
use crate::job::{JobPromise, on_pool};
use crate::state::{guarded, with_state};
use crate::sync::lock;
use crate::wire::{Walk, Writer};

/// Items of the first page; each later one has twice as many, up to [`PAGE_ITEMS_MAX`].
const PAGE_ITEMS_FIRST: usize = 64;
const PAGE_ITEMS_MAX: usize = 1_024;
/// A page ends with the item that brings it here.
const PAGE_BYTES: usize = 256 << 10;

enum Source {
    /// Not begun: the first page opens it, so that this can happen off the loop.
    New(Db, Walk),
    Scan(Scan),
    Events(EventScan),
    Diff(DiffScan),
    Over,
}

/// What is left of a walk.
pub struct Pages {
    source: Source,
    items: usize,
}

impl Handle for Mutex<Pages> {
    fn name() -> &'static str {
        "scan"
    }
}

impl Pages {
    /// A walk that has not begun.
    pub fn new(db: Db, walk: Walk) -> Pages {
        Pages {
            source: Source::New(db, walk),
            items: PAGE_ITEMS_FIRST,
        }
    }

    /// Writes the next page. After an error the walk is over.
    pub fn next(&mut self, writer: &mut Writer) -> Result<()> {
        let source = std::mem::replace(&mut self.source, Source::Over);
        let mut source = match source {
            Source::New(db, Walk::Scan(range)) => Source::Scan(db.scan(range)?),
            Source::New(db, Walk::Events(of)) => {
                Source::Events(db.events(of.after, of.upto, of.range))
            }
            Source::New(db, Walk::Diff(a, b, range)) => Source::Diff(db.diff(a, b, range)?),
            begun => begun,
        };
        let most = self.items;
        self.items = (most * 2).min(PAGE_ITEMS_MAX);
        let last = match &mut source {
            Source::Scan(scan) => {
                let (kvs, last) = items(scan, most, pair_bytes)?;
                writer.pairs_page(&kvs, last);
                last
            }
            Source::Events(scan) => {
                let (events, last) = items(scan, most, |event: &Event| pair_bytes(&event.kv))?;
                writer.events(&events, last);
                last
            }
            Source::Diff(scan) => {
                let bytes =
                    |of: &Difference| of.before.iter().chain(&of.after).map(pair_bytes).sum();
                let (differences, last) = items(scan, most, bytes)?;
                writer.differences(&differences, last);
                last
            }
            Source::New(..) | Source::Over => {
                writer.pairs_page(&[], true);
                true
            }
        };
        if !last {
            self.source = source;
        }
        Ok(())
    }
}

fn pair_bytes(kv: &KeyValue) -> usize {
    kv.key.len() + kv.value.len()
}

/// The next items, and whether the walk is at its end.
fn items<T>(
    walk: &mut impl Iterator<Item = Result<T>>,
    most: usize,
    bytes_of: impl Fn(&T) -> usize,
) -> Result<(Vec<T>, bool)> {
    let mut page = Vec::new();
    let mut bytes = 0;
    while page.len() < most && bytes < PAGE_BYTES {
        match walk.next() {
            Some(item) => {
                let item = item?;
                bytes += bytes_of(&item);
                page.push(item);
            }
            None => return Ok((page, true)),
        }
    }
    Ok((page, false))
}

/// A scan, or events or differences: a number to ask pages of. Nothing is read yet.
#[napi(catch_unwind)]
pub fn walk(db: u32, len: u32, large: Option<Buffer>) -> napi::Result<f64> {
    with_state(|state| {
        state.response(|state, writer| {
            let walk = state.request(len, &large)?.walk()?;
            let pages = Pages::new(state.handles.get::<Db>(db)?.clone(), walk);
            writer.just(state.handles.add(Mutex::new(pages)).into());
            Ok(())
        })
    })
}

/// The next page, before it returns.
#[napi(catch_unwind)]
pub fn page(pages: u32) -> napi::Result<f64> {
    with_state(|state| {
        state.response(|state, writer| {
            lock(&*state.handles.share::<Mutex<Pages>>(pages)?).next(writer)
        })
    })
}

/// The next page, on the pool.
#[napi(catch_unwind)]
pub fn page_later(pages: u32) -> napi::Result<JobPromise> {
    with_state(|state| {
        let pages = guarded(|| state.handles.share::<Mutex<Pages>>(pages));
        on_pool(move |writer| lock(&*pages?).next(writer))
    })
}
