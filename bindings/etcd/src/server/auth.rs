//! The service Auth. A store has no users yet: authentication is off, and what would change that is refused.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::{Answered, Store};
use crate::pb::etcdserverpb::{self as pb, auth_server};

/// Authentication that is off.
pub(crate) struct Auth(pub Arc<Store>);

/// etcd's number on a store whose users were never changed.
const AUTH_REVISION: u64 = 1;

macro_rules! auth {
    ({ $( $supported:tt )* } $( $method:ident($request:ident) -> $response:ident; )*) => {
        #[tonic::async_trait]
        impl auth_server::Auth for Auth {
            $( $supported )*

            $( async fn $method(&self, _: Request<pb::$request>) -> Answered<pb::$response> {
                Err(Status::unimplemented("etcdserver: authentication is not supported by libkv yet"))
            } )*
        }
    };
}

auth! {
    {
        async fn auth_status(&self, _: Request<pb::AuthStatusRequest>) -> Answered<pb::AuthStatusResponse> {
            let header = self.0.identity.header(self.0.revision()?);
            Ok(Response::new(pb::AuthStatusResponse { header, enabled: false, auth_revision: AUTH_REVISION }))
        }

        /// OK also where it is off, as it always is.
        async fn auth_disable(&self, _: Request<pb::AuthDisableRequest>) -> Answered<pb::AuthDisableResponse> {
            Ok(Response::new(pb::AuthDisableResponse { header: self.0.identity.header(self.0.revision()?) }))
        }

        /// Clients that have a name and a password go on without a token after this text and code.
        async fn authenticate(&self, _: Request<pb::AuthenticateRequest>) -> Answered<pb::AuthenticateResponse> {
            Err(Status::failed_precondition("etcdserver: authentication is not enabled"))
        }
    }

    auth_enable(AuthEnableRequest) -> AuthEnableResponse;
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
