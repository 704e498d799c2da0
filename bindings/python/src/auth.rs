//! Users, roles and permissions: what the calls of `Db` for them share, and their values.

use libkv::{Auth, AuthResponse, KeyRange, PermissionType, Response, UserAdd};
use pyo3::IntoPyObjectExt;
use pyo3::basic::CompareOp;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString, PyTuple, PyType};

use crate::calls::wrong_response;
use crate::convert::{Dict, KeyArgs, OptionalArg, alone, each_option, flag, one_of, only_option};
use crate::guard::guard;
use crate::interrupt::call;
use crate::options::text;
use crate::value::{IntoPython, value};
use crate::words::PERMISSION_TYPES;

value! {
    /// The state of authentication.
    AuthStatus from libkv::AuthStatus {
        /// Whether a server checks the users of its clients.
        enabled: bool,
        /// Grows with each change of users, roles or permissions; 1 in a new store. It is no
        /// revision of keys.
        auth_revision: u64,
        /// The store's revision.
        revision: i64,
    }
}

value! {
    /// A permission of a role.
    Permission {
        /// "read", "write" or "readwrite".
        r#type: Py<PyString>,
        /// The key, or the first key of the range, as bytes.
        key: Py<PyBytes>,
        /// The first key after the range, as bytes; b"" for one key, b"\0" for no end.
        range_end: Py<PyBytes>,
    }
}

impl IntoPython for libkv::Permission {
    type Class = Permission;

    fn into_python(self, py: Python<'_>) -> PyResult<Py<Permission>> {
        let permission = Permission {
            r#type: self.kind.into_python(py)?,
            key: self.range.key.into_python(py)?,
            range_end: self.range.range_end.into_python(py)?,
        };
        Py::new(py, permission)
    }
}

impl Permission {
    fn range(&self, py: Python<'_>) -> KeyRange {
        KeyRange {
            key: self.key.as_bytes(py).to_vec(),
            range_end: self.range_end.as_bytes(py).to_vec(),
        }
    }
}

/// Runs a call that has a response of its own.
pub fn run(py: Python<'_>, db: &libkv::Db, request: Auth) -> PyResult<AuthResponse> {
    match call(py, db, request)? {
        Response::Auth(response) => Ok(response),
        _ => Err(wrong_response()),
    }
}

/// Runs a call that changes users, roles or authentication. Returns the store's revision.
pub fn change(py: Python<'_>, db: &libkv::Db, request: Auth) -> PyResult<i64> {
    Ok(run(py, db, request)?.revision)
}

/// The arguments of user_add().
pub fn user_add(
    name: &Bound<'_, PyAny>,
    password: Option<&Bound<'_, PyAny>>,
    options: Option<&Dict<'_>>,
) -> PyResult<Auth> {
    let name = text("name", name)?;
    let without = only_option("user_add", options, "no_password", flag)?.unwrap_or(false);
    let user = match (password, without) {
        (Some(password), false) => UserAdd::new(name, text("password", password)?),
        (None, true) => UserAdd::without_password(name),
        _ => {
            return Err(PyTypeError::new_err(
                "user_add() takes a password, or no_password=True",
            ));
        }
    };
    Ok(Auth::UserAdd(user))
}

/// The arguments of role_grant_permission() after the role.
pub fn permission(
    r#type: &Bound<'_, PyAny>,
    key: OptionalArg<'_>,
    options: Option<&Dict<'_>>,
) -> PyResult<libkv::Permission> {
    const CALL: &str = "role_grant_permission";
    if let Ok(permission) = r#type.cast::<Permission>() {
        alone(CALL, key.0.is_some() || options.is_some())?;
        let (py, permission) = (r#type.py(), permission.get());
        let kind = permission_type(permission.r#type.bind(py))?;
        return Ok(libkv::Permission::new(kind, permission.range(py)));
    }
    let kind = permission_type(r#type)?;
    Ok(libkv::Permission::new(kind, range(CALL, key, options)?))
}

/// The arguments of role_revoke_permission() after the role.
pub fn revoked_range(key: OptionalArg<'_>, options: Option<&Dict<'_>>) -> PyResult<KeyRange> {
    const CALL: &str = "role_revoke_permission";
    if let Some(Ok(permission)) = key.0.as_ref().map(|key| key.cast::<Permission>()) {
        alone(CALL, options.is_some())?;
        return Ok(permission.get().range(permission.py()));
    }
    range(CALL, key, options)
}

fn permission_type(given: &Bound<'_, PyAny>) -> PyResult<PermissionType> {
    one_of("type", given, &PERMISSION_TYPES)
}

/// A range, which must be given.
fn range(call: &str, key: OptionalArg<'_>, options: Option<&Dict<'_>>) -> PyResult<KeyRange> {
    let mut keys = KeyArgs::new(key.0);
    each_option(call, options, &["prefix", "start", "end"], |name, given| {
        keys.take(name, given);
        Ok(())
    })?;
    keys.range(call)?.ok_or_else(|| {
        PyTypeError::new_err(format!(
            "{call}() takes a key, or prefix=, or start= and end= (prefix=\"\" is all keys)"
        ))
    })
}
