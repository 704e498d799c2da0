//! Requests as values: `Put`, `Range`, `Delete`, `Compare`, `Txn`. Each has the same arguments as
//! the method with its name, which also accepts the value instead of the arguments.

use std::borrow::Cow;

use libkv::{Op, Operand, Request};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};
use pyo3::{IntoPyObjectExt, intern};

use crate::arguments::{Arguments, Reduced};
use crate::convert::{
    Dict, KeyArgs, OptionalArg, alone, bytes, durability, each_option, flag, int, one_of,
    only_option, wrong_type,
};
use crate::guard::guard;
use crate::request_options::{
    DELETE_OPTIONS, PUT_OPTIONS, RANGE_OPTIONS, WATCH_OPTIONS, delete_arguments, put_arguments,
    range_arguments, set_delete, set_put, set_range, set_watch,
};
use crate::words::COMPARE_RESULTS;

const TXN_OPTIONS: &[&str] = &["compare", "success", "failure", "durability"];

/// A put, from a `Put` or from what one is made of.
pub fn put(
    key: &Bound<'_, PyAny>,
    value: OptionalArg<'_>,
    options: Option<&Dict<'_>>,
) -> PyResult<libkv::Put> {
    if let Ok(put) = key.cast::<Put>() {
        alone("put", value.0.is_some() || options.is_some())?;
        return Ok(put.get().0.clone());
    }
    let mut put = libkv::Put::new(bytes("key", key)?, []);
    if let Some(value) = value.0 {
        put.value = bytes("value", &value)?.into_owned();
    }
    each_option("put", options, PUT_OPTIONS, |name, given| {
        set_put(&mut put, name, given).map(drop)
    })?;
    Ok(put)
}

/// A range, from a `Range` or from its fields; without any field: every key.
pub fn range(
    call: &str,
    key: OptionalArg<'_>,
    options: Option<&Dict<'_>>,
) -> PyResult<libkv::Range> {
    if let Some(Ok(range)) = key.0.as_ref().map(|key| key.cast::<Range>()) {
        alone(call, options.is_some())?;
        return Ok(range.get().0.clone());
    }
    let (mut keys, mut range) = (KeyArgs::new(key.0), libkv::Range::default());
    each_option(call, options, RANGE_OPTIONS, |name, given| {
        if !set_range(&mut range, name, given)? {
            keys.take(name, given);
        }
        Ok(())
    })?;
    range.range = keys.range(call)?.unwrap_or_else(libkv::KeyRange::all);
    Ok(range)
}

/// A deletion, from a `Delete` or from its fields; it must have the keys.
pub fn delete(key: OptionalArg<'_>, options: Option<&Dict<'_>>) -> PyResult<libkv::Delete> {
    if let Some(Ok(delete)) = key.0.as_ref().map(|key| key.cast::<Delete>()) {
        alone("delete", options.is_some())?;
        return Ok(delete.get().0.clone());
    }
    let (mut keys, mut delete) = (KeyArgs::new(key.0), libkv::Delete::default());
    each_option("delete", options, DELETE_OPTIONS, |name, given| {
        if !set_delete(&mut delete, name, given)? {
            keys.take(name, given);
        }
        Ok(())
    })?;
    delete.range = keys.range("delete")?.ok_or_else(|| {
        PyTypeError::new_err(
            "delete() takes a key, or prefix=, or start= and end= (prefix=\"\" deletes all)",
        )
    })?;
    Ok(delete)
}

/// A watch; without keys: every key.
pub fn watch(key: OptionalArg<'_>, options: Option<&Dict<'_>>) -> PyResult<libkv::Watch> {
    let (mut keys, mut watch) = (KeyArgs::new(key.0), libkv::Watch::default());
    each_option("watch", options, WATCH_OPTIONS, |name, given| {
        if !set_watch(&mut watch, name, given)? {
            keys.take(name, given);
        }
        Ok(())
    })?;
    watch.range = keys.range("watch")?.unwrap_or_else(libkv::KeyRange::all);
    Ok(watch)
}

/// A txn, from a `Txn` or from its lists.
pub fn txn(txn: OptionalArg<'_>, options: Option<&Dict<'_>>) -> PyResult<libkv::Txn> {
    if let Some(given) = txn.0 {
        alone("txn", options.is_some())?;
        let txn = given
            .cast::<Txn>()
            .map_err(|_| wrong_type("txn", "a Txn (its lists are keywords)", &given))?;
        return Ok(txn.get().0.clone());
    }
    let mut txn = libkv::Txn::new();
    each_option("txn", options, TXN_OPTIONS, |name, given| {
        match name {
            "compare" => {
                txn.compare = each(name, "Compare", given, |item| {
                    Some(item.cast::<Compare>().ok()?.get().0.clone())
                })?
            }
            "success" => txn.success = each(name, "Put, Range, Delete or Txn", given, operation)?,
            "failure" => txn.failure = each(name, "Put, Range, Delete or Txn", given, operation)?,
            _ => txn.durability = durability(given)?,
        }
        Ok(())
    })?;
    Ok(txn)
}

fn each<T>(
    what: &str,
    kind: &str,
    items: &Bound<'_, PyAny>,
    read: impl Fn(&Bound<'_, PyAny>) -> Option<T>,
) -> PyResult<Vec<T>> {
    let wanted = format!("an iterable of {kind}");
    let iterator = items
        .try_iter()
        .map_err(|_| wrong_type(what, &wanted, items))?;
    iterator
        .map(|item| {
            let item = item?;
            read(&item).ok_or_else(|| wrong_type(&format!("an item of {what}"), kind, &item))
        })
        .collect()
}

fn operation(item: &Bound<'_, PyAny>) -> Option<Op> {
    if let Ok(put) = item.cast::<Put>() {
        return Some(put.get().0.clone().into());
    }
    if let Ok(range) = item.cast::<Range>() {
        return Some(range.get().0.clone().into());
    }
    if let Ok(delete) = item.cast::<Delete>() {
        return Some(delete.get().0.clone().into());
    }
    Some(item.cast::<Txn>().ok()?.get().0.clone().into())
}

/// A compaction.
pub fn compact(
    revision: &Bound<'_, PyAny>,
    options: Option<&Dict<'_>>,
) -> PyResult<libkv::Compact> {
    let compact = libkv::Compact::new(int("revision", revision)?);
    let physical = only_option("compact", options, "physical", flag)?;
    Ok(compact.physical(physical.unwrap_or(false)))
}

/// A grant of a lease with lease_grant().
pub fn lease_grant(
    ttl_seconds: &Bound<'_, PyAny>,
    options: Option<&Dict<'_>>,
) -> PyResult<libkv::LeaseGrant> {
    let grant = libkv::LeaseGrant::new(int("ttl_seconds", ttl_seconds)?);
    let id = only_option("lease_grant", options, "id", int)?;
    Ok(grant.id(id.unwrap_or(0)))
}

/// A grant of a lease with lease().
pub fn lease(
    ttl_seconds: &Bound<'_, PyAny>,
    options: Option<&Dict<'_>>,
) -> PyResult<libkv::LeaseGrant> {
    let grant = libkv::LeaseGrant::new(int("ttl_seconds", ttl_seconds)?);
    let end_with_process = only_option("lease", options, "end_with_process", flag)?;
    Ok(grant.end_with_process(end_with_process.unwrap_or(false)))
}

/// A request of any kind, as a value.
pub fn request(value: &Bound<'_, PyAny>) -> PyResult<Request> {
    if let Ok(request) = value.cast::<OtherRequest>() {
        return Ok(request.get().0.clone());
    }
    let op = operation(value)
        .ok_or_else(|| wrong_type("request", "a Put, Range, Delete or Txn", value))?;
    Ok(match op {
        Op::Put(put) => put.into(),
        Op::Range(range) => range.into(),
        Op::Delete(delete) => delete.into(),
        Op::Txn(txn) => txn.into(),
    })
}

/// Writes one key, as a value for put() or for the lists of a txn.
#[pyclass(frozen, eq, module = "libkv")]
#[derive(PartialEq)]
pub struct Put(pub libkv::Put);

#[pymethods]
impl Put {
    #[new]
    #[pyo3(
        signature = (key, value=OptionalArg::default(), **options),
        // generated from bindings/vocabulary/vocabulary.toml: put
        text_signature = "(key, value=b'', *, lease=0, prev_kv=False, ignore_value=False, ignore_lease=False, durability=None)"
        // end of generated
    )]
    fn new(
        key: &Bound<'_, PyAny>,
        value: OptionalArg<'_>,
        options: Option<&Dict<'_>>,
    ) -> PyResult<Put> {
        guard(|| put(key, value, options).map(Put))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        guard(|| put_call(py, &self.0)?.shown("Put"))
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Reduced<'py>> {
        guard(|| put_call(py, &self.0)?.reduced::<Put>())
    }
}

/// Reads the pairs of a range at one revision, as a value for range(), scan() or a txn.
#[pyclass(frozen, eq, module = "libkv")]
#[derive(PartialEq)]
pub struct Range(pub libkv::Range);

#[pymethods]
impl Range {
    #[new]
    #[pyo3(
        signature = (key=OptionalArg::default(), **options),
        // generated from bindings/vocabulary/vocabulary.toml: range
        text_signature = "(key=..., *, prefix=..., start=..., end=..., revision=0, limit=0, sort_order='none', sort_target='key', keys_only=False, count_only=False, min_mod_revision=0, max_mod_revision=0, min_create_revision=0, max_create_revision=0, serializable=False)"
        // end of generated
    )]
    fn new(key: OptionalArg<'_>, options: Option<&Dict<'_>>) -> PyResult<Range> {
        guard(|| range("Range", key, options).map(Range))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        guard(|| range_call(py, &self.0)?.shown("Range"))
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Reduced<'py>> {
        guard(|| range_call(py, &self.0)?.reduced::<Range>())
    }
}

/// Deletes the keys of a range, as a value for delete() or for the lists of a txn.
#[pyclass(frozen, eq, module = "libkv")]
#[derive(PartialEq)]
pub struct Delete(pub libkv::Delete);

#[pymethods]
impl Delete {
    #[new]
    #[pyo3(
        signature = (key=OptionalArg::default(), **options),
        // generated from bindings/vocabulary/vocabulary.toml: delete
        text_signature = "(key=..., *, prefix=..., start=..., end=..., prev_kv=False, durability=None)"
        // end of generated
    )]
    fn new(key: OptionalArg<'_>, options: Option<&Dict<'_>>) -> PyResult<Delete> {
        guard(|| delete(key, options).map(Delete))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        guard(|| delete_call(py, &self.0)?.shown("Delete"))
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Reduced<'py>> {
        guard(|| delete_call(py, &self.0)?.reduced::<Delete>())
    }
}

/// A condition of a txn on a key, or on every key of a range.
///
/// The first argument is a key, or a Range for all its keys; the second one of "==", "!=", ">",
/// "<".
#[pyclass(frozen, eq, module = "libkv")]
#[derive(PartialEq)]
pub struct Compare(pub libkv::Compare);

impl Compare {
    fn make(
        key: &Bound<'_, PyAny>,
        result: &Bound<'_, PyAny>,
        operand: Operand,
    ) -> PyResult<Compare> {
        let result = one_of("result", result, &COMPARE_RESULTS)?;
        let range = match key.cast::<Range>() {
            Err(_) => libkv::KeyRange::key(bytes("key", key)?.into_owned()),
            Ok(range) => {
                let range = &range.get().0;
                if *range != libkv::Range::new(range.range.clone()) {
                    let message = "the Range of a Compare has only keys, no other option";
                    return Err(PyValueError::new_err(message));
                }
                range.range.clone()
            }
        };
        Ok(Compare(libkv::Compare::new(range, result, operand)))
    }
}

#[pymethods]
impl Compare {
    /// The key's version (0: there is no such key) against a number.
    #[staticmethod]
    fn version(
        key: &Bound<'_, PyAny>,
        result: &Bound<'_, PyAny>,
        version: &Bound<'_, PyAny>,
    ) -> PyResult<Compare> {
        guard(|| Compare::make(key, result, Operand::Version(int("version", version)?)))
    }

    /// The revision that created the key (0: there is no such key) against a number.
    #[staticmethod]
    fn create_revision(
        key: &Bound<'_, PyAny>,
        result: &Bound<'_, PyAny>,
        revision: &Bound<'_, PyAny>,
    ) -> PyResult<Compare> {
        guard(|| {
            Compare::make(
                key,
                result,
                Operand::CreateRevision(int("revision", revision)?),
            )
        })
    }

    /// The revision that put the key last (0: there is no such key) against a number.
    #[staticmethod]
    fn mod_revision(
        key: &Bound<'_, PyAny>,
        result: &Bound<'_, PyAny>,
        revision: &Bound<'_, PyAny>,
    ) -> PyResult<Compare> {
        guard(|| {
            Compare::make(
                key,
                result,
                Operand::ModRevision(int("revision", revision)?),
            )
        })
    }

    /// The key's value against bytes, bytewise; false on a missing key, whatever the comparison.
    #[staticmethod]
    fn value(
        key: &Bound<'_, PyAny>,
        result: &Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
    ) -> PyResult<Compare> {
        guard(|| {
            Compare::make(
                key,
                result,
                Operand::Value(bytes("value", value).map(Cow::into_owned)?),
            )
        })
    }

    /// The key's lease (0: none) against the id of a lease.
    #[staticmethod]
    fn lease(
        key: &Bound<'_, PyAny>,
        result: &Bound<'_, PyAny>,
        lease: &Bound<'_, PyAny>,
    ) -> PyResult<Compare> {
        guard(|| Compare::make(key, result, Operand::Lease(int("lease", lease)?)))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        guard(|| {
            let (name, call) = compare_call(py, &self.0)?;
            call.shown(&format!("Compare.{name}"))
        })
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Reduced<'py>> {
        guard(|| {
            let (name, call) = compare_call(py, &self.0)?;
            let maker = py
                .import(intern!(py, "operator"))?
                .getattr(intern!(py, "methodcaller"))?;
            let mut given = vec![name.into_bound_py_any(py)?];
            given.extend(call.positional);
            let make = maker.call1(PyTuple::new(py, given)?)?;
            Ok((make, PyTuple::new(py, [py.get_type::<Compare>()])?))
        })
    }
}

/// Compares, then runs one of two lists of operations in one revision, as a value for txn() or for
/// the lists of another Txn.
#[pyclass(frozen, eq, module = "libkv")]
#[derive(PartialEq)]
pub struct Txn(pub libkv::Txn);

#[pymethods]
impl Txn {
    #[new]
    #[pyo3(
        signature = (txn=OptionalArg::default(), **options),
        text_signature = "(txn=..., *, compare=(), success=(), failure=(), durability=None)"
    )]
    fn new(txn: OptionalArg<'_>, options: Option<&Dict<'_>>) -> PyResult<Txn> {
        guard(|| self::txn(txn, options).map(Txn))
    }

    /// Whether no branch can write, for libkv.aio.
    fn _is_read_only(&self) -> bool {
        self.0.is_read_only()
    }

    fn __repr__(&self) -> String {
        let libkv::Txn {
            compare,
            success,
            failure,
            ..
        } = &self.0;
        format!(
            "Txn({} to compare, {} on success, {} on failure)",
            compare.len(),
            success.len(),
            failure.len()
        )
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Reduced<'py>> {
        guard(|| txn_call(py, &self.0)?.reduced::<Txn>())
    }
}

/// A request that has no public class, for libkv.aio.
#[pyclass(frozen, name = "_Request", module = "libkv._libkv")]
pub struct OtherRequest(Request);

#[pymethods]
impl OtherRequest {
    /// The request of compact().
    #[staticmethod]
    #[pyo3(signature = (revision, **options))]
    fn compact(revision: &Bound<'_, PyAny>, options: Option<&Dict<'_>>) -> PyResult<OtherRequest> {
        guard(|| Ok(OtherRequest(compact(revision, options)?.into())))
    }

    /// The request of lease_grant().
    #[staticmethod]
    #[pyo3(signature = (ttl_seconds, **options))]
    fn lease_grant(
        ttl_seconds: &Bound<'_, PyAny>,
        options: Option<&Dict<'_>>,
    ) -> PyResult<OtherRequest> {
        guard(|| Ok(OtherRequest(lease_grant(ttl_seconds, options)?.into())))
    }

    /// The request of lease_revoke().
    #[staticmethod]
    fn lease_revoke(id: &Bound<'_, PyAny>) -> PyResult<OtherRequest> {
        guard(|| Ok(OtherRequest(libkv::LeaseRevoke::new(int("id", id)?).into())))
    }
}

fn put_call<'py>(py: Python<'py>, put: &libkv::Put) -> PyResult<Arguments<'py>> {
    put_arguments(Arguments::new(py).bytes(&put.key).bytes(&put.value), put)
}

fn range_call<'py>(py: Python<'py>, range: &libkv::Range) -> PyResult<Arguments<'py>> {
    range_arguments(Arguments::new(py).keys(&range.range)?, range)
}

fn delete_call<'py>(py: Python<'py>, delete: &libkv::Delete) -> PyResult<Arguments<'py>> {
    delete_arguments(Arguments::new(py).keys(&delete.range)?, delete)
}

fn txn_call<'py>(py: Python<'py>, txn: &libkv::Txn) -> PyResult<Arguments<'py>> {
    let libkv::Txn {
        compare,
        success,
        failure,
        durability,
        ..
    } = txn;
    let compare = compare
        .iter()
        .map(|compare| Compare(compare.clone()))
        .collect::<Vec<_>>();
    let values = |ops: &[Op]| {
        ops.iter()
            .map(|op| value_of(py, op))
            .collect::<PyResult<Vec<_>>>()
    };
    Arguments::new(py)
        .named("compare", compare)?
        .named("success", values(success)?)?
        .named("failure", values(failure)?)?
        .durability(*durability)
}

/// Of the keys and the operand of a compare, in the order in which its makers take them.
fn compare_call<'py>(
    py: Python<'py>,
    compare: &libkv::Compare,
) -> PyResult<(&'static str, Arguments<'py>)> {
    let libkv::Compare {
        range,
        result,
        operand,
        ..
    } = compare;
    let (name, operand) = match operand {
        Operand::Version(number) => ("version", number.into_bound_py_any(py)?),
        Operand::CreateRevision(number) => ("create_revision", number.into_bound_py_any(py)?),
        Operand::ModRevision(number) => ("mod_revision", number.into_bound_py_any(py)?),
        Operand::Value(value) => ("value", PyBytes::new(py, value).into_any()),
        Operand::Lease(number) => ("lease", number.into_bound_py_any(py)?),
    };
    let keys = match range.is_single() {
        true => PyBytes::new(py, &range.key).into_any(),
        false => Range(libkv::Range::new(range.clone())).into_bound_py_any(py)?,
    };
    let sign = COMPARE_RESULTS
        .iter()
        .find(|(_, known)| known == result)
        .map_or("", |(sign, _)| sign);
    let mut arguments = Arguments::new(py);
    arguments.positional = vec![keys, sign.into_bound_py_any(py)?, operand];
    Ok((name, arguments))
}

/// The value that an operation was given as.
fn value_of<'py>(py: Python<'py>, op: &Op) -> PyResult<Bound<'py, PyAny>> {
    match op {
        Op::Put(put) => Put(put.clone()).into_bound_py_any(py),
        Op::Range(range) => Range(range.clone()).into_bound_py_any(py),
        Op::Delete(delete) => Delete(delete.clone()).into_bound_py_any(py),
        Op::Txn(txn) => Txn(txn.clone()).into_bound_py_any(py),
    }
}
