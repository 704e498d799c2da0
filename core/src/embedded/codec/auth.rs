//! The records of users and roles in `side`.

use super::damaged;
use crate::auth::{Permission, PermissionType, Role, User};
use crate::error::Result;
use crate::model::KeyRange;

/// All names of both kinds begin with it.
pub(crate) const AUTH: &[u8] = b"auth/";
/// Followed by the name of the user.
pub(crate) const USER: &[u8] = b"auth/user/";
/// Followed by the name of the role.
pub(crate) const ROLE: &[u8] = b"auth/role/";

/// The name of the record of a user.
pub(crate) fn user_name(name: &str) -> Vec<u8> {
    [USER, name.as_bytes()].concat()
}

/// The name of the record of a role.
pub(crate) fn role_name(name: &str) -> Vec<u8> {
    [ROLE, name.as_bytes()].concat()
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u32).to_le_bytes());
    out.extend(bytes);
}

/// A flag whether no password is accepted, the hash, and the roles. Each text is preceded by its
/// length, 4 bytes.
pub(crate) fn encode_user(user: &User) -> Vec<u8> {
    let mut out = vec![u8::from(user.no_password)];
    put_bytes(&mut out, user.hash.as_bytes());
    for role in &user.roles {
        put_bytes(&mut out, role.as_bytes());
    }
    out
}

/// For each permission its type, one byte, its key and its range end, each preceded by its length.
pub(crate) fn encode_role(role: &Role) -> Vec<u8> {
    let mut out = Vec::new();
    for permission in &role.permissions {
        out.push(permission.kind as u8);
        put_bytes(&mut out, &permission.range.key);
        put_bytes(&mut out, &permission.range.range_end);
    }
    out
}

/// The rest of a record that is decoded. `None` from its methods: the record is damaged.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let (len, rest) = self.0.split_first_chunk::<4>()?;
        let (bytes, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        self.0 = rest;
        Some(bytes)
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?.to_vec()).ok()
    }
}

fn text_after(prefix: &[u8], name: &[u8]) -> Option<String> {
    String::from_utf8(name.strip_prefix(prefix)?.to_vec()).ok()
}

fn user(name: &[u8], value: &[u8]) -> Option<User> {
    let mut rest = Rest(value);
    let mut user = User::new(text_after(USER, name)?);
    user.no_password = match rest.byte()? {
        0 => false,
        1 => true,
        _ => return None,
    };
    user.hash = rest.text()?;
    while !rest.0.is_empty() {
        user.roles.push(rest.text()?);
    }
    Some(user)
}

fn role(name: &[u8], value: &[u8]) -> Option<Role> {
    let mut rest = Rest(value);
    let mut role = Role::new(text_after(ROLE, name)?);
    while !rest.0.is_empty() {
        let number = rest.byte()?;
        role.permissions.push(Permission {
            kind: *PermissionType::ALL.get(usize::from(number))?,
            range: KeyRange {
                key: rest.bytes()?.to_vec(),
                range_end: rest.bytes()?.to_vec(),
            },
        });
    }
    Some(role)
}

/// The user of a record.
pub(crate) fn decode_user(name: &[u8], value: &[u8]) -> Result<User> {
    user(name, value).ok_or_else(|| damaged("side", name, "it is not a user"))
}

/// The role of a record.
pub(crate) fn decode_role(name: &[u8], value: &[u8]) -> Result<Role> {
    role(name, value).ok_or_else(|| damaged("side", name, "it is not a role"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_decoded_as_they_were_encoded_and_never_panic() {
        let mut alice = User::new("alice");
        alice.hash = "$2a$10$".into();
        alice.roles = vec!["a".into(), String::new()];
        let mut cn = User::new("c/n");
        cn.no_password = true;
        for user in [alice, cn] {
            let (name, value) = (user_name(&user.name), encode_user(&user));
            assert_eq!(decode_user(&name, &value).unwrap(), user);
            assert!(decode_user(b"auth/role/x", &value).is_err());
            for len in 0..value.len() {
                let cut = decode_user(&name, &value[..len]);
                assert!(cut.is_err() || cut.unwrap().roles.len() < user.roles.len());
            }
        }
        let mut role = Role::new("reader");
        role.permissions = PermissionType::ALL
            .map(|kind| Permission::new(kind, KeyRange::prefix("k")))
            .to_vec();
        let (name, value) = (role_name("reader"), encode_role(&role));
        assert_eq!(decode_role(&name, &value).unwrap(), role);
        assert!(decode_role(&name, &[9]).is_err());
        assert!(decode_role(&name, &value[..value.len() - 1]).is_err());
        assert!(decode_role(b"auth/role/\xff", &value).is_err());
    }
}
