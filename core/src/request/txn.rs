//! Txns: conditions and operations.

use super::delete::{Delete, DeleteResponse};
use super::durability::Durability;
use super::put::{Put, PutResponse};
use super::range::{Range, RangeResponse};
use crate::model::{KeyRange, LeaseId, Revision, Version};

/// The comparison operator of a [`Compare`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CompareResult {
    /// `==`
    Equal,
    /// `>`
    Greater,
    /// `<`
    Less,
    /// `!=`
    NotEqual,
}

/// The field that a [`Compare`] reads and the value to compare it with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Operand {
    /// The version; a missing key has 0.
    Version(Version),
    /// The create revision; a missing key has 0.
    CreateRevision(Revision),
    /// The mod revision; a missing key has 0.
    ModRevision(Revision),
    /// The value; on a missing key every comparison is false, `!=` too.
    Value(Vec<u8>),
    /// The lease; a missing key has 0.
    Lease(LeaseId),
}

/// A condition of a [`Txn`] on a key, or on every key of a range.
///
/// Build it with [`Compare::version`] and the like, or [`Compare::new`]; fields may be added in a
/// minor version.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[must_use = "a condition does nothing until it is added to a txn"]
#[non_exhaustive]
pub struct Compare {
    /// The key, or the range in which every key must satisfy the condition.
    pub range: KeyRange,
    /// The comparison operator.
    pub result: CompareResult,
    /// The field to compare and the value to compare it with.
    pub operand: Operand,
}

impl Compare {
    /// Compares the field that `operand` names with its value.
    pub fn new(range: impl Into<KeyRange>, result: CompareResult, operand: Operand) -> Compare {
        Compare {
            range: range.into(),
            result,
            operand,
        }
    }

    /// Compares the key's version with `version`; a missing key has version 0.
    pub fn version(range: impl Into<KeyRange>, result: CompareResult, version: Version) -> Compare {
        Compare::new(range, result, Operand::Version(version))
    }

    /// Compares the key's `create_revision` with `revision`.
    pub fn create_revision(
        range: impl Into<KeyRange>,
        result: CompareResult,
        revision: Revision,
    ) -> Compare {
        Compare::new(range, result, Operand::CreateRevision(revision))
    }

    /// Compares the key's `mod_revision` with `revision`.
    pub fn mod_revision(
        range: impl Into<KeyRange>,
        result: CompareResult,
        revision: Revision,
    ) -> Compare {
        Compare::new(range, result, Operand::ModRevision(revision))
    }

    /// Compares the key's value with `value`, bytewise; false for a missing key.
    pub fn value(
        range: impl Into<KeyRange>,
        result: CompareResult,
        value: impl Into<Vec<u8>>,
    ) -> Compare {
        Compare::new(range, result, Operand::Value(value.into()))
    }

    /// Compares the key's lease with `lease`.
    pub fn lease(range: impl Into<KeyRange>, result: CompareResult, lease: LeaseId) -> Compare {
        Compare::new(range, result, Operand::Lease(lease))
    }
}

/// One operation of a [`Txn`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// A read; its result includes the effects of earlier operations of the txn.
    Range(Range),
    /// A put.
    Put(Put),
    /// A deletion.
    Delete(Delete),
    /// A nested txn. Its compares are evaluated before anything runs, like all others.
    Txn(Txn),
}

macro_rules! into_op {
    ($($type:ident),*) => { $(
        impl From<$type> for Op {
            fn from(request: $type) -> Op {
                Op::$type(request)
            }
        }
    )* };
}

into_op!(Range, Put, Delete, Txn);

/// Evaluates compares, then runs one of two lists of operations, all in one revision. etcd's
/// `TxnRequest`.
///
/// Build it with [`Txn::new`] and its methods; fields may be added in a minor version.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[must_use = "a request does nothing until it is run"]
#[non_exhaustive]
pub struct Txn {
    /// The conditions. All must hold; an empty list holds.
    pub compare: Vec<Compare>,
    /// The operations that run if all conditions hold.
    pub success: Vec<Op>,
    /// The operations that run if a condition does not hold.
    pub failure: Vec<Op>,
    /// The durability of this write; `None` uses the handle's. No effect in a nested txn.
    pub durability: Option<Durability>,
}

impl Txn {
    /// An empty txn.
    pub fn new() -> Txn {
        Txn::default()
    }

    /// Adds a condition.
    pub fn when(mut self, compare: Compare) -> Txn {
        self.compare.push(compare);
        self
    }

    /// Adds conditions.
    pub fn when_all(mut self, compares: impl IntoIterator<Item = Compare>) -> Txn {
        self.compare.extend(compares);
        self
    }

    /// Adds an operation for the case that all conditions hold.
    pub fn and_then(mut self, op: impl Into<Op>) -> Txn {
        self.success.push(op.into());
        self
    }

    /// Adds operations for the case that all conditions hold.
    ///
    /// ```
    /// use libkv::{Db, Options, Put, Txn};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// let puts = (0..10).map(|n| Put::new(format!("key/{n}"), "x"));
    /// assert_eq!(db.txn(Txn::new().and_then_all(puts))?.responses.len(), 10);
    /// # Ok::<(), libkv::Error>(())
    /// ```
    pub fn and_then_all<O: Into<Op>>(mut self, ops: impl IntoIterator<Item = O>) -> Txn {
        self.success.extend(ops.into_iter().map(Into::into));
        self
    }

    /// Adds an operation for the case that a condition does not hold.
    pub fn or_else(mut self, op: impl Into<Op>) -> Txn {
        self.failure.push(op.into());
        self
    }

    /// Adds operations for the case that a condition does not hold.
    pub fn or_else_all<O: Into<Op>>(mut self, ops: impl IntoIterator<Item = O>) -> Txn {
        self.failure.extend(ops.into_iter().map(Into::into));
        self
    }

    /// Uses this durability instead of the handle's.
    pub fn durability(mut self, durability: impl Into<Option<Durability>>) -> Txn {
        self.durability = durability.into();
        self
    }

    /// Whether neither branch can write. Such a txn needs no write lock.
    pub fn is_read_only(&self) -> bool {
        self.success
            .iter()
            .chain(&self.failure)
            .all(|op| matches!(op, Op::Range(_)))
    }
}

/// The response to one operation of a [`Txn`].
///
/// `revision` inside it is the store's revision at that point. For a put it is the new revision of
/// the txn. For a range or delete it is the new one if an earlier operation wrote something,
/// otherwise the old one. For a nested txn it is 0, as in etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum OpResponse {
    /// The response to [`Op::Range`].
    Range(RangeResponse),
    /// The response to [`Op::Put`].
    Put(PutResponse),
    /// The response to [`Op::Delete`].
    Delete(DeleteResponse),
    /// The response to [`Op::Txn`].
    Txn(TxnResponse),
}

/// The response to a [`Txn`].
///
/// Fields may be added in a minor version.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct TxnResponse {
    /// Whether the conditions held, which selects the list that ran.
    pub succeeded: bool,
    /// The store's revision afterwards.
    pub revision: Revision,
    /// The responses of the operations that ran, in order.
    pub responses: Vec<OpResponse>,
}
