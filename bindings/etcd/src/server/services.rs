//! The gRPC services: dispatches each call to its service and applies the limits that all calls
//! share.

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use http::{Request, Response};
use tonic::codec::CompressionEncoding;
use tonic::{Code, Status};
use tower::Service;

use super::auth::{Auth, Caller, policy};
use super::cluster::Cluster;
use super::election::ElectionService;
use super::health::Health;
use super::kv::Kv;
use super::lease::Lease;
use super::lock::LockService;
use super::maintenance::Maintenance;
use super::reply::{BodySource, Call, ReplyFuture, RequestBody, deadline};
use super::store::Store;
use super::watch::WatchService;
use crate::pb::etcdserverpb::auth_server::AuthServer;
use crate::pb::etcdserverpb::cluster_server::ClusterServer;
use crate::pb::etcdserverpb::kv_server::KvServer;
use crate::pb::etcdserverpb::lease_server::LeaseServer;
use crate::pb::etcdserverpb::maintenance_server::MaintenanceServer;
use crate::pb::etcdserverpb::watch_server::WatchServer;
use crate::pb::health::health_server::HealthServer;
use crate::pb::v3electionpb::election_server::ElectionServer;
use crate::pb::v3lockpb::lock_server::LockServer;
use crate::schema::RPCS;

/// The most requests and streams that a server handles at a time. Each needs some kilobytes.
const REQUESTS_MAX: i64 = 100_000;

type Body = tonic::body::Body;
type GrpcFuture = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// One line for each service: its name on the wire, the server type that `build.rs` generates for
/// it, and the type that implements it.
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
            fn call(&self, service: &str, request: Request<RequestBody>) -> Option<GrpcFuture> {
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

/// Handles the calls of all connections, and those of the gateway. Clones share one state.
#[derive(Clone)]
pub(super) struct Grpc(Arc<GrpcState>);

struct GrpcState {
    store: Arc<Store>,
    services: Services,
    /// The index in [`RPCS`] of each path.
    indexes: HashMap<String, usize>,
}

impl Grpc {
    pub fn new(store: &Arc<Store>) -> Grpc {
        let paths = RPCS
            .iter()
            .map(|rpc| format!("/{}/{}", rpc.service, rpc.name));
        Grpc(Arc::new(GrpcState {
            store: store.clone(),
            services: Services::new(store),
            indexes: paths.zip(0..).collect(),
        }))
    }

    /// Calls the method of the request's path.
    pub fn call(&self, request: Request<BodySource>) -> ReplyFuture {
        let Grpc(state) = self;
        let path = request.uri().path();
        let Some(&index) = state.indexes.get(path) else {
            return ReplyFuture::refused(unknown_method(path), None);
        };
        let counters = &state.store.counters;
        counters.methods[index].started.fetch_add(1, Relaxed);
        let rpc = &RPCS[index];
        let caller = Caller::new(request.headers(), request.extensions());
        let permitted = state
            .store
            .guard
            .permit(&caller, policy(rpc.service, rpc.name));
        let call = Arc::new(Call::new(state.store.clone(), index, caller));
        if counters.requests.load(Relaxed) > REQUESTS_MAX {
            return ReplyFuture::refused(
                Status::resource_exhausted("etcdserver: too many requests"),
                Some(call),
            );
        }
        if let Err(status) = permitted {
            return ReplyFuture::refused(status, Some(call));
        }
        let deadline = match deadline(request.headers()) {
            Ok(deadline) => deadline,
            Err(status) => return ReplyFuture::refused(status, Some(call)),
        };
        let mut request = request.map(|body| RequestBody::new(body, call.clone()));
        request.extensions_mut().insert(call.clone());
        match state.services.call(rpc.service, request) {
            Some(future) => ReplyFuture::grpc(future, call, deadline),
            None => ReplyFuture::refused(unknown_method(rpc.service), Some(call)),
        }
    }
}

/// The status of a call to a path that has no method.
fn unknown_method(path: &str) -> Status {
    let path = path.strip_prefix('/').unwrap_or(path);
    let (service, method) = path.rsplit_once('/').unwrap_or((path, ""));
    let text = match RPCS.iter().any(|rpc| rpc.service == service) {
        true => format!("unknown method {method} for service {service}"),
        false => format!("unknown service {service}"),
    };
    Status::new(Code::Unimplemented, text)
}

#[cfg(test)]
mod tests {
    use bytes::{BufMut as _, BytesMut};
    use http_body_util::{BodyExt as _, Full};
    use libkv::{Db, Put};
    use prost::Message;

    use super::super::reply::HELD_BYTES_MAX;
    use super::*;
    use crate::pb::etcdserverpb as pb;

    fn served() -> (Arc<Store>, Grpc) {
        let db = Db::open(":memory:", libkv::Options::new()).expect("a store in memory");
        let mut store = Store::for_tests(db, tokio::sync::watch::channel(false).0);
        store.message_bytes_max = 2 << 20;
        let store = Arc::new(store);
        (store.clone(), Grpc::new(&store))
    }

    /// Calls a method of KV with a message, and reads its response to the end.
    async fn call<A: Message, B: Message + Default>(
        grpc: &Grpc,
        method: &str,
        message: &A,
    ) -> Result<B, Status> {
        let mut frame = BytesMut::new();
        frame.put_u8(0);
        frame.put_u32(message.encoded_len() as u32);
        message.encode(&mut frame).expect("there is room");
        let mut request = Request::new(BodySource::Gateway(Body::new(Full::new(frame.freeze()))));
        *request.uri_mut() = format!("/etcdserverpb.KV/{method}")
            .parse()
            .expect("a path");
        *request.method_mut() = http::Method::POST;
        request.headers_mut().insert(
            "content-type",
            http::HeaderValue::from_static("application/grpc"),
        );
        let Ok(response) = grpc.call(request).await;
        if let Some(refused) = Status::from_header_map(response.headers()) {
            return Err(refused);
        }
        let body = response.into_body().collect().await?;
        let end = body
            .trailers()
            .and_then(Status::from_header_map)
            .expect("a status");
        match end.code() {
            Code::Ok => Ok(B::decode(&body.to_bytes()[5..]).expect("a message")),
            _ => Err(end),
        }
    }

    const VALUE_BYTES: usize = 1 << 20;

    fn put_large(store: &Store) -> i64 {
        store
            .db
            .put(Put::new("k", vec![b'x'; VALUE_BYTES]))
            .expect("a put")
            .revision
    }

    /// Puts, deletes and runs a txn on the large value of `k`; each response contains that value.
    async fn writes_with_large_responses(store: &Store, grpc: &Grpc) -> [Result<usize, Status>; 4] {
        use pb::request_op::Request as Op;
        let put = pb::PutRequest {
            key: "k".into(),
            value: "small".into(),
            prev_kv: true,
            ..Default::default()
        };
        let delete = pb::DeleteRangeRequest {
            key: "k".into(),
            prev_kv: true,
            ..Default::default()
        };
        let range = pb::RangeRequest {
            key: "k".into(),
            ..Default::default()
        };
        let other = pb::PutRequest {
            key: "other".into(),
            ..Default::default()
        };
        let ops = [Op::RequestRange(range), Op::RequestPut(other)];
        let success = ops.map(|op| pb::RequestOp { request: Some(op) }).to_vec();
        let txn = pb::TxnRequest {
            success,
            ..Default::default()
        };
        let nested = pb::RequestOp {
            request: Some(Op::RequestTxn(txn.clone())),
        };
        let nested = pb::TxnRequest {
            success: vec![nested],
            ..Default::default()
        };
        put_large(store);
        let put = call(grpc, "Put", &put).await;
        put_large(store);
        let deleted = call(grpc, "DeleteRange", &delete).await;
        put_large(store);
        let (txn, nested) = (
            call(grpc, "Txn", &txn).await,
            call(grpc, "Txn", &nested).await,
        );
        let large = |response: pb::TxnResponse| response.encoded_len();
        [
            put.map(|response: pb::PutResponse| response.encoded_len()),
            deleted.map(|response: pb::DeleteRangeResponse| response.encoded_len()),
            txn.map(large),
            nested.map(large),
        ]
    }

    /// Requests of these calls are counted one by one, as they are received.
    #[test]
    fn calls_with_a_stream_of_requests_are_known() {
        let streaming: Vec<&str> = RPCS
            .iter()
            .filter(|rpc| rpc.client_streaming)
            .map(|rpc| rpc.name)
            .collect();
        assert_eq!(streaming, ["Watch", "LeaseKeepAlive"]);
    }

    #[test]
    fn write_is_refused_before_its_commit_or_not_at_all() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let (store, grpc) = served();
            let other_call = Call::new(store.clone(), 0, Caller::Nobody);
            assert!(other_call.count(HELD_BYTES_MAX), "nothing else is held");
            // there is no room for the responses, but that is known only after the commit
            for response in writes_with_large_responses(&store, &grpc).await {
                assert!(response.expect("it is committed, and so it succeeds") > VALUE_BYTES);
            }
            assert_eq!(store.db.status().expect("a status").revision, 8);
            assert_eq!(
                store.counters.held_bytes.load(Relaxed),
                HELD_BYTES_MAX,
                "responses that were read hold no bytes"
            );

            other_call.count(1);
            for response in writes_with_large_responses(&store, &grpc).await {
                let status = response.expect_err("there is no room");
                assert_eq!(
                    (status.code(), status.message()),
                    (Code::ResourceExhausted, "etcdserver: too many requests")
                );
            }
            // the three large puts of the test itself
            assert_eq!(store.db.status().expect("a status").revision, 11);
            let small = pb::PutRequest {
                key: "k".into(),
                ..Default::default()
            };
            let small: pb::PutResponse = call(&grpc, "Put", &small)
                .await
                .expect("its response needs no room");
            assert_eq!(small.header.expect("a header").revision, 12);
            put_large(&store);
            let range = pb::RangeRequest {
                key: "k".into(),
                ..Default::default()
            };
            let range: Result<pb::RangeResponse, Status> = call(&grpc, "Range", &range).await;
            assert_eq!(
                range.expect_err("nothing is lost by it").code(),
                Code::ResourceExhausted
            );
        });
    }
}
