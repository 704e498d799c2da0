//! Responses as Python values: frozen classes with attributes, `==`, `hash` and a `repr`. Pickle
//! and copy create them again from their fields.

use libkv::{AlarmKind, Bytes, Durability, EventKind, PermissionType};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};

use crate::convert::{alarm_name, durability_name};

/// Declares a value class. Its fields are attributes, and are used to create, compare, hash, pickle
/// and print it. `from Type` also converts the library's type; a field has the same name there,
/// or the name after `=`.
///
/// Bytes objects are created at once, not on demand: pyo3 reads a field that is a Python object
/// without a call, and the page of the store's response can be freed. `freelist N` reuses the
/// memory of up to N objects.
macro_rules! value {
    (
        $(#[$doc:meta])*
        $name:ident $(from $source:ty)? $(, freelist $freelist:literal)? {
            $( $(#[$field_doc:meta])* $field:ident $(= $source_field:ident)?: $type:ty, )*
        }
        $( $methods:tt )*
    ) => {
        $(#[$doc])*
        #[pyclass(frozen, get_all, $(freelist = $freelist,)? module = "libkv")]
        pub struct $name { $( $(#[$field_doc])* pub $field: $type, )* }

        impl $name {
            fn fields<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
                PyTuple::new(py, [$( (&self.$field).into_bound_py_any(py)?, )*])
            }
        }

        $crate::value::conversion! { $name $(from $source)? { $( $field $(= $source_field)?, )* } }

        #[pymethods]
        impl $name {
            #[new]
            #[allow(clippy::too_many_arguments, reason = "one for each field")]
            fn new($( $field: $type, )*) -> $name {
                $name { $( $field, )* }
            }

            fn __reduce__<'py>(
                slf: &Bound<'py, Self>,
            ) -> PyResult<(Bound<'py, PyType>, Bound<'py, PyTuple>)> {
                guard(|| Ok((slf.get_type(), slf.get().fields(slf.py())?)))
            }

            #[classattr]
            fn __match_args__(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
                PyTuple::new(py, [$( $crate::value::python_name(stringify!($field)), )*])
            }

            fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
                let names = [$( $crate::value::python_name(stringify!($field)), )*];
                guard(|| $crate::value::repr(stringify!($name), &names, &self.fields(py)?))
            }

            fn __hash__(&self, py: Python<'_>) -> PyResult<isize> {
                guard(|| self.fields(py)?.hash())
            }

            fn __richcmp__<'py>(
                &self,
                other: &Bound<'py, PyAny>,
                op: CompareOp,
            ) -> PyResult<Bound<'py, PyAny>> {
                let py = other.py();
                guard(|| match (other.cast::<$name>(), op) {
                    (Ok(other), CompareOp::Eq | CompareOp::Ne) => {
                        self.fields(py)?.rich_compare(other.get().fields(py)?, op)
                    }
                    _ => Ok(py.NotImplemented().into_bound(py)),
                })
            }

            $( $methods )*
        }
    };
}
pub(crate) use value;

macro_rules! conversion {
    ($name:ident { $( $fields:tt )* }) => {};
    ($name:ident from $source:ty { $( $field:ident $(= $source_field:ident)?, )* }) => {
        impl $crate::value::IntoPython for $source {
            type Class = $name;

            fn into_python(self, py: Python<'_>) -> PyResult<Py<$name>> {
                let value = $name {
                    $( $field: $crate::value::IntoField::into_field(
                        $crate::value::source_field!(self $field $($source_field)?),
                        py,
                    )?, )*
                };
                Py::new(py, value)
            }
        }
    };
}
pub(crate) use conversion;

macro_rules! source_field {
    ($self:ident $field:ident) => {
        $self.$field
    };
    ($self:ident $field:ident $source_field:ident) => {
        $self.$source_field
    };
}
pub(crate) use source_field;

/// The name of a field in Python.
pub fn python_name(field: &'static str) -> &'static str {
    field.trim_start_matches("r#")
}

/// `Name(field=value, …)`.
pub fn repr(name: &str, names: &[&str], fields: &Bound<'_, PyTuple>) -> PyResult<String> {
    let each = names
        .iter()
        .zip(fields.iter())
        .map(|(name, field)| Ok(format!("{name}={}", field.repr()?)));
    Ok(format!(
        "{name}({})",
        each.collect::<PyResult<Vec<_>>>()?.join(", ")
    ))
}

/// A value of the library that has a Python class.
pub trait IntoPython {
    /// The class.
    type Class;

    /// Creates the Python object.
    fn into_python(self, py: Python<'_>) -> PyResult<Py<Self::Class>>;
}

/// A field of the library that becomes the field `T` of a Python value.
pub trait IntoField<T> {
    /// Converts it.
    fn into_field(self, py: Python<'_>) -> PyResult<T>;
}

macro_rules! same_type {
    ($($type:ty),*) => {$(
        impl IntoField<$type> for $type {
            fn into_field(self, _: Python<'_>) -> PyResult<$type> {
                Ok(self)
            }
        }
    )*};
}
same_type!(
    bool,
    u32,
    i64,
    u64,
    String,
    Option<u32>,
    Option<i64>,
    Option<u64>,
    Option<String>
);

impl IntoField<String> for &'static str {
    fn into_field(self, _: Python<'_>) -> PyResult<String> {
        Ok(self.to_string())
    }
}

impl<T: IntoPython> IntoField<Py<T::Class>> for T {
    fn into_field(self, py: Python<'_>) -> PyResult<Py<T::Class>> {
        self.into_python(py)
    }
}

impl<T: IntoPython> IntoField<Option<Py<T::Class>>> for Option<T> {
    fn into_field(self, py: Python<'_>) -> PyResult<Option<Py<T::Class>>> {
        self.map(|item| item.into_python(py)).transpose()
    }
}

/// A list of Python objects.
pub fn list<T: IntoPython>(py: Python<'_>, items: Vec<T>) -> PyResult<Py<PyList>>
where
    Py<T::Class>: for<'py> IntoPyObject<'py>,
{
    let objects = items
        .into_iter()
        .map(|item| item.into_python(py))
        .collect::<PyResult<Vec<_>>>()?;
    PyList::new(py, objects).map(Bound::unbind)
}

impl<T: IntoPython> IntoField<Py<PyList>> for Vec<T>
where
    Py<T::Class>: for<'py> IntoPyObject<'py>,
{
    fn into_field(self, py: Python<'_>) -> PyResult<Py<PyList>> {
        list(py, self)
    }
}

impl IntoPython for Bytes {
    type Class = PyBytes;

    fn into_python(self, py: Python<'_>) -> PyResult<Py<PyBytes>> {
        Ok(PyBytes::new(py, &self).unbind())
    }
}

impl IntoPython for Vec<u8> {
    type Class = PyBytes;

    fn into_python(self, py: Python<'_>) -> PyResult<Py<PyBytes>> {
        Ok(PyBytes::new(py, &self).unbind())
    }
}

impl IntoPython for String {
    type Class = PyString;

    fn into_python(self, py: Python<'_>) -> PyResult<Py<PyString>> {
        Ok(PyString::new(py, &self).unbind())
    }
}

/// An enum whose values are words: each is the same str object every time.
macro_rules! word {
    ($type:ty, $name:expr) => {
        impl IntoPython for $type {
            type Class = PyString;

            fn into_python(self, py: Python<'_>) -> PyResult<Py<PyString>> {
                Ok(PyString::intern(py, $name(self)).unbind())
            }
        }
    };
}
word!(Durability, durability_name);
word!(AlarmKind, alarm_name);
word!(PermissionType, PermissionType::name);
word!(EventKind, |kind| match kind {
    EventKind::Put => "put",
    EventKind::Delete => "delete",
});
