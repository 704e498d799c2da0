//! Users, roles and authentication: the methods of [`Db`] for etcd's service Auth.

use crate::auth::{Auth, AuthResponse, AuthStatus, Password, Permission, UserAdd};
use crate::db::Db;
use crate::error::{Code, Error, Result};
use crate::model::{KeyRange, Revision};
use crate::request::{Request, Response};

impl Db {
    fn auth(&self, request: Auth) -> Result<AuthResponse> {
        match self.engine().call(Request::Auth(request), None)? {
            Response::Auth(response) => Ok(response),
            _ => Err(Error::new(
                Code::Internal,
                "the engine returned a response of another kind",
            )),
        }
    }

    /// Turns authentication on: from then on a server of this store checks every call of a client.
    /// A process that opens the directory needs no user. A second call has no effect. Returns the
    /// store's revision, which does not change.
    ///
    /// ```
    /// use libkv::{Db, Options, Permission, PermissionType, KeyRange, UserAdd};
    ///
    /// let db = Db::open(":memory:", Options::new())?;
    /// db.user_add(UserAdd::new("root", "secret"))?;
    /// db.user_grant_role("root", "root")?;
    /// db.role_add("reader")?;
    /// let all_config = KeyRange::prefix("config/");
    /// db.role_grant_permission("reader", Permission::new(PermissionType::Read, all_config))?;
    /// db.user_add(UserAdd::new("alice", "password"))?;
    /// db.user_grant_role("alice", "reader")?;
    /// db.auth_enable()?;
    /// assert!(db.auth_status()?.enabled);
    /// # Ok::<(), libkv::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `failed_precondition` without a user `root` that has the role `root`; those of a write.
    pub fn auth_enable(&self) -> Result<Revision> {
        Ok(self.auth(Auth::Enable)?.revision)
    }

    /// Turns authentication off. Users and roles are kept. Returns the store's revision.
    ///
    /// # Errors
    ///
    /// Those of a write. No error if it is off.
    pub fn auth_disable(&self) -> Result<Revision> {
        Ok(self.auth(Auth::Disable)?.revision)
    }

    /// Returns whether authentication is on, and the revision of users and roles.
    ///
    /// # Errors
    ///
    /// Those of a read.
    pub fn auth_status(&self) -> Result<AuthStatus> {
        let response = self.auth(Auth::Status)?;
        Ok(AuthStatus {
            enabled: response.stamp.enabled,
            auth_revision: response.stamp.revision,
            revision: response.revision,
        })
    }

    /// Creates a user. The password is hashed with bcrypt first, which takes about 50 ms. Returns
    /// the store's revision.
    ///
    /// # Errors
    ///
    /// `failed_precondition` if the user exists; `invalid_argument` for an empty or too long name, a
    /// password over 72 bytes, or a hash that is not one of bcrypt; those of a write.
    pub fn user_add(&self, user: UserAdd) -> Result<Revision> {
        Ok(self.auth(Auth::UserAdd(user))?.revision)
    }

    /// Returns the roles of a user, sorted.
    ///
    /// # Errors
    ///
    /// `failed_precondition` if there is no such user; those of a read.
    pub fn user_get(&self, name: &str) -> Result<Vec<String>> {
        Ok(self.auth(Auth::UserGet(name.into()))?.roles)
    }

    /// Returns the names of all users, sorted.
    ///
    /// # Errors
    ///
    /// Those of a read.
    pub fn user_list(&self) -> Result<Vec<String>> {
        Ok(self.auth(Auth::UserList)?.users)
    }

    /// Removes a user. Returns the store's revision.
    ///
    /// # Errors
    ///
    /// `failed_precondition` if there is no such user; `invalid_argument` for `root` while
    /// authentication is on; those of a write.
    pub fn user_delete(&self, name: &str) -> Result<Revision> {
        Ok(self.auth(Auth::UserDelete(name.into()))?.revision)
    }

    /// Changes the password of a user; the tokens of that user become invalid. Returns the store's
    /// revision.
    ///
    /// # Errors
    ///
    /// `failed_precondition` if there is no such user; `invalid_argument` for a password over 72
    /// bytes or a hash that is not one of bcrypt; those of a write.
    pub fn user_change_password(
        &self,
        name: &str,
        password: impl Into<Password>,
    ) -> Result<Revision> {
        let change = Auth::UserChangePassword {
            name: name.into(),
            password: password.into(),
        };
        Ok(self.auth(change)?.revision)
    }

    /// Grants a role to a user; no effect if the user has it. The role `root`, which permits
    /// everything, need not be created first. Returns the store's revision.
    ///
    /// # Errors
    ///
    /// `failed_precondition` if there is no such user or role; those of a write.
    pub fn user_grant_role(&self, name: &str, role: &str) -> Result<Revision> {
        let (name, role) = (name.into(), role.into());
        Ok(self.auth(Auth::UserGrantRole { name, role })?.revision)
    }

    /// Takes a role from a user. Returns the store's revision.
    ///
    /// # Errors
    ///
    /// `failed_precondition` if there is no such user, or it does not have the role;
    /// `invalid_argument` for the role `root` of `root` while authentication is on; those of a
    /// write.
    pub fn user_revoke_role(&self, name: &str, role: &str) -> Result<Revision> {
        let (name, role) = (name.into(), role.into());
        Ok(self.auth(Auth::UserRevokeRole { name, role })?.revision)
    }

    /// Creates a role without permissions. Returns the store's revision.
    ///
    /// # Errors
    ///
    /// `failed_precondition` if the role exists; `invalid_argument` for an empty or too long name;
    /// those of a write.
    pub fn role_add(&self, role: &str) -> Result<Revision> {
        Ok(self.auth(Auth::RoleAdd(role.into()))?.revision)
    }

    /// Returns the permissions of a role, sorted by key. The role `root` always has one: all keys.
    ///
    /// # Errors
    ///
    /// `failed_precondition` if there is no such role; those of a read.
    pub fn role_get(&self, role: &str) -> Result<Vec<Permission>> {
        Ok(self.auth(Auth::RoleGet(role.into()))?.permissions)
    }

    /// Returns the names of all roles, sorted. `root` is one of them only if it was created.
    ///
    /// # Errors
    ///
    /// Those of a read.
    pub fn role_list(&self) -> Result<Vec<String>> {
        Ok(self.auth(Auth::RoleList)?.roles)
    }

    /// Removes a role, also from every user that has it. Returns the store's revision.
    ///
    /// # Errors
    ///
    /// `failed_precondition` if there is no such role; `invalid_argument` for `root` while
    /// authentication is on; those of a write.
    pub fn role_delete(&self, role: &str) -> Result<Revision> {
        Ok(self.auth(Auth::RoleDelete(role.into()))?.revision)
    }

    /// Adds a permission to a role. If the role has one with the same range, its type is replaced.
    /// Returns the store's revision.
    ///
    /// # Errors
    ///
    /// `failed_precondition` if there is no such role; `invalid_argument` for an empty range; those
    /// of a write.
    pub fn role_grant_permission(&self, role: &str, permission: Permission) -> Result<Revision> {
        let role = role.into();
        Ok(self
            .auth(Auth::RoleGrantPermission { role, permission })?
            .revision)
    }

    /// Removes the permission with exactly this range from a role. Returns the store's revision.
    ///
    /// # Errors
    ///
    /// `failed_precondition` if there is no such role, or it has no such permission; those of a
    /// write.
    pub fn role_revoke_permission(
        &self,
        role: &str,
        range: impl Into<KeyRange>,
    ) -> Result<Revision> {
        let (role, range) = (role.into(), range.into());
        Ok(self
            .auth(Auth::RoleRevokePermission { role, range })?
            .revision)
    }
}
