//! Fills a new store with the history of another one, each event under its own revision.
//!
//! The source may be a file that another program wrote, so every event is checked before it is
//! written: the order of revisions, and that versions and create revisions follow from the key's
//! event before. Below the compacted revision C the source has gaps. An event there that has no
//! earlier one in the source, although there was one, gets a link to a record that is swept.

use super::chain;
use super::writer::Writer;
use crate::embedded::codec::{Header, Link, NOT_COMPACTED, Rev, meta};
use crate::embedded::lease::entries;
use crate::embedded::lmdb::Tree;
use crate::engine::{HistoryPart, LogRecord};
use crate::error::{Code, Error, Result, show};
use crate::model::{EventKind, Revision};
use crate::request::KEY_BYTES_MAX;

/// The revision of an empty store.
const EMPTY_LOG: Revision = 1;

/// No history that is loaded reaches this revision: later ones must be countable.
const REVISION_END: Revision = Revision::MAX / 2;

fn damaged(record: &LogRecord, message: &str) -> Error {
    let key = show(&record.event.kv.key);
    let text = format!(
        "event {} of revision {} (key {key}) {message}",
        record.sub, record.revision
    );
    Error::new(Code::Corrupt, text)
}

fn check_revision(revision: Revision) -> Result<()> {
    match revision < REVISION_END {
        true => Ok(()),
        false => Err(Error::new(
            Code::Corrupt,
            format!("revision {revision} leaves no room for later ones"),
        )),
    }
}

impl Writer<'_> {
    /// Applies a part of the other store's history.
    pub fn load(&mut self, load: &HistoryPart) -> Result<()> {
        let loaded = match load {
            HistoryPart::Compacted(revision) => self.load_compacted(*revision),
            HistoryPart::Lease {
                id,
                ttl_seconds,
                remaining_seconds,
            } => self.load_lease(*id, *ttl_seconds, *remaining_seconds),
            HistoryPart::Auth(data) => self.load_auth(data),
            HistoryPart::Records(records) => records
                .iter()
                .try_for_each(|record| self.load_record(record)),
            HistoryPart::Revision(revision) => self.end_load(*revision),
        };
        if loaded.is_err() {
            self.partial_write = true;
        }
        loaded
    }

    /// Sets the compacted revision. The sweep removes later what the source should not have kept.
    fn load_compacted(&mut self, revision: Revision) -> Result<()> {
        check_revision(revision)?;
        if self.current > EMPTY_LOG || self.compacted != NOT_COMPACTED {
            return Err(Error::new(
                Code::Exists,
                "history can be loaded into an empty store only",
            ));
        }
        let bytes = revision.to_le_bytes();
        self.maintain(|txn| txn.put(Tree::Meta, meta::COMPACT_REV, &bytes))?;
        self.compacted = revision;
        Ok(())
    }

    /// Ends the load at the current revision of the source. A sweep that ran meanwhile has not seen
    /// everything: it begins again.
    fn end_load(&mut self, revision: Revision) -> Result<()> {
        self.load_gap(revision)?;
        self.maintain(|txn| txn.delete(Tree::Meta, meta::COMPACT_DONE).map(drop))
    }

    /// Notes that the revisions after the last event, up to this one, were never given.
    fn load_gap(&mut self, upto: Revision) -> Result<()> {
        check_revision(upto)?;
        let from = self.last_loaded()?.main.max(EMPTY_LOG);
        if upto <= from || upto <= self.compacted {
            return Ok(());
        }
        let name = [meta::GAP, &from.to_be_bytes()].concat();
        let bytes = upto.to_le_bytes();
        self.maintain(|txn| {
            txn.put(Tree::Meta, &name, &bytes)?;
            txn.put(Tree::Meta, meta::BASE_REV, &bytes)
        })
    }

    fn load_record(&mut self, record: &LogRecord) -> Result<()> {
        let (event, key) = (&record.event, &record.event.kv.key);
        let last = self.last_loaded()?;
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            let text = format!(
                "has a key of {} bytes: 1 to {KEY_BYTES_MAX} are allowed",
                key.len()
            );
            return Err(damaged(record, &text));
        }
        let rev = Rev::new(record.revision, record.sub);
        if rev <= last
            || rev.main >= REVISION_END
            || rev.main <= EMPTY_LOG
            || event.kv.mod_revision != rev.main
        {
            return Err(damaged(record, "is not in its place in the history"));
        }
        let expected = match rev.main == last.main {
            true => last.sub.checked_add(1),
            false => Some(0),
        };
        if rev.main > self.compacted && Some(rev.sub) != expected {
            return Err(damaged(record, "has a wrong number in its revision"));
        }
        if rev.main > self.compacted && rev.main > last.main + 1 {
            self.load_gap(rev.main - 1)?;
        }
        let before = chain::newest(&self.txn, key)?;
        let header = self.loaded_header(record, before)?;
        (self.current, self.sub) = (rev.main - 1, rev.sub);
        self.write_loaded(&header, key, &event.kv.value, before)
    }

    /// The event's place in the log's order: the last one that was loaded, or (0, 0).
    fn last_loaded(&self) -> Result<Rev> {
        match self.txn.cursor(Tree::Log)?.last()? {
            Some((key, _)) => Rev::from_key(key),
            None => Ok(Rev::default()),
        }
    }

    fn loaded_header(&self, record: &LogRecord, before: Option<Header>) -> Result<Header> {
        let (kv, rev) = (&record.event.kv, Rev::new(record.revision, record.sub));
        let tombstone = record.event.kind == EventKind::Delete;
        let alive = before.filter(|before| !before.tombstone);
        let is_first = (kv.create_revision, kv.version) == (rev.main, 1);
        let follows = match (tombstone, alive) {
            (true, alive) => alive.is_some(),
            (false, None) => is_first,
            (false, Some(old)) => {
                (kv.create_revision, kv.version) == (old.create, old.version.saturating_add(1))
            }
        };
        let is_plausible = tombstone
            || (1 <= kv.version && 1 < kv.create_revision && kv.create_revision <= rev.main);
        // the event before one at or below the compaction may have been removed
        if !is_plausible || (!follows && rev.main > self.compacted) {
            return Err(damaged(
                record,
                "does not follow from the key's event before it",
            ));
        }
        let link = match before {
            Some(before) => Some(chain::link_after(&self.txn, &before, self.compacted)?),
            None if is_first && !tombstone => None,
            None => {
                // no record has this number: the sweep must not find one to remove
                let swept = Rev::new(rev.main - 1, u32::MAX);
                Some(Link {
                    depth: 1,
                    prev: swept,
                    jump: swept,
                })
            }
        };
        let mut header = Header {
            rev,
            tombstone,
            link,
            ..Header::default()
        };
        if !tombstone {
            (header.create, header.version, header.lease) =
                (kv.create_revision, kv.version, kv.lease);
            header.in_log = kv.value.len() > self.inline_bytes_max;
        }
        Ok(header)
    }

    fn write_loaded(
        &mut self,
        header: &Header,
        key: &[u8],
        value: &[u8],
        before: Option<Header>,
    ) -> Result<()> {
        let (tree, other) = match header.tombstone {
            true => (Tree::Dead, Tree::Live),
            false => (Tree::Live, Tree::Dead),
        };
        let value = if header.tombstone { &[] } else { value };
        let inline: &[u8] = if header.in_log { &[] } else { value };
        let entry = header.encode_entry();
        let bytes = [&entry[..], inline].concat();
        self.maintain(|txn| {
            txn.delete(other, key)?;
            txn.put(tree, key, &bytes)
        })?;
        let old_lease = before.map_or(0, |before| before.lease);
        // the lease of an old event may not exist: only the last event of a key attaches the key
        let lease = match entries::find(&self.txn, header.lease)? {
            Some(_) => header.lease,
            None => 0,
        };
        self.move_lease(key, old_lease, lease)?;
        self.append(header, key, value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Db, Event, KeyValue, Options, Put, Range};

    fn record(
        revision: Revision,
        sub: u32,
        key: &str,
        create: Revision,
        version: i64,
    ) -> LogRecord {
        let kv = KeyValue {
            key: key.as_bytes().to_vec().into(),
            value: format!("{key}{revision}").into(),
            create_revision: create,
            mod_revision: revision,
            version,
            lease: 0,
        };
        let kind = match version {
            0 => EventKind::Delete,
            _ => EventKind::Put,
        };
        LogRecord {
            revision,
            sub,
            event: Event {
                kind,
                kv,
                prev_kv: None,
            },
        }
    }

    #[test]
    fn history_is_read_as_it_was_loaded() {
        let db = Db::open(":memory:", Options::new()).expect("a store");
        let engine = db.engine();
        engine
            .load(HistoryPart::Compacted(5))
            .expect("an empty store");
        // a was created at 2 and put again at 4; b was deleted at 5; c came with a at 8
        let records = vec![
            record(4, 0, "a", 2, 2),
            record(5, 0, "b", 0, 0),
            record(6, 0, "b", 6, 1),
            record(8, 0, "a", 2, 3),
            record(8, 1, "c", 8, 1),
            record(9, 0, "c", 0, 0),
        ];
        engine
            .load(HistoryPart::Records(records))
            .expect("a history");
        engine
            .load(HistoryPart::Revision(12))
            .expect("a gap at the end");
        let value = |key: &str, revision| {
            let found = db.get_at(key, revision).expect("readable");
            found.map(|kv| (String::from_utf8_lossy(&kv.value).into_owned(), kv.version))
        };
        assert_eq!(value("a", 5), Some(("a4".into(), 2)));
        assert_eq!(value("a", 8), Some(("a8".into(), 3)));
        assert_eq!(value("b", 5), None);
        assert_eq!(value("b", 7), Some(("b6".into(), 1)));
        assert_eq!(value("c", 8), Some(("c8".into(), 1)));
        assert_eq!(value("c", 0), None);
        let all = db
            .range(Range::new(crate::KeyRange::all()))
            .expect("readable");
        assert_eq!((all.revision, all.count), (12, 2));
        assert_eq!(db.put(Put::new("a", "next")).expect("written").revision, 13);
        let report = db.check().expect("checked");
        assert_eq!(report.problems, vec![]);
    }

    #[test]
    fn sweep_keeps_the_events_of_other_keys() {
        let db = Db::open(":memory:", Options::new()).expect("a store");
        let engine = db.engine();
        engine
            .load(HistoryPart::Compacted(5))
            .expect("an empty store");
        // the first event of a at 5 has lost the one before it; that of x comes just before
        let mut x = record(4, 0, "x", 4, 1);
        x.event.kv.value = vec![7; 5_000].into();
        let records = vec![x, record(5, 0, "a", 2, 2), record(6, 0, "b", 6, 1)];
        engine
            .load(HistoryPart::Records(records))
            .expect("a history");
        engine.load(HistoryPart::Revision(6)).expect("the end");
        let compact = crate::Compact::new(6).physical(true);
        db.compact(compact).expect("compacted");
        let found = db.get("x").expect("readable").expect("it exists");
        assert_eq!(found.value.len(), 5_000);
        assert_eq!(db.check().expect("checked").problems, vec![]);
    }

    #[test]
    fn history_that_contradicts_itself_is_refused() {
        let refused = |records: Vec<LogRecord>| {
            let db = Db::open(":memory:", Options::new()).expect("a store");
            db.engine()
                .load(HistoryPart::Compacted(-1))
                .expect("an empty store");
            let error = db
                .engine()
                .load(HistoryPart::Records(records))
                .expect_err("refused");
            assert_eq!(error.code(), Code::Corrupt, "{error}");
            assert_eq!(db.engine().revision().expect("readable"), 1);
            error.message().to_string()
        };
        let first = || record(2, 0, "a", 2, 1);
        refused(vec![first(), first()]);
        refused(vec![record(3, 0, "a", 3, 1), first()]);
        refused(vec![record(2, 1, "a", 2, 1)]);
        refused(vec![first(), record(2, 2, "b", 2, 1)]);
        refused(vec![first(), record(3, 0, "a", 2, 3)]);
        refused(vec![first(), record(3, 0, "a", 3, 1)]);
        refused(vec![record(2, 0, "a", 2, 2)]);
        let message = refused(vec![record(2, 0, "a", 0, 0)]);
        assert!(
            message.contains("event 0 of revision 2 (key \"a\")"),
            "{message}"
        );
        refused(vec![record(1, 0, "a", 1, 1)]);
        refused(vec![record(Revision::MAX, 0, "a", Revision::MAX, 1)]);
    }
}
