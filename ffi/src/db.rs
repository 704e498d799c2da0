//! The database itself: opening, closing, and the calls on one key.
#![allow(unsafe_code)]

use std::ffi::{CStr, OsStr, c_char};
use std::os::unix::ffi::OsStrExt;

use libkv::{
    AutoCompaction, Compact, Db, DeleteResponse, LimitsPreset, Options, PutResponse, Result,
};

use crate::clock::KvClock;
use crate::error::KvError;
use crate::guard::{free, guard, guard_value};
use crate::handle::{invalid, kinds};
use crate::options::{KvDeleteOptions, KvPutOptions};
use crate::pointers::{Caller, require_output};
use crate::requests::{delete_request, put_request};
use crate::types::*;

/// An open store or cluster. Any number of threads can share the handle.
pub struct KvDb;

/// The response of a put.
pub struct KvPutResponse;

/// The response of a deletion.
pub struct KvDeleteResponse;

/// What a `kv_delete_response` holds.
pub(crate) struct DeleteContents {
    pub result: DeleteResponse,
    pub prev_kvs: Pairs,
}

impl DeleteContents {
    pub fn new(mut result: DeleteResponse) -> DeleteContents {
        let prev_kvs = Pairs::new(std::mem::take(&mut result.prev_kvs));
        DeleteContents { result, prev_kvs }
    }
}

/// What a `kv_put_response` holds.
pub(crate) struct PutContents {
    pub revision: i64,
    pub prev_kv: Pairs,
}

impl PutContents {
    pub fn new(result: PutResponse) -> PutContents {
        PutContents {
            revision: result.revision,
            prev_kv: Pairs::new(result.prev_kv.into_iter().collect()),
        }
    }
}

/// What a `kv_db` holds.
pub(crate) struct DbContents(pub Db);

impl Drop for DbContents {
    fn drop(&mut self) {
        // children have clones of their own; closing is for all of them
        self.0.close();
    }
}

kinds! {
    KvDb = DbContents, b"kv_db\0\0\0", "kv_db";
    KvPutResponse = PutContents, b"kv_put_r", "kv_put_response";
    KvDeleteResponse = DeleteContents, b"kv_del_r", "kv_delete_response";
}

/// Options of kv_open; initialise with KV_OPTIONS_INIT. Booleans are KV_YES or KV_NO. 0 is the
/// default of every member.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct KvOptions {
    /// sizeof(kv_options).
    pub size: usize,
    /// KV_NO: return KV_NOT_FOUND instead of creating a store. Default KV_YES.
    pub create: i32,
    /// KV_YES: writes return KV_READ_ONLY and no file is created.
    pub read_only: i32,
    /// KV_DURABILITY_…, default KV_DURABILITY_SYNC. A store in memory accepts every durability.
    pub durability: i32,
    /// KV_LIMITS_ETCD: etcd's default limits.
    pub limits: i32,
    /// How long a write waits for the write lock; default 5,000; KV_NO_WAIT, KV_FOREVER.
    pub busy_timeout_ms: i64,
    /// The maximum size of the keys and values of one write, summed; default 64 MiB.
    pub max_request_bytes: u64,
    /// The maximum number of operations in each list of a txn; default 100,000.
    pub max_txn_ops: u64,
    /// The minimum TTL of a lease; smaller TTLs are raised to it; default 1.
    pub lease_ttl_min_seconds: i64,
    /// A quota for pages that hold data, in bytes. It is stored in the store and applies to every
    /// process; another value replaces it. UINT64_MAX removes it. Writes beyond it return KV_FULL;
    /// deletions, revocations and compactions always work.
    pub max_bytes: u64,
    /// Compact automatically and keep this number of revisions; 0 is off. Cannot be combined with
    /// auto_compaction_seconds.
    pub auto_compaction_revisions: u64,
    /// Compact automatically and keep history for this number of seconds; 0 is off.
    pub auto_compaction_seconds: u64,
    /// The maximum number of concurrent readers, over all processes; default 1,024, at most
    /// 1,048,576.
    pub max_readers: u32,
    /// The permissions of created files; default 0600.
    pub mode: u32,
    /// KV_YES allows a store on a network file system.
    pub allow_network_fs: i32,
    /// A manual clock, or NULL for the system's clock.
    pub clock: *const KvClock,
    /// Clusters only, as are all members below; a store refuses them, and a cluster refuses those
    /// above. The file (PEM) of the trusted certificate authorities; NULL: those that the system
    /// trusts.
    pub tls_ca: *const c_char,
    /// The file (PEM) of this client's certificate; needs tls_key.
    pub tls_cert: *const c_char,
    /// The file (PEM) of the private key.
    pub tls_key: *const c_char,
    /// The name that the servers' certificates must contain; NULL: the host of each endpoint.
    pub tls_server_name: *const c_char,
    /// The user name to log in with; needs password.
    pub user: *const c_char,
    /// The password of user.
    pub password: *const c_char,
    /// The timeout of connecting to an endpoint; default 5,000.
    pub connect_timeout_ms: i64,
    /// The timeout of a request; default 30,000; KV_FOREVER.
    pub request_timeout_ms: i64,
    /// The idle time after which a connection is probed; default 10,000.
    pub keep_alive_ms: i64,
}

// SAFETY: numbers and pointers only, size first.
unsafe impl OptionStruct for KvOptions {
    const NAME: &'static str = "kv_options";
}

fn nonzero<T: PartialEq + Default>(number: T) -> Option<T> {
    (number != T::default()).then_some(number)
}

fn options_in(c: &Caller, given: &KvOptions) -> Result<Options> {
    let mut options = Options::new();
    if !given.clock.is_null() {
        options.clock = Some(c.arg(given.clock)?.clone());
    }
    options.create = flag_in(given.create, "create")?;
    options.read_only = flag_in(given.read_only, "read_only")?;
    options.durability = durability_in(given.durability)?;
    options.busy_timeout_ms = busy_timeout_in(given.busy_timeout_ms)?;
    options.max_bytes =
        nonzero(given.max_bytes).map(|most| if most == u64::MAX { 0 } else { most });
    options.max_request_bytes = nonzero(given.max_request_bytes);
    options.max_txn_ops =
        nonzero(given.max_txn_ops).map(|ops| usize::try_from(ops).unwrap_or(usize::MAX));
    options.limits = limits_in(given.limits)?;
    options.lease_ttl_min_seconds = nonzero(given.lease_ttl_min_seconds);
    options.auto_compaction = auto_compaction_in(given)?;
    options.max_readers = nonzero(given.max_readers);
    options.mode = nonzero(given.mode);
    options.allow_network_fs = flag_in(given.allow_network_fs, "allow_network_fs")?;
    options.tls_ca = c.path(given.tls_ca);
    options.tls_cert = c.path(given.tls_cert);
    options.tls_key = c.path(given.tls_key);
    options.tls_server_name = c.word(given.tls_server_name, "tls_server_name")?;
    options.user = c.word(given.user, "user")?;
    options.password = c.word(given.password, "password")?.map(Into::into);
    options.connect_timeout_ms = wait_in(given.connect_timeout_ms, "connect_timeout_ms")?;
    options.request_timeout_ms = wait_in(given.request_timeout_ms, "request_timeout_ms")?;
    options.keep_alive_ms = wait_in(given.keep_alive_ms, "keep_alive_ms")?;
    Ok(options)
}

fn busy_timeout_in(ms: i64) -> Result<Option<u64>> {
    match ms {
        0 => Ok(None),
        KV_NO_WAIT => Ok(Some(0)),
        KV_FOREVER => Ok(Some(u64::MAX)),
        ms if ms > 0 => Ok(Some(ms as u64)),
        ms => Err(invalid(format!("option busy_timeout_ms is {ms}"))),
    }
}

fn limits_in(number: i32) -> Result<Option<LimitsPreset>> {
    match (number, limits(number)) {
        (0, _) => Ok(None),
        (_, Some(preset)) => Ok(Some(preset)),
        (other, None) => Err(invalid(format!(
            "option limits is {other}: it takes KV_LIMITS_ETCD or 0"
        ))),
    }
}

fn auto_compaction_in(given: &KvOptions) -> Result<Option<AutoCompaction>> {
    match (
        given.auto_compaction_revisions,
        given.auto_compaction_seconds,
    ) {
        (0, 0) => Ok(None),
        (revisions, 0) => Ok(Some(AutoCompaction::Revisions(revisions))),
        (0, seconds) => Ok(Some(AutoCompaction::Seconds(seconds))),
        (revisions, seconds) => Err(invalid(format!(
            "auto_compaction_revisions is {revisions} and auto_compaction_seconds is {seconds}: set one"
        ))),
    }
}

/// A time that a cluster's client waits; it is not given if it is 0.
fn wait_in(ms: i64, name: &str) -> Result<Option<u64>> {
    match ms {
        0 => Ok(None),
        KV_FOREVER => Ok(Some(u64::MAX)),
        ms if ms > 0 => Ok(Some(ms as u64)),
        ms => Err(invalid(format!(
            "option {name} is {ms}: it takes milliseconds or KV_FOREVER"
        ))),
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

/// Opens the store in a directory and creates it if there is none. ":memory:" is a new store in
/// memory. A "file:" URL is a path. Any number of processes can have one store open. Handles of one
/// process on one store share one environment.
///
/// "etcd://HOST:PORT,HOST:PORT", "http://..." and "https://..." (TLS) open an etcd cluster, or a
/// store that kv_serve or `kv serve` serves. Every call then uses the network. It may also return
/// KV_UNAVAILABLE, KV_TIMEOUT, KV_UNAUTHENTICATED, KV_PERMISSION_DENIED, and KV_UNSUPPORTED for
/// calls that etcd does not have. A library built without the feature etcd returns KV_UNSUPPORTED
/// here.
///
/// Owner: *out is owned by the caller, to close with kv_close; target and options are not kept.
/// Threads: any.
/// Errors: KV_NOT_FOUND, KV_NOT_A_STORE, KV_INCOMPATIBLE, KV_BUSY, KV_PERMISSION_DENIED,
/// KV_INVALID_ARGUMENT, KV_UNSUPPORTED, KV_READ_ONLY, KV_FULL, KV_IO. For a cluster also
/// KV_UNAVAILABLE, which names each endpoint with its reason, and KV_UNAUTHENTICATED. On error
/// nothing on disk is changed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_open(
    target: *const c_char,
    options: *const KvOptions,
    out: *mut *mut KvDb,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        require_output(out, "out")?;
        let target: &CStr = c.text(target, "the path of the store")?;
        let options = options_in(c, &c.options(options)?)?;
        let db = open(OsStr::from_bytes(target.to_bytes()), options)?;
        c.give::<KvDb>(out, DbContents(db));
        Ok(())
    })
}

/// Closes a handle. Scans, snapshots, watchers, leases, locks and other objects that were made from
/// it return KV_CLOSED from then on; the caller must still free them. A thread that waits in one of
/// them gets KV_CLOSED at once. The leases of these objects are revoked, which releases their
/// locks. If that is not possible in time they end with their TTL. The store closes with its last
/// handle.
///
/// Owner: frees db; NULL is allowed.
/// Threads: the last use of db; calls on db itself in other threads must have ended.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_close(db: *mut KvDb) {
    free!(db)
}

/// Writes one key. The store's revision increases by 1.
///
/// Owner: *out, if not NULL, is owned by the caller; key, value and options are not kept.
/// Threads: any; concurrent writes share a commit.
/// Errors: KV_INVALID_ARGUMENT, KV_TOO_LARGE, KV_KEY_NOT_FOUND (ignore_… on a missing key),
/// KV_LEASE_NOT_FOUND, KV_READ_ONLY, KV_BUSY, KV_FULL, KV_IO, KV_CLOSED, KV_FORKED: nothing was
/// written. KV_UNKNOWN_OUTCOME: the write may or may not have happened.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_put(
    db: *const KvDb,
    key: KvBytes,
    value: KvBytes,
    options: *const KvPutOptions,
    out: *mut *mut KvPutResponse,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        let result = c.arg(db)?.0.put(put_request(c, key, value, options)?)?;
        c.give::<KvPutResponse>(out, PutContents::new(result));
        Ok(())
    })
}

/// The store's revision after a put; 0 for NULL.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_put_response_revision(result: *const KvPutResponse) -> i64 {
    guard_value!(0, |c| Some(c.arg(result).ok()?.revision))
}

/// The previous pair, or NULL if it was not requested or the key did not exist.
///
/// Owner: the result; the pair is valid until it is freed.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_put_response_prev_kv(
    result: *const KvPutResponse,
) -> *const KvKeyValue {
    guard_value!(std::ptr::null(), |c| c.arg(result).ok()?.prev_kv.at(0))
}

/// Frees the result of a put.
///
/// Owner: frees it; NULL is allowed.
/// Threads: the last use of it.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_put_response_free(result: *mut KvPutResponse) {
    free!(result)
}

/// Reads one key at a revision (0 or negative: the current one). *out is NULL if the key does not
/// exist, which is not an error.
///
/// Owner: *out is owned by the caller, to free with kv_key_value_free.
/// Threads: any; a read never waits for a writer.
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
    guard!(error, |c| {
        require_output(out, "out")?;
        let found = c.arg(db)?.0.get_at(c.bytes(key, "the key")?, revision)?;
        c.put(out, found.map_or(std::ptr::null_mut(), owned));
        Ok(())
    })
}

/// Copies the current value of one key into the caller's buffer, without allocating memory. *len is
/// the length of the value, or KV_NONE if the key does not exist. If the buffer is too small
/// nothing is copied and *len is the required size.
///
/// Owner: buffer is owned by the caller.
/// Threads: any; a read never waits for a writer.
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
    guard!(error, |c| {
        require_output(len, "len")?;
        let buffer = c.buffer(buffer, buffer_size, "the buffer")?;
        let found = c.arg(db)?.0.get_into(c.bytes(key, "the key")?, buffer)?;
        c.put(len, found.unwrap_or(KV_NONE));
        Ok(())
    })
}

/// Frees a pair returned by kv_get. Pairs that belong to a result are not freed by it.
///
/// Owner: frees it; NULL is allowed.
/// Threads: the last use of it.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_key_value_free(kv: *mut KvKeyValue) {
    guard_value!((), |c| {
        c.free_pair(kv);
        Some(())
    })
}

/// Deletes the keys of a range. The revision increases by 1 if at least one key existed.
///
/// Owner: *out, if not NULL, is owned by the caller; the range and options are not kept.
/// Threads: any.
/// Errors: those of kv_put.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_delete(
    db: *const KvDb,
    range: KvKeyRange,
    options: *const KvDeleteOptions,
    out: *mut *mut KvDeleteResponse,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        let result = c.arg(db)?.0.delete(delete_request(c, range, options)?)?;
        c.give::<KvDeleteResponse>(out, DeleteContents::new(result));
        Ok(())
    })
}

/// The store's revision after a deletion; 0 for NULL.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_delete_response_revision(result: *const KvDeleteResponse) -> i64 {
    guard_value!(0, |c| Some(c.arg(result).ok()?.result.revision))
}

/// The number of deleted keys; 0 for NULL.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_delete_response_deleted(result: *const KvDeleteResponse) -> i64 {
    guard_value!(0, |c| Some(c.arg(result).ok()?.result.deleted))
}

/// The deleted pair at index, in key order, if prev_kv was set; NULL beyond the last.
///
/// Owner: the result; the pair is valid until it is freed.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_delete_response_prev_kv(
    result: *const KvDeleteResponse,
    index: usize,
) -> *const KvKeyValue {
    guard_value!(std::ptr::null(), |c| c.arg(result).ok()?.prev_kvs.at(index))
}

/// Frees the result of a deletion.
///
/// Owner: frees it; NULL is allowed.
/// Threads: the last use of it.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_delete_response_free(result: *mut KvDeleteResponse) {
    free!(result)
}

/// Compacts: removes history below a revision. Reads below it return KV_COMPACTED from then on.
/// With physical KV_YES the call returns after the space is reusable; otherwise that happens in the
/// background. *out is the store's revision, which does not change.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: KV_COMPACTED (the revision is not above the compacted one), KV_FUTURE_REVISION, and
/// those of kv_put.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_compact(
    db: *const KvDb,
    revision: i64,
    physical: i32,
    out: *mut i64,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        let physical = flag_in(physical, "physical")?.unwrap_or(false);
        c.put(
            out,
            c.arg(db)?
                .0
                .compact(Compact::new(revision).physical(physical))?
                .revision,
        );
        Ok(())
    })
}
