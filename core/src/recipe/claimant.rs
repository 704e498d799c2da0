//! The state of a lock or an election.

use std::fmt;

use crate::db::Db;
use crate::error::{Code, Error, Result};
use crate::etcd_text;
use crate::model::{KeyValue, Revision};
use crate::recipe::claim::{Claim, ClaimRequest, claim_prefix, holder_request};
use crate::recipe::claim_wait::claim_blocking;
use crate::recipe::lease::lost;
use crate::recipe::wait_limit::WaitLimit;
use crate::request::{LeaseRevoke, Range, Txn};

/// A name that can be claimed, and the claim while it is held. [`Lock`](crate::Lock) and
/// [`Election`](crate::Election) consist of one, in every language.
pub struct Claimant {
    db: Db,
    name: Vec<u8>,
    ttl_seconds: i64,
    /// The claim, until it is given up; its lease may be lost.
    claim: Option<Claim>,
}

impl fmt::Debug for Claimant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.is_held() { "held" } else { "not held" };
        write!(f, "Claimant({}, {state})", self.name.escape_ascii())
    }
}

impl Claimant {
    /// For `name`. Each claim has a lease of `ttl_seconds` of its own.
    ///
    /// # Errors
    ///
    /// `invalid_argument` for an empty name.
    pub fn new(db: &Db, name: impl Into<Vec<u8>>, ttl_seconds: i64) -> Result<Claimant> {
        let name = name.into();
        if name.is_empty() {
            return Err(Error::new(Code::InvalidArgument, "the name is empty"));
        }
        Ok(Claimant {
            db: db.clone(),
            name,
            ttl_seconds,
            claim: None,
        })
    }

    /// The request for the name. It revokes the lease of a former claim first, which is removed
    /// from here.
    pub fn request(&mut self, value: impl Into<Vec<u8>>, wait_limit: WaitLimit) -> ClaimRequest {
        ClaimRequest::new(&self.db, &self.name[..], self.ttl_seconds)
            .former(self.leave())
            .value(value)
            .wait_limit(wait_limit)
    }

    /// Keeps the claim of a successful request.
    pub fn hold(&mut self, claim: Claim) {
        self.claim = Some(claim);
    }

    /// Claims the name and waits for it; false if it was to be taken only if it is free, and is
    /// not.
    pub(super) fn acquire(&mut self, request: ClaimRequest) -> Result<bool> {
        self.db.engine().ensure_open()?;
        self.claim = claim_blocking(request, |_| {})?;
        Ok(self.claim.is_some())
    }

    /// Removes the claim. The caller runs the returned request, which releases the name in the
    /// store; `None` if nothing was claimed.
    pub fn leave(&mut self) -> Option<LeaseRevoke> {
        self.claim.take()?.leave()
    }

    /// Gives the name up, and waits for it.
    pub(super) fn release(&mut self) -> Result<()> {
        let Some(revoke) = self.leave() else {
            return self.db.engine().ensure_open();
        };
        match self.db.lease_revoke(revoke.id) {
            Err(error) if error.code() != Code::LeaseNotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Whether it holds the name, as far as is known: false once its lease is known to be lost.
    pub fn is_held(&self) -> bool {
        self.claim.as_ref().is_some_and(Claim::is_held)
    }

    /// Its key in the store while it holds the name; otherwise empty.
    pub fn key(&self) -> &[u8] {
        self.claim.as_ref().map_or(&[], Claim::key)
    }

    /// The revision at which its key was created, for fencing; `None` before it holds the name and
    /// after it is given up.
    pub fn revision(&self) -> Option<Revision> {
        self.claim.as_ref().map(Claim::revision)
    }

    /// The error of a claim whose lease is lost.
    pub fn lost(&self) -> Error {
        self.claim.as_ref().map_or_else(|| lost(0), Claim::lost)
    }

    /// The txn that gives its key this value. It does not succeed if the name is no longer held.
    ///
    /// # Errors
    ///
    /// `failed_precondition` if it does not hold the name, `lease_lost` if it lost it.
    pub fn proclamation(&self, value: impl Into<Vec<u8>>) -> Result<Txn> {
        self.db.engine().ensure_open()?;
        match &self.claim {
            None => Err(Error::etcd(Code::FailedPrecondition, etcd_text::NOT_LEADER)
                .with_detail("campaign first")),
            Some(claim) if !claim.is_held() => Err(claim.lost()),
            Some(claim) => Ok(claim.proclamation(value)),
        }
    }

    /// Reads the key of the holder. The response has at most one pair.
    pub fn holder_request(&self) -> Range {
        holder_request(&self.prefix())
    }

    pub(super) fn holder(&self) -> Result<Option<KeyValue>> {
        let holder = self.db.range(self.holder_request())?;
        Ok(holder.kvs.into_iter().next())
    }

    pub(super) fn prefix(&self) -> Vec<u8> {
        claim_prefix(&self.name)
    }

    pub(super) fn db(&self) -> &Db {
        &self.db
    }
}
