//! Leases.

use crate::model::{LeaseId, Revision};

/// Grants a lease. Keys can be attached to it and are deleted with it. etcd's `LeaseGrantRequest`.
///
/// Build it with [`LeaseGrant::new`] and its methods; fields may be added in a minor version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[must_use = "a request does nothing until it is run"]
#[non_exhaustive]
pub struct LeaseGrant {
    /// The time to live in seconds without a keep-alive. Smaller values are raised to the handle's
    /// `lease_ttl_min_seconds`. At most [`LEASE_TTL_MAX_SECONDS`](crate::LEASE_TTL_MAX_SECONDS).
    pub ttl_seconds: i64,
    /// The id; with 0 the store chooses a positive one.
    pub id: LeaseId,
    /// The lease also ends within 500 ms after this process ends.
    pub end_with_process: bool,
}

impl LeaseGrant {
    /// Grants a lease of `ttl_seconds`, with an id that the store chooses.
    pub fn new(ttl_seconds: i64) -> LeaseGrant {
        LeaseGrant {
            ttl_seconds,
            ..LeaseGrant::default()
        }
    }

    /// Requests this id; 0: the store chooses one.
    pub fn id(mut self, id: LeaseId) -> LeaseGrant {
        self.id = id;
        self
    }

    /// Ends the lease also within 500 ms after this process ends.
    pub fn end_with_process(mut self, end_with_process: bool) -> LeaseGrant {
        self.end_with_process = end_with_process;
        self
    }
}

impl From<i64> for LeaseGrant {
    fn from(ttl_seconds: i64) -> LeaseGrant {
        LeaseGrant::new(ttl_seconds)
    }
}

/// Revokes a lease. Its keys are deleted in one revision. etcd's `LeaseRevokeRequest`.
///
/// Build it with [`LeaseRevoke::new`]; fields may be added in a minor version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[must_use = "a request does nothing until it is run"]
#[non_exhaustive]
pub struct LeaseRevoke {
    /// The id of the lease.
    pub id: LeaseId,
}

impl LeaseRevoke {
    /// Revokes the lease `id`.
    pub fn new(id: LeaseId) -> LeaseRevoke {
        LeaseRevoke { id }
    }
}

impl From<LeaseId> for LeaseRevoke {
    fn from(id: LeaseId) -> LeaseRevoke {
        LeaseRevoke::new(id)
    }
}

/// The response to a [`LeaseGrant`].
///
/// Fields may be added in a minor version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct LeaseGrantResponse {
    /// The store's revision: granting does not change it.
    pub revision: Revision,
    /// The id of the lease.
    pub id: LeaseId,
    /// The granted TTL.
    pub ttl_seconds: i64,
}

/// The response to a [`LeaseRevoke`].
///
/// Fields may be added in a minor version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct LeaseRevokeResponse {
    /// The store's revision afterwards; unchanged if the lease had no keys.
    pub revision: Revision,
}

/// The response of [`crate::Db::lease_keep_alive`].
///
/// Fields may be added in a minor version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct LeaseKeepAliveResponse {
    /// The id of the lease.
    pub id: LeaseId,
    /// The TTL after the renewal; 0 if the lease does not exist or has expired.
    pub ttl_seconds: i64,
}

/// Reads the remaining time of a lease. etcd's `LeaseTimeToLiveRequest`.
///
/// Build it with [`LeaseTimeToLive::new`] and its methods; fields may be added in a minor version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[must_use = "a request does nothing until it is run"]
#[non_exhaustive]
pub struct LeaseTimeToLive {
    /// The id of the lease.
    pub id: LeaseId,
    /// Also return the attached keys.
    pub keys: bool,
}

impl LeaseTimeToLive {
    /// Reads the remaining time of the lease `id`.
    pub fn new(id: LeaseId) -> LeaseTimeToLive {
        LeaseTimeToLive { id, keys: false }
    }

    /// Also returns the attached keys.
    pub fn keys(mut self, keys: bool) -> LeaseTimeToLive {
        self.keys = keys;
        self
    }
}

impl From<LeaseId> for LeaseTimeToLive {
    fn from(id: LeaseId) -> LeaseTimeToLive {
        LeaseTimeToLive::new(id)
    }
}

/// The response to a [`LeaseTimeToLive`].
///
/// Fields may be added in a minor version.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct LeaseTimeToLiveResponse {
    /// The id of the lease.
    pub id: LeaseId,
    /// The remaining time in whole seconds, rounded down; -1 if the lease does not exist.
    pub ttl_seconds: i64,
    /// The granted TTL; 0 if the lease does not exist.
    pub granted_ttl_seconds: i64,
    /// The attached keys in ascending order, if they were requested.
    pub keys: Vec<Vec<u8>>,
}
