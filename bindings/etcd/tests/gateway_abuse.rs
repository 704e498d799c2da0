//! Invalid and hostile HTTP requests: the server returns an error of the contract or closes the
//! connection, its memory stays bounded, and the store does not change.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use libkv::Put;
use libkv_test_support::dice::Dice;
use serde_json::Value;

use libkv_test_support::deadline::deadline;
use libkv_test_support::http::{Http, HttpResponse};
use libkv_test_support::served::Served;

/// Checks that the store works, has this revision, and that the server holds no request.
fn check_unchanged(served: &Served, revision: i64) {
    let response = Http::to(&served.url()).call(
        "POST",
        "/v3/kv/range",
        br#"{"key":"AA==","range_end":"AA=="}"#,
    );
    let body: Value = serde_json::from_slice(&response.body).expect("JSON");
    assert_eq!(
        (response.status, &body["header"]["revision"]),
        (200, &Value::from(revision.to_string()))
    );
    assert_eq!(served.db.check().expect("a check").problems, []);
    eventually("no bytes, requests or watches are held", || {
        let metrics = metrics(served);
        metrics["libkv_server_held_bytes"] == 0.0
            && metrics["etcd_debugging_mvcc_watcher_total"] == 0.0
            && metrics["libkv_server_requests"] == 0.0
    });
}

/// Waits until `is_so` is true: closed connections take time to end.
fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < until, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Every series without its labels; the values of all labels are added.
fn metrics(served: &Served) -> BTreeMap<String, f64> {
    let mut series = BTreeMap::new();
    for line in Http::to(&served.url())
        .call("GET", "/metrics", b"")
        .text()
        .lines()
    {
        if let Some((name, value)) = line.rsplit_once(' ').filter(|_| !line.starts_with('#')) {
            let name = name.split('{').next().expect("a name").to_string();
            *series.entry(name).or_default() += value.parse::<f64>().expect("a number");
        }
    }
    series
}

fn error(response: &HttpResponse) -> (u16, i64, String) {
    let body: Value = serde_json::from_slice(&response.body).expect("JSON");
    let text = body["message"].as_str().unwrap_or_default().to_string();
    (response.status, body["code"].as_i64().unwrap_or(-1), text)
}

#[test]
fn body_that_is_too_large_is_refused() {
    let _deadline = deadline();
    let served = Served::start("abuse-large");
    let put = |bytes: usize| {
        format!(
            "{{\"key\":\"aw==\",\"value\":\"{}\"}}",
            "eHh4".repeat(bytes / 3)
        )
        .into_bytes()
    };
    // larger than a request may be, than a message may be, and than a body may be
    let response = Http::to(&served.url()).call("POST", "/v3/kv/put", &put(1_600_000));
    assert_eq!(
        error(&response),
        (400, 3, "etcdserver: request is too large".into())
    );
    let response = Http::to(&served.url()).call("POST", "/v3/kv/put", &put(2_200_002));
    let text = "grpc: received message larger than max (2200010 vs. 2097152)";
    assert_eq!(error(&response), (429, 8, text.into()));
    let mut http = Http::to(&served.url());
    http.request("POST", "/v3/kv/put", &[], &put(20 << 20));
    // the server closes the connection before it has read all: the response may be lost
    if let Ok(response) = http.response(true) {
        let (status, code, text) = error(&response);
        assert_eq!((status, code), (429, 8), "{text}");
        assert!(
            text.starts_with("grpc: received message larger than max ("),
            "{text}"
        );
    }
    let mut http = Http::to(&served.url());
    http.request(
        "POST",
        "/v3/watch",
        &[],
        &[b"{\"create_request\":\"".as_slice(), &vec![b'x'; 9 << 20]].concat(),
    );
    if let Ok(response) = http.response(true) {
        assert_eq!(error(&response).1, 8);
    }
    check_unchanged(&served, 1);
}

/// An incomplete body is an error of the client, with the same code as invalid JSON.
#[test]
fn body_that_breaks_off_is_refused() {
    let _deadline = deadline();
    let served = Served::start("abuse-broken");
    let short = "Content-Length: 100\r\n\r\n{\"key\":\"aw==";
    let chunked = "Transfer-Encoding: chunked\r\n\r\n5\r\n{\"key\r\nzz\r\n";
    for path in ["/v3/kv/put", "/v3/lease/keepalive"] {
        for rest in [short, chunked] {
            let mut http = Http::to(&served.url());
            http.send(format!("POST {path} HTTP/1.1\r\nHost: x\r\n{rest}").as_bytes())
                .expect("sent");
            http.close_sending();
            let (status, code, text) = error(&http.response(true).expect("a response"));
            assert_eq!((status, code), (400, 3), "{path}: {text}");
            assert!(
                text.starts_with("the request ended early: "),
                "{path}: {text}"
            );
        }
    }
    check_unchanged(&served, 1);
}

#[test]
fn json_nested_too_deep_is_refused() {
    let _deadline = deadline();
    let served = Served::start("abuse-deep");
    for (path, open, shut) in [
        ("/v3/kv/txn", r#"{"success":[{"request_txn":"#, "}]}"),
        ("/v3/kv/put", r#"{"a":"#, "}"),
        ("/v3/kv/put", "[", "]"),
        ("/v3/kv/put", r#"{"key":["#, "]}"),
        ("/v3/lease/keepalive", r#"{"ID":["#, "]}"),
    ] {
        for depth in [200, 100_000] {
            let body = format!("{}null{}", open.repeat(depth), shut.repeat(depth));
            let response = Http::to(&served.url()).call("POST", path, body.as_bytes());
            let (status, code, text) = error(&response);
            assert_eq!((status, code), (400, 3), "{path}, {depth} deep: {text}");
        }
    }
    // the value of an unknown field is skipped at any depth
    let body = format!(
        "{{\"a\":{}1{},\"key\":\"AA==\"}}",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    assert_eq!(
        Http::to(&served.url())
            .call("POST", "/v3/kv/range", body.as_bytes())
            .status,
        200
    );
    check_unchanged(&served, 1);
}

#[test]
fn slow_or_lost_clients_do_not_delay_others() {
    let _deadline = deadline();
    let served = Served::start("abuse-slow");
    let mut slow = Vec::new();
    for path in ["/v3/kv/put", "/v3/watch", "/v3/lease/keepalive"] {
        for begun in ["", "{\"key\":\"aw=="] {
            let mut http = Http::to(&served.url());
            let head =
                format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{begun}");
            http.send(head.as_bytes()).expect("sent");
            slow.push(http);
        }
    }
    // an incomplete head, and connections that send nothing
    let mut http = Http::to(&served.url());
    http.send(b"POST /v3/kv/put HTTP/1.1\r\nX-").expect("sent");
    slow.push(http);
    slow.extend((0..50).map(|_| Http::to(&served.url())));
    let response = Http::to(&served.url()).call("POST", "/v3/kv/put", br#"{"key":"aw=="}"#);
    assert_eq!(response.status, 200);
    drop(slow);
    check_unchanged(&served, 2);
}

/// A response that the client does not read counts in the bytes that the server may hold.
#[test]
fn response_counts_as_held_until_it_is_read() {
    let _deadline = deadline();
    let served = Served::start("abuse-unread");
    // more than the buffers of two sockets can hold
    let (keys, bytes) = (24, 1_400_000);
    for n in 0..keys {
        served
            .db
            .put(Put::new(format!("k{n:02}"), vec![b'x'; bytes]))
            .expect("put");
    }
    let held = || metrics(&served)["libkv_server_held_bytes"];
    let mut slow = Http::to(&served.url());
    slow.request(
        "POST",
        "/v3/kv/range",
        &[],
        br#"{"key":"aw==","range_end":"bA=="}"#,
    );
    let head = slow.head().expect("a response");
    assert!(held() >= (keys * bytes) as f64, "{} bytes", held());
    let body: Value =
        serde_json::from_slice(&slow.body(head).expect("the whole body").body).expect("JSON");
    let kvs = body["kvs"].as_array().expect("pairs");
    let value = "eHh4".repeat(bytes / 3) + "eHg=";
    assert!(
        kvs.len() == keys && kvs.iter().all(|kv| kv["value"] == *value),
        "{} pairs",
        kvs.len()
    );
    check_unchanged(&served, 1 + keys as i64);
}

#[test]
fn stream_ends_when_its_client_disconnects() {
    let _deadline = deadline();
    let served = Served::start("abuse-vanish");
    let mut streams: Vec<Http> = (0..20)
        .map(|_| {
            let mut http = Http::to(&served.url());
            http.request(
                "POST",
                "/v3/watch",
                &[],
                br#"{"create_request":{"key":"AA==","range_end":"AA=="}}"#,
            );
            assert_eq!(http.head().expect("a response").status, 200);
            http.message();
            http
        })
        .collect();
    assert_eq!(served.db.status().expect("a status").watchers, 20);
    // half of the clients disconnect now, the others in the middle of a response
    streams.truncate(10);
    for _ in 0..20 {
        let body = format!(
            "{{\"key\":\"aw==\",\"value\":\"{}\"}}",
            "eHh4".repeat(100_000)
        );
        assert_eq!(
            Http::to(&served.url())
                .call("POST", "/v3/kv/put", body.as_bytes())
                .status,
            200
        );
    }
    drop(streams);
    let mut observer = Http::to(&served.url());
    observer.request("POST", "/v3/election/observe", &[], br#"{"name":"ZQ=="}"#);
    drop(observer);
    check_unchanged(&served, 21);
}

#[test]
fn pipelined_requests_have_responses_in_order() {
    let _deadline = deadline();
    let served = Served::start("abuse-pipeline");
    let mut http = Http::to(&served.url());
    let one = |key: &str| {
        let body = format!("{{\"key\":\"{key}\"}}");
        format!(
            "POST /v3/kv/put HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let all: String = ["YQ==", "Yg==", "!", "Yw=="]
        .iter()
        .map(|key| one(key))
        .collect();
    http.send((all + "GET /version HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())
        .expect("sent");
    let revisions: Vec<Value> = (0..4)
        .map(|_| {
            let response = http.response(true).expect("a response");
            let body: Value = serde_json::from_slice(&response.body).expect("JSON");
            body["header"]["revision"].clone()
        })
        .collect();
    assert_eq!(
        revisions,
        [Value::from("2"), "3".into(), Value::Null, "4".into()]
    );
    assert!(
        http.response(true)
            .expect("a response")
            .text()
            .contains("3.7.3")
    );
    check_unchanged(&served, 4);
}

#[test]
fn metrics_have_the_format_of_prometheus() {
    let _deadline = deadline();
    let served = Served::start("abuse-metrics");
    for body in [r#"{"key":"YQ=="}"#, r#"{"key":"Yg=="}"#, "{}"] {
        Http::to(&served.url()).call("POST", "/v3/kv/put", body.as_bytes());
    }
    let mut watch = Http::to(&served.url());
    watch.request(
        "POST",
        "/v3/watch",
        &[],
        br#"{"create_request":{"key":"YQ=="}}"#,
    );
    watch.head().expect("a response");
    watch.message();
    let response = Http::to(&served.url()).call("GET", "/metrics", b"");
    assert_eq!(
        response.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    let text = response.text();
    let (mut declared, mut previous) = (Vec::new(), String::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a name and a type");
            assert!(matches!(kind, "counter" | "gauge" | "histogram"), "{line}");
            assert!(
                previous.starts_with(&format!("# HELP {name} ")),
                "{line} follows {previous}"
            );
            assert!(!declared.contains(&name.to_string()), "{name} twice");
            declared.push(name.to_string());
        } else if !line.starts_with("# HELP ") {
            let (series, value) = line.rsplit_once(' ').expect("a series and a value");
            let name = declared.last().expect("a type first");
            assert!(
                series.starts_with(name.as_str()),
                "{line} is below the type of {name}"
            );
            assert!(value.parse::<f64>().is_ok(), "{line}");
            let labels = series.split_once('{').map_or("", |(_, labels)| labels);
            assert!(
                labels.is_empty() || (labels.ends_with("\"}") && labels.contains("=\"")),
                "{line}"
            );
        }
        previous = line.to_string();
    }
    for line in [
        "etcd_server_has_leader 1",
        "etcd_server_leader_changes_seen_total 0",
        "etcd_server_proposals_committed_total 3",
        "etcd_server_proposals_applied_total 3",
        "etcd_server_proposals_pending 0",
        "etcd_server_proposals_failed_total 0",
        "etcd_debugging_mvcc_keys_total 2",
        "etcd_debugging_mvcc_watch_stream_total 1",
        "etcd_debugging_mvcc_watcher_total 1",
        "etcd_disk_backend_commit_duration_seconds_count 2",
        "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"+Inf\"} 2",
        "grpc_server_started_total{grpc_method=\"Put\",grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"} 3",
        "grpc_server_handled_total{grpc_code=\"OK\",grpc_method=\"Put\",grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"} 2",
        "grpc_server_handled_total{grpc_code=\"InvalidArgument\",grpc_method=\"Put\",grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"} 1",
        "grpc_server_started_total{grpc_method=\"Watch\",grpc_service=\"etcdserverpb.Watch\",grpc_type=\"bidi_stream\"} 1",
        "grpc_server_handled_total{grpc_code=\"OK\",grpc_method=\"Watch\",grpc_service=\"etcdserverpb.Watch\",grpc_type=\"bidi_stream\"} 0",
        "libkv_revision 3",
        "libkv_compacted_revision -1",
        "libkv_keys 2",
        "libkv_leases 0",
    ] {
        assert!(
            text.lines().any(|is| is == line),
            "{line} is not in\n{text}"
        );
    }
    let metrics = metrics(&served);
    for name in [
        "etcd_mvcc_db_total_size_in_bytes",
        "etcd_mvcc_db_total_size_in_use_in_bytes",
        "etcd_network_client_grpc_received_bytes_total",
        "etcd_network_client_grpc_sent_bytes_total",
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_start_time_seconds",
    ] {
        assert!(metrics[name] > 0.0, "{name}");
    }
    drop(watch);
    check_unchanged(&served, 3);
}

/// Valid bodies, which the test changes.
const BODIES: &[(&str, &str)] = &[
    (
        "kv/range",
        r#"{"key":"YQ==","range_end":"AA==","limit":"3","sort_order":"DESCEND","sort_target":"MOD"}"#,
    ),
    (
        "kv/put",
        r#"{"key":"YQ==","value":"dmFsdWU=","lease":"0","prev_kv":true,"ignoreValue":false}"#,
    ),
    (
        "kv/deleterange",
        r#"{"key":"YQ==","range_end":"Yg==","prev_kv":true}"#,
    ),
    (
        "kv/txn",
        r#"{"compare":[{"key":"YQ==","target":"VALUE","result":"EQUAL","value":"AA=="}],"success":[{"request_put":{"key":"YQ=="}},{"request_txn":{"success":[{"request_range":{"key":"YQ=="}}]}}],"failure":[{"request_delete_range":{"key":"AA==","range_end":"AA=="}}]}"#,
    ),
    ("kv/compaction", r#"{"revision":"2","physical":false}"#),
    (
        "watch",
        r#"{"create_request":{"key":"YQ==","start_revision":"1","filters":["NOPUT",1]}}{"cancel_request":{}}"#,
    ),
    ("lease/grant", r#"{"TTL":"60","ID":"7"}"#),
    ("lease/keepalive", r#"{"ID":"7"}{"ID":"8"}"#),
    ("lease/timetolive", r#"{"ID":"7","keys":true}"#),
    ("lease/revoke", r#"{"ID":"7"}"#),
    ("maintenance/status", "{}"),
    (
        "maintenance/alarm",
        r#"{"action":"GET","memberID":"0","alarm":"NONE"}"#,
    ),
    ("cluster/member/list", r#"{"linearizable":true}"#),
    (
        "election/proclaim",
        r#"{"leader":{"name":"ZQ==","key":"ZS8x","rev":"1","lease":"1"},"value":"dg=="}"#,
    ),
    ("lock/unlock", r#"{"key":"bC8x"}"#),
];

/// Text that is inserted into a body.
const PIECES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "\"",
    ":",
    ",",
    "null",
    "true",
    "-1",
    "1e999",
    "9223372036854775808",
    "0.1",
    "\\u0000",
    "\\ud800",
    "\"key\":",
    "{\"key\":\"YQ==\"}",
    "//",
    "\u{feff}",
    "=",
    "AA==",
    " ",
    "\n",
    "\\",
    "NaN",
    "\"\"",
    "-",
];

fn changed(dice: &mut Dice, body: &str) -> Vec<u8> {
    let mut bytes = body.as_bytes().to_vec();
    for _ in 0..=dice.below(4) {
        let at = dice.below(bytes.len() as u64 + 1) as usize;
        match dice.below(6) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, dice.roll() as u8),
            2 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
            3 if at < bytes.len() => drop(bytes.remove(at)),
            4 => drop(bytes.splice(
                at..at,
                PIECES[dice.below(PIECES.len() as u64) as usize].bytes(),
            )),
            _ => {
                let end = (at + dice.below(20) as usize).min(bytes.len());
                let again = bytes[at..end].to_vec();
                drop(bytes.splice(at..at, again));
            }
        }
    }
    bytes
}

/// Sends randomly changed bodies, the same for the same seed. `KV_FUZZ_ROUNDS` sets their number,
/// `KV_SEED` the seed.
#[test]
fn random_bodies_have_responses() {
    let _deadline = deadline();
    let number = |name: &str, or: u64| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(or)
    };
    let (rounds, seed) = (number("KV_FUZZ_ROUNDS", 2_000), number("KV_SEED", 6));
    println!("fuzz: KV_SEED={seed} KV_FUZZ_ROUNDS={rounds}");
    let served = Served::start("abuse-fuzz");
    let mut dice = Dice(seed);
    let mut seen: BTreeMap<(u16, i64), u64> = BTreeMap::new();
    for round in 0..rounds {
        let (path, body) = BODIES[dice.below(BODIES.len() as u64) as usize];
        let body = if dice.one_in(10) {
            let len = dice.below(200) as usize;
            dice.bytes(len)
        } else {
            changed(&mut dice, body)
        };
        let describe = || format!("round {round}, {path}: {}", String::from_utf8_lossy(&body));
        let mut http = Http::to(&served.url());
        http.request(
            "POST",
            &format!("/v3/{path}"),
            &["Connection: close"],
            &body,
        );
        if path == "watch" {
            // a watch may send no response: it is enough to send the request
            continue;
        }
        let response = http
            .response(true)
            .unwrap_or_else(|error| panic!("{}: {error}", describe()));
        let code = match response.status {
            200 => 0,
            _ => {
                let (_, code, text) = error(&response);
                assert!(!text.is_empty(), "{}", describe());
                code
            }
        };
        // code 13 would be an internal error of the server
        assert!(
            code != 13 && (code != 2 || !text_of(&response).contains("panic")),
            "{}: {}",
            describe(),
            response.text()
        );
        *seen.entry((response.status, code)).or_default() += 1;
    }
    println!("responses by status and code: {seen:?}");
    assert!(
        seen.keys().any(|(status, _)| *status == 200) && seen.contains_key(&(400, 3)),
        "{seen:?}"
    );
    let revision = served.db.snapshot().expect("a snapshot").revision();
    check_unchanged(&served, revision);
}

fn text_of(response: &HttpResponse) -> String {
    error(response).2
}
