//! Users, roles and permissions: requests as `lib/auth.js` writes them, and their responses.

use libkv::{
    Auth, AuthResponse, AuthStamp, Code, Db, Error, Permission, Response, Result, UserAdd,
};

use crate::numbers::{self, kind, response};
use crate::wire::{Reader, Writer, malformed};

impl Reader<'_> {
    /// A call about users and roles, after its kind.
    pub fn auth(&mut self, kind: u8) -> Result<Auth> {
        Ok(match kind {
            kind::AUTH_ENABLE => Auth::Enable,
            kind::AUTH_DISABLE => Auth::Disable,
            kind::AUTH_STATUS => Auth::Status,
            kind::USER_ADD => Auth::UserAdd(self.user_add()?),
            kind::USER_GET => Auth::UserGet(self.text()?),
            kind::USER_LIST => Auth::UserList,
            kind::USER_DELETE => Auth::UserDelete(self.text()?),
            kind::USER_CHANGE_PASSWORD => Auth::UserChangePassword {
                name: self.text()?,
                password: self.text()?.into(),
            },
            kind::USER_GRANT_ROLE => Auth::UserGrantRole {
                name: self.text()?,
                role: self.text()?,
            },
            kind::USER_REVOKE_ROLE => Auth::UserRevokeRole {
                name: self.text()?,
                role: self.text()?,
            },
            kind::ROLE_ADD => Auth::RoleAdd(self.text()?),
            kind::ROLE_GET => Auth::RoleGet(self.text()?),
            kind::ROLE_LIST => Auth::RoleList,
            kind::ROLE_DELETE => Auth::RoleDelete(self.text()?),
            kind::ROLE_GRANT_PERMISSION => Auth::RoleGrantPermission {
                role: self.text()?,
                permission: self.permission()?,
            },
            kind::ROLE_REVOKE_PERMISSION => Auth::RoleRevokePermission {
                role: self.text()?,
                range: self.key_range()?,
            },
            _ => return Err(malformed()),
        })
    }

    fn user_add(&mut self) -> Result<UserAdd> {
        let [has_password] = self.flags()?;
        let (name, password) = (self.text()?, self.text()?);
        Ok(match has_password {
            true => UserAdd::new(name, password),
            false => UserAdd::without_password(name),
        })
    }

    fn permission(&mut self) -> Result<Permission> {
        let kind = numbers::permission_type(self.u8()?).ok_or_else(malformed)?;
        Ok(Permission::new(kind, self.key_range()?))
    }
}

impl Writer {
    fn names(&mut self, names: &[String]) {
        self.kind(response::NAMES).u32(names.len());
        for name in names {
            self.counted(name.as_bytes());
        }
    }

    fn permissions(&mut self, permissions: &[Permission]) {
        self.kind(response::PERMISSIONS).u32(permissions.len());
        for permission in permissions {
            self.kind(permission.kind.number() as u8)
                .counted(&permission.range.key)
                .counted(&permission.range.range_end);
        }
    }

    fn auth_status(&mut self, stamp: AuthStamp, revision: i64) {
        self.kind(response::AUTH_STATUS)
            .flag(stamp.enabled)
            .number(i64::try_from(stamp.revision).unwrap_or(i64::MAX))
            .number(revision);
    }
}

/// Runs a call, and writes the part of its response that it asks for.
pub fn run(db: &Db, auth: Auth, writer: &mut Writer) -> Result<()> {
    type Write = fn(&mut Writer, &AuthResponse);
    let write: Write = match &auth {
        Auth::Status => |writer, response| writer.auth_status(response.stamp, response.revision),
        Auth::UserList => |writer, response| writer.names(&response.users),
        Auth::UserGet(_) | Auth::RoleList => |writer, response| writer.names(&response.roles),
        Auth::RoleGet(_) => |writer, response| writer.permissions(&response.permissions),
        _ => |writer, response| writer.just(response.revision),
    };
    match db.call_unless(auth, &|| false)? {
        Response::Auth(response) => write(writer, &response),
        _ => {
            let message = "the engine returned a response of another kind";
            return Err(Error::new(Code::Internal, message));
        }
    }
    Ok(())
}
