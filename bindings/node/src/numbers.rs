// Generated, do not edit: change bindings/vocabulary/vocabulary.toml and run `cargo vocabulary`.

//! The numbers that requests and responses cross with; `lib/numbers.js` has the same.

use libkv::*;

/// The kind of a request: its first byte.
pub mod kind {
    pub const GET: u8 = 0;
    pub const RANGE: u8 = 1;
    pub const PUT: u8 = 2;
    pub const DELETE: u8 = 3;
    pub const TXN: u8 = 4;
    pub const COMPACT: u8 = 5;
    pub const HISTORY: u8 = 6;
    pub const STATUS: u8 = 7;
    pub const CHECK: u8 = 8;
    pub const SNAPSHOT: u8 = 9;
    pub const SCAN: u8 = 10;
    pub const EVENTS: u8 = 11;
    pub const DIFF: u8 = 12;
    pub const LEASE_GRANT: u8 = 13;
    pub const LEASE_REVOKE: u8 = 14;
    pub const LEASE_KEEP_ALIVE: u8 = 15;
    pub const LEASE_TIME_TO_LIVE: u8 = 16;
    pub const LEASE_LIST: u8 = 17;
    pub const REVISION_AT: u8 = 18;
    pub const ALARM_LIST: u8 = 19;
    pub const ALARM_ACTIVATE: u8 = 20;
    pub const ALARM_DISARM: u8 = 21;
    pub const HASH_KV: u8 = 22;
    pub const MEMBER_LIST: u8 = 23;
    pub const MEMBER_ADD: u8 = 24;
    pub const MEMBER_REMOVE: u8 = 25;
    pub const MEMBER_UPDATE: u8 = 26;
    pub const MEMBER_PROMOTE: u8 = 27;
    pub const MOVE_LEADER: u8 = 28;
    pub const SNAPSHOT_SAVE: u8 = 29;
    pub const AUTH_ENABLE: u8 = 30;
    pub const AUTH_DISABLE: u8 = 31;
    pub const AUTH_STATUS: u8 = 32;
    pub const USER_ADD: u8 = 33;
    pub const USER_GET: u8 = 34;
    pub const USER_LIST: u8 = 35;
    pub const USER_DELETE: u8 = 36;
    pub const USER_CHANGE_PASSWORD: u8 = 37;
    pub const USER_GRANT_ROLE: u8 = 38;
    pub const USER_REVOKE_ROLE: u8 = 39;
    pub const ROLE_ADD: u8 = 40;
    pub const ROLE_GET: u8 = 41;
    pub const ROLE_LIST: u8 = 42;
    pub const ROLE_DELETE: u8 = 43;
    pub const ROLE_GRANT_PERMISSION: u8 = 44;
    pub const ROLE_REVOKE_PERMISSION: u8 = 45;
}

/// What a response begins with.
pub mod response {
    pub const ERROR: u8 = 0;
    pub const NONE: u8 = 1;
    pub const PAIR: u8 = 2;
    pub const PUT: u8 = 3;
    pub const RANGE: u8 = 4;
    pub const DELETE: u8 = 5;
    pub const TXN: u8 = 6;
    pub const COMPACT: u8 = 7;
    pub const STATUS: u8 = 8;
    pub const CHECK: u8 = 9;
    pub const EVENTS: u8 = 10;
    pub const DIFF: u8 = 11;
    pub const PAIRS: u8 = 12;
    pub const NUMBER: u8 = 13;
    pub const BATCHES: u8 = 14;
    pub const LEASE_GRANT: u8 = 15;
    pub const LEASE_REVOKE: u8 = 16;
    pub const LEASE_KEEP_ALIVE: u8 = 17;
    pub const LEASE_TIME_TO_LIVE: u8 = 18;
    pub const LEASES: u8 = 19;
    pub const LEASE: u8 = 20;
    pub const CLAIM: u8 = 21;
    pub const SERVER: u8 = 22;
    pub const ALARMS: u8 = 23;
    pub const HASH_KV: u8 = 24;
    pub const MEMBERS: u8 = 25;
    pub const AUTH_STATUS: u8 = 26;
    pub const NAMES: u8 = 27;
    pub const PERMISSIONS: u8 = 28;
}

/// The value of a number; `None` for numbers without a meaning.
pub fn durability(number: u8) -> Option<Durability> {
    Some(match number {
        1 => Durability::Sync,
        2 => Durability::Lazy,
        3 => Durability::None,
        _ => return None,
    })
}

pub mod range_kind {
    pub const KEY: u8 = 0;
    pub const PREFIX: u8 = 1;
    pub const BETWEEN: u8 = 2;
    pub const FROM_KEY: u8 = 3;
    pub const ALL: u8 = 4;
}

/// The value of a number; `None` for numbers without a meaning.
pub fn sort_order(number: u8) -> Option<SortOrder> {
    Some(match number {
        0 => SortOrder::None,
        1 => SortOrder::Ascend,
        2 => SortOrder::Descend,
        _ => return None,
    })
}

/// The value of a number; `None` for numbers without a meaning.
pub fn sort_target(number: u8) -> Option<SortTarget> {
    Some(match number {
        0 => SortTarget::Key,
        1 => SortTarget::Version,
        2 => SortTarget::Create,
        3 => SortTarget::Mod,
        4 => SortTarget::Value,
        _ => return None,
    })
}

pub mod compare_target {
    pub const VERSION: u8 = 0;
    pub const CREATE_REVISION: u8 = 1;
    pub const MOD_REVISION: u8 = 2;
    pub const VALUE: u8 = 3;
    pub const LEASE: u8 = 4;
}

/// The value of a number; `None` for numbers without a meaning.
pub fn compare_result(number: u8) -> Option<CompareResult> {
    Some(match number {
        0 => CompareResult::Equal,
        1 => CompareResult::Greater,
        2 => CompareResult::Less,
        3 => CompareResult::NotEqual,
        _ => return None,
    })
}

/// The value of a number; `None` for numbers without a meaning.
pub fn alarm_kind(number: u8) -> Option<AlarmKind> {
    Some(match number {
        1 => AlarmKind::NoSpace,
        2 => AlarmKind::Corrupt,
        _ => return None,
    })
}

/// The value of a number; `None` for numbers without a meaning.
pub fn permission_type(number: u8) -> Option<PermissionType> {
    Some(match number {
        0 => PermissionType::Read,
        1 => PermissionType::Write,
        2 => PermissionType::ReadWrite,
        _ => return None,
    })
}

/// The number of a kind of alarms.
pub fn alarm_kind_number(kind: AlarmKind) -> u8 {
    match kind {
        AlarmKind::NoSpace => 1,
        AlarmKind::Corrupt => 2,
    }
}
