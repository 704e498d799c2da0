//! etcd's JSON gateway: HTTP on the port of gRPC, for clients without gRPC.
//!
//! A request becomes a call of the same services that gRPC clients call, in this process: [`read`]
//! turns JSON into the bytes of a message, [`write`] turns the response into JSON, and [`schema`]
//! describes the fields. Therefore the services' limits, counters and refusals are the same for
//! both.

mod body;
mod pages;
mod read;
mod response;
mod wire;
mod write;

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;

use futures_core::Stream as _;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::StreamBody;
use hyper::body::{Frame, Incoming};
use tokio_stream::StreamExt as _;
use tonic::Status;
use tonic::body::Body;

pub(crate) use self::read::read_and_write_back;
use self::response::{GrpcReply, full, refused};
use super::access::{AccessError, Port};
use super::auth::PeerName;
use super::reply::{BodySource, deadline};
use super::services::Grpc;
use super::store::Store;
use crate::schema::{RPCS, Rpc};

/// The paths after `/v3/` and `/v3beta/`, each with the service and the method that it calls.
const PATHS: &[(&str, &str, &str)] = &[
    ("kv/range", "etcdserverpb.KV", "Range"),
    ("kv/put", "etcdserverpb.KV", "Put"),
    ("kv/deleterange", "etcdserverpb.KV", "DeleteRange"),
    ("kv/txn", "etcdserverpb.KV", "Txn"),
    ("kv/compaction", "etcdserverpb.KV", "Compact"),
    ("watch", "etcdserverpb.Watch", "Watch"),
    ("lease/grant", "etcdserverpb.Lease", "LeaseGrant"),
    ("lease/revoke", "etcdserverpb.Lease", "LeaseRevoke"),
    ("kv/lease/revoke", "etcdserverpb.Lease", "LeaseRevoke"),
    ("lease/keepalive", "etcdserverpb.Lease", "LeaseKeepAlive"),
    ("lease/timetolive", "etcdserverpb.Lease", "LeaseTimeToLive"),
    (
        "kv/lease/timetolive",
        "etcdserverpb.Lease",
        "LeaseTimeToLive",
    ),
    ("lease/leases", "etcdserverpb.Lease", "LeaseLeases"),
    ("kv/lease/leases", "etcdserverpb.Lease", "LeaseLeases"),
    ("cluster/member/add", "etcdserverpb.Cluster", "MemberAdd"),
    (
        "cluster/member/remove",
        "etcdserverpb.Cluster",
        "MemberRemove",
    ),
    (
        "cluster/member/update",
        "etcdserverpb.Cluster",
        "MemberUpdate",
    ),
    ("cluster/member/list", "etcdserverpb.Cluster", "MemberList"),
    (
        "cluster/member/promote",
        "etcdserverpb.Cluster",
        "MemberPromote",
    ),
    ("maintenance/alarm", "etcdserverpb.Maintenance", "Alarm"),
    ("maintenance/status", "etcdserverpb.Maintenance", "Status"),
    (
        "maintenance/defragment",
        "etcdserverpb.Maintenance",
        "Defragment",
    ),
    ("maintenance/hash", "etcdserverpb.Maintenance", "Hash"),
    ("maintenance/hashkv", "etcdserverpb.Maintenance", "HashKV"),
    (
        "maintenance/snapshot",
        "etcdserverpb.Maintenance",
        "Snapshot",
    ),
    (
        "maintenance/transfer-leadership",
        "etcdserverpb.Maintenance",
        "MoveLeader",
    ),
    (
        "maintenance/downgrade",
        "etcdserverpb.Maintenance",
        "Downgrade",
    ),
    ("auth/enable", "etcdserverpb.Auth", "AuthEnable"),
    ("auth/disable", "etcdserverpb.Auth", "AuthDisable"),
    ("auth/status", "etcdserverpb.Auth", "AuthStatus"),
    ("auth/authenticate", "etcdserverpb.Auth", "Authenticate"),
    ("auth/user/add", "etcdserverpb.Auth", "UserAdd"),
    ("auth/user/get", "etcdserverpb.Auth", "UserGet"),
    ("auth/user/list", "etcdserverpb.Auth", "UserList"),
    ("auth/user/delete", "etcdserverpb.Auth", "UserDelete"),
    (
        "auth/user/changepw",
        "etcdserverpb.Auth",
        "UserChangePassword",
    ),
    ("auth/user/grant", "etcdserverpb.Auth", "UserGrantRole"),
    ("auth/user/revoke", "etcdserverpb.Auth", "UserRevokeRole"),
    ("auth/role/add", "etcdserverpb.Auth", "RoleAdd"),
    ("auth/role/get", "etcdserverpb.Auth", "RoleGet"),
    ("auth/role/list", "etcdserverpb.Auth", "RoleList"),
    ("auth/role/delete", "etcdserverpb.Auth", "RoleDelete"),
    (
        "auth/role/grant",
        "etcdserverpb.Auth",
        "RoleGrantPermission",
    ),
    (
        "auth/role/revoke",
        "etcdserverpb.Auth",
        "RoleRevokePermission",
    ),
    ("lock/lock", "v3lockpb.Lock", "Lock"),
    ("lock/unlock", "v3lockpb.Lock", "Unlock"),
    ("election/campaign", "v3electionpb.Election", "Campaign"),
    ("election/proclaim", "v3electionpb.Election", "Proclaim"),
    ("election/leader", "v3electionpb.Election", "Leader"),
    ("election/observe", "v3electionpb.Election", "Observe"),
    ("election/resign", "v3electionpb.Election", "Resign"),
];

/// The response to a request whose own response could not be made.
pub(super) fn internal_error() -> Response<Body> {
    refused(&Status::internal("etcdserver: internal error"))
}

/// Handles all requests on a server's port that are not gRPC.
pub(super) struct Gateway {
    store: Arc<Store>,
    grpc: Grpc,
    rpcs: HashMap<&'static str, &'static Rpc>,
}

impl Gateway {
    pub fn new(store: Arc<Store>, grpc: Grpc) -> Gateway {
        let rpc = |&(path, service, method): &(&'static str, &str, &str)| {
            let rpc = RPCS
                .iter()
                .find(|rpc| rpc.service == service && rpc.name == method);
            (path, rpc.expect("a path belongs to a call of proto/"))
        };
        let rpcs = if store.gateway {
            PATHS.iter().map(rpc).collect()
        } else {
            HashMap::new()
        };
        Gateway { store, grpc, rpcs }
    }

    /// Handles a request that was received on this port. Calls go to the gRPC services.
    pub async fn handle(&self, request: Request<Incoming>, port: Port) -> Response<Body> {
        let cors = match self.store.access.check(&request, port) {
            Ok(cors) => cors,
            Err(AccessError::Host(why)) => {
                return response::text(StatusCode::MISDIRECTED_REQUEST, why + "\n");
            }
            Err(AccessError::Origin(why)) => return refused(&Status::permission_denied(why)),
        };
        let mut response = match *request.method() {
            Method::OPTIONS => Response::new(Body::empty()),
            _ => self.route(request, port).await,
        };
        if let Some(origin) = cors {
            for (name, value) in [
                (
                    header::ACCESS_CONTROL_ALLOW_HEADERS,
                    HeaderValue::from_static("accept, content-type, authorization"),
                ),
                (
                    header::ACCESS_CONTROL_ALLOW_METHODS,
                    HeaderValue::from_static("POST, GET, OPTIONS, PUT, DELETE"),
                ),
                (header::ACCESS_CONTROL_ALLOW_ORIGIN, origin),
            ] {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }

    async fn route(&self, request: Request<Incoming>, port: Port) -> Response<Body> {
        if let Some(page) = pages::page(&self.store, &request, port) {
            return page;
        }
        let path = request.uri().path();
        let name = path
            .strip_prefix("/v3/")
            .or_else(|| path.strip_prefix("/v3beta/"));
        let Some(name) = name.filter(|_| !port.pages_only) else {
            return response::text(StatusCode::NOT_FOUND, "404 page not found\n");
        };
        match self.rpcs.get(name) {
            None => refused(&Status::not_found("Not Found")),
            Some(_) if request.method() != Method::POST => {
                response::text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n")
            }
            Some(rpc) => self
                .transcode(rpc, request)
                .await
                .unwrap_or_else(|refusal| refused(&refusal)),
        }
    }

    /// Makes a gRPC call from JSON, and JSON from its reply.
    async fn transcode(
        &self,
        rpc: &'static Rpc,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Status> {
        let (head, body) = request.into_parts();
        if let Some(PeerName(Some(_))) = head.extensions.get() {
            return Err(Status::invalid_argument(
                "CommonName of client sending a request against gateway will be ignored and not used as expected",
            ));
        }
        if deadline(&head.headers).is_err() {
            let time = String::from_utf8_lossy(head.headers["grpc-timeout"].as_bytes());
            return Err(Status::invalid_argument(format!(
                "invalid grpc-timeout: {time}"
            )));
        }
        let messages = match rpc.client_streaming {
            false => full(wire::frame(
                &body::whole(body, rpc.input, &self.store).await?,
            )),
            true => {
                // an invalid first message refuses the call; an invalid later one ends the requests
                let mut messages = body::JsonMessages::new(body, rpc.input, &self.store);
                let first = poll_fn(|context| Pin::new(&mut messages).poll_next(context))
                    .await
                    .transpose()?;
                let frames = tokio_stream::iter(first)
                    .chain(messages.map_while(Result::ok))
                    .map(Frame::data);
                Body::new(StreamBody::new(frames.map(Ok::<_, Infallible>)))
            }
        };
        let mut request = Request::new(BodySource::Gateway(messages));
        *request.method_mut() = Method::POST;
        *request.version_mut() = http::Version::HTTP_2;
        let path = format!("/{}/{}", rpc.service, rpc.name);
        *request.uri_mut() = path
            .parse()
            .map_err(|_| Status::internal(format!("no path: {path}")))?;
        *request.headers_mut() = metadata(&head.headers);
        *request.extensions_mut() = head.extensions;
        let Ok(response): Result<_, Infallible> = self.grpc.call(request).await;
        let reply = GrpcReply::new(response, rpc.output);
        Ok(match rpc.server_streaming {
            true => response::stream(reply).await,
            false => response::unary(reply).await,
        })
    }
}

/// The metadata of the call: the token, and headers named `Grpc-Metadata-…`.
fn metadata(given: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        let name = match name.as_str().strip_prefix("grpc-metadata-") {
            // headers that gRPC itself uses cannot be set by clients
            Some(inner)
                if inner.starts_with("grpc-") || inner == "te" || inner == "content-type" =>
            {
                continue;
            }
            Some(inner) => HeaderName::from_bytes(inner.as_bytes()).ok(),
            None if *name == header::AUTHORIZATION || name.as_str() == "grpc-timeout" => {
                Some(name.clone())
            }
            None => None,
        };
        if let Some(name) = name {
            headers.append(name, value.clone());
        }
    }
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/grpc"),
    );
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    headers
}
