//! Optimistic transactions: `transact`, and the `Transaction` that its function gets.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use libkv::{Code, Error, TRANSACT_RETRIES};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::sync::MutexExt;

use crate::calls::run_txn;
use crate::convert::{Dict, OptionalArg, bytes, only_option, sized, wrong_type};
use crate::error::{has_code, raise};
use crate::guard::{detached, guard, not_pickled};
use crate::handle::Handle;
use crate::key_value::KeyValue;
use crate::request;
use crate::response::RangeResponse;
use crate::value::{IntoField, IntoPython};

/// The option of transact(); None: no limit.
pub fn max_retries(options: Option<&Dict<'_>>) -> PyResult<Option<u32>> {
    let most = only_option(
        "transact",
        options,
        "max_retries",
        |name, given| match given.is_none() {
            true => Ok(None),
            false => sized(name, given, "0 to 2^32 - 1").map(Some),
        },
    )?;
    Ok(most.unwrap_or(Some(TRANSACT_RETRIES)))
}

/// See `Db.transact`.
pub fn transact<'py>(
    db: &Handle,
    body: &Bound<'py, PyAny>,
    most: Option<u32>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = body.py();
    if !body.is_callable() {
        return Err(wrong_type("fn", "a function of one argument", body));
    }
    let mut retries = libkv::Retries::new(most);
    loop {
        let transaction = Bound::new(py, Transaction::new(db))?;
        let result = body.call1((&transaction,));
        let (overtaken, transaction) = transaction.get().end(py)?;
        match result {
            Ok(value) => {
                refuse_awaitable(&value)?;
                let Some(txn) = transaction.txn() else {
                    return Ok(value);
                };
                if run_txn(py, db, txn)?.succeeded {
                    return Ok(value);
                }
            }
            Err(error) if overtaken && has_code(py, &error, Code::Compacted) => {}
            Err(error) => return Err(error),
        }
        let wait = retries.after(&transaction).map_err(raise)?;
        py.check_signals()?;
        detached(py, || {
            thread::sleep(wait);
            Ok(())
        })?;
    }
}

/// Refuses a coroutine: it has not run yet, so there is nothing to commit.
fn refuse_awaitable(value: &Bound<'_, PyAny>) -> PyResult<()> {
    if value.hasattr("__await__")? {
        let _ = value.call_method0("close");
        return Err(PyTypeError::new_err(
            "fn is async: await the transact() of libkv.aio",
        ));
    }
    Ok(())
}

/// The argument of the function that transact() runs.
///
/// Reads see one revision with the writes of this transaction. Writes are collected and committed
/// in one txn after the function has returned.
#[pyclass(frozen, module = "libkv")]
pub struct Transaction {
    /// None after the function has returned.
    inner: Mutex<Option<libkv::Transaction>>,
    /// A read failed because a compaction was faster, so a retry can succeed.
    overtaken: AtomicBool,
    db: Handle,
}

impl Transaction {
    pub fn new(db: &Handle) -> Transaction {
        Transaction {
            inner: Mutex::new(Some(db.transaction())),
            overtaken: AtomicBool::new(false),
            db: db.clone(),
        }
    }

    fn lock(&self, py: Python<'_>) -> MutexGuard<'_, Option<libkv::Transaction>> {
        self.inner
            .lock_py_attached(py)
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends it. Returns whether it was overtaken, and the transaction to commit.
    fn end(&self, py: Python<'_>) -> PyResult<(bool, libkv::Transaction)> {
        let inner = self.lock(py).take().ok_or_else(over)?;
        Ok((self.overtaken.load(Ordering::Acquire), inner))
    }

    fn with<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut libkv::Transaction) -> libkv::Result<T> + Send,
    ) -> PyResult<T> {
        let mut inner = self.lock(py);
        let transaction = inner.as_mut().ok_or_else(over)?;
        detached(py, || {
            let done = work(transaction);
            if done
                .as_ref()
                .is_err_and(|error| transaction.is_overtaken(error))
            {
                self.overtaken.store(true, Ordering::Release);
            }
            done
        })
    }
}

fn over() -> PyErr {
    raise(Error::new(
        Code::Closed,
        "the transaction is over: its function has returned",
    ))
}

#[pymethods]
impl Transaction {
    /// Reads one key: a KeyValue, or None. Of a key that this transaction has put, only key, value
    /// and lease are set; the other fields are 0.
    fn get(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<Option<Py<KeyValue>>> {
        guard(|| {
            let key = bytes("key", key)?;
            self.with(py, |transaction| transaction.get(&key))?
                .into_field(py)
        })
    }

    /// Reads the pairs of a range by key, with this transaction's own writes: a RangeResponse. The
    /// options are limit and keys_only; other options of Db.range() raise InvalidArgumentError.
    #[pyo3(
        signature = (key=OptionalArg::default(), **options),
        text_signature = "($self, key=..., *, prefix=..., start=..., end=..., limit=0, keys_only=False)"
    )]
    fn range(
        &self,
        py: Python<'_>,
        key: OptionalArg<'_>,
        options: Option<&Dict<'_>>,
    ) -> PyResult<Py<RangeResponse>> {
        guard(|| {
            let request = request::range("range", key, options)?;
            self.with(py, |transaction| transaction.range(request))?
                .into_python(py)
        })
    }

    /// Writes a key at the commit. The options prev_kv and ignore_… of Db.put() raise
    /// InvalidArgumentError: read the key instead.
    #[pyo3(signature = (key, value=OptionalArg::default(), **options), text_signature = "($self, key, value=b'', *, lease=0)")]
    fn put(
        &self,
        py: Python<'_>,
        key: &Bound<'_, PyAny>,
        value: OptionalArg<'_>,
        options: Option<&Dict<'_>>,
    ) -> PyResult<()> {
        guard(|| {
            let put = request::put(key, value, options)?;
            self.with(py, |transaction| transaction.put(put))
        })
    }

    /// Deletes the keys of a range at the commit; returns the number that this transaction sees.
    #[pyo3(
        signature = (key=OptionalArg::default(), **options),
        text_signature = "($self, key=..., *, prefix=..., start=..., end=...)"
    )]
    fn delete(
        &self,
        py: Python<'_>,
        key: OptionalArg<'_>,
        options: Option<&Dict<'_>>,
    ) -> PyResult<i64> {
        guard(|| {
            let delete = request::delete(key, options)?;
            if delete.prev_kv {
                let message =
                    "a delete inside transact takes a range only (read the keys for the rest)";
                return Err(raise(Error::new(Code::InvalidArgument, message)));
            }
            self.with(py, |transaction| transaction.delete(delete.range))
        })
    }

    /// Ends the attempt, for libkv.aio.
    fn _end(&self, py: Python<'_>) -> PyResult<Attempt> {
        guard(|| {
            let (overtaken, transaction) = self.end(py)?;
            Ok(Attempt {
                transaction,
                overtaken,
                _db: self.db.clone(),
            })
        })
    }

    fn __repr__(&self, py: Python<'_>) -> &'static str {
        if self.lock(py).is_some() {
            "<libkv.Transaction>"
        } else {
            "<libkv.Transaction, over>"
        }
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(not_pickled(
            "a Transaction",
            "it is valid only inside transact()",
        ))
    }
}

/// The waits before the retries, for libkv.aio.
#[pyclass(frozen, name = "_Retries", module = "libkv._libkv")]
pub struct Retries(Mutex<libkv::Retries>);

#[pymethods]
impl Retries {
    #[new]
    fn new(most: Option<&Bound<'_, PyAny>>) -> PyResult<Retries> {
        guard(|| {
            let most = most
                .map(|most| sized("max_retries", most, "0 to 2^32 - 1"))
                .transpose()?;
            Ok(Retries(Mutex::new(libkv::Retries::new(most))))
        })
    }

    /// Returns the seconds to wait before the next attempt; raises ConflictError after the last
    /// one.
    fn after(&self, py: Python<'_>, overtaken: &Attempt) -> PyResult<f64> {
        guard(|| {
            let mut retries = self
                .0
                .lock_py_attached(py)
                .unwrap_or_else(PoisonError::into_inner);
            retries
                .after(&overtaken.transaction)
                .map(|wait| wait.as_secs_f64())
                .map_err(raise)
        })
    }
}

/// An attempt whose function has returned, for libkv.aio.
#[pyclass(frozen, name = "_Attempt", module = "libkv._libkv")]
pub struct Attempt {
    transaction: libkv::Transaction,
    /// A read failed because a compaction was faster, so a retry can succeed.
    #[pyo3(get)]
    overtaken: bool,
    _db: Handle,
}

#[pymethods]
impl Attempt {
    /// The txn that commits the attempt, or None if there is nothing to write.
    fn txn(&self) -> Option<request::Txn> {
        self.transaction.txn().map(request::Txn)
    }
}
