//! A store served to any etcd client: [`serve`].
//!
//! One task for each stream of a client, on a runtime of the server's own; reads run where they are
//! asked, writes join the store's group commit through [`Db::submit`], so that a request in flight
//! costs no thread.

mod gateway;
mod kv;

use std::net::SocketAddr;
use std::sync::Arc;

use libkv::{Answer, Code, Db, Error, Request, Result};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::convert::{Identity, refusal};
use crate::pb::etcdserverpb as pb;

/// How a store is served; an address alone becomes one with [`From`].
#[derive(Clone, Debug, Default)]
pub struct Serve {
    /// Where to listen: `host:port` (port 0 takes a free one), `http://…`, `https://…` or `unix:///path`.
    pub listen: Vec<String>,
}

impl Serve {
    /// At this address.
    pub fn new(address: impl Into<String>) -> Serve {
        Serve { listen: vec![address.into()] }
    }
}

impl From<&str> for Serve {
    fn from(address: &str) -> Serve {
        Serve::new(address)
    }
}

impl From<String> for Serve {
    fn from(address: String) -> Serve {
        Serve::new(address)
    }
}

/// A server, ready for clients; it ends when this is closed or dropped.
pub struct Server {
    addresses: Vec<String>,
    runtime: Option<Runtime>,
}

impl Server {
    /// The first address that it listens on, as clients take it: `http://127.0.0.1:41234`, `unix:///path`.
    pub fn address(&self) -> &str {
        &self.addresses[0]
    }

    /// All of them.
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// Ends it: streams are cut, requests under way get their answers if that is quick. The store stays
    /// open. Closing twice is fine.
    pub fn close(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.close();
    }
}

/// Serves a store to etcd's clients; ready when this returns.
///
/// # Errors
///
/// `invalid_argument` for an address that cannot be read, `io` or `permission_denied` if it cannot be
/// listened on.
pub fn serve(db: &Db, how: impl Into<Serve>) -> Result<Server> {
    let how = how.into();
    let io = |error: std::io::Error| Error::new(Code::Io, error.to_string());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(io)?;
    let address: SocketAddr = how.listen[0].parse().map_err(|_| Error::new(Code::InvalidArgument, "address"))?;
    let listener = runtime.block_on(tokio::net::TcpListener::bind(address)).map_err(io)?;
    let addresses = vec![format!("http://{}", listener.local_addr().map_err(io)?)];
    let store = Arc::new(Store { db: db.clone(), identity: Identity { cluster_id: 1, member_id: 1 } });
    let grpc = tonic::service::Routes::new(pb::kv_server::KvServer::new(kv::Kv(store.clone()))).into_axum_router();
    let router = gateway::router(grpc, store, 2 << 20);
    runtime.spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let service = hyper_util::service::TowerToHyperService::new(router.clone());
            let io = hyper_util::rt::TokioIo::new(stream);
            tokio::spawn(async move {
                let builder = hyper_util::server::conn::auto::Builder::new(hyper_util::rt::TokioExecutor::new());
                let _ = builder.serve_connection(io, service).await;
            });
        }
    });
    Ok(Server { addresses, runtime: Some(runtime) })
}

/// What all services share: the store, and who they are.
pub(crate) struct Store {
    pub db: Db,
    pub identity: Identity,
}

pub(crate) type Answered<T> = std::result::Result<tonic::Response<T>, tonic::Status>;

impl Store {
    /// Runs a request: reads at once on this thread, writes with the next group.
    pub async fn call(&self, request: impl Into<Request>) -> std::result::Result<Answer, tonic::Status> {
        let (tell, told) = oneshot::channel();
        self.db.submit(request, move |answer| {
            let _ = tell.send(answer);
        });
        told.await.map_err(|_| tonic::Status::unavailable("etcdserver: server stopped"))?.map_err(refusal)
    }
}
