//! The options of open(), and the manual `Clock`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use libkv::AutoCompaction;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDelta, PyFloat, PyString};

use crate::convert::{Dict, durability, each_option, flag, int, one_of, sized, wrong_type};
use crate::guard::{detached, guard};
use crate::request_options::OPEN_OPTIONS;
use crate::words::LIMITS;

/// The path or address, as str, bytes or any os.PathLike.
pub fn target(target: &Bound<'_, PyAny>) -> PyResult<PathBuf> {
    let encoded = target
        .py()
        .import("os")?
        .call_method1("fsencode", (target,))?;
    Ok(PathBuf::from(OsStr::from_bytes(
        encoded.cast::<PyBytes>()?.as_bytes(),
    )))
}

/// Reads the options of open(); None is the default.
pub fn options(options: Option<&Dict<'_>>) -> PyResult<libkv::Options> {
    let mut open_options = libkv::Options::new();
    each_option("open", options, OPEN_OPTIONS, |name, given| {
        if !given.is_none() {
            set(&mut open_options, name, given)?;
        }
        Ok(())
    })?;
    Ok(open_options)
}

fn set(options: &mut libkv::Options, name: &str, given: &Bound<'_, PyAny>) -> PyResult<()> {
    match name {
        "create" => options.create = Some(flag(name, given)?),
        "read_only" => options.read_only = Some(flag(name, given)?),
        "durability" => options.durability = durability(given)?,
        "busy_timeout_ms" => options.busy_timeout_ms = Some(milliseconds(name, given)?),
        "max_bytes" => options.max_bytes = Some(unsigned(name, given)?),
        "max_request_bytes" => options.max_request_bytes = Some(unsigned(name, given)?),
        "max_txn_ops" => options.max_txn_ops = Some(unsigned(name, given)? as usize),
        "limits" => options.limits = Some(one_of(name, given, &LIMITS)?),
        "lease_ttl_min_seconds" => options.lease_ttl_min_seconds = Some(int(name, given)?),
        "auto_compaction" => options.auto_compaction = Some(auto_compaction(name, given)?),
        "max_readers" => options.max_readers = Some(sized(name, given, "0 to 2^32 - 1")?),
        "mode" => options.mode = Some(sized(name, given, "0 to 2^32 - 1")?),
        "clock" => {
            let clock = given
                .cast::<Clock>()
                .map_err(|_| wrong_type(name, "a libkv.Clock", given))?;
            options.clock = Some(clock.get().0.clone());
        }
        "allow_network_fs" => options.allow_network_fs = Some(flag(name, given)?),
        "tls_ca" => options.tls_ca = Some(path(name, given)?),
        "tls_cert" => options.tls_cert = Some(path(name, given)?),
        "tls_key" => options.tls_key = Some(path(name, given)?),
        "tls_server_name" => options.tls_server_name = Some(text(name, given)?),
        "user" => options.user = Some(text(name, given)?),
        "password" => options.password = Some(text(name, given)?.into()),
        "connect_timeout_ms" => options.connect_timeout_ms = Some(milliseconds(name, given)?),
        "request_timeout_ms" => options.request_timeout_ms = Some(milliseconds(name, given)?),
        "keep_alive_ms" => options.keep_alive_ms = Some(milliseconds(name, given)?),
        _ => unreachable!("{name} is not among OPEN_OPTIONS"),
    }
    Ok(())
}

/// A file, as str, bytes or any os.PathLike.
pub fn path(name: &str, given: &Bound<'_, PyAny>) -> PyResult<PathBuf> {
    target(given).map_err(|_| wrong_type(name, "a path (str, bytes or os.PathLike)", given))
}

/// A str.
pub fn text(name: &str, given: &Bound<'_, PyAny>) -> PyResult<String> {
    let text = given
        .cast::<PyString>()
        .map_err(|_| wrong_type(name, "a str", given))?;
    Ok(text.to_str()?.to_string())
}

/// A number that is not negative.
pub fn unsigned(name: &str, given: &Bound<'_, PyAny>) -> PyResult<u64> {
    let number: u64 = sized(name, given, "0 to 2^64 - 1")?;
    Ok(number)
}

/// Milliseconds; infinity is no limit.
fn milliseconds(name: &str, given: &Bound<'_, PyAny>) -> PyResult<u64> {
    match given.cast::<PyFloat>() {
        Ok(number) if number.value() == f64::INFINITY => Ok(u64::MAX),
        _ => unsigned(name, given),
    }
}

/// A number of revisions, or a timedelta.
fn auto_compaction(name: &str, given: &Bound<'_, PyAny>) -> PyResult<AutoCompaction> {
    if !given.is_instance_of::<PyDelta>() {
        return unsigned(name, given).map(AutoCompaction::Revisions);
    }
    let seconds: f64 = given.call_method0("total_seconds")?.extract()?;
    match seconds >= 1.0 {
        true => Ok(AutoCompaction::Seconds(seconds as u64)),
        false => Err(PyValueError::new_err(format!(
            "{name} must keep at least a second, not {given}"
        ))),
    }
}

/// A manual clock for tests: its time changes only by advance().
///
/// Only one process can have a store open with such a clock.
#[pyclass(frozen, module = "libkv")]
pub struct Clock(pub libkv::Clock);

#[pymethods]
impl Clock {
    #[new]
    fn new(unix_ms: &Bound<'_, PyAny>) -> PyResult<Clock> {
        guard(|| Ok(Clock(libkv::Clock::new(int("unix_ms", unix_ms)?))))
    }

    /// Moves the clock forward by ms milliseconds (negative: 0). Returns when everything that
    /// became due is done.
    fn advance(&self, py: Python<'_>, ms: &Bound<'_, PyAny>) -> PyResult<()> {
        guard(|| {
            let ms = int("ms", ms)?;
            detached(py, || {
                self.0.advance(ms);
                Ok(())
            })
        })
    }

    /// Its time in milliseconds since 1970.
    #[getter]
    fn unix_ms(&self) -> i64 {
        self.0.unix_ms()
    }

    fn __repr__(&self) -> String {
        format!("Clock({})", self.0.unix_ms())
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(crate::guard::not_pickled(
            "a Clock",
            "it belongs to the stores of this process",
        ))
    }
}
