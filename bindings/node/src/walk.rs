//! Scans, events and differences, a page at a time: bounded in pairs and in bytes, so that a page
//! holds neither the loop nor memory for long.

use libkv::{Change, ChangeScan, Db, Event, EventScan, KeyValue, Result, Scan};

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
    Changes(ChangeScan),
    Over,
}

/// What is left of a walk.
pub struct Pages {
    source: Source,
    items: usize,
}

impl Pages {
    /// A walk that has not begun.
    pub fn new(db: Db, walk: Walk) -> Pages {
        Pages { source: Source::New(db, walk), items: PAGE_ITEMS_FIRST }
    }

    /// Writes the next page. After an error the walk is over.
    pub fn next(&mut self, writer: &mut Writer) -> Result<()> {
        let source = std::mem::replace(&mut self.source, Source::Over);
        let mut source = match source {
            Source::New(db, Walk::Scan(range)) => Source::Scan(db.scan(range)?),
            Source::New(db, Walk::Changes(of)) => Source::Events(db.changes(of.after, of.upto, of.range)),
            Source::New(db, Walk::Diff(a, b, range)) => Source::Changes(db.diff(a, b, range)?),
            begun => begun,
        };
        let items = self.items;
        self.items = (items * 2).min(PAGE_ITEMS_MAX);
        let last = match &mut source {
            Source::Scan(scan) => {
                let (kvs, last) = page(scan, items, pair_bytes)?;
                writer.pairs_page(&kvs, last);
                last
            }
            Source::Events(scan) => {
                let (events, last) = page(scan, items, |event: &Event| pair_bytes(&event.kv))?;
                writer.events(&events, last);
                last
            }
            Source::Changes(scan) => {
                let bytes = |change: &Change| change.before.iter().chain(&change.after).map(pair_bytes).sum();
                let (changes, last) = page(scan, items, bytes)?;
                writer.changes(&changes, last);
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
fn page<T>(
    walk: &mut impl Iterator<Item = Result<T>>,
    items: usize,
    bytes_of: impl Fn(&T) -> usize,
) -> Result<(Vec<T>, bool)> {
    let mut page = Vec::new();
    let mut bytes = 0;
    while page.len() < items && bytes < PAGE_BYTES {
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
