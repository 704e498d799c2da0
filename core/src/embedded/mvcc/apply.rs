//! Running a request on a writer: each kind of request leads to its file.

use super::writer::Writer;
use super::{compact, txn};
use crate::embedded::lease::entries;
use crate::error::{Code, Result};
use crate::model::Revision;
use crate::request::{Request, Response};

impl Writer<'_> {
    /// Runs one valid request in one revision. `raises_alarm`: if the quota refuses the request, it
    /// raises an alarm, which must be committed although the request is refused.
    pub fn apply(&mut self, request: &Request, raises_alarm: bool) -> Result<Response> {
        self.sub = 0;
        self.admit(request, raises_alarm)?;
        let response = self.run(request);
        match &response {
            // after LMDB's own errors the transaction may be unusable
            Err(error) => self.torn |= self.sub > 0 || !is_refusal(error.code()),
            Ok(_) => self.current += Revision::from(self.sub > 0),
        }
        response
    }

    fn run(&mut self, request: &Request) -> Result<Response> {
        Ok(match request {
            Request::Put(put) => {
                entries::check(&self.txn, put.lease)?;
                Response::Put(self.put(put)?)
            }
            Request::Delete(delete) => Response::Delete(self.delete(delete)?),
            Request::Txn(txn) => Response::Txn(txn::run(self, txn)?),
            Request::Compact(compact) => {
                let response =
                    compact::promise(&mut self.txn, compact, self.current, self.compacted)?;
                self.compacted = compact.revision;
                self.wrote = true;
                Response::Compact(response)
            }
            Request::Range(range) => Response::Range(self.range(range, None)?),
            Request::LeaseGrant(grant) => {
                let response = self.grant(grant)?;
                self.wrote = true;
                Response::LeaseGrant(response)
            }
            Request::LeaseRevoke(revoke) => {
                let response = self.revoke(revoke)?;
                self.wrote = true;
                Response::LeaseRevoke(response)
            }
            Request::Alarm(request) => Response::Alarm(self.alarm(request)?),
            Request::Side(request) => Response::Side(self.side(request)?),
        })
    }
}

/// Whether an error is about the request, not about the store.
fn is_refusal(code: Code) -> bool {
    use Code::*;
    matches!(
        code,
        InvalidArgument | KeyNotFound | LeaseNotFound | LeaseExists | Compacted | FutureRevision
    )
}
