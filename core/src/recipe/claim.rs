//! A held name, and the request for one: what locks and elections have in common.
//!
//! The keys are those of etcd: each claimant of `name` has the key `name/<lease id in hexadecimal>`,
//! attached to its lease. The claimant whose key was created first holds the name. Each of the
//! others waits until the key before its own is deleted, so that one claimant is woken at a time.

use std::fmt;
use std::time::Duration;

use crate::db::Db;
use crate::error::{Code, Error, Result};
use crate::model::{KeyRange, KeyValue, LeaseId, Revision};
use crate::recipe::lease::{Lease, lost};
use crate::recipe::wait_limit::WaitLimit;
use crate::request::{
    Compare, CompareResult, Delete, LeaseRevoke, Put, Range, SortOrder, SortTarget, Txn,
};

/// A request for a name. [`ClaimDriver`](crate::support::ClaimDriver) runs it.
#[derive(Clone, Debug)]
pub struct ClaimRequest {
    pub(super) db: Db,
    pub(super) name: Vec<u8>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) lease: LeaseChoice,
    pub(super) former: Option<LeaseRevoke>,
    pub(super) only_if_free: bool,
    pub(super) wait_limit: WaitLimit,
}

/// The lease that the key is attached to.
#[derive(Clone, Copy, Debug)]
pub(super) enum LeaseChoice {
    /// A new one, which is renewed automatically and ends with this process.
    Grant { ttl_seconds: i64 },
    /// One of the caller, which renews it.
    Given(LeaseId),
}

impl ClaimRequest {
    /// A request for `name` with a new lease of `ttl_seconds`, and no time limit.
    pub fn new(db: &Db, name: impl Into<Vec<u8>>, ttl_seconds: i64) -> ClaimRequest {
        ClaimRequest {
            db: db.clone(),
            name: name.into(),
            value: None,
            lease: LeaseChoice::Grant { ttl_seconds },
            former: None,
            only_if_free: false,
            wait_limit: WaitLimit::new(None),
        }
    }

    /// Attaches the key to a lease of the caller, which also renews it. If the key exists already the
    /// claim continues with it.
    pub fn lease(mut self, id: LeaseId) -> ClaimRequest {
        self.lease = LeaseChoice::Given(id);
        self
    }

    /// The value of the key. Without it the value is empty, and an existing key keeps its value.
    pub fn value(mut self, value: impl Into<Vec<u8>>) -> ClaimRequest {
        self.value = Some(value.into());
        self
    }

    /// The lease of a former claim, which is revoked first.
    pub fn former(mut self, former: Option<LeaseRevoke>) -> ClaimRequest {
        self.former = former;
        self
    }

    /// Returns `None` instead of waiting if another claimant holds the name.
    pub fn only_if_free(mut self) -> ClaimRequest {
        self.only_if_free = true;
        self.wait_limit(WaitLimit::new(Some(Duration::ZERO)))
    }

    /// The time limit.
    pub fn wait_limit(mut self, wait_limit: WaitLimit) -> ClaimRequest {
        self.wait_limit = wait_limit;
        self
    }

    pub(super) fn prefix(&self) -> Vec<u8> {
        claim_prefix(&self.name)
    }

    /// The error of a request whose time is over.
    pub(super) fn timeout(&self) -> Error {
        Error::new(Code::Timeout, self.timeout_message())
    }

    /// The same, with the holder, or why it is not known.
    pub(super) fn timeout_with(&self, holder: Result<Option<KeyValue>>) -> Error {
        match holder {
            Ok(Some(kv)) => {
                let (message, key) = (self.timeout_message(), kv.key.escape_ascii());
                Error::new(Code::Timeout, format!("{message}; {key} has it")).with_key(kv.key)
            }
            Ok(None) => self.timeout(),
            Err(error) => self.timeout().with_detail(error.message()),
        }
    }

    fn timeout_message(&self) -> String {
        let (name, ms) = (
            self.name.escape_ascii(),
            self.wait_limit.timeout().as_millis(),
        );
        format!("{name} was not acquired within {ms} ms")
    }
}

/// A name that is held. Dropping it gives the name up without waiting.
pub struct Claim {
    db: Db,
    key: Vec<u8>,
    revision: Revision,
    held_since: Revision,
    lease_id: LeaseId,
    /// `None` if the lease is the caller's.
    lease: Option<Lease>,
    /// Whether a drop deletes the key. Only without a lease of its own.
    deletes_key: bool,
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Claim({})", self.key.escape_ascii())
    }
}

/// The key of a claimant with this lease.
pub fn claim_key(name: &[u8], lease: LeaseId) -> Vec<u8> {
    ClaimKey::new(&claim_prefix(name), lease).key
}

/// The key of a claimant: its name, and the revision that created it.
#[derive(Clone, Debug, Default)]
pub(super) struct ClaimKey {
    pub key: Vec<u8>,
    pub revision: Revision,
    pub lease_id: LeaseId,
    /// Whether the driver created it, and so may delete it.
    pub is_new: bool,
}

impl ClaimKey {
    /// The key of a lease under a prefix. It is not created yet.
    pub fn new(prefix: &[u8], lease_id: LeaseId) -> ClaimKey {
        let sign = if lease_id < 0 { "-" } else { "" };
        let id = format!("{sign}{:x}", lease_id.unsigned_abs());
        ClaimKey {
            key: [prefix, id.as_bytes()].concat(),
            lease_id,
            ..ClaimKey::default()
        }
    }

    fn exists(&self) -> Compare {
        Compare::create_revision(&self.key[..], CompareResult::Equal, self.revision)
    }

    /// Puts a value, unless the key was deleted meanwhile.
    pub fn proclamation(&self, value: impl Into<Vec<u8>>) -> Txn {
        Txn::new()
            .when(self.exists())
            .and_then(Put::new(&self.key[..], value).lease(self.lease_id))
    }

    /// Deletes the key, unless it was deleted and created again meanwhile.
    pub fn deletion(&self) -> Txn {
        Txn::new()
            .when(self.exists())
            .and_then(Delete::new(&self.key[..]))
    }
}

impl Claim {
    pub(super) fn new(db: Db, key: ClaimKey, held_since: Revision, lease: Option<Lease>) -> Claim {
        Claim {
            db,
            deletes_key: lease.is_none() && key.is_new,
            key: key.key,
            revision: key.revision,
            held_since,
            lease_id: key.lease_id,
            lease,
        }
    }

    /// Its key in the store.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// The revision at which its key was created, for fencing: it increases from holder to holder.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The revision of the store at which it was known to hold the name.
    pub fn held_since(&self) -> Revision {
        self.held_since
    }

    /// The id of its lease.
    pub fn lease_id(&self) -> LeaseId {
        self.lease_id
    }

    /// Its lease; `None` if the lease is the caller's.
    pub fn lease(&self) -> Option<&Lease> {
        self.lease.as_ref()
    }

    /// Whether it still holds the name: false once its lease is known to be lost.
    pub fn is_held(&self) -> bool {
        !self.db.is_closed() && self.lease.as_ref().is_none_or(|lease| !lease.lost())
    }

    /// The error of a claim whose lease is lost.
    pub fn lost(&self) -> Error {
        lost(self.lease_id)
    }

    /// The txn that gives its key this value. It does not succeed if the name is no longer held.
    pub(super) fn proclamation(&self, value: impl Into<Vec<u8>>) -> Txn {
        self.claim_key().proclamation(value)
    }

    fn claim_key(&self) -> ClaimKey {
        ClaimKey {
            key: self.key.clone(),
            revision: self.revision,
            lease_id: self.lease_id,
            is_new: true,
        }
    }

    /// From now on a drop keeps the key: it is deleted with the lease, or by its owner.
    pub fn keep(&mut self) {
        self.deletes_key = false;
    }

    /// Stops the renewal of its lease. The caller runs the returned request, which gives the name
    /// up; `None` if the lease was closed before.
    pub fn leave(mut self) -> Option<LeaseRevoke> {
        let lease = self.lease.take()?;
        lease.stop().then_some(LeaseRevoke { id: lease.id() })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.deletes_key && self.db.engine().ensure_open().is_ok() {
            // a drop does not wait; if this fails the key is deleted with its lease
            self.db.submit(self.claim_key().deletion(), |_| {});
        }
    }
}

/// The prefix of all keys of a name.
pub fn claim_prefix(name: &[u8]) -> Vec<u8> {
    [name, b"/"].concat()
}

/// Reads the key of the holder: the one with the lowest create_revision.
pub fn holder_request(prefix: &[u8]) -> Range {
    Range::new(KeyRange::prefix(prefix))
        .sort(SortTarget::Create, SortOrder::Ascend)
        .limit(1)
}
