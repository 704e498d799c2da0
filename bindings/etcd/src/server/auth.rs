//! The service Auth, which the store has nothing for yet: every call says so.

use std::sync::Arc;

use tonic::{Request, Status};

use super::{Answered, Store};
use crate::pb::etcdserverpb::{self as pb, auth_server};

/// Refuses everything.
pub(crate) struct Auth(#[allow(dead_code, reason = "all services are made alike")] pub Arc<Store>);

macro_rules! unsupported {
    ($( $method:ident($request:ident) -> $response:ident; )*) => {
        #[tonic::async_trait]
        impl auth_server::Auth for Auth {
            $( async fn $method(&self, _: Request<pb::$request>) -> Answered<pb::$response> {
                Err(Status::unimplemented("etcdserver: authentication is not supported by libkv yet"))
            } )*
        }
    };
}

unsupported! {
    auth_enable(AuthEnableRequest) -> AuthEnableResponse;
    auth_disable(AuthDisableRequest) -> AuthDisableResponse;
    auth_status(AuthStatusRequest) -> AuthStatusResponse;
    authenticate(AuthenticateRequest) -> AuthenticateResponse;
    user_add(AuthUserAddRequest) -> AuthUserAddResponse;
    user_get(AuthUserGetRequest) -> AuthUserGetResponse;
    user_list(AuthUserListRequest) -> AuthUserListResponse;
    user_delete(AuthUserDeleteRequest) -> AuthUserDeleteResponse;
    user_change_password(AuthUserChangePasswordRequest) -> AuthUserChangePasswordResponse;
    user_grant_role(AuthUserGrantRoleRequest) -> AuthUserGrantRoleResponse;
    user_revoke_role(AuthUserRevokeRoleRequest) -> AuthUserRevokeRoleResponse;
    role_add(AuthRoleAddRequest) -> AuthRoleAddResponse;
    role_get(AuthRoleGetRequest) -> AuthRoleGetResponse;
    role_list(AuthRoleListRequest) -> AuthRoleListResponse;
    role_delete(AuthRoleDeleteRequest) -> AuthRoleDeleteResponse;
    role_grant_permission(AuthRoleGrantPermissionRequest) -> AuthRoleGrantPermissionResponse;
    role_revoke_permission(AuthRoleRevokePermissionRequest) -> AuthRoleRevokePermissionResponse;
}
