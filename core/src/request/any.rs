//! Any request and any response.

use crate::auth::{Auth, AuthResponse};

use super::alarm::{Alarm, AlarmResponse};
use super::compact::{Compact, CompactResponse};
use super::delete::{Delete, DeleteResponse};
use super::lease::{LeaseGrant, LeaseGrantResponse, LeaseRevoke, LeaseRevokeResponse};
use super::put::{Put, PutResponse};
use super::range::{Range, RangeResponse};
use super::side::{Side, SideResponse};
use super::txn::{Txn, TxnResponse};

/// Any request.
///
/// Kinds may be added in a minor version.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a request does nothing until it is run"]
#[non_exhaustive]
pub enum Request {
    /// A read.
    Range(Range),
    /// A put.
    Put(Put),
    /// A deletion.
    Delete(Delete),
    /// A txn.
    Txn(Txn),
    /// A compaction.
    Compact(Compact),
    /// Grants a lease.
    LeaseGrant(LeaseGrant),
    /// Revokes a lease.
    LeaseRevoke(LeaseRevoke),
    /// Lists, activates or disarms alarms.
    Alarm(Alarm),
    /// A call about users, roles or authentication.
    Auth(Auth),
    /// Records beside the keys.
    Side(Side),
}

/// The response to a [`Request`], of the same kind.
///
/// Kinds may be added in a minor version.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Response {
    /// The response to [`Request::Range`].
    Range(RangeResponse),
    /// The response to [`Request::Put`].
    Put(PutResponse),
    /// The response to [`Request::Delete`].
    Delete(DeleteResponse),
    /// The response to [`Request::Txn`].
    Txn(TxnResponse),
    /// The response to [`Request::Compact`].
    Compact(CompactResponse),
    /// The response to [`Request::LeaseGrant`].
    LeaseGrant(LeaseGrantResponse),
    /// The response to [`Request::LeaseRevoke`].
    LeaseRevoke(LeaseRevokeResponse),
    /// The response to [`Request::Alarm`].
    Alarm(AlarmResponse),
    /// The response to [`Request::Auth`].
    Auth(AuthResponse),
    /// The response to [`Request::Side`].
    Side(SideResponse),
}

macro_rules! into_request {
    ($($type:ident),*) => { $(
        impl From<$type> for Request {
            fn from(request: $type) -> Request {
                Request::$type(request)
            }
        }
    )* };
}

into_request!(
    Range,
    Put,
    Delete,
    Txn,
    Compact,
    LeaseGrant,
    LeaseRevoke,
    Alarm,
    Auth,
    Side
);
