//! Standing in line for a name: what a lock and an election have in common.
//!
//! etcd's layout: each who wants `name` puts the key `name/<lease id in hexadecimal>` on a lease of
//! its own; whose key has the lowest create_revision of all under `name/` has it. Each waits for
//! the key just before its own to go, so that one is woken at a time.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::db::Db;
use crate::engine::wrong_response;
use crate::error::{Code, Error, Result};
use crate::model::{KeyRange, KeyValue, Revision};
use crate::recipe::lease::lost;
use crate::recipe::{Canceller, Lease, Patience, Watcher};
use crate::request::*;

/// What a [`Claim`] needs next.
#[derive(Debug)]
pub enum ClaimStep {
    /// This request run, and its answer handed to [`Claim::step`].
    Run(Request),
    /// This watch made, and [`Claim::step`] called after its first batch or its end.
    Wait(Watch),
    /// Nothing: it has the name.
    Held,
}

/// What has been said to the store and not been answered yet.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Nothing,
    LeaseGrant,
    Put,
    Line,
}

/// A place in the line for a name, without any waiting of its own: it says what to ask the store,
/// and whoever drives it asks, in a blocking or in an async way. [`Lock`](crate::Lock) and
/// [`Election`](crate::Election) are it with a driver.
pub struct Claim {
    db: Db,
    name: Vec<u8>,
    value: Vec<u8>,
    ttl_seconds: i64,
    lease: Option<Lease>,
    /// Ends the watcher that it waits in last, when the lease is lost.
    waiting: Arc<Mutex<Option<Canceller>>>,
    key: Vec<u8>,
    revision: Revision,
    asked: Asked,
    held: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.held { "held" } else { "not held" };
        write!(f, "Claim({}, {state})", self.name.escape_ascii())
    }
}

impl Claim {
    /// For `name`, on a lease of so many seconds that ends with this process. Nothing is asked yet.
    ///
    /// # Errors
    ///
    /// `invalid_argument` for an empty name.
    pub fn new(db: Db, name: impl Into<Vec<u8>>, ttl_seconds: i64) -> Result<Claim> {
        let name = name.into();
        if name.is_empty() {
            return Err(Error::new(Code::InvalidArgument, "the name is empty"));
        }
        Ok(Claim {
            db,
            name,
            value: Vec::new(),
            ttl_seconds,
            lease: None,
            waiting: Arc::default(),
            key: Vec::new(),
            revision: 0,
            asked: Asked::Nothing,
            held: false,
        })
    }

    /// The value that its key gets; before the first step.
    pub fn set_value(&mut self, value: impl Into<Vec<u8>>) {
        self.value = value.into();
    }

    /// Under what all keys of this name stand.
    pub fn prefix(&self) -> Vec<u8> {
        [self.name.as_slice(), b"/"].concat()
    }

    /// Its key, once it stands in line; else empty.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// The revision that created its key, once it stands in line; else 0. It fences: of two who
    /// hold the name one after the other, the later has the higher one.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Whether it has the name, as far as is known here.
    pub fn is_held(&self) -> bool {
        self.held && !self.db.is_closed() && self.lease.as_ref().is_some_and(|lease| !lease.lost())
    }

    /// Its lease, once it stands in line.
    pub fn lease(&self) -> Option<&Lease> {
        self.lease.as_ref()
    }

    /// Goes on, with the answer to what it asked for last (none at first, and after a watch).
    ///
    /// # Errors
    ///
    /// `lease_lost` if its place in the line is gone with its lease.
    pub fn step(&mut self, response: Option<Response>) -> Result<ClaimStep> {
        match (std::mem::replace(&mut self.asked, Asked::Nothing), response) {
            (Asked::LeaseGrant, Some(Response::LeaseGrant(granted))) => {
                self.key = [self.prefix(), format!("{:x}", granted.id).into_bytes()].concat();
                self.adopt(Lease::adopt(
                    self.db.clone(),
                    granted.id,
                    granted.ttl_seconds,
                )?);
                Ok(self.ask(Asked::Put, self.enter(granted.id)))
            }
            (Asked::Put, Some(Response::Txn(response))) => {
                self.revision = match (response.succeeded, response.responses.first()) {
                    (true, _) => response.revision,
                    (false, Some(OpResponse::Range(range))) => {
                        range.kvs.first().map_or(0, |kv| kv.create_revision)
                    }
                    _ => 0,
                };
                Ok(self.ask(Asked::Line, self.look()))
            }
            (Asked::Line, Some(Response::Txn(response))) => self.judge(&response),
            (Asked::Nothing, None) if self.held => Ok(ClaimStep::Held),
            (Asked::Nothing, None) => match &self.lease {
                None => {
                    let grant = LeaseGrant {
                        ttl_seconds: self.ttl_seconds,
                        id: 0,
                        end_with_process: true,
                    };
                    Ok(self.ask(Asked::LeaseGrant, grant))
                }
                Some(lease) => {
                    lease.check()?;
                    Ok(self.ask(Asked::Line, self.look()))
                }
            },
            (_, Some(response)) => Err(wrong_response(&response)),
            (_, None) => Err(Error::new(
                Code::Internal,
                "a claim continues without the response that it requested",
            )),
        }
    }

    fn adopt(&mut self, lease: Lease) {
        self.waiting = Arc::default();
        let waiting = self.waiting.clone();
        lease.on_lost(move || {
            let canceller = lock(&waiting).take();
            if let Some(canceller) = canceller {
                canceller.cancel();
            }
        });
        self.lease = Some(lease);
    }

    fn ask(&mut self, what: Asked, request: impl Into<Request>) -> ClaimStep {
        self.asked = what;
        ClaimStep::Run(request.into())
    }

    /// Puts the key unless it is there.
    fn enter(&self, id: i64) -> Txn {
        Txn::new()
            .when(Compare::create_revision(
                &self.key[..],
                CompareResult::Equal,
                0,
            ))
            .and_then(Put::new(&self.key[..], &self.value[..]).lease(id))
            .or_else(Range::new(&self.key[..]))
    }

    /// Reads the own key, and the one just before it in the line.
    fn look(&self) -> Txn {
        let before = Range::new(KeyRange::prefix(self.prefix()))
            .create_revisions(0, self.revision - 1)
            .sort(SortTarget::Create, SortOrder::Descend)
            .limit(1);
        Txn::new()
            .and_then(Range::new(&self.key[..]))
            .and_then(before)
    }

    fn judge(&mut self, response: &TxnResponse) -> Result<ClaimStep> {
        let (own, before) = match response.responses.as_slice() {
            [OpResponse::Range(own), OpResponse::Range(before)] => {
                (own.kvs.first(), before.kvs.first())
            }
            _ => (None, None),
        };
        if own.is_none_or(|own| own.create_revision != self.revision) {
            return Err(self.lost());
        }
        Ok(match before {
            None => {
                self.held = true;
                ClaimStep::Held
            }
            Some(before) => ClaimStep::Wait(
                Watch::new(&before.key[..])
                    .start_revision(response.revision + 1)
                    .no_put(true),
            ),
        })
    }

    /// The error of a claim whose place is gone.
    pub fn lost(&self) -> Error {
        lost(self.lease.as_ref().map_or(0, Lease::id))
    }

    /// Leaves the line: forgets its place here and answers the request that gives it up in the store,
    /// none if it stands nowhere.
    pub fn leave(&mut self) -> Option<LeaseRevoke> {
        self.held = false;
        self.asked = Asked::Nothing;
        self.revision = 0;
        self.key.clear();
        let lease = self.lease.take()?;
        lease.stop().then_some(LeaseRevoke { id: lease.id() })
    }

    /// Drives it until it has the name; false if the time ran out, and it is still in the line then.
    fn hold(&mut self, patience: Patience) -> Result<bool> {
        let db = patience.limit(&self.db);
        self.give_up(&db)?;
        let mut response = None;
        loop {
            match self.step(response.take())? {
                ClaimStep::Held => return Ok(true),
                ClaimStep::Run(request) => response = Some(db.engine().call(request, None)?),
                ClaimStep::Wait(_) if patience.is_over() => return Ok(false),
                ClaimStep::Wait(watch) => self.wait(db.watch(watch), patience)?,
            }
        }
    }

    fn wait(&self, watcher: Result<Watcher>, patience: Patience) -> Result<()> {
        let watcher = match watcher {
            // whoever stood before may be gone, and the memory of it too: look again
            Err(error) if error.code() == Code::Compacted => return Ok(()),
            watcher => watcher?,
        };
        self.wake_when_lost(&watcher);
        match watcher.next(patience.left()) {
            Err(error) if !matches!(error.code(), Code::Compacted | Code::Cancelled) => Err(error),
            _ => Ok(()),
        }
    }

    /// Ends `watcher` with `cancelled` if the lease is lost; of several watchers the last one only.
    pub fn wake_when_lost(&self, watcher: &Watcher) {
        let Some(lease) = &self.lease else { return };
        *lock(&self.waiting) = Some(watcher.canceller());
        // it may have been lost before the watcher stood there
        if lease.lost() {
            watcher.cancel();
        }
    }

    /// Gives up its place in the store too, which is asked through `db`.
    fn give_up(&mut self, db: &Db) -> Result<()> {
        let Some(revoke) = self.leave() else {
            return db.engine().ensure_open();
        };
        match db.lease_revoke(revoke.id) {
            Err(error) if error.code() != Code::LeaseNotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Gives up its place in the store too.
    pub(crate) fn release(&mut self) -> Result<()> {
        self.give_up(&self.db.clone())
    }

    /// Waits for the name; with `timeout` over it leaves the line and answers `timeout`.
    pub(crate) fn acquire(&mut self, timeout: Option<Duration>) -> Result<()> {
        let patience = Patience::new(timeout);
        let held = self.hold(patience);
        if let Ok(true) = held {
            return Ok(());
        }
        let db = Patience::grace(&self.db);
        // what it leaves behind ends with its lease, which is no longer kept
        let left = self.give_up(&db);
        match held.and(left) {
            Err(error) if !patience.has_ended(error.code()) => Err(error),
            _ => Err(match self.holder(&db) {
                Ok(holder) => self.timed_out(patience.timeout(), holder),
                Err(why) => self.in_vain(patience.timeout(), format!(" ({})", why.message())),
            }),
        }
    }

    /// The error of a claim that waited in vain for so long while `holder` had the name.
    pub fn timed_out(&self, timeout: Duration, holder: Option<KeyValue>) -> Error {
        self.in_vain(
            timeout,
            holder.map_or(String::new(), |kv| {
                format!("; {} has it", kv.key.escape_ascii())
            }),
        )
    }

    fn in_vain(&self, timeout: Duration, why: String) -> Error {
        let name = self.name.escape_ascii();
        Error::new(
            Code::Timeout,
            format!(
                "{name} was not acquired within {} ms{why}",
                timeout.as_millis()
            ),
        )
    }

    /// The pair of the one that has the name now, read through `db`.
    pub(crate) fn holder(&self, db: &Db) -> Result<Option<KeyValue>> {
        Ok(db
            .range(first_in_line(&self.prefix()))?
            .kvs
            .into_iter()
            .next())
    }

    pub(crate) fn db(&self) -> &Db {
        &self.db
    }
}

/// The key with the lowest create_revision.
pub(crate) fn first_in_line(prefix: &[u8]) -> Range {
    Range::new(KeyRange::prefix(prefix))
        .sort(SortTarget::Create, SortOrder::Ascend)
        .limit(1)
}

impl Drop for Claim {
    fn drop(&mut self) {
        // dropping the lease revokes it
        self.lease = None;
    }
}
