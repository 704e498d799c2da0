//! libkv for Python: the native part, `libkv._libkv`. `libkv/_libkv.pyi` says what it has; the package
//! `libkv` passes it on, and `libkv.aio` is written over it.

mod arguments;
mod claim;
mod convert;
mod db;
mod error;
mod follow;
mod guard;
mod handle;
mod lease;
mod options;
mod pairs;
mod request;
mod request_options;
mod response;
mod scan;
mod server;
mod sleep;
mod snapshot;
mod submit;
mod transact;
mod words;

use pyo3::prelude::*;

use crate::convert::Dict;

/// Opens a store: a directory, a file: URL, or ":memory:", which leaves nothing behind; or a cluster of etcd,
/// "etcd://host:port,host:port", "http://…" or "https://…", which has the same calls over the network.
///
/// target is str, bytes or any os.PathLike. Options left out, or None, take their default:
///
///     create               make the store if there is none; False raises NotFoundError (True)
///     read_only            writes raise ReadOnlyError, and nothing is created (False)
///     durability           "sync", "lazy", or "none", which is chosen when a store is made ("sync"); ":memory:"
///                          accepts any: it has nothing to lose
///     busy_timeout_ms      how long to wait for the writer's lock; math.inf is for ever (5,000)
///     max_bytes            quota on pages that hold data, kept in the store; None leaves what it has, 0 is none (None)
///     max_request_bytes    keys and values of one write, summed (64 MiB)
///     max_txn_ops          operations in each list of a txn (100,000)
///     limits               "etcd": a cluster's limits, now
///     lease_ttl_min_seconds   smaller TTLs are raised to it (1)
///     auto_compaction      a number of revisions to keep, or a datetime.timedelta (off)
///     max_readers          read transactions at one moment, all processes (1,024)
///     mode                 permissions of the files that are made (0o600)
///     clock                a Clock that a test sets (the system's)
///     allow_network_fs     open on a network file system all the same (False)
///
/// A cluster has these instead:
///
///     tls_ca               file (PEM) of the authorities to trust (those that the system trusts)
///     tls_cert, tls_key    files (PEM) of this client's certificate and its key
///     tls_server_name      the name that the servers' certificates must have (each endpoint's host)
///     user, password       whom to log in
///     connect_timeout_ms   how long to try to reach an endpoint (5,000)
///     request_timeout_ms   how long to wait for an answer; math.inf is for ever (30,000)
///     keep_alive_ms        how long a connection may be silent before it is probed (10,000)
///
/// Raises NotFoundError, NotAStoreError, IncompatibleError, BusyError, PermissionDeniedError,
/// InvalidArgumentError (an option that disagrees with the environment that is open in this process, or that
/// only the other kind of store has), UnsupportedError, FullError, IoError; for a cluster UnavailableError,
/// which names each endpoint with its reason, and UnauthenticatedError. Nothing that was there is changed by
/// any of them.
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

/// Serves a store to etcd's clients, in any language, until what this returns is closed: a Server, ready for
/// them. Meant above all for tests: `kv serve` is the program for the rest.
///
/// db is a Db; address is "host:port" (port 0 takes a free one), "http://host:port", "https://host:port" (TLS,
/// with cert_file and key_file), or "unix:///path". trusted_ca_file has the authorities that clients'
/// certificates come from; with client_cert_auth others are refused. Clients have the limits of db unless
/// max_request_bytes (keys and values of one write) or max_txn_ops (operations in each list of a txn) is lower. The store stays usable here and in other
/// processes; watchers on either side see what the other writes.
///
/// Raises InvalidArgumentError (an address or a file that cannot be read), BusyError (the address is in use),
/// PermissionDeniedError, IoError, ClosedError, UnsupportedError (a cluster, or a build without the feature etcd).
#[pyfunction]
#[pyo3(
    signature = (db, address=None, **options),
    // generated from bindings/vocabulary/vocabulary.toml: serve
    text_signature = "(db, address='127.0.0.1:0', *, cert_file=None, key_file=None, trusted_ca_file=None, client_cert_auth=False, max_request_bytes=None, max_txn_ops=None)"
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

/// Panics, so that a test can see that no panic gets through.
#[pyfunction]
fn _panic() -> PyResult<()> {
    guard::guard(|| panic!("asked for"))
}

/// Every name of an error code, so that a test can compare the classes.
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
    module.add_function(wrap_pyfunction!(_panic, module)?)?;
    module.add_function(wrap_pyfunction!(_codes, module)?)?;
    module.add_class::<db::Db>()?;
    module.add_class::<snapshot::Snapshot>()?;
    module.add_class::<scan::Scan>()?;
    module.add_class::<scan::EventScan>()?;
    module.add_class::<scan::DiffScan>()?;
    module.add_class::<transact::Transaction>()?;
    module.add_class::<follow::Watcher>()?;
    module.add_class::<follow::Leaders>()?;
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
    module.add_class::<response::KeyValue>()?;
    module.add_class::<pairs::KeyValues>()?;
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
    module.add_class::<response::Problem>()?;
    module.add_class::<response::CheckReport>()?;
    module.add_class::<submit::Answers>()?;
    module.add_class::<submit::Submitted>()?;
    module.add_class::<submit::Asked>()?;
    module.add_class::<follow::Wait>()?;
    module.add_class::<claim::AsyncClaim>()?;
    module.add_class::<transact::Retries>()?;
    module.add_class::<transact::Ended>()?;
    // the package says what is public
    module.delattr("__all__")
}
