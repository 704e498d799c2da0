//! The gateway over TLS.

use std::fs;
use std::process::Command;

use libkv::{LimitsPreset, Options};
use libkv_etcd::Serve;
use libkv_test_support::deadline::deadline;
use libkv_test_support::served::Served;

use crate::without_ids;

/// Sends requests with Python's HTTP client, which uses only HTTP/1.1 over TLS.
const OVER_TLS: &str = r#"
import http.client, ssl, sys
address, ca = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
connection = http.client.HTTPSConnection(address.removeprefix("https://"), context=context, timeout=20)
for method, path, body in [("POST", "/v3/kv/put", '{"key":"aw=="}'), ("GET", "/version", None), ("GET", "/health", None)]:
    connection.request(method, path, body)
    response = connection.getresponse()
    print(response.status, response.read().decode().strip())
"#;

#[test]
fn gateway_over_tls() {
    let _deadline = deadline();
    let made =
        rcgen::generate_simple_self_signed(["127.0.0.1".to_string()]).expect("a certificate");
    let dir = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("gateway-tls-{}", std::process::id()));
    fs::create_dir_all(&dir).expect("a folder");
    let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    fs::write(&cert, made.cert.pem()).expect("a file");
    fs::write(&key, made.signing_key.serialize_pem()).expect("a file");
    let how = Serve::new("https://127.0.0.1:0")
        .cert_file(&cert)
        .key_file(&key);
    let served = Served::with(
        "gateway-tls",
        Options::new().limits(LimitsPreset::Etcd),
        how,
    );
    let output = Command::new("python3")
        .args(["-c", OVER_TLS, &served.url()])
        .arg(&cert)
        .output();
    let _ = fs::remove_dir_all(&dir);
    match output {
        Err(error) => println!("not run: the gateway over TLS (python3: {error})"),
        Ok(output) => {
            let lines: Vec<String> = String::from_utf8_lossy(&output.stdout)
                .lines()
                .map(|line| {
                    line.split_once(' ')
                        .map_or_else(String::new, |(s, b)| format!("{s} {}", without_ids(b)))
                })
                .collect();
            let should = [
                r#"200 {"header":{"revision":"2"}}"#,
                r#"200 {"etcdcluster":"3.7.0","etcdserver":"3.7.3","storage":"3.7.0"}"#,
                r#"200 {"health":"true","reason":""}"#,
            ];
            assert_eq!(lines, should, "{}", String::from_utf8_lossy(&output.stderr));
        }
    }
}
