//! Calls that are streams: watches, elections.

use libkv_test_support::deadline::deadline;
use libkv_test_support::etcd::{self, Etcd};
use libkv_test_support::http::Http;
use libkv_test_support::served::Served;
use serde_json::json;

use crate::without_ids;

/// Starts a watch and reads the head of its response.
fn watch(address: &str, body: &str) -> Http {
    let mut http = Http::to(address);
    http.request("POST", "/v3/watch", &[], body.as_bytes());
    let head = http.head().expect("a response");
    let kind = (
        head.header("content-type"),
        head.header("transfer-encoding"),
    );
    assert_eq!(
        (head.status, kind),
        (200, (Some("application/json"), Some("chunked")))
    );
    http
}

/// The next message, without the ids of servers.
fn next(http: &mut Http) -> String {
    without_ids(&http.message().to_string())
}

fn streams_of(address: &str) {
    let put = |body: &str| {
        assert_eq!(
            Http::to(address)
                .call("POST", "/v3/kv/put", body.as_bytes())
                .status,
            200
        )
    };
    put(r#"{"key":"YQ==","value":"MQ=="}"#);
    // two requests without a separator, and a third after whitespace
    let mut http = watch(
        address,
        "{\"create_request\":{\"key\":\"YQ==\"}}{\"createRequest\":{\"key\":\"YQ==\",\"watch_id\":\"-4\",\
         \"startRevision\":2,\"filters\":[\"NODELETE\"]}}\n {\"progress_request\":{}}",
    );
    assert_eq!(
        next(&mut http),
        r#"{"result":{"created":true,"header":{"revision":"2"}}}"#
    );
    let mut more: Vec<String> = (0..3).map(|_| next(&mut http)).collect();
    more.sort();
    let event = r#"{"result":{"events":[{"kv":{"create_revision":"2","key":"YQ==","mod_revision":"2","value":"MQ==","version":"1"}}],"header":{"revision":"2"},"watch_id":"-4"}}"#;
    let created = r#"{"result":{"created":true,"header":{"revision":"2"},"watch_id":"-4"}}"#;
    let progress = r#"{"result":{"header":{"revision":"2"},"watch_id":"-1"}}"#;
    assert_eq!(more, [created, event, progress]);
    // the request body has ended, the watch has not
    put(r#"{"key":"YQ==","value":"Mg=="}"#);
    let event = r#"[{"kv":{"create_revision":"2","key":"YQ==","mod_revision":"3","value":"Mg==","version":"2"}}]"#;
    let mut ids: Vec<String> = (0..2)
        .map(|_| {
            let message = http.message();
            assert_eq!(message["result"]["events"].to_string(), event);
            message["result"]["watch_id"].to_string()
        })
        .collect();
    ids.sort();
    assert_eq!(ids, ["\"-4\"", "null"]);
    let delete = Http::to(address).call("POST", "/v3/kv/deleterange", br#"{"key":"YQ=="}"#);
    assert_eq!(delete.status, 200);
    let events = http.message()["result"]["events"].to_string();
    assert_eq!(
        events,
        r#"[{"kv":{"key":"YQ==","mod_revision":"4"},"type":"DELETE"}]"#
    );
}

#[test]
fn watch_is_a_stream() {
    let _deadline = deadline();
    streams_of(&Served::start("gateway-watch").url());
    match etcd::program() {
        Ok(program) => streams_of(&Etcd::start(&program, "gateway-watch").url()),
        Err(why) => println!("not run: watches through the gateway of a real etcd ({why})"),
    }
}

#[test]
fn watch_stream_accepts_requests_while_it_responds() {
    let _deadline = deadline();
    let served = Served::start("gateway-duplex");
    let mut http = Http::to(&served.url());
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    http.send(b"POST /v3/watch HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        .expect("sent");
    http.send(chunk(r#"{"create_request":{"key":"YQ=="}}"#).as_bytes())
        .expect("sent");
    assert_eq!(http.head().expect("a response").status, 200);
    assert_eq!(
        next(&mut http),
        r#"{"result":{"created":true,"header":{"revision":"1"}}}"#
    );
    // cut in the middle of a string
    http.send(chunk(r#"{"create_request":{"key":"Y"#).as_bytes())
        .expect("sent");
    http.send(chunk(r#"g=="}}{"cancel_request":{"watch_id":"0"}}"#).as_bytes())
        .expect("sent");
    assert_eq!(
        next(&mut http),
        r#"{"result":{"created":true,"header":{"revision":"1"},"watch_id":"1"}}"#
    );
    assert_eq!(
        next(&mut http),
        r#"{"result":{"canceled":true,"header":{"revision":"1"}}}"#
    );
}

#[test]
fn observe_reports_each_leader() {
    let _deadline = deadline();
    let served = Served::start("gateway-observe");
    let address = served.url();
    let post = |path: &str, body: &str| {
        let response = Http::to(&address).call("POST", path, body.as_bytes());
        assert_eq!(response.status, 200, "{path}: {}", response.text());
    };
    post("/v3/lease/grant", r#"{"TTL":600,"ID":291}"#);
    let mut http = Http::to(&address);
    http.request("POST", "/v3/election/observe", &[], br#"{"name":"ZQ=="}"#);
    post(
        "/v3/election/campaign",
        r#"{"name":"ZQ==","lease":291,"value":"djE="}"#,
    );
    assert_eq!(http.head().expect("a response").status, 200);
    assert_eq!(http.message()["result"]["kv"]["value"], "djE=");
    post(
        "/v3/election/proclaim",
        r#"{"leader":{"key":"ZS8xMjM=","lease":"291","name":"ZQ==","rev":"2"},"value":"djI="}"#,
    );
    assert_eq!(http.message()["result"]["kv"]["value"], "djI=");
}

#[test]
fn streams_end_when_the_server_closes() {
    let _deadline = deadline();
    let served = Served::start("gateway-close");
    let mut http = watch(&served.url(), r#"{"create_request":{"key":"YQ=="}}"#);
    next(&mut http);
    served.server.close();
    let last = http.message();
    let should = json!({"error": {"grpc_code": 14, "http_code": 503, "http_status": "Service Unavailable",
        "message": "etcdserver: server stopped"}});
    assert_eq!(last, should);
    assert!(
        matches!(http.chunk(), Ok(None)),
        "the body ends with the last chunk"
    );
}
