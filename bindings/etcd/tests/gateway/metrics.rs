//! `/metrics`, on the port of clients and on one of its own.

use std::time::{Duration, Instant};

use libkv::Options;
use libkv_etcd::Serve;
use libkv_test_support::deadline::deadline;
use libkv_test_support::etcd::{self, Etcd};
use libkv_test_support::http::Http;
use libkv_test_support::served::Served;

/// Series whose values depend only on the requests of clients.
const COUNTED: &[&str] = &[
    "etcd_mvcc_put_total",
    "etcd_mvcc_delete_total",
    "etcd_mvcc_txn_total",
    "etcd_debugging_lease_granted_total",
    "etcd_debugging_lease_revoked_total",
    "etcd_debugging_lease_renewed_total",
    "etcd_debugging_lease_ttl_total",
    "grpc_server_msg_received_total",
    "grpc_server_msg_sent_total",
];
/// Series of which only the names and labels are compared.
const NAMED: &[&str] = &[
    "grpc_server_handling_seconds",
    "etcd_server_slow_apply_total",
    "os_fd_used",
    "os_fd_limit",
];

/// Sends the requests that the metrics count.
fn send_counted(address: &str) {
    let txn = r#"{"success":[{"request_put":{"key":"YQ=="}},{"request_range":{"key":"Yg=="}},
        {"request_txn":{"success":[{"request_delete_range":{"key":"Yg=="}}]}}]}"#;
    for (path, body) in [
        ("kv/put", r#"{"key":"YQ==","value":"MQ=="}"#),
        ("kv/put", r#"{"key":"Yg=="}"#),
        ("kv/put", "{}"),
        ("kv/range", r#"{"key":"YQ=="}"#),
        ("kv/txn", txn),
        ("kv/deleterange", r#"{"key":"YQ=="}"#),
        ("lease/grant", r#"{"TTL":100,"ID":7}"#),
        ("lease/grant", r#"{"TTL":3,"ID":8}"#),
        ("lease/keepalive", r#"{"ID":7}{"ID":9}{"ID":7}"#),
        ("lease/revoke", r#"{"ID":7}"#),
    ] {
        Http::to(address).call("POST", &format!("/v3/{path}"), body.as_bytes());
    }
}

/// The lines of `/metrics` with these series, for some methods.
fn counted(address: &str) -> Vec<String> {
    let text = Http::to(address).call("GET", "/metrics", b"").text();
    let is_of = |line: &str, series: &[&str]| {
        let name = line.split(['{', ' ']).next().unwrap_or_default();
        let is = |series: &&str| {
            name.strip_prefix(*series)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
        };
        series.iter().any(is)
    };
    let of_method = |line: &&str| {
        let methods = ["\"Put\"", "\"LeaseGrant\"", "\"LeaseKeepAlive\""];
        !line.starts_with("grpc_") || methods.iter().any(|method| line.contains(method))
    };
    let line = |line: &str| match line.rsplit_once(' ') {
        Some((name, _)) if is_of(line, NAMED) => Some(name.to_string()),
        _ => is_of(line, COUNTED).then(|| line.to_string()),
    };
    let mut lines: Vec<String> = text.lines().filter(of_method).filter_map(line).collect();
    lines.sort();
    lines
}

/// Reads until `is_so` is true: a call is counted after its response is sent.
fn until(read: impl Fn() -> Vec<String>, is_so: impl Fn(&[String]) -> bool) -> Vec<String> {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let lines = read();
        if is_so(&lines) || Instant::now() > end {
            return lines;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn metrics_count_the_requests() {
    let _deadline = deadline();
    let served = Served::with(
        "gateway-counted",
        Options::new(),
        Serve::new("127.0.0.1:0").extensive_metrics(true),
    );
    let labels = |method: &str, kind: &str, service: &str| {
        format!(
            "grpc_method=\"{method}\",grpc_service=\"etcdserverpb.{service}\",grpc_type=\"{kind}\""
        )
    };
    let (put, kept) = (
        labels("Put", "unary", "KV"),
        labels("LeaseKeepAlive", "bidi_stream", "Lease"),
    );
    let should = [
        "etcd_mvcc_put_total 3".to_string(),
        "etcd_mvcc_delete_total 2".into(),
        "etcd_mvcc_txn_total 1".into(),
        "etcd_debugging_lease_granted_total 2".into(),
        "etcd_debugging_lease_revoked_total 1".into(),
        "etcd_debugging_lease_renewed_total 2".into(),
        "etcd_debugging_lease_ttl_total_bucket{le=\"4\"} 1".into(),
        "etcd_debugging_lease_ttl_total_bucket{le=\"8.388608e+06\"} 2".into(),
        "etcd_debugging_lease_ttl_total_sum 103".into(),
        "etcd_debugging_lease_ttl_total_count 2".into(),
        format!("grpc_server_msg_received_total{{{put}}} 3"),
        format!("grpc_server_msg_sent_total{{{put}}} 2"),
        format!("grpc_server_msg_received_total{{{kept}}} 3"),
        format!("grpc_server_msg_sent_total{{{kept}}} 3"),
        format!("grpc_server_handling_seconds_count{{{put}}}"),
        format!("grpc_server_handling_seconds_bucket{{{kept},le=\"0.005\"}}"),
        "etcd_server_slow_apply_total".into(),
        "os_fd_used".into(),
        "os_fd_limit".into(),
    ];
    send_counted(&served.url());
    let ours = || counted(&served.url());
    let is = until(ours, |is| should.iter().all(|line| is.contains(line)));
    for line in &should {
        assert!(is.contains(line), "{line} is not in {is:#?}");
    }
    let all = || {
        Http::to(&served.url())
            .call("GET", "/metrics", b"")
            .text()
            .lines()
            .map(String::from)
            .collect()
    };
    let should = [
        "etcd_mvcc_range_total 2".to_string(),
        "etcd_debugging_auth_revision 1".into(),
        "etcd_cluster_version{cluster_version=\"3.7\"} 1".into(),
        "etcd_server_version{server_version=\"3.7.3\"} 1".into(),
        format!("grpc_server_handling_seconds_count{{{put}}} 3"),
        format!("grpc_server_handling_seconds_bucket{{{put},le=\"+Inf\"}} 3"),
    ];
    let text = until(all, |is| should.iter().all(|line| is.contains(line)));
    for line in &should {
        assert!(text.contains(line), "{line} is not in {text:#?}");
    }
    match etcd::program() {
        Ok(program) => {
            let etcd = Etcd::start(&program, "gateway-counted");
            send_counted(&etcd.url());
            let theirs = until(|| counted(&etcd.url()), |theirs| theirs == is);
            assert_eq!(is, theirs, "a real etcd");
        }
        Err(why) => println!("not run: the metrics of a real etcd ({why})"),
    }
    let basic = Http::to(&Served::start("gateway-basic").url())
        .call("GET", "/metrics", b"")
        .text();
    assert!(
        !basic.contains("grpc_server_handling_seconds"),
        "only with extensive metrics"
    );
}

#[test]
fn metrics_address_has_no_calls() {
    let _deadline = deadline();
    let how = Serve::new("127.0.0.1:0")
        .listen_metrics("http://127.0.0.1:0")
        .listen_metrics("127.0.0.1:0");
    let served = Served::with("gateway-metrics", Options::new(), how);
    let addresses = served.server.metrics_addresses();
    assert_eq!((addresses.len(), served.server.addresses().len()), (2, 1));
    for address in addresses {
        for (method, path, status) in [
            ("GET", "/metrics", 200),
            ("GET", "/health", 200),
            ("GET", "/livez", 200),
            ("GET", "/readyz", 200),
            ("GET", "/", 404),
            ("GET", "/version", 404),
            ("POST", "/v3/kv/put", 404),
        ] {
            let response = Http::to(address).call(method, path, br#"{"key":"aw=="}"#);
            assert_eq!(
                response.status,
                status,
                "{method} {path}: {}",
                response.text()
            );
        }
    }
    served.server.close();
    assert!(
        std::net::TcpStream::connect(addresses[0].trim_start_matches("http://")).is_err(),
        "the address is free again"
    );
}
