// Generated, do not edit: change bindings/vocabulary/vocabulary.toml and run `cargo vocabulary`.

//! The numbers of the header's enumerations, and the types of the library for them.

use libkv::*;

/// An acknowledged write is on disk. The default.
pub const KV_DURABILITY_SYNC: i32 = 1;
/// A power cut may lose the last commits but never damages the store.
pub const KV_DURABILITY_LAZY: i32 = 2;
/// No flush. Chosen when a store is created; a power cut may destroy the store.
pub const KV_DURABILITY_NONE: i32 = 3;

/// etcd's default limits.
pub const KV_LIMITS_ETCD: i32 = 1;

/// One key.
pub const KV_RANGE_KEY: i32 = 0;
/// Every key with a prefix.
pub const KV_RANGE_PREFIX: i32 = 1;
/// The keys x with key <= x < end.
pub const KV_RANGE_BETWEEN: i32 = 2;
/// The keys x with key <= x: as --from-key of etcdctl.
pub const KV_RANGE_FROM_KEY: i32 = 3;
/// Every key.
pub const KV_RANGE_ALL: i32 = 4;

/// Key order, or ascending for another target.
pub const KV_SORT_NONE: i32 = 0;
/// Smallest first.
pub const KV_SORT_ASCEND: i32 = 1;
/// Largest first.
pub const KV_SORT_DESCEND: i32 = 2;

/// Sort by key.
pub const KV_SORT_BY_KEY: i32 = 0;
/// Sort by version.
pub const KV_SORT_BY_VERSION: i32 = 1;
/// Sort by create revision.
pub const KV_SORT_BY_CREATE: i32 = 2;
/// Sort by mod revision.
pub const KV_SORT_BY_MOD: i32 = 3;
/// Sort by value.
pub const KV_SORT_BY_VALUE: i32 = 4;

/// Compare the version.
pub const KV_TARGET_VERSION: i32 = 0;
/// Compare the create revision.
pub const KV_TARGET_CREATE_REVISION: i32 = 1;
/// Compare the mod revision.
pub const KV_TARGET_MOD_REVISION: i32 = 2;
/// Compare the value.
pub const KV_TARGET_VALUE: i32 = 3;
/// Compare the lease.
pub const KV_TARGET_LEASE: i32 = 4;

/// ==
pub const KV_EQUAL: i32 = 0;
/// >
pub const KV_GREATER: i32 = 1;
/// <
pub const KV_LESS: i32 = 2;
/// !=
pub const KV_NOT_EQUAL: i32 = 3;

/// The list of a txn that runs if all compares hold.
pub const KV_SUCCESS: i32 = 0;
/// The list that runs if at least one compare does not hold.
pub const KV_FAILURE: i32 = 1;

/// A response or operation of a txn: a range.
pub const KV_OP_RANGE: i32 = 0;
/// A put.
pub const KV_OP_PUT: i32 = 1;
/// A deletion.
pub const KV_OP_DELETE: i32 = 2;
/// A nested txn.
pub const KV_OP_TXN: i32 = 3;

/// The key was put.
pub const KV_EVENT_PUT: i32 = 0;
/// The key was deleted.
pub const KV_EVENT_DELETE: i32 = 1;

/// The quota is used up. Writes that need space fail with KV_FULL; deletions, revocations and
/// compactions still work.
pub const KV_ALARM_NOSPACE: i32 = 1;
/// The data may be damaged. Every write fails with KV_CORRUPT.
pub const KV_ALARM_CORRUPT: i32 = 2;

/// Gets, ranges and watches.
pub const KV_PERMISSION_READ: i32 = 0;
/// Puts and deletions.
pub const KV_PERMISSION_WRITE: i32 = 1;
/// Both.
pub const KV_PERMISSION_READWRITE: i32 = 2;

/// The value of a number; `None` for numbers without a meaning.
pub(crate) fn durability(number: i32) -> Option<Durability> {
    Some(match number {
        KV_DURABILITY_SYNC => Durability::Sync,
        KV_DURABILITY_LAZY => Durability::Lazy,
        KV_DURABILITY_NONE => Durability::None,
        _ => return None,
    })
}

/// The number of a value.
pub(crate) fn durability_number(value: Durability) -> i32 {
    match value {
        Durability::Sync => KV_DURABILITY_SYNC,
        Durability::Lazy => KV_DURABILITY_LAZY,
        Durability::None => KV_DURABILITY_NONE,
        _ => 0,
    }
}

/// The value of a number; `None` for numbers without a meaning.
pub(crate) fn limits(number: i32) -> Option<LimitsPreset> {
    Some(match number {
        KV_LIMITS_ETCD => LimitsPreset::Etcd,
        _ => return None,
    })
}

/// The value of a number; `None` for numbers without a meaning.
pub(crate) fn sort_order(number: i32) -> Option<SortOrder> {
    Some(match number {
        KV_SORT_NONE => SortOrder::None,
        KV_SORT_ASCEND => SortOrder::Ascend,
        KV_SORT_DESCEND => SortOrder::Descend,
        _ => return None,
    })
}

/// The value of a number; `None` for numbers without a meaning.
pub(crate) fn sort_target(number: i32) -> Option<SortTarget> {
    Some(match number {
        KV_SORT_BY_KEY => SortTarget::Key,
        KV_SORT_BY_VERSION => SortTarget::Version,
        KV_SORT_BY_CREATE => SortTarget::Create,
        KV_SORT_BY_MOD => SortTarget::Mod,
        KV_SORT_BY_VALUE => SortTarget::Value,
        _ => return None,
    })
}

/// The value of a number; `None` for numbers without a meaning.
pub(crate) fn compare_result(number: i32) -> Option<CompareResult> {
    Some(match number {
        KV_EQUAL => CompareResult::Equal,
        KV_GREATER => CompareResult::Greater,
        KV_LESS => CompareResult::Less,
        KV_NOT_EQUAL => CompareResult::NotEqual,
        _ => return None,
    })
}

/// The number of a value.
pub(crate) fn event_kind_number(value: EventKind) -> i32 {
    match value {
        EventKind::Put => KV_EVENT_PUT,
        EventKind::Delete => KV_EVENT_DELETE,
    }
}

/// The value of a number; `None` for numbers without a meaning.
pub(crate) fn alarm_kind(number: i32) -> Option<AlarmKind> {
    Some(match number {
        KV_ALARM_NOSPACE => AlarmKind::NoSpace,
        KV_ALARM_CORRUPT => AlarmKind::Corrupt,
        _ => return None,
    })
}

/// The number of a value.
pub(crate) fn alarm_kind_number(value: AlarmKind) -> i32 {
    match value {
        AlarmKind::NoSpace => KV_ALARM_NOSPACE,
        AlarmKind::Corrupt => KV_ALARM_CORRUPT,
    }
}

/// The value of a number; `None` for numbers without a meaning.
pub(crate) fn permission_type(number: i32) -> Option<PermissionType> {
    Some(match number {
        KV_PERMISSION_READ => PermissionType::Read,
        KV_PERMISSION_WRITE => PermissionType::Write,
        KV_PERMISSION_READWRITE => PermissionType::ReadWrite,
        _ => return None,
    })
}

/// The number of a value.
pub(crate) fn permission_type_number(value: PermissionType) -> i32 {
    match value {
        PermissionType::Read => KV_PERMISSION_READ,
        PermissionType::Write => KV_PERMISSION_WRITE,
        PermissionType::ReadWrite => KV_PERMISSION_READWRITE,
    }
}
