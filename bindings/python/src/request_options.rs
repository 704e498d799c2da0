// Generated, do not edit: change bindings/vocabulary/vocabulary.toml and run `cargo vocabulary`.

//! The options of requests: their names, how each is read, and those that a request has.

use pyo3::prelude::*;

use crate::arguments::Arguments;
use crate::convert::{durability, flag, int, one_of};
use crate::words::{SORT_ORDERS, SORT_TARGETS};

/// The keywords of a put.
pub const PUT_OPTIONS: &[&str] = &[
    "lease",
    "prev_kv",
    "ignore_value",
    "ignore_lease",
    "durability",
];

/// Sets an option of a put; returns whether it is one.
pub fn set_put(request: &mut libkv::Put, name: &str, given: &Bound<'_, PyAny>) -> PyResult<bool> {
    match name {
        "lease" => request.lease = int(name, given)?,
        "prev_kv" => request.prev_kv = flag(name, given)?,
        "ignore_value" => request.ignore_value = flag(name, given)?,
        "ignore_lease" => request.ignore_lease = flag(name, given)?,
        "durability" => request.durability = durability(given)?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// What the options of a put do, for docstrings.
macro_rules! put_docs {
    () => {
        concat!(
            "lease: The lease to attach the key to; 0: none.\n",
            "prev_kv: Return the previous pair.\n",
            "ignore_value: Keep the current value; the key must exist.\n",
            "ignore_lease: Keep the current lease; the key must exist.\n",
            "durability: The durability of this write; the default is the handle's. No effect inside a txn.\n",
        )
    };
}
pub(crate) use put_docs;

/// Adds the options of a put that are not at their defaults.
pub fn put_arguments<'py>(
    arguments: Arguments<'py>,
    request: &libkv::Put,
) -> PyResult<Arguments<'py>> {
    arguments
        .int("lease", request.lease)?
        .flag("prev_kv", request.prev_kv)?
        .flag("ignore_value", request.ignore_value)?
        .flag("ignore_lease", request.ignore_lease)?
        .durability(request.durability)
}

/// The keywords of a delete.
pub const DELETE_OPTIONS: &[&str] = &["prefix", "start", "end", "prev_kv", "durability"];

/// Sets an option of a delete; returns whether it is one.
pub fn set_delete(
    request: &mut libkv::Delete,
    name: &str,
    given: &Bound<'_, PyAny>,
) -> PyResult<bool> {
    match name {
        "prev_kv" => request.prev_kv = flag(name, given)?,
        "durability" => request.durability = durability(given)?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// What the options of a delete do, for docstrings.
macro_rules! delete_docs {
    () => {
        concat!(
            "prev_kv: Return the deleted pairs.\n",
            "durability: The durability of this write; the default is the handle's. No effect inside a txn.\n",
        )
    };
}
pub(crate) use delete_docs;

/// Adds the options of a delete that are not at their defaults.
pub fn delete_arguments<'py>(
    arguments: Arguments<'py>,
    request: &libkv::Delete,
) -> PyResult<Arguments<'py>> {
    arguments
        .flag("prev_kv", request.prev_kv)?
        .durability(request.durability)
}

/// The keywords of a range.
pub const RANGE_OPTIONS: &[&str] = &[
    "prefix",
    "start",
    "end",
    "revision",
    "limit",
    "sort_order",
    "sort_target",
    "keys_only",
    "count_only",
    "min_mod_revision",
    "max_mod_revision",
    "min_create_revision",
    "max_create_revision",
    "serializable",
];

/// Sets an option of a range; returns whether it is one.
pub fn set_range(
    request: &mut libkv::Range,
    name: &str,
    given: &Bound<'_, PyAny>,
) -> PyResult<bool> {
    match name {
        "revision" => request.revision = int(name, given)?,
        "limit" => request.limit = int(name, given)?,
        "sort_order" => request.sort_order = one_of(name, given, &SORT_ORDERS)?,
        "sort_target" => request.sort_target = one_of(name, given, &SORT_TARGETS)?,
        "keys_only" => request.keys_only = flag(name, given)?,
        "count_only" => request.count_only = flag(name, given)?,
        "min_mod_revision" => request.min_mod_revision = int(name, given)?,
        "max_mod_revision" => request.max_mod_revision = int(name, given)?,
        "min_create_revision" => request.min_create_revision = int(name, given)?,
        "max_create_revision" => request.max_create_revision = int(name, given)?,
        "serializable" => request.serializable = flag(name, given)?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// What the options of a range do, for docstrings.
macro_rules! range_docs {
    () => {
        concat!(
            "revision: The revision to read; 0 or negative: the current one.\n",
            "limit: The maximum number of pairs, after filters and sorting; 0 or negative: all.\n",
            "sort_order: The sort order; the default is key order, or ascending for another target.\n",
            "sort_target: The field to sort by; the default is the key.\n",
            "keys_only: Omit the values.\n",
            "count_only: Return only the count. Limit and filters have no effect.\n",
            "min_mod_revision: Only pairs with mod_revision >= this; 0 is off.\n",
            "max_mod_revision: Only pairs with mod_revision <= this; 0 is off.\n",
            "min_create_revision: Only pairs with create_revision >= this; 0 is off.\n",
            "max_create_revision: Only pairs with create_revision <= this; 0 is off.\n",
            "serializable: Allow a cluster's member to return data that may be stale.\n",
        )
    };
}
pub(crate) use range_docs;

/// Adds the options of a range that are not at their defaults.
pub fn range_arguments<'py>(
    arguments: Arguments<'py>,
    request: &libkv::Range,
) -> PyResult<Arguments<'py>> {
    arguments
        .int("revision", request.revision)?
        .int("limit", request.limit)?
        .one_of("sort_order", &request.sort_order, &SORT_ORDERS)?
        .one_of("sort_target", &request.sort_target, &SORT_TARGETS)?
        .flag("keys_only", request.keys_only)?
        .flag("count_only", request.count_only)?
        .int("min_mod_revision", request.min_mod_revision)?
        .int("max_mod_revision", request.max_mod_revision)?
        .int("min_create_revision", request.min_create_revision)?
        .int("max_create_revision", request.max_create_revision)?
        .flag("serializable", request.serializable)
}

/// The keywords of a watch.
pub const WATCH_OPTIONS: &[&str] = &[
    "prefix",
    "start",
    "end",
    "start_revision",
    "prev_kv",
    "no_put",
    "no_delete",
    "progress",
];

/// Sets an option of a watch; returns whether it is one.
pub fn set_watch(
    request: &mut libkv::Watch,
    name: &str,
    given: &Bound<'_, PyAny>,
) -> PyResult<bool> {
    match name {
        "start_revision" => request.start_revision = int(name, given)?,
        "prev_kv" => request.prev_kv = flag(name, given)?,
        "no_put" => request.no_put = flag(name, given)?,
        "no_delete" => request.no_delete = flag(name, given)?,
        "progress" => request.progress = flag(name, given)?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// What the options of a watch do, for docstrings.
macro_rules! watch_docs {
    () => {
        concat!(
            "start_revision: The first revision to deliver; 0: only events after this call. It may be in the future.\n",
            "prev_kv: Return the previous pair with each event.\n",
            "no_put: Omit puts.\n",
            "no_delete: Omit deletions.\n",
            "progress: After ten minutes without an event, deliver a batch without events whose revision shows\n    the progress.\n",
        )
    };
}
pub(crate) use watch_docs;

/// The keywords of open().
pub const OPEN_OPTIONS: &[&str] = &[
    "create",
    "read_only",
    "durability",
    "busy_timeout_ms",
    "max_bytes",
    "max_request_bytes",
    "max_txn_ops",
    "limits",
    "lease_ttl_min_seconds",
    "auto_compaction",
    "max_readers",
    "mode",
    "clock",
    "allow_network_fs",
    "tls_ca",
    "tls_cert",
    "tls_key",
    "tls_server_name",
    "user",
    "password",
    "connect_timeout_ms",
    "request_timeout_ms",
    "keep_alive_ms",
];

/// The keywords of serve().
pub const SERVE_OPTIONS: &[&str] = &[
    "cert_file",
    "key_file",
    "trusted_ca_file",
    "client_cert_auth",
    "max_request_bytes",
    "max_txn_ops",
    "auth_token",
    "auth_token_ttl_seconds",
    "bcrypt_cost",
];
