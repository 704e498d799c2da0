//! The service Health.

use libkv_etcd::pb::health::HealthCheckRequest;
use libkv_etcd::pb::health::health_check_response::ServingStatus;
use libkv_test_support::deadline::deadline;
use tonic::Code;

use crate::support::{Served, refused, run};

#[test]
fn health_is_reported_by_service_name() {
    let _deadline = deadline();
    run(async {
        let served = Served::new().await;
        let mut health = served.health();
        let request = |service: &str| HealthCheckRequest {
            service: service.into(),
        };
        let well = health.check(request("")).await.expect("15.10").into_inner();
        assert_eq!(well.status(), ServingStatus::Serving);
        refused(
            health.check(request("x")).await,
            Code::NotFound,
            "unknown service",
        );
        let mut watched = health
            .watch(request(""))
            .await
            .expect("a stream")
            .into_inner();
        let first = watched.message().await.expect("open").expect("a response");
        assert_eq!(first.status(), ServingStatus::Serving);
        served.server.close();
        refused(
            watched.message().await,
            Code::Unavailable,
            "etcdserver: server stopped",
        );
    });
}
