//! A server of a store, and its clients.

#![allow(dead_code, reason = "each test program uses a part")]

use std::future::Future;

use libkv::{Db, LimitsPreset, Options};
use libkv_etcd::pb::etcdserverpb::cluster_client::ClusterClient;
use libkv_etcd::pb::etcdserverpb::kv_client::KvClient;
use libkv_etcd::pb::etcdserverpb::lease_client::LeaseClient;
use libkv_etcd::pb::etcdserverpb::maintenance_client::MaintenanceClient;
use libkv_etcd::pb::health::health_client::HealthClient;
use libkv_etcd::{Serve, Server, serve};
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

/// A store in memory with etcd's limits.
pub fn store() -> Db {
    Db::open(":memory:", Options::new().limits(LimitsPreset::Etcd)).expect("a store in memory")
}

pub struct Served {
    pub db: Db,
    pub server: Server,
    pub channel: Channel,
}

impl Served {
    pub async fn new() -> Served {
        Served::how("127.0.0.1:0").await
    }

    pub async fn how(how: impl Into<Serve>) -> Served {
        Served::of(store(), how).await
    }

    pub async fn of(db: Db, how: impl Into<Serve>) -> Served {
        let server = serve(&db, how).expect("a server");
        let channel = connect(server.address()).await;
        Served {
            db,
            server,
            channel,
        }
    }

    pub fn kv(&self) -> KvClient<Channel> {
        KvClient::new(self.channel.clone()).max_decoding_message_size(usize::MAX)
    }

    pub fn lease(&self) -> LeaseClient<Channel> {
        LeaseClient::new(self.channel.clone())
    }

    pub fn maintenance(&self) -> MaintenanceClient<Channel> {
        MaintenanceClient::new(self.channel.clone())
    }

    pub fn cluster(&self) -> ClusterClient<Channel> {
        ClusterClient::new(self.channel.clone())
    }

    pub fn health(&self) -> HealthClient<Channel> {
        HealthClient::new(self.channel.clone())
    }
}

pub async fn connect(address: &str) -> Channel {
    Endpoint::from_shared(address.to_string())
        .expect("an address")
        .connect()
        .await
        .expect("connected")
}

/// Runs a test on a runtime of two threads.
pub fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.expect("threads").block_on(test);
}

/// Asserts the code and the text of a refusal.
#[track_caller]
pub fn refused<T: std::fmt::Debug>(response: Result<T, tonic::Status>, code: Code, text: &str) {
    let status = response.expect_err(text);
    assert_eq!((status.code(), status.message()), (code, text));
}
