//! The database itself: opening, closing, and the calls on one key.
#![allow(unsafe_code)]

use std::ffi::{CStr, OsStr, c_char};
use std::os::unix::ffi::OsStrExt;

use libkv::{AutoCompaction, Clock, Db, Delete, DeleteResult, LimitsPreset, Options, Put, PutResult, Result};

use crate::admin::KvClock;
use crate::error::KvError;
use crate::guard::{borrow, free, give_out, guard, guard_value, invalid, kinds, put_out, wanted};
use crate::types::*;

/// An open store: a shared handle, for any number of threads.
pub struct KvDb;

/// What a put answered.
pub struct KvPutResult;

/// What a deletion answered.
pub struct KvDeleteResult;

/// What a `kv_delete_result` holds.
pub(crate) struct Deleted {
    pub result: DeleteResult,
    pub prev_kvs: Pairs,
}

impl Deleted {
    pub fn new(mut result: DeleteResult) -> Deleted {
        let prev_kvs = Pairs::new(std::mem::take(&mut result.prev_kvs));
        Deleted { result, prev_kvs }
    }
}

/// What a `kv_put_result` holds.
pub(crate) struct Written {
    pub revision: i64,
    pub prev_kv: Pairs,
}

impl Written {
    pub fn new(result: PutResult) -> Written {
        Written { revision: result.revision, prev_kv: Pairs::new(result.prev_kv.into_iter().collect()) }
    }
}

/// What a `kv_db` holds.
pub(crate) struct Opened(pub Db);

impl Drop for Opened {
    fn drop(&mut self) {
        // children have clones of their own; closing is for all of them
        self.0.close();
    }
}

kinds! {
    KvDb = Opened, b"kv_db\0\0\0", "kv_db";
    KvPutResult = Written, b"kv_put_r", "kv_put_result";
    KvDeleteResult = Deleted, b"kv_del_r", "kv_delete_result";
}

/// How a store is opened; begin with KV_OPTIONS_INIT. Booleans are KV_YES or KV_NO, and 0 is the
/// default of every member.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct KvOptions {
    /// sizeof(kv_options).
    pub size: usize,
    /// KV_NO: KV_NOT_FOUND instead of making a store. Default KV_YES.
    pub create: i32,
    /// KV_YES: writes answer KV_READ_ONLY and nothing is created.
    pub read_only: i32,
    /// KV_DURABILITY_…, default KV_DURABILITY_SYNC.
    pub durability: i32,
    /// KV_LIMITS_ETCD: the limits of etcd itself.
    pub limits: i32,
    /// How long a write waits for the writer's lock; default 5,000; KV_NO_WAIT, KV_FOREVER.
    pub busy_timeout_ms: i64,
    /// Keys and values of one write, summed; default 64 MiB.
    pub max_request_bytes: u64,
    /// Operations in each list of a txn; default 100,000.
    pub max_txn_ops: u64,
    /// Smaller TTLs are raised to it; default 1.
    pub lease_ttl_min_seconds: i64,
    /// A quota on pages that hold data, in bytes, kept in the store; another value than it has changes
    /// it for every process. UINT64_MAX takes it away. What might go beyond it answers KV_FULL;
    /// deletions, revocations and compactions always have room.
    pub max_bytes: u64,
    /// Compact automatically, and keep so many revisions; 0 is off. Not beside auto_compaction_seconds.
    pub auto_compaction_revisions: u64,
    /// Compact automatically, and keep so many seconds of history; 0 is off.
    pub auto_compaction_seconds: u64,
    /// Slots for readers, over all processes; default 1,024, at most 1,048,576.
    pub max_readers: u32,
    /// Permissions of files that are made; default 0600.
    pub mode: u32,
    /// KV_YES opens on a network file system all the same.
    pub allow_network_fs: i32,
    /// A clock in hand, or NULL for the system's.
    pub clock: *const KvClock,
    /// Of a cluster, as all that follow, which an embedded store refuses; a cluster refuses those above. The
    /// file (PEM) of the authorities whose servers are trusted; NULL: those that the system trusts.
    pub tls_ca: *const c_char,
    /// The file (PEM) of this client's certificate; needs tls_key.
    pub tls_cert: *const c_char,
    /// The file (PEM) of its key.
    pub tls_key: *const c_char,
    /// The name that the servers' certificates must have; NULL: each endpoint's host.
    pub tls_server_name: *const c_char,
    /// Whom to log in; needs password.
    pub user: *const c_char,
    /// The password of user.
    pub password: *const c_char,
    /// How long to try to reach an endpoint; default 5,000.
    pub connect_timeout_ms: i64,
    /// How long to wait for an answer; default 30,000; KV_FOREVER.
    pub request_timeout_ms: i64,
    /// How long a connection may be silent before it is probed; default 10,000.
    pub keep_alive_ms: i64,
}

// SAFETY: numbers and pointers only, size first.
unsafe impl Sized_ for KvOptions {
    const NAME: &'static str = "kv_options";
}

fn nonzero<T: PartialEq + Default>(number: T) -> Option<T> {
    (number != T::default()).then_some(number)
}

/// SAFETY: the clock must be NULL or a clock, the texts NULL or end with a zero byte.
unsafe fn options_in(c: &KvOptions) -> Result<Options> {
    let clock: Option<Clock> = match c.clock.is_null() {
        true => None,
        // SAFETY: said above.
        false => Some(unsafe { borrow(c.clock)? }.clone()),
    };
    Ok(Options {
        create: flag_in(c.create, "create")?,
        read_only: flag_in(c.read_only, "read_only")?,
        durability: durability_in(c.durability)?,
        busy_timeout_ms: match c.busy_timeout_ms {
            0 => None,
            KV_NO_WAIT => Some(0),
            KV_FOREVER => Some(u64::MAX),
            ms if ms > 0 => Some(ms as u64),
            ms => return Err(invalid(format!("option busy_timeout_ms is {ms}"))),
        },
        max_bytes: nonzero(c.max_bytes).map(|most| if most == u64::MAX { 0 } else { most }),
        max_request_bytes: nonzero(c.max_request_bytes),
        max_txn_ops: nonzero(c.max_txn_ops).map(|ops| usize::try_from(ops).unwrap_or(usize::MAX)),
        limits: match c.limits {
            0 => None,
            KV_LIMITS_ETCD => Some(LimitsPreset::Etcd),
            other => return Err(invalid(format!("option limits is {other}: it takes KV_LIMITS_ETCD or 0"))),
        },
        lease_ttl_min_seconds: nonzero(c.lease_ttl_min_seconds),
        auto_compaction: match (c.auto_compaction_revisions, c.auto_compaction_seconds) {
            (0, 0) => None,
            (revisions, 0) => Some(AutoCompaction::Revisions(revisions)),
            (0, seconds) => Some(AutoCompaction::Seconds(seconds)),
            (revisions, seconds) => {
                let both = format!(
                    "auto_compaction_revisions is {revisions} and auto_compaction_seconds is {seconds}: set one"
                );
                return Err(invalid(both));
            }
        },
        max_readers: nonzero(c.max_readers),
        mode: nonzero(c.mode),
        clock,
        allow_network_fs: flag_in(c.allow_network_fs, "allow_network_fs")?,
        // SAFETY: said above.
        tls_ca: unsafe { path_in(c.tls_ca) },
        // SAFETY: likewise, as of all that follow.
        tls_cert: unsafe { path_in(c.tls_cert) },
        // SAFETY: likewise.
        tls_key: unsafe { path_in(c.tls_key) },
        // SAFETY: likewise.
        tls_server_name: unsafe { word_in(c.tls_server_name, "tls_server_name")? },
        // SAFETY: likewise.
        user: unsafe { word_in(c.user, "user")? },
        // SAFETY: likewise.
        password: unsafe { word_in(c.password, "password")? }.map(Into::into),
        connect_timeout_ms: wait_in(c.connect_timeout_ms, "connect_timeout_ms")?,
        request_timeout_ms: wait_in(c.request_timeout_ms, "request_timeout_ms")?,
        keep_alive_ms: wait_in(c.keep_alive_ms, "keep_alive_ms")?,
    })
}

/// A time that a cluster's client waits; it is not given if it is 0.
fn wait_in(ms: i64, name: &str) -> Result<Option<u64>> {
    match ms {
        0 => Ok(None),
        KV_FOREVER => Ok(Some(u64::MAX)),
        ms if ms > 0 => Ok(Some(ms as u64)),
        ms => Err(invalid(format!("option {name} is {ms}: it takes milliseconds or KV_FOREVER"))),
    }
}

#[cfg(feature = "etcd")]
fn open(target: &OsStr, options: Options) -> Result<Db> {
    libkv_etcd::open(target, options)
}

/// A cluster's address is refused with `unsupported`.
#[cfg(not(feature = "etcd"))]
fn open(target: &OsStr, options: Options) -> Result<Db> {
    Db::open(std::path::Path::new(target), options)
}

/// Opens the store in a directory, and makes it if there is none. ":memory:" is a store of its own
/// that leaves nothing behind; "file:" URLs are paths. Any number of processes may have one store
/// open; handles of one process on one store share one environment.
///
/// "etcd://HOST:PORT,HOST:PORT", "http://..." and "https://..." (TLS) open a cluster of etcd, or a store
/// that kv_serve or `kv serve` serves: every call below then goes over the network, and may also answer
/// KV_UNAVAILABLE, KV_TIMEOUT, KV_UNAUTHENTICATED, KV_PERMISSION_DENIED, and KV_UNSUPPORTED for what a
/// cluster cannot do. A library built without that (its feature etcd) answers KV_UNSUPPORTED here.
///
/// Owner: *out is the caller's, to close with kv_close; target and options are not kept.
/// Threads: any.
/// Errors: KV_NOT_FOUND, KV_NOT_A_STORE, KV_INCOMPATIBLE, KV_BUSY, KV_PERMISSION_DENIED,
/// KV_INVALID_ARGUMENT, KV_UNSUPPORTED, KV_READ_ONLY, KV_FULL, KV_IO; of a cluster KV_UNAVAILABLE, which
/// names each endpoint with its reason, KV_UNAUTHENTICATED. Nothing that was there is changed by any of
/// them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_open(
    target: *const c_char,
    options: *const KvOptions,
    out: *mut *mut KvDb,
    error: *mut *mut KvError,
) -> KvCode {
    // SAFETY: pointers as the header asks for.
    unsafe {
        guard(error, || {
            wanted(out, "out")?;
            let target: &CStr = text_in(target, "the path of the store")?;
            let options = options_in(&struct_in(options)?)?;
            let db = open(OsStr::from_bytes(target.to_bytes()), options)?;
            give_out::<KvDb>(out, Opened(db));
            Ok(())
        })
    }
}

/// Closes a store's handle: scans, snapshots, watchers, leases, locks and whatever else was made from
/// it answer KV_CLOSED from then on and are still the caller's to free; a thread that waits in one
/// of them gets KV_CLOSED at once. The leases of such handles are revoked, and with them their locks
/// freed; where that cannot be done in time they end with their TTL. The store closes with its last
/// handle.
///
/// Owner: takes db; NULL is fine.
/// Threads: the last use of db; calls under way on db itself in other threads must have ended.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_close(db: *mut KvDb) {
    // SAFETY: pointers as the header asks for.
    unsafe { free(db) }
}

/// Writes one key; the store's revision rises by 1.
///
/// Owner: *out, if it is wanted, is the caller's; key, value and options are not kept.
/// Threads: any; concurrent writes share a commit.
/// Errors: KV_INVALID_ARGUMENT, KV_TOO_LARGE, KV_KEY_NOT_FOUND (ignore_… on a missing key),
/// KV_LEASE_NOT_FOUND, KV_READ_ONLY, KV_BUSY, KV_FULL, KV_IO, KV_CLOSED, KV_FORKED: nothing is
/// written. KV_UNKNOWN_OUTCOME: it may be.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_put(
    db: *const KvDb,
    key: KvBytes,
    value: KvBytes,
    options: *const KvPutOptions,
    out: *mut *mut KvPutResult,
    error: *mut *mut KvError,
) -> KvCode {
    // SAFETY: pointers as the header asks for.
    unsafe {
        guard(error, || {
            let result = borrow(db)?.0.put(put_request(key, value, options)?)?;
            give_out::<KvPutResult>(out, Written::new(result));
            Ok(())
        })
    }
}

/// SAFETY: as `struct_in` and `bytes_in`.
pub(crate) unsafe fn put_request(key: KvBytes, value: KvBytes, options: *const KvPutOptions) -> Result<Put> {
    // SAFETY: said above.
    let (key, value, options) =
        unsafe { (bytes_in(key, "the key")?, bytes_in(value, "the value")?, struct_in(options)?) };
    Ok(Put {
        key: key.to_vec(),
        value: value.to_vec(),
        lease: options.lease,
        prev_kv: flag_in(options.prev_kv, "prev_kv")?.unwrap_or(false),
        ignore_value: flag_in(options.ignore_value, "ignore_value")?.unwrap_or(false),
        ignore_lease: flag_in(options.ignore_lease, "ignore_lease")?.unwrap_or(false),
        durability: durability_in(options.durability)?,
    })
}

/// The store's revision after a put; 0 for NULL.
///
/// Owner: nothing changes hands.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_put_result_revision(result: *const KvPutResult) -> i64 {
    // SAFETY: pointers as the header asks for.
    guard_value(0, || unsafe { Some(borrow(result).ok()?.revision) })
}

/// The pair before a put, or NULL if it was not asked for or the key did not exist.
///
/// Owner: the result; the pair lives until it is freed.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_put_result_prev_kv(result: *const KvPutResult) -> *const KvKeyValue {
    // SAFETY: pointers as the header asks for.
    guard_value(std::ptr::null(), || unsafe { borrow(result).ok()?.prev_kv.at(0) })
}

/// Frees a put's result.
///
/// Owner: takes it; NULL is fine.
/// Threads: the last use of it.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_put_result_free(result: *mut KvPutResult) {
    // SAFETY: pointers as the header asks for.
    unsafe { free(result) }
}

/// One key at a revision (0 and below: now). A key that is not there is no error: *out is NULL.
///
/// Owner: *out is the caller's, to free with kv_key_value_free.
/// Threads: any; readers wait for nobody.
/// Errors: KV_INVALID_ARGUMENT (empty key), KV_COMPACTED, KV_FUTURE_REVISION, KV_CLOSED, KV_FORKED,
/// KV_CORRUPT, KV_IO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_get(
    db: *const KvDb,
    key: KvBytes,
    revision: i64,
    out: *mut *mut KvKeyValue,
    error: *mut *mut KvError,
) -> KvCode {
    // SAFETY: pointers as the header asks for.
    unsafe {
        guard(error, || {
            wanted(out, "out")?;
            let found = borrow(db)?.0.get_at(bytes_in(key, "the key")?, revision)?;
            put_out(out, found.map_or(std::ptr::null_mut(), owned));
            Ok(())
        })
    }
}

/// The value of one key, now, into the caller's buffer, without allocating anything. *len is the
/// value's length, or KV_NONE if there is no such key. If the buffer is too small nothing is copied
/// and *len is the size it takes.
///
/// Owner: buffer is the caller's.
/// Threads: any; readers wait for nobody.
/// Errors: KV_INVALID_ARGUMENT, KV_CLOSED, KV_FORKED, KV_CORRUPT, KV_IO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_get_into(
    db: *const KvDb,
    key: KvBytes,
    buffer: *mut u8,
    buffer_size: usize,
    len: *mut usize,
    error: *mut *mut KvError,
) -> KvCode {
    // SAFETY: pointers as the header asks for.
    unsafe {
        guard(error, || {
            wanted(len, "len")?;
            let buffer = match (buffer.is_null(), buffer_size) {
                (_, 0) => &mut [][..],
                (true, _) => return Err(invalid(format!("buffer is NULL but has {buffer_size} bytes"))),
                (false, size) if size > isize::MAX as usize => return Err(invalid("buffer_size is absurd")),
                (false, size) => std::slice::from_raw_parts_mut(buffer, size),
            };
            let found = borrow(db)?.0.get_into(bytes_in(key, "the key")?, buffer)?;
            put_out(len, found.unwrap_or(KV_NONE));
            Ok(())
        })
    }
}

/// Frees a pair that kv_get answered. Views taken from results are left alone.
///
/// Owner: takes it; NULL is fine.
/// Threads: the last use of it.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_key_value_free(kv: *mut KvKeyValue) {
    // SAFETY: pointers as the header asks for.
    let freed = || unsafe {
        free_owned(kv);
        Some(())
    };
    guard_value((), freed)
}

/// Deletes the keys of a range; the revision rises by 1 if there was any.
///
/// Owner: *out, if it is wanted, is the caller's; the range and options are not kept.
/// Threads: any.
/// Errors: as kv_put.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_delete(
    db: *const KvDb,
    range: KvKeyRange,
    options: *const KvDeleteOptions,
    out: *mut *mut KvDeleteResult,
    error: *mut *mut KvError,
) -> KvCode {
    // SAFETY: pointers as the header asks for.
    unsafe {
        guard(error, || {
            let result = borrow(db)?.0.delete(delete_request(range, options)?)?;
            give_out::<KvDeleteResult>(out, Deleted::new(result));
            Ok(())
        })
    }
}

/// SAFETY: as `struct_in` and `range_in`.
pub(crate) unsafe fn delete_request(range: KvKeyRange, options: *const KvDeleteOptions) -> Result<Delete> {
    // SAFETY: said above.
    let (range, options) = unsafe { (range_in(range)?, struct_in(options)?) };
    Ok(Delete {
        range,
        prev_kv: flag_in(options.prev_kv, "prev_kv")?.unwrap_or(false),
        durability: durability_in(options.durability)?,
    })
}

/// The store's revision after a deletion; 0 for NULL.
///
/// Owner: nothing changes hands.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_delete_result_revision(result: *const KvDeleteResult) -> i64 {
    // SAFETY: pointers as the header asks for.
    guard_value(0, || unsafe { Some(borrow(result).ok()?.result.revision) })
}

/// How many keys went; 0 for NULL.
///
/// Owner: nothing changes hands.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_delete_result_deleted(result: *const KvDeleteResult) -> i64 {
    // SAFETY: pointers as the header asks for.
    guard_value(0, || unsafe { Some(borrow(result).ok()?.result.deleted) })
}

/// The pair number index, by key, that went, if prev_kv was asked for; NULL beyond the last.
///
/// Owner: the result; the pair lives until it is freed.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_delete_result_prev_kv(result: *const KvDeleteResult, index: usize) -> *const KvKeyValue {
    // SAFETY: pointers as the header asks for.
    guard_value(std::ptr::null(), || unsafe { borrow(result).ok()?.prev_kvs.at(index) })
}

/// Frees a deletion's result.
///
/// Owner: takes it; NULL is fine.
/// Threads: the last use of it.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_delete_result_free(result: *mut KvDeleteResult) {
    // SAFETY: pointers as the header asks for.
    unsafe { free(result) }
}

/// Forgets history below a revision: reads below it answer KV_COMPACTED from then on. With physical
/// KV_YES it answers once the space can be used again, else that happens in the background. *out is
/// the store's revision, which does not change.
///
/// Owner: nothing changes hands.
/// Threads: any.
/// Errors: KV_COMPACTED (the revision is not above the compacted one), KV_FUTURE_REVISION, and as kv_put.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_compact(
    db: *const KvDb,
    revision: i64,
    physical: i32,
    out: *mut i64,
    error: *mut *mut KvError,
) -> KvCode {
    // SAFETY: pointers as the header asks for.
    unsafe {
        guard(error, || {
            let physical = flag_in(physical, "physical")?.unwrap_or(false);
            put_out(out, borrow(db)?.0.compact(revision, physical)?.revision);
            Ok(())
        })
    }
}
