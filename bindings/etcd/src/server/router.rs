//! Dispatches each request: gRPC to its services, everything else to the JSON gateway.

use std::convert::Infallible;
use std::sync::Arc;

use http::{HeaderMap, Method, Request, Response, Version, header};
use hyper::body::Incoming;

use super::gateway::{self, Gateway};
use super::port::Port;
use super::reply::{BodySource, Reply, ReplyFuture};
use super::services::Grpc;
use super::store::Store;

/// Handles the requests of all connections. Clones share one state.
#[derive(Clone)]
pub(super) struct Router {
    grpc: Grpc,
    gateway: Arc<Gateway>,
    port: Port,
}

impl Router {
    pub fn new(store: &Arc<Store>) -> Router {
        let grpc = Grpc::new(store);
        let gateway = Arc::new(Gateway::new(store.clone(), grpc.clone()));
        Router {
            grpc,
            gateway,
            port: Port::default(),
        }
    }

    /// The same router for the connections of this port.
    pub fn at(&self, port: Port) -> Router {
        Router {
            port,
            ..self.clone()
        }
    }
}

impl hyper::service::Service<Request<Incoming>> for Router {
    type Response = Response<Reply>;
    type Error = Infallible;
    type Future = ReplyFuture;

    fn call(&self, request: Request<Incoming>) -> ReplyFuture {
        let port = self.port;
        match is_grpc(&request) && !port.pages_only {
            true => self.grpc.call(request.map(BodySource::Connection)),
            false => {
                let gateway = self.gateway.clone();
                ReplyFuture::http(
                    Box::pin(async move { gateway.handle(request, port).await }),
                    gateway::internal_error,
                )
            }
        }
    }
}

/// As etcd decides it: the same path over HTTP/1.1 is a page that does not exist.
fn is_grpc<B>(request: &Request<B>) -> bool {
    let is = |headers: &HeaderMap| {
        headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
    };
    request.version() == Version::HTTP_2
        && request.method() == Method::POST
        && is(request.headers())
}
