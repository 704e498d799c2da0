//! Permissions as messages of etcd.

use libkv::{KeyRange, Permission, PermissionType};
use tonic::Status;

use crate::pb::authpb;

/// # Errors
///
/// `InvalidArgument` for a number that is no type of permissions. etcd stores it, and it permits
/// nothing.
pub(crate) fn permission_in(permission: authpb::Permission) -> Result<Permission, Status> {
    let kind = match permission.perm_type {
        0 => PermissionType::Read,
        1 => PermissionType::Write,
        2 => PermissionType::ReadWrite,
        number => {
            return Err(Status::invalid_argument(format!(
                "etcdserver: {number} is no type of permissions: 0 is READ, 1 WRITE, 2 READWRITE"
            )));
        }
    };
    Ok(Permission {
        kind,
        range: KeyRange {
            key: permission.key.into(),
            range_end: permission.range_end.into(),
        },
    })
}

pub(crate) fn permission_out(permission: Permission) -> authpb::Permission {
    let KeyRange { key, range_end } = permission.range;
    authpb::Permission {
        perm_type: permission.kind.number(),
        key: key.into(),
        range_end: range_end.into(),
    }
}
