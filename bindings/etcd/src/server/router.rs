//! Takes each request to its service, and holds all of them to the limits: gRPC by its path, everything
//! else to the JSON gateway.

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use http::{HeaderMap, Method, Request, Response, Version, header};
use hyper::body::Incoming;
use tonic::codec::CompressionEncoding;
use tonic::{Code, Status};
use tower::Service;

use super::gateway::Gateway;
use super::reply::{Answering, Call, Reply, Sent, Source, deadline};
use super::store::Store;
use super::{Auth, Cluster, ElectionService, Health, Kv, Lease, LockService, Maintenance, WatchService};
use crate::pb::METHODS;
use crate::pb::etcdserverpb::auth_server::AuthServer;
use crate::pb::etcdserverpb::cluster_server::ClusterServer;
use crate::pb::etcdserverpb::kv_server::KvServer;
use crate::pb::etcdserverpb::lease_server::LeaseServer;
use crate::pb::etcdserverpb::maintenance_server::MaintenanceServer;
use crate::pb::etcdserverpb::watch_server::WatchServer;
use crate::pb::health::health_server::HealthServer;
use crate::pb::v3electionpb::election_server::ElectionServer;
use crate::pb::v3lockpb::lock_server::LockServer;

/// Requests and streams that a server has under way at a time; each takes some kilobytes.
const REQUESTS_MAX: i64 = 100_000;

type Body = tonic::body::Body;
type GrpcFuture = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// One line for each service: its name on the wire, the server that `build.rs` made for it, and what
/// implements it.
macro_rules! services {
    ($( $field:ident: $name:literal, $server:ident, $service:path; )*) => {
        struct Services {
            $( $field: $server<$service>, )*
        }

        impl Services {
            fn new(store: &Arc<Store>) -> Services {
                Services {
                    $( $field: $server::new($service(store.clone()))
                        .accept_compressed(CompressionEncoding::Gzip)
                        .max_decoding_message_size(store.message_bytes_max), )*
                }
            }

            /// None if there is no such service.
            fn call(&self, service: &str, request: Request<Sent>) -> Option<GrpcFuture> {
                match service {
                    $( $name => Some(self.$field.clone().call(request)), )*
                    _ => None,
                }
            }
        }
    };
}

services! {
    kv: "etcdserverpb.KV", KvServer, Kv;
    watch: "etcdserverpb.Watch", WatchServer, WatchService;
    lock: "v3lockpb.Lock", LockServer, LockService;
    election: "v3electionpb.Election", ElectionServer, ElectionService;
    lease: "etcdserverpb.Lease", LeaseServer, Lease;
    maintenance: "etcdserverpb.Maintenance", MaintenanceServer, Maintenance;
    cluster: "etcdserverpb.Cluster", ClusterServer, Cluster;
    auth: "etcdserverpb.Auth", AuthServer, Auth;
    health: "grpc.health.v1.Health", HealthServer, Health;
}

/// What serves the requests of all connections.
#[derive(Clone)]
pub(super) struct Router(Arc<Routes>);

struct Routes {
    store: Arc<Store>,
    services: Services,
    /// Path of a method to its place in [`METHODS`].
    methods: HashMap<String, usize>,
    gateway: Gateway,
}

impl Router {
    pub fn new(store: &Arc<Store>) -> Router {
        let paths = METHODS.iter().map(|(service, method)| format!("/{service}/{method}"));
        Router(Arc::new(Routes {
            store: store.clone(),
            services: Services::new(store),
            methods: paths.zip(0..).collect(),
            gateway: Gateway::new(store.clone()),
        }))
    }

    /// Calls a method of gRPC: for clients of it, and for the gateway.
    pub fn grpc(&self, request: Request<Source>) -> Answering {
        let Router(routes) = self;
        let path = request.uri().path();
        let Some(&index) = routes.methods.get(path) else {
            return Answering::refused(unknown(path), None);
        };
        let counters = &routes.store.counters;
        counters.methods[index].started.fetch_add(1, Relaxed);
        let (service, method) = METHODS[index];
        let is_stream = matches!(method, "LeaseKeepAlive" | "Watch") && service != "grpc.health.v1.Health";
        let call = Arc::new(Call::new(routes.store.clone(), index));
        if counters.requests.load(Relaxed) > REQUESTS_MAX {
            return Answering::refused(Status::resource_exhausted("etcdserver: too many requests"), Some(call));
        }
        let deadline = match deadline(request.headers()) {
            Ok(deadline) => deadline,
            Err(status) => return Answering::refused(status, Some(call)),
        };
        let request = request.map(|body| Sent::new(body, call.clone(), is_stream));
        match routes.services.call(service, request) {
            Some(future) => Answering::grpc(future, call, deadline),
            None => Answering::refused(unknown(METHODS[index].0), Some(call)),
        }
    }
}

impl hyper::service::Service<Request<Incoming>> for Router {
    type Response = Response<Reply>;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, request: Request<Incoming>) -> Answering {
        match is_grpc(&request) {
            true => self.grpc(request.map(Source::Connection)),
            false => {
                let router = self.clone();
                Answering::http(Box::pin(async move { router.0.gateway.answer(&router, request).await }))
            }
        }
    }
}

/// As etcd decides it: the same path over HTTP/1.1 is a page that is not there.
fn is_grpc<B>(request: &Request<B>) -> bool {
    let is = |headers: &HeaderMap| {
        headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
    };
    request.version() == Version::HTTP_2 && request.method() == Method::POST && is(request.headers())
}

/// What a path without a method is answered.
fn unknown(path: &str) -> Status {
    let path = path.strip_prefix('/').unwrap_or(path);
    let (service, method) = path.rsplit_once('/').unwrap_or((path, ""));
    let text = match METHODS.iter().any(|(known, _)| *known == service) {
        true => format!("unknown method {method} for service {service}"),
        false => format!("unknown service {service}"),
    };
    Status::new(Code::Unimplemented, text)
}
