//! Headers that become metadata of a call.

use libkv_test_support::deadline::deadline;
use libkv_test_support::http::Http;
use libkv_test_support::served::Served;
use serde_json::Value;

#[test]
fn timeout_header_that_is_invalid_is_refused() {
    let _deadline = deadline();
    let served = Served::start("gateway-time");
    for (time, status, message) in [
        ("1S", 200, None),
        ("x", 400, Some("invalid grpc-timeout: x")),
    ] {
        let mut http = Http::to(&served.url());
        http.request(
            "POST",
            "/v3/kv/range",
            &[&format!("Grpc-Timeout: {time}")],
            br#"{"key":"aw=="}"#,
        );
        let response = http.response(true).expect("a response");
        let body: Value = serde_json::from_slice(&response.body).expect("JSON");
        assert_eq!(
            (response.status, body["message"].as_str()),
            (status, message),
            "{time}"
        );
        assert_eq!(body["code"].as_i64(), message.map(|_| 3), "{time}");
    }
}

#[test]
fn authorization_token_is_accepted() {
    let _deadline = deadline();
    let served = Served::start("gateway-token");
    let mut http = Http::to(&served.url());
    let headers = [
        "Authorization: abc.7",
        "Grpc-Metadata-Hasleader: true",
        "Grpc-Metadata-Grpc-Timeout: no",
    ];
    http.request("POST", "/v3/kv/put", &headers, br#"{"key":"aw=="}"#);
    assert_eq!(http.response(true).expect("a response").status, 200);
}
