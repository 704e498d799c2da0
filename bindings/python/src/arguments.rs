//! The arguments that a request was created with, for `repr`, pickle and copy.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};
use pyo3::{PyTypeInfo, intern};

use crate::convert::{Dict, durability_name};

/// The arguments of a request that differ from the defaults: for `repr`, and for pickle and copy, which create the
/// request again from them.
pub struct Arguments<'py> {
    pub positional: Vec<Bound<'py, PyAny>>,
    pub named: Dict<'py>,
}

impl<'py> Arguments<'py> {
    /// No arguments.
    pub fn new(py: Python<'py>) -> Arguments<'py> {
        Arguments {
            positional: Vec::new(),
            named: PyDict::new(py),
        }
    }

    /// The interpreter.
    pub fn py(&self) -> Python<'py> {
        self.named.py()
    }

    /// Adds bytes by position.
    pub fn bytes(mut self, bytes: &[u8]) -> Arguments<'py> {
        self.positional
            .push(PyBytes::new(self.py(), bytes).into_any());
        self
    }

    /// Adds a keyword.
    pub fn named(self, name: &str, value: impl IntoPyObject<'py>) -> PyResult<Arguments<'py>> {
        self.named.set_item(name, value)?;
        Ok(self)
    }

    /// Adds a number that is not 0.
    pub fn int(self, name: &str, value: i64) -> PyResult<Arguments<'py>> {
        if value == 0 {
            Ok(self)
        } else {
            self.named(name, value)
        }
    }

    /// Adds a flag that is set.
    pub fn flag(self, name: &str, value: bool) -> PyResult<Arguments<'py>> {
        if value {
            self.named(name, true)
        } else {
            Ok(self)
        }
    }

    /// Adds the word of a value, unless it is the first.
    pub fn one_of<T: PartialEq>(
        self,
        name: &str,
        value: &T,
        names: &[(&str, T)],
    ) -> PyResult<Arguments<'py>> {
        match names.iter().skip(1).find(|(_, known)| known == value) {
            Some((word, _)) => self.named(name, *word),
            None => Ok(self),
        }
    }

    /// Adds a durability other than the handle's.
    pub fn durability(self, durability: Option<libkv::Durability>) -> PyResult<Arguments<'py>> {
        match durability {
            Some(durability) => self.named("durability", durability_name(durability)),
            None => Ok(self),
        }
    }

    /// Adds keys: one by position, others by their keywords.
    pub fn keys(self, range: &libkv::KeyRange) -> PyResult<Arguments<'py>> {
        let py = self.py();
        let libkv::KeyRange { key, range_end } = range;
        if range.is_single() {
            return Ok(self.bytes(key));
        }
        if *range == libkv::KeyRange::all() {
            return self.named("prefix", PyBytes::new(py, b""));
        }
        if *range == libkv::KeyRange::prefix(&key[..]) {
            return self.named("prefix", PyBytes::new(py, key));
        }
        let call = self.named("start", PyBytes::new(py, key))?;
        if range_end == &[0] {
            Ok(call)
        } else {
            call.named("end", PyBytes::new(py, range_end))
        }
    }

    /// As Python writes the call.
    pub fn shown(&self, name: &str) -> PyResult<String> {
        let positional = self
            .positional
            .iter()
            .map(|value| Ok(value.repr()?.to_string()));
        let named = self
            .named
            .iter()
            .map(|(name, value)| Ok(format!("{name}={}", value.repr()?)));
        Ok(format!(
            "{name}({})",
            positional
                .chain(named)
                .collect::<PyResult<Vec<_>>>()?
                .join(", ")
        ))
    }

    /// For pickle: a callable and its arguments.
    pub fn reduced<T: PyTypeInfo>(self) -> PyResult<Reduced<'py>> {
        let py = self.py();
        let partial = py
            .import(intern!(py, "functools"))?
            .getattr(intern!(py, "partial"))?;
        let make = partial.call((py.get_type::<T>(),), Some(&self.named))?;
        Ok((make, PyTuple::new(py, self.positional)?))
    }
}

/// What `__reduce__` returns.
pub type Reduced<'py> = (Bound<'py, PyAny>, Bound<'py, PyTuple>);
