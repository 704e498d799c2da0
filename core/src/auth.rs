//! Users, roles and permissions: etcd's service Auth, as requests of a store.
//!
//! A store keeps users and roles for the clients of a server: `kv serve` checks every call of a
//! client against them while authentication is on. A process that opens the directory itself needs
//! no user and no password: the permissions of the file system decide, as for any other file. For a
//! cluster these calls go to its Auth service.

use std::fmt;

use crate::error::{Code, Error, Result, show};
use crate::etcd_text;
use crate::model::{KeyRange, Revision};

/// The user and the role that may do everything.
pub const ROOT: &str = "root";

/// The longest name of a user or a role, in bytes.
pub const AUTH_NAME_BYTES_MAX: usize = 400;

/// bcrypt reads no more bytes of a password. A longer one is refused.
pub const PASSWORD_BYTES_MAX: usize = 72;

/// A password in a request. Its `Debug` form hides the text.
#[derive(Clone, PartialEq, Eq)]
pub enum Password {
    /// The password itself; the empty one is a password, too. A store keeps only its bcrypt hash.
    Plain(String),
    /// A bcrypt hash, `$2a$10$…`, which is kept as it is.
    Hash(String),
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Password::Plain(_) => "Plain(hidden)",
            Password::Hash(_) => "Hash(hidden)",
        })
    }
}

impl From<&str> for Password {
    fn from(password: &str) -> Password {
        Password::Plain(password.into())
    }
}

impl From<String> for Password {
    fn from(password: String) -> Password {
        Password::Plain(password)
    }
}

/// Creates a user. etcd's `AuthUserAddRequest`. It may grow fields: build it with
/// [`new`](UserAdd::new) or [`without_password`](UserAdd::without_password).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "a request does nothing until it is run"]
pub struct UserAdd {
    /// The name, 1 to [`AUTH_NAME_BYTES_MAX`] bytes.
    pub name: String,
    /// `None`: the user cannot log in with a password, only with a client certificate.
    pub password: Option<Password>,
}

impl UserAdd {
    /// A user with a password.
    pub fn new(name: impl Into<String>, password: impl Into<Password>) -> UserAdd {
        UserAdd {
            name: name.into(),
            password: Some(password.into()),
        }
    }

    /// A user that logs in with a client certificate only. etcdctl's `--no-password`.
    pub fn without_password(name: impl Into<String>) -> UserAdd {
        UserAdd {
            name: name.into(),
            password: None,
        }
    }
}

/// What a permission allows. etcd's `Permission.Type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum PermissionType {
    /// Reads and watches.
    Read,
    /// Puts and deletions.
    Write,
    /// Both.
    ReadWrite,
}

impl PermissionType {
    /// All types, in the order of their numbers in etcd's protocol.
    pub const ALL: [PermissionType; 3] = [
        PermissionType::Read,
        PermissionType::Write,
        PermissionType::ReadWrite,
    ];

    /// The number in etcd's protocol and in C.
    pub fn number(self) -> i32 {
        self as i32
    }

    /// The name, as etcdctl takes it: `read`, `write`, `readwrite`.
    pub fn name(self) -> &'static str {
        match self {
            PermissionType::Read => "read",
            PermissionType::Write => "write",
            PermissionType::ReadWrite => "readwrite",
        }
    }

    /// Whether it allows reads.
    pub fn reads(self) -> bool {
        self != PermissionType::Write
    }

    /// Whether it allows writes.
    pub fn writes(self) -> bool {
        self != PermissionType::Read
    }
}

/// A right of a role: a type and a range of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Permission {
    /// What it allows.
    pub kind: PermissionType,
    /// The keys. A `range_end` of `\0` has no end.
    pub range: KeyRange,
}

impl Permission {
    /// A permission for a key or a range.
    pub fn new(kind: PermissionType, range: impl Into<KeyRange>) -> Permission {
        Permission {
            kind,
            range: range.into(),
        }
    }
}

/// The state of authentication. etcd's `AuthStatusResponse`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct AuthStatus {
    /// Whether a server checks users.
    pub enabled: bool,
    /// Grows with each change of users, roles or permissions; 1 in a new store. It is not a
    /// revision of keys.
    pub auth_revision: u64,
    /// The store's revision.
    pub revision: Revision,
}

/// A call of the Auth service, as an engine receives it. [`Db`](crate::Db) has a method for each.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "a request does nothing until it is run"]
pub enum Auth {
    /// Turns authentication on.
    Enable,
    /// Turns it off.
    Disable,
    /// Returns the state.
    Status,
    /// Creates a user.
    UserAdd(UserAdd),
    /// Returns the roles of a user.
    UserGet(String),
    /// Lists the users.
    UserList,
    /// Removes a user.
    UserDelete(String),
    /// Changes the password of a user.
    UserChangePassword {
        /// The user.
        name: String,
        /// The new password.
        password: Password,
    },
    /// Grants a role to a user.
    UserGrantRole {
        /// The user.
        name: String,
        /// The role.
        role: String,
    },
    /// Takes a role from a user.
    UserRevokeRole {
        /// The user.
        name: String,
        /// The role.
        role: String,
    },
    /// Creates a role.
    RoleAdd(String),
    /// Returns the permissions of a role.
    RoleGet(String),
    /// Lists the roles.
    RoleList,
    /// Removes a role, also from its users.
    RoleDelete(String),
    /// Adds a permission to a role, or changes the type of the one with the same range.
    RoleGrantPermission {
        /// The role.
        role: String,
        /// The permission.
        permission: Permission,
    },
    /// Removes the permission with exactly this range from a role.
    RoleRevokePermission {
        /// The role.
        role: String,
        /// The range.
        range: KeyRange,
    },
}

impl Auth {
    /// Whether it changes nothing.
    pub fn is_read(&self) -> bool {
        matches!(
            self,
            Auth::Status | Auth::UserGet(_) | Auth::UserList | Auth::RoleGet(_) | Auth::RoleList
        )
    }
}

/// The response to an [`Auth`] request. Fields that the request does not ask for are empty.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct AuthResponse {
    /// The store's revision: these calls do not change it.
    pub revision: Revision,
    /// The state of authentication after the call. Only [`Auth::Status`] asks a cluster for it.
    pub stamp: AuthStamp,
    /// The users, by name.
    pub users: Vec<String>,
    /// The roles, by name.
    pub roles: Vec<String>,
    /// The permissions of a role, by key.
    pub permissions: Vec<Permission>,
}

impl AuthResponse {
    /// An empty response at a revision of the store.
    pub fn new(revision: Revision) -> AuthResponse {
        AuthResponse {
            revision,
            ..AuthResponse::default()
        }
    }
}

/// Whether authentication is on, and the revision of users and roles. Equal stamps of one store
/// mean equal users, roles and permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthStamp {
    /// Whether authentication is on.
    pub enabled: bool,
    /// See [`AuthStatus::auth_revision`].
    pub revision: u64,
}

/// The revision of a store whose users were never changed.
const FIRST_REVISION: u64 = 1;

impl Default for AuthStamp {
    fn default() -> AuthStamp {
        AuthStamp {
            enabled: false,
            revision: FIRST_REVISION,
        }
    }
}

/// A user as a store keeps it.
#[derive(Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct User {
    /// The name.
    pub name: String,
    /// The bcrypt hash of the password; empty if there is none.
    pub hash: String,
    /// Whether no password is accepted.
    pub no_password: bool,
    /// The granted roles, sorted.
    pub roles: Vec<String>,
}

impl User {
    /// A user without roles.
    pub fn new(name: impl Into<String>) -> User {
        User {
            name: name.into(),
            ..User::default()
        }
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User")
            .field("name", &self.name)
            .field("no_password", &self.no_password)
            .field("roles", &self.roles)
            .finish_non_exhaustive()
    }
}

/// A role as a store keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Role {
    /// The name.
    pub name: String,
    /// The permissions, by key.
    pub permissions: Vec<Permission>,
}

impl Role {
    /// A role without permissions.
    pub fn new(name: impl Into<String>) -> Role {
        Role {
            name: name.into(),
            ..Role::default()
        }
    }
}

/// All users and roles of a store, as of one moment.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct AuthData {
    /// The state that they belong to.
    pub stamp: AuthStamp,
    /// The users, by name.
    pub users: Vec<User>,
    /// The roles, by name.
    pub roles: Vec<Role>,
}

/// Checks what etcd checks before it looks at users and roles, and the limits of a store.
pub(crate) fn check(request: &Auth) -> Result<()> {
    match request {
        Auth::UserAdd(user) => {
            check_new_name(&user.name, etcd_text::USER_NAME_EMPTY, "user")?;
            user.password.as_ref().map_or(Ok(()), check_password)
        }
        Auth::UserChangePassword { password, .. } => check_password(password),
        Auth::RoleAdd(role) => check_new_name(role, etcd_text::ROLE_NAME_EMPTY, "role"),
        Auth::RoleGrantPermission { permission, .. } => check_permission(&permission.range),
        _ => Ok(()),
    }
}

fn check_new_name(name: &str, empty: &'static str, what: &str) -> Result<()> {
    match name.len() {
        0 => Err(Error::etcd(Code::InvalidArgument, empty)),
        1..=AUTH_NAME_BYTES_MAX => Ok(()),
        bytes => Err(Error::new(
            Code::InvalidArgument,
            format!(
                "the name of the {what} has {bytes} bytes: at most {AUTH_NAME_BYTES_MAX} are allowed"
            ),
        )),
    }
}

fn check_password(password: &Password) -> Result<()> {
    match password {
        Password::Plain(text) if text.len() > PASSWORD_BYTES_MAX => Err(Error::new(
            Code::InvalidArgument,
            "bcrypt: password length exceeds 72 bytes",
        )),
        Password::Hash(hash) if !crate::password::is_hash(hash) => Err(Error::new(
            Code::InvalidArgument,
            "the hash of the password is not one of bcrypt: $2a$, $2b$ or $2y$, a cost and 53 characters are expected",
        )),
        _ => Ok(()),
    }
}

/// A key, or a range that ends after its start.
fn check_permission(range: &KeyRange) -> Result<()> {
    let KeyRange { key, range_end } = range;
    let ends_before = !range_end.is_empty() && *range_end != [0] && range_end <= key;
    match key.is_empty() || ends_before {
        true => Err(
            Error::etcd(Code::InvalidArgument, etcd_text::INVALID_AUTH_MANAGEMENT).with_detail(
                format_args!("the range {} to {} is empty", show(key), show(range_end)),
            ),
        ),
        false => Ok(()),
    }
}
