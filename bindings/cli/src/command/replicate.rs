//! What `copy` and `mirror` share: the two ends, the keys in the target, and the comparison of a
//! page of the source with the target.

use std::ffi::OsString;
use std::path::PathBuf;

use libkv::{Db, KeyRange, KeyValue, Op, OpResponse, Put, Range, Scan, Txn};
use serde::Serialize;

use crate::command::Context;
use crate::failure::{Failure, Result};
use crate::notation::escape;
use crate::target::{Access, Target, is_cluster};

/// The cursors of mirrors are the keys that begin with this. Such keys are never copied: a cursor
/// describes the data of the store that has it.
pub const CURSORS: &[u8] = b"\0kv/mirror/";

/// The maximum number of operations in a txn of a cluster: etcd's default.
pub const CLUSTER_OPS_MAX: usize = 128;
/// The same for a store, which accepts far more. Larger txns are not faster.
const STORE_OPS_MAX: usize = 1_000;
/// The maximum number of bytes in a txn. etcd accepts 1.5 MiB.
const BYTES_MAX: usize = 1 << 20;

/// The two ends of a copy or a mirror, and its keys.
#[derive(clap::Args, Clone, Debug)]
pub struct Ends {
    /// The store's directory or the cluster's address that is read
    #[arg(value_name = "SOURCE")]
    source: OsString,
    /// The one that is written; a store is created if needed
    #[arg(value_name = "TARGET")]
    target: OsString,
    /// Only the keys that begin with this
    #[arg(
        long,
        value_name = "PREFIX",
        default_value = "",
        hide_default_value = true
    )]
    prefix: OsString,
    /// In TARGET the keys begin with this instead of --prefix
    #[arg(long, value_name = "PREFIX", conflicts_with = "no_dest_prefix")]
    dest_prefix: Option<OsString>,
    /// In TARGET the keys are without --prefix
    #[arg(long)]
    no_dest_prefix: bool,
    #[command(flatten)]
    login: TargetLogin,
}

/// How to reach the target, if that differs from the source.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "Cluster TARGET, where it differs from SOURCE")]
struct TargetLogin {
    /// The certificate authority of TARGET
    #[arg(long, value_name = "FILE")]
    dest_cacert: Option<PathBuf>,
    /// The client certificate for TARGET; needs --dest-key
    #[arg(long, value_name = "FILE", requires = "dest_key")]
    dest_cert: Option<PathBuf>,
    /// The key of --dest-cert
    #[arg(long, value_name = "FILE", requires = "dest_cert")]
    dest_key: Option<PathBuf>,
    /// The user of TARGET
    #[arg(long, value_name = "NAME[:PASSWORD]")]
    dest_user: Option<String>,
    /// The password of --dest-user
    #[arg(long, value_name = "TEXT", requires = "dest_user")]
    dest_password: Option<String>,
}

impl TargetLogin {
    fn is_given(&self) -> bool {
        self.dest_cacert.is_some() || self.dest_cert.is_some() || self.dest_user.is_some()
    }

    /// Replaces the options of the source.
    fn apply(self, target: &mut Target) {
        if self.dest_user.is_some() {
            (target.user, target.password) = (self.dest_user, self.dest_password);
        }
        if self.dest_cert.is_some() {
            (target.cert, target.key) = (self.dest_cert, self.dest_key);
        }
        target.cacert = self.dest_cacert.or(target.cacert.take());
    }
}

impl Ends {
    /// Opens the source and the target.
    pub fn open(&self, context: &Context) -> Result<(Db, Db)> {
        let global = &context.global.target;
        if global.is_named() {
            let message = "SOURCE and TARGET are the stores of this command, without --store and \
                           --endpoints";
            return Err(Failure::usage(message));
        }
        if self.source == self.target {
            let db = global
                .end(&self.source, &self.target)
                .open(Access::Write, None)?;
            return Ok((db.clone(), db));
        }
        let source = global
            .end(&self.source, &self.target)
            .open(Access::Read, None)?;
        let mut target = global.end(&self.target, &self.source);
        if self.login.is_given() && !is_cluster(&self.target) {
            let message = "the options --dest-cacert, --dest-cert and --dest-user are for a \
                           cluster, and TARGET is the directory of a store";
            return Err(Failure::usage(message));
        }
        self.login.clone().apply(&mut target);
        Ok((source, target.open(Access::Create, None)?))
    }

    /// The keys of the source, and where they are in the target.
    pub fn key_map(&self, context: &Context) -> Result<KeyMap> {
        let notation = context.global.notation;
        let from = notation.parse(&self.prefix)?;
        let to = match &self.dest_prefix {
            Some(prefix) => notation.parse(prefix)?,
            None if self.no_dest_prefix => Vec::new(),
            None => from.clone(),
        };
        if to.starts_with(CURSORS) {
            let message = format!("{} is for the cursors of mirrors", escape(CURSORS));
            return Err(Failure::usage(message));
        }
        Ok(KeyMap { from, to })
    }
}

/// Replaces the prefix of keys.
#[derive(Clone, Debug)]
pub struct KeyMap {
    pub from: Vec<u8>,
    pub to: Vec<u8>,
}

impl KeyMap {
    /// The keys of the source.
    pub fn source_range(&self) -> KeyRange {
        KeyRange::prefix(&self.from[..])
    }

    /// The keys of the target.
    pub fn target_range(&self) -> KeyRange {
        KeyRange::prefix(&self.to[..])
    }

    /// The key in the target; `None` for a cursor, which is not copied.
    pub fn target_key(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let mapped = [&self.to, &key[self.from.len()..]].concat();
        if key.starts_with(CURSORS) || mapped.starts_with(CURSORS) {
            return Ok(None);
        }
        if mapped.is_empty() {
            let message = format!("the key {} would be empty in TARGET", escape(key));
            return Err(Failure::usage(message));
        }
        Ok(Some(mapped))
    }

    /// The key in the source of a key in the target.
    pub fn source_key(&self, key: &[u8]) -> Vec<u8> {
        [&self.from, &key[self.to.len()..]].concat()
    }
}

/// The maximum size of a txn.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub ops: usize,
    pub bytes: usize,
}

impl Limits {
    /// Those of a target.
    pub fn of(target: &Db) -> Limits {
        let ops = match target.is_remote() {
            true => CLUSTER_OPS_MAX,
            false => STORE_OPS_MAX,
        };
        Limits {
            ops,
            bytes: BYTES_MAX,
        }
    }

    /// Whether a txn that has this many operations and bytes has room for more bytes. The first
    /// operation always has.
    pub fn has_room(self, ops: usize, bytes: usize, more: usize) -> bool {
        ops == 0 || ops < self.ops && bytes + more <= self.bytes
    }
}

/// The pairs of one revision of the source, in pages that fit one txn of the target.
pub struct Pages<'a> {
    source: &'a Db,
    range: KeyRange,
    revision: i64,
    limits: Limits,
    scan: Option<Scan>,
    /// A pair that did not fit the last page.
    pending: Option<KeyValue>,
}

impl<'a> Pages<'a> {
    /// The pairs of a range, after a key if one is given.
    pub fn new(
        source: &'a Db,
        mut range: KeyRange,
        revision: i64,
        limits: Limits,
        after: Option<&[u8]>,
    ) -> Pages<'a> {
        if let Some(after) = after {
            range.key = next_key(after);
        }
        Pages {
            source,
            range,
            revision,
            limits,
            scan: None,
            pending: None,
        }
    }

    /// The next page; empty at the end. After an error it can be called again.
    ///
    /// # Errors
    ///
    /// `compacted`, and the errors of reading.
    pub fn next(&mut self) -> libkv::Result<Vec<KeyValue>> {
        let page = self.read();
        match &page {
            Ok(page) => {
                if let Some(last) = page.last() {
                    self.range.key = next_key(&last.key);
                }
            }
            // the next call begins at the first pair that was not returned
            Err(_) => (self.scan, self.pending) = (None, None),
        }
        page
    }

    fn read(&mut self) -> libkv::Result<Vec<KeyValue>> {
        let scan = match &mut self.scan {
            Some(scan) => scan,
            None => {
                let range = Range::new(self.range.clone()).revision(self.revision);
                self.scan.insert(self.source.scan(range)?)
            }
        };
        let (mut page, mut bytes) = (Vec::new(), 0);
        while let Some(kv) = self.pending.take().map(Ok).or_else(|| scan.next()) {
            let kv = kv?;
            let more = kv.key.len() + kv.value.len();
            if !self.limits.has_room(page.len(), bytes, more) {
                self.pending = Some(kv);
                break;
            }
            bytes += more;
            page.push(kv);
        }
        Ok(page)
    }
}

/// The first key after this one.
pub fn next_key(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

/// The result of a copy.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Counts {
    /// Pairs that did not exist.
    pub written: u64,
    /// Pairs that existed with another value.
    pub overwritten: u64,
    /// Pairs that existed with this value.
    pub same: u64,
    /// Keys that were written or were there, and have a lease in the source.
    pub without_lease: u64,
}

/// The puts that make the target equal to a page of the source, with the counts after them.
pub fn puts_for(
    target: &Db,
    map: &KeyMap,
    page: &[KeyValue],
    counts: Counts,
) -> Result<(Vec<Op>, Counts)> {
    let mut counts = counts;
    let mut pairs = Vec::with_capacity(page.len());
    for kv in page {
        if let Some(key) = map.target_key(&kv.key)? {
            pairs.push((key, kv));
        }
    }
    let mut puts = Vec::new();
    if pairs.is_empty() {
        return Ok((puts, counts));
    }
    let reads = pairs.iter().map(|(key, _)| Range::new(&key[..]));
    let found = target.txn(Txn::new().and_then_all(reads))?.responses;
    for ((key, kv), found) in pairs.into_iter().zip(found) {
        counts.without_lease += u64::from(kv.lease != 0);
        let found = match found {
            OpResponse::Range(range) => range.kvs.into_iter().next(),
            _ => None,
        };
        match found {
            Some(found) if found.value == kv.value => {
                counts.same += 1;
                continue;
            }
            Some(_) => counts.overwritten += 1,
            None => counts.written += 1,
        }
        puts.push(Put::new(key, &kv.value[..]).into());
    }
    Ok((puts, counts))
}

/// The current revision of a source, if its keys can be read.
///
/// # Errors
///
/// Those of reading.
pub fn current_revision(source: &Db, range: &KeyRange) -> libkv::Result<i64> {
    let first = Range::new(range.clone()).keys_only(true).limit(1);
    source.range(first).map(|response| response.revision)
}

/// The number of pairs at a revision.
///
/// # Errors
///
/// Those of reading.
pub fn pairs_at(source: &Db, range: &KeyRange, revision: i64) -> libkv::Result<u64> {
    let all = Range::new(range.clone())
        .revision(revision)
        .count_only(true);
    source.range(all).map(|response| response.count as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(from: &str, to: &str) -> KeyMap {
        KeyMap {
            from: from.into(),
            to: to.into(),
        }
    }

    #[test]
    fn a_key_gets_the_other_prefix_and_back() {
        let map = map("from/", "to/");
        let key = map.target_key(b"from/from/a").expect("a key");
        assert_eq!(key.as_deref(), Some(&b"to/from/a"[..]));
        assert_eq!(map.source_key(b"to/from/a"), b"from/from/a");
    }

    #[test]
    fn cursors_are_not_copied_and_no_key_is_empty() {
        let all = map("", "");
        assert_eq!(all.target_key(b"\0kv/mirror/x").ok(), Some(None));
        assert_eq!(map("", "\0").target_key(b"kv/mirror/x").ok(), Some(None));
        assert!(map("a", "").target_key(b"a").is_err());
    }

    #[test]
    fn a_txn_has_room_for_one_operation_of_any_size() {
        let limits = Limits { ops: 2, bytes: 10 };
        assert!(limits.has_room(0, 0, 99));
        assert!(limits.has_room(1, 4, 6) && !limits.has_room(1, 4, 7));
        assert!(!limits.has_room(2, 0, 0));
    }
}
