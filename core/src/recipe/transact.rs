//! Optimistic transactions: read, compute, write, and try again if another writer was faster.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::thread;
use std::time::Duration;

use crate::db::Db;
use crate::error::{Code, Error, Result};
use crate::model::{KeyRange, KeyValue, Revision};
use crate::request::*;
use crate::validate::check_key;

/// The usual number of retries of [`Db::transact`](crate::Db::transact).
pub const TRANSACT_RETRIES: u32 = 64;

/// The maximum of the first wait between tries. Each later maximum is twice as long.
const WAIT_FIRST_US: u64 = 50;
const WAIT_MAX_US: u64 = 20_000;

impl Db {
    /// Runs `body`, then commits its writes in one revision if nothing that it read has changed;
    /// otherwise runs it again. Between tries it waits a short random time that grows. After
    /// `max_retries` retries (`None`: no limit) it returns `conflict`.
    /// [`TRANSACT_RETRIES`](crate::TRANSACT_RETRIES) is the usual number. If `body` returns an
    /// error nothing is written.
    ///
    /// ```
    /// use libkv::{Db, Options, Put, TRANSACT_RETRIES};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// db.put(Put::new("counter", "1"))?;
    /// let next = db.transact(TRANSACT_RETRIES, |t| {
    ///     let kv = t.get("counter")?.unwrap();
    ///     let next = String::from_utf8_lossy(&kv.value).parse().unwrap_or(0) + 1;
    ///     t.put(Put::new("counter", next.to_string()))?;
    ///     Ok(next)
    /// })?;
    /// assert_eq!(next, 2);
    /// # Ok::<(), libkv::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `conflict`, the error of `body`, and those of [`Db::txn`].
    pub fn transact<T>(
        &self,
        max_retries: impl Into<Option<u32>>,
        mut body: impl FnMut(&mut Transaction) -> Result<T>,
    ) -> Result<T> {
        let mut retries = Retries::new(max_retries.into());
        loop {
            let mut transaction = self.transaction();
            match body(&mut transaction) {
                Ok(value) => {
                    if transaction.txn().map_or(Ok(true), |txn| {
                        self.txn(txn).map(|response| response.succeeded)
                    })? {
                        return Ok(value);
                    }
                }
                Err(error) if transaction.is_overtaken(&error) => {}
                Err(error) => return Err(error),
            }
            thread::sleep(retries.after(&transaction)?);
        }
    }

    /// One try of [`Db::transact`], for callers whose body cannot be a closure, for example in a
    /// language with async functions. Read and write through it and run [`Transaction::txn`]. If
    /// that did not succeed begin again after [`Retries::after`](crate::Retries::after).
    ///
    /// ```
    /// use libkv::{Db, Options, Put, Retries, TRANSACT_RETRIES};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// let mut retries = Retries::new(Some(TRANSACT_RETRIES));
    /// loop {
    ///     let mut transaction = db.transaction();
    ///     if transaction.get("counter")?.is_none() {
    ///         transaction.put(Put::new("counter", "0"))?;
    ///     }
    ///     let Some(txn) = transaction.txn() else { break };
    ///     if db.txn(txn)?.succeeded {
    ///         break;
    ///     }
    ///     std::thread::sleep(retries.after(&transaction)?);
    /// }
    /// assert_eq!(db.get("counter")?.unwrap().value, "0");
    /// # Ok::<(), libkv::Error>(())
    /// ```
    pub fn transaction(&self) -> Transaction {
        Transaction::new(self.clone())
    }
}

/// The view of the body of [`Db::transact`](crate::Db::transact).
///
/// Reads see one revision plus the writes of this transaction. Writes are collected until the body
/// returns, then applied in one txn.
#[derive(Debug)]
#[must_use = "a transaction writes nothing until its txn is run"]
pub struct Transaction {
    db: Db,
    /// The revision of the first read; 0 before it.
    revision: Revision,
    /// The conditions of the commit.
    reads: Vec<Compare>,
    /// The last write of each key: a put, or `None` for a deletion.
    writes: BTreeMap<Vec<u8>, Option<Put>>,
}

impl Transaction {
    pub(crate) fn new(db: Db) -> Transaction {
        Transaction {
            db,
            revision: 0,
            reads: Vec::new(),
            writes: BTreeMap::new(),
        }
    }

    /// Reads one key. For a key that this transaction has put, only key, value and lease are known;
    /// the other fields are 0 until the commit.
    ///
    /// ```
    /// use libkv::{Db, Options, Put};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// db.transact(None, |t| {
    ///     t.put(Put::new("a", "1"))?;
    ///     assert_eq!(t.get("a")?.unwrap().value, "1");
    ///     Ok(())
    /// })?;
    /// # Ok::<(), libkv::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `invalid_argument` (empty key), `compacted`.
    pub fn get(&mut self, key: impl AsRef<[u8]>) -> Result<Option<KeyValue>> {
        let key = key.as_ref();
        match self.writes.get(key) {
            Some(write) => Ok(write.as_ref().map(pending)),
            None => Ok(self.read(Range::new(key))?.kvs.into_iter().next()),
        }
    }

    /// Reads the pairs of a range in key order, including this transaction's own writes.
    ///
    /// ```
    /// use libkv::{Db, KeyRange, Options, Put, Range};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// db.transact(None, |t| {
    ///     t.put(Put::new("user/1", "x"))?;
    ///     assert_eq!(t.range(Range::new(KeyRange::prefix("user/")))?.count, 1);
    ///     Ok(())
    /// })?;
    /// # Ok::<(), libkv::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `invalid_argument` for options other than range, limit and keys_only: the transaction's own
    /// writes have no revision yet.
    pub fn range(&mut self, range: Range) -> Result<RangeResponse> {
        let plain = Range {
            range: range.range.clone(),
            limit: range.limit,
            keys_only: range.keys_only,
            ..Range::default()
        };
        if plain != range {
            let message = "a range inside transact takes a range, a limit and keys_only only";
            return Err(Error::new(Code::InvalidArgument, message));
        }
        let read = self.read(Range { limit: 0, ..plain })?;
        let mut kvs: BTreeMap<Vec<u8>, KeyValue> = read
            .kvs
            .into_iter()
            .map(|kv| (kv.key.to_vec(), kv))
            .collect();
        for (key, write) in self
            .writes
            .iter()
            .filter(|(key, _)| range.range.contains(key))
        {
            match write {
                Some(put) => kvs.insert(key.clone(), keys_only(pending(put), range.keys_only)),
                None => kvs.remove(key),
            };
        }
        let count = kvs.len();
        let limit = if range.limit > 0 {
            range.limit as usize
        } else {
            usize::MAX
        };
        let kvs = kvs.into_values().take(limit).collect();
        Ok(RangeResponse {
            revision: self.revision,
            kvs,
            count: count as i64,
            more: count > limit,
        })
    }

    /// Writes a key after the body returned.
    ///
    /// ```
    /// use libkv::{Db, Options, Put};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// db.transact(None, |t| {
    ///     t.put(Put::new("a", "1"))?;
    ///     t.put(Put::new("b", "2"))?;
    ///     Ok(())
    /// })?;
    /// assert_eq!(db.get("a")?.unwrap().mod_revision, db.get("b")?.unwrap().mod_revision);
    /// # Ok::<(), libkv::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `invalid_argument` for `prev_kv` and `ignore_…`: read the key instead.
    pub fn put(&mut self, put: Put) -> Result<()> {
        check_key(&put.key)?;
        if put.prev_kv || put.ignore_value || put.ignore_lease {
            let message = "a put inside transact takes key, value and lease only";
            return Err(Error::new(Code::InvalidArgument, message)
                .with_detail("read the key for the rest")
                .with_key(put.key));
        }
        self.writes.insert(put.key.clone(), Some(put));
        Ok(())
    }

    /// Deletes the keys of a range after the body returned. Returns how many of them this
    /// transaction sees.
    ///
    /// ```
    /// use libkv::{Db, KeyRange, Options, Put};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// db.put(Put::new("user/1", "x"))?;
    /// let deleted = db.transact(None, |t| t.delete(KeyRange::prefix("user/")))?;
    /// assert_eq!(deleted, 1);
    /// # Ok::<(), libkv::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Same as [`Transaction::range`].
    pub fn delete(&mut self, range: impl Into<KeyRange>) -> Result<i64> {
        let seen = self.range(Range::new(range.into()).keys_only(true))?;
        for kv in seen.kvs {
            self.writes.insert(kv.key.to_vec(), None);
        }
        Ok(seen.count)
    }

    /// Reads the store at this transaction's revision and records the conditions: every key found
    /// keeps its `mod_revision`, and no key in the range is newer than the revision.
    fn read(&mut self, range: Range) -> Result<RangeResponse> {
        let keys = range.range.clone();
        let response = self.db.range(range.revision(self.revision))?;
        if self.revision == 0 {
            self.revision = response.revision;
        }
        for kv in &response.kvs {
            self.reads.push(Compare::mod_revision(
                &kv.key[..],
                CompareResult::Equal,
                kv.mod_revision,
            ));
        }
        if !keys.is_single() {
            self.reads.push(Compare::mod_revision(
                keys,
                CompareResult::Less,
                self.revision + 1,
            ));
        } else if response.kvs.is_empty() {
            self.reads
                .push(Compare::mod_revision(keys, CompareResult::Equal, 0));
        }
        Ok(response)
    }

    /// The txn that commits it, which succeeds if the conditions hold; `None` if there is nothing
    /// to write.
    pub fn txn(&self) -> Option<Txn> {
        let success = self.writes.iter().map(|(key, write)| match write {
            Some(put) => Op::Put(put.clone()),
            None => Op::Delete(Delete::new(&key[..])),
        });
        let compare = || self.reads.clone();
        (!self.writes.is_empty()).then(|| Txn {
            compare: compare(),
            success: success.collect(),
            ..Txn::default()
        })
    }

    /// Whether this read failed only because the transaction's revision was compacted in the
    /// meantime.
    pub fn is_overtaken(&self, error: &Error) -> bool {
        error.code() == Code::Compacted && self.revision > 0
    }
}

/// The retries of a transaction: how long to wait, and when to give up.
#[derive(Clone, Debug)]
pub struct Retries {
    most: Option<u32>,
    done: u64,
    wait_us_max: u64,
}

impl Retries {
    /// The maximum number of retries; `None`: no limit.
    pub fn new(most: Option<u32>) -> Retries {
        Retries {
            most,
            done: 0,
            wait_us_max: WAIT_FIRST_US,
        }
    }

    /// Returns how long to wait before the next try: a short random time that grows.
    ///
    /// # Errors
    ///
    /// `conflict` after the maximum number of retries.
    pub fn after(&mut self, overtaken: &Transaction) -> Result<Duration> {
        if self.most.is_some_and(|most| self.done >= u64::from(most)) {
            let (reads, revision) = (overtaken.reads.len(), overtaken.revision);
            let message = format!(
                "gave up after {} retries: one of {reads} reads at revision {revision} was overtaken each time",
                self.done
            );
            return Err(Error::new(Code::Conflict, message).with_revision(revision));
        }
        self.done += 1;
        let wait = Duration::from_micros(random_below(self.wait_us_max));
        self.wait_us_max = (self.wait_us_max * 2).min(WAIT_MAX_US);
        Ok(wait)
    }
}

fn pending(put: &Put) -> KeyValue {
    KeyValue {
        key: put.key.clone().into(),
        value: put.value.clone().into(),
        lease: put.lease,
        ..KeyValue::default()
    }
}

fn keys_only(mut kv: KeyValue, keys_only: bool) -> KeyValue {
    if keys_only {
        kv.value.clear();
    }
    kv
}

/// It only needs to be spread, so the hasher's random keys are enough.
fn random_below(bound: u64) -> u64 {
    RandomState::new().build_hasher().finish() % bound
}
