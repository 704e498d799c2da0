//! The service Auth. A store has no users yet: authentication is off, and calls that would change
//! that are refused.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::reply::ServiceResult;
use super::store::Store;
use crate::pb::etcdserverpb::{self as pb, auth_server};

/// Authentication that is off.
pub(crate) struct Auth(pub Arc<Store>);

/// The revision that etcd reports for a store whose users were never changed.
const AUTH_REVISION: u64 = 1;

macro_rules! auth {
    ({ $( $supported:tt )* } $( $method:ident($request:ident) -> $response:ident; )*) => {
        #[tonic::async_trait]
        impl auth_server::Auth for Auth {
            $( $supported )*

            $( async fn $method(&self, _: Request<pb::$request>) -> ServiceResult<pb::$response> {
                Err(Status::unimplemented(
                    "etcdserver: authentication is not supported by libkv yet",
                ))
            } )*
        }
    };
}

auth! {
    {
        async fn auth_status(
            &self,
            _: Request<pb::AuthStatusRequest>,
        ) -> ServiceResult<pb::AuthStatusResponse> {
            Ok(Response::new(pb::AuthStatusResponse {
                header: self.0.identity.header(self.0.revision()?),
                enabled: false,
                auth_revision: AUTH_REVISION,
            }))
        }

        /// OK even if authentication is off, which is always the case.
        async fn auth_disable(
            &self,
            _: Request<pb::AuthDisableRequest>,
        ) -> ServiceResult<pb::AuthDisableResponse> {
            Ok(Response::new(pb::AuthDisableResponse {
                header: self.0.identity.header(self.0.revision()?),
            }))
        }

        /// After this text and code, clients with a name and a password continue without a token.
        async fn authenticate(
            &self,
            _: Request<pb::AuthenticateRequest>,
        ) -> ServiceResult<pb::AuthenticateResponse> {
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
