//! Errors of the library as exceptions. The classes are defined in Python, `libkv/_codes.py`,
//! because most of them have two base classes.

use libkv::{Code, Error};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict};

static CLASSES: PyOnceLock<Py<PyDict>> = PyOnceLock::new();

/// The exception for this error: the class of its code, or `Error` itself for a code that this
/// package does not have yet.
pub fn raise(error: Error) -> PyErr {
    Python::attach(|py| match exception(py, &error) {
        Ok(exception) => PyErr::from_value(exception),
        Err(broken) => {
            let raised = PyRuntimeError::new_err(error.to_string());
            raised.set_cause(py, Some(broken));
            raised
        }
    })
}

fn exception<'py>(py: Python<'py>, error: &Error) -> PyResult<Bound<'py, PyAny>> {
    let classes = classes(py)?;
    let class = match classes.get_item(error.code().name())? {
        Some(class) => class,
        None => classes.as_any().get_item("error")?,
    };
    let key = error.key().map(|key| PyBytes::new(py, key));
    class.call1((error.message(), error.revision(), error.lease(), key))
}

fn classes(py: Python<'_>) -> PyResult<&Bound<'_, PyDict>> {
    let dict = CLASSES.get_or_try_init(py, || {
        PyResult::Ok(
            py.import("libkv._codes")?
                .getattr("BY_CODE")?
                .cast_into::<PyDict>()?
                .unbind(),
        )
    })?;
    Ok(dict.bind(py))
}

/// Whether this exception is libkv's with that code.
pub fn has_code(py: Python<'_>, error: &PyErr, code: Code) -> bool {
    let class = classes(py).and_then(|classes| classes.as_any().get_item(code.name()));
    class.is_ok_and(|class| error.matches(py, class).unwrap_or(false))
}
