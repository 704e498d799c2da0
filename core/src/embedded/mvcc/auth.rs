//! Users and roles: records in `side`, without a revision of keys.
//!
//! Whether authentication is on, and the revision of users and roles, are in the record of the
//! limits for writers in `meta`, which each writer reads once.

use super::bounds;
use super::writer::Writer;
use crate::auth::{
    AUTH_NAME_BYTES_MAX, Auth, AuthData, AuthResponse, AuthStamp, Password, Permission, ROOT, Role,
    User, UserAdd,
};
use crate::embedded::codec::{Bounds, auth as codec, meta};
use crate::embedded::lmdb::{Tree, Txn};
use crate::error::{Code, Error, Result};
use crate::etcd_text;
use crate::model::KeyRange;

fn refused(text: &'static str, name: &str) -> Error {
    Error::etcd(Code::FailedPrecondition, text).with_detail(format_args!("{name:?}"))
}

fn user(txn: &Txn, name: &str) -> Result<User> {
    find_user(txn, name)?.ok_or_else(|| refused(etcd_text::USER_NOT_FOUND, name))
}

fn find_user(txn: &Txn, name: &str) -> Result<Option<User>> {
    let record = codec::user_name(name);
    txn.get(Tree::Side, super::bound(&record).as_ref())?
        .map(|value| codec::decode_user(&record, value))
        .transpose()
}

fn role(txn: &Txn, name: &str) -> Result<Role> {
    find_role(txn, name)?.ok_or_else(|| refused(etcd_text::ROLE_NOT_FOUND, name))
}

fn find_role(txn: &Txn, name: &str) -> Result<Option<Role>> {
    let record = codec::role_name(name);
    txn.get(Tree::Side, super::bound(&record).as_ref())?
        .map(|value| codec::decode_role(&record, value))
        .transpose()
}

/// Decodes every record whose name begins with `prefix`.
fn all<T>(txn: &Txn, prefix: &[u8], decode: impl Fn(&[u8], &[u8]) -> Result<T>) -> Result<Vec<T>> {
    let mut found = Vec::new();
    let mut cursor = txn.cursor(Tree::Side)?;
    let mut entry = cursor.seek(prefix)?;
    while let Some((name, value)) = entry.filter(|(name, _)| name.starts_with(prefix)) {
        found.push(decode(name, value)?);
        entry = cursor.next()?;
    }
    Ok(found)
}

fn users(txn: &Txn) -> Result<Vec<User>> {
    all(txn, codec::USER, codec::decode_user)
}

fn roles(txn: &Txn) -> Result<Vec<Role>> {
    all(txn, codec::ROLE, codec::decode_role)
}

/// All users and roles.
pub(crate) fn data(txn: &Txn) -> Result<AuthData> {
    Ok(AuthData {
        stamp: bounds(txn)?.auth,
        users: users(txn)?,
        roles: roles(txn)?,
    })
}

/// The response to a request that changes nothing.
pub(crate) fn read(txn: &Txn, request: &Auth) -> Result<AuthResponse> {
    let mut response = AuthResponse {
        revision: super::current_revision(txn)?,
        stamp: bounds(txn)?.auth,
        ..AuthResponse::default()
    };
    match request {
        Auth::UserGet(name) => response.roles = user(txn, name)?.roles,
        Auth::UserList => {
            response.users = users(txn)?.into_iter().map(|user| user.name).collect();
        }
        Auth::RoleGet(name) => response.permissions = permissions(role(txn, name)?),
        Auth::RoleList => {
            response.roles = roles(txn)?.into_iter().map(|role| role.name).collect();
        }
        _ => {}
    }
    Ok(response)
}

/// The role root shows the permission that it has in effect.
fn permissions(role: Role) -> Vec<Permission> {
    match role.name == ROOT {
        true => vec![Permission::new(
            crate::auth::PermissionType::ReadWrite,
            KeyRange {
                key: Vec::new(),
                range_end: vec![0],
            },
        )],
        false => role.permissions,
    }
}

/// The hash that a store keeps. Passwords are hashed before a request reaches the writer.
fn hash(password: &Password) -> Result<String> {
    match password {
        Password::Hash(hash) => Ok(hash.clone()),
        Password::Plain(_) => Err(Error::new(
            Code::Internal,
            "a password reached the writer without being hashed",
        )),
    }
}

impl Writer<'_> {
    /// Runs a request of the Auth service. The revision of keys stays as it is.
    pub(super) fn auth(&mut self, request: &Auth) -> Result<AuthResponse> {
        match request {
            Auth::Enable => self.auth_enable()?,
            Auth::Disable => self.auth_disable()?,
            Auth::UserAdd(request) => self.user_add(request)?,
            Auth::UserDelete(name) => self.user_delete(name)?,
            Auth::UserChangePassword { name, password } => {
                let mut user = user(&self.txn, name)?;
                user.hash = hash(password)?;
                self.change(|writer| writer.put_user(&user))?;
            }
            Auth::UserGrantRole { name, role } => self.user_grant_role(name, role)?,
            Auth::UserRevokeRole { name, role } => self.user_revoke_role(name, role)?,
            Auth::RoleAdd(name) => {
                if find_role(&self.txn, name)?.is_some() {
                    return Err(refused(etcd_text::ROLE_EXISTS, name));
                }
                self.change(|writer| writer.put_role(&Role::new(name)))?;
            }
            Auth::RoleDelete(name) => self.role_delete(name)?,
            Auth::RoleGrantPermission { role, permission } => {
                self.role_grant_permission(role, permission)?;
            }
            Auth::RoleRevokePermission { role, range } => {
                self.role_revoke_permission(role, range)?;
            }
            Auth::Status
            | Auth::UserGet(_)
            | Auth::UserList
            | Auth::RoleGet(_)
            | Auth::RoleList => {
                return read(&self.txn, request);
            }
        }
        Ok(AuthResponse {
            revision: self.current,
            stamp: self.bounds.auth,
            ..AuthResponse::default()
        })
    }

    fn auth_enable(&mut self) -> Result<()> {
        let stamp = self.bounds.auth;
        if stamp.enabled {
            return Ok(());
        }
        let Some(root) = find_user(&self.txn, ROOT)? else {
            return Err(Error::etcd(
                Code::FailedPrecondition,
                etcd_text::ROOT_USER_MISSING,
            ));
        };
        if !root.roles.iter().any(|role| role == ROOT) {
            return Err(Error::etcd(
                Code::FailedPrecondition,
                etcd_text::ROOT_ROLE_MISSING,
            ));
        }
        self.set_stamp(AuthStamp {
            enabled: true,
            ..stamp
        })
    }

    fn auth_disable(&mut self) -> Result<()> {
        match self.bounds.auth {
            AuthStamp { enabled: false, .. } => Ok(()),
            AuthStamp { revision, .. } => self.set_stamp(AuthStamp {
                enabled: false,
                revision: revision + 1,
            }),
        }
    }

    fn user_add(&mut self, request: &UserAdd) -> Result<()> {
        let UserAdd { name, password } = request;
        if find_user(&self.txn, name)?.is_some() {
            return Err(refused(etcd_text::USER_EXISTS, name));
        }
        let user = User {
            name: name.clone(),
            hash: password.as_ref().map_or(Ok(String::new()), hash)?,
            no_password: password.is_none(),
            roles: Vec::new(),
        };
        self.change(|writer| writer.put_user(&user))
    }

    fn user_delete(&mut self, name: &str) -> Result<()> {
        self.keep_root(name == ROOT)?;
        user(&self.txn, name)?;
        self.change(|writer| writer.delete_record(&codec::user_name(name)))
    }

    fn user_grant_role(&mut self, name: &str, role_name: &str) -> Result<()> {
        let mut user = user(&self.txn, name)?;
        if role_name != ROOT {
            role(&self.txn, role_name)?;
        }
        match user
            .roles
            .binary_search_by(|role| role.as_str().cmp(role_name))
        {
            Ok(_) => Ok(()),
            Err(index) => {
                user.roles.insert(index, role_name.into());
                self.change(|writer| writer.put_user(&user))
            }
        }
    }

    fn user_revoke_role(&mut self, name: &str, role_name: &str) -> Result<()> {
        self.keep_root(name == ROOT && role_name == ROOT)?;
        let mut user = user(&self.txn, name)?;
        let Some(index) = user.roles.iter().position(|role| role == role_name) else {
            return Err(refused(etcd_text::ROLE_NOT_GRANTED, role_name));
        };
        user.roles.remove(index);
        self.change(|writer| writer.put_user(&user))
    }

    fn role_delete(&mut self, name: &str) -> Result<()> {
        self.keep_root(name == ROOT)?;
        role(&self.txn, name)?;
        let mut with_role = users(&self.txn)?;
        with_role.retain(|user| user.roles.iter().any(|role| role == name));
        self.change(|writer| {
            writer.delete_record(&codec::role_name(name))?;
            with_role.iter_mut().try_for_each(|user| {
                user.roles.retain(|role| role != name);
                writer.put_user(user)
            })
        })
    }

    fn role_grant_permission(&mut self, name: &str, permission: &Permission) -> Result<()> {
        let mut role = role(&self.txn, name)?;
        match role
            .permissions
            .iter_mut()
            .find(|known| known.range == permission.range)
        {
            Some(known) => known.kind = permission.kind,
            None => role.permissions.push(permission.clone()),
        }
        role.permissions
            .sort_by(|a, b| a.range.key.cmp(&b.range.key));
        self.change(|writer| writer.put_role(&role))
    }

    fn role_revoke_permission(&mut self, name: &str, range: &KeyRange) -> Result<()> {
        let mut role = role(&self.txn, name)?;
        let before = role.permissions.len();
        role.permissions.retain(|known| known.range != *range);
        if role.permissions.len() == before {
            return Err(refused(etcd_text::PERMISSION_NOT_GRANTED, name));
        }
        self.change(|writer| writer.put_role(&role))
    }

    /// While authentication is on, there is always a root.
    fn keep_root(&self, is_root: bool) -> Result<()> {
        match is_root && self.bounds.auth.enabled {
            true => Err(
                Error::etcd(Code::InvalidArgument, etcd_text::INVALID_AUTH_MANAGEMENT)
                    .with_detail("root cannot be removed while authentication is on"),
            ),
            false => Ok(()),
        }
    }

    /// Writes records in a new revision of users and roles.
    fn change(&mut self, write: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        write(self)?;
        let stamp = self.bounds.auth;
        self.set_stamp(AuthStamp {
            revision: stamp.revision + 1,
            ..stamp
        })
    }

    fn set_stamp(&mut self, auth: AuthStamp) -> Result<()> {
        self.maintain(|txn| {
            let bounds = Bounds {
                auth,
                ..bounds(txn)?
            };
            txn.put(Tree::Meta, meta::BOUNDS, &bounds.encode())
        })?;
        self.read_bounds()
    }

    fn put_user(&mut self, user: &User) -> Result<()> {
        self.put_record(&codec::user_name(&user.name), &codec::encode_user(user))
    }

    fn put_role(&mut self, role: &Role) -> Result<()> {
        self.put_record(&codec::role_name(&role.name), &codec::encode_role(role))
    }

    fn put_record(&mut self, name: &[u8], value: &[u8]) -> Result<()> {
        self.maintain(|txn| txn.put(Tree::Side, name, value))
    }

    fn delete_record(&mut self, name: &[u8]) -> Result<()> {
        self.maintain(|txn| txn.delete(Tree::Side, name).map(drop))
    }

    /// Writes the users and roles of another store into this one, which has none.
    pub(super) fn load_auth(&mut self, data: &AuthData) -> Result<()> {
        let names = data.users.iter().map(|user| &user.name);
        for name in names.chain(data.roles.iter().map(|role| &role.name)) {
            if name.len() > AUTH_NAME_BYTES_MAX {
                return Err(Error::new(
                    Code::Corrupt,
                    format!(
                        "a user or role has a name of {} bytes: at most {AUTH_NAME_BYTES_MAX} are \
                         allowed",
                        name.len()
                    ),
                ));
            }
        }
        data.users.iter().try_for_each(|user| self.put_user(user))?;
        data.roles.iter().try_for_each(|role| self.put_role(role))?;
        self.set_stamp(data.stamp)
    }
}
