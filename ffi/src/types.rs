//! What crosses the border by value, and its conversion both ways.
#![allow(unsafe_code)]

use std::ptr;
use std::time::Duration;

use libkv::{Durability, Event, KeyValue, Result, SortOrder, SortTarget};

pub use crate::codes::*;
pub use crate::constants::*;
use crate::handle::invalid;

// the header's version is the library's
const _: () = {
    assert!(KV_VERSION_MAJOR == version(env!("CARGO_PKG_VERSION_MAJOR")));
    assert!(KV_VERSION_MINOR == version(env!("CARGO_PKG_VERSION_MINOR")));
    assert!(KV_VERSION_PATCH == version(env!("CARGO_PKG_VERSION_PATCH")));
};

const fn version(text: &str) -> u32 {
    match u32::from_str_radix(text, 10) {
        Ok(number) => number,
        Err(_) => u32::MAX,
    }
}

/// Major version of the library of this header.
pub const KV_VERSION_MAJOR: u32 = 0;
/// Minor version.
pub const KV_VERSION_MINOR: u32 = 1;
/// Patch version.
pub const KV_VERSION_PATCH: u32 = 0;
/// Within one ABI number symbols and layouts only grow; see kv_abi_version.
pub const KV_ABI_VERSION: u32 = 0;

/// True, for boolean members.
pub const KV_YES: i32 = 1;
/// False, for boolean members; 0 selects the default.
pub const KV_NO: i32 = -1;
/// A timeout: do not wait.
pub const KV_NO_WAIT: i64 = -1;
/// A timeout or a number of retries: no limit.
pub const KV_FOREVER: i64 = -2;
/// The length of a value that is not there (kv_get_into).
pub const KV_NONE: usize = usize::MAX;

/// Borrowed bytes. They need no terminating zero and may contain any byte.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct KvBytes {
    /// The first byte; may be NULL if len is 0.
    pub data: *const u8,
    /// The number of bytes.
    pub len: usize,
}

/// A set of keys; use kv_key, kv_prefix, kv_between, kv_from_key or kv_all.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct KvKeyRange {
    /// KV_RANGE_….
    pub kind: i32,
    /// The key, prefix or start.
    pub key: KvBytes,
    /// For KV_RANGE_BETWEEN: the first key after the range.
    pub end: KvBytes,
}

/// A key with its value and its revisions.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct KvKeyValue {
    /// Used by the library.
    pub kind: u64,
    /// The key.
    pub key: KvBytes,
    /// The value.
    pub value: KvBytes,
    /// The revision at which the key was created.
    pub create_revision: i64,
    /// The revision of the last put.
    pub mod_revision: i64,
    /// 1 at creation, increased by 1 with each put.
    pub version: i64,
    /// The lease that the key is attached to, or 0.
    pub lease: i64,
}

/// One change of one key.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct KvEvent {
    /// KV_EVENT_PUT or KV_EVENT_DELETE.
    pub r#type: i32,
    /// For a put, the new pair. For a deletion only key and mod_revision are set.
    pub kv: KvKeyValue,
    /// The pair before the event's revision. NULL if there was none, if it is compacted, or if it
    /// was not requested (kv_watch_options.prev_kv; other calls never set it).
    pub prev_kv: *const KvKeyValue,
}

/// The difference of one key between two revisions.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct KvDifference {
    /// The key.
    pub key: KvBytes,
    /// The pair at the first revision, or NULL.
    pub before: *const KvKeyValue,
    /// The pair at the second revision, or NULL.
    pub after: *const KvKeyValue,
}

/// What a key-value pair is to the library: one that the caller frees, or a view of a result.
pub(crate) const OWNED: u64 = u64::from_be_bytes(*b"kv_pair!");
pub(crate) const VIEW: u64 = u64::from_be_bytes(*b"kv_view!");

pub(crate) const NO_BYTES: KvBytes = KvBytes {
    data: ptr::null(),
    len: 0,
};

pub(crate) fn bytes_out(bytes: &[u8]) -> KvBytes {
    KvBytes {
        data: bytes.as_ptr(),
        len: bytes.len(),
    }
}

/// A view of a pair, good as long as the pair stays where its bytes are.
pub(crate) fn view(kv: &KeyValue) -> KvKeyValue {
    KvKeyValue {
        kind: VIEW,
        key: bytes_out(&kv.key),
        value: bytes_out(&kv.value),
        create_revision: kv.create_revision,
        mod_revision: kv.mod_revision,
        version: kv.version,
        lease: kv.lease,
    }
}

pub(crate) fn event_view(event: &Event) -> KvEvent {
    KvEvent {
        r#type: event_kind_number(event.kind),
        kv: view(&event.kv),
        prev_kv: ptr::null(),
    }
}

/// Pairs of a result beside the views that C reads.
pub(crate) struct Pairs {
    views: Vec<KvKeyValue>,
    _kvs: Vec<KeyValue>,
}

impl Pairs {
    pub fn new(kvs: Vec<KeyValue>) -> Pairs {
        Pairs {
            views: kvs.iter().map(view).collect(),
            _kvs: kvs,
        }
    }

    pub fn len(&self) -> usize {
        self.views.len()
    }

    pub fn at(&self, index: usize) -> Option<*const KvKeyValue> {
        self.views.get(index).map(ptr::from_ref)
    }
}

#[repr(C)]
struct OwnedPair {
    view: KvKeyValue,
    kv: KeyValue,
}

/// One pair for C to free with `kv_key_value_free`.
pub(crate) fn owned(kv: KeyValue) -> *mut KvKeyValue {
    // the bytes stay where they are when the pair moves into its box
    let view = KvKeyValue {
        kind: OWNED,
        ..view(&kv)
    };
    Box::into_raw(Box::new(OwnedPair { view, kv })).cast()
}

/// SAFETY: the pointer must be NULL, a view, or a pair of `owned` that is not used again.
pub(crate) unsafe fn free_owned(pair: *mut KvKeyValue) {
    // SAFETY: the caller guarantees it; a view begins with another word and is ignored.
    unsafe {
        if !pair.is_null() && (*pair).kind == OWNED {
            (*pair).kind = 0;
            drop(Box::from_raw(pair.cast::<OwnedPair>()).kv);
        }
    }
}

pub(crate) fn flag_in(flag: i32, name: &str) -> Result<Option<bool>> {
    match flag {
        0 => Ok(None),
        KV_YES => Ok(Some(true)),
        KV_NO => Ok(Some(false)),
        other => Err(invalid(format!(
            "option {name} is {other}: it takes KV_YES, KV_NO or 0"
        ))),
    }
}

pub(crate) fn flag_out(flag: bool) -> i32 {
    if flag { KV_YES } else { KV_NO }
}

/// A timeout; `None` is no limit, which is also the default.
pub(crate) fn timeout_in(ms: i64) -> Result<Option<Duration>> {
    match ms {
        0 | KV_FOREVER => Ok(None),
        KV_NO_WAIT => Ok(Some(Duration::ZERO)),
        ms => match u64::try_from(ms) {
            Ok(ms) => Ok(Some(Duration::from_millis(ms))),
            Err(_) => Err(invalid(format!(
                "timeout_ms is {ms}: it takes milliseconds, KV_NO_WAIT or KV_FOREVER"
            ))),
        },
    }
}

pub(crate) fn durability_in(number: i32) -> Result<Option<Durability>> {
    match (number, durability(number)) {
        (0, _) => Ok(None),
        (_, None) => Err(invalid(format!(
            "option durability is {number}: it takes KV_DURABILITY_…"
        ))),
        (_, known) => Ok(known),
    }
}

pub(crate) fn sort_order_in(number: i32) -> Result<SortOrder> {
    sort_order(number).ok_or_else(|| {
        invalid(format!(
            "invalid sort option (sort_order is {number}: it takes KV_SORT_…)"
        ))
    })
}

pub(crate) fn sort_target_in(number: i32) -> Result<SortTarget> {
    sort_target(number).ok_or_else(|| {
        invalid(format!(
            "invalid sort option (sort_target is {number}: it takes KV_SORT_BY_…)"
        ))
    })
}

/// Structs that begin with their size and for which all zeroes are the defaults.
///
/// # Safety
///
/// The type must be plain numbers and pointers, `repr(C)`, with `size: usize` first.
pub(crate) unsafe trait OptionStruct: Copy {
    /// The struct's name in the header.
    const NAME: &'static str;
}
