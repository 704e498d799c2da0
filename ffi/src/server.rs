//! A store served to any etcd client, in this process.
#![allow(unsafe_code)]

use std::ffi::{CString, c_char};

use libkv::{Db, Result};

use crate::db::KvDb;
use crate::error::KvError;
use crate::guard::{free, guard, guard_value};
use crate::handle::{invalid, kinds};
use crate::pointers::{Caller, require_output};
use crate::types::*;

/// A server that serves a store to etcd clients.
pub struct KvServer;

/// The contents of a `kv_server`.
pub(crate) struct ServerContents {
    address: CString,
    _server: net::Server,
}

kinds! { KvServer = ServerContents, b"kv_serve", "kv_server"; }

/// Options of kv_serve; initialise with KV_SERVE_OPTIONS_INIT.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct KvServeOptions {
    /// sizeof(kv_serve_options).
    pub size: usize,
    /// The file (PEM) of the server's certificate; needed for an https address, with key_file.
    pub cert_file: *const c_char,
    /// The file (PEM) of the private key.
    pub key_file: *const c_char,
    /// The file (PEM) of the certificate authorities of client certificates.
    pub trusted_ca_file: *const c_char,
    /// KV_YES refuses clients without a certificate from trusted_ca_file.
    pub client_cert_auth: i32,
    /// The largest write that clients may send, counted as by kv_options.max_request_bytes; 0: the
    /// limit of the database. A limit above that one has no effect on a write. A message may be
    /// 512 KiB larger.
    pub max_request_bytes: u64,
    /// The maximum number of operations in each list of a client's txn; 0: the limit of the
    /// database. A limit above that one has no effect.
    pub max_txn_ops: u64,
    /// The tokens of users that log in; NULL: "simple", which the server keeps in memory. A text
    /// like "jwt,sign-method=RS256,priv-key=FILE,pub-key=FILE,ttl=5m" signs them. "": no tokens,
    /// only client certificates.
    pub auth_token: *const c_char,
    /// How long a simple token is valid after its last use, in seconds; 0: 300.
    pub auth_token_ttl_seconds: u64,
    /// The cost of the hashes of new passwords, 4 to 31; 0: 10. Each step doubles the time.
    pub bcrypt_cost: u32,
}

// SAFETY: numbers and pointers only, size first.
unsafe impl OptionStruct for KvServeOptions {
    const NAME: &'static str = "kv_serve_options";
}

/// What the feature `etcd` brings.
#[cfg(feature = "etcd")]
mod net {
    use super::*;

    pub use libkv_etcd::Server;

    pub fn serve(
        c: &Caller,
        db: &Db,
        address: &str,
        options: &KvServeOptions,
    ) -> Result<(Server, String)> {
        let mut how = libkv_etcd::Serve::new(address);
        if let Some(path) = c.path(options.cert_file) {
            how = how.cert_file(path);
        }
        if let Some(path) = c.path(options.key_file) {
            how = how.key_file(path);
        }
        if let Some(path) = c.path(options.trusted_ca_file) {
            how = how.trusted_ca_file(path);
        }
        if let Some(wanted) = flag_in(options.client_cert_auth, "client_cert_auth")? {
            how = how.client_cert_auth(wanted);
        }
        if options.max_request_bytes != 0 {
            how = how.max_request_bytes(options.max_request_bytes);
        }
        if options.max_txn_ops != 0 {
            how = how.max_txn_ops(usize::try_from(options.max_txn_ops).unwrap_or(usize::MAX));
        }
        if let Some(tokens) = c.word(options.auth_token, "auth_token")? {
            how = how.auth_token(tokens);
        }
        if options.auth_token_ttl_seconds != 0 {
            how = how.auth_token_ttl_seconds(options.auth_token_ttl_seconds);
        }
        if options.bcrypt_cost != 0 {
            how = how.bcrypt_cost(options.bcrypt_cost);
        }
        let server = libkv_etcd::serve(db, how)?;
        let address = server.address().to_string();
        Ok((server, address))
    }
}

/// A library without a network.
#[cfg(not(feature = "etcd"))]
mod net {
    use super::*;

    pub enum Server {}

    pub fn serve(
        _: &Caller,
        _: &Db,
        address: &str,
        _: &KvServeOptions,
    ) -> Result<(Server, String)> {
        let message =
            format!("this libkv was built without the feature etcd: it cannot serve at {address}");
        Err(libkv::Error::new(libkv::Code::Unsupported, message))
    }
}

/// Serves a store to etcd clients until the server is freed. The server accepts connections when
/// this call returns. It is meant mainly for tests; `kv serve` is the program for other uses. The
/// store stays usable here and in other processes. Watchers on either side receive the writes of
/// the other.
///
/// The address is "HOST:PORT" (port 0 selects a free port), "http://HOST:PORT", "https://HOST:PORT"
/// (TLS), or "unix:///PATH". kv_server_address returns the address for clients. After the database
/// is closed clients get errors; connections stay open until the server is freed. While
/// authentication is on (kv_auth_enable) the server checks the users of its clients.
///
/// Owner: *out is owned by the caller, to free before or after the database; address and options
/// are not kept.
/// Threads: any. The server uses its own threads, which never call the program's code.
/// Errors: KV_INVALID_ARGUMENT (an address or a file that cannot be read), KV_BUSY (the address is
/// in use), KV_PERMISSION_DENIED, KV_IO, KV_UNSUPPORTED (a cluster; or a library without its
/// feature etcd), KV_CLOSED, KV_FORKED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_serve(
    db: *const KvDb,
    address: *const c_char,
    options: *const KvServeOptions,
    out: *mut *mut KvServer,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        require_output(out, "out")?;
        let db = &c.arg(db)?.0;
        let address = c.text(address, "the address")?;
        let address = address
            .to_str()
            .map_err(|_| invalid("the address is not UTF-8"))?;
        let (server, address) = net::serve(c, db, address, &c.options(options)?)?;
        let address = CString::new(address).map_err(|_| invalid("the address has a zero byte"))?;
        c.give::<KvServer>(
            out,
            ServerContents {
                address,
                _server: server,
            },
        );
        Ok(())
    })
}

/// The address of a server for clients: "http://127.0.0.1:41234", "unix:///path"; NULL for NULL.
///
/// Owner: the server; the text is valid until it is freed.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_server_address(server: *const KvServer) -> *const c_char {
    guard_value!(std::ptr::null(), |c| Some(
        c.arg(server).ok()?.address.as_ptr()
    ))
}

/// Stops a server: it stops listening, requests in progress may finish for a short time, streams
/// are closed. The database stays open. In a forked child it only frees the handle.
///
/// Owner: frees it; NULL is allowed.
/// Threads: the last use of it.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_server_free(server: *mut KvServer) {
    free!(server)
}
