//! One caller at one moment: what it may do.
//!
//! Rights are checked before a request runs. A write is refused by the store if users, roles or
//! permissions have changed since then, and a read is checked again after it, so no request is
//! served by rights that are over.
//!
//! The keys of a lease are read before the request that needs them. A key that is attached in
//! between is not checked; its writer had the right to write to all keys of the lease.

use std::sync::Arc;

use libkv::{
    AlarmAction, AuthStamp, Code, Compare, Db, Delete, KeyRange, LeaseId, LeaseTimeToLive, Op, Put,
    Request, Txn,
};
use tonic::Status;

use super::rights::{Rights, UserRights};
use crate::convert::refusal;

/// A caller whose token or certificate was verified, and the rights at that moment.
pub(crate) struct CallerRights {
    pub(super) stamp: AuthStamp,
    pub(super) who: Who,
}

pub(super) enum Who {
    /// Authentication is off.
    Everyone,
    /// Neither a token nor a certificate, or a certificate without a name.
    Nobody { has_certificate: bool },
    /// A user, which may not exist any more.
    User { name: Arc<str>, rights: Arc<Rights> },
}

/// No token where one is needed.
pub(super) fn no_user() -> Status {
    Status::invalid_argument("etcdserver: user name is empty")
}

pub(super) fn denied() -> Status {
    Status::permission_denied("etcdserver: permission denied")
}

impl CallerRights {
    /// Whether authentication is on.
    pub fn are_checked(&self) -> bool {
        !matches!(self.who, Who::Everyone)
    }

    /// The state of users, roles and permissions that it belongs to.
    pub fn stamp(&self) -> AuthStamp {
        self.stamp
    }

    /// The user's name, if there is a user.
    pub fn name(&self) -> Option<&str> {
        match &self.who {
            Who::User { name, .. } => Some(name),
            _ => None,
        }
    }

    /// The rights of the user. `None`: everything is permitted.
    fn user(&self) -> Result<Option<&UserRights>, Status> {
        match &self.who {
            Who::Everyone => Ok(None),
            Who::Nobody {
                has_certificate: false,
            } => Err(no_user()),
            Who::Nobody { .. } => Err(denied()),
            Who::User { name, rights } => rights.user(name).map(Some).ok_or_else(denied),
        }
    }

    /// Refuses callers without a user.
    pub fn any_user(&self) -> Result<(), Status> {
        match &self.who {
            Who::Nobody { .. } => Err(no_user()),
            _ => self.user().map(drop),
        }
    }

    /// Refuses callers without the role root.
    pub fn root(&self) -> Result<(), Status> {
        match &self.who {
            Who::Nobody { .. } => Err(no_user()),
            Who::User { name, rights } if rights.user(name).is_none() => Err(
                Status::failed_precondition("etcdserver: user name not found"),
            ),
            _ => match self.user()? {
                Some(user) if !user.is_root => Err(denied()),
                _ => Ok(()),
            },
        }
    }

    /// Whether the user has this role.
    pub fn has_role(&self, role: &str) -> bool {
        match self.user() {
            Ok(Some(user)) => user.is_root || user.roles.iter().any(|has| has == role),
            Ok(None) => true,
            Err(_) => false,
        }
    }

    /// Refuses callers that may not read all keys of the range.
    pub fn read(&self, range: &KeyRange) -> Result<(), Status> {
        match self.user()? {
            Some(user) if !user.is_root && !user.read.cover(range) => Err(denied()),
            _ => Ok(()),
        }
    }

    /// Refuses callers that may not write all keys of the range.
    pub fn write(&self, range: &KeyRange) -> Result<(), Status> {
        match self.user()? {
            Some(user) if !user.is_root && !user.write.cover(range) => Err(denied()),
            _ => Ok(()),
        }
    }

    /// Refuses callers that may not read each key of a lease. A lease that does not exist has none.
    pub fn read_lease(&self, db: &Db, id: LeaseId) -> Result<(), Status> {
        self.lease_keys(db, id)?
            .into_iter()
            .try_for_each(|key| self.read(&KeyRange::key(key)))
    }

    /// Refuses callers that may not write each key of a lease. A lease that does not exist has none.
    pub fn write_lease(&self, db: &Db, id: LeaseId) -> Result<(), Status> {
        self.lease_keys(db, id)?
            .into_iter()
            .try_for_each(|key| self.write(&KeyRange::key(key)))
    }

    fn lease_keys(&self, db: &Db, id: LeaseId) -> Result<Vec<Vec<u8>>, Status> {
        if !self.are_checked() || id == 0 {
            return Ok(Vec::new());
        }
        let lease = LeaseTimeToLive::new(id).keys(true);
        match db.lease_time_to_live(lease) {
            Ok(lease) => Ok(lease.keys.into_iter().map(|key| key.to_vec()).collect()),
            Err(error) if error.code() == Code::LeaseNotFound => Ok(Vec::new()),
            Err(error) => Err(refusal(error)),
        }
    }

    /// Refuses a request that the caller has no right to.
    pub fn request(&self, db: &Db, request: &Request) -> Result<(), Status> {
        match request {
            _ if !self.are_checked() => Ok(()),
            Request::Range(range) => self.read(&range.range),
            Request::Put(put) => self.put(db, put),
            Request::Delete(delete) => self.delete(delete),
            Request::Txn(txn) => self.txn(db, txn),
            Request::LeaseGrant(_) => self.any_user(),
            Request::LeaseRevoke(revoke) => {
                self.any_user()?;
                self.write_lease(db, revoke.id)
            }
            Request::Alarm(alarm) if alarm.action == AlarmAction::Get => self.any_user(),
            _ => self.root(),
        }
    }

    fn put(&self, db: &Db, put: &Put) -> Result<(), Status> {
        let key = KeyRange::key(put.key.to_vec());
        self.write(&key)?;
        if put.prev_kv {
            self.read(&key)?;
        }
        self.write_lease(db, put.lease)
    }

    fn delete(&self, delete: &Delete) -> Result<(), Status> {
        self.write(&delete.range)?;
        match delete.prev_kv {
            true => self.read(&delete.range),
            false => Ok(()),
        }
    }

    /// Every compare and every operation of both lists, also of nested txns.
    fn txn(&self, db: &Db, txn: &Txn) -> Result<(), Status> {
        txn.compare
            .iter()
            .try_for_each(|compare: &Compare| self.read(&compare.range))?;
        txn.success
            .iter()
            .chain(&txn.failure)
            .try_for_each(|op| match op {
                Op::Range(range) => self.read(&range.range),
                Op::Put(put) => self.put(db, put),
                Op::Delete(delete) => self.delete(delete),
                Op::Txn(txn) => self.txn(db, txn),
            })
    }
}
