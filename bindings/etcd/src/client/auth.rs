//! The calls of etcd's service Auth.

use libkv::{Auth, AuthResponse, AuthStamp, Code, Error, Password, Result, etcd_text};

use super::call::Call;
use crate::convert::{error_in, revision_in};
use crate::pb::authpb;
use crate::pb::etcdserverpb as pb;
use crate::permission::{permission_in, permission_out};

/// The plain password and the hash, as fields of a request.
fn password_out(password: Password) -> (String, String) {
    use base64::Engine as _;
    match password {
        Password::Plain(password) => (password, String::new()),
        Password::Hash(hash) => (String::new(), base64::prelude::BASE64_STANDARD.encode(hash)),
    }
}

/// Sends a request whose response has a header only.
macro_rules! change {
    ($call:ident, $method:literal, $response:ident, $request:expr) => {{
        let response: pb::$response = $call
            .run(concat!("/etcdserverpb.Auth/", $method), $request)
            .await?;
        AuthResponse::new(revision_in(&response.header))
    }};
}

/// Runs one call.
pub(super) async fn send(call: Call, auth: Auth) -> Result<AuthResponse> {
    if matches!(&auth, Auth::UserAdd(user) if user.name.is_empty()) {
        // etcd sends the same text to a caller without a token
        return Err(Error::etcd(
            Code::InvalidArgument,
            etcd_text::USER_NAME_EMPTY,
        ));
    }
    Ok(match auth {
        Auth::Status => {
            let response: pb::AuthStatusResponse = call
                .run("/etcdserverpb.Auth/AuthStatus", pb::AuthStatusRequest {})
                .await?;
            let mut status = AuthResponse::new(revision_in(&response.header));
            status.stamp = AuthStamp {
                enabled: response.enabled,
                revision: response.auth_revision,
            };
            status
        }
        Auth::UserGet(name) => {
            let response: pb::AuthUserGetResponse = call
                .run(
                    "/etcdserverpb.Auth/UserGet",
                    pb::AuthUserGetRequest { name },
                )
                .await?;
            let mut user = AuthResponse::new(revision_in(&response.header));
            user.roles = response.roles;
            user
        }
        Auth::UserList => {
            let response: pb::AuthUserListResponse = call
                .run("/etcdserverpb.Auth/UserList", pb::AuthUserListRequest {})
                .await?;
            let mut list = AuthResponse::new(revision_in(&response.header));
            list.users = response.users;
            list
        }
        Auth::RoleGet(role) => {
            let response: pb::AuthRoleGetResponse = call
                .run(
                    "/etcdserverpb.Auth/RoleGet",
                    pb::AuthRoleGetRequest { role },
                )
                .await?;
            let mut found = AuthResponse::new(revision_in(&response.header));
            found.permissions = response
                .perm
                .into_iter()
                .map(|permission| {
                    permission_in(permission).map_err(|status| error_in(&status, None))
                })
                .collect::<Result<_>>()?;
            found
        }
        Auth::RoleList => {
            let response: pb::AuthRoleListResponse = call
                .run("/etcdserverpb.Auth/RoleList", pb::AuthRoleListRequest {})
                .await?;
            let mut list = AuthResponse::new(revision_in(&response.header));
            list.roles = response.roles;
            list
        }
        change => send_change(call, change).await?,
    })
}

async fn send_change(call: Call, auth: Auth) -> Result<AuthResponse> {
    Ok(match auth {
        Auth::Enable => change!(
            call,
            "AuthEnable",
            AuthEnableResponse,
            pb::AuthEnableRequest {}
        ),
        Auth::Disable => change!(
            call,
            "AuthDisable",
            AuthDisableResponse,
            pb::AuthDisableRequest {}
        ),
        Auth::UserAdd(user) => {
            if let Some(Password::Hash(_)) = &user.password {
                return Err(Error::new(
                    Code::InvalidArgument,
                    "a cluster creates users with a plain password only: set the hash with \
                     user_change_password after that",
                ));
            }
            let options = authpb::UserAddOptions {
                no_password: user.password.is_none(),
            };
            let (password, hashed_password) =
                user.password.map_or_else(Default::default, password_out);
            let request = pb::AuthUserAddRequest {
                name: user.name,
                password,
                hashed_password,
                options: Some(options),
            };
            change!(call, "UserAdd", AuthUserAddResponse, request)
        }
        Auth::UserDelete(name) => {
            let request = pb::AuthUserDeleteRequest { name };
            change!(call, "UserDelete", AuthUserDeleteResponse, request)
        }
        Auth::UserChangePassword { name, password } => {
            let (password, hashed_password) = password_out(password);
            let request = pb::AuthUserChangePasswordRequest {
                name,
                password,
                hashed_password,
            };
            change!(
                call,
                "UserChangePassword",
                AuthUserChangePasswordResponse,
                request
            )
        }
        Auth::UserGrantRole { name: user, role } => {
            let request = pb::AuthUserGrantRoleRequest { user, role };
            change!(call, "UserGrantRole", AuthUserGrantRoleResponse, request)
        }
        Auth::UserRevokeRole { name, role } => {
            let request = pb::AuthUserRevokeRoleRequest { name, role };
            change!(call, "UserRevokeRole", AuthUserRevokeRoleResponse, request)
        }
        Auth::RoleAdd(name) => {
            let request = pb::AuthRoleAddRequest { name };
            change!(call, "RoleAdd", AuthRoleAddResponse, request)
        }
        Auth::RoleDelete(role) => {
            let request = pb::AuthRoleDeleteRequest { role };
            change!(call, "RoleDelete", AuthRoleDeleteResponse, request)
        }
        Auth::RoleGrantPermission { role, permission } => {
            let request = pb::AuthRoleGrantPermissionRequest {
                name: role,
                perm: Some(permission_out(permission)),
            };
            change!(
                call,
                "RoleGrantPermission",
                AuthRoleGrantPermissionResponse,
                request
            )
        }
        Auth::RoleRevokePermission { role, range } => {
            let request = pb::AuthRoleRevokePermissionRequest {
                role,
                key: range.key.into(),
                range_end: range.range_end.into(),
            };
            change!(
                call,
                "RoleRevokePermission",
                AuthRoleRevokePermissionResponse,
                request
            )
        }
        other => {
            return Err(Error::new(
                Code::Unsupported,
                format!("this version does not send {other:?} to a cluster"),
            ));
        }
    })
}
