//! The service Auth.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use libkv::{AuthResponse, KeyRange, Password, UserAdd};
use tonic::{Code, Request, Response, Status};

use super::caller_rights::denied;
use crate::convert::{refusal, wrong_response};
use crate::pb::etcdserverpb::{self as pb, auth_server};
use crate::permission::{permission_in, permission_out};
use crate::server::reply::{ServiceResult, caller};
use crate::server::store::Store;

/// Users, roles and permissions, and logins.
pub(crate) struct Auth(pub Arc<Store>);

impl Auth {
    /// Runs a call that the policy has permitted, or that checks its own right.
    async fn run<T>(
        &self,
        request: &Request<T>,
        auth: libkv::Auth,
    ) -> Result<AuthResponse, Status> {
        match self.0.call(caller(request), auth).await? {
            libkv::Response::Auth(response) => Ok(response),
            _ => Err(wrong_response()),
        }
    }

    fn header(&self, response: &AuthResponse) -> Option<pb::ResponseHeader> {
        self.0.identity.header(response.revision)
    }
}

/// The calls whose response has a header only.
macro_rules! changes {
    ({ $( $other:tt )* } $( $method:ident($request:ident) -> $response:ident: $fields:pat => $auth:expr; )*) => {
        #[tonic::async_trait]
        impl auth_server::Auth for Auth {
            $( $other )*

            $( async fn $method(
                &self,
                mut request: Request<pb::$request>,
            ) -> ServiceResult<pb::$response> {
                let $fields = std::mem::take(request.get_mut());
                let response = self.run(&request, $auth).await?;
                Ok(Response::new(pb::$response { header: self.header(&response) }))
            } )*
        }
    };
}

changes! {
    {
        async fn auth_status(
            &self,
            request: Request<pb::AuthStatusRequest>,
        ) -> ServiceResult<pb::AuthStatusResponse> {
            // needs no user, but a token that is given must be valid
            self.0.guard.rights(caller(&request))?;
            let status = self.0.db.auth_status().map_err(refusal)?;
            Ok(Response::new(pb::AuthStatusResponse {
                header: self.0.identity.header(status.revision),
                enabled: status.enabled,
                auth_revision: status.auth_revision,
            }))
        }

        async fn auth_disable(
            &self,
            request: Request<pb::AuthDisableRequest>,
        ) -> ServiceResult<pb::AuthDisableResponse> {
            let response = self.run(&request, libkv::Auth::Disable).await?;
            self.0.guard.end_tokens();
            Ok(Response::new(pb::AuthDisableResponse { header: self.header(&response) }))
        }

        async fn authenticate(
            &self,
            request: Request<pb::AuthenticateRequest>,
        ) -> ServiceResult<pb::AuthenticateResponse> {
            let pb::AuthenticateRequest { name, password } = request.into_inner();
            let revision = self.0.revision()?;
            let token = self.0.guard.log_in(&name, &password, revision).await?;
            Ok(Response::new(pb::AuthenticateResponse {
                header: self.0.identity.header(revision),
                token,
            }))
        }

        async fn user_add(
            &self,
            mut request: Request<pb::AuthUserAddRequest>,
        ) -> ServiceResult<pb::AuthUserAddResponse> {
            let pb::AuthUserAddRequest { name, password, options, .. } =
                std::mem::take(request.get_mut());
            let user = match options.is_some_and(|options| options.no_password) {
                true => UserAdd::without_password(name),
                false => UserAdd::new(name, self.0.guard.hash(password).await?),
            };
            let response = self
                .run(&request, libkv::Auth::UserAdd(user))
                .await
                .map_err(without_prefix)?;
            Ok(Response::new(pb::AuthUserAddResponse { header: self.header(&response) }))
        }

        async fn user_change_password(
            &self,
            mut request: Request<pb::AuthUserChangePasswordRequest>,
        ) -> ServiceResult<pb::AuthUserChangePasswordResponse> {
            let pb::AuthUserChangePasswordRequest { name, password, hashed_password } =
                std::mem::take(request.get_mut());
            let password = match password.is_empty() && !hashed_password.is_empty() {
                true => Password::Hash(decoded_hash(&hashed_password)?),
                false => self.0.guard.hash(password).await?,
            };
            let change = libkv::Auth::UserChangePassword { name, password };
            let response = self.run(&request, change).await.map_err(without_prefix)?;
            Ok(Response::new(pb::AuthUserChangePasswordResponse {
                header: self.header(&response),
            }))
        }

        async fn user_get(
            &self,
            mut request: Request<pb::AuthUserGetRequest>,
        ) -> ServiceResult<pb::AuthUserGetResponse> {
            let name = std::mem::take(&mut request.get_mut().name);
            // a user may ask for itself
            let rights = self.0.guard.rights(caller(&request))?;
            if rights.name() != Some(name.as_str()) || rights.any_user().is_err() {
                rights.root()?;
            }
            let roles = self.0.db.user_get(&name).map_err(refusal)?;
            Ok(Response::new(pb::AuthUserGetResponse {
                header: self.0.identity.header(self.0.revision()?),
                roles,
            }))
        }

        async fn role_get(
            &self,
            mut request: Request<pb::AuthRoleGetRequest>,
        ) -> ServiceResult<pb::AuthRoleGetResponse> {
            let role = std::mem::take(&mut request.get_mut().role);
            // a user may ask for a role that it has
            let rights = self.0.guard.rights(caller(&request))?;
            rights.any_user()?;
            if !rights.has_role(&role) {
                return Err(denied());
            }
            let permissions = self.0.db.role_get(&role).map_err(refusal)?;
            Ok(Response::new(pb::AuthRoleGetResponse {
                header: self.0.identity.header(self.0.revision()?),
                perm: permissions.into_iter().map(permission_out).collect(),
            }))
        }

        async fn user_list(
            &self,
            request: Request<pb::AuthUserListRequest>,
        ) -> ServiceResult<pb::AuthUserListResponse> {
            let response = self.run(&request, libkv::Auth::UserList).await?;
            Ok(Response::new(pb::AuthUserListResponse {
                header: self.header(&response),
                users: response.users,
            }))
        }

        async fn role_list(
            &self,
            request: Request<pb::AuthRoleListRequest>,
        ) -> ServiceResult<pb::AuthRoleListResponse> {
            let response = self.run(&request, libkv::Auth::RoleList).await?;
            Ok(Response::new(pb::AuthRoleListResponse {
                header: self.header(&response),
                roles: response.roles,
            }))
        }

        async fn role_grant_permission(
            &self,
            mut request: Request<pb::AuthRoleGrantPermissionRequest>,
        ) -> ServiceResult<pb::AuthRoleGrantPermissionResponse> {
            let pb::AuthRoleGrantPermissionRequest { name: role, perm } =
                std::mem::take(request.get_mut());
            let Some(permission) = perm else {
                return Err(Status::invalid_argument("etcdserver: permission not given"));
            };
            let permission = permission_in(permission)?;
            let grant = libkv::Auth::RoleGrantPermission { role, permission };
            let response = self.run(&request, grant).await?;
            Ok(Response::new(pb::AuthRoleGrantPermissionResponse {
                header: self.header(&response),
            }))
        }
    }

    auth_enable(AuthEnableRequest) -> AuthEnableResponse:
        _ => libkv::Auth::Enable;
    user_delete(AuthUserDeleteRequest) -> AuthUserDeleteResponse:
        pb::AuthUserDeleteRequest { name } => libkv::Auth::UserDelete(name);
    user_grant_role(AuthUserGrantRoleRequest) -> AuthUserGrantRoleResponse:
        pb::AuthUserGrantRoleRequest { user: name, role } => libkv::Auth::UserGrantRole { name, role };
    user_revoke_role(AuthUserRevokeRoleRequest) -> AuthUserRevokeRoleResponse:
        pb::AuthUserRevokeRoleRequest { name, role } => libkv::Auth::UserRevokeRole { name, role };
    role_add(AuthRoleAddRequest) -> AuthRoleAddResponse:
        pb::AuthRoleAddRequest { name } => libkv::Auth::RoleAdd(name);
    role_delete(AuthRoleDeleteRequest) -> AuthRoleDeleteResponse:
        pb::AuthRoleDeleteRequest { role } => libkv::Auth::RoleDelete(role);
    role_revoke_permission(AuthRoleRevokePermissionRequest) -> AuthRoleRevokePermissionResponse:
        pb::AuthRoleRevokePermissionRequest { role, key, range_end } =>
            libkv::Auth::RoleRevokePermission {
                role,
                range: KeyRange { key: key.into(), range_end: range_end.into() },
            };
}

/// The text of bcrypt has no prefix in etcd.
fn without_prefix(status: Status) -> Status {
    match status.message().strip_prefix("etcdserver: bcrypt: ") {
        Some(rest) => Status::new(status.code(), format!("bcrypt: {rest}")),
        None => status,
    }
}

/// The hash that a client made itself, in base64.
fn decoded_hash(hashed: &str) -> Result<String, Status> {
    let bytes = BASE64_STANDARD.decode(hashed).ok();
    bytes
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| {
            Status::new(
                Code::Unknown,
                "auth: authentication failed, password was given for no password user",
            )
        })
}
