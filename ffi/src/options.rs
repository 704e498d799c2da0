// Generated, do not edit: change bindings/vocabulary/vocabulary.toml and run `cargo vocabulary`.

//! The option structs of requests.
#![allow(unsafe_code)]

use libkv::*;

use crate::types::*;

/// Options of kv_put; initialise with KV_PUT_OPTIONS_INIT.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct KvPutOptions {
    /// sizeof(kv_put_options).
    pub size: usize,
    /// The lease to attach the key to; 0: none.
    pub lease: i64,
    /// KV_YES: return the previous pair.
    pub prev_kv: i32,
    /// KV_YES: keep the current value; the key must exist.
    pub ignore_value: i32,
    /// KV_YES: keep the current lease; the key must exist.
    pub ignore_lease: i32,
    /// KV_DURABILITY_…: the durability of this write; the default is the handle's. No effect inside
    /// a txn.
    pub durability: i32,
}

// SAFETY: numbers only, size first.
unsafe impl OptionStruct for KvPutOptions {
    const NAME: &'static str = "kv_put_options";
}

impl KvPutOptions {
    /// Gives the request these options.
    pub(crate) fn set(&self, request: &mut Put) -> Result<()> {
        request.lease = self.lease;
        request.prev_kv = flag_in(self.prev_kv, "prev_kv")?.unwrap_or(false);
        request.ignore_value = flag_in(self.ignore_value, "ignore_value")?.unwrap_or(false);
        request.ignore_lease = flag_in(self.ignore_lease, "ignore_lease")?.unwrap_or(false);
        request.durability = durability_in(self.durability)?;
        Ok(())
    }
}

/// Options of kv_delete; initialise with KV_DELETE_OPTIONS_INIT.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct KvDeleteOptions {
    /// sizeof(kv_delete_options).
    pub size: usize,
    /// KV_YES: return the deleted pairs.
    pub prev_kv: i32,
    /// KV_DURABILITY_…: the durability of this write; the default is the handle's. No effect inside
    /// a txn.
    pub durability: i32,
}

// SAFETY: numbers only, size first.
unsafe impl OptionStruct for KvDeleteOptions {
    const NAME: &'static str = "kv_delete_options";
}

impl KvDeleteOptions {
    /// Gives the request these options.
    pub(crate) fn set(&self, request: &mut Delete) -> Result<()> {
        request.prev_kv = flag_in(self.prev_kv, "prev_kv")?.unwrap_or(false);
        request.durability = durability_in(self.durability)?;
        Ok(())
    }
}

/// Options of kv_range; initialise with KV_RANGE_OPTIONS_INIT.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct KvRangeOptions {
    /// sizeof(kv_range_options).
    pub size: usize,
    /// The revision to read; 0 or negative: the current one.
    pub revision: i64,
    /// The maximum number of pairs, after filters and sorting; 0 or negative: all.
    pub limit: i64,
    /// KV_SORT_…: the sort order; the default is key order, or ascending for another target.
    pub sort_order: i32,
    /// KV_SORT_BY_…: the field to sort by; the default is the key.
    pub sort_target: i32,
    /// KV_YES: omit the values.
    pub keys_only: i32,
    /// KV_YES: return only the count. Limit and filters have no effect.
    pub count_only: i32,
    /// Only pairs with mod_revision >= this; 0 is off.
    pub min_mod_revision: i64,
    /// Only pairs with mod_revision <= this; 0 is off.
    pub max_mod_revision: i64,
    /// Only pairs with create_revision >= this; 0 is off.
    pub min_create_revision: i64,
    /// Only pairs with create_revision <= this; 0 is off.
    pub max_create_revision: i64,
    /// KV_YES: allow a cluster's member to return data that may be stale.
    pub serializable: i32,
}

// SAFETY: numbers only, size first.
unsafe impl OptionStruct for KvRangeOptions {
    const NAME: &'static str = "kv_range_options";
}

impl KvRangeOptions {
    /// Gives the request these options.
    pub(crate) fn set(&self, request: &mut Range) -> Result<()> {
        request.revision = self.revision;
        request.limit = self.limit;
        request.sort_order = sort_order_in(self.sort_order)?;
        request.sort_target = sort_target_in(self.sort_target)?;
        request.keys_only = flag_in(self.keys_only, "keys_only")?.unwrap_or(false);
        request.count_only = flag_in(self.count_only, "count_only")?.unwrap_or(false);
        request.min_mod_revision = self.min_mod_revision;
        request.max_mod_revision = self.max_mod_revision;
        request.min_create_revision = self.min_create_revision;
        request.max_create_revision = self.max_create_revision;
        request.serializable = flag_in(self.serializable, "serializable")?.unwrap_or(false);
        Ok(())
    }
}

/// Options of kv_watch; initialise with KV_WATCH_OPTIONS_INIT.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct KvWatchOptions {
    /// sizeof(kv_watch_options).
    pub size: usize,
    /// The first revision to deliver; 0: only events after this call. It may be in the future.
    pub start_revision: i64,
    /// KV_YES: return the previous pair with each event.
    pub prev_kv: i32,
    /// KV_YES: omit puts.
    pub no_put: i32,
    /// KV_YES: omit deletions.
    pub no_delete: i32,
    /// KV_YES: after ten minutes without an event, deliver a batch without events whose revision
    /// shows the progress.
    pub progress: i32,
}

// SAFETY: numbers only, size first.
unsafe impl OptionStruct for KvWatchOptions {
    const NAME: &'static str = "kv_watch_options";
}

impl KvWatchOptions {
    /// Gives the request these options.
    pub(crate) fn set(&self, request: &mut Watch) -> Result<()> {
        request.start_revision = self.start_revision;
        request.prev_kv = flag_in(self.prev_kv, "prev_kv")?.unwrap_or(false);
        request.no_put = flag_in(self.no_put, "no_put")?.unwrap_or(false);
        request.no_delete = flag_in(self.no_delete, "no_delete")?.unwrap_or(false);
        request.progress = flag_in(self.progress, "progress")?.unwrap_or(false);
        Ok(())
    }
}
