//! Writing one key.

use super::durability::Durability;
use crate::model::{KeyValue, LeaseId, Revision};

impl Durability {
    /// The name in other languages: `none`, `lazy`, `sync`.
    pub fn name(self) -> &'static str {
        match self {
            Durability::None => "none",
            Durability::Lazy => "lazy",
            Durability::Sync => "sync",
        }
    }
}

/// Writes one key. etcd's `PutRequest`.
///
/// Build it with [`Put::new`] and its methods; fields may be added in a minor version.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[must_use = "a request does nothing until it is run"]
#[non_exhaustive]
pub struct Put {
    /// The key, 1 to [`KEY_BYTES_MAX`](crate::KEY_BYTES_MAX) bytes.
    pub key: Vec<u8>,
    /// The value; empty is a value. Must be empty with `ignore_value`.
    pub value: Vec<u8>,
    /// The lease to attach the key to; 0 detaches it. Must be 0 with `ignore_lease`.
    pub lease: LeaseId,
    /// Return the previous pair.
    pub prev_kv: bool,
    /// Keep the current value; the key must exist.
    pub ignore_value: bool,
    /// Keep the current lease; the key must exist.
    pub ignore_lease: bool,
    /// The durability of this write; `None` uses the handle's. No effect inside a txn.
    pub durability: Option<Durability>,
}

impl Put {
    /// Writes `value` under `key`, with no lease.
    pub fn new(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Put {
        Put {
            key: key.into(),
            value: value.into(),
            ..Put::default()
        }
    }

    /// Attaches the key to this lease.
    pub fn lease(mut self, lease: LeaseId) -> Put {
        self.lease = lease;
        self
    }

    /// Returns the previous pair.
    pub fn prev_kv(mut self, prev_kv: bool) -> Put {
        self.prev_kv = prev_kv;
        self
    }

    /// Keeps the current value of the key.
    pub fn ignore_value(mut self, ignore_value: bool) -> Put {
        self.ignore_value = ignore_value;
        self
    }

    /// Keeps the current lease of the key.
    pub fn ignore_lease(mut self, ignore_lease: bool) -> Put {
        self.ignore_lease = ignore_lease;
        self
    }

    /// Uses this durability instead of the handle's.
    pub fn durability(mut self, durability: impl Into<Option<Durability>>) -> Put {
        self.durability = durability.into();
        self
    }
}

/// The response to a [`Put`].
///
/// Fields may be added in a minor version.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct PutResponse {
    /// The store's revision after the put.
    pub revision: Revision,
    /// The previous pair, if it was requested and the key existed.
    pub prev_kv: Option<KeyValue>,
}
