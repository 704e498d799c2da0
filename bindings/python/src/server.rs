//! `Server`: an etcd server over a store of this process.

use std::sync::{Mutex, PoisonError};

use libkv::Result;
use pyo3::prelude::*;

use crate::convert::{Dict, each_option, flag, sized, wrong_type};
use crate::db::Db;
use crate::guard::{detached, guard, not_pickled};
use crate::handle::Handle;
use crate::options::{path, text, unsigned};
use crate::request_options::SERVE_OPTIONS;

/// The server, with the feature `etcd`.
#[cfg(feature = "etcd")]
mod net {
    use super::*;

    pub use libkv_etcd::{Serve, Server};

    pub fn set(options: Serve, name: &str, given: &Bound<'_, PyAny>) -> PyResult<Serve> {
        Ok(match name {
            "cert_file" => options.cert_file(path(name, given)?),
            "key_file" => options.key_file(path(name, given)?),
            "trusted_ca_file" => options.trusted_ca_file(path(name, given)?),
            "max_request_bytes" => options.max_request_bytes(unsigned(name, given)?),
            "max_txn_ops" => options.max_txn_ops(unsigned(name, given)? as usize),
            "auth_token" => options.auth_token(text(name, given)?),
            "auth_token_ttl_seconds" => options.auth_token_ttl_seconds(unsigned(name, given)?),
            "bcrypt_cost" => options.bcrypt_cost(sized(name, given, "0 to 2^32 - 1")?),
            _ => options.client_cert_auth(flag(name, given)?),
        })
    }

    pub fn serve(db: &libkv::Db, options: Serve) -> Result<(Server, String)> {
        let server = libkv_etcd::serve(db, options)?;
        let address = server.address().to_string();
        Ok((server, address))
    }
}

/// Without the feature `etcd` there is no network code.
#[cfg(not(feature = "etcd"))]
mod net {
    use super::*;

    pub struct Serve(String);

    impl Serve {
        pub fn new(address: String) -> Serve {
            Serve(address)
        }
    }

    pub enum Server {}

    impl Server {
        pub fn close(&self) {
            match *self {}
        }
    }

    pub fn set(options: Serve, name: &str, given: &Bound<'_, PyAny>) -> PyResult<Serve> {
        match name {
            "client_cert_auth" => flag(name, given).map(drop)?,
            "max_request_bytes" | "max_txn_ops" | "auth_token_ttl_seconds" => {
                unsigned(name, given).map(drop)?
            }
            "auth_token" => text(name, given).map(drop)?,
            "bcrypt_cost" => sized::<u32>(name, given, "0 to 2^32 - 1").map(drop)?,
            _ => path(name, given).map(drop)?,
        }
        Ok(options)
    }

    pub fn serve(_: &libkv::Db, options: Serve) -> Result<(Server, String)> {
        let message = format!(
            "this libkv was built without the feature etcd: it cannot serve at {}",
            options.0
        );
        Err(libkv::Error::new(libkv::Code::Unsupported, message))
    }
}

/// See `libkv.serve`.
pub fn serve(
    py: Python<'_>,
    db: &Bound<'_, PyAny>,
    address: Option<&Bound<'_, PyAny>>,
    keywords: Option<&Dict<'_>>,
) -> PyResult<Server> {
    let db = db
        .cast::<Db>()
        .map_err(|_| wrong_type("db", "a libkv.Db", db))?
        .get()
        .handle();
    let address = address.map_or_else(
        || Ok("127.0.0.1:0".to_string()),
        |address| text("address", address),
    )?;
    let mut options = Some(net::Serve::new(address));
    each_option("serve", keywords, SERVE_OPTIONS, |name, given| {
        if !given.is_none() {
            options = options
                .take()
                .map(|options| net::set(options, name, given))
                .transpose()?;
        }
        Ok(())
    })?;
    let options = options.expect("each option returns it");
    db.ensure_open()?;
    let (server, address) = detached(py, || net::serve(db, options))?;
    Ok(Server {
        address,
        server: Mutex::new(Some(server)),
        db: db.clone(),
    })
}

/// An etcd server over a store; created by serve(). A context manager that closes it.
///
/// It keeps the store open. After the store is closed its clients get errors.
#[pyclass(frozen, module = "libkv")]
pub struct Server {
    address: String,
    /// None after it is closed. Locked only for moments.
    server: Mutex<Option<net::Server>>,
    db: Handle,
}

impl Server {
    fn take(&self) -> Option<net::Server> {
        self.server
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

#[pymethods]
impl Server {
    /// The address for clients: "http://127.0.0.1:41234", "https://…", "unix:///path".
    #[getter]
    fn address(&self) -> &str {
        &self.address
    }

    /// Whether it is closed.
    #[getter]
    fn closed(&self) -> bool {
        self.server
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_none()
    }

    /// Closes the server. It waits a short time for requests under way and ends streams. The store
    /// stays open. A second close has no effect.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        guard(|| {
            let server = self.take();
            detached(py, || {
                if let Some(server) = server {
                    server.close();
                }
                Ok(())
            })
        })
    }

    fn __enter__(slf: PyRef<'_, Self>) -> PyResult<PyRef<'_, Self>> {
        slf.db.ensure_open()?;
        Ok(slf)
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyAny>) -> PyResult<()> {
        self.close(py)
    }

    fn __repr__(&self) -> String {
        let closed = if self.closed() { ", closed" } else { "" };
        format!("<libkv.Server at {}{closed}>", self.address)
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(not_pickled(
            "a Server",
            "its address is a str, which is all that a client needs",
        ))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let mut server = self.take();
        if server.is_some() {
            // without the interpreter, because it waits for requests under way
            Python::try_attach(|py| py.detach(|| server = None));
        }
    }
}
