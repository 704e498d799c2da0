//! libkv for Python: the native part, `libkv._libkv`. `libkv/_libkv.pyi` has its signatures. The
//! package `libkv` exports it, and `libkv.aio` is implemented with it.
//!
//! | file | has |
//! |---|---|
//! | `guard`, `error` | the border: panics and errors become exceptions |
//! | `parker`, `interrupt` | waits that Ctrl-C ends |
//! | `convert`, `words`, `request`, `request_options`, `arguments`, `options` | arguments of Python as values of the library |
//! | `value`, `key_value`, `key_values`, `response` | values of the library as Python objects |
//! | `calls` | requests that several classes share |
//! | `member` | members of a cluster, and snapshot files |
//! | `auth` | users, roles and permissions |
//! | `mailbox` | results for the futures of an event loop |
//! | `db`, `snapshot`, `scan`, `transact`, `watch`, `lease`, `claim`, `server` | the classes |

mod arguments;
mod auth;
mod calls;
mod claim;
mod convert;
mod db;
mod error;
mod guard;
mod handle;
mod interrupt;
mod key_value;
mod key_values;
mod lease;
mod mailbox;
mod member;
mod options;
mod parker;
mod request;
mod request_options;
mod response;
mod scan;
mod server;
mod snapshot;
mod transact;
mod value;
mod watch;
mod words;

use pyo3::prelude::*;

use crate::convert::Dict;

/// Opens a store and returns a Db. target is a directory, a file: URL, or ":memory:" for a store
/// without files. "etcd://host:port,host:port", "http://…" or "https://…" open an etcd cluster,
/// which has the same calls over the network.
///
/// target is str, bytes or any os.PathLike. An option that is left out, or None, has its default:
///
///     create               create the store if there is none; False raises NotFoundError (True)
///     read_only            writes raise ReadOnlyError, and no store is created (False)
///     durability           "sync", "lazy", or "none", which is chosen when a store is created
///                          ("sync"); ":memory:" accepts all and ignores them
///     busy_timeout_ms      how long to wait for the write lock; math.inf: no limit (5,000)
///     max_bytes            quota on the pages with data, stored in the store; None keeps the
///                          present one, 0 removes it (None)
///     max_request_bytes    largest sum of keys and values of one write (64 MiB)
///     max_txn_ops          largest number of operations in each list of a txn (100,000)
///     limits               "etcd": the limits of a cluster
///     lease_ttl_min_seconds   smaller TTLs are raised to it (1)
///     auto_compaction      number of revisions to keep, or a datetime.timedelta (off)
///     max_readers          read transactions of all processes at one moment (1,024)
///     mode                 permissions of new files (0o600)
///     clock                a manual Clock, for tests (the system's clock)
///     allow_network_fs     open the store also on a network file system (False)
///
/// A cluster has these options instead:
///
///     tls_ca               file (PEM) of the trusted authorities (those of the system)
///     tls_cert, tls_key    files (PEM) of this client's certificate and its key
///     tls_server_name      the name in the servers' certificates (the host of each endpoint)
///     user, password       the user to log in
///     connect_timeout_ms   how long to try to connect to an endpoint (5,000)
///     request_timeout_ms   how long to wait for a response; math.inf: no limit (30,000)
///     keep_alive_ms        silence after which a connection is probed (10,000)
///
/// Raises NotFoundError, NotAStoreError, IncompatibleError, BusyError, PermissionDeniedError,
/// InvalidArgumentError (an option that differs from the store that is open in this process, or
/// that only the other kind of store has), UnsupportedError, FullError, IoError; for a cluster
/// UnavailableError, which names each endpoint with its reason, and UnauthenticatedError. None of
/// them changes an existing store.
#[pyfunction]
#[pyo3(
    signature = (target, **options),
    // generated from bindings/vocabulary/vocabulary.toml: open
    text_signature = "(target, *, create=True, read_only=False, durability=None, busy_timeout_ms=5000, max_bytes=None, max_request_bytes=None, max_txn_ops=None, limits=None, lease_ttl_min_seconds=None, auto_compaction=None, max_readers=None, mode=None, clock=None, allow_network_fs=False, tls_ca=None, tls_cert=None, tls_key=None, tls_server_name=None, user=None, password=None, connect_timeout_ms=None, request_timeout_ms=None, keep_alive_ms=None)"
    // end of generated
)]
fn open(py: Python<'_>, target: &Bound<'_, PyAny>, options: Option<&Dict<'_>>) -> PyResult<db::Db> {
    guard::guard(|| db::Db::open(py, target, options))
}

/// Serves a store to etcd clients in any language. Returns a Server, which accepts clients until it
/// is closed. It is made for tests; in production use the program `kv serve`.
///
/// db is a Db. address is "host:port" (port 0 takes a free one), "http://host:port",
/// "https://host:port" (TLS, with cert_file and key_file), or "unix:///path". trusted_ca_file has
/// the authorities of the clients' certificates; with client_cert_auth clients without a
/// certificate are refused. Clients have the limits of db, unless max_request_bytes (sum of keys
/// and values of one write) or max_txn_ops (operations in each list of a txn) is lower. The store
/// stays usable here and in other processes, and watchers on both sides see all writes.
///
/// After auth_enable() it checks the users of its clients. auth_token is "simple" (tokens in
/// memory, valid for auth_token_ttl_seconds after their last use), or a text like
/// "jwt,sign-method=RS256,priv-key=FILE,pub-key=FILE,ttl=5m" (signed tokens). bcrypt_cost is the
/// cost of the hashes of new passwords, 4 to 31.
///
/// Raises InvalidArgumentError (an invalid address, an unreadable file), BusyError (the address is
/// in use), PermissionDeniedError, IoError, ClosedError, UnsupportedError (a cluster, or a build
/// without the feature etcd).
#[pyfunction]
#[pyo3(
    signature = (db, address=None, **options),
    // generated from bindings/vocabulary/vocabulary.toml: serve
    text_signature = "(db, address='127.0.0.1:0', *, cert_file=None, key_file=None, trusted_ca_file=None, client_cert_auth=False, max_request_bytes=None, max_txn_ops=None, auth_token=None, auth_token_ttl_seconds=None, bcrypt_cost=None)"
    // end of generated
)]
fn serve(
    py: Python<'_>,
    db: &Bound<'_, PyAny>,
    address: Option<&Bound<'_, PyAny>>,
    options: Option<&Dict<'_>>,
) -> PyResult<server::Server> {
    guard::guard(|| server::serve(py, db, address, options))
}

/// Makes a store in the directory store from a snapshot: a file of Db.snapshot_save(), or of etcd 3.4
/// or later. Returns the store's revision.
///
/// The directory must not exist, or be empty. The snapshot is verified first, and the store is
/// complete or not there. With skip_hash_check the file need not end with its SHA-256, as a copy of
/// etcd's member/snap/db. Both paths are str, bytes or any os.PathLike.
///
/// Raises NotFoundError, PermissionDeniedError (the file), ExistsError (the store), CorruptError (the
/// file is damaged or no snapshot), FullError, IoError, UnsupportedError (a build without the feature
/// etcd).
#[pyfunction]
#[pyo3(
    signature = (snapshot, store, **options),
    text_signature = "(snapshot, store, *, skip_hash_check=False)"
)]
fn restore(
    py: Python<'_>,
    snapshot: &Bound<'_, PyAny>,
    store: &Bound<'_, PyAny>,
    options: Option<&Dict<'_>>,
) -> PyResult<i64> {
    guard::guard(|| {
        let (snapshot, store) = (
            options::path("snapshot", snapshot)?,
            options::path("store", store)?,
        );
        let skip = convert::only_option("restore", options, "skip_hash_check", convert::flag)?;
        guard::detached(py, || {
            member::restore(snapshot, &store, skip.unwrap_or(false))
        })
    })
}

/// Panics, so that a test can check that no panic crosses the border.
#[pyfunction]
fn _panic() -> PyResult<()> {
    guard::guard(|| panic!("panic for a test"))
}

/// The names of all error codes, so that a test can compare the classes.
#[pyfunction]
fn _codes() -> Vec<&'static str> {
    libkv::Code::ALL.iter().map(|code| code.name()).collect()
}

#[pymodule(gil_used = false)]
fn _libkv(module: &Bound<'_, PyModule>) -> PyResult<()> {
    guard::refuse_other_interpreters(module.py())?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_function(wrap_pyfunction!(open, module)?)?;
    module.add_function(wrap_pyfunction!(serve, module)?)?;
    module.add_function(wrap_pyfunction!(restore, module)?)?;
    module.add_function(wrap_pyfunction!(_panic, module)?)?;
    module.add_function(wrap_pyfunction!(_codes, module)?)?;
    module.add_class::<db::Db>()?;
    module.add_class::<snapshot::Snapshot>()?;
    module.add_class::<scan::Scan>()?;
    module.add_class::<scan::EventScan>()?;
    module.add_class::<scan::DiffScan>()?;
    module.add_class::<transact::Transaction>()?;
    module.add_class::<watch::Watcher>()?;
    module.add_class::<watch::Leaders>()?;
    module.add_class::<lease::Lease>()?;
    module.add_class::<claim::Lock>()?;
    module.add_class::<claim::Election>()?;
    module.add_class::<server::Server>()?;
    module.add_class::<options::Clock>()?;
    module.add_class::<request::Put>()?;
    module.add_class::<request::Range>()?;
    module.add_class::<request::Delete>()?;
    module.add_class::<request::Compare>()?;
    module.add_class::<request::Txn>()?;
    module.add_class::<request::OtherRequest>()?;
    module.add_class::<key_value::KeyValue>()?;
    module.add_class::<key_values::KeyValues>()?;
    module.add_class::<response::PutResponse>()?;
    module.add_class::<response::RangeResponse>()?;
    module.add_class::<response::DeleteResponse>()?;
    module.add_class::<response::TxnResponse>()?;
    module.add_class::<response::CompactResponse>()?;
    module.add_class::<response::Event>()?;
    module.add_class::<response::Difference>()?;
    module.add_class::<response::WatchBatch>()?;
    module.add_class::<response::LeaseGrantResponse>()?;
    module.add_class::<response::LeaseRevokeResponse>()?;
    module.add_class::<response::LeaseKeepAliveResponse>()?;
    module.add_class::<response::LeaseTimeToLiveResponse>()?;
    module.add_class::<response::Status>()?;
    module.add_class::<response::AlarmMember>()?;
    module.add_class::<auth::AuthStatus>()?;
    module.add_class::<auth::Permission>()?;
    module.add_class::<response::Problem>()?;
    module.add_class::<response::CheckReport>()?;
    module.add_class::<member::Member>()?;
    module.add_class::<member::HashKvResponse>()?;
    module.add_class::<mailbox::Mailbox>()?;
    module.add_class::<mailbox::Submission>()?;
    module.add_class::<mailbox::PendingResponse>()?;
    module.add_class::<watch::Wait>()?;
    module.add_class::<claim::AsyncClaim>()?;
    module.add_class::<transact::Retries>()?;
    module.add_class::<transact::Attempt>()?;
    // the package defines what is public
    module.delattr("__all__")
}
