//! Scans, events and differences, a page at a time. A page is bounded in items and in bytes, so
//! that it does not occupy the loop or the memory for long.

use std::sync::Mutex;

use libkv::{Db, DiffScan, Difference, Event, EventScan, KeyValue, Result, Scan};

use napi::bindgen_prelude::Buffer;
use napi_derive::napi;

use crate::handles::Handle;
use crate::job::{JobPromise, on_pool};
use crate::state::{guarded, with_state};
use crate::sync::lock;
use crate::wire::{PagedRequest, Writer};

/// Items of the first page; each later one has twice as many, up to [`PAGE_ITEMS_MAX`].
const PAGE_ITEMS_FIRST: usize = 64;
const PAGE_ITEMS_MAX: usize = 1_024;
/// A page ends with the item that reaches this size.
const PAGE_BYTES: usize = 256 << 10;

enum Source {
    /// Not opened yet. The first page opens it, which may be on the pool.
    New(Db, PagedRequest),
    Scan(Scan),
    Events(EventScan),
    Diff(DiffScan),
    End,
}

/// The pages of a request that were not read yet.
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
    /// The pages of this request; nothing is read yet.
    pub fn new(db: Db, request: PagedRequest) -> Pages {
        Pages {
            source: Source::New(db, request),
            items: PAGE_ITEMS_FIRST,
        }
    }

    /// Writes the next page. After an error there are no more.
    pub fn next(&mut self, writer: &mut Writer) -> Result<()> {
        let source = std::mem::replace(&mut self.source, Source::End);
        let mut source = match source {
            Source::New(db, PagedRequest::Scan(range)) => Source::Scan(db.scan(range)?),
            Source::New(db, PagedRequest::Events(of)) => {
                Source::Events(db.events(of.after, of.upto, of.range))
            }
            Source::New(db, PagedRequest::Diff(a, b, range)) => Source::Diff(db.diff(a, b, range)?),
            opened => opened,
        };
        let limit = self.items;
        self.items = (limit * 2).min(PAGE_ITEMS_MAX);
        let last = match &mut source {
            Source::Scan(scan) => {
                let (kvs, last) = items(scan, limit, pair_bytes)?;
                writer.pairs_page(&kvs, last);
                last
            }
            Source::Events(scan) => {
                let (events, last) = items(scan, limit, |event: &Event| pair_bytes(&event.kv))?;
                writer.events(&events, last);
                last
            }
            Source::Diff(scan) => {
                let bytes =
                    |of: &Difference| of.before.iter().chain(&of.after).map(pair_bytes).sum();
                let (differences, last) = items(scan, limit, bytes)?;
                writer.differences(&differences, last);
                last
            }
            Source::New(..) | Source::End => {
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

/// The next items, and whether the source is at its end.
fn items<T>(
    source: &mut impl Iterator<Item = Result<T>>,
    limit: usize,
    bytes_of: impl Fn(&T) -> usize,
) -> Result<(Vec<T>, bool)> {
    let mut page = Vec::new();
    let mut bytes = 0;
    while page.len() < limit && bytes < PAGE_BYTES {
        match source.next() {
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

/// Begins a scan, events or differences. The response is the number of the pages; nothing is read
/// yet.
#[napi(catch_unwind)]
pub fn scan_pages(db: u32, len: u32, large: Option<Buffer>) -> napi::Result<f64> {
    with_state(|state| {
        state.response(|state, writer| {
            let request = state.request(len, &large)?.paged_request()?;
            let pages = Pages::new(state.handles.get::<Db>(db)?.clone(), request);
            writer.just(state.handles.add(Mutex::new(pages)).into());
            Ok(())
        })
    })
}

/// The next page, in the call.
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
