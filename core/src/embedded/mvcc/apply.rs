//! Running a request on a writer: each kind of request leads to its file.

use super::writer::Writer;
use super::{compact, txn};
use crate::auth::AuthStamp;
use crate::embedded::lease::entries;
use crate::error::{Code, Error, Result};
use crate::etcd_text;
use crate::model::Revision;
use crate::request::{Compact, CompactResponse, Request, Response};

/// What a request is applied under, beside its own fields.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Conditions {
    /// A request that the quota refuses raises an alarm, which must be committed although the
    /// request is refused.
    pub raises_alarm: bool,
    /// The request is refused if users, roles or permissions were changed since this stamp.
    pub auth: Option<AuthStamp>,
}

impl Writer<'_> {
    /// Runs one valid request in one revision.
    pub fn apply(&mut self, request: &Request, conditions: Conditions) -> Result<Response> {
        self.sub = 0;
        // changes do not matter while authentication stays off
        let is_over = |auth: AuthStamp| {
            auth != self.bounds.auth && (auth.enabled || self.bounds.auth.enabled)
        };
        if conditions.auth.is_some_and(is_over) {
            return Err(Error::etcd(
                Code::FailedPrecondition,
                etcd_text::AUTH_REVISION_OLD,
            ));
        }
        self.admit(request, conditions.raises_alarm)?;
        let response = match request {
            Request::Put(put) => entries::check(&self.txn, put.lease)
                .and_then(|()| self.put(put))
                .map(Response::Put),
            Request::Delete(delete) => self.delete(delete).map(Response::Delete),
            Request::Txn(txn) => txn::run(self, txn).map(Response::Txn),
            Request::Compact(compact) => self.compact(compact).map(Response::Compact),
            Request::Range(range) => self.range(range, None).map(Response::Range),
            Request::LeaseGrant(grant) => self.grant(grant).map(Response::LeaseGrant),
            Request::LeaseRevoke(revoke) => self.revoke(revoke).map(Response::LeaseRevoke),
            Request::Alarm(request) => self.alarm(request).map(Response::Alarm),
            Request::Auth(request) => self.auth(request).map(Response::Auth),
            Request::Side(request) => self.side(request).map(Response::Side),
        };
        match &response {
            // after LMDB's own errors the transaction may be unusable
            Err(error) => self.torn |= self.sub > 0 || !is_refusal(error.code()),
            Ok(_) => self.current += Revision::from(self.sub > 0),
        }
        response
    }

    fn compact(&mut self, compact: &Compact) -> Result<CompactResponse> {
        let response = compact::promise(&mut self.txn, compact, self.current, self.compacted)?;
        self.compacted = compact.revision;
        self.wrote = true;
        Ok(response)
    }
}

/// Whether an error is about the request, not about the store.
fn is_refusal(code: Code) -> bool {
    use Code::*;
    matches!(
        code,
        InvalidArgument
            | KeyNotFound
            | LeaseNotFound
            | LeaseExists
            | Compacted
            | FutureRevision
            | FailedPrecondition
    )
}
