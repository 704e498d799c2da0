// Generated, do not edit: change bindings/vocabulary/vocabulary.toml and run `cargo vocabulary`.

//! The words that arguments take, and the values that they mean.

use libkv::*;

pub const DURABILITIES: [(&str, Durability); 3] = [
    ("sync", Durability::Sync),
    ("lazy", Durability::Lazy),
    ("none", Durability::None),
];

pub const LIMITS: [(&str, LimitsPreset); 1] = [("etcd", LimitsPreset::Etcd)];

pub const SORT_ORDERS: [(&str, SortOrder); 3] = [
    ("none", SortOrder::None),
    ("ascend", SortOrder::Ascend),
    ("descend", SortOrder::Descend),
];

pub const SORT_TARGETS: [(&str, SortTarget); 5] = [
    ("key", SortTarget::Key),
    ("version", SortTarget::Version),
    ("create", SortTarget::Create),
    ("mod", SortTarget::Mod),
    ("value", SortTarget::Value),
];

pub const COMPARE_RESULTS: [(&str, CompareResult); 4] = [
    ("==", CompareResult::Equal),
    (">", CompareResult::Greater),
    ("<", CompareResult::Less),
    ("!=", CompareResult::NotEqual),
];

pub const ALARM_KINDS: [(&str, AlarmKind); 2] = [
    ("nospace", AlarmKind::NoSpace),
    ("corrupt", AlarmKind::Corrupt),
];

pub const PERMISSION_TYPES: [(&str, PermissionType); 3] = [
    ("read", PermissionType::Read),
    ("write", PermissionType::Write),
    ("readwrite", PermissionType::ReadWrite),
];
