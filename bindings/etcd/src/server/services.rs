//! The services of gRPC: takes each call to its own, and holds all of them to the limits.

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use http::{Request, Response};
use tonic::codec::CompressionEncoding;
use tonic::{Code, Status};
use tower::Service;

use super::reply::{Answering, Call, Sent, Source, deadline};
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

/// What answers the calls of all connections, and those of the gateway. Clones are the same.
#[derive(Clone)]
pub(super) struct Grpc(Arc<Methods>);

struct Methods {
    store: Arc<Store>,
    services: Services,
    /// Path of a method to its place in [`METHODS`].
    places: HashMap<String, usize>,
}

impl Grpc {
    pub fn new(store: &Arc<Store>) -> Grpc {
        let paths = METHODS.iter().map(|(service, method)| format!("/{service}/{method}"));
        Grpc(Arc::new(Methods {
            store: store.clone(),
            services: Services::new(store),
            places: paths.zip(0..).collect(),
        }))
    }

    /// Calls the method of the request's path.
    pub fn call(&self, request: Request<Source>) -> Answering {
        let Grpc(methods) = self;
        let path = request.uri().path();
        let Some(&index) = methods.places.get(path) else {
            return Answering::refused(unknown(path), None);
        };
        let counters = &methods.store.counters;
        counters.methods[index].started.fetch_add(1, Relaxed);
        let (service, method) = METHODS[index];
        let is_stream = matches!(method, "LeaseKeepAlive" | "Watch") && service != "grpc.health.v1.Health";
        let call = Arc::new(Call::new(methods.store.clone(), index));
        if counters.requests.load(Relaxed) > REQUESTS_MAX {
            return Answering::refused(Status::resource_exhausted("etcdserver: too many requests"), Some(call));
        }
        let deadline = match deadline(request.headers()) {
            Ok(deadline) => deadline,
            Err(status) => return Answering::refused(status, Some(call)),
        };
        let request = request.map(|body| Sent::new(body, call.clone(), is_stream));
        match methods.services.call(service, request) {
            Some(future) => Answering::grpc(future, call, deadline),
            None => Answering::refused(unknown(METHODS[index].0), Some(call)),
        }
    }
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
