//! Requests as values: `Put`, `Range`, `Delete`, `Compare`, `Txn`. Each is read from the same
//! arguments as the call of its name, which takes the value in their place.

use std::borrow::Cow;

use libkv::{CompareResult, Op, Operand, Request, SortOrder, SortTarget};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::convert::{
    Dict, Given, Keys, alone, bytes, durability, durability_name, each_option, flag, int, one_of, wrong_type,
};
use crate::guard::guard;

const PUT_OPTIONS: &[&str] = &["lease", "prev_kv", "ignore_value", "ignore_lease", "durability"];
const RANGE_OPTIONS: &[&str] = &[
    "prefix",
    "start",
    "end",
    "revision",
    "limit",
    "sort_order",
    "sort_target",
    "keys_only",
    "count_only",
    "min_mod_revision",
    "max_mod_revision",
    "min_create_revision",
    "max_create_revision",
    "serializable",
];
const DELETE_OPTIONS: &[&str] = &["prefix", "start", "end", "prev_kv", "durability"];
const WATCH_OPTIONS: &[&str] =
    &["prefix", "start", "end", "start_revision", "prev_kv", "no_put", "no_delete", "progress"];
const TXN_OPTIONS: &[&str] = &["compare", "success", "failure", "durability"];

const SORT_ORDERS: [(&str, SortOrder); 3] =
    [("none", SortOrder::None), ("ascend", SortOrder::Ascend), ("descend", SortOrder::Descend)];
const SORT_TARGETS: [(&str, SortTarget); 5] = [
    ("key", SortTarget::Key),
    ("version", SortTarget::Version),
    ("create", SortTarget::Create),
    ("mod", SortTarget::Mod),
    ("value", SortTarget::Value),
];
const RESULTS: [(&str, CompareResult); 4] = [
    ("==", CompareResult::Equal),
    ("!=", CompareResult::NotEqual),
    (">", CompareResult::Greater),
    ("<", CompareResult::Less),
];

/// A put, from a `Put` or from what one is made of.
pub fn put(key: &Bound<'_, PyAny>, value: Given<'_>, options: Option<&Dict<'_>>) -> PyResult<libkv::Put> {
    if let Ok(put) = key.cast::<Put>() {
        alone("put", value.0.is_some() || options.is_some())?;
        return Ok(put.get().0.clone());
    }
    let mut put = libkv::Put { key: bytes("key", key)?.into_owned(), ..libkv::Put::default() };
    if let Some(value) = value.0 {
        put.value = bytes("value", &value)?.into_owned();
    }
    each_option("put", options, PUT_OPTIONS, |name, given| {
        match name {
            "lease" => put.lease = int(name, given)?,
            "prev_kv" => put.prev_kv = flag(name, given)?,
            "ignore_value" => put.ignore_value = flag(name, given)?,
            "ignore_lease" => put.ignore_lease = flag(name, given)?,
            _ => put.durability = durability(given)?,
        }
        Ok(())
    })?;
    Ok(put)
}

/// A range, from a `Range` or from what one is made of; every key if nothing is said.
pub fn range(call: &str, key: Given<'_>, options: Option<&Dict<'_>>) -> PyResult<libkv::Range> {
    if let Some(Ok(range)) = key.0.as_ref().map(|key| key.cast::<Range>()) {
        alone(call, options.is_some())?;
        return Ok(range.get().0.clone());
    }
    let (mut keys, mut range) = (Keys::new(key.0), libkv::Range::default());
    each_option(call, options, RANGE_OPTIONS, |name, given| {
        match name {
            "revision" => range.revision = int(name, given)?,
            "limit" => range.limit = int(name, given)?,
            "sort_order" => range.sort_order = one_of(name, given, &SORT_ORDERS)?,
            "sort_target" => range.sort_target = one_of(name, given, &SORT_TARGETS)?,
            "keys_only" => range.keys_only = flag(name, given)?,
            "count_only" => range.count_only = flag(name, given)?,
            "min_mod_revision" => range.min_mod_revision = int(name, given)?,
            "max_mod_revision" => range.max_mod_revision = int(name, given)?,
            "min_create_revision" => range.min_create_revision = int(name, given)?,
            "max_create_revision" => range.max_create_revision = int(name, given)?,
            "serializable" => range.serializable = flag(name, given)?,
            _ => {
                keys.take(name, given);
            }
        }
        Ok(())
    })?;
    range.range = keys.range(call)?.unwrap_or_else(libkv::KeyRange::all);
    Ok(range)
}

/// A deletion, from a `Delete` or from what one is made of; it must say which keys.
pub fn delete(key: Given<'_>, options: Option<&Dict<'_>>) -> PyResult<libkv::Delete> {
    if let Some(Ok(delete)) = key.0.as_ref().map(|key| key.cast::<Delete>()) {
        alone("delete", options.is_some())?;
        return Ok(delete.get().0.clone());
    }
    let (mut keys, mut delete) = (Keys::new(key.0), libkv::Delete::default());
    each_option("delete", options, DELETE_OPTIONS, |name, given| {
        match name {
            "prev_kv" => delete.prev_kv = flag(name, given)?,
            "durability" => delete.durability = durability(given)?,
            _ => {
                keys.take(name, given);
            }
        }
        Ok(())
    })?;
    delete.range = keys.range("delete")?.ok_or_else(|| {
        PyTypeError::new_err("delete() takes a key, or prefix=, or start= and end= (prefix=\"\" deletes all)")
    })?;
    Ok(delete)
}

/// A watch; every key if nothing is said.
pub fn watch(key: Given<'_>, options: Option<&Dict<'_>>) -> PyResult<libkv::Watch> {
    let (mut keys, mut watch) = (Keys::new(key.0), libkv::Watch::default());
    each_option("watch", options, WATCH_OPTIONS, |name, given| {
        match name {
            "start_revision" => watch.start_revision = int(name, given)?,
            "prev_kv" => watch.prev_kv = flag(name, given)?,
            "no_put" => watch.no_put = flag(name, given)?,
            "no_delete" => watch.no_delete = flag(name, given)?,
            "progress" => watch.progress = flag(name, given)?,
            _ => {
                keys.take(name, given);
            }
        }
        Ok(())
    })?;
    watch.range = keys.range("watch")?.unwrap_or_else(libkv::KeyRange::all);
    Ok(watch)
}

/// A txn, from a `Txn` or from its lists.
pub fn txn(txn: Given<'_>, options: Option<&Dict<'_>>) -> PyResult<libkv::Txn> {
    if let Some(given) = txn.0 {
        alone("txn", options.is_some())?;
        let txn = given.cast::<Txn>().map_err(|_| wrong_type("txn", "a Txn (its lists are keywords)", &given))?;
        return Ok(txn.get().0.clone());
    }
    let mut txn = libkv::Txn::new();
    each_option("txn", options, TXN_OPTIONS, |name, given| {
        match name {
            "compare" => {
                txn.compare = each(name, "Compare", given, |item| Some(item.cast::<Compare>().ok()?.get().0.clone()))?
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
    let iterator = items.try_iter().map_err(|_| wrong_type(what, &wanted, items))?;
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

/// A request of any kind, as a value.
pub fn request(value: &Bound<'_, PyAny>) -> PyResult<Request> {
    let op = operation(value).ok_or_else(|| wrong_type("request", "a Put, Range, Delete or Txn", value))?;
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
        signature = (key, value=Given::default(), **options),
        text_signature = "(key, value=b'', *, lease=0, prev_kv=False, ignore_value=False, ignore_lease=False, durability=None)"
    )]
    fn new(key: &Bound<'_, PyAny>, value: Given<'_>, options: Option<&Dict<'_>>) -> PyResult<Put> {
        guard(|| put(key, value, options).map(Put))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        guard(|| Ok(Call::new("Put").bytes(py, "", &self.0.key)?.bytes(py, "", &self.0.value)?.put(&self.0).end()))
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
        signature = (key=Given::default(), **options),
        text_signature = "(key=..., *, prefix=..., start=..., end=..., revision=0, limit=0, sort_order='none', sort_target='key', keys_only=False, count_only=False, min_mod_revision=0, max_mod_revision=0, min_create_revision=0, max_create_revision=0, serializable=False)"
    )]
    fn new(key: Given<'_>, options: Option<&Dict<'_>>) -> PyResult<Range> {
        guard(|| range("Range", key, options).map(Range))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        guard(|| Ok(Call::new("Range").keys(py, &self.0.range)?.range(&self.0).end()))
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
        signature = (key=Given::default(), **options),
        text_signature = "(key=..., *, prefix=..., start=..., end=..., prev_kv=False, durability=None)"
    )]
    fn new(key: Given<'_>, options: Option<&Dict<'_>>) -> PyResult<Delete> {
        guard(|| delete(key, options).map(Delete))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        guard(|| {
            let call = Call::new("Delete").keys(py, &self.0.range)?.flag("prev_kv", self.0.prev_kv);
            Ok(call.durability(self.0.durability).end())
        })
    }
}

/// A condition of a txn on a key, or on every key of a range.
///
/// The first argument is a key, or a Range for all its keys; the second one of "==", "!=", ">", "<".
#[pyclass(frozen, eq, module = "libkv")]
#[derive(PartialEq)]
pub struct Compare(pub libkv::Compare);

impl Compare {
    fn make(key: &Bound<'_, PyAny>, result: &Bound<'_, PyAny>, operand: Operand) -> PyResult<Compare> {
        let result = one_of("result", result, &RESULTS)?;
        let range = match key.cast::<Range>() {
            Err(_) => libkv::KeyRange::key(bytes("key", key)?.into_owned()),
            Ok(range) => {
                let range = &range.get().0;
                if *range != libkv::Range::new(range.range.clone()) {
                    let message = "the Range of a Compare says which keys and nothing else";
                    return Err(PyValueError::new_err(message));
                }
                range.range.clone()
            }
        };
        Ok(Compare(libkv::Compare { range, result, operand }))
    }
}

#[pymethods]
impl Compare {
    /// The key's version (0: there is no such key) against a number.
    #[staticmethod]
    fn version(key: &Bound<'_, PyAny>, result: &Bound<'_, PyAny>, version: &Bound<'_, PyAny>) -> PyResult<Compare> {
        guard(|| Compare::make(key, result, Operand::Version(int("version", version)?)))
    }

    /// The revision that created the key (0: there is no such key) against a number.
    #[staticmethod]
    fn create_revision(
        key: &Bound<'_, PyAny>,
        result: &Bound<'_, PyAny>,
        revision: &Bound<'_, PyAny>,
    ) -> PyResult<Compare> {
        guard(|| Compare::make(key, result, Operand::CreateRevision(int("revision", revision)?)))
    }

    /// The revision that put the key last (0: there is no such key) against a number.
    #[staticmethod]
    fn mod_revision(
        key: &Bound<'_, PyAny>,
        result: &Bound<'_, PyAny>,
        revision: &Bound<'_, PyAny>,
    ) -> PyResult<Compare> {
        guard(|| Compare::make(key, result, Operand::ModRevision(int("revision", revision)?)))
    }

    /// The key's value against bytes, bytewise; false on a missing key, whatever the comparison.
    #[staticmethod]
    fn value(key: &Bound<'_, PyAny>, result: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<Compare> {
        guard(|| Compare::make(key, result, Operand::Value(bytes("value", value).map(Cow::into_owned)?)))
    }

    /// The key's lease (0: none) against the id of a lease.
    #[staticmethod]
    fn lease(key: &Bound<'_, PyAny>, result: &Bound<'_, PyAny>, lease: &Bound<'_, PyAny>) -> PyResult<Compare> {
        guard(|| Compare::make(key, result, Operand::Lease(int("lease", lease)?)))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        guard(|| {
            let libkv::Compare { range, result, operand } = &self.0;
            let (name, operand) = match operand {
                Operand::Version(number) => ("version", number.to_string()),
                Operand::CreateRevision(number) => ("create_revision", number.to_string()),
                Operand::ModRevision(number) => ("mod_revision", number.to_string()),
                Operand::Value(value) => ("value", shown(py, value)?),
                Operand::Lease(number) => ("lease", number.to_string()),
            };
            let keys = match range.is_single() {
                true => shown(py, &range.key)?,
                false => Call::new("Range").keys(py, range)?.end(),
            };
            let sign = RESULTS.iter().find(|(_, known)| known == result).map_or("", |(sign, _)| sign);
            Ok(format!("Compare.{name}({keys}, '{sign}', {operand})"))
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
        signature = (txn=Given::default(), **options),
        text_signature = "(txn=..., *, compare=(), success=(), failure=(), durability=None)"
    )]
    fn new(txn: Given<'_>, options: Option<&Dict<'_>>) -> PyResult<Txn> {
        guard(|| self::txn(txn, options).map(Txn))
    }

    /// Whether no branch can write, for libkv.aio.
    fn _is_read_only(&self) -> bool {
        self.0.is_read_only()
    }

    fn __repr__(&self) -> String {
        let libkv::Txn { compare, success, failure, .. } = &self.0;
        format!("Txn({} to compare, {} on success, {} on failure)", compare.len(), success.len(), failure.len())
    }
}

fn shown(py: Python<'_>, bytes: &[u8]) -> PyResult<String> {
    Ok(PyBytes::new(py, bytes).repr()?.to_string())
}

/// A call as one would write it: what differs from the defaults.
struct Call {
    text: String,
}

impl Call {
    fn new(name: &str) -> Call {
        Call { text: format!("{name}(") }
    }

    fn word(mut self, word: &str) -> Call {
        if !self.text.ends_with('(') {
            self.text.push_str(", ");
        }
        self.text.push_str(word);
        self
    }

    fn bytes(self, py: Python<'_>, name: &str, bytes: &[u8]) -> PyResult<Call> {
        Ok(self.word(&format!("{name}{}", shown(py, bytes)?)))
    }

    fn int(self, name: &str, value: i64) -> Call {
        if value == 0 { self } else { self.word(&format!("{name}={value}")) }
    }

    fn flag(self, name: &str, value: bool) -> Call {
        if value { self.word(&format!("{name}=True")) } else { self }
    }

    fn name<T: PartialEq>(self, name: &str, value: &T, names: &[(&str, T)]) -> Call {
        match names.iter().skip(1).find(|(_, known)| known == value) {
            Some((shown, _)) => self.word(&format!("{name}='{shown}'")),
            None => self,
        }
    }

    fn durability(self, durability: Option<libkv::Durability>) -> Call {
        match durability {
            Some(durability) => self.word(&format!("durability='{}'", durability_name(durability))),
            None => self,
        }
    }

    fn keys(self, py: Python<'_>, range: &libkv::KeyRange) -> PyResult<Call> {
        let libkv::KeyRange { key, range_end } = range;
        if range.is_single() {
            return self.bytes(py, "", key);
        }
        if *range == libkv::KeyRange::all() {
            return Ok(self.word("prefix=b''"));
        }
        if *range == libkv::KeyRange::prefix(&key[..]) {
            return self.bytes(py, "prefix=", key);
        }
        let call = self.bytes(py, "start=", key)?;
        if range_end == &[0] { Ok(call) } else { call.bytes(py, "end=", range_end) }
    }

    fn put(self, put: &libkv::Put) -> Call {
        self.int("lease", put.lease)
            .flag("prev_kv", put.prev_kv)
            .flag("ignore_value", put.ignore_value)
            .flag("ignore_lease", put.ignore_lease)
            .durability(put.durability)
    }

    fn range(self, range: &libkv::Range) -> Call {
        self.int("revision", range.revision)
            .int("limit", range.limit)
            .name("sort_order", &range.sort_order, &SORT_ORDERS)
            .name("sort_target", &range.sort_target, &SORT_TARGETS)
            .flag("keys_only", range.keys_only)
            .flag("count_only", range.count_only)
            .int("min_mod_revision", range.min_mod_revision)
            .int("max_mod_revision", range.max_mod_revision)
            .int("min_create_revision", range.min_create_revision)
            .int("max_create_revision", range.max_create_revision)
            .flag("serializable", range.serializable)
    }

    fn end(self) -> String {
        self.text + ")"
    }
}
