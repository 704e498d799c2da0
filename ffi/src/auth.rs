//! Users, roles and authentication.
#![allow(unsafe_code)]

use libkv::{KeyRange, Permission, Result, UserAdd};

use crate::db::KvDb;
use crate::error::KvError;
use crate::guard::{free, guard, guard_value};
use crate::handle::{invalid, kinds};
use crate::pointers::require_output;
use crate::types::*;

/// A list of names of users or roles; see kv_user_list.
pub struct KvNames;

/// A list of permissions; see kv_role_get.
pub struct KvPermissions;

/// A permission of a role.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct KvPermission {
    /// KV_PERMISSION_….
    pub r#type: i32,
    /// The keys. A prefix is KV_RANGE_BETWEEN here: from the prefix to the first key after it.
    pub range: KvKeyRange,
}

/// Options of kv_user_add; initialise with KV_USER_ADD_OPTIONS_INIT.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct KvUserAddOptions {
    /// sizeof(kv_user_add_options).
    pub size: usize,
    /// KV_YES: the user cannot log in with a password, only with a client certificate. The password
    /// must be empty.
    pub no_password: i32,
}

// SAFETY: numbers only, size first.
unsafe impl OptionStruct for KvUserAddOptions {
    const NAME: &'static str = "kv_user_add_options";
}

/// The contents of a `kv_permissions`.
pub(crate) struct PermissionsContents {
    views: Vec<KvPermission>,
    _permissions: Vec<Permission>,
}

impl PermissionsContents {
    fn new(permissions: Vec<Permission>) -> PermissionsContents {
        PermissionsContents {
            views: permissions.iter().map(permission_view).collect(),
            _permissions: permissions,
        }
    }
}

kinds! {
    KvNames = Vec<String>, b"kv_names", "kv_names";
    KvPermissions = PermissionsContents, b"kv_perms", "kv_permissions";
}

fn permission_view(permission: &Permission) -> KvPermission {
    let KeyRange { key, range_end } = &permission.range;
    let (kind, end) = match (key.as_slice(), range_end.as_slice()) {
        (_, []) => (KV_RANGE_KEY, NO_BYTES),
        ([] | [0], [0]) => (KV_RANGE_ALL, NO_BYTES),
        (_, [0]) => (KV_RANGE_FROM_KEY, NO_BYTES),
        (_, end) => (KV_RANGE_BETWEEN, bytes_out(end)),
    };
    KvPermission {
        r#type: permission_type_number(permission.kind),
        range: KvKeyRange {
            kind,
            key: bytes_out(key),
            end,
        },
    }
}

/// Turns authentication on. From then on a server of this store checks every call of a client
/// against users and roles. A process that opens the directory itself needs no user: the
/// permissions of its files decide. It needs a user "root" with the role "root", which may do
/// everything. A second call has no effect. *revision is the store's revision, which these calls
/// do not change.
///
///     kv_user_add(db, kv_str("root"), kv_str("secret"), NULL, NULL, &error);
///     kv_user_grant_role(db, kv_str("root"), kv_str("root"), NULL, &error);
///     kv_role_add(db, kv_str("reader"), NULL, &error);
///     kv_role_grant_permission(db, kv_str("reader"), KV_PERMISSION_READ,
///                              kv_prefix(kv_str("config/")), NULL, &error);
///     kv_user_add(db, kv_str("alice"), kv_str("password"), NULL, NULL, &error);
///     kv_user_grant_role(db, kv_str("alice"), kv_str("reader"), NULL, &error);
///     kv_auth_enable(db, NULL, &error);
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: KV_FAILED_PRECONDITION without a user root that has the role root, and those of kv_put.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_auth_enable(
    db: *const KvDb,
    revision: *mut i64,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        c.put(revision, c.arg(db)?.0.auth_enable()?);
        Ok(())
    })
}

/// Turns authentication off. Users and roles are kept. No error if it is off.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: those of kv_put.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_auth_disable(
    db: *const KvDb,
    revision: *mut i64,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        c.put(revision, c.arg(db)?.0.auth_disable()?);
        Ok(())
    })
}

/// Reads whether authentication is on: *enabled is KV_YES or KV_NO. *auth_revision grows with each
/// change of users, roles or permissions; it is 1 in a new store, and no revision of keys.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: KV_INVALID_ARGUMENT, KV_CLOSED, KV_FORKED, KV_CORRUPT, KV_IO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_auth_status(
    db: *const KvDb,
    enabled: *mut i32,
    auth_revision: *mut u64,
    revision: *mut i64,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        let status = c.arg(db)?.0.auth_status()?;
        c.put(enabled, flag_out(status.enabled));
        c.put(auth_revision, status.auth_revision);
        c.put(revision, status.revision);
        Ok(())
    })
}

/// Creates a user. The name is UTF-8, 1 to 400 bytes. The password is UTF-8, at most 72 bytes; an
/// empty one is a password, too. It is hashed with bcrypt first, which takes about 50 ms. For a
/// user without a password set kv_user_add_options.no_password.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: KV_FAILED_PRECONDITION (the user exists), KV_INVALID_ARGUMENT (a name or a password that
/// is too long or not UTF-8, an empty name), and those of kv_put.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_user_add(
    db: *const KvDb,
    name: KvBytes,
    password: KvBytes,
    options: *const KvUserAddOptions,
    revision: *mut i64,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        let name = c.utf8(name, USER)?;
        let password = c.utf8(password, PASSWORD)?;
        let no_password = flag_in(c.options(options)?.no_password, "no_password")?;
        let user = new_user(name, password, no_password.unwrap_or(false))?;
        c.put(revision, c.arg(db)?.0.user_add(user)?);
        Ok(())
    })
}

const USER: &str = "the name of the user";
const ROLE: &str = "the name of the role";
const PASSWORD: &str = "the password";

fn new_user(name: &str, password: &str, no_password: bool) -> Result<UserAdd> {
    match (no_password, password) {
        (false, password) => Ok(UserAdd::new(name, password)),
        (true, "") => Ok(UserAdd::without_password(name)),
        (true, _) => Err(invalid(
            "option no_password is KV_YES, but there is a password",
        )),
    }
}

/// Returns the names of the roles of a user, sorted.
///
/// Owner: *out is owned by the caller, to free with kv_names_free.
/// Threads: any.
/// Errors: KV_FAILED_PRECONDITION (no such user), KV_INVALID_ARGUMENT, KV_CLOSED, KV_FORKED,
/// KV_CORRUPT, KV_IO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_user_get(
    db: *const KvDb,
    name: KvBytes,
    out: *mut *mut KvNames,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        require_output(out, "out")?;
        let name = c.utf8(name, USER)?;
        c.give::<KvNames>(out, c.arg(db)?.0.user_get(name)?);
        Ok(())
    })
}

/// Returns the names of all users, sorted.
///
///     kv_names *users = NULL;
///     if (kv_user_list(db, &users, &error) == KV_OK) {
///         for (size_t i = 0; i < kv_names_len(users); i++) {
///             kv_bytes name = kv_names_at(users, i);
///             printf("%.*s\n", (int)name.len, (const char *)name.data);
///         }
///     }
///     kv_names_free(users);
///
/// Owner: *out is owned by the caller, to free with kv_names_free.
/// Threads: any.
/// Errors: KV_INVALID_ARGUMENT, KV_CLOSED, KV_FORKED, KV_CORRUPT, KV_IO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_user_list(
    db: *const KvDb,
    out: *mut *mut KvNames,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        require_output(out, "out")?;
        c.give::<KvNames>(out, c.arg(db)?.0.user_list()?);
        Ok(())
    })
}

/// Removes a user.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: KV_FAILED_PRECONDITION (no such user), KV_INVALID_ARGUMENT (root while authentication is
/// on), and those of kv_put.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_user_delete(
    db: *const KvDb,
    name: KvBytes,
    revision: *mut i64,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        let name = c.utf8(name, USER)?;
        c.put(revision, c.arg(db)?.0.user_delete(name)?);
        Ok(())
    })
}

/// Changes the password of a user; the tokens of the user become invalid. The password is as that
/// of kv_user_add.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: KV_FAILED_PRECONDITION (no such user), KV_INVALID_ARGUMENT (a password over 72 bytes),
/// and those of kv_put.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_user_change_password(
    db: *const KvDb,
    name: KvBytes,
    password: KvBytes,
    revision: *mut i64,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        let name = c.utf8(name, USER)?;
        let password = c.utf8(password, PASSWORD)?;
        c.put(revision, c.arg(db)?.0.user_change_password(name, password)?);
        Ok(())
    })
}

/// Grants a role to a user; no effect if the user has it. The role "root", which permits
/// everything, need not be created first.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: KV_FAILED_PRECONDITION (no such user or role), KV_INVALID_ARGUMENT, and those of kv_put.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_user_grant_role(
    db: *const KvDb,
    name: KvBytes,
    role: KvBytes,
    revision: *mut i64,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        let (name, role) = (c.utf8(name, USER)?, c.utf8(role, ROLE)?);
        c.put(revision, c.arg(db)?.0.user_grant_role(name, role)?);
        Ok(())
    })
}

/// Takes a role from a user.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: KV_FAILED_PRECONDITION (no such user, or it does not have the role), KV_INVALID_ARGUMENT
/// (the role root of root while authentication is on), and those of kv_put.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_user_revoke_role(
    db: *const KvDb,
    name: KvBytes,
    role: KvBytes,
    revision: *mut i64,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        let (name, role) = (c.utf8(name, USER)?, c.utf8(role, ROLE)?);
        c.put(revision, c.arg(db)?.0.user_revoke_role(name, role)?);
        Ok(())
    })
}

/// Creates a role without permissions. The name is UTF-8, 1 to 400 bytes.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: KV_FAILED_PRECONDITION (the role exists), KV_INVALID_ARGUMENT, and those of kv_put.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_role_add(
    db: *const KvDb,
    role: KvBytes,
    revision: *mut i64,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        let role = c.utf8(role, ROLE)?;
        c.put(revision, c.arg(db)?.0.role_add(role)?);
        Ok(())
    })
}

/// Returns the permissions of a role, sorted by key. The role "root" always has one: all keys.
///
/// Owner: *out is owned by the caller, to free with kv_permissions_free.
/// Threads: any.
/// Errors: KV_FAILED_PRECONDITION (no such role), KV_INVALID_ARGUMENT, KV_CLOSED, KV_FORKED,
/// KV_CORRUPT, KV_IO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_role_get(
    db: *const KvDb,
    role: KvBytes,
    out: *mut *mut KvPermissions,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        require_output(out, "out")?;
        let role = c.utf8(role, ROLE)?;
        let permissions = c.arg(db)?.0.role_get(role)?;
        c.give::<KvPermissions>(out, PermissionsContents::new(permissions));
        Ok(())
    })
}

/// Returns the names of all roles, sorted. "root" is one of them only if it was created.
///
/// Owner: *out is owned by the caller, to free with kv_names_free.
/// Threads: any.
/// Errors: KV_INVALID_ARGUMENT, KV_CLOSED, KV_FORKED, KV_CORRUPT, KV_IO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_role_list(
    db: *const KvDb,
    out: *mut *mut KvNames,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        require_output(out, "out")?;
        c.give::<KvNames>(out, c.arg(db)?.0.role_list()?);
        Ok(())
    })
}

/// Removes a role, also from every user that has it.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: KV_FAILED_PRECONDITION (no such role), KV_INVALID_ARGUMENT (root while authentication is
/// on), and those of kv_put.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_role_delete(
    db: *const KvDb,
    role: KvBytes,
    revision: *mut i64,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        let role = c.utf8(role, ROLE)?;
        c.put(revision, c.arg(db)?.0.role_delete(role)?);
        Ok(())
    })
}

/// Adds a permission to a role: a type, KV_PERMISSION_…, for a range. If the role has one with the
/// same range, its type is replaced.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: KV_FAILED_PRECONDITION (no such role), KV_INVALID_ARGUMENT (an empty range), and those
/// of kv_put.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_role_grant_permission(
    db: *const KvDb,
    role: KvBytes,
    r#type: i32,
    range: KvKeyRange,
    revision: *mut i64,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        let role = c.utf8(role, ROLE)?;
        let kind = permission_type(r#type)
            .ok_or_else(|| invalid(format!("{type} is no KV_PERMISSION_…", type = r#type)))?;
        let permission = Permission::new(kind, c.range(range)?);
        c.put(
            revision,
            c.arg(db)?.0.role_grant_permission(role, permission)?,
        );
        Ok(())
    })
}

/// Removes the permission with exactly this range from a role. kv_permission.range of kv_role_get
/// can be passed.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: KV_FAILED_PRECONDITION (no such role, or it has no such permission),
/// KV_INVALID_ARGUMENT, and those of kv_put.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_role_revoke_permission(
    db: *const KvDb,
    role: KvBytes,
    range: KvKeyRange,
    revision: *mut i64,
    error: *mut *mut KvError,
) -> KvCode {
    guard!(error, |c| {
        let role = c.utf8(role, ROLE)?;
        let range = c.range(range)?;
        c.put(revision, c.arg(db)?.0.role_revoke_permission(role, range)?);
        Ok(())
    })
}

/// The number of names; 0 for NULL.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_names_len(names: *const KvNames) -> usize {
    guard_value!(0, |c| Some(c.arg(names).ok()?.len()))
}

/// The name at index, as UTF-8 without a terminating zero; no bytes beyond the last.
///
/// Owner: the names; it is valid until they are freed.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_names_at(names: *const KvNames, index: usize) -> KvBytes {
    guard_value!(NO_BYTES, |c| Some(bytes_out(
        c.arg(names).ok()?.get(index)?.as_bytes()
    )))
}

/// Frees names.
///
/// Owner: frees them; NULL is allowed.
/// Threads: the last use of them.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_names_free(names: *mut KvNames) {
    free!(names)
}

/// The number of permissions; 0 for NULL.
///
/// Owner: no ownership changes.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_permissions_len(permissions: *const KvPermissions) -> usize {
    guard_value!(0, |c| Some(c.arg(permissions).ok()?.views.len()))
}

/// The permission at index; NULL beyond the last.
///
/// Owner: the permissions; it is valid until they are freed.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_permissions_at(
    permissions: *const KvPermissions,
    index: usize,
) -> *const KvPermission {
    guard_value!(std::ptr::null(), |c| c
        .arg(permissions)
        .ok()?
        .views
        .get(index)
        .map(std::ptr::from_ref))
}

/// Frees permissions.
///
/// Owner: frees them; NULL is allowed.
/// Threads: the last use of them.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_permissions_free(permissions: *mut KvPermissions) {
    free!(permissions)
}
