//! A store served to any etcd client, in this process.

use std::sync::{Mutex, PoisonError};

use libkv::Result;
use pyo3::prelude::*;

use crate::convert::{Dict, each_option, flag};
use crate::db::Db;
use crate::guard::{detached, guard, not_pickled};
use crate::handle::Handle;
use crate::options::{path, text, unsigned};
use crate::request_options::SERVE_OPTIONS;

/// How it is served, as the feature `etcd` wants it.
#[cfg(feature = "etcd")]
mod net {
    use super::*;

    pub use libkv_etcd::{Serve, Server};

    pub fn set(how: Serve, name: &str, given: &Bound<'_, PyAny>) -> PyResult<Serve> {
        Ok(match name {
            "cert_file" => how.cert_file(path(name, given)?),
            "key_file" => how.key_file(path(name, given)?),
            "trusted_ca_file" => how.trusted_ca_file(path(name, given)?),
            "max_request_bytes" => how.max_request_bytes(unsigned(name, given)?),
            "max_txn_ops" => how.max_txn_ops(unsigned(name, given)? as usize),
            _ => how.client_cert_auth(flag(name, given)?),
        })
    }

    pub fn serve(db: &libkv::Db, how: Serve) -> Result<(Server, String)> {
        let server = libkv_etcd::serve(db, how)?;
        let address = server.address().to_string();
        Ok((server, address))
    }
}

/// A module without a network.
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

    pub fn set(how: Serve, name: &str, given: &Bound<'_, PyAny>) -> PyResult<Serve> {
        match name {
            "client_cert_auth" => flag(name, given).map(drop)?,
            "max_request_bytes" | "max_txn_ops" => unsigned(name, given).map(drop)?,
            _ => path(name, given).map(drop)?,
        }
        Ok(how)
    }

    pub fn serve(_: &libkv::Db, how: Serve) -> Result<(Server, String)> {
        let message = format!(
            "this libkv was built without the feature etcd: it cannot serve at {}",
            how.0
        );
        Err(libkv::Error::new(libkv::Code::Unsupported, message))
    }
}

/// See `libkv.serve`.
pub fn serve(
    py: Python<'_>,
    db: &Bound<'_, PyAny>,
    address: Option<&Bound<'_, PyAny>>,
    options: Option<&Dict<'_>>,
) -> PyResult<Server> {
    let db = db
        .cast::<Db>()
        .map_err(|_| crate::convert::wrong_type("db", "a libkv.Db", db))?
        .get()
        .handle();
    let address = address.map_or_else(
        || Ok("127.0.0.1:0".to_string()),
        |address| text("address", address),
    )?;
    let mut how = Some(net::Serve::new(address));
    each_option("serve", options, SERVE_OPTIONS, |name, given| {
        if !given.is_none() {
            how = how
                .take()
                .map(|how| net::set(how, name, given))
                .transpose()?;
        }
        Ok(())
    })?;
    let how = how.expect("it is put back after each option");
    db.ensure_open()?;
    let (server, address) = detached(py, || net::serve(db, how))?;
    Ok(Server {
        address,
        serving: Mutex::new(Some(server)),
        db: db.clone(),
    })
}

/// A store that is served to etcd's clients; made by serve(). A context manager that closes it.
///
/// It keeps the store open. Once the store is closed its clients get errors.
#[pyclass(frozen, module = "libkv")]
pub struct Server {
    address: String,
    /// None once it is closed. Held for moments only.
    serving: Mutex<Option<net::Server>>,
    db: Handle,
}

impl Server {
    fn take(&self) -> Option<net::Server> {
        self.serving
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

#[pymethods]
impl Server {
    /// Where it listens, as clients take it: "http://127.0.0.1:41234", "https://…", "unix:///path".
    #[getter]
    fn address(&self) -> &str {
        &self.address
    }

    /// Whether it was closed.
    #[getter]
    fn closed(&self) -> bool {
        self.serving
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_none()
    }

    /// Ends it: requests under way get their answers if that is quick, streams are cut. The store stays open.
    /// Closing twice is fine.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        guard(|| {
            let serving = self.take();
            detached(py, || {
                if let Some(server) = serving {
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
        let mut serving = self.take();
        if serving.is_some() {
            // it waits for requests under way: not with the interpreter
            Python::try_attach(|py| py.detach(|| serving = None));
        }
    }
}
