//! Arguments of Python: bytes, numbers, keywords, ranges. A wrong type is a `TypeError`, a number
//! out of range an `OverflowError`; the message names the argument.

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use libkv::{AlarmKind, Durability, KeyRange};
use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDateTime, PyDict, PyInt, PyMemoryView, PyString};
use pyo3::{Borrowed, intern};

use crate::words::{ALARM_KINDS, DURABILITIES};

/// The keywords of a call.
pub type Dict<'py> = Bound<'py, PyDict>;

/// An optional argument. `None` counts as a value.
#[derive(Default)]
pub struct OptionalArg<'py>(pub Option<Bound<'py, PyAny>>);

impl<'a, 'py> FromPyObject<'a, 'py> for OptionalArg<'py> {
    type Error = PyErr;

    fn extract(value: Borrowed<'a, 'py, PyAny>) -> PyResult<OptionalArg<'py>> {
        Ok(OptionalArg(Some(value.to_owned())))
    }
}

/// Bytes, borrowed if Python cannot change them. `what` is the argument's name.
#[inline]
pub fn bytes<'a>(what: &str, value: &'a Bound<'_, PyAny>) -> PyResult<Cow<'a, [u8]>> {
    match value.cast::<PyBytes>() {
        Ok(bytes) => Ok(Cow::Borrowed(bytes.as_bytes())),
        Err(_) => other_bytes(what, value),
    }
}

fn other_bytes<'a>(what: &str, value: &'a Bound<'_, PyAny>) -> PyResult<Cow<'a, [u8]>> {
    if let Ok(text) = value.cast::<PyString>() {
        return Ok(Cow::Borrowed(text.to_str()?.as_bytes()));
    }
    let Ok(buffer) = PyUntypedBuffer::get(value) else {
        return Err(wrong_type(what, "bytes, a buffer or str", value));
    };
    if !buffer.is_c_contiguous() {
        return Err(PyValueError::new_err(format!(
            "{what} must be a contiguous buffer (copy it with bytes())"
        )));
    }
    match buffer.into_typed::<u8>() {
        Ok(buffer) => Ok(Cow::Owned(buffer.to_vec(value.py())?)),
        // items of another type: their bytes in memory
        Err(_) => {
            let flat = PyMemoryView::from(value)?.call_method0(intern!(value.py(), "tobytes"))?;
            Ok(Cow::Owned(flat.cast::<PyBytes>()?.as_bytes().to_vec()))
        }
    }
}

/// "revision must be an int, not str".
pub fn wrong_type(what: &str, wanted: &str, value: &Bound<'_, PyAny>) -> PyErr {
    let is = if value.is_none() {
        "None".into()
    } else {
        value.get_type().to_string()
    };
    let is = is.trim_start_matches("<class '").trim_end_matches("'>");
    PyTypeError::new_err(format!("{what} must be {wanted}, not {is}"))
}

/// A number of 64 bits: a revision, a lease, a limit.
pub fn int(what: &str, value: &Bound<'_, PyAny>) -> PyResult<i64> {
    sized(what, value, "64 bits")
}

/// A number that `T` can hold.
pub fn sized<'py, T>(what: &str, value: &Bound<'py, PyAny>, room: &str) -> PyResult<T>
where
    T: for<'a> FromPyObject<'a, 'py>,
{
    let index = match value.is_instance_of::<PyInt>() {
        true => value.clone(),
        false => value
            .call_method0(intern!(value.py(), "__index__"))
            .map_err(|_| wrong_type(what, "an int", value))?,
    };
    index
        .extract()
        .map_err(|_| PyOverflowError::new_err(format!("{what} is beyond {room}: {index}")))
}

/// A timeout in seconds. None and infinity are no limit; a negative number is 0.
pub fn seconds(what: &str, value: Option<&Bound<'_, PyAny>>) -> PyResult<Option<Duration>> {
    let Some(value) = value else { return Ok(None) };
    let wanted = "a number of seconds or None";
    let number: f64 = value
        .extract()
        .map_err(|_| wrong_type(what, wanted, value))?;
    match number.is_nan() {
        true => Err(PyValueError::new_err(format!(
            "{what} must be {wanted}, not nan"
        ))),
        // a number that Duration cannot hold is no limit
        false => Ok(Duration::try_from_secs_f64(number.max(0.0)).ok()),
    }
}

/// A time: a datetime (without a time zone: local time), or seconds since 1970.
pub fn time(what: &str, value: &Bound<'_, PyAny>) -> PyResult<SystemTime> {
    let given = match value.is_instance_of::<PyDateTime>() {
        true => &value.call_method0(intern!(value.py(), "timestamp"))?,
        false => value,
    };
    let wanted = "a datetime or a number of seconds since 1970";
    let seconds: f64 = given
        .extract()
        .map_err(|_| wrong_type(what, wanted, value))?;
    if seconds.is_nan() {
        return Err(PyValueError::new_err(format!(
            "{what} must be {wanted}, not nan"
        )));
    }
    // times out of range become the first or last time in milliseconds
    Ok(UNIX_EPOCH + Duration::from_millis((seconds * 1_000.0).clamp(0.0, i64::MAX as f64) as u64))
}

/// `True` or `False`; other values are refused, also 0 and 1.
pub fn flag(what: &str, value: &Bound<'_, PyAny>) -> PyResult<bool> {
    value
        .cast::<PyBool>()
        .map(|flag| flag.is_true())
        .map_err(|_| wrong_type(what, "a bool", value))
}

/// One of several names.
pub fn one_of<T: Copy>(what: &str, value: &Bound<'_, PyAny>, names: &[(&str, T)]) -> PyResult<T> {
    let listed = || {
        names
            .iter()
            .map(|(name, _)| format!("{name:?}"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let Ok(text) = value.cast::<PyString>() else {
        return Err(wrong_type(what, &format!("one of {}", listed()), value));
    };
    let name = text.to_str()?;
    names
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, value)| *value)
        .ok_or_else(|| {
            PyValueError::new_err(format!("{what} must be one of {}, not {name:?}", listed()))
        })
}

/// `"sync"`, `"lazy"`, `"none"`; `None` is the handle's.
pub fn durability(value: &Bound<'_, PyAny>) -> PyResult<Option<Durability>> {
    if value.is_none() {
        Ok(None)
    } else {
        one_of("durability", value, &DURABILITIES).map(Some)
    }
}

/// A kind of alarm: `"nospace"`, `"corrupt"`.
pub fn alarm_kind(what: &str, value: &Bound<'_, PyAny>) -> PyResult<AlarmKind> {
    one_of(what, value, &ALARM_KINDS)
}

/// A kind of alarm by its name.
pub fn alarm_name(kind: AlarmKind) -> &'static str {
    word_of(kind, &ALARM_KINDS)
}

/// A durability by its name.
pub fn durability_name(durability: Durability) -> &'static str {
    word_of(durability, &DURABILITIES)
}

/// The word of a value.
fn word_of<T: PartialEq>(value: T, words: &[(&'static str, T)]) -> &'static str {
    let found = words.iter().find(|(_, known)| *known == value);
    found.map_or("", |(word, _)| word)
}

/// Calls `take` with each keyword. One that is not in `known` is refused with the nearest name in
/// it.
pub fn each_option<'py>(
    call: &str,
    options: Option<&Dict<'py>>,
    known: &[&'static str],
    mut take: impl FnMut(&'static str, &Bound<'py, PyAny>) -> PyResult<()>,
) -> PyResult<()> {
    let Some(options) = options else {
        return Ok(());
    };
    for (name, value) in options.iter() {
        let name = name.cast::<PyString>()?.to_str()?;
        match known.iter().find(|known| **known == name) {
            Some(known) => take(known, &value)?,
            None => return Err(unknown(options.py(), call, name, known)),
        }
    }
    Ok(())
}

/// Reads the only option of a call; none if it is left out.
pub fn only_option<'py, T>(
    call: &str,
    options: Option<&Dict<'py>>,
    name: &'static str,
    read: impl Fn(&str, &Bound<'py, PyAny>) -> PyResult<T>,
) -> PyResult<Option<T>> {
    let mut value = None;
    each_option(call, options, &[name], |name, given| {
        value = Some(read(name, given)?);
        Ok(())
    })?;
    Ok(value)
}

fn unknown(py: Python<'_>, call: &str, name: &str, known: &[&str]) -> PyErr {
    let close = || -> PyResult<Vec<String>> {
        py.import("difflib")?
            .call_method1("get_close_matches", (name, known.to_vec(), 1, 0.5))?
            .extract()
    };
    let hint = match close().ok().and_then(|names| names.into_iter().next()) {
        Some(nearest) => format!(" (did you mean {nearest:?}?)"),
        None if known.is_empty() => String::new(),
        None => format!(" (it has {})", known.join(", ")),
    };
    PyTypeError::new_err(format!("{call}() has no option {name:?}{hint}"))
}

/// Refuses keywords beside a request value, which has its own options.
pub fn alone(call: &str, more: bool) -> PyResult<()> {
    match more {
        true => Err(PyTypeError::new_err(format!(
            "{call}() takes a request alone: its options are its own"
        ))),
        false => Ok(()),
    }
}

/// The arguments of a key range: `key`, or `prefix=`, or `start=` and `end=`.
#[derive(Default)]
pub struct KeyArgs<'py> {
    key: Option<Bound<'py, PyAny>>,
    prefix: Option<Bound<'py, PyAny>>,
    start: Option<Bound<'py, PyAny>>,
    end: Option<Bound<'py, PyAny>>,
}

impl<'py> KeyArgs<'py> {
    /// Begins with the argument `key`.
    pub fn new(key: Option<Bound<'py, PyAny>>) -> KeyArgs<'py> {
        KeyArgs {
            key,
            ..KeyArgs::default()
        }
    }

    /// Takes a keyword if it is one of these; returns whether it is.
    pub fn take(&mut self, name: &str, value: &Bound<'py, PyAny>) -> bool {
        match name {
            "prefix" => self.prefix = Some(value.clone()),
            "start" => self.start = Some(value.clone()),
            "end" => self.end = Some(value.clone()),
            _ => return false,
        }
        true
    }

    /// The range; none without arguments.
    pub fn range(self, call: &str) -> PyResult<Option<KeyRange>> {
        let owned = |what, value| bytes(what, value).map(Cow::into_owned);
        Ok(match (&self.key, &self.prefix, &self.start, &self.end) {
            (None, None, None, None) => None,
            (Some(key), None, None, None) => Some(KeyRange::key(owned("key", key)?)),
            (None, Some(prefix), None, None) => Some(KeyRange::prefix(owned("prefix", prefix)?)),
            (None, None, Some(start), None) => Some(KeyRange::from_key(owned("start", start)?)),
            (None, None, None, Some(end)) => Some(KeyRange::between([], owned("end", end)?)),
            (None, None, Some(start), Some(end)) => Some(KeyRange::between(
                owned("start", start)?,
                owned("end", end)?,
            )),
            _ => {
                let message = format!(
                    "{call}() takes a key, or prefix=, or start= and end=, not several of them"
                );
                return Err(PyTypeError::new_err(message));
            }
        })
    }
}
