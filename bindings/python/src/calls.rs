//! The requests that several classes share: a key, a range, a write, a txn.

use libkv::{Code, Error, PairRef, Request, Response};
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::convert::bytes;
use crate::error::raise;
use crate::guard::detached;
use crate::interrupt::call;
use crate::key_value::{KeyValue, pair_of};
use crate::key_values::PairBuffer;
use crate::response;
use crate::value::IntoPython;

/// Values up to this size are copied from the store to the caller's buffer without an allocation.
const STACK_BYTES: usize = 1_024;

/// Reads one key at a revision (0: the current one). Holds the interpreter: the read of one key
/// does not wait and takes less time than releasing the interpreter.
#[inline]
pub fn get<'py>(
    db: &libkv::Db,
    key: &Bound<'py, PyAny>,
    revision: i64,
) -> PyResult<Option<Py<KeyValue>>> {
    let py = key.py();
    let name = bytes("key", key)?;
    let found = match db.is_remote() {
        true => remote_get(py, db, &name, revision)?,
        false if revision == 0 => db.get(&name).map_err(raise)?,
        false => db.get_at(&name, revision).map_err(raise)?,
    };
    let Some(kv) = found else { return Ok(None) };
    let key = match key.cast::<PyBytes>() {
        Ok(key) => key.clone().unbind(),
        Err(_) => PyBytes::new(py, &kv.key).unbind(),
    };
    pair_of(py, key, PairRef::from(&kv)).map(Some)
}

/// Reads one key of a cluster with a request, so that Ctrl-C ends the wait.
#[cold]
fn remote_get(
    py: Python<'_>,
    db: &libkv::Db,
    key: &[u8],
    revision: i64,
) -> PyResult<Option<libkv::KeyValue>> {
    match call(py, db, libkv::Range::new(key).revision(revision.max(0)))? {
        Response::Range(response) => Ok(response.kvs.into_iter().next()),
        _ => Err(wrong_response()),
    }
}

/// Copies the value of one key into a buffer and returns the value's length; none if there is no
/// such key. Copies nothing if the buffer is too small.
pub fn get_into(
    db: &libkv::Db,
    key: &[u8],
    buffer: &PyBuffer<u8>,
    py: Python<'_>,
) -> PyResult<Option<usize>> {
    if buffer.readonly() {
        return Err(PyTypeError::new_err(
            "buffer must be writable (a bytearray, or a memoryview of one)",
        ));
    }
    let remote = db
        .is_remote()
        .then(|| remote_get(py, db, key, 0))
        .transpose()?;
    // no other thread can access the cells: this thread holds the interpreter, this module has no
    // free-threaded build (abi3), and no Python code runs while they are written
    #[allow(deprecated)]
    let cells = buffer
        .as_mut_slice(py)
        .ok_or_else(|| PyValueError::new_err("buffer must be contiguous"))?;
    let copy = |value: &[u8]| {
        if let Some(cells) = cells.get(..value.len()) {
            cells
                .iter()
                .zip(value)
                .for_each(|(cell, byte)| cell.set(*byte));
        }
        value.len()
    };
    if let Some(found) = remote {
        return Ok(found.map(|kv| copy(&kv.value)));
    }
    let mut stack = [0; STACK_BYTES];
    match db.get_into(key, &mut stack).map_err(raise)? {
        Some(len) if len > stack.len() => Ok(db.get(key).map_err(raise)?.map(|kv| copy(&kv.value))),
        found => Ok(found.map(|len| copy(&stack[..len]))),
    }
}

/// Reads the pairs of a range, without the interpreter.
pub fn range(py: Python<'_>, db: &libkv::Db, request: libkv::Range) -> PyResult<Py<PyAny>> {
    if db.is_remote() {
        return run(py, db, request);
    }
    let (response, pairs) = detached(py, || {
        let mut pairs = PairBuffer::default();
        let response = db.range_each(&request, |pair| pairs.push(pair))?;
        Ok((response, pairs))
    })?;
    Ok(response::range(py, &response, pairs)?.into_any())
}

/// Runs a request; the response has the class of the request's kind.
pub fn run(py: Python<'_>, db: &libkv::Db, request: impl Into<Request>) -> PyResult<Py<PyAny>> {
    call(py, db, request)?.into_python(py)
}

/// Runs a txn.
pub fn run_txn(py: Python<'_>, db: &libkv::Db, txn: libkv::Txn) -> PyResult<libkv::TxnResponse> {
    match call(py, db, txn)? {
        Response::Txn(response) => Ok(response),
        _ => Err(wrong_response()),
    }
}

/// The exception for a response of the wrong kind, which is a defect of the engine.
pub fn wrong_response() -> PyErr {
    raise(Error::new(
        Code::Internal,
        "the engine returned the response of another kind of request",
    ))
}
