//! The buckets of a snapshot, and the bytes of their entries. Numbers are big endian.

use libkv::engine::LogRecord;
use libkv::{Code, Error, Event, EventKind, KeyValue, LeaseId, Result, Revision, Role, User};
use prost::Message;

use crate::pb::{authpb, mvccpb};
use crate::permission::{permission_in, permission_out};

/// Names of buckets.
pub mod bucket {
    pub const ALARM: &str = "alarm";
    pub const AUTH: &str = "auth";
    pub const AUTH_ROLES: &str = "authRoles";
    pub const AUTH_USERS: &str = "authUsers";
    pub const CLUSTER: &str = "cluster";
    pub const KEY: &str = "key";
    pub const LEASE: &str = "lease";
    pub const MEMBERS: &str = "members";
    pub const MEMBERS_REMOVED: &str = "members_removed";
    pub const META: &str = "meta";
}

/// Names in the bucket `auth`.
pub mod auth {
    /// One byte, 0 or 1.
    pub const ENABLED: &[u8] = b"authEnabled";
    pub const REVISION: &[u8] = b"authRevision";
}

/// Names in the bucket `meta`.
pub mod meta {
    pub const CONSISTENT_INDEX: &[u8] = b"consistent_index";
    /// The compaction that was finished, as the key of a record (revision, 0).
    pub const FINISHED_COMPACTION: &[u8] = b"finishedCompactRev";
    /// The compaction that was begun, likewise.
    pub const SCHEDULED_COMPACTION: &[u8] = b"scheduledCompactRev";
    pub const TERM: &[u8] = b"term";
}

/// The SHA-256 at the end of a file.
pub const HASH_BYTES: u64 = 32;
/// The length of a database is a multiple of this. So a file of another length has a hash.
pub const SECTOR_BYTES: u64 = 512;

const RECORD_KEY_BYTES: usize = 17;

/// A lease, as etcd stores it.
#[derive(Clone, PartialEq, Message)]
pub struct LeaseEntry {
    #[prost(int64, tag = "1")]
    pub id: LeaseId,
    #[prost(int64, tag = "2")]
    pub ttl: i64,
    #[prost(int64, tag = "3")]
    pub remaining_ttl: i64,
}

/// A user, as etcd stores it.
#[derive(Clone, PartialEq, Message)]
pub struct UserEntry {
    #[prost(string, tag = "1")]
    pub name: String,
    /// The bcrypt hash of the password; empty if there is none.
    #[prost(string, tag = "2")]
    pub hash: String,
    #[prost(string, repeated, tag = "3")]
    pub roles: Vec<String>,
    #[prost(message, optional, tag = "4")]
    pub options: Option<authpb::UserAddOptions>,
}

/// A role, as etcd stores it.
#[derive(Clone, PartialEq, Message)]
pub struct RoleEntry {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, repeated, tag = "2")]
    pub permissions: Vec<authpb::Permission>,
}

fn damaged(message: impl std::fmt::Display) -> Error {
    Error::new(Code::Corrupt, format!("damaged snapshot: {message}"))
}

/// The key of a record: revision, `_`, number in the revision, and `t` for a deletion.
pub fn record_key(revision: Revision, sub: u32, is_tombstone: bool) -> Vec<u8> {
    let mut key = revision.to_be_bytes().to_vec();
    key.push(b'_');
    key.extend(i64::from(sub).to_be_bytes());
    if is_tombstone {
        key.push(b't');
    }
    key
}

/// The revision of a record key, its number in the revision, and whether it is a deletion.
pub fn parse_record_key(key: &[u8]) -> Result<(Revision, u32, bool)> {
    let parse = || {
        let main = i64::from_be_bytes(key.get(..8)?.try_into().ok()?);
        let sub = i64::from_be_bytes(key.get(9..RECORD_KEY_BYTES)?.try_into().ok()?);
        let is_tombstone = match key.get(RECORD_KEY_BYTES..)? {
            [] => false,
            [b't'] => true,
            _ => return None,
        };
        let is_valid = main >= 0 && key[8] == b'_';
        is_valid.then_some((main, u32::try_from(sub).ok()?, is_tombstone))
    };
    parse().ok_or_else(|| {
        damaged(format_args!(
            "the bucket `key` has a record with the key \"{}\", which is not a revision",
            key.escape_ascii()
        ))
    })
}

/// An entry of the bucket `key`. `None` for an entry without an event, which only raises the
/// revision: `etcdutl snapshot restore --bump-revision` writes one.
pub fn parse_record(key: &[u8], value: &[u8]) -> Result<(Revision, Option<LogRecord>)> {
    let (revision, sub, is_tombstone) = parse_record_key(key)?;
    let kv = mvccpb::KeyValue::decode(value).map_err(|error| {
        damaged(format_args!(
            "record {sub} of revision {revision} cannot be read: {error}"
        ))
    })?;
    if value.is_empty() {
        return Ok((revision, None));
    }
    let kv = match is_tombstone {
        true => KeyValue {
            key: kv.key,
            mod_revision: revision,
            ..KeyValue::default()
        },
        false => KeyValue {
            key: kv.key,
            value: kv.value,
            create_revision: kv.create_revision,
            mod_revision: kv.mod_revision,
            version: kv.version,
            lease: kv.lease,
        },
    };
    let kind = match is_tombstone {
        true => EventKind::Delete,
        false => EventKind::Put,
    };
    let event = Event {
        kind,
        kv,
        prev_kv: None,
    };
    let record = LogRecord {
        revision,
        sub,
        event,
    };
    Ok((revision, Some(record)))
}

/// The key and the value of an event in the bucket `key`.
pub fn encode_record(record: &LogRecord) -> (Vec<u8>, Vec<u8>) {
    let kv = &record.event.kv;
    let is_tombstone = record.event.kind == EventKind::Delete;
    let value = match is_tombstone {
        true => mvccpb::KeyValue {
            key: kv.key.clone(),
            ..mvccpb::KeyValue::default()
        },
        false => mvccpb::KeyValue {
            key: kv.key.clone(),
            create_revision: kv.create_revision,
            mod_revision: kv.mod_revision,
            version: kv.version,
            value: kv.value.clone(),
            lease: kv.lease,
        },
    };
    let key = record_key(record.revision, record.sub, is_tombstone);
    (key, value.encode_to_vec())
}

/// The revision of a compaction in the bucket `meta`.
pub fn parse_compaction(value: &[u8]) -> Result<Revision> {
    parse_record_key(value).map(|(revision, ..)| revision)
}

/// The revision of users and roles in the bucket `auth`; 1 at least.
pub fn parse_auth_revision(value: &[u8]) -> Result<u64> {
    match value.try_into().map(u64::from_be_bytes) {
        // a store keeps one bit beside it
        Ok(revision) if revision < u64::MAX / 4 => Ok(revision.max(1)),
        _ => Err(damaged("the revision of users and roles cannot be read")),
    }
}

/// An entry of the bucket `lease`.
pub fn parse_lease(key: &[u8], value: &[u8]) -> Result<LeaseEntry> {
    let id = key.try_into().map(i64::from_be_bytes).ok();
    let entry = LeaseEntry::decode(value).ok();
    match (id, entry) {
        (Some(id), Some(entry)) if entry.id == id => Ok(entry),
        _ => Err(damaged(format_args!(
            "the lease \"{}\" cannot be read",
            key.escape_ascii()
        ))),
    }
}

/// An entry of the bucket `authUsers`.
pub fn parse_user(key: &[u8], value: &[u8]) -> Result<User> {
    match UserEntry::decode(value) {
        Ok(entry) if entry.name.as_bytes() == key => {
            let mut user = User::new(entry.name);
            user.hash = entry.hash;
            user.no_password = entry.options.is_some_and(|options| options.no_password);
            user.roles = entry.roles;
            user.roles.sort();
            Ok(user)
        }
        _ => Err(damaged(format_args!(
            "the user \"{}\" cannot be read",
            key.escape_ascii()
        ))),
    }
}

/// The value of a user in the bucket `authUsers`.
pub fn encode_user(user: User) -> Vec<u8> {
    let entry = UserEntry {
        name: user.name,
        hash: user.hash,
        roles: user.roles,
        options: Some(authpb::UserAddOptions {
            no_password: user.no_password,
        }),
    };
    entry.encode_to_vec()
}

/// An entry of the bucket `authRoles`. Permissions of a type that does not exist are left out: they
/// permit nothing.
pub fn parse_role(key: &[u8], value: &[u8]) -> Result<Role> {
    match RoleEntry::decode(value) {
        Ok(entry) if entry.name.as_bytes() == key => {
            let mut role = Role::new(entry.name);
            let permissions = entry.permissions.into_iter();
            role.permissions = permissions
                .filter_map(|permission| permission_in(permission).ok())
                .collect();
            role.permissions
                .sort_by(|a, b| a.range.key.cmp(&b.range.key));
            Ok(role)
        }
        _ => Err(damaged(format_args!(
            "the role \"{}\" cannot be read",
            key.escape_ascii()
        ))),
    }
}

/// The value of a role in the bucket `authRoles`.
pub fn encode_role(role: Role) -> Vec<u8> {
    let entry = RoleEntry {
        name: role.name,
        permissions: role.permissions.into_iter().map(permission_out).collect(),
    };
    entry.encode_to_vec()
}
