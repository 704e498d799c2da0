//! The common part of the services Lock and Election (contract 12).
//!
//! Each claimant has a key that is attached to a lease. The client renews the lease; the driver of
//! claims waits for the claimant's turn. If the client gives up before that, its key is deleted.

use libkv::support::{Claim, ClaimDriver, ClaimRequest, claim_key, claim_prefix};
use libkv::{Code, KeyRange, LeaseGrant, LeaseId, Response};
use tokio::sync::oneshot;
use tonic::Status;

use super::auth::Caller;
use super::store::{Store, stopped};
use crate::convert::{refusal, wrong_response};

/// The TTL of the lease of a client that named none, in seconds. Only the client renews it.
const TTL_SECONDS: i64 = 60;

/// Gives every error of these services the code `Unknown`, as etcd does.
pub(super) fn unknown(status: Status) -> Status {
    match status.code() {
        tonic::Code::Unavailable => status,
        _ => Status::unknown(status.message()),
    }
}

/// An error with etcd's text.
pub(super) fn refused(text: &str) -> Status {
    Status::unknown(text)
}

/// The lease that a client named, or a new one.
pub(super) async fn lease_or_new(
    store: &Store,
    caller: &Caller,
    given: LeaseId,
) -> Result<LeaseId, Status> {
    if given != 0 {
        return Ok(given);
    }
    match store.call(caller, LeaseGrant::new(TTL_SECONDS)).await? {
        Response::LeaseGrant(granted) => Ok(granted.id),
        _ => Err(wrong_response()),
    }
}

/// A request for a name with a lease of the client, which must have the right to read all claims to
/// the name, and to write its own.
pub(super) fn request_for(
    store: &Store,
    caller: &Caller,
    name: &[u8],
    lease: LeaseId,
) -> Result<ClaimRequest, Status> {
    let rights = store.guard.rights(caller)?;
    if rights.are_checked() {
        rights.read(&KeyRange::prefix(claim_prefix(name)))?;
        rights.write(&KeyRange::key(claim_key(name, lease)))?;
        rights.write_lease(&store.db, lease)?;
    }
    Ok(ClaimRequest::new(&store.db, name, TTL_SECONDS).lease(lease))
}

/// Waits for the name. `lost` is etcd's text for a claim whose key was deleted meanwhile.
pub(super) async fn claim(
    store: &Store,
    request: ClaimRequest,
    lost: &str,
) -> Result<Claim, Status> {
    let (done, claimed) = oneshot::channel();
    // if this future is dropped, so is the driver, which deletes the key; a claim that is not
    // received deletes it as well
    let _driver = ClaimDriver::start(request, move |claim| drop(done.send(claim)));
    let claimed = tokio::select! {
        claimed = claimed => claimed,
        () = store.closed() => return Err(stopped()),
    };
    match claimed {
        Ok(Ok(Some(mut claim))) => {
            claim.keep();
            Ok(claim)
        }
        Ok(Err(error)) => Err(match error.code() {
            Code::LeaseLost => refused(lost),
            Code::Closed => stopped(),
            _ => refusal(error),
        }),
        Ok(Ok(None)) | Err(_) => Err(stopped()),
    }
}
