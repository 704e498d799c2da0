//! Origins and hosts.

use libkv::Options;
use libkv_etcd::Serve;
use libkv_test_support::deadline::deadline;
use libkv_test_support::http::{Http, HttpResponse};
use libkv_test_support::served::Served;
use serde_json::{Value, json};

/// Sends a request with these headers.
fn with_headers(
    address: &str,
    method: &str,
    path: &str,
    headers: &[&str],
    body: &[u8],
) -> HttpResponse {
    let mut http = Http::to(address);
    http.request(method, path, headers, body);
    http.response(true).expect("a response")
}

/// A browser sends a simple POST from any page; it only hides the response from the page. So the
/// server must refuse the request itself.
#[test]
fn foreign_origin_is_refused_before_its_request_runs() {
    let _deadline = deadline();
    let served = Served::start("gateway-origin");
    let put = |headers: &[&str]| {
        with_headers(
            &served.url(),
            "POST",
            "/v3/kv/put",
            headers,
            br#"{"key":"aw=="}"#,
        )
    };
    for origin in ["http://page", "null", "http://x:2379", "https://x.page"] {
        let response = put(&[&format!("Origin: {origin}"), "Content-Type: text/plain"]);
        let body: Value = serde_json::from_slice(&response.body).expect("JSON");
        assert_eq!(
            (response.status, &body["code"]),
            (403, &json!(7)),
            "{origin}: {body}"
        );
        assert_eq!(
            response.header("access-control-allow-origin"),
            None,
            "{origin}"
        );
        let preflight = with_headers(
            &served.url(),
            "OPTIONS",
            "/v3/kv/put",
            &[&format!("Origin: {origin}")],
            b"",
        );
        assert_eq!(
            (
                preflight.status,
                preflight.header("access-control-allow-origin")
            ),
            (403, None),
            "{origin}"
        );
    }
    assert_eq!(
        served.db.status().expect("a status").revision,
        1,
        "nothing was written"
    );
    for headers in [&["Origin: http://x"][..], &[]] {
        let response = put(headers);
        assert_eq!(
            (
                response.status,
                response.header("access-control-allow-origin")
            ),
            (200, None),
            "{headers:?}"
        );
    }
    assert_eq!(served.db.status().expect("a status").revision, 3);
}

#[test]
fn allowed_origin_is_named_in_the_response() {
    let _deadline = deadline();
    let how = Serve::new("127.0.0.1:0").cors(["http://page:80"]);
    let served = Served::with("gateway-cors", Options::new(), how);
    for (method, path) in [
        ("OPTIONS", "/v3/kv/range"),
        ("GET", "/version"),
        ("GET", "/nothing"),
    ] {
        let response = with_headers(&served.url(), method, path, &["Origin: http://page"], b"");
        for (name, should) in [
            ("access-control-allow-origin", "http://page"),
            (
                "access-control-allow-headers",
                "accept, content-type, authorization",
            ),
            (
                "access-control-allow-methods",
                "POST, GET, OPTIONS, PUT, DELETE",
            ),
        ] {
            assert_eq!(response.header(name), Some(should), "{method} {path}");
        }
    }
    let response = Http::to(&served.url()).call("GET", "/version", b"");
    assert_eq!(
        (
            response.status,
            response.header("access-control-allow-origin")
        ),
        (200, None)
    );
}

#[test]
fn host_that_is_not_in_the_whitelist_is_misdirected() {
    let _deadline = deadline();
    for (hosts, status) in [(&["x"][..], 200), (&["a", "*"], 200), (&["y", "x.y"], 421)] {
        let how = Serve::new("127.0.0.1:0").host_whitelist(hosts.iter().copied());
        let served = Served::with("gateway-hosts", Options::new(), how);
        for path in ["/version", "/metrics", "/health"] {
            let response = Http::to(&served.url()).call("GET", path, b"");
            assert_eq!(response.status, status, "{hosts:?} {path}");
            assert_eq!(
                response.text().contains("--host-whitelist"),
                status == 421,
                "{hosts:?} {path}"
            );
        }
        let put = Http::to(&served.url()).call("POST", "/v3/kv/put", br#"{"key":"aw=="}"#);
        assert_eq!(put.status, status);
        let revision = if status == 200 { 2 } else { 1 };
        assert_eq!(
            served.db.status().expect("a status").revision,
            revision,
            "{hosts:?}"
        );
    }
}
